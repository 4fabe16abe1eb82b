// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state machine of one device's attachment, as a table: input x state -> handler. An empty place means: nothing
 * happens (a late or foreign word). The picture is in core.h.
 *
 * Invariants: source_open is set before EXPORT goes out and cleared only by proof; a device becomes FREE only with
 * source_open false; whoever wanted an attach or a detach is told once, on the way to ATTACHED, LOCKED or FREE, and
 * every state on the way there has a deadline; each session's memory is forgotten on the way to FREE.
 */
#include "broker/core/internal.h"

#include <assert.h>
#include <string.h>

#include "broker/core/labels.h"
#include "lib/base/base.h"

typedef int handler(struct core *core, struct core_device *device, const struct input *input);

static void emit(struct core *core, const struct core_device *device, struct core_action action)
{
	action.device = device;
	action.session = device->session;
	action.state = device->state;
	core_emit(core, &action);
}

void attachment_answer(struct core *core, const struct core_device *device, uint64_t token, enum core_answer answer)
{
	request_answer(
		core, device, token,
		&(struct reply){.answer = answer, .outcome = device ? device->reason : OUTCOME_OK, .confirmed = true});
}

/* Tells whoever wanted this attach, once. */
static void tell_attach(struct core *core, struct core_device *device, enum core_answer answer, bool confirmed)
{
	struct reply reply = {.answer = answer, .outcome = device->reason, .confirmed = confirmed};

	if (TAKE(plan_of(core, device)->pending, false))
		request_ended(core, device, device->terms.origin, TAKE(device->attach_token, 0), &reply);
}

static void tell_detach(struct core *core, struct core_device *device, enum core_answer answer, bool confirmed)
{
	struct reply reply = {.answer = answer, .outcome = device->reason, .confirmed = confirmed};

	if (device->detach_token != 0)
		request_answer(core, device, TAKE(device->detach_token, 0), &reply);
}

static void enter(struct core *core, struct core_device *device, enum core_state state, uint64_t timeout_usec)
{
	enum core_state former = device->state;

	core->n_auditing += state == CORE_AUDITING;
	core->n_auditing -= former == CORE_AUDITING;
	core->n_clearing += state == CORE_CLEARING;
	core->n_clearing -= former == CORE_CLEARING;
	device->state = state;
	device->since_usec = core->now_usec;
	device->deadline_usec = timeout_usec ? core->now_usec + timeout_usec : 0;
	if (former == CORE_ADOPTING)
		adopt_left(core, device, state);
	if (former == CORE_ATTACHED) {
		question_void(core, device); /* about moving it from where it is no longer */
		mute_left(core, device);
	}
}

static bool has_agent(struct core *core, struct core_qube_ref ref)
{
	const struct core_qube *qube = inventory_qube(core, ref);

	return qube && qube->agent;
}

/* Sends STOP to each side that may still have something, if there is somebody to send it to. */
static void stop_source(struct core *core, const struct core_device *device)
{
	if (device->source_open && has_agent(core, device->ref.qube))
		emit(core, device, (struct core_action){.type = CORE_DO_STOP_SOURCE, .qube = device->ref.qube});
}

static void stop_target(struct core *core, const struct core_device *device)
{
	if (device->target_open && has_agent(core, device->target))
		emit(core, device, (struct core_action){.type = CORE_DO_STOP_TARGET, .qube = device->target});
}

/* To FREE; the one way there. */
static int finish(struct core *core, struct core_device *device)
{
	bool confirmed = !device->target_open;

	assert(!device->source_open);
	enter(core, device, CORE_FREE, 0);
	for (unsigned int i = 0; i < core->n_active; i++)
		if (core->active[i] == device) {
			core->active[i] = core->active[--core->n_active];
			break;
		}
	emit(core, device, (struct core_action){.type = CORE_DO_NOTE, .outcome = device->reason});
	if (device->was_attached)
		emit(core, device, (struct core_action){.type = CORE_DO_DETACHED, .outcome = device->reason});
	emit(core, device,
	     (struct core_action){.type = restore_keeps(core, device->session) ? CORE_DO_CLAIM : CORE_DO_FORGET});
	tell_attach(core, device, CORE_ANSWER_FAILED, confirmed);
	tell_detach(core, device, CORE_ANSWER_DONE, confirmed);
	if (device->present)
		auto_freed(core, device);
	parts_freed(core, device);

	device->session = 0;
	device->target = (struct core_qube_ref){0};
	memset(device->target_name, 0, sizeof(device->target_name));
	memset(&device->terms, 0, sizeof(device->terms));
	device->target_open = false;
	device->reason = OUTCOME_OK;
	device->was_attached = device->warned = false;
	device->source_stream = device->target_stream = (struct core_stream){0};
	device->source_reported = device->target_reported = false;
	if (!device->present)
		device->used = false;
	return 0;
}

static void close_side(struct core_device *device, enum input_type type)
{
	if (type == IN_SOURCE_CLOSED || type == IN_SOURCE_GONE)
		device->source_open = false;
	if (type == IN_TARGET_CLOSED)
		device->target_open = false;
}

static void take(struct core *core, struct core_device *device, uint64_t session, struct core_qube_ref target,
		 const char *target_name)
{
	device->session = session;
	device->target = target;
	memcpy(device->target_name, target_name, sizeof(device->target_name));
	device->reason = OUTCOME_OK;
	core->active[core->n_active++] = device;
}

/* The end of its time counts from here, so that the memory on disk has it; a former end stays. */
static uint64_t end_of_time(const struct core *core, const struct core_terms *terms)
{
	uint64_t max = terms->max_time_usec < UINT64_MAX / 2 ? terms->max_time_usec : UINT64_MAX / 2;
	uint64_t end = core->now_usec + max;

	if (max == 0)
		return terms->end_usec;
	return terms->end_usec != 0 && terms->end_usec < end ? terms->end_usec : end;
}

/* FREE + ATTACH: the device is taken from here on, and the audit record comes first. */
static int reserve(struct core *core, struct core_device *device, const struct input *input)
{
	const struct core_qube *target = inventory_qube(core, input->target);

	assert(target && input->terms);
	take(core, device, core->session_epoch << 32 | ++core->n_sessions, input->target, target->name);
	device->attach_token = input->token;
	device->terms = *input->terms;
	device->terms.end_usec = end_of_time(core, input->terms);
	plan_of(core, device)->pending = true;
	enter(core, device, CORE_AUDITING, TIMEOUT_ATTACH_STEP_USEC);
	emit(core, device, (struct core_action){.type = CORE_DO_AUDIT, .token = input->token});
	return 0;
}

/* FREE + ADOPT: a former life of the broker let it go there, and the source says that it still runs. */
static int take_over(struct core *core, struct core_device *device, const struct input *input)
{
	const struct memory *memory = input->memory;

	take(core, device, memory->m.session, memory->target, memory->m.target.name);
	device->terms = memory->m.device.terms;
	device->terms.muted = memory->muted;
	device->source_open = device->target_open = device->source_reported = true;
	device->target_reported = memory->target_side == SIDE_REPORTED;
	enter(core, device, CORE_ADOPTING, 0);
	device->deadline_usec = memory->deadline_usec;
	emit(core, device, (struct core_action){.type = CORE_DO_NOTE});
	return 0;
}

static int start_export(struct core *core, struct core_device *device, const struct input *input _unused_)
{
	device->source_open = true;
	enter(core, device, CORE_EXPORTING, TIMEOUT_ATTACH_STEP_USEC);
	emit(core, device, (struct core_action){.type = CORE_DO_EXPORT, .qube = device->ref.qube});
	return 0;
}

/* AUDITING + AUDITED: what is to end the parts comes from parts_run(), after this. */
static int audited(struct core *core, struct core_device *device, const struct input *input)
{
	if (!parts_are_held(core, device))
		return start_export(core, device, input);
	enter(core, device, CORE_CLEARING, TIMEOUT_STOP_USEC);
	emit(core, device, (struct core_action){.type = CORE_DO_NOTE});
	return 0;
}

static int start_import(struct core *core, struct core_device *device, const struct input *input _unused_)
{
	const struct core_qube *source = inventory_qube(core, device->ref.qube);
	char label[WIRE_LABEL];

	labels_for_target(core->labels, source->name, device, label);
	device->target_open = true;
	enter(core, device, CORE_IMPORTING, TIMEOUT_ATTACH_STEP_USEC);
	emit(core, device, (struct core_action){.type = CORE_DO_IMPORT, .qube = device->target, .label = label});
	return 0;
}

/* When the warning is due, then the end. */
static uint64_t limit_deadline(const struct core *core, const struct core_device *device)
{
	uint64_t end = device->terms.end_usec, fifth = device->terms.max_time_usec / 5;
	uint64_t near = fifth != 0 && fifth < LIMIT_NEAR_USEC ? fifth : LIMIT_NEAR_USEC;

	if (end == 0)
		return 0;
	return end > near && end - near > core->now_usec ? end - near : core->now_usec;
}

/* IMPORTING + IMPORTED, ADOPTING + ADOPTED */
static int confirm(struct core *core, struct core_device *device, const struct input *input _unused_)
{
	device->was_attached = true;
	plan_of(core, device)->attached_usec = core->now_usec;
	enter(core, device, CORE_ATTACHED, 0);
	device->deadline_usec = limit_deadline(core, device);
	emit(core, device, (struct core_action){.type = CORE_DO_NOTE});
	emit(core, device, (struct core_action){.type = CORE_DO_ATTACHED});
	tell_attach(core, device, CORE_ANSWER_DONE, true);
	return 0;
}

/* The source's proof is needed in any case; the target is waited for only while there is somebody there to answer. */
static bool is_settled(struct core *core, const struct core_device *device)
{
	return !device->source_open && !(device->target_open && has_agent(core, device->target));
}

/* Something ended an attach or an attachment: stop what is open, then wait for proof. */
static int undo(struct core *core, struct core_device *device, const struct input *input)
{
	bool attached = device->state == CORE_ATTACHED;

	device->reason = input->outcome == OUTCOME_OK && !attached ? OUTCOME_STOPPED : input->outcome;
	if (attached)
		restore_left(core, device, input);
	close_side(device, input->type);
	if (is_settled(core, device))
		return finish(core, device);
	enter(core, device, CORE_DETACHING, TIMEOUT_STOP_USEC);
	emit(core, device, (struct core_action){.type = CORE_DO_NOTE, .outcome = device->reason});
	stop_source(core, device);
	stop_target(core, device);
	return 0;
}

/* DETACHING: one more side is done, or the target's agent is lost and will not answer. */
static int settle(struct core *core, struct core_device *device, const struct input *input)
{
	bool knows_why = input->outcome != OUTCOME_OK && input->outcome != OUTCOME_PEER_LOST;

	/* An exporter whose importer refused may say that it ended, before the importer's agent says why. */
	if (input->type == IN_TARGET_CLOSED && device->reason == OUTCOME_STOPPED && knows_why)
		device->reason = input->outcome;
	close_side(device, input->type);
	return is_settled(core, device) ? finish(core, device) : 0;
}

/* DETACHING + TIMEOUT: without the source's word the device stays locked; without the target's it is free all the same. */
static int give_up(struct core *core, struct core_device *device, const struct input *input _unused_)
{
	if (!device->source_open)
		return finish(core, device);
	enter(core, device, CORE_LOCKED, 0);
	emit(core, device, (struct core_action){.type = CORE_DO_NOTE, .outcome = device->reason});
	tell_attach(core, device, CORE_ANSWER_FAILED, false);
	tell_detach(core, device, CORE_ANSWER_NOT_CONFIRMED, false);
	return 0;
}

/* ATTACHED + TIMEOUT: a warning, then the end. */
static int limit(struct core *core, struct core_device *device, const struct input *input)
{
	if (device->warned || device->terms.end_usec <= core->now_usec)
		return undo(core, device, input);
	device->warned = true;
	device->deadline_usec = device->terms.end_usec;
	emit(core, device, (struct core_action){.type = CORE_DO_LIMIT_NEAR});
	return 0;
}

/* LOCKED: the proof that it waited for. */
static int unlock(struct core *core, struct core_device *device, const struct input *input)
{
	close_side(device, input->type);
	return finish(core, device);
}

static int note_target(struct core *core _unused_, struct core_device *device, const struct input *input)
{
	close_side(device, input->type);
	return 0;
}

/* The source qube is gone and nothing can flow: stop the target, but there is no device left to wait for. */
static int vanish(struct core *core, struct core_device *device, const struct input *input)
{
	if (device->state != CORE_DETACHING && device->state != CORE_LOCKED) {
		device->reason = input->outcome;
		stop_target(core, device);
	}
	close_side(device, input->type);
	return finish(core, device);
}

static int stop_again(struct core *core, struct core_device *device, const struct input *input)
{
	if (input->type == IN_SOURCE_STILL)
		stop_source(core, device);
	else
		stop_target(core, device);
	return 0;
}

/* A user's DETACH while something is attached or on its way. */
static int detach(struct core *core, struct core_device *device, const struct input *input)
{
	if (!same_qube(device->target, input->target)) {
		attachment_answer(core, device, input->token, CORE_ANSWER_NOT_ATTACHED);
		return 0;
	}
	device->detach_token = input->token;
	return undo(core, device, input);
}

/* DETACH while DETACHING: the first one that asks waits with it. */
static int join_detach(struct core *core, struct core_device *device, const struct input *input)
{
	if (!same_qube(device->target, input->target))
		attachment_answer(core, device, input->token, CORE_ANSWER_NOT_ATTACHED);
	else if (device->detach_token != 0)
		attachment_answer(core, device, input->token, CORE_ANSWER_DETACHING);
	else
		device->detach_token = input->token;
	return 0;
}

/* DETACH while LOCKED: asks the source again; LOCKED is left by proof only, so the user need not wait. */
static int detach_again(struct core *core, struct core_device *device, const struct input *input)
{
	bool theirs = same_qube(device->target, input->target);

	if (theirs)
		stop_source(core, device);
	attachment_answer(core, device, input->token, theirs ? CORE_ANSWER_NOT_CONFIRMED : CORE_ANSWER_NOT_ATTACHED);
	return 0;
}

static int refuse_detach(struct core *core, struct core_device *device, const struct input *input)
{
	attachment_answer(core, device, input->token, CORE_ANSWER_NOT_ATTACHED);
	return 0;
}

static int refuse_in_use(struct core *core, struct core_device *device, const struct input *input)
{
	bool already = device->state == CORE_ATTACHED && same_qube(device->target, input->target);

	attachment_answer(core, device, input->token, already ? CORE_ANSWER_ALREADY : CORE_ANSWER_IN_USE);
	return 0;
}

static int refuse_detaching(struct core *core, struct core_device *device, const struct input *input)
{
	attachment_answer(core, device, input->token, CORE_ANSWER_DETACHING);
	return 0;
}

static int refuse_locked(struct core *core, struct core_device *device, const struct input *input)
{
	attachment_answer(core, device, input->token, CORE_ANSWER_LOCKED);
	return 0;
}

static int refuse_adopting(struct core *core, struct core_device *device, const struct input *input)
{
	attachment_answer(core, device, input->token, CORE_ANSWER_ADOPTING);
	return 0;
}

/* clang-format off */
static handler *const table[INPUT_COUNT][CORE_STATE_COUNT] = {
	/*                     FREE           AUDITING       EXPORTING      IMPORTING      ATTACHED       DETACHING      LOCKED         ADOPTING         CLEARING */
	[IN_ATTACH]        = { reserve,       refuse_in_use, refuse_in_use, refuse_in_use, refuse_in_use, refuse_detaching, refuse_locked, refuse_adopting, refuse_in_use },
	[IN_DETACH]        = { refuse_detach, detach,        detach,        detach,        detach,        join_detach,   detach_again,  detach,          detach },
	[IN_STOP]          = { NULL,          undo,          undo,          undo,          undo,          NULL,          NULL,          undo,            undo },
	[IN_ADOPT]         = { take_over,     NULL,          NULL,          NULL,          NULL,          NULL,          NULL,          NULL,            NULL },
	[IN_ADOPTED]       = { NULL,          NULL,          NULL,          NULL,          NULL,          NULL,          NULL,          confirm,         NULL },
	[IN_AUDITED]       = { NULL,          audited,       NULL,          NULL,          NULL,          NULL,          NULL,          NULL,            NULL },
	[IN_AUDIT_FAILED]  = { NULL,          undo,          NULL,          NULL,          NULL,          NULL,          NULL,          NULL,            NULL },
	[IN_CLEARED]       = { NULL,          NULL,          NULL,          NULL,          NULL,          NULL,          NULL,          NULL,            start_export },
	[IN_EXPORTED]      = { NULL,          NULL,          start_import,  NULL,          NULL,          NULL,          NULL,          NULL,            NULL },
	[IN_IMPORTED]      = { NULL,          NULL,          NULL,          confirm,       NULL,          NULL,          NULL,          NULL,            NULL },
	[IN_SOURCE_CLOSED] = { NULL,          NULL,          undo,          undo,          undo,          settle,        unlock,        undo,            NULL },
	[IN_TARGET_CLOSED] = { NULL,          undo,          undo,          undo,          undo,          settle,        note_target,   undo,            undo },
	[IN_SOURCE_LOST]   = { NULL,          undo,          undo,          undo,          undo,          NULL,          NULL,          undo,            undo },
	[IN_TARGET_LOST]   = { NULL,          undo,          undo,          undo,          undo,          settle,        NULL,          undo,            undo },
	[IN_SOURCE_STILL]  = { NULL,          NULL,          NULL,          NULL,          NULL,          stop_again,    stop_again,    NULL,            NULL },
	[IN_TARGET_STILL]  = { NULL,          NULL,          NULL,          NULL,          NULL,          stop_again,    stop_again,    NULL,            NULL },
	[IN_SOURCE_GONE]   = { NULL,          vanish,        vanish,        vanish,        vanish,        vanish,        vanish,        vanish,          vanish },
	[IN_UNPLUGGED]     = { NULL,          undo,          undo,          undo,          undo,          NULL,          NULL,          undo,            undo },
	[IN_TIMEOUT]       = { NULL,          undo,          undo,          undo,          limit,         give_up,       NULL,          undo,            undo },
};
/* clang-format on */

int attachment_handle(struct core *core, struct core_device *device, const struct input *input)
{
	handler *handle = table[input->type][device->state];

	return handle ? handle(core, device, input) : CORE_EVENT_IGNORED;
}

struct core_device *attachment_find(struct core *core, uint64_t session)
{
	for (unsigned int i = 0; i < core->n_active; i++)
		if (core->active[i]->session == session)
			return core->active[i];
	return NULL;
}
