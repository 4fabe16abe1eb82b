/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device's end of a session: serve the channel, take the device over, give up all rights, and only then listen to
 * the other qube. One loop moves bytes between channel and engine until neither can go on, then waits for everything.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/usb/export_core.h"
#include "proxies/usb/export_libusb.h"
#include "proxies/usb/run.h"

#define EXPORT_IOV 96

const struct channel_rings usb_rings = {.read = RING_BULK_OUT, .write = RING_BULK_IN};

struct export_session {
	const struct usb_options *options;
	struct session session;
	struct export_libusb *device;
	size_t snapshot_len;
	struct usb_snapshot snapshot;
	struct export_core core;
	uint8_t hello[SNAPSHOT_PREAMBLE +
		      LIMIT_SNAPSHOT]; /* what the importer is told first; the snapshot's bytes live here */
};

/* The memfd's content, sealed by the agent. 0 or an outcome. */
static int read_snapshot(struct export_session *s)
{
	uint8_t *bytes = s->hello + SNAPSHOT_PREAMBLE;
	struct stat st;
	int fault;

	if (fstat(PROXY_FD_SNAPSHOT, &st) < 0 || st.st_size <= 0 || st.st_size > (off_t)LIMIT_SNAPSHOT ||
	    pread(PROXY_FD_SNAPSHOT, bytes, (size_t)st.st_size, 0) != st.st_size) {
		log_error("cannot read the snapshot");
		return OUTCOME_INTERNAL;
	}
	s->snapshot_len = (size_t)st.st_size;
	fault = usb_snapshot_parse(bytes, s->snapshot_len, &s->snapshot);
	if (fault) {
		log_error("the snapshot is not valid: %s", usb_descriptor_fault_text(fault));
		return OUTCOME_UNSUPPORTED;
	}
	put_le32(s->hello, SNAPSHOT_MAGIC);
	put_le16(s->hello + 4, SNAPSHOT_VERSION);
	put_le16(s->hello + 6, 0);
	put_le32(s->hello + 8, s->options->devid);
	put_le32(s->hello + 12, (uint32_t)s->snapshot_len);
	return 0;
}

/* 0, an outcome or a negative errno. */
static int set_up(void *userdata)
{
	struct export_session *s = userdata;
	uint8_t configuration = s->options->configuration;
	int r = read_snapshot(s);

	if (r)
		return r;
	if (session_listen(&s->session, &usb_rings) != 0)
		return OUTCOME_INTERNAL;
	r = export_libusb_open(PROXY_FD_DATA, &s->snapshot, configuration, &s->device);
	if (r)
		return r;
	export_core_init(&s->core, &s->snapshot, s->options->devid, configuration, &export_libusb_ops, s->device);
	export_libusb_attach(s->device, &s->core);
	r = sandbox_enter(SANDBOX_USB_EXPORT, s->session.options->user);
	if (r) {
		log_error("cannot enter the sandbox: %s", strerror(-r));
		return r;
	}
	return session_report_listening();
}

/* One wait of the handshake: OUTCOME_COUNT to go on. */
static enum outcome greet_wait(struct export_session *s, bool want_write, uint64_t deadline_usec)
{
	struct pollfd fds[SESSION_POLLFDS];
	int n = export_libusb_pollfds(s->device, fds);
	int r = session_wait(&s->session, fds, n, true, want_write, deadline_usec);

	if (r < 0)
		return OUTCOME_INTERNAL;
	if (s->session.stopped)
		return OUTCOME_STOPPED;
	if (export_libusb_handle(s->device, fds, n) == EXPORT_GONE)
		return OUTCOME_UNPLUGGED;
	if (clock_monotonic_usec() >= deadline_usec)
		return channel_state(s->session.channel) == CHANNEL_WAITING ? OUTCOME_NO_PEER : OUTCOME_TIMED_OUT;
	return OUTCOME_COUNT;
}

/* Waits for the importer, sends what the device is, waits for its go. OUTCOME_COUNT: go. */
static enum outcome greet(void *userdata)
{
	struct export_session *s = userdata;
	struct channel *channel = s->session.channel;
	uint64_t deadline = clock_monotonic_usec() + TIMEOUT_CONNECT_USEC;
	size_t len = SNAPSHOT_PREAMBLE + s->snapshot_len, sent = 0, got = 0;
	uint8_t go[SNAPSHOT_GO], expected[SNAPSHOT_GO] = {0};
	enum outcome outcome = OUTCOME_COUNT;

	put_le32(expected, SNAPSHOT_MAGIC_GO);
	put_le16(expected + 4, SNAPSHOT_VERSION);
	while (outcome == OUTCOME_COUNT && channel_state(channel) == CHANNEL_WAITING)
		outcome = greet_wait(s, false, deadline);
	deadline = clock_monotonic_usec() + TIMEOUT_CONNECT_USEC;
	while (outcome == OUTCOME_COUNT && got < sizeof(go)) {
		ssize_t n = 0;

		if (sent < len)
			n = channel_write(channel, s->hello + sent, len - sent);
		sent += n > 0 ? (size_t)n : 0;
		n = channel_read(channel, go + got, sizeof(go) - got);
		got += n > 0 ? (size_t)n : 0;
		if (got == sizeof(go))
			break;
		outcome = session_channel_outcome(&s->session);
		if (outcome == OUTCOME_COUNT)
			outcome = greet_wait(s, sent < len, deadline);
	}
	if (outcome == OUTCOME_COUNT && (sent < len || memcmp(go, expected, sizeof(go)) != 0))
		outcome = OUTCOME_PEER_CHEATED;
	return outcome;
}

static enum outcome cheated(int fault)
{
	log_warning("the other qube sent %s", export_fault_text(fault));
	return fault == EXPORT_FAULT_STALLED ? OUTCOME_TIMED_OUT : OUTCOME_PEER_CHEATED;
}

/* Sends what there is to send. True if anything moved. */
static bool flush_replies(struct export_session *s)
{
	struct iovec iov[EXPORT_IOV];
	bool moved = false;
	int n_iov;

	while ((n_iov = export_core_output(&s->core, iov, EXPORT_IOV)) > 0) {
		ssize_t n = channel_writev(s->session.channel, iov, n_iov);

		if (n <= 0)
			break;
		export_core_sent(&s->core, (size_t)n);
		s->session.bytes_to_target += (uint64_t)n;
		moved = true;
	}
	return moved;
}

/* Reads one portion of requests. 1: something was read; 0: nothing now; else a fault + 1. */
static int take_requests(struct export_session *s)
{
	uint8_t *at = NULL;
	size_t want = export_core_want(&s->core, &at);
	ssize_t n;

	if (want == 0)
		return 0;
	n = channel_read(s->session.channel, at, want);
	if (n <= 0)
		return 0;
	s->session.bytes_from_target += (uint64_t)n;
	return export_core_got(&s->core, (size_t)n, clock_monotonic_usec()) + 1;
}

/*
 * Moves everything that can be moved, which may be without end: the other qube decides that. OUTCOME_COUNT: the session
 * goes on.
 */
static enum outcome pump(struct export_session *s)
{
	bool moved;

	do {
		int r;

		if (session_is_stopped(&s->session))
			return OUTCOME_STOPPED;
		session_tell(&s->session, s->core.index.n_used > 0);
		moved = flush_replies(s);
		r = export_core_process(&s->core, clock_monotonic_usec());
		if (r)
			return cheated(r);
		if (export_core_again(&s->core)) {
			moved = true;
			continue;
		}
		r = take_requests(s);
		if (r > 1)
			return cheated(r - 1);
		moved |= r == 1;
	} while (moved);
	if (s->core.ended == EXPORT_GONE)
		return OUTCOME_UNPLUGGED;
	if (s->core.ended == EXPORT_CHANGED)
		return OUTCOME_CHANGED;
	return session_channel_outcome(&s->session);
}

static enum outcome serve(void *userdata)
{
	struct export_session *s = userdata;
	struct pollfd fds[SESSION_POLLFDS];

	for (;;) {
		enum outcome outcome = pump(s);
		struct iovec pending[3];
		uint8_t *at;
		bool want_write;
		int n, r;

		if (outcome != OUTCOME_COUNT)
			return outcome;
		session_tell(&s->session, s->core.index.n_used > 0);
		want_write = export_core_output(&s->core, pending, 3) > 0;
		n = export_libusb_pollfds(s->device, fds);
		r = session_wait(&s->session, fds, n, export_core_want(&s->core, &at) > 0, want_write,
				 export_core_deadline(&s->core));
		if (r < 0) {
			log_error("waiting failed: %s", strerror(-r));
			return OUTCOME_INTERNAL;
		}
		if (s->session.stopped)
			return OUTCOME_STOPPED;
		if (export_libusb_handle(s->device, fds, n) == EXPORT_GONE) {
			(void)flush_replies(s);
			return OUTCOME_UNPLUGGED;
		}
		r = export_core_expire(&s->core, clock_monotonic_usec());
		if (r)
			return cheated(r);
	}
}

static void clean_up(void *userdata)
{
	struct export_session *s = userdata;

	export_core_stop(&s->core);
}

int export_run(const struct usb_options *options)
{
	static const struct session_steps steps = {
		.set_up = set_up, .greet = greet, .serve = serve, .clean_up = clean_up};
	static struct export_session s;

	s.options = options;
	s.session.options = &options->session;
	return session_run(&s.session, &steps, &s);
}
