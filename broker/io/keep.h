/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the broker keeps over its own end: assignments, deny lists, labels, and the memories of the sessions that run, each in
 * the store before anything relies on it.
 */
#pragma once

#include "broker/core/core.h"
#include "broker/io/store.h"

struct keep;

/* As store_new(). */
int keep_new(int state_dir, struct keep **ret_keep);
struct keep *keep_free(struct keep *keep);

/* store_fault(): why nothing can be kept, and so nothing granted; NULL: all is well. */
const char *keep_fault(const struct keep *keep);

/*
 * Gives all that was kept to the core, through `handle`: assignments, deny lists, labels, then memories. Those of another boot,
 * and those that the core has no place for, are dropped. 0 or a negative errno.
 */
int keep_load(struct keep *keep, int (*handle)(void *userdata, const struct core_event *event), void *userdata);

/*
 * The memory of an action's device on disk: of one that is on its way or attached, or (`asleep`) of one that a sleep has
 * ended, as its claim. 0 or a negative errno, then the one before it stays.
 */
int keep_session(struct keep *keep, const struct core *core, const struct core_device *device, bool asleep);
void keep_forget(struct keep *keep, uint64_t session);

/*
 * A change that an event (CORE_ASSIGNED, CORE_UNASSIGNED, CORE_ASSIGN_MODE, CORE_DENIED, CORE_LABELED) is about to make in the core, on
 * disk. 0; what core_handle() would return (then it need not be asked); or a negative errno and a sentence with the
 * cure. After 0 the core takes an assignment: what it would refuse was refused here.
 */
int keep_change(struct keep *keep, const struct core *core, const struct core_event *event, const char **ret_why);

/*
 * core_hooks.relocate(): `changed` on disk in place of `stored`. 0, or nothing has changed (that the next start sees):
 * STORE_FULL, STORE_UNFIT or a negative errno; then *ret_why is a sentence.
 */
int keep_relocate(struct keep *keep, const struct core *core, const struct core_assignment *stored,
		  const struct core_assignment *changed, const char **ret_why);

/* store_recover() with our checks. */
int keep_recover(int state_dir, unsigned int *ret_n_kept, unsigned int *ret_n_lost);
