/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cameras, as test-agent.c has USB devices: the real device-agent, asking the real camera-proxy what they are, whose kernel is played
 * (paper-camera.c). v4l2loopback's control device is played here. Sessions are those of a proxy that does as it is told; what pictures
 * do is for test-camera.py, and what the kernel does for the rig.
 *
 * BIN names the folder of the programs.
 */
#include "tests/integration/agent-world.h"
#include "tests/mock-video.h"

#include <linux/videodev2.h>

#define LOOPBACK_ADD 0x4C80ul
#define LOOPBACK_REMOVE 0x4C81ul
#define LOOPBACK_FIRST 192

static const struct mock_video camera = {
	.folder = PCI "/1-1/1-1:1.0", .name = "video0", .properties = "E: ID_PATH=pci-0:1:1.0\n"};
static const struct mock_video metadata = {
	.folder = PCI "/1-1/1-1:1.0", .name = "video1", .properties = "E: ID_PATH=pci-0:1:1.0\n"};

/* struct paper of paper-camera.c, with one mode. */
static void write_paper(const struct world *world, const char *name, uint32_t width, uint32_t height)
{
	const uint32_t head[4 + 64 * 5] = {
		1, width * height * 2, 4096, width * height * 2, V4L2_PIX_FMT_YUYV, width, height, 1, 30};
	char path[128];
	FILE *file;

	path_in(world, name, path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(head, sizeof(head), 1, file), 1);
	assert_int_equal(fclose(file), 0);
}

/* The stick's port with a camera of two nodes. False: this user can make no nodes. */
static bool plug_in_camera(struct world *world)
{
	char path[MOCK_PATH_SIZE];

	(void)setenv("PAPER", world->dir, 1);
	(void)setenv("BIN", "build/gcc/bin", 0);
	write_paper(world, "video0", 640, 480);
	mock_add(world->bed, &stick);
	mock_path(&stick, path);
	umockdev_testbed_set_attribute(world->bed, path, "idVendor", "046d\n");
	umockdev_testbed_set_attribute(world->bed, path, "idProduct", "082d\n");
	mock_video_add(world->bed, &camera);
	mock_video_add(world->bed, &metadata);
	return mock_node(world->bed, camera.name) && mock_node(world->bed, metadata.name);
}

static const struct seen *find_camera(const struct world *world)
{
	for (size_t i = 0; i < world->n_seen; i++)
		if (world->seen[i].device.class == WIRE_CLASS_WEBCAM)
			return &world->seen[i];
	return NULL;
}

static void meet_camera(struct world *world)
{
	uint64_t deadline = clock_monotonic_usec() + WAIT_USEC;

	meet(world);
	while (find_camera(world) == NULL && clock_monotonic_usec() < deadline)
		(void)take_in(world, QUIET_USEC);
	(void)settle(world);
	assert_non_null(find_camera(world));
}

static void test_listed(void **state)
{
	struct world *world = *state;
	struct wire_message message;
	struct wire_DEVICE first;
	const struct seen *seen;

	if (!plug_in_camera(world))
		skip();
	start_agent(world);
	meet_camera(world);
	assert_int_equal(world->n_seen, 2); /* the USB device itself, and one camera of its two nodes */
	assert_non_null(find_seen(world, "1-1"));
	seen = find_camera(world);
	first = seen->device;
	assert_true(wire_is_port(WIRE_CLASS_WEBCAM, first.port));
	assert_int_equal(first.vendor, 0x46d);
	assert_int_equal(first.product, 0x82d);
	assert_int_equal(first.speed, WIRE_SPEED_NONE);
	assert_int_equal(first.n_interfaces, 1);
	assert_memory_equal(first.interfaces, ((uint8_t[]){0x0e, 0x01, 0x00}), 3);
	assert_string_equal(seen->product, "Paper camera");
	assert_string_equal(seen->serial, "S1");
	assert_string_equal(seen->parent, "1-1");
	/* Looked at once more, it says the same: it is the same */
	mock_video_event(world->bed, &camera, "change");
	assert_false(receive(world, &message, USEC_PER_SEC));
	/* It has lost its mode for another: it is another */
	write_paper(world, "video0", 320, 240);
	mock_video_event(world->bed, &camera, "change");
	message = expect_noted(world, WIRE_DEVICE_GONE);
	assert_int_equal(message.DEVICE_GONE.generation, first.generation);
	(void)settle(world);
	seen = find_camera(world);
	assert_non_null(seen);
	assert_string_equal(seen->device.port, first.port);
	assert_int_not_equal(memcmp(seen->device.digest, first.digest, sizeof(first.digest)), 0);
	mock_video_remove(world->bed, &camera);
	(void)expect_noted(world, WIRE_DEVICE_GONE);
	(void)settle(world);
	assert_null(find_camera(world));
	assert_int_equal(world->n_seen, 1);
	assert_int_equal(count_children(world->agent), 0);
	stop_agent(world);
}

/* What nobody can tell of is left out, and counted. */
static void test_left_out(void **state)
{
	struct world *world = *state;

	if (!plug_in_camera(world))
		skip();
	start_agent_with(world, "/nonexistent");
	meet(world);
	(void)settle(world);
	send_message(world, &(struct wire_message){.type = WIRE_RESCAN, .RESCAN = {.serial = 1}});
	(void)settle(world);
	assert_int_equal(world->n_seen, 1);
	assert_int_equal(world->n_left_out, 2);
	stop_agent(world);
}

static void test_export(void **state)
{
	static const uint8_t asked[CONTROL_COUNT] = {51, 0, 0, 101, 3};
	struct world *world = *state;
	struct wire_message message;
	struct wire_DEVICE device;
	char line[8192], want[512];
	size_t n_fds;

	if (!plug_in_camera(world))
		skip();
	set_mode(world, "good");
	start_agent(world);
	meet_camera(world);
	n_fds = count_fds(world->agent);
	device = find_camera(world)->device;
	(void)ask_export(world, 0x1f, &device);
	(void)expect(world, WIRE_EXPORTED);
	(void)snprintf(
		want, sizeof(want),
		"--channel socket:%s --own " OWN_TEXT
		" --peer 7 --service qdb/1f --user qdb-proxy --vendor 1133 --product 2093 --serial S1 --controls none",
		world->dir);
	read_seen(world, "export", line);
	assert_string_equal(line, want);
	read_seen(world, "fds", line);
	assert_string_equal(line, "0 1 2 3 4 5");
	read_seen(world, "data", line);
	assert_non_null(strstr(line, "/dev/video0"));
	read_seen(world, "snapshot", line);
	assert_int_equal(strlen(line), 2 * 656);
	assert_memory_equal(line, "51444256", 8); /* CAMERA_MAGIC */
	/* One exporter per camera; but its USB device is another */
	(void)ask_export(world, 2, &device);
	expect_failed(world, "the camera twice", 2, OUTCOME_BUSY);
	(void)ask_export(world, 3, &find_seen(world, "1-1")->device);
	(void)expect(world, WIRE_EXPORTED);
	for (uint8_t muted = 1; muted < 2; muted--) {
		send_message(world,
			     &(struct wire_message){.type = WIRE_MUTE, .id = ++world->last_id, .MUTE = {0x1f, muted}});
		message = expect(world, WIRE_MUTED);
		assert_int_equal(message.MUTED.muted, muted);
	}
	expect_stopped(world, ask_stop(world, 0x1f), 0x1f);
	expect_stopped(world, ask_stop(world, 3), 3);
	/* What is asked of its controls goes with it; nothing is asked of what has none */
	(void)ask_export_with(world, 0x21, &device, asked);
	(void)expect(world, WIRE_EXPORTED);
	read_seen(world, "export", line);
	assert_non_null(strstr(line, " --serial S1 --controls brightness=50,sharpness=100,power-line=60"));
	expect_stopped(world, ask_stop(world, 0x21), 0x21);
	(void)ask_export_with(world, 0x22, &find_seen(world, "1-1")->device, asked);
	expect_failed(world, "controls of no camera", 0x22, OUTCOME_UNSUPPORTED);
	/* It is not what it was, and nobody has said so yet */
	char path[MOCK_PATH_SIZE];

	mock_video_path(&camera, path);
	umockdev_testbed_set_attribute(world->bed, path, "dev", "81:0\n");
	(void)ask_export(world, 4, &device);
	expect_failed(world, "another device's node", 4, OUTCOME_CHANGED);
	device.digest[0] ^= 1;
	(void)ask_export(world, 5, &device);
	expect_failed(world, "other digest", 5, OUTCOME_CHANGED);
	assert_int_equal(count_fds(world->agent), n_fds);
	stop_agent(world);
}

/* v4l2loopback, played: what it was told, and how it answers. It runs in a thread of the test bed's. */
static struct {
	struct world *world;
	bool there[256], open[256];
	char label[256][33];
	unsigned int n_added;
} loopback;

static struct mock_video loopback_video(unsigned long number, char name[16])
{
	(void)snprintf(name, 16, "video%lu", number);
	return (struct mock_video){.folder = "virtual", .name = name};
}

static long play_add(UMockdevIoctlClient *client)
{
	UMockdevIoctlData *arg = umockdev_ioctl_client_get_arg(client);
	UMockdevIoctlData *config = umockdev_ioctl_data_resolve(arg, 0, 72, NULL);
	gint len = 0;
	guint8 *bytes;
	char name[16];
	int32_t number;

	umockdev_ioctl_data_retrieve(config, &bytes, &len);
	memcpy(&number, bytes, sizeof(number));
	(void)snprintf(loopback.label[number & 255], 33, "%.32s", (const char *)bytes + 8);
	g_free(bytes);
	umockdev_ioctl_data_unref(config);
	if (loopback.there[number & 255])
		return -EEXIST;
	struct mock_video video = loopback_video((unsigned long)number, name);

	loopback.there[number & 255] = true;
	loopback.n_added++;
	mock_video_add(loopback.world->bed, &video);
	(void)mock_node(loopback.world->bed, name);
	return number;
}

static long play_remove(UMockdevIoctlClient *client)
{
	UMockdevIoctlData *arg = umockdev_ioctl_client_get_arg(client);
	unsigned long number = 0;
	gint len = 0;
	guint8 *bytes;
	char name[16], path[512];

	umockdev_ioctl_data_retrieve(arg, &bytes, &len);
	memcpy(&number, bytes, sizeof(number));
	g_free(bytes);
	if (number > 255 || !loopback.there[number])
		return -ENODEV;
	if (loopback.open[number])
		return -EBUSY;
	struct mock_video video = loopback_video(number, name);

	loopback.there[number] = false;
	mock_node_path(loopback.world->bed, name, path);
	if (unlink(path) == 0)
		mock_video_remove(loopback.world->bed, &video);
	return 0;
}

static gboolean on_ioctl(_unused_ UMockdevIoctlBase *base, UMockdevIoctlClient *client, _unused_ gpointer userdata)
{
	gulong request = umockdev_ioctl_client_get_request(client);
	long r = -ENOTTY;

	if (request == LOOPBACK_ADD)
		r = play_add(client);
	if (request == LOOPBACK_REMOVE)
		r = play_remove(client);
	umockdev_ioctl_client_complete(client, r < 0 ? -1 : r, r < 0 ? (int)-r : 0);
	return TRUE;
}

static UMockdevIoctlBase *add_loopback(struct world *world)
{
	UMockdevIoctlBase *base = umockdev_ioctl_base_new();
	GError *error = NULL;

	memset(&loopback, 0, sizeof(loopback));
	loopback.world = world;
	set_module_file(world, "v4l2loopback/version", "0.13.2\n");
	set_module_file(world, "v4l2loopback/initstate", "live\n");
	assert_true(umockdev_testbed_add_from_string(world->bed,
						     "P: /devices/virtual/misc/v4l2loopback\nN: v4l2loopback=00\n"
						     "E: SUBSYSTEM=misc\nE: DEVNAME=/dev/v4l2loopback\n\n",
						     &error));
	(void)g_signal_connect(base, "handle-ioctl", G_CALLBACK(on_ioctl), NULL);
	assert_true(umockdev_testbed_attach_ioctl(world->bed, "/dev/v4l2loopback", base, &error));
	return base;
}

static uint32_t ask_import_camera(struct world *world, uint64_t session)
{
	struct wire_message message = {
		.type = WIRE_IMPORT,
		.id = ++world->last_id,
		.IMPORT = {.session = session,
			   .source = TARGET,
			   .class = WIRE_CLASS_WEBCAM,
			   .width = 1280,
			   .height = 720,
			   .fps = 25,
			   .label = "sys-usb: Paper camera"},
	};

	send_message(world, &message);
	return message.id;
}

/* Without the module, or with one that is too old: not offered as a role, and refused. It may be loaded later. */
static void test_module(void **state)
{
	static const struct {
		const char *version;
		bool fit;
	} rows[] = {{NULL, false}, {"0.12.7\n", false}, {"nonsense\n", false}, {"0.13.0\n", true}};
	struct world *world = *state;

	start_agent(world);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		set_module_file(world, "v4l2loopback/version", rows[i].version);
		meet(world);
		if (((world->hello.roles & WIRE_ROLE_IMPORT_WEBCAM) != 0) != rows[i].fit)
			fail_msg("row %zu: roles %#x", i, world->hello.roles);
		(void)ask_import_camera(world, i + 1);
		expect_failed(world, "no camera here", i + 1, OUTCOME_NO_CAMERA); /* the last has no control device */
	}
	stop_agent(world);
}

static void test_import(void **state)
{
	struct world *world = *state;
	UMockdevIoctlBase *base;
	struct wire_message message;
	char line[8192];
	uint32_t id;
	size_t n_fds;

	if (!mock_node(world->bed, "probe"))
		skip();
	base = add_loopback(world);
	loopback.there[LOOPBACK_FIRST] = loopback.there[LOOPBACK_FIRST + 1] = loopback.there[3] = true;
	loopback.open[LOOPBACK_FIRST + 1] = true;
	set_mode(world, "good");
	start_agent(world);
	meet(world);
	assert_int_equal(world->hello.roles, WIRE_ROLE_EXPORT | WIRE_ROLE_IMPORT_WEBCAM);
	/* What an earlier agent had left is gone, but for what a program has open; and what is not ours is there */
	assert_false(loopback.there[LOOPBACK_FIRST]);
	assert_true(loopback.there[LOOPBACK_FIRST + 1] && loopback.there[3]);
	n_fds = count_fds(world->agent);
	id = ask_import_camera(world, 0x1f);
	message = expect(world, WIRE_IMPORTED);
	assert_int_equal(message.id, id);
	assert_true(loopback.there[LOOPBACK_FIRST]);
	assert_string_equal(loopback.label[LOOPBACK_FIRST], "sys-usb: Paper camera");
	read_seen(world, "import", line);
	assert_non_null(
		strstr(line, "--service qdb/1f --user qdb-proxy --width 1280 --height 720 --fps 25 --digest 0000"));
	read_seen(world, "fds", line);
	assert_string_equal(line, "0 1 2 3 4");
	read_seen(world, "data", line);
	assert_non_null(strstr(line, "/dev/video192"));
	id = ask_import_camera(world, 0x20);
	(void)expect(world, WIRE_IMPORTED);
	assert_true(loopback.there[LOOPBACK_FIRST + 2]);
	/* STOP does not wait for a program that has it open */
	loopback.open[LOOPBACK_FIRST] = true;
	expect_stopped(world, ask_stop(world, 0x1f), 0x1f);
	assert_true(loopback.there[LOOPBACK_FIRST]);
	expect_stopped(world, ask_stop(world, 0x20), 0x20);
	assert_false(loopback.there[LOOPBACK_FIRST + 2]);
	loopback.open[LOOPBACK_FIRST] = loopback.open[LOOPBACK_FIRST + 1] = false;
	for (unsigned int i = 0; i < 300 && (loopback.there[LOOPBACK_FIRST] || loopback.there[LOOPBACK_FIRST + 1]); i++)
		pause_usec(10000);
	assert_false(loopback.there[LOOPBACK_FIRST] || loopback.there[LOOPBACK_FIRST + 1]);
	/* An importer that dies leaves none either, nor one that cannot begin */
	set_mode(world, "crash");
	(void)ask_import_camera(world, 0x21);
	expect_failed(world, "importer died", 0x21, OUTCOME_CRASHED);
	assert_false(loopback.there[LOOPBACK_FIRST]);
	assert_int_equal(loopback.n_added, 3);
	assert_true(loopback.there[3]);
	assert_int_equal(count_children(world->agent), 0);
	assert_int_equal(count_fds(world->agent), n_fds);
	/* Killed: the next one removes what this one had */
	set_mode(world, "good");
	(void)ask_import_camera(world, 0x22);
	(void)expect(world, WIRE_IMPORTED);
	kill_agent(world);
	assert_true(loopback.there[LOOPBACK_FIRST]);
	start_agent(world);
	meet(world);
	assert_false(loopback.there[LOOPBACK_FIRST]);
	stop_agent(world);
	umockdev_testbed_detach_ioctl(world->bed, "/dev/v4l2loopback", NULL);
	g_object_unref(base);
}

/* dom0 gives no camera away and takes none, whatever it has. */
static void test_dom0(void **state)
{
	struct world *world = *state;

	if (!plug_in_camera(world))
		skip();
	set_module_file(world, "v4l2loopback/version", "0.13.2\n");
	world->own = DOM0;
	start_agent(world);
	meet(world);
	(void)settle(world);
	assert_int_equal(world->hello.roles, 0);
	assert_int_equal(world->n_seen, 0);
	assert_int_equal(world->n_left_out, 0);
	(void)ask_import_camera(world, 1);
	expect_failed(world, "a camera for dom0", 1, OUTCOME_UNSUPPORTED);
	stop_agent(world);
}

int main(_unused_ int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_listed), TEST(test_left_out), TEST(test_export),
		TEST(test_module), TEST(test_import),   TEST(test_dom0),
	};

	mock_begin(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
