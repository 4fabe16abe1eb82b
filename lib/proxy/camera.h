/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `camera-proxy describe` tells the agent that started it, over a SOCK_SEQPACKET pair (fd PROXY_FD_REPORT in the proxy): what the
 * camera is whose open node it has (PROXY_FD_DATA), once; and then it exits. It says nothing of a node that is no camera. The
 * datagram is one struct of fixed size.
 */
#pragma once

#include <stdint.h>

#include "lib/base/limits.h"

#define PROXY_CAMERA_HELLO 656u /* CAMERA_HELLO of proxies/camera/stream.h, of which this is all that others know */

struct proxy_camera {
	char name[LIMIT_TEXT + 1];         /* what people call it: printable ASCII, then zeros to its end; not empty */
	uint8_t hello[PROXY_CAMERA_HELLO]; /* the snapshot for its exporter */
};

/* Sends it; blocks while the agent does not read. 0 or a negative errno (-EPIPE: the agent is gone). */
int proxy_camera_send(int fd, const struct proxy_camera *camera);

/* Receives it. 0: *ret_camera is set and valid; 1: nothing there; -EPROTO: not a valid one; -EPIPE: the other end is closed. */
int proxy_camera_receive(int fd, struct proxy_camera *ret_camera);
