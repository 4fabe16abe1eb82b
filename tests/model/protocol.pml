/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The broker's protocol as a model for spin: broker/core/ (the handlers bear their names in attachment.c, inventory.c,
 * adopt.c, move.c), its disk, the agents, and a world that breaks things. attach.pml, restart.pml and move.pml
 * include it, each with bounds of its own; ./check runs them.
 *
 * Properties. They look at what really runs (session[].exporting, .importing), never at what the broker believes:
 *   P1  at most one exporter per plugged device, and its importer runs in the qube (domain and life) that was decided
 *   P2  an exporter starts only for a session whose audit record is durable; EXPORT is sent when its memory is, too
 *   P3  "attached" is told only when both sides have run for it; "detached" only when its exporter is gone
 *   P4  a stream is adopted after a restart only if a durable memory names it, and both its sides have run since the
 *       broker started, and device and target are those that were decided
 *   P5  every run ends (no cycle); at its end nobody waits, the broker knows exactly what runs, and nothing else runs
 *   P6  a device that was plugged in anew, or a qube that has a re-used domain id, has nothing that it was not given
 *
 * A step of a process is one atomic {}: the broker may die between any two. A handler that sends two messages need not
 * be cut in between: each message may be lost with its connection anyhow.
 *
 * What is left out: refused requests (they change nothing); more than one device qube and one port; texts, classes,
 * assignments, claims, back-off, time limits, suspend; agents that lie (unit tests and fuzzers are about those). A qube
 * that is gone has a successor with its domain id in the same step, and a broker that starts hears of all qubes before
 * any agent: one that is gone without a successor, and one that is heard of late, are not here (test-adopt.c). Time is
 * a choice: whatever has a deadline may reach it at any moment, N_TIMEOUTS times. HELLO, SESSION* and LIST_BEGIN are
 * one message here, and so are the devices and LIST_END.
 *
 * Bounds: N_ATTACHES sessions in all, N_REQUESTS attaches and detaches of users, N_MOVES, and N_TIMEOUTS, N_FAULTS,
 * N_CRASHES of whatever can go wrong, each at any step. Planted bugs: -DBUG=1..10, each at its place.
 */
#ifndef BUG
#define BUG 0
#endif

/* Qubes: two domain ids for app qubes, and the device qube. */
#define A 0
#define B 1
#define SRC 2
#define N_QUBES 3
#define N_DEVICES 2 /* LIMIT_DEVICES: records of the one port: the device there, and one that was unplugged */
#define NONE 255

#define DEPTH 4 /* of a channel. An agent that cannot send waits; the broker must never have to: tell() */

#define N_SESSIONS 3 /* in all; 0 is none */

/* enum core_state */
#define FREE 0
#define AUDITING 1
#define EXPORTING 2
#define IMPORTING 3
#define ATTACHED 4
#define DETACHING 5
#define LOCKED 6
#define ADOPTING 7

/*
 * What is on disk of a session. Written and not yet synced is the same as not written: a crash may lose it, a torn
 * record is none, and if it survives it could have been synced just before. UNLINKED may come back in a crash.
 */
#define NOTHING 0
#define AUDIT_DURABLE 1
#define MEMORY_DURABLE 2
#define MEMORY_UNLINKED 3

mtype = { EXPORT, IMPORT, STOP }                           /* broker to agent: session */
mtype = { REPORT, LIST, DEVICE, GONE, EXPORTED, IMPORTED, CLOSED } /* agent to broker; CLOSED: STOPPED, FAILED, ENDED */
mtype = { NO_MOVE, MOVE_OUT, MOVE_IN, MOVE_BACK }

/* ---- the world: what is true ------------------------------------------------------------------------------------ */
byte life[N_QUBES] = 1;   /* of the qube that has this domain id now; another life is another qube */
byte incarnation = 1;     /* of the source's agent */
bool plugged = true;
bool identity;            /* digest and all that the user saw */
byte plug = 1;            /* counts plugs; nobody in the model's programs may look at it */
byte generation = 1;      /* the agent's number for it; a restarted agent numbers anew */
byte told;                /* the generation that the agent told the broker of last; 0: none */

chan to[N_QUBES] = [DEPTH] of { mtype, byte };               /* session */
chan from[N_QUBES] = [DEPTH] of { mtype, byte, bool, byte }; /* session or generation, identity, plug */
bool agent_up[N_QUBES];  /* the agent's end of the control channel is open */
bool broker_up[N_QUBES]; /* the broker's end */

byte n_faults = N_FAULTS, n_requests = N_REQUESTS, n_crashes = N_CRASHES, n_moves = N_MOVES,
     n_timeouts = N_TIMEOUTS;
bool alive = true;       /* the broker */
byte waiting;            /* user requests without an answer; those of a dead broker are over: the socket closed */

typedef session_facts {
	/* as decided; memory, EXPORT and IMPORT carry it */
	byte target, target_life, generation, incarnation, source_life;
	bool identity;
	byte plug; /* only the properties look at it */
	/* on disk */
	byte disk;
	bool writing, forgotten;
	/* what runs */
	bool exporting, importing, stopping;
	bool exported, imported;           /* it has run */
	bool exported_since, imported_since; /* ... since this broker started */
	/* the broker's: not a device's */
	bool remembered, given_up, source_vouched, target_vouched; /* an unsettled memory; who reported its session */
	bool stray;
};
session_facts session[N_SESSIONS + 1];
byte n_sessions;

/* ---- the broker: what it believes -------------------------------------------------------------------------------- */
typedef record {
	bool used, present;
	byte generation, incarnation;
	bool identity;
	byte plug; /* only the properties look at it */
	byte state, session;
	bool source_open, target_open, source_reported, target_reported;
	bool attach_token, detach_token;
};
record device[N_DEVICES];
bool agent[N_QUBES];        /* connected and synced */
byte known_life[N_QUBES] = 1;
byte known_incarnation;     /* agent_life: of the source's agent */

bool asking;                /* question.c: one question; to whom it would go and what it is about */
byte ask_target, ask_life, ask_generation, ask_incarnation, ask_plug;

mtype moving = NO_MOVE;     /* move.c: one move */
byte move_device, move_from, move_from_life, move_to, move_to_life;

/* One for each device: what has happened to it (enum input_type), and for all handlers: scratch. */
hidden byte input[N_DEVICES];
hidden byte i, k, n, d, s, p, q, id, then;
hidden mtype word;

#include "broker.pml"
#include "world.pml"
