/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes a program's clock fast or slow: a library for LD_PRELOAD. A sound server with it is one whose sound card has its own idea
 * of a second; PipeWire without a card goes by the monotonic clock and timers of absolute time.
 *
 *   QDB_CLOCK_PPM=N    by so much, in millionths; negative: slow
 *
 * The clock is right at the boot and goes away from there, in every program that has this alike.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>

#define NSEC_PER_SEC 1000000000

/* The next one of that name: the C library's. */
#define NEXT(name)                     \
	static __typeof__(name) *next; \
	if (!next)                     \
		*(void **)&next = dlsym(RTLD_NEXT, #name);

static double ppm(void)
{
	const char *text = getenv("QDB_CLOCK_PPM");

	return text ? strtod(text, NULL) : 0;
}

/* Times by (1 + parts); times that are "never", or at once, stay what they are. */
static struct timespec stretched(struct timespec time, double parts)
{
	long long nsec = (long long)time.tv_sec * NSEC_PER_SEC + time.tv_nsec;

	nsec += (long long)((double)nsec * parts);
	return (struct timespec){.tv_sec = nsec / NSEC_PER_SEC, .tv_nsec = nsec % NSEC_PER_SEC};
}

int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	NEXT(clock_gettime);
	int r = next(clock, ret_time);

	if (r == 0 && clock == CLOCK_MONOTONIC)
		*ret_time = stretched(*ret_time, ppm() / 1e6);
	return r;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new_time, struct itimerspec *ret_old)
{
	struct itimerspec real = *new_time;
	double parts = ppm() / 1e6;

	NEXT(timerfd_settime);
	if (flags & TFD_TIMER_ABSTIME)
		real.it_value = stretched(real.it_value, -parts / (1 + parts));
	return next(fd, flags, &real, ret_old);
}
