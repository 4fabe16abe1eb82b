/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starts a proxy with just the fds that it needs (lib/proxy/report.h): null, null, the log, and up to three more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/proxy/report.h"

/* Where proxies are, and as whom they run. */
struct launch_settings {
	const char *proxy_dir;
	const char *user;
	const char *channel; /* as on our own command line: "xen", "socket:DIR" */
	uint16_t own;        /* domain id */
};

/* What one proxy gets; an fd that it does not get is -1. The caller keeps its fds. */
struct launch_proxy {
	const char *program; /* "usb-proxy", "audio-proxy", "camera-proxy" */
	const char *side;    /* "export", "import" */
	uint16_t peer;
	uint64_t session;
	const char *extra[10]; /* options that only this side has: names and values */
	int report_fd, data_fd, snapshot_fd;
};

/* 0 and *ret_pid, or a negative errno. The child has the default signal mask and dispositions. */
int launch_proxy(const struct launch_settings *settings, const struct launch_proxy *proxy, pid_t *ret_pid);

/*
 * `audio-proxy watch` of the server at `address`, a user's; `report_fd` is its only one. `chosen`: only of the source that the
 * user has chosen. The same.
 */
int launch_watcher(const struct launch_settings *settings, const char *address, uid_t owner, bool clean, bool chosen,
		   int report_fd, pid_t *ret_pid);

/* `audio-proxy remove` of the virtual microphone `name` there; it has no fd. The same. */
int launch_remover(const struct launch_settings *settings, const char *address, uid_t owner, const char *name,
		   pid_t *ret_pid);

/* `camera-proxy describe` of the open node `node_fd`, with what its USB device says of itself; `report_fd` is the other one. The same. */
int launch_describer(const struct launch_settings *settings, uint16_t vendor, uint16_t product, const char *serial,
		     int report_fd, int node_fd, pid_t *ret_pid);

/* An unlinked file in memory with these bytes, sealed against any change, read position 0. 0 and *ret_fd or a negative errno. */
int launch_sealed_file(const void *bytes, size_t len, int *ret_fd);

/*
 * Runs a program with these arguments to its end, at most `timeout_usec` (then it is killed); all fds are null. Its exit
 * status, or a negative errno (-ETIMEDOUT; -ECHILD when a signal ended it).
 */
int launch_and_wait(const char *const *argv, uint64_t timeout_usec);
