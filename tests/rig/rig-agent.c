// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rig-agent: runs commands in the domains of the test rig.
 *
 * One program, two roles. "guest" runs in each guest and serves a libxenvchan below the guest's own data/rig. "hub PORT"
 * runs in dom0: it runs dom0's own commands, and passes frames between the host (a virtio-serial port) and the guests.
 * It shares no code with the project, so that a fault of the project's channels cannot hide itself here.
 *
 * Frame, little-endian: u32 payload length, u16 domain id (0 = dom0), u8 type, u8 zero, u32 session; then the payload.
 *
 *   to the agent    EXEC     u32 flags (1 = has standard input), then the command line for /bin/sh
 *                   STDIN    bytes; an empty one is the end
 *                   SIGNAL   u32 signal, for the whole process group of the session
 *                   LINK     (hub only) connect to this domain, and again whenever the connection is lost
 *                   UNLINK   (hub only) forget this domain
 *   from the agent  STDOUT, STDERR  bytes
 *                   ACK      u32 bytes of standard input taken by the command
 *                   EXIT     i32 exit status, or minus the signal
 *                   HELLO    (hub only) the hub is ready
 *                   UP, DOWN (hub only) the connection to this domain is made, is lost
 *
 * Invariants: nothing here blocks on a guest. A paused guest costs its own queue in the hub and no more; a queue over
 * QUEUE_MAX drops the connection. Output is read from a command only while the queue towards the host is short.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libxenvchan.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>

enum {
	HEADER = 12,
	CHUNK = 32 * 1024,
	FRAME_MAX = 1024 * 1024,
	QUEUE_SHORT = 512 * 1024,
	QUEUE_MAX = 64 * 1024 * 1024,
	RING = 64 * 1024,
	N_SESSIONS = 128,
	N_LINKS = 32,
	TICK_MSEC = 1000,
	RETRY_MSEC = 100,
};

enum frame_type {
	FRAME_EXEC = 1,
	FRAME_STDIN,
	FRAME_SIGNAL,
	FRAME_LINK,
	FRAME_UNLINK,
	FRAME_STDOUT = 16,
	FRAME_STDERR,
	FRAME_ACK,
	FRAME_EXIT,
	FRAME_HELLO,
	FRAME_UP,
	FRAME_DOWN,
};

struct queue {
	uint8_t *data;
	size_t start, end, size;
};

struct stream {
	int fd;                    /* a descriptor, or -1 */
	struct libxenvchan *vchan; /* or a vchan */
	struct queue in, out;
};

struct session {
	bool used;
	uint32_t id;
	pid_t pid;
	int in, out, err;
	bool eof, exited;
	int status;
	struct queue input;
};

struct link {
	bool used, up;
	uint16_t domid;
	struct stream stream;
};

static struct stream upstream = {.fd = -1};
static struct session sessions[N_SESSIONS];
static struct link links[N_LINKS];
static uint16_t own_domid;

static void *must(void *p)
{
	if (!p) {
		fputs("rig-agent: out of memory\n", stderr);
		_exit(1);
	}
	return p;
}

static size_t queue_len(const struct queue *q)
{
	return q->end - q->start;
}

static void queue_reset(struct queue *q)
{
	free(q->data);
	memset(q, 0, sizeof(*q));
}

static uint8_t *queue_reserve(struct queue *q, size_t n)
{
	if (q->start == q->end)
		q->start = q->end = 0;
	if (q->size - q->end < n && q->start) {
		memmove(q->data, q->data + q->start, queue_len(q));
		q->end -= q->start;
		q->start = 0;
	}
	if (q->size - q->end < n) {
		q->size = q->size * 2 > q->end + n ? q->size * 2 : q->end + n;
		q->data = must(realloc(q->data, q->size));
	}
	return q->data + q->end;
}

static void queue_add(struct queue *q, const void *data, size_t n)
{
	if (!n)
		return;
	memcpy(queue_reserve(q, n), data, n);
	q->end += n;
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_u32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void frame_add(struct queue *q, uint16_t domid, enum frame_type type, uint32_t id, const void *data, size_t n)
{
	uint8_t header[HEADER] = {0};

	put_u32(header, (uint32_t)n);
	header[4] = (uint8_t)(domid & 0xff);
	header[5] = (uint8_t)(domid >> 8);
	header[6] = (uint8_t)type;
	put_u32(header + 8, id);
	queue_add(q, header, HEADER);
	queue_add(q, data, n);
}

static void send_up(enum frame_type type, uint32_t id, const void *data, size_t n)
{
	frame_add(&upstream.out, own_domid, type, id, data, n);
}

static void send_up_u32(enum frame_type type, uint32_t id, uint32_t value)
{
	uint8_t b[4];

	put_u32(b, value);
	send_up(type, id, b, sizeof(b));
}

static void nonblock(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ---- streams: 1 = fine, 0 = nothing more now, -1 = ended */

static int stream_pollfd(const struct stream *s)
{
	return s->vchan ? libxenvchan_fd_for_select(s->vchan) : s->fd;
}

static int stream_fill(struct stream *s)
{
	uint8_t *p = queue_reserve(&s->in, CHUNK);
	ssize_t n;

	if (s->vchan) {
		n = libxenvchan_read(s->vchan, p, CHUNK);
		if (n < 0)
			return -1;
		if (n == 0)
			return libxenvchan_is_open(s->vchan) ? 0 : -1;
	} else {
		n = read(s->fd, p, CHUNK);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		if (n == 0)
			return -1;
	}
	s->in.end += (size_t)n;
	return 1;
}

static int stream_flush(struct stream *s)
{
	while (queue_len(&s->out)) {
		const uint8_t *p = s->out.data + s->out.start;
		size_t len = queue_len(&s->out);
		ssize_t n;

		if (s->vchan) {
			n = libxenvchan_write(s->vchan, p, len);
			if (n < 0)
				return -1;
			if (n == 0)
				return 0;
		} else {
			n = write(s->fd, p, len);
			if (n < 0)
				return errno == EAGAIN || errno == EINTR ? 0 : -1;
		}
		s->out.start += (size_t)n;
	}
	return 1;
}

static void stream_close(struct stream *s)
{
	if (s->vchan)
		libxenvchan_close(s->vchan);
	s->vchan = NULL;
	queue_reset(&s->in);
	queue_reset(&s->out);
}

static void vchan_prepare(struct libxenvchan *vchan)
{
	vchan->blocking = 0;
	nonblock(libxenvchan_fd_for_select(vchan));
	fcntl(libxenvchan_fd_for_select(vchan), F_SETFD, FD_CLOEXEC);
}

/* ---- sessions */

static struct session *session_find(uint32_t id)
{
	for (size_t i = 0; i < N_SESSIONS; i++)
		if (sessions[i].used && sessions[i].id == id)
			return &sessions[i];
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void session_child(const int fds[3], const char *command)
{
	sigset_t none;

	setsid();
	for (int i = 0; i < 3; i++)
		dup2(fds[i], i);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void session_start(uint32_t id, const uint8_t *data, size_t n)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
	struct session *s = NULL;
	char *command;

	for (size_t i = 0; i < N_SESSIONS && !s; i++)
		if (!sessions[i].used)
			s = &sessions[i];
	if (!s || n < 4) {
		send_up_u32(FRAME_EXIT, id, 126);
		return;
	}
	command = must(strndup((const char *)data + 4, n - 4));
	memset(s, 0, sizeof(*s));
	if (get_u32(data) & 1) {
		if (pipe2(in, O_CLOEXEC) < 0)
			in[0] = in[1] = -1;
	} else {
		in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	if (in[0] < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		goto fail;
	s->pid = fork();
	if (s->pid < 0)
		goto fail;
	if (s->pid == 0)
		session_child((int[3]){in[0], out[1], err[1]}, command);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	s->used = true;
	s->id = id;
	s->in = in[1];
	s->out = out[0];
	s->err = err[0];
	if (s->in >= 0)
		nonblock(s->in);
	nonblock(s->out);
	nonblock(s->err);
	free(command);
	return;
fail:
	free(command);
	for (int i = 0; i < 2; i++) {
		close_fd(&in[i]);
		close_fd(&out[i]);
		close_fd(&err[i]);
	}
	send_up_u32(FRAME_EXIT, id, 126);
}

static void session_input(struct session *s)
{
	size_t taken = 0;

	while (s->in >= 0 && queue_len(&s->input)) {
		ssize_t n = write(s->in, s->input.data + s->input.start, queue_len(&s->input));

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			taken += queue_len(&s->input);
			queue_reset(&s->input);
			close_fd(&s->in);
			break;
		}
		taken += (size_t)n;
		s->input.start += (size_t)n;
	}
	if (taken)
		send_up_u32(FRAME_ACK, s->id, (uint32_t)taken);
	if (s->eof && !queue_len(&s->input))
		close_fd(&s->in);
}

/* Takes one chunk of output; false when there is no more for now. */
static bool session_output(struct session *s, int *fd, enum frame_type type)
{
	uint8_t buf[CHUNK];
	ssize_t n;

	if (*fd < 0)
		return false;
	n = read(*fd, buf, sizeof(buf));
	if (n > 0) {
		send_up(type, s->id, buf, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_fd(fd);
	return false;
}

static void session_finish(struct session *s)
{
	/* What the command itself wrote is in the pipes by now; a child it left behind is not waited for. */
	while (session_output(s, &s->out, FRAME_STDOUT))
		;
	while (session_output(s, &s->err, FRAME_STDERR))
		;
	send_up_u32(FRAME_EXIT, s->id, (uint32_t)s->status);
	close_fd(&s->in);
	close_fd(&s->out);
	close_fd(&s->err);
	queue_reset(&s->input);
	s->used = false;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < N_SESSIONS; i++)
			if (sessions[i].used && sessions[i].pid == pid) {
				sessions[i].status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
				session_finish(&sessions[i]);
			}
}

static void sessions_abandon(void)
{
	for (size_t i = 0; i < N_SESSIONS; i++)
		if (sessions[i].used) {
			kill(-sessions[i].pid, SIGKILL);
			close_fd(&sessions[i].in);
			close_fd(&sessions[i].out);
			close_fd(&sessions[i].err);
			queue_reset(&sessions[i].input);
			sessions[i].used = false;
		}
}

static void session_frame(enum frame_type type, uint32_t id, const uint8_t *data, size_t n)
{
	struct session *s = session_find(id);

	if (type == FRAME_EXEC) {
		session_start(id, data, n);
		return;
	}
	if (!s) {
		if (type == FRAME_STDIN && n)
			send_up_u32(FRAME_ACK, id, (uint32_t)n);
		return;
	}
	if (type == FRAME_SIGNAL && n == 4) {
		if (kill(-s->pid, (int)get_u32(data)) < 0)
			kill(s->pid, (int)get_u32(data)); /* it has no group of its own yet */
	} else if (type == FRAME_STDIN) {
		if (!n)
			s->eof = true;
		if (s->in >= 0)
			queue_add(&s->input, data, n);
		else if (n)
			send_up_u32(FRAME_ACK, id, (uint32_t)n);
		session_input(s);
	}
}

/* ---- links of the hub to the guests */

static struct link *link_find(uint16_t domid)
{
	for (size_t i = 0; i < N_LINKS; i++)
		if (links[i].used && links[i].domid == domid)
			return &links[i];
	return NULL;
}

static void link_down(struct link *l)
{
	stream_close(&l->stream);
	if (l->up)
		frame_add(&upstream.out, l->domid, FRAME_DOWN, 0, NULL, 0);
	l->up = false;
}

static void link_try(struct link *l)
{
	char path[64];

	snprintf(path, sizeof(path), "/local/domain/%u/data/rig", (unsigned int)l->domid);
	l->stream = (struct stream){.fd = -1, .vchan = libxenvchan_client_init(NULL, l->domid, path)};
	if (!l->stream.vchan)
		return;
	vchan_prepare(l->stream.vchan);
	l->up = true;
	frame_add(&upstream.out, l->domid, FRAME_UP, 0, NULL, 0);
}

static void link_command(uint16_t domid, enum frame_type type)
{
	struct link *l = link_find(domid);

	if (type == FRAME_UNLINK) {
		if (l) {
			link_down(l);
			l->used = false;
		}
		return;
	}
	for (size_t i = 0; i < N_LINKS && !l; i++)
		if (!links[i].used) {
			l = &links[i];
			*l = (struct link){.used = true, .domid = domid, .stream.fd = -1};
		}
}

/* A frame from the host, in dom0 or in a guest. */
static void frame_in(const uint8_t *header, const uint8_t *data, size_t n)
{
	uint16_t domid = (uint16_t)(header[4] | header[5] << 8);
	enum frame_type type = header[6];
	struct link *l;

	if (domid == own_domid) {
		session_frame(type, get_u32(header + 8), data, n);
	} else if (type == FRAME_LINK || type == FRAME_UNLINK) {
		link_command(domid, type);
	} else if ((l = link_find(domid)) && l->up) {
		if (queue_len(&l->stream.out) > QUEUE_MAX)
			link_down(l);
		else
			frame_add(&l->stream.out, domid, type, get_u32(header + 8), data, n);
	}
}

/* Takes whole frames off a stream; -1 when it makes no sense. */
static int frames_take(struct stream *s, bool from_guest)
{
	while (queue_len(&s->in) >= HEADER) {
		uint8_t *p = s->in.data + s->in.start;
		size_t n = get_u32(p);

		if (n > FRAME_MAX)
			return -1;
		if (queue_len(&s->in) < HEADER + n)
			break;
		if (from_guest)
			queue_add(&upstream.out, p, HEADER + n);
		else
			frame_in(p, p + HEADER, n);
		s->in.start += HEADER + n;
	}
	return 0;
}

static void links_prune(struct xs_handle *xs)
{
	char **event = xs_check_watch(xs);

	if (!event)
		return;
	free(event);
	for (size_t i = 0; i < N_LINKS; i++)
		if (links[i].used && !xs_is_domain_introduced(xs, links[i].domid)) {
			link_down(&links[i]);
			links[i].used = false;
		}
}

/* ---- the loop */

struct poller {
	struct pollfd fds[3 + N_LINKS + 3 * N_SESSIONS];
	nfds_t n;
};

static void poller_add(struct poller *p, int fd, short events)
{
	if (fd >= 0 && events)
		p->fds[p->n++] = (struct pollfd){.fd = fd, .events = events};
}

static int pump_upstream(void)
{
	int r;

	if (upstream.vchan) {
		libxenvchan_wait(upstream.vchan);
		if (libxenvchan_is_open(upstream.vchan) == 0)
			return -1;
	}
	for (int i = 0; i < 64 && (r = stream_fill(&upstream)) > 0; i++)
		if (frames_take(&upstream, false) < 0)
			return -1;
	return r;
}

static void pump_links(void)
{
	for (size_t i = 0; i < N_LINKS; i++) {
		struct link *l = &links[i];
		int r = 1;

		if (!l->used)
			continue;
		if (!l->up) {
			link_try(l);
			continue;
		}
		libxenvchan_wait(l->stream.vchan);
		while (queue_len(&upstream.out) < QUEUE_SHORT && (r = stream_fill(&l->stream)) > 0)
			if (frames_take(&l->stream, true) < 0) {
				r = -1;
				break;
			}
		if (r < 0 || stream_flush(&l->stream) < 0)
			link_down(l);
	}
}

static void pump_sessions(void)
{
	for (size_t i = 0; i < N_SESSIONS; i++) {
		struct session *s = &sessions[i];

		if (!s->used)
			continue;
		session_input(s);
		if (queue_len(&upstream.out) < QUEUE_SHORT) {
			session_output(s, &s->out, FRAME_STDOUT);
			session_output(s, &s->err, FRAME_STDERR);
		}
	}
}

static void poller_fill(struct poller *p, int signal_fd, struct xs_handle *xs, int *timeout)
{
	bool room = queue_len(&upstream.out) < QUEUE_SHORT;

	*timeout = TICK_MSEC;
	p->n = 0;
	poller_add(p, signal_fd, POLLIN);
	poller_add(p, xs ? xs_fileno(xs) : -1, POLLIN);
	poller_add(p, stream_pollfd(&upstream),
		   (short)(POLLIN | (!upstream.vchan && queue_len(&upstream.out) ? POLLOUT : 0)));
	for (size_t i = 0; i < N_LINKS; i++) {
		if (links[i].used && links[i].up && room)
			poller_add(p, stream_pollfd(&links[i].stream), POLLIN);
		else if (links[i].used && !links[i].up)
			*timeout = RETRY_MSEC;
	}
	for (size_t i = 0; i < N_SESSIONS; i++) {
		struct session *s = &sessions[i];

		if (!s->used)
			continue;
		poller_add(p, s->in, queue_len(&s->input) ? POLLOUT : 0);
		poller_add(p, s->out, room ? POLLIN : 0);
		poller_add(p, s->err, room ? POLLIN : 0);
	}
}

static void loop(int signal_fd, struct xs_handle *xs)
{
	static struct poller p;
	struct signalfd_siginfo info;
	int timeout, r;

	for (;;) {
		poller_fill(&p, signal_fd, xs, &timeout);
		if (poll(p.fds, p.n, timeout) < 0 && errno != EINTR)
			return;
		while (read(signal_fd, &info, sizeof(info)) > 0)
			;
		r = pump_upstream();
		if (r < 0 && upstream.vchan)
			return;
		if (r < 0)
			usleep(RETRY_MSEC * 1000); /* the host has not connected, or is gone */
		if (xs)
			links_prune(xs);
		pump_links();
		pump_sessions();
		reap();
		if (stream_flush(&upstream) < 0 && upstream.vchan)
			return;
		for (size_t i = 0; i < N_LINKS; i++)
			if (links[i].up && stream_flush(&links[i].stream) < 0)
				link_down(&links[i]);
	}
}

static int signals_init(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int run_hub(const char *port)
{
	struct xs_handle *xs = xs_open(0);

	upstream.fd = open(port, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (upstream.fd < 0 || !xs) {
		perror(port);
		return 1;
	}
	xs_watch(xs, "@releaseDomain", "rig");
	send_up(FRAME_HELLO, 0, NULL, 0);
	loop(signals_init(), xs);
	return 1;
}

static int run_guest(void)
{
	struct xs_handle *xs = xs_open(0);
	unsigned int len;
	char *domid = xs ? xs_read(xs, XBT_NULL, "domid", &len) : NULL;
	int signal_fd = signals_init();

	if (!domid) {
		fputs("rig-agent: no xenstore\n", stderr);
		return 1;
	}
	own_domid = (uint16_t)atoi(domid);
	free(domid);
	xs_close(xs);
	for (;;) {
		upstream.vchan = libxenvchan_server_init(NULL, 0, "data/rig", RING, RING);
		if (!upstream.vchan) {
			perror("rig-agent: vchan");
			return 1;
		}
		vchan_prepare(upstream.vchan);
		loop(signal_fd, NULL);
		sessions_abandon();
		stream_close(&upstream);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "hub"))
		return run_hub(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "guest"))
		return run_guest();
	fputs("usage: rig-agent hub PORT | rig-agent guest\n", stderr);
	return 2;
}
