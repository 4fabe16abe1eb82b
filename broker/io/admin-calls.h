/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each call of the Admin API does. Pure: a request and the core's state in, reply bytes or a wish out; the
 * server (admin.c) has the sockets.
 */
#pragma once

#include "broker/core/core.h"
#include "lib/admin/reply.h"

enum admin_verdict {
	ADMIN_REPLY,  /* the reply is written */
	ADMIN_ATTACH, /* ask the broker; the reply comes from admin_write_answer() */
	ADMIN_DETACH,
	ADMIN_LISTEN, /* from now on events */
};

/* What an attach or a detach is about, in words, for its answer and for the log. */
struct admin_subject {
	bool detach;
	char device[LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT]; /* "sys-usb:1-2" */
	char backend[LIMIT_QUBE_NAME + 1];
	char target[LIMIT_QUBE_NAME + 1];
};

struct admin_job {
	const struct core *core;
	const struct admin_request *request;
	struct admin_writer *reply;

	/* Found by admin_run(): the destination. */
	char dest_name[LIMIT_QUBE_NAME + 1];
	const struct core_qube *dest; /* NULL for dom0 unless the core knows it */
	bool dest_is_dom0;
	uint8_t class_id; /* of admin.vm.device.CLASS.*; 0: of which there are no devices */

	/* Set for ADMIN_ATTACH and ADMIN_DETACH. */
	struct core_device_ref device;
	struct core_qube_ref target;
	struct admin_subject subject;
};

/*
 * A qube's name in the API; NULL: it is not shown. dom0 has that name and no other qube does; of two with one name
 * (while it restarts) the younger is shown.
 */
const char *admin_shown_name(const struct core *core, const struct core_qube *qube);

/* core, request and reply are set; the rest is for here. */
enum admin_verdict admin_run(struct admin_job *job);

/* The reply to an attach or detach, from the core's answer. */
void admin_write_answer(struct admin_writer *writer, const struct admin_subject *subject,
			const struct core_action *action);
