/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each class of devices needs at either end before its session begins: the device is looked at once more and opened, or the place
 * where it is to appear is found or made.
 */
#pragma once

#include "proxies/agent/identity.h"
#include "proxies/agent/sessions.h"
#include "proxies/agent/video.h"

/* What this qube has for that; all but the sessions may be NULL. */
struct attach_means {
	struct sessions *sessions;
	struct sound *sound;
	struct video *video;
	struct loopback *loopback;
	bool memory_raised; /* usbfs', or that was tried in vain */
};

/* Begin the session of an EXPORT (of a device that is listed so) or an IMPORT. OUTCOME_OK: it is in the table, and answers by itself. */
enum outcome attach_export(struct attach_means *means, const struct wire_message *message,
			   const struct identity *identity);
enum outcome attach_import(struct attach_means *means, const struct wire_message *message);
