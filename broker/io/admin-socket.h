/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The place in the file system where the Admin API listens. */
#pragma once

#include <sys/stat.h>
#include <sys/un.h>

struct admin_socket {
	int fd, dir_fd;
	char name[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct stat stat; /* so that we remove only our own */
};

/* As admin_new() in admin.h says of its arguments and errors. Every socket is closed once, a failed one too. */
int admin_socket_open(struct admin_socket *ret_socket, const char *socket_path, const char *group);
void admin_socket_close(struct admin_socket *socket); /* and removes it */
