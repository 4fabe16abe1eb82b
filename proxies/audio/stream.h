/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of an audio session, little endian. Pure: the codec of both ends, and nothing that lasts.
 *
 *   exporter:  HELLO                        what the device is, and the format of its samples, once for the session
 *   importer:  GO                           only after the hello's digest was right
 *   importer:  START, STOP, START, ...      a program in the target records or plays, or no longer: a run each time
 *   BLOCK*                                  samples of the run that is on: of a microphone the exporter's, of a speaker the
 *                                           importer's, between its START and its STOP
 *
 * The device is open only from START to STOP. Runs are numbered from 1 up without a gap, so that no sample of an earlier run is
 * taken for one of a later (lib/media/gate.h). The exporter of a speaker says nothing after its hello.
 *
 * HELLO, AUDIO_HELLO bytes:
 *     0  u32  magic "QDBA"
 *     4  u16  version
 *     6  u8   kind          enum audio_kind
 *     7  u8   channels      1..AUDIO_CHANNELS
 *     8  u32  rate          one of audio_rates
 *    12  u16  vendor        of the device, 0 if it has none
 *    14  u16  product
 *    16  text serial        LIMIT_TEXT + 2 bytes: printable ASCII, then zero bytes, at least one
 *   144  text name          the same; not empty: what people call the device
 * Samples are 16 bits, signed, of all channels in turn: a frame.
 *
 * GO, START and STOP, AUDIO_WORD bytes, with which a block begins, too:
 *     0  u8   type          enum audio_type
 *     1  u8   zero
 *     2  u16  argument      GO: version; BLOCK: frames, 1..AUDIO_BLOCK_FRAMES; else zero
 *     4  u32  run           GO: zero
 *
 * BLOCK, AUDIO_HEAD bytes and its frames; after the word:
 *     8  u64  position      of its first frame since the run began; frames that were left out count
 *    16  u64  stamp         microseconds on the sender's clock, when its last frame was heard
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/limits.h"

#define AUDIO_MAGIC 0x41424451u /* "QDBA" */
#define AUDIO_VERSION 2u
#define AUDIO_CHANNELS 8u
#define AUDIO_TEXT (LIMIT_TEXT + 2u)
#define AUDIO_HELLO (16u + 2u * AUDIO_TEXT)
#define AUDIO_WORD 8u
#define AUDIO_HEAD 24u
#define AUDIO_BLOCK_FRAMES 480u
#define AUDIO_SAMPLE 2u /* bytes */
#define AUDIO_FRAME_MAX (AUDIO_SAMPLE * AUDIO_CHANNELS)

enum audio_kind { AUDIO_MIC = 1, AUDIO_SPEAKER = 2 };
enum audio_type { AUDIO_GO = 1, AUDIO_START = 2, AUDIO_STOP = 3, AUDIO_BLOCK = 4 };

struct audio_hello {
	uint8_t kind; /* enum audio_kind */
	uint8_t channels;
	uint32_t rate; /* frames a second */
	uint16_t vendor, product;
	char serial[AUDIO_TEXT], name[AUDIO_TEXT];
};

struct audio_word {
	enum audio_type type;
	uint32_t run;
	uint16_t n_frames; /* BLOCK */
};

struct audio_block {
	uint16_t n_frames;
	uint32_t run;
	uint64_t position, stamp;
};

bool audio_is_rate(uint32_t rate);
static inline size_t audio_frame(const struct audio_hello *hello)
{
	return AUDIO_SAMPLE * hello->channels;
}

/* `hello` must be valid: audio_hello_read() of what is written gives it back. */
void audio_hello_write(const struct audio_hello *hello, uint8_t bytes[AUDIO_HELLO]);
/* 0, or -EPROTO: some field is not as above. */
int audio_hello_read(const uint8_t untrusted_bytes[AUDIO_HELLO], struct audio_hello *ret_hello);

/* Of a GO, START or STOP. */
void audio_word_write(enum audio_type type, uint32_t run, uint8_t bytes[AUDIO_WORD]);
/* The beginning of a block, too. 0, or -EPROTO. */
int audio_word_read(const uint8_t untrusted_bytes[AUDIO_WORD], struct audio_word *ret_word);

void audio_head_write(const struct audio_block *block, uint8_t bytes[AUDIO_HEAD]);
int audio_head_read(const uint8_t untrusted_bytes[AUDIO_HEAD], struct audio_block *ret_block);
