/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * v4l2loopback, a kernel module that is not Linux' own, by its control device (github.com/v4l2loopback/v4l2loopback, v4l2loopback.h;
 * 0.13.2 was read, and 0.15.4 for what it keeps). For each camera of another qube it gets a device more, in which the importer shows
 * pictures. Ours are /dev/videoN with N in a range of their own, and every device of v4l2loopback's in it is ours: those that a killed
 * agent has left are known by that. Devices outside the range are others', and are never touched.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lib/base/limits.h"
#include "lib/wire/messages.h"

#define LOOPBACK_DEVICES LIMIT_SESSIONS
#define LOOPBACK_FIRST \
	(256u - LOOPBACK_DEVICES) /* the last that Linux can have (VIDEO_NUM_DEVICES), and the last to be in use */
#define LOOPBACK_NAME sizeof("video255")

/* The control device's argument, struct v4l2_loopback_config there. */
struct loopback_config {
	int32_t number, unused;
	char label[32];
	uint32_t min_width, max_width, min_height, max_height; /* pixels; 0: its default */
	int32_t max_buffers, max_openers;                      /* the same */
	int32_t debug;
	int32_t announce_all_caps; /* 0: a camera to others from the moment on when pictures are shown */
};

/* Pure. Does that version, as /sys/module has it, tell who looks? So from 0.13 on. */
bool loopback_is_fit(const char *untrusted_version);

/* Pure. `untrusted_buffers`: what /sys/module has of how many the module gives a device. */
void loopback_configure(uint8_t number, const char *label, const char *untrusted_buffers,
			struct loopback_config *ret_config);

struct loopback;

/* 0 or a negative errno. The module need not be there yet. */
int loopback_new(sd_event *event, struct loopback **ret_loopback);
struct loopback *loopback_free(struct loopback *loopback); /* NULL is fine */

/* For the start: loads the module, says what is missing, removes what a killed agent left. */
void loopback_prepare(struct loopback *loopback);

/* The kernel has it now, to its end, and in a version that will do. Reads two files. */
bool loopback_present(void);

/*
 * Makes a device that programs call `label`. OUTCOME_OK with its number and its open node, or OUTCOME_NO_CAMERA, OUTCOME_BUSY (all
 * numbers are in use), OUTCOME_INTERNAL (logged).
 */
enum outcome loopback_add(struct loopback *loopback, const char *label, uint8_t *ret_number, int *ret_fd);

/* Has udev look at it again, now that it is a camera: what it knows is of when it was made. */
void loopback_announce(uint8_t number);

/*
 * Removes it; nothing of ours may have its node open. While a program of this qube has, the kernel refuses: then it is tried again
 * every second.
 */
void loopback_remove(struct loopback *loopback, uint8_t number);
