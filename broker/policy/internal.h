/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a set is made of, for the files of this room.
 *
 * A decision walks the rules from the first on, so a rule is small and says everything in numbers: texts are symbols,
 * numbered from 1 (equal texts have equal numbers); the query's texts are looked up once, and a text that no rule has
 * is SYMBOL_NONE, which no rule holds.
 */
#pragma once

#include "broker/policy/policy.h"

#define SYMBOL_NONE 0u
#define SYMBOL_ANY UINT32_MAX /* in an id: `*` */

enum {
	CLASS_USB = 1 << 0,
	CLASS_MIC = 1 << 1,
	CLASS_WEBCAM = 1 << 2,
	CLASS_SPEAKER = 1 << 3,
	CLASS_OTHER = 1 << 4,
	CLASS_ANY = 0x1f,
	CLASS_PATTERNS = CLASS_USB | CLASS_WEBCAM, /* whose codes begin with u, as interface patterns do */
};

/* What a qube is; a selector by mask matches when it has one bit in common. */
enum {
	MASK_QUBE = 1 << 0,
	MASK_DOM0 = 1 << 1,
	MASK_APP = 1 << 2,
	MASK_DISPOSABLE = 1 << 3,
	MASK_STANDALONE = 1 << 4,
	MASK_TEMPLATE = 1 << 5,
	MASK_ALL = MASK_QUBE | MASK_DOM0,
};

enum selector_kind { SELECT_MASK, SELECT_NAME, SELECT_TAG };

struct selector {
	enum selector_kind kind;
	uint32_t value; /* MASK_* bits, symbol, number of the tag */
};

enum device_kind { DEVICE_ANY, DEVICE_PORT, DEVICE_PRODUCT, DEVICE_ID, DEVICE_PATTERN };

/* A pattern's two digits for class, subclass or protocol as one number; a digit is 0 to 15, or DIGIT_ANY for `*`. */
#define DIGIT_ANY 16u
#define PATTERN_PART(high, low) ((high) * (DIGIT_ANY + 1) + (low))
#define PATTERN_PARTS PATTERN_PART(DIGIT_ANY, DIGIT_ANY + 1) /* how many there are */

struct rule {
	uint8_t classes; /* CLASS_* bits */
	uint8_t action;
	uint8_t device_kind, source_kind, target_kind;
	uint16_t pattern[3]; /* DEVICE_PATTERN: PATTERN_PART() each */
	uint32_t device;     /* DEVICE_PORT: symbol; DEVICE_PRODUCT: vendor << 16 | product; DEVICE_ID: index of ids */
	uint32_t source, target;
};

/* What of a rule is needed only when it decides. */
struct rule_place {
	uint32_t text; /* of the line */
	uint32_t line;
	uint32_t max_time_sec;
	uint32_t default_target; /* symbol */
	uint16_t file;
	bool notify, end_parts;
};

/* vendor:product:serial:interfaces */
struct device_id {
	uint32_t product; /* vendor << 16 | product */
	uint32_t serial;  /* symbol or SYMBOL_ANY; in `deny` and `ask` rules of the serial's loose form */
	uint32_t interfaces;
};

struct symbol {
	uint32_t text;
	uint32_t qube; /* 1 + index of qubes; 0: no !qube names it */
	uint32_t tag;  /* 1 + its number; 0: not a tag */
};

struct qube {
	uint32_t mask;
	uint32_t first_tag, n_tags; /* of tags[] */
};

/* Counts are of what is used; the room that each array has was counted from the texts beforehand. */
struct policy {
	struct rule *rules;
	struct rule_place *places;
	size_t n_rules, max_rules;
	struct device_id *ids;
	size_t n_ids;
	struct qube *qubes;
	size_t n_qubes;
	uint16_t *tags; /* of all qubes, one after the other */
	size_t n_tags;
	size_t n_tag_numbers;             /* different tags; the first ones below LIMIT_POLICY_TAGS */
	bool tag_used[LIMIT_POLICY_TAGS]; /* some qube has it */
	struct symbol *symbols;
	size_t n_symbols, max_symbols; /* the first one is SYMBOL_NONE */
	uint32_t *slots;
	size_t n_slots; /* a power of two, at least twice max_symbols */
	char *text;
	size_t text_len, text_size;
	char (*files)[LIMIT_POLICY_FILE_NAME + 1];
	size_t n_files;
};

/* memory.c: how much of each a set needs at most. */
struct policy_needs {
	size_t n_rules, n_symbols, n_qubes, n_tags, n_files, text_size;
};
struct policy *policy_allocate(const struct policy_needs *needs);
uint32_t policy_add_text(struct policy *policy, const char *text, size_t len);
uint32_t policy_add_symbol(struct policy *policy, const char *text);
uint32_t policy_find_symbol(const struct policy *policy, const char *text);

static inline const char *policy_text(const struct policy *policy, uint32_t text)
{
	return policy->text + text;
}

/* "ab_c.d" of "ab c.d": all that is neither letter, digit nor '.' is '_', so no way of showing it makes a difference. */
void policy_loose_serial(const char *serial, char ret_loose[LIMIT_TEXT + 1]);

/* fields.c: one field of a rule each. NULL, or what is wrong with `word` and what it should be. */
const char *field_class(const char *word, uint8_t *ret_classes);
const char *field_action(const char *word, enum policy_action *ret_action);
const char *field_selector(struct policy *policy, const char *word, struct selector *ret_selector);
const char *field_device(struct policy *policy, const char *word, enum policy_action action, struct rule *rule);
const char *field_tag(struct policy *policy, const char *word, uint32_t *ret_tag);
const char *field_type(const char *word, uint32_t *ret_mask);
const char *field_option(struct policy *policy, const char *word, enum policy_action action, unsigned int *seen,
			 struct rule_place *place);
