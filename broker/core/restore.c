// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The machine's sleep, and attachments that ended without their user's will: claims on making them again.
 *
 *   RESUME  it was ATTACHED when the machine went to sleep, or a stream was lost just after it woke up. The source may
 *           be a new life of the qube with that UUID and name; the target must be the same life: an app qube that was
 *           restarted meanwhile starts fresh.
 *   REPLUG  its device went while it was ATTACHED, or right after its stream ended by itself: proxies see that a device
 *           has gone before udev does. Until the device has gone that is no claim yet, and nobody sees it. Source and
 *           target must be the same lives.
 *
 * A claim is tried when the device is listed at the same place (port, whatever it is called now), is FREE, and no record of what it was is left. With the
 * same identity (ids, serial, interfaces, speed) `ask` counts as allowed; another identity needs `follow_port` and a
 * decision of its own. `deny` ends a claim. Only attaches that were begun and failed count as tries; while agents are
 * away a claim waits. The former end of its time stays.
 *
 * What a sleep has ended outlives the broker: the session's memory on disk becomes the claim's, and is forgotten with
 * the claim. All other claims, which last seconds, live as long as the broker.
 */
#include "broker/core/internal.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"

/* ---- claims ------------------------------------------------------------------------------------------------------ */

/* While its former stream is still being stopped, the end of that forgets the memory. */
static void release(struct core *core, struct restore *restore)
{
	struct core_action forget = {.type = CORE_DO_FORGET, .session = restore->session};

	memset(restore, 0, sizeof(*restore));
	core->n_restores--;
	if (forget.session != 0 && !attachment_find(core, forget.session))
		core_emit(core, &forget);
}

bool restore_keeps(const struct core *core, uint64_t session)
{
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++)
		if (core->restores[i].session == session)
			return true;
	return false;
}

static struct core_qube *find_source(struct core *core, const struct restore *restore)
{
	struct core_qube *found = NULL;

	if (restore->r.origin == CORE_ORIGIN_REPLUG)
		return inventory_qube(core, restore->r.device.ref.qube);
	for (unsigned int i = 0; i < LIMIT_QUBES; i++) {
		struct core_qube *qube = &core->qubes[i];

		if (qube->used && memcmp(qube->uuid, restore->r.source_uuid, sizeof(qube->uuid)) == 0 &&
		    strcmp(qube->name, restore->r.source_name) == 0 &&
		    (!found || qube->ref.incarnation > found->ref.incarnation))
			found = qube;
	}
	return found;
}

/* Is the claim on this device's place? */
static bool is_about(struct core *core, const struct restore *restore, const struct core_device *device)
{
	const struct core_qube *source;

	if (!restore->r.used || !same_place(&restore->r.device, device))
		return false;
	source = find_source(core, restore);
	return source && same_qube(source->ref, device->ref.qube);
}

static void fail(struct core *core, struct restore *restore, enum core_answer answer, enum outcome outcome)
{
	const struct core_restore failed = restore->r;
	struct core_qube *source = find_source(core, restore);
	struct core_action action = {.type = CORE_DO_RESTORE_FAILED,
				     .restore = &failed,
				     .target_name = failed.target_name,
				     .rule = answer == CORE_ANSWER_DENIED ? failed.terms.rule : NULL,
				     .answer = answer,
				     .outcome = outcome};

	release(core, restore);
	core_emit(core, &action);
	if (source)
		auto_look_source(core, source); /* the claim was in the way */
}

bool restore_drop(struct core *core, const struct core_device *device, const struct core_qube_ref *target)
{
	bool dropped = false;

	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++) {
		struct restore *restore = &core->restores[i];

		if (is_about(core, restore, device) && (!target || same_qube(restore->target, *target))) {
			release(core, restore);
			dropped = true;
		}
	}
	return dropped;
}

void restore_supersede(struct core *core, const struct core_memory *memory)
{
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++) {
		struct restore *restore = &core->restores[i];

		if (restore->r.used && restore->r.origin == CORE_ORIGIN_RESUME &&
		    same_place(&restore->r.device, &memory->device) &&
		    memcmp(restore->r.source_uuid, memory->source.uuid, sizeof(memory->source.uuid)) == 0 &&
		    strcmp(restore->r.source_name, memory->source.name) == 0)
			release(core, restore);
	}
}

bool restore_is_for_another(struct core *core, const struct core_device *device, const struct core_qube *target)
{
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++)
		if (core->restores[i].gone && is_about(core, &core->restores[i], device) &&
		    !same_qube(core->restores[i].target, target->ref))
			return true;
	return false;
}

bool restore_claims(struct core *core, const struct core_device *device)
{
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++)
		if (core->restores[i].gone && is_about(core, &core->restores[i], device))
			return true;
	return false;
}

static struct restore *find_place(struct core *core)
{
	for (unsigned int i = 0; i < LIMIT_RESTORES; i++)
		if (!core->restores[i].r.used)
			return &core->restores[i];
	return NULL;
}

/* The claim, or NULL: there cannot be one. */
static struct restore *claim(struct core *core, const struct core_device *device, enum core_origin origin,
			     uint64_t deadline_usec, bool gone, enum outcome outcome)
{
	const struct core_qube *source = inventory_qube(core, device->ref.qube);
	const struct core_qube *target = inventory_qube(core, device->target);
	const struct plan *plan = plan_of(core, device);
	struct restore *restore, made = {.gone = gone};

	if (!source || !target)
		return NULL;
	made.target = target->ref;
	made.r.used = true;
	made.r.origin = origin;
	made.r.device = *device;
	made.r.terms = device->terms;
	made.r.terms.origin = origin;
	made.r.deadline_usec = deadline_usec;
	made.r.last_answer = CORE_ANSWER_NO_DEVICE;
	made.r.last_outcome = outcome;
	memcpy(made.r.source_uuid, source->uuid, sizeof(made.r.source_uuid));
	memcpy(made.r.target_uuid, target->uuid, sizeof(made.r.target_uuid));
	memcpy(made.r.source_name, source->name, sizeof(made.r.source_name));
	memcpy(made.r.target_name, target->name, sizeof(made.r.target_name));
	if (device->terms.origin == origin && core->now_usec - plan->attached_usec < BACKOFF_AUTO_LAST_USEC) {
		made.r.n_tries = plan->n_restored; /* it comes and goes */
		made.r.retry_usec = core->now_usec + backoff_usec(made.r.n_tries);
	}
	(void)restore_drop(core, device, NULL);
	restore = find_place(core);
	core->n_restores++;
	if (restore)
		*restore = made;
	else
		fail(core, &made, CORE_ANSWER_FAILED, OUTCOME_BUSY); /* too many at once: said, not forgotten */
	return restore;
}

/* It takes over the session's memory when that has ended: until then a new life of the broker proves the stream anew. */
static void claim_asleep(struct core *core, const struct core_device *device)
{
	struct restore *restore = claim(core, device, CORE_ORIGIN_RESUME, 0, true, OUTCOME_SUSPENDED);

	if (restore)
		restore->session = device->session;
}

static bool ended_by_itself(const struct input *input)
{
	return (input->type == IN_SOURCE_CLOSED || input->type == IN_TARGET_CLOSED) &&
	       (input->outcome == OUTCOME_OK || input->outcome == OUTCOME_NO_DEVICE ||
		input->outcome == OUTCOME_UNPLUGGED || input->outcome == OUTCOME_PEER_LOST);
}

void restore_left(struct core *core, const struct core_device *device, const struct input *input)
{
	bool just_awake = core->now_usec < core->awake_until_usec;

	if (input->type == IN_STOP && input->outcome == OUTCOME_SUSPENDED)
		claim_asleep(core, device);
	else if (just_awake && input->outcome == OUTCOME_PEER_LOST)
		(void)claim(core, device, CORE_ORIGIN_RESUME, core->now_usec + TIMEOUT_RESUME_USEC, true,
			    input->outcome);
	else if (input->type == IN_UNPLUGGED)
		(void)claim(core, device, CORE_ORIGIN_REPLUG, core->now_usec + TIMEOUT_REPLUG_USEC, true,
			    input->outcome);
	else if (ended_by_itself(input))
		(void)claim(core, device, CORE_ORIGIN_REPLUG, core->now_usec + TIMEOUT_REPLUG_USEC, false,
			    input->outcome);
}

/* What only ended before becomes a claim when its device goes; a new agent that numbers anew proves no such thing. */
void restore_device_gone(struct core *core, const struct core_device *device, bool unplugged)
{
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++) {
		struct restore *restore = &core->restores[i];

		if (!restore->r.used || restore->gone || !same_device(restore->r.device.ref, device->ref))
			continue;
		if (unplugged) {
			restore->gone = true;
			restore->r.deadline_usec = core->now_usec + TIMEOUT_REPLUG_USEC;
		} else {
			release(core, restore);
		}
	}
}

/*
 * A former life of the broker went to sleep, and was killed. Whether the machine has slept since is not known: the
 * claim's time begins now.
 */
int restore_remember(struct core *core, const struct core_memory *memory)
{
	struct restore *restore = find_place(core);

	if (!restore)
		return CORE_EVENT_FULL;
	*restore = (struct restore){.gone = true, .session = memory->session, .life = memory->target};
	restore->r = (struct core_restore){.used = true,
					   .origin = CORE_ORIGIN_RESUME,
					   .device = memory->device,
					   .terms = memory->device.terms,
					   .deadline_usec = core->now_usec + TIMEOUT_RESUME_USEC,
					   .last_answer = CORE_ANSWER_NO_DEVICE,
					   .last_outcome = OUTCOME_SUSPENDED};
	restore->r.terms.origin = CORE_ORIGIN_RESUME;
	memcpy(restore->r.source_uuid, memory->source.uuid, sizeof(restore->r.source_uuid));
	memcpy(restore->r.target_uuid, memory->target.uuid, sizeof(restore->r.target_uuid));
	memcpy(restore->r.source_name, memory->source.name, sizeof(restore->r.source_name));
	memcpy(restore->r.target_name, memory->target.name, sizeof(restore->r.target_name));
	core->n_restores++;
	return 0;
}

void restore_qube_started(struct core *core, const struct core_qube *qube)
{
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++) {
		struct restore *restore = &core->restores[i];

		if (!restore->r.used || inventory_qube(core, restore->target))
			continue;
		if (inventory_is_life(&restore->life, qube))
			restore->target = qube->ref;
		else if (inventory_contradicts(&restore->life, qube))
			fail(core, restore, CORE_ANSWER_NO_QUBE, OUTCOME_QUBE_GONE);
	}
}

void restore_qube_gone(struct core *core, const struct core_qube *qube)
{
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++) {
		struct restore *restore = &core->restores[i];
		bool is_source =
			restore->r.origin == CORE_ORIGIN_REPLUG && same_qube(restore->r.device.ref.qube, qube->ref);

		if (!restore->r.used || !(is_source || same_qube(restore->target, qube->ref)))
			continue;
		if (restore->gone)
			fail(core, restore, is_source ? CORE_ANSWER_NO_DEVICE : CORE_ANSWER_NO_QUBE, OUTCOME_QUBE_GONE);
		else
			release(core, restore);
	}
}

/* ---- tries ------------------------------------------------------------------------------------------------------- */

void restore_ended(struct core *core, struct core_device *device, const struct reply *reply)
{
	for (unsigned int i = 0; i < LIMIT_RESTORES; i++) {
		struct restore *restore = &core->restores[i];

		if (!restore->trying || !same_device(restore->tried, device->ref))
			continue;
		restore->trying = false;
		restore->r.last_answer = reply->answer;
		restore->r.last_outcome = reply->outcome;
		if (reply->answer == CORE_ANSWER_DONE) {
			plan_of(core, device)->n_restored = restore->r.n_tries;
			release(core, restore);
		} else if (reply->answer == CORE_ANSWER_FAILED) {
			restore->r.retry_usec = core->now_usec + backoff_usec(restore->r.n_tries);
		} else if (reply->answer == CORE_ANSWER_SAID_NO || reply->answer == CORE_ANSWER_NOBODY ||
			   reply->answer == CORE_ANSWER_DENIED) {
			if (reply->rule)
				(void)snprintf(restore->r.terms.rule, sizeof(restore->r.terms.rule), "%s", reply->rule);
			fail(core, restore, reply->answer, reply->outcome);
		}
	}
}

/* The device that the claim is on, if it can be tried now. */
static struct core_device *find_device(struct core *core, const struct restore *restore)
{
	struct core_qube *source = find_source(core, restore);

	if (!source ||
	    (restore->r.origin == CORE_ORIGIN_REPLUG && inventory_record_by_ref(core, restore->r.device.ref)))
		return NULL;
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
		struct core_device *device = &source->devices[i];

		if (device->used && device->present && same_place(device, &restore->r.device))
			return device->state == CORE_FREE && !question_about(core, device) ? device : NULL;
	}
	return NULL;
}

static void try_again(struct core *core, struct restore *restore, struct core_device *device)
{
	struct wish wish = {.device = device,
			    .target = inventory_qube(core, restore->target),
			    .terms = restore->r.terms,
			    .agreed = inventory_same_identity(device, &restore->r.device)};
	enum core_answer answer;

	if (!wish.agreed && !wish.terms.follow_port) {
		fail(core, restore, CORE_ANSWER_FAILED, OUTCOME_CHANGED);
		return;
	}
	if (!wish.agreed)
		wish.terms.answered = false;
	restore->trying = true;
	restore->tried = device->ref;
	restore->r.n_tries++;
	answer = request_start(core, &wish);
	if (answer == CORE_ANSWER_DONE)
		return; /* and restore_ended() may have been called already */
	restore->trying = false;
	restore->r.n_tries--;
	restore->r.last_answer = answer;
	restore->r.last_outcome = answer == CORE_ANSWER_FAILED ? request_outcome(answer) : OUTCOME_OK;
	memcpy(restore->r.terms.rule, wish.terms.rule, sizeof(restore->r.terms.rule));
	if (answer == CORE_ANSWER_DENIED || answer == CORE_ANSWER_FAILED || answer == CORE_ANSWER_NOBODY)
		fail(core, restore, answer, restore->r.last_outcome);
}

/* A claim of a former life of the broker waits for its target to be heard of. */
static bool is_target_there(struct core *core, const struct restore *restore)
{
	return inventory_qube(core, restore->target) != NULL;
}

static void expire(struct core *core, struct restore *restore)
{
	if (restore->gone)
		fail(core, restore, is_target_there(core, restore) ? restore->r.last_answer : CORE_ANSWER_NO_QUBE,
		     restore->r.last_outcome);
	else
		release(core, restore);
}

/* A try under way is waited for, even when the claim's time is over: each of its steps has a time of its own. */
static void run(struct core *core, struct restore *restore)
{
	struct core_device *device;

	if (restore->trying || restore->r.deadline_usec == 0)
		return;
	if (restore->r.deadline_usec <= core->now_usec) {
		expire(core, restore);
		return;
	}
	if (restore->r.retry_usec != 0 && restore->r.retry_usec <= core->now_usec)
		restore->r.retry_usec = 0;
	if (!restore->gone || restore->r.retry_usec != 0 || !is_target_there(core, restore) ||
	    core->n_auditing >= LIMIT_STARTS)
		return;
	device = find_device(core, restore);
	if (device)
		try_again(core, restore, device);
}

void restore_run(struct core *core)
{
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++)
		if (core->restores[i].r.used)
			run(core, &core->restores[i]);
}

/* ---- the sleep --------------------------------------------------------------------------------------------------- */

/* Claims that go on wait for the end of the sleep as well. */
static void put_to_sleep(struct core *core, struct restore *restore)
{
	if (!restore->gone) {
		release(core, restore);
		return;
	}
	restore->r.origin = restore->r.terms.origin = CORE_ORIGIN_RESUME;
	restore->r.deadline_usec = restore->r.retry_usec = 0;
	restore->r.n_tries = 0;
}

/* The machine's own wish, which nobody asked for, is never the one too many. */
static unsigned int places_for(const struct core_user *user)
{
	if (user->qube[0])
		return LIMIT_SLEEPERS_QUBES;
	return user->uid == CORE_NOBODY ? LIMIT_SLEEPERS : LIMIT_SLEEPERS - 1;
}

int restore_suspend(struct core *core, const struct core_event *event)
{
	struct input stop = {.type = IN_STOP, .outcome = OUTCOME_SUSPENDED};

	if (event->request.token == 0)
		return CORE_EVENT_IGNORED;
	if (core->n_sleepers >= places_for(&event->request.user)) {
		attachment_answer(core, NULL, event->request.token, CORE_ANSWER_SUSPENDED);
		return 0;
	}
	core->sleepers[core->n_sleepers++] = event->request.token;
	if (core->suspended)
		return 0;
	core->suspended = true;
	question_void_all(core);
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++)
		if (core->restores[i].r.used)
			put_to_sleep(core, &core->restores[i]);
	adopt_fail_all(core, OUTCOME_SUSPENDED);
	for (unsigned int i = core->n_active; i-- > 0;)
		(void)attachment_handle(core, core->active[i], &stop);
	return 0;
}

static void answer_sleepers(struct core *core, enum core_answer answer)
{
	while (core->n_sleepers > 0)
		request_answer(core, NULL, core->sleepers[--core->n_sleepers],
			       &(struct reply){.answer = answer, .confirmed = answer == CORE_ANSWER_DONE});
}

/* Answers who waits for the sleep once nothing is on its way any more; each such state has a deadline. */
void restore_sleep_run(struct core *core)
{
	bool locked = false;

	if (core->n_sleepers == 0)
		return;
	for (unsigned int i = 0; i < core->n_active; i++) {
		if (core->active[i]->state != CORE_LOCKED)
			return;
		locked = true;
	}
	answer_sleepers(core, locked ? CORE_ANSWER_NOT_CONFIRMED : CORE_ANSWER_DONE);
}

/*
 * Also without a CORE_SUSPEND before: a sleep that was noticed only after the fact. Then nothing was ended, and what is
 * lost from now on for a while was lost by the sleep.
 */
int restore_resumed(struct core *core, const struct core_event *event _unused_)
{
	answer_sleepers(core, CORE_ANSWER_NOT_CONFIRMED); /* it did not wait for the answer */
	core->suspended = false;
	core->awake_until_usec = core->now_usec + TIMEOUT_RESUME_USEC;
	for (unsigned int i = 0; core->n_restores > 0 && i < LIMIT_RESTORES; i++)
		if (core->restores[i].r.used && core->restores[i].r.deadline_usec == 0)
			core->restores[i].r.deadline_usec = core->now_usec + TIMEOUT_RESUME_USEC;
	auto_cause_all(core);
	return 0;
}
