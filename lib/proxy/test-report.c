// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reports from a proxy that has been taken over: each wrong byte, each length, passed descriptors, an early end.
 */
#include "tests/unit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/proxy/report.h"
#include "lib/wire/messages.h"

static int pair[2];

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int teardown(void **state)
{
	(void)state;
	(void)close(pair[0]);
	(void)close(pair[1]);
	return 0;
}

static const struct {
	const char *name;
	struct proxy_report report;
	bool valid;
} cases[] = {
	{"listening", {.type = PROXY_LISTENING}, true},
	{"ready, export", {.type = PROXY_READY}, true},
	{"ready, import", {.type = PROXY_READY, .speed = WIRE_SPEED_SUPER, .devid = 0x10002}, true},
	{"ended", {.type = PROXY_ENDED, .bytes_to_target = UINT64_MAX, .bytes_from_target = 1}, true},
	{"ended, last outcome", {.type = PROXY_ENDED, .outcome = OUTCOME_LAST}, true},
	{"a stream, idle", {.type = PROXY_STREAM}, true},
	{"a stream", {.type = PROXY_STREAM, .in_use = 1, .bytes_to_target = UINT64_MAX, .bytes_from_target = 1}, true},
	{"type 0", {.type = 0}, false},
	{"type 5", {.type = 5}, false},
	{"type 255", {.type = 255}, false},
	{"an outcome of the broker's own", {.type = PROXY_ENDED, .outcome = OUTCOME_LAST + 1}, false},
	{"outcome out of range", {.type = PROXY_ENDED, .outcome = OUTCOME_COUNT}, false},
	{"outcome before the end", {.type = PROXY_READY, .outcome = OUTCOME_NO_DEVICE}, false},
	{"bytes before the end", {.type = PROXY_LISTENING, .bytes_to_target = 1}, false},
	{"bytes before the end", {.type = PROXY_READY, .bytes_from_target = 1}, false},
	{"speed out of range", {.type = PROXY_READY, .speed = WIRE_SPEED_SUPER_PLUS + 1, .devid = 1}, false},
	{"speed too early", {.type = PROXY_LISTENING, .speed = WIRE_SPEED_HIGH}, false},
	{"devid without speed", {.type = PROXY_READY, .devid = 1}, false},
	{"devid at the end", {.type = PROXY_ENDED, .devid = 1}, false},
	{"in use twice", {.type = PROXY_STREAM, .in_use = 2}, false},
	{"in use too early", {.type = PROXY_LISTENING, .in_use = 1}, false},
	{"in use at the end", {.type = PROXY_ENDED, .in_use = 1}, false},
	{"an outcome of a stream that runs", {.type = PROXY_STREAM, .outcome = OUTCOME_UNPLUGGED}, false},
	{"speed of a stream", {.type = PROXY_STREAM, .speed = WIRE_SPEED_HIGH, .devid = 1}, false},
};

static void test_contents(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct proxy_report report = {.type = 77};
		int r;

		assert_int_equal(proxy_report_send(pair[0], &cases[i].report), 0);
		r = proxy_report_receive(pair[1], &report);
		if (r != (cases[i].valid ? 0 : -EPROTO))
			fail_msg("%s: %d", cases[i].name, r);
		assert_int_equal(report.type, cases[i].valid ? cases[i].report.type : 77);
		if (cases[i].valid)
			assert_memory_equal(&report, &cases[i].report, sizeof(report));
		assert_int_equal(proxy_report_receive(pair[1], &report), 1);
	}
}

static void test_lengths(void **state)
{
	const uint8_t bytes[4096] = {PROXY_LISTENING};
	struct proxy_report report;

	(void)state;
	for (size_t len = 1; len < 100; len++) {
		assert_int_equal(send(pair[0], bytes, len, 0), len);
		assert_int_equal(proxy_report_receive(pair[1], &report), len == sizeof(report) ? 0 : -EPROTO);
	}
	assert_int_equal(send(pair[0], bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(proxy_report_receive(pair[1], &report), -EPROTO);
	assert_int_equal(proxy_report_receive(pair[1], &report), 1);
}

static void test_passed_fd(void **state)
{
	struct proxy_report report = {.type = PROXY_LISTENING};
	struct iovec iov = {&report, sizeof(report)};
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int before = dup(0), after;

	(void)state;
	memcpy(CMSG_DATA(&control.header), &(int){0}, sizeof(int));
	(void)close(before);
	assert_int_equal(sendmsg(pair[0], &message, 0), sizeof(report));
	assert_int_equal(proxy_report_receive(pair[1], &report), 0);
	after = dup(0);
	(void)close(after);
	assert_int_equal(after, before);
}

static void test_end(void **state)
{
	struct proxy_report report = {.type = PROXY_LISTENING};

	(void)state;
	assert_int_equal(proxy_report_send(pair[0], &report), 0);
	(void)close(pair[0]);
	assert_int_equal(proxy_report_receive(pair[1], &report), 0);
	assert_int_equal(proxy_report_receive(pair[1], &report), -EPIPE);
	assert_int_equal(proxy_report_send(pair[1], &report), -EPIPE);
	pair[0] = dup(pair[1]);
}

/* An agent that does not read costs the proxy no time. */
static void test_full(void **state)
{
	const struct proxy_report report = {.type = PROXY_LISTENING};
	int r = 0;

	(void)state;
	for (int i = 0; i < 100000 && r == 0; i++)
		r = proxy_report_send(pair[0], &report);
	assert_int_equal(r, -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_contents, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passed_fd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
