// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state machine of one device's attachment, as a table: input x state -> handler. An empty place means: nothing
 * happens (a late or foreign word). The picture is in core.h.
 *
 * Invariants: source_open is set before EXPORT goes out and cleared only by proof; a device becomes FREE only with
 * source_open false; every token taken in is answered once, on the way to ATTACHED, LOCKED or FREE, and every state
 * on the way there has a deadline.
 */
#include "broker/core/internal.h"

#include <assert.h>
#include <string.h>

#include "lib/base/base.h"

typedef int handler(struct core *core, struct core_device *device, const struct input *input);

static void emit(struct core *core, const struct core_device *device, struct core_action action)
{
	action.device = device;
	action.session = device->session;
	action.state = device->state;
	core->emit(core->userdata, &action);
}

void attachment_answer(struct core *core, const struct core_device *device, uint64_t token, enum core_answer answer)
{
	struct core_action action = {
		.type = CORE_DO_ANSWER, .device = device, .token = token, .answer = answer, .confirmed = true};

	if (device) {
		action.session = device->session;
		action.state = device->state;
		action.outcome = device->reason;
	}
	core->emit(core->userdata, &action);
}

/* Answers what waits, once: *token is taken. */
static void answer_waiting(struct core *core, const struct core_device *device, uint64_t *token,
			   enum core_answer answer, bool confirmed)
{
	if (*token == 0)
		return;
	emit(core, device,
	     (struct core_action){.type = CORE_DO_ANSWER,
				  .token = TAKE(*token, 0),
				  .answer = answer,
				  .outcome = device->reason,
				  .confirmed = confirmed});
}

static void enter(struct core *core, struct core_device *device, enum core_state state, uint64_t timeout_usec)
{
	device->state = state;
	device->since_usec = core->now_usec;
	device->deadline_usec = timeout_usec ? core->now_usec + timeout_usec : 0;
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
	answer_waiting(core, device, &device->attach_token, CORE_ANSWER_FAILED, confirmed);
	answer_waiting(core, device, &device->detach_token, CORE_ANSWER_DONE, confirmed);

	device->session = 0;
	device->target = (struct core_qube_ref){0};
	memset(device->target_name, 0, sizeof(device->target_name));
	device->target_open = false;
	device->reason = OUTCOME_OK;
	device->was_attached = false;
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

/* FREE + ATTACH: the device is taken from here on, and the audit record comes first. */
static int reserve(struct core *core, struct core_device *device, const struct input *input)
{
	const struct core_qube *target = inventory_qube(core, input->target);

	assert(target && input->token != 0);
	device->session = core->session_epoch << 32 | ++core->n_sessions;
	device->target = input->target;
	memcpy(device->target_name, target->name, sizeof(device->target_name));
	device->attach_token = input->token;
	device->reason = OUTCOME_OK;
	core->active[core->n_active++] = device;
	enter(core, device, CORE_AUDITING, TIMEOUT_ATTACH_STEP_USEC);
	emit(core, device, (struct core_action){.type = CORE_DO_AUDIT, .token = input->token});
	return 0;
}

static int start_export(struct core *core, struct core_device *device, const struct input *input _unused_)
{
	device->source_open = true;
	enter(core, device, CORE_EXPORTING, TIMEOUT_ATTACH_STEP_USEC);
	emit(core, device, (struct core_action){.type = CORE_DO_EXPORT, .qube = device->ref.qube});
	return 0;
}

static int start_import(struct core *core, struct core_device *device, const struct input *input _unused_)
{
	device->target_open = true;
	enter(core, device, CORE_IMPORTING, TIMEOUT_ATTACH_STEP_USEC);
	emit(core, device, (struct core_action){.type = CORE_DO_IMPORT, .qube = device->target});
	return 0;
}

static int confirm(struct core *core, struct core_device *device, const struct input *input _unused_)
{
	device->was_attached = true;
	enter(core, device, CORE_ATTACHED, 0);
	emit(core, device, (struct core_action){.type = CORE_DO_NOTE});
	emit(core, device, (struct core_action){.type = CORE_DO_ATTACHED});
	answer_waiting(core, device, &device->attach_token, CORE_ANSWER_DONE, true);
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
	answer_waiting(core, device, &device->attach_token, CORE_ANSWER_FAILED, false);
	answer_waiting(core, device, &device->detach_token, CORE_ANSWER_NOT_CONFIRMED, false);
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

/* clang-format off */
static handler *const table[INPUT_COUNT][CORE_STATE_COUNT] = {
	/*                     FREE           AUDITING       EXPORTING      IMPORTING      ATTACHED       DETACHING      LOCKED */
	[IN_ATTACH]        = { reserve,       refuse_in_use, refuse_in_use, refuse_in_use, refuse_in_use, refuse_detaching, refuse_locked },
	[IN_DETACH]        = { refuse_detach, detach,        detach,        detach,        detach,        join_detach,   detach_again },
	[IN_AUDITED]       = { NULL,          start_export,  NULL,          NULL,          NULL,          NULL,          NULL },
	[IN_AUDIT_FAILED]  = { NULL,          undo,          NULL,          NULL,          NULL,          NULL,          NULL },
	[IN_EXPORTED]      = { NULL,          NULL,          start_import,  NULL,          NULL,          NULL,          NULL },
	[IN_IMPORTED]      = { NULL,          NULL,          NULL,          confirm,       NULL,          NULL,          NULL },
	[IN_SOURCE_CLOSED] = { NULL,          NULL,          undo,          undo,          undo,          settle,        unlock },
	[IN_TARGET_CLOSED] = { NULL,          undo,          undo,          undo,          undo,          settle,        note_target },
	[IN_SOURCE_LOST]   = { NULL,          undo,          undo,          undo,          undo,          NULL,          NULL },
	[IN_TARGET_LOST]   = { NULL,          undo,          undo,          undo,          undo,          settle,        NULL },
	[IN_SOURCE_STILL]  = { NULL,          NULL,          NULL,          NULL,          NULL,          stop_again,    stop_again },
	[IN_TARGET_STILL]  = { NULL,          NULL,          NULL,          NULL,          NULL,          stop_again,    stop_again },
	[IN_SOURCE_GONE]   = { NULL,          vanish,        vanish,        vanish,        vanish,        vanish,        vanish },
	[IN_UNPLUGGED]     = { NULL,          undo,          undo,          undo,          undo,          NULL,          NULL },
	[IN_TIMEOUT]       = { NULL,          undo,          undo,          undo,          NULL,          give_up,       NULL },
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
