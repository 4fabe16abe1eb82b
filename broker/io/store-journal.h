/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lines of the state journal, as bytes. No I/O.
 *
 *     qubes-device-broker-state VERSION MACHINE SUM
 *     LENGTH SEQ BEFORE put KIND KEY VALUE SUM
 *     LENGTH SEQ BEFORE remove KIND KEY  SUM
 *
 * Printable ASCII, one space between fields. LENGTH: five digits, of the whole line with its newline. SEQ: 1, 2, 3...
 * SUM: the first 16 hexadecimal digits of the SHA-256 of the line up to the space before it; BEFORE: the SUM of the line
 * before. So each line proves itself, and that none was lost or changed places before it. In KEY and VALUE every byte
 * outside 0x21..0x7e, and '%', is %XX. MACHINE: /etc/machine-id, or "none" if there is none.
 *
 * A line whose newline is missing was never acknowledged, if it is shorter than its LENGTH says. When it is not, its
 * newline is there and became another byte: that is damage.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/io/store.h"
#include "lib/base/limits.h"

#define JOURNAL_SUM 16u
#define JOURNAL_MACHINE 32u
/* LENGTH, SEQ, BEFORE, op, KIND, KEY, VALUE, SUM, with what ends each */
#define JOURNAL_LINE_MAX                                                                                     \
	(6u + 21u + (JOURNAL_SUM + 1) + 7u + 11u + (3 * LIMIT_STORE_KEY + 1) + (3 * LIMIT_STORE_VALUE + 1) + \
	 (JOURNAL_SUM + 1))

struct journal_sum {
	char text[JOURNAL_SUM + 1];
};

struct journal_record {
	uint64_t seq;
	bool remove; /* then the value is empty */
	enum store_kind kind;
	char key[LIMIT_STORE_KEY + 1];
	char value[LIMIT_STORE_VALUE + 1];
};

enum journal_fault {
	JOURNAL_FAULT_HEADER = 1,
	JOURNAL_FAULT_VERSION,
	JOURNAL_FAULT_MACHINE,
	JOURNAL_FAULT_SUM,
	JOURNAL_FAULT_FORM,
	JOURNAL_FAULT_ORDER,
	JOURNAL_FAULT_LONG,
	JOURNAL_FAULT_END,
	JOURNAL_FAULT_UNFIT,
	JOURNAL_FAULT_FULL,
	JOURNAL_FAULT_COUNT,
};

/* What is wrong with a line, to stand after "state.journal, line 7: ". */
const char *journal_fault_text(enum journal_fault fault);

/* A text that can be stored: neither too long nor with a control character. */
bool journal_text_is_fit(const char *text, size_t max);

/* Write one line with its newline and tell its sum; return the length. */
size_t journal_write_header(const char *machine, char ret_line[JOURNAL_LINE_MAX], struct journal_sum *ret_sum);
size_t journal_write_record(const struct journal_record *record, const struct journal_sum *before,
			    char ret_line[JOURNAL_LINE_MAX], struct journal_sum *ret_sum);

/* Read one line, with its newline. 0 or a journal_fault. */
int journal_read_header(const char *untrusted_line, size_t len, const char *machine, struct journal_sum *ret_sum);

/* `before` NULL: the line proves itself only, not its place. */
int journal_read_record(const char *untrusted_line, size_t len, const struct journal_sum *before, uint64_t seq,
			struct journal_record *ret_record, struct journal_sum *ret_sum);

/* What stands after the last newline, at least one byte: was it written in part only? */
bool journal_is_torn(const char *untrusted_tail, size_t len);
