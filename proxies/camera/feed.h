/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of the camera's buffers goes to the importer next, at the exporter's end. Pure.
 *
 * One buffer at most is on its way, one waits: the newest. An older one that waits goes back to the camera unsent, and counts as left
 * out. A frame that has begun is sent whole, also when its run is over; the camera may be stopped meanwhile, for its buffers stay.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxies/camera/stream.h"

#define FEED_NONE (-1) /* no buffer */

struct feed {
	uint32_t n_bytes;     /* of a frame */
	bool on;              /* a run is */
	uint32_t run, number; /* number: of the newest frame of the run */
	unsigned int wants;   /* frames that the importer has room for, but not those on their way */
	struct {
		int buffer; /* FEED_NONE: none waits */
		uint32_t number;
		uint64_t stamp;
	} waiting;
	int sending; /* its buffer; FEED_NONE: none is on its way */
	size_t done; /* bytes of it, its head included */
	uint8_t head[CAMERA_HEAD];
	uint64_t n_sent, n_left_out;
};

void feed_init(struct feed *core, uint32_t n_bytes);

/* The run of that number is on now, or no longer. Returns a buffer that goes back to the camera, or FEED_NONE. */
int feed_run(struct feed *core, uint32_t run, bool on);

/* What waits is not sent: the camera was closed. Returns its buffer, which goes back, or FEED_NONE. */
int feed_leave_out(struct feed *core);

/* The importer has room for one more. 0, or -EPROTO: it may not say so now. */
int feed_want(struct feed *core, uint32_t untrusted_run);

/* The camera has filled a buffer. Returns one that goes back to it (this one, if no run is on), or FEED_NONE. */
int feed_captured(struct feed *core, int buffer, uint64_t stamp);

/*
 * The buffer that goes on its way now, if it is time for one, or FEED_NONE. Its frame is there until feed_wrote() or feed_spoilt()
 * gives it back.
 */
int feed_begin(struct feed *core);

/* What has begun just now turns out to be no picture: it is left out, and the importer's room is kept. Returns its buffer. */
int feed_spoilt(struct feed *core);

/* While a frame is on its way: what is still to be written of its head, and then of the frame itself. */
struct feed_rest {
	const uint8_t *head;
	size_t head_len;
	size_t at, len; /* of the frame */
};
void feed_rest(const struct feed *core, struct feed_rest *ret_rest);

/* So many bytes were written. Returns the buffer, if that was the last of it and it goes back to the camera, or FEED_NONE. */
int feed_wrote(struct feed *core, size_t n);
