/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device writes these bytes, so every length in them is a lie until proven: one cursor (usb_next) hands out each
 * descriptor with its bytes already inside its parent, and everything else reads only through that.
 * Layouts: USB 3.2 specification, tables 9-11 (device), 9-22 (configuration), 9-23 (IAD), 9-24 (interface),
 * 9-26 (endpoint), 9-29 (SuperSpeed endpoint companion).
 */
#include <assert.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/usbip/descriptors.h"

enum usb_descriptor_type {
	USB_DT_DEVICE = 1,
	USB_DT_CONFIGURATION = 2,
	USB_DT_INTERFACE = 4,
	USB_DT_ENDPOINT = 5,
	USB_DT_ASSOCIATION = 11,
	USB_DT_CS_INTERFACE = 0x24,
	USB_DT_CS_ENDPOINT = 0x25,
	USB_DT_SS_COMPANION = 0x30,
};

#define USB_CLASS_HUB 9u
#define USB_DEVICE_SIZE 18u
#define USB_CONFIGURATION_SIZE 9u
#define USB_ADDRESS_MASK 0x8fu /* number and direction; the other bits are reserved and have no meaning */

struct usb_cursor {
	const uint8_t *at;
	size_t left;
};

/* What is known while one configuration is walked. */
struct usb_walk {
	struct usb_descriptors *d;
	struct usb_configuration *c;
	struct usb_altsetting *altsetting; /* the last one, NULL before any interface */
	uint8_t endpoints_promised;        /* bNumEndpoints of it */
	bool companion_may_follow;
	uint8_t interfaces[32];   /* bits: bInterfaceNumber seen */
	uint8_t associations[32]; /* bits: interfaces that an association names */
};

static void set_bit(uint8_t bits[32], unsigned int n)
{
	bits[n / 8] |= (uint8_t)(1u << n % 8);
}

static bool get_bit(const uint8_t bits[32], unsigned int n)
{
	return bits[n / 8] & 1u << n % 8;
}

/* The next descriptor of the cursor, whole: 0, or a fault. Its length is (*ret_bytes)[0], at least 2. */
static int usb_next(struct usb_cursor *cursor, const uint8_t **ret_bytes)
{
	if (cursor->left < 2)
		return USB_FAULT_SHORT;
	if (cursor->at[0] < 2 || cursor->at[0] > cursor->left)
		return USB_FAULT_LENGTH;
	*ret_bytes = cursor->at;
	cursor->left -= cursor->at[0];
	cursor->at += cursor->at[0];
	return 0;
}

static int add_interface_code(struct usb_descriptors *d, const uint8_t code[3])
{
	for (size_t i = 0; i < d->n_interface_codes; i++)
		if (memcmp(d->interface_codes[i], code, 3) == 0)
			return 0;
	if (d->n_interface_codes >= LIMIT_INTERFACES)
		return USB_FAULT_TOO_MANY;
	memcpy(d->interface_codes[d->n_interface_codes++], code, 3);
	return 0;
}

/*
 * Linux binds drivers by the device's own class as well (usbcore's hub driver, btusb, usblp: modules.alias of Debian 12), so
 * it is one more code; unless it says no more than that the interfaces' count: USB 3.2, table 9-11; CDC 1.2, table 2;
 * the interface association.
 */
static int add_device_code(struct usb_descriptors *d)
{
	static const uint8_t see_interfaces[][3] = {{0, 0, 0}, {2, 0, 0}, {0xef, 2, 1}};
	const uint8_t code[3] = {d->class_code, d->subclass, d->protocol};

	for (size_t i = 0; i < ARRAY_SIZE(see_interfaces); i++)
		if (memcmp(code, see_interfaces[i], sizeof(code)) == 0)
			return 0;
	return add_interface_code(d, code);
}

static int take_interface(struct usb_walk *w, const uint8_t *bytes)
{
	struct usb_descriptors *d = w->d;

	if (usb_find_altsetting(d, w->c, bytes[2], bytes[3]))
		return USB_FAULT_ORDER;
	if (w->c->n_altsettings >= USB_MAX_ALTSETTINGS)
		return USB_FAULT_TOO_MANY;
	if (!get_bit(w->interfaces, bytes[2])) {
		if (w->c->n_interfaces >= LIMIT_INTERFACES)
			return USB_FAULT_TOO_MANY;
		w->c->n_interfaces++;
		set_bit(w->interfaces, bytes[2]);
	}
	assert(d->n_altsettings < ARRAY_SIZE(d->altsettings));
	w->altsetting = &d->altsettings[d->n_altsettings++];
	*w->altsetting = (struct usb_altsetting){
		.interface = bytes[2],
		.alternate = bytes[3],
		.class_code = bytes[5],
		.subclass = bytes[6],
		.protocol = bytes[7],
		.first_endpoint = d->n_endpoints,
	};
	w->endpoints_promised = bytes[4];
	w->c->n_altsettings++;
	return add_interface_code(d, bytes + 5);
}

static int take_endpoint(struct usb_walk *w, const uint8_t *bytes)
{
	struct usb_descriptors *d = w->d;
	uint8_t address = bytes[2] & USB_ADDRESS_MASK;

	if (!w->altsetting)
		return USB_FAULT_ORDER;
	if (!(address & 0x0f) || w->altsetting->n_endpoints >= w->endpoints_promised ||
	    usb_find_endpoint(d, w->altsetting, address))
		return USB_FAULT_ENDPOINT;
	if (d->n_endpoints >= USB_MAX_ENDPOINTS)
		return USB_FAULT_TOO_MANY;
	d->endpoints[d->n_endpoints++] = (struct usb_endpoint){
		.address = address,
		.attributes = bytes[3],
		.max_packet = get_le16(bytes + 4),
		.interval = bytes[6],
	};
	w->altsetting->n_endpoints++;
	w->companion_may_follow = true;
	return 0;
}

static int take_companion(struct usb_walk *w, const uint8_t *bytes)
{
	struct usb_endpoint *e;

	if (!w->altsetting || w->altsetting->n_endpoints == 0)
		return USB_FAULT_ORDER;
	if (!w->companion_may_follow)
		return 0;
	e = &w->d->endpoints[w->d->n_endpoints - 1];
	e->max_burst = bytes[2];
	e->mult = bytes[3] & 3;
	e->bytes_per_interval = get_le16(bytes + 4);
	w->companion_may_follow = false;
	return 0;
}

static int take_association(struct usb_walk *w, const uint8_t *bytes)
{
	unsigned int end = (unsigned int)bytes[2] + bytes[3];

	if (end > 256)
		return USB_FAULT_ORDER;
	for (unsigned int i = bytes[2]; i < end; i++)
		set_bit(w->associations, i);
	return 0;
}

static int take_class_specific(struct usb_walk *w, const uint8_t *bytes)
{
	(void)bytes;
	return w->altsetting ? 0 : USB_FAULT_ORDER;
}

/* The types that mean something to us; all others are stepped over. */
static const struct {
	uint8_t type;
	uint8_t min_length;
	int (*take)(struct usb_walk *w, const uint8_t *bytes);
} usb_takers[] = {
	{USB_DT_INTERFACE, 9, take_interface},         {USB_DT_ENDPOINT, 7, take_endpoint},
	{USB_DT_SS_COMPANION, 6, take_companion},      {USB_DT_ASSOCIATION, 8, take_association},
	{USB_DT_CS_INTERFACE, 2, take_class_specific}, {USB_DT_CS_ENDPOINT, 2, take_class_specific},
};

static int take_any(struct usb_walk *w, const uint8_t *bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(usb_takers); i++) {
		if (usb_takers[i].type != bytes[1])
			continue;
		if (bytes[0] < usb_takers[i].min_length)
			return USB_FAULT_LENGTH;
		return usb_takers[i].take(w, bytes);
	}
	return 0;
}

/* Reads the head of the configuration at `offset` into its place in the tree. */
static int begin_configuration(struct usb_descriptors *d, const uint8_t *bytes, size_t len, size_t offset)
{
	struct usb_cursor cursor = {bytes + offset, len - offset};
	const uint8_t *head = NULL;
	uint16_t total;
	int r;

	if (cursor.left == 0)
		return USB_FAULT_CONFIGURATIONS;
	r = usb_next(&cursor, &head);
	if (r)
		return r;
	if (head[1] != USB_DT_CONFIGURATION)
		return USB_FAULT_TYPE;
	if (head[0] < USB_CONFIGURATION_SIZE)
		return USB_FAULT_LENGTH;
	total = get_le16(head + 2);
	if (total < USB_CONFIGURATION_SIZE || total > len - offset)
		return USB_FAULT_TOTAL_LENGTH;
	if (head[0] > total)
		return USB_FAULT_LENGTH;
	if (head[5] == 0 || usb_find_configuration(d, head[5]))
		return USB_FAULT_CONFIGURATIONS;
	d->configurations[d->n_configurations++] = (struct usb_configuration){
		.value = head[5],
		.first_altsetting = d->n_altsettings,
		.raw_offset = (uint32_t)offset,
		.raw_len = total,
	};
	return 0;
}

static int walk_configuration(struct usb_descriptors *d, struct usb_configuration *c, const uint8_t *bytes)
{
	struct usb_walk w = {.d = d, .c = c};
	uint8_t head_len = bytes[c->raw_offset];
	struct usb_cursor cursor = {bytes + c->raw_offset + head_len, c->raw_len - head_len};

	while (cursor.left > 0) {
		const uint8_t *descriptor = NULL;
		int r = usb_next(&cursor, &descriptor);

		if (r)
			return r;
		r = take_any(&w, descriptor);
		if (r)
			return r;
	}
	for (size_t i = 0; i < sizeof(w.associations); i++)
		if (w.associations[i] & ~w.interfaces[i])
			return USB_FAULT_ORDER;
	return 0;
}

int usb_descriptors_parse(const uint8_t *untrusted_bytes, size_t len, struct usb_descriptors *ret_descriptors)
{
	struct usb_descriptors *d = ret_descriptors;
	const uint8_t *bytes = untrusted_bytes;
	size_t offset = USB_DEVICE_SIZE;
	unsigned int n_configurations;

	if (len < USB_DEVICE_SIZE)
		return USB_FAULT_SHORT;
	if (bytes[1] != USB_DT_DEVICE)
		return USB_FAULT_TYPE;
	if (bytes[0] != USB_DEVICE_SIZE)
		return USB_FAULT_LENGTH;
	n_configurations = bytes[17];
	if (n_configurations == 0 || n_configurations > LIMIT_CONFIGS)
		return USB_FAULT_CONFIGURATIONS;
	*d = (struct usb_descriptors){
		.usb_version = get_le16(bytes + 2),
		.class_code = bytes[4],
		.subclass = bytes[5],
		.protocol = bytes[6],
		.max_packet_0 = bytes[7],
		.vendor = get_le16(bytes + 8),
		.product = get_le16(bytes + 10),
		.device_version = get_le16(bytes + 12),
		.i_manufacturer = bytes[14],
		.i_product = bytes[15],
		.i_serial = bytes[16],
	};
	for (unsigned int i = 0; i < n_configurations; i++) {
		int r = begin_configuration(d, bytes, len, offset);

		if (r)
			return r;
		r = walk_configuration(d, &d->configurations[i], bytes);
		if (r)
			return r;
		offset += d->configurations[i].raw_len;
	}
	return offset == len ? add_device_code(d) : USB_FAULT_TRAILING;
}

bool usb_is_hub(const struct usb_descriptors *d)
{
	for (size_t i = 0; i < d->n_interface_codes; i++)
		if (d->interface_codes[i][0] == USB_CLASS_HUB)
			return true;
	return false;
}

const char *usb_descriptor_fault_text(int fault)
{
	static const char *const texts[USB_FAULT_COUNT] = {
		[0] = "no fault",
		[USB_FAULT_SHORT] = "the descriptors end inside a descriptor",
		[USB_FAULT_LENGTH] = "a descriptor has an impossible length",
		[USB_FAULT_TYPE] = "a device or configuration descriptor is missing where one must be",
		[USB_FAULT_TOTAL_LENGTH] = "a configuration's total length is impossible",
		[USB_FAULT_CONFIGURATIONS] = "the number or a value of the configurations is impossible",
		[USB_FAULT_TOO_MANY] = "there are too many alternate settings, endpoints or kinds of interface",
		[USB_FAULT_ORDER] = "descriptors are in an impossible order, or an alternate setting comes twice",
		[USB_FAULT_ENDPOINT] = "an endpoint is impossible or comes twice",
		[USB_FAULT_TRAILING] = "there are bytes after the last configuration",
	};

	if (fault < 0 || fault >= USB_FAULT_COUNT)
		return "the head of the snapshot is not valid";
	return texts[fault];
}

const struct usb_configuration *usb_find_configuration(const struct usb_descriptors *d, uint8_t value)
{
	for (size_t i = 0; i < d->n_configurations; i++)
		if (d->configurations[i].value == value)
			return &d->configurations[i];
	return NULL;
}

const struct usb_altsetting *usb_find_altsetting(const struct usb_descriptors *d, const struct usb_configuration *c,
						 uint8_t interface, uint8_t alternate)
{
	for (size_t i = 0; i < c->n_altsettings; i++) {
		const struct usb_altsetting *a = &d->altsettings[c->first_altsetting + i];

		if (a->interface == interface && a->alternate == alternate)
			return a;
	}
	return NULL;
}

const struct usb_endpoint *usb_find_endpoint(const struct usb_descriptors *d, const struct usb_altsetting *a,
					     uint8_t address)
{
	for (size_t i = 0; i < a->n_endpoints; i++)
		if (d->endpoints[a->first_endpoint + i].address == address)
			return &d->endpoints[a->first_endpoint + i];
	return NULL;
}
