/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The players of test-random.c: device agents that are honest, but slow, silent or failing as it happens, their devices,
 * and the lives of their qubes.
 *
 * Invariants: a stream runs from the moment its EXPORT or IMPORT is taken until its STOP is answered, it ends by itself,
 * or its agent does; what an agent says is so when it says it.
 */
#pragma once

#include <sys/epoll.h>

#include "tests/integration/random-judge.h"

#define N_CALLS 5 /* of a world at once; the broker lets one user have 64 */
#define N_ASSIGNED 3
#define FIRST_DOMID 10
#define N_DOMIDS (N_QUBES + 1)

enum call_kind {
	CALL_NONE,
	CALL_ANY,
	CALL_ATTACH,
	CALL_DETACH,
	CALL_DENY,
	CALL_ALLOW,
	CALL_LIST,
	CALL_SUSPEND,
	CALL_RESUME
};

struct call {
	enum call_kind kind;
	unsigned int world;
	int fd;
	struct qube *qube;  /* the destination */
	uint64_t asked_seq; /* the log's end before */
	size_t len;
	char bytes[4096];
	char what[128];
};

/* What a user assigned, and has not taken back. */
struct assigned {
	struct qube *qube; /* NULL: none */
	char device[96];
};

struct world {
	uint64_t random;
	struct assigned assigned[N_ASSIGNED];
	bool plays;
	unsigned int n_steps;
	uint64_t wait_until; /* or, if so many things came before */
	unsigned int wait_for;
	uint64_t silent_until; /* what is held stays so, for longer than the broker waits */
	uint64_t settle_until; /* 0: not yet */
	const char *fault;     /* why it has not settled yet */
	bool changed;          /* an agent's streams changed since */
	unsigned int n_calls, n_lists;
	char lists[N_QUBES][4096];
	struct call calls[N_CALLS];
	uint64_t since_usec;
};

static struct play {
	struct world worlds[N_WORLDS];
	struct call sleep; /* suspend and resume */
	int epoll;         /* of all agents and calls; the data is qube_number() or call_number() */
	bool suspended;
	uint64_t seed, n_begun, n_wanted, n_done;
	uint64_t n_kills, n_cut, n_replies, n_good, n_sleeps, n_lives, n_restarts, n_plugs, slowest_usec;
} play;

static uint64_t draw(struct world *world, uint64_t below)
{
	world->random ^= world->random << 13;
	world->random ^= world->random >> 7;
	world->random ^= world->random << 17;
	return (world->random >> 16) % below;
}

static bool one_in(struct world *world, uint64_t n)
{
	return draw(world, n) == 0;
}

static struct world *world_of(const struct qube *qube)
{
	return &play.worlds[qube->world];
}

/* Closing the fd ends it. */
static void await(int fd, unsigned int number)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = number};

	assert_int_equal(epoll_ctl(play.epoll, EPOLL_CTL_ADD, fd, &event), 0);
}

static unsigned int qube_number(const struct qube *qube)
{
	return qube->world * N_QUBES + qube->index;
}

/* ---- agents ------------------------------------------------------------------------------------------------------ */

static void say_answer(struct qube *qube, enum wire_type type, uint32_t id, uint64_t session)
{
	struct wire_message m = {.type = type, .id = id};

	if (type == WIRE_EXPORTED)
		m.EXPORTED.session = session;
	else if (type == WIRE_IMPORTED)
		m.IMPORTED.session = session;
	else
		m.STOPPED.session = session;
	if (type == WIRE_EXPORTED && find_record(session))
		find_record(session)->told = true;
	say(qube->agent, &m);
}

static void drop_stream(struct qube *qube, uint64_t session)
{
	struct running *stream = find_running(qube, session);

	if (stream)
		stream->session = 0;
	world_of(qube)->changed = true;
}

/* What the request asked for is done, and said. */
static void answer(struct qube *qube, const struct held *request)
{
	static const enum wire_type answers[] = {
		[WIRE_EXPORT] = WIRE_EXPORTED, [WIRE_IMPORT] = WIRE_IMPORTED, [WIRE_STOP] = WIRE_STOPPED};

	if (request->type == WIRE_STOP)
		drop_stream(qube, request->session);
	trace(qube->world, "%s answers %d of %016llx", qube->name, request->type, (unsigned long long)request->session);
	say_answer(qube, answers[request->type], request->id, request->session);
}

static void refuse(struct qube *qube, const struct held *request)
{
	drop_stream(qube, request->session);
	trace(qube->world, "%s refuses %d of %016llx", qube->name, request->type, (unsigned long long)request->session);
	say_failed(qube->agent, request->id, request->session);
}

/* The held request of this type for the session, taken out; false: there is none. */
static bool take_held(struct qube *qube, uint64_t session, bool stop, struct held *ret_held)
{
	for (unsigned int i = 0; i < N_STREAMS; i++) {
		struct held *held = &qube->held[i];

		if (held->type && held->session == session && (held->type == WIRE_STOP) == stop) {
			*ret_held = *held;
			held->type = 0;
			return true;
		}
	}
	return false;
}

static void hold(struct qube *qube, const struct held *request)
{
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (!qube->held[i].type) {
			qube->held[i] = *request;
			return;
		}
	fail_msg("too many requests are held");
}

/* Answers one request that is held, if there is one. */
static void release(struct qube *qube)
{
	struct world *world = world_of(qube);

	for (unsigned int i = 0; i < N_STREAMS; i++) {
		struct held held = qube->held[i];

		if (!held.type)
			continue;
		qube->held[i].type = 0;
		if (held.type != WIRE_STOP && one_in(world, 4))
			refuse(qube, &held);
		else
			answer(qube, &held);
		return;
	}
}

/* A stream is over without anybody's word. */
static void end_stream(struct qube *qube, struct running *stream, enum outcome outcome)
{
	struct wire_message m = {.type = WIRE_ENDED};
	uint64_t session = stream->session;
	struct held held;

	m.ENDED.session = session;
	m.ENDED.side = stream->side;
	m.ENDED.outcome = (uint8_t)outcome;
	if (take_held(qube, session, false, &held)) {
		refuse(qube, &held);
	} else if (take_held(qube, session, true, &held)) {
		answer(qube, &held);
	} else {
		trace(qube->world, "%s: %016llx ends", qube->name, (unsigned long long)session);
		say(qube->agent, &m);
	}
	drop_stream(qube, session);
}

/* What a qube says of its streams, or of others, true or not: it must change nothing. */
static void say_of_stream(struct qube *qube, unsigned int i)
{
	struct world *world = world_of(qube);
	const struct running *stream = &qube->streams[i];
	struct wire_message m = {.type = WIRE_STREAM};

	m.STREAM.session = stream->session && !one_in(world, 5) ? stream->session : draw(world, UINT32_MAX);
	m.STREAM.side = stream->session && !one_in(world, 5) ? stream->side : WIRE_SIDE_IMPORT;
	m.STREAM.in_use = one_in(world, 2);
	m.STREAM.bytes_to_target = draw(world, 1000);
	m.STREAM.bytes_from_target = one_in(world, 5) ? UINT64_MAX : draw(world, 1000);
	say(qube->agent, &m);
}

static void run_stream(struct qube *qube, const struct running *stream)
{
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (!qube->streams[i].session) {
			qube->streams[i] = *stream;
			world_of(qube)->changed = true;
			return;
		}
	fail_msg("too many streams run");
}

static void begin_stream(struct qube *qube, const struct held *request, const struct running *stream)
{
	struct world *world = world_of(qube);

	if (!world->settle_until && one_in(world, 10)) {
		refuse(qube, request);
		return;
	}
	run_stream(qube, stream);
	if (!world->settle_until && one_in(world, 5))
		hold(qube, request);
	else
		answer(qube, request);
}

static void hear_export(struct qube *qube, const struct wire_message *m)
{
	struct held request = {WIRE_EXPORT, m->id, m->EXPORT.session};
	struct running stream = {
		.session = m->EXPORT.session,
		.side = WIRE_SIDE_EXPORT,
		.slot = m->EXPORT.slot,
		.generation = m->EXPORT.generation,
		.peer = m->EXPORT.target,
	};

	trace(qube->world, "%s hears EXPORT %016llx of slot %u.%u to %u", qube->name,
	      (unsigned long long)m->EXPORT.session, m->EXPORT.slot, m->EXPORT.generation, m->EXPORT.target);
	memcpy(stream.digest, m->EXPORT.digest, WIRE_DIGEST);
	if (judge_export(qube, m))
		begin_stream(qube, &request, &stream);
	else
		refuse(qube, &request);
}

static void hear_import(struct qube *qube, const struct wire_message *m)
{
	struct held request = {WIRE_IMPORT, m->id, m->IMPORT.session};
	struct running stream = {.session = m->IMPORT.session, .side = WIRE_SIDE_IMPORT, .peer = m->IMPORT.source};

	trace(qube->world, "%s hears IMPORT %016llx from %u", qube->name, (unsigned long long)m->IMPORT.session,
	      m->IMPORT.source);
	memcpy(stream.digest, m->IMPORT.digest, WIRE_DIGEST);
	judge_import(qube, m);
	begin_stream(qube, &request, &stream);
}

static void hear_stop(struct qube *qube, const struct wire_message *m)
{
	struct held request = {WIRE_STOP, m->id, m->STOP.session}, begun;
	struct world *world = world_of(qube);

	trace(qube->world, "%s hears STOP %016llx", qube->name, (unsigned long long)m->STOP.session);
	if (take_held(qube, m->STOP.session, false, &begun))
		refuse(qube, &begun);
	if (!world->settle_until && one_in(world, play.sleep.kind ? 40 : 4))
		hold(qube, &request);
	else
		answer(qube, &request);
}

static void hear_ping(struct qube *qube, const struct wire_message *m)
{
	on_ping(qube->agent, m);
}

static void hear_no_more(struct qube *qube _unused_, const struct wire_message *m _unused_)
{
}

/* A broker came: what runs, then what is plugged in. */
static void greet_broker(struct qube *qube)
{
	qube->agent->greeted = true;
	say_hello(qube->agent, WIRE_VERSION);
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].session)
			say_session(qube->agent, qube->streams[i].session, qube->streams[i].side, qube->streams[i].peer,
				    qube->streams[i].digest);
	say_list(qube->agent);
}

static void read_agent(struct qube *qube)
{
	static void (*const handlers[])(struct qube *, const struct wire_message *) = {
		[WIRE_WELCOME] = hear_no_more, [WIRE_RESCAN] = hear_no_more, [WIRE_EXPORT] = hear_export,
		[WIRE_IMPORT] = hear_import,   [WIRE_STOP] = hear_stop,      [WIRE_PING] = hear_ping,
	};
	struct agent *agent = qube->agent;
	struct wire_message m;
	size_t used = 0, len;
	ssize_t n;

	assert_int_equal(channel_dispatch(agent->channel), 0);
	while ((n = channel_read(agent->channel, agent->in + agent->in_len, sizeof(agent->in) - agent->in_len)) > 0)
		agent->in_len += (size_t)n;
	if (channel_state(agent->channel) == CHANNEL_OPEN && !agent->greeted)
		greet_broker(qube);
	while (wire_decode(agent->in + used, agent->in_len - used, WIRE_TO_AGENT, agent->state, &m, &len) == 0) {
		used += len;
		agent->state = wire_next_state(agent->state, m.type, WIRE_TO_AGENT);
		handlers[m.type](qube, &m);
		judge_streams(qube->world);
		world_of(qube)->wait_for -= world_of(qube)->wait_for > 0;
	}
	agent->in_len -= used;
	memmove(agent->in, agent->in + used, agent->in_len);
	if (channel_state(agent->channel) == CHANNEL_DEAD || channel_state(agent->channel) == CHANNEL_ENDED)
		violation(qube->world, "%s: the broker cut off an honest agent", qube->name);
}

/* The agent's process ends, and all that it runs. */
static void end_agent(struct qube *qube)
{
	qube->agent->channel = channel_free(qube->agent->channel);
	memset(qube->streams, 0, sizeof(qube->streams));
	memset(qube->held, 0, sizeof(qube->held));
	qube->agent_runs = false;
	world_of(qube)->changed = true;
}

/* Where the next broker, or the first one, will find it. */
static void await_broker(struct qube *qube)
{
	listen_at_new_port(qube->agent);
	await(channel_fd(qube->agent->channel), qube_number(qube));
}

/* A new one; it counts its devices anew. */
static void start_agent(struct qube *qube)
{
	qube->agent->incarnation++;
	for (unsigned int s = 1; s < N_SLOTS; s++)
		qube->agent->more[s].generation = 1;
	await_broker(qube);
	qube->agent_runs = true;
}

/* ---- qubes and devices ------------------------------------------------------------------------------------------- */

static void end_life(struct qube *qube)
{
	char name[40];

	trace(qube->world, "%s ends (domain %u)", qube->name, qube->agent->domid);
	end_agent(qube);
	end_qube(qube->agent->domid);
	(void)snprintf(name, sizeof(name), "%u-device-agent.port", qube->agent->domid);
	(void)unlink(path_of(name));
	qube->runs = false;
}

/* One of the world's ids that nobody has now; if it can be, one that another qube just had. */
static uint16_t free_domid(const struct qube *qube)
{
	uint16_t found[N_DOMIDS];
	unsigned int n = 0;

	for (unsigned int d = 0; d < N_DOMIDS; d++) {
		uint16_t domid = (uint16_t)(FIRST_DOMID + qube->world * N_DOMIDS + d);
		bool taken = false;

		for (unsigned int q = 0; q < N_QUBES; q++)
			taken = taken || (qubes[qube->world][q].runs && qubes[qube->world][q].agent->domid == domid);
		if (!taken)
			found[n++] = domid;
	}
	return found[draw(world_of(qube), n)];
}

static void start_life(struct qube *qube)
{
	uint16_t domid = free_domid(qube);
	char file[32], text[96];

	for (unsigned int q = 0; q < N_QUBES; q++)
		if (&qubes[qube->world][q] != qube && had_domid(&qubes[qube->world][q], domid))
			judge.n_reused++;
	qube->agent->domid = domid;
	qube->former[qube->n_lives++ % N_FORMER] = domid;
	read_log();
	qube->began_seq = judge.seq;
	start_agent(qube);
	(void)snprintf(file, sizeof(file), "qubes/%u", domid);
	(void)snprintf(text, sizeof(text), "%s 11111111-2222-3333-4444-%012x\n", qube->name,
		       qube->world * N_QUBES + qube->index + 1);
	write_file(file, text);
	qube->runs = true;
	play.n_lives++;
	trace(qube->world, "%s starts as domain %u", qube->name, domid);
}

/* Its proxy, if there is one, sees it first or last. */
static void unplug(struct qube *qube, unsigned int slot)
{
	struct agent *agent = qube->agent;
	bool gone_first = one_in(world_of(qube), 2);

	trace(qube->world, "%s: slot %u is unplugged", qube->name, slot);
	if (gone_first)
		say_gone(agent, (uint16_t)slot, agent->more[slot].generation);
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].session && qube->streams[i].slot == slot)
			end_stream(qube, &qube->streams[i], OUTCOME_UNPLUGGED);
	if (!gone_first)
		say_gone(agent, (uint16_t)slot, agent->more[slot].generation);
	agent->more[slot].port[0] = '\0';
}

static void plug_in(struct qube *qube, unsigned int slot, bool same)
{
	struct agent *agent = qube->agent;

	agent->more[slot].generation++;
	(void)snprintf(agent->more[slot].port, sizeof(agent->more[slot].port), "1-%u", slot);
	if (!same || !agent->more[slot].serial[0])
		(void)snprintf(agent->more[slot].serial, sizeof(agent->more[slot].serial), "S%u%c", slot,
			       (char)('A' + draw(world_of(qube), 3)));
	trace(qube->world, "%s: slot %u.%u is %s", qube->name, slot, agent->more[slot].generation,
	      agent->more[slot].serial);
	say_device_of(agent, agent->more[slot].port, (uint16_t)slot, agent->more[slot].generation, 0x5581,
		      agent->more[slot].serial);
	play.n_plugs++;
}
