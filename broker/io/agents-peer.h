/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One qube's agent as the broker sees it: what agents.c (connections) and agents-dialogue.c (messages) share.
 */
#pragma once

#include "broker/io/agents.h"
#include "lib/wire/messages.h"

/* Requests that wait to be sent. */
#define PEER_WAITING (LIMIT_PEER_QUEUE / LIMIT_FRAME)
/* Requests that may be without an answer: those on their way, and two of each session that an agent can have. */
#define PEER_REQUESTS (LIMIT_PEER_REQUESTS + 3 * LIMIT_SESSIONS)
/* The share of events as time: each costs PEER_EVENT_USEC of what has passed. */
#define PEER_EVENT_USEC (USEC_PER_SEC / LIMIT_PEER_EVENTS_PER_SEC)
#define PEER_CREDIT_MAX_USEC (LIMIT_PEER_EVENTS_BURST * PEER_EVENT_USEC)

/* Why a connection ends: a wire_fault or one of these. 0: it does not. */
enum peer_end {
	END_CLOSED = WIRE_BAD_FIELD + 1,
	END_REPLACED,
	END_FRAMING,
	END_VERSION,
	END_ROLES,
	END_NO_LIST,
	END_HALF_MESSAGE,
	END_SILENT,
	END_NO_PONG,
	END_OWES_TOO_MUCH,
	END_DOES_NOT_READ,
	END_NO_REQUEST,
	END_DEVICE,
	END_PORT,
	END_PATH,
	END_PARENT,
	END_LIST,
	END_CONTRADICTION,
	END_CHANNEL,
	END_COUNT,
};

/*
 * A request that was sent and is not answered. id 0: free. It takes one of the LIMIT_PEER_REQUESTS places until
 * TIMEOUT_PLACE_USEC have passed; its answer may come at any time after that.
 */
struct peer_request {
	uint32_t id;
	enum wire_type type;
	uint64_t session;
	uint64_t since_usec;
};

/* All of one connection; zeroed when it ends. */
struct connection {
	enum wire_states state;
	uint64_t heard_usec;    /* its last whole message */
	uint64_t in_since_usec; /* the first byte of what is in `in` */
	size_t in_len, out_len;

	uint64_t credit_usec, credit_since_usec;
	uint64_t throttled_until_usec; /* 0: not */

	uint32_t last_id;
	struct peer_request requests[PEER_REQUESTS];
	uint64_t place_usec; /* when a place comes free for what waits; 0: nothing waits for one */
	uint32_t ping_id;    /* 0: none is under way */
	uint64_t ping_nonce;
	uint64_t ping_usec; /* when the next is due */

	uint32_t list_serial;
	uint8_t device_texts; /* bits of enum wire_text: given already */
	struct core_event device;

	unsigned int n_waiting;
	struct wire_message waiting[PEER_WAITING];
	uint8_t in[4 * LIMIT_FRAME];
	uint8_t out[8 * LIMIT_FRAME];
};

struct peer {
	bool used;
	struct agents *agents;
	const struct agents_hooks *hooks;
	void *userdata;
	uint64_t incarnation; /* the broker's */
	struct core_qube_ref ref;
	uint16_t domid;
	char name[LIMIT_QUBE_NAME + 1];

	uint32_t port;         /* 0: none published */
	uint64_t connect_usec; /* without a channel: when to try */
	uint64_t connected_usec;
	uint64_t retry_usec, backoff_usec;
	unsigned int n_lines, n_left_out;
	uint64_t lines_since_usec;

	int end; /* why this connection is to end */
	struct channel *channel;
	sd_event_source *on_io, *on_timer;
	struct connection c;
};

/* Handles the whole messages in c.in as far as the peer's share lasts; on a fault peer->end is set. */
void dialogue_take_in(struct peer *peer, uint64_t now_usec);

/* Which time-out has passed; 0: none. */
int dialogue_overdue(const struct peer *peer, uint64_t now_usec);

/* The machine slept, and nobody could speak: every wait begins anew. */
void dialogue_woke(struct peer *peer, uint64_t now_usec);

/* Moves what may be sent now into c.out. */
void dialogue_send(struct peer *peer, uint64_t now_usec);

/* Queues the request of a core action. */
void dialogue_request(struct peer *peer, const struct core_action *action, uint16_t peer_domid);
