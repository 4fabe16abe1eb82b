/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See the header. Every wait of a session is session_wait(), and every loop that does not wait asks session_is_stopped(), so
 * that the agent's STOP is heard in each state.
 */
#include <errno.h>
#include <sys/socket.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/limits.h"
#include "lib/base/log.h"
#include "proxies/usb/session.h"

#define FINISH_USEC (200 * USEC_PER_MSEC) /* a peer that does not read gets no longer to hear the end */

const struct channel_rings session_rings = {.read = RING_BULK_OUT, .write = RING_BULK_IN};

int session_report(enum proxy_report_type type, uint8_t speed, uint32_t devid)
{
	const struct proxy_report report = {.type = (uint8_t)type, .speed = speed, .devid = devid};

	return proxy_report_send(PROXY_FD_REPORT, &report);
}

/* The agent's end has something: its word, or its death. Anything else is ignored. */
static bool stop_was_said(void)
{
	char word[2];
	ssize_t n = recv(PROXY_FD_REPORT, word, sizeof(word), MSG_DONTWAIT);

	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	return n == 0 || (n == 1 && word[0] == PROXY_STOP);
}

bool session_is_stopped(struct session *session)
{
	session->stopped = session->stopped || stop_was_said();
	return session->stopped;
}

static bool has_news(const struct session *session)
{
	return session->in_use != session->told.in_use || session->bytes_to_target != session->told.bytes_to_target ||
	       session->bytes_from_target != session->told.bytes_from_target;
}

/* When the agent may hear the news; UINT64_MAX: there are none. */
static uint64_t news_usec(const struct session *session)
{
	return has_news(session) ? session->told.usec + STREAM_INTERVAL_USEC : UINT64_MAX;
}

void session_tell(struct session *session, bool in_use)
{
	struct proxy_report report = {.type = PROXY_STREAM, .in_use = in_use};
	uint64_t now;

	session->in_use = in_use;
	if (!has_news(session))
		return;
	now = clock_monotonic_usec();
	if (session->told.usec != 0 && now < news_usec(session))
		return;
	report.bytes_to_target = session->bytes_to_target;
	report.bytes_from_target = session->bytes_from_target;
	session->told.usec = now;
	if (proxy_report_send(PROXY_FD_REPORT, &report) < 0)
		return; /* it has not read the last ones: the next time */
	session->told.bytes_to_target = session->bytes_to_target;
	session->told.bytes_from_target = session->bytes_from_target;
	session->told.in_use = in_use;
}

static int timeout_of(uint64_t deadline_usec)
{
	uint64_t now = clock_monotonic_usec();
	uint64_t msec;

	if (deadline_usec == UINT64_MAX)
		return -1;
	if (deadline_usec <= now)
		return 0;
	msec = (deadline_usec - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
	return msec < 60000 ? (int)msec : 60000;
}

int session_wait(struct session *session, struct pollfd *fds, int n_fds, bool want_read, bool want_write,
		 uint64_t deadline_usec)
{
	bool with_channel = want_read || want_write;
	uint64_t tell_usec = news_usec(session);
	int n = n_fds;

	if (tell_usec < deadline_usec)
		deadline_usec = tell_usec;
	fds[n++] = (struct pollfd){.fd = PROXY_FD_REPORT, .events = POLLIN};
	if (with_channel)
		fds[n++] = (struct pollfd){
			.fd = channel_fd(session->channel),
			.events = channel_poll_events(session->channel, want_write),
		};
	if (poll(fds, (nfds_t)n, timeout_of(deadline_usec)) < 0) {
		for (int i = 0; i < n; i++)
			fds[i].revents = 0;
		return errno == EINTR ? 0 : -errno;
	}
	if (fds[n_fds].revents)
		(void)session_is_stopped(session);
	if (with_channel && fds[n_fds + 1].revents)
		return channel_dispatch(session->channel);
	return 0;
}

enum outcome session_channel_outcome(const struct session *session)
{
	switch (channel_state(session->channel)) {
	case CHANNEL_WAITING:
	case CHANNEL_OPEN:
		return OUTCOME_COUNT;
	case CHANNEL_ENDED:
		return OUTCOME_OK;
	case CHANNEL_DEAD:
		return OUTCOME_PEER_LOST;
	}
	return OUTCOME_INTERNAL;
}

/* A stream that is cut has no orderly end: the other side shall not take it for one. */
static bool is_cut(enum outcome outcome)
{
	return outcome == OUTCOME_PEER_CHEATED || outcome == OUTCOME_CHANGED || outcome == OUTCOME_TIMED_OUT;
}

void session_end(struct session *session, enum outcome outcome)
{
	const struct proxy_report report = {
		.type = PROXY_ENDED,
		.outcome = (uint8_t)outcome,
		.bytes_to_target = session->bytes_to_target,
		.bytes_from_target = session->bytes_from_target,
	};
	uint64_t give_up = clock_monotonic_usec() + FINISH_USEC;

	while (session->channel && channel_state(session->channel) == CHANNEL_OPEN && !is_cut(outcome)) {
		uint64_t now = clock_monotonic_usec();

		if (channel_finish(session->channel) != CHANNEL_NOT_YET || now >= give_up ||
		    channel_wait(session->channel, true, give_up - now) != 0)
			break;
	}
	if (outcome == OUTCOME_OK || outcome == OUTCOME_STOPPED)
		log_debug("session ended: %s", outcome_text(outcome));
	else
		log_notice("session ended: %s", outcome_text(outcome));
	(void)proxy_report_send(PROXY_FD_REPORT, &report);
	session->channel = channel_free(session->channel);
}
