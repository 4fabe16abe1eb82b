/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See receiver.h. */
#include "proxies/audio/receiver.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base.h"

#define DRIFT 1000u /* no clock is faster than another by more than one part in that */

static uint64_t frames_of(const struct receiver *core, uint64_t usec)
{
	return usec * core->rate / USEC_PER_SEC;
}

static uint64_t usec_of(const struct receiver *core, uint64_t frames)
{
	return frames * USEC_PER_SEC / core->rate;
}

void receiver_init(struct receiver *core, const struct audio_hello *hello, enum receiver_takes takes, bool own_clock,
		   uint64_t now_usec)
{
	*core = (struct receiver){.takes = takes,
				  .rate = hello->rate,
				  .frame = audio_frame(hello),
				  .own_clock = own_clock,
				  .credit_usec = now_usec};
	core->credit = 100 * frames_of(core, AUDIO_CREDIT_USEC);
}

void receiver_open(struct receiver *core, bool open, uint64_t now_usec)
{
	if (open == core->open)
		return;
	core->open = open;
	core->begun = false;
	core->owed = 0;
	core->heard_usec = core->quickest_usec = now_usec;
}

void receiver_run(struct receiver *core, uint32_t run, bool on)
{
	core->run = run;
	core->on = on;
}

/* ---- what comes ------------------------------------------------------------------------------------------------------ */

/* Each block costs its frames, and a millisecond's at least: so many small ones shall not keep us busy. In hundredths. */
static uint64_t cost_of(const struct receiver *core, uint64_t n_frames)
{
	uint64_t least = core->rate / 1000;

	return 100 * (n_frames > least ? n_frames : least);
}

/* A hundredth faster than the sound is: the sender's clock may be fast. */
static void refill(struct receiver *core, uint64_t now_usec)
{
	uint64_t most = 100 * frames_of(core, AUDIO_CREDIT_USEC);
	uint64_t more = frames_of(core, now_usec - core->credit_usec);

	core->credit_usec += usec_of(core, more);
	core->credit += 101 * more;
	if (core->credit > most) {
		core->credit = most;
		core->credit_usec = now_usec;
	}
}

/* Before what may be a block has begun. */
static bool lacks_credit(const struct receiver *core)
{
	return (core->takes & RECEIVER_BLOCKS) && core->got < AUDIO_WORD &&
	       core->credit < cost_of(core, AUDIO_BLOCK_FRAMES);
}

size_t receiver_want(struct receiver *core, uint64_t now_usec, uint8_t **ret_at)
{
	refill(core, now_usec);
	if (lacks_credit(core))
		return 0;
	*ret_at = core->bytes + core->got;
	if (core->got < AUDIO_WORD)
		return AUDIO_WORD - core->got;
	if (core->got < AUDIO_HEAD)
		return AUDIO_HEAD - core->got;
	return AUDIO_HEAD + core->word.n_frames * core->frame - core->got;
}

/* How much later than the quickest block of its run it came. */
static uint64_t delay_of(struct receiver *core, uint64_t now_usec)
{
	int64_t took = (int64_t)(now_usec - core->block.stamp);

	core->quickest += (int64_t)((now_usec - core->quickest_usec) / DRIFT);
	core->quickest_usec += (now_usec - core->quickest_usec) / DRIFT * DRIFT;
	if (!core->begun || took < core->quickest)
		core->quickest = took;
	return (uint64_t)took - (uint64_t)core->quickest;
}

/* The whole block that has come, of the run that is on. */
static int hear(struct receiver *core, uint64_t now_usec, struct receiver_sound *ret_sound)
{
	const struct audio_block *block = &core->block;
	uint64_t most = frames_of(core, AUDIO_OLD_USEC), skip = 0, gap, delay;

	if (core->begun && block->position < core->expected)
		return -EPROTO;
	delay = delay_of(core, now_usec);
	gap = core->begun ? block->position - core->expected : 0;
	core->begun = true;
	core->expected = block->position + block->n_frames;
	core->n_lost += gap;
	if (gap >= core->owed) {
		ret_sound->n_silent = gap - core->owed < most ? gap - core->owed : most;
		core->owed = 0;
	} else {
		core->owed -= gap;
	}
	if (delay > AUDIO_OLD_USEC)
		skip = block->n_frames;
	else if (delay > AUDIO_LATE_USEC)
		skip = core->owed < block->n_frames ? core->owed : block->n_frames;
	core->owed = delay > AUDIO_LATE_USEC && core->owed > skip ? core->owed - skip : 0;
	core->n_late += skip;
	ret_sound->frames = core->bytes + AUDIO_HEAD + skip * core->frame;
	ret_sound->n_frames = block->n_frames - skip;
	core->n_silent += ret_sound->n_silent;
	if (ret_sound->n_frames + ret_sound->n_silent > 0) /* else silence goes on */
		core->heard_usec = now_usec;
	return 0;
}

/* The beginning of something. 1: it is all of it; 0: a block's. */
static int take_word(struct receiver *core, struct audio_word *ret_word)
{
	uint64_t cost;

	if (audio_word_read(core->bytes, &core->word) < 0)
		return -EPROTO;
	if (core->word.type != AUDIO_BLOCK) {
		core->got = 0;
		*ret_word = core->word;
		return core->takes & RECEIVER_WORDS ? 1 : -EPROTO;
	}
	cost = cost_of(core, core->word.n_frames);
	core->credit -= cost < core->credit ? cost : core->credit;
	if (!(core->takes & RECEIVER_BLOCKS) || core->word.run > core->run)
		return -EPROTO;
	return core->takes & RECEIVER_WORDS && (!core->on || core->word.run != core->run) ? -EPROTO : 0;
}

int receiver_got(struct receiver *core, size_t n, uint64_t now_usec, struct audio_word *ret_word,
		 struct receiver_sound *ret_sound)
{
	*ret_sound = (struct receiver_sound){0};
	core->got += n;
	if (core->takes == RECEIVER_NOTHING)
		return -EPROTO;
	if (core->got < AUDIO_WORD)
		return 0;
	if (core->got == AUDIO_WORD)
		return take_word(core, ret_word);
	if (core->got < AUDIO_HEAD)
		return 0;
	if (core->got == AUDIO_HEAD)
		return audio_head_read(core->bytes, &core->block);
	if (core->got < AUDIO_HEAD + core->block.n_frames * core->frame)
		return 0;
	core->got = 0;
	if (!core->open || !core->on || core->block.run != core->run)
		return 0; /* on its way when the run ended */
	return hear(core, now_usec, ret_sound);
}

/* ---- silence -------------------------------------------------------------------------------------------------------- */

static uint64_t silence_usec(const struct receiver *core)
{
	if (!core->open || core->own_clock)
		return UINT64_MAX;
	return core->heard_usec + (core->owed ? AUDIO_SILENCE_USEC : AUDIO_STALL_USEC);
}

uint64_t receiver_silence(struct receiver *core, uint64_t now_usec)
{
	uint64_t n;

	if (now_usec < silence_usec(core))
		return 0;
	n = frames_of(core, now_usec - core->heard_usec);
	if (n > core->rate)
		n = core->rate; /* we slept: nobody waits for more */
	core->heard_usec = now_usec;
	core->owed += n;
	core->n_silent += n;
	return n;
}

uint64_t receiver_deadline(const struct receiver *core, uint64_t now_usec)
{
	uint64_t silence = silence_usec(core), credit = UINT64_MAX;

	if (lacks_credit(core))
		credit = now_usec + usec_of(core, (cost_of(core, AUDIO_BLOCK_FRAMES) - core->credit) / 100) + 1;
	return silence < credit ? silence : credit;
}
