// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes a program's memory run out: a library for LD_PRELOAD, used by test-crash.py on the real broker, so that the
 * allocations of the libraries that it uses are among those that fail.
 *
 *   QDB_STARVE=N  QDB_STARVE=N+    the Nth allocation fails; all from there on; 0: none
 *   QDB_STARVE_LOG=FILE            "N (INJECTED)" for the first that failed, and at the program's end how many there were
 *
 * Counted from the program's first flock() on: with that it has begun its work, and what the linker and the libraries'
 * own beginnings allocate is not its business.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static struct {
	bool counting;
	unsigned long n, fail_from, fail_to; /* counted from 1 */
} memory;

/* The next one of that name: the C library's, or a sanitizer's. */
#define NEXT(name)                     \
	static __typeof__(name) *next; \
	if (!next)                     \
		*(void **)&next = dlsym(RTLD_NEXT, #name);

static void report(const char *what, unsigned long n)
{
	const char *path = getenv("QDB_STARVE_LOG");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	char line[64];
	int len = snprintf(line, sizeof(line), "%lu %s\n", n, what);

	if (fd < 0)
		return;
	if (write(fd, line, (size_t)len) != len)
		abort();
	(void)close(fd);
}

static bool fails(void)
{
	if (!memory.counting)
		return false;
	memory.n++;
	if (memory.n < memory.fail_from || memory.n > memory.fail_to)
		return false;
	if (memory.n == memory.fail_from)
		report("(INJECTED)", memory.n);
	errno = ENOMEM;
	return true;
}

int flock(int fd, int operation)
{
	const char *text = getenv("QDB_STARVE");
	char *end;

	NEXT(flock)
	if (text && !memory.counting) {
		memory.fail_from = strtoul(text, &end, 10);
		memory.fail_to = *end == '+' ? (unsigned long)-1 : memory.fail_from;
		if (memory.fail_from == 0)
			memory.fail_to = 0;
		memory.counting = true;
	}
	return next(fd, operation);
}

static void __attribute__((destructor)) end(void)
{
	if (memory.counting)
		report("allocations", memory.n);
	memory.counting = false;
}

void *malloc(size_t size)
{
	NEXT(malloc)
	return fails() ? NULL : next(size);
}

void *calloc(size_t n, size_t size)
{
	NEXT(calloc)
	return fails() ? NULL : next(n, size);
}

void *realloc(void *old, size_t size)
{
	NEXT(realloc)
	return fails() ? NULL : next(old, size);
}

int posix_memalign(void **ret_bytes, size_t alignment, size_t size)
{
	NEXT(posix_memalign)
	return fails() ? ENOMEM : next(ret_bytes, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	NEXT(aligned_alloc)
	return fails() ? NULL : next(alignment, size);
}

/* With a sanitizer these do not come by malloc(). */
char *strdup(const char *text)
{
	NEXT(strdup)
	return fails() ? NULL : next(text);
}

char *strndup(const char *text, size_t max)
{
	NEXT(strndup)
	return fails() ? NULL : next(text, max);
}
