/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The broker's end of the control channels: one per qube whose agent has published a port. Words of an agent become
 * core events, actions of the core become requests.
 *
 * No agent can hurt another or the broker: what it says is decoded by lib/wire and must fit the dialogue; it gets
 * LIMIT_PEER_EVENTS_PER_SEC (above it, it is not read until its share has grown again), LIMIT_PEER_REQUESTS requests at
 * a time, LIMIT_PEER_QUEUE bytes of waiting ones. Any fault ends the connection, and costs one line of the log and of the
 * audit, of which each qube has a few per minute; the next connection to it waits 1 to 30 s.
 *
 * No device can hurt another either: silence, a PING without PONG and faults end a connection, a request that stays
 * unanswered does not, until there are more of them than an honest agent can have.
 */
#pragma once

#include <systemd/sd-event.h>

#include "broker/core/core.h"
#include "lib/channel/channel.h"

struct agents;

struct agents_hooks {
	/* To the core, at once; returns what core_handle() returned. now_usec is set. May call agents_do(). */
	int (*event)(void *userdata, const struct core_event *event);
	/* A connection ended, and why; `n_left_out` earlier ends of this qube were not told. */
	void (*ended)(void *userdata, struct core_qube_ref qube, const char *sentence, unsigned int n_left_out);
};

/* `incarnation`: random, of this start of the broker. Takes no ownership. 0 or a negative errno. */
int agents_new(sd_event *event, struct channel_backend *backend, uint64_t incarnation, const struct agents_hooks *hooks,
	       void *userdata, struct agents **ret_agents);
struct agents *agents_free(struct agents *agents);

/* A qube lives, is gone (CORE_AGENT_LOST is not raised: tell the core of the qube), or listens at `port` (0: not). */
void agents_add(struct agents *agents, struct core_qube_ref qube, uint16_t domid, const char *name);
void agents_remove(struct agents *agents, struct core_qube_ref qube);
void agents_set_port(struct agents *agents, struct core_qube_ref qube, uint32_t port);

/*
 * Sends what a CORE_DO_EXPORT, _IMPORT, _STOP_SOURCE, _STOP_TARGET or _STOP_STRAY asks for. `peer_domid`: the other
 * end's domain of an EXPORT or IMPORT. Never calls a hook. A qube without connection: nothing happens.
 */
void agents_do(struct agents *agents, const struct core_action *action, uint16_t peer_domid);

/* The digest that an IMPORT of this device names: of the device, and of what was shown of it. */
void agents_approved(const struct core_device *device, uint8_t ret_digest[WIRE_DIGEST]);

/* The machine slept: nobody could speak meanwhile, so every wait for an agent begins anew. */
void agents_woke(struct agents *agents);
