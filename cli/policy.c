// SPDX-License-Identifier: GPL-2.0-or-later
/* Questions about the policy: is it sound, and what does it say of this device and that qube, by which rule. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

#define BROKEN "broken"

static int check_policy(const struct state *state)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	bool broken;
	int r = inventory_call(&state->options, "device.policy.Check", "", "dom0", "", NULL, &call, &reply);

	if (r >= 0)
		return r;
	broken = reply.content.len >= strlen(BROKEN) && memcmp(reply.content.at, BROKEN, strlen(BROKEN)) == 0;
	print_lines(reply.content);
	return broken ? EXIT_REFUSED : EXIT_DONE;
}

/* QUBE BACKEND:PORT[:ID] */
static int explain_policy(struct state *state, char *const words[2])
{
	const struct device *device;
	struct place place;
	char argument[ARGUMENT_MAX];
	int r = check_words(state, words, 2, &place);

	if (r < 0)
		r = find_device(state, &place, &device);
	if (r >= 0)
		return r;
	make_argument(place.backend, place.port, device->id, argument);
	return print_answer(state, "device.policy.Explain", argument, words[0], NULL);
}

int run_policy(struct state *state)
{
	const struct options *options = &state->options;

	if (options->n_args == 1 && strcmp(options->args[0], "check") == 0)
		return check_policy(state);
	if (options->n_args == 3 && strcmp(options->args[0], "explain") == 0)
		return explain_policy(state, options->args + 1);
	return options_error(options, "expected policy check, or policy explain VM BACKEND:PORT[:ID]");
}
