// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a qube or a device calls itself goes to terminals, logs, menus and notifications: only printable ASCII leaves
 * this file. Everything else becomes '_' rather than an escape, so that no sink needs rules of its own, a shown name
 * never grows, and bidi overrides, zero-width characters and look-alikes are visible as what they are: not ASCII.
 *
 * Invariants: total functions over any bytes, no allocation; nothing past `len` is read, nothing past `size` written.
 */
#include "lib/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"

static bool is_printable(char c)
{
	return c >= 0x20 && c <= 0x7e;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Well-formed sequences by their first byte (Unicode, table 3-7): the ranges leave out overlong forms and surrogates. */
static const struct {
	uint8_t lead_first, lead_last;
	uint8_t n_bytes;
	uint8_t second_first, second_last;
} utf8_forms[] = {
	{0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
	{0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf},
	{0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

size_t text_utf8_length(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(utf8_forms); i++) {
		size_t n = utf8_forms[i].n_bytes;

		if (bytes[0] < utf8_forms[i].lead_first || bytes[0] > utf8_forms[i].lead_last)
			continue;
		if (len < n || bytes[1] < utf8_forms[i].second_first || bytes[1] > utf8_forms[i].second_last)
			return 1;
		for (size_t k = 2; k < n; k++)
			if ((bytes[k] & 0xc0) != 0x80)
				return 1;
		return n;
	}
	return 1;
}

size_t text_make_safe(const void *untrusted_bytes, size_t len, char *safe, size_t size)
{
	const uint8_t *bytes = untrusted_bytes;
	size_t n = 0;

	if (size == 0)
		return 0;
	for (size_t i = 0; i < len && n < size - 1;) {
		size_t step = text_utf8_length(bytes + i, len - i);
		char c = (char)bytes[i];

		if (n > 0 || c != ' ')
			safe[n++] = step == 1 && is_printable(c) ? c : '_';
		i += step;
	}
	while (n > 0 && safe[n - 1] == ' ')
		n--;
	safe[n] = '\0';
	return n;
}

bool text_is_printable(const char *text)
{
	for (; *text; text++)
		if (!is_printable(*text))
			return false;
	return true;
}

bool text_is_field(const void *untrusted_field, size_t size)
{
	const char *text = untrusted_field;
	size_t n = 0;

	while (n < size && is_printable(text[n]))
		n++;
	if (n == size)
		return false;
	while (n < size && text[n] == '\0')
		n++;
	return n == size;
}

bool text_is_qube_name(const char *text)
{
	size_t len = strnlen(text, LIMIT_QUBE_NAME + 1);

	if (len == 0 || len > LIMIT_QUBE_NAME || !is_letter(text[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_letter(text[i]) && !is_digit(text[i]) && !strchr("_-.", text[i]))
			return false;
	return true;
}

bool text_is_usb_port(const char *text)
{
	size_t len = strnlen(text, LIMIT_PORT_TEXT);
	char separator = '-';
	size_t n_digits = 0, n_numbers = 0;

	if (len >= LIMIT_PORT_TEXT)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (is_digit(text[i])) {
			n_numbers += n_digits++ == 0;
			continue;
		}
		if (text[i] != separator || n_digits == 0)
			return false;
		n_digits = 0;
		separator = '.';
	}
	return n_digits > 0 && n_numbers >= 2;
}

/* `start` and eight digits. */
static bool is_named_port(const char *text, const char *start)
{
	size_t i = strlen(start);

	if (strncmp(text, start, i) != 0)
		return false;
	while (text[i] && text_hex_digit(text[i]) >= 0)
		i++;
	return text[i] == '\0' && i == strlen(start) + 8;
}

bool text_is_mic_port(const char *text)
{
	return strcmp(text, TEXT_DOM0_MIC) == 0 || is_named_port(text, "mic-");
}

bool text_is_speaker_port(const char *text)
{
	return is_named_port(text, "speaker-");
}

bool text_is_webcam_port(const char *text)
{
	return is_named_port(text, "webcam-");
}

bool text_is_path(const char *text)
{
	size_t len = strnlen(text, LIMIT_PATH_TEXT);

	if (len == 0 || len >= LIMIT_PATH_TEXT || (!is_letter(text[0]) && !is_digit(text[0])))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_letter(text[i]) && !is_digit(text[i]) && !strchr(".:@,+_-", text[i]))
			return false;
	return true;
}

/* "0000:00:04.0" */
static bool is_pci_address(const char *text, size_t len)
{
	static const char form[] = "xxxx:xx:xx.x";

	if (len != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < len; i++)
		if (form[i] == 'x' ? !is_digit(text[i]) && (text[i] < 'a' || text[i] > 'f') : text[i] != form[i])
			return false;
	return true;
}

void text_usb_path(const char *syspath, bool super_speed, char ret_path[LIMIT_PATH_TEXT])
{
	const char *port = strrchr(syspath, '/'), *end, *controller;
	char root_hub[LIMIT_PORT_TEXT + sizeof("/usb/")];
	int len;

	ret_path[0] = '\0';
	if (!port || !text_is_usb_port(port + 1))
		return;
	(void)snprintf(root_hub, sizeof(root_hub), "/usb%.*s/", (int)strcspn(port + 1, "-"), port + 1);
	end = strstr(syspath, root_hub);
	for (controller = end; end && controller > syspath && controller[-1] != '/';)
		controller--;
	if (!end || controller == end)
		return;
	len = snprintf(ret_path, LIMIT_PATH_TEXT, "%s-%.*s-usb%s-0:%s",
		       is_pci_address(controller, (size_t)(end - controller)) ? "pci" : "platform",
		       (int)(end - controller), controller, super_speed ? "v3" : "", strchr(port, '-') + 1);
	if (len >= (int)LIMIT_PATH_TEXT || !text_is_path(ret_path))
		ret_path[0] = '\0';
}

int text_to_u64(const char *text, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (!is_digit(text[0]) || (text[0] == '0' && text[1] != '\0'))
		return -EINVAL;
	for (; *text; text++) {
		if (!is_digit(*text) || __builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return -EINVAL;
	}
	if (value > max)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

static const struct {
	char letter;
	uint32_t seconds;
} time_units[] = {{'h', 3600}, {'m', 60}, {'s', 1}};

int text_to_seconds(const char *untrusted_text, uint32_t *ret_seconds)
{
	char number[8];
	size_t len = strlen(untrusted_text);
	uint64_t n;

	if (len < 2 || len > sizeof(number))
		return -EINVAL;
	memcpy(number, untrusted_text, len - 1);
	number[len - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(time_units); i++) {
		if (untrusted_text[len - 1] != time_units[i].letter)
			continue;
		if (text_to_u64(number, LIMIT_MAX_TIME_SEC / time_units[i].seconds, &n) < 0 || n == 0)
			return -EINVAL;
		*ret_seconds = (uint32_t)n * time_units[i].seconds;
		return 0;
	}
	return -EINVAL;
}

void text_of_seconds(uint64_t seconds, char ret_text[TEXT_SECONDS])
{
	ret_text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(time_units) && seconds && !ret_text[0]; i++)
		if (seconds % time_units[i].seconds == 0)
			(void)snprintf(ret_text, TEXT_SECONDS, "%" PRIu64 "%c", seconds / time_units[i].seconds,
				       time_units[i].letter);
}

bool text_is_side(uint64_t pixels)
{
	return pixels >= LIMIT_PICTURE_SIDE_MIN && pixels <= LIMIT_PICTURE_SIDE_MAX && pixels % 2 == 0;
}

int text_to_size(const char *untrusted_text, uint16_t *ret_width, uint16_t *ret_height)
{
	const char *x = strchr(untrusted_text, 'x');
	char number[8];
	uint64_t width, height;

	if (!x || (size_t)(x - untrusted_text) >= sizeof(number))
		return -EINVAL;
	memcpy(number, untrusted_text, (size_t)(x - untrusted_text));
	number[x - untrusted_text] = '\0';
	if (text_to_u64(number, LIMIT_PICTURE_SIDE_MAX, &width) < 0 ||
	    text_to_u64(x + 1, LIMIT_PICTURE_SIDE_MAX, &height) < 0 || !text_is_side(width) || !text_is_side(height))
		return -EINVAL;
	*ret_width = (uint16_t)width;
	*ret_height = (uint16_t)height;
	return 0;
}

void text_interface_code(char letter, const uint8_t code[3], char ret_text[8])
{
	static const char digits[] = "0123456789abcdef";
	char *out = ret_text;

	*out++ = letter;
	for (size_t i = 0; i < 3; i++) {
		*out++ = digits[code[i] >> 4];
		*out++ = digits[code[i] & 15];
	}
	*out = '\0';
}

int text_compare_ended(const char *a, const char *b, char end)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (uint8_t)(*a ? *a : end) - (uint8_t)(*b ? *b : end);
}

int text_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
