// SPDX-License-Identifier: GPL-2.0-or-later
/* Labels; see labels.h. Invariant: the first n entries are used, sorted by key, each key once. */
#include "broker/core/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

#define NAMELESS "Camera"

struct label {
	char key[CORE_LABEL_KEY_MAX];
	char text[LIMIT_LABEL_TEXT + 1];
};

struct labels {
	unsigned int n;
	struct label labels[LIMIT_LABELS];
};

struct labels *labels_new(void)
{
	return calloc(1, sizeof(struct labels));
}

struct labels *labels_free(struct labels *table)
{
	free(table);
	return NULL;
}

unsigned int labels_count(const struct labels *table)
{
	return table->n;
}

bool labels_is_text(const char *text)
{
	size_t len = strnlen(text, LIMIT_LABEL_TEXT + 1);

	return len >= 1 && len <= LIMIT_LABEL_TEXT && text_is_printable(text) && !strchr(text, '\\') &&
	       text[0] != ' ' && text[len - 1] != ' ' && text[len - 1] != '=';
}

void labels_key(const char *source, const struct core_device *device, char ret_key[CORE_LABEL_KEY_MAX])
{
	char id[CORE_DEVICE_ID_MAX];
	bool by_path = device->path[0] != '\0';

	(void)core_device_id(device, id);
	if (device->serial[0])
		(void)snprintf(ret_key, CORE_LABEL_KEY_MAX, "%s %s", source, id);
	else
		(void)snprintf(ret_key, CORE_LABEL_KEY_MAX, "%s %s %s%s", source, id, by_path ? "@" : "",
			       by_path ? device->path : device->port);
}

/* The place of the first key that is not less. */
static unsigned int place_of(const struct labels *table, const char *key)
{
	unsigned int low = 0, high = table->n;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (strcmp(table->labels[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct labels *table, unsigned int place, const char *key)
{
	return place < table->n && strcmp(table->labels[place].key, key) == 0;
}

static int remove_at(struct labels *table, unsigned int place)
{
	table->n--;
	memmove(&table->labels[place], &table->labels[place + 1], (table->n - place) * sizeof(table->labels[0]));
	return 0;
}

int labels_set(struct labels *table, const char *key, const char *text)
{
	size_t len = strnlen(key, CORE_LABEL_KEY_MAX);
	unsigned int place;
	bool found;

	if (len == 0 || len == CORE_LABEL_KEY_MAX || !text_is_printable(key) || (text[0] && !labels_is_text(text)))
		return LABELS_UNFIT;
	place = place_of(table, key);
	found = is_at(table, place, key);
	if (found ? strcmp(table->labels[place].text, text) == 0 : !text[0])
		return LABELS_UNCHANGED;
	if (!text[0])
		return remove_at(table, place);
	if (!found && table->n == LIMIT_LABELS)
		return LABELS_FULL;
	if (!found) {
		memmove(&table->labels[place + 1], &table->labels[place],
			(table->n++ - place) * sizeof(table->labels[0]));
		memcpy(table->labels[place].key, key, len + 1);
	}
	memcpy(table->labels[place].text, text, strlen(text) + 1);
	return 0;
}

const char *labels_get(const struct labels *table, const char *key)
{
	unsigned int place = place_of(table, key);

	return is_at(table, place, key) ? table->labels[place].text : NULL;
}

const char *labels_of(const struct labels *table, const char *source, const struct core_device *device)
{
	char key[CORE_LABEL_KEY_MAX];

	if (!table->n) /* what most users have, and a long list asks for each device */
		return NULL;
	labels_key(source, device, key);
	return labels_get(table, key);
}

/* Without spaces at its ends, cut; the length. */
static size_t copy_name(const char *name, char ret_label[WIRE_LABEL])
{
	size_t len;

	name += strspn(name, " ");
	len = strnlen(name, WIRE_LABEL - 1);
	while (len > 0 && name[len - 1] == ' ')
		len--;
	memset(ret_label, 0, WIRE_LABEL);
	memcpy(ret_label, name, len);
	return len;
}

void labels_for_target(const struct labels *table, const char *source, const struct core_device *device,
		       char ret_label[WIRE_LABEL])
{
	const char *label = labels_of(table, source, device);

	if (copy_name(label ? label : device->product_name, ret_label) == 0)
		(void)copy_name(NAMELESS, ret_label);
}
