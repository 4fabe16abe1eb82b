// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See complete.h. Commands and options come from the tables of options.h; which words follow a command is read from its
 * row's `args`: alternatives with " | " between, words in [] or ending in "...", pieces with '|' between. A piece "VM..."
 * is a qube, "BACKEND..." a device, one in small letters is itself.
 *
 * A shell waits for this while somebody types: there is one time limit over all calls, nothing is said about what goes
 * wrong, and what was found until then is shown. Shells take candidates into the line as they are, so only characters
 * that no shell reads as anything else leave this file, whatever a device is called.
 */
#include "cli/complete.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "lib/base/clock.h"
#include "lib/base/text.h"

#define COMPLETE_USEC USEC_PER_SEC
#define ARGS_KEPT 2u /* more words than that decide nothing */
#define CANDIDATE_MAX 640u

struct line {
	struct state state; /* class, command, socket; the class NULL: not said yet */
	const char *current;
	char before[64]; /* "--exclude=": belongs before each candidate */
	bool has_command, lost, only_words;
	const char *args[ARGS_KEPT];
	size_t n_args;
	const struct option_row *wants; /* an option whose value comes next */
};

/* ---- what is there already ---------------------------------------------------------------------------------------- */

static void take_value(struct line *line, const struct option_row *row, const char *value)
{
	if (strcmp(row->name, "socket") == 0)
		line->state.options.socket_path = value;
}

static const struct option_row *find_long(const char *name, size_t len)
{
	for (size_t i = 0; i < n_option_rows; i++)
		if (strlen(option_rows[i].name) == len && memcmp(option_rows[i].name, name, len) == 0)
			return &option_rows[i];
	return NULL;
}

static const struct option_row *find_short(char letter)
{
	for (size_t i = 0; i < n_option_rows; i++)
		if (letter && option_rows[i].letter == letter)
			return &option_rows[i];
	return NULL;
}

static void read_long(struct line *line, const char *name)
{
	size_t len = strcspn(name, "=");
	const struct option_row *row = find_long(name, len);

	if (!row || !row->value)
		return;
	if (name[len])
		take_value(line, row, name + len + 1);
	else
		line->wants = row;
}

static void read_shorts(struct line *line, const char *letters)
{
	for (; *letters; letters++) {
		const struct option_row *row = find_short(*letters);

		if (!row || !row->value)
			continue;
		if (!letters[1])
			line->wants = row;
		return; /* the rest is its value */
	}
}

static void read_plain(struct line *line, const char *word)
{
	struct options *options = &line->state.options;
	enum command command;

	if (!options->class) {
		if (!options_find_command(word, &command) || !command_rows[command].any_class) {
			options->class = word;
			return;
		}
		options->class = OPTIONS_DEFAULT_CLASS;
	}
	if (!line->has_command) {
		line->has_command = options_find_command(word, &options->command);
		line->lost = !line->has_command;
		return;
	}
	if (line->n_args < ARGS_KEPT)
		line->args[line->n_args] = word;
	line->n_args++;
}

static void read_word(struct line *line, const char *word)
{
	if (line->wants) {
		take_value(line, line->wants, word);
		line->wants = NULL;
	} else if (line->only_words || word[0] != '-' || !word[1]) {
		read_plain(line, word);
	} else if (strcmp(word, "--") == 0) {
		line->only_words = true;
	} else if (word[1] == '-') {
		read_long(line, word + 2);
	} else {
		read_shorts(line, word + 1);
	}
}

/* The current word may be an option and the beginning of its value. */
static void split_current(struct line *line)
{
	const char *value = strchr(line->current, '=');

	if (line->wants || line->only_words || strncmp(line->current, "--", 2) != 0 || !value)
		return;
	(void)snprintf(line->before, sizeof(line->before), "%.*s", (int)(value + 1 - line->current), line->current);
	line->wants = find_long(line->current + 2, (size_t)(value - line->current) - 2);
	line->lost = !line->wants;
	line->current = value + 1;
}

/* ---- candidates --------------------------------------------------------------------------------------------------- */

static bool is_harmless(const char *text)
{
	static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:+@,=-";

	return text[0] && text[strspn(text, harmless)] == '\0';
}

static void offer(const struct line *line, const char *text)
{
	if (is_harmless(text) && strncmp(text, line->current, strlen(line->current)) == 0)
		printf("%s%s\n", line->before, text);
}

/* A device class that is not said yet may be any. */
static bool is_for_class(const struct line *line, const char *class)
{
	return !class || !line->state.options.class || strcmp(line->state.options.class, class) == 0;
}

static void offer_options(const struct line *line)
{
	unsigned int where = line->has_command ? OPTION_IN(line->state.options.command) : OPTION_EVERYWHERE;

	for (size_t i = 0; i < n_option_rows; i++) {
		char text[CANDIDATE_MAX];

		(void)snprintf(text, sizeof(text), "--%s", option_rows[i].name);
		if (option_rows[i].help && options_may_stand(&option_rows[i], where) &&
		    is_for_class(line, option_rows[i].class))
			offer(line, text);
	}
}

static void offer_commands(const struct line *line, bool without_class)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!without_class || command_rows[i].any_class)
			offer(line, command_rows[i].name);
}

static void offer_classes(const struct line *line)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	struct admin_span untrusted_line;
	char name[32];

	if (inventory_call(&line->state.options, "admin.deviceclass.List", "", "dom0", "", NULL, &call, &reply) >= 0)
		return;
	while (inventory_cut_line(&reply.content, &untrusted_line))
		if (admin_span_copy(untrusted_line, name, sizeof(name)))
			offer(line, name);
}

static bool read_qubes(struct line *line)
{
	return inventory_read_qubes(&line->state.options, &line->state.inventory) < 0;
}

static void offer_qubes(struct line *line)
{
	if (!read_qubes(line))
		return;
	for (size_t i = 0; i < line->state.inventory.n_qubes; i++)
		offer(line, line->state.inventory.qubes[i].name);
}

static void offer_place(const struct line *line, const char *backend, const char *port, const char *id)
{
	const char *colon = strchr(line->current, ':');
	bool with_id = colon && strchr(colon + 1, ':');
	char text[CANDIDATE_MAX];

	(void)snprintf(text, sizeof(text), "%s:%s%s%s", backend, port, with_id ? ":" : "", with_id ? id : "");
	offer(line, text);
}

/* What is assigned to the qube, as it is listed. */
static void offer_assigned(struct line *line)
{
	struct inventory *inventory = &line->state.inventory;

	if (!text_is_qube_name(line->args[0]) ||
	    inventory_read_assignments(&line->state.options, line->args[0], inventory) >= 0)
		return;
	for (size_t i = 0; i < inventory->n_assignments; i++)
		offer_place(line, inventory->assignments[i].backend, inventory->assignments[i].port,
			    inventory->assignments[i].id);
}

/* What is detached is attached to that qube. */
static void offer_devices(struct line *line)
{
	struct state *state = &line->state;
	struct inventory *inventory = &state->inventory;
	bool detaches = state->options.command == COMMAND_DETACH;

	if (inventory_read_all(&state->options, NULL, inventory) >= 0)
		return;
	for (size_t i = 0; i < inventory->n_devices; i++) {
		const struct device *device = &inventory->devices[i];

		if (!detaches || strcmp(device->used_by, line->args[0]) == 0)
			offer_place(line, device->backend, device->port, device->id);
	}
}

/* One piece of a row's `args`, or the value of an option. */
static void offer_piece(struct line *line, const char *piece)
{
	bool is_place = strncmp(piece, "BACKEND:", strlen("BACKEND:")) == 0;

	if (strncmp(piece, "VM", strlen("VM")) == 0)
		offer_qubes(line);
	else if (is_place && line->state.options.command == COMMAND_UNASSIGN)
		offer_assigned(line);
	else if (is_place)
		offer_devices(line);
	else if (piece[0] >= 'a' && piece[0] <= 'z')
		offer(line, piece);
}

/* The word of an alternative ("explain VM BACKEND:PORT[:ID]") at the place of the current one. */
static void offer_word(struct line *line, char *alternative)
{
	char *rest = alternative, *word = NULL, *piece;

	for (size_t i = 0; i <= line->n_args; i++) {
		char *next = strsep(&rest, " ");

		if (!next && !(word && strstr(word, "...")))
			return;
		word = next ? next : word;
		if (i < line->n_args && i < ARGS_KEPT && word[0] >= 'a' && word[0] <= 'z' &&
		    strcmp(word, line->args[i]) != 0)
			return;
	}
	word += word[0] == '[';
	while ((piece = strsep(&word, "|")))
		offer_piece(line, piece);
}

static void offer_args(struct line *line)
{
	char args[128], *rest = args, *bar;

	(void)snprintf(args, sizeof(args), "%s", command_rows[line->state.options.command].args);
	while ((bar = strstr(rest, " | "))) {
		*bar = '\0';
		offer_word(line, rest);
		rest = bar + strlen(" | ");
	}
	offer_word(line, rest);
}

static void offer_value(struct line *line)
{
	if (strcmp(line->wants->value, "KEY=VALUE") == 0) {
		offer(line, "max-time=");
		if (line->state.options.command == COMMAND_ASSIGN)
			offer(line, "follow-port=yes");
		for (size_t i = 0; camera_settings[i] && is_for_class(line, OPTIONS_CAMERAS); i++)
			offer(line, camera_settings[i]);
	} else {
		offer_piece(line, line->wants->value);
	}
}

int complete(const char *argv0, char *const *words, size_t n_words)
{
	struct line line = {.current = n_words ? words[n_words - 1] : ""};
	struct options *options = &line.state.options;

	if (!freopen("/dev/null", "w", stderr))
		return EXIT_REFUSED;
	options_init(argv0, options);
	options->deadline_usec = clock_monotonic_usec() + COMPLETE_USEC;
	for (size_t i = 0; i + 1 < n_words && !line.lost; i++)
		read_word(&line, words[i]);
	split_current(&line);
	if (line.lost)
		return EXIT_DONE;
	if (line.wants) {
		offer_value(&line);
	} else if (line.current[0] == '-' && !line.only_words) {
		offer_options(&line);
	} else if (!options->class) {
		offer_commands(&line, true);
		offer_classes(&line);
	} else if (!line.has_command) {
		offer_commands(&line, false);
	} else {
		offer_args(&line);
	}
	inventory_deinit(&line.state.inventory);
	return EXIT_DONE;
}
