/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See stream.h. One encoding for each value: what is read was written so. */
#include "proxies/audio/stream.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

#define SERIAL_AT 16u
#define NAME_AT (SERIAL_AT + AUDIO_TEXT)

/* What sound servers and devices really use. */
static const uint32_t audio_rates[] = {8000, 16000, 22050, 32000, 44100, 48000, 96000};

bool audio_is_rate(uint32_t rate)
{
	for (size_t i = 0; i < ARRAY_SIZE(audio_rates); i++)
		if (audio_rates[i] == rate)
			return true;
	return false;
}

void audio_hello_write(const struct audio_hello *hello, uint8_t bytes[AUDIO_HELLO])
{
	put_le32(bytes, AUDIO_MAGIC);
	put_le16(bytes + 4, AUDIO_VERSION);
	bytes[6] = hello->kind;
	bytes[7] = hello->channels;
	put_le32(bytes + 8, hello->rate);
	put_le16(bytes + 12, hello->vendor);
	put_le16(bytes + 14, hello->product);
	memcpy(bytes + SERIAL_AT, hello->serial, AUDIO_TEXT);
	memcpy(bytes + NAME_AT, hello->name, AUDIO_TEXT);
}

int audio_hello_read(const uint8_t untrusted_bytes[AUDIO_HELLO], struct audio_hello *ret_hello)
{
	struct audio_hello hello = {.kind = untrusted_bytes[6],
				    .channels = untrusted_bytes[7],
				    .rate = get_le32(untrusted_bytes + 8),
				    .vendor = get_le16(untrusted_bytes + 12),
				    .product = get_le16(untrusted_bytes + 14)};

	memcpy(hello.serial, untrusted_bytes + SERIAL_AT, AUDIO_TEXT);
	memcpy(hello.name, untrusted_bytes + NAME_AT, AUDIO_TEXT);
	if (get_le32(untrusted_bytes) != AUDIO_MAGIC || get_le16(untrusted_bytes + 4) != AUDIO_VERSION ||
	    (hello.kind != AUDIO_MIC && hello.kind != AUDIO_SPEAKER) || hello.channels == 0 ||
	    hello.channels > AUDIO_CHANNELS || !audio_is_rate(hello.rate) ||
	    !text_is_field(hello.serial, sizeof(hello.serial)) || !text_is_field(hello.name, sizeof(hello.name)) ||
	    !hello.name[0])
		return -EPROTO;
	*ret_hello = hello;
	return 0;
}

void audio_word_write(enum audio_type type, uint32_t run, uint8_t bytes[AUDIO_WORD])
{
	bytes[0] = (uint8_t)type;
	bytes[1] = 0;
	put_le16(bytes + 2, type == AUDIO_GO ? AUDIO_VERSION : 0);
	put_le32(bytes + 4, run);
}

int audio_word_read(const uint8_t untrusted_bytes[AUDIO_WORD], struct audio_word *ret_word)
{
	uint8_t type = untrusted_bytes[0];
	uint16_t argument = get_le16(untrusted_bytes + 2);
	uint32_t run = get_le32(untrusted_bytes + 4);

	if (type < AUDIO_GO || type > AUDIO_BLOCK || untrusted_bytes[1] != 0 || (type == AUDIO_GO) != (run == 0))
		return -EPROTO;
	if (type == AUDIO_BLOCK ? argument == 0 || argument > AUDIO_BLOCK_FRAMES
				: argument != (type == AUDIO_GO ? AUDIO_VERSION : 0))
		return -EPROTO;
	*ret_word = (struct audio_word){
		.type = (enum audio_type)type, .run = run, .n_frames = type == AUDIO_BLOCK ? argument : 0};
	return 0;
}

void audio_head_write(const struct audio_block *block, uint8_t bytes[AUDIO_HEAD])
{
	bytes[0] = AUDIO_BLOCK;
	bytes[1] = 0;
	put_le16(bytes + 2, block->n_frames);
	put_le32(bytes + 4, block->run);
	put_le64(bytes + 8, block->position);
	put_le64(bytes + 16, block->stamp);
}

int audio_head_read(const uint8_t untrusted_bytes[AUDIO_HEAD], struct audio_block *ret_block)
{
	struct audio_word word;

	if (audio_word_read(untrusted_bytes, &word) < 0 || word.type != AUDIO_BLOCK)
		return -EPROTO;
	*ret_block = (struct audio_block){.n_frames = word.n_frames,
					  .run = word.run,
					  .position = get_le64(untrusted_bytes + 8),
					  .stamp = get_le64(untrusted_bytes + 16)};
	return 0;
}
