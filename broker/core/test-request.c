// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who may attach, questions, what an attachment is allowed under, and the end of its time.
 */
#include "broker/core/test-fixture.h"

static void attach(struct fixture *f, uint64_t token)
{
	struct core_event event = request(CORE_ATTACH, token, f->device, f->target);

	event.request.user.uid = 1000;
	assert_int_equal(handle(f, event), 0);
}

static void deny_list(struct fixture *f, const char *qube, const char *pattern)
{
	struct core_event event = {.type = CORE_DENIED};

	(void)snprintf(event.denied.qube, sizeof(event.denied.qube), "%s", qube);
	if (pattern)
		(void)snprintf(event.denied.patterns[event.denied.n_patterns++], sizeof(event.denied.patterns[0]), "%s",
			       pattern);
	assert_int_equal(handle(f, event), 0);
}

/* The order in which an attach is looked at: each case has all faults from its own on. */
static void test_order_of_refusals(void **unused _unused_)
{
	static const enum core_answer expected[] = {CORE_ANSWER_NO_SOURCE_AGENT, CORE_ANSWER_NO_TARGET_AGENT,
						    CORE_ANSWER_LOCKED,          CORE_ANSWER_SUSPENDED,
						    CORE_ANSWER_DENIED,          CORE_ANSWER_DENIED};
	static const char *const rules[] = {"", "", "", "", "deny list of work: u08****", "30-user.policy:4"};

	for (unsigned int i = 0; i < ARRAY_SIZE(expected); i++) {
		struct fixture f;

		setup(&f);
		f.verdict = CORE_VERDICT_DENY;
		if (i <= 4)
			deny_list(&f, "work", "u08****");
		if (i <= 3) {
			struct core_event event = {.type = CORE_SUSPEND};

			event.request.token = 9;
			assert_int_equal(handle(&f, event), 0);
		}
		if (i <= 2) {
			f.core->qubes[f.source.index].n_strays = 1;
			f.core->qubes[f.source.index].strays[0] = 1;
		}
		if (i <= 1)
			agent_ready(&f, f.target, 7);
		if (i <= 0)
			f.core->qubes[f.source.index].synced = false;
		f.n_decided = 0;
		f.actions[0] = '\0';
		attach(&f, 5);
		assert_actions(&f, "!");
		assert_int_equal(f.answer, expected[i]);
		assert_string_equal(f.rule, rules[i]);
		assert_int_equal(f.n_decided, i == 5);
		assert_int_equal(state_of(&f), CORE_FREE);
		f.core = core_free(f.core);
	}
}

/* What may end an open question. */
enum end_of_question {
	ALLOW,
	SAY_NO,
	NOT_OFFERED,
	TIME,
	LAST_ANSWERER,
	UNPLUG,
	REPLUG,
	AGENT_LOST,
	NEW_AGENT,
	SOURCE_GONE,
	TARGET_GONE,
	DETACH,
	SLEEP,
	POLICY,
	POLICY_ASKS,
	DENY_LIST,
};

static void end_question(struct fixture *f, enum end_of_question what)
{
	struct core_event event = {.qube = {0}};

	switch (what) {
	case ALLOW:
		assert_int_equal(answer_question(f, true, "work"), 0);
		break;
	case SAY_NO:
		assert_int_equal(answer_question(f, false, "work"), 0);
		break;
	case NOT_OFFERED:
		assert_int_equal(answer_question(f, true, "personal"), 0);
		break;
	case TIME:
		tick(f, TIMEOUT_ASK_USEC - 1);
		assert_actions(f, "");
		tick(f, 1);
		break;
	case LAST_ANSWERER:
		set_answerers(f, 0);
		break;
	case UNPLUG:
		event = (struct core_event){.type = CORE_DEVICE_GONE, .qube = f->source};
		event.gone.slot = f->device.slot;
		event.gone.generation = f->device.generation;
		assert_int_equal(handle(f, event), 0);
		break;
	case REPLUG:
		assert_int_equal(handle(f, device_event(f->source, 2, 10, "1-2")), 0);
		break;
	case AGENT_LOST:
		(void)handle(f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f->source});
		break;
	case NEW_AGENT:
		agent_ready(f, f->source, 8);
		break;
	case SOURCE_GONE:
		(void)handle(f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f->source});
		break;
	case TARGET_GONE:
		(void)handle(f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f->target});
		break;
	case DETACH:
		(void)handle(f, request(CORE_DETACH, 7, f->device, f->target));
		break;
	case SLEEP:
		event.type = CORE_SUSPEND;
		event.request.token = 8;
		(void)handle(f, event);
		break;
	case POLICY:
		f->verdict = CORE_VERDICT_DENY;
		(void)handle(f, (struct core_event){.type = CORE_POLICY_CHANGED});
		break;
	case POLICY_ASKS:
		(void)handle(f, (struct core_event){.type = CORE_POLICY_CHANGED});
		break;
	case DENY_LIST:
		deny_list(f, "work", "u08****");
		break;
	}
}

/* What ends a question, and what becomes of the request. */
static void test_ends_of_a_question(void **unused _unused_)
{
	static const struct {
		enum end_of_question what;
		const char *actions;
		enum core_question_end end;
		enum core_answer answer;
	} cases[] = {
		{ALLOW, ".A", CORE_QUESTION_ALLOWED, CORE_ANSWER_COUNT},
		{SAY_NO, ".!", CORE_QUESTION_DENIED, CORE_ANSWER_SAID_NO},
		{NOT_OFFERED, ".!", CORE_QUESTION_DENIED, CORE_ANSWER_SAID_NO},
		{TIME, ".!", CORE_QUESTION_TIMED_OUT, CORE_ANSWER_NO_REPLY},
		{LAST_ANSWERER, ".!", CORE_QUESTION_NOBODY, CORE_ANSWER_NOBODY},
		{UNPLUG, "-.!", CORE_QUESTION_VOID, CORE_ANSWER_NO_REPLY},
		{REPLUG, "-.!+", CORE_QUESTION_VOID, CORE_ANSWER_NO_REPLY},
		{AGENT_LOST, ".!", CORE_QUESTION_VOID, CORE_ANSWER_NO_REPLY},
		{NEW_AGENT, ".!-", CORE_QUESTION_VOID, CORE_ANSWER_NO_REPLY},
		{SOURCE_GONE, "-.!", CORE_QUESTION_VOID, CORE_ANSWER_NO_REPLY},
		{TARGET_GONE, ".!", CORE_QUESTION_VOID, CORE_ANSWER_NO_REPLY},
		{DETACH, ".!!", CORE_QUESTION_VOID, CORE_ANSWER_NOT_ATTACHED},
		{SLEEP, ".!!", CORE_QUESTION_VOID, CORE_ANSWER_DONE}, /* the last answer is the sleep's own */
		{POLICY, ".!", CORE_QUESTION_VOID, CORE_ANSWER_DENIED},
		{POLICY_ASKS, "", CORE_QUESTION_END_COUNT, CORE_ANSWER_COUNT},
		{DENY_LIST, ".!", CORE_QUESTION_VOID, CORE_ANSWER_DENIED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;
		unsigned int cursor = 0;
		uint64_t id;

		setup(&f);
		f.verdict = CORE_VERDICT_ASK;
		set_answerers(&f, 1);
		attach(&f, 5);
		assert_actions(&f, "?");
		assert_int_equal(f.question.n_offered, 1);
		assert_string_equal(f.question.offered[0], "work");
		assert_string_equal(f.question.default_target, "work");
		assert_true(core_next_deadline(f.core) == f.now_usec + TIMEOUT_ASK_USEC);
		id = f.question.id;
		attach(&f, 6); /* it is asked about */
		assert_int_equal(f.answer, CORE_ANSWER_ASKING);
		assert_actions(&f, "!");
		f.answer = CORE_ANSWER_COUNT;
		f.question_end = CORE_QUESTION_END_COUNT;
		end_question(&f, cases[i].what);
		if (strcmp(f.actions, cases[i].actions) != 0)
			fail_msg("case %zu: expected \"%s\", got \"%s\"", i, cases[i].actions, f.actions);
		assert_int_equal(f.answer, cases[i].answer);
		assert_int_equal(f.question_end, cases[i].end);
		if (cases[i].what != POLICY_ASKS) {
			f.question.id = id;
			assert_int_equal(answer_question(&f, true, "work"), CORE_EVENT_IGNORED); /* PO18: twice, late */
			assert_null(core_next_question(f.core, &cursor));
			assert_null(core_find_question(f.core, id));
		}
		f.core = core_free(f.core);
	}
}

/* Everything is looked at again when the answer comes. */
static void test_after_the_answer(void **unused _unused_)
{
	static const enum core_answer expected[] = {CORE_ANSWER_COUNT, CORE_ANSWER_DENIED, CORE_ANSWER_NO_TARGET_AGENT,
						    CORE_ANSWER_LOCKED};

	for (unsigned int i = 0; i < ARRAY_SIZE(expected); i++) {
		struct fixture f;

		setup(&f);
		f.verdict = CORE_VERDICT_ASK;
		set_answerers(&f, 1);
		attach(&f, 5);
		f.answer = CORE_ANSWER_COUNT;
		if (i == 1)
			f.verdict = CORE_VERDICT_DENY;
		if (i == 2)
			(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.target});
		if (i == 3)
			f.core->qubes[f.source.index].n_strays = 1;
		f.actions[0] = '\0';
		assert_int_equal(answer_question(&f, true, "work"), 0);
		assert_actions(&f, i == 0 ? ".A" : ".!");
		assert_int_equal(f.answer, expected[i]);
		assert_int_equal(f.question_end, CORE_QUESTION_ALLOWED);
		if (i == 0) {
			assert_true(f.terms.answered);
			assert_int_equal(f.terms.answered_by.uid, 1001);
			assert_int_equal(f.terms.asked_by.uid, 1000);
			assert_int_equal(f.terms.origin, CORE_ORIGIN_USER);
			assert_string_equal(f.terms.rule, "30-user.policy:4");
			let_attach(&f, f.target);
			assert_int_equal(f.token, 5);
			assert_int_equal(f.answer, CORE_ANSWER_DONE);
		}
		f.core = core_free(f.core);
	}
}

static void assign_work(struct fixture *f, bool follow_port)
{
	struct core_assignment assignment = {.class_id = WIRE_CLASS_USB,
					     .source = "sys-usb",
					     .target = "work",
					     .port = "1-2",
					     .follow_port = follow_port};

	assert_int_equal(handle(f, (struct core_event){.type = CORE_ASSIGNED, .assignment = &assignment}), 0);
}

static void move_to_other(struct fixture *f)
{
	struct core_event event = request(CORE_MOVE, 6, f->device, f->other);

	event.request.from = f->target;
	assert_int_equal(handle(f, event), 0);
}

/* It re-enumerates, as the same device or as another one. */
static void replug(struct fixture *f, bool other)
{
	struct core_event event = device_event(f->source, 2, 10, "1-2");

	event.device.vendor = (uint16_t)(event.device.vendor + other);
	assert_int_equal(handle(f, event), 0);
	let_stop(f, f->target);
}

/* Ways of an attach, up to the moment when it is denied, and what makes that be noticed. */
enum way {
	WAY_ATTACH,
	WAY_ATTACH_ASKED,
	WAY_ASSIGNED,
	WAY_ASSIGNED_ASKED,
	WAY_MOVE,
	WAY_MOVE_ASKED,
	WAY_MOVE_IN,   /* when it is out of the former qube */
	WAY_MOVE_BACK, /* when the new one has failed */
	WAY_REPLUG,
	WAY_REPLUG_ASKED, /* as another device, whose port is followed */
	N_WAYS
};

static void begin_way(struct fixture *f, enum way way)
{
	bool asked = way == WAY_ATTACH_ASKED || way == WAY_ASSIGNED_ASKED || way == WAY_MOVE_ASKED ||
		     way == WAY_REPLUG_ASKED;

	setup(f);
	set_answerers(f, 1);
	if (way == WAY_REPLUG_ASKED) {
		assign_work(f, true);
		let_attach(f, f->target);
	} else if (way >= WAY_MOVE) {
		walk_to(f, CORE_ATTACHED);
	}
	if (asked)
		f->verdict = f->verdict_other = CORE_VERDICT_ASK;
	if (way == WAY_ATTACH_ASKED)
		attach(f, 5);
	if (way == WAY_ASSIGNED_ASKED)
		assign_work(f, false);
	if (way == WAY_MOVE_ASKED || way == WAY_MOVE_IN || way == WAY_MOVE_BACK)
		move_to_other(f);
	if (way == WAY_MOVE_BACK)
		let_stop(f, f->target);
	if (way == WAY_REPLUG_ASKED)
		replug(f, true);
	if (asked)
		assert_non_null(strchr(f->actions, '?'));
}

static void end_way(struct fixture *f, enum way way)
{
	switch (way) {
	case WAY_ATTACH:
		attach(f, 5);
		break;
	case WAY_ASSIGNED:
		assign_work(f, false);
		break;
	case WAY_MOVE:
		move_to_other(f);
		break;
	case WAY_MOVE_IN:
		f->verdict = CORE_VERDICT_ALLOW; /* at the former qube */
		let_stop(f, f->target);
		let_attach(f, f->target);
		break;
	case WAY_MOVE_BACK:
		(void)handle(f, of_session(CORE_AUDIT_FAILED, f->source, f->session));
		break;
	case WAY_REPLUG:
		replug(f, false);
		break;
	case WAY_ATTACH_ASKED:
	case WAY_ASSIGNED_ASKED:
	case WAY_MOVE_ASKED:
	case WAY_REPLUG_ASKED:
		(void)answer_question(f, true, way == WAY_MOVE_ASKED ? "personal" : "work");
		break;
	case N_WAYS:
		break;
	}
}

/* Whichever way an attach comes, and whenever it is denied: it is said that it was, by what, and to which qube. */
static void test_denied_by_what(void **unused _unused_)
{
	enum { BY_POLICY, BY_POLICY_AT_ONCE, BY_LIST, N_BY }; /* at once: not only when it is next looked at */

	for (unsigned int i = 0; i < N_WAYS * N_BY; i++) {
		enum way way = i / N_BY;
		unsigned int by = i % N_BY;
		const char *to = way == WAY_MOVE || way == WAY_MOVE_ASKED || way == WAY_MOVE_IN ? "personal" : "work";
		enum core_answer answer = way == WAY_MOVE_IN     ? CORE_ANSWER_MOVED_BACK
					  : way == WAY_MOVE_BACK ? CORE_ANSWER_MOVED_FREE
								 : CORE_ANSWER_DENIED;
		char expected[LIMIT_RULE_TEXT];
		struct fixture f;

		begin_way(&f, way);
		f.answer = CORE_ANSWER_COUNT;
		if (by == BY_LIST)
			deny_list(&f, to, "u08****");
		else
			f.verdict = f.verdict_other = CORE_VERDICT_DENY;
		if (by == BY_POLICY_AT_ONCE)
			(void)handle(&f, (struct core_event){.type = CORE_POLICY_CHANGED});
		end_way(&f, way);
		(void)snprintf(expected, sizeof(expected), "deny list of %s: u08****", to);
		if (by != BY_LIST)
			(void)strcpy(expected, "30-user.policy:4");
		if (f.answer != answer || strcmp(way == WAY_MOVE_BACK ? f.back_rule : f.rule, expected) != 0)
			fail_msg("way %u, by %u: %s; %s; %s", (unsigned int)way, by, core_answer_text(f.answer), f.rule,
				 f.back_rule);
		assert_true(way == WAY_MOVE_BACK ? f.rule[0] == '\0' : f.back_rule[0] == '\0');
		if (f.token == 0) { /* nobody waited for an answer */
			assert_string_equal(f.target_name, "work");
			assert_int_equal(f.outcome, OUTCOME_OK); /* no other reason hides it */
		}
		f.core = core_free(f.core);
	}
}

/* Token 0 is nobody's: there would be no answer. */
static void test_no_token(void **unused _unused_)
{
	struct fixture f;

	setup(&f);
	assert_int_equal(handle(&f, request(CORE_ATTACH, 0, f.device, f.target)), CORE_EVENT_IGNORED);
	walk_to(&f, CORE_ATTACHED);
	assert_int_equal(handle(&f, request(CORE_DETACH, 0, f.device, f.target)), CORE_EVENT_IGNORED);
	assert_actions(&f, "");
	f.core = core_free(f.core);
}

/* PO18: nobody there, and whom nobody can ask about is not shown. */
static void test_nobody(void **unused _unused_)
{
	struct fixture f;

	setup(&f);
	f.verdict = CORE_VERDICT_ASK;
	attach(&f, 5);
	assert_actions(&f, ".!");
	assert_int_equal(f.answer, CORE_ANSWER_NOBODY);
	assert_int_equal(f.question_end, CORE_QUESTION_NOBODY);
	assert_true(core_next_deadline(f.core) == UINT64_MAX);
	f.core = core_free(f.core);
}

/* One is shown of each device qube, each has its own time from its arrival, one qube cannot take all places. */
static void test_one_at_a_time(void **unused _unused_)
{
	const struct core_question *question;
	struct core_device_ref devices[20];
	unsigned int cursor = 0, n = 0;
	const struct core_device *d;
	struct fixture f;
	uint64_t first;
	char port[8];

	setup(&f);
	for (uint16_t i = 3; i < 22; i++) {
		(void)snprintf(port, sizeof(port), "1-%u", i);
		assert_int_equal(handle(&f, device_event(f.source, i, 1, port)), 0);
	}
	while ((d = core_next_device(core_find_qube(f.core, f.source), &cursor)) && n < ARRAY_SIZE(devices))
		devices[n++] = d->ref;
	assert_int_equal(n, 20);
	f.verdict = f.verdict_other = CORE_VERDICT_ASK;
	set_answerers(&f, 2);
	f.actions[0] = '\0';
	for (uint64_t i = 0; i < 20; i++) {
		(void)handle(&f, request(CORE_ATTACH, 100 + i, devices[i], f.target));
		f.now_usec += SECOND;
	}
	assert_actions(&f, "?!!!!"); /* the places of one qube are taken: it is said */
	assert_int_equal(f.answer, CORE_ANSWER_CROWDED);
	first = f.question.id;
	cursor = 0;
	assert_int_equal(handle(&f, device_event(f.other, 1, 1, "9-1")), 0);
	cursor = 0;
	d = core_next_device(core_find_qube(f.core, f.other), &cursor);
	(void)handle(&f, request(CORE_ATTACH, 300, d->ref, f.target));
	assert_actions(&f, "+?"); /* another device qube */
	f.question.id = first + 1;
	assert_int_equal(answer_question(&f, true, "work"), CORE_EVENT_IGNORED); /* not shown yet */
	f.question.id = first;
	assert_int_equal(answer_question(&f, false, ""), 0);
	assert_actions(&f, ".!?");
	assert_int_equal(f.token, 100);
	assert_true(f.question.id == first + 1);
	tick(&f, TIMEOUT_ASK_USEC - 19 * SECOND - 1);
	assert_actions(&f, "");
	tick(&f, 1);
	assert_actions(&f, ".!?");
	assert_int_equal(f.token, 101);
	cursor = n = 0;
	while ((question = core_next_question(f.core, &cursor)))
		n++;
	assert_int_equal(n, 15); /* 14 of sys-usb, one of personal */
	set_answerers(&f, 0);
	assert_int_equal(strlen(f.actions), 30);
	f.core = core_free(f.core);
}

/* The smallest limit holds; a warning, then the end on time. */
static void test_time_limit(void **unused _unused_)
{
	static const struct {
		uint64_t user, policy, end, warning;
	} cases[] = {
		{0, 0, 0, 0},
		{300 * SECOND, 0, 300 * SECOND, 240 * SECOND},
		{0, 600 * SECOND, 600 * SECOND, 540 * SECOND},
		{600 * SECOND, 400 * SECOND, 400 * SECOND, 340 * SECOND},
		{10 * SECOND, 400 * SECOND, 10 * SECOND, 8 * SECOND},
		{UINT64_MAX, 0, UINT64_MAX / 2, UINT64_MAX / 2 - LIMIT_NEAR_USEC},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_event event;
		struct fixture f;
		uint64_t start;

		setup(&f);
		start = f.now_usec;
		f.max_time_usec = cases[i].policy;
		event = request(CORE_ATTACH, 5, f.device, f.target);
		event.request.max_time_usec = cases[i].user;
		(void)handle(&f, event);
		f.now_usec += SECOND; /* the steps take time, the end stays */
		let_attach(&f, f.target);
		f.actions[0] = '\0';
		if (cases[i].end == 0) {
			assert_true(core_next_deadline(f.core) == UINT64_MAX);
			f.core = core_free(f.core);
			continue;
		}
		assert_true(f.terms.end_usec == start + cases[i].end);
		assert_true(core_next_deadline(f.core) == start + cases[i].warning);
		if (cases[i].user != UINT64_MAX) {
			tick(&f, cases[i].warning - SECOND - 1);
			assert_actions(&f, "");
			tick(&f, 1);
			assert_actions(&f, "w");
			tick(&f, cases[i].end - cases[i].warning - 1);
			assert_actions(&f, "");
			tick(&f, 1);
			assert_actions(&f, "nst");
			let_stop(&f, f.target);
			assert_actions(&f, "ndf");
			assert_true(core_next_deadline(f.core) == UINT64_MAX); /* no claim */
		}
		f.core = core_free(f.core);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_refusals), cmocka_unit_test(test_ends_of_a_question),
		cmocka_unit_test(test_after_the_answer),  cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_one_at_a_time),     cmocka_unit_test(test_time_limit),
		cmocka_unit_test(test_denied_by_what),    cmocka_unit_test(test_no_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
