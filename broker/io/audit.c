// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The audit log on disk; the contract is in audit.h.
 *
 * Invariants: `size` is the length of audit.log up to its last line that is whole, and `end` is that line (or the last
 * line of the newest closed file, when size is 0); every write happens at that length, in a file that is still the one
 * that the directory names. fd is -1 only while audit.log could not be opened; `end` is kept meanwhile, and what is
 * found later must agree with it.
 */
#include "broker/io/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/io/audit-files.h"
#include "broker/io/audit-line.h"
#include "broker/io/journal.h"
#include "lib/base/base.h"
#include "lib/base/file.h"
#include "lib/base/limits.h"
#include "lib/base/log.h"

struct audit {
	struct audit_options options;
	int state_dir;
	int fd;
	int journal_fd;
	off_t size;
	uint64_t first_seq; /* of audit.log's first line; 0: it has none */
	struct audit_end end;
	uint64_t n_left_out;
	bool untrusted, sync_failed; /* for good */
	bool half_line;              /* see lib/base/file.h */
	bool write_failing;
	int cause;       /* errno of the last failure */
	bool begun_anew; /* audit.log has nothing yet and goes on from `end`, whose file may have been moved away by now */
	bool told_rename, told_many;
	uint64_t n_old, old_bytes; /* closed files */
};

static void cleanup_audit(struct audit **audit)
{
	(void)audit_free(*audit);
}

struct audit *audit_free(struct audit *audit)
{
	if (!audit)
		return NULL;
	if (audit->fd >= 0)
		(void)close(audit->fd);
	if (audit->journal_fd >= 0)
		(void)close(audit->journal_fd);
	free(audit);
	return NULL;
}

enum audit_state audit_state(const struct audit *audit)
{
	if (audit->untrusted)
		return AUDIT_UNTRUSTED;
	if (audit->sync_failed)
		return AUDIT_SYNC_FAILED;
	return audit->write_failing ? AUDIT_WRITE_FAILING : AUDIT_HEALTHY;
}

const char *audit_state_text(enum audit_state state)
{
	static const char *const texts[AUDIT_STATE_COUNT] = {
		[AUDIT_HEALTHY] = "the audit log is being written",
		[AUDIT_WRITE_FAILING] =
			"the audit log cannot be written, so nothing will be attached: make room on its disk "
			"or make it writable; the next request tries again",
		[AUDIT_SYNC_FAILED] =
			"the disk failed to store an audit record, so nothing will be attached any more: look "
			"at the disk, then restart device-broker",
		[AUDIT_UNTRUSTED] =
			"the audit log was removed, replaced or shortened, or does not end in a record, so nothing "
			"will be attached: look at it, move it away, then restart device-broker",
	};

	return texts[state];
}

struct audit_end audit_end(const struct audit *audit)
{
	return audit->end;
}

/* For good: after a sync that failed the kernel may have dropped what it could not store, and say 0 the next time. */
static int sync_failed(struct audit *audit)
{
	audit->sync_failed = true;
	audit->cause = errno;
	return -ENOTRECOVERABLE;
}

static int failed(struct audit *audit, int r)
{
	if (r != -ENOTRECOVERABLE)
		audit->cause = -r;
	return r;
}

static void tell_state(const struct audit *audit, enum audit_state before)
{
	enum audit_state now = audit_state(audit);

	if (now != before && now == AUDIT_HEALTHY)
		log_notice("the audit log can be written again");
	else if (now != before)
		log_error("%s (%s)", audit_state_text(now), strerror(audit->cause));
}

/* ---- where the log ends ------------------------------------------------------------------------------------------ */

/* Exactly `len` bytes; -EIO when the file has become shorter. */
static int read_at(int fd, char *ret_bytes, size_t len, off_t offset)
{
	ssize_t n = pread(fd, ret_bytes, len, offset);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

/* Lines hold no zero byte: the first one is where blocks begin that power loss kept from the disk. */
static int find_zeros(int fd, off_t size, off_t *ret_offset)
{
	char buffer[65536];
	off_t at = 0;

	while (at < size) {
		size_t len = size - at < (off_t)sizeof(buffer) ? (size_t)(size - at) : sizeof(buffer);
		int r = read_at(fd, buffer, len, at);
		const char *zero;

		if (r < 0)
			return r;
		zero = memchr(buffer, '\0', len);
		if (zero) {
			*ret_offset = at + (zero - buffer);
			return 0;
		}
		at += (off_t)len;
	}
	*ret_offset = size;
	return 0;
}

/* The last whole line within the first `size` bytes, and how far it goes; without any, seq and length are 0. */
static int read_end(int fd, off_t size, struct audit_end *ret_end, off_t *ret_size)
{
	char tail[2 * LIMIT_AUDIT_LINE];
	off_t start = size > (off_t)sizeof(tail) ? size - (off_t)sizeof(tail) : 0;
	int r = read_at(fd, tail, (size_t)(size - start), start);
	struct audit_link link;
	struct audit_end end;
	const char *newline, *line;

	if (r < 0)
		return r;
	newline = memrchr(tail, '\n', (size_t)(size - start));
	if (!newline && start > 0)
		return -EBADMSG;
	if (!newline) {
		*ret_end = (struct audit_end){0};
		*ret_size = 0;
		return 0;
	}
	line = memrchr(tail, '\n', (size_t)(newline - tail));
	if (!line && start > 0)
		return -EBADMSG;
	line = line ? line + 1 : tail;
	if (audit_line_parse(line, (size_t)(newline - line), &link) < 0)
		return -EBADMSG;
	end.seq = link.seq;
	digest_sha256(line, (size_t)(newline - line), end.digest);
	*ret_end = end;
	*ret_size = start + (newline - tail) + 1;
	return 0;
}

static int read_first_seq(int fd, off_t size, uint64_t *ret_seq)
{
	char head[LIMIT_AUDIT_LINE];
	size_t len = size < (off_t)sizeof(head) ? (size_t)size : sizeof(head);
	int r = read_at(fd, head, len, 0);
	const char *newline = r < 0 ? NULL : memchr(head, '\n', len);
	struct audit_link link;

	if (r < 0)
		return r;
	if (!newline || audit_line_parse(head, (size_t)(newline - head), &link) < 0)
		return -EBADMSG;
	*ret_seq = link.seq;
	return 0;
}

/* The end of the newest closed file, which is whole: it was synced before it got its name. seq 0: there is none. */
static int read_closed_end(int state_dir, uint64_t *ret_first_seq, struct audit_end *ret_end)
{
	char name[AUDIT_NAME_SIZE];
	_cleanup_close_ int fd = -1;
	struct stat st;
	off_t size;
	int r = audit_files_up_to(state_dir, UINT64_MAX, ret_first_seq);

	if (r == 1) {
		*ret_first_seq = 0;
		*ret_end = (struct audit_end){0};
		return 0;
	}
	if (r < 0)
		return r;
	audit_file_name(*ret_first_seq, name);
	fd = openat(state_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	r = read_end(fd, st.st_size, ret_end, &size);
	if (r < 0)
		return r;
	return ret_end->seq < *ret_first_seq || size != st.st_size ? -EBADMSG : 0;
}

static int copy(int from, off_t at, off_t end, int to)
{
	char buffer[4096];
	int r = 0;

	while (r == 0 && at < end) {
		size_t len = end - at < (off_t)sizeof(buffer) ? (size_t)(end - at) : sizeof(buffer);

		r = read_at(from, buffer, len, at);
		if (r == 0)
			r = file_write_all(to, buffer, len);
		at += (off_t)len;
	}
	return r == 0 ? file_write_all(to, "\n", 1) : r;
}

/* What stands after the last whole line goes to audit.torn, on disk, before it is cut off here. */
static int keep_torn(struct audit *audit, int log_fd, off_t whole, off_t size)
{
	_cleanup_close_ int fd = openat(audit->state_dir, AUDIT_TORN_NAME,
					O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	r = copy(log_fd, whole, size, fd);
	if (r < 0 && ftruncate(fd, st.st_size) < 0) /* it is tried again as a whole */
		return -errno;
	if (r < 0)
		return r;
	if (fsync(fd) < 0 || fsync(audit->state_dir) < 0)
		return sync_failed(audit);
	if (ftruncate(log_fd, whole) < 0)
		return -errno;
	if (fdatasync(log_fd) < 0)
		return sync_failed(audit);
	log_warning("the audit log ended in half a line; it was moved to " AUDIT_TORN_NAME);
	return 0;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Finds where the log ends, in audit.log or before it, and repairs what a crash left. */
static int find_end(struct audit *audit, int fd, off_t size)
{
	struct audit_end end, closed_end = audit->end;
	uint64_t first_seq = 0, closed_first;
	off_t written, whole;
	int r = find_zeros(fd, size, &written);

	if (r == 0)
		r = read_end(fd, written, &end, &whole);
	if (r == 0 && whole > 0)
		r = read_first_seq(fd, whole, &first_seq);
	if (r == 0 && !audit->begun_anew)
		r = read_closed_end(audit->state_dir, &closed_first, &closed_end);
	if (r < 0)
		return r;
	if (whole > 0 && (end.seq < first_seq || closed_end.seq >= first_seq))
		return -EBADMSG;
	if (whole == 0)
		end = closed_end;
	if (audit->end.seq != 0 && memcmp(&audit->end, &end, sizeof(end)) != 0)
		return -EBADMSG;
	if (whole < size) {
		r = keep_torn(audit, fd, whole, size);
		if (r < 0)
			return r;
	}
	audit->size = whole;
	audit->half_line = false;
	audit->first_seq = first_seq;
	audit->end = end;
	return 0;
}

static int open_log(struct audit *audit)
{
	_cleanup_close_ int fd = openat(audit->state_dir, AUDIT_LOG_NAME,
					O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	struct stat st;
	int r;

	if (fd < 0)
		return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EBADMSG : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return -EBADMSG;
	r = find_end(audit, fd, st.st_size);
	if (r < 0)
		return r;
	if (fsync(audit->state_dir) < 0) /* its name, if it is new */
		(void)sync_failed(audit);
	audit->fd = TAKE_FD(fd);
	return 0;
}

/* Opens audit.log; a log that cannot be trusted stays closed for good. */
static int try_open(struct audit *audit)
{
	int r = open_log(audit);

	if (r < 0)
		(void)failed(audit, r);
	if (r != -EBADMSG)
		return r;
	audit->untrusted = true;
	return -ESTALE;
}

static int count_closed(void *userdata, int state_dir, const char *name, uint64_t first_seq _unused_)
{
	struct audit *audit = userdata;
	struct stat st;

	audit->n_old++;
	if (fstatat(state_dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		audit->old_bytes += (uint64_t)st.st_size;
	return 0;
}

static void tell_if_many(struct audit *audit)
{
	if (audit->told_many || (audit->n_old <= LIMIT_AUDIT_OLD_FILES && audit->old_bytes <= LIMIT_AUDIT_OLD_BYTES))
		return;
	audit->told_many = true;
	log_notice("the audit log has %" PRIu64 " closed files, %" PRIu64
		   " bytes: move the oldest audit-*.log to an archive",
		   audit->n_old, audit->old_bytes);
}

int audit_new(int state_dir, const struct audit_options *options, struct audit **ret_audit)
{
	static const struct audit_options defaults = {.file_bytes = LIMIT_AUDIT_FILE, .journal_socket = JOURNAL_SOCKET};
	_cleanup_(cleanup_audit) struct audit *audit = calloc(1, sizeof(*audit));
	int r;

	if (!audit)
		return -ENOMEM;
	audit->options = options ? *options : defaults;
	audit->fd = -1;
	audit->journal_fd = -1;
	audit->state_dir = state_dir;
	r = try_open(audit);
	audit->write_failing = r < 0;
	tell_state(audit, AUDIT_HEALTHY);
	(void)audit_files_scan(state_dir, count_closed, audit);
	tell_if_many(audit);
	*ret_audit = TAKE_PTR(audit);
	return 0;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* ST13: is the open file still the one that is found by its name? */
static int check_file(struct audit *audit)
{
	int r = file_check(audit->state_dir, AUDIT_LOG_NAME, audit->fd, audit->size, &audit->half_line);

	if (r == FILE_OTHER) {
		audit->untrusted = true;
		return -ESTALE;
	}
	return r;
}

/* Closes a file that has no room for `len` more bytes, and begins the next. See audit.h for the steps. */
static int rotate(struct audit *audit, size_t len)
{
	char name[AUDIT_NAME_SIZE];

	if (audit->size == 0 || (uint64_t)audit->size + len <= audit->options.file_bytes || audit->sync_failed)
		return 0;
	if (fdatasync(audit->fd) < 0) {
		(void)sync_failed(audit);
		return 0;
	}
	audit_file_name(audit->first_seq, name);
	if (renameat2(audit->state_dir, AUDIT_LOG_NAME, audit->state_dir, name, RENAME_NOREPLACE) < 0) {
		if (!audit->told_rename)
			log_warning(AUDIT_LOG_NAME " is full and cannot become %s, so it goes on growing: %s", name,
				    strerror(errno));
		audit->told_rename = true;
		return 0;
	}
	audit->n_old++;
	audit->old_bytes += (uint64_t)audit->size;
	audit->begun_anew = true;
	tell_if_many(audit);
	(void)close(TAKE_FD(audit->fd));
	if (fsync(audit->state_dir) < 0)
		(void)sync_failed(audit);
	return try_open(audit);
}

/* audit.log is open, and ours. */
static int ready(struct audit *audit)
{
	int r;

	if (audit->untrusted)
		return -ESTALE;
	r = audit->fd < 0 ? try_open(audit) : 0;
	return r == 0 ? check_file(audit) : r;
}

static int append(struct audit *audit, const struct audit_record *record, uint64_t n_left_out, bool durable)
{
	struct audit_link link;
	char line[LIMIT_AUDIT_LINE];
	size_t len;
	int r = ready(audit);

	if (r < 0)
		return r;
	link.seq = audit->end.seq + 1;
	memcpy(link.prev, audit->end.digest, sizeof(link.prev));
	r = audit_line_make(record, &link, n_left_out, line, &len);
	if (r == 0)
		r = rotate(audit, len);
	if (r < 0)
		return r;
	if (durable && audit->sync_failed)
		return -ENOTRECOVERABLE;
	r = file_append(audit->fd, audit->size, line, len, durable, &audit->half_line);
	if (r == FILE_NOT_SYNCED)
		r = sync_failed(audit);
	if (audit->half_line)
		log_warning("the audit log: half a line could not be taken back");
	if (r < 0)
		return r;
	audit->size += (off_t)len;
	audit->begun_anew = false;
	audit->end.seq = link.seq;
	digest_sha256(line, len - 1, audit->end.digest);
	if (audit->first_seq == 0)
		audit->first_seq = link.seq;
	return 0;
}

/* NULL: nobody. */
static const char *user_text(const struct core_user *user, char text[24])
{
	(void)snprintf(text, 24, "%" PRIu32, user->uid);
	return user->uid == CORE_NOBODY ? NULL : text;
}

/* The mirror. A record that is not in the log has no QDB_SEQ. */
static void mirror(struct audit *audit, const struct audit_record *record, bool written)
{
	char sentence[2048], seq[24], who[24], answered[24], digest[2 * DIGEST_SIZE + 1],
		device[CORE_DEVICE_ID_MAX] = "";
	const struct journal_field fields[] = {
		{"MESSAGE", sentence},
		{"PRIORITY", written ? "6" : "4"},
		{"SYSLOG_IDENTIFIER", "device-broker"},
		{"QDB_EVENT", record->event},
		{"QDB_SEQ", written ? seq : NULL},
		{"QDB_SHA256", written ? digest : NULL}, /* of the line: the next one's "prev" */
		{"QDB_DEVICE", device},
		{"QDB_SOURCE", record->qube ? record->qube->name : NULL},
		{"QDB_TARGET", record->target},
		{"QDB_OUTCOME", record->outcome},
		{"QDB_RULE", record->rule},
		{"QDB_WHO", user_text(&record->caller, who)},
		{"QDB_WHO_QUBE", record->caller.qube},
		{"QDB_ANSWERED_BY", user_text(&record->answered_by, answered)},
		{"QDB_ANSWERED_BY_QUBE", record->answered_by.qube},
	};

	if (!audit->options.journal_socket)
		return;
	audit_line_sentence(record, sentence, sizeof(sentence));
	(void)snprintf(seq, sizeof(seq), "%" PRIu64, audit->end.seq);
	digest_to_hex(audit->end.digest, digest);
	if (record->device)
		(void)core_device_id(record->device, device);
	(void)journal_send(&audit->journal_fd, audit->options.journal_socket, fields, ARRAY_SIZE(fields));
}

int audit_write(struct audit *audit, const struct audit_record *record, bool durable)
{
	enum audit_state before = audit_state(audit);
	uint64_t n_left_out = audit->n_left_out + record->n_left_out;
	int r = append(audit, record, n_left_out, durable);

	audit->write_failing = r < 0;
	if (r == 0)
		audit->n_left_out = 0;
	else if (!durable)
		audit->n_left_out = n_left_out + 1;
	if (r < 0)
		(void)failed(audit, r);
	tell_state(audit, before);
	mirror(audit, record, r == 0);
	return r;
}
