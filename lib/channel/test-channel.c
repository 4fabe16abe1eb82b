// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Channels in one process: the framing against a hostile peer (a back-end of scripted bytes), and the back-end
 * `socket` as far as one process can show it, hostile indices (DI09) and a killed peer included. What two processes
 * show, the same for every back-end, is in tests/integration/channel-suite.c.
 */
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/channel/backend.h"
#include "lib/channel/channel.h"

/* --- framing, over scripted bytes --- */

struct script {
	struct channel base;
	const uint8_t *bytes;
	size_t len, at;
	size_t step; /* most bytes of one receive */
	bool down;   /* after the last byte */
};

static struct script *script_of(const struct channel *channel)
{
	return (struct script *)(uintptr_t)channel;
}

static bool script_pending(const struct channel *channel)
{
	return script_of(channel)->at < script_of(channel)->len;
}

static enum channel_link script_link(const struct channel *channel)
{
	return script_of(channel)->down ? CHANNEL_LINK_DOWN : CHANNEL_LINK_UP;
}

static int script_send(struct channel *channel _unused_, const void *bytes _unused_, size_t len _unused_)
{
	return 0;
}

static ssize_t script_receive(struct channel *channel, void *bytes, size_t len)
{
	struct script *script = script_of(channel);

	if (script->at == script->len)
		return script->down ? -EPIPE : 0;
	if (len > script->step)
		len = script->step;
	if (len > script->len - script->at)
		len = script->len - script->at;
	memcpy(bytes, script->bytes + script->at, len);
	script->at += len;
	return (ssize_t)len;
}

static size_t script_space(const struct channel *channel _unused_, size_t wanted _unused_)
{
	return 0;
}

static int script_take_wakeup(struct channel *channel _unused_)
{
	return 0;
}

static void script_close(struct channel *channel _unused_)
{
}

static const struct channel_ops script_ops = {.link = script_link,
					      .send = script_send,
					      .receive = script_receive,
					      .space = script_space,
					      .pending = script_pending,
					      .take_wakeup = script_take_wakeup,
					      .close = script_close};

static struct channel *script_new(const void *bytes, size_t len, size_t step, bool down)
{
	struct script *script = calloc(1, sizeof(*script));

	assert_non_null(script);
	assert_int_equal(channel_init(&script->base, &script_ops, -1, CHANNEL_RING_MIN, CHANNEL_OPEN), 0);
	script->bytes = bytes;
	script->len = len;
	script->step = step;
	script->down = down;
	return &script->base;
}

#define BYTES(s) s, sizeof(s) - 1
static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	bool down;
	const char *payload;
	int last; /* of the read after the payload */
	enum channel_state state;
} framings[] = {
	{"nothing", BYTES(""), false, "", 0, CHANNEL_OPEN},
	{"nothing, gone", BYTES(""), true, "", 0, CHANNEL_DEAD},
	{"a chunk", BYTES("\3\0\0\0abc"), false, "abc", 0, CHANNEL_OPEN},
	{"a chunk, gone", BYTES("\3\0\0\0abc"), true, "abc", 0, CHANNEL_DEAD},
	{"chunks", BYTES("\1\0\0\0a\2\0\0\0bc\1\0\0\0d"), false, "abcd", 0, CHANNEL_OPEN},
	{"the end", BYTES("\0\0\0\0"), false, "", 0, CHANNEL_ENDED},
	{"the end, gone", BYTES("\0\0\0\0"), true, "", 0, CHANNEL_ENDED},
	{"a chunk, the end, gone", BYTES("\1\0\0\0a\0\0\0\0"), true, "a", 0, CHANNEL_ENDED},
	{"bytes after the end", BYTES("\1\0\0\0a\0\0\0\0\1\0\0\0b"), false, "a", 0, CHANNEL_ENDED},
	{"half a header", BYTES("\1\0\0"), false, "", 0, CHANNEL_OPEN},
	{"half a header, gone", BYTES("\1\0\0"), true, "", 0, CHANNEL_DEAD},
	{"half an end, gone", BYTES("\1\0\0\0a\0\0\0"), true, "a", 0, CHANNEL_DEAD},
	{"half a chunk", BYTES("\5\0\0\0ab"), false, "ab", 0, CHANNEL_OPEN},
	{"half a chunk, gone", BYTES("\5\0\0\0ab"), true, "ab", 0, CHANNEL_DEAD},
	{"an end inside a chunk is payload", BYTES("\4\0\0\0\0\0\0\0"), true, "\0\0\0\0", 0, CHANNEL_DEAD},
	{"largest chunk, gone", BYTES("\0\0\1\0x"), true, "x", 0, CHANNEL_DEAD},
	{"larger than the largest", BYTES("\1\0\1\0x"), false, "", -EPROTO, CHANNEL_DEAD},
	{"huge", BYTES("\xff\xff\xff\xff"), false, "", -EPROTO, CHANNEL_DEAD},
	{"negative", BYTES("\0\0\0\x80"), false, "", -EPROTO, CHANNEL_DEAD},
	{"big endian", BYTES("\0\0\0\3abc"), false, "", -EPROTO, CHANNEL_DEAD},
	{"a chunk, then huge", BYTES("\1\0\0\0a\xff\xff\xff\x7f"), false, "a", -EPROTO, CHANNEL_DEAD},
	{"a chunk, then huge, gone", BYTES("\1\0\0\0a\xff\xff\xff\x7f"), true, "a", -EPROTO, CHANNEL_DEAD},
};

static void test_framing(void **state)
{
	static const size_t steps[] = {1, 2, 3, 5, 1000}, lengths[] = {1, 2, 3, 100};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(framings); i++)
		for (size_t s = 0; s < ARRAY_SIZE(steps); s++)
			for (size_t l = 0; l < ARRAY_SIZE(lengths); l++) {
				struct channel *channel =
					script_new(framings[i].bytes, framings[i].len, steps[s], framings[i].down);
				size_t want = framings[i].payload[0] || framings[i].len != 8
						      ? strlen(framings[i].payload)
						      : 4;
				uint8_t got[200];
				size_t n = 0;
				ssize_t r;

				assert_int_equal(channel_dispatch(channel), 0);
				while ((r = channel_read(channel, got + n, lengths[l])) > 0) {
					n += (size_t)r;
					assert_true(n <= want);
				}
				if (n != want || r != framings[i].last || channel_state(channel) != framings[i].state)
					fail_msg("%s, step %zu, length %zu: %zu bytes, %zd, state %d", framings[i].name,
						 steps[s], lengths[l], n, r, (int)channel_state(channel));
				assert_memory_equal(got, framings[i].payload, n);
				assert_int_equal(channel_read(channel, got, 1), framings[i].last);
				if (channel_state(channel) != CHANNEL_OPEN) {
					assert_int_equal(channel_write(channel, "x", 1), -EPIPE);
					assert_int_equal(channel_finish(channel), -EPIPE);
					assert_int_equal(channel_space(channel), 0);
					assert_int_equal(channel_wait(channel, false, 1), -EPIPE);
				}
				channel_free(channel);
			}
}

/* --- the back-end `socket` --- */

struct fixture {
	char directory[32];
	struct channel_backend *backend;
	struct channel_address address;
	struct channel *server, *client;
};

static const struct channel_rings small_rings = {.read = 4096, .write = 8192};
static const struct channel_rings large_rings = {.read = CHANNEL_RING_MAX, .write = CHANNEL_RING_MAX};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	scratch_make("channel", f->directory, sizeof(f->directory));
	assert_int_equal(channel_backend_new_socket(f->directory, &f->backend), 0);
	f->address = (struct channel_address){.server_domid = 1, .client_domid = 2, .service = "qdb/1f"};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->client = channel_free(f->client);
	f->server = channel_free(f->server);
	f->backend = channel_backend_free(f->backend);
	assert_int_equal(rmdir(f->directory), 0); /* nothing is left behind */
	free(f);
	return 0;
}

static void open_pair(struct fixture *f, const struct channel_rings *rings)
{
	assert_int_equal(channel_listen(f->backend, &f->address, rings, &f->server), 0);
	assert_int_equal(channel_state(f->server), CHANNEL_WAITING);
	assert_int_equal(channel_connect(f->backend, &f->address, &large_rings, &f->client), 0);
	assert_int_equal(channel_state(f->client), CHANNEL_OPEN);
	assert_int_equal(channel_wait(f->server, false, USEC_PER_SEC), 0);
	assert_int_equal(channel_state(f->server), CHANNEL_OPEN);
}

static bool is_ready(const struct channel *channel)
{
	struct pollfd pollfd = {.fd = channel_fd(channel), .events = channel_poll_events(channel, true)};

	return poll(&pollfd, 1, 0) == 1;
}

static void test_arguments(void **state)
{
	static const struct {
		const char *service;
		int r;
	} services[] = {{"a", 0},           {"qdb/1f", 0},    {"device-agent/4294967295", 0},
			{"", -EINVAL},      {"/a", -EINVAL},  {"a/", -EINVAL},
			{"a/b/c", -EINVAL}, {"..", -EINVAL},  {"a/../b", -EINVAL},
			{"A", -EINVAL},     {"a b", -EINVAL}, {"aaaaaaaaaaaaaaaaaaaaaaaa", 0}};
	static const uint32_t rings[] = {0, 1, 2048, 4095, 4097, 12288, 1u << 21, UINT32_MAX};
	struct fixture *f = *state;
	struct channel_backend *backend = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		struct channel_address address = {.server_domid = 1, .client_domid = 2};
		struct channel *server = NULL;

		memcpy(address.service, services[i].service, strlen(services[i].service));
		assert_int_equal(channel_listen(f->backend, &address, &small_rings, &server), services[i].r);
		assert_int_equal(server != NULL, services[i].r == 0);
		channel_free(server);
	}
	memset(f->address.service, 'a', sizeof(f->address.service)); /* without its NUL */
	assert_int_equal(channel_listen(f->backend, &f->address, &small_rings, &f->server), -EINVAL);
	assert_int_equal(channel_connect(f->backend, &f->address, &large_rings, &f->client), -EINVAL);
	assert_int_equal(channel_remove_leftovers(f->backend, &f->address), -EINVAL);
	(void)strcpy(f->address.service, "a");
	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		const struct channel_rings bad = {.read = rings[i], .write = 4096}, worse = {4096, rings[i]};

		assert_int_equal(channel_listen(f->backend, &f->address, &bad, &f->server), -EINVAL);
		assert_int_equal(channel_listen(f->backend, &f->address, &worse, &f->server), -EINVAL);
		assert_int_equal(channel_connect(f->backend, &f->address, &bad, &f->client), -EINVAL);
		assert_int_equal(channel_connect(f->backend, &f->address, &worse, &f->client), -EINVAL);
	}
	assert_int_equal(channel_backend_new_from_text("", &backend), -EINVAL);
	assert_int_equal(channel_backend_new_from_text("socket", &backend), -EINVAL);
	assert_int_equal(channel_backend_new_from_text("socket:", &backend), -EINVAL);
	assert_int_equal(channel_backend_new_from_text("socket:/nowhere", &backend), -ENOENT);
	assert_int_equal(channel_backend_new_from_text("socket:/dev/null", &backend), -ENOTDIR);
	assert_int_equal(channel_backend_new_from_text("xen:", &backend), -EINVAL);
	assert_null(backend);
	assert_null(channel_free(NULL));
	assert_null(channel_backend_free(NULL));
}

static void test_connect(void **state)
{
	struct fixture *f = *state;
	struct channel *other = NULL;

	assert_int_equal(channel_connect(f->backend, &f->address, &large_rings, &f->client), CHANNEL_NOT_YET);
	assert_int_equal(channel_connect_wait(f->backend, &f->address, &large_rings, 20 * USEC_PER_MSEC, &f->client),
			 CHANNEL_TIMED_OUT);
	assert_int_equal(channel_listen(f->backend, &f->address, &small_rings, &f->server), 0);
	assert_int_equal(channel_listen(f->backend, &f->address, &small_rings, &other), -EADDRINUSE);
	assert_int_equal(channel_write(f->server, "x", 1), -EPIPE);
	assert_int_equal(channel_space(f->server), 0);
	assert_int_equal(channel_read(f->server, &(char){0}, 1), 0);
	assert_false(is_ready(f->server));
	assert_int_equal(channel_wait(f->server, false, USEC_PER_MSEC), CHANNEL_TIMED_OUT);
	f->address.client_domid = 3;
	assert_int_equal(channel_connect(f->backend, &f->address, &large_rings, &f->client), CHANNEL_REFUSED);
	f->address.client_domid = 2;
	assert_int_equal(channel_connect_wait(f->backend, &f->address, &large_rings, USEC_PER_SEC, &f->client), 0);
	assert_int_equal(channel_connect(f->backend, &f->address, &large_rings, &other), CHANNEL_REFUSED); /* AU15 */
	assert_null(other);
}

/* The server's choice of sizes is taken up to what the client accepts, each ring by itself. */
static void test_most(void **state)
{
	static const struct {
		struct channel_rings rings, most;
		int r;
	} rows[] = {
		{{4096, 4096}, {4096, 4096}, 0},
		{{8192, 4096}, {4096, 4096}, CHANNEL_TOO_LARGE},
		{{4096, 8192}, {4096, 4096}, CHANNEL_TOO_LARGE},
		{{8192, 4096}, {4096, 8192}, CHANNEL_TOO_LARGE},
		{{8192, 4096}, {8192, 4096}, 0},
		{{4096, 4096}, {CHANNEL_RING_MAX, CHANNEL_RING_MAX}, 0},
		{{CHANNEL_RING_MAX, CHANNEL_RING_MAX}, {CHANNEL_RING_MAX, CHANNEL_RING_MAX}, 0},
		{{CHANNEL_RING_MAX, CHANNEL_RING_MAX}, {CHANNEL_RING_MAX, CHANNEL_RING_MAX / 2}, CHANNEL_TOO_LARGE},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct channel *client = NULL;

		assert_int_equal(channel_listen(f->backend, &f->address, &rows[i].rings, &f->server), 0);
		assert_int_equal(channel_connect_wait(f->backend, &f->address, &rows[i].most, USEC_PER_SEC, &client),
				 rows[i].r);
		assert_int_equal(client != NULL, rows[i].r == 0);
		assert_int_equal(channel_wait(f->server, false, USEC_PER_SEC), 0);
		assert_int_equal(channel_state(f->server), rows[i].r == 0 ? CHANNEL_OPEN : CHANNEL_DEAD);
		client = channel_free(client);
		f->server = channel_free(f->server);
	}
}

/* The client may write before the server has looked; the server's fd is the same before and after, for epoll too. */
static void test_early_words(void **state)
{
	_cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN};
	struct fixture *f = *state;
	char text[8] = "";
	int fd;

	assert_int_equal(channel_listen(f->backend, &f->address, &small_rings, &f->server), 0);
	fd = channel_fd(f->server);
	assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
	assert_int_equal(channel_connect(f->backend, &f->address, &large_rings, &f->client), 0);
	assert_int_equal(channel_write(f->client, "early", 5), 5);
	assert_int_equal(epoll_wait(epoll, &event, 1, 1000), 1);
	assert_int_equal(channel_dispatch(f->server), 0);
	assert_int_equal(channel_state(f->server), CHANNEL_OPEN);
	assert_int_equal(channel_read(f->server, text, sizeof(text)), 5);
	assert_string_equal(text, "early");
	assert_int_equal(channel_read(f->server, text, sizeof(text)), 0);
	assert_int_equal(epoll_wait(epoll, &event, 1, 0), 0);
	assert_int_equal(channel_write(f->client, "x", 1), 1);
	assert_int_equal(epoll_wait(epoll, &event, 1, 1000), 1);
	assert_int_equal(channel_fd(f->server), fd);
}

/* One wake-up per call, none when nobody asked. */
static void test_wakeups(void **state)
{
	const struct channel_rings rings = {.read = 262144, .write = 262144};
	_cleanup_free_ uint8_t *block = calloc(1, 65536);
	struct fixture *f = *state;
	char byte;

	assert_non_null(block);
	open_pair(f, &rings);
	assert_int_equal(channel_read(f->server, &byte, 1), 0);
	assert_int_equal(channel_write(f->client, block, 65536), 65536);
	assert_true(is_ready(f->server));
	assert_int_equal(channel_dispatch(f->server), 0);
	assert_false(is_ready(f->server));
	assert_int_equal(channel_write(f->client, block, 65536), 65536);
	assert_false(is_ready(f->server)); /* it has not yet read until 0 */
	assert_int_equal(channel_read(f->server, block, 65536), 65536);
	assert_false(is_ready(f->client)); /* it never found the ring full */
	assert_true(channel_fits(f->client, 65536));
	assert_false(channel_fits(f->client, 262144));
	assert_true(channel_read(f->server, block, 100) == 100);
	assert_false(is_ready(f->client)); /* nor did it ask to hear of room */
	assert_true(channel_space(f->client) > 65536);
	assert_true(channel_read(f->server, block, 100) == 100);
	assert_true(is_ready(f->client));
}

static void test_vectors(void **state)
{
	const struct iovec iov[] = {{NULL, 0}, {(char[]){"head"}, 4}, {NULL, 0}, {(char[]){"body"}, 4}, {NULL, 0}};
	struct fixture *f = *state;
	char text[16] = "";

	open_pair(f, &small_rings);
	assert_int_equal(channel_writev(f->server, iov, 0), 0);
	assert_int_equal(channel_writev(f->server, iov, 1), 0);
	assert_int_equal(channel_writev(f->server, iov, ARRAY_SIZE(iov)), 8);
	assert_int_equal(channel_read(f->client, text, sizeof(text)), 8);
	assert_string_equal(text, "headbody");
}

/* Fills the ring through vectors of all small sizes, against a counter. */
static void test_fill(void **state)
{
	struct fixture *f = *state;
	uint8_t out[4096], in[4096];
	uint8_t sent = 0, seen = 0;

	open_pair(f, &small_rings);
	for (size_t i = 0; i < 3000; i++) {
		size_t len = (i * 7919) % 700;
		const struct iovec iov[] = {{out, len / 3}, {out + len / 3, len - len / 3}};
		size_t space = channel_space(f->client), n = 0;
		ssize_t r;

		for (size_t k = 0; k < len; k++)
			out[k] = (uint8_t)(sent + k);
		r = channel_writev(f->client, iov, 2);
		assert_int_equal(r, space < len ? space : len);
		sent = (uint8_t)(sent + r);
		if (i % 3 == 0)
			continue;
		r = channel_read(f->server, in, (i * 104729) % 1500);
		assert_true(r >= 0);
		for (; n < (size_t)r; n++)
			assert_int_equal(in[n], seen++);
	}
}

/* PD: a peer that is killed; what it wrote is read, then DEAD, and its leftovers can be removed. */
static void test_killed_server(void **state)
{
	struct fixture *f = *state;
	char text[8] = "";
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct channel *server;

		if (channel_listen(f->backend, &f->address, &small_rings, &server) == 0)
			while (channel_state(server) == CHANNEL_WAITING)
				(void)channel_wait(server, false, USEC_PER_SEC);
		(void)channel_write(server, "last", 4);
		(void)raise(SIGKILL);
	}
	assert_int_equal(channel_connect_wait(f->backend, &f->address, &large_rings, 5 * USEC_PER_SEC, &f->client), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(channel_wait(f->client, false, USEC_PER_SEC), 0);
	assert_int_equal(channel_state(f->client), CHANNEL_OPEN);
	assert_int_equal(channel_write(f->client, "x", 1), -EPIPE);
	assert_int_equal(channel_read(f->client, text, sizeof(text)), 4);
	assert_string_equal(text, "last");
	assert_int_equal(channel_read(f->client, text, sizeof(text)), 0);
	assert_int_equal(channel_state(f->client), CHANNEL_DEAD);
	assert_false(is_ready(f->client)); /* told once, not for ever */
	f->client = channel_free(f->client);

	assert_int_equal(channel_connect(f->backend, &f->address, &large_rings, &f->client), CHANNEL_REFUSED);
	assert_int_equal(channel_listen(f->backend, &f->address, &small_rings, &f->server), -EADDRINUSE);
	assert_int_equal(channel_remove_leftovers(f->backend, &f->address), 0);
	assert_int_equal(channel_remove_leftovers(f->backend, &f->address), 0);
	assert_int_equal(channel_connect(f->backend, &f->address, &large_rings, &f->client), CHANNEL_NOT_YET);
}

/* DI09, as far as our own ring goes: nonsense in the shared page moves no byte beyond a ring and hurts nobody. */
static void test_hostile_indices(void **state)
{
	struct fixture *f = *state;
	uint32_t x = 88675123u;
	uint8_t buffer[20000];
	char path[64];
	uint32_t *page;
	int fd;

	open_pair(f, &small_rings);
	(void)snprintf(path, sizeof(path), "%s/1-qdb-1f.ring", f->directory);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(page != MAP_FAILED);
	(void)close(fd);
	for (int round = 0; round < 100000; round++) {
		for (size_t i = 0; i < 20; i++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			page[i] = x & 1 ? x : (x >> 8) % 9000;
		}
		if (round % 16 == 0)
			f->server->state = f->client->state = CHANNEL_OPEN; /* again and again, from any half state */
		f->server->broken = f->client->broken = false;
		assert_true(channel_read(f->server, buffer, sizeof(buffer)) <= (ssize_t)sizeof(buffer));
		assert_true(channel_space(f->client) <= 4096);
		assert_true(channel_write(f->client, buffer, sizeof(buffer)) <= 4096);
		assert_true(channel_write(f->server, buffer, sizeof(buffer)) <= 8192);
		assert_true(channel_space(f->server) <= 8192);
	}
	(void)munmap(page, 4096);
}

/* DI12: a file of a wrong size, or with sizes that no server may choose, connects to nothing. */
static void test_hostile_file(void **state)
{
	static const struct {
		uint32_t to_server, to_client;
		off_t len;
	} cases[] = {{4096, 8192, 4096},       {0, 0, 4096},    {4096, 1u << 31, 12288}, {1, 1, 4098},
		     {4096, 0xfffff000, 4096}, {4096, 8192, 10}};
	struct fixture *f = *state;
	char path[64];

	assert_int_equal(channel_listen(f->backend, &f->address, &small_rings, &f->server), 0);
	(void)snprintf(path, sizeof(path), "%s/1-qdb-1f.ring", f->directory);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint32_t head[3] = {2, cases[i].to_server, cases[i].to_client};
		int fd = open(path, O_RDWR | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(write(fd, head, sizeof(head)), sizeof(head));
		assert_int_equal(ftruncate(fd, cases[i].len), 0);
		(void)close(fd);
		assert_int_equal(channel_connect(f->backend, &f->address, &large_rings, &f->client), CHANNEL_REFUSED);
	}
	assert_false(is_ready(f->server));
}

/* A thousand sessions leave no fd behind. */
static void test_many_sessions(void **state)
{
	struct fixture *f = *state;
	int before = dup(0), after;

	for (unsigned int i = 0; i < 1000; i++) {
		(void)snprintf(f->address.service, sizeof(f->address.service), "qdb/%x", i);
		open_pair(f, &small_rings);
		assert_int_equal(channel_write(f->server, "x", 1), 1);
		assert_int_equal(channel_finish(f->server), 0);
		assert_int_equal(channel_finish(f->server), 0);
		assert_int_equal(channel_write(f->server, "x", 1), -EPIPE);
		f->server = channel_free(f->server);
		assert_int_equal(channel_read(f->client, &(char){0}, 1), 1);
		assert_int_equal(channel_state(f->client), CHANNEL_OPEN);
		assert_int_equal(channel_read(f->client, &(char){0}, 1), 0);
		assert_int_equal(channel_state(f->client), CHANNEL_ENDED);
		f->client = channel_free(f->client);
	}
	(void)close(before);
	after = dup(0);
	assert_int_equal(after, before);
	(void)close(after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_framing),
		cmocka_unit_test_setup_teardown(test_arguments, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_most, setup, teardown),
		cmocka_unit_test_setup_teardown(test_early_words, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wakeups, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_server, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_indices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_sessions, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
