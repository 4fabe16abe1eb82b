/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors for tests, as real devices of these kinds have them, built from bodies so that one can read them.
 * sample_build() puts the lengths in.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#include "lib/base/base.h"

#define SAMPLE_MAX 4096u

#define S_IF(n, alt, eps, c, s, p) 9, 4, n, alt, eps, c, s, p, 0
#define S_EP(address, attributes, size, interval) 7, 5, address, attributes, (size)&0xff, (size) >> 8, interval
#define S_AUDIO_EP(address, attributes, size, interval) \
	9, 5, address, attributes, (size)&0xff, (size) >> 8, interval, 0, 0
#define S_SS(burst, attributes, bytes) 6, 0x30, burst, attributes, (bytes)&0xff, (bytes) >> 8
#define S_IAD(first, count, c, s, p) 8, 11, first, count, c, s, p, 0

static const uint8_t sample_bot[] = {
	S_IF(0, 0, 2, 8, 6, 0x50),
	S_EP(0x81, 2, 512, 0),
	S_EP(0x02, 2, 512, 1),
};

static const uint8_t sample_uas[] = {
	S_IF(0, 0, 2, 8, 6, 0x50),
	S_EP(0x81, 2, 1024, 0),
	S_SS(15, 0, 0),
	S_EP(0x02, 2, 1024, 0),
	S_SS(15, 0, 0),
	S_IF(0, 1, 4, 8, 6, 0x62),
	S_EP(0x81, 2, 1024, 0),
	S_SS(15, 5, 0),
	4,
	0x24,
	3,
	0,
	S_EP(0x02, 2, 1024, 0),
	S_SS(15, 5, 0),
	4,
	0x24,
	4,
	0,
	S_EP(0x83, 2, 1024, 0),
	S_SS(15, 5, 0),
	4,
	0x24,
	2,
	0,
	S_EP(0x04, 2, 1024, 0),
	S_SS(0, 0, 0),
	4,
	0x24,
	1,
	0,
};

static const uint8_t sample_uvc[] = {
	S_IAD(0, 2, 14, 3, 0),
	S_IF(0, 0, 1, 14, 1, 0),
	13,
	0x24,
	1,
	0x00,
	0x01,
	0x1e,
	0x00,
	0x80,
	0x8d,
	0x5b,
	0x00,
	1,
	1,
	18,
	0x24,
	2,
	1,
	0x01,
	0x02,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	0,
	3,
	0,
	0,
	0,
	9,
	0x24,
	3,
	2,
	0x01,
	0x01,
	0,
	1,
	0,
	S_EP(0x83, 3, 16, 6),
	5,
	0x25,
	3,
	16,
	0,
	S_IF(1, 0, 0, 14, 2, 0),
	14,
	0x24,
	1,
	1,
	77,
	0,
	0x81,
	0,
	2,
	0,
	0,
	0,
	1,
	0,
	27,
	0x24,
	4,
	1,
	1,
	'Y',
	'U',
	'Y',
	'2',
	0,
	0,
	0x10,
	0,
	0x80,
	0,
	0,
	0xaa,
	0,
	0x38,
	0x9b,
	0x71,
	16,
	1,
	0,
	0,
	0,
	0,
	S_IF(1, 1, 1, 14, 2, 0),
	S_EP(0x81, 5, 128, 1),
	S_IF(1, 2, 1, 14, 2, 0),
	S_EP(0x81, 5, 512, 1),
	S_IF(1, 3, 1, 14, 2, 0),
	S_EP(0x81, 5, 1024, 1),
	S_IF(1, 4, 1, 14, 2, 0),
	S_EP(0x81, 5, 0x0b00, 1),
	S_IF(1, 5, 1, 14, 2, 0),
	S_EP(0x81, 5, 0x1380, 1),
	S_IF(1, 6, 1, 14, 2, 0),
	S_EP(0x81, 5, 0x1400, 1),
};

static const uint8_t sample_headset[] = {
	S_IAD(0, 3, 1, 0, 0x20),
	S_IF(0, 0, 0, 1, 1, 0x20),
	9,
	0x24,
	1,
	0,
	2,
	8,
	9,
	0,
	0,
	S_IF(1, 0, 0, 1, 2, 0x20),
	S_IF(1, 1, 2, 1, 2, 0x20),
	16,
	0x24,
	1,
	1,
	0,
	1,
	1,
	0,
	0,
	0,
	2,
	3,
	0,
	0,
	0,
	0,
	6,
	0x24,
	2,
	1,
	2,
	16,
	S_EP(0x01, 5, 196, 1),
	8,
	0x25,
	1,
	0,
	0,
	0,
	0,
	0,
	S_EP(0x81, 0x11, 4, 4),
	S_IF(2, 0, 0, 1, 2, 0x20),
	S_IF(2, 1, 1, 1, 2, 0x20),
	S_EP(0x82, 5, 100, 1),
	8,
	0x25,
	1,
	0,
	0,
	0,
	0,
	0,
	S_IF(3, 0, 1, 3, 0, 0),
	9,
	0x21,
	0x11,
	1,
	0,
	1,
	0x22,
	50,
	0,
	S_EP(0x83, 3, 8, 10),
};

static const uint8_t sample_keyboard[] = {
	S_IF(0, 0, 1, 3, 1, 1), 9, 0x21, 0x10, 1, 0, 1, 0x22, 65, 0, S_EP(0x81, 3, 8, 10),
	S_IF(1, 0, 1, 3, 1, 2), 9, 0x21, 0x10, 1, 0, 1, 0x22, 80, 0, S_EP(0x82, 3, 8, 10),
};

static const uint8_t sample_acm[] = {
	S_IAD(0, 2, 2, 2, 1),
	S_IF(0, 0, 1, 2, 2, 1),
	5,
	0x24,
	0,
	0x10,
	1,
	5,
	0x24,
	1,
	0,
	1,
	4,
	0x24,
	2,
	2,
	5,
	0x24,
	6,
	0,
	1,
	S_EP(0x82, 3, 10, 9),
	S_IF(1, 0, 2, 10, 0, 0),
	S_EP(0x81, 2, 512, 0),
	S_EP(0x01, 2, 512, 0),
};

static const uint8_t sample_ncm[] = {
	S_IAD(0, 2, 2, 13, 0),
	S_IF(0, 0, 1, 2, 13, 0),
	5,
	0x24,
	0,
	0x10,
	1,
	5,
	0x24,
	6,
	0,
	1,
	13,
	0x24,
	15,
	3,
	0,
	0,
	0,
	0,
	0xea,
	5,
	0,
	0,
	0,
	6,
	0x24,
	26,
	0,
	1,
	0x11,
	S_EP(0x82, 3, 16, 9),
	S_IF(1, 0, 0, 10, 0, 1),
	S_IF(1, 1, 2, 10, 0, 1),
	S_EP(0x81, 2, 512, 0),
	S_EP(0x01, 2, 512, 0),
};

/* Everything at once, for the engines' tests: bulk, interrupt, isochronous behind an alternate setting. */
static const uint8_t sample_all[] = {
	S_IF(0, 0, 3, 0xff, 0, 0), S_EP(0x81, 2, 512, 0),     S_EP(0x02, 2, 512, 0),  S_EP(0x83, 3, 64, 4),
	S_IF(1, 0, 0, 0xff, 1, 0), S_IF(1, 1, 2, 0xff, 1, 0), S_EP(0x84, 5, 1024, 1), S_EP(0x05, 5, 1024, 1),
};

struct sample {
	const char *name;
	uint16_t vendor, product;
	uint8_t class_code, subclass, protocol;
	uint8_t speed;
	uint8_t i_serial;
	uint8_t n_interfaces;
	const uint8_t *body;
	size_t body_len;
	const uint8_t *second_body; /* of a second configuration, or NULL */
	size_t second_len;
	const char *codes; /* as udev's ID_USB_INTERFACES */
	unsigned int n_altsettings, n_endpoints;
};

#define S_BODY(a) (a), sizeof(a)
static const struct sample samples[] = {
	{"storage", 0x0951, 0x1666, 0, 0, 0, 3, 3, 1, S_BODY(sample_bot), NULL, 0, ":080650:", 1, 2},
	{"uas", 0x174c, 0x55aa, 0, 0, 0, 5, 3, 1, S_BODY(sample_uas), NULL, 0, ":080650:080662:", 2, 6},
	{"camera", 0x046d, 0x0825, 0xef, 2, 1, 3, 2, 2, S_BODY(sample_uvc), NULL, 0, ":0e0100:0e0200:", 8, 7},
	{"headset", 0x0b0e, 0x0301, 0xef, 2, 1, 3, 3, 4, S_BODY(sample_headset), NULL, 0, ":010120:010220:030000:", 6,
	 4},
	{"keyboard", 0x046d, 0xc31c, 0, 0, 0, 1, 0, 2, S_BODY(sample_keyboard), NULL, 0, ":030101:030102:", 2, 2},
	{"serial", 0x2341, 0x0043, 2, 0, 0, 3, 3, 2, S_BODY(sample_acm), NULL, 0, ":020201:0a0000:", 2, 3},
	{"network", 0x0bda, 0x8153, 0, 0, 0, 3, 6, 2, S_BODY(sample_acm), S_BODY(sample_ncm),
	 ":020201:0a0000:020d00:0a0001:", 5, 6},
	{"everything", 0x1d6b, 0x0104, 0, 0, 0, 3, 3, 2, S_BODY(sample_all), S_BODY(sample_bot),
	 ":ff0000:ff0100:080650:", 4, 7},
};
#define SAMPLE_EVERYTHING 7

static inline size_t sample_configuration(uint8_t *at, const uint8_t *body, size_t len, uint8_t n_interfaces,
					  uint8_t value)
{
	const uint8_t head[9] = {9, 2, 0, 0, n_interfaces, value, 0, 0x80, 250};

	memcpy(at, head, sizeof(head));
	memcpy(at + sizeof(head), body, len);
	put_le16(at + 2, (uint16_t)(sizeof(head) + len));
	return sizeof(head) + len;
}

/* The raw descriptors of `sample` in `bytes` (SAMPLE_MAX); their length. */
static inline size_t sample_build(const struct sample *sample, uint8_t *bytes)
{
	uint8_t device[18] = {18, 1, 0, 2, sample->class_code, sample->subclass, sample->protocol, 64};
	size_t len = sizeof(device);

	if (sample->speed >= 5) {
		put_le16(device + 2, 0x0320);
		device[7] = 9;
	}
	put_le16(device + 8, sample->vendor);
	put_le16(device + 10, sample->product);
	put_le16(device + 12, 0x0100);
	device[14] = 1;
	device[15] = 2;
	device[16] = sample->i_serial;
	device[17] = sample->second_body ? 2 : 1;
	memcpy(bytes, device, sizeof(device));
	len += sample_configuration(bytes + len, sample->body, sample->body_len, sample->n_interfaces, 1);
	if (sample->second_body)
		len += sample_configuration(bytes + len, sample->second_body, sample->second_len, 2, 2);
	return len;
}
