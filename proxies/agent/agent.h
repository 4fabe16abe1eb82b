/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent: what the broker asks, answered from the table of devices and the sessions.
 */
#pragma once

#include <systemd/sd-event.h>

#include "lib/channel/channel.h"
#include "proxies/agent/launch.h"
#include "proxies/agent/publish.h"

struct agent;

struct agent_settings {
	sd_event *event;
	struct channel_backend *backend;
	struct publisher *publisher;
	struct launch_settings launch; /* its texts must outlive the agent */
	uint16_t roles;                /* enum wire_roles bits that are wanted */
	const char *sound_dir;         /* where users' sound servers are; NULL: no sound */
};

/*
 * Cleans up what a killed agent left, looks at the devices, and serves the broker from the next turn of the loop on.
 * `settings` is copied. 0 or a negative errno.
 */
int agent_new(const struct agent_settings *settings, struct agent **ret_agent);

/* Begins the orderly end: all sessions are stopped, then the loop exits with 0, within 3 s. */
void agent_stop(struct agent *agent);

struct agent *agent_free(struct agent *agent);
