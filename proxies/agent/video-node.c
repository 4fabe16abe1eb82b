/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel uses numbers again, so the node's name proves nothing: what was opened is compared with what sysfs says of the device,
 * after it was opened, when that number cannot become another's any more.
 */
#include "proxies/agent/video-node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/base/base.h"
#include "proxies/agent/sysfs.h"

int video_node_open(const char *syspath, const char *name, int *ret_fd)
{
	_cleanup_close_ int folder = open(syspath, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	char path[64], number[32], line[32];
	struct stat st;

	if (folder < 0)
		return -ENODEV;
	if (snprintf(path, sizeof(path), "/dev/%s", name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT || errno == ENXIO ? -ENODEV : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	sysfs_read_line(folder, "dev", line, sizeof(line)); /* "81:0" */
	if (line[0] == '\0')
		return -ENODEV;
	(void)snprintf(number, sizeof(number), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	if (!S_ISCHR(st.st_mode) || strcmp(number, line) != 0)
		return -ESTALE;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
