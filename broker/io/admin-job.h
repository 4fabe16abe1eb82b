/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of calls share: admin-calls.c (what Qubes has), admin-assign.c (what is stored), admin-own.c (what is
 * ours).
 */
#pragma once

#include "broker/core/assignments.h"
#include "broker/core/denied.h"
#include "broker/core/labels.h"
#include "broker/io/admin-calls.h"
#include "broker/io/admin-device.h"

#define ADMIN_DEVICES_MAX (LIMIT_QUBES * LIMIT_DEVICES)
#define ADMIN_EVERY_CLASS 0xffu /* in job->class_id: of a call of ours about a device, until it is found */
#define ADMIN_HALTED_MAX (LIMIT_ASSIGNMENTS + LIMIT_DENIED_QUBES)

enum admin_need { ADMIN_NONE, ADMIN_OPTIONAL, ADMIN_REQUIRED };
enum admin_where {
	ADMIN_DOM0,    /* the destination must be dom0 */
	ADMIN_KNOWN,   /* dom0, a qube that runs, or one that something is stored about */
	ADMIN_BY_NAME, /* any name of a qube */
};
/*
 * Whom qrexec may bring it from, beside dom0. A line of its policy lets one call through, from one qube, about one
 * destination: a call that does more than what its name and its destination say is dom0's.
 */
enum admin_from {
	ADMIN_FROM_QUBES,  /* it reads */
	ADMIN_SELDOM_ONLY, /* it changes something or leaves a record: LIMIT_ADMIN_SELDOM_* of a qube */
	ADMIN_FROM_DOM0,
};

struct admin_call {
	const char *name;
	enum admin_from from;
	enum admin_need argument, payload;
	enum admin_where where;
	enum admin_verdict (*run)(struct admin_job *job);
};

/* Each ends with name NULL; those of devices are about a class. */
extern const struct admin_call admin_calls[], admin_device_calls[];
extern const struct admin_call admin_assign_calls[], admin_assign_device_calls[], admin_own_calls[];

/* Writes an exception. */
enum admin_verdict admin_refuse(const struct admin_job *job, const char *type, const char *text);

/* An assignment of what the argument names, to be attached automatically, with the options of the payload. */
enum admin_verdict admin_assign_automatically(struct admin_job *job);

/* The lines of admin.vm.List, each with `before` in front; of one qube or (NULL) of all. */
void admin_write_qubes(struct admin_job *job, const char *before, const char *only);
/* A line of ...Assigned. */
void admin_write_assignment(struct admin_writer *writer, const struct core_assignment *assignment);

/* device.Snapshot (admin-snapshot.c). */
enum admin_verdict admin_call_snapshot(struct admin_job *job);

/* How the API shows the mode of an attachment to `target`: of the stored assignment that fits it, or "manual". */
const char *admin_mode_of(const struct core *core, const char *target, const struct core_device *device);

/* Hands a change to the broker. 0, an enum of core_handle(); a negative errno: the refusal is written. */
int admin_change(struct admin_job *job, const struct core_event *event);

struct admin_found {
	const char *backend;
	const struct core_device *device;
};

/*
 * The devices of the job's class that `wanted` (NULL: any) names, of `backend` (NULL: any), used by `target` (NULL:
 * whoever, or nobody), sorted. `ret_found` has ADMIN_DEVICES_MAX places.
 */
size_t admin_find_devices(const struct admin_job *job, const struct admin_device *wanted,
			  const struct core_qube *backend, const struct core_qube *target,
			  struct admin_found *ret_found);

/* The one device that the argument names, of the job's class or of every one: then the job's is set. 0, or the refusal is written. */
int admin_find_one(struct admin_job *job, struct admin_found *ret_found);

/* Names of qubes that do not run and about which something is stored, sorted, each once. */
size_t admin_find_halted(const struct core *core, char (*ret_names)[LIMIT_QUBE_NAME + 1]);

/* What a payload said beside what the request says anyway. */
struct admin_payload {
	char mode[16];                      /* "": not said */
	char device_id[CORE_DEVICE_ID_MAX]; /* in the API's form; "" */
	char from[LIMIT_QUBE_NAME + 1];
	struct admin_said said;
	bool persistent; /* 4.2 */
};

/* What may be in it. */
enum admin_payload_may { ADMIN_MAY_FROM = 1, ADMIN_MAY_FOLLOW = 2 };

/* An attach of 4.2 that is to last: what 4.3 calls an assignment to be attached automatically. */
bool admin_payload_persists(struct admin_span untrusted_payload);

/*
 * Reads key='value'... (4.2: key=value); what repeats the request must not say otherwise: each of `expected` (pairs,
 * NULL at the end), of which a port or id may also be "*". 0, or the refusal is written.
 */
int admin_read_payload(struct admin_job *job, const char *const *expected, unsigned int may,
		       struct admin_payload *ret_payload);
