// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Assignments: what is to be attached by itself, and what is to be asked about.
 *
 * Each device is on its own: its own tries, its own back-off; one that fails or hangs holds up nobody. Devices that
 * something changed for are queued, and the queue is worked off when the event has been handled, as long as fewer than
 * LIMIT_STARTS attaches wait for their audit record; each record that is written makes room. A cause (something is new: the device, its target, an assignment of it, the policy, the machine woke up)
 * begins all tries anew; a mere look (a question, a claim, a stray is out of the way) does not.
 *
 * A try that was refused because somebody is not there waits for the cause that brings him; `deny` is reported once; a
 * question that was answered no, or not at all, is not asked again before there is a new cause, except that questions
 * which nobody was there for are asked when somebody comes. What cannot be asked about because too many questions are
 * open waits for its turn: the first that came whose device qube has a place is asked about first. An attachment that
 * ends again within BACKOFF_AUTO_LAST_USEC counts as a failed try, so a device that comes and goes is given up as well.
 *
 * Deny lists and the policy hold when an attachment begins: one that is running goes on when they change.
 */
#include "broker/core/internal.h"

#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

/* ---- the queue --------------------------------------------------------------------------------------------------- */

static void queue(struct core *core, struct core_device *device)
{
	struct plan *plan = plan_of(core, device);

	if (!plan->queued)
		core->queue[core->n_queued++] = device;
	plan->queued = true;
}

static void wait_for_place(struct core *core, struct core_device *device)
{
	struct plan *plan = plan_of(core, device);

	if (!plan->waits)
		core->waiting[core->n_waiting++] = device;
	plan->waits = true;
}

void auto_look(struct core *core, struct core_device *device)
{
	struct plan *plan = plan_of(core, device);

	if (plan->idle || plan->held || plan->retry_usec != 0)
		return;
	plan->look = true;
	queue(core, device);
}

void auto_cause(struct core *core, struct core_device *device)
{
	struct plan *plan = plan_of(core, device);

	plan->n_tries = 0;
	plan->retry_usec = 0;
	plan->idle = plan->nobody = false;
	auto_look(core, device);
}

void auto_look_source(struct core *core, struct core_qube *source)
{
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++)
		if (source->devices[i].used && source->devices[i].present)
			auto_look(core, &source->devices[i]);
}

static void cause_source(struct core *core, struct core_qube *source)
{
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++)
		if (source->devices[i].used && source->devices[i].present)
			auto_cause(core, &source->devices[i]);
}

/* Only device qubes that some assignment names. */
void auto_cause_all(struct core *core)
{
	for (unsigned int i = 0; i < LIMIT_QUBES; i++)
		if (core->qubes[i].used && assignments_of_source(core->assignments, core->qubes[i].name) > 0)
			cause_source(core, &core->qubes[i]);
}

/* `anew`: also those that their user detached. */
static void cause_fitting(struct core *core, const struct core_assignment *assignment, bool anew)
{
	for (unsigned int q = 0; q < LIMIT_QUBES; q++) {
		struct core_qube *source = &core->qubes[q];

		if (!source->used || strcmp(source->name, assignment->source) != 0)
			continue;
		for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
			struct core_device *device = &source->devices[i];

			if (!device->used || !device->present || !assignment_fits(assignment, source, device))
				continue;
			if (anew)
				plan_of(core, device)->held = false;
			auto_cause(core, device);
		}
	}
}

void auto_synced(struct core *core, struct core_qube *qube)
{
	bool anew = TAKE(core->fresh[qube->ref.index], false);
	const struct core_assignment *assignment;
	unsigned int cursor = 0;

	cause_source(core, qube);
	while ((assignment = assignments_next(core->assignments, &cursor)))
		if (strcmp(assignment->target, qube->name) == 0)
			cause_fitting(core, assignment, anew);
}

void auto_answerers(struct core *core)
{
	for (unsigned int q = 0; q < LIMIT_QUBES; q++)
		for (unsigned int i = 0; core->qubes[q].used && i < LIMIT_DEVICES; i++) {
			struct core_device *device = &core->qubes[q].devices[i];

			if (device->used && device->present && plan_of(core, device)->nobody)
				auto_cause(core, device);
		}
}

/* ---- what users and attachments do ------------------------------------------------------------------------------- */

void auto_taken_over(struct core *core, struct core_device *device)
{
	struct plan *plan = plan_of(core, device);

	plan->idle = true;
	plan->nobody = plan->look = false;
	plan->retry_usec = 0;
}

void auto_hold(struct core *core, struct core_device *device)
{
	auto_taken_over(core, device);
	plan_of(core, device)->held = true;
}

bool auto_pending(struct core *core, struct core_device *device)
{
	return plan_of(core, device)->retry_usec != 0 || plan_of(core, device)->waits;
}

static void give_up(struct core *core, const struct core_device *device, const char *target_name,
		    const struct reply *reply)
{
	struct core_action action = {.type = CORE_DO_AUTO_FAILED,
				     .device = device,
				     .target_name = target_name,
				     .rule = reply->rule,
				     .answer = reply->answer,
				     .outcome = reply->outcome};

	plan_of(core, device)->idle = true;
	core_emit(core, &action);
}

/* One more try has failed. */
static void fail_try(struct core *core, struct core_device *device, const struct reply *reply)
{
	struct plan *plan = plan_of(core, device);

	if (plan->idle)
		return;
	if (plan->n_tries >= LIMIT_AUTO_TRIES) {
		give_up(core, device, device->target_name, reply);
		return;
	}
	plan->retry_usec = core->now_usec + backoff_usec(plan->n_tries);
	queue(core, device);
}

void auto_ended(struct core *core, struct core_device *device, const struct reply *reply)
{
	struct plan *plan = plan_of(core, device);

	if (!device->present || reply->answer == CORE_ANSWER_DONE)
		return;
	if (reply->answer == CORE_ANSWER_FAILED) {
		fail_try(core, device, reply);
		return;
	}
	/* A question's end. With DENIED the policy or a deny list has changed: that is a cause, and says whom it denies. */
	plan->nobody = reply->answer == CORE_ANSWER_NOBODY;
	plan->idle = plan->nobody || reply->answer == CORE_ANSWER_SAID_NO || reply->answer == CORE_ANSWER_NO_REPLY;
}

void auto_freed(struct core *core, struct core_device *device)
{
	const struct plan *plan = plan_of(core, device);
	bool flaps = core->now_usec - plan->attached_usec < BACKOFF_AUTO_LAST_USEC;
	struct reply reply = {.answer = CORE_ANSWER_FAILED, .outcome = device->reason, .confirmed = true};

	if (!device->was_attached)
		auto_look(core, device);
	else if (device->terms.origin == CORE_ORIGIN_AUTO && flaps)
		fail_try(core, device, &reply);
	else
		auto_cause(core, device);
}

/* ---- what is stored ---------------------------------------------------------------------------------------------- */

int auto_assigned(struct core *core, const struct core_event *event)
{
	if (assignments_find_named(core->assignments, event->assignment))
		return CORE_EVENT_EXISTS;
	switch (assignments_add(core->assignments, event->assignment)) {
	case 0:
		break;
	case CORE_ASSIGN_FULL:
		return CORE_EVENT_FULL;
	default:
		return CORE_EVENT_IGNORED;
	}
	question_review(core);
	cause_fitting(core, event->assignment, true);
	places_look_assigned(core, event->assignment);
	return 0;
}

int auto_unassigned(struct core *core, const struct core_event *event)
{
	struct core_assignment key = *event->assignment;

	if (assignments_remove(core->assignments, &key) != 0)
		return CORE_EVENT_IGNORED;
	question_review(core);
	cause_fitting(core, &key, false); /* another, less specific one may decide now */
	return 0;
}

int auto_mode(struct core *core, const struct core_event *event)
{
	const struct core_assignment *changed = event->assignment;

	if (!assignment_is_fit(changed) || assignments_replace(core->assignments, changed, changed) != 0)
		return CORE_EVENT_IGNORED;
	question_review(core);
	cause_fitting(core, changed, true);
	return 0;
}

int auto_denied(struct core *core, const struct core_event *event)
{
	const char *qube = event->denied.qube;
	int r = 0;

	if (!text_is_qube_name(qube) || event->denied.n_patterns > LIMIT_DENIED_PATTERNS)
		return CORE_EVENT_IGNORED;
	for (unsigned int i = 0; i < event->denied.n_patterns; i++)
		if (!denied_is_pattern(event->denied.patterns[i]))
			return CORE_EVENT_IGNORED;
	(void)denied_remove_all(core->denied, qube);
	for (unsigned int i = 0; i < event->denied.n_patterns; i++)
		if (denied_add(core->denied, qube, event->denied.patterns[i]) == DENIED_FULL)
			r = CORE_EVENT_FULL;
	question_review(core);
	auto_cause_all(core);
	return r;
}

static bool is_target(void *userdata, const char *target)
{
	return strcmp(userdata, target) == 0;
}

/* The assignments of this device to that qube which decide when only that qube is looked at. */
static const struct core_assignment *assignment_to(const struct core *core, const struct core_qube *source,
						   const struct core_device *device, const struct core_qube *target)
{
	char name[LIMIT_QUBE_NAME + 1];
	struct core_match match;

	memcpy(name, target->name, sizeof(name));
	assignments_match(core->assignments, source, device, is_target, name, &match);
	return match.n_offered > 0 ? match.offered[0] : NULL;
}

bool auto_follows(struct core *core, const struct core_device *device, const struct core_qube *target)
{
	const struct core_qube *source = inventory_qube(core, device->ref.qube);
	const struct core_assignment *assignment = target ? assignment_to(core, source, device, target) : NULL;

	return assignment && assignment->follow_port;
}

bool auto_required(struct core *core, const struct core_device *device, const struct core_qube *target)
{
	const struct core_qube *source = inventory_qube(core, device->ref.qube);
	const struct core_assignment *assignment;
	unsigned int cursor = 0;

	while ((assignment = assignments_next(core->assignments, &cursor)))
		if (assignment->mode == CORE_ASSIGN_REQUIRED && strcmp(assignment->target, target->name) == 0 &&
		    assignment_fits(assignment, source, device))
			return true;
	return false;
}

/* ---- tries ------------------------------------------------------------------------------------------------------- */

static struct core_qube *find_target(struct core *core, const char *name)
{
	const struct core_qube *found = core_find_qube_by_name(core, name);

	return found ? inventory_qube(core, found->ref) : NULL;
}

static bool is_running(void *userdata, const char *target)
{
	return core_find_qube_by_name(userdata, target) != NULL;
}

static struct wish wish_of(struct core *core, struct core_device *device, const struct core_assignment *assignment)
{
	return (struct wish){.device = device,
			     .target = find_target(core, assignment->target),
			     .terms = {.origin = CORE_ORIGIN_AUTO,
				       .asked_by = CORE_NO_USER,
				       .follow_port = assignment->follow_port,
				       .max_time_usec = assignment->max_time_usec,
				       .picture = assignment->picture}};
}

/* The one place where a try is counted: when it begins, so that one whose end never comes counts too. */
static enum core_answer begin_try(struct core *core, struct wish *wish)
{
	enum core_answer answer = request_start(core, wish);

	plan_of(core, wish->device)->n_tries += wish->device->state != CORE_FREE; /* refused, or asked about: none */
	return answer;
}

/* What is neither of the two waits for a cause; DONE: nothing. */
static void note_answer(struct core *core, const struct wish *wish, enum core_answer answer)
{
	struct reply reply = {.answer = answer, .confirmed = true, .rule = wish->terms.rule};

	if (answer == CORE_ANSWER_CROWDED)
		wait_for_place(core, wish->device);
	if (answer == CORE_ANSWER_DENIED)
		give_up(core, wish->device, wish->target->name, &reply);
}

/* A user chose `target`; its assignment may have changed while he was asked. */
void auto_allowed(struct core *core, struct core_device *device, struct core_qube *target, const struct core_user *user)
{
	const struct core_qube *source = inventory_qube(core, device->ref.qube);
	const struct core_assignment *assignment = target ? assignment_to(core, source, device, target) : NULL;
	struct wish wish;

	if (!assignment) {
		auto_cause(core, device);
		return;
	}
	wish = wish_of(core, device, assignment);
	wish.target = target;
	wish.agreed = wish.terms.answered = true;
	wish.terms.answered_by = *user;
	note_answer(core, &wish, begin_try(core, &wish));
}

bool auto_still_asks(struct core *core, const struct core_device *device, const struct question *question)
{
	const struct core_qube *source = inventory_qube(core, question->q.device.qube);
	struct core_match match;

	assignments_match(core->assignments, source, device, is_running, core, &match);
	for (unsigned int i = 0; i < match.n_offered; i++) {
		const struct core_qube *target = find_target(core, match.offered[i]->target);

		if (target && question_offers(question, target->ref))
			return true;
	}
	return false;
}

/* Which of these? Offers those that would be allowed now; none: why not. */
static enum core_answer ask_which(struct core *core, struct core_device *device, const struct core_match *match,
				  struct wish *ret_wish)
{
	enum core_answer refusal = CORE_ANSWER_NO_QUBE;
	struct core_qube *targets[LIMIT_OFFERED];
	unsigned int n = 0;

	for (unsigned int i = 0; i < match->n_offered; i++) {
		struct wish wish = wish_of(core, device, match->offered[i]);
		enum core_answer answer = request_judge(core, &wish);

		if (answer == CORE_ANSWER_DONE) {
			targets[n++] = wish.target;
			if (n == 1)
				*ret_wish = wish;
		} else {
			refusal = answer;
			if (n == 0)
				*ret_wish = wish;
		}
	}
	return n > 0 ? question_open(core, ret_wish, targets, n) : refusal;
}

static void try_now(struct core *core, struct core_device *device, const struct core_match *match)
{
	struct wish wish = wish_of(core, device, match->offered[0]);
	enum core_answer answer =
		match->result == CORE_MATCH_ASK ? ask_which(core, device, match, &wish) : begin_try(core, &wish);

	note_answer(core, &wish, answer);
}

static void look_at(struct core *core, struct core_device *device)
{
	const struct core_qube *source = inventory_qube(core, device->ref.qube);
	const struct plan *plan = plan_of(core, device);
	struct core_match match;

	if (device->state != CORE_FREE || plan->held || plan->idle || plan->retry_usec != 0 || core->suspended ||
	    !source->synced || question_about(core, device) || restore_claims(core, device))
		return;
	assignments_match(core->assignments, source, device, is_running, core, &match);
	if (match.result != CORE_MATCH_NONE)
		try_now(core, device, &match);
}

/* Takes out the first that waits for a question's place and could have one, and who has gone; NULL: none. */
static struct core_device *take_waiting(struct core *core)
{
	for (unsigned int i = 0; i < core->n_waiting; i++) {
		struct core_device *device = core->waiting[i];
		bool is_there = device->used && device->present;

		if (is_there && !question_has_place(core, device->ref.qube))
			continue;
		plan_of(core, device)->waits = false;
		core->n_waiting--;
		memmove(&core->waiting[i], &core->waiting[i + 1], (core->n_waiting - i) * sizeof(core->waiting[0]));
		return device;
	}
	return NULL;
}

/* What cannot be asked about now all the same, for another reason, waits no longer: it is looked at when that ends. */
static void ask_waiting(struct core *core)
{
	struct core_device *device;

	while (core->n_auditing < LIMIT_STARTS && (device = take_waiting(core)))
		if (device->used && device->present)
			look_at(core, device);
}

void auto_run(struct core *core)
{
	ask_waiting(core);
	for (unsigned int i = core->n_queued; i-- > 0 && core->n_auditing < LIMIT_STARTS;) {
		struct core_device *device = core->queue[i];
		struct plan *plan = plan_of(core, device);
		bool is_there = device->used && device->present;

		if (is_there && !plan->look && plan->retry_usec > core->now_usec)
			continue;
		core->queue[i] = core->queue[--core->n_queued];
		plan->queued = plan->look = false;
		plan->retry_usec = 0;
		if (is_there)
			look_at(core, device);
	}
}
