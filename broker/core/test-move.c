// SPDX-License-Identifier: GPL-2.0-or-later
/* Moves: what is refused before anything changes, and how each way out is answered, once. */
#include "broker/core/test-fixture.h"

#define TOKEN 500

static struct core_event move_event(const struct fixture *f, struct core_qube_ref from, struct core_qube_ref to)
{
	struct core_event event = request(CORE_MOVE, TOKEN, f->device, to);

	event.request.from = from;
	event.request.user.uid = 1002;
	return event;
}

static void setup_attached(struct fixture *f)
{
	setup(f);
	walk_to(f, CORE_ATTACHED);
}

/* Refused: the device stays where it is. */
static void test_refusals(void **unused _unused_)
{
	enum what { NO_DEVICE, ELSEWHERE, SAME, SELF, GONE, NO_AGENT, NO_ROLE, DENIED, DENY_LIST, NO_TOKEN };
	static const struct {
		enum what what;
		enum core_answer answer;
	} cases[] = {
		{NO_DEVICE, CORE_ANSWER_NO_DEVICE},
		{ELSEWHERE, CORE_ANSWER_NOT_ATTACHED},
		{SAME, CORE_ANSWER_ALREADY},
		{SELF, CORE_ANSWER_SELF},
		{GONE, CORE_ANSWER_NO_QUBE},
		{NO_AGENT, CORE_ANSWER_NO_TARGET_AGENT},
		{NO_ROLE, CORE_ANSWER_NO_TARGET_AGENT},
		{DENIED, CORE_ANSWER_DENIED},
		{DENY_LIST, CORE_ANSWER_DENIED},
		{NO_TOKEN, CORE_ANSWER_COUNT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_event event, denied = {.type = CORE_DENIED};
		struct fixture f;

		setup_attached(&f);
		event = move_event(&f, f.target, f.other);
		f.answer = CORE_ANSWER_COUNT;
		switch (cases[i].what) {
		case NO_DEVICE:
			event.request.device.generation++;
			break;
		case ELSEWHERE:
			event.request.from = f.other;
			break;
		case SAME:
			event.request.target = f.target;
			break;
		case SELF:
			event.request.target = f.source;
			break;
		case GONE:
			event.request.target.incarnation++;
			break;
		case NO_AGENT:
			(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.other});
			break;
		case NO_ROLE:
			f.core->qubes[f.other.index].roles = WIRE_ROLE_EXPORT;
			break;
		case DENIED:
			f.verdict_other = CORE_VERDICT_DENY;
			break;
		case DENY_LIST:
			(void)strcpy(denied.denied.qube, "personal");
			(void)strcpy(denied.denied.patterns[0], "u08****");
			denied.denied.n_patterns = 1;
			assert_int_equal(handle(&f, denied), 0);
			break;
		case NO_TOKEN:
			event.request.token = 0;
			break;
		}
		f.actions[0] = '\0';
		assert_int_equal(handle(&f, event), cases[i].what == NO_TOKEN ? CORE_EVENT_IGNORED : 0);
		assert_actions(&f, cases[i].what == NO_TOKEN ? "" : "!");
		assert_int_equal(f.answer, cases[i].answer);
		assert_int_equal(state_of(&f), CORE_ATTACHED);
		f.core = core_free(f.core);
	}
}

/* Where it stops, and what is done there; then what each leg still gets to. */
enum step { OUT, IN_AUDIT, IN_EXPORT, IN_IMPORT, BACK_AUDIT, BACK_IMPORT };
enum event {
	NOTHING,       /* it succeeds */
	FAILS,         /* the new qube refuses */
	SOURCE_SILENT, /* no word from the source in time */
	PULLED,        /* unplugged */
	SOURCE_LOST,   /* its agent */
	SOURCE_GONE,   /* its qube */
	NEW_GONE,      /* the qube it is moved to */
	OLD_GONE,      /* the qube it was in */
	USER_DETACHES,
	SLEEP,
	NOW_DENIED, /* the policy refuses the new qube */
	NOW_ASKED,  /* the policy asks for the new qube */
	OLD_DENIED, /* the policy refuses the old qube */
	OLD_ASKED,
};

static void stop_both(struct fixture *f, struct core_qube_ref target)
{
	if (state_of(f) == CORE_DETACHING)
		let_stop(f, target);
}

static void happen(struct fixture *f, enum event what, enum step step)
{
	struct core_event event = {.qube = f->source};

	switch (what) {
	case NOTHING:
	case OLD_DENIED:
	case OLD_ASKED:
		break;
	case FAILS:
		(void)handle(f, of_session(step == IN_EXPORT ? CORE_FAILED : CORE_AUDIT_FAILED, f->source, f->session));
		(void)handle(f, of_session(CORE_FAILED, step >= BACK_AUDIT ? f->target : f->other, f->session));
		break;
	case SOURCE_SILENT:
		tick(f, TIMEOUT_ATTACH_STEP_USEC);
		tick(f, TIMEOUT_STOP_USEC);
		break;
	case PULLED:
		event.type = CORE_DEVICE_GONE;
		event.gone.slot = f->device.slot;
		event.gone.generation = f->device.generation;
		(void)handle(f, event);
		break;
	case SOURCE_LOST:
	case SOURCE_GONE:
		event.type = what == SOURCE_LOST ? CORE_AGENT_LOST : CORE_QUBE_GONE;
		(void)handle(f, event);
		if (what == SOURCE_LOST && state_of(f) != CORE_FREE)
			tick(f, TIMEOUT_STOP_USEC);
		break;
	case NEW_GONE:
		(void)handle(f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f->other});
		break;
	case OLD_GONE:
		(void)handle(f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f->target});
		break;
	case USER_DETACHES:
		(void)handle(f, request(CORE_DETACH, 501, f->device,
					step == OUT || step >= BACK_AUDIT ? f->target : f->other));
		break;
	case SLEEP:
		event.type = CORE_SUSPEND;
		event.request.token = 502;
		(void)handle(f, event);
		break;
	case NOW_DENIED:
		f->verdict_other = CORE_VERDICT_DENY;
		(void)handle(f, (struct core_event){.type = CORE_POLICY_CHANGED});
		break;
	case NOW_ASKED:
		f->verdict_other = CORE_VERDICT_ASK;
		(void)handle(f, (struct core_event){.type = CORE_POLICY_CHANGED});
		break;
	}
}

/* The answers to the move itself; other requests have other tokens. */
static struct {
	unsigned int n;
	enum core_answer answer;
	enum outcome outcome;
	bool confirmed;
} answered;
static struct fixture *fixture;

static void on_move_action(void *userdata, const struct core_action *action)
{
	if (action->type == CORE_DO_ANSWER && action->token == TOKEN) {
		answered.n++;
		answered.answer = action->answer;
		answered.outcome = action->outcome;
		answered.confirmed = action->confirmed;
	}
	if (action->type != CORE_DO_AUDIT && strlen(fixture->actions) > 40)
		fixture->actions[0] = '\0';
	on_action(userdata, action);
}

/* Honest work until nothing more happens: audit, export, import, stop. `to` is the qube of this leg. */
static void work(struct fixture *f)
{
	for (unsigned int i = 0; i < 12; i++) {
		const struct core_device *device = inventory_record_by_ref(f->core, f->device);
		enum core_state state = device ? device->state : CORE_FREE;

		if (state == CORE_AUDITING)
			(void)handle(f, of_session(CORE_AUDITED, f->source, f->session));
		else if (state == CORE_EXPORTING)
			(void)handle(f, of_session(CORE_EXPORTED, f->source, f->session));
		else if (state == CORE_IMPORTING)
			(void)handle(f, of_session(CORE_IMPORTED, device->target, f->session));
		else if (state == CORE_DETACHING)
			stop_both(f, device->target);
	}
}

static void test_ways_out(void **unused _unused_)
{
	static const struct {
		enum step step;
		enum event event;
		enum core_answer answer;
		enum outcome outcome;
		const char *at; /* where it is in the end; "": nowhere */
	} cases[] = {
		{OUT, NOTHING, CORE_ANSWER_DONE, OUTCOME_OK, "personal"},
		{OUT, SOURCE_SILENT, CORE_ANSWER_NOT_CONFIRMED, OUTCOME_MOVED, ""},
		{OUT, PULLED, CORE_ANSWER_MOVED_FREE, OUTCOME_UNPLUGGED, ""},
		{OUT, SOURCE_LOST, CORE_ANSWER_NOT_CONFIRMED, OUTCOME_MOVED, ""},
		{OUT, SOURCE_GONE, CORE_ANSWER_MOVED_FREE, OUTCOME_QUBE_GONE, ""},
		{OUT, NEW_GONE, CORE_ANSWER_MOVED_BACK, OUTCOME_QUBE_GONE, "work"},
		{OUT, OLD_GONE, CORE_ANSWER_DONE, OUTCOME_OK, "personal"},
		{OUT, USER_DETACHES, CORE_ANSWER_MOVED_FREE, OUTCOME_DETACHED, ""},
		{OUT, SLEEP, CORE_ANSWER_MOVED_FREE, OUTCOME_SUSPENDED, ""},
		{OUT, NOW_DENIED, CORE_ANSWER_MOVED_BACK, OUTCOME_STOPPED, "work"},
		{OUT, NOW_ASKED, CORE_ANSWER_MOVED_BACK, OUTCOME_STOPPED, "work"},
		{IN_AUDIT, FAILS, CORE_ANSWER_MOVED_BACK, OUTCOME_AUDIT_FAILED, "work"},
		{IN_AUDIT, PULLED, CORE_ANSWER_MOVED_FREE, OUTCOME_UNPLUGGED, ""},
		{IN_AUDIT, USER_DETACHES, CORE_ANSWER_MOVED_FREE, OUTCOME_DETACHED, ""},
		{IN_AUDIT, SLEEP, CORE_ANSWER_MOVED_FREE, OUTCOME_SUSPENDED, ""},
		{IN_EXPORT, FAILS, CORE_ANSWER_MOVED_BACK, OUTCOME_OPEN_FAILED, "work"},
		{IN_EXPORT, SOURCE_SILENT, CORE_ANSWER_NOT_CONFIRMED, OUTCOME_TIMED_OUT, ""},
		{IN_EXPORT, PULLED, CORE_ANSWER_MOVED_FREE, OUTCOME_UNPLUGGED, ""},
		{IN_EXPORT, SOURCE_LOST, CORE_ANSWER_NOT_CONFIRMED, OUTCOME_PEER_LOST, ""},
		{IN_EXPORT, NEW_GONE, CORE_ANSWER_MOVED_BACK, OUTCOME_QUBE_GONE, "work"},
		{IN_IMPORT, FAILS, CORE_ANSWER_MOVED_BACK, OUTCOME_OPEN_FAILED, "work"},
		{IN_IMPORT, SOURCE_GONE, CORE_ANSWER_MOVED_FREE, OUTCOME_QUBE_GONE, ""},
		{IN_IMPORT, NEW_GONE, CORE_ANSWER_MOVED_BACK, OUTCOME_QUBE_GONE, "work"},
		{IN_IMPORT, USER_DETACHES, CORE_ANSWER_MOVED_FREE, OUTCOME_DETACHED, ""},
		{IN_IMPORT, SLEEP, CORE_ANSWER_MOVED_FREE, OUTCOME_SUSPENDED, ""},
		{BACK_AUDIT, FAILS, CORE_ANSWER_MOVED_FREE, OUTCOME_OPEN_FAILED, ""},
		{BACK_AUDIT, NOTHING, CORE_ANSWER_MOVED_BACK, OUTCOME_OPEN_FAILED, "work"},
		{BACK_AUDIT, OLD_DENIED, CORE_ANSWER_MOVED_FREE, OUTCOME_OPEN_FAILED, ""},
		{BACK_AUDIT, OLD_ASKED, CORE_ANSWER_MOVED_BACK, OUTCOME_OPEN_FAILED, "work"},
		{BACK_AUDIT, USER_DETACHES, CORE_ANSWER_MOVED_FREE, OUTCOME_DETACHED, ""},
		{BACK_IMPORT, FAILS, CORE_ANSWER_MOVED_FREE, OUTCOME_OPEN_FAILED, ""},
		{BACK_IMPORT, OLD_GONE, CORE_ANSWER_MOVED_FREE, OUTCOME_OPEN_FAILED, ""},
		{BACK_IMPORT, PULLED, CORE_ANSWER_MOVED_FREE, OUTCOME_UNPLUGGED, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum step step = cases[i].step;
		const struct core_device *device;
		uint64_t first;
		struct fixture f;

		setup_attached(&f);
		first = f.session;
		fixture = &f;
		f.core->hooks.emit = on_move_action;
		answered.n = 0;
		assert_int_equal(handle(&f, move_event(&f, f.target, f.other)), 0);
		assert_actions(&f, "nst");
		(void)handle(&f, request(CORE_ATTACH, 7, f.device, f.other)); /* nobody gets between */
		assert_int_equal(f.answer, CORE_ANSWER_DETACHING);
		if (step >= IN_AUDIT) {
			let_stop(&f, f.target);
			assert_int_equal(state_of(&f), CORE_AUDITING);
			assert_true(f.session != first);
			assert_int_equal(f.terms.origin, CORE_ORIGIN_MOVE);
			assert_int_equal(f.terms.asked_by.uid, 1002);
		}
		if (step >= IN_EXPORT)
			(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
		if (step >= IN_IMPORT)
			(void)handle(&f, of_session(CORE_EXPORTED, f.source, f.session));
		if (step >= BACK_AUDIT) {
			if (cases[i].event == OLD_DENIED || cases[i].event == OLD_ASKED)
				f.verdict = cases[i].event == OLD_DENIED ? CORE_VERDICT_DENY : CORE_VERDICT_ASK;
			(void)handle(&f, of_session(CORE_FAILED, f.other, f.session));
			(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
			if (cases[i].event != OLD_DENIED) {
				assert_int_equal(state_of(&f), CORE_AUDITING);
				assert_int_equal(f.terms.origin, CORE_ORIGIN_BACK);
			}
		}
		if (step >= BACK_IMPORT) {
			(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
			(void)handle(&f, of_session(CORE_EXPORTED, f.source, f.session));
		}
		happen(&f, cases[i].event, step);
		work(&f);
		if (answered.n != 1 || answered.answer != cases[i].answer || answered.outcome != cases[i].outcome)
			fail_msg("case %zu: %u answers, \"%s\", \"%s\"", i, answered.n,
				 core_answer_text(answered.answer), outcome_text(answered.outcome));
		assert_int_equal(answered.confirmed, cases[i].answer != CORE_ANSWER_NOT_CONFIRMED);
		device = core_find_device(f.core, f.device);
		if (cases[i].at[0])
			assert_true(device && device->state == CORE_ATTACHED);
		else
			assert_true(!device || device->state != CORE_ATTACHED);
		if (cases[i].at[0])
			assert_string_equal(device->target_name, cases[i].at);
		assert_int_equal(f.core->n_moves, 0);
		f.core = core_free(f.core);
	}
}

/* `ask` for the new qube: nothing changes before the answer; the question ends with the attachment it is about. */
static void test_asked(void **unused _unused_)
{
	enum { YES, NO, DETACHED, LOST, ENDED, NEW_GONE_TOO };
	static const struct {
		const char *actions;
		enum core_answer answer;
	} cases[] = {
		[YES] = {".nst", CORE_ANSWER_COUNT},          [NO] = {".!", CORE_ANSWER_SAID_NO},
		[DETACHED] = {".!nst", CORE_ANSWER_NO_REPLY}, [LOST] = {".!ns", CORE_ANSWER_NO_REPLY},
		[ENDED] = {".!nt", CORE_ANSWER_NO_REPLY},     [NEW_GONE_TOO] = {".!", CORE_ANSWER_NO_REPLY},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;

		setup_attached(&f);
		f.verdict_other = CORE_VERDICT_ASK;
		set_answerers(&f, 1);
		(void)handle(&f, move_event(&f, f.target, f.other));
		assert_actions(&f, "?");
		assert_true(f.question.move);
		assert_true(same_qube(f.question.from, f.target));
		assert_int_equal(state_of(&f), CORE_ATTACHED);
		(void)handle(&f, move_event(&f, f.target, f.other));
		assert_int_equal(f.answer, CORE_ANSWER_ASKING);
		f.answer = CORE_ANSWER_COUNT;
		f.actions[0] = '\0';
		if (i == YES || i == NO)
			assert_int_equal(answer_question(&f, i == YES, "personal"), 0);
		if (i == DETACHED)
			(void)handle(&f, request(CORE_DETACH, 8, f.device, f.target));
		if (i == LOST)
			(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.target});
		if (i == ENDED)
			(void)handle(&f, of_session(CORE_ENDED, f.source, f.session));
		if (i == NEW_GONE_TOO)
			(void)handle(&f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f.other});
		assert_string_equal(f.actions, cases[i].actions);
		assert_int_equal(f.answer, cases[i].answer);
		if (i == YES) {
			let_stop(&f, f.target);
			assert_true(f.terms.answered);
			let_attach(&f, f.other);
			assert_int_equal(f.answer, CORE_ANSWER_DONE);
			assert_int_equal(f.token, TOKEN);
		}
		f.core = core_free(f.core);
	}
}

/* The former limit goes on at the way back; the new one counts at the new place. */
static void test_limits_of_legs(void **unused _unused_)
{
	struct core_event event;
	struct fixture f;
	uint64_t end;

	setup(&f);
	event = request(CORE_ATTACH, 5, f.device, f.target);
	event.request.max_time_usec = 100 * SECOND;
	(void)handle(&f, event);
	end = f.now_usec + 100 * SECOND;
	let_attach(&f, f.target);
	f.now_usec += 10 * SECOND;
	event = move_event(&f, f.target, f.other);
	event.request.max_time_usec = 50 * SECOND;
	(void)handle(&f, event);
	let_stop(&f, f.target);
	assert_true(f.terms.end_usec == f.now_usec + 50 * SECOND);
	(void)handle(&f, of_session(CORE_AUDIT_FAILED, f.source, f.session));
	assert_int_equal(f.terms.origin, CORE_ORIGIN_BACK);
	assert_true(f.terms.end_usec == end);
	f.core = core_free(f.core);
}

/* More at once than there is room for: it stays where it is, and that is said. */
static void test_too_many(void **unused _unused_)
{
	unsigned int n_moved = 0;
	struct fixture f;
	char port[8];

	setup(&f);
	for (uint16_t i = 0; i <= LIMIT_MOVES; i++) { /* those of two device qubes */
		struct core_qube_ref source = f.source, qubes[] = {f.source, f.other};

		(void)snprintf(port, sizeof(port), "2-%u", i);
		f.source = qubes[i % 2];
		assert_int_equal(handle(&f, device_event(f.source, (uint16_t)(3 + i / 2), 20 + i, port)), 0);
		for (unsigned int n = 0; n < LIMIT_DEVICES; n++) {
			const struct core_device *device = &f.core->qubes[f.source.index].devices[n];

			if (device->used && device->ref.generation == 20u + i)
				f.device = device->ref;
		}
		(void)handle(&f, request(CORE_ATTACH, 7, f.device, f.target));
		let_attach(&f, f.target);
		f.actions[0] = '\0';
		assert_int_equal(handle(&f, move_event(&f, f.target, qubes[1 - i % 2])), 0);
		n_moved += strcmp(f.actions, "nst") == 0;
		f.source = source;
	}
	assert_int_equal(n_moved, LIMIT_MOVES);
	assert_actions(&f, "!");
	assert_int_equal(f.answer, CORE_ANSWER_FAILED);
	assert_int_equal(f.outcome, OUTCOME_BUSY);
	assert_int_equal(state_of(&f), CORE_ATTACHED);
	f.core = core_free(f.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),       cmocka_unit_test(test_ways_out), cmocka_unit_test(test_asked),
		cmocka_unit_test(test_limits_of_legs), cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
