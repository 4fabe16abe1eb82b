/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The active endpoints of a device, worked out again whenever a configuration or an alternate setting changes. */
#include <string.h>

#include "lib/base/base.h"
#include "proxies/usb/usb_state.h"

static unsigned int index_of(uint8_t address)
{
	return (address & 0x0fu) | (address & 0x80u) >> 3;
}

static void find_endpoints(struct usb_state *s)
{
	const struct usb_configuration *c = s->configuration;

	memset(s->endpoints, 0, sizeof(s->endpoints));
	for (size_t i = 0; c && i < c->n_altsettings; i++) {
		const struct usb_altsetting *a = &s->descriptors->altsettings[c->first_altsetting + i];

		if (s->alternates[a->interface] != a->alternate)
			continue;
		for (size_t k = 0; k < a->n_endpoints; k++) {
			const struct usb_endpoint *e = &s->descriptors->endpoints[a->first_endpoint + k];

			if (!s->endpoints[index_of(e->address)])
				s->endpoints[index_of(e->address)] = e;
		}
	}
}

void usb_state_init(struct usb_state *state, const struct usb_descriptors *descriptors)
{
	*state = (struct usb_state){.descriptors = descriptors};
}

int usb_state_set_configuration(struct usb_state *state, uint8_t value)
{
	const struct usb_configuration *c = NULL;

	if (value != 0) {
		c = usb_find_configuration(state->descriptors, value);
		if (!c)
			return 1;
	}
	state->configuration = c;
	memset(state->alternates, 0, sizeof(state->alternates));
	find_endpoints(state);
	return 0;
}

int usb_state_set_interface(struct usb_state *state, uint8_t interface, uint8_t alternate)
{
	if (!state->configuration ||
	    !usb_find_altsetting(state->descriptors, state->configuration, interface, alternate))
		return 1;
	state->alternates[interface] = alternate;
	find_endpoints(state);
	return 0;
}

const struct usb_endpoint *usb_state_endpoint(const struct usb_state *state, uint8_t address)
{
	return state->endpoints[index_of(address)];
}

const struct usb_endpoint *usb_state_endpoint_anywhere(const struct usb_state *state, uint8_t address)
{
	const struct usb_descriptors *d = state->descriptors;

	for (size_t i = 0; i < d->n_endpoints; i++)
		if (d->endpoints[i].address == address)
			return &d->endpoints[i];
	return NULL;
}

const struct usb_endpoint *usb_state_endpoint_possible(const struct usb_state *state, uint8_t address)
{
	const struct usb_configuration *c = state->configuration;
	const struct usb_endpoint *e = NULL;

	for (size_t i = 0; c && !e && i < c->n_altsettings; i++)
		e = usb_find_endpoint(state->descriptors, &state->descriptors->altsettings[c->first_altsetting + i],
				      address);
	return e;
}

bool usb_state_has_interface(const struct usb_state *state, uint8_t interface)
{
	const struct usb_configuration *c = state->configuration;

	for (size_t i = 0; c && i < c->n_altsettings; i++)
		if (state->descriptors->altsettings[c->first_altsetting + i].interface == interface)
			return true;
	return false;
}

bool usb_state_endpoint_is_of(const struct usb_state *state, uint8_t address, uint8_t interface)
{
	const struct usb_endpoint *e = usb_state_endpoint(state, address);
	const struct usb_altsetting *a;
	const struct usb_endpoint *first;

	if (!e || !state->configuration)
		return false;
	a = usb_find_altsetting(state->descriptors, state->configuration, interface, state->alternates[interface]);
	if (!a)
		return false;
	first = &state->descriptors->endpoints[a->first_endpoint];
	return e >= first && e < first + a->n_endpoints;
}
