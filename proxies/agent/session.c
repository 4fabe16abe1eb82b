/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carrying out what the table in machine.c says. Invariants: a port of vhci_hcd belongs to one session from the attach
 * until it was seen to be free, even if the kernel frees it earlier by itself, so that no session ever detaches
 * another one's device; the first reason why a session ends is the one that is reported; a slot of the table is used
 * again only after its end was reported. Nothing here gives an exported device back to this qube's own drivers.
 */
#include "proxies/agent/session.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/proxy/sources.h"

#define POLL_ATTACH_USEC (50 * USEC_PER_MSEC)
#define POLL_FREE_MIN_USEC (2 * USEC_PER_MSEC) /* measured: a detached port is free after 1 to 3 ms */
#define POLL_FREE_MAX_USEC (50 * USEC_PER_MSEC)
#define REMOVE_USEC (1 * USEC_PER_SEC) /* what a proxy has left at a sound server */
#define STREAM_REPORTS_AT_ONCE 3u

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
	if (session->loopback >= 0)
		loopback_announce((uint8_t)session->loopback);
	if (session->untold)
		sessions_tell_soon(session->owner);
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

	if (session->class_id != WIRE_CLASS_USB) { /* its proxy has made what there is to make */
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

static bool is_sound(const struct session *session)
{
	return session->class_id == WIRE_CLASS_MIC || session->class_id == WIRE_CLASS_SPEAKER;
}

/* The importer of a camera has ended, so nothing of ours has its device open. A program may: its session does not wait for that. */
static void remove_loopback(struct session *session)
{
	if (session->loopback >= 0)
		loopback_remove(session->owner->settings.loopback, (uint8_t)session->loopback);
	session->loopback = -1;
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
	if (is_sound(session) && session->side == WIRE_SIDE_IMPORT && !session->said_ended)
		start_remover(session);
	remove_loopback(session);
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
	if (session->class_id == WIRE_CLASS_USB && session->side == WIRE_SIDE_EXPORT) /* HP13: quarantine */
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
	sessions_tell_soon(session->owner);
	return true;
}

static void handle_report(struct session *session, const struct proxy_report *report)
{
	switch ((enum proxy_report_type)report->type) {
	case PROXY_LISTENING:
		step(session, SESSION_SAID_LISTENING);
		break;
	case PROXY_READY:
		if ((report->speed != 0) !=
		    (session->class_id == WIRE_CLASS_USB && session->side == WIRE_SIDE_IMPORT)) {
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

/* What the table of sessions wants */

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

void session_begin(struct session *session, struct launch_proxy *proxy)
{
	int r;

	session->report_fd = -1;
	session->begun_usec = now_usec(session);
	session->deadline_usec = session->begun_usec + TIMEOUT_ATTACH_STEP_USEC;
	proxy->peer = session->peer;
	proxy->session = session->id;
	r = start(session, proxy);
	if (r >= 0 && session->muted)
		session_mute(session, true); /* before its importer can say anything */
	if (r >= 0)
		return;
	log_error("cannot start a proxy: %s", strerror(-r));
	blame(session, OUTCOME_SPAWN_FAILED);
	session->state = SESSION_FREEING;
	do_free(session);
}

void session_mute(struct session *session, bool muted)
{
	const char word = muted ? PROXY_MUTE : PROXY_UNMUTE;

	if (session->report_fd < 0)
		return;
	session->muted = muted;
	if (send(session->report_fd, &word, sizeof(word), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(word))
		return;
	blame(session, OUTCOME_CRASHED);
	step(session, SESSION_SAID_NONSENSE);
}

void session_stop(struct session *session)
{
	blame(session, OUTCOME_STOPPED);
	step(session, SESSION_STOP);
}

void session_kill(struct session *session)
{
	if (session->child != NULL)
		(void)sd_event_source_send_child_signal(session->child, SIGKILL, NULL, 0);
	session->child = sd_event_source_disable_unref(session->child);
	session->timer = sd_event_source_disable_unref(session->timer);
	close_report(session);
	close_fd(&session->vhci_fd);
	remove_loopback(session);
	if (session->has_port)
		(void)vhci_detach(session->port);
}
