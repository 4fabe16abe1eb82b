/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request of the Qubes Admin API, as bytes. Pure: no allocation, no copy, every input has an answer.
 *
 *     METHOD [ "+" ARGUMENT ] SP SOURCE SP DEST_TYPE SP DEST NUL PAYLOAD, then the client half-closes
 *
 * At most LIMIT_ADMIN_REQUEST bytes. DEST_TYPE is "name", or "keyword" with DEST "adminvm", which means dom0. DEST
 * takes what is left of the header, spaces included. As Qubes' own server (core-admin, qubes/api/__init__.py): what
 * is not of this form is closed without a reply.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/limits.h"

/* Bytes in somebody else's buffer, not ended by a NUL. */
struct admin_span {
	const char *at;
	size_t len;
};

struct admin_request {
	struct admin_span method;
	struct admin_span argument; /* after the first '+'; empty when there is none */
	struct admin_span source;
	struct admin_span dest;
	struct admin_span payload;
};

enum admin_fault {
	ADMIN_FAULT_TOO_LONG = 1, /* more than LIMIT_ADMIN_REQUEST bytes */
	ADMIN_FAULT_NO_END,       /* no NUL after the header */
	ADMIN_FAULT_FIELDS,       /* not four fields */
	ADMIN_FAULT_DEST_TYPE,    /* neither "name" nor "keyword adminvm" */
	ADMIN_FAULT_BYTES,        /* the header is not printable ASCII */
	ADMIN_FAULT_DEVICE,       /* an argument that is not BACKEND+PORT[+DEVICE_ID] */
};

/* 0, or an admin_fault. The request points into untrusted_bytes. */
int admin_request_parse(const char *untrusted_bytes, size_t len, struct admin_request *ret_request);

/* A constant sentence for the log. */
const char *admin_fault_text(enum admin_fault fault);

struct admin_span admin_span(const char *text);
bool admin_span_is(struct admin_span span, const char *text);

/* Copies with a NUL. False, and an empty text, when it does not fit or holds a NUL. */
bool admin_span_copy(struct admin_span span, char *text, size_t size);

/*
 * Cuts the first line, or the part before the first `end`, off *rest. False at the end; then a part without its `end`
 * is still in *rest.
 */
bool admin_span_cut(struct admin_span *rest, char end, struct admin_span *ret_part);

/*
 * A device in an argument: BACKEND "+" PORT [ "+" DEVICE_ID ], the id in Qubes' encoding, which loses information
 * (admin_device_id_encode). PORT or DEVICE_ID "_" means any; without DEVICE_ID, as 4.2 sends it, any.
 */
struct admin_device {
	struct admin_span backend, port, device_id;
	bool any_port, any_id;
};

/* 0 or ADMIN_FAULT_DEVICE. */
int admin_device_parse(struct admin_span untrusted_argument, struct admin_device *ret_device);

/*
 * The encoding of VirtualDevice.repr_for_qarg in Qubes' device_protocol.py: ':' becomes '+', "?******" seven '_', '*'
 * becomes '_'. In place; the length stays.
 */
void admin_device_id_encode(char *id);

/* Whether `wanted` names this device. `encoded_id` is what admin_device_id_encode() made of its id. */
bool admin_device_matches(const struct admin_device *wanted, const char *backend, const char *port,
			  const char *encoded_id);
