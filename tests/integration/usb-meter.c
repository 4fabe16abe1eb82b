/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times a USB device as its user sees it, for tests/bench/run: one number on standard output.
 *
 *   usb-meter read    BLOCKDEV MIB       MB/s, sequential, O_DIRECT, 1 MiB requests
 *   usb-meter write   BLOCKDEV MIB       MB/s, the same
 *   usb-meter random  BLOCKDEV COUNT     ms, median of 4 KiB reads at random places, O_DIRECT
 *   usb-meter control USBFSNODE COUNT    ms, median round trip of GET_STATUS(device)
 *   usb-meter wait    BUS       SECONDS  waits for a disk on a bus whose sysfs path has BUS in it; prints its node, its USB
 *                                        device's node, and the seconds from the one's to the other's being there
 */
#include "lib/base/base.h"
#include "lib/base/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/usbdevice_fs.h>

#define MIB ((size_t)1 << 20)
#define SMALL 4096u
#define MAX_SAMPLES 10000u
#define POLL_USEC 5000 /* of a wait: short beside what is waited for, and it starts no process */

static int fail(const char *what)
{
	fprintf(stderr, "usb-meter: %s: %s\n", what, strerror(errno));
	return 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int print_median(double *seconds, size_t n)
{
	qsort(seconds, n, sizeof(*seconds), compare);
	printf("%.3f\n", seconds[n / 2] * 1e3);
	return 0;
}

static int sequential(int fd, size_t count, bool write_it)
{
	_cleanup_free_ void *buffer = aligned_alloc(SMALL, MIB);
	double start;

	if (!buffer)
		return fail("memory");
	memset(buffer, 0x5a, MIB);
	start = now();
	for (size_t i = 0; i < count; i++) {
		ssize_t n =
			write_it ? pwrite(fd, buffer, MIB, (off_t)(i * MIB)) : pread(fd, buffer, MIB, (off_t)(i * MIB));

		if (n != (ssize_t)MIB)
			return fail(write_it ? "write" : "read");
	}
	if (write_it && fsync(fd) < 0)
		return fail("fsync");
	printf("%.3f\n", (double)(count * MIB) / 1e6 / (now() - start));
	return 0;
}

static int random_reads(int fd, size_t count)
{
	static double seconds[MAX_SAMPLES];
	_cleanup_free_ void *buffer = aligned_alloc(SMALL, SMALL);
	uint64_t size, state = 88172645463325252ull;

	if (!buffer || ioctl(fd, BLKGETSIZE64, &size) < 0 || size < SMALL)
		return fail("size");
	for (size_t i = 0; i < count; i++) {
		double start;

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		start = now();
		if (pread(fd, buffer, SMALL, (off_t)(state % (size / SMALL) * SMALL)) != SMALL)
			return fail("read");
		seconds[i] = now() - start;
	}
	return print_median(seconds, count);
}

static int control_transfers(int fd, size_t count)
{
	static double seconds[MAX_SAMPLES];

	for (size_t i = 0; i < count; i++) {
		uint8_t status[2];
		struct usbdevfs_ctrltransfer transfer = {
			.bRequestType = 0x80,
			.bRequest = 0, /* GET_STATUS */
			.wLength = sizeof(status),
			.timeout = 5000,
			.data = status,
		};
		double start = now();

		if (ioctl(fd, USBDEVFS_CONTROL, &transfer) != (int)sizeof(status))
			return fail("GET_STATUS");
		seconds[i] = now() - start;
	}
	return print_median(seconds, count);
}

/* The entries of a directory of /sys, as absolute paths, that `wanted` agrees with; the first one. False: none. */
static bool find_in_sysfs(const char *directory, bool (*wanted)(const char *path, const char *bus), const char *bus,
			  char ret_path[PATH_MAX])
{
	DIR *d = opendir(directory);
	bool found = false;
	struct dirent *entry;

	while (d && !found && (entry = readdir(d)) != NULL) {
		char link[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(link, sizeof(link), "%s/%s", directory, entry->d_name);
		found = realpath(link, ret_path) != NULL && wanted(ret_path, bus);
	}
	if (d)
		(void)closedir(d);
	return found;
}

static long long attribute(const char *path, const char *name)
{
	char file[PATH_MAX + 32], text[32] = "";
	FILE *f;

	(void)snprintf(file, sizeof(file), "%s/%s", path, name);
	f = fopen(file, "re");
	if (!f)
		return -1;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	(void)fclose(f);
	return text[0] >= '0' && text[0] <= '9' ? strtoll(text, NULL, 10) : -1;
}

/* A configured USB device on this bus that is no hub. */
static bool is_device(const char *path, const char *bus)
{
	return strstr(path, bus) && attribute(path, "bConfigurationValue") > 0 && attribute(path, "maxchild") == 0;
}

static bool is_disk(const char *path, const char *bus)
{
	char node[PATH_MAX];
	int fd;

	if (!strstr(path, bus) || attribute(path, "size") <= 0)
		return false;
	(void)snprintf(node, sizeof(node), "/dev/%s", strrchr(path, '/') + 1);
	fd = open(node, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

static int wait_disk(const char *bus, double seconds)
{
	char device[PATH_MAX], disk[PATH_MAX];
	double start = now(), there = 0;

	while (!find_in_sysfs("/sys/block", is_disk, bus, disk)) {
		if (there == 0 && find_in_sysfs("/sys/bus/usb/devices", is_device, bus, device))
			there = now();
		if (now() - start > seconds) {
			errno = ETIMEDOUT;
			return fail(bus);
		}
		(void)usleep(POLL_USEC);
	}
	if (there == 0 && find_in_sysfs("/sys/bus/usb/devices", is_device, bus, device))
		there = now();
	printf("/dev/%s /dev/bus/usb/%03lld/%03lld %.3f\n", strrchr(disk, '/') + 1, attribute(device, "busnum"),
	       attribute(device, "devnum"), now() - there);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_close_ int fd = -1;
	unsigned long count = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
	bool control = argc == 4 && strcmp(argv[1], "control") == 0;

	if (count == 0 || count > MAX_SAMPLES) {
		fprintf(stderr, "usage: usb-meter read|write|random|control|wait DEVICE COUNT (1..%u)\n", MAX_SAMPLES);
		return 2;
	}
	if (strcmp(argv[1], "wait") == 0)
		return wait_disk(argv[2], (double)count);
	fd = open(argv[2], O_RDWR | O_CLOEXEC | (control ? 0 : O_DIRECT));
	if (fd < 0)
		return fail(argv[2]);
	if (control)
		return control_transfers(fd, count);
	if (strcmp(argv[1], "random") == 0)
		return random_reads(fd, count);
	return sequential(fd, count, strcmp(argv[1], "write") == 0);
}
