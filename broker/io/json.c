// SPDX-License-Identifier: GPL-2.0-or-later
/* See json.h. Invariant of the writer: `len` is less than `size`, there is room for a NUL. */
#include "broker/io/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/text.h"

#define DEPTH_MAX 8u

static const char hex_digits[] = "0123456789abcdef";

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static void put(struct json_writer *writer, const char *bytes, size_t len)
{
	if (writer->full || len >= writer->size - writer->len) {
		writer->full = true;
		return;
	}
	memcpy(writer->text + writer->len, bytes, len);
	writer->len += len;
}

static void put_string(struct json_writer *writer, const char *text)
{
	put(writer, "\"", 1);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		const char escaped[] = {'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]};

		if (c < 0x20 || c > 0x7e) {
			put(writer, escaped, sizeof(escaped));
			continue;
		}
		if (c == '"' || c == '\\')
			put(writer, "\\", 1);
		put(writer, text, 1);
	}
	put(writer, "\"", 1);
}

/* What stands before a value; the next one needs a comma. */
static void put_key(struct json_writer *writer, const char *key)
{
	if (writer->comma)
		put(writer, ",", 1);
	writer->comma = true;
	if (!key)
		return;
	put_string(writer, key);
	put(writer, ":", 1);
}

void json_write_begin(struct json_writer *writer, char *text, size_t size)
{
	*writer = (struct json_writer){.text = text, .size = size, .full = size == 0};
}

void json_write_open(struct json_writer *writer, const char *key, char bracket)
{
	put_key(writer, key);
	put(writer, &bracket, 1);
	writer->comma = false;
}

void json_write_close(struct json_writer *writer, char bracket)
{
	put(writer, &bracket, 1);
	writer->comma = true;
}

void json_write_text(struct json_writer *writer, const char *key, const char *text)
{
	put_key(writer, key);
	put_string(writer, text);
}

void json_write_hex(struct json_writer *writer, const char *key, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	put_key(writer, key);
	put(writer, "\"", 1);
	for (size_t i = 0; i < len; i++)
		put(writer, (const char[]){hex_digits[at[i] >> 4], hex_digits[at[i] & 15]}, 2);
	put(writer, "\"", 1);
}

void json_write_number(struct json_writer *writer, const char *key, uint64_t value)
{
	char text[24];

	put_key(writer, key);
	put(writer, text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, value));
}

void json_write_flag(struct json_writer *writer, const char *key, bool value)
{
	put_key(writer, key);
	put(writer, value ? "true" : "false", value ? 4 : 5);
}

int json_write_end(struct json_writer *writer, size_t *ret_len)
{
	if (writer->full)
		return -EMSGSIZE;
	writer->text[writer->len] = '\0';
	*ret_len = writer->len;
	return 0;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static bool take(struct json_reader *reader, const char *word)
{
	size_t len = strlen(word);

	if (reader->bad || strncmp(reader->at, word, len) != 0)
		return false;
	reader->at += len;
	return true;
}

static void need(struct json_reader *reader, const char *word)
{
	if (!take(reader, word))
		reader->bad = true;
}

/* Keys are ours, and need no escape. */
static void need_key(struct json_reader *reader, const char *key)
{
	if (reader->comma)
		need(reader, ",");
	reader->comma = true;
	if (!key)
		return;
	need(reader, "\"");
	need(reader, key);
	need(reader, "\":");
}

void json_read_begin(struct json_reader *reader, const char *untrusted_text)
{
	*reader = (struct json_reader){.at = untrusted_text};
}

void json_read_open(struct json_reader *reader, const char *key, char bracket)
{
	need_key(reader, key);
	need(reader, (const char[]){bracket, '\0'});
	reader->comma = false;
}

void json_read_close(struct json_reader *reader, char bracket)
{
	need(reader, (const char[]){bracket, '\0'});
	reader->comma = true;
}

bool json_read_is_next(const struct json_reader *reader, const char *key)
{
	struct json_reader ahead = *reader;

	need_key(&ahead, key);
	return !ahead.bad && (key || *ahead.at != ']');
}

void json_read_text(struct json_reader *reader, const char *key, char *ret_text, size_t size)
{
	size_t len = 0;
	const char *at;

	need_key(reader, key);
	need(reader, "\"");
	if (reader->bad)
		return;
	for (at = reader->at; *at >= 0x20 && *at <= 0x7e && *at != '"' && len < size; at++, len++)
		if (*at == '\\' && *++at != '"' && *at != '\\')
			break;
	reader->bad = *at != '"' || len >= size;
	if (reader->bad)
		return;
	for (at = reader->at, len = 0; *at != '"'; at++) {
		at += *at == '\\';
		ret_text[len++] = *at;
	}
	ret_text[len] = '\0';
	reader->at = at + 1;
}

static bool read_digit(char c, unsigned int *value)
{
	const char *at = c ? strchr(hex_digits, c) : NULL;

	if (!at)
		return false;
	*value = *value << 4 | (unsigned int)(at - hex_digits);
	return true;
}

void json_read_hex(struct json_reader *reader, const char *key, void *ret_bytes, size_t len)
{
	uint8_t *bytes = ret_bytes;
	size_t n = 0;

	need_key(reader, key);
	need(reader, "\"");
	while (!reader->bad && n < len) {
		unsigned int value = 0;

		reader->bad = !read_digit(reader->at[0], &value) || !read_digit(reader->at[1], &value);
		if (reader->bad)
			return;
		bytes[n++] = (uint8_t)value;
		reader->at += 2;
	}
	need(reader, "\"");
}

void json_read_number(struct json_reader *reader, const char *key, uint64_t max, uint64_t *ret_value)
{
	char digits[24];
	size_t len;

	need_key(reader, key);
	if (reader->bad)
		return;
	len = strspn(reader->at, "0123456789");
	if (len >= sizeof(digits)) {
		reader->bad = true;
		return;
	}
	memcpy(digits, reader->at, len);
	digits[len] = '\0';
	reader->bad = text_to_u64(digits, max, ret_value) < 0;
	reader->at += len;
}

void json_read_flag(struct json_reader *reader, const char *key, bool *ret_value)
{
	bool value;

	need_key(reader, key);
	value = take(reader, "true");
	if (!value)
		need(reader, "false");
	if (!reader->bad)
		*ret_value = value;
}

bool json_read_end(const struct json_reader *reader)
{
	return !reader->bad && *reader->at == '\0';
}

/* ---- checking ----------------------------------------------------------------------------------------------------- */

struct checker {
	const char *at, *end;
};

static char peek(const struct checker *checker)
{
	return checker->at < checker->end ? *checker->at : '\0';
}

static bool skip(struct checker *checker, char c)
{
	if (peek(checker) != c)
		return false;
	checker->at++;
	return true;
}

static void skip_spaces(struct checker *checker)
{
	while (skip(checker, ' '))
		continue;
}

static bool skip_word(struct checker *checker, const char *word)
{
	while (*word && skip(checker, *word))
		word++;
	return *word == '\0';
}

static bool skip_digits(struct checker *checker)
{
	const char *start = checker->at;

	while (peek(checker) >= '0' && peek(checker) <= '9')
		checker->at++;
	return checker->at > start;
}

static bool check_number(struct checker *checker)
{
	(void)skip(checker, '-');
	if (!skip(checker, '0') && !skip_digits(checker))
		return false;
	if (skip(checker, '.') && !skip_digits(checker))
		return false;
	if (!skip(checker, 'e') && !skip(checker, 'E'))
		return true;
	if (!skip(checker, '+'))
		(void)skip(checker, '-');
	return skip_digits(checker);
}

static bool is_hex(char c)
{
	return c && strchr("0123456789abcdefABCDEF", c);
}

static bool check_escape(struct checker *checker)
{
	char c = peek(checker);

	if (c == '\0' || !strchr("\"\\/bfnrtu", c))
		return false;
	checker->at++;
	for (unsigned int i = 0; c == 'u' && i < 4; i++, checker->at++)
		if (!is_hex(peek(checker)))
			return false;
	return true;
}

static bool check_string(struct checker *checker)
{
	if (!skip(checker, '"'))
		return false;
	while (!skip(checker, '"')) {
		char c = peek(checker);

		if (c < 0x20 || c > 0x7e)
			return false;
		checker->at++;
		if (c == '\\' && !check_escape(checker))
			return false;
	}
	return true;
}

static bool check_value(struct checker *checker, unsigned int depth);

static bool check_members(struct checker *checker, char end, unsigned int depth)
{
	if (depth == DEPTH_MAX)
		return false;
	checker->at++;
	skip_spaces(checker);
	if (skip(checker, end))
		return true;
	do {
		skip_spaces(checker);
		if (end == '}') {
			if (!check_string(checker))
				return false;
			skip_spaces(checker);
			if (!skip(checker, ':'))
				return false;
		}
		if (!check_value(checker, depth + 1))
			return false;
	} while (skip(checker, ','));
	return skip(checker, end);
}

static bool check_value(struct checker *checker, unsigned int depth)
{
	bool good;

	skip_spaces(checker);
	switch (peek(checker)) {
	case '{':
		good = check_members(checker, '}', depth);
		break;
	case '[':
		good = check_members(checker, ']', depth);
		break;
	case '"':
		good = check_string(checker);
		break;
	case 't':
		good = skip_word(checker, "true");
		break;
	case 'f':
		good = skip_word(checker, "false");
		break;
	case 'n':
		good = skip_word(checker, "null");
		break;
	default:
		good = check_number(checker);
		break;
	}
	skip_spaces(checker);
	return good;
}

bool json_is_object(const char *untrusted_text, size_t len)
{
	struct checker checker = {.at = untrusted_text, .end = untrusted_text + len};

	return peek(&checker) == '{' && check_value(&checker, 0) && checker.at == checker.end;
}
