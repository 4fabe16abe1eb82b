/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See starter.h. */
#include "lib/media/starter.h"

static bool rests(const struct starter *core, uint64_t now_usec)
{
	return core->wanted && !core->told && now_usec < core->rest_until_usec;
}

bool starter_tell(struct starter *core, uint64_t now_usec)
{
	if (core->wanted == core->told || rests(core, now_usec))
		return false;
	core->told = core->wanted;
	if (core->wanted) {
		core->run++;
		core->rest_until_usec = now_usec + MEDIA_REST_USEC;
	}
	return true;
}

uint64_t starter_deadline(const struct starter *core, uint64_t now_usec)
{
	return rests(core, now_usec) ? core->rest_until_usec : UINT64_MAX;
}
