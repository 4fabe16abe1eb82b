/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB/IP's messages after the import: a header of 48 bytes, all fields 32 bits big endian; then, for CMD_SUBMIT OUT and
 * RET_SUBMIT IN, the data; then, for isochronous, one descriptor of 16 bytes per packet.
 * Source: Linux Documentation/usb/usbip_protocol.rst.
 *
 *      0 command  4 seqnum  8 devid  12 direction  16 ep          (devid, direction, ep are 0 in replies)
 *     20 CMD_SUBMIT  flags, length, start_frame, n_packets, interval, setup[8]
 *        CMD_UNLINK  seqnum to unlink, 24 bytes of zero
 *        RET_SUBMIT  status, actual_length, start_frame, n_packets, error_count, 8 bytes of zero
 *        RET_UNLINK  status, 24 bytes of zero
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define USBIP_HEADER 48u
#define USBIP_ISO_PACKET 16u

enum usbip_command { USBIP_CMD_SUBMIT = 1, USBIP_CMD_UNLINK = 2, USBIP_RET_SUBMIT = 3, USBIP_RET_UNLINK = 4 };
enum usbip_direction { USBIP_OUT = 0, USBIP_IN = 1 };

/* Transfer flags as Linux has them; all others mean nothing to the other end */
#define USBIP_FLAG_ZERO_PACKET 0x40u

struct usbip_cmd_submit {
	uint32_t flags;
	int32_t length;
	int32_t start_frame;
	int32_t n_packets;
	int32_t interval;
	uint8_t setup[8];
};

struct usbip_ret_submit {
	int32_t status;
	int32_t actual_length;
	int32_t start_frame;
	int32_t n_packets;
	int32_t error_count;
};

struct usbip_header {
	uint32_t command; /* enum usbip_command says which member of the union is meant; none for another number */
	uint32_t seqnum;
	uint32_t devid;
	uint32_t direction;
	uint32_t ep;
	union {
		struct usbip_cmd_submit cmd_submit;
		uint32_t unlink_seqnum; /* CMD_UNLINK */
		struct usbip_ret_submit ret_submit;
		int32_t unlink_status; /* RET_UNLINK */
	};
};

struct usbip_iso_packet {
	uint32_t offset;
	uint32_t length;
	uint32_t actual_length;
	int32_t status;
};

/* Total: any 48 bytes. 0, or 1 when the command is none of the four (the five first fields are set all the same). */
int usbip_decode(const uint8_t untrusted_bytes[USBIP_HEADER], struct usbip_header *ret_header);

/* `header->command` is one of the four. All 48 bytes are written. */
void usbip_encode(const struct usbip_header *header, uint8_t bytes[USBIP_HEADER]);

void usbip_iso_decode(const uint8_t untrusted_bytes[USBIP_ISO_PACKET], struct usbip_iso_packet *ret_packet);
void usbip_iso_encode(const struct usbip_iso_packet *packet, uint8_t bytes[USBIP_ISO_PACKET]);
