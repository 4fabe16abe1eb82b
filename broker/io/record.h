/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the audit log says of each of the core's actions. No I/O. */
#pragma once

#include <stdbool.h>

#include "broker/core/core.h"
#include "broker/io/audit.h"

struct record_context {
	const struct core *core;
	struct core_user caller; /* whose request is being handled; uid CORE_NOBODY: nobody's */
	const char *requested;   /* the qube that it names; NULL: none */
};

/*
 * False: this action leaves no record. The record points into its arguments. CORE_DO_ANSWER leaves one only where no
 * transition tells of it: when it is a refusal.
 */
bool record_of(const struct core_action *action, const struct record_context *context, struct audit_record *ret_record);

/* Of something that no action tells of; the members that are not named are empty. */
struct audit_record record_plain(const char *event, struct core_user caller, const char *target, const char *outcome);
