// SPDX-License-Identifier: GPL-2.0-or-later
/* A user's own name for a device; see broker/core/labels.h for what it is kept under. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/show.h"

int run_label(struct state *state)
{
	const struct options *options = &state->options;
	const struct device *device;
	struct place place;
	int r = parse_place(state, options->args[0], &place);

	if (r < 0)
		r = find_device(state, &place, &device);
	if (r >= 0)
		return r;
	if (options->n_args > 1)
		return change(state, &(struct change){.method = "device.label.Set",
						      .dest = device->backend,
						      .payload = options->args[1],
						      .backend = device->backend,
						      .port = device->port,
						      .id = device->id});
	if (options->json)
		show_info_json(device, &state->ids);
	else if (device->label[0])
		printf("%s\n", device->label);
	return EXIT_DONE;
}
