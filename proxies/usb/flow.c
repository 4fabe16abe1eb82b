/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See flow.h. */
#include "proxies/usb/flow.h"

#include <assert.h>
#include <string.h>

size_t flow_room(struct flow *flow)
{
	if (flow->at == flow->end) {
		flow->at = flow->passed = flow->end = 0;
	} else if (flow->at > 0 && flow->end + flow->size / 4 > flow->size) {
		memmove(flow->bytes, flow->bytes + flow->at, flow->end - flow->at);
		flow->passed -= flow->at;
		flow->end -= flow->at;
		flow->at = 0;
	}
	return flow->size > flow->end ? flow->size - flow->end : 0;
}

bool flow_has_insert_room(const struct flow *flow)
{
	return flow->end + USBIP_HEADER <= flow->size + FLOW_INSERT_ROOM;
}

void flow_insert(struct flow *flow, const uint8_t pdu[USBIP_HEADER])
{
	assert(flow_has_insert_room(flow));
	memmove(flow->bytes + flow->passed + USBIP_HEADER, flow->bytes + flow->passed, flow->end - flow->passed);
	memcpy(flow->bytes + flow->passed, pdu, USBIP_HEADER);
	flow->passed += USBIP_HEADER;
	flow->end += USBIP_HEADER;
}

void flow_drop(struct flow *flow, size_t n)
{
	assert(n <= flow->end - flow->passed);
	memmove(flow->bytes + flow->passed, flow->bytes + flow->passed + n, flow->end - flow->passed - n);
	flow->end -= n;
}
