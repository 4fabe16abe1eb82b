/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening the usbfs node of the very device that was listed.
 */
#pragma once

#include "proxies/agent/identity.h"

/*
 * Opens the node of `identity` for reading and writing and holds what it says of itself against `snapshot`. OUTCOME_OK
 * and *ret_fd, or OUTCOME_NO_DEVICE, OUTCOME_CHANGED, OUTCOME_OPEN_FAILED (logged).
 */
enum outcome node_open(const struct identity *identity, const struct snapshot_bytes *snapshot, int *ret_fd);
