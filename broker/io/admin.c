/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See admin.h. Sockets, connections and their time-outs; what the calls mean is in admin-calls.c.
 *
 * A connection goes READING -> (WAITING or VERIFYING) -> WRITING -> closed, or READING -> LISTENING. Half a close ends
 * the request; it is not a wish to go away (Qubes' own client half-closes admin.Events too). Connections stand in the order of
 * their arrival, so the first READING one of a user is the one to close when that user has too many.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "broker/core/assignments.h"
#include "broker/io/admin-device.h"
#include "broker/io/admin-events.h"
#include "broker/io/admin-shares.h"
#include "broker/io/clock.h"
#include "lib/base/log.h"

/*
 * Then those that were accepted have their turn. They come before the next ones, so no more than twice as many wait to be
 * read, and nobody whose request has come gives way to a flood of his own user's (LIMIT_ADMIN_PER_UID).
 */
#define ACCEPTS_AT_ONCE 8u
#define TIMER_ACCURACY_USEC (50 * USEC_PER_MSEC)
#define REST_USEC USEC_PER_SEC /* without accepting, when there are no more fds */
#define EVENT_MAX 2048u
#define VERIFY_LINES 500u /* of the audit log at a time; then the others have their turn */
#define ANSWER_MAX 2048u

/* ---- connections ------------------------------------------------------------------------------------------------ */

struct connection *connection_free(struct connection *connection)
{
	struct admin *admin;

	if (!connection)
		return NULL;
	admin = connection->admin;
	for (size_t i = 0; i < admin->n_connections; i++) {
		if (admin->connections[i] == connection) {
			admin->n_connections--;
			memmove(&admin->connections[i], &admin->connections[i + 1],
				(admin->n_connections - i) * sizeof(admin->connections[0]));
			break;
		}
	}
	if (connection->answers)
		(void)sd_event_source_set_enabled(admin->on_answerers, SD_EVENT_ONESHOT);
	sd_event_source_disable_unref(connection->on_check);
	audit_check_free(connection->check);
	sd_event_source_disable_unref(connection->io);
	sd_event_source_disable_unref(connection->timer);
	cleanup_close(&connection->fd);
	free(connection->bytes);
	free(connection);
	return NULL;
}

static void cleanup_connection(struct connection **connection)
{
	*connection = connection_free(*connection);
}

static int on_timeout(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata)
{
	struct connection *connection = userdata;

	log_debug("admin: uid %u pid %d took too long to %s", connection->uid, connection->pid,
		  connection->state == READING ? "send its request" : "read its reply");
	(void)connection_free(connection);
	return 0;
}

/* 0: no time-out any more */
static int set_timeout(struct connection *connection, uint64_t usec)
{
	int r = 0;

	connection->timer = sd_event_source_disable_unref(connection->timer);
	if (usec)
		r = sd_event_add_time_relative(connection->admin->event, &connection->timer, CLOCK_MONOTONIC, usec,
					       TIMER_ACCURACY_USEC, on_timeout, connection);
	return r < 0 ? r : 0;
}

/*
 * Sends what is queued. 0: all is sent; 1: the socket is full, and we are told when it is not; a negative errno: the
 * client is gone.
 */
static int flush(struct connection *connection)
{
	while (connection->done < connection->len) {
		ssize_t n = send(connection->fd, connection->bytes + connection->done,
				 connection->len - connection->done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return sd_event_source_set_io_events(connection->io, EPOLLOUT) < 0 ? -EIO : 1;
		if (n < 0)
			return -errno;
		connection->done += (size_t)n;
	}
	connection->done = connection->len = 0;
	return sd_event_source_set_io_events(connection->io, 0) < 0 ? -EIO : 0;
}

static void send_too_many(int fd)
{
	struct admin_writer writer;
	char bytes[256];

	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_exception(&writer, "QubesException",
			      "too many connections to the device broker: close one and try again");
	(void)send(fd, writer.bytes, writer.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void refuse_place(struct connection *connection)
{
	if (admin_share_line(connection))
		log_warning("admin: " CLIENT " has too many connections", CLIENT_OF(connection));
	send_too_many(connection->fd);
	(void)connection_free(connection);
}

/* Sends the reply and ends the connection, now or when the client has read it. */
static void finish(struct connection *connection, const char *bytes, size_t len)
{
	ssize_t n = send(connection->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	size_t sent = n > 0 ? (size_t)n : 0;

	if ((n < 0 && errno != EAGAIN) || sent == len) {
		(void)connection_free(connection);
		return;
	}
	admin_share_unread(connection, len - sent);
	free(connection->bytes);
	connection->bytes = malloc(len - sent);
	connection->len = len - sent;
	connection->done = 0;
	connection->state = WRITING;
	if (!connection->bytes || sd_event_source_set_io_events(connection->io, EPOLLOUT) < 0 ||
	    set_timeout(connection, TIMEOUT_ADMIN_REPLY_USEC) < 0) {
		(void)connection_free(connection);
		return;
	}
	memcpy(connection->bytes, bytes + sent, len - sent);
}

/* ---- listeners -------------------------------------------------------------------------------------------------- */

/* Queues one event; a listener that is gone or too slow is dropped: false. */
static bool tell(struct connection *listener, const char *bytes, size_t len)
{
	if (listener->done) {
		listener->len -= listener->done;
		memmove(listener->bytes, listener->bytes + listener->done, listener->len);
		listener->done = 0;
	}
	if (len > LIMIT_ADMIN_QUEUE - listener->len) {
		if (admin_share_line(listener))
			log_notice("admin: listener of " CLIENT " does not read its events; it is dropped",
				   CLIENT_OF(listener));
		(void)connection_free(listener);
		return false;
	}
	memcpy(listener->bytes + listener->len, bytes, len);
	listener->len += len;
	if (flush(listener) < 0) {
		(void)connection_free(listener);
		return false;
	}
	return true;
}

static bool is_in(const struct connection *listener, enum admin_audience to)
{
	if (listener->state != LISTENING || listener->answers != (to == ADMIN_TO_ANSWERERS))
		return false;
	return to != ADMIN_TO_DOM0_LISTENERS || !listener->qube[0];
}

/* `subject` "": an event of no qube. */
static void tell_these(void *userdata, enum admin_audience to, const char *subject, const char *event,
		       const char *const *fields)
{
	struct admin *admin = userdata;
	struct admin_writer writer;
	char bytes[EVENT_MAX];

	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_event(&writer, subject, event, fields);
	for (size_t i = admin->n_connections; i-- > 0;) {
		struct connection *listener = admin->connections[i];

		if (!writer.full && is_in(listener, to) &&
		    (strcmp(listener->filter, "dom0") == 0 || strcmp(listener->filter, subject) == 0))
			tell(listener, bytes, writer.len);
	}
}

static void tell_all(struct admin *admin, const char *subject, const char *event, const char *const *fields)
{
	tell_these(admin, ADMIN_TO_LISTENERS, subject, event, fields);
}

static int on_answerers(sd_event_source *source _unused_, void *userdata)
{
	struct admin *admin = userdata;
	unsigned int n = 0;

	for (size_t i = 0; i < admin->n_connections; i++)
		n += admin->connections[i]->answers;
	if (n != admin->n_answerers) {
		admin->n_answerers = n;
		admin->hooks.answerers(admin->userdata, n);
	}
	return 0;
}

/* False: the connection is gone. */
static bool start_listening(struct connection *connection, const char *filter)
{
	static const char *const no_fields[] = {NULL};
	struct admin_writer writer;
	char bytes[EVENT_MAX];

	if (!admin_share_listener(connection)) {
		refuse_place(connection);
		return false;
	}
	connection->state = LISTENING;
	connection->len = connection->done = 0;
	(void)strcpy(connection->filter, filter);
	if (set_timeout(connection, 0) < 0) {
		(void)connection_free(connection);
		return false;
	}
	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_event(&writer, "", "connection-established", no_fields);
	return tell(connection, bytes, writer.len);
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

static void log_request(const struct connection *connection, const struct admin_subject *subject)
{
	static const struct {
		enum core_event_type type;
		const char *what, *to;
	} words[] = {{CORE_ATTACH, "attach", "to"}, {CORE_DETACH, "detach", "from"}, {CORE_MOVE, "move", "to"},
		     {CORE_MUTE, "mute", "for"},    {CORE_UNMUTE, "unmute", "for"},  {CORE_SUSPEND, "suspend", ""}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].type == subject->type)
			log_notice("admin: " CLIENT ": %s %s %s %s", CLIENT_OF(connection), words[i].what,
				   subject->device, words[i].to, subject->target);
}

/* The connection may be gone afterwards. */
static void ask_broker(struct connection *connection, struct admin_job *job)
{
	struct admin *admin = connection->admin;

	log_request(connection, &job->subject);
	connection->state = WAITING;
	connection->token = job->event.request.token = ++admin->last_token;
	connection->subject = job->subject;
	if (set_timeout(connection, 0) < 0 || sd_event_source_set_io_events(connection->io, 0) < 0) {
		(void)connection_free(connection);
		return;
	}
	admin->hooks.request(admin->userdata, &job->event);
}

static void end_check(struct connection *connection, int r)
{
	struct admin_writer reply;
	char bytes[ANSWER_MAX];

	connection->on_check = sd_event_source_disable_unref(connection->on_check);
	admin_write_init(&reply, bytes, sizeof(bytes));
	admin_write_report(&reply, r, r < 0 ? NULL : audit_check_report(connection->check));
	finish(connection, reply.bytes, reply.len);
}

static int on_check(sd_event_source *source, void *userdata)
{
	struct connection *connection = userdata;
	int r = audit_check_step(connection->check, VERIFY_LINES);

	if (r <= 0)
		end_check(connection, r);
	else if (sd_event_source_set_enabled(source, SD_EVENT_ONESHOT) < 0)
		(void)connection_free(connection);
	return 0;
}

/* A check that is under way; a qube's gives way to its user's. */
static bool is_checking(struct admin *admin, const struct connection *wanted)
{
	for (size_t i = 0; i < admin->n_connections; i++) {
		struct connection *connection = admin->connections[i];

		if (connection->state != VERIFYING)
			continue;
		if (!connection->qube[0] || wanted->qube[0])
			return true;
		end_check(connection, -EBUSY);
		return false;
	}
	return false;
}

/* One check at a time, in what time the others leave. The connection may be gone afterwards. */
static void start_check(struct connection *connection, struct admin_writer *reply)
{
	struct admin *admin = connection->admin;
	int r;

	if (is_checking(admin, connection)) {
		admin_write_exception(reply, "QubesException",
				      "the audit log is being verified already: wait until that is done");
		finish(connection, reply->bytes, reply->len);
		return;
	}
	connection->state = VERIFYING;
	r = admin->hooks.audit_check(admin->userdata, &connection->check);
	if (r == 0)
		r = sd_event_add_defer(admin->event, &connection->on_check, on_check, connection);
	if (r >= 0)
		r = sd_event_source_set_priority(connection->on_check, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = set_timeout(connection, 0);
	if (r >= 0)
		r = sd_event_source_set_io_events(connection->io, 0);
	if (r < 0)
		end_check(connection, r);
}

/* To one connection only, which may have become too slow and gone. */
static void tell_one(void *userdata, enum admin_audience to _unused_, const char *subject, const char *event,
		     const char *const *fields)
{
	struct connection **connection = userdata;
	struct admin_writer writer;
	char bytes[EVENT_MAX];

	if (!*connection)
		return;
	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_event(&writer, subject, event, fields);
	if (!writer.full && !tell(*connection, bytes, writer.len))
		*connection = NULL;
}

/* What is open already is told first. The connection may be gone afterwards. */
static void start_answering(struct connection *connection)
{
	struct admin *admin = connection->admin;
	const struct admin_teller teller = {.tell = tell_one, .userdata = &connection};
	const struct core_question *question;
	unsigned int cursor = 0;

	connection->answers = true;
	if (start_listening(connection, "dom0")) {
		while ((question = core_next_question(admin->core, &cursor)))
			if (question->shown)
				admin_tell_question(admin->core, question, ADMIN_TO_ANSWERERS, &teller);
	}
	(void)on_answerers(admin->on_answerers, admin);
}

static void tell_change(struct admin *admin, const struct admin_job *job)
{
	if (job->told_before[0])
		tell_all(admin, job->dest_name, job->told_before, job->told_fields);
	tell_all(admin, job->dest_name, job->told_event, job->told_fields);
}

void admin_renumbered(struct admin *admin, const struct core_assignment *before, const struct core_assignment *now)
{
	struct admin_job job = {.class_id = before->class_id};

	(void)snprintf(job.dest_name, sizeof(job.dest_name), "%s", before->target);
	admin_assignment_told(&job, "device-unassign", before);
	tell_change(admin, &job);
	admin_assignment_told(&job, "device-assign", now);
	tell_change(admin, &job);
}

/* What a qube was refused of the few calls that it may make seldom: no more lines than those. */
static void log_refusal(const struct connection *connection, const struct admin_request *request,
			const struct admin_writer *reply)
{
	struct admin_reply parsed;
	char text[256];

	if (!connection->qube[0] || !admin_is_seldom(request) ||
	    admin_reply_parse(reply->bytes, reply->len, &parsed) != 0 || parsed.type != ADMIN_REPLY_EXCEPTION)
		return;
	admin_reply_text(&parsed, text, sizeof(text));
	log_notice("admin: " CLIENT ": %.*s to %.*s was refused: %s", CLIENT_OF(connection), (int)request->method.len,
		   request->method.at, (int)request->dest.len, request->dest.at, text);
}

/* Does the call, or hands it on. The connection may be gone afterwards. */
static void carry_out(struct connection *connection, struct admin_job *job)
{
	struct admin *admin = connection->admin;

	switch (admin_run(job)) {
	case ADMIN_REPLY:
		log_refusal(connection, job->request, job->reply);
		finish(connection, job->reply->bytes, job->reply->len);
		if (job->told_event[0]) {
			admin_qubes_changed(admin); /* what is stored of a qube may be all that lists it */
			tell_change(admin, job);
		}
		break;
	case ADMIN_REQUEST:
		ask_broker(connection, job);
		break;
	case ADMIN_LISTEN:
		(void)start_listening(connection, job->dest_name);
		break;
	case ADMIN_LISTEN_ASKS:
		start_answering(connection);
		break;
	case ADMIN_VERIFY:
		start_check(connection, job->reply);
		break;
	}
}

static void run_request(struct connection *connection)
{
	struct admin *admin = connection->admin;
	struct admin_request request;
	struct admin_writer reply;
	struct admin_job job = {.core = admin->core,
				.hooks = &admin->hooks,
				.userdata = admin->userdata,
				.caller = {.uid = connection->uid},
				.request = &request,
				.reply = &reply};
	int fault = admin_request_parse(connection->bytes, connection->len, &request);

	if (fault) {
		if (admin_share_line(connection))
			log_warning("admin: " CLIENT ": %s", CLIENT_OF(connection),
				    admin_fault_text((enum admin_fault)fault));
		(void)connection_free(connection);
		return;
	}
	log_debug("admin: " CLIENT ": %.*s+%.*s to %.*s", CLIENT_OF(connection), (int)request.method.len,
		  request.method.at, (int)request.argument.len, request.argument.at, (int)request.dest.len,
		  request.dest.at);
	admin_write_init(&reply, admin->reply, sizeof(admin->reply));
	if (connection->qube[0] &&
	    !admin_share_call(admin, connection->qube, admin_is_seldom(&request), clock_now_usec())) {
		admin_write_exception(&reply, "QubesException", "%s calls too often: wait a few seconds and try again",
				      connection->qube);
		finish(connection, reply.bytes, reply.len);
		return;
	}
	carry_out(connection, &job);
}

/* For whom it will be, as soon as that is there: until then it is its user's. False: the connection is gone. */
static bool read_header(struct connection *connection, size_t former_len)
{
	struct admin_request request;

	if (connection->has_header || !memchr(connection->bytes + former_len, '\0', connection->len - former_len))
		return true;
	connection->has_header = true;
	/* whatever it brings behind it: that is judged when it is its qube's */
	if (admin_request_parse(connection->bytes, strlen(connection->bytes) + 1, &request)) {
		run_request(connection); /* what follows makes it no better */
		return false;
	}
	(void)admin_caller(&request, connection->qube);
	if (admin_share_place(connection))
		return true;
	refuse_place(connection);
	return false;
}

static void read_request(struct connection *connection)
{
	size_t former_len = connection->len;
	ssize_t n = recv(connection->fd, connection->bytes + former_len, LIMIT_ADMIN_REQUEST + 1 - former_len,
			 MSG_DONTWAIT);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			(void)connection_free(connection);
		return;
	}
	connection->len += (size_t)n;
	if (!read_header(connection, former_len))
		return;
	if (n == 0 || connection->len > LIMIT_ADMIN_REQUEST)
		run_request(connection);
}

static int on_io(sd_event_source *source _unused_, int fd _unused_, uint32_t events, void *userdata)
{
	struct connection *connection = userdata;

	switch (connection->state) {
	case READING:
		read_request(connection);
		return 0;
	case WAITING:
	case VERIFYING:
	case WRITING:
	case LISTENING:
		if (events & (EPOLLHUP | EPOLLERR)) {
			(void)connection_free(connection);
			return 0;
		}
		break;
	}
	if (events & EPOLLOUT) {
		int r = flush(connection);

		if (r < 0 || (r == 0 && connection->state == WRITING))
			(void)connection_free(connection);
	}
	return 0;
}

/* ---- accepting -------------------------------------------------------------------------------------------------- */

void admin_serve(struct admin *admin, int fd, uid_t caller)
{
	_cleanup_close_ int own_fd = fd;
	_cleanup_(cleanup_connection) struct connection *connection = NULL;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (!admin_share_new(admin, caller)) {
		log_warning("admin: uid %u has too many connections", caller);
		send_too_many(fd);
		return;
	}
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return;
	connection->admin = admin;
	connection->fd = TAKE_FD(own_fd);
	connection->uid = caller;
	connection->pid = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.pid : 0;
	connection->bytes = malloc(LIMIT_ADMIN_REQUEST + 1);
	if (!connection->bytes || sd_event_add_io(admin->event, &connection->io, fd, EPOLLIN, on_io, connection) < 0 ||
	    set_timeout(connection, TIMEOUT_ADMIN_REQUEST_USEC) < 0)
		return;
	admin->connections[admin->n_connections++] = TAKE_PTR(connection);
}

static int on_rested(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata)
{
	struct admin *admin = userdata;

	(void)sd_event_source_set_enabled(admin->accept_source, SD_EVENT_ON);
	return 0;
}

/* No fd or no memory left: an idle connection gives its own, or the next client waits a while. */
static void rest(struct admin *admin)
{
	if (admin_share_evict(admin))
		return;
	log_warning("admin: no connection can be accepted: %m");
	(void)sd_event_source_set_enabled(admin->accept_source, SD_EVENT_OFF);
	admin->rest_timer = sd_event_source_disable_unref(admin->rest_timer);
	if (sd_event_add_time_relative(admin->event, &admin->rest_timer, CLOCK_MONOTONIC, REST_USEC, 0, on_rested,
				       admin) < 0)
		(void)sd_event_source_set_enabled(admin->accept_source, SD_EVENT_ON);
}

static int on_accept(sd_event_source *source _unused_, int fd, uint32_t events _unused_, void *userdata)
{
	struct admin *admin = userdata;

	for (unsigned int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		_cleanup_close_ int peer_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred peer;
		socklen_t len = sizeof(peer);

		if (peer_fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				rest(admin);
			return 0;
		}
		if (getsockopt(peer_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
			admin_serve(admin, TAKE_FD(peer_fd), peer.uid);
	}
	return 0;
}

/* ---- start and end -----------------------------------------------------------------------------------------------*/

static void cleanup_admin(struct admin **admin)
{
	*admin = admin_free(*admin);
}

int admin_new(sd_event *event, const char *socket_path, const char *group, const struct core *core,
	      const struct admin_hooks *hooks, void *userdata, struct admin **ret_admin)
{
	_cleanup_(cleanup_admin) struct admin *admin = calloc(1, sizeof(*admin));
	int r;

	if (!admin)
		return -ENOMEM;
	admin->socket.fd = admin->socket.dir_fd = -1;
	admin->event = sd_event_ref(event);
	admin->core = core;
	admin->hooks = *hooks;
	admin->userdata = userdata;
	admin->listed = admin_listed_new();
	if (!admin->listed)
		return -ENOMEM;
	r = admin_socket_open(&admin->socket, socket_path, group);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &admin->accept_source, admin->socket.fd, EPOLLIN, on_accept, admin);
	if (r < 0)
		return r;
	r = sd_event_add_defer(event, &admin->on_answerers, on_answerers, admin);
	if (r < 0)
		return r;
	admin_qubes_changed(admin);
	*ret_admin = TAKE_PTR(admin);
	return 0;
}

struct admin *admin_free(struct admin *admin)
{
	if (!admin)
		return NULL;
	while (admin->n_connections)
		(void)connection_free(admin->connections[admin->n_connections - 1]);
	sd_event_source_disable_unref(admin->on_answerers);
	sd_event_source_disable_unref(admin->rest_timer);
	sd_event_source_disable_unref(admin->accept_source);
	admin_socket_close(&admin->socket);
	sd_event_unref(admin->event);
	admin->listed = admin_listed_free(admin->listed);
	free(admin);
	return NULL;
}

/* ---- what the broker tells us ----------------------------------------------------------------------------------- */

void admin_answer(struct admin *admin, const struct core_action *action)
{
	for (size_t i = 0; i < admin->n_connections; i++) {
		struct connection *connection = admin->connections[i];
		struct admin_writer reply;
		char bytes[ANSWER_MAX];

		if (connection->state != WAITING || connection->token != action->token)
			continue;
		admin_write_init(&reply, bytes,
				 sizeof(bytes)); /* admin->reply may be in use: this is called from inside a call */
		admin_write_answer(&reply, &connection->subject, action);
		finish(connection, reply.bytes, reply.len);
		return;
	}
}

void admin_event(struct admin *admin, const struct core_action *action)
{
	const struct admin_teller teller = {.tell = tell_these, .userdata = admin};

	admin_tell_action(admin->core, action, &teller);
}

void admin_policy_changed(struct admin *admin, const char *error)
{
	tell_all(admin, "", "policy-changed",
		 (const char *[]){"state", error ? "broken" : "good", error ? "error" : NULL, error, NULL});
}

void admin_qubes_changed(struct admin *admin)
{
	const struct admin_teller teller = {.tell = tell_these, .userdata = admin};

	admin_listed_update(admin->listed, admin->core, &teller);
}
