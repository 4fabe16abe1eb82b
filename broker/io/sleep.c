// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * logind's signal PrepareForSleep and its inhibitor lock, over sd-bus; see sleep.h. The interface is
 * org.freedesktop.login1(5). Nothing here waits for the bus: calls are answered through the event loop.
 */
#include "broker/io/sleep.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "broker/io/clock.h"
#include "lib/base/base.h"
#include "lib/base/clock.h"
#include "lib/base/limits.h"
#include "lib/base/log.h"

#define LOGIND "org.freedesktop.login1"
#define LOGIND_PATH "/org/freedesktop/login1"
#define LOGIND_MANAGER "org.freedesktop.login1.Manager"
#define ASLEEP_USEC (2 * USEC_PER_SEC) /* less is a hiccup of the clocks, or a sleep that nothing noticed */

struct sleep_watch {
	struct sleep_hooks hooks;
	void *userdata;
	sd_bus *bus;         /* NULL: none */
	int lock;            /* -1: not held */
	bool told;           /* of the bus's absence */
	bool preparing;      /* between prepare() and woke() */
	uint64_t slept_usec; /* how far CLOCK_BOOTTIME is ahead, as last seen */
};

bool sleep_passed(uint64_t *slept_usec, uint64_t boottime, uint64_t monotonic)
{
	uint64_t slept = boottime > monotonic ? boottime - monotonic : 0;
	bool passed = slept > *slept_usec + ASLEEP_USEC;

	*slept_usec = slept;
	return passed;
}

static void no_bus(struct sleep_watch *watch, const char *what, int r)
{
	if (!watch->told)
		log_info("sleep is seen only when it is over: %s: %s", what, strerror(r < 0 ? -r : r));
	watch->told = true;
}

static int on_lock(sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	struct sleep_watch *watch = userdata;
	int fd = -1, r = 0;

	if (sd_bus_message_is_method_error(reply, NULL))
		r = -sd_bus_message_get_errno(reply);
	if (r == 0)
		r = sd_bus_message_read(reply, "h", &fd);
	if (r < 0) {
		no_bus(watch, "logind gives no lock", r);
		return 0;
	}
	cleanup_close(&watch->lock);
	watch->lock = watch->preparing ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3); /* the message owns fd */
	return 0;
}

static void take_lock(struct sleep_watch *watch)
{
	int r = sd_bus_call_method_async(watch->bus, NULL, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "Inhibit", on_lock,
					 watch, "ssss", "sleep", "device-broker", "devices are taken back", "delay");

	if (r < 0)
		no_bus(watch, "logind is not reached", r);
}

static void woke(struct sleep_watch *watch)
{
	watch->preparing = false;
	watch->hooks.woke(watch->userdata);
	if (watch->bus && watch->lock < 0)
		take_lock(watch);
}

static int on_signal(sd_bus_message *message, void *userdata, sd_bus_error *error _unused_)
{
	struct sleep_watch *watch = userdata;
	int starts = 0;

	if (sd_bus_message_read(message, "b", &starts) < 0)
		return 0;
	if (starts && !watch->preparing) {
		watch->preparing = true;
		watch->hooks.prepare(watch->userdata);
	} else if (!starts && watch->preparing) {
		woke(watch);
	}
	return 0;
}

static int on_match(sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_)
{
	if (sd_bus_message_is_method_error(reply, NULL))
		no_bus(userdata, "logind's signals are not to be had", sd_bus_message_get_errno(reply));
	return 0;
}

void sleep_ready(struct sleep_watch *watch)
{
	cleanup_close(&watch->lock);
	watch->lock = -1;
}

void sleep_look(struct sleep_watch *watch)
{
	if (sleep_passed(&watch->slept_usec, clock_now_usec(), clock_monotonic_usec()))
		woke(watch);
}

struct sleep_watch *sleep_free(struct sleep_watch *watch)
{
	if (!watch)
		return NULL;
	if (watch->bus)
		(void)sd_bus_detach_event(watch->bus);
	(void)sd_bus_close_unref(watch->bus);
	cleanup_close(&watch->lock);
	free(watch);
	return NULL;
}

static int open_bus(struct sleep_watch *watch, sd_event *event)
{
	int r = sd_bus_open_system(&watch->bus);

	if (r >= 0)
		r = sd_bus_attach_event(watch->bus, event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = sd_bus_match_signal_async(watch->bus, NULL, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "PrepareForSleep",
					      on_signal, on_match, watch);
	if (r < 0)
		watch->bus = sd_bus_close_unref(watch->bus);
	return r;
}

int sleep_new(sd_event *event, const struct sleep_hooks *hooks, void *userdata, struct sleep_watch **ret_watch)
{
	struct sleep_watch *watch = calloc(1, sizeof(*watch));
	int r;

	if (!watch)
		return -ENOMEM;
	watch->hooks = *hooks;
	watch->userdata = userdata;
	watch->lock = -1;
	(void)sleep_passed(&watch->slept_usec, clock_now_usec(), clock_monotonic_usec());
	r = open_bus(watch, event);
	if (r < 0)
		no_bus(watch, "there is no system bus", r);
	else
		take_lock(watch);
	*ret_watch = watch;
	return 0;
}
