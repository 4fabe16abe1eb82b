/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One end of an audio session that lies, over a `socket` channel, for test-audio-hostile.py:
 *
 *     sound-liar exporter mic|speaker LIE DIRECTORY HELLO     domain 1 serves qdb/1 for domain 2; HELLO: a file
 *     sound-liar importer mic|speaker LIE DIRECTORY           domain 2 connects to domain 1
 */
#include <stdlib.h>

#include "proxies/audio/stream.h"
#include "tests/integration/media-liar.h"

#define FRAME 4u /* bytes: stereo */
#define RATE 48000u
#define PIECE 480u /* frames */

/* The next word that the importer says; false: none comes. */
static bool hear(struct liar *l, enum audio_type *ret_type)
{
	uint8_t bytes[AUDIO_WORD];
	struct audio_word word;

	if (!hear_bytes(l, bytes, sizeof(bytes)) || audio_word_read(bytes, &word) < 0)
		return false;
	*ret_type = word.type;
	l->run = word.run;
	return true;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------ */

static void block(struct liar *l, uint16_t n_frames, uint32_t run, uint64_t position)
{
	static uint8_t bytes[AUDIO_HEAD + 65536u * FRAME];
	const struct audio_block head = {
		.n_frames = n_frames, .run = run, .position = position, .stamp = clock_monotonic_usec()};

	audio_head_write(&head, bytes);
	memset(bytes + AUDIO_HEAD, 0x11, (size_t)n_frames * FRAME);
	say(l, bytes, AUDIO_HEAD + (size_t)n_frames * FRAME);
}

static void honest_piece(struct liar *l)
{
	block(l, PIECE, l->run, l->position);
	l->position += PIECE;
}

static bool await_start(struct liar *l)
{
	enum audio_type type = AUDIO_GO;

	while (type != AUDIO_START)
		if (!hear(l, &type))
			return false;
	return true;
}

static void before_go(struct liar *l)
{
	block(l, PIECE, 1, 0);
}

static void before_start(struct liar *l)
{
	enum audio_type type;

	if (hear(l, &type))
		block(l, PIECE, 1, 0);
}

static void empty_block(struct liar *l)
{
	block(l, 0, l->run, 0);
}

static void long_block(struct liar *l)
{
	block(l, AUDIO_BLOCK_FRAMES + 1, l->run, 0);
}

static void longest_block(struct liar *l)
{
	block(l, UINT16_MAX, l->run, 0);
}

static void next_run(struct liar *l)
{
	block(l, PIECE, l->run + 1, 0);
}

static void backwards(struct liar *l)
{
	honest_piece(l);
	honest_piece(l);
	block(l, PIECE, l->run, 0);
}

static void far_ahead(struct liar *l)
{
	honest_piece(l);
	block(l, PIECE, l->run, UINT64_MAX - PIECE);
}

static void flood(struct liar *l)
{
	while (goes_on(l))
		honest_piece(l);
}

static void slow(struct liar *l)
{
	while (goes_on(l)) {
		uint64_t next = clock_monotonic_usec() + 10 * PIECE * USEC_PER_SEC / RATE;

		honest_piece(l);
		while (goes_on(l) && clock_monotonic_usec() < next)
			(void)channel_wait(l->channel, false, USEC_PER_SEC / 50);
	}
}

static void half_a_block(struct liar *l)
{
	uint8_t bytes[AUDIO_HEAD + 7] = {0};

	audio_head_write(&(struct audio_block){.n_frames = PIECE, .run = l->run}, bytes);
	say(l, bytes, sizeof(bytes));
}

/* ---- an importer ------------------------------------------------------------------------------------------------------ */

static void word(struct liar *l, uint8_t type, uint16_t version, uint32_t run)
{
	uint8_t bytes[AUDIO_WORD] = {type};

	put_le16(bytes + 2, version);
	put_le32(bytes + 4, run);
	say(l, bytes, sizeof(bytes));
}

static void go(struct liar *l)
{
	word(l, AUDIO_GO, AUDIO_VERSION, 0);
}

static void start_without_go(struct liar *l)
{
	word(l, AUDIO_START, 0, 1);
}

static void wrong_version(struct liar *l)
{
	word(l, AUDIO_GO, AUDIO_VERSION + 1, 0);
}

static void go_twice(struct liar *l)
{
	go(l);
	go(l);
}

static void no_such_word(struct liar *l)
{
	go(l);
	word(l, 9, 0, 1);
}

static void skips_a_run(struct liar *l)
{
	go(l);
	word(l, AUDIO_START, 0, 2);
}

static void start_twice(struct liar *l)
{
	go(l);
	word(l, AUDIO_START, 0, 1);
	word(l, AUDIO_START, 0, 2);
}

static void stop_without_start(struct liar *l)
{
	go(l);
	word(l, AUDIO_STOP, 0, 1);
}

static void stop_of_another(struct liar *l)
{
	go(l);
	word(l, AUDIO_START, 0, 1);
	word(l, AUDIO_STOP, 0, 2);
}

/* No lie, but so short that the stream is being made when it ends. */
static void brief(struct liar *l)
{
	go(l);
	word(l, AUDIO_START, 0, 1);
	(void)usleep(1000);
	word(l, AUDIO_STOP, 0, 1);
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
		word(l, AUDIO_START, 0, run);
		word(l, AUDIO_STOP, 0, run);
	}
}

/* It records, and reads nothing. */
static void deaf(struct liar *l)
{
	go(l);
	word(l, AUDIO_START, 0, 1);
}

/* What an importer of a speaker begins its lies of blocks with. */
static void begin_run(struct liar *l)
{
	go(l);
	word(l, AUDIO_START, 0, 1);
	l->run = 1;
}

static void without_start(struct liar *l)
{
	go(l);
	block(l, PIECE, 1, 0);
}

static void after_stop(struct liar *l)
{
	begin_run(l);
	honest_piece(l);
	word(l, AUDIO_STOP, 0, 1);
	honest_piece(l);
}

static void old_run(struct liar *l)
{
	begin_run(l);
	word(l, AUDIO_STOP, 0, 1);
	word(l, AUDIO_START, 0, 2);
	honest_piece(l);
}

static void stop_in_a_block(struct liar *l)
{
	begin_run(l);
	half_a_block(l);
	for (int i = 0; i < 1000 && goes_on(l); i++)
		word(l, AUDIO_STOP, 0, 1);
}

/* Of an exporter of a speaker. */
static void one_byte(struct liar *l)
{
	say(l, "", 1);
}

static void says_words(struct liar *l)
{
	go(l);
}

/* Who says it, and when: an exporter of a microphone at once, or when it has been told START; or an importer. */
enum sayer { EXPORTER, EXPORTER_STARTED, IMPORTER, IMPORTER_STARTED };

static const struct {
	const char *name;
	enum audio_kind kind;
	enum sayer sayer;
	void (*lie)(struct liar *l);
} lies[] = {
	{"before-go", AUDIO_MIC, EXPORTER, before_go},
	{"before-start", AUDIO_MIC, EXPORTER, before_start},
	{"empty-block", AUDIO_MIC, EXPORTER_STARTED, empty_block},
	{"long-block", AUDIO_MIC, EXPORTER_STARTED, long_block},
	{"longest-block", AUDIO_MIC, EXPORTER_STARTED, longest_block},
	{"next-run", AUDIO_MIC, EXPORTER_STARTED, next_run},
	{"backwards", AUDIO_MIC, EXPORTER_STARTED, backwards},
	{"far-ahead", AUDIO_MIC, EXPORTER_STARTED, far_ahead},
	{"noise", AUDIO_MIC, EXPORTER_STARTED, noise},
	{"flood", AUDIO_MIC, EXPORTER_STARTED, flood},
	{"slow", AUDIO_MIC, EXPORTER_STARTED, slow},
	{"half-a-block", AUDIO_MIC, EXPORTER_STARTED, half_a_block},
	{"says-words", AUDIO_MIC, EXPORTER_STARTED, says_words},
	{"silent", AUDIO_MIC, EXPORTER_STARTED, wait_out},
	{"start-without-go", AUDIO_MIC, IMPORTER, start_without_go},
	{"wrong-version", AUDIO_MIC, IMPORTER, wrong_version},
	{"go-twice", AUDIO_MIC, IMPORTER, go_twice},
	{"no-such-word", AUDIO_MIC, IMPORTER, no_such_word},
	{"skips-a-run", AUDIO_MIC, IMPORTER, skips_a_run},
	{"start-twice", AUDIO_MIC, IMPORTER, start_twice},
	{"stop-without-start", AUDIO_MIC, IMPORTER, stop_without_start},
	{"stop-of-another", AUDIO_MIC, IMPORTER, stop_of_another},
	{"words-of-noise", AUDIO_MIC, IMPORTER, words_of_noise},
	{"restless", AUDIO_MIC, IMPORTER, restless},
	{"brief", AUDIO_MIC, IMPORTER, brief},
	{"says-blocks", AUDIO_MIC, IMPORTER_STARTED, honest_piece},
	{"deaf", AUDIO_MIC, IMPORTER, deaf},
	{"mute", AUDIO_MIC, IMPORTER, wait_out},

	{"before-go", AUDIO_SPEAKER, EXPORTER, before_go},
	{"one-byte", AUDIO_SPEAKER, EXPORTER, one_byte},
	{"one-byte-late", AUDIO_SPEAKER, EXPORTER_STARTED, one_byte},
	{"says-words", AUDIO_SPEAKER, EXPORTER_STARTED, says_words},
	{"says-blocks", AUDIO_SPEAKER, EXPORTER_STARTED, honest_piece},
	{"noise", AUDIO_SPEAKER, EXPORTER_STARTED, noise},
	{"deaf", AUDIO_SPEAKER, EXPORTER_STARTED, wait_out},
	{"start-without-go", AUDIO_SPEAKER, IMPORTER, start_without_go},
	{"wrong-version", AUDIO_SPEAKER, IMPORTER, wrong_version},
	{"go-twice", AUDIO_SPEAKER, IMPORTER, go_twice},
	{"start-twice", AUDIO_SPEAKER, IMPORTER, start_twice},
	{"words-of-noise", AUDIO_SPEAKER, IMPORTER, words_of_noise},
	{"restless", AUDIO_SPEAKER, IMPORTER, restless},
	{"brief", AUDIO_SPEAKER, IMPORTER, brief},
	{"before-go-block", AUDIO_SPEAKER, IMPORTER, before_go},
	{"without-start", AUDIO_SPEAKER, IMPORTER, without_start},
	{"after-stop", AUDIO_SPEAKER, IMPORTER, after_stop},
	{"old-run", AUDIO_SPEAKER, IMPORTER, old_run},
	{"stop-in-a-block", AUDIO_SPEAKER, IMPORTER, stop_in_a_block},
	{"empty-block", AUDIO_SPEAKER, IMPORTER_STARTED, empty_block},
	{"long-block", AUDIO_SPEAKER, IMPORTER_STARTED, long_block},
	{"longest-block", AUDIO_SPEAKER, IMPORTER_STARTED, longest_block},
	{"next-run", AUDIO_SPEAKER, IMPORTER_STARTED, next_run},
	{"backwards", AUDIO_SPEAKER, IMPORTER_STARTED, backwards},
	{"far-ahead", AUDIO_SPEAKER, IMPORTER_STARTED, far_ahead},
	{"noise", AUDIO_SPEAKER, IMPORTER_STARTED, noise},
	{"flood", AUDIO_SPEAKER, IMPORTER_STARTED, flood},
	{"slow", AUDIO_SPEAKER, IMPORTER_STARTED, slow},
	{"half-a-block", AUDIO_SPEAKER, IMPORTER_STARTED, half_a_block},
	{"silent", AUDIO_SPEAKER, IMPORTER_STARTED, wait_out},
	{"mute", AUDIO_SPEAKER, IMPORTER, wait_out},
};

int main(int argc, char **argv)
{
	static const struct channel_rings of_mic = {.read = RING_CONTROL, .write = RING_AUDIO};
	static const struct channel_rings of_speaker = {.read = RING_AUDIO, .write = RING_CONTROL};
	struct liar l = {0};
	bool exporter = argc == 6 && strcmp(argv[1], "exporter") == 0;
	enum audio_kind kind = argc >= 5 && strcmp(argv[2], "speaker") == 0 ? AUDIO_SPEAKER : AUDIO_MIC;

	for (size_t i = 0; argc >= 5 && i < ARRAY_SIZE(lies); i++) {
		enum sayer sayer = lies[i].sayer;

		if (strcmp(argv[3], lies[i].name) != 0 || lies[i].kind != kind || (sayer < IMPORTER) != exporter)
			continue;
		if (open_channel(&l, argv[4], kind == AUDIO_SPEAKER ? &of_speaker : &of_mic, exporter) != 0)
			return EXIT_FAILURE;
		if (exporter)
			say_file(&l, argv[5]);
		if (sayer == IMPORTER_STARTED)
			begin_run(&l);
		if (sayer != EXPORTER_STARTED || await_start(&l))
			lies[i].lie(&l);
		close_channel(&l);
		return EXIT_SUCCESS;
	}
	(void)fputs("usage: sound-liar exporter mic|speaker LIE DIRECTORY HELLO | importer mic|speaker LIE DIRECTORY\n",
		    stderr);
	return 2;
}
