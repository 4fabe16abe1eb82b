/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that are parts of others: a microphone of a headset, a partition of a disk. */
#pragma once

#include "cli/inventory.h"

#define TREE_DEPTH_MAX 8u /* what is deeper stands for itself */

/*
 * Puts each device right behind the one whose part it is, if that is in the inventory, and sets how deep it stands; the order is
 * as it was otherwise. 0 or -ENOMEM: nothing was changed.
 */
int tree_arrange(struct inventory *inventory);
