/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a session ends for the other side: a cut must not look like an orderly end of stream, whose outcome is "done". */
#include "tests/scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/proxy/report.h"
#include "lib/proxy/session.h"

#define WAIT_USEC (5 * USEC_PER_SEC)

static const struct end {
	enum outcome outcome;
	enum channel_state peer_sees;
} ends[] = {
	{OUTCOME_OK, CHANNEL_ENDED},          {OUTCOME_STOPPED, CHANNEL_ENDED}, {OUTCOME_UNPLUGGED, CHANNEL_ENDED},
	{OUTCOME_PEER_CHEATED, CHANNEL_DEAD}, {OUTCOME_CHANGED, CHANNEL_DEAD},  {OUTCOME_TIMED_OUT, CHANNEL_DEAD},
};

/* fd PROXY_FD_REPORT becomes one end; returns the other. */
static int report_pair(void)
{
	int pair[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	if (pair[0] == PROXY_FD_REPORT)
		return pair[1];
	if (pair[1] == PROXY_FD_REPORT)
		return pair[0];
	assert_return_code(dup2(pair[0], PROXY_FD_REPORT), 0);
	assert_return_code(close(pair[0]), 0);
	return pair[1];
}

static int set_up(void *userdata _unused_)
{
	return 0;
}

static enum outcome greet(void *userdata)
{
	const struct end *end = userdata;

	return end->outcome;
}

static void test_what_the_other_side_sees(void **state)
{
	static const struct session_steps steps = {.set_up = set_up, .greet = greet};
	static const struct channel_rings rings = {.read = RING_CONTROL, .write = RING_CONTROL};
	int report_fd = report_pair();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		char directory[32];
		struct channel_address address = {.server_domid = 1, .client_domid = 2};
		struct channel_backend *backend = NULL;
		struct channel *server = NULL;
		struct session session = {0};
		struct proxy_report report;
		uint8_t byte;

		scratch_make("end", directory, sizeof(directory));
		(void)snprintf(address.service, sizeof(address.service), "qdb/%zx", i + 1);
		assert_int_equal(channel_backend_new_socket(directory, &backend), 0);
		assert_int_equal(channel_listen(backend, &address, &rings, &server), 0);
		assert_int_equal(channel_connect_wait(backend, &address, &rings, WAIT_USEC, &session.channel), 0);
		while (channel_state(server) == CHANNEL_WAITING)
			assert_int_equal(channel_wait(server, false, WAIT_USEC), 0);
		assert_int_equal(session_run(&session, &steps, (void *)(uintptr_t)&ends[i]), EXIT_SUCCESS);
		assert_int_equal(proxy_report_receive(report_fd, &report), 0);
		assert_int_equal(report.type, PROXY_ENDED);
		assert_int_equal(report.outcome, ends[i].outcome);
		while (channel_read(server, &byte, 1) == 0 && channel_state(server) == CHANNEL_OPEN)
			assert_int_equal(channel_wait(server, false, WAIT_USEC), 0);
		assert_int_equal(channel_state(server), ends[i].peer_sees);
		server = channel_free(server);
		backend = channel_backend_free(backend);
		scratch_remove(directory);
	}
	assert_return_code(close(report_fd), 0);
}

static struct proxy_report expect_stream(int report_fd)
{
	struct proxy_report report;

	assert_int_equal(proxy_report_receive(report_fd, &report), 0);
	assert_int_equal(report.type, PROXY_STREAM);
	return report;
}

static void expect_nothing(int report_fd)
{
	struct proxy_report report;

	assert_int_equal(proxy_report_receive(report_fd, &report), 1);
}

/* What changes is told at once if nothing was told lately, else when it may be; what does not is not told and wakes nobody. */
static void test_telling(void **state)
{
	struct session session = {0};
	int report_fd = report_pair();
	struct proxy_report report;
	struct pollfd fds[2];
	uint64_t told, since;

	(void)state;
	session_tell(&session, false);
	expect_nothing(report_fd);
	since = clock_monotonic_usec();
	assert_int_equal(session_wait(&session, fds, 0, false, false, since + 300 * USEC_PER_MSEC), 0);
	assert_true(clock_monotonic_usec() - since >= 300 * USEC_PER_MSEC); /* for there is no news */

	session.bytes_to_target = 5;
	told = clock_monotonic_usec();
	session_tell(&session, true);
	report = expect_stream(report_fd);
	assert_int_equal(report.bytes_to_target, 5);
	assert_int_equal(report.bytes_from_target, 0);
	assert_int_equal(report.in_use, 1);
	session_tell(&session, true);
	session.bytes_from_target = 7;
	for (unsigned int i = 0; i < 3; i++)
		session_tell(&session, true);
	expect_nothing(report_fd);
	assert_int_equal(session_wait(&session, fds, 0, false, false, UINT64_MAX), 0); /* for ever, but for the news */
	assert_true(clock_monotonic_usec() - told >= STREAM_INTERVAL_USEC);
	session.bytes_from_target = 8;
	session_tell(&session, true);
	report = expect_stream(report_fd);
	assert_int_equal(report.bytes_to_target, 5);
	assert_int_equal(report.bytes_from_target, 8);

	session_tell(&session, false); /* that it is idle is news, too */
	expect_nothing(report_fd);
	assert_int_equal(session_wait(&session, fds, 0, false, false, UINT64_MAX), 0);
	session_tell(&session, false);
	assert_int_equal(expect_stream(report_fd).in_use, 0);
	expect_nothing(report_fd);

	/* an agent that does not read hears the last state when it does */
	for (unsigned int i = 0; i < 3; i++) {
		session.told.usec = 1;
		session.bytes_to_target++;
		session_tell(&session, false);
	}
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(expect_stream(report_fd).bytes_to_target, 6 + i);
	assert_return_code(close(report_fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_other_side_sees),
		cmocka_unit_test(test_telling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
