/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts stand behind their wholes, whatever a server says. */
#include "tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tree.h"
#include "lib/base/base.h"

struct given {
	const char *class, *backend, *port, *parent_class, *parent_port;
};

static void make(struct inventory *inventory, const struct given *given, size_t n)
{
	*inventory =
		(struct inventory){.n_devices = n, .max_devices = n, .devices = calloc(n + 1, sizeof(struct device))};
	for (size_t i = 0; i < n; i++) {
		struct device *device = &inventory->devices[i];

		(void)snprintf(device->class, sizeof(device->class), "%s", given[i].class);
		(void)snprintf(device->backend, sizeof(device->backend), "%s", given[i].backend);
		(void)snprintf(device->port, sizeof(device->port), "%s", given[i].port);
		(void)snprintf(device->parent_class, sizeof(device->parent_class), "%s", given[i].parent_class);
		(void)snprintf(device->parent_port, sizeof(device->parent_port), "%s", given[i].parent_port);
	}
}

/* "port port ...", each with a dot in front for each step that it stands deeper. */
static void assert_order(const struct given *given, size_t n, const char *order)
{
	_cleanup_(inventory_deinit) struct inventory inventory;
	char text[512] = "";
	size_t len = 0;

	make(&inventory, given, n);
	assert_int_equal(tree_arrange(&inventory), 0);
	assert_int_equal(inventory.n_devices, n);
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%.*s%s", i ? " " : "",
					(int)inventory.devices[i].depth, "........", inventory.devices[i].port);
	assert_string_equal(text, order);
}

static void test_parts(void **unused _unused_)
{
	static const struct given parts[] = {
		{"mic", "sys-usb", "alsa-1", "usb", "2-1"},
		{"block", "sys-usb", "sda", "usb", "1-2"},
		{"block", "sys-usb", "sda1", "block", "sda"},
		{"block", "sys-usb", "sda2", "block", "sda"},
		{"usb", "other", "2-1", "", ""},
		{"usb", "sys-usb", "1-2", "", ""},
		{"usb", "sys-usb", "2-1", "", ""},
		{"webcam", "sys-usb", "video0", "usb", "2-1"},
		{"block", "sys-usb", "sdb", "usb", "7-7"},
		{"mic", "other", "alsa-1", "block", "2-1"},
	};

	assert_order(parts, ARRAY_SIZE(parts), "2-1 1-2 .sda ..sda1 ..sda2 2-1 .alsa-1 .video0 sdb alsa-1");
	assert_order(parts, 0, "");
	assert_order(parts, 4, "alsa-1 sda .sda1 .sda2");
}

/* Each is shown once. */
static void test_nonsense(void **unused _unused_)
{
	static const struct given ring[] = {{"usb", "q", "1", "usb", "3"},
					    {"usb", "q", "2", "usb", "1"},
					    {"usb", "q", "3", "usb", "2"},
					    {"usb", "q", "4", "usb", "4"},
					    {"usb", "q", "5", "usb", "3"}};
	char ports[12][4];
	struct given chain[ARRAY_SIZE(ports)];

	assert_order(ring, ARRAY_SIZE(ring), "1 .2 ..3 ...5 4");
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		(void)snprintf(ports[i], sizeof(ports[i]), "%zu", i);
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		chain[i] = (struct given){"usb", "q", ports[i], "usb", i ? ports[i - 1] : ""};
	assert_order(chain, ARRAY_SIZE(chain), "0 .1 ..2 ...3 ....4 .....5 ......6 .......7 ........8 9 .10 ..11");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parts), cmocka_unit_test(test_nonsense)};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
