/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See admin-calls.h. A table of the calls with what each takes; those about what is stored, and those that are ours, have
 * files of their own. Every refusal is a QubesException that existing tools show as "Error: ..." (never ProtocolError or
 * PermissionDenied, on which Qubes' own client ends with a traceback), and says the cause and the cure.
 *
 * Devices are found by backend, port and id together, the ids in their encoded form; a detach looks only at what is
 * attached to the named qube.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/admin-job.h"
#include "broker/io/device-class.h"
#include "broker/io/store-records.h"
#include "lib/base/text.h"

#define NIL_UUID "00000000-0000-0000-0000-000000000000"
#define UUID_TEXT 37u

/*
 * A qube that does not run has an UUID that we do not know, and Qubes' client tells qubes apart by it: one made of its
 * name (FNV-1a, twice), of the version that is there for such things.
 */
static void name_uuid(const char *name, uint8_t ret_uuid[16])
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < 16; i++) {
		for (const char *at = name; *at && i % 8 == 0; at++)
			hash = (hash ^ (uint8_t)*at) * 0x100000001b3u;
		ret_uuid[i] = (uint8_t)(hash >> (i % 8 * 8));
	}
	ret_uuid[6] = (uint8_t)(0x80 | (ret_uuid[6] & 0x0f));
	ret_uuid[8] = (uint8_t)(0x80 | (ret_uuid[8] & 0x3f));
}

static void uuid_text(const uint8_t uuid[16], char ret_text[UUID_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			ret_text[at++] = '-';
		ret_text[at++] = digits[uuid[i] >> 4];
		ret_text[at++] = digits[uuid[i] & 15];
	}
	ret_text[at] = '\0';
}

/* Whether a destination means this qube, by its name or its UUID. */
static bool is_meant(struct admin_span untrusted_dest, const char *name, const uint8_t uuid[16])
{
	char text[5 + UUID_TEXT] = "uuid:";

	if (admin_span_is(untrusted_dest, name))
		return true;
	if (untrusted_dest.len != sizeof(text) - 1)
		return false;
	uuid_text(uuid, text + 5);
	return admin_span_is(untrusted_dest, text);
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

static int compare_halted(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool is_shown(const struct core *core, const char *name)
{
	const struct core_qube *qube = core_find_qube_by_name(core, name);

	return strcmp(name, "dom0") == 0 || (qube && admin_shown_name(core, qube));
}

size_t admin_find_halted(const struct core *core, char (*ret_names)[LIMIT_QUBE_NAME + 1])
{
	const struct core_assignment *assignment;
	const char *name;
	unsigned int cursor = 0;
	size_t n = 0, n_different = 0;

	while ((assignment = assignments_next(core_assignments(core), &cursor)))
		if (!is_shown(core, assignment->target) && (!n || strcmp(ret_names[n - 1], assignment->target) != 0))
			(void)strcpy(ret_names[n++], assignment->target);
	cursor = 0;
	while ((name = denied_next_qube(core_denied(core), &cursor)))
		if (!is_shown(core, name))
			(void)strcpy(ret_names[n++], name);
	qsort(ret_names, n, sizeof(ret_names[0]), compare_halted);
	for (size_t i = 0; i < n; i++)
		if (!i || strcmp(ret_names[i], ret_names[n_different - 1]) != 0)
			memmove(ret_names[n_different++], ret_names[i], sizeof(ret_names[0]));
	return n_different;
}

static bool find_halted(struct admin_job *job, enum admin_where where)
{
	char names[ADMIN_HALTED_MAX][LIMIT_QUBE_NAME + 1], untrusted_name[LIMIT_QUBE_NAME + 1];
	size_t n = admin_find_halted(job->core, names);

	for (size_t i = 0; i < n; i++) {
		uint8_t uuid[16];

		name_uuid(names[i], uuid);
		if (is_meant(job->request->dest, names[i], uuid)) {
			(void)strcpy(job->dest_name, names[i]);
			return true;
		}
	}
	if (where != ADMIN_BY_NAME || !admin_span_copy(job->request->dest, untrusted_name, sizeof(untrusted_name)) ||
	    !text_is_qube_name(untrusted_name))
		return false;
	(void)strcpy(job->dest_name, untrusted_name);
	return true;
}

static bool find_dest(struct admin_job *job, enum admin_where where)
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
		if (is_meant(untrusted_dest, qube->name, qube->uuid)) {
			job->dest = qube;
			(void)strcpy(job->dest_name, qube->name);
			return true;
		}
	}
	return find_halted(job, where);
}

/* As Qubes sorts its lines: by "BACKEND+PORT:". */
static int compare_found(const void *a, const void *b)
{
	const struct admin_found *left = a, *right = b;
	int r = text_compare_ended(left->backend, right->backend, '+');

	return r ? r : text_compare_ended(left->device->port, right->device->port, ':');
}

size_t admin_find_devices(const struct admin_job *job, const struct admin_device *wanted,
			  const struct core_qube *backend, const struct core_qube *target,
			  struct admin_found *ret_found)
{
	const struct core_qube *qube;
	const struct core_device *device;
	unsigned int qubes = 0;
	size_t n = 0;

	while ((qube = core_next_qube(job->core, &qubes))) {
		unsigned int devices = 0;
		const char *name = backend && qube != backend ? NULL : admin_shown_name(job->core, qube);

		if (!name)
			continue;
		while ((device = core_next_device(qube, &devices))) {
			struct admin_names names;

			if (device->class_id != job->class_id && job->class_id != ADMIN_EVERY_CLASS)
				continue;
			if (target && (device->state == CORE_FREE || device->target.index != target->ref.index ||
				       device->target.incarnation != target->ref.incarnation))
				continue;
			admin_device_names(name, device, &names);
			if (wanted && !admin_device_matches(wanted, names.backend, device->port, names.encoded_id))
				continue;
			ret_found[n++] = (struct admin_found){.backend = name, .device = device};
		}
	}
	qsort(ret_found, n, sizeof(*ret_found), compare_found);
	return n;
}

/* ---- the calls -------------------------------------------------------------------------------------------------- */

enum admin_verdict admin_refuse(const struct admin_job *job, const char *type, const char *text)
{
	admin_write_exception(job->reply, type, "%s", text);
	return ADMIN_REPLY;
}

/* One line of the list. */
struct listed {
	const char *name, *class, *state;
	uint8_t uuid[16];
};

static int compare_listed(const void *a, const void *b)
{
	return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

void admin_write_qubes(struct admin_job *job, const char *before, const char *only)
{
	struct listed listed[1 + LIMIT_QUBES + ADMIN_HALTED_MAX];
	char halted[ADMIN_HALTED_MAX][LIMIT_QUBE_NAME + 1];
	const struct core_qube *qube;
	unsigned int cursor = 0;
	size_t n_halted = admin_find_halted(job->core, halted), n = 0;

	listed[n++] = (struct listed){.name = "dom0", .class = "AdminVM", .state = "Running"};
	while ((qube = next_shown(job->core, &cursor))) {
		listed[n] = (struct listed){.name = qube->name, .class = "AppVM", .state = "Running"};
		memcpy(listed[n++].uuid, qube->uuid, sizeof(qube->uuid));
	}
	for (size_t i = 0; i < n_halted; i++) {
		listed[n] = (struct listed){.name = halted[i], .class = "AppVM", .state = "Halted"};
		name_uuid(halted[i], listed[n++].uuid);
	}
	qsort(listed, n, sizeof(listed[0]), compare_listed);
	for (size_t i = 0; i < n; i++) {
		char text[UUID_TEXT];

		if (only && strcmp(listed[i].name, only) != 0)
			continue;
		uuid_text(listed[i].uuid, text);
		admin_write_format(job->reply, "%s%s class=%s state=%s uuid=%s\n", before, listed[i].name,
				   listed[i].class, listed[i].state, text);
	}
}

static enum admin_verdict call_vm_list(struct admin_job *job)
{
	admin_write_done(job->reply);
	admin_write_qubes(job, "", job->dest_is_dom0 ? NULL : job->dest_name);
	return ADMIN_REPLY;
}

static enum admin_verdict call_class_list(struct admin_job *job)
{
	const char *name;
	unsigned int cursor = 0;

	admin_write_done(job->reply);
	while ((name = device_class_next(&cursor)))
		admin_write_format(job->reply, "%s\n", name);
	return ADMIN_REPLY;
}

static enum admin_verdict call_current_state(struct admin_job *job)
{
	admin_write_done(job->reply);
	admin_write_format(job->reply, "mem=0 mem_static_max=0 cputime=0 power_state=%s",
			   job->dest || job->dest_is_dom0 ? "Running" : "Halted");
	return ADMIN_REPLY;
}

/* ---- properties, each "default=... type=... VALUE"; false: dom0 has no such property ---- */

static bool property_denied(const struct admin_job *job)
{
	const char *pattern;
	unsigned int cursor = 0;

	if (job->dest_is_dom0)
		return false;
	pattern = denied_next(core_denied(job->core), job->dest_name, &cursor);
	admin_write_format(job->reply, "default=%s type=str ", pattern ? "False" : "True");
	for (; pattern; pattern = denied_next(core_denied(job->core), job->dest_name, &cursor))
		admin_write_format(job->reply, "%s", pattern);
	return true;
}

static bool property_klass(const struct admin_job *job)
{
	admin_write_format(job->reply, "default=True type=str %s", job->dest_is_dom0 ? "AdminVM" : "AppVM");
	return true;
}

static bool property_name(const struct admin_job *job)
{
	admin_write_format(job->reply, "default=False type=str %s", job->dest_name);
	return true;
}

static bool property_uuid(const struct admin_job *job)
{
	char text[UUID_TEXT] = NIL_UUID;
	uint8_t uuid[16];

	if (!job->dest_is_dom0 && !job->dest)
		name_uuid(job->dest_name, uuid);
	if (!job->dest_is_dom0)
		uuid_text(job->dest ? job->dest->uuid : uuid, text);
	admin_write_format(job->reply, "default=%s type=str %s", job->dest_is_dom0 ? "True" : "False", text);
	return true;
}

static bool property_xid(const struct admin_job *job)
{
	if (!job->dest_is_dom0 && !job->dest)
		admin_write_format(job->reply, "default=True type=int -1"); /* as Qubes says of a halted one */
	else
		admin_write_format(job->reply, "default=True type=int %u", job->dest_is_dom0 ? 0u : job->dest->domid);
	return true;
}

static const struct {
	const char *name;
	bool (*write)(const struct admin_job *job);
} vm_properties[] = {
	{"devices_denied", property_denied},
	{"klass", property_klass},
	{"name", property_name},
	{"uuid", property_uuid},
	{"xid", property_xid},
};

static enum admin_verdict call_property_get_all(struct admin_job *job)
{
	admin_write_done(job->reply);
	for (size_t i = 0; i < ARRAY_SIZE(vm_properties); i++) {
		size_t before = job->reply->len;

		admin_write_format(job->reply, "%s ", vm_properties[i].name);
		if (vm_properties[i].write(job))
			admin_write_bytes(job->reply, "\n", 1);
		else
			job->reply->len = before;
	}
	return ADMIN_REPLY;
}

/* Argument: the property's name. */
static enum admin_verdict call_property_get(struct admin_job *job)
{
	admin_write_done(job->reply);
	for (size_t i = 0; i < ARRAY_SIZE(vm_properties); i++)
		if (admin_span_is(job->request->argument, vm_properties[i].name) && vm_properties[i].write(job))
			return ADMIN_REPLY;
	admin_write_exception(job->reply, "QubesNoSuchPropertyError", "%s has no property '%.*s' here", job->dest_name,
			      (int)job->request->argument.len, job->request->argument.at);
	return ADMIN_REPLY;
}

/* ---- features: nothing here has any, and a tool that looks for one goes on with its default ---- */

static enum admin_verdict call_feature_list(struct admin_job *job)
{
	admin_write_done(job->reply);
	return ADMIN_REPLY;
}

/* Argument: the feature's name. */
static enum admin_verdict call_feature_get(struct admin_job *job)
{
	admin_write_exception(job->reply, "QubesFeatureNotFoundError", "Feature not set for domain %s: %.*s",
			      job->dest_name, (int)job->request->argument.len, job->request->argument.at);
	return ADMIN_REPLY;
}

static enum admin_verdict call_events(struct admin_job *job _unused_)
{
	return ADMIN_LISTEN;
}

/* Argument: a port, or nothing. */
static enum admin_verdict call_available(struct admin_job *job)
{
	struct admin_found found[ADMIN_DEVICES_MAX];
	size_t n = job->dest ? admin_find_devices(job, NULL, job->dest, NULL, found) : 0;

	admin_write_done(job->reply);
	for (size_t i = 0; i < n; i++)
		if (!job->request->argument.len || admin_span_is(job->request->argument, found[i].device->port))
			admin_write_available(job->reply, job->dest_name, found[i].device,
					      labels_of(core_labels(job->core), job->dest_name, found[i].device));
	return ADMIN_REPLY;
}

/* As Qubes: of the stored assignment that fits what is attached, the most specific first; else "manual". */
const char *admin_mode_of(const struct core *core, const char *target, const struct core_device *device)
{
	const struct core_qube *source = core_find_qube(core, device->ref.qube);
	const struct core_assignment *assignment;
	const char *mode = "manual";
	unsigned int cursor = 0, best = 0;

	while (source && (assignment = assignments_next(core_assignments(core), &cursor))) {
		unsigned int rank = 1u + (assignment->device_id[0] ? 1u : 0u) + (assignment->port[0] ? 2u : 0u);

		/* by its name only comes before by its path, which is the better of two */
		if (rank < best || strcmp(assignment->target, target) != 0 ||
		    !assignment_fits(assignment, source, device))
			continue;
		best = rank;
		mode = records_mode_name(assignment->mode);
	}
	return mode;
}

/* Argument: BACKEND+PORT, or nothing. */
static enum admin_verdict call_attached(struct admin_job *job)
{
	struct admin_found found[ADMIN_DEVICES_MAX];
	struct admin_device wanted;
	size_t n = 0;

	if (job->request->argument.len && admin_device_parse(job->request->argument, &wanted))
		return admin_refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE));
	if (job->dest)
		n = admin_find_devices(job, job->request->argument.len ? &wanted : NULL, NULL, job->dest, found);
	admin_write_done(job->reply);
	for (size_t i = 0; i < n; i++)
		if (admin_is_attached(found[i].device))
			admin_write_attached(job->reply, found[i].backend, found[i].device,
					     admin_mode_of(job->core, job->dest_name, found[i].device));
	return ADMIN_REPLY;
}

static void set_subject(struct admin_job *job, enum core_event_type type, const struct admin_found *found)
{
	struct admin_names names;

	admin_device_names(found->backend, found->device, &names);
	job->subject.type = job->event.type = type;
	job->subject.class_id = found->device->class_id;
	(void)strcpy(job->subject.device, names.place);
	(void)strcpy(job->subject.backend, names.backend);
	(void)strcpy(job->subject.target, job->dest_name);
	job->subject.by_qube = job->caller.qube[0] != '\0';
	job->event.request.device = found->device->ref;
	job->event.request.target = job->dest->ref;
	job->event.request.user = job->caller;
}

/* qvm-... */
static const char *tool_suffix(const struct admin_job *job)
{
	return job->class_id && job->class_id != ADMIN_EVERY_CLASS ? admin_class_name(job->class_id) : "device";
}

int admin_find_one(struct admin_job *job, struct admin_found *ret_found)
{
	struct admin_found found[ADMIN_DEVICES_MAX];
	struct admin_device wanted;
	size_t n;

	if (admin_device_parse(job->request->argument, &wanted) || (wanted.any_port && wanted.any_id))
		return admin_refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE)), 1;
	n = admin_find_devices(job, &wanted, NULL, NULL, found);
	if (job->class_id == ADMIN_EVERY_CLASS)
		job->class_id = n == 1 ? found[0].device->class_id : 0;
	if (n != 1) {
		admin_write_exception(job->reply, "UnrecognizedDevice",
				      n ? "%.*s has more than one such device: name the port (qvm-%s list)"
					: "%.*s has no such device, or another one is at that port now: look at the "
					  "list again (qvm-%s list)",
				      (int)wanted.backend.len, wanted.backend.at, tool_suffix(job));
		return 1;
	}
	*ret_found = found[0];
	return 0;
}

/* The target of an attach or a move. 0, or the refusal is written. */
static int check_target(const struct admin_job *job)
{
	if (job->dest_is_dom0)
		return admin_refuse(job, "QubesValueError", "no device can be attached to dom0: choose another qube"),
		       1;
	if (job->dest)
		return 0;
	admin_write_exception(job->reply, "QubesVMNotRunningError",
			      "%s is not running: start it, then attach the device again, or assign it (qvm-%s assign)",
			      job->dest_name, tool_suffix(job));
	return 1;
}

/* Argument: BACKEND+PORT[+DEVICE_ID]. Exactly one device must be meant. The mode of an attach is "manual". */
static int prepare_attach(struct admin_job *job, unsigned int may, struct admin_found *found,
			  struct admin_payload *payload)
{
	struct admin_names names;

	if (check_target(job) || admin_find_one(job, found))
		return 1;
	admin_device_names(found->backend, found->device, &names);
	if (admin_read_payload(job,
			       (const char *const[]){"device_id", names.id, "port_id", found->device->port, "devclass",
						     admin_class_name(job->class_id), "backend_domain", names.backend,
						     "frontend_domain", job->dest_name, NULL},
			       may, payload))
		return 1;
	if (payload->mode[0] && strcmp(payload->mode, "manual") != 0)
		return admin_refuse(job, "QubesValueError", "attach is for now only: its mode must be manual"), 1;
	return 0;
}

static void set_said(struct admin_job *job, const struct admin_payload *payload)
{
	job->event.request.max_time_usec = payload->said.max_time_usec;
	job->event.request.picture = payload->said.picture;
}

/* What qrexec's policy was asked was Attach. */
#define ATTACH_FOR_GOOD "an attach that persists is an assignment: from a qube, call Assign, with mode='auto-attach'"

static enum admin_verdict call_attach(struct admin_job *job)
{
	struct admin_found found;
	struct admin_payload payload;

	if (admin_payload_persists(job->request->payload)) {
		if (job->caller.qube[0])
			return admin_refuse(job, "QubesDaemonAccessError", ATTACH_FOR_GOOD);
		return admin_assign_automatically(job);
	}
	if (prepare_attach(job, 0, &found, &payload))
		return ADMIN_REPLY;
	set_subject(job, CORE_ATTACH, &found);
	set_said(job, &payload);
	return ADMIN_REQUEST;
}

/* device.Move: as an attach, and the payload says from where. */
static enum admin_verdict call_move(struct admin_job *job)
{
	struct admin_found found;
	struct admin_payload payload;
	const struct core_qube *from;

	job->class_id = ADMIN_EVERY_CLASS;
	if (prepare_attach(job, ADMIN_MAY_FROM, &found, &payload))
		return ADMIN_REPLY;
	from = core_find_qube_by_name(job->core, payload.from);
	if (!from || !admin_shown_name(job->core, from)) {
		admin_write_exception(job->reply, "QubesVMNotFoundError",
				      "a move needs the qube that has the device now: from='%s' does not run",
				      payload.from);
		return ADMIN_REPLY;
	}
	set_subject(job, CORE_MOVE, &found);
	(void)strcpy(job->subject.from, payload.from);
	job->event.request.from = from->ref;
	set_said(job, &payload);
	return ADMIN_REQUEST;
}

/* Argument: BACKEND+PORT[+DEVICE_ID], of a device that the destination has or is getting. */
static enum admin_verdict call_detach(struct admin_job *job)
{
	struct admin_found found[ADMIN_DEVICES_MAX];
	struct admin_device wanted;
	size_t n = 0;

	if (admin_device_parse(job->request->argument, &wanted) || (wanted.any_port && wanted.any_id))
		return admin_refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE));
	if (job->dest && !job->dest_is_dom0)
		n = admin_find_devices(job, &wanted, NULL, job->dest, found);
	if (n != 1) {
		admin_write_exception(job->reply, "DeviceNotAssigned",
				      n ? "%.*s:%.*s is more than one device of %s: name the port"
					: "%.*s:%.*s is not attached to %s",
				      (int)wanted.backend.len, wanted.backend.at, (int)wanted.port.len, wanted.port.at,
				      job->dest_name);
		return ADMIN_REPLY;
	}
	set_subject(job, CORE_DETACH, &found[0]);
	return ADMIN_REQUEST;
}

/* device.Mute, device.Unmute. Argument: BACKEND+PORT[+DEVICE_ID]; destination: the qube that has it. */
static enum admin_verdict mute_or_not(struct admin_job *job, enum core_event_type type)
{
	struct admin_found found;

	job->class_id = ADMIN_EVERY_CLASS;
	if (admin_find_one(job, &found))
		return ADMIN_REPLY;
	if (!job->dest || job->dest_is_dom0) {
		admin_write_exception(job->reply, "DeviceNotAssigned", "%s:%s is not attached to %s", found.backend,
				      found.device->port, job->dest_name);
		return ADMIN_REPLY;
	}
	set_subject(job, type, &found);
	return ADMIN_REQUEST;
}

static enum admin_verdict call_mute(struct admin_job *job)
{
	return mute_or_not(job, CORE_MUTE);
}

static enum admin_verdict call_unmute(struct admin_job *job)
{
	return mute_or_not(job, CORE_UNMUTE);
}

const struct admin_call admin_calls[] = {
	{"admin.vm.List", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_KNOWN, call_vm_list},
	{"admin.vm.CurrentState", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_KNOWN, call_current_state},
	{"admin.vm.property.Get", ADMIN_FROM_QUBES, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_KNOWN, call_property_get},
	{"admin.vm.property.GetAll", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_BY_NAME, call_property_get_all},
	{"admin.vm.feature.List", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_KNOWN, call_feature_list},
	{"admin.vm.feature.Get", ADMIN_FROM_QUBES, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_KNOWN, call_feature_get},
	{"admin.vm.feature.CheckWithTemplate", ADMIN_FROM_QUBES, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_KNOWN,
	 call_feature_get},
	{"admin.vm.feature.CheckWithNetvm", ADMIN_FROM_QUBES, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_KNOWN,
	 call_feature_get},
	{"admin.vm.feature.CheckWithAdminVM", ADMIN_FROM_QUBES, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_KNOWN,
	 call_feature_get},
	{"admin.vm.feature.CheckWithTemplateAndAdminVM", ADMIN_FROM_QUBES, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_KNOWN,
	 call_feature_get},
	{"admin.deviceclass.List", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, call_class_list},
	{"admin.Events", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_KNOWN, call_events},
	{"device.Mute", ADMIN_SELDOM_ONLY, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_KNOWN, call_mute},
	{"device.Unmute", ADMIN_SELDOM_ONLY, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_KNOWN, call_unmute},
	/* it takes a device from a qube that no policy line names */
	{"device.Move", ADMIN_FROM_DOM0, ADMIN_REQUIRED, ADMIN_REQUIRED, ADMIN_KNOWN, call_move},
	{NULL, ADMIN_FROM_DOM0, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, NULL},
};

/* admin.vm.device.CLASS.NAME */
#define DEVICE_CALL "admin.vm.device."
const struct admin_call admin_device_calls[] = {
	{"Available", ADMIN_FROM_QUBES, ADMIN_OPTIONAL, ADMIN_NONE, ADMIN_KNOWN, call_available},
	/* by name: Qubes' client asks after the last assignment of a qube was ended, too */
	{"Attached", ADMIN_FROM_QUBES, ADMIN_OPTIONAL, ADMIN_NONE, ADMIN_BY_NAME, call_attached},
	{"Attach", ADMIN_SELDOM_ONLY, ADMIN_REQUIRED, ADMIN_OPTIONAL, ADMIN_KNOWN, call_attach},
	{"Detach", ADMIN_SELDOM_ONLY, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_KNOWN, call_detach},
	{NULL, ADMIN_FROM_DOM0, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, NULL},
};

/* Of several tables, each with its end; NULL: none has it. */
static const struct admin_call *look_up(const struct admin_call *const *tables, size_t n,
					struct admin_span untrusted_name)
{
	for (size_t t = 0; t < n; t++)
		for (const struct admin_call *call = tables[t]; call->name; call++)
			if (admin_span_is(untrusted_name, call->name))
				return call;
	return NULL;
}

/* *ret_class_id is set for the calls of devices. */
static const struct admin_call *find_call(struct admin_span untrusted_method, uint8_t *ret_class_id)
{
	const struct admin_call *const whole[] = {admin_calls, admin_assign_calls, admin_own_calls};
	const struct admin_call *const of_class[] = {admin_device_calls, admin_assign_device_calls};
	const struct admin_call *call = look_up(whole, ARRAY_SIZE(whole), untrusted_method);
	struct admin_span class;
	size_t prefix = strlen(DEVICE_CALL);
	int class_id;

	if (call || untrusted_method.len < prefix || memcmp(untrusted_method.at, DEVICE_CALL, prefix) != 0)
		return call;
	untrusted_method.at += prefix;
	untrusted_method.len -= prefix;
	if (!admin_span_cut(&untrusted_method, '.', &class))
		return NULL;
	class_id = device_class_id(class);
	if (class_id < 0)
		return NULL;
	*ret_class_id = (uint8_t)class_id;
	return look_up(of_class, ARRAY_SIZE(of_class), untrusted_method);
}

bool admin_is_seldom(const struct admin_request *request)
{
	uint8_t class_id;
	const struct admin_call *call = find_call(request->method, &class_id);

	return !call || call->from != ADMIN_FROM_QUBES;
}

/* Does this add to a table of which a qube has had its share? */
static bool is_beyond_share(const struct core *core, const struct core_event *event)
{
	unsigned int cursor = 0;

	if (event->type == CORE_ASSIGNED)
		return assignments_count(core_assignments(core)) >= LIMIT_ASSIGNMENTS_QUBES;
	if (event->type == CORE_DENIED)
		return denied_count(core_denied(core)) >= LIMIT_DENIED_QUBES_QUBES &&
		       !denied_next(core_denied(core), event->denied.qube, &cursor);
	if (event->type == CORE_LABELED)
		return labels_count(core_labels(core)) >= LIMIT_LABELS_QUBES &&
		       !labels_get(core_labels(core), event->label.key);
	return false;
}

int admin_change(struct admin_job *job, const struct core_event *event)
{
	const char *why = "it could not be stored";
	int r = -ENOSPC;

	if (job->caller.qube[0] && is_beyond_share(job->core, event))
		why = "so many are stored already that the others are dom0's: remove what is not needed, or do it in "
		      "dom0";
	else
		r = job->hooks->change(job->userdata, &job->caller, event, &why);
	if (r < 0)
		admin_write_exception(job->reply, "QubesException", "nothing was changed: %s", why);
	return r;
}

bool admin_caller(const struct admin_request *request, char ret_qube[LIMIT_QUBE_NAME + 1])
{
	struct admin_span untrusted_source = request->source;

	ret_qube[0] = '\0';
	if (admin_span_is(untrusted_source, "dom0"))
		return true;
	if (admin_span_copy(untrusted_source, ret_qube, LIMIT_QUBE_NAME + 1) && text_is_qube_name(ret_qube))
		return true;
	ret_qube[0] = '\0';
	return false;
}

/* What is wrong with the request for this call; NULL: nothing. */
static const char *check_call(const struct admin_call *call, const struct admin_job *job)
{
	if (call->argument == ADMIN_NONE && job->request->argument.len)
		return "this call takes no argument";
	if (call->argument == ADMIN_REQUIRED && !job->request->argument.len)
		return "this call needs an argument";
	if (call->payload == ADMIN_NONE && job->request->payload.len)
		return "this call takes no payload";
	if (call->payload == ADMIN_REQUIRED && !job->request->payload.len)
		return "this call needs a payload";
	if (call->where == ADMIN_DOM0 && !job->dest_is_dom0)
		return "the destination of this call must be dom0";
	return NULL;
}

enum admin_verdict admin_run(struct admin_job *job)
{
	const struct admin_call *call;
	const char *wrong;
	enum admin_verdict verdict;

	job->dest = NULL;
	job->dest_is_dom0 = false;
	job->class_id = 0;
	job->told_before[0] = job->told_event[0] = '\0';
	job->event = (struct core_event){.type = CORE_EVENT_COUNT};
	job->subject = (struct admin_subject){.type = CORE_EVENT_COUNT};
	if (!admin_caller(job->request, job->caller.qube))
		return admin_refuse(job, "QubesDaemonAccessError", "the request's source is not the name of a qube");
	call = find_call(job->request->method, &job->class_id);
	if (!call) {
		admin_write_exception(job->reply, "QubesDaemonAccessError", "the device broker has no call '%.*s'",
				      (int)job->request->method.len, job->request->method.at);
		return ADMIN_REPLY;
	}
	if (job->caller.qube[0] && call->from == ADMIN_FROM_DOM0) {
		admin_write_exception(
			job->reply, "QubesDaemonAccessError",
			"only dom0 may call %s, which does more than its destination says: do it in steps", call->name);
		return ADMIN_REPLY;
	}
	if (!find_dest(job, call->where)) {
		admin_write_exception(job->reply, "QubesVMNotFoundError", "No such domain: '%.*s' (is it running?)",
				      (int)job->request->dest.len, job->request->dest.at);
		return ADMIN_REPLY;
	}
	wrong = check_call(call, job);
	if (wrong)
		return admin_refuse(job, "QubesValueError", wrong);
	verdict = call->run(job);
	if (verdict == ADMIN_REPLY && job->reply->full)
		return admin_refuse(job, "QubesException", "the answer would be too long");
	return verdict;
}
