/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line per call on stderr, with sd-daemon(3) priority prefixes when stderr is not a terminal. Whatever the
 * arguments hold, only printable ASCII and one newline come out; the line is cut at 512 bytes.
 */
#pragma once

#include "lib/base/base.h"

void log_set_name(const char *program); /* shown in front; must outlive all calls */

void log_error(const char *format, ...) _printf_(1, 2);
void log_warning(const char *format, ...) _printf_(1, 2);
void log_notice(const char *format, ...) _printf_(1, 2);
void log_info(const char *format, ...) _printf_(1, 2);
void log_debug(const char *format, ...) _printf_(1, 2); /* only with the environment variable QDB_DEBUG set */
