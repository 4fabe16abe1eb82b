// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The core's transitions, each pair of state and event in one table, and what happens with references that are stale.
 * The random schedules are in test-schedules.c.
 */
#include <stdio.h>
#include <string.h>

#include "broker/core/test-fixture.h"

/* Who or what an event of the table is about. */
enum about { FROM_SOURCE, FROM_TARGET, FROM_OTHER, TO_TARGET, TO_OTHER, NOW, LATER };

struct pair {
	const char *name;
	enum core_event_type type;
	enum about about;
	/*
	 * What each state makes of it: the state after it (F free, A auditing, E exporting, I importing, T attached,
	 * D detaching, L locked, P adopting, C clearing), then the actions (letters of on_action()); "=": ignored, nothing changed.
	 */
	const char *expected[CORE_STATE_COUNT];
};

/* clang-format off */
static const struct pair pairs[] = {
	/*                                                    FREE       AUDITING   EXPORTING  IMPORTING  ATTACHED   DETACHING  LOCKED    ADOPTING   CLEARING */
	{"attach here",        CORE_ATTACH,         TO_TARGET,   {"A A",      "A !",      "E !",      "I !",      "T !",      "D !",      "L !",      "P !",      "C !"}},
	{"attach elsewhere",   CORE_ATTACH,         TO_OTHER,    {"A A",      "A !",      "E !",      "I !",      "T !",      "D !",      "L !",      "P !",      "C !"}},
	{"detach here",        CORE_DETACH,         TO_TARGET,   {"F !",      "F nf!!",   "D ns",     "D nst",    "D nst",    "D !",      "L s!",     "D ns",     "F nf!!"}},
	{"detach elsewhere",   CORE_DETACH,         TO_OTHER,    {"F !",      "A !",      "E !",      "I !",      "T !",      "D !",      "L !",      "P !",      "C !"}},
	{"audited",            CORE_AUDITED,        FROM_SOURCE, {"=",        "E X",      "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"audit failed",       CORE_AUDIT_FAILED,   FROM_SOURCE, {"=",        "F nf!",    "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"exported",           CORE_EXPORTED,       FROM_SOURCE, {"=",        "=",        "I I",      "=",        "=",        "=",        "=",        "=",        "="}},
	{"exported, target",   CORE_EXPORTED,       FROM_TARGET, {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"exported, other",    CORE_EXPORTED,       FROM_OTHER,  {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"imported",           CORE_IMPORTED,       FROM_TARGET, {"=",        "=",        "=",        "T na!",    "=",        "=",        "=",        "=",        "="}},
	{"imported, source",   CORE_IMPORTED,       FROM_SOURCE, {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"stopped, source",    CORE_STOPPED,        FROM_SOURCE, {"=",        "=",        "F nf!",    "D nt",     "D nt",     "D",        "F ndf",    "F Nnf",    "="}},
	{"stopped, target",    CORE_STOPPED,        FROM_TARGET, {"=",        "=",        "=",        "D ns",     "D ns",     "D",        "L",        "D Nns",    "="}},
	{"stopped, other",     CORE_STOPPED,        FROM_OTHER,  {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"failed, source",     CORE_FAILED,         FROM_SOURCE, {"=",        "=",        "F nf!",    "D nt",     "D nt",     "D",        "F ndf",    "F Nnf",    "="}},
	{"failed, target",     CORE_FAILED,         FROM_TARGET, {"=",        "=",        "=",        "D ns",     "D ns",     "D",        "L",        "D Nns",    "="}},
	{"failed, other",      CORE_FAILED,         FROM_OTHER,  {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"ended, source",      CORE_ENDED,          FROM_SOURCE, {"=",        "=",        "F nf!",    "D nt",     "D nt",     "D",        "F ndf",    "F Nnf",    "="}},
	{"ended, target",      CORE_ENDED,          FROM_TARGET, {"=",        "=",        "=",        "D ns",     "D ns",     "D",        "L",        "D Nns",    "="}},
	{"ended, other",       CORE_ENDED,          FROM_OTHER,  {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"stream, source",     CORE_STREAM,         FROM_SOURCE, {"=",        "=",        "=",        "=",        "T",        "=",        "=",        "P",        "="}},
	{"stream, target",     CORE_STREAM,         FROM_TARGET, {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"source agent lost",  CORE_AGENT_LOST,     FROM_SOURCE, {"F",        "F nf!",    "D n",      "D nt",     "D nt",     "D",        "L",        "D Nn",     "F nf!"}},
	{"target agent lost",  CORE_AGENT_LOST,     FROM_TARGET, {"F",        "F nf!",    "D ns",     "D ns",     "D ns",     "D",        "L",        "=",        "F nf!"}},
	{"other agent lost",   CORE_AGENT_LOST,     FROM_OTHER,  {"F",        "A",        "E",        "I",        "T",        "D",        "L",        "P",        "C"}},
	{"source qube gone",   CORE_QUBE_GONE,      FROM_SOURCE, {"F -",      "F nf!-",   "F nf!-",   "F tnf!-",  "F tndf-",  "F ndf!-",  "F ndf-",   "F Nnf-",   "F nf!ndf--"}},
	{"target qube gone",   CORE_QUBE_GONE,      FROM_TARGET, {"F",        "F nf!",    "D ns",     "D ns",     "D ns",     "D",        "L",        "D Nns",    "F nf!"}},
	{"other qube gone",    CORE_QUBE_GONE,      FROM_OTHER,  {"F",        "A",        "E",        "I",        "T",        "D",        "L",        "P",        "C"}},
	{"unplugged",          CORE_DEVICE_GONE,    FROM_SOURCE, {"F -",      "F -nf!",   "D -ns",    "D -nst",   "D -nst",   "D -",      "L -",      "D -Nns",   "F -nf!"}},
	{"unplugged, other",   CORE_DEVICE_GONE,    FROM_OTHER,  {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"time, too early",    CORE_TICK,           NOW,         {"F",        "A",        "E",        "I",        "T",        "D",        "L",        "P",        "C"}},
	{"time is out",        CORE_TICK,           LATER,       {"F",        "F nf!",    "D ns",     "D nst",    "T",        "L n!",     "L",        "D Nns",    "F nf!n"}},
	{"session reported",   CORE_AGENT_SESSION,  FROM_SOURCE, {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"list begins",        CORE_LIST_BEGIN,     FROM_SOURCE, {"F",        "A",        "E",        "I",        "T",        "D",        "L",        "P",        "C"}},
	{"list ends",          CORE_LIST_END,       FROM_SOURCE, {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"device again",       CORE_DEVICE,         FROM_SOURCE, {"F",        "A",        "E",        "I",        "T",        "D",        "L",        "P",        "C"}},
	{"agent is back",      CORE_AGENT_READY,    FROM_SOURCE, {"F",        "F nf!",    "D n",      "D nt",     "D nt",     "D",        "L",        "D Nn",     "F nf!"}},
	{"agent is back, t",   CORE_AGENT_READY,    FROM_TARGET, {"F",        "F nf!",    "D ns",     "D ns",     "D ns",     "D",        "L",        "P",        "F nf!"}},
	{"move elsewhere",     CORE_MOVE,           TO_OTHER,    {"F !",      "A !",      "E !",      "I !",      "D nst",    "D !",      "L !",      "P !",      "C !"}},
	{"move to itself",     CORE_MOVE,           TO_TARGET,   {"F !",      "A !",      "E !",      "I !",      "T !",      "D !",      "L !",      "P !",      "C !"}},
	{"question answered",  CORE_ANSWERED,       NOW,         {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"somebody answers",   CORE_ANSWERERS,      NOW,         {"F",        "A",        "E",        "I",        "T",        "D",        "L",        "P",        "C"}},
	{"policy changed",     CORE_POLICY_CHANGED, NOW,         {"F",        "A",        "E",        "I",        "T",        "D",        "L",        "P",        "C"}},
	{"deny list of none",  CORE_DENIED,         NOW,         {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
	{"sleep",              CORE_SUSPEND,        NOW,         {"F !",      "F nf!!",   "D ns",     "D nst",    "D nst",    "D",        "L !",      "D Nns",    "F nf!"}},
	{"awake",              CORE_RESUMED,        NOW,         {"F",        "A",        "E",        "I",        "T",        "D",        "L",        "P",        "C"}},
	{"memory, too late",   CORE_REMEMBER,       NOW,         {"=",        "=",        "=",        "=",        "=",        "=",        "=",        "=",        "="}},
};
/* clang-format on */

static struct core_event make_event(struct fixture *f, const struct pair *pair)
{
	struct core_qube_ref qubes[LATER + 1] = {
		[FROM_SOURCE] = f->source, [FROM_TARGET] = f->target, [FROM_OTHER] = f->other,
		[TO_TARGET] = f->target,   [TO_OTHER] = f->other,     [LATER] = f->source};
	struct core_event event = {.type = pair->type, .qube = qubes[pair->about]};

	if (pair->about == LATER)
		f->now_usec += TIMEOUT_ADOPT_USEC; /* longer than a step, and a stop */
	if (pair->type == CORE_ATTACH || pair->type == CORE_DETACH || pair->type == CORE_MOVE) {
		event = request(pair->type, 200, f->device, event.qube);
		event.request.from = f->target;
		return event;
	}
	if (pair->type == CORE_SUSPEND) {
		event.request.token = 200;
		return event;
	}
	if (pair->type == CORE_DENIED || pair->type == CORE_ANSWERED)
		return event;
	if (pair->type == CORE_REMEMBER)
		return memory_event(0x888);
	if (pair->type == CORE_DEVICE_GONE) {
		event.gone.slot = f->device.slot;
		event.gone.generation = f->device.generation;
	} else if (pair->type == CORE_DEVICE) {
		return device_event(f->source, f->device.slot, f->device.generation, "1-2");
	} else if (pair->type == CORE_AGENT_READY) {
		event.agent_ready.roles = WIRE_ROLE_EXPORT;
		event.agent_ready.incarnation = 7;
	} else if (pair->type == CORE_STREAM) {
		event.stream.session = f->session;
		event.stream.side = WIRE_SIDE_EXPORT;
	} else if (pair->type == CORE_AGENT_SESSION) {
		event.agent_session.session = f->session;
		event.agent_session.side = WIRE_SIDE_EXPORT;
	} else {
		event.session.session = f->session;
		event.session.outcome = OUTCOME_OPEN_FAILED;
	}
	return event;
}

static void test_every_state_and_event(void **unused _unused_)
{
	static const char letters[CORE_STATE_COUNT + 1] = "FAEITDLPC";

	for (size_t p = 0; p < ARRAY_SIZE(pairs); p++)
		for (unsigned int state = 0; state < CORE_STATE_COUNT; state++) {
			const char *expected = pairs[p].expected[state];
			struct fixture f;
			char got[sizeof(f.actions) + 8];
			int r;

			setup(&f);
			walk_to(&f, (enum core_state)state);
			r = handle(&f, make_event(&f, &pairs[p]));
			if (r == CORE_EVENT_IGNORED && state_of(&f) == (enum core_state)state && f.actions[0] == '\0')
				(void)snprintf(got, sizeof(got), "=");
			else
				(void)snprintf(got, sizeof(got), "%c%s%s", letters[state_of(&f)],
					       f.actions[0] ? " " : "", f.actions);
			if (strcmp(got, expected) != 0)
				fail_msg("%s in %s: expected \"%s\", got \"%s\"", pairs[p].name,
					 core_state_name((enum core_state)state), expected, got);
			f.core = core_free(f.core);
		}
}

/* HP02, DI01: what names a former qube, a former plug, a former agent's device or a former session changes nothing. */
static void test_stale_references(void **unused _unused_)
{
	for (unsigned int state = 0; state < CORE_STATE_COUNT; state++) {
		struct core *before = malloc(sizeof(*before));
		struct core_qube_ref former;
		struct fixture f;

		setup(&f);
		walk_to(&f, (enum core_state)state);
		former = f.other;
		f.other = start_qube(&f, 5, "reborn"); /* the same domain id: the former one is gone */
		assert_true(former.incarnation != f.other.incarnation);
		f.actions[0] = '\0';
		for (unsigned int type = CORE_QUBE_STARTED + 1; type < CORE_EVENT_COUNT; type++) {
			struct core_event event = {.type = (enum core_event_type)type, .qube = former};

			if (type >= CORE_ATTACH && type <= CORE_TICK)
				continue;
			event.session.session = f.session ^ (1ull << 32);
			if (type != CORE_AUDITED && type != CORE_AUDIT_FAILED)
				event.session.session = f.session;
			f.core->now_usec = f.now_usec;
			memcpy(before, f.core, sizeof(*before));
			assert_int_equal(handle(&f, event), CORE_EVENT_IGNORED);
			assert_memory_equal(before, f.core, sizeof(*before));
			assert_string_equal(f.actions, "");
		}
		for (unsigned int i = 0; i < 4; i++) {
			struct core_device_ref stale[4] = {f.device, f.device, f.device, f.device};

			stale[0].generation++;
			stale[1].slot++;
			stale[2].agent_life++;
			stale[3].qube.incarnation++;
			memcpy(before, f.core, sizeof(*before));
			(void)handle(&f, request(CORE_ATTACH, 300, stale[i], f.target));
			assert_int_equal(f.answer, CORE_ANSWER_NO_DEVICE);
			(void)handle(&f, request(CORE_DETACH, 301, stale[i], f.target));
			assert_int_equal(f.answer, CORE_ANSWER_NO_DEVICE);
			assert_memory_equal(before, f.core, sizeof(*before));
		}
		f.core = core_free(f.core);
		free(before);
	}
}

/* Why an attach is refused, in the order in which it is looked at. */
static void test_refusals(void **unused _unused_)
{
	enum { NO_EXPORTER, NO_IMPORTER, NOT_SYNCED, TARGET_NOT_SYNCED, SELF, NO_QUBE, LOCKED, IN_USE, ALREADY, FINE };
	static const enum core_answer expected[] = {
		[NO_EXPORTER] = CORE_ANSWER_NO_SOURCE_AGENT,
		[NO_IMPORTER] = CORE_ANSWER_NO_TARGET_AGENT,
		[NOT_SYNCED] = CORE_ANSWER_NO_SOURCE_AGENT,
		[TARGET_NOT_SYNCED] = CORE_ANSWER_NO_TARGET_AGENT,
		[SELF] = CORE_ANSWER_SELF,
		[NO_QUBE] = CORE_ANSWER_NO_QUBE,
		[LOCKED] = CORE_ANSWER_LOCKED,
		[IN_USE] = CORE_ANSWER_IN_USE,
		[ALREADY] = CORE_ANSWER_ALREADY,
	};

	for (unsigned int i = 0; i <= FINE; i++) {
		struct fixture f;
		struct core_qube_ref target;

		setup(&f);
		target = f.target;
		if (i == NO_EXPORTER)
			f.core->qubes[f.source.index].roles = WIRE_ROLE_IMPORT;
		if (i == NO_IMPORTER)
			f.core->qubes[f.target.index].roles = WIRE_ROLE_EXPORT | WIRE_ROLE_IMPORT_MIC; /* not USB */
		if (i == NOT_SYNCED)
			agent_ready(&f, f.source, 7);
		if (i == TARGET_NOT_SYNCED)
			agent_ready(&f, f.target, 7);
		if (i == SELF)
			target = f.source;
		if (i == NO_QUBE)
			target.incarnation += 100;
		if (i == LOCKED)
			walk_to(&f, CORE_LOCKED);
		if (i == IN_USE || i == ALREADY)
			walk_to(&f, CORE_ATTACHED);
		if (i == IN_USE)
			target = f.other;
		f.actions[0] = '\0';
		(void)handle(&f, request(CORE_ATTACH, 5, f.device, target));
		assert_string_equal(f.actions, i == FINE ? "A" : "!");
		if (i != FINE)
			assert_int_equal(f.answer, expected[i]);
		f.core = core_free(f.core);
	}
}

/* When the importer refused, its exporter may be the first to say that it ended: why is what the importer's agent says then. */
static void test_refused_by_importer(void **unused _unused_)
{
	static const struct {
		enum outcome source, target, told;
	} cases[] = {
		{OUTCOME_OK, OUTCOME_NO_MODE, OUTCOME_NO_MODE},
		{OUTCOME_OK, OUTCOME_OK, OUTCOME_STOPPED},
		{OUTCOME_OK, OUTCOME_PEER_LOST, OUTCOME_STOPPED},
		{OUTCOME_UNPLUGGED, OUTCOME_NO_MODE, OUTCOME_UNPLUGGED},
		{OUTCOME_PEER_LOST, OUTCOME_OK, OUTCOME_PEER_LOST},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_event source, target;
		struct fixture f;

		setup(&f);
		walk_to(&f, CORE_IMPORTING);
		source = of_session(CORE_ENDED, f.source, f.session);
		source.session.outcome = cases[i].source;
		target = of_session(CORE_FAILED, f.target, f.session);
		target.session.outcome = cases[i].target;
		assert_int_equal(handle(&f, source), 0);
		assert_int_equal(state_of(&f), CORE_DETACHING);
		assert_int_equal(handle(&f, target), 0);
		assert_int_equal(state_of(&f), CORE_FREE);
		assert_int_equal(f.answer, CORE_ANSWER_FAILED);
		assert_int_equal(f.outcome, cases[i].told);
		f.core = core_free(f.core);
	}
}

/* PD01, PD10: an agent that is lost leaves the device locked; what it says when it is back decides. */
static void test_agent_returns(void **unused _unused_)
{
	static const struct {
		uint64_t incarnation;
		bool reports;
		const char *on_list;
		enum core_state state;
	} cases[] = {
		{7, false, "ndf", CORE_FREE}, /* the proxy is dead */
		{7, true, "s", CORE_LOCKED},  /* it still runs: STOP goes out again */
		{8, false, "-ndf", CORE_FREE},
		{8, true, "-y", CORE_LOCKED}, /* a new agent that claims an old stream: a stray as well */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_event event = {.type = CORE_AGENT_SESSION};
		struct fixture f;

		setup(&f);
		walk_to(&f, CORE_ATTACHED);
		(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.source});
		assert_string_equal(f.actions, "nt");
		(void)handle(&f, of_session(CORE_STOPPED, f.target, f.session));
		f.now_usec += TIMEOUT_STOP_USEC;
		(void)handle(&f, (struct core_event){.type = CORE_TICK});
		assert_int_equal(state_of(&f), CORE_LOCKED);
		(void)handle(&f, request(CORE_ATTACH, 9, f.device, f.other));
		assert_int_equal(f.answer, CORE_ANSWER_LOCKED);

		f.actions[0] = '\0';
		agent_ready(&f, f.source, cases[i].incarnation);
		event.qube = f.source;
		event.agent_session.session = f.session;
		event.agent_session.side = WIRE_SIDE_EXPORT;
		if (cases[i].reports)
			assert_int_equal(handle(&f, event), 0);
		(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
		assert_string_equal(f.actions, cases[i].on_list);
		assert_int_equal(state_of(&f), cases[i].state);
		(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
		assert_int_equal(state_of(&f), CORE_FREE);
		f.core = core_free(f.core);
	}
}

/* After a restart of the broker: nothing of that qube can be attached before its stray exports are stopped. */
static void test_strays(void **unused _unused_)
{
	struct core_event report = {.type = CORE_AGENT_SESSION};
	struct fixture f;

	setup(&f);
	f.actions[0] = '\0';
	agent_ready(&f, f.source, 7);
	report.qube = f.source;
	report.agent_session.side = WIRE_SIDE_IMPORT;
	report.agent_session.session = 0x1111;
	assert_int_equal(handle(&f, report), 0);
	report.agent_session.side = WIRE_SIDE_EXPORT;
	for (uint64_t session = 1; session <= LIMIT_DEVICES; session++) {
		f.actions[0] = '\0';
		report.agent_session.session = session;
		assert_int_equal(handle(&f, report), 0);
		assert_string_equal(f.actions, "y");
	}
	f.actions[0] = '\0';
	assert_int_equal(handle(&f, report), CORE_EVENT_CHEATED); /* the same one twice */
	report.agent_session.session = LIMIT_DEVICES + 1;
	assert_int_equal(handle(&f, report), CORE_EVENT_CHEATED); /* more streams than devices */
	assert_string_equal(f.actions, "");
	(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
	for (uint64_t session = 1; session <= LIMIT_DEVICES; session++) {
		f.actions[0] = '\0';
		(void)handle(&f, request(CORE_ATTACH, session, f.device, f.target));
		assert_int_equal(f.answer, CORE_ANSWER_LOCKED);
		assert_int_equal(handle(&f, of_session(CORE_STOPPED, f.target, session)), CORE_EVENT_IGNORED);
		assert_int_equal(handle(&f, of_session(session % 2 ? CORE_STOPPED : CORE_ENDED, f.source, session)), 0);
	}
	f.actions[0] = '\0';
	(void)handle(&f, request(CORE_ATTACH, 999, f.device, f.target));
	assert_string_equal(f.actions, "A");
	f.core = core_free(f.core);
}

/* CF21, HP14, HP04: what an agent may say about devices, and what contradicts itself. */
static void test_inventory(void **unused _unused_)
{
	struct core_event event;
	unsigned int cursor = 0, n = 0;
	struct fixture f;
	char port[LIMIT_PORT_TEXT];

	setup(&f);
	f.actions[0] = '\0';
	event = device_event(f.source, LIMIT_DEVICES, 1, "1-9");
	assert_int_equal(handle(&f, event), CORE_EVENT_CHEATED);
	event = device_event(f.source, 2, 9, "1-2");
	event.device.vendor++;
	assert_int_equal(handle(&f, event), CORE_EVENT_CHEATED); /* UD01: one plug, two identities */
	event.device.vendor--;
	event.device.digest[31] ^= 1;
	assert_int_equal(handle(&f, event), CORE_EVENT_CHEATED);
	event.device.digest[31] ^= 1;
	(void)strcpy(event.device.parent, "2-1");
	assert_int_equal(handle(&f, event), CORE_EVENT_CHEATED);
	assert_string_equal(f.actions, "");
	assert_int_equal(handle(&f, device_event(f.source, 2, 10, "1-2")), 0); /* a re-plug, its end was not told */
	assert_string_equal(f.actions, "-+");
	assert_null(core_find_device(f.core, f.device));
	assert_int_equal(handle(&f, device_event(f.source, 3, 1, "1-2")), 0); /* another slot, but that port */
	assert_string_equal(f.actions, "-+-+");

	for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
		(void)snprintf(port, sizeof(port), "2-%u", i + 1);
		f.actions[0] = '\0';
		assert_int_equal(handle(&f, device_event(f.source, (uint16_t)i, 100, port)), 0);
	}
	while (core_next_device(core_find_qube(f.core, f.source), &cursor))
		n++;
	assert_int_equal(n, LIMIT_DEVICES);

	/* a list without them removes them, a list with one of them keeps it */
	f.actions[0] = '\0';
	(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
	(void)handle(&f, device_event(f.source, 5, 100, "2-6"));
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
		event = (struct core_event){.type = CORE_DEVICE_GONE, .qube = f.source};
		event.gone.slot = (uint16_t)i;
		event.gone.generation = 100;
		if (i % 2 == 0)
			(void)handle(&f, event);
	}
	f.actions[0] = '\0';
	(void)handle(&f, (struct core_event){.type = CORE_LIST_END, .qube = f.source});
	assert_int_equal(strlen(f.actions), 31);
	assert_non_null(core_find_device_by_port(f.core, core_find_qube(f.core, f.source), "2-6"));
	f.core = core_free(f.core);
}

static void test_limits(void **unused _unused_)
{
	struct core_event event = {.type = CORE_QUBE_STARTED};
	struct fixture f;
	char id[CORE_DEVICE_ID_MAX];

	setup(&f);
	for (unsigned int i = 3; i < LIMIT_QUBES; i++)
		(void)start_qube(&f, (uint16_t)(100 + i), "q");
	event.qube_started.domid = 5000;
	assert_int_equal(handle(&f, event), CORE_EVENT_FULL);
	event.qube_started.domid = 5; /* re-used: makes its own room */
	assert_int_equal(handle(&f, event), 0);
	assert_null(core_find_qube(f.core, f.other));
	assert_non_null(core_find_qube_by_domid(f.core, 5));
	assert_null(core_find_qube_by_domid(f.core, 5000));
	assert_int_equal(core_find_qube_by_name(f.core, "sys-usb")->domid, 3);
	assert_int_equal(core_device_id(core_find_device(f.core, f.device), id), 22);
	assert_string_equal(id, "0781:5581:AB12:u080650");
	assert_true(core_next_deadline(f.core) == UINT64_MAX);
	walk_to(&f, CORE_AUDITING);
	assert_true(core_next_deadline(f.core) == f.now_usec + TIMEOUT_ATTACH_STEP_USEC);
	for (unsigned int i = 0; i < CORE_STATE_COUNT; i++)
		assert_true(strcmp(core_state_name((enum core_state)i), "unknown") != 0);
	for (unsigned int i = 0; i < CORE_ANSWER_COUNT; i++)
		assert_non_null(core_answer_text((enum core_answer)i));
	f.core = core_free(f.core);
}

static int say_stream(struct fixture *f, struct core_qube_ref qube, enum wire_side side, uint64_t to, uint64_t from)
{
	struct core_event event = {.type = CORE_STREAM, .qube = qube};

	event.stream.session = f->session;
	event.stream.side = (uint8_t)side;
	event.stream.in_use = true;
	event.stream.bytes_to_target = to;
	event.stream.bytes_from_target = from;
	return handle(f, event);
}

/* What each side says is kept apart, grows only, ends with its session, and decides nothing. */
static void test_streams(void **unused _unused_)
{
	const struct core_device *device;
	struct fixture f;

	setup(&f);
	walk_to(&f, CORE_ATTACHED);
	device = core_find_device(f.core, f.device);
	f.now_usec = 77;
	assert_int_equal(say_stream(&f, f.source, WIRE_SIDE_EXPORT, 10, 20), 0);
	assert_int_equal(device->source_stream.bytes_to_target, 10);
	assert_int_equal(device->source_stream.bytes_from_target, 20);
	assert_int_equal(device->source_stream.at_usec, 77);
	assert_true(device->source_stream.in_use);
	assert_int_equal(device->target_stream.at_usec, 0);
	assert_int_equal(say_stream(&f, f.target, WIRE_SIDE_IMPORT, 9, UINT64_MAX), 0);
	assert_int_equal(device->target_stream.bytes_from_target, UINT64_MAX);
	f.now_usec = 78;
	assert_int_equal(say_stream(&f, f.source, WIRE_SIDE_EXPORT, 9, 30), CORE_EVENT_IGNORED);
	assert_int_equal(say_stream(&f, f.source, WIRE_SIDE_EXPORT, 11, 19), CORE_EVENT_IGNORED);
	assert_int_equal(say_stream(&f, f.source, WIRE_SIDE_IMPORT, 100, 200), CORE_EVENT_IGNORED);
	assert_int_equal(say_stream(&f, f.target, WIRE_SIDE_EXPORT, 100, 200), CORE_EVENT_IGNORED);
	assert_int_equal(say_stream(&f, f.other, WIRE_SIDE_EXPORT, 100, 200), CORE_EVENT_IGNORED);
	f.session++;
	assert_int_equal(say_stream(&f, f.source, WIRE_SIDE_EXPORT, 100, 200), CORE_EVENT_IGNORED);
	f.session--;
	assert_int_equal(device->source_stream.bytes_to_target, 10);
	assert_int_equal(device->source_stream.at_usec, 77);
	assert_int_equal(say_stream(&f, f.source, WIRE_SIDE_EXPORT, 10, 21), 0);
	assert_int_equal(device->source_stream.bytes_from_target, 21);
	assert_string_equal(f.actions, "");

	(void)handle(&f, request(CORE_DETACH, 101, f.device, f.target));
	assert_int_equal(say_stream(&f, f.source, WIRE_SIDE_EXPORT, 100, 200), CORE_EVENT_IGNORED);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
	(void)handle(&f, of_session(CORE_STOPPED, f.target, f.session));
	assert_int_equal(state_of(&f), CORE_FREE);
	assert_int_equal(device->source_stream.at_usec, 0);
	assert_int_equal(device->target_stream.bytes_from_target, 0);
	f.core = core_free(f.core);
}

/* TO07: how a detach ends, and what is said about it. */
static void test_detach_answers(void **unused _unused_)
{
	static const struct {
		bool source, target;
		enum core_answer answer;
		bool confirmed;
		enum core_state state;
	} cases[] = {
		{true, true, CORE_ANSWER_DONE, true, CORE_FREE},
		{true, false, CORE_ANSWER_DONE, false, CORE_FREE},
		{false, true, CORE_ANSWER_NOT_CONFIRMED, false, CORE_LOCKED},
		{false, false, CORE_ANSWER_NOT_CONFIRMED, false, CORE_LOCKED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;

		setup(&f);
		walk_to(&f, CORE_DETACHING);
		if (cases[i].source)
			(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
		if (cases[i].target)
			(void)handle(&f, of_session(CORE_STOPPED, f.target, f.session));
		f.now_usec += TIMEOUT_STOP_USEC - 1;
		(void)handle(&f, (struct core_event){.type = CORE_TICK});
		assert_int_equal(state_of(&f), cases[i].source && cases[i].target ? CORE_FREE : CORE_DETACHING);
		f.now_usec += 1;
		(void)handle(&f, (struct core_event){.type = CORE_TICK});
		assert_int_equal(state_of(&f), cases[i].state);
		assert_int_equal(f.answer, cases[i].answer);
		assert_int_equal(f.confirmed, cases[i].confirmed);
		f.core = core_free(f.core);
	}
}

/* PD10: nobody waits for a target whose agent is lost; the source's word is needed all the same. */
static void test_target_lost(void **unused _unused_)
{
	for (int while_detaching = 0; while_detaching < 2; while_detaching++) {
		struct fixture f;

		setup(&f);
		walk_to(&f, while_detaching ? CORE_DETACHING : CORE_ATTACHED);
		(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.target});
		assert_int_equal(state_of(&f), CORE_DETACHING);
		(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.other));
		assert_int_equal(f.answer, CORE_ANSWER_DETACHING);
		(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
		assert_int_equal(state_of(&f), CORE_FREE);
		(void)handle(&f, request(CORE_ATTACH, 201, f.device, f.other));
		assert_int_equal(state_of(&f), CORE_AUDITING);
		f.core = core_free(f.core);
	}

	struct fixture f;

	setup(&f);
	walk_to(&f, CORE_DETACHING);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
	assert_int_equal(state_of(&f), CORE_DETACHING); /* the target is there and may still say so */
	(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.target});
	assert_int_equal(state_of(&f), CORE_FREE);
	f.core = core_free(f.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_state_and_event),
		cmocka_unit_test(test_stale_references),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_refused_by_importer),
		cmocka_unit_test(test_agent_returns),
		cmocka_unit_test(test_strays),
		cmocka_unit_test(test_inventory),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_detach_answers),
		cmocka_unit_test(test_target_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
