/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes of video devices in a umockdev test bed. Their files are true character devices, /dev/null's, since what is open is compared
 * with what sysfs says: that takes root. Include after tests/umockdev.h.
 */
#pragma once

#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MOCK_NULL_DEV "1:3"
#pragma GCC diagnostic ignored "-Wunused-function" /* not each program needs each */

struct mock_video {
	const char *folder;     /* in /sys/devices, up to "video4linux" */
	const char *name;       /* "video0" */
	const char *properties; /* lines "E: NAME=VALUE\n" or NULL */
	const char *dev;        /* as sysfs has it; NULL: as the node's */
};

/* Where the program under test sees /dev/NAME. */
static void mock_node_path(UMockdevTestbed *bed, const char *name, char path[512])
{
	_cleanup_free_ char *root = umockdev_testbed_get_root_dir(bed);

	(void)snprintf(path, 512, "%s/dev/%s", root, name);
}

/* False: this user cannot make one. */
static bool mock_node(UMockdevTestbed *bed, const char *name)
{
	_cleanup_free_ char *root = umockdev_testbed_get_root_dir(bed);
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/dev", root);
	(void)mkdir(path, 0755);
	mock_node_path(bed, name, path);
	return mknod(path, S_IFCHR | 0600, makedev(1, 3)) == 0;
}

static void mock_video_path(const struct mock_video *video, char path[MOCK_PATH_SIZE])
{
	(void)snprintf(path, MOCK_PATH_SIZE, "/sys/devices/%s/video4linux/%s", video->folder, video->name);
}

/* To sysfs only; those that listen hear of it. */
static void mock_video_add(UMockdevTestbed *bed, const struct mock_video *video)
{
	GError *error = NULL;
	char text[2048];

	(void)snprintf(text, sizeof(text),
		       "P: /devices/%s/video4linux/%s\nE: SUBSYSTEM=video4linux\nE: DEVNAME=/dev/%s\n%s"
		       "A: index=0\\n\nA: name=Mock\\n\nA: dev=%s\\n\n\n",
		       video->folder, video->name, video->name, video->properties != NULL ? video->properties : "",
		       video->dev != NULL ? video->dev : MOCK_NULL_DEV);
	if (!umockdev_testbed_add_from_string(bed, text, &error)) {
		(void)fprintf(stderr, "umockdev: %s\n%s", error->message, text);
		abort();
	}
}

static void mock_video_event(UMockdevTestbed *bed, const struct mock_video *video, const char *action)
{
	char path[MOCK_PATH_SIZE];

	mock_video_path(video, path);
	umockdev_testbed_uevent(bed, path, action);
}

static void mock_video_remove(UMockdevTestbed *bed, const struct mock_video *video)
{
	char path[MOCK_PATH_SIZE];

	mock_video_event(bed, video, "remove");
	mock_video_path(video, path);
	umockdev_testbed_remove_device(bed, path);
}
