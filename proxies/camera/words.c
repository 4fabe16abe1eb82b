/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See words.h. */
#include "proxies/camera/words.h"

#include <errno.h>

static int go(struct gate *gate, uint8_t n_modes, uint8_t untrusted_mode, uint8_t *ret_mode)
{
	int r = untrusted_mode < n_modes ? gate_go(gate) : -EPROTO;

	if (r == 0)
		*ret_mode = untrusted_mode;
	return r;
}

int camera_words_take(struct gate *gate, struct feed *feed, uint8_t n_modes, const struct camera_word *word,
		      uint64_t now_usec, uint8_t *ret_mode, int *ret_buffer)
{
	int r = -EPROTO;

	*ret_buffer = FEED_NONE;
	switch (word->type) {
	case CAMERA_GO:
		return go(gate, n_modes, word->mode, ret_mode);
	case CAMERA_START:
		r = gate_start(gate, word->run, now_usec);
		break;
	case CAMERA_STOP:
		r = gate_stop(gate, word->run);
		break;
	case CAMERA_WANT:
		return feed_want(feed, word->run);
	case CAMERA_FRAME:
		break;
	}
	if (r == 0)
		*ret_buffer = feed_run(feed, gate->run, gate->wanted);
	return r;
}
