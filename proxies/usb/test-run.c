/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole sessions, import_run() and export_run(), each in a process of its own as the agent starts it, with the other qube
 * (and libusb) played from here: what a device qube has to show before an importer says READY, and how soon STOP is heard
 * when the other qube has always something to say.
 */
#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/channel/channel.h"
#include "lib/proxy/report.h"
#include "lib/sandbox/sandbox.h"
#include "lib/usbip/snapshot.h"
#include "lib/usbip/test-samples.h"
#include "proxies/usb/export_libusb.h"
#include "proxies/usb/run.h"

#define DEVID 7u
#define HIGH_FD 20
#define OUR_END 30    /* the agent's end of the report pair, in the session's own process */
#define KERNEL_END 31 /* vhci_hcd's end of the importer's socket pair */
#define STOP_AFTER 50u
#define EXIT_DEAF 99

/* The channel --------------------------------------------------------------------------------------------------- */

/* What the other qube says. */
static struct {
	int fd; /* something that poll(2) takes and that is always ready */
	size_t (*say)(uint8_t *buffer, size_t len);
	uint8_t hello[SNAPSHOT_PREAMBLE + LIMIT_SNAPSHOT];
	size_t hello_len, hello_at;
	uint32_t seqnum;
	size_t passed; /* bytes that came */
	unsigned int n, n_after_stop;
	bool stopped;
} other;

/* Something was done for the other qube. The agent says STOP after the 50th time. */
static void count(void)
{
	const char word = PROXY_STOP;

	other.n_after_stop += other.stopped;
	if (other.n_after_stop > 1)
		_exit(EXIT_DEAF);
	if (++other.n == STOP_AFTER) {
		other.stopped = send(OUR_END, &word, 1, 0) == 1;
		if (!other.stopped)
			_exit(EXIT_FAILURE);
	}
}

static size_t say_hello(uint8_t *buffer, size_t len)
{
	size_t left = other.hello_len - other.hello_at;
	size_t n = len < left ? len : left;

	memcpy(buffer, other.hello + other.hello_at, n);
	other.hello_at += n;
	return n;
}

/* After its go an importer that asks to clear a halt, as often as there is room. */
static size_t say_requests(uint8_t *buffer, size_t len)
{
	struct usbip_header h = {
		.command = USBIP_CMD_SUBMIT, .devid = DEVID, .cmd_submit = {.setup = {2, 1, 0, 0, 0x81}}};
	size_t n = say_hello(buffer, len);

	while (other.hello_at == other.hello_len && len - n >= USBIP_HEADER) {
		h.seqnum = ++other.seqnum;
		usbip_encode(&h, buffer + n);
		n += USBIP_HEADER;
	}
	return n;
}

/* After its hello an exporter that answers each request at once, of a kernel that asks again at once. */
static size_t say_replies(uint8_t *buffer, size_t len)
{
	struct usbip_header ask = {.command = USBIP_CMD_SUBMIT, .cmd_submit = {.setup = {0x40}}};
	struct usbip_header answer = {.command = USBIP_RET_SUBMIT};
	uint8_t bytes[USBIP_HEADER], sink[4096];
	size_t n = say_hello(buffer, len);

	if (n > 0 || other.hello_at < other.hello_len)
		return n;
	while (recv(KERNEL_END, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		continue;
	ask.seqnum = ++other.seqnum;
	usbip_encode(&ask, bytes);
	if (send(KERNEL_END, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(bytes))
		_exit(EXIT_FAILURE);
	count();
	for (; other.passed >= USBIP_HEADER && len - n >= USBIP_HEADER; other.passed -= USBIP_HEADER) {
		answer.seqnum = other.seqnum - (uint32_t)(other.passed / USBIP_HEADER);
		usbip_encode(&answer, buffer + n);
		n += USBIP_HEADER;
	}
	return n;
}

int channel_backend_new_from_text(_unused_ const char *text, struct channel_backend **ret_backend)
{
	*ret_backend = NULL;
	return 0;
}

int channel_connect_wait(_unused_ struct channel_backend *backend, _unused_ const struct channel_address *address,
			 _unused_ const struct channel_rings *most, _unused_ uint64_t timeout_usec,
			 struct channel **ret_channel)
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
	return (ssize_t)other.say(buffer, len);
}

ssize_t channel_write(_unused_ struct channel *channel, _unused_ const void *buffer, size_t len)
{
	if (len > SNAPSHOT_GO)
		other.passed += len;
	return (ssize_t)len;
}

ssize_t channel_writev(_unused_ struct channel *channel, const struct iovec *iov, int n_iov)
{
	size_t n = 0;

	for (int i = 0; i < n_iov; i++)
		n += iov[i].iov_len;
	return (ssize_t)n;
}

int channel_listen(_unused_ struct channel_backend *backend, _unused_ const struct channel_address *address,
		   _unused_ const struct channel_rings *rings, struct channel **ret_channel)
{
	*ret_channel = (struct channel *)&other;
	return 0;
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

/* The device ---------------------------------------------------------------------------------------------------- */

static struct export_libusb *const no_device = (struct export_libusb *)&other;

int export_libusb_open(_unused_ int fd, _unused_ const struct usb_snapshot *snapshot, _unused_ uint8_t configuration,
		       struct export_libusb **ret_device)
{
	*ret_device = no_device;
	return 0;
}

void export_libusb_attach(_unused_ struct export_libusb *device, _unused_ struct export_core *core)
{
}

int export_libusb_pollfds(_unused_ const struct export_libusb *device, _unused_ struct pollfd *fds)
{
	return 0;
}

int export_libusb_handle(_unused_ struct export_libusb *device, _unused_ const struct pollfd *fds, _unused_ int n_fds)
{
	return 0;
}

static int refuse(_unused_ void *device, _unused_ struct export_urb *urb)
{
	return WIRE_STATUS_STALL;
}

static int clear_halt(_unused_ void *device, _unused_ uint8_t address)
{
	count();
	return 0;
}

const struct export_device_ops export_libusb_ops = {.submit = refuse, .clear_halt = clear_halt};

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
	other.say = say_hello;
}

/* `fd` becomes `wanted` and stays what it is, too. */
static bool put_fd(int fd, int wanted)
{
	return dup2(fd, wanted) == wanted;
}

/* Runs one side with these as PROXY_FD_DATA and so on; its reports come out of the fd that is returned. */
static int start(int (*run)(const struct usb_options *options), const struct usb_options *options, int data,
		 int snapshot, int kernel, pid_t *ret_pid)
{
	int pair[2], low[3];

	assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	*ret_pid = fork();
	assert_return_code(*ret_pid, 0);
	if (*ret_pid > 0) {
		assert_return_code(close(pair[1]), 0);
		return pair[0];
	}
	low[0] = fcntl(pair[1], F_DUPFD_CLOEXEC, HIGH_FD);
	low[1] = fcntl(data, F_DUPFD_CLOEXEC, HIGH_FD);
	low[2] = fcntl(snapshot, F_DUPFD_CLOEXEC, HIGH_FD);
	if (!put_fd(pair[0], OUR_END) || !put_fd(kernel, KERNEL_END) || !put_fd(low[0], PROXY_FD_REPORT) ||
	    !put_fd(low[1], PROXY_FD_DATA) || !put_fd(low[2], PROXY_FD_SNAPSHOT))
		_exit(EXIT_FAILURE);
	other.fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	_exit(run(options));
}

/* What is said of the stream in between is passed over. */
static struct proxy_report next_report(int fd)
{
	struct proxy_report report = {0};

	do
		assert_int_equal(recv(fd, &report, sizeof(report), 0), sizeof(report));
	while (report.type == PROXY_STREAM);
	return report;
}

static void end(int fd, pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_SUCCESS);
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
		struct usb_options options = {.session = {.channel = "", .service = "qdb/1", .user = ""}};
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
		fd = start(import_run, &options, data[0], data[0], data[1], &pid);
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

/* STOP ---------------------------------------------------------------------------------------------------------- */

static const uint8_t stick[] = {18, 1, 0, 2,    0,  0, 0, 64, 1, 2, 3, 4, 0,    1, 0, 0, 0,    1, 9, 2, 25, 0,
				1,  1, 0, 0x80, 50, 9, 4, 0,  0, 1, 8, 6, 0x50, 0, 7, 5, 0x81, 2, 0, 2, 0};

static void expect_stopped(int fd, const enum proxy_report_type *before, size_t n_before)
{
	struct proxy_report report;

	for (size_t i = 0; i < n_before; i++)
		assert_int_equal(next_report(fd).type, before[i]);
	report = next_report(fd);
	assert_int_equal(report.type, PROXY_ENDED);
	assert_int_equal(report.outcome, OUTCOME_STOPPED);
}

/* UC21: at most the operation that is being done when STOP comes reaches the device. */
static void test_exporter_hears_stop(void **state)
{
	static const enum proxy_report_type before[] = {PROXY_LISTENING, PROXY_READY};
	struct usb_options options = {
		.session = {.channel = "", .service = "qdb/1", .user = ""}, .devid = DEVID, .configuration = 1};
	int snapshot = memfd_create("snapshot", MFD_CLOEXEC), fd;
	pid_t pid;

	(void)state;
	put_hello(stick, sizeof(stick), 3, "");
	assert_int_equal(write(snapshot, other.hello + SNAPSHOT_PREAMBLE, other.hello_len - SNAPSHOT_PREAMBLE),
			 other.hello_len - SNAPSHOT_PREAMBLE);
	memset(other.hello, 0, SNAPSHOT_GO);
	put_le32(other.hello, SNAPSHOT_MAGIC_GO);
	put_le16(other.hello + 4, SNAPSHOT_VERSION);
	other.hello_len = SNAPSHOT_GO;
	other.say = say_requests;
	fd = start(export_run, &options, snapshot, snapshot, snapshot, &pid);
	expect_stopped(fd, before, ARRAY_SIZE(before));
	end(fd, pid);
	assert_return_code(close(snapshot), 0);
}

static void test_importer_hears_stop(void **state)
{
	static const enum proxy_report_type before[] = {PROXY_READY};
	struct usb_options options = {.session = {.channel = "", .service = "qdb/1", .user = ""}};
	uint8_t digest[DIGEST_SIZE];
	int data[2], fd;
	pid_t pid;

	(void)state;
	put_hello(stick, sizeof(stick), 3, "");
	digest_sha256(other.hello + SNAPSHOT_PREAMBLE, other.hello_len - SNAPSHOT_PREAMBLE, digest);
	digest_approved(digest,
			&(struct digest_shown){.speed = 3,
					       .vendor = 0x0201,
					       .product = 0x0403,
					       .n_interfaces = 1,
					       .interfaces = (const uint8_t[][3]){{8, 6, 0x50}},
					       .serial = ""},
			options.digest);
	other.say = say_replies;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, data), 0);
	fd = start(import_run, &options, data[0], data[0], data[1], &pid);
	expect_stopped(fd, before, ARRAY_SIZE(before));
	end(fd, pid);
	assert_return_code(close(data[0]), 0);
	assert_return_code(close(data[1]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_shown),
		cmocka_unit_test(test_exporter_hears_stop),
		cmocka_unit_test(test_importer_hears_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
