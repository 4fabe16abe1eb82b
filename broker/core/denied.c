// SPDX-License-Identifier: GPL-2.0-or-later
/* Deny lists; see denied.h. Invariants: the first n entries are used; each has a name of its own and 1.. patterns. */
#include "broker/core/denied.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

struct list {
	char qube[LIMIT_QUBE_NAME + 1];
	unsigned int n;
	char patterns[LIMIT_DENIED_PATTERNS][DENIED_PATTERN + 1];
};

struct denied {
	unsigned int n;
	struct list lists[LIMIT_DENIED_QUBES];
};

struct denied *denied_new(void)
{
	return calloc(1, sizeof(struct denied));
}

struct denied *denied_free(struct denied *table)
{
	free(table);
	return NULL;
}

unsigned int denied_count(const struct denied *table)
{
	return table->n;
}

bool denied_is_pattern(const char *text)
{
	if (strnlen(text, DENIED_PATTERN + 1) != DENIED_PATTERN ||
	    !((text[0] >= 'a' && text[0] <= 'z') || text[0] == '*' || text[0] == '?'))
		return false;
	return strspn(text + 1, "0123456789abcdef*") == DENIED_PATTERN - 1;
}

/* NULL: none. */
static const struct list *find(const struct denied *table, const char *qube)
{
	for (unsigned int i = 0; i < table->n; i++)
		if (strcmp(table->lists[i].qube, qube) == 0)
			return &table->lists[i];
	return NULL;
}

/* Its number in the list; list->n: it is not there. */
static unsigned int find_pattern(const struct list *list, const char *pattern)
{
	unsigned int i = 0;

	while (i < list->n && strcmp(list->patterns[i], pattern) != 0)
		i++;
	return i;
}

int denied_add(struct denied *table, const char *qube, const char *pattern)
{
	const struct list *found = find(table, qube);
	struct list *list;

	if (!text_is_qube_name(qube) || !denied_is_pattern(pattern))
		return DENIED_UNFIT;
	if (found && find_pattern(found, pattern) < found->n)
		return DENIED_UNCHANGED;
	if (found ? found->n == LIMIT_DENIED_PATTERNS : table->n == LIMIT_DENIED_QUBES)
		return DENIED_FULL;
	list = &table->lists[found ? (unsigned int)(found - table->lists) : table->n++];
	if (!found)
		memcpy(list->qube, qube, strlen(qube) + 1);
	memcpy(list->patterns[list->n++], pattern, DENIED_PATTERN + 1);
	return 0;
}

int denied_remove_all(struct denied *table, const char *qube)
{
	const struct list *found = find(table, qube);
	struct list *list;

	if (!found)
		return DENIED_UNCHANGED;
	list = &table->lists[found - table->lists];
	*list = table->lists[--table->n];
	table->lists[table->n] = (struct list){0};
	return 0;
}

int denied_remove(struct denied *table, const char *qube, const char *pattern)
{
	const struct list *found = find(table, qube);
	struct list *list;
	unsigned int i;

	if (!found)
		return DENIED_UNCHANGED;
	i = find_pattern(found, pattern);
	if (i == found->n)
		return DENIED_UNCHANGED;
	if (found->n == 1)
		return denied_remove_all(table, qube);
	list = &table->lists[found - table->lists];
	list->n--;
	memmove(list->patterns[i], list->patterns[i + 1], (list->n - i) * sizeof(list->patterns[0]));
	return 0;
}

const char *denied_next(const struct denied *table, const char *qube, unsigned int *cursor)
{
	const struct list *list = find(table, qube);

	return list && *cursor < list->n ? list->patterns[(*cursor)++] : NULL;
}

const char *denied_next_qube(const struct denied *table, unsigned int *cursor)
{
	return *cursor < table->n ? table->lists[(*cursor)++].qube : NULL;
}

static bool fits(const char *pattern, const char *code)
{
	for (unsigned int i = 0; i < DENIED_PATTERN; i++)
		if (pattern[i] != '*' && pattern[i] != code[i])
			return false;
	return true;
}

const char *denied_match(const struct denied *table, const char *qube, const struct core_device *device)
{
	const struct list *list = find(table, qube);

	for (unsigned int p = 0; list && p < list->n; p++) {
		if (device->n_interfaces == 0)
			return list->patterns[p];
		for (unsigned int i = 0; i < device->n_interfaces; i++) {
			char code[DENIED_PATTERN + 1];

			text_interface_code(wire_class_letter(device->class_id), device->interfaces[i], code);
			if (fits(list->patterns[p], code))
				return list->patterns[p];
		}
	}
	return NULL;
}
