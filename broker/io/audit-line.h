/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line of the audit log: from a record to its bytes, and from bytes to what the chain needs. Shape, in this order:
 *
 *     {"ts":"...","seq":N,"event":"...", ... ,"prev":"<64 hex>"}
 *
 * Only printable ASCII, shorter than LIMIT_AUDIT_LINE with its newline, one encoding: what is shaped otherwise is no
 * record.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/io/audit.h"
#include "lib/base/limits.h"
#include "lib/digest/digest.h"

/* What ties a line to the line before it. */
struct audit_link {
	uint64_t seq;
	uint8_t prev[DIGEST_SIZE];
};

/*
 * Writes the line, with its newline, to ret_line. `n_left_out` counts in place of the record's own. Texts are made
 * safe, and those that are too long end in "..."; so every record fits, and no memory is needed. 0, or -EMSGSIZE.
 */
int audit_line_make(const struct audit_record *record, const struct audit_link *link, uint64_t n_left_out,
		    char ret_line[LIMIT_AUDIT_LINE], size_t *ret_len);

/* Reads the link out of a line without its newline. 0, or -EBADMSG: not shaped as above (it may still be no JSON). */
int audit_line_parse(const char *line, size_t len, struct audit_link *ret_link);

/* Reads only the number, from the line's head: quick, and says nothing about the rest. 0 or -EBADMSG. */
int audit_line_seq(const char *line, size_t len, uint64_t *ret_seq);

/* The sentence for people in the journal: "attach-request: 0781:5581::u080650 from sys-usb to work". */
void audit_line_sentence(const struct audit_record *record, char *ret_text, size_t size);
