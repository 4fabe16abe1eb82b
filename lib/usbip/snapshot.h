/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The snapshot of a device: everything that it said about itself when it was listed, as one string of bytes, and its
 * SHA-256. The digest goes with the device's entry to the broker, from there to both ends of a session: the exporter
 * opens only a device whose snapshot still has it, sends the snapshot ahead of the stream, and the importer checks it
 * against the broker's digest before the target kernel sees a byte. After that both ends hold all traffic against it.
 *
 *     0  u8   speed           enum wire_speed
 *     1  u8   serial_len      0..LIMIT_TEXT
 *     2  serial_len bytes     the serial as shown (printable ASCII, other characters replaced by '_')
 *     .. the bytes of sysfs `descriptors`, to the end
 *
 * The session's preamble on the data channel, little endian:
 *   exporter:  u32 magic "QUSB", u16 version, u16 zero, u32 devid, u32 snapshot_len (1..LIMIT_SNAPSHOT), snapshot
 *   importer:  u32 magic "QUGO", u16 version, u16 zero        (only after the digest was right)
 * then USB/IP: CMD_SUBMIT/CMD_UNLINK towards the exporter, RET_* towards the importer.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/limits.h"
#include "lib/usbip/descriptors.h"

#define SNAPSHOT_MAGIC 0x42535551u    /* "QUSB" */
#define SNAPSHOT_MAGIC_GO 0x4f475551u /* "QUGO" */
#define SNAPSHOT_VERSION 1u
#define SNAPSHOT_PREAMBLE 16u
#define SNAPSHOT_GO 8u
#define SNAPSHOT_SPEED_AT 0u
#define SNAPSHOT_HEAD 2u
#define SNAPSHOT_SPEED_FIRST 1u /* WIRE_SPEED_LOW */
#define SNAPSHOT_SPEED_LAST 6u  /* WIRE_SPEED_SUPER_PLUS */
#define SNAPSHOT_SPEED_HIGH 3u
#define SNAPSHOT_SPEED_SUPER 5u

struct usb_snapshot {
	uint8_t speed;
	char serial[LIMIT_TEXT + 1];
	const uint8_t *raw; /* the descriptors inside the bytes that were parsed (borrowed) */
	size_t raw_len;
	struct usb_descriptors descriptors;
};

/* Builds the bytes. Returns their length, or 0 when they would not fit in LIMIT_SNAPSHOT or speed or serial is not valid. */
size_t usb_snapshot_build(uint8_t speed, const char *serial, const uint8_t *raw, size_t raw_len,
			  uint8_t *bytes /* LIMIT_SNAPSHOT */);

/* Pure and total. 0, a usb_descriptor_fault, or USB_FAULT_COUNT for a bad head (speed, serial). `bytes` must outlive
 * the snapshot. */
int usb_snapshot_parse(const uint8_t *untrusted_bytes, size_t len, struct usb_snapshot *ret_snapshot);
