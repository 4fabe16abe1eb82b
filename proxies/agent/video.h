/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cameras of this qube. Which nodes there are comes from udev (udev.h); what each is is asked of a process without rights
 * (`camera-proxy describe`, lib/proxy/camera.h), as a driver's answers are words of a device. A node is asked when it is new and when
 * udev says that something has happened to it. Nothing here opens a camera so that its lamp would be on.
 */
#pragma once

#include <systemd/sd-event.h>

#include "lib/wire/messages.h"
#include "proxies/agent/identity.h"
#include "proxies/agent/launch.h"
#include "proxies/agent/udev.h"

#define VIDEO_ASKS 4u /* at once; of the nodes of one USB device one */
#define VIDEO_ASK_USEC (2 * USEC_PER_SEC)

struct video;

struct video_settings {
	sd_event *event;
	const struct launch_settings *launch; /* borrowed */
	/* Other cameras are there than before, or others are left out. */
	void (*changed)(void *userdata);
	void *userdata;
};

struct video_camera {
	const char *name;   /* of its node: "video0" */
	const char *reason; /* why it is left out, else NULL: then the rest is there */
	struct identity identity;
	const uint8_t *hello; /* PROXY_CAMERA_HELLO bytes, of which identity.digest is */
};

/* `settings` is copied. 0 or a negative errno. */
int video_new(const struct video_settings *settings, struct video **ret_video);
struct video *video_free(struct video *video); /* kills who is asking; NULL is fine */

/* Something of UDEV_VIDEO was found, or has happened. */
void video_see(struct video *video, const struct udev_sight *sight);

/* Asks anew those that are left out, or all: what they said may not be so any more, and no event tells that. */
void video_ask_again(struct video *video, bool all);

/* Around a look at everything: what is not seen in between is gone. */
void video_look_begin(struct video *video);
void video_look_end(struct video *video);

/* Start with *cursor = 0; false at the end. What *ret_camera points to is valid until the next turn of the loop. */
bool video_next(const struct video *video, size_t *cursor, struct video_camera *ret_camera);

/*
 * The open node of the camera of that port, if it is still the one of `identity`; *ret_hello is as above. OUTCOME_OK, or
 * OUTCOME_NO_DEVICE, OUTCOME_CHANGED, OUTCOME_OPEN_FAILED (logged).
 */
enum outcome video_open(const struct video *video, const struct identity *identity, const uint8_t **ret_hello,
			int *ret_fd);
