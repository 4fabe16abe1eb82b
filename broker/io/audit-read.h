/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the audit log: pages of it for users, and a check that nothing in it was changed.
 *
 * What the chain shows: a record that was edited, removed, inserted or moved, in any file, as long as a later record is
 * there that was not made to fit. What it cannot show, for it holds no secret:
 *   - somebody who may write the files can rewrite one record and all that follow;
 *   - they can cut off the end, or remove the oldest files (an archive does the same).
 * Against the first two: while the broker runs it knows the last record (audit_end()), and a check is held against it; and
 * each record is in the systemd journal as well, with its number and digest (QDB_SEQ, QDB_SHA256), where the broker's
 * account cannot change it: `journalctl QDB_SEQ=N` must show the digest that is `prev` in record N + 1, and no number
 * beyond the log's last. Numbers that the journal lacks prove nothing: journald drops entries when it is busy.
 *
 * Both read what is on disk at that time, with memory that does not grow with the log. They may run beside the broker.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/io/audit-files.h"
#include "broker/io/audit.h"

enum audit_fault {
	AUDIT_FAULT_NONE,
	AUDIT_FAULT_FILE,     /* what has a log's name is no file */
	AUDIT_FAULT_NAME,     /* a closed file does not begin with the record in its name, or holds none */
	AUDIT_FAULT_LINE,     /* the line is no record */
	AUDIT_FAULT_SEQUENCE, /* its number is not the next: something was removed, inserted or moved here */
	AUDIT_FAULT_CHAIN,    /* the record, or the next one's `prev`, is not what was written */
	AUDIT_FAULT_END,      /* the log ends before the last record that the broker wrote, or in another one */
	AUDIT_FAULT_COUNT,
};

struct audit_report {
	uint64_t n_records;           /* that were read */
	uint64_t first_seq, last_seq; /* 0: there is no record. first_seq > 1: older files were moved away */
	size_t n_torn;                /* bytes of half a line at the end of audit.log: no fault, power was lost */

	enum audit_fault fault; /* the first; the check ends there */
	char file[AUDIT_NAME_SIZE];
	uint64_t line;     /* in that file, from 1; 0: the file as a whole */
	uint64_t seq;      /* of the record in question; 0: not known */
	uint64_t expected; /* AUDIT_FAULT_SEQUENCE, _END: the number that should be there */
};

/* A check in steps, for a program that has other things to do; 10^6 records are some seconds' work. */
struct audit_check;

/* Begins at the oldest file. `end` (NULL: not known) is what the log must come to. 0 or a negative errno. */
int audit_check_new(int state_dir, const struct audit_end *end, struct audit_check **ret_check);
struct audit_check *audit_check_free(struct audit_check *check);

/* Checks up to `n_lines` more. 1: there is more to do; 0: done, see the report; or a negative errno: could not read. */
int audit_check_step(struct audit_check *check, uint64_t n_lines);

/* What was found so far; lives as long as `check`. */
const struct audit_report *audit_check_report(const struct audit_check *check);

/* All of it at once. 0 (the report says whether it is in order) or a negative errno. */
int audit_verify(int state_dir, const struct audit_end *end, struct audit_report *ret_report);

/* One sentence for users, printable ASCII: what is wrong and where, or how much is in order. */
#define AUDIT_REPORT_TEXT 320u
void audit_report_text(const struct audit_report *report, char ret_text[AUDIT_REPORT_TEXT]);

/*
 * Copies whole lines with their newlines, the records after `after_seq` in order, as many as fit into `size` bytes (at
 * least LIMIT_AUDIT_LINE). *ret_seq is the last one's number, to go on from; *ret_len 0: there is none yet. 0, -EBADMSG
 * (the next line is no record, or not the one that is due: audit_verify() says where), or another negative errno.
 */
int audit_read(int state_dir, uint64_t after_seq, char *ret_lines, size_t size, size_t *ret_len, uint64_t *ret_seq);
