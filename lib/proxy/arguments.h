/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of a proxy, as a table: PROGRAM MODE OPTION..., where each option is a name and an argument. Only the
 * agent writes it; what is wrong with it is said all the same.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/proxy/session.h"

#define PROXY_EXIT_USAGE 2
#define PROXY_ARGUMENTS_GOOD (-1)

struct proxy_option {
	const char *name, *argument, *what;
	unsigned int modes, required; /* bits: 1 << the mode's place in the program's list */
	/* Into the program's own options; 0 or a negative errno. */
	int (*take)(const char *text, void *options);
};

struct proxy_program {
	const char *name, *about;
	const char *const *modes; /* NULL at the end */
	const struct proxy_option *options;
	size_t n_options;
};

/*
 * Reads the words after the program's name. PROXY_ARGUMENTS_GOOD: *ret_mode is the mode's place and `options` is filled;
 * else the exit status, and why was printed (or the help that was asked for).
 */
int proxy_arguments(const struct proxy_program *program, char **argv, unsigned int *ret_mode, void *options);

/* For the options of every session: `options` begins with a struct session_options. */
int proxy_take_channel(const char *text, void *options);
int proxy_take_own(const char *text, void *options);
int proxy_take_peer(const char *text, void *options);
int proxy_take_service(const char *text, void *options);
int proxy_take_user(const char *text, void *options);
#define PROXY_SESSION_OPTIONS(modes)                                                                      \
	{"--channel", "xen|socket:DIR", "how to reach the other qube", modes, modes, proxy_take_channel}, \
		{"--own", "DOMID", "this qube's domain id", modes, modes, proxy_take_own},                \
		{"--peer", "DOMID", "the other qube's domain id", modes, modes, proxy_take_peer},         \
	{                                                                                                 \
		"--service", "NAME", "the channel's name, e.g. qdb/1f", modes, modes, proxy_take_service  \
	}
#define PROXY_USER_OPTION(modes)                                                                 \
	{                                                                                        \
		"--user", "NAME", "the account to become (qdb-proxy)", modes, 0, proxy_take_user \
	}

/*
 * What every proxy does first: it never outlives its agent (without which nobody could take the device back; sandbox_enter()
 * keeps that up), has no fd above `last_fd`, no SIGPIPE, and its own name in the log. 0 or a negative errno.
 */
int proxy_begin(const char *name, int last_fd);
