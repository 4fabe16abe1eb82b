/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guard of the target's kernel. vhci_hcd believes whatever a USB/IP server says, down to the offsets and lengths
 * that it then moves memory by, so nothing of the exporter's reaches it but payload: every reply header is made anew
 * from our own record of the request, and a reply that does not fit its request ends the session before the kernel
 * sees any of it.
 *
 * Sans I/O, in place: the caller keeps two byte streams and asks how much of each may go on.
 *
 *   commands   the kernel's requests towards the exporter: trusted, recorded here as they pass
 *   replies    the exporter's answers towards the kernel: hostile, checked against the records, headers overwritten
 *
 * Reply field            rule
 *   command              3 or 4, else cut
 *   seqnum               an outstanding request whose last byte went on (3), an unanswered UNLINK (4), else cut
 *   devid, direction, ep overwritten with 0
 *   status               0 or a known negative errno, else cut; unlinked only after an UNLINK
 *   actual_length        0..what was asked, else cut
 *   start_frame          overwritten with the request's
 *   number_of_packets    isochronous: as asked, else cut; otherwise overwritten with 0
 *   error_count          counted here
 *   padding              overwritten with 0
 *   packet descriptors   offset and length overwritten; 0 <= actual <= length, sum = actual_length, status known, else cut
 *   RET_UNLINK status    0 only when the request was answered before, -ECONNRESET only when not, else cut
 *   data                 device and configuration descriptors and the serial number must be the snapshot's, else cut
 *
 * Every reply is held until it is whole: the end of one on endpoint 0 or of an isochronous one decides whether its beginning
 * may be seen, and after the beginning of any that then breaks off nothing could be said to the kernel any more. It costs
 * no time: vhci_hcd completes nothing before its last byte.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/limits.h"
#include "lib/usbip/pdu.h"
#include "lib/usbip/snapshot.h"
#include "proxies/usb/seq_index.h"
#include "proxies/usb/usb_state.h"

/* The longest reply, held back until it is whole: the caller's buffer must have room for it. */
#define IMPORT_HOLD_MAX (USBIP_HEADER + LIMIT_TRANSFER + LIMIT_ISO_PACKETS * USBIP_ISO_PACKET)

#define IMPORT_EARLY_UNLINKS LIMIT_URBS
#define IMPORT_REFUSALS 64u

/* Why a session ends here; positive. */
enum import_fault {
	IMPORT_FAULT_COMMAND = 1, /* the peer: not a reply */
	IMPORT_FAULT_SEQNUM,      /* the peer: answers what was not asked, or twice */
	IMPORT_FAULT_STATUS,      /* the peer */
	IMPORT_FAULT_LENGTH,      /* the peer */
	IMPORT_FAULT_PACKETS,     /* the peer: isochronous counts and descriptors */
	IMPORT_FAULT_UNLINK,      /* the peer: RET_UNLINK that does not fit */
	IMPORT_FAULT_DESCRIPTOR,  /* the device is not the one in the snapshot */
	IMPORT_FAULT_STALLED,     /* the peer: an answer that has begun does not end */
	IMPORT_FAULT_UNLINK_LATE, /* the peer: an UNLINK is not answered */
	IMPORT_FAULT_KERNEL,      /* our own kernel's request is beyond our limits */
	IMPORT_FAULT_COUNT,
};

struct import_urb {
	uint32_t seqnum;
	uint32_t length;
	int32_t start_frame;
	uint16_t n_packets; /* 0 unless isochronous */
	uint8_t ep;
	bool in;
	bool iso;
	bool passed;   /* its last byte went on */
	bool unlinked; /* an UNLINK for it was recorded */
	uint8_t setup[8];
};

struct import_unlink {
	uint32_t target;
	uint64_t deadline_usec;
	int16_t newer, older; /* list by age */
};

struct import_filter {
	const struct usb_snapshot *snapshot;
	struct usb_state state;
	struct seq_index urb_index;
	struct seq_index unlink_index;
	struct import_urb urbs[LIMIT_URBS];
	struct import_unlink unlinks[SEQ_SLOTS];
	int16_t oldest_unlink, newest_unlink;
	uint32_t in_flight; /* bytes */

	/* commands */
	uint64_t command_left; /* data bytes of the current request still to pass (or to drop) */
	uint32_t packets_left; /* packet descriptors after them */
	int current;           /* slot of the current request, SEQ_NONE between requests or when it is dropped */
	bool dropping;
	bool any_submit;
	uint32_t last_submit;
	uint64_t blocked_since_usec; /* 0: not blocked */
	bool refusing;
	uint16_t n_early;
	struct {
		uint32_t target;
		uint8_t bytes[USBIP_HEADER];
	} early[IMPORT_EARLY_UNLINKS];
	uint8_t n_refused;
	uint32_t refused[IMPORT_REFUSALS];

	/* replies */
	uint64_t reply_position, reply_mark;
	uint64_t reply_deadline_usec; /* 0: nothing has begun */

	struct import_packet {
		uint32_t offset, length;
	} packets[LIMIT_URBS][LIMIT_ISO_PACKETS]; /* last: touched only by isochronous sessions */
};

struct import_step {
	size_t pass; /* send so many bytes on */
	size_t skip; /* then drop so many */
};

/* `snapshot` must outlive the filter. */
void import_filter_init(struct import_filter *filter, const struct usb_snapshot *snapshot);

/*
 * Looks at the kernel's bytes: *ret_step says what to do with the first of them. Call again with the rest until both
 * counts are 0; after each call send what import_filter_insert_command() gives. 0 or IMPORT_FAULT_KERNEL.
 */
int import_filter_commands(struct import_filter *filter, const uint8_t *bytes, size_t len, uint64_t now_usec,
			   struct import_step *ret_step);

/* A PDU of USBIP_HEADER bytes to send to the exporter right after the bytes that were passed before. */
bool import_filter_insert_command(struct import_filter *filter, uint64_t now_usec, uint8_t bytes[USBIP_HEADER]);

/*
 * Looks at the exporter's bytes and makes headers good in place: the first *ret_pass of them may go to the kernel. The
 * rest must be shown again, together with more. 0, or an import_fault (then nothing of the rest may go on).
 */
int import_filter_replies(struct import_filter *filter, uint8_t *untrusted_bytes, size_t len, uint64_t now_usec,
			  size_t *ret_pass);

/* A PDU of USBIP_HEADER bytes to send to the kernel right after the bytes that were passed before; false: none. */
bool import_filter_insert_reply(struct import_filter *filter, uint8_t bytes[USBIP_HEADER]);

/* The most that import_filter_let_go() writes. */
#define IMPORT_LET_GO_MAX (USBIP_HEADER + LIMIT_ISO_PACKETS * USBIP_ISO_PACKET)

/*
 * The session is over: answers the oldest request that is outstanding with -ESHUTDOWN, as a controller does whose device was
 * pulled out. Returns the bytes to send to the kernel after all that was passed before; 0: nothing is left.
 */
size_t import_filter_let_go(struct import_filter *filter, uint8_t bytes[IMPORT_LET_GO_MAX]);

/* Our side is slow (the kernel does not read): the clock of the current reply starts again. */
void import_filter_defer(struct import_filter *filter, uint64_t now_usec);

/* When to call import_filter_expire(); UINT64_MAX: never. */
uint64_t import_filter_deadline(const struct import_filter *filter);

/* 0, or the fault of what did not come in time. Harmless when called early. */
int import_filter_expire(struct import_filter *filter, uint64_t now_usec);

const char *import_fault_text(int fault);
