/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's sleep. With logind: an inhibitor lock delays the sleep until what is attached has been taken back.
 * Without it (a dom0 without a system bus) only the end is seen: CLOCK_BOOTTIME went on while CLOCK_MONOTONIC stood.
 *
 * The lock is held while the machine is awake, let go when sleep_ready() is called, and taken anew after the sleep.
 * logind waits for it no longer than its own InhibitDelayMaxSec (5 s unless configured).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct sleep_watch;

struct sleep_hooks {
	void (*prepare)(void *userdata); /* the machine wants to sleep; sleep_ready() when it may */
	void (*woke)(void *userdata);    /* it slept, or did not after all; may come without a prepare() */
};

/* No bus, or none that answers, is told once and is no error. 0 or -ENOMEM. */
int sleep_new(sd_event *event, const struct sleep_hooks *hooks, void *userdata, struct sleep_watch **ret_watch);
struct sleep_watch *sleep_free(struct sleep_watch *watch);

void sleep_ready(struct sleep_watch *watch);

/* To be called whenever the loop has waited, before anything is dispatched: calls woke() if the machine slept. */
void sleep_look(struct sleep_watch *watch);

/* The same for given clocks: whether between this call and the last one time passed asleep. *slept_usec is its state. */
bool sleep_passed(uint64_t *slept_usec, uint64_t boottime_usec, uint64_t monotonic_usec);
