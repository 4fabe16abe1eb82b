/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log: STATE_DIR/audit.log, one JSON object per line, only ever appended to.
 *
 *     {"ts":"2026-11-23T18:04:09.123456Z","seq":7,"event":"attach-request","who":1000,"device":"0781:5581:AB12:u080650",
 *      "port":"1-2","source":{"name":"sys-usb","domid":3,"uuid":"..."},"target":"work","session":"1f...","outcome":"done"}
 *
 * A record is on disk when audit_write() with `durable` returns 0. `seq` goes up by one from line to line and goes on
 * over restarts. A last line without its end (power was lost while it was written) is moved to audit.torn. When the log
 * cannot be trusted (its last line is not a record, the file was removed or replaced while open) nothing is written
 * any more until somebody looks at it and starts the broker again; when a write fails (disk full) what was written
 * is taken back, and the next call tries again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/core/core.h"

struct audit;

#define AUDIT_NOBODY ((uid_t)-1)

struct audit_record {
	const char *event;                /* "attach-request" */
	uid_t caller;                     /* AUDIT_NOBODY: not asked for by a user */
	const struct core_device *device; /* NULL: none */
	const struct core_qube *qube;     /* source, or whom it is about; NULL: none */
	const char *target;               /* NULL: none */
	uint64_t session;                 /* 0: none */
	const char *outcome;              /* NULL: none */
	unsigned int n_left_out;          /* records like this one that were not written since the last */
};

/*
 * Opens or creates the log in the directory `state_dir`, readable by its owner only, and finds where it ends. Takes no
 * ownership of the fd, which must stay open. A log that cannot be opened or trusted is not an error here: it is logged
 * and each audit_write() fails. 0 or -ENOMEM.
 */
int audit_new(int state_dir, struct audit **ret_audit);
struct audit *audit_free(struct audit *audit);

/* 0, or a negative errno: nothing was added. */
int audit_write(struct audit *audit, const struct audit_record *record, bool durable);

/* False after a failure, until a write succeeds. */
bool audit_is_healthy(const struct audit *audit);
