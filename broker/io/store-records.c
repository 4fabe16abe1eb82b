// SPDX-License-Identifier: GPL-2.0-or-later
/* The core's tables as texts in the store, with json-c; see store-records.h. */
#include "broker/io/store-records.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/base/text.h"
#include "lib/wire/messages.h"

#define FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
#define DEPTH 2

static const char *const mode_names[CORE_ASSIGN_MODE_COUNT] = {
	[CORE_ASSIGN_AUTO] = "auto-attach",
	[CORE_ASSIGN_ASK] = "ask-to-attach",
	[CORE_ASSIGN_REQUIRED] = "required",
};

static const struct {
	uint8_t id;
	const char *name;
} classes[] = {
	{WIRE_CLASS_USB, "usb"},
};

static void cleanup_json(json_object **object)
{
	(void)json_object_put(*object);
}
#define _cleanup_json_ _cleanup_(cleanup_json)

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

static const char *class_name(uint8_t id)
{
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (classes[i].id == id)
			return classes[i].name;
	return NULL;
}

static int add(json_object *object, const char *key, json_object *value)
{
	if (!value)
		return -ENOMEM;
	if (json_object_object_add(object, key, value) == 0)
		return 0;
	(void)json_object_put(value);
	return -ENOMEM;
}

/* 0, -ENOMEM, or STORE_UNFIT: does not fit. */
static int copy_json(json_object *object, char ret_value[LIMIT_STORE_VALUE + 1])
{
	size_t len;
	const char *text = json_object_to_json_string_length(object, FLAGS, &len);

	if (!text)
		return -ENOMEM;
	if (len > LIMIT_STORE_VALUE)
		return STORE_UNFIT;
	memcpy(ret_value, text, len + 1);
	return 0;
}

static const char *or_any(const char *text)
{
	return text[0] == '\0' ? "*" : text;
}

/* 0, or STORE_UNFIT: not an assignment. */
static int make_key(const struct core_assignment *assignment, char ret_key[LIMIT_STORE_KEY + 1])
{
	int len;

	if (!assignment_is_fit(assignment) || !class_name(assignment->class_id))
		return STORE_UNFIT;
	len = snprintf(ret_key, LIMIT_STORE_KEY + 1, "%s %s %s %s%s %s", assignment->target,
		       class_name(assignment->class_id), assignment->source, assignment->path[0] ? "@" : "",
		       assignment->path[0] ? assignment->path : or_any(assignment->port),
		       or_any(assignment->device_id));
	return len < 0 || len > (int)LIMIT_STORE_KEY ? STORE_UNFIT : 0;
}

static int write_assignment(const struct core_assignment *assignment, char ret_key[LIMIT_STORE_KEY + 1],
			    char ret_value[LIMIT_STORE_VALUE + 1])
{
	_cleanup_json_ json_object *object = json_object_new_object();
	int r = make_key(assignment, ret_key);

	if (r != 0)
		return r;
	if (!object || add(object, "target", json_object_new_string(assignment->target)) < 0 ||
	    add(object, "class", json_object_new_string(class_name(assignment->class_id))) < 0 ||
	    add(object, "source", json_object_new_string(assignment->source)) < 0 ||
	    add(object, "port", json_object_new_string(assignment->port)) < 0 ||
	    (assignment->path[0] && add(object, "path", json_object_new_string(assignment->path)) < 0) ||
	    add(object, "device", json_object_new_string(assignment->device_id)) < 0 ||
	    add(object, "mode", json_object_new_string(mode_names[assignment->mode])) < 0 ||
	    add(object, "follow-port", json_object_new_boolean(assignment->follow_port)) < 0 ||
	    add(object, "max-time-usec", json_object_new_int64((int64_t)assignment->max_time_usec)) < 0)
		return -ENOMEM;
	return copy_json(object, ret_value);
}

/* NULL: not JSON, or no memory. */
static json_object *parse(const char *untrusted_value, enum json_type type)
{
	json_tokener *tokener = json_tokener_new_ex(DEPTH);
	json_object *object;
	size_t len = strlen(untrusted_value);

	if (!tokener)
		return NULL;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	object = json_tokener_parse_ex(tokener, untrusted_value, (int)len + 1);
	json_tokener_free(tokener);
	if (json_object_is_type(object, type))
		return object;
	(void)json_object_put(object);
	return NULL;
}

/* NULL: absent, or of another type. */
static json_object *member(json_object *object, const char *key, enum json_type type)
{
	json_object *value = NULL;

	return json_object_object_get_ex(object, key, &value) && json_object_is_type(value, type) ? value : NULL;
}

static bool read_text(json_object *object, const char *key, char *text, size_t size)
{
	json_object *value = member(object, key, json_type_string);
	size_t len = value ? (size_t)json_object_get_string_len(value) : size;

	if (len >= size)
		return false;
	memcpy(text, json_object_get_string(value), len + 1);
	return strlen(text) == len;
}

static bool parse_assignment(const char *untrusted_value, struct core_assignment *ret_assignment)
{
	_cleanup_json_ json_object *object = parse(untrusted_value, json_type_object);
	struct core_assignment assignment = {0};
	json_object *follow_port, *max_time;
	bool has_path = object && json_object_object_get_ex(object, "path", NULL);
	char class[16], mode[16];

	if (!object || !read_text(object, "target", assignment.target, sizeof(assignment.target)) ||
	    !read_text(object, "class", class, sizeof(class)) ||
	    !read_text(object, "source", assignment.source, sizeof(assignment.source)) ||
	    !read_text(object, "port", assignment.port, sizeof(assignment.port)) ||
	    (has_path && !read_text(object, "path", assignment.path, sizeof(assignment.path))) ||
	    !read_text(object, "device", assignment.device_id, sizeof(assignment.device_id)) ||
	    !read_text(object, "mode", mode, sizeof(mode)))
		return false;
	follow_port = member(object, "follow-port", json_type_boolean);
	max_time = member(object, "max-time-usec", json_type_int);
	if (!follow_port || !max_time || json_object_get_int64(max_time) < 0 ||
	    records_mode_from_name(mode, &assignment.mode) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (strcmp(classes[i].name, class) == 0)
			assignment.class_id = classes[i].id;
	assignment.follow_port = json_object_get_boolean(follow_port);
	assignment.max_time_usec = (uint64_t)json_object_get_int64(max_time);
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

static int write_denied(const struct denied *denied, const char *qube, char ret_value[LIMIT_STORE_VALUE + 1])
{
	_cleanup_json_ json_object *array = json_object_new_array();
	const char *pattern;
	unsigned int cursor = 0;

	while (array && (pattern = denied_next(denied, qube, &cursor))) {
		json_object *text = json_object_new_string(pattern);

		if (!text || json_object_array_add(array, text) < 0) {
			(void)json_object_put(text);
			return -ENOMEM;
		}
	}
	return array ? copy_json(array, ret_value) : -ENOMEM;
}

/* Adds the list to a table that has none for that qube. Repeated patterns are found by denied_add(). */
static bool read_denied(const char *untrusted_qube, const char *untrusted_value, struct denied *denied)
{
	_cleanup_json_ json_object *array = parse(untrusted_value, json_type_array);
	size_t n = array ? json_object_array_length(array) : 0;
	char value[LIMIT_STORE_VALUE + 1];

	for (size_t i = 0; i < n; i++) {
		json_object *text = json_object_array_get_idx(array, i);

		if (!json_object_is_type(text, json_type_string) ||
		    strlen(json_object_get_string(text)) != (size_t)json_object_get_string_len(text) ||
		    denied_add(denied, untrusted_qube, json_object_get_string(text)) != 0)
			return false;
	}
	return n > 0 && write_denied(denied, untrusted_qube, value) == 0 && strcmp(value, untrusted_value) == 0;
}

bool records_check(enum store_kind kind, const char *key, const char *value)
{
	struct core_assignment assignment;
	struct denied *denied;
	bool good;

	switch (kind) {
	case STORE_ASSIGNMENT:
		return read_assignment(key, value, &assignment);
	case STORE_DENIED:
		denied = denied_new();
		good = denied && read_denied(key, value, denied);
		(void)denied_free(denied);
		return good;
	case STORE_LABEL:
	case STORE_SESSION:
		return true;
	case STORE_KIND_COUNT:
		break;
	}
	return false;
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
