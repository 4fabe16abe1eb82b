/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For a sound server that takes samples at the pace of its own clock: what waits in the pipe must neither grow nor run out.
 * The samples are resampled (libspeexdsp) by a few parts in a million more or less than they are, so that the least that waits
 * there, just before more comes, stays near a reserve; what the server takes at once, and how often, need not be known. The reserve is
 * PACE_LEAST_USEC where all are in time, and up to PACE_MOST_USEC where that was not enough of late, or nearly not. Much too much at
 * once, as when a program has just begun to record and the server was not quick to read, is left out at once.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proxies/audio/stream.h"

#define PACE_LEAST_USEC (5 * USEC_PER_MSEC)
#define PACE_MOST_USEC (20 * USEC_PER_MSEC)
#define PACE_PPM 2000.0                        /* at most: a musician hears 5000 */
#define PACE_FRAMES (AUDIO_BLOCK_FRAMES + 16u) /* that come out of one block at most */

struct pace;

/* 0 or -ENOMEM. */
int pace_new(const struct audio_hello *hello, struct pace **ret_pace);
struct pace *pace_free(struct pace *pace);

/* A program begins to record: nothing waits. How many frames of silence to begin with. */
size_t pace_begin(struct pace *pace);

/* So many frames waited just now, before `n_coming` more. How many frames of silence are to go first: it had run out. */
size_t pace_waiting(struct pace *pace, size_t n_frames, size_t n_coming, uint64_t now_usec);

/* At most AUDIO_BLOCK_FRAMES in; how many came out, which may be none. */
size_t pace_resample(struct pace *pace, const uint8_t *frames, size_t n_frames, int16_t *ret_samples);

/* How much faster than they came samples go out, in parts per million. */
double pace_ppm(const struct pace *pace);
