// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HP05, DI01, PD10: random schedules of users, plugs, agents, qubes, audits, policies, answers, assignments, sleeps,
 * restarts of the broker and time against the core, judged by a model of the world that shares nothing with it: the
 * agents below really hold streams, the disk keeps what was written, and the checks look at those, at the actions and
 * at the answers, never at the core's own notes.
 *
 *   QDB_TEST_SEED=n      the first schedule's seed
 *   QDB_TEST_SCHEDULES=n how many
 */
#include "broker/core/test-agents.h"

#define N_STEPS 150
#define N_SCHEDULES 100000

/* ---- the rest of the world --------------------------------------------------------------------------------------- */

static struct core_event started_event(const struct qube *qube)
{
	struct core_event event = {.type = CORE_QUBE_STARTED, .now_usec = w.now_usec};

	event.qube_started.domid = qube->domid;
	event.qube_started.uuid[0] = (uint8_t)number_of(qube);
	(void)snprintf(event.qube_started.name, sizeof(event.qube_started.name), "q%u", number_of(qube));
	(void)snprintf(event.qube_started.start, sizeof(event.qube_started.start), "%llu",
		       (unsigned long long)qube->life);
	return event;
}

/* Controllers come up in any order. */
static void number_buses(struct qube *qube)
{
	for (unsigned int p = 0; p < N_PORTS; p++)
		qube->buses[p] = p + 1;
	for (unsigned int p = N_PORTS; !qube->pathless && p-- > 1;) {
		unsigned int other = (unsigned int)draw(p + 1), bus = qube->buses[p];

		qube->buses[p] = qube->buses[other];
		qube->buses[other] = bus;
	}
}

static void start_qube(struct qube *qube, uint16_t domid)
{
	struct port ports[N_PLACES];
	struct core_event event;

	memcpy(ports, qube->ports, sizeof(ports));
	memset(qube, 0, sizeof(*qube));
	for (unsigned int p = 0; p < N_PLACES; p++) { /* a claim after a sleep outlives its source's life */
		qube->ports[p].last_target = ports[p].last_target;
		qube->ports[p].last_life = ports[p].last_life;
		qube->ports[p].last_identity = ports[p].last_identity;
	}
	qube->life = ++w.n_lives;
	qube->pathless = number_of(qube) == N_QUBES - 1;
	number_buses(qube);
	qube->domid = domid;
	qube->alive = qube->fresh = true;
	event = started_event(qube);
	assert_int_equal(core_handle(w.core, &event, &qube->ref), 0);
}

static void end_life(struct qube *qube)
{
	qube->alive = qube->agent = qube->connected = false;
	qube->n_words = qube->n_orders = 0;
	memset(qube->streams, 0, sizeof(qube->streams));
	for (unsigned int p = 0; p < N_PLACES; p++)
		qube->ports[p].plug = 0;
}

static void kill_qube(struct qube *qube)
{
	struct core_qube_ref ref = qube->ref;
	uint16_t domid = qube->domid;

	if (!qube->alive)
		return;
	end_life(qube);
	if (draw(2)) { /* its domain id is seen again before anybody said that it was gone */
		start_qube(qube, domid);
		assert_int_equal(tell((struct core_event){.type = CORE_QUBE_GONE, .qube = ref}), CORE_EVENT_IGNORED);
		return;
	}
	assert_int_equal(tell((struct core_event){.type = CORE_QUBE_GONE, .qube = ref}), 0);
	assert_int_equal(tell((struct core_event){.type = CORE_AGENT_LOST, .qube = ref}), CORE_EVENT_IGNORED);
}

static void plug(struct qube *qube, bool in)
{
	unsigned int p = (unsigned int)draw(N_PLACES);
	struct core_event event = {.type = CORE_DEVICE_GONE};

	if (!qube->alive)
		return;
	if (qube->ports[p].plug != 0) { /* also a re-plug whose end nobody tells */
		event.gone.slot = (uint16_t)p;
		event.gone.generation = qube->ports[p].generation;
		for (unsigned int i = 0; i < N_STREAMS; i++)
			if (qube->streams[i].used && qube->streams[i].plug == qube->ports[p].plug && draw(2)) {
				qube->streams[i].used = false;
				say_session(qube, CORE_ENDED, qube->streams[i].session, OUTCOME_UNPLUGGED);
			}
		qube->ports[p].plug = 0;
		if (!in || draw(2))
			say(qube, event);
	}
	if (in) {
		qube->ports[p].plug = ++w.n_plugs;
		qube->ports[p].generation++;
		if (draw(4) == 0)
			qube->ports[p].identity = (unsigned int)draw(4);
		say_device(qube, p);
	}
}

/* The controllers are reset: all of it goes, and comes again under other names, the same or not. */
static void reset_controllers(struct qube *qube)
{
	if (!qube->alive || !qube->connected || qube->n_words > N_QUEUE / 2)
		return;
	for (unsigned int p = 0; p < N_PLACES; p++) {
		struct core_event event = {.type = CORE_DEVICE_GONE};

		if (qube->ports[p].plug == 0)
			continue;
		event.gone.slot = (uint16_t)p;
		event.gone.generation = qube->ports[p].generation;
		for (unsigned int i = 0; i < N_STREAMS; i++)
			if (qube->streams[i].used && qube->streams[i].plug == qube->ports[p].plug) {
				qube->streams[i].used = false;
				say_session(qube, CORE_ENDED, qube->streams[i].session, OUTCOME_UNPLUGGED);
			}
		say(qube, event);
	}
	number_buses(qube);
	for (unsigned int p = 0; p < N_PLACES; p++) {
		if (qube->ports[p].plug == 0)
			continue;
		qube->ports[p].plug = ++w.n_plugs;
		qube->ports[p].generation++;
		say_device(qube, p);
	}
}

static uint64_t new_token(enum core_event_type type)
{
	if (w.n_tokens == N_TOKENS)
		return 0;
	w.tokens[w.n_tokens++] = (struct token){.type = type, .since_usec = w.now_usec};
	return w.n_tokens;
}

static struct core_picture draw_picture(uint8_t class_id)
{
	struct core_picture picture = {0};

	if (class_id != WIRE_CLASS_WEBCAM)
		return picture;
	if (draw(2))
		picture.width = picture.height = (uint16_t)(16 + 2 * draw(2041));
	picture.fps = (uint16_t)draw(LIMIT_PICTURE_FPS + 1);
	for (size_t i = 0; i < CONTROL_COUNT; i++)
		picture.controls[i] = (uint8_t)draw(CONTROL_OF_WORDS + 1);
	return picture;
}

/* A user's request. */
static void ask(void)
{
	static const enum core_event_type types[] = {CORE_ATTACH, CORE_ATTACH, CORE_ATTACH,
						     CORE_DETACH, CORE_MOVE,   CORE_MOVE};
	const struct qube *source = &w.qubes[draw(N_QUBES)], *target = &w.qubes[draw(N_QUBES)];
	const struct core_qube *qube = core_find_qube(w.core, source->ref);
	struct core_event event = {.type = types[draw(ARRAY_SIZE(types))]};
	unsigned int cursor = 0, skip = (unsigned int)draw(N_PLACES);
	const struct core_device *device = qube ? core_next_device(qube, &cursor) : NULL;
	struct token *token;

	while (device && skip-- > 0) {
		const struct core_device *next = core_next_device(qube, &cursor);

		device = next ? next : device;
	}
	if (!device)
		return;
	if (device->state == CORE_ATTACHED && draw(2))
		event.type = CORE_MOVE;
	event.request.device = device->ref;
	event.request.from = draw(8) ? device->target : target->ref;
	event.request.target = event.type == CORE_DETACH && draw(4) ? device->target : target->ref;
	event.request.max_time_usec = draw(8) == 0 ? (1 + draw(40)) * USEC_PER_SEC : 0;
	event.request.picture = draw_picture(device->class_id);
	if (draw(16) == 0)
		event.request.device.generation++;
	event.request.token = new_token(event.type);
	if (event.request.token == 0)
		return;
	token = &w.tokens[event.request.token - 1];
	token->max_time_usec = event.type == CORE_DETACH ? 0 : event.request.max_time_usec;
	token->picture = event.request.picture;
	token->device = event.request.device;
	token->from = event.request.from;
	token->target = event.request.target;
	if (event.type == CORE_DETACH && device->state == CORE_ATTACHED &&
	    memcmp(&device->ref, &event.request.device, sizeof(device->ref)) == 0 &&
	    memcmp(&device->target, &event.request.target, sizeof(device->target)) == 0) {
		struct port *port = port_of(device);
		unsigned int former = port->last_target;

		if (source->connected && source->n_words == 0) /* the broker means the plug that is in */
			port->held_plug = port->plug;
		port->last_target = 0; /* no claim either */
		(void)tell(event);
		if (token->n_answers == 1 && place_of(token->device) != N_QUBES) {
			port->held_plug = 0; /* it is required there */
			port->last_target = former;
		}
		return;
	}
	(void)tell(event);
}

/* An answer to a question that is shown, or was: the right one, another one, twice, with a target not offered. */
static void answer_question(void)
{
	const struct asked *asked = draw(8) ? &w.asked[draw(N_ASKED)] : &w.last_asked;
	struct core_event event = {.type = CORE_ANSWERED};
	bool is_open = false;

	for (unsigned int i = 0; i < N_ASKED && asked->id == 0; i++)
		asked = &w.asked[i];
	if (asked->id == 0)
		return;
	for (unsigned int i = 0; i < N_ASKED; i++)
		is_open = is_open || w.asked[i].id == asked->id;
	event.answered.question = asked->id;
	event.answered.allow = draw(4) != 0;
	memcpy(event.answered.target, asked->offered[draw(asked->n_offered)], sizeof(event.answered.target));
	if (draw(8) == 0)
		event.answered.target[1] = '?';
	w.answering = event.answered.allow && event.answered.target[1] != '?';
	w.answered_question = asked->id;
	w.answered_device = asked->device;
	w.answered_target = (unsigned int)(event.answered.target[1] - '0');
	assert_int_equal(tell(event), is_open ? 0 : CORE_EVENT_IGNORED);
	w.answering = false;
	assert_int_equal(tell(event), CORE_EVENT_IGNORED); /* twice */
}

static void change_answerers(unsigned int n)
{
	w.n_answerers = n;
	assert_int_equal(tell((struct core_event){.type = CORE_ANSWERERS, .answerers = n}), 0);
	for (unsigned int i = 0; n == 0 && i < N_ASKED; i++)
		assert_int_equal(w.asked[i].id, 0);
}

static void change_policy(void)
{
	enum core_verdict verdicts[] = {CORE_VERDICT_DENY, CORE_VERDICT_ASK, CORE_VERDICT_ALLOW, CORE_VERDICT_ALLOW};
	struct core_event event = {.type = CORE_DENIED};
	unsigned int q = (unsigned int)draw(N_QUBES);

	if (draw(3)) {
		w.verdicts[draw(N_QUBES)][draw(N_QUBES)] = verdicts[draw(ARRAY_SIZE(verdicts))];
		w.policy_limit_usec = draw(16) == 0 ? 30 * USEC_PER_SEC : 0;
		w.end_parts = draw(2);
		assert_int_equal(tell((struct core_event){.type = CORE_POLICY_CHANGED}), 0);
		return;
	}
	w.denied[q] = draw(2) ? (unsigned int)draw(4) : 0;
	(void)snprintf(event.denied.qube, sizeof(event.denied.qube), "q%u", q);
	if (w.denied[q] & 1)
		(void)strcpy(event.denied.patterns[event.denied.n_patterns++], "u03****");
	if (w.denied[q] & 2)
		(void)strcpy(event.denied.patterns[event.denied.n_patterns++], "u08****");
	assert_int_equal(tell(event), 0);
}

static void change_assignment(void)
{
	static const enum core_event_type types[] = {CORE_ASSIGNED, CORE_UNASSIGNED, CORE_UNASSIGNED, CORE_ASSIGN_MODE};
	static const enum core_assign_mode modes[] = {CORE_ASSIGN_AUTO, CORE_ASSIGN_AUTO, CORE_ASSIGN_ASK,
						      CORE_ASSIGN_REQUIRED};
	static const uint8_t parts[] = {WIRE_CLASS_MIC, WIRE_CLASS_WEBCAM};
	struct core_assignment assignment = {.class_id = draw(8) ? WIRE_CLASS_USB : parts[draw(2)]};
	const struct core_assignment *named;
	struct core_event event = {.type = types[draw(ARRAY_SIZE(types))], .assignment = &assignment};
	unsigned int source = (unsigned int)draw(N_QUBES);
	int r;

	assignment.mode = modes[draw(ARRAY_SIZE(modes))];
	assignment.follow_port = draw(2);
	assignment.max_time_usec = draw(8) == 0 ? 20 * USEC_PER_SEC : 0;
	assignment.picture = draw_picture(assignment.class_id);
	(void)snprintf(assignment.source, sizeof(assignment.source), "q%u", source);
	(void)snprintf(assignment.target, sizeof(assignment.target), "q%u",
		       (source + 1 + (unsigned int)draw(N_QUBES - 1)) % N_QUBES);
	if (draw(2) && assignment.class_id == WIRE_CLASS_USB)
		(void)snprintf(assignment.port, sizeof(assignment.port), "%u-1", 1 + (unsigned int)draw(N_PORTS));
	if (event.type == CORE_ASSIGNED && draw(8)) /* as whoever stores it does; else the core does it later */
		core_locate(w.core, &assignment);
	named = assignments_find_named(w.assignments, &assignment);
	if (event.type != CORE_ASSIGNED && named)
		memcpy(assignment.path, named->path, sizeof(assignment.path));
	if (event.type == CORE_ASSIGNED)
		r = named || assignments_add(w.assignments, &assignment) ? CORE_EVENT_EXISTS : 0;
	else if (event.type == CORE_UNASSIGNED)
		r = assignments_remove(w.assignments, &assignment) ? CORE_EVENT_IGNORED : 0;
	else
		r = assignments_replace(w.assignments, &assignment, &assignment) ? CORE_EVENT_IGNORED : 0;
	if (r == 0)
		release_held();
	assert_int_equal(tell(event), r);
}

static void sleep_or_wake(void)
{
	struct core_event event = {.type = CORE_SUSPEND};
	uint64_t n = draw(4);

	if (w.suspended || n == 0) { /* also a sleep that nobody announced */
		w.suspended = false;
		assert_int_equal(tell((struct core_event){.type = CORE_RESUMED}), 0);
		return;
	}
	w.suspended = true;
	for (uint64_t i = 0; i < (n == 1 ? 2 : 1); i++) {
		event.request.token = new_token(CORE_SUSPEND);
		if (event.request.token != 0)
			(void)tell(event);
	}
}

static void audit(void)
{
	struct core_event event = {.type = draw(8) ? CORE_AUDITED : CORE_AUDIT_FAILED};
	struct session *session;

	if (w.n_sessions == 0)
		return;
	session = &w.sessions[w.n_sessions - 1 - draw(w.n_sessions < 6 ? w.n_sessions : 6)];
	for (unsigned int i = w.n_sessions; i-- > 0 && session->decided && draw(8);)
		session = w.sessions[i].decided ? session : &w.sessions[i];
	event.session.session = session->number;
	if (!session->decided && event.type == CORE_AUDITED)
		session->audited = true;
	if (!session->decided && event.type == CORE_AUDITED && record_of(session->number))
		be_written(record_of(session->number));
	if (session->decided) /* late and twice: must change nothing */
		assert_int_equal(tell(event), CORE_EVENT_IGNORED);
	else
		(void)tell(event);
	session->decided = true;
}

/* Time passes; the core is told at each deadline that it named, a little late at most. */
static void pass(uint64_t usec)
{
	uint64_t until = w.now_usec + usec;

	for (unsigned int n = 0; core_next_deadline(w.core) <= until; n++) {
		assert_true(n < 10000); /* each tick gets on */
		assert_true(core_next_deadline(w.core) >= w.now_usec);
		w.now_usec = core_next_deadline(w.core);
		(void)tell((struct core_event){.type = CORE_TICK});
	}
	w.now_usec = until;
	for (unsigned int i = 0; i < w.n_sessions; i++) /* a time that is over is over */
		assert_false(w.sessions[i].attached && w.sessions[i].end_usec != 0 &&
			     w.sessions[i].end_usec < w.now_usec);
	for (unsigned int i = 0; i < N_ASKED; i++)
		assert_true(w.asked[i].id == 0 || w.asked[i].deadline_usec >= w.now_usec);
}

static void check_tokens(void)
{
	while (w.first_open_token < w.n_tokens && w.tokens[w.first_open_token].n_answers == 1)
		w.first_open_token++;
	for (unsigned int i = w.first_open_token; i < w.n_tokens; i++)
		assert_true(w.tokens[i].n_answers == 1 || w.now_usec - w.tokens[i].since_usec <= ANSWER_WITHIN);
}

static void tell_stored(void)
{
	const struct core_assignment *assignment;
	unsigned int cursor = 0;

	while ((assignment = assignments_next(w.assignments, &cursor))) {
		struct core_assignment key = *assignment;

		if (tell((struct core_event){.type = CORE_ASSIGNED, .assignment = assignment}) == 0)
			continue;
		/* one that had not learnt its path, before one that knows it, both called the same: it is the first */
		assert_true(key.path[0]);
		key.path[0] = '\0';
		assert_string_equal(assignments_find(w.assignments, &key)->port, key.port);
		memcpy(key.path, assignment->path, sizeof(key.path));
		assert_int_equal(assignments_remove(w.assignments, &key), 0);
		cursor--;
	}
	for (unsigned int q = 0; q < N_QUBES; q++) {
		struct core_event event = {.type = CORE_DENIED};

		(void)snprintf(event.denied.qube, sizeof(event.denied.qube), "q%u", q);
		if (w.denied[q] & 1)
			(void)strcpy(event.denied.patterns[event.denied.n_patterns++], "u03****");
		if (w.denied[q] & 2)
			(void)strcpy(event.denied.patterns[event.denied.n_patterns++], "u08****");
		assert_int_equal(tell(event), 0);
	}
	assert_int_equal(tell((struct core_event){.type = CORE_ANSWERERS, .answerers = w.n_answerers}), 0);
}

/* What is on disk after a crash: records that were under way may be there, the last ones to be forgotten too. */
static void tell_memories(void)
{
	uint64_t lost = draw(2) ? draw(w.n_forgotten - w.n_forgotten_for_sure + 1) : 0;

	for (unsigned int i = 0; i < N_DISK; i++) {
		struct record *record = &w.disk[i];
		struct core_event event = {.type = CORE_REMEMBER};

		if (!record->used)
			continue;
		if ((record->forgotten && record->forgotten <= w.n_forgotten - lost) || (!record->written && draw(2))) {
			memset(record, 0, sizeof(*record));
			continue;
		}
		record->forgotten = 0;
		record->given = !record->memory.asleep; /* nothing of it is a stream to prove */
		record->written = true;
		w.n_claims_back += record->memory.asleep;
		event.memory = record->memory;
		assert_int_equal(tell(event), 0);
		assert_int_equal(tell(event), CORE_EVENT_IGNORED);
	}
	w.n_forgotten_for_sure = w.n_forgotten;
}

static const struct core_hooks hooks = {.emit = on_action, .decide = decide, .relocate = relocate};

static void restart_broker(void)
{
	w.core = core_free(w.core);
	w.core = core_new(++w.epoch, &hooks, NULL);
	assert_non_null(w.core);
	w.n_tokens = w.first_open_token = w.n_sessions = 0;
	w.suspended = false;
	memset(w.asked, 0, sizeof(w.asked));
	w.last_asked.id = 0;
	w.n_restarts++;
	release_held();
	tell_memories();
	tell_stored();
	for (unsigned int i = 0; i < N_QUBES; i++) {
		uint16_t domid = w.qubes[i].domid;

		if (!w.qubes[i].alive)
			continue;
		w.qubes[i].connected = false;
		w.qubes[i].fresh = true;
		w.qubes[i].n_words = 0;
		if (draw(16) == 0) { /* its domain ended while nobody looked */
			end_life(&w.qubes[i]);
			if (draw(2)) /* and its id is another one's */
				start_qube(&w.qubes[i], domid);
		} else {
			struct core_event event = started_event(&w.qubes[i]);

			assert_int_equal(core_handle(w.core, &event, &w.qubes[i].ref), 0);
		}
	}
	if (draw(2)) /* else they come one by one, while other things happen */
		return;
	for (unsigned int i = 0; i < N_QUBES && draw(8); i++) {
		connect_agent(&w.qubes[i]);
		while (w.qubes[i].n_words > 0)
			deliver(&w.qubes[i]);
	}
}

/* Everybody does what he has to do, and honestly; true: something was done. */
static bool all_work(bool connect)
{
	bool busy = false;

	for (unsigned int i = 0; i < N_QUBES; i++) {
		struct qube *qube = &w.qubes[i];

		if (connect && qube->alive && !qube->connected)
			connect_agent(qube);
		qube->deaf = qube->deaf && !connect;
		busy = busy || qube->n_words > 0 || qube->n_orders > 0;
		deliver(qube);
		agent_step(qube);
	}
	for (unsigned int i = 0; i < w.n_sessions; i++)
		if (!w.sessions[i].decided) {
			struct core_event event = {.type = CORE_AUDITED};

			busy = w.sessions[i].decided = w.sessions[i].audited = true;
			be_written(record_of(w.sessions[i].number));
			event.session.session = w.sessions[i].number;
			(void)tell(event);
		}
	return busy;
}

static void step(void)
{
	struct qube *qube = &w.qubes[draw(N_QUBES)];
	uint64_t kind = draw(204);

	if (kind < 10)
		for (uint64_t n = 1 + draw(4); n > 0; n--)
			(void)all_work(false);
	else if (kind < 66)
		deliver(qube);
	else if (kind < 118)
		agent_step(qube);
	else if (kind < 134)
		ask();
	else if (kind < 160)
		audit();
	else if (kind < 165)
		plug(qube, draw(3) != 0);
	else if (kind < 167)
		stream_dies(qube);
	else if (kind < 175)
		connect_agent(qube);
	else if (kind < 177)
		lose_agent(qube, draw(2));
	else if (kind < 179)
		pass(draw(8) ? draw(4 * USEC_PER_SEC) : draw(70 * USEC_PER_SEC));
	else if (kind < 188)
		answer_question();
	else if (kind < 190)
		change_policy();
	else if (kind < 194)
		change_assignment();
	else if (kind < 196)
		sleep_or_wake();
	else if (kind < 197)
		change_answerers(draw(3) ? 1 + (unsigned int)draw(2) : 0);
	else if (kind < 198)
		plug(qube, true); /* what re-enumerates is there again at once */
	else if (kind < 202)
		reset_controllers(qube);
	else if (!qube->alive)
		start_qube(qube, ++w.next_domid);
	else if (draw(2))
		kill_qube(qube);
	if (draw(500) == 0)
		restart_broker();
	check_tokens();
}

/* Nothing comes about by itself any more. */
static void end_assignments(void)
{
	const struct core_assignment *assignment;
	unsigned int cursor = 0;

	while ((assignment = assignments_next(w.assignments, &cursor))) {
		struct core_assignment key = *assignment;

		assert_int_equal(tell((struct core_event){.type = CORE_UNASSIGNED, .assignment = &key}), 0);
		assert_int_equal(assignments_remove(w.assignments, &key), 0);
		cursor = 0;
	}
}

static void keep_open_sessions(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < w.n_sessions; i++)
		if (w.sessions[i].attached)
			w.sessions[n++] = w.sessions[i];
	w.n_sessions = n;
	w.n_tokens = w.first_open_token = 0;
	for (unsigned int i = 0; i < N_DISK; i++)
		if (w.disk[i].forgotten)
			memset(&w.disk[i], 0, sizeof(w.disk[i]));
}

/* Everybody becomes honest and awake; then nothing may be left of anything. */
static void quiesce(void)
{
	unsigned int cursor = 0;

	if (w.suspended) {
		w.suspended = false;
		(void)tell((struct core_event){.type = CORE_RESUMED});
	}
	end_assignments();
	change_answerers(0);
	for (unsigned int i = 0; i < N_QUBES; i++)
		lose_agent(&w.qubes[i], false);
	for (unsigned int round = 0; round < 1000; round++) {
		while (all_work(true))
			;
		if (core_next_deadline(w.core) == UINT64_MAX)
			break;
		pass(core_next_deadline(w.core) - w.now_usec);
	}
	assert_true(core_next_deadline(w.core) == UINT64_MAX);
	for (unsigned int i = w.first_open_token; i < w.n_tokens; i++)
		assert_int_equal(w.tokens[i].n_answers, 1);
	assert_null(core_next_question(w.core, &cursor));
	cursor = 0;
	assert_null(core_next_restore(w.core, &cursor));
	cursor = 0;
	for (const struct core_qube *qube = NULL; (qube = core_next_qube(w.core, &cursor));) {
		unsigned int n = 0;

		for (unsigned int i = 0; i < LIMIT_DEVICES; i++) {
			const struct core_device *device = &qube->devices[i];

			n += device->used;
			assert_true(!device->used || device->state == CORE_FREE || device->state == CORE_ATTACHED);
			if (device->used && device->state == CORE_ATTACHED)
				assert_true(record_of(device->session) && !record_of(device->session)->forgotten);
		}
		for (unsigned int p = 0; qube_of(qube->ref) && p < N_PLACES; p++)
			n -= qube_of(qube->ref)->ports[p].plug != 0;
		assert_int_equal(n, 0); /* the list is what is plugged in */
	}
	for (unsigned int i = 0; i < N_DISK; i++) { /* what is on disk is attached, or forgotten */
		struct session *session = w.disk[i].used ? session_of(w.disk[i].memory.session) : NULL;

		assert_true(!w.disk[i].used || w.disk[i].forgotten || (session && session->attached));
	}
	keep_open_sessions();
}

static void begin(void)
{
	for (unsigned int q = 0; q < N_QUBES; q++) {
		if (!w.qubes[q].alive)
			start_qube(&w.qubes[q], ++w.next_domid);
		connect_agent(&w.qubes[q]);
		while (w.qubes[q].n_words > 0)
			deliver(&w.qubes[q]);
		plug(&w.qubes[q], true);
		w.denied[q] = 0;
		for (unsigned int t = 0; t < N_QUBES; t++)
			w.verdicts[q][t] = draw(3) ? CORE_VERDICT_ALLOW : CORE_VERDICT_ASK;
	}
	w.policy_limit_usec = 0;
	w.n_answerers = (unsigned int)draw(3);
	tell_stored();
	assert_int_equal(tell((struct core_event){.type = CORE_POLICY_CHANGED}), 0);
	for (uint64_t n = draw(3); n > 0; n--)
		change_assignment();
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void test_schedules(void **unused _unused_)
{
	static const struct {
		const char *what;
		const uint64_t *count;
		uint64_t one_in; /* so many schedules at most */
	} reached[] = {
		{"exports ran", &w.n_exports, 1},
		{"attachments came about", &w.n_attached, 2},
		{"of them by assignments begun", &w.n_auto, 10},
		{"after a sleep begun", &w.n_resumed, 10},
		{"after a re-plug begun", &w.n_replugged, 50},
		{"moves succeeded", &w.n_moved, 200},
		{"moves went back", &w.n_moved_back, 500},
		{"moves ended nowhere", &w.n_moved_free, 100},
		{"attachments ended by their time", &w.n_limits, 100},
		{"questions were shown", &w.n_shown, 5},
		{"of them allowed", &w.n_allowed, 10},
		{"paths learnt", &w.n_learnt, 100},
		{"assignments renumbered", &w.n_renumbered, 50},
		{"of both, not kept", &w.n_not_kept, 500},
		{"begun under a name that is not the present one", &w.n_by_path, 1000},
		{"parts ended for their whole", &w.n_parts_ended, 500},
		{"wholes refused for a part", &w.n_wholes_refused, 500},
		{"parts refused for their whole", &w.n_parts_refused, 100},
		{"restarts of the broker", &w.n_restarts, 5},
		{"sleeping attachments kept", &w.n_claims_kept, 5},
		{"the same told to a later broker", &w.n_claims_back, 100},
		{"attachments adopted", &w.n_adopted, 100},
		{"memories not proven", &w.n_not_adopted, 20},
	};
	bool reached_all = true;
	uint64_t seed = from_environment("QDB_TEST_SEED", 20261123);
	uint64_t n = from_environment("QDB_TEST_SCHEDULES", N_SCHEDULES);

	print_message("seed %llu, %llu schedules of %d steps\n", (unsigned long long)seed, (unsigned long long)n,
		      N_STEPS);
	memset(&w, 0, sizeof(w));
	w.now_usec = USEC_PER_SEC;
	w.core = core_new(++w.epoch, &hooks, NULL);
	w.assignments = assignments_new();
	for (uint64_t i = 0; i < n; i++) {
		w.random = (seed + i) * 0x9E3779B97F4A7C15ull | 1;
		begin();
		for (unsigned int s = 0; s < N_STEPS; s++)
			step();
		quiesce();
	}
	/* the schedules do reach what they are for */
	for (size_t i = 0; i < ARRAY_SIZE(reached); i++) {
		print_message("%8llu %s\n", (unsigned long long)*reached[i].count, reached[i].what);
		reached_all = reached_all && *reached[i].count >= n / reached[i].one_in;
	}
	assert_true(reached_all);
	w.assignments = assignments_free(w.assignments);
	w.core = core_free(w.core);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_schedules)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
