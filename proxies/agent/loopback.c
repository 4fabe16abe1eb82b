/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See loopback.h. The control device is opened for each word: an open one would keep the module from being unloaded. Its old numbers
 * of ioctls are used, which all versions from 0.13 to 0.15 know.
 */
#include "proxies/agent/loopback.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "proxies/agent/launch.h"
#include "proxies/agent/sysfs.h"
#include "proxies/agent/video-node.h"

#define CONTROL "/dev/v4l2loopback"
#define MODULE "/sys/module/v4l2loopback/"
#define DEVICES "/sys/devices/virtual/video4linux/"
#define CTL_ADD 0x4C80ul
#define CTL_REMOVE 0x4C81ul
#define VERSION_MAJOR 0u
#define VERSION_MINOR 13u
#define SIDE_MAX 8192u /* pixels: the module's own default, whatever it was loaded with */
#define BUFFERS 4      /* its default is too few for a program that is late by one picture */
#define BUFFERS_DEFAULT 2
#define MODPROBE_USEC (10 * USEC_PER_SEC)
#define RETRY_USEC (1 * USEC_PER_SEC)

enum use {
	UNUSED,
	IN_USE,
	LEAVING, /* to be removed as soon as nobody has it open */
};

struct loopback {
	sd_event_source *timer; /* runs while one is leaving */
	enum use uses[LOOPBACK_DEVICES];
};

static_assert(sizeof(struct loopback_config) == 72, "as the module has it");
static_assert(sizeof(((struct loopback_config *)NULL)->label) == WIRE_LABEL, "it takes a label whole");

/* ---- the module ------------------------------------------------------------------------------------------------------- */

/* Takes a number up to one of `ends` off the text. */
static bool take_number(const char **text, const char *ends, uint64_t *ret_value)
{
	size_t len = strcspn(*text, ends);
	char digits[8];

	if (snprintf(digits, sizeof(digits), "%.*s", (int)len, *text) >= (int)sizeof(digits))
		return false;
	*text += len;
	return text_to_u64(digits, UINT16_MAX, ret_value) == 0;
}

bool loopback_is_fit(const char *untrusted_version)
{
	uint64_t major, minor;

	if (!take_number(&untrusted_version, ".", &major) || *untrusted_version++ != '.' ||
	    !take_number(&untrusted_version, ".-", &minor)) /* "0.13.2-10-gdeadbee": built from its repository */
		return false;
	return major > VERSION_MAJOR || minor >= VERSION_MINOR;
}

static void read_version(char line[64])
{
	sysfs_read_line(AT_FDCWD, MODULE "version", line, 64);
}

bool loopback_present(void)
{
	char version[64], state[16];

	read_version(version);
	sysfs_read_line(AT_FDCWD, MODULE "initstate", state, sizeof(state));
	return loopback_is_fit(version) && (state[0] == '\0' || strcmp(state, "live") == 0);
}

static void load(void)
{
	char version[64], safe[64], buffers[24];
	const char *const modprobe[] = {"/sbin/modprobe", "-q", "v4l2loopback", "devices=0", buffers, NULL};

	(void)snprintf(buffers, sizeof(buffers), "max_buffers=%d", BUFFERS);
	read_version(version);
	if (version[0] == '\0')
		(void)launch_and_wait(modprobe, MODPROBE_USEC);
	if (loopback_present())
		return;
	read_version(version);
	(void)text_make_safe(version, strlen(version), safe, sizeof(safe));
	log_notice("v4l2loopback of version %u.%u or later is needed (package v4l2loopback-dkms) and there is %s: this "
		   "qube takes no "
		   "cameras of others",
		   VERSION_MAJOR, VERSION_MINOR, safe[0] == '\0' ? "none" : safe);
}

/* ---- its devices ------------------------------------------------------------------------------------------------------ */

/*
 * No more than the module was loaded with: 0.13 takes a larger number for a device, but then refuses the buffers beyond its own
 * (v4l2loopback.c: vidioc_querybuf()), which every program that looks would run into.
 */
static int n_buffers(const char *untrusted_buffers)
{
	uint64_t n;

	if (text_to_u64(untrusted_buffers, INT32_MAX, &n) < 0 || n == 0)
		return BUFFERS_DEFAULT;
	return n < BUFFERS ? (int)n : BUFFERS;
}

void loopback_configure(uint8_t number, const char *label, const char *untrusted_buffers,
			struct loopback_config *ret_config)
{
	*ret_config = (struct loopback_config){.number = number,
					       .max_width = SIDE_MAX,
					       .max_height = SIDE_MAX,
					       .max_buffers = n_buffers(untrusted_buffers)};
	(void)snprintf(ret_config->label, sizeof(ret_config->label), "%.*s", (int)sizeof(ret_config->label) - 1, label);
}

static int open_control(void)
{
	return open(CONTROL, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
}

/* A device of any number. 0 or a negative errno: -EBUSY: somebody has it open; -ENODEV: there is none. */
static int remove_number(int control, int number)
{
	return ioctl(control, CTL_REMOVE, (long)number) < 0 ? -errno : 0;
}

static size_t count_leaving(const struct loopback *loopback)
{
	size_t n = 0;

	for (size_t i = 0; i < LOOPBACK_DEVICES; i++)
		n += loopback->uses[i] == LEAVING;
	return n;
}

/* Without a control device there are no devices either; one that cannot be opened now may be later. Returns how many were removed. */
static size_t remove_leaving(struct loopback *loopback)
{
	_cleanup_close_ int control = open_control();
	int error = control >= 0 ? 0 : errno == ENOENT ? -ENODEV : -EBUSY;
	size_t n = 0;

	for (size_t i = 0; i < LOOPBACK_DEVICES; i++) {
		int r;

		if (loopback->uses[i] != LEAVING)
			continue;
		r = error < 0 ? error : remove_number(control, (int)(LOOPBACK_FIRST + i));
		if (r == -EBUSY)
			continue;
		if (r < 0 && r != -ENODEV)
			log_error("cannot remove /dev/video%zu: %s", LOOPBACK_FIRST + i, strerror(-r));
		loopback->uses[i] = UNUSED;
		n += r == 0;
	}
	if (count_leaving(loopback) > 0) {
		(void)sd_event_source_set_time_relative(loopback->timer, RETRY_USEC);
		(void)sd_event_source_set_enabled(loopback->timer, SD_EVENT_ONESHOT);
	}
	return n;
}

static int on_timer(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata)
{
	(void)remove_leaving(userdata);
	return 0;
}

/*
 * 0 and *ret_number, -EXFULL: none can be had, or a negative errno. A number that a driver of another kind has makes v4l2loopback take
 * the next one that is free, and the first one at the end (video_register_device() in drivers/media/v4l2-core/v4l2-dev.c): such a
 * device goes at once. So it is with all of our numbers in a kernel with CONFIG_VIDEO_FIXED_MINOR_RANGES, which has 64; Debian's has
 * not.
 */
static int add_number(struct loopback *loopback, int control, const char *label, uint8_t *ret_number)
{
	char buffers[16];

	sysfs_read_line(AT_FDCWD, MODULE "parameters/max_buffers", buffers, sizeof(buffers));
	for (size_t i = 0; i < LOOPBACK_DEVICES; i++) {
		uint8_t number = (uint8_t)(LOOPBACK_FIRST + i);
		struct loopback_config config;
		int r;

		if (loopback->uses[i] != UNUSED)
			continue;
		loopback_configure(number, label, buffers, &config);
		r = ioctl(control, CTL_ADD, &config);
		if (r == number) {
			*ret_number = number;
			return 0;
		}
		if (r < 0 && errno != EEXIST)
			return -errno;
		if (r >= 0)
			(void)remove_number(control, r);
		if (r >= 0 && r < (int)LOOPBACK_FIRST) {
			log_notice("the kernel has no free /dev/video%u to /dev/video255", number);
			return -EXFULL;
		}
	}
	return -EXFULL;
}

/* Is it where devices are that a program made up? There it cannot be a camera that is plugged in. */
static int open_node(uint8_t number, int *ret_fd)
{
	char name[LOOPBACK_NAME], syspath[64];

	(void)snprintf(name, sizeof(name), "video%u", number);
	(void)snprintf(syspath, sizeof(syspath), DEVICES "%s", name);
	return video_node_open(syspath, name, ret_fd);
}

enum outcome loopback_add(struct loopback *loopback, const char *label, uint8_t *ret_number, int *ret_fd)
{
	_cleanup_close_ int control = open_control();
	uint8_t number = 0;
	int r = control < 0 ? -errno : add_number(loopback, control, label, &number);

	if (r == -ENOENT && control < 0)
		return OUTCOME_NO_CAMERA;
	if (r == -EXFULL)
		return OUTCOME_BUSY;
	if (r < 0) {
		log_error("cannot make a virtual camera: %s", strerror(-r));
		return OUTCOME_INTERNAL;
	}
	loopback->uses[number - LOOPBACK_FIRST] = IN_USE;
	r = open_node(number, ret_fd);
	if (r < 0) {
		log_error("cannot open /dev/video%u: %s", number, strerror(-r));
		loopback_remove(loopback, number);
		return OUTCOME_INTERNAL;
	}
	*ret_number = number;
	return OUTCOME_OK;
}

void loopback_announce(uint8_t number)
{
	static const char word[] = "change";
	_cleanup_close_ int fd = -1;
	char path[64];

	(void)snprintf(path, sizeof(path), DEVICES "video%u/uevent", number);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, word, strlen(word)) < 0)
		log_warning("cannot have udev look at /dev/video%u again: %s", number, strerror(errno));
}

void loopback_remove(struct loopback *loopback, uint8_t number)
{
	loopback->uses[number - LOOPBACK_FIRST] = LEAVING;
	(void)remove_leaving(loopback);
	if (loopback->uses[number - LOOPBACK_FIRST] == LEAVING)
		log_notice("a program still has /dev/video%u open: it is removed when that closes it", number);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------------ */

void loopback_prepare(struct loopback *loopback)
{
	size_t n;

	load();
	for (size_t i = 0; i < LOOPBACK_DEVICES; i++)
		loopback->uses[i] = LEAVING;
	n = remove_leaving(loopback);
	if (n > 0)
		log_notice("removed %zu virtual cameras that an earlier agent had left", n);
}

int loopback_new(sd_event *event, struct loopback **ret_loopback)
{
	struct loopback *loopback = calloc(1, sizeof(*loopback));
	int r;

	if (loopback == NULL)
		return -ENOMEM;
	r = sd_event_add_time_relative(event, &loopback->timer, CLOCK_MONOTONIC, 0, 1, on_timer, loopback);
	if (r >= 0)
		r = sd_event_source_set_enabled(loopback->timer, SD_EVENT_OFF);
	if (r < 0) {
		(void)loopback_free(loopback);
		return r;
	}
	*ret_loopback = loopback;
	return 0;
}

struct loopback *loopback_free(struct loopback *loopback)
{
	if (loopback == NULL)
		return NULL;
	sd_event_source_disable_unref(loopback->timer);
	free(loopback);
	return NULL;
}
