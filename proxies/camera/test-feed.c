/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which buffer goes when, and that none is lost or sent twice. */
#include "tests/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "proxies/camera/feed.h"

#define BYTES 1000u
#define BUFFERS 4

static struct feed made(void)
{
	struct feed core;

	feed_init(&core, BYTES);
	return core;
}

/* Writes what is left of the frame, `step` bytes at a time; returns the buffer. */
static int write_all(struct feed *core, size_t step)
{
	struct feed_rest rest;
	int buffer = FEED_NONE;

	while (buffer == FEED_NONE) {
		size_t n;

		feed_rest(core, &rest);
		n = rest.head_len + rest.len < step ? rest.head_len + rest.len : step;
		buffer = feed_wrote(core, n);
	}
	return buffer;
}

static void test_frames(void **unused _unused_)
{
	static const size_t steps[] = {1, 7, CAMERA_HEAD, CAMERA_HEAD + 1, BYTES, 2 * BYTES};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct feed core = made();
		struct camera_frame frame;
		struct feed_rest rest;

		assert_int_equal(feed_captured(&core, 0, 5), 0); /* nobody looks: it goes back */
		assert_int_equal(feed_run(&core, 1, true), FEED_NONE);
		assert_int_equal(feed_begin(&core), FEED_NONE); /* nothing is there */
		assert_int_equal(feed_captured(&core, 2, 77), FEED_NONE);
		assert_int_equal(feed_begin(&core), 2);
		feed_rest(&core, &rest);
		assert_true(rest.head_len == CAMERA_HEAD && rest.at == 0 && rest.len == BYTES);
		assert_int_equal(camera_head_read(rest.head, BYTES, &frame), 0);
		assert_true(frame.run == 1 && frame.number == 1 && frame.stamp == 77);
		assert_int_equal(write_all(&core, steps[i]), 2);
		assert_int_equal(core.n_sent, 1);
	}
}

/* The importer's room: none without it, never more than CAMERA_WANTS. */
static void test_wants(void **unused _unused_)
{
	struct feed core = made();

	assert_int_equal(feed_want(&core, 1), -EPROTO); /* no run is on */
	(void)feed_run(&core, 1, true);                 /* a START is a want */
	assert_int_equal(feed_want(&core, 2), -EPROTO);
	assert_int_equal(feed_want(&core, 1), 0);
	assert_int_equal(feed_want(&core, 1), -EPROTO);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(feed_captured(&core, i, 1), FEED_NONE);
		assert_int_equal(feed_begin(&core), i);
		assert_int_equal(write_all(&core, 100), i);
	}
	assert_int_equal(feed_captured(&core, 2, 1), FEED_NONE);
	assert_int_equal(feed_begin(&core), FEED_NONE);  /* it has said nothing: the frame waits */
	assert_int_equal(feed_captured(&core, 3, 9), 2); /* and gives way to a newer one: CA08 */
	assert_int_equal(core.n_left_out, 1);
	assert_int_equal(feed_want(&core, 1), 0);
	assert_int_equal(feed_begin(&core), 3);
	{
		struct camera_frame frame;

		assert_int_equal(camera_head_read(core.head, BYTES, &frame), 0);
		assert_true(frame.number == 4 && frame.stamp == 9); /* what was left out counts */
	}
}

static void test_stop(void **unused _unused_)
{
	struct feed core = made();

	(void)feed_run(&core, 1, true);
	(void)feed_captured(&core, 0, 1);
	assert_int_equal(feed_begin(&core), 0);
	assert_int_equal(feed_wrote(&core, 10), FEED_NONE);
	(void)feed_captured(&core, 1, 2);
	assert_int_equal(feed_run(&core, 1, false), 1); /* what waits is not sent */
	assert_int_equal(feed_captured(&core, 2, 3), 2);
	assert_int_equal(feed_run(&core, 2, true), FEED_NONE);
	assert_int_equal(feed_captured(&core, 3, 4), FEED_NONE);
	assert_int_equal(feed_begin(&core), FEED_NONE); /* what has begun is sent whole first */
	assert_int_equal(write_all(&core, 100), 0);
	assert_int_equal(feed_begin(&core), 3);
	{
		struct camera_frame frame;

		assert_int_equal(camera_head_read(core.head, BYTES, &frame), 0);
		assert_true(frame.run == 2 && frame.number == 1);
	}
}

/* The camera is closed while a run is on: what was taken before is not sent after, and the importer's room is kept. */
static void test_closed(void **unused _unused_)
{
	struct feed core = made();

	assert_int_equal(feed_leave_out(&core), FEED_NONE);
	(void)feed_run(&core, 1, true);
	(void)feed_captured(&core, 2, 1);
	assert_int_equal(feed_leave_out(&core), 2);
	assert_int_equal(feed_begin(&core), FEED_NONE);
	(void)feed_captured(&core, 3, 2);
	assert_int_equal(feed_begin(&core), 3);
	assert_int_equal(core.n_left_out, 1);
}

/* CA07: what is no picture takes nobody's room. */
static void test_spoilt(void **unused _unused_)
{
	struct feed core = made();

	(void)feed_run(&core, 1, true);
	for (int i = 0; i < 100; i++) {
		(void)feed_captured(&core, i % BUFFERS, 1);
		assert_int_equal(feed_begin(&core), i % BUFFERS);
		assert_int_equal(feed_spoilt(&core), i % BUFFERS);
	}
	assert_int_equal(core.n_left_out, 100);
	(void)feed_captured(&core, 0, 1);
	assert_int_equal(feed_begin(&core), 0);
	assert_int_equal(write_all(&core, 100), 0);
	assert_int_equal(feed_want(&core, 1), 0);
}

/* Anything in any order: each buffer is the camera's, waits or is on its way, and in one place only. */
static void test_any_order(void **unused _unused_)
{
	bool with_camera[BUFFERS];
	struct feed core = made();
	uint32_t run = 0;

	srand(1);
	for (int i = 0; i < BUFFERS; i++)
		with_camera[i] = true;
	for (unsigned int step = 0; step < 200000; step++) {
		int back = FEED_NONE, buffer = rand() % BUFFERS;

		switch (rand() % 6) {
		case 0:
			back = feed_run(&core, core.on ? run : ++run, !core.on);
			break;
		case 1:
			if (with_camera[buffer]) {
				with_camera[buffer] = false;
				back = feed_captured(&core, buffer, step);
			}
			break;
		case 2:
			(void)feed_want(&core, run);
			break;
		case 3:
			if (feed_begin(&core) != FEED_NONE && rand() % 8 == 0)
				back = feed_spoilt(&core);
			break;
		default:
			if (core.sending != FEED_NONE) {
				struct feed_rest rest;

				feed_rest(&core, &rest);
				back = feed_wrote(&core, (size_t)rand() % (rest.head_len + rest.len + 1));
			}
			break;
		}
		if (back != FEED_NONE) {
			assert_false(with_camera[back]);
			with_camera[back] = true;
		}
		for (int i = 0; i < BUFFERS; i++)
			assert_int_equal(with_camera[i] + (core.waiting.buffer == i) + (core.sending == i), 1);
	}
	assert_true(core.n_sent > 1000 && core.n_left_out > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_frames), cmocka_unit_test(test_wants),
					   cmocka_unit_test(test_stop),   cmocka_unit_test(test_closed),
					   cmocka_unit_test(test_spoilt), cmocka_unit_test(test_any_order)};

	return cmocka_run_group_tests_name("camera-feed", tests, NULL, NULL);
}
