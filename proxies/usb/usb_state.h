/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which configuration and alternate settings a device is in, and so which endpoints exist now: the snapshot says what
 * is possible, this says what is. Both ends of a session keep one. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/usbip/descriptors.h"

enum usb_transfer_type { USB_CONTROL = 0, USB_ISOCHRONOUS = 1, USB_BULK = 2, USB_INTERRUPT = 3 };

struct usb_state {
	const struct usb_descriptors *descriptors;
	const struct usb_configuration *configuration; /* NULL: not configured */
	uint8_t alternates[256];                       /* by interface number */
	const struct usb_endpoint *endpoints[32];      /* active ones, by number and direction */
};

/* Not configured. `descriptors` must outlive the state. */
void usb_state_init(struct usb_state *state, const struct usb_descriptors *descriptors);

/* Value 0: not configured. All alternate settings become 0. 0, or 1 when the snapshot has no such configuration. */
int usb_state_set_configuration(struct usb_state *state, uint8_t value);

/* 0, or 1 when the active configuration has no such alternate setting. */
int usb_state_set_interface(struct usb_state *state, uint8_t interface, uint8_t alternate);

/* An endpoint that exists now, by bEndpointAddress; NULL otherwise. Never endpoint 0. */
const struct usb_endpoint *usb_state_endpoint(const struct usb_state *state, uint8_t address);

/* An endpoint with that address in any alternate setting of any configuration; NULL when there is none. */
const struct usb_endpoint *usb_state_endpoint_anywhere(const struct usb_state *state, uint8_t address);

/* The same in any alternate setting of the active configuration. */
const struct usb_endpoint *usb_state_endpoint_possible(const struct usb_state *state, uint8_t address);

/* Whether the active configuration has that interface. */
bool usb_state_has_interface(const struct usb_state *state, uint8_t interface);

/* Whether the endpoint exists now and belongs to that interface. */
bool usb_state_endpoint_is_of(const struct usb_state *state, uint8_t address, uint8_t interface);

static inline enum usb_transfer_type usb_endpoint_type(const struct usb_endpoint *endpoint)
{
	return (enum usb_transfer_type)(endpoint->attributes & 3);
}
