// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The back-end `xen`: libxenvchan. Facts about the library that this file lives by (Xen 4.17, tools/libs/vchan):
 *
 *   - its path buffer has 64 bytes and a longer key is cut silently: a base path has at most 49 characters;
 *   - `blocking` is not initialised; libxenvchan_wait() blocks in spite of it unless the fd is O_NONBLOCK;
 *   - a second server on one path overwrites the first one's nodes, and removes them for both when it closes;
 *   - a read looks at the ring and then at the link: bytes written in between, before a close, would be lost;
 *   - data_ready() and buffer_space() ask the peer for a wake-up, so each call of them can cost one;
 *   - a client learns the sizes of the rings, 1 KiB to 1 MiB, when it has mapped them: init takes no limit, and keeps
 *     copies of both orders, which the server cannot change any more;
 *   - bad indices from the peer read as an empty ring, and as a full one when writing, for ever;
 *   - there is no connection to xenstore but inside init and the server's close.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include <libxenvchan.h>
#include <xenstore.h>

#include "lib/base/base.h"
#include "lib/channel/backend.h"

#define PATH_SIZE 50u /* 49 characters */

struct xen_channel {
	struct channel base;
	struct libxenvchan *vchan;
};

static struct xen_channel *xen_of(const struct channel *channel)
{
	return (struct xen_channel *)(uintptr_t)channel; /* `base` is its first member; the library knows no const */
}

static enum channel_link xen_link(const struct channel *channel)
{
	int untrusted_open = libxenvchan_is_open(xen_of(channel)->vchan);

	if (untrusted_open == 0)
		return CHANNEL_LINK_DOWN;
	return xen_of(channel)->vchan->is_server && untrusted_open == 2 ? CHANNEL_LINK_WAITING : CHANNEL_LINK_UP;
}

static int xen_send(struct channel *channel, const void *bytes, size_t len)
{
	int r = libxenvchan_send(xen_of(channel)->vchan, bytes, len);

	return r < 0 ? -EPIPE : r > 0;
}

static ssize_t xen_receive(struct channel *channel, void *untrusted_bytes, size_t len)
{
	struct libxenvchan *vchan = xen_of(channel)->vchan;
	int r = libxenvchan_read(vchan, untrusted_bytes, len < INT_MAX ? len : INT_MAX);

	if (r < 0 && libxenvchan_data_ready(vchan) > 0)
		r = libxenvchan_read(vchan, untrusted_bytes, len < INT_MAX ? len : INT_MAX);
	return r < 0 ? -EPIPE : r;
}

static size_t xen_space(const struct channel *channel, size_t wanted)
{
	struct libxenvchan *vchan = xen_of(channel)->vchan;
	size_t size = (size_t)1 << vchan->write.order;
	uint32_t prod = __atomic_load_n(&vchan->write.shr->prod, __ATOMIC_RELAXED);
	uint32_t used =
		prod - __atomic_load_n(&vchan->write.shr->cons, __ATOMIC_ACQUIRE); /* the peer may say what it likes */
	int space;

	if (used == 0 || (used <= size && size - used >= wanted))
		return size - used; /* enough, or all of it: no wake-up is needed, or could bring more */
	space = libxenvchan_buffer_space(vchan);
	return space > 0 ? (size_t)space : 0;
}

static bool xen_pending(const struct channel *channel)
{
	return libxenvchan_data_ready(xen_of(channel)->vchan) > 0;
}

static int xen_take_wakeup(struct channel *channel)
{
	if (libxenvchan_wait(xen_of(channel)->vchan) < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	return 0;
}

static void xen_close(struct channel *channel)
{
	libxenvchan_close(xen_of(channel)->vchan);
}

static const struct channel_ops xen_ops = {
	.link = xen_link,
	.send = xen_send,
	.receive = xen_receive,
	.space = xen_space,
	.pending = xen_pending,
	.take_wakeup = xen_take_wakeup,
	.close = xen_close,
};

/* Owns `vchan` from here on, also when it fails. */
static int xen_channel_new(struct libxenvchan *vchan, enum channel_state state, struct channel **ret_channel)
{
	struct xen_channel *xen = malloc(sizeof(*xen));
	int fd = libxenvchan_fd_for_select(vchan);
	int flags = fcntl(fd, F_GETFL);
	int r = -ENOMEM;

	vchan->blocking = 0;
	vchan->server_persist = 0;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		r = -errno;
	else if (xen)
		r = channel_init(&xen->base, &xen_ops, fd, 1u << vchan->write.order, state);
	if (r < 0) {
		libxenvchan_close(vchan);
		free(xen);
		return r;
	}
	xen->vchan = vchan;
	*ret_channel = &xen->base;
	return 0;
}

static int xen_path(const struct channel_address *address, char ret_path[PATH_SIZE])
{
	int len = snprintf(ret_path, PATH_SIZE, "/local/domain/%u/data/%s", address->server_domid, address->service);
	return len < 0 || (size_t)len >= PATH_SIZE ? -ENAMETOOLONG : 0;
}

static void cleanup_xs(struct xs_handle **xs)
{
	if (*xs)
		xs_close(*xs);
}

/* 0, or -EADDRINUSE when a server, alive or killed, has nodes at this path. */
static int xen_path_is_free(const char *path)
{
	_cleanup_(cleanup_xs) struct xs_handle *xs = xs_open(0);
	_cleanup_free_ char **names = NULL;
	unsigned int n_names;

	if (!xs)
		return errno ? -errno : -ENOTCONN;
	names = xs_directory(xs, XBT_NULL, path, &n_names);
	if (!names)
		return errno == ENOENT ? 0 : -errno;
	return n_names > 0 ? -EADDRINUSE : 0;
}

static int xen_listen(struct channel_backend *backend _unused_, const struct channel_address *address,
		      const struct channel_rings *rings, struct channel **ret_channel)
{
	struct libxenvchan *vchan;
	char path[PATH_SIZE];
	int r = xen_path(address, path);

	if (r == 0)
		r = xen_path_is_free(path);
	if (r < 0)
		return r;
	errno = 0;
	vchan = libxenvchan_server_init(NULL, address->client_domid, path, rings->read, rings->write);
	if (!vchan)
		return errno ? -errno : -ENOMEM;
	return xen_channel_new(vchan, CHANNEL_WAITING, ret_channel);
}

static int xen_connect(struct channel_backend *backend _unused_, const struct channel_address *address,
		       struct channel_rings *ret_untrusted_rings, struct channel **ret_channel)
{
	struct libxenvchan *vchan;
	char path[PATH_SIZE];
	int r = xen_path(address, path);

	if (r < 0)
		return r;
	errno = 0;
	vchan = libxenvchan_client_init(NULL, address->server_domid, path);
	if (vchan) {
		*ret_untrusted_rings =
			(struct channel_rings){.read = 1u << vchan->write.order, .write = 1u << vchan->read.order};
		return xen_channel_new(vchan, CHANNEL_OPEN, ret_channel);
	}
	switch (errno) {
	case ENOENT: /* no nodes */
	case EACCES: /* not yet readable to us, or in the way of a guest: no nodes */
		return CHANNEL_NOT_YET;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOSPC:
		return -errno;
	}
	return CHANNEL_REFUSED; /* nodes, but the hypervisor lets us have neither event channel nor grant */
}

static int xen_remove_leftovers(struct channel_backend *backend _unused_, const struct channel_address *address)
{
	_cleanup_(cleanup_xs) struct xs_handle *xs = NULL;
	char path[PATH_SIZE];
	int r = xen_path(address, path);

	if (r < 0)
		return r;
	errno = 0;
	xs = xs_open(0);
	if (!xs)
		return errno ? -errno : -ENOTCONN;
	if (!xs_rm(xs, XBT_NULL, path) && errno != ENOENT)
		return -errno;
	return 0;
}

int channel_backend_new_xen(struct channel_backend **ret_backend)
{
	struct channel_backend *backend;

	/* Checked here, because without it each connect would say "no server yet". */
	if (access("/dev/xen/evtchn", R_OK | W_OK) < 0)
		return -errno;
	backend = malloc(sizeof(*backend));
	if (!backend)
		return -ENOMEM;
	*backend = (struct channel_backend){
		.listen = xen_listen, .connect = xen_connect, .remove_leftovers = xen_remove_leftovers};
	*ret_backend = backend;
	return 0;
}
