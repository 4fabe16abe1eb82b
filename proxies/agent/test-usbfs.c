/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pot of usbfs: never smaller than it was, never too large for the qube. */
#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "proxies/agent/usbfs.h"

#define MIB 1048576ull

static void test_raise(_unused_ void **state)
{
	static const struct {
		const char *before;
		uint64_t ram;
		int r;
		const char *after;
	} rows[] = {
		{"16\n", 400 * MIB, 0, "100\n"},
		{"16\n", 4096 * MIB, 0, "1024\n"},
		{"16\n", 65536 * MIB, 0, "1088\n"}, /* all sessions with all that they may have */
		{"100\n", 400 * MIB, 0, "100\n"},
		{"16\n", 64 * MIB, 0, "16\n"},
		{"16\n", 0, 0, "16\n"},
		{"2000\n", 65536 * MIB, 0, "2000\n"},
		{"0\n", 4096 * MIB, 0, "0\n"}, /* no limit */
		{"", 4096 * MIB, -EINVAL, ""},
		{"many\n", 4096 * MIB, -EINVAL, "many\n"},
	};

	assert_int_equal(LIMIT_USBFS_SHARE / MIB * LIMIT_SESSIONS, 1088);
	assert_true(LIMIT_USBFS_SHARE > LIMIT_IN_FLIGHT);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char path[] = "/tmp/test-usbfs.XXXXXX", text[64] = "";
		int fd = mkstemp(path);

		assert_return_code(fd, errno);
		assert_int_equal(write(fd, rows[i].before, strlen(rows[i].before)), strlen(rows[i].before));
		assert_int_equal(usbfs_raise_memory(path, rows[i].ram), rows[i].r);
		assert_return_code(pread(fd, text, sizeof(text) - 1, 0), errno);
		if (strncmp(text, rows[i].after, strlen(rows[i].after)) != 0)
			fail_msg("row %zu: %s", i, text);
		assert_return_code(close(fd), errno);
		assert_return_code(unlink(path), errno);
	}
	assert_int_equal(usbfs_raise_memory("/tmp/test-usbfs.not-there", 400 * MIB), -ENOENT);
	assert_true(usbfs_ram() > 16 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
