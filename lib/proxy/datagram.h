/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Structs of fixed size over a SOCK_SEQPACKET pair, between the agent and what it starts; both ends are one build. */
#pragma once

#include <stddef.h>

/* `flags` beside MSG_NOSIGNAL. 0 or a negative errno (-EPIPE: the other end is gone). */
int datagram_send(int fd, const void *bytes, size_t size, int flags);

/*
 * Never blocks; takes no descriptors, which the kernel then drops. 0: the bytes are there, and nobody has looked at them; 1:
 * nothing is there; -EPROTO: it was not of that size; -EPIPE: the other end is gone.
 */
int datagram_receive(int fd, void *ret_untrusted_bytes, size_t size);
