/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See pace.h. A controller of the usual kind (proportional and integral), twice a second. */
#include "proxies/audio/pace.h"

#include <errno.h>
#include <string.h>

#include <speex/speex_resampler.h>

#include "lib/base/base.h"

#define WINDOW_USEC (500 * USEC_PER_MSEC)
/* ppm for each millisecond too much; the second for each window. Settles in some ten seconds, without overshoot. */
#define PROPORTIONAL 100.0
#define INTEGRAL 4.0
/* So much too much is left out at once: in the first windows, which nobody listens to, and later. */
#define FIRST_WINDOWS 15u
#define FIRST_WINDOW_USEC (100 * USEC_PER_MSEC)
#define TOO_MUCH_FIRST_USEC (3 * USEC_PER_MSEC)
#define TOO_MUCH_USEC (30 * USEC_PER_MSEC)
/* How far below the usual the least of a window lay is known for some minutes, and so much is kept waiting, and a little more. */
#define USUAL_WINDOWS 8.0
#define FORGET_WINDOWS 600.0
#define SPARE_USEC (2 * USEC_PER_MSEC)
#define QUALITY 4 /* of speex: 0 to 10 */
/*
 * Ratios are numbers of so many; 17 ppm is the smallest step. speex multiplies the old one's by the new one's in 32 bits, and when
 * they do not fit it is left in a state in which the next sample is a crash.
 */
#define RATIO 60000u

struct pace {
	SpeexResamplerState *resampler;
	uint32_t rate;
	uint8_t channels;
	size_t least;                    /* frames; of the window, SIZE_MAX: none yet */
	uint64_t window_usec, last_usec; /* when it began; when something came, 0: nothing yet */
	unsigned int n_windows;          /* since the program began to record */
	size_t skip;                     /* frames that are to be left out */
	double usual;                    /* frames that are the least of a window, negative: not known */
	double dip;                      /* and how many fewer they may be */
	double integral, ppm;
};

static size_t frames_of(const struct pace *pace, uint64_t usec)
{
	return (size_t)(usec * pace->rate / USEC_PER_SEC);
}

/* The reserve. */
static size_t target_of(const struct pace *pace)
{
	size_t least = frames_of(pace, PACE_LEAST_USEC), most = frames_of(pace, PACE_MOST_USEC);
	size_t wanted = (size_t)pace->dip + frames_of(pace, SPARE_USEC);

	return wanted < least ? least : wanted < most ? wanted : most;
}

int pace_new(const struct audio_hello *hello, struct pace **ret_pace)
{
	struct pace *pace = calloc(1, sizeof(*pace));

	if (!pace)
		return -ENOMEM;
	pace->rate = hello->rate;
	pace->channels = hello->channels;
	pace->resampler =
		speex_resampler_init_frac(hello->channels, RATIO, RATIO, hello->rate, hello->rate, QUALITY, NULL);
	if (!pace->resampler) {
		free(pace);
		return -ENOMEM;
	}
	*ret_pace = pace;
	return 0;
}

struct pace *pace_free(struct pace *pace)
{
	if (!pace)
		return NULL;
	speex_resampler_destroy(pace->resampler);
	free(pace);
	return NULL;
}

size_t pace_begin(struct pace *pace)
{
	(void)speex_resampler_reset_mem(pace->resampler); /* no sample of what was recorded before */
	pace->least = SIZE_MAX;
	pace->window_usec = pace->last_usec = 0;
	pace->n_windows = 0;
	pace->skip = 0;
	pace->usual = -1;
	return 2 * target_of(pace);
}

static double limited(double ppm)
{
	return ppm > PACE_PPM ? PACE_PPM : ppm < -PACE_PPM ? -PACE_PPM : ppm;
}

static void remember(struct pace *pace, double dip)
{
	double most = (double)frames_of(pace, PACE_MOST_USEC);

	dip = dip < most ? dip : most;
	pace->dip = dip > pace->dip ? dip : pace->dip;
}

/* The least of a window, and what it says about those to come. */
static void learn(struct pace *pace, double least)
{
	pace->dip -= pace->dip / FORGET_WINDOWS;
	if (pace->usual < 0)
		pace->usual = least;
	remember(pace, pace->usual - least);
	pace->usual += (least - pace->usual) / USUAL_WINDOWS;
}

/* All that was kept was not enough. */
static void learn_more(struct pace *pace)
{
	if (pace->usual >= 0)
		remember(pace, pace->usual + (double)frames_of(pace, SPARE_USEC));
	pace->usual = -1;
}

static void control(struct pace *pace)
{
	size_t too_much = frames_of(pace, pace->n_windows < FIRST_WINDOWS ? TOO_MUCH_FIRST_USEC : TOO_MUCH_USEC);
	uint32_t steps;
	double error_msec = ((double)pace->least - (double)target_of(pace)) * 1000.0 / pace->rate;

	pace->n_windows++;
	if (pace->least > target_of(pace) + too_much) {
		pace->skip = pace->least - target_of(pace);
		pace->usual = -1;
		return;
	}
	if (pace->n_windows < FIRST_WINDOWS)
		return; /* too short to tell the pace by */
	learn(pace, (double)pace->least);
	pace->integral = limited(pace->integral - INTEGRAL * error_msec);
	pace->ppm = limited(pace->integral - PROPORTIONAL * error_msec);
	steps = (uint32_t)(int32_t)(pace->ppm * RATIO / 1e6);
	/* of RATIO frames that come, so many more go out */
	(void)speex_resampler_set_rate_frac(pace->resampler, RATIO, RATIO + steps, pace->rate, pace->rate);
}

/* It had run out: more will follow at once, as much as was late, and is its own reserve. */
static size_t refill(const struct pace *pace, size_t n_coming, uint64_t late_usec)
{
	size_t wanted = target_of(pace) + n_coming, late = frames_of(pace, late_usec);

	return late < wanted ? wanted - late : 0;
}

size_t pace_waiting(struct pace *pace, size_t n_frames, size_t n_coming, uint64_t now_usec)
{
	uint64_t late_usec = pace->last_usec ? now_usec - pace->last_usec : 0;

	pace->last_usec = now_usec;
	if (pace->window_usec == 0)
		pace->window_usec = now_usec;
	if (n_frames == 0) {
		pace->least = SIZE_MAX;
		pace->window_usec = now_usec;
		learn_more(pace);
		return refill(pace, n_coming, late_usec);
	}
	if (n_frames < pace->least)
		pace->least = n_frames;
	if (now_usec - pace->window_usec >= (pace->n_windows < FIRST_WINDOWS ? FIRST_WINDOW_USEC : WINDOW_USEC)) {
		control(pace);
		pace->least = SIZE_MAX;
		pace->window_usec = now_usec;
	}
	return 0;
}

size_t pace_resample(struct pace *pace, const uint8_t *frames, size_t n_frames, int16_t *ret_samples)
{
	int16_t samples[AUDIO_BLOCK_FRAMES * AUDIO_CHANNELS];
	size_t skip = pace->skip < n_frames ? pace->skip : n_frames;
	spx_uint32_t n_in = (spx_uint32_t)(n_frames - skip), n_out = PACE_FRAMES;

	pace->skip -= skip;
	frames += skip * AUDIO_SAMPLE * pace->channels;
	for (size_t i = 0; i < n_in * pace->channels; i++)
		samples[i] = (int16_t)get_le16(frames + AUDIO_SAMPLE * i);
	if (speex_resampler_process_interleaved_int(pace->resampler, samples, &n_in, ret_samples, &n_out) != 0)
		return 0;
	return n_out;
}

double pace_ppm(const struct pace *pace)
{
	return pace->ppm;
}
