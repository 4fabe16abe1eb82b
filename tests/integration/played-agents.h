/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Agents over `socket` channels that do what the test tells them, their qubes and devices. One process, one thread:
 * whoever waits serves all agents meanwhile. The broker that they meet is in broker-vocabulary.h.
 */
#pragma once

#include "tests/unit.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/clock.h"
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
	bool nameless;                     /* devices have no texts but a serial number */
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
	const char *caller; /* for which qube the API is asked; NULL: dom0 */
} scene;

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
	if (!agent->nameless) {
		say_text(agent, slot, generation, WIRE_TEXT_MANUFACTURER, "SanDisk");
		say_text(agent, slot, generation, WIRE_TEXT_PRODUCT, "Ultra");
	}
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
	m.HELLO.roles = WIRE_ROLES;
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
		uint64_t serve_deadline = clock_monotonic_usec() + PATIENCE_USEC;       \
		while (!(condition)) {                                                  \
			if (clock_monotonic_usec() > serve_deadline)                    \
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
