/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The importer's words at the exporter's end. Pure. */
#pragma once

#include "lib/media/gate.h"
#include "proxies/camera/feed.h"

/*
 * A word has come, of a camera that has so many modes. 0, or -EPROTO: the importer may not say it now, or not so often. *ret_mode is
 * GO's (else as it was); *ret_buffer goes back to the camera, FEED_NONE: none does.
 */
int camera_words_take(struct gate *gate, struct feed *feed, uint8_t n_modes, const struct camera_word *word,
		      uint64_t now_usec, uint8_t *ret_mode, int *ret_buffer);
