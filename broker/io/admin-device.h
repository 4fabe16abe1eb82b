/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The core's devices as the Admin API shows and names them. Pure.
 *
 * A device id of the API is the core's id with each character of the serial number outside [A-Za-z0-9._-] shown as
 * '_', and each seventh '_' in a row as '-'. So an id has no space (which ends a field of a request), and Qubes'
 * encoding, which loses ':', '+', '*' and seven '_', leaves it readable: encoding and decoding it gives it back.
 */
#pragma once

#include "broker/core/assignments.h"
#include "lib/admin/reply.h"
#include "lib/base/text.h"

/* Qubes' name of a device: where it is, and what it shows. */
struct admin_names {
	const char *backend;
	char id[CORE_DEVICE_ID_MAX];
	char encoded_id[CORE_DEVICE_ID_MAX];
	char place[LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT];                         /* "sys-usb:1-2" */
	char full[LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT + 1 + CORE_DEVICE_ID_MAX]; /* "sys-usb:1-2:id" */
};

void admin_device_names(const char *backend, const struct core_device *device, struct admin_names *ret_names);

/* Makes the core's id of a device the API's, in place; the length stays. */
void admin_device_id_shown(char *id);

/* One line of Available, or of Attached; `mode` is of the assignment that is so fulfilled, or "manual". */
void admin_write_available(struct admin_writer *writer, const char *backend, const struct core_device *device,
			   const char *label); /* NULL: none */
void admin_write_attached(struct admin_writer *writer, const char *backend, const struct core_device *device,
			  const char *mode);

/* What was said of a device beside where it is to go. */
struct admin_said {
	bool follow_port;
	uint64_t max_time_usec;
	struct core_picture picture;
};
struct admin_said admin_said_in_terms(const struct core_terms *terms);
struct admin_said admin_said_in_assignment(const struct core_assignment *assignment);

/* The same as keys and values; returns how many. */
#define ADMIN_OPTIONS (4u + CONTROL_COUNT)
struct admin_options {
	const char *options[ADMIN_OPTIONS][2];
	char time[TEXT_SECONDS], size[TEXT_SIZE], fps[8], controls[CONTROL_COUNT][CONTROL_TEXT];
};
size_t admin_options(const struct admin_said *said, struct admin_options *ret_options);

/* As " _follow-port='yes' _max-time='30m'", and as Python shows a dict: "{'max-time': '30m'}". */
#define ADMIN_OPTIONS_MAX 256u
void admin_write_options(struct admin_writer *writer, const struct admin_said *said);
void admin_options_text(const struct admin_said *said, char text[ADMIN_OPTIONS_MAX]);

/* Whether the API says "attached": from ATTACHED until the source's export is proven gone. */
bool admin_is_attached(const struct core_device *device);

/* "peripheral", as Qubes says, where no class has that number. */
const char *admin_class_name(uint8_t class_id);
