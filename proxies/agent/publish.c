/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two ways to publish a number; the only file that touches libxenstore. Relative xenstore paths are below the own
 * domain's folder. Each operation opens xenstore anew: they are rare, and a connection that broke needs no care.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "proxies/agent/publish.h"

#define XEN_FOLDER "data/device-agent"
#define XEN_NODE XEN_FOLDER "/port"
#define XEN_SESSIONS "data/qdb"
#define DOMID_MAX 0x7fefu /* below DOMID_FIRST_RESERVED */
#define NUMBER_MAX UINT32_MAX

struct publisher {
	char *path, *new_path; /* of the file; NULL with Xen */
};

static void cleanup_xs(struct xs_handle **xs)
{
	if (*xs != NULL)
		xs_close(*xs);
}

#define _cleanup_xs_ _cleanup_(cleanup_xs)

static int xen_read_number(const char *path, uint64_t max, uint64_t *ret_number)
{
	_cleanup_xs_ struct xs_handle *xs = xs_open(0);
	_cleanup_free_ char *text = NULL;
	unsigned int len;

	if (xs == NULL)
		return errno > 0 ? -errno : -ENOENT;
	text = xs_read(xs, XBT_NULL, path, &len);
	if (text == NULL)
		return errno > 0 ? -errno : -ENOENT;
	return strlen(text) == len ? text_to_u64(text, max, ret_number) : -EINVAL;
}

static int xen_write_number(uint32_t number)
{
	_cleanup_xs_ struct xs_handle *xs = xs_open(0);
	char text[16];
	int len = snprintf(text, sizeof(text), "%" PRIu32, number);

	if (xs == NULL || !xs_write(xs, XBT_NULL, XEN_NODE, text, (unsigned int)len))
		return errno > 0 ? -errno : -EIO;
	return 0;
}

static void xen_remove(const char *path)
{
	_cleanup_xs_ struct xs_handle *xs = xs_open(0);

	if (xs != NULL)
		(void)xs_rm(xs, XBT_NULL, path);
}

int publish_xen_domid(uint16_t *ret_domid)
{
	uint64_t domid;
	int r = xen_read_number("domid", DOMID_MAX, &domid);

	if (r == 0)
		*ret_domid = (uint16_t)domid;
	return r;
}

static int file_read_number(const char *path, uint64_t *ret_number)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[16];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return text_to_u64(text, NUMBER_MAX, ret_number);
}

static int file_write_number(const struct publisher *publisher, uint32_t number)
{
	_cleanup_close_ int fd = open(publisher->new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0 || dprintf(fd, "%" PRIu32 "\n", number) < 0 || rename(publisher->new_path, publisher->path) < 0)
		return -errno;
	return 0;
}

static void cleanup_publisher(struct publisher **publisher)
{
	(void)publisher_free(*publisher);
}

int publisher_new(const char *channel, uint16_t own, struct publisher **ret_publisher)
{
	_cleanup_(cleanup_publisher) struct publisher *publisher = calloc(1, sizeof(*publisher));
	static const char socket_prefix[] = "socket:";
	const char *folder = channel + sizeof(socket_prefix) - 1;

	if (publisher == NULL)
		return -ENOMEM;
	if (strncmp(channel, socket_prefix, sizeof(socket_prefix) - 1) == 0) {
		if (asprintf(&publisher->path, "%s/%" PRIu16 "-device-agent.port", folder, own) < 0)
			publisher->path = NULL;
		if (asprintf(&publisher->new_path, "%s/%" PRIu16 "-device-agent.port.new", folder, own) < 0)
			publisher->new_path = NULL;
		if (publisher->path == NULL || publisher->new_path == NULL)
			return -ENOMEM;
	} else if (strcmp(channel, "xen") != 0) {
		return -EINVAL;
	}
	*ret_publisher = TAKE_PTR(publisher);
	return 0;
}

int publisher_put(struct publisher *publisher, uint32_t number)
{
	return publisher->path != NULL ? file_write_number(publisher, number) : xen_write_number(number);
}

void publisher_withdraw(struct publisher *publisher)
{
	if (publisher->path != NULL)
		(void)unlink(publisher->path);
	else
		xen_remove(XEN_NODE);
}

uint32_t publisher_clean(struct publisher *publisher)
{
	uint64_t number = 0;
	int r = publisher->path != NULL ? file_read_number(publisher->path, &number)
					: xen_read_number(XEN_NODE, NUMBER_MAX, &number);

	publisher_withdraw(publisher);
	if (publisher->path == NULL) {
		xen_remove(XEN_FOLDER);
		xen_remove(XEN_SESSIONS);
	}
	return r == 0 ? (uint32_t)number : 0;
}

struct publisher *publisher_free(struct publisher *publisher)
{
	if (publisher == NULL)
		return NULL;
	free(publisher->path);
	free(publisher->new_path);
	free(publisher);
	return NULL;
}
