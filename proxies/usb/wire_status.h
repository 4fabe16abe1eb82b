/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transfer results that may cross: Linux errno numbers, negative, as Documentation/driver-api/usb/error-codes.rst has them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum wire_status {
	WIRE_STATUS_OK = 0,
	WIRE_STATUS_NO_MEMORY = -12,
	WIRE_STATUS_NOT_ISO_DONE = -18, /* EXDEV: an isochronous packet was only partly done */
	WIRE_STATUS_NO_DEVICE = -19,
	WIRE_STATUS_INVALID = -22,
	WIRE_STATUS_STALL = -32,
	WIRE_STATUS_TIMEOUT_BUS = -62, /* ETIME */
	WIRE_STATUS_PROTOCOL = -71,
	WIRE_STATUS_OVERFLOW = -75,
	WIRE_STATUS_SEQUENCE = -84, /* EILSEQ */
	WIRE_STATUS_TOO_LARGE = -90,
	WIRE_STATUS_UNLINKED = -104,
	WIRE_STATUS_SHUTDOWN = -108,
	WIRE_STATUS_TIMED_OUT = -110,
	WIRE_STATUS_SHORT = -121,
};

static inline bool wire_status_is_known(int32_t status)
{
	switch ((enum wire_status)status) {
	case WIRE_STATUS_OK:
	case WIRE_STATUS_NO_MEMORY:
	case WIRE_STATUS_NOT_ISO_DONE:
	case WIRE_STATUS_NO_DEVICE:
	case WIRE_STATUS_INVALID:
	case WIRE_STATUS_STALL:
	case WIRE_STATUS_TIMEOUT_BUS:
	case WIRE_STATUS_PROTOCOL:
	case WIRE_STATUS_OVERFLOW:
	case WIRE_STATUS_SEQUENCE:
	case WIRE_STATUS_TOO_LARGE:
	case WIRE_STATUS_UNLINKED:
	case WIRE_STATUS_SHUTDOWN:
	case WIRE_STATUS_TIMED_OUT:
	case WIRE_STATUS_SHORT:
		return true;
	}
	return false;
}
