/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processes: the broker with its disk and its users, the agents, and what breaks. */

/* ---- channels, and what an agent says first ---------------------------------------------------------------------- */
inline drain_from(whom)
{
	do
	:: len(from[whom]) > 0 -> from[whom]?word, s, id, p
	:: else -> break
	od
}

inline drain_to(whom)
{
	do
	:: len(to[whom]) > 0 -> to[whom]?word, s
	:: else -> break
	od
}

/* HELLO, SESSION*, WELCOME, and the list */
inline connect(whom)
{
	assert(len(from[whom]) == 0 && len(to[whom]) == 0);
	broker_up[whom] = true;
	agent_up[whom] = true;
	n = 0;
	for (i : 1 .. N_SESSIONS) {
		if
		:: whom == SRC && session[i].exporting ||
		   whom != SRC && session[i].importing && session[i].target == whom ->
			n = n | (1 << i)
		:: else
		fi
	}
	from[whom]!REPORT, n, false, (whom == SRC -> incarnation : 0);
	if
	:: whom == SRC ->
		told = (plugged -> generation : 0);
		from[whom]!LIST, told, (plugged && identity), (plugged -> plug : 0)
	:: else
	fi
}

/* ---- kill -9, and main.c's start: memories first, then the qubes that are there ---------------------------------- */
inline crash(unlinked_becomes)
{
	alive = false;
	waiting = 0;
	end_question();
	moving = NO_MOVE;
	for (q : 0 .. N_QUBES - 1) {
		broker_up[q] = false;
		agent[q] = false;
		drain_from(q)
	}
	for (k : 0 .. N_DEVICES - 1) {
		drop(k);
		device[k].present = false;
		device[k].state = FREE;
		device[k].session = 0;
		device[k].source_open = false;
		device[k].target_open = false;
		device[k].source_reported = false;
		device[k].target_reported = false;
		device[k].attach_token = false;
		device[k].detach_token = false
	}
	for (i : 1 .. N_SESSIONS) {
		session[i].writing = false;
		session[i].forgotten = false;
		session[i].stray = false;
		settle_memory(i);
		if
		:: session[i].disk == MEMORY_UNLINKED -> session[i].disk = unlinked_becomes
		:: else
		fi
	}
	known_incarnation = 0;
	q = 0
}

inline restart()
{
	alive = true;
	for (q : 0 .. N_QUBES - 1) {
		known_life[q] = life[q]
	}
	for (i : 1 .. N_SESSIONS) {
		session[i].exported_since = session[i].exporting;
		session[i].imported_since = session[i].importing;
		session[i].remembered = session[i].disk == MEMORY_DURABLE
	}
	/* CORE_QUBE_STARTED: a memory of a life that is over is contradicted */
	for (i : 1 .. N_SESSIONS) {
		if
		:: session[i].remembered && (session[i].source_life != known_life[SRC] ||
					     !SAME_LIFE(session[i].target_life, known_life[session[i].target])) ->
			not_adopted(i, session[i].source_life != known_life[SRC])
		:: else
		fi
	}
	q = 0
}

/* ---- broker/io: what the broker is woken by, and what it then tells its core ------------------------------------ */
mtype = { CONNECT, LOSE, READ, REPLACED, WRITE, FAIL_TO_WRITE, TICK, GIVE_UP, ATTACH, ASK, YES, NO, DETACH, MOVE }
hidden mtype woken;
hidden byte stage;

#define FAULT (n_faults > 0)

/* audit.c and the store of memories: CORE_DO_AUDIT, CORE_DO_FORGET */
#define WORKS(x) (alive && session[x].writing)
inline write(x)
{
	if
	:: session[x].disk == NOTHING -> session[x].disk = AUDIT_DURABLE
	:: session[x].disk == AUDIT_DURABLE -> session[x].disk = MEMORY_DURABLE
	:: session[x].disk == MEMORY_DURABLE ->
		session[x].writing = false;
		if
		:: session[x].forgotten -> session[x].forgotten = false; forget(x)
		:: else
		fi;
		progress(SRC, x, IN_AUDITED)
	fi
}

inline fail_to_write(x)
{
	session[x].writing = false;
	session[x].forgotten = false;
	if
	:: session[x].disk == MEMORY_DURABLE -> session[x].disk = MEMORY_UNLINKED
	:: else
	fi;
	progress(SRC, x, IN_AUDIT_FAILED)
}

inline ask(whom)
{
	waiting++;
	asking = true;
	ask_target = whom;
	ask_life = known_life[whom];
	ask_generation = device[PRESENT].generation;
	ask_incarnation = device[PRESENT].incarnation;
	ask_plug = device[PRESENT].plug
}

inline attach(whom)
{
	waiting++;
	d = PRESENT;
	device[d].attach_token = true;
	reserve(d, whom, known_life[whom], device[d].plug)
}

/* question.c: yes; what was asked about must still be there */
inline allow()
{
	d = PRESENT;
	if
	:: d != NONE && CAN_RESERVE(d, ask_target, ask_life) &&
	   (BUG == 6 || device[d].generation == ask_generation && device[d].incarnation == ask_incarnation) ->
		device[d].attach_token = true;
		reserve(d, ask_target, ask_life, ask_plug)
	:: else -> answered()
	fi;
	end_question();
	d = 0
}

inline detach()
{
	d = PRESENT;
	if
	:: UNDER_WAY(device[d].state) -> waiting++; device[d].detach_token = true; input[d] = IN_DETACH
	:: device[d].state == DETACHING && !device[d].detach_token -> /* join_detach() */
		waiting++;
		device[d].detach_token = true
	:: else -> input[d] = IN_DETACH
	fi
}

/* move.c */
inline move()
{
	waiting++;
	d = PRESENT;
	move_device = d;
	move_from = TARGET(d);
	move_from_life = SESSION(d).target_life;
	move_to = 1 - move_from;
	move_to_life = known_life[move_to];
#if BUG == 10 /* does not wait until it is out of the first qube */
	stop_source(d);
	stop_target(d);
	device[d].source_open = false;
	device[d].target_open = false;
	moving = MOVE_OUT;
	finish(d)
#else
	moving = MOVE_OUT;
	input[d] = IN_DETACH
#endif
}

#define MAY_ATTACH(q) (alive && n_requests > 0 && PRESENT != NONE && CAN_RESERVE(PRESENT, q, known_life[q]) && \
		       !asking && moving == NO_MOVE)
#define MAY_DETACH (alive && n_requests > 0 && PRESENT != NONE && device[PRESENT].state != FREE)
#define MAY_MOVE (alive && n_moves > 0 && moving == NO_MOVE && PRESENT != NONE && device[PRESENT].state == ATTACHED && \
		  agent[SRC] && agent[1 - TARGET(PRESENT)])


inline first_stage()
{
	if
	:: woken == CONNECT -> connect(q)
	:: woken == LOSE ->
		broker_up[q] = false;
		drain_from(q);
		agent_lost(q)
	:: woken == REPLACED ->
		drain_from(q);
		qube_replaced(q)
	:: woken == READ ->
		from[q]?word, s, id, p;
		if
		:: word == REPORT && q == SRC -> source_ready(p)
		:: word == REPORT && q != SRC -> target_reports(q, s)
		:: word == LIST || word == DEVICE -> device_displaced(s)
		:: word == GONE -> device_gone(s)
		:: word == EXPORTED -> progress(q, s, IN_EXPORTED)
		:: word == IMPORTED -> progress(q, s, IN_IMPORTED)
		:: word == CLOSED -> side_closed(q, s)
		fi
	:: woken == WRITE -> write(q)
	:: woken == FAIL_TO_WRITE -> fail_to_write(q)
	:: woken == TICK -> input[q] = IN_TIMEOUT
	:: woken == GIVE_UP -> give_up_memories()
	:: woken == ATTACH -> attach(q)
	:: woken == ASK -> ask(q)
	:: woken == YES -> allow()
	:: woken == NO -> end_question(); answered()
	:: woken == DETACH -> detach()
	:: woken == MOVE -> move()
	fi
}

inline second_stage()
{
	if
	:: woken == READ && word == REPORT && q == SRC -> source_reports(s)
	:: woken == READ && (word == LIST || word == DEVICE) && s != 0 -> device_listed(s, id, p)
	:: woken == REPLACED -> device_went_with_it()
	:: else
	fi
}

inline third_stage()
{
	if
	:: woken == READ && word == LIST -> give_up_memories()
	:: else
	fi
}

#define HAS_DEADLINE(d) (device[d].state != FREE && device[d].state != ATTACHED && device[d].state != LOCKED)
#define EXPECTED(x) (session[x].remembered && !session[x].given_up)
#define REMEMBERED (EXPECTED(1) || EXPECTED(2) || EXPECTED(3))
#define CAN_CONNECT(q) (alive && !broker_up[q] && !agent_up[q] && known_life[q] == life[q])
#define CAN_READ(q) (broker_up[q] && len(from[q]) > 0)

proctype broker()
{
end:
	do
	:: atomic {
		if
		/* agents.c, qubes.c: connections, and what xenstore says of domains */
		:: CAN_CONNECT(A) -> woken = CONNECT; q = A
		:: CAN_CONNECT(B) -> woken = CONNECT; q = B
		:: CAN_CONNECT(SRC) -> woken = CONNECT; q = SRC
		:: broker_up[A] && !agent_up[A] -> woken = LOSE; q = A
		:: broker_up[B] && !agent_up[B] -> woken = LOSE; q = B
		:: broker_up[SRC] && !agent_up[SRC] -> woken = LOSE; q = SRC
		:: alive && known_life[A] != life[A] -> woken = REPLACED; q = A
		:: alive && known_life[B] != life[B] -> woken = REPLACED; q = B
		:: alive && known_life[SRC] != life[SRC] -> woken = REPLACED; q = SRC
		:: CAN_READ(A) -> woken = READ; q = A
		:: CAN_READ(B) -> woken = READ; q = B
		:: CAN_READ(SRC) -> woken = READ; q = SRC
		/* It silences an agent that seems silent, be it alive or not: HEARTBEAT_LOST_USEC. */
		:: FAULT && broker_up[A] && agent_up[A] -> n_faults--; woken = LOSE; q = A
		:: FAULT && broker_up[B] && agent_up[B] -> n_faults--; woken = LOSE; q = B
		:: FAULT && broker_up[SRC] && agent_up[SRC] -> n_faults--; woken = LOSE; q = SRC
		/* the disk */
		:: WORKS(1) -> woken = WRITE; q = 1
		:: WORKS(2) -> woken = WRITE; q = 2
		:: WORKS(3) -> woken = WRITE; q = 3
		:: WORKS(1) && FAULT -> n_faults--; woken = FAIL_TO_WRITE; q = 1
		:: WORKS(2) && FAULT -> n_faults--; woken = FAIL_TO_WRITE; q = 2
		/* CORE_TICK. No wait is in vain for ever here: whoever was killed is back in the end. */
		:: HAS_DEADLINE(0) && n_timeouts > 0 -> n_timeouts--; woken = TICK; q = 0
		:: HAS_DEADLINE(1) && n_timeouts > 0 -> n_timeouts--; woken = TICK; q = 1
		:: REMEMBERED && n_timeouts > 0 -> n_timeouts--; woken = GIVE_UP
		/* users */
		:: MAY_ATTACH(A) -> n_requests--; woken = ATTACH; q = A
		:: MAY_ATTACH(B) -> n_requests--; woken = ATTACH; q = B
#ifdef QUESTIONS
		:: MAY_ATTACH(A) -> n_requests--; woken = ASK; q = A
		:: asking -> woken = YES
		:: asking -> woken = NO /* or TIMEOUT_ASK_USEC */
#endif
		:: MAY_DETACH -> n_requests--; woken = DETACH
		:: MAY_MOVE -> n_moves--; woken = MOVE
		fi;
		d_step {
			for (stage : 1 .. 3) {
				if
				:: stage == 1 -> first_stage()
				:: stage == 2 -> second_stage()
				:: else -> third_stage()
				fi;
				attachment()
			}
			q = 0
		}
	}
	od
}

/* ---- the agents -------------------------------------------------------------------------------------------------- */
inline start_exporter(x)
{
	assert(session[x].disk >= AUDIT_DURABLE); /* P2 */
	assert(session[x].plug == plug);          /* P6 */
	for (k : 1 .. N_SESSIONS) {
		assert(!(session[k].exporting && session[k].plug == plug)) /* P1 */
	}
	session[x].exporting = true;
	session[x].exported = true;
	session[x].exported_since = true;
	from[SRC]!EXPORTED, x, false, 0
}

/* proxies/agent: what it is told, and what its exporters do by themselves */
inline source_told()
{
	to[SRC]?word, s;
	if
	:: word == EXPORT && plugged && session[s].generation == generation && session[s].identity == identity ->
		start_exporter(s)
	:: word == STOP && session[s].exporting -> session[s].stopping = true /* reaped, then answered */
	:: else -> from[SRC]!CLOSED, s, false, 0
	fi
}

/* It was stopped, its device went, or it has no peer. */
#define EXPORTER_ENDS(x) (session[x].exporting && \
			  (session[x].stopping || !plugged || plug != session[x].plug || \
			   !session[x].importing && (session[x].imported || n_timeouts > 0)) && \
			  (!agent_up[SRC] || len(from[SRC]) < DEPTH))
inline end_exporter(x)
{
	session[x].exporting = false;
	if
	:: !session[x].imported && !session[x].stopping && n_timeouts > 0 -> n_timeouts-- /* TIMEOUT_CONNECT_USEC */
	:: else
	fi;
	session[x].stopping = false;
	if
	:: agent_up[SRC] -> from[SRC]!CLOSED, x, false, 0
	:: else
	fi
}

proctype device_qube()
{
end:
	do
	:: d_step { agent_up[SRC] && len(to[SRC]) > 0 && len(from[SRC]) < DEPTH -> source_told() }
	:: d_step { agent_up[SRC] && told != (plugged -> generation : 0) && len(from[SRC]) < DEPTH ->
		if
		:: told != 0 -> from[SRC]!GONE, told, false, 0; told = 0
		:: else -> from[SRC]!DEVICE, generation, identity, plug; told = generation
		fi
	}
	:: d_step { EXPORTER_ENDS(1) -> end_exporter(1) }
	:: d_step { EXPORTER_ENDS(2) -> end_exporter(2) }
	:: d_step { EXPORTER_ENDS(3) -> end_exporter(3) }
	/* It sees that the broker is gone, maybe long after; until then it does what it was told. */
	:: d_step { agent_up[SRC] && !broker_up[SRC] ->
		agent_up[SRC] = false;
		drain_to(SRC);
		drain_from(SRC);
		told = 0
	}
	od
}

inline start_importer(x, whom)
{
	assert(session[x].target == whom && session[x].target_life == life[whom]); /* P1, P6 */
	for (k : 1 .. N_SESSIONS) {
		assert(!(k != x && session[k].exporting && session[k].importing &&
			 session[k].plug == session[x].plug)) /* P1 */
	}
	session[x].importing = true;
	session[x].imported = true;
	session[x].imported_since = true;
	from[whom]!IMPORTED, x, false, 0
}

inline target_told(whom)
{
	to[whom]?word, s;
	if
	:: word == IMPORT && session[s].exporting -> start_importer(s, whom)
	:: word == STOP -> session[s].importing = false; from[whom]!CLOSED, s, false, 0
	:: else -> from[whom]!CLOSED, s, false, 0
	fi
}

/* Its exporter went. */
#define IMPORTER_ENDS(x, q) (session[x].importing && session[x].target == q && !session[x].exporting && \
			     (!agent_up[q] || len(from[q]) < DEPTH))
inline end_importer(x, whom)
{
	session[x].importing = false;
	if
	:: agent_up[whom] -> from[whom]!CLOSED, x, false, 0
	:: else
	fi
}

proctype app(byte self)
{
end:
	do
	:: d_step { agent_up[self] && len(to[self]) > 0 && len(from[self]) < DEPTH -> target_told(self) }
	:: d_step { IMPORTER_ENDS(1, self) -> end_importer(1, self) }
	:: d_step { IMPORTER_ENDS(2, self) -> end_importer(2, self) }
	:: d_step { IMPORTER_ENDS(3, self) -> end_importer(3, self) }
	:: d_step { agent_up[self] && !broker_up[self] ->
		agent_up[self] = false;
		drain_to(self);
		drain_from(self);
		s = 0
	}
	od
}

/* ---- what breaks ------------------------------------------------------------------------------------------------- */
inline kill_agent(whom)
{
	agent_up[whom] = false;
	drain_to(whom);
	if
	:: !broker_up[whom] -> drain_from(whom)
	:: else
	fi;
	for (i : 1 .. N_SESSIONS) {
		if
		:: whom == SRC -> session[i].exporting = false; session[i].stopping = false
		:: whom != SRC && session[i].target == whom -> session[i].importing = false
		:: else
		fi
	}
	i = 0;
	if
	:: whom == SRC -> incarnation++; generation = 1; told = 0
	:: else
	fi
}

/* ... and another one starts with its domain id. With the device qube the device comes anew. */
inline kill_qube(whom)
{
	kill_agent(whom);
	life[whom] = life[whom] + 1;
	if
	:: whom == SRC -> plug++
	:: else
	fi
}

inline plug_in(what)
{
	plugged = true;
	identity = what;
	plug++;
	generation++
}

/* EXPORT or IMPORT fails. */
#define REFUSABLE(q) (FAULT && agent_up[q] && (to[q]?[IMPORT] || to[q]?[EXPORT]) && len(from[q]) < DEPTH)
inline refuse(whom)
{
	n_faults--;
	to[whom]?word, s;
	from[whom]!CLOSED, s, false, 0
}

#define MAY_COME_BACK (session[1].disk == MEMORY_UNLINKED || session[2].disk == MEMORY_UNLINKED)
#define STREAMS(x) (FAULT && session[x].importing && session[x].exporting)

#define KNOWN(x) (FIND(x) != NONE && device[FIND(x)].state == ATTACHED)
/* P5 */
bool judged;
inline judge()
{
	judged = true;
	assert(alive && agent[A] && agent[B] && agent[SRC]);
	assert(waiting == 0);
	assert(!asking && moving == NO_MOVE && !HELD);
	for (i : 1 .. N_SESSIONS) {
		assert(session[i].exporting == KNOWN(i));
		assert(session[i].importing == KNOWN(i));
		assert((session[i].disk == MEMORY_DURABLE) == KNOWN(i))
	}
	assert(device[0].state == FREE || device[0].state == ATTACHED);
	assert(device[1].state == FREE || device[1].state == ATTACHED)
}

proctype world()
{
end:
	do
	:: atomic {
		FAULT -> n_faults--;
		if
		:: q = A
		:: q = B
		:: q = SRC
		fi;
		if
		:: d_step { true -> kill_agent(q) }
		:: d_step { true -> kill_qube(q) }
		fi
	}
	:: d_step { FAULT && plugged -> n_faults--; plugged = false }
	:: d_step { !plugged -> plug_in(identity) }
	:: d_step { !plugged -> plug_in(!identity) }
	:: d_step { REFUSABLE(A) -> refuse(A) }
	:: d_step { REFUSABLE(SRC) -> refuse(SRC) }
	/* A proxy dies: an exporter without a peer ends anyhow. */
	:: d_step { STREAMS(1) && len(from[SRC]) < DEPTH -> n_faults--; end_exporter(1) }
	:: d_step { STREAMS(1) && len(from[session[1].target]) < DEPTH ->
		n_faults--;
		end_importer(1, session[1].target)
	}
	/* kill -9 of the broker */
	:: atomic { alive && n_crashes > 0 -> d_step { n_crashes--; crash(AUDIT_DURABLE) } }
	:: atomic { alive && n_crashes > 0 && MAY_COME_BACK -> d_step { n_crashes--; crash(MEMORY_DURABLE) } }
	:: d_step { !alive -> restart() }
	/* Nothing bad happens any more and nobody wants anything: what is under way must come to its end. */
	:: d_step { n_faults + n_requests + n_crashes + n_moves + n_timeouts > 0 ->
		n_faults = 0;
		n_requests = 0;
		n_crashes = 0;
		n_moves = 0;
		n_timeouts = 0
	}
	:: atomic { timeout && !judged -> d_step { judge() } }
	od
}

/* Everybody is connected when it begins: restart.pml is about all the ways to get there. */
init {
	d_step {
		for (q : 0 .. N_QUBES - 1) {
			broker_up[q] = true;
			agent_up[q] = true;
			agent[q] = true
		}
		known_incarnation = incarnation;
		told = generation;
		device[0].used = true;
		device[0].present = true;
		device[0].generation = generation;
		device[0].incarnation = incarnation;
		device[0].plug = plug;
		q = 0
	}
	atomic {
		run broker();
		run device_qube();
		run app(A);
		run app(B);
		run world()
	}
}
