/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libudev and sysfs, read from made-up devices: what is seen, what is left alone, what is said of each.
 */
#include <poll.h>

#include "tests/unit.h"
#include "tests/umockdev.h"
#include "tests/mock-video.h"
#include "lib/digest/digest.h"
#include "lib/usbip/snapshot.h"
#include "proxies/agent/identity.h"
#include "proxies/agent/node.h"
#include "proxies/agent/udev.h"

#define PCI "pci0000:00/0000:00:04.0/usb1"

static const struct mock_device stick = {
	.bus_path = PCI,
	.port = "1-1",
	.bus = 1,
	.dev = 5,
	.vendor = 0x1234,
	.product = 0xabcd,
	.speed = "480",
	.serial = "S1",
};

struct found {
	size_t n;
	struct udev_sight sights[16];
};

static void on_found(void *userdata, const struct udev_sight *sight)
{
	struct found *found = userdata;

	assert_true(found->n < ARRAY_SIZE(found->sights));
	found->sights[found->n++] = *sight;
}

static bool has_port(const struct found *found, const char *port)
{
	for (size_t i = 0; i < found->n; i++)
		if (strcmp(found->sights[i].port, port) == 0)
			return true;
	return false;
}

/* What is there at the start: hubs are dropped by identity_read(), the rest here. */
static void test_scan(_unused_ void **state)
{
	const struct mock_device devices[] = {
		stick,
		{.bus_path = PCI, .port = "1-2", .bus = 1, .dev = 6, .class_code = 9, .speed = "480"},
		{.bus_path = PCI "/1-2", .port = "1-2.4", .bus = 1, .dev = 7, .speed = "12"},
		{.bus_path = "platform/vhci_hcd.0/usb3", .port = "3-1", .bus = 3, .dev = 2, .speed = "480"},
		{.bus_path = PCI, .port = "1-3", .bus = 1, .dev = 8, .speed = "480", .property = "QDB_EXPORT=0"},
		{.bus_path = PCI, .port = "1-4", .bus = 1, .dev = 9, .speed = "480", .property = "QDB_EXPORT=1"},
		{.bus_path = "pci0000:00/0000:00:04.0",
		 .port = "usb1",
		 .bus = 1,
		 .dev = 1,
		 .class_code = 9,
		 .speed = "480"},
	};
	UMockdevTestbed *bed = umockdev_testbed_new();
	struct udev_watch *watch = NULL;
	struct found found = {0};

	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		mock_add(bed, &devices[i]);
	assert_int_equal(udev_watch_new(&watch), 0);
	assert_int_equal(udev_watch_scan(watch, UDEV_USB, on_found, &found), 0);
	assert_int_equal(found.n, 4);
	assert_true(has_port(&found, "1-1") && has_port(&found, "1-2") && has_port(&found, "1-2.4") &&
		    has_port(&found, "1-4"));
	udev_watch_free(watch);
	g_object_unref(bed);
}

static int receive(struct udev_watch *watch, struct udev_sight *ret_sight)
{
	struct pollfd pollfd = {.fd = udev_watch_fd(watch), .events = POLLIN};

	(void)poll(&pollfd, 1, 2000);
	return udev_watch_receive(watch, ret_sight);
}

static void test_events(_unused_ void **state)
{
	UMockdevTestbed *bed = umockdev_testbed_new();
	struct udev_watch *watch = NULL;
	struct udev_sight sight;
	struct mock_device imported = {
		.bus_path = "platform/vhci_hcd.0/usb3",
		.port = "3-1",
		.bus = 3,
		.dev = 2,
		.speed = "480",
	};

	assert_int_equal(udev_watch_new(&watch), 0);
	assert_int_equal(udev_watch_receive(watch, &sight), UDEV_NOTHING);
	mock_add(bed, &stick);
	assert_int_equal(receive(watch, &sight), 0);
	assert_true(sight.ours);
	assert_string_equal(sight.port, "1-1");
	assert_int_equal(sight.dev, 0);
	mock_event(bed, &stick, "bind");
	assert_int_equal(receive(watch, &sight), 0);
	assert_true(sight.ours);
	mock_unplug(bed, &stick, false);
	assert_int_equal(receive(watch, &sight), 0);
	assert_false(sight.ours);
	assert_int_equal(sight.dev, 5);
	mock_add(bed, &imported);
	assert_int_equal(receive(watch, &sight), 0);
	assert_false(sight.ours);
	assert_int_equal(udev_watch_receive(watch, &sight), UDEV_NOTHING);
	udev_watch_free(watch);
	g_object_unref(bed);
}

#define CAMERA_FOLDER PCI "/1-1/1-1:1.0"

static const struct mock_video camera = {
	.folder = CAMERA_FOLDER, .name = "video0", .properties = "E: ID_PATH=pci-0000:00:04.0-usb-0:1:1.0\n"};

static void add_camera_ids(UMockdevTestbed *bed, const struct mock_device *device)
{
	char path[MOCK_PATH_SIZE];

	mock_path(device, path);
	umockdev_testbed_set_attribute(bed, path, "idVendor", "046d\n");
	umockdev_testbed_set_attribute(bed, path, "idProduct", "082D\n");
}

/* What may be a camera of this qube's own hardware, and nothing else. */
static void test_video_scan(_unused_ void **state)
{
	static const struct mock_device excluded = {
		.bus_path = PCI, .port = "1-2", .bus = 1, .dev = 6, .speed = "480", .property = "QDB_EXPORT=0"};
	static const struct {
		struct mock_video video;
		bool ours;
	} rows[] = {
		{{.folder = CAMERA_FOLDER, .name = "video1"}, true},
		{{.folder = "platform/vivid.0", .name = "video2"}, true},
		{{.folder = "platform/vivid.0", .name = "video255"}, true},
		{{.folder = "platform/vivid.0", .name = "video3", .properties = "E: QDB_EXPORT=0\n"}, false},
		{{.folder = "platform/vivid.0", .name = "video4", .properties = "E: QDB_EXPORT=1\n"}, true},
		{{.folder = PCI "/1-2/1-2:1.0", .name = "video5"}, false}, /* its USB device is excluded */
		{{.folder = "platform/vhci_hcd.0/usb3/3-1/3-1:1.0", .name = "video6"}, false},
		{{.folder = "virtual", .name = "video7"}, false},
		{{.folder = "platform/vivid.0", .name = "video256"}, false},
		{{.folder = "platform/vivid.0", .name = "video08"}, false},
		{{.folder = "platform/vivid.0", .name = "video"}, false},
		{{.folder = "platform/vivid.0", .name = "video9x"}, false},
		{{.folder = "platform/vivid.0", .name = "vbi0"}, false},
		{{.folder = "platform/vivid.0", .name = "v4l-subdev0"}, false},
	};
	UMockdevTestbed *bed = umockdev_testbed_new();
	struct udev_watch *watch = NULL;
	struct found found = {0};
	size_t n = 0;

	mock_add(bed, &stick);
	mock_add(bed, &excluded);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		mock_video_add(bed, &rows[i].video);
	assert_int_equal(udev_watch_new(&watch), 0);
	assert_int_equal(udev_watch_scan(watch, UDEV_VIDEO, on_found, &found), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		n += rows[i].ours;
		if (has_port(&found, rows[i].video.name) != rows[i].ours)
			fail_msg("%s in %s", rows[i].video.name, rows[i].video.folder);
	}
	assert_int_equal(found.n, n);
	udev_watch_free(watch);
	g_object_unref(bed);
}

/* What is said of one, and of the USB device that it is part of, whose words are the device's. */
static void test_video_event(_unused_ void **state)
{
	UMockdevTestbed *bed = umockdev_testbed_new();
	struct mock_device device = stick;
	struct udev_watch *watch = NULL;
	struct mock_video bare = camera;
	struct udev_sight sight;

	device.serial = "S\x1b[31m1";
	mock_add(bed, &device);
	add_camera_ids(bed, &device);
	assert_int_equal(udev_watch_new(&watch), 0);
	mock_video_add(bed, &camera);
	assert_int_equal(receive(watch, &sight), 0);
	assert_true(sight.kind == UDEV_VIDEO && sight.ours && sight.event);
	assert_string_equal(sight.port, "video0");
	assert_string_equal(sight.syspath, "/sys/devices/" CAMERA_FOLDER "/video4linux/video0");
	assert_string_equal(sight.video.place, "pci-0000:00:04.0-usb-0:1:1.0:0");
	assert_string_equal(sight.video.serial, "S_[31m1");
	assert_int_equal(sight.video.vendor, 0x46d);
	assert_int_equal(sight.video.product, 0); /* not as sysfs writes it */
	assert_int_equal(sight.video.dev, 5);
	mock_video_remove(bed, &camera);
	assert_int_equal(receive(watch, &sight), 0);
	assert_true(sight.kind == UDEV_VIDEO && !sight.ours);
	assert_int_equal(sight.video.number, 0);
	bare.properties = NULL; /* no rule has named its path */
	mock_video_add(bed, &bare);
	assert_int_equal(receive(watch, &sight), 0);
	assert_string_equal(sight.video.place, "/sys/devices/" CAMERA_FOLDER ":0");
	udev_watch_free(watch);
	g_object_unref(bed);
}

static int read_device(const struct mock_device *device, struct identity *ret_identity, struct snapshot_bytes *snapshot,
		       uint16_t *ret_dev)
{
	char path[MOCK_PATH_SIZE];
	const char *reason;

	mock_path(device, path);
	return identity_read(path, device->port, ret_identity, snapshot, ret_dev, &reason);
}

static void test_identity(_unused_ void **state)
{
	static struct snapshot_bytes snapshot;
	UMockdevTestbed *bed = umockdev_testbed_new();
	uint8_t digest[DIGEST_SIZE], configuration;
	char path[MOCK_PATH_SIZE];
	struct identity identity;
	uint16_t dev;

	mock_path(&stick, path);
	mock_add(bed, &stick);
	assert_int_equal(read_device(&stick, &identity, &snapshot, &dev), 0);
	assert_string_equal(identity.port, "1-1");
	assert_string_equal(identity.path, "pci-0000:00:04.0-usb-0:1");
	assert_int_equal(identity.bus, 1);
	assert_int_equal(identity.dev, 5);
	assert_int_equal(dev, 5);
	assert_int_equal(identity.speed, WIRE_SPEED_HIGH);
	assert_int_equal(identity.vendor, 0x1234);
	assert_int_equal(identity.product, 0xabcd);
	assert_int_equal(identity.n_interfaces, 1);
	assert_memory_equal(identity.interfaces[0], ((uint8_t[]){0x08, 0x06, 0x50}), 3);
	assert_string_equal(identity.serial, "S1");
	assert_string_equal(identity.manufacturer, "Mock");
	assert_string_equal(identity.product_name, "Thing 1-1");
	assert_int_equal(snapshot.len, SNAPSHOT_HEAD + 2 + 18 + 25);
	digest_sha256(snapshot.bytes, snapshot.len, digest);
	assert_memory_equal(identity.digest, digest, sizeof(digest));
	/* Which configuration it is in, if any, and only of this very device */
	assert_int_equal(identity_read_configuration(path, &identity, &configuration), 0);
	assert_int_equal(configuration, 0);
	umockdev_testbed_set_attribute(bed, path, "bConfigurationValue", "2\n");
	assert_int_equal(identity_read_configuration(path, &identity, &configuration), 0);
	assert_int_equal(configuration, 2);
	identity.dev++;
	assert_int_equal(identity_read_configuration(path, &identity, &configuration), IDENTITY_GONE);
	/* It is gone */
	mock_unplug(bed, &stick, true);
	assert_int_equal(read_device(&stick, &identity, &snapshot, &dev), IDENTITY_GONE);
	g_object_unref(bed);
}

/* UD07, UD08, UD11, CL12: devices that lie. One after the other at the same port. */
static void test_hostile(_unused_ void **state)
{
#define DEVICE_18 "12010002000000403412CDAB000101020301"
	static const struct {
		const char *name, *descriptors, *speed, *serial;
		int r;
		const char *shown_serial;
	} rows[] = {
		{"whole", NULL, "480", "A", 0, "A"},
		{"control characters", NULL, "480", "a\x1b[2Jb\x07", 0, "a_[2Jb_"},
		{"UTF-8 and C1", NULL, "480", "x\xc2\x9by", 0, "x_y"},
		{"no serial", NULL, "480", NULL, 0, ""},
		{"5 Gbit/s", NULL, "5000", "A", 0, "A"},
		{"20 Gbit/s", NULL, "20000", "A", 0, "A"},
		{"unknown speed", NULL, "unknown", "A", IDENTITY_BAD, NULL},
		{"no speed", NULL, "", "A", IDENTITY_BAD, NULL},
		{"one byte", "12", "480", "A", IDENTITY_BAD, NULL},
		{"device descriptor only", DEVICE_18, "480", "A", IDENTITY_BAD, NULL},
		{"wTotalLength 8", DEVICE_18 "09020800010100A032", "480", "A", IDENTITY_BAD, NULL},
		{"wTotalLength past the end", DEVICE_18 "0902FFFF010100A032", "480", "A", IDENTITY_BAD, NULL},
		{"bLength 0", DEVICE_18 "09020B00010100A0320004", "480", "A", IDENTITY_BAD, NULL},
		{"a hub's interface",
		 "12010002000000403412CDAB00010102030109021900010100A0320904000001090000000705810200020A", "480", "A",
		 IDENTITY_HUB, NULL},
		{"hub", "1201000209000040341200AB000101020301", "480", "A", IDENTITY_HUB, NULL},
	};
	static struct snapshot_bytes snapshot;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		UMockdevTestbed *bed = umockdev_testbed_new();
		struct mock_device device = stick;
		struct identity identity;
		uint16_t dev;
		int r;

		device.descriptors = rows[i].descriptors;
		device.speed = rows[i].speed;
		device.serial = rows[i].serial;
		mock_add(bed, &device);
		r = read_device(&device, &identity, &snapshot, &dev);
		if (r == 0 && strcmp(identity.path, strlen(rows[i].speed) > 3 ? "pci-0000:00:04.0-usbv3-0:1"
									      : "pci-0000:00:04.0-usb-0:1") != 0)
			fail_msg("%s: %s", rows[i].name, identity.path);
		if (r != rows[i].r || (r == 0 && strcmp(identity.serial, rows[i].shown_serial) != 0))
			fail_msg("%s: %d", rows[i].name, r);
		g_object_unref(bed);
	}
}

/* UD07: too long for any snapshot, and a serial of more than 126 characters. */
static void test_too_long(_unused_ void **state)
{
	static struct snapshot_bytes snapshot;
	static uint8_t bytes[LIMIT_SNAPSHOT + 100];
	char serial[400], path[MOCK_PATH_SIZE];
	UMockdevTestbed *bed = umockdev_testbed_new();
	struct mock_device device = stick;
	struct identity identity;
	uint16_t dev;

	memset(serial, 'z', sizeof(serial));
	serial[sizeof(serial) - 1] = '\0';
	device.serial = serial;
	mock_add(bed, &device);
	assert_int_equal(read_device(&device, &identity, &snapshot, &dev), 0);
	assert_int_equal(strlen(identity.serial), LIMIT_TEXT);
	memset(bytes, 2, sizeof(bytes));
	mock_path(&device, path);
	umockdev_testbed_set_attribute_binary(bed, path, "descriptors", bytes, sizeof(bytes));
	assert_int_equal(read_device(&device, &identity, &snapshot, &dev), IDENTITY_BAD);
	assert_int_equal(dev, 5);
	g_object_unref(bed);
}

/* UD01: the node must be the device that was read. */
static void test_node(_unused_ void **state)
{
	static const struct {
		const char *name, *node;
		enum outcome outcome;
	} rows[] = {
		{"the same", NULL, OUTCOME_OK},
		{"another product",
		 "12010002000000403412CDAA00010102030109021900010100A0320904000001080650000705810200020A",
		 OUTCOME_CHANGED},
		{"shorter", "12010002000000403412CDAB00010102030109021900010100A032090400000108065000070581020002",
		 OUTCOME_CHANGED},
		{"longer", "12010002000000403412CDAB00010102030109021900010100A0320904000001080650000705810200020AFF",
		 OUTCOME_CHANGED},
		{"one byte", "12", OUTCOME_CHANGED},
	};
	static struct snapshot_bytes snapshot;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		UMockdevTestbed *bed = umockdev_testbed_new();
		struct mock_device device = stick;
		struct identity identity;
		enum outcome outcome;
		uint16_t dev;
		int fd = -1;

		device.node = rows[i].node;
		mock_add(bed, &device);
		assert_int_equal(read_device(&device, &identity, &snapshot, &dev), 0);
		outcome = node_open(&identity, &snapshot, &fd);
		if (outcome != rows[i].outcome || (fd >= 0) != (outcome == OUTCOME_OK))
			fail_msg("%s: %s", rows[i].name, outcome_name(outcome));
		if (fd >= 0)
			assert_int_equal(close(fd), 0);
		identity.dev++;
		assert_int_equal(node_open(&identity, &snapshot, &fd), OUTCOME_NO_DEVICE);
		g_object_unref(bed);
	}
}

int main(_unused_ int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan),       cmocka_unit_test(test_events),      cmocka_unit_test(test_identity),
		cmocka_unit_test(test_hostile),    cmocka_unit_test(test_too_long),    cmocka_unit_test(test_node),
		cmocka_unit_test(test_video_scan), cmocka_unit_test(test_video_event),
	};

	mock_begin(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
