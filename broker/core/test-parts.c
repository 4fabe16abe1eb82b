// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A USB device and its parts: who is in whose way, which end comes first, and who is told. Each state of the one against
 * an attach of the other is a table; what CLEARING does with every event is in test-core.c.
 */
#include "broker/core/test-fixture.h"

#define PART "mic-01234567"

static const struct core_device *find(const struct fixture *f, struct core_device_ref ref)
{
	return core_find_device(f->core, ref);
}

/* The honest way of `device` to a state on the way to `target`, and from there; its session. */
static uint64_t walk_device(struct fixture *f, struct core_device_ref device, struct core_qube_ref target,
			    enum core_state state)
{
	if (state == CORE_FREE)
		return 0;
	(void)handle(f, request(CORE_ATTACH, 90, device, target));
	if (state >= CORE_EXPORTING)
		(void)handle(f, of_session(CORE_AUDITED, f->source, f->session));
	if (state >= CORE_IMPORTING)
		(void)handle(f, of_session(CORE_EXPORTED, f->source, f->session));
	if (state >= CORE_ATTACHED)
		(void)handle(f, of_session(CORE_IMPORTED, target, f->session));
	if (state >= CORE_DETACHING)
		(void)handle(f, request(CORE_DETACH, 91, device, target));
	if (state >= CORE_LOCKED)
		tick(f, TIMEOUT_STOP_USEC);
	assert_int_equal(state_of_device(f, device), state);
	f->actions[0] = '\0';
	return f->session;
}

/* An attach of the one while the other is in each state. */
static void test_each_state(void **unused _unused_)
{
	static const struct {
		enum core_state state;
		enum core_answer part_held, part_ends, whole_held; /* DONE: it is begun */
	} rows[] = {
		{CORE_FREE, CORE_ANSWER_DONE, CORE_ANSWER_DONE, CORE_ANSWER_DONE},
		{CORE_AUDITING, CORE_ANSWER_PART_IN_USE, CORE_ANSWER_DONE, CORE_ANSWER_WHOLE_IN_USE},
		{CORE_EXPORTING, CORE_ANSWER_PART_IN_USE, CORE_ANSWER_DONE, CORE_ANSWER_WHOLE_IN_USE},
		{CORE_IMPORTING, CORE_ANSWER_PART_IN_USE, CORE_ANSWER_DONE, CORE_ANSWER_WHOLE_IN_USE},
		{CORE_ATTACHED, CORE_ANSWER_PART_IN_USE, CORE_ANSWER_DONE, CORE_ANSWER_WHOLE_IN_USE},
		{CORE_DETACHING, CORE_ANSWER_PART_IN_USE, CORE_ANSWER_DONE, CORE_ANSWER_WHOLE_IN_USE},
		{CORE_LOCKED, CORE_ANSWER_PART_IN_USE, CORE_ANSWER_PART_IN_USE, CORE_ANSWER_WHOLE_IN_USE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (unsigned int way = 0; way < 3; way++) {
			enum core_answer expected = way == 0   ? rows[i].part_held
						    : way == 1 ? rows[i].part_ends
							       : rows[i].whole_held;
			struct core_device_ref first, second;
			struct fixture f;

			setup(&f);
			add_part(&f);
			first = way == 2 ? f.device : f.part;
			second = way == 2 ? f.part : f.device;
			(void)walk_device(&f, first, f.other, rows[i].state);
			f.end_parts = way > 0; /* a part never ends its whole */
			(void)handle(&f, request(CORE_ATTACH, 200, second, f.target));
			if (expected == CORE_ANSWER_DONE) {
				assert_int_equal(state_of_device(&f, second), CORE_AUDITING);
				assert_actions(&f, "A");
			} else {
				assert_actions(&f, "!");
				assert_int_equal(f.token, 200);
				assert_int_equal(f.answer, expected);
				assert_true(same_device(f.in_the_way, first));
				assert_int_equal(state_of_device(&f, second), CORE_FREE);
			}
			assert_int_equal(state_of_device(&f, first), rows[i].state); /* not before the record */
			f.core = core_free(f.core);
		}
}

/* The record is on disk: from each state the part ends, and the whole's EXPORT comes after its source's word. */
static void test_clearing(void **unused _unused_)
{
	static const struct {
		enum core_state state;
		const char *audited; /* actions when the record of the whole is written */
		bool waits;
	} rows[] = {
		{CORE_FREE, "X", false},       {CORE_AUDITING, "nnf!X", false}, /* nothing has been sent for it */
		{CORE_EXPORTING, "nns", true}, {CORE_IMPORTING, "nnst", true},
		{CORE_ATTACHED, "nnst", true}, {CORE_DETACHING, "n", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f;
		uint64_t part, whole;

		setup(&f);
		add_part(&f);
		part = walk_device(&f, f.part, f.other, rows[i].state);
		f.end_parts = true;
		(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
		whole = f.session;
		f.actions[0] = '\0';
		(void)handle(&f, of_session(CORE_AUDITED, f.source, whole));
		assert_actions(&f, rows[i].audited);
		assert_int_equal(state_of(&f), rows[i].waits ? CORE_CLEARING : CORE_EXPORTING);
		if (rows[i].waits) {
			assert_int_equal(state_of_device(&f, f.part), CORE_DETACHING);
			if (rows[i].state == CORE_ATTACHED)
				assert_int_equal(find(&f, f.part)->reason, OUTCOME_WHOLE_ATTACHED);
			(void)handle(&f, request(CORE_ATTACH, 201, f.part, f.other));
			assert_int_equal(f.answer, CORE_ANSWER_DETACHING);
			tick(&f, TIMEOUT_STOP_USEC - 1);
			assert_null(strchr(f.actions, 'X'));
			(void)handle(&f, of_session(CORE_STOPPED, f.source, part));
			assert_non_null(strchr(f.actions, 'X'));
			assert_int_equal(state_of(&f), CORE_EXPORTING);
		}
		(void)handle(&f, request(CORE_ATTACH, 202, f.part, f.other)); /* whatever else: not now */
		assert_true(f.token == 202 && f.answer != CORE_ANSWER_DONE);
		f.session = whole;
		(void)handle(&f, of_session(CORE_EXPORTED, f.source, whole));
		(void)handle(&f, of_session(CORE_IMPORTED, f.target, whole));
		assert_true(f.token == 200 && f.answer == CORE_ANSWER_DONE);
		assert_int_equal(state_of(&f), CORE_ATTACHED);
		f.core = core_free(f.core);
	}
}

/* A source that does not stop the part, in time or at all: the whole's user is told, once; nothing was sent for it. */
static void test_part_does_not_end(void **unused _unused_)
{
	struct fixture f;

	setup(&f);
	walk_to(&f, CORE_CLEARING);
	tick(&f, TIMEOUT_STOP_USEC - 1);
	assert_actions(&f, "");
	tick(&f, 1);
	assert_int_equal(state_of(&f), CORE_FREE);
	assert_int_equal(state_of_device(&f, f.part), CORE_LOCKED);
	assert_null(strchr(f.actions, 'X'));
	assert_int_equal(f.token, 100);
	assert_int_equal(f.answer, CORE_ANSWER_FAILED);
	assert_int_equal(f.outcome, OUTCOME_PART_HELD);
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
	assert_int_equal(f.answer, CORE_ANSWER_PART_IN_USE);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, f.part_session)); /* late */
	(void)handle(&f, request(CORE_ATTACH, 201, f.device, f.target));
	assert_int_equal(state_of(&f), CORE_AUDITING);
	f.core = core_free(f.core);

	/* it is known to hang before the whole's record is on disk */
	setup(&f);
	add_part(&f);
	(void)walk_device(&f, f.part, f.other, CORE_DETACHING);
	f.end_parts = true;
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
	tick(&f, TIMEOUT_STOP_USEC);
	assert_int_equal(state_of_device(&f, f.part), CORE_LOCKED);
	assert_int_equal(state_of(&f), CORE_AUDITING);
	(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
	assert_int_equal(state_of(&f), CORE_FREE);
	assert_int_equal(f.token, 200);
	assert_int_equal(f.outcome, OUTCOME_PART_HELD);
	f.core = core_free(f.core);
}

/* Its target's word is not waited for; and of several parts each one's source's is. */
static void test_several(void **unused _unused_)
{
	struct core_device_ref second;
	uint64_t sessions[2];
	struct fixture f;

	setup(&f);
	add_part(&f);
	assert_int_equal(handle(&f, part_event(f.source, PART_SLOT + 1, 1, "mic-76543210", "1-2")), 0);
	second = f.part;
	second.slot++;
	sessions[0] = walk_device(&f, f.part, f.other, CORE_ATTACHED);
	sessions[1] = walk_device(&f, second, f.other, CORE_ATTACHED);
	f.end_parts = true;
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
	f.actions[0] = '\0';
	(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
	assert_actions(&f, "nnstnst");
	(void)handle(&f, of_session(CORE_STOPPED, f.source, sessions[1]));
	(void)handle(&f, of_session(CORE_STOPPED, f.other, sessions[1]));
	assert_int_equal(state_of_device(&f, second), CORE_FREE);
	assert_int_equal(state_of(&f), CORE_CLEARING);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, sessions[0]));
	assert_int_equal(state_of_device(&f, f.part), CORE_DETACHING);
	assert_int_equal(state_of(&f), CORE_EXPORTING);
	f.core = core_free(f.core);
}

/* Who is a part of what. The first is attached, then the second is asked for; both are told by an agent. */
static void test_relations(void **unused _unused_)
{
	static const struct {
		const char *whole, *parent;
		bool of_other_qube, related;
	} rows[] = {
		{"1-2", "1-2", false, true},    {"1-2", "", false, false},       {"1-2", "1-2.1", false, false},
		{"1-2.1", "1-2", false, false}, {"2-1", "2-1", false, true},     {"1-2", "2-1", false, false},
		{"1-2", "1-2", true, false},    {"1-2.1", "1-2.1", true, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int part_first = 0; part_first < 2; part_first++) {
			struct core_qube_ref qubes[2];
			struct core_device_ref refs[2]; /* whole, part */
			struct fixture f;

			setup(&f);
			qubes[0] = f.source;
			qubes[1] = rows[i].of_other_qube ? f.other : f.source;
			assert_int_equal(handle(&f, device_event(qubes[0], 30, 1, rows[i].whole)), 0);
			assert_int_equal(handle(&f, part_event(qubes[1], PART_SLOT, 1, PART, rows[i].parent)), 0);
			for (int which = 0; which < 2; which++)
				refs[which] = (struct core_device_ref){
					.qube = qubes[which], .agent_life = 1, .slot = which ? PART_SLOT : 30, 1};
			(void)handle(&f, request(CORE_ATTACH, 200, refs[part_first], f.target));
			assert_int_equal(state_of_device(&f, refs[part_first]), CORE_AUDITING);
			(void)handle(&f, request(CORE_ATTACH, 201, refs[!part_first], f.target));
			if (rows[i].related)
				assert_int_equal(f.answer,
						 part_first ? CORE_ANSWER_PART_IN_USE : CORE_ANSWER_WHOLE_IN_USE);
			else
				assert_int_equal(state_of_device(&f, refs[!part_first]), CORE_AUDITING);
			f.core = core_free(f.core);
		}
}

/* What was unplugged counts until its stream is proven gone, whatever is at that port now. */
static void test_unplugged(void **unused _unused_)
{
	struct core_event gone = {.type = CORE_DEVICE_GONE};
	uint64_t part;
	struct fixture f;

	setup(&f);
	add_part(&f);
	part = walk_device(&f, f.part, f.other, CORE_ATTACHED);
	gone.qube = f.source;
	gone.gone.slot = PART_SLOT;
	gone.gone.generation = 1;
	assert_int_equal(handle(&f, gone), 0);
	gone.gone.slot = f.device.slot;
	gone.gone.generation = f.device.generation;
	assert_int_equal(handle(&f, gone), 0);
	assert_int_equal(handle(&f, device_event(f.source, 2, 10, "1-2")), 0);
	f.device.generation = 10;
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
	assert_int_equal(f.answer, CORE_ANSWER_PART_IN_USE);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, part));
	(void)handle(&f, of_session(CORE_STOPPED, f.other, part));
	(void)handle(&f, request(CORE_ATTACH, 201, f.device, f.target));
	assert_int_equal(state_of(&f), CORE_AUDITING);
	f.core = core_free(f.core);

	setup(&f); /* and the same of a whole: two were at that port */
	walk_to(&f, CORE_LOCKED);
	assert_int_equal(handle(&f, device_event(f.source, 2, 10, "1-2")), 0);
	add_part(&f);
	(void)handle(&f, request(CORE_ATTACH, 200, f.part, f.other));
	assert_int_equal(f.answer, CORE_ANSWER_WHOLE_IN_USE);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, f.session));
	(void)handle(&f, request(CORE_ATTACH, 201, f.part, f.other));
	assert_int_equal(state_of_device(&f, f.part), CORE_AUDITING);
	f.core = core_free(f.core);
}

static void assign(struct fixture *f, uint8_t class_id, const char *port, const char *target,
		   enum core_assign_mode mode)
{
	struct core_assignment assignment = {.mode = mode, .class_id = class_id};

	(void)strcpy(assignment.source, "sys-usb");
	(void)snprintf(assignment.target, sizeof(assignment.target), "%s", target);
	(void)snprintf(assignment.port, sizeof(assignment.port), "%s", port);
	assert_int_equal(handle(f, (struct core_event){.type = CORE_ASSIGNED, .assignment = &assignment}), 0);
}

/* Assignments wait for each other, and look again when the way is free; `required` does not keep a part from a whole. */
static void test_assignments(void **unused _unused_)
{
	uint64_t part;
	struct fixture f;

	setup(&f);
	add_part(&f);
	part = walk_device(&f, f.part, f.other, CORE_ATTACHED);
	assign(&f, WIRE_CLASS_USB, "1-2", "work", CORE_ASSIGN_AUTO);
	assert_actions(&f, ""); /* it waits */
	(void)handle(&f, request(CORE_DETACH, 101, f.part, f.other));
	(void)handle(&f, of_session(CORE_STOPPED, f.source, part));
	(void)handle(&f, of_session(CORE_STOPPED, f.other, part));
	assert_int_equal(state_of(&f), CORE_AUDITING);
	let_attach(&f, f.target);
	assign(&f, WIRE_CLASS_MIC, PART, "personal", CORE_ASSIGN_AUTO);
	assert_int_equal(state_of_device(&f, f.part), CORE_FREE);
	f.actions[0] = '\0';
	(void)handle(&f, request(CORE_DETACH, 102, f.device, f.target));
	let_stop(&f, f.target);
	assert_int_equal(state_of(&f), CORE_FREE);
	assert_int_equal(state_of_device(&f, f.part), CORE_AUDITING);
	f.core = core_free(f.core);

	setup(&f);
	add_part(&f);
	f.end_parts = true;
	assign(&f, WIRE_CLASS_MIC, PART, "personal", CORE_ASSIGN_REQUIRED);
	part = f.session;
	(void)handle(&f, of_session(CORE_AUDITED, f.source, part));
	(void)handle(&f, of_session(CORE_EXPORTED, f.source, part));
	(void)handle(&f, of_session(CORE_IMPORTED, f.other, part));
	assert_int_equal(state_of_device(&f, f.part), CORE_ATTACHED);
	tick(&f, BACKOFF_AUTO_LAST_USEC); /* it has lasted */
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
	(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
	assert_int_equal(state_of_device(&f, f.part), CORE_DETACHING);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, part));
	(void)handle(&f, of_session(CORE_STOPPED, f.other, part));
	assert_int_equal(state_of_device(&f, f.part), CORE_FREE); /* it is not tried while the whole is away */
	assert_int_equal(state_of(&f), CORE_EXPORTING);
	(void)handle(&f, of_session(CORE_FAILED, f.source, f.session)); /* but when that came to nothing */
	assert_int_equal(state_of_device(&f, f.part), CORE_AUDITING);
	f.core = core_free(f.core);
}

/* A part that is just being moved: its move ends, with one answer that says why. */
static void test_move_of_part(void **unused _unused_)
{
	struct core_event move;
	uint64_t part, whole;
	struct fixture f;

	setup(&f);
	add_part(&f);
	part = walk_device(&f, f.part, f.other, CORE_ATTACHED);
	f.end_parts = true;
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
	whole = f.session;
	move = request(CORE_MOVE, 300, f.part, f.target);
	move.request.from = f.other;
	(void)handle(&f, move);
	assert_int_equal(f.token, 300); /* its whole is not free */
	assert_int_equal(f.answer, CORE_ANSWER_WHOLE_IN_USE);
	f.core = core_free(f.core);

	setup(&f);
	add_part(&f);
	part = walk_device(&f, f.part, f.other, CORE_ATTACHED);
	move = request(CORE_MOVE, 300, f.part, f.target);
	move.request.from = f.other;
	(void)handle(&f, move);
	assert_int_equal(state_of_device(&f, f.part), CORE_DETACHING);
	f.end_parts = true;
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
	whole = f.session;
	(void)handle(&f, of_session(CORE_STOPPED, f.source, part));
	(void)handle(&f, of_session(CORE_STOPPED, f.other, part));
	assert_int_equal(f.token, 300);
	assert_int_equal(f.answer, CORE_ANSWER_MOVED_FREE);
	assert_int_equal(f.outcome, OUTCOME_WHOLE_ATTACHED);
	(void)handle(&f, of_session(CORE_AUDITED, f.source, whole));
	assert_int_equal(state_of(&f), CORE_EXPORTING);
	f.core = core_free(f.core);
}

/* A claim of the whole waits for the part, and of the part for the whole; both are told when their time is over. */
static void test_claims(void **unused _unused_)
{
	struct core_event gone = {.type = CORE_DEVICE_GONE};
	struct fixture f;

	setup(&f);
	walk_to(&f, CORE_ATTACHED);
	gone.qube = f.source;
	gone.gone.slot = f.device.slot;
	gone.gone.generation = f.device.generation;
	assert_int_equal(handle(&f, gone), 0);
	let_stop(&f, f.target);
	add_part(&f);
	(void)walk_device(&f, f.part, f.other, CORE_ATTACHED);
	assert_int_equal(handle(&f, device_event(f.source, 2, 10, "1-2")), 0);
	f.device.generation = 10;
	assert_int_equal(state_of(&f), CORE_FREE);
	f.actions[0] = '\0';
	tick(&f, TIMEOUT_REPLUG_USEC);
	assert_actions(&f, "r");
	assert_int_equal(f.answer, CORE_ANSWER_PART_IN_USE);
	f.core = core_free(f.core);
}

/* Refused before anybody is asked; and again after the yes, when it came too late. */
static void test_questions(void **unused _unused_)
{
	struct fixture f;

	setup(&f);
	add_part(&f);
	set_answerers(&f, 1);
	f.verdict = CORE_VERDICT_ASK;
	(void)walk_device(&f, f.part, f.other, CORE_ATTACHED);
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
	assert_actions(&f, "!");
	assert_int_equal(f.answer, CORE_ANSWER_PART_IN_USE);
	f.core = core_free(f.core);

	setup(&f);
	add_part(&f);
	set_answerers(&f, 1);
	f.verdict = CORE_VERDICT_ASK;
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.target));
	assert_actions(&f, "?");
	(void)walk_device(&f, f.part, f.other, CORE_ATTACHED);
	assert_int_equal(answer_question(&f, true, "work"), 0);
	assert_actions(&f, ".!");
	assert_int_equal(f.token, 200);
	assert_int_equal(f.answer, CORE_ANSWER_PART_IN_USE);
	f.core = core_free(f.core);
}

/* A qube's wish, which came through qrexec, ends a part at its own target, and no other one. */
static void test_wish_of_qube(void **unused _unused_)
{
	for (int own = 0; own < 2; own++) {
		struct core_event wish;
		struct fixture f;

		setup(&f);
		add_part(&f);
		(void)walk_device(&f, f.part, own ? f.target : f.other, CORE_ATTACHED);
		f.end_parts = true;
		wish = request(CORE_ATTACH, 200, f.device, f.target);
		(void)strcpy(wish.request.user.qube, "sys-gui");
		(void)handle(&f, wish);
		assert_int_equal(state_of(&f), own ? CORE_AUDITING : CORE_FREE);
		if (!own)
			assert_int_equal(f.answer, CORE_ANSWER_PART_IN_USE);
		f.core = core_free(f.core);
	}
}

static struct core_event part_memory(uint64_t session)
{
	struct core_event event = memory_event(session), part = part_event((struct core_qube_ref){0}, 41, 1, PART, "");
	struct core_terms terms = event.memory.device.terms;

	event.memory.device = part.device;
	event.memory.device.terms = terms;
	return event;
}

/* What a former broker let go on: nothing of it is in use twice, whichever of the two is listed first. */
static void test_restart(void **unused _unused_)
{
	struct fixture f;

	new_core(&f);
	assert_int_equal(handle(&f, part_memory(0x777)), 0);
	vouch(&f, 0x777);
	assert_int_equal(handle(&f, device_event(f.source, 2, 9, "1-2")), 0);
	look_up_device(&f);
	f.end_parts = true; /* what is not known to be a part cannot be ended either */
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.other));
	assert_int_equal(f.answer, CORE_ANSWER_ADOPTING);
	assert_int_equal(handle(&f, part_event(f.source, 41, 1, PART, "1-2")), 0);
	(void)handle(&f, (struct core_event){.type = CORE_LIST_END, .qube = f.source});
	f.part = f.device;
	f.part.slot = 41;
	f.part.generation = 1;
	assert_int_equal(state_of_device(&f, f.part), CORE_ADOPTING);
	(void)handle(&f, request(CORE_ATTACH, 201, f.device, f.other));
	assert_int_equal(f.token, 201);
	assert_int_equal(f.answer, CORE_ANSWER_ADOPTING);
	tick(&f, TIMEOUT_ADOPT_USEC);
	(void)handle(&f, of_session(CORE_STOPPED, f.source, 0x777));
	(void)handle(&f, request(CORE_ATTACH, 202, f.device, f.other));
	assert_int_equal(state_of(&f), CORE_AUDITING);
	f.core = core_free(f.core);

	new_core(&f);
	assert_int_equal(handle(&f, memory_event(0x777)), 0);
	vouch(&f, 0x777);
	assert_int_equal(handle(&f, part_event(f.source, 41, 1, PART, "1-2")), 0);
	assert_int_equal(handle(&f, part_event(f.source, 42, 1, "mic-76543210", "1-3")), 0);
	look_up_device(&f);
	(void)handle(&f, request(CORE_ATTACH, 200, f.device, f.other));
	assert_int_equal(f.answer, CORE_ANSWER_ADOPTING);
	f.device.slot = 42; /* of another one */
	(void)handle(&f, request(CORE_ATTACH, 201, f.device, f.other));
	assert_int_equal(state_of(&f), CORE_AUDITING);
	f.core = core_free(f.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_state),
		cmocka_unit_test(test_clearing),
		cmocka_unit_test(test_part_does_not_end),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_relations),
		cmocka_unit_test(test_unplugged),
		cmocka_unit_test(test_assignments),
		cmocka_unit_test(test_move_of_part),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_wish_of_qube),
		cmocka_unit_test(test_restart),
	};

	return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
