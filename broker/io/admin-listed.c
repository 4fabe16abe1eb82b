/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See admin-listed.h. Two sorted lists, what was and what is, are walked side by side. */
#include <string.h>

#include "broker/io/admin-job.h"
#include "broker/io/admin-listed.h"

#define LISTED_MAX (LIMIT_QUBES + ADMIN_HALTED_MAX)

struct listed_qube {
	char name[LIMIT_QUBE_NAME + 1];
	bool running;
	struct core_qube_ref ref; /* of its life, while it runs */
};

struct admin_listed {
	size_t n;
	struct listed_qube qubes[LISTED_MAX];
	struct listed_qube now[LISTED_MAX]; /* while they are compared */
};

struct admin_listed *admin_listed_new(void)
{
	return calloc(1, sizeof(struct admin_listed));
}

struct admin_listed *admin_listed_free(struct admin_listed *listed)
{
	free(listed);
	return NULL;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct listed_qube *)a)->name, ((const struct listed_qube *)b)->name);
}

static size_t look(const struct core *core, struct listed_qube ret_qubes[LISTED_MAX])
{
	char halted[ADMIN_HALTED_MAX][LIMIT_QUBE_NAME + 1];
	size_t n_halted = admin_find_halted(core, halted), n = 0;
	const struct core_qube *qube;
	unsigned int cursor = 0;

	while ((qube = core_next_qube(core, &cursor))) {
		if (qube->domid == 0 || !admin_shown_name(core, qube))
			continue;
		ret_qubes[n] = (struct listed_qube){.running = true, .ref = qube->ref};
		(void)strcpy(ret_qubes[n++].name, qube->name);
	}
	for (size_t i = 0; i < n_halted; i++) {
		ret_qubes[n] = (struct listed_qube){.running = false};
		(void)strcpy(ret_qubes[n++].name, halted[i]);
	}
	qsort(ret_qubes, n, sizeof(ret_qubes[0]), compare_names);
	return n;
}

/* A qube that started anew has another life: it ended and it began. */
static bool is_same_life(const struct listed_qube *a, const struct listed_qube *b)
{
	return a->running && b->running && a->ref.index == b->ref.index && a->ref.incarnation == b->ref.incarnation;
}

/* NULL: it is not in that list. */
static void tell_difference(const struct listed_qube *before, const struct listed_qube *now,
			    const struct admin_teller *teller)
{
	static const char *const no_fields[] = {NULL};
	const char *name = before ? before->name : now->name;
	const char *const vm[] = {"vm", name, NULL};
	bool same = before && now && is_same_life(before, now);

	if (before && before->running && !same)
		teller->tell(teller->userdata, false, name, "domain-shutdown", no_fields);
	if (!now)
		teller->tell(teller->userdata, false, "", "domain-delete", vm);
	if (!before)
		teller->tell(teller->userdata, false, "", "domain-add", vm);
	if (now && now->running && !same)
		teller->tell(teller->userdata, false, name, "domain-start", no_fields);
}

void admin_listed_update(struct admin_listed *listed, const struct core *core, const struct admin_teller *teller)
{
	size_t n = look(core, listed->now), i = 0, j = 0;

	while (i < listed->n || j < n) {
		int order = i == listed->n ? 1 : j == n ? -1 : compare_names(&listed->qubes[i], &listed->now[j]);

		tell_difference(order <= 0 ? &listed->qubes[i] : NULL, order >= 0 ? &listed->now[j] : NULL, teller);
		i += order <= 0;
		j += order >= 0;
	}
	memcpy(listed->qubes, listed->now, n * sizeof(listed->now[0]));
	listed->n = n;
}
