/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the importer of sound or pictures may say when, at the exporter's end, and whether the device is to be open. Pure.
 *
 * GO once, then START and STOP in turn: what is between them is a run. Runs are numbered from 1 up without a gap. An importer lets
 * MEDIA_REST_USEC pass from one START to the next.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/limits.h"
#include "lib/base/rate.h"

#define MEDIA_REST_USEC (100 * USEC_PER_MSEC)
#define GATE_STARTS_PER_SECOND (USEC_PER_SEC / MEDIA_REST_USEC)
#define GATE_STARTS_BURST 32u /* what a qube that stood still may say at once */

struct gate {
	bool going;  /* GO was said */
	bool wanted; /* a run is on */
	bool muted;  /* by dom0: the device is closed all the same */
	uint32_t run;
	struct rate starts;
};

void gate_init(struct gate *core, uint64_t now_usec);

/* The word has come. 0, or -EPROTO: the importer may not say it now, or not so often. */
int gate_go(struct gate *core);
int gate_start(struct gate *core, uint32_t untrusted_run, uint64_t now_usec);
int gate_stop(struct gate *core, uint32_t untrusted_run);

/* Whether the device is to be open. */
bool gate_is_open(const struct gate *core);
