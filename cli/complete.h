/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a shell may put in place of the last word of a line: `qvm-device --complete WORD...`, which only the scripts in
 * packaging/completions/ call.
 */
#pragma once

#include <stddef.h>

/* `words` are those after the program's name; the last is completed. Prints a candidate a line. The exit code. */
int complete(const char *argv0, char *const *words, size_t n_words);
