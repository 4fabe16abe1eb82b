/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sound servers of this qube's users and their microphones and speakers. For each server's socket DIR/UID/pulse/native there is a
 * watcher (`audio-proxy watch`, lib/proxy/sources.h), which is started anew while the socket is there. The servers' words are
 * read by the watchers, never here.
 */
#pragma once

#include <systemd/sd-event.h>

#include "proxies/agent/identity.h"
#include "proxies/agent/launch.h"

#define SOUND_SERVERS 4u /* of as many users */

struct sound;

struct sound_settings {
	sd_event *event;
	const struct launch_settings *launch; /* borrowed */
	const char *dir;                      /* e.g. /run/user; must outlive it */
	bool dom0; /* one microphone, TEXT_DOM0_MIC: whichever the user has chosen, of the first server that has one */
	/* Other microphones or speakers are there than before. */
	void (*changed)(void *userdata);
	void *userdata;
};

/* Where a proxy finds the server. */
struct sound_server {
	uid_t owner;
	char address[128]; /* "unix:/run/user/1000/pulse/native" */
	char dir[96];      /* its user's: a FIFO may be made there */
};

struct sound_source {
	const struct sound_server *server;
	const char *name; /* at the server */
	struct identity identity;
	const uint8_t *hello; /* PROXY_HELLO bytes, of which identity.digest is */
};

/* `settings` is copied. 0 or a negative errno. The directory need not be there yet. */
int sound_new(const struct sound_settings *settings, struct sound **ret_sound);
struct sound *sound_free(struct sound *sound); /* kills the watchers; NULL is fine */

/* Start with *cursor = 0; false at the end. What *ret_source points to is valid until the next turn of the loop. */
bool sound_next(const struct sound *sound, size_t *cursor, struct sound_source *ret_source);
bool sound_find(const struct sound *sound, const char *port, struct sound_source *ret_source);

/* The server that gets microphones and speakers of other qubes: the first one that answers. NULL: none does. */
const struct sound_server *sound_target(const struct sound *sound);
