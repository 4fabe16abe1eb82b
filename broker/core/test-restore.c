// SPDX-License-Identifier: GPL-2.0-or-later
/* Claims: what re-enumerates, what a sleep ended, and what is no claim. */
#include "broker/core/test-fixture.h"

static struct core_event gone_event(const struct fixture *f)
{
	struct core_event event = {.type = CORE_DEVICE_GONE, .qube = f->source};

	event.gone.slot = f->device.slot;
	event.gone.generation = f->device.generation;
	return event;
}

static unsigned int count_claims(const struct fixture *f)
{
	unsigned int cursor = 0, n = 0;

	while (core_next_restore(f->core, &cursor))
		n++;
	return n;
}

static void sleep_now(struct fixture *f, uint64_t token)
{
	struct core_event event = {.type = CORE_SUSPEND};

	event.request.token = token;
	assert_int_equal(handle(f, event), 0);
}

static void wake_up(struct fixture *f)
{
	assert_int_equal(handle(f, (struct core_event){.type = CORE_RESUMED}), 0);
}

static void follow_port(struct fixture *f, uint64_t max_time_usec)
{
	struct core_assignment assignment = {.class_id = WIRE_CLASS_USB,
					     .target = "work",
					     .source = "sys-usb",
					     .port = "1-2",
					     .mode = CORE_ASSIGN_ASK,
					     .follow_port = true,
					     .max_time_usec = max_time_usec};

	assert_int_equal(handle(f, (struct core_event){.type = CORE_ASSIGNED, .assignment = &assignment}), 0);
}

/* What comes back after the device went while it was ATTACHED. */
static void test_replug(void **unused _unused_)
{
	enum what { SAME, OTHER_PORT, OTHER_VENDOR, OTHER_SERIAL, OTHER_INTERFACES, OTHER_SPEED, OTHER_DIGEST, NEVER };
	static const struct {
		enum what what;
		bool follow;
		enum core_verdict verdict;
		const char *actions;      /* when it is listed */
		const char *actions_time; /* then, when its time is over */
		enum core_answer answer;
		enum outcome outcome;
	} cases[] = {
		{SAME, false, CORE_VERDICT_ALLOW, "+A", NULL, 0, 0},
		{SAME, false, CORE_VERDICT_ASK, "+A", NULL, 0, 0}, /* it was allowed to be there */
		{SAME, false, CORE_VERDICT_DENY, "+r", NULL, CORE_ANSWER_DENIED, OUTCOME_OK},
		{OTHER_DIGEST, false, CORE_VERDICT_ASK, "+A", NULL, 0, 0},
		{OTHER_PORT, false, CORE_VERDICT_ALLOW, "+", "r", CORE_ANSWER_NO_DEVICE, OUTCOME_UNPLUGGED},
		{OTHER_PORT, true, CORE_VERDICT_ALLOW, "+", "r", CORE_ANSWER_NO_DEVICE, OUTCOME_UNPLUGGED},
		{NEVER, true, CORE_VERDICT_ALLOW, "", "r", CORE_ANSWER_NO_DEVICE, OUTCOME_UNPLUGGED},
		{OTHER_VENDOR, false, CORE_VERDICT_ALLOW, "+r", NULL, CORE_ANSWER_FAILED, OUTCOME_CHANGED},
		{OTHER_SERIAL, false, CORE_VERDICT_ALLOW, "+r", NULL, CORE_ANSWER_FAILED, OUTCOME_CHANGED},
		{OTHER_INTERFACES, false, CORE_VERDICT_ALLOW, "+r", NULL, CORE_ANSWER_FAILED, OUTCOME_CHANGED},
		{OTHER_SPEED, false, CORE_VERDICT_ALLOW, "+r", NULL, CORE_ANSWER_FAILED, OUTCOME_CHANGED},
		{OTHER_VENDOR, true, CORE_VERDICT_ALLOW, "+A", NULL, 0, 0},
		{OTHER_INTERFACES, true, CORE_VERDICT_ASK, "+?", NULL, 0, 0}, /* newly decided */
		{OTHER_INTERFACES, true, CORE_VERDICT_DENY, "+r", NULL, CORE_ANSWER_DENIED, OUTCOME_OK},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_event event;
		struct fixture f;

		setup(&f);
		set_answerers(&f, 1);
		if (cases[i].follow)
			follow_port(&f, 0);
		if (cases[i].follow) /* an assignment that asks: answered, then it is the user's */
			assert_int_equal(answer_question(&f, false, ""), 0);
		walk_to(&f, CORE_ATTACHED);
		(void)handle(&f, gone_event(&f));
		assert_actions(&f, "-nst");
		assert_int_equal(count_claims(&f), 1);
		event = device_event(f.source, 2, 10, cases[i].what == OTHER_PORT ? "1-3" : "1-2");
		event.device.vendor = (uint16_t)(event.device.vendor + (cases[i].what == OTHER_VENDOR));
		event.device.serial[0] = (char)(event.device.serial[0] + (cases[i].what == OTHER_SERIAL));
		event.device.interfaces[0][0] =
			(uint8_t)(event.device.interfaces[0][0] + (cases[i].what == OTHER_INTERFACES));
		event.device.speed = (uint8_t)(event.device.speed - (cases[i].what == OTHER_SPEED));
		event.device.digest[0] = cases[i].what == OTHER_DIGEST;
		f.verdict = cases[i].verdict;
		if (i % 2) { /* listed before the old one is proven gone: nothing may begin */
			if (cases[i].what != NEVER)
				assert_int_equal(handle(&f, event), 0);
			if (cases[i].actions_time || strcmp(cases[i].actions, "+r") == 0)
				assert_true(f.actions[0] == '\0' || f.actions[0] == '+');
			else
				assert_string_equal(f.actions, "+");
			let_stop(&f, f.target);
		} else {
			let_stop(&f, f.target);
			f.actions[0] = '\0';
			if (cases[i].what != NEVER)
				assert_int_equal(handle(&f, event), 0);
			if (strcmp(f.actions, cases[i].actions) != 0)
				fail_msg("case %zu: expected \"%s\", got \"%s\"", i, cases[i].actions, f.actions);
		}
		if (cases[i].actions_time) {
			f.actions[0] = '\0';
			tick(&f, TIMEOUT_REPLUG_USEC - 1);
			assert_actions(&f, "");
			tick(&f, 1);
			assert_actions(&f, cases[i].actions_time);
		}
		if (strchr(cases[i].actions, 'r') || cases[i].actions_time) {
			assert_int_equal(f.answer, cases[i].answer);
			assert_int_equal(f.outcome, cases[i].outcome);
			assert_int_equal(count_claims(&f), 0);
		} else if (strchr(cases[i].actions, 'A')) {
			assert_int_equal(f.terms.origin, CORE_ORIGIN_REPLUG);
			look_up_device(&f);
			let_attach(&f, f.target);
			assert_int_equal(count_claims(&f), 0);
		}
		f.core = core_free(f.core);
	}
}

/* Only so many can wait for a sleep, and one that cannot be answered is no request. */
static void test_sleepers(void **unused _unused_)
{
	struct core_event event = {.type = CORE_SUSPEND};
	struct fixture f;

	setup(&f);
	walk_to(&f, CORE_ATTACHED);
	assert_int_equal(handle(&f, event), CORE_EVENT_IGNORED);
	assert_int_equal(state_of(&f), CORE_ATTACHED);
	event.request.token = 10;
	(void)strcpy(event.request.user.qube, "sys-gui");
	for (unsigned int i = 0; i < LIMIT_SLEEPERS_QUBES; i++)
		assert_int_equal(handle(&f, event), 0);
	assert_actions(&f, "nst");
	assert_int_equal(handle(&f, event), 0); /* qubes have so many places, */
	assert_actions(&f, "!");
	for (uint64_t i = LIMIT_SLEEPERS_QUBES; i < LIMIT_SLEEPERS - 1; i++)
		sleep_now(&f, 10 + i);
	assert_actions(&f, "");
	sleep_now(&f, 99); /* users all but one, */
	assert_actions(&f, "!");
	assert_int_equal(f.token, 99);
	assert_int_equal(f.answer, CORE_ANSWER_SUSPENDED);
	event.request.user = CORE_NO_USER;
	assert_int_equal(handle(&f, event), 0); /* and the last one is the machine's own */
	assert_actions(&f, "");
	assert_int_equal(handle(&f, event), 0);
	assert_actions(&f, "!");
	let_stop(&f, f.target);
	assert_actions(&f, "ndc!!!!!!!!");
	assert_int_equal(f.answer, CORE_ANSWER_DONE);
	f.core = core_free(f.core);
}

/* How an attachment may end. */
enum end {
	UNPLUGGED,
	ENDED_THEN_UNPLUGGED, /* the proxy saw it first */
	TARGET_ENDED_THEN_UNPLUGGED,
	ENDED_ONLY,
	CHEATED_THEN_UNPLUGGED,
	ENDED_LONG_BEFORE,
	DETACHED,
	TIME_LIMIT,
	TARGET_GONE,
	SOURCE_LOST,
	TARGET_LOST,
	NEW_AGENT,
	UNPLUGGED_WHILE_IMPORTING,
	UNPLUGGED_THEN_DETACHED,
	SLEPT_SOURCE_LOST, /* just awake */
	SLEPT_TARGET_LOST,
	SLEPT_LONG_AGO,
};

static void end_attachment(struct fixture *f, enum end what)
{
	struct core_event event = of_session(CORE_ENDED, f->source, f->session);

	event.session.outcome = OUTCOME_UNPLUGGED;
	switch (what) {
	case UNPLUGGED:
	case UNPLUGGED_WHILE_IMPORTING:
		(void)handle(f, gone_event(f));
		break;
	case TARGET_ENDED_THEN_UNPLUGGED:
		event = of_session(CORE_ENDED, f->target, f->session);
		event.session.outcome = OUTCOME_PEER_LOST;
		(void)handle(f, event);
		event = of_session(CORE_ENDED, f->source, f->session);
		event.session.outcome = OUTCOME_UNPLUGGED;
		(void)handle(f, event);
		(void)handle(f, gone_event(f));
		break;
	case ENDED_THEN_UNPLUGGED:
	case ENDED_ONLY:
	case ENDED_LONG_BEFORE:
	case CHEATED_THEN_UNPLUGGED:
		if (what == CHEATED_THEN_UNPLUGGED)
			event.session.outcome = OUTCOME_PEER_CHEATED;
		(void)handle(f, event);
		(void)handle(f, of_session(CORE_STOPPED, f->target, f->session));
		assert_int_equal(state_of(f), CORE_FREE);
		assert_int_equal(count_claims(f), 0); /* not before it has gone */
		if (what == ENDED_LONG_BEFORE)
			tick(f, TIMEOUT_REPLUG_USEC);
		if (what != ENDED_ONLY)
			(void)handle(f, gone_event(f));
		break;
	case DETACHED:
		(void)handle(f, request(CORE_DETACH, 8, f->device, f->target));
		(void)handle(f, gone_event(f));
		break;
	case TIME_LIMIT:
		tick(f, 8 * SECOND);
		tick(f, 2 * SECOND);
		(void)handle(f, gone_event(f));
		break;
	case TARGET_GONE:
		(void)handle(f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f->target});
		(void)handle(f, gone_event(f));
		break;
	case SOURCE_LOST:
		(void)handle(f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f->source});
		break;
	case TARGET_LOST:
		(void)handle(f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f->target});
		break;
	case NEW_AGENT:
		agent_ready(f, f->source, 8);
		break;
	case UNPLUGGED_THEN_DETACHED:
		/* the device is not listed any more, so its user cannot name it: the claim runs out */
		(void)handle(f, gone_event(f));
		(void)handle(f, request(CORE_DETACH, 8, f->device, f->target));
		assert_int_equal(f->answer, CORE_ANSWER_NO_DEVICE);
		break;
	case SLEPT_SOURCE_LOST:
	case SLEPT_TARGET_LOST:
	case SLEPT_LONG_AGO:
		wake_up(f);
		tick(f, what == SLEPT_LONG_AGO ? TIMEOUT_RESUME_USEC : TIMEOUT_RESUME_USEC - 1);
		(void)handle(f, (struct core_event){.type = CORE_AGENT_LOST,
						    .qube = what == SLEPT_TARGET_LOST ? f->target : f->source});
		break;
	}
}

/* What ends an attachment, and whether it may come back. */
static void test_what_is_a_claim(void **unused _unused_)
{
	static const struct {
		enum end what;
		bool claim;
		enum core_origin origin;
	} cases[] = {
		{UNPLUGGED, true, CORE_ORIGIN_REPLUG},
		{ENDED_THEN_UNPLUGGED, true, CORE_ORIGIN_REPLUG},
		{TARGET_ENDED_THEN_UNPLUGGED, true, CORE_ORIGIN_REPLUG},
		{ENDED_ONLY, false, 0},
		{CHEATED_THEN_UNPLUGGED, false, 0},
		{ENDED_LONG_BEFORE, false, 0},
		{DETACHED, false, 0},
		{TIME_LIMIT, false, 0},
		{TARGET_GONE, false, 0},
		{SOURCE_LOST, false, 0},
		{TARGET_LOST, false, 0},
		{NEW_AGENT, false, 0},
		{UNPLUGGED_WHILE_IMPORTING, false, 0},
		{UNPLUGGED_THEN_DETACHED, true, CORE_ORIGIN_REPLUG},
		{SLEPT_SOURCE_LOST, true, CORE_ORIGIN_RESUME},
		{SLEPT_TARGET_LOST, true, CORE_ORIGIN_RESUME},
		{SLEPT_LONG_AGO, false, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_event event;
		struct fixture f;
		unsigned int cursor = 0;

		setup(&f);
		event = request(CORE_ATTACH, 5, f.device, f.target);
		if (cases[i].what == TIME_LIMIT)
			event.request.max_time_usec = 10 * SECOND;
		(void)handle(&f, event);
		(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
		(void)handle(&f, of_session(CORE_EXPORTED, f.source, f.session));
		if (cases[i].what != UNPLUGGED_WHILE_IMPORTING)
			(void)handle(&f, of_session(CORE_IMPORTED, f.target, f.session));
		end_attachment(&f, cases[i].what);
		if (count_claims(&f) != cases[i].claim)
			fail_msg("case %zu: %u claims", i, count_claims(&f));
		if (cases[i].claim)
			assert_int_equal(core_next_restore(f.core, &cursor)->origin, cases[i].origin);
		f.core = core_free(f.core);
	}
}

/* Re-enumerates while a user detaches it: what he can still name, he can still stop. */
static void test_user_ends_a_claim(void **unused _unused_)
{
	for (int attach = 0; attach < 2; attach++) {
		struct fixture f;

		setup(&f);
		walk_to(&f, CORE_ATTACHED);
		(void)handle(&f, gone_event(&f));
		let_stop(&f, f.target);
		(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.target});
		assert_int_equal(handle(&f, device_event(f.source, 2, 10, "1-2")), 0); /* waits for the target */
		look_up_device(&f);
		assert_int_equal(count_claims(&f), 1);
		f.actions[0] = '\0';
		(void)handle(&f, request(attach ? CORE_ATTACH : CORE_DETACH, 9, f.device, attach ? f.other : f.target));
		assert_actions(&f, attach ? "A" : "!");
		assert_int_equal(count_claims(&f), 0);
		agent_up(&f, f.target);
		assert_actions(&f, "");
		f.core = core_free(f.core);
	}
}

/* Own failures count, with back-off; then its time is over. The limit goes on. */
static void test_tries(void **unused _unused_)
{
	struct core_event event;
	struct fixture f;
	uint64_t end, next;
	unsigned int n = 0;

	setup(&f);
	event = request(CORE_ATTACH, 5, f.device, f.target);
	event.request.max_time_usec = 500 * SECOND;
	(void)handle(&f, event);
	end = f.terms.end_usec;
	let_attach(&f, f.target);
	sleep_now(&f, 9);
	let_stop(&f, f.target);
	tick(&f, 100 * SECOND);
	f.actions[0] = '\0';
	wake_up(&f);
	for (uint64_t wait = BACKOFF_AUTO_FIRST_USEC; f.actions[0] == 'A'; n++) {
		assert_true(f.terms.end_usec == end);
		assert_int_equal(f.terms.origin, CORE_ORIGIN_RESUME);
		(void)handle(&f, of_session(CORE_AUDIT_FAILED, f.source, f.session));
		f.actions[0] = '\0';
		next = core_next_deadline(f.core);
		if (next == f.now_usec + wait) {
			tick(&f, wait - 1);
			assert_actions(&f, "");
			tick(&f, 1);
		}
		wait = wait * 2 < BACKOFF_AUTO_LAST_USEC ? wait * 2 : BACKOFF_AUTO_LAST_USEC;
	}
	assert_int_equal(n, 6); /* at 0, 1, 3, 7, 15, 31 s; then 61 s is too late */
	assert_int_equal(count_claims(&f), 1);
	tick(&f, core_next_deadline(f.core) - f.now_usec);
	assert_actions(&f, "fr"); /* and what was kept of it goes */
	assert_int_equal(f.answer, CORE_ANSWER_FAILED);
	assert_int_equal(f.outcome, OUTCOME_AUDIT_FAILED);
	f.core = core_free(f.core);

	setup(&f); /* its limit was over while the machine slept */
	event = request(CORE_ATTACH, 5, f.device, f.target);
	event.request.max_time_usec = 50 * SECOND;
	(void)handle(&f, event);
	let_attach(&f, f.target);
	sleep_now(&f, 9);
	let_stop(&f, f.target);
	tick(&f, 100 * SECOND);
	f.actions[0] = '\0';
	wake_up(&f);
	assert_actions(&f, "fr");
	assert_int_equal(f.outcome, OUTCOME_TIME_LIMIT);
	f.core = core_free(f.core);
}

/* A device that comes and goes all the time is given up. */
static void test_flapping(void **unused _unused_)
{
	struct fixture f;
	unsigned int n = 0;
	uint32_t generation = 10;

	setup(&f);
	walk_to(&f, CORE_ATTACHED);
	for (; n < 20; n++) {
		(void)handle(&f, gone_event(&f));
		let_stop(&f, f.target);
		(void)handle(&f, device_event(f.source, 2, generation++, "1-2"));
		look_up_device(&f);
		for (unsigned int i = 0; i < 50 && count_claims(&f) > 0 && state_of(&f) == CORE_FREE; i++)
			tick(&f, SECOND / 10);
		if (state_of(&f) == CORE_FREE)
			break;
		let_attach(&f, f.target);
	}
	assert_in_range(n, 2, 5);
	f.core = core_free(f.core);
}

/* Everything is ended, remembered, and answered; what comes in meanwhile is refused. */
static void test_suspend(void **unused _unused_)
{
	enum { FREE, WALKING, HELD, SILENT };

	for (unsigned int i = FREE; i <= SILENT; i++) {
		struct fixture f;

		setup(&f);
		walk_to(&f, i == FREE ? CORE_FREE : i == WALKING ? CORE_IMPORTING : CORE_ATTACHED);
		f.token = 0;
		sleep_now(&f, 9);
		assert_true(core_is_suspended(f.core));
		assert_int_equal(f.token, i == FREE ? 9 : 0);
		sleep_now(&f, 10); /* twice */
		(void)handle(&f, request(CORE_ATTACH, 11, f.device, f.other));
		assert_int_equal(f.answer, i == FREE ? CORE_ANSWER_SUSPENDED : CORE_ANSWER_DETACHING);
		f.actions[0] = '\0';
		if (i == SILENT)
			tick(&f, TIMEOUT_STOP_USEC);
		else if (i != FREE)
			let_stop(&f, f.target);
		assert_actions(&f, i == FREE ? "" : i == WALKING ? "nf!!!" : i == HELD ? "ndc!!" : "n!!");
		if (i != FREE) {
			assert_int_equal(f.answer, i == SILENT ? CORE_ANSWER_NOT_CONFIRMED : CORE_ANSWER_DONE);
			assert_in_range(f.token, 9, 10);
		}
		assert_int_equal(count_claims(&f), i >= HELD);
		assert_true(core_next_deadline(f.core) == UINT64_MAX); /* time does not count */
		f.now_usec += 8 * 3600 * SECOND;
		wake_up(&f);
		assert_false(core_is_suspended(f.core));
		assert_actions(&f, i == HELD ? "A" : "");
		if (i == SILENT) { /* as soon as the source's word is there */
			(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
			assert_actions(&f, "ndcA");
		}
		f.core = core_free(f.core);
	}
}

/* Nobody who waits for the sleep waits for ever, not even when it does not happen. */
static void test_woken_before_the_answer(void **unused _unused_)
{
	struct fixture f;

	setup(&f);
	walk_to(&f, CORE_ATTACHED);
	sleep_now(&f, 9);
	assert_actions(&f, "nst");
	wake_up(&f);
	assert_actions(&f, "!");
	assert_int_equal(f.token, 9);
	assert_int_equal(f.answer, CORE_ANSWER_NOT_CONFIRMED);
	let_stop(&f, f.target);
	assert_actions(&f, "ndcA");
	f.core = core_free(f.core);
}

/* Who is meant after the sleep: the source by UUID and name, the target only in the same life. */
static void test_lives(void **unused _unused_)
{
	for (int i = 0; i < 3; i++) {
		struct fixture f;

		setup(&f);
		walk_to(&f, CORE_ATTACHED);
		sleep_now(&f, 9);
		let_stop(&f, f.target);
		f.actions[0] = '\0';
		if (i == 0 || i == 1) {
			(void)handle(&f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f.source});
			assert_actions(&f, "-");
			f.source = start_qube(&f, 33, i == 0 ? "sys-usb" : "sys-net");
			wake_up(&f);
			agent_up(&f, f.source);
			f.actions[0] = '\0';
			assert_int_equal(handle(&f, device_event(f.source, 1, 1, "1-2")), 0);
			assert_actions(&f, i == 0 ? "+A" : "+");
		} else {
			(void)handle(&f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f.target});
			assert_actions(&f, "fr");
			assert_int_equal(f.answer, CORE_ANSWER_NO_QUBE);
			assert_int_equal(f.outcome, OUTCOME_QUBE_GONE);
			f.target = start_qube(&f, 44, "work");
			wake_up(&f);
			agent_up(&f, f.target);
			assert_actions(&f, "");
		}
		f.core = core_free(f.core);
	}
}

/* A source that is started anew while the try is under way: the claim goes on, with the new one. */
static void test_source_restarts_while_trying(void **unused _unused_)
{
	struct fixture f;

	setup(&f);
	walk_to(&f, CORE_ATTACHED);
	sleep_now(&f, 9);
	let_stop(&f, f.target);
	wake_up(&f);
	assert_int_equal(state_of(&f), CORE_AUDITING);
	{
		struct core_qube_ref former = f.source;

		f.source = start_qube(&f, 33, "sys-usb"); /* before the former one is gone */
		(void)handle(&f, (struct core_event){.type = CORE_QUBE_GONE, .qube = former});
	}
	agent_up(&f, f.source);
	assert_int_equal(handle(&f, device_event(f.source, 1, 1, "1-2")), 0);
	f.actions[0] = '\0';
	tick(&f, BACKOFF_AUTO_FIRST_USEC);
	assert_actions(&f, "A");
	f.core = core_free(f.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sleepers),        cmocka_unit_test(test_replug),
		cmocka_unit_test(test_what_is_a_claim), cmocka_unit_test(test_user_ends_a_claim),
		cmocka_unit_test(test_tries),           cmocka_unit_test(test_flapping),
		cmocka_unit_test(test_suspend),         cmocka_unit_test(test_woken_before_the_answer),
		cmocka_unit_test(test_lives),           cmocka_unit_test(test_source_restarts_while_trying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
