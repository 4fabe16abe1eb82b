/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See gate.h. */
#include "proxies/audio/gate.h"

#include <errno.h>

void gate_init(struct gate *core, uint64_t now_usec)
{
	*core = (struct gate){.going = false};
	rate_init(&core->starts, GATE_STARTS_PER_SECOND, GATE_STARTS_BURST, now_usec);
}

static int start(struct gate *core, uint32_t run, uint64_t now_usec)
{
	if (!core->going || core->wanted || run != core->run + 1)
		return -EPROTO;
	/* whoever says STOP and START without end shall not have the device opened and closed without end */
	if (!rate_take(&core->starts, 1, now_usec))
		return -EPROTO;
	core->run = run;
	core->wanted = true;
	return 0;
}

int gate_word(struct gate *core, const struct audio_word *word, uint64_t now_usec)
{
	switch (word->type) {
	case AUDIO_GO:
		if (core->going)
			return -EPROTO;
		core->going = true;
		return 0;
	case AUDIO_START:
		return start(core, word->run, now_usec);
	case AUDIO_STOP:
		if (!core->wanted || word->run != core->run)
			return -EPROTO;
		core->wanted = false;
		return 0;
	case AUDIO_BLOCK:
		break;
	}
	return -EPROTO;
}

bool gate_is_open(const struct gate *core)
{
	return core->wanted && !core->muted;
}
