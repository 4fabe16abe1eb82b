// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an agent's messages mean to the core, and the core's actions to an agent.
 *
 * Requests leave in order, but for STOP, which goes first: an attach that hangs must not delay a detach. So EXPORT and
 * IMPORT leave one of the LIMIT_PEER_REQUESTS places free, and a STOP takes its session's unsent EXPORT or IMPORT out of
 * the queue, so that nothing starts after it. None is sent before the agent's first list has begun, because an answer
 * is not permitted before.
 *
 * A request that is not answered gives its place to others after TIMEOUT_PLACE_USEC, so that a device that hangs delays no
 * other; its answer is taken whenever it comes. While a STOP is unanswered, the session's next one is not sent: it could
 * prove no more. So an honest agent owes two answers per session at most, and PEER_REQUESTS bounds what another may owe.
 */
#include <string.h>

#include "broker/io/agents-peer.h"
#include "lib/base/base.h"
#include "lib/base/text.h"
#include "lib/digest/digest.h"

static int tell_core(struct peer *peer, struct core_event *event, uint64_t now)
{
	event->now_usec = now;
	event->qube = peer->ref;
	return peer->hooks->event(peer->userdata, event) == CORE_EVENT_CHEATED ? END_CONTRADICTION : 0;
}

static int tell_core_session(struct peer *peer, enum core_event_type type, uint64_t session, enum outcome outcome,
			     uint64_t now)
{
	struct core_event event = {.type = type};

	event.session.session = session;
	event.session.outcome = outcome;
	return tell_core(peer, &event, now);
}

static uint32_t next_id(struct connection *c)
{
	bool taken;

	do {
		c->last_id = c->last_id == UINT32_MAX ? 1 : c->last_id + 1;
		taken = c->last_id == c->ping_id;
		for (unsigned int i = 0; i < ARRAY_SIZE(c->requests); i++)
			taken = taken || c->requests[i].id == c->last_id;
	} while (taken);
	return c->last_id;
}

static bool put_out(struct connection *c, const struct wire_message *message)
{
	if (sizeof(c->out) - c->out_len < LIMIT_FRAME)
		return false;
	c->out_len += wire_encode(message, c->out + c->out_len);
	return true;
}

/* ---- what comes in; each handler returns 0 or an enum peer_end --------------------------------------------------- */

static int on_hello(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	struct wire_message welcome = {.type = WIRE_WELCOME};
	struct core_event event = {.type = CORE_AGENT_READY};

	if (m->HELLO.version != WIRE_VERSION)
		return END_VERSION;
	if (m->HELLO.roles & ~WIRE_ROLES)
		return END_ROLES;
	welcome.WELCOME.version = WIRE_VERSION;
	welcome.WELCOME.incarnation = peer->incarnation;
	welcome.WELCOME.domid = peer->domid;
	if (!put_out(&peer->c, &welcome))
		return END_DOES_NOT_READ;
	peer->c.ping_usec = now + HEARTBEAT_USEC;
	event.agent_ready.roles = m->HELLO.roles;
	event.agent_ready.incarnation = m->HELLO.incarnation;
	return tell_core(peer, &event, now);
}

static int on_session(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	struct core_event event = {.type = CORE_AGENT_SESSION};

	event.agent_session.session = m->SESSION.session;
	event.agent_session.side = m->SESSION.side;
	event.agent_session.peer = m->SESSION.peer;
	memcpy(event.agent_session.digest, m->SESSION.digest, sizeof(event.agent_session.digest));
	event.agent_session.muted = m->SESSION.muted;
	return tell_core(peer, &event, now);
}

static int on_list_begin(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	peer->c.list_serial = m->LIST_BEGIN.serial;
	return tell_core(peer, &(struct core_event){.type = CORE_LIST_BEGIN}, now);
}

static int on_list_end(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	if (m->LIST_END.serial != peer->c.list_serial)
		return END_LIST;
	return tell_core(peer, &(struct core_event){.type = CORE_LIST_END}, now);
}

static int on_device(struct peer *peer, const struct wire_message *m, uint64_t now _unused_)
{
	struct core_device *device = &peer->c.device.device;

	if (!wire_is_port(m->DEVICE.class, m->DEVICE.port) ||
	    (peer->domid != 0 && strcmp(m->DEVICE.port, TEXT_DOM0_MIC) == 0))
		return END_PORT;
	peer->c.device = (struct core_event){.type = CORE_DEVICE};
	peer->c.device_texts = 0;
	device->ref.slot = m->DEVICE.slot;
	device->ref.generation = m->DEVICE.generation;
	device->class_id = m->DEVICE.class;
	device->speed = m->DEVICE.speed;
	device->vendor = m->DEVICE.vendor;
	device->product = m->DEVICE.product;
	device->n_interfaces = m->DEVICE.n_interfaces;
	_Static_assert(sizeof(device->interfaces) == sizeof(m->DEVICE.interfaces), "the same on the wire");
	memcpy(device->interfaces, m->DEVICE.interfaces, sizeof(device->interfaces));
	memcpy(device->digest, m->DEVICE.digest, sizeof(device->digest));
	memcpy(device->port, m->DEVICE.port, sizeof(device->port));
	return 0;
}

static bool is_of_device(const struct peer *peer, uint16_t slot, uint32_t generation)
{
	return peer->c.device.device.ref.slot == slot && peer->c.device.device.ref.generation == generation;
}

static int on_device_text(struct peer *peer, const struct wire_message *m, uint64_t now _unused_)
{
	struct core_device *device = &peer->c.device.device;
	char *const texts[] = {[WIRE_TEXT_SERIAL] = device->serial,
			       [WIRE_TEXT_MANUFACTURER] = device->manufacturer,
			       [WIRE_TEXT_PRODUCT] = device->product_name,
			       [WIRE_TEXT_PATH] = device->path,
			       [WIRE_TEXT_PARENT] = device->parent};
	uint8_t bit = (uint8_t)(1u << m->DEVICE_TEXT.which);

	if (!is_of_device(peer, m->DEVICE_TEXT.slot, m->DEVICE_TEXT.generation) || peer->c.device_texts & bit)
		return END_DEVICE;
	peer->c.device_texts |= bit;
	if (m->DEVICE_TEXT.which == WIRE_TEXT_PATH && !text_is_path(m->DEVICE_TEXT.text))
		return END_PATH;
	if (m->DEVICE_TEXT.which == WIRE_TEXT_PARENT &&
	    !(wire_may_be_part(device->class_id) && text_is_usb_port(m->DEVICE_TEXT.text)))
		return END_PARENT;
	memcpy(texts[m->DEVICE_TEXT.which], m->DEVICE_TEXT.text, strlen(m->DEVICE_TEXT.text));
	return 0;
}

static int on_device_commit(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	if (!is_of_device(peer, m->DEVICE_COMMIT.slot, m->DEVICE_COMMIT.generation))
		return END_DEVICE;
	return tell_core(peer, &peer->c.device, now);
}

static int on_device_gone(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	struct core_event event = {.type = CORE_DEVICE_GONE};

	event.gone.slot = m->DEVICE_GONE.slot;
	event.gone.generation = m->DEVICE_GONE.generation;
	return tell_core(peer, &event, now);
}

static int on_ended(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	return tell_core_session(peer, CORE_ENDED, m->ENDED.session, (enum outcome)m->ENDED.outcome, now);
}

static int on_stream(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	struct core_event event = {.type = CORE_STREAM};

	event.stream.session = m->STREAM.session;
	event.stream.side = m->STREAM.side;
	event.stream.in_use = m->STREAM.in_use;
	event.stream.bytes_to_target = m->STREAM.bytes_to_target;
	event.stream.bytes_from_target = m->STREAM.bytes_from_target;
	return tell_core(peer, &event, now);
}

/* Finds and frees the request that `m` answers; false: there is none with that number, kind and session. */
static bool take_request(struct peer *peer, uint32_t id, uint64_t session, enum wire_type a, enum wire_type b,
			 enum wire_type *ret_type)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(peer->c.requests); i++) {
		struct peer_request *request = &peer->c.requests[i];

		if (request->id != id || request->session != session || (request->type != a && request->type != b))
			continue;
		*ret_type = request->type;
		*request = (struct peer_request){0};
		return true;
	}
	return false;
}

static int on_exported(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	enum wire_type type;

	if (!take_request(peer, m->id, m->EXPORTED.session, WIRE_EXPORT, WIRE_EXPORT, &type))
		return END_NO_REQUEST;
	return tell_core_session(peer, CORE_EXPORTED, m->EXPORTED.session, OUTCOME_OK, now);
}

static int on_imported(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	enum wire_type type;

	if (!take_request(peer, m->id, m->IMPORTED.session, WIRE_IMPORT, WIRE_IMPORT, &type))
		return END_NO_REQUEST;
	return tell_core_session(peer, CORE_IMPORTED, m->IMPORTED.session, OUTCOME_OK, now);
}

static int on_stopped(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	enum wire_type type;

	if (!take_request(peer, m->id, m->STOPPED.session, WIRE_STOP, WIRE_STOP, &type))
		return END_NO_REQUEST;
	return tell_core_session(peer, CORE_STOPPED, m->STOPPED.session, OUTCOME_OK, now);
}

/* A STOP that failed proves nothing, so the core is not told: its own time-out is the answer. */
static int on_failed(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	uint64_t session = m->FAILED.session;
	enum wire_type type;

	if (take_request(peer, m->id, session, WIRE_STOP, WIRE_STOP, &type))
		return 0;
	if (!take_request(peer, m->id, session, WIRE_EXPORT, WIRE_IMPORT, &type))
		return END_NO_REQUEST;
	return tell_core_session(peer, CORE_FAILED, session, (enum outcome)m->FAILED.outcome, now);
}

static int on_muted(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	struct core_event event = {.type = CORE_MUTED};
	enum wire_type type;

	if (!take_request(peer, m->id, m->MUTED.session, WIRE_MUTE, WIRE_MUTE, &type))
		return END_NO_REQUEST;
	event.muted.session = m->MUTED.session;
	event.muted.muted = m->MUTED.muted;
	return tell_core(peer, &event, now);
}

static int on_pong(struct peer *peer, const struct wire_message *m, uint64_t now)
{
	if (peer->c.ping_id == 0 || m->id != peer->c.ping_id || m->PONG.nonce != peer->c.ping_nonce)
		return END_NO_REQUEST;
	peer->c.ping_id = 0;
	peer->c.ping_usec = now + HEARTBEAT_USEC;
	return 0;
}

/* Which messages cost of the peer's share: those that it may send unasked and whose number nothing else bounds. */
static const struct {
	int (*handle)(struct peer *peer, const struct wire_message *message, uint64_t now_usec);
	bool costs;
} handlers[] = {
	[WIRE_HELLO] = {on_hello, true},
	[WIRE_SESSION] = {on_session, true},
	[WIRE_LIST_BEGIN] = {on_list_begin, true},
	[WIRE_DEVICE] = {on_device, true},
	[WIRE_DEVICE_TEXT] = {on_device_text, false},
	[WIRE_DEVICE_COMMIT] = {on_device_commit, false},
	[WIRE_DEVICE_GONE] = {on_device_gone, true},
	[WIRE_LIST_END] = {on_list_end, false},
	[WIRE_EXPORTED] = {on_exported, false},
	[WIRE_IMPORTED] = {on_imported, false},
	[WIRE_STOPPED] = {on_stopped, false},
	[WIRE_FAILED] = {on_failed, false},
	[WIRE_ENDED] = {on_ended, true},
	[WIRE_PONG] = {on_pong, false},
	[WIRE_STREAM] = {on_stream, true},
	[WIRE_MUTED] = {on_muted, false},
};

/* Takes one event's price; false: not now, and throttled_until_usec says when. */
static bool pay(struct connection *c, uint64_t now)
{
	c->credit_usec += now - c->credit_since_usec;
	c->credit_since_usec = now;
	if (c->credit_usec > PEER_CREDIT_MAX_USEC)
		c->credit_usec = PEER_CREDIT_MAX_USEC;
	if (c->credit_usec < PEER_EVENT_USEC) {
		c->throttled_until_usec = now + PEER_EVENT_USEC - c->credit_usec;
		return false;
	}
	c->credit_usec -= PEER_EVENT_USEC;
	return true;
}

void dialogue_take_in(struct peer *peer, uint64_t now)
{
	struct connection *c = &peer->c;
	size_t used = 0;

	while (!peer->end && c->throttled_until_usec == 0) {
		struct wire_message message;
		size_t len;
		int r = wire_decode(c->in + used, c->in_len - used, WIRE_TO_BROKER, c->state, &message, &len);

		if (r == WIRE_MORE)
			break;
		if (r != 0) {
			peer->end = r;
			break;
		}
		if (handlers[message.type].costs && !pay(c, now))
			break;
		used += len;
		c->heard_usec = c->in_since_usec = now;
		c->state = wire_next_state(c->state, message.type, WIRE_TO_BROKER);
		r = handlers[message.type].handle(peer, &message, now);
		if (r != 0)
			peer->end = r;
	}
	c->in_len -= used;
	memmove(c->in, c->in + used, c->in_len);
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

/*
 * An EXPORT, IMPORT or STOP that stays unanswered is no time-out here: one device or port that hangs is no reason to end
 * the qube's other sessions. What it means for its own session the core decides.
 */
int dialogue_overdue(const struct peer *peer, uint64_t now)
{
	const struct connection *c = &peer->c;

	if (c->state & (WIRE_IN_NEW | WIRE_IN_GREETED) && now - peer->connected_usec >= TIMEOUT_CONNECT_USEC)
		return END_NO_LIST;
	if (c->throttled_until_usec == 0 && c->in_len > 0 && now - c->in_since_usec >= TIMEOUT_HEADER_USEC)
		return END_HALF_MESSAGE;
	if (now - c->heard_usec >= HEARTBEAT_LOST_USEC)
		return END_SILENT;
	if (c->ping_id != 0 && now - c->ping_usec >= HEARTBEAT_PONG_USEC)
		return END_NO_PONG;
	return 0;
}

void dialogue_woke(struct peer *peer, uint64_t now)
{
	struct connection *c = &peer->c;

	c->heard_usec = c->in_since_usec = c->ping_usec = now;
	if (c->state & (WIRE_IN_NEW | WIRE_IN_GREETED))
		peer->connected_usec = now;
	for (unsigned int i = 0; i < ARRAY_SIZE(c->requests); i++)
		c->requests[i].since_usec = now;
}

/* ---- what goes out ----------------------------------------------------------------------------------------------- */

static uint64_t session_of(const struct wire_message *m)
{
	if (m->type == WIRE_EXPORT)
		return m->EXPORT.session;
	if (m->type == WIRE_MUTE)
		return m->MUTE.session;
	return m->type == WIRE_IMPORT ? m->IMPORT.session : m->STOP.session;
}

static void remove_waiting(struct connection *c, unsigned int i)
{
	c->n_waiting--;
	memmove(&c->waiting[i], &c->waiting[i + 1], (c->n_waiting - i) * sizeof(c->waiting[0]));
}

static bool stop_is_under_way(const struct connection *c, uint64_t session)
{
	for (unsigned int i = 0; i < c->n_waiting; i++)
		if (c->waiting[i].type == WIRE_STOP && session_of(&c->waiting[i]) == session)
			return true;
	for (unsigned int i = 0; i < ARRAY_SIZE(c->requests); i++)
		if (c->requests[i].id != 0 && c->requests[i].type == WIRE_STOP && c->requests[i].session == session)
			return true;
	return false;
}

static void insert_waiting(struct connection *c, unsigned int at, const struct wire_message *m)
{
	memmove(&c->waiting[at + 1], &c->waiting[at], (c->n_waiting - at) * sizeof(c->waiting[0]));
	c->waiting[at] = *m;
	c->n_waiting++;
}

/* Behind no other request: whoever mutes cannot wait. The core has one of each session under way. */
static void queue_mute(struct connection *c, const struct core_action *action)
{
	struct wire_message m = {.type = WIRE_MUTE};

	m.MUTE.session = action->session;
	m.MUTE.muted = action->device->terms.muted;
	insert_waiting(c, 0, &m);
}

static void queue_stop(struct connection *c, uint64_t session)
{
	struct wire_message m = {.type = WIRE_STOP};
	unsigned int at = 0;

	for (unsigned int i = c->n_waiting; i-- > 0;)
		if (c->waiting[i].type != WIRE_STOP && session_of(&c->waiting[i]) == session)
			remove_waiting(c, i);
	while (at < c->n_waiting && (c->waiting[at].type == WIRE_STOP || c->waiting[at].type == WIRE_MUTE))
		at++;
	m.STOP.session = session;
	insert_waiting(c, at, &m);
}

void agents_approved(const struct core_device *device, uint8_t ret_digest[WIRE_DIGEST])
{
	digest_approved(device->digest,
			&(struct digest_shown){.speed = device->speed,
					       .vendor = device->vendor,
					       .product = device->product,
					       .n_interfaces = device->n_interfaces,
					       .interfaces = device->interfaces,
					       .serial = device->serial},
			ret_digest);
}

/* What only a camera has. */
static void say_camera(const struct core_action *action, struct wire_message *import)
{
	const struct core_picture *picture = &action->device->terms.picture;

	import->IMPORT.width = picture->width;
	import->IMPORT.height = picture->height;
	import->IMPORT.fps = picture->fps;
	memcpy(import->IMPORT.label, action->label, strlen(action->label));
}

void dialogue_request(struct peer *peer, const struct core_action *action, uint16_t peer_domid)
{
	struct connection *c = &peer->c;
	struct wire_message m = {0};

	if (c->n_waiting == PEER_WAITING) {
		peer->end = END_DOES_NOT_READ;
		return;
	}
	if (action->type == CORE_DO_EXPORT) {
		m.type = WIRE_EXPORT;
		m.EXPORT.session = action->session;
		m.EXPORT.slot = action->device->ref.slot;
		m.EXPORT.generation = action->device->ref.generation;
		m.EXPORT.target = peer_domid;
		memcpy(m.EXPORT.digest, action->device->digest, sizeof(m.EXPORT.digest));
		m.EXPORT.muted = action->device->terms.muted;
		memcpy(m.EXPORT.controls, action->device->terms.picture.controls, sizeof(m.EXPORT.controls));
	} else if (action->type == CORE_DO_IMPORT) {
		m.type = WIRE_IMPORT;
		m.IMPORT.session = action->session;
		m.IMPORT.source = peer_domid;
		m.IMPORT.class = action->device->class_id;
		agents_approved(action->device, m.IMPORT.digest);
		if (action->device->class_id == WIRE_CLASS_WEBCAM)
			say_camera(action, &m);
	} else if (action->type == CORE_DO_MUTE) {
		queue_mute(c, action);
		return;
	} else {
		if (!stop_is_under_way(c, action->session))
			queue_stop(c, action->session);
		return;
	}
	c->waiting[c->n_waiting++] = m;
}

/*
 * May a request of this type leave now? EXPORT and IMPORT leave one place for STOP; a MUTE, which no device can delay,
 * needs none. False: place_usec says when to look again, if no answer comes before.
 */
static bool has_place(struct connection *c, enum wire_type type, uint64_t now)
{
	unsigned int n_places = type == WIRE_STOP ? LIMIT_PEER_REQUESTS : LIMIT_PEER_REQUESTS - 1, n_taken = 0;
	uint64_t next = UINT64_MAX;

	if (type == WIRE_MUTE)
		return true;
	for (unsigned int i = 0; i < ARRAY_SIZE(c->requests); i++) {
		uint64_t until = c->requests[i].since_usec + TIMEOUT_PLACE_USEC;

		if (c->requests[i].id == 0 || c->requests[i].type == WIRE_MUTE || until <= now)
			continue;
		n_taken++;
		if (until < next)
			next = until;
	}
	c->place_usec = n_taken < n_places ? 0 : next;
	return n_taken < n_places;
}

static struct peer_request *find_free(struct connection *c)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(c->requests); i++)
		if (c->requests[i].id == 0)
			return &c->requests[i];
	return NULL;
}

static void send_ping(struct connection *c, uint64_t now)
{
	struct wire_message ping = {.type = WIRE_PING};

	if (c->ping_id != 0 || c->ping_usec > now)
		return;
	ping.id = next_id(c);
	ping.PING.nonce = ++c->ping_nonce;
	if (put_out(c, &ping))
		c->ping_id = ping.id;
}

void dialogue_send(struct peer *peer, uint64_t now)
{
	struct connection *c = &peer->c;

	if (c->state & (WIRE_IN_NEW | WIRE_IN_GREETED))
		return;
	send_ping(c, now);
	c->place_usec = 0;
	while (c->n_waiting > 0) {
		struct wire_message *m = &c->waiting[0];
		struct peer_request *request = find_free(c);

		if (!request) {
			peer->end = END_OWES_TOO_MUCH;
			return;
		}
		if (!has_place(c, m->type, now))
			return;
		m->id = next_id(c);
		if (!put_out(c, m))
			return;
		*request = (struct peer_request){
			.id = m->id, .type = m->type, .session = session_of(m), .since_usec = now};
		remove_waiting(c, 0);
	}
}
