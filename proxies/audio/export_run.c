/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device's end of an audio session: serve the channel, find the source or the sink, give up all rights, and only then listen to
 * the other qube. What a source hears goes into the channel at once, or nowhere; what comes for a sink is played there.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proxy/greeting.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/audio/player.h"
#include "proxies/audio/pulse.h"
#include "proxies/audio/run.h"
#include "proxies/audio/words.h"

struct export_session {
	const struct audio_options *options;
	struct session session;
	struct pulse *pulse;
	struct gate gate;
	struct sender sender;     /* of a microphone */
	struct receiver receiver; /* of the importer's words, and what a speaker is to play */
	struct player player;     /* of a speaker */
	bool plays;               /* the sink is opened */
	uint64_t close_usec;      /* until then what waits there is played */
	struct audio_hello hello;
	uint8_t hello_bytes[AUDIO_HELLO];
};

static int read_hello(struct export_session *s)
{
	struct stat st;

	if (fstat(PROXY_FD_SNAPSHOT, &st) < 0 || st.st_size != AUDIO_HELLO ||
	    pread(PROXY_FD_SNAPSHOT, s->hello_bytes, AUDIO_HELLO, 0) != AUDIO_HELLO ||
	    audio_hello_read(s->hello_bytes, &s->hello) < 0) {
		log_error("the snapshot is not valid");
		return OUTCOME_INTERNAL;
	}
	return 0;
}

/* ---- the device ------------------------------------------------------------------------------------------------------- */

static void on_heard(void *userdata, const uint8_t *frames, size_t len)
{
	struct export_session *s = userdata;

	audio_send(&s->session, &s->sender, &s->hello, frames, len, &s->session.bytes_to_target);
}

static void on_opened(void *userdata)
{
	struct export_session *s = userdata;

	s->plays = true;
	player_begin(&s->player);
}

static size_t waiting_frames(void *userdata)
{
	struct export_session *s = userdata;

	return pulse_waiting(s->pulse) / audio_frame(&s->hello);
}

static bool write_frames(void *userdata, const uint8_t *frames, size_t n)
{
	struct export_session *s = userdata;

	return pulse_play(s->pulse, frames, n * audio_frame(&s->hello));
}

/* Opens the device or closes it, as the importer and dom0 want it now. 0, or an outcome. */
static int follow(struct export_session *s, uint64_t now_usec)
{
	bool open;

	s->gate.muted = s->session.muted;
	if (s->hello.kind == AUDIO_MIC)
		sender_run(&s->sender, s->gate.run, gate_is_open(&s->gate));
	open = gate_is_open(&s->gate) || (s->plays && !s->gate.muted && now_usec < s->close_usec);
	s->plays = s->plays && open;
	return pulse_open(s->pulse, &s->hello, open);
}

/* ---- what comes ------------------------------------------------------------------------------------------------------- */

static int on_word(void *userdata, const struct audio_word *word, uint64_t now_usec)
{
	struct export_session *s = userdata;
	int r = audio_words_take(&s->gate, word, now_usec);

	if (r < 0)
		return r;
	receiver_run(&s->receiver, s->gate.run, s->gate.wanted);
	receiver_open(&s->receiver, s->gate.wanted, now_usec);
	s->close_usec = now_usec + PLAYER_WAITING_USEC;
	return 0;
}

static void on_sound(void *userdata, const struct receiver_sound *sound, uint64_t now_usec)
{
	struct export_session *s = userdata;

	if (s->plays && gate_is_open(&s->gate))
		player_play(&s->player, sound, now_usec);
}

/* What is there of the importer's words and blocks. OUTCOME_COUNT: go on. */
static enum outcome take(void *userdata)
{
	struct export_session *s = userdata;
	static const struct audio_taker taker = {.word = on_word, .sound = on_sound};

	return audio_take(&s->session, &s->receiver, &taker, s, &s->session.bytes_from_target);
}

/* Waits once. OUTCOME_COUNT: go on. */
static enum outcome turn(void *userdata, uint64_t deadline_usec)
{
	struct export_session *s = userdata;
	uint64_t now = clock_monotonic_usec(), due = receiver_deadline(&s->receiver, now);
	uint8_t *at;
	bool want_read = receiver_want(&s->receiver, now, &at) > 0;

	return pulse_turn(s->pulse, &s->session, want_read, false, due < deadline_usec ? due : deadline_usec);
}

/* ---- the session ------------------------------------------------------------------------------------------------------ */

/* 0, an outcome or a negative errno. */
static int set_up(void *userdata)
{
	struct export_session *s = userdata;
	static const struct pulse_hooks of_mic = {.heard = on_heard}, of_speaker = {.opened = on_opened};
	static const struct player_place place = {.waiting = waiting_frames, .write = write_frames};
	uint64_t now = clock_monotonic_usec();
	bool speaker;
	int r = read_hello(s);

	if (r)
		return r;
	speaker = s->hello.kind == AUDIO_SPEAKER;
	gate_init(&s->gate, now);
	receiver_init(&s->receiver, &s->hello, speaker ? RECEIVER_BOTH : RECEIVER_WORDS, true, now);
	r = player_init(&s->player, &place, s, &s->hello, true);
	if (r)
		return r;
	r = session_listen(&s->session, audio_rings((enum audio_kind)s->hello.kind));
	if (r)
		return OUTCOME_INTERNAL;
	r = pulse_new(s->options->server, s->options->owner, speaker ? &of_speaker : &of_mic, s, &s->pulse);
	if (r == 0)
		r = pulse_find(s->pulse, (enum audio_kind)s->hello.kind, s->options->source);
	if (r)
		return r;
	r = sandbox_enter(SANDBOX_AUDIO, s->session.options->user);
	if (r) {
		log_error("cannot enter the sandbox: %s", strerror(-r));
		return r;
	}
	return session_report_listening();
}

/* Waits for the importer, tells it what the device is, waits for its go. OUTCOME_COUNT: go. */
static enum outcome greet(void *userdata)
{
	struct export_session *s = userdata;
	const struct greeting greeting = {.session = &s->session, .wait = turn, .userdata = s};

	return greeting_send(&greeting, s->hello_bytes, AUDIO_HELLO, take, &s->gate.going);
}

static enum outcome serve(void *userdata)
{
	struct export_session *s = userdata;

	for (;;) {
		enum outcome outcome = take(s);
		int r;

		if (outcome != OUTCOME_COUNT)
			return outcome;
		r = follow(s, clock_monotonic_usec());
		if (r)
			return (enum outcome)r;
		session_tell(&s->session, s->gate.wanted);
		outcome = turn(s, s->plays && !s->gate.wanted ? s->close_usec : UINT64_MAX);
		if (outcome != OUTCOME_COUNT)
			return outcome;
	}
}

static void clean_up(void *userdata)
{
	struct export_session *s = userdata;

	s->pulse = pulse_free(s->pulse);
	player_deinit(&s->player);
}

int audio_export_run(const struct audio_options *options)
{
	static const struct session_steps steps = {
		.set_up = set_up, .greet = greet, .serve = serve, .clean_up = clean_up};
	static struct export_session s;

	s.options = options;
	s.session.options = &options->session;
	return session_run(&s.session, &steps, &s);
}
