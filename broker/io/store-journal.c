// SPDX-License-Identifier: GPL-2.0-or-later
/* The lines of the state journal; see store-journal.h. */
#include "broker/io/store-journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/text.h"
#include "lib/digest/digest.h"

#define MAGIC "qubes-device-broker-state"
#define VERSION "1"
#define LENGTH_DIGITS 5u

static const char *const kind_names[STORE_KIND_COUNT] = {
	[STORE_ASSIGNMENT] = "assignment",
	[STORE_DENIED] = "denied",
	[STORE_LABEL] = "label",
	[STORE_SESSION] = "session",
};

const char *journal_fault_text(enum journal_fault fault)
{
	static const char *const texts[JOURNAL_FAULT_COUNT] = {
		[JOURNAL_FAULT_HEADER] = "this is not how a state journal begins",
		[JOURNAL_FAULT_VERSION] = "written by another version of the broker (install that one to use it)",
		[JOURNAL_FAULT_MACHINE] = "written on another machine",
		[JOURNAL_FAULT_SUM] = "the checksum does not fit",
		[JOURNAL_FAULT_FORM] = "not a record",
		[JOURNAL_FAULT_ORDER] = "it does not follow the line before it",
		[JOURNAL_FAULT_LONG] = "longer than any record",
		[JOURNAL_FAULT_END] = "its end is damaged",
		[JOURNAL_FAULT_UNFIT] = "not a record that this version of the broker makes",
		[JOURNAL_FAULT_FULL] = "more records of one kind than there may be",
	};

	return texts[fault];
}

bool journal_text_is_fit(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	for (size_t i = 0; i < len; i++)
		if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return len <= max;
}

static void make_sum(const char *line, size_t len, struct journal_sum *ret_sum)
{
	uint8_t digest[DIGEST_SIZE];
	char hex[2 * DIGEST_SIZE + 1];

	digest_sha256(line, len, digest);
	digest_to_hex(digest, hex);
	memcpy(ret_sum->text, hex, JOURNAL_SUM);
	ret_sum->text[JOURNAL_SUM] = '\0';
}

/* Ends the line that has `len` bytes; returns its length. */
static size_t finish_line(char *line, size_t len, struct journal_sum *ret_sum)
{
	make_sum(line, len, ret_sum);
	line[len++] = ' ';
	memcpy(line + len, ret_sum->text, JOURNAL_SUM);
	len += JOURNAL_SUM;
	line[len++] = '\n';
	return len;
}

size_t journal_write_header(const char *machine, char ret_line[JOURNAL_LINE_MAX], struct journal_sum *ret_sum)
{
	int len = snprintf(ret_line, JOURNAL_LINE_MAX, MAGIC " " VERSION " %.*s", (int)JOURNAL_MACHINE, machine);

	return finish_line(ret_line, (size_t)len, ret_sum);
}

static size_t escape(const char *text, char *out)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t n = 0;

	for (; *text; text++) {
		uint8_t byte = (uint8_t)*text;

		if (byte > 0x20 && byte < 0x7f && byte != '%') {
			out[n++] = *text;
			continue;
		}
		out[n++] = '%';
		out[n++] = digits[byte >> 4];
		out[n++] = digits[byte & 15];
	}
	return n;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* To `text` (size bytes with its NUL); false when it does not fit, or is not what escape() makes. */
static bool unescape(const char *from, size_t len, char *text, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = from[i];

		if (c == '%') {
			int high = len - i > 2 ? hex_value(from[i + 1]) : -1,
			    low = len - i > 2 ? hex_value(from[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (c == '\0' || n + 1 >= size)
			return false;
		text[n++] = c;
	}
	text[n] = '\0';
	return true;
}

size_t journal_write_record(const struct journal_record *record, const struct journal_sum *before,
			    char ret_line[JOURNAL_LINE_MAX], struct journal_sum *ret_sum)
{
	char length[LENGTH_DIGITS + 2];
	size_t len = LENGTH_DIGITS;

	len += (size_t)snprintf(ret_line + len, JOURNAL_LINE_MAX - len, " %" PRIu64 " %s %s %s ", record->seq,
				before->text, record->remove ? "remove" : "put", kind_names[record->kind]);
	len += escape(record->key, ret_line + len);
	ret_line[len++] = ' ';
	len += escape(record->value, ret_line + len);
	(void)snprintf(length, sizeof(length), "%05u", (unsigned int)(len + 1 + JOURNAL_SUM + 1) % 100000);
	memcpy(ret_line, length, LENGTH_DIGITS);
	return finish_line(ret_line, len, ret_sum);
}

/* Does the line end in the sum of what stands before? *ret_len is the length of that. */
static bool check_sum(const char *line, size_t len, size_t *ret_len, struct journal_sum *ret_sum)
{
	size_t body = len - JOURNAL_SUM - 2;

	if (len < JOURNAL_SUM + 2 || line[len - 1] != '\n' || line[body] != ' ')
		return false;
	make_sum(line, body, ret_sum);
	*ret_len = body;
	return memcmp(line + body + 1, ret_sum->text, JOURNAL_SUM) == 0;
}

struct field {
	const char *at;
	size_t len;
};

/* Exactly n fields. */
static bool split(const char *line, size_t len, struct field *fields, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *end = memchr(line, ' ', len);

		if (!end != (i == n - 1))
			return false;
		fields[i] = (struct field){line, end ? (size_t)(end - line) : len};
		if (end) {
			len -= fields[i].len + 1;
			line = end + 1;
		}
	}
	return true;
}

static bool field_is(struct field field, const char *text)
{
	return field.len == strlen(text) && memcmp(field.at, text, field.len) == 0;
}

int journal_read_header(const char *untrusted_line, size_t len, const char *machine, struct journal_sum *ret_sum)
{
	struct field fields[3];
	struct journal_sum sum;
	size_t body;

	if (!check_sum(untrusted_line, len, &body, &sum) || !split(untrusted_line, body, fields, 3) ||
	    !field_is(fields[0], MAGIC))
		return JOURNAL_FAULT_HEADER;
	if (!field_is(fields[1], VERSION))
		return JOURNAL_FAULT_VERSION;
	if (!field_is(fields[2], machine))
		return JOURNAL_FAULT_MACHINE;
	*ret_sum = sum;
	return 0;
}

/* A number without leading zero; `len` bytes. */
static bool read_number(struct field field, uint64_t *ret_value)
{
	char text[21];

	if (field.len >= sizeof(text))
		return false;
	memcpy(text, field.at, field.len);
	text[field.len] = '\0';
	return text_to_u64(text, UINT64_MAX, ret_value) == 0;
}

/* LENGTH at the start of a line that has at least so many bytes; 0: none. */
static size_t read_length(const char *line)
{
	size_t length = 0;

	for (size_t i = 0; i < LENGTH_DIGITS; i++) {
		if (line[i] < '0' || line[i] > '9')
			return 0;
		length = 10 * length + (size_t)(line[i] - '0');
	}
	return length;
}

int journal_read_record(const char *untrusted_line, size_t len, const struct journal_sum *before, uint64_t seq,
			struct journal_record *ret_record, struct journal_sum *ret_sum)
{
	struct journal_record record = {.kind = STORE_KIND_COUNT};
	struct field fields[7];
	struct journal_sum sum;
	size_t body;

	if (!check_sum(untrusted_line, len, &body, &sum))
		return JOURNAL_FAULT_SUM;
	if (body < LENGTH_DIGITS || read_length(untrusted_line) != len || !split(untrusted_line, body, fields, 7) ||
	    !read_number(fields[1], &record.seq) || fields[2].len != JOURNAL_SUM)
		return JOURNAL_FAULT_FORM;
	record.remove = field_is(fields[3], "remove");
	for (unsigned int i = 0; i < STORE_KIND_COUNT; i++)
		if (field_is(fields[4], kind_names[i]))
			record.kind = (enum store_kind)i;
	if ((!record.remove && !field_is(fields[3], "put")) || record.kind == STORE_KIND_COUNT ||
	    !unescape(fields[5].at, fields[5].len, record.key, sizeof(record.key)) ||
	    !unescape(fields[6].at, fields[6].len, record.value, sizeof(record.value)))
		return JOURNAL_FAULT_FORM;
	if (record.key[0] == '\0' || !journal_text_is_fit(record.key, LIMIT_STORE_KEY) ||
	    !journal_text_is_fit(record.value, LIMIT_STORE_VALUE) || (record.remove && record.value[0] != '\0'))
		return JOURNAL_FAULT_FORM;
	if (before && (memcmp(fields[2].at, before->text, JOURNAL_SUM) != 0 || record.seq != seq))
		return JOURNAL_FAULT_ORDER;
	*ret_record = record;
	*ret_sum = sum;
	return 0;
}

bool journal_is_torn(const char *untrusted_tail, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = untrusted_tail[i];

		if (c < 0x20 || c > 0x7e || (i < LENGTH_DIGITS && (c < '0' || c > '9')))
			return false;
	}
	return len < LENGTH_DIGITS ||
	       (len < read_length(untrusted_tail) && read_length(untrusted_tail) <= JOURNAL_LINE_MAX);
}
