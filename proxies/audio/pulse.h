/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sound server of this qube, PulseAudio or PipeWire's pipewire-pulse, through libpulse; the only files that know it. One
 * connection for the life of the proxy, made before the rights are given up; when the server ends, so does the session.
 *
 * PulseAudio's module-pipe-source passes on what is written into its pipe at once, and has no clock of its own. PipeWire's
 * reads it at the pace of its graph's clock (has_clock).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/proxy/session.h"
#include "proxies/audio/stream.h"

struct pulse;

/* An exporter's are `heard` or `opened`, of a real device; an importer's `used`, of a virtual one, and of a speaker `heard`. */
struct pulse_hooks {
	/* The source, or what is played to the virtual speaker: whole frames, of the format that was asked for. */
	void (*heard)(void *userdata, const uint8_t *frames, size_t len);
	/* The real speaker takes what is played from now on. */
	void (*opened)(void *userdata);
	/* Programs record from the virtual microphone, or play to the virtual speaker, or none does any more. */
	void (*used)(void *userdata, bool used);
};

/*
 * Connects to `server` ("unix:/run/user/1000/pulse/native"; NULL: as libpulse finds it) as `owner`, its user: the real uid is
 * that for a moment, if we are root. 0, OUTCOME_NO_SOUND or a negative errno; why is logged.
 */
int pulse_new(const char *server, uid_t owner, const struct pulse_hooks *hooks, void *userdata,
	      struct pulse **ret_pulse);
struct pulse *pulse_free(struct pulse *pulse);

bool pulse_has_clock(const struct pulse *pulse);

/*
 * Finds the source or the sink of that name. 0, OUTCOME_NO_DEVICE or another outcome. It is not opened. Who uses a virtual one is told
 * from then on. With PROXY_SOURCE_CHOSEN each opening takes the source that the user has chosen by then, and no other while it is
 * open.
 */
int pulse_find(struct pulse *pulse, enum audio_kind kind, const char *name);
/* The same for what a module has just been loaded for: PipeWire answers before it is there, on a busy machine long before. */
int pulse_await_device(struct pulse *pulse, enum audio_kind kind, const char *name);

/*
 * Opens it, or closes it (and has the server let go of a real one at once, if nobody else uses it): a source to hear it, a real sink
 * to play there, a virtual one to hear what others play there. 0, or an outcome (OUTCOME_UNPLUGGED: none is chosen that may be offered).
 */
int pulse_open(struct pulse *pulse, const struct audio_hello *hello, bool open);

/* Once the sink is opened: how many bytes wait that it has not played, and more of them. False: it takes none. */
size_t pulse_waiting(struct pulse *pulse);
bool pulse_play(struct pulse *pulse, const uint8_t *frames, size_t len);

/*
 * Makes a virtual microphone, which reads `pipe`, a path where the server makes a FIFO, or a virtual speaker. 0, or an outcome.
 */
int pulse_make(struct pulse *pulse, const char *name, const char *pipe, const struct audio_hello *hello);
/* Takes it away, if the server still hears us. */
void pulse_remove(struct pulse *pulse);

/*
 * One turn: session_wait(), and whatever the server said. OUTCOME_COUNT: go on; else the server (OUTCOME_NO_SOUND) or the device
 * (OUTCOME_UNPLUGGED) is gone, or it is OUTCOME_STOPPED.
 */
enum outcome pulse_turn(struct pulse *pulse, struct session *session, bool want_read, bool want_write,
			uint64_t deadline_usec);

/* ---- a watch: no session, no hooks ---- */

/*
 * A microphone or a speaker. The name is what the server calls it, `parent` the USB port of the device that it is part of (or ""), `hello` what its
 * exporter would say.
 */
struct pulse_source {
	char name[256];
	char parent[LIMIT_PORT_TEXT];
	struct audio_hello hello;
};

/*
 * The microphones and speakers: sources and sinks of hardware, or that say of themselves that they are to be offered (property
 * qdb.offer=yes), and are not a sink's monitor, nor our own. Sorted; at most `max`. 0 or OUTCOME_NO_SOUND.
 */
int pulse_list_sources(struct pulse *pulse, struct pulse_source *ret_sources, size_t max, size_t *ret_n);

/* The one that the user has chosen, as PROXY_SOURCE_CHOSEN, with a hello that is the same for all; *ret_n 0: none. The same. */
int pulse_list_chosen(struct pulse *pulse, struct pulse_source *ret_source, size_t *ret_n);

/*
 * Waits until something about sources or sinks has changed (true), or `fd` can be read or the server is gone (false). From the first
 * call on a program of this qube that begins to use one of them finds it resumed, if it was suspended.
 */
bool pulse_wait_for_sources(struct pulse *pulse, int fd);

/* Removes the virtual device of that name, which a killed importer has left; NULL: all, which a killed agent's have. */
void pulse_remove_leftovers(struct pulse *pulse, const char *name);
