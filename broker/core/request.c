// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who may attach what to where. Every attach comes this way, whoever wants it: who is there, is the machine awake, is
 * everything of a former broker settled, the target's deny list, the policy, the device's parts or its whole, a question
 * if the policy says so, then the state machine. After a question it comes this way again.
 *
 * A user's detach: refused while an assignment says that the running target requires the device (`required` holds for
 * the user's own detach only: a move, a time limit, a sleep end the attachment all the same). Otherwise it ends every
 * plan for the device beside its attachment: an open question, a claim, the tries of an assignment, a move.
 */
#include "broker/core/internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"

void request_answer(struct core *core, const struct core_device *device, uint64_t token, const struct reply *reply)
{
	struct core_action action = {.type = CORE_DO_ANSWER,
				     .device = device,
				     .token = token,
				     .answer = reply->answer,
				     .outcome = reply->outcome,
				     .confirmed = reply->confirmed,
				     .asked_by = reply->asked_by,
				     .target_name = reply->target_name,
				     .other = reply->other,
				     .rule = reply->rule && reply->rule[0] ? reply->rule : NULL,
				     .back_rule = reply->back_rule && reply->back_rule[0] ? reply->back_rule : NULL};

	if (device) {
		action.session = device->session;
		action.state = device->state;
	}
	core_emit(core, &action);
}

void request_ended(struct core *core, struct core_device *device, enum core_origin origin, uint64_t token,
		   const struct reply *reply)
{
	switch (origin) {
	case CORE_ORIGIN_AUTO:
		if (device)
			auto_ended(core, device, reply);
		break;
	case CORE_ORIGIN_RESUME:
	case CORE_ORIGIN_REPLUG:
		if (device)
			restore_ended(core, device, reply);
		break;
	case CORE_ORIGIN_MOVE:
	case CORE_ORIGIN_BACK:
		if (device && token == 0)
			move_attach_ended(core, device, reply);
		break;
	case CORE_ORIGIN_USER:
	case CORE_ORIGIN_COUNT:
		break;
	}
	if (token != 0)
		request_answer(core, device, token, reply);
}

enum outcome request_outcome(enum core_answer refusal)
{
	static const enum outcome outcomes[CORE_ANSWER_COUNT] = {
		[CORE_ANSWER_NO_DEVICE] = OUTCOME_UNPLUGGED,      [CORE_ANSWER_NO_QUBE] = OUTCOME_QUBE_GONE,
		[CORE_ANSWER_NO_SOURCE_AGENT] = OUTCOME_NO_AGENT, [CORE_ANSWER_NO_TARGET_AGENT] = OUTCOME_NO_AGENT,
		[CORE_ANSWER_SUSPENDED] = OUTCOME_SUSPENDED,      [CORE_ANSWER_FAILED] = OUTCOME_TIME_LIMIT,
		[CORE_ANSWER_PART_IN_USE] = OUTCOME_PART_HELD,    [CORE_ANSWER_WHOLE_IN_USE] = OUTCOME_WHOLE_ATTACHED,
	};

	return outcomes[refusal] != OUTCOME_OK ? outcomes[refusal] : OUTCOME_STOPPED;
}

static uint64_t smaller_limit(uint64_t a, uint64_t b)
{
	if (a == 0 || b == 0)
		return a + b;
	return a < b ? a : b;
}

enum core_answer request_decide(struct core *core, struct wish *wish)
{
	const struct core_qube *source = inventory_qube(core, wish->device->ref.qube);
	struct core_decision decision = {.verdict = CORE_VERDICT_DENY};
	struct core_terms *terms = &wish->terms;
	const char *pattern;

	memset(terms->rule, 0, sizeof(terms->rule));
	pattern = denied_match(core->denied, wish->target->name, wish->device);
	if (pattern) {
		(void)snprintf(terms->rule, sizeof(terms->rule), "deny list of %s: %s", wish->target->name, pattern);
		return CORE_ANSWER_DENIED;
	}
	core->hooks.decide(core->userdata, wish->device, source, wish->target, &decision);
	(void)snprintf(terms->rule, sizeof(terms->rule), "%s", decision.rule);
	wish->ask = decision.verdict == CORE_VERDICT_ASK && !wish->agreed;
	memcpy(wish->default_target, decision.default_target, sizeof(wish->default_target));
	terms->end_parts = decision.end_parts;
	terms->max_time_usec = smaller_limit(terms->max_time_usec, decision.max_time_usec);
	return decision.verdict == CORE_VERDICT_ALLOW || decision.verdict == CORE_VERDICT_ASK ? CORE_ANSWER_DONE
											      : CORE_ANSWER_DENIED;
}

enum core_answer request_judge(struct core *core, struct wish *wish)
{
	const struct core_qube *source = inventory_qube(core, wish->device->ref.qube);
	enum core_answer answer;

	wish->ask = false;
	wish->other = NULL;
	if (!wish->target)
		return CORE_ANSWER_NO_QUBE;
	if (source == wish->target)
		return CORE_ANSWER_SELF;
	if (!source->synced || !(source->roles & WIRE_ROLE_EXPORT))
		return CORE_ANSWER_NO_SOURCE_AGENT;
	if (!wish->target->synced || !(wish->target->roles & wire_import_role(wish->device->class_id)))
		return CORE_ANSWER_NO_TARGET_AGENT;
	if (source->n_strays > 0)
		return CORE_ANSWER_LOCKED;
	if (core->suspended)
		return CORE_ANSWER_SUSPENDED;
	if (adopt_blocks(core, wish->device))
		return CORE_ANSWER_ADOPTING;
	if (question_about(core, wish->device))
		return CORE_ANSWER_ASKING;
	if (question_asker(&wish->terms) && restore_is_for_another(core, wish->device, wish->target))
		return CORE_ANSWER_IN_USE;
	if (wish->terms.end_usec != 0 && wish->terms.end_usec <= core->now_usec)
		return CORE_ANSWER_FAILED; /* its time was over while it was away */
	answer = request_decide(core, wish);
	return answer == CORE_ANSWER_DONE ? parts_judge(core, wish) : answer;
}

enum core_answer request_start(struct core *core, struct wish *wish)
{
	enum core_answer answer = request_judge(core, wish);
	struct input input = {.type = IN_ATTACH, .token = wish->token};
	bool claim = wish->terms.origin == CORE_ORIGIN_RESUME || wish->terms.origin == CORE_ORIGIN_REPLUG;

	assert(wish->device->state == CORE_FREE);
	if (answer == CORE_ANSWER_DONE && wish->ask)
		answer = question_open(core, wish, &wish->target, 1);
	else if (answer == CORE_ANSWER_DONE) {
		input.target = wish->target->ref;
		input.terms = &wish->terms;
		(void)attachment_handle(core, wish->device, &input);
		if (!claim)
			(void)restore_drop(core, wish->device, NULL);
	}
	return answer;
}

void request_refused(struct core *core, struct wish *wish, enum core_answer answer)
{
	struct reply reply = {
		.answer = answer, .confirmed = true, .asked_by = &wish->terms.asked_by, .other = wish->other};

	if (wish->target)
		reply.target_name = wish->target->name;
	if (answer == CORE_ANSWER_FAILED)
		reply.outcome = request_outcome(answer);
	if (answer == CORE_ANSWER_DENIED)
		reply.rule = wish->terms.rule;
	request_ended(core, wish->device, wish->terms.origin, wish->token, &reply);
}

int request_attach(struct core *core, const struct core_event *event)
{
	uint64_t token = event->request.token;
	struct wish wish = {.device = inventory_device_by_ref(core, event->request.device),
			    .target = inventory_qube(core, event->request.target),
			    .token = token};
	enum core_answer answer;

	if (token == 0)
		return CORE_EVENT_IGNORED;
	if (!wish.device || !wish.target || same_qube(wish.device->ref.qube, wish.target->ref)) {
		attachment_answer(core, wish.device, token,
				  !wish.device   ? CORE_ANSWER_NO_DEVICE
				  : !wish.target ? CORE_ANSWER_NO_QUBE
						 : CORE_ANSWER_SELF);
		return 0;
	}
	if (wish.device->state != CORE_FREE) { /* the table refuses, with its reason */
		struct input input = {.type = IN_ATTACH, .token = token, .target = wish.target->ref};

		return attachment_handle(core, wish.device, &input);
	}
	wish.terms.origin = CORE_ORIGIN_USER;
	wish.terms.asked_by = event->request.user;
	wish.terms.max_time_usec = event->request.max_time_usec;
	wish.terms.picture = event->request.picture;
	wish.terms.follow_port = auto_follows(core, wish.device, wish.target);
	if (!question_asker(&wish.terms))
		question_give_way(core, wish.device);
	answer = request_start(core, &wish);
	if (answer != CORE_ANSWER_DONE)
		request_refused(core, &wish, answer);
	else if (wish.device->state != CORE_FREE ||
		 (question_about(core, wish.device) && !question_asker(&wish.terms))) {
		/* what a qube asks has changed nothing yet */
		(void)restore_drop(core, wish.device, NULL);
		auto_taken_over(core, wish.device);
	}
	return 0;
}

static bool is_required(struct core *core, const struct core_device *device)
{
	const struct core_qube *target = inventory_qube(core, device->target);

	return target && device->state != CORE_DETACHING && device->state != CORE_LOCKED &&
	       auto_required(core, device, target);
}

/* Nothing of this device is to come about by itself. */
static void end_plans(struct core *core, struct core_device *device, struct core_qube_ref target)
{
	bool is_free = device->state == CORE_FREE;
	const struct question *question = question_about(core, device);
	bool planned = restore_drop(core, device, is_free ? &target : NULL);

	if (question && is_free && !question_offers(question, target))
		question = NULL;
	if (!is_free || planned || question || auto_pending(core, device))
		auto_hold(core, device);
	move_cancel(core, device);
	if (question)
		question_void(core, device);
}

int request_detach(struct core *core, const struct core_event *event)
{
	struct core_device *device = inventory_device_by_ref(core, event->request.device);
	struct input input = {.type = IN_DETACH,
			      .outcome = OUTCOME_DETACHED,
			      .token = event->request.token,
			      .target = event->request.target};
	bool theirs = device && (device->state == CORE_FREE || same_qube(device->target, input.target));

	if (input.token == 0)
		return CORE_EVENT_IGNORED;
	if (!device || (theirs && is_required(core, device))) {
		attachment_answer(core, device, input.token, device ? CORE_ANSWER_REQUIRED : CORE_ANSWER_NO_DEVICE);
		return 0;
	}
	if (device->state == CORE_FREE && adopt_blocks(core, device)) { /* "not attached" may not be true */
		attachment_answer(core, device, input.token, CORE_ANSWER_ADOPTING);
		return 0;
	}
	if (theirs)
		end_plans(core, device, input.target);
	return attachment_handle(core, device, &input);
}
