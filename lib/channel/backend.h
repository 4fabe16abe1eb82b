/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a back-end gives to channel.c: a pair of byte rings, a link that is up or not, and an fd that wakes. Framing,
 * end-of-stream and the states of channel.h are channel.c's alone, so they are the same for every back-end.
 * Private to lib/channel and to its tests.
 */
#pragma once

#include "lib/channel/channel.h"

#define CHANNEL_HEADER 4u                /* of a chunk: u32 length */
#define CHANNEL_CHUNK_MAX 65536u         /* payload of one chunk */
#define CHANNEL_RING_MIN 4096u           /* below that libxenvchan chooses other sizes than it was asked for */
#define CHANNEL_RING_MAX (1024u * 1024u) /* libxenvchan's limit */

enum channel_link {
	CHANNEL_LINK_WAITING, /* the client has not come */
	CHANNEL_LINK_UP,
	CHANNEL_LINK_DOWN, /* closed or died; what it wrote before is still in the ring */
};

struct channel_ops {
	enum channel_link (*link)(const struct channel *channel);

	/* All or nothing: 1 taken, 0 no room now (the peer's next read wakes us), -EPIPE link down. One wake-up at most. */
	int (*send)(struct channel *channel, const void *bytes, size_t len);

	/* > 0 bytes, 0 nothing now (the peer's next write wakes us), -EPIPE link down and nothing left. */
	ssize_t (*receive)(struct channel *channel, void *untrusted_bytes, size_t len);

	/* Free bytes in our ring; when they are fewer than `wanted` and not all of it, the peer's next read wakes us. */
	size_t (*space)(const struct channel *channel, size_t wanted);

	/* Unread bytes in the peer's ring? */
	bool (*pending)(const struct channel *channel);

	/* Takes in the wake-up that made the fd ready; harmless without one. 0 or a negative errno. */
	int (*take_wakeup)(struct channel *channel);

	/* Closes all, frees what the back-end has, not the channel itself. */
	void (*close)(struct channel *channel);
};

/* The head of each back-end's channel. */
struct channel {
	const struct channel_ops *ops;
	int fd;
	enum channel_state state;
	bool finished;       /* our end-of-stream is in the ring */
	bool broken;         /* the peer broke the framing */
	uint32_t chunk_left; /* payload of the peer's chunk that is not read yet */
	uint8_t header[CHANNEL_HEADER];
	size_t n_header;
	uint32_t chunk_max; /* payload of our largest chunk: what the ring and the buffer hold */
	uint8_t *chunk;     /* a chunk is put together here, so that it enters the ring, and wakes the peer, at once */
};

/* A power of two from CHANNEL_RING_MIN to CHANNEL_RING_MAX. */
bool channel_ring_is_valid(uint32_t size);

/* Fills the head; `write_ring` is the size of the ring that we write. 0 or -ENOMEM. */
int channel_init(struct channel *channel, const struct channel_ops *ops, int fd, uint32_t write_ring,
		 enum channel_state state);

struct channel_backend {
	int (*listen)(struct channel_backend *backend, const struct channel_address *address,
		      const struct channel_rings *rings, struct channel **ret_channel);
	/* `ret_untrusted_rings`: what the server chose, of sizes that its channel can work with. */
	int (*connect)(struct channel_backend *backend, const struct channel_address *address,
		       struct channel_rings *ret_untrusted_rings, struct channel **ret_channel);
	int (*remove_leftovers)(struct channel_backend *backend, const struct channel_address *address);
};
