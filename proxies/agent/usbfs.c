/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See the header. drivers/usb/core/devio.c:usbfs_increase_memory_usage() has the rule that this is about. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/base/text.h"
#include "proxies/agent/usbfs.h"

#define MIB (1024u * 1024u)

uint64_t usbfs_ram(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (uint64_t)info.totalram * info.mem_unit;
}

int usbfs_raise_memory(const char *file, uint64_t ram)
{
	_cleanup_close_ int fd = open(file, O_RDWR | O_CLOEXEC);
	const uint64_t all = (uint64_t)LIMIT_SESSIONS * LIMIT_USBFS_SHARE, part = ram / LIMIT_USBFS_OF_RAM;
	uint64_t wanted = (all < part ? all : part) / MIB, now;
	char line[24];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pread(fd, line, sizeof(line) - 1, 0);
	if (n < 0)
		return -errno;
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (text_to_u64(line, UINT32_MAX, &now) < 0)
		return -EINVAL;
	if (now == 0 || now >= wanted)
		return 0;
	n = snprintf(line, sizeof(line), "%" PRIu64 "\n", wanted);
	return pwrite(fd, line, (size_t)n, 0) == n ? 0 : -errno;
}
