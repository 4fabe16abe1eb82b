/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of the Admin API: what parses to what, every framing fault, and how devices are named. */
#include <string.h>

#include "tests/unit.h"
#include "lib/admin/request.h"
#include "lib/base/base.h"

#define BYTES(text) (text), sizeof(text) - 1 /* embedded NULs count */

static void test_requests(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int fault;
		const char *method, *argument, *source, *dest, *payload;
	} rows[] = {
		{BYTES("admin.vm.List+ dom0 name dom0\0"), 0, "admin.vm.List", "", "dom0", "dom0", ""},
		{BYTES("admin.vm.List dom0 name dom0\0"), 0, "admin.vm.List", "", "dom0", "dom0", ""},
		{BYTES("a+b+c d name e\0payload"), 0, "a", "b+c", "d", "e", "payload"},
		{BYTES("a+ d name e\0pay\0load"), 0, "a", "", "d", "e", "pay"},
		{BYTES("a+ d keyword adminvm\0"), 0, "a", "", "d", "dom0", ""},
		{BYTES("a+ d name adminvm\0"), 0, "a", "", "d", "adminvm", ""},
		{BYTES("a+ d name e f g\0"), 0, "a", "", "d", "e f g", ""},
		{BYTES("a+ d name \0"), 0, "a", "", "d", "", ""},
		{BYTES("+   \0"), ADMIN_FAULT_DEST_TYPE, NULL, NULL, NULL, NULL, NULL},
		{BYTES(" d name e\0"), 0, "", "", "d", "e", ""},
		{BYTES("a+  name e\0"), 0, "a", "", "", "e", ""},
		{BYTES(""), ADMIN_FAULT_NO_END, NULL, NULL, NULL, NULL, NULL},
		{BYTES("\0"), ADMIN_FAULT_FIELDS, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a+ d name e"), ADMIN_FAULT_NO_END, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a\0"), ADMIN_FAULT_FIELDS, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a b\0"), ADMIN_FAULT_FIELDS, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a b name\0"), ADMIN_FAULT_FIELDS, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a b nama c\0"), ADMIN_FAULT_DEST_TYPE, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a b keyword c\0"), ADMIN_FAULT_DEST_TYPE, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a b  name c\0"), ADMIN_FAULT_DEST_TYPE, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a\tb c name d\0"), ADMIN_FAULT_BYTES, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a\x1b[2J b name c\0"), ADMIN_FAULT_BYTES, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a b name c\n\0"), ADMIN_FAULT_BYTES, NULL, NULL, NULL, NULL, NULL},
		{BYTES("a b name \xc3\xa9\0"), ADMIN_FAULT_BYTES, NULL, NULL, NULL, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct admin_request request;
		int r = admin_request_parse(rows[i].bytes, rows[i].len, &request);

		if (r != rows[i].fault)
			fail_msg("row %zu: %d, not %d", i, r, rows[i].fault);
		if (r)
			continue;
		assert_true(admin_span_is(request.method, rows[i].method));
		assert_true(admin_span_is(request.argument, rows[i].argument));
		assert_true(admin_span_is(request.source, rows[i].source));
		assert_true(admin_span_is(request.dest, rows[i].dest));
		assert_true(request.payload.len >= strlen(rows[i].payload));
		assert_memory_equal(request.payload.at, rows[i].payload, strlen(rows[i].payload));
	}
}

/* As Qubes' own server: 65,536 bytes are taken, one more is not. */
static void test_length(void **state)
{
	static char bytes[LIMIT_ADMIN_REQUEST + 1] = "a+ dom0 name dom0";
	struct admin_request request;

	(void)state;
	assert_int_equal(admin_request_parse(bytes, LIMIT_ADMIN_REQUEST, &request), 0);
	assert_int_equal(request.payload.len, LIMIT_ADMIN_REQUEST - strlen(bytes) - 1);
	assert_int_equal(admin_request_parse(bytes, LIMIT_ADMIN_REQUEST + 1, &request), ADMIN_FAULT_TOO_LONG);
}

static void test_every_prefix(void **state)
{
	static const char bytes[] = "admin.vm.device.usb.Attach+sys-usb+1-2+0781 dom0 name work\0k='v'";
	struct admin_request request;

	(void)state;
	for (size_t len = 0; len < sizeof(bytes) - 1; len++)
		assert_int_equal(admin_request_parse(bytes, len, &request),
				 len > strlen(bytes) ? 0 : ADMIN_FAULT_NO_END);
}

static void test_devices(void **state)
{
	static const struct {
		const char *argument;
		int fault;
		const char *backend, *port, *id;
		bool any_port, any_id;
	} rows[] = {
		{"sys-usb+1-2+0781+5581+AB12+u080650", 0, "sys-usb", "1-2", "0781+5581+AB12+u080650", false, false},
		{"sys-usb+1-2+_", 0, "sys-usb", "1-2", "_", false, true},
		{"sys-usb+_+0781+5581++u080650", 0, "sys-usb", "_", "0781+5581++u080650", true, false},
		{"sys-usb+1-2", 0, "sys-usb", "1-2", "", false, true},
		{"sys-usb+1-2++", 0, "sys-usb", "1-2", "+", false, false},
		{"sys-usb+__+__", 0, "sys-usb", "__", "__", false, false},
		{"sys-usb+1-2+", ADMIN_FAULT_DEVICE, NULL, NULL, NULL, false, false},
		{"sys-usb", ADMIN_FAULT_DEVICE, NULL, NULL, NULL, false, false},
		{"sys-usb+", ADMIN_FAULT_DEVICE, NULL, NULL, NULL, false, false},
		{"+1-2", ADMIN_FAULT_DEVICE, NULL, NULL, NULL, false, false},
		{"sys-usb++x", ADMIN_FAULT_DEVICE, NULL, NULL, NULL, false, false},
		{"", ADMIN_FAULT_DEVICE, NULL, NULL, NULL, false, false},
		{"+", ADMIN_FAULT_DEVICE, NULL, NULL, NULL, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct admin_device device;
		int r = admin_device_parse(admin_span(rows[i].argument), &device);

		if (r != rows[i].fault)
			fail_msg("row %zu: %d, not %d", i, r, rows[i].fault);
		if (r)
			continue;
		assert_true(admin_span_is(device.backend, rows[i].backend));
		assert_true(admin_span_is(device.port, rows[i].port));
		assert_true(admin_span_is(device.device_id, rows[i].id));
		assert_int_equal(device.any_port, rows[i].any_port);
		assert_int_equal(device.any_id, rows[i].any_id);
	}
}

/* The lossy encoding of VirtualDevice.repr_for_qarg; `:` and `+` of a serial become one. */
static void test_encoding(void **state)
{
	static const char *const rows[][2] = {
		{"0781:5581:AB12:u080650", "0781+5581+AB12+u080650"},
		{"0781:5581:AB+CD:u080650", "0781+5581+AB+CD+u080650"},
		{"0781:5581:A*B:u080650", "0781+5581+A_B+u080650"},
		{"0000:0000::?******", "0000+0000++_______"},
		{"0000:0000:_______:u080650", "0000+0000+_______+u080650"},
		{"?******?******", "______________"},
		{"?*****", "?_____"},
		{"*", "_"},
		{"", ""},
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		(void)strcpy(text, rows[i][0]);
		admin_device_id_encode(text);
		assert_string_equal(text, rows[i][1]);
	}
}

/* Backend, port and id must all agree (Qubes' own server once detached by the port alone). */
static void test_matching(void **state)
{
	static const struct {
		const char *argument, *backend, *port, *id;
		bool matches;
	} rows[] = {
		{"a+1-1+x+y", "a", "1-1", "x+y", true},    {"a+1-1+x+y", "b", "1-1", "x+y", false},
		{"a+1-1+x+y", "a", "1-2", "x+y", false},   {"a+1-1+x+y", "a", "1-1", "x+z", false},
		{"a+1-1+x+y", "a", "1-1", "x+y+z", false}, {"a+1-1+_", "a", "1-1", "x", true},
		{"a+1-1+_", "a2", "1-1", "x", false},      {"a+_+x", "a", "9-9", "x", true},
		{"a+_+x", "a", "9-9", "y", false},         {"a+1-1", "a", "1-1", "x", true},
		{"a+1-1", "a", "1-1.1", "x", false},       {"a+1-1.1", "a", "1-1", "x", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct admin_device device;

		assert_int_equal(admin_device_parse(admin_span(rows[i].argument), &device), 0);
		if (admin_device_matches(&device, rows[i].backend, rows[i].port, rows[i].id) != rows[i].matches)
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests), cmocka_unit_test(test_length),   cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_devices),  cmocka_unit_test(test_encoding), cmocka_unit_test(test_matching),
	};

	return cmocka_run_group_tests_name("admin-request", tests, NULL, NULL);
}
