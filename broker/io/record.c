// SPDX-License-Identifier: GPL-2.0-or-later
/* A table of actions, and for each what its record holds; see record.h. */
#include "broker/io/record.h"

#include "lib/base/base.h"

static const char *const origins[CORE_ORIGIN_COUNT] = {
	[CORE_ORIGIN_USER] = "user", [CORE_ORIGIN_AUTO] = "auto",     [CORE_ORIGIN_MOVE] = "move",
	[CORE_ORIGIN_BACK] = "move", [CORE_ORIGIN_RESUME] = "resume", [CORE_ORIGIN_REPLUG] = "replug",
};

struct audit_record record_plain(const char *event, struct core_user caller, const char *target, const char *outcome)
{
	return (struct audit_record){
		.event = event, .caller = caller, .answered_by = CORE_NO_USER, .target = target, .outcome = outcome};
}

static void add_terms(const struct core_terms *terms, struct audit_record *record)
{
	record->caller = terms->asked_by;
	record->origin = origins[terms->origin];
	record->rule = terms->rule[0] ? terms->rule : NULL;
	record->answered_by = terms->answered ? terms->answered_by : CORE_NO_USER;
}

static const char *target_of(const struct core_device *device)
{
	return device && device->target_name[0] ? device->target_name : NULL;
}

/* Why it did not come about. */
static const char *reason_of(const struct core_action *action)
{
	return action->outcome != OUTCOME_OK ? outcome_name(action->outcome) : core_answer_text(action->answer);
}

static bool of_audit(const struct core_action *action, const struct record_context *context _unused_,
		     struct audit_record *record)
{
	record->event = "attach-request";
	record->target = target_of(action->device);
	add_terms(&action->device->terms, record);
	return true;
}

/* A transition. What was on its way or attached and is FREE again was detached, or never attached. */
static bool of_note(const struct core_action *action, const struct record_context *context _unused_,
		    struct audit_record *record)
{
	static const char *const events[CORE_STATE_COUNT] = {[CORE_ATTACHED] = "attached",
							     [CORE_DETACHING] = "detaching",
							     [CORE_LOCKED] = "locked",
							     [CORE_ADOPTING] = "checking",
							     [CORE_CLEARING] = "ending-parts"};

	record->event = events[action->state];
	if (!record->event)
		record->event = action->device->was_attached ? "detached" : "attach-failed";
	record->target = target_of(action->device);
	record->outcome = outcome_name(action->outcome);
	if (action->state == CORE_ATTACHED)
		add_terms(&action->device->terms, record);
	return true;
}

/* Names the qube that was asked for, which need not be the one that has the device. */
static bool of_answer(const struct core_action *action, const struct record_context *context,
		      struct audit_record *record)
{
	switch (action->answer) {
	case CORE_ANSWER_DONE:
	case CORE_ANSWER_FAILED:
	case CORE_ANSWER_NOT_CONFIRMED:
	case CORE_ANSWER_OVERTAKEN: /* what is wanted of a mute is in the record of the wish */
		return false;
	case CORE_ANSWER_MOVED_BACK:
	case CORE_ANSWER_MOVED_FREE:
		if (!action->rule && !action->back_rule)
			return false; /* its legs were begun, and left records of their own */
		break;
	case CORE_ANSWER_NO_DEVICE:
	case CORE_ANSWER_NO_QUBE:
	case CORE_ANSWER_SELF:
	case CORE_ANSWER_IN_USE:
	case CORE_ANSWER_ALREADY:
	case CORE_ANSWER_DETACHING:
	case CORE_ANSWER_LOCKED:
	case CORE_ANSWER_NO_SOURCE_AGENT:
	case CORE_ANSWER_NO_TARGET_AGENT:
	case CORE_ANSWER_NOT_ATTACHED:
	case CORE_ANSWER_DENIED:
	case CORE_ANSWER_ASKING:
	case CORE_ANSWER_SAID_NO:
	case CORE_ANSWER_NOBODY:
	case CORE_ANSWER_CROWDED:
	case CORE_ANSWER_TOO_SOON:
	case CORE_ANSWER_NO_REPLY:
	case CORE_ANSWER_SUSPENDED:
	case CORE_ANSWER_ADOPTING:
	case CORE_ANSWER_REQUIRED:
	case CORE_ANSWER_NO_MUTE:
	case CORE_ANSWER_MUTE_NOT_CONFIRMED:
	case CORE_ANSWER_PART_IN_USE:
	case CORE_ANSWER_WHOLE_IN_USE:
	case CORE_ANSWER_COUNT:
		break;
	}
	record->event = "refused";
	if (action->asked_by) /* what is handled now may be an answer to its question, or time */
		record->caller = *action->asked_by;
	record->target = action->target_name ? action->target_name : context->requested;
	record->rule = action->rule ? action->rule : action->back_rule;
	record->outcome = core_answer_text(action->answer);
	return true;
}

static bool of_question(const struct core_action *action, const struct record_context *context,
			struct audit_record *record)
{
	static const char *const ends[CORE_QUESTION_END_COUNT] = {
		[CORE_QUESTION_ALLOWED] = "allowed", [CORE_QUESTION_DENIED] = "denied",
		[CORE_QUESTION_NOBODY] = "nobody",   [CORE_QUESTION_TIMED_OUT] = "timed-out",
		[CORE_QUESTION_VOID] = "void",
	};
	bool end = action->type == CORE_DO_ASK_END;

	record->event = end ? "answered" : "asked";
	record->outcome = end ? ends[action->question_end] : NULL;
	add_terms(&action->question->terms, record);
	if (end && record->answered_by.uid == CORE_NOBODY && action->question_end <= CORE_QUESTION_DENIED)
		record->answered_by = context->caller;
	record->target = action->question->n_offered == 1 ? action->question->offered[0] : NULL;
	record->device = core_find_device(context->core, action->question->device);
	record->qube = core_find_qube(context->core, action->question->device.qube);
	return true;
}

static bool of_mute(const struct core_action *action, const struct record_context *context, struct audit_record *record)
{
	record->event = action->device->terms.muted ? "mute" : "unmute";
	record->caller = context->caller;
	record->target = target_of(action->device);
	return true;
}

static bool of_limit_near(const struct core_action *action, const struct record_context *context _unused_,
			  struct audit_record *record)
{
	record->event = "limit-near";
	record->target = target_of(action->device);
	return true;
}

static bool of_auto_failed(const struct core_action *action, const struct record_context *context _unused_,
			   struct audit_record *record)
{
	record->event = "auto-failed";
	record->target = action->target_name;
	record->rule = action->rule;
	record->outcome = reason_of(action);
	return true;
}

static bool of_restore_failed(const struct core_action *action, const struct record_context *context,
			      struct audit_record *record)
{
	record->event = "restore-failed";
	add_terms(&action->restore->terms, record);
	record->device = &action->restore->device;
	record->qube = core_find_qube_by_name(context->core, action->restore->source_name);
	record->target = action->restore->target_name;
	record->outcome = reason_of(action);
	return true;
}

static bool of_not_adopted(const struct core_action *action, const struct record_context *context,
			   struct audit_record *record)
{
	record->event = "not-adopted";
	record->device = &action->memory->device;
	record->qube = core_find_qube_by_name(context->core, action->memory->source.name);
	record->target = action->memory->target.name;
	record->session = action->memory->session;
	record->outcome = outcome_name(action->outcome);
	return true;
}

static bool (*const makers[])(const struct core_action *action, const struct record_context *context,
			      struct audit_record *record) = {
	[CORE_DO_AUDIT] = of_audit,
	[CORE_DO_NOTE] = of_note,
	[CORE_DO_NOTE_MUTE] = of_mute,
	[CORE_DO_ANSWER] = of_answer,
	[CORE_DO_ASK] = of_question,
	[CORE_DO_ASK_END] = of_question,
	[CORE_DO_LIMIT_NEAR] = of_limit_near,
	[CORE_DO_AUTO_FAILED] = of_auto_failed,
	[CORE_DO_RESTORE_FAILED] = of_restore_failed,
	[CORE_DO_NOT_ADOPTED] = of_not_adopted,
};

bool record_of(const struct core_action *action, const struct record_context *context, struct audit_record *ret_record)
{
	const struct core_device *device = action->device;
	struct audit_record record = record_plain(NULL, context->caller, NULL, NULL);

	if ((size_t)action->type >= ARRAY_SIZE(makers) || !makers[action->type])
		return false;
	record.device = device;
	record.qube = device ? core_find_qube(context->core, device->ref.qube) : NULL;
	record.session = action->session;
	if (!makers[action->type](action, context, &record))
		return false;
	*ret_record = record;
	return true;
}
