// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * After a restart of the broker: what each agent says, right or wrong or not at all, in each order, and what becomes of
 * a session that was on disk.
 */
#include "broker/core/test-fixture.h"

#define SESSION 0x777

/* What an agent does. */
enum word {
	COMES_NOT,
	RIGHT,        /* reports the stream rightly */
	SAYS_NOTHING, /* comes, and reports no stream */
	WRONG_PEER,
	WRONG_DIGEST,
	WRONG_SIDE,
	TWICE,
	OTHER_LIFE,   /* the qube is another life */
	OTHER_AGENT,  /* the agent was restarted (source only) */
	NO_DEVICE,    /* source: reports the stream and lists no device */
	OTHER_DEVICE, /* source: lists another device at that slot and generation */
	OTHER_PLUG,   /* source: lists it with another generation */
	ENDS,         /* reports it rightly, then its end, before the list has ended */
};

static void come(struct fixture *f, struct core_qube_ref qube, uint8_t side, enum word word)
{
	struct core_event report = report_event(qube, side, SESSION);
	bool is_source = side == WIRE_SIDE_EXPORT;
	struct core_event device;
	int r;

	if (word == COMES_NOT)
		return;
	agent_ready(f, qube, word == OTHER_AGENT ? 8 : 7);
	report.agent_session.peer = (uint16_t)(report.agent_session.peer + (word == WRONG_PEER));
	report.agent_session.digest[1] = word == WRONG_DIGEST;
	if (word == WRONG_SIDE)
		report.agent_session.side = is_source ? WIRE_SIDE_IMPORT : WIRE_SIDE_EXPORT;
	if (word != SAYS_NOTHING) {
		r = handle(f, report);
		assert_int_equal(r, 0);
	}
	if (word == TWICE) {
		r = handle(f, report); /* when both have vouched it is no longer a memory's word, and changes nothing */
		assert_int_equal(r, f->actions[0] && strchr(f->actions, 'a') ? CORE_EVENT_IGNORED : CORE_EVENT_CHEATED);
		(void)handle(f, (struct core_event){.type = CORE_AGENT_LOST, .qube = qube}); /* cut off */
		return;
	}
	(void)handle(f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = qube});
	if (word == ENDS)
		assert_int_equal(handle(f, of_session(CORE_ENDED, qube, SESSION)), 0);
	if (is_source && word != NO_DEVICE) {
		device = device_event(qube, 2, word == OTHER_PLUG ? 10 : 9, "1-2");
		device.device.vendor = (uint16_t)(device.device.vendor + (word == OTHER_DEVICE));
		(void)strcpy(device.device.manufacturer, "Maker"); /* memories have no texts: nothing hangs on them */
		(void)strcpy(device.device.product_name, "Thing");
		assert_int_equal(handle(f, device), 0);
	}
	(void)handle(f, (struct core_event){.type = CORE_LIST_END, .qube = qube});
}

static struct core_qube_ref start_life(struct fixture *f, uint16_t domid, const char *name, bool other)
{
	struct core_event event = {.type = CORE_QUBE_STARTED, .now_usec = f->now_usec, .qube_started.domid = domid};
	struct core_qube_ref ref;

	(void)snprintf(event.qube_started.name, sizeof(event.qube_started.name), "%s", name);
	(void)snprintf(event.qube_started.start, sizeof(event.qube_started.start), other ? "boot-2" : "boot-1");
	event.qube_started.uuid[0] = (uint8_t)name[0];
	event.qube_started.uuid[1] = (uint8_t)name[1];
	assert_int_equal(core_handle(f->core, &event, &ref), 0);
	return ref;
}

static unsigned int count(const struct fixture *f, char letter)
{
	unsigned int n = 0;

	for (const char *at = f->actions; *at; at++)
		n += *at == letter;
	return n;
}

/* The source has vouched for its side, and nothing is known of the target. */
static void source_vouches(struct fixture *f)
{
	new_core(f);
	assert_int_equal(handle(f, memory_event(SESSION)), 0);
	f->source = start_qube(f, 3, "sys-usb");
	come(f, f->source, WIRE_SIDE_EXPORT, RIGHT);
	look_up_device(f);
	assert_int_equal(state_of(f), CORE_ADOPTING);
	f->actions[0] = '\0';
}

/*
 * The target's domain id is another life's, or another qube's, heard of when the source has vouched already: it is not
 * waited for what cannot come.
 */
static void test_target_is_another(void **unused _unused_)
{
	for (int other_qube = 0; other_qube < 2; other_qube++) {
		struct fixture f;

		source_vouches(&f);
		f.target = start_life(&f, 4, other_qube ? "heir" : "work", !other_qube);
		assert_actions(&f, "Nns");
		assert_int_equal(f.outcome, OUTCOME_QUBE_GONE);
		agent_ready(&f, f.target, 7); /* and whatever it says */
		assert_int_equal(handle(&f, report_event(f.target, WIRE_SIDE_IMPORT, SESSION)), 0);
		assert_actions(&f, "y");
		(void)handle(&f, of_session(CORE_STOPPED, f.source, SESSION));
		assert_actions(&f, "nf");
		assert_int_equal(state_of(&f), CORE_FREE);
		assert_int_equal(f.core->n_memories, 0);
		f.core = core_free(f.core);
	}
}

/* The target is heard of when the source has vouched already: it can vouch all the same. */
static void test_target_comes_late(void **unused _unused_)
{
	struct fixture f;

	source_vouches(&f);
	f.other = start_qube(&f, 5, "personal");
	f.target = start_qube(&f, 4, "work");
	assert_actions(&f, "");
	come(&f, f.target, WIRE_SIDE_IMPORT, RIGHT);
	assert_true(count(&f, 'a') == 1 && state_of(&f) == CORE_ATTACHED);
	assert_true(same_qube(core_find_device(f.core, f.device)->target, f.target));
	f.core = core_free(f.core);
}

/* A user need not wait for what is not known yet: both sides are stopped, whenever they come. */
static void test_detach_while_adopting(void **unused _unused_)
{
	struct core_event move;
	struct fixture f;

	setup_adopting(&f);
	(void)handle(&f, request(CORE_DETACH, 9, f.device, f.other));
	assert_int_equal(f.answer, CORE_ANSWER_NOT_ATTACHED);
	f.actions[0] = '\0';
	(void)handle(&f, request(CORE_DETACH, 9, f.device, f.target));
	assert_actions(&f, "ns"); /* the target's agent has not come; its user wants it ended: no fault to tell */
	agent_ready(&f, f.target, 7);
	assert_int_equal(handle(&f, report_event(f.target, WIRE_SIDE_IMPORT, SESSION)), 0);
	assert_actions(&f, "t");
	(void)handle(&f, of_session(CORE_STOPPED, f.source, SESSION));
	assert_actions(&f, "");
	(void)handle(&f, of_session(CORE_STOPPED, f.target, SESSION));
	assert_actions(&f, "nf!");
	assert_int_equal(f.answer, CORE_ANSWER_DONE);
	assert_true(f.confirmed);
	f.core = core_free(f.core);

	/* Before it is known which device it is: it may be attached, so nobody is told that it is not. */
	new_core(&f);
	assert_int_equal(handle(&f, memory_event(SESSION)), 0);
	f.source = start_qube(&f, 3, "sys-usb");
	f.target = start_qube(&f, 4, "work");
	assert_int_equal(handle(&f, device_event(f.source, 2, 9, "1-2")), 0); /* as dom0's own are: without an agent */
	look_up_device(&f);
	(void)handle(&f, request(CORE_DETACH, 9, f.device, f.target));
	assert_int_equal(f.answer, CORE_ANSWER_ADOPTING);
	move = request(CORE_MOVE, 10, f.device, f.source);
	move.request.from = f.target;
	(void)handle(&f, move);
	assert_int_equal(f.token, 10);
	assert_int_equal(f.answer, CORE_ANSWER_ADOPTING);
	f.core = core_free(f.core);
}

/* The agent vouches for a stream whose device finds no place in the inventory: it is stopped when the list ends. */
static void test_no_place(void **unused _unused_)
{
	struct fixture f;
	char port[8];

	new_core(&f);
	assert_int_equal(handle(&f, memory_event(SESSION)), 0);
	f.source = start_qube(&f, 3, "sys-usb");
	f.target = start_qube(&f, 4, "work");
	agent_ready(&f, f.source, 6);
	for (uint16_t i = 0; i < LIMIT_DEVICES; i++) { /* an attachment of a former agent keeps its record */
		(void)snprintf(port, sizeof(port), "2-%u", i);
		assert_int_equal(handle(&f, device_event(f.source, i, 1, port)), 0);
		f.core->qubes[f.source.index].devices[i].state = CORE_LOCKED;
	}
	agent_ready(&f, f.source, 7);
	f.actions[0] = '\0';
	assert_int_equal(handle(&f, report_event(f.source, WIRE_SIDE_EXPORT, SESSION)), 0);
	(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
	assert_int_equal(handle(&f, device_event(f.source, 2, 9, "1-2")), CORE_EVENT_FULL);
	assert_actions(&f, "");
	(void)handle(&f, (struct core_event){.type = CORE_LIST_END, .qube = f.source});
	assert_actions(&f, "Nyf");
	assert_int_equal(f.outcome, OUTCOME_NO_DEVICE);
	f.core = core_free(f.core);
}

static void test_words(void **unused _unused_)
{
	static const struct {
		enum word source, target;
		bool adopted;
		const char *in_time;     /* what is told in all, before the time is over, in any order */
		const char *at_time;     /* and then */
		enum core_answer attach; /* of the device meanwhile */
	} cases[] = {
		{RIGHT, RIGHT, true, "na", "", CORE_ANSWER_ALREADY},
		{RIGHT, COMES_NOT, false, "n", "Nns", CORE_ANSWER_ADOPTING},
		{RIGHT, SAYS_NOTHING, false, NULL, "", CORE_ANSWER_LOCKED},
		{RIGHT, WRONG_PEER, false, NULL, "", CORE_ANSWER_LOCKED},
		{RIGHT, WRONG_DIGEST, false, NULL, "", CORE_ANSWER_LOCKED},
		{RIGHT, WRONG_SIDE, false, NULL, "", CORE_ANSWER_LOCKED},
		{RIGHT, ENDS, false, NULL, "", CORE_ANSWER_LOCKED},
		{RIGHT, OTHER_LIFE, false, NULL, "", CORE_ANSWER_LOCKED},
		{RIGHT, TWICE, false, NULL, NULL, CORE_ANSWER_COUNT},
		{COMES_NOT, RIGHT, false, "", "Ny", CORE_ANSWER_NO_DEVICE},
		{COMES_NOT, COMES_NOT, false, "", "N", CORE_ANSWER_NO_DEVICE},
		{SAYS_NOTHING, RIGHT, false, "Nfy", "", CORE_ANSWER_COUNT},
		{SAYS_NOTHING, COMES_NOT, false, "Nf", "", CORE_ANSWER_COUNT},
		{SAYS_NOTHING, SAYS_NOTHING, false, "Nf", "", CORE_ANSWER_COUNT},
		{WRONG_PEER, RIGHT, false, "Nfyy", "", CORE_ANSWER_LOCKED},
		{WRONG_DIGEST, RIGHT, false, "Nfyy", "", CORE_ANSWER_LOCKED},
		{WRONG_SIDE, RIGHT, false, "Nfyy", "", CORE_ANSWER_COUNT},
		{OTHER_LIFE, RIGHT, false, "Nfyy", "", CORE_ANSWER_LOCKED},
		{OTHER_AGENT, RIGHT, false, "Nfyy", "", CORE_ANSWER_LOCKED},
		{NO_DEVICE, RIGHT, false, "Nfyy", "", CORE_ANSWER_NO_DEVICE},
		{OTHER_DEVICE, RIGHT, false, "Nfyy", "", CORE_ANSWER_LOCKED},
		{OTHER_PLUG, RIGHT, false, "Nfyy", "", CORE_ANSWER_LOCKED},
		{ENDS, RIGHT, false, "Nfy", "", CORE_ANSWER_COUNT},
		{TWICE, RIGHT, false, NULL, NULL, CORE_ANSWER_NO_DEVICE},
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		enum word source = cases[i / 2].source, target = cases[i / 2].target;
		bool target_first = i % 2;
		unsigned int cursor = 0;
		const struct core_device *device;
		struct fixture f;

		new_core(&f);
		f.session = SESSION;
		assert_int_equal(handle(&f, memory_event(SESSION)), 0);
		assert_int_equal(handle(&f, memory_event(SESSION)), CORE_EVENT_IGNORED);
		f.source = start_life(&f, 3, "sys-usb", source == OTHER_LIFE);
		f.target = start_life(&f, 4, "work", target == OTHER_LIFE);
		f.other = start_life(&f, 5, "personal", false);
		agent_up(&f, f.other);
		if (source != OTHER_LIFE && target != OTHER_LIFE)
			assert_actions(&f, "");
		assert_int_equal(handle(&f, memory_event(SESSION + 1)), CORE_EVENT_IGNORED); /* too late */
		if (target_first)
			come(&f, f.target, WIRE_SIDE_IMPORT, target);
		come(&f, f.source, WIRE_SIDE_EXPORT, source);
		if (!target_first)
			come(&f, f.target, WIRE_SIDE_IMPORT, target);
		for (char letter = 'A'; cases[i / 2].in_time && letter <= 'z'; letter++) {
			unsigned int expected = 0;

			for (const char *at = cases[i / 2].in_time; *at; at++)
				expected += *at == letter;
			if (letter == 'n' || letter == 't' || letter == 's')
				continue; /* how it is stopped depends on the order */
			if (!cases[i / 2].adopted && count(&f, letter) != expected)
				fail_msg("case %zu: expected \"%s\", got \"%s\"", i, cases[i / 2].in_time, f.actions);
		}
		if (target == ENDS && !target_first) { /* it was adopted, and ended after that */
			look_up_device(&f);
			assert_int_equal(count(&f, 'a'), 1);
			assert_int_equal(state_of(&f), CORE_DETACHING);
			f.core = core_free(f.core);
			continue;
		}
		assert_int_equal(count(&f, 'a'), cases[i / 2].adopted || (target == TWICE && !target_first));
		assert_int_equal(count(&f, 'A'), 0);
		assert_true(cases[i / 2].adopted || !core_find_device(f.core, f.device) ||
			    core_find_device(f.core, f.device)->state != CORE_ATTACHED);
		if (source != TWICE && target != TWICE)
			assert_int_equal(count(&f, 'N'), !cases[i / 2].adopted && source != COMES_NOT &&
								 !(source == RIGHT && target == COMES_NOT));
		device = core_next_device(core_find_qube(f.core, f.source), &cursor);
		if (device) {
			f.device = device->ref;
			f.answer = CORE_ANSWER_COUNT;
			(void)handle(&f, request(CORE_ATTACH, 9, f.device, cases[i / 2].adopted ? f.target : f.other));
			if (cases[i / 2].attach == CORE_ANSWER_LOCKED) /* or still being stopped: not to be had */
				assert_true(f.answer == CORE_ANSWER_LOCKED || f.answer == CORE_ANSWER_DETACHING);
			else if (source != TWICE && target != TWICE)
				assert_int_equal(f.answer, cases[i / 2].attach);
		}
		f.actions[0] = '\0';
		if (cases[i / 2].at_time && cases[i / 2].attach != CORE_ANSWER_LOCKED &&
		    cases[i / 2].attach != CORE_ANSWER_COUNT) {
			tick(&f, TIMEOUT_ADOPT_USEC - 1);
			assert_actions(&f, "");
			tick(&f, 1);
			assert_string_equal(f.actions, cases[i / 2].at_time);
		}
		f.core = core_free(f.core);
	}
}

/* The source comes after the time is over: until it has spoken its port is held, then what it has is stopped. */
static void test_late_source(void **unused _unused_)
{
	for (int reports = 0; reports < 2; reports++) {
		struct core_event device;
		struct fixture f;

		new_core(&f);
		assert_int_equal(handle(&f, memory_event(SESSION)), 0);
		f.source = start_qube(&f, 3, "sys-usb");
		f.target = start_qube(&f, 4, "work");
		agent_up(&f, f.target);
		assert_actions(&f, "N"); /* it does not run it */
		tick(&f, TIMEOUT_ADOPT_USEC);
		assert_actions(&f, "");
		assert_true(core_next_deadline(f.core) == UINT64_MAX);
		device = device_event(f.source, 2, 9, "1-2");
		assert_int_equal(handle(&f, device), 0); /* listed without an agent: as dom0's own are */
		look_up_device(&f);
		f.actions[0] = '\0';
		agent_ready(&f, f.source, 7);
		f.actions[0] = '\0';
		if (reports)
			assert_int_equal(handle(&f, report_event(f.source, WIRE_SIDE_EXPORT, SESSION)), 0);
		assert_actions(&f, reports ? "y" : "");
		(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
		assert_actions(&f, "f");
		assert_int_equal(handle(&f, device_event(f.source, 2, 9, "1-2")), 0);
		look_up_device(&f);
		f.actions[0] = '\0';
		(void)handle(&f, request(CORE_ATTACH, 9, f.device, f.target));
		assert_actions(&f, reports ? "!" : "A");
		if (reports) {
			assert_int_equal(f.answer, CORE_ANSWER_LOCKED);
			(void)handle(&f, of_session(CORE_STOPPED, f.source, SESSION));
			(void)handle(&f, request(CORE_ATTACH, 10, f.device, f.target));
			assert_actions(&f, "A");
		}
		f.core = core_free(f.core);
	}
}

/* While the memory is open its port is held, other ports are not. */
static void test_port_is_held(void **unused _unused_)
{
	struct fixture f;
	unsigned int cursor = 0;
	const struct core_device *device;
	struct core_event memory;

	new_core(&f);
	memory = memory_event(SESSION); /* of a life that has not been seen yet, at the port of another device */
	memory.memory.device.ref.generation = 5;
	assert_int_equal(handle(&f, memory), 0);
	f.source = start_qube(&f, 3, "sys-usb");
	f.target = start_qube(&f, 4, "work");
	f.other = start_qube(&f, 5, "personal");
	agent_up(&f, f.other);
	agent_ready(&f, f.source, 7);
	assert_int_equal(handle(&f, report_event(f.source, WIRE_SIDE_EXPORT, SESSION)), 0);
	(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
	(void)handle(&f, device_event(f.source, 2, 9, "1-2"));
	(void)handle(&f, device_event(f.source, 3, 9, "1-3"));
	f.actions[0] = '\0';
	while ((device = core_next_device(core_find_qube(f.core, f.source), &cursor))) {
		bool held = strcmp(device->port, "1-2") == 0;

		(void)handle(&f, request(CORE_ATTACH, 9, device->ref, f.other));
		assert_actions(&f, held ? "!" : "A");
		if (held)
			assert_int_equal(f.answer, CORE_ANSWER_ADOPTING);
	}
	f.core = core_free(f.core);
}

/* A foreign qube's words about the session change nothing of it; whoever says them is told to stop. */
static void test_foreign_words(void **unused _unused_)
{
	struct fixture f;

	setup_adopting(&f);
	agent_ready(&f, f.other, 9);
	f.actions[0] = '\0';
	assert_int_equal(handle(&f, report_event(f.other, WIRE_SIDE_IMPORT, SESSION)), 0);
	assert_actions(&f, "y");
	assert_int_equal(handle(&f, report_event(f.other, WIRE_SIDE_EXPORT, SESSION)), 0);
	assert_actions(&f, "y");
	assert_int_equal(state_of(&f), CORE_ADOPTING);
	agent_ready(&f, f.target, 7);
	assert_int_equal(handle(&f, report_event(f.target, WIRE_SIDE_IMPORT, SESSION)), 0);
	assert_actions(&f, "na");
	assert_int_equal(state_of(&f), CORE_ATTACHED);
	/* and now it is one like any other */
	(void)handle(&f, request(CORE_DETACH, 9, f.device, f.target));
	assert_actions(&f, "nst");
	let_stop(&f, f.target);
	assert_actions(&f, "ndf!");
	f.core = core_free(f.core);
}

/* Its time goes on where it was; over meanwhile: it ends as soon as it is adopted. */
static void test_time_goes_on(void **unused _unused_)
{
	for (int over = 0; over < 2; over++) {
		struct core_event memory;
		struct fixture f;

		new_core(&f);
		memory = memory_event(SESSION);
		memory.memory.device.terms.max_time_usec = 300 * SECOND;
		memory.memory.device.terms.end_usec = f.now_usec + (over ? 0 : 100 * SECOND);
		f.session = SESSION;
		assert_int_equal(handle(&f, memory), 0);
		f.source = start_qube(&f, 3, "sys-usb");
		f.target = start_qube(&f, 4, "work");
		come(&f, f.source, WIRE_SIDE_EXPORT, RIGHT);
		come(&f, f.target, WIRE_SIDE_IMPORT, RIGHT);
		look_up_device(&f);
		assert_int_equal(state_of(&f), CORE_ATTACHED);
		f.actions[0] = '\0';
		assert_true(core_next_deadline(f.core) == f.now_usec + (over ? 0 : 40 * SECOND));
		tick(&f, over ? 0 : 100 * SECOND);
		assert_actions(&f, "nst");
		f.core = core_free(f.core);
	}
}

/* DI01: no new session has the number of a remembered one, even when two lives draw the same epoch. */
static void test_numbers(void **unused _unused_)
{
	struct core_event memory = memory_event(0xabcdull << 32 | 7);
	struct fixture f;

	new_core(&f);
	assert_int_equal(handle(&f, memory), 0);
	memory.memory.session = 0xabccull << 32 | 99;
	assert_int_equal(handle(&f, memory), 0);
	memory.memory.session = 0;
	assert_int_equal(handle(&f, memory), CORE_EVENT_IGNORED);
	for (uint64_t i = 0; i < LIMIT_MEMORIES - 2; i++) {
		memory.memory.session = 1000 + i;
		assert_int_equal(handle(&f, memory), 0);
	}
	memory.memory.session = 9999;
	assert_int_equal(handle(&f, memory), CORE_EVENT_FULL);
	f.source = start_qube(&f, 3, "sys-usb");
	f.target = start_qube(&f, 4, "work");
	agent_up(&f, f.target);
	f.actions[0] = '\0';
	agent_ready(&f, f.source, 8);
	(void)handle(&f, (struct core_event){.type = CORE_AGENT_LOST, .qube = f.source});
	f.core = core_free(f.core);

	new_core(&f);
	memory.memory.session = 0xabcdull << 32 | 7;
	assert_int_equal(handle(&f, memory), 0);
	f.source = start_qube(&f, 3, "sys-usb");
	f.target = start_qube(&f, 4, "work");
	agent_up(&f, f.target);
	agent_up(&f, f.source);
	(void)handle(&f, device_event(f.source, 2, 9, "1-2"));
	look_up_device(&f);
	(void)handle(&f, request(CORE_ATTACH, 9, f.device, f.target));
	assert_true(f.session == (0xabcdull << 32 | 8));
	f.core = core_free(f.core);
}

/* A sleep while it is not known yet: both sides are stopped. */
static void test_sleep_while_adopting(void **unused _unused_)
{
	struct core_event event = {.type = CORE_SUSPEND};
	struct fixture f;

	setup_adopting(&f);
	event.request.token = 9;
	assert_int_equal(handle(&f, event), 0);
	assert_actions(&f, "Nns");
	(void)handle(&f, of_session(CORE_STOPPED, f.source, SESSION));
	assert_actions(&f, "nf!");
	assert_int_equal(f.answer, CORE_ANSWER_DONE);
	f.core = core_free(f.core);
}

/* The path that is remembered, or none by a broker that did not know paths: it must be the same where both are known. */
static void test_paths(void **unused _unused_)
{
	static const struct {
		const char *remembered, *listed;
		bool adopting;
	} rows[] = {{"A", "A", true}, {"", "A", true}, {"A", "", true}, {"A", "B", false}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct core_event memory = memory_event(SESSION), device;
		struct fixture f;

		new_core(&f);
		(void)strcpy(memory.memory.device.path, rows[i].remembered);
		assert_int_equal(handle(&f, memory), 0);
		f.source = start_qube(&f, 3, "sys-usb");
		f.target = start_qube(&f, 4, "work");
		agent_ready(&f, f.source, 7);
		assert_int_equal(handle(&f, report_event(f.source, WIRE_SIDE_EXPORT, SESSION)), 0);
		(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
		device = device_event(f.source, 2, 9, "1-2");
		(void)strcpy(device.device.path, rows[i].listed);
		assert_int_equal(handle(&f, device), 0);
		look_up_device(&f);
		assert_int_equal(state_of(&f), rows[i].adopting ? CORE_ADOPTING : CORE_FREE);
		assert_int_equal(count(&f, 'N'), !rows[i].adopting);
		f.core = core_free(f.core);
	}
}

/*
 * What the machine's sleep had ended, and a broker that was killed before it was back: no stream of it is adopted; it is
 * made again once, for the same life of its target, and forgotten when that is done or cannot be.
 */
static void test_asleep(void **unused _unused_)
{
	enum what { GOOD, STILL_RUNS, OTHER_TARGET, NO_TARGET, NO_SOURCE, ADOPTED_SINCE, LOST_SINCE };
	static const struct {
		enum what what;
		const char *actions; /* until there is nothing more to wait for */
		enum core_answer answer;
		enum outcome outcome;
	} cases[] = {
		{GOOD, "+AXInaf", CORE_ANSWER_DONE, OUTCOME_OK},
		{STILL_RUNS, "yy+AXInaf", CORE_ANSWER_DONE, OUTCOME_OK},
		{OTHER_TARGET, "fr+", CORE_ANSWER_NO_QUBE, OUTCOME_QUBE_GONE},
		{NO_TARGET, "+fr", CORE_ANSWER_NO_QUBE, OUTCOME_SUSPENDED},
		{NO_SOURCE, "fr", CORE_ANSWER_NO_DEVICE, OUTCOME_SUSPENDED},
		{ADOPTED_SINCE, "+fnna", CORE_ANSWER_DONE, OUTCOME_OK},
		{LOST_SINCE, "Nff+", CORE_ANSWER_DONE, OUTCOME_NOT_PROVEN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const enum what what = cases[i].what;
		const enum word word = what == STILL_RUNS || what == ADOPTED_SINCE ? RIGHT : SAYS_NOTHING;
		struct core_event asleep = memory_event(what >= ADOPTED_SINCE ? SESSION + 1 : SESSION);
		struct fixture f;

		new_core(&f);
		asleep.memory.asleep = true;
		assert_int_equal(handle(&f, asleep), 0);
		assert_int_equal(handle(&f, asleep), CORE_EVENT_IGNORED);
		if (what >= ADOPTED_SINCE)
			assert_int_equal(handle(&f, memory_event(SESSION)), 0);
		f.source = start_qube(&f, 3, "sys-usb");
		if (what != NO_TARGET) {
			f.target = start_life(&f, 4, "work", what == OTHER_TARGET);
			come(&f, f.target, WIRE_SIDE_IMPORT, word);
		}
		if (what != NO_SOURCE)
			come(&f, f.source, WIRE_SIDE_EXPORT, what == STILL_RUNS ? ENDS : word);
		if (cases[i].answer == CORE_ANSWER_DONE && what != LOST_SINCE) {
			look_up_device(&f);
			if (what != ADOPTED_SINCE) {
				assert_int_equal(f.terms.origin, CORE_ORIGIN_RESUME);
				let_attach(&f, f.target);
			}
			assert_int_equal(state_of(&f), CORE_ATTACHED);
		} else {
			tick(&f, TIMEOUT_RESUME_USEC);
			assert_int_equal(f.answer, cases[i].answer);
			assert_int_equal(f.outcome, cases[i].outcome);
		}
		assert_actions(&f, cases[i].actions);
		f.core = core_free(f.core);
	}
}

/* There is room for so many; one more is refused, and nothing is lost of those. */
static void test_too_many_asleep(void **unused _unused_)
{
	struct core_event asleep = memory_event(SESSION);
	struct fixture f;

	new_core(&f);
	asleep.memory.asleep = true;
	for (unsigned int i = 0; i <= LIMIT_RESTORES; i++) {
		asleep.memory.session = SESSION + i;
		assert_int_equal(handle(&f, asleep), i < LIMIT_RESTORES ? 0 : CORE_EVENT_FULL);
	}
	f.source = start_qube(&f, 3, "sys-usb");
	tick(&f, TIMEOUT_RESUME_USEC);
	assert_int_equal(count(&f, 'f'), LIMIT_RESTORES);
	assert_int_equal(count(&f, 'r'), LIMIT_RESTORES);
	f.core = core_free(f.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_late_source),
		cmocka_unit_test(test_port_is_held),
		cmocka_unit_test(test_foreign_words),
		cmocka_unit_test(test_time_goes_on),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_sleep_while_adopting),
		cmocka_unit_test(test_asleep),
		cmocka_unit_test(test_too_many_asleep),
		cmocka_unit_test(test_target_is_another),
		cmocka_unit_test(test_detach_while_adopting),
		cmocka_unit_test(test_no_place),
		cmocka_unit_test(test_target_comes_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
