/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session's memory as a text for the store: one line of JSON, printable ASCII, with every field of struct core_memory
 * that a later life of the broker needs to prove the stream again (a device's texts come from its agent's list), and
 * the machine's boot: after a reboot no stream runs, domain ids and CLOCK_BOOTTIME mean something else, so what is of
 * another boot is no memory.
 *
 * The store guards the text against damage; the reading is strict all the same: each key once and in its place, none
 * unknown, none missing but "path" (of a device's port) and "asleep", which former brokers did not know, every value as
 * it is written here. Neither way needs memory, so no memory of a session is lost for want of it.
 */
#pragma once

#include <stddef.h>

#include "broker/core/core.h"

#define SESSION_KEY_TEXT 17u /* 16 hexadecimal digits and a NUL */
#define SESSION_RECORD_TEXT (LIMIT_STORE_VALUE + 1)
#define SESSION_BOOT_TEXT 37u /* as /proc/sys/kernel/random/boot_id has it, without its newline */

enum {
	SESSION_RECORD_BAD = 1,
	SESSION_RECORD_OTHER_BOOT,
};

/* The store's key of a session. */
void session_record_key(uint64_t session, char ret_key[SESSION_KEY_TEXT]);

/* 0 or -EMSGSIZE. */
int session_record_write(const struct core_memory *memory, const char *boot, char *ret_text, size_t size);

/* 0 or SESSION_RECORD_*. `key` and the session in the text must agree. `boot` NULL: whichever. */
int session_record_read(const char *key, const char *untrusted_text, const char *boot, struct core_memory *ret_memory);

/* This boot's id. 0 or a negative errno. */
int session_record_boot(char ret_boot[SESSION_BOOT_TEXT]);
