/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of vendors, products and classes from hwdata's usb.ids, for devices that do not name themselves. The file is
 * optional; only tools read it, never the broker.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct usb_ids {
	char *text;
	size_t len;
};

/* Finds and reads the file. Without one every name is unknown. */
void usb_ids_init(struct usb_ids *ids);
void usb_ids_deinit(struct usb_ids *ids);

/* False, and an empty text: unknown. What is written is safe to show. */
bool usb_ids_vendor(const struct usb_ids *ids, uint16_t vendor, char *text, size_t size);
bool usb_ids_product(const struct usb_ids *ids, uint16_t vendor, uint16_t product, char *text, size_t size);

/*
 * The kind of an interface by its seven-character code: Qubes' category ("Keyboard", "USB_Storage"), with *ret_known
 * true; or else the class's name in usb.ids, or "USB device".
 */
void usb_ids_kind(const struct usb_ids *ids, const char *code, char *text, size_t size, bool *ret_known);
