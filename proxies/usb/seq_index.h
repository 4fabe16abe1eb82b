/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a USB/IP sequence number to a slot, in constant time: the numbers of outstanding requests are chosen by the other
 * side, so they are hashed into chains, never used as an index. A peer that makes them collide walks at most
 * SEQ_SLOTS entries. Slots are handed out here too, so that "known" and "has a slot" cannot differ.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/limits.h"

#define SEQ_SLOTS (2u * LIMIT_URBS)
#define SEQ_NONE (-1)

struct seq_index {
	int16_t heads[1024];
	struct {
		uint32_t seqnum;
		int16_t next; /* in its chain, or in the free list */
		bool used;
	} slots[SEQ_SLOTS];
	int16_t free;
	uint16_t capacity;
	uint16_t n_used;
};

/* `capacity` at most SEQ_SLOTS: slots 0..capacity-1 are handed out. */
void seq_index_init(struct seq_index *index, unsigned int capacity);

/* The slot of `seqnum`, or SEQ_NONE. */
int seq_index_find(const struct seq_index *index, uint32_t seqnum);

/* A new slot for `seqnum`, which must not be known; SEQ_NONE when all are used. */
int seq_index_add(struct seq_index *index, uint32_t seqnum);

void seq_index_remove(struct seq_index *index, int slot);
