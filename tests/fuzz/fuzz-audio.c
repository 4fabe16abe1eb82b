/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each end of an audio session, of a microphone and of a speaker, against a peer that says anything at any time. The first byte of a
 * step says what happens: bytes come, time passes, a program begins or ends to use the device. Nothing may be written outside, what
 * is heard is bounded by time, and so is how often the device is opened.
 */
#include <stdbool.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/media/starter.h"
#include "proxies/audio/receiver.h"
#include "proxies/audio/sender.h"
#include "proxies/audio/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

#define BEGIN_USEC 1000000u
#define RATE 48000u

static const struct audio_hello hello = {.kind = AUDIO_MIC, .channels = 2, .rate = RATE};

/* One end: an exporter's has a gate, an importer's a starter. */
struct end {
	bool exporter;
	struct receiver receiver;
	struct gate gate;
	struct starter starter;
	struct sender sender;
	uint64_t n_heard, n_silent;
};

static void end_init(struct end *end, enum receiver_takes takes, bool own_clock)
{
	*end = (struct end){.exporter = takes & RECEIVER_WORDS};
	receiver_init(&end->receiver, &hello, takes, own_clock, BEGIN_USEC);
	gate_init(&end->gate, BEGIN_USEC);
}

/* As export_run.c and import_run.c do. */
static bool take_word(struct end *end, const struct audio_word *word, uint64_t now_usec)
{
	check(end->exporter);
	if (audio_words_take(&end->gate, word, now_usec) < 0)
		return false;
	receiver_run(&end->receiver, end->gate.run, end->gate.wanted);
	receiver_open(&end->receiver, end->gate.wanted, now_usec);
	sender_run(&end->sender, end->gate.run, gate_is_open(&end->gate));
	return true;
}

static void use(struct end *end, bool wanted, bool tell, uint64_t now_usec)
{
	if (end->exporter)
		return;
	end->starter.wanted = wanted;
	receiver_open(&end->receiver, wanted, now_usec);
	if (tell)
		(void)starter_tell(&end->starter, now_usec);
	receiver_run(&end->receiver, end->starter.run, end->starter.told);
	sender_run(&end->sender, end->starter.run, end->starter.told);
}

static void check_sound(const struct end *end, const struct receiver_sound *sound)
{
	const struct receiver *receiver = &end->receiver;

	check(sound->n_frames == 0 ||
	      (receiver->open && receiver->on && receiver->takes & RECEIVER_BLOCKS &&
	       sound->frames >= receiver->bytes + AUDIO_HEAD &&
	       sound->frames + sound->n_frames * receiver->frame <= receiver->bytes + sizeof(receiver->bytes)));
	check(sound->n_silent <= AUDIO_OLD_USEC * RATE / USEC_PER_SEC);
}

static void check_sender(struct end *end, uint64_t now_usec)
{
	uint8_t head[AUDIO_HEAD];
	struct audio_block block;

	if (sender_block(&end->sender, 1, 4, 4096, now_usec, head))
		check(audio_head_read(head, &block) == 0 &&
		      block.run == (end->exporter ? end->gate.run : end->starter.run) &&
		      (end->exporter ? end->gate.wanted : end->starter.told));
}

/* All of these bytes that it wants; false: it was told what may not be said. */
static bool feed(struct end *end, const uint8_t *bytes, size_t len, uint64_t now_usec)
{
	struct receiver *receiver = &end->receiver;

	while (len > 0) {
		struct receiver_sound sound;
		struct audio_word word;
		uint8_t *at;
		size_t want = receiver_want(receiver, now_usec, &at), n = want < len ? want : len;
		int r;

		if (!want) {
			check(receiver_deadline(receiver, now_usec) > now_usec);
			return true;
		}
		check(at >= receiver->bytes && at + want <= receiver->bytes + sizeof(receiver->bytes));
		memcpy(at, bytes, n);
		r = receiver_got(receiver, n, now_usec, &word, &sound);
		if (r < 0 || (r == 1 && !take_word(end, &word, now_usec)))
			return false;
		check_sound(end, &sound);
		check_sender(end, now_usec);
		end->n_heard += sound.n_frames;
		bytes += n;
		len -= n;
	}
	return true;
}

static void fuzz_hello(const uint8_t *data, size_t size)
{
	uint8_t bytes[AUDIO_HELLO] = {0}, again[AUDIO_HELLO];
	struct audio_hello read;

	memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
	if (audio_hello_read(bytes, &read) < 0)
		return;
	audio_hello_write(&read, again);
	check(memcmp(bytes, again, sizeof(bytes)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct end end;
	uint64_t now = BEGIN_USEC;
	bool good = true;

	fuzz_hello(data, size);
	end_init(&end, size > 0 ? (enum receiver_takes)(data[0] & RECEIVER_BOTH) : RECEIVER_BLOCKS,
		 size > 0 && data[0] & 4);
	while (size >= 2 && good) {
		size_t len = (size_t)data[1] * 8;
		uint8_t what = data[0];

		data += 2;
		size -= 2;
		len = len < size ? len : size;
		now += what & 0x80 ? (uint64_t)len * 1000 : 1;
		use(&end, what & 1, what & 2, now);
		end.n_silent += receiver_silence(&end.receiver, now);
		good = feed(&end, data, len, now);
		data += len;
		size -= len;
	}
	/* the credit, and a hundredth more than there was time for */
	check(end.n_heard <=
	      (now - BEGIN_USEC + AUDIO_CREDIT_USEC) * RATE / USEC_PER_SEC * 102 / 100 + AUDIO_BLOCK_FRAMES);
	check(end.n_silent <= (now - BEGIN_USEC) * RATE / USEC_PER_SEC + AUDIO_BLOCK_FRAMES);
	check(end.gate.run <= GATE_STARTS_BURST + (now - BEGIN_USEC) / MEDIA_REST_USEC);
	return 0;
}
