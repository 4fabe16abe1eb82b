/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The core's answers to requests as the exceptions and sentences of the Admin API: a table. Each says the cause and the
 * cure, and is of a type that Qubes' own client shows as "Error: ...".
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/admin-calls.h"
#include "broker/io/admin-device.h"
#include "broker/io/device-class.h"

/*
 * {a} "attaching D to Q", {d} device, {b} its backend, {q} the target, {u} who uses it, {c} how to end that, {f} from where it was to
 * move, {h} who was said to have it, {t} the tool, {w} why it failed, {B} why the way back did too, {r} the rule; {o} its part or its
 * whole, {O} what that is doing; {k} what a target's agent must take, {K} what it needs for that
 */
static const struct {
	const char *type, *text;
} answers[CORE_ANSWER_COUNT] = {
	/* CORE_ANSWER_DONE has no row: it alone is no exception */
	[CORE_ANSWER_FAILED] = {"QubesException", "{a} failed: {w}"},
	[CORE_ANSWER_NO_DEVICE] = {"UnrecognizedDevice",
				   "{d} is not there any more: look at the list again ({t} list)"},
	[CORE_ANSWER_NO_QUBE] = {"QubesVMNotRunningError", "{q} is not running: start it, then attach {d} again"},
	[CORE_ANSWER_SELF] = {"QubesValueError", "{d} is a device of {q} itself: choose another qube"},
	[CORE_ANSWER_IN_USE] = {"DeviceAlreadyAttached", "{d} is in use by {u}: detach it there first{c}"},
	[CORE_ANSWER_ALREADY] = {"DeviceAlreadyAttached", "{d} is already attached to {q}"},
	[CORE_ANSWER_DETACHING] = {"QubesException",
				   "{d} is still being detached from {u}: try again in a few seconds"},
	[CORE_ANSWER_LOCKED] = {"QubesException", "{d} is locked: {b} has not confirmed that its attachment to {u} "
						  "ended; if it stays so, restart {b}"},
	[CORE_ANSWER_NO_SOURCE_AGENT] = {"QubesException",
					 "no device agent runs in {b}: install and start device-agent there"},
	[CORE_ANSWER_NO_TARGET_AGENT] = {"QubesException", "no device agent that takes {k} runs in {q}: "
							   "install and start device-agent there{K}"},
	[CORE_ANSWER_NOT_ATTACHED] = {"DeviceNotAssigned", "{d} is not attached to {h}"},
	[CORE_ANSWER_DENIED] = {"QubesException", "denied by {r}; why: qvm-device policy explain {q} {d}"},
	[CORE_ANSWER_ASKING] = {"QubesException",
				"a question about {d} is open: answer it first (qvm-device watch --answer)"},
	[CORE_ANSWER_SAID_NO] = {"QubesException", "{a}: somebody was asked, and said no"},
	[CORE_ANSWER_NOBODY] = {"QubesException", "{a} needs a yes, and nobody is there to be asked: run "
						  "qvm-device watch --answer, and try again"},
	[CORE_ANSWER_CROWDED] = {"QubesException", "{a} needs a yes, and too many questions are open: answer those "
						   "first (qvm-device watch --answer), and try again"},
	[CORE_ANSWER_TOO_SOON] = {"QubesException",
				  "{a} needs a yes, and the last question of this kind was not answered with "
				  "yes a moment ago: wait ten seconds, and try again"},
	[CORE_ANSWER_NO_REPLY] =
		{"QubesException",
		 "{a} needs a yes, and nobody said it in time, or something changed meanwhile: try again"},
	[CORE_ANSWER_SUSPENDED] = {"QubesException", "the machine is going to sleep: try again when it is awake (or "
						     "qvm-device resume)"},
	[CORE_ANSWER_ADOPTING] = {"QubesException",
				  "the device broker was restarted and is finding out what runs in {b}: "
				  "try again in a few seconds"},
	[CORE_ANSWER_REQUIRED] = {"QubesVMNotHaltedError",
				  "{q} requires {d}: shut {q} down, or end the assignment first "
				  "({t} unassign {q} {d})"},
	[CORE_ANSWER_PART_IN_USE] = {"DeviceAlreadyAttached", "{d} cannot be taken as a whole: its {o} is {O}"},
	[CORE_ANSWER_WHOLE_IN_USE] = {"DeviceAlreadyAttached", "{d} is a part of {o}, which is {O}"},
	[CORE_ANSWER_MOVED_BACK] = {"QubesException", "{a} failed: {w}. It is attached to {f} again"},
	[CORE_ANSWER_MOVED_FREE] = {"QubesException",
				    "{a} failed: {w}. The way back to {f} {B}: it is attached to no qube; "
				    "attach it again"},
	[CORE_ANSWER_NO_MUTE] = {"QubesValueError", "{d} cannot be muted: detach it ({t} detach {q} {d})"},
	[CORE_ANSWER_MUTE_NOT_CONFIRMED] =
		{"QubesException", "{a}: {b} did not confirm it: detach the device to be sure ({t} detach {q} {d})"},
	[CORE_ANSWER_OVERTAKEN] = {"QubesException",
				   "{a}: somebody wished otherwise before {b} had confirmed it: look at "
				   "qvm-device status, and try again"},
	[CORE_ANSWER_NOT_CONFIRMED] = {"QubesException", "{b} did not confirm that it stopped passing {d} on, so the "
							 "device is locked; if it stays so, restart {b}"},
};

#define CAMERAS_NEED ", and with it the kernel module v4l2loopback, version 0.13 or later (Debian: v4l2loopback-dkms)"

/* Outcomes of CORE_ANSWER_FAILED for which Qubes has a type of its own. */
static const char *const outcome_types[OUTCOME_COUNT] = {
	[OUTCOME_NO_DEVICE] = "UnrecognizedDevice",
	[OUTCOME_CHANGED] = "UnrecognizedDevice",
	[OUTCOME_UNPLUGGED] = "UnrecognizedDevice",
	[OUTCOME_QUBE_GONE] = "QubesVMNotRunningError",
};

/* Parts of sentences that are made for one answer. */
struct phrases {
	char doing[192], back[ADMIN_REASON_MAX], reason_buffer[ADMIN_REASON_MAX], cure[160];
	char tool[32]; /* "qvm-usb" */
	char other[64], other_state[320];
	const char *user;
	const char *reason;
};

/* What is being done, for a sentence that begins with it. */
static void make_doing(const struct admin_subject *subject, char *text, size_t size)
{
	text[0] = '\0';
	if (subject->type == CORE_ATTACH)
		(void)snprintf(text, size, "attaching %s to %s", subject->device, subject->target);
	else if (subject->type == CORE_DETACH)
		(void)snprintf(text, size, "detaching %s from %s", subject->device, subject->target);
	else if (subject->type == CORE_MOVE)
		(void)snprintf(text, size, "moving %s from %s to %s", subject->device, subject->from, subject->target);
	else if (subject->type == CORE_MUTE)
		(void)snprintf(text, size, "muting %s for %s", subject->device, subject->target);
	else if (subject->type == CORE_UNMUTE)
		(void)snprintf(text, size, "unmuting %s for %s", subject->device, subject->target);
	else if (subject->type == CORE_SUSPEND)
		(void)snprintf(text, size, "taking all devices back");
}

static void name_tool(uint8_t class_id, char *text, size_t size)
{
	(void)snprintf(text, size, "qvm-%s", class_id ? admin_class_name(class_id) : "device");
}

/* A qube learns of no other one. Of a device that is free a claim may be in the way. `name`: the device's. */
static const char *name_user(const struct admin_subject *subject, const struct core_device *device, const char *name,
			     char *cure, size_t size)
{
	const char *user = device ? device->target_name : "";
	char tool[32];

	cure[0] = '\0';
	if (!user[0] || (subject->by_qube && strcmp(user, subject->target) != 0))
		return "another qube";
	name_tool(device->class_id, tool, sizeof(tool));
	(void)snprintf(cure, size, " (%s detach %s %s)", tool, user, name);
	return user;
}

/* Why its part, or its whole, is in the way. */
static void name_other(const struct admin_subject *subject, const struct core_device *other, struct phrases *phrases)
{
	bool is_part = other->parent[0];
	char name[LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT], cure[160];
	const char *user;

	(void)snprintf(name, sizeof(name), "%s:%s", subject->backend, other->port);
	user = name_user(subject, other, name, cure, sizeof(cure));
	if (is_part)
		(void)snprintf(phrases->other, sizeof(phrases->other), "%s %s", device_class_noun(other->class_id),
			       other->port);
	else
		(void)snprintf(phrases->other, sizeof(phrases->other), "%s", name);
	if (other->state == CORE_LOCKED)
		(void)snprintf(
			phrases->other_state, sizeof(phrases->other_state),
			"locked: %s has not confirmed that its attachment to %s ended; if it stays so, restart %s",
			subject->backend, user, subject->backend);
	else if (other->state == CORE_DETACHING)
		(void)snprintf(phrases->other_state, sizeof(phrases->other_state),
			       "still being detached from %s: try again in a few seconds", user);
	else
		(void)snprintf(phrases->other_state, sizeof(phrases->other_state),
			       "in use by %s: detach that first%s%s", user, cure,
			       is_part ? ", or let the policy say parts=end" : "");
}

const char *admin_reason(const struct core_action *action, char text[ADMIN_REASON_MAX])
{
	if (!action->rule)
		return action->outcome != OUTCOME_OK ? outcome_text(action->outcome) : core_answer_text(action->answer);
	(void)snprintf(text, ADMIN_REASON_MAX, "denied by %s", action->rule);
	return text;
}

static const char *answer_word(char letter, const struct admin_subject *subject, const struct core_action *action,
			       const struct phrases *phrases)
{
	const struct {
		char letter;
		const char *word;
	} words[] = {
		{'a', phrases->doing},
		{'d', subject->device},
		{'b', subject->backend},
		{'q', subject->target},
		{'u', phrases->user},
		{'c', phrases->cure},
		{'t', phrases->tool},
		{'f', subject->from},
		{'h', subject->type == CORE_MOVE ? subject->from : subject->target},
		{'w', phrases->reason},
		{'B', phrases->back},
		{'o', phrases->other},
		{'O', phrases->other_state},
		{'k', subject->class_id == WIRE_CLASS_WEBCAM ? "cameras" : "such devices"},
		{'K', subject->class_id == WIRE_CLASS_WEBCAM ? CAMERAS_NEED : ""},
		{'r', action->rule ? action->rule : "the policy"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].letter == letter)
			return words[i].word;
	return NULL;
}

/* What is done, but not as one would wish; "" : nothing to say. */
static void write_reservation(struct admin_writer *writer, const struct admin_subject *subject,
			      const struct core_action *action)
{
	if (action->confirmed)
		return;
	if (subject->type == CORE_DETACH)
		admin_write_format(writer, "%s is detached, but %s did not confirm that it let go of it\n",
				   subject->device, subject->target);
	else if (subject->type == CORE_SUSPEND)
		admin_write_format(writer, "not every qube confirmed that it let go of its devices\n");
}

void admin_write_answer(struct admin_writer *writer, const struct admin_subject *subject,
			const struct core_action *action)
{
	struct phrases phrases;
	char text[768];
	struct admin_writer sentence;
	const char *type;

	if (action->answer == CORE_ANSWER_DONE) {
		admin_write_done(writer);
		write_reservation(writer, subject, action);
		return;
	}
	assert(action->answer < CORE_ANSWER_COUNT && answers[action->answer].type);
	type = answers[action->answer].type;
	if (action->answer == CORE_ANSWER_FAILED && outcome_types[action->outcome])
		type = outcome_types[action->outcome];
	make_doing(subject, phrases.doing, sizeof(phrases.doing));
	name_tool(subject->class_id, phrases.tool, sizeof(phrases.tool));
	phrases.user = name_user(subject, action->device, subject->device, phrases.cure, sizeof(phrases.cure));
	phrases.other[0] = phrases.other_state[0] = '\0';
	if (action->other)
		name_other(subject, action->other, &phrases);
	phrases.reason = admin_reason(action, phrases.reason_buffer);
	if (action->back_rule)
		(void)snprintf(phrases.back, sizeof(phrases.back), "is denied by %s", action->back_rule);
	else
		(void)snprintf(phrases.back, sizeof(phrases.back), "failed too");
	admin_write_init(&sentence, text, sizeof(text) - 1);
	for (const char *at = answers[action->answer].text; *at; at++) {
		const char *word = at[0] == '{' ? answer_word(at[1], subject, action, &phrases) : NULL;

		if (word) {
			admin_write_bytes(&sentence, word, strlen(word));
			at += 2;
		} else {
			admin_write_bytes(&sentence, at, 1);
		}
	}
	text[sentence.len] = '\0';
	admin_write_exception(writer, type, "%s", text);
}
