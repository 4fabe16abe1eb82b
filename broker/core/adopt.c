// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * After a restart of the broker: sessions that its former life had on disk are proven, or stopped on both sides.
 *
 * Invariants:
 *   - only the word of the right life (domain id, UUID, start; for the source the agent's incarnation as well) counts,
 *     for a memory and against it; anything else that is reported is a stray of whoever says it;
 *   - a side is REPORTED only while the agent that said so is connected;
 *   - a memory that is given up stays, and holds its port, until its source's side is known: nothing that may still
 *     run unseen is forgotten. A reported stream becomes a stray in the same step, which holds all of that qube;
 *   - a memory whose device is listed is bound, and its source's side is REPORTED; from then on the state machine
 *     (ADOPTING) holds the device.
 */
#include "broker/core/internal.h"

#include <string.h>

#include "lib/base/base.h"

static void release(struct core *core, struct memory *memory)
{
	struct core_qube *source = inventory_qube(core, memory->source);

	memset(memory, 0, sizeof(*memory));
	core->n_memories--;
	if (source)
		auto_look_source(core, source); /* it held a port */
}

static void release_and_forget(struct core *core, struct memory *memory)
{
	struct core_action action = {.type = CORE_DO_FORGET, .session = memory->m.session};

	release(core, memory);
	core_emit(core, &action);
}

static struct memory *find(struct core *core, uint64_t session)
{
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++)
		if (core->memories[i].used && core->memories[i].m.session == session)
			return &core->memories[i];
	return NULL;
}

static void tell_not_adopted(struct core *core, const struct memory *memory, const struct core_device *device,
			     enum outcome outcome)
{
	struct core_action action = {.type = CORE_DO_NOT_ADOPTED,
				     .device = device,
				     .session = memory->m.session,
				     .target_name = memory->m.target.name,
				     .memory = &memory->m,
				     .outcome = outcome};

	core_emit(core, &action);
}

/* Gives up an unbound memory: what runs of it becomes a stray, what may run unseen keeps its port held. */
static void fail(struct core *core, struct memory *memory, enum outcome outcome)
{
	struct core_qube *source = inventory_qube(core, memory->source);
	struct core_qube *target = inventory_qube(core, memory->target);
	bool source_runs = memory->source_side == SIDE_REPORTED;

	if (!memory->failed)
		tell_not_adopted(core, memory, NULL, outcome);
	memory->failed = true;
	restore_supersede(core, &memory->m);
	if (memory->target_side == SIDE_REPORTED)
		(void)inventory_stop_stray(core, target, memory->m.session, false);
	memory->target_side = SIDE_CLOSED;
	if (source_runs) {
		memory->source_side = SIDE_CLOSED; /* no longer counted as reported: there is room for the stray */
		(void)inventory_stop_stray(core, source, memory->m.session, true);
	}
	if (!source || memory->source_side == SIDE_CLOSED)
		release_and_forget(core, memory);
}

int adopt_remember(struct core *core, const struct core_event *event)
{
	const struct core_memory *said = &event->memory;
	struct memory *memory = NULL;

	if (core->n_incarnations != 0 || said->session == 0 || find(core, said->session) ||
	    restore_keeps(core, said->session))
		return CORE_EVENT_IGNORED;
	if (said->session >> 32 == core->session_epoch && (uint32_t)said->session > core->n_sessions)
		core->n_sessions = (uint32_t)said->session; /* two lives drew the same epoch */
	if (said->asleep)
		return restore_remember(core, said);
	for (unsigned int i = 0; i < LIMIT_MEMORIES && !memory; i++)
		if (!core->memories[i].used)
			memory = &core->memories[i];
	if (!memory)
		return CORE_EVENT_FULL;
	*memory = (struct memory){.used = true, .m = *said, .deadline_usec = core->now_usec + TIMEOUT_ADOPT_USEC};
	core->n_memories++;
	return 0;
}

void adopt_qube_started(struct core *core, const struct core_qube *qube)
{
	struct input target_gone = {.type = IN_TARGET_CLOSED, .outcome = OUTCOME_QUBE_GONE};

	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++) {
		struct memory *memory = &core->memories[i];
		struct core_device *device = memory->used ? attachment_find(core, memory->m.session) : NULL;

		if (!memory->used)
			continue;
		if (inventory_is_life(&memory->m.source, qube))
			memory->source = qube->ref;
		if (inventory_is_life(&memory->m.target, qube)) {
			memory->target = qube->ref;
			if (device)
				device->target = qube->ref;
		}
		if (device && inventory_contradicts(&memory->m.target, qube)) /* a bound one's source is there */
			(void)attachment_handle(core, device, &target_gone);
		else if (!device && (inventory_contradicts(&memory->m.source, qube) ||
				     inventory_contradicts(&memory->m.target, qube)))
			fail(core, memory, OUTCOME_QUBE_GONE);
	}
}

void adopt_qube_gone(struct core *core, const struct core_qube *qube)
{
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++) {
		struct memory *memory = &core->memories[i];
		bool is_source = same_qube(memory->source, qube->ref);

		if (!memory->used || memory->bound || !(is_source || same_qube(memory->target, qube->ref)))
			continue;
		if (is_source)
			memory->source_side = SIDE_CLOSED;
		else
			memory->target_side = SIDE_CLOSED;
		fail(core, memory, OUTCOME_QUBE_GONE);
	}
}

void adopt_agent_lost(struct core *core, const struct core_qube *qube)
{
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++) {
		struct memory *memory = &core->memories[i];

		if (!memory->used || memory->bound)
			continue;
		if (same_qube(memory->source, qube->ref) && memory->source_side == SIDE_REPORTED)
			memory->source_side = SIDE_UNKNOWN;
		if (same_qube(memory->target, qube->ref) && memory->target_side == SIDE_REPORTED)
			memory->target_side = SIDE_UNKNOWN;
	}
}

unsigned int adopt_n_reported(const struct core *core, const struct core_qube *qube)
{
	unsigned int n = 0;

	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++)
		n += core->memories[i].used && !core->memories[i].bound &&
		     core->memories[i].source_side == SIDE_REPORTED && same_qube(core->memories[i].source, qube->ref);
	return n;
}

static int report_export(struct core *core, struct core_qube *qube, struct memory *memory,
			 const struct core_event *event)
{
	if (memory->bound || memory->source_side != SIDE_UNKNOWN)
		return CORE_EVENT_CHEATED; /* twice */
	if (memory->failed || qube->agent_incarnation != memory->m.agent_incarnation ||
	    event->agent_session.peer != memory->m.target.domid ||
	    memcmp(event->agent_session.digest, memory->m.device.digest, WIRE_DIGEST) != 0)
		return CORE_EVENT_IGNORED;
	if (qube->n_strays + adopt_n_reported(core, qube) >= LIMIT_DEVICES)
		return CORE_EVENT_CHEATED;
	memory->source_side = SIDE_REPORTED;
	memory->muted = event->agent_session.muted;
	return 0;
}

static int report_import(struct core *core, struct memory *memory, const struct core_event *event)
{
	struct core_device *device = memory->bound ? attachment_find(core, memory->m.session) : NULL;

	if (memory->target_side == SIDE_REPORTED)
		return CORE_EVENT_CHEATED;
	if (memory->failed || event->agent_session.peer != memory->m.source.domid ||
	    memcmp(event->agent_session.digest, memory->m.approved, WIRE_DIGEST) != 0)
		return CORE_EVENT_IGNORED;
	memory->target_side = SIDE_REPORTED;
	if (device) {
		device->target_reported = true;
		(void)attachment_handle(core, device, &(struct input){.type = IN_ADOPTED});
	}
	return 0;
}

int adopt_report(struct core *core, struct core_qube *qube, const struct core_event *event)
{
	struct memory *memory = find(core, event->agent_session.session);
	bool is_export = event->agent_session.side == WIRE_SIDE_EXPORT;

	if (!memory)
		return CORE_EVENT_IGNORED;
	if (is_export && same_qube(memory->source, qube->ref))
		return report_export(core, qube, memory, event);
	if (!is_export && same_qube(memory->target, qube->ref))
		return report_import(core, memory, event);
	return CORE_EVENT_IGNORED;
}

bool adopt_closed(struct core *core, struct core_qube *qube, uint64_t session)
{
	struct memory *memory = find(core, session);

	if (!memory || memory->bound)
		return false;
	if (same_qube(memory->source, qube->ref) && memory->source_side == SIDE_REPORTED)
		memory->source_side = SIDE_CLOSED;
	else if (same_qube(memory->target, qube->ref) && memory->target_side == SIDE_REPORTED)
		memory->target_side = SIDE_CLOSED;
	else
		return false;
	fail(core, memory, OUTCOME_NOT_PROVEN);
	return true;
}

/* The agent begins its first list: what it has not reported, or not rightly, is no stream of a memory. */
void adopt_synced(struct core *core, struct core_qube *qube)
{
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++) {
		struct memory *memory = &core->memories[i];
		bool is_source = same_qube(memory->source, qube->ref) && memory->source_side == SIDE_UNKNOWN;
		bool is_target = same_qube(memory->target, qube->ref) && memory->target_side == SIDE_UNKNOWN;

		if (!memory->used || memory->bound || !(is_source || is_target))
			continue;
		if (is_source)
			memory->source_side = SIDE_CLOSED;
		if (is_target)
			memory->target_side = SIDE_CLOSED;
		fail(core, memory, OUTCOME_NOT_PROVEN);
	}
}

/* All that is kept of a device on disk. Its texts are not, and a memory of a former version has no path. */
static bool is_remembered(const struct core_device *memory, const struct core_device *device)
{
	return inventory_same_identity(memory, device) &&
	       memcmp(memory->digest, device->digest, sizeof(memory->digest)) == 0 &&
	       strcmp(memory->port, device->port) == 0 && same_place(memory, device);
}

void adopt_listed(struct core *core, struct core_device *device)
{
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++) {
		struct memory *memory = &core->memories[i];

		if (!memory->used || memory->bound || memory->source_side != SIDE_REPORTED ||
		    !same_qube(memory->source, device->ref.qube) || memory->m.device.ref.slot != device->ref.slot ||
		    memory->m.device.ref.generation != device->ref.generation)
			continue;
		if (device->state != CORE_FREE || !is_remembered(&memory->m.device, device)) {
			fail(core, memory, OUTCOME_CHANGED);
			continue;
		}
		memory->bound = true;
		(void)restore_drop(core, device, NULL); /* made again already, when the broker was killed */
		(void)attachment_handle(core, device, &(struct input){.type = IN_ADOPT, .memory = memory});
		if (memory->target_side == SIDE_REPORTED)
			(void)attachment_handle(core, device, &(struct input){.type = IN_ADOPTED});
	}
}

/* What the source reported and has not listed until now has no device. */
void adopt_list_end(struct core *core, struct core_qube *qube)
{
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++) {
		struct memory *memory = &core->memories[i];

		if (memory->used && !memory->bound && same_qube(memory->source, qube->ref) &&
		    memory->source_side == SIDE_REPORTED)
			fail(core, memory, OUTCOME_NO_DEVICE);
	}
}

/* The state machine has the session from here on, and tells when it is to be forgotten. */
void adopt_left(struct core *core, struct core_device *device, enum core_state state)
{
	struct memory *memory = find(core, device->session);

	if (state != CORE_ATTACHED && device->reason != OUTCOME_DETACHED)
		tell_not_adopted(core, memory, device, device->reason);
	release(core, memory);
}

/* A part on disk does not say of what. */
static bool may_be_parts(const struct core_device *memory, const struct core_device *device)
{
	if (device->class_id == WIRE_CLASS_USB)
		return wire_may_be_part(memory->class_id);
	return memory->class_id == WIRE_CLASS_USB && strcmp(memory->port, device->parent) == 0;
}

bool adopt_blocks(const struct core *core, const struct core_device *device)
{
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++) {
		const struct memory *memory = &core->memories[i];

		if (memory->used && same_qube(memory->source, device->ref.qube) &&
		    memory->m.device.class_id == device->class_id &&
		    (same_place(&memory->m.device, device) || strcmp(memory->m.device.port, device->port) == 0))
			return true; /* by either: what may still run there is not known */
		if (memory->used && !memory->bound && same_qube(memory->source, device->ref.qube) &&
		    may_be_parts(&memory->m.device, device))
			return true; /* once it is bound parts.c knows */
	}
	return false;
}

void adopt_fail_all(struct core *core, enum outcome outcome)
{
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++)
		if (core->memories[i].used && !core->memories[i].bound && !core->memories[i].failed)
			fail(core, &core->memories[i], outcome);
}

void adopt_tick(struct core *core)
{
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++) {
		struct memory *memory = &core->memories[i];

		if (memory->used && !memory->bound && !memory->failed && memory->deadline_usec <= core->now_usec)
			fail(core, memory, OUTCOME_NOT_PROVEN);
	}
}
