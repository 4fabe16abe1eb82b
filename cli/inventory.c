/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See inventory.h. A line that is not of the expected form is left out with a warning: one strange device must not
 * hide the others.
 */
#include <stdio.h>
#include <string.h>

#include "cli/inventory.h"
#include "lib/base/clock.h"
#include "lib/base/text.h"

#define PATIENCE_USEC (300 * USEC_PER_MSEC) /* then progress is shown */
#define SHOWN_MAX 1024u

static const struct {
	enum admin_outcome outcome;
	const char *text;
} outcomes[] = {
	{ADMIN_CALL_NO_SERVER, "the device broker does not run: nothing listens at %s\n"
			       "Look at: systemctl status device-broker"},
	{ADMIN_CALL_NO_ACCESS, "you may not talk to the device broker at %s\n"
			       "Be a member of the group that owns this socket"},
	{ADMIN_CALL_PENDING, "the device broker at %s did not answer in time\n"
			     "Look at: systemctl status device-broker"},
	{ADMIN_CALL_CUT, "the device broker at %s closed the connection without an answer\n"
			 "Look at: journalctl -u device-broker"},
	{ADMIN_CALL_BAD_REPLY, "what answers at %s is not this version's device broker\n"
			       "Look at: systemctl status device-broker"},
};

int inventory_fail(const struct options *options, int r)
{
	char path[SHOWN_MAX];

	(void)text_make_safe(options->socket_path, strlen(options->socket_path), path, sizeof(path));
	for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
		const char *end = strchr(outcomes[i].text, '\n');
		const char *place = strstr(outcomes[i].text, "%s");

		if (r != (int)outcomes[i].outcome)
			continue;
		fprintf(stderr, "%s: error: %.*s%s%.*s.\n%s.\n", options->program, (int)(place - outcomes[i].text),
			outcomes[i].text, path, (int)(end - place - 2), place + 2, end + 1);
		return EXIT_NO_BROKER;
	}
	fprintf(stderr, "%s: error: cannot talk to the device broker at %s: %s\n", options->program, path,
		strerror(-r));
	return EXIT_NO_BROKER;
}

int inventory_refused(const struct admin_reply *reply)
{
	char text[SHOWN_MAX];

	admin_reply_text(reply, text, sizeof(text));
	fprintf(stderr, "Error: %s\n", text);
	return EXIT_REFUSED;
}

/* The end of the progress line, if there is one. */
static void end_progress(bool shown, const char *how)
{
	if (shown)
		fprintf(stderr, " %s\n", how);
}

/* What is left for a call, at most `time_usec`. */
static uint64_t time_for(const struct options *options, uint64_t time_usec)
{
	uint64_t now = clock_monotonic_usec(), left = options->deadline_usec > now ? options->deadline_usec - now : 0;

	return options->deadline_usec && left < time_usec ? left : time_usec;
}

int inventory_try(const struct options *options, const char *method, const char *argument, const char *dest,
		  const char *payload, const char *progress, struct admin_call **ret_call,
		  struct admin_reply *ret_reply)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	bool show = progress && options->verbosity >= 0 && isatty(STDERR_FILENO);
	uint64_t time_usec = time_for(options, progress ? TIMEOUT_ADMIN_ANSWER_USEC : TIMEOUT_ADMIN_READ_USEC);
	uint64_t first_usec = time_usec < PATIENCE_USEC ? time_usec : PATIENCE_USEC;
	int r = admin_call_new(options->socket_path, method, argument, dest, payload, &call);

	if (r < 0)
		return inventory_fail(options, r);
	r = admin_call_wait(call, first_usec, ret_reply);
	if (r == ADMIN_CALL_PENDING) {
		if (show)
			fprintf(stderr, "%s ...", progress);
		r = admin_call_wait(call, time_usec - first_usec, ret_reply);
	} else {
		show = false;
	}
	if (r) {
		end_progress(show, "no answer");
		return inventory_fail(options, r);
	}
	end_progress(show, ret_reply->type == ADMIN_REPLY_EXCEPTION ? "failed" : "done");
	*ret_call = TAKE_PTR(call);
	return -1;
}

int inventory_call(const struct options *options, const char *method, const char *argument, const char *dest,
		   const char *payload, const char *progress, struct admin_call **ret_call,
		   struct admin_reply *ret_reply)
{
	int r = inventory_try(options, method, argument, dest, payload, progress, ret_call, ret_reply);

	return r < 0 && ret_reply->type == ADMIN_REPLY_EXCEPTION ? inventory_refused(ret_reply) : r;
}

bool inventory_cut_line(struct admin_span *untrusted_text, struct admin_span *ret_line)
{
	if (!untrusted_text->len)
		return false;
	if (!admin_span_cut(untrusted_text, '\n', ret_line)) {
		*ret_line = *untrusted_text;
		untrusted_text->len = 0;
	}
	return true;
}

static int out_of_memory(const struct options *options)
{
	fprintf(stderr, "%s: error: out of memory\n", options->program);
	return EXIT_REFUSED;
}

/* The array of `n` with room for one more, which may have moved; NULL: no memory, and it is as it was. */
static void *make_room(void *array, size_t n, size_t *max, size_t size)
{
	size_t new_max = *max ? 2 * *max : 16;

	if (n < *max)
		return array;
	array = reallocarray(array, new_max, size);
	if (array)
		*max = new_max;
	return array;
}

/* Cut in the middle of a line: the broker died. */
static int incomplete(const struct options *options)
{
	return inventory_fail(options, ADMIN_CALL_CUT);
}

/* NAME and words, of which one is the state; false: no name. */
static bool read_qube(struct admin_span untrusted_line, struct qube *qube)
{
	struct admin_span untrusted_word;

	*qube = (struct qube){0};
	if (!admin_span_cut(&untrusted_line, ' ', &untrusted_word) ||
	    !admin_span_copy(untrusted_word, qube->name, sizeof(qube->name)) || !text_is_qube_name(qube->name))
		return false;
	while (admin_span_cut(&untrusted_line, ' ', &untrusted_word))
		qube->halted = qube->halted || admin_span_is(untrusted_word, "state=Halted");
	qube->halted = qube->halted || admin_span_is(untrusted_line, "state=Halted");
	return true;
}

int inventory_read_qubes(const struct options *options, struct inventory *inventory)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	struct admin_span untrusted_line;
	int r = inventory_call(options, "admin.vm.List", "", "dom0", "", NULL, &call, &reply);

	if (r >= 0)
		return r;
	while (admin_span_cut(&reply.content, '\n', &untrusted_line)) {
		struct qube *qube =
			make_room(inventory->qubes, inventory->n_qubes, &inventory->max_qubes, sizeof(*qube));

		if (!qube)
			return out_of_memory(options);
		inventory->qubes = qube;
		if (read_qube(untrusted_line, qube + inventory->n_qubes))
			inventory->n_qubes++;
	}
	return reply.content.len ? incomplete(options) : -1;
}

/* ---- one device ------------------------------------------------------------------------------------------------- */

/* Where each property goes; what is not here is of no interest for a list. */
#define FIELD(f) offsetof(struct device, f), sizeof(((struct device *)NULL)->f)
static const struct {
	const char *key;
	size_t offset, size;
} fields[] = {
	{"device_id", FIELD(id)},           {"port_id", FIELD(port)},
	{"backend_domain", FIELD(backend)}, {"manufacturer", FIELD(manufacturer)},
	{"vendor", FIELD(manufacturer)},    {"name", FIELD(name)},
	{"product", FIELD(name)},           {"serial", FIELD(serial)},
	{"interfaces", FIELD(interfaces)},  {"attachment", FIELD(used_by)},
	{"_state", FIELD(state)},
};

static void describe(struct device *device, const struct usb_ids *ids, const char *class)
{
	unsigned int vendor = 0, product = 0;
	char vendor_name[DEVICE_TEXT], product_name[DEVICE_TEXT], kind[128] = "USB device", first[128] = "";
	bool known = false;

	if (sscanf(device->id, "%4x:%4x:", &vendor, &product) == 2 && strcmp(class, "usb") == 0) {
		if (!device->manufacturer[0] && usb_ids_vendor(ids, (uint16_t)vendor, vendor_name, sizeof(vendor_name)))
			(void)strcpy(device->manufacturer, vendor_name);
		if (!device->name[0] &&
		    usb_ids_product(ids, (uint16_t)vendor, (uint16_t)product, product_name, sizeof(product_name)))
			(void)strcpy(device->name, product_name);
	}
	for (const char *at = device->interfaces; strlen(at) >= 7 && !known; at += 7) {
		usb_ids_kind(ids, at, kind, sizeof(kind), &known);
		if (!known && (!first[0] || strcmp(first, "USB device") == 0))
			(void)strcpy(first, kind);
	}
	if (!known && first[0])
		(void)strcpy(kind, first);
	for (char *at = kind; *at && !known; at++)
		if (*at == '_')
			*at = ' ';
	(void)snprintf(device->description, sizeof(device->description), "%s: %s %s", kind,
		       device->manufacturer[0] ? device->manufacturer : "unknown vendor",
		       device->name[0]     ? device->name
		       : device->serial[0] ? device->serial
					   : "unknown usb device");
}

/* False: not of the expected form, or not of this backend. */
static bool read_device(struct admin_span untrusted_line, const char *backend, struct device *device)
{
	struct admin_span untrusted_head;
	char key[64], untrusted_value[DEVICE_ID_TEXT];

	memset(device, 0, sizeof(*device));
	if (!admin_span_cut(&untrusted_line, ' ', &untrusted_head))
		return false;
	while (admin_read_property(&untrusted_line, key, sizeof(key), untrusted_value, sizeof(untrusted_value)))
		for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
			if (strcmp(key, fields[i].key) == 0)
				(void)text_make_safe(untrusted_value, strlen(untrusted_value),
						     (char *)device + fields[i].offset, fields[i].size);
	return !untrusted_line.len && device->id[0] && device->port[0] && strcmp(device->backend, backend) == 0;
}

int inventory_read_devices(const struct options *options, const struct usb_ids *ids, const char *backend,
			   struct inventory *inventory)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	struct admin_span untrusted_line;
	char method[64];
	int r;

	(void)snprintf(method, sizeof(method), "admin.vm.device.%s.Available", options->class);
	r = inventory_call(options, method, "", backend, "", NULL, &call, &reply);
	if (r >= 0)
		return r;
	while (admin_span_cut(&reply.content, '\n', &untrusted_line)) {
		struct device *device =
			make_room(inventory->devices, inventory->n_devices, &inventory->max_devices, sizeof(*device));

		if (!device)
			return out_of_memory(options);
		inventory->devices = device;
		device += inventory->n_devices;
		if (!read_device(untrusted_line, backend, device)) {
			fprintf(stderr,
				"%s: warning: the broker's words about a device of %s are not clear; it is left out\n",
				options->program, backend);
			continue;
		}
		describe(device, ids, options->class);
		inventory->n_devices++;
	}
	return reply.content.len ? incomplete(options) : -1;
}

/* ---- assignments ------------------------------------------------------------------------------------------------ */

#define AFIELD(f) offsetof(struct assignment, f), sizeof(((struct assignment *)NULL)->f)
static const struct {
	const char *key;
	size_t offset, size;
} assignment_fields[] = {
	{"device_id", AFIELD(id)}, {"port_id", AFIELD(port)},         {"backend_domain", AFIELD(backend)},
	{"mode", AFIELD(mode)},    {"frontend_domain", AFIELD(qube)},
};
#undef AFIELD

static bool read_assignment(struct admin_span untrusted_line, const char *qube, struct assignment *assignment)
{
	struct admin_span untrusted_head;
	char key[64], untrusted_value[DEVICE_ID_TEXT], value[64];
	size_t len = 0;

	memset(assignment, 0, sizeof(*assignment));
	if (!admin_span_cut(&untrusted_line, ' ', &untrusted_head))
		return false;
	while (admin_read_property(&untrusted_line, key, sizeof(key), untrusted_value, sizeof(untrusted_value))) {
		for (size_t i = 0; i < ARRAY_SIZE(assignment_fields); i++)
			if (strcmp(key, assignment_fields[i].key) == 0)
				(void)text_make_safe(untrusted_value, strlen(untrusted_value),
						     (char *)assignment + assignment_fields[i].offset,
						     assignment_fields[i].size);
		if (key[0] != '_' || !text_is_printable(key) || len >= sizeof(assignment->options))
			continue;
		(void)text_make_safe(untrusted_value, strlen(untrusted_value), value, sizeof(value));
		len += (size_t)snprintf(assignment->options + len, sizeof(assignment->options) - len, "%s%s=%s",
					len ? ", " : "", key + 1, value);
	}
	return !untrusted_line.len && assignment->id[0] && assignment->port[0] && assignment->mode[0] &&
	       strcmp(assignment->qube, qube) == 0;
}

int inventory_read_assignments(const struct options *options, const char *qube, struct inventory *inventory)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	struct admin_span untrusted_line;
	char method[64];
	int r;

	(void)snprintf(method, sizeof(method), "admin.vm.device.%s.Assigned", options->class);
	r = inventory_call(options, method, "", qube, "", NULL, &call, &reply);
	if (r >= 0)
		return r;
	while (admin_span_cut(&reply.content, '\n', &untrusted_line)) {
		struct assignment *assignment = make_room(inventory->assignments, inventory->n_assignments,
							  &inventory->max_assignments, sizeof(*assignment));

		if (!assignment)
			return out_of_memory(options);
		inventory->assignments = assignment;
		if (read_assignment(untrusted_line, qube, assignment + inventory->n_assignments))
			inventory->n_assignments++;
		else
			fprintf(stderr,
				"%s: warning: the broker's words about an assignment of %s are not clear; it is left "
				"out\n",
				options->program, qube);
	}
	return reply.content.len ? incomplete(options) : -1;
}

void inventory_deinit(struct inventory *inventory)
{
	free(inventory->assignments);
	free(inventory->qubes);
	free(inventory->devices);
	*inventory = (struct inventory){0};
}

static const struct qube *find_qube(const struct inventory *inventory, const char *name)
{
	for (size_t i = 0; i < inventory->n_qubes; i++)
		if (strcmp(inventory->qubes[i].name, name) == 0)
			return &inventory->qubes[i];
	return NULL;
}

bool inventory_has_qube(const struct inventory *inventory, const char *name)
{
	return find_qube(inventory, name) != NULL;
}

bool inventory_runs(const struct inventory *inventory, const char *name)
{
	const struct qube *qube = find_qube(inventory, name);

	return qube && !qube->halted;
}

const struct device *inventory_find(const struct inventory *inventory, const char *backend, const char *port,
				    const char *id)
{
	for (size_t i = 0; i < inventory->n_devices; i++) {
		const struct device *device = &inventory->devices[i];

		if (strcmp(device->backend, backend) == 0 && strcmp(device->port, port) == 0 &&
		    (!id || strcmp(device->id, id) == 0))
			return device;
	}
	return NULL;
}

/* As Qubes sorts its table: by the shown text. */
static int compare_devices(const void *a, const void *b)
{
	const struct device *left = a, *right = b;
	char left_place[LIMIT_QUBE_NAME + LIMIT_PORT_TEXT + 2], right_place[LIMIT_QUBE_NAME + LIMIT_PORT_TEXT + 2];

	(void)snprintf(left_place, sizeof(left_place), "%s:%s", left->backend, left->port);
	(void)snprintf(right_place, sizeof(right_place), "%s:%s", right->backend, right->port);
	return strcmp(left_place, right_place);
}

void inventory_sort(struct inventory *inventory)
{
	if (inventory->n_devices)
		qsort(inventory->devices, inventory->n_devices, sizeof(*inventory->devices), compare_devices);
}
