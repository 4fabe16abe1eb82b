/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JPEG pictures of a camera -> I420, through libturbojpeg; jpeg.c is the only file that knows that. It runs in the device qube, in an
 * exporter's sandbox, and nowhere else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxies/camera/stream.h"

struct jpeg;

/* For pictures of that mode (CAMERA_I420). 0 or -ENOMEM. */
int jpeg_new(const struct camera_mode *mode, struct jpeg **ret_jpeg);
struct jpeg *jpeg_free(struct jpeg *jpeg); /* NULL is fine */

/*
 * Decodes into `frame`, camera_frame_bytes() of the mode, in place. Chroma of another resolution is averaged into it. False: it is no
 * picture of that size, or damaged so much that libjpeg gives up; `frame` is then undefined.
 */
bool jpeg_decode(struct jpeg *jpeg, const uint8_t *untrusted_bytes, size_t len, uint8_t *frame);
