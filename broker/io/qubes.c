// SPDX-License-Identifier: GPL-2.0-or-later
/* What facts about domains mean: starts, ends, new ports. The contract is in qubes.h. */
#include "broker/io/qubes.h"

#include <string.h>

#include "broker/io/qubes-source.h"
#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

static struct known_qube *find_known(struct qubes *qubes, uint16_t domid)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(qubes->known); i++)
		if (qubes->known[i].used && qubes->known[i].domid == domid)
			return &qubes->known[i];
	return NULL;
}

static void forget(struct qubes *qubes, struct known_qube *known)
{
	known->used = false;
	qubes->hooks.gone(qubes->userdata, known->ref);
}

static bool same_life(const struct qube_facts *a, const struct qube_facts *b)
{
	return memcmp(a->uuid, b->uuid, sizeof(a->uuid)) == 0 && strcmp(a->name, b->name) == 0 &&
	       strcmp(a->start, b->start) == 0;
}

static struct known_qube *learn(struct qubes *qubes, uint16_t domid, const struct qube_facts *facts)
{
	struct known_qube *known = NULL;

	for (unsigned int i = 0; i < ARRAY_SIZE(qubes->known) && !known; i++)
		if (!qubes->known[i].used)
			known = &qubes->known[i];
	if (!known ||
	    qubes->hooks.started(qubes->userdata, domid, facts->uuid, facts->name, facts->start, &known->ref) != 0) {
		if (!qubes->full_logged)
			log_warning("more than %u qubes run: the others are not looked at", LIMIT_QUBES);
		qubes->full_logged = true;
		return NULL;
	}
	known->used = true;
	known->domid = domid;
	known->facts = *facts;
	known->facts.port = 0;
	return known;
}

void qubes_observe(struct qubes *qubes, uint16_t domid, const struct qube_facts *facts)
{
	struct known_qube *known = find_known(qubes, domid);

	if (known && (!facts || !same_life(&known->facts, facts))) {
		forget(qubes, known);
		known = NULL;
	}
	if (!known && facts)
		known = learn(qubes, domid, facts);
	if (!known)
		return;
	qubes_observe_port(qubes, domid, facts->port);
}

void qubes_observe_port(struct qubes *qubes, uint16_t domid, uint32_t port)
{
	struct known_qube *known = find_known(qubes, domid);

	if (!known || known->facts.port == port)
		return;
	known->facts.port = port;
	qubes->hooks.port(qubes->userdata, known->ref, port);
}

void qubes_sweep_begin(struct qubes *qubes)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(qubes->known); i++)
		qubes->known[i].seen = qubes->known[i].domid == 0;
}

void qubes_mark_seen(struct qubes *qubes, uint16_t domid)
{
	struct known_qube *known = find_known(qubes, domid);

	if (known)
		known->seen = true;
}

void qubes_sweep_end(struct qubes *qubes)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(qubes->known); i++)
		if (qubes->known[i].used && !qubes->known[i].seen)
			forget(qubes, &qubes->known[i]);
}

void qubes_init(struct qubes *qubes, const struct qubes_hooks *hooks, void *userdata)
{
	static const struct qube_facts dom0 = {.name = "dom0"};

	qubes->hooks = *hooks;
	qubes->userdata = userdata;
	qubes_observe(qubes, 0, &dom0);
}

struct qubes *qubes_free(struct qubes *qubes)
{
	if (qubes)
		qubes->free_source(qubes);
	return NULL;
}

bool qubes_parse_domid(const char *text, uint16_t *ret_domid)
{
	uint64_t value;

	if (text_to_u64(text, DOMID_LAST, &value) < 0)
		return false;
	*ret_domid = (uint16_t)value;
	return true;
}

static int hex_digit(char c)
{
	return text_hex_digit(c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c);
}

bool qubes_parse_uuid(const char *text, uint8_t ret_uuid[16])
{
	uint8_t uuid[16];
	unsigned int n = 0;

	for (unsigned int i = 0; i < 36; i++) {
		int high, low;

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return false;
			continue;
		}
		high = hex_digit(text[i]);
		low = high < 0 ? -1 : hex_digit(text[++i]);
		if (low < 0)
			return false;
		uuid[n++] = (uint8_t)(high << 4 | low);
	}
	if (text[36] != '\0')
		return false;
	memcpy(ret_uuid, uuid, sizeof(uuid));
	return true;
}

uint32_t qubes_parse_port(const char *untrusted_text)
{
	uint64_t value;

	return text_to_u64(untrusted_text, UINT32_MAX, &value) < 0 ? 0 : (uint32_t)value;
}
