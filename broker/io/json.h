/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON for what the broker keeps and logs. Pure, and it allocates nothing: a record must not be lost, or worse, be
 * written with holes, because memory is short. (json-c 0.16 grows its text with realloc() and goes on when that
 * fails: printbuf_memappend()'s result is ignored in json_object.c; and its parser takes a strdup() that failed for a
 * key.)
 *
 * One encoding: no space, members in the order in which they are asked for, of the characters below 0x20 and above 0x7e
 * none as it is, of printable ASCII only '"' and '\' escaped. Reading takes nothing else, so what is read is what would
 * be written; json_is_object() takes all of RFC 8259.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- writing: what does not fit makes the whole thing fail at its end ---- */

struct json_writer {
	char *text;
	size_t size, len;
	bool full, comma;
};

/* `key` NULL: an element of an array, or the outermost value. `bracket` is '{' or '[', and its partner at the end. */
void json_write_begin(struct json_writer *writer, char *text, size_t size);
void json_write_open(struct json_writer *writer, const char *key, char bracket);
void json_write_close(struct json_writer *writer, char bracket);
void json_write_text(struct json_writer *writer, const char *key, const char *text);
void json_write_hex(struct json_writer *writer, const char *key, const void *bytes, size_t len);
void json_write_number(struct json_writer *writer, const char *key, uint64_t value);
void json_write_flag(struct json_writer *writer, const char *key, bool value);

/* 0 and the length, with a NUL behind; or -EMSGSIZE. */
int json_write_end(struct json_writer *writer, size_t *ret_len);

/* ---- reading: what is not there, or is something else, makes the whole thing fail at its end; use nothing before ---- */

struct json_reader {
	const char *at; /* ends in a NUL */
	bool bad, comma;
};

void json_read_begin(struct json_reader *reader, const char *untrusted_text);
void json_read_open(struct json_reader *reader, const char *key, char bracket);
void json_read_close(struct json_reader *reader, char bracket);

/* Is a member of that name next? NULL: any element of an array. */
bool json_read_is_next(const struct json_reader *reader, const char *key);

/* Printable ASCII that fits, with its NUL. */
void json_read_text(struct json_reader *reader, const char *key, char *ret_text, size_t size);
/* Exactly `len` bytes, in lower case. */
void json_read_hex(struct json_reader *reader, const char *key, void *ret_bytes, size_t len);
void json_read_number(struct json_reader *reader, const char *key, uint64_t max, uint64_t *ret_value);
void json_read_flag(struct json_reader *reader, const char *key, bool *ret_value);

/* Whether all was there, and nothing comes after. */
bool json_read_end(const struct json_reader *reader);

/* ---- checking ---- */

/* Is it one JSON object, from its first byte to its last, of printable ASCII and at most some levels deep? */
bool json_is_object(const char *untrusted_text, size_t len);
