/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the importer shows pictures: a virtual camera of this qube. What is behind it is one file's affair: loopback.c, a device of
 * v4l2loopback, as an open fd of its node.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxies/camera/stream.h"

struct sink;

/* Borrows `fd`; from now on it is a camera of that mode. 0, SINK_UNFIT (its driver cannot do what is needed; why is logged) or -errno. */
enum { SINK_UNFIT = 1 };
int sink_new(int fd, const struct camera_mode *mode, struct sink **ret_sink);
struct sink *sink_free(struct sink *sink); /* NULL is fine */

/* To poll for `events` of poll(2); then sink_dispatch(). */
int sink_fd(const struct sink *sink);
short sink_poll_events(const struct sink *sink);

/* What has happened there. 0 or -errno: it is gone. */
int sink_dispatch(struct sink *sink);

/* A program looks, or wants to. */
bool sink_is_watched(const struct sink *sink);

/* The place of the next picture, camera_frame_bytes() of the mode; the same until it is shown. */
uint8_t *sink_place(struct sink *sink);

/* A black picture, in the place of the next one: who looks later does not see what was shown last. 0 or -errno. */
int sink_blank(struct sink *sink);

/* It is whole: programs see it. `usec`: when it was taken, of CLOCK_MONOTONIC. 0 or -errno. */
int sink_show(struct sink *sink, uint64_t usec);
