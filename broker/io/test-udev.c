// SPDX-License-Identifier: GPL-2.0-or-later
/* dom0's own devices, read from made-up sysfs: what is listed, what keeps its name, what is left out. */
#include "tests/unit.h"
#include "tests/umockdev.h"

#include "broker/io/clock.h"
#include "broker/io/udev.h"

/* What has been told and is there. */
struct told {
	unsigned int n;
	struct core_device devices[LIMIT_DEVICES];
};

static void on_event(void *userdata, struct core_event *event)
{
	struct told *told = userdata;

	uint16_t slot = event->type == CORE_DEVICE ? event->device.ref.slot : event->gone.slot;

	assert_true(event->type == CORE_DEVICE || event->type == CORE_DEVICE_GONE);
	for (unsigned int i = 0; i < told->n; i++)
		if (told->devices[i].ref.slot == slot)
			told->devices[i--] = told->devices[--told->n];
	if (event->type == CORE_DEVICE) {
		assert_true(told->n < LIMIT_DEVICES);
		told->devices[told->n++] = event->device;
	}
}

static const struct core_device *find(const struct told *told, const char *port)
{
	for (unsigned int i = 0; i < told->n; i++)
		if (strcmp(told->devices[i].port, port) == 0)
			return &told->devices[i];
	return NULL;
}

static void add(UMockdevTestbed *bed, const char *port, unsigned int devnum, const char *class_code, const char *serial)
{
	char text[2048];
	GError *error = NULL;

	(void)snprintf(
		text, sizeof(text),
		"P: /devices/pci0000:00/0000:00:04.0/usb1/%s\nN: bus/usb/001/%03u\n"
		"E: SUBSYSTEM=usb\nE: DEVTYPE=usb_device\nE: DEVNAME=/dev/bus/usb/001/%03u\nE: MAJOR=189\nE: MINOR=%u\n"
		"A: idVendor=0781\\n\nA: idProduct=5581\\n\nA: bDeviceClass=%s\\n\nA: speed=480\\n\n"
		"A: manufacturer=Mock\\n\nA: serial=%s\\n\n\n"
		"P: /devices/pci0000:00/0000:00:04.0/usb1/%s/%s:1.0\nE: SUBSYSTEM=usb\nE: DEVTYPE=usb_interface\n"
		"A: bInterfaceClass=08\\n\nA: bInterfaceSubClass=06\\n\nA: bInterfaceProtocol=50\\n\n\n"
		"P: /devices/pci0000:00/0000:00:04.0/usb1/%s/%s:1.1\nE: SUBSYSTEM=usb\nE: DEVTYPE=usb_interface\n"
		"A: bInterfaceClass=08\\n\nA: bInterfaceSubClass=06\\n\nA: bInterfaceProtocol=50\\n\n\n",
		port, devnum, devnum, devnum - 1, class_code, serial, port, port, port, port);
	if (!umockdev_testbed_add_from_string(bed, text, &error))
		fail_msg("umockdev: %s", error->message);
}

static void remove_device(UMockdevTestbed *bed, const char *port)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/sys/devices/pci0000:00/0000:00:04.0/usb1/%s", port);
	umockdev_testbed_uevent(bed, path, "remove");
	for (int i = 1; i >= -1; i--) { /* its interfaces first */
		if (i >= 0)
			(void)snprintf(path, sizeof(path), "/sys/devices/pci0000:00/0000:00:04.0/usb1/%s/%s:1.%d", port,
				       port, i);
		else
			(void)snprintf(path, sizeof(path), "/sys/devices/pci0000:00/0000:00:04.0/usb1/%s", port);
		umockdev_testbed_remove_device(bed, path);
	}
}

static void run_until(sd_event *event, const struct told *told, unsigned int n)
{
	for (uint64_t deadline = clock_now_usec() + 5 * USEC_PER_SEC; told->n != n;) {
		assert_true(clock_now_usec() < deadline);
		assert_true(sd_event_run(event, 100 * USEC_PER_MSEC) >= 0);
	}
}

static void test_listing(void **unused _unused_)
{
	UMockdevTestbed *bed = umockdev_testbed_new();
	struct udev_devices *devices = NULL;
	struct told told = {0};
	struct core_device stick;
	sd_event *event = NULL;

	assert_int_equal(sd_event_new(&event), 0);
	add(bed, "1-1", 5, "00", "AB12");
	add(bed, "1-2", 6, "09", "hub");
	add(bed, "1-1.4", 7, "00", "\xe2\x80\xae\x1b[2J"); /* CL11: a serial number that no terminal should see */
	add(bed, "usb1", 1, "09", "root");
	assert_int_equal(udev_devices_new(event, on_event, &told, &devices), 0);
	assert_int_equal(told.n, 2);
	assert_non_null(find(&told, "1-1"));
	stick = *find(&told, "1-1");
	assert_int_equal(stick.vendor, 0x0781);
	assert_int_equal(stick.product, 0x5581);
	assert_int_equal(stick.speed, WIRE_SPEED_HIGH);
	assert_int_equal(stick.n_interfaces, 1); /* two that are the same */
	assert_memory_equal(stick.interfaces[0], "\x08\x06\x50", 3);
	assert_string_equal(stick.serial, "AB12");
	assert_string_equal(stick.path, "pci-0000:00:04.0-usb-0:1");
	assert_non_null(find(&told, "1-1.4"));
	for (const char *c = find(&told, "1-1.4")->serial; *c; c++)
		assert_true(*c >= 0x20 && *c < 0x7f);

	/* another one goes: this one is still the same; HP02: it comes back: another */
	remove_device(bed, "1-1.4");
	run_until(event, &told, 1);
	assert_int_equal(find(&told, "1-1")->ref.generation, stick.ref.generation);
	remove_device(bed, "1-1");
	add(bed, "1-1", 8, "00", "AB12");
	add(bed, "1-3", 9, "00", "CD34");
	umockdev_testbed_uevent(bed, "/sys/devices/pci0000:00/0000:00:04.0/usb1/1-1", "add");
	run_until(event, &told, 2);
	assert_int_not_equal(find(&told, "1-1")->ref.generation, stick.ref.generation);

	/* all of it again; three at a time have been there */
	told.n = 0;
	udev_devices_tell(devices);
	assert_int_equal(told.n, 2);
	assert_true(find(&told, "1-1")->ref.slot >= LIMIT_DEVICES - 3 &&
		    find(&told, "1-3")->ref.slot >= LIMIT_DEVICES - 3);
	udev_devices_free(devices);
	sd_event_unref(event);
	g_object_unref(bed);
}

int main(int argc _unused_, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_listing)};

	mock_begin(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
