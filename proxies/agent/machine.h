/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of one session in an agent, as a table; pure. session.c carries the actions out.
 *
 *   export: LISTENING ------------------> RUNNING --+--> STOPPING --> FREEING --> OVER
 *   import: CONNECTING --> ATTACHING ---> RUNNING --+
 *
 * Whatever goes wrong, the way out is the same: the proxy is stopped and reaped first, then what the session had is
 * freed and seen to be free, and only then is its end reported.
 */
#pragma once

enum session_state {
	SESSION_LISTENING,  /* export: the proxy is to say that its channel is there */
	SESSION_CONNECTING, /* import: the proxy is to connect and to check the snapshot */
	SESSION_ATTACHING,  /* import: the kernel has the port, and is to enumerate the device */
	SESSION_RUNNING,
	SESSION_STOPPING, /* the proxy is to exit */
	SESSION_FREEING,  /* the proxy is gone; import: the kernel is to free the port */
	SESSION_OVER,
	SESSION_STATE_COUNT,
};

enum session_event {
	SESSION_SAID_LISTENING, /* the proxy's reports, see lib/proxy/report.h */
	SESSION_SAID_READY,
	SESSION_SAID_ENDED,
	SESSION_SAID_NONSENSE, /* a report that is not one, or not now */
	SESSION_HUNG_UP,       /* it closed its end of the report socket */
	SESSION_EXITED,        /* and was reaped */
	SESSION_ENUMERATED,    /* the port is in use */
	SESSION_PORT_LOST,     /* attach failed, or the port is free again or in error */
	SESSION_STOP,          /* the broker, or our own end */
	SESSION_TIMEOUT,       /* of the present state */
	SESSION_FREED,         /* nothing is left */
	SESSION_EVENT_COUNT,
};

enum session_action {
	SESSION_DO_NOTHING,
	SESSION_DO_ANSWER, /* EXPORTED, IMPORTED */
	SESSION_DO_ATTACH, /* give the socket to vhci_hcd */
	SESSION_DO_ASK,    /* ask the proxy to stop, with a time limit */
	SESSION_DO_AWAIT,  /* the proxy ends by itself: only the time limit */
	SESSION_DO_KILL,
	SESSION_DO_FREE,   /* detach the port, remove what the channel left */
	SESSION_DO_REPORT, /* FAILED, STOPPED or ENDED */
};

struct session_step {
	enum session_state next;
	enum session_action action;
};

/* What `event` does in `state`; total. */
struct session_step session_step(enum session_state state, enum session_event event);

const char *session_state_name(enum session_state state);
