/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of devices. A port is in one place only: in `devices`, in `left_out`, or in neither.
 */
#include <string.h>

#include "lib/base/base.h"
#include "proxies/agent/track.h"

void track_init(struct track *track)
{
	memset(track, 0, sizeof(*track));
}

static struct track_device *find_port(struct track *track, const char *port)
{
	for (size_t i = 0; i < LIMIT_DEVICES; i++)
		if (track->devices[i].used && strcmp(track->devices[i].identity.port, port) == 0)
			return &track->devices[i];
	return NULL;
}

static struct track_left_out *find_left_out(struct track *track, const char *port)
{
	for (size_t i = 0; i < track->n_left_out; i++)
		if (strcmp(track->left_out[i].port, port) == 0)
			return &track->left_out[i];
	return NULL;
}

static void forget_left_out(struct track *track, struct track_left_out *left_out)
{
	if (left_out != NULL)
		*left_out = track->left_out[--track->n_left_out];
}

static void forget_device(struct track_device *device, struct track_change *change)
{
	if (device == NULL)
		return;
	change->gone = true;
	change->gone_slot = device->slot;
	change->gone_generation = device->generation;
	device->used = false;
}

static bool identity_equal(const struct identity *a, const struct identity *b)
{
	return strcmp(a->port, b->port) == 0 && strcmp(a->path, b->path) == 0 && a->bus == b->bus && a->dev == b->dev &&
	       a->speed == b->speed && memcmp(a->digest, b->digest, sizeof(a->digest)) == 0 &&
	       strcmp(a->serial, b->serial) == 0 && strcmp(a->manufacturer, b->manufacturer) == 0 &&
	       strcmp(a->product_name, b->product_name) == 0;
}

/* True if it was not known so before. */
static bool remember_left_out(struct track *track, const char *port, uint16_t dev, bool full)
{
	struct track_left_out *left_out = find_left_out(track, port);
	bool news;

	if (left_out == NULL && track->n_left_out == TRACK_LEFT_OUT) {
		track->n_uncounted++;
		return false;
	}
	news = left_out == NULL || left_out->dev != dev || left_out->full != full;
	if (left_out == NULL)
		left_out = &track->left_out[track->n_left_out++];
	*left_out = (struct track_left_out){.dev = dev, .full = full, .seen = true};
	(void)strncpy(left_out->port, port, sizeof(left_out->port) - 1);
	return news;
}

bool track_put(struct track *track, const struct identity *identity, struct track_change *ret_change)
{
	struct track_device *device = find_port(track, identity->port);
	struct track_change change = {0};

	if (device != NULL && identity_equal(&device->identity, identity)) {
		device->seen = true;
		*ret_change = change;
		return true;
	}
	forget_device(device, &change);
	for (size_t i = 0; device == NULL && i < LIMIT_DEVICES; i++)
		if (!track->devices[i].used)
			device = &track->devices[i];
	if (device == NULL) {
		(void)remember_left_out(track, identity->port, identity->dev, true);
		*ret_change = change;
		return false;
	}
	forget_left_out(track, find_left_out(track, identity->port));
	*device = (struct track_device){
		.used = true,
		.seen = true,
		.slot = (uint16_t)(device - track->devices),
		.generation = ++track->last_generation,
		.identity = *identity,
	};
	change.added = device;
	*ret_change = change;
	return true;
}

bool track_leave_out(struct track *track, const char *port, uint16_t dev, struct track_change *ret_change)
{
	struct track_change change = {0};

	forget_device(find_port(track, port), &change);
	*ret_change = change;
	return remember_left_out(track, port, dev, false);
}

void track_remove(struct track *track, const char *port, uint16_t dev, struct track_change *ret_change)
{
	struct track_device *device = find_port(track, port);
	struct track_left_out *left_out = find_left_out(track, port);
	struct track_change change = {0};

	if (device != NULL && (dev == 0 || device->identity.dev == dev))
		forget_device(device, &change);
	if (left_out != NULL && (dev == 0 || left_out->dev == dev))
		forget_left_out(track, left_out);
	*ret_change = change;
}

void track_scan_begin(struct track *track)
{
	for (size_t i = 0; i < LIMIT_DEVICES; i++)
		track->devices[i].seen = false;
	for (size_t i = 0; i < track->n_left_out; i++)
		track->left_out[i].seen = false;
	track->n_uncounted = 0;
}

bool track_sweep(struct track *track, struct track_change *ret_change)
{
	struct track_change change = {0};

	for (size_t i = track->n_left_out; i > 0; i--)
		if (!track->left_out[i - 1].seen)
			forget_left_out(track, &track->left_out[i - 1]);
	for (size_t i = 0; i < LIMIT_DEVICES && !change.gone; i++)
		if (track->devices[i].used && !track->devices[i].seen)
			forget_device(&track->devices[i], &change);
	*ret_change = change;
	return change.gone;
}

bool track_has_room_again(const struct track *track)
{
	bool room = false, wanted = track->n_uncounted > 0;

	for (size_t i = 0; i < LIMIT_DEVICES; i++)
		room = room || !track->devices[i].used;
	for (size_t i = 0; i < track->n_left_out; i++)
		wanted = wanted || track->left_out[i].full;
	return room && wanted;
}

const struct track_device *track_find(const struct track *track, uint16_t slot, uint32_t generation)
{
	if (slot >= LIMIT_DEVICES || !track->devices[slot].used || track->devices[slot].generation != generation)
		return NULL;
	return &track->devices[slot];
}

const struct track_device *track_next(const struct track *track, size_t *cursor)
{
	while (*cursor < LIMIT_DEVICES) {
		const struct track_device *device = &track->devices[(*cursor)++];

		if (device->used)
			return device;
	}
	return NULL;
}

uint16_t track_n_left_out(const struct track *track)
{
	size_t n = track->n_left_out + track->n_uncounted;

	return n > UINT16_MAX ? UINT16_MAX : (uint16_t)n;
}
