/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's word, whoever hears it first. */
#include "tests/unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/proxy/session.h"

/* Our end of the pair whose other is PROXY_FD_REPORT. */
static int agent = -1;

static int setup(void **unused _unused_)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	agent = fcntl(pair[0], F_DUPFD_CLOEXEC, 20);
	if (pair[1] != PROXY_FD_REPORT && dup2(pair[1], PROXY_FD_REPORT) < 0)
		return -1;
	return agent < 0 ? -1 : 0;
}

static void say(char word)
{
	assert_int_equal(send(agent, &word, 1, 0), 1);
}

/* A STOP that a loop has heard wakes no wait any more: that wait must not last. */
static void test_heard_before_the_wait(void **unused _unused_)
{
	struct session session = {.stopped = false};
	struct pollfd fds[2];
	uint64_t begun = clock_monotonic_usec();

	assert_int_equal(session_wait(&session, fds, 0, false, false, begun + 50 * USEC_PER_MSEC), 0);
	assert_true(clock_monotonic_usec() >= begun + 50 * USEC_PER_MSEC && !session.stopped);
	say(PROXY_STOP);
	assert_true(session_is_stopped(&session));
	begun = clock_monotonic_usec();
	assert_int_equal(session_wait(&session, fds, 0, false, false, begun + 5 * USEC_PER_SEC), 0);
	assert_true(clock_monotonic_usec() < begun + 2 * USEC_PER_SEC);
}

static void test_was_stopped(void **unused _unused_)
{
	struct session session = {.stopped = false};
	uint64_t begun;

	assert_false(session_was_stopped(&session));
	begun = session.listened_usec;
	say(PROXY_MUTE);
	say(PROXY_STOP);
	while (!session_was_stopped(&session)) /* each time one word, and no more often than once a millisecond */
		assert_true(clock_monotonic_usec() < begun + 5 * USEC_PER_SEC);
	assert_true(session.muted && session.listened_usec >= begun + 2 * USEC_PER_MSEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_heard_before_the_wait),
					   cmocka_unit_test(test_was_stopped)};

	return cmocka_run_group_tests_name("session", tests, setup, NULL);
}
