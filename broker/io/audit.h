/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log: one JSON object per line, only ever appended to. Reading and checking it is in audit-read.h.
 *
 *     {"ts":"2026-11-23T18:04:09.123456Z","seq":7,"event":"attach-request","who":1000,"who-qube":"sys-gui","origin":"user","answered-by":1000,
 *      "device":"0781:5581:AB12:u080650","port":"1-2","source":{"name":"sys-usb","domid":3,"uuid":"..."},"target":"work",
 *      "session":"1f...","rule":"30-user.policy:4","outcome":"done","left-out":2,"prev":"<64 hex>"}
 *
 * A record is on disk when audit_write() with `durable` returns 0. `seq` goes up by one from line to line and goes on
 * over restarts and files. `prev` is the SHA-256 of the line before, without its newline; 64 zeros in the first line
 * ever. `left-out` counts the records that could not be written since the line before.
 *
 * Files. STATE_DIR/audit.log is written; when it is full it becomes audit-<seq of its first line, 20 digits>.log and a
 * new one is begun, whose first line chains on. Closed files are never changed and never deleted. The steps, and what
 * the next start finds when the broker is killed or power is lost after each:
 *     fdatasync(audit.log)             as before; nothing of the old file can be lost any more
 *     rename it, unless that name is there    either name
 *     fsync(directory)                 no audit.log: it is made, and goes on from the end of the newest closed file
 *     create audit.log                 it is empty, or missing: the same
 *     fsync(directory)                 it is empty: the same
 *     write and fdatasync the first line
 * A file that cannot be renamed is written on beyond the limit.
 *
 * What power loss leaves at the end of audit.log, half a line or blocks of zeros that never reached the disk, is moved to
 * audit.torn at the next start: only records that were not durable can be in there.
 *
 * Each record goes to systemd's journal as well, if journald takes it at once (audit.c names the fields).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/core/core.h"
#include "lib/digest/digest.h"

struct audit;

struct audit_record {
	const char *event;            /* "attach-request" */
	struct core_user caller;      /* uid CORE_NOBODY: not asked for by a user */
	struct core_user answered_by; /* who answered the question, if it was asked; uid CORE_NOBODY: nobody */
	const char *origin; /* who wanted it: "user", "auto", "move", "resume", "replug" (record.c); NULL: nobody */
	const char *rule;   /* that decided, "30-user.policy:4"; NULL: none */
	const struct core_device *device; /* NULL: none */
	const struct core_qube *qube;     /* source, or whom it is about; NULL: none */
	const char *target;               /* NULL: none */
	uint64_t session;                 /* 0: none */
	const char *outcome;              /* NULL: none */
	unsigned int n_left_out;          /* records like this one that were not written since the last */
};

enum audit_state {
	AUDIT_HEALTHY,
	AUDIT_WRITE_FAILING, /* the last record could not be written; the next call tries again */
	AUDIT_SYNC_FAILED,   /* a sync failed: what is on disk is not known; no durable record until the next start */
	AUDIT_UNTRUSTED, /* removed, replaced, shortened, or its end is no record; nothing is written until the next start */
	AUDIT_STATE_COUNT,
};

struct audit_options {
	uint64_t file_bytes;        /* a file is closed before it grows beyond that */
	const char *journal_socket; /* NULL: no mirror; must outlive the audit log */
};

/* The last record: what a check of the whole log must come to. seq 0: there is none yet, or it is not known. */
struct audit_end {
	uint64_t seq;
	uint8_t digest[DIGEST_SIZE]; /* of its line */
};

/*
 * Opens or creates the log in the directory `state_dir`, readable by its owner only, and finds where it ends. Takes no
 * ownership of the fd, which must stay open. Options NULL: LIMIT_AUDIT_FILE and journald. A log that cannot be opened
 * or trusted is not an error here: it is logged and audit_state() tells. 0 or -ENOMEM.
 */
int audit_new(int state_dir, const struct audit_options *options, struct audit **ret_audit);
struct audit *audit_free(struct audit *audit);

/*
 * 0, or a negative errno: nothing was added (unless power is lost before the next record: then half of it, or it, may
 * be found). -ENOTRECOVERABLE: a sync failed, now or earlier, and `durable` was asked for; -ESTALE: AUDIT_UNTRUSTED;
 * others: AUDIT_WRITE_FAILING. Records that are not `durable` and fail are counted in the next one's left-out.
 */
int audit_write(struct audit *audit, const struct audit_record *record, bool durable);

enum audit_state audit_state(const struct audit *audit);

/* What that means, and the cure; for users. */
const char *audit_state_text(enum audit_state state);

struct audit_end audit_end(const struct audit *audit);
