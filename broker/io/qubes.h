/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which qubes run, and at which port the agent of each listens. Facts come from xenstore, or, for development, from a
 * directory; dom0 is always there. A qube is (domain id, UUID, start time): when one of them differs, the former qube
 * is gone before the new one starts (DI01).
 *
 * A qube may write its own agent's port as often as it likes: changes are gathered, and a qube that writes too fast is
 * looked at every few seconds only (RX04).
 */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "broker/core/core.h"

struct qubes;

struct qubes_hooks {
	/*
	 * 0 and *ret_qube, or CORE_EVENT_FULL: it will be offered again. `start` differs between two starts of one
	 * UUID, and stays as long as that start lasts, whoever asks.
	 */
	int (*started)(void *userdata, uint16_t domid, const uint8_t uuid[16], const char *name, const char *start,
		       struct core_qube_ref *ret_qube);
	void (*gone)(void *userdata, struct core_qube_ref qube);
	void (*port)(void *userdata, struct core_qube_ref qube, uint32_t port); /* 0: no agent listens */
};

/*
 * Both read the present state before they return (the hooks are called), then follow changes.
 *
 * The directory has a file DIR/qubes/<domid> with one line "name uuid" per running qube (made by renaming it there: a
 * new file is a new start), and DIR/<domid>-device-agent.port with the agent's port. 0 or a negative errno.
 */
int qubes_new_xen(sd_event *event, const struct qubes_hooks *hooks, void *userdata, struct qubes **ret_qubes);
int qubes_new_directory(sd_event *event, const char *directory, const struct qubes_hooks *hooks, void *userdata,
			struct qubes **ret_qubes);
struct qubes *qubes_free(struct qubes *qubes);
