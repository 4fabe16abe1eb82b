/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * v4l2loopback's control device, played by ioctl() below as v4l2loopback.c of 0.13.2 has it, with sysfs and /dev in a umockdev test bed.
 * That the true one does the same, that a program which has a device open keeps it from being removed, and that programs see a
 * camera of that name, only the rig can show.
 */
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "tests/umockdev.h"
#include "tests/mock-video.h"
#include "lib/base/clock.h"
#include "proxies/agent/loopback.h"

#define ADD 0x4C80ul
#define REMOVE 0x4C81ul
#define NUMBERS 256

struct fixture {
	UMockdevTestbed *bed;
	sd_event *event;
	struct loopback *loopback;
};

/* The kernel's side. */
static struct {
	UMockdevTestbed *bed;
	bool no_nodes, broken;
	unsigned int n_adds, n_removals;
	int n_numbers; /* that it has */
	struct {
		bool ours, others; /* of v4l2loopback; of another driver */
		int n_open;
		struct loopback_config config;
	} devices[NUMBERS];
} kernel;

static struct mock_video mock_of(int number, char name[16])
{
	(void)snprintf(name, 16, "video%d", number);
	return (struct mock_video){.folder = "virtual", .name = name};
}

/* video_register_device() takes the next number that is free. */
static int play_add(const struct loopback_config *config)
{
	int number = config->number;
	char name[16];

	if (kernel.broken)
		return -ENOMEM;
	if (kernel.devices[number].ours)
		return -EEXIST;
	kernel.n_adds++;
	while (number < kernel.n_numbers && (kernel.devices[number].ours || kernel.devices[number].others))
		number++;
	for (int i = 0; number >= kernel.n_numbers && i < kernel.n_numbers; i++)
		if (!kernel.devices[i].ours && !kernel.devices[i].others)
			number = i;
	kernel.devices[number].ours = true;
	kernel.devices[number].config = *config;
	if (!kernel.no_nodes) {
		struct mock_video video = mock_of(number, name);

		mock_video_add(kernel.bed, &video);
		assert_true(mock_node(kernel.bed, name));
	}
	return number;
}

static int play_remove(long number)
{
	char name[16], path[512];
	struct mock_video video;

	assert_in_range(number, 0, NUMBERS - 1);
	if (!kernel.devices[number].ours)
		return -ENODEV;
	if (kernel.devices[number].n_open > 0)
		return -EBUSY;
	kernel.devices[number].ours = false;
	kernel.n_removals++;
	video = mock_of((int)number, name);
	mock_node_path(kernel.bed, name, path);
	if (unlink(path) == 0)
		mock_video_remove(kernel.bed, &video);
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	char link[64], path[512] = "";
	int r = -ENOTTY;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	assert_true(readlink(link, path, sizeof(path) - 1) > 0);
	assert_non_null(strstr(path, "/dev/v4l2loopback"));
	if (request == ADD)
		r = play_add(argument);
	if (request == REMOVE)
		r = play_remove((long)(intptr_t)argument);
	if (r >= 0)
		return r;
	errno = -r;
	return -1;
}

static void set_module_file(UMockdevTestbed *bed, const char *name, const char *text)
{
	_cleanup_free_ char *root = umockdev_testbed_get_root_dir(bed);
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/sys/module/v4l2loopback", root);
	assert_int_equal(g_mkdir_with_parents(path, 0755), 0);
	(void)strcat(path, "/");
	(void)strcat(path, name);
	if (text == NULL)
		(void)unlink(path);
	else
		assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void set_control(UMockdevTestbed *bed, bool there)
{
	char path[512];

	mock_node_path(bed, "v4l2loopback", path);
	(void)unlink(path);
	if (there)
		assert_true(g_file_set_contents(path, "", -1, NULL));
}

static int set_up(void **state)
{
	static struct fixture fixture;
	struct fixture *f = &fixture;

	*f = (struct fixture){.bed = umockdev_testbed_new()};
	memset(&kernel, 0, sizeof(kernel));
	kernel.bed = f->bed;
	kernel.n_numbers = NUMBERS;
	*state = mock_node(f->bed, "probe") ? f : NULL; /* only root can make nodes */
	set_control(f->bed, true);
	set_module_file(f->bed, "version", "0.13.2\n");
	set_module_file(f->bed, "initstate", "live\n");
	assert_true(sd_event_default(&f->event) >= 0);
	assert_int_equal(loopback_new(f->event, &f->loopback), 0);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f == NULL)
		return 0;
	f->loopback = loopback_free(f->loopback);
	sd_event_unref(f->event);
	g_object_unref(f->bed);
	return 0;
}

#define NEED_NODES(f)           \
	do {                    \
		if (f == NULL)  \
			skip(); \
	} while (0)

static void run_for(struct fixture *f, uint64_t usec)
{
	uint64_t deadline = clock_monotonic_usec() + usec;

	while (clock_monotonic_usec() < deadline)
		assert_true(sd_event_run(f->event, 50 * USEC_PER_MSEC) >= 0);
}

static uint8_t add(struct fixture *f, const char *label)
{
	uint8_t number = 0;
	int fd = -1;
	struct stat st;

	assert_int_equal(loopback_add(f->loopback, label, &number, &fd), OUTCOME_OK);
	assert_true(fstat(fd, &st) == 0 && S_ISCHR(st.st_mode));
	(void)close(fd);
	assert_in_range(number, LOOPBACK_FIRST, NUMBERS - 1);
	assert_true(kernel.devices[number].ours);
	return number;
}

static void test_versions(void **state)
{
	static const struct {
		const char *version;
		bool fit;
	} rows[] = {
		{"0.13.0", true},
		{"0.13.2", true},
		{"0.13", true},
		{"0.13.2-10-gdeadbee", true},
		{"0.13-rc1", true},
		{"0.14.0", true},
		{"0.15.4", true},
		{"0.130.0", true},
		{"1.0", true},
		{"1.0.0", true},
		{"10.2", true},
		{"0.12.7", false},
		{"0.12.99", false},
		{"0.1.3", false},
		{"0.9.1", false},
		{"0.0.13", false},
		{"", false},
		{"0", false},
		{"1", false},
		{"13", false},
		{".13", false},
		{"0.", false},
		{"0..13", false},
		{"x0.13", false},
		{"0.x13", false},
		{"0.13x", false},
		{"0.13\x9b", false},
		{"-1.13", false},
		{"+0.13", false},
		{" 0.13", false},
		{"0. 13", false},
		{"0.013", false},
		{"00.13", false},
		{"0.65536", false},
		{"0.99999999999999999999", false},
		{"99999999999999999999.0", false},
		{"0,13", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (loopback_is_fit(rows[i].version) != rows[i].fit)
			fail_msg("%s: %d", rows[i].version, !rows[i].fit);
}

static void test_configure(void **state)
{
	static const struct {
		const char *label, *taken;
	} rows[] = {
		{"sys-usb: Integrated Camera", "sys-usb: Integrated Camera"},
		{"%s%n", "%s%n"},
		{"0123456789012345678901234567890", "0123456789012345678901234567890"},
		{"01234567890123456789012345678901", "0123456789012345678901234567890"},
		{"x", "x"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct loopback_config config;

		memset(&config, 0x55, sizeof(config));
		loopback_configure(LOOPBACK_FIRST + 3, rows[i].label, "32", &config);
		assert_string_equal(config.label, rows[i].taken);
		assert_int_equal(config.number, LOOPBACK_FIRST + 3);
		assert_int_equal(config.max_buffers, 4);
		assert_int_equal(config.announce_all_caps, 0);
		assert_true(config.max_width >= 4096 && config.max_height >= 4096);
		assert_true(config.min_width == 0 && config.min_height == 0 && config.max_openers == 0);
	}
	assert_int_equal(LOOPBACK_FIRST + LOOPBACK_DEVICES, NUMBERS);
}

/* No more buffers than the module gives, for it would refuse them to who looks. */
static void test_buffers(void **state)
{
	static const struct {
		const char *given;
		int n;
	} rows[] = {{"1", 1},  {"2", 2}, {"3", 3}, {"4", 4},  {"5", 4},
		    {"32", 4}, {"", 2},  {"0", 2}, {"-1", 2}, {"many", 2}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct loopback_config config;

		loopback_configure(LOOPBACK_FIRST, "x", rows[i].given, &config);
		assert_int_equal(config.max_buffers, rows[i].n);
	}
}

static void test_present(void **state)
{
	static const struct {
		const char *version, *initstate;
		bool present;
	} rows[] = {
		{"0.13.2\n", "live\n", true},
		{"0.13.2\n", NULL, true},
		{"0.12.7\n", "live\n", false},
		{"0.13.2\n", "coming\n", false},
		{"0.13.2\n", "going\n", false},
		{NULL, "live\n", false},
		{NULL, NULL, false},
		{"0.15.4\n", "live\n", true},
	};
	struct fixture *f = *state;

	NEED_NODES(f);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		set_module_file(f->bed, "version", rows[i].version);
		set_module_file(f->bed, "initstate", rows[i].initstate);
		if (loopback_present() != rows[i].present)
			fail_msg("row %zu", i);
	}
}

static void test_add(void **state)
{
	struct fixture *f = *state;
	uint8_t first, second;

	NEED_NODES(f);
	first = add(f, "work's camera");
	second = add(f, "another");
	assert_int_equal(first, LOOPBACK_FIRST);
	assert_int_equal(second, LOOPBACK_FIRST + 1);
	assert_string_equal(kernel.devices[first].config.label, "work's camera");
	loopback_remove(f->loopback, first);
	assert_false(kernel.devices[first].ours);
	assert_true(kernel.devices[second].ours);
	assert_int_equal(add(f, "again"), first);
}

/* A program keeps it open: the session's end does not wait, its number is nobody's meanwhile, and it goes in the end. */
static void test_open_elsewhere(void **state)
{
	struct fixture *f = *state;
	uint64_t begun;
	uint8_t number;

	NEED_NODES(f);
	number = add(f, "camera");
	kernel.devices[number].n_open = 1;
	begun = clock_monotonic_usec();
	loopback_remove(f->loopback, number);
	assert_true(clock_monotonic_usec() < begun + USEC_PER_SEC / 2);
	assert_int_equal(add(f, "other"), number + 1);
	run_for(f, 2500 * USEC_PER_MSEC);
	assert_true(kernel.devices[number].ours);
	kernel.devices[number].n_open = 0;
	run_for(f, 1500 * USEC_PER_MSEC);
	assert_false(kernel.devices[number].ours);
	assert_true(kernel.devices[number + 1].ours);
	assert_int_equal(kernel.n_removals, 1);
	run_for(f, 1500 * USEC_PER_MSEC); /* and nobody goes on trying */
	assert_int_equal(add(f, "again"), number);
}

/* What a killed agent left is known by its number; what is not in the range is somebody else's, whatever it is called. */
static void test_leftovers(void **state)
{
	struct fixture *f = *state;

	NEED_NODES(f);
	kernel.devices[0].ours = kernel.devices[5].ours = kernel.devices[LOOPBACK_FIRST - 1].ours = true;
	kernel.devices[LOOPBACK_FIRST].ours = kernel.devices[LOOPBACK_FIRST + 7].ours = true;
	kernel.devices[NUMBERS - 1].ours = true;
	kernel.devices[LOOPBACK_FIRST + 7].n_open = 1;
	kernel.devices[LOOPBACK_FIRST + 9].others = true;
	loopback_prepare(f->loopback);
	assert_true(kernel.devices[0].ours && kernel.devices[5].ours && kernel.devices[LOOPBACK_FIRST - 1].ours);
	assert_false(kernel.devices[LOOPBACK_FIRST].ours || kernel.devices[NUMBERS - 1].ours);
	assert_true(kernel.devices[LOOPBACK_FIRST + 7].ours && kernel.devices[LOOPBACK_FIRST + 9].others);
	kernel.devices[LOOPBACK_FIRST + 7].n_open = 0;
	run_for(f, 1500 * USEC_PER_MSEC);
	assert_false(kernel.devices[LOOPBACK_FIRST + 7].ours);
	assert_int_equal(kernel.n_removals, 3);
}

/* Numbers that somebody else has, in the range as well; nothing of theirs is touched, and nothing of ours is left elsewhere. */
static void test_taken_numbers(void **state)
{
	struct fixture *f = *state;
	uint8_t number = 0;
	int fd = -1;

	NEED_NODES(f);
	kernel.devices[LOOPBACK_FIRST].others = true;
	kernel.devices[LOOPBACK_FIRST + 1].ours = true; /* made by hand, after our start */
	assert_int_equal(add(f, "camera"), LOOPBACK_FIRST + 2);
	assert_true(kernel.devices[LOOPBACK_FIRST + 1].ours);
	for (unsigned int i = 3; i < LOOPBACK_DEVICES; i++)
		(void)add(f, "camera");
	assert_int_equal(loopback_add(f->loopback, "one too many", &number, &fd), OUTCOME_BUSY);
	assert_int_equal(fd, -1);
	for (unsigned int i = 0; i < LOOPBACK_FIRST; i++)
		assert_false(kernel.devices[i].ours);
}

/* A kernel that has fewer numbers: what it makes instead goes at once, and is not made 64 times. */
static void test_few_numbers(void **state)
{
	struct fixture *f = *state;
	uint8_t number = 0;
	int fd = -1;

	NEED_NODES(f);
	kernel.n_numbers = 64;
	kernel.devices[0].others = true;
	assert_int_equal(loopback_add(f->loopback, "camera", &number, &fd), OUTCOME_BUSY);
	assert_int_equal(kernel.n_adds, 1);
	assert_int_equal(kernel.n_removals, 1);
	for (unsigned int i = 0; i < NUMBERS; i++)
		assert_false(kernel.devices[i].ours);
}

static void test_failures(void **state)
{
	struct fixture *f = *state;
	uint8_t number = 0;
	int fd = -1;

	NEED_NODES(f);
	kernel.broken = true;
	assert_int_equal(loopback_add(f->loopback, "camera", &number, &fd), OUTCOME_INTERNAL);
	kernel.broken = false;
	kernel.no_nodes = true; /* made, but not to be opened */
	assert_int_equal(loopback_add(f->loopback, "camera", &number, &fd), OUTCOME_INTERNAL);
	assert_false(kernel.devices[LOOPBACK_FIRST].ours);
	kernel.no_nodes = false;
	number = add(f, "camera");
	set_control(f->bed, false); /* the module was unloaded, and its devices with it */
	assert_int_equal(play_remove(number), 0);
	assert_int_equal(loopback_add(f->loopback, "camera", &number, &fd), OUTCOME_NO_CAMERA);
	loopback_remove(f->loopback, number);
	set_control(f->bed, true);
	assert_int_equal(add(f, "camera"), number);
	assert_int_equal(fd, -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(_unused_ int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_configure),
		cmocka_unit_test(test_buffers),
		TEST(test_present),
		TEST(test_add),
		TEST(test_open_elsewhere),
		TEST(test_leftovers),
		TEST(test_taken_numbers),
		TEST(test_few_numbers),
		TEST(test_failures),
	};

	mock_begin(argv);
	return cmocka_run_group_tests_name("loopback", tests, NULL, NULL);
}
