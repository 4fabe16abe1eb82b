// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The audit log on disk; the contract is in audit.h. json-c makes the lines.
 *
 * Invariants: audit->size is the length up to the last line that is whole, and audit->seq is that line's number; every
 * write happens at that length, in a file that is still the one that the directory names.
 */
#include "broker/io/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/base/base.h"
#include "lib/base/log.h"

#define LOG_NAME "audit.log"
#define TORN_NAME "audit.torn"
#define LINE_MAX_BYTES 4096

struct audit {
	int state_dir;
	int fd;
	off_t size;
	uint64_t seq;
	bool untrusted; /* for good: somebody must look */
	bool healthy;
};

static void cleanup_json(json_object **object)
{
	(void)json_object_put(*object);
}
#define _cleanup_json_ _cleanup_(cleanup_json)

static void cleanup_audit(struct audit **audit)
{
	if (*audit)
		audit_free(*audit);
}

struct audit *audit_free(struct audit *audit)
{
	if (!audit)
		return NULL;
	if (audit->fd >= 0)
		(void)close(audit->fd);
	free(audit);
	return NULL;
}

static int write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The number of the record in `line`, or -EBADMSG. */
static int line_seq(const char *line, uint64_t *ret_seq)
{
	_cleanup_json_ json_object *object = json_tokener_parse(line);
	json_object *seq = NULL;
	int64_t value;

	if (!object || !json_object_is_type(object, json_type_object) ||
	    !json_object_object_get_ex(object, "seq", &seq) || !json_object_is_type(seq, json_type_int))
		return -EBADMSG;
	value = json_object_get_int64(seq);
	if (value <= 0 || value == INT64_MAX)
		return -EBADMSG;
	*ret_seq = (uint64_t)value;
	return 0;
}

/* What stands after the last newline goes to audit.torn, on disk, before it is cut off here. */
static int keep_torn(struct audit *audit, const char *torn, size_t len)
{
	_cleanup_close_ int fd = openat(audit->state_dir, TORN_NAME,
					O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, torn, len);
	if (r == 0)
		r = write_all(fd, "\n", 1);
	if (r < 0)
		return r;
	if (fsync(fd) < 0 || ftruncate(audit->fd, audit->size) < 0 || fdatasync(audit->fd) < 0)
		return -errno;
	log_warning("the audit log ended in half a line; it was moved to " TORN_NAME);
	return 0;
}

/* Finds the last whole line. Lines are shorter than LINE_MAX_BYTES, so the file's tail has it. */
static int find_end(struct audit *audit, off_t size)
{
	char tail[2 * LINE_MAX_BYTES + 1];
	off_t start = size > 2 * LINE_MAX_BYTES ? size - 2 * LINE_MAX_BYTES : 0;
	ssize_t n = pread(audit->fd, tail, sizeof(tail) - 1, start);
	char *end, *line;
	int r;

	if (n < 0 || n != size - start)
		return n < 0 ? -errno : -EIO;
	tail[n] = '\0';
	end = memrchr(tail, '\n', (size_t)n);
	audit->size = end ? start + (end - tail) + 1 : start;
	if (!end && start > 0)
		return -EBADMSG;
	if (end) {
		*end = '\0';
		line = memrchr(tail, '\n', (size_t)(end - tail));
		if (!line && start > 0)
			return -EBADMSG;
		r = line_seq(line ? line + 1 : tail, &audit->seq);
		if (r < 0)
			return r;
	}
	if (audit->size == size)
		return 0;
	return keep_torn(audit, tail + (audit->size - start), (size_t)(size - audit->size));
}

static int open_log(struct audit *audit)
{
	struct stat st;

	audit->fd = openat(audit->state_dir, LOG_NAME,
			   O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (audit->fd < 0 || fstat(audit->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return -EBADMSG;
	if (fsync(audit->state_dir) < 0) /* its name, if it is new */
		return -errno;
	return find_end(audit, st.st_size);
}

int audit_new(int state_dir, struct audit **ret_audit)
{
	_cleanup_(cleanup_audit) struct audit *audit = calloc(1, sizeof(*audit));
	int r;

	if (!audit)
		return -ENOMEM;
	audit->fd = -1;
	audit->state_dir = state_dir;
	r = open_log(audit);
	if (r < 0) {
		log_error("the audit log cannot be used, so nothing will be attached: %s",
			  r == -EBADMSG ? "its end is not a record; look at it, move it away, start again"
					: strerror(-r));
		audit->untrusted = true;
	}
	audit->healthy = !audit->untrusted;
	*ret_audit = TAKE_PTR(audit);
	return 0;
}

bool audit_is_healthy(const struct audit *audit)
{
	return audit->healthy;
}

static int add(json_object *object, const char *key, json_object *value)
{
	if (!value)
		return -ENOMEM;
	return json_object_object_add(object, key, value) < 0 ? -ENOMEM : 0;
}

static json_object *make_text(const char *text)
{
	return json_object_new_string(text);
}

static json_object *make_time(void)
{
	struct timespec now = {0};
	struct tm tm = {0};
	char text[48];
	size_t len;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(text + len, sizeof(text) - len, ".%06ldZ", now.tv_nsec / 1000);
	return make_text(text);
}

static json_object *make_hex(uint64_t value)
{
	char text[17];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, value);
	return make_text(text);
}

static json_object *make_qube(const struct core_qube *qube)
{
	_cleanup_json_ json_object *object = json_object_new_object();
	char uuid[37];
	size_t len = 0;

	if (!object)
		return NULL;
	for (unsigned int i = 0; i < sizeof(qube->uuid); i++)
		len += (size_t)snprintf(uuid + len, sizeof(uuid) - len, "%s%02x",
					i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", qube->uuid[i]);
	if (add(object, "name", make_text(qube->name)) < 0 ||
	    add(object, "domid", json_object_new_int(qube->domid)) < 0 || add(object, "uuid", make_text(uuid)) < 0)
		return NULL;
	return TAKE_PTR(object);
}

static int add_device(json_object *object, const struct core_device *device)
{
	char id[CORE_DEVICE_ID_MAX];

	(void)core_device_id(device, id);
	if (add(object, "device", make_text(id)) < 0 || add(object, "port", make_text(device->port)) < 0)
		return -ENOMEM;
	return 0;
}

/* One line with its newline. */
static int make_line(const struct audit *audit, const struct audit_record *record, char *ret_line, size_t *ret_len)
{
	_cleanup_json_ json_object *object = json_object_new_object();
	const char *text;
	size_t len;

	if (!object || add(object, "ts", make_time()) < 0 ||
	    add(object, "seq", json_object_new_int64((int64_t)(audit->seq + 1))) < 0 ||
	    add(object, "event", make_text(record->event)) < 0)
		return -ENOMEM;
	if (record->caller != AUDIT_NOBODY && add(object, "who", json_object_new_int64((int64_t)record->caller)) < 0)
		return -ENOMEM;
	if (record->device && add_device(object, record->device) < 0)
		return -ENOMEM;
	if (record->qube && add(object, record->device ? "source" : "qube", make_qube(record->qube)) < 0)
		return -ENOMEM;
	if (record->target && add(object, "target", make_text(record->target)) < 0)
		return -ENOMEM;
	if (record->session != 0 && add(object, "session", make_hex(record->session)) < 0)
		return -ENOMEM;
	if (record->outcome && add(object, "outcome", make_text(record->outcome)) < 0)
		return -ENOMEM;
	if (record->n_left_out > 0 && add(object, "left-out", json_object_new_int64(record->n_left_out)) < 0)
		return -ENOMEM;
	text = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (!text)
		return -ENOMEM;
	if (len + 1 >= LINE_MAX_BYTES)
		return -EMSGSIZE;
	memcpy(ret_line, text, len);
	ret_line[len] = '\n';
	*ret_len = len + 1;
	return 0;
}

/* ST13: is the open file still the one that is found by its name? */
static int check_file(struct audit *audit)
{
	struct stat by_name, by_fd;

	if (fstat(audit->fd, &by_fd) < 0)
		return -errno;
	if (fstatat(audit->state_dir, LOG_NAME, &by_name, AT_SYMLINK_NOFOLLOW) < 0 || by_name.st_ino != by_fd.st_ino ||
	    by_name.st_dev != by_fd.st_dev || by_fd.st_nlink != 1 || by_fd.st_size < audit->size) {
		if (!audit->untrusted)
			log_error("the audit log was removed, replaced or shortened while open: "
				  "nothing will be attached until the broker is started again");
		audit->untrusted = true;
		return -ESTALE;
	}
	/* half a line of an earlier failure, which could not be taken back then */
	return by_fd.st_size > audit->size && ftruncate(audit->fd, audit->size) < 0 ? -errno : 0;
}

static int append(struct audit *audit, const struct audit_record *record, bool durable)
{
	char line[LINE_MAX_BYTES];
	size_t len;
	int r;

	if (audit->untrusted)
		return -ESTALE;
	r = check_file(audit);
	if (r < 0)
		return r;
	r = make_line(audit, record, line, &len);
	if (r < 0)
		return r;
	r = write_all(audit->fd, line, len);
	if (r == 0 && durable && fdatasync(audit->fd) < 0)
		r = -errno;
	if (r < 0) {
		if (ftruncate(audit->fd, audit->size) < 0)
			log_warning("the audit log: half a line could not be taken back");
		return r;
	}
	audit->size += (off_t)len;
	audit->seq++;
	return 0;
}

int audit_write(struct audit *audit, const struct audit_record *record, bool durable)
{
	int r = append(audit, record, durable);

	if (r < 0 && audit->healthy)
		log_error("the audit log cannot be written, so nothing will be attached: %s", strerror(-r));
	else if (r == 0 && !audit->healthy)
		log_notice("the audit log can be written again");
	audit->healthy = r == 0;
	return r;
}
