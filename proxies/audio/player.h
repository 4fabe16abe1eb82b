/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Brings what the receiver says is to be heard to where it is heard, the pipe of a virtual microphone or a stream to a real speaker:
 * at the pace of that place's clock if it has one, and never so much that a delay would grow.
 */
#pragma once

#include "proxies/audio/pace.h"
#include "proxies/audio/receiver.h"

#define PLAYER_WAITING_USEC (100 * USEC_PER_MSEC) /* a server that does not take it hears no more */

struct player_place {
	/* How many frames wait there. */
	size_t (*waiting)(void *userdata);
	/* Takes all of them, or fails and takes none. */
	bool (*write)(void *userdata, const uint8_t *frames, size_t n);
};

struct player {
	const struct player_place *place;
	void *userdata;
	size_t frame; /* bytes */
	uint32_t rate;
	struct pace *pace;   /* NULL: the place has no clock of its own */
	uint64_t n_left_out; /* frames that it did not take */
};

/* 0 or -ENOMEM. */
int player_init(struct player *player, const struct player_place *place, void *userdata,
		const struct audio_hello *hello, bool has_clock);
void player_deinit(struct player *player);

/* The place has just been opened, and is empty. */
void player_begin(struct player *player);
void player_play(struct player *player, const struct receiver_sound *sound, uint64_t now_usec);
void player_silence(struct player *player, uint64_t n_frames);
