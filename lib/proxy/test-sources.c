/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A watcher's words: what a good one says comes through whole, and nothing else does. */
#include "tests/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/proxy/sources.h"

static const struct proxy_source headset = {.type = PROXY_SOURCE,
					    .kind = PROXY_SOURCE_SPEAKER,
					    .vendor = 0x46d,
					    .product = 0xa4d,
					    .source = "alsa_input.x",
					    .serial = "S1",
					    .name = "Headset",
					    .parent = "2-1.4"};

static void make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
}

static int pass(const void *bytes, size_t len, struct proxy_source *ret_source)
{
	int fds[2], r;

	make_pair(fds);
	assert_int_equal(send(fds[0], bytes, len, 0), len);
	r = proxy_source_receive(fds[1], ret_source);
	(void)close(fds[0]);
	(void)close(fds[1]);
	return r;
}

static void test_good(void **unused _unused_)
{
	struct proxy_source source;
	int fds[2];

	make_pair(fds);
	assert_int_equal(proxy_source_receive(fds[1], &source), 1);
	assert_int_equal(proxy_source_send(fds[0], &headset), 0);
	assert_int_equal(proxy_source_receive(fds[1], &source), 0);
	assert_memory_equal(&source, &headset, sizeof(source));
	(void)close(fds[0]);
	assert_int_equal(proxy_source_receive(fds[1], &source), -EPIPE);
	(void)close(fds[1]);
	make_pair(fds);
	(void)close(fds[1]);
	assert_int_equal(proxy_source_send(fds[0], &headset), -EPIPE);
	(void)close(fds[0]);
	for (uint8_t type = PROXY_SOURCES_BEGIN; type <= PROXY_SOURCES_END; type++)
		if (type != PROXY_SOURCE)
			assert_int_equal(pass(&(struct proxy_source){.type = type}, sizeof(source), &source), 0);
}

static void set_bytes(struct proxy_source *bad, size_t at, const void *bytes, size_t len)
{
	memcpy((uint8_t *)bad + at, bytes, len);
}

static void test_bad(void **unused _unused_)
{
	static const struct {
		const char *what;
		size_t at;
		const char *bytes;
		size_t len;
	} cases[] = {
		{"no such type", offsetof(struct proxy_source, type), "\0", 1},
		{"no such type", offsetof(struct proxy_source, type), "\4", 1},
		{"what has no source", offsetof(struct proxy_source, type), "\1", 1},
		{"what has no source", offsetof(struct proxy_source, type), "\3", 1},
		{"no such kind", offsetof(struct proxy_source, kind), "\0", 1},
		{"no such kind", offsetof(struct proxy_source, kind), "\3", 1},
		{"no source", offsetof(struct proxy_source, source), "\0\0\0\0\0\0\0\0\0\0\0\0", 12},
		{"no name", offsetof(struct proxy_source, name), "\0\0\0\0\0\0\0", 7},
		{"an escape", offsetof(struct proxy_source, source), "\033", 1},
		{"an escape", offsetof(struct proxy_source, name) + 3, "\x9b", 1},
		{"a line", offsetof(struct proxy_source, serial), "\n", 1},
		{"what is no port", offsetof(struct proxy_source, parent), "x", 1},
		{"what is no port", offsetof(struct proxy_source, parent) + 1, ":", 1},
		{"something behind the end", offsetof(struct proxy_source, source) + 200, "x", 1},
		{"something behind the end", offsetof(struct proxy_source, serial) + LIMIT_TEXT, "x", 1},
		{"something behind the end", offsetof(struct proxy_source, name) + 8, "x", 1},
		{"something behind the end", offsetof(struct proxy_source, parent) + LIMIT_PORT_TEXT - 1, "1", 1},
	};
	struct proxy_source source, untouched = {.kind = 77}, bad;
	char long_name[LIMIT_TEXT + 1];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bad = headset;
		set_bytes(&bad, cases[i].at, cases[i].bytes, cases[i].len);
		source = untouched;
		if (pass(&bad, sizeof(bad), &source) != -EPROTO || source.kind != untouched.kind)
			fail_msg("%s is taken (row %zu)", cases[i].what, i);
	}
	memset(long_name, 'n', sizeof(long_name));
	bad = headset;
	set_bytes(&bad, offsetof(struct proxy_source, name), long_name, sizeof(long_name)); /* no end */
	assert_int_equal(pass(&bad, sizeof(bad), &source), -EPROTO);
	assert_int_equal(pass(&headset, sizeof(headset) - 1, &source), -EPROTO);
	assert_int_equal(pass((const struct proxy_source[]){headset, headset}, sizeof(headset) + 1, &source), -EPROTO);
	assert_int_equal(pass("", 1, &source), -EPROTO);
}

static void test_parent(void **unused _unused_)
{
	static const struct {
		const char *path, *parent;
	} rows[] = {
		{"/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/sound/card1", "2-1"},
		{"/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.3/1-2.3:1.0/sound/card1/pcmC1D0c", "1-2.3"},
		{"/devices/platform/vhci_hcd.0/usb3/3-1/3-1:1.2/sound/card0", "3-1"},
		{"/devices/x/1-2/1-2:1.0/y/3-4/3-4:1.0", "3-4"},
		{"1-2/1-2:1.0", "1-2"},
		{"1-2//1-2:1.0", ""},
		{"/devices/pci0000:00/0000:00:1f.3/sound/card0", ""},
		{"/devices/usb1/1-2/sound/card0", ""},
		{"/devices/usb1/1-2/1-3:1.0/sound/card0", ""},
		{"/devices/usb1/1-2/1-21:1.0/sound/card0", ""},
		{"/devices/usb1/1-2/1-2", ""},
		{"/devices/usb1/1-0/1-0", ""},
		{"/x/0000/0000:00", ""},
		{"/1-2222222222222222222222222222222/1-2222222222222222222222222222222:1.0", ""},
		{"/1-222222222222222222222222222222/1-222222222222222222222222222222", ""},
		{"", ""},
		{"/", ""},
		{":", ""},
		{"\x9b/\x9b:", ""},
	};
	char parent[LIMIT_PORT_TEXT];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(parent, 'x', sizeof(parent));
		proxy_source_parent(rows[i].path, parent);
		if (strcmp(parent, rows[i].parent) != 0)
			fail_msg("row %zu: %s", i, parent);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_parent),
	};

	return cmocka_run_group_tests_name("sources", tests, NULL, NULL);
}
