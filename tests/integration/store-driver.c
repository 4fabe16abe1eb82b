/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives the broker's store for test-store-faults.py, which stops it, makes its system calls fail, or its memory run out.
 *
 *   store-driver DIR run        changes from standard input: "put KIND KEY VALUE", "remove KIND KEY", KIND a number;
 *                               after each a line "done RESULT", then one per record: "has KIND KEY VALUE", then "end"
 *   store-driver DIR check      "has ..." of what a fresh start finds, or "fault SENTENCE"
 *   store-driver DIR recover    "recovered RESULT KEPT LOST"
 *   store-driver DIR many N     that many puts to 1000 changing assignments: "longest BYTES", "start SECONDS"
 *
 * Answers are written with pwrite, which the store does not use, so that it can be told apart. In the environment:
 *
 *   FAIL_MALLOC=N  FAIL_MALLOC=N+    the Nth allocation of the store fails; all from there on
 *   HALF_WRITE=N                     its Nth write writes half and then fails for want of space
 *   HALF_WRITE=N-                    ... and cannot be taken back at once: the next ftruncate fails
 *   HALF_WRITE=N.                    ... and there it dies
 */
#include "lib/base/base.h"
#include "lib/base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "broker/io/store.h"

#define ASSIGNMENTS 1000u
#define INPUT_MAX (1u << 20)

static struct {
	unsigned int fail_from, fail_to, n; /* counted from 1; fail_from 0: never */
	bool counting;                      /* only the store's own */
} memory;
static struct {
	unsigned int fail_at, n; /* as above */
	char then;               /* what HALF_WRITE ends in */
} writes;
static off_t answered;

/* The linker puts the second of each pair in the place of the function itself, see the Makefile. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size);

static bool memory_fails(void)
{
	if (!memory.counting || memory.fail_from == 0)
		return false;
	memory.n++;
	return memory.n >= memory.fail_from && memory.n <= memory.fail_to;
}

void *__wrap_malloc(size_t size)
{
	return memory_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return memory_fails() ? NULL : __real_calloc(n, size);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
	if (fd == STDERR_FILENO || ++writes.n != writes.fail_at)
		return __real_write(fd, bytes, len);
	if (__real_write(fd, bytes, len / 2) < 0)
		exit(3);
	if (writes.then == '.')
		(void)raise(SIGKILL);
	errno = ENOSPC;
	return -1;
}

int __wrap_ftruncate(int fd, off_t size)
{
	if (TAKE(writes.then, '\0') != '-')
		return __real_ftruncate(fd, size);
	errno = EIO;
	return -1;
}

static void read_environment(void)
{
	const char *text = getenv("FAIL_MALLOC");
	char *end;

	if (text) {
		memory.fail_from = (unsigned int)strtoul(text, &end, 10);
		memory.fail_to = *end == '+' ? UINT32_MAX : memory.fail_from;
	}
	text = getenv("HALF_WRITE");
	if (text) {
		writes.fail_at = (unsigned int)strtoul(text, &end, 10);
		writes.then = *end;
	}
}

static void _printf_(1, 2) answer(const char *format, ...)
{
	char line[4096];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (pwrite(STDOUT_FILENO, line, (size_t)len, answered) != len)
		exit(3);
	answered += len;
}

static void show(const struct store *store)
{
	for (unsigned int kind = 0; kind < STORE_KIND_COUNT; kind++) {
		const char *key, *value;
		unsigned int cursor = 0;

		while (store_next(store, (enum store_kind)kind, &cursor, &key, &value))
			answer("has %u %s %s\n", kind, key, value);
	}
}

static struct store *start(int dir)
{
	struct store *store = NULL;
	int r;

	memory.counting = true;
	r = store_new(dir, NULL, &store);
	memory.counting = false;
	if (r == 0)
		return store;
	answer("start %d\n", r);
	exit(r == -ENOMEM ? 0 : 3);
}

static int run(int dir)
{
	static char input[INPUT_MAX];
	size_t len = fread(input, 1, sizeof(input) - 1, stdin);
	char *save = NULL;
	struct store *store;

	input[len] = '\0';
	store = start(dir);
	for (char *line = strtok_r(input, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char verb[8], key[64];
		unsigned int kind;
		int at = 0, r;

		if (sscanf(line, "%7s %u %63s %n", verb, &kind, key, &at) != 3 || kind >= STORE_KIND_COUNT)
			return 3;
		memory.counting = true;
		r = strcmp(verb, "put") == 0 ? store_put(store, (enum store_kind)kind, key, line + at)
					     : store_remove(store, (enum store_kind)kind, key);
		memory.counting = false;
		answer("done %d\n", r);
	}
	show(store);
	answer("end\n");
	store = store_free(store);
	return 0;
}

static int check(int dir)
{
	struct store *store = start(dir);

	if (store_fault(store))
		answer("fault %s\n", store_fault(store));
	show(store);
	store = store_free(store);
	return 0;
}

static int recover(int dir)
{
	unsigned int n_kept = 0, n_lost = 0;
	int r;

	memory.counting = true;
	r = store_recover(dir, NULL, &n_kept, &n_lost);
	memory.counting = false;
	answer("recovered %d %u %u\n", r, n_kept, n_lost);
	return 0;
}

static double now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int many(int dir, const char *count)
{
	unsigned long n = strtoul(count, NULL, 10);
	struct store *store = start(dir);
	off_t longest = 0;
	double began;

	for (unsigned long i = 0; i < n; i++) {
		char key[128], value[256];
		struct stat st;

		(void)snprintf(key, sizeof(key), "work usb sys-usb 1-%lu 0781:5581:AB12:u080650", i % ASSIGNMENTS);
		(void)snprintf(value, sizeof(value),
			       "{\"target\":\"work\",\"class\":\"usb\",\"source\":\"sys-usb\",\"max-time-usec\":%lu}",
			       i);
		if (store_put(store, STORE_ASSIGNMENT, key, value) != 0)
			return 3;
		if (i % 16 == 0 && fstatat(dir, "state.journal", &st, 0) == 0 && st.st_size > longest)
			longest = st.st_size;
	}
	store = store_free(store);
	began = now();
	store = start(dir);
	answer("start %.6f\n", now() - began);
	if (store_fault(store))
		answer("fault %s\n", store_fault(store));
	answer("longest %lld\n", (long long)longest);
	store = store_free(store);
	return 0;
}

int main(int argc, char **argv)
{
	int dir = argc >= 3 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (dir < 0)
		return 2;
	(void)signal(SIGXFSZ, SIG_IGN);
	read_environment();
	if (strcmp(argv[2], "run") == 0)
		return run(dir);
	if (strcmp(argv[2], "check") == 0)
		return check(dir);
	if (strcmp(argv[2], "recover") == 0)
		return recover(dir);
	return argc == 4 ? many(dir, argv[3]) : 2;
}
