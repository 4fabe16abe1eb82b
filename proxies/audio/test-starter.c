/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the exporter is told what. */
#include "tests/unit.h"

#include "lib/base/base.h"
#include "proxies/audio/starter.h"

#define MSEC USEC_PER_MSEC
#define BEGIN_USEC (1000 * MSEC)

static void test_words(void **unused _unused_)
{
	struct starter core = {.wanted = false};
	uint8_t word[AUDIO_WORD];

	assert_false(starter_tell(&core, BEGIN_USEC, word));
	core.wanted = true;
	assert_true(starter_tell(&core, BEGIN_USEC, word)); /* the first is told at once */
	assert_true(word[0] == AUDIO_START && get_le32(word + 4) == 1 && core.told);
	assert_false(starter_tell(&core, BEGIN_USEC, word)); /* it knows */
	core.wanted = false;
	assert_true(starter_tell(&core, BEGIN_USEC, word));
	assert_true(word[0] == AUDIO_STOP && get_le32(word + 4) == 1 && !core.told);
	core.wanted = true;
	assert_false(starter_tell(&core, BEGIN_USEC + AUDIO_REST_USEC - 1, word));
	core.wanted = false; /* it was too short: nobody hears of it */
	assert_false(starter_tell(&core, BEGIN_USEC + AUDIO_REST_USEC, word));
	core.wanted = true;
	assert_true(starter_tell(&core, BEGIN_USEC + AUDIO_REST_USEC, word));
	assert_true(word[0] == AUDIO_START && get_le32(word + 4) == 2);
	/* off and on again before anybody was told: it goes on */
	core.wanted = false;
	core.wanted = true;
	assert_false(starter_tell(&core, BEGIN_USEC + USEC_PER_SEC, word));
}

/* A program that begins and ends without end: ten STARTs a second, each when its time has come, and STOP at once. */
static void test_rest(void **unused _unused_)
{
	struct starter core = {.wanted = false};
	unsigned int n_starts = 0;
	uint8_t word[AUDIO_WORD];

	for (unsigned int msec = 0; msec < 1000; msec++) {
		uint64_t now = BEGIN_USEC + msec * MSEC;

		core.wanted = true;
		if (starter_tell(&core, now, word)) {
			n_starts++;
			assert_int_equal(word[0], AUDIO_START);
			assert_true(starter_deadline(&core, now) == UINT64_MAX);
		} else {
			assert_true(starter_deadline(&core, now) == BEGIN_USEC + n_starts * AUDIO_REST_USEC);
		}
		core.wanted = false;
		assert_true(starter_deadline(&core, now) == UINT64_MAX);
		if (starter_tell(&core, now, word))
			assert_int_equal(word[0], AUDIO_STOP);
		assert_false(core.told);
	}
	assert_int_equal(n_starts, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_rest)};

	return cmocka_run_group_tests_name("audio-starter", tests, NULL, NULL);
}
