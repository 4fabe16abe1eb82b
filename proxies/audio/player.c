/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See player.h. */
#include "proxies/audio/player.h"

#include "lib/base/base.h"

#define SILENCE_BYTES 4096u

int player_init(struct player *player, const struct player_place *place, void *userdata,
		const struct audio_hello *hello, bool has_clock)
{
	*player =
		(struct player){.place = place, .userdata = userdata, .frame = audio_frame(hello), .rate = hello->rate};
	return has_clock ? pace_new(hello, &player->pace) : 0;
}

void player_deinit(struct player *player)
{
	player->pace = pace_free(player->pace);
}

static void write_frames(struct player *player, const uint8_t *frames, size_t n)
{
	if (n == 0)
		return;
	if (player->place->waiting(player->userdata) + n > PLAYER_WAITING_USEC * player->rate / USEC_PER_SEC ||
	    !player->place->write(player->userdata, frames, n))
		player->n_left_out += n;
}

void player_silence(struct player *player, uint64_t n_frames)
{
	static const uint8_t silence[SILENCE_BYTES];
	size_t piece = SILENCE_BYTES / player->frame;

	for (; n_frames > 0; n_frames -= n_frames < piece ? n_frames : piece)
		write_frames(player, silence, n_frames < piece ? n_frames : piece);
}

void player_begin(struct player *player)
{
	if (player->pace)
		player_silence(player, pace_begin(player->pace));
}

void player_play(struct player *player, const struct receiver_sound *sound, uint64_t now_usec)
{
	int16_t samples[PACE_FRAMES * AUDIO_CHANNELS];

	player_silence(player, sound->n_silent);
	if (sound->n_frames == 0)
		return;
	if (!player->pace) {
		write_frames(player, sound->frames, sound->n_frames);
		return;
	}
	player_silence(player,
		       pace_waiting(player->pace, player->place->waiting(player->userdata), sound->n_frames, now_usec));
	write_frames(player, (const uint8_t *)samples,
		     pace_resample(player->pace, sound->frames, sound->n_frames, samples));
}
