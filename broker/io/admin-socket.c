/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See admin-socket.h. */
#include "broker/io/admin-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/base.h"

#define BACKLOG 128

static int find_group(const char *group, gid_t *ret_gid)
{
	struct group *entry;

	*ret_gid = getegid();
	if (!group)
		return 0;
	entry = getgrnam(group);
	if (!entry)
		return -ESRCH;
	*ret_gid = entry->gr_gid;
	return 0;
}

/* Opens the socket's directory, which must be ours alone to write; makes it if it is missing. */
static int open_dir(const char *path, gid_t gid)
{
	_cleanup_close_ int fd = -1;
	struct stat stat;
	mode_t mask = umask(0027); /* its group must get through, whatever umask we were started with */
	int r = mkdir(path, 0750) < 0 ? -errno : 0;
	bool made = r == 0;

	(void)umask(mask);
	if (!made && r != -EEXIST)
		return r;
	fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR ? -ELOOP : -errno;
	if (made && chown(path, (uid_t)-1, gid) < 0)
		return -errno;
	if (fstat(fd, &stat) < 0)
		return -errno;
	if ((stat.st_uid != geteuid() && stat.st_uid != 0) || (stat.st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	return TAKE_FD(fd);
}

/* What lies at the socket's place from an earlier life is removed, if it is ours and dead. */
static int clear_place(int dir_fd, const char *name, const struct sockaddr_un *address)
{
	_cleanup_close_ int fd = -1;
	struct stat stat;

	if (fstatat(dir_fd, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISLNK(stat.st_mode))
		return -ELOOP;
	if (!S_ISSOCK(stat.st_mode) || stat.st_uid != geteuid())
		return -EPERM;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED)
		return -EADDRINUSE;
	return unlinkat(dir_fd, name, 0) < 0 ? -errno : 0;
}

static int open_at(struct admin_socket *ret, const char *socket_path, gid_t gid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *slash = strrchr(socket_path, '/');
	char dir[sizeof(ret->name)];
	mode_t mask;
	int r;

	if (!slash || slash == socket_path || !slash[1])
		return -EINVAL;
	if (strlen(socket_path) >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, socket_path, (size_t)(slash - socket_path));
	dir[slash - socket_path] = '\0';
	(void)strcpy(ret->name, slash + 1);
	ret->dir_fd = open_dir(dir, gid);
	if (ret->dir_fd < 0)
		return ret->dir_fd;
	/* through the directory that was checked, whatever happens to the path */
	r = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", ret->dir_fd, ret->name);
	if (r < 0 || (size_t)r >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	r = clear_place(ret->dir_fd, ret->name, &address);
	if (r < 0)
		return r;
	ret->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ret->fd < 0)
		return -errno;
	mask = umask(0177);
	r = bind(ret->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r < 0)
		return r;
	if (fstatat(ret->dir_fd, ret->name, &ret->stat, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchownat(ret->dir_fd, ret->name, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(ret->dir_fd, ret->name, 0660, 0) < 0 || listen(ret->fd, BACKLOG) < 0)
		return -errno;
	return 0;
}

int admin_socket_open(struct admin_socket *ret_socket, const char *socket_path, const char *group)
{
	gid_t gid;
	int r = find_group(group, &gid);

	*ret_socket = (struct admin_socket){.fd = -1, .dir_fd = -1};
	if (r == 0)
		r = open_at(ret_socket, socket_path, gid);
	if (r < 0)
		admin_socket_close(ret_socket);
	return r;
}

void admin_socket_close(struct admin_socket *socket)
{
	struct stat stat;

	if (socket->stat.st_ino && fstatat(socket->dir_fd, socket->name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
	    stat.st_ino == socket->stat.st_ino && stat.st_dev == socket->stat.st_dev)
		(void)unlinkat(socket->dir_fd, socket->name, 0);
	cleanup_close(&socket->fd);
	cleanup_close(&socket->dir_fd);
}
