/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one clock of the broker: CLOCK_BOOTTIME, which goes on while the machine sleeps and which nobody sets (TO08).
 * Calendar time appears in the audit log only.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#define CLOCK_BROKER CLOCK_BOOTTIME

uint64_t clock_now_usec(void);

/* One more time-out: *next becomes the earlier of the two. 0 means none. */
static inline void clock_earlier(uint64_t *next, uint64_t usec)
{
	if (usec != 0 && usec < *next)
		*next = usec;
}
