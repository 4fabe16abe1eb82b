// SPDX-License-Identifier: GPL-2.0-or-later
/* Assignments that act: when they are looked at, tries and back-off, questions, what a user's detach holds off. */
#include "broker/core/test-fixture.h"

#include <time.h>

static struct core_assignment make(const char *target, const char *port, enum core_assign_mode mode)
{
	struct core_assignment assignment = {.class_id = WIRE_CLASS_USB, .source = "sys-usb", .mode = mode};

	(void)snprintf(assignment.target, sizeof(assignment.target), "%s", target);
	(void)snprintf(assignment.port, sizeof(assignment.port), "%s", port);
	return assignment;
}

static int tell(struct fixture *f, enum core_event_type type, struct core_assignment assignment)
{
	return handle(f, (struct core_event){.type = type, .assignment = &assignment});
}

static void assign(struct fixture *f, const char *target, enum core_assign_mode mode)
{
	assert_int_equal(tell(f, CORE_ASSIGNED, make(target, "1-2", mode)), 0);
}

static void fail_attach(struct fixture *f)
{
	(void)handle(f, of_session(CORE_AUDIT_FAILED, f->source, f->session));
}

/* Everything that may bring an assigned device to its target, from a state in which it is not there. */
static void test_causes(void **unused _unused_)
{
	enum { ASSIGN, MODE, TARGET_COMES, TARGET_AGENT, SOURCE_AGENT, PLUG, POLICY, DENY_LIST, FREED, AWAKE, STRAYS };

	for (unsigned int i = ASSIGN; i <= STRAYS; i++) {
		struct core_event denied = {.type = CORE_DENIED}, gone = {.type = CORE_DEVICE_GONE};
		struct fixture f;

		setup(&f);
		(void)strcpy(denied.denied.qube, "work");
		(void)strcpy(denied.denied.patterns[0], "u0806**");
		gone.qube = f.source;
		gone.gone.slot = f.device.slot;
		gone.gone.generation = f.device.generation;
		switch (i) {
		case ASSIGN:
			break;
		case MODE:
			set_answerers(&f, 1);
			assign(&f, "work", CORE_ASSIGN_ASK);
			assert_actions(&f, "?");
			assert_int_equal(answer_question(&f, false, ""), 0);
			break;
		case TARGET_COMES:
			(void)handle(&f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f.target});
			break;
		case TARGET_AGENT:
			(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.target});
			break;
		case SOURCE_AGENT:
			(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.source});
			break;
		case PLUG:
			(void)handle(&f, gone);
			break;
		case POLICY:
			f.verdict = CORE_VERDICT_DENY;
			break;
		case DENY_LIST:
			denied.denied.n_patterns = 1;
			(void)handle(&f, denied);
			break;
		case FREED:
			(void)handle(&f, request(CORE_ATTACH, 5, f.device, f.other));
			let_attach(&f, f.other);
			break;
		case AWAKE:
			gone = (struct core_event){.type = CORE_SUSPEND};
			gone.request.token = 9;
			(void)handle(&f, gone);
			break;
		case STRAYS:
			agent_ready(&f, f.source, 7);
			assert_int_equal(handle(&f, report_event(f.source, WIRE_SIDE_EXPORT, 99)), 0);
			(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
			break;
		}
		f.actions[0] = '\0';
		if (i != ASSIGN && i != MODE)
			assign(&f, "work", CORE_ASSIGN_AUTO);
		assert_actions(&f, i == POLICY || i == DENY_LIST ? "u" : "");
		switch (i) {
		case ASSIGN:
			assign(&f, "work", CORE_ASSIGN_AUTO);
			break;
		case MODE:
			assert_int_equal(tell(&f, CORE_ASSIGN_MODE, make("work", "1-2", CORE_ASSIGN_AUTO)), 0);
			break;
		case TARGET_COMES:
			f.target = start_qube(&f, 44, "work");
			assert_actions(&f, "");
			agent_up(&f, f.target);
			break;
		case TARGET_AGENT:
			agent_up(&f, f.target);
			break;
		case SOURCE_AGENT:
			agent_ready(&f, f.source, 7);
			(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
			break;
		case PLUG:
			(void)handle(&f, device_event(f.source, 2, 10, "1-2"));
			break;
		case POLICY:
			assert_int_equal(f.answer, CORE_ANSWER_DENIED);
			assert_string_equal(f.rule, "30-user.policy:4");
			assert_string_equal(f.target_name, "work");
			f.verdict = CORE_VERDICT_ALLOW;
			(void)handle(&f, (struct core_event){.type = CORE_POLICY_CHANGED});
			break;
		case DENY_LIST:
			assert_string_equal(f.rule, "deny list of work: u0806**");
			denied.denied.n_patterns = 0;
			(void)handle(&f, denied);
			break;
		case FREED:
			(void)handle(&f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f.other});
			(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
			break;
		case AWAKE:
			(void)handle(&f, (struct core_event){.type = CORE_RESUMED});
			break;
		case STRAYS:
			(void)handle(&f, of_session(CORE_STOPPED, f.source, 99));
			break;
		}
		if (!strchr(f.actions, 'A'))
			fail_msg("cause %u: \"%s\"", i, f.actions);
		assert_int_equal(f.terms.origin, CORE_ORIGIN_AUTO);
		assert_true(f.terms.asked_by.uid == CORE_NOBODY);
		f.core = core_free(f.core);
	}
}

/* At most LIMIT_AUTO_TRIES, each later than the one before; then it is said, once; a cause begins anew. */
static void test_tries(void **unused _unused_)
{
	uint64_t wait = BACKOFF_AUTO_FIRST_USEC;
	struct fixture f;

	setup(&f);
	assign(&f, "work", CORE_ASSIGN_AUTO);
	for (unsigned int i = 1; i < LIMIT_AUTO_TRIES; i++) {
		assert_actions(&f, "A");
		fail_attach(&f);
		assert_actions(&f, "nf");
		assert_true(core_next_deadline(f.core) == f.now_usec + wait);
		tick(&f, wait - 1);
		assert_actions(&f, "");
		(void)handle(&f, device_event(f.source, 3, 1, "1-3")); /* no cause for this one */
		assert_actions(&f, i == 1 ? "+" : "");
		tick(&f, 1);
		wait = wait * 2 < BACKOFF_AUTO_LAST_USEC ? wait * 2 : BACKOFF_AUTO_LAST_USEC;
	}
	assert_actions(&f, "A");
	fail_attach(&f);
	assert_actions(&f, "nfu");
	assert_int_equal(f.answer, CORE_ANSWER_FAILED);
	assert_int_equal(f.outcome, OUTCOME_AUDIT_FAILED);
	assert_string_equal(f.target_name, "work");
	assert_true(core_next_deadline(f.core) == UINT64_MAX);
	(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.target});
	agent_up(&f, f.target);
	assert_actions(&f, "A");
	fail_attach(&f);
	assert_true(core_next_deadline(f.core) == f.now_usec + BACKOFF_AUTO_FIRST_USEC);
	f.core = core_free(f.core);
}

/* A yes to the one of two targets that is not assigned any more: the other one is looked at anew. */
static void test_yes_to_a_former_target(void **unused _unused_)
{
	struct fixture f;

	setup(&f);
	set_answerers(&f, 1);
	assign(&f, "work", CORE_ASSIGN_AUTO);
	fail_attach(&f);
	assign(&f, "personal", CORE_ASSIGN_AUTO);
	assert_int_equal(f.question.n_offered, 2);
	f.actions[0] = '\0';
	assert_int_equal(tell(&f, CORE_UNASSIGNED, make("work", "1-2", CORE_ASSIGN_AUTO)), 0);
	assert_actions(&f, "");
	assert_int_equal(answer_question(&f, true, "work"), 0);
	assert_actions(&f, ".A");
	assert_false(f.terms.answered);
	let_attach(&f, f.other);
	f.core = core_free(f.core);
}

/* While a qube restarts two have its name: the younger one is meant. */
static void test_two_of_one_name(void **unused _unused_)
{
	struct core_qube_ref younger;
	struct fixture f;

	setup(&f);
	younger = start_qube(&f, 44, "work");
	agent_up(&f, younger);
	assert_true(same_qube(core_find_qube_by_name(f.core, "work")->ref, younger));
	assign(&f, "work", CORE_ASSIGN_AUTO);
	assert_actions(&f, "A");
	let_attach(&f, younger);
	f.core = core_free(f.core);
}

/* Only what was begun is a try: not a question, not a `yes` that came when something was in the way. */
static void test_what_is_a_try(void **unused _unused_)
{
	struct fixture f;

	setup(&f);
	set_answerers(&f, 1);
	assign(&f, "work", CORE_ASSIGN_ASK);
	f.core->qubes[f.source.index].n_strays = 1;
	f.core->qubes[f.source.index].strays[0] = 98;
	f.actions[0] = '\0';
	assert_int_equal(answer_question(&f, true, "work"), 0);
	assert_actions(&f, ".");
	(void)handle(&f, of_session(CORE_STOPPED, f.source, 98));
	assert_actions(&f, "?");
	assert_int_equal(answer_question(&f, true, "work"), 0);
	assert_actions(&f, ".A");
	fail_attach(&f);
	assert_true(core_next_deadline(f.core) == f.now_usec + BACKOFF_AUTO_FIRST_USEC); /* it was the first one */
	f.core = core_free(f.core);
}

/* One that works for a moment only is given up as well; one that worked for long begins anew. */
static void test_flapping(void **unused _unused_)
{
	struct fixture f;
	unsigned int n = 0;

	setup(&f);
	assign(&f, "work", CORE_ASSIGN_AUTO);
	for (; n < 20 && state_of(&f) == CORE_AUDITING; n++) {
		let_attach(&f, f.target);
		(void)handle(&f, of_session(CORE_ENDED, f.source, f.session));
		(void)handle(&f, of_session(CORE_STOPPED, f.target, f.session));
		if (core_next_deadline(f.core) != UINT64_MAX)
			tick(&f, BACKOFF_AUTO_LAST_USEC);
	}
	assert_int_equal(n, LIMIT_AUTO_TRIES);
	assert_non_null(strchr(f.actions, 'u'));
	agent_up(&f, f.target);
	let_attach(&f, f.target);
	tick(&f, BACKOFF_AUTO_LAST_USEC);
	(void)handle(&f, of_session(CORE_ENDED, f.source, f.session));
	f.actions[0] = '\0';
	(void)handle(&f, of_session(CORE_STOPPED, f.target, f.session));
	assert_actions(&f, "ndfA");
	f.core = core_free(f.core);
}

/* Promise 11: one that hangs does not delay the others. */
static void test_independent(void **unused _unused_)
{
	struct core_assignment any = make("work", "", CORE_ASSIGN_AUTO);
	struct fixture f;
	char port[16];

	setup(&f);
	assert_int_equal(tell(&f, CORE_ASSIGNED, any), 0);
	assert_actions(&f, "A"); /* hangs from here on: nothing is heard of it */
	for (uint16_t i = 10; i < 13; i++) {
		(void)snprintf(port, sizeof(port), "2-%u", i);
		(void)handle(&f, device_event(f.source, i, 1, port));
		f.actions[0] = '\0';
		(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
		assert_actions(&f, "X");
		(void)handle(&f, of_session(CORE_EXPORTED, f.source, f.session));
		(void)handle(&f, of_session(CORE_IMPORTED, f.target, f.session));
		assert_actions(&f, "Ina");
	}
	f.core = core_free(f.core);
}

/* More than LIMIT_STARTS at once: as fast as the records are written, and never more of them. */
static void test_many_at_once(void **unused _unused_)
{
	struct core_assignment any = make("work", "", CORE_ASSIGN_AUTO);
	unsigned int n = 0, cursor;
	struct fixture f;
	char port[16];

	setup(&f);
	for (uint16_t i = 10; i < 60; i++) {
		(void)snprintf(port, sizeof(port), "2-%u", i);
		(void)handle(&f, device_event(f.source, i, 1, port));
	}
	f.actions[0] = '\0';
	assert_int_equal(tell(&f, CORE_ASSIGNED, any), 0);
	assert_int_equal(strlen(f.actions), LIMIT_STARTS);
	for (unsigned int round = 0; round < 51; round++) {
		const struct core_device *device, *auditing = NULL;
		unsigned int n_auditing = 0;

		cursor = 0;
		while ((device = core_next_device(core_find_qube(f.core, f.source), &cursor)))
			if (device->state == CORE_AUDITING) {
				auditing = device;
				n_auditing++;
			}
		assert_true(n_auditing <= LIMIT_STARTS && auditing);
		f.actions[0] = '\0';
		(void)handle(&f, of_session(CORE_AUDITED, f.source, auditing->session));
		n++;
	}
	assert_int_equal(n, 51);
	assert_int_equal(f.core->n_auditing, 0);
	f.core = core_free(f.core);
}

/* ask-to-attach, two targets, twins; an answer that is no is not asked for again before there is a cause. */
static void test_questions(void **unused _unused_)
{
	struct core_assignment by_id;
	struct fixture f;

	setup(&f);
	set_answerers(&f, 1);
	assign(&f, "work", CORE_ASSIGN_ASK);
	assert_actions(&f, "?");
	assert_true(f.question.token == 0);
	assert_int_equal(f.question.n_offered, 1);
	assert_int_equal(answer_question(&f, false, ""), 0);
	assert_actions(&f, ".");
	tick(&f, 100 * SECOND);
	set_answerers(&f, 2);
	assert_actions(&f, "");
	agent_up(&f, f.target);
	assert_actions(&f, "?");
	tick(&f, TIMEOUT_ASK_USEC);
	assert_actions(&f, ".");
	assert_int_equal(f.question_end, CORE_QUESTION_TIMED_OUT);
	assign(&f, "personal", CORE_ASSIGN_AUTO); /* as specific as the other one */
	assert_actions(&f, "?");
	assert_int_equal(f.question.n_offered, 2);
	assert_string_equal(f.question.offered[0], "personal");
	assert_string_equal(f.question.offered[1], "work");
	assert_string_equal(f.question.default_target, "work");
	assert_int_equal(answer_question(&f, true, "work"), 0);
	assert_actions(&f, ".A");
	assert_true(f.terms.answered);
	let_attach(&f, f.target);
	f.core = core_free(f.core);

	setup(&f); /* only those that would be allowed are offered */
	set_answerers(&f, 1);
	f.verdict = CORE_VERDICT_DENY;
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("personal", "1-2", CORE_ASSIGN_AUTO)), 0);
	fail_attach(&f);
	f.actions[0] = '\0';
	assign(&f, "work", CORE_ASSIGN_AUTO);
	assert_actions(&f, "?");
	assert_int_equal(f.question.n_offered, 1);
	assert_string_equal(f.question.offered[0], "personal");
	/* the assignments go: so does the question; then the other one alone is denied */
	assert_int_equal(tell(&f, CORE_UNASSIGNED, make("personal", "1-2", CORE_ASSIGN_AUTO)), 0);
	assert_actions(&f, ".u");
	assert_int_equal(f.question_end, CORE_QUESTION_VOID);
	f.core = core_free(f.core);

	setup(&f); /* UD13: twins without a port in the assignment */
	set_answerers(&f, 1);
	(void)handle(&f, device_event(f.source, 3, 1, "1-3"));
	by_id = make("work", "", CORE_ASSIGN_AUTO);
	(void)strcpy(by_id.device_id, "0781:5581:AB12:u080650");
	f.actions[0] = '\0';
	assert_int_equal(tell(&f, CORE_ASSIGNED, by_id), 0);
	assert_actions(&f, "?");
	f.core = core_free(f.core);

	setup(&f); /* nobody there: asked when somebody comes */
	assign(&f, "work", CORE_ASSIGN_ASK);
	assert_actions(&f, ".");
	assert_int_equal(f.question_end, CORE_QUESTION_NOBODY);
	set_answerers(&f, 1);
	assert_actions(&f, "?");
	f.core = core_free(f.core);
}

/*
 * More than one device qube may have asked about: each is asked about in its turn, in the order in which they came, be
 * it the assignment or the policy that wants it; none is forgotten, and none that the user has held off meanwhile comes.
 */
static void test_more_than_can_be_asked(void **unused _unused_)
{
	enum { N = LIMIT_QUESTIONS / 4 + 9 };

	for (int by_policy = 0; by_policy < 2; by_policy++) {
		struct core_assignment any = make("work", "", by_policy ? CORE_ASSIGN_AUTO : CORE_ASSIGN_ASK);
		struct core_device_ref last = {0};
		unsigned int cursor = 0, n = 0;
		const struct core_device *device;
		struct fixture f;
		char port[16];

		setup(&f);
		set_answerers(&f, 1);
		f.verdict = by_policy ? CORE_VERDICT_ASK : CORE_VERDICT_ALLOW;
		assert_int_equal(tell(&f, CORE_ASSIGNED, any), 0);
		for (uint16_t i = 1; i < N; i++) {
			(void)snprintf(port, sizeof(port), "2-%u", i);
			assert_int_equal(handle(&f, device_event(f.source, (uint16_t)(i + 2), 1, port)), 0);
		}
		while ((device = core_next_device(core_find_qube(f.core, f.source), &cursor)))
			last = device->ref;
		(void)handle(&f, request(CORE_DETACH, 9, last, f.target)); /* it was to be asked about: no more */
		assert_int_equal(f.answer, CORE_ANSWER_NOT_ATTACHED);
		f.actions[0] = '\0';
		for (; f.question.id == ++n; f.question_end = CORE_QUESTION_END_COUNT) {
			assert_int_equal(f.question.device.slot, n == 1 ? 2 : n + 1);
			assert_int_equal(answer_question(&f, n % 2, n % 2 ? "work" : ""), 0);
			if (n % 2) /* it goes on while the others wait */
				let_attach(&f, f.target);
			f.actions[0] = '\0';
		}
		assert_int_equal(n - 1, N - 1);
		assert_int_equal(f.core->n_waiting, 0);
		f.core = core_free(f.core);
	}
}

/* Who waits for a place, and is gone, or is not to be asked about any more, holds up nobody. */
static void test_waiting_ends(void **unused _unused_)
{
	enum { GONE, UNASSIGNED, NO_ANSWERER, USER, N_ENDS };

	for (unsigned int i = 0; i < N_ENDS; i++) {
		struct core_assignment any = make("work", "", CORE_ASSIGN_ASK);
		struct core_event gone = {.type = CORE_DEVICE_GONE};
		struct core_device_ref waiting = {0};
		const struct core_device *device;
		unsigned int cursor = 0;
		struct fixture f;
		char port[16];

		setup(&f);
		set_answerers(&f, 1);
		assert_int_equal(tell(&f, CORE_ASSIGNED, any), 0);
		for (uint16_t n = 1; n <= LIMIT_QUESTIONS / 4; n++) {
			(void)snprintf(port, sizeof(port), "2-%u", n);
			assert_int_equal(handle(&f, device_event(f.source, (uint16_t)(n + 2), 1, port)), 0);
		}
		while ((device = core_next_device(core_find_qube(f.core, f.source), &cursor)))
			waiting = device->ref;
		assert_int_equal(f.core->n_waiting, 1);
		f.actions[0] = '\0';
		gone.qube = f.source;
		gone.gone.slot = waiting.slot;
		gone.gone.generation = waiting.generation;
		if (i == GONE)
			assert_int_equal(handle(&f, gone), 0);
		if (i == UNASSIGNED)
			assert_int_equal(tell(&f, CORE_UNASSIGNED, any), 0);
		if (i == NO_ANSWERER)
			set_answerers(&f, 0);
		if (i == USER) {
			f.verdict_other = CORE_VERDICT_ALLOW;
			(void)handle(&f, request(CORE_ATTACH, 9, waiting, f.other));
			assert_actions(&f, "A");
			assert_int_equal(answer_question(&f, false, ""), 0);
			assert_actions(&f, ".?");
		}
		if (i == GONE) {
			assert_int_equal(answer_question(&f, false, ""), 0);
			assert_actions(&f, "-.?");
		}
		if (i == NO_ANSWERER) { /* and all are asked about when somebody comes */
			f.actions[0] = '\0';
			set_answerers(&f, 1);
			assert_actions(&f, "?");
			assert_int_equal(f.core->n_waiting, 1);
		} else {
			assert_int_equal(f.core->n_waiting, 0);
		}
		f.core = core_free(f.core);
	}
}

/* The policy's `ask` holds for assignments as well; the limits of both count; after a `yes` it is looked at again. */
static void test_policy(void **unused _unused_)
{
	struct core_assignment assignment = make("work", "1-2", CORE_ASSIGN_AUTO);
	struct core_event denied = {.type = CORE_DENIED};
	struct fixture f;

	setup(&f);
	set_answerers(&f, 1);
	f.verdict = CORE_VERDICT_ASK;
	f.max_time_usec = 100 * SECOND;
	assignment.max_time_usec = 50 * SECOND;
	assignment.follow_port = true;
	assert_int_equal(tell(&f, CORE_ASSIGNED, assignment), 0);
	assert_actions(&f, "?");
	assert_int_equal(answer_question(&f, true, "work"), 0);
	assert_actions(&f, ".A");
	assert_true(f.terms.max_time_usec == 50 * SECOND);
	assert_true(f.terms.follow_port);
	f.core = core_free(f.core);

	setup(&f);
	set_answerers(&f, 1);
	f.verdict = CORE_VERDICT_ASK;
	assign(&f, "work", CORE_ASSIGN_AUTO);
	f.verdict = CORE_VERDICT_DENY; /* not yet told */
	f.actions[0] = '\0';
	assert_int_equal(answer_question(&f, true, "work"), 0);
	assert_actions(&f, ".u");
	f.core = core_free(f.core);

	/* a list with a fault changes nothing */
	setup(&f);
	(void)strcpy(denied.denied.qube, "work");
	denied.denied.n_patterns = 1;
	(void)strcpy(denied.denied.patterns[0], "u08****");
	assert_int_equal(handle(&f, denied), 0);
	(void)strcpy(denied.denied.patterns[0], "bad");
	assert_int_equal(handle(&f, denied), CORE_EVENT_IGNORED);
	assign(&f, "work", CORE_ASSIGN_AUTO);
	assert_actions(&f, "u");
	f.core = core_free(f.core);
}

/* What a user detached is left alone until something about it is new. */
static void test_held(void **unused _unused_)
{
	enum { PLUG, TARGET, ASSIGNMENT, MODE, N_NEW };

	for (unsigned int i = 0; i < N_NEW; i++) {
		struct fixture f;

		setup(&f);
		assign(&f, "work", CORE_ASSIGN_AUTO);
		let_attach(&f, f.target);
		(void)handle(&f, request(CORE_DETACH, 9, f.device, f.target));
		f.actions[0] = '\0';
		let_stop(&f, f.target);
		assert_actions(&f, "ndf!");
		(void)handle(&f, (struct core_event){.type = CORE_POLICY_CHANGED});
		(void)handle(&f, (struct core_event){.type = CORE_RESUMED});
		(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.target});
		agent_up(&f, f.target); /* the same life */
		agent_up(&f, f.other);
		tick(&f, 1000 * SECOND);
		assert_int_equal(tell(&f, CORE_ASSIGNED, make("personal", "1-7", CORE_ASSIGN_AUTO)), 0);
		assert_actions(&f, "");
		if (i == PLUG)
			(void)handle(&f, device_event(f.source, 2, 10, "1-2"));
		if (i == TARGET) {
			f.target = start_qube(&f, 4, "work");
			agent_up(&f, f.target);
		}
		if (i == ASSIGNMENT)
			assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "", CORE_ASSIGN_AUTO)), 0);
		if (i == MODE)
			assert_int_equal(tell(&f, CORE_ASSIGN_MODE, make("work", "1-2", CORE_ASSIGN_REQUIRED)), 0);
		if (i == PLUG)
			assert_actions(&f, "-+A");
		else
			assert_actions(&f, "A");
		f.core = core_free(f.core);
	}
}

/* `required` holds against the user's own detach, while the target runs. */
static void test_required(void **unused _unused_)
{
	struct core_event move;
	struct fixture f;

	setup(&f);
	assign(&f, "work", CORE_ASSIGN_REQUIRED);
	assert_actions(&f, "A");
	(void)handle(&f, request(CORE_DETACH, 9, f.device, f.target));
	assert_actions(&f, "!");
	assert_int_equal(f.answer, CORE_ANSWER_REQUIRED);
	let_attach(&f, f.target);
	(void)handle(&f, request(CORE_DETACH, 9, f.device, f.target));
	assert_int_equal(f.answer, CORE_ANSWER_REQUIRED);
	assert_int_equal(state_of(&f), CORE_ATTACHED);
	(void)handle(&f, request(CORE_DETACH, 9, f.device, f.other));
	assert_int_equal(f.answer, CORE_ANSWER_NOT_ATTACHED);
	f.actions[0] = '\0';
	move = request(CORE_MOVE, 10, f.device, f.other);
	move.request.from = f.target;
	(void)handle(&f, move);
	assert_actions(&f, "nst");
	let_stop(&f, f.target);
	let_attach(&f, f.other);
	(void)handle(&f, request(CORE_DETACH, 9, f.device, f.other)); /* not required there */
	assert_int_equal(state_of(&f), CORE_DETACHING);
	f.core = core_free(f.core);
}

/* A user's attach makes the tries void, and takes the device from where it would go. */
static void test_user_first(void **unused _unused_)
{
	struct fixture f;

	setup(&f);
	assign(&f, "work", CORE_ASSIGN_AUTO);
	fail_attach(&f);
	f.actions[0] = '\0';
	(void)handle(&f, request(CORE_ATTACH, 9, f.device, f.other));
	assert_actions(&f, "A");
	fail_attach(&f);
	assert_actions(&f, "nf!");
	tick(&f, 100 * SECOND);
	assert_actions(&f, "");
	f.core = core_free(f.core);

	setup(&f); /* a detach of what is not attached yet stops the tries too */
	assign(&f, "work", CORE_ASSIGN_AUTO);
	fail_attach(&f);
	(void)handle(&f, request(CORE_DETACH, 9, f.device, f.target));
	f.actions[0] = '\0';
	tick(&f, 100 * SECOND);
	agent_up(&f, f.target);
	assert_actions(&f, "");
	f.core = core_free(f.core);
}

/* What is stored answers as the contract says. */
static void test_stored(void **unused _unused_)
{
	struct core_assignment unfit = make("work", "1-2", CORE_ASSIGN_AUTO);
	struct core_event denied = {.type = CORE_DENIED};
	struct fixture f;
	char name[16];

	setup(&f);
	unfit.target[0] = '\0';
	assert_int_equal(tell(&f, CORE_ASSIGNED, unfit), CORE_EVENT_IGNORED);
	assert_int_equal(tell(&f, CORE_ASSIGN_MODE, unfit), CORE_EVENT_IGNORED);
	assert_int_equal(tell(&f, CORE_ASSIGN_MODE, make("work", "3-3", CORE_ASSIGN_ASK)), CORE_EVENT_IGNORED);
	assert_int_equal(tell(&f, CORE_UNASSIGNED, make("work", "3-3", CORE_ASSIGN_ASK)), CORE_EVENT_IGNORED);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "3-3", CORE_ASSIGN_ASK)), 0);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "3-3", CORE_ASSIGN_AUTO)), CORE_EVENT_EXISTS);
	for (unsigned int i = 1; i < LIMIT_ASSIGNMENTS; i++) {
		(void)snprintf(name, sizeof(name), "9-%u", i);
		assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", name, CORE_ASSIGN_AUTO)), 0);
	}
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "8-8", CORE_ASSIGN_AUTO)), CORE_EVENT_FULL);
	assert_int_equal(assignments_of_source(core_assignments(f.core), "sys-usb"), LIMIT_ASSIGNMENTS);
	assert_int_equal(assignments_of_source(core_assignments(f.core), "sys-us"), 0);
	denied.denied.n_patterns = 1;
	(void)strcpy(denied.denied.patterns[0], "u03****");
	for (unsigned int i = 0; i < LIMIT_DENIED_QUBES; i++) {
		(void)snprintf(denied.denied.qube, sizeof(denied.denied.qube), "q%u", i);
		assert_int_equal(handle(&f, denied), 0);
	}
	(void)strcpy(denied.denied.qube, "one-more");
	assert_int_equal(handle(&f, denied), CORE_EVENT_FULL);
	(void)strcpy(denied.denied.qube, "q7"); /* replaces */
	(void)strcpy(denied.denied.patterns[0], "u08****");
	assert_int_equal(handle(&f, denied), 0);
	assert_non_null(core_denied(f.core));
	f.core = core_free(f.core);
}

static uint64_t cpu_usec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

/* 64 qubes with 64 devices each and 1024 assignments: what the longest sweep costs, and an event without one. */
static void test_cost(void **unused _unused_)
{
	struct core_assignment assignment;
	uint64_t start, sweep = UINT64_MAX, other;
	struct core_qube_ref qubes[LIMIT_QUBES];
	struct fixture f;
	char name[16];

	new_core(&f);
	f.verdict = f.verdict_other = CORE_VERDICT_DENY;
	for (unsigned int q = 0; q < LIMIT_QUBES; q++) {
		(void)snprintf(name, sizeof(name), "q%u", q);
		qubes[q] = start_qube(&f, (uint16_t)(10 + q), name);
		agent_up(&f, qubes[q]);
		for (uint16_t i = 0; i < LIMIT_DEVICES; i++) {
			struct core_event event = device_event(qubes[q], i, 1, "");

			(void)snprintf(event.device.port, sizeof(event.device.port), "1-%u", i + 1);
			event.device.n_interfaces = 8;
			assert_int_equal(handle(&f, event), 0);
			f.actions[0] = '\0';
		}
	}
	f.target = qubes[0];
	for (unsigned int i = 0; i < LIMIT_ASSIGNMENTS; i++) { /* by id: the dearest to match */
		assignment = make("", "", CORE_ASSIGN_AUTO);
		(void)snprintf(assignment.source, sizeof(assignment.source), "q%u", i % LIMIT_QUBES);
		(void)snprintf(assignment.target, sizeof(assignment.target), "q%u", (i + 1 + i / 64) % LIMIT_QUBES);
		if (strcmp(assignment.source, assignment.target) == 0)
			continue;
		(void)strcpy(assignment.device_id, "0781:5581:AB12:u080651");
		assert_int_equal(tell(&f, CORE_ASSIGNED, assignment), 0);
	}
	for (unsigned int round = 0; round < 5; round++) {
		f.actions[0] = '\0';
		start = cpu_usec();
		(void)handle(&f, (struct core_event){.type = CORE_POLICY_CHANGED});
		start = cpu_usec() - start;
		sweep = start < sweep ? start : sweep;
	}
	start = cpu_usec();
	for (unsigned int round = 0; round < 1000; round++)
		(void)handle(&f, (struct core_event){.type = CORE_TICK});
	other = cpu_usec() - start;
	print_message("a sweep: %llu us; 1000 ticks: %llu us\n", (unsigned long long)sweep, (unsigned long long)other);
	assert_true(sweep < 100000); /* with sanitizers too: no walk over all pairs */
	f.core = core_free(f.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_causes),          cmocka_unit_test(test_tries),
		cmocka_unit_test(test_flapping),        cmocka_unit_test(test_independent),
		cmocka_unit_test(test_many_at_once),    cmocka_unit_test(test_questions),
		cmocka_unit_test(test_policy),          cmocka_unit_test(test_held),
		cmocka_unit_test(test_required),        cmocka_unit_test(test_user_first),
		cmocka_unit_test(test_stored),          cmocka_unit_test(test_cost),
		cmocka_unit_test(test_what_is_a_try),   cmocka_unit_test(test_yes_to_a_former_target),
		cmocka_unit_test(test_two_of_one_name), cmocka_unit_test(test_more_than_can_be_asked),
		cmocka_unit_test(test_waiting_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
