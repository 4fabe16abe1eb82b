// SPDX-License-Identifier: GPL-2.0-or-later
/* The core's tables as texts in the store; see store-records.h. */
#include "broker/io/store-records.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/labels.h"
#include "broker/io/device-class.h"
#include "broker/io/json.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/base/text.h"
#include "lib/wire/messages.h"

static const char *const mode_names[CORE_ASSIGN_MODE_COUNT] = {
	[CORE_ASSIGN_AUTO] = "auto-attach",
	[CORE_ASSIGN_ASK] = "ask-to-attach",
	[CORE_ASSIGN_REQUIRED] = "required",
};

const char *records_mode_name(enum core_assign_mode mode)
{
	return (unsigned int)mode < CORE_ASSIGN_MODE_COUNT ? mode_names[mode] : NULL;
}

int records_mode_from_name(const char *name, enum core_assign_mode *ret_mode)
{
	for (unsigned int i = 0; i < CORE_ASSIGN_MODE_COUNT; i++) {
		if (strcmp(mode_names[i], name) != 0)
			continue;
		*ret_mode = (enum core_assign_mode)i;
		return 0;
	}
	return -EINVAL;
}

static const char *or_any(const char *text)
{
	return text[0] == '\0' ? "*" : text;
}

/* 0, or STORE_UNFIT: not an assignment. */
static int make_key(const struct core_assignment *assignment, char ret_key[LIMIT_STORE_KEY + 1])
{
	int len;

	if (!assignment_is_fit(assignment) || !device_class_name(assignment->class_id))
		return STORE_UNFIT;
	len = snprintf(ret_key, LIMIT_STORE_KEY + 1, "%s %s %s %s%s %s", assignment->target,
		       device_class_name(assignment->class_id), assignment->source, assignment->path[0] ? "@" : "",
		       assignment->path[0] ? assignment->path : or_any(assignment->port),
		       or_any(assignment->device_id));
	return len < 0 || len > (int)LIMIT_STORE_KEY ? STORE_UNFIT : 0;
}

#define WRITTEN_CONTROL(constant, name, last) {name, picture->controls[CONTROL_##constant]},

/* Only what is asked for: so a record of a time before is as it would be written now. */
static void write_picture(struct json_writer *writer, const struct core_picture *picture)
{
	const struct {
		const char *key;
		uint16_t value;
	} numbers[] = {{"width", picture->width},
		       {"height", picture->height},
		       {"fps", picture->fps},
		       CONTROLS(WRITTEN_CONTROL)};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].value)
			json_write_number(writer, numbers[i].key, numbers[i].value);
}

static uint16_t read_later_number(struct json_reader *reader, const char *key, uint64_t max)
{
	uint64_t value = 0;

	if (json_read_is_next(reader, key))
		json_read_number(reader, key, max, &value);
	return (uint16_t)value;
}

static void read_picture(struct json_reader *reader, struct core_picture *picture)
{
	picture->width = read_later_number(reader, "width", UINT16_MAX);
	picture->height = read_later_number(reader, "height", UINT16_MAX);
	picture->fps = read_later_number(reader, "fps", UINT16_MAX);
	for (enum camera_control i = 0; i < CONTROL_COUNT; i++)
		picture->controls[i] = (uint8_t)read_later_number(reader, controls_name(i), UINT8_MAX);
}

/* 0, or STORE_UNFIT. */
static int write_assignment(const struct core_assignment *assignment, char ret_key[LIMIT_STORE_KEY + 1],
			    char ret_value[LIMIT_STORE_VALUE + 1])
{
	struct json_writer writer;
	size_t len;
	int r = make_key(assignment, ret_key);

	if (r != 0)
		return r;
	json_write_begin(&writer, ret_value, LIMIT_STORE_VALUE + 1);
	json_write_open(&writer, NULL, '{');
	json_write_text(&writer, "target", assignment->target);
	json_write_text(&writer, "class", device_class_name(assignment->class_id));
	json_write_text(&writer, "source", assignment->source);
	json_write_text(&writer, "port", assignment->port);
	if (assignment->path[0])
		json_write_text(&writer, "path", assignment->path);
	json_write_text(&writer, "device", assignment->device_id);
	json_write_text(&writer, "mode", mode_names[assignment->mode]);
	json_write_flag(&writer, "follow-port", assignment->follow_port);
	json_write_number(&writer, "max-time-usec", assignment->max_time_usec);
	write_picture(&writer, &assignment->picture);
	json_write_close(&writer, '}');
	return json_write_end(&writer, &len) < 0 ? STORE_UNFIT : 0;
}

static bool parse_assignment(const char *untrusted_value, struct core_assignment *ret_assignment)
{
	struct core_assignment assignment = {0};
	struct json_reader reader;
	char class[16] = "", mode[16] = "";
	int class_id;

	json_read_begin(&reader, untrusted_value);
	json_read_open(&reader, NULL, '{');
	json_read_text(&reader, "target", assignment.target, sizeof(assignment.target));
	json_read_text(&reader, "class", class, sizeof(class));
	json_read_text(&reader, "source", assignment.source, sizeof(assignment.source));
	json_read_text(&reader, "port", assignment.port, sizeof(assignment.port));
	if (json_read_is_next(&reader, "path"))
		json_read_text(&reader, "path", assignment.path, sizeof(assignment.path));
	json_read_text(&reader, "device", assignment.device_id, sizeof(assignment.device_id));
	json_read_text(&reader, "mode", mode, sizeof(mode));
	json_read_flag(&reader, "follow-port", &assignment.follow_port);
	json_read_number(&reader, "max-time-usec", INT64_MAX, &assignment.max_time_usec);
	read_picture(&reader, &assignment.picture);
	json_read_close(&reader, '}');
	if (!json_read_end(&reader) || records_mode_from_name(mode, &assignment.mode) < 0)
		return false;
	class_id = device_class_id(admin_span(class));
	if (class_id <= 0)
		return false;
	assignment.class_id = (uint8_t)class_id;
	*ret_assignment = assignment;
	return true;
}

static bool read_assignment(const char *untrusted_key, const char *untrusted_value,
			    struct core_assignment *ret_assignment)
{
	char key[LIMIT_STORE_KEY + 1], value[LIMIT_STORE_VALUE + 1];
	struct core_assignment assignment;

	if (!parse_assignment(untrusted_value, &assignment) || write_assignment(&assignment, key, value) != 0 ||
	    strcmp(key, untrusted_key) != 0 || strcmp(value, untrusted_value) != 0)
		return false;
	*ret_assignment = assignment;
	return true;
}

/* 0, or STORE_UNFIT. */
static int write_denied(const struct denied *denied, const char *qube, char ret_value[LIMIT_STORE_VALUE + 1])
{
	struct json_writer writer;
	const char *pattern;
	unsigned int cursor = 0;
	size_t len;

	json_write_begin(&writer, ret_value, LIMIT_STORE_VALUE + 1);
	json_write_open(&writer, NULL, '[');
	while ((pattern = denied_next(denied, qube, &cursor)))
		json_write_text(&writer, NULL, pattern);
	json_write_close(&writer, ']');
	return json_write_end(&writer, &len) < 0 ? STORE_UNFIT : 0;
}

/* Adds the list to a table that has none for that qube. Repeated patterns are found by denied_add(). */
static bool read_denied(const char *untrusted_qube, const char *untrusted_value, struct denied *denied)
{
	struct json_reader reader;
	char pattern[DENIED_PATTERN + 1];
	unsigned int n = 0;

	json_read_begin(&reader, untrusted_value);
	json_read_open(&reader, NULL, '[');
	for (; json_read_is_next(&reader, NULL); n++) {
		json_read_text(&reader, NULL, pattern, sizeof(pattern));
		if (reader.bad || denied_add(denied, untrusted_qube, pattern) != 0)
			return false;
	}
	json_read_close(&reader, ']');
	return n > 0 && json_read_end(&reader);
}

int records_check(enum store_kind kind, const char *key, const char *value)
{
	struct core_assignment assignment;
	struct denied *denied;
	int r;

	switch (kind) {
	case STORE_ASSIGNMENT:
		return read_assignment(key, value, &assignment) ? 0 : STORE_UNFIT;
	case STORE_DENIED:
		denied = denied_new();
		if (!denied)
			return -ENOMEM;
		r = read_denied(key, value, denied) ? 0 : STORE_UNFIT;
		(void)denied_free(denied);
		return r;
	case STORE_LABEL:
		return strlen(key) < CORE_LABEL_KEY_MAX && text_is_printable(key) && labels_is_text(value)
			       ? 0
			       : STORE_UNFIT;
	case STORE_SESSION:
		return 0;
	case STORE_KIND_COUNT:
		break;
	}
	return STORE_UNFIT;
}

int records_load(const struct store *store, struct assignments *assignments, struct denied *denied)
{
	const char *key, *value;
	unsigned int cursor = 0;

	while (store_next(store, STORE_ASSIGNMENT, &cursor, &key, &value)) {
		struct core_assignment assignment;

		if (!read_assignment(key, value, &assignment) || assignments_add(assignments, &assignment) != 0)
			return -EBADMSG;
	}
	cursor = 0;
	while (store_next(store, STORE_DENIED, &cursor, &key, &value))
		if (!read_denied(key, value, denied))
			return -EBADMSG;
	return 0;
}

int records_put_assignment(struct store *store, const struct core_assignment *assignment)
{
	char key[LIMIT_STORE_KEY + 1], value[LIMIT_STORE_VALUE + 1];
	int r = write_assignment(assignment, key, value);

	return r == 0 ? store_put(store, STORE_ASSIGNMENT, key, value) : r;
}

int records_remove_assignment(struct store *store, const struct core_assignment *assignment)
{
	char key[LIMIT_STORE_KEY + 1];
	int r = make_key(assignment, key);

	return r == 0 ? store_remove(store, STORE_ASSIGNMENT, key) : r;
}

int records_put_denied(struct store *store, const struct denied *denied, const char *qube)
{
	char value[LIMIT_STORE_VALUE + 1];
	unsigned int cursor = 0;
	int r;

	if (!denied_next(denied, qube, &cursor)) {
		r = store_remove(store, STORE_DENIED, qube);
		return r == STORE_UNKNOWN ? 0 : r;
	}
	r = write_denied(denied, qube, value);
	return r == 0 ? store_put(store, STORE_DENIED, qube, value) : r;
}

int records_put_label(struct store *store, const char *key, const char *text)
{
	return text[0] ? store_put(store, STORE_LABEL, key, text) : store_remove(store, STORE_LABEL, key);
}
