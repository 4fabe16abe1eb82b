// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The core's front: events come in here, are checked against who is there, and go to the inventory or to one
 * attachment; and the reading side. The state machine itself is in attachment.c.
 */
#include "broker/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/internal.h"
#include "broker/core/labels.h"
#include "lib/base/base.h"
#include "lib/base/text.h"

struct core *core_new(uint64_t session_epoch, const struct core_hooks *hooks, void *userdata)
{
	struct core *core = calloc(1, sizeof(*core));

	if (!core)
		return NULL;
	core->session_epoch = session_epoch & UINT32_MAX;
	core->hooks = *hooks;
	core->userdata = userdata;
	core->assignments = assignments_new();
	core->denied = denied_new();
	core->labels = labels_new();
	return core->assignments && core->denied && core->labels ? core : core_free(core);
}

struct core *core_free(struct core *core)
{
	if (!core)
		return NULL;
	assignments_free(core->assignments);
	denied_free(core->denied);
	labels_free(core->labels);
	free(core);
	return NULL;
}

static int handle_audit(struct core *core, const struct core_event *event)
{
	struct core_device *device = attachment_find(core, event->session.session);
	bool done = event->type == CORE_AUDITED;
	struct input input = {.type = done ? IN_AUDITED : IN_AUDIT_FAILED, .outcome = OUTCOME_AUDIT_FAILED};

	return device ? attachment_handle(core, device, &input) : CORE_EVENT_IGNORED;
}

/* EXPORTED and IMPORTED: only from the side that was asked. */
static int handle_progress(struct core *core, struct core_qube *qube, const struct core_event *event)
{
	struct core_device *device = attachment_find(core, event->session.session);
	bool exported = event->type == CORE_EXPORTED;
	struct input input = {.type = exported ? IN_EXPORTED : IN_IMPORTED};

	if (!device || !same_qube(exported ? device->ref.qube : device->target, qube->ref))
		return CORE_EVENT_IGNORED;
	return attachment_handle(core, device, &input);
}

/* STOPPED, FAILED, ENDED: this qube's side has nothing of the session left. */
static int handle_closed(struct core *core, struct core_qube *qube, const struct core_event *event)
{
	uint64_t session = event->session.session;
	bool stray = inventory_stray_closed(core, qube, session);
	struct core_device *device = attachment_find(core, session);
	struct input input = {.outcome = event->session.outcome};

	if (event->type == CORE_STOPPED)
		input.outcome = OUTCOME_STOPPED;
	if (device && device->source_open && same_qube(device->ref.qube, qube->ref))
		input.type = IN_SOURCE_CLOSED;
	else if (device && device->target_open && same_qube(device->target, qube->ref))
		input.type = IN_TARGET_CLOSED;
	else
		return stray || adopt_closed(core, qube, session) ? 0 : CORE_EVENT_IGNORED;
	return attachment_handle(core, device, &input);
}

bool core_is_used(const struct core_device *device)
{
	return device->source_stream.at_usec ? device->source_stream.in_use : device->target_stream.in_use;
}

/* One that says less than before contradicts itself, and changes nothing. */
static int handle_stream(struct core *core, struct core_qube *qube, const struct core_event *event)
{
	struct core_device *device = attachment_find(core, event->stream.session);
	bool is_source = event->stream.side == WIRE_SIDE_EXPORT;
	struct core_stream *stream;
	bool was_used;

	if (!device || (device->state != CORE_ATTACHED && device->state != CORE_ADOPTING) ||
	    !same_qube(is_source ? device->ref.qube : device->target, qube->ref))
		return CORE_EVENT_IGNORED;
	stream = is_source ? &device->source_stream : &device->target_stream;
	if (event->stream.bytes_to_target < stream->bytes_to_target ||
	    event->stream.bytes_from_target < stream->bytes_from_target)
		return CORE_EVENT_IGNORED;
	was_used = core_is_used(device);
	*stream = (struct core_stream){.at_usec = event->now_usec,
				       .in_use = event->stream.in_use,
				       .bytes_to_target = event->stream.bytes_to_target,
				       .bytes_from_target = event->stream.bytes_from_target};
	if (was_used != core_is_used(device) && wire_tells_use(device->class_id))
		core_emit(core, &(struct core_action){.type = CORE_DO_USE,
						      .device = device,
						      .session = device->session,
						      .state = device->state});
	return 0;
}

static int handle_tick(struct core *core, const struct core_event *event)
{
	static const enum outcome outcomes[CORE_STATE_COUNT] = {
		[CORE_AUDITING] = OUTCOME_AUDIT_FAILED, [CORE_EXPORTING] = OUTCOME_TIMED_OUT,
		[CORE_IMPORTING] = OUTCOME_TIMED_OUT,   [CORE_ATTACHED] = OUTCOME_TIME_LIMIT,
		[CORE_CLEARING] = OUTCOME_PART_HELD,    [CORE_DETACHING] = OUTCOME_TIMED_OUT,
		[CORE_ADOPTING] = OUTCOME_NOT_PROVEN,
	};

	for (unsigned int i = core->n_active; i-- > 0;) {
		struct core_device *device = core->active[i];
		struct input input = {.type = IN_TIMEOUT, .outcome = outcomes[device->state]};

		mute_tick(core, device);
		if (device->deadline_usec != 0 && device->deadline_usec <= event->now_usec)
			(void)attachment_handle(core, device, &input);
	}
	adopt_tick(core);
	question_tick(core);
	return 0;
}

/* Attachments that run go on: what the policy says holds when one begins. */
static int handle_policy(struct core *core, const struct core_event *event _unused_)
{
	question_review(core);
	auto_cause_all(core);
	return 0;
}

static int handle_label(struct core *core, const struct core_event *event)
{
	int r = labels_set(core->labels, event->label.key, event->label.text);

	return r == LABELS_FULL ? CORE_EVENT_FULL : r ? CORE_EVENT_IGNORED : 0;
}

/* Each event goes to one of the two; those with `of_qube` concern a living qube, else they are stale. */
static const struct {
	int (*handle)(struct core *core, const struct core_event *event);
	int (*of_qube)(struct core *core, struct core_qube *qube, const struct core_event *event);
} events[CORE_EVENT_COUNT] = {
	[CORE_QUBE_GONE] = {.of_qube = inventory_qube_gone},
	[CORE_AGENT_READY] = {.of_qube = inventory_agent_ready},
	[CORE_AGENT_SESSION] = {.of_qube = inventory_agent_session},
	[CORE_AGENT_LOST] = {.of_qube = inventory_agent_lost},
	[CORE_LIST_BEGIN] = {.of_qube = inventory_list_begin},
	[CORE_DEVICE] = {.of_qube = inventory_device},
	[CORE_DEVICE_GONE] = {.of_qube = inventory_device_gone},
	[CORE_LIST_END] = {.of_qube = inventory_list_end},
	[CORE_EXPORTED] = {.of_qube = handle_progress},
	[CORE_IMPORTED] = {.of_qube = handle_progress},
	[CORE_STOPPED] = {.of_qube = handle_closed},
	[CORE_FAILED] = {.of_qube = handle_closed},
	[CORE_ENDED] = {.of_qube = handle_closed},
	[CORE_STREAM] = {.of_qube = handle_stream},
	[CORE_MUTED] = {.of_qube = mute_answered},
	[CORE_MUTE] = {.handle = mute_request},
	[CORE_UNMUTE] = {.handle = mute_request},
	[CORE_AUDITED] = {.handle = handle_audit},
	[CORE_AUDIT_FAILED] = {.handle = handle_audit},
	[CORE_ATTACH] = {.handle = request_attach},
	[CORE_DETACH] = {.handle = request_detach},
	[CORE_MOVE] = {.handle = move_request},
	[CORE_ANSWERED] = {.handle = question_answered},
	[CORE_ANSWERERS] = {.handle = question_answerers},
	[CORE_ASSIGNED] = {.handle = auto_assigned},
	[CORE_UNASSIGNED] = {.handle = auto_unassigned},
	[CORE_ASSIGN_MODE] = {.handle = auto_mode},
	[CORE_DENIED] = {.handle = auto_denied},
	[CORE_LABELED] = {.handle = handle_label},
	[CORE_POLICY_CHANGED] = {.handle = handle_policy},
	[CORE_SUSPEND] = {.handle = restore_suspend},
	[CORE_RESUMED] = {.handle = restore_resumed},
	[CORE_REMEMBER] = {.handle = adopt_remember},
	[CORE_TICK] = {.handle = handle_tick},
};

static int dispatch(struct core *core, const struct core_event *event, struct core_qube_ref *ret_qube)
{
	struct core_qube *qube;

	if (event->type == CORE_QUBE_STARTED)
		return inventory_qube_started(core, event, ret_qube);
	if (events[event->type].handle)
		return events[event->type].handle(core, event);
	qube = inventory_qube(core, event->qube);
	return qube ? events[event->type].of_qube(core, qube, event) : CORE_EVENT_IGNORED;
}

/* What follows from the event; the order matters, see internal.h. */
static void run_plans(struct core *core)
{
	parts_run(core);
	move_run(core);
	restore_run(core);
	auto_run(core);
	question_run(core);
	restore_sleep_run(core);
	places_run(core);
}

int core_handle(struct core *core, const struct core_event *event, struct core_qube_ref *ret_qube)
{
	int r;

	core->now_usec = event->now_usec;
	r = dispatch(core, event, ret_qube);
	if (r != CORE_EVENT_IGNORED)
		run_plans(core);
	return r;
}

static uint64_t retry_of(const struct core *core, const struct core_device *device)
{
	return core->plans[device->ref.qube.index][device - core->qubes[device->ref.qube.index].devices].retry_usec;
}

static void sooner(uint64_t *next, uint64_t deadline_usec)
{
	if (deadline_usec != 0 && deadline_usec < *next)
		*next = deadline_usec;
}

uint64_t core_next_deadline(const struct core *core)
{
	uint64_t next = UINT64_MAX;

	for (unsigned int i = 0; i < core->n_active; i++) {
		sooner(&next, core->active[i]->deadline_usec);
		sooner(&next, core->active[i]->mute.deadline_usec);
	}
	for (unsigned int i = 0; core->n_questions > 0 && i < LIMIT_QUESTIONS; i++)
		sooner(&next, core->questions[i].q.deadline_usec);
	for (unsigned int i = 0; core->n_memories > 0 && i < LIMIT_MEMORIES; i++)
		if (!core->memories[i].bound && !core->memories[i].failed)
			sooner(&next, core->memories[i].deadline_usec);
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++)
		if (!core->restores[i].trying && core->restores[i].r.deadline_usec != 0) {
			sooner(&next, core->restores[i].r.deadline_usec);
			sooner(&next, core->restores[i].r.retry_usec);
		}
	sooner(&next, places_deadline(core));
	for (unsigned int i = 0; i < core->n_queued; i++)
		if (core->queue[i]->used && core->queue[i]->present)
			sooner(&next, retry_of(core, core->queue[i]));
	return next;
}

const struct core_qube *core_find_qube(const struct core *core, struct core_qube_ref ref)
{
	const struct core_qube *qube = ref.index < LIMIT_QUBES ? &core->qubes[ref.index] : NULL;

	return qube && qube->used && same_qube(qube->ref, ref) ? qube : NULL;
}

/* While a qube restarts two may have one name: the younger one is meant. */
const struct core_qube *core_find_qube_by_name(const struct core *core, const char *name)
{
	const struct core_qube *found = NULL;

	for (unsigned int i = 0; i < LIMIT_QUBES; i++) {
		const struct core_qube *qube = &core->qubes[i];

		if (qube->used && strcmp(qube->name, name) == 0 &&
		    (!found || qube->ref.incarnation > found->ref.incarnation))
			found = qube;
	}
	return found;
}

const struct core_qube *core_find_qube_by_domid(const struct core *core, uint16_t domid)
{
	for (unsigned int i = 0; i < LIMIT_QUBES; i++)
		if (core->qubes[i].used && core->qubes[i].domid == domid)
			return &core->qubes[i];
	return NULL;
}

const struct core_device *core_find_device(const struct core *core, struct core_device_ref ref)
{
	const struct core_qube *qube = core_find_qube(core, ref.qube);
	unsigned int cursor = 0;

	for (const struct core_device *d = NULL; qube && (d = core_next_device(qube, &cursor));)
		if (d->ref.agent_life == ref.agent_life && d->ref.slot == ref.slot &&
		    d->ref.generation == ref.generation)
			return d;
	return NULL;
}

const struct core_device *core_find_device_by_port(const struct core *core _unused_, const struct core_qube *qube,
						   const char *port)
{
	unsigned int cursor = 0;

	for (const struct core_device *d = NULL; (d = core_next_device(qube, &cursor));)
		if (strcmp(d->port, port) == 0)
			return d;
	return NULL;
}

const struct core_qube *core_next_qube(const struct core *core, unsigned int *cursor)
{
	while (*cursor < LIMIT_QUBES) {
		const struct core_qube *qube = &core->qubes[(*cursor)++];

		if (qube->used)
			return qube;
	}
	return NULL;
}

const struct core_device *core_next_device(const struct core_qube *qube, unsigned int *cursor)
{
	while (*cursor < LIMIT_DEVICES) {
		const struct core_device *device = &qube->devices[(*cursor)++];

		if (device->used && device->present)
			return device;
	}
	return NULL;
}

const struct core_question *core_next_question(const struct core *core, unsigned int *cursor)
{
	while (*cursor < LIMIT_QUESTIONS) {
		const struct core_question *question = &core->questions[(*cursor)++].q;

		if (question->id != 0)
			return question;
	}
	return NULL;
}

const struct core_question *core_find_question(const struct core *core, uint64_t id)
{
	unsigned int cursor = 0;

	for (const struct core_question *question = NULL; (question = core_next_question(core, &cursor));)
		if (question->id == id)
			return question;
	return NULL;
}

const struct core_restore *core_next_restore(const struct core *core, unsigned int *cursor)
{
	while (*cursor < LIMIT_RESTORES) {
		const struct restore *restore = &core->restores[(*cursor)++];

		if (restore->r.used && restore->gone)
			return &restore->r;
	}
	return NULL;
}

const struct assignments *core_assignments(const struct core *core)
{
	return core->assignments;
}

const struct denied *core_denied(const struct core *core)
{
	return core->denied;
}

const struct labels *core_labels(const struct core *core)
{
	return core->labels;
}

bool core_is_suspended(const struct core *core)
{
	return core->suspended;
}

#define DOM0_MIC_ID "dom0:mic::m000000" /* as Qubes has it; only dom0 has that port (agents-dialogue.c) */

size_t core_device_id(const struct core_device *device, char ret_text[CORE_DEVICE_ID_MAX])
{
	size_t len;

	if (strcmp(device->port, TEXT_DOM0_MIC) == 0) {
		(void)strcpy(ret_text, DOM0_MIC_ID);
		return strlen(DOM0_MIC_ID);
	}
	len = (size_t)snprintf(ret_text, CORE_DEVICE_ID_MAX, "%04x:%04x:%.*s:", device->vendor, device->product,
			       (int)LIMIT_TEXT, device->serial);
	if (device->n_interfaces == 0)
		return len + (size_t)snprintf(ret_text + len, CORE_DEVICE_ID_MAX - len, "?******");
	for (unsigned int i = 0; i < device->n_interfaces; i++) {
		text_interface_code(wire_class_letter(device->class_id), device->interfaces[i], ret_text + len);
		len += 7;
	}
	return len;
}

bool core_picture_is_fit(const struct core_picture *picture, uint8_t class_id)
{
	bool has_size = picture->width != 0 || picture->height != 0;

	if (class_id != WIRE_CLASS_WEBCAM)
		return !has_size && picture->fps == 0 && controls_are_none(picture->controls);
	return (!has_size || (text_is_side(picture->width) && text_is_side(picture->height))) &&
	       picture->fps <= LIMIT_PICTURE_FPS && controls_are_fit(picture->controls);
}

const char *core_state_name(enum core_state state)
{
	static const char *const names[CORE_STATE_COUNT] = {
		[CORE_FREE] = "free",           [CORE_AUDITING] = "auditing", [CORE_EXPORTING] = "exporting",
		[CORE_IMPORTING] = "importing", [CORE_ATTACHED] = "attached", [CORE_DETACHING] = "detaching",
		[CORE_LOCKED] = "locked",       [CORE_ADOPTING] = "adopting", [CORE_CLEARING] = "clearing",
	};

	return state < CORE_STATE_COUNT ? names[state] : "unknown";
}

const char *core_answer_text(enum core_answer answer)
{
	static const char *const texts[CORE_ANSWER_COUNT] = {
		[CORE_ANSWER_DONE] = "done",
		[CORE_ANSWER_FAILED] = "failed, everything was undone",
		[CORE_ANSWER_NO_DEVICE] = "there is no such device; look at the list again",
		[CORE_ANSWER_NO_QUBE] = "the target qube is not running; start it first",
		[CORE_ANSWER_SELF] = "the device is in that qube already: source and target are the same",
		[CORE_ANSWER_IN_USE] = "the device is in use by another qube; detach it there first",
		[CORE_ANSWER_ALREADY] = "the device is attached to that qube already",
		[CORE_ANSWER_DETACHING] = "its last attachment is just being ended; try again in a few seconds",
		[CORE_ANSWER_LOCKED] = "an earlier detach of it is not confirmed yet; wait, or restart the device qube",
		[CORE_ANSWER_NO_SOURCE_AGENT] =
			"no device agent answers in the device's qube; start device-agent there",
		[CORE_ANSWER_NO_TARGET_AGENT] = "no device agent that takes such devices runs in the target qube; "
						"start device-agent there (for "
						"cameras with v4l2loopback 0.13 or later)",
		[CORE_ANSWER_NOT_ATTACHED] = "the device is not attached to that qube",
		[CORE_ANSWER_NOT_CONFIRMED] =
			"the device's qube did not confirm the detach in time; the device stays locked until it does",
		[CORE_ANSWER_DENIED] = "the policy does not allow it",
		[CORE_ANSWER_ASKING] = "a question about the device is open; answer it first",
		[CORE_ANSWER_SAID_NO] = "the user was asked, and said no",
		[CORE_ANSWER_NOBODY] =
			"the user must be asked, and nobody is there to answer; start the devices widget",
		[CORE_ANSWER_CROWDED] = "the user must be asked, and too many questions are open; answer those first",
		[CORE_ANSWER_TOO_SOON] =
			"the last question of that qube was not answered with yes a moment ago; try again later",
		[CORE_ANSWER_NO_REPLY] = "the user was asked, and gave no answer in time",
		[CORE_ANSWER_SUSPENDED] = "the machine is going to sleep; try again when it is awake",
		[CORE_ANSWER_ADOPTING] =
			"the broker was restarted and does not know yet whether the device is attached; wait a moment",
		[CORE_ANSWER_REQUIRED] =
			"an assignment says that the qube requires the device; shut the qube down, or unassign it",
		[CORE_ANSWER_NO_MUTE] = "a device of this class cannot be muted; detach it",
		[CORE_ANSWER_MUTE_NOT_CONFIRMED] =
			"the device's qube did not confirm it in time; detach the device to be sure",
		[CORE_ANSWER_OVERTAKEN] = "somebody muted or unmuted it anew before the device's qube had confirmed it",
		[CORE_ANSWER_PART_IN_USE] = "a part of the device is in use; detach that first",
		[CORE_ANSWER_WHOLE_IN_USE] = "the device of which it is a part is in use; detach that first",
		[CORE_ANSWER_MOVED_BACK] = "the other qube could not take the device; it is back where it was",
		[CORE_ANSWER_MOVED_FREE] =
			"the other qube could not take the device, nor the former one; it is attached nowhere",
	};

	return answer < CORE_ANSWER_COUNT ? texts[answer] : "unknown";
}
