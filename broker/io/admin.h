/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server of the Qubes Admin API: a UNIX socket on which people's tools list, attach and detach devices and
 * listen to events. It reads qubes and devices from the core and never changes it: what changes something is handed
 * to the broker through the hooks, with a token, and the answer comes back through admin_answer().
 *
 * A client can cost at most its share (admin-shares.h): LIMIT_ADMIN_CONNECTIONS in all, LIMIT_ADMIN_PER_UID for one user,
 * LIMIT_ADMIN_PER_QUBE for one qube, a request of LIMIT_ADMIN_REQUEST bytes within TIMEOUT_ADMIN_REQUEST_USEC, a queue of
 * LIMIT_ADMIN_QUEUE for a listener, LIMIT_ADMIN_UNREAD bytes of replies that wait to be read. When a share is used up, the
 * oldest connection of that owner that has not yet sent its request (or not read its reply) is closed for the new one.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "broker/core/core.h"
#include "broker/io/audit-read.h"
#include "broker/policy/policy.h"

struct admin;

struct admin_hooks {
	/*
	 * What a user asks of the core: CORE_ATTACH, CORE_DETACH, CORE_MOVE or CORE_SUSPEND, with .request.token (never
	 * 0, never used twice) and .request.user. The answer, to admin_answer(), may come during the call or any time
	 * later.
	 */
	void (*request)(void *userdata, const struct core_event *event);
	/*
	 * What is done at once: CORE_ANSWERED, CORE_ASSIGNED, CORE_UNASSIGNED, CORE_ASSIGN_MODE, CORE_DENIED,
	 * CORE_LABELED, CORE_RESUMED; what is to be stored is on disk before this returns. 0, what core_handle() returned, or a
	 * negative errno: nothing changed, and *ret_why is a sentence with the cure.
	 */
	int (*change)(void *userdata, const struct core_user *caller, const struct core_event *event,
		      const char **ret_why);
	/* How many connections are there to answer questions. */
	void (*answerers)(void *userdata, unsigned int n);
	/* The policy now; NULL: it is broken, *ret_error says where. */
	const struct policy *(*policy)(void *userdata, const char **ret_error);
	/* As audit_read() and audit_check_new(). */
	int (*audit_read)(void *userdata, uint64_t after_seq, char *ret_lines, size_t size, size_t *ret_len);
	int (*audit_check)(void *userdata, struct audit_check **ret_check);
};

/*
 * Listens at `socket_path`, mode 0660, owner: us, group: `group` (NULL: our own). Its directory is made, 0750 with the
 * same group, if it is missing; 0 or a negative errno: -ELOOP or -EPERM when the directory or what lies at the path is
 * a symbolic link, not ours, or writable by others; -EADDRINUSE when a living server is there; -ESRCH: no such group.
 * `core` and `userdata` must outlive the server; `hooks` is copied.
 */
int admin_new(sd_event *event, const char *socket_path, const char *group, const struct core *core,
	      const struct admin_hooks *hooks, void *userdata, struct admin **ret_admin);
struct admin *admin_free(struct admin *admin); /* closes every connection, removes the socket; NULL is fine */

/* A CORE_DO_ANSWER action: finishes the waiting request of action->token. A token that nobody waits for is fine. */
void admin_answer(struct admin *admin, const struct core_action *action);

/*
 * Tells the listeners of an action that concerns them; every other one is ignored. action->device->ref.qube and
 * ->target_name must still be as they were when the action was emitted, so call it from the core's emit() or with a
 * copy of the device.
 */
void admin_event(struct admin *admin, const struct core_action *action);

/* The port that an assignment names is called otherwise now: to its listeners it is one that went and one that came. */
void admin_renumbered(struct admin *admin, const struct core_assignment *before, const struct core_assignment *now);

/* The policy was read anew; `error` NULL: there is a set. */
void admin_policy_changed(struct admin *admin, const char *error);

/* A qube came or went: compares with what the listeners know and tells them. */
void admin_qubes_changed(struct admin *admin);

/*
 * For tests: serves one connected stream socket as if it had been accepted from user `caller`. Takes fd over, always.
 */
void admin_serve(struct admin *admin, int fd, uid_t caller);
