/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one thing that a proxy must do after it gave up its rights: open the FIFO that the sound server makes, in a directory that
 * it does not see any more. A child that was made before does it, once, without a word of anybody's to choose what.
 */
#pragma once

#include <sys/types.h>

#include "lib/base/limits.h"

/*
 * Makes the child, which becomes `owner` if we are root. 0 and the fd by which it is asked, or a negative errno. `path` is the
 * FIFO's. It ends when the fd is closed.
 */
int opener_new(const char *path, uid_t owner, int *ret_fd);

/*
 * Has it open the FIFO for reading and writing, and remove its path. 0 and the pipe, or a negative errno; a FIFO it must be, and
 * the owner's. Blocks until the child has answered, for OPENER_USEC at most; *fd is closed.
 */
#define OPENER_USEC USEC_PER_SEC
int opener_open(int *fd, int *ret_pipe);
