// SPDX-License-Identifier: GPL-2.0-or-later
/* Giving up root, with libcap-ng; see privilege.h. */
#include "broker/io/privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "broker/io/audit-files.h"
#include "lib/base/base.h"
#include "lib/base/log.h"

#define GROUPS_MAX 64

/* What vchan clients and xenstore need; all are root's alone as the kernel makes them. */
static const char *const xen_devices[] = {"/dev/xen/evtchn", "/dev/xen/gntdev", "/dev/xen/xenbus"};
static const char *const state_files[] = {AUDIT_LOG_NAME, AUDIT_TORN_NAME, "lock", "state.journal", "state.torn"};

static int failed(const char *what)
{
	int r = -errno;

	log_error("giving up root: %s: %s", what, strerror(-r));
	return r;
}

static int give_xen_devices(gid_t gid)
{
	for (size_t i = 0; i < ARRAY_SIZE(xen_devices); i++)
		if (lchown(xen_devices[i], 0, gid) < 0 || chmod(xen_devices[i], 0660) < 0)
			return failed(xen_devices[i]);
	return 0;
}

struct account {
	uid_t uid;
	gid_t gid;
};

/*
 * What is not ours under the name of one of ours (a second name of another file, a link, a device) is not given away: who
 * needs it finds the same, and grants nothing.
 */
static int give_file(const struct account *account, int state_dir, const char *name)
{
	_cleanup_close_ int fd = openat(state_dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return failed(name);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1) {
		log_error("%s in the state directory is %s, and is not given to the broker's account: look at it, "
			  "move it away, then start device-broker again",
			  name, S_ISREG(st.st_mode) ? "a file that has a second name" : "not a regular file");
		return 0;
	}
	return fchownat(fd, "", account->uid, account->gid, AT_EMPTY_PATH) < 0 ? failed(name) : 0;
}

static int give_closed_log(void *userdata, int state_dir, const char *name, uint64_t first_seq _unused_)
{
	return give_file(userdata, state_dir, name);
}

static int give_state(int state_dir, uid_t uid, gid_t gid)
{
	struct account account = {.uid = uid, .gid = gid};
	int r = 0;

	if (fchown(state_dir, uid, gid) < 0)
		return failed("the state directory");
	for (size_t i = 0; i < ARRAY_SIZE(state_files) && r == 0; i++)
		r = give_file(&account, state_dir, state_files[i]);
	return r == 0 ? audit_files_scan(state_dir, give_closed_log, &account) : r;
}

/* The socket's directory, unless somebody made it: then its owner is that one's business. */
static int give_socket_directory(const char *socket_path, uid_t uid, gid_t gid)
{
	char path[PATH_MAX];
	const char *directory;

	(void)snprintf(path, sizeof(path), "%s", socket_path);
	directory = dirname(path);
	if (mkdir(directory, 0750) == 0) {
		if (chmod(directory, 0750) < 0) /* whatever the umask */
			return failed(directory);
	} else {
		struct stat st;

		if (errno != EEXIST)
			return failed(directory);
		if (lstat(directory, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != 0 || st.st_mode & 022)
			return 0;
	}
	return lchown(directory, uid, gid) < 0 ? failed(directory) : 0;
}

static int set_groups(const struct passwd *account, gid_t socket_group)
{
	gid_t groups[GROUPS_MAX];
	int n = GROUPS_MAX - 1;

	if (getgrouplist(account->pw_name, account->pw_gid, groups, &n) < 0) {
		errno = E2BIG;
		return failed("too many groups");
	}
	groups[n++] = socket_group;
	return setgroups((size_t)n, groups) < 0 ? failed("groups") : 0;
}

int privilege_drop(const struct privilege_needs *needs)
{
	const struct passwd *account;
	const struct group *group;
	gid_t socket_group;
	int r;

	if (geteuid() != 0 || !needs->user)
		return 0;
	errno = 0;
	account = getpwnam(needs->user);
	if (!account && !needs->must_exist) {
		log_warning("there is no account %s: the broker goes on as root", needs->user);
		return 0;
	}
	if (!account) {
		errno = errno ? errno : ESRCH;
		return failed(needs->user);
	}
	if (account->pw_uid == 0)
		return 0;
	group = needs->group ? getgrnam(needs->group) : NULL;
	socket_group = group ? group->gr_gid : account->pw_gid;
	r = needs->xen ? give_xen_devices(account->pw_gid) : 0;
	if (r == 0)
		r = give_state(needs->state_dir, account->pw_uid, account->pw_gid);
	if (r == 0)
		r = give_socket_directory(needs->socket_path, account->pw_uid, socket_group);
	if (r == 0)
		r = set_groups(account, socket_group);
	if (r < 0)
		return r;
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_change_id((int)account->pw_uid, (int)account->pw_gid, CAPNG_CLEAR_BOUNDING) != 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		errno = EPERM;
		return failed("changing to its account");
	}
	return 0;
}
