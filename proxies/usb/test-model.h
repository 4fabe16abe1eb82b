/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The world around both engines, for tests: a client that behaves like vhci_hcd and judges each byte that it is given
 * by rules of its own (nothing of import_filter's is used for that), and a device behind export_core's operations that
 * judges what it is asked to do. Data are a function of the request's number, so that bytes in the wrong place show.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/usbip/test-samples.h"
#include "proxies/usb/export_core.h"
#include "proxies/usb/import_filter.h"

#define MODEL_URBS 320
#define MODEL_DEVID 0x00030002u

#define MODEL_CHECK(condition)                                                          \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

/* Random numbers ------------------------------------------------------------------------------------------------ */

struct model_random {
	uint64_t state;
};

static inline uint32_t model_random(struct model_random *r, uint32_t below)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return below == 0 ? 0 : (uint32_t)((r->state >> 16) % below);
}

static inline bool model_chance(struct model_random *r, uint32_t percent)
{
	return model_random(r, 100) < percent;
}

static inline uint8_t model_byte(uint32_t seqnum, uint32_t at)
{
	return (uint8_t)(seqnum * 31 + at * 7 + (at >> 8));
}

/* A stream of bytes ------------------------------------------------------------------------------------------------ */

struct model_stream {
	uint8_t *bytes;
	size_t at, end, size;
};

static inline void stream_put(struct model_stream *s, const void *bytes, size_t len)
{
	if (s->at == s->end)
		s->at = s->end = 0;
	if (s->end + len >= s->size) { /* there is a buffer also when nothing is in it */
		s->size = (s->end + len) * 2 + 64;
		s->bytes = realloc(s->bytes, s->size);
		MODEL_CHECK(s->bytes);
	}
	if (len > 0)
		memcpy(s->bytes + s->end, bytes, len);
	s->end += len;
}

static inline size_t stream_len(const struct model_stream *s)
{
	return s->end - s->at;
}

/* The device ---------------------------------------------------------------------------------------------------- */

struct model_device {
	const struct usb_snapshot *snapshot;
	struct model_random *random;
	struct export_core *core;
	struct {
		struct export_urb *urb;
		bool cancelled;
	} held[MODEL_URBS];
	size_t n_held;
	bool calm; /* no failures */
	uint8_t configuration;
	uint8_t alternates[256];
	unsigned int n_submits, n_resets, n_configurations, n_interfaces, n_halts;
};

/* Operations that block. */
static inline unsigned int device_n_operations(const struct model_device *d)
{
	return d->n_resets + d->n_configurations + d->n_interfaces + d->n_halts;
}

static inline bool device_has_endpoint(const struct model_device *d, uint8_t address, int *ret_interface)
{
	const struct usb_descriptors *desc = &d->snapshot->descriptors;
	const struct usb_configuration *c = usb_find_configuration(desc, d->configuration);

	for (size_t i = 0; c && i < c->n_altsettings; i++) {
		const struct usb_altsetting *a = &desc->altsettings[c->first_altsetting + i];

		*ret_interface = a->interface;
		if (a->alternate == d->alternates[a->interface] && usb_find_endpoint(desc, a, address))
			return true;
	}
	return false;
}

/* Whom a control request that is not the vendor's is for must be there. */
static inline bool device_has_recipient(const struct model_device *d, const uint8_t *setup)
{
	const struct usb_descriptors *desc = &d->snapshot->descriptors;
	const struct usb_configuration *c = usb_find_configuration(desc, d->configuration);
	uint8_t recipient = setup[0] & 0x1f;

	if ((setup[0] & 0x60) == 0x40 || (recipient != 1 && recipient != 2) || (recipient == 2 && !(setup[4] & 0x7f)))
		return true;
	for (size_t i = 0; c && i < c->n_altsettings; i++) {
		const struct usb_altsetting *a = &desc->altsettings[c->first_altsetting + i];

		if (recipient == 1 ? a->interface == setup[4] : usb_find_endpoint(desc, a, setup[4]) != NULL)
			return true;
		if (setup[0] == 0xa1 && setup[1] == 0 && a->class_code == 7 && a->interface == setup[5] &&
		    a->alternate == setup[4])
			return true;
	}
	return false;
}

/* What the client's OUT data must look like when they arrive: by packet for isochronous, whose gaps must not. */
static inline void device_check_data(const struct export_urb *urb)
{
	uint32_t packed = 0;

	if (urb->in)
		return;
	if (urb->type != USB_ISOCHRONOUS) {
		for (uint32_t i = 0; i < urb->length; i++)
			MODEL_CHECK(urb->buffer[i + (urb->type == USB_CONTROL ? 8 : 0)] == model_byte(urb->seqnum, i));
		return;
	}
	for (uint32_t p = 0; p < urb->n_packets; p++)
		for (uint32_t i = 0; i < urb->packets[p].length; i++)
			MODEL_CHECK(urb->buffer[packed++] == model_byte(urb->seqnum + p, i));
}

static inline int device_submit_model(void *device, struct export_urb *urb)
{
	struct model_device *d = device;
	int interface;

	d->n_submits++;
	MODEL_CHECK(urb->length <= LIMIT_TRANSFER && urb->n_packets <= LIMIT_ISO_PACKETS && !d->core->stopped);
	if (urb->type == USB_CONTROL) {
		MODEL_CHECK(urb->length == get_le16(urb->buffer + 6) && urb->address == 0);
		MODEL_CHECK((urb->buffer[0] & 0x60) != 0 || (urb->buffer[1] != 5 && urb->buffer[1] != 7 &&
							     urb->buffer[1] != 9 && urb->buffer[1] != 11));
		MODEL_CHECK(device_has_recipient(d, urb->buffer));
	} else {
		MODEL_CHECK(device_has_endpoint(d, urb->address, &interface));
	}
	device_check_data(urb);
	if (!d->calm && model_chance(d->random, 3))
		return WIRE_STATUS_STALL;
	if (!d->calm && model_chance(d->random, 3))
		return EXPORT_LATER;
	MODEL_CHECK(d->n_held < MODEL_URBS);
	d->held[d->n_held].urb = urb;
	d->held[d->n_held++].cancelled = false;
	return 0;
}

static inline void device_cancel_model(void *device, struct export_urb *urb)
{
	struct model_device *d = device;

	for (size_t i = 0; i < d->n_held; i++)
		if (d->held[i].urb == urb) {
			MODEL_CHECK(!d->held[i].cancelled);
			d->held[i].cancelled = true;
			return;
		}
	MODEL_CHECK(false && "cancel of what the device does not have");
}

static inline int device_answer(struct model_device *d)
{
	return !d->calm && model_chance(d->random, 10) ? WIRE_STATUS_STALL : 0;
}

static inline int device_set_configuration_model(void *device, uint8_t value)
{
	struct model_device *d = device;

	d->n_configurations++;
	MODEL_CHECK(value == 0 || usb_find_configuration(&d->snapshot->descriptors, value));
	for (size_t i = 0; i < d->n_held; i++)
		MODEL_CHECK(d->held[i].urb->type == USB_CONTROL);
	d->configuration = value;
	memset(d->alternates, 0, sizeof(d->alternates));
	return 0;
}

static inline int device_set_interface_model(void *device, uint8_t interface, uint8_t alternate)
{
	struct model_device *d = device;
	const struct usb_configuration *c = usb_find_configuration(&d->snapshot->descriptors, d->configuration);
	int r = device_answer(d), of = -1;

	d->n_interfaces++;
	MODEL_CHECK(c && usb_find_altsetting(&d->snapshot->descriptors, c, interface, alternate));
	for (size_t i = 0; i < d->n_held; i++)
		if (d->held[i].urb->type != USB_CONTROL)
			MODEL_CHECK(device_has_endpoint(d, d->held[i].urb->address, &of) && of != interface);
	if (r == 0)
		d->alternates[interface] = alternate;
	return r;
}

static inline int device_clear_halt_model(void *device, uint8_t address)
{
	struct model_device *d = device;
	int interface;

	d->n_halts++;
	MODEL_CHECK(device_has_endpoint(d, address, &interface));
	for (size_t i = 0; i < d->n_held; i++)
		MODEL_CHECK(d->held[i].urb->type == USB_CONTROL || d->held[i].urb->address != address);
	return device_answer(d);
}

static inline int device_reset_model(void *device)
{
	struct model_device *d = device;

	d->n_resets++;
	MODEL_CHECK(d->n_held == 0);
	memset(d->alternates, 0, sizeof(d->alternates));
	return 0;
}

static const struct export_device_ops model_device_ops = {
	.submit = device_submit_model,
	.cancel = device_cancel_model,
	.set_configuration = device_set_configuration_model,
	.set_interface = device_set_interface_model,
	.clear_halt = device_clear_halt_model,
	.reset = device_reset_model,
};

/* What a real device answers on endpoint 0: its snapshot; else a pattern. Returns the length. */
static inline uint32_t device_control_data(const struct model_device *d, const struct export_urb *urb)
{
	const struct usb_descriptors *desc = &d->snapshot->descriptors;
	const uint8_t *setup = urb->buffer, *from = NULL;
	uint8_t serial[2 + 2 * LIMIT_TEXT] = {0, 3};
	uint32_t len = urb->length;

	if (setup[0] == 0x80 && setup[1] == 6 && setup[3] == 1) {
		from = d->snapshot->raw;
		len = len < 18 ? len : 18;
	} else if (setup[0] == 0x80 && setup[1] == 6 && setup[3] == 2 && setup[2] < desc->n_configurations) {
		from = d->snapshot->raw + desc->configurations[setup[2]].raw_offset;
		len = len < desc->configurations[setup[2]].raw_len ? len : desc->configurations[setup[2]].raw_len;
	} else if (setup[0] == 0x80 && setup[1] == 6 && setup[3] == 2) {
		return 0;
	} else if (setup[0] == 0x80 && setup[1] == 6 && setup[3] == 3 && setup[2] && setup[2] == desc->i_serial) {
		serial[0] = (uint8_t)(2 + 2 * strlen(d->snapshot->serial));
		for (size_t i = 0; d->snapshot->serial[i]; i++)
			serial[2 + 2 * i] = (uint8_t)d->snapshot->serial[i];
		from = serial;
		len = len < serial[0] ? len : serial[0];
	}
	if (from)
		memcpy(urb->buffer + 8, from, len);
	else
		for (uint32_t i = 0; i < len; i++)
			urb->buffer[8 + i] = model_byte(urb->seqnum, i);
	return len;
}

static inline uint32_t device_data(struct model_device *d, struct export_urb *urb, uint32_t most)
{
	uint32_t actual = d->calm || model_chance(d->random, 60) ? most : model_random(d->random, most + 1);

	if (urb->type == USB_CONTROL && urb->in)
		return device_control_data(d, urb);
	if (urb->in && urb->type != USB_ISOCHRONOUS)
		for (uint32_t i = 0; i < actual; i++)
			urb->buffer[i] = model_byte(urb->seqnum, i);
	return actual;
}

static inline void device_packets(struct model_device *d, struct export_urb *urb, bool nothing)
{
	uint32_t at = 0;

	for (uint32_t p = 0; p < urb->n_packets; p++) {
		struct usbip_iso_packet *packet = &urb->packets[p];

		packet->status = !d->calm && model_chance(d->random, 10) ? WIRE_STATUS_PROTOCOL : 0;
		packet->actual_length = nothing || packet->status ? 0
					: d->calm || model_chance(d->random, 50)
						? packet->length
						: model_random(d->random, packet->length + 1);
		for (uint32_t i = 0; urb->in && i < packet->actual_length; i++)
			urb->buffer[at + i] = model_byte(urb->seqnum + p, i);
		at += packet->length;
	}
}

/* Ends the transfer held at `i`. */
static inline void device_end(struct model_device *d, size_t i)
{
	static const int32_t errors[] = {WIRE_STATUS_STALL, WIRE_STATUS_OVERFLOW, WIRE_STATUS_PROTOCOL};
	struct export_urb *urb = d->held[i].urb;
	bool cancelled = d->held[i].cancelled && !model_chance(d->random, 25);
	bool nothing = cancelled && model_chance(d->random, 60);
	int32_t status = WIRE_STATUS_OK;
	uint32_t actual;

	d->held[i] = d->held[--d->n_held];
	if (cancelled)
		status = WIRE_STATUS_UNLINKED;
	else if (!d->calm && model_chance(d->random, 10))
		status = errors[model_random(d->random, ARRAY_SIZE(errors))];
	device_packets(d, urb, nothing);
	actual = nothing ? 0 : device_data(d, urb, urb->length);
	if (urb->type == USB_CONTROL && nothing)
		actual = 0;
	export_core_complete(d->core, urb, status, actual);
}

/* The client ---------------------------------------------------------------------------------------------------- */

struct model_urb {
	uint32_t seqnum;
	bool in_flight, unlinking, iso;
	uint8_t ep;
	bool in;
	uint32_t length;
	uint8_t setup[8];
	uint32_t n_packets;
	struct usbip_iso_packet packets[16];
};

struct model_unlink {
	uint32_t seqnum, target;
	bool unanswered;
};

struct model_client {
	const struct usb_snapshot *snapshot;
	struct model_random *random;
	struct model_stream sends;    /* towards the exporter */
	struct model_stream received; /* from it */
	struct model_urb urbs[MODEL_URBS];
	struct model_unlink unlinks[MODEL_URBS];
	uint32_t seqnum;
	struct usb_state state;
	unsigned int n_completed, n_unlinked, n_no_memory;
};

static inline struct model_urb *client_find(struct model_client *c, uint32_t seqnum)
{
	for (size_t i = 0; i < MODEL_URBS; i++)
		if (c->urbs[i].in_flight && c->urbs[i].seqnum == seqnum)
			return &c->urbs[i];
	return NULL;
}

static inline unsigned int client_in_flight(const struct model_client *c)
{
	unsigned int n = 0;

	for (size_t i = 0; i < MODEL_URBS; i++)
		n += c->urbs[i].in_flight + c->unlinks[i].unanswered;
	return n;
}

static inline uint32_t client_next(struct model_client *c)
{
	c->seqnum += 1 + model_random(c->random, 3) / 2;
	return c->seqnum;
}

static inline struct model_urb *client_new_urb(struct model_client *c)
{
	for (size_t i = 0; i < MODEL_URBS; i++)
		if (!c->urbs[i].in_flight) {
			c->urbs[i] = (struct model_urb){.in_flight = true, .seqnum = client_next(c)};
			return &c->urbs[i];
		}
	return NULL;
}

static inline void client_send_submit(struct model_client *c, const struct model_urb *urb)
{
	struct usbip_header h = {
		.command = USBIP_CMD_SUBMIT,
		.seqnum = urb->seqnum,
		.devid = MODEL_DEVID,
		.direction = urb->in,
		.ep = urb->ep,
		.cmd_submit = {.flags = urb->in ? 0x200 : 0,
			       .length = (int32_t)urb->length,
			       .start_frame = 77,
			       .n_packets = (int32_t)urb->n_packets},
	};
	uint8_t bytes[USBIP_HEADER], packet[USBIP_ISO_PACKET];

	memcpy(h.cmd_submit.setup, urb->setup, 8);
	usbip_encode(&h, bytes);
	stream_put(&c->sends, bytes, sizeof(bytes));
	if (!urb->in) {
		uint8_t *data = malloc(urb->length + 1);

		MODEL_CHECK(data);
		memset(data, 0xee, urb->length);
		for (uint32_t i = 0; !urb->iso && i < urb->length; i++)
			data[i] = model_byte(urb->seqnum, i);
		for (uint32_t p = 0; p < urb->n_packets; p++)
			for (uint32_t i = 0; i < urb->packets[p].length; i++)
				data[urb->packets[p].offset + i] = model_byte(urb->seqnum + p, i);
		stream_put(&c->sends, data, urb->length);
		free(data);
	}
	for (uint32_t p = 0; p < urb->n_packets; p++) {
		usbip_iso_encode(&urb->packets[p], packet);
		stream_put(&c->sends, packet, sizeof(packet));
	}
}

static inline void client_submit_control(struct model_client *c, uint8_t type, uint8_t request, uint16_t value,
					 uint16_t index, uint16_t length)
{
	struct model_urb *urb = client_new_urb(c);

	if (!urb)
		return;
	urb->in = type & 0x80;
	urb->length = length;
	urb->setup[0] = type;
	urb->setup[1] = request;
	put_le16(urb->setup + 2, value);
	put_le16(urb->setup + 4, index);
	put_le16(urb->setup + 6, length);
	client_send_submit(c, urb);
}

static inline void client_submit(struct model_client *c, uint8_t address, uint32_t length)
{
	const struct usb_endpoint *e = usb_state_endpoint(&c->state, address);
	struct model_urb *urb = e ? client_new_urb(c) : NULL;
	uint32_t at = 0;

	if (!urb)
		return;
	urb->in = address & 0x80;
	urb->ep = address & 0x0f;
	urb->length = length;
	urb->iso = usb_endpoint_type(e) == USB_ISOCHRONOUS;
	if (urb->iso) {
		urb->n_packets = 1 + model_random(c->random, 16);
		for (uint32_t p = 0; p < urb->n_packets; p++) {
			urb->packets[p] = (struct usbip_iso_packet){.offset = at,
								    .length = model_random(c->random, 200),
								    .status = WIRE_STATUS_NOT_ISO_DONE};
			at += urb->packets[p].length;
			if (model_chance(c->random, 30))
				at += model_random(c->random, 30); /* a gap */
		}
		urb->length = at;
	}
	client_send_submit(c, urb);
}

static inline bool client_unlink(struct model_client *c, struct model_urb *urb)
{
	struct usbip_header h = {.command = USBIP_CMD_UNLINK, .devid = MODEL_DEVID};
	uint8_t bytes[USBIP_HEADER];

	for (size_t i = 0; i < MODEL_URBS; i++) {
		if (c->unlinks[i].unanswered)
			continue;
		c->unlinks[i] = (struct model_unlink){client_next(c), urb->seqnum, true};
		urb->unlinking = true;
		h.seqnum = c->unlinks[i].seqnum;
		h.unlink_seqnum = urb->seqnum;
		usbip_encode(&h, bytes);
		stream_put(&c->sends, bytes, sizeof(bytes));
		return true;
	}
	return false;
}

static inline void client_check_packets(const struct model_urb *urb, const uint8_t *data, const uint8_t *packets,
					const struct usbip_ret_submit *r)
{
	uint32_t at = 0, errors = 0;

	for (uint32_t p = 0; p < urb->n_packets; p++) {
		struct usbip_iso_packet got;

		usbip_iso_decode(packets + p * USBIP_ISO_PACKET, &got);
		MODEL_CHECK(got.offset == urb->packets[p].offset && got.length == urb->packets[p].length);
		MODEL_CHECK(got.actual_length <= got.length && got.status <= 0 && got.status > -200);
		for (uint32_t i = 0; data && i < got.actual_length; i++)
			MODEL_CHECK(data[at + i] == model_byte(urb->seqnum + p, i));
		at += got.actual_length;
		errors += got.status != 0;
	}
	MODEL_CHECK((int32_t)at == r->actual_length && (int32_t)errors == r->error_count);
}

static inline bool is_control(const struct model_urb *urb, uint8_t type, uint8_t request)
{
	return urb->ep == 0 && urb->setup[0] == type && urb->setup[1] == request;
}

/* `strict`: the data must be what the device model makes; without it only the rules of the wire count. */
static inline size_t client_ret_submit(struct model_client *c, const struct usbip_header *h, const uint8_t *bytes,
				       size_t len, bool strict)
{
	struct model_urb *urb = client_find(c, h->seqnum);
	const struct usbip_ret_submit *r = &h->ret_submit;
	const uint8_t *data = bytes + USBIP_HEADER;
	size_t data_len, total;

	MODEL_CHECK(urb);
	MODEL_CHECK(r->status <= 0 && r->status > -200);
	MODEL_CHECK(r->status != WIRE_STATUS_UNLINKED || urb->unlinking);
	MODEL_CHECK(r->actual_length >= 0 && (uint32_t)r->actual_length <= urb->length);
	MODEL_CHECK(r->n_packets == (int32_t)urb->n_packets);
	MODEL_CHECK(r->start_frame == 77 || (r->start_frame == 0 && r->status == WIRE_STATUS_NO_MEMORY));
	MODEL_CHECK(urb->iso || r->error_count == 0);
	data_len = urb->in ? (size_t)r->actual_length : 0;
	total = USBIP_HEADER + data_len + urb->n_packets * USBIP_ISO_PACKET;
	if (len < total)
		return 0;
	if (urb->iso)
		client_check_packets(urb, strict && urb->in ? data : NULL, data + data_len, r);
	else if (strict && !(urb->ep == 0 && urb->setup[1] == 6))
		for (size_t i = 0; i < data_len; i++)
			MODEL_CHECK(data[i] == model_byte(urb->seqnum, (uint32_t)i));
	if (is_control(urb, 0x80, 6) && urb->setup[3] == 1)
		MODEL_CHECK(memcmp(data, c->snapshot->raw, data_len) == 0 && data_len <= 18);
	if (is_control(urb, 0x00, 9) && r->status == 0)
		MODEL_CHECK(usb_state_set_configuration(&c->state, urb->setup[2]) == 0);
	if (is_control(urb, 0x01, 11) && r->status == 0)
		MODEL_CHECK(usb_state_set_interface(&c->state, urb->setup[4], urb->setup[2]) == 0);
	c->n_no_memory += r->status == WIRE_STATUS_NO_MEMORY;
	urb->in_flight = false;
	c->n_completed++;
	return total;
}

static inline void client_ret_unlink(struct model_client *c, const struct usbip_header *h)
{
	for (size_t i = 0; i < MODEL_URBS; i++) {
		struct model_unlink *u = &c->unlinks[i];
		struct model_urb *urb;

		if (!u->unanswered || u->seqnum != h->seqnum)
			continue;
		urb = client_find(c, u->target);
		MODEL_CHECK(h->unlink_status == (urb ? WIRE_STATUS_UNLINKED : 0));
		if (urb)
			urb->in_flight = false;
		u->unanswered = false;
		c->n_unlinked++;
		return;
	}
	MODEL_CHECK(false && "answer to an unlink that was not asked");
}

/* Takes in all that is whole; judges the beginning of the rest. */
static inline void client_receive(struct model_client *c, bool strict)
{
	static const uint8_t zero[USBIP_HEADER];

	while (stream_len(&c->received) >= USBIP_HEADER) {
		uint8_t *at = c->received.bytes + c->received.at;
		struct usbip_header h;
		size_t used = USBIP_HEADER;

		MODEL_CHECK(usbip_decode(at, &h) == 0);
		MODEL_CHECK(h.devid == 0 && h.direction == 0 && h.ep == 0);
		MODEL_CHECK(h.command == USBIP_RET_SUBMIT || h.command == USBIP_RET_UNLINK);
		MODEL_CHECK(memcmp(at + (h.command == USBIP_RET_SUBMIT ? 40 : 24), zero,
				   h.command == USBIP_RET_SUBMIT ? 8 : 24) == 0);
		if (h.command == USBIP_RET_SUBMIT)
			used = client_ret_submit(c, &h, at, stream_len(&c->received), strict);
		else
			client_ret_unlink(c, &h);
		if (used == 0)
			return;
		c->received.at += used;
	}
}

/* All together -------------------------------------------------------------------------------------------------- */

struct model {
	struct model_random random;
	struct usb_snapshot snapshot;
	uint8_t bytes[SAMPLE_MAX + 64];
	struct model_client client;
	struct model_device device;
	struct export_core core;
	struct import_filter filter;
	struct model_stream to_exporter; /* passed by the filter */
	struct model_stream to_importer; /* sent by the exporter, not filtered */
	uint64_t now_usec;
	bool small_steps;
	int fault; /* of the import filter */
};

static inline void model_init(struct model *m, unsigned int sample, uint64_t seed)
{
	uint8_t raw[SAMPLE_MAX];
	size_t len = sample_build(&samples[sample], raw);

	m->random.state = seed * 0x9e3779b97f4a7c15ull + 1;
	len = usb_snapshot_build(samples[sample].speed, "SN-0042", raw, len, m->bytes);
	MODEL_CHECK(len > 0 && usb_snapshot_parse(m->bytes, len, &m->snapshot) == 0);
	memset(m->client.urbs, 0, sizeof(m->client.urbs));
	memset(m->client.unlinks, 0, sizeof(m->client.unlinks));
	m->client.snapshot = &m->snapshot;
	m->client.random = &m->random;
	m->client.seqnum = model_chance(&m->random, 10) ? 0xfffffff0u : model_random(&m->random, 1000);
	m->client.n_completed = m->client.n_unlinked = m->client.n_no_memory = 0;
	m->client.sends.at = m->client.sends.end = m->client.received.at = m->client.received.end = 0;
	m->to_exporter.at = m->to_exporter.end = m->to_importer.at = m->to_importer.end = 0;
	stream_put(&m->client.sends, "", 0);
	stream_put(&m->client.received, "", 0);
	stream_put(&m->to_exporter, "", 0);
	stream_put(&m->to_importer, "", 0);
	usb_state_init(&m->client.state, &m->snapshot.descriptors);
	(void)usb_state_set_configuration(&m->client.state, 1);
	memset(&m->device, 0, sizeof(m->device));
	m->device.snapshot = &m->snapshot;
	m->device.random = &m->random;
	m->device.core = &m->core;
	m->device.configuration = 1;
	m->now_usec = 1000;
	m->fault = 0;
	export_core_init(&m->core, &m->snapshot, MODEL_DEVID, 1, &model_device_ops, &m->device);
	import_filter_init(&m->filter, &m->snapshot);
	(void)usb_state_set_configuration(&m->filter.state, 1);
}

static inline size_t model_portion(struct model *m, size_t len)
{
	if (!m->small_steps || len == 0)
		return len;
	return model_chance(&m->random, 50) ? len : 1 + model_random(&m->random, (uint32_t)len);
}

/* Client -> filter -> exporter's input */
static inline bool model_move_commands(struct model *m)
{
	struct model_stream *from = &m->client.sends;
	struct import_step step = {0, 0};
	uint8_t pdu[USBIP_HEADER];
	size_t len = model_portion(m, stream_len(from));
	bool moved;

	MODEL_CHECK(import_filter_commands(&m->filter, from->bytes + from->at, len, m->now_usec, &step) == 0);
	stream_put(&m->to_exporter, from->bytes + from->at, step.pass);
	from->at += step.pass + step.skip;
	moved = step.pass + step.skip > 0;
	while (import_filter_insert_command(&m->filter, m->now_usec, pdu)) {
		stream_put(&m->to_exporter, pdu, sizeof(pdu));
		moved = true;
	}
	return moved;
}

static inline bool model_feed_exporter(struct model *m)
{
	unsigned int before = device_n_operations(&m->device);
	uint8_t *at = NULL;
	size_t want = export_core_want(&m->core, &at);
	size_t n = model_portion(m, stream_len(&m->to_exporter));

	if (want < n)
		n = want;
	if (n == 0)
		return false;
	memcpy(at, m->to_exporter.bytes + m->to_exporter.at, n);
	m->to_exporter.at += n;
	MODEL_CHECK(export_core_got(&m->core, n, m->now_usec) == 0);
	MODEL_CHECK(device_n_operations(&m->device) <= before + 1);
	return true;
}

static inline bool model_drain_exporter(struct model *m)
{
	struct iovec iov[9];
	int n_iov = export_core_output(&m->core, iov, ARRAY_SIZE(iov));
	size_t total = 0;

	for (int i = 0; i < n_iov; i++) {
		size_t n = model_portion(m, iov[i].iov_len);

		stream_put(&m->to_importer, iov[i].iov_base, n);
		total += n;
		if (n < iov[i].iov_len)
			break;
	}
	export_core_sent(&m->core, total);
	return total > 0;
}

/* Exporter's output -> filter -> client. Stops for good at a fault. */
static inline bool model_move_replies(struct model *m, bool strict)
{
	struct model_stream *from = &m->to_importer;
	uint8_t pdu[USBIP_HEADER];
	size_t pass = 0, len = model_portion(m, stream_len(from));
	bool moved = false;
	uint8_t *exact;

	if (m->fault)
		return false;
	while (import_filter_insert_reply(&m->filter, pdu)) {
		stream_put(&m->client.received, pdu, sizeof(pdu));
		moved = true;
	}
	exact = malloc(len + 1);
	MODEL_CHECK(exact);
	memcpy(exact, from->bytes + from->at, len);
	m->fault = import_filter_replies(&m->filter, exact, len, m->now_usec, &pass);
	stream_put(&m->client.received, exact, pass);
	/* what was held back is shown again as the filter left it */
	memcpy(from->bytes + from->at, exact, len);
	from->at += pass;
	client_receive(&m->client, strict);
	free(exact);
	return moved || pass > 0;
}

/* After a fault: every request that went out is answered all the same. */
static inline void model_let_go(struct model *m)
{
	static uint8_t bytes[IMPORT_LET_GO_MAX];
	size_t n;

	while ((n = import_filter_let_go(&m->filter, bytes)) > 0)
		stream_put(&m->client.received, bytes, n);
	client_receive(&m->client, false);
	MODEL_CHECK(stream_len(&m->client.received) == 0);
	for (size_t i = 0; i < MODEL_URBS; i++)
		MODEL_CHECK(!m->client.urbs[i].in_flight);
}

static inline bool model_move(struct model *m, bool strict)
{
	bool moved = model_move_commands(m);

	moved |= model_feed_exporter(m);
	MODEL_CHECK(export_core_process(&m->core, m->now_usec) == 0);
	moved |= export_core_again(&m->core);
	moved |= model_drain_exporter(m);
	moved |= model_move_replies(m, strict);
	return moved;
}

/* Everything ends: nothing may be left anywhere. */
static inline void model_settle(struct model *m, bool strict)
{
	bool moved = true;

	m->device.calm = true;
	m->small_steps = false;
	while (moved) {
		moved = model_move(m, strict);
		if (m->device.n_held > 0) {
			device_end(&m->device, model_random(&m->random, (uint32_t)m->device.n_held));
			moved = true;
		}
	}
}

static inline void model_deinit(struct model *m)
{
	export_core_deinit(&m->core);
}

static inline void model_free(struct model *m)
{
	free(m->client.sends.bytes);
	free(m->client.received.bytes);
	free(m->to_exporter.bytes);
	free(m->to_importer.bytes);
	free(m);
}
