/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See gate.h. */
#include "lib/media/gate.h"

#include <errno.h>

void gate_init(struct gate *core, uint64_t now_usec)
{
	*core = (struct gate){.going = false};
	rate_init(&core->starts, GATE_STARTS_PER_SECOND, GATE_STARTS_BURST, now_usec);
}

int gate_go(struct gate *core)
{
	if (core->going)
		return -EPROTO;
	core->going = true;
	return 0;
}

int gate_start(struct gate *core, uint32_t untrusted_run, uint64_t now_usec)
{
	if (!core->going || core->wanted || untrusted_run != core->run + 1)
		return -EPROTO;
	/* whoever says STOP and START without end shall not have the device opened and closed without end */
	if (!rate_take(&core->starts, 1, now_usec))
		return -EPROTO;
	core->run = untrusted_run;
	core->wanted = true;
	return 0;
}

int gate_stop(struct gate *core, uint32_t untrusted_run)
{
	if (!core->wanted || untrusted_run != core->run)
		return -EPROTO;
	core->wanted = false;
	return 0;
}

bool gate_is_open(const struct gate *core)
{
	return core->wanted && !core->muted;
}
