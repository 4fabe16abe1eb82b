/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of devices that this qube offers, and of those that it cannot offer. Pure: told what is there, it says
 * what that changes. A device keeps its {slot, generation} as long as it is the same enumeration with the same
 * content; anything else is a device that went and another that came. No {slot, generation} is ever used again.
 */
#pragma once

#include <stdbool.h>

#include "proxies/agent/identity.h"

#define TRACK_LEFT_OUT 256u /* remembered one by one; more are only counted at each scan */

struct track_device {
	bool used;
	bool seen; /* in the present scan */
	uint16_t slot;
	uint32_t generation;
	struct identity identity;
};

struct track_left_out {
	char port[LIMIT_PORT_TEXT];
	uint16_t dev;
	bool full; /* there was no slot for it, else it could not be described */
	bool seen;
};

struct track {
	uint32_t last_generation;
	struct track_device devices[LIMIT_DEVICES];
	size_t n_left_out;
	struct track_left_out left_out[TRACK_LEFT_OUT];
	size_t n_uncounted; /* left out beyond TRACK_LEFT_OUT, since the last scan began */
};

/* What a call changed. */
struct track_change {
	bool gone; /* gone_slot, gone_generation are not there any more */
	uint16_t gone_slot;
	uint32_t gone_generation;
	const struct track_device *added; /* or NULL; valid until the next call */
};

void track_init(struct track *track);

/* There is such a device now. False if it had to be left out for want of a slot. */
bool track_put(struct track *track, const struct identity *identity, struct track_change *ret_change);

/*
 * There is something at `port` (enumeration `dev`) that cannot be described. True if that is new: worth a log line.
 */
bool track_leave_out(struct track *track, const char *port, uint16_t dev, struct track_change *ret_change);

/* Nothing (that is ours to offer) is at `port` any more. `dev`: only if it is that enumeration; 0: whatever it is. */
void track_remove(struct track *track, const char *port, uint16_t dev, struct track_change *ret_change);

/* A full look: begin, put or leave out all that is there, then sweep until it says false. */
void track_scan_begin(struct track *track);
bool track_sweep(struct track *track, struct track_change *ret_change);

/* A slot is free and a device was left out for want of one: time for a full look. */
bool track_has_room_again(const struct track *track);

/* NULL when it is not there (any more). */
const struct track_device *track_find(const struct track *track, uint16_t slot, uint32_t generation);

/* Start with *cursor = 0; NULL at the end. */
const struct track_device *track_next(const struct track *track, size_t *cursor);

uint16_t track_n_left_out(const struct track *track);
