/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB devices and the nodes of cameras as udev sees them: those that are there, and what comes and goes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/limits.h"

struct udev_watch;

enum udev_kind {
	UDEV_USB,
	UDEV_VIDEO, /* /dev/videoN: a camera, or what only stands beside one (metadata, an output) */
};

#define UDEV_VIDEO_MAX 255u /* of N: Linux' VIDEO_NUM_DEVICES is 256 */
#define UDEV_SYSPATH 256u

/* Of a node; the USB device is the one that it is part of, if there is one. The texts end in zeros. */
struct udev_video {
	uint8_t number;                /* N */
	uint16_t dev;                  /* the USB device's number: of its enumeration; 0: none */
	uint64_t since;                /* when udev saw the node first, microseconds of CLOCK_MONOTONIC; 0: not known */
	uint16_t vendor, product;      /* the USB device's, 0: none */
	char serial[LIMIT_TEXT + 1];   /* the same, made safe */
	char place[UDEV_SYSPATH + 16]; /* which of the nodes of what is plugged in where: the same after each boot */
};

struct udev_sight {
	enum udev_kind kind;
	bool ours;  /* there, and one that may be offered: not of vhci_hcd, not made up, not excluded by QDB_EXPORT=0 */
	bool event; /* something has happened to it, if only that somebody wants it looked at */
	char syspath[UDEV_SYSPATH];
	char port[LIMIT_PORT_TEXT]; /* UDEV_USB; of a video node its name, "videoN" */
	uint16_t dev; /* UDEV_USB: device number of the enumeration that the event is about; 0: not known */
	struct udev_video video;
};

/* Outcomes, positive */
enum udev_outcome {
	UDEV_NOTHING = 1, /* no event now */
	UDEV_LOST,        /* events were lost: look at everything again */
};

/* Listens from now on; what is there already comes by udev_watch_scan(). 0 or a negative errno. */
int udev_watch_new(struct udev_watch **ret_watch);
struct udev_watch *udev_watch_free(struct udev_watch *watch);

/* To poll for reading. */
int udev_watch_fd(const struct udev_watch *watch);

/* One event about one of them. 0 and *ret_sight, or a udev_outcome. */
int udev_watch_receive(struct udev_watch *watch, struct udev_sight *ret_sight);

/*
 * Calls `found` for each device of that kind that is there and ours. One whose rules have not run yet shows no property; its event
 * follows. 0 or a negative errno.
 */
int udev_watch_scan(struct udev_watch *watch, enum udev_kind kind,
		    void (*found)(void *userdata, const struct udev_sight *sight), void *userdata);
