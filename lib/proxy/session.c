/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See the header. Every wait of a session is session_wait(), and every loop that does not wait asks session_is_stopped() or,
 * in small steps, session_was_stopped(), so that the agent's STOP is heard in each state.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/limits.h"
#include "lib/base/log.h"
#include "lib/proxy/session.h"

#define LISTEN_USEC (1 * USEC_PER_MSEC)
#define FINISH_USEC (200 * USEC_PER_MSEC) /* a peer that does not read gets no longer to hear the end */

static int open_backend(const struct session_options *options, struct channel_address *address,
			struct channel_backend **ret_backend)
{
	int r = channel_backend_new_from_text(options->channel, ret_backend);

	if (r)
		log_error("cannot use the channel: %s", strerror(-r));
	else
		memcpy(address->service, options->service, strlen(options->service) + 1);
	return r;
}

int session_listen(struct session *session, const struct channel_rings *rings)
{
	struct channel_address address = {.server_domid = session->options->own,
					  .client_domid = session->options->peer};
	struct channel_backend *backend = NULL;
	int r = open_backend(session->options, &address, &backend);

	if (r)
		return r;
	r = channel_listen(backend, &address, rings, &session->channel);
	if (r)
		log_error("cannot serve the channel: %s", strerror(-r));
	return r;
}

int session_connect(struct session *session, const struct channel_rings *most)
{
	struct channel_address address = {.server_domid = session->options->peer,
					  .client_domid = session->options->own};
	struct channel_backend *backend = NULL;
	int r = open_backend(session->options, &address, &backend);

	if (r)
		return r;
	r = channel_connect_wait(backend, &address, most, TIMEOUT_CONNECT_USEC, &session->channel);
	if (r == 0)
		return 0;
	log_error("cannot connect to the device qube: %s", r < 0 ? strerror(-r)
							   : r == CHANNEL_TOO_LARGE
								   ? "its channel is larger than an exporter's"
								   : "it does not serve us");
	return r < 0 ? r : (int)OUTCOME_NO_PEER;
}

int session_report_listening(void)
{
	const struct proxy_report report = {.type = PROXY_LISTENING};

	return proxy_report_send(PROXY_FD_REPORT, &report);
}

/* The agent's end may have something: its word, or its death. Anything else is ignored. */
static void listen_to_agent(struct session *session)
{
	char word[2];
	ssize_t n;

	n = recv(PROXY_FD_REPORT, word, sizeof(word), MSG_DONTWAIT);
	if (n < 0)
		session->stopped = errno != EAGAIN && errno != EINTR;
	else if (n == 0 || (n == 1 && word[0] == PROXY_STOP))
		session->stopped = true;
	else if (n == 1 && (word[0] == PROXY_MUTE || word[0] == PROXY_UNMUTE))
		session->muted = word[0] == PROXY_MUTE;
}

bool session_is_stopped(struct session *session)
{
	if (!session->stopped)
		listen_to_agent(session);
	return session->stopped;
}

bool session_was_stopped(struct session *session)
{
	uint64_t now = clock_monotonic_usec();

	if (now < session->listened_usec + LISTEN_USEC)
		return session->stopped;
	session->listened_usec = now;
	return session_is_stopped(session);
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
	if (session->stopped) /* since the last wait: that word wakes nobody again */
		deadline_usec = 0;
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

static void end(struct session *session, enum outcome outcome)
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

int session_run(struct session *session, const struct session_steps *steps, void *userdata)
{
	struct proxy_report ready = {.type = PROXY_READY};
	enum outcome outcome;
	int r = steps->set_up(userdata);

	if (r) {
		end(session, r > 0 ? (enum outcome)r : OUTCOME_INTERNAL);
		return EXIT_FAILURE;
	}
	outcome = steps->greet(userdata);
	if (outcome == OUTCOME_COUNT) {
		ready.speed = session->speed;
		ready.devid = session->devid;
		outcome = proxy_report_send(PROXY_FD_REPORT, &ready) < 0 ? OUTCOME_STOPPED : steps->serve(userdata);
	}
	if (steps->clean_up)
		steps->clean_up(userdata);
	end(session, outcome);
	return EXIT_SUCCESS;
}
