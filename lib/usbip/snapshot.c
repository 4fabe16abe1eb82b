/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bytes that a device's identity is made of; see the header for the layout. */
#include <string.h>

#include "lib/base/base.h"
#include "lib/usbip/snapshot.h"

static bool serial_is_clean(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] < 0x20 || bytes[i] > 0x7e)
			return false;
	return true;
}

static bool speed_is_known(uint8_t speed)
{
	return speed >= SNAPSHOT_SPEED_FIRST && speed <= SNAPSHOT_SPEED_LAST;
}

size_t usb_snapshot_build(uint8_t speed, const char *serial, const uint8_t *raw, size_t raw_len, uint8_t *bytes)
{
	size_t serial_len = strlen(serial);

	if (!speed_is_known(speed) || serial_len > LIMIT_TEXT ||
	    !serial_is_clean((const uint8_t *)serial, serial_len) ||
	    raw_len > LIMIT_SNAPSHOT - SNAPSHOT_HEAD - serial_len)
		return 0;
	bytes[SNAPSHOT_SPEED_AT] = speed;
	bytes[1] = (uint8_t)serial_len;
	memcpy(bytes + SNAPSHOT_HEAD, serial, serial_len);
	memcpy(bytes + SNAPSHOT_HEAD + serial_len, raw, raw_len);
	return SNAPSHOT_HEAD + serial_len + raw_len;
}

int usb_snapshot_parse(const uint8_t *untrusted_bytes, size_t len, struct usb_snapshot *ret_snapshot)
{
	size_t serial_len;

	if (len < SNAPSHOT_HEAD || len > LIMIT_SNAPSHOT)
		return USB_FAULT_COUNT;
	serial_len = untrusted_bytes[1];
	if (!speed_is_known(untrusted_bytes[SNAPSHOT_SPEED_AT]) || serial_len > LIMIT_TEXT ||
	    serial_len > len - SNAPSHOT_HEAD || !serial_is_clean(untrusted_bytes + SNAPSHOT_HEAD, serial_len))
		return USB_FAULT_COUNT;
	ret_snapshot->speed = untrusted_bytes[SNAPSHOT_SPEED_AT];
	memcpy(ret_snapshot->serial, untrusted_bytes + SNAPSHOT_HEAD, serial_len);
	ret_snapshot->serial[serial_len] = '\0';
	ret_snapshot->raw = untrusted_bytes + SNAPSHOT_HEAD + serial_len;
	ret_snapshot->raw_len = len - SNAPSHOT_HEAD - serial_len;
	return usb_descriptors_parse(ret_snapshot->raw, ret_snapshot->raw_len, &ret_snapshot->descriptors);
}
