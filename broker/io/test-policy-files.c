// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The policy's directory, with real files: what is taken and what is not, faults of the disk, and sets that are
 * exchanged under our eyes. Hostile cases PO01, PO02, PO03, PO06, PO10, PO11.
 */
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "broker/io/clock.h"
#include "broker/io/policy-files.h"
#include "lib/base/base.h"

/* ---- a disk that fails ---- */

/* The read that `fault_at` counts down to does something else first. */
static struct {
	int at;                                /* 0: never */
	int error;                             /* not 0: fails so */
	void (*before)(const char *directory); /* not NULL: is called instead, and again each `every` reads */
	int every;
	const char *directory;
} fault;

/* In the place of libc's. */
ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
	if (fault.at > 0 && --fault.at == 0) {
		if (fault.error) {
			errno = fault.error;
			return -1;
		}
		fault.at = fault.every;
		fault.before(fault.directory);
	}
	return syscall(SYS_pread64, fd, buffer, size, offset);
}

/* ---- scenes ---- */

/* Two directories, and what a test may have begun. */
static struct {
	char root[64], policy[96], other[96];
	sd_event *event;
	struct policy_files *files;
	unsigned int n_changes;
	pid_t child; /* 0: none */
} scene;

static int set_up(void **unused _unused_)
{
	memset(&fault, 0, sizeof(fault));
	memset(&scene, 0, sizeof(scene));
	scratch_make("policy-files", scene.root, sizeof(scene.root));
	(void)snprintf(scene.policy, sizeof(scene.policy), "%s/policy.d", scene.root);
	(void)snprintf(scene.other, sizeof(scene.other), "%s/other.d", scene.root);
	assert_int_equal(mkdir(scene.policy, 0755), 0);
	assert_int_equal(mkdir(scene.other, 0755), 0);
	return 0;
}

/* The exit status as waitpid() has it. */
static int wait_for_child(void)
{
	int status = -1;

	assert_int_equal(waitpid(scene.child, &status, 0), scene.child);
	scene.child = 0;
	return status;
}

static int kill_child(void)
{
	assert_true(scene.child > 0);
	assert_int_equal(kill(scene.child, SIGKILL), 0);
	return wait_for_child();
}

/* Its exit status is what `run` returns. */
static void start_child(int (*run)(void))
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(run());
	}
	scene.child = child;
}

static int tear_down(void **unused _unused_)
{
	if (scene.child)
		(void)kill_child();
	policy_files_free(scene.files);
	sd_event_unref(scene.event);
	(void)chmod(scene.policy, 0755);
	scratch_remove(scene.root);
	return 0;
}

static void write_file(const char *directory, const char *name, const char *text)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

static int open_file(const char *directory, const char *name)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* As editors do. */
static void replace_file(const char *directory, const char *name, const char *text)
{
	char from[256], to[256];

	write_file(directory, "new~", text);
	(void)snprintf(from, sizeof(from), "%s/new~", directory);
	(void)snprintf(to, sizeof(to), "%s/%s", directory, name);
	assert_int_equal(rename(from, to), 0);
}

static int exchange(const char *a, const char *b)
{
	return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2 /* RENAME_EXCHANGE */);
}

/* The error's text, or "good". */
static const char *read_it(const char *directory)
{
	static char text[POLICY_ERROR_TEXT_MAX];
	static const struct policy_files_hooks hooks;
	struct policy_files *files = NULL;
	sd_event *event = NULL;
	const char *error;

	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(policy_files_new(event, directory, geteuid(), &hooks, NULL, &files), 0);
	error = policy_files_error(files);
	assert_int_equal(policy_files_current(files) == NULL, error != NULL);
	(void)snprintf(text, sizeof(text), "%s", error ? error : "good");
	policy_files_free(files);
	sd_event_unref(event);
	return text;
}

static void expect(const char *directory, const char *part)
{
	const char *text = read_it(directory);

	if (!strstr(text, part))
		fail_msg("expected \"%s\": %s", part, text);
}

static enum policy_action decide(const struct policy *policy, const char *target)
{
	struct policy_query query = {.class_name = "usb", .source = "sys-usb", .target = target};
	struct policy_verdict verdict;

	policy_decide(policy, &query, &verdict);
	return verdict.action;
}

/* ---- what is taken ---- */

static void make_link(const char *path)
{
	assert_int_equal(symlink("b.policy", path), 0);
}

static void make_link_loop(const char *path)
{
	assert_int_equal(symlink("x.policy", path), 0);
}

static void make_dangling_link(const char *path)
{
	assert_int_equal(symlink("/nowhere", path), 0);
}

static void make_fifo(const char *path)
{
	assert_int_equal(mkfifo(path, 0644), 0);
}

static void make_directory(const char *path)
{
	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_socket(const char *path)
{
	assert_int_equal(mknod(path, S_IFSOCK | 0644, 0), 0);
}

static void make_device(const char *path)
{
	if (geteuid() != 0 || mknod(path, S_IFCHR | 0644, 0x105 /* /dev/zero */) < 0)
		assert_int_equal(symlink("/dev/zero", path), 0);
}

static void make_empty(const char *path)
{
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)), 0);
}

static void make_group_writable(const char *path)
{
	make_empty(path);
	assert_int_equal(truncate(path, 1), 0);
	assert_int_equal(chmod(path, 0664), 0);
}

static void make_world_writable(const char *path)
{
	make_group_writable(path);
	assert_int_equal(chmod(path, 0646), 0);
}

static void make_foreign(const char *path)
{
	make_group_writable(path);
	assert_int_equal(chmod(path, 0644), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(path, 12345, 0), 0);
	else
		assert_int_equal(chmod(path, 0666), 0);
}

static void make_big(const char *path)
{
	make_empty(path);
	assert_int_equal(truncate(path, LIMIT_POLICY_BYTES), 0);
}

static void test_kinds(void **unused _unused_)
{
	static const struct {
		void (*make)(const char *path);
		const char *fault;
	} kinds[] = {
		{make_link, "not a regular file"},
		{make_link_loop, "not a regular file"},
		{make_dangling_link, "not a regular file"},
		{make_fifo, "not a regular file"},
		{make_directory, "not a regular file"},
		{make_socket, "not a regular file"},
		{make_device, "not a regular file"},
		{make_empty, "empty"},
		{make_group_writable, "chmod go-w"},
		{make_world_writable, "chmod go-w"},
		{make_foreign, "ch"},
		{make_big, "too big"},
	};
	char path[128], part[128];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		write_file(scene.policy, "b.policy", "* * * * allow\n");
		expect(scene.policy, "good");
		/* no matter what, while nobody needs it */
		(void)snprintf(path, sizeof(path), "%s/x", scene.policy);
		kinds[i].make(path);
		expect(scene.policy, "good");
		(void)snprintf(path, sizeof(path), "%s/.x.policy", scene.policy);
		kinds[i].make(path);
		expect(scene.policy, "good");
		replace_file(scene.policy, "b.policy", "* * * * allow\n!include x\n");
		(void)snprintf(part, sizeof(part), "x: %s", kinds[i].make == make_big ? "the files" : "");
		expect(scene.policy, part);
		expect(scene.policy, kinds[i].fault);
		replace_file(scene.policy, "b.policy", "* * * * allow\n");
		(void)snprintf(path, sizeof(path), "%s/x.policy", scene.policy);
		kinds[i].make(path);
		expect(scene.policy, "x.policy: ");
		expect(scene.policy, kinds[i].fault);
		scratch_remove(scene.policy);
		assert_int_equal(mkdir(scene.policy, 0755), 0);
	}
}

static void test_directory(void **unused _unused_)
{
	static const struct {
		mode_t mode;
		const char *part;
	} modes[] = {{0755, "good"}, {0700, "good"}, {0775, "chmod go-w"}, {0757, "chmod go-w"}, {01777, "chmod go-w"}};
	char path[128];

	expect(scene.policy, "no file *.policy");
	write_file(scene.policy, "a.policy", "* * * * allow\n");
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(chmod(scene.policy, modes[i].mode), 0);
		expect(scene.policy, modes[i].part);
	}
	assert_int_equal(chmod(scene.policy, 0755), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(scene.policy, 12345, 0), 0);
		expect(scene.policy, "does not belong to root");
		assert_int_equal(chown(scene.policy, 0, 0), 0);
	}
	(void)snprintf(path, sizeof(path), "%s/link", scene.root);
	assert_int_equal(symlink("policy.d", path), 0);
	expect(path, "not a directory");
	(void)snprintf(path, sizeof(path), "%s/missing", scene.root);
	expect(path, "is missing: create it");
	(void)snprintf(path, sizeof(path), "%s/policy.d/a.policy", scene.root);
	expect(path, "not a directory");
	write_file(scene.policy, "b c.policy", "#\n");
	expect(scene.policy, "b c.policy: a file's name");
}

static int look_unreadable(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/a.policy", scene.policy);
	if (geteuid() == 0 ? setresuid(12345, 12345, 12345) : chmod(path, 0))
		return 9;
	return !strstr(read_it(scene.policy), "a.policy: the broker's account may not read it: chmod a+r");
}

static int look_readable(void)
{
	if (geteuid() == 0 && setresuid(12345, 12345, 12345))
		return 9;
	return strcmp(read_it(scene.policy), "good") != 0;
}

/* PO02: the files of somebody whom we may not read; root may read all, so another account looks. */
static void test_unreadable(void **unused _unused_)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/a.policy", scene.policy);
	write_file(scene.policy, "a.policy", "* * * * allow\n");
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(chmod(scene.root, 0755), 0);
	start_child(look_unreadable);
	assert_int_equal(wait_for_child(), 0);
	/* as installed: root's, and read by the broker's own account */
	assert_int_equal(chmod(path, 0644), 0);
	start_child(look_readable);
	assert_int_equal(wait_for_child(), 0);
}

/* ---- faults while it is read ---- */

static void grow(const char *directory)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/b.policy", directory);
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "* * * * deny\n", 13), 13);
	(void)close(fd);
}

static void shrink(const char *directory)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/b.policy", directory);
	assert_int_equal(truncate(path, 13), 0);
}

static void rewrite_a(const char *directory)
{
	static int turn;

	replace_file(directory, "a.policy", turn++ % 2 ? "# as long\n" : "# as wide\n");
}

static void add_file(const char *directory)
{
	write_file(directory, "c.policy", "#\n");
}

/* PO02: the Nth read fails, for each N; a file, or the set, changes at the Nth read. */
static void test_disk(void **unused _unused_)
{
	static void (*const changes[])(const char *directory) = {grow, shrink, rewrite_a, add_file};
	int n_eio = 0;

	for (int n = 1; n < 20; n++) {
		replace_file(scene.policy, "a.policy", "# first\n");
		replace_file(scene.policy, "b.policy", "* * * * allow\n* * * * ask\n");
		fault.at = n;
		fault.error = EIO;
		if (n <= 4) /* two per file */
			expect(scene.policy, ".policy: the disk failed");
		else
			expect(scene.policy, "good");
		n_eio += fault.at == 0;
	}
	assert_int_equal(n_eio, 4);
	memset(&fault, 0, sizeof(fault));
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		for (int n = 1; n <= 4; n++) {
			replace_file(scene.policy, "b.policy", "* * * * allow\n* * * * ask\n");
			fault.at = n;
			fault.before = changes[i];
			fault.directory = scene.policy;
			fault.every = 0; /* once: read again, and taken */
			expect(scene.policy, "good");
			assert_int_equal(fault.at, 0);
			if (changes[i] == add_file || changes[i] == shrink)
				continue;
			fault.at = n;
			fault.every = 4; /* each time */
			expect(scene.policy, "keeps changing");
			memset(&fault, 0, sizeof(fault));
		}
}

/* No more are looked at than there may be, so it makes no difference how many more there are. */
static void test_many_files(void **unused _unused_)
{
	char path[128];
	clock_t start;

	write_file(scene.policy, "a.policy", "* * * * allow\n");
	for (unsigned int i = 0; i < LIMIT_POLICY_FILES - 1; i++) {
		(void)snprintf(path, sizeof(path), "%s/%u", scene.policy, i);
		make_empty(path);
	}
	expect(scene.policy, "good");
	for (unsigned int i = LIMIT_POLICY_FILES; i < 10000; i++) {
		(void)snprintf(path, sizeof(path), "%s/%u", scene.policy, i);
		make_empty(path);
		if (i == LIMIT_POLICY_FILES)
			expect(scene.policy, "more than 256 entries");
	}
	start = clock(); /* of the processor's time, which others do not use up */
	expect(scene.policy, "more than 256 entries");
	assert_true(clock() - start < CLOCKS_PER_SEC);
}

/* ---- following ---- */

static void on_changed(void *unused _unused_)
{
	scene.n_changes++;
}

static void follow(void)
{
	static const struct policy_files_hooks hooks = {.changed = on_changed};

	write_file(scene.policy, "a.policy", "* * * work allow\n");
	assert_int_equal(sd_event_new(&scene.event), 0);
	assert_int_equal(policy_files_new(scene.event, scene.policy, geteuid(), &hooks, NULL, &scene.files), 0);
}

/* Waits for a set that says so of `work`, and for a message with `part` in it (NULL: good). */
static void wait_for(enum policy_action action, const char *part)
{
	uint64_t end = clock_now_usec() + 20 * USEC_PER_SEC;

	for (;;) {
		const struct policy *policy = policy_files_current(scene.files);
		const char *error = policy_files_error(scene.files);

		assert_int_equal(policy == NULL, error != NULL);
		if (decide(policy, "work") == action && (part ? error && strstr(error, part) : !error))
			return;
		if (clock_now_usec() > end)
			fail_msg("still %s, not %s", error ? error : "good", part ? part : "good");
		assert_true(sd_event_run(scene.event, 100 * USEC_PER_MSEC) >= 0);
	}
}

static void settle(uint64_t usec)
{
	uint64_t end = clock_now_usec() + usec;

	while (clock_now_usec() < end)
		assert_true(sd_event_run(scene.event, 10 * USEC_PER_MSEC) >= 0);
}

/* PO11: each kind of change is seen; a broken set denies until it is good again. */
static void test_follow(void **unused _unused_)
{
	char path[128];
	unsigned int n;
	int fd;

	follow();
	assert_int_equal(scene.n_changes, 0);
	wait_for(POLICY_ALLOW, NULL);
	write_file(scene.policy, "a.policy", "* * * work ask\n"); /* in place */
	wait_for(POLICY_ASK, NULL);
	replace_file(scene.policy, "a.policy", "* * * work allow\n");
	wait_for(POLICY_ALLOW, NULL);
	fd = open_file(scene.policy, "a.policy"); /* ... and kept open */
	assert_int_equal(pwrite(fd, "* * * work ask  \n", 17, 0), 17);
	wait_for(POLICY_ASK, NULL);
	assert_int_equal(close(fd), 0);
	replace_file(scene.policy, "a.policy", "* * * work allow\n");
	wait_for(POLICY_ALLOW, NULL);
	write_file(scene.policy, "b.policy", "#\nnonsense\n");
	wait_for(POLICY_DENY, "b.policy:2: DEVICE is missing");
	(void)snprintf(path, sizeof(path), "%s/b.policy", scene.policy);
	assert_int_equal(unlink(path), 0);
	wait_for(POLICY_ALLOW, NULL);
	(void)snprintf(path, sizeof(path), "%s/a.policy", scene.policy);
	assert_int_equal(chmod(path, 0666), 0);
	wait_for(POLICY_DENY, "chmod go-w");
	assert_int_equal(chmod(path, 0644), 0);
	wait_for(POLICY_ALLOW, NULL);
	assert_int_equal(chmod(scene.policy, 0777), 0);
	wait_for(POLICY_DENY, "chmod go-w");
	assert_int_equal(chmod(scene.policy, 0755), 0);
	wait_for(POLICY_ALLOW, NULL);
	/* the directory itself: exchanged, gone, back */
	write_file(scene.other, "z.policy", "* * * work ask\n");
	assert_int_equal(exchange(scene.policy, scene.other), 0);
	wait_for(POLICY_ASK, NULL);
	settle(3 * TIMEOUT_POLICY_GATHER_USEC);
	n = scene.n_changes;
	write_file(scene.other, "z.policy", "nonsense\n"); /* the former one: no longer of interest */
	settle(3 * TIMEOUT_POLICY_GATHER_USEC);
	assert_int_equal(scene.n_changes, n);
	replace_file(scene.policy, "z.policy", "* * * work allow\n");
	wait_for(POLICY_ALLOW, NULL);
	(void)snprintf(path, sizeof(path), "%s/away", scene.root);
	assert_int_equal(rename(scene.policy, path), 0);
	wait_for(POLICY_DENY, "is missing");
	n = scene.n_changes;
	settle(TIMEOUT_POLICY_RETRY_USEC * 5 / 2);
	assert_int_equal(scene.n_changes, n); /* looked again, and nothing new to tell */
	assert_int_equal(rename(path, scene.policy), 0);
	wait_for(POLICY_ALLOW, NULL);
	/* by hand, before any event was read */
	replace_file(scene.policy, "z.policy", "* * * work ask\n");
	n = scene.n_changes;
	policy_files_reload(scene.files);
	assert_int_equal(scene.n_changes, n + 1);
	assert_int_equal(decide(policy_files_current(scene.files), "work"), POLICY_ASK);
	settle(3 * TIMEOUT_POLICY_GATHER_USEC);
	assert_in_range(scene.n_changes, n + 1, n + 2);
}

/* A burst is read together; a disk that failed is tried again though nothing changed. */
static void test_bursts(void **unused _unused_)
{
	follow();
	for (int i = 0; i < 1000; i++)
		replace_file(scene.policy, "a.policy", i % 2 ? "* * * work ask\n" : "nonsense\n");
	wait_for(POLICY_ASK, NULL);
	settle(3 * TIMEOUT_POLICY_GATHER_USEC);
	assert_in_range(scene.n_changes, 1, 3);
	fault.at = 1;
	fault.error = EIO;
	policy_files_reload(scene.files);
	assert_non_null(strstr(policy_files_error(scene.files), "the disk failed"));
	wait_for(POLICY_ASK, NULL);
}

/* ---- PO10 ---- */

/*
 * Two sets of eight files: in the one `work` may and `personal` must not, in the other the other way round. File i says
 * it for qube number i only, so a mix of both has a verdict for one number that does not fit that for another.
 */
#define N_PARTS 8

static void write_set(const char *directory, bool turned)
{
	char name[32], text[128];

	for (int i = 0; i < N_PARTS; i++) {
		(void)snprintf(name, sizeof(name), "%d.policy", i);
		(void)snprintf(text, sizeof(text), "usb * * work%d %s\nusb * * personal%d %s\n", i,
			       turned ? "deny" : "allow", i, turned ? "allow" : "deny");
		write_file(directory, name, text);
	}
}

/* Every millisecond, until killed: the directories change places. */
static int exchange_for_ever(void)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	do
		(void)exchange(scene.policy, scene.other);
	while (nanosleep(&pause, NULL) == 0);
	return 1;
}

enum seen { SEEN_NONE, SEEN_ONE, SEEN_OTHER, SEEN_MIX };

static enum seen look_at(const struct policy *policy)
{
	unsigned int n_work = 0, n_personal = 0;
	char name[32];

	for (int i = 0; i < N_PARTS; i++) {
		(void)snprintf(name, sizeof(name), "work%d", i);
		n_work += decide(policy, name) == POLICY_ALLOW;
		(void)snprintf(name, sizeof(name), "personal%d", i);
		n_personal += decide(policy, name) == POLICY_ALLOW;
	}
	if (n_work + n_personal == 0)
		return SEEN_NONE;
	if (n_work == N_PARTS && n_personal == 0)
		return SEEN_ONE;
	return n_personal == N_PARTS && n_work == 0 ? SEEN_OTHER : SEEN_MIX;
}

static void test_exchange(void **unused _unused_)
{
	unsigned int n_seen[4] = {0};
	char path[128];
	uint64_t start, took = 0;

	follow();
	(void)snprintf(path, sizeof(path), "%s/a.policy", scene.policy);
	assert_int_equal(unlink(path), 0);
	write_set(scene.policy, false);
	write_set(scene.other, true);
	start_child(exchange_for_ever);
	start = clock_now_usec();
	for (unsigned int i = 0; took < 3 * USEC_PER_SEC || n_seen[SEEN_ONE] == 0 || n_seen[SEEN_OTHER] == 0; i++) {
		took = clock_now_usec() - start;
		assert_true(took < 60 * USEC_PER_SEC);
		if (i % 2)
			policy_files_reload(scene.files);
		else
			assert_true(sd_event_run(scene.event, 2 * USEC_PER_MSEC) >= 0);
		n_seen[look_at(policy_files_current(scene.files))]++;
	}
	assert_true(WIFSIGNALED(kill_child()));
	print_message("%u decisions by the one set, %u by the other, %u by none\n", n_seen[SEEN_ONE],
		      n_seen[SEEN_OTHER], n_seen[SEEN_NONE]);
	assert_int_equal(n_seen[SEEN_MIX], 0);
	write_file(scene.policy, "0.policy", "* * * work allow\n");
	wait_for(POLICY_ALLOW, NULL);
}

int main(void)
{
#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		SCENE(test_kinds),      SCENE(test_directory), SCENE(test_unreadable), SCENE(test_disk),
		SCENE(test_many_files), SCENE(test_follow),    SCENE(test_bursts),     SCENE(test_exchange),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
