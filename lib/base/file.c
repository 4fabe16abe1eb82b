// SPDX-License-Identifier: GPL-2.0-or-later
/* See file.h. */
#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int file_write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_check(int dir, const char *name, int fd, off_t size, bool *half)
{
	struct stat by_name, by_fd;

	if (fstat(fd, &by_fd) < 0)
		return -errno;
	if (fstatat(dir, name, &by_name, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? FILE_OTHER : -errno;
	if (by_name.st_ino != by_fd.st_ino || by_name.st_dev != by_fd.st_dev || by_fd.st_nlink != 1 ||
	    by_fd.st_size < size || (by_fd.st_size > size && !*half))
		return FILE_OTHER;
	if (by_fd.st_size > size && ftruncate(fd, size) < 0)
		return -errno;
	*half = false;
	return 0;
}

int file_append(int fd, off_t size, const char *bytes, size_t len, bool sync, bool *half)
{
	int r = file_write_all(fd, bytes, len), sync_errno = 0;

	if (r == 0 && sync && fdatasync(fd) < 0) {
		r = FILE_NOT_SYNCED;
		sync_errno = errno;
	}
	if (r != 0)
		*half = ftruncate(fd, size) < 0;
	errno = sync_errno;
	return r;
}
