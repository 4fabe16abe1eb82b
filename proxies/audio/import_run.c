/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The target's end of an audio session: connect, give up all rights, check what the device is against the digest that the
 * broker gave, have the sound server make a virtual microphone, and write what comes into its pipe; or a virtual speaker, and send
 * what programs play there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/media/starter.h"
#include "lib/proxy/greeting.h"
#include "lib/proxy/sources.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/audio/opener.h"
#include "proxies/audio/player.h"
#include "proxies/audio/pulse.h"
#include "proxies/audio/run.h"

#define PIPE_PIECE 4096u /* PIPE_BUF: whole or not at all */

struct import_session {
	const struct audio_options *options;
	struct session session;
	struct pulse *pulse;
	struct starter starter;
	struct receiver receiver; /* of a microphone */
	struct player player;     /* the same, to its pipe */
	struct sender sender;     /* of a speaker */
	struct audio_hello hello;
	int opener_fd, pipe_fd; /* of a microphone */
	char name[64], pipe_path[4096];
};

/* ---- the pipe -------------------------------------------------------------------------------------------------------- */

static size_t waiting_frames(void *userdata)
{
	struct import_session *s = userdata;
	int bytes = 0;

	return ioctl(s->pipe_fd, FIONREAD, &bytes) < 0 || bytes < 0 ? 0 : (size_t)bytes / audio_frame(&s->hello);
}

static bool write_frames(void *userdata, const uint8_t *frames, size_t n)
{
	struct import_session *s = userdata;
	size_t frame = audio_frame(&s->hello), piece = PIPE_PIECE / frame;

	while (n > 0) {
		size_t some = n < piece ? n : piece;

		if (write(s->pipe_fd, frames, some * frame) != (ssize_t)(some * frame))
			return false;
		frames += some * frame;
		n -= some;
	}
	return true;
}

/* ---- who uses the virtual device --------------------------------------------------------------------------------------- */

static void on_recording(void *userdata, bool recording)
{
	struct import_session *s = userdata;
	uint8_t old[PIPE_PIECE];

	s->starter.wanted = recording;
	receiver_open(&s->receiver, recording, clock_monotonic_usec());
	/* At the end, too: the server may read it for the next program before we hear of that one. */
	while (read(s->pipe_fd, old, sizeof(old)) > 0)
		;
	if (recording)
		player_begin(&s->player);
}

static void on_playing(void *userdata, bool playing)
{
	struct import_session *s = userdata;

	s->starter.wanted = playing;
}

static void on_played(void *userdata, const uint8_t *frames, size_t len)
{
	struct import_session *s = userdata;

	audio_send(&s->session, &s->sender, &s->hello, frames, len, &s->session.bytes_from_target);
}

/* ---- the beginning ---------------------------------------------------------------------------------------------------- */

/* 0, an outcome or a negative errno. */
static int set_up(void *userdata)
{
	struct import_session *s = userdata;
	static const struct pulse_hooks of_mic = {.used = on_recording};
	static const struct pulse_hooks of_speaker = {.used = on_playing, .heard = on_played};
	bool speaker = s->options->kind == AUDIO_SPEAKER;
	const char *number = strrchr(s->session.options->service, '/');
	int r = session_connect(&s->session, audio_rings(s->options->kind));

	if (r)
		return r;
	(void)snprintf(s->name, sizeof(s->name), PROXY_SOUND_PREFIX "%s",
		       number ? number + 1 : s->session.options->service);
	if (snprintf(s->pipe_path, sizeof(s->pipe_path), "%s/%s", s->options->pipe_dir, s->name) >=
	    (int)sizeof(s->pipe_path))
		return -ENAMETOOLONG;
	if (!speaker)
		r = opener_new(s->pipe_path, s->options->owner, &s->opener_fd);
	if (r == 0)
		r = pulse_new(s->options->server, s->options->owner, speaker ? &of_speaker : &of_mic, s, &s->pulse);
	if (r)
		return r;
	r = sandbox_enter(SANDBOX_AUDIO, s->session.options->user);
	if (r)
		log_error("cannot enter the sandbox: %s", strerror(-r));
	return r;
}

static enum outcome greet_turn(void *userdata, uint64_t deadline_usec)
{
	struct import_session *s = userdata;

	return pulse_turn(s->pulse, &s->session, true, false, deadline_usec);
}

/* What the device is, and that it is what the broker showed. OUTCOME_COUNT: it is. */
static enum outcome read_hello(struct import_session *s)
{
	const struct greeting greeting = {.session = &s->session, .wait = greet_turn, .userdata = s};
	uint8_t bytes[AUDIO_HELLO];
	enum outcome outcome =
		greeting_read(&greeting, bytes, sizeof(bytes), clock_monotonic_usec() + TIMEOUT_CONNECT_USEC);

	if (outcome != OUTCOME_COUNT)
		return outcome;
	if (audio_hello_read(bytes, &s->hello) < 0 || s->hello.kind != s->options->kind)
		return OUTCOME_CHANGED;
	return digest_is_approved(bytes, sizeof(bytes),
				  &(struct digest_shown){.vendor = s->hello.vendor,
							 .product = s->hello.product,
							 .n_interfaces = 1,
							 .interfaces = &(const uint8_t[3]){0}, /* as of all sound */
							 .serial = s->hello.serial},
				  s->options->digest)
		       ? OUTCOME_COUNT
		       : OUTCOME_CHANGED;
}

/* OUTCOME_COUNT: its pipe is open. */
static enum outcome open_pipe(struct import_session *s)
{
	static const struct player_place place = {.waiting = waiting_frames, .write = write_frames};
	int r = opener_open(&s->opener_fd, &s->pipe_fd);

	if (r < 0) {
		log_error("cannot open the virtual microphone's pipe: %s", strerror(-r));
		return OUTCOME_NO_SOUND;
	}
	if (player_init(&s->player, &place, s, &s->hello, pulse_has_clock(s->pulse)) < 0)
		return OUTCOME_INTERNAL;
	return OUTCOME_COUNT;
}

/* OUTCOME_COUNT: the virtual device is there, and the exporter knows. */
static enum outcome make_device(struct import_session *s)
{
	bool mic = s->hello.kind == AUDIO_MIC;
	uint8_t word[AUDIO_WORD];
	int r = pulse_make(s->pulse, s->name, s->pipe_path, &s->hello);

	if (r)
		return (enum outcome)r;
	if (mic) {
		enum outcome outcome = open_pipe(s);

		if (outcome != OUTCOME_COUNT)
			return outcome;
	}
	receiver_init(&s->receiver, &s->hello, mic ? RECEIVER_BLOCKS : RECEIVER_NOTHING, !mic || s->player.pace != NULL,
		      clock_monotonic_usec());
	audio_word_write(AUDIO_GO, 0, word);
	if (channel_write(s->session.channel, word, sizeof(word)) != sizeof(word))
		return OUTCOME_PEER_LOST;
	r = pulse_await_device(s->pulse, s->options->kind, s->name); /* somebody may use it already */
	return r ? (enum outcome)r : OUTCOME_COUNT;
}

static enum outcome greet(void *userdata)
{
	enum outcome outcome = read_hello(userdata);

	return outcome == OUTCOME_COUNT ? make_device(userdata) : outcome;
}

/* ---- the stream ------------------------------------------------------------------------------------------------------- */

/* True: the exporter is still to be told something, and there is no room yet. */
static bool tell_exporter(struct import_session *s, uint64_t now_usec)
{
	uint8_t word[AUDIO_WORD];

	if (s->starter.wanted != s->starter.told && channel_space(s->session.channel) < sizeof(word))
		return true;
	if (starter_tell(&s->starter, now_usec)) {
		audio_word_write(s->starter.told ? AUDIO_START : AUDIO_STOP, s->starter.run, word);
		if (channel_write(s->session.channel, word, sizeof(word)) == sizeof(word))
			s->session.bytes_from_target += sizeof(word);
	}
	receiver_run(&s->receiver, s->starter.run, s->starter.told);
	sender_run(&s->sender, s->starter.run, s->starter.told);
	return false;
}

static void on_sound(void *userdata, const struct receiver_sound *sound, uint64_t now_usec)
{
	struct import_session *s = userdata;

	player_play(&s->player, sound, now_usec);
}

static enum outcome serve(void *userdata)
{
	static const struct audio_taker taker = {.sound = on_sound}; /* no word is taken */
	struct import_session *s = userdata;

	for (;;) {
		enum outcome outcome = audio_take(&s->session, &s->receiver, &taker, s, &s->session.bytes_to_target);
		uint64_t now = clock_monotonic_usec(), due, rest;
		bool want_write;
		uint8_t *at;
		int r = 0;

		if (outcome != OUTCOME_COUNT)
			return outcome;
		want_write = tell_exporter(s, now);
		if (s->hello.kind == AUDIO_SPEAKER)
			r = pulse_open(s->pulse, &s->hello, s->starter.wanted);
		else
			player_silence(&s->player, receiver_silence(&s->receiver, now));
		if (r)
			return (enum outcome)r;
		session_tell(&s->session, s->starter.wanted);
		due = receiver_deadline(&s->receiver, now);
		rest = starter_deadline(&s->starter, now);
		outcome = pulse_turn(s->pulse, &s->session, receiver_want(&s->receiver, now, &at) > 0, want_write,
				     due < rest ? due : rest);
		if (outcome != OUTCOME_COUNT)
			return outcome;
	}
}

static void clean_up(void *userdata)
{
	struct import_session *s = userdata;

	pulse_remove(s->pulse);
	s->pulse = pulse_free(s->pulse);
	player_deinit(&s->player);
}

int audio_import_run(const struct audio_options *options)
{
	static const struct session_steps steps = {
		.set_up = set_up, .greet = greet, .serve = serve, .clean_up = clean_up};
	static struct import_session s = {.opener_fd = -1, .pipe_fd = -1};

	s.options = options;
	s.session.options = &options->session;
	return session_run(&s.session, &steps, &s);
}
