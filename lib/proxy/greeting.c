/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See greeting.h. */
#include "lib/proxy/greeting.h"

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/limits.h"

static enum outcome wait_once(const struct greeting *greeting, uint64_t deadline_usec)
{
	struct pollfd fds[2];

	if (greeting->wait)
		return greeting->wait(greeting->userdata, deadline_usec);
	if (session_wait(greeting->session, fds, 0, true, false, deadline_usec) < 0)
		return OUTCOME_INTERNAL;
	return greeting->session->stopped ? OUTCOME_STOPPED : OUTCOME_COUNT;
}

enum outcome greeting_read(const struct greeting *greeting, uint8_t *bytes, size_t len, uint64_t deadline_usec)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = channel_read(greeting->session->channel, bytes + got, len - got);
		enum outcome outcome;

		if (n > 0) {
			got += (size_t)n;
			continue;
		}
		outcome = session_channel_outcome(greeting->session);
		if (outcome == OUTCOME_COUNT)
			outcome = wait_once(greeting, deadline_usec);
		if (outcome != OUTCOME_COUNT)
			return outcome == OUTCOME_OK ? OUTCOME_PEER_LOST : outcome;
		if (clock_monotonic_usec() >= deadline_usec)
			return OUTCOME_TIMED_OUT;
	}
	return OUTCOME_COUNT;
}

enum outcome greeting_send(const struct greeting *greeting, const uint8_t *hello, size_t len,
			   enum outcome (*take)(void *userdata), const bool *going)
{
	struct channel *channel = greeting->session->channel;
	uint64_t deadline = clock_monotonic_usec() + TIMEOUT_CONNECT_USEC;
	enum outcome outcome = OUTCOME_COUNT;
	bool sent = false;

	while (outcome == OUTCOME_COUNT && !*going) {
		bool waiting = channel_state(channel) == CHANNEL_WAITING;

		if (!waiting && !sent) {
			sent = channel_write(channel, hello, len) == (ssize_t)len;
			deadline = clock_monotonic_usec() + TIMEOUT_CONNECT_USEC;
			if (!sent)
				return OUTCOME_PEER_LOST; /* a ring that is new has room for it */
		}
		if (clock_monotonic_usec() >= deadline)
			return waiting ? OUTCOME_NO_PEER : OUTCOME_TIMED_OUT;
		if (sent) /* before each wait: what came with the importer wakes nobody again */
			outcome = take(greeting->userdata);
		if (outcome == OUTCOME_COUNT && !*going)
			outcome = wait_once(greeting, deadline);
	}
	return outcome;
}
