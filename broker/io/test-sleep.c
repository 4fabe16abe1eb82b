/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What two clocks say about a sleep, and a machine without a system bus. */
#include "tests/unit.h"

#include <stdlib.h>

#include "broker/io/sleep.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"

static void test_clocks(void **unused _unused_)
{
	static const struct {
		uint64_t boottime, monotonic;
		bool passed;
	} rows[] = {
		{100 * USEC_PER_SEC, 100 * USEC_PER_SEC, false},
		{200 * USEC_PER_SEC, 200 * USEC_PER_SEC, false}, /* time passed, nobody slept */
		{202 * USEC_PER_SEC, 200 * USEC_PER_SEC, false}, /* just not enough */
		{205 * USEC_PER_SEC, 201 * USEC_PER_SEC, false}, /* again; the sum does not count */
		{215 * USEC_PER_SEC, 202 * USEC_PER_SEC, true},
		{216 * USEC_PER_SEC, 203 * USEC_PER_SEC, false}, /* told once */
		{9000 * USEC_PER_SEC, 204 * USEC_PER_SEC, true},
		{8000 * USEC_PER_SEC, 9000 * USEC_PER_SEC, false}, /* nonsense */
	};
	uint64_t slept = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (sleep_passed(&slept, rows[i].boottime, rows[i].monotonic) != rows[i].passed)
			fail_msg("row %zu", i);
}

static void on_event(void *userdata)
{
	(*(unsigned int *)userdata)++;
}

/* No bus: no error, and nobody slept. */
static void test_without_bus(void **unused _unused_)
{
	static const struct sleep_hooks hooks = {.prepare = on_event, .woke = on_event};
	struct sleep_watch *watch = NULL;
	sd_event *event = NULL;
	unsigned int n = 0;

	assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1), 0);
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(sleep_new(event, &hooks, &n, &watch), 0);
	sleep_look(watch);
	sleep_ready(watch);
	assert_int_equal(n, 0);
	watch = sleep_free(watch);
	sd_event_unref(event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_without_bus),
	};

	return cmocka_run_group_tests_name("sleep", tests, NULL, NULL);
}
