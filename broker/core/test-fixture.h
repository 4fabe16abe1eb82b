/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core's tests share: three qubes with agents and one device, an audience that writes down one letter per
 * action, a policy that says what it is told, honest ways to each state.
 */
#pragma once

#include "tests/unit.h"

#include <stdio.h>
#include <string.h>

#include "broker/core/core.h"
#include "broker/core/internal.h"
#include "lib/base/base.h"

#define SECOND USEC_PER_SEC

/* Three qubes with agents; the device is in `source`. */
struct fixture {
	struct core *core;
	struct core_qube_ref source, target, other;
	struct core_device_ref device, part; /* `part` of it: add_part() */
	uint64_t session, part_session;
	uint64_t now_usec;
	char actions[1024]; /* one letter per action since the last look */
	enum core_answer answer;
	enum outcome outcome;
	bool confirmed;
	uint64_t token;
	char rule[LIMIT_RULE_TEXT], back_rule[LIMIT_RULE_TEXT];
	char target_name[LIMIT_QUBE_NAME + 1];
	struct core_user asked_by;       /* of the last answer */
	struct core_terms terms;         /* of the last audit record */
	uint8_t controls[CONTROL_COUNT]; /* of the last EXPORT */
	struct core_picture picture;     /* of the last IMPORT, and the name that the device is given with it */
	char label[WIRE_LABEL];
	struct core_device_ref in_the_way; /* of the last answer; slot LIMIT_DEVICES: none */
	/* the policy: for each of source, target, other; and what it was asked */
	enum core_verdict verdict, verdict_other;
	uint64_t max_time_usec;
	bool end_parts;
	unsigned int n_decided;
	struct core_question question; /* the last one that was shown or closed */
	enum core_question_end question_end;
	/* what was relocated: "1-2>2-2 " a name, "1-2=PATH " a path; and whether that can be kept */
	char relocated[4096];
	bool cannot_keep;
	/* adopting */
	uint8_t approved[WIRE_DIGEST];
};

static _unused_ void on_action(void *userdata, const struct core_action *action)
{
	static const char letters[] = {
		[CORE_DO_AUDIT] = 'A',          [CORE_DO_NOTE] = 'n',        [CORE_DO_EXPORT] = 'X',
		[CORE_DO_IMPORT] = 'I',         [CORE_DO_STOP_SOURCE] = 's', [CORE_DO_STOP_TARGET] = 't',
		[CORE_DO_STOP_STRAY] = 'y',     [CORE_DO_ANSWER] = '!',      [CORE_DO_DEVICE_ADDED] = '+',
		[CORE_DO_DEVICE_REMOVED] = '-', [CORE_DO_ATTACHED] = 'a',    [CORE_DO_DETACHED] = 'd',
		[CORE_DO_CLAIM] = 'c',          [CORE_DO_FORGET] = 'f',      [CORE_DO_ASK] = '?',
		[CORE_DO_ASK_END] = '.',        [CORE_DO_LIMIT_NEAR] = 'w',  [CORE_DO_AUTO_FAILED] = 'u',
		[CORE_DO_RESTORE_FAILED] = 'r', [CORE_DO_NOT_ADOPTED] = 'N', [CORE_DO_MUTE] = 'm',
		[CORE_DO_NOTE_MUTE] = 'M',      [CORE_DO_MUTED] = 'q',       [CORE_DO_USE] = 'v',
	};
	struct fixture *f = userdata;
	size_t len = strlen(f->actions);

	assert_true(len + 1 < sizeof(f->actions));
	f->actions[len] = letters[action->type];
	f->actions[len + 1] = '\0';
	if (action->type == CORE_DO_AUDIT) {
		f->session = action->session;
		f->terms = action->device->terms;
	}
	if (action->type == CORE_DO_EXPORT)
		memcpy(f->controls, action->device->terms.picture.controls, sizeof(f->controls));
	if (action->type == CORE_DO_IMPORT) {
		f->picture = action->device->terms.picture;
		(void)snprintf(f->label, sizeof(f->label), "%s", action->label);
	}
	if (action->type == CORE_DO_ANSWER || action->type == CORE_DO_AUTO_FAILED ||
	    action->type == CORE_DO_RESTORE_FAILED || action->type == CORE_DO_NOT_ADOPTED) {
		f->answer = action->answer;
		f->outcome = action->outcome;
		f->confirmed = action->confirmed;
		f->token = action->token;
		(void)snprintf(f->rule, sizeof(f->rule), "%s", action->rule ? action->rule : "");
		(void)snprintf(f->back_rule, sizeof(f->back_rule), "%s", action->back_rule ? action->back_rule : "");
		(void)snprintf(f->target_name, sizeof(f->target_name), "%s",
			       action->target_name ? action->target_name : "");
		f->asked_by = action->asked_by ? *action->asked_by : CORE_NO_USER;
		f->in_the_way = action->other ? action->other->ref : (struct core_device_ref){.slot = LIMIT_DEVICES};
	}
	if (action->question)
		f->question = *action->question;
	if (action->type == CORE_DO_ASK_END)
		f->question_end = action->question_end;
}

static _unused_ void decide(void *userdata, const struct core_device *device, const struct core_qube *source,
			    const struct core_qube *target, struct core_decision *ret_decision)
{
	struct fixture *f = userdata;

	assert_non_null(device);
	assert_non_null(source);
	f->n_decided++;
	ret_decision->verdict = target->ref.index == f->target.index ? f->verdict : f->verdict_other;
	ret_decision->max_time_usec = f->max_time_usec;
	ret_decision->end_parts = f->end_parts;
	(void)snprintf(ret_decision->rule, sizeof(ret_decision->rule), "30-user.policy:4");
	(void)snprintf(ret_decision->default_target, sizeof(ret_decision->default_target), "work");
}

static _unused_ bool relocate(void *userdata, const struct core_assignment *stored,
			      const struct core_assignment *changed)
{
	struct fixture *f = userdata;
	size_t len = strlen(f->relocated);
	bool learnt = strcmp(stored->path, changed->path) != 0;
	struct core_assignment same = *stored;

	assert_non_null(assignments_find(core_assignments(f->core), stored));
	assert_true(learnt ? stored->path[0] == '\0' : strcmp(stored->port, changed->port) != 0);
	memcpy(learnt ? same.path : same.port, learnt ? changed->path : changed->port,
	       learnt ? sizeof(same.path) : sizeof(same.port));
	assert_memory_equal(&same, changed, sizeof(same)); /* nothing else */
	(void)snprintf(f->relocated + len, sizeof(f->relocated) - len, "%s%c%s%s ", stored->port, learnt ? '=' : '>',
		       learnt ? changed->path : changed->port, f->cannot_keep ? "!" : "");
	return !f->cannot_keep;
}

static _unused_ int handle(struct fixture *f, struct core_event event)
{
	event.now_usec = f->now_usec;
	return core_handle(f->core, &event, NULL);
}

static _unused_ struct core_qube_ref start_qube(struct fixture *f, uint16_t domid, const char *name)
{
	struct core_event event = {.type = CORE_QUBE_STARTED, .now_usec = f->now_usec, .qube_started.domid = domid};
	struct core_qube_ref ref;

	(void)snprintf(event.qube_started.name, sizeof(event.qube_started.name), "%s", name);
	(void)snprintf(event.qube_started.start, sizeof(event.qube_started.start), "boot-1");
	event.qube_started.uuid[0] = (uint8_t)name[0]; /* qubes of the same name have the same UUID */
	event.qube_started.uuid[1] = (uint8_t)name[1];
	assert_int_equal(core_handle(f->core, &event, &ref), 0);
	return ref;
}

static _unused_ void agent_ready(struct fixture *f, struct core_qube_ref qube, uint64_t incarnation)
{
	struct core_event event = {.type = CORE_AGENT_READY, .qube = qube};

	event.agent_ready.roles = WIRE_ROLES;
	event.agent_ready.incarnation = incarnation;
	assert_int_equal(handle(f, event), 0);
}

static _unused_ void agent_up(struct fixture *f, struct core_qube_ref qube)
{
	agent_ready(f, qube, 7);
	(void)handle(f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = qube});
	(void)handle(f, (struct core_event){.type = CORE_LIST_END, .qube = qube});
}

static _unused_ struct core_event device_event(struct core_qube_ref qube, uint16_t slot, uint32_t generation,
					       const char *port)
{
	struct core_event event = {.type = CORE_DEVICE, .qube = qube};

	event.device.class_id = WIRE_CLASS_USB;
	event.device.speed = WIRE_SPEED_HIGH;
	event.device.vendor = 0x0781;
	event.device.product = 0x5581;
	event.device.n_interfaces = 1;
	memcpy(event.device.interfaces[0], "\x08\x06\x50", 3);
	event.device.ref.slot = slot;
	event.device.ref.generation = generation;
	(void)snprintf(event.device.port, sizeof(event.device.port), "%s", port);
	(void)snprintf(event.device.serial, sizeof(event.device.serial), "AB12");
	(void)snprintf(event.device.manufacturer, sizeof(event.device.manufacturer), "SanDisk");
	(void)snprintf(event.device.product_name, sizeof(event.device.product_name), "Ultra");
	return event;
}

static _unused_ struct core_event of_session(enum core_event_type type, struct core_qube_ref qube, uint64_t session)
{
	struct core_event event = {.type = type, .qube = qube};

	event.session.session = session;
	event.session.outcome = OUTCOME_OPEN_FAILED;
	return event;
}

static _unused_ struct core_event request(enum core_event_type type, uint64_t token, struct core_device_ref device,
					  struct core_qube_ref target)
{
	struct core_event event = {.type = type};

	event.request.token = token;
	event.request.device = device;
	event.request.target = target;
	return event;
}

static _unused_ enum core_state state_of_device(const struct fixture *f, struct core_device_ref ref)
{
	for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
		const struct core_device *device = &f->core->qubes[ref.qube.index].devices[i];

		if (device->used && device->ref.slot == ref.slot && device->ref.generation == ref.generation)
			return device->state;
	}
	return CORE_FREE;
}

static _unused_ enum core_state state_of(const struct fixture *f)
{
	return state_of_device(f, f->device);
}

static _unused_ void new_core(struct fixture *f)
{
	static const struct core_hooks hooks = {.emit = on_action, .decide = decide, .relocate = relocate};

	*f = (struct fixture){.now_usec = 1000 * SECOND,
			      .verdict = CORE_VERDICT_ALLOW,
			      .verdict_other = CORE_VERDICT_ALLOW,
			      .approved = {0xAA}};
	f->core = core_new(0xabcd, &hooks, f);
	assert_non_null(f->core);
}

static _unused_ void look_up_device(struct fixture *f)
{
	unsigned int cursor = 0;

	f->device = core_next_device(core_find_qube(f->core, f->source), &cursor)->ref;
}

static _unused_ void setup(struct fixture *f)
{
	new_core(f);
	f->source = start_qube(f, 3, "sys-usb");
	f->target = start_qube(f, 4, "work");
	f->other = start_qube(f, 5, "personal");
	agent_up(f, f->source);
	agent_up(f, f->target);
	agent_up(f, f->other);
	assert_int_equal(handle(f, device_event(f->source, 2, 9, "1-2")), 0);
	look_up_device(f);
	f->actions[0] = '\0';
}

/* What a former life of the broker had on disk. */
static _unused_ struct core_event memory_event(uint64_t session)
{
	struct core_event event = device_event((struct core_qube_ref){0}, 2, 9, "1-2");
	struct core_memory memory = {.session = session,
				     .source = {.domid = 3, .uuid = "sy", .name = "sys-usb", .start = "boot-1"},
				     .target = {.domid = 4, .uuid = "wo", .name = "work", .start = "boot-1"},
				     .agent_incarnation = 7,
				     .device = event.device,
				     .approved = {0xAA}};

	memset(memory.device.manufacturer, 0, sizeof(memory.device.manufacturer)); /* they are not kept */
	memset(memory.device.product_name, 0, sizeof(memory.device.product_name));
	memory.device.terms.origin = CORE_ORIGIN_USER;
	memory.device.terms.asked_by.uid = 1000;
	event = (struct core_event){.type = CORE_REMEMBER};
	event.memory = memory;
	return event;
}

static _unused_ struct core_event report_event(struct core_qube_ref qube, uint8_t side, uint64_t session)
{
	struct core_event event = {.type = CORE_AGENT_SESSION, .qube = qube};

	event.agent_session.session = session;
	event.agent_session.side = side;
	event.agent_session.peer = side == WIRE_SIDE_EXPORT ? 4 : 3;
	event.agent_session.digest[0] = side == WIRE_SIDE_EXPORT ? 0 : 0xAA;
	return event;
}

/* The qubes come, and the source vouches for the stream of that session; the target's agent has not come yet. */
static _unused_ void vouch(struct fixture *f, uint64_t session)
{
	f->source = start_qube(f, 3, "sys-usb");
	f->target = start_qube(f, 4, "work");
	f->other = start_qube(f, 5, "personal");
	agent_up(f, f->other);
	agent_ready(f, f->source, 7);
	assert_int_equal(handle(f, report_event(f->source, WIRE_SIDE_EXPORT, session)), 0);
	(void)handle(f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = f->source});
}

/* The broker was restarted, and lists the device. */
static _unused_ void setup_adopting(struct fixture *f)
{
	new_core(f);
	f->session = 0x777;
	assert_int_equal(handle(f, memory_event(f->session)), 0);
	vouch(f, f->session);
	assert_int_equal(handle(f, device_event(f->source, 2, 9, "1-2")), 0);
	(void)handle(f, (struct core_event){.type = CORE_LIST_END, .qube = f->source});
	look_up_device(f);
	assert_int_equal(state_of(f), CORE_ADOPTING);
	f->actions[0] = '\0';
}

/* A microphone of `device`. */
static _unused_ struct core_event part_event(struct core_qube_ref qube, uint16_t slot, uint32_t generation,
					     const char *port, const char *parent)
{
	struct core_event event = device_event(qube, slot, generation, port);

	event.device.class_id = WIRE_CLASS_MIC;
	event.device.speed = WIRE_SPEED_NONE;
	memset(event.device.interfaces, 0, sizeof(event.device.interfaces));
	(void)snprintf(event.device.parent, sizeof(event.device.parent), "%s", parent);
	return event;
}

#define PART_SLOT 40

static _unused_ void add_part(struct fixture *f)
{
	assert_int_equal(handle(f, part_event(f->source, PART_SLOT, 1, "mic-01234567", "1-2")), 0);
	f->part = f->device;
	f->part.slot = PART_SLOT;
	f->part.generation = 1;
	f->actions[0] = '\0';
}

/* The part is attached to the third qube, and is ended for the whole, whose record is on disk. */
static _unused_ void walk_to_clearing(struct fixture *f)
{
	add_part(f);
	f->end_parts = true;
	(void)handle(f, request(CORE_ATTACH, 90, f->part, f->other));
	(void)handle(f, of_session(CORE_AUDITED, f->source, f->session));
	(void)handle(f, of_session(CORE_EXPORTED, f->source, f->session));
	(void)handle(f, of_session(CORE_IMPORTED, f->other, f->session));
	f->part_session = f->session;
	(void)handle(f, request(CORE_ATTACH, 100, f->device, f->target));
	(void)handle(f, of_session(CORE_AUDITED, f->source, f->session));
}

/* The honest way to each state. */
static _unused_ void walk_to(struct fixture *f, enum core_state state)
{
	if (state == CORE_ADOPTING) {
		f->core = core_free(f->core);
		setup_adopting(f);
		return;
	}
	if (state == CORE_CLEARING) {
		walk_to_clearing(f);
		assert_int_equal(state_of(f), state);
		f->actions[0] = '\0';
		return;
	}
	if (state >= CORE_AUDITING)
		(void)handle(f, request(CORE_ATTACH, 100, f->device, f->target));
	if (state >= CORE_EXPORTING)
		(void)handle(f, of_session(CORE_AUDITED, f->source, f->session));
	if (state >= CORE_IMPORTING)
		(void)handle(f, of_session(CORE_EXPORTED, f->source, f->session));
	if (state >= CORE_ATTACHED)
		(void)handle(f, of_session(CORE_IMPORTED, f->target, f->session));
	if (state >= CORE_DETACHING)
		(void)handle(f, request(CORE_DETACH, 101, f->device, f->target));
	if (state >= CORE_LOCKED) {
		f->now_usec += TIMEOUT_STOP_USEC;
		(void)handle(f, (struct core_event){.type = CORE_TICK});
	}
	assert_int_equal(state_of(f), state);
	f->actions[0] = '\0';
}

static _unused_ void tick(struct fixture *f, uint64_t usec)
{
	f->now_usec += usec;
	(void)handle(f, (struct core_event){.type = CORE_TICK});
}

/* The next leg of an attach that has been begun, honestly, up to ATTACHED. */
static _unused_ void let_attach(struct fixture *f, struct core_qube_ref target)
{
	(void)handle(f, of_session(CORE_AUDITED, f->source, f->session));
	(void)handle(f, of_session(CORE_EXPORTED, f->source, f->session));
	(void)handle(f, of_session(CORE_IMPORTED, target, f->session));
	assert_int_equal(state_of(f), CORE_ATTACHED);
}

static _unused_ void let_stop(struct fixture *f, struct core_qube_ref target)
{
	uint64_t session = f->session;

	(void)handle(f, of_session(CORE_STOPPED, target, session));
	(void)handle(f, of_session(CORE_STOPPED, f->source, session));
}

static _unused_ int answer_question(struct fixture *f, bool allow, const char *target)
{
	struct core_event event = {.type = CORE_ANSWERED};

	event.answered.question = f->question.id;
	event.answered.allow = allow;
	event.answered.user.uid = 1001;
	(void)snprintf(event.answered.target, sizeof(event.answered.target), "%s", target);
	return handle(f, event);
}

static _unused_ void set_answerers(struct fixture *f, unsigned int n)
{
	assert_int_equal(handle(f, (struct core_event){.type = CORE_ANSWERERS, .answerers = n}), 0);
}

/* Compares the actions since the last look, and begins anew. */
#define assert_actions(f, expected)                          \
	do {                                                 \
		assert_string_equal((f)->actions, expected); \
		(f)->actions[0] = '\0';                      \
	} while (0)
