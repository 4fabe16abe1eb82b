/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory for one test, made and removed in one way. */
#pragma once

#include "tests/unit.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* not each program needs each */

/* An empty directory PARENT/test-NAME-XXXXXX. */
static void scratch_make_in(const char *parent, const char *name, char *ret_path, size_t size)
{
	int len = snprintf(ret_path, size, "%s/test-%s-XXXXXX", parent, name);

	assert_true(len > 0 && (size_t)len < size);
	assert_non_null(mkdtemp(ret_path));
}

/* In memory where there is such a place: a sync takes no time there. */
static void scratch_make(const char *name, char *ret_path, size_t size)
{
	scratch_make_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", name, ret_path, size);
}

static int scratch_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* With all that is in it, and with what a process that was just killed, or orphaned, still makes there. */
static void scratch_remove(const char *path)
{
	int r = -1;

	for (unsigned int i = 0; i < 100 && (r = nftw(path, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS)) != 0; i++)
		(void)usleep(100000);
	assert_int_equal(r, 0);
}
