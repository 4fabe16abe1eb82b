/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries with fields for systemd's journal, without waiting. sd_journal_sendv(3) would wait: when journald reads
 * nothing (stopped, overloaded) it blocks for as long as that lasts, after a dozen entries. So the datagram is made here,
 * as https://systemd.io/JOURNAL_NATIVE_PROTOCOL describes it, and sent only if it can be taken at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

struct journal_field {
	const char *name;  /* "QDB_EVENT" */
	const char *value; /* made safe to show, on one line; NULL or "": the field is left out */
};

/*
 * Sends one entry through *fd, a socket that is made when it is -1 and belongs to the caller. False: it was not sent
 * (no journald, it is too busy, the entry is too long), which is no reason to try again.
 */
bool journal_send(int *fd, const char *socket_path, const struct journal_field *fields, size_t n_fields);
