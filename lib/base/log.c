// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Log lines go to stderr, which is the journal for services and the terminal for tools. The arguments may hold
 * bytes of a peer that a caller forgot to check: the line is made safe here once more, so that no call site can put
 * a second line, a priority prefix or an escape sequence into the log.
 *
 * Invariants: one write(2) per call, so that lines of several processes do not mix; errno is kept.
 */
#include "lib/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/text.h"

#define LOG_LINE 512u /* with its newline */

/* Priorities of sd-daemon(3) */
enum { PRIORITY_ERROR = 3, PRIORITY_WARNING = 4, PRIORITY_NOTICE = 5, PRIORITY_INFO = 6, PRIORITY_DEBUG = 7 };

static const char *log_name = "qdb";

void log_set_name(const char *program)
{
	log_name = program;
}

static void log_line(int priority, const char *format, va_list args) _printf_(2, 0);
static void log_line(int priority, const char *format, va_list args)
{
	char text[LOG_LINE], line[LOG_LINE];
	int saved_errno = errno;
	size_t n_prefix = 0;
	int len;

	len = snprintf(text, sizeof(text), "%s: ", log_name);
	if (len < 0 || (size_t)len >= sizeof(text))
		len = 0;
	errno = saved_errno;
	(void)vsnprintf(text + len, sizeof(text) - (size_t)len, format, args);
	if (!isatty(STDERR_FILENO)) {
		line[n_prefix++] = '<';
		line[n_prefix++] = (char)('0' + priority);
		line[n_prefix++] = '>';
	}
	n_prefix += text_make_safe(text, strlen(text), line + n_prefix, sizeof(line) - n_prefix);
	line[n_prefix++] = '\n'; /* in the place of the NUL */
	while (write(STDERR_FILENO, line, n_prefix) < 0 && errno == EINTR)
		continue;
	errno = saved_errno;
}

#define LOG_FUNCTION(name, priority)              \
	void name(const char *format, ...)        \
	{                                         \
		va_list args;                     \
                                                  \
		va_start(args, format);           \
		log_line(priority, format, args); \
		va_end(args);                     \
	}
LOG_FUNCTION(log_error, PRIORITY_ERROR)
LOG_FUNCTION(log_warning, PRIORITY_WARNING)
LOG_FUNCTION(log_notice, PRIORITY_NOTICE)
LOG_FUNCTION(log_info, PRIORITY_INFO)
#undef LOG_FUNCTION

void log_debug(const char *format, ...)
{
	static int enabled = -1;
	va_list args;

	if (enabled < 0)
		enabled = getenv("QDB_DEBUG") != NULL;
	if (!enabled)
		return;
	va_start(args, format);
	log_line(PRIORITY_DEBUG, format, args);
	va_end(args);
}
