/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device's end of a camera session: serve the channel, give up all rights, look whether the camera is still the one that was
 * listed, and only then listen to the other qube. Of each picture our own code makes one copy, into the channel's chunks, which the
 * channel's library puts into its ring: raw ones from the driver's memory, JPEG ones from where they are decoded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proxy/greeting.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/camera/capture.h"
#include "proxies/camera/jpeg.h"
#include "proxies/camera/run.h"
#include "proxies/camera/words.h"

struct export_session {
	struct session session;
	const struct camera_options *options;
	struct capture *capture;
	struct jpeg *jpeg; /* NULL: the pictures are raw */
	struct gate gate;
	struct feed feed;
	struct camera_hello hello;
	uint8_t hello_bytes[CAMERA_HELLO];
	uint8_t mode;
	struct {
		const uint8_t *bytes;
		size_t len;
	} taken[CAPTURE_BUFFERS]; /* what is in the buffers that are with us */
	uint8_t *decoded;
	uint8_t word[CAMERA_WORD]; /* one that comes */
	size_t got;
};

/* ---- the beginning ---------------------------------------------------------------------------------------------------- */

/* What the agent has told dom0. 0 or an outcome. */
static int read_listed(struct export_session *s)
{
	struct stat st;

	if (fstat(PROXY_FD_SNAPSHOT, &st) < 0 || st.st_size != CAMERA_HELLO ||
	    pread(PROXY_FD_SNAPSHOT, s->hello_bytes, CAMERA_HELLO, 0) != CAMERA_HELLO) {
		log_error("the snapshot is not valid");
		return OUTCOME_INTERNAL;
	}
	return 0;
}

/* Is it what the camera says of itself now? 0 or an outcome. */
static int check_listed(struct export_session *s)
{
	uint8_t now[CAMERA_HELLO];
	int r = capture_new(PROXY_FD_DATA, &s->capture);

	if (r)
		return r == -ENODEV ? OUTCOME_NO_DEVICE : OUTCOME_OPEN_FAILED;
	if (camera_hello_of(s->capture, s->options, &s->hello) != 0)
		return OUTCOME_CHANGED;
	camera_hello_write(&s->hello, now);
	return memcmp(now, s->hello_bytes, CAMERA_HELLO) == 0 ? 0 : OUTCOME_CHANGED;
}

/* 0, an outcome or a negative errno. */
static int set_up(void *userdata)
{
	struct export_session *s = userdata;
	int r = read_listed(s);

	if (r)
		return r;
	gate_init(&s->gate, clock_monotonic_usec());
	if (session_listen(&s->session, &camera_rings))
		return OUTCOME_INTERNAL;
	r = sandbox_enter(SANDBOX_CAMERA_EXPORT, s->session.options->user);
	if (r) {
		log_error("cannot enter the sandbox: %s", strerror(-r));
		return r;
	}
	r = check_listed(s);
	return r ? r : session_report_listening();
}

/* ---- what comes ------------------------------------------------------------------------------------------------------- */

static enum outcome outcome_of(int r)
{
	if (r == -ENODEV)
		return OUTCOME_UNPLUGGED;
	log_error("the camera: %s", strerror(-r));
	return OUTCOME_OPEN_FAILED;
}

/* A buffer goes back to the camera. OUTCOME_COUNT: go on. */
static enum outcome give_back(struct export_session *s, int buffer)
{
	int r = buffer == FEED_NONE ? 0 : capture_give(s->capture, buffer);

	return r < 0 ? outcome_of(r) : OUTCOME_COUNT;
}

/* What is there of the importer's words. OUTCOME_COUNT: go on. */
static enum outcome take(void *userdata)
{
	struct export_session *s = userdata;

	while (!session_was_stopped(&s->session)) {
		ssize_t n = channel_read(s->session.channel, s->word + s->got, sizeof(s->word) - s->got);
		struct camera_word word;
		int buffer;
		enum outcome outcome;

		if (n <= 0)
			break;
		s->session.bytes_from_target += (uint64_t)n;
		s->got += (size_t)n;
		if (s->got < sizeof(s->word))
			continue;
		s->got = 0;
		if (camera_word_read(s->word, &word) < 0 ||
		    camera_words_take(&s->gate, &s->feed, s->hello.n_modes, &word, clock_monotonic_usec(), &s->mode,
				      &buffer) < 0) {
			log_warning("the other qube sent what it may not send now");
			return OUTCOME_PEER_CHEATED;
		}
		outcome = give_back(s, buffer);
		if (outcome != OUTCOME_COUNT)
			return outcome;
		if (word.type == CAMERA_GO)
			break; /* what follows is of a mode that is not set yet */
	}
	return session_channel_outcome(&s->session);
}

/* ---- pictures ---------------------------------------------------------------------------------------------------------- */

/* Opens the camera or closes it, as the importer wants it now. OUTCOME_COUNT: go on. */
static enum outcome follow(void *userdata)
{
	struct export_session *s = userdata;
	int r;

	s->gate.muted = s->session.muted;
	if (gate_is_open(&s->gate)) {
		r = capture_start(s->capture);
		return r < 0 ? outcome_of(r) : OUTCOME_COUNT;
	}
	capture_stop(s->capture);
	return give_back(s, feed_leave_out(&s->feed)); /* what was taken before is not seen after */
}

/* All that the camera has taken. OUTCOME_COUNT: go on. */
static enum outcome photograph(void *userdata)
{
	struct export_session *s = userdata;
	struct capture_picture picture;
	enum outcome outcome = OUTCOME_COUNT;
	int r = 0;

	while (outcome == OUTCOME_COUNT && gate_is_open(&s->gate) && (r = capture_take(s->capture, &picture)) == 0) {
		s->taken[picture.buffer].bytes = picture.bytes;
		s->taken[picture.buffer].len = picture.len;
		outcome = give_back(s, feed_captured(&s->feed, picture.buffer, picture.usec));
	}
	return r < 0 ? outcome_of(r) : outcome;
}

/* The frame that has begun: from here its bytes are written. False: it is no picture. */
static bool develop(struct export_session *s, int buffer)
{
	return !s->jpeg || jpeg_decode(s->jpeg, s->taken[buffer].bytes, s->taken[buffer].len, s->decoded);
}

static const uint8_t *frame_bytes(const struct export_session *s)
{
	return s->jpeg ? s->decoded : s->taken[s->feed.sending].bytes;
}

/* What is on its way, as far as there is room. OUTCOME_COUNT: go on. */
static enum outcome send(void *userdata)
{
	struct export_session *s = userdata;
	enum outcome outcome = OUTCOME_COUNT;

	while (outcome == OUTCOME_COUNT) {
		struct feed_rest rest;
		struct iovec iov[2];
		ssize_t n;

		if (s->feed.sending == FEED_NONE) {
			int buffer = feed_begin(&s->feed);

			if (buffer == FEED_NONE)
				return OUTCOME_COUNT;
			if (!develop(s, buffer)) {
				outcome = give_back(s, feed_spoilt(&s->feed));
				continue;
			}
		}
		feed_rest(&s->feed, &rest);
		iov[0] = (struct iovec){(void *)(uintptr_t)rest.head, rest.head_len};
		iov[1] = (struct iovec){(void *)(uintptr_t)(frame_bytes(s) + rest.at), rest.len};
		n = channel_writev(s->session.channel, iov, 2);
		if (n <= 0)
			return OUTCOME_COUNT; /* no room; or it is gone, which take() tells */
		s->session.bytes_to_target += (uint64_t)n;
		outcome = give_back(s, feed_wrote(&s->feed, (size_t)n));
	}
	return outcome;
}

/* ---- the session ------------------------------------------------------------------------------------------------------- */

/* Waits once. OUTCOME_COUNT: go on. */
static enum outcome turn(void *userdata, uint64_t deadline_usec)
{
	struct export_session *s = userdata;
	struct pollfd fds[3] = {{.fd = capture_fd(s->capture), .events = POLLIN}};
	int n_fds = gate_is_open(&s->gate) ? 1 : 0;

	if (session_wait(&s->session, fds, n_fds, true, s->feed.sending != FEED_NONE, deadline_usec) < 0)
		return OUTCOME_INTERNAL;
	return s->session.stopped ? OUTCOME_STOPPED : OUTCOME_COUNT;
}

/* What is asked of its controls. What the camera cannot do is no reason to end the session. */
static void adjust(struct export_session *s)
{
	for (enum camera_control i = 0; i < CONTROL_COUNT; i++) {
		uint8_t value = s->options->controls[i];
		const char *why = value ? capture_control(s->capture, i, value) : NULL;

		if (why)
			log_notice("the camera's %s is left as it is: %s", controls_name(i), why);
	}
}

/* Everything for the mode that the importer takes. OUTCOME_COUNT: it is there. */
static enum outcome prepare(struct export_session *s)
{
	const struct camera_mode *mode = &s->hello.modes[s->mode];
	int r = capture_set(s->capture, &s->hello, s->mode);

	if (r < 0)
		return r == -EBUSY ? OUTCOME_BUSY : outcome_of(r);
	adjust(s);
	feed_init(&s->feed, camera_frame_bytes(mode));
	if (!capture_is_jpeg(s->capture))
		return OUTCOME_COUNT;
	s->decoded = malloc(camera_frame_bytes(mode));
	return s->decoded && jpeg_new(mode, &s->jpeg) == 0 ? OUTCOME_COUNT : OUTCOME_INTERNAL;
}

/* Waits for the importer, tells it what the camera is, waits for its go. OUTCOME_COUNT: go. */
static enum outcome greet(void *userdata)
{
	struct export_session *s = userdata;
	const struct greeting greeting = {.session = &s->session, .wait = turn, .userdata = s};
	enum outcome outcome = greeting_send(&greeting, s->hello_bytes, CAMERA_HELLO, take, &s->gate.going);

	return outcome == OUTCOME_COUNT ? prepare(s) : outcome;
}

static enum outcome serve(void *userdata)
{
	static enum outcome (*const steps[])(void *userdata) = {take, follow, photograph, send};
	struct export_session *s = userdata;

	for (;;) {
		enum outcome outcome = OUTCOME_COUNT;

		for (size_t i = 0; i < ARRAY_SIZE(steps) && outcome == OUTCOME_COUNT; i++)
			outcome = steps[i](s);
		session_tell(&s->session, s->gate.wanted);
		if (outcome == OUTCOME_COUNT)
			outcome = turn(s, UINT64_MAX);
		if (outcome != OUTCOME_COUNT)
			return outcome;
	}
}

static void clean_up(void *userdata)
{
	struct export_session *s = userdata;

	s->capture = capture_free(s->capture);
	s->jpeg = jpeg_free(s->jpeg);
	free(TAKE_PTR(s->decoded));
}

int camera_export_run(const struct camera_options *options)
{
	static const struct session_steps steps = {
		.set_up = set_up, .greet = greet, .serve = serve, .clean_up = clean_up};
	static struct export_session s;

	s.options = options;
	s.session.options = &options->session;
	return session_run(&s.session, &steps, &s);
}
