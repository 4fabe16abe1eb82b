/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which qubes the API's listeners know of, so that what they hear and what admin.vm.List says stay the same: each qube
 * that runs, and each that does not and about which something is stored. Events and their names are Qubes':
 *
 *     domain-add, domain-delete        of no qube; vm: it is in the list from now on, or not any more
 *     domain-start, domain-shutdown    the qube
 */
#pragma once

#include "broker/core/core.h"
#include "broker/io/admin-events.h"

struct admin_listed;

struct admin_listed *admin_listed_new(void); /* empty; NULL: out of memory */
struct admin_listed *admin_listed_free(struct admin_listed *listed);

/* Compares with the core as it is now, and tells the difference, by the qubes' names. */
void admin_listed_update(struct admin_listed *listed, const struct core *core, const struct admin_teller *teller);
