/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any 48 bytes as a USB/IP header: what is decoded is encoded, decoded and encoded again to the same bytes. */
#include <assert.h>
#include <string.h>

#include "lib/usbip/pdu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct usbip_header h, again;
	struct usbip_iso_packet p;
	uint8_t bytes[USBIP_HEADER], same[USBIP_HEADER], packet[USBIP_ISO_PACKET];

	if (size < USBIP_HEADER)
		return 0;
	usbip_iso_decode(data, &p);
	usbip_iso_encode(&p, packet);
	assert(memcmp(packet, data, sizeof(packet)) == 0);
	if (usbip_decode(data, &h))
		return 0;
	usbip_encode(&h, bytes);
	assert(usbip_decode(bytes, &again) == 0);
	usbip_encode(&again, same);
	assert(memcmp(bytes, same, sizeof(bytes)) == 0);
	assert(memcmp(bytes, data, h.command == USBIP_CMD_SUBMIT ? 48 : h.command == USBIP_RET_SUBMIT ? 40 : 24) == 0);
	return 0;
}
