// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Files to a set. Everything is read in one fixed order (files by the bytes of their names, lines from the first on, an
 * included file where its !include stands), and the first fault in that order ends it: no part of a broken set is used.
 *
 * Each file counts once: one that is named by a second !include, or by one inside itself, is a fault. So there are no
 * loops, and no set is bigger than its files.
 */
#include "broker/policy/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

#define BLANKS " \t"
#define SUFFIX ".policy"

struct source {
	const struct policy_file *file;
	bool taken;
};

struct parser {
	struct policy *policy;
	struct policy_error *error;
	struct source sources[LIMIT_POLICY_FILES]; /* in C-locale order */
	size_t n_sources;
	size_t n_lines, depth;
	/* Where we are */
	const char *file;
	unsigned int line;
	uint16_t file_index;               /* of the policy's files */
	char words[LIMIT_POLICY_LINE + 1]; /* the line, cut into words */
	char *next;                        /* ... of which this one is next */
};

static void fail(struct parser *parser, const char *format, ...) _printf_(2, 3);

static void fail(struct parser *parser, const char *format, ...)
{
	char reason[sizeof(parser->error->reason)];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	if (len >= (int)sizeof(reason))
		len = sizeof(reason) - 1;
	(void)text_make_safe(reason, len < 0 ? 0 : (size_t)len, parser->error->reason, sizeof(parser->error->reason));
	(void)text_make_safe(parser->file, strlen(parser->file), parser->error->file, sizeof(parser->error->file));
	parser->error->line = parser->line;
}

#define FAIL(parser, ...) (fail(parser, __VA_ARGS__), POLICY_BROKEN)

static char *next_word(struct parser *parser)
{
	char *word = parser->next + strspn(parser->next, BLANKS);
	char *end = word + strcspn(word, BLANKS);

	parser->next = end;
	if (*word == '\0')
		return NULL;
	if (*end != '\0')
		parser->next = end + 1;
	*end = '\0';
	return word;
}

/* ---- bytes of a line ---- */

static uint32_t decode_utf8(const uint8_t *bytes, size_t len)
{
	uint32_t code = len == 1 ? bytes[0] : bytes[0] & (0xffu >> (len + 1));

	for (size_t i = 1; i < len; i++)
		code = code << 6 | (bytes[i] & 0x3fu);
	return code;
}

/* Control characters, and those that make a line look like another one: line separators, marks of direction. */
static bool is_hidden(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} hidden[] = {{0, 0x8},         {0xa, 0x1f},      {0x7f, 0x9f},     {0x200b, 0x200f},
		      {0x2028, 0x202e}, {0x2060, 0x2069}, {0xfeff, 0xfeff}, {0xe0000, 0xe007f}};

	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (code >= hidden[i].first && code <= hidden[i].last)
			return true;
	return false;
}

static int check_bytes(struct parser *parser, const char *bytes, size_t len)
{
	bool comment = false, blank = true;

	if (len > LIMIT_POLICY_LINE)
		return FAIL(parser, "the line is longer than %u bytes: shorten it", LIMIT_POLICY_LINE);
	for (size_t i = 0; i < len;) {
		const uint8_t *at = (const uint8_t *)bytes + i;
		size_t step = *at < 0x80 ? 1 : text_utf8_length(at, len - i);

		if (*at > ' ' && *at < 0x7f) { /* nearly all are: the rest is for the others */
			comment = comment || (blank && *at == '#');
			blank = false;
			i++;
			continue;
		}
		if (*at == '\r')
			return FAIL(parser, "the line ends with a carriage return: save the file with UNIX line ends");
		if (*at >= 0x80 && step == 1)
			return FAIL(parser, "byte %zu is not UTF-8: write plain text", i + 1);
		if (is_hidden(decode_utf8(at, step)))
			return FAIL(parser, "byte %zu begins a control character (0x%x): remove it", i + 1,
				    decode_utf8(at, step));
		if (*at >= 0x80 && !comment)
			return FAIL(parser, "byte %zu is not ASCII: only comments may have such characters", i + 1);
		i += step;
	}
	return 0;
}

/* ---- rules ---- */

static const char *const field_names[] = {"CLASS", "DEVICE", "SOURCE", "TARGET", "ACTION"};
enum { CLASS, DEVICE, SOURCE, TARGET, ACTION };

static int parse_fields(struct parser *parser, char *const words[], struct rule *rule)
{
	enum policy_action action = POLICY_DENY;
	struct selector source = {0}, target = {0};
	unsigned int field = CLASS;
	const char *wrong = field_class(words[CLASS], &rule->classes);

	/* the action first: what a DEVICE means depends on it */
	if (!wrong)
		wrong = field_action(words[field = ACTION], &action);
	if (!wrong)
		wrong = field_device(parser->policy, words[field = DEVICE], action, rule);
	if (!wrong)
		wrong = field_selector(parser->policy, words[field = SOURCE], &source);
	if (!wrong)
		wrong = field_selector(parser->policy, words[field = TARGET], &target);
	if (wrong)
		return FAIL(parser, "%s '%.48s': %s", field_names[field], words[field], wrong);
	rule->action = (uint8_t)action;
	rule->source_kind = (uint8_t)source.kind;
	rule->source = source.value;
	rule->target_kind = (uint8_t)target.kind;
	rule->target = target.value;
	return 0;
}

static int parse_rule(struct parser *parser, const char *text, size_t len)
{
	struct policy *policy = parser->policy;
	struct rule rule = {0};
	struct rule_place place = {.line = parser->line, .file = parser->file_index};
	char *words[ARRAY_SIZE(field_names)], *word;
	unsigned int seen = 0;
	int r;

	if (policy->n_rules == policy->max_rules)
		return FAIL(parser, "this is one rule more than the %u that a set may have: remove some",
			    LIMIT_POLICY_RULES);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		words[i] = next_word(parser);
		if (!words[i])
			return FAIL(parser,
				    "%s is missing: a rule is CLASS DEVICE SOURCE TARGET ACTION [OPTION=VALUE...]",
				    field_names[i]);
	}
	r = parse_fields(parser, words, &rule);
	if (r)
		return r;
	place.notify = rule.action == POLICY_DENY;
	while ((word = next_word(parser))) {
		const char *wrong = field_option(policy, word, rule.action, &seen, &place);

		if (wrong)
			return FAIL(parser, "'%.48s': %s", word, wrong);
	}
	place.text = policy_add_text(policy, text, len);
	policy->rules[policy->n_rules] = rule;
	policy->places[policy->n_rules++] = place;
	return 0;
}

/* ---- directives ---- */

static int read_file(struct parser *parser, struct source *source);

static struct source *find_source(struct parser *parser, const char *name)
{
	for (size_t i = 0; i < parser->n_sources; i++)
		if (strcmp(parser->sources[i].file->name, name) == 0)
			return &parser->sources[i];
	return NULL;
}

/* Letters, digits, '_', '-', '.', and no '.' in front: nothing that leads out of the directory. */
static bool is_file_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > LIMIT_POLICY_FILE_NAME || name[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", name[i]))
			return false;
	return true;
}

static bool is_of_the_set(const char *name)
{
	size_t len = strlen(name), suffix = strlen(SUFFIX);

	return name[0] != '.' && len >= suffix && strcmp(name + len - suffix, SUFFIX) == 0;
}

static int parse_include(struct parser *parser)
{
	char *name = next_word(parser), *more = name ? next_word(parser) : NULL;
	struct source *source;
	int r;

	if (!name || more)
		return FAIL(parser, "!include takes one name of a file in the same directory");
	if (!is_file_name(name))
		return FAIL(parser,
			    "!include '%.48s': only a plain name of a file in the same directory (letters, digits, "
			    "'_', '-', '.')",
			    name);
	if (is_of_the_set(name))
		return FAIL(parser, "!include '%.48s': files named *.policy are read anyway; name it otherwise", name);
	source = find_source(parser, name);
	if (!source)
		return FAIL(parser, "!include '%.48s': there is no such file in the directory", name);
	if (source->taken)
		return FAIL(parser, "!include '%.48s': it is included already, here or around this line; remove one",
			    name);
	if (parser->depth == LIMIT_POLICY_DEPTH)
		return FAIL(parser, "!include '%.48s': more than %u files inside each other", name, LIMIT_POLICY_DEPTH);
	parser->depth++;
	r = read_file(parser, source);
	parser->depth--;
	return r;
}

static int parse_qube_word(struct parser *parser, const char *word, struct qube *qube)
{
	struct policy *policy = parser->policy;
	const char *wrong = NULL;
	uint32_t value = 0;

	if (strncmp(word, "type=", 5) == 0) {
		wrong = qube->mask ? "the type is there already" : field_type(word + 5, &qube->mask);
	} else if (strncmp(word, "tag=", 4) == 0) {
		wrong = field_tag(policy, word + 4, &value);
		for (uint32_t i = 0; !wrong && i < qube->n_tags; i++)
			if (policy->tags[qube->first_tag + i] == value)
				wrong = "the tag is there already";
		if (!wrong) {
			policy->tags[policy->n_tags++] = (uint16_t)value;
			qube->n_tags++;
		}
	} else {
		wrong = "it must be type=TYPE or tag=TAG";
	}
	return wrong ? FAIL(parser, "'%.48s': %s", word, wrong) : 0;
}

static int parse_qube(struct parser *parser)
{
	struct policy *policy = parser->policy;
	struct qube qube = {.first_tag = (uint32_t)policy->n_tags};
	char *name = next_word(parser), *word;
	struct symbol *symbol;

	if (!name)
		return FAIL(parser, "the name is missing: !qube NAME type=TYPE [tag=TAG...]");
	if (!text_is_qube_name(name) || strcmp(name, "dom0") == 0)
		return FAIL(parser, "!qube '%.48s': it must be the name of a qube, and not dom0", name);
	symbol = &policy->symbols[policy_add_symbol(policy, name)];
	if (symbol->qube)
		return FAIL(parser, "!qube '%.48s': there is a line for it already: make one of both", name);
	while ((word = next_word(parser))) {
		int r = parse_qube_word(parser, word, &qube);

		if (r)
			return r;
	}
	if (!qube.mask)
		return FAIL(parser, "type= is missing: !qube NAME type=TYPE [tag=TAG...]");
	for (uint32_t i = 0; i < qube.n_tags; i++)
		policy->tag_used[policy->tags[qube.first_tag + i]] = true;
	policy->qubes[policy->n_qubes++] = qube;
	symbol->qube = (uint32_t)policy->n_qubes;
	return 0;
}

static int parse_directive(struct parser *parser)
{
	static const struct {
		const char *word;
		int (*parse)(struct parser *parser);
	} directives[] = {{"!include", parse_include}, {"!qube", parse_qube}};
	char *word = next_word(parser);

	for (size_t i = 0; i < ARRAY_SIZE(directives); i++)
		if (strcmp(word, directives[i].word) == 0)
			return directives[i].parse(parser);
	return FAIL(parser, "'%.48s' is unknown: only !include and !qube begin with '!'", word);
}

/* ---- files ---- */

static int parse_line(struct parser *parser, const char *bytes, size_t len)
{
	int r;

	if (++parser->n_lines > LIMIT_POLICY_LINES)
		return FAIL(parser, "all files together have more than %u lines: remove some", LIMIT_POLICY_LINES);
	r = check_bytes(parser, bytes, len);
	if (r)
		return r;
	while (len > 0 && strchr(BLANKS, bytes[len - 1]))
		len--;
	while (len > 0 && strchr(BLANKS, bytes[0]))
		bytes++, len--;
	if (len == 0 || bytes[0] == '#')
		return 0;
	memcpy(parser->words, bytes, len);
	parser->words[len] = '\0';
	parser->next = parser->words;
	if (bytes[0] == '!')
		return parse_directive(parser);
	return parse_rule(parser, bytes, len);
}

static int read_lines(struct parser *parser, const struct policy_file *file)
{
	const char *at = file->text, *end = file->text + file->len;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline ? newline : end) - at);
		int r;

		parser->line++;
		r = parse_line(parser, at, len);
		if (r)
			return r;
		at += len + (newline != NULL);
	}
	return 0;
}

static int read_file(struct parser *parser, struct source *source)
{
	const char *outer_file = parser->file;
	unsigned int outer_line = parser->line;
	uint16_t outer_index = parser->file_index;
	struct policy *policy = parser->policy;
	int r;

	assert(policy->n_files < parser->n_sources);
	source->taken = true;
	parser->file = source->file->name;
	parser->line = 0;
	if (source->file->fault)
		return FAIL(parser, "%s", source->file->fault);
	if (source->file->len == 0)
		return FAIL(parser, "the file is empty: remove it, or say in a comment why it has no rule");
	parser->file_index = (uint16_t)policy->n_files++;
	(void)snprintf(policy->files[parser->file_index], sizeof(policy->files[0]), "%s", parser->file);
	r = read_lines(parser, source->file);
	if (r)
		return r;
	parser->file = outer_file;
	parser->line = outer_line;
	parser->file_index = outer_index;
	return 0;
}

static int read_set(struct parser *parser)
{
	bool any = false;

	for (size_t i = 0; i < parser->n_sources; i++) {
		const char *name = parser->sources[i].file->name;
		int r;

		if (!is_of_the_set(name))
			continue;
		any = true;
		parser->file = name;
		parser->line = 0;
		if (!is_file_name(name))
			return FAIL(parser, "a file's name is at most %u letters, digits, '_', '-' and '.': rename it",
				    LIMIT_POLICY_FILE_NAME);
		r = read_file(parser, &parser->sources[i]);
		if (r)
			return r;
	}
	parser->file = "";
	parser->line = 0;
	return any ? 0 : FAIL(parser, "no file *.policy is in the directory; install the default policy");
}

/* ---- the whole ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct source *)a)->file->name, ((const struct source *)b)->file->name);
}

/* Puts the files in order, and holds them against the limits. */
static int take_sources(struct parser *parser, const struct policy_file *files, size_t n_files)
{
	size_t total = 0;

	parser->file = "";
	if (n_files > LIMIT_POLICY_FILES)
		return FAIL(parser, "the directory has more than %u files: remove some", LIMIT_POLICY_FILES);
	for (size_t i = 0; i < n_files; i++)
		parser->sources[i].file = &files[i];
	parser->n_sources = n_files;
	qsort(parser->sources, n_files, sizeof(parser->sources[0]), by_name);
	for (size_t i = 0; i < n_files; i++) {
		const struct policy_file *file = parser->sources[i].file;

		parser->file = file->name;
		if (i > 0 && strcmp(file->name, parser->sources[i - 1].file->name) == 0)
			return FAIL(parser, "there are two files of this name: remove one");
		if (file->len > LIMIT_POLICY_BYTES - total)
			return FAIL(parser, "with this one the files together have more than %u bytes: remove some",
				    LIMIT_POLICY_BYTES);
		total += file->len;
	}
	return 0;
}

static void count_line(const char *bytes, size_t len, struct policy_needs *needs)
{
	size_t i = 0;

	while (i < len && (bytes[i] == ' ' || bytes[i] == '\t'))
		i++;
	if (i == len || bytes[i] == '#')
		return;
	if (bytes[i] == '!') {
		needs->n_qubes++;
		needs->n_tags += len / strlen("tag=x ") + 1;
		needs->n_symbols += len / strlen("tag=x ") + 2;
		needs->text_size += len + 2;
		return;
	}
	if (needs->n_rules == LIMIT_POLICY_RULES)
		return;
	needs->n_rules++;
	needs->n_symbols += 5;             /* serial, interfaces, source, target, default target */
	needs->text_size += 2 * (len + 1); /* the line, and its words */
}

/* The most that the texts can need. */
static void count_needs(const struct parser *parser, struct policy_needs *needs)
{
	needs->n_files = parser->n_sources;
	for (size_t i = 0; i < parser->n_sources; i++) {
		const struct policy_file *file = parser->sources[i].file;
		const char *at = file->text, *end = file->len > 0 ? at + file->len : at; /* the text may be NULL then */

		while (at < end) {
			const char *newline = memchr(at, '\n', (size_t)(end - at));
			size_t len = (size_t)((newline ? newline : end) - at);

			count_line(at, len, needs);
			at += len + (newline != NULL);
		}
	}
}

int policy_new(const struct policy_file *files, size_t n_files, struct policy **ret_policy,
	       struct policy_error *ret_error)
{
	struct policy_error error = {0};
	struct parser parser = {.error = &error};
	struct policy_needs needs = {0};
	int r;

	r = take_sources(&parser, files, n_files);
	if (r == 0) {
		count_needs(&parser, &needs);
		parser.policy = policy_allocate(&needs);
		if (!parser.policy)
			return -ENOMEM;
		r = read_set(&parser);
	}
	if (r) {
		policy_free(parser.policy);
		*ret_error = error;
		return r;
	}
	*ret_policy = parser.policy;
	return 0;
}

size_t policy_n_rules(const struct policy *policy)
{
	return policy->n_rules;
}

void policy_error_text(const struct policy_error *error, char ret_text[POLICY_ERROR_TEXT_MAX])
{
	if (error->line > 0)
		(void)snprintf(ret_text, POLICY_ERROR_TEXT_MAX, "%s:%u: %s", error->file, error->line, error->reason);
	else
		(void)snprintf(ret_text, POLICY_ERROR_TEXT_MAX, "%s%s%s", error->file, error->file[0] ? ": " : "",
			       error->reason);
}
