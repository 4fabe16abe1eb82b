/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one client of the Admin API: one call is one connection. Every wait has an end; nothing here prints.
 */
#pragma once

#include "lib/admin/reply.h"

struct admin_call;

enum admin_outcome {
	ADMIN_CALL_PENDING = 1, /* the time is over; one may wait again */
	ADMIN_CALL_NO_SERVER,   /* nothing listens at the socket */
	ADMIN_CALL_NO_ACCESS,   /* we may not open the socket */
	ADMIN_CALL_CUT,         /* closed without a reply */
	ADMIN_CALL_BAD_REPLY,   /* not a reply of this protocol, or longer than LIMIT_ADMIN_REPLY */
	ADMIN_CALL_REFUSED,     /* an exception, where events were expected */
};

/*
 * Prepares the call METHOD+ARGUMENT to DEST with a payload (each may be ""). The texts are copied.
 * 0 or a negative errno; -ENAMETOOLONG, -EMSGSIZE: socket path or request is longer than it may be.
 */
int admin_call_new(const char *socket_path, const char *method, const char *argument, const char *dest,
		   const char *payload, struct admin_call **ret_call);
struct admin_call *admin_call_free(struct admin_call *call); /* closes the connection; NULL is fine */

/*
 * Goes on with the call for at most timeout_usec. 0: *ret_reply is set and points into the call; an admin_outcome;
 * or a negative errno.
 */
int admin_call_wait(struct admin_call *call, uint64_t timeout_usec, struct admin_reply *ret_reply);

/*
 * For a call whose reply is a stream of events (admin.Events, device.ask.Listen). Waits at most timeout_usec for the
 * next one. 0: *ret_event is set and valid until the next call; ADMIN_CALL_PENDING, or another outcome, as above; an
 * exception instead of events: ADMIN_CALL_REFUSED and *ret_refusal.
 */
int admin_call_next_event(struct admin_call *call, uint64_t timeout_usec, struct admin_event *ret_event,
			  struct admin_reply *ret_refusal);

/* To poll beside others: readable when a wait would go on. A call that has been waited for once is connected. */
int admin_call_fd(const struct admin_call *call);

static inline void cleanup_admin_call(struct admin_call **call)
{
	*call = admin_call_free(*call);
}
#define _cleanup_admin_call_ _cleanup_(cleanup_admin_call)
