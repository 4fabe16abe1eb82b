/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A buffer between two ends of the importer with the filter in its middle:
 *
 *     0 .. at        sent
 *     at .. passed   gone past the filter, may be sent
 *     passed .. end  not yet
 *     .. size        room for what is read
 *     .. + FLOW_INSERT_ROOM  only for PDUs that the filter itself puts in
 *
 * Invariant: at <= passed <= end <= size + FLOW_INSERT_ROOM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxies/usb/import_filter.h"

/* All that the filter can hold back or refuse before something must be sent. */
#define FLOW_INSERT_ROOM ((IMPORT_EARLY_UNLINKS + IMPORT_REFUSALS) * USBIP_HEADER)

struct flow {
	uint8_t *bytes; /* size + FLOW_INSERT_ROOM of them, the caller's */
	size_t size;
	size_t at, passed, end;
};

/* How many bytes may be read to bytes + end. Moves what is left to the front when little room is behind it. */
size_t flow_room(struct flow *flow);

/* There is room for one more PDU; it is had again when what is before it was sent. */
bool flow_has_insert_room(const struct flow *flow);

/* Puts a PDU behind what was passed. Only when flow_has_insert_room(). */
void flow_insert(struct flow *flow, const uint8_t pdu[USBIP_HEADER]);

/* Takes the first `n` bytes of what was not passed out of the stream. */
void flow_drop(struct flow *flow, size_t n);
