// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The codec of messages.h. Every function walks the same table, which the macros of messages.h fill; no message has
 * code of its own, but for what no single field can state: a rule about DEVICE, one about EXPORT and one about IMPORT.
 *
 * A frame:   0 u16 type | 2 u16 length | 4 u32 id | 8 fields in the order of the table, little endian, no padding
 *
 * Invariants: pure; nothing past the received bytes is read; a message is built in a local and published only when it
 * is valid, with its padding zero, so that equal frames give equal structs; what was decoded encodes to the same bytes.
 */
#include "lib/wire/messages.h"

#include <assert.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

enum field_kind { FIELD_NUMBER, FIELD_BYTES, FIELD_TEXT };

struct field {
	enum field_kind kind;
	uint16_t offset; /* in the struct */
	uint16_t len;    /* on the wire and in the struct */
	uint64_t first;  /* range of a number */
	uint64_t last;
};

#define FIELD_U8(n) {FIELD_NUMBER, offsetof(record, n), 1, 0, UINT8_MAX},
#define FIELD_U16(n) {FIELD_NUMBER, offsetof(record, n), 2, 0, UINT16_MAX},
#define FIELD_U32(n) {FIELD_NUMBER, offsetof(record, n), 4, 0, UINT32_MAX},
#define FIELD_U64(n) {FIELD_NUMBER, offsetof(record, n), 8, 0, UINT64_MAX},
#define FIELD_BYTES(n, length) {FIELD_BYTES, offsetof(record, n), length, 0, 0},
#define FIELD_TEXT(n, length) {FIELD_TEXT, offsetof(record, n), length, 0, 0},
#define FIELD_ENUM8(n, lowest, highest) {FIELD_NUMBER, offsetof(record, n), 1, lowest, highest},

#define LENGTH_U8(n) +1u
#define LENGTH_U16(n) +2u
#define LENGTH_U32(n) +4u
#define LENGTH_U64(n) +8u
#define LENGTH_BYTES(n, length) +(length)
#define LENGTH_TEXT(n, length) +(length)
#define LENGTH_ENUM8(n, lowest, highest) +1u
#define FRAME_LENGTH(name)                                                                                        \
	(WIRE_HEADER WIRE_FIELDS_##name(LENGTH_U8, LENGTH_U16, LENGTH_U32, LENGTH_U64, LENGTH_BYTES, LENGTH_TEXT, \
					LENGTH_ENUM8))

/* A function, so that `record` can name the struct that the field macros do not know. */
#define FIELDS_FUNCTION(name, number, direction, kind, states)                                                      \
	_Static_assert(FRAME_LENGTH(name) <= LIMIT_FRAME, #name " does not fit into a frame");                      \
	static const struct field *fields_##name(size_t *ret_n)                                                     \
	{                                                                                                           \
		typedef struct wire_##name record;                                                                  \
		static const struct field fields[] = {WIRE_FIELDS_##name(FIELD_U8, FIELD_U16, FIELD_U32, FIELD_U64, \
									 FIELD_BYTES, FIELD_TEXT, FIELD_ENUM8)};    \
                                                                                                                    \
		*ret_n = ARRAY_SIZE(fields);                                                                        \
		return fields;                                                                                      \
	}
WIRE_MESSAGES(FIELDS_FUNCTION)

#define FORMAT(name, number, direction, kind, states) \
	{#name, number, FRAME_LENGTH(name), WIRE_##direction, kind, states, fields_##name},
static const struct format {
	const char *name;
	uint16_t type;
	uint16_t length;
	enum wire_direction direction;
	enum wire_kind kind;
	unsigned int states;
	const struct field *(*fields)(size_t *ret_n);
} formats[] = {WIRE_MESSAGES(FORMAT)};

/* All members of the union begin where it begins. */
#define UNION_ASSERT(name, number, direction, kind, states) \
	_Static_assert(offsetof(struct wire_message, name) == offsetof(struct wire_message, HELLO), "one union");
WIRE_MESSAGES(UNION_ASSERT)
#define RECORD_OFFSET offsetof(struct wire_message, HELLO)

/* The moves of a connection; what is not listed leaves the state as it is. */
static const struct {
	enum wire_type type;
	enum wire_states from, to;
} moves[] = {
	{WIRE_HELLO, WIRE_IN_NEW, WIRE_IN_GREETED},
	{WIRE_WELCOME, WIRE_IN_NEW, WIRE_IN_READY},
	{WIRE_LIST_BEGIN, WIRE_IN_GREETED, WIRE_IN_LIST},
	{WIRE_LIST_BEGIN, WIRE_IN_READY, WIRE_IN_LIST},
	{WIRE_LIST_END, WIRE_IN_LIST, WIRE_IN_READY},
	{WIRE_DEVICE, WIRE_IN_READY, WIRE_IN_DEVICE},
	{WIRE_DEVICE, WIRE_IN_LIST, WIRE_IN_LISTED_DEVICE},
	{WIRE_DEVICE_COMMIT, WIRE_IN_DEVICE, WIRE_IN_READY},
	{WIRE_DEVICE_COMMIT, WIRE_IN_LISTED_DEVICE, WIRE_IN_LIST},
};

static const struct format *format_find(unsigned int type)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].type == type)
			return &formats[i];
	return NULL;
}

static uint64_t get_number(const uint8_t *bytes, size_t len)
{
	uint64_t value = 0;

	while (len-- > 0)
		value = value << 8 | bytes[len];
	return value;
}

/* May these bytes stand for this field? */
static bool field_is_valid(const struct field *field, const uint8_t *bytes)
{
	uint64_t value;

	switch (field->kind) {
	case FIELD_NUMBER:
		value = get_number(bytes, field->len);
		return value >= field->first && value <= field->last;
	case FIELD_TEXT:
		return text_is_field(bytes, field->len);
	case FIELD_BYTES:
		return true;
	}
	return false;
}

/* Wire bytes -> member at `slot`, which is aligned for a number of this length. */
static void field_load(const struct field *field, const uint8_t *bytes, uint8_t *slot)
{
	if (field->kind != FIELD_NUMBER || field->len == 1)
		memcpy(slot, bytes, field->len);
	else if (field->len == 2)
		memcpy(slot, &(uint16_t){get_le16(bytes)}, 2);
	else if (field->len == 4)
		memcpy(slot, &(uint32_t){get_le32(bytes)}, 4);
	else
		memcpy(slot, &(uint64_t){get_le64(bytes)}, 8);
}

/* The reverse of field_load(). */
static void field_store(const struct field *field, const uint8_t *slot, uint8_t *bytes)
{
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	if (field->kind != FIELD_NUMBER || field->len == 1) {
		memcpy(bytes, slot, field->len);
	} else if (field->len == 2) {
		memcpy(&u16, slot, 2);
		put_le16(bytes, u16);
	} else if (field->len == 4) {
		memcpy(&u32, slot, 4);
		put_le32(bytes, u32);
	} else {
		memcpy(&u64, slot, 8);
		put_le64(bytes, u64);
	}
}

static const struct class_rules {
	char letter;
	bool has_speed, may_be_part, can_mute, tells_use;
	uint16_t import_role;
	uint8_t min_interfaces, max_interfaces;
	bool (*is_port)(const char *text);
} classes[] = {
	[WIRE_CLASS_USB] = {'u', true, false, false, false, WIRE_ROLE_IMPORT, 0, LIMIT_INTERFACES, text_is_usb_port},
	[WIRE_CLASS_MIC] = {'m', false, true, true, true, WIRE_ROLE_IMPORT_MIC, 1, 1, text_is_mic_port},
	[WIRE_CLASS_SPEAKER] = {'s', false, true, true, true, WIRE_ROLE_IMPORT_SPEAKER, 1, 1, text_is_speaker_port},
	[WIRE_CLASS_WEBCAM] = {'u', false, true, true, true, WIRE_ROLE_IMPORT_WEBCAM, 1, 1, text_is_webcam_port},
};

static const struct class_rules *find_class(uint8_t class_id)
{
	return class_id < ARRAY_SIZE(classes) && classes[class_id].is_port ? &classes[class_id] : NULL;
}

bool wire_is_port(uint8_t class_id, const char *text)
{
	const struct class_rules *rules = find_class(class_id);

	return rules && rules->is_port(text);
}

bool wire_may_be_part(uint8_t class_id)
{
	const struct class_rules *rules = find_class(class_id);

	return rules && rules->may_be_part;
}

bool wire_can_mute(uint8_t class_id)
{
	const struct class_rules *rules = find_class(class_id);

	return rules && rules->can_mute;
}

bool wire_tells_use(uint8_t class_id)
{
	const struct class_rules *rules = find_class(class_id);

	return rules && rules->tells_use;
}

uint16_t wire_import_role(uint8_t class_id)
{
	const struct class_rules *rules = find_class(class_id);

	return rules ? rules->import_role : 0;
}

char wire_class_letter(uint8_t class_id)
{
	const struct class_rules *rules = find_class(class_id);

	return (char)(rules ? rules->letter : '?');
}

/* What is of one class only; unused interface bytes are zero. */
static bool device_is_consistent(const struct wire_DEVICE *device)
{
	const struct class_rules *rules = find_class(device->class);

	if (!rules || (device->speed != WIRE_SPEED_NONE) != rules->has_speed ||
	    device->n_interfaces < rules->min_interfaces || device->n_interfaces > rules->max_interfaces)
		return false;
	for (size_t i = 3u * device->n_interfaces; i < sizeof(device->interfaces); i++)
		if (device->interfaces[i] != 0)
			return false;
	return true;
}

/* What only a camera has. */
static bool import_is_consistent(const struct wire_IMPORT *import)
{
	bool is_webcam = import->class == WIRE_CLASS_WEBCAM;

	return (import->label[0] != '\0') == is_webcam &&
	       (is_webcam || (import->width == 0 && import->height == 0 && import->fps == 0));
}

/* What no field says by itself. */
static bool message_is_consistent(const struct wire_message *message)
{
	if (message->type == WIRE_DEVICE)
		return device_is_consistent(&message->DEVICE);
	if (message->type == WIRE_EXPORT)
		return controls_are_fit(message->EXPORT.controls);
	return message->type != WIRE_IMPORT || import_is_consistent(&message->IMPORT);
}

static bool id_is_valid(const struct format *format, uint32_t id)
{
	return (id == 0) == (format->kind == WIRE_EVENT);
}

/* The header alone: 0 and the format, or the fault. */
static int header_check(const uint8_t *untrusted_header, enum wire_direction direction, enum wire_states state,
			const struct format **ret_format)
{
	const struct format *format = format_find(get_le16(untrusted_header));

	if (!format)
		return WIRE_BAD_TYPE;
	if (get_le16(untrusted_header + 2) != format->length)
		return WIRE_BAD_LENGTH;
	if (format->direction != direction)
		return WIRE_BAD_DIRECTION;
	if (!(format->states & (unsigned int)state))
		return WIRE_BAD_STATE;
	if (!id_is_valid(format, get_le32(untrusted_header + 4)))
		return WIRE_BAD_ID;
	*ret_format = format;
	return 0;
}

int wire_decode(const uint8_t *untrusted_bytes, size_t len, enum wire_direction direction, enum wire_states state,
		struct wire_message *ret_message, size_t *ret_used)
{
	const uint8_t *untrusted_field = untrusted_bytes + WIRE_HEADER;
	const struct format *format;
	const struct field *fields;
	struct wire_message message;
	size_t n_fields;
	int r;

	if (len < WIRE_HEADER)
		return WIRE_MORE;
	r = header_check(untrusted_bytes, direction, state, &format);
	if (r)
		return r;
	if (len < format->length)
		return WIRE_MORE;

	memset(&message, 0, sizeof(message));
	message.type = (enum wire_type)format->type;
	message.id = get_le32(untrusted_bytes + 4);
	fields = format->fields(&n_fields);
	for (size_t i = 0; i < n_fields; i++) {
		if (!field_is_valid(&fields[i], untrusted_field))
			return WIRE_BAD_FIELD;
		field_load(&fields[i], untrusted_field, (uint8_t *)&message + RECORD_OFFSET + fields[i].offset);
		untrusted_field += fields[i].len;
	}
	if (!message_is_consistent(&message))
		return WIRE_BAD_FIELD;
	memcpy(ret_message, &message, sizeof(message));
	*ret_used = format->length;
	return 0;
}

size_t wire_encode(const struct wire_message *message, uint8_t *frame)
{
	const struct format *format = format_find(message->type);
	const struct field *fields;
	uint8_t *bytes = frame + WIRE_HEADER;
	size_t n_fields;

	assert(format);
	assert(id_is_valid(format, message->id));
	assert(message_is_consistent(message));
	put_le16(frame, format->type);
	put_le16(frame + 2, format->length);
	put_le32(frame + 4, message->id);
	fields = format->fields(&n_fields);
	for (size_t i = 0; i < n_fields; i++) {
		field_store(&fields[i], (const uint8_t *)message + RECORD_OFFSET + fields[i].offset, bytes);
		assert(field_is_valid(&fields[i], bytes));
		bytes += fields[i].len;
	}
	assert(bytes == frame + format->length);
	return format->length;
}

enum wire_states wire_next_state(enum wire_states state, enum wire_type type, enum wire_direction direction)
{
	const struct format *format = format_find(type);

	if (!format || format->direction != direction)
		return state;
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
		if (moves[i].type == type && moves[i].from == state)
			return moves[i].to;
	return state;
}

const char *wire_type_name(enum wire_type type)
{
	const struct format *format = format_find(type);

	return format ? format->name : "unknown";
}

const char *wire_fault_text(int fault)
{
	static const char *const texts[] = {
		[WIRE_MORE] = "the message is not complete",
		[WIRE_BAD_TYPE] = "a message of an unknown type",
		[WIRE_BAD_LENGTH] = "a message of a wrong length",
		[WIRE_BAD_DIRECTION] = "a message that only the other side may send",
		[WIRE_BAD_STATE] = "a message that is not permitted now",
		[WIRE_BAD_ID] = "a message with a wrong request number",
		[WIRE_BAD_FIELD] = "a message with a field out of range",
	};

	if (fault < WIRE_MORE || (size_t)fault >= ARRAY_SIZE(texts))
		return "no fault";
	return texts[fault];
}

#define OUTCOME_TEXT(name, sentence) [OUTCOME_##name] = sentence,
const char *outcome_text(enum outcome outcome)
{
	static const char *const texts[] = {WIRE_OUTCOMES(OUTCOME_TEXT)};

	return (size_t)outcome < ARRAY_SIZE(texts) ? texts[outcome] : "an unknown outcome";
}

/* The macro's name in lower case with dashes; written once, at start, so that it stands in one place only. */
#define OUTCOME_NAME_MAX 16u
#define OUTCOME_NAME_ASSERT(name, sentence) _Static_assert(sizeof(#name) <= OUTCOME_NAME_MAX, "make room for " #name);
#define OUTCOME_NAME(name, sentence) [OUTCOME_##name] = #name,
WIRE_OUTCOMES(OUTCOME_NAME_ASSERT)
static char outcome_names[][OUTCOME_NAME_MAX] = {WIRE_OUTCOMES(OUTCOME_NAME)};

__attribute__((constructor)) static void outcome_names_init(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(outcome_names); i++)
		for (char *c = outcome_names[i]; *c; c++)
			*c = *c == '_' ? '-' : (char)(*c | 0x20);
}

const char *outcome_name(enum outcome outcome)
{
	return (size_t)outcome < ARRAY_SIZE(outcome_names) ? outcome_names[outcome] : "unknown";
}
