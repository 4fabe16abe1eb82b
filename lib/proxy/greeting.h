/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What comes before a session's stream: the exporter says what its device is, the importer looks at that and says go. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/proxy/session.h"

struct greeting {
	struct session *session;
	/*
	 * Waits once, until then at most, and hears what else there is. OUTCOME_COUNT: go on. NULL: there is nothing but the channel and
	 * the agent.
	 */
	enum outcome (*wait)(void *userdata, uint64_t deadline_usec);
	void *userdata;
};

/* For an importer: exactly `len` bytes. OUTCOME_COUNT: there they are. */
enum outcome greeting_read(const struct greeting *greeting, uint8_t *bytes, size_t len, uint64_t deadline_usec);

/*
 * For an exporter whose hello fits into a new ring: waits for the importer, gives it the hello, and lets `take` (the same
 * userdata) have what it says until *going, TIMEOUT_CONNECT_USEC for each of the two. OUTCOME_COUNT: it goes.
 */
enum outcome greeting_send(const struct greeting *greeting, const uint8_t *hello, size_t len,
			   enum outcome (*take)(void *userdata), const bool *going);
