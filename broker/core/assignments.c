// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of assignments and what it says about a device; the rules are in assignments.h.
 *
 * Invariants: entries are in the order of assignment_compare(), no two are equal in it, all are fit; by_source has the
 * numbers of all entries, by their source, then as in the table: matching a device costs what its qube is named in.
 */
#include "broker/core/assignments.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

struct assignments {
	unsigned int n;
	struct core_assignment entries[LIMIT_ASSIGNMENTS];
	uint16_t by_source[LIMIT_ASSIGNMENTS];
};

/* By what an assignment names; more is more specific. */
enum rank { RANK_NOTHING, RANK_ANY, RANK_DEVICE, RANK_PORT, RANK_PORT_AND_DEVICE };

struct assignments *assignments_new(void)
{
	return calloc(1, sizeof(struct assignments));
}

struct assignments *assignments_free(struct assignments *table)
{
	free(table);
	return NULL;
}

unsigned int assignments_count(const struct assignments *table)
{
	return table->n;
}

/* Empty, or printable from a letter or digit on: "*" and "_" mean any in Qubes' arguments, they name nothing. */
static bool is_name_or_empty(const char *text, size_t size)
{
	char first = text[0];

	if (!memchr(text, '\0', size))
		return false;
	return first == '\0' ||
	       (((first >= '0' && first <= '9') || (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z')) &&
		text_is_printable(text));
}

bool assignment_is_fit(const struct core_assignment *assignment)
{
	return assignment->class_id != 0 && (unsigned int)assignment->mode < CORE_ASSIGN_MODE_COUNT &&
	       assignment->max_time_usec <= INT64_MAX && text_is_qube_name(assignment->target) &&
	       text_is_qube_name(assignment->source) && strcmp(assignment->target, assignment->source) != 0 &&
	       is_name_or_empty(assignment->port, sizeof(assignment->port)) && !strchr(assignment->port, ' ') &&
	       (assignment->path[0] == '\0' || (assignment->port[0] != '\0' && text_is_path(assignment->path))) &&
	       is_name_or_empty(assignment->device_id, sizeof(assignment->device_id)) &&
	       core_picture_is_fit(&assignment->picture, assignment->class_id);
}

static int compare_places(const struct core_assignment *a, const struct core_assignment *b)
{
	if (a->path[0] == '\0' || b->path[0] == '\0')
		return a->path[0] != b->path[0] ? (a->path[0] != '\0') - (b->path[0] != '\0')
						: strcmp(a->port, b->port);
	return strcmp(a->path, b->path);
}

int assignment_compare(const struct core_assignment *a, const struct core_assignment *b)
{
	int order = strcmp(a->target, b->target);

	if (order == 0)
		order = (int)a->class_id - (int)b->class_id;
	if (order == 0)
		order = strcmp(a->source, b->source);
	if (order == 0)
		order = compare_places(a, b);
	return order != 0 ? order : strcmp(a->device_id, b->device_id);
}

/* Where it is, or would be put. */
static unsigned int find(const struct assignments *table, const struct core_assignment *key, bool *ret_found)
{
	unsigned int low = 0, high = table->n;

	*ret_found = false;
	while (low < high) {
		unsigned int middle = (low + high) / 2;
		int order = assignment_compare(&table->entries[middle], key);

		if (order < 0) {
			low = middle + 1;
		} else {
			high = middle;
			*ret_found = *ret_found || order == 0;
		}
	}
	return low;
}

/* The first of by_source whose source is not before `source`. */
static unsigned int find_source(const struct assignments *table, const char *source, unsigned int n)
{
	unsigned int low = 0, high = n;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (strcmp(table->entries[table->by_source[middle]].source, source) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_of_source(const struct assignments *table, unsigned int i, const char *source)
{
	return i < table->n && strcmp(table->entries[table->by_source[i]].source, source) == 0;
}

/* Entry `at` is new: the numbers from there on have become one more. */
static void index_added(struct assignments *table, unsigned int at)
{
	unsigned int n = table->n - 1, place;

	for (unsigned int i = 0; i < n; i++)
		table->by_source[i] = (uint16_t)(table->by_source[i] + (table->by_source[i] >= at));
	place = find_source(table, table->entries[at].source, n);
	while (place < n && strcmp(table->entries[table->by_source[place]].source, table->entries[at].source) == 0 &&
	       table->by_source[place] < at)
		place++;
	memmove(&table->by_source[place + 1], &table->by_source[place], (n - place) * sizeof(table->by_source[0]));
	table->by_source[place] = (uint16_t)at;
}

/* Entry `at` was taken out. */
static void index_removed(struct assignments *table, unsigned int at)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < table->n + 1; i++) {
		uint16_t number = table->by_source[i];

		if (number != at)
			table->by_source[n++] = (uint16_t)(number - (number > at));
	}
}

unsigned int assignments_of_source(const struct assignments *table, const char *source)
{
	unsigned int first = find_source(table, source, table->n), end = first;

	while (is_of_source(table, end, source))
		end++;
	return end - first;
}

int assignments_add(struct assignments *table, const struct core_assignment *assignment)
{
	bool found;
	unsigned int at;

	if (!assignment_is_fit(assignment))
		return CORE_ASSIGN_UNFIT;
	at = find(table, assignment, &found);
	if (found)
		return CORE_ASSIGN_DUPLICATE;
	if (table->n == LIMIT_ASSIGNMENTS)
		return CORE_ASSIGN_FULL;
	memmove(&table->entries[at + 1], &table->entries[at], (table->n - at) * sizeof(table->entries[0]));
	table->entries[at] = *assignment;
	table->n++;
	index_added(table, at);
	return 0;
}

int assignments_remove(struct assignments *table, const struct core_assignment *key)
{
	bool found;
	unsigned int at = find(table, key, &found);

	if (!found)
		return CORE_ASSIGN_UNKNOWN;
	table->n--;
	memmove(&table->entries[at], &table->entries[at + 1], (table->n - at) * sizeof(table->entries[0]));
	index_removed(table, at);
	return 0;
}

int assignments_replace(struct assignments *table, const struct core_assignment *key,
			const struct core_assignment *changed)
{
	const struct core_assignment put = *changed;
	int r = assignments_remove(table, key);

	if (r == 0)
		(void)assignments_add(table, &put); /* there is room: one was just taken out */
	return r;
}

const struct core_assignment *assignments_find(const struct assignments *table, const struct core_assignment *key)
{
	bool found;
	unsigned int at = find(table, key, &found);

	return found ? &table->entries[at] : NULL;
}

const struct core_assignment *assignments_find_named(const struct assignments *table,
						     const struct core_assignment *wanted)
{
	for (unsigned int i = 0; i < table->n; i++) {
		const struct core_assignment *entry = &table->entries[i];
		bool by_name = entry->path[0] == '\0' || wanted->path[0] == '\0';

		if (strcmp(entry->target, wanted->target) == 0 && entry->class_id == wanted->class_id &&
		    strcmp(entry->source, wanted->source) == 0 && strcmp(entry->device_id, wanted->device_id) == 0 &&
		    (by_name ? strcmp(entry->port, wanted->port) == 0 : strcmp(entry->path, wanted->path) == 0))
			return entry;
	}
	return NULL;
}

const struct core_assignment *assignments_next(const struct assignments *table, unsigned int *cursor)
{
	return *cursor < table->n ? &table->entries[(*cursor)++] : NULL;
}

bool assignments_has_twin(const struct core_qube *source, const struct core_device *device)
{
	char id[CORE_DEVICE_ID_MAX], other_id[CORE_DEVICE_ID_MAX];
	const struct core_device *other;
	unsigned int cursor = 0;

	if (device->n_interfaces == 0)
		return false;
	(void)core_device_id(device, id);
	while ((other = core_next_device(source, &cursor))) {
		if (strcmp(other->port, device->port) == 0 || other->class_id != device->class_id ||
		    other->vendor != device->vendor || other->product != device->product)
			continue;
		(void)core_device_id(other, other_id);
		if (strcmp(id, other_id) == 0)
			return true;
	}
	return false;
}

static bool is_at(const struct core_device *device, const struct core_assignment *assignment)
{
	if (device->path[0] != '\0' && assignment->path[0] != '\0')
		return strcmp(device->path, assignment->path) == 0;
	return strcmp(device->port, assignment->port) == 0;
}

/* RANK_NOTHING: does not fit. `id` is NULL when the device has none. */
static enum rank rank_of(const struct core_assignment *assignment, const struct core_qube *source,
			 const struct core_device *device, const char *id)
{
	bool by_port = assignment->port[0] != '\0', by_device = assignment->device_id[0] != '\0';

	if (assignment->class_id != device->class_id || strcmp(assignment->source, source->name) != 0 ||
	    (by_port && !is_at(device, assignment)) || (by_device && (!id || strcmp(assignment->device_id, id) != 0)))
		return RANK_NOTHING;
	if (by_port)
		return by_device ? RANK_PORT_AND_DEVICE : RANK_PORT;
	return by_device ? RANK_DEVICE : RANK_ANY;
}

bool assignment_fits(const struct core_assignment *assignment, const struct core_qube *source,
		     const struct core_device *device)
{
	char id[CORE_DEVICE_ID_MAX];

	(void)core_device_id(device, id);
	return rank_of(assignment, source, device, device->n_interfaces > 0 ? id : NULL) != RANK_NOTHING;
}

void assignments_match(const struct assignments *table, const struct core_qube *source,
		       const struct core_device *device, bool (*is_running)(void *userdata, const char *target),
		       void *userdata, struct core_match *ret_match)
{
	struct core_match match = {.result = CORE_MATCH_NONE};
	enum rank best = RANK_NOTHING;
	char id[CORE_DEVICE_ID_MAX];

	(void)core_device_id(device, id);
	for (unsigned int i = find_source(table, source->name, table->n); is_of_source(table, i, source->name); i++) {
		const struct core_assignment *assignment = &table->entries[table->by_source[i]];
		enum rank rank = rank_of(assignment, source, device, device->n_interfaces > 0 ? id : NULL);

		if (rank == RANK_NOTHING || rank < best || !is_running(userdata, assignment->target))
			continue;
		if (rank > best)
			match.n_offered = match.n_left_out = 0;
		else if (match.n_offered > 0 &&
			 strcmp(match.offered[match.n_offered - 1]->target, assignment->target) == 0)
			match.n_offered--; /* by its name only: this one is by its path */
		best = rank;
		if (match.n_offered < LIMIT_OFFERED)
			match.offered[match.n_offered++] = assignment;
		else
			match.n_left_out++;
	}
	match.twins = best == RANK_DEVICE && assignments_has_twin(source, device);
	if (match.n_offered == 1 && match.offered[0]->mode != CORE_ASSIGN_ASK && !match.twins)
		match.result = CORE_MATCH_ONE;
	else if (match.n_offered > 0)
		match.result = CORE_MATCH_ASK;
	*ret_match = match;
}
