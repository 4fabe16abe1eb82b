/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The heads of the blocks that one end of an audio session sends: of a microphone the exporter, of a speaker the importer. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxies/audio/stream.h"

struct sender {
	bool on;
	uint32_t run;
	uint64_t position;   /* frames heard since the run began */
	uint64_t n_left_out; /* frames, for which the channel had no room */
};

/* The run that is on, or was the last. */
void sender_run(struct sender *core, uint32_t run, bool on);

/*
 * Frames were heard: 1 to AUDIO_BLOCK_FRAMES. `room`: in the channel, in bytes. True: `head` is to be sent with them; false: they
 * are left out.
 */
bool sender_block(struct sender *core, uint16_t n_frames, size_t frame, size_t room, uint64_t now_usec,
		  uint8_t head[AUDIO_HEAD]);
