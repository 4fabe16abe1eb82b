/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processes: the broker's front and disk, the agents, users, and what breaks. */

/* ---- channels, and what an agent says first ---------------------------------------------------------------------- */
inline drain_from(q)
{
	do
	:: len(from[q]) > 0 -> from[q]?word, s, id, p
	:: else -> break
	od
}

inline drain_to(q)
{
	do
	:: len(to[q]) > 0 -> to[q]?word, s
	:: else -> break
	od
}

/* HELLO, SESSION*, WELCOME, and the list */
inline connect(q)
{
	assert(len(from[q]) == 0 && len(to[q]) == 0);
	broker_up[q] = true;
	agent_up[q] = true;
	n = 0;
	for (i : 1 .. N_SESSIONS) {
		if
		:: q == SRC && session[i].exporting || q != SRC && session[i].importing && session[i].target == q ->
			n = n | (1 << i)
		:: else
		fi
	}
	from[q]!REPORT, n, false, (q == SRC -> incarnation : 0);
	if
	:: q == SRC ->
		told = (plugged -> generation : 0);
		from[q]!LIST, told, (plugged && identity), (plugged -> plug : 0)
	:: else
	fi
}

/* The broker's end goes: it cut the agent off, or saw that the agent went. What was not read is lost. */
inline lose(q)
{
	broker_up[q] = false;
	drain_from(q);
	agent_lost(q);
	attachment()
}

/* ---- kill -9, and main.c's start: memories first, then the qubes that are there ---------------------------------- */
inline crash()
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
		:: session[i].disk == MEMORY_UNLINKED -> session[i].disk = MEMORY_DURABLE
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
			not_adopted(i)
		:: else
		fi
	}
	q = 0
}

/* ---- processes --------------------------------------------------------------------------------------------------- */
inline source_said()
{
	from[SRC]?word, s, id, p;
	if
	:: word == REPORT -> source_reports(s, p)
	:: (word == LIST || word == DEVICE) && s != 0 -> device_listed(s, id, p)
	:: word == GONE -> device_gone(s)
	:: word == EXPORTED -> progress(SRC, s, IN_EXPORTED)
	:: word == CLOSED -> side_closed(SRC, s)
	:: else
	fi;
	attachment();
	if
	:: word == LIST -> list_ends(s); attachment()
	:: else
	fi
}

inline target_said(q)
{
	from[q]?word, s, id, p;
	if
	:: word == REPORT -> target_reports(q, s)
	:: word == IMPORTED -> progress(q, s, IN_IMPORTED)
	:: word == CLOSED -> side_closed(q, s)
	fi;
	attachment()
}

#define HAS_DEADLINE(d) (device[d].state != FREE && device[d].state != ATTACHED && device[d].state != LOCKED)
#define REMEMBERED (session[1].remembered || session[2].remembered || session[3].remembered)

proctype broker()
{
end:
	do
	/* broker/io/agents.c, qubes.c: connections, and what xenstore says of domains */
	:: d_step { alive && !broker_up[A] && !agent_up[A] && known_life[A] == life[A] -> connect(A) }
	:: d_step { alive && !broker_up[B] && !agent_up[B] && known_life[B] == life[B] -> connect(B) }
	:: d_step { alive && !broker_up[SRC] && !agent_up[SRC] && known_life[SRC] == life[SRC] -> connect(SRC) }
	:: d_step { broker_up[A] && !agent_up[A] -> lose(A) }
	:: d_step { broker_up[B] && !agent_up[B] -> lose(B) }
	:: d_step { broker_up[SRC] && !agent_up[SRC] -> lose(SRC) }
	:: d_step { alive && known_life[A] != life[A] -> drain_from(A); qube_replaced(A); attachment() }
	:: d_step { alive && known_life[B] != life[B] -> drain_from(B); qube_replaced(B); attachment() }
	:: d_step { alive && known_life[SRC] != life[SRC] -> drain_from(SRC); qube_replaced(SRC); attachment() }
	/* core_handle() */
	:: d_step { broker_up[A] && len(from[A]) > 0 -> target_said(A) }
	:: d_step { broker_up[B] && len(from[B]) > 0 -> target_said(B) }
	:: d_step { broker_up[SRC] && len(from[SRC]) > 0 -> source_said() }
	/* CORE_TICK */
	:: d_step { alive && HAS_DEADLINE(0) -> input[0] = IN_TIMEOUT; attachment() }
	:: d_step { alive && HAS_DEADLINE(1) -> input[1] = IN_TIMEOUT; attachment() }
	:: d_step { alive && REMEMBERED -> forget_memories(); i = 0 }
	od
}

/* broker/io/audit.c and the store of memories: CORE_DO_AUDIT, CORE_DO_FORGET */
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
		progress(SRC, x, IN_AUDITED);
		attachment()
	fi
}

inline fail_to_write(x)
{
	n_faults--;
	session[x].writing = false;
	session[x].forgotten = false;
	if
	:: session[x].disk == MEMORY_DURABLE -> session[x].disk = MEMORY_UNLINKED
	:: else
	fi;
	progress(SRC, x, IN_AUDIT_FAILED);
	attachment()
}

proctype storage()
{
end:
	do
	:: d_step { WORKS(1) -> write(1) }
	:: d_step { WORKS(2) -> write(2) }
	:: d_step { WORKS(3) -> write(3) }
	:: d_step { WORKS(1) && n_faults > 0 -> fail_to_write(1) }
	:: d_step { WORKS(2) && n_faults > 0 -> fail_to_write(2) }
	:: d_step { alive && session[1].disk == MEMORY_UNLINKED -> session[1].disk = AUDIT_DURABLE }
	:: d_step { alive && session[2].disk == MEMORY_UNLINKED -> session[2].disk = AUDIT_DURABLE }
	:: d_step { alive && session[3].disk == MEMORY_UNLINKED -> session[3].disk = AUDIT_DURABLE }
	od
}

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
	:: word == STOP -> session[s].exporting = false; from[SRC]!CLOSED, s, false, 0
	:: else -> from[SRC]!CLOSED, s, false, 0
	fi
}

/* Its device went, or it has no peer. */
#define EXPORTER_ENDS(x) (session[x].exporting && (!session[x].importing || !plugged || plug != session[x].plug) && \
			  (!agent_up[SRC] || len(from[SRC]) < DEPTH))
inline end_exporter(x)
{
	session[x].exporting = false;
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
	:: d_step { agent_up[SRC] && !broker_up[SRC] -> agent_up[SRC] = false; drain_to(SRC); drain_from(SRC); told = 0 }
	od
}

inline start_importer(x, q)
{
	assert(session[x].target == q && session[x].target_life == life[q]); /* P1, P6 */
	for (k : 1 .. N_SESSIONS) {
		assert(!(k != x && session[k].exporting && session[k].importing && session[k].plug == session[x].plug)) /* P1 */
	}
	session[x].importing = true;
	session[x].imported = true;
	session[x].imported_since = true;
	from[q]!IMPORTED, x, false, 0
}

inline target_told(q)
{
	to[q]?word, s;
	if
	:: word == IMPORT && session[s].exporting -> start_importer(s, q)
	:: word == STOP -> session[s].importing = false; from[q]!CLOSED, s, false, 0
	:: else -> from[q]!CLOSED, s, false, 0
	fi
}

/* Its exporter went. */
#define IMPORTER_ENDS(x, q) (session[x].importing && session[x].target == q && !session[x].exporting && \
			     (!agent_up[q] || len(from[q]) < DEPTH))
inline end_importer(x, q)
{
	session[x].importing = false;
	if
	:: agent_up[q] -> from[q]!CLOSED, x, false, 0
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

inline ask(q)
{
	n_requests--;
	waiting++;
	asking = true;
	ask_target = q;
	ask_life = known_life[q];
	ask_generation = device[PRESENT].generation;
	ask_incarnation = device[PRESENT].incarnation;
	ask_plug = device[PRESENT].plug
}

inline attach(q)
{
	n_requests--;
	waiting++;
	d = PRESENT;
	device[d].attach_token = true;
	reserve(d, q, known_life[q], device[d].plug)
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
	n_requests--;
	d = PRESENT;
	if
	:: UNDER_WAY(device[d].state) -> waiting++; device[d].detach_token = true; input[d] = IN_DETACH
	:: device[d].state == DETACHING && !device[d].detach_token -> /* join_detach() */
		waiting++;
		device[d].detach_token = true
	:: else -> input[d] = IN_DETACH
	fi;
	attachment()
}

/* move.c */
inline move()
{
	n_moves--;
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
	input[d] = IN_DETACH;
	attachment()
#endif
}

#define MAY_ATTACH(q) (n_requests > 0 && PRESENT != NONE && CAN_RESERVE(PRESENT, q, known_life[q]) && !asking && \
		       moving == NO_MOVE)
#define MAY_DETACH (n_requests > 0 && PRESENT != NONE && device[PRESENT].state != FREE)
#define MAY_MOVE (n_moves > 0 && moving == NO_MOVE && PRESENT != NONE && device[PRESENT].state == ATTACHED && \
		  agent[SRC] && agent[1 - TARGET(PRESENT)])

proctype users()
{
end:
	do
	:: d_step { alive && MAY_ATTACH(A) -> attach(A) }
	:: d_step { alive && MAY_ATTACH(B) -> attach(B) }
#ifdef QUESTIONS
	:: d_step { alive && MAY_ATTACH(A) -> ask(A) }
	:: d_step { alive && asking -> allow() }
	:: d_step { alive && asking -> end_question(); answered() } /* no, or TIMEOUT_ASK_USEC */
#endif
	:: d_step { alive && MAY_DETACH -> detach() }
	:: d_step { alive && MAY_MOVE -> move() }
	od
}

inline kill_agent(q)
{
	n_faults--;
	agent_up[q] = false;
	drain_to(q);
	for (i : 1 .. N_SESSIONS) {
		if
		:: q == SRC -> session[i].exporting = false
		:: q != SRC && session[i].target == q -> session[i].importing = false
		:: else
		fi
	}
	i = 0;
	if
	:: q == SRC -> incarnation++; generation = 1; told = 0
	:: else
	fi
}

/* ... and another one starts with its domain id. With the device qube the device comes anew. */
inline kill_qube(q)
{
	kill_agent(q);
	life[q] = life[q] + 1;
	if
	:: q == SRC -> plug++
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

/* EXPORT or IMPORT fails */
inline refuse(q)
{
	n_faults--;
	to[q]?word, s;
	from[q]!CLOSED, s, false, 0
}

#define FAULT (n_faults > 0)
proctype world()
{
end:
	do
	/* The broker silences an agent that seems silent, be it alive or not: HEARTBEAT_LOST_USEC. */
	:: d_step { FAULT && broker_up[A] && agent_up[A] -> n_faults--; lose(A) }
	:: d_step { FAULT && broker_up[B] && agent_up[B] -> n_faults--; lose(B) }
	:: d_step { FAULT && broker_up[SRC] && agent_up[SRC] -> n_faults--; lose(SRC) }
	:: d_step { FAULT -> kill_agent(A) }
	:: d_step { FAULT -> kill_agent(B) }
	:: d_step { FAULT -> kill_agent(SRC) }
	:: d_step { FAULT -> kill_qube(A) }
	:: d_step { FAULT -> kill_qube(B) }
	:: d_step { FAULT -> kill_qube(SRC) }
	:: d_step { FAULT && plugged -> n_faults--; plugged = false }
	:: d_step { !plugged -> plug_in(identity) }
	:: d_step { !plugged -> plug_in(!identity) }
	:: d_step { FAULT && agent_up[A] && to[A]?[IMPORT] && len(from[A]) < DEPTH -> refuse(A) }
	:: d_step { FAULT && agent_up[SRC] && to[SRC]?[EXPORT] && len(from[SRC]) < DEPTH -> refuse(SRC) }
	/* A proxy dies: an exporter without a peer ends anyhow. */
	:: d_step { FAULT && session[1].importing && session[1].exporting && len(from[SRC]) < DEPTH -> n_faults--; end_exporter(1) }
	:: d_step { FAULT && session[1].importing && session[1].exporting && len(from[session[1].target]) < DEPTH ->
		n_faults--;
		end_importer(1, session[1].target)
	}
	/* kill -9 of the broker */
	:: d_step { alive && n_crashes > 0 -> n_crashes--; crash() }
	:: d_step { !alive -> restart() }
	/* Nothing bad happens any more and nobody wants anything: what is under way must come to its end. */
	:: d_step { n_faults + n_requests + n_crashes + n_moves > 0 ->
		n_faults = 0;
		n_requests = 0;
		n_crashes = 0;
		n_moves = 0
	}
	od
}

#define KNOWN(x) (FIND(x) != NONE && device[FIND(x)].state == ATTACHED)
bool judged;
proctype judge() /* P5 */
{
end:
	do
	:: atomic { timeout && !judged -> d_step {
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
	} }
	od
}

/* Everybody is connected when it begins: restart.pml is about all the ways to get there. */
init {
	d_step {
		connect(A);
		target_said(A);
		connect(B);
		target_said(B);
		connect(SRC)
	};
	d_step { source_said() };
	d_step { source_said() };
	atomic {
		run broker();
		run storage();
		run device_qube();
		run app(A);
		run app(B);
		run users();
		run world();
		run judge()
	}
}
