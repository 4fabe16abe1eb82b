/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the server share: admin.c (connections, requests), admin-shares.c (how much of them is whose). No other
 * one needs it.
 */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "broker/io/admin-calls.h"
#include "broker/io/admin-listed.h"
#include "broker/io/admin-socket.h"
#include "lib/base/rate.h"

enum connection_state { READING, WAITING, VERIFYING, WRITING, LISTENING };

struct connection {
	struct admin *admin;
	enum connection_state state;
	int fd;
	uid_t uid;
	pid_t pid; /* for the log only */
	bool has_header;
	char qube[LIMIT_QUBE_NAME + 1]; /* when it has a header: for which qrexec asks; "": dom0 */
	sd_event_source *io, *timer;

	char *bytes; /* READING: the request; LISTENING: the queue; WRITING: what is left of the reply */
	size_t len, done;

	uint64_t token; /* WAITING */
	struct admin_subject subject;
	char filter[LIMIT_QUBE_NAME + 1]; /* LISTENING: events of this qube; "dom0": all */
	bool answers;                     /* LISTENING: to questions only, and answers them */
	struct audit_check *check;        /* VERIFYING */
	sd_event_source *on_check;
};

/* In log lines. */
#define CLIENT "uid %u pid %d%s%s"
#define CLIENT_OF(connection) \
	(connection)->uid, (connection)->pid, (connection)->qube[0] ? " for " : "", (connection)->qube

struct admin {
	sd_event *event;
	const struct core *core;
	struct admin_hooks hooks;
	void *userdata;

	struct admin_socket socket;
	sd_event_source *accept_source, *rest_timer;
	sd_event_source *on_answerers; /* some have gone: the broker is told from the loop, not from inside the core */
	unsigned int n_answerers;      /* as the broker knows */

	struct connection *connections[LIMIT_ADMIN_CONNECTIONS];
	size_t n_connections;
	uint64_t last_token;
	struct admin_listed *listed;
	struct admin_rates {
		char qube[LIMIT_QUBE_NAME + 1];
		struct rate calls, seldom, lines;
	} rates[LIMIT_QUBES]; /* those that called last */
	char reply[LIMIT_ADMIN_REPLY];
};

struct connection *connection_free(struct connection *connection); /* NULL is fine; always NULL */
