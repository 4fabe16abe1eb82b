// SPDX-License-Identifier: GPL-2.0-or-later
/* The audit log against files, failures and starts. fsync() and fdatasync() are this file's own, so that they can fail. */
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "broker/io/audit-files.h"
#include "broker/io/audit-read.h"
#include "broker/io/audit.h"
#include "broker/io/clock.h"
#include "broker/io/test-audit-samples.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"

#define SMALL_FILE 2000u /* six records */

static struct {
	char path[64];
	int dir;
	int syncs_until_failure; /* < 0: none fails */
	unsigned int n_syncs;
	bool archives;                     /* a closed file is moved away as soon as it has its name */
	struct rlimit file_bytes, n_files; /* as this program found them */
} scene;

static void tighten(__rlimit_resource_t resource, rlim_t most)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(resource, &limit), 0);
	limit.rlim_cur = most;
	assert_int_equal(setrlimit(resource, &limit), 0);
}

/* Before and after each test too: one that failed has not come to do it, and the next has nothing to do with it. */
static void loosen(void)
{
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &scene.file_bytes), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &scene.n_files), 0);
}

static int sync_or_fail(long number, int fd)
{
	scene.n_syncs++;
	if (scene.syncs_until_failure >= 0 && scene.syncs_until_failure-- == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(number, fd);
}

static int move_away(void *unused _unused_, int dir, const char *name, uint64_t first_seq _unused_)
{
	return unlinkat(dir, name, 0) == 0 ? 0 : -errno;
}

int fsync(int fd)
{
	if (scene.archives)
		(void)audit_files_scan(scene.dir, move_away, NULL);
	return sync_or_fail(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return sync_or_fail(SYS_fdatasync, fd);
}

static int begin(void **state _unused_)
{
	loosen();
	scratch_make("audit", scene.path, sizeof(scene.path));
	scene.dir = open(scene.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(scene.dir >= 0);
	scene.syncs_until_failure = -1;
	return 0;
}

static int end(void **state _unused_)
{
	loosen();
	(void)close(scene.dir);
	scratch_remove(scene.path);
	return 0;
}

static struct audit *open_audit(uint64_t file_bytes)
{
	struct audit_options options = {.file_bytes = file_bytes};
	struct audit *audit = NULL;

	assert_int_equal(audit_new(scene.dir, &options, &audit), 0);
	return audit;
}

/* A log of `n` records as a former start of the broker left it. */
static void make_log(unsigned int n, uint64_t file_bytes)
{
	struct audit *audit = open_audit(file_bytes);

	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(audit_write(audit, &plain, false), 0);
	audit_free(audit);
}

static size_t read_file(const char *name, char *ret_text, size_t size)
{
	_cleanup_close_ int fd = openat(scene.dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);

	if (n < 0)
		return 0;
	ret_text[n] = '\0';
	return (size_t)n;
}

static void append_file(const char *name, const void *bytes, size_t len)
{
	_cleanup_close_ int fd = openat(scene.dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, bytes, len), len);
}

static off_t size_of(const char *name)
{
	struct stat st;

	return fstatat(scene.dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -1 : st.st_size;
}

/* The log is in order and holds the records up to `last`. */
static void assert_log(uint64_t last)
{
	struct audit_report report;
	char text[AUDIT_REPORT_TEXT];

	assert_int_equal(audit_verify(scene.dir, NULL, &report), 0);
	audit_report_text(&report, text);
	if (report.fault != AUDIT_FAULT_NONE || report.last_seq != last || report.n_torn != 0)
		fail_msg("%s; up to %d was expected", text, (int)last);
}

/* ---- the chain, over starts and files ---------------------------------------------------------------------------- */

static void test_chain(void **state _unused_)
{
	static const char first[] = "\"prev\":\"" ZEROS "\"}\n";
	char text[8192], hex[2 * DIGEST_SIZE + 1], *second;
	uint8_t digest[DIGEST_SIZE];
	struct audit_end known;
	struct audit *audit;
	struct stat st;

	make_log(1, LIMIT_AUDIT_FILE);
	make_log(1, LIMIT_AUDIT_FILE);
	audit = open_audit(LIMIT_AUDIT_FILE);
	assert_int_equal(audit_write(audit, &plain, true), 0);
	known = audit_end(audit);
	assert_int_equal(known.seq, 3);
	assert_int_equal(audit_state(audit), AUDIT_HEALTHY);
	audit_free(audit);
	assert_true(read_file(AUDIT_LOG_NAME, text, sizeof(text)) > 0);
	second = strchr(text, '\n') + 1;
	assert_memory_equal(second - strlen(first), first, strlen(first));
	digest_sha256(text, (size_t)(second - text) - 1, digest);
	digest_to_hex(digest, hex);
	assert_non_null(strstr(second, hex));
	assert_int_equal(fstatat(scene.dir, AUDIT_LOG_NAME, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_log(3);
}

static int count_file(void *userdata, int state_dir _unused_, const char *name _unused_, uint64_t first_seq _unused_)
{
	(*(unsigned int *)userdata)++;
	return 0;
}

static unsigned int n_closed(void)
{
	unsigned int n = 0;

	assert_int_equal(audit_files_scan(scene.dir, count_file, &n), 0);
	return n;
}

static int check_closed(void *userdata _unused_, int state_dir _unused_, const char *name, uint64_t first_seq)
{
	char text[SMALL_FILE + 1], expected[32];

	assert_in_range(read_file(name, text, sizeof(text)), SMALL_FILE / 2, SMALL_FILE);
	(void)snprintf(expected, sizeof(expected), ",\"seq\":%d,", (int)first_seq);
	assert_true(strstr(text, expected) && strstr(text, expected) < strchr(text, '\n'));
	return 0;
}

static void test_rotation(void **state _unused_)
{
	struct audit *audit = open_audit(SMALL_FILE);

	for (unsigned int i = 1; i <= 100; i++) {
		assert_int_equal(audit_write(audit, &plain, i % 3 == 0), 0);
		assert_int_equal(audit_end(audit).seq, i);
		if (i % 10 == 0) { /* a start at any time */
			audit_free(audit);
			audit = open_audit(SMALL_FILE);
		}
		assert_log(i);
	}
	audit_free(audit);
	assert_int_equal(audit_files_scan(scene.dir, check_closed, NULL), 0);
	assert_in_range(n_closed(), 15, 30);
	assert_in_range(size_of(AUDIT_LOG_NAME), 1, SMALL_FILE);
}

static void test_rotation_archived_at_once(void **state _unused_)
{
	struct audit *audit = open_audit(SMALL_FILE);

	scene.archives = true;
	for (unsigned int i = 1; i <= 100; i++) {
		assert_int_equal(audit_write(audit, &plain, false), 0);
		assert_int_equal(audit_end(audit).seq, i);
	}
	scene.archives = false;
	assert_int_equal(n_closed(), 0);
	assert_int_equal(audit_state(audit), AUDIT_HEALTHY);
	audit_free(audit);
}

/* A limit below one line: each file gets one, none is empty. */
static void test_rotation_of_each(void **state _unused_)
{
	make_log(5, 1);
	assert_log(5);
	for (uint64_t seq = 0; seq <= 4; seq++) {
		uint64_t next = 0;

		assert_int_equal(audit_files_after(scene.dir, seq, &next), seq == 4);
		assert_int_equal(next, seq == 4 ? 0 : seq + 1);
	}
}

static void test_names(void **state _unused_)
{
	static const struct {
		const char *name;
		uint64_t seq; /* 0: not one of ours */
	} cases[] = {
		{"audit-00000000000000000001.log", 1},  {"audit-09223372036854775806.log", 9223372036854775806u},
		{"audit-00000000000000000000.log", 0},  {"audit-0000000000000000001.log", 0},
		{"audit-000000000000000000001.log", 0}, {"audit-0000000000000000000a.log", 0},
		{"audit-+0000000000000000001.log", 0},  {"audit-99999999999999999999.log", 0},
		{"Audit-00000000000000000001.log", 0},  {"audit-00000000000000000001.txt", 0},
		{"audit-00000000000000000001.log~", 0}, {"audit.log", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t seq = 0;

		append_file(cases[i].name, "x", 1);
		assert_int_equal(audit_files_up_to(scene.dir, UINT64_MAX, &seq), cases[i].seq == 0);
		assert_int_equal(seq, cases[i].seq);
		assert_int_equal(audit_files_after(scene.dir, 0, &seq), cases[i].seq == 0);
		assert_int_equal(audit_files_after(scene.dir, cases[i].seq, &seq), 1);
		assert_int_equal(audit_files_up_to(scene.dir, cases[i].seq ? cases[i].seq - 1 : 0, &seq), 1);
		assert_int_equal(unlinkat(scene.dir, cases[i].name, 0), 0);
	}
}

/* A file under the closed one's name is never lost for it: the log goes on in the full file. */
static void test_rotation_without_a_name(void **state _unused_)
{
	struct audit *audit = open_audit(SMALL_FILE);

	append_file("audit-00000000000000000001.log", "mine", 4);
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(audit_write(audit, &plain, true), 0);
	assert_int_equal(audit_state(audit), AUDIT_HEALTHY);
	assert_int_equal(size_of("audit-00000000000000000001.log"), 4);
	assert_true(size_of(AUDIT_LOG_NAME) > SMALL_FILE);
	assert_int_equal(unlinkat(scene.dir, "audit-00000000000000000001.log", 0), 0);
	assert_int_equal(audit_write(audit, &plain, true), 0);
	assert_true(size_of(AUDIT_LOG_NAME) < SMALL_FILE);
	audit_free(audit);
	assert_log(21);
}

/* ---- what a start finds ------------------------------------------------------------------------------------------ */

static void nothing(void)
{
}

static void closed_only(void)
{
	assert_int_equal(renameat(scene.dir, AUDIT_LOG_NAME, scene.dir, "audit-00000000000000000001.log"), 0);
}

static void closed_and_empty(void)
{
	closed_only();
	append_file(AUDIT_LOG_NAME, "", 0);
}

static void closed_and_half_a_line(void)
{
	closed_only();
	append_file(AUDIT_LOG_NAME, HEAD, strlen(HEAD));
}

static void half_a_line(void)
{
	append_file(AUDIT_LOG_NAME, HEAD, strlen(HEAD));
}

static void zeros(void)
{
	static const char block[70000];

	append_file(AUDIT_LOG_NAME, block, sizeof(block));
}

static void zeros_and_a_line(void)
{
	static const char block[5000];

	append_file(AUDIT_LOG_NAME, block, sizeof(block));
	append_file(AUDIT_LOG_NAME, "\n" HEAD "9,\"event\":\"x\"" TAIL "\n",
		    strlen("\n" HEAD "9,\"event\":\"x\"" TAIL "\n"));
}

static void garbage(void)
{
	append_file(AUDIT_LOG_NAME, "nonsense\n", 9);
}

static void long_garbage(void)
{
	char block[3 * LIMIT_AUDIT_LINE];

	memset(block, 'x', sizeof(block));
	append_file(AUDIT_LOG_NAME, block, sizeof(block));
}

static void empty_line(void)
{
	append_file(AUDIT_LOG_NAME, "\n", 1);
}

static void second_link(void)
{
	assert_int_equal(linkat(scene.dir, AUDIT_LOG_NAME, scene.dir, "other", 0), 0);
}

static void symbolic_link(void)
{
	assert_int_equal(renameat(scene.dir, AUDIT_LOG_NAME, scene.dir, "other"), 0);
	assert_int_equal(symlinkat("other", scene.dir, AUDIT_LOG_NAME), 0);
}

static void fifo(void)
{
	assert_int_equal(unlinkat(scene.dir, AUDIT_LOG_NAME, 0), 0);
	assert_int_equal(mkfifoat(scene.dir, AUDIT_LOG_NAME, 0600), 0);
}

static void directory(void)
{
	assert_int_equal(unlinkat(scene.dir, AUDIT_LOG_NAME, 0), 0);
	assert_int_equal(mkdirat(scene.dir, AUDIT_LOG_NAME, 0700), 0);
}

static void closed_half(void)
{
	closed_only();
	append_file("audit-00000000000000000001.log", HEAD, strlen(HEAD));
}

static void closed_empty(void)
{
	closed_only();
	append_file("audit-00000000000000000009.log", "", 0);
}

static void closed_is_newer(void)
{
	char text[8192];
	size_t len = read_file(AUDIT_LOG_NAME, text, sizeof(text));

	append_file("audit-00000000000000000001.log", text, len);
}

static void test_starts(void **state _unused_)
{
	static const struct {
		const char *name;
		void (*prepare)(void);
		enum audit_state expected;
		off_t torn; /* moved away */
	} cases[] = {
		{"as it was", nothing, AUDIT_HEALTHY, -1},
		{"renamed, no new file", closed_only, AUDIT_HEALTHY, -1},
		{"renamed, new file is empty", closed_and_empty, AUDIT_HEALTHY, -1},
		{"renamed, first line torn", closed_and_half_a_line, AUDIT_HEALTHY, (off_t)sizeof(HEAD)},
		{"torn", half_a_line, AUDIT_HEALTHY, (off_t)sizeof(HEAD)},
		{"blocks of zeros", zeros, AUDIT_HEALTHY, 70001},
		{"a lost block", zeros_and_a_line, AUDIT_HEALTHY,
		 5000 + (off_t)strlen("\n" HEAD "9,\"event\":\"x\"" TAIL "\n\n")},
		{"garbage", garbage, AUDIT_UNTRUSTED, -1},
		{"garbage without an end", long_garbage, AUDIT_UNTRUSTED, -1},
		{"an empty line", empty_line, AUDIT_UNTRUSTED, -1},
		{"a second link", second_link, AUDIT_UNTRUSTED, -1},
		{"a symbolic link", symbolic_link, AUDIT_UNTRUSTED, -1},
		{"a fifo", fifo, AUDIT_UNTRUSTED, -1},
		{"a directory", directory, AUDIT_UNTRUSTED, -1},
		{"a closed file that is torn", closed_half, AUDIT_UNTRUSTED, -1},
		{"a closed file that is empty", closed_empty, AUDIT_UNTRUSTED, -1},
		{"a closed file with the same records", closed_is_newer, AUDIT_UNTRUSTED, -1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct audit *audit;
		int expected = cases[i].expected == AUDIT_HEALTHY ? 0 : -ESTALE;

		(void)begin(NULL);
		make_log(3, LIMIT_AUDIT_FILE);
		cases[i].prepare();
		audit = open_audit(LIMIT_AUDIT_FILE);
		if (audit_state(audit) != cases[i].expected || size_of(AUDIT_TORN_NAME) != cases[i].torn)
			fail_msg("%s: state %u, torn %d", cases[i].name, audit_state(audit),
				 (int)size_of(AUDIT_TORN_NAME));
		assert_int_equal(audit_write(audit, &plain, true), expected);
		assert_int_equal(audit_write(audit, &plain, false), expected);
		if (expected == 0)
			assert_log(5);
		audit_free(audit);
		(void)end(NULL);
	}
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

/* ST07: what does not fit is taken back, tried again, counted. */
static void test_no_room(void **state _unused_)
{
	struct audit *audit = open_audit(LIMIT_AUDIT_FILE);
	struct audit_record counted = plain;
	char text[16384];
	off_t size;

	counted.n_left_out = 5;
	assert_int_equal(audit_write(audit, &plain, true), 0);
	size = size_of(AUDIT_LOG_NAME);
	tighten(RLIMIT_FSIZE, (rlim_t)size + 10);
	assert_int_equal(audit_write(audit, &plain, true), -EFBIG);
	assert_int_equal(audit_state(audit), AUDIT_WRITE_FAILING);
	assert_int_equal(audit_write(audit, &plain, false), -EFBIG);
	assert_int_equal(audit_write(audit, &counted, false), -EFBIG);
	assert_int_equal(size_of(AUDIT_LOG_NAME), size);
	loosen();
	assert_int_equal(audit_write(audit, &plain, true), 0);
	assert_int_equal(audit_state(audit), AUDIT_HEALTHY);
	assert_int_equal(audit_write(audit, &plain, true), 0);
	audit_free(audit);
	assert_true(read_file(AUDIT_LOG_NAME, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "\"left-out\":7,")); /* a note, another, and its five */
	assert_null(strstr(strstr(text, "\"left-out\"") + 1, "\"left-out\""));
	assert_log(3);
}

/* A log that could not be opened at the start is tried again; its numbers go on. */
static void test_no_file(void **state _unused_)
{
	struct audit *audit;

	make_log(2, LIMIT_AUDIT_FILE);
	tighten(RLIMIT_NOFILE, 3);
	audit = open_audit(LIMIT_AUDIT_FILE);
	assert_int_equal(audit_state(audit), AUDIT_WRITE_FAILING);
	assert_int_equal(audit_write(audit, &plain, true), -EMFILE);
	loosen();
	assert_int_equal(audit_write(audit, &plain, true), 0);
	assert_int_equal(audit_state(audit), AUDIT_HEALTHY);
	audit_free(audit);
	assert_log(3);
}

/* The next file cannot be opened: it is tried again, and what is found then must be what was left. */
static void test_no_next_file(void **state _unused_)
{
	for (int tampered = 0; tampered <= 1; tampered++) {
		struct audit *audit;
		int r = 0;

		(void)begin(NULL);
		audit = open_audit(SMALL_FILE);
		tighten(RLIMIT_NOFILE, 0);
		for (unsigned int i = 0; i < 10 && r == 0; i++)
			r = audit_write(audit, &plain, true);
		assert_int_equal(r, -EMFILE);
		assert_int_equal(audit_state(audit), AUDIT_WRITE_FAILING);
		loosen();
		assert_int_equal(n_closed(), 1);
		if (tampered)
			append_file(AUDIT_LOG_NAME, "{}\n", 3);
		assert_int_equal(audit_write(audit, &plain, true), tampered ? -ESTALE : 0);
		assert_int_equal(audit_state(audit), tampered ? AUDIT_UNTRUSTED : AUDIT_HEALTHY);
		if (!tampered)
			assert_log(audit_end(audit).seq);
		audit_free(audit);
		(void)end(NULL);
	}
}

/* The Nth sync of opening, writing and rotating fails, once: no durable record from then on, although syncs work again. */
static void test_sync_fails(void **state _unused_)
{
	unsigned int n_failed = 0;

	for (int n = 0;; n++) {
		struct audit *audit;
		unsigned int n_good = 0, n_files = 0;
		bool bad = false;

		(void)begin(NULL);
		make_log(3, SMALL_FILE);
		half_a_line();
		scene.syncs_until_failure = n;
		audit = open_audit(SMALL_FILE);
		for (unsigned int i = 0; i < 20; i++) {
			bool durable = i % 3 != 0;
			int r = audit_write(audit, &plain, durable);

			if (!bad && scene.syncs_until_failure < 0)
				n_files = n_closed();
			bad = scene.syncs_until_failure < 0;
			if (bad)
				assert_int_equal(r, durable ? -ENOTRECOVERABLE : 0);
			if (bad)
				assert_int_equal(n_closed(), n_files); /* a rotation would need syncs */
			assert_int_equal(audit_state(audit), bad ? AUDIT_SYNC_FAILED : AUDIT_HEALTHY);
			n_good += r == 0;
		}
		scene.syncs_until_failure = -1;
		audit_free(audit);
		assert_log(3 + n_good);
		audit = open_audit(SMALL_FILE); /* the next start */
		assert_int_equal(audit_write(audit, &plain, true), 0);
		audit_free(audit);
		assert_log(4 + n_good);
		(void)end(NULL);
		if (!bad)
			break;
		n_failed++;
	}
	assert_in_range(n_failed, 20, 60);
}

/* Each durable record is synced before the call returns, whatever came before it; no other is. */
static void test_syncs_are_counted(void **state _unused_)
{
	struct audit *audit = open_audit(LIMIT_AUDIT_FILE);

	for (unsigned int i = 0; i < 32; i++) {
		bool durable = i % 7 == 3 || i % 7 > 4; /* alone, and two in a row */
		unsigned int before = scene.n_syncs;

		assert_int_equal(audit_write(audit, &plain, durable), 0);
		assert_int_equal(scene.n_syncs - before, durable);
	}
	audit_free(audit);
	assert_log(32);
}

static void removed(void)
{
	assert_int_equal(unlinkat(scene.dir, AUDIT_LOG_NAME, 0), 0);
}

static void replaced(void)
{
	char text[8192];
	size_t len = read_file(AUDIT_LOG_NAME, text, sizeof(text));

	append_file("new", text, len);
	assert_int_equal(renameat(scene.dir, "new", scene.dir, AUDIT_LOG_NAME), 0);
}

static void shortened(void)
{
	_cleanup_close_ int fd = openat(scene.dir, AUDIT_LOG_NAME, O_WRONLY | O_CLOEXEC);

	assert_int_equal(ftruncate(fd, size_of(AUDIT_LOG_NAME) - 1), 0);
}

static void longer(void)
{
	append_file(AUDIT_LOG_NAME, "{}\n", 3);
}

/* ST13, before and after a rotation. */
static void test_taken_away(void **state _unused_)
{
	static void (*const attacks[])(void) = {removed,     replaced,      shortened, longer,
						second_link, symbolic_link, fifo,      directory};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(attacks); i++) {
		struct audit *audit;
		unsigned int n = i < ARRAY_SIZE(attacks) ? 1 : 8;

		(void)begin(NULL);
		audit = open_audit(SMALL_FILE);
		for (unsigned int k = 0; k < n; k++)
			assert_int_equal(audit_write(audit, &plain, true), 0);
		attacks[i % ARRAY_SIZE(attacks)]();
		assert_int_equal(audit_write(audit, &plain, true), -ESTALE);
		assert_int_equal(audit_state(audit), AUDIT_UNTRUSTED);
		assert_int_equal(audit_write(audit, &plain, false), -ESTALE);
		audit_free(audit);
		(void)end(NULL);
	}
}

static void test_state_texts(void **state _unused_)
{
	for (unsigned int i = 0; i < AUDIT_STATE_COUNT; i++) {
		assert_true(strlen(audit_state_text((enum audit_state)i)) > 20);
		for (unsigned int j = 0; j < i; j++)
			assert_string_not_equal(audit_state_text((enum audit_state)i),
						audit_state_text((enum audit_state)j));
	}
	assert_null(audit_free(NULL));
}

/* Many closed files are told of once a start, and none is deleted. */
static void test_many_files(void **state _unused_)
{
	char text[16384];
	_cleanup_close_ int saved = dup(STDERR_FILENO);
	_cleanup_close_ int to = openat(scene.dir, "stderr", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)fflush(stderr);
	assert_true(dup2(to, STDERR_FILENO) >= 0);
	make_log(LIMIT_AUDIT_OLD_FILES + 20, 1);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	assert_true(read_file("stderr", text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "65 closed files"));
	assert_null(strstr(strstr(text, "closed files") + 1, "closed files"));
	assert_log(LIMIT_AUDIT_OLD_FILES + 20);
}

/* ---- the journal ------------------------------------------------------------------------------------------------- */

static int bind_journal(char *ret_path, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(ret_path, size, "%s/journal", scene.path);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", ret_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void test_journal(void **state _unused_)
{
	char path[100], entry[8192], expected[256], hex[2 * DIGEST_SIZE + 1];
	_cleanup_close_ int journal = bind_journal(path, sizeof(path));
	struct audit_options options = {.file_bytes = LIMIT_AUDIT_FILE, .journal_socket = path};
	struct audit_record record = plain;
	struct audit *audit;
	ssize_t len;

	record.rule = "a\nQDB_SEQ=9";
	record.outcome = "\xff\x1b";
	record.caller = (struct core_user){.uid = 1000, .qube = "sys-gui"};
	record.answered_by = (struct core_user){.uid = 0, .qube = "gui2"};
	assert_int_equal(audit_new(scene.dir, &options, &audit), 0);
	assert_int_equal(audit_write(audit, &record, true), 0);
	len = recv(journal, entry, sizeof(entry) - 1, 0);
	assert_true(len > 0);
	entry[len] = '\0';
	digest_to_hex(audit_end(audit).digest, hex);
	(void)snprintf(expected, sizeof(expected), "QDB_SEQ=1\nQDB_SHA256=%s\nQDB_DEVICE=0781:5581:AB12:u080650\n",
		       hex);
	assert_non_null(strstr(entry, expected));
	assert_non_null(strstr(entry,
			       "QDB_SOURCE=sys-usb\nQDB_TARGET=work\nQDB_OUTCOME=__\nQDB_RULE=a_QDB_SEQ=9\n"
			       "QDB_WHO=1000\nQDB_WHO_QUBE=sys-gui\nQDB_ANSWERED_BY=0\nQDB_ANSWERED_BY_QUBE=gui2\n"));
	assert_memory_equal(
		entry, "MESSAGE=attach-request: 0781:5581:AB12:u080650 from sys-usb to work, by rule a_QDB",
		strlen("MESSAGE=attach-request: 0781:5581:AB12:u080650 from sys-usb to work, by rule a_QDB"));

	removed(); /* what the log lacks is in the journal at least */
	assert_int_equal(audit_write(audit, &plain, false), -ESTALE);
	len = recv(journal, entry, sizeof(entry) - 1, 0);
	assert_true(len > 0);
	entry[len] = '\0';
	assert_non_null(strstr(entry, "PRIORITY=4\n"));
	assert_null(strstr(entry, "QDB_SEQ"));
	audit_free(audit);
}

/* journald is stopped, then gone: nothing waits, nothing fails. */
static void test_journal_is_busy(void **state _unused_)
{
	char path[100];
	int journal = bind_journal(path, sizeof(path));
	struct audit_options options = {.file_bytes = LIMIT_AUDIT_FILE, .journal_socket = path};
	struct audit *audit;
	uint64_t since;

	assert_int_equal(audit_new(scene.dir, &options, &audit), 0);
	since = clock_now_usec();
	for (unsigned int i = 0; i < 2000; i++) {
		if (i == 1000)
			(void)close(journal);
		if (i == 1500)
			assert_int_equal(unlink(path), 0);
		assert_int_equal(audit_write(audit, &plain, false), 0);
	}
	assert_true(clock_now_usec() - since < 10 * USEC_PER_SEC);
	audit_free(audit);
	assert_log(2000);
}

int main(void)
{
#define SCENE(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		SCENE(test_chain),
		SCENE(test_rotation),
		SCENE(test_rotation_of_each),
		SCENE(test_rotation_archived_at_once),
		SCENE(test_names),
		SCENE(test_rotation_without_a_name),
		cmocka_unit_test(test_starts),
		SCENE(test_no_room),
		SCENE(test_no_file),
		cmocka_unit_test(test_no_next_file),
		cmocka_unit_test(test_sync_fails),
		SCENE(test_syncs_are_counted),
		cmocka_unit_test(test_taken_away),
		cmocka_unit_test(test_state_texts),
		SCENE(test_many_files),
		SCENE(test_journal),
		SCENE(test_journal_is_busy),
	};

	(void)signal(SIGXFSZ, SIG_IGN);
	if (getrlimit(RLIMIT_FSIZE, &scene.file_bytes) || getrlimit(RLIMIT_NOFILE, &scene.n_files))
		return EXIT_FAILURE;
	return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
