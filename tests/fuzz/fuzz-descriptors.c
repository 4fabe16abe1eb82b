/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UD14: any bytes as a snapshot and as descriptors; what is accepted is within its bounds and found again. */
#include <assert.h>

#include "lib/usbip/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct usb_descriptors *d, size_t len)
{
	assert(d->n_configurations >= 1 && d->n_configurations <= LIMIT_CONFIGS);
	assert(d->n_interface_codes <= LIMIT_INTERFACES && d->n_endpoints <= USB_MAX_ENDPOINTS);
	for (size_t i = 0; i < d->n_configurations; i++) {
		const struct usb_configuration *c = &d->configurations[i];

		assert(usb_find_configuration(d, c->value) == c);
		assert(c->raw_len >= 9 && c->raw_offset >= 18 && c->raw_offset + c->raw_len <= len);
		for (size_t k = 0; k < c->n_altsettings; k++) {
			const struct usb_altsetting *a = &d->altsettings[c->first_altsetting + k];

			assert(usb_find_altsetting(d, c, a->interface, a->alternate) == a);
			for (size_t e = 0; e < a->n_endpoints; e++)
				assert(usb_find_endpoint(d, a, d->endpoints[a->first_endpoint + e].address) ==
				       &d->endpoints[a->first_endpoint + e]);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct usb_descriptors d;
	static struct usb_snapshot s;
	static uint8_t again[LIMIT_SNAPSHOT];

	if (usb_descriptors_parse(data, size, &d) == 0)
		check(&d, size);
	if (usb_snapshot_parse(data, size, &s) == 0) {
		check(&s.descriptors, s.raw_len);
		assert(usb_snapshot_build(s.speed, s.serial, s.raw, s.raw_len, again) == size);
		for (size_t i = 0; i < size; i++)
			assert(again[i] == data[i]);
	}
	return 0;
}
