/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256, by nettle. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32u

void digest_sha256(const void *bytes, size_t len, uint8_t ret_digest[DIGEST_SIZE]);

/* 64 hexadecimal digits and a NUL. */
void digest_to_hex(const uint8_t digest[DIGEST_SIZE], char ret_text[2 * DIGEST_SIZE + 1]);

/* 0, or -EINVAL when `text` is not exactly 64 lower-case hexadecimal digits. */
int digest_from_hex(const char *text, uint8_t ret_digest[DIGEST_SIZE]);
