/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The broker's heart: which qubes and devices there are, for each device the state machine of its attachment, and
 * everything that asks for one: users, stored assignments, a move, the end of a sleep, a device that came back.
 * Pure: events and the time come in, actions go out through a sink; no system call, no clock, no allocation. One
 * question is put to the outside while an event is handled, and answered at once: hooks.decide(), the policy.
 *
 * What it guarantees, for every order of events (tests: test-core.c, test-schedules.c; model: tests/model/):
 *   - one device has at most one target; a second attach is refused while the first is anything but gone;
 *   - no EXPORT is sent before a decision (policy, deny list, and the user's answer where one is asked for) and before
 *     the audit record and the memory of that session are on disk;
 *   - a device is free again only when its source said that the export is gone, or the source qube itself is gone;
 *     until then it is LOCKED and every attach is refused;
 *   - each user request gets exactly one answer, in bounded time;
 *   - an answer or event about another {slot, generation}, another session, another question or a qube's former
 *     incarnation changes nothing.
 *
 *               attach          audited           EXPORTED           IMPORTED
 *     FREE ----------> AUDITING -------> EXPORTING -------> IMPORTING --------> ATTACHED <------- ADOPTING
 *       ^                 | failed          | failed, lost       | failed, lost      |      both    | not proven
 *       +-----------------+                 v                    v                   v      vouch   v
 *       +<--------- source stopped ------- DETACHING <-----------+-------------------+<-------------+
 *       |                                   | source silent for TIMEOUT_STOP_USEC
 *       +<-- source stopped or gone ------ LOCKED
 *
 * Between AUDITING and EXPORTING a device whose parts are to be ended first is CLEARING (below); what ends an EXPORTING
 * one ends it too.
 *
 * The target's acknowledgement is waited for as well (within the same time), and its absence is told to the user
 * (`confirmed` false), but does not lock the device: once the source's export is gone, no data can flow.
 *
 * Requests (request.c). Whoever wants an attach, it goes one way: who is there, is the machine awake, is a former life's
 * session still open there, the target's deny list, the policy's word, a question if the word is `ask`, then the state
 * machine. While a question about a device is open every other attach of it is refused. A user's attach makes all other
 * plans for that device void. Policy and deny lists are about beginnings: what is attached goes on when they change.
 * A user's detach ends all plans for the device as well; while an assignment says that the running target requires the
 * device it is refused (a move is not, nor does it keep a time limit or a sleep from ending the attachment).
 *
 * Questions (question.c). Bound to one device's {slot, generation} and closed with it. One of each device qube is shown
 * at a time, in order of arrival; a qube's wish, which came through qrexec, holds up none but those of qubes. Each has
 * TIMEOUT_ASK_USEC from its arrival. Nobody there to answer, no time left, a target that was not offered: denied. The
 * policy is asked again when the answer comes: `deny` holds even then. One device qube has at most a quarter of
 * LIMIT_QUESTIONS open; beyond that a user's attach is refused (CORE_ANSWER_CROWDED), and what nobody waits for, an
 * assignment or a claim, is asked about when a place is free, in order of arrival. A qube's wish gives way: to its user's
 * own about the same device or for its place (its question becomes void), and to another qube's claim (IN_USE). A qube
 * has at most LIMIT_QUESTIONS_ASKER questions open, and none for BACKOFF_ASKER_USEC after one that ended without a yes
 * (CORE_ANSWER_TOO_SOON), unless nobody was there to answer or it gave way.
 *
 * Move (move.c). Out of A, into B; when B fails, back to A (the decision that let it be at A still holds, a `deny` since
 * then ends it); when that fails too, free. One answer says which: DONE, MOVED_BACK, MOVED_FREE, or NOT_CONFIRMED when
 * the source gave no word in time and the device is LOCKED. A user's detach on the way ends it: MOVED_FREE. So does
 * a sleep (SUSPENDED): an attachment that a move has ended is no claim, so the device does not come back by itself.
 *
 * Assignments (auto.c). Looked at when something changed (a qube or an agent came, a device came, one became free, the
 * assignments or the policy changed, the machine woke up). Each device on its own: own tries, own back-off, at most
 * LIMIT_AUTO_TRIES; one that is gone again within BACKOFF_AUTO_LAST_USEC was a failed try. A device that its user
 * detached is left alone until it, its target or an assignment of it is new. `deny` is reported as the last try is. A
 * question that was not answered with yes is not asked again without a cause, except that nobody was there to answer.
 *
 * Ports (places.c). The kernel's names change with the order in which controllers come up; what is stored is matched by
 * path. When a list of devices is whole, and when a device comes later, assignments of that source learn the path of
 * what they match by name, and are given the name that their path has now; both on disk first, through hooks.relocate().
 * When that fails they stay as they are, and match all the same.
 *
 * Restores (restore.c). An attachment that ended without its user's will has a claim on being made again: after a sleep
 * (RESUME), and when the device re-enumerates (REPLUG: same source, place and identity within TIMEOUT_REPLUG_USEC; with
 * `follow_port` also another identity, newly decided). Identity: class, vendor, product, serial, interfaces, speed.
 * Proxies see first that a device has gone: it may also go within TIMEOUT_REPLUG_USEC after its stream ended by itself.
 * Claims are tried with back-off until their time is over, then reported. A claim ends when its device is attached by
 * other means, its user detaches, or its target is gone. What a sleep has ended outlives the broker, as a memory that is
 * `asleep`; a claim of a device that re-enumerates does not.
 *
 * Mute (mute.c). Of what is ATTACHED, where its class can. The source is told, and the user when the source says that it
 * is so, within TIMEOUT_MUTE_USEC; the newest wish holds. A new attachment is not muted; one that comes back, and one that
 * a broker finds running, is as it was.
 *
 * Restart (adopt.c). Sessions that a former life of the broker had on disk are given to core_handle() as memories before
 * anything else. A device of a memory is ADOPTING as soon as it is listed; it is ATTACHED when the source's agent (same
 * domain, UUID, start, agent incarnation) reported the export of that session and lists the device with that slot,
 * generation, identity and digest, and the target's agent (same domain, UUID, start) reported its import, each with the
 * right peer and digest. What is not proven within TIMEOUT_ADOPT_USEC, or contradicted before, is stopped on both sides.
 * Until a memory is settled no device of its source at that port can be attached, and a detach or move of one is
 * refused (CORE_ANSWER_ADOPTING), except that one that is ADOPTING can be detached: that ends it as not proven.
 *
 * Agents that are lost and come back. The death of an agent kills its proxies, the pause of its qube does not; the
 * broker cannot tell which it was. So a session fails at once when either agent is lost: the other side is stopped, and
 * the lost side stays open until there is proof. Proof is: its answer, the end of its qube, or its agent connecting
 * again and not reporting the session before its first list (a reported one is stopped again). While the source's side
 * lacks proof the device is DETACHING, then LOCKED. Its devices stay listed, and cannot be attached, until the agent is
 * back and lists anew (a restarted agent numbers anew: then all former ones are removed first).
 *
 * Parts (parts.c). What is no USB device may say of which one of its qube it is a part, by that one's port. A whole and
 * its part are never under way or attached both: an attach of a part is refused while the source may still have the
 * whole (CORE_ANSWER_WHOLE_IN_USE), whoever wants it, and one of the whole while it may still have a part
 * (CORE_ANSWER_PART_IN_USE), unless the policy says that parts may be ended for it; a qube's wish ends none of another
 * target. Then, its record on disk, the whole is CLEARING: its parts are stopped (OUTCOME_WHOLE_ATTACHED; an assignment
 * that requires one does not keep it) and it goes on when each one's source said so. When one is LOCKED, or
 * TIMEOUT_STOP_USEC are over, it fails (OUTCOME_PART_HELD). What a former broker let go on, adoption takes as it is: but
 * until the memories of a source are settled its whole devices wait. The word is the device qube's, and is believed for
 * this alone: by a lie it is refused its own devices. Parts are of one port of one qube: two devices there have the same
 * parts.
 *
 * Strays. A stream that an agent reports and that neither an attachment nor a memory explains is stopped. The report
 * does not say which device it carries, so no device of that qube can be attached until each of its stray exports is
 * confirmed stopped (CORE_ANSWER_LOCKED). A stray import holds nothing: without its export no data flow.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/controls.h"
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

#define CORE_DEVICE_ID_MAX (4 + 1 + 4 + 1 + LIMIT_TEXT + 1 + 7 * LIMIT_INTERFACES + 1) /* core_device_id() */
#define CORE_LABEL_KEY_MAX (LIMIT_QUBE_NAME + 1 + CORE_DEVICE_ID_MAX + 2 + LIMIT_PATH_TEXT)

enum core_state {
	CORE_FREE,
	CORE_AUDITING,
	CORE_EXPORTING,
	CORE_IMPORTING,
	CORE_ATTACHED,
	CORE_DETACHING,
	CORE_LOCKED,
	CORE_ADOPTING,
	CORE_CLEARING,
	CORE_STATE_COUNT,
};

/* Who wanted an attach. */
enum core_origin {
	CORE_ORIGIN_USER,
	CORE_ORIGIN_AUTO,   /* an assignment */
	CORE_ORIGIN_MOVE,   /* a user too, from another qube */
	CORE_ORIGIN_BACK,   /* a move that failed: back to where it was */
	CORE_ORIGIN_RESUME, /* it was attached when the machine went to sleep */
	CORE_ORIGIN_REPLUG, /* it was attached, and re-enumerated */
	CORE_ORIGIN_COUNT,
};

#define CORE_NOBODY UINT32_MAX /* in place of a uid */

/* Who asks for something. */
struct core_user {
	uint32_t uid; /* of the program that asked, in dom0; CORE_NOBODY: nobody, an assignment or a claim */
	char qube[LIMIT_QUBE_NAME + 1]; /* for which qrexec asked; "": for nobody but itself */
};
#define CORE_NO_USER ((struct core_user){.uid = CORE_NOBODY})

/* What is asked of a camera's pictures; 0: whatever is best. */
struct core_picture {
	uint16_t width, height;          /* pixels, text_is_side(); both or none */
	uint16_t fps;                    /* at most LIMIT_PICTURE_FPS */
	uint8_t controls[CONTROL_COUNT]; /* values of lib/base/controls.h; 0: as the camera is */
};

/* Under what an attachment was allowed, and holds. Copied from the decision, the assignment and the request. */
struct core_terms {
	enum core_origin origin;
	struct core_user asked_by;
	char rule[LIMIT_RULE_TEXT]; /* which rule: "30-user.policy:4"; "": none */
	bool answered;              /* a user was asked, and said yes */
	struct core_user answered_by;
	bool follow_port;
	bool muted;             /* its source is to pass nothing on; core_is_muted(): and it says that it does so */
	uint64_t max_time_usec; /* 0: no limit; the smallest of all that were named */
	bool end_parts;         /* its parts may be ended for it; not kept on disk, as each decision says it anew */
	struct core_picture picture;
	uint64_t end_usec; /* when an ATTACHED one is to end, in the events' clock; 0: never, or not yet known */
};

/* What one side of an attachment says of its stream: to be shown, never to decide by. */
struct core_stream {
	uint64_t at_usec; /* when it said so; 0: never */
	bool in_use;      /* something in the target waits for the device */
	uint64_t bytes_to_target, bytes_from_target;
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
	char port[LIMIT_PORT_TEXT]; /* the kernel's name for the port: shown and typed, not the same after each boot */
	char path[LIMIT_PATH_TEXT]; /* the port itself, text_usb_path(), as its agent says; "": not known */
	char parent[LIMIT_PORT_TEXT]; /* the port of the USB device that it is a part of, as its agent says */
	char serial[WIRE_TEXT];       /* printable ASCII, the wire layer saw to it; empty: none */
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
	struct core_terms terms;             /* while not FREE */
	bool warned;                         /* CORE_DO_LIMIT_NEAR was emitted */
	struct core_stream source_stream, target_stream;
	struct {
		bool sent;              /* a MUTE that is not answered yet: terms.muted is not known to hold */
		uint64_t token;         /* of the user who waits for that; 0: none */
		uint64_t deadline_usec; /* until when; 0: nobody waits */
	} mute;                         /* while ATTACHED */

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
	char start[LIMIT_START_TEXT]; /* differs between two starts of one UUID */
	bool agent;                   /* its agent is connected and welcomed */
	bool synced;                  /* ... and has begun its first list: all streams that it runs are known */
	uint16_t roles;               /* enum wire_roles bits, 0 without agent */
	uint32_t agent_life;          /* counts the agent's own restarts */
	uint64_t agent_incarnation;   /* as the agent says in HELLO */
	bool listing;                 /* between LIST_BEGIN and LIST_END */
	unsigned int n_strays;
	uint64_t strays[LIMIT_DEVICES]; /* sessions of exports that must stop before anything can be attached */
	struct core_device devices[LIMIT_DEVICES];
};

/* One question to whoever is there to answer: may this device go to that qube, or to which of these? */
struct core_question {
	uint64_t id; /* 0: this place is free; never used twice */
	struct core_device_ref device;
	uint8_t class_id;        /* of that device */
	struct core_terms terms; /* what was decided so far */
	uint64_t token;          /* of the user who waits for the outcome; 0: an assignment asks */
	bool move;               /* the device is attached to `from` */
	struct core_qube_ref from;
	unsigned int n_offered;
	char offered[LIMIT_OFFERED][LIMIT_QUBE_NAME + 1];
	char default_target[LIMIT_QUBE_NAME + 1]; /* "": none */
	bool shown;
	uint64_t deadline_usec;
};

enum core_question_end {
	CORE_QUESTION_ALLOWED,
	CORE_QUESTION_DENIED,
	CORE_QUESTION_NOBODY, /* nobody is there to answer */
	CORE_QUESTION_TIMED_OUT,
	CORE_QUESTION_VOID, /* its device, its target or its asker is gone, or the policy has changed to deny */
	CORE_QUESTION_END_COUNT,
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
	CORE_ANSWER_NO_TARGET_AGENT,    /* no agent there, or one that cannot import */
	CORE_ANSWER_NOT_ATTACHED,       /* detach: not attached to that qube */
	CORE_ANSWER_NOT_CONFIRMED,      /* detach: the source did not confirm in time; the device is LOCKED */
	CORE_ANSWER_DENIED,             /* by the policy or a deny list: .rule */
	CORE_ANSWER_ASKING,             /* a question about this device is open */
	CORE_ANSWER_SAID_NO,            /* the user was asked, and said no */
	CORE_ANSWER_NOBODY,             /* nobody is there to be asked */
	CORE_ANSWER_CROWDED,            /* one must be asked, and as many questions as can be are open already */
	CORE_ANSWER_TOO_SOON,           /* a question of the asking qube ended without a yes a moment ago */
	CORE_ANSWER_NO_REPLY,           /* nobody answered in time, or the question became void */
	CORE_ANSWER_SUSPENDED,          /* the machine is going to sleep */
	CORE_ANSWER_ADOPTING,           /* the broker was restarted and does not know yet */
	CORE_ANSWER_REQUIRED,           /* detach: an assignment says that the qube requires it */
	CORE_ANSWER_PART_IN_USE,        /* a part of the device is not free: .other */
	CORE_ANSWER_WHOLE_IN_USE,       /* that of which the device is a part is not free: .other */
	CORE_ANSWER_NO_MUTE,            /* mute: a device of this class cannot be muted */
	CORE_ANSWER_MUTE_NOT_CONFIRMED, /* mute: the source did not confirm in time; it is wanted so still */
	CORE_ANSWER_OVERTAKEN,          /* mute: another wish came before the source had confirmed this one */
	CORE_ANSWER_MOVED_BACK,         /* move: the new qube failed (.outcome), it is back where it was */
	CORE_ANSWER_MOVED_FREE, /* move: the new qube failed (.outcome), and so did the way back: attached nowhere */
	CORE_ANSWER_COUNT,
};

/* An attachment's claim on being made again. */
struct core_restore {
	bool used;
	enum core_origin origin; /* RESUME or REPLUG */
	uint8_t source_uuid[16], target_uuid[16];
	char source_name[LIMIT_QUBE_NAME + 1], target_name[LIMIT_QUBE_NAME + 1];
	struct core_device device; /* what it was: class, ids, interfaces, digest, port, texts */
	struct core_terms terms;
	uint64_t deadline_usec; /* 0: the machine sleeps, time does not count yet */
	uint64_t retry_usec;    /* not before */
	unsigned int n_tries;
	enum core_answer last_answer; /* of the last try: why it is not back */
	enum outcome last_outcome;
};

/* One life of a qube, told in a way that outlives the broker. */
struct core_life {
	uint16_t domid;
	uint8_t uuid[16];
	char name[LIMIT_QUBE_NAME + 1];
	char start[LIMIT_START_TEXT];
};

/* A session that a former life of the broker had on disk. */
struct core_memory {
	uint64_t session;
	struct core_life source, target;
	uint64_t agent_incarnation;    /* of the source's agent */
	struct core_device device;     /* what it is (not its maker's texts), ref.slot, ref.generation, terms */
	uint8_t approved[WIRE_DIGEST]; /* the digest that IMPORT named */
	bool asleep; /* the machine's sleep ended it: no stream to prove, but a claim on making it again */
};

/* What the policy says of one device, from one qube, to another. */
enum core_verdict { CORE_VERDICT_DENY, CORE_VERDICT_ASK, CORE_VERDICT_ALLOW };
struct core_decision {
	enum core_verdict verdict;
	char rule[LIMIT_RULE_TEXT]; /* "FILE:LINE", or a few words: "no rule", "the policy is broken" */
	uint64_t max_time_usec;     /* 0: none */
	char default_target[LIMIT_QUBE_NAME + 1];
	bool end_parts; /* what of it is attached as a part may be ended for it */
};

struct core_action;
struct core_assignment; /* assignments.h */
struct core_hooks {
	/* Must not call core_handle(); may read the core. */
	void (*emit)(void *userdata, const struct core_action *action);
	/* The policy. Must not change anything, and must answer the same for the same arguments until CORE_POLICY_CHANGED. */
	void (*decide)(void *userdata, const struct core_device *device, const struct core_qube *source,
		       const struct core_qube *target, struct core_decision *ret_decision);
	/*
	 * Keeps `changed` in place of `stored`, which differs in its port, or had no path: true when that is on disk, else
	 * nothing has changed. When there is one already that names the same as `changed`, that one stays as it is.
	 * NULL: nothing can be kept.
	 */
	bool (*relocate)(void *userdata, const struct core_assignment *stored, const struct core_assignment *changed);
};

struct core;                                  /* big (64 qubes x 64 devices); made once at start */
struct core *core_new(uint64_t session_epoch, /* high 32 bits of all session numbers: never one of a former life */
		      const struct core_hooks *hooks, void *userdata); /* hooks are copied */
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
	CORE_STREAM,       /* .stream: what that side says of a stream that runs */
	CORE_MUTED,        /* .muted: so it is now, as the source says to the last MUTE */
	CORE_ENDED,        /* .session, .outcome: the stream ended by itself; that side has nothing of it left */
	CORE_AUDITED,      /* .session: the record is on disk */
	CORE_AUDIT_FAILED, /* .session */
	CORE_ATTACH,       /* a user asks; .request */
	CORE_DETACH,       /* a user asks; .request (target: the qube it must be attached to) */
	CORE_MOVE,         /* a user asks; .request (from: the qube it is attached to, target: where to) */
	CORE_MUTE,     /* a user asks: nothing passes on any more; .request (target: the qube it must be attached to) */
	CORE_UNMUTE,   /* a user asks: it does again; the same */
	CORE_ANSWERED, /* somebody answered a question; .answered */
	CORE_ANSWERERS,   /* how many are there to answer; .answerers */
	CORE_ASSIGNED,    /* an assignment was stored; .assignment. CORE_EVENT_FULL, CORE_EVENT_EXISTS */
	CORE_UNASSIGNED,  /* .assignment, found by what it names. CORE_EVENT_IGNORED: there is none */
	CORE_ASSIGN_MODE, /* .assignment: the same with another mode or options */
	CORE_DENIED,      /* a qube's deny list was stored; .denied replaces the former one */
	CORE_LABELED, /* a device's label was stored; .label. CORE_EVENT_FULL; CORE_EVENT_IGNORED: nothing changes */
	CORE_POLICY_CHANGED,
	CORE_SUSPEND,  /* the machine goes to sleep: end everything, remember it; .request.token */
	CORE_RESUMED,  /* it is awake again */
	CORE_REMEMBER, /* .memory; only before the first CORE_QUBE_STARTED */
	CORE_TICK,     /* time passed: call when core_next_deadline() is reached */
	CORE_EVENT_COUNT,
};

struct core_event {
	enum core_event_type type;
	uint64_t now_usec;         /* CLOCK_BOOTTIME */
	struct core_qube_ref qube; /* QUBE_GONE .. ENDED: whose word it is, or whom it is about */
	union {
		struct {
			uint16_t domid;
			uint8_t uuid[16];
			char name[LIMIT_QUBE_NAME + 1];
			char start[LIMIT_START_TEXT];
		} qube_started;
		struct {
			uint16_t roles;
			uint64_t incarnation;
		} agent_ready;
		struct {
			uint64_t session;
			uint8_t side;
			uint16_t peer; /* domain id at the other end */
			uint8_t digest[WIRE_DIGEST];
			bool muted;
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
			uint64_t session;
			uint8_t side; /* enum wire_side */
			bool in_use;
			uint64_t bytes_to_target, bytes_from_target;
		} stream;
		struct {
			uint64_t session;
			bool muted;
		} muted;
		struct {
			uint64_t token; /* not 0, given back in CORE_ANSWER */
			struct core_user user;
			struct core_device_ref device;
			struct core_qube_ref target;
			struct core_qube_ref from;
			uint64_t max_time_usec;      /* ATTACH, MOVE: the user's own limit; 0: none */
			struct core_picture picture; /* ATTACH, MOVE: core_picture_is_fit() */
		} request;
		struct {
			uint64_t question;
			bool allow;
			char target[LIMIT_QUBE_NAME + 1]; /* with allow */
			struct core_user user;
		} answered;
		unsigned int answerers;
		const struct core_assignment *assignment; /* assignments.h; valid during the call */
		struct {
			char qube[LIMIT_QUBE_NAME + 1];
			unsigned int n_patterns;
			char patterns[LIMIT_DENIED_PATTERNS][8]; /* "u03**01" */
		} denied;
		struct {
			char key[CORE_LABEL_KEY_MAX];    /* labels_key() */
			char text[LIMIT_LABEL_TEXT + 1]; /* "": it has none any more */
		} label;
		struct core_memory memory;
	};
};

/*
 * What the core wants done. With each: the members of core_action that are set beside `type`, and the event that must
 * follow, if there is one; until it comes the core waits, until the state's deadline.
 */
enum core_action_type {
	/*
	 * Write the record of this attach and the memory of its session, both on disk. device, session, state, token (0:
	 * no user waits). Then CORE_AUDITED or CORE_AUDIT_FAILED of that session.
	 */
	CORE_DO_AUDIT,
	/* An audit record of a transition, nothing waits for it. device, session, state (the new one), outcome (why). */
	CORE_DO_NOTE,
	/*
	 * Send EXPORT to the source's agent, IMPORT to the target's. device, session, state, qube (whom to send to). Then
	 * CORE_EXPORTED, CORE_IMPORTED, or CORE_FAILED of that session by that qube. DO_IMPORT: label.
	 */
	CORE_DO_EXPORT,
	CORE_DO_IMPORT,
	/*
	 * Send STOP to the source's agent, to the target's. device, session, state, qube. Then CORE_STOPPED of that
	 * session by that qube; CORE_ENDED or CORE_FAILED, already on their way, count as well.
	 */
	CORE_DO_STOP_SOURCE,
	CORE_DO_STOP_TARGET,
	/* Send MUTE with device->terms.muted to the source's agent. device, session, state, qube. Then CORE_MUTED. */
	CORE_DO_MUTE,
	CORE_DO_NOTE_MUTE, /* an audit record: a user wants it muted, or not (device->terms.muted). device, session, state */
	CORE_DO_USE, /* for the API's listeners: core_is_used() has changed, of a class that tells. device, session, state */
	CORE_DO_MUTED, /* for the API's listeners: it is so now. device, session, state */
	/* Send STOP: a stream that is not ours (any more). session, qube. Of an export the same follows; it has no deadline. */
	CORE_DO_STOP_STRAY,
	/*
	 * To a request: token, answer, outcome, confirmed, rule, back_rule; device, session, state as they are now, if it
	 * is about a device that is there.
	 */
	CORE_DO_ANSWER,
	/* For the API's listeners: device, qube (its source). A removed one's attachment may still be ending. */
	CORE_DO_DEVICE_ADDED,
	CORE_DO_DEVICE_REMOVED,
	CORE_DO_ATTACHED, /* device, session, state */
	CORE_DO_DETACHED, /* what was ATTACHED is proven gone; the same and outcome; device still names the target */
	/*
	 * The machine's sleep ended this session: what is kept of it is a claim from now on (core_memory.asleep), until
	 * CORE_DO_FORGET. Nothing waits for it. device (which still names the target), session, state.
	 */
	CORE_DO_CLAIM,
	CORE_DO_FORGET, /* session: its memory is not needed any more. Nothing waits for it. device: or NULL */
	/*
	 * Show the question to whoever answers. device, qube (its source), question. Then CORE_ANSWERED, or nothing; it
	 * closes by itself.
	 */
	CORE_DO_ASK,
	/* It is closed; it may never have been shown. device (NULL: it has gone), qube, question, question_end, token. */
	CORE_DO_ASK_END,
	CORE_DO_LIMIT_NEAR,     /* the time of ATTACHED `device` is over at device->terms.end_usec; session, state */
	CORE_DO_AUTO_FAILED,    /* an assignment's last try. device, target_name, answer, outcome, rule */
	CORE_DO_RESTORE_FAILED, /* a claim ended without its attachment. restore, target_name, answer, outcome, rule */
	/*
	 * A memory that could not be proven; its streams are being stopped. memory, session, target_name, outcome; device,
	 * if it was listed.
	 */
	CORE_DO_NOT_ADOPTED,
};

/* What an action does not name above is 0 or NULL. Pointers are valid during the call. */
struct core_action {
	enum core_action_type type;
	uint64_t session;
	struct core_qube_ref qube;
	const struct core_device *device;
	const struct core_device *other; /* DO_ANSWER: with _PART_IN_USE, _WHOLE_IN_USE */
	enum outcome outcome;            /* OK: there is none, or `answer` alone says it */
	enum core_state state;
	uint64_t token;
	enum core_answer answer;
	/*
	 * DO_ANSWER: of a detach that was done: the target said so too; of a failed attach: everything is proven to be
	 * undone (false: the device may be LOCKED).
	 */
	bool confirmed;
	/*
	 * By which it was denied, where that is why: with CORE_ANSWER_DENIED, _MOVED_BACK, _MOVED_FREE. NULL: it was not
	 * that.
	 */
	const char *rule;
	const char *back_rule; /* the same of the way back: CORE_ANSWER_MOVED_FREE */
	const char *target_name;
	const char *label;                /* what the device is called in its target: labels_for_target() */
	const struct core_user *asked_by; /* DO_ANSWER: who asked, if that was in an event before this one; else NULL */
	const struct core_question *question;
	enum core_question_end question_end;
	const struct core_restore *restore;
	const struct core_memory *memory;
};

/*
 * Handles one event. 0, or CORE_EVENT_IGNORED (stale reference, unknown session, not allowed now: nothing changed).
 * For CORE_QUBE_STARTED *ret_qube (may be NULL otherwise) is the new qube; a living qube of the same domain id is gone
 * first. CORE_EVENT_FULL: LIMIT_QUBES or LIMIT_DEVICES are there already, nothing was added. CORE_EVENT_CHEATED: an
 * agent contradicts itself (a slot beyond LIMIT_DEVICES, one {slot, generation} with two identities, more streams than
 * devices): nothing changed, cut it off. CORE_TICK may come early or late.
 * CORE_EVENT_EXISTS: such an assignment is there already.
 */
enum { CORE_EVENT_IGNORED = 1, CORE_EVENT_FULL, CORE_EVENT_CHEATED, CORE_EVENT_EXISTS };
int core_handle(struct core *core, const struct core_event *event, struct core_qube_ref *ret_qube);

/* When CORE_TICK is due, in the events' clock; UINT64_MAX: nothing to wait for. */
uint64_t core_next_deadline(const struct core *core);

/* Something in its target uses it, as its source says, or as the target does while the source has said nothing. */
bool core_is_used(const struct core_device *device);

/* Attached, and its source says that it passes nothing on. */
bool core_is_muted(const struct core_device *device);

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

/* Open questions (shown ones or all), claims, and what is stored. NULL at the end. */
const struct core_question *core_next_question(const struct core *core, unsigned int *cursor);
const struct core_question *core_find_question(const struct core *core, uint64_t id);
const struct core_restore *core_next_restore(const struct core *core, unsigned int *cursor);
/* Gives an assignment that names a port the path of what is there now, if it has none and something is there. */
void core_locate(const struct core *core, struct core_assignment *assignment);

const struct assignments *core_assignments(const struct core *core); /* assignments.h */
const struct denied *core_denied(const struct core *core);           /* denied.h */
const struct labels *core_labels(const struct core *core);           /* labels.h */
bool core_is_suspended(const struct core *core);

/* "vid:pid:serial:interfaces", as Qubes shows a device id (of dom0's microphone "dom0:mic::m000000"); returns its length. */
size_t core_device_id(const struct core_device *device, char ret_text[CORE_DEVICE_ID_MAX]);

/* May that be asked of a device of that class? Of others than cameras nothing may. */
bool core_picture_is_fit(const struct core_picture *picture, uint8_t class_id);

const char *core_state_name(enum core_state state);
const char *core_answer_text(enum core_answer answer);
