/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB descriptors from raw bytes: a total parser. Any input gives either a bounded tree or a reason; nothing is
 * read past `len`, nothing is allocated. USB 3.2 specification, chapter 9.6; CDC and class descriptors are stepped
 * over.
 *
 * The input is what Linux gives in sysfs `descriptors` and in a read of a usbfs node: the 18-byte device descriptor,
 * then each configuration with all that belongs to it (wTotalLength bytes).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/limits.h"

#define USB_MAX_ALTSETTINGS \
	128u                   /* per configuration, over all interfaces: real cameras and sound cards stay far below */
#define USB_MAX_ENDPOINTS 512u /* per device, over all configurations and alternate settings */

struct usb_endpoint {
	uint8_t address;    /* bEndpointAddress: number | 0x80 for IN */
	uint8_t attributes; /* bmAttributes; low two bits: 0 control 1 isochronous 2 bulk 3 interrupt */
	uint16_t max_packet;
	uint8_t interval;
	uint16_t bytes_per_interval; /* SuperSpeed companion; 0 if none */
	uint8_t max_burst;           /* SuperSpeed companion bMaxBurst */
	uint8_t mult;                /* SuperSpeed companion, isochronous: bmAttributes & 3 */
};

struct usb_altsetting {
	uint8_t interface; /* bInterfaceNumber */
	uint8_t alternate; /* bAlternateSetting */
	uint8_t class_code, subclass, protocol;
	uint16_t first_endpoint; /* index in usb_descriptors.endpoints */
	uint8_t n_endpoints;
};

struct usb_configuration {
	uint8_t value; /* bConfigurationValue */
	uint8_t n_interfaces;
	uint16_t first_altsetting; /* index in usb_descriptors.altsettings */
	uint16_t n_altsettings;
	uint32_t raw_offset, raw_len; /* its bytes in the input */
};

struct usb_descriptors {
	uint16_t vendor, product, usb_version, device_version;
	uint8_t class_code, subclass, protocol;
	uint8_t max_packet_0;
	uint8_t i_manufacturer, i_product, i_serial; /* string indexes, 0: none */
	uint8_t n_configurations;
	struct usb_configuration configurations[LIMIT_CONFIGS];
	uint16_t n_altsettings;
	struct usb_altsetting altsettings[LIMIT_CONFIGS * USB_MAX_ALTSETTINGS];
	uint16_t n_endpoints;
	struct usb_endpoint endpoints[USB_MAX_ENDPOINTS];
	/* Distinct {class, subclass, protocol} in order of first appearance, over all configurations and alternate
	 * settings; then the device's own, unless it only says that the interfaces' count */
	uint8_t n_interface_codes;
	uint8_t interface_codes[LIMIT_INTERFACES][3];
};

/* Why an input is refused; positive. */
enum usb_descriptor_fault {
	USB_FAULT_SHORT = 1,      /* ends inside a descriptor */
	USB_FAULT_LENGTH,         /* bLength 0, 1, or too small for its type, or past its parent */
	USB_FAULT_TYPE,           /* not a device or configuration descriptor where one must be */
	USB_FAULT_TOTAL_LENGTH,   /* wTotalLength below 9 or past the input */
	USB_FAULT_CONFIGURATIONS, /* 0, more than LIMIT_CONFIGS, or fewer in the input than bNumConfigurations; value 0
				     or twice */
	USB_FAULT_TOO_MANY,       /* alternate settings, endpoints or interface codes beyond the limits */
	USB_FAULT_ORDER,          /* an endpoint before any interface; an alternate setting twice */
	USB_FAULT_ENDPOINT,       /* number 0, or twice in one alternate setting; more than bNumEndpoints says */
	USB_FAULT_TRAILING,       /* bytes after the last configuration */
	USB_FAULT_COUNT,
};

/* Pure and total. 0 and *ret_descriptors set, or a usb_descriptor_fault (and *ret_descriptors undefined). */
int usb_descriptors_parse(const uint8_t *untrusted_bytes, size_t len, struct usb_descriptors *ret_descriptors);

/* The device itself or any alternate setting of any configuration is a hub. */
bool usb_is_hub(const struct usb_descriptors *d);

const char *usb_descriptor_fault_text(int fault);

/* NULL when there is no such configuration / alternate setting / endpoint. */
const struct usb_configuration *usb_find_configuration(const struct usb_descriptors *d, uint8_t value);
const struct usb_altsetting *usb_find_altsetting(const struct usb_descriptors *d, const struct usb_configuration *c,
						 uint8_t interface, uint8_t alternate);
const struct usb_endpoint *usb_find_endpoint(const struct usb_descriptors *d, const struct usb_altsetting *a,
					     uint8_t address);
