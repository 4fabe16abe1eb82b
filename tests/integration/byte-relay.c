/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries a byte stream between a channel (lib/channel) and a file, for peers of tests/bench/run that have no channel of
 * their own. Both ways, without looking at the bytes, until either side ends.
 *
 *   byte-relay listen  OWN PEER SERVICE FILE     serves the channel in domain OWN for domain PEER
 *   byte-relay connect OWN PEER SERVICE FILE     is the client, in OWN
 *
 * FILE is a character device, or tcp:PORT on the loopback interface (a connection, tried again for a while).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/channel/channel.h"

#define BUFFER (256u * 1024u)
#define CONNECT_TRIES 100
#define CONNECT_PAUSE_USEC 100000
#define TCP_PREFIX "tcp:"

struct flow {
	size_t at, end;
	uint8_t bytes[BUFFER];
};

static int fail(const char *what, int error)
{
	fprintf(stderr, "byte-relay: %s: %s\n", what, strerror(error));
	return 1;
}

/* A connected socket or a negative errno. */
static int open_tcp(uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	const int on = 1;

	for (int i = 0; i < CONNECT_TRIES; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0)
			return -errno;
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			return fd;
		}
		(void)close(fd);
		(void)usleep(CONNECT_PAUSE_USEC);
	}
	return -ECONNREFUSED;
}

static int open_file(const char *name)
{
	int fd, flags;

	if (strncmp(name, TCP_PREFIX, strlen(TCP_PREFIX)) == 0)
		fd = open_tcp((uint16_t)strtoul(name + strlen(TCP_PREFIX), NULL, 10));
	else
		fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fd == -1 ? -errno : fd;
	flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : fd;
}

static int open_channel(bool serve, uint16_t own, uint16_t peer, const char *service, struct channel **ret_channel)
{
	static const struct channel_rings rings = {.read = RING_BULK_OUT, .write = RING_BULK_IN};
	struct channel_address address = {
		.server_domid = serve ? own : peer,
		.client_domid = serve ? peer : own,
	};
	struct channel_backend *backend = NULL;
	int r = channel_backend_new_xen(&backend);

	if (r < 0)
		return r;
	(void)snprintf(address.service, sizeof(address.service), "%s", service);
	if (!serve)
		return channel_connect_wait(backend, &address, &rings, TIMEOUT_ATTACH_STEP_USEC, ret_channel);
	r = channel_listen(backend, &address, &rings, ret_channel);
	while (r == 0 && channel_state(*ret_channel) == CHANNEL_WAITING)
		r = channel_wait(*ret_channel, false, TIMEOUT_ATTACH_STEP_USEC);
	return r;
}

/* Bytes that read(2), recv or a channel gave. True when the flow changed. */
static bool filled(struct flow *flow, ssize_t n)
{
	if (n > 0)
		flow->end += (size_t)n;
	return n > 0;
}

static bool drained(struct flow *flow, ssize_t n)
{
	if (n > 0)
		flow->at += (size_t)n;
	if (flow->at == flow->end)
		flow->at = flow->end = 0;
	return n > 0;
}

/* Moves all that can be moved. 0, or 1 when the file has ended. */
static int pump(struct channel *channel, int fd, struct flow *in, struct flow *out)
{
	bool moved;

	do {
		ssize_t n;

		moved = in->end < BUFFER && filled(in, channel_read(channel, in->bytes + in->end, BUFFER - in->end));
		if (in->at < in->end) {
			n = write(fd, in->bytes + in->at, in->end - in->at);
			if (n < 0 && errno != EAGAIN)
				return 1;
			moved |= drained(in, n);
		}
		if (out->end < BUFFER) {
			n = read(fd, out->bytes + out->end, BUFFER - out->end);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				return 1;
			moved |= filled(out, n);
		}
		if (out->at < out->end)
			moved |= drained(out, channel_write(channel, out->bytes + out->at, out->end - out->at));
	} while (moved);
	return 0;
}

static int relay(struct channel *channel, int fd)
{
	static struct flow in, out;

	while (pump(channel, fd, &in, &out) == 0 && channel_state(channel) == CHANNEL_OPEN) {
		struct pollfd fds[] = {
			{.fd = fd, .events = (short)((out.end < BUFFER ? POLLIN : 0) | (in.at < in.end ? POLLOUT : 0))},
			{.fd = channel_fd(channel), .events = channel_poll_events(channel, out.at < out.end)},
		};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return fail("poll", errno);
		if (fds[1].revents && channel_dispatch(channel) < 0)
			return fail("channel", EIO);
	}
	(void)channel_finish(channel);
	return 0;
}

int main(int argc, char **argv)
{
	struct channel *channel = NULL;
	int fd, r;

	if (argc != 6) {
		fprintf(stderr, "usage: byte-relay listen|connect OWN PEER SERVICE FILE\n");
		return 2;
	}
	r = open_channel(strcmp(argv[1], "listen") == 0, (uint16_t)strtoul(argv[2], NULL, 10),
			 (uint16_t)strtoul(argv[3], NULL, 10), argv[4], &channel);
	if (r)
		return fail("channel", r < 0 ? -r : ETIMEDOUT);
	fd = open_file(argv[5]);
	if (fd < 0)
		return fail(argv[5], -fd);
	r = relay(channel, fd);
	(void)channel_free(channel);
	return r;
}
