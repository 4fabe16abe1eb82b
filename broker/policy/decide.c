// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a set says about one attach. The query is turned into numbers once; then each rule costs some comparisons.
 *
 * Interface patterns, for all interfaces at once: with[0][p] has one bit for each interface of the device whose class
 * matches the two digits p of a pattern, with[1] and [2] for subclass and protocol; so the intersection of three is the
 * set of interfaces that match.
 */
#include "broker/policy/internal.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

_Static_assert(LIMIT_INTERFACES <= 32, "one bit per interface");

/* A qube as selectors see it. */
struct party {
	uint32_t mask, name;
	bool tags[LIMIT_POLICY_TAGS];
};

struct facts {
	uint8_t class_bit;
	uint32_t port, product, serial, serial_loose, interfaces;
	size_t n_interfaces; /* 0: unknown */
	uint32_t all;        /* one bit per interface */
	uint32_t with[3][PATTERN_PARTS];
	struct party source, target;
};

const char *policy_action_name(enum policy_action action)
{
	static const char *const names[POLICY_ACTION_COUNT] = {
		[POLICY_DENY] = "deny", [POLICY_ASK] = "ask", [POLICY_ALLOW] = "allow"};

	return action < POLICY_ACTION_COUNT ? names[action] : "unknown";
}

const char *policy_field_name(enum policy_field field)
{
	static const char *const names[] = {"CLASS", "DEVICE", "SOURCE", "TARGET"};

	return field < ARRAY_SIZE(names) ? names[field] : "unknown";
}

/* The class's bit, and with which letter the codes of its interfaces begin: a camera's are those of USB, as Qubes has it. */
static uint8_t look_at_class(const char *name, char *ret_letter)
{
	static const struct {
		const char *name;
		uint8_t bit;
		char letter;
	} classes[] = {
		{"usb", CLASS_USB, 'u'},
		{"mic", CLASS_MIC, 'm'},
		{"webcam", CLASS_WEBCAM, 'u'},
		{"speaker", CLASS_SPEAKER, 's'},
	};

	for (size_t i = 0; name && i < ARRAY_SIZE(classes); i++)
		if (strcmp(name, classes[i].name) == 0) {
			*ret_letter = classes[i].letter;
			return classes[i].bit;
		}
	*ret_letter = '?';
	return CLASS_OTHER;
}

static void look_at_party(const struct policy *policy, const char *name, bool is_dom0, struct party *party)
{
	const struct qube *qube;

	party->mask = is_dom0 ? MASK_DOM0 : MASK_QUBE;
	if (is_dom0 || !name)
		return;
	party->name = policy_find_symbol(policy, name);
	if (policy->symbols[party->name].qube == 0)
		return;
	qube = &policy->qubes[policy->symbols[party->name].qube - 1];
	party->mask |= qube->mask;
	for (uint32_t i = 0; i < qube->n_tags; i++)
		party->tags[policy->tags[qube->first_tag + i]] = true;
}

static void look_at_interfaces(const struct policy *policy, const struct policy_query *query, char letter,
			       struct facts *facts)
{
	char codes[7 * LIMIT_INTERFACES + 1] = "?******";

	facts->n_interfaces = query->n_interfaces <= LIMIT_INTERFACES ? query->n_interfaces : 0;
	for (size_t i = 0; i < facts->n_interfaces; i++) {
		uint32_t bit = 1u << i;

		text_interface_code(letter, query->interfaces[i], codes + 7 * i);
		facts->all |= bit;
		for (size_t part = 0; part < 3; part++) {
			unsigned int high = query->interfaces[i][part] >> 4, low = query->interfaces[i][part] & 15;

			facts->with[part][PATTERN_PART(high, low)] |= bit;
			facts->with[part][PATTERN_PART(high, DIGIT_ANY)] |= bit;
			facts->with[part][PATTERN_PART(DIGIT_ANY, low)] |= bit;
			facts->with[part][PATTERN_PART(DIGIT_ANY, DIGIT_ANY)] |= bit;
		}
	}
	facts->interfaces = policy_find_symbol(policy, codes);
}

static void look(const struct policy *policy, const struct policy_query *query, struct facts *facts)
{
	const char *serial = query->serial ? query->serial : "";
	char loose[LIMIT_TEXT + 1], letter;

	*facts = (struct facts){0};
	facts->class_bit = look_at_class(query->class_name, &letter);
	facts->product = (uint32_t)query->vendor << 16 | query->product;
	facts->port = policy_find_symbol(policy, query->port ? query->port : "");
	facts->serial = policy_find_symbol(policy, serial);
	policy_loose_serial(serial, loose);
	facts->serial_loose = policy_find_symbol(policy, loose);
	look_at_interfaces(policy, query, letter, facts);
	look_at_party(policy, query->source, query->source_is_dom0, &facts->source);
	look_at_party(policy, query->target, query->target_is_dom0, &facts->target);
}

static inline bool selects(uint8_t kind, uint32_t value, const struct party *party)
{
	switch ((enum selector_kind)kind) {
	case SELECT_MASK:
		return (party->mask & value) != 0;
	case SELECT_NAME:
		return party->name == value;
	case SELECT_TAG:
		return party->tags[value];
	}
	return false;
}

/* Which interfaces match. */
static inline uint32_t matching(const struct rule *rule, const struct facts *facts)
{
	return facts->with[0][rule->pattern[0]] & facts->with[1][rule->pattern[1]] & facts->with[2][rule->pattern[2]];
}

static bool matches_id(const struct device_id *id, bool strict, const struct facts *facts)
{
	if (id->product != facts->product)
		return false;
	if (id->serial != SYMBOL_ANY && id->serial != (strict ? facts->serial : facts->serial_loose))
		return false;
	return id->interfaces == SYMBOL_ANY || id->interfaces == facts->interfaces ||
	       (!strict && facts->n_interfaces == 0);
}

static inline bool matches_device(const struct policy *policy, const struct rule *rule, const struct facts *facts)
{
	bool strict = rule->action == POLICY_ALLOW;

	switch ((enum device_kind)rule->device_kind) {
	case DEVICE_ANY:
		return true;
	case DEVICE_PORT:
		return rule->device == facts->port;
	case DEVICE_PRODUCT:
		return rule->device == facts->product;
	case DEVICE_ID:
		return matches_id(&policy->ids[rule->device], strict, facts);
	case DEVICE_PATTERN:
		if (!(facts->class_bit & CLASS_PATTERNS))
			return false;
		if (facts->n_interfaces == 0)
			return !strict;
		return strict ? matching(rule, facts) == facts->all : matching(rule, facts) != 0;
	}
	return false;
}

static inline bool matches(const struct policy *policy, const struct rule *rule, const struct facts *facts)
{
	return (rule->classes & facts->class_bit) && selects(rule->source_kind, rule->source, &facts->source) &&
	       selects(rule->target_kind, rule->target, &facts->target) && matches_device(policy, rule, facts);
}

static void give_verdict(const struct policy *policy, const struct facts *facts, struct policy_verdict *verdict,
			 size_t *ret_index)
{
	const struct rule_place *place;
	size_t i = 0;

	while (i < policy->n_rules && !matches(policy, &policy->rules[i], facts))
		i++;
	*ret_index = i;
	if (i == policy->n_rules) {
		verdict->why = POLICY_WHY_NO_RULE;
		return;
	}
	place = &policy->places[i];
	verdict->why = POLICY_WHY_RULE;
	verdict->action = (enum policy_action)policy->rules[i].action;
	memcpy(verdict->file, policy->files[place->file], sizeof(verdict->file));
	verdict->line = place->line;
	verdict->text = policy_text(policy, place->text);
	verdict->max_time_usec = place->max_time_sec * USEC_PER_SEC;
	verdict->notify = place->notify;
	verdict->end_parts = place->end_parts;
	(void)snprintf(verdict->default_target, sizeof(verdict->default_target), "%s",
		       policy_text(policy, policy->symbols[place->default_target].text));
}

static void start_verdict(struct policy_verdict *verdict)
{
	*verdict = (struct policy_verdict){.action = POLICY_DENY, .why = POLICY_WHY_BROKEN, .text = "", .notify = true};
}

void policy_decide(const struct policy *policy, const struct policy_query *query, struct policy_verdict *ret_verdict)
{
	struct facts facts;
	size_t i;

	start_verdict(ret_verdict);
	if (!policy)
		return;
	look(policy, query, &facts);
	give_verdict(policy, &facts, ret_verdict, &i);
}

/* Why a device does not match although it looks so; NULL: plain to see. */
static const char *device_hint(const struct policy *policy, const struct rule *rule, const struct facts *facts)
{
	const struct device_id *id;

	if (rule->device_kind == DEVICE_PATTERN && (facts->class_bit & CLASS_PATTERNS) &&
	    rule->action == POLICY_ALLOW) {
		if (facts->n_interfaces == 0)
			return "the device's interfaces are unknown: no pattern of an allow rule matches it";
		if (matching(rule, facts))
			return "only some of the device's interfaces match; an allow rule wants all of them to";
	}
	if (rule->device_kind != DEVICE_ID)
		return NULL;
	id = &policy->ids[rule->device];
	if (id->product == facts->product && id->serial != SYMBOL_ANY && rule->action == POLICY_ALLOW &&
	    id->serial != facts->serial && id->serial == facts->serial_loose)
		return "the serial is another one: lists show '_' for each special character of it, an allow rule "
		       "wants the character itself (a space is %20)";
	return NULL;
}

/* True when all fields but one match. */
static bool is_near(const struct policy *policy, const struct rule *rule, const struct facts *facts,
		    enum policy_field *ret_field)
{
	const bool good[] = {
		[POLICY_FIELD_CLASS] = (rule->classes & facts->class_bit) != 0,
		[POLICY_FIELD_DEVICE] = matches_device(policy, rule, facts),
		[POLICY_FIELD_SOURCE] = selects(rule->source_kind, rule->source, &facts->source),
		[POLICY_FIELD_TARGET] = selects(rule->target_kind, rule->target, &facts->target),
	};
	unsigned int n_wrong = 0;

	for (unsigned int field = 0; field < ARRAY_SIZE(good); field++)
		if (!good[field]) {
			*ret_field = field;
			n_wrong++;
		}
	return n_wrong == 1;
}

size_t policy_explain(const struct policy *policy, const struct policy_query *query, struct policy_verdict *ret_verdict,
		      struct policy_miss *ret_misses, size_t max)
{
	struct facts facts;
	size_t decides, n = 0;

	start_verdict(ret_verdict);
	if (!policy)
		return 0;
	look(policy, query, &facts);
	give_verdict(policy, &facts, ret_verdict, &decides);
	for (size_t i = 0; i < decides && n < max; i++) {
		const struct rule_place *place = &policy->places[i];
		enum policy_field field;

		if (!is_near(policy, &policy->rules[i], &facts, &field))
			continue;
		ret_misses[n] = (struct policy_miss){
			.line = place->line,
			.text = policy_text(policy, place->text),
			.field = field,
			.hint = field == POLICY_FIELD_DEVICE ? device_hint(policy, &policy->rules[i], &facts) : NULL};
		memcpy(ret_misses[n++].file, policy->files[place->file], sizeof(ret_misses[0].file));
	}
	return n;
}
