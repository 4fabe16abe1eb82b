// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Qubes and their devices: who is there, and what each agent says that it has.
 *
 * Invariants: a {slot, generation} of one agent's life names one device for ever; a device that was unplugged keeps
 * its record (present = false) until its attachment is FREE; at most one present device per slot, and per port. What
 * happens here is told to whoever has plans with it: questions, claims, memories, assignments.
 */
#include "broker/core/internal.h"

#include <string.h>

#include "lib/base/base.h"

struct core_qube *inventory_qube(struct core *core, struct core_qube_ref ref)
{
	struct core_qube *qube;

	if (ref.index >= LIMIT_QUBES)
		return NULL;
	qube = &core->qubes[ref.index];
	return qube->used && same_qube(qube->ref, ref) ? qube : NULL;
}

struct core_device *inventory_record_by_ref(struct core *core, struct core_device_ref ref)
{
	struct core_qube *qube = inventory_qube(core, ref.qube);

	for (unsigned int i = 0; qube && i < LIMIT_DEVICES; i++)
		if (qube->devices[i].used && same_device(qube->devices[i].ref, ref))
			return &qube->devices[i];
	return NULL;
}

struct core_device *inventory_device_by_ref(struct core *core, struct core_device_ref ref)
{
	struct core_device *device = inventory_record_by_ref(core, ref);

	return device && device->present ? device : NULL;
}

static void emit_device(struct core *core, enum core_action_type type, const struct core_device *device)
{
	struct core_action action = {.type = type, .device = device, .qube = device->ref.qube};

	core_emit(core, &action);
}

/*
 * The device is there no longer; its record stays until its attachment is proven gone. `unplugged`: and not only
 * numbered anew by a new agent, or gone with its qube.
 */
static void remove_device(struct core *core, struct core_device *device, bool unplugged)
{
	emit_device(core, CORE_DO_DEVICE_REMOVED, device);
	device->present = false;
	question_void(core, device);
	restore_device_gone(core, device, unplugged);
	if (device->state == CORE_FREE)
		device->used = false;
	else
		(void)attachment_handle(core, device,
					&(struct input){.type = IN_UNPLUGGED, .outcome = OUTCOME_UNPLUGGED});
}

static void remove_devices(struct core *core, struct core_qube *qube)
{
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++)
		if (qube->devices[i].used && qube->devices[i].present)
			remove_device(core, &qube->devices[i], false);
}

/* To each attachment of which `qube` is one side: from the source's side `source`, from the target's `target`. */
static void for_sides(struct core *core, const struct core_qube *qube, enum input_type source, enum input_type target,
		      enum outcome outcome)
{
	for (unsigned int i = core->n_active; i-- > 0;) {
		struct core_device *device = core->active[i];

		if (same_qube(device->ref.qube, qube->ref))
			(void)attachment_handle(core, device, &(struct input){.type = source, .outcome = outcome});
		else if (same_qube(device->target, qube->ref))
			(void)attachment_handle(core, device, &(struct input){.type = target, .outcome = outcome});
	}
}

bool inventory_is_life(const struct core_life *life, const struct core_qube *qube)
{
	return life->domid == qube->domid && memcmp(life->uuid, qube->uuid, sizeof(life->uuid)) == 0 &&
	       strcmp(life->start, qube->start) == 0;
}

bool inventory_contradicts(const struct core_life *life, const struct core_qube *qube)
{
	return life->domid == qube->domid && !inventory_is_life(life, qube);
}

int inventory_qube_gone(struct core *core, struct core_qube *qube, const struct core_event *event _unused_)
{
	qube->agent = false;
	for_sides(core, qube, IN_SOURCE_GONE, IN_TARGET_CLOSED, OUTCOME_QUBE_GONE);
	remove_devices(core, qube);
	adopt_qube_gone(core, qube);
	question_qube_gone(core, qube);
	restore_qube_gone(core, qube);
	memset(qube, 0, sizeof(*qube));
	return 0;
}

int inventory_qube_started(struct core *core, const struct core_event *event, struct core_qube_ref *ret_qube)
{
	struct core_qube *free_slot = NULL;

	for (unsigned int i = 0; i < LIMIT_QUBES; i++) {
		struct core_qube *qube = &core->qubes[i];

		if (qube->used && qube->domid == event->qube_started.domid)
			(void)inventory_qube_gone(core, qube, event);
		if (!qube->used && !free_slot)
			free_slot = qube;
	}
	if (!free_slot)
		return CORE_EVENT_FULL;
	free_slot->used = true;
	free_slot->ref.index = (uint16_t)(free_slot - core->qubes);
	free_slot->ref.incarnation = ++core->n_incarnations;
	free_slot->domid = event->qube_started.domid;
	memcpy(free_slot->uuid, event->qube_started.uuid, sizeof(free_slot->uuid));
	memcpy(free_slot->name, event->qube_started.name, sizeof(free_slot->name));
	free_slot->name[LIMIT_QUBE_NAME] = '\0';
	memcpy(free_slot->start, event->qube_started.start, sizeof(free_slot->start));
	free_slot->start[LIMIT_START_TEXT - 1] = '\0';
	core->fresh[free_slot->ref.index] = true;
	adopt_qube_started(core, free_slot);
	restore_qube_started(core, free_slot);
	if (ret_qube)
		*ret_qube = free_slot->ref;
	return 0;
}

int inventory_agent_lost(struct core *core, struct core_qube *qube, const struct core_event *event _unused_)
{
	if (!qube->agent)
		return CORE_EVENT_IGNORED;
	qube->agent = qube->synced = qube->listing = false;
	qube->roles = 0;
	qube->n_strays = 0; /* whoever connects next reports them again */
	for_sides(core, qube, IN_SOURCE_LOST, IN_TARGET_LOST, OUTCOME_PEER_LOST);
	adopt_agent_lost(core, qube);
	question_source_lost(core, qube);
	return 0;
}

int inventory_agent_ready(struct core *core, struct core_qube *qube, const struct core_event *event)
{
	(void)inventory_agent_lost(core, qube, event);
	if (qube->agent_life == 0 || qube->agent_incarnation != event->agent_ready.incarnation) {
		qube->agent_life++;
		qube->agent_incarnation = event->agent_ready.incarnation;
		remove_devices(core, qube);
	}
	qube->agent = true;
	qube->roles = event->agent_ready.roles;
	for (unsigned int i = 0; i < core->n_active; i++) {
		if (same_qube(core->active[i]->ref.qube, qube->ref))
			core->active[i]->source_reported = false;
		if (same_qube(core->active[i]->target, qube->ref))
			core->active[i]->target_reported = false;
	}
	return 0;
}

/* Stops a stream that nothing explains. Until an export says that it has stopped, it holds all devices of its qube. */
int inventory_stop_stray(struct core *core, struct core_qube *qube, uint64_t session, bool is_export)
{
	struct core_action action = {.type = CORE_DO_STOP_STRAY, .qube = qube->ref, .session = session};

	if (is_export) {
		for (unsigned int i = 0; i < qube->n_strays; i++)
			if (qube->strays[i] == session)
				return CORE_EVENT_CHEATED;
		if (qube->n_strays + adopt_n_reported(core, qube) >= ARRAY_SIZE(qube->strays))
			return CORE_EVENT_CHEATED;
		qube->strays[qube->n_strays++] = session;
	}
	core_emit(core, &action);
	return 0;
}

bool inventory_stray_closed(struct core *core, struct core_qube *qube, uint64_t session)
{
	for (unsigned int i = 0; i < qube->n_strays; i++)
		if (qube->strays[i] == session) {
			qube->strays[i] = qube->strays[--qube->n_strays];
			if (qube->n_strays == 0)
				auto_look_source(core, qube);
			return true;
		}
	return false;
}

int inventory_agent_session(struct core *core, struct core_qube *qube, const struct core_event *event)
{
	uint64_t session = event->agent_session.session;
	bool is_export = event->agent_session.side == WIRE_SIDE_EXPORT;
	struct core_device *device = attachment_find(core, session);
	int r;

	if (!qube->agent || qube->synced)
		return CORE_EVENT_IGNORED;
	r = adopt_report(core, qube, event);
	if (r != CORE_EVENT_IGNORED)
		return r;
	if (device && device->state == CORE_ADOPTING)
		device = NULL; /* what is said of it and is not right is no word about it */
	if (device && is_export && same_qube(device->ref.qube, qube->ref) && device->source_open &&
	    device->ref.agent_life == qube->agent_life) {
		device->source_reported = true;
		return attachment_handle(core, device, &(struct input){.type = IN_SOURCE_STILL});
	}
	if (device && !is_export && same_qube(device->target, qube->ref) && device->target_open) {
		device->target_reported = true;
		return attachment_handle(core, device, &(struct input){.type = IN_TARGET_STILL});
	}
	r = inventory_stop_stray(core, qube, session, is_export);
	if (r == 0 && device && is_export && same_qube(device->ref.qube, qube->ref) && device->source_open)
		device->source_reported = true; /* of a former agent: held twice, by its state and as a stray */
	return r;
}

/* The agent's first list: what it has not reported until now does not run. */
static void prove_unreported(struct core *core, const struct core_qube *qube)
{
	struct input source = {.type = IN_SOURCE_CLOSED, .outcome = OUTCOME_CRASHED};
	struct input target = {.type = IN_TARGET_CLOSED, .outcome = OUTCOME_CRASHED};

	for (unsigned int i = core->n_active; i-- > 0;) {
		struct core_device *device = core->active[i];

		if (same_qube(device->ref.qube, qube->ref) && device->source_open && !device->source_reported)
			(void)attachment_handle(core, device, &source);
		else if (same_qube(device->target, qube->ref) && device->target_open && !device->target_reported)
			(void)attachment_handle(core, device, &target);
	}
}

int inventory_list_begin(struct core *core, struct core_qube *qube, const struct core_event *event _unused_)
{
	if (qube->agent && !qube->synced) {
		qube->synced = true;
		prove_unreported(core, qube);
		adopt_synced(core, qube);
		auto_synced(core, qube);
	}
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++)
		qube->devices[i].listed = false;
	qube->listing = true;
	return 0;
}

bool inventory_same_identity(const struct core_device *a, const struct core_device *b)
{
	return a->class_id == b->class_id && a->speed == b->speed && a->vendor == b->vendor &&
	       a->product == b->product && a->n_interfaces == b->n_interfaces &&
	       memcmp(a->interfaces, b->interfaces, sizeof(a->interfaces)) == 0 && strcmp(a->serial, b->serial) == 0;
}

bool inventory_same_description(const struct core_device *a, const struct core_device *b)
{
	return inventory_same_identity(a, b) && memcmp(a->digest, b->digest, sizeof(a->digest)) == 0 &&
	       strcmp(a->port, b->port) == 0 && strcmp(a->path, b->path) == 0 && strcmp(a->parent, b->parent) == 0 &&
	       strcmp(a->manufacturer, b->manufacturer) == 0 && strcmp(a->product_name, b->product_name) == 0;
}

/* What another device's arrival proves: the former one of that slot or port has gone. */
static bool displaced_by(const struct core_device *old, const struct core_device *device)
{
	return old->used && old->present &&
	       (old->ref.slot == device->ref.slot ||
		(old->class_id == device->class_id && strcmp(old->port, device->port) == 0));
}

static void reset_plan(struct core *core, const struct core_device *device)
{
	struct plan *plan = plan_of(core, device);

	*plan = (struct plan){.queued = plan->queued, .waits = plan->waits};
}

int inventory_device(struct core *core, struct core_qube *qube, const struct core_event *event)
{
	const struct core_device *said = &event->device;
	struct core_device *record = NULL;
	unsigned int n_kept = 0;

	if (said->ref.slot >= LIMIT_DEVICES || said->n_interfaces > LIMIT_INTERFACES)
		return CORE_EVENT_CHEATED;
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
		struct core_device *old = &qube->devices[i];

		if (!old->used || old->ref.agent_life != qube->agent_life || old->ref.slot != said->ref.slot ||
		    old->ref.generation != said->ref.generation)
			continue;
		if (!old->present || !inventory_same_description(old, said))
			return CORE_EVENT_CHEATED;
		old->listed = true;
		return 0;
	}
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++)
		n_kept += qube->devices[i].used &&
			  (!displaced_by(&qube->devices[i], said) || qube->devices[i].state != CORE_FREE);
	if (n_kept == LIMIT_DEVICES)
		return CORE_EVENT_FULL;
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++)
		if (displaced_by(&qube->devices[i], said))
			remove_device(core, &qube->devices[i], true);
	for (unsigned int i = 0; i < LIMIT_DEVICES && !record; i++)
		if (!qube->devices[i].used)
			record = &qube->devices[i];

	memset(record, 0, sizeof(*record));
	record->ref.qube = qube->ref;
	reset_plan(core, record);
	record->used = record->present = record->listed = true;
	record->ref = (struct core_device_ref){.qube = qube->ref,
					       .agent_life = qube->agent_life,
					       .slot = said->ref.slot,
					       .generation = said->ref.generation};
	record->class_id = said->class_id;
	record->speed = said->speed;
	record->vendor = said->vendor;
	record->product = said->product;
	record->n_interfaces = said->n_interfaces;
	memcpy(record->interfaces, said->interfaces, sizeof(record->interfaces));
	memcpy(record->digest, said->digest, sizeof(record->digest));
	memcpy(record->port, said->port, sizeof(record->port));
	memcpy(record->path, said->path, sizeof(record->path));
	memcpy(record->parent, said->parent, sizeof(record->parent));
	memcpy(record->serial, said->serial, sizeof(record->serial));
	memcpy(record->manufacturer, said->manufacturer, sizeof(record->manufacturer));
	memcpy(record->product_name, said->product_name, sizeof(record->product_name));
	emit_device(core, CORE_DO_DEVICE_ADDED, record);
	adopt_listed(core, record);
	auto_cause(core, record);
	places_look(core, qube);
	return 0;
}

int inventory_device_gone(struct core *core, struct core_qube *qube, const struct core_event *event)
{
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
		struct core_device *device = &qube->devices[i];

		if (device->used && device->present && device->ref.agent_life == qube->agent_life &&
		    device->ref.slot == event->gone.slot && device->ref.generation == event->gone.generation) {
			remove_device(core, device, true);
			return 0;
		}
	}
	return CORE_EVENT_IGNORED;
}

int inventory_list_end(struct core *core, struct core_qube *qube, const struct core_event *event _unused_)
{
	if (!qube->listing)
		return CORE_EVENT_IGNORED;
	qube->listing = false;
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++)
		if (qube->devices[i].used && qube->devices[i].present && !qube->devices[i].listed)
			remove_device(core, &qube->devices[i], true);
	adopt_list_end(core, qube);
	places_look(core, qube);
	return 0;
}
