/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Texts that come from a qube or a device, made safe to show, and names that are used as names.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/limits.h"

/*
 * Copies to `safe` (size bytes with its NUL) with each character that is not printable ASCII shown as '_': one '_' per
 * UTF-8 sequence, one per stray byte. Leading and trailing spaces go. Returns the length.
 */
size_t text_make_safe(const void *untrusted_bytes, size_t len, char *safe, size_t size);

/* The length of the well-formed UTF-8 sequence at the start of `bytes`; 1 for anything else. `len` is at least 1. */
size_t text_utf8_length(const uint8_t *bytes, size_t len);

/* Only 0x20..0x7e. */
bool text_is_printable(const char *text);

/* A field of `size` bytes with a text in it: only 0x20..0x7e, then zero bytes to its end, at least one. */
bool text_is_field(const void *untrusted_field, size_t size);

/* A qube's name as Qubes OS takes it: a letter, then letters, digits, '_', '-', '.'; at most LIMIT_QUBE_NAME. */
bool text_is_qube_name(const char *text);

/* A USB port: "1-2", "3-1.4.2": digits, '-', digits and '.', shorter than LIMIT_PORT_TEXT. */
bool text_is_usb_port(const char *text);

/* The port of dom0's own microphone, as Qubes has it. */
#define TEXT_DOM0_MIC "mic"

/* A sound source's: "mic-" and eight lower-case hexadecimal digits; or TEXT_DOM0_MIC. */
bool text_is_mic_port(const char *text);

/* A sound sink's: "speaker-" and the same. */
bool text_is_speaker_port(const char *text);

/* A camera's: "webcam-" and the same. */
bool text_is_webcam_port(const char *text);

/*
 * A port as it is built, whatever the kernel calls it: "pci-0000:00:04.0-usb-0:1.2". A letter or digit, then those and
 * ".:@,+_-"; shorter than LIMIT_PATH_TEXT.
 */
bool text_is_path(const char *text);

/*
 * The path of a USB device from its folder in sysfs (/sys/devices/.../0000:00:04.0/usb1/1-1/1-1.2) and whether it runs at
 * SuperSpeed; "" when there is none. As udev's ID_PATH has it, with two differences: it needs no udev rule to have
 * run (Debian 12 has the property for some classes of devices only), and the SuperSpeed ports of a controller, which have
 * numbers of their own, are told apart from its others ("-usbv3-0:1"), so no two ports have one path.
 */
void text_usb_path(const char *syspath, bool super_speed, char ret_path[LIMIT_PATH_TEXT]);

/* As strcmp() of the two texts with `end` behind each: how the API sorts what it puts together of parts. */
int text_compare_ended(const char *a, const char *b, char end);

/* The value of a hexadecimal digit in lower case, as ids are written; -1: it is none. */
int text_hex_digit(char c);

/* Strict decimal: no sign, no space, no leading zero, at most `max`. 0 or -EINVAL. */
int text_to_u64(const char *text, uint64_t max, uint64_t *ret_value);

/* What a time must look like: for "KEY must be ...". */
#define TEXT_TIME_FORM "a number and s, m or h, as in 90s, 30m, 2h; from 1s to 168h"

/* A time in TEXT_TIME_FORM, at most LIMIT_MAX_TIME_SEC. 0 or -EINVAL. */
int text_to_seconds(const char *untrusted_text, uint32_t *ret_seconds);

/* The same written, in the largest unit that is exact; 0 is "". */
#define TEXT_SECONDS 24u
void text_of_seconds(uint64_t seconds, char ret_text[TEXT_SECONDS]);

/* What the size of a picture must look like: for "KEY must be ...". */
#define TEXT_SIZE_FORM "WIDTHxHEIGHT in pixels, as in 1280x720: even numbers from 16 to 4096"

/* A size in TEXT_SIZE_FORM, sides of LIMIT_PICTURE_SIDE_MIN to LIMIT_PICTURE_SIDE_MAX. 0 or -EINVAL. */
int text_to_size(const char *untrusted_text, uint16_t *ret_width, uint16_t *ret_height);

#define TEXT_SIZE sizeof("65535x65535") /* the same written */

/* Is it one side of such a size? */
bool text_is_side(uint64_t pixels);

/* Seven characters and a NUL, e.g. "u080650": Qubes' code for an interface, the class's letter first. */
void text_interface_code(char letter, const uint8_t code[3], char ret_text[8]);
