/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the exporter is told what. */
#include "tests/unit.h"

#include "lib/base/base.h"
#include "lib/media/starter.h"

#define MSEC USEC_PER_MSEC
#define BEGIN_USEC (1000 * MSEC)

static void test_words(void **unused _unused_)
{
	struct starter core = {.wanted = false};

	assert_false(starter_tell(&core, BEGIN_USEC));
	core.wanted = true;
	assert_true(starter_tell(&core, BEGIN_USEC)); /* the first is told at once */
	assert_true(core.told && core.run == 1);
	assert_false(starter_tell(&core, BEGIN_USEC)); /* it knows */
	core.wanted = false;
	assert_true(starter_tell(&core, BEGIN_USEC));
	assert_true(!core.told && core.run == 1);
	core.wanted = true;
	assert_false(starter_tell(&core, BEGIN_USEC + MEDIA_REST_USEC - 1));
	core.wanted = false; /* it was too short: nobody hears of it */
	assert_false(starter_tell(&core, BEGIN_USEC + MEDIA_REST_USEC));
	core.wanted = true;
	assert_true(starter_tell(&core, BEGIN_USEC + MEDIA_REST_USEC));
	assert_true(core.told && core.run == 2);
	/* off and on again before anybody was told: it goes on */
	core.wanted = false;
	core.wanted = true;
	assert_false(starter_tell(&core, BEGIN_USEC + USEC_PER_SEC));
}

/* A program that begins and ends without end: ten STARTs a second, each when its time has come, and STOP at once. */
static void test_rest(void **unused _unused_)
{
	struct starter core = {.wanted = false};
	unsigned int n_starts = 0;

	for (unsigned int msec = 0; msec < 1000; msec++) {
		uint64_t now = BEGIN_USEC + msec * MSEC;

		core.wanted = true;
		if (starter_tell(&core, now)) {
			n_starts++;
			assert_true(core.told && core.run == n_starts);
			assert_true(starter_deadline(&core, now) == UINT64_MAX);
		} else {
			assert_true(starter_deadline(&core, now) == BEGIN_USEC + n_starts * MEDIA_REST_USEC);
		}
		core.wanted = false;
		assert_true(starter_deadline(&core, now) == UINT64_MAX);
		(void)starter_tell(&core, now); /* of its end at once, if it was told of at all */
		assert_false(core.told);
	}
	assert_int_equal(n_starts, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_rest)};

	return cmocka_run_group_tests_name("media-starter", tests, NULL, NULL);
}
