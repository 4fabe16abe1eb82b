/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests on endpoint 0: one table says which are not simply passed to the device. Numbers from USB 2.0, tables 9-2 to
 * 9-4 and 11-16.
 */
#include <string.h>

#include "lib/base/base.h"
#include "proxies/usb/export_core.h"

#define TYPE_MASK 0x60u /* of bmRequestType; 0: standard */
#define TYPE_VENDOR 0x40u
#define RECIPIENT_MASK 0x1fu
#define RECIPIENT_INTERFACE 1u
#define RECIPIENT_ENDPOINT 2u
#define CLASS_PRINTER 7u

static uint16_t value_of(const struct export_urb *urb)
{
	return get_le16(urb->buffer + 2);
}

static uint16_t index_of(const struct export_urb *urb)
{
	return get_le16(urb->buffer + 4);
}

static uint16_t length_of(const struct export_urb *urb)
{
	return get_le16(urb->buffer + 6);
}

static void stall(struct export_core *core, struct export_urb *urb)
{
	export_urb_finish(core, urb, WIRE_STATUS_STALL, 0);
}

/* A blocking operation has returned `r`: 0, a wire_status or an export_outcome. */
static void finish_operation(struct export_core *core, struct export_urb *urb, int r)
{
	if (r > 0)
		export_note_outcome(core, r);
	export_urb_finish(core, urb, r > 0 ? WIRE_STATUS_NO_DEVICE : r, 0);
}

static void set_configuration(struct export_core *core, struct export_urb *urb)
{
	uint16_t value = value_of(urb);

	/* 0 as well: a device that is unconfigured and configured again gets its own qube's drivers probed */
	if (value > 255 || !usb_find_configuration(core->state.descriptors, (uint8_t)value)) {
		stall(core, urb);
		return;
	}
	export_barrier_begin(core, urb, EXPORT_SET_CONFIGURATION);
}

static void set_interface(struct export_core *core, struct export_urb *urb)
{
	uint16_t interface = index_of(urb), alternate = value_of(urb);

	if (interface > 255 || alternate > 255 || !core->state.configuration ||
	    !usb_find_altsetting(core->state.descriptors, core->state.configuration, (uint8_t)interface,
				 (uint8_t)alternate)) {
		stall(core, urb);
		return;
	}
	export_barrier_begin(core, urb, EXPORT_SET_INTERFACE);
}

static void clear_feature_of_endpoint(struct export_core *core, struct export_urb *urb)
{
	uint16_t endpoint = index_of(urb);

	if (value_of(urb) != 0 || (endpoint & 0x7f) == 0) {
		export_urb_submit(core, urb);
		return;
	}
	if ((endpoint & ~0x8fu) != 0 || !usb_state_endpoint(&core->state, (uint8_t)endpoint)) {
		stall(core, urb);
		return;
	}
	/* usbfs and xHCI warn and refuse when URBs are in flight there */
	export_barrier_begin(core, urb, EXPORT_CLEAR_HALT);
}

static void set_port_feature(struct export_core *core, struct export_urb *urb)
{
	static const uint16_t port_reset = 4;

	if (value_of(urb) == port_reset)
		export_barrier_begin(core, urb, EXPORT_RESET);
	else
		stall(core, urb);
}

static void get_descriptor(struct export_core *core, struct export_urb *urb)
{
	static const uint16_t device_descriptor = 0x0100;
	uint16_t first_read = core->snapshot->speed >= SNAPSHOT_SPEED_SUPER ? 8 : 64;

	if (!core->fresh && value_of(urb) == device_descriptor && length_of(urb) == first_read)
		export_barrier_begin(core, urb, EXPORT_RESET);
	else
		export_urb_submit(core, urb);
}

/* The first row that matches decides; without one the request goes to the device. */
static const struct {
	uint8_t mask, type; /* of bmRequestType */
	uint8_t request;
	void (*handle)(struct export_core *core, struct export_urb *urb);
} control_requests[] = {
	{0xff, 0x80, 6, get_descriptor},   {0xff, 0x00, 9, set_configuration},
	{0xff, 0x01, 11, set_interface},   {0xff, 0x02, 1, clear_feature_of_endpoint},
	{0xff, 0x23, 3, set_port_feature}, {TYPE_MASK, 0, 5, stall}, /* SET_ADDRESS */
	{TYPE_MASK, 0, 7, stall},                                    /* SET_DESCRIPTOR */
	{TYPE_MASK, 0, 9, stall},                                    /* SET_CONFIGURATION in a form that is not USB's */
	{TYPE_MASK, 0, 11, stall},                                   /* SET_INTERFACE likewise */
};

/*
 * The rule of usbfs (drivers/usb/core/devio.c:check_ctrlrecip()), which has a line for the kernel's log each time that a
 * request is to what is not there or not claimed: a client shall not write that log. Every interface of the active
 * configuration is claimed. GET_DEVICE_ID of a printer has interface and alternate setting the other way round.
 */
bool export_control_has_recipient(const struct export_core *core, const struct export_urb *urb)
{
	static const uint8_t get_device_id[2] = {0xa1, 0};
	const struct usb_configuration *c = core->state.configuration;
	uint8_t low = urb->buffer[4], high = urb->buffer[5];
	const struct usb_altsetting *a;

	if ((urb->buffer[0] & TYPE_MASK) == TYPE_VENDOR)
		return true;
	if (c && memcmp(urb->buffer, get_device_id, sizeof(get_device_id)) == 0) {
		a = usb_find_altsetting(core->state.descriptors, c, high, low);
		if (a && a->class_code == CLASS_PRINTER)
			return true;
	}
	switch (urb->buffer[0] & RECIPIENT_MASK) {
	case RECIPIENT_INTERFACE:
		return usb_state_has_interface(&core->state, low);
	case RECIPIENT_ENDPOINT:
		return (low & 0x7f) == 0 || usb_state_endpoint_possible(&core->state, low);
	default:
		return true;
	}
}

void export_control_dispatch(struct export_core *core, struct export_urb *urb)
{
	if (!export_control_has_recipient(core, urb)) {
		stall(core, urb);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(control_requests); i++)
		if ((urb->buffer[0] & control_requests[i].mask) == control_requests[i].type &&
		    urb->buffer[1] == control_requests[i].request) {
			control_requests[i].handle(core, urb);
			return;
		}
	export_urb_submit(core, urb);
}

/* The first interface from `i` on whose alternate setting is not 0; 256: none. */
static unsigned int next_alternate(const struct export_core *core, unsigned int i)
{
	while (i < ARRAY_SIZE(core->state.alternates) && core->state.alternates[i] == 0)
		i++;
	return i;
}

/* What SET_CONFIGURATION with the active value does to the alternate settings, one at a time, without the rest of it. */
static bool restore_alternate(struct export_core *core, struct export_urb *urb)
{
	unsigned int i = next_alternate(core, 0);
	int r = 0;

	if (i < ARRAY_SIZE(core->state.alternates)) {
		r = core->ops->set_interface(core->device, (uint8_t)i, 0);
		if (r == 0)
			(void)usb_state_set_interface(&core->state, (uint8_t)i, 0);
	}
	if (r == 0 && next_alternate(core, i) < ARRAY_SIZE(core->state.alternates))
		return false;
	finish_operation(core, urb, r);
	return true;
}

/* What fails half way leaves the device in a state that is neither the old nor the new one, and nothing to ask it by. */
static int whole(int r)
{
	return r == 0 || r == EXPORT_GONE ? r : (int)EXPORT_CHANGED;
}

static bool do_set_configuration(struct export_core *core, struct export_urb *urb)
{
	uint8_t value = (uint8_t)value_of(urb);
	const struct usb_configuration *active = core->state.configuration;
	int r;

	core->fresh = false;
	if (value == (active ? active->value : 0))
		return restore_alternate(core, urb);
	r = whole(core->ops->set_configuration(core->device, value));
	if (r == 0)
		(void)usb_state_set_configuration(&core->state, value);
	finish_operation(core, urb, r);
	return true;
}

static void do_set_interface(struct export_core *core, struct export_urb *urb)
{
	uint8_t interface = (uint8_t)index_of(urb), alternate = (uint8_t)value_of(urb);
	int r = core->ops->set_interface(core->device, interface, alternate);

	if (r == 0)
		(void)usb_state_set_interface(&core->state, interface, alternate);
	finish_operation(core, urb, r);
}

static void do_reset(struct export_core *core, struct export_urb *urb)
{
	const struct usb_configuration *active = core->state.configuration;
	int r = whole(core->ops->reset(core->device));

	core->fresh = true;
	(void)usb_state_set_configuration(&core->state, active ? active->value : 0);
	if (r == 0 && urb->buffer[0] == 0x80)
		export_urb_submit(core, urb);
	else
		finish_operation(core, urb, r);
}

bool export_control_barrier(struct export_core *core, struct export_urb *urb, enum export_barrier barrier)
{
	switch (barrier) {
	case EXPORT_NO_BARRIER:
		break;
	case EXPORT_CLEAR_HALT:
		finish_operation(core, urb, core->ops->clear_halt(core->device, (uint8_t)index_of(urb)));
		break;
	case EXPORT_SET_INTERFACE:
		do_set_interface(core, urb);
		break;
	case EXPORT_SET_CONFIGURATION:
		return do_set_configuration(core, urb);
	case EXPORT_RESET:
		do_reset(core, urb);
		break;
	}
	return true;
}
