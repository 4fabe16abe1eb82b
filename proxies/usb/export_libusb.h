/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device of an export session: an open usbfs node, driven through libusb. The only room that knows libusb. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>

#include "lib/usbip/snapshot.h"
#include "proxies/usb/export_core.h"

#define EXPORT_LIBUSB_POLLFDS 8

struct export_libusb;

/*
 * Takes the device over: holds what it says now against the snapshot, detaches the kernel's drivers, claims all
 * interfaces, resets it once so that nothing of an earlier user is left in it, and looks again. Its kernel drivers
 * never get it back. `fd` stays the caller's. `configuration`: the one that the kernel has it in, 0 for none (the device
 * itself may say anything, and an interface that is not claimed is one that a driver of this qube keeps). 0, an enum
 * outcome (CHANGED, UNPLUGGED, BUSY, OPEN_FAILED), or a negative errno.
 */
int export_libusb_open(int fd, const struct usb_snapshot *snapshot, uint8_t configuration,
		       struct export_libusb **ret_device);

/* For export_core_init(). `core` gets the completions, from within export_libusb_handle(). */
extern const struct export_device_ops export_libusb_ops;
void export_libusb_attach(struct export_libusb *device, struct export_core *core);

/* What to poll; constant for the life of the device. At most EXPORT_LIBUSB_POLLFDS. */
int export_libusb_pollfds(const struct export_libusb *device, struct pollfd *fds);

/* Takes in what the polled fds have to say, without blocking. 0, or EXPORT_GONE. */
int export_libusb_handle(struct export_libusb *device, const struct pollfd *fds, int n_fds);
