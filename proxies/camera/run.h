/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole camera sessions, and what each end is started with. */
#pragma once

#include "lib/digest/digest.h"
#include "lib/proxy/session.h"
#include "proxies/camera/capture.h"
#include "proxies/camera/modes.h"

struct camera_options {
	struct session_options session;
	const char *serial;              /* describe, export */
	uint16_t vendor, product;        /* the same */
	uint8_t controls[CONTROL_COUNT]; /* export */
	struct mode_wish wish;           /* import */
	uint8_t digest[DIGEST_SIZE];     /* import */
};

/* Of the data channel: pictures one way, words the other. */
extern const struct channel_rings camera_rings;

/* As the only interface that a camera is listed with: video control, USB Video Class 1.5 section A.2. */
extern const uint8_t camera_interface[3];

/* What the camera says of itself now. 0, or CAPTURE_NONE: it is none that we can take. */
int camera_hello_of(struct capture *capture, const struct camera_options *options, struct camera_hello *ret_hello);

/* From the opened fds to the last report. The exit status. */
int camera_export_run(const struct camera_options *options);
int camera_import_run(const struct camera_options *options);
/* Tells the agent what camera PROXY_FD_DATA is: its hello, as one datagram; nothing, if it is none that we can take. */
int camera_describe_run(const struct camera_options *options);
