// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A qube's deny list: patterns of interfaces ("u03**01": keyboards) that it never gets, by whatever way. A pattern may
 * be given short, "u03" is "u03****".
 */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "lib/base/text.h"

#define PATTERN_LEN 7u
#define ANY_INTERFACE "*******"

/* Joins the arguments after the first, each filled up to seven characters; -1 or an exit code. */
static int join_patterns(const struct state *state, char patterns[PAYLOAD_MAX])
{
	const struct options *options = &state->options;
	size_t len = 0;

	for (size_t i = 1; i < options->n_args; i++) {
		size_t n = strlen(options->args[i]);

		if (n == 0 || n > PATTERN_LEN || !text_is_printable(options->args[i]) ||
		    strpbrk(options->args[i], " '"))
			return options_error(options, "not a pattern of interfaces like u03**01: %s", options->args[i]);
		if (len + PATTERN_LEN >= PAYLOAD_MAX)
			return options_error(options, "too many patterns");
		memset(patterns + len, '*', PATTERN_LEN);
		memcpy(patterns + len, options->args[i], n);
		len += PATTERN_LEN;
	}
	patterns[len] = '\0';
	return -1;
}

int run_deny(struct state *state)
{
	const char *qube = state->options.args[0];
	char patterns[PAYLOAD_MAX], progress[128];
	int r = check_name(state, qube);

	if (r >= 0)
		return r;
	if (state->options.n_args == 1)
		return print_answer(state, "admin.vm.device.denied.List", "", qube, NULL, json_out_lines);
	r = join_patterns(state, patterns);
	if (r >= 0)
		return r;
	(void)snprintf(progress, sizeof(progress), "Adding to what %s never gets", qube);
	r = change(state, &(struct change){.method = "admin.vm.device.denied.Add",
					   .dest = qube,
					   .payload = patterns,
					   .progress = progress,
					   .interfaces = patterns});
	if (r == EXIT_DONE)
		warn_absent(state, qube, "the deny list");
	return r;
}

int run_allow(struct state *state)
{
	const char *qube = state->options.args[0];
	char patterns[PAYLOAD_MAX], progress[128];
	int r = check_name(state, qube);

	if (r >= 0)
		return r;
	if (state->options.n_args == 2 && strcmp(state->options.args[1], "all") == 0)
		(void)strcpy(patterns, "all");
	else
		r = join_patterns(state, patterns);
	if (r >= 0)
		return r;
	(void)snprintf(progress, sizeof(progress), "Taking from what %s never gets", qube);
	return change(state, &(struct change){.method = "admin.vm.device.denied.Remove",
					      .dest = qube,
					      .payload = patterns,
					      .progress = progress,
					      .interfaces = strcmp(patterns, "all") == 0 ? ANY_INTERFACE : patterns});
}
