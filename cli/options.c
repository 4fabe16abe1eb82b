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
#include "cli/suggest.h"
#include "lib/base/base.h"
#include "lib/base/controls.h"
#include "lib/base/text.h"

#define SOCKET_PATH "/run/device-broker/admin.sock"
#define SOCKET_ENV "QDB_SOCKET"
#define SHOWN_MAX 512u

const struct command_row command_rows[COMMAND_COUNT] = {
	[COMMAND_LIST] = {"list", {"ls", "l"}, true, 0, SIZE_MAX, "[VM...]", "list devices (this is the default)"},
	[COMMAND_ATTACH] = {"attach", {"at", "a"}, false, 2, 2, "VM BACKEND:PORT[:ID]", "attach a device to a qube"},
	[COMMAND_DETACH] =
		{"detach", {"dt", "d"}, false, 1, 2, "VM [BACKEND:PORT[:ID]]", "detach a device, or all, from a qube"},
	[COMMAND_MOVE] = {"move", {"mv", "m"}, false, 2, 2, "VM BACKEND:PORT[:ID]", "to this qube from where it is"},
	[COMMAND_MUTE] = {"mute",
			  {NULL},
			  false,
			  2,
			  2,
			  "VM BACKEND:PORT[:ID]",
			  "a microphone, speaker or camera stays, and passes nothing on"},
	[COMMAND_UNMUTE] = {"unmute", {NULL}, false, 2, 2, "VM BACKEND:PORT[:ID]", "let it be heard or seen again"},
	[COMMAND_ASSIGN] = {"assign", {"s"}, false, 2, 2, "VM BACKEND:PORT[:ID]", "attach it whenever it can be"},
	[COMMAND_UNASSIGN] =
		{"unassign", {"u"}, false, 1, 2, "VM [BACKEND:PORT[:ID]]", "end an assignment, or all, of a qube"},
	[COMMAND_INFO] = {"info", {"i"}, false, 1, 1, "BACKEND:PORT[:ID]", "show what is known about a device"},
	[COMMAND_LABEL] = {"label",
			   {NULL},
			   false,
			   1,
			   2,
			   "BACKEND:PORT[:ID] [TEXT]",
			   "give a device a name of yours; \"\" takes it away"},
	[COMMAND_STATUS] =
		{"status", {"st"}, true, 0, SIZE_MAX, "[VM...]", "show what the streams move, as they move it"},
	[COMMAND_DENY] = {"deny",
			  {NULL},
			  true,
			  1,
			  SIZE_MAX,
			  "VM [INTERFACE...]",
			  "devices that the qube never gets; show or add to them"},
	[COMMAND_ALLOW] = {"allow", {NULL}, true, 2, SIZE_MAX, "VM INTERFACE...|all", "take away from what deny added"},
	[COMMAND_POLICY] = {"policy",
			    {NULL},
			    true,
			    1,
			    3,
			    "check | explain VM BACKEND:PORT[:ID]",
			    "is the policy sound; what does it say of a device and a qube, and why"},
	[COMMAND_AUDIT] = {"audit", {NULL}, true, 0, 0, "", "show the audit log"},
	[COMMAND_WATCH] = {"watch", {NULL}, true, 0, 0, "", "show what happens, as it happens"},
	[COMMAND_SUSPEND] = {"suspend", {NULL}, true, 0, 0, "", "before the machine sleeps: take all devices back"},
	[COMMAND_RESUME] = {"resume", {NULL}, true, 0, 0, "", "after it slept: attach them again"},
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
	OPTION_WITH_MIC,
	OPTION_ASK,
	OPTION_REQUIRED,
	OPTION_ONLY_PORT,
	OPTION_ONLY_DEVICE,
	OPTION_FOLLOW,
	OPTION_VERIFY,
	OPTION_ANSWER,
	OPTION_ONCE,
};

#define EVERYWHERE OPTION_EVERYWHERE
#define IN(command) OPTION_IN(command)
#define SETTABLE (IN(COMMAND_ATTACH) | IN(COMMAND_MOVE) | IN(COMMAND_ASSIGN))
#define ASSIGNING (IN(COMMAND_ASSIGN) | IN(COMMAND_UNASSIGN))

const struct option_row option_rows[] = {
	{OPTION_HELP, 'h', "help", NULL, EVERYWHERE, "show this help", NULL},
	{OPTION_VERSION, 0, "version", NULL, EVERYWHERE, "show the version", NULL},
	{OPTION_VERBOSE, 'v', "verbose", NULL, EVERYWHERE, "say what was done", NULL},
	{OPTION_QUIET, 'q', "quiet", NULL, EVERYWHERE, "no progress, no hints", NULL},
	{OPTION_SOCKET, 0, "socket", "PATH", EVERYWHERE, "the broker's socket (" SOCKET_PATH ")", NULL},
	{OPTION_CLASSES, 0, "list-device-classes", NULL, EVERYWHERE, "show the classes of devices", NULL},
	{OPTION_CLASSES, 0, "list-classes", NULL, EVERYWHERE, NULL, NULL},
	{OPTION_JSON, 0, "json", NULL, EVERYWHERE, "output for programs; see qvm-device-json(5)", NULL},
	{OPTION_ASSIGNMENTS, 's', "assignments", NULL, IN(COMMAND_LIST), "also stored assignments", NULL},
	{OPTION_ALL, 0, "all", NULL, IN(COMMAND_LIST), "all qubes but dom0", NULL},
	{OPTION_EXCLUDE, 0, "exclude", "VM", IN(COMMAND_LIST), "with --all, not this qube", NULL},
	{OPTION_SETTING, 'o', "option", "KEY=VALUE", SETTABLE,
	 "max-time=30m; of cameras size=1280x720, fps=30, brightness=50, power-line=60 and more", NULL},
	{OPTION_READ_ONLY, 0, "ro", NULL, SETTABLE, "the same as -o read-only=yes", NULL},
	{OPTION_WITH_MIC, 0, "with-mic", NULL, IN(COMMAND_ATTACH), "a camera, and then the microphone in it",
	 OPTIONS_CAMERAS},
	{OPTION_ASK, 0, "ask", NULL, IN(COMMAND_ASSIGN), "ask before each attach", NULL},
	{OPTION_ASK, 0, "ask-to-attach", NULL, IN(COMMAND_ASSIGN), NULL, NULL},
	{OPTION_REQUIRED, 'r', "required", NULL, IN(COMMAND_ASSIGN), "the qube cannot be without it", NULL},
	{OPTION_ONLY_PORT, 0, "port", NULL, ASSIGNING, "whatever is at that port", NULL},
	{OPTION_ONLY_PORT, 0, "only-port", NULL, ASSIGNING, NULL, NULL},
	{OPTION_ONLY_DEVICE, 0, "device", NULL, ASSIGNING, "that device at any port", NULL},
	{OPTION_ONLY_DEVICE, 0, "only-device", NULL, ASSIGNING, NULL, NULL},
	{OPTION_FOLLOW, 'f', "follow", NULL, IN(COMMAND_AUDIT), "go on with new records", NULL},
	{OPTION_VERIFY, 0, "verify", NULL, IN(COMMAND_AUDIT), "check that no record was changed or lost", NULL},
	{OPTION_ONCE, 0, "once", NULL, IN(COMMAND_STATUS), "show it once, as when the output is no terminal", NULL},
	{OPTION_ANSWER, 0, "answer", NULL, IN(COMMAND_WATCH), "ask here when a device needs a decision", NULL},
};
const size_t n_option_rows = ARRAY_SIZE(option_rows);

#define CONTROL_SETTING(constant, name, last) name "=",
const char *const camera_settings[] = {"size=", "fps=", CONTROLS(CONTROL_SETTING) NULL};

static void show_usage(FILE *out, const struct options *options)
{
	fprintf(out, "usage: %s [-h] [-v] [-q] [--version] [--socket PATH] [--list-device-classes] %sCOMMAND ...\n",
		options->program, strcmp(options->program, OPTIONS_TOOL) == 0 ? "CLASS " : "");
}

/* "attach, move": returns `names`, of SHOWN_MAX bytes. */
static const char *names_of(unsigned int where, char *names)
{
	size_t len = 0;

	names[0] = '\0';
	for (size_t i = 0; i < COMMAND_COUNT && len < SHOWN_MAX; i++)
		if (where & IN(i))
			len += (size_t)snprintf(names + len, SHOWN_MAX - len, "%s%s", len ? ", " : "",
						command_rows[i].name);
	return names;
}

/* A row and, in the same line, its other names. */
static void show_option(size_t i)
{
	const struct option_row *row = &option_rows[i];
	char names[SHOWN_MAX];

	if (row->letter)
		printf("  -%c, ", row->letter);
	else
		printf("      ");
	printf("--%s", row->name);
	for (i++; i < ARRAY_SIZE(option_rows) && !option_rows[i].help; i++)
		printf(", --%s", option_rows[i].name);
	printf("%s%s\n        ", row->value ? " " : "", row->value ? row->value : "");
	if (row->where != EVERYWHERE)
		printf("%s: ", names_of(row->where, names));
	printf("%s\n", row->help);
}

static void show_help(const struct options *options)
{
	show_usage(stdout, options);
	printf("\ncommands:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const char *const *aliases = command_rows[i].aliases;

		printf("  %s%s%s%s%s%s%s%s\n        %s\n", command_rows[i].name, aliases[0] ? " (" : "",
		       aliases[0] ? aliases[0] : "", aliases[1] ? ", " : "", aliases[1] ? aliases[1] : "",
		       aliases[0] ? ")" : "", command_rows[i].args[0] ? " " : "", command_rows[i].args,
		       command_rows[i].help);
	}
	printf("\noptions:\n");
	for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++)
		if (option_rows[i].help)
			show_option(i);
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
	case OPTION_WITH_MIC:
		options->with_mic = true;
		break;
	case OPTION_ASK:
		options->ask = true;
		break;
	case OPTION_REQUIRED:
		options->required = true;
		break;
	case OPTION_ONLY_PORT:
		options->only_port = true;
		break;
	case OPTION_ONLY_DEVICE:
		options->only_device = true;
		break;
	case OPTION_FOLLOW:
		options->follow = true;
		break;
	case OPTION_VERIFY:
		options->verify = true;
		break;
	case OPTION_ANSWER:
		options->answer = true;
		break;
	case OPTION_ONCE:
		options->once = true;
		break;
	}
	return -1;
}

bool options_may_stand(const struct option_row *row, unsigned int where)
{
	return row->where == EVERYWHERE || (where != EVERYWHERE && (row->where & where));
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

/* A long option that may not stand here: it belongs to other commands, or is misspelt. */
static int unknown_option(const struct options *options, const char *word, unsigned int where)
{
	char name[SUGGEST_WORD + 1], near[SUGGEST_TEXT], owners[SHOWN_MAX];
	struct suggestion suggestion;

	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	suggest_init(&suggestion, name);
	for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++) {
		if (options_may_stand(&option_rows[i], where))
			suggest_try(&suggestion, option_rows[i].name);
		else if (strcmp(option_rows[i].name, name) == 0)
			return options_error(options, "unrecognized arguments: %s (an option of %s, after that word)",
					     word, names_of(option_rows[i].where, owners));
	}
	return options_error(options, "unrecognized arguments: %s%s", word, suggest_text(&suggestion, "--", near));
}

/*
 * One stretch: options that may stand here, up to the first other argument (`where` EVERYWHERE) or to the end. -1,
 * with *ret_used the words taken, argv[0] not counted; or an exit code.
 */
static int parse_stretch(struct options *options, int argc, char **argv, unsigned int where, int *ret_used)
{
	struct option longs[ARRAY_SIZE(option_rows) + 1] = {0};
	char shorts[2 * ARRAY_SIZE(option_rows) + 3] = "";
	size_t n = 0, n_shorts = 0;
	int c, at;

	if (where == EVERYWHERE)
		shorts[n_shorts++] = '+';
	shorts[n_shorts++] = ':';
	for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++) {
		if (!options_may_stand(&option_rows[i], where))
			continue;
		longs[n++] = (struct option){.name = option_rows[i].name,
					     .has_arg = option_rows[i].value ? required_argument : no_argument,
					     .val = option_rows[i].id};
		if (option_rows[i].letter)
			shorts[n_shorts++] = option_rows[i].letter;
		if (option_rows[i].letter && option_rows[i].value)
			shorts[n_shorts++] = ':';
	}
	optind = 0; /* GNU: start anew */
	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, &at)) != -1) {
		const char *abbreviation = c >= 256 ? find_abbreviation(argv, optind, &longs[at]) : NULL;
		int r;

		for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++)
			if (c < 256 && c == option_rows[i].letter)
				c = option_rows[i].id;
		if (c == ':')
			return options_error(options, "argument %s: expected one argument", argv[optind - 1]);
		if (c == '?' && optopt)
			return options_error(options, "unrecognized arguments: -%c", optopt < 256 ? optopt : '-');
		if (c == '?' || abbreviation)
			return unknown_option(options, abbreviation ? abbreviation : argv[optind - 1], where);
		r = apply(options, (enum option_id)c);
		if (r >= 0)
			return r;
	}
	*ret_used = optind - 1;
	return -1;
}

bool options_find_command(const char *word, enum command *ret_command)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const char *const *aliases = command_rows[i].aliases;

		if (strcmp(word, command_rows[i].name) != 0 && (!aliases[0] || strcmp(word, aliases[0]) != 0) &&
		    (!aliases[1] || strcmp(word, aliases[1]) != 0))
			continue;
		*ret_command = (enum command)i;
		return true;
	}
	return false;
}

/* Of two options that contradict each other; NULL: none. */
static const char *find_contradiction(const struct options *options)
{
	if (options->n_excludes && !options->all)
		return "--exclude can only be used with --all";
	if (options->all && options->n_args)
		return "--all and names of qubes exclude each other";
	if (options->ask && options->required)
		return "argument --required/-r: not allowed with argument --ask";
	if (options->only_port && options->only_device)
		return "argument --device: not allowed with argument --port";
	if (options->verify && options->follow)
		return "argument --verify: not allowed with argument --follow";
	if (options->answer && options->json)
		return "argument --answer: not allowed with argument --json";
	if (options->with_mic && strcmp(options->class, OPTIONS_CAMERAS) != 0)
		return "argument --with-mic: for cameras only (qvm-webcam attach)";
	return NULL;
}

static int check(struct options *options)
{
	size_t class_len = strlen(options->class);
	const char *contradiction;

	if (class_len == 0 || class_len > 31 || strspn(options->class, "abcdefghijklmnopqrstuvwxyz") != class_len)
		return options_error(options, "not a device class: '%s'", options->class);
	if (options->n_args < command_rows[options->command].min_args)
		return options_error(options, "the following arguments are required: %s",
				     command_rows[options->command].args);
	if (options->n_args > command_rows[options->command].max_args)
		return options_error(options, "unrecognized arguments: %s",
				     options->args[command_rows[options->command].max_args]);
	contradiction = find_contradiction(options);
	return contradiction ? options_error(options, "%s", contradiction) : -1;
}

static int unknown_command(const struct options *options, const char *word)
{
	char names[SHOWN_MAX], near[SUGGEST_TEXT];
	struct suggestion suggestion;

	suggest_init(&suggestion, word);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		suggest_try(&suggestion, command_rows[i].name);
	if (suggestion.best)
		return options_error(options, "argument COMMAND: invalid choice: '%s'%s", word,
				     suggest_text(&suggestion, "", near));
	return options_error(options, "argument COMMAND: invalid choice: '%.64s' (choose from %s)", word,
			     names_of(EVERYWHERE, names));
}

/* The words of the line in their order: options, CLASS unless the program's name has it, options, COMMAND, ... */
static int parse_words(struct options *options, int argc, char **argv)
{
	enum command command;
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
		if (strcmp(argv[1], "list-device-classes") == 0) { /* as Qubes takes it */
			options->list_classes = true;
			r = parse_stretch(options, argc - 1, argv + 1, EVERYWHERE, &used);
			return r < 0 && used + 2 < argc
				       ? options_error(options, "unrecognized arguments: %s", argv[used + 2])
				       : r;
		}
		if (options_find_command(argv[1], &command) && command_rows[command].any_class) {
			options->class = OPTIONS_DEFAULT_CLASS;
			options->every_class = command == COMMAND_LIST || command == COMMAND_STATUS;
			break;
		}
		options->class = argv[1];
		argc--;
		argv++;
	}
	if (argc >= 2) {
		if (!options_find_command(argv[1], &options->command))
			return unknown_command(options, argv[1]);
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

void options_init(const char *argv0, struct options *ret_options)
{
	const char *program = argv0 ? argv0 : OPTIONS_TOOL, *slash = strrchr(program, '/'),
		   *socket_path = getenv(SOCKET_ENV);

	*ret_options = (struct options){.command = COMMAND_LIST};
	ret_options->program = slash ? slash + 1 : program;
	if (!text_is_printable(ret_options->program))
		ret_options->program = OPTIONS_TOOL;
	if (strncmp(ret_options->program, "qvm-", 4) == 0 && strcmp(ret_options->program, OPTIONS_TOOL) != 0)
		ret_options->class = ret_options->program + 4;
	ret_options->socket_path = socket_path && socket_path[0] ? socket_path : SOCKET_PATH;
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
	struct options options;
	int r;

	options_init(argv[0], &options);
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
