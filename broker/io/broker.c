// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Events to the core, actions from it; see broker.h.
 *
 * Invariants: handle() is the only caller of core_handle(), and never runs inside itself: emit() passes actions on
 * at once (their device pointers live no longer) to parts that only queue, and keeps what must come back as an event,
 * the outcome of an audit record, until the core has returned. So EXPORT, which follows CORE_AUDITED, leaves after the
 * record is on disk (ST16).
 */
#include "broker/io/broker.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "broker/core/core.h"
#include "broker/io/admin.h"
#include "broker/io/agents.h"
#include "broker/io/audit.h"
#include "broker/io/clock.h"
#include "broker/io/qubes.h"
#include "broker/io/udev.h"
#include "lib/base/base.h"
#include "lib/base/log.h"

struct broker {
	sd_event *event;
	struct broker_config config;
	sd_event_source *on_deadline;
	struct core *core;
	struct audit *audit;
	struct agents *agents;
	struct admin *admin;
	struct qubes *qubes;
	struct udev_devices *udev;
	struct core_qube_ref dom0;
	uid_t caller;          /* whose request is being handled; AUDIT_NOBODY: nobody's */
	const char *requested; /* the qube that it names; NULL: none */

	unsigned int n_audits; /* records that were tried while the core ran */
	struct {
		uint64_t session;
		bool done;
	} audits[LIMIT_STARTS + LIMIT_MOVES + 1];
};

static uint16_t domid_of(const struct broker *broker, struct core_qube_ref ref)
{
	const struct core_qube *qube = core_find_qube(broker->core, ref);

	return qube ? qube->domid : 0;
}

static const char *target_of(const struct core_device *device)
{
	return device && device->target_name[0] ? device->target_name : NULL;
}

static int write_record(struct broker *broker, const struct core_action *action, const char *event, const char *target,
			const char *outcome, bool durable)
{
	const struct core_device *device = action->device;
	struct audit_record record = {.event = event,
				      .caller = broker->caller,
				      .device = device,
				      .qube = device ? core_find_qube(broker->core, device->ref.qube) : NULL,
				      .target = target,
				      .session = action->session,
				      .outcome = outcome};

	return audit_write(broker->audit, &record, durable);
}

/* A transition. What was on its way or attached and is FREE again was detached, or never attached. */
static void note(struct broker *broker, const struct core_action *action)
{
	static const char *const events[CORE_STATE_COUNT] = {
		[CORE_ATTACHED] = "attached", [CORE_DETACHING] = "detaching", [CORE_LOCKED] = "locked"};
	const char *event = events[action->state];

	if (!event)
		event = action->device->was_attached ? "detached" : "attach-failed";
	(void)write_record(broker, action, event, target_of(action->device), outcome_name(action->outcome), false);
}

/* Names the qube that was asked for, which need not be the one that has the device. */
static void refuse(struct broker *broker, const struct core_action *action)
{
	(void)write_record(broker, action, "refused", broker->requested, core_answer_text(action->answer), false);
}

/* A refusal is the only answer that no transition tells of. */
static void answer(struct broker *broker, const struct core_action *action)
{
	switch (action->answer) {
	case CORE_ANSWER_DONE:
	case CORE_ANSWER_FAILED:
	case CORE_ANSWER_NOT_CONFIRMED:
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
	case CORE_ANSWER_NO_REPLY:
	case CORE_ANSWER_SUSPENDED:
	case CORE_ANSWER_ADOPTING:
	case CORE_ANSWER_REQUIRED:
	case CORE_ANSWER_MOVED_BACK:
	case CORE_ANSWER_MOVED_FREE:
	case CORE_ANSWER_COUNT:
		refuse(broker, action);
		break;
	}
	admin_answer(broker->admin, action);
}

static void emit(void *userdata, const struct core_action *action)
{
	struct broker *broker = userdata;

	switch (action->type) {
	case CORE_DO_AUDIT:
		assert(broker->n_audits < ARRAY_SIZE(broker->audits));
		broker->audits[broker->n_audits].session = action->session;
		broker->audits[broker->n_audits++].done =
			write_record(broker, action, "attach-request", target_of(action->device), NULL, true) == 0;
		break;
	case CORE_DO_NOTE:
		note(broker, action);
		break;
	case CORE_DO_EXPORT:
		agents_do(broker->agents, action, domid_of(broker, action->device->target));
		break;
	case CORE_DO_IMPORT:
		agents_do(broker->agents, action, domid_of(broker, action->device->ref.qube));
		break;
	case CORE_DO_STOP_SOURCE:
	case CORE_DO_STOP_TARGET:
	case CORE_DO_STOP_STRAY:
		agents_do(broker->agents, action, 0);
		break;
	case CORE_DO_ANSWER:
		answer(broker, action);
		break;
	case CORE_DO_DEVICE_ADDED:
	case CORE_DO_DEVICE_REMOVED:
	case CORE_DO_ATTACHED:
	case CORE_DO_DETACHED:
		if (broker->admin)
			admin_event(broker->admin, action);
		break;
	case CORE_DO_FORGET:
	case CORE_DO_ASK:
	case CORE_DO_ASK_END:
	case CORE_DO_LIMIT_NEAR:
	case CORE_DO_AUTO_FAILED:
	case CORE_DO_RESTORE_FAILED:
	case CORE_DO_NOT_ADOPTED:
		break;
	}
}

static void allow(void *userdata _unused_, const struct core_device *device _unused_,
		  const struct core_qube *source _unused_, const struct core_qube *target _unused_,
		  struct core_decision *ret_decision)
{
	ret_decision->verdict = CORE_VERDICT_ALLOW;
}

static int handle(struct broker *broker, const struct core_event *event, struct core_qube_ref *ret_qube)
{
	int r = core_handle(broker->core, event, ret_qube);
	uint64_t deadline;

	while (broker->n_audits > 0) {
		unsigned int i = --broker->n_audits;
		struct core_event outcome = {.type = broker->audits[i].done ? CORE_AUDITED : CORE_AUDIT_FAILED,
					     .now_usec = clock_now_usec()};

		outcome.session.session = broker->audits[i].session;
		(void)core_handle(broker->core, &outcome, NULL);
	}
	deadline = core_next_deadline(broker->core);
	(void)sd_event_source_set_time(broker->on_deadline, deadline == UINT64_MAX ? 0 : deadline);
	(void)sd_event_source_set_enabled(broker->on_deadline,
					  deadline == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
	return r;
}

static int on_deadline(sd_event_source *timer _unused_, uint64_t usec _unused_, void *userdata)
{
	(void)handle(userdata, &(struct core_event){.type = CORE_TICK, .now_usec = clock_now_usec()}, NULL);
	return 0;
}

/* ---- users ------------------------------------------------------------------------------------------------------- */

static void request(struct broker *broker, enum core_event_type type, uint64_t token, uid_t caller,
		    struct core_device_ref device, struct core_qube_ref target)
{
	struct core_event event = {.type = type, .now_usec = clock_now_usec()};
	const struct core_qube *qube = core_find_qube(broker->core, target);
	char name[LIMIT_QUBE_NAME + 1] = "";

	if (qube)
		memcpy(name, qube->name, sizeof(name));
	event.request.token = token;
	event.request.device = device;
	event.request.target = target;
	broker->caller = caller;
	broker->requested = name[0] ? name : NULL;
	(void)handle(broker, &event, NULL);
	broker->requested = NULL;
	broker->caller = AUDIT_NOBODY;
}

static void on_attach(void *userdata, uint64_t token, uid_t caller, struct core_device_ref device,
		      struct core_qube_ref target)
{
	request(userdata, CORE_ATTACH, token, caller, device, target);
}

static void on_detach(void *userdata, uint64_t token, uid_t caller, struct core_device_ref device,
		      struct core_qube_ref target)
{
	request(userdata, CORE_DETACH, token, caller, device, target);
}

/* ---- agents ------------------------------------------------------------------------------------------------------ */

static int on_agent_event(void *userdata, const struct core_event *event)
{
	struct broker *broker = userdata;
	bool dom0 = event->qube.index == broker->dom0.index && event->qube.incarnation == broker->dom0.incarnation;
	int r;

	if (dom0 && broker->udev && event->type == CORE_AGENT_READY)
		udev_devices_pause(broker->udev, true);
	r = handle(broker, event, NULL);
	if (dom0 && broker->udev && event->type == CORE_AGENT_LOST)
		udev_devices_pause(broker->udev, false);
	return r;
}

static void on_agent_ended(void *userdata, struct core_qube_ref qube, const char *sentence, unsigned int n_left_out)
{
	struct broker *broker = userdata;
	struct audit_record record = {.event = "agent-lost",
				      .caller = AUDIT_NOBODY,
				      .qube = core_find_qube(broker->core, qube),
				      .outcome = sentence,
				      .n_left_out = n_left_out};

	(void)audit_write(broker->audit, &record, false);
}

/* ---- qubes ------------------------------------------------------------------------------------------------------- */

static int on_qube_started(void *userdata, uint16_t domid, const uint8_t uuid[16], const char *name,
			   struct core_qube_ref *ret_qube)
{
	struct broker *broker = userdata;
	struct core_event event = {.type = CORE_QUBE_STARTED, .now_usec = clock_now_usec()};
	int r;

	event.qube_started.domid = domid;
	memcpy(event.qube_started.uuid, uuid, sizeof(event.qube_started.uuid));
	(void)strncpy(event.qube_started.name, name, LIMIT_QUBE_NAME);
	r = handle(broker, &event, ret_qube);
	if (r != 0)
		return r;
	agents_add(broker->agents, *ret_qube, domid, name);
	if (domid == 0)
		broker->dom0 = *ret_qube;
	admin_qubes_changed(broker->admin);
	log_debug("qube %s runs as domain %u", name, domid);
	return 0;
}

static void on_qube_gone(void *userdata, struct core_qube_ref qube)
{
	struct broker *broker = userdata;

	agents_remove(broker->agents, qube);
	(void)handle(broker, &(struct core_event){.type = CORE_QUBE_GONE, .now_usec = clock_now_usec(), .qube = qube},
		     NULL);
	admin_qubes_changed(broker->admin);
}

static void on_qube_port(void *userdata, struct core_qube_ref qube, uint32_t port)
{
	struct broker *broker = userdata;

	agents_set_port(broker->agents, qube, port);
}

/* ---- dom0's devices ---------------------------------------------------------------------------------------------- */

static void on_udev(void *userdata, struct core_event *event)
{
	struct broker *broker = userdata;

	event->now_usec = clock_now_usec();
	event->qube = broker->dom0;
	(void)handle(broker, event, NULL);
}

/* ---- start and end ----------------------------------------------------------------------------------------------- */

struct broker *broker_free(struct broker *broker)
{
	if (!broker)
		return NULL;
	udev_devices_free(broker->udev);
	qubes_free(broker->qubes);
	agents_free(broker->agents);
	admin_free(broker->admin);
	audit_free(broker->audit);
	core_free(broker->core);
	sd_event_source_disable_unref(broker->on_deadline);
	sd_event_unref(broker->event);
	free(broker);
	return NULL;
}

static void cleanup_broker(struct broker **broker)
{
	(void)broker_free(*broker);
}

static int failed(const char *what, int r)
{
	log_error("%s: %s", what, strerror(-r));
	return r;
}

int broker_new(sd_event *event, const struct broker_config *config, struct broker **ret_broker)
{
	static const struct agents_hooks agents_hooks = {.event = on_agent_event, .ended = on_agent_ended};
	_cleanup_(cleanup_broker) struct broker *broker = calloc(1, sizeof(*broker));
	uint64_t random[2];
	int r;

	if (!broker)
		return -ENOMEM;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return failed("no random numbers", -errno);
	broker->event = sd_event_ref(event);
	broker->config = *config;
	broker->caller = AUDIT_NOBODY;
	broker->core = core_new(random[0] & UINT32_MAX, &(struct core_hooks){.emit = emit, .decide = allow}, broker);
	if (!broker->core)
		return -ENOMEM;
	r = sd_event_add_time(event, &broker->on_deadline, CLOCK_BROKER, 0, 1, on_deadline, broker);
	if (r < 0)
		return failed("the event loop", r);
	(void)sd_event_source_set_enabled(broker->on_deadline, SD_EVENT_OFF);
	r = audit_new(config->state_dir, &broker->audit);
	if (r < 0)
		return r;
	r = agents_new(event, config->backend, random[1], &agents_hooks, broker, &broker->agents);
	if (r < 0)
		return failed("connections to agents", r);
	*ret_broker = TAKE_PTR(broker);
	return 0;
}

int broker_start(struct broker *broker)
{
	static const struct admin_hooks admin_hooks = {.attach = on_attach, .detach = on_detach};
	static const struct qubes_hooks qubes_hooks = {
		.started = on_qube_started, .gone = on_qube_gone, .port = on_qube_port};
	const struct broker_config *config = &broker->config;
	int r;

	r = admin_new(broker->event, config->socket_path, config->group, broker->core, &admin_hooks, broker,
		      &broker->admin);
	if (r < 0)
		return failed(config->socket_path, r);
	if (config->qubes_directory)
		r = qubes_new_directory(broker->event, config->qubes_directory, &qubes_hooks, broker, &broker->qubes);
	else
		r = qubes_new_xen(broker->event, &qubes_hooks, broker, &broker->qubes);
	if (r < 0)
		return failed(config->qubes_directory ? config->qubes_directory : "xenstore", r);
	r = udev_devices_new(broker->event, on_udev, broker, &broker->udev);
	if (r < 0)
		log_warning("dom0's own devices are not listed: %s", strerror(-r));
	return 0;
}
