/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhci_hcd's status files of the kernels that people have, and the choice of a port.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit.h"
#include "lib/base/base.h"
#include "lib/wire/messages.h"
#include "proxies/agent/vhci.h"

#define HEAD "hub port sta spd dev      sockfd local_busid\n"

static struct vhci_status status;
static bool reserved[VHCI_MAX_PORTS];

/* As the kernel prints an idle build with `n_ports` a hub and `n_controllers`. */
static void fill(unsigned int n_ports, unsigned int n_controllers)
{
	status.n_ports = 0;
	memset(reserved, 0, sizeof(reserved));
	for (unsigned int c = 0; c < n_controllers; c++) {
		static char text[8192];
		size_t len = (size_t)snprintf(text, sizeof(text), HEAD);

		for (unsigned int i = 0; i < 2 * n_ports; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s  %04u 004 000 00000000 000000 0-0\n", i < n_ports ? "hs" : "ss",
						c * 2 * n_ports + i);
		vhci_parse(&status, (uint8_t)c, text, len);
	}
}

static void test_layouts(_unused_ void **state)
{
	fill(15, 8);
	assert_int_equal(status.n_ports, 240);
	assert_int_equal(vhci_find(&status, 239)->controller, 7);
	assert_true(vhci_find(&status, 239)->super);
	assert_false(vhci_find(&status, 30)->super);
	assert_true(vhci_find(&status, 15)->super);
	assert_null(vhci_find(&status, 240));
	fill(8, 1);
	assert_int_equal(status.n_ports, 16);
	assert_true(vhci_find(&status, 8)->super);
	fill(31, VHCI_MAX_CONTROLLERS);
	assert_int_equal(status.n_ports, VHCI_MAX_PORTS);
}

static void test_lines(_unused_ void **state)
{
	static const struct {
		const char *name, *line;
		bool is_port;
		struct vhci_port port;
	} lines[] = {
		{"used", "hs  0001 006 003 00020003 000004 1-2", true, {1, 3, false, 6, 0x20003, "1-2"}},
		{"used, newline", "ss  0019 006 005 00020003 000004 4-1\n", true, {19, 3, true, 6, 0x20003, "4-1"}},
		{"free", "hs  0000 004 000 00000000 000000 0-0", true, {0, 3, false, 4, 0, ""}},
		{"connecting", "hs  0002 005 003 00010002 000003 0-0", true, {2, 3, false, 5, 0x10002, ""}},
		{"error", "hs  0002 007 000 00000000 000000 0-0", true, {2, 3, false, 7, 0, ""}},
		{"controller not ready: 16-digit socket",
		 "hs  0032 005 000 00000000 0000000000000000 0-0",
		 true,
		 {32, 3, false, 5, 0, ""}},
		{"old kernel: 16-digit pointer",
		 "ss  0040 006 005 00020003 ffff8881000aa000 3-1",
		 true,
		 {40, 3, true, 6, 0x20003, "3-1"}},
		{"no bus id", "hs  0001 006 003 00020003 000004", true, {1, 3, false, 6, 0x20003, ""}},
		{"bus id that is none", "hs  0001 006 003 00020003 000004 ../x", true, {1, 3, false, 6, 0x20003, ""}},
		{"one blank each", "hs 1 6 3 20003 4 1-2", true, {1, 3, false, 6, 0x20003, "1-2"}},
		{"header", "hub port sta spd dev      sockfd local_busid", false, {0}},
		{"empty", "", false, {0}},
		{"blanks", "     ", false, {0}},
		{"unknown hub", "xs  0001 006 003 00020003 000004 1-2", false, {0}},
		{"cut off", "hs  0001 006", false, {0}},
		{"negative port", "hs  -001 006 003 00020003 000004 1-2", false, {0}},
		{"port too high", "hs  9999 006 003 00020003 000004 1-2", false, {0}},
		{"hexadecimal port", "hs  000a 006 003 00020003 000004 1-2", false, {0}},
		{"state too high", "hs  0001 256 003 00020003 000004 1-2", false, {0}},
		{"devid too long", "hs  0001 006 003 100000000 000004 1-2", false, {0}},
		{"devid endless", "hs  0001 006 003 00000000000000001 000004 1-2", false, {0}},
		{"line over 127 bytes",
		 "hs  0001 006 003 00020003 000004 1-2                                                                "
		 "                                                 ",
		 false,
		 {0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		status.n_ports = 0;
		vhci_parse(&status, 3, lines[i].line, strlen(lines[i].line));
		if (status.n_ports != (lines[i].is_port ? 1 : 0))
			fail_msg("%s: %zu ports", lines[i].name, status.n_ports);
		if (!lines[i].is_port)
			continue;
		const struct vhci_port *got = &status.ports[0], *want = &lines[i].port;

		if (got->number != want->number || got->controller != want->controller || got->super != want->super ||
		    got->state != want->state || got->devid != want->devid || strcmp(got->busid, want->busid) != 0)
			fail_msg("%s: other content", lines[i].name);
	}
	/* The same port twice: the first counts. NUL bytes and bytes without end are only garbage. */
	static const char twice[] =
		"hs  0001 004 000 00000000 000000 0-0\nhs  0001 006 003 00020003 000004 1-2\n\0\0\xff";

	status.n_ports = 0;
	vhci_parse(&status, 0, twice, sizeof(twice) - 1);
	assert_int_equal(status.n_ports, 1);
	assert_int_equal(status.ports[0].state, VHCI_PORT_FREE);
}

/* One after the other, as long as there is a port; the choice must be `ports`. */
static void check_choices(const uint8_t *speeds, const int *ports, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct vhci_port *port = vhci_choose(&status, speeds[i], reserved);

		if ((port == NULL ? -1 : (int)port->number) != ports[i])
			fail_msg("choice %zu: %d instead of %d", i, port == NULL ? -1 : (int)port->number, ports[i]);
		if (port != NULL)
			reserved[port->number] = true;
	}
}

static void test_choice(_unused_ void **state)
{
	static const uint8_t mixed[] = {3, 5, 1, 6, 2, 3, 3, 3, 3, 5, 4};
	static const int spread[] = {0, 45, 60, 105, 120, 150, 180, 210, 1, 46, 61};
	static const uint8_t high[] = {3, 3, 3, 3, 3, 3, 3, 3, 3, 5};
	static const int filled[] = {0, 1, 2, 3, 4, 5, 6, 7, -1, 8};

	fill(15, 8);
	check_choices(mixed, spread, ARRAY_SIZE(mixed));
	fill(8, 1); /* HP09: no free port of that half */
	check_choices(high, filled, ARRAY_SIZE(high));
	/* What the kernel says counts as well: used, connecting, in error. */
	fill(15, 8);
	for (uint8_t s = VHCI_PORT_CONNECTING; s <= VHCI_PORT_ERROR; s++)
		status.ports[30u * (s - VHCI_PORT_CONNECTING) + 15].state = s;
	assert_int_equal(vhci_choose(&status, WIRE_SPEED_HIGH, reserved)->number, 90);
	status.n_ports = 0;
	assert_null(vhci_choose(&status, WIRE_SPEED_HIGH, reserved));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
