/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Assignments: which device is to be attached to which qube when both are there, as Qubes stores them. Pure.
 *
 * An assignment names one target and one source qube, and a port, a device id, both or neither ("any"). Of those that
 * fit a device the most specific decide, in Qubes' order (core-admin, qubes/device_protocol.py, VirtualDevice.__lt__):
 *
 *     port and device  >  port, any device  >  any port, device  >  any port, any device
 *
 * A port is where something is plugged in, not what the kernel calls it in this boot: an assignment that has the path of
 * its port fits what has that path. One that was made while nothing was there has only the name, and fits by that until
 * it has learnt the path; so does a device whose agent does not say its path. Port names are not unique among
 * assignments: those of a source that has not listed all its devices again are as old as its last list.
 *
 * Only running targets count. When one assignment decides and it is automatic, the device is attached; when it is
 * ask-to-attach, or several targets are equally specific, the user is asked which. (Qubes asks whenever two qubes have a
 * fitting assignment, of whatever rank; here the more specific one is the answer.)
 *
 * Nothing is guessed: a device whose interfaces are unknown fits no device id, a device with other interfaces than when
 * the assignment was made has another id (UD16), and where "any port, device" fits two devices that are present (twins
 * without a serial, or one that pretends to be the other: UD13) the user is asked for each, told apart by their ports.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/core.h"

enum core_assign_mode {
	CORE_ASSIGN_AUTO,
	CORE_ASSIGN_ASK,
	CORE_ASSIGN_REQUIRED,
	CORE_ASSIGN_MODE_COUNT,
};

struct core_assignment {
	uint8_t class_id; /* enum wire_class */
	char target[LIMIT_QUBE_NAME + 1];
	char source[LIMIT_QUBE_NAME + 1];
	char port[LIMIT_PORT_TEXT];         /* "": any; as it was called when it was seen last */
	char path[LIMIT_PATH_TEXT];         /* of the port; "": not known, or any port */
	char device_id[CORE_DEVICE_ID_MAX]; /* "": any; compared as it is, byte by byte, with core_device_id() */
	enum core_assign_mode mode;
	bool follow_port;       /* the device may come back on this port as another one and keeps its attachment */
	uint64_t max_time_usec; /* 0: no limit; at most INT64_MAX */
	struct core_picture picture;
};

enum {
	CORE_ASSIGN_DUPLICATE = 1, /* assignment_compare() says that they are the same */
	CORE_ASSIGN_FULL,          /* LIMIT_ASSIGNMENTS */
	CORE_ASSIGN_UNFIT,         /* assignment_is_fit() says no */
	CORE_ASSIGN_UNKNOWN,       /* there is none that is the same */
};

struct assignments; /* half a megabyte; made once at start, nothing is allocated after */
struct assignments *assignments_new(void);
struct assignments *assignments_free(struct assignments *table);
unsigned int assignments_count(const struct assignments *table); /* assignments */

/*
 * Names are qubes' names, source and target differ; port and device id begin with a letter or digit and are printable, a
 * port without space; a path is one, and of a port; class and mode exist; what is asked of pictures is fit for the class.
 */
bool assignment_is_fit(const struct core_assignment *assignment);

/*
 * The order of the table: target, class, source, place, device id. 0: these five, which identify it, are the same. The
 * place is the path, or the port's name where no path is known (those come first).
 */
int assignment_compare(const struct core_assignment *a, const struct core_assignment *b);

/* Copies. 0, CORE_ASSIGN_DUPLICATE, _FULL or _UNFIT. */
int assignments_add(struct assignments *table, const struct core_assignment *assignment);

/* These find by what identifies `key`. 0 or CORE_ASSIGN_UNKNOWN. */
int assignments_remove(struct assignments *table, const struct core_assignment *key);

/*
 * Puts `changed`, which is fit, in the place of `key`: another place, or the same one with another mode or options. When
 * there is another one already that names the same as `changed`, that one stays and `key` goes.
 */
int assignments_replace(struct assignments *table, const struct core_assignment *key,
			const struct core_assignment *changed);

/* Does it name this device, which is one of the present devices of `source`? Whatever the target is doing. */
bool assignment_fits(const struct core_assignment *assignment, const struct core_qube *source,
		     const struct core_device *device);

/* How many name that source qube. */
unsigned int assignments_of_source(const struct assignments *table, const char *source);

/* NULL: none. Pointers are valid until the next change. */
const struct core_assignment *assignments_find(const struct assignments *table, const struct core_assignment *key);

/*
 * One that a user who names what `wanted` names could mean: the same in all but the place, and either the same place,
 * or, when a path is missing in one of the two, a port of that name. NULL: none.
 */
const struct core_assignment *assignments_find_named(const struct assignments *table,
						     const struct core_assignment *wanted);

/* Walks in the table's order from *cursor = 0; NULL at the end. */
const struct core_assignment *assignments_next(const struct assignments *table, unsigned int *cursor);

enum core_match_result {
	CORE_MATCH_NONE,
	CORE_MATCH_ONE, /* attach to offered[0] */
	CORE_MATCH_ASK, /* ask which of offered[], or none */
};

struct core_match {
	enum core_match_result result;
	bool twins; /* ASK because another present device has the same id: name the port in the question */
	unsigned int n_offered;
	unsigned int n_left_out; /* targets beyond LIMIT_OFFERED */
	/* equally specific, one per target (the one with a path, if there are two), by the targets' names; until the next change of the table */
	const struct core_assignment *offered[LIMIT_OFFERED];
};

/* `device` is one of the present devices of `source`. */
void assignments_match(const struct assignments *table, const struct core_qube *source,
		       const struct core_device *device, bool (*is_running)(void *userdata, const char *target),
		       void *userdata, struct core_match *ret_match);

/* Is another device of the same class and id present in `source`? Unknown interfaces have no id and so no twin. */
bool assignments_has_twin(const struct core_qube *source, const struct core_device *device);
