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

/* Each thing that is shown counts. */
static void test_approved(void **state _unused_)
{
	static const uint8_t codes[][3] = {{8, 6, 80}, {3, 1, 1}};
	const struct digest_shown shown = {3, 0x0951, 0x1666, 1, codes, "AB12"};
	const struct digest_shown others[] = {
		{5, 0x0951, 0x1666, 1, codes, "AB12"},
		{3, 0x0952, 0x1666, 1, codes, "AB12"},
		{3, 0x0951, 0x1667, 1, codes, "AB12"},
		{3, 0x0951, 0x1666, 2, codes, "AB12"},
		{3, 0x0951, 0x1666, 0, codes, "AB12"},
		{3, 0x0951, 0x1666, 1, codes + 1, "AB12"},
		{3, 0x0951, 0x1666, 1, codes, "AB1"},
		{3, 0x0951, 0x1666, 1, codes, ""},
		{3, 0x0951, 0x1666, 1, codes,
		 "AB12"
		 "x"},
	};
	uint8_t snapshot[DIGEST_SIZE] = {1}, digest[DIGEST_SIZE], other[DIGEST_SIZE];

	digest_approved(snapshot, &shown, digest);
	digest_approved(snapshot, &shown, other);
	assert_memory_equal(digest, other, DIGEST_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		digest_approved(snapshot, &others[i], other);
		assert_memory_not_equal(digest, other, DIGEST_SIZE);
	}
	snapshot[31] = 1;
	digest_approved(snapshot, &shown, other);
	assert_memory_not_equal(digest, other, DIGEST_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_answer),
		cmocka_unit_test(test_text_round_trip_and_faults),
		cmocka_unit_test(test_approved),
	};

	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
