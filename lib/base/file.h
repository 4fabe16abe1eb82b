/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files on disk that only grow, line by line, and must be found whole at the next start. `size` is the length up to the
 * last whole line, `half` says that something of ours may stand behind it which could not be taken back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Writes all of it, however many calls that takes. 0 or a negative errno: then any part of it may be written. */
int file_write_all(int fd, const char *bytes, size_t len);

/*
 * Is the open file still the one that `dir` has by that name, and does it end where we left it? Cuts off what *half
 * allows. 0; FILE_OTHER: it was removed, replaced, linked, shortened, or somebody else wrote to it; or a negative errno:
 * nobody knows, try again.
 */
enum { FILE_OTHER = 1 };
int file_check(int dir, const char *name, int fd, off_t size, bool *half);

/*
 * Adds bytes to a file that was opened with O_APPEND, and has them on disk when `sync`. 0; FILE_NOT_SYNCED: the sync
 * failed, errno says how, and from then on nobody knows what is on disk; or a negative errno. Unless 0, what was
 * written is taken back, or *half is set.
 */
enum { FILE_NOT_SYNCED = 1 };
int file_append(int fd, off_t size, const char *bytes, size_t len, bool sync, bool *half);
