// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections to agents: when to connect, when to cut, what waits for what. What the messages mean is in
 * agents-dialogue.c.
 *
 * Invariants: everything that ends a connection goes through peer_end(), once per connection, from the event loop only
 * (never from inside agents_do(), which the core's emit() calls): deeper code notes peer->end and returns. One timer
 * per peer serves all of its time-outs.
 */
#include "broker/io/agents.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/agents-peer.h"
#include "broker/io/clock.h"
#include "lib/base/base.h"
#include "lib/base/log.h"

#define RETRY_FIRST_USEC (100 * USEC_PER_MSEC) /* nobody listens there yet */
#define RETRY_LAST_USEC (2 * USEC_PER_SEC)
#define BACKOFF_FIRST_USEC (1 * USEC_PER_SEC) /* after a connection that ended */
#define BACKOFF_LAST_USEC (30 * USEC_PER_SEC)
#define STEADY_USEC (60 * USEC_PER_SEC) /* a connection that lasted so long begins with the first back-off again */
#define LINES_BURST 5u                  /* ends of one qube's connections that are told */
#define LINES_REFILL_USEC (60 * USEC_PER_SEC)

struct agents {
	sd_event *event;
	struct channel_backend *backend;
	struct peer peers[LIMIT_QUBES];
};

/* The one place that says what is wrong with a peer; faults of single frames have lib/wire's sentences. */
static const char *const end_sentences[] = {
	[END_CLOSED] = "the agent went away",
	[END_REPLACED] = "the agent listens at another port now",
	[END_FRAMING] = "it broke the channel's framing",
	[END_VERSION] = "it speaks another version of the protocol",
	[END_ROLES] = "it says HELLO with roles that do not exist",
	[END_NO_LIST] = "it did not say HELLO and list its devices in time",
	[END_HALF_MESSAGE] = "it began a message and did not end it in time",
	[END_SILENT] = "it was silent for too long",
	[END_NO_PONG] = "it does not answer when it is asked whether it is there",
	[END_OWES_TOO_MUCH] = "it owes more answers than it can have sessions",
	[END_DOES_NOT_READ] = "it does not keep up with its requests",
	[END_NO_REQUEST] = "it answered what it was not asked",
	[END_PORT] = "a device's port is not one",
	[END_PATH] = "a device's path is not one",
	[END_PARENT] = "a device is said to be a part of what it cannot be a part of",
	[END_DEVICE] = "a device's messages do not belong together",
	[END_LIST] = "a list ended that had not begun",
	[END_CONTRADICTION] = "it contradicts what it said about its devices or streams",
	[END_CHANNEL] = "the channel failed",
};

static const char *sentence_of(int end)
{
	if (end >= END_CLOSED && end < END_COUNT)
		return end_sentences[end];
	return wire_fault_text(end);
}

static void arm_timer(struct peer *peer);

/* Ends of connections are told LINES_BURST at once, then one per LINES_REFILL_USEC: a hostile agent has many. */
static bool may_tell(struct peer *peer, uint64_t now)
{
	uint64_t refilled = (now - peer->lines_since_usec) / LINES_REFILL_USEC;

	if (refilled > 0) {
		peer->lines_since_usec = now;
		peer->n_lines = refilled >= peer->n_lines ? 0 : peer->n_lines - (unsigned int)refilled;
	}
	if (peer->n_lines >= LINES_BURST) {
		peer->n_left_out++;
		return false;
	}
	peer->n_lines++;
	return true;
}

static void drop_channel(struct peer *peer)
{
	peer->on_io = sd_event_source_disable_unref(peer->on_io);
	peer->channel = channel_free(peer->channel);
	memset(&peer->c, 0, sizeof(peer->c));
}

/* Ends the connection: what, to whom, and when to try again. */
static void peer_end(struct peer *peer, int end)
{
	uint64_t now = clock_now_usec();
	bool ready = peer->c.state != WIRE_IN_NEW;
	unsigned int n_left_out = peer->n_left_out;

	peer->backoff_usec = now - peer->connected_usec >= STEADY_USEC || peer->backoff_usec == 0
				     ? BACKOFF_FIRST_USEC
				     : peer->backoff_usec * 2;
	if (peer->backoff_usec > BACKOFF_LAST_USEC)
		peer->backoff_usec = BACKOFF_LAST_USEC;
	peer->connect_usec = now + peer->backoff_usec;
	if (end == END_REPLACED) {
		peer->backoff_usec = 0;
		peer->connect_usec = peer->connected_usec + BACKOFF_FIRST_USEC;
	}
	drop_channel(peer);
	if (may_tell(peer, now)) {
		log_warning("qube %s: connection to its agent ended: %s%s", peer->name, sentence_of(end),
			    n_left_out > 0 ? " (and others before)" : "");
		peer->n_left_out = 0;
		peer->hooks->ended(peer->userdata, peer->ref, sentence_of(end), n_left_out);
	}
	if (ready)
		(void)peer->hooks->event(
			peer->userdata,
			&(struct core_event){.type = CORE_AGENT_LOST, .now_usec = now, .qube = peer->ref});
}

static void flush(struct peer *peer)
{
	while (peer->c.out_len > 0) {
		ssize_t n = channel_write(peer->channel, peer->c.out, peer->c.out_len);

		if (n <= 0)
			return; /* a channel that died says so when it is read */
		peer->c.out_len -= (size_t)n;
		memmove(peer->c.out, peer->c.out + n, peer->c.out_len);
	}
}

/* Reads while there is something and the peer's share lasts. */
static void receive(struct peer *peer, uint64_t now)
{
	struct connection *c = &peer->c;

	for (;;) {
		ssize_t n;

		dialogue_take_in(peer, now);
		if (peer->end || c->throttled_until_usec > now)
			return;
		n = channel_read(peer->channel, c->in + c->in_len, sizeof(c->in) - c->in_len);
		if (n < 0)
			peer->end = n == -EPROTO ? END_FRAMING : END_CHANNEL;
		if (n == 0 && channel_state(peer->channel) != CHANNEL_OPEN)
			peer->end = END_CLOSED;
		if (n <= 0)
			return;
		if (c->in_len == 0)
			c->in_since_usec = now;
		c->in_len += (size_t)n;
	}
}

/* All that a connection can do now. The only caller of peer_end() for a connection that lives. */
static void run(struct peer *peer)
{
	uint64_t now = clock_now_usec();

	if (peer->channel && !peer->end && peer->c.throttled_until_usec <= now) {
		peer->c.throttled_until_usec = 0;
		receive(peer, now);
	}
	if (peer->channel && !peer->end)
		peer->end = dialogue_overdue(peer, now);
	if (peer->channel && !peer->end) {
		dialogue_send(peer, now);
		flush(peer);
	}
	if (peer->channel && peer->end)
		peer_end(peer, TAKE(peer->end, 0));
	if (peer->channel) {
		short events = channel_poll_events(peer->channel, peer->c.out_len > 0);

		(void)sd_event_source_set_io_events(peer->on_io, (uint32_t)(uint16_t)events);
		/* unread bytes would wake us again and again */
		(void)sd_event_source_set_enabled(peer->on_io,
						  peer->c.throttled_until_usec ? SD_EVENT_OFF : SD_EVENT_ON);
	}
	arm_timer(peer);
}

static int on_io(sd_event_source *io _unused_, int fd _unused_, uint32_t revents _unused_, void *userdata)
{
	struct peer *peer = userdata;

	if (channel_dispatch(peer->channel) < 0)
		peer->end = END_CHANNEL;
	run(peer);
	return 0;
}

static int open_channel(struct peer *peer)
{
	static const struct channel_rings most = {.read = RING_CONTROL, .write = RING_CONTROL};
	struct channel_address address = {.server_domid = peer->domid, .client_domid = 0};
	int r;

	(void)snprintf(address.service, sizeof(address.service), "device-agent/%u", peer->port);
	r = channel_connect(peer->agents->backend, &address, &most, &peer->channel);
	if (r != 0)
		return r;
	r = sd_event_add_io(peer->agents->event, &peer->on_io, channel_fd(peer->channel),
			    (uint32_t)(uint16_t)channel_poll_events(peer->channel, false), on_io, peer);
	if (r < 0)
		peer->channel = channel_free(peer->channel);
	return r;
}

static void try_connect(struct peer *peer, uint64_t now)
{
	int r = open_channel(peer);

	if (r == 0) {
		memset(&peer->c, 0, sizeof(peer->c));
		peer->c.state = WIRE_IN_NEW;
		peer->c.heard_usec = peer->c.credit_since_usec = now;
		peer->c.credit_usec = PEER_CREDIT_MAX_USEC;
		peer->connected_usec = now;
		peer->connect_usec = peer->retry_usec = 0;
		return;
	}
	if ((r < 0 || r == CHANNEL_TOO_LARGE) && may_tell(peer, now))
		log_warning("qube %s: no connection to its agent: %s", peer->name,
			    r < 0 ? strerror(-r) : "it wants more memory for the channel than an agent needs");
	peer->retry_usec = peer->retry_usec == 0 ? RETRY_FIRST_USEC : peer->retry_usec * 2;
	if (r != CHANNEL_NOT_YET || peer->retry_usec > RETRY_LAST_USEC)
		peer->retry_usec = RETRY_LAST_USEC;
	peer->connect_usec = now + peer->retry_usec;
}

static int on_timer(sd_event_source *timer _unused_, uint64_t usec _unused_, void *userdata)
{
	struct peer *peer = userdata;
	uint64_t now = clock_now_usec();

	if (!peer->channel && peer->port != 0 && peer->connect_usec <= now)
		try_connect(peer, now);
	run(peer);
	return 0;
}

static uint64_t next_deadline(const struct peer *peer)
{
	const struct connection *c = &peer->c;
	uint64_t next = UINT64_MAX;

	if (peer->end)
		return 0;
	if (!peer->channel)
		return peer->port != 0 ? peer->connect_usec : UINT64_MAX;
	clock_earlier(&next, c->throttled_until_usec);
	clock_earlier(&next, c->heard_usec + HEARTBEAT_LOST_USEC);
	if (c->state & (WIRE_IN_NEW | WIRE_IN_GREETED))
		clock_earlier(&next, peer->connected_usec + TIMEOUT_CONNECT_USEC);
	else
		clock_earlier(&next, c->ping_usec + (c->ping_id == 0 ? 0 : HEARTBEAT_PONG_USEC));
	if (c->throttled_until_usec == 0 && c->in_len > 0)
		clock_earlier(&next, c->in_since_usec + TIMEOUT_HEADER_USEC);
	clock_earlier(&next, c->place_usec);
	return next;
}

static void arm_timer(struct peer *peer)
{
	uint64_t next = next_deadline(peer);

	(void)sd_event_source_set_time(peer->on_timer, next == UINT64_MAX ? 0 : next);
	(void)sd_event_source_set_enabled(peer->on_timer, next == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static struct peer *find_peer(struct agents *agents, struct core_qube_ref qube)
{
	struct peer *peer = qube.index < LIMIT_QUBES ? &agents->peers[qube.index] : NULL;

	return peer && peer->used && peer->ref.incarnation == qube.incarnation ? peer : NULL;
}

void agents_do(struct agents *agents, const struct core_action *action, uint16_t peer_domid)
{
	struct peer *peer = find_peer(agents, action->qube);

	if (!peer || !peer->channel || peer->end)
		return;
	dialogue_request(peer, action, peer_domid);
	arm_timer(peer);
	/* the timer, not we: this may be called from inside this peer's own messages */
	(void)sd_event_source_set_time(peer->on_timer, 0);
	(void)sd_event_source_set_enabled(peer->on_timer, SD_EVENT_ONESHOT);
}

void agents_add(struct agents *agents, struct core_qube_ref qube, uint16_t domid, const char *name)
{
	struct peer *peer = &agents->peers[qube.index];

	if (peer->used)
		agents_remove(agents, peer->ref);
	peer->used = true;
	peer->ref = qube;
	peer->domid = domid;
	(void)snprintf(peer->name, sizeof(peer->name), "%s", name);
	peer->lines_since_usec = clock_now_usec();
}

void agents_remove(struct agents *agents, struct core_qube_ref qube)
{
	struct peer *peer = find_peer(agents, qube);

	if (!peer)
		return;
	drop_channel(peer);
	(void)sd_event_source_set_enabled(peer->on_timer, SD_EVENT_OFF);
	*peer = (struct peer){.agents = agents,
			      .hooks = peer->hooks,
			      .userdata = peer->userdata,
			      .incarnation = peer->incarnation,
			      .on_timer = peer->on_timer};
}

void agents_set_port(struct agents *agents, struct core_qube_ref qube, uint32_t port)
{
	struct peer *peer = find_peer(agents, qube);
	uint64_t now = clock_now_usec();

	if (!peer || peer->port == port)
		return;
	peer->port = port;
	if (port == 0)
		return; /* a living connection ends by itself */
	if (peer->channel) {
		peer->end = peer->end ? peer->end : END_REPLACED;
	} else {
		/* a new port is a new agent; but one that publishes ports all the time gains nothing by it */
		peer->backoff_usec = peer->retry_usec = 0;
		peer->connect_usec = now;
		if (peer->connected_usec != 0 && peer->connected_usec + BACKOFF_FIRST_USEC > now)
			peer->connect_usec = peer->connected_usec + BACKOFF_FIRST_USEC;
	}
	arm_timer(peer);
}

void agents_woke(struct agents *agents)
{
	uint64_t now = clock_now_usec();

	for (unsigned int i = 0; i < LIMIT_QUBES; i++) {
		struct peer *peer = &agents->peers[i];

		if (!peer->channel)
			continue;
		dialogue_woke(peer, now);
		arm_timer(peer);
	}
}

static void cleanup_agents(struct agents **agents)
{
	if (*agents)
		agents_free(*agents);
}

struct agents *agents_free(struct agents *agents)
{
	if (!agents)
		return NULL;
	for (unsigned int i = 0; i < LIMIT_QUBES; i++) {
		drop_channel(&agents->peers[i]);
		sd_event_source_disable_unref(agents->peers[i].on_timer);
	}
	free(agents);
	return NULL;
}

int agents_new(sd_event *event, struct channel_backend *backend, uint64_t incarnation, const struct agents_hooks *hooks,
	       void *userdata, struct agents **ret_agents)
{
	_cleanup_(cleanup_agents) struct agents *agents = calloc(1, sizeof(*agents));
	int r;

	if (!agents)
		return -ENOMEM;
	agents->event = event;
	agents->backend = backend;
	for (unsigned int i = 0; i < LIMIT_QUBES; i++) {
		struct peer *peer = &agents->peers[i];

		peer->agents = agents;
		peer->hooks = hooks;
		peer->userdata = userdata;
		peer->incarnation = incarnation;
		r = sd_event_add_time(event, &peer->on_timer, CLOCK_BROKER, 0, 1, on_timer, peer);
		if (r < 0)
			return r;
		(void)sd_event_source_set_enabled(peer->on_timer, SD_EVENT_OFF);
	}
	*ret_agents = TAKE_PTR(agents);
	return 0;
}
