/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See tree.h. A server may say any nonsense, as that two devices are each other's parents: then one has none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tree.h"

#define NONE SIZE_MAX

struct node {
	size_t parent, first_child, next;
};

static int compare_places(const void *a, const void *b)
{
	const struct device *one = *(const struct device *const *)a, *other = *(const struct device *const *)b;
	int r = strcmp(one->backend, other->backend);

	if (r == 0)
		r = strcmp(one->class, other->class);
	return r ? r : strcmp(one->port, other->port);
}

static bool has_parent(const struct device *device)
{
	return device->parent_port[0] != '\0';
}

/* `places` are all devices in the order of compare_places(). */
static size_t find_parent(const struct inventory *inventory, const struct device **places, const struct device *child)
{
	struct device wanted;
	const struct device *key = &wanted, **found;

	if (!has_parent(child))
		return NONE;
	(void)strcpy(wanted.backend, child->backend);
	(void)strcpy(wanted.class, child->parent_class);
	(void)strcpy(wanted.port, child->parent_port);
	found = bsearch(&key, places, inventory->n_devices, sizeof(*places), compare_places);
	return found && *found != child ? (size_t)(*found - inventory->devices) : NONE;
}

/* True: there is an end above. */
static bool is_rooted(const struct node *nodes, size_t i)
{
	for (unsigned int depth = 0; depth <= TREE_DEPTH_MAX; depth++) {
		if (nodes[i].parent == NONE)
			return true;
		i = nodes[i].parent;
	}
	return false;
}

static size_t copy_with_children(const struct device *from, const struct node *nodes, size_t i, unsigned int depth,
				 struct device *to, size_t n)
{
	to[n] = from[i];
	to[n++].depth = depth;
	for (size_t child = nodes[i].first_child; child != NONE; child = nodes[child].next)
		n = copy_with_children(from, nodes, child, depth + 1, to, n);
	return n;
}

/* The last first, so that the children of one parent are in the order in which they were. */
static void link_children(struct inventory *inventory, const struct device **places, struct node *nodes)
{
	for (size_t i = 0; i < inventory->n_devices; i++)
		places[i] = &inventory->devices[i];
	qsort(places, inventory->n_devices, sizeof(*places), compare_places);
	for (size_t i = 0; i < inventory->n_devices; i++)
		nodes[i] = (struct node){.parent = find_parent(inventory, places, &inventory->devices[i]),
					 .first_child = NONE,
					 .next = NONE};
	for (size_t i = 0; i < inventory->n_devices; i++)
		if (!is_rooted(nodes, i))
			nodes[i].parent = NONE;
	for (size_t i = inventory->n_devices; i-- > 0;) {
		struct node *parent = nodes[i].parent == NONE ? NULL : &nodes[nodes[i].parent];

		if (!parent)
			continue;
		nodes[i].next = parent->first_child;
		parent->first_child = i;
	}
}

static bool has_parts(const struct inventory *inventory)
{
	for (size_t i = 0; i < inventory->n_devices; i++)
		if (has_parent(&inventory->devices[i]))
			return true;
	return false;
}

int tree_arrange(struct inventory *inventory)
{
	_cleanup_free_ struct node *nodes = NULL;
	_cleanup_free_ const struct device **places = NULL;
	struct device *arranged;
	size_t n = 0;

	if (!has_parts(inventory))
		return 0;
	nodes = calloc(inventory->n_devices, sizeof(*nodes));
	places = calloc(inventory->n_devices, sizeof(*places));
	arranged = calloc(inventory->n_devices, sizeof(*arranged));
	if (!nodes || !places || !arranged) {
		free(arranged);
		return -ENOMEM;
	}
	link_children(inventory, places, nodes);
	for (size_t i = 0; i < inventory->n_devices; i++)
		if (nodes[i].parent == NONE)
			n = copy_with_children(inventory->devices, nodes, i, 0, arranged, n);
	free(inventory->devices);
	inventory->devices = arranged;
	inventory->max_devices = inventory->n_devices;
	return 0;
}
