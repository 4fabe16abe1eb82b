// SPDX-License-Identifier: GPL-2.0-or-later
/* What the broker's account is given when root is given up, and what not. Needs root; a child gives it up. */
#include "tests/unit.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "broker/io/privilege.h"
#include "lib/base/base.h"

#define ACCOUNT "nobody"

static void make_file(int dir, const char *name)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
}

static uid_t owner_of(int dir, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_uid;
}

static void drop_in_child(int dir, const char *path)
{
	char socket_path[64];
	pid_t pid = fork();
	int status;

	(void)snprintf(socket_path, sizeof(socket_path), "%s/run/admin.sock", path);
	if (pid == 0) {
		const struct privilege_needs needs = {
			.user = ACCOUNT, .must_exist = true, .socket_path = socket_path, .state_dir = dir};

		_exit(privilege_drop(&needs) == 0 && setuid(0) < 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_files(void **unused _unused_)
{
	static const char *const ours[] = {"audit.log", "lock", "audit-00000000000000000001.log"};
	static const char *const all[] = {
		"audit.log",     "lock",       "audit-00000000000000000001.log", "other", "state.torn",
		"state.journal", "audit.torn", "audit-00000000000000000009.log"};
	const struct passwd *account = getpwnam(ACCOUNT);
	char path[] = "/tmp/test-privilege-XXXXXX";
	int dir;

	if (geteuid() != 0 || !account)
		skip();
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		make_file(dir, ours[i]);
	make_file(dir, "other");
	assert_int_equal(linkat(dir, "other", dir, "state.journal", 0), 0);
	assert_int_equal(symlinkat("other", dir, "state.torn"), 0);
	assert_int_equal(mkfifoat(dir, "audit.torn", 0600), 0);
	assert_int_equal(linkat(dir, "other", dir, "audit-00000000000000000009.log", 0), 0);
	drop_in_child(dir, path);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		assert_int_equal(owner_of(dir, ours[i]), account->pw_uid);
	for (size_t i = ARRAY_SIZE(ours); i < ARRAY_SIZE(all); i++)
		assert_int_equal(owner_of(dir, all[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		(void)unlinkat(dir, all[i], 0);
	(void)unlinkat(dir, "run", AT_REMOVEDIR);
	(void)close(dir);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_files)};

	return cmocka_run_group_tests_name("privilege", tests, NULL, NULL);
}
