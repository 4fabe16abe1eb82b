/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies of the Admin API: the bytes written, and that no text, however hostile, breaks their framing (CL11). */
#include <string.h>

#include "tests/unit.h"
#include "lib/admin/reply.h"
#include "lib/base/text.h"

#define BYTES(text) (text), sizeof(text) - 1

static void assert_written(const struct admin_writer *writer, const char *bytes, size_t len)
{
	assert_false(writer->full);
	assert_int_equal(writer->len, len);
	assert_memory_equal(writer->bytes, bytes, len);
}

static void test_exceptions(void **state)
{
	static const struct {
		const char *text, *bytes;
		size_t len;
	} rows[] = {
		{"plain", BYTES("2\0QubesException\0\0plain\0")},
		{"", BYTES("2\0QubesException\0\0\0")},
		{"100% sure", BYTES("2\0QubesException\0\0"
				    "100%% sure\0")},
		{"%s%n%", BYTES("2\0QubesException\0\0%%s%%n%%\0")},
		{"a\x1b[2J\x07\nb", BYTES("2\0QubesException\0\0a_[2J__b\0")},
		{"\xc2\x9b", BYTES("2\0QubesException\0\0__\0")},
	};
	struct admin_writer writer;
	char bytes[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		admin_write_init(&writer, bytes, sizeof(bytes));
		admin_write_done(&writer); /* forgotten */
		admin_write_exception(&writer, "QubesException", "%s", rows[i].text);
		assert_written(&writer, rows[i].bytes, rows[i].len);
	}
}

static void test_events(void **state)
{
	struct admin_writer writer;
	char bytes[256];

	(void)state;
	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_event(&writer, "", "connection-established", (const char *[]){NULL});
	assert_written(&writer, BYTES("1\0\0connection-established\0\0"));
	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_event(&writer, "sys-usb", "device-added:usb", (const char *[]){"device", "sys-usb:1-2:x", NULL});
	assert_written(&writer, BYTES("1\0sys-usb\0device-added:usb\0device\0sys-usb:1-2:x\0\0"));
}

static void test_properties(void **state)
{
	static const char *const rows[][2] = {
		{"plain", " key='plain'"},
		{"", " key=''"},
		{"two words", " key='two words'"},
		{"it's", " key='it\\'s'"},
		{"' other='x", " key='\\' other=\\'x'"},
		{"back\\slash", " key='back_slash'"},
		{"end\\", " key='end_'"},
		{"\\'", " key='_\\''"},
		{"a=", " key='a_'"},
		{"a=b", " key='a=b'"},
		{"\x1b]52;c;AAAA\x07", " key='_]52;c;AAAA_'"},
		{"\xe2\x80\xae", " key='___'"},
		{"100%", " key='100%'"},
	};
	struct admin_writer writer;
	char bytes[256], key[16], value[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct admin_span rest;

		admin_write_init(&writer, bytes, sizeof(bytes));
		admin_write_property(&writer, "key", rows[i][0]);
		assert_written(&writer, rows[i][1], strlen(rows[i][1]));
		admin_write_property(&writer, "after", "'='");

		rest = (struct admin_span){.at = bytes, .len = writer.len};
		assert_true(admin_read_property(&rest, key, sizeof(key), value, sizeof(value)));
		assert_string_equal(key, "key");
		assert_int_equal(strlen(value), strlen(rows[i][0]));
		assert_true(text_is_printable(value));
		assert_true(admin_read_property(&rest, key, sizeof(key), value, sizeof(value)));
		assert_string_equal(key, "after");
		assert_string_equal(value, "'='");
		assert_false(admin_read_property(&rest, key, sizeof(key), value, sizeof(value)));
		assert_int_equal(rest.len, 0);
	}
}

static void test_bad_properties(void **state)
{
	static const char *const rows[] = {"k",      "k=", "k=v", "k='v", "k='v\\'", "='", "much-too-long-a-key='v'",
					   "k=\"v\""};
	char key[16], value[16];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct admin_span rest = admin_span(rows[i]);

		if (admin_read_property(&rest, key, sizeof(key), value, sizeof(value)))
			fail_msg("row %zu", i);
		assert_int_equal(rest.len, strlen(rows[i]));
	}
}

/* A writer that is full stays within its memory and says so. */
static void test_full(void **state)
{
	struct admin_writer writer;
	char bytes[64];

	(void)state;
	for (size_t size = 0; size < 24; size++) {
		memset(bytes, 'x', sizeof(bytes));
		admin_write_init(&writer, bytes, size);
		admin_write_done(&writer);
		admin_write_property(&writer, "key", "a value of some length");
		assert_true(writer.full);
		assert_true(writer.len <= size);
		for (size_t i = size; i < sizeof(bytes); i++)
			assert_int_equal(bytes[i], 'x');
	}
}

static void test_parsing(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int r;
		enum admin_reply_type type;
		const char *text;
	} rows[] = {
		{BYTES("0\0"), 0, ADMIN_REPLY_DONE, ""},
		{BYTES("0\0content\n"), 0, ADMIN_REPLY_DONE, "content\n"},
		{BYTES("2\0QubesException\0\0why\0"), 0, ADMIN_REPLY_EXCEPTION, "why"},
		{BYTES("2\0T\0traceback\0a %s b %d%%\0one\0two\0"), 0, ADMIN_REPLY_EXCEPTION, "a one b two%"},
		{BYTES("2\0T\0\0%s %s\0one\0"), 0, ADMIN_REPLY_EXCEPTION, "one"},
		{BYTES("2\0T\0\0"
		       "100%\0"),
		 0, ADMIN_REPLY_EXCEPTION, "100%"},
		{BYTES("2\0T\0\0\x1b[31m\xc2\x9b\0"), 0, ADMIN_REPLY_EXCEPTION, "_[31m_"},
		{BYTES("2\0T\0\0why"), 1, 0, NULL},
		{BYTES("2\0T\0"), 1, 0, NULL},
		{BYTES("1\0\0connection-established\0\0"), 1, 0, NULL},
		{BYTES("3\0"), 1, 0, NULL},
		{BYTES("00\0"), 1, 0, NULL},
		{BYTES("0"), 1, 0, NULL},
		{BYTES(""), 1, 0, NULL},
		{BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"), 1, 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct admin_reply reply;
		char text[64];
		int r = admin_reply_parse(rows[i].bytes, rows[i].len, &reply);

		if (r != rows[i].r)
			fail_msg("row %zu: %d", i, r);
		if (r)
			continue;
		assert_int_equal(reply.type, rows[i].type);
		if (reply.type == ADMIN_REPLY_EXCEPTION)
			admin_reply_text(&reply, text, sizeof(text));
		else
			assert_true(admin_span_copy(reply.content, text, sizeof(text)));
		assert_string_equal(text, rows[i].text);
	}
}

/* One event, what is needed for one, and what is none. */
static void test_event_parsing(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int r;
		size_t used;
		const char *name, *subject, *device, *seconds;
	} rows[] = {
		{BYTES("1\0\0connection-established\0\0"), 0, 27, "connection-established", "", "", ""},
		{BYTES("1\0work\0device-ask:usb\0device\0a:1\0seconds\0"
		       "60\0\0more"),
		 0, 45, "device-ask:usb", "work", "a:1", "60"},
		{BYTES("1\0w\0e\0device\0\0seconds\0\x1b[2J\0\0"), 0, 28, "e", "w", "", "_[2J"},
		{BYTES(""), ADMIN_EVENT_MORE, 0, NULL, NULL, NULL, NULL},
		{BYTES("1"), ADMIN_EVENT_MORE, 0, NULL, NULL, NULL, NULL},
		{BYTES("1\0work\0event"), ADMIN_EVENT_MORE, 0, NULL, NULL, NULL, NULL},
		{BYTES("1\0work\0event\0"), ADMIN_EVENT_MORE, 0, NULL, NULL, NULL, NULL},
		{BYTES("1\0work\0event\0key"), ADMIN_EVENT_MORE, 0, NULL, NULL, NULL, NULL},
		{BYTES("1\0work\0event\0key\0value\0"), ADMIN_EVENT_MORE, 0, NULL, NULL, NULL, NULL},
		{BYTES("0\0work\0event\0\0"), ADMIN_EVENT_BAD, 0, NULL, NULL, NULL, NULL},
		{BYTES("2\0QubesException\0\0no\0"), ADMIN_EVENT_BAD, 0, NULL, NULL, NULL, NULL},
		{BYTES("HTTP/1.1 400"), ADMIN_EVENT_BAD, 0, NULL, NULL, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct admin_event event;
		size_t used = 0;
		char text[64];
		int r = admin_event_parse(rows[i].bytes, rows[i].len, &event, &used);

		if (r != rows[i].r || used != rows[i].used)
			fail_msg("row %zu: %d, %zu", i, r, used);
		if (r)
			continue;
		assert_true(admin_span_is(event.name, rows[i].name) && admin_span_is(event.subject, rows[i].subject));
		(void)admin_event_field(&event, "device", text, sizeof(text));
		assert_string_equal(text, rows[i].device);
		(void)admin_event_field(&event, "seconds", text, sizeof(text));
		assert_string_equal(text, rows[i].seconds);
		assert_false(admin_event_field(&event, "60", text, sizeof(text))); /* a value is no key */
	}
}

/* What is written is read again, whatever it holds. */
static void test_event_there_and_back(void **state)
{
	struct admin_writer writer;
	struct admin_event event;
	struct admin_span rest, key, value;
	char bytes[256];
	size_t used;

	(void)state;
	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_event(&writer, "s", "n", (const char *const[]){"a", "1", "b", "", "c", "=' x", NULL});
	for (size_t len = 0; len < writer.len; len++)
		assert_int_equal(admin_event_parse(bytes, len, &event, &used), ADMIN_EVENT_MORE);
	assert_int_equal(admin_event_parse(bytes, writer.len, &event, &used), 0);
	assert_int_equal(used, writer.len);
	rest = event.fields;
	assert_true(admin_event_next(&rest, &key, &value) && admin_span_is(key, "a") && admin_span_is(value, "1"));
	assert_true(admin_event_next(&rest, &key, &value) && admin_span_is(key, "b") && admin_span_is(value, ""));
	assert_true(admin_event_next(&rest, &key, &value) && admin_span_is(key, "c") && admin_span_is(value, "=' x"));
	assert_false(admin_event_next(&rest, &key, &value));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exceptions),    cmocka_unit_test(test_events),
		cmocka_unit_test(test_properties),    cmocka_unit_test(test_bad_properties),
		cmocka_unit_test(test_full),          cmocka_unit_test(test_parsing),
		cmocka_unit_test(test_event_parsing), cmocka_unit_test(test_event_there_and_back),
	};

	return cmocka_run_group_tests_name("admin-reply", tests, NULL, NULL);
}
