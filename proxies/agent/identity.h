/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who a device is; of USB: what the kernel shows of it in sysfs, checked and made safe, and its snapshot.
 */
#pragma once

#include "lib/base/limits.h"
#include "lib/wire/messages.h"

struct identity {
	uint8_t class_id; /* enum wire_class */
	char port[LIMIT_PORT_TEXT];
	char path[LIMIT_PATH_TEXT];   /* text_usb_path(); "": not known */
	char parent[LIMIT_PORT_TEXT]; /* the port of the USB device that it is a part of; "": of none, or not known */
	uint16_t bus,
		dev; /* a new dev number at each enumeration: two equal devices in a row differ here; bus 0: not USB */
	uint8_t speed; /* enum wire_speed */
	uint16_t vendor, product;
	uint8_t n_interfaces;
	uint8_t interfaces[LIMIT_INTERFACES][3];
	uint8_t digest[WIRE_DIGEST]; /* of the snapshot */
	char serial[LIMIT_TEXT + 1]; /* the three texts are printable ASCII, empty if the device has none */
	char manufacturer[LIMIT_TEXT + 1];
	char product_name[LIMIT_TEXT + 1];
};

/* The snapshot's bytes, for who needs them. */
struct snapshot_bytes {
	size_t len;
	uint8_t bytes[LIMIT_SNAPSHOT];
};

/* Outcomes, positive */
enum identity_outcome {
	IDENTITY_GONE = 1, /* no such device, or it went or was enumerated anew while it was read */
	IDENTITY_HUB,      /* hubs are never exported */
	IDENTITY_BAD,      /* it cannot be described: descriptors that do not parse or are too long, unknown speed */
};

/*
 * Reads the device in the sysfs folder `syspath` (a link to it will do, but has no path), whose name in
 * /sys/bus/usb/devices is `port`. 0 with *ret_identity
 * and *ret_snapshot set, or an identity_outcome; *ret_dev is the device number even for IDENTITY_BAD (else 0), and
 * *ret_reason then a constant sentence.
 */
int identity_read(const char *syspath, const char *port, struct identity *ret_identity,
		  struct snapshot_bytes *ret_snapshot, uint16_t *ret_dev, const char **ret_reason);

/*
 * Which configuration the kernel has that device in, 0: none. Not part of who it is, and not asked of the device, which may
 * say anything. 0 or IDENTITY_GONE.
 */
int identity_read_configuration(const char *syspath, const struct identity *identity, uint8_t *ret_configuration);
