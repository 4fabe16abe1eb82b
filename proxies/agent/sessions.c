/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sessions.h: the table of them, what the broker wants of it, and what it is told of their streams. */
#include "proxies/agent/sessions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/base.h"
#include "lib/base/controls.h"
#include "lib/base/log.h"
#include "lib/digest/digest.h"
#include "lib/proxy/camera.h"
#include "lib/proxy/sources.h"
#include "proxies/agent/session.h"

#define STREAM_TURN_USEC (USEC_PER_SEC / LIMIT_STREAM_EVENTS_PER_SEC)
#define SOCKET_BUFFER (4 * 1024 * 1024) /* bytes: with the default a 1 MiB transfer takes many wake-ups */

/* Streams: what is moved, told to the broker one after the other, so that no busy session keeps others or devices waiting */

static bool is_due(const struct session *session)
{
	return session->used && session->untold && session->state == SESSION_RUNNING;
}

static void start_stream_timer(struct sessions *sessions, uint64_t usec)
{
	int enabled = SD_EVENT_OFF;

	if (sd_event_source_get_enabled(sessions->stream_timer, &enabled) < 0 || enabled != SD_EVENT_OFF)
		return;
	(void)sd_event_source_set_time_relative(sessions->stream_timer, usec);
	(void)sd_event_source_set_enabled(sessions->stream_timer, SD_EVENT_ONESHOT);
}

static bool tell_stream(struct session *session)
{
	const struct wire_message message = {
		.type = WIRE_STREAM,
		.STREAM =
			{
				.session = session->id,
				.side = (uint8_t)session->side,
				.in_use = session->in_use,
				.bytes_to_target = session->bytes_to_target,
				.bytes_from_target = session->bytes_from_target,
			},
	};

	return session->owner->settings.tell(session->owner->settings.userdata, &message);
}

static int on_stream_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct sessions *sessions = userdata;
	size_t first = sessions->stream_turn, n_due = 0;
	bool told = true;

	for (size_t i = 0; i < LIMIT_SESSIONS; i++) {
		size_t place = (first + i) % LIMIT_SESSIONS;
		struct session *session = &sessions->table[place];

		if (!is_due(session) || ++n_due > 1)
			continue;
		told = tell_stream(session);
		session->untold = !told;
		sessions->stream_turn = told ? place + 1 : place;
	}
	if (!told)
		start_stream_timer(sessions, STREAM_INTERVAL_USEC);
	else if (n_due > 1)
		start_stream_timer(sessions, STREAM_TURN_USEC);
	return 0;
}

void sessions_tell_soon(struct sessions *sessions)
{
	start_stream_timer(sessions, STREAM_TURN_USEC);
}

void sessions_tell_streams(struct sessions *sessions)
{
	for (size_t i = 0; i < LIMIT_SESSIONS; i++)
		sessions->table[i].untold = sessions->table[i].used;
	start_stream_timer(sessions, 0);
}

/* Beginning */

static struct session *find(const struct sessions *sessions, uint64_t id)
{
	for (size_t i = 0; i < LIMIT_SESSIONS; i++)
		if (sessions->table[i].used && sessions->table[i].id == id)
			return (struct session *)(uintptr_t)&sessions->table[i];
	return NULL;
}

static struct session *find_unused(struct sessions *sessions)
{
	for (size_t i = 0; i < LIMIT_SESSIONS; i++)
		if (!sessions->table[i].used)
			return &sessions->table[i];
	return NULL;
}

/* Device numbers are of one class; those of other classes than USB have no bus. */
static bool is_export_of(const struct session *session, const struct identity *identity)
{
	return session->used && session->side == WIRE_SIDE_EXPORT && session->class_id == identity->class_id &&
	       session->bus == identity->bus && session->dev == identity->dev;
}

enum outcome sessions_may_begin(const struct sessions *sessions, uint64_t session, const struct identity *identity)
{
	size_t n = 0;

	for (size_t i = 0; i < LIMIT_SESSIONS; i++) {
		const struct session *other = &sessions->table[i];

		n += other->used;
		if ((other->used && other->id == session) || (identity != NULL && is_export_of(other, identity)))
			return OUTCOME_BUSY;
	}
	return n == LIMIT_SESSIONS ? OUTCOME_BUSY : OUTCOME_OK;
}

/* The common part of all: a session in the table, or FAILED said. */
static void begin(struct sessions *sessions, const struct session *wanted, struct launch_proxy *proxy)
{
	struct session *session = find_unused(sessions);

	*session = *wanted;
	session->owner = sessions;
	session->used = true;
	session_begin(session, proxy);
}

/* The snapshot as a file for the exporter, or FAILED said and -1. */
static int make_snapshot(struct sessions *sessions, uint32_t id, uint64_t session, const uint8_t *bytes, size_t len)
{
	const struct wire_message message = {
		.type = WIRE_FAILED,
		.id = id,
		.FAILED = {.session = session, .outcome = OUTCOME_SPAWN_FAILED},
	};
	int fd = -1, r = launch_sealed_file(bytes, len, &fd);

	if (r < 0) {
		log_error("cannot make a file in memory: %s", strerror(-r));
		sessions->settings.send(sessions->settings.userdata, &message);
	}
	return fd;
}

static struct session wanted_export(uint32_t id, const struct wire_EXPORT *request, const struct identity *identity)
{
	struct session wanted = {
		.state = SESSION_LISTENING,
		.side = WIRE_SIDE_EXPORT,
		.id = request->session,
		.peer = request->target,
		.request = id,
		.class_id = identity->class_id,
		.loopback = -1,
		.bus = identity->bus,
		.dev = identity->dev,
		.muted = request->muted && wire_can_mute(identity->class_id),
		.vhci_fd = -1,
	};

	memcpy(wanted.digest, request->digest, sizeof(wanted.digest));
	return wanted;
}

void sessions_export(struct sessions *sessions, uint32_t id, const struct wire_EXPORT *request,
		     const struct identity *identity, const struct snapshot_bytes *snapshot, uint8_t configuration,
		     int fd)
{
	struct session wanted = wanted_export(id, request, identity);
	_cleanup_close_ int snapshot_fd = make_snapshot(sessions, id, request->session, snapshot->bytes, snapshot->len);
	char devid[16], active[8];

	if (snapshot_fd < 0)
		return;
	(void)snprintf(devid, sizeof(devid), "%u", (unsigned int)identity->bus << 16 | identity->dev);
	(void)snprintf(active, sizeof(active), "%u", configuration);
	begin(sessions, &wanted,
	      &(struct launch_proxy){
		      .program = "usb-proxy",
		      .side = "export",
		      .extra = {"--devid", devid, "--configuration", active},
		      .data_fd = fd,
		      .snapshot_fd = snapshot_fd,
	      });
}

void sessions_export_sound(struct sessions *sessions, uint32_t id, const struct wire_EXPORT *request,
			   const struct sound_source *source)
{
	struct session wanted = wanted_export(id, request, &source->identity);
	_cleanup_close_ int snapshot_fd = make_snapshot(sessions, id, request->session, source->hello, PROXY_HELLO);
	_cleanup_close_ int nothing = open("/dev/null", O_RDWR | O_CLOEXEC); /* sound has no data fd */
	char owner[16];

	if (snapshot_fd < 0)
		return;
	(void)snprintf(owner, sizeof(owner), "%u", source->server->owner);
	begin(sessions, &wanted,
	      &(struct launch_proxy){
		      .program = "audio-proxy",
		      .side = "export",
		      .extra = {"--server", source->server->address, "--owner", owner, "--source", source->name},
		      .data_fd = nothing,
		      .snapshot_fd = snapshot_fd,
	      });
}

void sessions_export_camera(struct sessions *sessions, uint32_t id, const struct wire_EXPORT *request,
			    const struct identity *identity, const uint8_t *hello, int fd)
{
	struct session wanted = wanted_export(id, request, identity);
	_cleanup_close_ int snapshot_fd = make_snapshot(sessions, id, request->session, hello, PROXY_CAMERA_HELLO);
	char vendor[8], product[8], controls[CONTROLS_TEXT];

	if (snapshot_fd < 0)
		return;
	(void)snprintf(vendor, sizeof(vendor), "%u", identity->vendor);
	(void)snprintf(product, sizeof(product), "%u", identity->product);
	controls_write(request->controls, controls);
	begin(sessions, &wanted,
	      &(struct launch_proxy){
		      .program = "camera-proxy",
		      .side = "export",
		      .extra = {"--vendor", vendor, "--product", product, "--serial", identity->serial, "--controls",
				controls},
		      .data_fd = fd,
		      .snapshot_fd = snapshot_fd,
	      });
}

static struct session wanted_import(uint32_t id, const struct wire_IMPORT *request)
{
	struct session wanted = {
		.state = SESSION_CONNECTING,
		.side = WIRE_SIDE_IMPORT,
		.id = request->session,
		.peer = request->source,
		.request = id,
		.class_id = request->class,
		.loopback = -1,
		.vhci_fd = -1,
	};

	memcpy(wanted.digest, request->digest, sizeof(wanted.digest));
	return wanted;
}

void sessions_import(struct sessions *sessions, uint32_t id, const struct wire_IMPORT *request)
{
	struct session wanted = wanted_import(id, request);
	const int size = SOCKET_BUFFER;
	char digest[2 * DIGEST_SIZE + 1];
	int pair[2] = {-1, -1};

	digest_to_hex(request->digest, digest);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		log_error("cannot make a socket pair: %s", strerror(errno)); /* launch_proxy() refuses -1 */
	_cleanup_close_ int proxy_end = pair[0];

	wanted.vhci_fd = pair[1];
	for (size_t i = 0; i < ARRAY_SIZE(pair); i++)
		(void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	begin(sessions, &wanted,
	      &(struct launch_proxy){
		      .program = "usb-proxy",
		      .side = "import",
		      .extra = {"--digest", digest},
		      .data_fd = proxy_end,
		      .snapshot_fd = -1,
	      });
}

void sessions_import_sound(struct sessions *sessions, uint32_t id, const struct wire_IMPORT *request,
			   const struct sound_server *server)
{
	struct session wanted = wanted_import(id, request);
	_cleanup_close_ int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	char digest[2 * DIGEST_SIZE + 1], owner[16];
	struct launch_proxy proxy = {
		.program = "audio-proxy",
		.side = "import",
		.extra = {"--kind", request->class == WIRE_CLASS_SPEAKER ? "speaker" : "mic", "--digest", digest,
			  "--server", server->address, "--owner", owner, "--pipe-dir", server->dir},
		.data_fd = nothing,
		.snapshot_fd = -1,
	};

	wanted.server = *server;
	digest_to_hex(request->digest, digest);
	(void)snprintf(owner, sizeof(owner), "%u", server->owner);
	begin(sessions, &wanted, &proxy);
}

void sessions_import_camera(struct sessions *sessions, uint32_t id, const struct wire_IMPORT *request, uint8_t number,
			    int fd)
{
	struct session wanted = wanted_import(id, request);
	char digest[2 * DIGEST_SIZE + 1], width[8], height[8], fps[8];

	wanted.loopback = number;
	digest_to_hex(request->digest, digest);
	(void)snprintf(width, sizeof(width), "%u", request->width);
	(void)snprintf(height, sizeof(height), "%u", request->height);
	(void)snprintf(fps, sizeof(fps), "%u", request->fps);
	begin(sessions, &wanted,
	      &(struct launch_proxy){
		      .program = "camera-proxy",
		      .side = "import",
		      .extra = {"--width", width, "--height", height, "--fps", fps, "--digest", digest},
		      .data_fd = fd,
		      .snapshot_fd = -1,
	      });
}

/* Ending */

bool sessions_stop(struct sessions *sessions, uint32_t id, uint64_t session_id)
{
	struct session *session = find(sessions, session_id);
	const struct wire_message message = {
		.type = WIRE_STOPPED,
		.id = id,
		.STOPPED = {.session = session_id},
	};

	if (session == NULL) {
		sessions->settings.send(sessions->settings.userdata, &message);
		return true;
	}
	if (session->n_stops == ARRAY_SIZE(session->stops))
		return false;
	session->stops[session->n_stops++] = id;
	session_stop(session);
	return true;
}

void sessions_mute(struct sessions *sessions, uint32_t id, const struct wire_MUTE *request)
{
	struct session *session = find(sessions, request->session);
	struct wire_message message = {
		.type = WIRE_MUTED,
		.id = id,
		.MUTED = {.session = request->session, .muted = request->muted},
	};

	if (session != NULL && (!wire_can_mute(session->class_id) || session->side != WIRE_SIDE_EXPORT))
		message.MUTED.muted = false;
	else if (session != NULL)
		session_mute(session, request->muted);
	sessions->settings.send(sessions->settings.userdata, &message);
}

void sessions_stop_all(struct sessions *sessions)
{
	for (size_t i = 0; i < LIMIT_SESSIONS; i++)
		if (sessions->table[i].used)
			session_stop(&sessions->table[i]);
}

void sessions_forget_requests(struct sessions *sessions)
{
	for (size_t i = 0; i < LIMIT_SESSIONS; i++) {
		sessions->table[i].request = 0;
		sessions->table[i].n_stops = 0;
	}
}

bool sessions_knows_request(const struct sessions *sessions, uint32_t id)
{
	for (size_t i = 0; i < LIMIT_SESSIONS; i++) {
		const struct session *session = &sessions->table[i];

		if (session->used && session->request == id)
			return true;
		for (size_t j = 0; session->used && j < session->n_stops; j++)
			if (session->stops[j] == id)
				return true;
	}
	return false;
}

bool sessions_next(const struct sessions *sessions, size_t *cursor, struct session_view *ret_view)
{
	while (*cursor < LIMIT_SESSIONS) {
		const struct session *session = &sessions->table[(*cursor)++];

		if (!session->used)
			continue;
		*ret_view = (struct session_view){
			.session = session->id,
			.side = session->side,
			.peer = session->peer,
			.digest = session->digest,
			.muted = session->muted,
		};
		return true;
	}
	return false;
}

static void cleanup_sessions(struct sessions **sessions)
{
	*sessions = sessions_free(*sessions);
}

int sessions_new(const struct sessions_settings *settings, struct sessions **ret_sessions)
{
	_cleanup_(cleanup_sessions) struct sessions *sessions = calloc(1, sizeof(*sessions));
	int r;

	if (sessions == NULL)
		return -ENOMEM;
	sessions->settings = *settings;
	r = sd_event_add_time_relative(settings->event, &sessions->stream_timer, CLOCK_MONOTONIC, 0, 1, on_stream_timer,
				       sessions);
	if (r >= 0)
		r = sd_event_source_set_enabled(sessions->stream_timer, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret_sessions = TAKE_PTR(sessions);
	return 0;
}

struct sessions *sessions_free(struct sessions *sessions)
{
	if (sessions == NULL)
		return NULL;
	for (size_t i = 0; i < LIMIT_SESSIONS; i++)
		if (sessions->table[i].used)
			session_kill(&sessions->table[i]);
	sd_event_source_disable_unref(sessions->stream_timer);
	free(sessions);
	return NULL;
}
