// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who may attach, questions, what an attachment is allowed under, and the end of its time.
 */
#include "broker/core/test-fixture.h"

static void attach(struct fixture *f, uint64_t token)
{
	struct core_event event = request(CORE_ATTACH, token, f->device, f->target);

	event.request.uid = 1000;
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

/* What ends a question, and what becomes of the request. */
static void test_ends_of_a_question(void **unused _unused_)
{
	enum what {
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
	static const struct {
		enum what what;
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
		{POLICY, ".!", CORE_QUESTION_VOID, CORE_ANSWER_NO_REPLY},
		{POLICY_ASKS, "", CORE_QUESTION_END_COUNT, CORE_ANSWER_COUNT},
		{DENY_LIST, ".!", CORE_QUESTION_VOID, CORE_ANSWER_NO_REPLY},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_event event = {.qube = {0}};
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
		switch (cases[i].what) {
		case ALLOW:
			assert_int_equal(answer_question(&f, true, "work"), 0);
			break;
		case SAY_NO:
			assert_int_equal(answer_question(&f, false, "work"), 0);
			break;
		case NOT_OFFERED:
			assert_int_equal(answer_question(&f, true, "personal"), 0);
			break;
		case TIME:
			tick(&f, TIMEOUT_ASK_USEC - 1);
			assert_actions(&f, "");
			tick(&f, 1);
			break;
		case LAST_ANSWERER:
			set_answerers(&f, 0);
			break;
		case UNPLUG:
			event = (struct core_event){.type = CORE_DEVICE_GONE, .qube = f.source};
			event.gone.slot = f.device.slot;
			event.gone.generation = f.device.generation;
			assert_int_equal(handle(&f, event), 0);
			break;
		case REPLUG:
			assert_int_equal(handle(&f, device_event(f.source, 2, 10, "1-2")), 0);
			break;
		case AGENT_LOST:
			(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.source});
			break;
		case NEW_AGENT:
			agent_ready(&f, f.source, 8);
			break;
		case SOURCE_GONE:
			(void)handle(&f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f.source});
			break;
		case TARGET_GONE:
			(void)handle(&f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f.target});
			break;
		case DETACH:
			(void)handle(&f, request(CORE_DETACH, 7, f.device, f.target));
			break;
		case SLEEP:
			event.type = CORE_SUSPEND;
			event.request.token = 8;
			(void)handle(&f, event);
			break;
		case POLICY:
			f.verdict = CORE_VERDICT_DENY;
			(void)handle(&f, (struct core_event){.type = CORE_POLICY_CHANGED});
			break;
		case POLICY_ASKS:
			(void)handle(&f, (struct core_event){.type = CORE_POLICY_CHANGED});
			break;
		case DENY_LIST:
			deny_list(&f, "work", "u08****");
			break;
		}
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
			assert_int_equal(f.terms.answered_by, 1001);
			assert_int_equal(f.terms.asked_by, 1000);
			assert_int_equal(f.terms.origin, CORE_ORIGIN_USER);
			assert_string_equal(f.terms.rule, "30-user.policy:4");
			let_attach(&f, f.target);
			assert_int_equal(f.token, 5);
			assert_int_equal(f.answer, CORE_ANSWER_DONE);
		}
		f.core = core_free(f.core);
	}
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
