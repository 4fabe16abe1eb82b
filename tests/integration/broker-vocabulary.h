/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of test-broker.c: the real broker over `socket` channels, agents that do what the test tells them, and raw
 * calls of the Admin API. One process, one thread: whoever waits serves all agents meanwhile.
 */
#pragma once

#include "tests/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/channel/channel.h"
#include "lib/wire/messages.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* no program says every word */

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif

#define MAX_AGENTS 64
#define MAX_SESSIONS 64
#define MAX_MORE 8
#define PATIENCE_USEC (20 * USEC_PER_SEC)

/* How an agent behaves; 0: honest. */
enum manners {
	NO_ANSWER_TO_STOP = 1,
	NO_ANSWER_TO_EXPORT = 2,
	REFUSES_EXPORT = 4,
	REFUSES_IMPORT = 8,
	NO_ANSWER_TO_PING = 16,
	DOES_NOT_GREET = 32,
	NO_LIST = 64,
	LARGE_RINGS = 128,
};

struct agent {
	uint16_t domid;
	uint32_t port;
	unsigned int manners;
	uint64_t incarnation;
	struct channel *channel;
	bool greeted, ended; /* ended: the broker closed it */
	bool patient;        /* waits for room to say all; else what does not fit is not said */
	enum wire_states state;
	size_t in_len;
	uint8_t in[8192];
	char device_port[LIMIT_PORT_TEXT]; /* a device to list; empty: none */
	uint32_t generation;
	struct {
		uint64_t number;
		uint8_t side;
		uint16_t slot; /* EXPORT: of which device */
		uint16_t peer;
		uint8_t digest[WIRE_DIGEST];
	} sessions[MAX_SESSIONS]; /* number 0: none */
	struct {
		char port[LIMIT_PORT_TEXT]; /* "": none */
		char serial[16];
		uint32_t generation;
		bool broken;              /* every export of it fails */
	} more[MAX_MORE];                 /* devices beside the first, in the slots from 1 */
	unsigned int controllers[10];     /* of each bus; 0: the one of the same number */
	uint64_t to_report[MAX_SESSIONS]; /* exports said to run, beside those */
	uint64_t last_session;
	unsigned int n_exports, n_imports, n_stops, n_pings;
};

static struct scene {
	char directory[64];
	pid_t broker;
	struct channel_backend *backend;
	struct agent agents[MAX_AGENTS];
	unsigned int n_agents;
	uint32_t n_ports;
	bool log_spoiled;          /* on purpose: the audit log need not verify at the end */
	const char *const *tracer; /* words before the broker's own, NULL at the end; NULL: none */
	/* Sees each order before its agent does; false: the agent does not see it. NULL: nobody looks. */
	bool (*on_order)(struct agent *agent, const struct wire_message *order);
} scene;

static uint64_t now_usec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", scene.directory, name);
	return path;
}

/* Whole or not at all, as the agents and dom0 write. */
static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(path_of("new"), "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(path_of("new"), path_of(name)), 0);
}

/* ---- agents ------------------------------------------------------------------------------------------------------ */

static void say(struct agent *agent, const struct wire_message *message)
{
	uint8_t frame[LIMIT_FRAME];
	size_t len = wire_encode(message, frame), done = 0;

	while (agent->channel && !agent->ended && done < len) {
		struct pollfd room = {.fd = channel_fd(agent->channel),
				      .events = channel_poll_events(agent->channel, true)};
		ssize_t n = channel_write(agent->channel, frame + done, len - done);

		if (n > 0)
			done += (size_t)n;
		if (!agent->patient || n < 0)
			break;
		if (n <= 0 && (poll(&room, 1, 1000) < 0 || channel_dispatch(agent->channel) < 0))
			break;
	}
}

static void say_text(struct agent *agent, uint16_t slot, uint32_t generation, enum wire_text which, const char *text)
{
	struct wire_message m = {.type = WIRE_DEVICE_TEXT};

	m.DEVICE_TEXT.slot = slot;
	m.DEVICE_TEXT.generation = generation;
	m.DEVICE_TEXT.which = (uint8_t)which;
	(void)snprintf(m.DEVICE_TEXT.text, sizeof(m.DEVICE_TEXT.text), "%s", text);
	say(agent, &m);
}

static void say_path(struct agent *agent, uint16_t slot, uint32_t generation, const char *port)
{
	unsigned int bus = (unsigned int)(port[0] - '0');
	char path[LIMIT_PATH_TEXT];

	(void)snprintf(path, sizeof(path), "pci-0000:00:0%u.0-usb-0:%s",
		       agent->controllers[bus] ? agent->controllers[bus] : bus, port + 2);
	say_text(agent, slot, generation, WIRE_TEXT_PATH, path);
}

static void say_device_of(struct agent *agent, const char *port, uint16_t slot, uint32_t generation, uint16_t product,
			  const char *serial)
{
	struct wire_message m = {.type = WIRE_DEVICE};

	m.DEVICE.slot = slot;
	m.DEVICE.generation = generation;
	m.DEVICE.class = WIRE_CLASS_USB;
	m.DEVICE.speed = WIRE_SPEED_HIGH;
	m.DEVICE.vendor = 0x0781;
	m.DEVICE.product = product;
	m.DEVICE.n_interfaces = 1;
	memcpy(m.DEVICE.interfaces, "\x08\x06\x50", 3);
	memset(m.DEVICE.digest, 0x5a, sizeof(m.DEVICE.digest));
	m.DEVICE.digest[0] = (uint8_t)product;
	(void)snprintf(m.DEVICE.port, sizeof(m.DEVICE.port), "%s", port);
	say(agent, &m);
	say_text(agent, slot, generation, WIRE_TEXT_SERIAL, serial);
	say_text(agent, slot, generation, WIRE_TEXT_MANUFACTURER, "SanDisk");
	say_text(agent, slot, generation, WIRE_TEXT_PRODUCT, "Ultra");
	say_path(agent, slot, generation, port);
	m = (struct wire_message){.type = WIRE_DEVICE_COMMIT};
	m.DEVICE_COMMIT.slot = slot;
	m.DEVICE_COMMIT.generation = generation;
	say(agent, &m);
}

static void say_device(struct agent *agent, const char *port, uint16_t slot, uint32_t generation)
{
	say_device_of(agent, port, slot, generation, 0x5581, "AB12");
}

/* One more device of this agent, from now on; its serial number is its port's. */
static void plug(struct agent *agent, unsigned int slot, const char *port, bool broken)
{
	agent->more[slot].generation++;
	agent->more[slot].broken = broken;
	(void)snprintf(agent->more[slot].port, sizeof(agent->more[slot].port), "%s", port);
	(void)snprintf(agent->more[slot].serial, sizeof(agent->more[slot].serial), "S%s", port);
	say_device_of(agent, port, (uint16_t)slot, agent->more[slot].generation, 0x5581, agent->more[slot].serial);
}

static void say_gone(struct agent *agent, uint16_t slot, uint32_t generation)
{
	struct wire_message m = {.type = WIRE_DEVICE_GONE};

	m.DEVICE_GONE.slot = slot;
	m.DEVICE_GONE.generation = generation;
	say(agent, &m);
}

static void say_session(struct agent *agent, uint64_t session, uint8_t side, uint16_t peer,
			const uint8_t digest[WIRE_DIGEST])
{
	struct wire_message m = {.type = WIRE_SESSION};

	m.SESSION.session = session;
	m.SESSION.side = side;
	m.SESSION.peer = peer;
	memcpy(m.SESSION.digest, digest, sizeof(m.SESSION.digest));
	say(agent, &m);
}

static void say_hello(struct agent *agent, uint16_t version)
{
	struct wire_message m = {.type = WIRE_HELLO};

	m.HELLO.version = version;
	m.HELLO.roles = WIRE_ROLE_EXPORT | WIRE_ROLE_IMPORT;
	m.HELLO.incarnation = agent->incarnation;
	say(agent, &m);
}

static void say_list(struct agent *agent)
{
	struct wire_message m = {.type = WIRE_LIST_BEGIN};

	m.LIST_BEGIN.serial = 1;
	say(agent, &m);
	if (agent->device_port[0])
		say_device(agent, agent->device_port, 0, agent->generation);
	for (unsigned int i = 1; i < MAX_MORE; i++)
		if (agent->more[i].port[0])
			say_device_of(agent, agent->more[i].port, (uint16_t)i, agent->more[i].generation, 0x5581,
				      agent->more[i].serial);
	m = (struct wire_message){.type = WIRE_LIST_END};
	m.LIST_END.serial = 1;
	say(agent, &m);
}

/* What an agent says when the broker came. */
static void greet(struct agent *agent)
{
	static const uint8_t no_digest[WIRE_DIGEST];

	agent->greeted = true;
	if (agent->manners & DOES_NOT_GREET)
		return;
	say_hello(agent, WIRE_VERSION);
	for (unsigned int i = 0; i < MAX_SESSIONS; i++) {
		if (agent->sessions[i].number != 0)
			say_session(agent, agent->sessions[i].number, agent->sessions[i].side, agent->sessions[i].peer,
				    agent->sessions[i].digest);
		if (agent->to_report[i] != 0)
			say_session(agent, agent->to_report[i], WIRE_SIDE_EXPORT, 0, no_digest);
	}
	if (!(agent->manners & NO_LIST))
		say_list(agent);
}

static void keep_session(struct agent *agent, uint64_t number, uint8_t side, uint16_t slot, uint16_t peer,
			 const uint8_t digest[WIRE_DIGEST])
{
	for (unsigned int i = 0; i < MAX_SESSIONS; i++)
		if (agent->sessions[i].number == 0) {
			agent->sessions[i].number = number;
			agent->sessions[i].side = side;
			agent->sessions[i].slot = slot;
			agent->sessions[i].peer = peer;
			memcpy(agent->sessions[i].digest, digest, WIRE_DIGEST);
			return;
		}
	fail_msg("an agent has too many sessions");
}

static unsigned int n_sessions(const struct agent *agent)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < MAX_SESSIONS; i++)
		n += agent->sessions[i].number != 0;
	return n;
}

static void forget_session(struct agent *agent, uint64_t number)
{
	for (unsigned int i = 0; i < MAX_SESSIONS; i++) {
		if (agent->sessions[i].number == number)
			agent->sessions[i].number = 0;
		if (agent->to_report[i] == number)
			agent->to_report[i] = 0;
	}
}

static void say_failed(struct agent *agent, uint32_t id, uint64_t session)
{
	struct wire_message m = {.type = WIRE_FAILED, .id = id};

	m.FAILED.session = session;
	m.FAILED.outcome = OUTCOME_OPEN_FAILED;
	say(agent, &m);
}

static void on_export(struct agent *agent, const struct wire_message *request)
{
	struct wire_message m = {.type = WIRE_EXPORTED, .id = request->id};

	agent->n_exports++;
	agent->last_session = request->EXPORT.session;
	if (agent->manners & NO_ANSWER_TO_EXPORT)
		return;
	if (agent->manners & REFUSES_EXPORT ||
	    (request->EXPORT.slot < MAX_MORE && agent->more[request->EXPORT.slot].broken)) {
		say_failed(agent, request->id, request->EXPORT.session);
		return;
	}
	/* promise 2, seen from here: one device, one export */
	for (unsigned int i = 0; i < MAX_SESSIONS; i++)
		assert_false(agent->sessions[i].number != 0 && agent->sessions[i].side == WIRE_SIDE_EXPORT &&
			     agent->sessions[i].slot == request->EXPORT.slot);
	keep_session(agent, request->EXPORT.session, WIRE_SIDE_EXPORT, request->EXPORT.slot, request->EXPORT.target,
		     request->EXPORT.digest);
	m.EXPORTED.session = request->EXPORT.session;
	say(agent, &m);
}

static void on_import(struct agent *agent, const struct wire_message *request)
{
	struct wire_message m = {.type = WIRE_IMPORTED, .id = request->id};

	agent->n_imports++;
	agent->last_session = request->IMPORT.session;
	if (agent->manners & REFUSES_IMPORT) {
		say_failed(agent, request->id, request->IMPORT.session);
		return;
	}
	keep_session(agent, request->IMPORT.session, WIRE_SIDE_IMPORT, 0, request->IMPORT.source,
		     request->IMPORT.digest);
	m.IMPORTED.session = request->IMPORT.session;
	say(agent, &m);
}

static void on_stop(struct agent *agent, const struct wire_message *request)
{
	struct wire_message m = {.type = WIRE_STOPPED, .id = request->id};

	agent->n_stops++;
	agent->last_session = request->STOP.session;
	if (agent->manners & NO_ANSWER_TO_STOP)
		return;
	forget_session(agent, request->STOP.session);
	m.STOPPED.session = request->STOP.session;
	say(agent, &m);
}

static void on_ping(struct agent *agent, const struct wire_message *request)
{
	struct wire_message m = {.type = WIRE_PONG, .id = request->id};

	agent->n_pings++;
	m.PONG.nonce = request->PING.nonce;
	if (!(agent->manners & NO_ANSWER_TO_PING))
		say(agent, &m);
}

static void on_nothing(struct agent *agent _unused_, const struct wire_message *request _unused_)
{
}

static void hear(struct agent *agent, const struct wire_message *m)
{
	static void (*const handlers[])(struct agent *, const struct wire_message *) = {
		[WIRE_WELCOME] = on_nothing, [WIRE_RESCAN] = on_nothing, [WIRE_EXPORT] = on_export,
		[WIRE_IMPORT] = on_import,   [WIRE_STOP] = on_stop,      [WIRE_PING] = on_ping,
	};

	if (!scene.on_order || scene.on_order(agent, m))
		handlers[m->type](agent, m);
}

static void read_channel(struct agent *agent)
{
	size_t used = 0, len;
	struct wire_message m;
	ssize_t n;

	assert_int_equal(channel_dispatch(agent->channel), 0);
	while ((n = channel_read(agent->channel, agent->in + agent->in_len, sizeof(agent->in) - agent->in_len)) > 0)
		agent->in_len += (size_t)n;
	if (channel_state(agent->channel) == CHANNEL_DEAD || channel_state(agent->channel) == CHANNEL_ENDED)
		agent->ended = true;
	if (channel_state(agent->channel) == CHANNEL_OPEN && !agent->greeted)
		greet(agent);
	while (wire_decode(agent->in + used, agent->in_len - used, WIRE_TO_AGENT, agent->state, &m, &len) == 0) {
		used += len;
		agent->state = wire_next_state(agent->state, m.type, WIRE_TO_AGENT);
		hear(agent, &m);
	}
	agent->in_len -= used;
	memmove(agent->in, agent->in + used, agent->in_len);
}

/* Serves all agents, and waits for `fd` (-1: none), for at most `msec`. */
static bool serve(int fd, int msec)
{
	struct pollfd fds[MAX_AGENTS + 1];
	struct agent *of[MAX_AGENTS + 1];
	nfds_t n = 0;

	for (unsigned int i = 0; i < scene.n_agents; i++) {
		struct agent *agent = &scene.agents[i];

		if (!agent->channel || agent->ended)
			continue;
		of[n] = agent;
		fds[n++] = (struct pollfd){.fd = channel_fd(agent->channel),
					   .events = channel_poll_events(agent->channel, false)};
	}
	fds[n] = (struct pollfd){.fd = fd, .events = POLLIN};
	if (poll(fds, n + 1, msec) <= 0)
		return false;
	for (nfds_t i = 0; i < n; i++)
		if (fds[i].revents)
			read_channel(of[i]);
	return fds[n].revents != 0;
}

#define SERVE_UNTIL(condition)                                                          \
	do {                                                                            \
		uint64_t serve_deadline = now_usec() + PATIENCE_USEC;                   \
		while (!(condition)) {                                                  \
			if (now_usec() > serve_deadline)                                \
				fail_msg("line %d: never came: " #condition, __LINE__); \
			(void)serve(-1, 10);                                            \
		}                                                                       \
	} while (0)

static void listen_at_new_port(struct agent *agent)
{
	struct channel_address address = {.server_domid = agent->domid, .client_domid = 0};
	uint32_t ring = agent->manners & LARGE_RINGS ? 2 * RING_CONTROL : RING_CONTROL;
	struct channel_rings rings = {.read = RING_CONTROL, .write = ring};
	char name[32], text[16];

	agent->channel = channel_free(agent->channel);
	agent->greeted = agent->ended = false;
	agent->state = WIRE_IN_NEW;
	agent->in_len = 0;
	agent->port = ++scene.n_ports;
	(void)snprintf(address.service, sizeof(address.service), "device-agent/%u", agent->port);
	assert_int_equal(channel_listen(scene.backend, &address, &rings, &agent->channel), 0);
	(void)snprintf(name, sizeof(name), "%u-device-agent.port", agent->domid);
	(void)snprintf(text, sizeof(text), "%u\n", agent->port);
	write_file(name, text);
}

/* The agent's process ends; its streams with it. */
static void kill_agent(struct agent *agent)
{
	agent->channel = channel_free(agent->channel);
	memset(agent->sessions, 0, sizeof(agent->sessions));
	agent->incarnation++;
}

static void start_qube(uint16_t domid, const char *name)
{
	char file[32], text[96];

	(void)snprintf(file, sizeof(file), "qubes/%u", domid);
	(void)snprintf(text, sizeof(text), "%s 11111111-2222-3333-4444-%012x\n", name, (unsigned int)domid);
	write_file(file, text);
}

static void end_qube(uint16_t domid)
{
	char file[32];

	(void)snprintf(file, sizeof(file), "qubes/%u", domid);
	assert_int_equal(unlink(path_of(file)), 0);
}

/* It starts again as another domain, its devices under these names: the first one, and the one in slot 1. */
static void restart_qube(struct agent *agent, uint16_t domid, const char *name, const char *first, const char *second)
{
	end_qube(agent->domid);
	kill_agent(agent);
	agent->domid = domid;
	agent->generation++;
	(void)snprintf(agent->device_port, sizeof(agent->device_port), "%s", first);
	(void)snprintf(agent->more[1].port, sizeof(agent->more[1].port), "%s", second);
	start_qube(domid, name);
	listen_at_new_port(agent);
}

/* A qube with an agent, which lists a device at `device_port` (NULL: none); returns when the broker has come. */
static struct agent *add_agent(uint16_t domid, const char *name, const char *device_port, unsigned int manners)
{
	struct agent *agent = &scene.agents[scene.n_agents++];

	assert_true(scene.n_agents <= MAX_AGENTS);
	*agent = (struct agent){.domid = domid, .manners = manners, .incarnation = 100, .generation = 1};
	if (device_port)
		(void)snprintf(agent->device_port, sizeof(agent->device_port), "%s", device_port);
	start_qube(domid, name);
	listen_at_new_port(agent);
	return agent;
}

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
	uint64_t deadline = now_usec() + PATIENCE_USEC;

	scene.broker = spawn_broker();
	for (int fd = -1; fd < 0;) {
		assert_true(now_usec() < deadline);
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
	int len =
		snprintf(request, sizeof(request), "%s+%s dom0 name %s%c%s", method, argument, destination, 0, payload);
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
 * The reply as text: "0" and the content, or "2", the exception's type, ": ", its text. Serves the agents meanwhile.
 */
static const char *call_end(int fd)
{
	static char replies[4][8200];
	static unsigned int next;
	char *reply = replies[next++ % 4], raw[8192];
	uint64_t deadline = now_usec() + 3 * PATIENCE_USEC;
	size_t len = 0;

	for (;;) {
		ssize_t n;

		assert_true(now_usec() < deadline);
		if (!serve(fd, 1000))
			continue;
		n = read(fd, raw + len, sizeof(raw) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	(void)close(fd);
	raw[len] = '\0';
	assert_true(len >= 2 && raw[1] == '\0');
	if (raw[0] == '0') {
		(void)snprintf(reply, sizeof(replies[0]), "0%s", raw + 2);
	} else {
		const char *type = raw + 2, *trace = type + strlen(type) + 1, *text = trace + strlen(trace) + 1;

		(void)snprintf(reply, sizeof(replies[0]), "%c%s: %s", raw[0], type, text);
	}
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
	(void)snprintf(scene.directory, sizeof(scene.directory), "%s/test-broker-XXXXXX", parent);
	assert_non_null(mkdtemp(scene.directory));
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

static void remove_tree(const char *path)
{
	DIR *dir = opendir(path);

	for (struct dirent *entry = NULL; dir && (entry = readdir(dir));) {
		char child[512];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		(void)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		if (unlink(child) < 0)
			remove_tree(child);
	}
	if (dir)
		(void)closedir(dir);
	(void)rmdir(path);
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
	remove_tree(scene.directory);
	return status != 0 || socket_left || !verified ? -1 : 0;
}
