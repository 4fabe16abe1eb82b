// SPDX-License-Identifier: GPL-2.0-or-later
/* What facts about domains mean, and which of them are none. */
#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

#include "broker/io/qubes-source.h"
#include "lib/base/base.h"

/* DI04, and every other reading of what somebody wrote. */
static void test_parsing(void **unused _unused_)
{
	static const struct {
		const char *text;
		bool valid;
		uint16_t domid;
	} domids[] = {
		{"0", true, 0},      {"5", true, 5},      {"32751", true, 0x7FEF}, {"32752", false, 0},
		{"32755", false, 0}, {"65536", false, 0}, {"-1", false, 0},        {" 5", false, 0},
		{"05", false, 0},    {"5 ", false, 0},    {"5\n", false, 0},       {"", false, 0},
		{"0x5", false, 0},   {"+5", false, 0},    {"..", false, 0},        {"99999999999999999999", false, 0},
	};
	static const struct {
		const char *text;
		uint32_t port;
	} ports[] = {{"1", 1},          {"4294967295", UINT32_MAX},
		     {"4294967296", 0}, {"0", 0},
		     {"", 0},           {"7x", 0},
		     {"-1", 0},         {"1/../2", 0},
		     {"01", 0},         {"1 ", 0}};
	static const struct {
		const char *text;
		bool valid;
	} uuids[] = {
		{"11111111-2222-3333-4444-5555aAfF5555", true},
		{"11111111-2222-3333-4444-55555555555", false},
		{"11111111-2222-3333-4444-5555555555555", false},
		{"1111111122222-3333-4444-555555555555", false},
		{"11111111-2222-3333-4444-55555555555g", false},
		{"", false},
		{"-", false},
	};
	uint8_t uuid[16];
	uint16_t domid;

	for (size_t i = 0; i < ARRAY_SIZE(domids); i++) {
		assert_int_equal(qubes_parse_domid(domids[i].text, &domid), domids[i].valid);
		if (domids[i].valid)
			assert_int_equal(domid, domids[i].domid);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		assert_int_equal(qubes_parse_port(ports[i].text), ports[i].port);
	for (size_t i = 0; i < ARRAY_SIZE(uuids); i++)
		assert_int_equal(qubes_parse_uuid(uuids[i].text, uuid), uuids[i].valid);
	assert_true(qubes_parse_uuid(uuids[0].text, uuid));
	assert_memory_equal(uuid, "\x11\x11\x11\x11\x22\x22\x33\x33\x44\x44\x55\x55\xaa\xff\x55\x55", 16);
}

struct told {
	char text[256]; /* "+5 " started, "-1 " gone (by index), "5:7 " port */
	uint32_t n_started;
	bool full;
};

static void tell(struct told *told, const char *format, unsigned int a, unsigned int b)
{
	size_t len = strlen(told->text);

	/* the formats are the three below */
	if (format[0] == '+')
		(void)snprintf(told->text + len, sizeof(told->text) - len, "+%u ", a);
	else if (format[0] == '-')
		(void)snprintf(told->text + len, sizeof(told->text) - len, "-%u ", a);
	else
		(void)snprintf(told->text + len, sizeof(told->text) - len, "%u:%u ", a, b);
}

static int on_started(void *userdata, uint16_t domid, const uint8_t uuid[16] _unused_, const char *name _unused_,
		      const char *start _unused_, struct core_qube_ref *ret_qube)
{
	struct told *told = userdata;

	if (told->full)
		return CORE_EVENT_FULL;
	*ret_qube = (struct core_qube_ref){.index = domid, .incarnation = ++told->n_started};
	tell(told, "+", domid, 0);
	return 0;
}

static void on_gone(void *userdata, struct core_qube_ref qube)
{
	tell(userdata, "-", qube.index, 0);
}

static void on_port(void *userdata, struct core_qube_ref qube, uint32_t port)
{
	tell(userdata, ":", qube.index, port);
}

/* DI01, DI02: another UUID, start or name under one domain id is another qube, and the former goes first. */
static void test_meaning(void **unused _unused_)
{
	static const struct qubes_hooks hooks = {.started = on_started, .gone = on_gone, .port = on_port};
	struct qube_facts facts = {.name = "work", .start = "1", .port = 3};
	struct told told = {.full = false};
	struct qubes *qubes = calloc(1, sizeof(*qubes));

	assert_non_null(qubes);
	qubes_init(qubes, &hooks, &told);
	qubes_observe(qubes, 5, &facts);
	qubes_observe(qubes, 5, &facts);
	assert_string_equal(told.text, "+0 +5 5:3 ");
	told.text[0] = '\0';
	facts.port = 4;
	qubes_observe(qubes, 5, &facts);
	qubes_observe_port(qubes, 5, 0);
	qubes_observe_port(qubes, 6, 9); /* of nobody */
	assert_string_equal(told.text, "5:4 5:0 ");
	told.text[0] = '\0';
	facts.uuid[15] ^= 1;
	qubes_observe(qubes, 5, &facts);
	facts.start[0] = '2';
	qubes_observe(qubes, 5, &facts);
	facts.name[0] = 'W';
	qubes_observe(qubes, 5, &facts);
	qubes_observe(qubes, 5, NULL);
	qubes_observe(qubes, 5, NULL);
	assert_string_equal(told.text, "-5 +5 5:4 -5 +5 5:4 -5 +5 5:4 -5 ");

	told.text[0] = '\0';
	told.full = true;
	qubes_observe(qubes, 5, &facts);
	told.full = false;
	qubes_observe(qubes, 5, &facts); /* offered again */
	qubes_observe(qubes, 6, &facts);
	assert_string_equal(told.text, "+5 5:4 +6 6:4 ");
	told.text[0] = '\0';
	qubes_sweep_begin(qubes);
	qubes_mark_seen(qubes, 6);
	qubes_sweep_end(qubes);
	assert_string_equal(told.text, "-5 "); /* never dom0 */
	free(qubes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parsing), cmocka_unit_test(test_meaning)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
