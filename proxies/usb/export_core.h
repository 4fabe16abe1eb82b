/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine of the device's side: takes the bytes of a USB/IP client (the app qube: hostile), holds each request
 * against the snapshot and against the alternate settings that are active now, and asks a device (export_libusb.c, or a
 * model of one in the tests) for operations; turns their ends into replies. Sans I/O; the caller moves the bytes.
 *
 * A request is either carried out, refused with a status that the client's driver sees (the device sees nothing), or,
 * when not even its length can be believed, a fault that ends the session.
 *
 * Requests that would change what we know of the device are never forwarded as they are (usb-notes, 7.2):
 *   CLEAR_FEATURE(ENDPOINT_HALT)  the endpoint's URBs are ended, then the clear_halt operation, so that the host
 *                                 controller's toggle follows
 *   SET_INTERFACE                 the interface's URBs are ended, then the set_interface operation
 *   SET_CONFIGURATION             same value: answered, only alternate settings other than 0 are put back (Linux sends it
 *                                 at each enumeration); another of the snapshot: all URBs ended, then set_configuration
 *   SetPortFeature(PORT_RESET)    reset operation
 *   SET_ADDRESS, SET_DESCRIPTOR   STALL
 * A reset by a Linux client does not come over USB/IP: all that is seen is the first read of the device descriptor of
 * an enumeration (64 bytes; 8 at SuperSpeed). Each such read after a SET_CONFIGURATION is one reset; the first
 * enumeration is not, as the session itself starts with a reset.
 *
 * While an operation waits for URBs to end, nothing further is read from the client: order is kept by that alone.
 * Back-pressure likewise: without a free URB, or with LIMIT_IN_FLIGHT bytes in flight, nothing is read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/base/limits.h"
#include "lib/usbip/pdu.h"
#include "lib/usbip/snapshot.h"
#include "proxies/usb/seq_index.h"
#include "proxies/usb/usb_state.h"
#include "proxies/usb/wire_status.h"

#define EXPORT_STAGING 65536u
#define EXPORT_UNLINKS 64u       /* unanswered UNLINKs */
#define EXPORT_CONTROL_MAX 4096u /* data of a control transfer: what libusb takes; more is refused with a STALL */
#define EXPORT_SETUP 8u

/* Why a session ends here; positive. */
enum export_fault {
	EXPORT_FAULT_COMMAND = 1, /* not a request */
	EXPORT_FAULT_SEQNUM,      /* in use */
	EXPORT_FAULT_DEVID,
	EXPORT_FAULT_LENGTH,    /* negative */
	EXPORT_FAULT_DIRECTION, /* neither in nor out */
	EXPORT_FAULT_ENDPOINT,  /* the device has none of that number in any alternate setting */
	EXPORT_FAULT_PACKETS,   /* a negative number */
	EXPORT_FAULT_STALLED,   /* a request that has begun does not end */
	EXPORT_FAULT_COUNT,
};

/* What an operation can return beside 0 and a negative wire_status. */
enum export_outcome {
	EXPORT_LATER =
		1, /* submit only: no memory now, which others may have: try again when a transfer has ended, or soon */
	EXPORT_GONE,    /* the device was unplugged */
	EXPORT_CHANGED, /* it came back as another device */
};

struct export_reply {
	struct export_reply *next;
	uint8_t header[USBIP_HEADER];
	const uint8_t *data; /* of the urb */
	uint32_t data_len;
	const uint8_t *packets;
	uint32_t packets_len;
	struct export_urb *urb; /* freed when the reply has been sent; NULL: an answer to an UNLINK */
	bool used;
};

enum export_urb_state {
	EXPORT_URB_FREE,
	EXPORT_URB_FILLING,   /* its data are coming in */
	EXPORT_URB_WAITING,   /* the device had no memory */
	EXPORT_URB_SUBMITTED, /* the device has it */
	EXPORT_URB_CANCELLED, /* the device has it, an UNLINK came */
	EXPORT_URB_BARRIER,   /* waits for others to end */
	EXPORT_URB_DONE,      /* its reply is being sent */
};

struct export_urb {
	struct export_reply reply; /* first */
	enum export_urb_state state;
	uint32_t seqnum;
	uint8_t address; /* endpoint number | 0x80 for IN; control: 0, with the direction in setup */
	enum usb_transfer_type type;
	bool in;
	int32_t flushed; /* cancelled by us for a barrier: the status that it gets for that; 0: it is not */
	uint32_t flags;
	uint32_t length;
	int32_t start_frame;
	uint8_t *buffer; /* control: EXPORT_SETUP bytes of setup before the data */
	uint32_t n_packets;
	struct usbip_iso_packet
		*packets;            /* the client's offsets and lengths; actual_length and status from the device */
	struct export_reply *unlink; /* answer in preparation, state CANCELLED */
	void *transfer;              /* the device's own */
	struct export_urb *next_waiting;
};

/* What a device does. `device` is the pointer given to export_core_init(). */
struct export_device_ops {
	/*
	 * Starts `urb`: OUT data are in the buffer (isochronous: packed without gaps), IN data are wanted there. 0: later
	 * export_core_complete() is called exactly once, never from inside this call. A negative wire_status, EXPORT_LATER or EXPORT_GONE otherwise.
	 */
	int (*submit)(void *device, struct export_urb *urb);
	/* Asks for an early end; export_core_complete() comes all the same. Never called twice for one urb. */
	void (*cancel)(void *device, struct export_urb *urb);
	/*
	 * These block (the kernel's own limit is 5 s) and are called with no URB of theirs in flight. 0, wire_status or
	 * export_outcome. A set_configuration or reset that fails
	 * leaves the device in an unknown state and ends the session.
	 */
	int (*set_configuration)(void *device, uint8_t value);
	int (*set_interface)(void *device, uint8_t interface, uint8_t alternate);
	int (*clear_halt)(void *device, uint8_t address);
	int (*reset)(void *device);
};

enum export_barrier {
	EXPORT_NO_BARRIER,
	EXPORT_CLEAR_HALT,
	EXPORT_SET_INTERFACE,
	EXPORT_SET_CONFIGURATION,
	EXPORT_RESET
};

struct export_core {
	const struct usb_snapshot *snapshot;
	const struct export_device_ops *ops;
	void *device;
	uint32_t devid;
	struct usb_state state;
	bool fresh; /* reset since the last SET_CONFIGURATION */
	bool stopped;
	enum export_outcome ended; /* EXPORT_GONE or EXPORT_CHANGED, or 0 */

	struct seq_index index;
	struct export_urb urbs[LIMIT_URBS];
	struct export_reply unlinks[EXPORT_UNLINKS];
	unsigned int n_unlinks;
	unsigned int n_submitted; /* SUBMITTED and CANCELLED */
	uint32_t in_flight;       /* bytes */
	struct export_urb *first_waiting, *last_waiting;
	uint64_t retry_usec;       /* when to try first_waiting again; 0: nothing waits */
	uint64_t retry_delay_usec; /* doubled each time */
	uint64_t refuse_usec;      /* nothing of ours is in flight: when to give first_waiting up; 0: something is */

	enum export_barrier barrier;
	struct export_urb *barrier_urb;
	bool operated; /* the last export_core_process() did an operation that blocks */

	struct export_reply *first_reply, *last_reply;
	size_t reply_sent; /* bytes of first_reply */

	struct export_urb *filling;
	size_t filled;              /* bytes of data and packet descriptors so far */
	struct export_urb *refused; /* its bytes are thrown away as they come, then it is answered */
	int32_t refused_status;
	uint64_t discard_left;
	bool blocked;
	uint64_t seen, mark;
	uint64_t deadline_usec; /* 0: nothing has begun */
	size_t staging_at, staging_end;
	uint8_t staging[EXPORT_STAGING];
};

/* `active_configuration`: what the device is in now, all alternate settings 0. `snapshot` must outlive the core. */
void export_core_init(struct export_core *core, const struct usb_snapshot *snapshot, uint32_t devid,
		      uint8_t active_configuration, const struct export_device_ops *ops, void *device);

/* Frees what the urbs hold; the device must have forgotten them. */
void export_core_deinit(struct export_core *core);

/* Where the client's next bytes go: how many are wanted, 0 under back-pressure. */
size_t export_core_want(struct export_core *core, uint8_t **ret_at);

/* `n` bytes were put there. 0 or a fault. */
int export_core_got(struct export_core *core, size_t n, uint64_t now_usec);

/*
 * Goes on with what had to wait; call after export_core_complete() and export_core_sent(). 0 or a fault. This and
 * export_core_got() do at most one operation that blocks, so that the caller can look about between two.
 */
int export_core_process(struct export_core *core, uint64_t now_usec);

/* export_core_process() may have more to do at once. */
bool export_core_again(const struct export_core *core);

/* The device is done with `urb` (isochronous: its packets are filled in, actual_length is ignored). */
void export_core_complete(struct export_core *core, struct export_urb *urb, int32_t status, uint32_t actual_length);

/* What is to be sent to the client: the number of vector entries, valid until the next call of anything here. */
int export_core_output(const struct export_core *core, struct iovec *iov, int max);
void export_core_sent(struct export_core *core, size_t n);

/* From now on nothing is submitted and nothing is replied; what is in flight is cancelled. */
void export_core_stop(struct export_core *core);

/* When to call export_core_expire(), then export_core_process(); UINT64_MAX: never. */
uint64_t export_core_deadline(const struct export_core *core);
int export_core_expire(struct export_core *core, uint64_t now_usec);

const char *export_fault_text(int fault);

/* For export_control.c: the engine's inner verbs. */
void export_urb_finish(struct export_core *core, struct export_urb *urb, int32_t status, uint32_t actual_length);
void export_urb_submit(struct export_core *core, struct export_urb *urb);
void export_barrier_begin(struct export_core *core, struct export_urb *urb, enum export_barrier barrier);
void export_note_outcome(struct export_core *core, int outcome);

/* A control request whose data are there: submits, translates or refuses it. */
void export_control_dispatch(struct export_core *core, struct export_urb *urb);

/* Is the interface or endpoint there that a control request is to? */
bool export_control_has_recipient(const struct export_core *core, const struct export_urb *urb);

/* Everything that the barrier waited for has ended: does one operation for it. False: another must follow. */
bool export_control_barrier(struct export_core *core, struct export_urb *urb, enum export_barrier barrier);
