/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files that know libpulse share: pulse.c (a session's stream), pulse-watch.c (what devices there are), pulse-chosen.c
 * (which microphone is the one).
 */
#pragma once

#include <pulse/pulseaudio.h>

#include "proxies/audio/pulse.h"

struct pulse {
	pa_mainloop *loop;
	pa_context *context;
	struct pulse_hooks hooks;
	void *userdata;
	bool has_clock;
	enum outcome over; /* OUTCOME_OK: not yet */

	/* export: a real device; import: the virtual one, of which is asked whether it is used */
	enum audio_kind kind;
	uint32_t index; /* PA_INVALID_INDEX: none */
	char name[256];
	uint32_t module;
	bool used;
	bool asking, ask_again, playing; /* which programs play, and one was found that does */

	/* pulse-chosen.c */
	bool follows;    /* what is opened is the one that is chosen then */
	uint32_t chosen; /* PA_INVALID_INDEX: none that may be offered */
	char chosen_name[256];

	pa_stream *stream; /* NULL: the device is closed */
	uint64_t n_underflows;

	/* of the wait that is on */
	bool answered, good;

	/* of the turn that is on */
	struct session *session;
	bool want_read, want_write;
	uint64_t deadline_usec;
	int fault;

	/* of a watch */
	bool watches; /* who begins to use a device finds it resumed */
	bool changed; /* something about sources or sinks */
	int other_fd;
};

/* Outside a session: until it was answered. False: it was not, or with no. */
bool pulse_await(struct pulse *pulse, pa_operation *operation);
void pulse_answered(struct pulse *pulse, bool good);

/* A question whose answer comes to its callback, or an order of which nobody waits to hear. */
static inline void pulse_forget(pa_operation *operation)
{
	if (operation)
		pa_operation_unref(operation);
}

/* pulse-watch.c. A program has begun to record (AUDIO_MIC) or to play: this is its stream. */
void pulse_resume_for(struct pulse *pulse, enum audio_kind kind, uint32_t stream);

/* A microphone that may be offered; see pulse_list_sources(). */
bool pulse_is_offered(const pa_source_info *info);

/* pulse-chosen.c. As pulse_find_source(); from then on the session's source is the chosen one. */
int pulse_follow_chosen(struct pulse *pulse);
/* Something has changed: which one is it now? */
void pulse_look_at_chosen(struct pulse *pulse);
/* The session's source is the one that is chosen now. False: there is none. */
bool pulse_take_chosen(struct pulse *pulse);
