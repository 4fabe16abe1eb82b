/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the importer may say when, at the exporter's end, and whether the device is to be open. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/rate.h"
#include "proxies/audio/stream.h"

#define GATE_STARTS_PER_SECOND (USEC_PER_SEC / AUDIO_REST_USEC)
#define GATE_STARTS_BURST 32u /* what a qube that stood still may say at once */

struct gate {
	bool going;  /* GO was said */
	bool wanted; /* a run is on */
	bool muted;  /* by dom0: the device is closed all the same */
	uint32_t run;
	struct rate starts;
};

void gate_init(struct gate *core, uint64_t now_usec);

/* A GO, START or STOP has come. 0, or -EPROTO: the importer may not say it now, or not so often. */
int gate_word(struct gate *core, const struct audio_word *word, uint64_t now_usec);

/* Whether the device is to be open. */
bool gate_is_open(const struct gate *core);
