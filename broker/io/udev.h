/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dom0's own USB devices, through libudev: attributes that the kernel prints in sysfs, never a descriptor. They are
 * listed like those of any qube, and none can be attached: an agent in dom0 has no USB devices.
 */
#pragma once

#include <systemd/sd-event.h>

#include "broker/core/core.h"

struct udev_devices;

/*
 * Events of type CORE_DEVICE and CORE_DEVICE_GONE with everything but .qube and .now_usec. Slots are counted down from the last:
 * an agent's, which count up from the first, are others.
 */
typedef void udev_hook(void *userdata, struct core_event *event);

/* Tells what is there (the hook is called), then follows changes. 0 or a negative errno. */
int udev_devices_new(sd_event *event, udev_hook *hook, void *userdata, struct udev_devices **ret_devices);
struct udev_devices *udev_devices_free(struct udev_devices *devices);

/* All that are there (the hook is called): in each list of an agent in dom0, which ends what it does not name. */
void udev_devices_tell(struct udev_devices *devices);
