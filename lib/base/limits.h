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
#define LIMIT_PATH_TEXT 80u  /* "pci-0000:00:04.0-usb-0:1.2" with its NUL */
#define LIMIT_QUBE_NAME 31u  /* as Qubes OS allows */
#define LIMIT_SESSIONS 64u   /* at once in one agent, both sides together */
#define LIMIT_START_TEXT 48u /* what tells two starts of one qube apart */

/* Decisions and what is kept */
#define LIMIT_RULE_TEXT 96u       /* "30-user.policy:4" */
#define LIMIT_QUESTIONS 64u       /* open at once */
#define LIMIT_QUESTIONS_ASKER 2u  /* of these, what one qube asked for through qrexec */
#define LIMIT_ASKERS 16u          /* qubes that are remembered for a no */
#define LIMIT_OFFERED 8u          /* targets that one question offers */
#define LIMIT_RESTORES 256u       /* attachments that wait to be made again */
#define LIMIT_MEMORIES 256u       /* sessions of a former life of the broker */
#define LIMIT_MOVES 64u           /* under way at once */
#define LIMIT_SLEEPERS_QUBES 2u   /* of these, through qrexec; the last place is the machine's own */
#define LIMIT_SLEEPERS 8u         /* who wait at once for everything to be quiet before a sleep */
#define LIMIT_STARTS 16u          /* attaches of the broker's own that wait for their audit record at once */
#define LIMIT_AUTO_TRIES 6u       /* of one device, after one cause */
#define LIMIT_DENIED_PATTERNS 64u /* in one qube's deny list */

/* Assignments, deny lists, and what the broker keeps on disk */
#define LIMIT_ASSIGNMENTS 1024u
#define LIMIT_DENIED_QUBES 256u /* qubes that have a deny list */
#define LIMIT_RELOCATIONS 16u   /* assignments whose port is stored anew at once */
#define LIMIT_LABELS 1024u
#define LIMIT_LABEL_TEXT 64u /* characters */
/* What a qube stores through qrexec leaves the half of each table to dom0. */
#define LIMIT_ASSIGNMENTS_QUBES (LIMIT_ASSIGNMENTS / 2)
#define LIMIT_DENIED_QUBES_QUBES (LIMIT_DENIED_QUBES / 2)
#define LIMIT_LABELS_QUBES (LIMIT_LABELS / 2)
#define LIMIT_STORED_SESSIONS (LIMIT_QUBES * LIMIT_SESSIONS)
#define LIMIT_STORE_KEY 511u                    /* bytes */
#define LIMIT_STORE_VALUE 2047u                 /* bytes: a session's memory is the longest */
#define LIMIT_STORE_COMPACT 65536u              /* bytes: a shorter journal is left as it is */
#define LIMIT_STORE_FILE (256u * 1024u * 1024u) /* bytes: no journal of ours is longer */

/* Control protocol */
#define LIMIT_FRAME 256u        /* bytes, header included */
#define LIMIT_PEER_REQUESTS 4u  /* under way at once, per agent */
#define LIMIT_PEER_QUEUE 65536u /* bytes queued towards one peer */
#define LIMIT_PEER_EVENTS_PER_SEC 50u
#define LIMIT_PEER_EVENTS_BURST 100u
#define LIMIT_STREAM_EVENTS_PER_SEC 20u /* what an agent says of its streams; the rest is for devices */

/* USB/IP, per session */
#define LIMIT_URBS 256u                /* in flight */
#define LIMIT_TRANSFER (1024u * 1024u) /* bytes of one transfer */
#define LIMIT_IN_FLIGHT (16u * 1024u * 1024u)
#define LIMIT_USBFS_SHARE (17u * 1024u * 1024u) /* of usbfs' memory, for LIMIT_IN_FLIGHT and the kernel's own records */
#define LIMIT_USBFS_OF_RAM 4u                   /* all exports of a qube together get at most this part of its memory */
#define LIMIT_ISO_PACKETS 1024u                 /* of one URB */
#define LIMIT_SNAPSHOT 32768u                   /* bytes: speed, serial and raw descriptors of one device */

/* What may be asked of a camera */
#define LIMIT_PICTURE_SIDE_MIN 16u /* pixels */
#define LIMIT_PICTURE_SIDE_MAX 4096u
#define LIMIT_PICTURE_FPS 120u /* pictures a second */

/* Audit log */
#define LIMIT_AUDIT_LINE 4096u                             /* bytes of one record, its newline included */
#define LIMIT_AUDIT_FILE (4u * 1024u * 1024u)              /* a file that would grow beyond it is closed */
#define LIMIT_AUDIT_OLD_FILES 64u                          /* more closed files than that: the log says so */
#define LIMIT_AUDIT_OLD_BYTES (256ull * 1024ull * 1024ull) /* or more bytes in them */

/* Time, in microseconds */
#define USEC_PER_MSEC 1000ull
#define USEC_PER_SEC 1000000ull
#define TIMEOUT_HEADER_USEC (5 * USEC_PER_SEC)       /* a header that has begun must be whole */
#define TIMEOUT_ATTACH_STEP_USEC (10 * USEC_PER_SEC) /* each step of an attach: export, import */
#define TIMEOUT_STOP_USEC (3 * USEC_PER_SEC)         /* a detach acknowledgement */
#define TIMEOUT_PLACE_USEC (1 * USEC_PER_SEC)        /* an unanswered request keeps others waiting so long at most */
#define TIMEOUT_CONNECT_USEC (5 * USEC_PER_SEC)      /* the peer of a data channel must come */
#define TIMEOUT_UNLINK_USEC (10 * USEC_PER_SEC) /* an UNLINK must be answered; usbfs' blocking calls last up to 5 s */
#define TIMEOUT_REFUSE_USEC (2 * USEC_PER_SEC)  /* a URB beyond the limits waits so long for room, then is refused */
#define RETRY_MEMORY_MIN_USEC (20 * USEC_PER_MSEC)  /* usbfs had no memory: ask again after so long, then after twice */
#define RETRY_MEMORY_MAX_USEC (320 * USEC_PER_MSEC) /* as long, up to this */
#define STREAM_INTERVAL_USEC (500 * USEC_PER_MSEC)  /* between two words about one stream */
#define TIMEOUT_PROXY_EXIT_USEC (1 * USEC_PER_SEC)  /* from STOP to SIGKILL of a proxy */
#define TIMEOUT_ASK_USEC (60 * USEC_PER_SEC)        /* a question must be answered */
#define TIMEOUT_MUTE_USEC (2 * USEC_PER_SEC) /* the source says that it is so; else the user is told that it did not */
#define BACKOFF_ASKER_USEC (10 * USEC_PER_SEC)    /* after a no a qube's wish makes no question so long */
#define TIMEOUT_REPLUG_USEC (5 * USEC_PER_SEC)    /* a re-enumerating device must be back */
#define TIMEOUT_RESUME_USEC (60 * USEC_PER_SEC)   /* after a sleep everything must be back */
#define TIMEOUT_ADOPT_USEC (20 * USEC_PER_SEC)    /* after the broker's start a stream must be proven */
#define RELOCATE_INTERVAL_USEC (1 * USEC_PER_SEC) /* between two rounds of storing ports anew */
#define LIMIT_NEAR_USEC (60 * USEC_PER_SEC)       /* before the end of an attachment's time; a fifth of it if shorter */
#define BACKOFF_AUTO_FIRST_USEC (1 * USEC_PER_SEC) /* between tries of an assignment or a restore; doubled each time */
#define BACKOFF_AUTO_LAST_USEC (30 * USEC_PER_SEC)
#define HEARTBEAT_USEC (3 * USEC_PER_SEC)       /* broker asks each agent */
#define HEARTBEAT_LOST_USEC (9 * USEC_PER_SEC)  /* silent for so long: lost */
#define HEARTBEAT_PONG_USEC (20 * USEC_PER_SEC) /* a question unanswered for so long: lost, whatever else it says */

/* Channels */
#define RING_CONTROL 4096u          /* bytes each way */
#define RING_BULK_IN (256u * 1024u) /* device towards target */
#define RING_AUDIO 65536u           /* device towards target: a third of a second of stereo at 48 kHz */
#define RING_CAMERA \
	(1024u * 1024u) /* device towards target: a third of a picture of full HD; libxenvchan has no larger one */
#define RING_BULK_OUT (256u * 1024u) /* target towards device */

/* Admin API */
#define LIMIT_ADMIN_REQUEST 65536u              /* bytes, header and payload, as Qubes' own server */
#define LIMIT_ADMIN_REPLY (16u * 1024u * 1024u) /* bytes of the longest reply: device.Snapshot, all tables full */
#define LIMIT_ADMIN_PAGE 262144u                /* bytes of the audit log in one reply */
#define LIMIT_ADMIN_UNREAD LIMIT_ADMIN_REPLY    /* bytes of replies that one user or qube has not read yet */
#define LIMIT_ADMIN_UNREAD_ALL (2u * LIMIT_ADMIN_UNREAD) /* that of all users, and again that of all qubes */
#define LIMIT_ADMIN_CONNECTIONS 320u                     /* in all */
#define LIMIT_ADMIN_PER_UID 64u                          /* of one user */
#define LIMIT_ADMIN_PER_QUBE 16u                         /* of one qube, through qrexec, whose header has come */
#define LIMIT_ADMIN_LISTENERS 32u      /* of one qube, beside these: what listens to events or questions */
#define LIMIT_ADMIN_CALLS_PER_SEC 128u /* of one qube; a list by Qubes' own tool takes 1+2N */
#define LIMIT_ADMIN_CALLS_BURST 1024u
#define LIMIT_ADMIN_SELDOM_PER_SEC 1u /* of these, what changes something or leaves a record, for ever */
#define LIMIT_ADMIN_SELDOM_BURST 32u
#define LIMIT_ADMIN_QUBES 128u                        /* of all qubes */
#define LIMIT_ADMIN_QUEUE 65536u                      /* bytes queued towards one listener */
#define TIMEOUT_ADMIN_REQUEST_USEC (5 * USEC_PER_SEC) /* a client must have sent its request */
#define TIMEOUT_ADMIN_REPLY_USEC (5 * USEC_PER_SEC)   /* a client must have read its reply */
/* A tool waits so long for the broker's answer: a question, and the six steps of a move that fails and goes back. */
#define TIMEOUT_ADMIN_ANSWER_USEC (TIMEOUT_ASK_USEC + 6 * TIMEOUT_ATTACH_STEP_USEC)
#define TIMEOUT_ADMIN_READ_USEC (10 * USEC_PER_SEC) /* a tool waits so long for everything it wants to read */
#define AUDIT_FOLLOW_USEC (500 * USEC_PER_MSEC)     /* a tool that follows the audit log looks so often */
#define ASK_DEAF_USEC (1 * USEC_PER_SEC) /* after a question that ended by itself a tool hears no answer so long */

/* Policy: a set of files in one directory */
#define LIMIT_POLICY_FILES 256u                         /* entries of the directory */
#define LIMIT_POLICY_FILE_NAME 63u                      /* characters */
#define LIMIT_POLICY_BYTES (8u * 1024u * 1024u)         /* of all files together */
#define LIMIT_POLICY_LINE 4096u                         /* bytes, without the newline */
#define LIMIT_POLICY_LINES 262144u                      /* of all files together, comments included */
#define LIMIT_POLICY_RULES 131072u                      /* of all files together */
#define LIMIT_POLICY_TAGS 1024u                         /* different ones in one set */
#define LIMIT_POLICY_TAG 63u                            /* characters */
#define LIMIT_POLICY_DEPTH 8u                           /* of !include */
#define LIMIT_MAX_TIME_SEC (7u * 24u * 3600u)           /* the longest max-time= */
#define LIMIT_POLICY_READS 3u                           /* of one reload, while the directory changes under it */
#define TIMEOUT_POLICY_GATHER_USEC (50 * USEC_PER_MSEC) /* changes within this time are read together */
#define TIMEOUT_POLICY_RETRY_USEC (1 * USEC_PER_SEC)    /* a set that could not be read is read again */
