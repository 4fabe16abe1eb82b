/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The broker's heart: which qubes and devices there are, and for each device the state machine of its attachment.
 * Pure: events and the time come in, actions go out through a sink; no system call, no clock, no allocation.
 *
 * What it guarantees, for every order of events (tests: test-core.c):
 *   - one device has at most one target; a second attach is refused while the first is anything but gone;
 *   - no EXPORT is sent before the audit record of that attach is on disk;
 *   - a device is free again only when its source said that the export is gone, or the source qube itself is gone;
 *     until then it is LOCKED and every attach is refused;
 *   - each user request gets exactly one answer, in bounded time;
 *   - an answer or event about another {slot, generation}, another session or a qube's former incarnation changes
 * nothing.
 *
 *               attach          audited           EXPORTED           IMPORTED
 *     FREE ----------> AUDITING -------> EXPORTING -------> IMPORTING --------> ATTACHED
 *       ^                 | failed          | failed, lost       | failed, lost      | detach, ended, lost, unplugged
 *       +-----------------+                 v                    v                   v
 *       +<--------- source stopped ------- DETACHING <-----------+-------------------+
 *       |                                   | source silent for TIMEOUT_STOP_USEC
 *       +<-- source stopped or gone ------ LOCKED
 *
 * The target's acknowledgement is waited for as well (within the same time), and its absence is told to the user
 * (`confirmed` false), but does not lock the device: once the source's export is gone, no data can flow.
 *
 * Agents that are lost and come back. The death of an agent kills its proxies, the pause of its qube does not; the
 * broker cannot tell which it was. So a session fails at once when either agent is lost: the other side is stopped, and
 * the lost side stays open until there is proof. Proof is: its answer, the end of its qube, or its agent connecting
 * again and not reporting the session before its first list (a reported one is stopped again). While the source's side
 * lacks proof the device is DETACHING, then LOCKED. Its devices stay listed, and cannot be attached, until the agent is
 * back and lists anew (a restarted agent numbers anew: then all former ones are removed first).
 *
 * Strays. A stream that an agent reports and the core does not know (the broker was restarted) is stopped. The report
 * does not say which device it carries, so no device of that qube can be attached until each of its stray exports is
 * confirmed stopped (CORE_ANSWER_LOCKED). A stray import holds nothing: without its export no data flow.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/limits.h"
#include "lib/wire/messages.h"

/* Qubes are slots of a table; {index, incarnation} names one life of one qube and is never re-used. */
struct core_qube_ref {
	uint16_t index;
	uint32_t incarnation;
};

/* A device of one qube; {slot, generation} are the agent's, see messages.h; agent_life tells restarted agents apart. */
struct core_device_ref {
	struct core_qube_ref qube;
	uint32_t agent_life;
	uint16_t slot;
	uint32_t generation;
};

enum core_state {
	CORE_FREE,
	CORE_AUDITING,
	CORE_EXPORTING,
	CORE_IMPORTING,
	CORE_ATTACHED,
	CORE_DETACHING,
	CORE_LOCKED,
	CORE_STATE_COUNT,
};

struct core_device {
	bool used;
	bool present; /* false: unplugged, but its attachment is not yet proven gone */
	struct core_device_ref ref;
	uint8_t class_id; /* enum wire_class */
	uint8_t speed;    /* enum wire_speed */
	uint16_t vendor, product;
	uint8_t n_interfaces;
	uint8_t interfaces[LIMIT_INTERFACES][3];
	uint8_t digest[WIRE_DIGEST];
	char port[LIMIT_PORT_TEXT];
	char serial[WIRE_TEXT]; /* printable ASCII, the wire layer saw to it; empty: none */
	char manufacturer[WIRE_TEXT];
	char product_name[WIRE_TEXT];

	/* The attachment */
	enum core_state state;
	uint64_t session;            /* 0 when FREE */
	struct core_qube_ref target; /* while not FREE */
	char target_name[LIMIT_QUBE_NAME + 1];
	bool source_open, target_open;       /* the side may still have something of this session */
	enum outcome reason;                 /* why it left ATTACHED or failed */
	uint64_t deadline_usec;              /* 0: none */
	uint64_t since_usec;                 /* of `state` */
	uint64_t attach_token, detach_token; /* user requests to answer; 0: none */

	/* The core's own notes */
	bool listed;       /* named since LIST_BEGIN */
	bool was_attached; /* this session reached ATTACHED: its end is a detach, not a failed attach */
	bool source_reported, target_reported; /* by an agent that came back, before its first list */
};

struct core_qube {
	bool used;
	struct core_qube_ref ref;
	uint16_t domid;
	uint8_t uuid[16];
	char name[LIMIT_QUBE_NAME + 1];
	bool agent;                 /* its agent is connected and welcomed */
	bool synced;                /* ... and has begun its first list: all streams that it runs are known */
	uint16_t roles;             /* enum wire_roles bits, 0 without agent */
	uint32_t agent_life;        /* counts the agent's own restarts */
	uint64_t agent_incarnation; /* as the agent says in HELLO */
	bool listing;               /* between LIST_BEGIN and LIST_END */
	unsigned int n_strays;
	uint64_t strays[LIMIT_DEVICES]; /* sessions of exports that must stop before anything can be attached */
	struct core_device devices[LIMIT_DEVICES];
};

struct core_action;
struct core;                                  /* big (64 qubes x 64 devices); made once at start */
struct core *core_new(uint64_t session_epoch, /* high 32 bits of all session numbers: differs at each start */
		      void (*emit)(void *userdata, const struct core_action *action), void *userdata);
struct core *core_free(struct core *core);

enum core_event_type {
	CORE_QUBE_STARTED,  /* .qube_started; answered through ret in core_handle(): the new ref */
	CORE_QUBE_GONE,     /* the domain was destroyed or shut down: nothing of it is left */
	CORE_AGENT_READY,   /* HELLO was right; .agent_ready */
	CORE_AGENT_SESSION, /* a SESSION report after HELLO: a stream that this agent still runs; .agent_session */
	CORE_AGENT_LOST,    /* control channel closed, cut or silent; the domain may live on */
	CORE_LIST_BEGIN,    /* devices that are not named until LIST_END have gone */
	CORE_DEVICE,        /* a whole device (DEVICE..DEVICE_COMMIT); .device */
	CORE_DEVICE_GONE,   /* .slot, .generation */
	CORE_LIST_END,
	CORE_EXPORTED,     /* .session */
	CORE_IMPORTED,     /* .session */
	CORE_STOPPED,      /* .session: this side has nothing of it left */
	CORE_FAILED,       /* .session, .outcome: EXPORT or IMPORT failed; that side has nothing of it left */
	CORE_ENDED,        /* .session, .outcome: the stream ended by itself; that side has nothing of it left */
	CORE_AUDITED,      /* .session: the record is on disk */
	CORE_AUDIT_FAILED, /* .session */
	CORE_ATTACH,       /* a user asks; .request */
	CORE_DETACH,       /* a user asks; .request (target: the qube it must be attached to) */
	CORE_TICK,         /* time passed: call when core_next_deadline() is reached */
	CORE_EVENT_COUNT,
};

struct core_event {
	enum core_event_type type;
	uint64_t now_usec; /* CLOCK_BOOTTIME */
	struct core_qube_ref
		qube; /* whom it concerns: all but QUBE_STARTED, AUDITED, AUDIT_FAILED, ATTACH, DETACH, TICK */
	union {
		struct {
			uint16_t domid;
			uint8_t uuid[16];
			char name[LIMIT_QUBE_NAME + 1];
		} qube_started;
		struct {
			uint16_t roles;
			uint64_t incarnation;
		} agent_ready;
		struct {
			uint64_t session;
			uint8_t side;
		} agent_session;
		struct core_device device; /* the descriptive fields and ref.slot, ref.generation */
		struct {
			uint16_t slot;
			uint32_t generation;
		} gone;
		struct {
			uint64_t session;
			enum outcome outcome;
		} session;
		struct {
			uint64_t token; /* not 0, given back in CORE_ANSWER */
			struct core_device_ref device;
			struct core_qube_ref target;
		} request;
	};
};

enum core_action_type {
	CORE_DO_AUDIT,  /* write and fsync the record of this attach, then CORE_AUDITED or CORE_AUDIT_FAILED */
	CORE_DO_NOTE,   /* an audit record of a transition, nothing waits for it: .outcome, .state is the new one */
	CORE_DO_EXPORT, /* send EXPORT to the source's agent */
	CORE_DO_IMPORT, /* send IMPORT to the target's agent */
	CORE_DO_STOP_SOURCE, /* send STOP to the source's agent */
	CORE_DO_STOP_TARGET,
	CORE_DO_STOP_STRAY,   /* send STOP for .session to .qube's agent: a stream that is not ours (any more) */
	CORE_DO_ANSWER,       /* to the user's request .token: .answer, .outcome, .confirmed */
	CORE_DO_DEVICE_ADDED, /* for the API's listeners */
	CORE_DO_DEVICE_REMOVED,
	CORE_DO_ATTACHED,
	CORE_DO_DETACHED, /* what was ATTACHED is proven gone; .device still names the target */
};

/* How a user's request ended. */
enum core_answer {
	CORE_ANSWER_DONE,
	CORE_ANSWER_FAILED,    /* .outcome says why; everything was undone */
	CORE_ANSWER_NO_DEVICE, /* no such {slot, generation} */
	CORE_ANSWER_NO_QUBE,   /* the target is not running */
	CORE_ANSWER_SELF,      /* source and target are the same qube */
	CORE_ANSWER_IN_USE,    /* attached, or on its way, to .device->target_name */
	CORE_ANSWER_ALREADY,   /* already attached to this very qube */
	CORE_ANSWER_DETACHING, /* its last attachment is just being ended */
	CORE_ANSWER_LOCKED,    /* an earlier detach is under way or not confirmed yet */
	CORE_ANSWER_NO_SOURCE_AGENT,
	CORE_ANSWER_NO_TARGET_AGENT, /* no agent there, or one that cannot import */
	CORE_ANSWER_NOT_ATTACHED,    /* detach: not attached to that qube */
	CORE_ANSWER_NOT_CONFIRMED,   /* detach: the source did not confirm in time; the device is LOCKED */
	CORE_ANSWER_COUNT,
};

struct core_action {
	enum core_action_type type;
	uint64_t session;
	struct core_qube_ref qube; /* whom to send to (EXPORT, IMPORT, STOP*) */
	/* Valid during the call; NULL for STOP_STRAY and for an answer about no device. */
	const struct core_device *device;
	enum outcome outcome;
	enum core_state state;
	uint64_t token;
	enum core_answer answer;
	/*
	 * DO_ANSWER: of a detach that was done: the target said so too; of a failed attach: everything is proven to be
	 * undone (false: the device may be LOCKED).
	 */
	bool confirmed;
};

/*
 * Handles one event. 0, or CORE_EVENT_IGNORED (stale reference, unknown session, not allowed now: nothing changed).
 * For CORE_QUBE_STARTED *ret_qube (may be NULL otherwise) is the new qube; a living qube of the same domain id is gone
 * first. CORE_EVENT_FULL: LIMIT_QUBES or LIMIT_DEVICES are there already, nothing was added. CORE_EVENT_CHEATED: an
 * agent contradicts itself (a slot beyond LIMIT_DEVICES, one {slot, generation} with two identities, more streams than
 * devices): nothing changed, cut it off. CORE_TICK may come early or late.
 * emit() must not call core_handle(); it may read the core.
 */
enum { CORE_EVENT_IGNORED = 1, CORE_EVENT_FULL, CORE_EVENT_CHEATED };
int core_handle(struct core *core, const struct core_event *event, struct core_qube_ref *ret_qube);

/* When CORE_TICK is due, in the events' clock; UINT64_MAX: nothing to wait for. */
uint64_t core_next_deadline(const struct core *core);

/* Reading: NULL when stale or absent. Pointers are valid until the next core_handle(). */
const struct core_qube *core_find_qube(const struct core *core, struct core_qube_ref ref);
const struct core_qube *core_find_qube_by_name(const struct core *core, const char *name);
const struct core_qube *core_find_qube_by_domid(const struct core *core, uint16_t domid);
const struct core_device *core_find_device(const struct core *core, struct core_device_ref ref);
const struct core_device *core_find_device_by_port(const struct core *core, const struct core_qube *qube,
						   const char *port);

/* Walks: start with *cursor = 0; NULL at the end. Only used qubes, only used and present devices. */
const struct core_qube *core_next_qube(const struct core *core, unsigned int *cursor);
const struct core_device *core_next_device(const struct core_qube *qube, unsigned int *cursor);

/* "vid:pid:serial:interfaces", as Qubes shows a device id; returns its length. */
#define CORE_DEVICE_ID_MAX (4 + 1 + 4 + 1 + LIMIT_TEXT + 1 + 7 * LIMIT_INTERFACES + 1)
size_t core_device_id(const struct core_device *device, char ret_text[CORE_DEVICE_ID_MAX]);

const char *core_state_name(enum core_state state);
const char *core_answer_text(enum core_answer answer);
