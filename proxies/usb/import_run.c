/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The target's end of a session: connect, give up all rights, check the snapshot against the digest that the broker
 * gave, and then move bytes between the channel and vhci_hcd's socket, each past the filter. Two buffers, in place.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/proxy/greeting.h"
#include "lib/sandbox/sandbox.h"
#include "proxies/usb/flow.h"
#include "proxies/usb/import_filter.h"
#include "proxies/usb/run.h"

#define COMMANDS_SIZE (256u * 1024u)
#define REPLIES_SIZE (2u * IMPORT_HOLD_MAX) /* of a long one little must be moved to the front */
#define SOCKET_BUFFER (4 * 1024 * 1024)
#define LET_GO_QUIET_MSEC 30
#define LET_GO_USEC (500 * USEC_PER_MSEC) /* less than TIMEOUT_PROXY_EXIT_USEC */

struct import_session {
	const struct usb_options *options;
	struct session session;
	struct flow commands, replies;
	bool kernel_closed;
	struct usb_snapshot snapshot;
	uint8_t snapshot_bytes[LIMIT_SNAPSHOT];
	uint8_t command_bytes[COMMANDS_SIZE + FLOW_INSERT_ROOM];
	uint8_t reply_bytes[REPLIES_SIZE + FLOW_INSERT_ROOM];
	struct import_filter filter;
};

/* 0, an outcome or a negative errno. */
static int set_up(void *userdata)
{
	struct import_session *s = userdata;
	int size = SOCKET_BUFFER;
	int r = session_connect(&s->session, &usb_rings);

	if (r)
		return r;
	/* a whole large reply in one go; the second needs no right but may be clamped */
	if (setsockopt(PROXY_FD_DATA, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(PROXY_FD_DATA, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	r = sandbox_enter(SANDBOX_USB_IMPORT, s->session.options->user);
	if (r)
		log_error("cannot enter the sandbox: %s", strerror(-r));
	return r;
}

/* The snapshot is the one that the broker named, and is of the device that the broker showed. OUTCOME_COUNT: it is. */
static enum outcome check_snapshot(struct import_session *s, size_t len)
{
	const struct usb_descriptors *d = &s->snapshot.descriptors;
	int fault = usb_snapshot_parse(s->snapshot_bytes, len, &s->snapshot);

	if (fault) {
		log_error("the snapshot is not valid: %s", usb_descriptor_fault_text(fault));
		return OUTCOME_CHANGED;
	}
	if (usb_is_hub(d)) { /* its agent should have left it out; behind a hub comes what nobody approved */
		log_error("the device is a hub");
		return OUTCOME_UNSUPPORTED;
	}
	s->session.speed = s->snapshot.speed;
	return digest_is_approved(s->snapshot_bytes, len,
				  &(struct digest_shown){.speed = s->snapshot.speed,
							 .vendor = d->vendor,
							 .product = d->product,
							 .n_interfaces = d->n_interface_codes,
							 .interfaces = d->interface_codes,
							 .serial = s->snapshot.serial},
				  s->options->digest)
		       ? OUTCOME_COUNT
		       : OUTCOME_CHANGED;
}

static enum outcome greet(void *userdata)
{
	struct import_session *s = userdata;
	const struct greeting greeting = {.session = &s->session};
	uint64_t deadline = clock_monotonic_usec() + TIMEOUT_HEADER_USEC;
	uint8_t head[SNAPSHOT_PREAMBLE], go[SNAPSHOT_GO] = {0};
	uint32_t untrusted_len;
	enum outcome outcome;

	outcome = greeting_read(&greeting, head, sizeof(head), deadline);
	if (outcome != OUTCOME_COUNT)
		return outcome;
	untrusted_len = get_le32(head + 12);
	if (get_le32(head) != SNAPSHOT_MAGIC || get_le16(head + 4) != SNAPSHOT_VERSION || get_le16(head + 6) != 0 ||
	    untrusted_len == 0 || untrusted_len > LIMIT_SNAPSHOT)
		return OUTCOME_PEER_CHEATED;
	s->session.devid = get_le32(head + 8);
	outcome = greeting_read(&greeting, s->snapshot_bytes, untrusted_len, deadline);
	if (outcome == OUTCOME_COUNT)
		outcome = check_snapshot(s, untrusted_len);
	if (outcome != OUTCOME_COUNT)
		return outcome;
	put_le32(go, SNAPSHOT_MAGIC_GO);
	put_le16(go + 4, SNAPSHOT_VERSION);
	if (channel_write(s->session.channel, go, sizeof(go)) != (ssize_t)sizeof(go))
		return OUTCOME_PEER_LOST;
	return OUTCOME_COUNT;
}

static enum outcome cut(int fault)
{
	log_warning("the session is cut: %s", import_fault_text(fault));
	switch ((enum import_fault)fault) {
	case IMPORT_FAULT_DESCRIPTOR:
		return OUTCOME_CHANGED;
	case IMPORT_FAULT_STALLED:
	case IMPORT_FAULT_UNLINK_LATE:
		return OUTCOME_TIMED_OUT;
	case IMPORT_FAULT_KERNEL:
		return OUTCOME_UNSUPPORTED;
	case IMPORT_FAULT_COMMAND:
	case IMPORT_FAULT_SEQNUM:
	case IMPORT_FAULT_STATUS:
	case IMPORT_FAULT_LENGTH:
	case IMPORT_FAULT_PACKETS:
	case IMPORT_FAULT_UNLINK:
	case IMPORT_FAULT_COUNT:
		break;
	}
	return OUTCOME_PEER_CHEATED;
}

/* Shows the filter what has not passed yet. 0 or a fault. */
static int filter_commands(struct import_session *s, uint64_t now)
{
	struct flow *c = &s->commands;
	uint8_t pdu[USBIP_HEADER];
	struct import_step step;

	do {
		int fault = import_filter_commands(&s->filter, c->bytes + c->passed, c->end - c->passed, now, &step);

		if (fault)
			return fault;
		c->passed += step.pass;
		flow_drop(c, step.skip);
		while (import_filter_insert_command(&s->filter, now, pdu)) {
			flow_insert(c, pdu);
			step.pass++;
		}
	} while (step.pass + step.skip > 0);
	return 0;
}

/* The kernel's requests to the exporter. True if bytes moved; *ret_fault as the filter says. */
static bool move_commands(struct import_session *s, uint64_t now, int *ret_fault)
{
	struct flow *c = &s->commands;
	size_t room = flow_room(c);
	bool moved = false;
	ssize_t n;

	if (room > 0 && !s->kernel_closed) {
		n = recv(PROXY_FD_DATA, c->bytes + c->end, room, MSG_DONTWAIT);
		if (n > 0) {
			c->end += (size_t)n;
			moved = true;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			s->kernel_closed = true;
		}
	}
	*ret_fault = filter_commands(s, now);
	if (*ret_fault || c->at == c->passed)
		return moved;
	n = channel_write(s->session.channel, c->bytes + c->at, c->passed - c->at);
	if (n <= 0)
		return moved;
	c->at += (size_t)n;
	s->session.bytes_from_target += (uint64_t)n;
	return true;
}

static int filter_replies(struct import_session *s, uint64_t now)
{
	struct flow *r = &s->replies;
	uint8_t pdu[USBIP_HEADER];
	size_t pass = 0;
	int fault;

	do {
		bool inserted = false;

		while (flow_has_insert_room(r) && import_filter_insert_reply(&s->filter, pdu)) {
			flow_insert(r, pdu);
			inserted = true;
		}
		fault = import_filter_replies(&s->filter, r->bytes + r->passed, r->end - r->passed, now, &pass);
		r->passed += pass;
		if (fault)
			return fault;
		if (!inserted && pass == 0)
			return 0;
	} while (s->filter.n_refused > 0);
	return 0;
}

/* The exporter's answers to the kernel. */
static bool move_replies(struct import_session *s, uint64_t now, int *ret_fault)
{
	struct flow *r = &s->replies;
	size_t room = flow_room(r);
	bool moved = false;
	ssize_t n;

	if (room > 0) {
		n = channel_read(s->session.channel, r->bytes + r->end, room);
		if (n > 0) {
			r->end += (size_t)n;
			s->session.bytes_to_target += (uint64_t)n;
			moved = true;
		}
	}
	*ret_fault = filter_replies(s, now);
	if (*ret_fault || r->at == r->passed)
		return moved;
	n = send(PROXY_FD_DATA, r->bytes + r->at, r->passed - r->at, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0) {
		r->at += (size_t)n;
		return true;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		s->kernel_closed = true;
	else
		import_filter_defer(&s->filter, now);
	return moved;
}

/*
 * Moves everything that can be moved, which may be without end: the other qube decides that, so the agent's word and the
 * time that is up are looked for in each round. OUTCOME_COUNT: the session goes on.
 */
static enum outcome pump(struct import_session *s)
{
	bool moved;

	do {
		uint64_t now = clock_monotonic_usec();
		int fault = import_filter_expire(&s->filter, now);

		if (fault)
			return cut(fault);
		if (session_is_stopped(&s->session))
			return OUTCOME_STOPPED;
		session_tell(&s->session, s->filter.urb_index.n_used > 0);
		moved = move_replies(s, now, &fault);
		if (fault)
			return cut(fault);
		moved |= move_commands(s, now, &fault);
		if (fault)
			return cut(fault);
		if (s->kernel_closed)
			return OUTCOME_OK;
	} while (moved);
	return session_channel_outcome(&s->session);
}

static enum outcome pass_on(struct import_session *s)
{
	struct pollfd fds[SESSION_POLLFDS];

	for (;;) {
		enum outcome outcome = pump(s);
		short events = 0;
		int r;

		if (outcome != OUTCOME_COUNT)
			return outcome;
		session_tell(&s->session, s->filter.urb_index.n_used > 0);
		if (flow_room(&s->commands) > 0)
			events |= POLLIN;
		if (s->replies.at < s->replies.passed)
			events |= POLLOUT;
		fds[0] = (struct pollfd){.fd = PROXY_FD_DATA, .events = events};
		r = session_wait(&s->session, fds, 1, flow_room(&s->replies) > 0, s->commands.at < s->commands.passed,
				 import_filter_deadline(&s->filter));
		if (r < 0) {
			log_error("waiting failed: %s", strerror(-r));
			return OUTCOME_INTERNAL;
		}
		if (s->session.stopped)
			return OUTCOME_STOPPED;
		if (fds[0].revents & (POLLHUP | POLLERR))
			return OUTCOME_OK; /* the kernel let go of the port; what it asked before has no one to go to */
	}
}

/* True: all of it was sent before `give_up_usec`. */
static bool send_all(const uint8_t *bytes, size_t len, uint64_t give_up_usec)
{
	while (len > 0) {
		ssize_t n = send(PROXY_FD_DATA, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		struct pollfd fd = {.fd = PROXY_FD_DATA, .events = POLLOUT};
		uint64_t now = clock_monotonic_usec();

		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
			continue;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR) || now >= give_up_usec ||
		    poll(&fd, 1, (int)((give_up_usec - now) / USEC_PER_MSEC) + 1) < 0)
			return false;
	}
	return true;
}

/* Answers all that the kernel waits for. False: it does not take the answers. */
static bool answer_all(struct import_session *s, uint64_t give_up_usec)
{
	static uint8_t bytes[IMPORT_LET_GO_MAX];
	size_t n;

	while (import_filter_insert_reply(&s->filter, bytes))
		if (!send_all(bytes, USBIP_HEADER, give_up_usec))
			return false;
	while ((n = import_filter_let_go(&s->filter, bytes)) > 0)
		if (!send_all(bytes, n, give_up_usec))
			return false;
	return true;
}

/* Requests that came meanwhile; they go nowhere. False: none came for a while, or the kernel let go of the port. */
static bool take_more(struct import_session *s)
{
	struct pollfd fd = {.fd = PROXY_FD_DATA, .events = POLLIN};
	struct flow *c = &s->commands;
	size_t room = flow_room(c);
	ssize_t n;

	if (room == 0 || poll(&fd, 1, LET_GO_QUIET_MSEC) <= 0 || (fd.revents & (POLLHUP | POLLERR)))
		return false;
	n = recv(PROXY_FD_DATA, c->bytes + c->end, room, MSG_DONTWAIT);
	if (n <= 0)
		return false;
	c->end += (size_t)n;
	if (filter_commands(s, clock_monotonic_usec()))
		return false;
	c->at = c->passed;
	return true;
}

/*
 * What the kernel still waits for ends as if the device were pulled out, and what it then tries again, until it has nothing
 * outstanding when its socket is closed: what was would only end by its time-outs, with the hub's thread waiting.
 */
static void let_go(struct import_session *s)
{
	uint64_t give_up = clock_monotonic_usec() + LET_GO_USEC;
	const struct flow *r = &s->replies;

	if (s->kernel_closed || !send_all(r->bytes + r->at, r->passed - r->at, give_up))
		return;
	s->commands.at = s->commands.passed;
	while (answer_all(s, give_up) && clock_monotonic_usec() < give_up && take_more(s))
		continue;
}

static enum outcome serve(void *userdata)
{
	struct import_session *s = userdata;
	enum outcome outcome;

	import_filter_init(&s->filter, &s->snapshot);
	outcome = pass_on(s);
	let_go(s);
	return outcome;
}

int import_run(const struct usb_options *options)
{
	static const struct session_steps steps = {.set_up = set_up, .greet = greet, .serve = serve};
	static struct import_session s;

	s.options = options;
	s.session.options = &options->session;
	s.commands = (struct flow){.bytes = s.command_bytes, .size = COMMANDS_SIZE};
	s.replies = (struct flow){.bytes = s.reply_bytes, .size = REPLIES_SIZE};
	return session_run(&s.session, &steps, &s);
}
