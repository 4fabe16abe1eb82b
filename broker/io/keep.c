// SPDX-License-Identifier: GPL-2.0-or-later
/* See keep.h. Invariant: the store has what the core has, or more: a change reaches the store first. */
#include "broker/io/keep.h"

#include <errno.h>
#include <string.h>

#include "broker/core/assignments.h"
#include "broker/core/denied.h"
#include "broker/io/agents.h"
#include "broker/io/session-record.h"
#include "broker/io/store-records.h"
#include "lib/base/base.h"
#include "lib/base/log.h"

struct keep {
	struct store *store;
	char boot[SESSION_BOOT_TEXT];
	struct core_assignment orphan; /* stored and in no table, because it could not be taken back; target "": none */
};

static int check(enum store_kind kind, const char *key, const char *value)
{
	struct core_memory memory;

	if (kind == STORE_SESSION)
		return session_record_read(key, value, NULL, &memory) == 0 ? 0 : STORE_UNFIT;
	return records_check(kind, key, value);
}

static void cleanup_keep(struct keep **keep)
{
	*keep = keep_free(*keep);
}

struct keep *keep_free(struct keep *keep)
{
	if (!keep)
		return NULL;
	store_free(keep->store);
	free(keep);
	return NULL;
}

int keep_new(int state_dir, struct keep **ret_keep)
{
	_cleanup_(cleanup_keep) struct keep *keep = calloc(1, sizeof(*keep));
	int r;

	if (!keep)
		return -ENOMEM;
	r = session_record_boot(keep->boot);
	if (r < 0) {
		log_error("which boot of the machine this is cannot be read: %s", strerror(-r));
		return r;
	}
	r = store_new(state_dir, check, &keep->store);
	if (r < 0)
		return r;
	*ret_keep = TAKE_PTR(keep);
	return 0;
}

const char *keep_fault(const struct keep *keep)
{
	return store_fault(keep->store);
}

int keep_recover(int state_dir, unsigned int *ret_n_kept, unsigned int *ret_n_lost)
{
	return store_recover(state_dir, check, ret_n_kept, ret_n_lost);
}

/* ---- at start ----------------------------------------------------------------------------------------------------- */

/* Two that mean the same are what a crash left of one that learnt its path: the core has taken the first. */
static void load_assignments(const struct keep *keep, const struct assignments *assignments,
			     int (*handle)(void *userdata, const struct core_event *event), void *userdata)
{
	struct core_event event = {.type = CORE_ASSIGNED};
	unsigned int cursor = 0;

	while ((event.assignment = assignments_next(assignments, &cursor)))
		if (handle(userdata, &event) == CORE_EVENT_EXISTS &&
		    records_remove_assignment(keep->store, event.assignment) != 0)
			log_warning("an assignment is stored twice and stays so");
}

static void load_denied(const struct denied *denied, int (*handle)(void *userdata, const struct core_event *event),
			void *userdata)
{
	const char *qube, *pattern;
	unsigned int cursor = 0;

	while ((qube = denied_next_qube(denied, &cursor))) {
		struct core_event event = {.type = CORE_DENIED};
		unsigned int patterns = 0;

		(void)strcpy(event.denied.qube, qube);
		while ((pattern = denied_next(denied, qube, &patterns)))
			(void)strcpy(event.denied.patterns[event.denied.n_patterns++], pattern);
		(void)handle(userdata, &event);
	}
}

static void load_labels(const struct keep *keep, int (*handle)(void *userdata, const struct core_event *event),
			void *userdata)
{
	struct core_event event = {.type = CORE_LABELED};
	const char *key, *text;
	unsigned int cursor = 0;

	while (store_next(keep->store, STORE_LABEL, &cursor, &key, &text)) {
		(void)strcpy(event.label.key, key);
		(void)strcpy(event.label.text, text);
		(void)handle(userdata, &event);
	}
}

/* Those of another boot go; the store must not change under the walk, so they are removed after it. */
static void drop_useless(struct keep *keep)
{
	char useless[LIMIT_STORED_SESSIONS][SESSION_KEY_TEXT];
	const char *key, *value;
	unsigned int cursor = 0, n = 0;
	struct core_memory memory;
	int r = 0;

	while (store_next(keep->store, STORE_SESSION, &cursor, &key, &value))
		if (session_record_read(key, value, keep->boot, &memory) == SESSION_RECORD_OTHER_BOOT)
			(void)strcpy(useless[n++], key);
	while (n > 0 && r == 0)
		r = store_remove(keep->store, STORE_SESSION, useless[--n]);
	if (r < 0)
		log_warning("memories of another boot stay: %s", strerror(-r));
}

static void load_memories(struct keep *keep, int (*handle)(void *userdata, const struct core_event *event),
			  void *userdata)
{
	struct core_event event = {.type = CORE_REMEMBER};
	const char *key, *value;
	unsigned int cursor = 0, n_left_out = 0;

	while (store_next(keep->store, STORE_SESSION, &cursor, &key, &value)) {
		if (session_record_read(key, value, keep->boot, &event.memory) != 0)
			continue;
		n_left_out += handle(userdata, &event) != 0;
	}
	if (n_left_out > 0)
		log_warning("%u sessions more than can be remembered: their streams will be stopped", n_left_out);
}

int keep_load(struct keep *keep, int (*handle)(void *userdata, const struct core_event *event), void *userdata)
{
	struct assignments *assignments = assignments_new();
	struct denied *denied = denied_new();
	int r = assignments && denied ? 0 : -ENOMEM;

	if (r == 0 && keep_fault(keep))
		log_error("%s; nothing will be attached until then", keep_fault(keep));
	if (r == 0)
		r = records_load(keep->store, assignments, denied);
	if (r == 0) {
		load_assignments(keep, assignments, handle, userdata);
		load_denied(denied, handle, userdata);
		load_labels(keep, handle, userdata);
		if (!keep_fault(keep))
			drop_useless(keep);
		load_memories(keep, handle, userdata);
	}
	assignments_free(assignments);
	denied_free(denied);
	return r;
}

/* ---- sessions ----------------------------------------------------------------------------------------------------- */

static void life_of(const struct core_qube *qube, struct core_life *ret_life)
{
	ret_life->domid = qube->domid;
	memcpy(ret_life->uuid, qube->uuid, sizeof(ret_life->uuid));
	memcpy(ret_life->name, qube->name, sizeof(ret_life->name));
	memcpy(ret_life->start, qube->start, sizeof(ret_life->start));
}

int keep_session(struct keep *keep, const struct core *core, const struct core_device *device, bool asleep)
{
	const struct core_qube *source = core_find_qube(core, device->ref.qube);
	const struct core_qube *target = core_find_qube(core, device->target);
	struct core_memory memory = {.session = device->session, .device = *device, .asleep = asleep};
	char key[SESSION_KEY_TEXT], text[SESSION_RECORD_TEXT];
	int r;

	if (!source || !target)
		return -ESRCH;
	life_of(source, &memory.source);
	life_of(target, &memory.target);
	memory.agent_incarnation = source->agent_incarnation;
	agents_approved(device, memory.approved);
	session_record_key(device->session, key);
	r = session_record_write(&memory, keep->boot, text, sizeof(text));
	if (r == 0)
		r = store_put(keep->store, STORE_SESSION, key, text);
	if (r > 0)
		r = -ENOSPC;
	if (r < 0)
		log_error("the memory of a session cannot be kept, so nothing will be attached%s: %s",
			  asleep ? ", and a restart during this sleep makes nothing again" : "",
			  keep_fault(keep) ? keep_fault(keep) : strerror(-r));
	return r;
}

void keep_forget(struct keep *keep, uint64_t session)
{
	char key[SESSION_KEY_TEXT];
	int r;

	session_record_key(session, key);
	r = store_remove(keep->store, STORE_SESSION, key);
	if (r < 0)
		log_warning("the memory of a session that has ended stays: %s",
			    keep_fault(keep) ? keep_fault(keep) : strerror(-r));
}

/* ---- changes ------------------------------------------------------------------------------------------------------ */

/* What the store says, as what the core would say. */
static int outcome_of(const struct keep *keep, int r, const char **ret_why)
{
	if (r < 0) {
		*ret_why = keep_fault(keep) ? keep_fault(keep) : strerror(-r);
		return r;
	}
	if (r == STORE_FULL)
		return CORE_EVENT_FULL;
	return r == 0 ? 0 : CORE_EVENT_IGNORED;
}

/* 0, or a negative errno: it is still there, and would be an assignment again at the next start. */
static int drop_orphan(struct keep *keep)
{
	int r = keep->orphan.target[0] ? records_remove_assignment(keep->store, &keep->orphan) : 0;

	if (r >= 0)
		keep->orphan.target[0] = '\0';
	return r < 0 ? r : 0;
}

static int change_denied(struct keep *keep, const struct core_event *event)
{
	struct denied *denied = denied_new();
	int r = denied ? 0 : -ENOMEM;

	for (unsigned int i = 0; i < event->denied.n_patterns && r == 0; i++)
		if (denied_add(denied, event->denied.qube, event->denied.patterns[i]) != 0)
			r = STORE_UNFIT;
	if (r == 0)
		r = records_put_denied(keep->store, denied, event->denied.qube);
	denied_free(denied);
	return r;
}

static int change_assignment(struct keep *keep, const struct core *core, const struct core_event *event)
{
	const struct core_assignment *stored = assignments_find(core_assignments(core), event->assignment);

	if (event->type == CORE_ASSIGNED)
		return assignment_is_fit(event->assignment) ? records_put_assignment(keep->store, event->assignment)
							    : STORE_UNFIT;
	if (!stored)
		return STORE_UNKNOWN;
	return event->type == CORE_UNASSIGNED ? records_remove_assignment(keep->store, stored)
					      : records_put_assignment(keep->store, event->assignment);
}

int keep_change(struct keep *keep, const struct core *core, const struct core_event *event, const char **ret_why)
{
	int r = drop_orphan(keep);

	if (r < 0)
		return outcome_of(keep, r, ret_why);
	if (event->type == CORE_ASSIGNED && assignments_find_named(core_assignments(core), event->assignment))
		return CORE_EVENT_EXISTS;
	if (event->type == CORE_DENIED)
		r = change_denied(keep, event);
	else if (event->type == CORE_LABELED)
		r = records_put_label(keep->store, event->label.key, event->label.text);
	else
		r = change_assignment(keep, core, event);
	return outcome_of(keep, r, ret_why);
}

/*
 * An assignment that learns its path gets another key: the new record is there before the old one goes. Killed in
 * between, the next start finds both, see load_assignments().
 */
int keep_relocate(struct keep *keep, const struct core *core, const struct core_assignment *stored,
		  const struct core_assignment *changed, const char **ret_why)
{
	bool other_key = assignment_compare(stored, changed) != 0;
	bool is_there = other_key && assignments_find(core_assignments(core), changed);
	int r = drop_orphan(keep);

	if (r == 0 && !is_there)
		r = records_put_assignment(keep->store, changed);
	if (r == 0 && other_key) {
		r = records_remove_assignment(keep->store, stored);
		if (r != 0 && !is_there) {
			keep->orphan = *changed;
			(void)drop_orphan(keep);
		}
	}
	if (r < 0)
		*ret_why = keep_fault(keep) ? keep_fault(keep) : strerror(-r);
	else if (r > 0)
		*ret_why =
			r == STORE_FULL ? "there are as many assignments as there may be" : "it is not an assignment";
	return r;
}
