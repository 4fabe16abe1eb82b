/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes every right away from a proxy once it has opened what it needs: an unprivileged user, an empty root directory,
 * new network, IPC and mount namespaces, no capabilities, no new privileges, no core dumps, and a seccomp filter
 * that kills at the first system call that is not in the profile's list. There is no way back.
 */
#pragma once

enum sandbox_profile {
	SANDBOX_USB_EXPORT,
	SANDBOX_USB_IMPORT,
	SANDBOX_AUDIO,
	SANDBOX_CAMERA_EXPORT,
	SANDBOX_CAMERA_IMPORT
};

/*
 * Call before any byte of a peer is read. `user` is the account to become (by name, "qdb-proxy"; when it does not
 * exist, uid and gid 65534). Started as a non-root user (host tests) it does all that needs no privilege. 0 or a
 * negative errno: then exit.
 */
int sandbox_enter(enum sandbox_profile profile, const char *user);

/* Closes every fd above `last_kept`; call first in main(). */
int sandbox_close_fds(int last_kept);
