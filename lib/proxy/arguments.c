/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See arguments.h. */
#include "lib/proxy/arguments.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/sandbox/sandbox.h"

#define DOMID_LAST 0x7fef /* the last that a domain can have */

int proxy_take_channel(const char *text, void *options)
{
	struct session_options *o = options;

	o->channel = text;
	return strcmp(text, "xen") == 0 || (strncmp(text, "socket:", 7) == 0 && text[7]) ? 0 : -EINVAL;
}

static int take_domid(const char *text, uint16_t *ret_domid)
{
	uint64_t value = 0;
	int r = text_to_u64(text, DOMID_LAST, &value);

	*ret_domid = (uint16_t)value;
	return r;
}

int proxy_take_own(const char *text, void *options)
{
	return take_domid(text, &((struct session_options *)options)->own);
}

int proxy_take_peer(const char *text, void *options)
{
	return take_domid(text, &((struct session_options *)options)->peer);
}

int proxy_take_service(const char *text, void *options)
{
	size_t len = strlen(text);

	((struct session_options *)options)->service = text;
	return len > 0 && len < CHANNEL_SERVICE_MAX && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-/") == len
		       ? 0
		       : -EINVAL;
}

int proxy_take_user(const char *text, void *options)
{
	((struct session_options *)options)->user = text;
	return text[0] ? 0 : -EINVAL;
}

static void usage(const struct proxy_program *program, FILE *out)
{
	fprintf(out, "usage: %s ", program->name);
	for (size_t i = 0; program->modes[i]; i++)
		fprintf(out, "%s%s", i ? "|" : "", program->modes[i]);
	fprintf(out, " OPTION...\n%s\n\n", program->about);
	for (size_t i = 0; i < program->n_options; i++)
		fprintf(out, "  %-15s %-15s %s\n", program->options[i].name, program->options[i].argument,
			program->options[i].what);
	fputs("  --help                          this text\n", out);
}

static int refuse(const struct proxy_program *program, const char *problem, const char *text)
{
	fprintf(stderr, "%s: %s: %.64s\nTry %s --help.\n", program->name, problem, text, program->name);
	return PROXY_EXIT_USAGE;
}

static int parse(const struct proxy_program *program, unsigned int mode, char **words, void *options)
{
	unsigned int seen = 0;

	for (; *words; words += 2) {
		size_t i = 0;

		while (i < program->n_options && strcmp(program->options[i].name, *words) != 0)
			i++;
		if (i == program->n_options || !(program->options[i].modes & mode))
			return refuse(program, "unknown option", *words);
		if (seen & 1u << i)
			return refuse(program, "option given twice", *words);
		if (!words[1])
			return refuse(program, "option needs an argument", *words);
		if (program->options[i].take(words[1], options))
			return refuse(program, "bad argument", words[1]);
		seen |= 1u << i;
	}
	for (size_t i = 0; i < program->n_options; i++)
		if ((program->options[i].required & mode) && !(seen & 1u << i))
			return refuse(program, "option is missing", program->options[i].name);
	return PROXY_ARGUMENTS_GOOD;
}

int proxy_arguments(const struct proxy_program *program, char **argv, unsigned int *ret_mode, void *options)
{
	unsigned int mode = 0;

	if (argv[0] && argv[1] && strcmp(argv[1], "--help") == 0) {
		usage(program, stdout);
		return EXIT_SUCCESS;
	}
	while (argv[0] && argv[1] && program->modes[mode] && strcmp(program->modes[mode], argv[1]) != 0)
		mode++;
	if (!argv[0] || !argv[1] || !program->modes[mode]) {
		usage(program, stderr);
		return PROXY_EXIT_USAGE;
	}
	*ret_mode = mode;
	return parse(program, 1u << mode, argv + 2, options);
}

int proxy_begin(const char *name, int last_fd)
{
	pid_t parent = getppid();

	log_set_name(name);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILURE);
	(void)signal(SIGPIPE, SIG_IGN);
	return sandbox_close_fds(last_fd);
}
