/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of qvm-device: two tables, of commands and of options. Options may stand before or after the
 * class and the command; long ones are not abbreviated. Commands that are about no class of devices may stand in the
 * place of the class; the class is "usb" then. So may a list and a status, which are of every class then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_DEFAULT_CLASS "usb"
#define OPTIONS_CAMERAS "webcam"
#define OPTIONS_TOOL "qvm-device" /* by any other name the class is fixed */

enum command {
	COMMAND_LIST,
	COMMAND_ATTACH,
	COMMAND_DETACH,
	COMMAND_MOVE,
	COMMAND_MUTE,
	COMMAND_UNMUTE,
	COMMAND_ASSIGN,
	COMMAND_UNASSIGN,
	COMMAND_INFO,
	COMMAND_LABEL,
	COMMAND_STATUS,
	COMMAND_DENY,
	COMMAND_ALLOW,
	COMMAND_POLICY,
	COMMAND_AUDIT,
	COMMAND_WATCH,
	COMMAND_SUSPEND,
	COMMAND_RESUME,
	COMMAND_COUNT,
};

/* A row of --help, of what may follow and of what completes. `args` says which words follow: see complete.c. */
struct command_row {
	const char *name, *aliases[2];
	bool any_class; /* may stand without a class */
	size_t min_args, max_args;
	const char *args, *help;
};
extern const struct command_row command_rows[COMMAND_COUNT];

/*
 * `where` is a bit for each command, or OPTION_EVERYWHERE; `class` the only one that it is for, or NULL. One without `help` is
 * another name of the row before it.
 */
struct option_row {
	int id;
	char letter; /* 0: none */
	const char *name, *value;
	unsigned int where;
	const char *help, *class;
};
extern const struct option_row option_rows[];
extern const size_t n_option_rows;

/* How a setting (-o) begins that is for cameras only: "size=", ...; NULL at the end. */
extern const char *const camera_settings[];

#define OPTION_EVERYWHERE (~0u)
#define OPTION_IN(command) (1u << (command))

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
	bool every_class;  /* a list or a status without a class */
	const char *socket_path;
	uint64_t deadline_usec; /* of CLOCK_MONOTONIC, for all calls together; 0: each call has its own time */
	int verbosity;
	bool json, assignments, all;
	bool ask, required;          /* assign: the mode; neither: auto-attach */
	bool only_port, only_device; /* assign, unassign: which half of BACKEND:PORT:ID is meant */
	bool follow, verify, answer, once, with_mic;
	const char **excludes; /* n_excludes patterns */
	size_t n_excludes;
	const char **settings; /* -o, n_settings texts with a '=' */
	size_t n_settings;
	char **args; /* what is left */
	size_t n_args;
};

/* The defaults for a program of that name, whose class is fixed if it is not qvm-device. Needs no deinit. */
void options_init(const char *argv0, struct options *ret_options);

/* By its name or an alias. */
bool options_find_command(const char *word, enum command *ret_command);

/* May the row's option stand among the words of a command (OPTION_IN), or before there is one (OPTION_EVERYWHERE)? */
bool options_may_stand(const struct option_row *row, unsigned int where);

/*
 * -1: go on with *ret_options, then options_deinit(). Otherwise the exit code; help went to stdout, an error to
 * stderr.
 */
int options_parse(int argc, char **argv, struct options *ret_options);
void options_deinit(struct options *options);

/* "qvm-usb: error: ..." with the usage before it; returns EXIT_USAGE. */
int options_error(const struct options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));
