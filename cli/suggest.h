/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "Did you mean": of the names that were tried, the one that a word most likely misspells. */
#pragma once

#include <stddef.h>

#include "lib/base/limits.h"

#define SUGGEST_WORD LIMIT_QUBE_NAME /* longer words are not looked at */
#define SUGGEST_TEXT (SUGGEST_WORD + sizeof(" (did you mean --?)"))

struct suggestion {
	const char *word;
	const char *best; /* NULL: none is near */
	size_t distance;
};

void suggest_init(struct suggestion *suggestion, const char *word);
void suggest_try(struct suggestion *suggestion, const char *name);

/* " (did you mean NAME?)", or "". `before` is "" or "--". Returns `text`. */
const char *suggest_text(const struct suggestion *suggestion, const char *before, char text[SUGGEST_TEXT]);
