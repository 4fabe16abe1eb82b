/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agents of test-schedules.c: they really hold streams, obey orders or are deaf, connect and are lost, and what they
 * say reaches the core late, twice, or as if another qube had said it. For one includer only.
 */
#pragma once

#include "broker/core/test-world.h"

static int tell(struct core_event event)
{
	event.now_usec = w.now_usec;
	return core_handle(w.core, &event, NULL);
}

static void say(struct qube *qube, struct core_event event)
{
	if (!qube->connected || qube->n_words == N_QUEUE)
		return;
	event.qube = qube->ref;
	qube->words[qube->n_words++] = event;
}

static void say_session(struct qube *qube, enum core_event_type type, uint64_t session, enum outcome outcome)
{
	struct core_event event = {.type = type};

	event.session.session = session;
	event.session.outcome = outcome;
	say(qube, event);
}

static void say_device(struct qube *qube, unsigned int p)
{
	struct core_event event = {.type = CORE_DEVICE};

	event.device.class_id = WIRE_CLASS_USB;
	event.device.ref.slot = (uint16_t)p;
	event.device.ref.generation = qube->ports[p].generation;
	event.device.vendor = (uint16_t)qube->ports[p].identity;
	event.device.n_interfaces = 1;
	event.device.interfaces[0][0] = qube->ports[p].identity % 2 ? 3 : 8;
	event.device.digest[0] = (uint8_t)qube->ports[p].identity;
	event.device.serial[0] = event.device.serial[1] = (char)('A' + p);
	if (p < N_PORTS) {
		(void)snprintf(event.device.port, sizeof(event.device.port), "%u-1", qube->buses[p]);
		event.device.path[0] = (char)(qube->pathless ? '\0' : 'A' + p);
	} else {
		bool is_camera = p == CAMERA_PLACE;

		event.device.class_id = is_camera ? WIRE_CLASS_WEBCAM : WIRE_CLASS_MIC;
		(void)snprintf(event.device.port, sizeof(event.device.port), "%s-%08u", is_camera ? "webcam" : "mic",
			       p);
		(void)snprintf(event.device.parent, sizeof(event.device.parent), "%u-1", qube->buses[0]);
	}
	say(qube, event);
}

static bool is_live_export(const struct qube *qube, const struct stream *stream)
{
	return stream->used && stream->side == WIRE_SIDE_EXPORT && stream->plug == qube->ports[stream->place].plug;
}

/* Promise 2: one piece of hardware, one running export, whatever the core believes; and a part is a piece of its whole. */
static void check_single_target(const struct qube *qube)
{
	for (unsigned int i = 0; i < N_STREAMS; i++)
		for (unsigned int j = i + 1; j < N_STREAMS; j++) {
			const struct stream *a = &qube->streams[i], *b = &qube->streams[j];

			assert_false(a->used && b->used && a->side == WIRE_SIDE_EXPORT && b->side == WIRE_SIDE_EXPORT &&
				     a->plug == b->plug);
			assert_false(is_live_export(qube, a) && is_live_export(qube, b) &&
				     are_related(a->place, b->place));
		}
}

static void start_stream(struct qube *qube, const struct order *o)
{
	bool is_export = o->type == CORE_DO_EXPORT;
	struct stream *free_stream = NULL;

	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (!qube->streams[i].used)
			free_stream = &qube->streams[i];
	if (!free_stream || draw(8) == 0 ||
	    (is_export && (qube->ports[o->slot].plug == 0 || qube->ports[o->slot].generation != o->generation))) {
		say_session(qube, CORE_FAILED, o->session, OUTCOME_OPEN_FAILED);
		return;
	}
	*free_stream = (struct stream){.used = true, .session = o->session, .peer = o->peer, .digest = o->digest};
	free_stream->side = is_export ? WIRE_SIDE_EXPORT : WIRE_SIDE_IMPORT;
	free_stream->plug = is_export ? qube->ports[o->slot].plug : 0;
	free_stream->place = is_export ? o->slot : 0;
	w.n_exports += is_export;
	check_single_target(qube);
	say_session(qube, is_export ? CORE_EXPORTED : CORE_IMPORTED, o->session, OUTCOME_OK);
}

static void stop_stream(struct qube *qube, uint64_t session)
{
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].session == session)
			qube->streams[i].used = false;
}

/* The agent reads its first order. A deaf one forgets to stop and to answer. */
static void agent_step(struct qube *qube)
{
	struct order o;

	if (!qube->agent || qube->n_orders == 0)
		return;
	o = qube->orders[0];
	memmove(&qube->orders[0], &qube->orders[1], --qube->n_orders * sizeof(o));
	if (qube->deaf && draw(2))
		return;
	if (o.type == CORE_DO_EXPORT || o.type == CORE_DO_IMPORT) {
		start_stream(qube, &o);
		return;
	}
	stop_stream(qube, o.session);
	say_session(qube, CORE_STOPPED, o.session, OUTCOME_OK);
}

static void stream_dies(struct qube *qube)
{
	struct stream *stream = &qube->streams[draw(N_STREAMS)];

	if (!stream->used)
		return;
	stream->used = false;
	say_session(qube, CORE_ENDED, stream->session, draw(2) ? OUTCOME_OK : OUTCOME_PEER_LOST);
}

static void say_report(struct qube *qube, const struct stream *stream)
{
	struct core_event event = {.type = CORE_AGENT_SESSION};

	event.agent_session.session = stream->session;
	event.agent_session.side = stream->side;
	event.agent_session.peer = stream->peer;
	event.agent_session.digest[0] = stream->digest;
	say(qube, event);
}

/* A stream that it does not run, or not so: of a session that is on disk, more or less right. */
static void say_lie(struct qube *qube)
{
	const struct core_memory *memory = &w.disk[draw(N_DISK)].memory;
	struct stream lie = {.session = memory->session, .side = draw(2) ? WIRE_SIDE_EXPORT : WIRE_SIDE_IMPORT};

	if (lie.session == 0)
		return;
	lie.peer = lie.side == WIRE_SIDE_EXPORT ? memory->target.domid : memory->source.domid;
	lie.digest = lie.side == WIRE_SIDE_EXPORT ? memory->device.digest[0] : memory->approved[0];
	lie.peer = (uint16_t)(lie.peer + (draw(4) == 0));
	lie.digest = (uint8_t)(lie.digest + (draw(4) == 0));
	qube->lies = true;
	say_report(qube, &lie);
}

static void connect_agent(struct qube *qube)
{
	struct core_event event = {.type = CORE_AGENT_READY};

	if (!qube->alive || qube->connected)
		return;
	if (!qube->agent) {
		qube->agent = true;
		qube->incarnation = ++w.n_incarnations;
		for (unsigned int p = 0; p < N_PLACES; p++)
			qube->ports[p].generation = 1; /* numbers start anew: the same as before */
		for (unsigned int p = 0; p < N_PLACES; p++)
			qube->ports[p].held_plug = 0; /* records are made anew */
	}
	/* what the old channel still held is read first, or lost with it */
	while (qube->n_orders > 0 && draw(2))
		agent_step(qube);
	qube->n_orders = qube->n_words = 0;
	qube->connected = true;
	qube->deaf = draw(8) == 0;
	event.agent_ready.roles = WIRE_ROLES;
	event.agent_ready.incarnation = qube->incarnation;
	say(qube, event);
	qube->lies = false;
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].used)
			say_report(qube, &qube->streams[i]);
	if (draw(16) == 0)
		say_lie(qube);
	say(qube, (struct core_event){.type = CORE_LIST_BEGIN});
	for (unsigned int p = 0; p < N_PLACES; p++)
		if (qube->ports[p].plug != 0)
			say_device(qube, p);
	say(qube, (struct core_event){.type = CORE_LIST_END});
}

/* The connection breaks. The qube was paused, or its agent was killed and took its streams along. */
static void lose_agent(struct qube *qube, bool killed)
{
	bool connected = qube->connected;

	if (!qube->alive || !qube->agent)
		return;
	qube->connected = false;
	qube->n_words = 0;
	if (killed) {
		qube->agent = false;
		qube->n_orders = 0;
		memset(qube->streams, 0, sizeof(qube->streams));
	}
	if (connected)
		(void)tell((struct core_event){.type = CORE_AGENT_LOST, .qube = qube->ref});
}

static void release_held(void)
{
	for (unsigned int q = 0; q < N_QUBES; q++)
		for (unsigned int p = 0; p < N_PLACES; p++)
			w.qubes[q].ports[p].held_plug = 0;
}

/* What the agent said arrives; sometimes twice, and sometimes as if another qube had said it. */
static void deliver(struct qube *qube)
{
	struct core_event event;

	if (!qube->connected || qube->n_words == 0)
		return;
	event = qube->words[0];
	memmove(&qube->words[0], &qube->words[1], --qube->n_words * sizeof(event));
	if (event.type == CORE_LIST_BEGIN && TAKE(qube->fresh, false))
		release_held(); /* a target that is new: its devices need not be left alone any more */
	if (tell(event) == CORE_EVENT_CHEATED) {
		assert_true(qube->lies);
		lose_agent(qube, false);
		return;
	}
	if (event.type >= CORE_EXPORTED && event.type <= CORE_ENDED && draw(8) == 0) {
		if (event.type == CORE_EXPORTED || event.type == CORE_IMPORTED)
			(void)tell(event);
		event.qube = w.qubes[draw(N_QUBES)].ref;
		event.session.session ^= 1ull << 60; /* of no session at all */
		assert_int_equal(tell(event), CORE_EVENT_IGNORED);
	}
}
