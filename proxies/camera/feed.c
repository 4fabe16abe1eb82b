/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See feed.h. */
#include "proxies/camera/feed.h"

#include <assert.h>
#include <errno.h>

#include "lib/base/base.h"

void feed_init(struct feed *core, uint32_t n_bytes)
{
	*core = (struct feed){.n_bytes = n_bytes, .waiting.buffer = FEED_NONE, .sending = FEED_NONE};
}

int feed_leave_out(struct feed *core)
{
	int buffer = core->waiting.buffer;

	core->waiting.buffer = FEED_NONE;
	core->n_left_out += buffer != FEED_NONE;
	return buffer;
}

int feed_run(struct feed *core, uint32_t run, bool on)
{
	if (run == core->run && on == core->on)
		return FEED_NONE;
	core->on = on;
	core->wants = on ? 1 : 0;
	if (run != core->run)
		core->number = 0;
	core->run = run;
	return feed_leave_out(core);
}

int feed_want(struct feed *core, uint32_t untrusted_run)
{
	if (!core->on || untrusted_run != core->run || core->wants >= CAMERA_WANTS)
		return -EPROTO;
	core->wants++;
	return 0;
}

int feed_captured(struct feed *core, int buffer, uint64_t stamp)
{
	int older;

	if (!core->on)
		return buffer;
	older = feed_leave_out(core);
	core->number++;
	core->waiting.buffer = buffer;
	core->waiting.number = core->number;
	core->waiting.stamp = stamp;
	return older;
}

int feed_begin(struct feed *core)
{
	const struct camera_frame frame = {.run = core->run,
					   .number = core->waiting.number,
					   .n_bytes = core->n_bytes,
					   .stamp = core->waiting.stamp};

	if (core->sending != FEED_NONE || core->waiting.buffer == FEED_NONE || core->wants == 0)
		return FEED_NONE;
	camera_head_write(&frame, core->head);
	core->wants--;
	core->done = 0;
	core->sending = core->waiting.buffer;
	core->waiting.buffer = FEED_NONE;
	return core->sending;
}

int feed_spoilt(struct feed *core)
{
	int buffer = core->sending;

	assert(buffer != FEED_NONE && core->done == 0);
	core->sending = FEED_NONE;
	core->wants++;
	core->n_left_out++;
	return buffer;
}

void feed_rest(const struct feed *core, struct feed_rest *ret_rest)
{
	size_t of_head = core->done < CAMERA_HEAD ? core->done : CAMERA_HEAD, at = core->done - of_head;

	*ret_rest = (struct feed_rest){.head = core->head + of_head, .head_len = CAMERA_HEAD - of_head};
	ret_rest->at = at;
	ret_rest->len = core->n_bytes - at;
}

int feed_wrote(struct feed *core, size_t n)
{
	int buffer = core->sending;

	assert(buffer != FEED_NONE && n <= CAMERA_HEAD + core->n_bytes - core->done);
	core->done += n;
	if (core->done < CAMERA_HEAD + (size_t)core->n_bytes)
		return FEED_NONE;
	core->sending = FEED_NONE;
	core->n_sent++;
	return buffer;
}
