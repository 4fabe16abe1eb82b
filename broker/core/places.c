// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where assignments' ports are: each one that names a port has its path as soon as something was seen there, and the
 * name that the kernel gives that path now. Rules of matching are in assignments.h; this is only about what is stored
 * and shown.
 *
 * Invariants: the table changes after the disk has, never before; a device qube may claim whatever ports and paths it
 * likes, as often as it likes: what it can change is names of ports in its own assignments, and at most LIMIT_RELOCATIONS
 * of them in RELOCATE_INTERVAL_USEC, over all qubes. No assignment is lost by it: a path once learnt stays.
 */
#include "broker/core/internal.h"

#include "lib/base/base.h"

void places_look(struct core *core, const struct core_qube *source)
{
	core->unplaced[source->ref.index] = true;
}

void places_look_assigned(struct core *core, const struct core_assignment *assignment)
{
	for (unsigned int i = 0; i < LIMIT_QUBES; i++)
		if (core->qubes[i].used && strcmp(core->qubes[i].name, assignment->source) == 0)
			places_look(core, &core->qubes[i]);
}

/* A list that has begun is waited for: until its end old names may still be there. */
static bool is_due(const struct core *core, unsigned int i)
{
	return core->unplaced[i] && core->qubes[i].used && !core->qubes[i].listing;
}

uint64_t places_deadline(const struct core *core)
{
	for (unsigned int i = 0; i < LIMIT_QUBES; i++)
		if (is_due(core, i))
			return core->places_usec;
	return 0;
}

static const struct core_device *find_at(const struct core_qube *source, const struct core_assignment *assignment,
					 bool (*fits)(const struct core_device *device,
						      const struct core_assignment *assignment))
{
	const struct core_device *device;
	unsigned int cursor = 0;

	while ((device = core_next_device(source, &cursor)))
		if (device->class_id == assignment->class_id && fits(device, assignment))
			return device;
	return NULL;
}

static bool has_name(const struct core_device *device, const struct core_assignment *assignment)
{
	return strcmp(device->port, assignment->port) == 0;
}

static bool has_path(const struct core_device *device, const struct core_assignment *assignment)
{
	return strcmp(device->path, assignment->path) == 0;
}

static bool has_both(const struct core_device *device, const struct core_assignment *assignment)
{
	return has_name(device, assignment) && has_path(device, assignment);
}

/* What the present devices say of where it is; false: nothing new. */
static bool look_at(const struct core_qube *source, const struct core_assignment *stored,
		    struct core_assignment *ret_changed)
{
	const struct core_device *device;

	*ret_changed = *stored;
	if (stored->port[0] == '\0')
		return false;
	if (stored->path[0] == '\0') {
		device = find_at(source, stored, has_name);
		if (!device || device->path[0] == '\0' || !assignment_fits(stored, source, device))
			return false;
		memcpy(ret_changed->path, device->path, sizeof(ret_changed->path));
		return true;
	}
	device = find_at(source, stored, has_path);
	if (!device || find_at(source, stored, has_both))
		return false;
	memcpy(ret_changed->port, device->port, sizeof(ret_changed->port));
	return true;
}

/* Counts its tries in *n; false: there is more to do, later. What cannot be kept waits for the next cause. */
static bool relocate_all(struct core *core, const struct core_qube *source, unsigned int *n)
{
	const struct core_assignment *stored;
	struct core_assignment key, changed;
	unsigned int cursor = 0;

	while ((stored = assignments_next(core->assignments, &cursor))) {
		if (strcmp(stored->source, source->name) != 0 || !look_at(source, stored, &changed))
			continue;
		if (*n == LIMIT_RELOCATIONS)
			return false;
		++*n;
		key = *stored;
		if (!core->hooks.relocate || !core->hooks.relocate(core->userdata, &key, &changed))
			return true;
		(void)assignments_replace(core->assignments, &key, &changed);
		cursor = 0; /* the table has moved; each one is changed twice at most */
	}
	return true;
}

void places_run(struct core *core)
{
	unsigned int n = 0;

	if (core->now_usec < core->places_usec)
		return;
	for (unsigned int i = 0; i < LIMIT_QUBES; i++)
		if (is_due(core, i))
			core->unplaced[i] = !relocate_all(core, &core->qubes[i], &n);
	if (n > 0)
		core->places_usec = core->now_usec + RELOCATE_INTERVAL_USEC;
}

void core_locate(const struct core *core, struct core_assignment *assignment)
{
	const struct core_qube *source = core_find_qube_by_name(core, assignment->source);
	const struct core_device *device = NULL;

	if (source && assignment->port[0] != '\0' && assignment->path[0] == '\0')
		device = find_at(source, assignment, has_name);
	if (device)
		memcpy(assignment->path, device->path, sizeof(assignment->path));
}
