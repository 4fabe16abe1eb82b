/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both ends do with the channel; see run.h. */
#include "proxies/audio/run.h"

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

const struct channel_rings *audio_rings(enum audio_kind kind)
{
	static const struct channel_rings of_mic = {.read = RING_CONTROL, .write = RING_AUDIO};
	static const struct channel_rings of_speaker = {.read = RING_AUDIO, .write = RING_CONTROL};

	return kind == AUDIO_SPEAKER ? &of_speaker : &of_mic;
}

void audio_send(struct session *session, struct sender *sender, const struct audio_hello *hello, const uint8_t *frames,
		size_t len, uint64_t *bytes)
{
	size_t frame = audio_frame(hello), n_frames = len / frame;

	while (n_frames > 0) {
		uint16_t n = (uint16_t)(n_frames < AUDIO_BLOCK_FRAMES ? n_frames : AUDIO_BLOCK_FRAMES);
		size_t room = channel_fits(session->channel, AUDIO_HEAD + n * frame) ? AUDIO_HEAD + n * frame : 0;
		uint8_t head[AUDIO_HEAD];

		if (sender_block(sender, n, frame, room, clock_monotonic_usec(), head)) {
			const struct iovec iov[] = {{head, sizeof(head)}, {(void *)(uintptr_t)frames, n * frame}};

			if (channel_writev(session->channel, iov, 2) > 0)
				*bytes += sizeof(head) + n * frame;
		}
		frames += n * frame;
		n_frames -= n;
	}
}

enum outcome audio_take(struct session *session, struct receiver *receiver, const struct audio_taker *taker,
			void *userdata, uint64_t *bytes)
{
	uint8_t *at;
	size_t want;

	while ((want = receiver_want(receiver, clock_monotonic_usec(), &at)) > 0 && !session_was_stopped(session)) {
		ssize_t n = channel_read(session->channel, at, want);
		uint64_t now = clock_monotonic_usec();
		struct receiver_sound sound;
		struct audio_word word;
		int r;

		if (n <= 0)
			break;
		*bytes += (uint64_t)n;
		r = receiver_got(receiver, (size_t)n, now, &word, &sound);
		if (r == 1)
			r = taker->word(userdata, &word, now);
		else if (r == 0)
			taker->sound(userdata, &sound, now);
		if (r < 0) {
			log_warning("the other qube sent what it may not send now");
			return OUTCOME_PEER_CHEATED;
		}
	}
	return session_channel_outcome(session);
}
