/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the API's listeners hear of the core's actions. Pure: an action in, events out through a callback. Names and
 * fields are Qubes' where Qubes has the event; ours end in ":CLASS" too, for its client takes them apart there.
 *
 *     device-added:CLASS, device-removed:CLASS, device-list-change:CLASS   the device's qube
 *     device-pre-attach:CLASS, device-attach:CLASS   the target; device, options
 *     device-pre-detach:CLASS, device-detach:CLASS   the target; port. There is no "pre" where it is proven at once
 *     device-limit-near:CLASS      the target; device, seconds that are left
 *     device-attach-failed:CLASS   the target of an assignment that was given up; device, reason
 *     device-restore-failed:CLASS  the target; device, reason: what was attached before is not so again
 *     device-not-adopted:CLASS     the target; device, reason: after a restart of the broker
 *     (questions are told to dom0's listeners and to who answers them: they name other qubes, and a rule)
 *     device-ask:CLASS             the device's qube; question, device, description, rule, targets, default, seconds
 *     device-ask-end:CLASS         the device's qube; question, device, end
 */
#pragma once

#include <stdbool.h>

#include "broker/core/core.h"

enum admin_audience {
	ADMIN_TO_LISTENERS,      /* to events */
	ADMIN_TO_DOM0_LISTENERS, /* of these, dom0's own */
	ADMIN_TO_ANSWERERS,      /* who answer questions */
};

struct admin_teller {
	/* `fields`: key, value, ..., NULL. */
	void (*tell)(void *userdata, enum admin_audience to, const char *subject, const char *event,
		     const char *const *fields);
	void *userdata;
};

/* Every event of this action; none, for an action that concerns no listener. */
void admin_tell_action(const struct core *core, const struct core_action *action, const struct admin_teller *teller);

/* An open question. */
void admin_tell_question(const struct core *core, const struct core_question *question, enum admin_audience to,
			 const struct admin_teller *teller);
