/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes of video devices, and who tells what they are, saying what it likes: a script here, which does what stands in a file of the
 * node's name. The real camera-proxy is asked in tests/integration/test-agent.c, real drivers in the rig.
 */
#include "tests/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/umockdev.h"
#include "tests/mock-video.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/digest/digest.h"
#include "lib/proxy/camera.h"
#include "proxies/agent/video.h"

#define PATIENCE_USEC (20 * USEC_PER_SEC)
#define GOOD "cat $here/word >&3"

static const char script[] = "#!/bin/sh\n"
			     "here=${0%/*} node=$(readlink /proc/$$/fd/4) node=${node##*/}\n"
			     "echo \"$node $*\" >>$here/asked\n"
			     ". $here/$node\n";

struct fixture {
	UMockdevTestbed *bed;
	char path[64];
	sd_event *event;
	struct launch_settings launch;
	struct video *video;
	unsigned int n_changes;
	size_t most_children;
};

static void write_file(const struct fixture *f, const char *name, const void *bytes, size_t len)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
	(void)unlink(path);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0755), 0);
}

/* What the next one says who is asked what `node` is. */
static void behave(const struct fixture *f, const char *node, const char *commands)
{
	write_file(f, node, commands, strlen(commands));
}

static void set_word(const struct fixture *f, const char *file, const char *name, uint8_t mark)
{
	struct proxy_camera word = {.hello = {mark}};

	(void)snprintf(word.name, sizeof(word.name), "%s", name);
	write_file(f, file, &word, sizeof(word));
}

static size_t count_asked(const struct fixture *f, const char *node)
{
	char path[128], line[512];
	size_t n = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/asked", f->path);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		n += strncmp(line, node, strlen(node)) == 0 && strchr(" \n", line[strlen(node)]) != NULL;
	if (file != NULL)
		(void)fclose(file);
	return n;
}

static void on_changed(void *userdata)
{
	((struct fixture *)userdata)->n_changes++;
}

static int set_up(void **state)
{
	static struct fixture fixture;
	struct fixture *f = &fixture;

	*f = (struct fixture){.bed = umockdev_testbed_new()};
	if (!mock_node(f->bed, "probe"))
		*state = NULL; /* only root can make nodes */
	else
		*state = f;
	scratch_make_in("/tmp", "video", f->path, sizeof(f->path)); /* umockdev takes all of /dev for its own */
	write_file(f, "camera-proxy", script, strlen(script));
	set_word(f, "word", "Paper camera", 1);
	assert_true(sd_event_default(&f->event) >= 0);
	f->launch = (struct launch_settings){
		.proxy_dir = f->path, .user = "nobody", .channel = "socket:/nonexistent", .own = 1};
	assert_int_equal(video_new(
				 &(struct video_settings){
					 .event = f->event, .launch = &f->launch, .changed = on_changed, .userdata = f},
				 &f->video),
			 0);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f == NULL)
		return 0;
	f->video = video_free(f->video);
	sd_event_unref(f->event);
	g_object_unref(f->bed);
	scratch_remove(f->path);
	return 0;
}

static bool has_children(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* The kernel may leave some out of its list (proc(5)). */
static size_t count_children(void)
{
	char path[64], text[4096];
	size_t n = 0;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", getpid(), getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, text, sizeof(text));

	(void)close(fd);
	for (ssize_t i = 0; i < len; i++)
		n += text[i] == ' ';
	return n;
}

#define FDS_SLACK 8u /* the test bed has threads that open some of their own */

static size_t count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n;
}

/* Turns of the loop until nobody is asked any more. */
static void settle(struct fixture *f)
{
	uint64_t deadline = clock_monotonic_usec() + PATIENCE_USEC;

	while (has_children() && clock_monotonic_usec() < deadline) {
		size_t n = count_children();

		if (n > f->most_children)
			f->most_children = n;
		assert_true(sd_event_run(f->event, 10 * USEC_PER_MSEC) >= 0);
	}
	assert_false(has_children());
}

/* A node in sysfs and in /dev, and what udev would say of it. `port`: of its USB device; NULL: it is of none. */
static struct udev_sight plug_in(struct fixture *f, const char *port, uint8_t number)
{
	struct udev_sight sight = {.kind = UDEV_VIDEO, .ours = true, .video = {.number = number}};
	char folder[128];

	if (port != NULL)
		(void)snprintf(folder, sizeof(folder), "pci0000:00/usb1/%s/%s:1.0", port, port);
	else
		(void)strcpy(folder, "platform/vivid.0");
	(void)snprintf(sight.port, sizeof(sight.port), "video%u", number);
	(void)snprintf(sight.syspath, sizeof(sight.syspath), "/sys/devices/%s/video4linux/%s", folder, sight.port);
	(void)snprintf(sight.video.place, sizeof(sight.video.place), "%s:%u", folder, number);
	mock_video_add(f->bed, &(struct mock_video){.folder = folder, .name = sight.port});
	assert_true(mock_node(f->bed, sight.port));
	return sight;
}

static bool find(const struct fixture *f, const char *name, struct video_camera *ret_camera)
{
	size_t cursor = 0;

	while (video_next(f->video, &cursor, ret_camera))
		if (strcmp(ret_camera->name, name) == 0)
			return true;
	return false;
}

static bool is_offered(const struct fixture *f, const char *name)
{
	struct video_camera camera;

	return find(f, name, &camera) && camera.reason == NULL;
}

static uint16_t number_of(const struct fixture *f, const char *name)
{
	struct video_camera camera;

	assert_true(find(f, name, &camera) && camera.reason == NULL);
	return camera.identity.dev;
}

#define NEED_NODES(f)           \
	do {                    \
		if (f == NULL)  \
			skip(); \
	} while (0)

/* What is told of a camera, and what its exporter gets. */
static void test_identity(void **state)
{
	struct fixture *f = *state;
	struct udev_sight sight;
	struct video_camera camera;
	uint8_t digest[DIGEST_SIZE];
	char path[128], line[512];
	const uint8_t *hello;
	struct stat st;
	FILE *file;
	int fd = -1;

	NEED_NODES(f);
	sight = plug_in(f, "1-2.4", 3);
	sight.video.vendor = 0x46d;
	sight.video.product = 0x82d;
	(void)strcpy(sight.video.serial, "--user root");
	behave(f, "video3", GOOD);
	video_see(f->video, &sight);
	settle(f);
	assert_true(find(f, "video3", &camera));
	assert_null(camera.reason);
	assert_int_equal(camera.identity.class_id, WIRE_CLASS_WEBCAM);
	assert_true(wire_is_port(WIRE_CLASS_WEBCAM, camera.identity.port));
	assert_string_equal(camera.identity.parent, "1-2.4");
	assert_string_equal(camera.identity.serial, "--user root");
	assert_string_equal(camera.identity.product_name, "Paper camera");
	assert_int_equal(camera.identity.bus, 0);
	assert_int_not_equal(camera.identity.dev, 0);
	assert_int_equal(camera.identity.n_interfaces, 1);
	assert_memory_equal(camera.identity.interfaces[0], ((uint8_t[]){0x0e, 0x01, 0x00}), 3);
	digest_sha256(camera.hello, PROXY_CAMERA_HELLO, digest);
	assert_memory_equal(camera.identity.digest, digest, sizeof(digest));
	(void)snprintf(path, sizeof(path), "%s/asked", f->path);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	(void)fclose(file);
	assert_string_equal(line, "video3 describe --user nobody --vendor 1133 --product 2093 --serial --user root\n");
	assert_int_equal(video_open(f->video, &camera.identity, &hello, &fd), OUTCOME_OK);
	assert_memory_equal(hello, camera.hello, PROXY_CAMERA_HELLO);
	assert_true(fstat(fd, &st) == 0 && S_ISCHR(st.st_mode));
	assert_true((fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == (O_NONBLOCK | O_RDWR));
	(void)close(fd);
}

/* Each at a USB device of its own; all at once. */
static void test_answers(void **state)
{
	static const struct {
		const char *what, *commands;
		bool offered, left_out;
	} rows[] = {
		{"a camera", GOOD, true, false},
		{"no camera", "exit 0", false, false},
		{"dies", "kill -9 $$", false, true},
		{"fails", "exit 1", false, true},
		{"dies after its word", GOOD "; kill -9 $$", false, true},
		{"fails after its word", GOOD "; exit 3", false, true},
		{"says nonsense", "echo hello >&3", false, true},
		{"says it twice", GOOD "; " GOOD, false, true},
		{"says more", GOOD "; echo x >&3", false, true},
		{"one byte more", "(cat $here/word; echo) | dd bs=4096 iflag=fullblock 2>/dev/null >&3", false, true},
		{"has no name", "cat $here/nameless >&3", false, true},
		{"has an escape in its name", "cat $here/escape >&3", false, true},
		{"leaves somebody behind", GOOD "; (exec sleep 0.2) &", false, true},
		{"hangs", "exec sleep 60", false, true},
		{"hangs after its word", GOOD "; exec sleep 60", false, true},
		{"does not hear", "trap '' TERM HUP INT; exec sleep 60", false, true},
		{"talks for ever", "exec yes >&3", false, true},
	};
	struct udev_sight sights[ARRAY_SIZE(rows)];
	struct fixture *f = *state;
	char port[16], name[16];
	size_t n_fds;

	NEED_NODES(f);
	set_word(f, "nameless", "", 1);
	set_word(f, "escape", "Cam\x1b[2J", 1);
	for (uint8_t i = 0; i < ARRAY_SIZE(rows); i++) {
		(void)snprintf(port, sizeof(port), "1-%u", i + 1);
		(void)snprintf(name, sizeof(name), "video%u", i);
		behave(f, name, rows[i].commands);
		sights[i] = plug_in(f, port, i);
	}
	sights[0].event = true;
	video_see(f->video, &sights[0]); /* the loop has what it needs from now on */
	settle(f);
	n_fds = count_fds();
	sights[0].event = false;
	for (uint8_t i = 0; i < ARRAY_SIZE(rows); i++)
		video_see(f->video, &sights[i]);
	settle(f);
	for (uint8_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct video_camera camera = {.reason = NULL};
		bool found;

		(void)snprintf(name, sizeof(name), "video%u", i);
		found = find(f, name, &camera);
		if ((found && camera.reason == NULL) != rows[i].offered ||
		    (found && camera.reason != NULL) != rows[i].left_out)
			fail_msg("%s: %s", rows[i].what,
				 !found          ? "nothing"
				 : camera.reason ? camera.reason
						 : "offered");
		if (count_asked(f, name) != 1)
			fail_msg("%s: asked %zu times", rows[i].what, count_asked(f, name));
	}
	assert_in_range(f->most_children, 2, VIDEO_ASKS);
	assert_true(count_fds() <= n_fds + FDS_SLACK); /* of twice as many questions */
	for (uint8_t i = 0; i < ARRAY_SIZE(rows); i++)
		video_see(f->video, &sights[i]);
	assert_false(has_children()); /* a look makes no question anew */
}

/* More than there can be in life, at once: four are asked at a time, and all of them are. */
static void test_storm(void **state)
{
	struct fixture *f = *state;
	struct video_camera camera;
	char port[16];
	size_t cursor = 0, n = 0;

	NEED_NODES(f);
	for (unsigned int i = 0; i < 200; i++) {
		struct udev_sight sight;

		(void)snprintf(port, sizeof(port), "1-%u", i + 1);
		sight = plug_in(f, port, (uint8_t)i);
		behave(f, sight.port, i % 2 ? "exit 0" : GOOD);
		video_see(f->video, &sight);
		assert_true(count_children() <= VIDEO_ASKS);
	}
	settle(f);
	assert_int_equal(f->most_children, VIDEO_ASKS);
	while (video_next(f->video, &cursor, &camera))
		n += camera.reason == NULL;
	assert_int_equal(n, 100);
	/* Events of one that come while it is asked make one question more */
	for (unsigned int i = 0; i < 1000; i++) {
		struct udev_sight sight = {.kind = UDEV_VIDEO, .ours = true, .event = true, .video = {.number = 0}};

		(void)strcpy(sight.port, "video0");
		(void)strcpy(sight.syspath, "/sys/devices/pci0000:00/usb1/1-1/1-1:1.0/video4linux/video0");
		(void)strcpy(sight.video.place, "pci0000:00/usb1/1-1/1-1:1.0:0");
		video_see(f->video, &sight);
	}
	settle(f);
	assert_int_equal(count_asked(f, "video0"), 3);
	assert_true(is_offered(f, "video0"));
}

/* One USB device with many nodes that hang keeps one place; all others have their answers meanwhile. */
static void test_hanging_device(void **state)
{
	struct fixture *f = *state;
	uint64_t begun;

	NEED_NODES(f);
	for (uint8_t i = 0; i < 8; i++) {
		struct udev_sight sight = plug_in(f, "1-1", i);

		behave(f, sight.port, "exec sleep 60");
		video_see(f->video, &sight);
	}
	assert_int_equal(count_children(), 1);
	behave(f, "video20", GOOD);
	video_see(f->video, &(struct udev_sight[]){plug_in(f, "1-2", 20)}[0]);
	begun = clock_monotonic_usec();
	while (!is_offered(f, "video20") && clock_monotonic_usec() < begun + VIDEO_ASK_USEC)
		assert_true(sd_event_run(f->event, 10 * USEC_PER_MSEC) >= 0);
	assert_true(is_offered(f, "video20"));
	/* Nothing of it outlives its device */
	video_look_begin(f->video);
	video_look_end(f->video);
	settle(f);
	assert_false(is_offered(f, "video20"));
	assert_true(clock_monotonic_usec() < begun + 2 * VIDEO_ASK_USEC);
}

/* The same number, another device: heard of or not, before its predecessor's answer or after it. */
static void test_replaced(void **state)
{
	struct fixture *f = *state;
	struct udev_sight sight, other;
	struct video_camera camera;
	uint16_t number;
	const uint8_t *hello;
	int fd = -1;

	NEED_NODES(f);
	sight = plug_in(f, "1-1", 0);
	other = sight;
	other.video.dev = 9;
	behave(f, "video0", GOOD);
	video_see(f->video, &sight);
	settle(f);
	assert_true(find(f, "video0", &camera));
	number = camera.identity.dev;
	/* An event of the same, which says the same: it is the same. A driver may have lost a mode: it is listed anew */
	sight.event = true;
	video_see(f->video, &sight);
	assert_true(is_offered(f, "video0")); /* meanwhile */
	settle(f);
	assert_int_equal(number_of(f, "video0"), number);
	set_word(f, "word", "Paper camera", 2);
	video_see(f->video, &sight);
	settle(f);
	assert_int_equal(number_of(f, "video0"), number); /* so that it is not exported twice */
	assert_int_equal(video_open(f->video, &camera.identity, &hello, &fd), OUTCOME_CHANGED);
	/* Its going was lost */
	number = number_of(f, "video0");
	video_look_begin(f->video);
	video_see(f->video, &other);
	video_look_end(f->video);
	assert_false(is_offered(f, "video0"));
	settle(f);
	assert_int_not_equal(number_of(f, "video0"), number);
	/* Replaced while it is asked, by what is no camera */
	behave(f, "video0", "echo busy >>$here/asked; sleep 0.3; " GOOD);
	other.event = true;
	video_see(f->video, &other);
	for (unsigned int i = 0; i < 1000 && count_asked(f, "busy") == 0; i++)
		(void)usleep(10000);
	behave(f, "video0", "exit 0");
	video_see(f->video, &sight);
	f->n_changes = 0;
	settle(f);
	assert_false(find(f, "video0", &camera));
	assert_int_equal(f->n_changes, 0); /* nor was it ever */
	/* Gone */
	behave(f, "video0", GOOD);
	video_see(f->video, &sight);
	settle(f);
	assert_true(find(f, "video0", &camera) && camera.reason == NULL);
	sight.ours = false;
	f->n_changes = 0;
	video_see(f->video, &sight);
	assert_int_equal(f->n_changes, 1);
	assert_int_equal(video_open(f->video, &camera.identity, &hello, &fd), OUTCOME_NO_DEVICE);
	assert_int_equal(fd, -1);
}

/* What is opened must be what sysfs speaks of: nobody is asked about anything else. */
/* A camera that is in use may be too busy to say once more what it is: it stays. One that was not heard is asked when that is wanted. */
static void test_asked_again(void **state)
{
	static const char *const misses[] = {"exit 1", "echo hello >&3", "exec sleep 60", "kill -9 $$"};
	struct fixture *f = *state;
	struct udev_sight sight;
	struct video_camera camera;
	uint16_t number;

	NEED_NODES(f);
	sight = plug_in(f, "1-1", 0);
	behave(f, "video0", "exit 1");
	video_see(f->video, &sight);
	settle(f);
	assert_false(is_offered(f, "video0"));
	behave(f, "video0", GOOD);
	video_ask_again(f->video, false);
	settle(f);
	assert_true(is_offered(f, "video0"));
	number = number_of(f, "video0");
	sight.event = true;
	for (size_t i = 0; i < ARRAY_SIZE(misses); i++) {
		behave(f, "video0", misses[i]);
		f->n_changes = 0;
		video_see(f->video, &sight);
		settle(f);
		assert_true(is_offered(f, "video0") && number_of(f, "video0") == number);
		assert_int_equal(f->n_changes, 0);
	}
	set_word(f, "word", "Paper camera", 2);
	behave(f, "video0", GOOD);
	f->n_changes = 0;
	video_ask_again(f->video, false); /* it is offered */
	settle(f);
	assert_int_equal(f->n_changes, 0);
	video_ask_again(f->video, true);
	settle(f);
	assert_int_equal(f->n_changes, 1);
	assert_true(find(f, "video0", &camera) && camera.identity.dev == number);
}

static void test_nodes(void **state)
{
	static const struct {
		const char *what, *dev;
		mode_t type;
		const char *reason;
	} rows[] = {
		{"another device", "1:5", S_IFCHR, "its node is another device's"},
		{"no number in sysfs", "", S_IFCHR, NULL},
		{"a file", MOCK_NULL_DEV, S_IFREG, "its node is another device's"},
		{"a file without a number", "0:0", S_IFREG, "its node is another device's"},
		{"a FIFO", MOCK_NULL_DEV, S_IFIFO, "its node is another device's"},
		{"a link", MOCK_NULL_DEV, S_IFLNK, "its node cannot be opened"},
		{"nothing", MOCK_NULL_DEV, 0, NULL},
	};
	struct fixture *f = *state;

	NEED_NODES(f);
	for (uint8_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct udev_sight sight = plug_in(f, "1-1", i);
		struct video_camera camera = {.reason = NULL};
		char path[512], line[16];

		mock_node_path(f->bed, sight.port, path);
		(void)snprintf(line, sizeof(line), "%s\n", rows[i].dev);
		umockdev_testbed_set_attribute(f->bed, sight.syspath, "dev", line);
		if (rows[i].type != S_IFCHR)
			assert_int_equal(unlink(path), 0);
		if (rows[i].type == S_IFREG || rows[i].type == S_IFIFO)
			assert_int_equal(mknod(path, rows[i].type | 0600, 0), 0);
		if (rows[i].type == S_IFLNK)
			assert_int_equal(symlink("probe", path), 0);
		behave(f, sight.port, GOOD);
		video_see(f->video, &sight);
		settle(f);
		if (!find(f, sight.port, &camera))
			camera.reason = NULL;
		if (is_offered(f, sight.port) || (camera.reason == NULL) != (rows[i].reason == NULL) ||
		    (camera.reason != NULL && strcmp(camera.reason, rows[i].reason) != 0))
			fail_msg("%s: %s", rows[i].what, camera.reason != NULL ? camera.reason : "no reason");
		assert_int_equal(count_asked(f, sight.port), 0);
	}
}

/* It was the camera's when it was listed. */
static void test_open(void **state)
{
	struct fixture *f = *state;
	struct udev_sight sight;
	struct video_camera camera;
	struct identity wrong;
	const uint8_t *hello;
	int fd = -1;

	NEED_NODES(f);
	sight = plug_in(f, NULL, 0);
	behave(f, "video0", GOOD);
	video_see(f->video, &sight);
	settle(f);
	assert_true(find(f, "video0", &camera));
	assert_string_equal(camera.identity.parent, "");
	wrong = camera.identity;
	wrong.digest[31] ^= 1;
	assert_int_equal(video_open(f->video, &wrong, &hello, &fd), OUTCOME_CHANGED);
	wrong = camera.identity;
	wrong.dev++;
	assert_int_equal(video_open(f->video, &wrong, &hello, &fd), OUTCOME_CHANGED);
	wrong = camera.identity;
	wrong.port[strlen(wrong.port) - 1] ^= 1;
	assert_int_equal(video_open(f->video, &wrong, &hello, &fd), OUTCOME_NO_DEVICE);
	umockdev_testbed_set_attribute(f->bed, sight.syspath, "dev", "81:0\n");
	assert_int_equal(video_open(f->video, &camera.identity, &hello, &fd), OUTCOME_CHANGED);
	umockdev_testbed_remove_device(f->bed, sight.syspath);
	assert_int_equal(video_open(f->video, &camera.identity, &hello, &fd), OUTCOME_NO_DEVICE);
	assert_int_equal(fd, -1);
}

/* The answer is there in time, and we are late. */
static void test_late(void **state)
{
	struct fixture *f = *state;
	struct udev_sight sight;

	NEED_NODES(f);
	sight = plug_in(f, "1-1", 0);
	behave(f, "video0", GOOD);
	video_see(f->video, &sight);
	(void)usleep(VIDEO_ASK_USEC + 200 * USEC_PER_MSEC);
	settle(f);
	assert_true(is_offered(f, "video0"));
}

/* Two places with one hash have one port: the first keeps it, and gives it free when it goes. */
static void test_one_port(void **state)
{
	struct fixture *f = *state;
	struct udev_sight sights[2];
	struct video_camera camera;

	NEED_NODES(f);
	for (uint8_t i = 0; i < 2; i++) {
		sights[i] = plug_in(f, i == 0 ? "1-1" : "1-2", i);
		(void)strcpy(sights[i].video.place, "here");
		behave(f, sights[i].port, GOOD);
		video_see(f->video, &sights[i]);
	}
	settle(f);
	assert_true(is_offered(f, "video0"));
	assert_true(find(f, "video1", &camera) && camera.reason != NULL);
	assert_string_equal(camera.reason, "another has its port");
	sights[0].ours = false;
	video_see(f->video, &sights[0]);
	assert_true(is_offered(f, "video1"));
}

/* Nobody can be asked. */
static void test_no_proxy(void **state)
{
	struct fixture *f = *state;
	struct udev_sight sight;
	struct video_camera camera;
	size_t n_fds;

	NEED_NODES(f);
	f->launch.proxy_dir = "/nonexistent";
	sight = plug_in(f, "1-1", 0);
	video_see(f->video, &sight);
	settle(f);
	n_fds = count_fds(); /* with those that the loop keeps */
	sight.event = true;
	for (unsigned int i = 0; i < 4 * FDS_SLACK; i++)
		video_see(f->video, &sight);
	assert_true(find(f, "video0", &camera) && camera.reason != NULL);
	assert_true(count_fds() <= n_fds + FDS_SLACK);
	f->launch.proxy_dir = f->path;
	behave(f, "video0", GOOD);
	video_see(f->video, &sight);
	settle(f);
	assert_true(is_offered(f, "video0"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(_unused_ int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_identity), TEST(test_answers),     TEST(test_storm),    TEST(test_hanging_device),
		TEST(test_replaced), TEST(test_nodes),       TEST(test_open),     TEST(test_late),
		TEST(test_one_port), TEST(test_asked_again), TEST(test_no_proxy),
	};
	sigset_t blocked;

	mock_begin(argv);
	(void)sigemptyset(&blocked);
	(void)sigaddset(&blocked, SIGCHLD); /* for the loop's children */
	(void)sigprocmask(SIG_BLOCK, &blocked, NULL);
	return cmocka_run_group_tests_name("video", tests, NULL, NULL);
}
