/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The forms in which devices are shown: a table for eyes, as qvm-device of Qubes prints it, and JSON for programs. */
#pragma once

#include "cli/inventory.h"

/*
 * The devices, what is a part of another a little to the right. Then all assignments, as Qubes shows them: a line each,
 * "*QUBE (MODE: OPTIONS)". A header line only when stdout is a terminal.
 */
void show_table(const struct inventory *inventory, struct usb_ids *ids);

/* The same devices and assignments. */
void show_json(const struct inventory *inventory, struct usb_ids *ids);

/* One device, and then the keys that the broker gives beyond what every device has. */
void show_info(const struct device *device, struct usb_ids *ids);
void show_info_json(const struct device *device, struct usb_ids *ids);
