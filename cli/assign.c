// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Assignments: which qube is to have a device whenever both are there. BACKEND:PORT means the device that is there now,
 * at that port; --port whatever is at that port; --device that device at any port. A device that is not there now is
 * assigned by its whole name, BACKEND:PORT:ID. Assignments are ended as they are listed, whatever is there now.
 */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "lib/base/text.h"

/* An assignment's device, when none is there to be read: only what names it. */
static void device_from_place(const struct place *place, struct device *ret_device)
{
	memset(ret_device, 0, sizeof(*ret_device));
	(void)strcpy(ret_device->backend, place->backend);
	(void)strcpy(ret_device->port, place->port);
	(void)strcpy(ret_device->id, place->id);
}

/*
 * Finds out which half of BACKEND:PORT:ID is meant: in *ret_device the other one is "*". A device that must be known to
 * say it is looked up. -1 or an exit code.
 */
static int find_meant(struct state *state, const struct place *place, struct device *ret_device)
{
	const struct options *options = &state->options;
	const struct device *device = NULL;
	int r = -1;

	if (!options->only_port && !place->has_id) {
		r = find_device(state, place, &device);
		if (r >= 0)
			return r;
	}
	device_from_place(place, ret_device);
	if (device)
		(void)strcpy(ret_device->id, device->id);
	if (options->only_port)
		(void)strcpy(ret_device->id, "*");
	if (options->only_device)
		(void)strcpy(ret_device->port, "*");
	return r;
}

static const char *mode_of(const struct options *options)
{
	if (options->ask)
		return "ask-to-attach";
	return options->required ? "required" : "auto-attach";
}

/* The device that is at this place just now; NULL: none, or the device's qube does not run. */
static const struct device *look_at(struct state *state, const struct place *place)
{
	struct inventory *inventory = &state->inventory;

	inventory->n_devices = 0; /* what was read before may have changed */
	if (!inventory_runs(inventory, place->backend) ||
	    inventory_read_devices(&state->options, &state->ids, place->backend, inventory) >= 0)
		return NULL;
	return inventory_find(inventory, place->backend, place->port, place->has_id ? place->id : NULL);
}

int run_assign(struct state *state)
{
	const char *qube = state->options.args[0];
	struct device device;
	struct place place;
	char progress[192], payload[PAYLOAD_MAX];
	int r = parse_place(state, state->options.args[1], &place);

	if (r < 0)
		r = check_name(state, qube);
	if (r < 0)
		r = find_meant(state, &place, &device);
	if (r < 0)
		r = make_payload(state, &device, mode_of(&state->options), qube, payload);
	if (r >= 0)
		return r;
	(void)snprintf(progress, sizeof(progress), "Assigning %s to %s", place.shown, qube);
	r = change(state, &(struct change){.method = "Assign",
					   .dest = qube,
					   .payload = payload,
					   .progress = progress,
					   .backend = device.backend,
					   .port = device.port,
					   .id = device.id});
	if (r == EXIT_DONE)
		warn_absent(state, qube, "the assignment");
	if (r == EXIT_DONE && state->options.verbosity >= 0 && !state->options.json)
		puts("Assigned.");
	return r;
}

/* Every assignment of the qube; one that cannot be ended does not keep the others. */
static int unassign_all(struct state *state, const char *qube)
{
	struct inventory *inventory = &state->inventory;
	int worst = EXIT_DONE, r = inventory_read_assignments(&state->options, qube, inventory);

	if (r >= 0)
		return r;
	for (size_t i = 0; i < inventory->n_assignments; i++) {
		const struct assignment *assignment = &inventory->assignments[i];
		char progress[ARGUMENT_MAX + 64];

		(void)snprintf(progress, sizeof(progress), "Ending the assignment of %s:%s to %s", assignment->backend,
			       assignment->port, qube);
		r = change(state, &(struct change){.method = "Unassign",
						   .dest = qube,
						   .progress = progress,
						   .backend = assignment->backend,
						   .port = assignment->port,
						   .id = assignment->id});
		worst = r > worst ? r : worst;
		if (r == EXIT_NO_BROKER)
			break;
	}
	return worst;
}

/*
 * The assignment that BACKEND:PORT means, when neither half was said to be any: as it is listed, for the device need not
 * be there. Of several devices the one that is there. -1 or an exit code.
 */
static int find_assigned(struct state *state, const char *qube, const struct place *place, struct device *ret_device)
{
	struct inventory *inventory = &state->inventory;
	const struct assignment *found = NULL;
	char call[CALLED_MAX];
	const struct device *there;
	size_t n = 0;
	int r;

	if (place->has_id || state->options.only_port || state->options.only_device)
		return find_meant(state, place, ret_device);
	r = inventory_read_assignments(&state->options, qube, inventory);
	if (r >= 0)
		return r;
	there = look_at(state, place);
	for (size_t i = 0; i < inventory->n_assignments; i++) {
		const struct assignment *assignment = &inventory->assignments[i];

		if (strcmp(assignment->backend, place->backend) != 0 || strcmp(assignment->port, place->port) != 0 ||
		    strcmp(assignment->id, "*") == 0)
			continue;
		n++;
		if (!found || (there && strcmp(assignment->id, there->id) == 0))
			found = assignment;
	}
	if (!found)
		return runtime_error(state, "%s is not assigned to %s in this way; look at: %s list --assignments %s",
				     place->shown, qube, called(state, call), qube);
	if (n > 1 && !(there && strcmp(found->id, there->id) == 0))
		return runtime_error(state, "several devices are assigned to %s at %s: name one as %s:ID", qube,
				     place->shown, place->shown);
	device_from_place(place, ret_device);
	(void)strcpy(ret_device->id, found->id);
	return -1;
}

/* What an assignment attached stays so. */
static void tell_unassigned(struct state *state, const char *qube, const struct place *place)
{
	const struct device *device = look_at(state, place);
	char call[CALLED_MAX];

	if (device && strcmp(device->used_by, qube) == 0)
		printf("Unassigned. To detach it now: %s detach %s %s\n", called(state, call), qube, place->shown);
	else
		puts("Unassigned.");
}

int run_unassign(struct state *state)
{
	const char *qube = state->options.args[0];
	struct device device;
	struct place place;
	char progress[192];
	int r = check_words(state, state->options.args, state->options.n_args, &place);

	if (r >= 0)
		return r;
	if (state->options.n_args == 1)
		return unassign_all(state, qube);
	r = find_assigned(state, qube, &place, &device);
	if (r >= 0)
		return r;
	(void)snprintf(progress, sizeof(progress), "Ending the assignment of %s to %s", place.shown, qube);
	r = change(state, &(struct change){.method = "Unassign",
					   .dest = qube,
					   .progress = progress,
					   .backend = device.backend,
					   .port = device.port,
					   .id = device.id});
	if (r == EXIT_DONE && state->options.verbosity >= 0 && !state->options.json)
		tell_unassigned(state, qube, &place);
	return r;
}
