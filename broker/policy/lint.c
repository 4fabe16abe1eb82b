// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rules that are hardly meant so. To find the rule above that shadows one, its fields are looked up in a table of the
 * rules above, once as they are and once for each way to write wider ones in their places: a fixed number of look-ups,
 * so 10^5 rules take no longer than 10^5 times that.
 */
#include "broker/policy/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"

/* The four fields of a rule as numbers: rules with equal keys match the same. */
struct key {
	uint32_t classes, source_kind, source, target_kind, target;
	uint32_t device_kind, device[3];
	uint32_t strict; /* of a pattern and an id: `allow` reads them narrower than the others do */
};

struct table {
	uint32_t *slots; /* 1 + index of the first rule with such a key */
	size_t n_slots;
	const struct policy *policy;
};

const char *policy_warning_text(enum policy_warning_type type)
{
	static const char *const texts[POLICY_WARN_COUNT] = {
		[POLICY_WARN_SHADOWED] = "this rule is never reached: the other one matches all that it matches",
		[POLICY_WARN_UNKNOWN_TAG] = "no !qube line gives this tag to a qube, so the rule matches nothing",
		[POLICY_WARN_DOM0_TARGET] = "dom0 is among the targets of this rule: write @anyvm to leave it out",
	};

	return type < POLICY_WARN_COUNT ? texts[type] : "unknown";
}

static void make_key(const struct policy *policy, const struct rule *rule, struct key *key)
{
	*key = (struct key){.classes = rule->classes,
			    .source_kind = rule->source_kind,
			    .source = rule->source,
			    .target_kind = rule->target_kind,
			    .target = rule->target,
			    .device_kind = rule->device_kind,
			    .device = {rule->device}};
	key->strict = rule->action == POLICY_ALLOW;
	switch ((enum device_kind)rule->device_kind) {
	case DEVICE_ANY:
	case DEVICE_PORT:
	case DEVICE_PRODUCT:
		key->strict = 0;
		return;
	case DEVICE_ID:
		key->device[0] = policy->ids[rule->device].product;
		key->device[1] = policy->ids[rule->device].serial;
		key->device[2] = policy->ids[rule->device].interfaces;
		return;
	case DEVICE_PATTERN:
		for (size_t i = 0; i < 3; i++)
			key->device[i] = rule->pattern[i];
		return;
	}
}

static uint32_t hash_key(const struct key *key)
{
	const uint32_t words[] = {key->classes,     key->source_kind, key->source,    key->target_kind, key->target,
				  key->device_kind, key->device[0],   key->device[1], key->device[2],   key->strict};
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		hash = (hash ^ words[i]) * 0x9e3779b1u;
		hash ^= hash >> 15;
	}
	return hash;
}

static uint32_t *find_slot(const struct table *table, const struct key *key)
{
	size_t slot = hash_key(key) & (table->n_slots - 1);

	for (; table->slots[slot]; slot = (slot + 1) & (table->n_slots - 1)) {
		struct key other;

		make_key(table->policy, &table->policy->rules[table->slots[slot] - 1], &other);
		if (memcmp(&other, key, sizeof(other)) == 0)
			break;
	}
	return &table->slots[slot];
}

static size_t wider_selectors(uint32_t kind, uint32_t value, struct selector ret[3])
{
	size_t n = 0;

	ret[n++] = (struct selector){.kind = kind, .value = value};
	if (kind != SELECT_MASK || value != MASK_ALL)
		ret[n++] = (struct selector){.kind = SELECT_MASK, .value = MASK_ALL};
	if (kind != SELECT_MASK || (value != MASK_ALL && value != MASK_QUBE && value != MASK_DOM0))
		ret[n++] = (struct selector){.kind = SELECT_MASK, .value = MASK_QUBE};
	return n;
}

/* The same device; a pattern read wider; `*`. */
static size_t wider_devices(const struct key *key, struct key ret[3])
{
	size_t n = 0;

	ret[n++] = *key;
	if (key->device_kind == DEVICE_PATTERN && key->strict) {
		ret[n] = *key;
		ret[n++].strict = 0;
	}
	if (key->device_kind != DEVICE_ANY) {
		ret[n] = *key;
		ret[n].device_kind = DEVICE_ANY;
		memset(ret[n].device, 0, sizeof(ret[n].device));
		ret[n++].strict = 0;
	}
	return n;
}

static uint32_t earlier(uint32_t a, uint32_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* 1 + the index of the first rule above that is as wide in each field; 0: none. */
static uint32_t find_wider(const struct table *table, const struct key *key)
{
	struct selector sources[3], targets[3];
	struct key devices[3];
	size_t n_sources = wider_selectors(key->source_kind, key->source, sources);
	size_t n_targets = wider_selectors(key->target_kind, key->target, targets);
	size_t n_devices = wider_devices(key, devices);
	uint32_t first = 0;

	for (size_t i = 0; i < n_sources * n_targets * n_devices; i++) {
		struct key wider = devices[i % n_devices];
		const struct selector *source = &sources[i / n_devices % n_sources];
		const struct selector *target = &targets[i / n_devices / n_sources];

		wider.source_kind = source->kind;
		wider.source = source->value;
		wider.target_kind = target->kind;
		wider.target = target->value;
		first = earlier(first, *find_slot(table, &wider));
		wider.classes = CLASS_ANY;
		first = earlier(first, *find_slot(table, &wider));
	}
	return first;
}

static bool has_unknown_tag(const struct policy *policy, const struct rule *rule)
{
	return (rule->source_kind == SELECT_TAG && !policy->tag_used[rule->source]) ||
	       (rule->target_kind == SELECT_TAG && !policy->tag_used[rule->target]);
}

int policy_lint(const struct policy *policy, void (*warn)(void *userdata, const struct policy_warning *warning),
		void *userdata)
{
	struct table table = {.n_slots = 8, .policy = policy};

	while (table.n_slots < 2 * policy->n_rules)
		table.n_slots *= 2;
	table.slots = calloc(table.n_slots, sizeof(*table.slots));
	if (!table.slots)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct rule *rule = &policy->rules[i];
		const struct rule_place *place = &policy->places[i];
		struct policy_warning warning = {.file = policy->files[place->file],
						 .line = place->line,
						 .text = policy_text(policy, place->text)};
		struct key key;
		uint32_t wider, *slot;

		if (rule->action == POLICY_ALLOW && rule->target_kind == SELECT_MASK && (rule->target & MASK_DOM0)) {
			warning.type = POLICY_WARN_DOM0_TARGET;
			warn(userdata, &warning);
		}
		if (has_unknown_tag(policy, rule)) {
			warning.type = POLICY_WARN_UNKNOWN_TAG;
			warn(userdata, &warning);
		}
		make_key(policy, rule, &key);
		wider = find_wider(&table, &key);
		if (wider) {
			warning.type = POLICY_WARN_SHADOWED;
			warning.other_file = policy->files[policy->places[wider - 1].file];
			warning.other_line = policy->places[wider - 1].line;
			warn(userdata, &warning);
		}
		slot = find_slot(&table, &key);
		if (*slot == 0)
			*slot = (uint32_t)i + 1;
	}
	free(table.slots);
	return 0;
}
