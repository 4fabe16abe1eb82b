/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of the tests of the real broker: its process, raw calls of the Admin API, streams of events, and scenes in
 * which it meets the agents of played-agents.h.
 */
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/integration/played-agents.h"
#include "tests/scratch.h"

/* ---- the broker -------------------------------------------------------------------------------------------------- */

static const char *own_group(void)
{
	const struct group *group = getgrgid(getegid());

	assert_non_null(group);
	return group->gr_name;
}

/* The broker's program with one more option, or NULL. */
static pid_t spawn_with(const char *option)
{
	char channel[96], state[96], policy[96], socket_path[96], program[512];
	const char *bin = getenv("BIN"), *words[48];
	const char *const own[] = {program,        "--channel",   channel,    "--state-dir", state,
				   "--policy-dir", policy,        "--socket", socket_path,   "--group",
				   own_group(),    "--user=root", option,     NULL};
	size_t n = 0;
	pid_t pid;

	(void)snprintf(program, sizeof(program), "%s/device-broker", bin ? bin : "build/gcc/bin");
	(void)snprintf(channel, sizeof(channel), "socket:%s", scene.directory);
	(void)snprintf(state, sizeof(state), "%s/state", scene.directory);
	(void)snprintf(policy, sizeof(policy), "%s/policy.d", scene.directory);
	(void)snprintf(socket_path, sizeof(socket_path), "%s/run/admin.sock", scene.directory);
	for (size_t i = 0; scene.tracer && scene.tracer[i]; i++)
		words[n++] = scene.tracer[i];
	assert_true(n + ARRAY_SIZE(own) <= ARRAY_SIZE(words));
	memcpy(&words[n], own, sizeof(own));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!getenv("QDB_TEST_LOG")) {
			int null = open("/dev/null", O_WRONLY);

			(void)dup2(null, 1);
			(void)dup2(null, 2);
		}
		(void)execvp(words[0], (char **)(uintptr_t)words);
		_exit(127);
	}
	return pid;
}

static pid_t spawn_broker(void)
{
	return spawn_with(NULL);
}

/* device-broker --recover; its exit code. */
static int recover_broker(void)
{
	int status = 0;
	pid_t pid = spawn_with("--recover");

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int connect_api(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/admin.sock", scene.directory);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

static void start_broker(void)
{
	uint64_t deadline = clock_monotonic_usec() + PATIENCE_USEC;

	scene.broker = spawn_broker();
	for (int fd = -1; fd < 0;) {
		assert_true(clock_monotonic_usec() < deadline);
		assert_int_equal(waitpid(scene.broker, NULL, WNOHANG), 0);
		fd = connect_api();
		if (fd >= 0)
			(void)close(fd);
		else
			(void)usleep(10000);
	}
}

/* Returns the exit status as waitpid() has it. */
static int stop_broker(int signal_number)
{
	int status = -1;

	assert_true(scene.broker > 0); /* 0 and -1 would be a word to many others */
	assert_int_equal(kill(scene.broker, signal_number), 0);
	assert_int_equal(waitpid(scene.broker, &status, 0), scene.broker);
	scene.broker = 0;
	return status;
}

/* ---- the API ----------------------------------------------------------------------------------------------------- */

/* One call; returns the connection, half closed, with the reply still to come. */
static int call_begin_with(const char *method, const char *argument, const char *destination, const char *payload)
{
	char request[1024];
	int len = snprintf(request, sizeof(request), "%s+%s %s name %s%c%s", method, argument,
			   scene.caller ? scene.caller : "dom0", destination, 0, payload);
	int fd = connect_api();

	assert_true(fd >= 0);
	assert_int_equal(write(fd, request, (size_t)len), len);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	return fd;
}

static int call_begin(const char *method, const char *argument, const char *destination)
{
	return call_begin_with(method, argument, destination, "");
}

/*
 * A reply's bytes as text: "0" and the content, or "2", the exception's type, ": ", its text.
 * Three NULs follow the bytes, so that one cut short ends too.
 */
static void reply_text(const char *raw, char *ret_text, size_t size)
{
	const char *type = raw + 2, *trace, *text;

	if (raw[0] == '0') {
		(void)snprintf(ret_text, size, "0%s", raw + 2);
		return;
	}
	trace = type + strlen(type) + 1;
	text = trace + strlen(trace) + 1;
	(void)snprintf(ret_text, size, "%c%s: %s", raw[0], type, text);
}

/* The reply as text. Serves the agents meanwhile. */
static const char *call_end(int fd)
{
	static char replies[4][8200];
	static unsigned int next;
	char *reply = replies[next++ % 4], raw[8192] = {0};
	uint64_t deadline = clock_monotonic_usec() + 3 * PATIENCE_USEC;
	size_t len = 0;

	for (;;) {
		ssize_t n;

		assert_true(clock_monotonic_usec() < deadline);
		if (!serve(fd, 1000))
			continue;
		n = read(fd, raw + len, sizeof(raw) - 3 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	(void)close(fd);
	assert_true(len >= 2 && raw[1] == '\0');
	reply_text(raw, reply, sizeof(replies[0]));
	return reply;
}

static const char *call(const char *method, const char *argument, const char *destination)
{
	return call_end(call_begin(method, argument, destination));
}

static const char *call_with(const char *method, const char *argument, const char *destination, const char *payload)
{
	return call_end(call_begin_with(method, argument, destination, payload));
}

static const char *available(const char *qube)
{
	return call("admin.vm.device.usb.Available", "", qube);
}

static const char *attached(const char *qube)
{
	return call("admin.vm.device.usb.Attached", "", qube);
}

#define STICK "sys-usb+1-2+0781+5581+AB12+u080650"

static int attach_begin(const char *target)
{
	return call_begin("admin.vm.device.usb.Attach", STICK, target);
}

static const char *attach(const char *target)
{
	return call_end(attach_begin(target));
}

static const char *detach(const char *target)
{
	return call("admin.vm.device.usb.Detach", STICK, target);
}

#define assert_text_has(text, part)                                            \
	do {                                                                   \
		const char *has_text = (text);                                 \
		if (!strstr(has_text, (part)))                                 \
			fail_msg("\"%s\" is not in \"%s\"", (part), has_text); \
	} while (0)
#define assert_done(text) assert_string_equal((text), "0")

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/* A connection on which events come; each is seen once. */
struct stream {
	int fd;
	size_t len;
	char bytes[16384]; /* NULs shown as spaces */
};

static void open_stream(struct stream *stream, const char *method)
{
	*stream = (struct stream){.fd = call_begin(method, "", "dom0")};
}

/* Whether this has come on the stream; serves the agents for a moment if not. What stands before it is forgotten. */
static bool has_come(struct stream *stream, const char *part)
{
	char *at = strstr(stream->bytes, part);

	if (at) {
		size_t used = (size_t)(at - stream->bytes) + strlen(part);

		stream->len -= used;
		memmove(stream->bytes, stream->bytes + used, stream->len + 1);
		return true;
	}
	if (serve(stream->fd, 10) && stream->len < sizeof(stream->bytes) - 1) {
		ssize_t n = read(stream->fd, stream->bytes + stream->len, sizeof(stream->bytes) - 1 - stream->len);

		for (ssize_t i = 0; i < n; i++)
			if (stream->bytes[stream->len + (size_t)i] == '\0')
				stream->bytes[stream->len + (size_t)i] = ' ';
		stream->len += n > 0 ? (size_t)n : 0;
		stream->bytes[stream->len] = '\0';
	}
	return false;
}

static void close_stream(struct stream *stream)
{
	(void)close(stream->fd);
	stream->fd = -1;
}

/* Lines of the audit log with this in them. */
static unsigned int count_audit(const char *part)
{
	FILE *file = fopen(path_of("state/audit.log"), "re");
	char line[4096];
	unsigned int n = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, part) != NULL;
	(void)fclose(file);
	return n;
}

/* ---- scenes ------------------------------------------------------------------------------------------------------ */

static int scene_begin_in(const char *parent)
{
	char backend[96];

	memset(&scene, 0, sizeof(scene));
	scratch_make_in(parent, "broker", scene.directory, sizeof(scene.directory));
	assert_int_equal(mkdir(path_of("state"), 0700), 0);
	assert_int_equal(mkdir(path_of("qubes"), 0700), 0);
	assert_int_equal(mkdir(path_of("policy.d"), 0700), 0);
	write_file("policy.d/50-test.policy", "usb * @anyvm @anyvm allow\n");
	(void)snprintf(backend, sizeof(backend), "socket:%s", scene.directory);
	assert_int_equal(channel_backend_new_from_text(backend, &scene.backend), 0);
	start_broker();
	return 0;
}

static int scene_begin(void **unused _unused_)
{
	return scene_begin_in("/tmp");
}

/* sys-usb with a stick, and two app qubes. */
struct trio {
	struct agent *usb, *work, *personal;
};

/* Returns when all are listed. */
static struct trio add_trio(unsigned int usb_manners)
{
	struct trio trio = {
		.usb = add_agent(3, "sys-usb", "1-2", usb_manners),
		.work = add_agent(4, "work", NULL, 0),
		.personal = add_agent(5, "personal", NULL, 0),
	};

	SERVE_UNTIL(trio.usb->state == WIRE_IN_READY && trio.work->state == WIRE_IN_READY &&
		    trio.personal->state == WIRE_IN_READY);
	SERVE_UNTIL(strstr(available("sys-usb"), "1-2:0781:5581:AB12:u080650"));
	return trio;
}

/* The qubes' agents, as the broker's end left them, meet the next broker. */
static void restart_broker(int signal_number)
{
	(void)stop_broker(signal_number);
	start_broker();
	for (unsigned int i = 0; i < scene.n_agents; i++)
		if (scene.agents[i].channel)
			listen_at_new_port(&scene.agents[i]);
}

/* After each scene: the broker lives, its audit log verifies, it ends when asked to, and left no socket. */
static int scene_end(void **unused _unused_)
{
	bool verified = !scene.broker || scene.log_spoiled || call("device.audit.Verify", "", "dom0")[0] == '0';
	int status = scene.broker ? stop_broker(SIGTERM) : 0;
	bool socket_left = access(path_of("run/admin.sock"), F_OK) == 0;

	for (unsigned int i = 0; i < scene.n_agents; i++)
		scene.agents[i].channel = channel_free(scene.agents[i].channel);
	scene.backend = channel_backend_free(scene.backend);
	scratch_remove(scene.directory);
	return status != 0 || socket_left || !verified ? -1 : 0;
}
