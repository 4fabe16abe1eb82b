/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From root to the broker's own account: what that account must still reach, and then no way back.
 */
#pragma once

#include <stdbool.h>

struct privilege_needs {
	const char *user; /* account to become; NULL or unknown when not `must_exist`: stay who we are */
	bool must_exist;
	const char *group;       /* of the API's socket: the account is put into it */
	const char *socket_path; /* whose directory is made for the account */
	int state_dir;
	bool xen; /* the Xen devices of vchan and xenstore are handed to the account's group */
};

/* Does nothing when we are not root. 0 or a negative errno, which is logged. */
int privilege_drop(const struct privilege_needs *needs);
