/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The importer's words at the exporter's gate. Pure. */
#pragma once

#include "lib/media/gate.h"
#include "proxies/audio/stream.h"

/* A word has come. 0, or -EPROTO: the importer may not say it now, or not so often. */
int audio_words_take(struct gate *gate, const struct audio_word *word, uint64_t now_usec);
