/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See admin-events.h. */
#include "broker/io/admin-events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/admin-calls.h"
#include "broker/io/admin-device.h"
#include "broker/io/clock.h"
#include "broker/io/device-class.h"

#define DESCRIPTION_MAX (2u * WIRE_TEXT + 2u)

/* What the events of one action are made from. */
struct telling {
	const struct core_action *action;
	const struct admin_teller *teller;
	const struct core_device *device;
	struct admin_names names;
};

static void tell(const struct telling *t, const char *subject, const char *name, const char *const *fields)
{
	char event[64];

	(void)snprintf(event, sizeof(event), "%s:%s", name, admin_class_name(t->device->class_id));
	t->teller->tell(t->teller->userdata, ADMIN_TO_LISTENERS, subject, event, fields);
}

static void tell_added(const struct telling *t)
{
	tell(t, t->names.backend, "device-list-change", (const char *[]){NULL});
	tell(t, t->names.backend, "device-added", (const char *[]){"device", t->names.full, NULL});
}

static void tell_removed(const struct telling *t)
{
	tell(t, t->names.backend, "device-list-change", (const char *[]){NULL});
	tell(t, t->names.backend, "device-removed", (const char *[]){"port", t->names.place, NULL});
}

static void tell_with_options(const struct telling *t, const char *name)
{
	const struct admin_said said = admin_said_in_terms(&t->device->terms);
	char options[ADMIN_OPTIONS_MAX];

	admin_options_text(&said, options);
	tell(t, t->device->target_name, name, (const char *[]){"device", t->names.full, "options", options, NULL});
}

/* It is audited next, and may still fail. */
static void tell_pre_attach(const struct telling *t)
{
	tell_with_options(t, "device-pre-attach");
}

static void tell_attached(const struct telling *t)
{
	tell_with_options(t, "device-attach");
}

/* Of all transitions, the one that ends an attachment and waits for proof. */
static void tell_transition(const struct telling *t)
{
	if (t->action->state == CORE_DETACHING && t->device->was_attached)
		tell(t, t->device->target_name, "device-pre-detach", (const char *[]){"port", t->names.place, NULL});
}

static void tell_detached(const struct telling *t)
{
	tell(t, t->device->target_name, "device-detach", (const char *[]){"port", t->names.place, NULL});
}

/* How long until then, as a text; a time that has passed is "0". */
static void seconds_until(uint64_t usec, char text[24])
{
	uint64_t now = clock_now_usec();

	(void)snprintf(text, 24, "%llu", usec > now ? (usec - now + USEC_PER_SEC - 1) / USEC_PER_SEC : 0ull);
}

static void tell_limit_near(const struct telling *t)
{
	char seconds[24];

	seconds_until(t->device->terms.end_usec, seconds);
	tell(t, t->device->target_name, "device-limit-near",
	     (const char *[]){"device", t->names.full, "seconds", seconds, NULL});
}

static void tell_muted(const struct telling *t)
{
	tell(t, t->device->target_name, t->device->terms.muted ? "device-muted" : "device-unmuted",
	     (const char *[]){"device", t->names.full, NULL});
}

static void tell_use(const struct telling *t)
{
	tell(t, t->device->target_name, core_is_used(t->device) ? "device-used" : "device-unused",
	     (const char *[]){"device", t->names.full, NULL});
}

static void tell_auto_failed(const struct telling *t)
{
	char reason[ADMIN_REASON_MAX];

	tell(t, t->action->target_name, "device-attach-failed",
	     (const char *[]){"device", t->names.full, "reason", admin_reason(t->action, reason), NULL});
}

static void tell_restore_failed(const struct telling *t)
{
	char reason[ADMIN_REASON_MAX];

	tell(t, t->action->restore->target_name, "device-restore-failed",
	     (const char *[]){"device", t->names.full, "reason", admin_reason(t->action, reason), NULL});
}

static void tell_not_adopted(const struct telling *t)
{
	tell(t, t->action->memory->target.name, "device-not-adopted",
	     (const char *[]){"device", t->names.full, "reason", outcome_text(t->action->outcome), NULL});
}

static void (*const tellers[])(const struct telling *t) = {
	[CORE_DO_AUDIT] = tell_pre_attach,
	[CORE_DO_NOTE] = tell_transition,
	[CORE_DO_DEVICE_ADDED] = tell_added,
	[CORE_DO_DEVICE_REMOVED] = tell_removed,
	[CORE_DO_ATTACHED] = tell_attached,
	[CORE_DO_DETACHED] = tell_detached,
	[CORE_DO_LIMIT_NEAR] = tell_limit_near,
	[CORE_DO_MUTED] = tell_muted,
	[CORE_DO_USE] = tell_use,
	[CORE_DO_AUTO_FAILED] = tell_auto_failed,
	[CORE_DO_RESTORE_FAILED] = tell_restore_failed,
	[CORE_DO_NOT_ADOPTED] = tell_not_adopted,
};

/* ---- questions ---------------------------------------------------------------------------------------------------- */

static void tell_question(const struct telling *t, enum admin_audience to, const char *name, const char *const *fields)
{
	char event[64];

	(void)snprintf(event, sizeof(event), "%s:%s", name, admin_class_name(t->device->class_id));
	t->teller->tell(t->teller->userdata, to, t->names.backend, event, fields);
}

static void describe(const struct core_device *device, char text[DESCRIPTION_MAX])
{
	(void)snprintf(text, DESCRIPTION_MAX, "%s%s%s", device->manufacturer,
		       device->manufacturer[0] && device->product_name[0] ? " " : "", device->product_name);
	if (!text[0])
		(void)snprintf(text, DESCRIPTION_MAX, "%s %04x:%04x", device_class_noun(device->class_id),
			       device->vendor, device->product);
}

static bool find_question_device(const struct core *core, const struct core_question *question, struct telling *t)
{
	const struct core_qube *qube = core_find_qube(core, question->device.qube);
	const char *backend = qube ? admin_shown_name(core, qube) : NULL;

	t->device = core_find_device(core, question->device);
	if (!backend || !t->device)
		return false;
	admin_device_names(backend, t->device, &t->names);
	return true;
}

void admin_tell_question(const struct core *core, const struct core_question *question, enum admin_audience to,
			 const struct admin_teller *teller)
{
	struct telling t = {.teller = teller};
	char id[24], seconds[24], description[DESCRIPTION_MAX], targets[LIMIT_OFFERED * (LIMIT_QUBE_NAME + 1)] = "";
	size_t len = 0;

	if (!find_question_device(core, question, &t))
		return;
	for (unsigned int i = 0; i < question->n_offered; i++)
		len += (size_t)snprintf(targets + len, sizeof(targets) - len, "%s%s", i ? " " : "",
					question->offered[i]);
	(void)snprintf(id, sizeof(id), "%" PRIu64, question->id);
	seconds_until(question->deadline_usec, seconds);
	describe(t.device, description);
	tell_question(&t, to, "device-ask",
		      (const char *[]){"question", id, "device", t.names.full, "description", description, "rule",
				       question->terms.rule, "targets", targets, "default", question->default_target,
				       "seconds", seconds, NULL});
}

static void tell_question_end(const struct core *core, const struct core_action *action, enum admin_audience to,
			      const struct admin_teller *teller)
{
	static const char *const ends[CORE_QUESTION_END_COUNT] = {
		[CORE_QUESTION_ALLOWED] = "allowed",
		[CORE_QUESTION_DENIED] = "denied",
		[CORE_QUESTION_NOBODY] = "nobody is there to answer: denied",
		[CORE_QUESTION_TIMED_OUT] = "not answered in time: denied",
		[CORE_QUESTION_VOID] = "not a question any more",
	};
	struct telling t = {.teller = teller};
	char id[24];

	(void)snprintf(id, sizeof(id), "%" PRIu64, action->question->id);
	t.device = action->device;
	if (!find_question_device(core, action->question, &t)) {
		/* its device is gone: the number is enough to take it away */
		char event[64];

		(void)snprintf(event, sizeof(event), "device-ask-end:%s", admin_class_name(action->question->class_id));
		teller->tell(teller->userdata, to, "", event,
			     (const char *[]){"question", id, "end", ends[action->question_end], NULL});
		return;
	}
	tell_question(
		&t, to, "device-ask-end",
		(const char *[]){"question", id, "device", t.names.full, "end", ends[action->question_end], NULL});
}

/* The device that an action is about, and its qube's name in the API; false: it is not shown. */
static bool find_subject(const struct core *core, const struct core_action *action, struct telling *t)
{
	const struct core_qube *qube;
	const char *backend = NULL;

	t->device = action->device;
	if (action->type == CORE_DO_RESTORE_FAILED && action->restore) {
		t->device = &action->restore->device;
		backend = action->restore->source_name;
	} else if (action->type == CORE_DO_NOT_ADOPTED && action->memory) {
		t->device = &action->memory->device;
		backend = action->memory->source.name;
	} else if (t->device) {
		qube = core_find_qube(core, t->device->ref.qube);
		backend = qube ? admin_shown_name(core, qube) : NULL;
	}
	if (!t->device || !backend)
		return false;
	admin_device_names(backend, t->device, &t->names);
	return true;
}

void admin_tell_action(const struct core *core, const struct core_action *action, const struct admin_teller *teller)
{
	struct telling t = {.action = action, .teller = teller};

	if (action->type == CORE_DO_ASK || action->type == CORE_DO_ASK_END) {
		for (enum admin_audience to = ADMIN_TO_DOM0_LISTENERS; to <= ADMIN_TO_ANSWERERS; to++)
			if (action->type == CORE_DO_ASK)
				admin_tell_question(core, action->question, to, teller);
			else
				tell_question_end(core, action, to, teller);
		return;
	}
	if ((size_t)action->type >= ARRAY_SIZE(tellers) || !tellers[action->type] || !find_subject(core, action, &t))
		return;
	tellers[action->type](&t);
}
