/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB devices as udev sees them: those that are there, and what comes and goes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/limits.h"

struct udev_watch;

struct udev_sight {
	bool ours; /* there, and one that may be offered: not of vhci_hcd, not excluded by QDB_EXPORT=0 */
	char port[LIMIT_PORT_TEXT];
	uint16_t dev; /* device number of the enumeration that the event is about; 0: not known */
	char syspath[256];
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

/* One event about one USB device. 0 and *ret_sight, or a udev_outcome. */
int udev_watch_receive(struct udev_watch *watch, struct udev_sight *ret_sight);

/*
 * Calls `found` for each device that is there and ours. One whose rules have not run yet shows no property; its event
 * follows. 0 or a negative errno.
 */
int udev_watch_scan(struct udev_watch *watch, void (*found)(void *userdata, const struct udev_sight *sight),
		    void *userdata);
