// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Qubes out of a directory, for development and host tests beside the `socket` channels; the form is in qubes.h.
 * inotify tells that something changed, never what: each time everything is read again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "broker/io/clock.h"
#include "broker/io/qubes-source.h"
#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

#define PORT_SUFFIX "-device-agent.port"
#define WATCHED (IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR)

struct directory_source {
	struct qubes qubes;
	int directory, qubes_directory, inotify;
	sd_event_source *on_change, *on_timer;
};

static void directory_free(struct qubes *qubes)
{
	struct directory_source *source = (struct directory_source *)qubes;

	sd_event_source_disable_unref(source->on_change);
	sd_event_source_disable_unref(source->on_timer);
	cleanup_close(&source->inotify);
	cleanup_close(&source->qubes_directory);
	cleanup_close(&source->directory);
	free(source);
}

static void cleanup_directory(struct directory_source **source)
{
	if (*source)
		directory_free(&(*source)->qubes);
}

/* The first line of a small file; false when there is none. */
static bool read_line(int directory, const char *name, char *ret_line, size_t size, struct stat *ret_stat)
{
	_cleanup_close_ int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 || fstat(fd, ret_stat) < 0 || !S_ISREG(ret_stat->st_mode))
		return false;
	n = read(fd, ret_line, size - 1);
	if (n <= 0)
		return false;
	ret_line[n] = '\0';
	if (strlen(ret_line) != (size_t)n)
		return false;
	ret_line[strcspn(ret_line, "\n")] = '\0';
	return true;
}

static uint32_t read_port(const struct directory_source *source, uint16_t domid)
{
	char name[32], line[16];
	struct stat st;

	(void)snprintf(name, sizeof(name), "%u" PORT_SUFFIX, domid);
	return read_line(source->directory, name, line, sizeof(line), &st) ? qubes_parse_port(line) : 0;
}

static bool read_qube(const struct directory_source *source, const char *file, struct qube_facts *ret_facts)
{
	char line[128], *space;
	struct stat st;

	if (!read_line(source->qubes_directory, file, line, sizeof(line), &st))
		return false;
	space = strchr(line, ' ');
	if (!space)
		return false;
	*space = '\0';
	if (!text_is_qube_name(line) || !qubes_parse_uuid(space + 1, ret_facts->uuid))
		return false;
	memset(ret_facts->name, 0, sizeof(ret_facts->name));
	memcpy(ret_facts->name, line, strlen(line));
	(void)snprintf(ret_facts->start, sizeof(ret_facts->start), "%ju-%jd.%09ld", (uintmax_t)st.st_ino,
		       (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	return true;
}

/* One walk over the directory: first who is there still, then, with room made, what is so of each. */
static void walk(struct directory_source *source, DIR *dir, bool read_facts)
{
	rewinddir(dir);
	for (struct dirent *entry = NULL; (entry = readdir(dir));) {
		struct qube_facts facts = {0};
		uint16_t domid;

		if (!qubes_parse_domid(entry->d_name, &domid) || domid == 0)
			continue;
		if (!read_facts) {
			qubes_mark_seen(&source->qubes, domid);
			continue;
		}
		facts.port = read_port(source, domid);
		qubes_observe(&source->qubes, domid, read_qube(source, entry->d_name, &facts) ? &facts : NULL);
	}
}

static int look(struct directory_source *source)
{
	_cleanup_close_ int fd = openat(source->qubes_directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return -errno;
	(void)TAKE_FD(fd);
	qubes_sweep_begin(&source->qubes);
	walk(source, dir, false);
	qubes_sweep_end(&source->qubes);
	walk(source, dir, true);
	(void)closedir(dir);
	qubes_observe_port(&source->qubes, 0, read_port(source, 0));
	return 0;
}

static int on_timer(sd_event_source *timer _unused_, uint64_t usec _unused_, void *userdata)
{
	int r = look(userdata);

	if (r < 0)
		log_error("the directory of qubes cannot be read: %s", strerror(-r));
	return 0;
}

/* Data channels make files in that directory too; only what concerns us starts a look. */
static bool concerns_us(const struct inotify_event *event)
{
	size_t len = event->len > 0 ? strlen(event->name) : 0, suffix = strlen(PORT_SUFFIX);
	uint16_t domid;

	if (event->mask & IN_Q_OVERFLOW || event->len == 0)
		return true;
	return qubes_parse_domid(event->name, &domid) ||
	       (len > suffix && strcmp(event->name + len - suffix, PORT_SUFFIX) == 0);
}

static int on_change(sd_event_source *io _unused_, int fd, uint32_t revents _unused_, void *userdata)
{
	struct directory_source *source = userdata;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(fd, buffer, sizeof(buffer));
	bool any = false;

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const struct inotify_event *)(buffer + at);

		any = any || concerns_us(event);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
	if (any && sd_event_source_get_enabled(source->on_timer, NULL) == 0) {
		(void)sd_event_source_set_time(source->on_timer, clock_now_usec() + QUBES_GATHER_USEC);
		(void)sd_event_source_set_enabled(source->on_timer, SD_EVENT_ONESHOT);
	}
	return 0;
}

int qubes_new_directory(sd_event *event, const char *directory, const struct qubes_hooks *hooks, void *userdata,
			struct qubes **ret_qubes)
{
	_cleanup_(cleanup_directory) struct directory_source *source = calloc(1, sizeof(*source));
	char path[PATH_MAX];
	int r;

	if (!source)
		return -ENOMEM;
	source->qubes.free_source = directory_free;
	source->qubes_directory = source->inotify = -1;
	source->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (source->directory < 0)
		return -errno;
	if (mkdirat(source->directory, "qubes", 0700) < 0 && errno != EEXIST)
		return -errno;
	source->qubes_directory = openat(source->directory, "qubes", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	source->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (source->qubes_directory < 0 || source->inotify < 0)
		return -errno;
	if (snprintf(path, sizeof(path), "%s/qubes", directory) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if (inotify_add_watch(source->inotify, directory, WATCHED) < 0 ||
	    inotify_add_watch(source->inotify, path, WATCHED) < 0)
		return -errno;
	r = sd_event_add_io(event, &source->on_change, source->inotify, EPOLLIN, on_change, source);
	if (r < 0)
		return r;
	r = sd_event_add_time(event, &source->on_timer, CLOCK_BROKER, 0, 1, on_timer, source);
	if (r < 0)
		return r;
	(void)sd_event_source_set_enabled(source->on_timer, SD_EVENT_OFF);
	qubes_init(&source->qubes, hooks, userdata);
	r = look(source);
	if (r < 0)
		return r;
	*ret_qubes = &TAKE_PTR(source)->qubes;
	return 0;
}
