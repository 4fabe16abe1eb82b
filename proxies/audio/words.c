/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See words.h. */
#include "proxies/audio/words.h"

#include <errno.h>

int audio_words_take(struct gate *gate, const struct audio_word *word, uint64_t now_usec)
{
	switch (word->type) {
	case AUDIO_GO:
		return gate_go(gate);
	case AUDIO_START:
		return gate_start(gate, word->run, now_usec);
	case AUDIO_STOP:
		return gate_stop(gate, word->run);
	case AUDIO_BLOCK:
		break;
	}
	return -EPROTO;
}
