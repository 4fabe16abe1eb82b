/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A server that takes what waits at its own pace, so much at once as it likes: nothing runs out, and nothing grows. */
#include "tests/unit.h"

#include <string.h>

#include "lib/base/base.h"
#include "proxies/audio/pace.h"

#define RATE 48000u
#define BLOCK 240u
#define SECONDS 180u
#define SETTLED 60u /* seconds */

static const struct audio_hello stereo = {.channels = 2, .rate = RATE}, mono = {.channels = 1, .rate = 16000};

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

static void test_clocks(void **unused _unused_)
{
	static const double ppms[] = {0, 300, -300, 1000};
	static const unsigned int quanta[] = {128, 256, 1024, 2048};

	for (size_t i = 0; i < ARRAY_SIZE(ppms) * ARRAY_SIZE(quanta); i++) {
		struct world w = {
			.ppm = ppms[i / ARRAY_SIZE(quanta)], .q = quanta[i % ARRAY_SIZE(quanta)], .next = 0.03};
		static const uint8_t block[BLOCK * 4];
		int16_t samples[PACE_FRAMES * AUDIO_CHANNELS];
		double most = 0, sum = 0;
		unsigned int n = 0, silent_late = 0;

		assert_int_equal(pace_new(&stereo, &w.pace), 0);
		w.waits = (double)pace_begin(w.pace);
		for (unsigned int k = 0; k < SECONDS * RATE / BLOCK; k++) {
			double now = k * (double)BLOCK / RATE;
			size_t silent;

			take(&w, now);
			silent = pace_waiting(w.pace, (size_t)w.waits, (uint64_t)(now * 1e6) + 1);
			w.waits += (double)silent + (double)pace_resample(w.pace, block, BLOCK, samples);
			if (now < SETTLED)
				continue;
			silent_late += silent > 0;
			most = w.waits > most ? w.waits : most;
			sum += pace_ppm(w.pace);
			n++;
		}
		if (silent_late || most > w.q + BLOCK + 3 * PACE_LEAST_USEC * RATE / 1e6 || sum / n - w.ppm > 60 ||
		    sum / n - w.ppm < -60)
			fail_msg("clock %+.0f ppm, %u at once: ran out %u times, at most %.0f wait, %+.0f ppm", w.ppm,
				 w.q, silent_late, most, sum / n);
		w.pace = pace_free(w.pace);
	}
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

	assert_int_equal(pace_new(&mono, &pace), 0);
	(void)pace_begin(pace);
	for (unsigned int k = 0; k < 1000; k++) { /* 10 s of 440 Hz */
		size_t n;

		for (size_t i = 0; i < 160; i++) {
			double sample = TWICE_COS * before[0] - before[1];

			before[1] = before[0];
			before[0] = sample;
			put_le16(frames + 2 * i, (uint16_t)(int16_t)sample);
		}
		(void)pace_waiting(pace, 120, (uint64_t)k * 10000 + 1); /* more than there should be: it slows down */
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
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_clocks), cmocka_unit_test(test_tone)};

	return cmocka_run_group_tests_name("audio-pace", tests, NULL, NULL);
}
