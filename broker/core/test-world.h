/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world that the random schedules move in, and its judge: what really runs in each qube, what is on disk, what the
 * policy says, what users asked for; and for each action of the core whether it was right. The judge looks at actions,
 * answers and the world only; of the core's records it reads what an action shows (which device, from where, to where).
 */
#pragma once

#include "tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/assignments.h"
#include "broker/core/core.h"
#include "lib/base/base.h"

#define N_QUBES 4
#define N_PORTS 3 /* of USB */
/* and then a microphone's and a camera's, parts of what is in the first port, or left over from it */
#define CAMERA_PLACE (N_PORTS + 1)
#define N_PLACES (N_PORTS + 2)
#define N_STREAMS 16
#define N_QUEUE 128
#define N_TOKENS 4096
#define N_SESSIONS 4096
#define N_DISK 256
#define N_ASKED 64
/* A leg of a request passes at most: audit, the end of its parts, export, import, stop. */
#define LEG_WITHIN (3 * TIMEOUT_ATTACH_STEP_USEC + 2 * TIMEOUT_STOP_USEC)
/* The longest is a move that is asked about and goes back: a question, a stop, two legs. */
#define ANSWER_WITHIN (TIMEOUT_ASK_USEC + TIMEOUT_STOP_USEC + 2 * LEG_WITHIN)

struct stream {
	bool used;
	uint8_t side;
	uint64_t session;
	uint64_t plug; /* export: which plugged-in piece of hardware */
	unsigned int place;
	uint16_t peer; /* domain id at the other end */
	uint8_t digest;
};

/* What travels to an agent. */
struct order {
	enum core_action_type type;
	uint64_t session;
	uint16_t slot;
	uint32_t generation;
	uint16_t peer;
	uint8_t digest;
};

struct port {
	uint64_t plug; /* 0: empty; else unique in the test's life */
	uint32_t generation;
	unsigned int identity;
	/* whom it was last ATTACHED to, and what it was then: what lets a claim or a way back go without a question */
	unsigned int last_target; /* number of the qube, + 1; 0: nobody */
	uint64_t last_life;
	unsigned int last_identity;
	uint64_t held_plug; /* detached by its user: to be left alone */
};

struct qube {
	bool alive;
	uint64_t life; /* unique */
	struct core_qube_ref ref;
	uint16_t domid;
	bool agent;                  /* the process */
	bool connected;              /* to the broker */
	bool deaf;                   /* swallows orders, never answers */
	bool lies;                   /* has reported what it does not run */
	bool pathless;               /* an agent of before there were paths, in a qube whose ports keep their names */
	unsigned int buses[N_PORTS]; /* each port is a controller's: the number of its bus now */
	bool fresh;                  /* its agent has not begun a list in this life, as far as the broker knows */
	uint64_t incarnation;
	struct port ports[N_PLACES];
	struct stream streams[N_STREAMS];
	unsigned int n_orders, n_words;
	struct order orders[N_QUEUE];
	struct core_event words[N_QUEUE];
};

struct token {
	enum core_event_type type;
	unsigned int n_answers;
	uint64_t since_usec;
	uint64_t max_time_usec;
	struct core_picture picture;
	struct core_device_ref device;
	struct core_qube_ref from, target;
};

struct session {
	uint64_t number;
	bool audited, decided;
	bool attached; /* told as ATTACHED and not yet as ended */
	bool free;     /* told as FREE */
	uint64_t end_usec;
	struct core_device_ref device;
	struct core_qube_ref source, target;
	unsigned int target_number;
};

/* What was written before an EXPORT, until it is forgotten. */
struct record {
	bool used;
	bool written;       /* for sure */
	uint64_t forgotten; /* as the how manieth of all; but the tail may be lost. 0: not */
	uint64_t after;     /* so many were forgotten when it was written, and are for sure when it is */
	bool given;         /* to the running core, which has not settled it */
	struct core_memory memory;
};

struct asked {
	uint64_t id; /* 0: none */
	struct core_device_ref device;
	uint64_t deadline_usec;
	unsigned int n_offered;
	char offered[LIMIT_OFFERED][LIMIT_QUBE_NAME + 1];
};

static struct world {
	struct core *core;
	uint64_t now_usec;
	uint64_t random;
	uint64_t n_plugs, n_lives, n_incarnations, n_exports, n_attached, n_adopted, n_not_adopted, n_shown, n_allowed;
	uint64_t n_learnt, n_renumbered, n_not_kept, n_by_path;
	uint64_t n_moved, n_moved_back, n_moved_free, n_resumed, n_replugged, n_auto, n_limits, n_restarts,
		n_parts_ended, n_wholes_refused, n_parts_refused, n_claims_kept, n_claims_back;
	uint32_t epoch;
	uint16_t next_domid;
	struct qube qubes[N_QUBES];
	unsigned int n_tokens, n_sessions;
	struct token tokens[N_TOKENS];
	struct session sessions[N_SESSIONS];
	unsigned int first_open_token;
	struct record disk[N_DISK];
	uint64_t n_forgotten, n_forgotten_for_sure;
	/* the policy, and the deny lists: interface classes 3 and 8, one bit each */
	enum core_verdict verdicts[N_QUBES][N_QUBES];
	uint64_t policy_limit_usec;
	bool end_parts;
	unsigned int denied[N_QUBES];
	struct assignments *assignments;
	unsigned int n_answerers;
	struct asked asked[N_ASKED];
	struct asked last_asked;
	bool suspended;
	bool answering; /* `allow` is just being told, about this: */
	uint64_t answered_question;
	struct core_device_ref answered_device;
	unsigned int answered_target;
} w;

static uint64_t draw(uint64_t n)
{
	w.random ^= w.random >> 12;
	w.random ^= w.random << 25;
	w.random ^= w.random >> 27;
	return (w.random * 2685821657736338717ull >> 32) % n;
}

static struct qube *qube_of(struct core_qube_ref ref)
{
	for (unsigned int i = 0; i < N_QUBES; i++)
		if (w.qubes[i].alive && w.qubes[i].ref.index == ref.index &&
		    w.qubes[i].ref.incarnation == ref.incarnation)
			return &w.qubes[i];
	return NULL;
}

static struct session *session_of(uint64_t number)
{
	for (unsigned int i = w.n_sessions; i-- > 0;)
		if (w.sessions[i].number == number)
			return &w.sessions[i];
	return NULL;
}

/* Is an export of this session running, or on its way to its agent? */
static bool may_flow(const struct qube *qube, uint64_t session)
{
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].used && qube->streams[i].side == WIRE_SIDE_EXPORT &&
		    qube->streams[i].session == session)
			return true;
	for (unsigned int i = 0; i < qube->n_orders; i++)
		if (qube->orders[i].type == CORE_DO_EXPORT && qube->orders[i].session == session)
			return true;
	return false;
}

/* The whole and a part of it; two parts are not. */
static bool are_related(unsigned int place, unsigned int other)
{
	return (place == 0 && other >= N_PORTS) || (place >= N_PORTS && other == 0);
}

/* Nothing of its part, or its whole, flows; what was of a former plug is not of this one. */
static void check_relatives(const struct qube *qube, const struct core_device *device)
{
	for (unsigned int i = 0; i < w.n_sessions; i++) {
		const struct session *session = &w.sessions[i];

		if (qube_of(session->source) == qube && are_related(session->device.slot, device->ref.slot) &&
		    session->device.agent_life == device->ref.agent_life &&
		    session->device.generation == qube->ports[session->device.slot].generation)
			assert_true(qube->lies || !may_flow(qube, session->number));
	}
}

static unsigned int number_of(const struct qube *qube)
{
	return (unsigned int)(qube - w.qubes);
}

/* The test's own digest of what the target is to check. */
static uint8_t approved_of(const struct core_device *device)
{
	return (uint8_t)(device->digest[0] ^ 0x5A ^ device->serial[1]);
}

static void order(const struct core_action *action)
{
	struct qube *qube = qube_of(action->qube);
	const struct core_qube *target = action->device ? core_find_qube(w.core, action->device->target) : NULL;
	const struct core_qube *source = action->device ? core_find_qube(w.core, action->device->ref.qube) : NULL;
	struct order *o;

	assert_non_null(qube);
	assert_true(qube->connected); /* the core never orders where nobody listens */
	assert_true(qube->n_orders < N_QUEUE);
	o = &qube->orders[qube->n_orders++];
	*o = (struct order){.type = action->type, .session = action->session};
	if (action->type == CORE_DO_EXPORT) {
		struct session *session = session_of(action->session);

		assert_true(session && session->audited); /* promise 1 */
		assert_false(w.suspended);
		assert_non_null(target);
		check_relatives(qube, action->device);
		o->slot = action->device->ref.slot;
		o->generation = action->device->ref.generation;
		o->peer = target->domid;
		o->digest = action->device->digest[0];
		assert_true(core_picture_is_fit(&action->device->terms.picture, action->device->class_id));
	} else if (action->type == CORE_DO_IMPORT) {
		o->peer = source->domid;
		o->digest = approved_of(action->device);
		assert_true(core_picture_is_fit(&action->device->terms.picture, action->device->class_id));
		assert_true(action->label[0] != '\0' && strlen(action->label) < WIRE_LABEL);
	}
}

/* ---- what the checks remember ------------------------------------------------------------------------------------ */

/* The agents below number their devices as their ports, whatever these are called. */
static struct port *port_of(const struct core_device *device)
{
	struct qube *qube = qube_of(device->ref.qube);
	unsigned int p = device->ref.slot;

	assert_true(p < N_PLACES);
	return qube ? &qube->ports[p] : NULL;
}

static unsigned int identity_of(const struct core_device *device)
{
	return device->vendor;
}

static bool is_denied(unsigned int target, const struct core_device *device)
{
	return device->class_id == WIRE_CLASS_USB && ((w.denied[target] & 1 && device->interfaces[0][0] == 3) ||
						      (w.denied[target] & 2 && device->interfaces[0][0] == 8));
}

static struct record *record_of(uint64_t session)
{
	for (unsigned int i = 0; i < N_DISK; i++)
		if (w.disk[i].used && w.disk[i].memory.session == session)
			return &w.disk[i];
	return NULL;
}

static void life_of(const struct qube *qube, struct core_life *life)
{
	memset(life, 0, sizeof(*life));
	life->domid = qube->domid;
	life->uuid[0] = (uint8_t)number_of(qube);
	(void)snprintf(life->name, sizeof(life->name), "q%u", number_of(qube));
	(void)snprintf(life->start, sizeof(life->start), "%llu", (unsigned long long)qube->life);
}

static void write_record(const struct core_device *device, uint64_t session, const struct qube *source,
			 const struct qube *target)
{
	struct record *record = NULL;

	for (unsigned int i = 0; i < N_DISK && !record; i++)
		if (!w.disk[i].used)
			record = &w.disk[i];
	for (unsigned int i = 0; i < N_DISK && !record; i++)
		if (w.disk[i].forgotten)
			record = &w.disk[i];
	assert_non_null(record);
	*record = (struct record){.used = true, .after = w.n_forgotten};
	record->memory.session = session;
	life_of(source, &record->memory.source);
	life_of(target, &record->memory.target);
	record->memory.agent_incarnation = source->incarnation;
	record->memory.device = *device;
	record->memory.approved[0] = approved_of(device);
}

static void assert_same_picture(const struct core_picture *a, const struct core_picture *b)
{
	assert_true(a->width == b->width && a->height == b->height && a->fps == b->fps);
	assert_memory_equal(a->controls, b->controls, sizeof(a->controls));
}

/* May it begin? The one moment at which everything must be right. */
static void on_audit(const struct core_action *action)
{
	const struct core_device *device = action->device;
	const struct core_terms *terms = &device->terms;
	struct qube *source = qube_of(device->ref.qube), *target = qube_of(device->target);
	struct port *port = port_of(device);
	struct session *session;
	enum core_verdict verdict;
	bool was_there;

	assert_non_null(source);
	assert_non_null(target);
	assert_true(source->connected && target->connected);
	assert_false(w.suspended);
	assert_null(session_of(action->session));
	assert_null(record_of(action->session));  /* no number twice, over all lives */
	for (unsigned int i = 0; i < N_DISK; i++) /* nothing of a former broker is open at that port */
		assert_false(w.disk[i].used && w.disk[i].given &&
			     strcmp(w.disk[i].memory.device.port, device->port) == 0 &&
			     w.disk[i].memory.source.domid == source->domid &&
			     w.disk[i].memory.source.uuid[0] == number_of(source) &&
			     strtoull(w.disk[i].memory.source.start, NULL, 10) == source->life);
	for (unsigned int i = 0; i < N_DISK; i++) /* nor anything of its part or its whole */
		assert_false(w.disk[i].used && w.disk[i].given &&
			     are_related(w.disk[i].memory.device.ref.slot, device->ref.slot) &&
			     w.disk[i].memory.source.domid == source->domid &&
			     w.disk[i].memory.source.uuid[0] == number_of(source) &&
			     strtoull(w.disk[i].memory.source.start, NULL, 10) == source->life);
	assert_false(is_denied(number_of(target), device));
	verdict = w.verdicts[number_of(source)][number_of(target)];
	was_there = port->last_target == number_of(target) + 1 && port->last_life == target->life &&
		    port->last_identity == identity_of(device);
	if (verdict == CORE_VERDICT_ASK && !(w.answering && w.answered_target == number_of(target) &&
					     memcmp(&w.answered_device, &device->ref, sizeof(device->ref)) == 0)) {
		/* a move that was asked about is allowed earlier than it begins, when it had to be stopped first */
		bool moved = terms->origin == CORE_ORIGIN_MOVE && terms->answered;

		assert_true(moved ||
			    (was_there && (terms->origin == CORE_ORIGIN_BACK || terms->origin == CORE_ORIGIN_RESUME ||
					   terms->origin == CORE_ORIGIN_REPLUG)));
	} else {
		assert_true(verdict != CORE_VERDICT_DENY);
	}
	if (terms->origin ==
	    CORE_ORIGIN_AUTO) { /* what has a path goes by that alone, but where an agent does not say it */
		const struct core_assignment *assignment;
		unsigned int cursor = 0;
		bool fits = false;

		while ((assignment = assignments_next(w.assignments, &cursor))) {
			bool by_path = assignment->path[0] && !source->pathless;

			if (assignment->class_id != device->class_id ||
			    assignment->source[1] != (char)('0' + number_of(source)) ||
			    assignment->target[1] != (char)('0' + number_of(target)) ||
			    (assignment->port[0] && !by_path && strcmp(assignment->port, device->port) != 0) ||
			    (by_path && assignment->path[0] != (char)('A' + device->ref.slot)))
				continue;
			fits = true;
			w.n_by_path += by_path && strcmp(assignment->port, device->port) != 0;
		}
		assert_true(fits);
		assert_true(port->held_plug == 0 || port->held_plug != port->plug);
		w.n_auto++;
	}
	if (terms->origin == CORE_ORIGIN_RESUME || terms->origin == CORE_ORIGIN_REPLUG)
		assert_true(port->last_target == number_of(target) + 1 && port->last_life == target->life &&
			    (port->last_identity == identity_of(device) || terms->follow_port));
	w.n_resumed += terms->origin == CORE_ORIGIN_RESUME;
	w.n_replugged += terms->origin == CORE_ORIGIN_REPLUG;
	if (w.policy_limit_usec != 0)
		assert_true(terms->end_usec != 0 && terms->end_usec <= w.now_usec + w.policy_limit_usec);
	if (action->token != 0)
		assert_same_picture(&terms->picture, &w.tokens[action->token - 1].picture);
	if (action->token != 0 && w.tokens[action->token - 1].max_time_usec != 0)
		assert_true(terms->end_usec != 0 &&
			    terms->end_usec <= w.now_usec + w.tokens[action->token - 1].max_time_usec);
	assert_true(w.n_sessions < N_SESSIONS);
	session = &w.sessions[w.n_sessions++];
	*session = (struct session){.number = action->session,
				    .end_usec = terms->end_usec,
				    .device = device->ref,
				    .source = device->ref.qube,
				    .target = device->target,
				    .target_number = number_of(target)};
	write_record(device, action->session, source, target);
}

static void be_written(struct record *record)
{
	record->written = true;
	if (record->after > w.n_forgotten_for_sure)
		w.n_forgotten_for_sure = record->after;
}

static bool runs(const struct qube *qube, uint64_t session, uint8_t side)
{
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].used && qube->streams[i].session == session && qube->streams[i].side == side)
			return true;
	return false;
}

static void on_attached(const struct core_action *action)
{
	struct qube *source = qube_of(action->device->ref.qube), *target = qube_of(action->device->target);
	struct session *session = session_of(action->session);
	struct port *port = port_of(action->device);
	struct record *record = record_of(action->session);

	assert_non_null(source);
	assert_non_null(target);
	assert_true(record && !record->forgotten);
	if (!session) { /* adopted: both sides run it, or have just said that it ended */
		assert_true(record->given);
		assert_true(source->lies || source->n_words > 0 || runs(source, action->session, WIRE_SIDE_EXPORT));
		assert_true(target->lies || target->n_words > 0 || runs(target, action->session, WIRE_SIDE_IMPORT));
		assert_int_equal(strtoull(record->memory.source.start, NULL, 10), source->life);
		assert_int_equal(strtoull(record->memory.target.start, NULL, 10), target->life);
		assert_true(w.n_sessions < N_SESSIONS);
		session = &w.sessions[w.n_sessions++];
		*session = (struct session){.number = action->session,
					    .audited = true,
					    .decided = true,
					    .end_usec = record->memory.device.terms.end_usec,
					    .device = action->device->ref,
					    .source = action->device->ref.qube,
					    .target = action->device->target,
					    .target_number = number_of(target)};
		record->given = false;
		w.n_adopted++;
	}
	for (unsigned int i = 0; i < w.n_sessions; i++) /* one device, one attachment */
		assert_false(w.sessions[i].attached &&
			     memcmp(&w.sessions[i].device, &session->device, sizeof(session->device)) == 0);
	session->attached = true;
	port->last_target = number_of(target) + 1;
	port->last_life = target->life;
	port->last_identity = identity_of(action->device);
	w.n_attached++;
}

static void on_note(const struct core_action *action)
{
	struct session *session = session_of(action->session);
	struct record *record = record_of(action->session);

	if (action->outcome == OUTCOME_WHOLE_ATTACHED && action->state == CORE_DETACHING) {
		bool has_whole = false; /* in any port: until a list is whole it may be called as another one was */

		for (unsigned int i = 0; i < w.n_sessions; i++)
			has_whole = has_whole || (w.sessions[i].device.slot < N_PORTS && w.sessions[i].audited &&
						  !w.sessions[i].free &&
						  w.sessions[i].source.index == action->device->ref.qube.index);
		assert_true(has_whole && action->device->ref.slot >= N_PORTS);
		w.n_parts_ended++;
	}
	if (record && record->given && action->state != CORE_ADOPTING && action->state != CORE_ATTACHED)
		record->given = false; /* the state machine has it */
	if (action->state != CORE_ATTACHED && session && session->attached) {
		struct port *port = port_of(action->device);

		session->attached = false;
		if (port && action->outcome == OUTCOME_TIME_LIMIT) {
			port->last_target = 0;
			w.n_limits++;
			assert_true(w.now_usec >= session->end_usec);
		}
	}
	/* whenever the core calls a device free, its source must run nothing of that session */
	if (action->state == CORE_FREE) {
		struct qube *qube = qube_of(action->device->ref.qube);

		assert_true(!qube || !may_flow(qube, action->session) || qube->lies);
		if (session)
			session->free = true;
	}
}

/* What a sleep has ended: from here on its record is no stream any more. */
static void on_claim(const struct core_action *action)
{
	const struct session *session = session_of(action->session);
	struct record *record = record_of(action->session);

	assert_true(record && !record->forgotten && session && session->free);
	record->memory.asleep = true;
	w.n_claims_kept++;
}

static void on_forget(const struct core_action *action)
{
	struct record *record = record_of(action->session);
	struct session *session = session_of(action->session);

	if (record) {
		assert_false(record->forgotten);
		record->forgotten = ++w.n_forgotten;
		record->given = false;
	}
	assert_true(!session || session->free);
}

/* Where the device is attached now, as it was told; N_QUBES: nowhere. */
static unsigned int place_of(struct core_device_ref device)
{
	for (unsigned int i = 0; i < w.n_sessions; i++)
		if (w.sessions[i].attached && memcmp(&w.sessions[i].device, &device, sizeof(device)) == 0)
			return w.sessions[i].target_number;
	return N_QUBES;
}

static bool is_at(const struct token *token, struct core_qube_ref ref)
{
	struct qube *qube = qube_of(ref);

	return qube && place_of(token->device) == number_of(qube);
}

static void on_answer(const struct core_action *action)
{
	struct token *token;

	assert_in_range(action->token, 1, w.n_tokens);
	token = &w.tokens[action->token - 1];
	assert_int_equal(token->n_answers++, 0);
	assert_true(w.now_usec - token->since_usec <= ANSWER_WITHIN);
	if (token->type == CORE_SUSPEND) {
		assert_true(w.now_usec - token->since_usec <= TIMEOUT_STOP_USEC);
		for (unsigned int i = 0; action->answer == CORE_ANSWER_DONE && i < w.n_sessions; i++) {
			struct qube *source = qube_of(w.sessions[i].source);

			assert_true(!source || source->lies || !may_flow(source, w.sessions[i].number));
		}
		return;
	}
	if ((token->type == CORE_ATTACH || token->type == CORE_MOVE) && action->answer == CORE_ANSWER_DONE)
		assert_true(is_at(token, token->target));
	if (token->type == CORE_DETACH && action->answer == CORE_ANSWER_DONE)
		assert_false(is_at(token, token->target));
	if (action->answer == CORE_ANSWER_MOVED_BACK)
		assert_true(is_at(token, token->from));
	if (action->answer == CORE_ANSWER_MOVED_FREE || action->answer == CORE_ANSWER_NOT_CONFIRMED)
		assert_int_equal(place_of(token->device), N_QUBES);
	w.n_wholes_refused += action->answer == CORE_ANSWER_PART_IN_USE;
	w.n_parts_refused += action->answer == CORE_ANSWER_WHOLE_IN_USE;
	w.n_moved += token->type == CORE_MOVE && action->answer == CORE_ANSWER_DONE;
	w.n_moved_back += action->answer == CORE_ANSWER_MOVED_BACK;
	w.n_moved_free += action->answer == CORE_ANSWER_MOVED_FREE;
}

static void on_ask(const struct core_action *action)
{
	struct asked *asked = NULL;

	assert_true(w.n_answerers > 0);
	assert_false(w.suspended);
	for (unsigned int i = 0; i < N_ASKED; i++) { /* one at a time per device qube */
		assert_false(w.asked[i].id != 0 && w.asked[i].device.qube.index == action->question->device.qube.index);
		asked = w.asked[i].id == 0 ? &w.asked[i] : asked;
	}
	assert_non_null(asked);
	assert_true(action->question->deadline_usec >= w.now_usec);
	assert_true(action->question->deadline_usec <= w.now_usec + TIMEOUT_ASK_USEC);
	*asked = (struct asked){.id = action->question->id,
				.device = action->question->device,
				.deadline_usec = action->question->deadline_usec,
				.n_offered = action->question->n_offered};
	memcpy(asked->offered, action->question->offered, sizeof(asked->offered));
	w.last_asked = *asked;
	w.n_shown++;
}

static void on_ask_end(const struct core_action *action)
{
	for (unsigned int i = 0; i < N_ASKED; i++)
		if (w.asked[i].id == action->question->id)
			w.asked[i].id = 0;
	if (action->question_end == CORE_QUESTION_ALLOWED)
		assert_true(w.answering && w.answered_question == action->question->id);
	w.n_allowed += action->question_end == CORE_QUESTION_ALLOWED;
}

static void on_removed(const struct core_action *action)
{
	w.answering = w.answering && memcmp(&w.answered_device, &action->device->ref, sizeof(w.answered_device)) != 0;
}

static void on_action(void *userdata _unused_, const struct core_action *action)
{
	switch (action->type) {
	case CORE_DO_AUDIT:
		on_audit(action);
		break;
	case CORE_DO_EXPORT:
	case CORE_DO_IMPORT:
	case CORE_DO_STOP_SOURCE:
	case CORE_DO_STOP_TARGET:
	case CORE_DO_STOP_STRAY:
		order(action);
		break;
	case CORE_DO_ANSWER:
		on_answer(action);
		break;
	case CORE_DO_ATTACHED:
		on_attached(action);
		break;
	case CORE_DO_NOTE:
		on_note(action);
		break;
	case CORE_DO_CLAIM:
		on_claim(action);
		break;
	case CORE_DO_FORGET:
		on_forget(action);
		break;
	case CORE_DO_ASK:
		on_ask(action);
		break;
	case CORE_DO_ASK_END:
		on_ask_end(action);
		break;
	case CORE_DO_NOT_ADOPTED:
		w.n_not_adopted++;
		break;
	case CORE_DO_DEVICE_REMOVED:
		on_removed(action);
		break;
	case CORE_DO_MUTE: /* what can be muted is in test-mute.c */
	case CORE_DO_NOTE_MUTE:
	case CORE_DO_MUTED:
	case CORE_DO_USE:
		fail_msg("nobody mutes here");
		break;
	case CORE_DO_DEVICE_ADDED:
	case CORE_DO_DETACHED:
	case CORE_DO_LIMIT_NEAR:
	case CORE_DO_AUTO_FAILED:
	case CORE_DO_RESTORE_FAILED:
		break;
	}
}

/* The disk, which is full at times. A path is the one of the port that is called so, or the name is what it has now. */
static bool relocate(void *userdata _unused_, const struct core_assignment *stored,
		     const struct core_assignment *changed)
{
	const struct core_assignment *is = assignments_find(w.assignments, stored);
	struct qube *source = &w.qubes[stored->source[1] - '0'];
	const struct core_qube *qube = core_find_qube(w.core, source->ref);
	unsigned int cursor = 0, p = (unsigned int)(changed->path[0] - 'A');
	const struct core_device *device;
	const char *name = "";

	assert_true(is && strcmp(is->port, stored->port) == 0 && is->mode == stored->mode);
	assert_true(p < N_PORTS && source->alive && !source->pathless);
	while ((device = core_next_device(qube, &cursor))) /* as its agent said last */
		name = device->ref.slot == p ? device->port : name;
	assert_string_equal(changed->port, name);
	assert_true(stored->path[0] ? strcmp(stored->path, changed->path) == 0 && strcmp(stored->port, name) != 0
				    : strcmp(stored->port, name) == 0);
	if (draw(8) == 0) {
		w.n_not_kept++;
		return false;
	}
	w.n_renumbered += stored->path[0] != '\0';
	w.n_learnt += stored->path[0] == '\0';
	assert_int_equal(assignments_replace(w.assignments, stored, changed), 0);
	return true;
}

static void decide(void *userdata _unused_, const struct core_device *device, const struct core_qube *source,
		   const struct core_qube *target, struct core_decision *ret_decision)
{
	assert_non_null(device);
	ret_decision->verdict = w.verdicts[source->name[1] - '0'][target->name[1] - '0'];
	ret_decision->max_time_usec = w.policy_limit_usec;
	ret_decision->end_parts = w.end_parts;
	(void)snprintf(ret_decision->default_target, sizeof(ret_decision->default_target), "q0");
}
