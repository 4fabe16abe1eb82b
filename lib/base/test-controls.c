/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names and values of what may be asked of a camera: each value there and back, and what is none. */
#include "tests/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/controls.h"

static void test_values(void **state)
{
	static const struct {
		enum camera_control control;
		const char *text;
		int value; /* -1: it is none */
	} rows[] = {
		{CONTROL_BRIGHTNESS, "0", 1},      {CONTROL_BRIGHTNESS, "50", 51},   {CONTROL_BRIGHTNESS, "100", 101},
		{CONTROL_BRIGHTNESS, "101", -1},   {CONTROL_BRIGHTNESS, "256", -1},  {CONTROL_BRIGHTNESS, "-1", -1},
		{CONTROL_BRIGHTNESS, "+1", -1},    {CONTROL_BRIGHTNESS, "050", -1},  {CONTROL_BRIGHTNESS, "50%", -1},
		{CONTROL_BRIGHTNESS, " 50", -1},   {CONTROL_BRIGHTNESS, "", -1},     {CONTROL_BRIGHTNESS, "off", -1},
		{CONTROL_CONTRAST, "100", 101},    {CONTROL_SATURATION, "7", 8},     {CONTROL_SHARPNESS, "0", 1},
		{CONTROL_POWER_LINE, "off", 1},    {CONTROL_POWER_LINE, "50", 2},    {CONTROL_POWER_LINE, "60", 3},
		{CONTROL_POWER_LINE, "", -1},      {CONTROL_POWER_LINE, "0", -1},    {CONTROL_POWER_LINE, "50Hz", -1},
		{CONTROL_POWER_LINE, "auto", -1},  {CONTROL_POWER_LINE, "OFF", -1},  {CONTROL_POWER_LINE, "100", -1},
		{CONTROL_POWER_LINE, "off\n", -1}, {CONTROL_BRIGHTNESS, "5\n0", -1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char again[CONTROL_TEXT];
		uint8_t value = 77;
		int r = controls_read_value(rows[i].control, rows[i].text, &value);

		if (r != (rows[i].value < 0 ? -EINVAL : 0) || value != (rows[i].value < 0 ? 77 : rows[i].value))
			fail_msg("row %zu: %d %u", i, r, value);
		controls_write_value(rows[i].control, value, again);
		if (r == 0)
			assert_string_equal(again, rows[i].text);
	}
}

static void test_names(void **state)
{
	char text[CONTROL_TEXT];

	(void)state;
	for (enum camera_control i = 0; i < CONTROL_COUNT; i++) {
		uint8_t values[CONTROL_COUNT] = {0};
		unsigned int n = 0;

		assert_non_null(strstr(controls_form(i), i == CONTROL_POWER_LINE ? "off" : "per cent"));
		assert_true(controls_are_none(values));
		for (unsigned int value = 0; value <= UINT8_MAX; value++) {
			values[i] = (uint8_t)value;
			n += controls_are_fit(values);
			assert_int_equal(controls_are_none(values), value == 0);
			controls_write_value(i, (uint8_t)value, text);
			assert_int_equal(text[0] != '\0', value != 0 && controls_are_fit(values));
		}
		assert_int_equal(n, 1 + (i == CONTROL_POWER_LINE ? CONTROL_OF_WORDS : CONTROL_OF_PERCENT));
	}
	assert_string_equal(controls_name(CONTROL_BRIGHTNESS), "brightness");
	assert_string_equal(controls_name(CONTROL_POWER_LINE), "power-line");
}

static void test_texts(void **state)
{
	static const struct {
		const char *text;
		bool good;
		uint8_t values[CONTROL_COUNT];
	} rows[] = {
		{"none", true, {0}},
		{"brightness=0", true, {1}},
		{"brightness=50,power-line=60", true, {51, 0, 0, 0, 3}},
		{"contrast=1,saturation=2,sharpness=3", true, {0, 2, 3, 4, 0}},
		{"brightness=100,contrast=100,saturation=100,sharpness=100,power-line=off",
		 true,
		 {101, 101, 101, 101, 1}},
		{"", false, {0}},
		{"none,none", false, {0}},
		{"none,brightness=1", false, {0}},
		{"brightness", false, {0}},
		{"brightness=", false, {0}},
		{"brightness=101", false, {0}},
		{"brightness=1000", false, {0}},
		{"brightness=1,", false, {0}},
		{",brightness=1", false, {0}},
		{"brightness=1,,contrast=1", false, {0}},
		{"brightness=1,brightness=1", false, {0}},
		{"contrast=1,brightness=1", false, {0}},
		{"brightness=1 contrast=1", false, {0}},
		{"power-line=50,hue=3", false, {0}},
		{"gain=3", false, {0}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t values[CONTROL_COUNT] = {7, 7, 7, 7, 7}, untouched[CONTROL_COUNT] = {7, 7, 7, 7, 7};
		char text[CONTROLS_TEXT];

		if (controls_read(rows[i].text, values) != (rows[i].good ? 0 : -EINVAL))
			fail_msg("row %zu: %s", i, rows[i].text);
		assert_memory_equal(values, rows[i].good ? rows[i].values : untouched, sizeof(values));
		if (!rows[i].good)
			continue;
		controls_write(values, text);
		assert_string_equal(text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests_name("controls", tests, NULL, NULL);
}
