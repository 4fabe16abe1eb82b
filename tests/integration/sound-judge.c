/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has become of a sound on its way: compares a recording with the sound that was played, which repeats for ever.
 *
 *     sound-judge PLAYED SKIP <RECORDED      raw, 48,000 Hz, two channels of 16 bits; SKIP: seconds that are not judged
 *
 * The recording is aligned with the sound piece by piece, to a quarter of a sample, by differences from sample to sample, in which
 * deep tones count for little. The alignment may creep, as the clocks of both ends do; where it jumps, something was lost or
 * came twice (or silence came in between). Prints one line, before it "jump SECONDS FRAMES" for each (since the recording began):
 *
 *     heard seconds N worst C mean C level-low DB level-high DB ppm P jumps N lost N repeated N strange N
 *
 * "ppm" is how much faster the sound went by than it was played, in the second half, when the clocks are known. "worst" and
 * "mean" are of the correlation, over tenths of a second, but for those in which it jumped; the levels are of whole seconds without a
 * jump, recorded against played; "lost", "repeated" and "strange" (what is nowhere in the sound) count frames.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <speex/speex_resampler.h>

#include "lib/base/base.h"

#define RATE 48000u
#define CHANNELS 2u
#define PHASES 4u   /* alignments between two samples */
#define CREEP 4     /* phases, for a piece: 2000 ppm, the most that a clock is followed, is 3.84 */
#define PIECE 480u  /* frames that are aligned at once */
#define LONG 960u   /* where the alignment is not known */
#define FAR 14400   /* frames that it is looked for before and behind */
#define TENTH 10u   /* pieces */
#define SECOND 100u /* pieces */
#define GOOD 0.75   /* a piece that is less like the sound is somewhere else in it */
#define JUMPS 500u  /* more need not be looked at */

struct sound {
	float *channel[CHANNELS]; /* n samples each; of what was played, `PHASES` for each frame */
	size_t n;
};

/* What fits together: both, and each with itself. */
struct likeness {
	double both, played, recorded;
};

struct judge {
	struct sound played, recorded;
	size_t n_frames;  /* of what was played, until it begins again */
	size_t at;        /* in the recording: the next piece */
	size_t alignment; /* of that piece in what was played, in phases */
	int64_t late_way; /* how far the alignment has crept, in the second half */
	size_t n_pieces, n_late, n_jumps, n_lost, n_repeated, n_strange;
	struct likeness tenth, second;
	bool tenth_jumped, second_jumped;
	size_t n_tenths;
	double worst, total, low, high;
	bool is_lost; /* the last piece was nowhere */
};

static double correlation(const struct likeness *l)
{
	return l->played > 0 && l->recorded > 0 ? l->both / sqrt(l->played * l->recorded) : 0;
}

/* ---- reading --------------------------------------------------------------------------------------------------------- */

static void read_sound(FILE *file, struct sound *ret_sound)
{
	size_t n = 0, size = 1u << 20, some;
	_cleanup_free_ int16_t *samples = malloc(size);

	while (samples && (some = fread((uint8_t *)samples + n, 1, size - n, file)) > 0) {
		n += some;
		if (n == size)
			samples = reallocarray(samples, size *= 2, 1);
	}
	n /= CHANNELS * sizeof(*samples);
	ret_sound->n = n;
	for (size_t c = 0; c < CHANNELS; c++) {
		ret_sound->channel[c] = calloc(n + 1, sizeof(float));
		for (size_t i = 0; i < n; i++)
			ret_sound->channel[c][i] = samples[i * CHANNELS + c];
	}
}

/* With samples in between; round and round, so the second turn is what it is between its end and its beginning. */
static float *in_phases(float *samples, size_t n)
{
	SpeexResamplerState *resampler = speex_resampler_init(1, RATE, PHASES * RATE, 10, NULL);
	float *out = calloc(3 * n * PHASES, sizeof(*out));
	size_t skip = (size_t)speex_resampler_get_output_latency(resampler) + n * PHASES, got = 0;

	for (int turn = 0; turn < 3; turn++) {
		for (size_t done = 0; done < n;) {
			spx_uint32_t n_in = (spx_uint32_t)(n - done), n_out = (spx_uint32_t)(3 * n * PHASES - got);

			(void)speex_resampler_process_float(resampler, 0, samples + done, &n_in, out + got, &n_out);
			done += n_in;
			got += n_out;
		}
	}
	speex_resampler_destroy(resampler);
	free(samples);
	memmove(out, out + skip, n * PHASES * sizeof(*out));
	return out;
}

/* ---- aligning -------------------------------------------------------------------------------------------------------- */

static size_t moved(const struct judge *judge, size_t alignment, int64_t phases)
{
	int64_t all = (int64_t)(judge->n_frames * PHASES);

	return (size_t)((((int64_t)alignment + phases) % all + all) % all);
}

/* The samples of one channel, or their differences. */
static struct likeness compare(const struct judge *judge, size_t channel, size_t alignment, size_t n, bool differences)
{
	const float *recorded = judge->recorded.channel[channel] + judge->at, *played = judge->played.channel[channel];
	size_t all = judge->n_frames * PHASES;
	float before = played[alignment], both = 0, of_played = 0, of_recorded = 0;

	for (size_t i = 1; i < n; i++) {
		float p, r = recorded[i];

		alignment += PHASES;
		if (alignment >= all)
			alignment -= all;
		p = played[alignment];
		if (differences) {
			float now = p;

			p -= before;
			before = now;
			r -= recorded[i - 1];
		}
		both += p * r;
		of_played += p * p;
		of_recorded += r * r;
	}
	return (struct likeness){.both = both, .played = of_played, .recorded = of_recorded};
}

/* How well the piece fits there: 1 is perfectly. */
static double fit(const struct judge *judge, size_t alignment, size_t n)
{
	double sum = 0;

	for (size_t c = 0; c < CHANNELS; c++) {
		struct likeness l = compare(judge, c, alignment, n, true);

		sum += correlation(&l);
	}
	return sum / CHANNELS;
}

/* The best of the alignments from `first` on. */
static double look(const struct judge *judge, size_t first, size_t n_steps, size_t step, size_t n, size_t *ret_best)
{
	double best = -1;

	*ret_best = first;
	for (size_t i = 0; i < n_steps; i++) {
		size_t here = moved(judge, first, (int64_t)(i * step));
		double good = fit(judge, here, n);

		if (good > best) {
			best = good;
			*ret_best = here;
		}
	}
	return best;
}

static double creep(const struct judge *judge, size_t alignment, size_t n, size_t *ret_best)
{
	return look(judge, moved(judge, alignment, -CREEP), 2 * CREEP + 1, 1, n, ret_best);
}

/* Where the alignment is not known any more. */
static bool look_far(const struct judge *judge, size_t *ret_alignment)
{
	size_t rough;

	if (judge->at + LONG > judge->recorded.n)
		return false;
	(void)look(judge, moved(judge, judge->alignment, -(int64_t)(FAR * PHASES)), 2 * FAR, PHASES, LONG, &rough);
	return creep(judge, rough, LONG, ret_alignment) > GOOD;
}

/* ---- judging --------------------------------------------------------------------------------------------------------- */

static void jump_to(struct judge *judge, size_t alignment)
{
	size_t all = judge->n_frames * PHASES;
	size_t ahead = (alignment + all - judge->alignment) % all;

	judge->n_jumps++;
	(void)printf("jump %.2f %.1f\n", (double)judge->at / RATE,
		     (double)(ahead < all / 2 ? (int64_t)ahead : (int64_t)ahead - (int64_t)all) / PHASES);
	if (ahead < all / 2)
		judge->n_lost += (ahead + PHASES / 2) / PHASES;
	else
		judge->n_repeated += (all - ahead + PHASES / 2) / PHASES;
	judge->alignment = alignment;
	judge->tenth_jumped = judge->second_jumped = true;
}

static void add(struct likeness *sum, const struct likeness *l)
{
	sum->both += l->both;
	sum->played += l->played;
	sum->recorded += l->recorded;
}

static void end_tenth(struct judge *judge)
{
	double c = correlation(&judge->tenth);

	if (!judge->tenth_jumped) {
		judge->n_tenths++;
		judge->total += c;
		judge->worst = fmin(judge->worst, c);
	}
	add(&judge->second, &judge->tenth);
	judge->tenth = (struct likeness){0};
	judge->tenth_jumped = false;
}

static void end_second(struct judge *judge)
{
	double level = 10 * log10(judge->second.recorded / judge->second.played);

	if (!judge->second_jumped) {
		judge->low = fmin(judge->low, level);
		judge->high = fmax(judge->high, level);
	}
	judge->second = (struct likeness){0};
	judge->second_jumped = false;
}

/* The next piece, and where it is. */
static void take_piece(struct judge *judge)
{
	size_t best;
	double good = creep(judge, judge->alignment, PIECE, &best);

	if (good < GOOD || judge->is_lost) {
		/* now and then: it takes long */
		judge->is_lost = (judge->is_lost && judge->n_pieces % TENTH) || !look_far(judge, &best);
		if (judge->is_lost) {
			judge->n_strange += PIECE;
			judge->tenth_jumped = judge->second_jumped = true;
			best = judge->alignment;
		} else if (best != judge->alignment) {
			jump_to(judge, best);
		}
	} else {
		int64_t step = (int64_t)((best + judge->n_frames * PHASES + CREEP - judge->alignment) %
					 (judge->n_frames * PHASES)) -
			       CREEP;
		if (judge->at > judge->recorded.n / 2) {
			judge->late_way += step;
			judge->n_late++;
		}
	}
	for (size_t c = 0; c < CHANNELS; c++) {
		struct likeness l = compare(judge, c, best, PIECE, false);

		add(&judge->tenth, &l);
	}
	judge->at += PIECE;
	judge->alignment = moved(judge, best, PIECE * PHASES);
	judge->n_pieces++;
	if (judge->n_pieces % TENTH == 0)
		end_tenth(judge);
	if (judge->n_pieces % SECOND == 0)
		end_second(judge);
}

/* Where in what was played the recording is; it may begin in a gap. */
static bool find_beginning(struct judge *judge)
{
	for (size_t rough; judge->at + LONG < judge->recorded.n / 2; judge->at += RATE) {
		(void)look(judge, 0, judge->n_frames, PHASES, PIECE, &rough);
		if (creep(judge, rough, LONG, &judge->alignment) > GOOD)
			return true;
	}
	return false;
}

static bool run(struct judge *judge)
{
	if (!find_beginning(judge))
		return false;
	while (judge->at + PIECE <= judge->recorded.n && judge->n_jumps < JUMPS)
		take_piece(judge);
	return judge->n_tenths > 0 && judge->n_late > 0;
}

int main(int argc, char **argv)
{
	static struct judge judge = {.worst = 1, .low = 1000, .high = -1000};
	FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;

	if (!file) {
		(void)fputs("usage: sound-judge PLAYED SKIP <RECORDED\n", stderr);
		return 2;
	}
	read_sound(file, &judge.played);
	(void)fclose(file);
	judge.n_frames = judge.played.n;
	for (size_t c = 0; c < CHANNELS; c++)
		judge.played.channel[c] = in_phases(judge.played.channel[c], judge.n_frames);
	read_sound(stdin, &judge.recorded);
	judge.at = strtoul(argv[2], NULL, 10) * RATE;
	if (!run(&judge)) {
		(void)fputs("sound-judge: that is another sound\n", stderr);
		return EXIT_FAILURE;
	}
	(void)printf("heard seconds %zu worst %.4f mean %.4f level-low %.2f level-high %.2f ppm %.1f jumps %zu lost "
		     "%zu repeated "
		     "%zu strange %zu\n",
		     judge.n_pieces / SECOND, judge.worst, judge.total / (double)judge.n_tenths, judge.low, judge.high,
		     (double)judge.late_way / (double)(judge.n_late * PIECE * PHASES) * 1e6, judge.n_jumps,
		     judge.n_lost, judge.n_repeated, judge.n_strange);
	return EXIT_SUCCESS;
}
