// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lines of the audit log; the contract is in audit-line.h.
 *
 * Invariants: whatever the texts of a record hold, a line is printable ASCII and shorter than LIMIT_AUDIT_LINE: each
 * text has its own limit, and JSON at most doubles printable ASCII.
 */
#include "broker/io/audit-line.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker/io/json.h"
#include "lib/base/base.h"
#include "lib/base/text.h"

/* Characters of each kind of text */
#define WORD_MAX 64u
#define SENTENCE_MAX 270u /* a file name of 255 characters and a line number */

static const char line_start[] = "{\"ts\":\"";
static const char line_seq[] = "\",\"seq\":";
static const char line_event[] = ",\"event\":\"";
static const char line_prev[] = ",\"prev\":\"";
static const char line_end[] = "\"}";

_Static_assert(2 * (CORE_DEVICE_ID_MAX + LIMIT_PORT_TEXT + 6 * WORD_MAX + 2 * SENTENCE_MAX) + 768 < LIMIT_AUDIT_LINE,
	       "the longest record fits");

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* At most `max` characters; ends in "..." when there were more. */
static void shorten(const char *text, size_t max, char ret_text[CORE_DEVICE_ID_MAX + 1])
{
	if (text_make_safe(text, strlen(text), ret_text, max + 2) > max)
		(void)strcpy(ret_text + max - 3, "...");
}

static void add_text(struct json_writer *writer, const char *key, const char *text, size_t max)
{
	char safe[CORE_DEVICE_ID_MAX + 1];

	shorten(text, max, safe);
	json_write_text(writer, key, safe);
}

static void add_time(struct json_writer *writer, const char *key)
{
	struct timespec now = {0};
	struct tm tm = {0};
	char text[48];
	size_t len;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(text + len, sizeof(text) - len, ".%06ldZ", now.tv_nsec / 1000);
	json_write_text(writer, key, text);
}

static void add_session(struct json_writer *writer, uint64_t session)
{
	char text[17];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, session);
	json_write_text(writer, "session", text);
}

static void add_qube(struct json_writer *writer, const char *key, const struct core_qube *qube)
{
	char uuid[37];
	size_t len = 0;

	for (unsigned int i = 0; i < sizeof(qube->uuid); i++)
		len += (size_t)snprintf(uuid + len, sizeof(uuid) - len, "%s%02x",
					i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", qube->uuid[i]);
	json_write_open(writer, key, '{');
	add_text(writer, "name", qube->name, WORD_MAX);
	json_write_number(writer, "domid", qube->domid);
	json_write_text(writer, "uuid", uuid);
	json_write_close(writer, '}');
}

static void add_device(struct json_writer *writer, const struct core_device *device)
{
	char id[CORE_DEVICE_ID_MAX];

	(void)core_device_id(device, id);
	add_text(writer, "device", id, CORE_DEVICE_ID_MAX - 1);
	add_text(writer, "port", device->port, LIMIT_PORT_TEXT);
}

static void add_user(struct json_writer *writer, const struct core_user *user, const char *key, const char *qube_key)
{
	if (user->uid == CORE_NOBODY)
		return;
	json_write_number(writer, key, user->uid);
	if (user->qube[0])
		add_text(writer, qube_key, user->qube, WORD_MAX);
}

/* Who and why: what a person looks for first. */
static void add_request(struct json_writer *writer, const struct audit_record *record)
{
	add_user(writer, &record->caller, "who", "who-qube");
	if (record->origin)
		add_text(writer, "origin", record->origin, WORD_MAX);
	add_user(writer, &record->answered_by, "answered-by", "answered-by-qube");
}

int audit_line_make(const struct audit_record *record, const struct audit_link *link, uint64_t n_left_out,
		    char ret_line[LIMIT_AUDIT_LINE], size_t *ret_len)
{
	struct json_writer writer;
	size_t len;
	int r;

	json_write_begin(&writer, ret_line, LIMIT_AUDIT_LINE);
	json_write_open(&writer, NULL, '{');
	add_time(&writer, "ts");
	json_write_number(&writer, "seq", link->seq);
	add_text(&writer, "event", record->event, WORD_MAX);
	add_request(&writer, record);
	if (record->device)
		add_device(&writer, record->device);
	if (record->qube)
		add_qube(&writer, record->device ? "source" : "qube", record->qube);
	if (record->target)
		add_text(&writer, "target", record->target, WORD_MAX);
	if (record->session != 0)
		add_session(&writer, record->session);
	if (record->rule)
		add_text(&writer, "rule", record->rule, SENTENCE_MAX);
	if (record->outcome)
		add_text(&writer, "outcome", record->outcome, SENTENCE_MAX);
	if (n_left_out > 0)
		json_write_number(&writer, "left-out", n_left_out);
	json_write_hex(&writer, "prev", link->prev, sizeof(link->prev));
	json_write_close(&writer, '}');
	r = json_write_end(&writer, &len);
	if (r < 0)
		return r;
	ret_line[len] = '\n';
	*ret_len = len + 1;
	return 0;
}

void audit_line_sentence(const struct audit_record *record, char *ret_text, size_t size)
{
	char id[CORE_DEVICE_ID_MAX] = "";
	const struct {
		const char *before, *text;
	} parts[] = {
		{"", record->event},
		{": ", record->device ? id : NULL},
		{record->device ? " from " : ": ", record->qube ? record->qube->name : NULL},
		{" to ", record->target},
		{", by rule ", record->rule},
		{": ", record->outcome},
	};
	size_t len = 0;

	if (record->device)
		(void)core_device_id(record->device, id);
	for (size_t i = 0; i < ARRAY_SIZE(parts) && len < size; i++) {
		char safe[CORE_DEVICE_ID_MAX + 1];

		if (!parts[i].text)
			continue;
		shorten(parts[i].text, parts[i].text == id ? CORE_DEVICE_ID_MAX - 1 : SENTENCE_MAX, safe);
		len += (size_t)snprintf(ret_text + len, size - len, "%s%s", parts[i].before, safe);
	}
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Takes `word` off the front of what is left. */
static bool take(const char **at, const char *end, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(end - *at) < len || memcmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

/* Copies the characters of `set` off the front to `ret_word`: false when there are none or more than fit. */
static bool take_span(const char **at, const char *end, const char *set, char *ret_word, size_t size)
{
	size_t len = 0;

	while (*at + len < end && strchr(set, (*at)[len])) {
		if (len + 1 >= size)
			return false;
		ret_word[len] = (*at)[len];
		len++;
	}
	ret_word[len] = '\0';
	*at += len;
	return len > 0;
}

static bool is_printable(const char *bytes, size_t len)
{
	unsigned int bad = 0;

	for (size_t i = 0; i < len; i++) /* without a branch: this is most of the work of reading a log */
		bad |= (unsigned char)(bytes[i] - 0x20) > 0x7e - 0x20;
	return !bad;
}

/* Takes the head of a line, up to its event. */
static int take_head(const char **at, const char *end, uint64_t *ret_seq)
{
	char time[48], digits[24];

	if (!take(at, end, line_start) || !take_span(at, end, "0123456789-:.TZ", time, sizeof(time)) ||
	    !take(at, end, line_seq) || !take_span(at, end, "0123456789", digits, sizeof(digits)) ||
	    !take(at, end, line_event))
		return -EBADMSG;
	if (text_to_u64(digits, INT64_MAX - 1, ret_seq) < 0 || *ret_seq == 0)
		return -EBADMSG;
	return 0;
}

int audit_line_seq(const char *line, size_t len, uint64_t *ret_seq)
{
	uint64_t seq;
	int r = take_head(&line, line + len, &seq);

	if (r == 0)
		*ret_seq = seq;
	return r;
}

int audit_line_parse(const char *line, size_t len, struct audit_link *ret_link)
{
	const char *at = line, *end = line + len, *tail;
	char hex[2 * DIGEST_SIZE + 1];
	struct audit_link link;

	if (len >= LIMIT_AUDIT_LINE || !is_printable(line, len) || take_head(&at, end, &link.seq) < 0)
		return -EBADMSG;
	tail = end - (strlen(line_prev) + 2 * (size_t)DIGEST_SIZE + strlen(line_end));
	if (tail < at || !take(&tail, end, line_prev))
		return -EBADMSG;
	memcpy(hex, tail, sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = '\0';
	tail += sizeof(hex) - 1;
	if (digest_from_hex(hex, link.prev) < 0 || !take(&tail, end, line_end))
		return -EBADMSG;
	*ret_link = link;
	return 0;
}
