/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The token bucket counts in thousandths, so that short intervals are not lost.
 */
#include "lib/base/limits.h"
#include "lib/base/rate.h"

#define MILLI 1000u

void rate_init(struct rate *rate, uint32_t per_second, uint32_t burst, uint64_t now_usec)
{
	*rate = (struct rate){
		.per_second = per_second,
		.burst = burst,
		.last_usec = now_usec,
		.millitokens = (uint64_t)burst * MILLI,
	};
}

static void refill(struct rate *rate, uint64_t now_usec)
{
	uint64_t full = (uint64_t)rate->burst * MILLI;
	uint64_t passed = now_usec > rate->last_usec ? now_usec - rate->last_usec : 0;
	uint64_t until_full = (full - rate->millitokens) * (USEC_PER_SEC / MILLI) / rate->per_second;

	if (passed > until_full) {
		rate->millitokens = full;
		rate->last_usec = now_usec;
		return;
	}
	uint64_t gained = passed * rate->per_second / (USEC_PER_SEC / MILLI);

	if (gained == 0)
		return;
	rate->millitokens = rate->millitokens + gained > full ? full : rate->millitokens + gained;
	rate->last_usec = now_usec;
}

bool rate_take(struct rate *rate, uint32_t n, uint64_t now_usec)
{
	refill(rate, now_usec);
	if (rate->millitokens < (uint64_t)n * MILLI)
		return false;
	rate->millitokens -= (uint64_t)n * MILLI;
	return true;
}
