// SPDX-License-Identifier: GPL-2.0-or-later
/* Names are found at any place of the file, only below the right line, and nothing breaks a file that is none. */
#include "tests/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/usb-ids.h"
#include "lib/base/base.h"

static const char sound[] = "# List of USB ID's\n"
			    "\n"
			    "0001  First\n"
			    "\t0002  One thing\n"
			    "\t\t01  not a product\n"
			    "\t000a  Another\n"
			    "0781  Scan \x1b[31mDisk\n"
			    "\t5581  Ultra\n"
			    "0782  No products\n"
			    "0783  With one\n"
			    "\t5581  Other Ultra\n"
			    "C 00  (Defined at Interface level)\n"
			    "C 0b  Chip\n"
			    "C fe  Application Specific\n"
			    "\t01  Device Firmware Update\n"
			    "\t02  None\n"
			    "\t\t01  Protocol\n"
			    "AT 0102  Not a vendor\n"
			    "HID 21  HID\n"
			    "ffff  Last";

/* A file of that text, in a folder that the caller removes. */
static void write_file(const char *text, size_t len, char directory[32])
{
	char path[64];
	FILE *file;

	scratch_make("ids", directory, 32);
	(void)snprintf(path, sizeof(path), "%s/usb.ids", directory);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(setenv("QDB_USB_IDS", path, 1), 0);
}

static void test_names(void **state _unused_)
{
	static const struct {
		uint16_t vendor, product;
		const char *vendor_name, *product_name;
	} rows[] = {
		{0x0001, 0x0002, "First", "One thing"},
		{0x0001, 0x000a, "First", "Another"},
		{0x0001, 0x5581, "First", ""}, /* another vendor's */
		{0x0781, 0x5581, "Scan _[31mDisk", "Ultra"},
		{0x0782, 0x5581, "No products", ""},
		{0x0783, 0x5581, "With one", "Other Ultra"},
		{0xffff, 0x0001, "Last", ""},
		{0x0000, 0x0002, "", ""},
		{0x0102, 0x0000, "", ""}, /* a line of another kind */
		{0xfffe, 0x0000, "", ""},
	};
	struct usb_ids ids = {0};
	char directory[32], text[64];

	write_file(sound, sizeof(sound) - 1, directory);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(usb_ids_vendor(&ids, rows[i].vendor, text, sizeof(text)), rows[i].vendor_name[0] != 0);
		assert_string_equal(text, rows[i].vendor_name);
		assert_int_equal(usb_ids_product(&ids, rows[i].vendor, rows[i].product, text, sizeof(text)),
				 rows[i].product_name[0] != 0);
		assert_string_equal(text, rows[i].product_name);
	}
	usb_ids_deinit(&ids);
	scratch_remove(directory);
}

static void test_kinds(void **state _unused_)
{
	static const struct {
		const char *code, *kind;
		bool known;
	} rows[] = {
		{"u080650", "USB_Storage", true},
		{"m000000", "Microphone", true},
		{"s000000", "Speaker", true},
		{"u030101", "Keyboard", true},
		{"u030000", "Input", true},
		{"ufe0100", "Device Firmware Update", false},
		{"ufe0201", "Protocol", false},             /* the subclass says nothing */
		{"ufe0202", "Application Specific", false}, /* nor is there a protocol */
		{"u420000", "USB device", false},
		{"?******", "USB device", false},
	};
	struct usb_ids ids = {0};
	char directory[32], text[64];

	write_file(sound, sizeof(sound) - 1, directory);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool known = !rows[i].known;

		usb_ids_kind(&ids, rows[i].code, text, sizeof(text), &known);
		assert_string_equal(text, rows[i].kind);
		assert_int_equal(known, rows[i].known);
	}
	usb_ids_deinit(&ids);
	scratch_remove(directory);
}

/* Cut at every byte, and what is no such file at all. */
static void test_broken(void **state _unused_)
{
	static const char *const others[] = {"\n",       "0781", "0781  ",   "\n0781  ", "\t0781  x",
					     "\n\t\t\t", "C 0",  "\nC 08  ", "\n\n\n"};
	char directory[32], text[64];
	bool known;

	for (size_t i = 0; i < sizeof(sound) + ARRAY_SIZE(others); i++) {
		const char *content = i < sizeof(sound) ? sound : others[i - sizeof(sound)];
		struct usb_ids ids = {0};

		write_file(content, i < sizeof(sound) ? i : strlen(content), directory);
		(void)usb_ids_vendor(&ids, 0x0781, text, sizeof(text));
		assert_true(strlen(text) < sizeof("Scan _[31mDisk"));
		(void)usb_ids_product(&ids, 0x0783, 0x5581, text, sizeof(text));
		usb_ids_kind(&ids, "ufe0201", text, sizeof(text), &known);
		usb_ids_deinit(&ids);
		scratch_remove(directory);
	}
	assert_int_equal(setenv("QDB_USB_IDS", "/nonexistent", 1), 0);
	for (int i = 0; i < 2; i++) {
		struct usb_ids ids = {0};

		assert_false(usb_ids_vendor(&ids, 0x0781, text, sizeof(text)));
		assert_string_equal(text, "");
		usb_ids_kind(&ids, "ufe0201", text, sizeof(text), &known);
		assert_string_equal(text, "USB device");
		usb_ids_deinit(&ids);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_broken),
	};

	return cmocka_run_group_tests_name("usb-ids", tests, NULL, NULL);
}
