/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The record, and parts of lines, that the tests of lines and of logs have in common. */
#pragma once

#include "broker/io/audit.h"

/* A line is HEAD, its number and what it says, TAIL. */
#define FULL "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define HEAD "{\"ts\":\"2026-11-23T18:04:09.123456Z\",\"seq\":"
#define TAIL ",\"prev\":\"" FULL "\"}"

static const struct core_qube sys_usb = {.domid = 3, .uuid = {0x12, 0x34}, .name = "sys-usb"};
static const struct core_device stick = {.class_id = WIRE_CLASS_USB,
					 .vendor = 0x0781,
					 .product = 0x5581,
					 .n_interfaces = 1,
					 .interfaces = {{8, 6, 80}},
					 .port = "1-2",
					 .serial = "AB12"};

static const struct audit_record plain = {.event = "attach-request",
					  .caller = {.uid = 1000},
					  .answered_by = CORE_NO_USER,
					  .device = &stick,
					  .qube = &sys_usb,
					  .target = "work",
					  .session = 0x1f};
