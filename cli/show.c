/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See show.h. Everything here was made safe before (inventory.c). */
#include <stdio.h>
#include <string.h>

#include "cli/json-out.h"
#include "cli/show.h"
#include "cli/tree.h"

#define COLUMNS 3u

struct row {
	char place[2 * TREE_DEPTH_MAX + LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT];
	char description[DESCRIPTION_TEXT];
	char used[LIMIT_QUBE_NAME + OPTIONS_TEXT + 72];
	const char *cells[COLUMNS];
};

static void make_row(const struct device *device, struct usb_ids *ids, struct row *row)
{
	(void)snprintf(row->place, sizeof(row->place), "%*s%s:%s", 2 * (int)device->depth, "", device->backend,
		       device->port);
	row->used[0] = '\0';
	if (device->used_by[0])
		(void)snprintf(row->used, sizeof(row->used), "%s (%s%s)", device->used_by,
			       device->state[0] ? device->state : "attached", device->muted[0] ? ", muted" : "");
	row->cells[0] = row->place;
	inventory_describe(device, ids, row->description);
	row->cells[1] = row->description;
	row->cells[2] = row->used;
}

static void make_assignment_row(const struct assignment *assignment, struct row *row)
{
	(void)snprintf(row->place, sizeof(row->place), "%s:%s", assignment->backend, assignment->port);
	(void)snprintf(row->used, sizeof(row->used), "*%s (%s%s%s)", assignment->qube, assignment->mode,
		       assignment->options[0] ? ": " : "", assignment->options);
	row->cells[0] = row->place;
	row->cells[1] = strcmp(assignment->id, "*") == 0 ? "any device" : assignment->id;
	row->cells[2] = row->used;
}

static void print_row(const char *const cells[COLUMNS], const size_t widths[COLUMNS])
{
	printf("%-*s  ", (int)widths[0], cells[0]);
	if (cells[2][0])
		printf("%-*s  %s\n", (int)widths[1], cells[1], cells[2]);
	else
		printf("%s\n", cells[1]);
}

static void widen(const struct row *row, size_t widths[COLUMNS])
{
	for (size_t c = 0; c < COLUMNS; c++)
		if (strlen(row->cells[c]) > widths[c])
			widths[c] = strlen(row->cells[c]);
}

void show_table(const struct inventory *inventory, struct usb_ids *ids)
{
	static const char *const header[COLUMNS] = {"BACKEND:DEVID", "DESCRIPTION", "USED BY"};
	bool with_header = isatty(STDOUT_FILENO);
	size_t widths[COLUMNS] = {0};
	struct row row;

	for (size_t c = 0; c < COLUMNS && with_header; c++)
		widths[c] = strlen(header[c]);
	for (size_t i = 0; i < inventory->n_devices; i++) {
		make_row(&inventory->devices[i], ids, &row);
		widen(&row, widths);
	}
	for (size_t i = 0; i < inventory->n_assignments; i++) {
		make_assignment_row(&inventory->assignments[i], &row);
		widen(&row, widths);
	}
	if (with_header)
		print_row(header, widths);
	for (size_t i = 0; i < inventory->n_devices; i++) {
		make_row(&inventory->devices[i], ids, &row);
		print_row(row.cells, widths);
	}
	for (size_t i = 0; i < inventory->n_assignments; i++) {
		make_assignment_row(&inventory->assignments[i], &row);
		print_row(row.cells, widths);
	}
}

/* What devices and assignments have in common. */
static struct json_object *place_object(const char *class, const char *backend, const char *port, const char *id)
{
	struct json_object *object = json_out_object();

	json_out_add(object, "class", json_out_text(class));
	json_out_add(object, "backend", json_out_text(backend));
	json_out_add(object, "port", json_out_text(port));
	json_out_add(object, "device_id", json_out_text(id));
	return object;
}

static struct json_object *device_object(const struct device *device, struct usb_ids *ids)
{
	char description[DESCRIPTION_TEXT];
	struct json_object *object = place_object(device->class, device->backend, device->port, device->id);

	inventory_describe(device, ids, description);
	json_out_add(object, "description", json_out_text(description));
	json_out_add(object, "manufacturer", json_out_text(device->manufacturer));
	json_out_add(object, "product", json_out_text(device->name));
	json_out_add(object, "serial", json_out_text(device->serial));
	json_out_add(object, "interfaces", json_out_codes(device->interfaces));
	json_out_add(object, "label", json_out_text(device->label));
	json_out_add(object, "parent_class", json_out_text(device->parent_class));
	json_out_add(object, "parent_port", json_out_text(device->parent_port));
	json_out_add(object, "used_by", json_out_text(device->used_by));
	json_out_add(object, "muted", json_out_bool(device->muted[0]));
	json_out_add(object, "state",
		     json_out_text(device->state[0]     ? device->state
				   : device->used_by[0] ? "attached"
							: "free"));
	json_out_add(object, "options", json_out_text(device->options));
	return object;
}

static struct json_object *assignment_object(const struct assignment *assignment)
{
	struct json_object *object =
		place_object(assignment->class, assignment->backend, assignment->port, assignment->id);

	json_out_add(object, "assigned_to", json_out_text(assignment->qube));
	json_out_add(object, "mode", json_out_text(assignment->mode));
	json_out_add(object, "options", json_out_text(assignment->options));
	return object;
}

void show_json(const struct inventory *inventory, struct usb_ids *ids)
{
	struct json_object *array = json_out_array();

	for (size_t i = 0; i < inventory->n_devices; i++)
		json_out_append(array, device_object(&inventory->devices[i], ids));
	for (size_t i = 0; i < inventory->n_assignments; i++)
		json_out_append(array, assignment_object(&inventory->assignments[i]));
	json_out_document(array);
}

void show_info(const struct device *device, struct usb_ids *ids)
{
	char description[DESCRIPTION_TEXT];

	inventory_describe(device, ids, description);
	printf("%s\ndevice ID: %s\n", description, device->id);
	if (device->used_by[0])
		printf("used by: %s\n", device->used_by);
	if (device->state[0])
		printf("state: %s\n", device->state);
	if (device->muted[0])
		printf("muted: %s\n", device->muted);
	if (device->options[0])
		printf("options: %s\n", device->options);
}

void show_info_json(const struct device *device, struct usb_ids *ids)
{
	json_out_document(device_object(device, ids));
}
