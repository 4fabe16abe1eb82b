/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One session of sessions.h, its proxy and what it has in this qube: for sessions.c alone. */
#pragma once

#include "proxies/agent/machine.h"
#include "proxies/agent/sessions.h"
#include "proxies/agent/vhci.h"

struct session {
	struct sessions *owner;
	bool used;
	enum session_state state;
	enum wire_side side;
	uint64_t id;
	uint16_t peer;
	uint8_t digest[WIRE_DIGEST];
	uint8_t class_id;           /* enum wire_class */
	struct sound_server server; /* import of sound */
	int loopback;               /* import of a camera: the number of the device that was made for it; -1: none */
	uint16_t bus, dev;          /* export: the device */

	uint32_t request; /* to be answered; 0: none, or answered */
	uint32_t stops[LIMIT_PEER_REQUESTS];
	size_t n_stops;
	bool has_outcome;
	enum outcome outcome;
	uint64_t bytes_to_target, bytes_from_target;
	bool in_use;
	bool untold; /* the broker has not heard of the last three */

	sd_event_source *child, *report, *timer;
	int report_fd;
	unsigned int n_reports, n_streams; /* n_streams: reports of that type */
	uint64_t begun_usec;
	uint64_t deadline_usec; /* of the attach; of the removal of what its proxy left */
	uint64_t poll_usec;
	bool killed;
	bool muted;      /* an exporter passes nothing on */
	bool said_ended; /* it has removed what it had made */

	int vhci_fd; /* import: the kernel's end of the socket pair, until it is given away */
	uint8_t speed;
	uint32_t devid;
	bool has_port, detached;
	uint16_t port;
	char busid[LIMIT_PORT_TEXT];
};

struct sessions {
	struct sessions_settings settings;
	struct session table[LIMIT_SESSIONS];
	bool reserved_ports[VHCI_MAX_PORTS];
	struct vhci_status status;     /* scratch */
	sd_event_source *stream_timer; /* runs while a session is untold */
	size_t stream_turn;            /* who is told of first */
};

/*
 * Starts the proxy of a session that is in the table, with its numbers, what it is of and its first state set. Its outcome is said in
 * time, or at once that it failed.
 */
void session_begin(struct session *session, struct launch_proxy *proxy);

/* Tells its proxy; one that does not take its agent's word is killed. */
void session_mute(struct session *session, bool muted);

/* The broker wants it to end, or the agent ends. */
void session_stop(struct session *session);

/* At once, and nobody is told. */
void session_kill(struct session *session);

/* The other way: a session is untold. */
void sessions_tell_soon(struct sessions *sessions);
