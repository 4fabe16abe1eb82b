// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The framing of lib/channel against a hostile peer: the input is a plan (how the bytes arrive and are read) and the
 * bytes of the ring. Oracle: a second parser, which sees all bytes at once, says which payload and which end there
 * must be, whatever the plan.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/channel/backend.h"

#define PLAN 16u
#define PAYLOAD_MAX 65536u

struct script {
	struct channel base;
	const uint8_t *plan;
	size_t at_plan;
	const uint8_t *bytes;
	size_t len, at;
};

static struct script *script_of(const struct channel *channel)
{
	return (struct script *)(uintptr_t)channel;
}

static uint8_t next_of_plan(struct script *script)
{
	return script->plan[script->at_plan++ % PLAN];
}

static enum channel_link script_link(const struct channel *channel)
{
	return script_of(channel)->at == script_of(channel)->len ? CHANNEL_LINK_DOWN : CHANNEL_LINK_UP;
}

static bool script_pending(const struct channel *channel)
{
	return script_of(channel)->at < script_of(channel)->len;
}

static int script_send(struct channel *channel _unused_, const void *bytes _unused_, size_t len _unused_)
{
	return 0;
}

static ssize_t script_receive(struct channel *channel, void *bytes, size_t len)
{
	struct script *script = script_of(channel);
	size_t n = next_of_plan(script);

	if (script->at == script->len)
		return -EPIPE;
	if (n > len)
		n = len;
	if (n > script->len - script->at)
		n = script->len - script->at;
	memcpy(bytes, script->bytes + script->at, n);
	script->at += n;
	return (ssize_t)n;
}

static size_t script_space(const struct channel *channel _unused_, size_t wanted _unused_)
{
	return 0;
}

static int script_take_wakeup(struct channel *channel _unused_)
{
	return 0;
}

static void script_close(struct channel *channel _unused_)
{
}

static const struct channel_ops script_ops = {.link = script_link,
					      .send = script_send,
					      .receive = script_receive,
					      .space = script_space,
					      .pending = script_pending,
					      .take_wakeup = script_take_wakeup,
					      .close = script_close};

/* The whole stream at once: the payload, and how it ends. */
static enum channel_state reference(const uint8_t *bytes, size_t len, uint8_t *ret_payload, size_t *ret_n,
				    bool *ret_broken)
{
	size_t n = 0;

	*ret_broken = false;
	for (;;) {
		uint64_t chunk;

		*ret_n = n;
		if (len < CHANNEL_HEADER)
			return CHANNEL_DEAD;
		chunk = get_le32(bytes);
		bytes += CHANNEL_HEADER;
		len -= CHANNEL_HEADER;
		if (chunk == 0)
			return CHANNEL_ENDED;
		*ret_broken = chunk > CHANNEL_CHUNK_MAX;
		if (*ret_broken)
			return CHANNEL_DEAD;
		if (chunk > len)
			chunk = len;
		memcpy(ret_payload + n, bytes, chunk);
		n += chunk;
		bytes += chunk;
		len -= chunk;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t want[PAYLOAD_MAX], got[PAYLOAD_MAX + 256];
	size_t n_want, n_got = 0;
	enum channel_state end;
	struct channel *channel;
	struct script *script;
	bool broken, ended = false;

	if (size < PLAN || size > PAYLOAD_MAX)
		return 0;
	end = reference(data + PLAN, size - PLAN, want, &n_want, &broken);
	script = calloc(1, sizeof(*script));
	if (!script || channel_init(&script->base, &script_ops, -1, CHANNEL_RING_MIN, CHANNEL_OPEN) < 0)
		abort();
	script->plan = data;
	script->bytes = data + PLAN;
	script->len = size - PLAN;
	channel = &script->base;
	for (size_t idle = 0; !ended && idle < 4 * PLAN;) {
		ssize_t r;

		if (channel_dispatch(channel) < 0)
			abort();
		r = channel_read(channel, got + n_got, next_of_plan(script));
		if (r < 0 && (r != -EPROTO || !broken))
			abort();
		ended = channel_state(channel) != CHANNEL_OPEN && r <= 0;
		idle = r > 0 ? 0 : idle + 1;
		n_got += r > 0 ? (size_t)r : 0;
		if (n_got > n_want)
			abort();
	}
	if (memcmp(got, want, n_got) != 0)
		abort();
	if (ended && (n_got != n_want || channel_state(channel) != end))
		abort();
	channel_free(channel);
	return 0;
}
