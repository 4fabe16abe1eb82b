/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The importing end of a USB session without its guard, for the control run of tests/rig/test_hostile.py: it takes the place
 * of `usb-proxy import`, does the handshake, and then gives whatever the exporter sends to vhci_hcd as it comes. What
 * happens to that kernel is what the filter of the real program is for. Never installed but in the rig's images.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/channel/channel.h"
#include "lib/proxy/report.h"
#include "lib/usbip/snapshot.h"
#include "lib/wire/messages.h"

#define BUFFER (1024u * 1024u)

struct flow {
	size_t at, end;
	uint8_t bytes[BUFFER];
};

static bool read_exactly(struct channel *channel, uint8_t *bytes, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = channel_read(channel, bytes + got, len - got);

		if (n < 0 || (n == 0 && channel_wait(channel, false, TIMEOUT_CONNECT_USEC) != 0))
			return false;
		got += (size_t)n;
	}
	return true;
}

/* What the exporter says first, believed. */
static int greet(struct channel *channel)
{
	struct proxy_report ready = {.type = PROXY_READY};
	uint8_t head[SNAPSHOT_PREAMBLE], go[SNAPSHOT_GO] = {0};
	static uint8_t snapshot[LIMIT_SNAPSHOT];
	uint32_t len;

	if (!read_exactly(channel, head, sizeof(head)))
		return -EPROTO;
	len = get_le32(head + 12);
	if (len > sizeof(snapshot) || !read_exactly(channel, snapshot, len))
		return -EPROTO;
	put_le32(go, SNAPSHOT_MAGIC_GO);
	put_le16(go + 4, SNAPSHOT_VERSION);
	if (channel_write(channel, go, sizeof(go)) != (ssize_t)sizeof(go))
		return -EPIPE;
	ready.speed = snapshot[SNAPSHOT_SPEED_AT];
	ready.devid = get_le32(head + 8);
	return proxy_report_send(PROXY_FD_REPORT, &ready);
}

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

/* Moves all that can be moved. False: the kernel let go of its socket. */
static bool pump(struct channel *channel, struct flow *in, struct flow *out)
{
	bool moved;
	ssize_t n;

	do {
		moved = in->end < BUFFER && filled(in, channel_read(channel, in->bytes + in->end, BUFFER - in->end));
		if (in->at < in->end) {
			n = send(PROXY_FD_DATA, in->bytes + in->at, in->end - in->at, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && errno != EAGAIN)
				return false;
			moved |= drained(in, n);
		}
		if (out->end < BUFFER) {
			n = recv(PROXY_FD_DATA, out->bytes + out->end, BUFFER - out->end, MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				return false;
			moved |= filled(out, n);
		}
		if (out->at < out->end)
			moved |= drained(out, channel_write(channel, out->bytes + out->at, out->end - out->at));
	} while (moved);
	return true;
}

static enum outcome serve(struct channel *channel)
{
	static struct flow in, out;

	while (pump(channel, &in, &out)) {
		struct pollfd fds[] = {
			{.fd = PROXY_FD_DATA, .events = (short)(POLLIN | (in.at < in.end ? POLLOUT : 0))},
			{.fd = channel_fd(channel), .events = channel_poll_events(channel, out.at < out.end)},
			{.fd = PROXY_FD_REPORT, .events = POLLIN},
		};

		if (channel_state(channel) != CHANNEL_OPEN)
			return OUTCOME_PEER_LOST;
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return OUTCOME_INTERNAL;
		if (fds[2].revents)
			return OUTCOME_STOPPED;
		if (fds[1].revents && channel_dispatch(channel) < 0)
			return OUTCOME_PEER_LOST;
	}
	return OUTCOME_OK;
}

/* `import --channel xen --own N --peer N --service NAME ...`, as the agent calls usb-proxy. */
static int take_words(int argc, char **argv, struct channel_address *ret_address)
{
	for (int i = 2; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--own") == 0)
			ret_address->client_domid = (uint16_t)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--peer") == 0)
			ret_address->server_domid = (uint16_t)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--service") == 0)
			(void)snprintf(ret_address->service, sizeof(ret_address->service), "%s", argv[i + 1]);
	}
	return argc > 2 && strcmp(argv[1], "import") == 0 && ret_address->service[0] ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	struct proxy_report ended = {.type = PROXY_ENDED, .outcome = OUTCOME_PEER_LOST};
	static const struct channel_rings most = {.read = RING_BULK_OUT, .write = RING_BULK_IN};
	struct channel_address address = {0};
	struct channel_backend *backend = NULL;
	struct channel *channel = NULL;

	if (take_words(argc, argv, &address)) {
		fputs("usage: unguarded import --own N --peer N --service NAME ...\n", stderr);
		return 2;
	}
	if (channel_backend_new_xen(&backend) ||
	    channel_connect_wait(backend, &address, &most, TIMEOUT_CONNECT_USEC, &channel))
		return EXIT_FAILURE;
	if (greet(channel) == 0)
		ended.outcome = (uint8_t)serve(channel);
	(void)channel_finish(channel);
	(void)channel_free(channel);
	(void)shutdown(PROXY_FD_DATA, SHUT_RDWR);
	return proxy_report_send(PROXY_FD_REPORT, &ended) ? EXIT_FAILURE : EXIT_SUCCESS;
}
