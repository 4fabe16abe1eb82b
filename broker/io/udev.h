/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dom0's own USB devices, through libudev: attributes that the kernel prints in sysfs, never a descriptor. They are
 * listed like those of any qube; none can be attached while no agent runs in dom0. When one does, it lists them itself,
 * and this is paused.
 */
#pragma once

#include <systemd/sd-event.h>

#include "broker/core/core.h"

struct udev_devices;

/* Events of type CORE_LIST_BEGIN, CORE_DEVICE, CORE_DEVICE_GONE, CORE_LIST_END with everything but .qube and .now_usec. */
typedef void udev_hook(void *userdata, struct core_event *event);

/* Lists what is there (the hook is called), then follows changes. 0 or a negative errno. */
int udev_devices_new(sd_event *event, udev_hook *hook, void *userdata, struct udev_devices **ret_devices);
struct udev_devices *udev_devices_free(struct udev_devices *devices);

/* Going on lists everything anew. */
void udev_devices_pause(struct udev_devices *devices, bool pause);
