/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the importer says START and STOP: as programs in the target begin and end to record or to play. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proxies/audio/stream.h"

struct starter {
	bool wanted; /* by a program */
	bool told;   /* what the exporter knows of that */
	uint32_t run;
	uint64_t rest_until_usec; /* no START before that */
};

/*
 * True: the exporter is to be told so with this word, and knows it from now on. Call it only when there is room for that. A program
 * that begins and ends without end is told of no more often than AUDIO_REST_USEC.
 */
bool starter_tell(struct starter *core, uint64_t now_usec, uint8_t word[AUDIO_WORD]);

/* When there is something to tell that must not be told yet; UINT64_MAX: there is not. */
uint64_t starter_deadline(const struct starter *core, uint64_t now_usec);
