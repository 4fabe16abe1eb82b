/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy from any bytes, as up to three files (the byte 0xfe, which no UTF-8 has, is between them). Checked beside
 * memory safety: a broken set has a printable reason and denies; a good one gives each query a verdict that the rule's
 * own line gives as well when it stands alone, beside the !qube lines.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/policy/policy.h"
#include "lib/base/base.h"
#include "lib/base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_FILES 3

static const uint8_t stick[][3] = {{8, 6, 0x50}}, keyboard[][3] = {{3, 1, 1}}, both[][3] = {{8, 6, 0x50}, {3, 1, 1}};
static const struct policy_query queries[] = {
	{"usb", "1-2", 0x0781, 0x5581, "AB12", 1, stick, "sys-usb", "work", false, false},
	{"usb", "1-2.4", 0x046d, 0xc31c, "", 1, keyboard, "sys-usb", "vault", false, false},
	{"usb", "1-2", 0x0781, 0x5581, "A B", 2, both, "work", "sys-usb", false, false},
	{"usb", "3-1", 0x0781, 0x5581, "*", 0, NULL, "a", "b", false, false},
	{"mic", NULL, 0, 0, NULL, 0, NULL, NULL, "work", true, false},
	{"webcam", "", 0, 0, "", 0, NULL, "a", NULL, false, true},
};

/* The files' !qube lines: what tags and types a rule that stands alone still needs. */
static size_t copy_qubes(const struct policy_file *files, size_t n_files, char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < n_files; i++)
		for (const char *at = files[i].text, *end = at + files[i].len; at < end;) {
			const char *newline = memchr(at, '\n', (size_t)(end - at));
			size_t line = (size_t)((newline ? newline : end) - at), blank = 0;

			while (blank < line && (at[blank] == ' ' || at[blank] == '\t'))
				blank++;
			if (line - blank > 5 && memcmp(at + blank, "!qube", 5) == 0) {
				memcpy(out + len, at, line);
				len += line;
				out[len++] = '\n';
			}
			at += line + (newline != NULL);
		}
	return len;
}

static void check_alone(const struct policy_verdict *verdict, const struct policy_query *query, char *text, size_t len)
{
	size_t rule = strlen(verdict->text);
	struct policy_file file = {.name = "a.policy", .text = text, .len = len + rule};
	struct policy_verdict alone;
	struct policy_error error;
	struct policy *policy = NULL;
	unsigned int n_qubes = 0;

	for (size_t i = 0; i < len; i++)
		n_qubes += text[i] == '\n';
	memcpy(text + len, verdict->text, rule);
	if (policy_new(&file, 1, &policy, &error) != 0) {
		assert(error.line <= n_qubes); /* a fault in a file that was not included, and so did not count */
		return;
	}
	policy_decide(policy, query, &alone);
	assert(alone.why == POLICY_WHY_RULE && alone.action == verdict->action);
	assert(alone.max_time_usec == verdict->max_time_usec && alone.notify == verdict->notify);
	assert(alone.end_parts == verdict->end_parts);
	assert(strcmp(alone.default_target, verdict->default_target) == 0);
	policy_free(policy);
}

static void warned(void *userdata, const struct policy_warning *warning)
{
	(void)userdata;
	assert(warning->line > 0 && warning->type < POLICY_WARN_COUNT);
	assert(warning->type != POLICY_WARN_SHADOWED || warning->other_file);
}

static void check_good(const struct policy *policy, const struct policy_file *files, size_t n_files, size_t size)
{
	char *text = malloc(2 * size + 64);
	size_t len = copy_qubes(files, n_files, text);

	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		struct policy_verdict verdict, explained;
		struct policy_miss misses[4];

		policy_decide(policy, &queries[i], &verdict);
		assert(verdict.action < POLICY_ACTION_COUNT && (verdict.line > 0) == (verdict.why == POLICY_WHY_RULE));
		assert(verdict.line > 0 || verdict.action == POLICY_DENY);
		assert(policy_explain(policy, &queries[i], &explained, misses, ARRAY_SIZE(misses)) <=
		       ARRAY_SIZE(misses));
		assert(explained.line == verdict.line && explained.action == verdict.action);
		if (verdict.line > 0)
			check_alone(&verdict, &queries[i], text, len);
	}
	assert(policy_lint(policy, warned, NULL) == 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[N_FILES] = {"10-a.policy", "b.policy", "inc"};
	struct policy_file files[N_FILES];
	struct policy_error error = {0};
	struct policy_verdict verdict;
	struct policy *policy = NULL;
	const char *at = (const char *)data, *end = at + size;
	size_t n = 0;

	while (n < N_FILES && at < end) {
		const char *cut = n < N_FILES - 1 ? memchr(at, 0xfe, (size_t)(end - at)) : NULL;
		size_t len = (size_t)((cut ? cut : end) - at);

		files[n] = (struct policy_file){.name = names[n], .text = at, .len = len};
		n++;
		at += len + (cut != NULL);
	}
	if (policy_new(files, n, &policy, &error) == 0) {
		check_good(policy, files, n, size);
		policy_free(policy);
		return 0;
	}
	assert(!policy && error.reason[0] && text_is_printable(error.reason) && text_is_printable(error.file));
	policy_decide(policy, &queries[0], &verdict);
	assert(verdict.action == POLICY_DENY && verdict.why == POLICY_WHY_BROKEN);
	return 0;
}
