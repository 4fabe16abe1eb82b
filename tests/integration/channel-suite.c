// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One suite for every back-end of lib/channel (DI06, DI11, DI16): scripted scenarios on both ends of a channel, which
 * print what each call gave, and no time. Two back-ends agree when their traces are identical.
 *
 *     channel-suite --backend socket:DIRECTORY --both              both ends here; prints the server's trace, then the client's
 *     channel-suite --backend xen --role server --own 1 --peer 2   one end in each domain, at the same time
 *     channel-suite --backend xen --role client --own 2 --peer 1
 *
 * --run HEX makes the service names fresh (the same on both ends), --only NAME runs one scenario, --bench measures
 * throughput and round trips instead of the scenarios, and says so on standard error.
 *
 * Each scenario is one function that reads from top to bottom as the story of both ends. A second channel carries a
 * meeting of both (meet()): what one end did before it, the other sees after it, so no line depends on timing. Bulk
 * transfers print totals only. Exit status: 0, or 1 after a line that begins with FAILED.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/limits.h"
#include "lib/base/text.h"
#include "lib/channel/channel.h"

#define PATIENCE_USEC (60 * USEC_PER_SEC)
#define PATTERN 65521u /* a prime, so that no ring hides a shift by its size */
#define BLOCK (1024u * 1024u)

struct side {
	bool is_server;
	uint16_t own, peer;
	uint64_t run;
	struct channel_backend *backend;
	struct channel *meeting;
	const char *scenario;
	unsigned int number;     /* of the scenario, and part of its service name */
	struct channel *channel; /* under test */
	uint64_t written, read;  /* positions in the pattern */
	bool unchecked;          /* do not compare what is read: for measuring */
};

static uint8_t pattern[PATTERN + BLOCK];
static uint8_t block[BLOCK];

/* --- the vocabulary --- */

static void trace(const struct side *side, const char *format, ...) _printf_(2, 3);
static void trace(const struct side *side, const char *format, ...)
{
	va_list args;

	(void)printf("%s %s: ", side->is_server ? "server" : "client", side->scenario);
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)putchar('\n');
}

static void fail(const struct side *side, const char *what, int r) __attribute__((noreturn));
static void fail(const struct side *side, const char *what, int r)
{
	(void)printf("FAILED %s %s: %s (%d)\n", side->is_server ? "server" : "client", side->scenario, what, r);
	(void)fflush(stdout);
	_exit(1);
}

static const char *state_name(const struct side *side)
{
	static const char *const names[] = {[CHANNEL_WAITING] = "waiting",
					    [CHANNEL_OPEN] = "open",
					    [CHANNEL_ENDED] = "ended",
					    [CHANNEL_DEAD] = "dead"};

	return names[channel_state(side->channel)];
}

static const char *result_name(int r)
{
	static const struct {
		int r;
		const char *name;
	} names[] = {{0, "ok"},
		     {-EPIPE, "EPIPE"},
		     {-EADDRINUSE, "EADDRINUSE"},
		     {-EPROTO, "EPROTO"},
		     {-EINVAL, "EINVAL"},
		     {CHANNEL_NOT_YET, "not yet"},
		     {CHANNEL_REFUSED, "refused"},
		     {CHANNEL_TIMED_OUT, "timed out"},
		     {CHANNEL_TOO_LARGE, "too large"}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].r == r)
			return names[i].name;
	return r < 0 ? strerror(-r) : "other";
}

static struct channel_address address_of(const struct side *side, const char *name)
{
	struct channel_address address = {.server_domid = side->is_server ? side->own : side->peer,
					  .client_domid = side->is_server ? side->peer : side->own};

	(void)snprintf(address.service, sizeof(address.service), "suite-%" PRIx64 "/%s", side->run & 0xffffff, name);
	return address;
}

static struct channel_address address_here(const struct side *side)
{
	char name[12];

	(void)snprintf(name, sizeof(name), "%u", side->number);
	return address_of(side, name);
}

/* Both ends pass here, or neither. */
static void meet(const struct side *side)
{
	char byte = 0;
	int r;

	if (channel_write(side->meeting, "m", 1) != 1)
		fail(side, "the other end has gone", 0);
	while (channel_read(side->meeting, &byte, 1) != 1) {
		if (channel_state(side->meeting) != CHANNEL_OPEN)
			fail(side, "the other end has gone", 0);
		r = channel_wait(side->meeting, false, PATIENCE_USEC);
		if (r != 0)
			fail(side, "the other end does not come", r);
	}
}

static void listen_here(struct side *side, uint32_t read, uint32_t write)
{
	const struct channel_address address = address_here(side);
	const struct channel_rings rings = {.read = read, .write = write};
	int r = channel_listen(side->backend, &address, &rings, &side->channel);

	if (r != 0)
		fail(side, "listen", r);
}

/* Accepts no larger rings than these, as the server sees them. */
static void connect_here(struct side *side, uint32_t read, uint32_t write)
{
	const struct channel_address address = address_here(side);
	const struct channel_rings most = {.read = read, .write = write};
	int r = channel_connect_wait(side->backend, &address, &most, PATIENCE_USEC, &side->channel);

	if (r != 0)
		fail(side, "connect", r);
}

static void await_client(struct side *side)
{
	while (channel_state(side->channel) == CHANNEL_WAITING) {
		int r = channel_wait(side->channel, false, PATIENCE_USEC);

		if (r != 0)
			fail(side, "no client", r);
	}
}

/* Rings as the server sees them. */
static void open_pair(struct side *side, uint32_t read, uint32_t write)
{
	if (side->is_server) {
		listen_here(side, read, write);
		await_client(side);
	} else {
		connect_here(side, read, write);
	}
	meet(side);
}

static void close_here(struct side *side)
{
	side->channel = channel_free(side->channel);
}

/* Takes in whatever has happened up to the last meeting. */
static void dispatch(struct side *side)
{
	int r = channel_dispatch(side->channel);

	if (r != 0)
		fail(side, "dispatch", r);
}

static void say_state(struct side *side)
{
	dispatch(side);
	trace(side, "is %s", state_name(side));
}

/* Copies `len` bytes of the pattern from `position` on. */
static const uint8_t *pattern_at(uint64_t position)
{
	return pattern + position % PATTERN;
}

static ssize_t put(struct side *side, size_t len)
{
	ssize_t r = channel_write(side->channel, pattern_at(side->written), len);

	if (r > 0)
		side->written += (uint64_t)r;
	return r;
}

/* Reads and checks the content. */
static ssize_t get(struct side *side, size_t len)
{
	ssize_t r = channel_read(side->channel, block, len);

	if (r > 0) {
		if (!side->unchecked && memcmp(block, pattern_at(side->read), (size_t)r) != 0)
			fail(side, "wrong bytes", (int)r);
		side->read += (uint64_t)r;
	}
	return r;
}

static void say_write(struct side *side, size_t len)
{
	ssize_t r = put(side, len);

	if (r >= 0)
		trace(side, "write %zu: %zd", len, r);
	else
		trace(side, "write %zu: %s", len, result_name((int)r));
}

static void say_read(struct side *side, size_t len)
{
	ssize_t r;

	dispatch(side);
	r = get(side, len);
	if (r >= 0)
		trace(side, "read %zu: %zd, %s", len, r, state_name(side));
	else
		trace(side, "read %zu: %s, %s", len, result_name((int)r), state_name(side));
}

static void say_space(struct side *side)
{
	dispatch(side);
	trace(side, "space %zu", channel_space(side->channel));
}

static void say_finish(struct side *side)
{
	trace(side, "finish: %s", result_name(channel_finish(side->channel)));
}

static void say_listen(struct side *side, struct channel **ret_channel)
{
	const struct channel_address address = address_here(side);
	const struct channel_rings rings = {.read = 4096, .write = 4096};

	trace(side, "listen: %s", result_name(channel_listen(side->backend, &address, &rings, ret_channel)));
}

/* How a back-end says no differs: a guest may not even see a server that is for somebody else. */
static void say_connect(struct side *side, struct channel **ret_channel)
{
	const struct channel_address address = address_here(side);
	const struct channel_rings most = {.read = 4096, .write = 4096};
	int r = channel_connect(side->backend, &address, &most, ret_channel);

	trace(side, "connect: %s", r == CHANNEL_NOT_YET || r == CHANNEL_REFUSED ? "no" : result_name(r));
}

/* Writes `to_write` and reads `to_read` bytes, at the same time, as an event loop does it. */
static void transfer(struct side *side, uint64_t to_write, uint64_t to_read, size_t write_size, size_t read_size)
{
	uint64_t write_end = side->written + to_write, read_end = side->read + to_read;
	bool full = false;

	while (side->written < write_end || side->read < read_end) {
		uint64_t left_to_write = write_end - side->written, left_to_read = read_end - side->read;
		ssize_t r, moved = 0;

		if (left_to_write > 0) {
			size_t len = left_to_write < write_size ? (size_t)left_to_write : write_size;

			r = put(side, len);
			if (r < 0)
				fail(side, "write", (int)r);
			full = r < (ssize_t)len;
			moved += r;
		}
		if (left_to_read > 0) {
			r = get(side, left_to_read < read_size ? (size_t)left_to_read : read_size);
			if (r < 0 || (r == 0 && channel_state(side->channel) != CHANNEL_OPEN))
				fail(side, "read", (int)r);
			moved += r;
		}
		if (moved == 0 && (side->written < write_end || side->read < read_end)) {
			int w = channel_wait(side->channel, full, PATIENCE_USEC);

			if (w != 0)
				fail(side, "stuck", w);
		}
	}
}

static void say_transfer(struct side *side, uint64_t to_write, uint64_t to_read, size_t write_size, size_t read_size)
{
	transfer(side, to_write, to_read, write_size, read_size);
	trace(side, "wrote %" PRIu64 ", read %" PRIu64, to_write, to_read);
}

/* Runs `act` in a child, which is killed at its end, and waits until it is dead. */
static void in_killed_child(struct side *side, void (*act)(struct side *))
{
	int status;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		fail(side, "fork", -errno);
	if (pid == 0) {
		act(side);
		(void)fflush(stdout);
		(void)raise(SIGKILL);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail(side, "the child was not killed", status);
}

/* --- the scenarios --- */

static void greet(struct side *side)
{
	open_pair(side, 4096, 4096);
	say_state(side);
	say_read(side, 10);
	meet(side);
	say_write(side, 5);
	meet(side);
	say_read(side, 10);
	meet(side);
	if (side->is_server)
		say_finish(side);
	meet(side);
	say_read(side, 10);
}

static void early_client(struct side *side)
{
	if (!side->is_server)
		say_connect(side, &side->channel);
	meet(side);
	if (side->is_server) {
		listen_here(side, 4096, 4096);
		say_state(side);
	}
	meet(side);
	if (!side->is_server)
		connect_here(side, 4096, 4096);
	meet(side);
	if (side->is_server)
		await_client(side);
	say_state(side);
}

static void before_the_client(struct side *side)
{
	if (side->is_server) {
		listen_here(side, 4096, 4096);
		say_space(side);
		say_write(side, 1);
		say_read(side, 1);
		say_finish(side);
		trace(side, "wait: %s", result_name(channel_wait(side->channel, false, USEC_PER_MSEC)));
		close_here(side);
	}
	meet(side);
	if (!side->is_server)
		say_connect(side, &side->channel);
}

static void wrong_client(struct side *side)
{
	if (side->is_server) {
		struct channel_address address = address_here(side);
		const struct channel_rings rings = {.read = 4096, .write = 4096};
		int r;

		address.client_domid = (uint16_t)(side->peer + 1000); /* a domain that is not there */
		r = channel_listen(side->backend, &address, &rings, &side->channel);
		if (r != 0)
			fail(side, "listen", r);
	}
	meet(side);
	if (!side->is_server)
		say_connect(side, &side->channel);
	meet(side);
	if (side->is_server)
		say_state(side);
}

static void second_client(struct side *side)
{
	struct channel *second = NULL;

	open_pair(side, 4096, 4096);
	if (!side->is_server)
		say_connect(side, &second);
	meet(side);
	say_write(side, 7);
	meet(side);
	say_read(side, 10); /* the first is unharmed */
	channel_free(second);
}

/* A server that wants more memory of its client than that one gives: no channel, and its client has come and gone. */
static void refuse_rings(struct side *side, uint32_t read, uint32_t write)
{
	if (side->is_server)
		listen_here(side, read, write);
	meet(side);
	if (!side->is_server)
		say_connect(side, &side->channel);
	meet(side);
	if (side->is_server)
		say_state(side);
}

static void too_large_to_read(struct side *side)
{
	refuse_rings(side, 4096, 8192);
}

static void too_large_to_write(struct side *side)
{
	refuse_rings(side, 1048576, 4096);
}

static void used_service(struct side *side)
{
	struct channel *second = NULL;

	if (side->is_server) {
		listen_here(side, 4096, 4096);
		say_listen(side, &second);
	}
	meet(side);
	if (!side->is_server)
		connect_here(side, 4096, 4096);
	meet(side);
	if (side->is_server) {
		say_listen(side, &second);
		await_client(side);
	}
	say_state(side);
}

static void served_again(struct side *side)
{
	for (int i = 0; i < 3; i++) {
		open_pair(side, 4096, 4096);
		say_write(side, 10);
		meet(side);
		say_read(side, 20);
		meet(side);
		if (side->is_server) /* the server first: its nodes go with it */
			close_here(side);
		meet(side);
		close_here(side);
	}
}

static void listen_and_greet(struct side *side)
{
	listen_here(side, 4096, 4096);
	await_client(side);
	say_write(side, 100);
}

static void killed_server(struct side *side)
{
	struct channel_address address = address_here(side);

	if (side->is_server)
		in_killed_child(side, listen_and_greet);
	else
		connect_here(side, 4096, 4096);
	meet(side);
	if (side->is_server) {
		say_listen(side, &side->channel); /* its leftovers are in the way */
		trace(side, "remove: %s", result_name(channel_remove_leftovers(side->backend, &address)));
		trace(side, "remove: %s", result_name(channel_remove_leftovers(side->backend, &address)));
	} else {
		say_state(side);
		say_write(side, 1);
		say_space(side);
		say_read(side, 60);
		say_read(side, 60);
		say_read(side, 60);
		close_here(side);
	}
	meet(side);
	open_pair(side, 4096, 4096);
	say_state(side);
}

static void connect_and_greet(struct side *side)
{
	connect_here(side, 4096, 4096);
	say_write(side, 100);
}

static void killed_client(struct side *side)
{
	if (side->is_server)
		listen_here(side, 4096, 4096);
	meet(side);
	if (!side->is_server)
		in_killed_child(side, connect_and_greet);
	meet(side);
	if (!side->is_server)
		return;
	await_client(side);
	say_state(side);
	say_write(side, 1);
	say_read(side, 60);
	say_read(side, 60);
	say_read(side, 60);
	say_finish(side);
}

static void hasty_client(struct side *side)
{
	if (side->is_server)
		listen_here(side, 4096, 4096);
	meet(side);
	if (!side->is_server) {
		connect_here(side, 4096, 4096);
		say_write(side, 30);
		say_finish(side);
		close_here(side);
	}
	meet(side);
	if (!side->is_server)
		return;
	say_state(side);
	say_read(side, 20);
	say_read(side, 20);
	say_read(side, 20);
	trace(side, "wait: %s", result_name(channel_wait(side->channel, false, USEC_PER_MSEC)));
}

static void byte_by_byte(struct side *side)
{
	open_pair(side, 4096, 4096);
	if (side->is_server)
		for (int i = 0; i < 300; i++)
			if (put(side, 1) != 1)
				fail(side, "write", i);
	meet(side);
	if (!side->is_server) {
		for (int i = 0; i < 300; i++)
			if (get(side, 1) != 1)
				fail(side, "read", i);
		say_read(side, 1);
	}
}

static void small_until_full(struct side *side)
{
	open_pair(side, 4096, 4096);
	if (side->is_server) {
		int n = 0;

		while (put(side, 1) == 1)
			n++;
		trace(side, "%d bytes fit one by one", n);
		say_space(side);
	}
	meet(side);
	if (!side->is_server)
		say_read(side, 4096);
}

/* The ring filled to within `short_by` bytes, then emptied. */
static void fill_and_drain(struct side *side, bool fill, size_t ring, int short_by)
{
	if (fill) {
		size_t space = channel_space(side->channel);

		say_space(side);
		say_write(side, (size_t)((int)space - short_by));
		say_space(side);
		say_write(side, 1);
		say_finish(side);
	}
	meet(side);
	if (!fill) {
		say_read(side, 1);
		say_read(side, ring);
		say_read(side, ring);
	}
	meet(side);
	if (fill)
		say_space(side);
}

static void fill_exactly(struct side *side)
{
	open_pair(side, 4096, 8192);
	fill_and_drain(side, side->is_server, 8192, 0);
	meet(side);
	fill_and_drain(side, !side->is_server, 4096, 0);
}

static void fill_almost(struct side *side)
{
	for (int short_by = -1; short_by <= 9; short_by++) {
		open_pair(side, 4096, 4096);
		fill_and_drain(side, side->is_server, 4096, short_by);
		meet(side);
		close_here(side);
		side->number += 100;
		meet(side);
	}
}

static void fill_large(struct side *side)
{
	open_pair(side, 65536, 262144);
	fill_and_drain(side, side->is_server, 262144, 0);
	meet(side);
	fill_and_drain(side, !side->is_server, 65536, 0);
}

static void largest_rings(struct side *side)
{
	open_pair(side, 1048576, 1048576);
	fill_and_drain(side, side->is_server, 1048576, 0);
	meet(side);
	fill_and_drain(side, !side->is_server, 1048576, 0);
}

static void wrap(struct side *side)
{
	open_pair(side, 4096, 4096);
	for (size_t offset = 4070; offset <= 4100; offset++) {
		if (side->is_server) {
			if (put(side, offset - 2048) < 0 || put(side, 1000) < 0)
				fail(side, "write", (int)offset);
		} else {
			transfer(side, 0, offset - 2048 + 1000, 0, 4096);
		}
		meet(side);
		if (side->is_server)
			say_write(side, 5000);
		meet(side);
		if (!side->is_server)
			say_read(side, 5000);
		meet(side);
	}
}

static void end_then_drain(struct side *side)
{
	open_pair(side, 4096, 4096);
	if (side->is_server) {
		say_write(side, 1000);
		say_finish(side);
		say_finish(side);
		say_write(side, 1);
		say_space(side);
		close_here(side);
	}
	meet(side);
	if (!side->is_server) {
		say_state(side);
		say_read(side, 400);
		say_read(side, 600);
		say_read(side, 600);
		say_write(side, 1);
		say_finish(side);
		say_space(side);
	}
}

static void end_of_an_open_peer(struct side *side)
{
	open_pair(side, 4096, 4096);
	if (!side->is_server) {
		say_write(side, 10);
		say_finish(side);
	}
	meet(side);
	if (side->is_server) {
		say_read(side, 4096);
		say_write(side, 1);
	}
	meet(side);
	if (!side->is_server)
		say_state(side);
}

static void close_without_end(struct side *side)
{
	open_pair(side, 4096, 4096);
	if (side->is_server) {
		say_write(side, 1000);
		close_here(side);
	}
	meet(side);
	if (!side->is_server) {
		say_state(side);
		say_read(side, 400);
		say_write(side, 1);
		say_read(side, 4096);
		say_read(side, 4096);
		say_finish(side);
	}
}

static void close_when_empty(struct side *side)
{
	open_pair(side, 4096, 4096);
	if (!side->is_server)
		close_here(side);
	meet(side);
	if (side->is_server) {
		say_state(side);
		say_read(side, 1);
		say_write(side, 1);
		say_space(side);
		say_finish(side);
	}
}

static void close_a_full_ring(struct side *side)
{
	open_pair(side, 4096, 4096);
	say_write(side, 8192);
	meet(side);
	if (side->is_server)
		close_here(side);
	meet(side);
	if (!side->is_server) {
		say_write(side, 1);
		say_read(side, 4096);
		say_read(side, 4096);
	}
}

static void both_finish(struct side *side)
{
	open_pair(side, 4096, 4096);
	say_write(side, 10);
	say_finish(side);
	meet(side);
	say_read(side, 100);
	say_read(side, 100);
	meet(side);
}

static void finish_when_full(struct side *side)
{
	open_pair(side, 4096, 4096);
	if (side->is_server) {
		say_write(side, 4096);
		say_finish(side);
	}
	meet(side);
	if (!side->is_server)
		say_read(side, 3);
	meet(side);
	if (side->is_server)
		say_finish(side);
	meet(side);
	if (!side->is_server)
		say_read(side, 10);
	meet(side);
	if (side->is_server)
		say_finish(side);
	meet(side);
	if (!side->is_server) {
		say_read(side, 4096);
		say_read(side, 1);
	}
}

static void wake_of_a_writer(struct side *side)
{
	open_pair(side, 4096, 4096);
	if (side->is_server)
		say_write(side, 8192);
	meet(side);
	if (!side->is_server) {
		say_read(side, 100);
		meet(side);
		return;
	}
	trace(side, "wait: %s", result_name(channel_wait(side->channel, true, PATIENCE_USEC)));
	meet(side);
	say_space(side);
}

static void vectors(struct side *side)
{
	uint8_t *bytes = block;
	const struct iovec iov[] = {{bytes, 0}, {bytes, 48},        {bytes + 48, 1},
				    {bytes, 0}, {bytes + 49, 4096}, {bytes, 0}};

	open_pair(side, 4096, 4096);
	if (side->is_server) {
		memcpy(block, pattern_at(0), 4145);
		trace(side, "writev: %zd", channel_writev(side->channel, iov, ARRAY_SIZE(iov)));
		trace(side, "writev of nothing: %zd", channel_writev(side->channel, iov, 1));
	}
	meet(side);
	if (!side->is_server)
		say_read(side, 8192);
}

static void ping_pong(struct side *side)
{
	open_pair(side, 4096, 4096);
	for (int i = 0; i < 1000; i++) {
		if (side->is_server)
			transfer(side, 16, 0, 16, 16);
		transfer(side, 0, 16, 16, 16);
		if (!side->is_server)
			transfer(side, 16, 0, 16, 16);
	}
	trace(side, "wrote %" PRIu64 ", read %" PRIu64, side->written, side->read);
}

static void many_small(struct side *side)
{
	uint64_t total = 0;

	open_pair(side, 65536, 65536);
	for (unsigned int i = 0; i < 100000; i++) {
		unsigned int len = 48 + i % 53;

		total += len;
		if (side->is_server)
			transfer(side, len, 0, len, 0);
	}
	if (!side->is_server)
		transfer(side, 0, total, 0, 4096);
	trace(side, "%" PRIu64 " bytes in 100000 messages", total);
	meet(side);
}

static void bulk_to_client(struct side *side)
{
	const uint64_t bytes = 64u * 1024 * 1024;

	open_pair(side, 262144, 262144);
	say_transfer(side, side->is_server ? bytes : 0, side->is_server ? 0 : bytes, 65536, 65536);
	meet(side);
}

static void bulk_to_server(struct side *side)
{
	const uint64_t bytes = 64u * 1024 * 1024;

	open_pair(side, 262144, 4096);
	say_transfer(side, side->is_server ? 0 : bytes, side->is_server ? bytes : 0, 100000, 30011);
	meet(side);
}

static void both_ways(struct side *side)
{
	const uint64_t bytes = 16u * 1024 * 1024;

	open_pair(side, 8192, 4096);
	say_transfer(side, bytes, bytes, 10007, 9973);
	meet(side);
}

static void both_ways_to_the_end(struct side *side)
{
	int r;

	open_pair(side, 65536, 65536);
	say_transfer(side, 1000000, 1000000, 70001, 7001);
	meet(side);
	if (side->is_server)
		while ((r = channel_finish(side->channel)) == CHANNEL_NOT_YET)
			(void)channel_wait(side->channel, true, PATIENCE_USEC);
	else
		while (channel_state(side->channel) == CHANNEL_OPEN && get(side, 1) == 0)
			if (channel_state(side->channel) == CHANNEL_OPEN)
				(void)channel_wait(side->channel, false, PATIENCE_USEC);
	trace(side, "is %s", state_name(side));
}

static const struct {
	const char *name;
	void (*run)(struct side *side);
} scenarios[] = {
	{"greet", greet},
	{"early-client", early_client},
	{"before-the-client", before_the_client},
	{"wrong-client", wrong_client},
	{"second-client", second_client},
	{"used-service", used_service},
	{"served-again", served_again},
	{"killed-server", killed_server},
	{"killed-client", killed_client},
	{"hasty-client", hasty_client},
	{"byte-by-byte", byte_by_byte},
	{"small-until-full", small_until_full},
	{"fill-exactly", fill_exactly},
	{"fill-almost", fill_almost},
	{"fill-large", fill_large},
	{"largest-rings", largest_rings},
	{"wrap", wrap},
	{"end-then-drain", end_then_drain},
	{"end-of-an-open-peer", end_of_an_open_peer},
	{"close-without-end", close_without_end},
	{"close-when-empty", close_when_empty},
	{"close-a-full-ring", close_a_full_ring},
	{"both-finish", both_finish},
	{"finish-when-full", finish_when_full},
	{"wake-of-a-writer", wake_of_a_writer},
	{"vectors", vectors},
	{"ping-pong", ping_pong},
	{"many-small", many_small},
	{"bulk-to-client", bulk_to_client},
	{"bulk-to-server", bulk_to_server},
	{"both-ways", both_ways},
	{"both-ways-to-the-end", both_ways_to_the_end},
	{"too-large-to-read", too_large_to_read},
	{"too-large-to-write", too_large_to_write},
};

/* --- measuring --- */

static void bench_bulk(struct side *side, uint32_t ring, size_t size, uint64_t bytes)
{
	uint64_t start;

	open_pair(side, ring, ring);
	start = clock_monotonic_usec();
	transfer(side, side->is_server ? bytes : 0, side->is_server ? 0 : bytes, size, 65536);
	meet(side);
	if (side->is_server)
		(void)fprintf(stderr, "ring %7u, writes of %6zu: %8.1f MiB/s\n", ring, size,
			      (double)bytes / (double)(clock_monotonic_usec() - start) * 1e6 / (1024 * 1024));
	close_here(side);
	side->number++;
}

static void bench_round_trips(struct side *side, unsigned int n)
{
	uint64_t start;

	open_pair(side, 65536, 65536);
	start = clock_monotonic_usec();
	for (unsigned int i = 0; i < n; i++) {
		if (side->is_server)
			transfer(side, 48, 0, 48, 48);
		transfer(side, 0, 48, 48, 48);
		if (!side->is_server)
			transfer(side, 48, 0, 48, 48);
	}
	if (side->is_server)
		(void)fprintf(stderr, "round trip of 48 bytes: %8.1f us\n",
			      (double)(clock_monotonic_usec() - start) / n);
	meet(side);
	close_here(side);
	side->number++;
}

static void bench(struct side *side)
{
	static const uint32_t rings[] = {65536, 262144, 1048576};

	side->scenario = "bench";
	side->unchecked = true;
	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		bench_bulk(side, rings[i], 65536, 256u * 1024 * 1024);
		bench_bulk(side, rings[i], 16384, 256u * 1024 * 1024);
		bench_bulk(side, rings[i], 64, 8u * 1024 * 1024);
	}
	bench_round_trips(side, 2000);
}

/* --- running --- */

static void pattern_init(void)
{
	uint64_t x = 88172645463325252ull;

	for (size_t i = 0; i < PATTERN; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pattern[i] = (uint8_t)x;
	}
	for (size_t i = PATTERN; i < sizeof(pattern); i++)
		pattern[i] = pattern[i - PATTERN];
}

static void open_meeting(struct side *side)
{
	const struct channel_address address = address_of(side, "meet");
	const struct channel_rings rings = {.read = 4096, .write = 4096};
	int r;

	side->scenario = "meeting";
	if (!side->is_server) {
		r = channel_connect_wait(side->backend, &address, &rings, PATIENCE_USEC, &side->meeting);
		if (r != 0)
			fail(side, "connect", r);
		return;
	}
	r = channel_listen(side->backend, &address, &rings, &side->meeting);
	if (r != 0)
		fail(side, "listen", r);
	while (channel_state(side->meeting) == CHANNEL_WAITING) {
		r = channel_wait(side->meeting, false, PATIENCE_USEC);
		if (r != 0)
			fail(side, "no client", r);
	}
}

static void run_all(struct side *side, const char *only, bool measure)
{
	open_meeting(side);
	if (measure)
		bench(side);
	for (unsigned int i = 0; i < ARRAY_SIZE(scenarios) && !measure; i++) {
		if (only && strcmp(only, scenarios[i].name) != 0)
			continue;
		side->scenario = scenarios[i].name;
		side->number = i + 1;
		side->written = side->read = 0;
		scenarios[i].run(side);
		side->scenario = scenarios[i].name;
		meet(side);
		close_here(side);
		meet(side);
		trace(side, "done");
		(void)fflush(stdout);
	}
	meet(side);
	side->meeting = channel_free(side->meeting);
}

/* The client in a child, whose trace is printed after the server's. */
static int run_both(struct side *side, const char *only, bool measure)
{
	FILE *client_trace = tmpfile();
	size_t n;
	pid_t pid;
	int status;

	if (!client_trace)
		return 1;
	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		return 1;
	if (pid == 0) {
		(void)dup2(fileno(client_trace), STDOUT_FILENO);
		side->is_server = false;
		side->own = side->peer;
		side->peer = (uint16_t)(side->own - 1);
		run_all(side, only, measure);
		(void)fflush(stdout);
		_exit(0);
	}
	run_all(side, only, measure);
	if (waitpid(pid, &status, 0) != pid)
		return 1;
	rewind(client_trace);
	while ((n = fread(block, 1, sizeof(block), client_trace)) > 0)
		(void)fwrite(block, 1, n, stdout);
	(void)fclose(client_trace);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static uint16_t domid_option(const char *text)
{
	uint64_t value;

	if (text_to_u64(text, UINT16_MAX, &value) < 0) {
		(void)fprintf(stderr, "channel-suite: %s: not a domain id\n", text);
		exit(2);
	}
	return (uint16_t)value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"backend", required_argument, NULL, 'b'},
		{"role", required_argument, NULL, 'r'},
		{"both", no_argument, NULL, '2'},
		{"own", required_argument, NULL, 'o'},
		{"peer", required_argument, NULL, 'p'},
		{"run", required_argument, NULL, 'n'},
		{"only", required_argument, NULL, 's'},
		{"bench", no_argument, NULL, 'm'},
		{0},
	};
	struct side side = {.is_server = true, .own = 1, .peer = 2};
	const char *backend = NULL, *only = NULL;
	bool both = false, measure = false;
	int option, r;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'b':
			backend = optarg;
			break;
		case 'r':
			side.is_server = strcmp(optarg, "server") == 0;
			break;
		case '2':
			both = true;
			break;
		case 'o':
			side.own = domid_option(optarg);
			break;
		case 'p':
			side.peer = domid_option(optarg);
			break;
		case 'n':
			side.run = strtoull(optarg, NULL, 16);
			break;
		case 's':
			only = optarg;
			break;
		case 'm':
			measure = true;
			break;
		default:
			return 2;
		}
	if (!backend || optind != argc) {
		(void)fprintf(stderr,
			      "usage: channel-suite --backend BACKEND (--both | --role server|client --own DOMID "
			      "--peer DOMID) [--run HEX] [--only NAME] [--bench]\n");
		return 2;
	}
	r = channel_backend_new_from_text(backend, &side.backend);
	if (r < 0) {
		(void)fprintf(stderr, "channel-suite: %s: %s\n", backend, strerror(-r));
		return 2;
	}
	pattern_init();
	r = both ? run_both(&side, only, measure) : (run_all(&side, only, measure), 0);
	side.backend = channel_backend_free(side.backend);
	return fflush(stdout) == 0 ? r : 1;
}
