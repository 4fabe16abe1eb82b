/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See stream.h. One encoding for each value: what is read was written so. */
#include "proxies/camera/stream.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

#define SERIAL_AT 16u
#define NAME_AT (SERIAL_AT + CAMERA_TEXT)
#define MODES_AT (NAME_AT + CAMERA_TEXT)

bool camera_is_mode(const struct camera_mode *mode)
{
	return text_is_side(mode->width) && text_is_side(mode->height) && mode->format >= CAMERA_YUYV &&
	       mode->format <= CAMERA_I420 && mode->interval_usec >= CAMERA_INTERVAL_MIN &&
	       mode->interval_usec <= CAMERA_INTERVAL_MAX;
}

uint32_t camera_frame_bytes(const struct camera_mode *mode)
{
	uint32_t pixels = (uint32_t)mode->width * mode->height;

	return mode->format == CAMERA_YUYV ? 2 * pixels : pixels + pixels / 2;
}

static void write_mode(const struct camera_mode *mode, uint8_t *bytes)
{
	put_le16(bytes, mode->width);
	put_le16(bytes + 2, mode->height);
	bytes[4] = mode->format;
	bytes[5] = 0;
	put_le16(bytes + 6, 0);
	put_le32(bytes + 8, mode->interval_usec);
}

bool camera_is_same_mode(const struct camera_mode *a, const struct camera_mode *b)
{
	return a->width == b->width && a->height == b->height && a->format == b->format &&
	       a->interval_usec == b->interval_usec;
}

/* False: it is out of bounds, or as one before it. */
static bool read_mode(const uint8_t *untrusted_bytes, struct camera_hello *hello, size_t i)
{
	struct camera_mode mode = {.width = get_le16(untrusted_bytes),
				   .height = get_le16(untrusted_bytes + 2),
				   .format = untrusted_bytes[4],
				   .interval_usec = get_le32(untrusted_bytes + 8)};

	if (untrusted_bytes[5] != 0 || get_le16(untrusted_bytes + 6) != 0 || !camera_is_mode(&mode))
		return false;
	for (size_t k = 0; k < i; k++)
		if (camera_is_same_mode(&hello->modes[k], &mode))
			return false;
	hello->modes[i] = mode;
	return true;
}

void camera_hello_write(const struct camera_hello *hello, uint8_t bytes[CAMERA_HELLO])
{
	memset(bytes, 0, CAMERA_HELLO);
	put_le32(bytes, CAMERA_MAGIC);
	put_le16(bytes + 4, CAMERA_VERSION);
	bytes[6] = hello->n_modes;
	put_le16(bytes + 8, hello->vendor);
	put_le16(bytes + 10, hello->product);
	memcpy(bytes + SERIAL_AT, hello->serial, CAMERA_TEXT);
	memcpy(bytes + NAME_AT, hello->name, CAMERA_TEXT);
	for (size_t i = 0; i < hello->n_modes; i++)
		write_mode(&hello->modes[i], bytes + MODES_AT + i * CAMERA_MODE);
}

int camera_hello_read(const uint8_t untrusted_bytes[CAMERA_HELLO], struct camera_hello *ret_hello)
{
	struct camera_hello hello = {.n_modes = untrusted_bytes[6],
				     .vendor = get_le16(untrusted_bytes + 8),
				     .product = get_le16(untrusted_bytes + 10)};

	memcpy(hello.serial, untrusted_bytes + SERIAL_AT, CAMERA_TEXT);
	memcpy(hello.name, untrusted_bytes + NAME_AT, CAMERA_TEXT);
	if (get_le32(untrusted_bytes) != CAMERA_MAGIC || get_le16(untrusted_bytes + 4) != CAMERA_VERSION ||
	    untrusted_bytes[7] != 0 || get_le32(untrusted_bytes + 12) != 0 || hello.n_modes == 0 ||
	    hello.n_modes > CAMERA_MODES || !text_is_field(hello.serial, sizeof(hello.serial)) ||
	    !text_is_field(hello.name, sizeof(hello.name)) || !hello.name[0])
		return -EPROTO;
	for (size_t i = 0; i < hello.n_modes; i++)
		if (!read_mode(untrusted_bytes + MODES_AT + i * CAMERA_MODE, &hello, i))
			return -EPROTO;
	for (size_t at = MODES_AT + hello.n_modes * CAMERA_MODE; at < CAMERA_HELLO; at++)
		if (untrusted_bytes[at] != 0)
			return -EPROTO;
	*ret_hello = hello;
	return 0;
}

void camera_word_write(enum camera_type type, uint8_t mode, uint32_t run, uint8_t bytes[CAMERA_WORD])
{
	bytes[0] = (uint8_t)type;
	bytes[1] = mode;
	put_le16(bytes + 2, type == CAMERA_GO ? CAMERA_VERSION : 0);
	put_le32(bytes + 4, run);
}

int camera_word_read(const uint8_t untrusted_bytes[CAMERA_WORD], struct camera_word *ret_word)
{
	uint8_t type = untrusted_bytes[0], mode = untrusted_bytes[1];
	uint16_t version = get_le16(untrusted_bytes + 2);
	uint32_t run = get_le32(untrusted_bytes + 4);

	if (type < CAMERA_GO || type > CAMERA_WANT)
		return -EPROTO;
	if (type == CAMERA_GO ? version != CAMERA_VERSION || run != 0 || mode >= CAMERA_MODES
			      : version != 0 || run == 0 || mode != 0)
		return -EPROTO;
	*ret_word = (struct camera_word){.type = (enum camera_type)type, .mode = mode, .run = run};
	return 0;
}

void camera_head_write(const struct camera_frame *frame, uint8_t bytes[CAMERA_HEAD])
{
	bytes[0] = CAMERA_FRAME;
	bytes[1] = 0;
	put_le16(bytes + 2, 0);
	put_le32(bytes + 4, frame->run);
	put_le32(bytes + 8, frame->number);
	put_le32(bytes + 12, frame->n_bytes);
	put_le64(bytes + 16, frame->stamp);
}

int camera_head_read(const uint8_t untrusted_bytes[CAMERA_HEAD], uint32_t n_bytes, struct camera_frame *ret_frame)
{
	struct camera_frame frame = {.run = get_le32(untrusted_bytes + 4),
				     .number = get_le32(untrusted_bytes + 8),
				     .n_bytes = get_le32(untrusted_bytes + 12),
				     .stamp = get_le64(untrusted_bytes + 16)};

	if (untrusted_bytes[0] != CAMERA_FRAME || untrusted_bytes[1] != 0 || get_le16(untrusted_bytes + 2) != 0 ||
	    frame.run == 0 || frame.number == 0 || frame.n_bytes != n_bytes)
		return -EPROTO;
	*ret_frame = frame;
	return 0;
}
