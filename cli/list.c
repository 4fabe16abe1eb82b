// SPDX-License-Identifier: GPL-2.0-or-later
/* What devices there are, and one of them. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/show.h"
#include "cli/tree.h"
#include "lib/base/text.h"

/* Those that are to be shown. */
static void keep_devices(const struct options *options, struct inventory *inventory)
{
	size_t n = 0;

	for (size_t i = 0; i < inventory->n_devices; i++) {
		const struct device *device = &inventory->devices[i];

		if (!is_named(options, device->backend) && !(device->used_by[0] && is_named(options, device->used_by)))
			continue;
		if (n != i)
			inventory->devices[n] = *device;
		n++;
	}
	inventory->n_devices = n;
}

static void keep_assignments(const struct options *options, struct inventory *inventory)
{
	size_t n = 0;

	for (size_t i = 0; options->assignments && i < inventory->n_assignments; i++)
		if (is_named(options, inventory->assignments[i].qube))
			inventory->assignments[n++] = inventory->assignments[i];
	inventory->n_assignments = n;
}

int run_list(struct state *state)
{
	const struct options *options = &state->options;
	struct inventory *inventory = &state->inventory;
	int r;

	r = inventory_read_all(options, &state->ids, inventory);
	if (r >= 0)
		return r;
	r = check_names(state);
	if (r >= 0)
		return r;
	keep_devices(options, inventory);
	keep_assignments(options, inventory);
	inventory_sort(inventory);
	if (tree_arrange(inventory) < 0)
		return runtime_error(state, "out of memory");
	if (options->json)
		show_json(inventory, &state->ids);
	else
		show_table(inventory, &state->ids);
	return EXIT_DONE;
}

int run_info(struct state *state)
{
	const struct device *device;
	struct place place;
	int r = parse_place(state, state->options.args[0], &place);

	if (r < 0)
		r = find_device(state, &place, &device);
	if (r < 0 && inventory_has_qube(&state->inventory, device->used_by))
		r = inventory_read_attached(&state->options, device->used_by, &state->inventory);
	if (r >= 0)
		return r;
	if (state->options.json)
		show_info_json(device, &state->ids);
	else
		show_info(device, &state->ids);
	return EXIT_DONE;
}
