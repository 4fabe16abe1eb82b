/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A server that takes what waits at its own pace, so much at once as it likes: nothing runs out, and nothing grows. */
#include "tests/unit.h"

#include <string.h>

#include "lib/base/base.h"
#include "proxies/audio/pace.h"

#define RATE 48000u
#define BLOCK 240u
#define SECONDS 120u
#define SETTLED 60u /* seconds */
#define STALL_EVERY 3u
#define LEAST (PACE_LEAST_USEC * RATE / 1e6) /* frames */
#define MOST (PACE_MOST_USEC * RATE / 1e6)

static const struct audio_hello fast = {.channels = 1, .rate = RATE}, slow = {.channels = 1, .rate = 16000};

struct world {
	struct pace *pace;
	double ppm;     /* how much faster the server's clock is */
	unsigned int q; /* frames that it takes at once */
	double waits;   /* frames in the pipe */
	double next;    /* seconds, when it takes the next */
};

static void take(struct world *w, double now)
{
	for (; w->next <= now; w->next += w->q / (RATE * (1 + w->ppm * 1e-6)))
		w->waits = w->waits >= w->q ? w->waits - w->q : 0; /* what is missing is silence */
}

/* What was seen of a time. */
struct seen {
	double least, most, ppm; /* frames before a block came and after it; the mean */
	unsigned int n_empty;
};

/* Blocks come each in its time, but for those of the first `late` of each STALL_EVERY seconds, which come at the end of that. */
static struct seen play(struct world *w, unsigned int begin, unsigned int end, double late)
{
	static const uint8_t block[BLOCK * 2];
	int16_t samples[PACE_FRAMES * AUDIO_CHANNELS];
	struct seen seen = {.least = 1e9};
	unsigned int n_blocks = RATE / BLOCK;

	for (unsigned int k = begin * n_blocks; k < end * n_blocks; k++) {
		double now = k * (double)BLOCK / RATE, stall = k / (STALL_EVERY * n_blocks) * (double)STALL_EVERY;
		size_t silent;

		now = now < stall + late ? stall + late : now;
		take(w, now);
		seen.least = w->waits < seen.least ? w->waits : seen.least;
		seen.n_empty += w->waits < 1;
		silent = pace_waiting(w->pace, (size_t)w->waits, BLOCK, (uint64_t)(now * 1e6) + 1);
		w->waits += (double)silent + (double)pace_resample(w->pace, block, BLOCK, samples);
		seen.most = w->waits > seen.most ? w->waits : seen.most;
		seen.ppm += pace_ppm(w->pace) / (end - begin) / n_blocks;
	}
	return seen;
}

static struct world world_new(double ppm, unsigned int q)
{
	struct world w = {.ppm = ppm, .q = q, .next = 0.03};

	assert_int_equal(pace_new(&fast, &w.pace), 0);
	w.waits = (double)pace_begin(w.pace);
	return w;
}

static void test_clocks(void **unused _unused_)
{
	static const double ppms[] = {0, 300, -300, 1000};
	static const unsigned int quanta[] = {128, 256, 1024, 2048};

	for (size_t i = 0; i < ARRAY_SIZE(ppms) * ARRAY_SIZE(quanta); i++) {
		struct world w = world_new(ppms[i / ARRAY_SIZE(quanta)], quanta[i % ARRAY_SIZE(quanta)]);
		struct seen seen;

		(void)play(&w, 0, SETTLED, 0);
		seen = play(&w, SETTLED, SECONDS, 0);
		if (seen.n_empty || seen.most > w.q + BLOCK + 3 * LEAST || seen.ppm - w.ppm > 60 ||
		    seen.ppm - w.ppm < -60)
			fail_msg("clock %+.0f ppm, %u at once: ran out %u times, at most %.0f wait, %+.0f ppm", w.ppm,
				 w.q, seen.n_empty, seen.most, seen.ppm);
		w.pace = pace_free(w.pace);
	}
}

/* Who is late again and again is waited for, and not for ever. */
static void test_late(void **unused _unused_)
{
	static const double lates[] = {0.004, 0.018};

	for (size_t i = 0; i < ARRAY_SIZE(lates); i++) {
		struct world w = world_new(-300, 256);
		struct seen calm, late, after;

		calm = play(&w, 0, SETTLED, 0);
		(void)play(&w, SETTLED, 2 * SETTLED, lates[i]);
		late = play(&w, 2 * SETTLED, 4 * SETTLED, lates[i]);
		(void)play(&w, 4 * SETTLED, 12 * SETTLED, 0);
		after = play(&w, 12 * SETTLED, 13 * SETTLED, 0);
		if (late.n_empty || late.most > MOST + BLOCK + w.q + lates[i] * RATE || calm.n_empty ||
		    after.least > 1.5 * LEAST || after.n_empty)
			fail_msg("%.0f ms late: ran out %u, then %u and %u times, %.0f to %.0f wait, at last %.0f",
				 lates[i] * 1e3, calm.n_empty, late.n_empty, after.n_empty, late.least, late.most,
				 after.least);
		w.pace = pace_free(w.pace);
	}
}

/* Who is too late for any reserve costs no more than that. */
static void test_too_late(void **unused _unused_)
{
	struct world w = world_new(0, 256);
	struct seen seen;

	(void)play(&w, 0, SETTLED, 0.08);
	seen = play(&w, SETTLED, SECONDS, 0.08);
	assert_in_range(seen.n_empty, 1, 2 * (SECONDS - SETTLED) / STALL_EVERY);
	assert_true(seen.most < 0.08 * RATE + BLOCK + w.q);
	w.pace = pace_free(w.pace);
}

/* 440 Hz at 16 kHz and 10000: each sample is twice the cosine of a step by the last, less the one before. */
#define TWICE_COS 1.970218652309548
#define SIN 1719.291002794

/* A tone comes out as a tone, of the same height and loudness. */
static void test_tone(void **unused _unused_)
{
	struct pace *pace;
	uint8_t frames[160 * 2];
	int16_t samples[PACE_FRAMES * AUDIO_CHANNELS];
	unsigned int n_up = 0, n_out = 0;
	double before[2] = {0, -SIN}; /* of the tone, the last sample first */
	int last = 0, peak = 0;

	assert_int_equal(pace_new(&slow, &pace), 0);
	(void)pace_begin(pace);
	for (unsigned int k = 0; k < 1000; k++) { /* 10 s of 440 Hz */
		size_t n;

		for (size_t i = 0; i < 160; i++) {
			double sample = TWICE_COS * before[0] - before[1];

			before[1] = before[0];
			before[0] = sample;
			put_le16(frames + 2 * i, (uint16_t)(int16_t)sample);
		}
		(void)pace_waiting(pace, 120, 160,
				   (uint64_t)k * 10000 + 1); /* more than there should be: it slows down */
		n = pace_resample(pace, frames, 160, samples);
		for (size_t i = 0; i < n; i++, n_out++) {
			n_up += n_out > 100 && last < 0 && samples[i] >= 0; /* the filter rings at its beginning */
			last = samples[i];
			peak = samples[i] > peak ? samples[i] : peak;
		}
	}
	assert_in_range(n_out, 159600, 159970);
	assert_in_range(n_up, 4396, 4399);
	assert_in_range(peak, 9800, 10200);
	pace_free(pace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_clocks), cmocka_unit_test(test_late),
					   cmocka_unit_test(test_too_late), cmocka_unit_test(test_tone)};

	return cmocka_run_group_tests_name("audio-pace", tests, NULL, NULL);
}
