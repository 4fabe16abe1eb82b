/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The broker put together: the core in the middle, and around it the agents, the qubes, dom0's devices, the policy, the
 * audit log, what is kept, the machine's sleep and the API's server. Everything that happens becomes a core event here, and each action of the core goes to whom it
 * concerns.
 */
#pragma once

#include <systemd/sd-event.h>

#include "lib/channel/channel.h"

struct broker;

struct broker_config {
	struct channel_backend *backend;
	const char *qubes_directory; /* of the `socket` channels; NULL: xenstore tells which qubes run */
	int state_dir;
	const char *policy_dir;
	const char *socket_path;
	const char *group;
};

/*
 * Two steps, because the first may need root and the second must not have it: broker_new() opens the audit log and what
 * was kept; broker_start() reads the policy, serves the API and reads what qubes and devices there are. Takes no ownership of the config. 0 or a
 * negative errno, which is logged with what it was about.
 */
int broker_new(sd_event *event, const struct broker_config *config, struct broker **ret_broker);
int broker_start(struct broker *broker);
struct broker *broker_free(struct broker *broker);

/* Runs the event loop until it is told to exit. Its exit code, or a negative errno. */
int broker_run(struct broker *broker);
