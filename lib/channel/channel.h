/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel: an ordered, reliable byte stream between a process in one domain and
 * a process in one other domain, with an explicit end. Two back-ends with the same
 * behaviour: `xen` (libxenvchan, production) and `socket` (UNIX sockets, development
 * and host tests). Code above this header never knows which one it has.
 *
 * The server domain listens for exactly one client domain; a service name is used
 * for one session only (a fresh number is part of it), because closing an old
 * libxenvchan server removes the xenstore nodes of a new one on the same path.
 *
 * Life:   WAITING --client came--> OPEN --peer finished, all read--> ENDED
 *                                    \---peer vanished------------> DEAD
 * End-of-stream is a message of our own (libxenvchan's close may swallow the last
 * bytes, and says nothing at all when the peer's *domain* dies): a stream that stops
 * without it is DEAD, never ENDED. A dead peer domain is not noticed here; the
 * broker's word and the heartbeat of the layer above are what tells.
 *
 * All calls are non-blocking except channel_wait() and channel_connect_wait(). Wake-ups are edges: after the fd
 * polled ready call channel_dispatch(), then read until 0 and write until short
 * before polling again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define CHANNEL_SERVICE_MAX 25 /* with NUL: "/local/domain/32751/data/" and this fit libxenvchan's 49 characters */

enum channel_state {
	CHANNEL_WAITING, /* server only: the client has not come yet */
	CHANNEL_OPEN,
	CHANNEL_ENDED, /* the peer called channel_finish() and everything before it was read */
	CHANNEL_DEAD,  /* the peer went away without channel_finish(), or broke the framing */
};

/* Outcomes, positive */
enum channel_outcome {
	CHANNEL_NOT_YET = 1, /* connect: no server there (yet), try again */
	CHANNEL_REFUSED,     /* connect: a server is there, for another domain */
	CHANNEL_TIMED_OUT,
	CHANNEL_TOO_LARGE, /* connect: the server's rings are larger than we accept */
};

struct channel;

/* A back-end with its settings; made once per process, freed after its channels. */
struct channel_backend;

struct channel_address {
	uint16_t server_domid;
	uint16_t client_domid;
	char service[CHANNEL_SERVICE_MAX]; /* [a-z0-9-]+(/[a-z0-9-]+)?, e.g. "qdb/1f" */
};

/* Bytes of the two rings as the *server* sees them; a power of two from 4 KiB to 1 MiB. */
struct channel_rings {
	uint32_t read;
	uint32_t write;
};

/* `directory` holds the sockets; it must exist and belong to the caller. Returns 0 or a negative errno. */
int channel_backend_new_socket(const char *directory, struct channel_backend **ret_backend);

/* libxenvchan. `own_domid` is not needed: the library finds it. */
int channel_backend_new_xen(struct channel_backend **ret_backend);

/* By text, as on a command line: "xen" or "socket:DIRECTORY". -EINVAL for anything else. */
int channel_backend_new_from_text(const char *text, struct channel_backend **ret_backend);
struct channel_backend *channel_backend_free(struct channel_backend *backend);

/*
 * Serves `address` (the caller must be in server_domid). Returns 0 and a channel in WAITING, or a negative errno;
 * -EADDRINUSE: this service has a server, or what a killed one left behind (channel_remove_leftovers()).
 */
int channel_listen(struct channel_backend *backend, const struct channel_address *address,
		   const struct channel_rings *rings, struct channel **ret_channel);

/*
 * Connects as client_domid, without blocking. 0 and an OPEN channel, CHANNEL_NOT_YET, CHANNEL_REFUSED, CHANNEL_TOO_LARGE,
 * or a negative errno. The server chooses the sizes of the rings, which we map: `most` is what we accept of it. Larger
 * ones are mapped for a moment all the same, 1 MiB each at most, because libxenvchan says no size before; then they are
 * unmapped, and for the server its one client has come and gone.
 */
int channel_connect(struct channel_backend *backend, const struct channel_address *address,
		    const struct channel_rings *most, struct channel **ret_channel);

/* The same, retrying for at most `timeout_usec`; CHANNEL_TIMED_OUT when nobody came. */
int channel_connect_wait(struct channel_backend *backend, const struct channel_address *address,
			 const struct channel_rings *most, uint64_t timeout_usec, struct channel **ret_channel);

/* The fd to poll. Valid and constant for the life of the channel. */
int channel_fd(const struct channel *channel);

/* The poll(2) events to wait for; `want_write` when the caller has more to write. */
short channel_poll_events(const struct channel *channel, bool want_write);

/* Takes in what made the fd ready. Call once per wake-up, before read and write. 0 or a negative errno. */
int channel_dispatch(struct channel *channel);

enum channel_state channel_state(const struct channel *channel);

/*
 * Reads up to `len` bytes. > 0: bytes; 0: nothing now (look at channel_state()).
 * After the peer died, what had arrived before is still delivered, in state OPEN. -EPROTO: the peer broke the framing (then DEAD).
 */
ssize_t channel_read(struct channel *channel, void *buffer, size_t len);

/*
 * Writes as much of the vector as fits. Returns the bytes taken (0: full), -EPIPE when not OPEN.
 * Everything taken is seen by the peer in order; one wake-up at most per call, or per 64 KiB of a larger one.
 * -EPIPE also when the peer is known to be gone while its last bytes are still to be read (state OPEN).
 */
ssize_t channel_writev(struct channel *channel, const struct iovec *iov, int n_iov);
ssize_t channel_write(struct channel *channel, const void *buffer, size_t len);

/* Bytes that a write would take now; 0 when not OPEN. When the ring is not empty, the fd polls ready after the peer's next read. */
size_t channel_space(const struct channel *channel);

/* A write of so many bytes would take them all now. Nobody is woken for that, and nobody wakes us. */
bool channel_fits(const struct channel *channel, size_t len);

/*
 * Says end-of-stream. Returns 0 when the message is in the ring (also if it was before), CHANNEL_NOT_YET when the ring is
 * full (wait for writability and call again), -EPIPE when not OPEN. No write after it.
 */
int channel_finish(struct channel *channel);

/* Blocks until the fd is ready for channel_poll_events(want_write), then dispatches. 0, CHANNEL_TIMED_OUT or a negative
 * errno. */
int channel_wait(struct channel *channel, bool want_write, uint64_t timeout_usec);

/* Closes and frees. Without a channel_finish() before, the peer sees DEAD. NULL is allowed. */
struct channel *channel_free(struct channel *channel);

/*
 * Removes what a killed server left behind (xenstore nodes, socket file) for a service of this
 * domain. Needed after a SIGKILL of a server, by somebody who may write there. 0 or a negative errno.
 */
int channel_remove_leftovers(struct channel_backend *backend, const struct channel_address *address);
