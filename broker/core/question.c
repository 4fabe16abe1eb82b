// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Questions to whoever is there to answer: may this device go there, or to which of these?
 *
 * Invariants: at most one question about a device; of one device qube at most one is shown, the oldest; a device qube
 * has at most a quarter of all places, so that none can keep the others from being asked about (who finds no place is
 * told CROWDED; auto.c waits for one); a question that is closed is taken out first, then told, so that what follows
 * from its end sees no question.
 */
#include "broker/core/internal.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"

#define PER_QUBE (LIMIT_QUESTIONS / 4)

struct question *question_about(struct core *core, const struct core_device *device)
{
	for (unsigned int i = 0; core->n_questions > 0 && i < LIMIT_QUESTIONS; i++)
		if (core->questions[i].q.id != 0 && same_device(core->questions[i].q.device, device->ref))
			return &core->questions[i];
	return NULL;
}

bool question_offers(const struct question *question, struct core_qube_ref target)
{
	for (unsigned int i = 0; i < question->q.n_offered; i++)
		if (same_qube(question->targets[i], target))
			return true;
	return false;
}

/* ---- the end of a question --------------------------------------------------------------------------------------- */

static void allowed(struct core *core, struct core_device *device, const struct question *question,
		    struct core_qube_ref target, uint32_t uid)
{
	struct wish wish = {.device = device,
			    .target = inventory_qube(core, target),
			    .token = question->q.token,
			    .terms = question->q.terms,
			    .agreed = true};
	enum core_answer answer;

	wish.terms.answered = true;
	wish.terms.answered_by = uid;
	if (wish.terms.origin == CORE_ORIGIN_MOVE) {
		move_begin(core, &wish, question->q.from);
		return;
	}
	if (wish.terms.origin == CORE_ORIGIN_AUTO) {
		auto_allowed(core, device, wish.target, uid);
		return;
	}
	answer = request_start(core, &wish);
	if (answer != CORE_ANSWER_DONE)
		request_refused(core, &wish, answer);
}

/* How a question ends; `target`, `uid`: ALLOWED; `rule`: VOID, because that denies it now. */
struct ending {
	enum core_question_end end;
	struct core_qube_ref target;
	uint32_t uid;
	const char *rule;
};

static void close_question(struct core *core, struct question *question, const struct ending *ending)
{
	static const enum core_answer answers[CORE_QUESTION_END_COUNT] = {
		[CORE_QUESTION_DENIED] = CORE_ANSWER_SAID_NO,
		[CORE_QUESTION_NOBODY] = CORE_ANSWER_NOBODY,
		[CORE_QUESTION_TIMED_OUT] = CORE_ANSWER_NO_REPLY,
		[CORE_QUESTION_VOID] = CORE_ANSWER_NO_REPLY,
	};
	const struct question closed = *question;
	struct core_device *device = inventory_record_by_ref(core, closed.q.device);
	enum core_question_end end = ending->end;
	struct reply reply = {
		.answer = ending->rule ? CORE_ANSWER_DENIED : answers[end], .confirmed = true, .rule = ending->rule};
	struct core_action action = {.type = CORE_DO_ASK_END,
				     .device = device,
				     .qube = closed.q.device.qube,
				     .token = closed.q.token,
				     .question = &closed.q,
				     .question_end = end};

	memset(question, 0, sizeof(*question));
	core->n_questions--;
	core_emit(core, &action);
	if (end == CORE_QUESTION_ALLOWED)
		allowed(core, device, &closed, ending->target, ending->uid);
	else
		request_ended(core, device, closed.q.terms.origin, closed.q.token, &reply);
	if (device && end != CORE_QUESTION_ALLOWED && closed.q.terms.origin != CORE_ORIGIN_AUTO)
		auto_look(core, device); /* it was in the way */
}

static void close_unanswered(struct core *core, struct question *question, enum core_question_end end)
{
	close_question(core, question, &(struct ending){.end = end});
}

void question_void(struct core *core, const struct core_device *device)
{
	struct question *question = question_about(core, device);

	if (question)
		close_unanswered(core, question, CORE_QUESTION_VOID);
}

static void close_all(struct core *core, enum core_question_end end)
{
	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++)
		if (core->questions[i].q.id != 0)
			close_unanswered(core, &core->questions[i], end);
}

void question_void_all(struct core *core)
{
	close_all(core, CORE_QUESTION_VOID);
}

void question_source_lost(struct core *core, const struct core_qube *qube)
{
	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++)
		if (core->questions[i].q.id != 0 && same_qube(core->questions[i].q.device.qube, qube->ref))
			close_unanswered(core, &core->questions[i], CORE_QUESTION_VOID);
}

void question_qube_gone(struct core *core, const struct core_qube *qube)
{
	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++) {
		struct question *question = &core->questions[i];
		unsigned int n_left = 0;

		if (question->q.id == 0 || !question_offers(question, qube->ref))
			continue;
		for (unsigned int t = 0; t < question->q.n_offered; t++)
			n_left += !same_qube(question->targets[t], qube->ref) &&
				  inventory_qube(core, question->targets[t]) != NULL;
		if (n_left == 0)
			close_unanswered(core, question, CORE_QUESTION_VOID);
	}
}

/* Closes it when its answer cannot be anything but a refusal any more. */
static void review(struct core *core, struct question *question)
{
	struct wish wish = {.device = inventory_device_by_ref(core, question->q.device), .agreed = true};
	struct ending ending = {.end = CORE_QUESTION_VOID};

	if (question->q.terms.origin == CORE_ORIGIN_AUTO && !auto_still_asks(core, wish.device, question)) {
		close_question(core, question, &ending);
		return;
	}
	for (unsigned int i = 0; i < question->q.n_offered; i++) {
		wish.target = inventory_qube(core, question->targets[i]);
		if (wish.target && request_decide(core, &wish) == CORE_ANSWER_DONE)
			return;
	}
	ending.rule = wish.terms.rule;
	close_question(core, question, &ending);
}

void question_review(struct core *core)
{
	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++)
		if (core->questions[i].q.id != 0)
			review(core, &core->questions[i]);
}

void question_tick(struct core *core)
{
	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++)
		if (core->questions[i].q.id != 0 && core->questions[i].q.deadline_usec <= core->now_usec)
			close_unanswered(core, &core->questions[i], CORE_QUESTION_TIMED_OUT);
}

int question_answerers(struct core *core, const struct core_event *event)
{
	unsigned int former = core->n_answerers;

	core->n_answerers = event->answerers;
	if (core->n_answerers == 0)
		close_all(core, CORE_QUESTION_NOBODY);
	else if (former == 0)
		auto_answerers(core);
	return 0;
}

int question_answered(struct core *core, const struct core_event *event)
{
	struct question *question = NULL;

	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++)
		if (event->answered.question != 0 && core->questions[i].q.id == event->answered.question)
			question = &core->questions[i];
	if (!question || !question->q.shown)
		return CORE_EVENT_IGNORED;
	for (unsigned int i = 0; event->answered.allow && i < question->q.n_offered; i++)
		if (strcmp(question->q.offered[i], event->answered.target) == 0) {
			close_question(core, question,
				       &(struct ending){.end = CORE_QUESTION_ALLOWED,
							.target = question->targets[i],
							.uid = event->answered.uid});
			return 0;
		}
	close_unanswered(core, question, CORE_QUESTION_DENIED);
	return 0;
}

/* ---- its beginning ----------------------------------------------------------------------------------------------- */

static struct question *find_place(struct core *core, struct core_qube_ref source)
{
	struct question *place = NULL;
	unsigned int n_of_source = 0;

	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++)
		if (core->questions[i].q.id == 0)
			place = place ? place : &core->questions[i];
		else
			n_of_source += same_qube(core->questions[i].q.device.qube, source);
	return n_of_source < PER_QUBE ? place : NULL;
}

bool question_has_place(struct core *core, struct core_qube_ref source)
{
	return find_place(core, source) != NULL;
}

enum core_answer question_open(struct core *core, const struct wish *wish, struct core_qube *const *targets,
			       unsigned int n_targets)
{
	struct question *question = find_place(core, wish->device->ref.qube);

	if (!question)
		return CORE_ANSWER_CROWDED;
	*question = (struct question){.q = {.id = ++core->n_questions_ever,
					    .device = wish->device->ref,
					    .terms = wish->terms,
					    .token = wish->token,
					    .move = wish->terms.origin == CORE_ORIGIN_MOVE,
					    .n_offered = n_targets,
					    .deadline_usec = core->now_usec + TIMEOUT_ASK_USEC}};
	if (question->q.move)
		question->q.from = wish->device->target;
	for (unsigned int i = 0; i < n_targets; i++) {
		question->targets[i] = targets[i]->ref;
		memcpy(question->q.offered[i], targets[i]->name, sizeof(question->q.offered[i]));
		if (strcmp(targets[i]->name, wish->default_target) == 0)
			memcpy(question->q.default_target, targets[i]->name, sizeof(question->q.default_target));
	}
	core->n_questions++;
	if (core->n_answerers == 0)
		close_unanswered(core, question, CORE_QUESTION_NOBODY);
	return CORE_ANSWER_DONE;
}

/* Is another one of the same device qube shown, or older? */
static bool must_wait(const struct core *core, const struct core_question *question)
{
	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++) {
		const struct core_question *other = &core->questions[i].q;

		if (other->id != 0 && same_qube(other->device.qube, question->device.qube) &&
		    (other->shown || other->id < question->id))
			return true;
	}
	return false;
}

void question_run(struct core *core)
{
	for (unsigned int i = 0; core->n_questions > 0 && i < LIMIT_QUESTIONS; i++) {
		struct core_question *question = &core->questions[i].q;
		struct core_action action = {.type = CORE_DO_ASK, .qube = question->device.qube, .question = question};

		if (question->id == 0 || question->shown || must_wait(core, question))
			continue;
		question->shown = true;
		action.device = inventory_record_by_ref(core, question->device);
		core_emit(core, &action);
	}
}
