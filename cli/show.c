/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See show.h. Everything here was made safe before (inventory.c). */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/show.h"

#define COLUMNS 3u

struct row {
	char place[LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT];
	char used[LIMIT_QUBE_NAME + 200];
	const char *cells[COLUMNS];
};

static void make_row(const struct device *device, struct row *row)
{
	(void)snprintf(row->place, sizeof(row->place), "%s:%s", device->backend, device->port);
	row->used[0] = '\0';
	if (device->used_by[0])
		(void)snprintf(row->used, sizeof(row->used), "%s (%s)", device->used_by,
			       device->state[0] ? device->state : "attached");
	row->cells[0] = row->place;
	row->cells[1] = device->description;
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

void show_table(const struct inventory *inventory, const bool *marked)
{
	static const char *const header[COLUMNS] = {"BACKEND:DEVID", "DESCRIPTION", "USED BY"};
	bool with_header = isatty(STDOUT_FILENO);
	size_t widths[COLUMNS] = {0};
	struct row row;

	for (size_t c = 0; c < COLUMNS && with_header; c++)
		widths[c] = strlen(header[c]);
	for (size_t i = 0; i < inventory->n_devices; i++) {
		make_row(&inventory->devices[i], &row);
		if (marked[i])
			widen(&row, widths);
	}
	for (size_t i = 0; i < inventory->n_assignments; i++) {
		make_assignment_row(&inventory->assignments[i], &row);
		widen(&row, widths);
	}
	if (with_header)
		print_row(header, widths);
	for (size_t i = 0; i < inventory->n_devices; i++) {
		make_row(&inventory->devices[i], &row);
		if (marked[i])
			print_row(row.cells, widths);
	}
	for (size_t i = 0; i < inventory->n_assignments; i++) {
		make_assignment_row(&inventory->assignments[i], &row);
		print_row(row.cells, widths);
	}
}

/* "" is null. */
static struct json_object *text_or_null(const char *text)
{
	return text[0] ? json_object_new_string(text) : NULL;
}

static struct json_object *interfaces_of(const struct device *device)
{
	struct json_object *array = json_object_new_array();

	for (const char *at = device->interfaces; strlen(at) >= 7; at += 7)
		(void)json_object_array_add(array, json_object_new_string_len(at, 7));
	return array;
}

int show_json(const struct inventory *inventory, const bool *marked, const char *class)
{
	struct json_object *array = json_object_new_array();
	const char *text;
	int r;

	if (!array)
		return -ENOMEM;
	for (size_t i = 0; i < inventory->n_devices; i++) {
		const struct device *device = &inventory->devices[i];
		struct json_object *object = marked[i] ? json_object_new_object() : NULL;

		if (!object)
			continue;
		(void)json_object_object_add(object, "class", json_object_new_string(class));
		(void)json_object_object_add(object, "backend", json_object_new_string(device->backend));
		(void)json_object_object_add(object, "port", json_object_new_string(device->port));
		(void)json_object_object_add(object, "device_id", json_object_new_string(device->id));
		(void)json_object_object_add(object, "description", json_object_new_string(device->description));
		(void)json_object_object_add(object, "manufacturer", text_or_null(device->manufacturer));
		(void)json_object_object_add(object, "product", text_or_null(device->name));
		(void)json_object_object_add(object, "serial", text_or_null(device->serial));
		(void)json_object_object_add(object, "interfaces", interfaces_of(device));
		(void)json_object_object_add(object, "used_by", text_or_null(device->used_by));
		(void)json_object_object_add(object, "state",
					     json_object_new_string(device->state[0]     ? device->state
								    : device->used_by[0] ? "attached"
											 : "free"));
		(void)json_object_array_add(array, object);
	}
	for (size_t i = 0; i < inventory->n_assignments; i++) {
		const struct assignment *assignment = &inventory->assignments[i];
		struct json_object *object = json_object_new_object();

		if (!object)
			continue;
		(void)json_object_object_add(object, "class", json_object_new_string(class));
		(void)json_object_object_add(object, "backend", json_object_new_string(assignment->backend));
		(void)json_object_object_add(object, "port", json_object_new_string(assignment->port));
		(void)json_object_object_add(object, "device_id", json_object_new_string(assignment->id));
		(void)json_object_object_add(object, "assigned_to", json_object_new_string(assignment->qube));
		(void)json_object_object_add(object, "mode", json_object_new_string(assignment->mode));
		(void)json_object_object_add(object, "options", text_or_null(assignment->options));
		(void)json_object_array_add(array, object);
	}
	text = json_object_to_json_string_ext(array, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	r = text && puts(text) >= 0 ? 0 : -ENOMEM;
	(void)json_object_put(array);
	return r;
}

void show_info(const struct device *device)
{
	printf("%s\ndevice ID: %s\n", device->description, device->id);
	if (device->used_by[0])
		printf("used by: %s\n", device->used_by);
	if (device->state[0])
		printf("state: %s\n", device->state);
}
