/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the importer says START and STOP: as programs in the target begin and end to use the device. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/media/gate.h"

struct starter {
	bool wanted;              /* by a program */
	bool told;                /* what the exporter knows of that */
	uint32_t run;             /* the last that it was told of */
	uint64_t rest_until_usec; /* no START before that */
};

/*
 * True: the exporter is to be told what `told` and `run` are now, and knows it from now on. Call it only when there is room for that.
 * A program that begins and ends without end is told of no more often than MEDIA_REST_USEC.
 */
bool starter_tell(struct starter *core, uint64_t now_usec);

/* When there is something to tell that must not be told yet; UINT64_MAX: there is not. */
uint64_t starter_deadline(const struct starter *core, uint64_t now_usec);
