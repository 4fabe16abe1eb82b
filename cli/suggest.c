/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See suggest.h. Distance is the number of letters that are missing, too many, wrong, or swapped with their neighbour;
 * more than a third of the word is another word.
 */
#include "cli/suggest.h"

#include <stdio.h>
#include <string.h>

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Both at most SUGGEST_WORD long. */
static size_t distance_of(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t table[SUGGEST_WORD + 1][SUGGEST_WORD + 1];

	for (size_t i = 0; i <= a_len; i++) {
		for (size_t k = 0; k <= b_len; k++) {
			if (i == 0 || k == 0) {
				table[i][k] = i + k;
				continue;
			}
			table[i][k] = least(least(table[i - 1][k], table[i][k - 1]) + 1,
					    table[i - 1][k - 1] + (a[i - 1] != b[k - 1]));
			if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
				table[i][k] = least(table[i][k], table[i - 2][k - 2] + 1);
		}
	}
	return table[a_len][b_len];
}

void suggest_init(struct suggestion *suggestion, const char *word)
{
	size_t len = strlen(word);

	*suggestion = (struct suggestion){.word = word, .distance = len <= SUGGEST_WORD ? (len + 2) / 3 : 0};
}

void suggest_try(struct suggestion *suggestion, const char *name)
{
	size_t len = strlen(name), word_len = strlen(suggestion->word), distance;

	if (len > SUGGEST_WORD || suggestion->distance == 0)
		return;
	distance = distance_of(suggestion->word, word_len, name, len);
	if (distance > suggestion->distance || (suggestion->best && distance == suggestion->distance))
		return;
	suggestion->best = name;
	suggestion->distance = distance;
}

const char *suggest_text(const struct suggestion *suggestion, const char *before, char text[SUGGEST_TEXT])
{
	text[0] = '\0';
	if (suggestion->best)
		(void)snprintf(text, SUGGEST_TEXT, " (did you mean %s%s?)", before, suggestion->best);
	return text;
}
