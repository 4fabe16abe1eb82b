/* SPDX-License-Identifier: GPL-2.0-or-later */
/* So many at once, so many a second, whatever the clock does. */
#include "lib/base/rate.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "tests/unit.h"

static void test_rate(_unused_ void **state)
{
	struct rate rate;
	uint64_t now = 1000;
	unsigned int n = 0;

	rate_init(&rate, 50, 100, now);
	assert_true(rate_take(&rate, 100, now));
	assert_false(rate_take(&rate, 1, now));
	assert_false(rate_take(&rate, 1, now - 500)); /* a clock that went back */
	assert_false(rate_take(&rate, 1, now + 19 * USEC_PER_MSEC));
	assert_true(rate_take(&rate, 1, now + 20 * USEC_PER_MSEC));
	/* TO08: after any time there is one burst, not more */
	now = UINT64_MAX / 2;
	assert_true(rate_take(&rate, 100, now));
	assert_false(rate_take(&rate, 1, now));
	/* HP14: asked every millisecond for ten seconds */
	for (unsigned int ms = 0; ms < 10000; ms++)
		n += rate_take(&rate, 1, now + ms * USEC_PER_MSEC);
	assert_in_range(n, 495, 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate),
	};

	return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
