/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a proxy tells the agent that started it, and the one word back, over a SOCK_SEQPACKET pair
 * (fd PROXY_FD_REPORT in the proxy). Every datagram is one struct of fixed size in the machine's own byte
 * order: both ends are one build. The proxy handles hostile data, so the agent checks each datagram all the same.
 *
 *   proxy:  LISTENING (export: the channel's node is there, the target may connect)
 *           READY     (export: the importer came and said go; import: the snapshot was checked, `speed` and `devid`
 *                      are set: the agent may now attach PROXY_FD_DATA's other end to vhci_hcd)
 *           STREAM    (after READY, when something has changed: what was moved so far, and whether something in the target
 *                     waits for the device; one in STREAM_INTERVAL_USEC)
 *           ENDED     (last word, with the outcome; then the proxy exits)
 *   agent:  one datagram of one byte, PROXY_STOP: say end-of-stream, clean up, ENDED, exit. The agent kills it after
 *           TIMEOUT_PROXY_EXIT_USEC. When the agent's end closes (the agent died) the proxy does the same by itself.
 */
#pragma once

#include <stdint.h>

/* fds a proxy is started with, beside 0..2 (null, null, log) */
#define PROXY_FD_REPORT 3 /* SOCK_SEQPACKET to the agent */
#define PROXY_FD_DATA \
	4 /* the device: USB export: open usbfs node; import: our end of vhci_hcd's SOCK_STREAM pair; a camera's node, or the virtual one's */
#define PROXY_FD_SNAPSHOT 5 /* export only: memfd with the snapshot, sealed; import: absent */

#define PROXY_STOP 'S'
#define PROXY_MUTE 'M' /* an exporter of sound or pictures passes none on, until */
#define PROXY_UNMUTE 'U'

enum proxy_report_type { PROXY_LISTENING = 1, PROXY_READY = 2, PROXY_STREAM = 3, PROXY_ENDED = 4 };
#define PROXY_REPORTS_MAX 3u /* in a proxy's life, beside STREAM: it has nothing else to say twice */

struct proxy_report {
	uint8_t type;               /* enum proxy_report_type */
	uint8_t outcome;            /* enum outcome of lib/wire/messages.h; ENDED only, else 0 */
	uint8_t speed;              /* enum wire_speed; READY of an importer only, else 0 */
	uint8_t in_use;             /* 0 or 1; STREAM only, else 0 */
	uint32_t devid;             /* READY of an importer only, else 0 */
	uint64_t bytes_to_target;   /* STREAM, ENDED only, else 0 */
	uint64_t bytes_from_target; /* STREAM, ENDED only, else 0 */
};

/* Sends one report without blocking. 0 or a negative errno (-EPIPE: the agent is gone). */
int proxy_report_send(int fd, const struct proxy_report *report);

/* Receives one. 0: *ret_report is set and valid; 1: nothing there; -EPROTO: not a valid report; -EPIPE: the proxy
 * closed. */
int proxy_report_receive(int fd, struct proxy_report *ret_report);
