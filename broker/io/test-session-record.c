/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memories of sessions, there and back, and every way in which a text is none. */
#include "tests/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/session-record.h"
#include "lib/base/base.h"

#define BOOT "01234567-89ab-cdef-0123-456789abcdef"
#define KEY "fedcba9876543210"

static struct core_memory sample(void)
{
	struct core_memory m = {
		.session = 0xfedcba9876543210,
		.source = {.domid = 3, .uuid = {1, 2, 3}, .name = "sys-usb", .start = "77-123.000000009"},
		.target = {.domid = 65000, .uuid = {0xff, 0xfe}, .name = "work", .start = ""},
		.agent_incarnation = UINT64_MAX,
		.device = {.class_id = WIRE_CLASS_USB,
			   .speed = WIRE_SPEED_SUPER,
			   .vendor = 0x0781,
			   .product = 0xffff,
			   .n_interfaces = 2,
			   .interfaces = {{8, 6, 0x50}, {3, 1, 1}},
			   .port = "1-2.4",
			   .path = "pci-0000:00:04.0-usb-0:2.4",
			   .serial = "a\"b\\c/'%s",
			   .terms = {.origin = CORE_ORIGIN_REPLUG,
				     .asked_by = CORE_NO_USER,
				     .rule = "30-user.policy:4",
				     .answered = true,
				     .answered_by = {1000, "sys-gui"},
				     .follow_port = true,
				     .max_time_usec = 1800 * USEC_PER_SEC,
				     .end_usec = UINT64_MAX - 1}},
	};

	m.device.ref.slot = LIMIT_DEVICES - 1;
	m.device.ref.generation = UINT32_MAX;
	memset(m.device.digest, 0x5a, sizeof(m.device.digest));
	memset(m.approved, 0xa5, sizeof(m.approved));
	m.asleep = true;
	return m;
}

static void test_there_and_back(void **unused _unused_)
{
	const struct core_memory before = sample();
	struct core_memory after;
	char text[SESSION_RECORD_TEXT], again[SESSION_RECORD_TEXT], key[SESSION_KEY_TEXT];

	session_record_key(before.session, key);
	assert_string_equal(key, KEY);
	assert_int_equal(session_record_write(&before, BOOT, text, sizeof(text)), 0);
	memset(&after, 0x77, sizeof(after));
	assert_int_equal(session_record_read(KEY, text, BOOT, &after), 0);
	assert_int_equal(after.session, before.session);
	assert_int_equal(after.source.domid, 3);
	assert_string_equal(after.source.start, before.source.start);
	assert_string_equal(after.target.name, "work");
	assert_string_equal(after.device.serial, before.device.serial);
	assert_string_equal(after.device.path, before.device.path);
	assert_memory_equal(after.device.interfaces, before.device.interfaces, sizeof(after.device.interfaces));
	assert_memory_equal(after.approved, before.approved, sizeof(after.approved));
	assert_int_equal(after.device.terms.origin, CORE_ORIGIN_REPLUG);
	assert_int_equal(after.device.terms.asked_by.uid, CORE_NOBODY);
	assert_string_equal(after.device.terms.answered_by.qube, "sys-gui");
	assert_int_equal(after.device.terms.end_usec, UINT64_MAX - 1);
	assert_int_equal(session_record_write(&after, BOOT, again, sizeof(again)), 0);
	assert_string_equal(again, text); /* nothing was lost on the way */

	assert_int_equal(session_record_read(KEY, text, NULL, &after), 0);
	assert_int_equal(session_record_read(KEY, text, "another", &after), SESSION_RECORD_OTHER_BOOT);
	assert_int_equal(session_record_read("0000000000000001", text, BOOT, &after), SESSION_RECORD_BAD);
	assert_int_equal(session_record_write(&before, BOOT, text, strlen(again)), -EMSGSIZE);
}

/* The longest that there is fits where it must. */
static void test_longest(void **unused _unused_)
{
	struct core_memory m = sample();
	char text[SESSION_RECORD_TEXT];

	memset(m.source.name, 'n', LIMIT_QUBE_NAME);
	memset(m.target.name, 'n', LIMIT_QUBE_NAME);
	memset(m.source.start, '"', LIMIT_START_TEXT - 1);
	memset(m.target.start, '"', LIMIT_START_TEXT - 1);
	memset(m.device.path, 'p', LIMIT_PATH_TEXT - 1);
	memset(m.device.serial, '"', LIMIT_TEXT);
	memset(m.device.terms.rule, '"', LIMIT_RULE_TEXT - 1);
	memset(m.device.terms.asked_by.qube, 'n', LIMIT_QUBE_NAME);
	memset(m.device.terms.answered_by.qube, 'n', LIMIT_QUBE_NAME);
	m.device.class_id = WIRE_CLASS_WEBCAM;
	(void)strcpy(m.device.port, "webcam-01234567");
	m.device.terms.picture = (struct core_picture){4096, 4096, 120, {101, 101, 101, 101, 3}};
	assert_int_equal(session_record_write(&m, BOOT, text, sizeof(text)), 0);
	assert_int_equal(session_record_read(KEY, text, BOOT, &m), 0);
}

/* Replaces the first `from` by `to`. */
static void change(const char *text, const char *from, const char *to, char *ret_text)
{
	const char *at = strstr(text, from);

	assert_non_null(at);
	(void)snprintf(ret_text, SESSION_RECORD_TEXT, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void test_bad(void **unused _unused_)
{
	static const char *const rows[][2] = {
		{"\"boot\":", "\"boat\":"},
		{"\"boot\":\"" BOOT "\",", ""},
		{"\"slot\":63", "\"slot\":64"},
		{"\"slot\":63", "\"slot\":-1"},
		{"\"slot\":63", "\"slot\":\"63\""},
		{"\"slot\":63", "\"slot\":63.0"},
		{"\"slot\":63", "\"slot\":63,\"slots\":1"},
		{"\"slot\":63,", ""},
		{"\"generation\":4294967295", "\"generation\":4294967296"},
		{"\"n_interfaces\":2", "\"n_interfaces\":1"},
		{"\"n_interfaces\":2", "\"n_interfaces\":33"},
		{"\"session\":\"f", "\"session\":\"F"},
		{"\"session\":\"f", "\"session\":\""},
		{"\"session\":\"" KEY, "\"session\":\"0000000000000000"},
		{"\"approved\":\"a5", "\"approved\":\"a"},
		{"\"approved\":\"a5", "\"approved\":\"a5a5"},
		{"\"approved\":\"a5", "\"approved\":\"ax"},
		{"\"port\":\"1-2.4", "\"port\":\"../x"},
		{"\"answered_by_qube\":\"sys-gui", "\"answered_by_qube\":\"sys gui"},
		{"\"asked_by_qube\":\"", "\"asked_by_qube\":\"9"},
		{"\"path\":\"pci", "\"path\":\"/pci"},
		{"\"path\":\"pci", "\"path\":\" pci"},
		{"\"path\":\"", "\"path\":\"0123456789012345678901234567890123456789012345678901234567890123456789"},
		{"\"path\":\"", "\"path\":1,\"paths\":\""},
		{"\"path\"", "\"paths\""},
		{"\"source\":\"sys-usb", "\"source\":\"sys usb"},
		{"\"target\":\"work", "\"target\":\""},
		{"\"target\":\"work", "\"target\":\"wo\\u0000rk"},
		{"\"rule\":\"30", "\"rule\":\"\\u001b"},
		{"\"rule\":\"30", "\"rule\":\"\xc3\xb6"},
		{"\"origin\":5", "\"origin\":6"},
		{"\"answered\":true", "\"answered\":1"},
		{"\"answered\":true", "\"answered\":null"},
		{"{", "["},
		{"{", "{{"},
		{"}", ""},
		{"}", "}x"},
		{"{", ""},
	};
	const struct core_memory memory = sample();
	struct core_memory after;
	char text[SESSION_RECORD_TEXT], bad[SESSION_RECORD_TEXT];
	size_t len;

	assert_int_equal(session_record_write(&memory, BOOT, text, sizeof(text)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		change(text, rows[i][0], rows[i][1], bad);
		if (session_record_read(KEY, bad, BOOT, &after) != SESSION_RECORD_BAD)
			fail_msg("row %zu is taken: %s", i, bad);
	}
	len = strlen(text);
	for (size_t i = 0; i < len; i++) { /* cut anywhere */
		text[len - 1 - i] = '\0';
		assert_int_equal(session_record_read(KEY, text, BOOT, &after), SESSION_RECORD_BAD);
	}
}

static struct core_memory sample_of_camera(void)
{
	struct core_memory m = sample();

	m.device.class_id = WIRE_CLASS_WEBCAM;
	m.device.speed = WIRE_SPEED_NONE;
	(void)strcpy(m.device.port, "webcam-01234567");
	m.device.path[0] = '\0';
	m.device.terms.picture = (struct core_picture){1280, 720, 30, {51, 0, 0, 0, 3}};
	return m;
}

/* What is asked of a camera's pictures; a broker that knew no cameras did not write it. */
static void test_picture(void **unused _unused_)
{
#define PICTURE "\"width\":1280,\"height\":720,\"fps\":30,"
#define CONTROLS_ASKED "\"brightness\":51,\"contrast\":0,\"saturation\":0,\"sharpness\":0,\"power-line\":3,"
	static const struct {
		const char *to;
		bool good;
		struct core_picture picture;
	} rows[] = {
		{PICTURE, true, {1280, 720, 30, {51, 0, 0, 0, 3}}},
		{"", true, {0, 0, 0, {51, 0, 0, 0, 3}}},
		{"\"width\":0,\"height\":0,\"fps\":0,", true, {0, 0, 0, {51, 0, 0, 0, 3}}},
		{"\"width\":1280,\"height\":720,", true, {1280, 720, 0, {51, 0, 0, 0, 3}}},
		{"\"width\":1280,\"fps\":30,", false, {0}},
		{"\"width\":1281,\"height\":720,\"fps\":30,", false, {0}},
		{"\"width\":66816,\"height\":720,\"fps\":30,", false, {0}},
		{"\"width\":1280,\"height\":720,\"fps\":121,", false, {0}},
		{"\"width\":\"1280\",\"height\":720,\"fps\":30,", false, {0}},
		{"\"height\":720,\"width\":1280,\"fps\":30,", false, {0}},
	};
	static const struct {
		const char *to;
		bool good;
		uint8_t values[CONTROL_COUNT];
	} of_controls[] = {
		{CONTROLS_ASKED, true, {51, 0, 0, 0, 3}},
		{"", true, {0}},
		{"\"sharpness\":101,", true, {0, 0, 0, 101, 0}},
		{"\"brightness\":102,", false, {0}},
		{"\"power-line\":4,", false, {0}},
		{"\"power-line\":\"60\",", false, {0}},
		{"\"power-line\":3,\"brightness\":51,", false, {0}},
		{"\"hue\":51,", false, {0}},
	};
	const struct core_memory camera = sample_of_camera(), stick = sample();
	struct core_memory after;
	char text[SESSION_RECORD_TEXT], changed[SESSION_RECORD_TEXT];

	assert_int_equal(session_record_write(&camera, BOOT, text, sizeof(text)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		change(text, PICTURE, rows[i].to, changed);
		if (session_record_read(KEY, changed, BOOT, &after) != (rows[i].good ? 0 : SESSION_RECORD_BAD))
			fail_msg("row %zu: %s", i, changed);
		if (rows[i].good)
			assert_memory_equal(&after.device.terms.picture, &rows[i].picture, sizeof(rows[i].picture));
	}
	for (size_t i = 0; i < ARRAY_SIZE(of_controls); i++) {
		change(text, CONTROLS_ASKED, of_controls[i].to, changed);
		if (session_record_read(KEY, changed, BOOT, &after) != (of_controls[i].good ? 0 : SESSION_RECORD_BAD))
			fail_msg("row %zu: %s", i, changed);
		if (of_controls[i].good)
			assert_memory_equal(after.device.terms.picture.controls, of_controls[i].values, CONTROL_COUNT);
	}
	assert_int_equal(session_record_write(&stick, BOOT, text, sizeof(text)), 0);
	change(text, "\"fps\":0", "\"fps\":30", changed); /* nothing is asked of a stick */
	assert_int_equal(session_record_read(KEY, changed, BOOT, &after), SESSION_RECORD_BAD);
	assert_int_equal(session_record_write(&stick, BOOT, text, sizeof(text)), 0);
	change(text, "\"contrast\":0", "\"contrast\":1", changed);
	assert_int_equal(session_record_read(KEY, changed, BOOT, &after), SESSION_RECORD_BAD);
#undef CONTROLS_ASKED
#undef PICTURE
}

/* A broker that did not know paths, or claims, wrote this: its memory is one. */
static void test_of_former_brokers(void **unused _unused_)
{
	struct core_memory memory = sample();
	char text[SESSION_RECORD_TEXT], old[SESSION_RECORD_TEXT];

	assert_int_equal(session_record_write(&memory, BOOT, text, sizeof(text)), 0);
	change(text, "\"path\":\"pci-0000:00:04.0-usb-0:2.4\",", "", old);
	assert_int_equal(session_record_read(KEY, old, BOOT, &memory), 0);
	assert_string_equal(memory.device.path, "");
	assert_string_equal(memory.device.port, "1-2.4");
	change(text, ",\"asleep\":true", "", old); /* one that did not keep claims */
	assert_int_equal(session_record_read(KEY, old, BOOT, &memory), 0);
	assert_false(memory.asleep);
	assert_int_equal(session_record_read(KEY, text, BOOT, &memory), 0);
	assert_true(memory.asleep);
	change(text, "\"answered_by_qube\":\"sys-gui\",", "", old); /* one that served no qubes */
	assert_int_equal(session_record_read(KEY, old, BOOT, &memory), 0);
	assert_int_equal(memory.device.terms.answered_by.uid, 1000);
	assert_string_equal(memory.device.terms.answered_by.qube, "");
	memory = sample();
	(void)strcpy(memory.device.terms.asked_by.qube, "gui2");
	assert_int_equal(session_record_write(&memory, BOOT, text, sizeof(text)), 0);
	change(text, "\"asked_by_qube\":\"gui2\",", "", old);
	assert_int_equal(session_record_read(KEY, old, BOOT, &memory), 0);
	assert_string_equal(memory.device.terms.asked_by.qube, "");
}

static void test_boot(void **unused _unused_)
{
	char boot[SESSION_BOOT_TEXT], again[SESSION_BOOT_TEXT];

	assert_int_equal(session_record_boot(boot), 0);
	assert_int_equal(session_record_boot(again), 0);
	assert_string_equal(boot, again);
	assert_int_equal(strlen(boot), SESSION_BOOT_TEXT - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_picture),
		cmocka_unit_test(test_of_former_brokers),
		cmocka_unit_test(test_boot),
	};

	return cmocka_run_group_tests_name("session-record", tests, NULL, NULL);
}
