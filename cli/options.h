/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of qvm-device: two tables, of commands and of options. Options may stand before or after the
 * class and the command; long ones are not abbreviated. Commands that are about no class of devices may stand in the
 * place of the class; the class is "usb" then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum command {
	COMMAND_LIST,
	COMMAND_ATTACH,
	COMMAND_DETACH,
	COMMAND_MOVE,
	COMMAND_ASSIGN,
	COMMAND_UNASSIGN,
	COMMAND_INFO,
	COMMAND_DENY,
	COMMAND_ALLOW,
	COMMAND_POLICY,
	COMMAND_AUDIT,
	COMMAND_WATCH,
	COMMAND_SUSPEND,
	COMMAND_RESUME,
	COMMAND_COUNT,
};

/* What the process ends with. */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1,   /* the broker refused, or something named is not there */
	EXIT_USAGE = 2,     /* wrong arguments */
	EXIT_NO_BROKER = 3, /* no answer */
};

struct options {
	const char *program; /* as it was called: "qvm-usb" */
	const char *class;
	enum command command;
	bool list_classes; /* instead of a command */
	const char *socket_path;
	int verbosity;
	bool json, assignments, all;
	bool ask, required;          /* assign: the mode; neither: auto-attach */
	bool only_port, only_device; /* assign, unassign: which half of BACKEND:PORT:ID is meant */
	bool follow, verify, answer;
	const char **excludes; /* n_excludes patterns */
	size_t n_excludes;
	const char **settings; /* -o, n_settings texts with a '=' */
	size_t n_settings;
	char **args; /* what is left */
	size_t n_args;
};

/*
 * -1: go on with *ret_options, then options_deinit(). Otherwise the exit code; help went to stdout, an error to
 * stderr.
 */
int options_parse(int argc, char **argv, struct options *ret_options);
void options_deinit(struct options *options);

/* "qvm-usb: error: ..." with the usage before it; returns EXIT_USAGE. */
int options_error(const struct options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));
