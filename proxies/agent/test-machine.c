/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of a session's life: properties over all (state, event) pairs, then the ways that matter, as scripts.
 */
#include <stdbool.h>

#include "tests/unit.h"
#include "lib/base/base.h"
#include "proxies/agent/machine.h"

static bool has_proxy(enum session_state state)
{
	return state != SESSION_FREEING && state != SESSION_OVER;
}

/* PD01: whatever comes, a session only ends reaped, freed and reported, in this order, and each once. */
static void test_all_pairs(_unused_ void **state)
{
	for (unsigned int s = 0; s < SESSION_STATE_COUNT; s++) {
		for (unsigned int e = 0; e < SESSION_EVENT_COUNT; e++) {
			struct session_step step = session_step((enum session_state)s, (enum session_event)e);

			assert_true(step.next < SESSION_STATE_COUNT);
			assert_true(step.next >= s); /* no way back */
			if (e == SESSION_EXITED && has_proxy((enum session_state)s))
				assert_true(step.next == SESSION_FREEING && step.action == SESSION_DO_FREE);
			else
				assert_true(step.action != SESSION_DO_FREE);
			assert_int_equal(step.action == SESSION_DO_REPORT, s == SESSION_FREEING && e == SESSION_FREED);
			assert_int_equal(step.next == SESSION_OVER,
					 s == SESSION_OVER || step.action == SESSION_DO_REPORT);
			if (step.action == SESSION_DO_ANSWER)
				assert_true(step.next == SESSION_RUNNING && s < SESSION_RUNNING);
			if (step.action == SESSION_DO_ATTACH)
				assert_true(s == SESSION_CONNECTING && e == SESSION_SAID_READY);
			if (s == SESSION_OVER || (s == SESSION_FREEING && e != SESSION_FREED))
				assert_true(step.next == s && step.action == SESSION_DO_NOTHING);
			/* A state is left only with something that ends the next one in bounded time. */
			if (step.next == SESSION_STOPPING && s != SESSION_STOPPING)
				assert_true(step.action == SESSION_DO_ASK || step.action == SESSION_DO_AWAIT ||
					    step.action == SESSION_DO_KILL);
		}
		assert_non_null(session_state_name((enum session_state)s));
	}
}

struct script {
	const char *name;
	enum session_state from;
	enum session_event events[6];
	size_t n_events;
	enum session_state to;
	enum session_action last;
};

static void test_scripts(_unused_ void **state)
{
	static const struct script scripts[] = {
		{"export runs",
		 SESSION_LISTENING,
		 {SESSION_SAID_LISTENING, SESSION_SAID_READY},
		 2,
		 SESSION_RUNNING,
		 SESSION_DO_NOTHING},
		{"import runs",
		 SESSION_CONNECTING,
		 {SESSION_SAID_READY, SESSION_ENUMERATED},
		 2,
		 SESSION_RUNNING,
		 SESSION_DO_ANSWER},
		{"stop", SESSION_RUNNING, {SESSION_STOP}, 1, SESSION_STOPPING, SESSION_DO_ASK},
		{"second stop", SESSION_RUNNING, {SESSION_STOP, SESSION_STOP}, 2, SESSION_STOPPING, SESSION_DO_NOTHING},
		{"stop, deaf proxy",
		 SESSION_RUNNING,
		 {SESSION_STOP, SESSION_TIMEOUT},
		 2,
		 SESSION_STOPPING,
		 SESSION_DO_KILL},
		{"stop, late word, end",
		 SESSION_LISTENING,
		 {SESSION_STOP, SESSION_SAID_LISTENING, SESSION_SAID_ENDED, SESSION_HUNG_UP, SESSION_EXITED,
		  SESSION_FREED},
		 6,
		 SESSION_OVER,
		 SESSION_DO_REPORT},
		{"stop while freeing",
		 SESSION_RUNNING,
		 {SESSION_EXITED, SESSION_STOP, SESSION_FREED},
		 3,
		 SESSION_OVER,
		 SESSION_DO_REPORT},
		{"attach times out",
		 SESSION_CONNECTING,
		 {SESSION_SAID_READY, SESSION_TIMEOUT},
		 2,
		 SESSION_STOPPING,
		 SESSION_DO_ASK},
		{"attach refused",
		 SESSION_CONNECTING,
		 {SESSION_SAID_READY, SESSION_PORT_LOST},
		 2,
		 SESSION_STOPPING,
		 SESSION_DO_ASK},
		{"proxy dies while attaching",
		 SESSION_CONNECTING,
		 {SESSION_SAID_READY, SESSION_EXITED},
		 2,
		 SESSION_FREEING,
		 SESSION_DO_FREE},
		{"ready twice before the attach",
		 SESSION_CONNECTING,
		 {SESSION_SAID_READY, SESSION_SAID_READY},
		 2,
		 SESSION_STOPPING,
		 SESSION_DO_KILL},
		{"an importer that listens",
		 SESSION_CONNECTING,
		 {SESSION_SAID_LISTENING},
		 1,
		 SESSION_STOPPING,
		 SESSION_DO_KILL},
		{"an exporter that is ready unasked",
		 SESSION_LISTENING,
		 {SESSION_SAID_READY},
		 1,
		 SESSION_STOPPING,
		 SESSION_DO_KILL},
		{"nonsense", SESSION_RUNNING, {SESSION_SAID_NONSENSE}, 1, SESSION_STOPPING, SESSION_DO_KILL},
		{"hangs up, does not exit",
		 SESSION_RUNNING,
		 {SESSION_HUNG_UP, SESSION_TIMEOUT},
		 2,
		 SESSION_STOPPING,
		 SESSION_DO_KILL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		struct session_step step = {scripts[i].from, SESSION_DO_NOTHING};

		for (size_t j = 0; j < scripts[i].n_events; j++)
			step = session_step(step.next, scripts[i].events[j]);
		if (step.next != scripts[i].to || step.action != scripts[i].last)
			fail_msg("%s: %s, action %u", scripts[i].name, session_state_name(step.next), step.action);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_pairs),
		cmocka_unit_test(test_scripts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
