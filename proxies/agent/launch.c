/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting processes: with posix_spawn, so that a program that cannot be executed is an error here and now. An fd that
 * a proxy should not have would hide the death of a peer or keep a device open, so everything above the agreed fds
 * is closed in the child, close-on-exec or not.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "proxies/agent/launch.h"

#define FIRST_HIGH_FD 16 /* above all the agreed ones: putting one in its place overwrites none that is yet to move */

static void cleanup_attributes(posix_spawnattr_t *attributes)
{
	(void)posix_spawnattr_destroy(attributes);
}

static void cleanup_actions(posix_spawn_file_actions_t *actions)
{
	(void)posix_spawn_file_actions_destroy(actions);
}

/* fds[i] becomes fd 3 + i of the child; fds[] are FIRST_HIGH_FD or more, -1: none, and only at the end. */
static int spawn(char *const *argv, const int *fds, size_t n_fds, bool with_log, pid_t *ret_pid)
{
	_cleanup_(cleanup_attributes) posix_spawnattr_t attributes;
	_cleanup_(cleanup_actions) posix_spawn_file_actions_t actions;
	sigset_t none, all;
	int r, last = STDERR_FILENO;

	if (posix_spawnattr_init(&attributes) != 0 || posix_spawn_file_actions_init(&actions) != 0)
		abort(); /* glibc: cannot fail */
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	r = posix_spawnattr_setsigmask(&attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(&attributes, &all);
	if (r == 0)
		r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	for (int fd = STDIN_FILENO; r == 0 && fd <= (with_log ? STDOUT_FILENO : STDERR_FILENO); fd++)
		r = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	for (size_t i = 0; r == 0 && i < n_fds && fds[i] >= 0; i++) {
		last = STDERR_FILENO + 1 + (int)i;
		r = posix_spawn_file_actions_adddup2(&actions, fds[i], last);
	}
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(&actions, last + 1);
	if (r == 0)
		r = posix_spawn(ret_pid, argv[0], &actions, &attributes, argv, environ);
	return -r;
}

/* A copy of `fd` at FIRST_HIGH_FD or above, -1 for -1. 0 or a negative errno. */
static int move_up(int fd, int *ret_fd)
{
	if (fd < 0)
		return 0;
	*ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_HIGH_FD);
	return *ret_fd < 0 ? -errno : 0;
}

int launch_proxy(const struct launch_settings *settings, const struct launch_proxy *proxy, pid_t *ret_pid)
{
	_cleanup_close_ int report = -1, data = -1, snapshot = -1;
	char program[4096], own[8], peer[8], service[24];
	const char *argv[] = {
		program,
		proxy->side,
		"--channel",
		settings->channel,
		"--own",
		own,
		"--peer",
		peer,
		"--service",
		service,
		"--user",
		settings->user,
		proxy->extra[0],
		proxy->extra[1],
		proxy->extra[2],
		proxy->extra[3],
		proxy->extra[4],
		proxy->extra[5],
		proxy->extra[6],
		proxy->extra[7],
		proxy->extra[8],
		proxy->extra[9],
		NULL,
	};
	int r;

	if (snprintf(program, sizeof(program), "%s/%s", settings->proxy_dir, proxy->program) >= (int)sizeof(program))
		return -ENAMETOOLONG;
	if (proxy->report_fd < 0 || proxy->data_fd < 0)
		return -EBADF;
	(void)snprintf(own, sizeof(own), "%" PRIu16, settings->own);
	(void)snprintf(peer, sizeof(peer), "%" PRIu16, proxy->peer);
	(void)snprintf(service, sizeof(service), "qdb/%" PRIx64, proxy->session);
	r = move_up(proxy->report_fd, &report);
	if (r == 0)
		r = move_up(proxy->data_fd, &data);
	if (r == 0)
		r = move_up(proxy->snapshot_fd, &snapshot);
	if (r < 0)
		return r;
	/* posix_spawn's prototype dates from before const; it changes nothing. */
	return spawn((char *const *)(uintptr_t)argv, (const int[]){report, data, snapshot}, 3, true, ret_pid);
}

/* audio-proxy at a server of `owner`'s, with one option more or two. `report_fd` -1: it has none. */
static int launch_at_server(const struct launch_settings *settings, const char *mode, const char *address, uid_t owner,
			    const char *const options[4], int report_fd, pid_t *ret_pid)
{
	_cleanup_close_ int report = -1;
	char program[4096], uid[16];
	const char *const argv[] = {program,        mode,       "--server", address,    "--owner",  uid, "--user",
				    settings->user, options[0], options[1], options[2], options[3], NULL};
	int r = move_up(report_fd, &report);

	if (r < 0)
		return r;
	if (snprintf(program, sizeof(program), "%s/audio-proxy", settings->proxy_dir) >= (int)sizeof(program))
		return -ENAMETOOLONG;
	(void)snprintf(uid, sizeof(uid), "%u", owner);
	return spawn((char *const *)(uintptr_t)argv, &report, 1, true, ret_pid);
}

int launch_watcher(const struct launch_settings *settings, const char *address, uid_t owner, bool clean, bool chosen,
		   int report_fd, pid_t *ret_pid)
{
	return launch_at_server(
		settings, "watch", address, owner,
		(const char *const[4]){"--clean", clean ? "yes" : "no", "--sources", chosen ? "chosen" : "all"},
		report_fd, ret_pid);
}

int launch_remover(const struct launch_settings *settings, const char *address, uid_t owner, const char *name,
		   pid_t *ret_pid)
{
	return launch_at_server(settings, "remove", address, owner, (const char *const[4]){"--name", name}, -1,
				ret_pid);
}

int launch_describer(const struct launch_settings *settings, uint16_t vendor, uint16_t product, const char *serial,
		     int report_fd, int node_fd, pid_t *ret_pid)
{
	_cleanup_close_ int report = -1, node = -1;
	char program[4096], numbers[2][8];
	const char *const argv[] = {program,     "describe", "--user",   settings->user, "--vendor", numbers[0],
				    "--product", numbers[1], "--serial", serial,         NULL};
	int r = move_up(report_fd, &report);

	if (r == 0)
		r = move_up(node_fd, &node);
	if (r < 0)
		return r;
	if (snprintf(program, sizeof(program), "%s/camera-proxy", settings->proxy_dir) >= (int)sizeof(program))
		return -ENAMETOOLONG;
	(void)snprintf(numbers[0], sizeof(numbers[0]), "%" PRIu16, vendor);
	(void)snprintf(numbers[1], sizeof(numbers[1]), "%" PRIu16, product);
	return spawn((char *const *)(uintptr_t)argv, (const int[]){report, node}, 2, true, ret_pid);
}

int launch_sealed_file(const void *bytes, size_t len, int *ret_fd)
{
	_cleanup_close_ int fd = memfd_create("snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < len) {
		ssize_t n = pwrite(fd, (const uint8_t *)bytes + done, len - done, (off_t)done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n < 0 ? 0 : (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int launch_and_wait(const char *const *argv, uint64_t timeout_usec)
{
	_cleanup_close_ int pidfd = -1;
	int r, status, n = 0;
	pid_t pid;

	r = spawn((char *const *)(uintptr_t)argv, NULL, 0, false, &pid);
	if (r < 0)
		return r;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd >= 0)
		n = poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, (int)(timeout_usec / USEC_PER_MSEC));
	if (n <= 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (n <= 0)
		return -ETIMEDOUT;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}
