// SPDX-License-Identifier: GPL-2.0-or-later
/* See decide.h. */
#include "broker/io/decide.h"

#include <stdio.h>
#include <string.h>

#include "broker/io/device-class.h"

void decide_query(const struct core_device *device, const struct core_qube *source, const char *target,
		  bool target_is_dom0, struct policy_query *ret_query)
{
	*ret_query = (struct policy_query){
		.class_name = device_class_name(device->class_id),
		.port = device->port,
		.vendor = device->vendor,
		.product = device->product,
		.serial = device->serial,
		.n_interfaces = device->n_interfaces,
		.interfaces = device->interfaces,
		.source = source ? source->name : NULL,
		.target = target,
		.source_is_dom0 = source && source->domid == 0,
		.target_is_dom0 = target_is_dom0,
	};
}

void decide_rule(const struct policy_verdict *verdict, const char *error, char ret_rule[LIMIT_RULE_TEXT])
{
	_Static_assert(LIMIT_POLICY_FILE_NAME + sizeof(":4294967295") <= LIMIT_RULE_TEXT, "a rule's place has room");

	switch (verdict->why) {
	case POLICY_WHY_BROKEN:
		(void)snprintf(ret_rule, LIMIT_RULE_TEXT, "%s", error ? error : "the policy is broken");
		break;
	case POLICY_WHY_NO_RULE:
		(void)snprintf(ret_rule, LIMIT_RULE_TEXT, "no rule");
		break;
	case POLICY_WHY_RULE:
		(void)snprintf(ret_rule, LIMIT_RULE_TEXT, "%s:%u", verdict->file, verdict->line);
		break;
	}
}

void decide(const struct policy *policy, const char *error, const struct core_device *device,
	    const struct core_qube *source, const struct core_qube *target, struct core_decision *ret_decision)
{
	static const enum core_verdict verdicts[POLICY_ACTION_COUNT] = {[POLICY_DENY] = CORE_VERDICT_DENY,
									[POLICY_ASK] = CORE_VERDICT_ASK,
									[POLICY_ALLOW] = CORE_VERDICT_ALLOW};
	struct policy_query query;
	struct policy_verdict verdict;

	decide_query(device, source, target->name, target->domid == 0, &query);
	policy_decide(policy, &query, &verdict);
	*ret_decision = (struct core_decision){.verdict = verdicts[verdict.action],
					       .max_time_usec = verdict.max_time_usec,
					       .end_parts = verdict.end_parts};
	decide_rule(&verdict, error, ret_decision->rule);
	(void)strcpy(ret_decision->default_target, verdict.default_target);
}
