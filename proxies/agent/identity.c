/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A USB device read from sysfs. Everything in there but the numbers comes from the device, so it is bounded, parsed by
 * our own total parser, and made safe before it is kept. The folder is held open while it is read, and the device
 * number is compared at the end: the parts belong to one enumeration of one device.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "lib/digest/digest.h"
#include "lib/usbip/snapshot.h"
#include "proxies/agent/identity.h"
#include "proxies/agent/sysfs.h"

#define DEVICE_DESCRIPTOR_SIZE 18u
#define DEVICE_CLASS_AT 4u
#define DEVICE_CLASS_HUB 9u
#define USB_BUS_MAX 999u /* the node's name has three digits */
#define USB_DEV_MAX 127u

static uint16_t read_number(int folder, const char *name, uint16_t max)
{
	char line[16];
	uint64_t value;

	sysfs_read_line(folder, name, line, sizeof(line));
	return text_to_u64(line, max, &value) < 0 ? 0 : (uint16_t)value;
}

/* The kernel gives string descriptors as UTF-8: up to 126 UTF-16 units, three bytes each. */
static void read_text(int folder, const char *name, char safe[LIMIT_TEXT + 1])
{
	char untrusted_line[3 * LIMIT_TEXT + 2];
	ssize_t n = sysfs_read(folder, name, untrusted_line, sizeof(untrusted_line));

	while (n > 0 && untrusted_line[n - 1] == '\n')
		n--;
	(void)text_make_safe(untrusted_line, n < 0 ? 0 : (size_t)n, safe, LIMIT_TEXT + 1);
}

/* drivers/usb/core/sysfs.c:speed_show() */
static uint8_t read_speed(int folder)
{
	static const struct {
		const char *text;
		uint8_t speed;
	} speeds[] = {
		{"1.5", WIRE_SPEED_LOW},    {"12", WIRE_SPEED_FULL},          {"480", WIRE_SPEED_HIGH},
		{"5000", WIRE_SPEED_SUPER}, {"10000", WIRE_SPEED_SUPER_PLUS}, {"20000", WIRE_SPEED_SUPER_PLUS},
	};
	char line[16];

	sysfs_read_line(folder, "speed", line, sizeof(line));
	for (size_t i = 0; i < ARRAY_SIZE(speeds); i++)
		if (strcmp(line, speeds[i].text) == 0)
			return speeds[i].speed;
	return 0;
}

/* Bytes -> snapshot -> identity. 0, IDENTITY_HUB or IDENTITY_BAD. */
static int describe(const uint8_t *untrusted_raw, size_t raw_len, struct identity *identity,
		    struct snapshot_bytes *snapshot, const char **ret_reason)
{
	static struct usb_snapshot parsed; /* 20 KiB, and the agent has one thread */
	int r;

	snapshot->len = usb_snapshot_build(identity->speed, identity->serial, untrusted_raw, raw_len, snapshot->bytes);
	if (snapshot->len == 0) {
		*ret_reason = "its descriptors are too long";
		return IDENTITY_BAD;
	}
	r = usb_snapshot_parse(snapshot->bytes, snapshot->len, &parsed);
	if (r != 0) {
		*ret_reason = r == USB_FAULT_COUNT ? "its snapshot is not valid" : usb_descriptor_fault_text(r);
		return IDENTITY_BAD;
	}
	if (usb_is_hub(&parsed.descriptors))
		return IDENTITY_HUB;
	identity->vendor = parsed.descriptors.vendor;
	identity->product = parsed.descriptors.product;
	identity->n_interfaces = parsed.descriptors.n_interface_codes;
	memcpy(identity->interfaces, parsed.descriptors.interface_codes, 3u * identity->n_interfaces);
	digest_sha256(snapshot->bytes, snapshot->len, identity->digest);
	return 0;
}

int identity_read(const char *syspath, const char *port, struct identity *ret_identity,
		  struct snapshot_bytes *ret_snapshot, uint16_t *ret_dev, const char **ret_reason)
{
	static uint8_t untrusted_raw[LIMIT_SNAPSHOT];
	_cleanup_close_ int folder = open(syspath, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct identity identity = {.class_id = WIRE_CLASS_USB};
	ssize_t raw_len;
	int r;

	*ret_dev = 0;
	*ret_reason = "";
	if (folder < 0)
		return IDENTITY_GONE;
	identity.bus = read_number(folder, "busnum", USB_BUS_MAX);
	identity.dev = read_number(folder, "devnum", USB_DEV_MAX);
	if (identity.bus == 0 || identity.dev == 0)
		return IDENTITY_GONE;
	raw_len = sysfs_read(folder, "descriptors", untrusted_raw, sizeof(untrusted_raw));
	if (raw_len < 0)
		return IDENTITY_GONE;
	if (raw_len >= (ssize_t)DEVICE_DESCRIPTOR_SIZE && untrusted_raw[DEVICE_CLASS_AT] == DEVICE_CLASS_HUB)
		return IDENTITY_HUB;
	identity.speed = read_speed(folder);
	read_text(folder, "serial", identity.serial);
	read_text(folder, "manufacturer", identity.manufacturer);
	read_text(folder, "product", identity.product_name);
	if (read_number(folder, "devnum", USB_DEV_MAX) != identity.dev)
		return IDENTITY_GONE;
	*ret_dev = identity.dev;
	if (!text_is_usb_port(port) || identity.speed == 0) {
		*ret_reason = "its speed or its port is unknown";
		return IDENTITY_BAD;
	}
	(void)snprintf(identity.port, sizeof(identity.port), "%s", port);
	text_usb_path(syspath, identity.speed >= WIRE_SPEED_SUPER, identity.path);
	r = describe(untrusted_raw, (size_t)raw_len, &identity, ret_snapshot, ret_reason);
	if (r == 0)
		*ret_identity = identity;
	return r;
}

int identity_read_configuration(const char *syspath, const struct identity *identity, uint8_t *ret_configuration)
{
	_cleanup_close_ int folder = open(syspath, O_PATH | O_DIRECTORY | O_CLOEXEC);
	uint16_t configuration;

	if (folder < 0)
		return IDENTITY_GONE;
	configuration = read_number(folder, "bConfigurationValue", UINT8_MAX); /* empty when there is none */
	if (read_number(folder, "busnum", USB_BUS_MAX) != identity->bus ||
	    read_number(folder, "devnum", USB_DEV_MAX) != identity->dev)
		return IDENTITY_GONE;
	*ret_configuration = (uint8_t)configuration;
	return 0;
}
