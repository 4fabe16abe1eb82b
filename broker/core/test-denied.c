// SPDX-License-Identifier: GPL-2.0-or-later
/* Deny lists: what a pattern is, what it fits, and the table. */
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

#include "broker/core/denied.h"
#include "lib/base/base.h"

static int setup(void **state)
{
	*state = denied_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	*state = denied_free(*state);
	return 0;
}

static void test_patterns(void **unused _unused_)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"u03**01", true},   {"u080650", true},  {"*******", true},  {"m******", true},
		{"?******", true},   {"u0abcef", true},  {"", false},        {"u03**0", false},
		{"u03**011", false}, {"U03**01", false}, {"u03**0A", false}, {"u03**0g", false},
		{"u03**0?", false},  {"0030101", false}, {"u03 *01", false}, {"u03\n*01", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(denied_is_pattern(cases[i].text), cases[i].good);
}

static void test_match(void **state)
{
	static const struct {
		const char *pattern;
		uint8_t n;
		uint8_t codes[2][3];
		bool denied;
	} cases[] = {
		{"u03**01", 1, {{3, 1, 1}}, true},
		{"u03**01", 1, {{3, 0, 1}}, true},
		{"u03**01", 1, {{3, 1, 2}}, false},
		{"u03**01", 1, {{8, 1, 1}}, false},
		{"u03**01", 2, {{8, 6, 0x50}, {3, 1, 1}}, true},
		{"u03**01", 2, {{3, 1, 1}, {8, 6, 0x50}}, true},
		{"u03**01", 2, {{8, 6, 0x50}, {3, 1, 2}}, false},
		{"u080650", 1, {{8, 6, 0x50}}, true},
		{"u080650", 1, {{8, 6, 0x51}}, false},
		{"*******", 1, {{0xff, 0xff, 0xff}}, true},
		{"m******", 1, {{1, 1, 0}}, false},
		{"?******", 1, {{8, 6, 0x50}}, false},
		{"?******", 0, {{0}}, true},
		{"u03**01", 0, {{0}}, true},
		{"m******", 0, {{0}}, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_device device = {.class_id = WIRE_CLASS_USB, .n_interfaces = cases[i].n};

		memcpy(device.interfaces, cases[i].codes, sizeof(cases[i].codes));
		assert_null(denied_match(*state, "work", &device));
		assert_int_equal(denied_add(*state, "work", "ufefefe"), 0); /* the second one counts too */
		assert_int_equal(denied_add(*state, "work", cases[i].pattern), 0);
		assert_int_equal(denied_match(*state, "work", &device) != NULL, cases[i].denied);
		if (cases[i].denied && cases[i].n > 0)
			assert_string_equal(denied_match(*state, "work", &device), cases[i].pattern);
		assert_null(denied_match(*state, "wor", &device));
		assert_int_equal(denied_remove_all(*state, "work"), 0);
	}
}

/* A code begins as the class has it: a camera's is that of USB's video class. */
static void test_match_class(void **state)
{
	static const struct {
		const char *pattern;
		uint8_t class_id, code[3];
		bool denied;
	} cases[] = {
		{"u0e****", WIRE_CLASS_WEBCAM, {0x0e, 1, 0}, true},
		{"u0e0100", WIRE_CLASS_WEBCAM, {0x0e, 1, 0}, true},
		{"u******", WIRE_CLASS_WEBCAM, {0x0e, 1, 0}, true},
		{"u0e02**", WIRE_CLASS_WEBCAM, {0x0e, 1, 0}, false},
		{"w******", WIRE_CLASS_WEBCAM, {0x0e, 1, 0}, false},
		{"u0e****", WIRE_CLASS_USB, {0x0e, 2, 0}, true},
		{"u0e****", WIRE_CLASS_MIC, {0}, false},
		{"m******", WIRE_CLASS_MIC, {0}, true},
		{"s******", WIRE_CLASS_SPEAKER, {0}, true},
		{"u******", WIRE_CLASS_SPEAKER, {0}, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_device device = {.class_id = cases[i].class_id, .n_interfaces = 1};

		memcpy(device.interfaces[0], cases[i].code, sizeof(cases[i].code));
		assert_int_equal(denied_add(*state, "work", cases[i].pattern), 0);
		assert_int_equal(denied_match(*state, "work", &device) != NULL, cases[i].denied);
		assert_int_equal(denied_remove_all(*state, "work"), 0);
	}
}

static void assert_list(struct denied *table, const char *qube, const char *expected)
{
	char text[128] = "";
	const char *pattern;
	unsigned int cursor = 0;

	while ((pattern = denied_next(table, qube, &cursor)))
		(void)strncat(text, pattern, sizeof(text) - strlen(text) - 1);
	assert_string_equal(text, expected);
}

static void test_table(void **state)
{
	static const struct {
		int (*call)(struct denied *table, const char *qube, const char *pattern);
		const char *qube, *pattern;
		int outcome;
		const char *work, *vault;
	} steps[] = {
		{denied_remove, "work", "u******", DENIED_UNCHANGED, "", ""},
		{denied_add, "work", "u03**01", 0, "u03**01", ""},
		{denied_add, "work", "u03**01", DENIED_UNCHANGED, "u03**01", ""},
		{denied_add, "vault", "u03**01", 0, "u03**01", "u03**01"},
		{denied_add, "work", "u08****", 0, "u03**01u08****", "u03**01"},
		{denied_add, "work", "u01****", 0, "u03**01u08****u01****", "u03**01"},
		{denied_add, "work", "nonsense", DENIED_UNFIT, "u03**01u08****u01****", "u03**01"},
		{denied_add, "-", "u03**01", DENIED_UNFIT, "u03**01u08****u01****", "u03**01"},
		{denied_remove, "work", "u08****", 0, "u03**01u01****", "u03**01"},
		{denied_remove, "work", "u08****", DENIED_UNCHANGED, "u03**01u01****", "u03**01"},
		{denied_remove, "work", "u03**01", 0, "u01****", "u03**01"},
		{denied_remove, "work", "u01****", 0, "", "u03**01"},
		{denied_remove, "vault", "u03**01", 0, "", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		assert_int_equal(steps[i].call(*state, steps[i].qube, steps[i].pattern), steps[i].outcome);
		assert_list(*state, "work", steps[i].work);
		assert_list(*state, "vault", steps[i].vault);
	}
	assert_int_equal(denied_remove_all(*state, "work"), DENIED_UNCHANGED);
}

static void test_limits(void **state)
{
	char qube[16], pattern[DENIED_PATTERN + 1];

	for (unsigned int i = 0; i < LIMIT_DENIED_QUBES; i++) {
		(void)snprintf(qube, sizeof(qube), "q%u", i);
		assert_int_equal(denied_add(*state, qube, "u******"), 0);
	}
	assert_int_equal(denied_add(*state, "more", "u******"), DENIED_FULL);
	for (unsigned int i = 1; i < LIMIT_DENIED_PATTERNS; i++) {
		(void)snprintf(pattern, sizeof(pattern), "u%06x", i);
		assert_int_equal(denied_add(*state, "q7", pattern), 0);
	}
	assert_int_equal(denied_add(*state, "q7", "u00ffff"), DENIED_FULL);
	assert_int_equal(denied_add(*state, "q8", "u00ffff"), 0);
	assert_int_equal(denied_remove_all(*state, "q7"), 0);
	assert_list(*state, "q7", "");
	assert_list(*state, "q255", "u******");
	assert_int_equal(denied_add(*state, "more", "u******"), 0);
	assert_list(*state, "more", "u******");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns),
		TEST(test_match),
		TEST(test_match_class),
		TEST(test_table),
		TEST(test_limits),
	};

	return cmocka_run_group_tests_name("denied", tests, NULL, NULL);
}
