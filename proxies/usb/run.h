/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole USB sessions, and what each end is started with. */
#pragma once

#include "lib/digest/digest.h"
#include "lib/proxy/session.h"

struct usb_options {
	struct session_options session;
	uint32_t devid;              /* export */
	uint8_t configuration;       /* export: that the kernel has the device in; 0: none */
	uint8_t digest[DIGEST_SIZE]; /* import */
};

/* Of the data channel. */
extern const struct channel_rings usb_rings;

/* From the opened fds to the last report. The exit status. */
int export_run(const struct usb_options *options);
int import_run(const struct usb_options *options);
