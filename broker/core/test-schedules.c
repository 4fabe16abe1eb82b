// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HP05, DI01, PD10: random schedules of users, plugs, agents, qubes, audits and time against the core, judged by a
 * model of the world that shares nothing with it: the agents below really hold streams, and the checks look at those,
 * at the actions and at the answers, never at the core's own notes.
 *
 *   QDB_TEST_SEED=n      the first schedule's seed
 *   QDB_TEST_SCHEDULES=n how many
 */
#include "tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/core.h"
#include "lib/base/base.h"

#define N_QUBES 4
#define N_PORTS 3
#define N_STREAMS 16
#define N_QUEUE 128
#define N_TOKENS 4096
#define N_SESSIONS 4096
#define N_STEPS 150
#define N_SCHEDULES 100000
/* A request passes at most: audit, export, import, stop. */
#define ANSWER_WITHIN (3 * TIMEOUT_ATTACH_STEP_USEC + TIMEOUT_STOP_USEC)

struct stream {
	bool used;
	uint8_t side;
	uint64_t session;
	uint64_t plug; /* export: which plugged-in piece of hardware */
	uint16_t peer; /* domain id at the other end */
};

/* What travels to an agent. */
struct order {
	enum core_action_type type;
	uint64_t session;
	uint16_t slot;
	uint32_t generation;
	uint16_t peer;
};

struct port {
	uint64_t plug; /* 0: empty; else unique in the test's life */
	uint32_t generation;
};

struct qube {
	bool alive;
	struct core_qube_ref ref;
	uint16_t domid;
	bool agent;     /* the process */
	bool connected; /* to the broker */
	bool deaf;      /* swallows orders, never answers */
	uint64_t incarnation;
	struct port ports[N_PORTS];
	struct stream streams[N_STREAMS];
	unsigned int n_orders, n_words;
	struct order orders[N_QUEUE];
	struct core_event words[N_QUEUE];
};

struct token {
	bool asked;
	unsigned int n_answers;
	uint64_t since_usec;
};

struct session {
	uint64_t number;
	bool audit_asked, audited, decided;
};

static struct world {
	struct core *core;
	uint64_t now_usec;
	uint64_t random;
	uint64_t n_plugs, n_incarnations, n_exports, n_attached;
	uint32_t epoch;
	uint16_t next_domid;
	struct qube qubes[N_QUBES];
	unsigned int n_tokens, n_sessions;
	struct token tokens[N_TOKENS];
	struct session sessions[N_SESSIONS];
	unsigned int first_open_token;
} w;

static uint64_t draw(uint64_t n)
{
	w.random ^= w.random >> 12;
	w.random ^= w.random << 25;
	w.random ^= w.random >> 27;
	return (w.random * 2685821657736338717ull >> 32) % n;
}

static struct qube *qube_of(struct core_qube_ref ref)
{
	for (unsigned int i = 0; i < N_QUBES; i++)
		if (w.qubes[i].alive && w.qubes[i].ref.index == ref.index &&
		    w.qubes[i].ref.incarnation == ref.incarnation)
			return &w.qubes[i];
	return NULL;
}

static struct session *session_of(uint64_t number)
{
	for (unsigned int i = w.n_sessions; i-- > 0;)
		if (w.sessions[i].number == number)
			return &w.sessions[i];
	return NULL;
}

/* Is an export of this session running, or on its way to its agent? */
static bool may_flow(const struct qube *qube, uint64_t session)
{
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].used && qube->streams[i].side == WIRE_SIDE_EXPORT &&
		    qube->streams[i].session == session)
			return true;
	for (unsigned int i = 0; i < qube->n_orders; i++)
		if (qube->orders[i].type == CORE_DO_EXPORT && qube->orders[i].session == session)
			return true;
	return false;
}

static void order(const struct core_action *action)
{
	struct qube *qube = qube_of(action->qube);
	const struct core_qube *target = action->device ? core_find_qube(w.core, action->device->target) : NULL;
	struct order *o;

	assert_non_null(qube);
	assert_true(qube->connected); /* the core never orders where nobody listens */
	assert_true(qube->n_orders < N_QUEUE);
	o = &qube->orders[qube->n_orders++];
	*o = (struct order){.type = action->type, .session = action->session};
	if (action->type == CORE_DO_EXPORT) {
		struct session *session = session_of(action->session);

		assert_true(session && session->audited); /* promise 1 */
		assert_non_null(target);
		o->slot = action->device->ref.slot;
		o->generation = action->device->ref.generation;
		o->peer = target->domid;
	}
}

static void on_answer(const struct core_action *action)
{
	struct token *token;

	assert_in_range(action->token, 1, w.n_tokens);
	token = &w.tokens[action->token - 1];
	assert_true(token->asked);
	assert_int_equal(token->n_answers++, 0);
	assert_true(w.now_usec - token->since_usec <= ANSWER_WITHIN);
}

static void on_action(void *userdata _unused_, const struct core_action *action)
{
	switch (action->type) {
	case CORE_DO_AUDIT:
		assert_null(session_of(action->session));
		assert_true(w.n_sessions < N_SESSIONS);
		w.sessions[w.n_sessions++] = (struct session){.number = action->session, .audit_asked = true};
		break;
	case CORE_DO_EXPORT:
	case CORE_DO_IMPORT:
	case CORE_DO_STOP_SOURCE:
	case CORE_DO_STOP_TARGET:
	case CORE_DO_STOP_STRAY:
		order(action);
		break;
	case CORE_DO_ANSWER:
		on_answer(action);
		break;
	case CORE_DO_ATTACHED:
		w.n_attached++;
		break;
	case CORE_DO_NOTE:
		/* whenever the core calls a device free, its source must run nothing of that session */
		if (action->state == CORE_FREE) {
			struct qube *qube = qube_of(action->device->ref.qube);

			assert_true(!qube || !may_flow(qube, action->session));
		}
		break;
	case CORE_DO_DEVICE_ADDED:
	case CORE_DO_DEVICE_REMOVED:
	case CORE_DO_DETACHED:
		break;
	}
}

static int tell(struct core_event event)
{
	event.now_usec = w.now_usec;
	return core_handle(w.core, &event, NULL);
}

/* ---- the agents -------------------------------------------------------------------------------------------------- */

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
	(void)snprintf(event.device.port, sizeof(event.device.port), "1-%u", p + 1);
	say(qube, event);
}

/* Promise 2: one piece of hardware, one running export, whatever the core believes. */
static void check_single_target(const struct qube *qube)
{
	for (unsigned int i = 0; i < N_STREAMS; i++)
		for (unsigned int j = i + 1; j < N_STREAMS; j++)
			assert_false(qube->streams[i].used && qube->streams[j].used &&
				     qube->streams[i].side == WIRE_SIDE_EXPORT &&
				     qube->streams[j].side == WIRE_SIDE_EXPORT &&
				     qube->streams[i].plug == qube->streams[j].plug);
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
	*free_stream = (struct stream){.used = true, .session = o->session, .peer = o->peer};
	free_stream->side = is_export ? WIRE_SIDE_EXPORT : WIRE_SIDE_IMPORT;
	free_stream->plug = is_export ? qube->ports[o->slot].plug : 0;
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

static void connect_agent(struct qube *qube)
{
	struct core_event event = {.type = CORE_AGENT_READY};

	if (!qube->alive || qube->connected)
		return;
	if (!qube->agent) {
		qube->agent = true;
		qube->incarnation = ++w.n_incarnations;
		for (unsigned int p = 0; p < N_PORTS; p++)
			qube->ports[p].generation = 1; /* numbers start anew: the same as before */
	}
	/* what the old channel still held is read first, or lost with it */
	while (qube->n_orders > 0 && draw(2))
		agent_step(qube);
	qube->n_orders = qube->n_words = 0;
	qube->connected = true;
	qube->deaf = draw(8) == 0;
	event.agent_ready.roles = WIRE_ROLE_EXPORT | WIRE_ROLE_IMPORT;
	event.agent_ready.incarnation = qube->incarnation;
	say(qube, event);
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].used) {
			event = (struct core_event){.type = CORE_AGENT_SESSION};
			event.agent_session.session = qube->streams[i].session;
			event.agent_session.side = qube->streams[i].side;
			say(qube, event);
		}
	say(qube, (struct core_event){.type = CORE_LIST_BEGIN});
	for (unsigned int p = 0; p < N_PORTS; p++)
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

/* What the agent said arrives; sometimes twice, and sometimes as if another qube had said it. */
static void deliver(struct qube *qube)
{
	struct core_event event;

	if (!qube->connected || qube->n_words == 0)
		return;
	event = qube->words[0];
	memmove(&qube->words[0], &qube->words[1], --qube->n_words * sizeof(event));
	assert_int_not_equal(tell(event), CORE_EVENT_CHEATED);
	if (event.type >= CORE_EXPORTED && event.type <= CORE_ENDED && draw(8) == 0) {
		if (event.type == CORE_EXPORTED || event.type == CORE_IMPORTED)
			(void)tell(event);
		event.qube = w.qubes[draw(N_QUBES)].ref;
		event.session.session ^= 1ull << 60; /* of no session at all */
		assert_int_equal(tell(event), CORE_EVENT_IGNORED);
	}
}

/* ---- the rest of the world --------------------------------------------------------------------------------------- */

static void start_qube(struct qube *qube, uint16_t domid)
{
	struct core_event event = {.type = CORE_QUBE_STARTED, .now_usec = w.now_usec};

	memset(qube, 0, sizeof(*qube));
	event.qube_started.domid = qube->domid = domid;
	(void)snprintf(event.qube_started.name, sizeof(event.qube_started.name), "qube-%u", domid);
	qube->alive = true;
	assert_int_equal(core_handle(w.core, &event, &qube->ref), 0);
}

static void kill_qube(struct qube *qube)
{
	struct core_qube_ref ref = qube->ref;
	uint16_t domid = qube->domid;

	if (!qube->alive)
		return;
	memset(qube, 0, sizeof(*qube));
	if (draw(2)) { /* its domain id is seen again before anybody said that it was gone */
		start_qube(qube, domid);
		assert_int_equal(tell((struct core_event){.type = CORE_QUBE_GONE, .qube = ref}), CORE_EVENT_IGNORED);
		return;
	}
	assert_int_equal(tell((struct core_event){.type = CORE_QUBE_GONE, .qube = ref}), 0);
	assert_int_equal(tell((struct core_event){.type = CORE_AGENT_LOST, .qube = ref}), CORE_EVENT_IGNORED);
}

static void plug(struct qube *qube, bool in)
{
	unsigned int p = (unsigned int)draw(N_PORTS);
	struct core_event event = {.type = CORE_DEVICE_GONE};

	if (!qube->alive)
		return;
	if (qube->ports[p].plug != 0) { /* also a re-plug whose end nobody tells */
		event.gone.slot = (uint16_t)p;
		event.gone.generation = qube->ports[p].generation;
		qube->ports[p].plug = 0;
		for (unsigned int i = 0; i < N_STREAMS; i++)
			if (qube->streams[i].plug == qube->ports[p].plug && draw(2))
				stream_dies(qube);
		if (!in || draw(2))
			say(qube, event);
	}
	if (in) {
		qube->ports[p].plug = ++w.n_plugs;
		qube->ports[p].generation++;
		say_device(qube, p);
	}
}

static void ask(void)
{
	const struct qube *source = &w.qubes[draw(N_QUBES)], *target = &w.qubes[draw(N_QUBES)];
	const struct core_qube *qube = core_find_qube(w.core, source->ref);
	struct core_event event = {.type = draw(3) ? CORE_ATTACH : CORE_DETACH};
	unsigned int cursor = 0, skip = (unsigned int)draw(N_PORTS);
	const struct core_device *device = qube ? core_next_device(qube, &cursor) : NULL;

	while (device && skip-- > 0) {
		const struct core_device *next = core_next_device(qube, &cursor);

		device = next ? next : device;
	}
	if (!device || w.n_tokens == N_TOKENS)
		return;
	event.request.device = device->ref;
	event.request.target = event.type == CORE_DETACH && draw(4) ? device->target : target->ref;
	if (draw(16) == 0)
		event.request.device.generation++;
	w.tokens[w.n_tokens++] = (struct token){.asked = true, .since_usec = w.now_usec};
	event.request.token = w.n_tokens;
	(void)tell(event);
}

static void audit(void)
{
	struct core_event event = {.type = draw(8) ? CORE_AUDITED : CORE_AUDIT_FAILED};
	struct session *session;

	if (w.n_sessions == 0)
		return;
	session = &w.sessions[w.n_sessions - 1 - draw(w.n_sessions < 3 ? w.n_sessions : 3)];
	event.session.session = session->number;
	if (!session->decided && event.type == CORE_AUDITED)
		session->audited = true;
	if (session->decided) /* late and twice: must change nothing */
		assert_int_equal(tell(event), CORE_EVENT_IGNORED);
	else
		(void)tell(event);
	session->decided = true;
}

/* Time passes; the core is told at each deadline that it named, a little late at most. */
static void pass(uint64_t usec)
{
	uint64_t until = w.now_usec + usec;

	while (core_next_deadline(w.core) <= until) {
		assert_true(core_next_deadline(w.core) >= w.now_usec);
		w.now_usec = core_next_deadline(w.core);
		(void)tell((struct core_event){.type = CORE_TICK});
	}
	w.now_usec = until;
}

static void check_tokens(void)
{
	while (w.first_open_token < w.n_tokens && w.tokens[w.first_open_token].n_answers == 1)
		w.first_open_token++;
	for (unsigned int i = w.first_open_token; i < w.n_tokens; i++)
		assert_true(w.tokens[i].n_answers == 1 || w.now_usec - w.tokens[i].since_usec <= ANSWER_WITHIN);
}

static void restart_broker(void)
{
	w.core = core_free(w.core);
	w.core = core_new(++w.epoch, on_action, NULL);
	assert_non_null(w.core);
	w.n_tokens = w.first_open_token = w.n_sessions = 0;
	for (unsigned int i = 0; i < N_QUBES; i++) {
		struct core_event event = {.type = CORE_QUBE_STARTED, .now_usec = w.now_usec};

		if (!w.qubes[i].alive)
			continue;
		w.qubes[i].connected = false;
		w.qubes[i].n_words = 0;
		event.qube_started.domid = w.qubes[i].domid;
		assert_int_equal(core_handle(w.core, &event, &w.qubes[i].ref), 0);
	}
	for (unsigned int i = 0; i < N_QUBES && draw(8); i++) {
		connect_agent(&w.qubes[i]);
		while (w.qubes[i].n_words > 0)
			deliver(&w.qubes[i]);
	}
}

static void step(void)
{
	struct qube *qube = &w.qubes[draw(N_QUBES)];
	uint64_t kind = draw(100);

	if (kind < 36)
		deliver(qube);
	else if (kind < 66)
		agent_step(qube);
	else if (kind < 76)
		ask();
	else if (kind < 90)
		audit();
	else if (kind < 92)
		plug(qube, draw(3) != 0);
	else if (kind < 93)
		stream_dies(qube);
	else if (kind < 97)
		connect_agent(qube);
	else if (kind < 98)
		lose_agent(qube, draw(2));
	else if (kind < 99)
		pass(draw(4 * USEC_PER_SEC));
	else if (!qube->alive)
		start_qube(qube, ++w.next_domid);
	else if (draw(2))
		kill_qube(qube);
	if (draw(2000) == 0)
		restart_broker();
	check_tokens();
}

/* Everybody becomes honest and awake; then nothing may be left of anything. */
static void quiesce(void)
{
	unsigned int cursor = 0;

	for (unsigned int i = 0; i < N_QUBES; i++) {
		w.qubes[i].deaf = false;
		lose_agent(&w.qubes[i], false);
		connect_agent(&w.qubes[i]);
		w.qubes[i].deaf = false;
	}
	for (unsigned int round = 0; round < 2 * N_QUEUE; round++)
		for (unsigned int i = 0; i < N_QUBES; i++) {
			deliver(&w.qubes[i]);
			agent_step(&w.qubes[i]);
		}
	pass(ANSWER_WITHIN);
	for (unsigned int i = w.first_open_token; i < w.n_tokens; i++)
		assert_int_equal(w.tokens[i].n_answers, 1);
	assert_true(core_next_deadline(w.core) == UINT64_MAX);
	for (const struct core_qube *qube = NULL; (qube = core_next_qube(w.core, &cursor));) {
		unsigned int n = 0;

		for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
			n += qube->devices[i].used;
			assert_true(!qube->devices[i].used || qube->devices[i].state == CORE_FREE ||
				    qube->devices[i].state == CORE_ATTACHED);
		}
		for (unsigned int p = 0; qube_of(qube->ref) && p < N_PORTS; p++)
			n -= qube_of(qube->ref)->ports[p].plug != 0;
		assert_int_equal(n, 0); /* the list is what is plugged in */
	}
	w.n_tokens = w.first_open_token = w.n_sessions = 0;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void test_schedules(void **unused _unused_)
{
	uint64_t seed = from_environment("QDB_TEST_SEED", 20261123);
	uint64_t n = from_environment("QDB_TEST_SCHEDULES", N_SCHEDULES);

	print_message("seed %llu, %llu schedules of %d steps\n", (unsigned long long)seed, (unsigned long long)n,
		      N_STEPS);
	memset(&w, 0, sizeof(w));
	w.now_usec = USEC_PER_SEC;
	w.core = core_new(++w.epoch, on_action, NULL);
	for (uint64_t i = 0; i < n; i++) {
		w.random = (seed + i) * 0x9E3779B97F4A7C15ull | 1;
		for (unsigned int q = 0; q < N_QUBES; q++) {
			if (!w.qubes[q].alive)
				start_qube(&w.qubes[q], ++w.next_domid);
			connect_agent(&w.qubes[q]);
			while (w.qubes[q].n_words > 0)
				deliver(&w.qubes[q]);
			plug(&w.qubes[q], true);
		}
		for (unsigned int s = 0; s < N_STEPS; s++)
			step();
		quiesce();
	}
	print_message("%llu exports ran, %llu attachments came about\n", (unsigned long long)w.n_exports,
		      (unsigned long long)w.n_attached);
	assert_true(w.n_exports > n / 2 && w.n_attached > n / 10); /* the schedules do reach what they are for */
	w.core = core_free(w.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_schedules)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
