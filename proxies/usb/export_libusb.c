/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * export_core's operations on a real device. Facts of libusb and usbfs that shape it:
 *   - libusb never sees the system's device list: no discovery, no sysfs, just the fd that the agent opened; so it would
 *     ask the device for its active configuration, and a device can lie;
 *   - a cancelled transfer still carries what had arrived before, and is reported as cancelled even when it was whole;
 *   - set_configuration, set_interface, clear_halt and reset block in the kernel, for at most 5 s when the device does not
 *     answer (drivers/usb/core: USB_CTRL_SET_TIMEOUT); other transfers go on meanwhile, only their replies wait;
 *   - usbfs refuses transfers beyond its memory limit (16 MB for all its users): ENOMEM means later, not never;
 *   - libusb splits long transfers by itself: isochronous ones into kernel URBs of 128 packets, which follow each other.
 * There is no close: the process ends, the kernel kills the URBs and drops the claims, and the device stays unbound.
 */
#include <errno.h>
#include <libusb.h>
#include <linux/usbdevice_fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/wire/messages.h"
#include "proxies/usb/export_libusb.h"

struct export_ticket {
	struct export_libusb *device;
	struct export_urb *urb;
	struct libusb_transfer *transfer; /* kept for the next use */
	int capacity;                     /* isochronous packets that it has room for */
	struct export_ticket *next_free;
};

struct export_libusb {
	int fd;
	struct libusb_context *context;
	struct libusb_device_handle *handle;
	const struct usb_snapshot *snapshot;
	struct export_core *core;
	struct pollfd pollfds[EXPORT_LIBUSB_POLLFDS];
	int n_pollfds;
	bool claimed[256];
	struct export_ticket *free_tickets;
	struct export_ticket tickets[LIMIT_URBS];
};

/* Opening ------------------------------------------------------------------------------------------------------- */

/* The descriptors as the kernel read them at the last enumeration or reset: are they still the snapshot's? */
static int check_identity(const struct export_libusb *d)
{
	_cleanup_free_ uint8_t *bytes = malloc(LIMIT_SNAPSHOT + 1);
	size_t len = 0;
	int speed;

	if (!bytes)
		return -ENOMEM;
	if (lseek(d->fd, 0, SEEK_SET) < 0)
		return OUTCOME_OPEN_FAILED;
	while (len < LIMIT_SNAPSHOT + 1) {
		ssize_t n = read(d->fd, bytes + len, LIMIT_SNAPSHOT + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENODEV ? OUTCOME_UNPLUGGED : OUTCOME_OPEN_FAILED;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (len != d->snapshot->raw_len || memcmp(bytes, d->snapshot->raw, len) != 0)
		return OUTCOME_CHANGED;
	speed = ioctl(d->fd, USBDEVFS_GET_SPEED);
	if (speed >= 0 && speed != d->snapshot->speed)
		return OUTCOME_CHANGED;
	return 0;
}

/* All interfaces of configuration `value`, away from the kernel's drivers first, as they can belong together. */
static int claim_all(struct export_libusb *d, uint8_t value)
{
	const struct usb_descriptors *desc = &d->snapshot->descriptors;
	const struct usb_configuration *c = usb_find_configuration(desc, value);

	memset(d->claimed, 0, sizeof(d->claimed));
	for (size_t i = 0; c && i < c->n_altsettings; i++)
		(void)libusb_detach_kernel_driver(d->handle, desc->altsettings[c->first_altsetting + i].interface);
	for (size_t i = 0; c && i < c->n_altsettings; i++) {
		uint8_t interface = desc->altsettings[c->first_altsetting + i].interface;
		int r;

		if (d->claimed[interface])
			continue;
		r = libusb_claim_interface(d->handle, interface);
		if (r)
			return r;
		d->claimed[interface] = true;
	}
	return 0;
}

static void release_all(struct export_libusb *d)
{
	for (int i = 0; i < (int)ARRAY_SIZE(d->claimed); i++)
		if (d->claimed[i])
			(void)libusb_release_interface(d->handle, i);
	memset(d->claimed, 0, sizeof(d->claimed));
}

static int outcome_of(int libusb_error)
{
	if (libusb_error == LIBUSB_ERROR_NO_DEVICE)
		return OUTCOME_UNPLUGGED;
	if (libusb_error == LIBUSB_ERROR_NO_MEM)
		return -ENOMEM;
	return libusb_error == LIBUSB_ERROR_BUSY ? OUTCOME_BUSY : OUTCOME_OPEN_FAILED;
}

static int collect_pollfds(struct export_libusb *d)
{
	const struct libusb_pollfd **list = libusb_get_pollfds(d->context);

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; list[i] && d->n_pollfds < EXPORT_LIBUSB_POLLFDS; i++)
		d->pollfds[d->n_pollfds++] = (struct pollfd){.fd = list[i]->fd, .events = list[i]->events};
	libusb_free_pollfds(list);
	return 0;
}

static int take_over(struct export_libusb *d, uint8_t configuration)
{
	int r;

	if (configuration != 0 && !usb_find_configuration(&d->snapshot->descriptors, configuration))
		return OUTCOME_CHANGED;
	r = claim_all(d, configuration);
	if (r) {
		log_error("cannot claim the device's interfaces: %s", libusb_error_name(r));
		return outcome_of(r);
	}
	r = libusb_reset_device(d->handle);
	if (r == LIBUSB_ERROR_NOT_FOUND)
		return OUTCOME_CHANGED;
	if (r) {
		log_error("cannot reset the device: %s", libusb_error_name(r));
		return outcome_of(r);
	}
	return check_identity(d);
}

int export_libusb_open(int fd, const struct usb_snapshot *snapshot, uint8_t configuration,
		       struct export_libusb **ret_device)
{
	struct export_libusb *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->fd = fd;
	d->snapshot = snapshot;
	for (size_t i = 0; i < LIMIT_URBS; i++) {
		d->tickets[i].device = d;
		d->tickets[i].next_free = d->free_tickets;
		d->free_tickets = &d->tickets[i];
	}
	r = check_identity(d);
	if (r) {
		free(d);
		return r;
	}
	/* what is made from here on lives until the process ends, also when it is not enough */
	*ret_device = d;
	r = libusb_set_option(NULL, LIBUSB_OPTION_NO_DEVICE_DISCOVERY);
	if (r == 0)
		r = libusb_init(&d->context);
	if (r == 0)
		r = libusb_wrap_sys_device(d->context, fd, &d->handle);
	if (r) {
		log_error("libusb cannot use the device: %s", libusb_error_name(r));
		return outcome_of(r);
	}
	r = take_over(d, configuration);
	return r ? r : collect_pollfds(d);
}

void export_libusb_attach(struct export_libusb *device, struct export_core *core)
{
	device->core = core;
}

/* Transfers ----------------------------------------------------------------------------------------------------- */

static int32_t status_of(enum libusb_transfer_status status)
{
	switch (status) {
	case LIBUSB_TRANSFER_COMPLETED:
		return WIRE_STATUS_OK;
	case LIBUSB_TRANSFER_CANCELLED:
		return WIRE_STATUS_UNLINKED;
	case LIBUSB_TRANSFER_STALL:
		return WIRE_STATUS_STALL;
	case LIBUSB_TRANSFER_NO_DEVICE:
		return WIRE_STATUS_NO_DEVICE;
	case LIBUSB_TRANSFER_OVERFLOW:
		return WIRE_STATUS_OVERFLOW;
	case LIBUSB_TRANSFER_TIMED_OUT:
		return WIRE_STATUS_TIMED_OUT;
	case LIBUSB_TRANSFER_ERROR:
		break;
	}
	return WIRE_STATUS_PROTOCOL;
}

static void LIBUSB_CALL transfer_ended(struct libusb_transfer *transfer)
{
	struct export_ticket *ticket = transfer->user_data;
	struct export_libusb *d = ticket->device;
	struct export_urb *urb = ticket->urb;

	for (uint32_t i = 0; i < urb->n_packets; i++) {
		urb->packets[i].actual_length = transfer->iso_packet_desc[i].actual_length;
		urb->packets[i].status = status_of(transfer->iso_packet_desc[i].status);
	}
	ticket->urb = NULL;
	ticket->next_free = d->free_tickets;
	d->free_tickets = ticket;
	export_core_complete(d->core, urb, status_of(transfer->status), (uint32_t)transfer->actual_length);
}

static int ticket_prepare(struct export_ticket *ticket, int n_packets)
{
	if (ticket->transfer && ticket->capacity >= n_packets)
		return 0;
	libusb_free_transfer(ticket->transfer);
	ticket->transfer = libusb_alloc_transfer(n_packets);
	ticket->capacity = n_packets;
	return ticket->transfer ? 0 : -ENOMEM;
}

static void fill_transfer(struct export_libusb *d, struct export_ticket *ticket, struct export_urb *urb)
{
	static const unsigned char types[] = {
		[USB_CONTROL] = LIBUSB_TRANSFER_TYPE_CONTROL,
		[USB_ISOCHRONOUS] = LIBUSB_TRANSFER_TYPE_ISOCHRONOUS,
		[USB_BULK] = LIBUSB_TRANSFER_TYPE_BULK,
		[USB_INTERRUPT] = LIBUSB_TRANSFER_TYPE_INTERRUPT,
	};
	struct libusb_transfer *t = ticket->transfer;
	uint32_t packed = 0;

	for (uint32_t i = 0; i < urb->n_packets; i++) {
		t->iso_packet_desc[i].length = urb->packets[i].length;
		packed += urb->packets[i].length;
	}
	t->dev_handle = d->handle;
	t->flags = 0;
	t->endpoint = urb->address;
	t->type = types[urb->type];
	t->timeout = 0;
	t->length = (int)(urb->type == USB_ISOCHRONOUS ? packed
						       : urb->length + (urb->type == USB_CONTROL ? EXPORT_SETUP : 0));
	t->callback = transfer_ended;
	t->user_data = ticket;
	t->buffer = urb->buffer;
	t->num_iso_packets = (int)urb->n_packets;
	if (urb->type == USB_BULK && !urb->in && (urb->flags & USBIP_FLAG_ZERO_PACKET))
		t->flags = LIBUSB_TRANSFER_ADD_ZERO_PACKET;
}

static int device_submit(void *device, struct export_urb *urb)
{
	struct export_libusb *d = device;
	struct export_ticket *ticket = d->free_tickets;
	int r;

	if (!ticket || ticket_prepare(ticket, (int)urb->n_packets))
		return EXPORT_LATER;
	fill_transfer(d, ticket, urb);
	ticket->urb = urb;
	urb->transfer = ticket;
	r = libusb_submit_transfer(ticket->transfer);
	if (r == 0) {
		d->free_tickets = ticket->next_free;
		return 0;
	}
	ticket->urb = NULL;
	if (r == LIBUSB_ERROR_NO_MEM)
		return EXPORT_LATER;
	if (r == LIBUSB_ERROR_NO_DEVICE)
		return EXPORT_GONE;
	return urb->type == USB_CONTROL ? WIRE_STATUS_STALL : WIRE_STATUS_PROTOCOL;
}

static void device_cancel(void *device, struct export_urb *urb)
{
	struct export_ticket *ticket = urb->transfer;

	(void)device;
	(void)libusb_cancel_transfer(ticket->transfer);
}

/* Blocking operations ------------------------------------------------------------------------------------------- */

static int operation_result(int libusb_error)
{
	if (libusb_error == 0)
		return 0;
	return libusb_error == LIBUSB_ERROR_NO_DEVICE ? (int)EXPORT_GONE : (int)WIRE_STATUS_STALL;
}

/* A failure in the middle ends the session, so there is no way back from it here. */
static int device_set_configuration(void *device, uint8_t value)
{
	struct export_libusb *d = device;
	int r;

	release_all(d);
	r = libusb_set_configuration(d->handle, value == 0 ? -1 : value);
	return operation_result(r ? r : claim_all(d, value));
}

static int device_set_interface(void *device, uint8_t interface, uint8_t alternate)
{
	struct export_libusb *d = device;

	return operation_result(libusb_set_interface_alt_setting(d->handle, interface, alternate));
}

static int device_clear_halt(void *device, uint8_t address)
{
	struct export_libusb *d = device;

	return operation_result(libusb_clear_halt(d->handle, address));
}

static int device_reset(void *device)
{
	struct export_libusb *d = device;
	int r = libusb_reset_device(d->handle);

	if (r == LIBUSB_ERROR_NOT_FOUND)
		return EXPORT_CHANGED;
	if (r == LIBUSB_ERROR_NO_DEVICE)
		return EXPORT_GONE;
	if (r)
		return WIRE_STATUS_PROTOCOL;
	r = check_identity(d);
	if (r == 0)
		return 0;
	return r == OUTCOME_UNPLUGGED ? EXPORT_GONE : EXPORT_CHANGED;
}

const struct export_device_ops export_libusb_ops = {
	.submit = device_submit,
	.cancel = device_cancel,
	.set_configuration = device_set_configuration,
	.set_interface = device_set_interface,
	.clear_halt = device_clear_halt,
	.reset = device_reset,
};

/* Events -------------------------------------------------------------------------------------------------------- */

int export_libusb_pollfds(const struct export_libusb *device, struct pollfd *fds)
{
	memcpy(fds, device->pollfds, (size_t)device->n_pollfds * sizeof(fds[0]));
	return device->n_pollfds;
}

int export_libusb_handle(struct export_libusb *d, const struct pollfd *fds, int n_fds)
{
	struct timeval now = {0, 0};
	bool ready = false, gone = false;

	for (int i = 0; i < n_fds; i++) {
		ready |= fds[i].revents != 0;
		gone |= fds[i].fd == d->fd && (fds[i].revents & (POLLERR | POLLHUP));
	}
	if (ready)
		(void)libusb_handle_events_timeout_completed(d->context, &now, NULL);
	return gone ? EXPORT_GONE : 0;
}
