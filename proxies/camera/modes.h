/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of a camera's modes is taken. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proxies/camera/stream.h"

#define MODES_WIDTH 1920u /* what is best, if nobody asks for another */
#define MODES_HEIGHT 1080u
#define MODES_FPS 30u
#define MODES_FPS_SMOOTH 24u

/* What the user asked for; 0: whatever is best. */
struct mode_wish {
	uint16_t width, height;
	uint16_t fps; /* pictures a second */
};

/*
 * The number of the mode, or -1: the camera has none of that size, or none of that rate (within a twentieth). Of those that are
 * left: one of MODES_FPS_SMOOTH at least; then the largest that is no larger than MODES_WIDTH x MODES_HEIGHT, else the smallest;
 * then the fastest up to MODES_FPS; then the one with the fewest bytes; then the first.
 */
int modes_choose(const struct camera_hello *hello, const struct mode_wish *wish);

/*
 * Adds one to a list that is being made, which has the best first. Returns its place, from which on all others moved by one; -1: it
 * is out of bounds, there already (in whatever format: of those that differ in that alone one is enough, and the list is short), or
 * worse than CAMERA_MODES others. What is worse than those then falls off the end.
 */
int modes_add(struct camera_hello *hello, const struct camera_mode *mode);
