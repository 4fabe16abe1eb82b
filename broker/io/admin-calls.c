/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See admin-calls.h. Two tables: the calls with what each takes, and the answers with the exception and sentence that
 * each becomes. Every refusal is a QubesException that existing tools show as "Error: ..." (never ProtocolError or
 * PermissionDenied, on which Qubes' own client ends with a traceback), and says the cause and the cure.
 *
 * Devices are found by backend, port and id together, the ids in their encoded form; a detach looks only at what is
 * attached to the named qube.
 */
#include <stdio.h>
#include <string.h>

#include "broker/io/admin-calls.h"
#include "broker/io/admin-device.h"
#include "lib/base/text.h"

#define NIL_UUID "00000000-0000-0000-0000-000000000000"
#define UUID_TEXT 37u
#define DEVICES_MAX (LIMIT_QUBES * LIMIT_DEVICES)

enum need { NONE, OPTIONAL, REQUIRED };

static void uuid_text(const uint8_t uuid[16], char ret_text[UUID_TEXT])
{
	for (size_t i = 0, at = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			ret_text[at++] = '-';
		(void)snprintf(ret_text + at, 3, "%02x", uuid[i]);
		at += 2;
	}
}

const char *admin_shown_name(const struct core *core, const struct core_qube *qube)
{
	if (qube->domid == 0)
		return "dom0";
	if (!text_is_qube_name(qube->name) || strcmp(qube->name, "dom0") == 0 ||
	    core_find_qube_by_name(core, qube->name) != qube)
		return NULL;
	return qube->name;
}

/* The next one that the API shows, beside dom0. */
static const struct core_qube *next_shown(const struct core *core, unsigned int *cursor)
{
	const struct core_qube *qube;

	while ((qube = core_next_qube(core, cursor)))
		if (qube->domid != 0 && admin_shown_name(core, qube))
			return qube;
	return NULL;
}

/* ---- finding ---------------------------------------------------------------------------------------------------- */

static bool find_dest(struct admin_job *job)
{
	struct admin_span untrusted_dest = job->request->dest;
	const struct core_qube *qube;
	unsigned int cursor = 0;

	if (admin_span_is(untrusted_dest, "dom0") || admin_span_is(untrusted_dest, "uuid:" NIL_UUID)) {
		job->dest_is_dom0 = true;
		job->dest = core_find_qube_by_domid(job->core, 0);
		(void)strcpy(job->dest_name, "dom0");
		return true;
	}
	while ((qube = next_shown(job->core, &cursor))) {
		char uuid[5 + UUID_TEXT] = "uuid:";

		uuid_text(qube->uuid, uuid + 5);
		if (admin_span_is(untrusted_dest, qube->name) || admin_span_is(untrusted_dest, uuid)) {
			job->dest = qube;
			(void)strcpy(job->dest_name, qube->name);
			return true;
		}
	}
	return false;
}

struct found {
	const char *backend;
	const struct core_device *device;
};

/* As Qubes sorts its lines: by "BACKEND+PORT:". */
static int compare_found(const void *a, const void *b)
{
	const struct found *left = a, *right = b;
	char left_key[LIMIT_QUBE_NAME + LIMIT_PORT_TEXT + 3], right_key[LIMIT_QUBE_NAME + LIMIT_PORT_TEXT + 3];

	(void)snprintf(left_key, sizeof(left_key), "%s+%s:", left->backend, left->device->port);
	(void)snprintf(right_key, sizeof(right_key), "%s+%s:", right->backend, right->device->port);
	return strcmp(left_key, right_key);
}

/*
 * The devices of the job's class that `wanted` (NULL: any) names, of `backend` (NULL: any), used by `target` (NULL:
 * whoever, or nobody), sorted.
 */
static size_t find_devices(const struct admin_job *job, const struct admin_device *wanted,
			   const struct core_qube *backend, const struct core_qube *target, struct found *ret_found)
{
	const struct core_qube *qube;
	const struct core_device *device;
	unsigned int qubes = 0;
	size_t n = 0;

	while ((qube = core_next_qube(job->core, &qubes))) {
		unsigned int devices = 0;
		const char *name = admin_shown_name(job->core, qube);

		if (!name || (backend && qube != backend))
			continue;
		while ((device = core_next_device(qube, &devices))) {
			struct admin_names names;

			if (!job->class_id || device->class_id != job->class_id)
				continue;
			if (target && (device->state == CORE_FREE || device->target.index != target->ref.index ||
				       device->target.incarnation != target->ref.incarnation))
				continue;
			admin_device_names(name, device, &names);
			if (wanted && !admin_device_matches(wanted, names.backend, device->port, names.encoded_id))
				continue;
			ret_found[n++] = (struct found){.backend = name, .device = device};
		}
	}
	qsort(ret_found, n, sizeof(*ret_found), compare_found);
	return n;
}

/* ---- the calls -------------------------------------------------------------------------------------------------- */

static enum admin_verdict refuse(const struct admin_job *job, const char *type, const char *text)
{
	admin_write_exception(job->reply, type, "%s", text);
	return ADMIN_REPLY;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const struct core_qube *const *)a)->name, (*(const struct core_qube *const *)b)->name);
}

static void write_qube(const struct admin_job *job, const char *name, const char *class, const uint8_t *uuid)
{
	char text[UUID_TEXT] = NIL_UUID;

	if (uuid)
		uuid_text(uuid, text);
	admin_write_format(job->reply, "%s class=%s state=Running uuid=%s\n", name, class, text);
}

static enum admin_verdict call_vm_list(struct admin_job *job)
{
	const struct core_qube *qubes[LIMIT_QUBES], *qube;
	unsigned int cursor = 0;
	size_t n = 0;
	bool dom0_done = !job->dest_is_dom0;

	while ((qube = next_shown(job->core, &cursor)))
		if (job->dest_is_dom0 || qube == job->dest)
			qubes[n++] = qube;
	qsort(qubes, n, sizeof(qubes[0]), compare_names);
	admin_write_done(job->reply);
	for (size_t i = 0; i < n; i++) {
		if (!dom0_done && strcmp(qubes[i]->name, "dom0") > 0) {
			write_qube(job, "dom0", "AdminVM", NULL);
			dom0_done = true;
		}
		write_qube(job, qubes[i]->name, "AppVM", qubes[i]->uuid);
	}
	if (!dom0_done)
		write_qube(job, "dom0", "AdminVM", NULL);
	return ADMIN_REPLY;
}

static enum admin_verdict call_class_list(struct admin_job *job)
{
	admin_write_done(job->reply);
	admin_write_classes(job->reply);
	return ADMIN_REPLY;
}

static enum admin_verdict call_current_state(struct admin_job *job)
{
	admin_write_done(job->reply);
	admin_write_format(job->reply, "mem=0 mem_static_max=0 cputime=0 power_state=Running");
	return ADMIN_REPLY;
}

static enum admin_verdict call_property_get_all(struct admin_job *job)
{
	char uuid[UUID_TEXT] = NIL_UUID;

	if (!job->dest_is_dom0)
		uuid_text(job->dest->uuid, uuid);
	admin_write_done(job->reply);
	if (!job->dest_is_dom0)
		admin_write_format(job->reply, "devices_denied default=True type=str \n");
	admin_write_format(job->reply, "klass default=True type=str %s\n", job->dest_is_dom0 ? "AdminVM" : "AppVM");
	admin_write_format(job->reply, "name default=False type=str %s\n", job->dest_name);
	admin_write_format(job->reply, "uuid default=%s type=str %s\n", job->dest_is_dom0 ? "True" : "False", uuid);
	admin_write_format(job->reply, "xid default=True type=int %u\n", job->dest_is_dom0 ? 0u : job->dest->domid);
	return ADMIN_REPLY;
}

static enum admin_verdict call_events(struct admin_job *job _unused_)
{
	return ADMIN_LISTEN;
}

/* Argument: a port, or nothing. */
static enum admin_verdict call_available(struct admin_job *job)
{
	struct found found[DEVICES_MAX];
	size_t n = job->dest ? find_devices(job, NULL, job->dest, NULL, found) : 0;

	admin_write_done(job->reply);
	for (size_t i = 0; i < n; i++)
		if (!job->request->argument.len || admin_span_is(job->request->argument, found[i].device->port))
			admin_write_available(job->reply, job->dest_name, found[i].device);
	return ADMIN_REPLY;
}

/* Argument: BACKEND+PORT, or nothing. */
static enum admin_verdict call_attached(struct admin_job *job)
{
	struct found found[DEVICES_MAX];
	struct admin_device wanted;
	size_t n = 0;

	if (job->request->argument.len && admin_device_parse(job->request->argument, &wanted))
		return refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE));
	if (job->dest)
		n = find_devices(job, job->request->argument.len ? &wanted : NULL, NULL, job->dest, found);
	admin_write_done(job->reply);
	for (size_t i = 0; i < n; i++)
		if (admin_is_attached(found[i].device))
			admin_write_attached(job->reply, found[i].backend, found[i].device);
	return ADMIN_REPLY;
}

/* Stored assignments: there are none. */
static enum admin_verdict call_assigned(struct admin_job *job)
{
	admin_write_done(job->reply);
	return ADMIN_REPLY;
}

/*
 * The payload of an attach repeats what the argument and the destination say: it must not say otherwise. 0, or the
 * refusal was written. Another mode than "manual" is for an assignment, which this is not.
 */
static int check_payload(struct admin_job *job, const struct admin_names *names, const char *port)
{
	const struct {
		const char *key, *value;
	} expected[] = {
		{"device_id", names->id},
		{"port_id", port},
		{"devclass", admin_class_name(job->class_id)},
		{"backend_domain", names->backend},
		{"frontend_domain", job->dest_name},
	};
	struct admin_span untrusted_rest = job->request->payload;
	char key[64], untrusted_value[CORE_DEVICE_ID_MAX];

	while (admin_read_property(&untrusted_rest, key, sizeof(key), untrusted_value, sizeof(untrusted_value))) {
		bool any = strcmp(key, "port_id") == 0 || strcmp(key, "device_id") == 0;

		if (key[0] == '_')
			return refuse(job, "QubesValueError", "a USB device takes no options: leave them out"), 1;
		if (strcmp(key, "mode") == 0 && strcmp(untrusted_value, "manual") != 0)
			return refuse(job, "QubesValueError", "attach is for now only: its mode must be manual"), 1;
		for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
			if (strcmp(key, expected[i].key) != 0 || strcmp(untrusted_value, expected[i].value) == 0 ||
			    (any && strcmp(untrusted_value, "*") == 0))
				continue;
			admin_write_exception(job->reply, "QubesValueError",
					      "the request contradicts itself: %s is %s, not %s", key,
					      expected[i].value, untrusted_value);
			return 1;
		}
	}
	for (size_t i = 0; i < untrusted_rest.len; i++)
		if (untrusted_rest.at[i] != ' ')
			return refuse(job, "QubesValueError", "the payload is not a list of key='value'"), 1;
	return 0;
}

static void set_subject(struct admin_job *job, const struct found *found, bool detach)
{
	struct admin_names names;

	admin_device_names(found->backend, found->device, &names);
	job->subject.detach = detach;
	(void)strcpy(job->subject.device, names.place);
	(void)strcpy(job->subject.backend, names.backend);
	(void)strcpy(job->subject.target, job->dest_name);
	job->device = found->device->ref;
	job->target = job->dest->ref;
}

/* Argument: BACKEND+PORT[+DEVICE_ID]. Exactly one device must be meant. */
static enum admin_verdict call_attach(struct admin_job *job)
{
	struct found found[DEVICES_MAX];
	struct admin_device wanted;
	struct admin_names names;
	size_t n;

	if (admin_device_parse(job->request->argument, &wanted) || (wanted.any_port && wanted.any_id))
		return refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE));
	if (job->dest_is_dom0)
		return refuse(job, "QubesValueError", "no device can be attached to dom0: choose another qube");
	n = find_devices(job, &wanted, NULL, NULL, found);
	if (n != 1) {
		admin_write_exception(job->reply, "UnrecognizedDevice",
				      n ? "%.*s has more than one such device: name the port (qvm-%s list)"
					: "%.*s has no such device, or another one is at that port now: look at the "
					  "list again (qvm-%s list)",
				      (int)wanted.backend.len, wanted.backend.at,
				      job->class_id ? admin_class_name(job->class_id) : "device");
		return ADMIN_REPLY;
	}
	admin_device_names(found[0].backend, found[0].device, &names);
	if (check_payload(job, &names, found[0].device->port))
		return ADMIN_REPLY;
	set_subject(job, &found[0], false);
	return ADMIN_ATTACH;
}

/* Argument: BACKEND+PORT[+DEVICE_ID], of a device that the destination has or is getting. */
static enum admin_verdict call_detach(struct admin_job *job)
{
	struct found found[DEVICES_MAX];
	struct admin_device wanted;
	size_t n = 0;

	if (admin_device_parse(job->request->argument, &wanted) || (wanted.any_port && wanted.any_id))
		return refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE));
	if (job->dest && !job->dest_is_dom0)
		n = find_devices(job, &wanted, NULL, job->dest, found);
	if (n != 1) {
		admin_write_exception(job->reply, "DeviceNotAssigned",
				      n ? "%.*s:%.*s is more than one device of %s: name the port"
					: "%.*s:%.*s is not attached to %s",
				      (int)wanted.backend.len, wanted.backend.at, (int)wanted.port.len, wanted.port.at,
				      job->dest_name);
		return ADMIN_REPLY;
	}
	set_subject(job, &found[0], true);
	return ADMIN_DETACH;
}

struct call {
	const char *name;
	enum need argument, payload;
	bool dom0_only;
	enum admin_verdict (*run)(struct admin_job *job);
};

static const struct call calls[] = {
	{"admin.vm.List", NONE, NONE, false, call_vm_list},
	{"admin.vm.CurrentState", NONE, NONE, false, call_current_state},
	{"admin.vm.property.GetAll", NONE, NONE, false, call_property_get_all},
	{"admin.deviceclass.List", NONE, NONE, true, call_class_list},
	{"admin.Events", NONE, NONE, false, call_events},
};

/* admin.vm.device.CLASS.NAME */
#define DEVICE_CALL "admin.vm.device."
static const struct call device_calls[] = {
	{"Available", OPTIONAL, NONE, false, call_available}, {"Attached", OPTIONAL, NONE, false, call_attached},
	{"Assigned", OPTIONAL, NONE, false, call_assigned},   {"Attach", REQUIRED, OPTIONAL, false, call_attach},
	{"Detach", REQUIRED, NONE, false, call_detach},
};

static const struct call *find_call(struct admin_job *job)
{
	struct admin_span untrusted_method = job->request->method, class;
	size_t prefix = strlen(DEVICE_CALL);
	int class_id;

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (admin_span_is(untrusted_method, calls[i].name))
			return &calls[i];
	if (untrusted_method.len < prefix || memcmp(untrusted_method.at, DEVICE_CALL, prefix) != 0)
		return NULL;
	untrusted_method.at += prefix;
	untrusted_method.len -= prefix;
	if (!admin_span_cut(&untrusted_method, '.', &class))
		return NULL;
	class_id = admin_class_id(class);
	for (size_t i = 0; i < ARRAY_SIZE(device_calls) && class_id >= 0; i++) {
		if (admin_span_is(untrusted_method, device_calls[i].name)) {
			job->class_id = (uint8_t)class_id;
			return &device_calls[i];
		}
	}
	return NULL;
}

/* What is wrong with the request for this call; NULL: nothing. */
static const char *check_call(const struct call *call, const struct admin_job *job)
{
	if (call->argument == NONE && job->request->argument.len)
		return "this call takes no argument";
	if (call->argument == REQUIRED && !job->request->argument.len)
		return "this call needs an argument";
	if (call->payload == NONE && job->request->payload.len)
		return "this call takes no payload";
	if (call->dom0_only && !job->dest_is_dom0)
		return "the destination of this call must be dom0";
	return NULL;
}

enum admin_verdict admin_run(struct admin_job *job)
{
	const struct call *call;
	const char *wrong;
	enum admin_verdict verdict;

	job->dest = NULL;
	job->dest_is_dom0 = false;
	job->class_id = 0;
	if (!admin_span_is(job->request->source, "dom0"))
		return refuse(job, "QubesDaemonAccessError", "only dom0 may make this call");
	call = find_call(job);
	if (!call) {
		admin_write_exception(job->reply, "QubesDaemonAccessError", "the device broker has no call '%.*s'",
				      (int)job->request->method.len, job->request->method.at);
		return ADMIN_REPLY;
	}
	if (!find_dest(job)) {
		admin_write_exception(job->reply, "QubesVMNotFoundError", "No such domain: '%.*s' (is it running?)",
				      (int)job->request->dest.len, job->request->dest.at);
		return ADMIN_REPLY;
	}
	wrong = check_call(call, job);
	if (wrong)
		return refuse(job, "QubesValueError", wrong);
	verdict = call->run(job);
	if (verdict == ADMIN_REPLY && job->reply->full)
		return refuse(job, "QubesException", "the answer would be too long");
	return verdict;
}

/* ---- the answers ------------------------------------------------------------------------------------------------ */

/* {a} "attaching D to Q", {d} device, {b} its backend, {q} the target, {u} who uses it, {w} the outcome's sentence */
static const struct {
	const char *type, *text;
} answers[CORE_ANSWER_COUNT] = {
	[CORE_ANSWER_DONE] = {NULL, NULL},
	[CORE_ANSWER_FAILED] = {"QubesException", "{a} failed: {w}"},
	[CORE_ANSWER_NO_DEVICE] = {"UnrecognizedDevice",
				   "{d} is not there any more: look at the list again (qvm-usb list)"},
	[CORE_ANSWER_NO_QUBE] = {"QubesVMNotRunningError", "{q} is not running: start it, then attach {d} again"},
	[CORE_ANSWER_SELF] = {"QubesValueError", "{d} is a device of {q} itself: choose another qube"},
	[CORE_ANSWER_IN_USE] = {"DeviceAlreadyAttached",
				"{d} is in use by {u}: detach it there first (qvm-usb detach {u} {d})"},
	[CORE_ANSWER_ALREADY] = {"DeviceAlreadyAttached", "{d} is already attached to {q}"},
	[CORE_ANSWER_DETACHING] = {"QubesException",
				   "{d} is still being detached from {u}: try again in a few seconds"},
	[CORE_ANSWER_LOCKED] = {"QubesException", "{d} is locked: {b} has not confirmed that its attachment to {u} "
						  "ended; if it stays so, restart {b}"},
	[CORE_ANSWER_NO_SOURCE_AGENT] = {"QubesException",
					 "no device agent runs in {b}: install and start device-agent there"},
	[CORE_ANSWER_NO_TARGET_AGENT] = {"QubesException", "no device agent that takes USB devices runs in {q}: "
							   "install and start device-agent there"},
	[CORE_ANSWER_NOT_ATTACHED] = {"DeviceNotAssigned", "{d} is not attached to {q}"},
	[CORE_ANSWER_NOT_CONFIRMED] = {"QubesException", "{b} did not confirm that it stopped passing {d} on, so the "
							 "device is locked; if it stays so, restart {b}"},
	[CORE_ANSWER_DENIED] = {"QubesException", "{a} is not allowed by the policy"},
	[CORE_ANSWER_ASKING] = {"QubesException", "a question about {d} is open: answer it first"},
	[CORE_ANSWER_SAID_NO] = {"QubesException", "{a}: the user was asked, and said no"},
	[CORE_ANSWER_NOBODY] = {"QubesException", "{a}: the user must be asked, and nobody is there to answer"},
	[CORE_ANSWER_NO_REPLY] = {"QubesException", "{a}: the user was asked, and gave no answer in time"},
	[CORE_ANSWER_SUSPENDED] = {"QubesException", "{a}: the machine is going to sleep"},
	[CORE_ANSWER_ADOPTING] = {"QubesException", "the broker was restarted and does not know yet whether {d} is "
						    "attached: try again in a few seconds"},
	[CORE_ANSWER_REQUIRED] = {"QubesException", "{q} requires {d}: shut it down first, or remove the assignment"},
	[CORE_ANSWER_MOVED_BACK] = {"QubesException", "{a} failed: {w}; it is back where it was"},
	[CORE_ANSWER_MOVED_FREE] = {"QubesException", "{a} failed: {w}; it is attached nowhere"},
};

/* Outcomes of CORE_ANSWER_FAILED for which Qubes has a type of its own. */
static const char *const outcome_types[OUTCOME_COUNT] = {
	[OUTCOME_NO_DEVICE] = "UnrecognizedDevice",
	[OUTCOME_CHANGED] = "UnrecognizedDevice",
	[OUTCOME_UNPLUGGED] = "UnrecognizedDevice",
	[OUTCOME_QUBE_GONE] = "QubesVMNotRunningError",
};

static const char *answer_word(char letter, const struct admin_subject *subject, const struct core_action *action,
			       const char *doing)
{
	const struct {
		char letter;
		const char *word;
	} words[] = {
		{'a', doing},
		{'d', subject->device},
		{'b', subject->backend},
		{'q', subject->target},
		{'u', action->device ? action->device->target_name : "another qube"},
		{'w', outcome_text(action->outcome)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].letter == letter)
			return words[i].word;
	return NULL;
}

void admin_write_answer(struct admin_writer *writer, const struct admin_subject *subject,
			const struct core_action *action)
{
	char doing[128], text[512];
	struct admin_writer sentence;
	const char *type = answers[action->answer].type;

	if (!type) {
		admin_write_done(writer);
		if (subject->detach && !action->confirmed)
			admin_write_format(writer, "%s is detached, but %s did not confirm that it let go of it\n",
					   subject->device, subject->target);
		return;
	}
	if (action->answer == CORE_ANSWER_FAILED && outcome_types[action->outcome])
		type = outcome_types[action->outcome];
	(void)snprintf(doing, sizeof(doing), "%s %s %s %s", subject->detach ? "detaching" : "attaching",
		       subject->device, subject->detach ? "from" : "to", subject->target);
	admin_write_init(&sentence, text, sizeof(text) - 1);
	for (const char *at = answers[action->answer].text; *at; at++) {
		const char *word = at[0] == '{' ? answer_word(at[1], subject, action, doing) : NULL;

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
