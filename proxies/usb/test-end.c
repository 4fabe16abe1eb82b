/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a session ends for the other side: a cut must not look like an orderly end of stream, whose outcome is "done". */
#include "tests/scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/proxy/report.h"
#include "proxies/usb/session.h"

#define WAIT_USEC (5 * USEC_PER_SEC)

static const struct {
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

static void test_what_the_other_side_sees(void **state)
{
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
		session_end(&session, ends[i].outcome);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_other_side_sees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
