/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usbfs has one pot of memory for the transfers of all its users, 16 MiB as it comes: just what one session may have in
 * flight, so that one app qube with requests to an idle device could keep all other exports of this qube from moving.
 * The pot is made LIMIT_USBFS_SHARE for each of LIMIT_SESSIONS, but no more than 1/LIMIT_USBFS_OF_RAM of the qube's memory.
 */
#pragma once

#include <stdint.h>

#define USBFS_MEMORY_FILE "/sys/module/usbcore/parameters/usbfs_memory_mb"

/* This qube's memory in bytes; 0 if it cannot be told. */
uint64_t usbfs_ram(void);

/*
 * Raises the number in `file` (MiB; 0: no limit) to what is right for `ram` bytes; never lowers it, so an administrator's
 * larger value stays. 0 or a negative errno.
 */
int usbfs_raise_memory(const char *file, uint64_t ram);
