/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy: which device may go from which qube to which, as files of rules in the manner of qrexec policy 5.0. The
 * language is described in device-broker.policy(5). Pure: texts come in, verdicts go out.
 *
 * What it guarantees (tests: test-policy.c, tests/integration/test-policy.py, tests/fuzz/fuzz-policy.c):
 *   - fail closed: one fault anywhere in the set and there is no set; policy_decide() without a set denies;
 *   - the first rule that matches decides; none: deny;
 *   - a set never changes after it was made, and one decision sees one set;
 *   - what is not known about a device never helps it: interfaces that nobody knows match each `deny` and `ask` pattern
 *     and no `allow` pattern, and an `allow` pattern wants all interfaces of the device to match, the others only one.
 *
 * Memory of a set: one allocation, a fixed multiple of the texts, which LIMIT_POLICY_BYTES bounds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/limits.h"

struct policy;

/* One entry of the directory. */
struct policy_file {
	const char *name;
	const char *text; /* any bytes, need not end in a NUL */
	size_t len;
	const char *fault; /* not NULL: it could not be read, and this is the sentence why; counts if it is needed */
};

struct policy_error {
	char file[LIMIT_POLICY_FILE_NAME + 1]; /* printable; empty: it is about the whole directory */
	unsigned int line;                     /* 0: about the whole file */
	char reason[320];                      /* printable; names the thing and the cure */
};

enum policy_action { POLICY_DENY, POLICY_ASK, POLICY_ALLOW, POLICY_ACTION_COUNT };

enum policy_why {
	POLICY_WHY_BROKEN,  /* there is no set: everything is denied */
	POLICY_WHY_NO_RULE, /* no rule matches: denied */
	POLICY_WHY_RULE,
};

/* One attach that somebody asks for. NULL texts count as empty. */
struct policy_query {
	const char *class_name; /* "usb" */
	const char *port;       /* "1-2.4" */
	uint16_t vendor, product;
	const char *serial;  /* as the device has it; empty: none */
	size_t n_interfaces; /* 0, or more than LIMIT_INTERFACES: unknown */
	const uint8_t (*interfaces)[3];
	const char *source, *target; /* names of qubes; nothing is read from a name when it is dom0 */
	bool source_is_dom0, target_is_dom0;
};

struct policy_verdict {
	enum policy_action action;
	enum policy_why why;
	char file[LIMIT_POLICY_FILE_NAME + 1];    /* of the rule; empty when there is none */
	unsigned int line;                        /* 0 when there is none */
	const char *text;                         /* the rule's line; never NULL, lives as long as the policy */
	uint64_t max_time_usec;                   /* 0: without end */
	bool end_parts;                           /* what is attached of it as a part may be ended for it */
	bool notify;                              /* the user is to be told: parsed and kept, without effect so far */
	char default_target[LIMIT_QUBE_NAME + 1]; /* of an `ask`; empty: none */
};

/*
 * Makes a set from all files of a directory, in any order. Those named *.policy are the set, in the order of their
 * bytes (the C locale's); names that begin with '.' are left out; others count when a !include names them. Takes
 * nothing over: texts may go afterwards. 0; POLICY_BROKEN: *ret_error says where and why, there is no set; -ENOMEM.
 */
enum { POLICY_BROKEN = 1 };
int policy_new(const struct policy_file *files, size_t n_files, struct policy **ret_policy,
	       struct policy_error *ret_error);
struct policy *policy_free(struct policy *policy);

size_t policy_n_rules(const struct policy *policy);

/* "FILE:LINE: reason" */
#define POLICY_ERROR_TEXT_MAX (LIMIT_POLICY_FILE_NAME + 320 + 16)
void policy_error_text(const struct policy_error *error, char ret_text[POLICY_ERROR_TEXT_MAX]);

/* Total: any query, and no policy (NULL: the set is broken) gets its verdict. */
void policy_decide(const struct policy *policy, const struct policy_query *query, struct policy_verdict *ret_verdict);

const char *policy_action_name(enum policy_action action);

/* ---- for `qvm-device policy explain` ---- */

enum policy_field { POLICY_FIELD_CLASS, POLICY_FIELD_DEVICE, POLICY_FIELD_SOURCE, POLICY_FIELD_TARGET };

/* A rule above the deciding one that all fields but one matched. */
struct policy_miss {
	char file[LIMIT_POLICY_FILE_NAME + 1];
	unsigned int line;
	const char *text; /* as in the verdict */
	enum policy_field field;
	const char *hint; /* a sentence, when the cause is not plain to see; else NULL */
};

/* As policy_decide(), and the first up to `max` near misses. Returns how many. */
size_t policy_explain(const struct policy *policy, const struct policy_query *query, struct policy_verdict *ret_verdict,
		      struct policy_miss *ret_misses, size_t max);

const char *policy_field_name(enum policy_field field);

/* ---- for `qvm-device policy check` ---- */

enum policy_warning_type {
	POLICY_WARN_SHADOWED,    /* never reached: the rule at other_file:other_line matches all that it matches */
	POLICY_WARN_UNKNOWN_TAG, /* its @tag: is given to no qube: it matches nothing */
	POLICY_WARN_DOM0_TARGET, /* allows dom0 as a target */
	POLICY_WARN_COUNT,
};

struct policy_warning {
	enum policy_warning_type type;
	const char *file, *text;
	unsigned int line;
	const char *other_file; /* NULL: none */
	unsigned int other_line;
};

/*
 * Finds rules that are not faults but hardly meant so; what it says is true, but it does not find everything: a rule is
 * seen as wider when each of its fields is the same, `*`, or `@anyvm` above a qube. A fixed number of steps per rule.
 * 0 or -ENOMEM.
 */
int policy_lint(const struct policy *policy, void (*warn)(void *userdata, const struct policy_warning *warning),
		void *userdata);

const char *policy_warning_text(enum policy_warning_type type);
