/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The target's end of a camera session: connect, give up all rights, check what the camera is against the digest that the broker
 * gave, and show in the virtual camera what comes. Of each picture one copy is made, by the channel's library: from its ring to where
 * the programs of this qube see it.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/media/starter.h"
#include "lib/proxy/greeting.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/camera/intake.h"
#include "proxies/camera/run.h"
#include "proxies/camera/sink.h"

struct import_session {
	struct session session;
	const struct camera_options *options;
	struct camera_hello hello;
	struct sink *sink;
	struct starter starter;
	struct intake intake;
	uint64_t n_left_out;
};

/* ---- the beginning ---------------------------------------------------------------------------------------------------- */

static int set_up(void *userdata)
{
	struct import_session *s = userdata;
	int r = session_connect(&s->session, &camera_rings);

	if (r)
		return r;
	r = sandbox_enter(SANDBOX_CAMERA_IMPORT, s->session.options->user);
	if (r)
		log_error("cannot enter the sandbox: %s", strerror(-r));
	return r;
}

/* What the camera is, and that it is what the broker showed. OUTCOME_COUNT: it is. */
static enum outcome read_hello(struct import_session *s)
{
	const struct greeting greeting = {.session = &s->session};
	uint8_t bytes[CAMERA_HELLO];
	enum outcome outcome =
		greeting_read(&greeting, bytes, sizeof(bytes), clock_monotonic_usec() + TIMEOUT_CONNECT_USEC);

	if (outcome != OUTCOME_COUNT)
		return outcome;
	if (camera_hello_read(bytes, &s->hello) < 0)
		return OUTCOME_CHANGED;
	return digest_is_approved(bytes, sizeof(bytes),
				  &(struct digest_shown){.vendor = s->hello.vendor,
							 .product = s->hello.product,
							 .n_interfaces = 1,
							 .interfaces = &camera_interface,
							 .serial = s->hello.serial},
				  s->options->digest)
		       ? OUTCOME_COUNT
		       : OUTCOME_CHANGED;
}

/* OUTCOME_COUNT: the virtual camera is there, and the exporter knows. */
static enum outcome greet(void *userdata)
{
	struct import_session *s = userdata;
	enum outcome outcome = read_hello(s);
	uint8_t word[CAMERA_WORD];
	int mode, r;

	if (outcome != OUTCOME_COUNT)
		return outcome;
	mode = modes_choose(&s->hello, &s->options->wish);
	if (mode < 0)
		return OUTCOME_NO_MODE;
	r = sink_new(PROXY_FD_DATA, &s->hello.modes[mode], &s->sink);
	if (r)
		return r == SINK_UNFIT ? OUTCOME_NO_CAMERA : OUTCOME_INTERNAL;
	(void)sink_blank(s->sink);
	intake_init(&s->intake, camera_frame_bytes(&s->hello.modes[mode]));
	camera_word_write(CAMERA_GO, (uint8_t)mode, 0, word);
	return channel_write(s->session.channel, word, sizeof(word)) == sizeof(word) ? OUTCOME_COUNT
										     : OUTCOME_PEER_LOST;
}

/* ---- the stream ------------------------------------------------------------------------------------------------------- */

/* False: there is no room for the word now. */
static bool say(struct import_session *s, enum camera_type type)
{
	uint8_t word[CAMERA_WORD];

	camera_word_write(type, 0, s->starter.run, word);
	if (channel_write(s->session.channel, word, sizeof(word)) != sizeof(word))
		return false;
	s->session.bytes_from_target += sizeof(word);
	return true;
}

/* What the exporter is to know: who looks, and that there is room. True: there is no room for that yet. */
static bool tell_exporter(struct import_session *s, uint64_t now_usec)
{
	s->starter.wanted = sink_is_watched(s->sink);
	if (!channel_fits(s->session.channel, 3 * CAMERA_WORD) && channel_space(s->session.channel) < 3 * CAMERA_WORD)
		return true;
	if (starter_tell(&s->starter, now_usec)) {
		(void)say(s, s->starter.told ? CAMERA_START : CAMERA_STOP);
		intake_run(&s->intake, s->starter.run, s->starter.told);
		if (!s->starter.told)
			(void)sink_blank(s->sink);
	}
	while (intake_want(&s->intake))
		(void)say(s, CAMERA_WANT);
	return false;
}

/* What has come. OUTCOME_COUNT: go on. */
static enum outcome take(struct import_session *s)
{
	while (!session_was_stopped(&s->session)) {
		struct intake_picture picture;
		uint8_t *at;
		size_t room = intake_room(&s->intake, sink_place(s->sink), &at);
		ssize_t n = channel_read(s->session.channel, at, room);
		int r;

		if (n <= 0)
			break;
		s->session.bytes_to_target += (uint64_t)n;
		r = intake_got(&s->intake, (size_t)n, clock_monotonic_usec(), &picture);
		if (r < 0) {
			log_warning("the other qube sent what it may not send now");
			return OUTCOME_PEER_CHEATED;
		}
		if (r == 0)
			continue;
		s->n_left_out += picture.n_left_out;
		if (sink_show(s->sink, picture.usec) < 0)
			return OUTCOME_INTERNAL;
		/* before the next one is read: the exporter shall not wait for that */
		(void)tell_exporter(s, clock_monotonic_usec());
	}
	return session_channel_outcome(&s->session);
}

static enum outcome serve(void *userdata)
{
	struct import_session *s = userdata;

	for (;;) {
		struct pollfd fds[3] = {{.fd = sink_fd(s->sink), .events = sink_poll_events(s->sink)}};
		uint64_t now = clock_monotonic_usec(), deadline, rest;
		enum outcome outcome;
		bool want_write = tell_exporter(s, now);

		outcome = take(s);
		if (outcome != OUTCOME_COUNT)
			return outcome;
		session_tell(&s->session, s->starter.wanted);
		now = clock_monotonic_usec();
		deadline = intake_deadline(&s->intake);
		if (now >= deadline)
			return OUTCOME_TIMED_OUT;
		rest = starter_deadline(&s->starter, now);
		if (session_wait(&s->session, fds, 1, true, want_write, rest < deadline ? rest : deadline) < 0)
			return OUTCOME_INTERNAL;
		if (fds[0].revents && sink_dispatch(s->sink) < 0)
			return OUTCOME_INTERNAL;
		if (s->session.stopped)
			return OUTCOME_STOPPED;
	}
}

static void clean_up(void *userdata)
{
	struct import_session *s = userdata;

	s->sink = sink_free(s->sink);
	if (s->n_left_out > 0)
		log_debug("%llu pictures were left out", (unsigned long long)s->n_left_out);
}

int camera_import_run(const struct camera_options *options)
{
	static const struct session_steps steps = {
		.set_up = set_up, .greet = greet, .serve = serve, .clean_up = clean_up};
	static struct import_session s;

	s.options = options;
	s.session.options = &options->session;
	return session_run(&s.session, &steps, &s);
}
