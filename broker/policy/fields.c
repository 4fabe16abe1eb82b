// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The words of a rule. Each function takes one word and knows all forms that it may have; whatever is not exactly one
 * of them is refused with a sentence that names the forms: a word that is not understood must never make a rule wider
 * or narrower than its writer meant.
 */
#include "broker/policy/internal.h"

#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

#define CODE_LEN 7u /* "u080650" */

static const char *after(const char *word, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(word, prefix, len) == 0 ? word + len : NULL;
}

const char *field_class(const char *word, uint8_t *ret_classes)
{
	static const struct {
		const char *word;
		uint8_t classes;
	} classes[] = {
		{"usb", CLASS_USB},         {"mic", CLASS_MIC}, {"webcam", CLASS_WEBCAM},
		{"speaker", CLASS_SPEAKER}, {"*", CLASS_ANY},
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (strcmp(word, classes[i].word) == 0) {
			*ret_classes = classes[i].classes;
			return NULL;
		}
	return "it must be usb, mic, webcam, speaker or *";
}

const char *field_action(const char *word, enum policy_action *ret_action)
{
	for (unsigned int action = 0; action < POLICY_ACTION_COUNT; action++)
		if (strcmp(word, policy_action_name(action)) == 0) {
			*ret_action = action;
			return NULL;
		}
	return "it must be allow, ask or deny";
}

const char *field_type(const char *word, uint32_t *ret_mask)
{
	static const struct {
		const char *word;
		uint32_t mask;
	} types[] = {
		{"AppVM", MASK_APP},
		{"DispVM", MASK_DISPOSABLE},
		{"StandaloneVM", MASK_STANDALONE},
		{"TemplateVM", MASK_TEMPLATE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(word, types[i].word) == 0) {
			*ret_mask = types[i].mask;
			return NULL;
		}
	return "a type is AppVM, DispVM, StandaloneVM or TemplateVM (dom0 is @adminvm)";
}

static bool is_tag(const char *word)
{
	size_t len = strlen(word);

	if (len == 0 || len > LIMIT_POLICY_TAG)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", word[i]))
			return false;
	return true;
}

const char *field_tag(struct policy *policy, const char *word, uint32_t *ret_tag)
{
	struct symbol *symbol;

	if (!is_tag(word))
		return "a tag is 1 to 63 letters, digits, '_' and '-'";
	symbol = &policy->symbols[policy_add_symbol(policy, word)];
	if (symbol->tag == 0) {
		if (policy->n_tag_numbers == LIMIT_POLICY_TAGS)
			return "a set may have 1024 different tags: take one that is there already";
		symbol->tag = (uint32_t)++policy->n_tag_numbers;
	}
	*ret_tag = symbol->tag - 1;
	return NULL;
}

const char *field_selector(struct policy *policy, const char *word, struct selector *ret_selector)
{
	static const struct {
		const char *word;
		uint32_t mask;
	} keywords[] = {
		{"*", MASK_ALL},         {"@anyvm", MASK_QUBE}, {"@dispvm", MASK_DISPOSABLE},
		{"@adminvm", MASK_DOM0}, {"dom0", MASK_DOM0},
	};
	struct selector selector = {.kind = SELECT_MASK};
	const char *rest, *wrong;

	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
		if (strcmp(word, keywords[i].word) == 0) {
			selector.value = keywords[i].mask;
			*ret_selector = selector;
			return NULL;
		}
	if ((rest = after(word, "@type:"))) {
		wrong = field_type(rest, &selector.value);
	} else if ((rest = after(word, "@tag:"))) {
		selector.kind = SELECT_TAG;
		wrong = field_tag(policy, rest, &selector.value);
	} else if (text_is_qube_name(word)) {
		selector.kind = SELECT_NAME;
		selector.value = policy_add_symbol(policy, word);
		wrong = NULL;
	} else {
		wrong = "it must be a qube's name, @tag:TAG, @type:TYPE, @dispvm, @anyvm, @adminvm or *";
	}
	if (!wrong)
		*ret_selector = selector;
	return wrong;
}

/* "0781:5581" */
static bool read_product(const char *word, uint32_t *ret_product)
{
	uint32_t product = 0;

	for (size_t i = 0; i < 9; i++) {
		int digit = text_hex_digit(word[i]);

		if (i == 4 ? word[i] != ':' : digit < 0)
			return false;
		if (i != 4)
			product = product << 4 | (uint32_t)digit;
	}
	*ret_product = product;
	return true;
}

/* "A%20B" is "A B": what cannot stand in a word. */
static bool read_serial(const char *from, size_t len, char ret_serial[LIMIT_TEXT + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = from[i];

		if (c == '%') {
			int high = len - i > 2 ? text_hex_digit(from[i + 1]) : -1;
			int low = len - i > 2 ? text_hex_digit(from[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = high << 4 | low;
			i += 2;
		}
		if (c < 0x20 || c > 0x7e || n == LIMIT_TEXT)
			return false;
		ret_serial[n++] = (char)c;
	}
	ret_serial[n] = '\0';
	return true;
}

static bool are_codes(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len % CODE_LEN != 0 || len / CODE_LEN > LIMIT_INTERFACES)
		return false;
	for (size_t i = 0; i < len; i++)
		if (i % CODE_LEN == 0 ? !strchr("ums", text[i]) : text_hex_digit(text[i]) < 0)
			return false;
	return true;
}

static const char *read_id(struct policy *policy, const char *word, enum policy_action action, struct device_id *ret_id)
{
	static const char form[] =
		"an id is VENDOR:PRODUCT or VENDOR:PRODUCT:SERIAL:INTERFACES, as `qvm-usb info` shows it";
	const char *serial = word + strlen("vvvv:pppp:"), *interfaces = strrchr(word, ':');
	char text[LIMIT_TEXT + 1], loose[LIMIT_TEXT + 1];

	if (interfaces < serial)
		return form;
	if (!read_serial(serial, (size_t)(interfaces - serial), text))
		return "in a serial a space is %20 and a '%' is %25 (two lower-case digits); at most 126 characters";
	policy_loose_serial(text, loose);
	interfaces++;
	if (strcmp(interfaces, "*") != 0 && strcmp(interfaces, "?******") != 0 && !are_codes(interfaces))
		return "interfaces are * or all their codes, as in u080650u030101 (lower case, at most 32)";
	ret_id->serial = *serial == '*' && serial + 2 == interfaces
				 ? SYMBOL_ANY
				 : policy_add_symbol(policy, action == POLICY_ALLOW ? text : loose);
	ret_id->interfaces = strcmp(interfaces, "*") == 0 ? SYMBOL_ANY : policy_add_symbol(policy, interfaces);
	return NULL;
}

static const char *device_id(struct policy *policy, const char *word, enum policy_action action, struct rule *rule)
{
	struct device_id id = {0};
	const char *wrong;

	if (!read_product(word, &id.product))
		return "vendor and product are four lower-case hexadecimal digits each, as in 0781:5581";
	if (word[strlen("vvvv:pppp")] == '\0') {
		rule->device_kind = DEVICE_PRODUCT;
		rule->device = id.product;
		return NULL;
	}
	if (word[strlen("vvvv:pppp")] != ':')
		return "after the product comes nothing, or :SERIAL:INTERFACES";
	wrong = read_id(policy, word, action, &id);
	if (wrong)
		return wrong;
	rule->device_kind = DEVICE_ID;
	rule->device = (uint32_t)policy->n_ids;
	policy->ids[policy->n_ids++] = id;
	return NULL;
}

static int pattern_digit(char c)
{
	return c == '*' ? (int)DIGIT_ANY : text_hex_digit(c);
}

static const char *device_pattern(const char *word, struct rule *rule)
{
	static const char form[] =
		"an interface pattern is u and six lower-case hexadecimal digits or *, as in u03**01";

	if (strlen(word) != CODE_LEN)
		return form;
	for (size_t i = 0; i < 3; i++) {
		int high = pattern_digit(word[1 + 2 * i]), low = pattern_digit(word[2 + 2 * i]);

		if (high < 0 || low < 0)
			return form;
		rule->pattern[i] = (uint16_t)PATTERN_PART((unsigned int)high, (unsigned int)low);
	}
	if (!(rule->classes & CLASS_PATTERNS))
		return "an interface pattern that begins with u is for devices of the classes usb and webcam";
	rule->device_kind = DEVICE_PATTERN;
	return NULL;
}

const char *field_device(struct policy *policy, const char *word, enum policy_action action, struct rule *rule)
{
	if (strcmp(word, "*") == 0) {
		rule->device_kind = DEVICE_ANY;
		return NULL;
	}
	if (strchr(word, ':'))
		return device_id(policy, word, action, rule);
	if (word[0] == 'u')
		return device_pattern(word, rule);
	if (!text_is_usb_port(word) && !text_is_mic_port(word) && !text_is_speaker_port(word) &&
	    !text_is_webcam_port(word))
		return "it must be *, a port (1-2.4, mic-01234567, speaker-01234567, webcam-01234567), VENDOR:PRODUCT, "
		       "a whole id, or an interface pattern (u03**01)";
	rule->device_kind = DEVICE_PORT;
	rule->device = policy_add_symbol(policy, word);
	return NULL;
}

static const char *option_notify(struct policy *policy _unused_, const char *value, struct rule_place *place)
{
	place->notify = strcmp(value, "yes") == 0;
	return place->notify || strcmp(value, "no") == 0 ? NULL : "it must be yes or no";
}

static const char *option_max_time(struct policy *policy _unused_, const char *value, struct rule_place *place)
{
	return text_to_seconds(value, &place->max_time_sec) < 0 ? "a time is " TEXT_TIME_FORM : NULL;
}

static const char *option_default_target(struct policy *policy, const char *value, struct rule_place *place)
{
	if (!text_is_qube_name(value) || strcmp(value, "dom0") == 0)
		return "it must be the name of a qube, and not dom0";
	place->default_target = policy_add_symbol(policy, value);
	return NULL;
}

static const char *option_parts(struct policy *policy _unused_, const char *value, struct rule_place *place)
{
	place->end_parts = strcmp(value, "end") == 0;
	return place->end_parts || strcmp(value, "keep") == 0 ? NULL : "it must be end or keep";
}

static const char *option_read_only(struct policy *policy _unused_, const char *value _unused_,
				    struct rule_place *place _unused_)
{
	return "a USB device is passed as a byte stream, in which writing cannot be told from reading: it cannot be "
	       "enforced and is therefore refused; use the device's own switch, or mount it read-only in the qube";
}

#define FOR(action) (1u << (action))

const char *field_option(struct policy *policy, const char *word, enum policy_action action, unsigned int *seen,
			 struct rule_place *place)
{
	static const struct {
		const char *name;
		unsigned int actions;
		const char *(*read)(struct policy *policy, const char *value, struct rule_place *place);
	} options[] = {
		{"notify=", FOR(POLICY_ALLOW) | FOR(POLICY_ASK) | FOR(POLICY_DENY), option_notify},
		{"max-time=", FOR(POLICY_ALLOW) | FOR(POLICY_ASK), option_max_time},
		{"default_target=", FOR(POLICY_ASK), option_default_target},
		{"parts=", FOR(POLICY_ALLOW) | FOR(POLICY_ASK), option_parts},
		{"read-only=", FOR(POLICY_ALLOW) | FOR(POLICY_ASK) | FOR(POLICY_DENY), option_read_only},
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const char *value = after(word, options[i].name);

		if (!value)
			continue;
		if (!(options[i].actions & FOR(action)))
			return "this option has no meaning for that action: remove it";
		if (*seen & 1u << i)
			return "this option is there twice: remove one";
		*seen |= 1u << i;
		return options[i].read(policy, value, place);
	}
	return "an option is notify=, max-time=, default_target= or parts= with its value (a comment has a line of its "
	       "own)";
}
