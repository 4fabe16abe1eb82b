// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The one allocation of a set, and its table of texts.
 *
 * Invariant: policy_allocate() was told the most that the texts can need, so nothing that is added later can fail.
 */
#include "broker/policy/internal.h"

#include <assert.h>
#include <string.h>

#include "lib/base/base.h"

#define ALIGNMENT 16u

static size_t round_up(size_t size)
{
	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

struct policy *policy_allocate(const struct policy_needs *needs)
{
	struct policy layout = {.max_rules = needs->n_rules, .max_symbols = needs->n_symbols + 1};
	size_t n_slots = 8, total = round_up(sizeof(layout));
	struct policy *policy;
	char *block;

	while (n_slots < 2 * layout.max_symbols)
		n_slots *= 2;
	const struct {
		void *pointer; /* to the pointer to set */
		size_t size;
	} parts[] = {
		{&layout.rules, needs->n_rules * sizeof(*layout.rules)},
		{&layout.places, needs->n_rules * sizeof(*layout.places)},
		{&layout.ids, needs->n_rules * sizeof(*layout.ids)},
		{&layout.qubes, needs->n_qubes * sizeof(*layout.qubes)},
		{&layout.tags, needs->n_tags * sizeof(*layout.tags)},
		{&layout.symbols, layout.max_symbols * sizeof(*layout.symbols)},
		{&layout.slots, n_slots * sizeof(*layout.slots)},
		{&layout.files, needs->n_files * sizeof(*layout.files)},
		{&layout.text, needs->text_size + 1},
	};
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		total += round_up(parts[i].size);
	block = calloc(1, total); /* what is never written of it takes no memory */
	if (!block)
		return NULL;
	total = round_up(sizeof(layout));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		char *at = block + total;

		memcpy(parts[i].pointer, &at, sizeof(at));
		total += round_up(parts[i].size);
	}
	layout.n_slots = n_slots;
	layout.n_symbols = 1;
	layout.text_size = needs->text_size + 1;
	layout.text_len = 1; /* offset 0 is the empty text */
	policy = (struct policy *)(void *)block;
	*policy = layout;
	return policy;
}

struct policy *policy_free(struct policy *policy)
{
	free(policy);
	return NULL;
}

uint32_t policy_add_text(struct policy *policy, const char *text, size_t len)
{
	size_t at = policy->text_len;

	assert(len < policy->text_size - at);
	memcpy(policy->text + at, text, len); /* the NUL is there */
	policy->text_len += len + 1;
	return (uint32_t)at;
}

static uint32_t hash_text(const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619u;
	return hash ^ hash >> 15;
}

/* The slot that has `text`, or the free one where it belongs: at most half of the slots are taken. */
static size_t find_slot(const struct policy *policy, const char *text)
{
	size_t slot = hash_text(text) & (policy->n_slots - 1);

	while (policy->slots[slot] != SYMBOL_NONE &&
	       strcmp(policy_text(policy, policy->symbols[policy->slots[slot]].text), text) != 0)
		slot = (slot + 1) & (policy->n_slots - 1);
	return slot;
}

uint32_t policy_find_symbol(const struct policy *policy, const char *text)
{
	return policy->slots[find_slot(policy, text)];
}

uint32_t policy_add_symbol(struct policy *policy, const char *text)
{
	size_t slot = find_slot(policy, text);

	if (policy->slots[slot] == SYMBOL_NONE) {
		assert(policy->n_symbols < policy->max_symbols);
		policy->symbols[policy->n_symbols].text = policy_add_text(policy, text, strlen(text));
		policy->slots[slot] = (uint32_t)policy->n_symbols++;
	}
	return policy->slots[slot];
}

void policy_loose_serial(const char *serial, char ret_loose[LIMIT_TEXT + 1])
{
	size_t len = 0;

	for (; serial[len] && len < LIMIT_TEXT; len++) {
		char c = serial[len];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';

		ret_loose[len] = plain ? c : '_';
	}
	ret_loose[len] = '\0';
}
