/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The only file that touches libudev. Events come from udevd, not from the kernel ("udev" source): when one arrives, the
 * rules have run and the properties are there. libudev itself drops messages whose sender is not root.
 */
#include <errno.h>
#include <libudev.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "proxies/agent/udev.h"

#define RECEIVE_BUFFER (16 * 1024 * 1024) /* bytes; a hub with many devices makes some hundred events at once */
#define USB_DEV_MAX 127u

struct udev_watch {
	struct udev *udev;
	struct udev_monitor *monitor;
};

static void cleanup_device(struct udev_device **device)
{
	if (*device != NULL)
		(void)udev_device_unref(*device);
}

static void cleanup_enumerate(struct udev_enumerate **enumerate)
{
	if (*enumerate != NULL)
		(void)udev_enumerate_unref(*enumerate);
}

static void cleanup_watch(struct udev_watch **watch)
{
	(void)udev_watch_free(*watch);
}

int udev_watch_new(struct udev_watch **ret_watch)
{
	_cleanup_(cleanup_watch) struct udev_watch *watch = calloc(1, sizeof(*watch));
	int r;

	if (watch == NULL)
		return -ENOMEM;
	watch->udev = udev_new();
	if (watch->udev == NULL)
		return -ENOMEM;
	watch->monitor = udev_monitor_new_from_netlink(watch->udev, "udev");
	if (watch->monitor == NULL)
		return errno > 0 ? -errno : -EIO;
	r = udev_monitor_filter_add_match_subsystem_devtype(watch->monitor, "usb", "usb_device");
	if (r >= 0)
		r = udev_monitor_filter_add_match_subsystem_devtype(watch->monitor, "video4linux", NULL);
	if (r >= 0)
		r = udev_monitor_enable_receiving(watch->monitor);
	if (r < 0)
		return r;
	(void)udev_monitor_set_receive_buffer_size(watch->monitor, RECEIVE_BUFFER);
	*ret_watch = TAKE_PTR(watch);
	return 0;
}

struct udev_watch *udev_watch_free(struct udev_watch *watch)
{
	if (watch == NULL)
		return NULL;
	if (watch->monitor != NULL)
		(void)udev_monitor_unref(watch->monitor);
	if (watch->udev != NULL)
		(void)udev_unref(watch->udev);
	free(watch);
	return NULL;
}

int udev_watch_fd(const struct udev_watch *watch)
{
	return udev_monitor_get_fd(watch->monitor);
}

/* Devices behind vhci_hcd come from another qube; passing one on could close a circle that deadlocks both kernels. */
static bool is_imported(const char *syspath)
{
	return strstr(syspath, "/vhci_hcd.") != NULL;
}

/* Of no hardware: v4l2loopback's devices are there, those of other qubes and of this one's programs. */
static bool is_made_up(const char *syspath)
{
	return strncmp(syspath, "/sys/devices/virtual/", strlen("/sys/devices/virtual/")) == 0;
}

static bool is_excluded(struct udev_device *device)
{
	const char *export = udev_device_get_property_value(device, "QDB_EXPORT");

	return export != NULL && strcmp(export, "0") == 0;
}

/* False when this is not a device at a port: root hubs are "usb1". */
static bool see_usb(struct udev_device *device, bool removed, struct udev_sight *sight)
{
	const char *number = udev_device_get_property_value(device, "DEVNUM");
	uint64_t dev = 0;

	if (!text_is_usb_port(sight->port))
		return false;
	if (number != NULL) {
		number += strspn(number, "0"); /* "007" */
		(void)text_to_u64(number, USB_DEV_MAX, &dev);
	}
	sight->kind = UDEV_USB;
	sight->ours = !removed && !is_imported(sight->syspath) && !is_excluded(device);
	sight->dev = removed ? (uint16_t)dev : 0;
	return true;
}

/* "046d": as sysfs and udev have ids. 0 for anything else. */
static uint16_t to_id(const char *text)
{
	unsigned int value = 0;

	if (text == NULL || strlen(text) != 4)
		return 0;
	for (; *text != '\0'; text++) {
		int digit = text_hex_digit(*text);

		if (digit < 0)
			return 0;
		value = value << 4 | (unsigned int)digit;
	}
	return (uint16_t)value;
}

static void see_usb_parent(struct udev_device *usb, struct udev_video *video)
{
	const char *serial = udev_device_get_sysattr_value(usb, "serial");
	const char *number = udev_device_get_sysattr_value(usb, "devnum");
	uint64_t dev = 0;

	if (number != NULL)
		(void)text_to_u64(number, USB_DEV_MAX, &dev);
	video->dev = (uint16_t)dev;
	video->vendor = to_id(udev_device_get_sysattr_value(usb, "idVendor"));
	video->product = to_id(udev_device_get_sysattr_value(usb, "idProduct"));
	if (serial != NULL)
		(void)text_make_safe(serial, strlen(serial), video->serial, sizeof(video->serial));
}

/* What it is at is told by udev's rules (ID_PATH), whatever numbers buses have in this boot; without them by its folder. */
static void see_place(struct udev_device *device, const char *syspath, struct udev_video *video)
{
	const char *path = udev_device_get_property_value(device, "ID_PATH");
	const char *index = udev_device_get_sysattr_value(device, "index");
	const char *end = strstr(syspath, "/video4linux");
	int len = path != NULL || end == NULL ? (int)UDEV_SYSPATH : (int)(end - syspath);

	(void)snprintf(video->place, sizeof(video->place), "%.*s:%.8s", len, path != NULL ? path : syspath,
		       index != NULL ? index : "");
}

/* False when this is not "videoN": radios, tuners and what else has a node there. */
static bool see_video(struct udev_device *device, bool removed, struct udev_sight *sight)
{
	const char *since = udev_device_get_property_value(device, "USEC_INITIALIZED");
	struct udev_device *usb = NULL; /* belongs to `device` */
	uint64_t number;

	if (strncmp(sight->port, "video", strlen("video")) != 0 ||
	    text_to_u64(sight->port + strlen("video"), UDEV_VIDEO_MAX, &number) < 0)
		return false;
	sight->kind = UDEV_VIDEO;
	sight->video.number = (uint8_t)number;
	if (removed)
		return true;
	usb = udev_device_get_parent_with_subsystem_devtype(device, "usb", "usb_device");
	if (usb != NULL)
		see_usb_parent(usb, &sight->video);
	see_place(device, sight->syspath, &sight->video);
	if (since != NULL)
		(void)text_to_u64(since, UINT64_MAX, &sight->video.since);
	sight->ours = !is_imported(sight->syspath) && !is_made_up(sight->syspath) && !is_excluded(device) &&
		      (usb == NULL || !is_excluded(usb));
	return true;
}

/* `action`: of the event, NULL if it was just found there. False when it is none of what is watched, or its names are too long. */
static bool see(struct udev_device *device, const char *action, struct udev_sight *ret_sight)
{
	const char *subsystem = udev_device_get_subsystem(device);
	const char *syspath = udev_device_get_syspath(device);
	const char *name = udev_device_get_sysname(device);
	bool removed = action != NULL && strcmp(action, "remove") == 0;
	bool (*see_kind)(struct udev_device * device, bool removed, struct udev_sight *sight) = see_usb;

	if (syspath == NULL || name == NULL || subsystem == NULL || strlen(syspath) >= sizeof(ret_sight->syspath) ||
	    strlen(name) >= sizeof(ret_sight->port))
		return false;
	*ret_sight = (struct udev_sight){.event = action != NULL};
	(void)strcpy(ret_sight->port, name);
	(void)strcpy(ret_sight->syspath, syspath);
	if (strcmp(subsystem, "video4linux") == 0)
		see_kind = see_video;
	return see_kind(device, removed, ret_sight);
}

int udev_watch_receive(struct udev_watch *watch, struct udev_sight *ret_sight)
{
	for (;;) {
		_cleanup_(cleanup_device) struct udev_device *device = NULL;
		const char *action;

		errno = 0;
		device = udev_monitor_receive_device(watch->monitor);
		if (device == NULL)
			return errno == 0 || errno == EAGAIN || errno == EINTR ? UDEV_NOTHING : UDEV_LOST;
		action = udev_device_get_action(device);
		if (see(device, action != NULL ? action : "", ret_sight))
			return 0;
	}
}

/* Narrows the look to one kind. */
static int match(struct udev_enumerate *enumerate, enum udev_kind kind)
{
	int r;

	if (kind == UDEV_VIDEO)
		return udev_enumerate_add_match_subsystem(enumerate, "video4linux");
	r = udev_enumerate_add_match_subsystem(enumerate, "usb");
	return r < 0 ? r : udev_enumerate_add_match_property(enumerate, "DEVTYPE", "usb_device");
}

int udev_watch_scan(struct udev_watch *watch, enum udev_kind kind,
		    void (*found)(void *userdata, const struct udev_sight *sight), void *userdata)
{
	_cleanup_(cleanup_enumerate) struct udev_enumerate *enumerate = udev_enumerate_new(watch->udev);
	struct udev_list_entry *entry;
	int r;

	if (enumerate == NULL)
		return -ENOMEM;
	r = match(enumerate, kind);
	if (r >= 0)
		r = udev_enumerate_scan_devices(enumerate);
	if (r < 0)
		return r;
	udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(enumerate))
	{
		_cleanup_(cleanup_device) struct udev_device *device =
			udev_device_new_from_syspath(watch->udev, udev_list_entry_get_name(entry));
		struct udev_sight sight;

		if (device != NULL && see(device, NULL, &sight) && sight.ours)
			found(userdata, &sight);
	}
	return 0;
}
