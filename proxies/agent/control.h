/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent's end of the control protocol (lib/wire/messages.h): it serves one channel for domain 0, and when that ends
 * for whatever reason it serves the next one and publishes its number. A broker that breaks the protocol or does not read
 * is cut off; everything that runs in this qube goes on meanwhile.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lib/channel/channel.h"
#include "lib/wire/messages.h"
#include "proxies/agent/publish.h"

struct control;

/* All of them may send and cut; none may free the control. */
struct control_handlers {
	void (*connected)(void *userdata);                                   /* time for HELLO */
	void (*message)(void *userdata, const struct wire_message *message); /* decoded, permitted in its state */
	void (*disconnected)(void *userdata);                                /* what was to be answered never will be */
};

struct control_settings {
	sd_event *event;
	struct channel_backend *backend;
	struct publisher *publisher;
	uint16_t own; /* domain id */
	const struct control_handlers *handlers;
	void *userdata;
};

/* Starts to serve with the next turn of the loop. `settings` is copied. 0 or a negative errno. */
int control_new(const struct control_settings *settings, struct control **ret_control);

/* The broker said WELCOME: events may be sent. */
bool control_is_ready(const struct control *control);

/* Queues a message; one that does not fit cuts the connection. Without a connection it is dropped. */
void control_send(struct control *control, const struct wire_message *message);

/* Bytes that are queued and not yet taken by the channel. */
size_t control_queued(const struct control *control);

/* Ends this connection with the present turn of the loop; `why` (constant) goes to the log. */
void control_cut(struct control *control, const char *why);

/* Says end-of-stream to the broker, waits a moment for it to be seen, withdraws the published number, frees. NULL is allowed. */
struct control *control_free(struct control *control);
