/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See admin.h. Sockets, connections and their time-outs; what the calls mean is in admin-calls.c.
 *
 * A connection goes READING -> (WAITING or VERIFYING) -> WRITING -> closed, or READING -> LISTENING. Half a close ends
 * the request; it is not a wish to go away (Qubes' own client half-closes admin.Events too). Connections stand in the order of
 * their arrival, so the first READING one of a user is the one to close when that user has too many.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "broker/core/assignments.h"
#include "broker/io/admin-calls.h"
#include "broker/io/admin-device.h"
#include "broker/io/admin-events.h"
#include "broker/io/admin-listed.h"
#include "broker/io/admin.h"
#include "lib/base/log.h"

#define BACKLOG 128
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

enum connection_state { READING, WAITING, VERIFYING, WRITING, LISTENING };

struct connection {
	struct admin *admin;
	enum connection_state state;
	int fd;
	uid_t uid;
	pid_t pid; /* for the log only */
	sd_event_source *io, *timer;

	char *bytes; /* READING: the request; LISTENING: the queue; WRITING: what is left of the reply */
	size_t len, done;

	uint64_t token; /* WAITING */
	struct admin_subject subject;
	char filter[LIMIT_QUBE_NAME + 1]; /* LISTENING: events of this qube; "dom0": all */
	bool answers;                     /* LISTENING: to questions only, and answers them */
	struct audit_check *check;        /* VERIFYING */
	sd_event_source *on_check;
};

struct admin {
	sd_event *event;
	const struct core *core;
	struct admin_hooks hooks;
	void *userdata;

	int listen_fd, dir_fd;
	char socket_name[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct stat socket_stat; /* so that we remove only our own */
	sd_event_source *accept_source, *rest_timer;
	sd_event_source *on_answerers; /* some have gone: the broker is told from the loop, not from inside the core */
	unsigned int n_answerers;      /* as the broker knows */

	struct connection *connections[LIMIT_ADMIN_CONNECTIONS];
	size_t n_connections;
	uint64_t last_token;
	struct admin_listed *listed;
	char reply[LIMIT_ADMIN_REPLY];
};

/* ---- connections ------------------------------------------------------------------------------------------------ */

static struct connection *connection_free(struct connection *connection)
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

/* Bytes of replies that this user, or (NULL) all, have not read. */
static size_t unread(const struct admin *admin, const uid_t *uid)
{
	size_t len = 0;

	for (size_t i = 0; i < admin->n_connections; i++)
		if (admin->connections[i]->state == WRITING && (!uid || admin->connections[i]->uid == *uid))
			len += admin->connections[i]->len - admin->connections[i]->done;
	return len;
}

/* The oldest reply of this user, or (NULL) of anybody, is given up; false: there is none. */
static bool drop_reply(struct admin *admin, const uid_t *uid)
{
	for (size_t i = 0; i < admin->n_connections; i++) {
		struct connection *connection = admin->connections[i];

		if (connection->state != WRITING || (uid && connection->uid != *uid))
			continue;
		log_notice("admin: uid %u pid %d does not read its reply, and more are waiting; it is dropped",
			   connection->uid, connection->pid);
		(void)connection_free(connection);
		return true;
	}
	return false;
}

/* For `len` bytes more that wait to be read. */
static void make_room_to_wait(struct admin *admin, uid_t uid, size_t len)
{
	while (unread(admin, &uid) + len > LIMIT_ADMIN_UNREAD && drop_reply(admin, &uid))
		continue;
	while (unread(admin, NULL) + len > LIMIT_ADMIN_UNREAD_ALL && drop_reply(admin, NULL))
		continue;
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
	make_room_to_wait(connection->admin, connection->uid, len - sent);
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
		log_notice("admin: listener of uid %u pid %d does not read its events; it is dropped", listener->uid,
			   listener->pid);
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

/* To listeners to events, or to those who answer questions. `subject` "": an event of no qube. */
static void tell_these(void *userdata, bool answers, const char *subject, const char *event, const char *const *fields)
{
	struct admin *admin = userdata;
	struct admin_writer writer;
	char bytes[EVENT_MAX];

	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_event(&writer, subject, event, fields);
	for (size_t i = admin->n_connections; i-- > 0;) {
		struct connection *listener = admin->connections[i];

		if (listener->state == LISTENING && !writer.full && listener->answers == answers &&
		    (strcmp(listener->filter, "dom0") == 0 || strcmp(listener->filter, subject) == 0))
			tell(listener, bytes, writer.len);
	}
}

static void tell_all(struct admin *admin, const char *subject, const char *event, const char *const *fields)
{
	tell_these(admin, false, subject, event, fields);
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
	} words[] = {{CORE_ATTACH, "attach", "to"},
		     {CORE_DETACH, "detach", "from"},
		     {CORE_MOVE, "move", "to"},
		     {CORE_SUSPEND, "suspend", ""}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].type == subject->type)
			log_notice("admin: uid %u pid %d: %s %s %s %s", connection->uid, connection->pid, words[i].what,
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

/* One check at a time, whoever wants it, in what time the others leave. The connection may be gone afterwards. */
static void start_check(struct connection *connection, struct admin_writer *reply)
{
	struct admin *admin = connection->admin;
	int r;

	for (size_t i = 0; i < admin->n_connections; i++) {
		if (admin->connections[i]->state != VERIFYING)
			continue;
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
static void tell_one(void *userdata, bool answers _unused_, const char *subject, const char *event,
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
				admin_tell_question(admin->core, question, true, &teller);
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

static void run_request(struct connection *connection)
{
	struct admin *admin = connection->admin;
	struct admin_request request;
	struct admin_writer reply;
	struct admin_job job = {.core = admin->core,
				.hooks = &admin->hooks,
				.userdata = admin->userdata,
				.caller = connection->uid,
				.request = &request,
				.reply = &reply};
	int fault = admin_request_parse(connection->bytes, connection->len, &request);

	if (fault) {
		log_warning("admin: uid %u pid %d: %s", connection->uid, connection->pid,
			    admin_fault_text((enum admin_fault)fault));
		(void)connection_free(connection);
		return;
	}
	log_debug("admin: uid %u pid %d: %.*s+%.*s to %.*s", connection->uid, connection->pid, (int)request.method.len,
		  request.method.at, (int)request.argument.len, request.argument.at, (int)request.dest.len,
		  request.dest.at);
	admin_write_init(&reply, admin->reply, sizeof(admin->reply));
	switch (admin_run(&job)) {
	case ADMIN_REPLY:
		finish(connection, reply.bytes, reply.len);
		if (job.told_event[0]) {
			admin_qubes_changed(admin); /* what is stored of a qube may be all that lists it */
			tell_change(admin, &job);
		}
		break;
	case ADMIN_REQUEST:
		ask_broker(connection, &job);
		break;
	case ADMIN_LISTEN:
		(void)start_listening(connection, job.dest_name);
		break;
	case ADMIN_LISTEN_ASKS:
		start_answering(connection);
		break;
	case ADMIN_VERIFY:
		start_check(connection, &reply);
		break;
	}
}

static void read_request(struct connection *connection)
{
	ssize_t n = recv(connection->fd, connection->bytes + connection->len, LIMIT_ADMIN_REQUEST + 1 - connection->len,
			 MSG_DONTWAIT);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			(void)connection_free(connection);
		return;
	}
	connection->len += (size_t)n;
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

/* Closes the oldest connection that has not sent its request, of this user, or (NULL) of any. */
static bool evict(struct admin *admin, const uid_t *uid)
{
	for (size_t i = 0; i < admin->n_connections; i++) {
		struct connection *connection = admin->connections[i];

		if (connection->state == READING && (!uid || connection->uid == *uid)) {
			log_debug("admin: uid %u pid %d gives way: too many connections", connection->uid,
				  connection->pid);
			(void)connection_free(connection);
			return true;
		}
	}
	return false;
}

static bool make_room(struct admin *admin, uid_t uid)
{
	size_t n_own = 0;

	for (size_t i = 0; i < admin->n_connections; i++)
		n_own += admin->connections[i]->uid == uid;
	if (n_own >= LIMIT_ADMIN_PER_UID && !evict(admin, &uid))
		return false;
	return admin->n_connections < LIMIT_ADMIN_CONNECTIONS || evict(admin, &uid) || evict(admin, NULL);
}

static void refuse_connection(int fd, uid_t uid)
{
	struct admin_writer writer;
	char bytes[256];

	admin_write_init(&writer, bytes, sizeof(bytes));
	admin_write_exception(&writer, "QubesException",
			      "too many connections to the device broker: close one and try again");
	(void)send(fd, writer.bytes, writer.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	log_warning("admin: uid %u has too many connections", uid);
}

void admin_serve(struct admin *admin, int fd, uid_t caller)
{
	_cleanup_close_ int own_fd = fd;
	_cleanup_(cleanup_connection) struct connection *connection = NULL;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (!make_room(admin, caller)) {
		refuse_connection(fd, caller);
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
	if (evict(admin, NULL))
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

/* ---- the socket ------------------------------------------------------------------------------------------------- */

static int find_group(const char *group, gid_t *ret_gid)
{
	struct group *entry;

	*ret_gid = getegid();
	if (!group)
		return 0;
	entry = getgrnam(group);
	if (!entry)
		return -ESRCH;
	*ret_gid = entry->gr_gid;
	return 0;
}

/* Opens the socket's directory, which must be ours alone to write; makes it if it is missing. */
static int open_dir(const char *path, gid_t gid)
{
	_cleanup_close_ int fd = -1;
	struct stat stat;
	mode_t mask = umask(0027); /* its group must get through, whatever umask we were started with */
	int r = mkdir(path, 0750) < 0 ? -errno : 0;
	bool made = r == 0;

	(void)umask(mask);
	if (!made && r != -EEXIST)
		return r;
	fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR ? -ELOOP : -errno;
	if (made && chown(path, (uid_t)-1, gid) < 0)
		return -errno;
	if (fstat(fd, &stat) < 0)
		return -errno;
	if ((stat.st_uid != geteuid() && stat.st_uid != 0) || (stat.st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	return TAKE_FD(fd);
}

/* What lies at the socket's place from an earlier life is removed, if it is ours and dead. */
static int clear_place(int dir_fd, const char *name, const struct sockaddr_un *address)
{
	_cleanup_close_ int fd = -1;
	struct stat stat;

	if (fstatat(dir_fd, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISLNK(stat.st_mode))
		return -ELOOP;
	if (!S_ISSOCK(stat.st_mode) || stat.st_uid != geteuid())
		return -EPERM;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlinkat(dir_fd, name, 0) < 0 ? -errno : 0;
}

static int open_socket(struct admin *admin, const char *socket_path, gid_t gid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *slash = strrchr(socket_path, '/');
	char dir[sizeof(admin->socket_name)];
	mode_t mask;
	int r;

	if (!slash || slash == socket_path || !slash[1])
		return -EINVAL;
	if (strlen(socket_path) >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, socket_path, (size_t)(slash - socket_path));
	dir[slash - socket_path] = '\0';
	(void)strcpy(admin->socket_name, slash + 1);
	admin->dir_fd = open_dir(dir, gid);
	if (admin->dir_fd < 0)
		return admin->dir_fd;
	/* through the directory that was checked, whatever happens to the path */
	r = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", admin->dir_fd,
		     admin->socket_name);
	if (r < 0 || (size_t)r >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	r = clear_place(admin->dir_fd, admin->socket_name, &address);
	if (r < 0)
		return r;
	admin->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (admin->listen_fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(admin->listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r < 0)
		return r;
	if (fstatat(admin->dir_fd, admin->socket_name, &admin->socket_stat, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchownat(admin->dir_fd, admin->socket_name, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(admin->dir_fd, admin->socket_name, 0660, 0) < 0 || listen(admin->listen_fd, BACKLOG) < 0)
		return -errno;
	return 0;
}

static void cleanup_admin(struct admin **admin)
{
	*admin = admin_free(*admin);
}

int admin_new(sd_event *event, const char *socket_path, const char *group, const struct core *core,
	      const struct admin_hooks *hooks, void *userdata, struct admin **ret_admin)
{
	_cleanup_(cleanup_admin) struct admin *admin = calloc(1, sizeof(*admin));
	gid_t gid;
	int r;

	if (!admin)
		return -ENOMEM;
	admin->listen_fd = admin->dir_fd = -1;
	admin->event = sd_event_ref(event);
	admin->core = core;
	admin->hooks = *hooks;
	admin->userdata = userdata;
	admin->listed = admin_listed_new();
	if (!admin->listed)
		return -ENOMEM;
	r = find_group(group, &gid);
	if (r < 0)
		return r;
	r = open_socket(admin, socket_path, gid);
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &admin->accept_source, admin->listen_fd, EPOLLIN, on_accept, admin);
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
	struct stat stat;

	if (!admin)
		return NULL;
	while (admin->n_connections)
		(void)connection_free(admin->connections[admin->n_connections - 1]);
	sd_event_source_disable_unref(admin->on_answerers);
	sd_event_source_disable_unref(admin->rest_timer);
	sd_event_source_disable_unref(admin->accept_source);
	if (admin->socket_stat.st_ino && fstatat(admin->dir_fd, admin->socket_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
	    stat.st_ino == admin->socket_stat.st_ino && stat.st_dev == admin->socket_stat.st_dev)
		(void)unlinkat(admin->dir_fd, admin->socket_name, 0);
	cleanup_close(&admin->listen_fd);
	cleanup_close(&admin->dir_fd);
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
