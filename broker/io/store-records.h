/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the core's tables look like in the store.
 *
 *     assignment  key    TARGET CLASS SOURCE PLACE DEVICE_ID          PLACE: @PATH, or PORT where no path is known;
 *                                                                     PORT, DEVICE_ID: "*" for any
 *                 value  {"target":"work","class":"usb","source":"sys-usb","port":"1-2",
 *                         "path":"pci-0000:00:04.0-usb-0:2","device":"","mode":"auto-attach",
 *                         "follow-port":false,"max-time-usec":0}      "path" only where it is known
 *     denied      key    QUBE
 *                 value  ["u03**01","u08****"]
 *     label       key    as labels_key() makes it
 *                 value  the label itself
 *
 * So a port that is called otherwise changes the value of its assignment in one step, whatever others are called; and what
 * was stored before there were paths is an assignment whose path is not known.
 *
 * One encoding for each value: what is read is written again and must be the same text, so an unknown, missing, repeated
 * or over-long member is a fault, and so is a key that does not fit its value.
 */
#pragma once

#include <stddef.h>

#include "broker/core/assignments.h"
#include "broker/core/denied.h"
#include "broker/io/store.h"

/* For store_new(): sessions are not looked into. */
int records_check(enum store_kind kind, const char *key, const char *value);

/* Fills the tables, which are empty, from a store that was made with records_check. 0 or -EBADMSG. */
int records_load(const struct store *store, struct assignments *assignments, struct denied *denied);

/* As store_put() and store_remove(). */
int records_put_assignment(struct store *store, const struct core_assignment *assignment);
int records_remove_assignment(struct store *store, const struct core_assignment *assignment);

/* Stores the whole list that `denied` has for the qube, or removes it when there is none; 0 when nothing changed. */
int records_put_denied(struct store *store, const struct denied *denied, const char *qube);

/* Text "" removes. As store_put() and store_remove(). */
int records_put_label(struct store *store, const char *key, const char *text);

/* "auto-attach", as Qubes calls it; NULL for no mode. */
const char *records_mode_name(enum core_assign_mode mode);
/* 0 or -EINVAL. */
int records_mode_from_name(const char *name, enum core_assign_mode *ret_mode);
