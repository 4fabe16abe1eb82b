/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the parts meet. Invariants: the broker is told of a device only between WELCOME and the end of the connection,
 * and what it was told is the table of devices: either each change is sent, or a full list is on its way
 * (`list_wanted`).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/base.h"
#include "lib/base/controls.h"
#include "lib/base/log.h"
#include "lib/base/rate.h"
#include "lib/base/text.h"
#include "proxies/agent/agent.h"
#include "proxies/agent/attach.h"
#include "proxies/agent/control.h"
#include "proxies/agent/track.h"
#include "proxies/agent/udev.h"
#include "proxies/agent/vhci.h"

#define LIST_INTERVAL_USEC (1 * USEC_PER_SEC) /* between two full lists on one connection, at least */
#define LIST_FRAME_USEC (2 * USEC_PER_SEC / LIMIT_PEER_EVENTS_PER_SEC) /* and for each frame of it: half of our share */
#define DEVICE_FRAMES 6u                         /* DEVICE, up to four DEVICE_TEXT, DEVICE_COMMIT */
#define SCAN_INTERVAL_USEC (100 * USEC_PER_MSEC) /* between two full looks */
#define EVENTS_QUEUE (LIMIT_PEER_QUEUE / 8)      /* above this, changes wait for a full list */
#define STOP_USEC (2500 * USEC_PER_MSEC)         /* of the 3 s that a stop may take */
#define LOGS_PER_SECOND 1u                       /* about what devices do */
#define LOGS_BURST 20u

struct agent {
	struct agent_settings settings;
	uint64_t incarnation;
	struct control *control;
	struct attach_means means;
	struct udev_watch *watch; /* NULL: no USB devices and no cameras of ours */
	sd_event_source *udev, *scan_timer, *list_timer, *stop_timer;
	struct track track;
	struct rate events, logs;
	uint64_t last_scan_usec, last_list_usec; /* 0: never */

	/* Of the present connection */
	bool list_wanted;
	uint32_t list_serial; /* of the last RESCAN, 0 before it */
	size_t n_unsaid;      /* ends of sessions that HELLO named, before the broker may hear of them */
	struct wire_message unsaid[LIMIT_SESSIONS];

	struct snapshot_bytes snapshot; /* scratch */
};

static uint64_t now_usec(const struct agent *agent)
{
	uint64_t now = 0;

	(void)sd_event_now(agent->settings.event, CLOCK_MONOTONIC, &now);
	return now;
}

/* Lets `timer` run at once, or `interval` after `last`. */
static void set_timer_after(const struct agent *agent, sd_event_source *timer, uint64_t last, uint64_t interval)
{
	uint64_t now = now_usec(agent);
	uint64_t due = last == 0 || last + interval < now ? now : last + interval;

	(void)sd_event_source_set_time(timer, due);
	(void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

/* Devices -> broker */

static void send_device(struct agent *agent, const struct track_device *device)
{
	const struct identity *identity = &device->identity;
	const struct {
		enum wire_text which;
		const char *text;
	} texts[] = {
		{WIRE_TEXT_SERIAL, identity->serial},        {WIRE_TEXT_MANUFACTURER, identity->manufacturer},
		{WIRE_TEXT_PRODUCT, identity->product_name}, {WIRE_TEXT_PATH, identity->path},
		{WIRE_TEXT_PARENT, identity->parent},
	};
	struct wire_message message = {
		.type = WIRE_DEVICE,
		.DEVICE =
			{
				.slot = device->slot,
				.generation = device->generation,
				.class = identity->class_id,
				.speed = identity->speed,
				.vendor = identity->vendor,
				.product = identity->product,
				.n_interfaces = identity->n_interfaces,
			},
	};

	memcpy(message.DEVICE.interfaces, identity->interfaces, 3u * identity->n_interfaces);
	memcpy(message.DEVICE.digest, identity->digest, sizeof(message.DEVICE.digest));
	(void)snprintf(message.DEVICE.port, sizeof(message.DEVICE.port), "%s", identity->port);
	control_send(agent->control, &message);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		message = (struct wire_message){
			.type = WIRE_DEVICE_TEXT,
			.DEVICE_TEXT =
				{
					.slot = device->slot,
					.generation = device->generation,
					.which = (uint8_t)texts[i].which,
				},
		};
		(void)snprintf(message.DEVICE_TEXT.text, sizeof(message.DEVICE_TEXT.text), "%s", texts[i].text);
		if (texts[i].text[0] != '\0')
			control_send(agent->control, &message);
	}
	message = (struct wire_message){
		.type = WIRE_DEVICE_COMMIT,
		.DEVICE_COMMIT = {.slot = device->slot, .generation = device->generation},
	};
	control_send(agent->control, &message);
}

static void send_list(struct agent *agent)
{
	struct wire_message message = {.type = WIRE_LIST_BEGIN, .LIST_BEGIN = {.serial = agent->list_serial}};
	const struct track_device *device;
	size_t cursor = 0;

	agent->list_wanted = false;
	agent->last_list_usec = now_usec(agent);
	control_send(agent->control, &message);
	while ((device = track_next(&agent->track, &cursor)) != NULL)
		send_device(agent, device);
	message = (struct wire_message){
		.type = WIRE_LIST_END,
		.LIST_END = {.serial = agent->list_serial, .n_left_out = track_n_left_out(&agent->track)},
	};
	control_send(agent->control, &message);
}

/* A full list is to go out, `interval_usec` after the last one. */
static void want_list(struct agent *agent, uint64_t interval_usec)
{
	if (!control_is_ready(agent->control))
		return;
	agent->list_wanted = true;
	set_timer_after(agent, agent->list_timer, agent->last_list_usec, interval_usec);
}

/* In place of changes that would be too many: as often as our share of the broker's attention allows. */
static void want_list_some_time(struct agent *agent)
{
	size_t cursor = 0;
	uint64_t interval = LIST_INTERVAL_USEC;

	while (track_next(&agent->track, &cursor) != NULL)
		interval += DEVICE_FRAMES * LIST_FRAME_USEC;
	want_list(agent, interval);
}

static void scan(struct agent *agent);

static int on_list(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct agent *agent = userdata;

	if (!agent->list_wanted || !control_is_ready(agent->control))
		return 0;
	if (control_queued(agent->control) <= EVENTS_QUEUE) {
		if (sd_event_source_get_enabled(agent->scan_timer, NULL) > 0)
			scan(agent); /* a list shows what a RESCAN before it found */
		send_list(agent);
		return 0;
	}
	/* It reads slowly: the list waits, the rest is the control connection's care. */
	set_timer_after(agent, agent->list_timer, now_usec(agent), LIST_INTERVAL_USEC);
	return 0;
}

static void log_device(struct agent *agent, const char *port, const char *what, const char *why)
{
	if (rate_take(&agent->logs, 1, now_usec(agent)))
		log_notice("device at port %s %s%s", port, what, why);
}

/* Tells the broker, or lets a full list do so later if it would be too much (HP14, RX03). */
static void tell_change(struct agent *agent, const struct track_change *change)
{
	uint32_t n_frames = (change->gone ? 1u : 0u) + (change->added != NULL ? DEVICE_FRAMES : 0u);

	if (n_frames == 0 || agent->list_wanted || !control_is_ready(agent->control))
		return;
	if (control_queued(agent->control) > EVENTS_QUEUE || !rate_take(&agent->events, n_frames, now_usec(agent))) {
		want_list_some_time(agent);
		return;
	}
	if (change->gone) {
		const struct wire_message message = {
			.type = WIRE_DEVICE_GONE,
			.DEVICE_GONE = {.slot = change->gone_slot, .generation = change->gone_generation},
		};

		control_send(agent->control, &message);
	}
	if (change->added != NULL)
		send_device(agent, change->added);
}

/* Kernel -> table of devices */

static void want_scan(struct agent *agent)
{
	set_timer_after(agent, agent->scan_timer, agent->last_scan_usec, SCAN_INTERVAL_USEC);
}

/* Something is at that port, or was: brings the table up to date from what is there now. */
static void look_at(struct agent *agent, const struct udev_sight *sight)
{
	struct track_change change = {0};
	struct identity identity;
	const char *reason;
	uint16_t dev;
	int r = IDENTITY_GONE;

	if (sight->ours)
		r = identity_read(sight->syspath, sight->port, &identity, &agent->snapshot, &dev, &reason);
	switch (r) {
	case 0:
		if (!track_put(&agent->track, &identity, &change))
			log_device(agent, sight->port, "left out: ", "there are too many");
		break;
	case IDENTITY_BAD:
		if (track_leave_out(&agent->track, sight->port, dev, &change))
			log_device(agent, sight->port, "left out: ", reason);
		break;
	default:
		track_remove(&agent->track, sight->port, sight->dev, &change);
		break;
	}
	if (change.added != NULL)
		log_device(agent, sight->port, "is there", "");
	tell_change(agent, &change);
	if (change.gone && change.added == NULL) {
		log_device(agent, sight->port, "is gone", "");
		if (track_has_room_again(&agent->track))
			want_scan(agent);
	}
}

static void on_found(void *userdata, const struct udev_sight *sight)
{
	struct agent *agent = userdata;

	if (sight->kind == UDEV_VIDEO)
		video_see(agent->means.video, sight);
	else
		look_at(agent, sight);
}

/* There it gives away the one microphone, and takes nothing: no descriptor is read, no driver is loaded. */
static bool is_in_dom0(const struct agent *agent)
{
	return agent->settings.launch.own == 0;
}

static bool is_exporter(const struct agent *agent)
{
	return (agent->settings.roles & WIRE_ROLE_EXPORT) != 0;
}

static void put(struct agent *agent, const struct identity *identity)
{
	struct track_change change = {0};

	if (!track_put(&agent->track, identity, &change))
		log_device(agent, identity->port, "left out: ", "there are too many");
	if (change.added != NULL)
		log_device(agent, identity->port, "is there", "");
	tell_change(agent, &change);
}

static void look_at_sources(struct agent *agent)
{
	struct sound_source source;
	size_t cursor = 0;

	while (is_exporter(agent) && sound_next(agent->means.sound, &cursor, &source))
		put(agent, &source.identity);
}

/* One that is left out may have no port: it goes by its node's name, which is no port. */
static void look_at_cameras(struct agent *agent)
{
	struct video_camera camera;
	size_t cursor = 0;

	while (video_next(agent->means.video, &cursor, &camera)) {
		struct track_change change;

		if (camera.reason == NULL)
			put(agent, &camera.identity);
		else if (track_leave_out(&agent->track, camera.name, 0, &change))
			log_device(agent, camera.name, "left out: ", camera.reason);
	}
}

/* All that udev knows. 0 or a negative errno: then some of it was not seen. */
static int look_at_all(struct agent *agent)
{
	int r = udev_watch_scan(agent->watch, UDEV_USB, on_found, agent);

	if (r < 0)
		return r;
	video_look_begin(agent->means.video);
	r = udev_watch_scan(agent->watch, UDEV_VIDEO, on_found, agent);
	if (r < 0)
		return r;
	video_look_end(agent->means.video);
	look_at_cameras(agent);
	return 0;
}

static void scan(struct agent *agent)
{
	struct track_change change;
	int r = 0;

	agent->last_scan_usec = now_usec(agent);
	(void)sd_event_source_set_enabled(agent->scan_timer, SD_EVENT_OFF);
	if (agent->watch == NULL && agent->means.sound == NULL)
		return;
	track_scan_begin(&agent->track);
	look_at_sources(agent);
	if (agent->watch != NULL)
		r = look_at_all(agent);
	if (r < 0) {
		log_error("cannot enumerate devices: %s", strerror(-r));
		return; /* what was seen is known; nothing is taken for gone */
	}
	while (track_sweep(&agent->track, &change))
		tell_change(agent, &change);
}

static int on_scan(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	scan(userdata);
	return 0;
}

static int on_udev(_unused_ sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata)
{
	struct agent *agent = userdata;
	struct udev_sight sight;
	int r = udev_watch_receive(agent->watch, &sight);

	if (r == 0)
		on_found(agent, &sight);
	if (r == UDEV_LOST) {
		log_warning("udev events were lost: looking at all devices again");
		want_scan(agent);
	}
	return 0;
}

/* Sessions -> broker. A session that HELLO named may end before WELCOME: that is said after it. */
static void on_session_word(void *userdata, const struct wire_message *message)
{
	struct agent *agent = userdata;

	/* A camera's exporter has found it other than it said: no event tells that. */
	if (message->type == WIRE_FAILED && message->FAILED.outcome == OUTCOME_CHANGED && agent->means.video != NULL)
		video_ask_again(agent->means.video, true);
	if (control_is_ready(agent->control))
		control_send(agent->control, message);
	else if (message->type == WIRE_ENDED && agent->n_unsaid < ARRAY_SIZE(agent->unsaid))
		agent->unsaid[agent->n_unsaid++] = *message;
}

/* False: what else there is to say goes first. Without a broker there is nobody to tell, and the next one is told all. */
static bool on_stream_word(void *userdata, const struct wire_message *message)
{
	struct agent *agent = userdata;

	if (!control_is_ready(agent->control))
		return true;
	if (control_queued(agent->control) > 0)
		return false;
	control_send(agent->control, message);
	return true;
}

/* Broker -> agent */

static void send_failed(struct agent *agent, uint32_t id, uint64_t session, enum outcome outcome)
{
	const struct wire_message message = {
		.type = WIRE_FAILED,
		.id = id,
		.FAILED = {.session = session, .outcome = (uint8_t)outcome},
	};

	log_notice("session %" PRIx64 " refused: %s", session, outcome_text(outcome));
	control_send(agent->control, &message);
}

static uint16_t present_roles(const struct agent *agent)
{
	uint16_t roles = agent->settings.roles;

	if (agent->watch == NULL && agent->means.sound == NULL)
		roles &= (uint16_t)~WIRE_ROLE_EXPORT;
	if (!vhci_present())
		roles &= (uint16_t)~WIRE_ROLE_IMPORT;
	if (!loopback_present())
		roles &= (uint16_t)~WIRE_ROLE_IMPORT_WEBCAM;
	if (agent->means.sound == NULL)
		roles &= (uint16_t) ~(WIRE_ROLE_IMPORT_MIC | WIRE_ROLE_IMPORT_SPEAKER);
	return roles;
}

static void on_connected(void *userdata)
{
	struct agent *agent = userdata;
	struct wire_message message = {
		.type = WIRE_HELLO,
		.HELLO =
			{
				.version = WIRE_VERSION,
				.roles = present_roles(agent),
				.incarnation = agent->incarnation,
			},
	};
	struct session_view view;
	size_t cursor = 0;

	agent->n_unsaid = 0;
	agent->list_serial = 0;
	agent->last_list_usec = 0;
	control_send(agent->control, &message);
	while (sessions_next(agent->means.sessions, &cursor, &view)) {
		message = (struct wire_message){
			.type = WIRE_SESSION,
			.SESSION = {.session = view.session, .side = (uint8_t)view.side, .peer = view.peer},
		};
		memcpy(message.SESSION.digest, view.digest, sizeof(message.SESSION.digest));
		message.SESSION.muted = view.muted;
		control_send(agent->control, &message);
	}
}

static void on_disconnected(void *userdata)
{
	struct agent *agent = userdata;

	agent->list_wanted = false;
	agent->n_unsaid = 0;
	sessions_forget_requests(agent->means.sessions);
}

static void on_welcome(struct agent *agent, const struct wire_message *message)
{
	if (message->WELCOME.version != WIRE_VERSION || message->WELCOME.domid != agent->settings.launch.own) {
		control_cut(agent->control, message->WELCOME.version != WIRE_VERSION
						    ? "the broker has another version of the protocol"
						    : "the broker takes us for another domain");
		return;
	}
	send_list(agent);
	for (size_t i = 0; i < agent->n_unsaid; i++)
		control_send(agent->control, &agent->unsaid[i]);
	agent->n_unsaid = 0;
	sessions_tell_streams(agent->means.sessions);
}

static void on_rescan(struct agent *agent, const struct wire_message *message)
{
	agent->list_serial = message->RESCAN.serial;
	if (agent->means.video != NULL)
		video_ask_again(agent->means.video, false);
	want_list(agent, LIST_INTERVAL_USEC); /* first: what the scan finds is in the list, not in events before it */
	want_scan(agent);
}

/* The device that is asked for; what else must be right before it is opened is of its class. */
static enum outcome find_device(struct agent *agent, const struct wire_EXPORT *request,
				const struct track_device **ret_device)
{
	const struct track_device *device = track_find(&agent->track, request->slot, request->generation);

	if ((present_roles(agent) & WIRE_ROLE_EXPORT) == 0 || request->target == agent->settings.launch.own)
		return OUTCOME_UNSUPPORTED;
	if (device == NULL)
		return OUTCOME_NO_DEVICE;
	if (memcmp(device->identity.digest, request->digest, sizeof(request->digest)) != 0)
		return OUTCOME_CHANGED;
	if (device->identity.class_id != WIRE_CLASS_WEBCAM && !controls_are_none(request->controls))
		return OUTCOME_UNSUPPORTED;
	*ret_device = device;
	return sessions_may_begin(agent->means.sessions, request->session, &device->identity);
}

static void on_export(struct agent *agent, const struct wire_message *message)
{
	const struct track_device *device = NULL;
	enum outcome outcome = find_device(agent, &message->EXPORT, &device);

	if (outcome == OUTCOME_OK)
		outcome = attach_export(&agent->means, message, &device->identity);
	if (outcome != OUTCOME_OK)
		send_failed(agent, message->id, message->EXPORT.session, outcome);
}

static void on_import(struct agent *agent, const struct wire_message *message)
{
	const struct wire_IMPORT *request = &message->IMPORT;
	enum outcome outcome = OUTCOME_UNSUPPORTED;

	if ((agent->settings.roles & WIRE_ROLE_IMPORT) != 0 && request->source != agent->settings.launch.own)
		outcome = attach_import(&agent->means, message);
	if (outcome != OUTCOME_OK)
		send_failed(agent, message->id, request->session, outcome);
}

static void on_stop(struct agent *agent, const struct wire_message *message)
{
	if (!sessions_stop(agent->means.sessions, message->id, message->STOP.session))
		control_cut(agent->control, "the broker stops one session too often");
}

static void on_mute(struct agent *agent, const struct wire_message *message)
{
	sessions_mute(agent->means.sessions, message->id, &message->MUTE);
}

static void on_ping(struct agent *agent, const struct wire_message *message)
{
	const struct wire_message pong = {
		.type = WIRE_PONG,
		.id = message->id,
		.PONG = {.nonce = message->PING.nonce},
	};

	control_send(agent->control, &pong);
}

static void on_message(void *userdata, const struct wire_message *message)
{
	static const struct {
		enum wire_type type;
		void (*handle)(struct agent *agent, const struct wire_message *message);
	} handlers[] = {
		{WIRE_WELCOME, on_welcome}, {WIRE_RESCAN, on_rescan}, {WIRE_EXPORT, on_export},
		{WIRE_IMPORT, on_import},   {WIRE_STOP, on_stop},     {WIRE_PING, on_ping},
		{WIRE_MUTE, on_mute},
	};
	struct agent *agent = userdata;

	if (message->id != 0 && sessions_knows_request(agent->means.sessions, message->id)) {
		control_cut(agent->control, "the broker uses the number of a request that is not answered yet");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == message->type)
			handlers[i].handle(agent, message);
}

/* Beginning and end */

static void on_devices(void *userdata)
{
	want_scan(userdata);
}

static int prepare_export(struct agent *agent)
{
	const struct video_settings settings = {
		.event = agent->settings.event,
		.launch = &agent->settings.launch,
		.changed = on_devices,
		.userdata = agent,
	};
	int r = video_new(&settings, &agent->means.video);

	if (r < 0)
		return r;
	r = udev_watch_new(&agent->watch);
	if (r < 0) {
		log_notice("no udev here (%s): this qube offers no devices", strerror(-r));
		return 0;
	}
	r = sd_event_add_io(agent->settings.event, &agent->udev, udev_watch_fd(agent->watch), EPOLLIN, on_udev, agent);
	if (r >= 0)
		scan(agent); /* after the watch: nothing is missed in between */
	return r;
}

static int prepare_sound(struct agent *agent)
{
	const struct sound_settings settings = {
		.event = agent->settings.event,
		.launch = &agent->settings.launch,
		.dir = agent->settings.sound_dir,
		.dom0 = is_in_dom0(agent),
		.changed = on_devices,
		.userdata = agent,
	};

	return settings.dir != NULL ? sound_new(&settings, &agent->means.sound) : 0;
}

/* Where devices of other qubes appear. */
static int prepare_import(struct agent *agent)
{
	int r = loopback_new(agent->settings.event, &agent->means.loopback);

	if (r < 0)
		return r;
	vhci_prepare();
	loopback_prepare(agent->means.loopback);
	return 0;
}

/* The service that a killed agent was serving; with Xen its nodes went with all others. */
static void remove_leftovers(const struct agent *agent)
{
	struct channel_address address = {.server_domid = agent->settings.launch.own};
	uint32_t number = publisher_clean(agent->settings.publisher);

	if (number == 0)
		return;
	(void)snprintf(address.service, sizeof(address.service), "device-agent/%" PRIu32, number);
	(void)channel_remove_leftovers(agent->settings.backend, &address);
}

static int on_stop_timeout(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct agent *agent = userdata;

	log_warning("not all sessions could be stopped in time");
	return sd_event_exit(agent->settings.event, 0);
}

/* After each turn: all sessions over? */
static int on_stop_check(_unused_ sd_event_source *source, void *userdata)
{
	struct agent *agent = userdata;
	struct session_view view;
	size_t cursor = 0;

	if (!sessions_next(agent->means.sessions, &cursor, &view))
		return sd_event_exit(agent->settings.event, 0);
	return 0;
}

static int add_timer(struct agent *agent, sd_event_source **ret_timer, sd_event_time_handler_t handler)
{
	int r = sd_event_add_time_relative(agent->settings.event, ret_timer, CLOCK_MONOTONIC, 0, 1, handler, agent);

	return r < 0 ? r : sd_event_source_set_enabled(*ret_timer, SD_EVENT_OFF);
}

static int start_timers(struct agent *agent)
{
	int r = add_timer(agent, &agent->scan_timer, on_scan);

	if (r >= 0)
		r = add_timer(agent, &agent->list_timer, on_list);
	if (r >= 0)
		r = add_timer(agent, &agent->stop_timer, on_stop_timeout);
	return r;
}

static int start_sessions(struct agent *agent)
{
	const struct sessions_settings settings = {
		.event = agent->settings.event,
		.backend = agent->settings.backend,
		.launch = &agent->settings.launch,
		.loopback = agent->means.loopback,
		.send = on_session_word,
		.tell = on_stream_word,
		.userdata = agent,
	};

	return sessions_new(&settings, &agent->means.sessions);
}

static int start(struct agent *agent)
{
	static const struct control_handlers handlers = {
		.connected = on_connected,
		.message = on_message,
		.disconnected = on_disconnected,
	};
	const struct control_settings control = {
		.event = agent->settings.event,
		.backend = agent->settings.backend,
		.publisher = agent->settings.publisher,
		.own = agent->settings.launch.own,
		.handlers = &handlers,
		.userdata = agent,
	};
	int r = start_timers(agent);

	if (r < 0)
		return r;
	remove_leftovers(agent);
	if ((agent->settings.roles & WIRE_ROLE_IMPORT) != 0)
		r = prepare_import(agent);
	if (r >= 0)
		r = start_sessions(agent);
	if (r >= 0)
		r = prepare_sound(agent);
	if (r >= 0)
		r = control_new(&control, &agent->control);
	if (r >= 0 && is_exporter(agent) && !is_in_dom0(agent))
		r = prepare_export(agent);
	return r;
}

static void cleanup_agent(struct agent **agent)
{
	(void)agent_free(*agent);
}

int agent_new(const struct agent_settings *settings, struct agent **ret_agent)
{
	_cleanup_(cleanup_agent) struct agent *agent = calloc(1, sizeof(*agent));
	int r;

	if (agent == NULL)
		return -ENOMEM;
	agent->settings = *settings;
	if (is_in_dom0(agent))
		agent->settings.roles &= WIRE_ROLE_EXPORT;
	track_init(&agent->track);
	rate_init(&agent->events, LIMIT_PEER_EVENTS_PER_SEC, LIMIT_PEER_EVENTS_BURST, now_usec(agent));
	rate_init(&agent->logs, LOGS_PER_SECOND, LOGS_BURST, now_usec(agent));
	if (getrandom(&agent->incarnation, sizeof(agent->incarnation), 0) != sizeof(agent->incarnation))
		return -EIO;
	r = start(agent);
	if (r < 0)
		return r;
	*ret_agent = TAKE_PTR(agent);
	return 0;
}

void agent_stop(struct agent *agent)
{
	agent->settings.roles = 0; /* nothing new begins */
	sessions_stop_all(agent->means.sessions);
	(void)sd_event_source_set_time_relative(agent->stop_timer, STOP_USEC);
	(void)sd_event_source_set_enabled(agent->stop_timer, SD_EVENT_ONESHOT);
	if (sd_event_add_post(agent->settings.event, NULL, on_stop_check, agent) < 0)
		log_error("cannot wait for the sessions' end");
	(void)on_stop_check(NULL, agent); /* that source begins with the next turn */
}

struct agent *agent_free(struct agent *agent)
{
	if (agent == NULL)
		return NULL;
	agent->udev = sd_event_source_disable_unref(agent->udev);
	agent->scan_timer = sd_event_source_disable_unref(agent->scan_timer);
	agent->list_timer = sd_event_source_disable_unref(agent->list_timer);
	agent->stop_timer = sd_event_source_disable_unref(agent->stop_timer);
	agent->watch = udev_watch_free(agent->watch);
	agent->means.sound = sound_free(agent->means.sound);
	agent->means.video = video_free(agent->means.video);
	agent->means.sessions = sessions_free(agent->means.sessions);
	agent->means.loopback = loopback_free(agent->means.loopback);
	agent->control = control_free(agent->control);
	free(agent);
	return NULL;
}
