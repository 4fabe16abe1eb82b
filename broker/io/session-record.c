// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One table of fields, read and written by it; see session-record.h. Numbers above 2^53 are hexadecimal texts, so that
 * any reader of JSON has them whole.
 */
#include "broker/io/session-record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/json.h"
#include "lib/base/base.h"
#include "lib/base/text.h"

#define BOOT_FILE "/proc/sys/kernel/random/boot_id"

enum kind {
	NUMBER,     /* an unsigned integer of `size` bytes, at most `max` */
	LONG,       /* uint64_t, as 16 hexadecimal digits */
	BYTES,      /* hexadecimal */
	TEXT,       /* printable ASCII */
	LATER_TEXT, /* the same; a record of a former version does not have it, then it is empty */
	FLAG,
	LATER_FLAG,   /* see LATER_TEXT; then it is false */
	LATER_NUMBER, /* see LATER_TEXT; then it is 0 */
};

#define AT(member) offsetof(struct core_memory, member), sizeof(((struct core_memory *)NULL)->member)
#define LIFE(prefix, member)                                                                                  \
	{prefix "_domid", NUMBER, AT(member.domid), UINT16_MAX}, {prefix "_uuid", BYTES, AT(member.uuid), 0}, \
		{prefix, TEXT, AT(member.name), 0},                                                           \
	{                                                                                                     \
		prefix "_start", TEXT, AT(member.start), 0                                                    \
	}

#define CONTROL_FIELD(constant, name, last) \
	{name, LATER_NUMBER, AT(device.terms.picture.controls[CONTROL_##constant]), last},

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
	{"asked_by", NUMBER, AT(device.terms.asked_by.uid), UINT32_MAX},
	{"asked_by_qube", LATER_TEXT, AT(device.terms.asked_by.qube), 0},
	{"rule", TEXT, AT(device.terms.rule), 0},
	{"answered", FLAG, AT(device.terms.answered), 0},
	{"answered_by", NUMBER, AT(device.terms.answered_by.uid), UINT32_MAX},
	{"answered_by_qube", LATER_TEXT, AT(device.terms.answered_by.qube), 0},
	{"follow_port", FLAG, AT(device.terms.follow_port), 0},
	{"muted", LATER_FLAG, AT(device.terms.muted), 0},
	{"max_time", LONG, AT(device.terms.max_time_usec), 0},
	{"end", LONG, AT(device.terms.end_usec), 0},
	{"width", LATER_NUMBER, AT(device.terms.picture.width), UINT16_MAX},
	{"height", LATER_NUMBER, AT(device.terms.picture.height), UINT16_MAX},
	{"fps", LATER_NUMBER, AT(device.terms.picture.fps), UINT16_MAX},
	/* clang-format off */
	CONTROLS(CONTROL_FIELD)
	/* clang-format on */
	{"asleep", LATER_FLAG, AT(asleep), 0},
};
#undef CONTROL_FIELD
#undef AT
#undef LIFE

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

static void write_field(struct json_writer *writer, const struct field *field, const void *at)
{
	char text[SESSION_KEY_TEXT];

	switch (field->kind) {
	case NUMBER:
	case LATER_NUMBER:
		json_write_number(writer, field->key, get_number(at, field->size));
		break;
	case LONG:
		session_record_key(get_number(at, field->size), text);
		json_write_text(writer, field->key, text);
		break;
	case BYTES:
		json_write_hex(writer, field->key, at, field->size);
		break;
	case TEXT:
	case LATER_TEXT:
		json_write_text(writer, field->key, at);
		break;
	case FLAG:
	case LATER_FLAG:
		json_write_flag(writer, field->key, *(const bool *)at);
		break;
	}
}

int session_record_write(const struct core_memory *memory, const char *boot, char *ret_text, size_t size)
{
	struct json_writer writer;
	size_t len;

	json_write_begin(&writer, ret_text, size);
	json_write_open(&writer, NULL, '{');
	json_write_text(&writer, "boot", boot);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		write_field(&writer, &fields[i], (const uint8_t *)memory + fields[i].offset);
	json_write_close(&writer, '}');
	return json_write_end(&writer, &len);
}

static void read_field(struct json_reader *reader, const struct field *field, void *at)
{
	uint8_t bytes[sizeof(uint64_t)] = {0};
	uint64_t number = 0;

	switch (field->kind) {
	case LATER_NUMBER:
		if (!json_read_is_next(reader, field->key))
			break;
		json_read_number(reader, field->key, field->max, &number);
		set_number(at, field->size, number);
		break;
	case NUMBER:
		json_read_number(reader, field->key, field->max, &number);
		set_number(at, field->size, number);
		break;
	case LONG:
		json_read_hex(reader, field->key, bytes, sizeof(bytes));
		for (size_t i = 0; i < sizeof(bytes); i++)
			number = number << 8 | bytes[i];
		set_number(at, field->size, number);
		break;
	case BYTES:
		json_read_hex(reader, field->key, at, field->size);
		break;
	case LATER_TEXT:
		if (!json_read_is_next(reader, field->key))
			break;
		json_read_text(reader, field->key, at, field->size);
		break;
	case TEXT:
		json_read_text(reader, field->key, at, field->size);
		break;
	case LATER_FLAG:
		if (json_read_is_next(reader, field->key))
			json_read_flag(reader, field->key, at);
		break;
	case FLAG:
		json_read_flag(reader, field->key, at);
		break;
	}
}

static bool is_asker(const struct core_user *user)
{
	return !user->qube[0] || text_is_qube_name(user->qube);
}

/* What the single fields cannot say. */
static bool is_sound(const struct core_memory *memory, const char *key)
{
	char right_key[SESSION_KEY_TEXT];

	session_record_key(memory->session, right_key);
	if (memory->session == 0 || strcmp(key, right_key) != 0 ||
	    !wire_is_port(memory->device.class_id, memory->device.port) ||
	    (memory->device.path[0] && !text_is_path(memory->device.path)) || !text_is_qube_name(memory->source.name) ||
	    !text_is_qube_name(memory->target.name) || !is_asker(&memory->device.terms.asked_by) ||
	    !is_asker(&memory->device.terms.answered_by) ||
	    !core_picture_is_fit(&memory->device.terms.picture, memory->device.class_id))
		return false;
	for (unsigned int i = memory->device.n_interfaces; i < LIMIT_INTERFACES; i++)
		if (memory->device.interfaces[i][0] | memory->device.interfaces[i][1] | memory->device.interfaces[i][2])
			return false;
	return true;
}

int session_record_read(const char *key, const char *untrusted_text, const char *boot, struct core_memory *ret_memory)
{
	struct json_reader reader;
	struct core_memory memory = {0};
	char of_boot[SESSION_BOOT_TEXT] = "";

	json_read_begin(&reader, untrusted_text);
	json_read_open(&reader, NULL, '{');
	json_read_text(&reader, "boot", of_boot, sizeof(of_boot));
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		read_field(&reader, &fields[i], (uint8_t *)&memory + fields[i].offset);
	json_read_close(&reader, '}');
	if (!json_read_end(&reader) || !is_sound(&memory, key))
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
