// SPDX-License-Identifier: GPL-2.0-or-later
/* What devices there are, and one of them. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/show.h"
#include "lib/base/text.h"

static bool is_pattern(const char *name)
{
	return strpbrk(name, "*?[") != NULL;
}

static bool is_named(const struct options *options, const char *qube)
{
	if (options->all) {
		for (size_t i = 0; i < options->n_excludes; i++)
			if (fnmatch(options->excludes[i], qube, 0) == 0)
				return false;
		return strcmp(qube, "dom0") != 0;
	}
	for (size_t i = 0; i < options->n_args; i++)
		if (is_pattern(options->args[i]) ? fnmatch(options->args[i], qube, 0) == 0
						 : strcmp(options->args[i], qube) == 0)
			return true;
	return options->n_args == 0;
}

int run_list(struct state *state)
{
	const struct options *options = &state->options;
	struct inventory *inventory = &state->inventory;
	_cleanup_free_ bool *marked = NULL;
	int r;

	for (size_t i = 0; i < options->n_args; i++) {
		r = is_pattern(options->args[i]) ? -1 : check_qube(state, options->args[i]);
		if (r >= 0)
			return r;
	}
	for (size_t i = 0; i < inventory->n_qubes; i++) {
		r = inventory_read_devices(options, &state->ids, inventory->qubes[i].name, inventory);
		if (r >= 0)
			return r;
	}
	for (size_t i = 0; options->assignments && i < inventory->n_qubes; i++) {
		r = is_named(options, inventory->qubes[i].name)
			    ? inventory_read_assignments(options, inventory->qubes[i].name, inventory)
			    : -1;
		if (r >= 0)
			return r;
	}
	inventory_sort(inventory);
	marked = calloc(inventory->n_devices + 1, sizeof(*marked));
	if (!marked)
		return runtime_error(state, "out of memory");
	for (size_t i = 0; i < inventory->n_devices; i++)
		marked[i] = is_named(options, inventory->devices[i].backend) ||
			    (inventory->devices[i].used_by[0] && is_named(options, inventory->devices[i].used_by));
	if (options->json)
		show_json(inventory, marked, options->class);
	else
		show_table(inventory, marked);
	return EXIT_DONE;
}

int run_info(struct state *state)
{
	const struct device *device;
	struct place place;
	int r = parse_place(state, state->options.args[0], &place);

	if (r < 0)
		r = find_device(state, &place, &device);
	if (r >= 0)
		return r;
	if (state->options.json)
		show_info_json(device, state->options.class);
	else
		show_info(device);
	return EXIT_DONE;
}
