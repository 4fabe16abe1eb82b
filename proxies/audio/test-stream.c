/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The codec: what is written is read back, each other byte is refused or written back the same. */
#include "tests/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base.h"
#include "proxies/audio/stream.h"

static struct audio_hello sample(void)
{
	return (struct audio_hello){.kind = AUDIO_MIC,
				    .channels = 2,
				    .rate = 48000,
				    .vendor = 0x046d,
				    .product = 0x0a4d,
				    .serial = "S1",
				    .name = "Headset microphone (sys-usb)"};
}

static void test_hello(void **unused _unused_)
{
	struct audio_hello hello = sample(), back;
	uint8_t bytes[AUDIO_HELLO], again[AUDIO_HELLO];

	audio_hello_write(&hello, bytes);
	assert_int_equal(audio_hello_read(bytes, &back), 0);
	assert_memory_equal(&hello, &back, sizeof(hello));
	/* whatever is taken is written so: no two hellos mean the same */
	for (size_t i = 0; i < AUDIO_HELLO; i++) {
		for (unsigned int value = 0; value < 256; value++) {
			uint8_t before = bytes[i];

			bytes[i] = (uint8_t)value;
			if (audio_hello_read(bytes, &back) == 0) {
				audio_hello_write(&back, again);
				assert_memory_equal(bytes, again, AUDIO_HELLO);
			}
			bytes[i] = before;
		}
	}
}

/* AU03 */
static void test_bad_hellos(void **unused _unused_)
{
	static const struct {
		size_t at;
		uint8_t bytes[4];
		size_t len;
	} rows[] = {
		{0, {0}, 1},                      /* magic */
		{4, {1}, 1},                      /* version */
		{6, {0}, 1},                      /* kind */
		{6, {3}, 1},                      /**/
		{7, {0}, 1},                      /* channels */
		{7, {9}, 1},                      /**/
		{7, {255}, 1},                    /**/
		{8, {0, 0, 0, 0}, 4},             /* rate */
		{8, {0x81, 0xbb, 0, 0}, 4},       /* 48001 */
		{8, {0, 0, 0, 0x80}, 4},          /**/
		{8, {0xff, 0xff, 0xff, 0xff}, 4}, /**/
		{16, {'\n'}, 1},                  /* serial */
		{16, {0}, 1},                     /* and something behind its end */
		{16 + AUDIO_TEXT - 1, {'x'}, 1},  /**/
		{16 + AUDIO_TEXT, {0}, 1},        /* no name */
		{16 + AUDIO_TEXT + 3, {0x1b}, 1}, /**/
		{AUDIO_HELLO - 1, {'x'}, 1},      /**/
	};
	struct audio_hello hello = sample(), back;
	uint8_t bytes[AUDIO_HELLO];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		audio_hello_write(&hello, bytes);
		memcpy(bytes + rows[i].at, rows[i].bytes, rows[i].len);
		if (audio_hello_read(bytes, &back) != -EPROTO)
			fail_msg("row %zu is taken", i);
	}
}

static void test_words(void **unused _unused_)
{
	static const struct {
		uint8_t bytes[AUDIO_WORD];
		int r;
	} rows[] = {
		{{1, 0, AUDIO_VERSION, 0, 0, 0, 0, 0}, 0}, {{2, 0, 0, 0, 1, 0, 0, 0}, 0},
		{{3, 0, 0, 0, 255, 255, 255, 255}, 0},     {{0, 0, 0, 0, 1, 0, 0, 0}, -EPROTO},
		{{5, 0, 0, 0, 1, 0, 0, 0}, -EPROTO},       {{255, 0, 0, 0, 1, 0, 0, 0}, -EPROTO},
		{{1, 0, 0, 0, 0, 0, 0, 0}, -EPROTO},       {{1, 0, AUDIO_VERSION, 0, 1, 0, 0, 0}, -EPROTO},
		{{2, 1, 0, 0, 1, 0, 0, 0}, -EPROTO},       {{2, 0, 1, 0, 1, 0, 0, 0}, -EPROTO},
		{{2, 0, 0, 1, 1, 0, 0, 0}, -EPROTO},       {{2, 0, 0, 0, 0, 0, 0, 0}, -EPROTO},
		{{4, 1, 1, 0, 1, 0, 0, 0}, -EPROTO}, /* blocks: see test_heads() */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct audio_word word;
		uint8_t again[AUDIO_WORD];

		if (audio_word_read(rows[i].bytes, &word) != rows[i].r)
			fail_msg("row %zu", i);
		if (rows[i].r)
			continue;
		audio_word_write(word.type, word.run, again);
		assert_memory_equal(again, rows[i].bytes, AUDIO_WORD);
	}
}

static void test_heads(void **unused _unused_)
{
	static const struct audio_block rows[] = {{1, 1, 0, 0},
						  {AUDIO_BLOCK_FRAMES, UINT32_MAX, UINT64_MAX, UINT64_MAX}};
	static const struct audio_block bad[] = {{0, 1, 0, 0}, {AUDIO_BLOCK_FRAMES + 1, 1, 0, 0}, {1, 0, 0, 0}};
	uint8_t bytes[AUDIO_HEAD];
	struct audio_block back;
	struct audio_word word;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		audio_head_write(&rows[i], bytes);
		assert_int_equal(audio_head_read(bytes, &back), 0);
		assert_int_equal(back.n_frames, rows[i].n_frames);
		assert_int_equal(back.run, rows[i].run);
		assert_true(back.position == rows[i].position && back.stamp == rows[i].stamp);
		assert_int_equal(audio_word_read(bytes, &word), 0); /* its beginning says how long it is */
		assert_true(word.type == AUDIO_BLOCK && word.run == rows[i].run && word.n_frames == rows[i].n_frames);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		audio_head_write(&bad[i], bytes);
		assert_int_equal(audio_head_read(bytes, &back), -EPROTO);
		assert_int_equal(audio_word_read(bytes, &word), -EPROTO);
	}
	audio_word_write(AUDIO_START, 1, bytes);
	assert_int_equal(audio_head_read(bytes, &back), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_hello), cmocka_unit_test(test_bad_hellos),
					   cmocka_unit_test(test_words), cmocka_unit_test(test_heads)};

	return cmocka_run_group_tests_name("audio-stream", tests, NULL, NULL);
}
