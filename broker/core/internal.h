/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the core share. Invariants:
 *   - core->active holds exactly the devices that are not FREE; so walks over attachments cost what is attached;
 *   - an attachment's handler changes its own device only; it may take that device out of `active` (the last one
 *     takes its place), so walks over `active` run from the end to the start.
 */
#pragma once

#include "broker/core/core.h"

struct core {
	uint64_t session_epoch;
	uint32_t n_sessions;
	uint32_t n_incarnations;
	void (*emit)(void *userdata, const struct core_action *action);
	void *userdata;
	uint64_t now_usec; /* of the event that is being handled */
	unsigned int n_active;
	struct core_device *active[LIMIT_QUBES * LIMIT_DEVICES];
	struct core_qube qubes[LIMIT_QUBES];
};

/* What can happen to one attachment: the rows of the table in attachment.c. */
enum input_type {
	IN_ATTACH, /* a user asks; everything that is not the attachment's own state has been checked */
	IN_DETACH,
	IN_AUDITED,
	IN_AUDIT_FAILED,
	IN_EXPORTED,
	IN_IMPORTED,
	IN_SOURCE_CLOSED, /* proven: nothing of the session is left on that side */
	IN_TARGET_CLOSED,
	IN_SOURCE_LOST, /* its agent is lost: nobody knows what goes on there */
	IN_TARGET_LOST,
	IN_SOURCE_STILL, /* its agent is back and says that the stream still runs */
	IN_TARGET_STILL,
	IN_SOURCE_GONE, /* the source qube itself is gone, and the device with it */
	IN_UNPLUGGED,
	IN_TIMEOUT,
	INPUT_COUNT,
};

struct input {
	enum input_type type;
	enum outcome outcome;        /* why, for all that ends something */
	uint64_t token;              /* ATTACH, DETACH */
	struct core_qube_ref target; /* ATTACH, DETACH */
};

/* attachment.c: the state machine. 0 or CORE_EVENT_IGNORED. */
int attachment_handle(struct core *core, struct core_device *device, const struct input *input);
void attachment_answer(struct core *core, const struct core_device *device, uint64_t token, enum core_answer answer);
struct core_device *attachment_find(struct core *core, uint64_t session);

/* inventory.c: qubes and devices; each handles one core_event, `qube` is the living qube that it names. */
int inventory_qube_started(struct core *core, const struct core_event *event, struct core_qube_ref *ret_qube);
int inventory_qube_gone(struct core *core, struct core_qube *qube, const struct core_event *event);
int inventory_agent_ready(struct core *core, struct core_qube *qube, const struct core_event *event);
int inventory_agent_session(struct core *core, struct core_qube *qube, const struct core_event *event);
int inventory_agent_lost(struct core *core, struct core_qube *qube, const struct core_event *event);
int inventory_list_begin(struct core *core, struct core_qube *qube, const struct core_event *event);
int inventory_device(struct core *core, struct core_qube *qube, const struct core_event *event);
int inventory_device_gone(struct core *core, struct core_qube *qube, const struct core_event *event);
int inventory_list_end(struct core *core, struct core_qube *qube, const struct core_event *event);
bool inventory_stray_closed(struct core_qube *qube, uint64_t session); /* true: it was one */
struct core_qube *inventory_qube(struct core *core, struct core_qube_ref ref);

static inline bool same_qube(struct core_qube_ref a, struct core_qube_ref b)
{
	return a.index == b.index && a.incarnation == b.incarnation;
}
