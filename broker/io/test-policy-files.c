// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The policy's directory, with real files: what is taken and what is not, faults of the disk, and sets that are
 * exchanged under our eyes. Hostile cases PO01, PO02, PO03, PO06, PO10, PO11.
 */
#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

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

/* ---- directories ---- */

struct place {
	char root[64], policy[96], other[96];
};

static int remove_entry(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *ftw _unused_)
{
	return remove(path);
}

static void set_up(struct place *place)
{
	memset(&fault, 0, sizeof(fault));
	(void)snprintf(place->root, sizeof(place->root), "%s/test-policy-files.XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(place->root));
	(void)snprintf(place->policy, sizeof(place->policy), "%s/policy.d", place->root);
	(void)snprintf(place->other, sizeof(place->other), "%s/other.d", place->root);
	assert_int_equal(mkdir(place->policy, 0755), 0);
	assert_int_equal(mkdir(place->other, 0755), 0);
}

static void tear_down(const struct place *place)
{
	(void)chmod(place->policy, 0755);
	assert_int_equal(nftw(place->root, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
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
	struct place place;
	char path[128], part[128];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		set_up(&place);
		write_file(place.policy, "b.policy", "* * * * allow\n");
		expect(place.policy, "good");
		/* no matter what, while nobody needs it */
		(void)snprintf(path, sizeof(path), "%s/x", place.policy);
		kinds[i].make(path);
		expect(place.policy, "good");
		(void)snprintf(path, sizeof(path), "%s/.x.policy", place.policy);
		kinds[i].make(path);
		expect(place.policy, "good");
		replace_file(place.policy, "b.policy", "* * * * allow\n!include x\n");
		(void)snprintf(part, sizeof(part), "x: %s", kinds[i].make == make_big ? "the files" : "");
		expect(place.policy, part);
		expect(place.policy, kinds[i].fault);
		replace_file(place.policy, "b.policy", "* * * * allow\n");
		(void)snprintf(path, sizeof(path), "%s/x.policy", place.policy);
		kinds[i].make(path);
		expect(place.policy, "x.policy: ");
		expect(place.policy, kinds[i].fault);
		tear_down(&place);
	}
}

static void test_directory(void **unused _unused_)
{
	static const struct {
		mode_t mode;
		const char *part;
	} modes[] = {{0755, "good"}, {0700, "good"}, {0775, "chmod go-w"}, {0757, "chmod go-w"}, {01777, "chmod go-w"}};
	struct place place;
	char path[128];

	set_up(&place);
	expect(place.policy, "no file *.policy");
	write_file(place.policy, "a.policy", "* * * * allow\n");
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(chmod(place.policy, modes[i].mode), 0);
		expect(place.policy, modes[i].part);
	}
	assert_int_equal(chmod(place.policy, 0755), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(place.policy, 12345, 0), 0);
		expect(place.policy, "does not belong to root");
		assert_int_equal(chown(place.policy, 0, 0), 0);
	}
	(void)snprintf(path, sizeof(path), "%s/link", place.root);
	assert_int_equal(symlink("policy.d", path), 0);
	expect(path, "not a directory");
	(void)snprintf(path, sizeof(path), "%s/missing", place.root);
	expect(path, "is missing: create it");
	(void)snprintf(path, sizeof(path), "%s/policy.d/a.policy", place.root);
	expect(path, "not a directory");
	write_file(place.policy, "b c.policy", "#\n");
	expect(place.policy, "b c.policy: a file's name");
	tear_down(&place);
}

/* PO02: the files of somebody whom we may not read; root may read all, so another account looks. */
static void test_unreadable(void **unused _unused_)
{
	struct place place;
	char path[128];
	int status;
	pid_t child;

	set_up(&place);
	(void)snprintf(path, sizeof(path), "%s/a.policy", place.policy);
	write_file(place.policy, "a.policy", "* * * * allow\n");
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(chmod(place.root, 0755), 0);
	child = fork();
	if (child == 0) {
		if (geteuid() == 0 ? setresuid(12345, 12345, 12345) : chmod(path, 0))
			_exit(9);
		if (!strstr(read_it(place.policy), "a.policy: the broker's account may not read it: chmod a+r"))
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* as installed: root's, and read by the broker's own account */
	assert_int_equal(chmod(path, 0644), 0);
	child = fork();
	if (child == 0) {
		if (geteuid() == 0 && setresuid(12345, 12345, 12345))
			_exit(9);
		_exit(strcmp(read_it(place.policy), "good") != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	tear_down(&place);
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
	struct place place;
	int n_eio = 0;

	set_up(&place);
	for (int n = 1; n < 20; n++) {
		replace_file(place.policy, "a.policy", "# first\n");
		replace_file(place.policy, "b.policy", "* * * * allow\n* * * * ask\n");
		fault.at = n;
		fault.error = EIO;
		if (n <= 4) /* two per file */
			expect(place.policy, ".policy: the disk failed");
		else
			expect(place.policy, "good");
		n_eio += fault.at == 0;
	}
	assert_int_equal(n_eio, 4);
	memset(&fault, 0, sizeof(fault));
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		for (int n = 1; n <= 4; n++) {
			replace_file(place.policy, "b.policy", "* * * * allow\n* * * * ask\n");
			fault.at = n;
			fault.before = changes[i];
			fault.directory = place.policy;
			fault.every = 0; /* once: read again, and taken */
			expect(place.policy, "good");
			assert_int_equal(fault.at, 0);
			if (changes[i] == add_file || changes[i] == shrink)
				continue;
			fault.at = n;
			fault.every = 4; /* each time */
			expect(place.policy, "keeps changing");
			memset(&fault, 0, sizeof(fault));
		}
	tear_down(&place);
}

/* No more are looked at than there may be, so it makes no difference how many more there are. */
static void test_many_files(void **unused _unused_)
{
	struct place place;
	char path[128];
	uint64_t start;

	set_up(&place);
	write_file(place.policy, "a.policy", "* * * * allow\n");
	for (unsigned int i = 0; i < LIMIT_POLICY_FILES - 1; i++) {
		(void)snprintf(path, sizeof(path), "%s/%u", place.policy, i);
		make_empty(path);
	}
	expect(place.policy, "good");
	for (unsigned int i = LIMIT_POLICY_FILES; i < 10000; i++) {
		(void)snprintf(path, sizeof(path), "%s/%u", place.policy, i);
		make_empty(path);
		if (i == LIMIT_POLICY_FILES)
			expect(place.policy, "more than 256 entries");
	}
	start = clock_now_usec();
	expect(place.policy, "more than 256 entries");
	assert_true(clock_now_usec() - start < USEC_PER_SEC);
	tear_down(&place);
}

/* ---- following ---- */

struct follower {
	struct place place;
	sd_event *event;
	struct policy_files *files;
	unsigned int n_changes;
};

static void on_changed(void *userdata)
{
	((struct follower *)userdata)->n_changes++;
}

static void follow(struct follower *f)
{
	static const struct policy_files_hooks hooks = {.changed = on_changed};

	*f = (struct follower){0};
	set_up(&f->place);
	write_file(f->place.policy, "a.policy", "* * * work allow\n");
	assert_int_equal(sd_event_new(&f->event), 0);
	assert_int_equal(policy_files_new(f->event, f->place.policy, geteuid(), &hooks, f, &f->files), 0);
}

static void unfollow(struct follower *f)
{
	policy_files_free(f->files);
	sd_event_unref(f->event);
	tear_down(&f->place);
}

/* Waits for a set that says so of `work`, and for a message with `part` in it (NULL: good). */
static void wait_for(struct follower *f, enum policy_action action, const char *part)
{
	uint64_t end = clock_now_usec() + 20 * USEC_PER_SEC;

	for (;;) {
		const struct policy *policy = policy_files_current(f->files);
		const char *error = policy_files_error(f->files);

		assert_int_equal(policy == NULL, error != NULL);
		if (decide(policy, "work") == action && (part ? error && strstr(error, part) : !error))
			return;
		if (clock_now_usec() > end)
			fail_msg("still %s, not %s", error ? error : "good", part ? part : "good");
		assert_true(sd_event_run(f->event, 100 * USEC_PER_MSEC) >= 0);
	}
}

static void settle(struct follower *f, uint64_t usec)
{
	uint64_t end = clock_now_usec() + usec;

	while (clock_now_usec() < end)
		assert_true(sd_event_run(f->event, 10 * USEC_PER_MSEC) >= 0);
}

/* PO11: each kind of change is seen; a broken set denies until it is good again. */
static void test_follow(void **unused _unused_)
{
	struct follower f;
	char path[128];
	unsigned int n;
	int fd;

	follow(&f);
	assert_int_equal(f.n_changes, 0);
	wait_for(&f, POLICY_ALLOW, NULL);
	write_file(f.place.policy, "a.policy", "* * * work ask\n"); /* in place */
	wait_for(&f, POLICY_ASK, NULL);
	replace_file(f.place.policy, "a.policy", "* * * work allow\n");
	wait_for(&f, POLICY_ALLOW, NULL);
	fd = open_file(f.place.policy, "a.policy"); /* ... and kept open */
	assert_int_equal(pwrite(fd, "* * * work ask  \n", 17, 0), 17);
	wait_for(&f, POLICY_ASK, NULL);
	assert_int_equal(close(fd), 0);
	replace_file(f.place.policy, "a.policy", "* * * work allow\n");
	wait_for(&f, POLICY_ALLOW, NULL);
	write_file(f.place.policy, "b.policy", "#\nnonsense\n");
	wait_for(&f, POLICY_DENY, "b.policy:2: DEVICE is missing");
	(void)snprintf(path, sizeof(path), "%s/b.policy", f.place.policy);
	assert_int_equal(unlink(path), 0);
	wait_for(&f, POLICY_ALLOW, NULL);
	(void)snprintf(path, sizeof(path), "%s/a.policy", f.place.policy);
	assert_int_equal(chmod(path, 0666), 0);
	wait_for(&f, POLICY_DENY, "chmod go-w");
	assert_int_equal(chmod(path, 0644), 0);
	wait_for(&f, POLICY_ALLOW, NULL);
	assert_int_equal(chmod(f.place.policy, 0777), 0);
	wait_for(&f, POLICY_DENY, "chmod go-w");
	assert_int_equal(chmod(f.place.policy, 0755), 0);
	wait_for(&f, POLICY_ALLOW, NULL);
	/* the directory itself: exchanged, gone, back */
	write_file(f.place.other, "z.policy", "* * * work ask\n");
	assert_int_equal(exchange(f.place.policy, f.place.other), 0);
	wait_for(&f, POLICY_ASK, NULL);
	settle(&f, 3 * TIMEOUT_POLICY_GATHER_USEC);
	n = f.n_changes;
	write_file(f.place.other, "z.policy", "nonsense\n"); /* the former one: no longer of interest */
	settle(&f, 3 * TIMEOUT_POLICY_GATHER_USEC);
	assert_int_equal(f.n_changes, n);
	replace_file(f.place.policy, "z.policy", "* * * work allow\n");
	wait_for(&f, POLICY_ALLOW, NULL);
	(void)snprintf(path, sizeof(path), "%s/away", f.place.root);
	assert_int_equal(rename(f.place.policy, path), 0);
	wait_for(&f, POLICY_DENY, "is missing");
	n = f.n_changes;
	settle(&f, TIMEOUT_POLICY_RETRY_USEC * 5 / 2);
	assert_int_equal(f.n_changes, n); /* looked again, and nothing new to tell */
	assert_int_equal(rename(path, f.place.policy), 0);
	wait_for(&f, POLICY_ALLOW, NULL);
	/* by hand, before any event was read */
	replace_file(f.place.policy, "z.policy", "* * * work ask\n");
	n = f.n_changes;
	policy_files_reload(f.files);
	assert_int_equal(f.n_changes, n + 1);
	assert_int_equal(decide(policy_files_current(f.files), "work"), POLICY_ASK);
	settle(&f, 3 * TIMEOUT_POLICY_GATHER_USEC);
	assert_in_range(f.n_changes, n + 1, n + 2);
	unfollow(&f);
}

/* A burst is read together; a disk that failed is tried again though nothing changed. */
static void test_bursts(void **unused _unused_)
{
	struct follower f;

	follow(&f);
	for (int i = 0; i < 1000; i++)
		replace_file(f.place.policy, "a.policy", i % 2 ? "* * * work ask\n" : "nonsense\n");
	wait_for(&f, POLICY_ASK, NULL);
	settle(&f, 3 * TIMEOUT_POLICY_GATHER_USEC);
	assert_in_range(f.n_changes, 1, 3);
	fault.at = 1;
	fault.error = EIO;
	policy_files_reload(f.files);
	assert_non_null(strstr(policy_files_error(f.files), "the disk failed"));
	wait_for(&f, POLICY_ASK, NULL);
	unfollow(&f);
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
static void exchange_for_ever(const struct place *place)
{
	for (;;) {
		struct timespec pause = {.tv_nsec = 1000000};

		(void)exchange(place->policy, place->other);
		(void)nanosleep(&pause, NULL);
	}
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
	struct follower f;
	uint64_t end;
	int status;
	pid_t child;

	follow(&f);
	(void)snprintf(path, sizeof(path), "%s/a.policy", f.place.policy);
	assert_int_equal(unlink(path), 0);
	write_set(f.place.policy, false);
	write_set(f.place.other, true);
	child = fork();
	if (child == 0) {
		exchange_for_ever(&f.place);
		_exit(1);
	}
	end = clock_now_usec() + 3 * USEC_PER_SEC;
	for (unsigned int i = 0; clock_now_usec() < end; i++) {
		if (i % 2)
			policy_files_reload(f.files);
		else
			assert_true(sd_event_run(f.event, 2 * USEC_PER_MSEC) >= 0);
		n_seen[look_at(policy_files_current(f.files))]++;
	}
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	print_message("%u decisions by the one set, %u by the other, %u by none\n", n_seen[SEEN_ONE],
		      n_seen[SEEN_OTHER], n_seen[SEEN_NONE]);
	assert_int_equal(n_seen[SEEN_MIX], 0);
	assert_true(n_seen[SEEN_ONE] > 0 && n_seen[SEEN_OTHER] > 0);
	write_file(f.place.policy, "0.policy", "* * * work allow\n");
	wait_for(&f, POLICY_ALLOW, NULL);
	unfollow(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),  cmocka_unit_test(test_directory),  cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_disk),   cmocka_unit_test(test_many_files), cmocka_unit_test(test_follow),
		cmocka_unit_test(test_bursts), cmocka_unit_test(test_exchange),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
