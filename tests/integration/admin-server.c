/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real core and the real Admin API server, with a script in the place of qubes, agents and audit log: for tests of
 * the API and of the tools. `admin-server SOCKET [GROUP]` reads commands on stdin and answers each with "ok" or
 * "no" on stdout; it ends at end-of-file.
 *
 *     qube NAME DOMID             a qube starts, with an agent that exports and imports
 *     halt NAME                   it goes
 *     device QUBE SLOT PORT VENDOR PRODUCT SERIAL MANUFACTURER NAME CODE...
 *                                 a device comes; texts are hexadecimal, "-" is empty; CODE is six hex digits
 *     part QUBE SLOT CLASS PORT PARENT VENDOR PRODUCT SERIAL NAME
 *                                 a microphone, speaker or camera of what is at the port PARENT ("-": of nothing) comes
 *     unplug QUBE SLOT
 *     stream QUBE SLOT SIDE TO FROM USED   what a side (1 source, 2 target) says of the device's stream
 *     mode honest|silent|fail     what agents do with EXPORT, IMPORT and STOP: do it, nothing, refuse
 *     proceed                     what silent agents owe is done
 *     policy allow|ask|deny       what the policy says of everything
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "broker/io/admin.h"
#include "broker/io/clock.h"
#include "broker/io/device-class.h"
#include "lib/base/base.h"
#include "lib/base/log.h"

#define ACTIONS_MAX 4096u
#define LINE_MAX_BYTES 4096u

struct server {
	sd_event *event;
	struct core *core;
	struct admin *admin;
	sd_event_source *timer;
	enum { HONEST, SILENT, FAILING } mode;
	enum core_verdict verdict;
	struct policy *policy; /* one rule, for those who ask about it */
	struct queued {
		enum core_action_type type;
		uint64_t session;
		struct core_qube_ref qube;
		bool muted; /* of a MUTE */
	} queue[ACTIONS_MAX];
	size_t n_queue;
	uint32_t generation;
	char line[LINE_MAX_BYTES];
	size_t line_len;
};

static void emit(void *userdata, const struct core_action *action)
{
	struct server *server = userdata;

	if (action->type == CORE_DO_ANSWER)
		admin_answer(server->admin, action);
	admin_event(server->admin, action);
	if (server->n_queue < ACTIONS_MAX)
		server->queue[server->n_queue++] =
			(struct queued){.type = action->type,
					.session = action->session,
					.qube = action->qube,
					.muted = action->type == CORE_DO_MUTE && action->device->terms.muted};
}

static void on_decide(void *userdata, const struct core_device *device _unused_,
		      const struct core_qube *source _unused_, const struct core_qube *target _unused_,
		      struct core_decision *ret_decision)
{
	const struct server *server = userdata;

	ret_decision->verdict = server->verdict;
	(void)strcpy(ret_decision->rule, "50-test.policy:1");
}

static int handle(struct server *server, struct core_event event)
{
	event.now_usec = clock_now_usec();
	return core_handle(server->core, &event, NULL);
}

/* What agents and audit log would answer to one action; CORE_EVENT_COUNT: nothing. */
static enum core_event_type reaction(const struct server *server, const struct queued *queued)
{
	if (queued->type == CORE_DO_AUDIT)
		return CORE_AUDITED;
	if (server->mode == FAILING && (queued->type == CORE_DO_EXPORT || queued->type == CORE_DO_IMPORT))
		return CORE_FAILED;
	if (queued->type == CORE_DO_EXPORT)
		return CORE_EXPORTED;
	if (queued->type == CORE_DO_IMPORT)
		return CORE_IMPORTED;
	if (queued->type == CORE_DO_STOP_SOURCE || queued->type == CORE_DO_STOP_TARGET)
		return CORE_STOPPED;
	if (queued->type == CORE_DO_MUTE)
		return CORE_MUTED;
	return CORE_EVENT_COUNT;
}

static void react(struct server *server, const struct queued *queued, enum core_event_type type)
{
	struct core_event event = {.type = type, .qube = queued->qube};

	if (type == CORE_MUTED) {
		event.muted.session = queued->session;
		event.muted.muted = queued->muted;
	} else {
		event.session.session = queued->session;
		event.session.outcome = type == CORE_FAILED ? OUTCOME_NO_PORT : OUTCOME_OK;
	}
	(void)handle(server, event);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata);

static void settle(struct server *server)
{
	uint64_t deadline;
	size_t kept = 0;

	for (size_t i = 0; i < server->n_queue; i++) {
		struct queued queued = server->queue[i];
		enum core_event_type type = reaction(server, &queued);

		if (type == CORE_EVENT_COUNT)
			continue;
		if (server->mode == SILENT && type != CORE_AUDITED) {
			server->queue[kept++] = queued;
			continue;
		}
		react(server, &queued, type);
	}
	server->n_queue = kept;
	server->timer = sd_event_source_disable_unref(server->timer);
	deadline = core_next_deadline(server->core);
	if (deadline != UINT64_MAX)
		(void)sd_event_add_time(server->event, &server->timer, CLOCK_BOOTTIME, deadline, 1000, on_deadline,
					server);
}

static int on_deadline(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata)
{
	(void)handle(userdata, (struct core_event){.type = CORE_TICK});
	settle(userdata);
	return 0;
}

static int on_settle(sd_event_source *source, void *userdata)
{
	sd_event_source_unref(source);
	settle(userdata);
	return 0;
}

/* After the API has done what it does with the answer. */
static void settle_later(struct server *server)
{
	sd_event_source *later = NULL;

	(void)sd_event_add_defer(server->event, &later, on_settle, server);
}

static void on_request(void *userdata, const struct core_event *request)
{
	(void)handle(userdata, *request);
	settle_later(userdata);
}

/* Nothing is kept: it is enough that the core knows. */
static int on_change(void *userdata, const struct core_user *caller _unused_, const struct core_event *change,
		     const char **ret_why _unused_)
{
	int r = handle(userdata, *change);

	settle_later(userdata);
	return r;
}

static void on_answerers(void *userdata, unsigned int n)
{
	(void)handle(userdata, (struct core_event){.type = CORE_ANSWERERS, .answerers = n});
}

static const struct policy *on_policy(void *userdata, const char **ret_error)
{
	const struct server *server = userdata;

	*ret_error = server->policy ? NULL : "50-test.policy:1: there is no such word";
	return server->policy;
}

/* Three records; the texts in the second are a device's. */
static int on_audit_read(void *userdata _unused_, uint64_t after_seq, char *ret_lines, size_t size, size_t *ret_len)
{
	static const char *const lines[] = {
		"{\"ts\":\"2026-11-23T18:04:09.123456Z\",\"seq\":1,\"event\":\"policy-loaded\",\"prev\":\"00\"}\n",
		"{\"ts\":\"2026-11-23T18:04:10.123456Z\",\"seq\":2,\"event\":\"attach-request\",\"who\":1000,"
		"\"who-qube\":\"sys-gui\","
		"\"device\":\"0781:5581:A\\u001b[2J:u080650\",\"port\":\"1-2\",\"source\":{\"name\":\"sys-usb\","
		"\"domid\":3},"
		"\"target\":\"work\",\"rule\":\"50-test.policy:1\",\"prev\":\"00\"}\n",
		"{\"ts\":\"2026-11-23T18:04:11.123456Z\",\"seq\":3,\"event\":\"detached\",\"outcome\":\"unplugged\"}\n",
	};

	*ret_len = 0;
	if (after_seq < ARRAY_SIZE(lines)) /* one a page */
		*ret_len = (size_t)snprintf(ret_lines, size, "%s", lines[after_seq]);
	return 0;
}

static int on_audit_check(void *userdata _unused_, struct audit_check **ret_check)
{
	static int directory = -1;
	char path[] = "/tmp/admin-server-XXXXXX";

	if (directory < 0 && mkdtemp(path)) {
		directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		(void)rmdir(path);
	}
	return audit_check_new(directory, NULL, ret_check);
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

static bool do_qube(struct server *server, char **words, size_t n)
{
	struct core_event event = {.type = CORE_QUBE_STARTED, .now_usec = clock_now_usec()};
	struct core_qube_ref ref;

	if (n != 3)
		return false;
	event.qube_started.domid = (uint16_t)atoi(words[2]);
	memset(event.qube_started.uuid, atoi(words[2]), sizeof(event.qube_started.uuid));
	(void)snprintf(event.qube_started.name, sizeof(event.qube_started.name), "%s", words[1]);
	if (core_handle(server->core, &event, &ref))
		return false;
	(void)handle(server,
		     (struct core_event){.type = CORE_AGENT_READY, .qube = ref, .agent_ready = {.roles = WIRE_ROLES}});
	(void)handle(server, (struct core_event){.type = CORE_LIST_BEGIN, .qube = ref});
	(void)handle(server, (struct core_event){.type = CORE_LIST_END, .qube = ref});
	admin_qubes_changed(server->admin);
	return true;
}

static bool do_halt(struct server *server, char **words, size_t n)
{
	const struct core_qube *qube = n == 2 ? core_find_qube_by_name(server->core, words[1]) : NULL;

	if (!qube || handle(server, (struct core_event){.type = CORE_QUBE_GONE, .qube = qube->ref}))
		return false;
	admin_qubes_changed(server->admin);
	return true;
}

static void from_hex(const char *hex, char *text, size_t size)
{
	size_t len = 0;
	unsigned int byte;

	for (; len + 1 < size && sscanf(hex, "%2x", &byte) == 1; hex += 2)
		text[len++] = (char)byte;
	text[len] = '\0';
}

static bool do_device(struct server *server, char **words, size_t n)
{
	const struct core_qube *qube = n >= 9 ? core_find_qube_by_name(server->core, words[1]) : NULL;
	struct core_event event = {.type = CORE_DEVICE};
	struct core_device *device = &event.device;
	unsigned int vendor, product;

	if (!qube || sscanf(words[4], "%x", &vendor) != 1 || sscanf(words[5], "%x", &product) != 1)
		return false;
	event.qube = qube->ref;
	device->ref.slot = (uint16_t)atoi(words[2]);
	device->ref.generation = ++server->generation;
	device->class_id = WIRE_CLASS_USB;
	device->speed = WIRE_SPEED_HIGH;
	device->vendor = (uint16_t)vendor;
	device->product = (uint16_t)product;
	(void)snprintf(device->port, sizeof(device->port), "%s", words[3]);
	from_hex(words[6], device->serial, sizeof(device->serial) - 1);
	from_hex(words[7], device->manufacturer, sizeof(device->manufacturer) - 1);
	from_hex(words[8], device->product_name, sizeof(device->product_name) - 1);
	for (size_t i = 9; i < n && device->n_interfaces < LIMIT_INTERFACES; i++) {
		char bytes[4];

		from_hex(words[i], bytes, sizeof(bytes));
		memcpy(device->interfaces[device->n_interfaces++], bytes, 3);
	}
	return handle(server, event) == 0;
}

static bool do_part(struct server *server, char **words, size_t n)
{
	const struct core_qube *qube = n == 10 ? core_find_qube_by_name(server->core, words[1]) : NULL;
	int class_id = n == 10 ? device_class_id(admin_span(words[3])) : -1;
	struct core_event event = {.type = CORE_DEVICE};
	struct core_device *device = &event.device;
	unsigned int vendor, product;

	if (!qube || class_id <= 0 || !wire_may_be_part((uint8_t)class_id) ||
	    !wire_is_port((uint8_t)class_id, words[4]) || sscanf(words[6], "%x", &vendor) != 1 ||
	    sscanf(words[7], "%x", &product) != 1)
		return false;
	event.qube = qube->ref;
	device->ref.slot = (uint16_t)atoi(words[2]);
	device->ref.generation = ++server->generation;
	device->class_id = (uint8_t)class_id;
	device->vendor = (uint16_t)vendor;
	device->product = (uint16_t)product;
	device->n_interfaces = 1;
	if (class_id == WIRE_CLASS_WEBCAM)
		memcpy(device->interfaces[0], "\x0e\x01\x00", 3);
	(void)snprintf(device->port, sizeof(device->port), "%s", words[4]);
	if (strcmp(words[5], "-") != 0)
		(void)snprintf(device->parent, sizeof(device->parent), "%s", words[5]);
	from_hex(words[8], device->serial, sizeof(device->serial) - 1);
	from_hex(words[9], device->product_name, sizeof(device->product_name) - 1);
	return handle(server, event) == 0;
}

static const struct core_device *find_slot(const struct server *server, const char *name, const char *slot)
{
	const struct core_qube *qube = core_find_qube_by_name(server->core, name);
	const struct core_device *device;
	unsigned int cursor = 0;

	while (qube && (device = core_next_device(qube, &cursor)))
		if (device->ref.slot == atoi(slot))
			return device;
	return NULL;
}

static bool do_unplug(struct server *server, char **words, size_t n)
{
	const struct core_device *device = n == 3 ? find_slot(server, words[1], words[2]) : NULL;

	return device && handle(server, (struct core_event){.type = CORE_DEVICE_GONE,
							    .qube = device->ref.qube,
							    .gone = {.slot = device->ref.slot,
								     .generation = device->ref.generation}}) == 0;
}

static bool do_stream(struct server *server, char **words, size_t n)
{
	const struct core_device *device = n == 7 ? find_slot(server, words[1], words[2]) : NULL;
	struct core_event event = {.type = CORE_STREAM};

	if (!device)
		return false;
	event.stream.session = device->session;
	event.stream.side = (uint8_t)atoi(words[3]);
	event.stream.bytes_to_target = strtoull(words[4], NULL, 10);
	event.stream.bytes_from_target = strtoull(words[5], NULL, 10);
	event.stream.in_use = atoi(words[6]);
	event.qube = event.stream.side == WIRE_SIDE_EXPORT ? device->ref.qube : device->target;
	return handle(server, event) == 0;
}

static bool do_mode(struct server *server, char **words, size_t n)
{
	static const char *const modes[] = {"honest", "silent", "fail"};

	for (unsigned int i = 0; n == 2 && i < ARRAY_SIZE(modes); i++) {
		if (strcmp(words[1], modes[i]) == 0) {
			server->mode = i;
			return true;
		}
	}
	return false;
}

static bool do_proceed(struct server *server, char **words _unused_, size_t n _unused_)
{
	server->mode = HONEST;
	return true;
}

static bool do_policy(struct server *server, char **words, size_t n)
{
	static const char *const words_of[] = {
		[CORE_VERDICT_DENY] = "deny", [CORE_VERDICT_ASK] = "ask", [CORE_VERDICT_ALLOW] = "allow"};

	server->policy = policy_free(server->policy);
	for (unsigned int i = 0; n == 2 && i < ARRAY_SIZE(words_of); i++) {
		char text[64];
		struct policy_file file = {.name = "50-test.policy", .text = text};
		struct policy_error error;

		if (strcmp(words[1], words_of[i]) != 0)
			continue;
		(void)snprintf(text, sizeof(text), "usb * @anyvm @anyvm %s\n", words[1]);
		file.len = strlen(text);
		server->verdict = i;
		(void)handle(server, (struct core_event){.type = CORE_POLICY_CHANGED});
		return policy_new(&file, 1, &server->policy, &error) == 0;
	}
	return n == 2 && strcmp(words[1], "broken") == 0;
}

static const struct {
	const char *name;
	bool (*run)(struct server *server, char **words, size_t n);
} commands[] = {
	{"part", do_part}, {"qube", do_qube},       {"halt", do_halt},     {"device", do_device}, {"unplug", do_unplug},
	{"mode", do_mode}, {"proceed", do_proceed}, {"policy", do_policy}, {"stream", do_stream},
};

static bool run_line(struct server *server, char *line)
{
	char *words[64], *rest = NULL;
	size_t n = 0;

	for (char *word = strtok_r(line, " ", &rest); word && n < ARRAY_SIZE(words); word = strtok_r(NULL, " ", &rest))
		words[n++] = word;
	for (size_t i = 0; n && i < ARRAY_SIZE(commands); i++)
		if (strcmp(words[0], commands[i].name) == 0)
			return commands[i].run(server, words, n);
	return false;
}

static int on_stdin(sd_event_source *source _unused_, int fd, uint32_t events _unused_, void *userdata)
{
	struct server *server = userdata;
	ssize_t n = read(fd, server->line + server->line_len, sizeof(server->line) - server->line_len);
	char *end;

	if (n <= 0)
		return sd_event_exit(server->event, 0);
	server->line_len += (size_t)n;
	while ((end = memchr(server->line, '\n', server->line_len))) {
		bool good;

		*end = '\0';
		good = run_line(server, server->line);
		server->line_len -= (size_t)(end + 1 - server->line);
		memmove(server->line, end + 1, server->line_len);
		settle(server);
		puts(good ? "ok" : "no");
		(void)fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct server server;
	const struct admin_hooks hooks = {
		.request = on_request,
		.change = on_change,
		.answerers = on_answerers,
		.policy = on_policy,
		.audit_read = on_audit_read,
		.audit_check = on_audit_check,
	};
	int r;

	log_set_name("admin-server");
	server.verdict = CORE_VERDICT_ALLOW;
	if (argc < 2 || sd_event_new(&server.event) < 0)
		return 2;
	server.core = core_new(1, &(struct core_hooks){.emit = emit, .decide = on_decide}, &server);
	if (!server.core)
		return 2;
	r = admin_new(server.event, argv[1], argc > 2 ? argv[2] : NULL, server.core, &hooks, &server, &server.admin);
	if (r < 0) {
		log_error("cannot listen at %s: %s", argv[1], strerror(-r));
		return 1;
	}
	if (sd_event_add_io(server.event, NULL, STDIN_FILENO, EPOLLIN, on_stdin, &server) < 0)
		return 2;
	puts("ready");
	(void)fflush(stdout);
	r = sd_event_loop(server.event);
	sd_event_source_disable_unref(server.timer);
	server.admin = admin_free(server.admin);
	server.core = core_free(server.core);
	server.policy = policy_free(server.policy);
	sd_event_unref(server.event);
	return r < 0;
}
