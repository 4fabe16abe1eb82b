/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB devices that a test makes up, in a umockdev test bed: sysfs, udev's database and events, usbfs nodes. Include
 * after tests/unit.h.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <umockdev.h>

#include "lib/base/base.h"

/* The preloaded library must be there from the start: begins the program again with it if it is not. */
static inline void mock_begin(char **argv)
{
	const char *preload = getenv("LD_PRELOAD");
	const char *asan = getenv("ASAN_OPTIONS");
	char options[512];

	if (preload != NULL && strstr(preload, "libumockdev-preload") != NULL)
		return;
	(void)snprintf(options, sizeof(options), "%s%sverify_asan_link_order=0", asan == NULL ? "" : asan,
		       asan == NULL ? "" : ":");
	(void)setenv("ASAN_OPTIONS", options, 1);
	(void)setenv("LD_PRELOAD", "libumockdev-preload.so.0", 1);
	(void)execv("/proc/self/exe", argv);
	(void)fprintf(stderr, "cannot begin again\n");
	exit(EXIT_FAILURE);
}

/* A device with one configuration: one interface of `class_code` with one IN endpoint. */
struct mock_device {
	const char *bus_path; /* "pci0000:00/usb1", "platform/vhci_hcd.0/usb3" */
	const char *port;
	unsigned int bus, dev;
	uint8_t class_code; /* of the device; 9: hub */
	uint16_t vendor, product;
	const char *speed, *serial; /* as in sysfs; serial NULL: none */
	const char *descriptors;    /* in upper case hexadecimal; NULL: made from the above */
	const char *node;           /* what the usbfs node says, in hexadecimal; NULL: the same */
	const char *property;       /* "NAME=VALUE" or NULL */
	unsigned int configuration; /* that the kernel has it in; 0: none */
};

#define MOCK_PATH_SIZE 256

static inline void mock_path(const struct mock_device *device, char path[MOCK_PATH_SIZE])
{
	(void)snprintf(path, MOCK_PATH_SIZE, "/sys/devices/%s/%s", device->bus_path, device->port);
}

/* Adds it to sysfs; those that listen hear of it. */
static inline void mock_add(UMockdevTestbed *bed, const struct mock_device *device)
{
	char made[256], text[4096], active[16] = "";
	const char *raw = device->descriptors != NULL ? device->descriptors : made;
	GError *error = NULL;

	(void)snprintf(made, sizeof(made),
		       "12010002%02X000040%02X%02X%02X%02X000101020301"
		       "09021900010100A032090400000108065000"
		       "0705810200020A",
		       device->class_code, device->vendor & 0xff, device->vendor >> 8, device->product & 0xff,
		       device->product >> 8);
	if (device->configuration != 0)
		(void)snprintf(active, sizeof(active), "%u\\n", device->configuration);
	(void)snprintf(text, sizeof(text),
		       "P: /devices/%s/%s\n"
		       "N: bus/usb/%03u/%03u=%s\n"
		       "E: SUBSYSTEM=usb\nE: DEVTYPE=usb_device\nE: DEVNAME=/dev/bus/usb/%03u/%03u\n"
		       "E: BUSNUM=%03u\nE: DEVNUM=%03u\nE: MAJOR=189\nE: MINOR=%u\n%s%s%s"
		       "A: busnum=%u\\n\nA: devnum=%u\\n\nA: bDeviceClass=%02x\\n\nA: speed=%s\\n\n"
		       "%s%s%s"
		       "A: bConfigurationValue=%s\n"
		       "A: manufacturer=Mock\\n\nA: product=Thing %s\\n\n"
		       "H: descriptors=%s\n\n",
		       device->bus_path, device->port, device->bus, device->dev,
		       device->node != NULL ? device->node : raw, device->bus, device->dev, device->bus, device->dev,
		       (device->bus - 1) * 128 + device->dev - 1, device->property != NULL ? "E: " : "",
		       device->property != NULL ? device->property : "", device->property != NULL ? "\n" : "",
		       device->bus, device->dev, device->class_code, device->speed,
		       device->serial != NULL ? "A: serial=" : "", device->serial != NULL ? device->serial : "",
		       device->serial != NULL ? "\\n\n" : "", active, device->port, raw);
	if (!umockdev_testbed_add_from_string(bed, text, &error)) {
		(void)fprintf(stderr, "umockdev: %s\n%s", error->message, text);
		abort();
	}
}

static inline void mock_event(UMockdevTestbed *bed, const struct mock_device *device, const char *action)
{
	char path[MOCK_PATH_SIZE];

	mock_path(device, path);
	umockdev_testbed_uevent(bed, path, action);
}

/* `quietly`: the event is lost. */
static inline void mock_unplug(UMockdevTestbed *bed, const struct mock_device *device, bool quietly)
{
	char path[MOCK_PATH_SIZE];

	mock_path(device, path);
	if (!quietly)
		umockdev_testbed_uevent(bed, path, "remove");
	umockdev_testbed_remove_device(bed, path);
}
