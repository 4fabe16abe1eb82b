// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a qube asked for through qrexec: whose it stays after a question, to whom it gives way, how often it may make one.
 */
#include "broker/core/assignments.h"
#include "broker/core/test-fixture.h"

/* `qube` "": its user. */
static void attach(struct fixture *f, const char *qube, uint64_t token, struct core_device_ref device,
		   struct core_qube_ref target)
{
	struct core_event event = request(CORE_ATTACH, token, device, target);

	event.request.user.uid = 1000;
	(void)snprintf(event.request.user.qube, sizeof(event.request.user.qube), "%s", qube);
	assert_int_equal(handle(f, event), 0);
}

static void setup_asking(struct fixture *f)
{
	setup(f);
	f->verdict = f->verdict_other = CORE_VERDICT_ASK;
	set_answerers(f, 1);
	f->actions[0] = '\0';
}

static struct core_device_ref add_device(struct fixture *f, uint16_t slot, const char *port)
{
	struct core_device_ref added = f->device;

	assert_int_equal(handle(f, device_event(f->source, slot, 1, port)), 0);
	added.slot = slot;
	added.generation = 1;
	f->actions[0] = '\0';
	return added;
}

static void say_no(struct fixture *f)
{
	assert_int_equal(answer_question(f, false, "work"), 0);
}

static void let_time_pass(struct fixture *f)
{
	tick(f, TIMEOUT_ASK_USEC);
}

static void leave(struct fixture *f)
{
	set_answerers(f, 0);
}

static void change_policy(struct fixture *f)
{
	f->verdict = CORE_VERDICT_DENY;
	(void)handle(f, (struct core_event){.type = CORE_POLICY_CHANGED});
}

/* Allowed, but it cannot be any more. */
static void say_yes_in_vain(struct fixture *f)
{
	(void)handle(f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f->target});
	assert_int_equal(answer_question(f, true, "work"), 0);
}

/* Whoever or whatever ended the question, the refusal is told of who asked, and for which qube. */
static void test_refused_after_a_question(void **unused _unused_)
{
	static const struct {
		void (*end)(struct fixture *f);
		enum core_answer answer;
		uint64_t pause_usec;
	} ends[] = {
		{say_no, CORE_ANSWER_SAID_NO, BACKOFF_ASKER_USEC},
		{let_time_pass, CORE_ANSWER_NO_REPLY, BACKOFF_ASKER_USEC},
		{leave, CORE_ANSWER_NOBODY, 0},
		{change_policy, CORE_ANSWER_DENIED, BACKOFF_ASKER_USEC},
		{say_yes_in_vain, CORE_ANSWER_NO_TARGET_AGENT, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct fixture f;

		setup_asking(&f);
		attach(&f, "sys-gui", 5, f.device, f.target);
		assert_actions(&f, "?");
		ends[i].end(&f);
		assert_int_equal(f.token, 5);
		assert_int_equal(f.answer, ends[i].answer);
		assert_string_equal(f.asked_by.qube, "sys-gui");
		assert_int_equal(f.asked_by.uid, 1000);
		assert_string_equal(f.target_name, "work");

		/* and makes no other one at once, about whatever, if a person has spoken or was silent */
		set_answerers(&f, 1);
		f.verdict = CORE_VERDICT_ASK;
		agent_up(&f, f.target);
		f.actions[0] = '\0';
		attach(&f, "sys-gui", 6, add_device(&f, 3, "1-3"), f.target);
		assert_actions(&f, ends[i].pause_usec ? "!" : "?");
		if (ends[i].pause_usec) {
			assert_int_equal(f.answer, CORE_ANSWER_TOO_SOON);
			attach(&f, "sys-gui2", 7, f.device, f.target);
			assert_actions(&f, "?"); /* another qube may */
			say_no(&f);
			tick(&f, ends[i].pause_usec - 1);
			f.actions[0] = '\0';
			attach(&f, "sys-gui", 8, f.device, f.target);
			assert_actions(&f, "!");
			tick(&f, 1);
			attach(&f, "sys-gui", 9, f.device, f.target);
			assert_actions(&f, "?");
		}
		f.core = core_free(f.core);
	}
}

/* Others are not hindered by what one qube asks. */
static void test_open_at_once(void **unused _unused_)
{
	struct core_device_ref devices[LIMIT_QUESTIONS_ASKER + 2];
	struct fixture f;

	setup_asking(&f);
	for (uint16_t i = 0; i < ARRAY_SIZE(devices); i++) {
		char port[8];

		(void)snprintf(port, sizeof(port), "3-%u", i + 1u);
		devices[i] = add_device(&f, (uint16_t)(i + 3), port);
	}
	for (uint64_t i = 0; i < LIMIT_QUESTIONS_ASKER; i++)
		attach(&f, "sys-gui", 10 + i, devices[i], f.target);
	assert_actions(&f, "?");
	attach(&f, "sys-gui", 20, devices[LIMIT_QUESTIONS_ASKER], f.target);
	assert_actions(&f, "!");
	assert_int_equal(f.answer, CORE_ANSWER_CROWDED);
	attach(&f, "", 21, devices[LIMIT_QUESTIONS_ASKER], f.target);
	assert_actions(&f, "?"); /* at once, beside that of the qube which is shown */
	attach(&f, "sys-gui2", 22, devices[LIMIT_QUESTIONS_ASKER + 1], f.target);
	assert_actions(&f, "");
	assert_int_equal(f.core->n_questions, LIMIT_QUESTIONS_ASKER + 2);
	f.core = core_free(f.core);
}

/* The many are forgotten one by one, the one that has waited longest first. */
static void test_many_askers(void **unused _unused_)
{
	struct fixture f;
	char qube[16];

	setup_asking(&f);
	for (unsigned int i = 0; i <= LIMIT_ASKERS; i++) {
		(void)snprintf(qube, sizeof(qube), "asker-%u", i);
		attach(&f, qube, 100 + i, f.device, f.target);
		say_no(&f);
		f.now_usec += 1;
	}
	f.actions[0] = '\0';
	for (unsigned int i = 0; i <= LIMIT_ASKERS; i++) {
		(void)snprintf(qube, sizeof(qube), "asker-%u", i);
		attach(&f, qube, 200 + i, f.device, f.target);
		assert_actions(&f, i == 0 ? "?" : "!");
		if (i == 0)
			set_answerers(&f, 0), set_answerers(&f, 1);
		f.actions[0] = '\0';
	}
	assert_int_equal(f.answer, CORE_ANSWER_TOO_SOON);
	f.core = core_free(f.core);
}

/* Its user's own wish is looked at as if nobody had asked; that of another qube waits. */
static void test_gives_way(void **unused _unused_)
{
	struct fixture f;

	setup_asking(&f);
	attach(&f, "sys-gui", 5, f.device, f.target);
	attach(&f, "sys-gui2", 6, f.device, f.other);
	assert_actions(&f, "?!");
	assert_int_equal(f.answer, CORE_ANSWER_ASKING);
	attach(&f, "", 7, f.device, f.other);
	assert_actions(&f, ".!?"); /* the qube's question ends, and he is asked */
	assert_int_equal(f.token, 5);
	assert_int_equal(f.question_end, CORE_QUESTION_VOID);
	assert_string_equal(f.asked_by.qube, "sys-gui");
	attach(&f, "", 8, f.device, f.target);
	assert_actions(&f, "!"); /* his own question stays */
	assert_int_equal(f.answer, CORE_ANSWER_ASKING);
	assert_int_equal(answer_question(&f, true, "personal"), 0);
	let_attach(&f, f.other);
	f.core = core_free(f.core);
}

/* With all places of a device qube taken by qubes' questions one of them ends for its user's. */
static void test_places(void **unused _unused_)
{
	enum { PLACES = LIMIT_QUESTIONS / 4 };
	struct fixture f;
	char text[16];

	setup_asking(&f);
	for (uint16_t i = 0; i <= PLACES; i++) {
		struct core_device_ref device;

		(void)snprintf(text, sizeof(text), "3-%u", i + 1u);
		device = add_device(&f, (uint16_t)(i + 3), text);
		(void)snprintf(text, sizeof(text), "gui%u", i / LIMIT_QUESTIONS_ASKER);
		attach(&f, text, 100 + i, device, f.target);
	}
	assert_actions(&f, "!"); /* the last one had no place */
	assert_int_equal(f.answer, CORE_ANSWER_CROWDED);
	assert_int_equal(f.core->n_questions, PLACES);
	attach(&f, "", 200, f.device, f.target);
	assert_actions(&f, ".!?");
	assert_int_equal(f.token, 100 + PLACES - 1); /* the youngest */
	assert_int_equal(f.question.token, 200);
	assert_int_equal(f.core->n_questions, PLACES);
	f.core = core_free(f.core);
}

/* A qube asks and somebody says no, or a user and nobody is there: what is assigned is tried again as before. */
static void test_assignment_goes_on(void **unused _unused_)
{
	for (int of_qube = 0; of_qube < 2; of_qube++) {
		struct core_assignment assignment = {.class_id = WIRE_CLASS_USB,
						     .mode = CORE_ASSIGN_AUTO,
						     .target = "work",
						     .source = "sys-usb",
						     .port = "1-2"};
		struct core_event event = {.type = CORE_ASSIGNED, .assignment = &assignment};
		struct fixture f;

		setup(&f);
		f.verdict_other = CORE_VERDICT_ASK;
		set_answerers(&f, of_qube ? 1 : 0);
		assert_int_equal(handle(&f, event), 0);
		assert_actions(&f, "A");
		(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
		(void)handle(&f, of_session(CORE_FAILED, f.source, f.session));
		assert_int_equal(state_of(&f), CORE_FREE);
		f.actions[0] = '\0';
		attach(&f, of_qube ? "sys-gui" : "", 5, f.device, f.other);
		assert_actions(&f, of_qube ? "?" : ".!");
		if (of_qube)
			assert_int_equal(answer_question(&f, false, ""), 0);
		tick(&f, BACKOFF_AUTO_LAST_USEC);
		assert_non_null(strchr(f.actions, 'A'));
		assert_int_equal(f.terms.origin, CORE_ORIGIN_AUTO);
		f.core = core_free(f.core);
	}
}

static void attach_and_unplug(struct fixture *f)
{
	struct core_event gone = {.type = CORE_DEVICE_GONE};

	walk_to(f, CORE_ATTACHED);
	gone.qube = f->source;
	gone.gone.slot = f->device.slot;
	gone.gone.generation = f->device.generation;
	assert_int_equal(handle(f, gone), 0);
	let_stop(f, f->target);
}

static void plug_again(struct fixture *f)
{
	assert_int_equal(handle(f, device_event(f->source, 2, 10, "1-2")), 0);
	look_up_device(f);
}

/* The device's stream failed to come back once: until it is tried again its claim stands, for its own qube's wish too. */
static void test_claim_in_back_off(void **unused _unused_)
{
	for (int same = 0; same < 2; same++) {
		struct fixture f;

		setup(&f);
		attach_and_unplug(&f);
		plug_again(&f);
		(void)handle(&f, of_session(CORE_AUDITED, f.source, f.session));
		(void)handle(&f, of_session(CORE_FAILED, f.source, f.session));
		assert_int_equal(state_of(&f), CORE_FREE);
		f.actions[0] = '\0';
		attach(&f, "sys-gui", 5, f.device, same ? f.target : f.other);
		assert_actions(&f, same ? "A" : "!");
		if (!same)
			assert_int_equal(f.answer, CORE_ANSWER_IN_USE);
		f.core = core_free(f.core);
	}
}

/* A device that will be back for one qube is not another one's for the asking. */
static void test_claims(void **unused _unused_)
{
	for (int same = 0; same < 2; same++) {
		struct fixture f;

		setup(&f);
		attach_and_unplug(&f);
		(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.target});
		plug_again(&f);
		f.actions[0] = '\0';
		attach(&f, "sys-gui", 5, f.device, same ? f.target : f.other);
		assert_actions(&f, "!");
		assert_int_equal(f.answer, same ? CORE_ANSWER_NO_TARGET_AGENT : CORE_ANSWER_IN_USE);
		agent_up(&f, f.target);
		assert_actions(&f, "A"); /* the claim is there still */
		assert_int_equal(f.terms.origin, CORE_ORIGIN_REPLUG);
		let_attach(&f, f.target);
		f.core = core_free(f.core);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_after_a_question),
		cmocka_unit_test(test_open_at_once),
		cmocka_unit_test(test_many_askers),
		cmocka_unit_test(test_gives_way),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_assignment_goes_on),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_claim_in_back_off),
	};

	return cmocka_run_group_tests_name("asker", tests, NULL, NULL);
}
