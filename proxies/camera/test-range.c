/* SPDX-License-Identifier: GPL-2.0-or-later */
/* To what a control is set, in ranges that cameras have and in those that only a liar has. */
#include "tests/unit.h"

#include <stddef.h>

#include "lib/base/base.h"
#include "proxies/camera/range.h"

#define NONE INT64_MIN

static void test_settings(void **state)
{
	static const struct {
		struct range range;
		enum camera_control control;
		uint8_t value;
		int64_t setting; /* NONE: it is left as it is */
	} rows[] = {
		{{0, 255, 1}, CONTROL_BRIGHTNESS, 1, 0},
		{{0, 255, 1}, CONTROL_BRIGHTNESS, 51, 128},
		{{0, 255, 1}, CONTROL_CONTRAST, 101, 255},
		{{-64, 64, 1}, CONTROL_BRIGHTNESS, 1, -64},
		{{-64, 64, 1}, CONTROL_BRIGHTNESS, 51, 0},
		{{-64, 64, 1}, CONTROL_SATURATION, 101, 64},
		{{0, 10, 5}, CONTROL_SHARPNESS, 25, 0},
		{{0, 10, 5}, CONTROL_SHARPNESS, 26, 5},
		{{0, 10, 5}, CONTROL_SHARPNESS, 76, 10},
		{{1, 10, 4}, CONTROL_SHARPNESS, 101, 9}, /* no step is at its end */
		{{7, 7, 1}, CONTROL_SHARPNESS, 51, 7},
		{{0, 10, 100}, CONTROL_SHARPNESS, 101, 0},
		{{INT32_MIN, INT32_MAX, 1}, CONTROL_BRIGHTNESS, 1, INT32_MIN},
		{{INT32_MIN, INT32_MAX, 1}, CONTROL_BRIGHTNESS, 51, 0},
		{{INT32_MIN, INT32_MAX, 1}, CONTROL_BRIGHTNESS, 101, INT32_MAX},
		{{INT32_MIN, INT32_MAX, INT32_MAX}, CONTROL_BRIGHTNESS, 101, INT32_MAX - 1},
		{{0, 2, 1}, CONTROL_POWER_LINE, 1, 0},
		{{0, 2, 1}, CONTROL_POWER_LINE, 2, 1},
		{{0, 3, 1}, CONTROL_POWER_LINE, 3, 2},
		{{0, 1, 1}, CONTROL_POWER_LINE, 3, NONE},
		{{1, 2, 1}, CONTROL_POWER_LINE, 1, NONE},
		{{255, 0, 1}, CONTROL_BRIGHTNESS, 51, NONE},
		{{2, 0, 1}, CONTROL_POWER_LINE, 2, NONE},
		{{INT32_MAX, INT32_MIN, 1}, CONTROL_BRIGHTNESS, 101, NONE},
		{{0, 255, 0}, CONTROL_BRIGHTNESS, 51, NONE},
		{{0, 255, -1}, CONTROL_BRIGHTNESS, 51, NONE},
		{{0, 255, INT32_MIN}, CONTROL_BRIGHTNESS, 101, NONE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int32_t setting = 77;
		bool good = range_setting(&rows[i].range, rows[i].control, rows[i].value, &setting);

		if (good != (rows[i].setting != NONE) || setting != (good ? rows[i].setting : 77))
			fail_msg("row %zu: %d %d", i, good, setting);
	}
}

/* Whatever a device says, each value is within its range, and more is never less. */
static void test_order(void **state)
{
	static const struct range ranges[] = {
		{0, 255, 1}, {-10, 7, 3}, {INT32_MIN, INT32_MAX, 1}, {INT32_MIN, 5, 65537}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		int32_t last = ranges[i].min;

		for (uint8_t value = 1; value <= CONTROL_OF_PERCENT; value++) {
			int32_t setting;

			assert_true(range_setting(&ranges[i], CONTROL_CONTRAST, value, &setting));
			assert_true(range_has(&ranges[i], setting) && setting >= last);
			assert_int_equal(((int64_t)setting - ranges[i].min) % ranges[i].step, 0);
			last = setting;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
