/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every limit and every time-out of the project, once. Nothing that a peer says
 * chooses an allocation or a wait: these constants do.
 */
#pragma once

/* Inventory */
#define LIMIT_QUBES 64u
#define LIMIT_DEVICES 64u    /* per device qube */
#define LIMIT_INTERFACES 32u /* per device, over all configurations and alternate settings, distinct codes */
#define LIMIT_CONFIGS 8u     /* per device */
#define LIMIT_TEXT 126u      /* characters of a shown string: the longest USB string descriptor */
#define LIMIT_PORT_TEXT 32u  /* "1-2.4.1" with its NUL */
#define LIMIT_QUBE_NAME 31u  /* as Qubes OS allows */
#define LIMIT_SESSIONS 64u   /* at once in one agent, both sides together */

/* Assignments, deny lists, and what the broker keeps on disk */
#define LIMIT_ASSIGNMENTS 1024u
#define LIMIT_OFFERED 8u          /* targets in one question */
#define LIMIT_DENIED_QUBES 256u   /* qubes that have a deny list */
#define LIMIT_DENIED_PATTERNS 64u /* of one qube */
#define LIMIT_LABELS 1024u
#define LIMIT_STORED_SESSIONS (LIMIT_QUBES * LIMIT_SESSIONS)
#define LIMIT_STORE_KEY 511u                    /* bytes */
#define LIMIT_STORE_VALUE 1023u                 /* bytes */
#define LIMIT_STORE_COMPACT 65536u              /* bytes: a shorter journal is left as it is */
#define LIMIT_STORE_FILE (256u * 1024u * 1024u) /* bytes: no journal of ours is longer */

/* Control protocol */
#define LIMIT_FRAME 256u        /* bytes, header included */
#define LIMIT_PEER_REQUESTS 4u  /* outstanding, per agent */
#define LIMIT_PEER_QUEUE 65536u /* bytes queued towards one peer */
#define LIMIT_PEER_EVENTS_PER_SEC 50u
#define LIMIT_PEER_EVENTS_BURST 100u

/* USB/IP, per session */
#define LIMIT_URBS 256u                /* in flight */
#define LIMIT_TRANSFER (1024u * 1024u) /* bytes of one transfer */
#define LIMIT_IN_FLIGHT (16u * 1024u * 1024u)
#define LIMIT_ISO_PACKETS 1024u /* of one URB */
#define LIMIT_SNAPSHOT 32768u   /* bytes: speed, serial and raw descriptors of one device */

/* Time, in microseconds */
#define USEC_PER_MSEC 1000ull
#define USEC_PER_SEC 1000000ull
#define TIMEOUT_HEADER_USEC (5 * USEC_PER_SEC)       /* a header that has begun must be whole */
#define TIMEOUT_ATTACH_STEP_USEC (10 * USEC_PER_SEC) /* each step of an attach: export, import */
#define TIMEOUT_STOP_USEC (3 * USEC_PER_SEC)         /* a detach acknowledgement */
#define TIMEOUT_CONNECT_USEC (5 * USEC_PER_SEC)      /* the peer of a data channel must come */
#define TIMEOUT_UNLINK_USEC (10 * USEC_PER_SEC) /* an UNLINK must be answered; usbfs' blocking calls last up to 5 s */
#define TIMEOUT_REFUSE_USEC (2 * USEC_PER_SEC)  /* a URB beyond the limits waits so long for room, then is refused */
#define TIMEOUT_PROXY_EXIT_USEC (1 * USEC_PER_SEC) /* from STOP to SIGKILL of a proxy */
#define HEARTBEAT_USEC (3 * USEC_PER_SEC)          /* broker asks each agent */
#define HEARTBEAT_LOST_USEC (9 * USEC_PER_SEC)     /* silent for so long: lost */

/* Channels */
#define RING_CONTROL 4096u           /* bytes each way */
#define RING_BULK_IN (256u * 1024u)  /* device towards target */
#define RING_BULK_OUT (256u * 1024u) /* target towards device */

/* Admin API */
#define LIMIT_ADMIN_REQUEST 65536u                    /* bytes, header and payload, as Qubes' own server */
#define LIMIT_ADMIN_REPLY 262144u                     /* bytes of the longest reply */
#define LIMIT_ADMIN_CONNECTIONS 256u                  /* in all */
#define LIMIT_ADMIN_PER_UID 64u                       /* of one user */
#define LIMIT_ADMIN_QUEUE 65536u                      /* bytes queued towards one listener */
#define TIMEOUT_ADMIN_REQUEST_USEC (5 * USEC_PER_SEC) /* a client must have sent its request */
#define TIMEOUT_ADMIN_REPLY_USEC (5 * USEC_PER_SEC)   /* a client must have read its reply */
#define TIMEOUT_ADMIN_ANSWER_USEC (60 * USEC_PER_SEC) /* a tool waits so long for the broker's answer */
#define TIMEOUT_ADMIN_READ_USEC (10 * USEC_PER_SEC)   /* a tool waits so long for everything it wants to read */
