/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of a session's life. What is not in it does nothing: late words of a proxy that is being stopped, a second
 * STOP, a timer that had been due already.
 */
#include "lib/base/base.h"
#include "proxies/agent/machine.h"

#define STEP(next_state, what)                                                  \
	{                                                                       \
		.known = 1, .step = { SESSION_##next_state, SESSION_DO_##what } \
	}

/* The ways out that all states with a living proxy share. */
#define WAYS_OUT                                                                                      \
	[SESSION_SAID_ENDED] = STEP(STOPPING, AWAIT), [SESSION_SAID_NONSENSE] = STEP(STOPPING, KILL), \
	[SESSION_HUNG_UP] = STEP(STOPPING, AWAIT), [SESSION_EXITED] = STEP(FREEING, FREE),            \
	[SESSION_STOP] = STEP(STOPPING, ASK), [SESSION_TIMEOUT] = STEP(STOPPING, ASK)

static const struct {
	int known;
	struct session_step step;
} steps[SESSION_STATE_COUNT][SESSION_EVENT_COUNT] = {
	[SESSION_LISTENING] =
		{
			WAYS_OUT,
			[SESSION_SAID_LISTENING] = STEP(RUNNING, ANSWER),
			[SESSION_SAID_READY] = STEP(STOPPING, KILL),
		},
	[SESSION_CONNECTING] =
		{
			WAYS_OUT,
			[SESSION_SAID_LISTENING] = STEP(STOPPING, KILL),
			[SESSION_SAID_READY] = STEP(ATTACHING, ATTACH),
		},
	[SESSION_ATTACHING] =
		{
			WAYS_OUT,
			[SESSION_SAID_LISTENING] = STEP(STOPPING, KILL),
			[SESSION_SAID_READY] = STEP(STOPPING, KILL),
			[SESSION_ENUMERATED] = STEP(RUNNING, ANSWER),
			[SESSION_PORT_LOST] = STEP(STOPPING, ASK),
		},
	[SESSION_RUNNING] =
		{
			WAYS_OUT, [SESSION_SAID_LISTENING] = STEP(STOPPING, KILL),
			[SESSION_SAID_READY] = STEP(RUNNING, NOTHING), /* an exporter's: its importer came */
		},
	[SESSION_STOPPING] =
		{
			[SESSION_SAID_NONSENSE] = STEP(STOPPING, KILL),
			[SESSION_TIMEOUT] = STEP(STOPPING, KILL),
			[SESSION_EXITED] = STEP(FREEING, FREE),
		},
	[SESSION_FREEING] =
		{
			[SESSION_FREED] = STEP(OVER, REPORT),
		},
};

struct session_step session_step(enum session_state state, enum session_event event)
{
	if (!steps[state][event].known)
		return (struct session_step){state, SESSION_DO_NOTHING};
	return steps[state][event].step;
}

const char *session_state_name(enum session_state state)
{
	static const char *const names[SESSION_STATE_COUNT] = {
		[SESSION_LISTENING] = "listening", [SESSION_CONNECTING] = "connecting",
		[SESSION_ATTACHING] = "attaching", [SESSION_RUNNING] = "running",
		[SESSION_STOPPING] = "stopping",   [SESSION_FREEING] = "freeing",
		[SESSION_OVER] = "over",
	};

	return names[state];
}
