// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Qubes out of xenstore. A watch tells where something may have changed, never what: changes are gathered, then read.
 * dom0's tools write @introduceDomain, names and /vm; a guest writes its own data/device-agent/port, as often as it
 * likes: one that fires more than LIMIT_FIRED times in a second loses its watch for MUTE_USEC (RX04).
 *
 * A domain runs while xenstore lists it and calls it introduced (DI05). libxenstore keeps the wake-ups that are not
 * yet fetched in memory, so each wake-up of ours fetches all, and does nothing for each but to mark it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xenstore.h>

#include "broker/io/clock.h"
#include "broker/io/qubes-source.h"
#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

#define PATH_SIZE 96
#define LIMIT_FIRED 100u
#define FIRED_WINDOW_USEC (1 * USEC_PER_SEC)
#define MUTE_USEC (10 * USEC_PER_SEC)
#define REOPEN_USEC (2 * USEC_PER_SEC)

/* A domain that is watched; its qube may be unknown still (no name yet). */
struct xen_domain {
	bool used, dirty, listed;
	uint16_t domid;
	unsigned int n_fired;
	uint64_t muted_until_usec; /* 0: its port is watched */
};

struct xen_source {
	struct qubes qubes;
	sd_event *event;
	struct xs_handle *xs; /* NULL: lost, to be opened again */
	sd_event_source *on_fired, *on_timer;
	bool list_dirty;
	uint64_t look_usec;   /* when to look at what is dirty; 0: nothing is */
	uint64_t window_usec; /* when n_fired starts anew */
	struct xen_domain domains[LIMIT_QUBES];
};

static void close_xenstore(struct xen_source *source)
{
	source->on_fired = sd_event_source_disable_unref(source->on_fired);
	if (source->xs)
		xs_close(source->xs);
	source->xs = NULL;
}

static void xen_free(struct qubes *qubes)
{
	struct xen_source *source = (struct xen_source *)qubes;

	close_xenstore(source);
	sd_event_source_disable_unref(source->on_timer);
	free(source);
}

static void cleanup_xen(struct xen_source **source)
{
	if (*source)
		xen_free(&(*source)->qubes);
}

/* A node's value, when it fits and is text; false: no such value. */
static bool read_node(struct xen_source *source, const char *path, char *ret_text, size_t size)
{
	unsigned int len;
	_cleanup_free_ char *untrusted_value = xs_read(source->xs, XBT_NULL, path, &len);

	if (!untrusted_value || len >= size || memchr(untrusted_value, '\0', len))
		return false;
	memcpy(ret_text, untrusted_value, len);
	ret_text[len] = '\0';
	return true;
}

static void port_path(uint16_t domid, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, "/local/domain/%u/data/device-agent/port", domid);
}

static void name_path(uint16_t domid, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, "/local/domain/%u/name", domid);
}

static uint32_t read_port(struct xen_source *source, uint16_t domid)
{
	char path[PATH_SIZE], untrusted_text[16];

	port_path(domid, path);
	return read_node(source, path, untrusted_text, sizeof(untrusted_text)) ? qubes_parse_port(untrusted_text) : 0;
}

/* False: it is not (yet, or no longer) a running qube with a name. */
static bool read_facts(struct xen_source *source, uint16_t domid, struct qube_facts *ret_facts)
{
	char path[PATH_SIZE], vm[64];

	*ret_facts = (struct qube_facts){0};
	if (!xs_is_domain_introduced(source->xs, domid))
		return false;
	name_path(domid, path);
	if (!read_node(source, path, ret_facts->name, sizeof(ret_facts->name)) || !text_is_qube_name(ret_facts->name))
		return false;
	(void)snprintf(path, sizeof(path), "/local/domain/%u/vm", domid);
	if (!read_node(source, path, vm, sizeof(vm)) || strncmp(vm, "/vm/", 4) != 0 ||
	    !qubes_parse_uuid(vm + 4, ret_facts->uuid))
		return false;
	(void)snprintf(path, sizeof(path), "%s/start_time", vm);
	if (!read_node(source, path, ret_facts->start, sizeof(ret_facts->start)))
		ret_facts->start[0] = '\0';
	ret_facts->port = read_port(source, domid);
	return true;
}

static void watch_path(struct xen_source *source, const char *path, uint16_t domid, bool on)
{
	char token[16];

	(void)snprintf(token, sizeof(token), "d%u", domid);
	if (on && !xs_watch(source->xs, path, token))
		log_warning("xenstore: %s cannot be watched: %s", path, strerror(errno));
	if (!on)
		(void)xs_unwatch(source->xs, path, token);
}

static void watch_domain(struct xen_source *source, uint16_t domid, bool on)
{
	char path[PATH_SIZE];

	name_path(domid, path);
	watch_path(source, path, domid, on);
	port_path(domid, path);
	watch_path(source, path, domid, on);
}

static struct xen_domain *find_domain(struct xen_source *source, uint16_t domid)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(source->domains); i++)
		if (source->domains[i].used && source->domains[i].domid == domid)
			return &source->domains[i];
	return NULL;
}

static struct xen_domain *add_domain(struct xen_source *source, uint16_t domid)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(source->domains); i++) {
		struct xen_domain *domain = &source->domains[i];

		if (domain->used)
			continue;
		*domain = (struct xen_domain){.used = true, .domid = domid};
		watch_domain(source, domid, true);
		return domain;
	}
	return NULL;
}

static void look_at_domain(struct xen_source *source, struct xen_domain *domain)
{
	struct qube_facts facts;

	domain->dirty = false;
	if (domain->domid == 0)
		qubes_observe_port(&source->qubes, 0, read_port(source, 0));
	else if (read_facts(source, domain->domid, &facts))
		qubes_observe(&source->qubes, domain->domid, &facts);
	else
		qubes_observe(&source->qubes, domain->domid, NULL);
}

static void remove_unlisted(struct xen_source *source)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(source->domains); i++) {
		struct xen_domain *domain = &source->domains[i];

		if (!domain->used || domain->listed)
			continue;
		watch_domain(source, domain->domid, false);
		domain->used = false;
	}
}

/*
 * Which domains there are; all that are listed are dirty then. Who is gone goes first: it makes room, also among the
 * qubes that were known before xenstore broke off. -errno: xenstore did not tell.
 */
static int look_at_list(struct xen_source *source)
{
	unsigned int n = 0;
	_cleanup_free_ char **names = xs_directory(source->xs, XBT_NULL, "/local/domain", &n);

	if (!names)
		return -errno;
	for (unsigned int i = 0; i < ARRAY_SIZE(source->domains); i++)
		source->domains[i].listed = false;
	qubes_sweep_begin(&source->qubes);
	for (unsigned int i = 0; i < n; i++) {
		struct xen_domain *domain;
		uint16_t domid;

		if (!qubes_parse_domid(names[i], &domid))
			continue;
		qubes_mark_seen(&source->qubes, domid);
		domain = find_domain(source, domid);
		if (domain)
			domain->listed = domain->dirty = true;
	}
	qubes_sweep_end(&source->qubes);
	remove_unlisted(source);
	for (unsigned int i = 0; i < n; i++) {
		struct xen_domain *domain = NULL;
		uint16_t domid;

		if (qubes_parse_domid(names[i], &domid) && !find_domain(source, domid))
			domain = add_domain(source, domid);
		if (domain)
			domain->dirty = true;
	}
	source->list_dirty = false;
	return 0;
}

static void arm_timer(struct xen_source *source)
{
	uint64_t next = UINT64_MAX;

	clock_earlier(&next, source->look_usec);
	clock_earlier(&next, source->window_usec);
	for (unsigned int i = 0; i < ARRAY_SIZE(source->domains); i++)
		if (source->domains[i].used)
			clock_earlier(&next, source->domains[i].muted_until_usec);
	if (!source->xs)
		next = clock_now_usec() + REOPEN_USEC;
	(void)sd_event_source_set_time(source->on_timer, next);
	(void)sd_event_source_set_enabled(source->on_timer, next == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static void mark_dirty(struct xen_source *source)
{
	if (source->look_usec == 0)
		source->look_usec = clock_now_usec() + QUBES_GATHER_USEC;
}

static void mute(struct xen_source *source, struct xen_domain *domain)
{
	char path[PATH_SIZE];

	port_path(domain->domid, path);
	watch_path(source, path, domain->domid, false);
	domain->muted_until_usec = clock_now_usec() + MUTE_USEC;
}

static void unmute(struct xen_source *source, struct xen_domain *domain)
{
	char path[PATH_SIZE];

	domain->muted_until_usec = 0;
	domain->n_fired = 0;
	port_path(domain->domid, path);
	watch_path(source, path, domain->domid, true); /* fires at once, so what it wrote meanwhile is read */
}

/* One fired watch. Its path is not looked at; a token that is not ours is ignored (DI15). */
static void on_watch(struct xen_source *source, const char *token)
{
	struct xen_domain *domain;
	uint16_t domid;

	if (token[0] == '@') {
		source->list_dirty = true;
		mark_dirty(source);
		return;
	}
	if (token[0] != 'd' || !qubes_parse_domid(token + 1, &domid))
		return;
	domain = find_domain(source, domid);
	if (!domain)
		return;
	domain->dirty = true;
	mark_dirty(source);
	if (source->window_usec == 0)
		source->window_usec = clock_now_usec() + FIRED_WINDOW_USEC;
	if (++domain->n_fired > LIMIT_FIRED && domain->muted_until_usec == 0)
		mute(source, domain);
}

static void lose_xenstore(struct xen_source *source)
{
	log_error("xenstore broke off: qubes that start or stop are not seen until it is back");
	close_xenstore(source);
	arm_timer(source);
}

static int on_fired(sd_event_source *io _unused_, int fd _unused_, uint32_t revents _unused_, void *userdata)
{
	struct xen_source *source = userdata;

	for (;;) {
		_cleanup_free_ char **fired = xs_check_watch(source->xs);

		if (!fired)
			break;
		on_watch(source, fired[XS_WATCH_TOKEN]);
	}
	if (errno != EAGAIN) {
		lose_xenstore(source);
		return 0;
	}
	arm_timer(source);
	return 0;
}

static int open_xenstore(struct xen_source *source)
{
	int r;

	source->xs = xs_open(0);
	if (!source->xs)
		return errno ? -errno : -ENOENT;
	memset(source->domains, 0, sizeof(source->domains));
	if (!xs_watch(source->xs, "@introduceDomain", "@") || !xs_watch(source->xs, "@releaseDomain", "@")) {
		r = -errno;
		close_xenstore(source);
		return r;
	}
	r = sd_event_add_io(source->event, &source->on_fired, xs_fileno(source->xs), EPOLLIN, on_fired, source);
	if (r < 0) {
		close_xenstore(source);
		return r;
	}
	source->list_dirty = true;
	return 0;
}

static int look(struct xen_source *source)
{
	int r;

	source->look_usec = 0;
	r = source->list_dirty ? look_at_list(source) : 0;
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < ARRAY_SIZE(source->domains); i++)
		if (source->domains[i].used && source->domains[i].dirty)
			look_at_domain(source, &source->domains[i]);
	return 0;
}

static int on_timer(sd_event_source *timer _unused_, uint64_t usec _unused_, void *userdata)
{
	struct xen_source *source = userdata;
	uint64_t now = clock_now_usec();

	if (!source->xs && open_xenstore(source) == 0) {
		log_notice("xenstore is back");
		source->look_usec = now;
	}
	if (source->window_usec != 0 && source->window_usec <= now) {
		source->window_usec = 0;
		for (unsigned int i = 0; i < ARRAY_SIZE(source->domains); i++)
			source->domains[i].n_fired = 0;
	}
	for (unsigned int i = 0; source->xs && i < ARRAY_SIZE(source->domains); i++) {
		struct xen_domain *domain = &source->domains[i];

		if (domain->used && domain->muted_until_usec != 0 && domain->muted_until_usec <= now)
			unmute(source, domain);
	}
	if (source->xs && source->look_usec != 0 && source->look_usec <= now && look(source) < 0) {
		source->list_dirty = true; /* DI13: asked again, not given up */
		source->look_usec = now + REOPEN_USEC;
	}
	arm_timer(source);
	return 0;
}

int qubes_new_xen(sd_event *event, const struct qubes_hooks *hooks, void *userdata, struct qubes **ret_qubes)
{
	_cleanup_(cleanup_xen) struct xen_source *source = calloc(1, sizeof(*source));
	int r;

	if (!source)
		return -ENOMEM;
	source->qubes.free_source = xen_free;
	source->event = event;
	r = sd_event_add_time(event, &source->on_timer, CLOCK_BROKER, 0, 1, on_timer, source);
	if (r < 0)
		return r;
	r = open_xenstore(source);
	if (r < 0)
		return r;
	qubes_init(&source->qubes, hooks, userdata);
	r = look(source);
	if (r < 0)
		return r;
	arm_timer(source);
	*ret_qubes = &TAKE_PTR(source)->qubes;
	return 0;
}
