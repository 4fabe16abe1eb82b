// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One table of fields, read and written by it; see session-record.h. Numbers above 2^53 are hexadecimal texts, so that
 * any reader of JSON has them whole.
 */
#include "broker/io/session-record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

#define BOOT_FILE "/proc/sys/kernel/random/boot_id"
#define HEX_MAX (2u * 96u + 1u)

enum kind {
	NUMBER,     /* an unsigned integer of `size` bytes, at most `max` */
	LONG,       /* uint64_t, as 16 hexadecimal digits */
	BYTES,      /* hexadecimal */
	TEXT,       /* printable ASCII */
	LATER_TEXT, /* the same; a record of a former version does not have it, then it is empty */
	FLAG,
};

#define AT(member) offsetof(struct core_memory, member), sizeof(((struct core_memory *)NULL)->member)
#define LIFE(prefix, member)                                                                                  \
	{prefix "_domid", NUMBER, AT(member.domid), UINT16_MAX}, {prefix "_uuid", BYTES, AT(member.uuid), 0}, \
		{prefix, TEXT, AT(member.name), 0},                                                           \
	{                                                                                                     \
		prefix "_start", TEXT, AT(member.start), 0                                                    \
	}

static const struct field {
	const char *key;
	enum kind kind;
	size_t offset, size;
	uint64_t max;
} fields[] = {
	{"session", LONG, AT(session), 0},
	LIFE("source", source),
	LIFE("target", target),
	{"agent", LONG, AT(agent_incarnation), 0},
	{"approved", BYTES, AT(approved), 0},
	{"slot", NUMBER, AT(device.ref.slot), LIMIT_DEVICES - 1},
	{"generation", NUMBER, AT(device.ref.generation), UINT32_MAX},
	{"class", NUMBER, AT(device.class_id), UINT8_MAX},
	{"speed", NUMBER, AT(device.speed), UINT8_MAX},
	{"vendor", NUMBER, AT(device.vendor), UINT16_MAX},
	{"product", NUMBER, AT(device.product), UINT16_MAX},
	{"n_interfaces", NUMBER, AT(device.n_interfaces), LIMIT_INTERFACES},
	{"interfaces", BYTES, AT(device.interfaces), 0},
	{"digest", BYTES, AT(device.digest), 0},
	{"port", TEXT, AT(device.port), 0},
	{"path", LATER_TEXT, AT(device.path), 0},
	{"serial", TEXT, AT(device.serial), 0},
	{"origin", NUMBER, AT(device.terms.origin), CORE_ORIGIN_COUNT - 1},
	{"asked_by", NUMBER, AT(device.terms.asked_by), UINT32_MAX},
	{"rule", TEXT, AT(device.terms.rule), 0},
	{"answered", FLAG, AT(device.terms.answered), 0},
	{"answered_by", NUMBER, AT(device.terms.answered_by), UINT32_MAX},
	{"follow_port", FLAG, AT(device.terms.follow_port), 0},
	{"max_time", LONG, AT(device.terms.max_time_usec), 0},
	{"end", LONG, AT(device.terms.end_usec), 0},
};
#undef AT
#undef LIFE

static void cleanup_json(json_object **object)
{
	(void)json_object_put(*object);
}
#define _cleanup_json_ _cleanup_(cleanup_json)

void session_record_key(uint64_t session, char ret_key[SESSION_KEY_TEXT])
{
	(void)snprintf(ret_key, SESSION_KEY_TEXT, "%016" PRIx64, session);
}

static uint64_t get_number(const void *at, size_t size)
{
	uint64_t value = 0;

	/* little or big endian: through the type of that size */
	if (size == sizeof(uint8_t))
		value = *(const uint8_t *)at;
	else if (size == sizeof(uint16_t))
		value = *(const uint16_t *)at;
	else if (size == sizeof(uint32_t))
		value = *(const uint32_t *)at;
	else
		memcpy(&value, at, sizeof(value));
	return value;
}

static void set_number(void *at, size_t size, uint64_t value)
{
	if (size == sizeof(uint8_t))
		*(uint8_t *)at = (uint8_t)value;
	else if (size == sizeof(uint16_t))
		*(uint16_t *)at = (uint16_t)value;
	else if (size == sizeof(uint32_t))
		*(uint32_t *)at = (uint32_t)value;
	else
		memcpy(at, &value, sizeof(value));
}

static json_object *make_hex(const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char text[HEX_MAX];

	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	return json_object_new_string_len(text, (int)(2 * len));
}

static json_object *make_value(const struct field *field, const void *at)
{
	char text[SESSION_KEY_TEXT];

	switch (field->kind) {
	case NUMBER:
		return json_object_new_int64((int64_t)get_number(at, field->size));
	case LONG:
		session_record_key(get_number(at, field->size), text);
		return json_object_new_string(text);
	case BYTES:
		return make_hex(at, field->size);
	case TEXT:
	case LATER_TEXT:
		return json_object_new_string(at);
	case FLAG:
		return json_object_new_boolean(*(const bool *)at);
	}
	return NULL;
}

static int add(json_object *object, const char *key, json_object *value)
{
	return value && json_object_object_add(object, key, value) == 0 ? 0 : -ENOMEM;
}

int session_record_write(const struct core_memory *memory, const char *boot, char *ret_text, size_t size)
{
	_cleanup_json_ json_object *object = json_object_new_object();
	const char *text;
	size_t len;
	int r = object ? add(object, "boot", json_object_new_string(boot)) : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(fields) && r == 0; i++)
		r = add(object, fields[i].key, make_value(&fields[i], (const uint8_t *)memory + fields[i].offset));
	if (r < 0)
		return r;
	text = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (!text)
		return -ENOMEM;
	if (len >= size)
		return -EMSGSIZE;
	memcpy(ret_text, text, len + 1);
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly `len` bytes. */
static bool read_hex(const char *text, uint8_t *ret_bytes, size_t len)
{
	if (strlen(text) != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret_bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool read_long(const char *text, uint64_t *ret_value)
{
	uint8_t bytes[sizeof(*ret_value)];

	if (!read_hex(text, bytes, sizeof(bytes)))
		return false;
	*ret_value = 0;
	for (size_t i = 0; i < sizeof(bytes); i++)
		*ret_value = *ret_value << 8 | bytes[i];
	return true;
}

/* The text of a JSON string; NULL: it is none, or has other bytes than printable ASCII. */
static const char *text_of(json_object *value)
{
	const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;

	if (!text || strlen(text) != (size_t)json_object_get_string_len(value) || !text_is_printable(text))
		return NULL;
	return text;
}

static bool read_value(const struct field *field, json_object *value, void *at)
{
	const char *text = text_of(value);
	uint64_t number;

	switch (field->kind) {
	case NUMBER:
		if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
			return false;
		number = (uint64_t)json_object_get_int64(value);
		if (number > field->max)
			return false;
		set_number(at, field->size, number);
		return true;
	case LONG:
		if (!text || !read_long(text, &number))
			return false;
		set_number(at, field->size, number);
		return true;
	case BYTES:
		return text && read_hex(text, at, field->size);
	case TEXT:
	case LATER_TEXT:
		if (!text || strlen(text) >= field->size)
			return false;
		memcpy(at, text, strlen(text));
		return true;
	case FLAG:
		if (!json_object_is_type(value, json_type_boolean))
			return false;
		*(bool *)at = json_object_get_boolean(value);
		return true;
	}
	return false;
}

/* What the single fields cannot say. */
static bool is_sound(const struct core_memory *memory, const char *key)
{
	char right_key[SESSION_KEY_TEXT];

	session_record_key(memory->session, right_key);
	if (memory->session == 0 || strcmp(key, right_key) != 0 || !text_is_usb_port(memory->device.port) ||
	    (memory->device.path[0] && !text_is_path(memory->device.path)) || !text_is_qube_name(memory->source.name) ||
	    !text_is_qube_name(memory->target.name))
		return false;
	for (unsigned int i = memory->device.n_interfaces; i < LIMIT_INTERFACES; i++)
		if (memory->device.interfaces[i][0] | memory->device.interfaces[i][1] | memory->device.interfaces[i][2])
			return false;
	return true;
}

int session_record_read(const char *key, const char *untrusted_text, const char *boot, struct core_memory *ret_memory)
{
	_cleanup_json_ json_object *object = NULL;
	struct json_tokener *tokener = json_tokener_new_ex(2);
	struct core_memory memory = {0};
	json_object *value = NULL;
	const char *of_boot;
	int n_read = 1; /* the boot */
	bool whole;

	if (!tokener)
		return -ENOMEM;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	object = json_tokener_parse_ex(tokener, untrusted_text, (int)strnlen(untrusted_text, SESSION_RECORD_TEXT) + 1);
	whole = json_tokener_get_error(tokener) == json_tokener_success &&
		json_object_is_type(object, json_type_object);
	json_tokener_free(tokener);
	if (!whole || !json_object_object_get_ex(object, "boot", &value))
		return SESSION_RECORD_BAD;
	of_boot = text_of(value);
	if (!of_boot)
		return SESSION_RECORD_BAD;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (json_object_object_get_ex(object, fields[i].key, &value))
			n_read++;
		else if (fields[i].kind == LATER_TEXT)
			continue;
		else
			return SESSION_RECORD_BAD;
		if (!read_value(&fields[i], value, (uint8_t *)&memory + fields[i].offset))
			return SESSION_RECORD_BAD;
	}
	if (json_object_object_length(object) != n_read || !is_sound(&memory, key))
		return SESSION_RECORD_BAD;
	if (boot && strcmp(of_boot, boot) != 0)
		return SESSION_RECORD_OTHER_BOOT;
	*ret_memory = memory;
	return 0;
}

int session_record_boot(char ret_boot[SESSION_BOOT_TEXT])
{
	_cleanup_close_ int fd = open(BOOT_FILE, O_RDONLY | O_CLOEXEC);
	char text[SESSION_BOOT_TEXT];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text));
	if (n < 0)
		return -errno;
	if (n < (ssize_t)sizeof(text) - 1)
		return -EBADMSG;
	text[sizeof(text) - 1] = '\0';
	if (!text_is_printable(text))
		return -EBADMSG;
	memcpy(ret_boot, text, sizeof(text));
	return 0;
}
