/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See reply.h. Whatever texts go in, what comes out keeps the framing: texts cannot hold a NUL, and a value in quotes
 * cannot end them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/admin/reply.h"
#include "lib/base/text.h"

#define TEXT_MAX 1024u /* of an exception */

void admin_write_init(struct admin_writer *writer, char *bytes, size_t size)
{
	*writer = (struct admin_writer){.bytes = bytes, .size = size};
}

void admin_write_bytes(struct admin_writer *writer, const char *bytes, size_t len)
{
	if (len > writer->size - writer->len) {
		writer->full = true;
		return;
	}
	memcpy(writer->bytes + writer->len, bytes, len);
	writer->len += len;
}

static void write_char(struct admin_writer *writer, char c)
{
	admin_write_bytes(writer, &c, 1);
}

/* With its NUL */
static void write_field(struct admin_writer *writer, const char *text)
{
	admin_write_bytes(writer, text, strlen(text) + 1);
}

void admin_write_format(struct admin_writer *writer, const char *format, ...)
{
	char text[TEXT_MAX];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(text))
		writer->full = true;
	else
		admin_write_bytes(writer, text, (size_t)len);
}

void admin_write_done(struct admin_writer *writer)
{
	write_field(writer, "0");
}

void admin_write_exception(struct admin_writer *writer, const char *type, const char *format, ...)
{
	char text[TEXT_MAX];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);

	admin_write_init(writer, writer->bytes, writer->size);
	write_field(writer, "2");
	write_field(writer, type);
	write_field(writer, "");
	for (const char *at = text; *at; at++) {
		if (*at == '%')
			write_char(writer, '%');
		write_char(writer, *at >= 0x20 && *at <= 0x7e ? *at : '_');
	}
	write_char(writer, '\0');
}

void admin_write_event(struct admin_writer *writer, const char *subject, const char *event, const char *const *fields)
{
	write_field(writer, "1");
	write_field(writer, subject);
	write_field(writer, event);
	for (; *fields; fields++)
		write_field(writer, *fields);
	write_char(writer, '\0');
}

void admin_write_property(struct admin_writer *writer, const char *key, const char *value)
{
	admin_write_format(writer, " %s='", key);
	for (const char *at = value; *at; at++) {
		if (*at < 0x20 || *at > 0x7e || *at == '\\' || (*at == '=' && !at[1]))
			write_char(writer, '_');
		else if (*at == '\'')
			admin_write_bytes(writer, "\\'", 2);
		else
			write_char(writer, *at);
	}
	write_char(writer, '\'');
}

int admin_reply_parse(const char *untrusted_bytes, size_t len, struct admin_reply *ret_reply)
{
	struct admin_span untrusted_rest = {.at = untrusted_bytes, .len = len}, kind, traceback;
	struct admin_reply reply = {.type = ADMIN_REPLY_DONE};

	if (!admin_span_cut(&untrusted_rest, '\0', &kind))
		return 1;
	if (admin_span_is(kind, "0")) {
		reply.content = untrusted_rest;
	} else {
		reply.type = ADMIN_REPLY_EXCEPTION;
		if (!admin_span_is(kind, "2") || !admin_span_cut(&untrusted_rest, '\0', &reply.exception) ||
		    !admin_span_cut(&untrusted_rest, '\0', &traceback) ||
		    !admin_span_cut(&untrusted_rest, '\0', &reply.format))
			return 1;
		reply.arguments = untrusted_rest;
	}
	*ret_reply = reply;
	return 0;
}

void admin_reply_text(const struct admin_reply *reply, char *text, size_t size)
{
	char joined[TEXT_MAX];
	struct admin_span untrusted_arguments = reply->arguments, untrusted_argument;
	struct admin_writer writer;

	admin_write_init(&writer, joined, sizeof(joined));
	for (size_t i = 0; i < reply->format.len; i++) {
		const char *at = reply->format.at + i;

		if (*at != '%' || i + 1 == reply->format.len) {
			write_char(&writer, *at);
			continue;
		}
		i++; /* one conversion character: all that Qubes uses */
		if (at[1] == '%')
			write_char(&writer, '%');
		else if (admin_span_cut(&untrusted_arguments, '\0', &untrusted_argument))
			admin_write_bytes(&writer, untrusted_argument.at, untrusted_argument.len);
	}
	(void)text_make_safe(joined, writer.len, text, size);
}

bool admin_read_property(struct admin_span *untrusted_rest, char *key, size_t key_size, char *value, size_t value_size)
{
	struct admin_span rest = *untrusted_rest, untrusted_key;
	size_t len = 0, i;

	while (rest.len && *rest.at == ' ') {
		rest.at++;
		rest.len--;
	}
	if (!admin_span_cut(&rest, '=', &untrusted_key) || !admin_span_copy(untrusted_key, key, key_size) ||
	    !rest.len || rest.at[0] != '\'')
		return false;
	for (i = 1; i < rest.len && rest.at[i] != '\''; i++) {
		if (rest.at[i] == '\\' && i + 1 < rest.len && rest.at[i + 1] == '\'')
			i++;
		if (len + 1 >= value_size)
			return false;
		value[len++] = rest.at[i];
	}
	if (i >= rest.len || memchr(value, '\0', len))
		return false;
	value[len] = '\0';
	*untrusted_rest = (struct admin_span){.at = rest.at + i + 1, .len = rest.len - i - 1};
	return true;
}

int admin_event_parse(const char *untrusted_bytes, size_t len, struct admin_event *ret_event, size_t *ret_used)
{
	struct admin_span untrusted_rest = {.at = untrusted_bytes, .len = len}, kind, part;
	struct admin_event event;

	if (!admin_span_cut(&untrusted_rest, '\0', &kind))
		return len > 1 ? ADMIN_EVENT_BAD : ADMIN_EVENT_MORE;
	if (!admin_span_is(kind, "1"))
		return ADMIN_EVENT_BAD;
	if (!admin_span_cut(&untrusted_rest, '\0', &event.subject) ||
	    !admin_span_cut(&untrusted_rest, '\0', &event.name))
		return ADMIN_EVENT_MORE;
	event.fields.at = untrusted_rest.at;
	for (;;) { /* an empty key ends it */
		if (!admin_span_cut(&untrusted_rest, '\0', &part))
			return ADMIN_EVENT_MORE;
		if (part.len == 0)
			break;
		if (!admin_span_cut(&untrusted_rest, '\0', &part))
			return ADMIN_EVENT_MORE;
	}
	event.fields.len = (size_t)(part.at - event.fields.at);
	*ret_used = (size_t)(untrusted_rest.at - untrusted_bytes);
	*ret_event = event;
	return 0;
}

bool admin_event_next(struct admin_span *untrusted_fields, struct admin_span *ret_key, struct admin_span *ret_value)
{
	return admin_span_cut(untrusted_fields, '\0', ret_key) && admin_span_cut(untrusted_fields, '\0', ret_value);
}

bool admin_event_field(const struct admin_event *event, const char *key, char *text, size_t size)
{
	struct admin_span untrusted_fields = event->fields, name, value;

	text[0] = '\0';
	while (admin_event_next(&untrusted_fields, &name, &value)) {
		if (!admin_span_is(name, key))
			continue;
		(void)text_make_safe(value.at, value.len, text, size);
		return true;
	}
	return false;
}
