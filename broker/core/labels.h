/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names that users give to devices, to know them again in a list. Pure. Nothing is decided by them.
 *
 * A label is kept under the device's source and what the device says it is: vendor, product, serial number, interfaces. One
 * without a serial number is known by its port as well, for two of a kind look the same. All of that are claims of the
 * source: a label says no more than they do, and so it is never shown for a device of another source.
 */
#pragma once

#include "broker/core/core.h"

enum {
	LABELS_UNCHANGED = 1, /* no label to remove; the same label */
	LABELS_FULL,          /* LIMIT_LABELS */
	LABELS_UNFIT,         /* not a key, not a label */
};

struct labels; /* made once at start, nothing is allocated after */
struct labels *labels_new(void);
struct labels *labels_free(struct labels *table);
unsigned int labels_count(const struct labels *table); /* labels */

/* Printable ASCII, 1 to LIMIT_LABEL_TEXT, as the Admin API can show it: no backslash; no space at an end; no '=' at its end. */
bool labels_is_text(const char *text);

/* "SOURCE ID", or of a device without a serial number "SOURCE ID @PATH", "SOURCE ID PORT". */
void labels_key(const char *source, const struct core_device *device, char ret_key[CORE_LABEL_KEY_MAX]);

/* Text "" removes. 0, LABELS_UNCHANGED, LABELS_FULL or LABELS_UNFIT. */
int labels_set(struct labels *table, const char *key, const char *text);

/* NULL: it has none. Until the next change. */
const char *labels_get(const struct labels *table, const char *key);
const char *labels_of(const struct labels *table, const char *source, const struct core_device *device);

/*
 * What programs in the target see as the name of a device that is made anew there, a camera: its label, else what it calls
 * itself, else "Camera". Printable ASCII that begins and ends with no space, never empty.
 */
void labels_for_target(const struct labels *table, const char *source, const struct core_device *device,
		       char ret_label[WIRE_LABEL]);
