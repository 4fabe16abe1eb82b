/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each end of a camera session against a peer that says anything at any time. The first byte of the input says which end, the first of
 * a step what happens: bytes come, time passes, the camera takes a picture, a program begins or ends to look. No byte may go where
 * no picture is, no picture may be of a run that is over, and the camera is not started without end.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/media/starter.h"
#include "proxies/camera/intake.h"
#include "proxies/camera/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BEGIN_USEC 1000000u
#define BYTES 384u /* of a frame: 16 x 16 pixels of I420 */
#define BUFFERS 4
#define MODES 3

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* What happens in one step. */
struct step {
	uint8_t what;
	const uint8_t *bytes;
	size_t len;
	uint64_t now_usec;
};

static void fuzz_hello(const uint8_t *data, size_t size)
{
	uint8_t bytes[CAMERA_HELLO] = {0}, again[CAMERA_HELLO];
	struct camera_hello read;

	memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
	if (camera_hello_read(bytes, &read) < 0)
		return;
	camera_hello_write(&read, again);
	check(memcmp(bytes, again, sizeof(bytes)) == 0);
}

/* ---- the exporter's end ------------------------------------------------------------------------------------------------ */

struct exporter {
	struct gate gate;
	struct feed feed;
	uint8_t mode;
	bool with_camera[BUFFERS];
};

static void give_back(struct exporter *end, int buffer)
{
	if (buffer == FEED_NONE)
		return;
	check(buffer >= 0 && buffer < BUFFERS && !end->with_camera[buffer]);
	end->with_camera[buffer] = true;
}

static bool say(struct exporter *end, const uint8_t *bytes, uint64_t now_usec)
{
	struct camera_word word;
	uint8_t again[CAMERA_WORD];
	int buffer;

	if (camera_word_read(bytes, &word) < 0)
		return false;
	camera_word_write(word.type, word.mode, word.run, again);
	check(memcmp(bytes, again, sizeof(again)) == 0);
	if (camera_words_take(&end->gate, &end->feed, MODES, &word, now_usec, &end->mode, &buffer) < 0)
		return false;
	give_back(end, buffer);
	check(end->mode < MODES && end->feed.wants <= CAMERA_WANTS && (end->gate.going || !end->feed.on));
	return true;
}

static void photograph(struct exporter *end, const struct step *step)
{
	int buffer = step->what % BUFFERS;

	if (end->with_camera[buffer]) {
		end->with_camera[buffer] = false;
		give_back(end, feed_captured(&end->feed, buffer, step->now_usec));
	}
	buffer = feed_begin(&end->feed);
	if (buffer != FEED_NONE && step->what & 8)
		give_back(end, feed_spoilt(&end->feed));
	if (end->feed.sending != FEED_NONE) {
		struct feed_rest rest;

		feed_rest(&end->feed, &rest);
		check(rest.head_len <= CAMERA_HEAD && rest.at + rest.len == BYTES);
		give_back(end, feed_wrote(&end->feed, step->len * 8 % (rest.head_len + rest.len + 1)));
	}
}

static void fuzz_exporter(const struct step *steps, size_t n_steps)
{
	struct exporter end = {.mode = 0};
	uint64_t now = BEGIN_USEC;
	bool good = true;

	memset(end.with_camera, true, sizeof(end.with_camera));
	gate_init(&end.gate, BEGIN_USEC);
	feed_init(&end.feed, BYTES);
	for (size_t i = 0; i < n_steps && good; i++) {
		now = steps[i].now_usec;
		for (size_t at = 0; at + CAMERA_WORD <= steps[i].len && good; at += CAMERA_WORD)
			good = say(&end, steps[i].bytes + at, now);
		photograph(&end, &steps[i]);
		for (int k = 0; k < BUFFERS; k++)
			check(end.with_camera[k] + (end.feed.waiting.buffer == k) + (end.feed.sending == k) == 1);
	}
	check(end.gate.run <= GATE_STARTS_BURST + (now - BEGIN_USEC) / MEDIA_REST_USEC);
}

/* ---- the importer's end ------------------------------------------------------------------------------------------------ */

struct importer {
	struct starter starter;
	struct intake intake;
	uint64_t last_usec, n_wanted, n_seen;
	uint8_t picture[BYTES];
};

static bool hear(struct importer *end, const struct step *step)
{
	const uint8_t *bytes = step->bytes;
	size_t len = step->len;

	while (len > 0) {
		struct intake_picture seen;
		uint8_t *at;
		size_t room = intake_room(&end->intake, end->picture, &at), n = room < len ? room : len;
		int r;

		check(room > 0);
		check((at >= end->picture && at + room <= end->picture + BYTES) ||
		      (at >= end->intake.head && at + room <= end->intake.head + CAMERA_HEAD) ||
		      (at == end->intake.waste && room <= sizeof(end->intake.waste)));
		memcpy(at, bytes, n);
		r = intake_got(&end->intake, n, step->now_usec, &seen);
		if (r < 0)
			return false;
		if (r == 1) {
			check(end->starter.told && ++end->n_seen <= end->n_wanted);
			check(seen.usec > end->last_usec && seen.usec <= step->now_usec + end->n_seen);
			end->last_usec = seen.usec;
		}
		bytes += n;
		len -= n;
	}
	return true;
}

static void fuzz_importer(const struct step *steps, size_t n_steps)
{
	static struct importer end;

	memset(&end, 0, sizeof(end));
	intake_init(&end.intake, BYTES);
	for (size_t i = 0; i < n_steps; i++) {
		end.starter.wanted = steps[i].what & 1;
		if (steps[i].what & 2 && starter_tell(&end.starter, steps[i].now_usec)) {
			end.n_wanted += end.starter.told;
			intake_run(&end.intake, end.starter.run, end.starter.told);
		}
		while (intake_want(&end.intake))
			end.n_wanted++;
		check(end.intake.wanted <= CAMERA_WANTS);
		if (!hear(&end, &steps[i]))
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step steps[64];
	size_t n_steps = 0;
	uint64_t now = BEGIN_USEC;
	bool exporter = size > 0 && data[0] & 1;

	fuzz_hello(data, size);
	if (size > 0) {
		data++;
		size--;
	}
	for (; size >= 2 && n_steps < ARRAY_SIZE(steps); n_steps++) {
		size_t len = (size_t)data[1] * 2;
		uint8_t what = data[0];

		data += 2;
		size -= 2;
		len = len < size ? len : size;
		now += what & 0x80 ? (uint64_t)len * 1000 : 1;
		steps[n_steps] = (struct step){.what = what, .bytes = data, .len = len, .now_usec = now};
		data += len;
		size -= len;
	}
	if (exporter)
		fuzz_exporter(steps, n_steps);
	else
		fuzz_importer(steps, n_steps);
	return 0;
}
