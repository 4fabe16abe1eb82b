/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One end of a camera session that lies, over a `socket` channel, for test-camera-hostile.py:
 *
 *     camera-liar exporter LIE DIRECTORY HELLO BYTES     domain 1 serves qdb/1 for domain 2; HELLO: a file; BYTES: of a frame
 *     camera-liar importer LIE DIRECTORY                 domain 2 connects to domain 1
 */
#include <stdlib.h>

#include "proxies/camera/stream.h"
#include "tests/integration/media-liar.h"

static uint32_t n_bytes;

/* ---- an exporter ------------------------------------------------------------------------------------------------------ */

/* The next word of the importer; false: none comes. */
static bool hear(struct liar *l, enum camera_type *ret_type)
{
	uint8_t bytes[CAMERA_WORD];
	struct camera_word word;

	if (!hear_bytes(l, bytes, sizeof(bytes)) || camera_word_read(bytes, &word) < 0)
		return false;
	*ret_type = word.type;
	l->run = word.run;
	return true;
}

static bool await_start(struct liar *l)
{
	enum camera_type type = CAMERA_GO;

	while (type != CAMERA_START)
		if (!hear(l, &type))
			return false;
	return true;
}

static void head(struct liar *l, uint32_t run, uint32_t number, uint32_t bytes, uint64_t stamp)
{
	uint8_t raw[CAMERA_HEAD];

	camera_head_write(&(struct camera_frame){.run = run, .number = number, .n_bytes = bytes, .stamp = stamp}, raw);
	say(l, raw, sizeof(raw));
}

static void body(struct liar *l, uint32_t bytes)
{
	static uint8_t piece[65536];

	memset(piece, 0x11, sizeof(piece));
	while (bytes > 0 && goes_on(l)) {
		uint32_t n = bytes < sizeof(piece) ? bytes : (uint32_t)sizeof(piece);

		say(l, piece, n);
		bytes -= n;
	}
}

static void frame(struct liar *l, uint32_t run, uint32_t number, uint64_t stamp)
{
	head(l, run, number, n_bytes, stamp);
	body(l, n_bytes);
}

static void honest_frame(struct liar *l)
{
	frame(l, l->run, (uint32_t)++l->position, clock_monotonic_usec());
}

static void of_run_one(struct liar *l)
{
	frame(l, 1, 1, 0);
}

static void before_start(struct liar *l)
{
	enum camera_type type;

	if (hear(l, &type))
		frame(l, 1, 1, 0);
}

static void shorter(struct liar *l)
{
	head(l, l->run, 1, n_bytes - 1, 0);
	body(l, n_bytes - 1);
}

static void longer(struct liar *l)
{
	head(l, l->run, 1, n_bytes + 1, 0);
	body(l, n_bytes + 1);
}

static void empty(struct liar *l)
{
	head(l, l->run, 1, 0, 0);
}

static void longest(struct liar *l)
{
	head(l, l->run, 1, UINT32_MAX, 0);
	body(l, n_bytes);
}

static void next_run(struct liar *l)
{
	frame(l, l->run + 1, 1, 0);
}

static void backwards(struct liar *l)
{
	frame(l, l->run, 2, 0);
	frame(l, l->run, 1, 0);
}

static void twice(struct liar *l)
{
	frame(l, l->run, 2, 0);
	frame(l, l->run, 2, 0);
}

static void half(struct liar *l)
{
	honest_frame(l);
	head(l, l->run, 2, n_bytes, 0);
	body(l, n_bytes / 2);
	l->end_usec += 10 * USEC_PER_SEC; /* and then nothing, for longer than anybody waits */
}

static void flood(struct liar *l)
{
	while (goes_on(l))
		honest_frame(l);
}

static void wild_stamps(struct liar *l)
{
	static const uint64_t stamps[] = {0, UINT64_MAX, 1, UINT64_MAX / 2, UINT64_MAX - 1, 5};

	for (size_t i = 0; goes_on(l); i++) {
		enum camera_type type;

		frame(l, l->run, (uint32_t)++l->position, stamps[i % ARRAY_SIZE(stamps)]);
		if (!hear(l, &type))
			return;
	}
}

static void skips(struct liar *l)
{
	frame(l, l->run, UINT32_MAX - 1, 0);
	frame(l, l->run, UINT32_MAX, 0);
	frame(l, l->run, 0, 0);
}

/* ---- an importer ------------------------------------------------------------------------------------------------------ */

static void raw_word(struct liar *l, uint8_t type, uint8_t mode, uint16_t version, uint32_t run)
{
	uint8_t bytes[CAMERA_WORD] = {type, mode};

	put_le16(bytes + 2, version);
	put_le32(bytes + 4, run);
	say(l, bytes, sizeof(bytes));
}

static void go(struct liar *l)
{
	raw_word(l, CAMERA_GO, 0, CAMERA_VERSION, 0);
}

static void start(struct liar *l, uint32_t run)
{
	raw_word(l, CAMERA_START, 0, 0, run);
}

static void stop(struct liar *l, uint32_t run)
{
	raw_word(l, CAMERA_STOP, 0, 0, run);
}

static void start_without_go(struct liar *l)
{
	start(l, 1);
}

static void wrong_version(struct liar *l)
{
	raw_word(l, CAMERA_GO, 0, CAMERA_VERSION + 1, 0);
}

static void no_such_mode(struct liar *l)
{
	raw_word(l, CAMERA_GO, CAMERA_MODES - 1, CAMERA_VERSION, 0);
}

static void mode_beyond(struct liar *l)
{
	raw_word(l, CAMERA_GO, 255, CAMERA_VERSION, 0);
}

static void go_twice(struct liar *l)
{
	go(l);
	go(l);
}

static void another_mode_later(struct liar *l)
{
	go(l);
	start(l, 1);
	raw_word(l, CAMERA_GO, 1, CAMERA_VERSION, 0);
}

static void no_such_word(struct liar *l)
{
	go(l);
	raw_word(l, 9, 0, 0, 1);
}

static void says_frames(struct liar *l)
{
	go(l);
	start(l, 1);
	head(l, 1, 1, 460800, 0);
}

static void skips_a_run(struct liar *l)
{
	go(l);
	start(l, 2);
}

static void start_twice(struct liar *l)
{
	go(l);
	start(l, 1);
	start(l, 2);
}

static void stop_without_start(struct liar *l)
{
	go(l);
	stop(l, 1);
}

static void stop_of_another(struct liar *l)
{
	go(l);
	start(l, 1);
	stop(l, 2);
}

static void want_without_start(struct liar *l)
{
	go(l);
	raw_word(l, CAMERA_WANT, 0, 0, 1);
}

static void want_of_another(struct liar *l)
{
	go(l);
	start(l, 1);
	raw_word(l, CAMERA_WANT, 0, 0, 2);
}

static void greedy(struct liar *l)
{
	go(l);
	start(l, 1);
	for (int i = 0; i < 100; i++)
		raw_word(l, CAMERA_WANT, 0, 0, 1);
}

static void words_of_noise(struct liar *l)
{
	go(l);
	noise(l);
}

/* As fast as it goes, and all in order. */
static void restless(struct liar *l)
{
	go(l);
	for (uint32_t run = 1; goes_on(l); run++) {
		start(l, run);
		stop(l, run);
	}
}

/* It looks, and reads nothing. */
static void deaf(struct liar *l)
{
	go(l);
	start(l, 1);
	raw_word(l, CAMERA_WANT, 0, 0, 1);
}

/* It looks, stops in the middle of a frame, and looks again, without reading. */
static void deaf_and_restless(struct liar *l)
{
	go(l);
	for (uint32_t run = 1; run <= 20 && goes_on(l); run++) {
		start(l, run);
		(void)channel_wait(l->channel, false, USEC_PER_SEC / 10);
		stop(l, run);
	}
}

enum sayer { EXPORTER, EXPORTER_STARTED, IMPORTER };

static const struct {
	const char *name;
	enum sayer sayer;
	void (*lie)(struct liar *l);
} lies[] = {
	{"before-go", EXPORTER, of_run_one},
	{"before-start", EXPORTER, before_start},
	{"shorter", EXPORTER_STARTED, shorter},
	{"longer", EXPORTER_STARTED, longer},
	{"empty", EXPORTER_STARTED, empty},
	{"longest", EXPORTER_STARTED, longest},
	{"next-run", EXPORTER_STARTED, next_run},
	{"backwards", EXPORTER_STARTED, backwards},
	{"twice", EXPORTER_STARTED, twice},
	{"skips", EXPORTER_STARTED, skips},
	{"half", EXPORTER_STARTED, half},
	{"noise", EXPORTER_STARTED, noise},
	{"flood", EXPORTER_STARTED, flood},
	{"wild-stamps", EXPORTER_STARTED, wild_stamps},
	{"silent", EXPORTER_STARTED, wait_out},
	{"start-without-go", IMPORTER, start_without_go},
	{"wrong-version", IMPORTER, wrong_version},
	{"no-such-mode", IMPORTER, no_such_mode},
	{"mode-beyond", IMPORTER, mode_beyond},
	{"go-twice", IMPORTER, go_twice},
	{"another-mode-later", IMPORTER, another_mode_later},
	{"no-such-word", IMPORTER, no_such_word},
	{"says-frames", IMPORTER, says_frames},
	{"skips-a-run", IMPORTER, skips_a_run},
	{"start-twice", IMPORTER, start_twice},
	{"stop-without-start", IMPORTER, stop_without_start},
	{"stop-of-another", IMPORTER, stop_of_another},
	{"want-without-start", IMPORTER, want_without_start},
	{"want-of-another", IMPORTER, want_of_another},
	{"greedy", IMPORTER, greedy},
	{"words-of-noise", IMPORTER, words_of_noise},
	{"restless", IMPORTER, restless},
	{"deaf", IMPORTER, deaf},
	{"deaf-and-restless", IMPORTER, deaf_and_restless},
	{"mute", IMPORTER, wait_out},
};

int main(int argc, char **argv)
{
	static const struct channel_rings rings = {.read = RING_CONTROL, .write = RING_CAMERA};
	bool exporter = argc == 6 && strcmp(argv[1], "exporter") == 0;
	struct liar l = {0};

	for (size_t i = 0; argc >= 4 && i < ARRAY_SIZE(lies); i++) {
		if (strcmp(argv[2], lies[i].name) != 0 || (lies[i].sayer < IMPORTER) != exporter)
			continue;
		if (open_channel(&l, argv[3], &rings, exporter) != 0)
			return EXIT_FAILURE;
		if (exporter) {
			say_file(&l, argv[4]);
			n_bytes = (uint32_t)strtoul(argv[5], NULL, 10);
		}
		if (lies[i].sayer != EXPORTER_STARTED || await_start(&l))
			lies[i].lie(&l);
		close_channel(&l);
		return EXIT_SUCCESS;
	}
	(void)fputs("usage: camera-liar exporter LIE DIRECTORY HELLO BYTES | importer LIE DIRECTORY\n", stderr);
	return 2;
}
