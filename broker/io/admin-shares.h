/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much of the server is whose: connections, unread replies, calls. qrexec's daemon has the uid of dom0's user: what it
 * brings counts as its qube's from the moment when the header says for whom it is, so that no qube can use up what is that
 * user's. Connections stand in the order of their arrival; "the oldest" is the first of them.
 */
#pragma once

#include "broker/io/admin-connection.h"

/*
 * A place for one more of this user: beyond LIMIT_ADMIN_PER_UID, or LIMIT_ADMIN_CONNECTIONS of all, the oldest that has not
 * sent its request gives way. False: there is none.
 */
bool admin_share_new(struct admin *admin, uid_t uid);

/* The oldest that has not sent its request, whose ever, gives way. */
bool admin_share_evict(struct admin *admin);

/*
 * The place of a connection whose qube is known now. Beyond LIMIT_ADMIN_PER_QUBE the oldest of that qube that has not sent
 * its request gives way; beyond LIMIT_ADMIN_QUBES of all qubes one of the qube that has most, if it has more. False: none does.
 */
bool admin_share_place(const struct connection *connection);

/* One more that listens: LIMIT_ADMIN_LISTENERS of a qube, beside its LIMIT_ADMIN_PER_QUBE. */
bool admin_share_listener(const struct connection *connection);

/*
 * For `len` bytes more that `reader` is to read the oldest replies go: its owner's beyond LIMIT_ADMIN_UNREAD, and those of all
 * users, or of all qubes, beyond LIMIT_ADMIN_UNREAD_ALL.
 */
void admin_share_unread(const struct connection *reader, size_t len);

/* One more call of a qube; `seldom`: of those that change something or leave a record. */
bool admin_share_call(struct admin *admin, const char *qube, bool seldom, uint64_t now_usec);

/* One more line of the log about this client: of a qube LIMIT_ADMIN_SELDOM_*, beside those of its calls. */
bool admin_share_line(const struct connection *connection);
