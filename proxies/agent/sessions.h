/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sessions of this qube: for each a proxy process, and for an import a port of vhci_hcd or a device of v4l2loopback. The life of
 * one is the table in machine.h. Each request gets one answer, after everything is done or undone; what ends by itself is told as an
 * event.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lib/channel/channel.h"
#include "lib/wire/messages.h"
#include "proxies/agent/identity.h"
#include "proxies/agent/launch.h"
#include "proxies/agent/loopback.h"
#include "proxies/agent/sound.h"

struct sessions;

struct sessions_settings {
	sd_event *event;
	struct channel_backend *backend;
	const struct launch_settings *launch; /* borrowed */
	struct loopback *loopback;            /* borrowed; NULL: no cameras are imported */
	/* An answer (id not 0) or ENDED for the broker. Must not call back. */
	void (*send)(void *userdata, const struct wire_message *message);
	/* STREAM, which can wait. False: not now, ask again a little later. Must not call back. */
	bool (*tell)(void *userdata, const struct wire_message *message);
	void *userdata;
};

/* What the broker is told about a running session. */
struct session_view {
	uint64_t session;
	enum wire_side side;
	uint16_t peer;
	const uint8_t *digest;
	bool muted;
};

/* `settings` is copied. 0 or a negative errno. */
int sessions_new(const struct sessions_settings *settings, struct sessions **ret_sessions);

/* Kills what still runs. NULL is allowed. */
struct sessions *sessions_free(struct sessions *sessions);

/* OUTCOME_OK, or why a session of that number cannot begin. `identity`: of the device to export, NULL for an import. */
enum outcome sessions_may_begin(const struct sessions *sessions, uint64_t session, const struct identity *identity);

/*
 * Starts an exporter for the open node `fd` (the caller keeps its copy) of a device that the kernel has in `configuration`,
 * and answers request `id` in time. Only after sessions_may_begin().
 */
void sessions_export(struct sessions *sessions, uint32_t id, const struct wire_EXPORT *request,
		     const struct identity *identity, const struct snapshot_bytes *snapshot, uint8_t configuration,
		     int fd);

/* The same for a microphone or a speaker. */
void sessions_export_sound(struct sessions *sessions, uint32_t id, const struct wire_EXPORT *request,
			   const struct sound_source *source);

/* The same for a camera, whose open node is `fd`, and whose hello these PROXY_CAMERA_HELLO bytes are; its controls are set as asked. */
void sessions_export_camera(struct sessions *sessions, uint32_t id, const struct wire_EXPORT *request,
			    const struct identity *identity, const uint8_t *hello, int fd);

/* The same for an importer, of USB, of sound or of a camera. */
void sessions_import(struct sessions *sessions, uint32_t id, const struct wire_IMPORT *request);
void sessions_import_sound(struct sessions *sessions, uint32_t id, const struct wire_IMPORT *request,
			   const struct sound_server *server);
/* `number`, with the open node `fd`, is a device of v4l2loopback's that was made for it, and is removed after it. */
void sessions_import_camera(struct sessions *sessions, uint32_t id, const struct wire_IMPORT *request, uint8_t number,
			    int fd);

/* Ends a session and answers request `id`; at once if there is no such session. False: too many stops of one session. */
bool sessions_stop(struct sessions *sessions, uint32_t id, uint64_t session);

/* Tells an exporter of what can be muted to pass nothing on, or to do so again, and answers request `id`: with what holds now. */
void sessions_mute(struct sessions *sessions, uint32_t id, const struct wire_MUTE *request);

void sessions_stop_all(struct sessions *sessions);

/* The connection with all its requests is gone: nothing is answered any more. */
void sessions_forget_requests(struct sessions *sessions);

/* Another broker knows nothing of what was moved so far: it is told of each session anew. */
void sessions_tell_streams(struct sessions *sessions);

/* True if a request of this id has not been answered yet. */
bool sessions_knows_request(const struct sessions *sessions, uint32_t id);

/* Start with *cursor = 0; false at the end. */
bool sessions_next(const struct sessions *sessions, size_t *cursor, struct session_view *ret_view);
