/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the core share. Invariants:
 *   - core->active holds exactly the devices that are not FREE; so walks over attachments cost what is attached;
 *   - an attachment's handler changes its own device only; it may take that device out of `active` (the last one
 *     takes its place), so walks over `active` run from the end to the start;
 *   - handlers of events start nothing by themselves but what a user asked for: they note what changed, and when the
 *     event has been handled the plans run once, in this order: parts, moves, claims, assignments, questions, the sleep, ports. So
 *     a device whose move or claim goes on is never FREE between two events;
 *   - who waits for the end of an attach is told once: plan.pending is set when the device is taken, and cleared by
 *     the one call of request_ended();
 *   - an open question and an attach under way exclude each other, except that a question may be about a move of an
 *     ATTACHED device; it ends when that attachment does;
 *   - a memory is either unbound (its device is not listed) or bound to one ADOPTING device; it is released, and
 *     forgotten on disk, when nothing of it can run any more or when something else (an attachment, a stray) holds it;
 *   - plan.queued is set exactly for the devices in core->queue, plan.waits for those in core->waiting (entries of
 *     devices that have gone are dropped late).
 */
#pragma once

#include <string.h>

#include "broker/core/assignments.h"
#include "broker/core/core.h"
#include "broker/core/denied.h"

/* What the core keeps of a device beside its record. */
struct plan {
	bool pending; /* whoever wanted the attach under way has not been told how it ended */
	/* assignments: auto.c */
	bool queued; /* in core->queue */
	bool look;   /* to be looked at */
	bool held;   /* its user detached it */
	bool idle;   /* tried out, denied, or a user took over: until there is a new cause */
	bool nobody; /* idle because nobody was there to be asked */
	bool waits;  /* in core->waiting */
	unsigned int n_tries;
	uint64_t retry_usec;    /* 0: no try is due */
	uint64_t attached_usec; /* since when it is ATTACHED */
	/* claims: restore.c */
	unsigned int n_restored; /* tries of the claim that attached it */
};

struct question {
	struct core_question q;
	struct core_qube_ref targets[LIMIT_OFFERED]; /* of q.offered; a name alone does not tell two lives apart */
};

struct restore {
	struct core_restore r;
	struct core_qube_ref target;
	uint64_t session;      /* whose memory on disk is this claim's when it has ended; 0: nowhere on disk */
	struct core_life life; /* of the target, for a claim of a former life of the broker, until that is heard of */
	bool gone;   /* REPLUG: the device has gone; before that it is not a claim yet, its stream only ended */
	bool trying; /* an attach of `tried`, or a question about it, is under way */
	struct core_device_ref tried;
};

enum move_step { MOVE_OUT, MOVE_IN, MOVE_BACK };

struct move {
	bool used;
	enum move_step step;
	bool cancelled; /* its user detached the device meanwhile */
	uint64_t token;
	struct core_device_ref device;
	struct core_qube_ref from, to;
	struct core_terms there, back;
	enum outcome outcome;            /* why it failed */
	char rule[LIMIT_RULE_TEXT];      /* by which it was denied; "": it was not that */
	char back_rule[LIMIT_RULE_TEXT]; /* the same of the way back */
};

/* What is known of one side of a memory. */
enum memory_side { SIDE_UNKNOWN, SIDE_REPORTED, SIDE_CLOSED };

struct memory {
	bool used;
	bool failed; /* given up; waits until nothing of the source's side can run unseen */
	bool bound;  /* to an ADOPTING device */
	struct core_memory m;
	struct core_qube_ref source, target; /* incarnation 0: that life has not been seen */
	enum memory_side source_side, target_side;
	bool muted; /* as the source reported */
	uint64_t deadline_usec;
};

struct core {
	uint64_t session_epoch;
	uint32_t n_sessions;
	uint32_t n_incarnations;
	struct core_hooks hooks;
	void *userdata;
	uint64_t now_usec; /* of the event that is being handled */
	unsigned int n_active;
	struct core_device *active[LIMIT_QUBES * LIMIT_DEVICES];
	struct core_qube qubes[LIMIT_QUBES];
	bool fresh[LIMIT_QUBES]; /* a new life whose agent has not listed yet */
	struct plan plans[LIMIT_QUBES][LIMIT_DEVICES];

	unsigned int n_clearing; /* devices in state CLEARING */
	unsigned int n_auditing; /* devices in state AUDITING: the plans start no more than LIMIT_STARTS at once */
	unsigned int n_queued;
	struct core_device *queue[LIMIT_QUBES * LIMIT_DEVICES]; /* devices that assignments have to be looked up for */
	unsigned int n_waiting;
	struct core_device *waiting[LIMIT_QUBES * LIMIT_DEVICES]; /* for a question's place, in order of arrival */

	unsigned int n_answerers;
	uint64_t n_questions_ever;
	unsigned int n_questions;
	struct asker {
		char qube[LIMIT_QUBE_NAME + 1];
		uint64_t until_usec; /* its wishes make no question before */
	} askers[LIMIT_ASKERS];
	struct question questions[LIMIT_QUESTIONS];

	unsigned int n_moves;
	struct move moves[LIMIT_MOVES];

	bool suspended;
	uint64_t awake_until_usec; /* until then a lost stream counts as lost by the sleep */
	unsigned int n_sleepers;
	uint64_t sleepers[LIMIT_SLEEPERS]; /* tokens of CORE_SUSPEND */
	unsigned int n_restores;
	struct restore restores[LIMIT_RESTORES];

	unsigned int n_memories;
	struct memory memories[LIMIT_MEMORIES];

	bool unplaced[LIMIT_QUBES]; /* what its devices say of assignments' ports is to be looked at */
	uint64_t places_usec;       /* not before */

	struct assignments *assignments;
	struct denied *denied;
	struct labels *labels;
};

/* What can happen to one attachment: the rows of the table in attachment.c. */
enum input_type {
	IN_ATTACH, /* everything that is not the attachment's own state has been checked */
	IN_DETACH,
	IN_STOP,  /* the broker ends it: a sleep, a move */
	IN_ADOPT, /* a memory's device is listed, and its source vouches for it */
	IN_ADOPTED,
	IN_AUDITED,
	IN_AUDIT_FAILED,
	IN_CLEARED, /* no part is in the way any more */
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
	enum outcome outcome;           /* why, for all that ends something */
	uint64_t token;                 /* ATTACH, DETACH */
	struct core_qube_ref target;    /* ATTACH, DETACH */
	const struct core_terms *terms; /* ATTACH */
	const struct memory *memory;    /* ADOPT */
};

/* How a request, or an attach that nobody asked for, ended or was refused. */
struct reply {
	enum core_answer answer;
	enum outcome outcome;
	bool confirmed;
	const struct core_device *other; /* PART_IN_USE, WHOLE_IN_USE */
	const char *rule;                /* by which it was denied; NULL or "": it was not that */
	const char *back_rule;           /* MOVED_FREE: the same of the way back */
	/* Who asked, and for which qube, where that may not be what is handled now; else NULL. */
	const struct core_user *asked_by;
	const char *target_name;
};

/* Who wants what. */
struct wish {
	struct core_device *device;
	struct core_qube *target; /* NULL: it is not running */
	uint64_t token;           /* of a user; 0: nobody waits */
	struct core_terms
		terms; /* what the asker brings: origin, asked_by, max_time_usec, picture, end_usec, follow_port */
	bool agreed;   /* who must be asked was asked: `ask` counts as allowed */
	/* from request_judge() */
	bool ask;
	char default_target[LIMIT_QUBE_NAME + 1];
	const struct core_device *other; /* PART_IN_USE, WHOLE_IN_USE */
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
bool inventory_stray_closed(struct core *core, struct core_qube *qube, uint64_t session); /* true: it was one */
int inventory_stop_stray(struct core *core, struct core_qube *qube, uint64_t session, bool is_export);
struct core_qube *inventory_qube(struct core *core, struct core_qube_ref ref);
struct core_device *inventory_device_by_ref(struct core *core, struct core_device_ref ref); /* present */
struct core_device *inventory_record_by_ref(struct core *core, struct core_device_ref ref); /* or not gone yet */
bool inventory_is_life(const struct core_life *life, const struct core_qube *qube);
/* Its domain id is another life's now: that one has ended. */
bool inventory_contradicts(const struct core_life *life, const struct core_qube *qube);
bool inventory_same_identity(const struct core_device *a, const struct core_device *b);    /* what a policy sees */
bool inventory_same_description(const struct core_device *a, const struct core_device *b); /* every word */

/* request.c: the one way to an attach. */
int request_attach(struct core *core, const struct core_event *event);
int request_detach(struct core *core, const struct core_event *event);
/*
 * May the device go there now, whatever it is doing? DONE: yes; terms.rule, the limit, `ask` and `default_target` are
 * set. Else why not; with DENIED terms.rule says by what.
 */
enum core_answer request_judge(struct core *core, struct wish *wish);
enum core_answer request_decide(struct core *core, struct wish *wish); /* its last part: deny list and policy */
/* Attaches a FREE device, or asks first. DONE: its end comes to request_ended(). Else nothing has changed. */
enum core_answer request_start(struct core *core, struct wish *wish);
/* To whoever wanted it; `device` may be NULL when the device has gone. */
void request_ended(struct core *core, struct core_device *device, enum core_origin origin, uint64_t token,
		   const struct reply *reply);
void request_refused(struct core *core, struct wish *wish, enum core_answer answer); /* the same, for a refusal */
void request_answer(struct core *core, const struct core_device *device, uint64_t token, const struct reply *reply);
enum outcome request_outcome(enum core_answer refusal); /* of a refused step of something longer */

/* parts.c */
bool parts_are_held(struct core *core, const struct core_device *whole); /* its source may still have one of them */
enum core_answer parts_judge(struct core *core, struct wish *wish);      /* DONE, or why not: wish->other */
void parts_freed(struct core *core,
		 const struct core_device *device); /* it was in the way of a part, or of its whole */
void parts_run(struct core *core);

/* question.c */
int question_answered(struct core *core, const struct core_event *event);
int question_answerers(struct core *core, const struct core_event *event);
bool question_has_place(struct core *core, struct core_qube_ref source); /* for one more about its devices */
/* DONE: it is open, or closed already; its end comes as request_ended() or a start. CROWDED: there is no place. TOO_SOON. */
enum core_answer question_open(struct core *core, const struct wish *wish, struct core_qube *const *targets,
			       unsigned int n_targets);
struct question *question_about(struct core *core, const struct core_device *device);
bool question_offers(const struct question *question, struct core_qube_ref target);
/* The qube whose wish it is, which came through qrexec: it takes nothing from another one, as its user may. NULL: no qube's. */
static inline const char *question_asker(const struct core_terms *terms)
{
	return terms->origin == CORE_ORIGIN_USER && terms->asked_by.qube[0] ? terms->asked_by.qube : NULL;
}
void question_void(struct core *core, const struct core_device *device);
void question_give_way(struct core *core, const struct core_device *device); /* void, if a qube's wish asks */
void question_source_lost(struct core *core, const struct core_qube *qube);
void question_qube_gone(struct core *core, const struct core_qube *qube);
void question_review(struct core *core); /* the policy, a deny list or the assignments changed */
void question_void_all(struct core *core);
void question_tick(struct core *core);
void question_run(struct core *core);

/* mute.c */
int mute_request(struct core *core, const struct core_event *event);
int mute_answered(struct core *core, struct core_qube *qube, const struct core_event *event);
void mute_left(struct core *core, struct core_device *device); /* it is ATTACHED no more */
void mute_tick(struct core *core, struct core_device *device);

/* move.c */
int move_request(struct core *core, const struct core_event *event);
void move_begin(struct core *core, const struct wish *wish, struct core_qube_ref from); /* after the question */
void move_attach_ended(struct core *core, const struct core_device *device, const struct reply *reply);
void move_cancel(struct core *core, const struct core_device *device);
void move_run(struct core *core);

/* auto.c */
int auto_assigned(struct core *core, const struct core_event *event);
int auto_unassigned(struct core *core, const struct core_event *event);
int auto_mode(struct core *core, const struct core_event *event);
int auto_denied(struct core *core, const struct core_event *event);
void auto_cause(struct core *core, struct core_device *device); /* something is new for it: all tries begin anew */
void auto_look(struct core *core, struct core_device *device);  /* what was in the way may be gone */
void auto_cause_all(struct core *core);
void auto_look_source(struct core *core, struct core_qube *source);
void auto_synced(struct core *core, struct core_qube *qube);         /* its agent is there */
void auto_answerers(struct core *core);                              /* somebody is there to be asked */
void auto_freed(struct core *core, struct core_device *device);      /* its session's fields still hold */
void auto_taken_over(struct core *core, struct core_device *device); /* a user wants something else */
void auto_hold(struct core *core, struct core_device *device);
bool auto_pending(struct core *core, struct core_device *device);
bool auto_follows(struct core *core, const struct core_device *device, const struct core_qube *target);
bool auto_required(struct core *core, const struct core_device *device, const struct core_qube *target);
void auto_ended(struct core *core, struct core_device *device, const struct reply *reply);
void auto_allowed(struct core *core, struct core_device *device, struct core_qube *target,
		  const struct core_user *user);
bool auto_still_asks(struct core *core, const struct core_device *device, const struct question *question);
void auto_run(struct core *core);

/* places.c */
void places_look(struct core *core, const struct core_qube *source);
void places_look_assigned(struct core *core, const struct core_assignment *assignment);
uint64_t places_deadline(const struct core *core); /* 0: none */
void places_run(struct core *core);

/* restore.c */
int restore_suspend(struct core *core, const struct core_event *event);
int restore_resumed(struct core *core, const struct core_event *event);
void restore_left(struct core *core, const struct core_device *device, const struct input *input); /* ATTACHED */
void restore_device_gone(struct core *core, const struct core_device *device, bool unplugged);
void restore_qube_started(struct core *core, const struct core_qube *qube);
void restore_qube_gone(struct core *core, const struct core_qube *qube);
int restore_remember(struct core *core, const struct core_memory *memory); /* 0 or CORE_EVENT_FULL */
bool restore_keeps(const struct core *core, uint64_t session);             /* on disk, as a claim */
bool restore_claims(struct core *core, const struct core_device *device);
bool restore_is_for_another(struct core *core, const struct core_device *device, const struct core_qube *target);
bool restore_drop(struct core *core, const struct core_device *device, const struct core_qube_ref *target);
/*
 * Drops the claims on the place of a memory that is given up: it was made after them, for that is what drops a claim, and only the
 * disk has not heard of that.
 */
void restore_supersede(struct core *core, const struct core_memory *memory);
void restore_ended(struct core *core, struct core_device *device, const struct reply *reply);
void restore_run(struct core *core);
void restore_sleep_run(struct core *core);

/* adopt.c */
int adopt_remember(struct core *core, const struct core_event *event);
void adopt_qube_started(struct core *core, const struct core_qube *qube);
void adopt_qube_gone(struct core *core, const struct core_qube *qube);
void adopt_agent_lost(struct core *core, const struct core_qube *qube);
/* A SESSION report. 0: it was a memory's, and right. CORE_EVENT_IGNORED: handle it as any other. Or CHEATED. */
int adopt_report(struct core *core, struct core_qube *qube, const struct core_event *event);
unsigned int adopt_n_reported(const struct core *core, const struct core_qube *qube);
bool adopt_closed(struct core *core, struct core_qube *qube, uint64_t session); /* true: an unbound memory's side */
void adopt_synced(struct core *core, struct core_qube *qube);
void adopt_listed(struct core *core, struct core_device *device);
void adopt_list_end(struct core *core, struct core_qube *qube);
void adopt_left(struct core *core, struct core_device *device, enum core_state state); /* ADOPTING, for `state` */
bool adopt_blocks(const struct core *core, const struct core_device *device);
void adopt_fail_all(struct core *core, enum outcome outcome);
void adopt_tick(struct core *core);

static inline bool same_qube(struct core_qube_ref a, struct core_qube_ref b)
{
	return a.index == b.index && a.incarnation == b.incarnation;
}

static inline bool same_device(struct core_device_ref a, struct core_device_ref b)
{
	return same_qube(a.qube, b.qube) && a.agent_life == b.agent_life && a.slot == b.slot &&
	       a.generation == b.generation;
}

/* Paths, where both are known: a port's name is another one after its controller was reset. */
static inline bool same_place(const struct core_device *a, const struct core_device *b)
{
	if (a->class_id != b->class_id)
		return false;
	return a->path[0] && b->path[0] ? strcmp(a->path, b->path) == 0 : strcmp(a->port, b->port) == 0;
}

static inline struct plan *plan_of(struct core *core, const struct core_device *device)
{
	/* not by its ref: the record of a qube that has gone has none */
	size_t index = (size_t)((const char *)device - (const char *)core->qubes) / sizeof(core->qubes[0]);

	return &core->plans[index][device - core->qubes[index].devices];
}

static inline void core_emit(struct core *core, const struct core_action *action)
{
	core->hooks.emit(core->userdata, action);
}

/* BACKOFF_AUTO_FIRST_USEC, doubled with each try after the first. */
static inline uint64_t backoff_usec(unsigned int n_tries)
{
	uint64_t usec = BACKOFF_AUTO_FIRST_USEC;

	while (n_tries-- > 1 && usec < BACKOFF_AUTO_LAST_USEC)
		usec *= 2;
	return usec < BACKOFF_AUTO_LAST_USEC ? usec : BACKOFF_AUTO_LAST_USEC;
}
