/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is heard of another end that is honest, slow, gone, too fast, or lies. Samples say where they stood. */
#include "tests/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base.h"
#include "proxies/audio/receiver.h"

#define RATE 48000u
#define MSEC USEC_PER_MSEC
#define FRAMES(msec) ((msec)*RATE / 1000)
#define START_USEC (1000 * MSEC)

static const struct audio_hello hello = {.kind = AUDIO_MIC, .channels = 2, .rate = RATE};

/* A target, and all that its program has heard. */
struct target {
	struct receiver core;
	uint64_t n_silent, n_frames; /* heard */
	uint32_t last;               /* sample: its position, from 1 */
	bool in_order;
};

static void target_init(struct target *t, enum receiver_takes takes, bool own_clock)
{
	memset(t, 0, sizeof(*t));
	t->in_order = true;
	receiver_init(&t->core, &hello, takes, own_clock, START_USEC);
	receiver_open(&t->core, true, START_USEC);
	receiver_run(&t->core, 1, true);
}

static void hear(struct target *t, const struct receiver_sound *sound)
{
	t->n_silent += sound->n_silent;
	for (size_t i = 0; i < sound->n_frames; i++) {
		uint32_t sample = get_le32(sound->frames + 4 * i);

		t->in_order = t->in_order && sample > t->last;
		t->last = sample;
		t->n_frames++;
	}
}

/* Gives it bytes, as many at once as it wants; false: it wants no more now. *ret_r: what it said. */
static bool give(struct target *t, const uint8_t *bytes, size_t len, uint64_t now_usec, int *ret_r)
{
	*ret_r = 0;
	while (len > 0) {
		struct receiver_sound sound;
		struct audio_word word;
		uint8_t *at;
		size_t want = receiver_want(&t->core, now_usec, &at), n = want < len ? want : len;

		if (!want)
			return false;
		memcpy(at, bytes, n);
		*ret_r = receiver_got(&t->core, n, now_usec, &word, &sound);
		if (*ret_r)
			return true;
		hear(t, &sound);
		bytes += n;
		len -= n;
	}
	return true;
}

static size_t make_block(uint32_t run, uint64_t position, uint16_t n_frames, uint64_t stamp,
			 uint8_t bytes[AUDIO_HEAD + 4 * AUDIO_BLOCK_FRAMES])
{
	audio_head_write(&(struct audio_block){n_frames, run, position, stamp}, bytes);
	for (uint32_t i = 0; i < n_frames; i++)
		put_le32(bytes + AUDIO_HEAD + 4 * (size_t)i, (uint32_t)position + i + 1);
	return AUDIO_HEAD + 4 * (size_t)n_frames;
}

/* A block of 5 ms whose last frame was heard at `stamp`, which is now unless it was held up. */
static void block_at(struct target *t, uint64_t position, uint64_t stamp, uint64_t now_usec)
{
	uint8_t bytes[AUDIO_HEAD + 4 * AUDIO_BLOCK_FRAMES];
	int r;

	assert_true(give(t, bytes, make_block(t->core.run, position, 240, stamp, bytes), now_usec, &r));
	assert_int_equal(r, 0);
}

/* Blocks each 5 ms from `from` to `to`, milliseconds after START_USEC, at the position that they have by the clock. */
static void stream(struct target *t, unsigned int from, unsigned int to)
{
	for (unsigned int msec = from; msec < to; msec += 5)
		block_at(t, FRAMES(msec), START_USEC + msec * MSEC, START_USEC + msec * MSEC);
}

static void be_silent(struct target *t, unsigned int until)
{
	for (;;) {
		uint64_t due = receiver_deadline(&t->core, t->core.heard_usec);

		if (due > START_USEC + until * MSEC)
			return;
		t->n_silent += receiver_silence(&t->core, due);
	}
}

static void test_stream(void **unused _unused_)
{
	struct target t;

	target_init(&t, RECEIVER_BLOCKS, false);
	stream(&t, 0, 1000);
	assert_int_equal(t.n_frames, RATE);
	assert_int_equal(t.last, RATE);
	assert_true(t.in_order && t.n_silent == 0);
	assert_int_equal(receiver_silence(&t.core, START_USEC + 1050 * MSEC), 0);
}

/* What the exporter's channel had no room for is silence of the same length. */
static void test_lost(void **unused _unused_)
{
	struct target t;

	target_init(&t, RECEIVER_BLOCKS, false);
	stream(&t, 0, 100);
	stream(&t, 150, 200);
	assert_int_equal(t.n_silent, FRAMES(50));
	assert_int_equal(t.n_frames + t.n_silent, FRAMES(200));
	block_at(&t, UINT64_MAX - 1000, START_USEC + 205 * MSEC, START_USEC + 205 * MSEC); /* at most so much */
	assert_int_equal(t.n_silent, FRAMES(50) + FRAMES(200));
}

/* Nothing comes for a while: silence by the clock; then what was held up comes, for which silence has stood already. */
static void test_stall(void **unused _unused_)
{
	struct target t;

	target_init(&t, RECEIVER_BLOCKS, false);
	stream(&t, 0, 1000);
	be_silent(&t, 1340);
	assert_in_range(t.n_silent, FRAMES(310), FRAMES(345));
	for (unsigned int msec = 1000; msec < 1340; msec += 5) /* all at once */
		block_at(&t, FRAMES(msec), START_USEC + msec * MSEC, START_USEC + 1340 * MSEC);
	stream(&t, 1340, 2000);
	assert_true(t.in_order);
	assert_in_range(t.n_frames + t.n_silent, FRAMES(1960), FRAMES(2060));
	assert_true(t.core.n_late >= FRAMES(250));
}

/* The source itself stood still: its next samples are no later than the others, and are heard. */
static void test_pause(void **unused _unused_)
{
	struct target t;
	uint64_t position = FRAMES(1000);

	target_init(&t, RECEIVER_BLOCKS, false);
	stream(&t, 0, 1000);
	be_silent(&t, 4000);
	for (unsigned int msec = 4000; msec < 4100; msec += 5, position += 240)
		block_at(&t, position, START_USEC + msec * MSEC, START_USEC + msec * MSEC);
	assert_int_equal(t.n_frames, FRAMES(1100));
	assert_int_equal(t.core.n_late, 0);
}

/* We ourselves stood still: what is older than AUDIO_OLD_USEC is not heard any more, and the delay is gone. */
static void test_old(void **unused _unused_)
{
	struct target t;

	target_init(&t, RECEIVER_BLOCKS, true);
	stream(&t, 0, 1000);
	for (unsigned int msec = 1000; msec < 1340; msec += 5)
		block_at(&t, FRAMES(msec), START_USEC + msec * MSEC, START_USEC + 1340 * MSEC);
	assert_in_range(t.core.n_late, FRAMES(130), FRAMES(145));
	assert_int_equal(t.last, FRAMES(1340));
}

/* No sample of a run is heard in another; none at all while nobody listens. AU01 */
static void test_runs(void **unused _unused_)
{
	struct target t;
	uint8_t bytes[AUDIO_HEAD + 4 * AUDIO_BLOCK_FRAMES];
	size_t len;
	int r;

	target_init(&t, RECEIVER_BLOCKS, false);
	stream(&t, 0, 20);
	receiver_open(&t.core, false, START_USEC + 20 * MSEC);
	stream(&t, 20, 40); /* it does not know yet */
	assert_int_equal(t.n_frames, FRAMES(20));
	assert_int_equal(receiver_silence(&t.core, START_USEC + USEC_PER_SEC), 0);
	receiver_run(&t.core, 1, false);
	receiver_open(&t.core, true, START_USEC + 40 * MSEC);
	len = make_block(1, FRAMES(40), 240, START_USEC + 40 * MSEC, bytes);
	assert_true(give(&t, bytes, len, START_USEC + 40 * MSEC, &r) && r == 0);
	receiver_run(&t.core, 2, true);
	assert_true(give(&t, bytes, len, START_USEC + 41 * MSEC, &r) && r == 0);
	assert_int_equal(t.n_frames, FRAMES(20));
	block_at(&t, 7000, 5, START_USEC + 45 * MSEC); /* a run may begin anywhere: what was before it was lost */
	assert_int_equal(t.n_frames, FRAMES(25));
}

/* Where START and STOP come with the blocks, none is on its way: one that is of no run that is on is a lie. */
static void test_runs_with_words(void **unused _unused_)
{
	static const struct {
		uint32_t run; /* of the receiver */
		bool on;
		uint32_t block_run;
		int r;
	} rows[] = {{1, true, 1, 0},        {1, false, 1, -EPROTO}, {2, true, 1, -EPROTO},
		    {2, false, 1, -EPROTO}, {1, true, 2, -EPROTO},  {0, false, 1, -EPROTO}};
	uint8_t bytes[AUDIO_HEAD + 4 * AUDIO_BLOCK_FRAMES];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct target t;
		int r;

		target_init(&t, RECEIVER_BOTH, true);
		receiver_run(&t.core, rows[i].run, rows[i].on);
		(void)give(&t, bytes, make_block(rows[i].block_run, 0, 240, START_USEC, bytes), START_USEC, &r);
		if (r != rows[i].r || t.n_frames != (r ? 0 : 240))
			fail_msg("row %zu: %d", i, r);
	}
}

/* Words are handed on between blocks, where they are taken at all; and blocks only where those are. */
static void test_takes(void **unused _unused_)
{
	static const struct {
		enum receiver_takes takes;
		int word, block;
	} rows[] = {{RECEIVER_NOTHING, -EPROTO, -EPROTO},
		    {RECEIVER_WORDS, 1, -EPROTO},
		    {RECEIVER_BLOCKS, -EPROTO, 0},
		    {RECEIVER_BOTH, 1, 0}};
	uint8_t bytes[AUDIO_HEAD + 4 * AUDIO_BLOCK_FRAMES];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct receiver_sound sound;
		struct audio_word word = {.run = 0};
		struct target t;
		uint8_t *at;
		int r;

		target_init(&t, rows[i].takes, true);
		(void)give(&t, bytes, make_block(1, 0, 240, START_USEC, bytes), START_USEC, &r);
		assert_int_equal(r, rows[i].block);
		target_init(&t, rows[i].takes, true);
		if (rows[i].block == 0)
			block_at(&t, 0, START_USEC, START_USEC);
		assert_int_equal(receiver_want(&t.core, START_USEC, &at), AUDIO_WORD);
		audio_word_write(AUDIO_STOP, 1, at);
		assert_int_equal(receiver_got(&t.core, AUDIO_WORD, START_USEC, &word, &sound), rows[i].word);
		if (rows[i].word == 1)
			assert_true(word.type == AUDIO_STOP && word.run == 1);
		if (rows[i].word == 1 && rows[i].block == 0)
			block_at(&t, 240, START_USEC, START_USEC);
	}
}

static void test_lies(void **unused _unused_)
{
	static const struct {
		uint32_t run;
		uint64_t position;
		uint16_t n_frames;
		int r;
	} rows[] = {
		{1, 240, 240, 0},       {1, 239, 240, -EPROTO},      {1, 0, 240, -EPROTO},
		{2, 240, 240, -EPROTO}, {UINT32_MAX, 0, 1, -EPROTO}, {0, 240, 240, -EPROTO},
		{1, 240, 0, -EPROTO},   {1, 240, 481, -EPROTO},      {1, UINT64_MAX, 480, 0},
	};
	uint8_t bytes[AUDIO_HEAD + 4 * 0x10000];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct target t;
		int r;

		target_init(&t, RECEIVER_BLOCKS, false);
		stream(&t, 0, 5);
		memset(bytes, 0, sizeof(bytes));
		audio_head_write(&(struct audio_block){rows[i].n_frames, rows[i].run, rows[i].position, 0}, bytes);
		(void)give(&t, bytes, AUDIO_HEAD + 4 * (size_t)(rows[i].n_frames ? rows[i].n_frames : 1), START_USEC,
			   &r);
		if (r != rows[i].r)
			fail_msg("row %zu: %d", i, r);
	}
}

/* AU05: as fast as can be, in large blocks or in those of one frame: it is taken no faster than sound is. */
static void test_too_fast(void **unused _unused_)
{
	static const uint16_t sizes[] = {480, 240, 1};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct target t;
		uint64_t position = 0, n_blocks = 0;

		target_init(&t, RECEIVER_BLOCKS, false);
		for (uint64_t now = START_USEC; now < START_USEC + 10 * USEC_PER_SEC; now += MSEC) {
			uint8_t bytes[AUDIO_HEAD + 4 * AUDIO_BLOCK_FRAMES];
			uint8_t *at;

			for (unsigned int k = 0; k < 10000 && receiver_want(&t.core, now, &at) > 0; k++) {
				int r;

				assert_true(give(&t, bytes, make_block(1, position, sizes[i], now, bytes), now, &r));
				assert_int_equal(r, 0);
				position += sizes[i];
				n_blocks++;
			}
			assert_int_equal(receiver_want(&t.core, now, &at), 0);
			assert_in_range(receiver_deadline(&t.core, now), now + 1, now + 20 * MSEC);
		}
		assert_true(t.n_frames <= FRAMES(10500) + 480);
		assert_true(n_blocks <= 10600);
		if (sizes[i] > 1)
			assert_true(t.n_frames >= FRAMES(9900)); /* and no slower */
	}
}

/* All that comes is old, as behind a full ring: there is silence in its place, by the clock, and no delay. */
static void test_always_old(void **unused _unused_)
{
	struct target t;

	target_init(&t, RECEIVER_BLOCKS, false);
	stream(&t, 0, 100);
	for (unsigned int msec = 100; msec < 3100; msec += 5) {
		uint64_t now = START_USEC + msec * MSEC;

		block_at(&t, FRAMES(msec), now - 2 * AUDIO_OLD_USEC, now);
		while (receiver_deadline(&t.core, now) <= now)
			t.n_silent += receiver_silence(&t.core, now);
	}
	assert_int_equal(t.n_frames, FRAMES(100));
	assert_in_range(t.n_silent, FRAMES(2900), FRAMES(3000));
}

/* Clocks that differ: it is no delay, for hours. */
static void test_clocks(void **unused _unused_)
{
	static const int ppm[] = {-300, 300, -900};

	for (size_t i = 0; i < ARRAY_SIZE(ppm); i++) {
		struct target t;
		uint64_t n = 720000; /* an hour of blocks */

		target_init(&t, RECEIVER_BLOCKS, false);
		for (uint64_t k = 0; k < n; k++) {
			uint64_t at = k * 5 * MSEC;

			block_at(&t, k * 240, (uint64_t)((int64_t)at + (int64_t)at / 1000000 * ppm[i]),
				 START_USEC + at);
		}
		assert_int_equal(t.n_frames, n * 240);
		assert_int_equal(t.core.n_late, 0);
	}
}

static void test_own_clock(void **unused _unused_)
{
	struct target t;

	target_init(&t, RECEIVER_BLOCKS, true);
	stream(&t, 0, 100);
	assert_int_equal(receiver_silence(&t.core, START_USEC + USEC_PER_SEC), 0);
	assert_true(receiver_deadline(&t.core, START_USEC + 100 * MSEC) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream),    cmocka_unit_test(test_lost),
		cmocka_unit_test(test_stall),     cmocka_unit_test(test_pause),
		cmocka_unit_test(test_old),       cmocka_unit_test(test_runs),
		cmocka_unit_test(test_lies),      cmocka_unit_test(test_too_fast),
		cmocka_unit_test(test_clocks),    cmocka_unit_test(test_always_old),
		cmocka_unit_test(test_own_clock), cmocka_unit_test(test_runs_with_words),
		cmocka_unit_test(test_takes),
	};

	return cmocka_run_group_tests_name("audio-receiver", tests, NULL, NULL);
}
