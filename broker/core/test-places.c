// SPDX-License-Identifier: GPL-2.0-or-later
/* Ports are paths: what assignments learn of them, what they are called after each start, what claims go by. */
#include "broker/core/test-fixture.h"

static struct core_assignment make(const char *target, const char *port, const char *path)
{
	struct core_assignment assignment = {.class_id = WIRE_CLASS_USB, .source = "sys-usb", .mode = CORE_ASSIGN_AUTO};

	(void)snprintf(assignment.target, sizeof(assignment.target), "%s", target);
	(void)snprintf(assignment.port, sizeof(assignment.port), "%s", port);
	(void)snprintf(assignment.path, sizeof(assignment.path), "%s", path);
	return assignment;
}

static int tell(struct fixture *f, enum core_event_type type, struct core_assignment assignment)
{
	return handle(f, (struct core_event){.type = type, .assignment = &assignment});
}

static struct core_event at(const struct fixture *f, uint16_t slot, const char *port, const char *path)
{
	struct core_event event = device_event(f->source, slot, 1, port);

	event.device.serial[0] = (char)('a' + slot);
	(void)snprintf(event.device.path, sizeof(event.device.path), "%s", path);
	return event;
}

/* The device qube restarts, and lists "PORT PATH" for each slot; NULL at the end. */
static void list(struct fixture *f, const char *const *devices)
{
	struct core_event event = {.type = CORE_QUBE_GONE, .qube = f->source};
	char port[LIMIT_PORT_TEXT], path[LIMIT_PATH_TEXT];

	(void)handle(f, event);
	f->source = start_qube(f, 3, "sys-usb");
	agent_ready(f, f->source, 8);
	(void)handle(f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f->source});
	for (uint16_t slot = 0; devices[slot]; slot++) {
		path[0] = '\0';
		(void)sscanf(devices[slot], "%31s %79s", port, path);
		assert_int_equal(handle(f, at(f, slot, port, path)), 0);
	}
	(void)handle(f, (struct core_event){.type = CORE_LIST_END, .qube = f->source});
}
#define LIST(f, ...) list(f, (const char *const[]){__VA_ARGS__, NULL})

/* All assignments, in order: "target port path " each. */
static void assert_table(const struct fixture *f, const char *expected)
{
	const struct core_assignment *assignment;
	unsigned int cursor = 0;
	char text[1024] = "";
	size_t len = 0;

	while ((assignment = assignments_next(core_assignments(f->core), &cursor)))
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s %s ", assignment->target,
					assignment->port, assignment->path[0] ? assignment->path : "-");
	assert_string_equal(text, expected);
}

#define assert_relocated(f, expected)                          \
	do {                                                   \
		assert_string_equal((f)->relocated, expected); \
		(f)->relocated[0] = '\0';                      \
	} while (0)

/* Which port is on its way to its target, or there; "" for none. */
static const char *taken(const struct fixture *f, const char *target)
{
	const struct core_qube *qube = core_find_qube(f->core, f->source);
	const struct core_device *device;
	unsigned int cursor = 0;

	while (qube && (device = core_next_device(qube, &cursor)))
		if (device->state != CORE_FREE && strcmp(device->target_name, target) == 0)
			return device->port;
	return "";
}

static void begin(struct fixture *f)
{
	setup(f);
	LIST(f, "1-1 A", "2-1 B");
	f->relocated[0] = '\0';
}

/* Another device is at the old number, and the right one elsewhere: only the right one goes. */
static void test_renumbered(void **unused _unused_)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "1-1", "A")), 0);
	assert_string_equal(taken(&f, "work"), "1-1");
	LIST(&f, "1-1 C", "3-1 A");
	assert_string_equal(taken(&f, "work"), "3-1");
	assert_relocated(&f, "1-1>3-1 ");
	assert_table(&f, "work 3-1 A ");
	tick(&f, RELOCATE_INTERVAL_USEC);
	LIST(&f, "3-1 A", "1-1 C"); /* the same again: nothing to do */
	assert_relocated(&f, "");
	LIST(&f, "3-1 C"); /* it is not there */
	assert_string_equal(taken(&f, "work"), "");
	assert_relocated(&f, "");
	assert_table(&f, "work 3-1 A ");
	/* it comes after the list */
	assert_int_equal(handle(&f, at(&f, 5, "4-1", "A")), 0);
	assert_string_equal(taken(&f, "work"), "4-1");
	assert_relocated(&f, "3-1>4-1 ");
	f.core = core_free(f.core);
}

/* Swapped, and around in a circle: each keeps its own, none is lost. */
static void test_swapped(void **unused _unused_)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "1-1", "A")), 0);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "2-1", "B")), 0);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("personal", "3-1", "C")), 0);
	LIST(&f, "2-1 A", "1-1 B", "3-1 C");
	assert_table(&f, "personal 3-1 C work 2-1 A work 1-1 B ");
	assert_relocated(&f, "1-1>2-1 2-1>1-1 ");
	assert_string_equal(taken(&f, "personal"), "3-1");
	tick(&f, RELOCATE_INTERVAL_USEC);
	LIST(&f, "3-1 A", "2-1 B", "1-1 C");
	assert_table(&f, "personal 1-1 C work 3-1 A work 2-1 B ");
	assert_string_equal(taken(&f, "personal"), "1-1");
	/* one that is not there keeps its old name, though another one has it now */
	tick(&f, RELOCATE_INTERVAL_USEC);
	LIST(&f, "3-1 B");
	assert_table(&f, "personal 1-1 C work 3-1 A work 3-1 B ");
	assert_int_equal(tell(&f, CORE_UNASSIGNED, make("work", "3-1", "B")), 0);
	assert_table(&f, "personal 1-1 C work 3-1 A ");
	/* nor is it in the way of a new one of that name */
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "3-1", "B")), 0);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "9-1", "B")), CORE_EVENT_EXISTS);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "3-1", "")), CORE_EVENT_EXISTS);
	f.core = core_free(f.core);
}

/* Made while nothing was there: by its name, until it has met its port. */
static void test_learnt(void **unused _unused_)
{
	struct core_assignment with_id = make("work", "2-1", "");
	struct fixture f;

	begin(&f);
	(void)strcpy(with_id.device_id, "0781:5581:xx:u080650");
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "3-1", "")), 0);
	assert_int_equal(tell(&f, CORE_ASSIGNED, with_id), 0);
	assert_relocated(&f, ""); /* another device is at 2-1: that need not be the port that was meant */
	LIST(&f, "2-1 A", "3-1", "4-1 C");
	assert_relocated(&f, ""); /* an agent that does not say: as before there were paths */
	assert_string_equal(taken(&f, "work"), "3-1");
	LIST(&f, "3-1 A");
	assert_relocated(&f, "3-1=A ");
	assert_string_equal(taken(&f, "work"), "3-1");
	assert_table(&f, "work 2-1 - work 3-1 A ");
	tick(&f, RELOCATE_INTERVAL_USEC);
	LIST(&f, "3-1 B", "4-1 A");
	assert_relocated(&f, "3-1>4-1 ");
	assert_string_equal(taken(&f, "work"), "4-1");
	/* two that mean one port: the one that knew it stays */
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "5-1", "")), 0);
	tick(&f, RELOCATE_INTERVAL_USEC);
	LIST(&f, "5-1 A");
	assert_string_equal(taken(&f, "work"), "5-1");
	assert_table(&f, "work 2-1 - work 5-1 A ");
	/* when it is assigned while something is there */
	assert_int_equal(tell(&f, CORE_UNASSIGNED, make("work", "5-1", "A")), 0);
	with_id = make("work", "5-1", "");
	core_locate(f.core, &with_id);
	assert_string_equal(with_id.path, "A");
	(void)strcpy(with_id.port, "6-1");
	with_id.path[0] = '\0';
	core_locate(f.core, &with_id);
	assert_string_equal(with_id.path, "");
	with_id.port[0] = '\0';
	core_locate(f.core, &with_id);
	assert_string_equal(with_id.path, "");
	f.core = core_free(f.core);
}

/* The disk is full: table as it was, the right device all the same; later it can be kept. */
static void test_not_kept(void **unused _unused_)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("work", "1-1", "A")), 0);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("personal", "9-1", "")), 0);
	f.cannot_keep = true;
	LIST(&f, "1-1 C", "3-1 A", "9-1 D");
	assert_relocated(&f, "9-1=D! ");
	assert_table(&f, "personal 9-1 - work 1-1 A ");
	assert_string_equal(taken(&f, "work"), "3-1");
	assert_string_equal(taken(&f, "personal"), "9-1");
	tick(&f, 10 * RELOCATE_INTERVAL_USEC);
	assert_relocated(&f, ""); /* not before there is a cause */
	f.cannot_keep = false;
	LIST(&f, "1-1 C", "3-1 A", "9-1 D");
	assert_relocated(&f, "9-1=D 1-1>3-1 ");
	assert_table(&f, "personal 9-1 D work 3-1 A ");
	/* and without anybody to keep it */
	tick(&f, RELOCATE_INTERVAL_USEC);
	f.core->hooks.relocate = NULL;
	LIST(&f, "2-1 A");
	assert_table(&f, "personal 9-1 D work 3-1 A ");
	assert_string_equal(taken(&f, "work"), "2-1");
	f.core = core_free(f.core);
}

static unsigned int count(const struct fixture *f, char what)
{
	unsigned int n = 0;

	for (const char *c = f->relocated; *c; c++)
		n += *c == what;
	return n;
}

/* A device qube that renumbers as fast as it can: the disk has its rest. */
static void test_hostile(void **unused _unused_)
{
	struct core_assignment assignment = make("work", "1-1", "A");
	unsigned int total = 0;
	struct fixture f;

	begin(&f);
	for (unsigned int i = 0; i < 5 * LIMIT_RELOCATIONS; i++) {
		(void)snprintf(assignment.device_id, sizeof(assignment.device_id), "%u", i);
		assert_int_equal(tell(&f, CORE_ASSIGNED, assignment), 0);
	}
	for (unsigned int i = 0; i < 50; i++) {
		LIST(&f, "2-1 A");
		LIST(&f, "3-1 A", "4-1 A"); /* also: two at one place */
	}
	assert_int_equal(count(&f, '>'), LIMIT_RELOCATIONS);
	for (unsigned int i = 0; i < 50 && core_next_deadline(f.core) != UINT64_MAX; i++) {
		f.relocated[0] = '\0';
		tick(&f, core_next_deadline(f.core) - f.now_usec);
		assert_in_range(count(&f, '>'), 0, LIMIT_RELOCATIONS);
		total += count(&f, '>');
	}
	assert_in_range(total, 4 * LIMIT_RELOCATIONS, 5 * LIMIT_RELOCATIONS);
	assert_true(core_next_deadline(f.core) == UINT64_MAX);
	f.relocated[0] = '\0';
	tick(&f, RELOCATE_INTERVAL_USEC);
	LIST(&f, "4-1 A", "3-1 A");
	assert_relocated(&f, ""); /* one of the two names is as good as the other */
	f.core = core_free(f.core);
}

/* A list that has begun is waited for; what is told in between is not the whole. */
static void test_within_a_list(void **unused _unused_)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(tell(&f, CORE_ASSIGNED, make("personal", "1-1", "A")), 0);
	(void)handle(&f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f.source});
	assert_int_equal(handle(&f, at(&f, 4, "4-1", "A")), 0);
	assert_relocated(&f, ""); /* 1-1 may be there as well */
	assert_int_equal(handle(&f, at(&f, 5, "5-1", "B")), 0);
	assert_relocated(&f, "");
	(void)handle(&f, (struct core_event){.type = CORE_LIST_END, .qube = f.source});
	assert_relocated(&f, "1-1>4-1 ");
	f.core = core_free(f.core);
}

/* The controller is reset and has another number: an attachment comes back by its path; what has its old name does not. */
static void test_claim(void **unused _unused_)
{
	struct core_event event;
	struct fixture f;

	for (unsigned int i = 0; i < 4; i++) {
		const char *former = i == 3 ? "" : "A", *port = i == 0 ? "5-1" : "1-1";

		setup(&f);
		assert_int_equal(handle(&f, at(&f, 0, "1-1", former)), 0);
		f.device.slot = 0;
		f.device.generation = 1;
		(void)handle(&f, request(CORE_ATTACH, 100, f.device, f.target));
		let_attach(&f, f.target);
		event = (struct core_event){.type = CORE_DEVICE_GONE, .qube = f.source};
		event.gone.generation = 1;
		assert_int_equal(handle(&f, event), 0);
		let_stop(&f, f.target);
		event = at(&f, 0, port, i == 1 ? "B" : i == 2 ? "" : "A"); /* by path; by path; by name; by name */
		event.device.ref.generation = 2;
		f.device.generation = 2;
		assert_int_equal(handle(&f, event), 0);
		assert_int_equal(state_of(&f), i == 1 ? CORE_FREE : CORE_AUDITING);
		f.core = core_free(f.core);
	}
}

/* Until a memory is settled neither what has its name nor what has its path can be attached. */
static void test_memory(void **unused _unused_)
{
	static const struct {
		const char *port, *path;
		enum core_answer answer;
	} rows[] = {
		{"1-2", "A", CORE_ANSWER_ADOPTING}, {"1-2", "B", CORE_ANSWER_ADOPTING},
		{"3-1", "A", CORE_ANSWER_ADOPTING}, {"1-2", "", CORE_ANSWER_ADOPTING},
		{"3-1", "", CORE_ANSWER_DONE},      {"3-1", "B", CORE_ANSWER_DONE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct core_event memory = memory_event(0x777);
		struct fixture f;

		new_core(&f);
		(void)strcpy(memory.memory.device.path, "A");
		assert_int_equal(handle(&f, memory), 0);
		vouch(&f, 0x777);
		assert_int_equal(handle(&f, at(&f, 7, rows[i].port, rows[i].path)), 0);
		look_up_device(&f);
		f.answer = CORE_ANSWER_DONE;
		(void)handle(&f, request(CORE_ATTACH, 100, f.device, f.other));
		assert_int_equal(f.answer, rows[i].answer);
		f.core = core_free(f.core);
	}
}

/* One {slot, generation} has one path. */
static void test_contradiction(void **unused _unused_)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(handle(&f, at(&f, 0, "1-1", "A")), 0);
	assert_int_equal(handle(&f, at(&f, 0, "1-1", "B")), CORE_EVENT_CHEATED);
	assert_int_equal(handle(&f, at(&f, 0, "1-1", "")), CORE_EVENT_CHEATED);
	f.core = core_free(f.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_renumbered), cmocka_unit_test(test_swapped), cmocka_unit_test(test_learnt),
		cmocka_unit_test(test_not_kept),   cmocka_unit_test(test_hostile), cmocka_unit_test(test_within_a_list),
		cmocka_unit_test(test_claim),      cmocka_unit_test(test_memory),  cmocka_unit_test(test_contradiction),
	};

	return cmocka_run_group_tests_name("places", tests, NULL, NULL);
}
