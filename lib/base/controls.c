/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See controls.h. Pure. */
#include "lib/base/controls.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

#define NONE "none"

#define CONTROL_ROW(constant, text, highest) [CONTROL_##constant] = {text, highest},
static const struct {
	const char *name;
	uint8_t last;
} controls[] = {CONTROLS(CONTROL_ROW)};

#define CONTROL_LENGTH(constant, text, highest) +sizeof("," text "=100") - 1
_Static_assert(0 CONTROLS(CONTROL_LENGTH) < CONTROLS_TEXT, "all of them fit into one text");

/* By their values, less 1. */
static const char *const words[] = {"off", "50", "60"};
_Static_assert(ARRAY_SIZE(words) == CONTROL_OF_WORDS, "each value is a word");

static bool has_words(enum camera_control control)
{
	return controls[control].last == CONTROL_OF_WORDS;
}

const char *controls_name(enum camera_control control)
{
	return controls[control].name;
}

const char *controls_form(enum camera_control control)
{
	return has_words(control) ? "50, 60 or off" : "a whole number of per cent, from 0 to 100";
}

int controls_read_value(enum camera_control control, const char *untrusted_text, uint8_t *ret_value)
{
	uint64_t number = 0;

	if (!has_words(control)) {
		if (text_to_u64(untrusted_text, CONTROL_OF_PERCENT - 1, &number) < 0)
			return -EINVAL;
		*ret_value = (uint8_t)(number + 1);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(untrusted_text, words[i]) == 0) {
			*ret_value = (uint8_t)(i + 1);
			return 0;
		}
	return -EINVAL;
}

void controls_write_value(enum camera_control control, uint8_t value, char ret_text[CONTROL_TEXT])
{
	ret_text[0] = '\0';
	if (value == 0 || value > controls[control].last)
		return;
	if (has_words(control))
		(void)strcpy(ret_text, words[value - 1]);
	else
		(void)snprintf(ret_text, CONTROL_TEXT, "%u", value - 1u);
}

bool controls_are_fit(const uint8_t values[CONTROL_COUNT])
{
	for (size_t i = 0; i < CONTROL_COUNT; i++)
		if (values[i] > controls[i].last)
			return false;
	return true;
}

bool controls_are_none(const uint8_t values[CONTROL_COUNT])
{
	for (size_t i = 0; i < CONTROL_COUNT; i++)
		if (values[i] != 0)
			return false;
	return true;
}

void controls_write(const uint8_t values[CONTROL_COUNT], char ret_text[CONTROLS_TEXT])
{
	size_t len = 0;

	(void)strcpy(ret_text, NONE);
	for (enum camera_control i = 0; i < CONTROL_COUNT; i++) {
		char value[CONTROL_TEXT];

		controls_write_value(i, values[i], value);
		if (value[0])
			len += (size_t)snprintf(ret_text + len, CONTROLS_TEXT - len, "%s%s=%s", len ? "," : "",
						controls[i].name, value);
	}
}

/* "brightness=50" at the beginning of *text, which moves behind it and the comma before another. 0 or -EINVAL. */
static int read_one(enum camera_control control, const char **text, uint8_t *ret_value)
{
	const char *at = *text + strlen(controls[control].name) + 1;
	size_t len = strcspn(at, ",");
	char value[CONTROL_TEXT];

	if (len >= sizeof(value))
		return -EINVAL;
	memcpy(value, at, len);
	value[len] = '\0';
	at += len;
	*text = at[0] == ',' && at[1] != '\0' ? at + 1 : at;
	return controls_read_value(control, value, ret_value);
}

static bool begins(const char *text, const char *name)
{
	size_t len = strlen(name);

	return strncmp(text, name, len) == 0 && text[len] == '=';
}

int controls_read(const char *text, uint8_t ret_values[CONTROL_COUNT])
{
	uint8_t values[CONTROL_COUNT] = {0};
	bool none = strcmp(text, NONE) == 0;

	for (enum camera_control i = 0; i < CONTROL_COUNT && !none; i++)
		if (begins(text, controls[i].name) && read_one(i, &text, &values[i]) < 0)
			return -EINVAL;
	if (!none && (*text != '\0' || controls_are_none(values)))
		return -EINVAL;
	memcpy(ret_values, values, sizeof(values));
	return 0;
}
