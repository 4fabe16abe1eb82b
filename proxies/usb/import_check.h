/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does what a device answers on endpoint 0 agree with its snapshot? Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/usbip/snapshot.h"

/*
 * `setup` as the kernel sent it, `untrusted_data` what came back, `good` whether with status 0. True when it may be shown
 * to the kernel: it is the snapshot's descriptor as far as it was asked for (a beginning of that when not `good`), or the
 * snapshot's serial number, or nothing we know.
 */
bool import_check_control(const struct usb_snapshot *snapshot, const uint8_t setup[8], bool good,
			  const uint8_t *untrusted_data, size_t len);
