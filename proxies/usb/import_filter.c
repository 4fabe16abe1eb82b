/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel side's facts (drivers/usb/usbip/vhci_{hcd,rx,tx}.c) that shape this file:
 *   - requests of one port go out in the order of their numbers; the counter is shared with other ports and wraps;
 *   - an UNLINK can overtake its own SUBMIT (two queues, two locks): it is held here until the SUBMIT has passed, as
 *     the exporter could only answer "unknown", and the killed request would then wait for ever;
 *   - a RET_SUBMIT completes the request at once, even while its data is still being sent: only a request that has gone
 *     by entirely may be answered;
 *   - usb_kill_urb() waits without limit for the answer to an UNLINK: hence the watchdog, and hence a request that does
 *     not fit our limits for too long is refused here, lest the UNLINK behind it never be read;
 *   - a closed connection completes nothing: that is done by the hub's thread, under the device's lock. A driver that waits
 *     under that lock (an ioctl of usbfs) for its requests would wait for ever, and with it the hub and the port: hence
 *     import_filter_let_go().
 */
#include <assert.h>
#include <string.h>

#include "lib/base/base.h"
#include "proxies/usb/import_check.h"
#include "proxies/usb/import_filter.h"
#include "proxies/usb/wire_status.h"

#define REPLY_PROGRESS (64u * 1024u) /* a reply's clock starts again after so many bytes */

static uint32_t charge_of(uint32_t length)
{
	return length < LIMIT_TRANSFER ? length : LIMIT_TRANSFER;
}

void import_filter_init(struct import_filter *f, const struct usb_snapshot *snapshot)
{
	memset(f, 0, offsetof(struct import_filter, packets));
	f->snapshot = snapshot;
	usb_state_init(&f->state, &snapshot->descriptors);
	seq_index_init(&f->urb_index, LIMIT_URBS);
	seq_index_init(&f->unlink_index, SEQ_SLOTS);
	f->oldest_unlink = f->newest_unlink = SEQ_NONE;
	f->current = SEQ_NONE;
}

static void remove_urb(struct import_filter *f, int slot)
{
	f->in_flight -= charge_of(f->urbs[slot].length);
	seq_index_remove(&f->urb_index, slot);
	f->blocked_since_usec = 0;
	f->refusing = false;
}

static void remove_unlink(struct import_filter *f, int slot)
{
	struct import_unlink *u = &f->unlinks[slot];

	if (u->older != SEQ_NONE)
		f->unlinks[u->older].newer = u->newer;
	else
		f->oldest_unlink = u->newer;
	if (u->newer != SEQ_NONE)
		f->unlinks[u->newer].older = u->older;
	else
		f->newest_unlink = u->older;
	seq_index_remove(&f->unlink_index, slot);
}

/* Commands ------------------------------------------------------------------------------------------------------ */

static bool is_iso(const struct import_filter *f, const struct usbip_header *h)
{
	uint8_t address = (uint8_t)(h->ep | (h->direction == USBIP_IN ? 0x80u : 0u));
	const struct usb_endpoint *e = usb_state_endpoint(&f->state, address);

	if (h->ep == 0)
		return false;
	if (!e && h->cmd_submit.n_packets > 0)
		e = usb_state_endpoint_anywhere(&f->state, address);
	return e && usb_endpoint_type(e) == USB_ISOCHRONOUS;
}

/* 0: recorded or dropped; IMPORT_FAULT_COUNT: blocked; else a fault. */
static int begin_submit(struct import_filter *f, const struct usbip_header *h, uint64_t now_usec)
{
	const struct usbip_cmd_submit *s = &h->cmd_submit;
	bool iso = is_iso(f, h);
	uint32_t length = (uint32_t)s->length;
	bool full;
	int slot;

	if (s->length < 0 || h->ep > 15 || h->direction > USBIP_IN || seq_index_find(&f->urb_index, h->seqnum) >= 0 ||
	    (iso && (s->n_packets < 0 || s->n_packets > (int32_t)LIMIT_ISO_PACKETS)))
		return IMPORT_FAULT_KERNEL;
	full = f->in_flight + charge_of(length) > LIMIT_IN_FLIGHT || f->urb_index.n_used == LIMIT_URBS;
	if (full && f->blocked_since_usec == 0)
		f->blocked_since_usec = now_usec;
	if (full && (!f->refusing || iso || f->n_refused >= IMPORT_REFUSALS))
		return IMPORT_FAULT_COUNT;
	f->command_left = h->direction == USBIP_OUT ? length : 0;
	f->packets_left = iso ? (uint32_t)s->n_packets : 0;
	f->any_submit = true;
	f->last_submit = h->seqnum;
	if (full) {
		f->refused[f->n_refused++] = h->seqnum;
		f->dropping = true;
		return 0;
	}
	slot = seq_index_add(&f->urb_index, h->seqnum);
	f->urbs[slot] = (struct import_urb){
		.seqnum = h->seqnum,
		.length = length,
		.start_frame = s->start_frame,
		.n_packets = iso ? (uint16_t)s->n_packets : 0,
		.ep = (uint8_t)h->ep,
		.in = h->direction == USBIP_IN,
		.iso = iso,
	};
	memcpy(f->urbs[slot].setup, s->setup, sizeof(s->setup));
	f->in_flight += charge_of(length);
	f->current = slot;
	return 0;
}

/* 0: recorded; 1: held back; IMPORT_FAULT_COUNT: blocked. */
static int record_unlink(struct import_filter *f, const struct usbip_header *h, const uint8_t *bytes, uint64_t now_usec)
{
	int urb = seq_index_find(&f->urb_index, h->unlink_seqnum);
	bool comes_later = !f->any_submit || (int32_t)(h->unlink_seqnum - f->last_submit) > 0;
	int slot;

	if (urb == SEQ_NONE && comes_later) {
		if (f->n_early == IMPORT_EARLY_UNLINKS)
			return IMPORT_FAULT_KERNEL;
		f->early[f->n_early].target = h->unlink_seqnum;
		memcpy(f->early[f->n_early++].bytes, bytes, USBIP_HEADER);
		return 1;
	}
	if (seq_index_find(&f->unlink_index, h->seqnum) != SEQ_NONE)
		return IMPORT_FAULT_KERNEL;
	slot = seq_index_add(&f->unlink_index, h->seqnum);
	if (slot == SEQ_NONE)
		return IMPORT_FAULT_COUNT;
	f->unlinks[slot] = (struct import_unlink){
		.target = h->unlink_seqnum,
		.deadline_usec = now_usec + TIMEOUT_UNLINK_USEC,
		.newer = SEQ_NONE,
		.older = f->newest_unlink,
	};
	if (f->newest_unlink != SEQ_NONE)
		f->unlinks[f->newest_unlink].newer = (int16_t)slot;
	else
		f->oldest_unlink = (int16_t)slot;
	f->newest_unlink = (int16_t)slot;
	if (urb != SEQ_NONE)
		f->urbs[urb].unlinked = true;
	return 0;
}

/* The request whose header went by has no byte left. */
static void end_submit(struct import_filter *f)
{
	if (f->current != SEQ_NONE)
		f->urbs[f->current].passed = true;
	f->current = SEQ_NONE;
	f->dropping = false;
}

static bool between_commands(const struct import_filter *f)
{
	return f->current == SEQ_NONE && !f->dropping;
}

/* The data and packet descriptors of the current request; returns the bytes that it took. */
static size_t take_command_data(struct import_filter *f, const uint8_t *bytes, size_t len)
{
	size_t n = f->command_left < len ? (size_t)f->command_left : len;

	f->command_left -= n;
	if (f->command_left > 0)
		return n;
	while (f->packets_left > 0 && len - n >= USBIP_ISO_PACKET) {
		if (f->current != SEQ_NONE) {
			struct import_urb *urb = &f->urbs[f->current];
			struct usbip_iso_packet p;

			usbip_iso_decode(bytes + n, &p);
			f->packets[f->current][urb->n_packets - f->packets_left] =
				(struct import_packet){p.offset, p.length};
		}
		f->packets_left--;
		n += USBIP_ISO_PACKET;
	}
	if (f->packets_left == 0)
		end_submit(f);
	return n;
}

/* One header. 0: it passes; 1: it is held back; IMPORT_FAULT_COUNT: blocked; else a fault. */
static int take_command_header(struct import_filter *f, const uint8_t *bytes, uint64_t now_usec)
{
	struct usbip_header h;

	if (usbip_decode(bytes, &h))
		return IMPORT_FAULT_KERNEL;
	switch ((enum usbip_command)h.command) {
	case USBIP_CMD_SUBMIT:
		return begin_submit(f, &h, now_usec);
	case USBIP_CMD_UNLINK:
		return record_unlink(f, &h, bytes, now_usec);
	case USBIP_RET_SUBMIT:
	case USBIP_RET_UNLINK:
		break;
	}
	return IMPORT_FAULT_KERNEL;
}

static bool early_is_due(const struct import_filter *f)
{
	for (size_t i = 0; i < f->n_early; i++)
		if (f->any_submit && (int32_t)(f->early[i].target - f->last_submit) <= 0)
			return between_commands(f);
	return false;
}

int import_filter_commands(struct import_filter *f, const uint8_t *bytes, size_t len, uint64_t now_usec,
			   struct import_step *ret_step)
{
	struct import_step step = {0, 0};

	while (step.pass < len && step.skip == 0 && !early_is_due(f)) {
		const uint8_t *at = bytes + step.pass;
		size_t left = len - step.pass;
		bool dropping = f->dropping;
		size_t n;
		int r;

		if (!between_commands(f)) {
			n = take_command_data(f, at, left);
			if (n == 0)
				break;
			*(dropping ? &step.skip : &step.pass) += n;
			continue;
		}
		if (left < USBIP_HEADER)
			break;
		r = take_command_header(f, at, now_usec);
		if (r == IMPORT_FAULT_COUNT)
			break;
		if (r > 1)
			return r;
		*(r == 1 || f->dropping ? &step.skip : &step.pass) += USBIP_HEADER;
		if (!between_commands(f) && f->command_left == 0 && f->packets_left == 0)
			end_submit(f);
	}
	*ret_step = step;
	return 0;
}

bool import_filter_insert_command(struct import_filter *f, uint64_t now_usec, uint8_t bytes[USBIP_HEADER])
{
	if (!between_commands(f))
		return false;
	for (size_t i = 0; i < f->n_early; i++) {
		struct usbip_header h;

		if (!f->any_submit || (int32_t)(f->early[i].target - f->last_submit) > 0)
			continue;
		(void)usbip_decode(f->early[i].bytes, &h);
		if (record_unlink(f, &h, f->early[i].bytes, now_usec) != 0)
			return false;
		memcpy(bytes, f->early[i].bytes, USBIP_HEADER);
		f->early[i] = f->early[--f->n_early];
		return true;
	}
	return false;
}

/* Replies ------------------------------------------------------------------------------------------------------- */

/* What a successful answer means for the endpoints that exist. USB 2.0, 9.4.7 and 9.4.10. */
static void follow_control(struct import_filter *f, const struct import_urb *urb)
{
	static const uint8_t set_configuration[2] = {0x00, 0x09}, set_interface[2] = {0x01, 0x0b};

	if (memcmp(urb->setup, set_configuration, 2) == 0)
		(void)usb_state_set_configuration(&f->state, urb->setup[2]);
	else if (memcmp(urb->setup, set_interface, 2) == 0)
		(void)usb_state_set_interface(&f->state, urb->setup[4], urb->setup[2]);
}

/* Checks all packet descriptors and the sum; makes them good in place. */
static int check_packets(const struct import_filter *f, int slot, uint8_t *bytes, int32_t actual_length,
			 int32_t *ret_errors)
{
	const struct import_urb *urb = &f->urbs[slot];
	uint64_t sum = 0;
	int32_t errors = 0;

	for (size_t i = 0; i < urb->n_packets; i++) {
		const struct import_packet *asked = &f->packets[slot][i];
		struct usbip_iso_packet p;

		usbip_iso_decode(bytes + i * USBIP_ISO_PACKET, &p);
		if (p.actual_length > asked->length || !wire_status_is_known(p.status))
			return IMPORT_FAULT_PACKETS;
		sum += p.actual_length;
		errors += p.status != 0;
		p.offset = asked->offset;
		p.length = asked->length;
		usbip_iso_encode(&p, bytes + i * USBIP_ISO_PACKET);
	}
	if (sum != (uint64_t)actual_length)
		return IMPORT_FAULT_PACKETS;
	*ret_errors = errors;
	return 0;
}

static int check_reply(const struct import_urb *urb, const struct usbip_ret_submit *r)
{
	if (!wire_status_is_known(r->status) || (r->status == WIRE_STATUS_UNLINKED && !urb->unlinked))
		return IMPORT_FAULT_STATUS;
	if (r->actual_length < 0 || (uint32_t)r->actual_length > charge_of(urb->length))
		return IMPORT_FAULT_LENGTH;
	if (urb->iso && r->n_packets != urb->n_packets)
		return IMPORT_FAULT_PACKETS;
	return 0;
}

/* One RET_SUBMIT at `bytes`; *ret_used stays 0 while more of it must come first. */
static int reply_submit(struct import_filter *f, const struct usbip_header *h, uint8_t *bytes, size_t len,
			size_t *ret_used)
{
	const struct usbip_ret_submit *r = &h->ret_submit;
	int slot = seq_index_find(&f->urb_index, h->seqnum);
	const struct import_urb *urb;
	struct usbip_header good;
	size_t data, whole;
	int32_t errors = 0;
	int fault;

	if (slot == SEQ_NONE || !f->urbs[slot].passed)
		return IMPORT_FAULT_SEQNUM;
	urb = &f->urbs[slot];
	fault = check_reply(urb, r);
	if (fault)
		return fault;
	data = urb->in ? (size_t)r->actual_length : 0;
	whole = USBIP_HEADER + data + urb->n_packets * USBIP_ISO_PACKET;
	if (len < whole)
		return 0;
	if (urb->iso)
		fault = check_packets(f, slot, bytes + USBIP_HEADER + data, r->actual_length, &errors);
	else if (urb->ep == 0 && !import_check_control(f->snapshot, urb->setup, r->status == WIRE_STATUS_OK,
						       bytes + USBIP_HEADER, data))
		fault = IMPORT_FAULT_DESCRIPTOR;
	if (fault)
		return fault;
	if (urb->ep == 0 && r->status == 0)
		follow_control(f, urb);
	good = (struct usbip_header){
		.command = USBIP_RET_SUBMIT,
		.seqnum = urb->seqnum,
		.ret_submit =
			{
				.status = r->status,
				.actual_length = r->actual_length,
				.start_frame = urb->start_frame,
				.n_packets = urb->n_packets,
				.error_count = errors,
			},
	};
	usbip_encode(&good, bytes);
	remove_urb(f, slot);
	*ret_used = whole;
	return 0;
}

static int reply_unlink(struct import_filter *f, const struct usbip_header *h, uint8_t *bytes)
{
	int slot = seq_index_find(&f->unlink_index, h->seqnum);
	struct usbip_header good = {.command = USBIP_RET_UNLINK, .seqnum = h->seqnum};
	int urb;

	if (slot == SEQ_NONE)
		return IMPORT_FAULT_UNLINK;
	urb = seq_index_find(&f->urb_index, f->unlinks[slot].target);
	if (h->unlink_status != (urb == SEQ_NONE ? WIRE_STATUS_OK : WIRE_STATUS_UNLINKED))
		return IMPORT_FAULT_UNLINK;
	if (urb != SEQ_NONE && !f->urbs[urb].passed)
		return IMPORT_FAULT_UNLINK; /* the kernel still reads its buffer */
	good.unlink_status = h->unlink_status;
	usbip_encode(&good, bytes);
	if (urb != SEQ_NONE)
		remove_urb(f, urb);
	remove_unlink(f, slot);
	return 0;
}

static int reply_header(struct import_filter *f, uint8_t *bytes, size_t len, size_t *ret_used)
{
	struct usbip_header h;
	int fault;

	if (usbip_decode(bytes, &h))
		return IMPORT_FAULT_COMMAND;
	switch ((enum usbip_command)h.command) {
	case USBIP_RET_SUBMIT:
		return reply_submit(f, &h, bytes, len, ret_used);
	case USBIP_RET_UNLINK:
		fault = reply_unlink(f, &h, bytes);
		*ret_used = USBIP_HEADER;
		return fault;
	case USBIP_CMD_SUBMIT:
	case USBIP_CMD_UNLINK:
		break;
	}
	return IMPORT_FAULT_COMMAND;
}

/* The clock of a reply that has begun: from its first byte, again after each REPLY_PROGRESS bytes of it. */
static void watch_reply(struct import_filter *f, size_t passed, size_t left, bool ended_one, uint64_t now_usec)
{
	uint64_t seen;

	f->reply_position += passed;
	seen = f->reply_position + left;
	if (left == 0) {
		f->reply_deadline_usec = 0;
	} else if (f->reply_deadline_usec == 0 || ended_one || seen - f->reply_mark >= REPLY_PROGRESS) {
		f->reply_deadline_usec = now_usec + TIMEOUT_HEADER_USEC;
		f->reply_mark = seen;
	}
}

int import_filter_replies(struct import_filter *f, uint8_t *untrusted_bytes, size_t len, uint64_t now_usec,
			  size_t *ret_pass)
{
	bool ended_one = false;
	size_t pass = 0;

	while (pass < len) {
		size_t used = 0;
		int fault;

		if (f->n_refused > 0 || len - pass < USBIP_HEADER)
			break;
		fault = reply_header(f, untrusted_bytes + pass, len - pass, &used);
		if (fault) {
			*ret_pass = pass;
			return fault;
		}
		if (used == 0)
			break;
		pass += used;
		ended_one = true;
	}
	watch_reply(f, pass, len - pass, ended_one, now_usec);
	*ret_pass = pass;
	return 0;
}

bool import_filter_insert_reply(struct import_filter *f, uint8_t bytes[USBIP_HEADER])
{
	struct usbip_header h = {.command = USBIP_RET_SUBMIT};

	if (f->n_refused == 0)
		return false;
	h.seqnum = f->refused[0];
	h.ret_submit.status = WIRE_STATUS_NO_MEMORY;
	usbip_encode(&h, bytes);
	memmove(f->refused, f->refused + 1, --f->n_refused * sizeof(f->refused[0]));
	return true;
}

static int oldest_passed(const struct import_filter *f)
{
	int oldest = SEQ_NONE;

	for (int slot = 0; slot < (int)LIMIT_URBS; slot++) {
		const struct import_urb *urb = &f->urbs[slot];

		if (!urb->passed || seq_index_find(&f->urb_index, urb->seqnum) != slot)
			continue;
		if (oldest == SEQ_NONE || (int32_t)(urb->seqnum - f->urbs[oldest].seqnum) < 0)
			oldest = slot;
	}
	return oldest;
}

size_t import_filter_let_go(struct import_filter *f, uint8_t bytes[IMPORT_LET_GO_MAX])
{
	int slot = oldest_passed(f);
	struct usbip_header h = {.command = USBIP_RET_SUBMIT};
	const struct import_urb *urb;

	if (slot == SEQ_NONE)
		return 0;
	urb = &f->urbs[slot];
	h.seqnum = urb->seqnum;
	h.ret_submit = (struct usbip_ret_submit){
		.status = WIRE_STATUS_SHUTDOWN,
		.start_frame = urb->start_frame,
		.n_packets = urb->n_packets,
		.error_count = urb->n_packets,
	};
	usbip_encode(&h, bytes);
	for (size_t i = 0; i < urb->n_packets; i++) {
		const struct usbip_iso_packet p = {
			.offset = f->packets[slot][i].offset,
			.length = f->packets[slot][i].length,
			.status = WIRE_STATUS_SHUTDOWN,
		};

		usbip_iso_encode(&p, bytes + USBIP_HEADER + i * USBIP_ISO_PACKET);
	}
	remove_urb(f, slot);
	return USBIP_HEADER + urb->n_packets * USBIP_ISO_PACKET;
}

/* Time ---------------------------------------------------------------------------------------------------------- */

void import_filter_defer(struct import_filter *f, uint64_t now_usec)
{
	if (f->reply_deadline_usec != 0)
		f->reply_deadline_usec = now_usec + TIMEOUT_HEADER_USEC;
}

static uint64_t refuse_at(const struct import_filter *f)
{
	return f->blocked_since_usec != 0 && !f->refusing ? f->blocked_since_usec + TIMEOUT_REFUSE_USEC : UINT64_MAX;
}

uint64_t import_filter_deadline(const struct import_filter *f)
{
	uint64_t at = refuse_at(f);

	if (f->reply_deadline_usec != 0 && f->reply_deadline_usec < at)
		at = f->reply_deadline_usec;
	if (f->oldest_unlink != SEQ_NONE && f->unlinks[f->oldest_unlink].deadline_usec < at)
		at = f->unlinks[f->oldest_unlink].deadline_usec;
	return at;
}

int import_filter_expire(struct import_filter *f, uint64_t now_usec)
{
	if (f->reply_deadline_usec != 0 && now_usec >= f->reply_deadline_usec)
		return IMPORT_FAULT_STALLED;
	if (f->oldest_unlink != SEQ_NONE && now_usec >= f->unlinks[f->oldest_unlink].deadline_usec)
		return IMPORT_FAULT_UNLINK_LATE;
	if (now_usec >= refuse_at(f))
		f->refusing = true;
	return 0;
}

const char *import_fault_text(int fault)
{
	static const char *const texts[IMPORT_FAULT_COUNT] = {
		[IMPORT_FAULT_COMMAND] = "a message that is not a reply",
		[IMPORT_FAULT_SEQNUM] = "a reply to what is not outstanding",
		[IMPORT_FAULT_STATUS] = "a reply with an impossible status",
		[IMPORT_FAULT_LENGTH] = "a reply longer than its request",
		[IMPORT_FAULT_PACKETS] = "isochronous packets that were not asked for",
		[IMPORT_FAULT_UNLINK] = "an answer to an unlink that does not fit",
		[IMPORT_FAULT_DESCRIPTOR] = "descriptors that differ from those the device was attached with",
		[IMPORT_FAULT_STALLED] = "a reply that has begun and does not end",
		[IMPORT_FAULT_UNLINK_LATE] = "no answer to an unlink in time",
		[IMPORT_FAULT_KERNEL] = "this kernel asked for more than a session may",
	};

	return fault > 0 && fault < IMPORT_FAULT_COUNT ? texts[fault] : "no fault";
}
