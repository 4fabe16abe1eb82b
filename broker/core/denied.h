/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deny lists: for each qube, interfaces that no device may have which is attached to it. Pure.
 *
 * A pattern has the seven characters of a Qubes interface code ("u03**01"): a class letter or '*', then six lower-case
 * hexadecimal digits or '*', which stands for any one character. One interface that one pattern fits is enough. A device
 * whose interfaces are unknown could be anything: any pattern denies it. '?' as class letter, which Qubes writes for the
 * unknown interface, denies only that.
 */
#pragma once

#include <stdbool.h>

#include "broker/core/core.h"

#define DENIED_PATTERN 7u

enum {
	DENIED_UNCHANGED = 1, /* the pattern is there already; is not there */
	DENIED_FULL,          /* LIMIT_DENIED_QUBES or LIMIT_DENIED_PATTERNS */
	DENIED_UNFIT,         /* not a qube's name, not a pattern */
};

struct denied; /* made once at start, nothing is allocated after */
struct denied *denied_new(void);
struct denied *denied_free(struct denied *table);
unsigned int denied_count(const struct denied *table); /* qubes that have a list */

bool denied_is_pattern(const char *text);

/* 0, DENIED_UNCHANGED, DENIED_FULL or DENIED_UNFIT. A qube without patterns is not in the table. */
int denied_add(struct denied *table, const char *qube, const char *pattern);
int denied_remove(struct denied *table, const char *qube, const char *pattern);
int denied_remove_all(struct denied *table, const char *qube);

/* The qube's patterns in the order in which they were added, from *cursor = 0; NULL at the end. Until the next change. */
const char *denied_next(const struct denied *table, const char *qube, unsigned int *cursor);

/* The qubes that have a list, from *cursor = 0, in no order; NULL at the end. Until the next change. */
const char *denied_next_qube(const struct denied *table, unsigned int *cursor);

/* The pattern because of which the device may not be attached to that qube; NULL: it may. Until the next change. */
const char *denied_match(const struct denied *table, const char *qube, const struct core_device *device);
