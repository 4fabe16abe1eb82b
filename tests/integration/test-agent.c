/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real device-agent against a scripted broker over the socket channel: devices in a umockdev test bed, a usb-proxy
 * that does wrong on command, vhci_hcd's control files as plain files. What needs a kernel is in tests/rig.
 *
 * BIN names the folder of device-agent.
 */
#include "tests/integration/agent-world.h"

#define BUSY_PINGS 400u /* answers to so many are more than the channel holds */

static void test_list(void **state)
{
	static const struct mock_device devices[] = {
		{.bus_path = PCI, .port = "1-2", .bus = 1, .dev = 6, .class_code = 9, .speed = "480"},
		{.bus_path = PCI "/1-2", .port = "1-2.4", .bus = 1, .dev = 7, .speed = "12", .serial = "x\x1b[31m"},
		{.bus_path = "platform/vhci_hcd.0/usb3", .port = "3-1", .bus = 3, .dev = 2, .speed = "480"},
		{.bus_path = PCI, .port = "1-3", .bus = 1, .dev = 8, .speed = "480", .property = "QDB_EXPORT=0"},
		{.bus_path = PCI, .port = "1-5", .bus = 1, .dev = 9, .speed = "480", .descriptors = "1201"},
	};
	struct world *world = *state;
	const struct seen *seen;

	mock_add(world->bed, &stick);
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		mock_add(world->bed, &devices[i]);
	start_agent(world);
	meet(world);
	assert_int_equal(world->hello.roles, WIRE_ROLE_EXPORT); /* there is no vhci_hcd */
	assert_int_not_equal(world->hello.incarnation, 0);
	assert_int_equal(world->n_seen, 2);
	assert_int_equal(world->n_left_out, 1);
	seen = find_seen(world, "1-1");
	assert_non_null(seen);
	assert_int_equal(seen->device.vendor, 0x1234);
	assert_int_equal(seen->device.product, 0xabcd);
	assert_int_equal(seen->device.speed, WIRE_SPEED_HIGH);
	assert_int_equal(seen->device.n_interfaces, 1);
	assert_string_equal(seen->serial, "S1");
	assert_string_equal(seen->manufacturer, "Mock");
	assert_string_equal(seen->product, "Thing 1-1");
	assert_string_equal(seen->path, "platform-pci0000:00-usb-0:1");
	seen = find_seen(world, "1-2.4");
	assert_non_null(seen);
	assert_string_equal(seen->serial, "x_[31m");
	assert_int_equal(seen->device.speed, WIRE_SPEED_FULL);
	stop_agent(world);
}

/* CF21: more devices than there are slots, each with the longest texts; the list passes at once. */
static void test_many(void **state)
{
	struct world *world = *state;
	char port[LIMIT_PORT_TEXT], serial[200];

	memset(serial, 'q', sizeof(serial));
	serial[sizeof(serial) - 1] = '\0';
	for (unsigned int i = 1; i <= 70; i++) {
		struct mock_device device = stick;

		(void)snprintf(port, sizeof(port), "1-%u", i);
		device.port = port;
		device.dev = i + 1;
		device.serial = serial;
		mock_add(world->bed, &device);
	}
	start_agent(world);
	meet(world);
	assert_int_equal(world->n_seen, LIMIT_DEVICES);
	assert_int_equal(world->n_left_out, 70 - LIMIT_DEVICES);
	for (size_t i = 0; i < world->n_seen; i++)
		assert_int_equal(strlen(world->seen[i].serial), LIMIT_TEXT);
	/* One goes: one of those that were left out comes. */
	struct mock_device gone = stick;

	(void)snprintf(port, sizeof(port), "%s", world->seen[0].device.port);
	gone.port = port;
	mock_unplug(world->bed, &gone, false);
	(void)settle(world);
	assert_int_equal(world->n_seen, LIMIT_DEVICES);
	assert_null(find_seen(world, port));
	stop_agent(world);
}

static void test_hotplug(void **state)
{
	struct world *world = *state;
	struct mock_device changed = stick;
	struct wire_message message;
	uint32_t generation;
	uint16_t slot;

	start_agent(world);
	meet(world);
	assert_int_equal(world->n_seen, 0);
	mock_add(world->bed, &stick);
	message = expect_noted(world, WIRE_DEVICE);
	slot = message.DEVICE.slot;
	generation = message.DEVICE.generation;
	for (unsigned int i = 0; i < 4; i++)
		(void)expect_noted(world, WIRE_DEVICE_TEXT);
	(void)expect_noted(world, WIRE_DEVICE_COMMIT);
	mock_event(world->bed, &stick, "change"); /* HP06: nothing is different */
	mock_event(world->bed, &stick, "bind");
	assert_false(receive(world, &message, QUIET_USEC));
	mock_unplug(world->bed, &stick, false);
	message = expect_noted(world, WIRE_DEVICE_GONE);
	assert_int_equal(message.DEVICE_GONE.slot, slot);
	assert_int_equal(message.DEVICE_GONE.generation, generation);
	/* HP02: the same device again is another one */
	mock_add(world->bed, &stick);
	message = expect_noted(world, WIRE_DEVICE);
	assert_int_not_equal(message.DEVICE.generation, generation);
	/* UD01: other content at the same port */
	changed.descriptors = "12010002000000403412CDAA00010102030109021900010100A032090400000103010100070581030008"
			      "0A";
	(void)settle(world);
	char path[MOCK_PATH_SIZE];
	uint8_t raw[43] = {0};

	for (size_t i = 0; i < sizeof(raw); i++) {
		unsigned int byte;

		assert_int_equal(sscanf(changed.descriptors + 2 * i, "%2X", &byte), 1);
		raw[i] = (uint8_t)byte;
	}
	mock_path(&stick, path);
	umockdev_testbed_set_attribute_binary(world->bed, path, "descriptors", raw, sizeof(raw));
	mock_event(world->bed, &stick, "change");
	(void)expect_noted(world, WIRE_DEVICE_GONE);
	message = expect_noted(world, WIRE_DEVICE);
	assert_int_equal(message.DEVICE.product, 0xaacd);
	(void)settle(world);
	/* HP06, RX06: the event is lost; a rescan finds it */
	mock_unplug(world->bed, &stick, true);
	assert_false(receive(world, &message, QUIET_USEC));
	send_message(world, &(struct wire_message){.type = WIRE_RESCAN, .RESCAN = {.serial = 77}});
	message = expect(world, WIRE_LIST_BEGIN);
	assert_int_equal(message.LIST_BEGIN.serial, 77);
	message = expect(world, WIRE_LIST_END);
	assert_int_equal(message.LIST_END.serial, 77);
	stop_agent(world);
}

/* HP14: 150 times in and out; bounded frames, and the end is right. */
static void test_storm(void **state)
{
	struct world *world = *state;
	uint64_t begun = clock_monotonic_usec(), took;
	size_t n = 0;

	start_agent(world);
	meet(world);
	for (unsigned int i = 0; i < 150; i++) {
		mock_add(world->bed, &stick);
		mock_unplug(world->bed, &stick, false);
		n += take_in(world, 0); /* who does not read for long is cut */
	}
	mock_add(world->bed, &stick);
	n += settle(world);
	took = clock_monotonic_usec() - begun;
	/* the burst, then the rate; a list of one device each second */
	if (n > LIMIT_PEER_EVENTS_BURST + (LIMIT_PEER_EVENTS_PER_SEC + 7) * (took / USEC_PER_SEC + 1))
		fail_msg("%zu frames in %" PRIu64 " us", n, took);
	assert_int_equal(world->n_seen, 1);
	assert_non_null(find_seen(world, "1-1"));
	stop_agent(world);
}

/* CF01, CF04, CF06, CF07, CF08, CF13: one wrong frame: cut, and there again under another number. */
static void test_wrong_frames(void **state)
{
	static const struct {
		const char *name;
		bool welcomed;
		uint8_t frame[24];
		size_t len;
	} rows[] = {
		{"type 0", true, {0, 0, 8, 0, 0, 0, 0, 0}, 8},
		{"type 0xffff", true, {0xff, 0xff, 8, 0, 0, 0, 0, 0}, 8},
		{"a message of ours", true, {WIRE_PONG, 0, 16, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 16},
		{"PING one byte short", true, {WIRE_PING, 0, 15, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7}, 15},
		{"PING without body", true, {WIRE_PING, 0, 8, 0, 1, 0, 0, 0}, 8},
		{"length 0", true, {WIRE_PING, 0, 0, 0, 1, 0, 0, 0}, 8},
		{"length 65535", true, {WIRE_PING, 0, 0xff, 0xff, 1, 0, 0, 0}, 8},
		{"PING with id 0", true, {WIRE_PING, 0, 16, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 16},
		{"PING before WELCOME", false, {WIRE_PING, 0, 16, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 16},
		{"WELCOME of version 0",
		 false,
		 {WIRE_WELCOME, 0, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, OWN},
		 20},
		{"WELCOME of version 1",
		 false,
		 {WIRE_WELCOME, 0, 20, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, OWN},
		 20},
		{"WELCOME for another",
		 false,
		 {WIRE_WELCOME, 0, 20, 0, 0, 0, 0, 0, WIRE_VERSION, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9},
		 20},
		{"second WELCOME",
		 true,
		 {WIRE_WELCOME, 0, 20, 0, 0, 0, 0, 0, WIRE_VERSION, 0, 1, 0, 0, 0, 0, 0, 0, 0, OWN},
		 20},
	};
	struct world *world = *state;
	size_t n_fds = 0;

	start_agent(world);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].welcomed) {
			meet(world);
		} else {
			join(world);
			take_hello(world);
		}
		if (i == 0)
			n_fds = count_fds(world->agent);
		send_bytes(world, rows[i].frame, rows[i].len);
		expect_cut(world);
	}
	meet(world);
	assert_int_equal(count_fds(world->agent), n_fds);
	stop_agent(world);
}

/* CF02, CF03: bytewise, and a thousand in one go. */
static void test_ping(void **state)
{
	static uint8_t frames[1000 * LIMIT_FRAME];
	struct world *world = *state;
	struct wire_message ping = {.type = WIRE_PING, .id = 9, .PING = {.nonce = 0x1122334455667788}};
	struct wire_message pong;
	size_t len = wire_encode(&ping, frames);

	start_agent(world);
	meet(world);
	for (size_t i = 0; i < len; i++) {
		send_bytes(world, frames + i, 1);
		pause_usec(1000);
	}
	pong = expect(world, WIRE_PONG);
	assert_int_equal(pong.id, 9);
	assert_int_equal(pong.PONG.nonce, 0x1122334455667788);
	len = 0;
	for (uint32_t i = 1; i <= 200; i++) {
		ping.id = i;
		ping.PING.nonce = i;
		len += wire_encode(&ping, frames + len);
	}
	send_bytes(world, frames, len);
	for (uint32_t i = 1; i <= 200; i++) {
		pong = expect(world, WIRE_PONG);
		assert_int_equal(pong.id, i);
		assert_int_equal(pong.PONG.nonce, i);
	}
	stop_agent(world);
}

/* CF16, RX01: asks and never reads: cut at the limit; then everything works again. */
static void test_no_reader(void **state)
{
	struct world *world = *state;
	uint64_t deadline = clock_monotonic_usec() + WAIT_USEC;
	uint8_t frame[LIMIT_FRAME];
	size_t len = wire_encode(&(struct wire_message){.type = WIRE_PING, .id = 1, .PING = {1}}, frame);
	size_t n = 0;

	start_agent(world);
	meet(world);
	while (clock_monotonic_usec() < deadline) {
		ssize_t taken = channel_write(world->channel, frame + n % len, len - n % len);

		if (taken < 0 || channel_state(world->channel) != CHANNEL_OPEN)
			break;
		n += (size_t)taken;
		if (taken == 0 && channel_wait(world->channel, true, 200 * USEC_PER_MSEC) != 0)
			break;
	}
	assert_true(n >= LIMIT_PEER_QUEUE && n < 4 * LIMIT_PEER_QUEUE);
	meet(world);
	stop_agent(world);
}

static void test_refusals(void **state)
{
	struct world *world = *state;
	struct mock_device other = stick;
	char path[MOCK_PATH_SIZE];
	struct wire_DEVICE device;
	struct wire_message message;

	other.port = "1-6";
	other.dev = 12;
	other.node = "12010002000000403412CDAA0001010203010902";
	mock_add(world->bed, &stick);
	mock_add(world->bed, &other);
	set_mode(world, "good");
	start_agent(world);
	meet(world);
	/* STOP of what is not there is done */
	expect_stopped(world, ask_stop(world, 4711), 4711);
	/* and nothing passes of it */
	send_message(world, &(struct wire_message){.type = WIRE_MUTE, .id = ++world->last_id, .MUTE = {4711, 1}});
	message = expect(world, WIRE_MUTED);
	assert_true(message.id == world->last_id && message.MUTED.session == 4711 && message.MUTED.muted);
	device = find_seen(world, "1-1")->device;
	device.slot = LIMIT_DEVICES;
	(void)ask_export(world, 1, &device);
	expect_failed(world, "slot out of range", 1, OUTCOME_NO_DEVICE);
	device = find_seen(world, "1-1")->device;
	device.generation--;
	(void)ask_export(world, 1, &device);
	expect_failed(world, "former generation", 1, OUTCOME_NO_DEVICE);
	device = find_seen(world, "1-1")->device;
	device.digest[31] ^= 1;
	(void)ask_export(world, 1, &device);
	expect_failed(world, "other digest", 1, OUTCOME_CHANGED);
	(void)ask_export(world, 1, &find_seen(world, "1-6")->device);
	expect_failed(world, "UD01 the node is another device", 1, OUTCOME_CHANGED);
	message = (struct wire_message){.type = WIRE_EXPORT, .id = ++world->last_id, .EXPORT = {.target = OWN}};
	send_message(world, &message);
	expect_failed(world, "export to itself", 0, OUTCOME_UNSUPPORTED);
	(void)ask_import(world, 2);
	expect_failed(world, "no vhci_hcd", 2, OUTCOME_NO_DRIVER);
	/* UD01 changed behind our back: the event has not come (yet) */
	mock_path(&stick, path);
	umockdev_testbed_set_attribute(world->bed, path, "serial", "S2\n");
	device = find_seen(world, "1-1")->device;
	(void)ask_export(world, 1, &device);
	expect_failed(world, "serial changed", 1, OUTCOME_CHANGED);
	umockdev_testbed_set_attribute(world->bed, path, "serial", "S1\n");
	umockdev_testbed_set_attribute(world->bed, path, "devnum", "6\n");
	(void)ask_export(world, 1, &device);
	expect_failed(world, "enumerated anew", 1, OUTCOME_CHANGED);
	/* HP01 unplugged behind our back */
	mock_unplug(world->bed, &stick, true);
	(void)ask_export(world, 1, &device);
	expect_failed(world, "unplugged", 1, OUTCOME_NO_DEVICE);
	assert_int_equal(count_children(world->agent), 0);
	stop_agent(world);
}

static void test_export(void **state)
{
	struct world *world = *state;
	char line[8192], want[256];
	const uint64_t session = 0xabcdef0123456789;
	struct wire_message message;
	struct wire_DEVICE device;
	uint32_t id;
	size_t n_fds;

	struct mock_device configured = stick;

	configured.configuration = 1;
	mock_add(world->bed, &configured);
	set_mode(world, "good");
	(void)usbfs_memory(world, "1\n");
	start_agent(world);
	meet(world);
	n_fds = count_fds(world->agent);
	device = find_seen(world, "1-1")->device;
	assert_int_equal(usbfs_memory(world, NULL), 1);
	id = ask_export(world, session, &device);
	message = expect(world, WIRE_EXPORTED);
	assert_true(usbfs_memory(world, NULL) > 16);
	assert_int_equal(message.id, id);
	assert_int_equal(message.EXPORTED.session, session);
	/* What the proxy was given: command line, fds, signals, snapshot */
	(void)snprintf(want, sizeof(want),
		       "--channel socket:%s --own " OWN_TEXT
		       " --peer 7 --service qdb/abcdef0123456789 --user qdb-proxy "
		       "--devid 65541 --configuration 1",
		       world->dir);
	read_seen(world, "export", line);
	assert_string_equal(line, want);
	read_seen(world, "fds", line);
	assert_string_equal(line, "0 1 2 3 4 5");
	read_seen(world, "blocked", line);
	assert_string_equal(line, "0");
	read_seen(world, "snapshot", line);
	assert_memory_equal(line,
			    "03025331"
			    "12010002",
			    16);
	/* One exporter per device, one session per number */
	(void)ask_export(world, 2, &device);
	expect_failed(world, "the device twice", 2, OUTCOME_BUSY);
	(void)ask_import(world, session);
	expect_failed(world, "no import here", session, OUTCOME_NO_DRIVER);
	/* The broker goes and comes back: the session runs on */
	meet(world);
	assert_int_equal(world->n_sessions, 1);
	assert_int_equal(world->sessions[0].session, session);
	assert_int_equal(world->sessions[0].side, WIRE_SIDE_EXPORT);
	assert_int_equal(world->sessions[0].peer, TARGET);
	assert_memory_equal(world->sessions[0].digest, device.digest, WIRE_DIGEST);
	/* Unplug is told at once; the session is the proxy's affair */
	mock_unplug(world->bed, &stick, false);
	(void)expect(world, WIRE_DEVICE_GONE);
	id = ask_stop(world, session);
	expect_stopped(world, id, session);
	expect_stopped(world, ask_stop(world, session), session);
	assert_int_equal(count_children(world->agent), 0);
	assert_int_equal(count_fds(world->agent), n_fds);
	stop_agent(world);
}

/* PD02: what proxies do wrong. */
static void test_bad_proxies(void **state)
{
	static const struct {
		const char *mode;
		enum outcome outcome;
	} rows[] = {
		{"crash", OUTCOME_CRASHED},
		{"refuse", OUTCOME_NO_PEER},
		{"nonsense", OUTCOME_CRASHED},
		{"twice", OUTCOME_PEER_LOST},
	};
	struct world *world = *state;
	struct wire_message message;
	struct wire_DEVICE device;
	uint64_t begun;
	size_t n_fds;

	mock_add(world->bed, &stick);
	start_agent(world);
	meet(world);
	n_fds = count_fds(world->agent);
	device = find_seen(world, "1-1")->device;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		set_mode(world, rows[i].mode);
		(void)ask_export(world, i + 1, &device);
		message = expect(world, WIRE_FAILED);
		if (message.FAILED.outcome != rows[i].outcome && message.FAILED.outcome != OUTCOME_CRASHED)
			fail_msg("%s: %s", rows[i].mode, outcome_name(message.FAILED.outcome));
	}
	/* Ends by itself: told once, with its figures */
	set_mode(world, "ends");
	(void)ask_export(world, 10, &device);
	(void)expect(world, WIRE_EXPORTED);
	message = expect(world, WIRE_ENDED);
	assert_int_equal(message.ENDED.outcome, OUTCOME_UNPLUGGED);
	assert_int_equal(message.ENDED.side, WIRE_SIDE_EXPORT);
	assert_int_equal(message.ENDED.bytes_to_target, 11);
	assert_int_equal(message.ENDED.bytes_from_target, 22);
	expect_stopped(world, ask_stop(world, 10), 10);
	/* Killed from outside */
	set_mode(world, "good");
	(void)ask_export(world, 11, &device);
	(void)expect(world, WIRE_EXPORTED);
	assert_int_equal(kill(first_child(world->agent), SIGKILL), 0);
	message = expect(world, WIRE_ENDED);
	assert_int_equal(message.ENDED.outcome, OUTCOME_CRASHED);
	/* Says the same for ever, which is right the first time */
	set_mode(world, "babbles");
	(void)ask_export(world, 14, &device);
	(void)expect(world, WIRE_EXPORTED);
	assert_int_equal(expect(world, WIRE_ENDED).ENDED.outcome, OUTCOME_CRASHED);
	/* Hangs up without exit, or does not hear: killed after TIMEOUT_PROXY_EXIT_USEC */
	set_mode(world, "hangs-up");
	(void)ask_export(world, 12, &device);
	(void)expect(world, WIRE_EXPORTED);
	assert_int_equal(expect(world, WIRE_ENDED).ENDED.outcome, OUTCOME_CRASHED);
	set_mode(world, "deaf");
	(void)ask_export(world, 13, &device);
	(void)expect(world, WIRE_EXPORTED);
	begun = clock_monotonic_usec();
	expect_stopped(world, ask_stop(world, 13), 13);
	assert_in_range(clock_monotonic_usec() - begun, TIMEOUT_PROXY_EXIT_USEC, TIMEOUT_STOP_USEC);
	assert_int_equal(count_children(world->agent), 0);
	assert_int_equal(count_fds(world->agent), n_fds);
	stop_agent(world);
}

static void expect_stream(struct world *world, uint64_t session, uint64_t to_target, bool in_use)
{
	struct wire_message message = expect(world, WIRE_STREAM);

	assert_int_equal(message.STREAM.session, session);
	assert_int_equal(message.STREAM.side, WIRE_SIDE_EXPORT);
	assert_int_equal(message.STREAM.bytes_to_target, to_target);
	assert_int_equal(message.STREAM.bytes_from_target, 200);
	assert_int_equal(message.STREAM.in_use, in_use);
}

/* What proxies say of their streams: told on, to each broker that comes; what cannot be so ends the session. */
static void test_streams(void **state)
{
	static const char *const bad[] = {"streams-back", "streams-babbles"};
	struct world *world = *state;
	struct wire_message message;
	struct wire_DEVICE device;

	mock_add(world->bed, &stick);
	start_agent(world);
	meet(world);
	device = find_seen(world, "1-1")->device;
	set_mode(world, "streams-early");
	(void)ask_export(world, 1, &device);
	assert_int_equal(expect(world, WIRE_FAILED).FAILED.outcome, OUTCOME_CRASHED);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set_mode(world, bad[i]);
		(void)ask_export(world, 2 + i, &device);
		(void)expect(world, WIRE_EXPORTED);
		do
			assert_true(receive(world, &message, WAIT_USEC));
		while (message.type == WIRE_STREAM);
		assert_int_equal(message.type, WIRE_ENDED);
		assert_int_equal(message.ENDED.outcome, OUTCOME_CRASHED);
	}
	set_mode(world, "streams-on");
	(void)ask_export(world, 9, &device);
	(void)expect(world, WIRE_EXPORTED);
	expect_stream(world, 9, 100, true);
	expect_stream(world, 9, 101, false);
	assert_false(receive(world, &message, 1500 * USEC_PER_MSEC)); /* nothing more is moved */
	meet(world);
	expect_stream(world, 9, 101, false);
	expect_stopped(world, ask_stop(world, 9), 9);
	stop_agent(world);
}

/*
 * Several at once: each is told of in its turn, no more in a second than may be. A broker that does not read hears the last
 * word of each when it does: what has no room waits, and is not lost.
 */
static void test_busy_streams(void **state)
{
	static const char *const ports[] = {"1-1", "1-2", "1-3"};
	static const uint64_t turn_usec = USEC_PER_SEC / LIMIT_STREAM_EVENTS_PER_SEC;
	struct mock_device other = stick, third = stick;
	struct world *world = *state;
	struct wire_message message;
	uint64_t first_usec, heard = 0, last = 0;
	unsigned int n_pongs = 0, n_exported = 0;

	other.port = "1-2";
	other.dev = 6;
	third.port = "1-3";
	third.dev = 7;
	mock_add(world->bed, &stick);
	mock_add(world->bed, &other);
	mock_add(world->bed, &third);
	start_agent(world);
	meet(world);
	set_mode(world, "streams"); /* one word, and no other that could bring the first to be told */
	for (uint64_t session = 1; session <= 3; session++)
		(void)ask_export(world, session, &find_seen(world, ports[session - 1])->device);
	while (n_exported < 3 || heard != 0xe) {
		if (!receive(world, &message, WAIT_USEC))
			fail_msg("what was heard of: %" PRIx64, heard);
		n_exported += message.type == WIRE_EXPORTED;
		if (message.type == WIRE_STREAM)
			heard |= 1u << message.STREAM.session;
	}
	for (uint64_t session = 1; session <= 3; session++)
		expect_stopped(world, ask_stop(world, session), session);
	set_mode(world, "streams-on");
	for (uint64_t session = 1; session <= 3; session++) {
		(void)ask_export(world, session, &find_seen(world, ports[session - 1])->device);
		(void)expect(world, WIRE_EXPORTED);
	}
	for (unsigned int i = 0; i < BUSY_PINGS; i++)
		send_message(world,
			     &(struct wire_message){.type = WIRE_PING, .id = ++world->last_id, .PING = {.nonce = i}});
	pause_usec(2 * STREAM_INTERVAL_USEC); /* the proxies' second words came, and there is no room for them */
	while (n_pongs < BUSY_PINGS) {
		assert_true(receive(world, &message, WAIT_USEC));
		assert_true(message.type == WIRE_PONG || message.type == WIRE_STREAM);
		n_pongs += message.type == WIRE_PONG;
		if (message.type == WIRE_STREAM && message.STREAM.bytes_to_target == 101)
			last |= 1u << message.STREAM.session;
	}
	while (last != 0xe) {
		message = expect(world, WIRE_STREAM);
		if (message.STREAM.bytes_to_target == 101)
			last |= 1u << message.STREAM.session;
	}
	meet(world);
	for (first_usec = heard = 0; heard != 0xe;) {
		message = expect(world, WIRE_STREAM);
		first_usec = first_usec ? first_usec : clock_monotonic_usec();
		assert_int_equal(heard & 1u << message.STREAM.session, 0); /* each once */
		heard |= 1u << message.STREAM.session;
	}
	assert_true(clock_monotonic_usec() - first_usec >= 2 * turn_usec - turn_usec / 2);
	stop_agent(world);
}

/* Each request has its answer, whatever overtakes what. */
static void test_overtaking(void **state)
{
	struct world *world = *state;
	struct wire_message message;
	struct wire_DEVICE device;
	uint32_t export_id, stop_id;

	mock_add(world->bed, &stick);
	set_mode(world, "deaf");
	start_agent(world);
	meet(world);
	device = find_seen(world, "1-1")->device;
	/* STOP before the answer of EXPORT */
	export_id = ask_export(world, 1, &device);
	stop_id = ask_stop(world, 1);
	message = expect(world, WIRE_FAILED);
	assert_int_equal(message.id, export_id);
	assert_int_equal(message.FAILED.outcome, OUTCOME_STOPPED);
	expect_stopped(world, stop_id, 1);
	/* Two STOPs of one session: two answers */
	(void)ask_export(world, 2, &device);
	(void)expect(world, WIRE_EXPORTED);
	stop_id = ask_stop(world, 2);
	(void)ask_stop(world, 2);
	expect_stopped(world, stop_id, 2);
	expect_stopped(world, stop_id + 1, 2);
	/* CF13: a number that is still in use */
	(void)ask_export(world, 3, &device);
	(void)expect(world, WIRE_EXPORTED);
	stop_id = ask_stop(world, 3);
	world->last_id = stop_id - 1;
	(void)ask_stop(world, 3);
	expect_cut(world);
	/* Its end comes between HELLO and WELCOME: told after the list */
	join(world);
	take_hello(world);
	assert_int_equal(world->n_sessions, 1);
	pause_usec(1500 * USEC_PER_MSEC);
	send_welcome(world);
	take_list(world);
	message = expect(world, WIRE_ENDED);
	assert_int_equal(message.ENDED.session, 3);
	assert_int_equal(message.ENDED.outcome, OUTCOME_STOPPED);
	stop_agent(world);
}

static void test_no_proxy(void **state)
{
	struct world *world = *state;

	mock_add(world->bed, &stick);
	start_agent_with(world, "/nonexistent");
	meet(world);
	(void)ask_export(world, 1, &find_seen(world, "1-1")->device);
	expect_failed(world, "no program", 1, OUTCOME_SPAWN_FAILED);
	stop_agent(world);
}

/* Its files are there before the module is whole, and reading them then is a fault of that kernel. */
static void test_module_being_loaded(void **state)
{
	struct world *world = *state;
	char text[64];

	add_vhci(world, VHCI_HEAD "hs  0000 006 003 00010005 000004 3-1\n");
	clear_vhci_file(world, "detach");
	set_initstate(world, "coming\n");
	start_agent(world);
	meet(world);
	assert_int_equal(world->hello.roles, WIRE_ROLE_EXPORT);
	(void)ask_import(world, 1);
	expect_failed(world, "being loaded", 1, OUTCOME_NO_DRIVER);
	read_vhci_file("detach", text);
	assert_string_equal(text, ""); /* that a port is in use was not read */
	set_vhci(world, vhci_idle);
	set_initstate(world, "live\n");
	meet(world);
	assert_int_equal(world->hello.roles, WIRE_ROLE_EXPORT | WIRE_ROLE_IMPORT);
	stop_agent(world);
}

static void test_import(void **state)
{
	const struct mock_device imported = {
		.bus_path = "platform/vhci_hcd.0/usb3",
		.port = "3-1",
		.bus = 3,
		.dev = 2,
		.speed = "480",
	};
	struct world *world = *state;
	struct wire_message message;
	char text[64], line[8192];
	unsigned int port, fd, devid, speed;
	uint32_t id;
	size_t n_fds;

	/* What a killed agent left attached is detached at the start. */
	add_vhci(world, VHCI_HEAD VHCI_FREE("hs", "0000") "hs  0001 006 003 00010005 000004 3-2\n");
	set_mode(world, "good");
	start_agent(world);
	wait_vhci_file("detach", text);
	assert_string_equal(text, "1");
	clear_vhci_file(world, "detach");
	set_vhci(world, vhci_idle);
	clear_vhci_file(world, "attach");
	meet(world);
	assert_int_equal(world->hello.roles, WIRE_ROLE_EXPORT | WIRE_ROLE_IMPORT);
	n_fds = count_fds(world->agent);
	id = ask_import(world, 0x1f);
	wait_vhci_file("attach", text);
	assert_int_equal(sscanf(text, "%u %u %u %u", &port, &fd, &devid, &speed), 4);
	assert_true(port < 2 && devid == 0x10005 && speed == WIRE_SPEED_HIGH);
	read_seen(world, "fds", line);
	assert_string_equal(line, "0 1 2 3 4");
	read_seen(world, "import", line);
	assert_non_null(strstr(line, "--service qdb/1f --user qdb-proxy --digest 0000"));
	/* Not before the kernel has enumerated it */
	set_vhci(world, VHCI_HEAD "hs  0000 005 003 00010005 000004 0-0\n" VHCI_FREE("hs", "0001"));
	assert_false(receive(world, &message, QUIET_USEC));
	set_vhci(world, VHCI_HEAD "hs  0000 006 003 00010005 000004 3-1\n" VHCI_FREE("hs", "0001"));
	message = expect(world, WIRE_IMPORTED);
	assert_int_equal(message.id, id);
	/* The kernel's port may look free when the peer has closed: it is still this session's */
	set_vhci(world, VHCI_HEAD VHCI_FREE("hs", "0000"));
	(void)ask_import(world, 0x20);
	expect_failed(world, "HP09 the only port belongs to a session", 0x20, OUTCOME_NO_PORT);
	set_vhci(world, VHCI_HEAD "hs  0000 006 003 00010005 000004 3-1\n");
	/* STOP: detached, and STOPPED only when it is free and its device is gone */
	mock_add(world->bed, &imported);
	id = ask_stop(world, 0x1f);
	wait_vhci_file("detach", text);
	assert_string_equal(text, "0");
	assert_false(receive(world, &message, QUIET_USEC));
	set_vhci(world, vhci_idle);
	assert_false(receive(world, &message, QUIET_USEC));
	mock_unplug(world->bed, &imported, true);
	expect_stopped(world, id, 0x1f);
	/* The kernel drops it while it is being enumerated */
	clear_vhci_file(world, "attach");
	(void)ask_import(world, 0x21);
	wait_vhci_file("attach", text);
	expect_failed(world, "port lost", 0x21, OUTCOME_PEER_LOST);
	set_mode(world, "crash");
	(void)ask_import(world, 0x22);
	expect_failed(world, "importer died", 0x22, OUTCOME_CRASHED);
	assert_int_equal(count_children(world->agent), 0);
	assert_int_equal(count_fds(world->agent), n_fds);
	stop_agent(world);
}

/* Of a session: first its import fails, then its STOP is answered; each once. */
static void note_end(struct world *world, unsigned int ends[LIMIT_SESSIONS + 1])
{
	struct wire_message message;
	uint64_t session;

	assert_true(receive(world, &message, WAIT_USEC));
	session = message.type == WIRE_FAILED ? message.FAILED.session : message.STOPPED.session;
	assert_in_range(session, 1, LIMIT_SESSIONS);
	if (message.type == WIRE_FAILED) {
		assert_int_equal(ends[session]++, 0);
		if (message.FAILED.outcome != OUTCOME_TIMED_OUT) /* on a busy machine it may be the first to come */
			assert_int_equal(message.FAILED.outcome, OUTCOME_STOPPED);
		return;
	}
	assert_int_equal(message.type, WIRE_STOPPED);
	assert_int_equal(ends[session]++, 1);
	assert_int_equal(message.id, session + LIMIT_SESSIONS + 1);
}

/* RX10, TO04: all sessions that there can be, one more, and all of them stopped at once, deaf. */
static void test_full(void **state)
{
	unsigned int ends[LIMIT_SESSIONS + 1] = {0};
	struct world *world = *state;

	add_vhci(world, vhci_idle);
	set_mode(world, "silent");
	start_agent(world);
	meet(world);
	for (uint64_t session = 1; session <= LIMIT_SESSIONS; session++)
		(void)ask_import(world, session);
	(void)ask_import(world, LIMIT_SESSIONS + 1);
	expect_failed(world, "one too many", LIMIT_SESSIONS + 1, OUTCOME_BUSY);
	expect_children(world, LIMIT_SESSIONS);
	for (uint64_t session = 1; session <= LIMIT_SESSIONS; session++)
		(void)ask_stop(world, session);
	for (unsigned int i = 0; i < 2 * LIMIT_SESSIONS; i++)
		note_end(world, ends);
	assert_int_equal(count_children(world->agent), 0);
	stop_agent(world);
}

/* PD01: kill -9 and a new agent; then an orderly end with a deaf proxy: 3 s, and the broker hears the end. */
static void test_death(void **state)
{
	struct world *world = *state;
	char path[128], old_socket[128];
	uint64_t incarnation;
	struct wire_message message;
	uint32_t number;
	pid_t proxy;

	mock_add(world->bed, &stick);
	set_mode(world, "good");
	start_agent(world);
	meet(world);
	incarnation = world->hello.incarnation;
	(void)ask_export(world, 1, &find_seen(world, "1-1")->device);
	(void)expect(world, WIRE_EXPORTED);
	proxy = first_child(world->agent);
	(void)snprintf(old_socket, sizeof(old_socket), "%s/" OWN_TEXT "-device-agent-%" PRIu32 ".ring", world->dir,
		       world->number);
	kill_agent(world);
	expect_cut(world);
	assert_true(proxy > 0);
	for (unsigned int i = 0; i < 2000 && kill(proxy, 0) == 0; i++)
		pause_usec(10000); /* the proxy sees the end of its report socket */
	assert_int_equal(kill(proxy, 0), -1);
	start_agent(world);
	meet(world);
	assert_int_not_equal(world->hello.incarnation, incarnation);
	assert_int_equal(world->n_sessions, 0);
	assert_int_equal(access(old_socket, F_OK), -1);
	assert_non_null(find_seen(world, "1-1"));

	set_mode(world, "deaf");
	(void)ask_export(world, 2, &find_seen(world, "1-1")->device);
	(void)expect(world, WIRE_EXPORTED);
	stop_agent_within(world, 3 * USEC_PER_SEC);
	message = expect(world, WIRE_ENDED);
	assert_int_equal(message.ENDED.outcome, OUTCOME_STOPPED);
	assert_false(receive(world, &message, QUIET_USEC));
	assert_int_equal(channel_state(world->channel), CHANNEL_ENDED);
	path_in(world, OWN_TEXT "-device-agent.port", path);
	assert_int_equal(access(path, F_OK), -1);
	assert_false(read_number(world, &number));
}

/* SI01: signals that mean nothing. */
static void test_signals(void **state)
{
	struct world *world = *state;

	start_agent(world);
	meet(world);
	for (unsigned int i = 0; i < 1000; i++) {
		assert_int_equal(kill(world->agent, SIGHUP), 0);
		assert_int_equal(kill(world->agent, SIGUSR1), 0);
		assert_int_equal(kill(world->agent, SIGPIPE), 0);
		assert_int_equal(kill(world->agent, SIGCHLD), 0);
	}
	send_message(world, &(struct wire_message){.type = WIRE_PING, .id = 1, .PING = {5}});
	assert_int_equal(expect(world, WIRE_PONG).PONG.nonce, 5);
	stop_agent(world);
}

int main(_unused_ int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_list),
		TEST(test_many),
		TEST(test_hotplug),
		TEST(test_storm),
		TEST(test_wrong_frames),
		TEST(test_ping),
		TEST(test_no_reader),
		TEST(test_refusals),
		TEST(test_export),
		TEST(test_bad_proxies),
		TEST(test_streams),
		TEST(test_busy_streams),
		TEST(test_module_being_loaded),
		TEST(test_overtaking),
		TEST(test_no_proxy),
		TEST(test_import),
		TEST(test_full),
		TEST(test_death),
		TEST(test_signals),
	};

	mock_begin(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
