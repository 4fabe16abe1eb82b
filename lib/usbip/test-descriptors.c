/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The descriptor parser and snapshots on samples of real kinds of devices, on each of their faults, and on all damage. */
#include "tests/unit.h"

#include <stdio.h>

#include "lib/usbip/snapshot.h"
#include "lib/usbip/test-samples.h"

static struct usb_descriptors parsed;

/* A copy of exactly `len` bytes on the heap: a sanitizer sees each read beyond. */
static int parse_exact(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	r = usb_descriptors_parse(copy, len, &parsed);
	free(copy);
	return r;
}

static void interface_codes(const struct usb_descriptors *d, char *text)
{
	*text++ = ':';
	for (size_t i = 0; i < d->n_interface_codes; i++)
		text += sprintf(text, "%02x%02x%02x:", d->interface_codes[i][0], d->interface_codes[i][1],
				d->interface_codes[i][2]);
	*text = '\0';
}

static void test_samples(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		uint8_t bytes[SAMPLE_MAX];
		size_t len = sample_build(&samples[i], bytes);
		char codes[LIMIT_INTERFACES * 7 + 2];

		assert_int_equal(parse_exact(bytes, len), 0);
		assert_int_equal(parsed.vendor, samples[i].vendor);
		assert_int_equal(parsed.product, samples[i].product);
		assert_int_equal(parsed.i_serial, samples[i].i_serial);
		assert_int_equal(parsed.configurations[0].n_interfaces, samples[i].n_interfaces);
		assert_int_equal(parsed.n_altsettings, samples[i].n_altsettings);
		assert_int_equal(parsed.n_endpoints, samples[i].n_endpoints);
		interface_codes(&parsed, codes);
		assert_string_equal(codes, samples[i].codes);
	}
}

static void test_tree(void **state)
{
	uint8_t bytes[SAMPLE_MAX];
	const struct usb_configuration *c;
	const struct usb_altsetting *a;
	const struct usb_endpoint *e;

	(void)state;
	assert_int_equal(parse_exact(bytes, sample_build(&samples[1], bytes)), 0);
	c = usb_find_configuration(&parsed, 1);
	assert_non_null(c);
	assert_null(usb_find_configuration(&parsed, 2));
	a = usb_find_altsetting(&parsed, c, 0, 1);
	assert_non_null(a);
	assert_int_equal(a->protocol, 0x62);
	assert_int_equal(a->n_endpoints, 4);
	assert_null(usb_find_altsetting(&parsed, c, 0, 2));
	assert_null(usb_find_altsetting(&parsed, c, 1, 0));
	e = usb_find_endpoint(&parsed, a, 0x83);
	assert_non_null(e);
	assert_int_equal(e->max_packet, 1024);
	assert_int_equal(e->max_burst, 15);
	assert_null(usb_find_endpoint(&parsed, a, 0x03));
}

struct fault_case {
	const char *what;
	int fault;
	uint8_t at, value; /* one byte of the storage sample (18 + 9 + 9 + 7 + 7 bytes) to change */
};

/* UD07, UD08, UD11 */
static const struct fault_case fault_cases[] = {
	{"device bLength 17", USB_FAULT_LENGTH, 0, 17},
	{"device bLength 0", USB_FAULT_LENGTH, 0, 0},
	{"device type", USB_FAULT_TYPE, 1, 2},
	{"UD11 no configuration", USB_FAULT_CONFIGURATIONS, 17, 0},
	{"UD11 255 configurations", USB_FAULT_CONFIGURATIONS, 17, 255},
	{"UD11 nine configurations", USB_FAULT_CONFIGURATIONS, 17, 9},
	{"a configuration too few", USB_FAULT_CONFIGURATIONS, 17, 2},
	{"UD08 configuration bLength 0", USB_FAULT_LENGTH, 18, 0},
	{"UD08 configuration bLength 1", USB_FAULT_LENGTH, 18, 1},
	{"UD08 configuration bLength 8", USB_FAULT_LENGTH, 18, 8},
	{"UD08 configuration past the end", USB_FAULT_LENGTH, 18, 255},
	{"configuration type", USB_FAULT_TYPE, 19, 4},
	{"UD07 wTotalLength 0", USB_FAULT_TOTAL_LENGTH, 20, 0},
	{"UD07 wTotalLength 8", USB_FAULT_TOTAL_LENGTH, 20, 8},
	{"UD07 wTotalLength more than received", USB_FAULT_TOTAL_LENGTH, 20, 33},
	{"UD07 wTotalLength 65312 more", USB_FAULT_TOTAL_LENGTH, 21, 255},
	{"UD07 wTotalLength less than contents, inside one", USB_FAULT_LENGTH, 20, 31},
	{"UD07 wTotalLength less than contents, between", USB_FAULT_TRAILING, 20, 25},
	{"UD07 wTotalLength leaves one byte", USB_FAULT_SHORT, 20, 26},
	{"configuration value 0", USB_FAULT_CONFIGURATIONS, 23, 0},
	{"UD08 interface bLength 0", USB_FAULT_LENGTH, 27, 0},
	{"UD08 interface bLength 1", USB_FAULT_LENGTH, 27, 1},
	{"interface bLength 8", USB_FAULT_LENGTH, 27, 8},
	{"interface past the end", USB_FAULT_LENGTH, 27, 24},
	{"an endpoint before any interface", USB_FAULT_ORDER, 28, 0x77},
	{"more endpoints than bNumEndpoints", USB_FAULT_ENDPOINT, 31, 1},
	{"endpoint bLength 6", USB_FAULT_LENGTH, 36, 6},
	{"endpoint number 0", USB_FAULT_ENDPOINT, 38, 0x80},
	{"endpoint twice", USB_FAULT_ENDPOINT, 38, 0x02},
	{"UD10 class descriptor before any interface", USB_FAULT_ORDER, 28, 0x24},
};

static void test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fault_cases); i++) {
		uint8_t bytes[SAMPLE_MAX];
		size_t len = sample_build(&samples[0], bytes);

		bytes[fault_cases[i].at] = fault_cases[i].value;
		if (parse_exact(bytes, len) != fault_cases[i].fault)
			fail_msg("%s: %s", fault_cases[i].what, usb_descriptor_fault_text(parse_exact(bytes, len)));
	}
}

/* A device with one configuration whose body is `n` copies of `body`, numbered at offset `number_at`. */
static int parse_repeated(const uint8_t *body, size_t body_len, size_t number_at, unsigned int n, unsigned int step)
{
	uint8_t *bytes = malloc(SAMPLE_MAX + n * body_len);
	size_t len = sample_build(&samples[0], bytes);
	int r;

	len = 27;
	for (unsigned int i = 0; i < n; i++) {
		memcpy(bytes + len, body, body_len);
		bytes[len + number_at] = (uint8_t)(i / step);
		len += body_len;
	}
	put_le16(bytes + 20, (uint16_t)(len - 18));
	r = parse_exact(bytes, len);
	free(bytes);
	return r;
}

static void test_limits(void **state)
{
	static const uint8_t interface[] = {S_IF(0, 0, 0, 8, 6, 0x50)};
	static const uint8_t full[] = {S_IF(0, 0, 15, 8, 6, 0x50), S_EP(0x01, 2, 64, 0), S_EP(0x02, 2, 64, 0),
				       S_EP(0x03, 2, 64, 0),       S_EP(0x04, 2, 64, 0), S_EP(0x05, 2, 64, 0),
				       S_EP(0x06, 2, 64, 0),       S_EP(0x07, 2, 64, 0), S_EP(0x08, 2, 64, 0)};
	static const uint8_t iad[] = {S_IAD(0, 2, 1, 1, 1), S_IF(0, 0, 0, 1, 1, 1)};
	static const uint8_t iad_wraps[] = {S_IAD(200, 100, 1, 1, 0), S_IF(0, 0, 0, 1, 1, 1)};

	(void)state;
	assert_int_equal(parse_repeated(interface, sizeof(interface), 3, 128, 1), 0);
	assert_int_equal(parse_repeated(interface, sizeof(interface), 3, 129, 1), USB_FAULT_TOO_MANY);
	assert_int_equal(parse_repeated(interface, sizeof(interface), 3, 256, 1), USB_FAULT_TOO_MANY); /* UD10 */
	assert_int_equal(parse_repeated(interface, sizeof(interface), 2, 32, 1), 0);
	assert_int_equal(parse_repeated(interface, sizeof(interface), 2, 33, 1), USB_FAULT_TOO_MANY);
	assert_int_equal(parse_repeated(interface, sizeof(interface), 3, 4, 2), USB_FAULT_ORDER);
	assert_int_equal(parse_repeated(full, sizeof(full), 3, 64, 1), 0);
	assert_int_equal(parse_repeated(full, sizeof(full), 3, 65, 1), USB_FAULT_TOO_MANY);
	assert_int_equal(parse_repeated(iad, sizeof(iad), 2, 1, 1), USB_FAULT_ORDER); /* UD10 */
	assert_int_equal(parse_repeated(iad_wraps, sizeof(iad_wraps), 7, 1, 1), USB_FAULT_ORDER);
	assert_int_equal(usb_descriptors_parse(iad, 0, &parsed), USB_FAULT_SHORT);
}

/* What Linux binds drivers by must be among what is shown: the device's own class, each interface's. */
static void test_device_class(void **state)
{
	static const struct {
		uint8_t code[3];
		const char *codes;
		bool hub;
	} cases[] = {
		{{0, 0, 0}, ":080650:", false},
		{{0xef, 2, 1}, ":080650:", false},
		{{2, 0, 0}, ":080650:", false},
		{{8, 6, 0x50}, ":080650:", false},
		{{9, 0, 0}, ":080650:090000:", true},
		{{9, 0, 2}, ":080650:090002:", true},
		{{0xe0, 1, 1}, ":080650:e00101:", false},
		{{7, 1, 2}, ":080650:070102:", false},
		{{0xff, 0xff, 0xff}, ":080650:ffffff:", false},
		{{0xff, 0, 0}, ":080650:ff0000:", false},
		{{0xef, 2, 2}, ":080650:ef0202:", false},
		{{0xef, 0, 0}, ":080650:ef0000:", false},
		{{0, 0, 1}, ":080650:000001:", false},
		{{0, 1, 0}, ":080650:000100:", false},
		{{2, 0, 1}, ":080650:020001:", false},
		{{2, 2, 0}, ":080650:020200:", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t bytes[SAMPLE_MAX];
		size_t len = sample_build(&samples[0], bytes);
		char codes[LIMIT_INTERFACES * 7 + 2];

		memcpy(bytes + 4, cases[i].code, 3);
		assert_int_equal(parse_exact(bytes, len), 0);
		interface_codes(&parsed, codes);
		assert_string_equal(codes, cases[i].codes);
		assert_int_equal(usb_is_hub(&parsed), cases[i].hub);
	}
}

/* A hub's interface in any alternate setting of any configuration. */
static void test_hubs(void **state)
{
	static const size_t class_of_interface = 5;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		uint8_t bytes[SAMPLE_MAX];
		size_t len = sample_build(&samples[i], bytes);

		assert_int_equal(parse_exact(bytes, len), 0);
		assert_false(usb_is_hub(&parsed));
		for (size_t at = 18; at < len; at += bytes[at]) {
			uint8_t before = bytes[at + class_of_interface];

			if (bytes[at + 1] != 4)
				continue;
			bytes[at + class_of_interface] = 9;
			assert_int_equal(parse_exact(bytes, len), 0);
			assert_true(usb_is_hub(&parsed));
			bytes[at + class_of_interface] = before;
		}
	}
}

/* 32 kinds of interface are what can be shown; with one more for the device itself it is one too many. */
static void test_device_class_at_limit(void **state)
{
	(void)state;
	for (unsigned int n = LIMIT_INTERFACES - 1; n <= LIMIT_INTERFACES; n++) {
		uint8_t bytes[SAMPLE_MAX];
		size_t len = sample_build(&samples[0], bytes);

		len = 27;
		for (unsigned int i = 0; i < n; i++) {
			const uint8_t interface[] = {S_IF((uint8_t)i, 0, 0, 0xff, (uint8_t)i, 0)};

			memcpy(bytes + len, interface, sizeof(interface));
			len += sizeof(interface);
		}
		put_le16(bytes + 20, (uint16_t)(len - 18));
		assert_int_equal(parse_exact(bytes, len), 0);
		bytes[4] = 0xe0;
		assert_int_equal(parse_exact(bytes, len), n < LIMIT_INTERFACES ? 0 : USB_FAULT_TOO_MANY);
	}
}

/* UD08, UD14: every truncation of every sample */
static void test_truncations(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		uint8_t bytes[SAMPLE_MAX];
		size_t len = sample_build(&samples[i], bytes);

		for (size_t n = 0; n < len; n++)
			assert_int_not_equal(parse_exact(bytes, n), 0);
	}
}

static void check_bounds(const struct usb_descriptors *d, size_t len)
{
	assert_in_range(d->n_configurations, 1, LIMIT_CONFIGS);
	assert_true(d->n_interface_codes <= LIMIT_INTERFACES);
	for (size_t i = 0; i < d->n_configurations; i++) {
		const struct usb_configuration *c = &d->configurations[i];

		assert_true(c->raw_offset + c->raw_len <= len);
		assert_true(c->first_altsetting + c->n_altsettings <= d->n_altsettings);
	}
	for (size_t i = 0; i < d->n_altsettings; i++)
		assert_true(d->altsettings[i].first_endpoint + d->altsettings[i].n_endpoints <= d->n_endpoints);
}

/* UD14: every byte of every sample as 0, 1, 255 and with each bit turned */
static void test_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		uint8_t bytes[SAMPLE_MAX];
		size_t len = sample_build(&samples[i], bytes);

		for (size_t at = 0; at < len; at++) {
			uint8_t before = bytes[at];
			const uint8_t values[] = {0,           1,           255,         before ^ 1,
						  before ^ 2,  before ^ 4,  before ^ 8,  before ^ 16,
						  before ^ 32, before ^ 64, before ^ 128};

			for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
				bytes[at] = values[v];
				if (parse_exact(bytes, len) == 0)
					check_bounds(&parsed, len);
			}
			bytes[at] = before;
		}
	}
}

static void test_snapshot(void **state)
{
	static uint8_t bytes[LIMIT_SNAPSHOT], raw[LIMIT_SNAPSHOT];
	static struct usb_snapshot s;
	char serial[LIMIT_TEXT + 2];
	size_t raw_len = sample_build(&samples[0], raw), len;

	(void)state;
	memset(serial, 'x', sizeof(serial));
	serial[LIMIT_TEXT + 1] = '\0';
	assert_int_equal(usb_snapshot_build(3, serial, raw, raw_len, bytes), 0);
	assert_int_equal(usb_snapshot_build(0, "1", raw, raw_len, bytes), 0);
	assert_int_equal(usb_snapshot_build(7, "1", raw, raw_len, bytes), 0);
	assert_int_equal(usb_snapshot_build(3, "a\nb", raw, raw_len, bytes), 0);
	assert_int_equal(usb_snapshot_build(3, "1", raw, LIMIT_SNAPSHOT - 2, bytes), 0);
	len = usb_snapshot_build(3, "AB12", raw, raw_len, bytes);
	assert_int_equal(len, 2 + 4 + raw_len);
	assert_int_equal(usb_snapshot_parse(bytes, len, &s), 0);
	assert_string_equal(s.serial, "AB12");
	assert_int_equal(s.raw_len, raw_len);
	assert_memory_equal(s.raw, raw, raw_len);
	assert_int_equal(s.descriptors.vendor, 0x0951);
	for (size_t n = 0; n < len; n++)
		assert_int_not_equal(usb_snapshot_parse(bytes, n, &s), 0);
	bytes[0] = 0;
	assert_int_equal(usb_snapshot_parse(bytes, len, &s), USB_FAULT_COUNT);
	bytes[0] = 3;
	bytes[1] = 127;
	assert_int_equal(usb_snapshot_parse(bytes, len, &s), USB_FAULT_COUNT);
	bytes[1] = 4;
	bytes[3] = 0x1b;
	assert_int_equal(usb_snapshot_parse(bytes, len, &s), USB_FAULT_COUNT);
}

static void test_texts(void **state)
{
	(void)state;
	for (int fault = -1; fault <= USB_FAULT_COUNT + 1; fault++)
		assert_true(strlen(usb_descriptor_fault_text(fault)) > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_device_class),
		cmocka_unit_test(test_hubs),
		cmocka_unit_test(test_device_class_at_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
