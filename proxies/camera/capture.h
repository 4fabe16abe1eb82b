/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A camera of this qube, through Linux' V4L2 (Documentation/userspace-api/media/v4l), memory-mapped; capture.c is the only file that
 * knows that. It is named by an open fd of its node, /dev/videoN. Its lamp is on only between capture_start() and capture_stop().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/controls.h"
#include "proxies/camera/stream.h"

#define CAPTURE_BUFFERS 4 /* one on its way, one that waits, two with the driver */

struct capture;

/* Borrows `fd`. 0; CAPTURE_NONE: it is no camera (a metadata node, an output), or -errno. */
enum { CAPTURE_NONE = 1 };
int capture_new(int fd, struct capture **ret_capture);
struct capture *capture_free(struct capture *capture); /* stops it, and puts its controls back; NULL is fine */

/*
 * Adds the modes that can be taken to *hello, best ones first, and its name if `hello` has none. However many the driver
 * names, no more than CAPTURE_LOOKS are asked for. 0, or CAPTURE_NONE: there is none that we can take.
 */
#define CAPTURE_LOOKS 4096u
int capture_describe(struct capture *capture, struct camera_hello *hello);

/* Sets the mode of that number of a hello that capture_describe() made, and maps its buffers. 0 or -errno. */
int capture_set(struct capture *capture, const struct camera_hello *hello, uint8_t mode);

/*
 * Sets a control to a value of lib/base/controls.h, not 0, until capture_free(). NULL: it is done; else why it was left as it is: what
 * cannot be put back is not changed.
 */
const char *capture_control(struct capture *capture, enum camera_control control, uint8_t value);

/* The pictures are JPEG, and are to be decoded to I420. */
bool capture_is_jpeg(const struct capture *capture);

/* The camera takes pictures from now on, or none any more; buffers that are with us stay as they are. 0 or -errno. */
int capture_start(struct capture *capture);
void capture_stop(struct capture *capture);

/* To poll for reading while it takes pictures. */
int capture_fd(const struct capture *capture);

/*
 * The next picture: 0 and its buffer, 0..CAPTURE_BUFFERS-1, its bytes (until it is given back) and when it was taken, microseconds of
 * CLOCK_MONOTONIC. CAPTURE_NOTHING: none is there, or what is there is damaged; or -errno (-ENODEV: it was unplugged).
 */
enum { CAPTURE_NOTHING = 1 };
struct capture_picture {
	int buffer;
	const uint8_t *bytes;
	size_t len;
	uint64_t usec;
};
int capture_take(struct capture *capture, struct capture_picture *ret_picture);

/* Gives a buffer back. 0 or -errno. */
int capture_give(struct capture *capture, int buffer);
