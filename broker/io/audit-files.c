// SPDX-License-Identifier: GPL-2.0-or-later
/* The files of the audit log, in order; the contract is in audit-files.h. */
#include "broker/io/audit-files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/io/audit-line.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/base/text.h"

void audit_file_name(uint64_t first_seq, char ret_name[AUDIT_NAME_SIZE])
{
	(void)snprintf(ret_name, AUDIT_NAME_SIZE, "audit-%020" PRIu64 ".log", first_seq);
}

/* The number in a closed file's name; 0: it is none. */
static uint64_t first_seq_of(const char *name)
{
	char digits[21], again[AUDIT_NAME_SIZE];
	uint64_t seq;

	if (strlen(name) != AUDIT_NAME_SIZE - 1)
		return 0;
	memcpy(digits, name + 6, 20);
	digits[20] = '\0';
	if (text_to_u64(digits + strspn(digits, "0"), UINT64_MAX, &seq) < 0)
		return 0;
	audit_file_name(seq, again);
	return strcmp(again, name) == 0 ? seq : 0;
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

int audit_files_scan(int state_dir, audit_files_each *each, void *userdata)
{
	_cleanup_close_ int fd = openat(state_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(cleanup_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir)
		return -errno;
	(void)TAKE_FD(fd);
	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		uint64_t seq = first_seq_of(entry->d_name);
		int r = seq != 0 ? each(userdata, state_dir, entry->d_name, seq) : 0;

		if (r != 0)
			return r;
	}
	return -errno;
}

struct search {
	uint64_t above, up_to;
	bool want_last;
	uint64_t found; /* 0: none */
};

static int consider(void *userdata, int state_dir _unused_, const char *name _unused_, uint64_t first_seq)
{
	struct search *search = userdata;

	if (first_seq <= search->above || first_seq > search->up_to)
		return 0;
	if (search->found == 0 || (first_seq > search->found) == search->want_last)
		search->found = first_seq;
	return 0;
}

static int search_files(int state_dir, struct search search, uint64_t *ret_first_seq)
{
	int r = audit_files_scan(state_dir, consider, &search);

	if (r < 0)
		return r;
	if (search.found == 0)
		return 1;
	*ret_first_seq = search.found;
	return 0;
}

int audit_files_after(int state_dir, uint64_t seq, uint64_t *ret_first_seq)
{
	return search_files(state_dir, (struct search){.above = seq, .up_to = UINT64_MAX}, ret_first_seq);
}

int audit_files_up_to(int state_dir, uint64_t seq, uint64_t *ret_first_seq)
{
	return search_files(state_dir, (struct search){.up_to = seq, .want_last = true}, ret_first_seq);
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

/* Forgets the file that is open; `first_seq` 0 is audit.log. 0, a negative errno, or AUDIT_WALK_ALIEN. */
static int open_file(struct audit_walk *walk, uint64_t first_seq)
{
	struct stat st;

	audit_walk_deinit(walk);
	walk->first_seq = first_seq;
	walk->line_number = 0;
	walk->offset = 0;
	walk->start = walk->end = 0;
	if (first_seq != 0)
		audit_file_name(first_seq, walk->name);
	else
		(void)strcpy(walk->name, AUDIT_LOG_NAME);
	walk->fd = openat(walk->state_dir, walk->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (walk->fd < 0)
		return errno == ELOOP || errno == ENXIO ? AUDIT_WALK_ALIEN : -errno;
	if (fstat(walk->fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? 0 : AUDIT_WALK_ALIEN;
}

/* audit.log may be missing: a rotation was cut short, or nothing was ever written. */
static int open_current(struct audit_walk *walk)
{
	int r = open_file(walk, 0);

	return r == -ENOENT ? AUDIT_WALK_END : r;
}

static int next_file(struct audit_walk *walk)
{
	uint64_t here = walk->first_seq, first_seq;
	int r;

	if (here == 0)
		return AUDIT_WALK_END;
	r = audit_files_after(walk->state_dir, here, &first_seq);
	if (r == 1) {
		int opened = open_current(walk);

		if (opened != 0)
			return opened;
		/* between the two calls another process may have closed the file that was audit.log */
		r = audit_files_after(walk->state_dir, here, &first_seq);
	}
	if (r != 0)
		return r == 1 ? 0 : r;
	return open_file(walk, first_seq);
}

/* More bytes behind those that are still there. 0 (also at the end of the file: nothing came) or a negative errno. */
static int fill(struct audit_walk *walk)
{
	ssize_t n;

	memmove(walk->buffer, walk->buffer + walk->start, walk->end - walk->start);
	walk->end -= walk->start;
	walk->start = 0;
	n = pread(walk->fd, walk->buffer + walk->end, sizeof(walk->buffer) - walk->end, walk->offset);
	if (n < 0)
		return -errno;
	walk->end += (size_t)n;
	walk->offset += n;
	return 0;
}

/* The next line of the file that is open; AUDIT_WALK_END: it has no more. */
static int next_line(struct audit_walk *walk)
{
	const char *newline = memchr(walk->buffer + walk->start, '\n', walk->end - walk->start);

	if (!newline && walk->end - walk->start < LIMIT_AUDIT_LINE) {
		int r = fill(walk);

		if (r < 0)
			return r;
		newline = memchr(walk->buffer, '\n', walk->end);
	}
	walk->line = walk->buffer + walk->start;
	walk->len = newline ? (size_t)(newline - walk->line) : walk->end - walk->start;
	if (walk->len == 0 && !newline)
		return AUDIT_WALK_END;
	walk->line_number++;
	if (walk->len >= LIMIT_AUDIT_LINE)
		return AUDIT_WALK_LONG;
	if (!newline)
		return AUDIT_WALK_TORN;
	walk->start += walk->len + 1;
	return 0;
}

int audit_walk_init(struct audit_walk *walk, int state_dir, uint64_t seq)
{
	struct audit_link first;
	uint64_t first_seq;
	int r;

	walk->fd = -1;
	walk->state_dir = state_dir;
	r = open_current(walk);
	if (r < 0)
		return r;
	/* who follows the log is in audit.log nearly always */
	if (r == 0 && next_line(walk) == 0 && audit_line_parse(walk->line, walk->len, &first) == 0 && first.seq <= seq)
		return open_file(walk, 0);
	r = audit_files_up_to(state_dir, seq, &first_seq);
	if (r == 1)
		r = audit_files_after(state_dir, 0, &first_seq);
	if (r < 0)
		return r;
	r = r == 1 ? open_current(walk) : open_file(walk, first_seq);
	return r == AUDIT_WALK_END ? 0 : r;
}

void audit_walk_deinit(struct audit_walk *walk)
{
	if (walk->fd >= 0)
		(void)close(TAKE_FD(walk->fd));
}

int audit_walk_next(struct audit_walk *walk)
{
	int r = walk->fd < 0 ? AUDIT_WALK_END : next_line(walk);

	while (r == AUDIT_WALK_END) {
		if (walk->fd >= 0 && walk->first_seq != 0 && walk->line_number == 0)
			return AUDIT_WALK_EMPTY;
		r = next_file(walk);
		if (r != 0)
			return r;
		r = next_line(walk);
	}
	return r;
}
