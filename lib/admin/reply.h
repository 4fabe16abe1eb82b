/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replies of the Qubes Admin API: written by the broker, read by our tools. Pure.
 *
 *     "0" NUL CONTENT                                            done
 *     "1" NUL SUBJECT NUL EVENT NUL (KEY NUL VALUE NUL)* NUL     an event; more may follow
 *     "2" NUL TYPE NUL TRACEBACK NUL FORMAT NUL (ARG NUL)*       an exception
 *
 * The client makes the exception's text by Python's FORMAT % ARGS, so our '%' are doubled and we send no ARG.
 * Devices are key='value', separated by spaces; in a value "'" is written "\'" and nothing else is escaped.
 */
#pragma once

#include "lib/admin/request.h"
#include "lib/base/base.h"

/* Writes into memory that the caller has. What does not fit sets `full` and is left out. */
struct admin_writer {
	char *bytes;
	size_t size, len;
	bool full;
};

void admin_write_init(struct admin_writer *writer, char *bytes, size_t size);
void admin_write_bytes(struct admin_writer *writer, const char *bytes, size_t len);
void admin_write_format(struct admin_writer *writer, const char *format, ...) _printf_(2, 3);

void admin_write_done(struct admin_writer *writer);
/* Forgets what was written before. The text is made printable ASCII; its '%' are doubled here. */
void admin_write_exception(struct admin_writer *writer, const char *type, const char *format, ...) _printf_(3, 4);
/* One whole event. `fields` is key, value, ..., NULL. */
void admin_write_event(struct admin_writer *writer, const char *subject, const char *event, const char *const *fields);

/*
 * key='value' with a space before it. Every value can be read back by Qubes' own parser (DeviceSerializer), which
 * looks for "='" and "' ": what is not printable ASCII, a backslash and a final '=' become '_'.
 */
void admin_write_property(struct admin_writer *writer, const char *key, const char *value);

enum admin_reply_type {
	ADMIN_REPLY_DONE,
	ADMIN_REPLY_EXCEPTION,
};

struct admin_reply {
	enum admin_reply_type type;
	struct admin_span content;                      /* DONE */
	struct admin_span exception, format, arguments; /* EXCEPTION */
};

/* A whole reply. 0, or 1: not a reply (or an event). It points into untrusted_bytes. */
int admin_reply_parse(const char *untrusted_bytes, size_t len, struct admin_reply *ret_reply);

/* The text of an exception with its arguments put in, made safe to show; cut to `size`. */
void admin_reply_text(const struct admin_reply *reply, char *text, size_t size);

/*
 * The next key='value' of *untrusted_rest, for one that was written by admin_write_property(). False: none, or one
 * that does not fit or is not of this form: then *untrusted_rest stays at it.
 */
bool admin_read_property(struct admin_span *untrusted_rest, char *key, size_t key_size, char *value, size_t value_size);

/* One event of a stream. */
struct admin_event {
	struct admin_span subject, name;
	struct admin_span fields; /* KEY NUL VALUE NUL ... */
};

enum { ADMIN_EVENT_MORE = 1, ADMIN_EVENT_BAD };

/*
 * The first event of what came so far. 0: *ret_used bytes belong to it, it points into untrusted_bytes; MORE: it is
 * not whole yet; BAD: not an event.
 */
int admin_event_parse(const char *untrusted_bytes, size_t len, struct admin_event *ret_event, size_t *ret_used);

/* The next field; false: no more. */
bool admin_event_next(struct admin_span *untrusted_fields, struct admin_span *ret_key, struct admin_span *ret_value);

/* A field by its key, made safe to show; false, and an empty text: there is none. */
bool admin_event_field(const struct admin_event *event, const char *key, char *text, size_t size);
