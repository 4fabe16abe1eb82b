/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The calls about what is stored: assignments and deny lists. They work for a qube that does not run, and for a device
 * that is not there. See admin-job.h.
 *
 * The API's ids of devices are not the core's (admin-device.h). A device that is there gives its own id; for one that is
 * not, the payload's is taken, which is the same unless its serial number has characters that the API does not show.
 * Stored ones are found by the form that the API shows, encoded, as the argument has it.
 */
#include <stdio.h>
#include <string.h>

#include "broker/io/admin-job.h"
#include "broker/io/store-records.h"
#include "lib/base/text.h"

/* How the API names what is stored: "*" is any. */
struct shown {
	const char *port;
	char id[CORE_DEVICE_ID_MAX];
	char encoded_id[CORE_DEVICE_ID_MAX]; /* "_": any */
};

static void show(const struct core_assignment *assignment, struct shown *ret_shown)
{
	ret_shown->port = assignment->port[0] ? assignment->port : "*";
	(void)strcpy(ret_shown->id, assignment->device_id);
	if (ret_shown->id[0])
		admin_device_id_shown(ret_shown->id);
	else
		(void)strcpy(ret_shown->id, "*");
	(void)strcpy(ret_shown->encoded_id, ret_shown->id);
	admin_device_id_encode(ret_shown->encoded_id);
}

void admin_write_assignment(struct admin_writer *writer, const struct core_assignment *assignment)
{
	const struct admin_said said = admin_said_in_assignment(assignment);
	struct shown shown;

	show(assignment, &shown);
	admin_write_format(writer, "%s+%s:%s", assignment->source, shown.port, shown.id);
	admin_write_property(writer, "device_id", shown.id);
	admin_write_property(writer, "port_id", shown.port);
	admin_write_property(writer, "devclass", admin_class_name(assignment->class_id));
	admin_write_property(writer, "backend_domain", assignment->source);
	admin_write_property(writer, "mode", records_mode_name(assignment->mode));
	admin_write_property(writer, "frontend_domain", assignment->target);
	admin_write_options(writer, &said);
	admin_write_bytes(writer, "\n", 1);
}

/* The next assignment of the job's class to its destination. */
static const struct core_assignment *next_assignment(const struct admin_job *job, unsigned int *cursor)
{
	const struct core_assignment *assignment;

	while ((assignment = assignments_next(core_assignments(job->core), cursor)))
		if (job->class_id && assignment->class_id == job->class_id &&
		    strcmp(assignment->target, job->dest_name) == 0)
			return assignment;
	return NULL;
}

/* Argument: BACKEND+PORT, or nothing. */
static enum admin_verdict call_assigned(struct admin_job *job)
{
	const struct core_assignment *assignment;
	struct admin_device wanted;
	unsigned int cursor = 0;

	if (job->request->argument.len && admin_device_parse(job->request->argument, &wanted))
		return admin_refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE));
	admin_write_done(job->reply);
	while ((assignment = next_assignment(job, &cursor))) {
		struct shown shown;

		show(assignment, &shown);
		if (!job->request->argument.len ||
		    admin_device_matches(&wanted, assignment->source, shown.port, shown.encoded_id))
			admin_write_assignment(job->reply, assignment);
	}
	return ADMIN_REPLY;
}

static void write_old(struct admin_job *job, const char *source, const char *port, bool persistent,
		      struct admin_said said)
{
	struct admin_options options;
	size_t n = admin_options(&said, &options);

	admin_write_format(job->reply, "%s+%s", source, port);
	for (size_t i = 0; i < n; i++)
		admin_write_format(job->reply, " %s=%s", options.options[i][0], options.options[i][1]);
	admin_write_format(job->reply, " persistent=%s\n", persistent ? "yes" : "no");
}

/*
 * 4.2: what is attached and what is to be, in one list by port; an assignment of a device wherever it is has no line of
 * its own. Argument: BACKEND+PORT, or nothing.
 */
static enum admin_verdict call_list(struct admin_job *job)
{
	struct admin_found found[ADMIN_DEVICES_MAX];
	const struct core_assignment *assignment, *last = NULL;
	struct admin_device wanted;
	bool filtered = job->request->argument.len;
	unsigned int cursor = 0;
	size_t n;

	if (filtered && admin_device_parse(job->request->argument, &wanted))
		return admin_refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE));
	n = job->dest ? admin_find_devices(job, filtered ? &wanted : NULL, NULL, job->dest, found) : 0;
	admin_write_done(job->reply);
	for (size_t i = 0; i < n; i++)
		if (admin_is_attached(found[i].device))
			write_old(job, found[i].backend, found[i].device->port,
				  strcmp(admin_mode_of(job->core, job->dest_name, found[i].device), "manual") != 0,
				  admin_said_in_terms(&found[i].device->terms));
	while ((assignment = next_assignment(job, &cursor))) {
		bool shown = last && strcmp(last->source, assignment->source) == 0 &&
			     strcmp(last->port, assignment->port) == 0;

		last = assignment;
		for (size_t i = 0; i < n && !shown; i++)
			shown = admin_is_attached(found[i].device) &&
				strcmp(found[i].backend, assignment->source) == 0 &&
				strcmp(found[i].device->port, assignment->port) == 0;
		if (!shown && assignment->port[0] &&
		    (!filtered || admin_device_matches(&wanted, assignment->source, assignment->port, "_")))
			write_old(job, assignment->source, assignment->port, true,
				  admin_said_in_assignment(assignment));
	}
	return ADMIN_REPLY;
}

void admin_assignment_told(struct admin_job *job, const char *event, const struct core_assignment *assignment)
{
	bool assigned = strcmp(event, "device-assign") == 0; /* the only one with a "pre", and with options */
	const char *class = admin_class_name(assignment->class_id);
	const struct admin_said said = admin_said_in_assignment(assignment);
	struct shown shown;

	show(assignment, &shown);
	job->told_before[0] = '\0';
	if (assigned)
		(void)snprintf(job->told_before, sizeof(job->told_before), "device-pre-assign:%s", class);
	(void)snprintf(job->told_event, sizeof(job->told_event), "%s:%s", event, class);
	(void)snprintf(job->told_texts[0], sizeof(job->told_texts[0]), "%s:%s:%s", assignment->source, shown.port,
		       shown.id);
	admin_options_text(&said, job->told_texts[1]);
	job->told_fields[0] = "device";
	job->told_fields[1] = job->told_texts[0];
	job->told_fields[2] = assigned ? "options" : NULL;
	job->told_fields[3] = job->told_texts[1];
	job->told_fields[4] = NULL;
}

static int refuse_contradiction(const struct admin_job *job, const char *device_id)
{
	admin_write_exception(job->reply, "QubesValueError",
			      "the request contradicts itself: device_id %s is not what its argument says", device_id);
	return 1;
}

/* Is it what the payload says too? "*" and nothing go with every one. 0, or the refusal is written. */
static int check_said(const struct admin_job *job, const struct admin_payload *payload, const char *shown_id)
{
	const char *said = payload->device_id;

	return !said[0] || strcmp(said, "*") == 0 || strcmp(said, shown_id) == 0 ? 0 : refuse_contradiction(job, said);
}

/* Of a device that is not there, which only the payload can say. 0, or the refusal is written. */
static int find_absent_id(const struct admin_job *job, const struct admin_device *wanted,
			  const struct admin_payload *payload, char ret_id[CORE_DEVICE_ID_MAX])
{
	char encoded[CORE_DEVICE_ID_MAX];

	if (!payload->device_id[0]) {
		admin_write_exception(job->reply, "UnrecognizedDevice",
				      "no device with the id that the argument says is there: plug it in, or say "
				      "device_id in the payload");
		return 1;
	}
	(void)strcpy(encoded, payload->device_id);
	admin_device_id_encode(encoded);
	if (!admin_span_is(wanted->device_id, encoded))
		return refuse_contradiction(job, payload->device_id);
	(void)strcpy(ret_id, payload->device_id);
	return 0;
}

/* The device id to store. 0, or the refusal is written. */
static int find_id(const struct admin_job *job, const struct admin_device *wanted, const struct admin_payload *payload,
		   char ret_id[CORE_DEVICE_ID_MAX])
{
	struct admin_found found[ADMIN_DEVICES_MAX];
	struct admin_names names;

	ret_id[0] = '\0';
	if (wanted->any_id)
		return check_said(job, payload, "*");
	if (admin_find_devices(job, wanted, NULL, NULL, found) == 0)
		return find_absent_id(job, wanted, payload, ret_id);
	admin_device_names(found[0].backend, found[0].device, &names); /* twins have the same id */
	(void)core_device_id(found[0].device, ret_id);
	return check_said(job, payload, names.id);
}

/* Everything but the mode, from argument and payload. 0, or the refusal is written. */
static int read_assignment(struct admin_job *job, struct core_assignment *ret_assignment,
			   struct admin_payload *ret_payload)
{
	struct core_assignment assignment = {.class_id = job->class_id};
	struct admin_device wanted;
	char backend[LIMIT_QUBE_NAME + 1], port[LIMIT_PORT_TEXT];

	if (!job->class_id)
		return admin_refuse(job, "QubesValueError", "there are no devices of this class yet"), 1;
	if (admin_device_parse(job->request->argument, &wanted) ||
	    !admin_span_copy(wanted.backend, backend, sizeof(backend)) || !text_is_qube_name(backend) ||
	    !admin_span_copy(wanted.port, port, sizeof(port)) ||
	    (!wanted.any_port && !wire_is_port(job->class_id, port)))
		return admin_refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE)), 1;
	if (job->dest_is_dom0)
		return admin_refuse(job, "QubesValueError", "no device can be assigned to dom0: choose another qube"),
		       1;
	if (strcmp(backend, job->dest_name) == 0)
		return admin_refuse(job, "QubesValueError", "a qube has its own devices already: choose another qube"),
		       1;
	if (admin_read_payload(job,
			       (const char *const[]){"port_id", wanted.any_port ? "*" : port, "devclass",
						     admin_class_name(job->class_id), "backend_domain", backend,
						     "frontend_domain", job->dest_name, NULL},
			       ADMIN_MAY_FOLLOW, ret_payload) ||
	    find_id(job, &wanted, ret_payload, assignment.device_id))
		return 1;
	(void)strcpy(assignment.target, job->dest_name);
	(void)strcpy(assignment.source, backend);
	if (!wanted.any_port)
		(void)strcpy(assignment.port, port);
	assignment.follow_port = ret_payload->said.follow_port;
	assignment.max_time_usec = ret_payload->said.max_time_usec;
	assignment.picture = ret_payload->said.picture;
	*ret_assignment = assignment;
	return 0;
}

/* `automatic`: whatever mode the payload says, or does not say. */
static enum admin_verdict assign(struct admin_job *job, bool automatic)
{
	struct core_assignment assignment;
	struct admin_payload payload;
	struct core_event event = {.type = CORE_ASSIGNED, .assignment = &assignment};

	if (read_assignment(job, &assignment, &payload))
		return ADMIN_REPLY;
	assignment.mode = CORE_ASSIGN_AUTO;
	if (!automatic && records_mode_from_name(payload.mode, &assignment.mode) < 0)
		return admin_refuse(job, "QubesValueError",
				    "the mode of an assignment is auto-attach, ask-to-attach or required");
	switch (admin_change(job, &event)) {
	case 0:
		admin_assignment_told(job, "device-assign", &assignment);
		admin_write_done(job->reply);
		return ADMIN_REPLY;
	case CORE_EVENT_EXISTS:
		admin_write_exception(job->reply, "DeviceAlreadyAssigned",
				      "this device is already assigned to %s: unassign it first, or change its mode",
				      job->dest_name);
		return ADMIN_REPLY;
	case CORE_EVENT_FULL:
		admin_write_exception(job->reply, "QubesException",
				      "there are %u assignments already: end one that is not needed (unassign)",
				      LIMIT_ASSIGNMENTS);
		return ADMIN_REPLY;
	case CORE_EVENT_IGNORED:
		return admin_refuse(job, "QubesValueError", "not a device that can be assigned: look at its name");
	default: /* a negative errno: written */
		return ADMIN_REPLY;
	}
}

/* Argument: BACKEND+PORT+DEVICE_ID, "_" for any. */
static enum admin_verdict call_assign(struct admin_job *job)
{
	return assign(job, false);
}

enum admin_verdict admin_assign_automatically(struct admin_job *job)
{
	return assign(job, true);
}

/* What its port's name means now is this assignment's: the others of that name are of a time before. */
static bool is_here(const struct admin_job *job, const struct core_assignment *assignment)
{
	struct core_assignment here = *assignment;

	here.path[0] = '\0';
	core_locate(job->core, &here);
	return strcmp(here.path, assignment->path) == 0;
}

/* The stored one that the argument names; NULL, and the refusal is written. */
static const struct core_assignment *find_stored(struct admin_job *job)
{
	const struct core_assignment *assignment, *found = NULL;
	struct admin_device wanted;
	unsigned int cursor = 0;

	if (admin_device_parse(job->request->argument, &wanted)) {
		(void)admin_refuse(job, "QubesValueError", admin_fault_text(ADMIN_FAULT_DEVICE));
		return NULL;
	}
	while ((assignment = next_assignment(job, &cursor))) {
		struct shown shown;

		show(assignment, &shown);
		if (admin_span_is(wanted.backend, assignment->source) &&
		    admin_span_is(wanted.port, assignment->port[0] ? assignment->port : "_") &&
		    (wanted.any_id ? !assignment->device_id[0] : admin_span_is(wanted.device_id, shown.encoded_id)) &&
		    (!found || is_here(job, assignment)))
			found = assignment;
	}
	if (found)
		return found;
	admin_write_exception(job->reply, "DeviceNotAssigned", "%.*s:%.*s is not assigned to %s in this way",
			      (int)wanted.backend.len, wanted.backend.at, (int)wanted.port.len, wanted.port.at,
			      job->dest_name);
	return NULL;
}

/* Takes the stored one away, or gives it another mode. */
static enum admin_verdict change_stored(struct admin_job *job, enum core_event_type type, const char *told,
					const enum core_assign_mode *mode)
{
	const struct core_assignment *stored = find_stored(job);
	struct core_assignment assignment;
	struct core_event event = {.type = type, .assignment = &assignment};
	int r;

	if (!stored)
		return ADMIN_REPLY;
	assignment = *stored; /* the table moves under it */
	if (mode)
		assignment.mode = *mode;
	r = admin_change(job, &event);
	if (r < 0)
		return ADMIN_REPLY;
	if (r > 0)
		return admin_refuse(job, "DeviceNotAssigned", "this device is not assigned any more");
	admin_assignment_told(job, told, &assignment);
	admin_write_done(job->reply);
	return ADMIN_REPLY;
}

static enum admin_verdict call_unassign(struct admin_job *job)
{
	return change_stored(job, CORE_UNASSIGNED, "device-unassign", NULL);
}

/* Payload: the mode, bare. */
static enum admin_verdict call_set_assignment(struct admin_job *job)
{
	enum core_assign_mode mode;
	char untrusted_mode[16];

	if (!admin_span_copy(job->request->payload, untrusted_mode, sizeof(untrusted_mode)) ||
	    records_mode_from_name(untrusted_mode, &mode) < 0)
		return admin_refuse(job, "QubesValueError",
				    "the mode of an assignment is auto-attach, ask-to-attach or required");
	return change_stored(job, CORE_ASSIGN_MODE, "device-assignment-changed", &mode);
}

/* ---- deny lists ------------------------------------------------------------------------------------------------- */

static void read_denied(const struct admin_job *job, struct core_event *event)
{
	const char *pattern;
	unsigned int cursor = 0;

	event->type = CORE_DENIED;
	(void)strcpy(event->denied.qube, job->dest_name);
	while ((pattern = denied_next(core_denied(job->core), job->dest_name, &cursor)))
		(void)strcpy(event->denied.patterns[event->denied.n_patterns++], pattern);
}

static enum admin_verdict call_denied_list(struct admin_job *job)
{
	const char *pattern;
	unsigned int cursor = 0;
	size_t n = 0;

	admin_write_done(job->reply);
	while ((pattern = denied_next(core_denied(job->core), job->dest_name, &cursor)))
		admin_write_format(job->reply, "%s%s", n++ ? "\n" : "", pattern);
	return ADMIN_REPLY;
}

/* Cuts one pattern off the payload; false: what is left is none. */
static bool cut_pattern(struct admin_span *untrusted_rest, char pattern[DENIED_PATTERN + 1])
{
	struct admin_span part = {.at = untrusted_rest->at, .len = DENIED_PATTERN};

	if (untrusted_rest->len < DENIED_PATTERN || !admin_span_copy(part, pattern, DENIED_PATTERN + 1) ||
	    !denied_is_pattern(pattern))
		return false;
	untrusted_rest->at += DENIED_PATTERN;
	untrusted_rest->len -= DENIED_PATTERN;
	return true;
}

static unsigned int find_pattern(const struct core_event *event, const char *pattern)
{
	unsigned int i = 0;

	while (i < event->denied.n_patterns && strcmp(event->denied.patterns[i], pattern) != 0)
		i++;
	return i;
}

/* As a property of a qube, which it is in Qubes: other clients keep it until they hear this. */
static void denied_told(struct admin_job *job, const struct core_event *event)
{
	const char *const fields[] = {"name",     "devices_denied",   "newvalue", job->told_texts[0],
				      "oldvalue", job->told_texts[1], NULL};
	size_t len = 0;

	(void)strcpy(job->told_event, "property-set:devices_denied");
	memcpy(job->told_fields, fields, sizeof(fields));
	job->told_texts[0][0] = '\0';
	for (unsigned int i = 0; i < event->denied.n_patterns; i++)
		len += (size_t)snprintf(job->told_texts[0] + len, sizeof(job->told_texts[0]) - len, "%s",
					event->denied.patterns[i]);
}

static void note_denied_before(struct admin_job *job)
{
	const char *pattern;
	unsigned int cursor = 0;
	size_t len = 0;

	job->told_texts[1][0] = '\0';
	while ((pattern = denied_next(core_denied(job->core), job->dest_name, &cursor)))
		len += (size_t)snprintf(job->told_texts[1] + len, sizeof(job->told_texts[1]) - len, "%s", pattern);
}

static enum admin_verdict store_denied(struct admin_job *job, const struct core_event *event)
{
	int r;

	note_denied_before(job);
	r = admin_change(job, event);

	if (r > 0)
		return admin_refuse(job, "QubesException",
				    "there are as many deny lists as there may be: empty one that is not needed");
	if (r == 0) {
		denied_told(job, event);
		admin_write_done(job->reply);
	}
	return ADMIN_REPLY;
}

#define NOT_PATTERNS "the payload is not a list of patterns like u03**01, seven characters each"

static enum admin_verdict call_denied_add(struct admin_job *job)
{
	struct admin_span untrusted_rest = job->request->payload;
	struct core_event event = {0};
	char pattern[DENIED_PATTERN + 1];

	if (job->dest_is_dom0)
		return admin_refuse(job, "QubesValueError", "no device can be attached to dom0 anyway");
	read_denied(job, &event);
	while (untrusted_rest.len) {
		unsigned int at;

		if (!cut_pattern(&untrusted_rest, pattern))
			return admin_refuse(job, "QubesValueError", NOT_PATTERNS);
		at = find_pattern(&event, pattern);
		if (at == LIMIT_DENIED_PATTERNS)
			return admin_refuse(job, "QubesException",
					    "a qube's deny list has no room for more: use wider patterns");
		if (at == event.denied.n_patterns)
			(void)strcpy(event.denied.patterns[event.denied.n_patterns++], pattern);
	}
	return store_denied(job, &event);
}

static enum admin_verdict call_denied_remove(struct admin_job *job)
{
	struct admin_span untrusted_rest = job->request->payload;
	struct core_event event = {0};
	char pattern[DENIED_PATTERN + 1];

	read_denied(job, &event);
	if (admin_span_is(untrusted_rest, "all")) {
		event.denied.n_patterns = 0;
		return store_denied(job, &event);
	}
	while (untrusted_rest.len) {
		unsigned int at;

		if (!cut_pattern(&untrusted_rest, pattern))
			return admin_refuse(job, "QubesValueError", NOT_PATTERNS);
		at = find_pattern(&event, pattern);
		if (at == event.denied.n_patterns) {
			admin_write_exception(job->reply, "QubesValueError", "%s is not in the deny list of %s",
					      pattern, job->dest_name);
			return ADMIN_REPLY;
		}
		event.denied.n_patterns--;
		memmove(event.denied.patterns[at], event.denied.patterns[at + 1],
			(event.denied.n_patterns - at) * sizeof(event.denied.patterns[0]));
	}
	return store_denied(job, &event);
}

const struct admin_call admin_assign_calls[] = {
	{"admin.vm.device.denied.List", ADMIN_FROM_QUBES, ADMIN_NONE, ADMIN_NONE, ADMIN_BY_NAME, call_denied_list},
	{"admin.vm.device.denied.Add", ADMIN_SELDOM_ONLY, ADMIN_NONE, ADMIN_REQUIRED, ADMIN_BY_NAME, call_denied_add},
	{"admin.vm.device.denied.Remove", ADMIN_SELDOM_ONLY, ADMIN_NONE, ADMIN_REQUIRED, ADMIN_BY_NAME,
	 call_denied_remove},
	{NULL, ADMIN_FROM_DOM0, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, NULL},
};

const struct admin_call admin_assign_device_calls[] = {
	{"List", ADMIN_FROM_QUBES, ADMIN_OPTIONAL, ADMIN_NONE, ADMIN_BY_NAME, call_list},
	{"Assigned", ADMIN_FROM_QUBES, ADMIN_OPTIONAL, ADMIN_NONE, ADMIN_BY_NAME, call_assigned},
	{"Assign", ADMIN_SELDOM_ONLY, ADMIN_REQUIRED, ADMIN_REQUIRED, ADMIN_BY_NAME, call_assign},
	{"Unassign", ADMIN_SELDOM_ONLY, ADMIN_REQUIRED, ADMIN_NONE, ADMIN_BY_NAME, call_unassign},
	{"Set.assignment", ADMIN_SELDOM_ONLY, ADMIN_REQUIRED, ADMIN_REQUIRED, ADMIN_BY_NAME, call_set_assignment},
	{NULL, ADMIN_FROM_DOM0, ADMIN_NONE, ADMIN_NONE, ADMIN_DOM0, NULL},
};
