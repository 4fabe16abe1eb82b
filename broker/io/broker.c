// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Events to the core, actions from it; see broker.h.
 *
 * Invariants: handle() is the only caller of core_handle(), and never runs inside itself: emit() passes actions on
 * at once (their device pointers live no longer) to parts that only queue, and keeps what must come back as an event,
 * the outcome of an audit record, until the core has returned. So EXPORT, which follows CORE_AUDITED, leaves after the
 * record and the session's memory are on disk (ST16).
 */
#include "broker/io/broker.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "broker/core/assignments.h"
#include "broker/core/core.h"
#include "broker/io/admin.h"
#include "broker/io/agents.h"
#include "broker/io/audit-read.h"
#include "broker/io/audit.h"
#include "broker/io/clock.h"
#include "broker/io/decide.h"
#include "broker/io/keep.h"
#include "broker/io/policy-files.h"
#include "broker/io/qubes.h"
#include "broker/io/record.h"
#include "broker/io/sleep.h"
#include "broker/io/store-records.h"
#include "broker/io/udev.h"
#include "lib/base/base.h"
#include "lib/base/log.h"

#define SLEEP_TOKEN UINT64_MAX                       /* of our own CORE_SUSPEND; the API's count from 1 */
#define AUDITED_MAX (LIMIT_STARTS + LIMIT_MOVES + 1) /* as the core promises */

struct broker {
	sd_event *event;
	struct broker_config config;
	sd_event_source *on_deadline;
	struct core *core;
	struct audit *audit;
	struct keep *keep;
	struct policy_files *policy;
	struct agents *agents;
	struct admin *admin;
	struct qubes *qubes;
	struct udev_devices *udev;
	struct sleep_watch *sleep;
	struct core_qube_ref dom0;
	struct core_user caller; /* whose request is being handled; uid CORE_NOBODY: nobody's */
	const char *requested;   /* the qube that it names; NULL: none */
	bool fault;              /* nothing can be kept, until the next start: the core knows */

	/* Sessions whose record was tried while the core ran. */
	unsigned int n_audited;
	struct {
		uint64_t session;
		bool good;
	} audited[AUDITED_MAX];
};

static uint16_t domid_of(const struct broker *broker, struct core_qube_ref ref)
{
	const struct core_qube *qube = core_find_qube(broker->core, ref);

	return qube ? qube->domid : 0;
}

/* The action's record, if it leaves one. 0 or a negative errno. */
static int write_record(struct broker *broker, const struct core_action *action, bool durable)
{
	const struct record_context context = {
		.core = broker->core, .caller = broker->caller, .requested = broker->requested};
	struct audit_record record;

	return record_of(action, &context, &record) ? audit_write(broker->audit, &record, durable) : 0;
}

static void write_plain(struct broker *broker, const char *event, const char *target, const char *outcome)
{
	struct audit_record record = record_plain(event, broker->caller, target, outcome);

	(void)audit_write(broker->audit, &record, false);
}

/* ---- actions of the core ------------------------------------------------------------------------------------------ */

/* First who did what, then what is needed to prove it again: without either nothing is granted. */
static void audit(struct broker *broker, const struct core_action *action)
{
	bool good = write_record(broker, action, true) == 0 &&
		    keep_session(broker->keep, broker->core, action->device, false) == 0;

	assert(broker->n_audited < AUDITED_MAX);
	broker->audited[broker->n_audited].session = action->session;
	broker->audited[broker->n_audited++].good = good;
}

static void tell_listeners(struct broker *broker, const struct core_action *action)
{
	if (broker->admin)
		admin_event(broker->admin, action);
}

static void answer(struct broker *broker, const struct core_action *action)
{
	(void)write_record(broker, action, false);
	if (action->token == SLEEP_TOKEN)
		sleep_ready(broker->sleep);
	else
		admin_answer(broker->admin, action);
}

static void emit(void *userdata, const struct core_action *action)
{
	struct broker *broker = userdata;

	switch (action->type) {
	case CORE_DO_AUDIT:
		tell_listeners(broker, action);
		audit(broker, action);
		break;
	case CORE_DO_EXPORT:
		agents_do(broker->agents, action, domid_of(broker, action->device->target));
		break;
	case CORE_DO_IMPORT:
		agents_do(broker->agents, action, domid_of(broker, action->device->ref.qube));
		break;
	case CORE_DO_MUTE:
	case CORE_DO_STOP_SOURCE:
	case CORE_DO_STOP_TARGET:
	case CORE_DO_STOP_STRAY:
		agents_do(broker->agents, action, 0);
		break;
	case CORE_DO_ANSWER:
		answer(broker, action);
		break;
	case CORE_DO_CLAIM:
		if (keep_session(broker->keep, broker->core, action->device, true) < 0)
			keep_forget(broker->keep, action->session); /* no stream to prove, in any case */
		break;
	case CORE_DO_FORGET:
		keep_forget(broker->keep, action->session);
		break;
	case CORE_DO_NOTE:
	case CORE_DO_NOTE_MUTE:
	case CORE_DO_MUTED:
	case CORE_DO_USE:
	case CORE_DO_DEVICE_ADDED:
	case CORE_DO_DEVICE_REMOVED:
	case CORE_DO_ATTACHED:
	case CORE_DO_DETACHED:
	case CORE_DO_ASK:
	case CORE_DO_ASK_END:
	case CORE_DO_LIMIT_NEAR:
	case CORE_DO_AUTO_FAILED:
	case CORE_DO_RESTORE_FAILED:
	case CORE_DO_NOT_ADOPTED:
		(void)write_record(broker, action, false);
		tell_listeners(broker, action);
		break;
	}
}

/* What is granted must be kept: when nothing can be, nothing is granted. */
static void on_decide(void *userdata, const struct core_device *device, const struct core_qube *source,
		      const struct core_qube *target, struct core_decision *ret_decision)
{
	struct broker *broker = userdata;

	if (broker->fault) {
		*ret_decision = (struct core_decision){.verdict = CORE_VERDICT_DENY};
		(void)snprintf(ret_decision->rule, sizeof(ret_decision->rule), "%s", keep_fault(broker->keep));
		return;
	}
	decide(policy_files_current(broker->policy), policy_files_error(broker->policy), device, source, target,
	       ret_decision);
}

static const char *or_any(const char *text)
{
	return text[0] ? text : "*";
}

/* The core asks, and changes its table when this says true. */
static bool on_relocate(void *userdata, const struct core_assignment *stored, const struct core_assignment *changed)
{
	struct broker *broker = userdata;
	bool learnt = !stored->path[0];
	char text[CORE_DEVICE_ID_MAX + LIMIT_PATH_TEXT + 160];
	const char *why;

	if (keep_relocate(broker->keep, broker->core, stored, changed, &why) != 0) {
		log_warning("the assignment of %s:%s to %s cannot be stored with its port as it is now: %s",
			    stored->source, stored->port, stored->target, why);
		return false;
	}
	(void)snprintf(text, sizeof(text), "%s:%s:%s is %s", stored->source, stored->port, or_any(stored->device_id),
		       learnt ? changed->path : changed->port);
	write_plain(broker, learnt ? "assignment-located" : "assignment-renumbered", stored->target, text);
	if (!learnt && broker->admin)
		admin_renumbered(broker->admin, stored, changed);
	return true;
}

/* The outcomes of records, and what follows from them, until nothing follows. */
static void settle(struct broker *broker)
{
	while (broker->n_audited > 0 || (!broker->fault && keep_fault(broker->keep))) {
		struct core_event event = {.type = CORE_POLICY_CHANGED, .now_usec = clock_now_usec()};

		if (!broker->fault && keep_fault(broker->keep)) {
			broker->fault = true;
		} else {
			event.type = broker->audited[0].good ? CORE_AUDITED : CORE_AUDIT_FAILED;
			event.session.session = broker->audited[0].session;
			broker->n_audited--;
			memmove(&broker->audited[0], &broker->audited[1],
				broker->n_audited * sizeof(broker->audited[0]));
		}
		(void)core_handle(broker->core, &event, NULL);
	}
}

static int handle(struct broker *broker, const struct core_event *event, struct core_qube_ref *ret_qube)
{
	int r = core_handle(broker->core, event, ret_qube);
	uint64_t deadline;

	settle(broker);
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

static void on_request(void *userdata, const struct core_event *request)
{
	struct broker *broker = userdata;
	struct core_event event = *request;
	const struct core_qube *qube = core_find_qube(broker->core, event.request.target);
	char name[LIMIT_QUBE_NAME + 1] = "";

	if (qube)
		memcpy(name, qube->name, sizeof(name));
	event.now_usec = clock_now_usec();
	broker->caller = event.request.user;
	broker->requested = name[0] ? name : NULL;
	if (event.type == CORE_SUSPEND)
		write_plain(broker, "suspend", NULL, NULL);
	(void)handle(broker, &event, NULL);
	broker->requested = NULL;
	broker->caller = CORE_NO_USER;
}

static void record_change(struct broker *broker, const struct core_event *event)
{
	const struct core_assignment *assignment = event->assignment;
	char text[CORE_LABEL_KEY_MAX + LIMIT_LABEL_TEXT + 160];

	if (event->type == CORE_DENIED) {
		(void)snprintf(text, sizeof(text), "%u patterns", event->denied.n_patterns);
		write_plain(broker, "deny-list", event->denied.qube, text);
		return;
	}
	if (event->type == CORE_LABELED) {
		(void)snprintf(text, sizeof(text), "%s: %s", event->label.text[0] ? event->label.text : "none any more",
			       event->label.key);
		write_plain(broker, "label", NULL, text);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s:%s:%s %s", assignment->source, or_any(assignment->port),
		       or_any(assignment->device_id), records_mode_name(assignment->mode));
	write_plain(broker, event->type == CORE_UNASSIGNED ? "unassigned" : "assigned", assignment->target, text);
}

static int on_change(void *userdata, const struct core_user *caller, const struct core_event *change,
		     const char **ret_why)
{
	struct broker *broker = userdata;
	struct core_event event = *change;
	struct core_assignment located;
	bool stored = event.type != CORE_ANSWERED && event.type != CORE_RESUMED;
	int r;

	if (event.type == CORE_ASSIGNED) {
		located = *event.assignment;
		core_locate(broker->core, &located);
		event.assignment = &located;
	}
	r = stored ? keep_change(broker->keep, broker->core, &event, ret_why) : 0;
	if (r != 0) {
		settle(broker);
		return r;
	}
	if (event.type == CORE_RESUMED)
		agents_woke(broker->agents);
	event.now_usec = clock_now_usec();
	broker->caller = *caller;
	if (stored)
		record_change(broker, &event);
	if (event.type == CORE_RESUMED)
		write_plain(broker, "resume", NULL, NULL);
	r = handle(broker, &event, NULL);
	broker->caller = CORE_NO_USER;
	assert(event.type != CORE_ASSIGNED || r == 0); /* it is stored: keep_change() asked all that the core does */
	return r;
}

static void on_answerers(void *userdata, unsigned int n)
{
	struct core_event event = {.type = CORE_ANSWERERS, .now_usec = clock_now_usec()};

	event.answerers = n;
	(void)handle(userdata, &event, NULL);
}

static const struct policy *on_policy(void *userdata, const char **ret_error)
{
	struct broker *broker = userdata;

	*ret_error = policy_files_error(broker->policy);
	return policy_files_current(broker->policy);
}

static int on_audit_read(void *userdata, uint64_t after_seq, char *ret_lines, size_t size, size_t *ret_len)
{
	struct broker *broker = userdata;
	uint64_t last;

	return audit_read(broker->config.state_dir, after_seq, ret_lines, size, ret_len, &last);
}

static int on_audit_check(void *userdata, struct audit_check **ret_check)
{
	struct broker *broker = userdata;
	struct audit_end end = audit_end(broker->audit);

	return audit_check_new(broker->config.state_dir, end.seq > 0 ? &end : NULL, ret_check);
}

/* ---- policy and sleep --------------------------------------------------------------------------------------------- */

static void record_policy(struct broker *broker)
{
	const char *error = policy_files_error(broker->policy);

	if (error)
		log_error("the policy is broken, so everything is denied: %s", error);
	else
		log_notice("the policy has %zu rules", policy_n_rules(policy_files_current(broker->policy)));
	write_plain(broker, error ? "policy-broken" : "policy-loaded", NULL, error);
}

static void on_policy_changed(void *userdata)
{
	struct broker *broker = userdata;

	record_policy(broker);
	(void)handle(broker, &(struct core_event){.type = CORE_POLICY_CHANGED, .now_usec = clock_now_usec()}, NULL);
	admin_policy_changed(broker->admin, policy_files_error(broker->policy));
}

static void on_sleep(void *userdata)
{
	struct core_event event = {.type = CORE_SUSPEND, .now_usec = clock_now_usec()};

	event.request.token = SLEEP_TOKEN;
	event.request.user = CORE_NO_USER;
	log_notice("the machine goes to sleep: devices are taken back");
	write_plain(userdata, "suspend", NULL, NULL);
	(void)handle(userdata, &event, NULL);
}

static void on_woke(void *userdata)
{
	struct broker *broker = userdata;

	log_notice("the machine is awake again");
	write_plain(broker, "resume", NULL, NULL);
	agents_woke(broker->agents);
	(void)handle(broker, &(struct core_event){.type = CORE_RESUMED, .now_usec = clock_now_usec()}, NULL);
}

/* ---- agents ------------------------------------------------------------------------------------------------------ */

static int on_agent_event(void *userdata, const struct core_event *event)
{
	struct broker *broker = userdata;

	if (broker->udev && event->type == CORE_LIST_END && event->qube.index == broker->dom0.index &&
	    event->qube.incarnation == broker->dom0.incarnation)
		udev_devices_tell(broker->udev);
	return handle(broker, event, NULL);
}

static void on_agent_ended(void *userdata, struct core_qube_ref qube, const char *sentence, unsigned int n_left_out)
{
	struct broker *broker = userdata;
	struct audit_record record = record_plain("agent-lost", CORE_NO_USER, NULL, sentence);

	record.qube = core_find_qube(broker->core, qube);
	record.n_left_out = n_left_out;
	(void)audit_write(broker->audit, &record, false);
}

/* ---- qubes ------------------------------------------------------------------------------------------------------- */

static int on_qube_started(void *userdata, uint16_t domid, const uint8_t uuid[16], const char *name, const char *start,
			   struct core_qube_ref *ret_qube)
{
	struct broker *broker = userdata;
	struct core_event event = {.type = CORE_QUBE_STARTED, .now_usec = clock_now_usec()};
	int r;

	event.qube_started.domid = domid;
	memcpy(event.qube_started.uuid, uuid, sizeof(event.qube_started.uuid));
	(void)strncpy(event.qube_started.name, name, LIMIT_QUBE_NAME);
	(void)strncpy(event.qube_started.start, start, LIMIT_START_TEXT - 1);
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
	sleep_free(broker->sleep);
	udev_devices_free(broker->udev);
	qubes_free(broker->qubes);
	agents_free(broker->agents);
	admin_free(broker->admin);
	policy_files_free(broker->policy);
	keep_free(broker->keep);
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
	static const struct core_hooks core_hooks = {.emit = emit, .decide = on_decide, .relocate = on_relocate};
	_cleanup_(cleanup_broker) struct broker *broker = calloc(1, sizeof(*broker));
	uint64_t random[2];
	int r;

	if (!broker)
		return -ENOMEM;
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return failed("no random numbers", -errno);
	broker->event = sd_event_ref(event);
	broker->config = *config;
	broker->caller = CORE_NO_USER;
	broker->core = core_new(random[0] & UINT32_MAX, &core_hooks, broker);
	if (!broker->core)
		return -ENOMEM;
	r = sd_event_add_time(event, &broker->on_deadline, CLOCK_BROKER, 0, 1, on_deadline, broker);
	if (r < 0)
		return failed("the event loop", r);
	(void)sd_event_source_set_enabled(broker->on_deadline, SD_EVENT_OFF);
	r = audit_new(config->state_dir, NULL, &broker->audit);
	if (r < 0)
		return r;
	r = keep_new(config->state_dir, &broker->keep);
	if (r < 0)
		return failed("what was kept", r);
	broker->fault = keep_fault(broker->keep) != NULL;
	r = agents_new(event, config->backend, random[1], &agents_hooks, broker, &broker->agents);
	if (r < 0)
		return failed("connections to agents", r);
	*ret_broker = TAKE_PTR(broker);
	return 0;
}

static int on_kept(void *userdata, const struct core_event *kept)
{
	struct core_event event = *kept;

	event.now_usec = clock_now_usec();
	return handle(userdata, &event, NULL);
}

static int start_policy(struct broker *broker)
{
	static const struct policy_files_hooks hooks = {.changed = on_policy_changed};
	int r = policy_files_new(broker->event, broker->config.policy_dir, geteuid(), &hooks, broker, &broker->policy);

	if (r < 0)
		return failed(broker->config.policy_dir, r);
	record_policy(broker);
	return 0;
}

static int start_qubes(struct broker *broker)
{
	static const struct qubes_hooks hooks = {
		.started = on_qube_started, .gone = on_qube_gone, .port = on_qube_port};
	const char *directory = broker->config.qubes_directory;
	int r = directory ? qubes_new_directory(broker->event, directory, &hooks, broker, &broker->qubes)
			  : qubes_new_xen(broker->event, &hooks, broker, &broker->qubes);

	return r < 0 ? failed(directory ? directory : "xenstore", r) : 0;
}

int broker_start(struct broker *broker)
{
	static const struct admin_hooks admin_hooks = {
		.request = on_request,
		.change = on_change,
		.answerers = on_answerers,
		.policy = on_policy,
		.audit_read = on_audit_read,
		.audit_check = on_audit_check,
	};
	static const struct sleep_hooks sleep_hooks = {.prepare = on_sleep, .woke = on_woke};
	const struct broker_config *config = &broker->config;
	int r = start_policy(broker);

	if (r < 0)
		return r;
	r = keep_load(broker->keep, on_kept, broker);
	if (r < 0)
		return failed("what was kept", r);
	r = admin_new(broker->event, config->socket_path, config->group, broker->core, &admin_hooks, broker,
		      &broker->admin);
	if (r < 0)
		return failed(config->socket_path, r);
	r = sleep_new(broker->event, &sleep_hooks, broker, &broker->sleep);
	if (r < 0)
		return failed("the machine's sleep", r);
	r = start_qubes(broker);
	if (r < 0)
		return r;
	r = udev_devices_new(broker->event, on_udev, broker, &broker->udev);
	if (r < 0)
		log_warning("dom0's own devices are not listed: %s", strerror(-r));
	return 0;
}

int broker_run(struct broker *broker)
{
	int r, code = 0;

	while (sd_event_get_state(broker->event) != SD_EVENT_FINISHED) {
		r = sd_event_prepare(broker->event);
		if (r == 0)
			r = sd_event_wait(broker->event, UINT64_MAX);
		if (r < 0)
			return r;
		sleep_look(broker->sleep);
		r = r > 0 ? sd_event_dispatch(broker->event) : 0;
		if (r < 0)
			return r;
	}
	(void)sd_event_get_exit_code(broker->event, &code);
	return code;
}
