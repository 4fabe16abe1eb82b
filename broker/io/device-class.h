/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The classes of devices and their names, as the API, the policy and the store call them: one table. Pure. */
#pragma once

#include <stdint.h>

#include "lib/admin/request.h"
#include "lib/wire/messages.h"

/* NULL: no class has that number (enum wire_class). */
const char *device_class_name(uint8_t class_id);

/* What a user calls such a device: "camera"; "device" where no class has that number. */
const char *device_class_noun(uint8_t class_id);

/* The number; 0 for a class that Qubes has and of which there are no devices yet; -1: no such class. */
int device_class_id(struct admin_span name);

/* Each name, in Qubes' order, from *cursor = 0; NULL at the end. */
const char *device_class_next(unsigned int *cursor);
