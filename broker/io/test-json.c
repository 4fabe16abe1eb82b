// SPDX-License-Identifier: GPL-2.0-or-later
/* JSON there and back, held against json-c: what is written it reads, what it refuses is refused. */
#include "tests/unit.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/json.h"
#include "lib/base/base.h"

static const uint8_t bytes[] = {0, 0x7f, 0xff};
#define ODD_TEXT " a\"b\\c/'%~"

static int write_all(char *text, size_t size, size_t *ret_len)
{
	struct json_writer writer;

	json_write_begin(&writer, text, size);
	json_write_open(&writer, NULL, '{');
	json_write_text(&writer, "odd", ODD_TEXT);
	json_write_open(&writer, "in", '{');
	json_write_number(&writer, "n", 0);
	json_write_number(&writer, "m", UINT64_MAX);
	json_write_close(&writer, '}');
	json_write_open(&writer, "list", '[');
	json_write_text(&writer, NULL, "1");
	json_write_text(&writer, NULL, "2");
	json_write_close(&writer, ']');
	json_write_open(&writer, "none", '[');
	json_write_close(&writer, ']');
	json_write_flag(&writer, "yes", true);
	json_write_flag(&writer, "no", false);
	json_write_hex(&writer, "hex", bytes, sizeof(bytes));
	json_write_close(&writer, '}');
	return json_write_end(&writer, ret_len);
}

#define ALL                                                                                                 \
	"{\"odd\":\" a\\\"b\\\\c/'%~\",\"in\":{\"n\":0,\"m\":18446744073709551615},\"list\":[\"1\",\"2\"]," \
	"\"none\":[],\"yes\":true,\"no\":false,\"hex\":\"007fff\"}"

static bool read_all(const char *untrusted_text)
{
	struct json_reader reader;
	char odd[sizeof(ODD_TEXT)] = "", item[2] = "x";
	uint64_t n = 7, m = 7;
	bool yes = false, no = true;
	uint8_t hex[sizeof(bytes)] = {0};
	unsigned int n_items = 0;

	json_read_begin(&reader, untrusted_text);
	json_read_open(&reader, NULL, '{');
	json_read_text(&reader, "odd", odd, sizeof(odd));
	json_read_open(&reader, "in", '{');
	json_read_number(&reader, "n", 0, &n);
	json_read_number(&reader, "m", UINT64_MAX, &m);
	json_read_close(&reader, '}');
	json_read_open(&reader, "list", '[');
	for (; json_read_is_next(&reader, NULL) && n_items < 2; n_items++)
		json_read_text(&reader, NULL, item, sizeof(item));
	json_read_close(&reader, ']');
	json_read_open(&reader, "none", '[');
	if (json_read_is_next(&reader, NULL))
		return false;
	json_read_close(&reader, ']');
	if (json_read_is_next(&reader, "no"))
		return false;
	json_read_flag(&reader, "yes", &yes);
	json_read_flag(&reader, "no", &no);
	json_read_hex(&reader, "hex", hex, sizeof(hex));
	json_read_close(&reader, '}');
	if (!json_read_end(&reader))
		return false;
	assert_string_equal(odd, ODD_TEXT);
	assert_string_equal(item, "2");
	assert_true(n == 0 && m == UINT64_MAX && yes && !no);
	assert_memory_equal(hex, bytes, sizeof(bytes));
	return true;
}

static void test_there_and_back(void **unused _unused_)
{
	char text[sizeof(ALL)];
	size_t len = 0;

	assert_int_equal(write_all(text, sizeof(text), &len), 0);
	assert_string_equal(text, ALL);
	assert_int_equal(len, strlen(ALL));
	assert_true(read_all(text));
	for (size_t size = 0; size < sizeof(text); size++) { /* never one byte too far */
		char *exact = malloc(size ? size : 1);

		assert_int_equal(write_all(exact, size, &len), -EMSGSIZE);
		free(exact);
	}
}

/* As json-c says it, so that what was stored before is what is written now. */
static void test_as_json_c(void **unused _unused_)
{
	json_object *object = json_object_new_object();
	struct json_writer writer;
	char every[0x7f - 0x20 + 1] = "", text[512];
	size_t len;

	for (char c = 0x20; c < 0x7f; c++)
		every[c - 0x20] = c;
	(void)json_object_object_add(object, "every", json_object_new_string(every));
	(void)json_object_object_add(object, "number", json_object_new_int64(INT64_MAX));
	json_write_begin(&writer, text, sizeof(text));
	json_write_open(&writer, NULL, '{');
	json_write_text(&writer, "every", every);
	json_write_number(&writer, "number", INT64_MAX);
	json_write_close(&writer, '}');
	assert_int_equal(json_write_end(&writer, &len), 0);
	assert_string_equal(
		text, json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	(void)json_object_put(object);
	/* what no text of ours has is no control character all the same */
	json_write_begin(&writer, text, sizeof(text));
	json_write_text(&writer, NULL, "\x1b\n\xc3\x7f");
	assert_int_equal(json_write_end(&writer, &len), 0);
	assert_string_equal(text, "\"\\u001b\\u000a\\u00c3\\u007f\"");
}

/* Every text that one change makes of the right one is refused, but for other values of the right form. */
static void test_one_change(void **unused _unused_)
{
	char text[sizeof(ALL) + 1];
	size_t len = strlen(ALL);

	for (size_t cut = 0; cut < len; cut++) {
		(void)snprintf(text, sizeof(text), "%.*s", (int)cut, ALL);
		assert_false(read_all(text));
	}
	for (size_t at = 0; at <= len; at++) {
		(void)snprintf(text, sizeof(text), "%.*s %s", (int)at, ALL, &ALL[at]);
		assert_false(read_all(text)); /* a space, in a text: too long */
		if (at == len)
			break;
		(void)strcpy(text, ALL);
		text[at] = '\x01';
		assert_false(read_all(text));
	}
	assert_false(read_all(ALL "}"));
}

static bool json_c_takes(const char *text, size_t len)
{
	json_tokener *tokener = json_tokener_new_ex(16);
	json_object *object;
	bool good;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	object = json_tokener_parse_ex(tokener, text, (int)len);
	good = json_object_is_type(object, json_type_object) && json_tokener_get_parse_end(tokener) == len;
	(void)json_object_put(object);
	json_tokener_free(tokener);
	return good;
}

static void test_is_object(void **unused _unused_)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{"{}", true},
		{" {}", false},
		{"{\"a\":[1,-2.5e+3,true,false,null,\"\\u00fF\\n\\/\",{}] , \"b\":{\"c\":[]}}", true},
		{"[]", false},
		{"", false},
		{"{\"a\":1,}", false},
		{"{\"a\":01}", false},
		{"{\"a\":1.}", false},
		{"{\"a\":-}", false},
		{"{\"a\":1e}", false},
		{"{\"a\":tru}", false},
		{"{\"a\":'b'}", false},
		{"{a:1}", false},
		{"{\"a\" 1}", false},
		{"{\"a\":\"\\x\"}", false},
		{"{\"a\":\"\\u00g0\"}", false},
		{"{\"a\":\"b}", false},
		{"{\"a\":\"\x80\"}", false},
		{"{\"a\":[1,2}", false},
		{"{\"a\":[1,,2]}", false},
		{"{}}", false},
		{"{\"a\":[[[[[[[]]]]]]]}", true},
		{"{\"a\":[[[[[[[[]]]]]]]]}", false}, /* deeper than ours ever are */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (json_is_object(rows[i].text, strlen(rows[i].text)) != rows[i].good)
			fail_msg("%s", rows[i].text);
	assert_false(json_is_object("{}\0", 3));
	assert_false(json_is_object("{\"a\0\":1}", 8));
	/* with one byte changed it is never taken where json-c refuses */
	for (size_t at = 0; at < strlen(ALL); at++)
		for (int c = 0x20; c < 0x7f; c++) {
			char text[] = ALL;

			text[at] = (char)c;
			if (json_is_object(text, strlen(ALL)) && !json_c_takes(text, strlen(ALL)))
				fail_msg("taken: %s", text);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_as_json_c),
		cmocka_unit_test(test_one_change),
		cmocka_unit_test(test_is_object),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
