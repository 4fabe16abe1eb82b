// SPDX-License-Identifier: GPL-2.0-or-later
/* A misspelt word finds its name, another word none. */
#include "tests/unit.h"

#include "cli/suggest.h"
#include "lib/base/base.h"

static void test_table(void **state _unused_)
{
	static const char *const names[] = {"list", "attach", "detach", "assign", "unassign", "allow", "audit"};
	static const struct {
		const char *word, *best;
	} rows[] = {
		{"lsit", "list"},      {"lis", "list"},
		{"listt", "list"},     {"atach", "attach"},
		{"dettach", "detach"}, {"asign", "assign"},
		{"alow", "allow"},     {"adit", "audit"},
		{"frobnicate", NULL},  {"", NULL},
		{"x", NULL},           {"q", NULL},
		{"audti", "audit"},    {"unnassign", "unassign"},
		{"LIST", NULL},        {"attachattachattachattachattachat", NULL}, /* longer than any name */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct suggestion suggestion;
		char text[SUGGEST_TEXT];

		suggest_init(&suggestion, rows[i].word);
		for (size_t k = 0; k < ARRAY_SIZE(names); k++)
			suggest_try(&suggestion, names[k]);
		if (rows[i].best) {
			assert_non_null(suggestion.best);
			assert_string_equal(suggestion.best, rows[i].best);
		} else {
			assert_null(suggestion.best);
			assert_string_equal(suggest_text(&suggestion, "", text), "");
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
