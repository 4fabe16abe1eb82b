/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said of a camera: a good word comes through whole, and nothing else does. */
#include "tests/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/proxy/camera.h"

static const struct proxy_camera good = {.name = "Integrated Camera: C920", .hello = {1, 2, 3}};

static int pass(const void *bytes, size_t len, struct proxy_camera *ret_camera)
{
	int fds[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(send(fds[0], bytes, len, 0), len);
	r = proxy_camera_receive(fds[1], ret_camera);
	(void)close(fds[0]);
	(void)close(fds[1]);
	return r;
}

static void test_good(void **unused _unused_)
{
	struct proxy_camera camera;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(proxy_camera_receive(fds[1], &camera), 1);
	assert_int_equal(proxy_camera_send(fds[0], &good), 0);
	assert_int_equal(proxy_camera_receive(fds[1], &camera), 0);
	assert_memory_equal(&camera, &good, sizeof(camera));
	assert_int_equal(proxy_camera_receive(fds[1], &camera), 1);
	(void)close(fds[0]);
	assert_int_equal(proxy_camera_receive(fds[1], &camera), -EPIPE);
	assert_int_equal(proxy_camera_send(fds[1], &good), -EPIPE);
	(void)close(fds[1]);
}

static void test_bad(void **unused _unused_)
{
	static const struct {
		const char *what;
		size_t at;
		char byte;
	} rows[] = {
		{"no name", 0, '\0'},
		{"an escape", 0, '\033'},
		{"an escape", 5, '\x9b'},
		{"a line", 3, '\n'},
		{"something behind the end", sizeof(good.name) - 2, 'x'},
		{"no end", sizeof(good.name) - 1, 'x'},
	};
	struct proxy_camera bad, camera = {.name = "untouched"};
	uint8_t longer[sizeof(good) + 1] = {'n'};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bad = good;
		bad.name[rows[i].at] = rows[i].byte;
		if (rows[i].byte == '\0')
			memset(bad.name, 0, sizeof(bad.name));
		if (pass(&bad, sizeof(bad), &camera) != -EPROTO || strcmp(camera.name, "untouched") != 0)
			fail_msg("%s is taken (row %zu)", rows[i].what, i);
	}
	memset(bad.name, 'n', sizeof(bad.name));
	assert_int_equal(pass(&bad, sizeof(bad), &camera), -EPROTO);
	bad.name[sizeof(bad.name) - 1] = '\0';
	assert_int_equal(pass(&bad, sizeof(bad), &camera), 0); /* the longest */
	assert_int_equal(pass(&good, sizeof(good) - 1, &camera), -EPROTO);
	assert_int_equal(pass(longer, sizeof(longer), &camera), -EPROTO);
	assert_int_equal(pass("", 1, &camera), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};

	return cmocka_run_group_tests_name("camera", tests, NULL, NULL);
}
