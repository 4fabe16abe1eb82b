// SPDX-License-Identifier: GPL-2.0-or-later
/* See command.h. */
#include "cli/command.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/suggest.h"
#include "lib/base/text.h"

#define LINE_MAX_BYTES 4096u /* the longest line that is shown */

int runtime_error(const struct state *state, const char *format, ...)
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

const char *called(const struct state *state, char text[CALLED_MAX])
{
	bool has_class = strcmp(state->options.program, OPTIONS_TOOL) != 0;

	(void)snprintf(text, CALLED_MAX, "%s%s%s", state->options.program, has_class ? "" : " ",
		       has_class ? "" : state->options.class);
	return text;
}

int parse_place(const struct state *state, const char *text, struct place *place)
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

int check_name(const struct state *state, const char *name)
{
	return text_is_qube_name(name) ? -1 : options_error(&state->options, "no such domain: '%s'", name);
}

/* What may be wrong with the name of a qube that nobody knows. */
static const char *guess_qube(const struct state *state, const char *name, char text[SUGGEST_TEXT])
{
	struct suggestion suggestion;

	suggest_init(&suggestion, name);
	for (size_t i = 0; i < state->inventory.n_qubes; i++)
		suggest_try(&suggestion, state->inventory.qubes[i].name);
	return suggestion.best ? suggest_text(&suggestion, "", text) : " (is it running?)";
}

int check_qube(const struct state *state, const char *name)
{
	char guess[SUGGEST_TEXT];

	if (!inventory_has_qube(&state->inventory, name))
		return options_error(&state->options, "no such domain: '%s'%s", name, guess_qube(state, name, guess));
	return -1;
}

int check_words(const struct state *state, char *const *words, size_t n_words, struct place *place)
{
	int r = n_words > 1 ? parse_place(state, words[1], place) : -1;

	return r < 0 ? check_qube(state, words[0]) : r;
}

static bool is_pattern(const char *name)
{
	return strpbrk(name, "*?[") != NULL;
}

bool is_named(const struct options *options, const char *qube)
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

int check_names(const struct state *state)
{
	const struct options *options = &state->options;
	int r = -1;

	for (size_t i = 0; i < options->n_args && r < 0; i++)
		r = is_pattern(options->args[i]) ? -1 : check_qube(state, options->args[i]);
	return r;
}

void warn_absent(const struct state *state, const char *qube, const char *what_waits)
{
	if (!inventory_runs(&state->inventory, qube) && state->options.verbosity >= 0)
		fprintf(stderr, "Warning: no qube %s runs; %s waits for one of that name.\n", qube, what_waits);
}

int check_backend(const struct state *state, const struct place *place)
{
	char guess[SUGGEST_TEXT];

	if (!inventory_has_qube(&state->inventory, place->backend))
		return runtime_error(state, "no such backend vm: '%s'%s", place->backend,
				     guess_qube(state, place->backend, guess));
	return -1;
}

int find_device(struct state *state, const struct place *place, const struct device **ret_device)
{
	char call[CALLED_MAX];
	int r = check_backend(state, place);

	if (r < 0)
		r = inventory_read_devices(&state->options, &state->ids, place->backend, &state->inventory);
	if (r >= 0)
		return r;
	*ret_device = inventory_find(&state->inventory, place->backend, place->port, place->has_id ? place->id : NULL);
	if (*ret_device)
		return -1;
	if (place->has_id && inventory_find(&state->inventory, place->backend, place->port, NULL))
		return runtime_error(state, "another device is at %s now; look at: %s info %s", place->shown,
				     called(state, call), place->shown);
	return runtime_error(state, "backend vm %s doesn't expose %s device '%s%s%s'; look at: %s list %s",
			     place->backend, state->options.class, place->port, place->has_id ? ":" : "", place->id,
			     called(state, call), place->backend);
}

int make_payload(const struct state *state, const struct device *device, const char *mode, const char *qube,
		 char *payload)
{
	struct admin_writer writer;

	admin_write_init(&writer, payload, PAYLOAD_MAX - 1);
	admin_write_property(&writer, "device_id", device->id);
	admin_write_property(&writer, "port_id", device->port);
	admin_write_property(&writer, "devclass", state->options.class);
	admin_write_property(&writer, "backend_domain", device->backend);
	admin_write_property(&writer, "mode", mode);
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
	memmove(payload, payload + 1, writer.len);
	return -1;
}

void make_argument(const char *backend, const char *port, const char *id, char argument[ARGUMENT_MAX])
{
	char encoded[DEVICE_ID_TEXT];

	(void)snprintf(encoded, sizeof(encoded), "%s", id && id[0] ? id : "_");
	admin_device_id_encode(encoded);
	if (!port || !port[0] || strcmp(port, "*") == 0)
		port = "_";
	(void)snprintf(argument, ARGUMENT_MAX, "%s+%s+%s", backend, port, encoded);
}

/* A call about a device alone goes to its own qube, one about the machine to dom0. */
static bool is_about_qube(const struct command_row *row, const struct change *change)
{
	bool to_backend = change->backend && strcmp(change->dest, change->backend) == 0;

	return !to_backend && (strcmp(change->dest, "dom0") != 0 || row->max_args != 0);
}

/* One line of --json: what was tried, and what came of it. `done` NULL: nobody knows. */
static void show_change(const struct state *state, const struct change *change, struct json_object *done,
			const char *warning, const char *error)
{
	const struct command_row *row = &command_rows[state->options.command];
	struct json_object *object = json_out_object();

	json_out_add(object, "action", json_out_text(row->name));
	json_out_add(object, "class", row->any_class ? NULL : json_out_text(state->options.class));
	json_out_add(object, "qube", is_about_qube(row, change) ? json_out_text(change->dest) : NULL);
	json_out_add(object, "backend", json_out_text(change->backend));
	json_out_add(object, "port", json_out_text(change->port));
	json_out_add(object, "device_id", json_out_text(change->id));
	json_out_add(object, "interfaces", change->interfaces ? json_out_codes(change->interfaces) : NULL);
	json_out_add(object, "done", done);
	json_out_add(object, "warning", json_out_text(warning));
	json_out_add(object, "error", json_out_text(error));
	json_out_line(object);
}

/* What the broker said, on stderr and in --json. */
static int tell_change(const struct state *state, const struct change *change, const struct admin_reply *reply)
{
	const struct options *options = &state->options;
	struct admin_span untrusted_text = reply->content;
	char text[512];

	if (reply->type == ADMIN_REPLY_EXCEPTION) {
		admin_reply_text(reply, text, sizeof(text));
		if (options->json)
			show_change(state, change, json_out_bool(false), NULL, text);
		return inventory_refused(reply);
	}
	while (untrusted_text.len && untrusted_text.at[untrusted_text.len - 1] == '\n')
		untrusted_text.len--;
	if (text_make_safe(untrusted_text.at, untrusted_text.len, text, sizeof(text)) && options->verbosity >= 0)
		fprintf(stderr, "Warning: %s\n", text);
	else if (change->progress && options->verbosity > 0 && !options->json)
		printf("%s: done\n", change->progress);
	if (options->json)
		show_change(state, change, json_out_bool(true), text, NULL);
	return EXIT_DONE;
}

int change(const struct state *state, const struct change *change)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	char method[CLASS_METHOD_MAX], argument[ARGUMENT_MAX];
	int r;

	(void)snprintf(argument, sizeof(argument), "%s", change->argument ? change->argument : "");
	if (change->backend)
		make_argument(change->backend, change->port, change->id, argument);
	if (strchr(change->method, '.'))
		(void)snprintf(method, sizeof(method), "%s", change->method);
	else
		(void)snprintf(method, sizeof(method), "admin.vm.device.%s.%s", state->options.class, change->method);
	r = inventory_try(&state->options, method, argument, change->dest, change->payload ? change->payload : "",
			  change->progress, &call, &reply);
	if (r < 0)
		return tell_change(state, change, &reply);
	if (state->options.json)
		show_change(state, change, NULL, NULL, "the device broker gave no answer");
	return r;
}

void print_lines(struct admin_span untrusted_text)
{
	struct admin_span untrusted_line;
	char line[LINE_MAX_BYTES];

	while (inventory_cut_line(&untrusted_text, &untrusted_line)) {
		size_t n_spaces = 0;

		while (n_spaces < untrusted_line.len && n_spaces < sizeof(line) && untrusted_line.at[n_spaces] == ' ')
			n_spaces++;
		(void)text_make_safe(untrusted_line.at, untrusted_line.len, line, sizeof(line));
		printf("%*s%s\n", (int)n_spaces, "", line); /* making safe trims */
	}
}

int print_answer(const struct state *state, const char *method, const char *argument, const char *dest,
		 const char *progress, struct json_object *(*make_json)(struct admin_span untrusted_text))
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	int r = inventory_call(&state->options, method, argument, dest, "", progress, &call, &reply);

	if (r >= 0)
		return r;
	if (state->options.json)
		json_out_document(make_json(reply.content));
	else
		print_lines(reply.content);
	return EXIT_DONE;
}
