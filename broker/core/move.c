// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A move: out of one qube, into another, and back when that fails. Each leg is an attach or a detach like any other,
 * with a session, an audit record and a memory of its own.
 *
 * Invariants: everything that can be refused is refused before the device leaves A; from then on the move has its
 * device: it is never FREE between two events until the move has been answered; one answer, on whichever way out.
 */
#include "broker/core/internal.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"

/* The attachment's own state: is there something to move? */
static enum core_answer check_here(const struct core_device *device, struct core_qube_ref from)
{
	static const enum core_answer answers[CORE_STATE_COUNT] = {
		[CORE_FREE] = CORE_ANSWER_NOT_ATTACHED, [CORE_AUDITING] = CORE_ANSWER_IN_USE,
		[CORE_EXPORTING] = CORE_ANSWER_IN_USE,  [CORE_IMPORTING] = CORE_ANSWER_IN_USE,
		[CORE_ATTACHED] = CORE_ANSWER_DONE,     [CORE_DETACHING] = CORE_ANSWER_DETACHING,
		[CORE_LOCKED] = CORE_ANSWER_LOCKED,     [CORE_ADOPTING] = CORE_ANSWER_ADOPTING,
		[CORE_CLEARING] = CORE_ANSWER_IN_USE,
	};

	if (!device)
		return CORE_ANSWER_NO_DEVICE;
	return same_qube(device->target, from) ? answers[device->state] : CORE_ANSWER_NOT_ATTACHED;
}

int move_request(struct core *core, const struct core_event *event)
{
	struct wish wish = {.device = inventory_device_by_ref(core, event->request.device),
			    .target = inventory_qube(core, event->request.target),
			    .token = event->request.token,
			    .terms = {.origin = CORE_ORIGIN_MOVE,
				      .asked_by = event->request.user,
				      .max_time_usec = event->request.max_time_usec,
				      .picture = event->request.picture}};
	enum core_answer answer = check_here(wish.device, event->request.from);

	if (wish.token == 0)
		return CORE_EVENT_IGNORED;
	if (wish.device && wish.device->state == CORE_FREE && adopt_blocks(core, wish.device))
		answer = CORE_ANSWER_ADOPTING;
	if (answer == CORE_ANSWER_DONE && same_qube(event->request.from, event->request.target))
		answer = CORE_ANSWER_ALREADY;
	if (answer == CORE_ANSWER_DONE)
		answer = request_judge(core, &wish);
	if (answer == CORE_ANSWER_DONE)
		wish.terms.follow_port = auto_follows(core, wish.device, wish.target);
	if (answer == CORE_ANSWER_DONE && wish.ask)
		answer = question_open(core, &wish, &wish.target, 1);
	else if (answer == CORE_ANSWER_DONE)
		move_begin(core, &wish, event->request.from);
	if (answer != CORE_ANSWER_DONE)
		request_refused(core, &wish, answer);
	return 0;
}

static struct move *find_place(struct core *core)
{
	for (unsigned int i = 0; i < LIMIT_MOVES; i++)
		if (!core->moves[i].used)
			return &core->moves[i];
	return NULL;
}

void move_begin(struct core *core, const struct wish *asked, struct core_qube_ref from)
{
	struct wish wish = *asked;
	struct move *move = find_place(core);
	struct input input = {.type = IN_STOP, .outcome = OUTCOME_MOVED};
	enum core_answer answer = check_here(wish.device, from);

	if (answer == CORE_ANSWER_DONE)
		answer = request_judge(core, &wish);
	if (answer != CORE_ANSWER_DONE) {
		request_refused(core, &wish, answer);
		return;
	}
	if (!move) {
		request_answer(
			core, wish.device, wish.token,
			&(struct reply){.answer = CORE_ANSWER_FAILED, .outcome = OUTCOME_BUSY, .confirmed = true});
		return;
	}
	*move = (struct move){.used = true,
			      .token = wish.token,
			      .device = wish.device->ref,
			      .from = from,
			      .to = wish.target->ref,
			      .there = asked->terms,
			      .back = wish.device->terms};
	move->back.origin = CORE_ORIGIN_BACK;
	core->n_moves++;
	(void)attachment_handle(core, wish.device, &input);
}

static struct move *move_of(struct core *core, const struct core_device *device)
{
	for (unsigned int i = 0; core->n_moves > 0 && i < LIMIT_MOVES; i++)
		if (core->moves[i].used && same_device(core->moves[i].device, device->ref))
			return &core->moves[i];
	return NULL;
}

/* The leg into B failed; that of the way back tells no more than that. */
void move_attach_ended(struct core *core, const struct core_device *device, const struct reply *reply)
{
	struct move *move = move_of(core, device);

	if (move && move->step == MOVE_IN)
		move->outcome = reply->outcome;
}

void move_cancel(struct core *core, const struct core_device *device)
{
	struct move *move = move_of(core, device);

	if (move)
		move->cancelled = true;
}

static void end(struct core *core, struct move *move, const struct core_device *device, enum core_answer answer)
{
	const struct move ended = *move;
	const struct core_qube *to = inventory_qube(core, ended.to);
	struct reply reply = {.answer = answer,
			      .outcome = answer == CORE_ANSWER_DONE ? OUTCOME_OK : ended.outcome,
			      .confirmed = answer != CORE_ANSWER_NOT_CONFIRMED,
			      .rule = ended.rule,
			      .back_rule = ended.back_rule,
			      .asked_by = &ended.there.asked_by,
			      .target_name = to ? to->name : NULL};

	memset(move, 0, sizeof(*move));
	core->n_moves--;
	request_answer(core, device, ended.token, &reply);
}

/* Starts the leg; false: it is refused, and move->outcome says why. */
static bool start_leg(struct core *core, struct move *move, struct core_device *device, enum move_step step)
{
	struct wish wish = {.device = device,
			    .target = inventory_qube(core, step == MOVE_IN ? move->to : move->from),
			    .terms = step == MOVE_IN ? move->there : move->back,
			    .agreed = step == MOVE_BACK || move->there.answered};
	enum core_answer answer = request_judge(core, &wish);

	if (answer == CORE_ANSWER_DONE && wish.ask)
		answer = CORE_ANSWER_DENIED; /* `ask` since it began, and no time to ask now */
	if (answer == CORE_ANSWER_DONE)
		answer = request_start(core, &wish);
	move->step = step;
	if (answer == CORE_ANSWER_DENIED)
		memcpy(step == MOVE_IN ? move->rule : move->back_rule, wish.terms.rule, sizeof(move->rule));
	if (answer != CORE_ANSWER_DONE && move->outcome == OUTCOME_OK)
		move->outcome = request_outcome(answer);
	return answer == CORE_ANSWER_DONE;
}

/* The device is FREE: the next leg, if there is one. */
static void go_on(struct core *core, struct move *move, struct core_device *device)
{
	if (move->cancelled)
		move->outcome = OUTCOME_DETACHED;
	else if (move->step == MOVE_OUT && start_leg(core, move, device, MOVE_IN))
		return;
	else if (move->step != MOVE_BACK && start_leg(core, move, device, MOVE_BACK))
		return;
	end(core, move, device, CORE_ANSWER_MOVED_FREE);
}

static void run(struct core *core, struct move *move)
{
	struct core_device *device = inventory_record_by_ref(core, move->device);

	if (!device) {
		move->outcome = inventory_qube(core, move->device.qube) ? OUTCOME_UNPLUGGED : OUTCOME_QUBE_GONE;
		end(core, move, NULL, CORE_ANSWER_MOVED_FREE);
		return;
	}
	switch (device->state) {
	case CORE_FREE:
		go_on(core, move, device);
		break;
	case CORE_ATTACHED:
		end(core, move, device, move->step == MOVE_IN ? CORE_ANSWER_DONE : CORE_ANSWER_MOVED_BACK);
		break;
	case CORE_LOCKED:
		if (move->outcome == OUTCOME_OK)
			move->outcome = device->reason;
		end(core, move, device, CORE_ANSWER_NOT_CONFIRMED);
		break;
	case CORE_AUDITING:
	case CORE_EXPORTING:
	case CORE_IMPORTING:
	case CORE_DETACHING:
	case CORE_ADOPTING:
	case CORE_CLEARING:
	case CORE_STATE_COUNT:
		break;
	}
}

void move_run(struct core *core)
{
	for (unsigned int i = 0; core->n_moves > 0 && i < LIMIT_MOVES; i++)
		if (core->moves[i].used)
			run(core, &core->moves[i]);
}
