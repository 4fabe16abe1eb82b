// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lines of the audit log; the contract is in audit-line.h. json-c makes and checks them.
 *
 * Invariants: whatever the texts of a record hold, a line is printable ASCII and shorter than LIMIT_AUDIT_LINE: each
 * text has its own limit, and JSON at most doubles printable ASCII.
 */
#include "broker/io/audit-line.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

_Static_assert(2 * (CORE_DEVICE_ID_MAX + LIMIT_PORT_TEXT + 4 * WORD_MAX + 2 * SENTENCE_MAX) + 768 < LIMIT_AUDIT_LINE,
	       "the longest record fits");

static void cleanup_json(json_object **object)
{
	(void)json_object_put(*object);
}
#define _cleanup_json_ _cleanup_(cleanup_json)

static void cleanup_tokener(json_tokener **tokener)
{
	if (*tokener)
		json_tokener_free(*tokener);
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static int add(json_object *object, const char *key, json_object *value)
{
	if (!value)
		return -ENOMEM;
	return json_object_object_add(object, key, value) < 0 ? -ENOMEM : 0;
}

/* At most `max` characters; ends in "..." when there were more. */
static void shorten(const char *text, size_t max, char ret_text[CORE_DEVICE_ID_MAX + 1])
{
	if (text_make_safe(text, strlen(text), ret_text, max + 2) > max)
		(void)strcpy(ret_text + max - 3, "...");
}

static json_object *make_text(const char *text, size_t max)
{
	char safe[CORE_DEVICE_ID_MAX + 1];

	shorten(text, max, safe);
	return json_object_new_string(safe);
}

static json_object *make_time(void)
{
	struct timespec now = {0};
	struct tm tm = {0};
	char text[48];
	size_t len;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(text + len, sizeof(text) - len, ".%06ldZ", now.tv_nsec / 1000);
	return json_object_new_string(text);
}

static json_object *make_hex(uint64_t value)
{
	char text[17];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, value);
	return json_object_new_string(text);
}

static json_object *make_digest(const uint8_t digest[DIGEST_SIZE])
{
	char text[2 * DIGEST_SIZE + 1];

	digest_to_hex(digest, text);
	return json_object_new_string(text);
}

static json_object *make_qube(const struct core_qube *qube)
{
	_cleanup_json_ json_object *object = json_object_new_object();
	char uuid[37];
	size_t len = 0;

	if (!object)
		return NULL;
	for (unsigned int i = 0; i < sizeof(qube->uuid); i++)
		len += (size_t)snprintf(uuid + len, sizeof(uuid) - len, "%s%02x",
					i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", qube->uuid[i]);
	if (add(object, "name", make_text(qube->name, WORD_MAX)) < 0 ||
	    add(object, "domid", json_object_new_int(qube->domid)) < 0 ||
	    add(object, "uuid", json_object_new_string(uuid)) < 0)
		return NULL;
	return TAKE_PTR(object);
}

static int add_device(json_object *object, const struct core_device *device)
{
	char id[CORE_DEVICE_ID_MAX];

	(void)core_device_id(device, id);
	if (add(object, "device", make_text(id, CORE_DEVICE_ID_MAX - 1)) < 0 ||
	    add(object, "port", make_text(device->port, LIMIT_PORT_TEXT)) < 0)
		return -ENOMEM;
	return 0;
}

/* Who and why: what a person looks for first. */
static int add_request(json_object *object, const struct audit_record *record)
{
	if (record->caller != AUDIT_NOBODY && add(object, "who", json_object_new_int64((int64_t)record->caller)) < 0)
		return -ENOMEM;
	if (record->origin && add(object, "origin", make_text(record->origin, WORD_MAX)) < 0)
		return -ENOMEM;
	if (record->answered_by != AUDIT_NOBODY &&
	    add(object, "answered-by", json_object_new_int64((int64_t)record->answered_by)) < 0)
		return -ENOMEM;
	return 0;
}

static int add_all(json_object *object, const struct audit_record *record, const struct audit_link *link,
		   uint64_t n_left_out)
{
	if (add(object, "ts", make_time()) < 0 || add(object, "seq", json_object_new_int64((int64_t)link->seq)) < 0 ||
	    add(object, "event", make_text(record->event, WORD_MAX)) < 0 || add_request(object, record) < 0)
		return -ENOMEM;
	if (record->device && add_device(object, record->device) < 0)
		return -ENOMEM;
	if (record->qube && add(object, record->device ? "source" : "qube", make_qube(record->qube)) < 0)
		return -ENOMEM;
	if (record->target && add(object, "target", make_text(record->target, WORD_MAX)) < 0)
		return -ENOMEM;
	if (record->session != 0 && add(object, "session", make_hex(record->session)) < 0)
		return -ENOMEM;
	if (record->rule && add(object, "rule", make_text(record->rule, SENTENCE_MAX)) < 0)
		return -ENOMEM;
	if (record->outcome && add(object, "outcome", make_text(record->outcome, SENTENCE_MAX)) < 0)
		return -ENOMEM;
	if (n_left_out > 0 && add(object, "left-out", json_object_new_int64((int64_t)n_left_out)) < 0)
		return -ENOMEM;
	return add(object, "prev", make_digest(link->prev));
}

int audit_line_make(const struct audit_record *record, const struct audit_link *link, uint64_t n_left_out,
		    char ret_line[LIMIT_AUDIT_LINE], size_t *ret_len)
{
	_cleanup_json_ json_object *object = json_object_new_object();
	const char *text;
	size_t len;

	if (!object || add_all(object, record, link, n_left_out) < 0)
		return -ENOMEM;
	text = json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (!text || len >= LIMIT_AUDIT_LINE)
		return -ENOMEM;
	memcpy(ret_line, text, len);
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

bool audit_line_is_json(const char *line, size_t len)
{
	_cleanup_(cleanup_tokener) json_tokener *tokener = json_tokener_new();
	_cleanup_json_ json_object *object = NULL;

	if (!tokener)
		return false;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	object = json_tokener_parse_ex(tokener, line, (int)len);
	return json_object_is_type(object, json_type_object) && json_tokener_get_parse_end(tokener) == len;
}
