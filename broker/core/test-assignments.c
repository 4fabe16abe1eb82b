// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of assignments, and which of them decides (UD13, UD16). */
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

#include "broker/core/assignments.h"
#include "lib/base/base.h"

#define ID "0781:5581:AB12:u080650"
#define TWIN_ID "046d:c31c::u030101u030000"

/* sys-usb has a stick on 1-2, and two keyboards without serial on 1-3 and 1-4. */
struct fixture {
	struct assignments *table;
	struct core_qube source;
	const char *running; /* names, one space around each */
};

static struct core_device *add_device(struct fixture *f, unsigned int slot, const char *port, uint16_t vendor,
				      uint16_t product, const char *serial)
{
	struct core_device *device = &f->source.devices[slot];

	*device = (struct core_device){
		.used = true, .present = true, .class_id = 1, .vendor = vendor, .product = product};
	(void)snprintf(device->port, sizeof(device->port), "%s", port);
	(void)snprintf(device->serial, sizeof(device->serial), "%s", serial);
	return device;
}

static void set_interfaces(struct core_device *device, uint8_t n, const uint8_t (*codes)[3])
{
	device->n_interfaces = n;
	memcpy(device->interfaces, codes, 3 * (size_t)n);
}

static const uint8_t disk[][3] = {{8, 6, 0x50}}, keys[][3] = {{3, 1, 1}, {3, 0, 0}};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->table = assignments_new();
	assert_non_null(f->table);
	f->source.used = true;
	(void)snprintf(f->source.name, sizeof(f->source.name), "sys-usb");
	set_interfaces(add_device(f, 0, "1-2", 0x0781, 0x5581, "AB12"), 1, disk);
	set_interfaces(add_device(f, 1, "1-3", 0x046d, 0xc31c, ""), 2, keys);
	set_interfaces(add_device(f, 2, "1-4", 0x046d, 0xc31c, ""), 2, keys);
	f->running = " work personal vault ";
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->table = assignments_free(f->table);
	free(f);
	return 0;
}

static bool is_running(void *userdata, const char *target)
{
	const struct fixture *f = userdata;
	char word[LIMIT_QUBE_NAME + 3];

	(void)snprintf(word, sizeof(word), " %s ", target);
	return strstr(f->running, word);
}

static struct core_assignment make(const char *target, const char *port, const char *id, enum core_assign_mode mode)
{
	struct core_assignment assignment = {.class_id = 1, .source = "sys-usb", .mode = mode};

	(void)snprintf(assignment.target, sizeof(assignment.target), "%s", target);
	(void)snprintf(assignment.port, sizeof(assignment.port), "%s", port);
	(void)snprintf(assignment.device_id, sizeof(assignment.device_id), "%s", id);
	return assignment;
}

static void add(struct fixture *f, const char *target, const char *port, const char *id, enum core_assign_mode mode)
{
	struct core_assignment assignment = make(target, port, id, mode);

	assert_int_equal(assignments_add(f->table, &assignment), 0);
}

/* "=work" attach to it, "?personal work" ask, "" none; a '+' after '?' when there are twins. */
static void assert_match(struct fixture *f, unsigned int slot, const char *expected)
{
	struct core_match match;
	char text[512] = "";
	size_t len = 0;

	assignments_match(f->table, &f->source, &f->source.devices[slot], is_running, f, &match);
	if (match.result != CORE_MATCH_NONE)
		len = (size_t)snprintf(text, sizeof(text), "%c%s", match.result == CORE_MATCH_ONE ? '=' : '?',
				       match.twins ? "+" : "");
	for (unsigned int i = 0; i < match.n_offered; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i > 0 ? " " : "",
					match.offered[i]->target);
	if (match.n_left_out > 0)
		(void)snprintf(text + len, sizeof(text) - len, " and %u", match.n_left_out);
	assert_string_equal(text, expected);
}

static const struct {
	const char *port, *id;
} ranks[] = {{"", ""}, {"", ID}, {"1-2", ""}, {"1-2", ID}};

/* Each pair of specificities for two targets, in both orders of adding and with each mode of the first. */
static void test_each_pair(void **state)
{
	struct fixture *f = *state;

	for (size_t a = 0; a < ARRAY_SIZE(ranks); a++) {
		for (size_t b = 0; b < ARRAY_SIZE(ranks); b++) {
			for (unsigned int mode = 0; mode < 2 * CORE_ASSIGN_MODE_COUNT; mode++) {
				struct core_assignment first = make("work", ranks[a].port, ranks[a].id,
								    (enum core_assign_mode)(mode / 2)),
						       second = make("personal", ranks[b].port, ranks[b].id,
								     CORE_ASSIGN_AUTO);

				assert_int_equal(assignments_add(f->table, mode % 2 ? &second : &first), 0);
				assert_int_equal(assignments_add(f->table, mode % 2 ? &first : &second), 0);
				if (a == b)
					assert_match(f, 0, "?personal work");
				else if (a < b)
					assert_match(f, 0, "=personal");
				else
					assert_match(f, 0, mode / 2 == CORE_ASSIGN_ASK ? "?work" : "=work");
				assert_int_equal(assignments_remove(f->table, &first), 0);
				assert_int_equal(assignments_remove(f->table, &second), 0);
			}
		}
	}
}

/* The same for one target: its own most specific assignment decides about asking. */
static void test_pairs_of_one_target(void **state)
{
	struct fixture *f = *state;

	for (size_t a = 0; a < ARRAY_SIZE(ranks); a++) {
		for (size_t b = 0; b < ARRAY_SIZE(ranks); b++) {
			struct core_assignment ask = make("work", ranks[a].port, ranks[a].id, CORE_ASSIGN_ASK),
					       automatic = make("work", ranks[b].port, ranks[b].id, CORE_ASSIGN_AUTO);

			assert_int_equal(assignments_add(f->table, &ask), 0);
			assert_int_equal(assignments_add(f->table, &automatic), a == b ? CORE_ASSIGN_DUPLICATE : 0);
			assert_match(f, 0, a >= b ? "?work" : "=work");
			assert_int_equal(assignments_remove(f->table, &ask), 0);
			assert_int_equal(assignments_remove(f->table, &automatic), a == b ? CORE_ASSIGN_UNKNOWN : 0);
		}
	}
}

/* What does not fit the stick on 1-2 of sys-usb, one thing at a time. */
static void test_what_does_not_fit(void **state)
{
	static const struct {
		const char *port, *id;
	} cases[] = {
		{"1-3", ""},
		{"1-2.1", ""},
		{"1", ""},
		{"", "0781:5581:AB12:u080650u030101"}, /* UD16 */
		{"", "0781:5581:AB12:u080662"},
		{"", "0781:5581:AB12:"},
		{"", "0781:5581::u080650"},
		{"", "0781:5581:ab12:u080650"},
		{"", "0781:5582:AB12:u080650"},
		{"1-2", "0781:5581:AB12:u080662"},
		{"1-3", ID},
	};
	struct fixture *f = *state;
	struct core_assignment other;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		add(f, "work", cases[i].port, cases[i].id, CORE_ASSIGN_AUTO);
	other = make("work", "1-2", ID, CORE_ASSIGN_AUTO);
	other.class_id = 2;
	assert_int_equal(assignments_add(f->table, &other), 0);
	other.class_id = 1;
	(void)snprintf(other.source, sizeof(other.source), "sys-usb2");
	assert_int_equal(assignments_add(f->table, &other), 0);
	assert_match(f, 0, "");
	add(f, "work", "1-2", ID, CORE_ASSIGN_AUTO);
	assert_match(f, 0, "=work");
}

static void test_unknown_interfaces(void **state)
{
	struct fixture *f = *state;

	add(f, "work", "", ID, CORE_ASSIGN_AUTO);
	add(f, "work", "", "0781:5581:AB12:?******", CORE_ASSIGN_AUTO);
	add(f, "personal", "1-2", "0781:5581:AB12:?******", CORE_ASSIGN_AUTO);
	f->source.devices[0].n_interfaces = 0;
	assert_match(f, 0, "");
	add(f, "vault", "1-2", "", CORE_ASSIGN_AUTO);
	assert_match(f, 0, "=vault");
}

static void test_only_running_targets(void **state)
{
	struct fixture *f = *state;

	add(f, "work", "1-2", ID, CORE_ASSIGN_AUTO);
	add(f, "personal", "1-2", "", CORE_ASSIGN_REQUIRED);
	add(f, "vault", "1-2", "", CORE_ASSIGN_AUTO);
	assert_match(f, 0, "=work");
	f->running = " personal vault ";
	assert_match(f, 0, "?personal vault");
	f->running = " personal ";
	assert_match(f, 0, "=personal");
	f->running = " wor ";
	assert_match(f, 0, "");
}

/* UD13 */
static void test_twins(void **state)
{
	struct fixture *f = *state;

	assert_true(assignments_has_twin(&f->source, &f->source.devices[1]));
	assert_false(assignments_has_twin(&f->source, &f->source.devices[0]));
	add(f, "work", "", TWIN_ID, CORE_ASSIGN_AUTO);
	assert_match(f, 1, "?+work");
	assert_match(f, 2, "?+work");
	add(f, "personal", "1-3", TWIN_ID, CORE_ASSIGN_AUTO); /* told apart by port */
	assert_match(f, 1, "=personal");
	assert_match(f, 2, "?+work");
	add(f, "vault", "1-4", "", CORE_ASSIGN_AUTO);
	assert_match(f, 2, "=vault");
	f->running = " work ";
	assert_match(f, 1, "?+work");
	f->source.devices[2].present = false;
	assert_match(f, 1, "=work");
	f->source.devices[2].present = true;
	f->source.devices[2].class_id = 2;
	assert_match(f, 1, "=work");
	f->source.devices[2].class_id = 1;
	f->source.devices[2].serial[0] = 'S';
	assert_match(f, 1, "=work");
	f->source.devices[2].serial[0] = '\0';
	f->source.devices[2].n_interfaces = 1;
	assert_match(f, 1, "=work");
}

/* A device with the stick's ids and serial: neither of the two is it for certain. */
static void test_pretender(void **state)
{
	struct fixture *f = *state;

	add(f, "work", "", ID, CORE_ASSIGN_AUTO);
	assert_match(f, 0, "=work");
	set_interfaces(add_device(f, 3, "1-5", 0x0781, 0x5581, "AB12"), 1, disk);
	assert_match(f, 0, "?+work");
	assert_match(f, 3, "?+work");
	f->source.devices[3].n_interfaces = f->source.devices[0].n_interfaces = 0;
	assert_false(assignments_has_twin(&f->source, &f->source.devices[0]));
}

/* All devices of a qube to another: that is what was asked for, twins or not. */
static void test_any_device(void **state)
{
	struct fixture *f = *state;

	add(f, "work", "", "", CORE_ASSIGN_AUTO);
	for (unsigned int slot = 0; slot < 3; slot++)
		assert_match(f, slot, "=work");
}

static void test_many_targets(void **state)
{
	struct fixture *f = *state;

	f->running = " q0 q1 q2 q3 q4 q5 q6 q7 q8 q9 ";
	for (unsigned int i = 10; i-- > 0;) {
		char name[16];

		(void)snprintf(name, sizeof(name), "q%u", i);
		add(f, name, "1-2", "", CORE_ASSIGN_AUTO);
		if (i == 2)
			assert_match(f, 0, "?q2 q3 q4 q5 q6 q7 q8 q9");
	}
	assert_match(f, 0, "?q0 q1 q2 q3 q4 q5 q6 q7 and 2");
	add(f, "q9", "1-2", ID, CORE_ASSIGN_AUTO);
	assert_match(f, 0, "=q9");
}

static void test_unfit(void **state)
{
	struct fixture *f = *state;
	const struct core_assignment good = make("work", "1-2", ID, CORE_ASSIGN_AUTO);
	struct core_assignment bad[16];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].class_id = 0;
	bad[1].mode = CORE_ASSIGN_MODE_COUNT;
	bad[2].max_time_usec = (uint64_t)INT64_MAX + 1;
	bad[3].target[0] = '\0';
	bad[4].target[0] = '-';
	bad[5].source[3] = ' ';
	memcpy(bad[6].target, "sys-usb", 8);
	bad[7].port[0] = '*';
	bad[8].port[1] = ' ';
	bad[9].port[1] = '\n';
	bad[10].device_id[0] = '_';
	bad[11].device_id[5] = '\x1b';
	memset(bad[12].device_id, 'a', sizeof(bad[12].device_id));
	(void)strcpy(bad[13].path, "a path");
	memset(bad[14].path, 'a', sizeof(bad[14].path));
	(void)strcpy(bad[15].path, "A");
	bad[15].port[0] = '\0'; /* a path of no port */
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(assignments_add(f->table, &bad[i]), CORE_ASSIGN_UNFIT);
	memset(bad[0].port, '1', sizeof(bad[0].port));
	bad[0].class_id = 1;
	assert_int_equal(assignments_add(f->table, &bad[0]), CORE_ASSIGN_UNFIT);
	assert_int_equal(assignments_add(f->table, &good), 0);
}

/* Each of the five things that identify an assignment; mode and options do not. */
static void test_identity(void **state)
{
	struct fixture *f = *state;
	struct core_assignment assignment = make("work", "1-2", ID, CORE_ASSIGN_AUTO), others[5];
	const struct core_assignment *found;
	unsigned int cursor = 0;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		others[i] = assignment;
	others[0].target[0] = 'x';
	others[1].class_id = 2;
	others[2].source[0] = 'x';
	others[3].port[0] = '\0';
	others[4].device_id[0] = '\0';
	assert_int_equal(assignments_add(f->table, &assignment), 0);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_null(assignments_find(f->table, &others[i]));
		assert_int_equal(assignments_remove(f->table, &others[i]), CORE_ASSIGN_UNKNOWN);
		assert_int_equal(assignments_replace(f->table, &others[i], &others[i]), CORE_ASSIGN_UNKNOWN);
		assert_int_equal(assignments_add(f->table, &others[i]), 0);
	}
	assignment.mode = CORE_ASSIGN_REQUIRED;
	assignment.follow_port = true;
	assignment.max_time_usec = 1;
	assert_int_equal(assignments_add(f->table, &assignment), CORE_ASSIGN_DUPLICATE);
	found = assignments_find(f->table, &assignment);
	assert_non_null(found);
	assert_int_not_equal(found->mode, CORE_ASSIGN_REQUIRED);
	assert_int_equal(assignments_replace(f->table, &assignment, &assignment), 0); /* its mode and options */
	found = assignments_find(f->table, &assignment);
	assert_non_null(found);
	assert_int_equal(found->mode, CORE_ASSIGN_REQUIRED);
	assert_true(found->follow_port);
	assert_int_equal(found->max_time_usec, 1);
	for (size_t i = 0; i < ARRAY_SIZE(others) + 1; i++) {
		const struct core_assignment *next = assignments_next(f->table, &cursor);

		assert_non_null(next);
		if (i > 0)
			assert_true(assignment_compare(found, next) < 0);
		found = next;
	}
	assert_null(assignments_next(f->table, &cursor));
}

static struct core_assignment make_at(const char *target, const char *port, const char *path, const char *id)
{
	struct core_assignment assignment = make(target, port, id, CORE_ASSIGN_AUTO);

	(void)snprintf(assignment.path, sizeof(assignment.path), "%s", path);
	return assignment;
}

/* The path decides where both have one, else the name. */
static void test_paths(void **state)
{
	static const struct {
		const char *of_assignment, *of_device, *expected;
	} cases[] = {{"A", "A", "=work"}, {"A", "B", ""}, {"", "A", "=work"}, {"A", "", "=work"}, {"", "", "=work"}};
	struct fixture *f = *state;
	struct core_assignment one = make_at("work", "1-2", "A", ""), another = make_at("personal", "3-1", "A", "");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct core_assignment assignment = make_at("work", "1-2", cases[i].of_assignment, "");

		assert_int_equal(assignments_add(f->table, &assignment), 0);
		(void)strcpy(f->source.devices[0].path, cases[i].of_device);
		assert_match(f, 0, cases[i].expected);
		assert_match(f, 1, "");
		assert_int_equal(assignments_remove(f->table, &assignment), 0);
	}
	/* the former name of another one is nothing; two names of one place are one place */
	(void)strcpy(f->source.devices[0].path, "A");
	(void)strcpy(f->source.devices[1].path, "B");
	(void)strcpy(one.port, "1-3");
	assert_int_equal(assignments_add(f->table, &one), 0);
	assert_match(f, 0, "=work");
	assert_match(f, 1, "");
	assert_int_equal(assignments_add(f->table, &another), 0);
	assert_match(f, 0, "?personal work");
	/* one target is offered once: as the one who knows the path says */
	assert_int_equal(assignments_remove(f->table, &another), 0);
	another = make("work", "1-2", "", CORE_ASSIGN_ASK);
	assert_int_equal(assignments_add(f->table, &another), 0);
	assert_match(f, 0, "=work");
}

/* What is the same, what a user means who names a port, and what takes the place of another. */
static void test_places(void **state)
{
	struct fixture *f = *state;
	const struct core_assignment a = make_at("work", "1-2", "A", ""), b = make_at("work", "1-2", "B", ""),
				     renamed = make_at("work", "2-2", "A", ""),
				     nameless = make_at("work", "1-2", "", ""), absent = make_at("work", "5-5", "", ""),
				     with_id = make_at("work", "1-2", "A", ID);
	const struct core_assignment *found;

	assert_int_equal(assignment_compare(&a, &renamed), 0);
	assert_true(assignment_compare(&a, &b) < 0 && assignment_compare(&b, &a) > 0);
	assert_true(assignment_compare(&nameless, &a) < 0 && assignment_compare(&a, &nameless) > 0);
	assert_null(assignments_find_named(f->table, &a));
	assert_int_equal(assignments_add(f->table, &a), 0);
	assert_int_equal(assignments_add(f->table, &renamed), CORE_ASSIGN_DUPLICATE);
	assert_int_equal(assignments_add(f->table, &with_id), 0);
	assert_ptr_equal(assignments_find_named(f->table, &renamed), assignments_find(f->table, &a));
	assert_ptr_equal(assignments_find_named(f->table, &nameless), assignments_find(f->table, &a));
	assert_null(assignments_find_named(f->table, &b));
	assert_null(assignments_find_named(f->table, &absent));
	assert_int_equal(assignments_add(f->table, &b), 0);
	assert_int_equal(assignments_add(f->table, &nameless), 0);

	assert_int_equal(assignments_replace(f->table, &absent, &a), CORE_ASSIGN_UNKNOWN);
	assert_int_equal(assignments_replace(f->table, &a, &renamed), 0);
	found = assignments_find(f->table, &a);
	assert_non_null(found);
	assert_string_equal(found->port, "2-2");
	assert_int_equal(assignments_replace(f->table, &nameless, &a), 0); /* there is one: it stays as it is */
	assert_null(assignments_find(f->table, &nameless));
	assert_string_equal(assignments_find(f->table, &a)->port, "2-2");
	assert_int_equal(assignments_replace(f->table, found, found), 0); /* its own memory */
	assert_int_equal(assignments_of_source(f->table, "sys-usb"), 3);
}

static void test_full(void **state)
{
	struct fixture *f = *state;
	struct core_assignment assignment = make("work", "", "", CORE_ASSIGN_AUTO);

	for (unsigned int i = 0; i < LIMIT_ASSIGNMENTS; i++) {
		(void)snprintf(assignment.port, sizeof(assignment.port), "1-%u", (i * 7919) % LIMIT_ASSIGNMENTS + 1);
		assert_int_equal(assignments_add(f->table, &assignment), 0);
	}
	(void)snprintf(assignment.port, sizeof(assignment.port), "2-1");
	assert_int_equal(assignments_add(f->table, &assignment), CORE_ASSIGN_FULL);
	assert_match(f, 0, "=work");
	(void)snprintf(assignment.port, sizeof(assignment.port), "1-2");
	assert_int_equal(assignments_add(f->table, &assignment), CORE_ASSIGN_DUPLICATE);
	assert_int_equal(assignments_remove(f->table, &assignment), 0);
	assert_match(f, 0, "");
	for (unsigned int i = 0; i < LIMIT_ASSIGNMENTS; i++) {
		(void)snprintf(assignment.port, sizeof(assignment.port), "1-%u", i + 1);
		assert_int_equal(assignments_remove(f->table, &assignment), i == 1 ? CORE_ASSIGN_UNKNOWN : 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_each_pair),
		TEST(test_pairs_of_one_target),
		TEST(test_what_does_not_fit),
		TEST(test_unknown_interfaces),
		TEST(test_only_running_targets),
		TEST(test_twins),
		TEST(test_pretender),
		TEST(test_any_device),
		TEST(test_many_targets),
		TEST(test_unfit),
		TEST(test_identity),
		TEST(test_paths),
		TEST(test_places),
		TEST(test_full),
	};

	return cmocka_run_group_tests_name("assignments", tests, NULL, NULL);
}
