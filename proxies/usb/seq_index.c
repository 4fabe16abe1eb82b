/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sequence numbers in chained hash buckets; see the header. */
#include <assert.h>

#include "lib/base/base.h"
#include "proxies/usb/seq_index.h"

static unsigned int bucket_of(uint32_t seqnum)
{
	return (seqnum * 2654435761u) >> 22;
}

void seq_index_init(struct seq_index *index, unsigned int capacity)
{
	assert(capacity > 0 && capacity <= SEQ_SLOTS);
	index->capacity = (uint16_t)capacity;
	index->n_used = 0;
	for (size_t i = 0; i < ARRAY_SIZE(index->heads); i++)
		index->heads[i] = SEQ_NONE;
	for (unsigned int i = 0; i < capacity; i++) {
		index->slots[i].used = false;
		index->slots[i].next = i + 1 < capacity ? (int16_t)(i + 1) : SEQ_NONE;
	}
	index->free = 0;
}

int seq_index_find(const struct seq_index *index, uint32_t seqnum)
{
	int slot = index->heads[bucket_of(seqnum)];

	while (slot != SEQ_NONE && index->slots[slot].seqnum != seqnum)
		slot = index->slots[slot].next;
	return slot;
}

int seq_index_add(struct seq_index *index, uint32_t seqnum)
{
	int slot = index->free;
	int16_t *head = &index->heads[bucket_of(seqnum)];

	if (slot == SEQ_NONE)
		return SEQ_NONE;
	index->free = index->slots[slot].next;
	index->slots[slot].seqnum = seqnum;
	index->slots[slot].used = true;
	index->slots[slot].next = *head;
	*head = (int16_t)slot;
	index->n_used++;
	return slot;
}

void seq_index_remove(struct seq_index *index, int slot)
{
	int16_t *link = &index->heads[bucket_of(index->slots[slot].seqnum)];

	assert(index->slots[slot].used);
	while (*link != slot)
		link = &index->slots[*link].next;
	*link = index->slots[slot].next;
	index->slots[slot].used = false;
	index->slots[slot].next = index->free;
	index->free = (int16_t)slot;
	index->n_used--;
}
