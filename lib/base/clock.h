/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time for what is measured within one process; it stands still while the machine sleeps. */
#pragma once

#include <stdint.h>
#include <time.h>

#include "lib/base/limits.h"

static inline uint64_t clock_monotonic_usec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}
