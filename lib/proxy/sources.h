/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `audio-proxy watch` tells the agent that started it, over a SOCK_SEQPACKET pair (fd PROXY_FD_REPORT in the proxy): all
 * microphones and speakers of one sound server, again after each change of them: BEGIN, SOURCE*, END. Every datagram is one struct of
 * fixed size in the machine's own byte order. When the agent's end closes the watcher exits.
 */
#pragma once

#include <stdint.h>

#include "lib/base/limits.h"

#define PROXY_SOURCE_NAME 256u
/* With which the names of our virtual microphones and speakers begin; the session follows, in hex. */
#define PROXY_SOUND_PREFIX "qdb."
/* In place of a source's name: the one that the server's user has chosen, whichever that is when it is opened. */
#define PROXY_SOURCE_CHOSEN "@DEFAULT_SOURCE@"
#define PROXY_HELLO 272u /* AUDIO_HELLO of proxies/audio/stream.h, of which this is all that others know */

/* As enum audio_kind of proxies/audio/stream.h. */
enum proxy_source_kind { PROXY_SOURCE_MIC = 1, PROXY_SOURCE_SPEAKER = 2 };
enum proxy_source_type { PROXY_SOURCES_BEGIN = 1, PROXY_SOURCE = 2, PROXY_SOURCES_END = 3 };

/* The texts are printable ASCII, ended by a NUL, with zeros to their ends; all but `type` is 0 unless that is SOURCE. */
struct proxy_source {
	uint8_t type;                   /* enum proxy_source_type */
	uint8_t kind;                   /* enum proxy_source_kind */
	uint16_t vendor, product;       /* 0: it has none */
	char source[PROXY_SOURCE_NAME]; /* its name at the server; not empty */
	char serial[LIMIT_TEXT + 1];
	char name[LIMIT_TEXT + 1];    /* what people call it; not empty */
	char parent[LIMIT_PORT_TEXT]; /* the USB port of what the sound card is part of; empty: none is known */
	uint8_t hello[PROXY_HELLO];   /* the snapshot for its exporter */
};

/*
 * The USB port of the device that what is at this place in sysfs is part of, or "": of ".../2-1/2-1:1.0/sound/card1" it is "2-1".
 */
void proxy_source_parent(const char *untrusted_path, char ret_parent[LIMIT_PORT_TEXT]);

/* Sends one; blocks while the agent does not read. 0 or a negative errno (-EPIPE: the agent is gone). */
int proxy_source_send(int fd, const struct proxy_source *source);

/* Receives one. 0: *ret_source is set and valid; 1: nothing there; -EPROTO: not a valid one; -EPIPE: the watcher is gone. */
int proxy_source_receive(int fd, struct proxy_source *ret_source);
