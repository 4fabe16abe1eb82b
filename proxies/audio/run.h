/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole audio sessions, and what each end is started with. */
#pragma once

#include <sys/types.h>

#include "lib/digest/digest.h"
#include "lib/proxy/session.h"
#include "proxies/audio/receiver.h"
#include "proxies/audio/sender.h"

struct audio_options {
	struct session_options session;
	const char *server;          /* NULL: as libpulse finds it */
	uid_t owner;                 /* of the server */
	const char *source;          /* export: its name there, or the sink's */
	enum audio_kind kind;        /* import */
	const char *pipe_dir;        /* import: where the server's user may make a FIFO */
	uint8_t digest[DIGEST_SIZE]; /* import */
	bool clean;                  /* watch: remove what killed ones have left first */
	bool chosen;                 /* watch: only the source that the user has chosen */
	const char *name;            /* remove: of the virtual microphone or speaker */
};

/* Of the data channel: samples of a third of a second, one way; words and the hello. */
const struct channel_rings *audio_rings(enum audio_kind kind);

/* Frames were heard: they go into the channel at once, or nowhere. What went is added to *bytes. */
void audio_send(struct session *session, struct sender *sender, const struct audio_hello *hello, const uint8_t *frames,
		size_t len, uint64_t *bytes);

/* What is done with what comes. */
struct audio_taker {
	int (*word)(void *userdata, const struct audio_word *word, uint64_t now_usec); /* 0, or -EPROTO */
	void (*sound)(void *userdata, const struct receiver_sound *sound, uint64_t now_usec);
};

/* All that has come and may be taken now. OUTCOME_COUNT: go on. What came is added to *bytes. */
enum outcome audio_take(struct session *session, struct receiver *receiver, const struct audio_taker *taker,
			void *userdata, uint64_t *bytes);

/* From the opened fds to the last report. The exit status. */
int audio_export_run(const struct audio_options *options);
int audio_import_run(const struct audio_options *options);
int audio_watch_run(const struct audio_options *options);
int audio_remove_run(const struct audio_options *options);
