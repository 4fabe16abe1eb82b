/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each call of the Admin API does: a request and the core's state in, reply bytes or a wish out; the server
 * (admin.c) has the sockets. No I/O here but through the hooks.
 */
#pragma once

#include "broker/core/core.h"
#include "broker/io/admin.h"
#include "lib/admin/reply.h"

enum admin_verdict {
	ADMIN_REPLY,       /* the reply is written */
	ADMIN_REQUEST,     /* job.event asks the core; the reply comes from admin_write_answer() */
	ADMIN_LISTEN,      /* from now on events */
	ADMIN_LISTEN_ASKS, /* from now on questions; this connection answers them */
	ADMIN_VERIFY,      /* check the audit log, in steps; the reply comes from admin_write_report() */
};

/* What a request is about, in words, for its answer and for the log. */
struct admin_subject {
	uint8_t class_id;                                   /* of the device */
	enum core_event_type type;                          /* ATTACH, DETACH, MOVE, SUSPEND */
	char device[LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT]; /* "sys-usb:1-2" */
	char backend[LIMIT_QUBE_NAME + 1];
	char target[LIMIT_QUBE_NAME + 1];
	char from[LIMIT_QUBE_NAME + 1]; /* MOVE */
	bool by_qube;                   /* qrexec brought it: it is told of no other qube who has the device */
};

/* The longest field of an event: a device, or a deny list. */
#define ADMIN_TOLD_DEVICE (LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT + 1 + CORE_DEVICE_ID_MAX)
#define ADMIN_TOLD_DENIED (7 * LIMIT_DENIED_PATTERNS + 1)
#define ADMIN_TOLD_MAX (ADMIN_TOLD_DEVICE > ADMIN_TOLD_DENIED ? ADMIN_TOLD_DEVICE : ADMIN_TOLD_DENIED)

struct admin_job {
	const struct core *core;
	const struct admin_hooks *hooks;
	void *userdata;          /* of the hooks */
	struct core_user caller; /* the uid is the server's to say, the qube is the request's */
	const struct admin_request *request;
	struct admin_writer *reply;

	/* Found by admin_run(): the destination. */
	char dest_name[LIMIT_QUBE_NAME + 1];
	const struct core_qube *dest; /* NULL: not running, or dom0 unless the core knows it */
	bool dest_is_dom0;
	uint8_t class_id; /* of admin.vm.device.CLASS.*; 0: of which there are no devices */

	/* Set for ADMIN_REQUEST; the token is the server's. */
	struct core_event event;
	struct admin_subject subject;

	/* Set when something was stored: events for listeners about dest_name, with the same fields; "": none. */
	char told_before[64], told_event[64];
	const char *told_fields[7]; /* key, value, ..., NULL */
	char told_texts[2][ADMIN_TOLD_MAX];
};

/*
 * A qube's name in the API; NULL: it is not shown. dom0 has that name and no other qube does; of two with one name
 * (while it restarts) the younger is shown.
 */
const char *admin_shown_name(const struct core *core, const struct core_qube *qube);

/* For which qube a request is made, "": dom0. False: its header names nobody who could make one. */
bool admin_caller(const struct admin_request *request, char ret_qube[LIMIT_QUBE_NAME + 1]);

/* Of a qube's calls: does it change something or leave a record? What is not its own does, too. */
bool admin_is_seldom(const struct admin_request *request);

/* The first seven members are set; the rest is for here. */
enum admin_verdict admin_run(struct admin_job *job);

/* Sets in job what listeners are told of a change of this assignment: "device-" and what, with the class. */
void admin_assignment_told(struct admin_job *job, const char *event, const struct core_assignment *assignment);

/* Why something did not come about (admin-answer.c): by which rule, or in the outcome's words, or in the answer's. */
#define ADMIN_REASON_MAX (LIMIT_RULE_TEXT + sizeof("is denied by "))
const char *admin_reason(const struct core_action *action, char text[ADMIN_REASON_MAX]);

/* The reply to a request, from the core's answer (admin-answer.c). */
void admin_write_answer(struct admin_writer *writer, const struct admin_subject *subject,
			const struct core_action *action);

/* The reply of a check of the audit log that has ended; `r` as audit_check_step() gave it. */
void admin_write_report(struct admin_writer *writer, int r, const struct audit_report *report);
