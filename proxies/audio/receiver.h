/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one end of an audio session makes of what the other sends, pure: words are handed on, and of blocks what is to be heard, and
 * when. Times are microseconds of one steady clock; the other end's clock is another, and is believed in nothing that could hurt.
 *
 * Who listens hears one frame for each frame of the run: what was lost is silence of the same length, and what comes after silence
 * has already stood for it is left out. What is older than AUDIO_OLD_USEC is left out, so no delay lasts. When nothing comes for
 * AUDIO_STALL_USEC there is silence at the pace of our own clock, unless the sound server has a clock of its own and makes its own
 * silence.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxies/audio/stream.h"

#define AUDIO_STALL_USEC (100 * USEC_PER_MSEC)
#define AUDIO_LATE_USEC (60 * USEC_PER_MSEC) /* than the quickest of its run: silence has stood for it */
#define AUDIO_OLD_USEC (200 * USEC_PER_MSEC)
#define AUDIO_SILENCE_USEC (20 * USEC_PER_MSEC) /* between two pieces of silence */
#define AUDIO_CREDIT_USEC \
	(400 * USEC_PER_MSEC) /* of sound that may come at once: all that the channel can hold, and more */

/* What the other end may say at all. */
enum receiver_takes { RECEIVER_NOTHING, RECEIVER_WORDS, RECEIVER_BLOCKS, RECEIVER_BOTH };

struct receiver {
	enum receiver_takes takes;
	uint32_t rate;
	size_t frame;   /* bytes */
	bool own_clock; /* the sound server's: it makes its own silence */

	bool open; /* somebody hears what comes */
	bool on;   /* the run, for all that the sender can know */
	uint32_t run;

	/* a word or a block on its way in */
	uint8_t bytes[AUDIO_HEAD + AUDIO_BLOCK_FRAMES * AUDIO_FRAME_MAX];
	size_t got;
	struct audio_word word;
	struct audio_block block;

	uint64_t credit, credit_usec; /* hundredths of frames that may still come, and when that was */
	bool begun;                   /* a block of this run has come */
	uint64_t expected;            /* position */
	uint64_t owed;                /* frames of silence that stand for some that may still come */
	int64_t quickest;             /* arrival less stamp, the least of this run: what lies beyond it is delay */
	uint64_t quickest_usec;       /* since when: it is forgotten slowly, as clocks differ */
	uint64_t heard_usec;          /* until when there is sound */

	uint64_t n_lost, n_late, n_silent; /* frames */
};

/* What is to be heard next: so much silence, then these frames. */
struct receiver_sound {
	uint64_t n_silent;
	const uint8_t *frames; /* in the core, until the next call */
	size_t n_frames;
};

void receiver_init(struct receiver *core, const struct audio_hello *hello, enum receiver_takes takes, bool own_clock,
		   uint64_t now_usec);

/* Somebody hears what comes from now on, or nobody does. */
void receiver_open(struct receiver *core, bool open, uint64_t now_usec);

/*
 * The last run that was begun, and whether it is on. Where only blocks come, some of an ended run may still be on their way, and are
 * left out; where its end comes with them, none may.
 */
void receiver_run(struct receiver *core, uint32_t run, bool on);

/* How many bytes to read now, and where to; 0: none before receiver_deadline(). */
size_t receiver_want(struct receiver *core, uint64_t now_usec, uint8_t **ret_at);
/* They are there. 0: *ret_sound is to be heard; 1: *ret_word was said, which is no block; or -EPROTO: what may not be said. */
int receiver_got(struct receiver *core, size_t n, uint64_t now_usec, struct audio_word *ret_word,
		 struct receiver_sound *ret_sound);

/* The silence that is due. */
uint64_t receiver_silence(struct receiver *core, uint64_t now_usec);
/* When something is due that needs no byte; UINT64_MAX: nothing. */
uint64_t receiver_deadline(const struct receiver *core, uint64_t now_usec);
