/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A token bucket: so many at once, so many a second. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rate {
	uint32_t per_second, burst;
	uint64_t last_usec; /* when `millitokens` was right */
	uint64_t millitokens;
};

/* Starts full. */
void rate_init(struct rate *rate, uint32_t per_second, uint32_t burst, uint64_t now_usec);

/* Takes `n` tokens if they are there, else none. Time never runs backwards for it. */
bool rate_take(struct rate *rate, uint32_t n, uint64_t now_usec);
