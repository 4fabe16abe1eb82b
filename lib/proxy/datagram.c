/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See datagram.h. */
#include "lib/proxy/datagram.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

int datagram_send(int fd, const void *bytes, size_t size, int flags)
{
	ssize_t n;

	do {
		n = send(fd, bytes, size, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
	return n == (ssize_t)size ? 0 : -EIO;
}

int datagram_receive(int fd, void *ret_untrusted_bytes, size_t size)
{
	ssize_t n;

	do {
		n = recv(fd, ret_untrusted_bytes, size, MSG_DONTWAIT | MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return -EPIPE;
	if (n < 0)
		return -errno;
	return n == (ssize_t)size ? 0 : -EPROTO;
}
