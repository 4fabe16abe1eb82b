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

/* False when this is not a device at a port (root hubs are "usb1") or its path is out of all measure. */
static bool see(struct udev_device *device, bool removed, struct udev_sight *ret_sight)
{
	const char *syspath = udev_device_get_syspath(device);
	const char *port = udev_device_get_sysname(device);
	const char *export = udev_device_get_property_value(device, "QDB_EXPORT");
	const char *number = udev_device_get_property_value(device, "DEVNUM");
	struct udev_sight sight = {0};
	uint64_t dev = 0;

	if (syspath == NULL || port == NULL || !text_is_usb_port(port) || strlen(syspath) >= sizeof(sight.syspath))
		return false;
	if (number != NULL) {
		number += strspn(number, "0"); /* "007" */
		(void)text_to_u64(number, USB_DEV_MAX, &dev);
	}
	sight.ours = !removed && !is_imported(syspath) && (export == NULL || strcmp(export, "0") != 0);
	sight.dev = removed ? (uint16_t)dev : 0;
	(void)snprintf(sight.port, sizeof(sight.port), "%s", port);
	(void)snprintf(sight.syspath, sizeof(sight.syspath), "%s", syspath);
	*ret_sight = sight;
	return true;
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
		if (see(device, action != NULL && strcmp(action, "remove") == 0, ret_sight))
			return 0;
	}
}

int udev_watch_scan(struct udev_watch *watch, void (*found)(void *userdata, const struct udev_sight *sight),
		    void *userdata)
{
	_cleanup_(cleanup_enumerate) struct udev_enumerate *enumerate = udev_enumerate_new(watch->udev);
	struct udev_list_entry *entry;
	int r;

	if (enumerate == NULL)
		return -ENOMEM;
	r = udev_enumerate_add_match_subsystem(enumerate, "usb");
	if (r >= 0)
		r = udev_enumerate_add_match_property(enumerate, "DEVTYPE", "usb_device");
	if (r >= 0)
		r = udev_enumerate_scan_devices(enumerate);
	if (r < 0)
		return r;
	udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(enumerate))
	{
		_cleanup_(cleanup_device) struct udev_device *device =
			udev_device_new_from_syspath(watch->udev, udev_list_entry_get_name(entry));
		struct udev_sight sight;

		if (device != NULL && see(device, false, &sight) && sight.ours)
			found(userdata, &sight);
	}
	return 0;
}
