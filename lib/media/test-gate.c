/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an importer may say when. */
#include "tests/unit.h"

#include <errno.h>

#include "lib/base/base.h"
#include "lib/media/gate.h"

static struct gate made(uint64_t now_usec)
{
	struct gate core;

	gate_init(&core, now_usec);
	return core;
}

/* One of the importer's words. */
enum word { GO, START, STOP };

static int say(struct gate *core, enum word word, uint32_t run, uint64_t now_usec)
{
	switch (word) {
	case GO:
		return gate_go(core);
	case START:
		return gate_start(core, run, now_usec);
	case STOP:
		return gate_stop(core, run);
	}
	return -EINVAL;
}

static void test_words(void **unused _unused_)
{
	static const struct {
		struct {
			enum word type;
			uint32_t run;
		} words[5];
		size_t n;
		int last;
		bool open;
	} rows[] = {
		{{{GO, 0}}, 1, 0, false},
		{{{GO, 0}, {START, 1}}, 2, 0, true},
		{{{GO, 0}, {START, 1}, {STOP, 1}}, 3, 0, false},
		{{{GO, 0}, {START, 1}, {STOP, 1}, {START, 2}}, 4, 0, true},
		{{{START, 1}}, 1, -EPROTO, false}, /* AU01 */
		{{{STOP, 1}}, 1, -EPROTO, false},
		{{{GO, 0}, {GO, 0}}, 2, -EPROTO, false},
		{{{GO, 0}, {STOP, 1}}, 2, -EPROTO, false},
		{{{GO, 0}, {START, 2}}, 2, -EPROTO, false},
		{{{GO, 0}, {START, 1}, {START, 2}}, 3, -EPROTO, true},
		{{{GO, 0}, {START, 1}, {STOP, 2}}, 3, -EPROTO, true},
		{{{GO, 0}, {START, 1}, {STOP, 1}, {STOP, 1}}, 4, -EPROTO, false},
		{{{GO, 0}, {START, 1}, {STOP, 1}, {START, 1}}, 4, -EPROTO, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gate core = made(1000);
		int r = 0;

		for (size_t k = 0; k < rows[i].n; k++) {
			assert_int_equal(r, 0);
			r = say(&core, rows[i].words[k].type, rows[i].words[k].run, 1000 + k * MEDIA_REST_USEC);
		}
		if (r != rows[i].last || gate_is_open(&core) != rows[i].open)
			fail_msg("row %zu: %d", i, r);
	}
}

static void test_mute(void **unused _unused_)
{
	struct gate core = made(1);

	core.muted = true;
	(void)say(&core, GO, 0, 1);
	assert_int_equal(say(&core, START, 1, 1), 0);
	assert_true(core.wanted && !gate_is_open(&core));
	core.muted = false;
	assert_true(gate_is_open(&core));
}

/* START and STOP, `n` times, one each `usec`: how many of them are taken. */
static unsigned int taken(unsigned int n, uint64_t usec)
{
	struct gate core = made(1);

	(void)say(&core, GO, 0, 1);
	for (unsigned int i = 0; i < n; i++) {
		if (say(&core, START, core.run + 1, 1 + i * usec) == -EPROTO)
			return i;
		assert_int_equal(say(&core, STOP, core.run, 1 + i * usec), 0);
	}
	return n;
}

/* The source is not opened and closed without end: some at once, then as often as an honest importer says. */
static void test_restless(void **unused _unused_)
{
	static const struct {
		unsigned int n;
		uint64_t usec;
		unsigned int taken;
	} rows[] = {
		{100, 0, GATE_STARTS_BURST},
		{1000, MEDIA_REST_USEC / 2, 2 * GATE_STARTS_BURST - 1},
		{100000, MEDIA_REST_USEC, 100000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (taken(rows[i].n, rows[i].usec) != rows[i].taken)
			fail_msg("row %zu: %u", i, taken(rows[i].n, rows[i].usec));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_mute),
					   cmocka_unit_test(test_restless)};

	return cmocka_run_group_tests_name("media-gate", tests, NULL, NULL);
}
