/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See sysfs.h. */
#include "proxies/agent/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lib/base/base.h"

ssize_t sysfs_read(int folder, const char *name, void *ret_untrusted_bytes, size_t size)
{
	_cleanup_close_ int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t done = 0;

	if (fd < 0)
		return -1;
	while (done < size) {
		ssize_t n = read(fd, (uint8_t *)ret_untrusted_bytes + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

void sysfs_read_line(int folder, const char *name, char *ret_untrusted_line, size_t size)
{
	ssize_t n = sysfs_read(folder, name, ret_untrusted_line, size);

	if (n <= 0 || (size_t)n >= size)
		n = 0;
	ret_untrusted_line[n] = '\0';
	ret_untrusted_line[strcspn(ret_untrusted_line, "\n")] = '\0';
}
