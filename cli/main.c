/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qvm-device: lists, attaches and detaches devices, through the broker's Admin API. A table of commands; each reads
 * what it needs, checks what the user named against it, and makes at most one call that changes something (detaching
 * all: one per device).
 */
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/inventory.h"
#include "cli/options.h"
#include "cli/show.h"
#include "lib/base/text.h"

#define PAYLOAD_MAX 4096u
#define CLASS_METHOD_MAX 64u

/* BACKEND:PORT[:ID] as the user gave it, in pieces. */
struct place {
	char backend[LIMIT_QUBE_NAME + 1];
	char port[LIMIT_PORT_TEXT];
	char id[DEVICE_ID_TEXT];
	bool has_id;
	char shown[LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT];
};

struct state {
	struct options options;
	struct usb_ids ids;
	struct inventory inventory;
};

static void state_deinit(struct state *state)
{
	inventory_deinit(&state->inventory);
	usb_ids_deinit(&state->ids);
	options_deinit(&state->options);
}

/* "qvm-usb: error: ..." of something that is right in form but not there */
static int _printf_(2, 3) runtime_error(const struct state *state, const char *format, ...)
{
	char text[512], safe[512];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	(void)text_make_safe(text, strlen(text), safe, sizeof(safe));
	fprintf(stderr, "%s: error: %s\n", state->options.program, safe);
	return EXIT_REFUSED;
}

static int parse_place(const struct state *state, const char *text, struct place *place)
{
	struct admin_span rest = admin_span(text), backend, port;
	bool good = admin_span_cut(&rest, ':', &backend) && text_is_printable(text) && !strpbrk(text, " ");

	*place = (struct place){0};
	if (good && admin_span_cut(&rest, ':', &port)) {
		place->has_id = true;
		good = rest.len && admin_span_copy(rest, place->id, sizeof(place->id));
	} else {
		port = rest;
	}
	good = good && backend.len && port.len && admin_span_copy(backend, place->backend, sizeof(place->backend)) &&
	       admin_span_copy(port, place->port, sizeof(place->port)) && !strpbrk(place->port, "+*") &&
	       strcmp(place->port, "_") != 0;
	if (!good)
		return options_error(&state->options,
				     "expected a backend vm, port id and [optional] device id combination like "
				     "foo:bar[:baz] got %s",
				     text);
	(void)snprintf(place->shown, sizeof(place->shown), "%s:%s", place->backend, place->port);
	return -1;
}

static int check_qube(const struct state *state, const char *name)
{
	if (!inventory_has_qube(&state->inventory, name))
		return options_error(&state->options, "no such domain: '%s'", name);
	return -1;
}

static int no_backend(const struct state *state, const struct place *place)
{
	return runtime_error(state, "no such backend vm: '%s' (is it running?)", place->backend);
}

/* Reads the backend's devices and finds the named one. */
static int find_device(struct state *state, const struct place *place, const struct device **ret_device)
{
	int r;

	if (!inventory_has_qube(&state->inventory, place->backend))
		return no_backend(state, place);
	r = inventory_read_devices(&state->options, &state->ids, place->backend, &state->inventory);
	if (r >= 0)
		return r;
	*ret_device = inventory_find(&state->inventory, place->backend, place->port, place->has_id ? place->id : NULL);
	if (!*ret_device)
		return runtime_error(state, "backend vm %s doesn't expose %s device '%s%s%s'", place->backend,
				     state->options.class, place->port, place->has_id ? ":" : "", place->id);
	return -1;
}

/* ---- list ------------------------------------------------------------------------------------------------------- */

static bool is_pattern(const char *name)
{
	return strpbrk(name, "*?[") != NULL;
}

static bool is_named(const struct options *options, const char *qube)
{
	if (options->all) {
		for (size_t i = 0; i < options->n_excludes; i++)
			if (fnmatch(options->excludes[i], qube, 0) == 0)
				return false;
		return strcmp(qube, "dom0") != 0;
	}
	for (size_t i = 0; i < options->n_args; i++)
		if (is_pattern(options->args[i]) ? fnmatch(options->args[i], qube, 0) == 0
						 : strcmp(options->args[i], qube) == 0)
			return true;
	return options->n_args == 0;
}

static int run_list(struct state *state)
{
	const struct options *options = &state->options;
	struct inventory *inventory = &state->inventory;
	_cleanup_free_ bool *marked = NULL;
	int r;

	for (size_t i = 0; i < options->n_args; i++) {
		r = is_pattern(options->args[i]) ? -1 : check_qube(state, options->args[i]);
		if (r >= 0)
			return r;
	}
	for (size_t i = 0; i < inventory->n_qubes; i++) {
		r = inventory_read_devices(options, &state->ids, inventory->qubes[i].name, inventory);
		if (r >= 0)
			return r;
	}
	inventory_sort(inventory);
	marked = calloc(inventory->n_devices + 1, sizeof(*marked));
	if (!marked)
		return runtime_error(state, "out of memory");
	for (size_t i = 0; i < inventory->n_devices; i++)
		marked[i] = is_named(options, inventory->devices[i].backend) ||
			    (inventory->devices[i].used_by[0] && is_named(options, inventory->devices[i].used_by));
	if (!options->json)
		show_table(inventory, marked);
	else if (show_json(inventory, marked, options->class) < 0)
		return runtime_error(state, "out of memory");
	return EXIT_DONE;
}

/* ---- attach, detach, info ----------------------------------------------------------------------------------------- */

/* A call that changes something; what the broker has to say about its success is shown. */
static int change(const struct state *state, const char *action, const char *argument, const char *qube,
		  const char *payload, const char *progress)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	char method[CLASS_METHOD_MAX], text[512];
	int r;

	(void)snprintf(method, sizeof(method), "admin.vm.device.%s.%s", state->options.class, action);
	r = inventory_call(&state->options, method, argument, qube, payload, progress, &call, &reply);
	if (r >= 0)
		return r;
	while (reply.content.len && reply.content.at[reply.content.len - 1] == '\n')
		reply.content.len--;
	if (text_make_safe(reply.content.at, reply.content.len, text, sizeof(text)) && state->options.verbosity >= 0)
		fprintf(stderr, "Warning: %s\n", text);
	else if (state->options.verbosity > 0)
		printf("%s: done\n", progress);
	return EXIT_DONE;
}

static int run_attach(struct state *state)
{
	const char *qube = state->options.args[0];
	const struct device *device;
	struct place place;
	struct admin_writer writer;
	char id[DEVICE_ID_TEXT], argument[2 * DEVICE_ID_TEXT], progress[128], payload[PAYLOAD_MAX];
	int r = parse_place(state, state->options.args[1], &place);

	if (r < 0)
		r = check_qube(state, qube);
	if (r < 0)
		r = find_device(state, &place, &device);
	if (r >= 0)
		return r;
	(void)strcpy(id, device->id);
	admin_device_id_encode(id);
	(void)snprintf(argument, sizeof(argument), "%s+%s+%s", place.backend, place.port, id);
	(void)snprintf(progress, sizeof(progress), "Attaching %s to %s", place.shown, qube);

	admin_write_init(&writer, payload, sizeof(payload) - 1);
	admin_write_property(&writer, "device_id", device->id);
	admin_write_property(&writer, "port_id", device->port);
	admin_write_property(&writer, "devclass", state->options.class);
	admin_write_property(&writer, "backend_domain", device->backend);
	admin_write_property(&writer, "mode", "manual");
	admin_write_property(&writer, "frontend_domain", qube);
	for (size_t i = 0; i < state->options.n_settings; i++) {
		const char *value = strchr(state->options.settings[i], '=');
		char key[64];
		int len = snprintf(key, sizeof(key), "_%.*s", (int)(value - state->options.settings[i]),
				   state->options.settings[i]);

		if (len < 0 || (size_t)len >= sizeof(key) || !text_is_printable(key) || strpbrk(key, " '\""))
			return options_error(&state->options, "argument --option/-o: not a key: %s", key + 1);
		admin_write_property(&writer, key, value + 1);
	}
	if (writer.full)
		return options_error(&state->options, "too many options");
	payload[writer.len] = '\0';
	return change(state, "Attach", argument, qube, payload + 1, progress);
}

static int detach_one(const struct state *state, const char *qube, const char *argument, const char *shown)
{
	char progress[2 * DEVICE_ID_TEXT];

	(void)snprintf(progress, sizeof(progress), "Detaching %s from %s", shown, qube);
	return change(state, "Detach", argument, qube, "", progress);
}

/* Whatever is attached to the qube; one that cannot be detached does not keep the others. */
static int detach_all(const struct state *state, const char *qube)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	struct admin_span untrusted_line, untrusted_head;
	char method[CLASS_METHOD_MAX], argument[DEVICE_ID_TEXT];
	int worst = EXIT_DONE, r;

	(void)snprintf(method, sizeof(method), "admin.vm.device.%s.Attached", state->options.class);
	r = inventory_call(&state->options, method, "", qube, "", NULL, &call, &reply);
	if (r >= 0)
		return r;
	while (admin_span_cut(&reply.content, '\n', &untrusted_line)) {
		char shown[DEVICE_ID_TEXT];

		if (!admin_span_cut(&untrusted_line, ' ', &untrusted_head) ||
		    !admin_span_copy(untrusted_head, argument, sizeof(argument)))
			return runtime_error(state, "the broker's words about %s are not clear", qube);
		admin_device_id_encode(argument);
		(void)text_make_safe(argument, strlen(argument), shown, sizeof(shown));
		*strchrnul(shown, '+') = ':';
		*strchrnul(shown, '+') = '\0'; /* the id */
		r = detach_one(state, qube, argument, shown);
		worst = r > worst ? r : worst;
		if (r == EXIT_NO_BROKER)
			break;
	}
	return worst;
}

static int run_detach(struct state *state)
{
	const char *qube = state->options.args[0];
	struct place place;
	char argument[2 * DEVICE_ID_TEXT];
	int r = state->options.n_args > 1 ? parse_place(state, state->options.args[1], &place) : -1;

	if (r < 0)
		r = check_qube(state, qube);
	if (r >= 0)
		return r;
	if (state->options.n_args == 1)
		return detach_all(state, qube);
	if (!inventory_has_qube(&state->inventory, place.backend))
		return no_backend(state, &place);
	admin_device_id_encode(place.id);
	(void)snprintf(argument, sizeof(argument), "%s+%s+%s", place.backend, place.port,
		       place.has_id ? place.id : "_");
	return detach_one(state, qube, argument, place.shown);
}

static int run_info(struct state *state)
{
	const struct device *device;
	struct place place;
	int r = parse_place(state, state->options.args[0], &place);

	if (r < 0)
		r = find_device(state, &place, &device);
	if (r >= 0)
		return r;
	show_info(device);
	return EXIT_DONE;
}

static int (*const runs[COMMAND_COUNT])(struct state *state) = {
	[COMMAND_LIST] = run_list,
	[COMMAND_ATTACH] = run_attach,
	[COMMAND_DETACH] = run_detach,
	[COMMAND_INFO] = run_info,
};

static int show_classes(const struct state *state)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	struct admin_span untrusted_line;
	int r = inventory_call(&state->options, "admin.deviceclass.List", "", "dom0", "", NULL, &call, &reply);

	if (r >= 0)
		return r;
	while (admin_span_cut(&reply.content, '\n', &untrusted_line)) {
		char text[64];

		(void)text_make_safe(untrusted_line.at, untrusted_line.len, text, sizeof(text));
		puts(text);
	}
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	_cleanup_(state_deinit) struct state state = {0};
	int r = options_parse(argc, argv, &state.options);

	if (r >= 0)
		return r;
	if (state.options.list_classes)
		return show_classes(&state);
	usb_ids_init(&state.ids);
	r = inventory_read_qubes(&state.options, &state.inventory);
	return r >= 0 ? r : runs[state.options.command](&state);
}
