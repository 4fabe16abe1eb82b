/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The number in a node's name is used again by the kernel for another device, so the name proves nothing: a node, once
 * open, belongs to one enumeration for ever, and reading it gives that device's descriptors
 * (drivers/usb/core/devio.c:usbdev_read()).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/usbip/snapshot.h"
#include "proxies/agent/node.h"

/* Bytes read from the start, or -1. */
static ssize_t read_all(int fd, uint8_t *buffer, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, buffer + done, size - done, (off_t)done);

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

enum outcome node_open(const struct identity *identity, const struct snapshot_bytes *snapshot, int *ret_fd)
{
	static uint8_t untrusted_raw[LIMIT_SNAPSHOT];
	size_t head = SNAPSHOT_HEAD + strlen(identity->serial);
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/dev/bus/usb/%03u/%03u", identity->bus, identity->dev);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return OUTCOME_NO_DEVICE;
	if (fd < 0) {
		log_error("cannot open %s: %s", path, strerror(errno));
		return OUTCOME_OPEN_FAILED;
	}
	n = read_all(fd, untrusted_raw, sizeof(untrusted_raw));
	if (n < 0)
		return OUTCOME_NO_DEVICE;
	if (snapshot->len - head != (size_t)n || memcmp(snapshot->bytes + head, untrusted_raw, (size_t)n) != 0)
		return OUTCOME_CHANGED;
	*ret_fd = TAKE_FD(fd);
	return OUTCOME_OK;
}
