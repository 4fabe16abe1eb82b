// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Channels above the back-ends: framing, end-of-stream, states, waiting.
 *
 * The stream is a sequence of chunks:
 *
 *     0  u32  length     of the payload, little endian: 1..CHANNEL_CHUNK_MAX; 0 is the end of the stream
 *     4  payload
 *
 * A writer puts header and payload into the ring in one piece, so the peer wakes once for both. A reader takes the
 * header into private memory before it looks at it, and payload goes straight to the caller.
 *
 * Invariants: a stream without its end mark never becomes ENDED; the states that end a channel are reached only when
 * nothing is left to read (or the framing is broken); after them the ring is not touched again.
 */
#include "lib/channel/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/limits.h"
#include "lib/channel/backend.h"

#define CONNECT_RETRY_USEC (10 * USEC_PER_MSEC)

/* Where a writev stands. */
struct cursor {
	const struct iovec *iov;
	size_t offset;
};

static bool service_is_valid(const char *service)
{
	size_t len = strnlen(service, CHANNEL_SERVICE_MAX);
	bool slash = false;

	if (len == 0 || len == CHANNEL_SERVICE_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = service[i];

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')
			continue;
		if (c != '/' || slash || i == 0 || i == len - 1)
			return false;
		slash = true;
	}
	return true;
}

bool channel_ring_is_valid(uint32_t size)
{
	return size >= CHANNEL_RING_MIN && size <= CHANNEL_RING_MAX && (size & (size - 1)) == 0;
}

int channel_backend_new_from_text(const char *text, struct channel_backend **ret_backend)
{
	static const char socket_prefix[] = "socket:";

	if (strcmp(text, "xen") == 0)
		return channel_backend_new_xen(ret_backend);
	if (strncmp(text, socket_prefix, strlen(socket_prefix)) == 0 && text[strlen(socket_prefix)])
		return channel_backend_new_socket(text + strlen(socket_prefix), ret_backend);
	return -EINVAL;
}

struct channel_backend *channel_backend_free(struct channel_backend *backend)
{
	free(backend);
	return NULL;
}

int channel_init(struct channel *channel, const struct channel_ops *ops, int fd, uint32_t write_ring,
		 enum channel_state state)
{
	uint32_t chunk_max = write_ring - CHANNEL_HEADER;

	if (chunk_max > CHANNEL_CHUNK_MAX)
		chunk_max = CHANNEL_CHUNK_MAX;
	*channel = (struct channel){.ops = ops, .fd = fd, .state = state, .chunk_max = chunk_max};
	channel->chunk = malloc(CHANNEL_HEADER + chunk_max);
	return channel->chunk ? 0 : -ENOMEM;
}

int channel_listen(struct channel_backend *backend, const struct channel_address *address,
		   const struct channel_rings *rings, struct channel **ret_channel)
{
	if (!service_is_valid(address->service) || !channel_ring_is_valid(rings->read) ||
	    !channel_ring_is_valid(rings->write))
		return -EINVAL;
	return backend->listen(backend, address, rings, ret_channel);
}

int channel_connect(struct channel_backend *backend, const struct channel_address *address,
		    const struct channel_rings *most, struct channel **ret_channel)
{
	struct channel_rings untrusted_rings;
	struct channel *channel;
	int r;

	if (!service_is_valid(address->service) || !channel_ring_is_valid(most->read) ||
	    !channel_ring_is_valid(most->write))
		return -EINVAL;
	r = backend->connect(backend, address, &untrusted_rings, &channel);
	if (r != 0)
		return r;
	if (untrusted_rings.read > most->read || untrusted_rings.write > most->write) {
		(void)channel_free(channel);
		return CHANNEL_TOO_LARGE;
	}
	*ret_channel = channel;
	return 0;
}

static struct timespec usec_to_timespec(uint64_t usec)
{
	return (struct timespec){.tv_sec = (time_t)(usec / USEC_PER_SEC),
				 .tv_nsec = (long)(usec % USEC_PER_SEC * 1000)};
}

int channel_connect_wait(struct channel_backend *backend, const struct channel_address *address,
			 const struct channel_rings *most, uint64_t timeout_usec, struct channel **ret_channel)
{
	const struct timespec pause = usec_to_timespec(CONNECT_RETRY_USEC);
	uint64_t start = clock_monotonic_usec();

	for (;;) {
		int r = channel_connect(backend, address, most, ret_channel);

		if (r != CHANNEL_NOT_YET)
			return r;
		if (clock_monotonic_usec() - start >= timeout_usec)
			return CHANNEL_TIMED_OUT;
		(void)nanosleep(&pause, NULL);
	}
}

int channel_fd(const struct channel *channel)
{
	return channel->fd;
}

short channel_poll_events(const struct channel *channel _unused_, bool want_write _unused_)
{
	return POLLIN; /* both directions wake through the same fd; a short read or write asked for the wake-up */
}

int channel_dispatch(struct channel *channel)
{
	enum channel_link link;
	int r;

	if (channel->state != CHANNEL_WAITING && channel->state != CHANNEL_OPEN)
		return 0;
	r = channel->ops->take_wakeup(channel);
	if (r < 0)
		return r;
	link = channel->ops->link(channel);
	if (channel->state == CHANNEL_WAITING && link != CHANNEL_LINK_WAITING)
		channel->state = CHANNEL_OPEN;
	/* The link first, then the ring: what the peer wrote before it went is seen. */
	if (channel->state == CHANNEL_OPEN && link == CHANNEL_LINK_DOWN && !channel->ops->pending(channel))
		channel->state = CHANNEL_DEAD;
	return 0;
}

enum channel_state channel_state(const struct channel *channel)
{
	return channel->state;
}

/* Notes what a receive of the back-end says: the bytes, or 0 when there is nothing (more). */
static size_t take_received(struct channel *channel, ssize_t r)
{
	if (r >= 0)
		return (size_t)r;
	channel->state = CHANNEL_DEAD;
	return 0;
}

/* Takes in (more of) a chunk's header; true when it is whole, also for those that end the channel. */
static bool receive_header(struct channel *channel)
{
	uint32_t untrusted_length;

	while (channel->n_header < CHANNEL_HEADER) {
		size_t got = take_received(channel, channel->ops->receive(channel, channel->header + channel->n_header,
									  CHANNEL_HEADER - channel->n_header));

		if (got == 0)
			return false;
		channel->n_header += got;
	}
	channel->n_header = 0;
	untrusted_length = get_le32(channel->header);
	if (untrusted_length == 0) {
		channel->state = CHANNEL_ENDED;
	} else if (untrusted_length > CHANNEL_CHUNK_MAX) {
		channel->broken = true;
		channel->state = CHANNEL_DEAD;
	} else {
		channel->chunk_left = untrusted_length;
	}
	return true;
}

ssize_t channel_read(struct channel *channel, void *buffer, size_t len)
{
	uint8_t *bytes = buffer;
	size_t n = 0;

	while (n < len && channel->state == CHANNEL_OPEN) {
		size_t want = len - n, got;

		if (channel->chunk_left == 0) {
			if (!receive_header(channel))
				break;
			continue;
		}
		if (want > channel->chunk_left)
			want = channel->chunk_left;
		got = take_received(channel, channel->ops->receive(channel, bytes + n, want));
		if (got == 0)
			break;
		n += got;
		channel->chunk_left -= (uint32_t)got;
	}
	return n == 0 && channel->broken ? -EPROTO : (ssize_t)n;
}

static size_t iov_length(const struct iovec *iov, int n_iov)
{
	size_t len = 0;

	for (int i = 0; i < n_iov; i++)
		len += iov[i].iov_len;
	return len;
}

/* Copies the next `len` bytes of the vector, which has them; the cursor stays where it is. */
static void cursor_copy(struct cursor cursor, uint8_t *out, size_t len)
{
	while (len > 0) {
		size_t n = cursor.iov->iov_len - cursor.offset;

		if (n > len)
			n = len;
		if (n > 0)
			memcpy(out, (const uint8_t *)cursor.iov->iov_base + cursor.offset, n);
		out += n;
		len -= n;
		cursor.iov++;
		cursor.offset = 0;
	}
}

static void cursor_advance(struct cursor *cursor, size_t len)
{
	while (len > 0 && len >= cursor->iov->iov_len - cursor->offset) {
		len -= cursor->iov->iov_len - cursor->offset;
		cursor->iov++;
		cursor->offset = 0;
	}
	cursor->offset += len;
}

/* Sends the first `len` bytes of the chunk in the buffer, or, when it does not fit, as many as fit. */
static ssize_t send_chunk(struct channel *channel, size_t len)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		size_t space;
		int r;

		put_le32(channel->chunk, (uint32_t)len);
		r = channel->ops->send(channel, channel->chunk, CHANNEL_HEADER + len);
		if (r < 0)
			return r;
		if (r > 0)
			return (ssize_t)len;
		space = channel->ops->space(channel, CHANNEL_HEADER + len);
		if (space <= CHANNEL_HEADER)
			return 0;
		if (len > space - CHANNEL_HEADER)
			len = space - CHANNEL_HEADER;
	}
	return 0;
}

ssize_t channel_writev(struct channel *channel, const struct iovec *iov, int n_iov)
{
	struct cursor cursor = {.iov = iov};
	size_t total = iov_length(iov, n_iov), done = 0;

	if (channel->state != CHANNEL_OPEN || channel->finished)
		return -EPIPE;
	while (done < total) {
		size_t len = total - done < channel->chunk_max ? total - done : channel->chunk_max;
		ssize_t r;

		cursor_copy(cursor, channel->chunk + CHANNEL_HEADER, len);
		r = send_chunk(channel, len);
		if (r < 0 && done == 0)
			return r;
		if (r <= 0)
			break;
		cursor_advance(&cursor, (size_t)r);
		done += (size_t)r;
		if ((size_t)r < len)
			break;
	}
	return (ssize_t)done;
}

ssize_t channel_write(struct channel *channel, const void *buffer, size_t len)
{
	const struct iovec iov = {(void *)(uintptr_t)buffer, len}; /* an iovec has no const; nothing writes there */

	return channel_writev(channel, &iov, 1);
}

/* Of payload, as that of channel_ops. */
static size_t space_of(const struct channel *channel, size_t wanted)
{
	size_t raw, whole, rest;

	if (channel->state != CHANNEL_OPEN || channel->finished || channel->ops->link(channel) != CHANNEL_LINK_UP)
		return 0;
	raw = channel->ops->space(channel, wanted);
	whole = raw / (CHANNEL_HEADER + channel->chunk_max);
	rest = raw % (CHANNEL_HEADER + channel->chunk_max);
	return whole * channel->chunk_max + (rest > CHANNEL_HEADER ? rest - CHANNEL_HEADER : 0);
}

size_t channel_space(const struct channel *channel)
{
	return space_of(channel, SIZE_MAX);
}

bool channel_fits(const struct channel *channel, size_t len)
{
	return space_of(channel, 0) >= len;
}

int channel_finish(struct channel *channel)
{
	static const uint8_t end[CHANNEL_HEADER] = {0};
	int r;

	if (channel->finished)
		return 0;
	if (channel->state != CHANNEL_OPEN)
		return -EPIPE;
	r = channel->ops->send(channel, end, sizeof(end));
	if (r < 0)
		return r;
	channel->finished = r > 0;
	return r > 0 ? 0 : CHANNEL_NOT_YET;
}

int channel_wait(struct channel *channel, bool want_write, uint64_t timeout_usec)
{
	struct pollfd pollfd = {.fd = channel->fd, .events = channel_poll_events(channel, want_write)};
	uint64_t start = clock_monotonic_usec(), passed = 0;

	if (channel->state != CHANNEL_WAITING && channel->state != CHANNEL_OPEN)
		return -EPIPE;
	for (;;) {
		struct timespec left = usec_to_timespec(timeout_usec - passed);
		int n = ppoll(&pollfd, 1, &left, NULL);

		if (n > 0)
			return channel_dispatch(channel);
		if (n < 0 && errno != EINTR)
			return -errno;
		passed = clock_monotonic_usec() - start;
		if (n == 0 || passed >= timeout_usec)
			return CHANNEL_TIMED_OUT;
	}
}

struct channel *channel_free(struct channel *channel)
{
	if (!channel)
		return NULL;
	channel->ops->close(channel);
	free(channel->chunk);
	free(channel);
	return NULL;
}

int channel_remove_leftovers(struct channel_backend *backend, const struct channel_address *address)
{
	if (!service_is_valid(address->service))
		return -EINVAL;
	return backend->remove_leftovers(backend, address);
}
