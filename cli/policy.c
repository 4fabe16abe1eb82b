// SPDX-License-Identifier: GPL-2.0-or-later
/* Questions about the policy: is it sound, and what does it say of this device and that qube, by which rule. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

#define BROKEN "broken"
#define GOOD "good: "
#define WARNING "warning: "

/* What comes after `start`; NULL: it does not start so. */
static const char *after(const char *text, const char *start)
{
	size_t len = strlen(start);

	return strncmp(text, start, len) == 0 ? text + len : NULL;
}

static const char *line_of(struct json_object *lines, size_t i)
{
	struct json_object *line = json_object_array_get_idx(lines, i);

	return line ? json_object_get_string(line) : "";
}

/* "good: N rules", or "broken...: WHY"; then warnings, a line each. */
static struct json_object *check_json(struct admin_span untrusted_text)
{
	struct json_object *lines = json_out_lines(untrusted_text), *object = json_out_object(),
			   *warnings = json_out_array();
	const char *first = line_of(lines, 0), *colon = strstr(first, ": "), *text;
	bool broken = after(first, BROKEN) != NULL;

	for (size_t i = 1; i < json_object_array_length(lines); i++) {
		text = after(line_of(lines, i), WARNING);
		json_out_append(warnings, json_out_text(text ? text : line_of(lines, i)));
	}
	json_out_add(object, "good", json_out_bool(after(first, GOOD) != NULL));
	json_out_add(object, "error", broken ? json_out_text(colon ? colon + 2 : first) : NULL);
	json_out_add(object, "warnings", warnings);
	(void)json_object_put(lines);
	return object;
}

/* "ACTION by RULE", and lines that say more. */
static struct json_object *explain_json(struct admin_span untrusted_text)
{
	struct json_object *lines = json_out_lines(untrusted_text), *object = json_out_object(),
			   *details = json_out_array();
	char action[64];
	const char *first = line_of(lines, 0), *by = strstr(first, " by ");

	(void)snprintf(action, sizeof(action), "%.*s", (int)(by ? by - first : (ptrdiff_t)strlen(first)), first);
	for (size_t i = 1; i < json_object_array_length(lines); i++)
		json_out_append(details, json_out_text(line_of(lines, i)));
	json_out_add(object, "action", json_out_text(action));
	json_out_add(object, "by", json_out_text(by ? by + strlen(" by ") : NULL));
	json_out_add(object, "details", details);
	(void)json_object_put(lines);
	return object;
}

static int check_policy(const struct state *state)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	bool broken;
	int r = inventory_call(&state->options, "device.policy.Check", "", "dom0", "", NULL, &call, &reply);

	if (r >= 0)
		return r;
	broken = reply.content.len >= strlen(BROKEN) && memcmp(reply.content.at, BROKEN, strlen(BROKEN)) == 0;
	if (state->options.json)
		json_out_document(check_json(reply.content));
	else
		print_lines(reply.content);
	return broken ? EXIT_REFUSED : EXIT_DONE;
}

/* QUBE BACKEND:PORT[:ID] */
static int explain_policy(struct state *state, char *const words[2])
{
	const struct device *device;
	struct place place;
	char argument[ARGUMENT_MAX];
	int r = check_words(state, words, 2, &place);

	if (r < 0)
		r = find_device(state, &place, &device);
	if (r >= 0)
		return r;
	make_argument(place.backend, place.port, device->id, argument);
	return print_answer(state, "device.policy.Explain", argument, words[0], NULL, explain_json);
}

int run_policy(struct state *state)
{
	const struct options *options = &state->options;

	if (options->n_args == 1 && strcmp(options->args[0], "check") == 0)
		return check_policy(state);
	if (options->n_args == 3 && strcmp(options->args[0], "explain") == 0)
		return explain_policy(state, options->args + 1);
	return options_error(options, "expected policy check, or policy explain VM BACKEND:PORT[:ID]");
}
