/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256, by nettle. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32u

void digest_sha256(const void *bytes, size_t len, uint8_t ret_digest[DIGEST_SIZE]);

/* What the broker showed of a device, and what an importer finds in its snapshot. */
struct digest_shown {
	uint8_t speed; /* enum wire_speed */
	uint16_t vendor, product;
	uint8_t n_interfaces;
	const uint8_t (*interfaces)[3]; /* n_interfaces codes, in order; the device's own class among them */
	const char *serial;             /* "" if there is none */
};

/*
 * The digest that a user's approval stands for: of a snapshot and of what was shown. A device qube that shows one device and
 * has the snapshot of another is found out by the importer, which makes the second part anew from the snapshot itself; the
 * broker cannot, for it reads no descriptors.
 */
void digest_approved(const uint8_t snapshot_digest[DIGEST_SIZE], const struct digest_shown *shown,
		     uint8_t ret_digest[DIGEST_SIZE]);

/* An importer's question: is `approved` the digest_approved() of this snapshot? */
bool digest_is_approved(const void *snapshot, size_t len, const struct digest_shown *shown,
			const uint8_t approved[DIGEST_SIZE]);

/* 64 hexadecimal digits and a NUL. */
void digest_to_hex(const uint8_t digest[DIGEST_SIZE], char ret_text[2 * DIGEST_SIZE + 1]);

/* 0, or -EINVAL when `text` is not exactly 64 lower-case hexadecimal digits. */
int digest_from_hex(const char *text, uint8_t ret_digest[DIGEST_SIZE]);
