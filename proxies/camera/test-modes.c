/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which mode is taken. */
#include "tests/unit.h"

#include "lib/base/base.h"
#include "proxies/camera/modes.h"

/* As a common camera has them: what is raw is slow when it is large. */
static const struct camera_mode usual[] = {
	{640, 480, CAMERA_YUYV, 33333},   {1280, 720, CAMERA_YUYV, 100000}, {1920, 1080, CAMERA_YUYV, 200000},
	{640, 480, CAMERA_I420, 33333},   {1280, 720, CAMERA_I420, 16666},  {1280, 720, CAMERA_I420, 33333},
	{1920, 1080, CAMERA_I420, 33333}, {2560, 1440, CAMERA_I420, 33333}, {640, 480, CAMERA_I420, 66666},
};

static void test_choose(void **unused _unused_)
{
	static const struct {
		struct mode_wish wish;
		int chosen;
	} rows[] = {
		{{0, 0, 0}, 6},     {{1280, 720, 0}, 5},         {{1280, 720, 60}, 4},  {{1280, 720, 10}, 1},
		{{640, 480, 0}, 3}, {{640, 480, 15}, 8},         {{0, 0, 15}, 8},       {{0, 0, 60}, 4},
		{{0, 1440, 0}, 7},  {{1920, 1080, 5}, 2},        {{1920, 1080, 6}, -1}, {{800, 600, 0}, -1},
		{{0, 0, 120}, -1},  {{65535, 65535, 65535}, -1}, {{2560, 0, 0}, 7},     {{640, 720, 0}, -1},
	};
	struct camera_hello hello = {.n_modes = ARRAY_SIZE(usual)};

	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		hello.modes[i] = usual[i];
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (modes_choose(&hello, &rows[i].wish) != rows[i].chosen)
			fail_msg("row %zu: %d", i, modes_choose(&hello, &rows[i].wish));
}

/* A camera that has nothing of what is best. */
static void test_choose_odd(void **unused _unused_)
{
	static const struct mode_wish any = {0};
	static const struct {
		struct camera_mode modes[3];
		uint8_t n;
		int chosen;
	} rows[] = {
		{{{320, 240, CAMERA_YUYV, USEC_PER_SEC}}, 1, 0},                              /* slow */
		{{{4096, 2160, CAMERA_YUYV, 33333}, {3840, 2160, CAMERA_YUYV, 33333}}, 2, 1}, /* large */
		{{{1920, 1080, CAMERA_YUYV, 100000}, {320, 240, CAMERA_YUYV, 41666}}, 2, 1},  /* smooth first */
		{{{640, 480, CAMERA_YUYV, 8333}, {640, 480, CAMERA_YUYV, 41666}}, 2, 1},      /* too fast */
		{{{640, 480, CAMERA_YUYV, 33333}, {640, 480, CAMERA_NV12, 33333}}, 2, 1},     /* fewest bytes */
		{{{640, 480, CAMERA_NV12, 33333}, {640, 480, CAMERA_I420, 33333}}, 2, 0},     /* the first */
		{{{2560, 1440, CAMERA_YUYV, 33333}, {320, 240, CAMERA_I420, 33333}}, 2, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct camera_hello hello = {.n_modes = rows[i].n};

		for (size_t k = 0; k < rows[i].n; k++)
			hello.modes[k] = rows[i].modes[k];
		if (modes_choose(&hello, &any) != rows[i].chosen)
			fail_msg("row %zu: %d", i, modes_choose(&hello, &any));
	}
}

/* CA13: however many a camera has, no more are taken. */
static void test_add(void **unused _unused_)
{
	struct camera_hello hello = {.n_modes = 0};
	static const struct mode_wish any = {0};
	struct camera_mode mode = {16, 16, CAMERA_YUYV, 33333};

	assert_int_equal(modes_add(&hello, &mode), 0);
	assert_int_equal(modes_add(&hello, &mode), -1); /* twice */
	mode.format = CAMERA_NV12;
	assert_int_equal(modes_add(&hello, &mode), -1); /* the same to look at */
	mode.format = CAMERA_YUYV;
	mode.interval_usec = 0;
	assert_int_equal(modes_add(&hello, &mode), -1);
	mode.interval_usec = 33333;
	for (unsigned int i = 0; i < 100000; i++) {
		mode.width = (uint16_t)(16 + 2 * (i % 1000));
		mode.height = (uint16_t)(16 + 2 * (i / 1000));
		(void)modes_add(&hello, &mode);
	}
	assert_int_equal(hello.n_modes, CAMERA_MODES);
	/* and those are the best: the one that is taken comes first */
	assert_int_equal(modes_choose(&hello, &any), 0);
	mode = (struct camera_mode){1920, 1080, CAMERA_NV12, 33333};
	assert_int_equal(modes_add(&hello, &mode), 0);
	assert_int_equal(hello.n_modes, CAMERA_MODES);
	for (size_t i = 1; i < CAMERA_MODES; i++)
		assert_true(hello.modes[i - 1].width * hello.modes[i - 1].height >=
			    hello.modes[i].width * hello.modes[i].height);
	mode = (struct camera_mode){16, 16, CAMERA_NV12, USEC_PER_SEC};
	assert_int_equal(modes_add(&hello, &mode), -1);
}

/* One with as many modes as vivid has: each size has room in the list. */
static void test_add_all_sizes(void **unused _unused_)
{
	static const uint16_t sizes[][2] = {{320, 180},  {320, 240},   {640, 360},  {640, 480},
					    {1280, 720}, {1920, 1080}, {3840, 2160}};
	static const uint32_t rates[] = {1, 2, 4, 5, 10, 15, 25, 30, 50, 60};
	struct camera_hello hello = {.n_modes = 0};

	for (uint8_t format = CAMERA_YUYV; format <= CAMERA_I420; format++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			for (size_t k = 0; k < ARRAY_SIZE(rates); k++)
				(void)modes_add(&hello, &(struct camera_mode){sizes[i][0], sizes[i][1], format,
									      (uint32_t)USEC_PER_SEC / rates[k]});
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_true(modes_choose(&hello, &(struct mode_wish){sizes[i][0], sizes[i][1], 30}) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_choose), cmocka_unit_test(test_choose_odd),
					   cmocka_unit_test(test_add), cmocka_unit_test(test_add_all_sizes)};

	return cmocka_run_group_tests_name("camera-modes", tests, NULL, NULL);
}
