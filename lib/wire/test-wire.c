// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control protocol's codec against the hostile cases CF01, CF02, CF03, CF04, CF06, CF07, CF08, CF12, CF13 and
 * CF18. Messages are filled from the tables of messages.h; each frame is decoded from an exact heap copy, so that a
 * sanitizer sees the first byte read beyond what was received.
 */
#include "tests/unit.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "lib/wire/messages.h"

static uint32_t seed = 1;

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static void fill_bytes(void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)bytes)[i] = (uint8_t)rnd();
}

static void fill_text(char *text, size_t size)
{
	size_t len = rnd() % size;

	for (size_t i = 0; i < len; i++)
		text[i] = (char)(0x20 + rnd() % 0x5f);
}

#define FILL_U8(n) m->n = (uint8_t)rnd();
#define FILL_U16(n) m->n = (uint16_t)rnd();
#define FILL_U32(n) m->n = rnd();
#define FILL_U64(n) m->n = (uint64_t)rnd() << 32 | rnd();
#define FILL_BYTES(n, len) fill_bytes(m->n, sizeof(m->n));
#define FILL_TEXT(n, len) fill_text(m->n, sizeof(m->n));
#define FILL_ENUM8(n, first, last) m->n = (uint8_t)((first) + rnd() % ((last) - (first) + 1u));
#define FILL(name, number, direction, kind, states)                                                          \
	static void fill_##name(struct wire_message *message)                                                \
	{                                                                                                    \
		struct wire_##name *m = &message->name;                                                      \
                                                                                                             \
		WIRE_FIELDS_##name(FILL_U8, FILL_U16, FILL_U32, FILL_U64, FILL_BYTES, FILL_TEXT, FILL_ENUM8) \
	}
WIRE_MESSAGES(FILL)

#define KIND(name, number, direction, kind, states) {#name, WIRE_##name, WIRE_##direction, kind, states, fill_##name},
static const struct {
	const char *name;
	enum wire_type type;
	enum wire_direction direction;
	enum wire_kind kind;
	unsigned int states;
	void (*fill)(struct wire_message *message);
} kinds[] = {WIRE_MESSAGES(KIND)};

#define ALL_STATES 6u

static enum wire_states state_number(unsigned int i)
{
	return (enum wire_states)(1u << i);
}

/* A state in which this kind is permitted. */
static enum wire_states good_state(size_t k)
{
	return (enum wire_states)(kinds[k].states & -kinds[k].states);
}

static size_t make_frame(size_t k, struct wire_message *message, uint8_t frame[LIMIT_FRAME])
{
	memset(message, 0, sizeof(*message));
	message->type = kinds[k].type;
	message->id = kinds[k].kind == WIRE_EVENT ? 0 : rnd() | 1;
	kinds[k].fill(message);
	if (message->type == WIRE_DEVICE) {
		bool usb = message->DEVICE.class == WIRE_CLASS_USB;

		message->DEVICE.n_interfaces = usb ? (uint8_t)(rnd() % (LIMIT_INTERFACES + 1)) : 1;
		if (!usb)
			message->DEVICE.speed = WIRE_SPEED_NONE;
		else if (message->DEVICE.speed == WIRE_SPEED_NONE)
			message->DEVICE.speed = WIRE_SPEED_HIGH;
		for (size_t i = 3u * message->DEVICE.n_interfaces; i < WIRE_INTERFACES; i++)
			message->DEVICE.interfaces[i] = 0;
	}
	for (size_t i = 0; message->type == WIRE_EXPORT && i < CONTROL_COUNT; i++)
		message->EXPORT.controls[i] %= (CONTROL_OF_WORDS + 1);
	if (message->type == WIRE_IMPORT && message->IMPORT.class == WIRE_CLASS_WEBCAM) {
		message->IMPORT.label[0] = 'x';
	} else if (message->type == WIRE_IMPORT) {
		message->IMPORT.width = message->IMPORT.height = message->IMPORT.fps = 0;
		memset(message->IMPORT.label, 0, sizeof(message->IMPORT.label));
	}
	return wire_encode(message, frame);
}

static int decode_exact(const uint8_t *bytes, size_t len, enum wire_direction direction, enum wire_states state,
			struct wire_message *ret_message, size_t *ret_used)
{
	_cleanup_free_ uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	return wire_decode(len ? copy : copy + 1, len, direction, state, ret_message, ret_used);
}

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (int round = 0; round < 500; round++) {
			uint8_t frame[LIMIT_FRAME], again[LIMIT_FRAME];
			struct wire_message in, out;
			size_t len = make_frame(k, &in, frame), used = 0;

			assert_int_equal(decode_exact(frame, len, kinds[k].direction, good_state(k), &out, &used), 0);
			assert_int_equal(used, len);
			assert_memory_equal(&in, &out, sizeof(in));
			assert_int_equal(wire_encode(&out, again), len);
			assert_memory_equal(frame, again, len);
		}
}

/* The layout itself, byte by byte: encode and decode could agree on a wrong one. */
static void test_golden(void **state)
{
	static const uint8_t hello[] = {1, 0, 20, 0, 0, 0, 0, 0, 1, 0, 3, 0, 8, 7, 6, 5, 4, 3, 2, 1};
	static const uint8_t export_head[] = {66,   0,    62,   0,    4,    3, 2, 1, 0xef, 0xcd, 0xab,
					      0x89, 0x67, 0x45, 0x23, 0x01, 5, 0, 1, 0,    0,    0x80};
	static const uint8_t failed[] = {12, 0, 17, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
	struct wire_message message = {.type = WIRE_HELLO};
	uint8_t frame[LIMIT_FRAME];

	(void)state;
	message.HELLO = (struct wire_HELLO){.version = 1, .roles = 3, .incarnation = 0x0102030405060708};
	assert_int_equal(wire_encode(&message, frame), sizeof(hello));
	assert_memory_equal(frame, hello, sizeof(hello));

	message = (struct wire_message){.type = WIRE_EXPORT, .id = 0x01020304};
	message.EXPORT = (struct wire_EXPORT){.session = 0x0123456789abcdef,
					      .slot = 5,
					      .generation = 0x80000001,
					      .target = 0x7ff0,
					      .muted = 1,
					      .controls = {101, 0, 0, 0, 3}};
	memset(message.EXPORT.digest, 0xd1, WIRE_DIGEST);
	assert_int_equal(wire_encode(&message, frame), 8 + 8 + 2 + 4 + 32 + 2 + 1 + 5);
	assert_memory_equal(frame, export_head, sizeof(export_head));
	assert_int_equal(frame[22], 0xd1);
	assert_int_equal(frame[53], 0xd1);
	assert_int_equal(frame[54], 0xf0);
	assert_int_equal(frame[55], 0x7f);
	assert_int_equal(frame[56], 1);
	assert_memory_equal(frame + 57, ((uint8_t[]){101, 0, 0, 0, 3}), 5);

	message = (struct wire_message){.type = WIRE_FAILED, .id = 9};
	message.FAILED = (struct wire_FAILED){.session = 1, .outcome = OUTCOME_NO_DEVICE};
	assert_int_equal(wire_encode(&message, frame), sizeof(failed));
	assert_memory_equal(frame, failed, sizeof(failed));
}

/* CF01, CF04: each type with each announced length, and with each received length. */
static void test_lengths(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		uint8_t frame[LIMIT_FRAME + 2] = {0};
		struct wire_message message, untouched;
		size_t len = make_frame(k, &message, frame), used = 77;

		memset(&message, 0x5a, sizeof(message));
		memset(&untouched, 0x5a, sizeof(untouched));
		for (unsigned int announced = 0; announced <= LIMIT_FRAME + 2; announced++) {
			if (announced == len)
				continue;
			put_le16(frame + 2, (uint16_t)announced);
			assert_int_equal(
				decode_exact(frame, sizeof(frame), kinds[k].direction, good_state(k), &message, &used),
				WIRE_BAD_LENGTH);
		}
		put_le16(frame + 2, 0xffff);
		assert_int_equal(decode_exact(frame, len, kinds[k].direction, good_state(k), &message, &used),
				 WIRE_BAD_LENGTH);
		put_le16(frame + 2, (uint16_t)len);
		for (size_t received = 0; received < len; received++)
			assert_int_equal(
				decode_exact(frame, received, kinds[k].direction, good_state(k), &message, &used),
				WIRE_MORE);
		assert_memory_equal(&message, &untouched, sizeof(message));
		assert_int_equal(used, 77);
		assert_int_equal(decode_exact(frame, len, kinds[k].direction, good_state(k), &message, &used), 0);
	}
}

/* CF02, CF18: a bad header is refused as soon as it is whole, at every split the same. */
static void test_split_faults(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		uint8_t frame[LIMIT_FRAME];
		struct wire_message message;
		size_t len = make_frame(k, &message, frame), used;

		frame[4] = kinds[k].kind == WIRE_EVENT;
		memset(frame + 5, 0, 3);
		for (size_t received = 0; received <= len; received++)
			assert_int_equal(
				decode_exact(frame, received, kinds[k].direction, good_state(k), &message, &used),
				received < WIRE_HEADER ? WIRE_MORE : WIRE_BAD_ID);
	}
}

/* CF06: all 65536 types; only those of the table are known. */
static void test_types(void **state)
{
	(void)state;
	for (unsigned int type = 0; type <= 0xffff; type++) {
		uint8_t frame[WIRE_HEADER] = {(uint8_t)type, (uint8_t)(type >> 8), 0xff};
		struct wire_message message;
		bool known = false;
		size_t used;

		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			known |= kinds[k].type == type;
		assert_int_equal(wire_decode(frame, sizeof(frame), WIRE_TO_BROKER, WIRE_IN_NEW, &message, &used),
				 known ? WIRE_BAD_LENGTH : WIRE_BAD_TYPE);
	}
}

/* CF07, CF08: type x direction x state, against the table; QSB-087. */
static void test_matrix(void **state)
{
	unsigned int n_accepted = 0;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (unsigned int d = 0; d < 2; d++)
			for (unsigned int s = 0; s < ALL_STATES; s++) {
				enum wire_direction direction = d ? WIRE_TO_AGENT : WIRE_TO_BROKER;
				uint8_t frame[LIMIT_FRAME];
				struct wire_message message;
				size_t len = make_frame(k, &message, frame), used;
				int want = direction != kinds[k].direction                      ? WIRE_BAD_DIRECTION
					   : !(kinds[k].states & (unsigned int)state_number(s)) ? WIRE_BAD_STATE
												: 0;

				n_accepted += want == 0;
				assert_int_equal(decode_exact(frame, len, direction, state_number(s), &message, &used),
						 want);
			}
	assert_int_equal(n_accepted, 35);
}

/* The whole dialogue as a table: what a state and a message lead to; -1 is refused. CF08: a second hello. */
static void test_dialogue(void **state)
{
	enum {
		N = WIRE_IN_NEW,
		G = WIRE_IN_GREETED,
		R = WIRE_IN_READY,
		L = WIRE_IN_LIST,
		D = WIRE_IN_DEVICE,
		LD = WIRE_IN_LISTED_DEVICE
	};
	static const struct {
		enum wire_type type;
		int next[ALL_STATES]; /* from N, G, R, L, D, LD */
	} rows[] = {
		{WIRE_HELLO, {G, -1, -1, -1, -1, -1}},       {WIRE_SESSION, {-1, G, -1, -1, -1, -1}},
		{WIRE_LIST_BEGIN, {-1, L, L, -1, -1, -1}},   {WIRE_DEVICE, {-1, -1, D, LD, -1, -1}},
		{WIRE_DEVICE_TEXT, {-1, -1, -1, -1, D, LD}}, {WIRE_DEVICE_COMMIT, {-1, -1, -1, -1, R, L}},
		{WIRE_DEVICE_GONE, {-1, -1, R, -1, -1, -1}}, {WIRE_LIST_END, {-1, -1, -1, R, -1, -1}},
		{WIRE_EXPORTED, {-1, -1, R, L, -1, -1}},     {WIRE_IMPORTED, {-1, -1, R, L, -1, -1}},
		{WIRE_STOPPED, {-1, -1, R, L, -1, -1}},      {WIRE_FAILED, {-1, -1, R, L, -1, -1}},
		{WIRE_ENDED, {-1, -1, R, L, -1, -1}},        {WIRE_PONG, {-1, -1, R, L, -1, -1}},
		{WIRE_STREAM, {-1, -1, R, L, -1, -1}},       {WIRE_MUTED, {-1, -1, R, L, -1, -1}},
		{WIRE_WELCOME, {R, -1, -1, -1, -1, -1}},     {WIRE_RESCAN, {-1, -1, R, -1, -1, -1}},
		{WIRE_EXPORT, {-1, -1, R, -1, -1, -1}},      {WIRE_IMPORT, {-1, -1, R, -1, -1, -1}},
		{WIRE_STOP, {-1, -1, R, -1, -1, -1}},        {WIRE_PING, {-1, -1, R, -1, -1, -1}},
		{WIRE_MUTE, {-1, -1, R, -1, -1, -1}},
	};

	(void)state;
	assert_int_equal(ARRAY_SIZE(rows), ARRAY_SIZE(kinds));
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		assert_int_equal(rows[k].type, kinds[k].type);
		for (unsigned int s = 0; s < ALL_STATES; s++) {
			enum wire_states from = state_number(s);
			uint8_t frame[LIMIT_FRAME];
			struct wire_message message;
			size_t len = make_frame(k, &message, frame), used;
			int r = decode_exact(frame, len, kinds[k].direction, from, &message, &used);

			assert_int_equal(r == 0, rows[k].next[s] >= 0);
			if (r == 0)
				assert_int_equal(wire_next_state(from, message.type, kinds[k].direction),
						 rows[k].next[s]);
			assert_int_equal(
				wire_next_state(from, kinds[k].type,
						kinds[k].direction == WIRE_TO_AGENT ? WIRE_TO_BROKER : WIRE_TO_AGENT),
				from);
		}
	}
}

/* CF13: zero in a request or an answer, anything else in an event; the wrap of the number is no special value. */
static void test_ids(void **state)
{
	static const uint32_t ids[] = {0, 1, 0xff, 0x100, 0x7fffffff, 0x80000000, 0xffffffff};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
			uint8_t frame[LIMIT_FRAME];
			struct wire_message message;
			size_t len = make_frame(k, &message, frame), used;
			bool good = (ids[i] == 0) == (kinds[k].kind == WIRE_EVENT);

			put_le32(frame + 4, ids[i]);
			assert_int_equal(decode_exact(frame, len, kinds[k].direction, good_state(k), &message, &used),
					 good ? 0 : WIRE_BAD_ID);
			if (good)
				assert_int_equal(message.id, ids[i]);
		}
}

/* One field of one kind, at a byte offset of the frame, over all its values. */
static void test_enums(void **state)
{
	static const struct {
		enum wire_type type;
		size_t offset;
		unsigned int first, last;
	} cases[] = {
		{WIRE_SESSION, 16, 1, 2},
		{WIRE_DEVICE_TEXT, 14, 1, 5},
		{WIRE_FAILED, 16, 1, OUTCOME_LAST},
		{WIRE_ENDED, 16, 1, 2},
		{WIRE_ENDED, 17, 0, OUTCOME_LAST},
		{WIRE_STREAM, 16, 1, 2},
		{WIRE_STREAM, 17, 0, 1},
		{WIRE_SESSION, 51, 0, 1},
		{WIRE_EXPORT, 56, 0, 1},
		{WIRE_EXPORT, 57, 0, 101},
		{WIRE_EXPORT, 60, 0, 101},
		{WIRE_EXPORT, 61, 0, 3},
		{WIRE_MUTE, 16, 0, 1},
		{WIRE_MUTED, 16, 0, 1},
	};

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			for (unsigned int value = 0; value < 256; value++) {
				uint8_t frame[LIMIT_FRAME];
				struct wire_message message;
				size_t len, used;
				bool good = value >= cases[c].first && value <= cases[c].last;

				if (kinds[k].type != cases[c].type)
					continue;
				len = make_frame(k, &message, frame);
				frame[cases[c].offset] = (uint8_t)value;
				assert_int_equal(
					decode_exact(frame, len, kinds[k].direction, good_state(k), &message, &used),
					good ? 0 : WIRE_BAD_FIELD);
			}
}

/* CF12 and its like: a text is printable ASCII, a NUL, and nothing after it. */
static void test_texts(void **state)
{
	enum { TEXT_OFFSET = 15 };
	static const struct {
		const char *text;
		size_t len;
		int r;
	} cases[] = {
		{"", 0, 0},
		{"Rig Stick", 9, 0},
		{" ~", 2, 0},
		{"a\x1b[2J", 5, WIRE_BAD_FIELD},
		{"\x7f", 1, WIRE_BAD_FIELD},
		{"\x1f", 1, WIRE_BAD_FIELD},
		{"\n", 1, WIRE_BAD_FIELD},
		{"\x80", 1, WIRE_BAD_FIELD},
		{"\xc0\xaf", 2, WIRE_BAD_FIELD},
		{"\xc3\xa9", 2, WIRE_BAD_FIELD},
		{"\xed\xa0\x80", 3, WIRE_BAD_FIELD},
		{"\xf4\x90\x80\x80", 4, WIRE_BAD_FIELD},
		{"a\0b", 3, WIRE_BAD_FIELD},
		{"a\0\xff", 3, WIRE_BAD_FIELD},
		{"\0a", 2, WIRE_BAD_FIELD},
	};
	uint8_t frame[LIMIT_FRAME] = {WIRE_DEVICE_TEXT, 0, TEXT_OFFSET + WIRE_TEXT};
	struct wire_message message;
	size_t used;

	(void)state;
	frame[14] = WIRE_TEXT_PARENT;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		memset(frame + TEXT_OFFSET, 0, WIRE_TEXT);
		memcpy(frame + TEXT_OFFSET, cases[c].text, cases[c].len);
		assert_int_equal(
			decode_exact(frame, TEXT_OFFSET + WIRE_TEXT, WIRE_TO_BROKER, WIRE_IN_DEVICE, &message, &used),
			cases[c].r);
		if (cases[c].r == 0)
			assert_string_equal(message.DEVICE_TEXT.text, cases[c].text);
	}
	for (size_t len = WIRE_TEXT - 2; len <= WIRE_TEXT; len++) {
		memset(frame + TEXT_OFFSET, 0, WIRE_TEXT);
		memset(frame + TEXT_OFFSET, 'x', len);
		assert_int_equal(
			decode_exact(frame, TEXT_OFFSET + WIRE_TEXT, WIRE_TO_BROKER, WIRE_IN_DEVICE, &message, &used),
			len < WIRE_TEXT ? 0 : WIRE_BAD_FIELD);
	}
	memset(frame + TEXT_OFFSET, 0, WIRE_TEXT);
	frame[TEXT_OFFSET + WIRE_TEXT - 1] = 'x'; /* the very last byte */
	assert_int_equal(decode_exact(frame, TEXT_OFFSET + WIRE_TEXT, WIRE_TO_BROKER, WIRE_IN_DEVICE, &message, &used),
			 WIRE_BAD_FIELD);
}

/* The size, the rate and the label are a camera's alone, and that has a label. */
static void test_imports(void **state)
{
	enum { CLASS_OFFSET = 50, WISH_OFFSET = 51, LABEL_OFFSET = 57, LENGTH = LABEL_OFFSET + WIRE_LABEL };

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (unsigned int class_id = 0; kinds[k].type == WIRE_IMPORT && class_id < 256; class_id++)
			for (size_t set = WISH_OFFSET - 1; set <= LABEL_OFFSET; set++) {
				uint8_t frame[LIMIT_FRAME];
				struct wire_message message;
				bool webcam = class_id == WIRE_CLASS_WEBCAM && set == LABEL_OFFSET;
				bool other = class_id >= 1 && class_id < WIRE_CLASS_WEBCAM && set < WISH_OFFSET;
				size_t used;

				assert_int_equal(make_frame(k, &message, frame), LENGTH);
				memset(frame + WISH_OFFSET, 0, LENGTH - WISH_OFFSET);
				frame[set] = 'x';
				frame[CLASS_OFFSET] = (uint8_t)class_id;
				assert_int_equal(
					decode_exact(frame, LENGTH, WIRE_TO_AGENT, WIRE_IN_READY, &message, &used),
					webcam || other ? 0 : WIRE_BAD_FIELD);
			}
}

/* What a device of each class is, and is not. */
static void test_classes(void **state)
{
	enum { CLASS_OFFSET = 14, SPEED_OFFSET = 15, COUNT_OFFSET = 20, BYTES_OFFSET = 21, DEVICE_KIND = 3 };

	(void)state;
	for (unsigned int class_id = 0; class_id < 256; class_id++)
		for (unsigned int speed = 0; speed < 256; speed++)
			for (unsigned int n = 0; n < 4; n++) {
				uint8_t frame[LIMIT_FRAME];
				struct wire_message message;
				size_t len = make_frame(DEVICE_KIND, &message, frame), used;
				bool usb = class_id == WIRE_CLASS_USB && speed >= 1 && speed <= 6;
				bool part = (class_id == WIRE_CLASS_MIC || class_id == WIRE_CLASS_SPEAKER ||
					     class_id == WIRE_CLASS_WEBCAM) &&
					    speed == 0 && n == 1;

				frame[CLASS_OFFSET] = (uint8_t)class_id;
				frame[SPEED_OFFSET] = (uint8_t)speed;
				frame[COUNT_OFFSET] = (uint8_t)n;
				memset(frame + BYTES_OFFSET, 0, WIRE_INTERFACES);
				assert_int_equal(
					decode_exact(frame, len, WIRE_TO_BROKER, WIRE_IN_READY, &message, &used),
					usb || part ? 0 : WIRE_BAD_FIELD);
			}
	assert_true(wire_is_port(WIRE_CLASS_MIC, "mic"));
	for (unsigned int class_id = 0; class_id < 256; class_id++) {
		static const struct {
			uint8_t class_id;
			const char *port;
			uint16_t role;
			char letter;
			bool may_be_part, can_mute;
		} rows[] = {
			{WIRE_CLASS_USB, "1-2.4", WIRE_ROLE_IMPORT, 'u', false, false},
			{WIRE_CLASS_MIC, "mic-01234567", WIRE_ROLE_IMPORT_MIC, 'm', true, true},
			{WIRE_CLASS_SPEAKER, "speaker-01234567", WIRE_ROLE_IMPORT_SPEAKER, 's', true, true},
			{WIRE_CLASS_WEBCAM, "webcam-01234567", WIRE_ROLE_IMPORT_WEBCAM, 'u', true, true},
		};
		uint16_t role = 0;
		char letter = '?';
		bool may_be_part = false, can_mute = false;

		_Static_assert(ARRAY_SIZE(rows) == WIRE_CLASS_LAST, "a row for each class");
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			bool is_it = rows[i].class_id == class_id;

			assert_int_equal(wire_is_port((uint8_t)class_id, rows[i].port), is_it);
			if (is_it) {
				role = rows[i].role;
				letter = rows[i].letter;
				may_be_part = rows[i].may_be_part;
				can_mute = rows[i].can_mute;
			}
		}
		assert_int_equal(wire_import_role((uint8_t)class_id), role);
		assert_int_equal(wire_class_letter((uint8_t)class_id), letter);
		assert_int_equal(wire_may_be_part((uint8_t)class_id), may_be_part);
		assert_int_equal(wire_can_mute((uint8_t)class_id), can_mute);
		assert_int_equal(wire_tells_use((uint8_t)class_id), can_mute); /* the same, so far */
	}
}

/* The count of interfaces against the bytes that follow: one encoding per value. */
static void test_interfaces(void **state)
{
	enum { CLASS_OFFSET = 14, COUNT_OFFSET = 20, BYTES_OFFSET = 21, DEVICE_KIND = 3 };

	(void)state;
	assert_int_equal(kinds[DEVICE_KIND].type, WIRE_DEVICE);
	for (unsigned int n = 0; n < 256; n++)
		for (size_t last = 0; last <= WIRE_INTERFACES; last++) { /* the last byte that is not 0, from 1 */
			uint8_t frame[LIMIT_FRAME];
			struct wire_message message;
			size_t len = make_frame(DEVICE_KIND, &message, frame), used;

			frame[CLASS_OFFSET] = WIRE_CLASS_USB;
			frame[CLASS_OFFSET + 1] = WIRE_SPEED_HIGH;
			frame[COUNT_OFFSET] = (uint8_t)n;
			memset(frame + BYTES_OFFSET, 0, WIRE_INTERFACES);
			if (last > 0)
				frame[BYTES_OFFSET + last - 1] = 0xff;
			assert_int_equal(decode_exact(frame, len, WIRE_TO_BROKER, WIRE_IN_READY, &message, &used),
					 n <= LIMIT_INTERFACES && last <= 3 * n ? 0 : WIRE_BAD_FIELD);
		}
}

/* CF03: many messages in one buffer, each once and in order; CF02: the same stream at every split point. */
static void test_stream(void **state)
{
	static const size_t counts[] = {2, 10, 1000};
	enum { MOST = 1000 };
	_cleanup_free_ uint8_t *stream = malloc((size_t)MOST * LIMIT_FRAME);

	(void)state;
	assert_non_null(stream);
	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		size_t len = 0, done = 0, n = 0, step = counts[c] == MOST ? 997 : 1;
		struct wire_message message = {.type = WIRE_PING};

		for (size_t i = 0; i < counts[c]; i++) {
			message.id = (uint32_t)(i + 1);
			message.PING.nonce = i * i;
			len += wire_encode(&message, stream + len);
		}
		for (size_t received = 0; received <= len;
		     received = received + step > len && received < len ? len : received + step) {
			size_t used;
			int r;

			while ((r = decode_exact(stream + done, received - done, WIRE_TO_AGENT, WIRE_IN_READY, &message,
						 &used)) == 0) {
				assert_int_equal(message.id, n + 1);
				assert_int_equal(message.PING.nonce, n * n);
				done += used;
				n++;
			}
			assert_int_equal(r, WIRE_MORE);
		}
		assert_int_equal(n, counts[c]);
		assert_int_equal(done, len);
	}
}

/* Any single bit flipped gives a fault or a message that encodes to exactly these bytes. */
static void test_bit_flips(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		uint8_t frame[LIMIT_FRAME], again[LIMIT_FRAME];
		struct wire_message message;
		size_t len = make_frame(k, &message, frame), used;

		for (size_t bit = 0; bit < 8 * len; bit++) {
			frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
			if (decode_exact(frame, len, kinds[k].direction, good_state(k), &message, &used) == 0) {
				assert_int_equal(wire_encode(&message, again), len);
				assert_memory_equal(again, frame, len);
			}
			frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

/* An outcome's name is its word of the table, in lower case with dashes. */
static void assert_outcome(enum outcome outcome, const char *word, const char *sentence)
{
	const char *name = outcome_name(outcome);

	assert_int_equal(strlen(name), strlen(word));
	for (size_t i = 0; word[i]; i++)
		assert_int_equal(name[i], word[i] == '_' ? '-' : tolower((unsigned char)word[i]));
	assert_string_equal(outcome_text(outcome), sentence);
	assert_true(strlen(sentence) > 3 && text_is_printable(sentence));
}

#define ASSERT_OUTCOME(name, sentence) assert_outcome(OUTCOME_##name, #name, sentence);
#define ASSERT_TYPE(name, number, direction, kind, states) assert_string_equal(wire_type_name(WIRE_##name), #name);

static void test_names(void **state)
{
	(void)state;
	for (int i = -3; i < 300; i++) {
		assert_non_null(wire_fault_text(i));
		assert_non_null(outcome_text((enum outcome)i));
		assert_non_null(outcome_name((enum outcome)i));
		assert_non_null(wire_type_name((enum wire_type)i));
	}
	WIRE_OUTCOMES(ASSERT_OUTCOME)
	WIRE_MESSAGES(ASSERT_TYPE)
	assert_string_equal(outcome_name(OUTCOME_NO_DEVICE), "no-device");
	assert_string_equal(outcome_name(OUTCOME_COUNT), "unknown");
	assert_string_equal(outcome_text(OUTCOME_COUNT), "an unknown outcome");
	assert_string_equal(wire_type_name((enum wire_type)0), "unknown");
	for (int i = WIRE_MORE; i <= WIRE_BAD_FIELD; i++)
		for (int j = WIRE_MORE; j <= i; j++)
			assert_int_equal(strcmp(wire_fault_text(i), wire_fault_text(j)) == 0, i == j);
	assert_string_equal(wire_fault_text(0), "no fault");
	assert_string_equal(wire_fault_text(WIRE_BAD_FIELD + 1), "no fault");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_golden),  cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_split_faults), cmocka_unit_test(test_types),   cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_dialogue),     cmocka_unit_test(test_ids),     cmocka_unit_test(test_enums),
		cmocka_unit_test(test_texts),        cmocka_unit_test(test_classes), cmocka_unit_test(test_imports),
		cmocka_unit_test(test_interfaces),   cmocka_unit_test(test_stream),  cmocka_unit_test(test_bit_flips),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
