/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes of sysfs, bounded; whose words they are is their reader's care. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Reads at most `size` bytes of an attribute in the open folder (or AT_FDCWD and a whole path). Returns how many, or -1. */
ssize_t sysfs_read(int folder, const char *name, void *ret_untrusted_bytes, size_t size);

/* An attribute of one line without its newline; empty when it is absent or does not fit. */
void sysfs_read_line(int folder, const char *name, char *ret_untrusted_line, size_t size);
