/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The codec: what is written is read back, each other byte is refused or written back the same. */
#include "tests/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base.h"
#include "proxies/camera/stream.h"

#define NAME_AT (16 + CAMERA_TEXT)
#define MODES_AT (16 + 2 * CAMERA_TEXT)

static struct camera_hello sample(void)
{
	return (struct camera_hello){.vendor = 0x046d,
				     .product = 0x082d,
				     .serial = "S1",
				     .name = "HD Pro Webcam",
				     .n_modes = 3,
				     .modes = {{640, 480, CAMERA_YUYV, 33333},
					       {1920, 1080, CAMERA_I420, 33333},
					       {1280, 720, CAMERA_NV12, 16666}}};
}

static void test_hello(void **unused _unused_)
{
	struct camera_hello hello = sample(), back;
	uint8_t bytes[CAMERA_HELLO], again[CAMERA_HELLO];

	camera_hello_write(&hello, bytes);
	assert_int_equal(camera_hello_read(bytes, &back), 0);
	assert_true(back.vendor == hello.vendor && back.product == hello.product && back.n_modes == hello.n_modes);
	assert_string_equal(back.serial, hello.serial);
	assert_string_equal(back.name, hello.name);
	for (size_t i = 0; i < hello.n_modes; i++)
		assert_true(camera_is_same_mode(&hello.modes[i], &back.modes[i]));
	/* whatever is taken is written so: no two hellos mean the same */
	for (size_t i = 0; i < CAMERA_HELLO; i++) {
		uint8_t before = bytes[i];

		for (unsigned int value = 0; value < 256; value++) {
			bytes[i] = (uint8_t)value;
			if (camera_hello_read(bytes, &back) == 0) {
				camera_hello_write(&back, again);
				assert_memory_equal(bytes, again, CAMERA_HELLO);
			}
		}
		bytes[i] = before;
	}
}

/* CA02 and what else no camera of ours can say. */
static void test_bad_hellos(void **unused _unused_)
{
	static const struct {
		size_t at;
		uint8_t bytes[4];
		size_t len;
	} rows[] = {
		{0, {0}, 1},                              /* magic */
		{4, {2}, 1},                              /* version */
		{6, {0}, 1},                              /* no mode */
		{6, {2}, 1},                              /* fewer than there are */
		{6, {4}, 1},                              /* more */
		{6, {CAMERA_MODES + 1}, 1},               /**/
		{6, {255}, 1},                            /**/
		{7, {1}, 1},                              /**/
		{12, {1}, 1},                             /**/
		{16, {0x1b}, 1},                          /* serial */
		{NAME_AT, {0}, 1},                        /* no name */
		{NAME_AT, {0, 'x'}, 2},                   /* something behind its end */
		{MODES_AT, {0, 0}, 2},                    /* width */
		{MODES_AT, {14, 0}, 2},                   /**/
		{MODES_AT, {17, 0}, 2},                   /* odd */
		{MODES_AT, {2, 16}, 2},                   /* 4098 */
		{MODES_AT, {255, 255}, 2},                /**/
		{MODES_AT + 2, {0, 0}, 2},                /* height */
		{MODES_AT + 2, {255, 255}, 2},            /**/
		{MODES_AT + 4, {0}, 1},                   /* format */
		{MODES_AT + 4, {4}, 1},                   /**/
		{MODES_AT + 5, {1}, 1},                   /**/
		{MODES_AT + 6, {0, 1}, 2},                /**/
		{MODES_AT + 8, {0, 0, 0, 0}, 4},          /* interval: endless pictures */
		{MODES_AT + 8, {0x8c, 0x20, 0, 0}, 4},    /* 8332: more than 120 a second */
		{MODES_AT + 8, {0x41, 0x42, 0x0f, 0}, 4}, /* 1,000,001 */
		{MODES_AT + 8, {255, 255, 255, 255}, 4},  /**/
		{CAMERA_HELLO - 1, {1}, 1},               /**/
	};
	struct camera_hello hello = sample(), back;
	uint8_t bytes[CAMERA_HELLO];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		camera_hello_write(&hello, bytes);
		memcpy(bytes + rows[i].at, rows[i].bytes, rows[i].len);
		if (camera_hello_read(bytes, &back) != -EPROTO)
			fail_msg("row %zu is taken", i);
	}
	hello.modes[2] = hello.modes[0]; /* one of them twice */
	camera_hello_write(&hello, bytes);
	assert_int_equal(camera_hello_read(bytes, &back), -EPROTO);
}

static void test_frame_bytes(void **unused _unused_)
{
	static const struct {
		struct camera_mode mode;
		uint32_t bytes;
	} rows[] = {
		{{640, 480, CAMERA_YUYV, 33333}, 614400},
		{{640, 480, CAMERA_NV12, 33333}, 460800},
		{{1920, 1080, CAMERA_I420, 33333}, 3110400},
		{{LIMIT_PICTURE_SIDE_MAX, LIMIT_PICTURE_SIDE_MAX, CAMERA_YUYV, 33333}, 33554432},
		{{16, 18, CAMERA_I420, 33333}, 432},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(camera_is_mode(&rows[i].mode));
		assert_int_equal(camera_frame_bytes(&rows[i].mode), rows[i].bytes);
	}
}

static void test_words(void **unused _unused_)
{
	static const struct {
		uint8_t bytes[CAMERA_WORD];
		int r;
	} rows[] = {
		{{1, 0, CAMERA_VERSION, 0, 0, 0, 0, 0}, 0},
		{{1, CAMERA_MODES - 1, CAMERA_VERSION, 0, 0, 0, 0, 0}, 0},
		{{2, 0, 0, 0, 1, 0, 0, 0}, 0},
		{{3, 0, 0, 0, 255, 255, 255, 255}, 0},
		{{4, 0, 0, 0, 1, 0, 0, 0}, 0},
		{{0, 0, 0, 0, 1, 0, 0, 0}, -EPROTO},
		{{5, 0, 0, 0, 1, 0, 0, 0}, -EPROTO},
		{{255, 0, 0, 0, 1, 0, 0, 0}, -EPROTO},
		{{1, 0, CAMERA_VERSION + 1, 0, 0, 0, 0, 0}, -EPROTO},
		{{1, CAMERA_MODES, CAMERA_VERSION, 0, 0, 0, 0, 0}, -EPROTO},
		{{1, 0, CAMERA_VERSION, 0, 1, 0, 0, 0}, -EPROTO},
		{{2, 1, 0, 0, 1, 0, 0, 0}, -EPROTO},
		{{2, 0, 1, 0, 1, 0, 0, 0}, -EPROTO},
		{{2, 0, 0, 1, 1, 0, 0, 0}, -EPROTO},
		{{2, 0, 0, 0, 0, 0, 0, 0}, -EPROTO},
		{{4, 0, 0, 0, 0, 0, 0, 0}, -EPROTO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct camera_word word;
		uint8_t again[CAMERA_WORD];

		if (camera_word_read(rows[i].bytes, &word) != rows[i].r)
			fail_msg("row %zu", i);
		if (rows[i].r)
			continue;
		camera_word_write(word.type, word.mode, word.run, again);
		assert_memory_equal(again, rows[i].bytes, CAMERA_WORD);
	}
}

/* CA03, CA05: no frame is taken that has not exactly the bytes of the session's. */
static void test_heads(void **unused _unused_)
{
	static const struct {
		struct camera_frame frame;
		uint32_t n_bytes;
		int r;
	} rows[] = {
		{{1, 1, 460800, 0}, 460800, 0},       {{UINT32_MAX, UINT32_MAX, 460800, UINT64_MAX}, 460800, 0},
		{{0, 1, 460800, 0}, 460800, -EPROTO}, {{1, 0, 460800, 0}, 460800, -EPROTO},
		{{1, 1, 460799, 0}, 460800, -EPROTO}, {{1, 1, 460801, 0}, 460800, -EPROTO},
		{{1, 1, 0, 0}, 460800, -EPROTO},      {{1, 1, UINT32_MAX, 0}, 460800, -EPROTO},
	};
	uint8_t bytes[CAMERA_HEAD];
	struct camera_frame back;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct camera_frame *frame = &rows[i].frame;

		camera_head_write(frame, bytes);
		if (camera_head_read(bytes, rows[i].n_bytes, &back) != rows[i].r)
			fail_msg("row %zu", i);
		if (rows[i].r == 0)
			assert_true(back.run == frame->run && back.number == frame->number &&
				    back.n_bytes == frame->n_bytes && back.stamp == frame->stamp);
	}
	for (size_t at = 0; at < 4; at++) {
		camera_head_write(&rows[0].frame, bytes);
		bytes[at] ^= 1;
		assert_int_equal(camera_head_read(bytes, rows[0].n_bytes, &back), -EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_hello), cmocka_unit_test(test_bad_hellos),
					   cmocka_unit_test(test_frame_bytes), cmocka_unit_test(test_words),
					   cmocka_unit_test(test_heads)};

	return cmocka_run_group_tests_name("camera-stream", tests, NULL, NULL);
}
