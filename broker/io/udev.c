// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dom0's own USB devices; see udev.h. Each change makes a whole new list, gathered for GATHER_USEC: so lost, doubled or
 * reordered uevents (HP06) need no thought. What was there before keeps its {slot, generation}: a device is the same
 * while its sysfs path, device number and texts are.
 */
#include "broker/io/udev.h"

#include <errno.h>
#include <libudev.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/clock.h"
#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

#define GATHER_USEC (100 * USEC_PER_MSEC)
#define CLASS_HUB 9
/* Above what an agent in dom0 counts with: {slot, generation} of the two never meet. */
#define FIRST_GENERATION 0x80000000u

struct udev_devices {
	struct udev *udev;
	struct udev_monitor *monitor;
	sd_event_source *on_uevent, *on_timer;
	udev_hook *hook;
	void *userdata;
	uint32_t last_generation;
	struct listed {
		bool used, seen;
		uint64_t devnum;
		struct core_device device;
	} listed[LIMIT_DEVICES];
};

static void cleanup_device(struct udev_device **device)
{
	(void)udev_device_unref(*device);
}

static void cleanup_enumerate(struct udev_enumerate **enumerate)
{
	(void)udev_enumerate_unref(*enumerate);
}

struct udev_devices *udev_devices_free(struct udev_devices *devices)
{
	if (!devices)
		return NULL;
	sd_event_source_disable_unref(devices->on_uevent);
	sd_event_source_disable_unref(devices->on_timer);
	udev_monitor_unref(devices->monitor);
	udev_unref(devices->udev);
	free(devices);
	return NULL;
}

static void cleanup_devices(struct udev_devices **devices)
{
	(void)udev_devices_free(*devices);
}

/* A hexadecimal attribute of exactly `digits` digits. */
static bool read_hex(struct udev_device *device, const char *name, size_t digits, uint16_t *ret_value)
{
	const char *text = udev_device_get_sysattr_value(device, name);
	char *end;
	unsigned long value;

	if (!text || strlen(text) != digits || strspn(text, "0123456789abcdefABCDEF") != digits)
		return false;
	value = strtoul(text, &end, 16);
	*ret_value = (uint16_t)value;
	return true;
}

static void read_text(struct udev_device *device, const char *name, char ret_text[WIRE_TEXT])
{
	const char *untrusted_text = udev_device_get_sysattr_value(device, name);

	memset(ret_text, 0, WIRE_TEXT);
	if (untrusted_text)
		(void)text_make_safe(untrusted_text, strlen(untrusted_text), ret_text, LIMIT_TEXT + 1);
}

static uint8_t read_speed(struct udev_device *device)
{
	static const struct {
		const char *text;
		enum wire_speed speed;
	} speeds[] = {
		{"1.5", WIRE_SPEED_LOW},    {"12", WIRE_SPEED_FULL},          {"480", WIRE_SPEED_HIGH},
		{"5000", WIRE_SPEED_SUPER}, {"10000", WIRE_SPEED_SUPER_PLUS}, {"20000", WIRE_SPEED_SUPER_PLUS},
	};
	const char *text = udev_device_get_sysattr_value(device, "speed");

	for (size_t i = 0; text && i < ARRAY_SIZE(speeds); i++)
		if (strcmp(text, speeds[i].text) == 0)
			return (uint8_t)speeds[i].speed;
	return WIRE_SPEED_FULL;
}

static bool has_interface(const struct core_device *device, const uint8_t code[3])
{
	for (unsigned int i = 0; i < device->n_interfaces; i++)
		if (memcmp(device->interfaces[i], code, 3) == 0)
			return true;
	return false;
}

/* The interfaces of the active configuration are its children in sysfs. */
static void read_interfaces(struct udev *udev, struct udev_device *parent, struct core_device *device)
{
	_cleanup_(cleanup_enumerate) struct udev_enumerate *enumerate = udev_enumerate_new(udev);
	struct udev_list_entry *entry;

	if (!enumerate || udev_enumerate_add_match_parent(enumerate, parent) < 0 ||
	    udev_enumerate_add_match_subsystem(enumerate, "usb") < 0 || udev_enumerate_scan_devices(enumerate) < 0)
		return;
	udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(enumerate))
	{
		_cleanup_(cleanup_device) struct udev_device *child =
			udev_device_new_from_syspath(udev, udev_list_entry_get_name(entry));
		uint16_t class_id, subclass, protocol;
		uint8_t code[3];

		if (!child || !read_hex(child, "bInterfaceClass", 2, &class_id) ||
		    !read_hex(child, "bInterfaceSubClass", 2, &subclass) ||
		    !read_hex(child, "bInterfaceProtocol", 2, &protocol))
			continue;
		code[0] = (uint8_t)class_id;
		code[1] = (uint8_t)subclass;
		code[2] = (uint8_t)protocol;
		if (device->n_interfaces < LIMIT_INTERFACES && !has_interface(device, code))
			memcpy(device->interfaces[device->n_interfaces++], code, sizeof(code));
	}
}

/* False: a hub, or not a device that one can name. */
static bool read_device(struct udev *udev, struct udev_device *from, struct core_device *ret_device)
{
	const char *port = udev_device_get_sysname(from), *syspath = udev_device_get_syspath(from);
	uint16_t class_id;

	*ret_device = (struct core_device){.class_id = WIRE_CLASS_USB};
	if (!port || !syspath || !text_is_usb_port(port) || !read_hex(from, "idVendor", 4, &ret_device->vendor) ||
	    !read_hex(from, "idProduct", 4, &ret_device->product) || !read_hex(from, "bDeviceClass", 2, &class_id) ||
	    class_id == CLASS_HUB)
		return false;
	memcpy(ret_device->port, port, strlen(port));
	ret_device->speed = read_speed(from);
	text_usb_path(syspath, ret_device->speed >= WIRE_SPEED_SUPER, ret_device->path);
	read_text(from, "serial", ret_device->serial);
	read_text(from, "manufacturer", ret_device->manufacturer);
	read_text(from, "product", ret_device->product_name);
	read_interfaces(udev, from, ret_device);
	return true;
}

static bool is_same(const struct listed *listed, uint64_t devnum, const struct core_device *device)
{
	struct core_device a = listed->device;

	a.ref = device->ref;
	return listed->used && listed->devnum == devnum && a.vendor == device->vendor && a.product == device->product &&
	       a.speed == device->speed && a.n_interfaces == device->n_interfaces &&
	       memcmp(a.interfaces, device->interfaces, sizeof(a.interfaces)) == 0 &&
	       strcmp(a.port, device->port) == 0 && strcmp(a.path, device->path) == 0 &&
	       strcmp(a.serial, device->serial) == 0 && strcmp(a.manufacturer, device->manufacturer) == 0 &&
	       strcmp(a.product_name, device->product_name) == 0;
}

static void list_device(struct udev_devices *devices, uint64_t devnum, const struct core_device *device)
{
	struct listed *place = NULL;

	for (unsigned int i = 0; i < LIMIT_DEVICES; i++)
		if (is_same(&devices->listed[i], devnum, device)) {
			devices->listed[i].seen = true;
			return;
		}
	for (unsigned int i = 0; i < LIMIT_DEVICES && !place; i++)
		if (!devices->listed[i].used)
			place = &devices->listed[i];
	if (!place)
		return;
	*place = (struct listed){.used = true, .seen = true, .devnum = devnum, .device = *device};
	place->device.ref.slot = (uint16_t)(LIMIT_DEVICES - 1 - (place - devices->listed));
	place->device.ref.generation = devices->last_generation++;
}

static int scan(struct udev_devices *devices)
{
	_cleanup_(cleanup_enumerate) struct udev_enumerate *enumerate = udev_enumerate_new(devices->udev);
	struct udev_list_entry *entry;

	if (!enumerate || udev_enumerate_add_match_subsystem(enumerate, "usb") < 0 ||
	    udev_enumerate_scan_devices(enumerate) < 0)
		return -ENOMEM;
	udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(enumerate))
	{
		_cleanup_(cleanup_device) struct udev_device *from =
			udev_device_new_from_syspath(devices->udev, udev_list_entry_get_name(entry));
		struct core_device device;

		if (from && read_device(devices->udev, from, &device))
			list_device(devices, udev_device_get_devnum(from), &device);
	}
	return 0;
}

void udev_devices_tell(struct udev_devices *devices)
{
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
		struct core_event event = {.type = CORE_DEVICE};

		event.device = devices->listed[i].device;
		if (devices->listed[i].used)
			devices->hook(devices->userdata, &event);
	}
}

static void remove_unseen(struct udev_devices *devices)
{
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
		struct listed *listed = &devices->listed[i];
		struct core_event event = {.type = CORE_DEVICE_GONE};

		if (!listed->used || listed->seen)
			continue;
		listed->used = false;
		event.gone.slot = listed->device.ref.slot;
		event.gone.generation = listed->device.ref.generation;
		devices->hook(devices->userdata, &event);
	}
}

static void look(struct udev_devices *devices)
{
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++)
		devices->listed[i].seen = false;
	if (scan(devices) < 0) {
		log_warning("dom0's own USB devices cannot be listed");
		return;
	}
	remove_unseen(devices);
	udev_devices_tell(devices);
}

static int on_timer(sd_event_source *timer _unused_, uint64_t usec _unused_, void *userdata)
{
	look(userdata);
	return 0;
}

static int on_uevent(sd_event_source *io _unused_, int fd _unused_, uint32_t revents _unused_, void *userdata)
{
	struct udev_devices *devices = userdata;
	struct udev_device *device;

	/* libudev drops what does not come from the kernel or from udevd; ENOBUFS is one change among others */
	while ((device = udev_monitor_receive_device(devices->monitor)))
		(void)udev_device_unref(device);
	if (sd_event_source_get_enabled(devices->on_timer, NULL) == 0) {
		(void)sd_event_source_set_time(devices->on_timer, clock_now_usec() + GATHER_USEC);
		(void)sd_event_source_set_enabled(devices->on_timer, SD_EVENT_ONESHOT);
	}
	return 0;
}

int udev_devices_new(sd_event *event, udev_hook *hook, void *userdata, struct udev_devices **ret_devices)
{
	_cleanup_(cleanup_devices) struct udev_devices *devices = calloc(1, sizeof(*devices));
	int r;

	if (!devices)
		return -ENOMEM;
	devices->hook = hook;
	devices->userdata = userdata;
	devices->last_generation = FIRST_GENERATION;
	devices->udev = udev_new();
	if (!devices->udev)
		return -ENOMEM;
	devices->monitor = udev_monitor_new_from_netlink(devices->udev, "udev");
	if (!devices->monitor)
		return -ENOMEM;
	r = udev_monitor_filter_add_match_subsystem_devtype(devices->monitor, "usb", "usb_device");
	if (r < 0)
		return r;
	r = udev_monitor_enable_receiving(devices->monitor);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &devices->on_uevent, udev_monitor_get_fd(devices->monitor), EPOLLIN, on_uevent,
			    devices);
	if (r < 0)
		return r;
	r = sd_event_add_time(event, &devices->on_timer, CLOCK_BROKER, 0, 1, on_timer, devices);
	if (r < 0)
		return r;
	(void)sd_event_source_set_enabled(devices->on_timer, SD_EVENT_OFF);
	look(devices);
	*ret_devices = TAKE_PTR(devices);
	return 0;
}
