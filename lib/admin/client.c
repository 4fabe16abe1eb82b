/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See client.h. Two things wait, and both end at the caller's deadline: connect(), while the server's backlog is full,
 * and poll(). Whoever waits in connect() gets his turn in order; one that only tries again and again may never get it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/admin/client.h"
#include "lib/base/clock.h"

enum call_state { CALL_CONNECTING, CALL_SENDING, CALL_READING };

struct admin_call {
	int fd;
	enum call_state state;
	struct sockaddr_un address;
	size_t sent, request_len, reply_len;
	size_t used; /* of the reply: an event that was given out */
	char request[LIMIT_ADMIN_REQUEST];
	char reply[LIMIT_ADMIN_REPLY + 1];
};

int admin_call_new(const char *socket_path, const char *method, const char *argument, const char *dest,
		   const char *payload, struct admin_call **ret_call)
{
	_cleanup_admin_call_ struct admin_call *call = malloc(sizeof(*call));
	int len;

	if (!call)
		return -ENOMEM;
	call->fd = -1;
	call->state = CALL_CONNECTING;
	call->sent = call->reply_len = call->used = 0;
	call->address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(socket_path) >= sizeof(call->address.sun_path))
		return -ENAMETOOLONG;
	(void)strcpy(call->address.sun_path, socket_path);
	len = snprintf(call->request, sizeof(call->request), "%s+%s dom0 name %s", method, argument, dest);
	if (len < 0 || (size_t)len + 1 + strlen(payload) > sizeof(call->request))
		return -EMSGSIZE;
	memcpy(call->request + len + 1, payload, strlen(payload));
	call->request_len = (size_t)len + 1 + strlen(payload);
	call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* not blocking when it is connected */
	if (call->fd < 0)
		return -errno;
	*ret_call = TAKE_PTR(call);
	return 0;
}

struct admin_call *admin_call_free(struct admin_call *call)
{
	if (call) {
		if (call->fd >= 0)
			(void)close(call->fd);
		free(call);
	}
	return NULL;
}

/* The steps: 0 went on, ADMIN_CALL_PENDING must wait, another outcome or a negative errno is the end of the call. */
static int step_connect(struct admin_call *call, uint64_t usec)
{
	struct timeval time = {.tv_sec = (time_t)(usec / USEC_PER_SEC), .tv_usec = (suseconds_t)(usec % USEC_PER_SEC)};

	if (usec == 0)
		time.tv_usec = 1; /* 0 would be for ever */
	if (setsockopt(call->fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) < 0)
		return -errno;
	if (connect(call->fd, (const struct sockaddr *)&call->address, sizeof(call->address)) == 0) {
		call->state = CALL_SENDING;
		return fcntl(call->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	}
	if (errno == EAGAIN || errno == EINTR)
		return ADMIN_CALL_PENDING;
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
		return ADMIN_CALL_NO_SERVER;
	if (errno == EACCES || errno == EPERM)
		return ADMIN_CALL_NO_ACCESS;
	return -errno;
}

static int step_send(struct admin_call *call)
{
	ssize_t n = send(call->fd, call->request + call->sent, call->request_len - call->sent, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return ADMIN_CALL_PENDING;
		if (errno != EPIPE && errno != ECONNRESET)
			return -errno;
		call->state = CALL_READING; /* it may have said why before it closed */
		return 0;
	}
	call->sent += (size_t)n;
	if (call->sent == call->request_len) {
		(void)shutdown(call->fd, SHUT_WR);
		call->state = CALL_READING;
	}
	return 0;
}

/* *ret_end: the reply is whole, as far as the server says. */
static int step_read(struct admin_call *call, bool *ret_end)
{
	ssize_t n = recv(call->fd, call->reply + call->reply_len, sizeof(call->reply) - call->reply_len, 0);

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return ADMIN_CALL_PENDING;
		return errno == ECONNRESET ? ADMIN_CALL_CUT : -errno;
	}
	call->reply_len += (size_t)n;
	if (call->reply_len > LIMIT_ADMIN_REPLY)
		return ADMIN_CALL_BAD_REPLY;
	*ret_end = n == 0;
	return 0;
}

/* `usec`: how long it may wait, if it is one that does. */
static int step(struct admin_call *call, uint64_t usec, bool *ret_end)
{
	switch (call->state) {
	case CALL_CONNECTING:
		return step_connect(call, usec);
	case CALL_SENDING:
		return step_send(call);
	case CALL_READING:
		return step_read(call, ret_end);
	}
	return -EINVAL;
}

/* Until the socket can go on, at most `usec`. */
static void pause_until_ready(const struct admin_call *call, uint64_t usec)
{
	struct pollfd ready = {.fd = call->fd, .events = call->state == CALL_SENDING ? POLLOUT : POLLIN};
	struct timespec time = {.tv_sec = (time_t)(usec / USEC_PER_SEC), .tv_nsec = (long)(usec % USEC_PER_SEC) * 1000};

	if (call->state != CALL_CONNECTING) /* else it has waited */
		(void)ppoll(&ready, 1, &time, NULL);
}

int admin_call_wait(struct admin_call *call, uint64_t timeout_usec, struct admin_reply *ret_reply)
{
	uint64_t now = clock_monotonic_usec(), deadline = now + timeout_usec;
	bool end = false;

	while (!end) {
		int r = step(call, deadline - now, &end);

		if (r && r != ADMIN_CALL_PENDING)
			return r;
		now = clock_monotonic_usec();
		if (now >= deadline && !end)
			return ADMIN_CALL_PENDING;
		if (r == ADMIN_CALL_PENDING)
			pause_until_ready(call, deadline - now);
	}
	if (!call->reply_len)
		return ADMIN_CALL_CUT;
	return admin_reply_parse(call->reply, call->reply_len, ret_reply) ? ADMIN_CALL_BAD_REPLY : 0;
}

int admin_call_next_event(struct admin_call *call, uint64_t timeout_usec, struct admin_event *ret_event,
			  struct admin_reply *ret_refusal)
{
	uint64_t now = clock_monotonic_usec(), deadline = now + timeout_usec;
	bool end = false;

	call->reply_len -= call->used;
	memmove(call->reply, call->reply + call->used, call->reply_len);
	call->used = 0;
	for (;;) {
		int r = admin_event_parse(call->reply, call->reply_len, ret_event, &call->used);

		if (r == 0)
			return 0;
		if (r == ADMIN_EVENT_BAD && end)
			return admin_reply_parse(call->reply, call->reply_len, ret_refusal) ||
					       ret_refusal->type != ADMIN_REPLY_EXCEPTION
				       ? ADMIN_CALL_BAD_REPLY
				       : ADMIN_CALL_REFUSED;
		if (end)
			return ADMIN_CALL_CUT;
		r = step(call, now < deadline ? deadline - now : 0, &end);
		if (r && r != ADMIN_CALL_PENDING)
			return r;
		now = clock_monotonic_usec();
		if (r == ADMIN_CALL_PENDING && now >= deadline)
			return ADMIN_CALL_PENDING;
		if (r == ADMIN_CALL_PENDING)
			pause_until_ready(call, deadline - now);
	}
}

int admin_call_fd(const struct admin_call *call)
{
	return call->fd;
}
