// SPDX-License-Identifier: GPL-2.0-or-later
/* Labels: what one is, for which devices it is shown, and the table. */
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

#include "broker/core/labels.h"
#include "lib/base/base.h"

#define SIXTEEN "0123456789abcdef"
#define LONGEST SIXTEEN SIXTEEN SIXTEEN SIXTEEN

static int setup(void **state)
{
	*state = labels_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	*state = labels_free(*state);
	return 0;
}

static void test_texts(void **unused _unused_)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"x", true},           {"My 'bank' stick", true},
		{LONGEST, true},       {"a=b", true},
		{"", false},           {" x", false},
		{"x ", false},         {LONGEST "x", false},
		{"x=", false},         {"a\\b", false},
		{"\x1b[2J", false},    {"b\xc3\xa4", false},
		{"two\nlines", false}, {"\x7f", false},
		{"=", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(labels_is_text(cases[i].text), cases[i].good);
}

/* What must be the same, so that a label is shown. */
static void test_identity(void **state)
{
	static const struct core_device stick = {.class_id = WIRE_CLASS_USB,
						 .vendor = 0x0781,
						 .product = 0x5581,
						 .n_interfaces = 1,
						 .interfaces = {{8, 6, 0x50}},
						 .port = "1-2",
						 .path = "pci-0000:00:04.0-usb-0:2",
						 .serial = "AB12"};
	struct core_device other = stick, plain = stick;
	char key[CORE_LABEL_KEY_MAX];

	labels_key("sys-usb", &stick, key);
	assert_string_equal(key, "sys-usb 0781:5581:AB12:u080650");
	assert_null(labels_of(*state, "sys-usb", &stick));
	assert_int_equal(labels_set(*state, key, "bank"), 0);
	assert_string_equal(labels_of(*state, "sys-usb", &stick), "bank");
	assert_null(labels_of(*state, "sys-usb2", &stick));
	(void)strcpy(other.port, "2-1"); /* it was plugged in elsewhere */
	(void)strcpy(other.path, "pci-0000:00:05.0-usb-0:1");
	assert_string_equal(labels_of(*state, "sys-usb", &other), "bank");
	other.interfaces[0][0] = 3;
	assert_null(labels_of(*state, "sys-usb", &other));
	other = stick;
	other.product++;
	assert_null(labels_of(*state, "sys-usb", &other));

	plain.serial[0] = '\0';
	assert_null(labels_of(*state, "sys-usb", &plain));
	labels_key("sys-usb", &plain, key);
	assert_string_equal(key, "sys-usb 0781:5581::u080650 @pci-0000:00:04.0-usb-0:2");
	assert_int_equal(labels_set(*state, key, "left one"), 0);
	(void)strcpy(plain.port, "7-2"); /* the bus has another number, the place is the same */
	assert_string_equal(labels_of(*state, "sys-usb", &plain), "left one");
	(void)strcpy(plain.path, "pci-0000:00:04.0-usb-0:3");
	assert_null(labels_of(*state, "sys-usb", &plain));
	plain.path[0] = '\0';
	labels_key("sys-usb", &plain, key);
	assert_string_equal(key, "sys-usb 0781:5581::u080650 7-2");
	/* no serial number is so long, or of such characters, that it is taken for another device's place */
	memset(other.serial, 'x', LIMIT_TEXT);
	(void)strcpy(other.serial + LIMIT_TEXT - 10, ": @pci-0:1");
	labels_key("sys-usb", &other, key);
	assert_string_equal(key + strlen(key) - 8, ":u080650");
}

static void test_table(void **state)
{
	struct labels *table = *state;
	char key[32], text[40];

	assert_int_equal(labels_set(table, "", "x"), LABELS_UNFIT);
	assert_int_equal(labels_set(table, "a\n", "x"), LABELS_UNFIT);
	assert_int_equal(labels_set(table, "a", "\n"), LABELS_UNFIT);
	assert_int_equal(labels_set(table, "a", ""), LABELS_UNCHANGED);
	for (unsigned int i = 0; i < LIMIT_LABELS; i++) {
		(void)snprintf(key, sizeof(key), "key %u", i * 7919 % LIMIT_LABELS); /* in no order */
		(void)snprintf(text, sizeof(text), "of %s", key);
		assert_int_equal(labels_set(table, key, text), 0);
		assert_int_equal(labels_set(table, key, text), LABELS_UNCHANGED);
	}
	assert_int_equal(labels_set(table, "one more", "x"), LABELS_FULL);
	assert_null(labels_get(table, "one more"));
	for (unsigned int i = 0; i < LIMIT_LABELS; i++) {
		(void)snprintf(key, sizeof(key), "key %u", i);
		(void)snprintf(text, sizeof(text), "of %s", key);
		assert_string_equal(labels_get(table, key), text);
	}
	assert_int_equal(labels_set(table, "key 5", "another"), 0); /* which needs no place */
	assert_string_equal(labels_get(table, "key 5"), "another");
	for (unsigned int i = 0; i < LIMIT_LABELS; i += 2) {
		(void)snprintf(key, sizeof(key), "key %u", i);
		assert_int_equal(labels_set(table, key, ""), 0);
	}
	for (unsigned int i = 0; i < LIMIT_LABELS; i++) {
		(void)snprintf(key, sizeof(key), "key %u", i);
		assert_int_equal(labels_get(table, key) != NULL, i % 2);
	}
	assert_int_equal(labels_set(table, "one more", "x"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_table, setup, teardown),
	};

	return cmocka_run_group_tests_name("labels", tests, NULL, NULL);
}
