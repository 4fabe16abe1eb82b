/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB/IP headers: bytes <-> structs, nothing judged here. Layout in the header file. */
#include <assert.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/usbip/pdu.h"

static int32_t get_be32s(const uint8_t *p)
{
	return (int32_t)get_be32(p);
}

static void put_be32s(uint8_t *p, int32_t v)
{
	put_be32(p, (uint32_t)v);
}

int usbip_decode(const uint8_t untrusted_bytes[USBIP_HEADER], struct usbip_header *ret_header)
{
	const uint8_t *p = untrusted_bytes;
	struct usbip_header *h = ret_header;

	*h = (struct usbip_header){
		.command = get_be32(p),
		.seqnum = get_be32(p + 4),
		.devid = get_be32(p + 8),
		.direction = get_be32(p + 12),
		.ep = get_be32(p + 16),
	};
	switch (h->command) {
	case USBIP_CMD_SUBMIT:
		h->cmd_submit = (struct usbip_cmd_submit){
			.flags = get_be32(p + 20),
			.length = get_be32s(p + 24),
			.start_frame = get_be32s(p + 28),
			.n_packets = get_be32s(p + 32),
			.interval = get_be32s(p + 36),
		};
		memcpy(h->cmd_submit.setup, p + 40, sizeof(h->cmd_submit.setup));
		return 0;
	case USBIP_CMD_UNLINK:
		h->unlink_seqnum = get_be32(p + 20);
		return 0;
	case USBIP_RET_SUBMIT:
		h->ret_submit = (struct usbip_ret_submit){
			.status = get_be32s(p + 20),
			.actual_length = get_be32s(p + 24),
			.start_frame = get_be32s(p + 28),
			.n_packets = get_be32s(p + 32),
			.error_count = get_be32s(p + 36),
		};
		return 0;
	case USBIP_RET_UNLINK:
		h->unlink_status = get_be32s(p + 20);
		return 0;
	}
	return 1;
}

void usbip_encode(const struct usbip_header *h, uint8_t bytes[USBIP_HEADER])
{
	uint8_t *p = bytes;

	memset(p, 0, USBIP_HEADER);
	put_be32(p, h->command);
	put_be32(p + 4, h->seqnum);
	put_be32(p + 8, h->devid);
	put_be32(p + 12, h->direction);
	put_be32(p + 16, h->ep);
	switch ((enum usbip_command)h->command) {
	case USBIP_CMD_SUBMIT:
		put_be32(p + 20, h->cmd_submit.flags);
		put_be32s(p + 24, h->cmd_submit.length);
		put_be32s(p + 28, h->cmd_submit.start_frame);
		put_be32s(p + 32, h->cmd_submit.n_packets);
		put_be32s(p + 36, h->cmd_submit.interval);
		memcpy(p + 40, h->cmd_submit.setup, sizeof(h->cmd_submit.setup));
		return;
	case USBIP_CMD_UNLINK:
		put_be32(p + 20, h->unlink_seqnum);
		return;
	case USBIP_RET_SUBMIT:
		put_be32s(p + 20, h->ret_submit.status);
		put_be32s(p + 24, h->ret_submit.actual_length);
		put_be32s(p + 28, h->ret_submit.start_frame);
		put_be32s(p + 32, h->ret_submit.n_packets);
		put_be32s(p + 36, h->ret_submit.error_count);
		return;
	case USBIP_RET_UNLINK:
		put_be32s(p + 20, h->unlink_status);
		return;
	}
	assert(0);
}

void usbip_iso_decode(const uint8_t untrusted_bytes[USBIP_ISO_PACKET], struct usbip_iso_packet *ret_packet)
{
	*ret_packet = (struct usbip_iso_packet){
		.offset = get_be32(untrusted_bytes),
		.length = get_be32(untrusted_bytes + 4),
		.actual_length = get_be32(untrusted_bytes + 8),
		.status = get_be32s(untrusted_bytes + 12),
	};
}

void usbip_iso_encode(const struct usbip_iso_packet *packet, uint8_t bytes[USBIP_ISO_PACKET])
{
	put_be32(bytes, packet->offset);
	put_be32(bytes + 4, packet->length);
	put_be32(bytes + 8, packet->actual_length);
	put_be32s(bytes + 12, packet->status);
}
