// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Questions to whoever is there to answer: may this device go there, or to which of these?
 *
 * Invariants: at most one question about a device; of one device qube at most one that no qube asked is shown, the oldest,
 * and at most one of a qube, which was the oldest of all when it came to be shown; a device qube has at most a quarter of
 * all places, so that none can keep the others from being asked about (who finds no place is told CROWDED; auto.c waits
 * for one); a question that is closed is taken out first, then told, so that what follows from its end sees no question.
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
		    struct core_qube_ref target, const struct core_user *user)
{
	struct wish wish = {.device = device,
			    .target = inventory_qube(core, target),
			    .token = question->q.token,
			    .terms = question->q.terms,
			    .agreed = true};
	enum core_answer answer;

	wish.terms.answered = true;
	wish.terms.answered_by = *user;
	if (wish.terms.origin == CORE_ORIGIN_MOVE) {
		move_begin(core, &wish, question->q.from);
		return;
	}
	if (wish.terms.origin == CORE_ORIGIN_AUTO) {
		auto_allowed(core, device, wish.target, user);
		return;
	}
	answer = request_start(core, &wish);
	if (answer != CORE_ANSWER_DONE)
		request_refused(core, &wish, answer);
	else if (question_asker(&wish.terms))
		auto_taken_over(core, device);
}

/* How a question ends; `target`, `user`: ALLOWED; `rule`: VOID, because that denies it now. */
struct ending {
	enum core_question_end end;
	struct core_qube_ref target;
	struct core_user user;
	const char *rule;
	bool gave_way; /* VOID: for what its user wants */
};

/* That qube waits before it asks again. Beyond LIMIT_ASKERS the one that has waited longest is forgotten. */
static void set_back(struct core *core, const char *qube)
{
	struct asker *place = &core->askers[0];

	for (unsigned int i = 0; i < LIMIT_ASKERS; i++) {
		struct asker *asker = &core->askers[i];

		if (strcmp(asker->qube, qube) == 0) {
			place = asker;
			break;
		}
		if (asker->until_usec < place->until_usec)
			place = asker;
	}
	(void)strcpy(place->qube, qube);
	place->until_usec = core->now_usec + BACKOFF_ASKER_USEC;
}

static bool is_set_back(const struct core *core, const char *qube)
{
	for (unsigned int i = 0; i < LIMIT_ASKERS; i++)
		if (core->askers[i].until_usec > core->now_usec && strcmp(core->askers[i].qube, qube) == 0)
			return true;
	return false;
}

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
	struct reply reply = {.answer = ending->rule ? CORE_ANSWER_DENIED : answers[end],
			      .confirmed = true,
			      .rule = ending->rule,
			      .asked_by = &closed.q.terms.asked_by,
			      .target_name = closed.q.n_offered == 1 ? closed.q.offered[0] : NULL};
	struct core_action action = {.type = CORE_DO_ASK_END,
				     .device = device,
				     .qube = closed.q.device.qube,
				     .token = closed.q.token,
				     .question = &closed.q,
				     .question_end = end};

	memset(question, 0, sizeof(*question));
	core->n_questions--;
	if (question_asker(&closed.q.terms) && end != CORE_QUESTION_ALLOWED && end != CORE_QUESTION_NOBODY &&
	    !ending->gave_way)
		set_back(core, closed.q.terms.asked_by.qube);
	core_emit(core, &action);
	if (end == CORE_QUESTION_ALLOWED)
		allowed(core, device, &closed, ending->target, &ending->user);
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

static void give_way(struct core *core, struct question *question)
{
	close_question(core, question, &(struct ending){.end = CORE_QUESTION_VOID, .gave_way = true});
}

void question_give_way(struct core *core, const struct core_device *device)
{
	struct question *question = question_about(core, device);

	if (question && question_asker(&question->q.terms))
		give_way(core, question);
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
							.user = event->answered.user});
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

static unsigned int count_asked(const struct core *core, const char *asker)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++) {
		const struct core_question *question = &core->questions[i].q;
		const char *other = question->id != 0 ? question_asker(&question->terms) : NULL;

		n += other && strcmp(other, asker) == 0;
	}
	return n;
}

/* A qube's question makes room for a user's: the youngest about a device of `source`, else, if all places are taken, of any. */
static void make_place(struct core *core, struct core_qube_ref source)
{
	struct question *youngest = NULL;
	bool of_source = false;

	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++) {
		struct question *question = &core->questions[i];
		bool here = same_qube(question->q.device.qube, source);

		if (question->q.id == 0 || !question_asker(&question->q.terms) || (of_source && !here))
			continue;
		if (!youngest || (here && !of_source) || question->q.id > youngest->q.id)
			youngest = question;
		of_source = here;
	}
	if (youngest && (of_source || core->n_questions == LIMIT_QUESTIONS))
		give_way(core, youngest);
}

enum core_answer question_open(struct core *core, const struct wish *wish, struct core_qube *const *targets,
			       unsigned int n_targets)
{
	const char *asker = question_asker(&wish->terms);
	struct question *question = find_place(core, wish->device->ref.qube);

	if (!question && wish->token != 0 && !asker) {
		make_place(core, wish->device->ref.qube);
		question = find_place(core, wish->device->ref.qube);
	}
	if (!question || (asker && count_asked(core, asker) >= LIMIT_QUESTIONS_ASKER))
		return CORE_ANSWER_CROWDED;
	if (asker && is_set_back(core, asker))
		return CORE_ANSWER_TOO_SOON;
	*question = (struct question){.q = {.id = ++core->n_questions_ever,
					    .device = wish->device->ref,
					    .class_id = wish->device->class_id,
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

/* Is another one of the same device qube shown, or older? What qubes ask holds up nobody else. */
static bool must_wait(const struct core *core, const struct core_question *question)
{
	for (unsigned int i = 0; i < LIMIT_QUESTIONS; i++) {
		const struct core_question *other = &core->questions[i].q;

		if (other->id != 0 && same_qube(other->device.qube, question->device.qube) &&
		    (!question_asker(&other->terms) || question_asker(&question->terms)) &&
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
