/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sender.h. */
#include "proxies/audio/sender.h"

void sender_run(struct sender *core, uint32_t run, bool on)
{
	if (run != core->run)
		core->position = 0;
	core->run = run;
	core->on = on;
}

bool sender_block(struct sender *core, uint16_t n_frames, size_t frame, size_t room, uint64_t now_usec,
		  uint8_t head[AUDIO_HEAD])
{
	const struct audio_block block = {
		.n_frames = n_frames, .run = core->run, .position = core->position, .stamp = now_usec};

	if (!core->on)
		return false;
	core->position += n_frames;
	if (room < AUDIO_HEAD + n_frames * frame) {
		core->n_left_out += n_frames;
		return false;
	}
	audio_head_write(&block, head);
	return true;
}
