// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading and checking the audit log; the contract is in audit-read.h.
 *
 * Invariants: `last` is the newest line that fits to all before it, and report.last_seq its number. A line that does not
 * match the digest of the line before accuses one of the two; the line after it says which: if that one matches, the
 * line in the middle is as it was when its successor was written.
 */
#include "broker/io/audit-read.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/io/audit-line.h"
#include "broker/io/json.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"

/* Where a line is, and what it says. */
struct place {
	char file[AUDIT_NAME_SIZE];
	uint64_t line;
	uint64_t seq;
	uint8_t digest[DIGEST_SIZE];
};

struct audit_check {
	struct audit_walk walk;
	struct audit_end end;
	struct audit_report report;
	struct place last;
	bool done;
};

static void cleanup_check(struct audit_check **check)
{
	(void)audit_check_free(*check);
}

static void cleanup_walk(struct audit_walk *walk)
{
	audit_walk_deinit(walk);
}

static struct place here(const struct audit_check *check, uint64_t seq)
{
	struct place place = {.line = check->walk.line_number, .seq = seq};

	memcpy(place.file, check->walk.name, sizeof(place.file));
	return place;
}

static void blame(struct audit_check *check, enum audit_fault fault, const struct place *place, uint64_t expected)
{
	struct audit_report *report = &check->report;

	memcpy(report->file, place->file, sizeof(report->file));
	report->fault = fault;
	report->line = place->line;
	report->seq = place->seq;
	report->expected = expected;
	check->done = true;
}

static void blame_here(struct audit_check *check, enum audit_fault fault)
{
	struct place place = here(check, 0);

	blame(check, fault, &place, 0);
}

/* `suspect` does not match the line before it. Reads one line more to find out which of the two was changed. */
static int judge_chain(struct audit_check *check, const struct place *suspect)
{
	struct audit_link next;
	bool intact = false;
	int r = 1;

	if (check->report.n_records > 0)
		r = audit_walk_next(&check->walk);
	if (r < 0)
		return r;
	if (r == 0 && audit_line_parse(check->walk.line, check->walk.len, &next) == 0)
		intact = memcmp(next.prev, suspect->digest, DIGEST_SIZE) == 0;
	else if (check->report.n_records > 0)
		intact = check->end.seq != suspect->seq || memcmp(check->end.digest, suspect->digest, DIGEST_SIZE) == 0;
	blame(check, AUDIT_FAULT_CHAIN, intact ? &check->last : suspect, 0);
	return 0;
}

/* The end that the broker knows of, reached in the middle when it has written more meanwhile. */
static bool is_other_end(const struct audit_check *check, const struct place *place)
{
	return check->end.seq == place->seq && memcmp(check->end.digest, place->digest, DIGEST_SIZE) != 0;
}

static int check_line(struct audit_check *check)
{
	static const uint8_t nothing[DIGEST_SIZE];
	struct audit_report *report = &check->report;
	struct audit_walk *walk = &check->walk;
	struct audit_link link;
	struct place place;
	bool first = report->n_records == 0;

	if (audit_line_parse(walk->line, walk->len, &link) < 0 || !json_is_object(walk->line, walk->len)) {
		blame_here(check, AUDIT_FAULT_LINE);
		return 0;
	}
	place = here(check, link.seq);
	digest_sha256(walk->line, walk->len, place.digest);
	if (!first && link.seq != report->last_seq + 1)
		blame(check, AUDIT_FAULT_SEQUENCE, &place, report->last_seq + 1);
	else if (walk->line_number == 1 && walk->first_seq != 0 && walk->first_seq != link.seq)
		blame(check, AUDIT_FAULT_NAME, &place, walk->first_seq);
	else if (first ? link.seq == 1 && memcmp(link.prev, nothing, DIGEST_SIZE) != 0
		       : memcmp(link.prev, check->last.digest, DIGEST_SIZE) != 0)
		return judge_chain(check, &place);
	else if (is_other_end(check, &place))
		blame(check, AUDIT_FAULT_END, &place, 0);
	if (check->done)
		return 0;
	report->n_records++;
	report->first_seq = first ? link.seq : report->first_seq;
	report->last_seq = link.seq;
	check->last = place;
	return 0;
}

static void finish(struct audit_check *check)
{
	check->done = true;
	if (check->report.last_seq < check->end.seq) {
		struct place place = here(check, check->report.last_seq);

		blame(check, AUDIT_FAULT_END, &place, check->end.seq);
	}
}

static int step(struct audit_check *check)
{
	int r = audit_walk_next(&check->walk);
	bool current = check->walk.first_seq == 0;

	switch (r) {
	case 0:
		return check_line(check);
	case AUDIT_WALK_TORN:
		if (current) {
			check->report.n_torn = check->walk.len;
			finish(check);
			break;
		}
		blame_here(check, AUDIT_FAULT_LINE);
		break;
	case AUDIT_WALK_LONG:
		blame_here(check, AUDIT_FAULT_LINE);
		break;
	case AUDIT_WALK_EMPTY:
		blame_here(check, AUDIT_FAULT_NAME);
		break;
	case AUDIT_WALK_ALIEN:
		blame_here(check, AUDIT_FAULT_FILE);
		break;
	case AUDIT_WALK_END:
		finish(check);
		break;
	default:
		return r;
	}
	return 0;
}

int audit_check_new(int state_dir, const struct audit_end *end, struct audit_check **ret_check)
{
	_cleanup_(cleanup_check) struct audit_check *check = calloc(1, sizeof(*check));
	int r;

	if (!check)
		return -ENOMEM;
	if (end)
		check->end = *end;
	r = audit_walk_init(&check->walk, state_dir, 0);
	if (r < 0)
		return r;
	if (r == AUDIT_WALK_ALIEN)
		blame_here(check, AUDIT_FAULT_FILE);
	*ret_check = TAKE_PTR(check);
	return 0;
}

struct audit_check *audit_check_free(struct audit_check *check)
{
	if (!check)
		return NULL;
	audit_walk_deinit(&check->walk);
	free(check);
	return NULL;
}

int audit_check_step(struct audit_check *check, uint64_t n_lines)
{
	while (!check->done && n_lines-- > 0) {
		int r = step(check);

		if (r < 0)
			return r;
	}
	return check->done ? 0 : 1;
}

const struct audit_report *audit_check_report(const struct audit_check *check)
{
	return &check->report;
}

int audit_verify(int state_dir, const struct audit_end *end, struct audit_report *ret_report)
{
	_cleanup_(cleanup_check) struct audit_check *check = NULL;
	int r = audit_check_new(state_dir, end, &check);

	if (r == 0)
		r = audit_check_step(check, UINT64_MAX);
	if (r == 0)
		*ret_report = check->report;
	return r;
}

static const char *const fault_texts[AUDIT_FAULT_COUNT] = {
	[AUDIT_FAULT_FILE] = "this is not a file",
	[AUDIT_FAULT_NAME] = "the file does not begin with the record that its name says",
	[AUDIT_FAULT_LINE] = "this line is not a record",
	[AUDIT_FAULT_SEQUENCE] = "records were removed, inserted or moved here",
	[AUDIT_FAULT_CHAIN] = "this record, or the \"prev\" of the one after it, was changed after it was written",
	[AUDIT_FAULT_END] = "the log does not end as the broker wrote it",
};

void audit_report_text(const struct audit_report *report, char ret_text[AUDIT_REPORT_TEXT])
{
	char line[32] = "", record[32] = "", expected[48] = "";

	if (report->fault == AUDIT_FAULT_NONE) {
		(void)snprintf(ret_text, AUDIT_REPORT_TEXT,
			       "the audit log is in order: %" PRIu64 " records, %" PRIu64 " to %" PRIu64 "%s%s",
			       report->n_records, report->first_seq, report->last_seq,
			       report->first_seq > 1 ? "; older ones are not here" : "",
			       report->n_torn > 0 ? "; it ends in half a line" : "");
		return;
	}
	if (report->line != 0)
		(void)snprintf(line, sizeof(line), ", line %" PRIu64, report->line);
	if (report->seq != 0)
		(void)snprintf(record, sizeof(record), ", record %" PRIu64, report->seq);
	if (report->expected != 0)
		(void)snprintf(expected, sizeof(expected), " (record %" PRIu64 " is due)", report->expected);
	(void)snprintf(ret_text, AUDIT_REPORT_TEXT, "%s%s%s: %s%s", report->file, line, record,
		       fault_texts[report->fault], expected);
}

int audit_read(int state_dir, uint64_t after_seq, char *ret_lines, size_t size, size_t *ret_len, uint64_t *ret_seq)
{
	_cleanup_(cleanup_walk) struct audit_walk walk;
	uint64_t seq = after_seq, before = 0;
	size_t len = 0;
	int r;

	assert(size >= LIMIT_AUDIT_LINE);
	r = audit_walk_init(&walk, state_dir, after_seq + 1);
	if (r == 0)
		r = audit_walk_next(&walk);
	for (; r == 0; r = audit_walk_next(&walk)) {
		struct audit_link link = {0};

		/* one that does not follow is not the broker's, whatever number it has */
		r = audit_line_seq(walk.line, walk.len, &link.seq);
		if (r == 0 && before != 0 && link.seq != before + 1)
			r = -EBADMSG;
		before = link.seq;
		if (r == 0 && link.seq <= after_seq)
			continue;
		if (r == 0)
			r = audit_line_parse(walk.line, walk.len, &link);
		if (r < 0 || walk.len + 1 > size - len)
			break;
		memcpy(ret_lines + len, walk.line, walk.len);
		ret_lines[len + walk.len] = '\n';
		len += walk.len + 1;
		seq = link.seq;
	}
	if (r == AUDIT_WALK_END || (r == AUDIT_WALK_TORN && walk.first_seq == 0))
		r = 0;
	if (r != 0 && len == 0)
		return r < 0 ? r : -EBADMSG;
	*ret_len = len;
	*ret_seq = seq;
	return 0;
}
