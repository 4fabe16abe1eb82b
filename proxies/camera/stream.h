/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of a camera session, little endian. Pure: the codec of both ends, and nothing that lasts.
 *
 *   exporter:  HELLO                        what the camera is, and its modes, once for the session
 *   importer:  GO                           only after the hello's digest was right; the mode that it takes
 *   importer:  START, STOP, START, ...      a program in the target looks, or no longer: a run each time (lib/media/gate.h)
 *   importer:  WANT                         it has room for one frame more of the run that is on
 *   FRAME*                                  the exporter's: one for each WANT, between START and STOP; always the newest that there is
 *
 * The camera streams only from START to STOP. Runs are numbered, so that no frame of an earlier run is taken for one of a later.
 * No frame waits for room but the newest, so what the target sees is never old, however slow it or the channel is.
 * A START is a WANT too; CAMERA_WANTS are open at once at most.
 *
 * HELLO, CAMERA_HELLO bytes:
 *     0  u32  magic "QDBV"
 *     4  u16  version
 *     6  u8   modes         1..CAMERA_MODES
 *     7  u8   zero
 *     8  u16  vendor        of the USB device, 0 if it is none
 *    10  u16  product
 *    12  u32  zero
 *    16  text serial        LIMIT_TEXT + 2 bytes: printable ASCII, then zero bytes, at least one
 *   144  text name          the same; not empty: what people call the camera
 *   272  modes              CAMERA_MODES of CAMERA_MODE bytes, zero after the last: no two the same
 *
 * A mode:
 *     0  u16  width         pixels, text_is_side()
 *     2  u16  height        the same
 *     4  u8   format        enum camera_format, of the frames that cross the channel
 *     5  u8   zero
 *     6  u16  zero
 *     8  u32  interval      microseconds from frame to frame, CAMERA_INTERVAL_MIN..MAX
 *
 * GO, START, STOP and WANT, CAMERA_WORD bytes:
 *     0  u8   type          enum camera_type
 *     1  u8   mode          GO: its number in the hello; else zero
 *     2  u16  version       GO; else zero
 *     4  u32  run           GO: zero
 *
 * FRAME, CAMERA_HEAD bytes and a frame of the mode's size exactly:
 *     0  u8   type
 *     1  u8   zero
 *     2  u16  zero
 *     4  u32  run
 *     8  u32  number        of the run, from 1; those that were left out count
 *    12  u32  bytes         camera_frame_bytes() of the mode
 *    16  u64  stamp         microseconds on the exporter's clock, when the camera took it
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/limits.h"

#define CAMERA_MAGIC 0x56424451u /* "QDBV" */
#define CAMERA_VERSION 1u
#define CAMERA_MODES 32u
#define CAMERA_TEXT (LIMIT_TEXT + 2u)
#define CAMERA_MODE 12u
#define CAMERA_HELLO (16u + 2u * CAMERA_TEXT + CAMERA_MODES * CAMERA_MODE)
#define CAMERA_WORD 8u
#define CAMERA_HEAD 24u
#define CAMERA_WANTS 2u /* one on its way, one that can follow at once */

#define CAMERA_INTERVAL_MIN (USEC_PER_SEC / 120)
#define CAMERA_INTERVAL_MAX USEC_PER_SEC

/* Raw, and with no line longer than its pixels: Linux V4L2_PIX_FMT_YUYV, NV12, YUV420. */
enum camera_format { CAMERA_YUYV = 1, CAMERA_NV12 = 2, CAMERA_I420 = 3 };
enum camera_type { CAMERA_GO = 1, CAMERA_START = 2, CAMERA_STOP = 3, CAMERA_WANT = 4, CAMERA_FRAME = 5 };

struct camera_mode {
	uint16_t width, height; /* pixels */
	uint8_t format;         /* enum camera_format */
	uint32_t interval_usec;
};

struct camera_hello {
	uint16_t vendor, product;
	char serial[CAMERA_TEXT], name[CAMERA_TEXT];
	uint8_t n_modes;
	struct camera_mode modes[CAMERA_MODES];
};

struct camera_word {
	enum camera_type type;
	uint8_t mode; /* GO */
	uint32_t run;
};

struct camera_frame {
	uint32_t run, number;
	uint32_t n_bytes;
	uint64_t stamp;
};

/* Within the bounds above. */
bool camera_is_mode(const struct camera_mode *mode);

bool camera_is_same_mode(const struct camera_mode *a, const struct camera_mode *b);

/* Bytes of one frame of a mode that is within the bounds. */
uint32_t camera_frame_bytes(const struct camera_mode *mode);

/* `hello` must be valid: camera_hello_read() of what is written gives it back. */
void camera_hello_write(const struct camera_hello *hello, uint8_t bytes[CAMERA_HELLO]);
/* 0, or -EPROTO: some field is not as above. */
int camera_hello_read(const uint8_t untrusted_bytes[CAMERA_HELLO], struct camera_hello *ret_hello);

/* `mode` is GO's alone, `run` all others'. */
void camera_word_write(enum camera_type type, uint8_t mode, uint32_t run, uint8_t bytes[CAMERA_WORD]);
/* 0, or -EPROTO: it is not a word of the importer's. Whether it may come now is for the gate. */
int camera_word_read(const uint8_t untrusted_bytes[CAMERA_WORD], struct camera_word *ret_word);

void camera_head_write(const struct camera_frame *frame, uint8_t bytes[CAMERA_HEAD]);
/* Of a session whose frames have `n_bytes`. 0, or -EPROTO. */
int camera_head_read(const uint8_t untrusted_bytes[CAMERA_HEAD], uint32_t n_bytes, struct camera_frame *ret_frame);
