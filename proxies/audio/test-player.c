/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What comes to the place where it is heard, and that no more waits there than may. */
#include "tests/unit.h"

#include "lib/base/base.h"
#include "proxies/audio/player.h"

#define RATE 48000u
#define MOST (PLAYER_WAITING_USEC * RATE / USEC_PER_SEC)

static const struct audio_hello hello = {.kind = AUDIO_SPEAKER, .channels = 2, .rate = RATE};

struct place {
	size_t waiting, n_silent, n_sound; /* frames */
	bool broken;
};

static size_t waiting(void *userdata)
{
	return ((struct place *)userdata)->waiting;
}

static bool write_frames(void *userdata, const uint8_t *frames, size_t n)
{
	struct place *place = userdata;

	if (place->broken)
		return false;
	for (size_t i = 0; i < n; i++)
		*(get_le32(frames + 4 * i) ? &place->n_sound : &place->n_silent) += 1;
	place->waiting += n;
	return true;
}

static const struct player_place hooks = {.waiting = waiting, .write = write_frames};

static const uint8_t *loud(void)
{
	static uint8_t frames[AUDIO_BLOCK_FRAMES * 4];

	for (size_t i = 0; i < sizeof(frames); i++)
		frames[i] = 0x11;
	return frames;
}

static void test_without_clock(void **unused _unused_)
{
	const struct receiver_sound sound = {.n_silent = 100, .frames = loud(), .n_frames = 240};
	struct place place = {.waiting = 0};
	struct player player;

	assert_int_equal(player_init(&player, &hooks, &place, &hello, false), 0);
	player_begin(&player);
	assert_int_equal(place.waiting, 0);
	player_play(&player, &sound, 1);
	assert_true(place.n_silent == 100 && place.n_sound == 240 && player.n_left_out == 0);
	player_silence(&player, 10 * MOST);
	assert_true(place.waiting <= MOST && place.waiting > MOST - 2048);
	assert_int_equal(place.n_silent + player.n_left_out, 100 + 10 * MOST);
	player_deinit(&player);
}

/* Whoever sends as fast as the receiver's credit lets it: what waits stays below its bound, and sound is heard, not only silence. */
static void test_too_much(void **unused _unused_)
{
	const struct receiver_sound sound = {.frames = loud(), .n_frames = AUDIO_BLOCK_FRAMES};
	struct place place = {.waiting = 0};
	struct player player;

	assert_int_equal(player_init(&player, &hooks, &place, &hello, true), 0);
	player_begin(&player);
	assert_true(place.n_silent > 0); /* something to begin with */
	for (uint64_t msec = 1; msec < 5000; msec++) {
		player_play(&player, &sound, msec * USEC_PER_MSEC); /* ten times as fast as it is played */
		assert_true(place.waiting <= MOST);
		place.waiting -= place.waiting < 48 ? place.waiting : 48;
	}
	assert_true(player.n_left_out > 0 && place.n_sound > 4 * RATE);
	player_deinit(&player);
}

static void test_broken(void **unused _unused_)
{
	const struct receiver_sound sound = {.frames = loud(), .n_frames = 240};
	struct place place = {.broken = true};
	struct player player;

	assert_int_equal(player_init(&player, &hooks, &place, &hello, false), 0);
	player_play(&player, &sound, 1);
	assert_int_equal(player.n_left_out, 240);
	player_deinit(&player);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_without_clock), cmocka_unit_test(test_too_much),
					   cmocka_unit_test(test_broken)};

	return cmocka_run_group_tests_name("audio-player", tests, NULL, NULL);
}
