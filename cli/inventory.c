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

/* What a line is about, for those who read it. */
struct line_reader {
	const struct options *options;
	struct usb_ids *ids;
	const char *qube; /* whose line it must be; NULL: of any that is known */
	struct inventory *inventory;
};

/* -1: go on; or the exit code. */
typedef int line_adder(const struct line_reader *reader, struct admin_span untrusted_line);

/* Each whole line of the text. */
static int add_lines(const struct line_reader *reader, struct admin_span untrusted_text, line_adder *add)
{
	struct admin_span untrusted_line;

	while (admin_span_cut(&untrusted_text, '\n', &untrusted_line)) {
		int r = add(reader, untrusted_line);

		if (r >= 0)
			return r;
	}
	return untrusted_text.len ? incomplete(reader->options) : -1;
}

/* The call, and each line of its reply. */
static int read_lines(const struct line_reader *reader, const char *method, const char *dest, line_adder *add)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	int r = inventory_call(reader->options, method, "", dest, "", NULL, &call, &reply);

	return r < 0 ? add_lines(reader, reply.content, add) : r;
}

static int add_qube(const struct line_reader *reader, struct admin_span untrusted_line)
{
	struct inventory *inventory = reader->inventory;
	struct qube *qube = make_room(inventory->qubes, inventory->n_qubes, &inventory->max_qubes, sizeof(*qube));

	if (!qube)
		return out_of_memory(reader->options);
	inventory->qubes = qube;
	inventory->n_qubes += read_qube(untrusted_line, qube + inventory->n_qubes);
	return -1;
}

int inventory_read_qubes(const struct options *options, struct inventory *inventory)
{
	struct line_reader reader = {.options = options, .inventory = inventory};

	return read_lines(&reader, "admin.vm.List", "dom0", add_qube);
}

/* ---- one device ------------------------------------------------------------------------------------------------- */

/* Where each property goes; what is not here is of no interest for a list. */
#define FIELD(f) offsetof(struct device, f), sizeof(((struct device *)NULL)->f)
static const struct {
	const char *key;
	size_t offset, size;
} fields[] = {
	{"device_id", FIELD(id)},
	{"port_id", FIELD(port)},
	{"devclass", FIELD(class)},
	{"backend_domain", FIELD(backend)},
	{"manufacturer", FIELD(manufacturer)},
	{"vendor", FIELD(manufacturer)},
	{"name", FIELD(name)},
	{"product", FIELD(name)},
	{"serial", FIELD(serial)},
	{"interfaces", FIELD(interfaces)},
	{"attachment", FIELD(used_by)},
	{"parent_devclass", FIELD(parent_class)},
	{"parent_port_id", FIELD(parent_port)},
	{"_state", FIELD(state)},
	{"_label", FIELD(label)},
	{"_muted", FIELD(muted)},
};

/* What a device that does not name itself is called. */
static void name_device(struct device *device, struct usb_ids *ids)
{
	unsigned int vendor = 0, product = 0;
	char text[DEVICE_TEXT];

	if (!ids || sscanf(device->id, "%4x:%4x:", &vendor, &product) != 2 || strcmp(device->class, "usb") != 0)
		return;
	if (!device->manufacturer[0] && usb_ids_vendor(ids, (uint16_t)vendor, text, sizeof(text)))
		(void)strcpy(device->manufacturer, text);
	if (!device->name[0] && usb_ids_product(ids, (uint16_t)vendor, (uint16_t)product, text, sizeof(text)))
		(void)strcpy(device->name, text);
}

void inventory_describe(const struct device *device, struct usb_ids *ids, char text[DESCRIPTION_TEXT])
{
	const char *maker = device->manufacturer;
	char kind[128] = "USB device", first[128] = "";
	bool known = false;

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
	if (!maker[0] && strcmp(device->class, "usb") == 0) /* others have a name in which it often is */
		maker = "unknown vendor";
	(void)snprintf(text, DESCRIPTION_TEXT, "%s%s%s: %s%s%s%s", device->label, device->label[0] ? " (" : "", kind,
		       maker, maker[0] ? " " : "",
		       device->name[0]     ? device->name
		       : device->serial[0] ? device->serial
					   : "unknown usb device",
		       device->label[0] ? ")" : "");
}

/* Whose a line says that it is, is whose it must be. */
static bool is_of(const struct line_reader *reader, const char *qube)
{
	return reader->qube ? strcmp(qube, reader->qube) == 0 : inventory_has_qube(reader->inventory, qube);
}

static bool is_wanted(const struct line_reader *reader, const char *class)
{
	return reader->options->every_class || strcmp(class, reader->options->class) == 0;
}

/* False: not of the expected form. */
static bool read_device(struct admin_span untrusted_line, struct device *device)
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
	return !untrusted_line.len && device->id[0] && device->port[0];
}

static int unclear(const struct line_reader *reader, const char *what)
{
	fprintf(stderr, "%s: warning: the broker's words about %s%s%s are not clear; it is left out\n",
		reader->options->program, what, reader->qube ? " of " : "", reader->qube ? reader->qube : "");
	return -1;
}

static int add_device(const struct line_reader *reader, struct admin_span untrusted_line)
{
	struct inventory *inventory = reader->inventory;
	struct device *device =
		make_room(inventory->devices, inventory->n_devices, &inventory->max_devices, sizeof(*device));

	if (!device)
		return out_of_memory(reader->options);
	inventory->devices = device;
	device += inventory->n_devices;
	if (!read_device(untrusted_line, device) || !is_of(reader, device->backend))
		return unclear(reader, "a device");
	if (is_wanted(reader, device->class)) {
		name_device(device, reader->ids);
		inventory->n_devices++;
	}
	return -1;
}

int inventory_read_devices(const struct options *options, struct usb_ids *ids, const char *backend,
			   struct inventory *inventory)
{
	struct line_reader reader = {.options = options, .ids = ids, .qube = backend, .inventory = inventory};
	char method[64];

	(void)snprintf(method, sizeof(method), "admin.vm.device.%s.Available", options->class);
	return read_lines(&reader, method, backend, add_device);
}

/* ---- options ---------------------------------------------------------------------------------------------------- */

/* A property, if it is one. */
static void add_option(const char *untrusted_key, const char *untrusted_value, char options[OPTIONS_TEXT])
{
	size_t len = strlen(options);
	char value[64];

	if (untrusted_key[0] != '_' || !text_is_printable(untrusted_key))
		return;
	(void)text_make_safe(untrusted_value, strlen(untrusted_value), value, sizeof(value));
	(void)snprintf(options + len, OPTIONS_TEXT - len, "%s%s=%s", len ? ", " : "", untrusted_key + 1, value);
}

/* BACKEND+PORT:ID and properties, of a device that is known already. */
static int add_attached(const struct line_reader *reader, struct admin_span untrusted_line)
{
	struct admin_span untrusted_head, untrusted_backend, untrusted_port;
	struct inventory *inventory = reader->inventory;
	char key[64], untrusted_value[DEVICE_ID_TEXT];
	struct device *device = NULL;

	if (!admin_span_cut(&untrusted_line, ' ', &untrusted_head) ||
	    !admin_span_cut(&untrusted_head, '+', &untrusted_backend) ||
	    !admin_span_cut(&untrusted_head, ':', &untrusted_port))
		return unclear(reader, "what is attached");
	for (size_t i = 0; i < inventory->n_devices && !device; i++)
		if (admin_span_is(untrusted_backend, inventory->devices[i].backend) &&
		    admin_span_is(untrusted_port, inventory->devices[i].port))
			device = &inventory->devices[i];
	while (device &&
	       admin_read_property(&untrusted_line, key, sizeof(key), untrusted_value, sizeof(untrusted_value)))
		add_option(key, untrusted_value, device->options);
	return -1;
}

int inventory_read_attached(const struct options *options, const char *qube, struct inventory *inventory)
{
	struct line_reader reader = {.options = options, .qube = qube, .inventory = inventory};
	char method[64];

	(void)snprintf(method, sizeof(method), "admin.vm.device.%s.Attached", options->class);
	return read_lines(&reader, method, qube, add_attached);
}

/* ---- assignments ------------------------------------------------------------------------------------------------ */

#define AFIELD(f) offsetof(struct assignment, f), sizeof(((struct assignment *)NULL)->f)
static const struct {
	const char *key;
	size_t offset, size;
} assignment_fields[] = {
	{"device_id", AFIELD(id)}, {"port_id", AFIELD(port)},         {"backend_domain", AFIELD(backend)},
	{"mode", AFIELD(mode)},    {"frontend_domain", AFIELD(qube)}, {"devclass", AFIELD(class)},
};
#undef AFIELD

static bool read_assignment(struct admin_span untrusted_line, struct assignment *assignment)
{
	struct admin_span untrusted_head;
	char key[64], untrusted_value[DEVICE_ID_TEXT];

	memset(assignment, 0, sizeof(*assignment));
	if (!admin_span_cut(&untrusted_line, ' ', &untrusted_head))
		return false;
	while (admin_read_property(&untrusted_line, key, sizeof(key), untrusted_value, sizeof(untrusted_value))) {
		for (size_t i = 0; i < ARRAY_SIZE(assignment_fields); i++)
			if (strcmp(key, assignment_fields[i].key) == 0)
				(void)text_make_safe(untrusted_value, strlen(untrusted_value),
						     (char *)assignment + assignment_fields[i].offset,
						     assignment_fields[i].size);
		add_option(key, untrusted_value, assignment->options);
	}
	return !untrusted_line.len && assignment->id[0] && assignment->port[0] && assignment->mode[0];
}

static int add_assignment(const struct line_reader *reader, struct admin_span untrusted_line)
{
	struct inventory *inventory = reader->inventory;
	struct assignment *assignment = make_room(inventory->assignments, inventory->n_assignments,
						  &inventory->max_assignments, sizeof(*assignment));

	if (!assignment)
		return out_of_memory(reader->options);
	inventory->assignments = assignment;
	assignment += inventory->n_assignments;
	if (!read_assignment(untrusted_line, assignment) || !is_of(reader, assignment->qube))
		return unclear(reader, "an assignment");
	inventory->n_assignments += is_wanted(reader, assignment->class);
	return -1;
}

int inventory_read_assignments(const struct options *options, const char *qube, struct inventory *inventory)
{
	struct line_reader reader = {.options = options, .qube = qube, .inventory = inventory};
	char method[64];

	(void)snprintf(method, sizeof(method), "admin.vm.device.%s.Assigned", options->class);
	return read_lines(&reader, method, qube, add_assignment);
}

/* ---- all at once ------------------------------------------------------------------------------------------------ */

#define SFIELD(f) offsetof(struct stream, f)
static const struct {
	const char *key;
	size_t offset; /* of a number */
} stream_numbers[] = {
	{"since", SFIELD(since)},
	{"time-left", SFIELD(time_left)},
	{"source-at-usec", SFIELD(source.at_usec)},
	{"source-in-use", SFIELD(source.in_use)},
	{"source-bytes-to-target", SFIELD(source.bytes_to_target)},
	{"source-bytes-from-target", SFIELD(source.bytes_from_target)},
	{"target-at-usec", SFIELD(target.at_usec)},
	{"target-in-use", SFIELD(target.in_use)},
	{"target-bytes-to-target", SFIELD(target.bytes_to_target)},
	{"target-bytes-from-target", SFIELD(target.bytes_from_target)},
};
#undef SFIELD

/* BACKEND:PORT, then properties; false: not of this form. */
static bool read_stream(struct admin_span untrusted_line, struct stream *stream)
{
	struct admin_span untrusted_head, untrusted_backend;
	char key[64], untrusted_value[64];

	*stream = (struct stream){0};
	if (!admin_span_cut(&untrusted_line, ' ', &untrusted_head) ||
	    !admin_span_cut(&untrusted_head, ':', &untrusted_backend) ||
	    !admin_span_copy(untrusted_backend, stream->backend, sizeof(stream->backend)) ||
	    !admin_span_copy(untrusted_head, stream->port, sizeof(stream->port)) || !text_is_printable(stream->port))
		return false;
	while (admin_read_property(&untrusted_line, key, sizeof(key), untrusted_value, sizeof(untrusted_value))) {
		size_t len = strlen(untrusted_value);

		if (strcmp(key, "frontend_domain") == 0)
			(void)text_make_safe(untrusted_value, len, stream->qube, sizeof(stream->qube));
		if (strcmp(key, "devclass") == 0)
			(void)text_make_safe(untrusted_value, len, stream->class, sizeof(stream->class));
		for (size_t i = 0; i < ARRAY_SIZE(stream_numbers); i++)
			if (strcmp(key, stream_numbers[i].key) == 0 &&
			    text_to_u64(untrusted_value, UINT64_MAX,
					(uint64_t *)(void *)((char *)stream + stream_numbers[i].offset)) < 0)
				return false;
	}
	return !untrusted_line.len && stream->qube[0];
}

static int add_stream(const struct line_reader *reader, struct admin_span untrusted_line)
{
	struct inventory *inventory = reader->inventory;
	struct stream *stream =
		make_room(inventory->streams, inventory->n_streams, &inventory->max_streams, sizeof(*stream));

	if (!stream)
		return out_of_memory(reader->options);
	inventory->streams = stream;
	stream += inventory->n_streams;
	if (!read_stream(untrusted_line, stream) || !is_of(reader, stream->backend) || !is_of(reader, stream->qube))
		return unclear(reader, "a stream");
	inventory->n_streams += is_wanted(reader, stream->class);
	return -1;
}

/* About the broker itself: a class that it does not know has no devices, but not because none is there. */
static int add_broker(const struct line_reader *reader, struct admin_span untrusted_line)
{
	const struct options *options = reader->options;
	char key[64], untrusted_value[DEVICE_ID_TEXT], classes[DEVICE_ID_TEXT], *rest = classes, *class;

	while (admin_read_property(&untrusted_line, key, sizeof(key), untrusted_value, sizeof(untrusted_value))) {
		if (strcmp(key, "classes") != 0)
			continue;
		(void)text_make_safe(untrusted_value, strlen(untrusted_value), classes, sizeof(classes));
		while ((class = strsep(&rest, " ")))
			if (is_wanted(reader, class))
				return -1;
		(void)text_make_safe(untrusted_value, strlen(untrusted_value), classes, sizeof(classes));
		fprintf(stderr, "%s: error: the device broker knows no class '%s', but: %s\n", options->program,
			options->class, classes);
		return EXIT_REFUSED;
	}
	return -1;
}

static const struct {
	const char *kind;
	line_adder *add;
} snapshot_lines[] = {
	{"broker", add_broker},     {"qube", add_qube},           {"available", add_device},
	{"attached", add_attached}, {"assigned", add_assignment}, {"stream", add_stream},
};

/* One of a snapshot; kinds that are not for us are passed over. */
static int add_snapshot_line(const struct line_reader *reader, struct admin_span untrusted_line)
{
	struct admin_span untrusted_kind;

	if (!admin_span_cut(&untrusted_line, ' ', &untrusted_kind))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(snapshot_lines); i++)
		if (admin_span_is(untrusted_kind, snapshot_lines[i].kind))
			return snapshot_lines[i].add(reader, untrusted_line);
	return -1;
}

/* Of one class, as Qubes' own tool asks. */
static int read_class(const struct options *options, struct usb_ids *ids, struct inventory *inventory)
{
	int r = -1;

	for (size_t i = 0; r < 0 && i < inventory->n_qubes; i++)
		r = inventory_read_devices(options, ids, inventory->qubes[i].name, inventory);
	for (size_t i = 0; r < 0 && options->assignments && i < inventory->n_qubes; i++)
		r = inventory_read_assignments(options, inventory->qubes[i].name, inventory);
	return r;
}

static int read_one_by_one(const struct options *options, struct usb_ids *ids, struct inventory *inventory)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct options one = *options;
	struct admin_reply reply;
	struct admin_span untrusted_class;
	char class[sizeof(((struct device *)NULL)->class)];
	int r = inventory_read_qubes(options, inventory);

	if (r >= 0 || !options->every_class)
		return r < 0 ? read_class(options, ids, inventory) : r;
	r = inventory_call(options, "admin.deviceclass.List", "", "dom0", "", NULL, &call, &reply);
	one.class = class;
	while (r < 0 && inventory_cut_line(&reply.content, &untrusted_class))
		if (admin_span_copy(untrusted_class, class, sizeof(class)) && text_is_printable(class))
			r = read_class(&one, ids, inventory);
	return r;
}

int inventory_read_all(const struct options *options, struct usb_ids *ids, struct inventory *inventory)
{
	struct line_reader reader = {.options = options, .ids = ids, .inventory = inventory};
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	int r = admin_call_new(options->socket_path, "device.Snapshot", "", "dom0", "", &call);

	if (r == 0)
		r = admin_call_wait(call, time_for(options, TIMEOUT_ADMIN_READ_USEC), &reply);
	/* Qubes' own server has no snapshots; to a call that it does not know it says nothing. */
	if (r == ADMIN_CALL_CUT || (r == 0 && reply.type == ADMIN_REPLY_EXCEPTION))
		return read_one_by_one(options, ids, inventory);
	inventory->whole = r == 0;
	return r ? inventory_fail(options, r) : add_lines(&reader, reply.content, add_snapshot_line);
}

void inventory_deinit(struct inventory *inventory)
{
	free(inventory->streams);
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
	int r = text_compare_ended(left->backend, right->backend, ':');

	return r ? r : strcmp(left->port, right->port);
}

void inventory_sort(struct inventory *inventory)
{
	if (inventory->n_devices)
		qsort(inventory->devices, inventory->n_devices, sizeof(*inventory->devices), compare_devices);
}
