/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See intake.h. */
#include "proxies/camera/intake.h"

#include <errno.h>

#define DRIFT 3000u /* two clocks go apart by one part of so many at most */

void intake_init(struct intake *core, uint32_t n_bytes)
{
	*core = (struct intake){.n_bytes = n_bytes};
}

void intake_run(struct intake *core, uint32_t run, bool on)
{
	if (run != core->run) {
		core->owed += core->wanted;
		core->wanted = 1;
		core->number = 0;
		core->has_clock = false;
	}
	core->run = run;
	core->on = on;
}

bool intake_want(struct intake *core)
{
	if (!core->on || core->wanted >= CAMERA_WANTS)
		return false;
	core->wanted++;
	return true;
}

/* A head is there, and what it begins is of the run that is on. */
static bool is_picture(const struct intake *core)
{
	return core->on && core->frame.run == core->run;
}

size_t intake_room(struct intake *core, uint8_t *picture, uint8_t **ret_at)
{
	size_t at = core->done - CAMERA_HEAD, left = core->n_bytes - at;

	if (core->done < CAMERA_HEAD) {
		*ret_at = core->head + core->done;
		return CAMERA_HEAD - core->done;
	}
	if (is_picture(core)) {
		*ret_at = picture + at;
		return left;
	}
	*ret_at = core->waste;
	return left < sizeof(core->waste) ? left : sizeof(core->waste);
}

/* May a frame with this head come now? */
static int take_head(struct intake *core)
{
	struct camera_frame *frame = &core->frame;

	if (camera_head_read(core->head, core->n_bytes, frame) < 0 || frame->run > core->run)
		return -EPROTO;
	if (frame->run < core->run) {
		if (core->owed == 0)
			return -EPROTO;
		core->owed--;
		return 0;
	}
	if (core->wanted == 0 || frame->number <= core->number)
		return -EPROTO;
	core->owed = 0;
	core->wanted--;
	return 0;
}

/* By our clock, as if the fastest of the run's frames had taken no time at all to come here. */
static uint64_t taken_usec(struct intake *core, uint64_t now_usec)
{
	int64_t ahead = (int64_t)(core->frame.stamp - now_usec);
	uint64_t usec;

	core->ahead_usec -= (int64_t)((now_usec - core->heard_usec) / DRIFT);
	core->heard_usec = now_usec;
	if (!core->has_clock || ahead > core->ahead_usec) {
		core->has_clock = true;
		core->ahead_usec = ahead;
	}
	usec = core->frame.stamp - (uint64_t)core->ahead_usec;
	if (usec > now_usec || usec + TIMEOUT_HEADER_USEC < now_usec) /* its clock jumps: ours does not */
		usec = now_usec;
	if (usec <= core->last_usec)
		usec = core->last_usec + 1;
	core->last_usec = usec;
	return usec;
}

int intake_got(struct intake *core, size_t n, uint64_t now_usec, struct intake_picture *ret_picture)
{
	if (core->done == 0)
		core->give_up_usec = now_usec + TIMEOUT_HEADER_USEC;
	core->done += n;
	if (core->done < CAMERA_HEAD)
		return 0;
	if (core->done == CAMERA_HEAD)
		return take_head(core);
	if (core->done < CAMERA_HEAD + (size_t)core->n_bytes)
		return 0;
	core->done = 0;
	if (!is_picture(core))
		return 0;
	ret_picture->n_left_out = core->frame.number - core->number - 1;
	ret_picture->usec = taken_usec(core, now_usec);
	core->number = core->frame.number;
	return 1;
}

uint64_t intake_deadline(const struct intake *core)
{
	return core->done > 0 ? core->give_up_usec : UINT64_MAX;
}
