/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * broker/core/: the handlers bear the names that they have there. A step says what happened to each device: input[];
 * attachment() is the table of attachment.c for it.
 */
#define SESSION(d) session[device[d].session]
#define TARGET(d) SESSION(d).target
#if BUG == 4
#define SAME_LIFE(a, b) true /* a domain id is taken for the qube */
#else
#define SAME_LIFE(a, b) ((a) == (b))
#endif
#define TARGET_IS(d, q) (device[d].state != FREE && TARGET(d) == (q) && \
			 SAME_LIFE(SESSION(d).target_life, known_life[q]))
#define TARGET_AGENT(d) (agent[TARGET(d)] && TARGET_IS(d, TARGET(d)))
#define FIND(s) (device[0].state != FREE && device[0].session == (s) -> 0 : \
		 (device[1].state != FREE && device[1].session == (s) -> 1 : NONE))
#define PRESENT (device[0].present -> 0 : (device[1].present -> 1 : NONE))
#define UNDER_WAY(x) ((x) >= AUDITING && (x) <= ATTACHED || (x) == ADOPTING)
#define BETWEEN(x) ((x) == DETACHING || (x) == LOCKED)

/* Into a connection whose other end has gone it is lost. */
inline tell(whom, what, about)
{
	if
	:: broker_up[whom] && agent_up[whom] -> assert(len(to[whom]) < DEPTH); to[whom]!what, about
	:: else
	fi
}

inline answered()
{
	assert(waiting > 0);
	waiting--
}

inline claim_attached(d)
{
	assert(SESSION(d).exported && SESSION(d).imported) /* P3 */
}

inline stop_source(d)
{
	if
	:: device[d].source_open && agent[SRC] -> tell(SRC, STOP, device[d].session)
	:: else
	fi
}

inline stop_target(d)
{
	if
	:: device[d].target_open && TARGET_AGENT(d) -> tell(TARGET(d), STOP, device[d].session)
	:: else
	fi
}

/* CORE_DO_FORGET; a write under way comes first */
inline forget(which)
{
	if
	:: session[which].writing -> session[which].forgotten = true
	:: !session[which].writing && session[which].disk == MEMORY_DURABLE -> session[which].disk = MEMORY_UNLINKED
	:: else
	fi
}

/* attachment.c: reserve(). What the user decided is (seen_plug, target, target_life). */
inline reserve(d, to_whom, whose_life, seen_plug)
{
	n_sessions++;
	assert(n_sessions <= N_SESSIONS);
	device[d].session = n_sessions;
	SESSION(d).target = to_whom;
	SESSION(d).target_life = whose_life;
	SESSION(d).source_life = known_life[SRC];
	SESSION(d).incarnation = device[d].incarnation;
	SESSION(d).generation = device[d].generation;
	SESSION(d).identity = device[d].identity;
	SESSION(d).plug = seen_plug;
	SESSION(d).writing = true;
	device[d].state = AUDITING;
#if BUG == 1 /* EXPORT does not wait for the disk */
	device[d].source_open = true;
	device[d].state = EXPORTING;
	tell(SRC, EXPORT, device[d].session);
#endif
}

/* Strays hold the whole qube, memories that are not settled hold the port. */
#define HOLDS(s) (session[s].stray || session[s].remembered)
#if BUG == 8 /* ... not */
#define HELD false
#else
#define HELD (HOLDS(1) || HOLDS(2) || HOLDS(3))
#endif
#define CAN_RESERVE(d, q, l) (device[d].present && device[d].state == FREE && agent[SRC] && agent[q] && \
			      known_life[q] == (l) && !HELD && n_sessions < N_ATTACHES)

/* move.c: the attachment is FREE again; where to now? */
inline move_on(d)
{
	if
	:: moving == MOVE_OUT && CAN_RESERVE(d, move_to, move_to_life) ->
		moving = MOVE_IN;
		reserve(d, move_to, move_to_life, device[d].plug)
	:: (moving == MOVE_IN || moving == MOVE_OUT && !CAN_RESERVE(d, move_to, move_to_life)) &&
	   CAN_RESERVE(d, move_from, move_from_life) ->
		moving = MOVE_BACK;
		reserve(d, move_from, move_from_life, device[d].plug)
	:: else -> /* CORE_ANSWER_MOVED_FREE */
		moving = NO_MOVE;
		answered();
		for (n : 1 .. N_SESSIONS) {
			assert(!(session[n].exporting && session[n].plug == device[d].plug)) /* P3 */
		}
	fi
}

inline drop(d)
{
	device[d].used = false;
	device[d].generation = 0;
	device[d].incarnation = 0;
	device[d].identity = false;
	device[d].plug = 0
}

/* enum input_type */
#define IN_NOTHING 0
#define IN_AUDITED 1
#define IN_AUDIT_FAILED 2
#define IN_EXPORTED 3
#define IN_IMPORTED 4
#define IN_SOURCE_CLOSED 5
#define IN_TARGET_CLOSED 6
#define IN_SOURCE_LOST 7
#define IN_TARGET_LOST 8
#define IN_SOURCE_STILL 9
#define IN_TARGET_STILL 10
#define IN_SOURCE_GONE 11
#define IN_UNPLUGGED 12
#define IN_TIMEOUT 13
#define IN_DETACH 14
#define IN_VOUCHED 15 /* adopt.c: one more side, or the device, is known */

/* What a handler ends with. */
#define STAY 0
#define UNDO 1
#define SETTLE 2
#define FINISH 3
#define CONFIRM 4
#define LOCK 5

/* A user's requests about device `d` have their answer: attach, detach, move. */
inline answer_attach(d)
{
	if
	:: device[d].attach_token -> device[d].attach_token = false; answered()
	:: else
	fi
}

inline answer_detach(d)
{
	if
	:: device[d].detach_token -> device[d].detach_token = false; answered()
	:: else
	fi
}

inline answer_move(d)
{
	if
	:: moving != NO_MOVE && move_device == d -> moving = NO_MOVE; answered()
	:: else
	fi
}

/* attachment.c: finish(), the one way to FREE */
inline finish(d)
{
	assert(!device[d].source_open);
	forget(device[d].session);
	answer_attach(d);
	if
	:: device[d].detach_token -> /* CORE_ANSWER_DONE; it ends a move too */
		assert(!SESSION(d).exporting); /* P3 */
		answer_detach(d);
		answer_move(d)
	:: else
	fi;
	device[d].state = FREE;
	device[d].session = 0;
	device[d].target_open = false;
	device[d].source_reported = false;
	device[d].target_reported = false;
	if
	:: moving != NO_MOVE && move_device == d -> move_on(d)
	:: else
	fi;
	if
	:: !device[d].present -> drop(d)
	:: else
	fi
}

/* attachment.c: is_settled() */
#define SETTLED(d) (!device[d].source_open && !(device[d].target_open && TARGET_AGENT(d)))

/* attachment.c: undo(), settle(), confirm(), give_up() */
inline conclude(d)
{
	if
	:: then == CONFIRM ->
		device[d].state = ATTACHED;
		if
		:: device[d].attach_token || moving != NO_MOVE && move_device == d ->
			assert(SESSION(d).exported && SESSION(d).imported) /* P3 */
		:: else
		fi;
		answer_attach(d);
		answer_move(d) /* DONE, or MOVED_BACK */
	:: then == LOCK ->
		device[d].state = LOCKED;
		answer_attach(d);
		answer_detach(d);
		answer_move(d)
	:: then == UNDO && !SETTLED(d) ->
		device[d].state = DETACHING;
		stop_source(d);
		stop_target(d)
	:: then == FINISH || (then == UNDO || then == SETTLE) && SETTLED(d) -> finish(d)
	:: else
	fi;
	then = STAY
}

inline start_export(d)
{
	assert(SESSION(d).disk == MEMORY_DURABLE); /* P2 */
	device[d].source_open = true;
	device[d].state = EXPORTING;
	tell(SRC, EXPORT, device[d].session)
}

inline start_import(d)
{
	device[d].target_open = true;
	device[d].state = IMPORTING;
	tell(TARGET(d), IMPORT, device[d].session)
}

/* adopt.c */
inline vouched(d)
{
	if
#if BUG == 3 /* the source's word is enough */
	:: device[d].source_reported ->
#else
	:: device[d].source_reported && device[d].target_reported ->
#endif
		assert(SESSION(d).disk == MEMORY_DURABLE);                      /* P4 */
		assert(SESSION(d).exported_since && SESSION(d).imported_since); /* P4 */
		assert(SESSION(d).plug == device[d].plug);                      /* P4, P6 */
		assert(SESSION(d).target_life == known_life[TARGET(d)]);        /* P4, P6 */
		then = CONFIRM
	:: else
	fi
}

#define IS(x) (input[d] == (x))
#define IN(x) (device[d].state == (x))
inline attachment()
{
	for (d : 0 .. N_DEVICES - 1) {
		if
		:: IS(IN_SOURCE_CLOSED) || IS(IN_SOURCE_GONE) -> device[d].source_open = false
		:: IS(IN_TARGET_CLOSED) -> device[d].target_open = false
#if BUG == 2 /* silence is taken for proof */
		:: IS(IN_TIMEOUT) && IN(DETACHING) -> device[d].source_open = false
#endif
		:: else
		fi;
		if
		:: IS(IN_NOTHING)
		:: IN(FREE) && IS(IN_UNPLUGGED) -> drop(d)
		:: IS(IN_AUDITED) && IN(AUDITING) -> start_export(d)
		:: IS(IN_EXPORTED) && IN(EXPORTING) -> start_import(d)
		:: IS(IN_IMPORTED) && IN(IMPORTING) -> then = CONFIRM
		:: IS(IN_VOUCHED) && IN(ADOPTING) -> vouched(d)
#if BUG == 5 /* a time-out of the import is taken for its success */
		:: IS(IN_TIMEOUT) && IN(IMPORTING) -> then = CONFIRM
		:: UNDER_WAY(device[d].state) && !(IN(IMPORTING) && IS(IN_TIMEOUT)) &&
#else
		:: UNDER_WAY(device[d].state) &&
#endif
		   (IS(IN_AUDIT_FAILED) && IN(AUDITING) || IS(IN_SOURCE_CLOSED) || IS(IN_TARGET_CLOSED) ||
		    IS(IN_SOURCE_LOST) || IS(IN_TARGET_LOST) || IS(IN_UNPLUGGED) || IS(IN_DETACH) ||
		    IS(IN_TIMEOUT) && !IN(ATTACHED)) -> then = UNDO
		:: IS(IN_SOURCE_GONE) && !IN(FREE) -> /* vanish() */
			if
			:: UNDER_WAY(device[d].state) -> stop_target(d)
			:: else
			fi;
			then = FINISH
		:: IN(DETACHING) && (IS(IN_SOURCE_CLOSED) || IS(IN_TARGET_CLOSED) || IS(IN_TARGET_LOST)) ->
			then = SETTLE
		:: BETWEEN(device[d].state) && IS(IN_SOURCE_STILL) -> stop_source(d)
		:: BETWEEN(device[d].state) && IS(IN_TARGET_STILL) -> stop_target(d)
		:: IN(DETACHING) && IS(IN_TIMEOUT) -> /* give_up() */
			then = (device[d].source_open -> LOCK : FINISH)
		:: IN(LOCKED) && IS(IN_SOURCE_CLOSED) -> then = FINISH /* unlock() */
		:: IN(LOCKED) && IS(IN_DETACH) -> stop_source(d) /* detach_again() */
		:: else
		fi;
		input[d] = IN_NOTHING;
		conclude(d)
	}
	d = 0
}

inline end_question()
{
	asking = false;
	ask_target = 0;
	ask_life = 0;
	ask_generation = 0;
	ask_incarnation = 0;
	ask_plug = 0
}

/* inventory.c: remove_device() */
inline remove_device(d)
{
	device[d].present = false;
	input[d] = IN_UNPLUGGED;
	if
	:: BUG != 6 && asking && ask_incarnation == device[d].incarnation && ask_generation == device[d].generation ->
		end_question();
		answered()
	:: else
	fi
}

/* A stream that nothing explains is stopped; an export holds its qube until it is. */
inline stray_export(s)
{
	session[s].stray = true;
	tell(SRC, STOP, s)
}

inline settle_memory(s)
{
	session[s].remembered = false;
	session[s].source_vouched = false;
	session[s].target_vouched = false;
	session[s].given_up = false
}

/* adopt.c: fail(). A memory that is given up holds its port until the source's side is known. */
inline not_adopted(about, source_closed)
{
	if
	:: session[about].target_vouched -> tell(session[about].target, STOP, about)
	:: else
	fi;
	session[about].target_vouched = false;
	if
	:: session[about].source_vouched -> stray_export(about); settle_memory(about); forget(about)
	:: !session[about].source_vouched && source_closed -> settle_memory(about); forget(about)
	:: else -> session[about].given_up = true
	fi
}

/*
 * The events. Some change devices (input[]) more than once: attachment() is done after each stage of them.
 */

/* inventory.c: inventory_agent_ready() */
inline source_ready(said_incarnation)
{
	if
	:: known_incarnation != said_incarnation && PRESENT != NONE -> k = PRESENT; remove_device(k)
	:: else
	fi;
	known_incarnation = said_incarnation
}

/* inventory.c: inventory_agent_session() for each, then _list_begin() and prove_unreported() */
inline source_reports(sessions)
{
	agent[SRC] = true;
	for (i : 1 .. N_SESSIONS) {
		k = FIND(i);
		if
		:: (sessions >> i) & 1 ->
			if
			:: k != NONE && device[k].source_open -> input[k] = IN_SOURCE_STILL
			:: k == NONE && session[i].remembered && !session[i].given_up &&
			   session[i].incarnation == known_incarnation -> session[i].source_vouched = true
			:: k == NONE && session[i].remembered && session[i].given_up ->
				stray_export(i);
				not_adopted(i, true)
			:: else -> stray_export(i)
			fi
		:: k == NONE && !((sessions >> i) & 1) && session[i].remembered -> not_adopted(i, true)
		:: k != NONE && !((sessions >> i) & 1) && device[k].source_open -> input[k] = IN_SOURCE_CLOSED
		:: else
		fi;
#if BUG == 7 /* an agent's return is taken for proof, whatever it reports */
		if
		:: k != NONE && device[k].source_open -> input[k] = IN_SOURCE_CLOSED
		:: else
		fi
#endif
	}
}

inline target_reports(whom, sessions)
{
	agent[whom] = true;
	for (i : 1 .. N_SESSIONS) {
		k = FIND(i);
		if
		:: (sessions >> i) & 1 ->
			if
			:: k != NONE && TARGET_IS(k, whom) && device[k].target_open ->
				device[k].target_reported = true;
				input[k] = (device[k].state == ADOPTING -> IN_VOUCHED : IN_TARGET_STILL)
			:: k == NONE && session[i].remembered && !session[i].given_up && session[i].target == whom ->
				session[i].target_vouched = true
			:: else -> tell(whom, STOP, i)
			fi
		:: k == NONE && !((sessions >> i) & 1) && session[i].remembered && session[i].target == whom ->
			not_adopted(i, false)
		:: k != NONE && !((sessions >> i) & 1) && TARGET_IS(k, whom) && device[k].target_open ->
			input[k] = IN_TARGET_CLOSED
		:: else
		fi
	}
}

/* inventory.c: inventory_device(); adopt.c: which memory explains the device? */
#define SAME_DEVICE(d, x) (device[d].generation == (x) && device[d].incarnation == known_incarnation)
inline device_displaced(said_generation)
{
	k = PRESENT;
	if
	:: k != NONE && (said_generation == 0 || !SAME_DEVICE(k, said_generation)) -> remove_device(k)
	:: else
	fi
}

inline device_listed(said_generation, said_identity, ghost)
{
	k = (PRESENT != NONE -> NONE : (!device[0].used -> 0 : (!device[1].used -> 1 : NONE)));
	if
	:: k != NONE ->
		device[k].used = true;
		device[k].present = true;
		device[k].generation = said_generation;
		device[k].incarnation = known_incarnation;
		device[k].identity = said_identity;
		device[k].plug = ghost
	:: else /* known, or CORE_EVENT_FULL */
	fi;
	for (i : 1 .. N_SESSIONS) {
		if
		:: k != NONE && session[i].remembered && session[i].source_vouched && device[k].state == FREE &&
#if BUG != 9 /* what is plugged in there now is taken for what was there */
		   session[i].generation == said_generation && session[i].identity == said_identity &&
#endif
		   session[i].incarnation == known_incarnation ->
			device[k].session = i;
			device[k].state = ADOPTING;
			device[k].source_open = true;
			device[k].target_open = true;
			device[k].source_reported = true;
			device[k].target_reported = session[i].target_vouched;
			settle_memory(i);
			input[k] = IN_VOUCHED
		:: else
		fi
	}
}

/* adopt.c: adopt_list_end(), adopt_tick() */
inline give_up_memories()
{
	for (i : 1 .. N_SESSIONS) {
		if
		:: session[i].remembered && !session[i].given_up -> not_adopted(i, false)
		:: else
		fi
	}
}

/* inventory.c: inventory_device_gone() */
inline device_gone(said_generation)
{
	k = PRESENT;
	if
	:: k != NONE && SAME_DEVICE(k, said_generation) -> remove_device(k)
	:: else
	fi
}

/* core.c: handle_closed(): STOPPED, FAILED, ENDED */
inline side_closed(whom, about)
{
	k = FIND(about);
	if
	:: k != NONE && whom == SRC && device[k].source_open -> input[k] = IN_SOURCE_CLOSED
	:: k != NONE && whom != SRC && TARGET_IS(k, whom) && device[k].target_open -> input[k] = IN_TARGET_CLOSED
	:: k == NONE && whom == SRC && session[about].source_vouched -> /* adopt_closed() */
		session[about].source_vouched = false;
		not_adopted(about, true)
	:: k == NONE && whom != SRC && session[about].target_vouched ->
		session[about].target_vouched = false;
		not_adopted(about, false)
	:: else
	fi;
	if
	:: whom == SRC -> session[about].stray = false
	:: else
	fi
}

/* core.c: handle_progress() */
inline progress(whom, about, what)
{
	k = FIND(about);
	if
	:: k != NONE && (whom == SRC || TARGET_IS(k, whom)) -> input[k] = what
	:: else
	fi
}

inline unvouch(whom)
{
	for (i : 1 .. N_SESSIONS) {
		if
		:: whom == SRC -> session[i].stray = false; session[i].source_vouched = false
		:: whom != SRC && session[i].target == whom -> session[i].target_vouched = false
		:: else
		fi
	}
}

/* inventory.c: inventory_agent_lost() */
inline agent_lost(whom)
{
	agent[whom] = false;
	unvouch(whom);
	for (k : 0 .. N_DEVICES - 1) {
		if
		:: device[k].state != FREE && whom == SRC -> input[k] = IN_SOURCE_LOST
		:: whom != SRC && TARGET_IS(k, whom) -> input[k] = IN_TARGET_LOST
		:: else
		fi
	}
}

/* inventory.c: inventory_qube_gone(), and _qube_started() of its successor */
inline qube_replaced(whom)
{
	agent[whom] = false;
	broker_up[whom] = false;
	unvouch(whom);
	for (k : 0 .. N_DEVICES - 1) {
		if
		:: device[k].state != FREE && whom == SRC -> input[k] = IN_SOURCE_GONE
		:: BUG != 4 && whom != SRC && TARGET_IS(k, whom) -> input[k] = IN_TARGET_CLOSED
		:: else
		fi
	}
	for (i : 1 .. N_SESSIONS) {
		if
		:: session[i].remembered && whom == SRC -> not_adopted(i, true)
		:: session[i].remembered && whom != SRC && BUG != 4 && session[i].target == whom ->
			not_adopted(i, false)
		:: else
		fi
	}
	known_life[whom] = life[whom]
}

inline device_went_with_it()
{
	k = PRESENT;
	if
	:: q == SRC && k != NONE -> remove_device(k)
	:: else
	fi
}
