// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rig-tool: the few things that a scenario needs in a domain and busybox does not have.
 *
 *   rig-tool kmsg SEQ           kernel log records from number SEQ on: "<seq>,<level>,<usec>;<text>" a line, then ends
 *   rig-tool evread DEV N SEC   N input events of an event device: "<type> <code> <value>" a line; fails after SEC seconds
 *   rig-tool tty DEV            standard input to a serial line in raw mode, the line to standard output, until killed
 *                               or until the line hangs up
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static int64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int tool_kmsg(char **argv)
{
	unsigned long long from = strtoull(argv[0], NULL, 10), seq, usec;
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	unsigned int level;
	char buf[8192];

	if (fd < 0)
		return 1;
	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf) - 1);
		char *text;

		if (n < 0 && errno == EPIPE)
			continue; /* the oldest records were overwritten meanwhile */
		if (n <= 0)
			break;
		buf[n] = 0;
		text = strchr(buf, ';');
		if (!text || sscanf(buf, "%u,%llu,%llu", &level, &seq, &usec) != 3 || seq < from)
			continue;
		text[strcspn(text, "\n")] = 0;
		printf("%llu,%u,%llu%s\n", seq, level & 7, usec, text);
	}
	return fflush(stdout) ? 1 : 0;
}

static int tool_evread(char **argv)
{
	int fd = open(argv[0], O_RDONLY | O_NONBLOCK);
	long n_events = strtol(argv[1], NULL, 10);
	int64_t end = now_msec() + strtol(argv[2], NULL, 10) * 1000;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct input_event event;

	if (fd < 0) {
		perror(argv[0]);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (n_events > 0) {
		int64_t left = end - now_msec();

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return 1;
		if (read(fd, &event, sizeof(event)) != sizeof(event))
			return 1;
		if (event.type == EV_SYN || event.type == EV_MSC)
			continue;
		printf("%u %u %d\n", event.type, event.code, event.value);
		fflush(stdout);
		n_events--;
	}
	return 0;
}

static int copy(int from, int to)
{
	char buf[4096];
	ssize_t n = read(from, buf, sizeof(buf)), done = 0;

	if (n <= 0)
		return n < 0 && errno == EAGAIN ? 1 : 0;
	while (done < n) {
		ssize_t w = write(to, buf + done, (size_t)(n - done));

		if (w < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){.fd = to, .events = POLLOUT}, 1, 1000);
			continue;
		}
		if (w < 0)
			return 0;
		done += w;
	}
	return 1;
}

static int tool_tty(char **argv)
{
	int fd = open(argv[0], O_RDWR | O_NOCTTY | O_NONBLOCK);
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
	struct termios t;

	if (fd < 0 || tcgetattr(fd, &t) < 0) {
		perror(argv[0]);
		return 1;
	}
	cfmakeraw(&t);
	cfsetspeed(&t, B115200);
	t.c_cflag |= CLOCAL;
	tcsetattr(fd, TCSANOW, &t);
	for (;;) {
		if (poll(p, 2, -1) < 0)
			return 1;
		if (p[0].revents && !copy(fd, 1))
			return 0;
		if (p[1].revents && !copy(0, fd))
			p[1].fd = -1;
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "kmsg"))
		return tool_kmsg(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "evread"))
		return tool_evread(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "tty"))
		return tool_tty(argv + 2);
	fputs("usage: rig-tool kmsg SEQ | evread DEVICE N SECONDS | tty DEVICE\n", stderr);
	return 2;
}
