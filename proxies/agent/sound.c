/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See sound.h. A list is taken when it is whole; a watcher that says anything else than lists is killed, and with it go its
 * devices, as with any watcher's end.
 */
#include "proxies/agent/sound.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/digest/digest.h"
#include "lib/proxy/sources.h"
#include "proxies/agent/port.h"

#define LOOK_USEC (1 * USEC_PER_SEC) /* for servers that have come */
#define RESTART_MAX_USEC (32 * USEC_PER_SEC)
#define SOURCES LIMIT_DEVICES

struct list {
	size_t n;
	struct proxy_source sources[SOURCES];
	uint16_t numbers[SOURCES]; /* of each, new when it is another one: as a device number */
};

struct watcher {
	struct sound *sound;
	bool used, answers, listing;
	bool seen; /* its socket, in the last look */
	struct sound_server server;
	sd_event_source *child, *report;
	int fd;
	uint64_t start_usec, pause_usec; /* when to start it (again), and how long after its next end */
	struct list now, coming;
};

struct sound {
	struct sound_settings settings;
	sd_event_source *timer;
	uint16_t last_number;
	bool began; /* the first look is over: what is left from now on may be in use */
	struct watcher watchers[SOUND_SERVERS];
};

static uint64_t now_usec(const struct sound *sound)
{
	uint64_t now = 0;

	(void)sd_event_now(sound->settings.event, CLOCK_MONOTONIC, &now);
	return now;
}

/* ---- what a watcher says ---------------------------------------------------------------------------------------------- */

static void tell_changed(struct watcher *watcher)
{
	watcher->sound->settings.changed(watcher->sound->settings.userdata);
}

/* It keeps its number while it is the same in all. */
static uint16_t number_of(struct watcher *watcher, const struct proxy_source *source)
{
	for (size_t i = 0; i < watcher->now.n; i++)
		if (memcmp(&watcher->now.sources[i], source, sizeof(*source)) == 0)
			return watcher->now.numbers[i];
	if (++watcher->sound->last_number == 0)
		watcher->sound->last_number = 1;
	return watcher->sound->last_number;
}

/* A source and a sink may have one name. */
static bool is_named_already(const struct list *list, const struct proxy_source *source)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->sources[i].kind == source->kind && strcmp(list->sources[i].source, source->source) == 0)
			return true;
	return false;
}

/* Of dom0 there is one microphone, and nothing else. */
static bool is_too_much(const struct watcher *watcher, const struct proxy_source *word)
{
	if (watcher->sound->settings.dom0)
		return watcher->coming.n == 1 || word->kind != PROXY_SOURCE_MIC;
	return watcher->coming.n == SOURCES;
}

/* False: nonsense. */
static bool take_word(struct watcher *watcher, const struct proxy_source *word)
{
	struct list *coming = &watcher->coming;

	switch ((enum proxy_source_type)word->type) {
	case PROXY_SOURCES_BEGIN:
		if (watcher->listing)
			return false;
		watcher->listing = true;
		coming->n = 0;
		return true;
	case PROXY_SOURCE:
		if (!watcher->listing || is_too_much(watcher, word) || is_named_already(coming, word))
			return false;
		coming->numbers[coming->n] = number_of(watcher, word);
		coming->sources[coming->n++] = *word;
		return true;
	case PROXY_SOURCES_END:
		if (!watcher->listing)
			return false;
		watcher->listing = false;
		watcher->answers = true;
		watcher->pause_usec = LOOK_USEC;
		watcher->now = *coming;
		tell_changed(watcher);
		return true;
	}
	return false;
}

static void end_watcher(struct watcher *watcher)
{
	bool had = watcher->now.n > 0;

	watcher->report = sd_event_source_disable_unref(watcher->report);
	watcher->child = sd_event_source_disable_unref(watcher->child);
	cleanup_close(&watcher->fd);
	watcher->fd = -1;
	watcher->answers = watcher->listing = false;
	watcher->now.n = 0;
	watcher->start_usec = now_usec(watcher->sound) + watcher->pause_usec;
	watcher->pause_usec *= 2;
	if (watcher->pause_usec > RESTART_MAX_USEC)
		watcher->pause_usec = RESTART_MAX_USEC;
	if (had)
		tell_changed(watcher);
}

static int on_report(sd_event_source *source _unused_, int fd, uint32_t revents _unused_, void *userdata)
{
	struct watcher *watcher = userdata;
	struct proxy_source word;
	int r = proxy_source_receive(fd, &word);

	if (r > 0 || (r == 0 && take_word(watcher, &word)))
		return 0;
	if (r != -EPIPE)
		log_error("the watcher of %s says nonsense and is killed", watcher->server.address);
	watcher->report = sd_event_source_disable_unref(watcher->report); /* its end comes through on_child() */
	(void)sd_event_source_send_child_signal(watcher->child, SIGKILL, NULL, 0);
	return 0;
}

static int on_child(sd_event_source *source _unused_, const siginfo_t *info _unused_, void *userdata)
{
	struct watcher *watcher = userdata;

	if (watcher->answers)
		log_notice("%s does not answer any more", watcher->server.address);
	end_watcher(watcher);
	return 0;
}

/* ---- watchers --------------------------------------------------------------------------------------------------------- */

static int start_watcher(struct watcher *watcher)
{
	const struct sound_settings *settings = &watcher->sound->settings;
	_cleanup_close_ int theirs = -1;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	watcher->fd = pair[0];
	theirs = pair[1];
	r = launch_watcher(settings->launch, watcher->server.address, watcher->server.owner, !watcher->sound->began,
			   settings->dom0, theirs, &pid);
	if (r < 0)
		return r;
	r = sd_event_add_child(settings->event, &watcher->child, pid, WEXITED, on_child, watcher);
	if (r < 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	return sd_event_add_io(settings->event, &watcher->report, watcher->fd, EPOLLIN, on_report, watcher);
}

/* DIR/UID/pulse/native is a socket of that user. */
static bool is_server(const struct sound *sound, uint64_t uid, struct sound_server *ret_server)
{
	struct stat st;
	int n = snprintf(ret_server->dir, sizeof(ret_server->dir), "%s/%" PRIu64, sound->settings.dir, uid);
	int m = snprintf(ret_server->address, sizeof(ret_server->address), "unix:%s/pulse/native", ret_server->dir);

	ret_server->owner = (uid_t)uid;
	return n > 0 && (size_t)n < sizeof(ret_server->dir) && m > 0 && (size_t)m < sizeof(ret_server->address) &&
	       lstat(ret_server->address + strlen("unix:"), &st) == 0 && S_ISSOCK(st.st_mode) &&
	       st.st_uid == ret_server->owner;
}

static struct watcher *find_watcher(struct sound *sound, uid_t owner)
{
	struct watcher *free_one = NULL;

	for (size_t i = 0; i < SOUND_SERVERS; i++) {
		struct watcher *watcher = &sound->watchers[i];

		if (watcher->used && watcher->server.owner == owner)
			return watcher;
		if (!watcher->used && !free_one)
			free_one = watcher;
	}
	return free_one;
}

static void see_server(struct sound *sound, const struct sound_server *server)
{
	struct watcher *watcher = find_watcher(sound, server->owner);
	int r;

	if (!watcher)
		return;
	if (!watcher->used)
		*watcher = (struct watcher){
			.sound = sound, .used = true, .server = *server, .fd = -1, .pause_usec = LOOK_USEC};
	watcher->seen = true;
	if (watcher->child || now_usec(sound) < watcher->start_usec)
		return;
	r = start_watcher(watcher);
	if (r == 0)
		return;
	log_error("cannot watch %s: %s", server->address, strerror(-r));
	if (watcher->child)
		(void)sd_event_source_send_child_signal(watcher->child, SIGKILL, NULL, 0);
	else
		end_watcher(watcher);
}

static void look(struct sound *sound)
{
	DIR *dir = opendir(sound->settings.dir);
	const struct dirent *entry;
	struct sound_server server;
	uint64_t uid;

	for (size_t i = 0; i < SOUND_SERVERS; i++)
		sound->watchers[i].seen = false;
	while (dir && (entry = readdir(dir)))
		if (text_to_u64(entry->d_name, UINT32_MAX - 1, &uid) == 0 && is_server(sound, uid, &server))
			see_server(sound, &server);
	if (dir)
		(void)closedir(dir);
	for (size_t i = 0; i < SOUND_SERVERS; i++) /* who has logged out makes room */
		if (!sound->watchers[i].seen && !sound->watchers[i].child)
			sound->watchers[i].used = false;
	sound->began = true;
}

static int on_look(sd_event_source *source, uint64_t usec _unused_, void *userdata)
{
	look(userdata);
	(void)sd_event_source_set_time_relative(source, LOOK_USEC);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

/* ---- what there is ---------------------------------------------------------------------------------------------------- */

/* The classes of what a watcher names, and with what their ports begin. */
static const struct {
	uint8_t class_id;
	const char *port;
} kinds[] = {
	[PROXY_SOURCE_MIC] = {WIRE_CLASS_MIC, "mic-"},
	[PROXY_SOURCE_SPEAKER] = {WIRE_CLASS_SPEAKER, "speaker-"},
};

static void identify(const struct watcher *watcher, size_t i, struct identity *ret_identity)
{
	const struct proxy_source *source = &watcher->now.sources[i];
	char key[16 + PROXY_SOURCE_NAME];

	(void)snprintf(key, sizeof(key), "%u:%s", watcher->server.owner, source->source);
	*ret_identity = (struct identity){.class_id = kinds[source->kind].class_id,
					  .dev = watcher->now.numbers[i],
					  .vendor = source->vendor,
					  .product = source->product,
					  .n_interfaces = 1};
	if (watcher->sound->settings.dom0)
		(void)strcpy(ret_identity->port, TEXT_DOM0_MIC);
	else
		port_make(kinds[source->kind].port, key, ret_identity->port);
	(void)strcpy(ret_identity->parent, source->parent);
	(void)strcpy(ret_identity->serial, source->serial);
	(void)strcpy(ret_identity->product_name, source->name);
	digest_sha256(source->hello, sizeof(source->hello), ret_identity->digest);
}

bool sound_next(const struct sound *sound, size_t *cursor, struct sound_source *ret_source)
{
	for (; sound && *cursor < SOUND_SERVERS * SOURCES; (*cursor)++) {
		const struct watcher *watcher = &sound->watchers[*cursor / SOURCES];
		size_t i = *cursor % SOURCES;

		if (i >= watcher->now.n)
			continue;
		ret_source->server = &watcher->server;
		ret_source->name = watcher->now.sources[i].source;
		ret_source->hello = watcher->now.sources[i].hello;
		identify(watcher, i, &ret_source->identity);
		*cursor = sound->settings.dom0 ? SOUND_SERVERS * SOURCES : *cursor + 1;
		return true;
	}
	return false;
}

bool sound_find(const struct sound *sound, const char *port, struct sound_source *ret_source)
{
	size_t cursor = 0;

	while (sound_next(sound, &cursor, ret_source))
		if (strcmp(ret_source->identity.port, port) == 0)
			return true;
	return false;
}

const struct sound_server *sound_target(const struct sound *sound)
{
	for (size_t i = 0; sound && i < SOUND_SERVERS; i++)
		if (sound->watchers[i].answers)
			return &sound->watchers[i].server;
	return NULL;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------------ */

static void cleanup_sound(struct sound **sound)
{
	*sound = sound_free(*sound);
}

int sound_new(const struct sound_settings *settings, struct sound **ret_sound)
{
	_cleanup_(cleanup_sound) struct sound *sound = calloc(1, sizeof(*sound));
	int r;

	if (!sound)
		return -ENOMEM;
	sound->settings = *settings;
	for (size_t i = 0; i < SOUND_SERVERS; i++)
		sound->watchers[i].fd = -1;
	r = sd_event_add_time_relative(settings->event, &sound->timer, CLOCK_MONOTONIC, LOOK_USEC, 0, on_look, sound);
	if (r < 0)
		return r;
	look(sound);
	*ret_sound = TAKE_PTR(sound);
	return 0;
}

struct sound *sound_free(struct sound *sound)
{
	if (!sound)
		return NULL;
	for (size_t i = 0; i < SOUND_SERVERS; i++) {
		struct watcher *watcher = &sound->watchers[i];

		if (watcher->child)
			(void)sd_event_source_send_child_signal(watcher->child, SIGKILL, NULL, 0);
		sd_event_source_disable_unref(watcher->report);
		sd_event_source_disable_unref(watcher->child);
		cleanup_close(&watcher->fd);
	}
	sd_event_source_disable_unref(sound->timer);
	free(sound);
	return NULL;
}
