// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HP05, DI01, PD10: random schedules of users, plugs, crashes and re-used domain ids against the real broker over the
 * `socket` channel; the judge is in random-judge.h. One broker serves N_WORLDS worlds of two device qubes and three
 * others at once, because much of a schedule is waiting: each world plays its own schedules, one after another, and
 * goes on from what the last one left. The broker's end by SIGKILL and the machine's sleep hit all of them.
 *
 * Nothing sleeps: a world goes on when something came for it, or after a short time. After each schedule all agents
 * answer, and within SETTLE_USEC the API, the log and the agents must say the same.
 *
 *   QDB_TEST_SEED=n      the first schedule's seed. It chooses the steps; their timing is the machine's
 *   QDB_TEST_SCHEDULES=n how many
 */
#include "tests/integration/random-agents.h"

#define N_SCHEDULES 500u  /* some 10 s, and up to TIMEOUT_ADOPT_USEC at the end */
#define KILL_AT_LEAST 100 /* once in so many schedules */
#define PACE_USEC (2 * USEC_PER_MSEC)
#define LONG_PACE_USEC (60 * USEC_PER_MSEC) /* the broker looks for qubes within 50 ms */
#define SILENCE_USEC (TIMEOUT_STOP_USEC + 300 * USEC_PER_MSEC)
#define SETTLE_USEC (90 * USEC_PER_SEC)

/* ---- users ------------------------------------------------------------------------------------------------------- */

/* Behind the qubes' numbers; the last one is that of the sleep. */
static unsigned int call_number(const struct call *call)
{
	const unsigned int first = N_WORLDS * N_QUBES;

	if (call == &play.sleep)
		return first + N_WORLDS * N_CALLS;
	return first + call->world * N_CALLS + (unsigned int)(call - play.worlds[call->world].calls);
}

static void start_call(struct call *call, unsigned int world, enum call_kind kind, struct qube *qube,
		       const char *method, const char *argument, const char *destination, const char *payload)
{
	read_log();
	*call = (struct call){.kind = kind, .world = world, .qube = qube, .asked_seq = judge.seq};
	(void)snprintf(call->what, sizeof(call->what), "%s %s %s %s", method + strlen("device"), argument, destination,
		       payload);
	call->fd = call_begin_with(method, argument, destination, payload);
	await(call->fd, call_number(call));
	trace(world, "user: %s", call->what);
}

static void ask(struct world *world, enum call_kind kind, struct qube *qube, const char *method, const char *argument,
		const char *payload)
{
	for (unsigned int i = 0; i < N_CALLS; i++)
		if (!world->calls[i].kind) {
			world->n_calls++;
			start_call(&world->calls[i], qube->world, kind, qube, method, argument, qube->name, payload);
			return;
		}
}

/* One reply, whole, and nothing after it. */
static bool is_one_reply(const struct call *call)
{
	const char *at = call->bytes + 2, *end = call->bytes + call->len;

	if (call->len < 2 || call->bytes[1] != '\0')
		return false;
	if (call->bytes[0] == '0')
		return call->kind == CALL_LIST || strlen(at) == (size_t)(end - at);
	for (unsigned int i = 0; i < 3 && at < end; i++)
		at += strlen(at) + 1;
	return call->bytes[0] == '2' && at <= end;
}

static void on_list(struct world *world, const struct call *call, bool good)
{
	struct qube *qube = call->qube;

	(void)snprintf(world->lists[qube->index], sizeof(world->lists[0]), "%s", good ? call->bytes + 2 : "");
	world->n_lists++;
}

/* The reply, or with `cut` what came of it before the broker was killed. */
static void on_reply(struct call *call, bool cut)
{
	const unsigned int w = call->world;
	bool good = call->len >= 2 && call->bytes[0] == '0';
	enum call_kind kind = call->kind;

	(void)close(call->fd);
	play.n_cut += cut && call->len == 0;
	play.n_replies += call->len != 0;
	trace(w, "reply to %s: %c %s", call->what, call->len ? call->bytes[0] : '-',
	      !call->len || good ? "" : call->bytes + 2);
	if ((!cut || call->len != 0) && !is_one_reply(call))
		violation(w, "not one reply, but %zu bytes, to: %s", call->len, call->what);
	read_log();
	if (kind == CALL_LIST)
		on_list(&play.worlds[w], call, good);
	if (kind == CALL_DENY || kind == CALL_ALLOW)
		call->qube->deny_busy = false;
	if (kind == CALL_DENY && good) {
		call->qube->denied = true;
		judge.n_denied++;
	}
	if (kind == CALL_SUSPEND)
		play.suspended = good;
	if (kind == CALL_RESUME)
		play.suspended = false;
	if (good && (kind == CALL_ATTACH || kind == CALL_DETACH))
		judge_done(call->qube, kind == CALL_ATTACH, call->asked_seq);
	play.n_good += kind == CALL_ATTACH && good;
	call->kind = CALL_NONE;
}

static void read_call(struct call *call)
{
	ssize_t n = read(call->fd, call->bytes + call->len, sizeof(call->bytes) - 1 - call->len);

	if (n > 0) {
		call->len += (size_t)n;
		return;
	}
	on_reply(call, false);
	if (call == &play.sleep)
		return;
	play.worlds[call->world].n_calls--;
	play.worlds[call->world].wait_for -= play.worlds[call->world].wait_for > 0;
}

/* Mostly one that runs. */
static struct qube *any_source(unsigned int w)
{
	struct qube *source = NULL;

	for (unsigned int i = 0; i < 2 && (!source || !source->runs); i++)
		source = &qubes[w][draw(&play.worlds[w], N_SOURCES)];
	return source;
}

/* Mostly one that runs. */
static struct qube *any_target(unsigned int w)
{
	struct qube *target = NULL;

	for (unsigned int i = 0; i < 3 && (!target || !target->runs); i++)
		target = &qubes[w][N_SOURCES + draw(&play.worlds[w], N_QUBES - N_SOURCES)];
	return target;
}

/* A device as users name it: by what it is at its port now, or was; or by its port. */
static void name_device(unsigned int w, char ret_text[96])
{
	const struct qube *source = any_source(w);
	unsigned int slot = 0;

	for (unsigned int i = 0; i < 3 && (slot == 0 || !source->agent->more[slot].port[0]); i++)
		slot = 1 + (unsigned int)draw(&play.worlds[w], N_SLOTS - 1);
	if (one_in(&play.worlds[w], 4) || !source->agent->more[slot].serial[0])
		(void)snprintf(ret_text, 96, "%s+1-%u+_", source->name, slot);
	else
		(void)snprintf(ret_text, 96, "%s+1-%u+0781+5581+%s+" INTERFACES, source->name, slot,
			       source->agent->more[slot].serial);
}

#define USB "admin.vm.device.usb."

static void step_attach(unsigned int w)
{
	char device[96];

	name_device(w, device);
	ask(&play.worlds[w], CALL_ATTACH, any_target(w), USB "Attach", device, "");
}

/* A stream of this world, at its target, as users name its device; NULL: none runs. */
static struct qube *find_attached(unsigned int w, char ret_device[96])
{
	unsigned int first = (unsigned int)draw(&play.worlds[w], N_QUBES);

	for (unsigned int q = 0; q < N_QUBES * N_STREAMS; q++) {
		struct qube *target = &qubes[w][(first + q) % N_QUBES];
		const struct running *stream = &target->streams[q / N_QUBES];
		const struct record *record =
			stream->session && stream->side == WIRE_SIDE_IMPORT ? find_record(stream->session) : NULL;

		if (!record)
			continue;
		(void)snprintf(ret_device, 96, "%s+%s+_", record->source, record->port);
		return target;
	}
	return NULL;
}

static void step_detach(unsigned int w)
{
	char device[96];
	struct qube *target = one_in(&play.worlds[w], 8) ? NULL : find_attached(w, device);

	if (!target) {
		name_device(w, device);
		target = any_target(w);
	}
	ask(&play.worlds[w], CALL_DETACH, target, USB "Detach", device, "");
}

static void step_move(unsigned int w)
{
	char device[96], payload[64];
	const struct qube *from = one_in(&play.worlds[w], 8) ? NULL : find_attached(w, device);

	if (!from) {
		name_device(w, device);
		from = any_target(w);
	}
	(void)snprintf(payload, sizeof(payload), "from='%s'", from->name);
	ask(&play.worlds[w], CALL_ATTACH, any_target(w), "device.Move", device, payload);
}

static void take_back(unsigned int w, struct assigned *assigned)
{
	ask(&play.worlds[w], CALL_ANY, assigned->qube, USB "Unassign", assigned->device, "");
	assigned->qube = NULL;
}

/* Not too many at once, else nothing is ever free. */
static void step_assign(unsigned int w)
{
	struct world *world = &play.worlds[w];
	struct assigned *assigned = &world->assigned[draw(world, N_ASSIGNED)];

	if (world->n_calls == N_CALLS)
		return;
	if (assigned->qube) {
		take_back(w, assigned);
		return;
	}
	name_device(w, assigned->device);
	assigned->qube = any_target(w);
	ask(world, CALL_ANY, assigned->qube, USB "Assign", assigned->device,
	    one_in(world, 4) ? "mode='required'" : "mode='auto-attach'");
}

static void step_unassign(unsigned int w)
{
	struct world *world = &play.worlds[w];
	struct assigned *assigned = &world->assigned[draw(world, N_ASSIGNED)];

	if (assigned->qube && world->n_calls < N_CALLS)
		take_back(w, assigned);
}

/* While a change of a list is on its way nobody can say what is in force. */
static void step_deny(unsigned int w)
{
	struct qube *target = any_target(w);

	if (target->deny_busy || play.worlds[w].n_calls == N_CALLS)
		return;
	target->deny_busy = true;
	ask(&play.worlds[w], CALL_DENY, target, "admin.vm.device.denied.Add", "", "u08****");
}

static void step_allow(unsigned int w)
{
	struct qube *target = any_target(w);

	if (target->deny_busy || play.worlds[w].n_calls == N_CALLS)
		return;
	read_log();
	target->denied = false;
	target->deny_busy = true;
	ask(&play.worlds[w], CALL_ALLOW, target, "admin.vm.device.denied.Remove", "", "all");
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void step_plug(unsigned int w)
{
	struct qube *source = any_source(w);
	unsigned int slot = 1 + (unsigned int)draw(&play.worlds[w], N_SLOTS - 1);

	if (source->agent_runs && !source->agent->more[slot].port[0])
		plug_in(source, slot, !one_in(&play.worlds[w], 3));
}

static void step_unplug(unsigned int w)
{
	struct qube *source = any_source(w);
	unsigned int slot = 1 + (unsigned int)draw(&play.worlds[w], N_SLOTS - 1);

	if (source->agent_runs && source->agent->more[slot].port[0])
		unplug(source, slot);
}

static void step_replug(unsigned int w)
{
	struct qube *source = any_source(w);
	unsigned int slot = 1 + (unsigned int)draw(&play.worlds[w], N_SLOTS - 1);

	if (!source->agent_runs || !source->agent->more[slot].port[0])
		return;
	unplug(source, slot);
	plug_in(source, slot, !one_in(&play.worlds[w], 3));
}

static struct qube *any_qube(unsigned int w)
{
	return &qubes[w][draw(&play.worlds[w], N_QUBES)];
}

static void step_agent_ends(unsigned int w)
{
	struct qube *qube = any_qube(w);

	if (!qube->agent_runs || !one_in(&play.worlds[w], 2))
		return;
	trace(w, "the agent of %s ends", qube->name);
	end_agent(qube);
	play.n_restarts++;
	if (one_in(&play.worlds[w], 2))
		start_agent(qube);
}

static void step_agent_starts(unsigned int w)
{
	struct qube *qube = any_qube(w);

	if (qube->runs && !qube->agent_runs)
		start_agent(qube);
}

/* Another may start with its domain id before the broker can have looked. */
static void step_qube_ends(unsigned int w)
{
	struct qube *qube = any_qube(w), *other = any_qube(w);

	if (!qube->runs)
		return;
	end_life(qube);
	if (one_in(&play.worlds[w], 2) && !other->runs)
		start_life(other);
}

static void step_qube_starts(unsigned int w)
{
	struct qube *qube = any_qube(w);

	if (!qube->runs)
		start_life(qube);
}

static void step_release(unsigned int w)
{
	release(any_qube(w));
}

static void step_stream_ends(unsigned int w)
{
	struct qube *qube = any_qube(w);

	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->agent_runs && qube->streams[i].session && qube->agent->state == WIRE_IN_READY) {
			end_stream(qube, &qube->streams[i], OUTCOME_CRASHED);
			return;
		}
}

static void step_stream_says(unsigned int w)
{
	struct qube *qube = any_qube(w);

	if (qube->agent_runs && qube->agent->state == WIRE_IN_READY)
		say_of_stream(qube, (unsigned int)draw(&play.worlds[w], N_STREAMS));
}

static void step_sleep(unsigned int w)
{
	if (play.sleep.kind || (!play.suspended && !one_in(&play.worlds[w], 25)))
		return;
	play.n_sleeps += !play.suspended;
	start_call(&play.sleep, w, play.suspended ? CALL_RESUME : CALL_SUSPEND, NULL,
		   play.suspended ? "device.Resume" : "device.Suspend", "", "dom0", "");
}

/* kill -9; all calls end, all agents wait for the next one. */
static void kill_broker(void)
{
	play.n_kills++;
	(void)stop_broker(SIGKILL);
	read_log();
	judge.life++;
	for (unsigned int i = 0; i < N_WORLDS; i++) {
		struct world *world = &play.worlds[i];

		trace(i, "the broker is killed");
		for (unsigned int c = 0; c < N_CALLS; c++) {
			ssize_t n = 1;

			while (world->calls[c].kind && n > 0) {
				n = read(world->calls[c].fd, world->calls[c].bytes + world->calls[c].len,
					 sizeof(world->calls[c].bytes) - 1 - world->calls[c].len);
				world->calls[c].len += n > 0 ? (size_t)n : 0;
			}
			if (world->calls[c].kind)
				on_reply(&world->calls[c], true);
		}
		world->n_calls = world->n_lists = 0;
		world->changed = true;
		for (unsigned int q = 0; q < N_QUBES; q++) {
			struct qube *qube = &qubes[i][q];

			for (unsigned int h = 0; h < N_STREAMS; h++)
				if (qube->held[h].type == WIRE_STOP)
					drop_stream(qube, qube->held[h].session);
			memset(qube->held, 0, sizeof(qube->held));
		}
	}
	if (play.sleep.kind)
		on_reply(&play.sleep, true);
	play.suspended = false;
	start_broker();
	for (unsigned int i = 0; i < N_WORLDS; i++)
		for (unsigned int q = 0; q < N_QUBES; q++)
			if (qubes[i][q].agent_runs)
				await_broker(&qubes[i][q]);
}

static void step_kill(unsigned int w)
{
	if (one_in(&play.worlds[w], 12) || play.n_kills < play.n_begun / KILL_AT_LEAST)
		kill_broker();
}

static const struct {
	void (*take)(unsigned int world);
	unsigned int weight;
} steps[] = {
	{step_attach, 40},      {step_detach, 10},   {step_move, 10},        {step_assign, 4},
	{step_unassign, 5},     {step_deny, 2},      {step_allow, 6},        {step_plug, 20},
	{step_unplug, 5},       {step_replug, 5},    {step_agent_ends, 1},   {step_release, 10},
	{step_agent_starts, 8}, {step_qube_ends, 5}, {step_qube_starts, 14}, {step_stream_ends, 3},
	{step_stream_says, 6},  {step_sleep, 2},     {step_kill, 1},
};

static void step(unsigned int w)
{
	struct world *world = &play.worlds[w];
	unsigned int all = 0, at;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		all += steps[i].weight;
	if (play.suspended && one_in(world, 4))
		step_sleep(w);
	at = (unsigned int)draw(world, all);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (at < steps[i].weight) {
			steps[i].take(w);
			break;
		}
		at -= steps[i].weight;
	}
	judge_streams(w);
	world->n_steps--;
	world->wait_for = (unsigned int)draw(world, 4);
	world->wait_until = clock_monotonic_usec() + (one_in(world, 12) ? LONG_PACE_USEC : PACE_USEC);
}

/* ---- schedules --------------------------------------------------------------------------------------------------- */

/* All that is there answers now, and what was asked is awaited. */
static void begin_to_settle(unsigned int w)
{
	struct world *world = &play.worlds[w];

	world->settle_until = clock_monotonic_usec() + SETTLE_USEC;
	world->fault = "the broker does not come to every agent";
	world->changed = true;
	for (unsigned int q = 0; q < N_QUBES; q++) {
		struct qube *qube = &qubes[w][q];

		if (qube->runs && !qube->agent_runs)
			start_agent(qube);
		for (unsigned int i = 0; i < N_STREAMS; i++)
			release(qube);
	}
}

static bool holds_stop(unsigned int w)
{
	for (unsigned int q = 0; q < N_QUBES; q++)
		for (unsigned int i = 0; i < N_STREAMS; i++)
			if (qubes[w][q].held[i].type == WIRE_STOP)
				return true;
	return false;
}

static bool all_greeted(unsigned int w)
{
	for (unsigned int q = 0; q < N_QUBES; q++)
		if (qubes[w][q].runs && qubes[w][q].agent->state != WIRE_IN_READY)
			return false;
	return true;
}

static void ask_for_lists(unsigned int w)
{
	struct world *world = &play.worlds[w];

	world->n_lists = 0;
	world->changed = false;
	for (unsigned int q = 0; q < N_QUBES; q++)
		ask(world, CALL_LIST, &qubes[w][q], q < N_SOURCES ? USB "Available" : USB "Attached", "", "");
}

/* True: all is quiet and as it should be. */
static bool settle(unsigned int w)
{
	struct world *world = &play.worlds[w];
	const char *const lists[N_QUBES] = {world->lists[0], world->lists[1], world->lists[2], world->lists[3],
					    world->lists[4]};
	const char *fault;

	if (world->n_calls == 0 && all_greeted(w) && world->n_lists == 0) {
		ask_for_lists(w);
		return false;
	}
	if (world->n_calls == 0 && world->n_lists == N_QUBES) {
		read_log();
		fault = world->changed ? "it does not come to rest" : compare(w, lists);
		fault = fault ? fault : compare_ends(w);
		if (!fault)
			return true;
		world->fault = fault;
		world->n_lists = 0;
		world->wait_for = 1;
		world->wait_until = clock_monotonic_usec() + PACE_USEC;
	}
	if (clock_monotonic_usec() > world->settle_until)
		violation(w, "%u requests are open; %s", world->n_calls, world->fault);
	return false;
}

static void begin_schedule(unsigned int w)
{
	struct world *world = &play.worlds[w];

	judge.schedule[w] = play.seed + play.n_begun++;
	world->random = judge.schedule[w] * 0x9E3779B97F4A7C15ull | 1;
	world->plays = true;
	world->silent_until = world->settle_until = 0;
	world->n_lists = 0;
	world->n_steps = 12 + (unsigned int)draw(world, 9);
	world->since_usec = clock_monotonic_usec();
	trace(w, "---- schedule %llu", (unsigned long long)judge.schedule[w]);
}

/* Goes on as far as it can without waiting. */
static void go_on(unsigned int w)
{
	struct world *world = &play.worlds[w];

	while (world->plays && world->n_steps > 0 &&
	       (world->wait_for == 0 || clock_monotonic_usec() >= world->wait_until))
		step(w);
	if (!world->plays || world->n_steps > 0)
		return;
	if (world->silent_until == 0)
		world->silent_until = holds_stop(w) && one_in(world, 8) ? clock_monotonic_usec() + SILENCE_USEC : 1;
	if (clock_monotonic_usec() < world->silent_until)
		return;
	if (!world->settle_until)
		begin_to_settle(w);
	if ((world->wait_for > 0 && clock_monotonic_usec() < world->wait_until) || !settle(w))
		return;
	if (clock_monotonic_usec() - world->since_usec > play.slowest_usec)
		play.slowest_usec = clock_monotonic_usec() - world->since_usec;
	play.n_done++;
	world->plays = false;
	world->wait_for = 0;
	if (play.n_begun < play.n_wanted)
		begin_schedule(w);
}

/* Until a time comes that a world waits for. What had come at `seen`, the worlds have seen. */
static int msec_to_next(uint64_t seen)
{
	uint64_t now = clock_monotonic_usec(), next = now + LONG_PACE_USEC;

	for (unsigned int w = 0; w < N_WORLDS; w++) {
		const struct world *world = &play.worlds[w];

		if (!world->plays)
			continue;
		if (world->wait_for > 0 && world->wait_until > seen && world->wait_until < next)
			next = world->wait_until;
		if (world->silent_until > seen && world->silent_until < next)
			next = world->silent_until;
	}
	return next > now ? (int)((next - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC) : 0;
}

/* Waits until something comes for anybody, or a time does. */
static void wait_for_all(uint64_t seen)
{
	const unsigned int n_qubes = N_WORLDS * N_QUBES, n_calls = N_WORLDS * N_CALLS;
	struct epoll_event events[64];
	int n = epoll_wait(play.epoll, events, ARRAY_SIZE(events), msec_to_next(seen));

	for (int i = 0; i < n; i++) {
		unsigned int number = events[i].data.u32, call = number - n_qubes;

		if (number < n_qubes)
			read_agent(&qubes[number / N_QUBES][number % N_QUBES]);
		else
			read_call(call < n_calls ? &play.worlds[call / N_CALLS].calls[call % N_CALLS] : &play.sleep);
	}
}

static void make_worlds(void)
{
	for (unsigned int w = 0; w < N_WORLDS; w++) {
		play.worlds[w].random = (play.seed + w) * 0x9E3779B97F4A7C15ull | 1;
		for (unsigned int q = 0; q < N_QUBES; q++) {
			struct qube *qube = &qubes[w][q];

			*qube = (struct qube){.world = w, .index = q, .agent = &scene.agents[scene.n_agents++]};
			(void)snprintf(qube->name, sizeof(qube->name), "w%u-%s%u", w, q < N_SOURCES ? "usb" : "app", q);
			*qube->agent = (struct agent){.incarnation = 100, .patient = true};
			for (unsigned int s = 1; q < N_SOURCES && s < N_SLOTS; s++) {
				(void)snprintf(qube->agent->more[s].port, LIMIT_PORT_TEXT, "1-%u", s);
				(void)snprintf(qube->agent->more[s].serial, 16, "S%uA", s);
			}
			start_life(qube);
		}
	}
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static void report(uint64_t usec)
{
	const struct {
		const char *what;
		uint64_t count;
		uint64_t
			one_in; /* at least one in so many schedules, else the test does not reach what it is for; 0: any */
	} counts[] = {
		{"records, all chained", judge.n_lines, 1},
		{"EXPORTs heard", judge.n_exports, 4},
		{"IMPORTs heard", judge.n_imports, 4},
		{"sessions attached", judge.n_attached, 5},
		{"sessions ended", judge.n_ended, 5},
		{"devices locked", judge.n_locked, 0},
		{"sessions adopted", judge.n_adopted, 500},
		{"sessions not adopted", judge.n_not_adopted, 500},
		{"deny lists put in force", judge.n_denied, 20},
		{"lives of qubes", play.n_lives, 5},
		{"domain ids taken over from another qube", judge.n_reused, 10},
		{"restarts of agents", play.n_restarts, 100},
		{"plugs", play.n_plugs, 4},
		{"replies", play.n_replies, 1},
		{"attaches and moves done for users", play.n_good, 20},
		{"calls cut off with the broker", play.n_cut, 0},
		{"kill -9 of the broker", play.n_kills, 200},
		{"sleeps", play.n_sleeps, 0},
	};
	bool reached_all = true;

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		print_message("%8llu %s\n", (unsigned long long)counts[i].count, counts[i].what);
	print_message("%llu schedules in %.1f s, the slowest %.1f s, 0 violations\n", (unsigned long long)play.n_done,
		      (double)usec / (double)USEC_PER_SEC, (double)play.slowest_usec / (double)USEC_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(counts) && play.n_wanted >= N_SCHEDULES; i++)
		reached_all = reached_all && (!counts[i].one_in || counts[i].count >= play.n_wanted / counts[i].one_in);
	assert_true(reached_all);
}

static void test_random(void **unused _unused_)
{
	uint64_t since;

	play.seed = from_environment("QDB_TEST_SEED", 20261126);
	play.n_wanted = from_environment("QDB_TEST_SCHEDULES", N_SCHEDULES);
	judge.fd = -1;
	play.epoll = epoll_create1(EPOLL_CLOEXEC);
	assert_true(play.epoll >= 0);
	print_message("seed %llu, %llu schedules\n", (unsigned long long)play.seed, (unsigned long long)play.n_wanted);
	make_worlds();
	since = clock_monotonic_usec();
	for (unsigned int w = 0; w < N_WORLDS && play.n_begun < play.n_wanted; w++)
		begin_schedule(w);
	while (play.n_done < play.n_wanted) {
		uint64_t seen = clock_monotonic_usec();

		for (unsigned int w = 0; w < N_WORLDS; w++)
			go_on(w);
		wait_for_all(seen);
	}
	report(clock_monotonic_usec() - since);
	(void)close(play.epoll);
	if (judge.fd >= 0)
		(void)close(judge.fd);
}

/* In memory, where there is room: what a disk adds is waiting. */
static int begin_scene(void **unused _unused_)
{
	return scene_begin_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
}

static int end_of_scene(void **state)
{
	return judge.violated ? stop_broker(SIGKILL) & 0 : scene_end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_random, begin_scene, end_of_scene)};

	return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
