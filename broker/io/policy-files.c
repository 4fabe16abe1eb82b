// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See policy-files.h. inotify tells that something changed, never what: each time everything is read again. It also
 * tells whether something changed while we were reading, which times of files cannot: they tick too slowly. Those are
 * compared all the same, for changes that inotify does not see (a file written through a mapping, another machine).
 */
#include "broker/io/policy-files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "broker/io/clock.h"
#include "lib/base/base.h"
#include "lib/base/log.h"

#define WATCHED                                                                                         \
	(IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | \
	 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW)

enum { UNSTABLE = POLICY_BROKEN + 1 }; /* it changed while it was read */

/* What is read before the texts become a set. */
struct reading {
	int directory;
	uid_t owner;
	struct stat directory_stat;
	struct policy_error *error;
	struct policy_file files[LIMIT_POLICY_FILES];
	struct stat stats[LIMIT_POLICY_FILES]; /* of those that were read */
	size_t n_files, total;
};

static void free_reading(struct reading *reading)
{
	for (size_t i = 0; i < reading->n_files; i++) {
		free((void *)(uintptr_t)reading->files[i].name);
		free((void *)(uintptr_t)reading->files[i].text);
	}
	cleanup_close(&reading->directory);
	free(reading);
}

static void cleanup_reading(struct reading **reading)
{
	if (*reading)
		free_reading(*reading);
}

static void fail(struct policy_error *error, const char *format, ...) _printf_(2, 3);

static void fail(struct policy_error *error, const char *format, ...)
{
	va_list args;

	*error = (struct policy_error){0};
	va_start(args, format);
	(void)vsnprintf(error->reason, sizeof(error->reason), format, args);
	va_end(args);
}

#define FAIL(error, ...) (fail(error, __VA_ARGS__), POLICY_BROKEN)

/* NULL, or what is wrong with whom it belongs to. */
static const char *check_rights(const struct stat *st, uid_t owner)
{
	if (st->st_uid != 0 && st->st_uid != owner)
		return "it does not belong to root: chown it";
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return "its group or everybody may write to it: chmod go-w";
	return NULL;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Up to `len` bytes and the end must be there. 0, UNSTABLE (shorter or longer), or a negative errno. */
static int read_whole(int fd, char *text, size_t len)
{
	char more;
	size_t n = 0;
	ssize_t r = 1;

	while (n < len && r != 0) {
		r = pread(fd, text + n, len - n, (off_t)n);
		if (r < 0 && errno != EINTR)
			return -errno;
		n += r > 0 ? (size_t)r : 0;
	}
	do {
		r = pread(fd, &more, 1, (off_t)n);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return n == len && r == 0 ? 0 : UNSTABLE;
}

static const char *errno_fault(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
		return "the broker's account may not read it: chmod a+r";
	case ENOENT:
		return "it went while the directory was read";
	case ELOOP:
		return "it is not a regular file: replace it by one";
	case EIO:
		return "the disk failed to read it (input/output error)";
	default:
		return "it cannot be read";
	}
}

/* 0, also with a fault of the file noted; UNSTABLE; -ENOMEM. */
static int read_one(struct reading *reading, size_t i)
{
	struct policy_file *file = &reading->files[i];
	_cleanup_close_ int fd = -1;
	struct stat *st = &reading->stats[i], by_fd;
	char *text;
	int r;

	/* a device is not even opened */
	if (fstatat(reading->directory, file->name, st, AT_SYMLINK_NOFOLLOW) < 0) {
		file->fault = errno_fault(errno);
		st->st_ino = 0;
		return 0;
	}
	file->fault = S_ISREG(st->st_mode) ? check_rights(st, reading->owner) : errno_fault(ELOOP);
	if (!file->fault && (size_t)st->st_size > LIMIT_POLICY_BYTES - reading->total)
		file->fault = "the files together are too big: see device-broker.policy(5) for the limits";
	if (file->fault)
		return 0;
	fd = openat(reading->directory, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &by_fd) < 0) {
		file->fault = errno_fault(errno);
		return 0;
	}
	if (!is_same(st, &by_fd))
		return UNSTABLE;
	text = malloc((size_t)st->st_size + 1);
	if (!text)
		return -ENOMEM;
	file->text = text;
	r = read_whole(fd, text, (size_t)st->st_size);
	if (r < 0)
		file->fault = errno_fault(-r);
	if (r != 0)
		return r < 0 ? 0 : r;
	file->len = (size_t)st->st_size;
	reading->total += file->len;
	return 0;
}

/* All names but the hidden ones. */
static int read_names(struct reading *reading, const char *directory)
{
	_cleanup_close_ int fd = openat(reading->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t n_entries = 0;
	int r = 0;

	if (!dir)
		return FAIL(reading->error, "%s: %s", directory, errno_fault(errno));
	(void)TAKE_FD(fd);
	for (;;) {
		struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			if (errno != 0)
				r = FAIL(reading->error, "%s: %s", directory, errno_fault(errno));
			break;
		}
		if (n_entries++ == LIMIT_POLICY_FILES + 2) { /* "." and ".." */
			r = FAIL(reading->error, "%s has more than %u entries: remove some", directory,
				 LIMIT_POLICY_FILES);
			break;
		}
		if (entry->d_name[0] == '.')
			continue;
		reading->files[reading->n_files].name = strdup(entry->d_name);
		if (!reading->files[reading->n_files].name) {
			r = -ENOMEM;
			break;
		}
		reading->n_files++;
	}
	(void)closedir(dir);
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct policy_file *)a)->name, ((const struct policy_file *)b)->name);
}

static bool is_of_the_set(const char *name)
{
	const char *suffix = strrchr(name, '.');

	return suffix && strcmp(suffix, ".policy") == 0;
}

static int open_directory(struct reading *reading, const char *directory)
{
	const char *wrong;

	reading->directory = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (reading->directory < 0 || fstat(reading->directory, &reading->directory_stat) < 0)
		return errno == ENOENT ? FAIL(reading->error, "%s is missing: create it, or install the default policy",
					      directory)
				       : FAIL(reading->error, "%s: %s", directory,
					      errno == ENOTDIR || errno == ELOOP ? "it is not a directory"
										 : errno_fault(errno));
	wrong = check_rights(&reading->directory_stat, reading->owner);
	return wrong ? FAIL(reading->error, "%s: %s", directory, wrong) : 0;
}

/* After the last file was read: is everything still as it was? */
static bool is_unchanged(const struct reading *reading)
{
	struct stat st;

	if (fstat(reading->directory, &st) < 0 || !is_same(&st, &reading->directory_stat))
		return false;
	for (size_t i = 0; i < reading->n_files; i++) {
		const struct stat *before = &reading->stats[i];

		if (fstatat(reading->directory, reading->files[i].name, &st, AT_SYMLINK_NOFOLLOW) < 0
			    ? before->st_ino != 0
			    : !is_same(&st, before))
			return false;
	}
	return true;
}

static int read_texts(struct reading *reading, const char *directory)
{
	int r = open_directory(reading, directory);

	if (r == 0)
		r = read_names(reading, directory);
	qsort(reading->files, reading->n_files, sizeof(reading->files[0]), by_name);
	/* the set first: nothing else can use up its room */
	for (int others = 0; r == 0 && others < 2; others++)
		for (size_t i = 0; r == 0 && i < reading->n_files; i++)
			if (is_of_the_set(reading->files[i].name) != others)
				r = read_one(reading, i);
	if (r == 0 && !is_unchanged(reading))
		r = UNSTABLE;
	return r;
}

/* Takes what inotify has to say; false: nothing. */
static bool drain(int inotify)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool any = false;

	while (read(inotify, buffer, sizeof(buffer)) > 0)
		any = true;
	return any;
}

/* Watches what the path names now, and no longer what it named before. */
static int watch_directory(const char *directory, int inotify, int *watch)
{
	int former = *watch;

	*watch = inotify_add_watch(inotify, directory, WATCHED);
	if (former >= 0 && former != *watch)
		(void)inotify_rm_watch(inotify, former);
	return *watch < 0 ? -errno : 0;
}

struct outcome {
	struct policy *policy;
	struct policy_error error;
	bool passing; /* broken by what may pass without inotify telling */
};

static int read_once(const char *directory, uid_t owner, int inotify, int *watch, struct outcome *outcome)
{
	_cleanup_(cleanup_reading) struct reading *reading = calloc(1, sizeof(*reading));
	int r, watched;

	if (!reading)
		return -ENOMEM;
	reading->directory = -1;
	reading->owner = owner;
	reading->error = &outcome->error;
	/* the watch first: if the path names another directory a moment later, it tells */
	watched = watch_directory(directory, inotify, watch);
	(void)drain(inotify);
	outcome->passing = true;
	r = read_texts(reading, directory);
	if (r == 0 && watched < 0)
		r = FAIL(&outcome->error, "%s cannot be watched: %s", directory, strerror(-watched));
	if (r == 0 && drain(inotify))
		r = UNSTABLE;
	if (r)
		return r;
	outcome->passing = false;
	for (size_t i = 0; i < reading->n_files; i++)
		outcome->passing = outcome->passing || reading->files[i].fault;
	return policy_new(reading->files, reading->n_files, &outcome->policy, &outcome->error);
}

/* Never fails: at worst the outcome is a broken set. */
static void read_set(const char *directory, uid_t owner, int inotify, int *watch, struct outcome *ret_outcome)
{
	int r = UNSTABLE;

	*ret_outcome = (struct outcome){0};
	for (unsigned int i = 0; i < LIMIT_POLICY_READS && r == UNSTABLE; i++)
		r = read_once(directory, owner, inotify, watch, ret_outcome);
	if (r == UNSTABLE)
		fail(&ret_outcome->error, "%s keeps changing while it is read: it is read again in a moment",
		     directory);
	else if (r < 0)
		fail(&ret_outcome->error, "out of memory: the policy is read again in a moment");
	ret_outcome->passing = ret_outcome->passing || r < 0;
}

/* ---- following ---- */

struct policy_files {
	char *directory;
	uid_t owner;
	struct policy_files_hooks hooks;
	void *userdata;
	int inotify, watch;
	sd_event_source *on_change; /* off while on_timer is on: the reload takes what inotify has */
	sd_event_source *on_timer;
	struct policy *policy;             /* NULL: broken */
	char error[POLICY_ERROR_TEXT_MAX]; /* empty: not broken */
};

static void read_later(struct policy_files *files, uint64_t delay_usec)
{
	(void)sd_event_source_set_time(files->on_timer, clock_now_usec() + delay_usec);
	(void)sd_event_source_set_enabled(files->on_timer, SD_EVENT_ONESHOT);
}

/* `again`: only because what was broken may have passed; if it has not, nobody needs to hear of it once more. */
static void reload(struct policy_files *files, bool again)
{
	struct outcome outcome;
	char error[POLICY_ERROR_TEXT_MAX] = "";
	bool news;

	/* it is not kept whatever comes, nobody sees us between here and the end, and two big sets need not fit */
	files->policy = policy_free(files->policy);
	read_set(files->directory, files->owner, files->inotify, &files->watch, &outcome);
	if (!outcome.policy)
		policy_error_text(&outcome.error, error);
	news = strcmp(error, files->error) != 0;
	if (news && error[0])
		log_error("policy: %s; until this is put right everything is denied", error);
	else if (news)
		log_notice("policy: the set is good again");
	files->policy = outcome.policy;
	memcpy(files->error, error, sizeof(error));
	(void)sd_event_source_set_enabled(files->on_change, SD_EVENT_ON);
	(void)sd_event_source_set_enabled(files->on_timer, SD_EVENT_OFF);
	if (!outcome.policy && outcome.passing)
		read_later(files, TIMEOUT_POLICY_RETRY_USEC);
	if ((news || !again) && files->hooks.changed)
		files->hooks.changed(files->userdata);
}

void policy_files_reload(struct policy_files *files)
{
	reload(files, false);
}

static int on_timer(sd_event_source *timer _unused_, uint64_t usec _unused_, void *userdata)
{
	struct policy_files *files = userdata;
	int gathering = sd_event_source_get_enabled(files->on_change, NULL);

	reload(files, gathering != SD_EVENT_OFF);
	return 0;
}

static int on_change(sd_event_source *io, int fd _unused_, uint32_t revents _unused_, void *userdata)
{
	(void)sd_event_source_set_enabled(io, SD_EVENT_OFF);
	read_later(userdata, TIMEOUT_POLICY_GATHER_USEC);
	return 0;
}

static void cleanup_files(struct policy_files **files)
{
	policy_files_free(*files);
}

struct policy_files *policy_files_free(struct policy_files *files)
{
	if (!files)
		return NULL;
	sd_event_source_disable_unref(files->on_change);
	sd_event_source_disable_unref(files->on_timer);
	cleanup_close(&files->inotify);
	policy_free(files->policy);
	free(files->directory);
	free(files);
	return NULL;
}

int policy_files_new(sd_event *event, const char *directory, uid_t owner, const struct policy_files_hooks *hooks,
		     void *userdata, struct policy_files **ret_files)
{
	_cleanup_(cleanup_files) struct policy_files *files = calloc(1, sizeof(*files));
	int r;

	if (!files)
		return -ENOMEM;
	files->watch = -1;
	files->owner = owner;
	files->userdata = userdata;
	files->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (files->inotify < 0)
		return -errno;
	files->directory = strdup(directory);
	if (!files->directory)
		return -ENOMEM;
	r = sd_event_add_io(event, &files->on_change, files->inotify, EPOLLIN, on_change, files);
	if (r < 0)
		return r;
	r = sd_event_add_time(event, &files->on_timer, CLOCK_BROKER, 0, 1, on_timer, files);
	if (r < 0)
		return r;
	reload(files, true); /* without the hook: the caller has nothing yet that it could ask */
	files->hooks = *hooks;
	*ret_files = TAKE_PTR(files);
	return 0;
}

const struct policy *policy_files_current(const struct policy_files *files)
{
	return files->policy;
}

const char *policy_files_error(const struct policy_files *files)
{
	return files->policy ? NULL : files->error;
}
