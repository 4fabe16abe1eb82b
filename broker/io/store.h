/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the broker must know again after a restart: a table of texts on disk, STATE_DIR/state.journal.
 *
 * A change is on disk when the call that made it returns 0, and then only; after a crash at any instant a change that was
 * not acknowledged is there whole or not at all. The file is a journal: one line per change, the format is in
 * store-journal.h. When most of its lines are dead it is written anew beside itself (state.new) and renamed. Each
 * start writes it anew too: so what a start has read is on disk whatever became of the writes of the broker before it.
 *
 * A journal with a fault (a flipped bit, a lost line, another machine's, a newer version's) is not used at all:
 * store_fault() says what and where, every change is refused, and no record is there, until store_recover() has been
 * run. Only a last line that was not written to its end is no fault: nobody was told that it is there. It is kept
 * in state.torn and dropped.
 *
 * One process at a time; the broker holds the directory's lock. Keys and values are never used as paths.
 */
#pragma once

#include <stdbool.h>

enum store_kind {
	STORE_ASSIGNMENT, /* see store-records.h */
	STORE_DENIED,     /* see store-records.h */
	STORE_LABEL,
	STORE_SESSION,
	STORE_KIND_COUNT,
};

/*
 * What may be stored: 0; STORE_UNFIT, which makes a record of the journal a fault; or a negative errno, when that is not
 * known (no memory): a record is then neither taken nor given up, what asked fails.
 */
typedef int (*store_check)(enum store_kind kind, const char *key, const char *value);

enum {
	STORE_FULL = 1, /* as many records of that kind as there may be */
	STORE_UNKNOWN,  /* no record has that key */
	STORE_UNFIT,    /* empty key, too long, a control character, or the check said no */
	STORE_SOUND,    /* nothing to recover */
};

struct store;

/*
 * Opens or creates the journal in the directory `state_dir` and loads it. Takes no ownership of the fd, which must stay
 * open. `check` may be NULL. 0 or -ENOMEM; see store_fault() for everything else.
 */
int store_new(int state_dir, store_check check, struct store **ret_store);
struct store *store_free(struct store *store);

/*
 * NULL, or a sentence with file, line and cure: nothing can be changed until that is done and the broker was started
 * again. When the journal is damaged no record is there; when it only cannot be written (read-only file system, a
 * failed fdatasync, replaced while open), what was acknowledged can still be read.
 */
const char *store_fault(const struct store *store);

/*
 * Adds or replaces, removes: on disk when 0 is returned, else nothing has changed. -EROFS, -ESTALE and -EBADMSG
 * for good (store_fault() says why); another negative errno (no space, no memory): the next call tries again.
 * STORE_FULL, STORE_UNFIT; STORE_UNKNOWN when there is nothing to remove.
 */
int store_put(struct store *store, enum store_kind kind, const char *key, const char *value);
int store_remove(struct store *store, enum store_kind kind, const char *key);

/* The value, until the next change; NULL: none. */
const char *store_get(const struct store *store, enum store_kind kind, const char *key);

/* Walks one kind in the order of its keys, from *cursor = 0, with no change in between. False at the end. */
bool store_next(const struct store *store, enum store_kind kind, unsigned int *cursor, const char **ret_key,
		const char **ret_value);

/*
 * For an administrator, while no broker runs: makes a new journal from every line that verifies by itself, and keeps the
 * old one as state.damaged-N. A change in a lost line is as if it had never been made. A journal of another machine is
 * taken over; of a newer version nothing is. A crash in the middle leaves the old journal. 0 with the number of
 * records there are now and of lines that were lost, STORE_SOUND, or a negative errno; what was lost is logged.
 */
int store_recover(int state_dir, store_check check, unsigned int *ret_n_kept, unsigned int *ret_n_lost);
