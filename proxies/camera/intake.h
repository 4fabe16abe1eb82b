/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frames that come, at the importer's end: where their bytes go, and which are pictures of the run that is on. Pure.
 *
 * Each byte goes where it stays: into the place of the next picture. What comes of a run that is over goes nowhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxies/camera/stream.h"

struct intake {
	uint32_t n_bytes; /* of a frame */
	uint32_t run;     /* 0: none yet */
	bool on;
	unsigned int wanted;       /* frames of this run that may come */
	uint64_t owed;             /* and of those before it, until one of this has come */
	uint32_t number;           /* of the last frame of this run */
	struct camera_frame frame; /* the one that comes */
	size_t done;               /* bytes of it, its head included */
	uint64_t give_up_usec;     /* until then it must be whole */
	uint8_t head[CAMERA_HEAD];
	uint8_t waste[4096];
	/* when pictures were taken, by our clock */
	uint64_t last_usec, heard_usec;
	int64_t ahead_usec; /* the exporter's clock before ours, at least */
	bool has_clock;
};

/* A picture of the run that is on is whole. */
struct intake_picture {
	uint64_t
		usec; /* by our clock, when it was taken, as far as can be told: after the last one, and not in the future */
	uint32_t n_left_out; /* between the last one and this */
};

void intake_init(struct intake *core, uint32_t n_bytes);

/* The exporter was told that this run is on (and so that a frame is wanted), or no longer. */
void intake_run(struct intake *core, uint32_t run, bool on);

/* True: there is room for one more, and the exporter is to be told WANT with this run's number; it knows from now on. */
bool intake_want(struct intake *core);

/*
 * Where the next bytes go, and how many they may be; never 0. `picture`: the place of the next picture, the same from its first byte
 * to its last.
 */
size_t intake_room(struct intake *core, uint8_t *picture, uint8_t **ret_at);

/* So many came there. 0: more must come; 1: *ret_picture is whole; -EPROTO: the exporter may not send this now. */
int intake_got(struct intake *core, size_t n, uint64_t now_usec, struct intake_picture *ret_picture);

/* A frame that has begun must be whole by then; UINT64_MAX: none has. */
uint64_t intake_deadline(const struct intake *core);
