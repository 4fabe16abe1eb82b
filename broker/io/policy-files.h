/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy's directory, read as one set and followed.
 *
 * A reload reads everything anew and then swaps; a set that is broken, cannot be read, or keeps changing while it is
 * read is no set: until a good one is there policy_files_current() is NULL, which denies everything. An old set is
 * never kept over a broken new one: what is on the disk is what holds, or nothing does.
 *
 * Never a mix: files are taken only when nothing in the directory changed from before the first to after the last was
 * read. Several files are changed as one by exchanging the whole directory (rename(2)).
 */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "broker/policy/policy.h"

#define POLICY_DIRECTORY "/etc/device-broker/policy.d"

struct policy_files;

/* changed(): after every reload, good or broken; what policy_files_current() gave before is gone. */
struct policy_files_hooks {
	void (*changed)(void *userdata);
};

/*
 * Reads the directory and follows it from now on. It and its files must belong to root or `owner`, and be writable by
 * nobody else; files must be regular ones. A broken set is not an error here: it is logged. The path is kept as a copy.
 * 0 or a negative errno of our own side (out of memory, no inotify).
 */
int policy_files_new(sd_event *event, const char *directory, uid_t owner, const struct policy_files_hooks *hooks,
		     void *userdata, struct policy_files **ret_files);
struct policy_files *policy_files_free(struct policy_files *files);

/* NULL: broken, policy_files_error() says why. Lives until the next reload. */
const struct policy *policy_files_current(const struct policy_files *files);

/* "FILE:LINE: reason"; NULL: there is a set. Lives until the next reload. */
const char *policy_files_error(const struct policy_files *files);

/* Reads everything anew, now. */
void policy_files_reload(struct policy_files *files);
