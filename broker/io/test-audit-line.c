// SPDX-License-Identifier: GPL-2.0-or-later
/* One line of the audit log: what is made of a record, whatever its texts, and what is no line. */
#include "tests/unit.h"

#include <json-c/json.h>
#include <string.h>

#include "broker/io/audit-line.h"
#include "broker/io/json.h"
#include "broker/io/test-audit-samples.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"

/* CL12: texts that were never checked, in each place. */
static const char *const hostile_texts[] = {
	"",
	" ",
	"\n",
	"a\nb",
	"\x1b[2J\x1b]52;c;QUFB\x07",
	"\xe2\x80\xae"
	"evil",
	"\x80\xff\xfe\x7f\x01",
	"\"},{\"",
	"\\\\\\\"",
	"\",\"prev\":\"" FULL "\"}",
	"%s%n",
	"/",
};

static const char *field(json_object *object, const char *key)
{
	json_object *value = NULL;

	return json_object_object_get_ex(object, key, &value) ? json_object_get_string(value) : NULL;
}

static void assert_good_line(const char *line, size_t len, const struct audit_link *link)
{
	struct audit_link back;
	uint64_t seq = 0;

	assert_true(len < LIMIT_AUDIT_LINE && line[len - 1] == '\n');
	for (size_t i = 0; i + 1 < len; i++)
		assert_in_range(line[i], 0x20, 0x7e);
	assert_int_equal(audit_line_parse(line, len - 1, &back), 0);
	assert_int_equal(back.seq, link->seq);
	assert_memory_equal(back.prev, link->prev, sizeof(back.prev));
	assert_int_equal(audit_line_seq(line, len - 1, &seq), 0);
	assert_int_equal(seq, link->seq);
	assert_true(json_is_object(line, len - 1));
}

static void test_hostile_texts(void **state _unused_)
{
	char many[5000], line[LIMIT_AUDIT_LINE];
	struct audit_link link = {.seq = INT64_MAX - 1, .prev = {1, 2, 3}};
	size_t len;

	for (size_t i = 0; i <= ARRAY_SIZE(hostile_texts) + 1; i++) {
		const char *text = i < ARRAY_SIZE(hostile_texts) ? hostile_texts[i] : many;
		struct core_device device = {.class_id = WIRE_CLASS_USB, .n_interfaces = LIMIT_INTERFACES};
		struct core_qube qube = {.domid = UINT16_MAX};
		struct core_user user = {.uid = UINT32_MAX - 1};
		struct audit_record record = {text,  {0},  {0},        text, text,      &device,
					      &qube, text, UINT64_MAX, text, UINT32_MAX};

		memset(many, i % 2 ? '\\' : 'x', sizeof(many) - 1);
		many[sizeof(many) - 1] = '\0';
		memcpy(device.serial, text, strnlen(text, sizeof(device.serial) - 1));
		memcpy(device.port, text, strnlen(text, sizeof(device.port) - 1));
		memcpy(qube.name, text, strnlen(text, sizeof(qube.name) - 1));
		memcpy(user.qube, text, strnlen(text, sizeof(user.qube) - 1));
		record.caller = record.answered_by = user;
		assert_int_equal(audit_line_make(&record, &link, UINT32_MAX, line, &len), 0);
		assert_good_line(line, len, &link);
		line[len] = '\0';
		if (text == many) /* cut, and one can see that */
			assert_non_null(strstr(line, "...\",\"who\""));
	}
}

static void test_fields(void **state _unused_)
{
	struct audit_record record = plain;
	struct audit_link link = {.seq = 7};
	char line[LIMIT_AUDIT_LINE];
	json_object *object;
	size_t len;

	record.origin = "ask";
	(void)strcpy(record.caller.qube, "sys-gui");
	record.answered_by = (struct core_user){.uid = 0, .qube = "sys-gui2"};
	record.rule = "30-user.policy:4";
	record.outcome = "done";
	assert_int_equal(audit_line_make(&record, &link, 2, line, &len), 0);
	line[len] = '\0';
	assert_memory_equal(line, "{\"ts\":\"20", 9);
	assert_string_equal(
		strstr(line, ",\"seq\":"),
		",\"seq\":7,\"event\":\"attach-request\",\"who\":1000,\"who-qube\":\"sys-gui\",\"origin\":\"ask\","
		"\"answered-by\":0,\"answered-by-qube\":\"sys-gui2\","
		"\"device\":\"0781:5581:AB12:u080650\",\"port\":\"1-2\",\"source\":{\"name\":\"sys-usb\","
		"\"domid\":3,\"uuid\":\"12340000-0000-0000-0000-000000000000\"},\"target\":\"work\","
		"\"session\":\"000000000000001f\",\"rule\":\"30-user.policy:4\",\"outcome\":\"done\","
		"\"left-out\":2,\"prev\":\"" ZEROS "\"}\n");
	object = json_tokener_parse(line);
	assert_string_equal(field(object, "rule"), "30-user.policy:4");
	(void)json_object_put(object);

	record = (struct audit_record){.event = "x", .caller = CORE_NO_USER, .answered_by = CORE_NO_USER};
	assert_int_equal(audit_line_make(&record, &link, 0, line, &len), 0);
	line[len] = '\0';
	assert_string_equal(strstr(line, ",\"seq\":"), ",\"seq\":7,\"event\":\"x\",\"prev\":\"" ZEROS "\"}\n");
}

static void test_lines_that_are_none(void **state _unused_)
{
	static const struct {
		const char *line;
		bool good;
	} cases[] = {
		{HEAD "7,\"event\":\"x\"" TAIL, true},
		{HEAD "9223372036854775806,\"event\":\"x\"" TAIL, true},
		{"", false},
		{"{}", false},
		{"nonsense", false},
		{HEAD, false},
		{HEAD "7", false},
		{HEAD "7,\"event\":\"x\"", false},
		{HEAD "7,\"event\":\"" FULL "\"}", false},
		{HEAD "0,\"event\":\"x\"" TAIL, false},
		{HEAD "07,\"event\":\"x\"" TAIL, false},
		{HEAD "-7,\"event\":\"x\"" TAIL, false},
		{HEAD " 7,\"event\":\"x\"" TAIL, false},
		{HEAD "9223372036854775807,\"event\":\"x\"" TAIL, false},
		{HEAD "99999999999999999999999999,\"event\":\"x\"" TAIL, false},
		{HEAD "7,\"evenT\":\"x\"" TAIL, false},
		{HEAD "7,\"event\":\"x\"" TAIL " ", false},
		{HEAD "7,\"event\":\"x\n\"" TAIL, false},
		{HEAD "7,\"event\":\"\x7f\"" TAIL, false},
		{HEAD "7,\"event\":\"\xc3\xa9\"" TAIL, false},
		{"{\"ts\":\"\",\"seq\":7,\"event\":\"x\"" TAIL, false},
		{"{\"ts\":\"now\",\"seq\":7,\"event\":\"x\"" TAIL, false},
		{HEAD
		 "7,\"event\":\"x\",\"prev\":\"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"}",
		 false},
	};
	struct audit_link link;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if ((audit_line_parse(cases[i].line, strlen(cases[i].line), &link) == 0) != cases[i].good)
			fail_msg("%s", cases[i].line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_texts),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_lines_that_are_none),
	};

	return cmocka_run_group_tests_name("audit-line", tests, NULL, NULL);
}
