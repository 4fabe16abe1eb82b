// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Silence by the user's word: an attachment goes on, and its source passes nothing on. What is wanted is in the terms, so
 * that one that comes back after a sleep or a re-plug begins as it was.
 *
 * Invariants: at most one MUTE of a session is under way; a wish that comes meanwhile is sent when that is answered; who is
 * told DONE was told by the source that it is as he wished; nobody's wish is overtaken without his being told so.
 */
#include "broker/core/internal.h"

#include "lib/base/base.h"

static void tell(struct core *core, struct core_device *device, enum core_answer answer)
{
	const struct reply reply = {.answer = answer, .confirmed = true};

	if (device->mute.token != 0)
		request_answer(core, device, TAKE(device->mute.token, 0), &reply);
	device->mute.deadline_usec = 0;
}

static void emit(struct core *core, const struct core_device *device, enum core_action_type type)
{
	core_emit(core, &(struct core_action){.type = type,
					      .device = device,
					      .session = device->session,
					      .state = device->state,
					      .qube = device->ref.qube});
}

static void send(struct core *core, struct core_device *device)
{
	device->mute.sent = true;
	emit(core, device, CORE_DO_MUTE);
}

static enum core_answer judge(const struct core_device *device, const struct core_event *event)
{
	if (device->state == CORE_ADOPTING)
		return CORE_ANSWER_ADOPTING;
	if (device->state != CORE_ATTACHED || !same_qube(device->target, event->request.target))
		return CORE_ANSWER_NOT_ATTACHED;
	return wire_can_mute(device->class_id) ? CORE_ANSWER_DONE : CORE_ANSWER_NO_MUTE;
}

int mute_request(struct core *core, const struct core_event *event)
{
	struct core_device *device = inventory_device_by_ref(core, event->request.device);
	enum core_answer answer = device ? judge(device, event) : CORE_ANSWER_NO_DEVICE;

	if (answer != CORE_ANSWER_DONE) {
		attachment_answer(core, device, event->request.token, answer);
		return 0;
	}
	tell(core, device, CORE_ANSWER_OVERTAKEN);
	device->terms.muted = event->type == CORE_MUTE;
	device->mute.token = event->request.token;
	device->mute.deadline_usec = core->now_usec + TIMEOUT_MUTE_USEC;
	emit(core, device, CORE_DO_NOTE_MUTE);
	if (!device->mute.sent)
		send(core, device);
	return 0;
}

int mute_answered(struct core *core, struct core_qube *qube, const struct core_event *event)
{
	struct core_device *device = attachment_find(core, event->muted.session);

	if (!device || device->state != CORE_ATTACHED || !same_qube(device->ref.qube, qube->ref) || !device->mute.sent)
		return CORE_EVENT_IGNORED;
	device->mute.sent = false;
	if (event->muted.muted != device->terms.muted) {
		send(core, device);
		return 0;
	}
	emit(core, device, CORE_DO_MUTED);
	tell(core, device, CORE_ANSWER_DONE);
	return 0;
}

void mute_left(struct core *core, struct core_device *device)
{
	tell(core, device, CORE_ANSWER_NOT_ATTACHED);
	device->mute.sent = false;
}

void mute_tick(struct core *core, struct core_device *device)
{
	if (device->mute.deadline_usec != 0 && device->mute.deadline_usec <= core->now_usec)
		tell(core, device, CORE_ANSWER_MUTE_NOT_CONFIRMED);
}

bool core_is_muted(const struct core_device *device)
{
	return device->state == CORE_ATTACHED && device->terms.muted && !device->mute.sent;
}
