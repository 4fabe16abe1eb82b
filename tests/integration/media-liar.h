/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What liars about sound and pictures share: one end of a `socket` channel, for as long as the other end is there or LAST_USEC. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/channel/channel.h"

#define LAST_USEC (4 * USEC_PER_SEC)
#define CONNECT_USEC (10 * USEC_PER_SEC)

struct liar {
	struct channel_backend *backend;
	struct channel *channel;
	uint64_t end_usec;
	uint32_t run;
	uint64_t position; /* of sound: frames of the run; of pictures: the last one's number */
};

static inline bool goes_on(struct liar *l)
{
	return clock_monotonic_usec() < l->end_usec && channel_state(l->channel) == CHANNEL_OPEN;
}

/* All of it, unless the other end goes. */
static inline void say(struct liar *l, const void *bytes, size_t len)
{
	size_t done = 0;

	while (done < len && goes_on(l)) {
		ssize_t n = channel_write(l->channel, (const uint8_t *)bytes + done, len - done);

		if (n < 0)
			return;
		done += (size_t)n;
		if (done < len)
			(void)channel_wait(l->channel, true, USEC_PER_SEC / 10);
	}
}

/* So many bytes; false: they do not come. */
static inline bool hear_bytes(struct liar *l, uint8_t *bytes, size_t len)
{
	size_t got = 0;

	while (got < len && goes_on(l)) {
		ssize_t n = channel_read(l->channel, bytes + got, len - got);

		if (n > 0)
			got += (size_t)n;
		else
			(void)channel_wait(l->channel, false, USEC_PER_SEC / 10);
	}
	return got == len;
}

static inline void wait_out(struct liar *l)
{
	while (goes_on(l))
		(void)channel_wait(l->channel, false, USEC_PER_SEC / 10);
}

static inline void noise(struct liar *l)
{
	uint8_t bytes[4096];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 131 + (i >> 3));
	say(l, bytes, sizeof(bytes));
}

/* Domain 1 serves qdb/1 for domain 2, which connects. 0 or what went wrong. */
static inline int open_channel(struct liar *l, const char *directory, const struct channel_rings *served, bool serves)
{
	const struct channel_address address = {.server_domid = 1, .client_domid = 2, .service = "qdb/1"};
	int r = channel_backend_new_socket(directory, &l->backend);

	if (r == 0 && serves)
		r = channel_listen(l->backend, &address, served, &l->channel);
	else if (r == 0)
		r = channel_connect_wait(l->backend, &address, served, CONNECT_USEC, &l->channel);
	l->end_usec = clock_monotonic_usec() + CONNECT_USEC;
	while (r == 0 && channel_state(l->channel) == CHANNEL_WAITING && clock_monotonic_usec() < l->end_usec)
		(void)channel_wait(l->channel, false, USEC_PER_SEC / 10);
	l->end_usec = clock_monotonic_usec() + LAST_USEC;
	return r;
}

/* A hello, as it is in a file of at most 4 KiB. */
static inline void say_file(struct liar *l, const char *path)
{
	uint8_t bytes[4096];
	FILE *file = fopen(path, "re");
	size_t n = file ? fread(bytes, 1, sizeof(bytes), file) : 0;

	if (file)
		(void)fclose(file);
	say(l, bytes, n);
}

static inline void close_channel(struct liar *l)
{
	wait_out(l);
	(void)channel_free(l->channel);
	(void)channel_backend_free(l->backend);
}
