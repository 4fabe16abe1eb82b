/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole sessions, import_run() and export_run(), each in a process of its own as the agent starts it, with the other qube
 * played by a channel that lies here: what a device qube has to show before an importer says READY.
 */
#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/channel/channel.h"
#include "lib/proxy/report.h"
#include "lib/sandbox/sandbox.h"
#include "lib/usbip/snapshot.h"
#include "lib/usbip/test-samples.h"
#include "proxies/usb/session.h"

#define DEVID 7u
#define HIGH_FD 20
#define OUR_END 30 /* the agent's end of the report pair, in the session's own process */

/* The channel --------------------------------------------------------------------------------------------------- */

/* What the other qube says. */
static struct {
	int fd; /* something that poll(2) takes and that is always ready */
	uint8_t hello[SNAPSHOT_PREAMBLE + LIMIT_SNAPSHOT];
	size_t hello_len, hello_at;
} other;

int channel_backend_new_from_text(_unused_ const char *text, struct channel_backend **ret_backend)
{
	*ret_backend = NULL;
	return 0;
}

int channel_connect_wait(_unused_ struct channel_backend *backend, _unused_ const struct channel_address *address,
			 _unused_ uint64_t timeout_usec, struct channel **ret_channel)
{
	*ret_channel = (struct channel *)&other;
	return 0;
}

enum channel_state channel_state(_unused_ const struct channel *channel)
{
	return CHANNEL_OPEN;
}

ssize_t channel_read(_unused_ struct channel *channel, void *buffer, size_t len)
{
	size_t left = other.hello_len - other.hello_at;
	size_t n = len < left ? len : left;

	memcpy(buffer, other.hello + other.hello_at, n);
	other.hello_at += n;
	return (ssize_t)n;
}

ssize_t channel_write(_unused_ struct channel *channel, _unused_ const void *buffer, size_t len)
{
	return (ssize_t)len;
}

int channel_fd(_unused_ const struct channel *channel)
{
	return other.fd;
}

short channel_poll_events(_unused_ const struct channel *channel, _unused_ bool want_write)
{
	return POLLIN;
}

int channel_dispatch(_unused_ struct channel *channel)
{
	return 0;
}

int channel_finish(_unused_ struct channel *channel)
{
	return 0;
}

int channel_wait(_unused_ struct channel *channel, _unused_ bool want_write, _unused_ uint64_t timeout_usec)
{
	return 0;
}

struct channel *channel_free(_unused_ struct channel *channel)
{
	return NULL;
}

int sandbox_enter(_unused_ enum sandbox_profile profile, _unused_ const char *user)
{
	return 0;
}

/* A session ----------------------------------------------------------------------------------------------------- */

static void put_hello(const uint8_t *raw, size_t raw_len, uint8_t speed, const char *serial)
{
	size_t len = usb_snapshot_build(speed, serial, raw, raw_len, other.hello + SNAPSHOT_PREAMBLE);

	assert_true(len > 0);
	put_le32(other.hello, SNAPSHOT_MAGIC);
	put_le16(other.hello + 4, SNAPSHOT_VERSION);
	put_le32(other.hello + 8, DEVID);
	put_le32(other.hello + 12, (uint32_t)len);
	other.hello_len = SNAPSHOT_PREAMBLE + len;
}

/* Runs one side with `data` as its PROXY_FD_DATA; its reports come out of the fd that is returned. */
static int start(int (*run)(const struct session_options *options), const struct session_options *options, int data,
		 pid_t *ret_pid)
{
	int pair[2], report, moved;

	assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	*ret_pid = fork();
	assert_return_code(*ret_pid, 0);
	if (*ret_pid > 0) {
		assert_return_code(close(pair[1]), 0);
		return pair[0];
	}
	report = fcntl(pair[1], F_DUPFD, HIGH_FD);
	moved = fcntl(data, F_DUPFD, HIGH_FD);
	if (dup2(pair[0], OUR_END) < 0 || dup2(report, PROXY_FD_REPORT) < 0 || dup2(moved, PROXY_FD_DATA) < 0 ||
	    close(report) < 0 || close(moved) < 0)
		_exit(EXIT_FAILURE);
	other.fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	_exit(run(options));
}

static struct proxy_report next_report(int fd)
{
	struct proxy_report report = {0};

	assert_int_equal(recv(fd, &report, sizeof(report), 0), sizeof(report));
	return report;
}

static void end(int fd, pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_return_code(close(fd), 0);
}

/* What is shown ------------------------------------------------------------------------------------------------- */

#define MOUSE(device_class)                                                                                           \
	{                                                                                                             \
		18, 1, 0, 2, device_class, 64, 0x6d, 4, 0x77, 0xc0, 0, 1, 0, 0, 0, 1, 9, 2, 25, 0, 1, 1, 0, 0xa0, 50, \
			9, 4, 0, 0, 1, 3, 1, 2, 0, 7, 5, 0x81, 3, 4, 0, 10                                            \
	}
#define CLASS(a, b, c) a, b, c

/* A device qube shows codes to the user, and has a snapshot of its own making for the importer. */
static const struct {
	const char *what;
	uint8_t raw[64];
	size_t len; /* 0: as long as a mouse */
	uint8_t n_shown;
	uint8_t shown[2][3];
	enum outcome outcome; /* OK: it says READY */
} shows[] = {
	{"a mouse", MOUSE(CLASS(0, 0, 0)), 0, 1, {{3, 1, 2}}, OUTCOME_OK},
	{"a mouse shown as a stick", MOUSE(CLASS(0, 0, 0)), 0, 1, {{8, 6, 0x50}}, OUTCOME_CHANGED},
	{"interfaces that are associated", MOUSE(CLASS(0xef, 2, 1)), 0, 1, {{3, 1, 2}}, OUTCOME_OK},
	{"a hub shown as a mouse", MOUSE(CLASS(9, 0, 0)), 0, 1, {{3, 1, 2}}, OUTCOME_UNSUPPORTED},
	{"a hub", MOUSE(CLASS(9, 0, 0)), 0, 2, {{3, 1, 2}, {9, 0, 0}}, OUTCOME_UNSUPPORTED},
	{"a hub of several translators", MOUSE(CLASS(9, 0, 2)), 0, 2, {{3, 1, 2}, {9, 0, 2}}, OUTCOME_UNSUPPORTED},
	{"a controller of Bluetooth shown as a mouse", MOUSE(CLASS(0xe0, 1, 1)), 0, 1, {{3, 1, 2}}, OUTCOME_CHANGED},
	{"the same, shown", MOUSE(CLASS(0xe0, 1, 1)), 0, 2, {{3, 1, 2}, {0xe0, 1, 1}}, OUTCOME_OK},
	{"a printer shown as a mouse", MOUSE(CLASS(7, 1, 2)), 0, 1, {{3, 1, 2}}, OUTCOME_CHANGED},
	{"a vendor's device shown as a mouse", MOUSE(CLASS(0xff, 0, 0)), 0, 1, {{3, 1, 2}}, OUTCOME_CHANGED},
	{"a hub in another alternate setting",
	 {18, 1, 0,    2,  0, 0, 0, 64, 0x6d, 4, 0x77, 0xc0, 0, 1, 0, 0, 0, 1, 9, 2, 27, 0, 1,
	  1,  0, 0xa0, 50, 9, 4, 0, 0,  0,    3, 1,    2,    0, 9, 4, 1, 1, 0, 9, 0, 0,  0},
	 45,
	 2,
	 {{3, 1, 2}, {9, 0, 0}},
	 OUTCOME_UNSUPPORTED},
	{"a hub in another configuration",
	 {18, 1, 0, 2, 0, 0, 0, 64, 0x6d, 4, 0x77, 0xc0, 0, 1, 0, 0, 0,    2,  9, 2, 18, 0, 1, 1, 0, 0xa0, 50,
	  9,  4, 0, 0, 0, 3, 1, 2,  0,    9, 2,    18,   0, 1, 2, 0, 0xa0, 50, 9, 4, 0,  0, 0, 9, 0, 0,    0},
	 54,
	 2,
	 {{3, 1, 2}, {9, 0, 0}},
	 OUTCOME_UNSUPPORTED},
};

static void test_what_is_shown(void **state)
{
	static const size_t mouse_len = 18 + 9 + 9 + 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shows); i++) {
		struct session_options options = {.channel = "", .service = "qdb/1", .user = ""};
		size_t len = shows[i].len ? shows[i].len : mouse_len;
		uint8_t digest[DIGEST_SIZE];
		struct proxy_report report;
		int data[2], fd;
		pid_t pid;

		put_hello(shows[i].raw, len, 2, "");
		digest_sha256(other.hello + SNAPSHOT_PREAMBLE, other.hello_len - SNAPSHOT_PREAMBLE, digest);
		digest_approved(digest,
				&(struct digest_shown){.speed = 2,
						       .vendor = 0x046d,
						       .product = 0xc077,
						       .n_interfaces = shows[i].n_shown,
						       .interfaces = shows[i].shown,
						       .serial = ""},
				options.digest);
		assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, data), 0);
		fd = start(import_run, &options, data[0], &pid);
		report = next_report(fd);
		if (shows[i].outcome == OUTCOME_OK && report.type == PROXY_READY) {
			const char word = PROXY_STOP;

			assert_int_equal(send(fd, &word, 1, 0), 1);
			report = next_report(fd);
			assert_int_equal(report.outcome, OUTCOME_STOPPED);
		} else if (report.type != PROXY_ENDED || report.outcome != shows[i].outcome) {
			fail_msg("%s: report %u, %s", shows[i].what, report.type,
				 outcome_text((enum outcome)report.outcome));
		}
		end(fd, pid);
		assert_return_code(close(data[0]), 0);
		assert_return_code(close(data[1]), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
