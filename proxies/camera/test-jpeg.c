/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pictures through libturbojpeg and back: what is seen is what was taken, and what is no picture of the mode is none. */
#include "tests/unit.h"

#include <stdlib.h>
#include <string.h>

#include <turbojpeg.h>

#include "lib/base/base.h"
#include "proxies/camera/jpeg.h"

#define WIDTH 320
#define HEIGHT 240
#define FRAME ((size_t)WIDTH * HEIGHT * 3 / 2)

static const struct camera_mode mode = {WIDTH, HEIGHT, CAMERA_I420, 33333};

/* Up and down, evenly, between 32 and 224. */
static uint8_t wave(int at)
{
	int phase = at % 384;

	return (uint8_t)(32 + (phase < 192 ? phase : 384 - phase));
}

/* A picture with soft edges in all three planes. */
static void draw(uint8_t *frame)
{
	for (int y = 0; y < HEIGHT; y++)
		for (int x = 0; x < WIDTH; x++)
			*frame++ = wave(x * 3 + y * 2);
	for (int plane = 0; plane < 2; plane++)
		for (int y = 0; y < HEIGHT / 2; y++)
			for (int x = 0; x < WIDTH / 2; x++)
				*frame++ = wave(plane ? x * 2 : y * 2);
}

/* As a camera would send it: the chroma is spread out for subsamplings that have more of it. */
static size_t encode(const uint8_t *frame, int width, int height, int subsampling, uint8_t **ret_bytes)
{
	const int across = subsampling == TJSAMP_444 || subsampling == TJSAMP_440 ? 2 : 1;
	const int down = subsampling == TJSAMP_444 || subsampling == TJSAMP_422 ? 2 : 1;
	uint8_t *chroma = malloc(2u * WIDTH * HEIGHT);
	const uint8_t *planes[3] = {frame, chroma, chroma + WIDTH * HEIGHT};
	int strides[3] = {WIDTH, WIDTH / 2 * across, WIDTH / 2 * across};
	tjhandle handle = tjInitCompress();
	unsigned long len = 0;

	assert_non_null(chroma);
	for (int plane = 0; plane < 2; plane++)
		for (int y = 0; y < HEIGHT / 2 * down; y++)
			for (int x = 0; x < WIDTH / 2 * across; x++)
				chroma[plane * WIDTH * HEIGHT + y * strides[1] + x] =
					frame[(size_t)WIDTH * HEIGHT + (size_t)plane * WIDTH * HEIGHT / 4 +
					      (size_t)(y / down) * (WIDTH / 2) + (size_t)(x / across)];
	*ret_bytes = NULL;
	assert_int_equal(
		tjCompressFromYUVPlanes(handle, planes, width, strides, height, subsampling, ret_bytes, &len, 90, 0),
		0);
	(void)tjDestroy(handle);
	free(chroma);
	return len;
}

/* The mean of the squares of what differs; 6.5 is a PSNR of 40 dB, 20 one of 35. */
static double unlikeness(const uint8_t *a, const uint8_t *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (a[i] - b[i]) * (a[i] - b[i]);
	return sum / (double)n;
}

static void test_pictures(void **unused _unused_)
{
	static const int subsamplings[] = {TJSAMP_420, TJSAMP_422, TJSAMP_440, TJSAMP_444, TJSAMP_GRAY};
	uint8_t *frame = malloc(FRAME), *seen = malloc(FRAME + 1), *bytes;
	struct jpeg *jpeg;

	draw(frame);
	assert_int_equal(jpeg_new(&mode, &jpeg), 0);
	for (size_t i = 0; i < ARRAY_SIZE(subsamplings); i++) {
		size_t len = encode(frame, WIDTH, HEIGHT, subsamplings[i], &bytes), luma = (size_t)WIDTH * HEIGHT;

		memset(seen, 0, FRAME);
		seen[FRAME] = 0xaa;
		assert_true(jpeg_decode(jpeg, bytes, len, seen));
		assert_true(unlikeness(frame, seen, luma) < 6.5);
		if (subsamplings[i] != TJSAMP_GRAY)
			assert_true(unlikeness(frame + luma, seen + luma, luma / 2) < 20);
		for (size_t k = luma; k < FRAME && subsamplings[i] == TJSAMP_GRAY; k++)
			assert_int_equal(seen[k], 0x80);
		assert_int_equal(seen[FRAME], 0xaa);
		tjFree(bytes);
	}
	(void)jpeg_free(jpeg);
	free(frame);
	free(seen);
}

/* CA07: another size in the header, garbage, nothing; and whatever is cut off or turned around, nothing is written outside. */
static void test_bad(void **unused _unused_)
{
	uint8_t *frame = malloc(FRAME), *seen = malloc(FRAME), *bytes, *broken;
	struct jpeg *jpeg;
	size_t len;

	draw(frame);
	assert_int_equal(jpeg_new(&mode, &jpeg), 0);
	len = encode(frame, WIDTH - 16, HEIGHT, TJSAMP_420, &bytes);
	assert_false(jpeg_decode(jpeg, bytes, len, seen));
	tjFree(bytes);
	len = encode(frame, WIDTH, HEIGHT, TJSAMP_422, &bytes);
	assert_false(jpeg_decode(jpeg, bytes, 0, seen));
	assert_false(jpeg_decode(jpeg, frame, FRAME, seen));
	broken = malloc(len);
	srand(1);
	for (unsigned int i = 0; i < 2000; i++) {
		size_t n = i % 4 ? len : (size_t)rand() % len + 1;

		memcpy(broken, bytes, len);
		for (unsigned int k = 0; k < i % 7; k++)
			broken[i % 2 ? (size_t)rand() % n : (size_t)rand() % 700 % n] = (uint8_t)rand();
		(void)jpeg_decode(jpeg, broken, n, seen); /* sanitizers look */
	}
	tjFree(bytes);
	free(broken);
	(void)jpeg_free(jpeg);
	free(frame);
	free(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pictures), cmocka_unit_test(test_bad)};

	return cmocka_run_group_tests_name("camera-jpeg", tests, NULL, NULL);
}
