/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of test-agent and test-agent-camera: the agent as a process, a broker that says what it is told to, devices, and
 * vhci_hcd's control files. Each test has a world of its own.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/scratch.h"
#include "tests/umockdev.h"
#include "lib/base/clock.h"
#include "lib/channel/channel.h"
#include "lib/wire/messages.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* not each program needs each */

#define OWN 5
#define OWN_TEXT "5"
#define DOM0 0
#define TARGET 7
#define WAIT_USEC (20 * USEC_PER_SEC)
#define QUIET_USEC (300 * USEC_PER_MSEC)
#define PCI "pci0000:00/usb1"
#define VHCI_PATH "/sys/devices/platform/vhci_hcd.0"
#define VHCI_HEAD "hub port sta spd dev      sockfd local_busid\n"
#define VHCI_FREE(hub, port) hub "  " port " 004 000 00000000 000000 0-0\n"

static const struct mock_device stick = {
	.bus_path = PCI,
	.port = "1-1",
	.bus = 1,
	.dev = 5,
	.vendor = 0x1234,
	.product = 0xabcd,
	.speed = "480",
	.serial = "S1",
};

/* A device as the broker put it together. */
struct seen {
	struct wire_DEVICE device;
	char serial[WIRE_TEXT], manufacturer[WIRE_TEXT], product[WIRE_TEXT], path[WIRE_TEXT], parent[WIRE_TEXT];
	bool committed;
};

/* One test's world. */
struct world {
	UMockdevTestbed *bed;
	char dir[64];
	uint16_t own; /* OWN, unless the test is about another */
	pid_t agent;
	struct channel_backend *backend;

	struct channel *channel;
	uint32_t number; /* of the present service */
	enum wire_states state;
	uint8_t input[65536];
	size_t input_len;

	size_t n_seen;
	struct seen seen[128];
	size_t n_sessions;
	struct wire_SESSION sessions[8];
	struct wire_HELLO hello;
	uint16_t n_left_out;
	uint32_t serial;
	uint32_t last_id;
};

static void pause_usec(uint64_t usec)
{
	(void)usleep((useconds_t)usec);
}

static void path_in(const struct world *world, const char *name, char path[128])
{
	(void)snprintf(path, 128, "%s/%s", world->dir, name);
}

/* The agent as a process */

static void start_agent_with(struct world *world, const char *proxy_dir)
{
	char program[4096], channel[128], own[8];
	const char *bin = getenv("BIN");

	(void)snprintf(program, sizeof(program), "%s/device-agent", bin == NULL ? "build/gcc/bin" : bin);
	(void)snprintf(channel, sizeof(channel), "socket:%s", world->dir);
	(void)snprintf(own, sizeof(own), "%u", world->own);
	world->agent = fork();
	if (world->agent == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)execl(program, program, "--channel", channel, "--own", own, "--proxy-dir", proxy_dir,
			    "--sound-dir", "none", NULL);
		_exit(127);
	}
	assert_true(world->agent > 0);
}

static void start_agent(struct world *world)
{
	start_agent_with(world, "tests/integration/agent-proxy");
}

static void kill_agent(struct world *world)
{
	assert_int_equal(kill(world->agent, SIGKILL), 0);
	assert_int_equal(waitpid(world->agent, NULL, 0), world->agent);
	world->agent = 0;
}

/* SIGTERM: it ends in time, with exit status 0 (a sanitizer's report is another). */
static void stop_agent_within(struct world *world, uint64_t usec)
{
	uint64_t deadline = clock_monotonic_usec() + usec;
	pid_t ended;
	int status;

	assert_int_equal(kill(world->agent, SIGTERM), 0);
	while ((ended = waitpid(world->agent, &status, WNOHANG)) == 0 && clock_monotonic_usec() < deadline)
		pause_usec(2000);
	assert_int_equal(ended, world->agent);
	world->agent = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("the agent ended with status %#x", (unsigned int)status);
}

static void stop_agent(struct world *world)
{
	stop_agent_within(world, 2 * USEC_PER_SEC);
}

static size_t count_fds(pid_t pid)
{
	char path[64];
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *folder = opendir(path);

	assert_non_null(folder);
	while (readdir(folder) != NULL)
		n++;
	(void)closedir(folder);
	return n;
}

static size_t count_children(pid_t pid)
{
	char path[64], text[4096];
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	int fd = open(path, O_RDONLY);
	ssize_t len = read(fd, text, sizeof(text));

	(void)close(fd);
	for (ssize_t i = 0; i < len; i++)
		n += text[i] == ' ';
	return n;
}

/* Of many that are just starting the kernel's list may leave some out (proc(5)), so it is read until it has all. */
static void expect_children(const struct world *world, size_t n)
{
	uint64_t deadline = clock_monotonic_usec() + WAIT_USEC;

	while (count_children(world->agent) != n && clock_monotonic_usec() < deadline)
		pause_usec(10000);
	assert_int_equal(count_children(world->agent), n);
}

static pid_t first_child(pid_t pid)
{
	char path[64], text[64] = {0};

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	int fd = open(path, O_RDONLY);

	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	(void)close(fd);
	return (pid_t)atoi(text);
}

/* The broker's side of the channel */

static bool read_number(const struct world *world, uint32_t *ret_number)
{
	char name[32], path[128], text[16] = {0};

	(void)snprintf(name, sizeof(name), "%u-device-agent.port", world->own);
	path_in(world, name, path);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		(void)close(fd);
	*ret_number = n > 0 ? (uint32_t)strtoul(text, NULL, 10) : 0;
	return n > 0;
}

static void leave(struct world *world)
{
	world->channel = channel_free(world->channel);
}

/* Connects to the service that is published, which must not be the last one. */
static void join(struct world *world)
{
	static const struct channel_rings most = {.read = RING_CONTROL, .write = RING_CONTROL};
	struct channel_address address = {.server_domid = world->own, .client_domid = DOM0};
	uint64_t deadline = clock_monotonic_usec() + WAIT_USEC;
	uint32_t number = 0;

	leave(world);
	while ((!read_number(world, &number) || number == world->number) && clock_monotonic_usec() < deadline)
		pause_usec(2000);
	assert_int_not_equal(number, world->number);
	if (world->number != 0)
		assert_true(number < 1u << 24);
	world->number = number;
	(void)snprintf(address.service, sizeof(address.service), "device-agent/%" PRIu32, number);
	assert_int_equal(channel_connect_wait(world->backend, &address, &most, WAIT_USEC, &world->channel), 0);
	world->state = WIRE_IN_NEW;
	world->input_len = 0;
	world->n_seen = world->n_sessions = 0;
}

static void send_bytes(struct world *world, const void *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = channel_write(world->channel, bytes, len);

		if (n < 0)
			return; /* it was cut: the test sees that */
		bytes = (const uint8_t *)bytes + n;
		len -= (size_t)n;
		if (n == 0 && channel_wait(world->channel, true, WAIT_USEC) != 0)
			fail_msg("the agent does not read");
	}
}

static void send_message(struct world *world, const struct wire_message *message)
{
	uint8_t frame[LIMIT_FRAME];

	send_bytes(world, frame, wire_encode(message, frame));
}

/* The next frame within `usec`; false when there is none. Checks the protocol's states as the broker does. */
static bool receive(struct world *world, struct wire_message *ret_message, uint64_t usec)
{
	uint64_t deadline = clock_monotonic_usec() + usec;

	for (;;) {
		size_t used;
		int r = wire_decode(world->input, world->input_len, WIRE_TO_BROKER, world->state, ret_message, &used);

		if (r == 0) {
			world->input_len -= used;
			memmove(world->input, world->input + used, world->input_len);
			world->state = wire_next_state(world->state, ret_message->type, WIRE_TO_BROKER);
			return true;
		}
		if (r != WIRE_MORE)
			fail_msg("the agent broke the protocol: %s", wire_fault_text(r));
		ssize_t n = channel_read(world->channel, world->input + world->input_len,
					 sizeof(world->input) - world->input_len);

		assert_true(n >= 0);
		world->input_len += (size_t)n;
		if (n > 0)
			continue;
		uint64_t now = clock_monotonic_usec();

		if (channel_state(world->channel) != CHANNEL_OPEN || now >= deadline ||
		    channel_wait(world->channel, false, deadline - now) == CHANNEL_TIMED_OUT)
			return false;
	}
}

/* The next frame, which must be of this type. */
/* What is said of streams may come any time and is passed over, unless it is that. */
static struct wire_message expect(struct world *world, enum wire_type type)
{
	struct wire_message message;

	do
		if (!receive(world, &message, WAIT_USEC))
			fail_msg("no %s came (channel state %d)", wire_type_name(type), channel_state(world->channel));
	while (message.type == WIRE_STREAM && type != WIRE_STREAM);
	if (message.type != type)
		fail_msg("%s came instead of %s%s%s", wire_type_name(message.type), wire_type_name(type),
			 message.type == WIRE_FAILED ? ": " : "",
			 message.type == WIRE_FAILED ? outcome_name(message.FAILED.outcome) : "");
	return message;
}

static void expect_cut(struct world *world)
{
	uint64_t deadline = clock_monotonic_usec() + WAIT_USEC;
	uint8_t waste[4096];

	while (channel_state(world->channel) == CHANNEL_OPEN && clock_monotonic_usec() < deadline)
		if (channel_read(world->channel, waste, sizeof(waste)) == 0)
			(void)channel_wait(world->channel, false, 100 * USEC_PER_MSEC);
	assert_int_equal(channel_state(world->channel), CHANNEL_DEAD);
}

static void note_list_begin(struct world *world, const struct wire_message *message)
{
	world->n_seen = 0;
	world->serial = message->LIST_BEGIN.serial;
}

static void note_list_end(struct world *world, const struct wire_message *message)
{
	assert_int_equal(message->LIST_END.serial, world->serial);
	world->n_left_out = message->LIST_END.n_left_out;
}

static void note_device(struct world *world, const struct wire_message *message)
{
	assert_true(world->n_seen < ARRAY_SIZE(world->seen));
	world->seen[world->n_seen++] = (struct seen){.device = message->DEVICE};
}

static void note_text(struct world *world, const struct wire_message *message)
{
	struct seen *last = &world->seen[world->n_seen - 1];
	char *const texts[] = {
		[WIRE_TEXT_SERIAL] = last->serial,   [WIRE_TEXT_MANUFACTURER] = last->manufacturer,
		[WIRE_TEXT_PRODUCT] = last->product, [WIRE_TEXT_PATH] = last->path,
		[WIRE_TEXT_PARENT] = last->parent,
	};

	assert_true(!last->committed && last->device.slot == message->DEVICE_TEXT.slot);
	(void)snprintf(texts[message->DEVICE_TEXT.which], WIRE_TEXT, "%s", message->DEVICE_TEXT.text);
}

static void note_commit(struct world *world, const struct wire_message *message)
{
	struct seen *last = &world->seen[world->n_seen - 1];

	assert_int_equal(last->device.generation, message->DEVICE_COMMIT.generation);
	last->committed = true;
}

static void note_gone(struct world *world, const struct wire_message *message)
{
	for (size_t i = 0; i < world->n_seen; i++)
		if (world->seen[i].device.slot == message->DEVICE_GONE.slot &&
		    world->seen[i].device.generation == message->DEVICE_GONE.generation) {
			world->seen[i] = world->seen[--world->n_seen];
			return;
		}
	fail_msg("a device went that was not there");
}

/* Brings the broker's picture up to date with a message of a device or a list. False for any other message. */
static bool note(struct world *world, const struct wire_message *message)
{
	static const struct {
		enum wire_type type;
		void (*note)(struct world *world, const struct wire_message *message);
	} notes[] = {
		{WIRE_LIST_BEGIN, note_list_begin}, {WIRE_LIST_END, note_list_end},    {WIRE_DEVICE, note_device},
		{WIRE_DEVICE_TEXT, note_text},      {WIRE_DEVICE_COMMIT, note_commit}, {WIRE_DEVICE_GONE, note_gone},
	};

	for (size_t i = 0; i < ARRAY_SIZE(notes); i++)
		if (notes[i].type == message->type) {
			notes[i].note(world, message);
			return true;
		}
	return false;
}

/* The next frame, which must be of this type: one of a device. */
static struct wire_message expect_noted(struct world *world, enum wire_type type)
{
	struct wire_message message = expect(world, type);

	assert_true(note(world, &message));
	return message;
}

static void take_list(struct world *world)
{
	struct wire_message message;

	do {
		assert_true(receive(world, &message, WAIT_USEC));
		assert_true(note(world, &message));
	} while (message.type != WIRE_LIST_END);
}

static void send_welcome(struct world *world)
{
	send_message(world, &(struct wire_message){
				    .type = WIRE_WELCOME,
				    .WELCOME = {.version = WIRE_VERSION, .incarnation = 1, .domid = world->own},
			    });
}

/* HELLO and its sessions; the agent waits for WELCOME then. */
static void take_hello(struct world *world)
{
	struct wire_message message = expect(world, WIRE_HELLO);

	world->hello = message.HELLO;
	assert_int_equal(world->hello.version, WIRE_VERSION);
	while (receive(world, &message, QUIET_USEC / 3)) {
		assert_int_equal(message.type, WIRE_SESSION);
		world->sessions[world->n_sessions++] = message.SESSION;
	}
}

static void meet(struct world *world)
{
	join(world);
	take_hello(world);
	send_welcome(world);
	take_list(world);
}

static const struct seen *find_seen(const struct world *world, const char *port)
{
	for (size_t i = 0; i < world->n_seen; i++)
		if (strcmp(world->seen[i].device.port, port) == 0)
			return &world->seen[i];
	return NULL;
}

/* Takes device events until none has come for so long. */
static size_t take_in(struct world *world, uint64_t usec)
{
	struct wire_message message;
	size_t n = 0;

	while (receive(world, &message, usec)) {
		assert_true(note(world, &message));
		n++;
	}
	return n;
}

/* ... until the picture has been quiet for a moment. */
static size_t settle(struct world *world)
{
	return take_in(world, 2 * USEC_PER_SEC);
}

/* Requests */

static uint32_t ask_stop(struct world *world, uint64_t session)
{
	send_message(world, &(struct wire_message){.type = WIRE_STOP, .id = ++world->last_id, .STOP = {session}});
	return world->last_id;
}

static uint32_t ask_export_with(struct world *world, uint64_t session, const struct wire_DEVICE *device,
				const uint8_t controls[CONTROL_COUNT])
{
	struct wire_message message = {
		.type = WIRE_EXPORT,
		.id = ++world->last_id,
		.EXPORT =
			{
				.session = session,
				.slot = device->slot,
				.generation = device->generation,
				.target = TARGET,
			},
	};

	memcpy(message.EXPORT.digest, device->digest, sizeof(message.EXPORT.digest));
	memcpy(message.EXPORT.controls, controls, sizeof(message.EXPORT.controls));
	send_message(world, &message);
	return message.id;
}

static uint32_t ask_export(struct world *world, uint64_t session, const struct wire_DEVICE *device)
{
	return ask_export_with(world, session, device, (const uint8_t[CONTROL_COUNT]){0});
}

static uint32_t ask_import(struct world *world, uint64_t session)
{
	send_message(world, &(struct wire_message){
				    .type = WIRE_IMPORT,
				    .id = ++world->last_id,
				    .IMPORT = {.session = session, .source = TARGET, .class = WIRE_CLASS_USB},
			    });
	return world->last_id;
}

static void expect_failed(struct world *world, const char *name, uint64_t session, enum outcome outcome)
{
	struct wire_message message = expect(world, WIRE_FAILED);

	if (message.id != world->last_id || message.FAILED.session != session || message.FAILED.outcome != outcome)
		fail_msg("%s: %s", name, outcome_name(message.FAILED.outcome));
}

static void expect_stopped(struct world *world, uint32_t id, uint64_t session)
{
	struct wire_message message = expect(world, WIRE_STOPPED);

	assert_int_equal(message.id, id);
	assert_int_equal(message.STOPPED.session, session);
}

static void set_mode(const struct world *world, const char *mode)
{
	char path[128];

	path_in(world, "proxy-mode", path);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	(void)fprintf(file, "%s\n", mode);
	assert_int_equal(fclose(file), 0);
	path_in(world, "proxy-seen", path);
	(void)unlink(path);
}

/* A line of what the proxy was given, after `key` and a blank. */
static void read_seen(const struct world *world, const char *key, char line[8192])
{
	char path[128];

	path_in(world, "proxy-seen", path);
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	while (fgets(line, 8192, file) != NULL)
		if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ' ')
			break;
	(void)fclose(file);
	memmove(line, line + strlen(key) + 1, strlen(line + strlen(key) + 1) + 1);
	line[strcspn(line, "\n")] = '\0';
}

/* usbcore's parameter, where the agent under test sees it. `text`: to write it, or NULL; what is there then. */
static unsigned int usbfs_memory(struct world *world, const char *text)
{
	char *root = umockdev_testbed_get_root_dir(world->bed);
	char path[512], *now = NULL;
	unsigned int mib = 0;

	(void)snprintf(path, sizeof(path), "%s/sys/module/usbcore/parameters", root);
	free(root);
	assert_int_equal(g_mkdir_with_parents(path, 0755), 0);
	(void)strcat(path, "/usbfs_memory_mb");
	if (text != NULL)
		assert_true(g_file_set_contents(path, text, -1, NULL));
	assert_true(g_file_get_contents(path, &now, NULL, NULL));
	assert_int_equal(sscanf(now, "%u", &mib), 1);
	g_free(now);
	return mib;
}

/* vhci_hcd */

static void add_vhci(struct world *world, const char *status)
{
	GError *error = NULL;

	assert_true(umockdev_testbed_add_from_string(world->bed,
						     "P: /devices/platform/vhci_hcd.0\nE: SUBSYSTEM=platform\n"
						     "A: status=\\n\nA: attach=\\n\nA: detach=\\n\n\n",
						     &error));
	umockdev_testbed_set_attribute(world->bed, VHCI_PATH, "status", status);
}

static void set_vhci(struct world *world, const char *status)
{
	umockdev_testbed_set_attribute(world->bed, VHCI_PATH, "status", status);
}

/* What the kernel says of a module: a file in its folder. NULL: it is not there. */
static void set_module_file(const struct world *world, const char *name, const char *text)
{
	_cleanup_free_ char *root = umockdev_testbed_get_root_dir(world->bed);
	_cleanup_free_ char *path = g_strdup_printf("%s/sys/module/%s", root, name);
	_cleanup_free_ char *folder = g_path_get_dirname(path);

	assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
	if (text == NULL)
		(void)unlink(path);
	else
		assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void set_initstate(const struct world *world, const char *text)
{
	set_module_file(world, "vhci_hcd/initstate", text);
}

static void clear_vhci_file(struct world *world, const char *name)
{
	umockdev_testbed_set_attribute(world->bed, VHCI_PATH, name, "");
}

static void read_vhci_file(const char *name, char text[64])
{
	char path[128];

	(void)snprintf(path, sizeof(path), VHCI_PATH "/%s", name);
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, text, 63);

	assert_true(n >= 0);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	(void)close(fd);
}

/* Waits for a write to attach or detach. */
static void wait_vhci_file(const char *name, char text[64])
{
	uint64_t deadline = clock_monotonic_usec() + WAIT_USEC;

	do {
		pause_usec(2000);
		read_vhci_file(name, text);
	} while (text[0] == '\0' && clock_monotonic_usec() < deadline);
	assert_int_not_equal(text[0], '\0');
}

static const char vhci_idle[] =
	VHCI_HEAD VHCI_FREE("hs", "0000") VHCI_FREE("hs", "0001") VHCI_FREE("ss", "0002") VHCI_FREE("ss", "0003");

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	scratch_make_in("/tmp", "agent", world->dir, sizeof(world->dir)); /* umockdev takes all of /dev for its own */
	world->own = OWN;
	world->bed = umockdev_testbed_new();
	assert_int_equal(channel_backend_new_socket(world->dir, &world->backend), 0);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	if (world->agent > 0) {
		(void)kill(world->agent, SIGKILL);
		(void)waitpid(world->agent, NULL, 0);
	}
	leave(world);
	world->backend = channel_backend_free(world->backend);
	g_object_unref(world->bed);
	scratch_remove(world->dir);
	free(world);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
