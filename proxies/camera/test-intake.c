/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What may come when, where it goes, and when it was taken. */
#include "tests/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base.h"
#include "proxies/camera/intake.h"

#define BYTES 10000u
#define NOW (1000 * USEC_PER_SEC)

static uint8_t picture[BYTES];

static struct intake made(void)
{
	struct intake core;

	intake_init(&core, BYTES);
	return core;
}

/* A whole frame comes, `step` bytes at a time. The last answer of intake_got(). */
static int frame_comes(struct intake *core, struct camera_frame frame, size_t step, uint64_t now_usec,
		       struct intake_picture *ret_picture)
{
	uint8_t bytes[CAMERA_HEAD + BYTES];
	size_t at = 0;
	int r = 0;

	frame.n_bytes = frame.n_bytes ? frame.n_bytes : BYTES;
	camera_head_write(&frame, bytes);
	memset(bytes + CAMERA_HEAD, (int)frame.number, BYTES);
	while (r == 0 && at < sizeof(bytes)) {
		uint8_t *to;
		size_t n = intake_room(core, picture, &to);

		assert_true(n > 0 && to);
		n = n < step ? n : step;
		memcpy(to, bytes + at, n);
		at += n;
		r = intake_got(core, n, now_usec, ret_picture);
	}
	assert_true(r == -EPROTO || at == sizeof(bytes));
	return r;
}

static int comes(struct intake *core, uint32_t run, uint32_t number)
{
	struct intake_picture seen;

	return frame_comes(core, (struct camera_frame){.run = run, .number = number, .stamp = NOW}, 777, NOW, &seen);
}

static void test_pictures(void **unused _unused_)
{
	static const size_t steps[] = {1, CAMERA_HEAD, CAMERA_HEAD + 3, 4096, 2 * BYTES};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct intake core = made();
		struct intake_picture seen = {0};

		intake_run(&core, 1, true);
		memset(picture, 0, sizeof(picture));
		assert_int_equal(frame_comes(&core, (struct camera_frame){.run = 1, .number = 3, .stamp = 5}, steps[i],
					     NOW, &seen),
				 1);
		assert_true(seen.n_left_out == 2 && seen.usec == NOW);
		for (size_t k = 0; k < BYTES; k++)
			assert_int_equal(picture[k], 3);
	}
}

/* No more comes than was wanted, and nothing twice or backwards. */
static void test_order(void **unused _unused_)
{
	static const struct {
		uint32_t run, number;
		int r;
	} rows[] = {
		{1, 1, 1}, {1, 5, 1}, {1, 5, -EPROTO}, {1, 4, -EPROTO}, {2, 1, -EPROTO}, {UINT32_MAX, 1, -EPROTO},
	};

	for (size_t i = 2; i < ARRAY_SIZE(rows); i++) {
		struct intake core = made();

		assert_false(intake_want(&core));
		intake_run(&core, 1, true);
		assert_int_equal(comes(&core, rows[0].run, rows[0].number), rows[0].r);
		assert_true(intake_want(&core));
		assert_int_equal(comes(&core, rows[1].run, rows[1].number), rows[1].r);
		assert_true(intake_want(&core) && intake_want(&core) && !intake_want(&core));
		assert_int_equal(comes(&core, rows[i].run, rows[i].number), rows[i].r);
	}
	{
		struct intake core = made();

		assert_int_equal(comes(&core, 1, 1), -EPROTO); /* before any run */
		core = made();
		intake_run(&core, 1, true);
		assert_int_equal(comes(&core, 1, 1), 1);
		assert_int_equal(comes(&core, 1, 2), -EPROTO); /* nobody wanted it */
	}
}

/* What comes of a run that is over is no picture, and takes no place of one. */
static void test_runs(void **unused _unused_)
{
	struct intake core = made();
	struct intake_picture seen;
	uint8_t *at;

	intake_run(&core, 1, true);
	assert_true(intake_want(&core));
	intake_run(&core, 1, false);
	memset(picture, 0xee, sizeof(picture));
	assert_int_equal(comes(&core, 1, 1), 0);
	assert_int_equal(picture[0], 0xee);
	intake_run(&core, 2, true);
	assert_int_equal(comes(&core, 1, 2), 0); /* it was on its way */
	assert_int_equal(comes(&core, 1, 3), -EPROTO);
	core = made();
	intake_run(&core, 1, true);
	intake_run(&core, 1, false);
	intake_run(&core, 2, true);
	assert_int_equal(comes(&core, 2, 1), 1);
	assert_true(intake_want(&core));
	assert_int_equal(comes(&core, 1, 1), -EPROTO); /* those of this run have begun */
	/* it is over in the middle of one */
	core = made();
	intake_run(&core, 1, true);
	assert_int_equal(intake_room(&core, picture, &at), CAMERA_HEAD);
	camera_head_write(&(struct camera_frame){.run = 1, .number = 1, .n_bytes = BYTES}, at);
	assert_int_equal(intake_got(&core, CAMERA_HEAD, NOW, &seen), 0);
	assert_int_equal(intake_room(&core, picture, &at), BYTES);
	assert_ptr_equal(at, picture);
	assert_int_equal(intake_got(&core, 100, NOW, &seen), 0);
	intake_run(&core, 1, false);
	for (size_t left = BYTES - 100; left > 0;) {
		size_t n = intake_room(&core, picture, &at);

		assert_true(n > 0 && n <= left && at == core.waste);
		left -= n;
		assert_int_equal(intake_got(&core, n, NOW, &seen), 0);
	}
	intake_run(&core, 2, true);
	assert_int_equal(comes(&core, 2, 1), 1);
}

/* CA03 */
static void test_sizes(void **unused _unused_)
{
	static const uint32_t sizes[] = {BYTES - 1, BYTES + 1, 1, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct intake core = made();
		struct intake_picture seen;

		intake_run(&core, 1, true);
		assert_int_equal(frame_comes(&core, (struct camera_frame){.run = 1, .number = 1, .n_bytes = sizes[i]},
					     100, NOW, &seen),
				 -EPROTO);
	}
}

/* CA03: a frame that begins and does not end. */
static void test_deadline(void **unused _unused_)
{
	struct intake core = made();
	struct intake_picture seen;
	uint8_t *at;

	intake_run(&core, 1, true);
	assert_true(intake_deadline(&core) == UINT64_MAX);
	(void)intake_room(&core, picture, &at);
	*at = CAMERA_FRAME;
	assert_int_equal(intake_got(&core, 1, NOW, &seen), 0);
	assert_true(intake_deadline(&core) == NOW + TIMEOUT_HEADER_USEC);
}

/* CA14: whatever the exporter's clock says, ours goes forward and never into the future. */
static void test_clock(void **unused _unused_)
{
	static const uint64_t stamps[] = {
		0, 1, UINT64_MAX, UINT64_MAX / 2, 5, NOW, NOW + 3600 * USEC_PER_SEC, 7, UINT64_MAX - 1};
	struct intake core = made();
	struct intake_picture seen;
	uint64_t last = 0;

	intake_run(&core, 1, true);
	for (uint32_t i = 0; i < 100; i++) {
		uint64_t now = NOW + i * 33333;

		assert_int_equal(frame_comes(&core,
					     (struct camera_frame){.run = 1,
								   .number = i + 1,
								   .stamp = stamps[i % ARRAY_SIZE(stamps)]},
					     4096, now, &seen),
				 1);
		assert_true(seen.usec > last && seen.usec <= now);
		last = seen.usec;
		(void)intake_want(&core);
	}
}

/* Frames that were delayed on their way were taken when they were taken, also for a clock that is 200 ppm slow, after an hour. */
static void test_delays(void **unused _unused_)
{
	struct intake core = made();
	struct intake_picture seen;

	intake_run(&core, 1, true);
	for (uint32_t i = 0; i < 30 * 3600; i++) {
		uint64_t taken = NOW + i * 33333ull, delay = i % 10 == 0 ? 2000 : 2000 + i * 7919ull % 20000;

		core.done = CAMERA_HEAD + BYTES - 1; /* the last byte of a frame */
		core.frame = (struct camera_frame){.run = 1, .number = i + 1, .stamp = taken - taken / 5000 + 12345};
		assert_int_equal(intake_got(&core, 1, taken + delay, &seen), 1);
		assert_true(seen.usec + 1000 > taken + 2000 && seen.usec < taken + 2000 + 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pictures), cmocka_unit_test(test_order),    cmocka_unit_test(test_runs),
		cmocka_unit_test(test_sizes),    cmocka_unit_test(test_deadline), cmocka_unit_test(test_clock),
		cmocka_unit_test(test_delays),
	};

	return cmocka_run_group_tests_name("camera-intake", tests, NULL, NULL);
}
