/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See options.h. The line is taken in up to three stretches, each with getopt_long(): before the class, before the
 * command, and the command's own. Whatever an argument holds, only printable ASCII of it is shown.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "lib/base/base.h"
#include "lib/base/text.h"

#define SOCKET_PATH "/run/device-broker/admin.sock"
#define SOCKET_ENV "QDB_SOCKET"
#define SHOWN_MAX 512u

static const struct {
	const char *name, *aliases[2];
	size_t min_args, max_args;
	const char *args, *help;
} commands[COMMAND_COUNT] = {
	[COMMAND_LIST] = {"list", {"ls", "l"}, 0, SIZE_MAX, "[VM...]", "list devices (this is the default)"},
	[COMMAND_ATTACH] = {"attach", {"at", "a"}, 2, 2, "VM BACKEND:PORT[:ID]", "attach a device to a qube"},
	[COMMAND_DETACH] =
		{"detach", {"dt", "d"}, 1, 2, "VM [BACKEND:PORT[:ID]]", "detach a device, or all, from a qube"},
	[COMMAND_INFO] = {"info", {"i", "i"}, 1, 1, "BACKEND:PORT[:ID]", "show what is known about a device"},
};

enum option_id {
	OPTION_HELP = 256, /* beyond all short options */
	OPTION_VERSION,
	OPTION_VERBOSE,
	OPTION_QUIET,
	OPTION_SOCKET,
	OPTION_CLASSES,
	OPTION_JSON,
	OPTION_ASSIGNMENTS,
	OPTION_ALL,
	OPTION_EXCLUDE,
	OPTION_SETTING,
	OPTION_READ_ONLY,
};

#define EVERYWHERE (~0u)
#define IN(command) (1u << (command))

static const struct {
	enum option_id id;
	char letter; /* 0: none */
	const char *name, *value;
	unsigned int where;
	const char *help;
} all_options[] = {
	{OPTION_HELP, 'h', "help", NULL, EVERYWHERE, "show this help"},
	{OPTION_VERSION, 0, "version", NULL, EVERYWHERE, "show the version"},
	{OPTION_VERBOSE, 'v', "verbose", NULL, EVERYWHERE, "say what was done"},
	{OPTION_QUIET, 'q', "quiet", NULL, EVERYWHERE, "no progress, no hints"},
	{OPTION_SOCKET, 0, "socket", "PATH", EVERYWHERE, "the broker's socket (" SOCKET_PATH ")"},
	{OPTION_CLASSES, 0, "list-device-classes", NULL, EVERYWHERE, "show the classes of devices"},
	{OPTION_CLASSES, 0, "list-classes", NULL, EVERYWHERE, NULL},
	{OPTION_JSON, 0, "json", NULL, IN(COMMAND_LIST), "list: for programs"},
	{OPTION_ASSIGNMENTS, 's', "assignments", NULL, IN(COMMAND_LIST), "list: also stored assignments"},
	{OPTION_ALL, 0, "all", NULL, IN(COMMAND_LIST), "list: all qubes but dom0"},
	{OPTION_EXCLUDE, 0, "exclude", "VM", IN(COMMAND_LIST), "list: with --all, not this qube"},
	{OPTION_SETTING, 'o', "option", "KEY=VALUE", IN(COMMAND_ATTACH), "attach: an option of the device"},
	{OPTION_READ_ONLY, 0, "ro", NULL, IN(COMMAND_ATTACH), "attach: -o read-only=yes"},
};

static void show_usage(FILE *out, const struct options *options)
{
	fprintf(out, "usage: %s [-h] [-v] [-q] [--version] [--socket PATH] [--list-device-classes] %sCOMMAND ...\n",
		options->program, strcmp(options->program, "qvm-device") == 0 ? "CLASS " : "");
}

static void show_help(const struct options *options)
{
	show_usage(stdout, options);
	printf("\ncommands:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		bool two = strcmp(commands[i].aliases[0], commands[i].aliases[1]) != 0;

		printf("  %s (%s%s%s) %s\n        %s\n", commands[i].name, commands[i].aliases[0], two ? ", " : "",
		       two ? commands[i].aliases[1] : "", commands[i].args, commands[i].help);
	}
	printf("\noptions:\n");
	for (size_t i = 0; i < ARRAY_SIZE(all_options); i++) {
		char text[64];

		if (!all_options[i].help)
			continue;
		(void)snprintf(text, sizeof(text), "%c%c%s--%s%s%s", all_options[i].letter ? '-' : ' ',
			       all_options[i].letter ? all_options[i].letter : ' ', all_options[i].letter ? ", " : "  ",
			       all_options[i].name, all_options[i].value ? " " : "",
			       all_options[i].value ? all_options[i].value : "");
		printf("  %-28s %s\n", text, all_options[i].help);
	}
	printf("\nexit codes: 0 done, 1 refused or not there, 2 wrong arguments, 3 no answer from the device broker\n");
}

int options_error(const struct options *options, const char *format, ...)
{
	char text[SHOWN_MAX], safe[SHOWN_MAX];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)text_make_safe(text, len < 0 ? 0 : strlen(text), safe, sizeof(safe));
	show_usage(stderr, options);
	fprintf(stderr, "%s: error: %s\n", options->program, safe);
	return EXIT_USAGE;
}

static int apply(struct options *options, enum option_id id)
{
	switch (id) {
	case OPTION_HELP:
		show_help(options);
		return EXIT_DONE;
	case OPTION_VERSION:
		printf("%s (Qubes Device Broker) %s\n", options->program, QDB_VERSION);
		return EXIT_DONE;
	case OPTION_VERBOSE:
		options->verbosity++;
		break;
	case OPTION_QUIET:
		options->verbosity--;
		break;
	case OPTION_SOCKET:
		options->socket_path = optarg;
		break;
	case OPTION_CLASSES:
		options->list_classes = true;
		break;
	case OPTION_JSON:
		options->json = true;
		break;
	case OPTION_ASSIGNMENTS:
		options->assignments = true;
		break;
	case OPTION_ALL:
		options->all = true;
		break;
	case OPTION_EXCLUDE:
		options->excludes[options->n_excludes++] = optarg;
		break;
	case OPTION_SETTING:
		if (!strchr(optarg, '=') || optarg[0] == '=')
			return options_error(options, "argument --option/-o: expected KEY=VALUE, got %s", optarg);
		options->settings[options->n_settings++] = optarg;
		break;
	case OPTION_READ_ONLY:
		options->settings[options->n_settings++] = "read-only=yes";
		break;
	}
	return -1;
}

static bool may_stand(size_t option, unsigned int where)
{
	return all_options[option].where == EVERYWHERE || (where != EVERYWHERE && (all_options[option].where & where));
}

/*
 * getopt_long() takes abbreviations; we do not: a script must not change its meaning with a new option. `index` is
 * the word after the option and its value.
 */
static const char *find_abbreviation(char **argv, int index, const struct option *option)
{
	const char *word = argv[index - 1];

	if (option->has_arg == required_argument && optarg == word)
		word = argv[index - 2];
	return strcspn(word + 2, "=") == strlen(option->name) ? NULL : word;
}

/*
 * One stretch: options that may stand here, up to the first other argument (`where` EVERYWHERE) or to the end. -1,
 * with *ret_used the words taken, argv[0] not counted; or an exit code.
 */
static int parse_stretch(struct options *options, int argc, char **argv, unsigned int where, int *ret_used)
{
	struct option longs[ARRAY_SIZE(all_options) + 1] = {0};
	char shorts[2 * ARRAY_SIZE(all_options) + 3] = "";
	size_t n = 0, n_shorts = 0;
	int c, at;

	if (where == EVERYWHERE)
		shorts[n_shorts++] = '+';
	shorts[n_shorts++] = ':';
	for (size_t i = 0; i < ARRAY_SIZE(all_options); i++) {
		if (!may_stand(i, where))
			continue;
		longs[n++] = (struct option){.name = all_options[i].name,
					     .has_arg = all_options[i].value ? required_argument : no_argument,
					     .val = (int)all_options[i].id};
		if (all_options[i].letter)
			shorts[n_shorts++] = all_options[i].letter;
		if (all_options[i].letter && all_options[i].value)
			shorts[n_shorts++] = ':';
	}
	optind = 0; /* GNU: start anew */
	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, &at)) != -1) {
		const char *abbreviation = c >= 256 ? find_abbreviation(argv, optind, &longs[at]) : NULL;
		int r;

		for (size_t i = 0; i < ARRAY_SIZE(all_options); i++)
			if (c < 256 && c == all_options[i].letter)
				c = (int)all_options[i].id;
		if (c == ':')
			return options_error(options, "argument %s: expected one argument", argv[optind - 1]);
		if (c == '?' && optopt)
			return options_error(options, "unrecognized arguments: -%c", optopt < 256 ? optopt : '-');
		if (c == '?')
			return options_error(options, "unrecognized arguments: %s", argv[optind - 1]);
		if (abbreviation)
			return options_error(options, "unrecognized arguments: %s", abbreviation);
		r = apply(options, (enum option_id)c);
		if (r >= 0)
			return r;
	}
	*ret_used = optind - 1;
	return -1;
}

static bool find_command(const char *word, enum command *ret_command)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(word, commands[i].name) != 0 && strcmp(word, commands[i].aliases[0]) != 0 &&
		    strcmp(word, commands[i].aliases[1]) != 0)
			continue;
		*ret_command = (enum command)i;
		return true;
	}
	return false;
}

static int check(struct options *options)
{
	size_t class_len = strlen(options->class);

	if (class_len == 0 || class_len > 31 || strspn(options->class, "abcdefghijklmnopqrstuvwxyz") != class_len)
		return options_error(options, "not a device class: '%s'", options->class);
	if (options->n_args < commands[options->command].min_args)
		return options_error(options, "the following arguments are required: %s",
				     commands[options->command].args);
	if (options->n_args > commands[options->command].max_args)
		return options_error(options, "unrecognized arguments: %s",
				     options->args[commands[options->command].max_args]);
	if (options->n_excludes && !options->all)
		return options_error(options, "--exclude can only be used with --all");
	if (options->all && options->n_args)
		return options_error(options, "--all and names of qubes exclude each other");
	return -1;
}

/* The words of the line in their order: options, CLASS unless the program's name has it, options, COMMAND, ... */
static int parse_words(struct options *options, int argc, char **argv)
{
	int used, r;

	for (;;) {
		r = parse_stretch(options, argc, argv, EVERYWHERE, &used);
		if (r >= 0 || options->list_classes)
			return r;
		argc -= used;
		argv += used;
		if (options->class)
			break;
		if (argc < 2)
			return options_error(options, "the following arguments are required: CLASS");
		options->class = argv[1];
		argc--;
		argv++;
	}
	if (argc >= 2) {
		if (!find_command(argv[1], &options->command))
			return options_error(options, "argument COMMAND: invalid choice: '%s' (choose from %s)",
					     argv[1], "list, ls, l, attach, at, a, detach, dt, d, info, i");
		argc--;
		argv++;
	}
	r = parse_stretch(options, argc, argv, IN(options->command), &used);
	if (r >= 0 || options->list_classes)
		return r;
	options->args = argv + used + 1;
	options->n_args = (size_t)(argc - used - 1);
	return check(options);
}

void options_deinit(struct options *options)
{
	free(options->excludes);
	free(options->settings);
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
	const char *program = argc > 0 && argv[0] ? argv[0] : "qvm-device";
	const char *slash = strrchr(program, '/'), *socket_path = getenv(SOCKET_ENV);
	struct options options = {.command = COMMAND_LIST};
	int r;

	options.program = slash ? slash + 1 : program;
	if (!text_is_printable(options.program))
		options.program = "qvm-device";
	if (strncmp(options.program, "qvm-", 4) == 0 && strcmp(options.program, "qvm-device") != 0)
		options.class = options.program + 4;
	options.socket_path = socket_path && socket_path[0] ? socket_path : SOCKET_PATH;
	options.excludes = calloc((size_t)argc + 1, sizeof(*options.excludes));
	options.settings = calloc((size_t)argc + 1, sizeof(*options.settings));
	if (!options.excludes || !options.settings) {
		fprintf(stderr, "%s: error: out of memory\n", options.program);
		r = EXIT_REFUSED;
	} else {
		r = parse_words(&options, argc, argv);
	}
	if (r >= 0)
		options_deinit(&options);
	else
		*ret_options = options;
	return r;
}
