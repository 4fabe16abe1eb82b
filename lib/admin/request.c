/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See request.h. Every function here sees bytes of whoever may open the socket, or, through qrexec, of another qube:
 * total, no allocation, no state.
 */
#include <string.h>

#include "lib/admin/request.h"

#define UNKNOWN_INTERFACE "?******"
#define UNKNOWN_ENCODED "_______"

struct admin_span admin_span(const char *text)
{
	return (struct admin_span){.at = text, .len = strlen(text)};
}

bool admin_span_is(struct admin_span span, const char *text)
{
	return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

bool admin_span_copy(struct admin_span span, char *text, size_t size)
{
	text[0] = '\0';
	if (span.len >= size || memchr(span.at, '\0', span.len))
		return false;
	memcpy(text, span.at, span.len);
	text[span.len] = '\0';
	return true;
}

bool admin_span_cut(struct admin_span *rest, char end, struct admin_span *ret_part)
{
	const char *at = rest->len ? memchr(rest->at, end, rest->len) : NULL;

	if (!at)
		return false;
	*ret_part = (struct admin_span){.at = rest->at, .len = (size_t)(at - rest->at)};
	rest->at = at + 1;
	rest->len -= ret_part->len + 1;
	return true;
}

static bool is_printable(struct admin_span span)
{
	for (size_t i = 0; i < span.len; i++)
		if (span.at[i] < 0x20 || span.at[i] > 0x7e)
			return false;
	return true;
}

int admin_request_parse(const char *untrusted_bytes, size_t len, struct admin_request *ret_request)
{
	struct admin_span untrusted_rest = {.at = untrusted_bytes, .len = len};
	struct admin_span untrusted_header, method, source, dest_type;
	struct admin_request request = {0};

	if (len > LIMIT_ADMIN_REQUEST)
		return ADMIN_FAULT_TOO_LONG;
	if (!admin_span_cut(&untrusted_rest, '\0', &untrusted_header))
		return ADMIN_FAULT_NO_END;
	request.payload = untrusted_rest;
	if (!is_printable(untrusted_header))
		return ADMIN_FAULT_BYTES;
	if (!admin_span_cut(&untrusted_header, ' ', &method) || !admin_span_cut(&untrusted_header, ' ', &source) ||
	    !admin_span_cut(&untrusted_header, ' ', &dest_type))
		return ADMIN_FAULT_FIELDS;
	request.source = source;
	request.dest = untrusted_header;
	if (admin_span_is(dest_type, "keyword") && admin_span_is(request.dest, "adminvm"))
		request.dest = admin_span("dom0");
	else if (!admin_span_is(dest_type, "name"))
		return ADMIN_FAULT_DEST_TYPE;
	request.argument = method;
	if (!admin_span_cut(&request.argument, '+', &request.method)) {
		request.method = method;
		request.argument = admin_span("");
	}
	*ret_request = request;
	return 0;
}

const char *admin_fault_text(enum admin_fault fault)
{
	switch (fault) {
	case ADMIN_FAULT_TOO_LONG:
		return "request too long";
	case ADMIN_FAULT_NO_END:
		return "framing error: no end of the header";
	case ADMIN_FAULT_FIELDS:
		return "framing error: the header has not four fields";
	case ADMIN_FAULT_DEST_TYPE:
		return "framing error: the destination is not given by name";
	case ADMIN_FAULT_BYTES:
		return "framing error: the header is not printable ASCII";
	case ADMIN_FAULT_DEVICE:
		return "not a device: BACKEND+PORT[+DEVICE_ID] is needed";
	}
	return "framing error";
}

int admin_device_parse(struct admin_span untrusted_argument, struct admin_device *ret_device)
{
	struct admin_device device = {0};

	if (!admin_span_cut(&untrusted_argument, '+', &device.backend) || !device.backend.len)
		return ADMIN_FAULT_DEVICE;
	if (admin_span_cut(&untrusted_argument, '+', &device.port)) {
		device.device_id = untrusted_argument;
		if (!device.device_id.len)
			return ADMIN_FAULT_DEVICE;
		device.any_id = admin_span_is(device.device_id, "_");
	} else {
		device.port = untrusted_argument;
		device.device_id = admin_span("");
		device.any_id = true;
	}
	if (!device.port.len)
		return ADMIN_FAULT_DEVICE;
	device.any_port = admin_span_is(device.port, "_");
	*ret_device = device;
	return 0;
}

void admin_device_id_encode(char *id)
{
	for (char *at = id; *at; at++) {
		if (strncmp(at, UNKNOWN_INTERFACE, strlen(UNKNOWN_INTERFACE)) == 0)
			memcpy(at, UNKNOWN_ENCODED, strlen(UNKNOWN_ENCODED));
		else if (*at == ':')
			*at = '+';
		else if (*at == '*')
			*at = '_';
	}
}

bool admin_device_matches(const struct admin_device *wanted, const char *backend, const char *port,
			  const char *encoded_id)
{
	return admin_span_is(wanted->backend, backend) && (wanted->any_port || admin_span_is(wanted->port, port)) &&
	       (wanted->any_id || admin_span_is(wanted->device_id, encoded_id));
}
