/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of vendors, products and classes from hwdata's usb.ids, for devices that do not name themselves. The file is
 * optional; only tools read it, never the broker.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: the file is not read yet; the first question reads it. Without a file every name is unknown. */
struct usb_ids {
	bool asked; /* whether there is a file */
	char *text;
	size_t len;
	uint32_t *heads; /* where in the text each vendor and each class begins; 0: it is not there */
};

void usb_ids_deinit(struct usb_ids *ids);

/* False, and an empty text: unknown. What is written is safe to show. */
bool usb_ids_vendor(struct usb_ids *ids, uint16_t vendor, char *text, size_t size);
bool usb_ids_product(struct usb_ids *ids, uint16_t vendor, uint16_t product, char *text, size_t size);

/*
 * The kind of an interface by its seven-character code: Qubes' category ("Keyboard", "USB_Storage"), with *ret_known
 * true; or else the class's name in usb.ids, or "USB device".
 */
void usb_ids_kind(struct usb_ids *ids, const char *code, char *text, size_t size, bool *ret_known);
