/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all proxies share of a session: its channel, the one poll(2), the agent's word, the orderly end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <poll.h>

#include "lib/channel/channel.h"
#include "lib/proxy/report.h"
#include "lib/wire/messages.h"

#define SESSION_POLLFDS 16

struct session_options {
	const char *channel; /* "xen" or "socket:DIRECTORY" */
	const char *service;
	const char *user;
	uint16_t own, peer; /* domain ids */
};

struct session {
	const struct session_options *options;
	struct channel *channel;
	bool stopped;           /* by the agent, or because it is gone */
	uint64_t listened_usec; /* when session_was_stopped() did last */
	bool muted;             /* by the agent */
	uint64_t bytes_to_target, bytes_from_target;
	bool in_use;    /* by something in the target, as session_tell() heard last */
	uint8_t speed;  /* an importer's, for READY */
	uint32_t devid; /* the same */
	struct {
		uint64_t usec; /* 0: never */
		uint64_t bytes_to_target, bytes_from_target;
		bool in_use;
	} told; /* the agent */
};

/*
 * Opens the data channel, whose server is the exporter: what it asks for, and the most that an importer gives; connecting
 * takes TIMEOUT_CONNECT_USEC at most. 0, an outcome or a negative errno; why is logged.
 */
int session_listen(struct session *session, const struct channel_rings *rings);
int session_connect(struct session *session, const struct channel_rings *most);

/* Tells the agent that the channel is there. 0 or a negative errno. */
int session_report_listening(void);

/*
 * Waits for the first `n_fds` of `fds` (room for two more must follow), for the channel (unless neither reading nor
 * writing is wanted), for the agent and until `deadline_usec` (UINT64_MAX: none). Then the channel is dispatched and
 * `stopped` is set if it must be. 0 or a negative errno.
 */
int session_wait(struct session *session, struct pollfd *fds, int n_fds, bool want_read, bool want_write,
		 uint64_t deadline_usec);

/*
 * Sets and returns `stopped` without waiting. For loops that end only when the other qube lets them: after the agent's STOP
 * no more than what is being done is done.
 */
bool session_is_stopped(struct session *session);

/* The same, as it was a millisecond ago at most: for steps that are small and many. */
bool session_was_stopped(struct session *session);

/*
 * Tells the agent what was moved so far and whether the target uses the device, when that has changed and the last word is
 * STREAM_INTERVAL_USEC old; session_wait() ends when that time comes. While nothing changes nobody is woken.
 */
void session_tell(struct session *session, bool in_use);

/* One end of a session, of whatever class: each with the same userdata, in this order. */
struct session_steps {
	int (*set_up)(void *userdata);         /* up to the sandbox: 0, an outcome or a negative errno */
	enum outcome (*greet)(void *userdata); /* OUTCOME_COUNT: the other end is there and is the right one */
	enum outcome (*serve)(void *userdata);
	void (*clean_up)(void *userdata); /* whatever came of the two; NULL: nothing */
};

/*
 * Carries a session out, with READY between greet and serve, and at the end end-of-stream (unless the session is cut), as far as
 * the peer lets it, and the last word to the agent. The exit status.
 */
int session_run(struct session *session, const struct session_steps *steps, void *userdata);

/* The outcome of a channel that is no longer open; OUTCOME_COUNT while it is. */
enum outcome session_channel_outcome(const struct session *session);
