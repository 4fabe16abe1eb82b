// SPDX-License-Identifier: GPL-2.0-or-later
/* Mute: who may, what is told to whom and when, what outlives what. And what is told of use. */
#include "broker/core/test-fixture.h"

static struct core_event mic_event(const struct fixture *f, uint32_t generation)
{
	struct core_event event = device_event(f->source, 3, generation, "mic-01234567");

	event.device.class_id = WIRE_CLASS_MIC;
	event.device.speed = WIRE_SPEED_NONE;
	memset(event.device.interfaces[0], 0, sizeof(event.device.interfaces[0]));
	return event;
}

static const struct core_device *mic_of(const struct fixture *f)
{
	return core_find_device_by_port(f->core, core_find_qube(f->core, f->source), "mic-01234567");
}

static void setup_mic(struct fixture *f)
{
	setup(f);
	assert_int_equal(handle(f, mic_event(f, 1)), 0);
	f->device = mic_of(f)->ref;
	f->actions[0] = '\0';
}

static void attach(struct fixture *f)
{
	setup_mic(f);
	walk_to(f, CORE_ATTACHED);
}

static struct core_event muted_event(struct core_qube_ref qube, uint64_t session, bool muted)
{
	struct core_event event = {.type = CORE_MUTED, .qube = qube};

	event.muted.session = session;
	event.muted.muted = muted;
	return event;
}

static void ask(struct fixture *f, bool muted, uint64_t token)
{
	assert_int_equal(handle(f, request(muted ? CORE_MUTE : CORE_UNMUTE, token, f->device, f->target)), 0);
}

static void assert_actions_are(struct fixture *f, const char *expected)
{
	assert_string_equal(f->actions, expected);
	f->actions[0] = '\0';
}

static void test_who_may(void **unused _unused_)
{
	static const struct {
		bool usb, elsewhere;
		enum core_state state;
		enum core_answer answer;
	} rows[] = {
		{false, false, CORE_FREE, CORE_ANSWER_NOT_ATTACHED},
		{false, false, CORE_AUDITING, CORE_ANSWER_NOT_ATTACHED},
		{false, false, CORE_EXPORTING, CORE_ANSWER_NOT_ATTACHED},
		{false, false, CORE_IMPORTING, CORE_ANSWER_NOT_ATTACHED},
		{false, true, CORE_ATTACHED, CORE_ANSWER_NOT_ATTACHED},
		{false, false, CORE_DETACHING, CORE_ANSWER_NOT_ATTACHED},
		{false, false, CORE_LOCKED, CORE_ANSWER_NOT_ATTACHED},
		{true, false, CORE_ADOPTING, CORE_ANSWER_ADOPTING},
		{true, false, CORE_ATTACHED, CORE_ANSWER_NO_MUTE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int mute = 0; mute < 2; mute++) {
			struct fixture f;

			if (rows[i].usb)
				setup(&f);
			else
				setup_mic(&f);
			walk_to(&f, rows[i].state);
			(void)handle(&f, request(mute ? CORE_MUTE : CORE_UNMUTE, 5, f.device,
						 rows[i].elsewhere ? f.other : f.target));
			assert_actions_are(&f, "!");
			assert_int_equal(f.token, 5);
			assert_int_equal(f.answer, rows[i].answer);
			f.core = core_free(f.core);
		}
}

static void test_no_such_device(void **unused _unused_)
{
	struct fixture f;

	attach(&f);
	f.device.generation++;
	ask(&f, true, 5);
	assert_actions_are(&f, "!");
	assert_int_equal(f.answer, CORE_ANSWER_NO_DEVICE);
	f.core = core_free(f.core);
}

/* It holds, for all to see, when the source says so; and no more from the moment when that is not wanted. */
static void test_confirmed(void **unused _unused_)
{
	struct fixture f;

	attach(&f);
	assert_false(core_is_muted(mic_of(&f)));
	ask(&f, true, 5);
	assert_actions_are(&f, "Mm");
	assert_false(core_is_muted(mic_of(&f)));
	assert_int_equal(handle(&f, muted_event(f.target, f.session, true)), CORE_EVENT_IGNORED);
	assert_int_equal(handle(&f, muted_event(f.source, f.session + 1, true)), CORE_EVENT_IGNORED);
	assert_int_equal(handle(&f, muted_event(f.source, f.session, true)), 0);
	assert_actions_are(&f, "q!");
	assert_true(f.token == 5 && f.answer == CORE_ANSWER_DONE && core_is_muted(mic_of(&f)));
	assert_int_equal(handle(&f, muted_event(f.source, f.session, false)), CORE_EVENT_IGNORED); /* nobody asked */
	assert_true(core_is_muted(mic_of(&f)));
	ask(&f, false, 6);
	assert_false(core_is_muted(mic_of(&f)));
	assert_int_equal(handle(&f, muted_event(f.source, f.session, false)), 0);
	assert_actions_are(&f, "Mmq!");
	assert_true(f.token == 6 && f.answer == CORE_ANSWER_DONE && core_next_deadline(f.core) == UINT64_MAX);
	f.core = core_free(f.core);
}

/* One MUTE at a time; the newest wish holds, and the former is told. */
static void test_overtaken(void **unused _unused_)
{
	struct fixture f;

	attach(&f);
	ask(&f, true, 5);
	ask(&f, false, 6);
	assert_actions_are(&f, "Mm!M");
	assert_true(f.token == 5 && f.answer == CORE_ANSWER_OVERTAKEN);
	ask(&f, true, 7);
	assert_actions_are(&f, "!M");
	assert_true(f.token == 6 && f.answer == CORE_ANSWER_OVERTAKEN);
	assert_int_equal(handle(&f, muted_event(f.source, f.session, true)), 0);
	assert_actions_are(&f, "q!");
	assert_true(f.token == 7 && f.answer == CORE_ANSWER_DONE);
	ask(&f, false, 8);
	ask(&f, true, 9);
	assert_actions_are(&f, "Mm!M");
	assert_int_equal(handle(&f, muted_event(f.source, f.session, false)), 0);
	assert_actions_are(&f, "m"); /* what was said is not what is wanted: again */
	assert_false(core_is_muted(mic_of(&f)));
	assert_int_equal(handle(&f, muted_event(f.source, f.session, true)), 0);
	assert_actions_are(&f, "q!");
	assert_true(f.token == 9 && core_is_muted(mic_of(&f)));
	f.core = core_free(f.core);
}

static void test_silent_source(void **unused _unused_)
{
	struct fixture f;

	attach(&f);
	ask(&f, true, 5);
	assert_int_equal(core_next_deadline(f.core), f.now_usec + TIMEOUT_MUTE_USEC);
	tick(&f, TIMEOUT_MUTE_USEC - 1);
	assert_actions_are(&f, "Mm");
	tick(&f, 1);
	assert_actions_are(&f, "!");
	assert_true(f.token == 5 && f.answer == CORE_ANSWER_MUTE_NOT_CONFIRMED);
	assert_int_equal(state_of(&f), CORE_ATTACHED);
	assert_int_equal(core_next_deadline(f.core), UINT64_MAX);
	assert_int_equal(handle(&f, muted_event(f.source, f.session, true)), 0); /* late, and shown all the same */
	assert_actions_are(&f, "q");
	assert_true(core_is_muted(mic_of(&f)));
	f.core = core_free(f.core);
}

/* Whoever waits is told when the attachment ends in whatever way, before whoever ends it. */
static void test_attachment_ends(void **unused _unused_)
{
	for (int way = 0; way < 3; way++) {
		struct core_event gone = {.type = CORE_DEVICE_GONE};
		struct fixture f;

		attach(&f);
		gone.qube = f.source;
		gone.gone.slot = 3;
		gone.gone.generation = 1;
		ask(&f, true, 5);
		f.actions[0] = '\0';
		if (way == 0)
			(void)handle(&f, request(CORE_DETACH, 6, f.device, f.target));
		else if (way == 1)
			(void)handle(&f, gone);
		else
			(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.source});
		assert_non_null(strchr(f.actions, '!'));
		assert_true(f.token == 5 && f.answer == CORE_ANSWER_NOT_ATTACHED);
		assert_int_equal(handle(&f, muted_event(f.source, f.session, true)), CORE_EVENT_IGNORED);
		f.core = core_free(f.core);
	}
}

/* A new attachment is not muted; one that comes back is as it was. */
static void test_comes_back(void **unused _unused_)
{
	for (int muted = 0; muted < 2; muted++) {
		struct core_event gone = {.type = CORE_DEVICE_GONE};
		struct fixture f;

		attach(&f);
		ask(&f, muted, 5);
		assert_int_equal(handle(&f, muted_event(f.source, f.session, muted)), 0);
		gone.qube = f.source;
		gone.gone.slot = 3;
		gone.gone.generation = 1;
		assert_int_equal(handle(&f, gone), 0);
		let_stop(&f, f.target);
		assert_int_equal(handle(&f, mic_event(&f, 2)), 0);
		f.device = mic_of(&f)->ref;
		let_attach(&f, f.target);
		assert_int_equal(core_is_muted(mic_of(&f)), muted);
		(void)handle(&f, request(CORE_DETACH, 6, f.device, f.target));
		let_stop(&f, f.target);
		(void)handle(&f, request(CORE_ATTACH, 7, f.device, f.target));
		let_attach(&f, f.target);
		assert_false(core_is_muted(mic_of(&f)));
		f.core = core_free(f.core);
	}
}

/* A broker that finds it running takes the source's word. */
static void test_adopted(void **unused _unused_)
{
	for (int muted = 0; muted < 2; muted++) {
		struct core_event report;
		struct fixture f;

		new_core(&f);
		f.session = 0x777;
		assert_int_equal(handle(&f, memory_event(f.session)), 0);
		f.source = start_qube(&f, 3, "sys-usb");
		f.target = start_qube(&f, 4, "work");
		agent_ready(&f, f.source, 7);
		agent_ready(&f, f.target, 7);
		report = report_event(f.source, WIRE_SIDE_EXPORT, f.session);
		report.agent_session.muted = muted;
		assert_int_equal(handle(&f, report), 0);
		assert_int_equal(handle(&f, report_event(f.target, WIRE_SIDE_IMPORT, f.session)), 0);
		(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
		assert_int_equal(handle(&f, device_event(f.source, 2, 9, "1-2")), 0);
		look_up_device(&f);
		assert_int_equal(state_of(&f), CORE_ATTACHED);
		assert_int_equal(core_is_muted(core_find_device(f.core, f.device)), muted);
		f.core = core_free(f.core);
	}
}

/* Any order of wishes, answers and time: each is told once and in time, and DONE only when the source is so. */
static void test_schedules(void **unused _unused_)
{
	struct fixture f;
	bool is = false, wanted = false, under_way = false, sent = false;
	uint64_t token = 1000, open = 0, since = 0, random = 88172645463325252ull;

	attach(&f);
	for (unsigned int i = 0; i < 200000; i++) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		f.actions[0] = '\0';
		f.token = 0;
		switch (random % 4) {
		case 0:
			wanted = random >> 8 & 1;
			ask(&f, wanted, ++token);
			assert_true(open ? f.token == open && f.answer == CORE_ANSWER_OVERTAKEN : f.token == 0);
			open = token;
			since = f.now_usec;
			break;
		case 1:
		case 2:
			if (!under_way)
				break;
			under_way = false;
			is = sent;
			assert_int_equal(handle(&f, muted_event(f.source, f.session, is)), 0);
			if (f.token) {
				assert_true(f.token == open && f.answer == CORE_ANSWER_DONE && is == wanted);
				open = 0;
			}
			break;
		default:
			tick(&f, random >> 8 & 1 ? USEC_PER_SEC / 2 : 0);
			if (f.token) {
				assert_true(f.token == open && f.answer == CORE_ANSWER_MUTE_NOT_CONFIRMED);
				open = 0;
			}
			break;
		}
		if (strchr(f.actions, 'm')) {
			assert_false(under_way);
			under_way = true;
			sent = wanted;
		}
		assert_true(!open || f.now_usec - since < TIMEOUT_MUTE_USEC);
		assert_true(under_way || is == wanted);
		assert_int_equal(core_is_muted(mic_of(&f)), wanted && !under_way);
	}
	assert_true(token > 1000 + 10000);
	f.core = core_free(f.core);
}

/* Told when it changes, by the source's word as soon as there is one; of a class where that matters. */
static void test_use(void **unused _unused_)
{
	static const struct {
		bool source, in_use;
		const char *actions;
		bool is_used;
	} rows[] = {
		{false, false, "", false}, {false, true, "v", true},  {false, true, "", true},
		{true, false, "v", false}, {false, true, "", false},  {true, true, "v", true},
		{false, false, "", true},  {true, false, "v", false},
	};

	for (int usb = 0; usb < 2; usb++) {
		struct fixture f;

		if (usb)
			setup(&f);
		else
			setup_mic(&f);
		walk_to(&f, CORE_ATTACHED);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct core_event event = {.type = CORE_STREAM, .qube = rows[i].source ? f.source : f.target};

			event.stream.session = f.session;
			event.stream.side = rows[i].source ? WIRE_SIDE_EXPORT : WIRE_SIDE_IMPORT;
			event.stream.in_use = rows[i].in_use;
			assert_int_equal(handle(&f, event), 0);
			assert_actions_are(&f, usb ? "" : rows[i].actions);
			assert_int_equal(core_is_used(core_find_device(f.core, f.device)), rows[i].is_used);
		}
		f.core = core_free(f.core);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_may),       cmocka_unit_test(test_no_such_device),
		cmocka_unit_test(test_confirmed),     cmocka_unit_test(test_overtaken),
		cmocka_unit_test(test_silent_source), cmocka_unit_test(test_attachment_ends),
		cmocka_unit_test(test_comes_back),    cmocka_unit_test(test_adopted),
		cmocka_unit_test(test_schedules),     cmocka_unit_test(test_use),
	};

	return cmocka_run_group_tests_name("mute", tests, NULL, NULL);
}
