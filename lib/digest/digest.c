/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/digest/digest.h"

#include <errno.h>
#include <string.h>

#include <nettle/sha2.h>

#include "lib/base/base.h"
#include "lib/base/text.h"

_Static_assert(DIGEST_SIZE == SHA256_DIGEST_SIZE, "digest size");

void digest_sha256(const void *bytes, size_t len, uint8_t ret_digest[DIGEST_SIZE])
{
	struct sha256_ctx context;

	sha256_init(&context);
	sha256_update(&context, len, bytes);
	sha256_digest(&context, DIGEST_SIZE, ret_digest);
}

void digest_approved(const uint8_t snapshot_digest[DIGEST_SIZE], const struct digest_shown *shown,
		     uint8_t ret_digest[DIGEST_SIZE])
{
	uint8_t head[6] = {shown->speed};
	struct sha256_ctx context;

	put_le16(head + 1, shown->vendor);
	put_le16(head + 3, shown->product);
	head[5] = shown->n_interfaces;
	sha256_init(&context);
	sha256_update(&context, DIGEST_SIZE, snapshot_digest);
	sha256_update(&context, sizeof(head), head);
	sha256_update(&context, 3 * (size_t)shown->n_interfaces, (const uint8_t *)shown->interfaces);
	sha256_update(&context, strlen(shown->serial), (const uint8_t *)shown->serial);
	sha256_digest(&context, DIGEST_SIZE, ret_digest);
}

bool digest_is_approved(const void *snapshot, size_t len, const struct digest_shown *shown,
			const uint8_t approved[DIGEST_SIZE])
{
	uint8_t digest[DIGEST_SIZE];

	digest_sha256(snapshot, len, digest);
	digest_approved(digest, shown, digest);
	return memcmp(digest, approved, DIGEST_SIZE) == 0;
}

void digest_to_hex(const uint8_t digest[DIGEST_SIZE], char ret_text[2 * DIGEST_SIZE + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		ret_text[2 * i] = digits[digest[i] >> 4];
		ret_text[2 * i + 1] = digits[digest[i] & 15];
	}
	ret_text[2 * DIGEST_SIZE] = '\0';
}

int digest_from_hex(const char *text, uint8_t ret_digest[DIGEST_SIZE])
{
	uint8_t digest[DIGEST_SIZE];

	if (strlen(text) != 2 * (size_t)DIGEST_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		int high = text_hex_digit(text[2 * i]), low = text_hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret_digest, digest, DIGEST_SIZE);
	return 0;
}
