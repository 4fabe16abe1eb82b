// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The steps of sandbox.h, as a table of steps, and the profiles, as tables of system calls. A new kind of proxy is one
 * more enum value and one more row of `profiles`.
 *
 * Invariants: as root every step must succeed; what needs no privilege is done for everybody; the filter comes last, so
 * that it holds nothing that only the steps before need; nothing that it lets through reaches another process, because
 * all sessions of a qube run under one account and a signal needs no more than that. Calls that name a file are answered with EACCES instead of
 * death: the root directory is empty, so a library that looks for something there is told no more than it is anyway.
 */
#include "lib/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/usbdevice_fs.h>
#include <linux/videodev2.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <termios.h>
#include <unistd.h>

#include <cap-ng.h>
#include <seccomp.h>
#include <xen/xen.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>

#include "lib/base/base.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_FILTER false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_FILTER false
#endif
#endif
#ifndef HAS_FILTER
#define HAS_FILTER true /* a sanitizer at work makes calls of its own */
#endif

#define NOBODY 65534u
#define MOUNT_POINT "/proc" /* exists everywhere; what is mounted on it becomes the root */

/* What a proxy needs whatever it carries: its fds, its memory, the time, its end. */
static const int common_calls[] = {
	SCMP_SYS(read),           SCMP_SYS(readv),           SCMP_SYS(write),
	SCMP_SYS(writev),         SCMP_SYS(close),           SCMP_SYS(poll),
	SCMP_SYS(ppoll),          SCMP_SYS(epoll_ctl),       SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),    SCMP_SYS(recvmsg),         SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),        SCMP_SYS(sendto),          SCMP_SYS(accept4),
	SCMP_SYS(shutdown),       SCMP_SYS(futex),           SCMP_SYS(munmap),
	SCMP_SYS(mremap),         SCMP_SYS(madvise),         SCMP_SYS(brk),
	SCMP_SYS(clock_gettime),  SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),   SCMP_SYS(timerfd_settime), SCMP_SYS(getrandom),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction),    SCMP_SYS(rt_sigreturn),
	SCMP_SYS(getpid),         SCMP_SYS(gettid),          SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),           SCMP_SYS(exit_group),
};

/* Answered with EACCES. */
static const int soft_calls[] = {
	SCMP_SYS(open),   SCMP_SYS(openat),     SCMP_SYS(access),     SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
	SCMP_SYS(stat),   SCMP_SYS(newfstatat), SCMP_SYS(statx),      SCMP_SYS(lstat),     SCMP_SYS(readlink),
	SCMP_SYS(unlink), SCMP_SYS(unlinkat),   SCMP_SYS(readlinkat),
};

/* libxenvchan's wake-up and a client's close; isatty() of the log. */
static const uint32_t common_ioctls[] = {
	IOCTL_EVTCHN_NOTIFY,
	IOCTL_EVTCHN_UNBIND,
	IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR,
	IOCTL_GNTDEV_UNMAP_GRANT_REF,
	TCGETS,
};

/* Flags of fds, not their owners, signals, leases or locks: F_SETOWN, F_SETSIG and O_ASYNC send any signal to anybody. */
static const uint32_t fcntl_commands[] = {F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC};

/* libusb's event handling. */
static const int usb_export_calls[] = {SCMP_SYS(timerfd_create), SCMP_SYS(eventfd2),
				       SCMP_SYS(lseek) /* a second look at the usbfs node after a reset */};

/* What libusb asks of a wrapped usbfs node; streams, ports and privileges are not in it. */
static const uint32_t usb_export_ioctls[] = {
	USBDEVFS_SUBMITURB,        USBDEVFS_DISCARDURB,     USBDEVFS_REAPURB,
	USBDEVFS_REAPURBNDELAY,    USBDEVFS_CONTROL,        USBDEVFS_SETINTERFACE,
	USBDEVFS_SETCONFIGURATION, USBDEVFS_CLAIMINTERFACE, USBDEVFS_RELEASEINTERFACE,
	USBDEVFS_DISCONNECT_CLAIM, USBDEVFS_IOCTL,          USBDEVFS_GETDRIVER,
	USBDEVFS_CLEAR_HALT,       USBDEVFS_RESET,          USBDEVFS_GET_CAPABILITIES,
	USBDEVFS_GET_SPEED,        USBDEVFS_CONNECTINFO,
};

/* How much waits in the virtual microphone's pipe. */
static const uint32_t audio_ioctls[] = {FIONREAD};

/* V4L2: what a camera can do and is to do; or what it shows and who looks. */
static const uint32_t camera_export_ioctls[] = {
	VIDIOC_QUERYCAP,  VIDIOC_ENUM_FRAMESIZES, VIDIOC_ENUM_FRAMEINTERVALS,
	VIDIOC_TRY_FMT,   VIDIOC_S_FMT,           VIDIOC_S_PARM,
	VIDIOC_REQBUFS,   VIDIOC_QUERYBUF,        VIDIOC_QBUF,
	VIDIOC_DQBUF,     VIDIOC_STREAMON,        VIDIOC_STREAMOFF,
	VIDIOC_QUERYCTRL, VIDIOC_G_CTRL,          VIDIOC_S_CTRL,
};
static const uint32_t camera_import_ioctls[] = {
	VIDIOC_S_FMT,    VIDIOC_S_PARM,    VIDIOC_REQBUFS,         VIDIOC_QUERYBUF, VIDIOC_QBUF,
	VIDIOC_STREAMON, VIDIOC_STREAMOFF, VIDIOC_SUBSCRIBE_EVENT, VIDIOC_DQEVENT,
};

static const struct profile {
	const int *calls; /* beside common_calls */
	size_t n_calls;
	const uint32_t *ioctls; /* beside common_ioctls */
	size_t n_ioctls;
} profiles[] = {
	[SANDBOX_USB_EXPORT] = {usb_export_calls, ARRAY_SIZE(usb_export_calls), usb_export_ioctls,
				ARRAY_SIZE(usb_export_ioctls)},
	[SANDBOX_USB_IMPORT] = {NULL, 0, NULL, 0},
	[SANDBOX_AUDIO] = {NULL, 0, audio_ioctls, ARRAY_SIZE(audio_ioctls)},
	[SANDBOX_CAMERA_EXPORT] = {NULL, 0, camera_export_ioctls, ARRAY_SIZE(camera_export_ioctls)},
	[SANDBOX_CAMERA_IMPORT] = {NULL, 0, camera_import_ioctls, ARRAY_SIZE(camera_import_ioctls)},
};

/* What the steps share. */
struct entry {
	const struct profile *profile;
	uid_t uid;
	gid_t gid;
};

static int find_account(const char *user, struct entry *entry)
{
	const struct passwd *account;

	errno = 0;
	account = getpwnam(user);
	if (!account && errno != 0 && errno != ENOENT)
		return -errno;
	entry->uid = account ? account->pw_uid : NOBODY;
	entry->gid = account ? account->pw_gid : NOBODY;
	return entry->uid == 0 || entry->gid == 0 ? -EPERM : 0;
}

static int set_limits(const struct entry *entry _unused_)
{
	static const int resources[] = {RLIMIT_CORE, RLIMIT_NPROC};
	static const struct rlimit none = {0, 0};

	for (size_t i = 0; i < ARRAY_SIZE(resources); i++)
		if (setrlimit((__rlimit_resource_t)resources[i], &none) < 0)
			return -errno;
	return 0;
}

/* A mount namespace of which nothing is left but an empty, read-only directory; no network, no SysV IPC of others. */
static int leave_world(const struct entry *entry _unused_)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", MOUNT_POINT, "tmpfs", flags, "size=4k,nr_inodes=1,mode=0555") < 0 || chdir(MOUNT_POINT) < 0)
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") == 0) {
		if (umount2(".", MNT_DETACH) < 0) /* the old root, which lies over the new one */
			return -errno;
	} else if (errno != EINVAL || chroot(".") < 0) { /* EINVAL: the root is an initramfs, which cannot be left */
		return -errno;
	}
	if (chdir("/") < 0 || mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | flags, NULL) < 0)
		return -errno;
	return 0;
}

/* The bounding set must go while we may still change it. */
static int drop_bounding_set(const struct entry *entry _unused_)
{
	capng_clear(CAPNG_SELECT_BOUNDS);
	return capng_apply(CAPNG_SELECT_BOUNDS) == 0 ? 0 : -EPERM;
}

static int change_user(const struct entry *entry)
{
	if (setgroups(0, NULL) < 0 || setresgid(entry->gid, entry->gid, entry->gid) < 0 ||
	    setresuid(entry->uid, entry->uid, entry->uid) < 0)
		return -errno;
	return setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0 ? -EPERM : 0;
}

static int drop_capabilities(const struct entry *entry _unused_)
{
	capng_clear(CAPNG_SELECT_CAPS);
	return capng_apply(CAPNG_SELECT_CAPS) == 0 ? 0 : -EPERM;
}

static int set_flags(const struct entry *entry _unused_)
{
	/* a change of user has taken the caller's wish to die with its parent away: prctl(2) */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

static int allow_calls(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t n_calls)
{
	int r = 0;

	for (size_t i = 0; i < n_calls && r == 0; i++)
		r = seccomp_rule_add(filter, action, calls[i], 0);
	return r;
}

/* One call with one of these second arguments. The kernel looks at 32 bits of them only, so the filter does the same. */
static int allow_requests(scmp_filter_ctx filter, int call, const uint32_t *requests, size_t n_requests)
{
	int r = 0;

	for (size_t i = 0; i < n_requests && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, requests[i]));
	return r;
}

/* Memory, but never executable; a signal, but only to itself: abort() shall be seen as such; flags, but not O_ASYNC. */
static int allow_with_arguments(scmp_filter_ctx filter)
{
	int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, (scmp_datum_t)getpid()));
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, F_SETFL),
				     SCMP_A2(SCMP_CMP_MASKED_EQ, O_ASYNC, 0));
	return r;
}

static void cleanup_filter(const scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

static int load_filter(const struct entry *entry)
{
	_cleanup_(cleanup_filter) scmp_filter_ctx filter = NULL;
	const struct profile *profile = entry->profile;
	int r;

	if (!HAS_FILTER)
		return 0;
	filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: some of these calls are frequent */
	if (r == 0)
		r = allow_calls(filter, SCMP_ACT_ALLOW, common_calls, ARRAY_SIZE(common_calls));
	if (r == 0)
		r = allow_calls(filter, SCMP_ACT_ERRNO(EACCES), soft_calls, ARRAY_SIZE(soft_calls));
	if (r == 0)
		r = allow_calls(filter, SCMP_ACT_ALLOW, profile->calls, profile->n_calls);
	if (r == 0)
		r = allow_requests(filter, SCMP_SYS(fcntl), fcntl_commands, ARRAY_SIZE(fcntl_commands));
	if (r == 0)
		r = allow_requests(filter, SCMP_SYS(ioctl), common_ioctls, ARRAY_SIZE(common_ioctls));
	if (r == 0)
		r = allow_requests(filter, SCMP_SYS(ioctl), profile->ioctls, profile->n_ioctls);
	if (r == 0)
		r = allow_with_arguments(filter);
	return r == 0 ? seccomp_load(filter) : r;
}

/* In this order: what needs a privilege comes before the privilege goes. */
static const struct {
	bool root_only;
	int (*act)(const struct entry *entry);
} steps[] = {
	{false, set_limits},        {true, leave_world}, {true, drop_bounding_set}, {true, change_user},
	{false, drop_capabilities}, {false, set_flags},  {false, load_filter},
};

int sandbox_enter(enum sandbox_profile profile, const char *user)
{
	struct entry entry = {.profile = &profiles[profile]};
	bool is_root = geteuid() == 0;
	int r = is_root ? find_account(user, &entry) : 0;

	if (r == 0 && capng_get_caps_process() < 0) /* while /proc is there */
		r = -EPERM;
	for (size_t i = 0; i < ARRAY_SIZE(steps) && r == 0; i++)
		if (is_root || !steps[i].root_only)
			r = steps[i].act(&entry);
	return r;
}

int sandbox_close_fds(int last_kept)
{
	return close_range((unsigned int)last_kept + 1, ~0u, 0) < 0 ? -errno : 0;
}
