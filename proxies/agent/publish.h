/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the broker finds this agent: the number in the service name "device-agent/<n>" that it serves now, as text. Xen:
 * the xenstore node data/device-agent/port of this domain. Sockets: the file DIR/<own>-device-agent.port.
 */
#pragma once

#include <stdint.h>

struct publisher;

/* This domain's id, as xenstore gives it. 0 or a negative errno. */
int publish_xen_domid(uint16_t *ret_domid);

/* `channel`: as on the command line, "xen" or "socket:DIR". 0 or a negative errno. */
int publisher_new(const char *channel, uint16_t own, struct publisher **ret_publisher);

/* In one step: a reader sees the old number or the new one. 0 or a negative errno. */
int publisher_put(struct publisher *publisher, uint32_t number);

/* Nothing is served any more. */
void publisher_withdraw(struct publisher *publisher);

/*
 * For the start of an agent whose predecessor may have been killed: the number that it had published, if it can be told,
 * to be cleaned up by the caller (else 0); and with Xen all nodes that it and its proxies had.
 */
uint32_t publisher_clean(struct publisher *publisher);

struct publisher *publisher_free(struct publisher *publisher);
