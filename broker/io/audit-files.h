/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files of the audit log, and a walk over their lines. The log is audit-<seq>.log, in the order of <seq>, then audit.log; <seq>
 * is the number of the file's first record, 20 digits, so that names sort as the files do. Memory does not grow with
 * the log: which file comes next is asked of the directory.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>

#define AUDIT_LOG_NAME "audit.log"
#define AUDIT_TORN_NAME "audit.torn" /* half lines, kept aside */
#define AUDIT_NAME_SIZE (6 + 20 + 4 + 1)

/* The name of a closed file. */
void audit_file_name(uint64_t first_seq, char ret_name[AUDIT_NAME_SIZE]);

/* Calls `each` for each closed file, in no order, until it returns other than 0; returns that, or a negative errno. */
typedef int audit_files_each(void *userdata, int state_dir, const char *name, uint64_t first_seq);
int audit_files_scan(int state_dir, audit_files_each *each, void *userdata);

/* The first record's number of the closed file after / the last up to `seq`. 0, 1: there is none, or negative errno. */
int audit_files_after(int state_dir, uint64_t seq, uint64_t *ret_first_seq);
int audit_files_up_to(int state_dir, uint64_t seq, uint64_t *ret_first_seq);

/* A walk over lines. What is shown is valid until the next call. */
struct audit_walk {
	char name[AUDIT_NAME_SIZE]; /* of the file that `line` is in */
	uint64_t first_seq;         /* as that file's name says; 0: it is audit.log */
	uint64_t line_number;       /* in that file, from 1 */
	const char *line;           /* without its newline; not terminated */
	size_t len;

	int state_dir, fd;
	off_t offset; /* of what comes after the buffer */
	size_t start, end;
	char buffer[65536];
};

/* What a step of a walk ends in, beside 0 and negative errnos. */
enum {
	AUDIT_WALK_END = 1, /* there is no further line */
	AUDIT_WALK_TORN,    /* the file ends in `len` bytes without a newline; for audit.log this is the end */
	AUDIT_WALK_LONG,    /* no newline within LIMIT_AUDIT_LINE bytes */
	AUDIT_WALK_EMPTY,   /* a closed file holds no line */
	AUDIT_WALK_ALIEN,   /* what has the file's name is no file */
};

/*
 * Opens the file in which the record `seq` is, or would be: the first one for 0. Takes no ownership of the fd, which
 * must stay open. 0, AUDIT_WALK_ALIEN or a negative errno; audit_walk_deinit() in each case.
 */
int audit_walk_init(struct audit_walk *walk, int state_dir, uint64_t seq);
void audit_walk_deinit(struct audit_walk *walk);

/* Goes to the next line: 0, or one of the above. */
int audit_walk_next(struct audit_walk *walk);
