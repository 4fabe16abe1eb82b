/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one place where a device, or a device qube, that turned into another device after the user chose it is seen from
 * the target's side: what the target's kernel reads while it enumerates must be what the snapshot holds.
 */
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "proxies/usb/import_check.h"

#define DESCRIPTOR_DEVICE 1u
#define DESCRIPTOR_CONFIGURATION 2u
#define DESCRIPTOR_STRING 3u
#define DEVICE_DESCRIPTOR_SIZE 18u

/* All that was asked for and is there, or nothing (less in a reply that failed): Linux takes a configuration that came short for the whole. */
static bool is_answer_of(const uint8_t setup[8], bool good, const uint8_t *data, size_t len, const uint8_t *whole,
			 size_t whole_len)
{
	size_t asked = get_le16(setup + 6);

	if (asked < whole_len)
		whole_len = asked;
	return (len == whole_len || len == 0 || (!good && len < whole_len)) && memcmp(data, whole, len) == 0;
}

static bool check_device(const struct usb_snapshot *s, const uint8_t setup[8], bool good, const uint8_t *data,
			 size_t len)
{
	return is_answer_of(setup, good, data, len, s->raw, DEVICE_DESCRIPTOR_SIZE);
}

static bool check_configuration(const struct usb_snapshot *s, const uint8_t setup[8], bool good, const uint8_t *data,
				size_t len)
{
	const struct usb_configuration *c;

	if (setup[2] >= s->descriptors.n_configurations)
		return len == 0;
	c = &s->descriptors.configurations[setup[2]];
	return is_answer_of(setup, good, data, len, s->raw + c->raw_offset, c->raw_len);
}

/*
 * The text of a string descriptor as the device qube's agent saw it: UTF-16 to UTF-8 as Linux does it for sysfs (ends
 * at a zero, skips half surrogate pairs), then made safe. What is not ASCII only has to be *some* sequence of two bytes,
 * as text_make_safe() shows each as one '_'.
 */
static size_t string_to_safe(const uint8_t *units, size_t n_units, char *safe, size_t size)
{
	uint8_t utf8[2 * 127];
	size_t n = 0;

	for (size_t i = 0; i < n_units && n + 2 <= sizeof(utf8); i++) {
		uint16_t u = get_le16(units + 2 * i);

		if (u == 0)
			break;
		if (u < 0x80) {
			utf8[n++] = (uint8_t)u;
			continue;
		}
		if ((u & 0xf800) == 0xd800) {
			if ((u & 0x0400) || i + 1 >= n_units || (get_le16(units + 2 * i + 2) & 0xfc00) != 0xdc00)
				continue;
			i++;
		}
		utf8[n++] = 0xc3;
		utf8[n++] = 0xa9;
	}
	return text_make_safe(utf8, n, safe, size);
}

static bool check_string(const struct usb_snapshot *s, const uint8_t setup[8], bool good, const uint8_t *data,
			 size_t len)
{
	char safe[LIMIT_TEXT + 2];
	size_t whole, seen, n;

	(void)good;
	if (setup[2] == 0 || setup[2] != s->descriptors.i_serial || len == 0)
		return true;
	if (len == 1)
		return true;
	if (data[1] != DESCRIPTOR_STRING || data[0] < 2)
		return false;
	/* each character is at least one unit; a string that says to be shorter would be read no further than that */
	if (data[0] < 2 + 2 * strlen(s->serial))
		return false;
	/* a prefix only if the kernel asked for no more: it takes a short answer for the whole string */
	whole = len < get_le16(setup + 6) && len < data[0] ? len : data[0];
	seen = len < whole ? len : whole;
	n = string_to_safe(data + 2, (seen - 2) / 2, safe, sizeof(safe));
	if (n > LIMIT_TEXT)
		return false;
	if (len < whole)
		return strncmp(s->serial, safe, n) == 0;
	return strcmp(s->serial, safe) == 0;
}

static const struct {
	uint8_t type;
	bool (*check)(const struct usb_snapshot *s, const uint8_t setup[8], bool good, const uint8_t *data, size_t len);
} descriptor_checks[] = {
	{DESCRIPTOR_DEVICE, check_device},
	{DESCRIPTOR_CONFIGURATION, check_configuration},
	{DESCRIPTOR_STRING, check_string},
};

bool import_check_control(const struct usb_snapshot *snapshot, const uint8_t setup[8], bool good,
			  const uint8_t *untrusted_data, size_t len)
{
	static const uint8_t get_descriptor[2] = {0x80, 0x06};

	if (memcmp(setup, get_descriptor, sizeof(get_descriptor)) != 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(descriptor_checks); i++)
		if (descriptor_checks[i].type == setup[3])
			return descriptor_checks[i].check(snapshot, setup, good, untrusted_data, len);
	return true;
}
