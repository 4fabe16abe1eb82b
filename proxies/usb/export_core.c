/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flow of a request: staging -> header -> data and packet descriptors into the urb's own memory -> dispatch -> device
 * -> reply queue -> free. A urb's slot and its share of LIMIT_IN_FLIGHT are given back only when its reply has been
 * taken, so a client that does not read its replies stops its own requests and costs no memory.
 *
 * UNLINK: exactly one RET_UNLINK each, after the urb's RET_SUBMIT if there is one. Its status is -ECONNRESET when the
 * urb ended without data and without a RET_SUBMIT, else 0: then the RET_SUBMIT carries what was transferred, and was
 * queued before. An UNLINK of what is not in flight (answered, unknown, an UNLINK, named a second time) gets 0 at once.
 */
#include <assert.h>
#include <string.h>

#include "lib/base/base.h"
#include "proxies/usb/export_core.h"

#define REQUEST_PROGRESS (64u * 1024u) /* a request's clock starts again after so many bytes */

void export_core_init(struct export_core *core, const struct usb_snapshot *snapshot, uint32_t devid,
		      uint8_t active_configuration, const struct export_device_ops *ops, void *device)
{
	memset(core, 0, offsetof(struct export_core, staging));
	core->snapshot = snapshot;
	core->ops = ops;
	core->device = device;
	core->devid = devid;
	core->fresh = true;
	usb_state_init(&core->state, &snapshot->descriptors);
	(void)usb_state_set_configuration(&core->state, active_configuration);
	seq_index_init(&core->index, LIMIT_URBS);
}

static void urb_free(struct export_core *core, struct export_urb *urb)
{
	core->in_flight -= urb->length;
	seq_index_remove(&core->index, (int)(urb - core->urbs));
	free(urb->buffer);
	free(urb->packets);
	urb->buffer = NULL;
	urb->packets = NULL;
	urb->state = EXPORT_URB_FREE;
}

void export_core_deinit(struct export_core *core)
{
	for (size_t i = 0; i < LIMIT_URBS; i++)
		if (core->urbs[i].state != EXPORT_URB_FREE)
			urb_free(core, &core->urbs[i]);
}

void export_note_outcome(struct export_core *core, int outcome)
{
	if (core->ended == 0 && (outcome == EXPORT_GONE || outcome == EXPORT_CHANGED))
		core->ended = (enum export_outcome)outcome;
}

/* Replies ------------------------------------------------------------------------------------------------------- */

static void reply_queue(struct export_core *core, struct export_reply *reply)
{
	reply->next = NULL;
	if (core->last_reply)
		core->last_reply->next = reply;
	else
		core->first_reply = reply;
	core->last_reply = reply;
}

static void reply_unlink(struct export_core *core, struct export_reply *reply, int32_t status)
{
	struct usbip_header h;

	(void)usbip_decode(reply->header, &h);
	h.command = USBIP_RET_UNLINK;
	h.unlink_status = status;
	usbip_encode(&h, reply->header);
	reply_queue(core, reply);
}

/* Moves the packets' data together (they lie one full length after the other) and turns the descriptors into wire format. */
static uint32_t pack_packets(struct export_urb *urb, int32_t *ret_errors)
{
	uint8_t *wire = (uint8_t *)urb->packets;
	uint32_t from = 0, to = 0;
	int32_t errors = 0;

	for (uint32_t i = 0; i < urb->n_packets; i++) {
		struct usbip_iso_packet p = urb->packets[i];

		if (p.actual_length > p.length)
			p.actual_length = p.length;
		if (urb->in && p.actual_length > 0 && from != to)
			memmove(urb->buffer + to, urb->buffer + from, p.actual_length);
		from += p.length;
		to += p.actual_length;
		errors += p.status != 0;
		usbip_iso_encode(&p, wire + (size_t)i * USBIP_ISO_PACKET);
	}
	*ret_errors = errors;
	return to;
}

/* Queues the RET_SUBMIT of a urb that the device does not have (any more). */
void export_urb_finish(struct export_core *core, struct export_urb *urb, int32_t status, uint32_t actual_length)
{
	struct export_reply *reply = &urb->reply;
	struct usbip_header h = {.command = USBIP_RET_SUBMIT, .seqnum = urb->seqnum};
	int32_t errors = 0;

	if (core->stopped) {
		urb_free(core, urb);
		return;
	}
	if (urb->type == USB_ISOCHRONOUS)
		actual_length = pack_packets(urb, &errors);
	if (actual_length > urb->length)
		actual_length = urb->length;
	h.ret_submit = (struct usbip_ret_submit){
		.status = status,
		.actual_length = (int32_t)actual_length,
		.start_frame = urb->type == USB_ISOCHRONOUS ? urb->start_frame : 0,
		.n_packets = (int32_t)urb->n_packets,
		.error_count = errors,
	};
	usbip_encode(&h, reply->header);
	reply->urb = urb;
	reply->data = urb->type == USB_CONTROL && urb->buffer ? urb->buffer + EXPORT_SETUP : urb->buffer;
	reply->data_len = urb->in ? actual_length : 0;
	reply->packets = (const uint8_t *)urb->packets;
	reply->packets_len = urb->n_packets * USBIP_ISO_PACKET;
	urb->state = EXPORT_URB_DONE;
	reply_queue(core, reply);
}

/* Refuses a request of which nothing was kept but its packet descriptors' number. */
static void refuse_packets(struct export_urb *urb, int32_t status)
{
	for (uint32_t i = 0; i < urb->n_packets; i++) {
		urb->packets[i].actual_length = 0;
		urb->packets[i].status = status;
	}
}

static void urb_refuse(struct export_core *core, struct export_urb *urb, int32_t status)
{
	refuse_packets(urb, status);
	export_urb_finish(core, urb, status, 0);
}

static uint32_t total_of(const struct export_urb *urb, uint32_t actual_length)
{
	uint32_t total = 0;

	if (urb->type != USB_ISOCHRONOUS)
		return actual_length;
	for (uint32_t i = 0; i < urb->n_packets; i++)
		total += urb->packets[i].actual_length;
	return total;
}

void export_core_complete(struct export_core *core, struct export_urb *urb, int32_t status, uint32_t actual_length)
{
	struct export_reply *unlink = urb->unlink;
	bool cancelled = urb->state == EXPORT_URB_CANCELLED;

	assert(cancelled || urb->state == EXPORT_URB_SUBMITTED);
	core->n_submitted--;
	urb->unlink = NULL;
	if (status == WIRE_STATUS_NO_DEVICE)
		export_note_outcome(core, EXPORT_GONE);
	if (cancelled && status == WIRE_STATUS_UNLINKED && total_of(urb, actual_length) == 0) {
		urb_free(core, urb);
		if (!core->stopped)
			reply_unlink(core, unlink, WIRE_STATUS_UNLINKED);
		return;
	}
	if (!cancelled && status == WIRE_STATUS_UNLINKED)
		status = urb->flushed ? urb->flushed : WIRE_STATUS_SHUTDOWN;
	export_urb_finish(core, urb, status, actual_length);
	if (unlink && !core->stopped)
		reply_unlink(core, unlink, WIRE_STATUS_OK);
}

int export_core_output(const struct export_core *core, struct iovec *iov, int max)
{
	size_t skip = core->reply_sent;
	int n = 0;

	for (const struct export_reply *reply = core->first_reply; reply && n + 3 <= max; reply = reply->next) {
		const struct iovec parts[3] = {
			{(void *)(uintptr_t)reply->header, USBIP_HEADER},
			{(void *)(uintptr_t)reply->data, reply->data_len},
			{(void *)(uintptr_t)reply->packets, reply->packets_len},
		};

		for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
			size_t part_skip = skip < parts[i].iov_len ? skip : parts[i].iov_len;

			skip -= part_skip;
			if (parts[i].iov_len == part_skip)
				continue;
			iov[n++] =
				(struct iovec){(uint8_t *)parts[i].iov_base + part_skip, parts[i].iov_len - part_skip};
		}
	}
	return n;
}

void export_core_sent(struct export_core *core, size_t n)
{
	core->reply_sent += n;
	while (core->first_reply) {
		struct export_reply *reply = core->first_reply;
		size_t len = USBIP_HEADER + (size_t)reply->data_len + reply->packets_len;

		if (core->reply_sent < len)
			return;
		core->reply_sent -= len;
		core->first_reply = reply->next;
		if (!reply->next)
			core->last_reply = NULL;
		if (reply->urb) {
			urb_free(core, reply->urb);
		} else {
			reply->used = false;
			core->n_unlinks--;
		}
	}
	assert(core->reply_sent == 0);
}

/* Requests ------------------------------------------------------------------------------------------------------ */

static void wait_append(struct export_core *core, struct export_urb *urb)
{
	urb->state = EXPORT_URB_WAITING;
	urb->next_waiting = NULL;
	if (core->last_waiting)
		core->last_waiting->next_waiting = urb;
	else
		core->first_waiting = urb;
	core->last_waiting = urb;
}

static void wait_remove(struct export_core *core, const struct export_urb *urb)
{
	struct export_urb *before = NULL;

	for (struct export_urb *u = core->first_waiting; u != urb; u = u->next_waiting)
		before = u;
	if (before)
		before->next_waiting = urb->next_waiting;
	else
		core->first_waiting = urb->next_waiting;
	if (core->last_waiting == urb)
		core->last_waiting = before;
}

/* True when the device took it or it is finished; false: later. */
static bool try_submit(struct export_core *core, struct export_urb *urb)
{
	int r;

	if (core->stopped) {
		urb_free(core, urb);
		return true;
	}
	urb->state = EXPORT_URB_SUBMITTED;
	core->n_submitted++;
	r = core->ops->submit(core->device, urb);
	if (r == 0)
		return true;
	core->n_submitted--;
	if (r == EXPORT_LATER)
		return false;
	export_note_outcome(core, r);
	urb_refuse(core, urb, r > 0 ? WIRE_STATUS_NO_DEVICE : r);
	return true;
}

void export_urb_submit(struct export_core *core, struct export_urb *urb)
{
	if (core->first_waiting || !try_submit(core, urb))
		wait_append(core, urb);
}

/*
 * usbfs' memory is one pot for all sessions of a qube: what has it may be another's, of whose end nothing is heard here.
 * Hence a clock; and a bound, when nothing of our own is in flight that could be it.
 */
static void watch_waiting(struct export_core *core, const struct export_urb *before, uint64_t now_usec)
{
	if (!core->first_waiting) {
		core->retry_usec = core->refuse_usec = 0;
		return;
	}
	if (core->retry_usec == 0 || core->first_waiting != before) {
		core->retry_delay_usec = RETRY_MEMORY_MIN_USEC;
		core->retry_usec = now_usec + core->retry_delay_usec;
		core->refuse_usec = 0;
	} else if (now_usec >= core->retry_usec) {
		core->retry_delay_usec *= 2;
		if (core->retry_delay_usec > RETRY_MEMORY_MAX_USEC)
			core->retry_delay_usec = RETRY_MEMORY_MAX_USEC;
		core->retry_usec = now_usec + core->retry_delay_usec;
	}
	if (core->n_submitted > 0)
		core->refuse_usec = 0;
	else if (core->refuse_usec == 0)
		core->refuse_usec = now_usec + TIMEOUT_REFUSE_USEC;
}

static void submit_waiting(struct export_core *core, uint64_t now_usec)
{
	while (core->first_waiting) {
		struct export_urb *urb = core->first_waiting;

		/* another configuration may have come before it */
		if (urb->type == USB_CONTROL && !export_control_has_recipient(core, urb)) {
			wait_remove(core, urb);
			urb_refuse(core, urb, WIRE_STATUS_STALL);
			continue;
		}
		if (!try_submit(core, urb)) {
			urb->state = EXPORT_URB_WAITING;
			if (core->n_submitted > 0 || core->refuse_usec == 0 || now_usec < core->refuse_usec)
				return;
			wait_remove(core, urb);
			urb_refuse(core, urb, WIRE_STATUS_NO_MEMORY);
			continue;
		}
		core->first_waiting = urb->next_waiting;
		if (!core->first_waiting)
			core->last_waiting = NULL;
	}
}

static bool barrier_concerns(const struct export_core *core, const struct export_urb *urb)
{
	const uint8_t *setup = core->barrier_urb->buffer;
	uint8_t interface;

	switch (core->barrier) {
	case EXPORT_NO_BARRIER:
		return false;
	case EXPORT_RESET:
		return true;
	case EXPORT_SET_CONFIGURATION:
		return urb->type != USB_CONTROL;
	case EXPORT_CLEAR_HALT:
		return urb->type != USB_CONTROL && urb->address == setup[4];
	case EXPORT_SET_INTERFACE:
		interface = setup[4];
		return urb->type != USB_CONTROL && usb_state_endpoint_is_of(&core->state, urb->address, interface);
	}
	return false;
}

void export_barrier_begin(struct export_core *core, struct export_urb *urb, enum export_barrier barrier)
{
	/* drivers go on after the one, and take the other for the end of the device or of what they know of it */
	int32_t status = barrier == EXPORT_CLEAR_HALT ? WIRE_STATUS_PROTOCOL : WIRE_STATUS_SHUTDOWN;

	urb->state = EXPORT_URB_BARRIER;
	core->barrier = barrier;
	core->barrier_urb = urb;
	for (size_t i = 0; i < LIMIT_URBS; i++) {
		struct export_urb *u = &core->urbs[i];

		if (u == urb || (u->state != EXPORT_URB_WAITING && u->state != EXPORT_URB_SUBMITTED) ||
		    !barrier_concerns(core, u))
			continue;
		if (u->state == EXPORT_URB_WAITING) {
			wait_remove(core, u);
			urb_refuse(core, u, status);
		} else if (!u->flushed) {
			u->flushed = status;
			core->ops->cancel(core->device, u);
		}
	}
}

static void barrier_try(struct export_core *core)
{
	for (size_t i = 0; i < LIMIT_URBS; i++) {
		const struct export_urb *u = &core->urbs[i];

		if ((u->state == EXPORT_URB_SUBMITTED || u->state == EXPORT_URB_CANCELLED) && barrier_concerns(core, u))
			return;
	}
	core->operated = true;
	if (!export_control_barrier(core, core->barrier_urb, core->barrier))
		return;
	core->barrier = EXPORT_NO_BARRIER;
	core->barrier_urb = NULL;
}

/*
 * Makes the client's packets contiguous, as libusb wants them. Linux sends status -EXDEV in each packet of a request, so
 * status and actual_length say nothing here; and packets shorter than the endpoint's are what audio is made of, so their
 * number has no other bound than LIMIT_ISO_PACKETS.
 */
static int32_t check_packets(struct export_urb *urb)
{
	uint64_t end = 0;
	uint32_t packed = 0;

	for (uint32_t i = 0; i < urb->n_packets; i++) {
		struct usbip_iso_packet p;

		usbip_iso_decode((const uint8_t *)&urb->packets[i], &p);
		if (p.offset < end || (uint64_t)p.offset + p.length > urb->length)
			return WIRE_STATUS_INVALID;
		end = (uint64_t)p.offset + p.length;
		if (!urb->in && p.length > 0 && packed != p.offset)
			memmove(urb->buffer + packed, urb->buffer + p.offset, p.length);
		packed += p.length;
		p.actual_length = 0;
		p.status = WIRE_STATUS_NOT_ISO_DONE;
		urb->packets[i] = p;
	}
	return WIRE_STATUS_OK;
}

/* All bytes of the request are there. */
static void dispatch(struct export_core *core, struct export_urb *urb)
{
	int32_t status;

	core->filling = NULL;
	switch (urb->type) {
	case USB_CONTROL:
		export_control_dispatch(core, urb);
		return;
	case USB_ISOCHRONOUS:
		status = check_packets(urb);
		if (status) {
			for (uint32_t i = 0; i < urb->n_packets; i++)
				urb->packets[i] = (struct usbip_iso_packet){0, 0, 0, status};
			export_urb_finish(core, urb, status, 0);
			return;
		}
		break;
	case USB_BULK:
	case USB_INTERRUPT:
		break;
	}
	export_urb_submit(core, urb);
}

/* The endpoint that a request names: its transfer type, and a status if it cannot be used now. */
static int find_endpoint(const struct export_core *core, const struct usbip_header *h, enum usb_transfer_type *ret_type,
			 int32_t *ret_status)
{
	uint8_t address = (uint8_t)(h->ep | (h->direction == USBIP_IN ? 0x80u : 0u));
	const struct usb_endpoint *e;

	*ret_status = WIRE_STATUS_OK;
	*ret_type = USB_CONTROL;
	if (h->ep == 0)
		return 0;
	if (h->ep > 15)
		return EXPORT_FAULT_ENDPOINT;
	e = usb_state_endpoint(&core->state, address);
	if (!e) {
		e = usb_state_endpoint_anywhere(&core->state, address);
		*ret_status = WIRE_STATUS_STALL;
	}
	if (!e)
		return EXPORT_FAULT_ENDPOINT;
	*ret_type = usb_endpoint_type(e);
	if (*ret_type == USB_CONTROL) {
		*ret_type = USB_BULK;
		*ret_status = WIRE_STATUS_STALL;
	}
	return 0;
}

static int32_t judge_control(const struct usbip_header *h)
{
	const struct usbip_cmd_submit *s = &h->cmd_submit;
	uint16_t length = get_le16(s->setup + 6);

	if ((uint32_t)s->length != length || length > EXPORT_CONTROL_MAX ||
	    (length > 0 && (s->setup[0] & 0x80) != (h->direction == USBIP_IN ? 0x80 : 0)))
		return WIRE_STATUS_STALL;
	return WIRE_STATUS_OK;
}

static int32_t judge_size(const struct usbip_cmd_submit *s, enum usb_transfer_type type)
{
	if ((uint32_t)s->length > LIMIT_TRANSFER)
		return WIRE_STATUS_TOO_LARGE;
	if (type == USB_ISOCHRONOUS && (s->n_packets == 0 || s->n_packets > (int32_t)LIMIT_ISO_PACKETS))
		return WIRE_STATUS_INVALID;
	return WIRE_STATUS_OK;
}

static bool urb_allocate(struct export_urb *urb)
{
	size_t size = urb->length + (urb->type == USB_CONTROL ? EXPORT_SETUP : 0u);

	if (size > 0)
		urb->buffer = malloc(size);
	if (urb->n_packets > 0)
		urb->packets = malloc(urb->n_packets * sizeof(urb->packets[0]));
	return (size == 0 || urb->buffer) && (urb->n_packets == 0 || urb->packets);
}

/* A request that is not carried out: its slot only carries the refusal, which goes out when its bytes have come and gone. */
static void refuse_request(struct export_core *core, struct export_urb *urb, const struct usbip_header *h,
			   int32_t status)
{
	uint64_t packets = urb->type == USB_ISOCHRONOUS ? (uint64_t)h->cmd_submit.n_packets : 0;

	core->discard_left =
		(h->direction == USBIP_OUT ? (uint64_t)h->cmd_submit.length : 0) + packets * USBIP_ISO_PACKET;
	urb->length = 0;
	urb->n_packets = 0;
	if (packets > 0 && packets <= LIMIT_ISO_PACKETS) {
		/* vhci_hcd wants as many descriptors back as it sent, also with an error */
		urb->packets = calloc(packets, sizeof(urb->packets[0]));
		urb->n_packets = urb->packets ? (uint32_t)packets : 0;
	}
	core->refused = urb;
	core->refused_status = status;
}

/* 0, a fault, or -1: no room now. */
static int begin_submit(struct export_core *core, const struct usbip_header *h)
{
	const struct usbip_cmd_submit *s = &h->cmd_submit;
	enum usb_transfer_type type;
	struct export_urb *urb;
	int32_t status;
	uint32_t length;
	int fault;

	if (s->length < 0)
		return EXPORT_FAULT_LENGTH;
	fault = find_endpoint(core, h, &type, &status);
	if (fault)
		return fault;
	if (type == USB_ISOCHRONOUS && s->n_packets < 0)
		return EXPORT_FAULT_PACKETS;
	if (status == WIRE_STATUS_OK)
		status = type == USB_CONTROL ? judge_control(h) : judge_size(s, type);
	length = status == WIRE_STATUS_OK ? (uint32_t)s->length : 0;
	if (core->index.n_used == LIMIT_URBS || core->in_flight + length > LIMIT_IN_FLIGHT)
		return -1;
	urb = &core->urbs[seq_index_add(&core->index, h->seqnum)];
	*urb = (struct export_urb){
		.state = EXPORT_URB_FILLING,
		.seqnum = h->seqnum,
		.address = (uint8_t)(h->ep == 0 ? 0u : h->ep | (h->direction == USBIP_IN ? 0x80u : 0u)),
		.type = type,
		.in = h->direction == USBIP_IN,
		.flags = s->flags,
		.length = length,
		.start_frame = s->start_frame,
		.n_packets = type == USB_ISOCHRONOUS && status == WIRE_STATUS_OK ? (uint32_t)s->n_packets : 0,
	};
	core->in_flight += length;
	if (status == WIRE_STATUS_OK && !urb_allocate(urb)) {
		core->in_flight -= length;
		free(urb->packets);
		urb->packets = NULL;
		status = WIRE_STATUS_NO_MEMORY;
	}
	if (status != WIRE_STATUS_OK) {
		refuse_request(core, urb, h, status);
		return 0;
	}
	if (type == USB_CONTROL)
		memcpy(urb->buffer, s->setup, EXPORT_SETUP);
	core->filling = urb;
	core->filled = 0;
	return 0;
}

static struct export_reply *unlink_new(struct export_core *core, uint32_t seqnum)
{
	struct usbip_header h = {.command = USBIP_RET_UNLINK, .seqnum = seqnum};

	for (size_t i = 0; i < EXPORT_UNLINKS; i++) {
		struct export_reply *reply = &core->unlinks[i];

		if (reply->used)
			continue;
		*reply = (struct export_reply){.used = true};
		usbip_encode(&h, reply->header);
		core->n_unlinks++;
		return reply;
	}
	return NULL;
}

/* 0, or -1: no room now. */
static int take_unlink(struct export_core *core, const struct usbip_header *h)
{
	struct export_reply *reply = unlink_new(core, h->seqnum);
	int slot = seq_index_find(&core->index, h->unlink_seqnum);
	struct export_urb *urb = slot == SEQ_NONE ? NULL : &core->urbs[slot];

	if (!reply)
		return -1;
	if (!urb) {
		reply_unlink(core, reply, WIRE_STATUS_OK);
		return 0;
	}
	switch (urb->state) {
	case EXPORT_URB_WAITING:
		wait_remove(core, urb);
		urb_free(core, urb);
		reply_unlink(core, reply, WIRE_STATUS_UNLINKED);
		break;
	case EXPORT_URB_SUBMITTED:
		urb->state = EXPORT_URB_CANCELLED;
		urb->unlink = reply;
		core->ops->cancel(core->device, urb);
		break;
	case EXPORT_URB_CANCELLED:
	case EXPORT_URB_DONE:
		reply_unlink(core, reply, WIRE_STATUS_OK);
		break;
	case EXPORT_URB_FREE:
	case EXPORT_URB_FILLING:
	case EXPORT_URB_BARRIER:
		assert(0); /* nothing is read in these states */
	}
	return 0;
}

/* 0, a fault, or -1: no room now. */
static int take_header(struct export_core *core, const uint8_t *bytes)
{
	struct usbip_header h;

	if (usbip_decode(bytes, &h))
		return EXPORT_FAULT_COMMAND;
	switch ((enum usbip_command)h.command) {
	case USBIP_CMD_SUBMIT:
	case USBIP_CMD_UNLINK:
		if (h.devid != core->devid)
			return EXPORT_FAULT_DEVID;
		if (seq_index_find(&core->index, h.seqnum) != SEQ_NONE)
			return EXPORT_FAULT_SEQNUM;
		if (h.direction > USBIP_IN)
			return EXPORT_FAULT_DIRECTION;
		return h.command == USBIP_CMD_SUBMIT ? begin_submit(core, &h) : take_unlink(core, &h);
	case USBIP_RET_SUBMIT:
	case USBIP_RET_UNLINK:
		break;
	}
	return EXPORT_FAULT_COMMAND;
}

/* Where the next data byte of the request that is being filled goes, and how many belong there. */
static size_t fill_target(const struct export_core *core, uint8_t **ret_at)
{
	const struct export_urb *urb = core->filling;
	size_t data = urb->in ? 0 : urb->length;

	if (core->filled < data) {
		*ret_at = urb->buffer + (urb->type == USB_CONTROL ? EXPORT_SETUP : 0u) + core->filled;
		return data - core->filled;
	}
	if (urb->n_packets == 0)
		return 0;
	*ret_at = (uint8_t *)urb->packets + (core->filled - data);
	return data + urb->n_packets * USBIP_ISO_PACKET - core->filled;
}

/* Takes bytes of the current request from the staging area; false when there is nothing more to do there. */
static bool take_staged_data(struct export_core *core)
{
	size_t staged = core->staging_end - core->staging_at;
	uint8_t *at = NULL;
	size_t n;

	if (core->refused) {
		n = core->discard_left < staged ? (size_t)core->discard_left : staged;
		core->discard_left -= n;
		core->staging_at += n;
		if (core->discard_left > 0)
			return false;
		/* not earlier: a client may free the data that it is still sending as soon as it has an answer */
		urb_refuse(core, core->refused, core->refused_status);
		core->refused = NULL;
		return true;
	}
	n = fill_target(core, &at);
	if (n == 0) {
		dispatch(core, core->filling);
		return true;
	}
	n = n < staged ? n : staged;
	if (n > 0)
		memcpy(at, core->staging + core->staging_at, n);
	core->filled += n;
	core->staging_at += n;
	return n > 0;
}

static int parse(struct export_core *core)
{
	core->blocked = false;
	while (!core->stopped && core->ended == 0 && core->barrier == EXPORT_NO_BARRIER) {
		int r;

		if (core->filling || core->refused) {
			if (!take_staged_data(core))
				break;
			continue;
		}
		if (core->staging_end - core->staging_at < USBIP_HEADER)
			break;
		r = take_header(core, core->staging + core->staging_at);
		if (r > 0)
			return r;
		if (r < 0) {
			core->blocked = true;
			break;
		}
		core->staging_at += USBIP_HEADER;
		core->mark = core->seen;
		core->deadline_usec = 0;
	}
	return 0;
}

static void watch_request(struct export_core *core, uint64_t now_usec)
{
	bool begun = core->filling || core->refused || core->staging_end != core->staging_at;

	if (!begun || core->blocked || core->barrier != EXPORT_NO_BARRIER) {
		core->deadline_usec = 0;
	} else if (core->deadline_usec == 0 || core->seen - core->mark >= REQUEST_PROGRESS) {
		core->deadline_usec = now_usec + TIMEOUT_HEADER_USEC;
		core->mark = core->seen;
	}
}

int export_core_process(struct export_core *core, uint64_t now_usec)
{
	const struct export_urb *waiting = core->first_waiting;
	int fault;

	core->operated = false;
	submit_waiting(core, now_usec);
	fault = parse(core);
	if (fault == 0 && core->barrier != EXPORT_NO_BARRIER && !core->stopped && core->ended == 0)
		barrier_try(core);
	watch_waiting(core, waiting, now_usec);
	watch_request(core, now_usec);
	return fault;
}

bool export_core_again(const struct export_core *core)
{
	return core->operated && !core->stopped && core->ended == 0;
}

size_t export_core_want(struct export_core *core, uint8_t **ret_at)
{
	size_t staged = core->staging_end - core->staging_at;

	if (core->stopped || core->ended != 0 || core->blocked || core->barrier != EXPORT_NO_BARRIER)
		return 0;
	if (core->filling && staged == 0) {
		size_t n = fill_target(core, ret_at);

		/* small rests come with the next header in one read */
		if (n >= EXPORT_STAGING / 4)
			return n;
	}
	if (core->staging_at > 0) {
		memmove(core->staging, core->staging + core->staging_at, staged);
		core->staging_at = 0;
		core->staging_end = staged;
	}
	*ret_at = core->staging + core->staging_end;
	return EXPORT_STAGING - core->staging_end;
}

int export_core_got(struct export_core *core, size_t n, uint64_t now_usec)
{
	uint8_t *at = NULL;
	bool direct =
		core->filling && core->staging_end == core->staging_at && fill_target(core, &at) >= EXPORT_STAGING / 4;

	core->seen += n;
	if (direct)
		core->filled += n;
	else
		core->staging_end += n;
	return export_core_process(core, now_usec);
}

void export_core_stop(struct export_core *core)
{
	core->stopped = true;
	for (size_t i = 0; i < LIMIT_URBS; i++) {
		struct export_urb *urb = &core->urbs[i];

		if (urb->state == EXPORT_URB_SUBMITTED && !urb->flushed) {
			urb->flushed = WIRE_STATUS_SHUTDOWN;
			core->ops->cancel(core->device, urb);
		}
	}
}

uint64_t export_core_deadline(const struct export_core *core)
{
	uint64_t at = core->deadline_usec != 0 ? core->deadline_usec : UINT64_MAX;

	return core->retry_usec != 0 && core->retry_usec < at ? core->retry_usec : at;
}

int export_core_expire(struct export_core *core, uint64_t now_usec)
{
	return core->deadline_usec != 0 && now_usec >= core->deadline_usec ? EXPORT_FAULT_STALLED : 0;
}

const char *export_fault_text(int fault)
{
	static const char *const texts[EXPORT_FAULT_COUNT] = {
		[EXPORT_FAULT_COMMAND] = "a message that is not a request",
		[EXPORT_FAULT_SEQNUM] = "a sequence number that is in use",
		[EXPORT_FAULT_DEVID] = "another device's number",
		[EXPORT_FAULT_LENGTH] = "a negative length",
		[EXPORT_FAULT_DIRECTION] = "a direction that USB does not have",
		[EXPORT_FAULT_ENDPOINT] = "an endpoint that the device does not have",
		[EXPORT_FAULT_PACKETS] = "a negative number of packets",
		[EXPORT_FAULT_STALLED] = "a request that has begun and does not end",
	};

	return fault > 0 && fault < EXPORT_FAULT_COUNT ? texts[fault] : "no fault";
}
