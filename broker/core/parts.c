// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A USB device and what is offered of it by itself, as a headset's microphone. Whoever has the whole has its parts, so
 * both are never passed on at once: the second one is refused, or the parts are ended first, as the policy says.
 *
 * Invariants: nothing is reserved while its whole, or a part of it, is not FREE, but for a whole whose parts may be ended;
 * that one becomes EXPORTING only when the source has none of them open any more (`is_held()`), and no part can be
 * reserved meanwhile, as its whole is not FREE. Records of what was unplugged count until their streams are proven gone.
 */
#include "broker/core/internal.h"

#include <string.h>

/* In one qube. */
static bool is_part(const struct core_device *device, const struct core_device *whole)
{
	return device->parent[0] && whole->class_id == WIRE_CLASS_USB && strcmp(device->parent, whole->port) == 0;
}

/* May its source have it open, now or later? What waits for its target's word only is closed there. */
static bool is_held(const struct core_device *device)
{
	return device->used && device->state != CORE_FREE && (device->state != CORE_DETACHING || device->source_open);
}

/* Walks from *cursor = 0 over what is a part of `device`, or that of which it is one. NULL at the end. */
static struct core_device *next_relative(struct core *core, const struct core_device *device, unsigned int *cursor)
{
	struct core_qube *qube = inventory_qube(core, device->ref.qube);

	while (qube && *cursor < LIMIT_DEVICES) {
		struct core_device *other = &qube->devices[(*cursor)++];

		if (other->used && (is_part(other, device) || is_part(device, other)))
			return other;
	}
	return NULL;
}

bool parts_are_held(struct core *core, const struct core_device *whole)
{
	unsigned int cursor = 0;

	for (const struct core_device *other = NULL; (other = next_relative(core, whole, &cursor));)
		if (is_part(other, whole) && is_held(other))
			return true;
	return false;
}

/* A qube's wish takes nothing from another one, as its user may. A LOCKED one cannot be ended. */
static bool may_end(const struct wish *wish, const struct core_device *part)
{
	return wish->terms.end_parts && part->state != CORE_LOCKED &&
	       (!question_asker(&wish->terms) || same_qube(part->target, wish->target->ref));
}

enum core_answer parts_judge(struct core *core, struct wish *wish)
{
	unsigned int cursor = 0;

	for (const struct core_device *other = NULL; (other = next_relative(core, wish->device, &cursor));) {
		bool is_whole = is_part(wish->device, other);

		if (other->state == CORE_FREE)
			continue;
		if (other->state == CORE_ADOPTING)
			return CORE_ANSWER_ADOPTING;
		if (!is_whole && may_end(wish, other))
			continue;
		wish->other = other;
		return is_whole ? CORE_ANSWER_WHOLE_IN_USE : CORE_ANSWER_PART_IN_USE;
	}
	return CORE_ANSWER_DONE;
}

void parts_freed(struct core *core, const struct core_device *device)
{
	unsigned int cursor = 0;

	for (struct core_device *other = NULL; (other = next_relative(core, device, &cursor));)
		if (other->present && other->state == CORE_FREE)
			auto_look(core, other);
}

/* Ends what is not ending yet. A part that was adopted meanwhile is nobody's to end but the policy's. */
static void clear(struct core *core, struct core_device *whole)
{
	struct input end = {.type = IN_STOP, .outcome = OUTCOME_WHOLE_ATTACHED};
	struct input fail = {.type = IN_STOP, .outcome = OUTCOME_PART_HELD};
	struct input go_on = {.type = IN_CLEARED};
	unsigned int cursor = 0;
	bool locked = false;

	for (struct core_device *other = NULL; (other = next_relative(core, whole, &cursor));) {
		if (!is_part(other, whole) || !is_held(other))
			continue;
		if (whole->terms.end_parts)
			(void)attachment_handle(core, other, &end);
		locked = locked || other->state == CORE_LOCKED || !whole->terms.end_parts;
	}
	if (locked)
		(void)attachment_handle(core, whole, &fail);
	else if (!parts_are_held(core, whole))
		(void)attachment_handle(core, whole, &go_on);
}

void parts_run(struct core *core)
{
	for (unsigned int i = core->n_active; core->n_clearing > 0 && i-- > 0;)
		if (i < core->n_active && core->active[i]->state == CORE_CLEARING) /* several may have left */
			clear(core, core->active[i]);
}
