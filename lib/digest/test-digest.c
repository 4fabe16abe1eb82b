/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/digest/digest.h"

/* FIPS 180-2, appendix B.1 */
static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void test_known_answer(void **state _unused_)
{
	uint8_t digest[DIGEST_SIZE];
	char text[2 * DIGEST_SIZE + 1];

	digest_sha256("abc", 3, digest);
	digest_to_hex(digest, text);
	assert_string_equal(text, abc);
}

static void test_text_round_trip_and_faults(void **state _unused_)
{
	static const char *const bad[] = {
		"",
		"ba7816bf",
		"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ag",
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
	};
	uint8_t digest[DIGEST_SIZE], kept[DIGEST_SIZE];
	char text[2 * DIGEST_SIZE + 1];

	assert_int_equal(digest_from_hex(abc, digest), 0);
	digest_to_hex(digest, text);
	assert_string_equal(text, abc);
	memcpy(kept, digest, sizeof(kept));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(digest_from_hex(bad[i], digest), -EINVAL);
		assert_memory_equal(digest, kept, sizeof(kept)); /* untouched on failure */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_answer),
		cmocka_unit_test(test_text_round_trip_and_faults),
	};

	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
