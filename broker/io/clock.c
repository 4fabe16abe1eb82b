// SPDX-License-Identifier: GPL-2.0-or-later
/* The broker's clock; see clock.h. */
#include "broker/io/clock.h"

#include <assert.h>

#include "lib/base/limits.h"

uint64_t clock_now_usec(void)
{
	struct timespec now;
	int r = clock_gettime(CLOCK_BROKER, &now);

	assert(r == 0);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}
