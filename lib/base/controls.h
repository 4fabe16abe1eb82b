/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What may be asked of a camera beside the size and the rate of its pictures: a few controls, by names and in units that are the same
 * for every camera. All that know a name, from the tool to the proxy, have it from this table; which control of V4L2 it is
 * only the proxy knows.
 *
 * The value of one is a byte, the same in memory, on the wire and in what is stored: 0, nothing is asked; else 1 more than the per
 * cent of the range that the camera has, or than the place of a word ("off", "50", "60": as V4L2 counts them).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CONTROL_OF_PERCENT 101u /* the highest value */
#define CONTROL_OF_WORDS 3u

/* C(NAME, name, highest value) */
#define CONTROLS(C)                                     \
	C(BRIGHTNESS, "brightness", CONTROL_OF_PERCENT) \
	C(CONTRAST, "contrast", CONTROL_OF_PERCENT)     \
	C(SATURATION, "saturation", CONTROL_OF_PERCENT) \
	C(SHARPNESS, "sharpness", CONTROL_OF_PERCENT)   \
	C(POWER_LINE, "power-line", CONTROL_OF_WORDS)

#define CONTROL_ENUM(constant, name, last) CONTROL_##constant,
enum camera_control { CONTROLS(CONTROL_ENUM) CONTROL_COUNT };
#undef CONTROL_ENUM

/* What a value must look like: for "KEY must be ...". */
const char *controls_form(enum camera_control control);
const char *controls_name(enum camera_control control);

/* A value in controls_form(). 0 or -EINVAL. */
int controls_read_value(enum camera_control control, const char *untrusted_text, uint8_t *ret_value);

/* The same written; a value of 0 is "". */
#define CONTROL_TEXT 4u
void controls_write_value(enum camera_control control, uint8_t value, char ret_text[CONTROL_TEXT]);

bool controls_are_fit(const uint8_t values[CONTROL_COUNT]);
bool controls_are_none(const uint8_t values[CONTROL_COUNT]);

/*
 * All that is asked as one word, in the order of the table: "brightness=50,power-line=60", or "none"; and that read: 0 or
 * -EINVAL, when it is not what controls_write() has written.
 */
#define CONTROLS_TEXT 96u
void controls_write(const uint8_t values[CONTROL_COUNT], char ret_text[CONTROLS_TEXT]);
int controls_read(const char *text, uint8_t ret_values[CONTROL_COUNT]);
