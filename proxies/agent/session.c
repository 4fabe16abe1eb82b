/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carrying out what the table in machine.c says. Invariants: a port of vhci_hcd belongs to one session from the attach
 * until it was seen to be free, even if the kernel frees it earlier by itself, so that no session ever detaches
 * another one's device; the first reason why a session ends is the one that is reported; a slot of the table is used
 * again only after its end was reported. Nothing here gives an exported device back to this qube's own drivers.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/digest/digest.h"
#include "lib/proxy/sources.h"
#include "proxies/agent/machine.h"
#include "proxies/agent/session.h"
#include "proxies/agent/vhci.h"

#define POLL_ATTACH_USEC (50 * USEC_PER_MSEC)
#define POLL_FREE_MIN_USEC (2 * USEC_PER_MSEC) /* measured: a detached port is free after 1 to 3 ms */
#define POLL_FREE_MAX_USEC (50 * USEC_PER_MSEC)
#define REMOVE_USEC (1 * USEC_PER_SEC) /* what a proxy has left at a sound server */
#define STREAM_TURN_USEC (USEC_PER_SEC / LIMIT_STREAM_EVENTS_PER_SEC)
#define STREAM_REPORTS_AT_ONCE 3u
#define SOCKET_BUFFER (4 * 1024 * 1024) /* bytes: with the default a 1 MiB transfer takes many wake-ups */

struct session {
	struct sessions *owner;
	bool used;
	enum session_state state;
	enum wire_side side;
	uint64_t id;
	uint16_t peer;
	uint8_t digest[WIRE_DIGEST];
	bool is_usb;
	struct sound_server server; /* import of sound */
	uint16_t bus, dev;          /* export: the device */

	uint32_t request; /* to be answered; 0: none, or answered */
	uint32_t stops[LIMIT_PEER_REQUESTS];
	size_t n_stops;
	bool has_outcome;
	enum outcome outcome;
	uint64_t bytes_to_target, bytes_from_target;
	bool in_use;
	bool untold; /* the broker has not heard of the last three */

	sd_event_source *child, *report, *timer;
	int report_fd;
	unsigned int n_reports, n_streams; /* n_streams: reports of that type */
	uint64_t begun_usec;
	uint64_t deadline_usec; /* of the attach; of the removal of what its proxy left */
	uint64_t poll_usec;
	bool killed;
	bool muted;      /* an exporter of sound passes nothing on */
	bool said_ended; /* it has removed what it had made */

	int vhci_fd; /* import: the kernel's end of the socket pair, until it is given away */
	uint8_t speed;
	uint32_t devid;
	bool has_port, detached;
	uint16_t port;
	char busid[LIMIT_PORT_TEXT];
};

struct sessions {
	struct sessions_settings settings;
	struct session table[LIMIT_SESSIONS];
	bool reserved_ports[VHCI_MAX_PORTS];
	struct vhci_status status;     /* scratch */
	sd_event_source *stream_timer; /* runs while a session is untold */
	size_t stream_turn;            /* who is told of first */
};

static void step(struct session *session, enum session_event event);

static uint64_t now_usec(const struct session *session)
{
	uint64_t now = 0;

	(void)sd_event_now(session->owner->settings.event, CLOCK_MONOTONIC, &now);
	return now;
}

static void set_timer(struct session *session, uint64_t usec)
{
	(void)sd_event_source_set_time_relative(session->timer, usec);
	(void)sd_event_source_set_enabled(session->timer, SD_EVENT_ONESHOT);
}

static void stop_timer(struct session *session)
{
	(void)sd_event_source_set_enabled(session->timer, SD_EVENT_OFF);
}

/* Why it ends: the first reason counts, all others follow from it. */
static void blame(struct session *session, enum outcome outcome)
{
	if (!session->has_outcome) {
		session->has_outcome = true;
		session->outcome = outcome;
	}
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void close_report(struct session *session)
{
	session->report = sd_event_source_disable_unref(session->report);
	close_fd(&session->report_fd);
}

static void send_message(struct session *session, const struct wire_message *message)
{
	session->owner->settings.send(session->owner->settings.userdata, message);
}

static void log_session(const struct session *session, const char *what)
{
	log_notice("session %" PRIx64 " (%s, domain %" PRIu16 "): %s", session->id,
		   session->side == WIRE_SIDE_EXPORT ? "export" : "import", session->peer, what);
}

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

void sessions_tell_streams(struct sessions *sessions)
{
	for (size_t i = 0; i < LIMIT_SESSIONS; i++)
		sessions->table[i].untold = sessions->table[i].used;
	start_stream_timer(sessions, 0);
}

/* Watches a process of the session's, or ends it. 0 or a negative errno. */
static int add_child(struct session *session, pid_t pid, sd_event_child_handler_t handler)
{
	int r = sd_event_add_child(session->owner->settings.event, &session->child, pid, WEXITED, handler, session);

	if (r >= 0)
		return 0;
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	return r;
}

/* Actions, one per enum session_action */

static void do_nothing(_unused_ struct session *session)
{
}

static void do_answer(struct session *session)
{
	struct wire_message message = {.id = session->request};

	stop_timer(session);
	log_session(session, "runs");
	if (session->untold)
		start_stream_timer(session->owner, STREAM_TURN_USEC);
	if (session->side == WIRE_SIDE_EXPORT) {
		message.type = WIRE_EXPORTED;
		message.EXPORTED.session = session->id;
	} else {
		message.type = WIRE_IMPORTED;
		message.IMPORTED.session = session->id;
	}
	if (session->request != 0)
		send_message(session, &message);
	session->request = 0;
}

static void do_attach(struct session *session)
{
	struct sessions *sessions = session->owner;
	int r;

	if (!session->is_usb) { /* its proxy has made what there is to make */
		step(session, SESSION_ENUMERATED);
		return;
	}
	r = vhci_attach(session->vhci_fd, session->speed, session->devid, sessions->reserved_ports, &session->port);

	close_fd(&session->vhci_fd);
	if (r == 0) {
		session->has_port = true;
		set_timer(session, POLL_ATTACH_USEC);
		return;
	}
	if (r < 0 || r == VHCI_REFUSED)
		log_error("vhci_hcd does not take a device: %s", strerror(r < 0 ? -r : EINVAL));
	blame(session, r == VHCI_ABSENT ? OUTCOME_NO_DRIVER : r == VHCI_NO_PORT ? OUTCOME_NO_PORT : OUTCOME_INTERNAL);
	step(session, SESSION_PORT_LOST);
}

static void do_await(struct session *session)
{
	set_timer(session, TIMEOUT_PROXY_EXIT_USEC);
}

static void do_ask(struct session *session)
{
	const char word = PROXY_STOP;

	if (session->report_fd >= 0)
		(void)send(session->report_fd, &word, sizeof(word), MSG_DONTWAIT | MSG_NOSIGNAL);
	do_await(session);
}

static void do_kill(struct session *session)
{
	if (!session->killed)
		log_session(session, "its proxy does not stop and is killed");
	session->killed = true;
	(void)sd_event_source_send_child_signal(session->child, SIGKILL, NULL, 0);
	set_timer(session, TIMEOUT_PROXY_EXIT_USEC);
}

static int on_remover(_unused_ sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct session *session = userdata;

	if (info->si_code != CLD_EXITED || info->si_status != 0)
		log_session(session, "what its proxy left at the sound server could not be removed");
	session->child = sd_event_source_disable_unref(session->child);
	return 0;
}

/* An importer of sound that was killed has left its virtual microphone. */
static void start_remover(struct session *session)
{
	struct sessions_settings *settings = &session->owner->settings;
	char name[32];
	pid_t pid;
	int r;

	(void)snprintf(name, sizeof(name), PROXY_SOUND_PREFIX "%" PRIx64, session->id);
	r = launch_remover(settings->launch, session->server.address, session->server.owner, name, &pid);
	if (r == 0)
		r = add_child(session, pid, on_remover);
	if (r < 0)
		log_error("cannot remove what a proxy left at %s: %s", session->server.address, strerror(-r));
	session->deadline_usec = now_usec(session) + REMOVE_USEC;
}

/* True when nothing of this session is left in this qube. Detaches its port if that is still attached. */
static bool is_free(struct session *session)
{
	struct vhci_status *status = &session->owner->status;
	const struct vhci_port *port;
	int r;

	if (session->child != NULL && now_usec(session) >= session->deadline_usec)
		(void)sd_event_source_send_child_signal(session->child, SIGKILL, NULL, 0);
	if (session->child != NULL)
		return false;
	if (!session->has_port)
		return true;
	r = vhci_read(status);
	if (r == VHCI_ABSENT)
		return true;
	port = r == 0 ? vhci_find(status, session->port) : NULL;
	if (port == NULL)
		return false;
	if (port->busid[0] != '\0')
		(void)snprintf(session->busid, sizeof(session->busid), "%s", port->busid);
	if (port->state == VHCI_PORT_CONNECTING || port->state == VHCI_PORT_USED) {
		/* Only then: detaching a free port is an error in the kernel's log. */
		r = session->detached ? 0 : vhci_detach(session->port);
		if (r < 0)
			log_error("cannot detach port %" PRIu16 " of vhci_hcd: %s", session->port, strerror(-r));
		session->detached = true;
		return false;
	}
	/* The port is free a moment before its device is gone. */
	return !vhci_device_exists(session->busid);
}

static void poll_free(struct session *session)
{
	if (is_free(session)) {
		step(session, SESSION_FREED);
		return;
	}
	set_timer(session, session->poll_usec);
	session->poll_usec *= 2;
	if (session->poll_usec > POLL_FREE_MAX_USEC)
		session->poll_usec = POLL_FREE_MAX_USEC;
}

static void do_free(struct session *session)
{
	struct channel_address served = {
		.server_domid = session->owner->settings.launch->own,
		.client_domid = session->peer,
	};

	session->child = sd_event_source_disable_unref(session->child);
	close_report(session);
	close_fd(&session->vhci_fd);
	if (session->side == WIRE_SIDE_EXPORT) {
		(void)snprintf(served.service, sizeof(served.service), "qdb/%" PRIx64, session->id);
		(void)channel_remove_leftovers(session->owner->settings.backend, &served);
	}
	if (!session->is_usb && session->side == WIRE_SIDE_IMPORT && !session->said_ended)
		start_remover(session);
	session->poll_usec = POLL_FREE_MIN_USEC;
	poll_free(session);
}

static void report_failure(struct session *session)
{
	bool failure = session->has_outcome && session->outcome != OUTCOME_OK;
	const struct wire_message message = {
		.type = WIRE_FAILED,
		.id = session->request,
		.FAILED =
			{
				.session = session->id,
				.outcome = (uint8_t)(failure ? session->outcome : OUTCOME_PEER_LOST),
			},
	};

	send_message(session, &message);
}

static void report_end(struct session *session)
{
	const struct wire_message message = {
		.type = WIRE_ENDED,
		.ENDED =
			{
				.session = session->id,
				.side = (uint8_t)session->side,
				.outcome = (uint8_t)(session->has_outcome ? session->outcome : OUTCOME_CRASHED),
				.bytes_to_target = session->bytes_to_target,
				.bytes_from_target = session->bytes_from_target,
			},
	};

	send_message(session, &message);
}

static void do_report(struct session *session)
{
	log_session(session, session->has_outcome ? outcome_text(session->outcome) : "it ended");
	if (session->is_usb && session->side == WIRE_SIDE_EXPORT) /* HP13: quarantine */
		log_session(session, "no driver of this qube takes the device back until it is plugged in again");
	if (session->has_port)
		session->owner->reserved_ports[session->port] = false;
	session->timer = sd_event_source_disable_unref(session->timer);
	session->used = false;
	if (session->request == 0 && session->n_stops == 0)
		report_end(session);
	if (session->request != 0)
		report_failure(session);
	for (size_t i = 0; i < session->n_stops; i++) {
		const struct wire_message message = {
			.type = WIRE_STOPPED,
			.id = session->stops[i],
			.STOPPED = {.session = session->id},
		};

		send_message(session, &message);
	}
}

static void step(struct session *session, enum session_event event)
{
	static void (*const actions[])(struct session * session) = {
		[SESSION_DO_NOTHING] = do_nothing, [SESSION_DO_ANSWER] = do_answer, [SESSION_DO_ATTACH] = do_attach,
		[SESSION_DO_ASK] = do_ask,         [SESSION_DO_AWAIT] = do_await,   [SESSION_DO_KILL] = do_kill,
		[SESSION_DO_FREE] = do_free,       [SESSION_DO_REPORT] = do_report,
	};
	struct session_step next = session_step(session->state, event);

	if (next.next != session->state)
		log_debug("session %" PRIx64 ": %s -> %s", session->id, session_state_name(session->state),
			  session_state_name(next.next));
	session->state = next.next;
	actions[next.action](session);
}

/* What the proxy says */

/* Where its streams' state goes; false: it cannot be so. */
static bool take_stream(struct session *session, const struct proxy_report *report)
{
	if (session->state == SESSION_LISTENING || session->state == SESSION_CONNECTING ||
	    report->bytes_to_target < session->bytes_to_target ||
	    report->bytes_from_target < session->bytes_from_target)
		return false;
	session->bytes_to_target = report->bytes_to_target;
	session->bytes_from_target = report->bytes_from_target;
	session->in_use = report->in_use;
	session->untold = true;
	start_stream_timer(session->owner, STREAM_TURN_USEC);
	return true;
}

static void handle_report(struct session *session, const struct proxy_report *report)
{
	switch ((enum proxy_report_type)report->type) {
	case PROXY_LISTENING:
		step(session, SESSION_SAID_LISTENING);
		break;
	case PROXY_READY:
		if ((report->speed != 0) != (session->is_usb && session->side == WIRE_SIDE_IMPORT)) {
			blame(session, OUTCOME_CRASHED);
			step(session, SESSION_SAID_NONSENSE);
			break;
		}
		session->speed = report->speed;
		session->devid = report->devid;
		step(session, SESSION_SAID_READY);
		break;
	case PROXY_STREAM:
		if (!take_stream(session, report)) {
			blame(session, OUTCOME_CRASHED);
			step(session, SESSION_SAID_NONSENSE);
		}
		break;
	case PROXY_ENDED:
		session->said_ended = true;
		session->bytes_to_target = report->bytes_to_target;
		session->bytes_from_target = report->bytes_from_target;
		blame(session, (enum outcome)report->outcome);
		step(session, SESSION_SAID_ENDED);
		break;
	}
}

/* It has little to say, and that not often; a few words may come together when we were late. */
static bool may_say(struct session *session, const struct proxy_report *report)
{
	if (report->type != PROXY_STREAM)
		return session->n_reports++ < PROXY_REPORTS_MAX;
	return session->n_streams++ <
	       STREAM_REPORTS_AT_ONCE + (now_usec(session) - session->begun_usec) / STREAM_INTERVAL_USEC;
}

/* Everything that the proxy has said so far. One that does not stop talking gets no more of our time. */
static void take_reports(struct session *session)
{
	while (session->used && session->report_fd >= 0) {
		struct proxy_report report;
		int r = proxy_report_receive(session->report_fd, &report);

		if (r == 0 && may_say(session, &report)) {
			handle_report(session, &report);
			continue;
		}
		if (r > 0)
			break;
		close_report(session);
		blame(session, OUTCOME_CRASHED); /* ENDED did not come before */
		step(session, r == -EPIPE ? SESSION_HUNG_UP : SESSION_SAID_NONSENSE);
	}
}

static int on_report(_unused_ sd_event_source *source, _unused_ int fd, _unused_ uint32_t revents, void *userdata)
{
	take_reports(userdata);
	return 0;
}

static int on_child(_unused_ sd_event_source *source, _unused_ const siginfo_t *info, void *userdata)
{
	struct session *session = userdata;

	take_reports(session);
	blame(session, OUTCOME_CRASHED);
	step(session, SESSION_EXITED);
	return 0;
}

/* What the time brings */

static void time_out(struct session *session)
{
	blame(session, OUTCOME_TIMED_OUT);
	step(session, SESSION_TIMEOUT);
}

static void poll_attach(struct session *session)
{
	struct vhci_status *status = &session->owner->status;
	const struct vhci_port *port = vhci_read(status) == 0 ? vhci_find(status, session->port) : NULL;

	if (port != NULL && port->state == VHCI_PORT_USED) {
		(void)snprintf(session->busid, sizeof(session->busid), "%s", port->busid);
		step(session, SESSION_ENUMERATED);
		return;
	}
	if (port == NULL || port->state != VHCI_PORT_CONNECTING) {
		take_reports(session); /* the proxy may have said why */
		if (session->used && session->state == SESSION_ATTACHING) {
			blame(session, OUTCOME_PEER_LOST);
			step(session, SESSION_PORT_LOST);
		}
		return;
	}
	if (now_usec(session) >= session->deadline_usec)
		time_out(session);
	else
		set_timer(session, POLL_ATTACH_USEC);
}

static int on_timer(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	static void (*const handlers[SESSION_STATE_COUNT])(struct session * session) = {
		[SESSION_LISTENING] = time_out, [SESSION_CONNECTING] = time_out, [SESSION_ATTACHING] = poll_attach,
		[SESSION_RUNNING] = do_nothing, [SESSION_STOPPING] = time_out,   [SESSION_FREEING] = poll_free,
		[SESSION_OVER] = do_nothing,
	};
	struct session *session = userdata;

	handlers[session->state](session);
	return 0;
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

enum outcome sessions_may_begin(const struct sessions *sessions, uint64_t session, const struct identity *identity)
{
	size_t n = 0;

	for (size_t i = 0; i < LIMIT_SESSIONS; i++) {
		const struct session *other = &sessions->table[i];

		n += other->used;
		if (other->used &&
		    (other->id == session || (identity != NULL && other->side == WIRE_SIDE_EXPORT &&
					      other->bus == identity->bus && other->dev == identity->dev)))
			return OUTCOME_BUSY;
	}
	return n == LIMIT_SESSIONS ? OUTCOME_BUSY : OUTCOME_OK;
}

/* Starts the proxy and watches it. Everything is undone on failure. 0 or a negative errno. */
static int start(struct session *session, struct launch_proxy *proxy)
{
	sd_event *event = session->owner->settings.event;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	session->report_fd = pair[0];
	_cleanup_close_ int proxy_end = pair[1];

	proxy->report_fd = proxy_end;
	r = sd_event_add_time_relative(event, &session->timer, CLOCK_MONOTONIC, TIMEOUT_ATTACH_STEP_USEC, 1, on_timer,
				       session);
	if (r >= 0)
		r = sd_event_add_io(event, &session->report, session->report_fd, EPOLLIN, on_report, session);
	if (r >= 0)
		r = launch_proxy(session->owner->settings.launch, proxy, &pid);
	if (r < 0)
		return r;
	return add_child(session, pid, on_child);
}

/* Tells its proxy; one that does not take its agent's word is killed. */
static void tell_muted(struct session *session)
{
	const char word = session->muted ? PROXY_MUTE : PROXY_UNMUTE;

	if (send(session->report_fd, &word, sizeof(word), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(word))
		return;
	blame(session, OUTCOME_CRASHED);
	step(session, SESSION_SAID_NONSENSE);
}

/* The common part of both: a session in the table, or FAILED said. */
static void begin(struct sessions *sessions, const struct session *wanted, struct launch_proxy *proxy)
{
	struct session *session = find_unused(sessions);
	int r;

	*session = *wanted;
	session->owner = sessions;
	session->used = true;
	session->report_fd = -1;
	session->begun_usec = now_usec(session);
	session->deadline_usec = session->begun_usec + TIMEOUT_ATTACH_STEP_USEC;
	proxy->peer = wanted->peer;
	proxy->session = wanted->id;
	r = start(session, proxy);
	if (r >= 0 && session->muted)
		tell_muted(session); /* before its importer can say anything */
	if (r >= 0)
		return;
	log_error("cannot start a proxy: %s", strerror(-r));
	blame(session, OUTCOME_SPAWN_FAILED);
	session->state = SESSION_FREEING;
	do_free(session);
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
		.is_usb = identity->class_id == WIRE_CLASS_USB,
		.bus = identity->bus,
		.dev = identity->dev,
		.muted = request->muted && identity->class_id != WIRE_CLASS_USB,
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

static struct session wanted_import(uint32_t id, const struct wire_IMPORT *request)
{
	struct session wanted = {
		.state = SESSION_CONNECTING,
		.side = WIRE_SIDE_IMPORT,
		.id = request->session,
		.peer = request->source,
		.request = id,
		.is_usb = request->class == WIRE_CLASS_USB,
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
	blame(session, OUTCOME_STOPPED);
	step(session, SESSION_STOP);
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

	if (session != NULL && (session->is_usb || session->side != WIRE_SIDE_EXPORT))
		message.MUTED.muted = false;
	else if (session != NULL && session->report_fd >= 0) {
		session->muted = request->muted;
		tell_muted(session);
	}
	sessions->settings.send(sessions->settings.userdata, &message);
}

void sessions_stop_all(struct sessions *sessions)
{
	for (size_t i = 0; i < LIMIT_SESSIONS; i++)
		if (sessions->table[i].used) {
			blame(&sessions->table[i], OUTCOME_STOPPED);
			step(&sessions->table[i], SESSION_STOP);
		}
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
	for (size_t i = 0; i < LIMIT_SESSIONS; i++) {
		struct session *session = &sessions->table[i];

		if (!session->used)
			continue;
		if (session->child != NULL)
			(void)sd_event_source_send_child_signal(session->child, SIGKILL, NULL, 0);
		session->child = sd_event_source_disable_unref(session->child);
		session->timer = sd_event_source_disable_unref(session->timer);
		close_report(session);
		close_fd(&session->vhci_fd);
		if (session->has_port)
			(void)vhci_detach(session->port);
	}
	sd_event_source_disable_unref(sessions->stream_timer);
	free(sessions);
	return NULL;
}
