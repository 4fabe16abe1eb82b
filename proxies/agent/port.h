/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ports of devices that have none of USB's: a word of their class and a hash of where they are. */
#pragma once

#include "lib/base/limits.h"

/* "mic-" and a key -> "mic-0d1e2f3a": the same for the same key. */
void port_make(const char *start, const char *key, char ret_port[LIMIT_PORT_TEXT]);
