/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See opener.h. */
#include "proxies/audio/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/base/base.h"
#include "lib/sandbox/sandbox.h"

#define NOBODY 65534u

static int open_fifo(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISFIFO(st.st_mode) || st.st_uid != geteuid())
		return -EPERM;
	(void)unlink(path); /* the server has it open, and nobody else shall */
	return TAKE_FD(fd);
}

/* One answer: an errno, and with 0 the fd. */
static int answer(int socket, int fd)
{
	int error = fd < 0 ? -fd : 0;
	struct iovec iov = {&error, sizeof(error)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		control.head = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void serve(int socket, const char *path, uid_t owner)
{
	_cleanup_close_ int fd = -1;
	char word;

	if (geteuid() == 0 &&
	    (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(owner, owner, owner) < 0))
		return;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* after a change of uid, which clears it */
	if (recv(socket, &word, sizeof(word), 0) != sizeof(word))
		return;
	fd = open_fifo(path);
	(void)answer(socket, fd);
}

int opener_new(const char *path, uid_t owner, int *ret_fd)
{
	static const struct timeval patience = {.tv_sec = OPENER_USEC / USEC_PER_SEC};
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	(void)signal(SIGCHLD, SIG_IGN); /* nobody waits for it */
	pid = fork();
	if (pid == 0) {
		/* an fd of the session would hide its end from those at the other ends of them */
		if (dup2(pair[1], STDERR_FILENO + 1) == STDERR_FILENO + 1 && sandbox_close_fds(STDERR_FILENO + 1) == 0)
			serve(STDERR_FILENO + 1, path, owner);
		_exit(EXIT_SUCCESS);
	}
	(void)close(pair[1]);
	if (pid < 0) {
		int r = -errno;

		(void)close(pair[0]);
		return r;
	}
	(void)setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	*ret_fd = pair[0];
	return 0;
}

int opener_open(int *fd, int *ret_pipe)
{
	_cleanup_close_ int socket = TAKE_FD(*fd);
	int error = EPROTO, pipe = -1;
	struct iovec iov = {&error, sizeof(error)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};

	if (send(socket, "O", 1, MSG_NOSIGNAL) < 0)
		return -errno;
	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != sizeof(error))
		return -EPROTO;
	if (error)
		return -error;
	if (message.msg_controllen < CMSG_LEN(sizeof(int)) || control.head.cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(&pipe, CMSG_DATA(&control.head), sizeof(pipe));
	*ret_pipe = pipe;
	return 0;
}
