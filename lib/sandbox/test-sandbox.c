// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A child enters the sandbox and does what it is told; the parent looks at it from outside, through /proc. Covers
 * SI07 and SI09. Under a sanitizer there is no filter, and without root no namespace: those cases say skip.
 */
#include "tests/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/usbdevice_fs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/sandbox/sandbox.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_FILTER 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_FILTER 0
#endif
#endif
#ifndef HAS_FILTER
#define HAS_FILTER 1
#endif

/* A raw system call as a deed. In its arguments MY_PARENT stands for the parent's pid, A_BUFFER for zeros in memory. */
#define MY_PARENT (-4711L)
#define A_BUFFER (-4712L)
#define N_ARGS 6
struct call {
	const char *name;
	long number;
	long args[N_ARGS];
};

static const struct call *wanted; /* what act_call() does */
static pid_t tester;

/* Deeds of the child; each returns 0 when it went as an innocent proxy wants it. */

static int act_live(void)
{
	struct pollfd pollfd = {.fd = 0, .events = POLLIN};
	_cleanup_free_ char *big = malloc(1u << 22);

	if (!big || poll(&pollfd, 1, 1) < 0)
		return 1;
	memset(big, 1, 1u << 22);
	if (fcntl(0, F_SETFD, fcntl(0, F_GETFD)) < 0 || fcntl(0, F_SETFL, fcntl(0, F_GETFL)) < 0 ||
	    fcntl(0, F_DUPFD_CLOEXEC, 10) < 0)
		return 1;
	log_notice("the sandboxed child can log %d", 1);
	return 0;
}

static int act_open(void)
{
	return open("/proc/self/status", O_RDONLY | O_CLOEXEC) < 0 && access("/etc/passwd", R_OK) < 0 ? 0 : 1;
}

static int act_abort(void)
{
	abort();
}

static int act_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static int act_fork(void)
{
	return fork() < 0;
}

static int act_exec(void)
{
	return execl("/bin/true", "true", NULL);
}

static int act_map_executable(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static int act_protect_executable(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED || mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

static int act_kill(void)
{
	return kill(getppid(), 0) == 0;
}

static int act_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static int act_ioctl(void)
{
	return ioctl(0, TIOCSTI, "x") == 0;
}

static int act_unshare(void)
{
	return unshare(CLONE_NEWUSER) == 0;
}

static int act_usb_ioctl(void)
{
	unsigned int setting = 0;

	return ioctl(0, USBDEVFS_CLEAR_HALT, &setting) == 0; /* on what is no usbfs node: ENOTTY */
}

static int act_call(void)
{
	static char zeros[4096]; /* whatever a pointer is to point to */
	long args[N_ARGS];

	for (size_t i = 0; i < N_ARGS; i++)
		args[i] = wanted->args[i] == MY_PARENT  ? (long)tester
			  : wanted->args[i] == A_BUFFER ? (long)(uintptr_t)zeros
							: wanted->args[i];
	return syscall(wanted->number, args[0], args[1], args[2], args[3], args[4], args[5]) < 0 ? 2 : 1;
}

struct child {
	pid_t pid;
	int command;
};

/* A child in the sandbox, waiting for its command. */
static struct child spawn(enum sandbox_profile profile, int (*act)(void))
{
	int ready[2], command[2];
	struct child child;
	char byte = 0;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(command, O_CLOEXEC), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (child.pid == 0) {
		(void)dup2(command[0], 0);
		(void)dup2(ready[1], 3);
		if (sandbox_close_fds(3) < 0 || fcntl(4, F_GETFD) >= 0 || fcntl(command[1], F_GETFD) >= 0)
			_exit(98);
		if (geteuid() == 0 && setgroups(1, &(gid_t){4}) < 0)
			_exit(96);
		if (sandbox_enter(profile, "no-such-account") != 0)
			_exit(99);
		if (write(3, "r", 1) != 1 || read(0, &byte, 1) != 1)
			_exit(97);
		_exit(act());
	}
	(void)close(ready[1]);
	(void)close(command[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	child.command = command[1];
	return child;
}

static int finish(struct child *child)
{
	int status;

	assert_int_equal(write(child->command, "g", 1), 1);
	(void)close(child->command);
	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	return status;
}

/* One line of /proc/<pid>/status, without its name. */
static void status_line(pid_t pid, const char *name, char ret_value[64])
{
	char path[64], line[256];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	ret_value[0] = '\0';
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			(void)snprintf(ret_value, 64, "%.63s", line + strlen(name) + 1);
	(void)fclose(file);
}

static void test_seen_from_outside(void **state)
{
	static const struct {
		const char *name, *value;
		bool root_only;
	} lines[] = {
		{"Uid", "\t65534\t65534\t65534\t65534\n", true},
		{"Gid", "\t65534\t65534\t65534\t65534\n", true},
		{"Groups", "\t \n", true},
		{"CapInh", "\t0000000000000000\n", false},
		{"CapPrm", "\t0000000000000000\n", false},
		{"CapEff", "\t0000000000000000\n", false},
		{"CapBnd", "\t0000000000000000\n", true},
		{"CapAmb", "\t0000000000000000\n", false},
		{"NoNewPrivs", "\t1\n", false},
		{"Seccomp", HAS_FILTER ? "\t2\n" : "\t0\n", false},
	};
	struct child child = spawn(SANDBOX_USB_EXPORT, act_live);
	int status;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char value[64];

		if (lines[i].root_only && geteuid() != 0)
			continue;
		status_line(child.pid, lines[i].name, value);
		if (strcmp(value, lines[i].value) != 0)
			fail_msg("%s:%s", lines[i].name, value);
	}
	status = finish(&child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_empty_world(void **state)
{
	static const char *const namespaces[] = {"mnt", "net", "ipc"};
	char path[64], ours[64], theirs[64];
	struct child child;
	DIR *root;

	(void)state;
	if (geteuid() != 0)
		skip();
	child = spawn(SANDBOX_USB_IMPORT, act_open);
	(void)snprintf(path, sizeof(path), "/proc/%d/root/", (int)child.pid);
	root = opendir(path);
	assert_non_null(root);
	for (const struct dirent *entry; (entry = readdir(root));)
		assert_true(strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
	(void)closedir(root);
	(void)strcat(path, "x");
	assert_true(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0); /* not even by us */
	assert_int_equal(errno, EROFS);
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		memset(ours, 0, sizeof(ours));
		memset(theirs, 0, sizeof(theirs));
		(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", namespaces[i]);
		assert_true(readlink(path, ours, sizeof(ours) - 1) > 0);
		(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)child.pid, namespaces[i]);
		assert_true(readlink(path, theirs, sizeof(theirs) - 1) > 0);
		assert_string_not_equal(ours, theirs);
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/mounts", (int)child.pid);
	{
		FILE *mounts = fopen(path, "re");
		char line[256];

		assert_non_null(mounts);
		assert_non_null(fgets(line, sizeof(line), mounts));
		assert_int_equal(strncmp(line, "none / tmpfs ro,", 16), 0);
		assert_null(fgets(line, sizeof(line), mounts));
		(void)fclose(mounts);
	}
	assert_int_equal(finish(&child), 0);
}

static const struct {
	const char *name;
	enum sandbox_profile profile;
	int (*act)(void);
	int signal; /* 0: lives and returns 0 */
} deeds[] = {
	{"live", SANDBOX_USB_EXPORT, act_live, 0},
	{"live", SANDBOX_USB_IMPORT, act_live, 0},
	{"open", SANDBOX_USB_EXPORT, act_open, 0},
	{"open", SANDBOX_USB_IMPORT, act_open, 0},
	{"abort", SANDBOX_USB_EXPORT, act_abort, SIGABRT},
	{"socket", SANDBOX_USB_EXPORT, act_socket, SIGSYS},
	{"socket", SANDBOX_USB_IMPORT, act_socket, SIGSYS},
	{"fork", SANDBOX_USB_EXPORT, act_fork, SIGSYS},
	{"exec", SANDBOX_USB_EXPORT, act_exec, SIGSYS},
	{"executable memory", SANDBOX_USB_EXPORT, act_map_executable, SIGSYS},
	{"executable memory later", SANDBOX_USB_IMPORT, act_protect_executable, SIGSYS},
	{"kill", SANDBOX_USB_IMPORT, act_kill, SIGSYS},
	{"ptrace", SANDBOX_USB_EXPORT, act_ptrace, SIGSYS},
	{"ioctl", SANDBOX_USB_EXPORT, act_ioctl, SIGSYS},
	{"unshare", SANDBOX_USB_EXPORT, act_unshare, SIGSYS},
	{"usbfs", SANDBOX_USB_EXPORT, act_usb_ioctl, 0},
	{"usbfs", SANDBOX_USB_IMPORT, act_usb_ioctl, SIGSYS},
};

static void test_deeds(void **state)
{
	(void)state;
	/* A sanitizer needs calls that no profile has, so its builds have no filter; the plain builds run this. */
	for (size_t i = 0; HAS_FILTER && i < ARRAY_SIZE(deeds); i++) {
		struct child child = spawn(deeds[i].profile, deeds[i].act);
		int status = finish(&child);

		if (deeds[i].signal ? !WIFSIGNALED(status) || WTERMSIG(status) != deeds[i].signal : status != 0)
			fail_msg("%s, profile %d: status %#x", deeds[i].name, (int)deeds[i].profile,
				 (unsigned int)status);
	}
}

/*
 * Ways to another process: signals, and what else one process of an account may do to another. Each must end the one that
 * tries it. The parent is the victim, but it may be root: that the kernel would have said no is not enough.
 */
static const struct call ways_out[] = {
	{"F_SETOWN", SYS_fcntl, {0, F_SETOWN, MY_PARENT}},
	{"F_SETOWN with high bits", SYS_fcntl, {0, F_SETOWN | 1L << 32, MY_PARENT}},
	{"F_SETOWN_EX", SYS_fcntl, {0, F_SETOWN_EX, A_BUFFER}},
	{"F_SETSIG", SYS_fcntl, {0, F_SETSIG, SIGKILL}},
	{"F_SETFL O_ASYNC", SYS_fcntl, {0, F_SETFL, O_ASYNC | O_NONBLOCK}},
	{"F_SETLEASE", SYS_fcntl, {0, F_SETLEASE, F_RDLCK}},
	{"F_NOTIFY", SYS_fcntl, {0, F_NOTIFY, DN_MODIFY}},
	{"F_SETPIPE_SZ", SYS_fcntl, {0, F_SETPIPE_SZ, 1 << 20}},
	{"F_SETLK", SYS_fcntl, {0, F_SETLK, A_BUFFER}},
	{"FIOASYNC", SYS_ioctl, {0, FIOASYNC, A_BUFFER}},
	{"FIOSETOWN", SYS_ioctl, {0, FIOSETOWN, A_BUFFER}},
	{"SIOCSPGRP", SYS_ioctl, {0, SIOCSPGRP, A_BUFFER}},
	{"TIOCSPGRP", SYS_ioctl, {0, TIOCSPGRP, A_BUFFER}},
	{"USBDEVFS_DISCSIGNAL", SYS_ioctl, {0, USBDEVFS_DISCSIGNAL, A_BUFFER}},
	{"kill", SYS_kill, {MY_PARENT, SIGKILL}},
	{"tkill", SYS_tkill, {MY_PARENT, SIGKILL}},
	{"tgkill", SYS_tgkill, {MY_PARENT, MY_PARENT, SIGKILL}},
	{"rt_sigqueueinfo", SYS_rt_sigqueueinfo, {MY_PARENT, SIGKILL, A_BUFFER}},
	{"rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, {MY_PARENT, MY_PARENT, SIGKILL, A_BUFFER}},
	{"pidfd_open", SYS_pidfd_open, {MY_PARENT, 0}},
	{"pidfd_send_signal", SYS_pidfd_send_signal, {0, SIGKILL, 0, 0}},
	{"pidfd_getfd", SYS_pidfd_getfd, {0, 0, 0}},
	{"timer_create", SYS_timer_create, {CLOCK_MONOTONIC, A_BUFFER, A_BUFFER}},
	{"mq_notify", SYS_mq_notify, {0, A_BUFFER}},
	{"perf_event_open", SYS_perf_event_open, {A_BUFFER, MY_PARENT, -1, -1, 0}},
	{"ptrace", SYS_ptrace, {PTRACE_ATTACH, MY_PARENT, 0, 0}},
	{"process_vm_readv", SYS_process_vm_readv, {MY_PARENT, A_BUFFER, 0, A_BUFFER, 0, 0}},
	{"process_vm_writev", SYS_process_vm_writev, {MY_PARENT, A_BUFFER, 0, A_BUFFER, 0, 0}},
	{"process_madvise", SYS_process_madvise, {0, A_BUFFER, 0, 0, 0}},
	{"kcmp", SYS_kcmp, {MY_PARENT, MY_PARENT, 0, 0, 0}},
	{"setpriority", SYS_setpriority, {PRIO_PROCESS, MY_PARENT, 0}},
	{"ioprio_set", SYS_ioprio_set, {1, MY_PARENT, 0}},
	{"sched_setscheduler", SYS_sched_setscheduler, {MY_PARENT, SCHED_OTHER, A_BUFFER}},
	{"sched_setparam", SYS_sched_setparam, {MY_PARENT, A_BUFFER}},
	{"sched_setattr", SYS_sched_setattr, {MY_PARENT, A_BUFFER, 0}},
	{"sched_setaffinity", SYS_sched_setaffinity, {MY_PARENT, 8, A_BUFFER}},
	{"migrate_pages", SYS_migrate_pages, {MY_PARENT, 1, A_BUFFER, A_BUFFER}},
	{"move_pages", SYS_move_pages, {MY_PARENT, 0, 0, 0, 0, 0}},
	{"prlimit64", SYS_prlimit64, {MY_PARENT, 0, 0, 0}},
	{"setpgid", SYS_setpgid, {MY_PARENT, 0}},
	{"prctl", SYS_prctl, {PR_SET_PTRACER, MY_PARENT, 0, 0, 0}},
	{"keyctl", SYS_keyctl, {0, -4, 1}},
	{"shmget", SYS_shmget, {1, 4096, 01600}},
	{"io_uring_setup", SYS_io_uring_setup, {1, A_BUFFER}},
	{"bpf", SYS_bpf, {0, A_BUFFER, 0}},
};

static void test_reaches_nobody(void **state)
{
	static const enum sandbox_profile profiles[] = {SANDBOX_USB_EXPORT, SANDBOX_USB_IMPORT};

	(void)state;
	tester = getpid();
	for (size_t i = 0; HAS_FILTER && i < ARRAY_SIZE(ways_out); i++)
		for (size_t j = 0; j < ARRAY_SIZE(profiles); j++) {
			struct child child;
			int status;

			wanted = &ways_out[i];
			child = spawn(profiles[j], act_call);
			status = finish(&child);
			if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
				fail_msg("%s, profile %d: status %#x", ways_out[i].name, (int)profiles[j],
					 (unsigned int)status);
		}
}

/* Without privilege it does what it can: limits, no new privileges, the filter. */
static void test_unprivileged(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setresuid(65534, 65534, 65534) < 0 || sandbox_enter(SANDBOX_USB_IMPORT, "root") != 0)
			_exit(99);
		_exit(act_live());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* An account that is root is no sandbox. */
static void test_refuses_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(sandbox_enter(SANDBOX_USB_IMPORT, "root"), -EPERM);
	assert_int_equal(access("/proc/self/status", R_OK), 0); /* and nothing was done */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seen_from_outside),
		cmocka_unit_test(test_empty_world),
		cmocka_unit_test(test_deeds),
		cmocka_unit_test(test_reaches_nobody),
		cmocka_unit_test(test_unprivileged),
		cmocka_unit_test(test_refuses_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
