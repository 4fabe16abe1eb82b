/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See port.h. The hash is FNV-1a: it tells places apart and keeps nothing secret. */
#include "proxies/agent/port.h"

#include <inttypes.h>
#include <stdio.h>

static uint32_t hash(const char *text)
{
	uint32_t value = 0x811c9dc5u;

	for (; *text; text++)
		value = (value ^ (uint8_t)*text) * 0x01000193u;
	return value;
}

void port_make(const char *start, const char *key, char ret_port[LIMIT_PORT_TEXT])
{
	(void)snprintf(ret_port, LIMIT_PORT_TEXT, "%s%08" PRIx32, start, hash(key));
}
