// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HP05, DI01, PD10: random schedules of users, plugs, crashes and re-used domain ids against the real broker over the
 * `socket` channel; the judge is in random-judge.h. One broker serves N_WORLDS worlds of two device qubes and three
 * others at once, because much of a schedule is waiting: each world plays its own schedules, one after another, and
 * goes on from what the last one left. The broker's end by SIGKILL and the machine's sleep hit all of them.
 *
 * Nothing sleeps: a world goes on when something came for it, or after a short time. After each schedule all agents
 * answer, and within SETTLE_USEC the API, the log and the agents must say the same.
 *
 *   QDB_TEST_SEED=n      the first schedule's seed. It chooses the steps; their timing is the machine's
 *   QDB_TEST_SCHEDULES=n how many
 */
#include "tests/integration/random-judge.h"

#define N_SCHEDULES (SANITIZED ? 300u : 600u)
#define N_CALLS 5 /* of a world at once; the broker lets one user have 64 */
#define PACE_USEC (2 * USEC_PER_MSEC)
#define LONG_PACE_USEC (60 * USEC_PER_MSEC) /* the broker looks for qubes within 50 ms */
#define SILENCE_USEC (TIMEOUT_STOP_USEC + 300 * USEC_PER_MSEC)
#define SETTLE_USEC (90 * USEC_PER_SEC)
#define FIRST_DOMID 10
#define N_DOMIDS (N_QUBES + 1)

enum call_kind { CALL_NONE, CALL_ANY, CALL_ATTACH, CALL_DENY, CALL_ALLOW, CALL_LIST, CALL_SUSPEND, CALL_RESUME };

struct call {
	enum call_kind kind;
	int fd;
	struct qube *qube; /* DENY, ALLOW, LIST: whose */
	uint64_t since_usec;
	size_t len;
	char bytes[4096];
	char what[128];
};

struct world {
	uint64_t random;
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
	if (!world->settle_until && one_in(world, 7))
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

/* A new one; it counts its devices anew. */
static void start_agent(struct qube *qube)
{
	qube->agent->incarnation++;
	for (unsigned int s = 1; s < N_SLOTS; s++)
		qube->agent->more[s].generation = 1;
	listen_at_new_port(qube->agent);
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

/* ---- users ------------------------------------------------------------------------------------------------------- */

static void start_call(struct call *call, unsigned int world, enum call_kind kind, struct qube *qube,
		       const char *method, const char *argument, const char *destination, const char *payload)
{
	*call = (struct call){.kind = kind, .qube = qube, .since_usec = now_usec()};
	(void)snprintf(call->what, sizeof(call->what), "%s %s %s %s", method + strlen("device"), argument, destination,
		       payload);
	call->fd = call_begin_with(method, argument, destination, payload);
	trace(world, "user: %s", call->what);
}

static void ask(struct world *world, enum call_kind kind, struct qube *qube, const char *method, const char *argument,
		const char *payload)
{
	for (unsigned int i = 0; i < N_CALLS; i++)
		if (!world->calls[i].kind) {
			world->n_calls++;
			start_call(&world->calls[i], qube->world, kind, qube, method, argument, qube->name, payload);
			return;
		}
}

/* One reply, whole, and nothing after it. */
static bool is_one_reply(const struct call *call)
{
	const char *at = call->bytes + 2, *end = call->bytes + call->len;

	if (call->len < 2 || call->bytes[1] != '\0')
		return false;
	if (call->bytes[0] == '0')
		return call->kind == CALL_LIST || strlen(at) == (size_t)(end - at);
	for (unsigned int i = 0; i < 3 && at < end; i++)
		at += strlen(at) + 1;
	return call->bytes[0] == '2' && at <= end;
}

static void on_list(struct world *world, const struct call *call, bool good)
{
	struct qube *qube = call->qube;

	(void)snprintf(world->lists[qube->index], sizeof(world->lists[0]), "%s", good ? call->bytes + 2 : "");
	world->n_lists++;
}

/* The reply, or with `cut` what came of it before the broker was killed. */
static void on_reply(struct call *call, unsigned int w, bool cut)
{
	bool good = call->len >= 2 && call->bytes[0] == '0';
	enum call_kind kind = call->kind;

	(void)close(call->fd);
	play.n_cut += cut && call->len == 0;
	play.n_replies += call->len != 0;
	trace(w, "reply to %s: %c %s", call->what, call->len ? call->bytes[0] : '-',
	      !call->len || good ? "" : call->bytes + 2);
	if ((!cut || call->len != 0) && !is_one_reply(call))
		violation(w, "not one reply, but %zu bytes, to: %s", call->len, call->what);
	read_log();
	if (kind == CALL_LIST)
		on_list(&play.worlds[w], call, good);
	if (kind == CALL_DENY || kind == CALL_ALLOW)
		call->qube->deny_busy = false;
	if (kind == CALL_DENY && good) {
		call->qube->denied = true;
		judge.n_denied++;
	}
	if (kind == CALL_SUSPEND)
		play.suspended = good;
	if (kind == CALL_RESUME)
		play.suspended = false;
	play.n_good += kind == CALL_ATTACH && good;
	call->kind = CALL_NONE;
}

static void read_call(struct call *call, unsigned int w)
{
	ssize_t n = read(call->fd, call->bytes + call->len, sizeof(call->bytes) - 1 - call->len);

	if (n > 0) {
		call->len += (size_t)n;
		return;
	}
	on_reply(call, w, false);
	if (call == &play.sleep)
		return;
	play.worlds[w].n_calls--;
	play.worlds[w].wait_for -= play.worlds[w].wait_for > 0;
}

/* Mostly one that runs. */
static struct qube *any_source(unsigned int w)
{
	struct qube *source = NULL;

	for (unsigned int i = 0; i < 2 && (!source || !source->runs); i++)
		source = &qubes[w][draw(&play.worlds[w], N_SOURCES)];
	return source;
}

/* Mostly one that runs. */
static struct qube *any_target(unsigned int w)
{
	struct qube *target = NULL;

	for (unsigned int i = 0; i < 3 && (!target || !target->runs); i++)
		target = &qubes[w][N_SOURCES + draw(&play.worlds[w], N_QUBES - N_SOURCES)];
	return target;
}

/* A device as users name it: by what it is at its port now, or was; or by its port. */
static void name_device(unsigned int w, char ret_text[96])
{
	const struct qube *source = any_source(w);
	unsigned int slot = 0;

	for (unsigned int i = 0; i < 3 && (slot == 0 || !source->agent->more[slot].port[0]); i++)
		slot = 1 + (unsigned int)draw(&play.worlds[w], N_SLOTS - 1);
	if (one_in(&play.worlds[w], 4) || !source->agent->more[slot].serial[0])
		(void)snprintf(ret_text, 96, "%s+1-%u+_", source->name, slot);
	else
		(void)snprintf(ret_text, 96, "%s+1-%u+0781+5581+%s+" INTERFACES, source->name, slot,
			       source->agent->more[slot].serial);
}

#define USB "admin.vm.device.usb."

static void step_attach(unsigned int w)
{
	char device[96];

	name_device(w, device);
	ask(&play.worlds[w], CALL_ATTACH, any_target(w), USB "Attach", device, "");
}

/* A stream of this world, at its target, as users name its device; NULL: none runs. */
static struct qube *find_attached(unsigned int w, char ret_device[96])
{
	unsigned int first = (unsigned int)draw(&play.worlds[w], N_QUBES);

	for (unsigned int q = 0; q < N_QUBES * N_STREAMS; q++) {
		struct qube *target = &qubes[w][(first + q) % N_QUBES];
		const struct running *stream = &target->streams[q / N_QUBES];
		const struct record *record =
			stream->session && stream->side == WIRE_SIDE_IMPORT ? find_record(stream->session) : NULL;

		if (!record)
			continue;
		(void)snprintf(ret_device, 96, "%s+%s+_", record->source, record->port);
		return target;
	}
	return NULL;
}

static void step_detach(unsigned int w)
{
	char device[96];
	struct qube *target = one_in(&play.worlds[w], 8) ? NULL : find_attached(w, device);

	if (!target) {
		name_device(w, device);
		target = any_target(w);
	}
	ask(&play.worlds[w], CALL_ANY, target, USB "Detach", device, "");
}

static void step_move(unsigned int w)
{
	char device[96], payload[64];
	const struct qube *from = one_in(&play.worlds[w], 8) ? NULL : find_attached(w, device);

	if (!from) {
		name_device(w, device);
		from = any_target(w);
	}
	(void)snprintf(payload, sizeof(payload), "from='%s'", from->name);
	ask(&play.worlds[w], CALL_ANY, any_target(w), "device.Move", device, payload);
}

static void step_assign(unsigned int w)
{
	char device[96];

	name_device(w, device);
	ask(&play.worlds[w], CALL_ANY, any_target(w), USB "Assign", device,
	    one_in(&play.worlds[w], 4) ? "mode='required'" : "mode='auto-attach'");
}

static void step_unassign(unsigned int w)
{
	char device[96];

	name_device(w, device);
	ask(&play.worlds[w], CALL_ANY, any_target(w), USB "Unassign", device, "");
}

/* While a change of a list is on its way nobody can say what is in force. */
static void step_deny(unsigned int w)
{
	struct qube *target = any_target(w);

	if (target->deny_busy || play.worlds[w].n_calls == N_CALLS)
		return;
	target->deny_busy = true;
	ask(&play.worlds[w], CALL_DENY, target, "admin.vm.device.denied.Add", "", "u08****");
}

static void step_allow(unsigned int w)
{
	struct qube *target = any_target(w);

	if (target->deny_busy || play.worlds[w].n_calls == N_CALLS)
		return;
	read_log();
	target->denied = false;
	target->deny_busy = true;
	ask(&play.worlds[w], CALL_ALLOW, target, "admin.vm.device.denied.Remove", "", "all");
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void step_plug(unsigned int w)
{
	struct qube *source = any_source(w);
	unsigned int slot = 1 + (unsigned int)draw(&play.worlds[w], N_SLOTS - 1);

	if (source->agent_runs && !source->agent->more[slot].port[0])
		plug_in(source, slot, !one_in(&play.worlds[w], 3));
}

static void step_unplug(unsigned int w)
{
	struct qube *source = any_source(w);
	unsigned int slot = 1 + (unsigned int)draw(&play.worlds[w], N_SLOTS - 1);

	if (source->agent_runs && source->agent->more[slot].port[0])
		unplug(source, slot);
}

static void step_replug(unsigned int w)
{
	struct qube *source = any_source(w);
	unsigned int slot = 1 + (unsigned int)draw(&play.worlds[w], N_SLOTS - 1);

	if (!source->agent_runs || !source->agent->more[slot].port[0])
		return;
	unplug(source, slot);
	plug_in(source, slot, !one_in(&play.worlds[w], 3));
}

static struct qube *any_qube(unsigned int w)
{
	return &qubes[w][draw(&play.worlds[w], N_QUBES)];
}

static void step_agent_ends(unsigned int w)
{
	struct qube *qube = any_qube(w);

	if (!qube->agent_runs || !one_in(&play.worlds[w], 2))
		return;
	trace(w, "the agent of %s ends", qube->name);
	end_agent(qube);
	play.n_restarts++;
	if (one_in(&play.worlds[w], 2))
		start_agent(qube);
}

static void step_agent_starts(unsigned int w)
{
	struct qube *qube = any_qube(w);

	if (qube->runs && !qube->agent_runs)
		start_agent(qube);
}

/* Another may start with its domain id before the broker can have looked. */
static void step_qube_ends(unsigned int w)
{
	struct qube *qube = any_qube(w), *other = any_qube(w);

	if (!qube->runs)
		return;
	end_life(qube);
	if (one_in(&play.worlds[w], 2) && !other->runs)
		start_life(other);
}

static void step_qube_starts(unsigned int w)
{
	struct qube *qube = any_qube(w);

	if (!qube->runs)
		start_life(qube);
}

static void step_release(unsigned int w)
{
	release(any_qube(w));
}

static void step_stream_ends(unsigned int w)
{
	struct qube *qube = any_qube(w);

	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->agent_runs && qube->streams[i].session && qube->agent->state == WIRE_IN_READY) {
			end_stream(qube, &qube->streams[i], OUTCOME_CRASHED);
			return;
		}
}

static void step_sleep(unsigned int w)
{
	if (play.sleep.kind || (!play.suspended && !one_in(&play.worlds[w], 10)))
		return;
	play.n_sleeps += !play.suspended;
	start_call(&play.sleep, w, play.suspended ? CALL_RESUME : CALL_SUSPEND, NULL,
		   play.suspended ? "device.Resume" : "device.Suspend", "", "dom0", "");
}

/* kill -9; all calls end, all agents wait for the next one. */
static void step_kill(unsigned int w)
{
	if (!one_in(&play.worlds[w], 12))
		return;
	play.n_kills++;
	(void)stop_broker(SIGKILL);
	read_log();
	judge.life++;
	for (unsigned int i = 0; i < N_WORLDS; i++) {
		struct world *world = &play.worlds[i];

		trace(i, "the broker is killed");
		for (unsigned int c = 0; c < N_CALLS; c++) {
			ssize_t n = 1;

			while (world->calls[c].kind && n > 0) {
				n = read(world->calls[c].fd, world->calls[c].bytes + world->calls[c].len,
					 sizeof(world->calls[c].bytes) - 1 - world->calls[c].len);
				world->calls[c].len += n > 0 ? (size_t)n : 0;
			}
			if (world->calls[c].kind)
				on_reply(&world->calls[c], i, true);
		}
		world->n_calls = world->n_lists = 0;
		world->changed = true;
		for (unsigned int q = 0; q < N_QUBES; q++) {
			struct qube *qube = &qubes[i][q];

			for (unsigned int h = 0; h < N_STREAMS; h++)
				if (qube->held[h].type == WIRE_STOP)
					drop_stream(qube, qube->held[h].session);
			memset(qube->held, 0, sizeof(qube->held));
		}
	}
	if (play.sleep.kind)
		on_reply(&play.sleep, w, true);
	play.suspended = false;
	start_broker();
	for (unsigned int i = 0; i < N_WORLDS; i++)
		for (unsigned int q = 0; q < N_QUBES; q++)
			if (qubes[i][q].agent_runs)
				listen_at_new_port(qubes[i][q].agent);
}

static const struct {
	void (*take)(unsigned int world);
	unsigned int weight;
} steps[] = {
	{step_attach, 40},     {step_detach, 10},  {step_move, 10},        {step_assign, 4},    {step_unassign, 5},
	{step_deny, 2},        {step_allow, 6},    {step_plug, 20},        {step_unplug, 5},    {step_replug, 5},
	{step_agent_ends, 1},  {step_release, 10}, {step_agent_starts, 8}, {step_qube_ends, 5}, {step_qube_starts, 14},
	{step_stream_ends, 3}, {step_sleep, 2},    {step_kill, 1},
};

static void step(unsigned int w)
{
	struct world *world = &play.worlds[w];
	unsigned int all = 0, at;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		all += steps[i].weight;
	if (play.suspended && one_in(world, 4))
		step_sleep(w);
	at = (unsigned int)draw(world, all);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (at < steps[i].weight) {
			steps[i].take(w);
			break;
		}
		at -= steps[i].weight;
	}
	judge_streams(w);
	world->n_steps--;
	world->wait_for = (unsigned int)draw(world, 4);
	world->wait_until = now_usec() + (one_in(world, 12) ? LONG_PACE_USEC : PACE_USEC);
}

/* ---- schedules --------------------------------------------------------------------------------------------------- */

/* All that is there answers now, and what was asked is awaited. */
static void begin_to_settle(unsigned int w)
{
	struct world *world = &play.worlds[w];

	world->settle_until = now_usec() + SETTLE_USEC;
	world->fault = "the broker does not come to every agent";
	world->changed = true;
	for (unsigned int q = 0; q < N_QUBES; q++) {
		struct qube *qube = &qubes[w][q];

		if (qube->runs && !qube->agent_runs)
			start_agent(qube);
		for (unsigned int i = 0; i < N_STREAMS; i++)
			release(qube);
	}
}

static bool holds_stop(unsigned int w)
{
	for (unsigned int q = 0; q < N_QUBES; q++)
		for (unsigned int i = 0; i < N_STREAMS; i++)
			if (qubes[w][q].held[i].type == WIRE_STOP)
				return true;
	return false;
}

static bool all_greeted(unsigned int w)
{
	for (unsigned int q = 0; q < N_QUBES; q++)
		if (qubes[w][q].runs && qubes[w][q].agent->state != WIRE_IN_READY)
			return false;
	return true;
}

static void ask_for_lists(unsigned int w)
{
	struct world *world = &play.worlds[w];

	world->n_lists = 0;
	world->changed = false;
	for (unsigned int q = 0; q < N_QUBES; q++)
		ask(world, CALL_LIST, &qubes[w][q], q < N_SOURCES ? USB "Available" : USB "Attached", "", "");
}

/* True: all is quiet and as it should be. */
static bool settle(unsigned int w)
{
	struct world *world = &play.worlds[w];
	const char *const lists[N_QUBES] = {world->lists[0], world->lists[1], world->lists[2], world->lists[3],
					    world->lists[4]};
	const char *fault;

	if (world->n_calls == 0 && all_greeted(w) && world->n_lists == 0) {
		ask_for_lists(w);
		return false;
	}
	if (world->n_calls == 0 && world->n_lists == N_QUBES) {
		read_log();
		fault = world->changed ? "it does not come to rest" : compare(w, lists);
		fault = fault ? fault : compare_ends(w);
		if (!fault)
			return true;
		world->fault = fault;
		world->n_lists = 0;
		world->wait_for = 1;
		world->wait_until = now_usec() + PACE_USEC;
	}
	if (now_usec() > world->settle_until)
		violation(w, "%u requests are open; %s", world->n_calls, world->fault);
	return false;
}

static void begin_schedule(unsigned int w)
{
	struct world *world = &play.worlds[w];

	judge.schedule[w] = play.seed + play.n_begun++;
	world->random = judge.schedule[w] * 0x9E3779B97F4A7C15ull | 1;
	world->plays = true;
	world->silent_until = world->settle_until = 0;
	world->n_lists = 0;
	world->n_steps = 12 + (unsigned int)draw(world, 9);
	world->since_usec = now_usec();
	trace(w, "---- schedule %llu", (unsigned long long)judge.schedule[w]);
}

/* Goes on as far as it can without waiting. */
static void go_on(unsigned int w)
{
	struct world *world = &play.worlds[w];

	while (world->plays && world->n_steps > 0 && (world->wait_for == 0 || now_usec() >= world->wait_until))
		step(w);
	if (!world->plays || world->n_steps > 0)
		return;
	if (world->silent_until == 0)
		world->silent_until = holds_stop(w) && one_in(world, 4) ? now_usec() + SILENCE_USEC : 1;
	if (now_usec() < world->silent_until)
		return;
	if (!world->settle_until)
		begin_to_settle(w);
	if ((world->wait_for > 0 && now_usec() < world->wait_until) || !settle(w))
		return;
	if (now_usec() - world->since_usec > play.slowest_usec)
		play.slowest_usec = now_usec() - world->since_usec;
	play.n_done++;
	world->plays = false;
	world->wait_for = 0;
	if (play.n_begun < play.n_wanted)
		begin_schedule(w);
}

/* Until the first world may go on that waits for time only. */
static int msec_to_next(void)
{
	uint64_t now = now_usec(), next = now + LONG_PACE_USEC;

	for (unsigned int w = 0; w < N_WORLDS; w++) {
		const struct world *world = &play.worlds[w];

		if (world->plays && world->wait_for > 0 && world->wait_until < next)
			next = world->wait_until;
	}
	return next > now ? (int)((next - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC) : 0;
}

/* Waits until something comes for anybody, or the first world that waits for time may go on. */
static void wait_for_all(void)
{
	struct pollfd fds[N_WORLDS * (N_QUBES + N_CALLS) + 1];
	struct qube *of_qube[ARRAY_SIZE(fds)];
	struct call *of_call[ARRAY_SIZE(fds)];
	unsigned int of_world[ARRAY_SIZE(fds)];
	const unsigned int life = judge.life;
	nfds_t n = 0;

	for (unsigned int w = 0; w < N_WORLDS; w++) {
		for (unsigned int q = 0; q < N_QUBES; q++)
			if (qubes[w][q].agent->channel) {
				const struct channel *channel = qubes[w][q].agent->channel;

				of_qube[n] = &qubes[w][q];
				fds[n++] = (struct pollfd){.fd = channel_fd(channel),
							   .events = channel_poll_events(channel, false)};
			}
		for (unsigned int c = 0; c < N_CALLS; c++)
			if (play.worlds[w].calls[c].kind) {
				of_qube[n] = NULL;
				of_call[n] = &play.worlds[w].calls[c];
				of_world[n] = w;
				fds[n++] = (struct pollfd){.fd = play.worlds[w].calls[c].fd, .events = POLLIN};
			}
	}
	if (play.sleep.kind) {
		of_qube[n] = NULL;
		of_call[n] = &play.sleep;
		of_world[n] = 0;
		fds[n++] = (struct pollfd){.fd = play.sleep.fd, .events = POLLIN};
	}
	if (poll(fds, n, msec_to_next()) <= 0)
		return;
	for (nfds_t i = 0; i < n && life == judge.life; i++) {
		if (!fds[i].revents)
			continue;
		if (of_qube[i])
			read_agent(of_qube[i]);
		else
			read_call(of_call[i], of_world[i]);
	}
}

static void make_worlds(void)
{
	for (unsigned int w = 0; w < N_WORLDS; w++) {
		play.worlds[w].random = (play.seed + w) * 0x9E3779B97F4A7C15ull | 1;
		for (unsigned int q = 0; q < N_QUBES; q++) {
			struct qube *qube = &qubes[w][q];

			*qube = (struct qube){.world = w, .index = q, .agent = &scene.agents[scene.n_agents++]};
			(void)snprintf(qube->name, sizeof(qube->name), "w%u-%s%u", w, q < N_SOURCES ? "usb" : "app", q);
			*qube->agent = (struct agent){.incarnation = 100, .patient = true};
			for (unsigned int s = 1; q < N_SOURCES && s < N_SLOTS; s++) {
				(void)snprintf(qube->agent->more[s].port, LIMIT_PORT_TEXT, "1-%u", s);
				(void)snprintf(qube->agent->more[s].serial, 16, "S%uA", s);
			}
			start_life(qube);
		}
	}
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void report(uint64_t usec)
{
	const struct {
		const char *what;
		uint64_t count;
		uint64_t
			one_in; /* at least one in so many schedules, else the test does not reach what it is for; 0: any */
	} counts[] = {
		{"records, all chained", judge.n_lines, 1},
		{"EXPORTs heard", judge.n_exports, 2},
		{"IMPORTs heard", judge.n_imports, 2},
		{"sessions attached", judge.n_attached, 2},
		{"sessions ended", judge.n_ended, 2},
		{"devices locked", judge.n_locked, 0},
		{"sessions adopted", judge.n_adopted, 200},
		{"sessions not adopted", judge.n_not_adopted, 200},
		{"deny lists put in force", judge.n_denied, 20},
		{"lives of qubes", play.n_lives, 5},
		{"domain ids taken over from another qube", judge.n_reused, 10},
		{"restarts of agents", play.n_restarts, 100},
		{"plugs", play.n_plugs, 4},
		{"replies", play.n_replies, 1},
		{"attaches done for users", play.n_good, 10},
		{"calls cut off with the broker", play.n_cut, 300},
		{"kill -9 of the broker", play.n_kills, 600},
		{"sleeps", play.n_sleeps, 0},
	};
	bool reached_all = true;

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		print_message("%8llu %s\n", (unsigned long long)counts[i].count, counts[i].what);
	print_message("%llu schedules in %.1f s, the slowest %.1f s, 0 violations\n", (unsigned long long)play.n_done,
		      (double)usec / (double)USEC_PER_SEC, (double)play.slowest_usec / (double)USEC_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(counts) && play.n_wanted >= N_SCHEDULES; i++)
		reached_all = reached_all && (!counts[i].one_in || counts[i].count >= play.n_wanted / counts[i].one_in);
	assert_true(reached_all);
}

static void test_random(void **unused _unused_)
{
	uint64_t since;

	play.seed = from_environment("QDB_TEST_SEED", 20261126);
	play.n_wanted = from_environment("QDB_TEST_SCHEDULES", N_SCHEDULES);
	judge.fd = -1;
	print_message("seed %llu, %llu schedules\n", (unsigned long long)play.seed, (unsigned long long)play.n_wanted);
	make_worlds();
	since = now_usec();
	for (unsigned int w = 0; w < N_WORLDS && play.n_begun < play.n_wanted; w++)
		begin_schedule(w);
	while (play.n_done < play.n_wanted) {
		for (unsigned int w = 0; w < N_WORLDS; w++)
			go_on(w);
		wait_for_all();
	}
	report(now_usec() - since);
	if (judge.fd >= 0)
		(void)close(judge.fd);
}

/* In memory, where there is room: what a disk adds is waiting. */
static int begin_scene(void **unused _unused_)
{
	return scene_begin_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
}

static int end_of_scene(void **state)
{
	return judge.violated ? stop_broker(SIGKILL) & 0 : scene_end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_random, begin_scene, end_of_scene)};

	return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
