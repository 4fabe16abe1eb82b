/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two sources of qubes (xenstore.c, qubes-directory.c) share with qubes.c: they bring facts, which are
 * checked already, and qubes.c finds out what they mean.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "broker/io/qubes.h"

#define DOMID_LAST 0x7FEFu /* Xen: DOMID_FIRST_RESERVED - 1 */

/* Changes are looked at together, so long after the first. */
#define QUBES_GATHER_USEC (50 * USEC_PER_MSEC)

struct qube_facts {
	uint8_t uuid[16];
	char name[LIMIT_QUBE_NAME + 1];
	char start[LIMIT_START_TEXT]; /* differs between two starts of one UUID */
	uint32_t port;
};

struct qubes {
	void (*free_source)(struct qubes *qubes);
	struct qubes_hooks hooks;
	void *userdata;
	bool full_logged;
	struct known_qube {
		bool used, seen;
		uint16_t domid;
		struct core_qube_ref ref;
		struct qube_facts facts;
	} known[LIMIT_QUBES];
};

/* Sets up the head and tells of dom0. */
void qubes_init(struct qubes *qubes, const struct qubes_hooks *hooks, void *userdata);

/* What is so now about a running domain; `facts` NULL: it runs no longer. */
void qubes_observe(struct qubes *qubes, uint16_t domid, const struct qube_facts *facts);
void qubes_observe_port(struct qubes *qubes, uint16_t domid, uint32_t port);

/*
 * Around a list of all domains: what was not marked in between is gone. Before the facts are observed: who is gone makes
 * room for who is new.
 */
void qubes_sweep_begin(struct qubes *qubes);
void qubes_mark_seen(struct qubes *qubes, uint16_t domid);
void qubes_sweep_end(struct qubes *qubes);

/* Strict readings of what others wrote: false when it is not one. */
bool qubes_parse_domid(const char *text, uint16_t *ret_domid);
bool qubes_parse_uuid(const char *text, uint8_t ret_uuid[16]);
uint32_t qubes_parse_port(const char *untrusted_text); /* 0: none, or not a number */
