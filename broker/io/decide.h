/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The core's question to the policy and the policy's answer to the core. No I/O.
 */
#pragma once

#include "broker/core/core.h"
#include "broker/policy/policy.h"

/* Points into its arguments. `source` may be NULL: a name that matches nothing. */
void decide_query(const struct core_device *device, const struct core_qube *source, const char *target,
		  bool target_is_dom0, struct policy_query *ret_query);

/* `policy` NULL: it is broken, everything is denied and the rule is `error`, cut to its place. */
void decide(const struct policy *policy, const char *error, const struct core_device *device,
	    const struct core_qube *source, const struct core_qube *target, struct core_decision *ret_decision);

/* Who decided: "30-user.policy:4", or why nobody did. */
void decide_rule(const struct policy_verdict *verdict, const char *error, char ret_rule[LIMIT_RULE_TEXT]);
