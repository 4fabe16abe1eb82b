// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading and checking the audit log: every record of a log in three files is tampered with in every way. */
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/io/audit-files.h"
#include "broker/io/audit-line.h"
#include "broker/io/audit-read.h"
#include "broker/io/audit.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"

#define N_RECORDS 240u
#define N_FILES 3u
#define FILE_BYTES 20000u /* 93 records */
#define TEXT_SIZE 40000u

/* The log as it was written, in memory: each file's text, and where each record is. */
static struct {
	char path[64];
	int dir;
	char names[N_FILES][AUDIT_NAME_SIZE];
	char texts[N_FILES][TEXT_SIZE];
	size_t lens[N_FILES];
	struct {
		unsigned int file;
		uint64_t line;
		size_t start, len; /* with its newline */
	} records[N_RECORDS + 1];  /* by number */
	struct audit_end end;
} scene;

static void store(unsigned int file, const char *text, size_t len)
{
	_cleanup_close_ int fd = -1;

	(void)unlinkat(scene.dir, scene.names[file], 0); /* quicker than to shorten it */
	fd = openat(scene.dir, scene.names[file], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, text, len), len);
}

static void restore(void)
{
	for (unsigned int i = 0; i < N_FILES; i++)
		store(i, scene.texts[i], scene.lens[i]);
}

static void load(unsigned int file, uint64_t first_seq)
{
	_cleanup_close_ int fd = -1;
	ssize_t n;
	size_t at = 0;

	if (first_seq != 0)
		audit_file_name(first_seq, scene.names[file]);
	else
		(void)strcpy(scene.names[file], AUDIT_LOG_NAME);
	fd = openat(scene.dir, scene.names[file], O_RDONLY | O_CLOEXEC);
	n = read(fd, scene.texts[file], TEXT_SIZE);
	assert_in_range(n, 1, TEXT_SIZE - LIMIT_AUDIT_LINE);
	scene.lens[file] = (size_t)n;
	for (uint64_t line = 1; at < (size_t)n; line++) {
		const char *start = scene.texts[file] + at;
		const char *newline = memchr(start, '\n', (size_t)n - at);
		uint64_t seq;

		assert_non_null(newline);
		assert_int_equal(audit_line_seq(start, (size_t)(newline - start), &seq), 0);
		assert_in_range(seq, 1, N_RECORDS);
		scene.records[seq].file = file;
		scene.records[seq].line = line;
		scene.records[seq].start = at;
		scene.records[seq].len = (size_t)(newline - start) + 1;
		at += scene.records[seq].len;
	}
}

static int begin_group(void **state _unused_)
{
	struct audit_options options = {.file_bytes = FILE_BYTES};
	struct audit *audit;
	uint64_t first_seq = 0;

	scratch_make("audit", scene.path, sizeof(scene.path));
	scene.dir = open(scene.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(audit_new(scene.dir, &options, &audit), 0);
	for (uint64_t i = 1; i <= N_RECORDS; i++) {
		struct audit_record record = {.event = "attached",
					      .caller = CORE_NO_USER,
					      .answered_by = CORE_NO_USER,
					      .target = "work",
					      .session = 1000 + i};

		assert_int_equal(audit_write(audit, &record, false), 0);
	}
	scene.end = audit_end(audit);
	audit_free(audit);
	for (unsigned int i = 0; i + 1 < N_FILES; i++) {
		assert_int_equal(audit_files_after(scene.dir, first_seq, &first_seq), 0);
		load(i, first_seq);
	}
	assert_int_equal(audit_files_after(scene.dir, first_seq, &first_seq), 1);
	load(N_FILES - 1, 0);
	return 0;
}

static int end_group(void **state _unused_)
{
	(void)close(scene.dir);
	scratch_remove(scene.path);
	return 0;
}

/* ---- tampering --------------------------------------------------------------------------------------------------- */

static void put(char *text, size_t *len, const char *bytes, size_t n)
{
	assert_true(n <= TEXT_SIZE - *len);
	memcpy(text + *len, bytes, n);
	*len += n;
}

/* Writes the file of record `seq` with `with` in the place of it and of the `n_more` bytes behind it. */
static void replace(uint64_t seq, size_t n_more, const char *with, size_t len)
{
	static char text[TEXT_SIZE];
	unsigned int file = scene.records[seq].file;
	size_t start = scene.records[seq].start, after = start + scene.records[seq].len + n_more, n = 0;

	put(text, &n, scene.texts[file], start);
	put(text, &n, with, len);
	put(text, &n, scene.texts[file] + after, scene.lens[file] - after);
	store(file, text, n);
}

static const char *line_of(uint64_t seq)
{
	return scene.texts[scene.records[seq].file] + scene.records[seq].start;
}

static bool is_last_of_file(uint64_t seq)
{
	return seq == N_RECORDS || scene.records[seq + 1].file != scene.records[seq].file;
}

static void with_part(uint64_t seq, const char *part, const char *other)
{
	char line[LIMIT_AUDIT_LINE];
	char *at;

	memcpy(line, line_of(seq), scene.records[seq].len);
	line[scene.records[seq].len] = '\0';
	at = strstr(line, part);
	assert_non_null(at);
	memcpy(at, other, strlen(other));
	replace(seq, 0, line, scene.records[seq].len);
}

static bool edit(uint64_t seq)
{
	with_part(seq, "\"target\":\"work\"", "\"target\":\"wOrk\"");
	return true;
}

static bool edit_time(uint64_t seq)
{
	with_part(seq, "{\"ts\":\"20", "{\"ts\":\"19");
	return true;
}

static bool edit_number(uint64_t seq)
{
	with_part(seq, "\"seq\":", "\"seq\":0");
	return true;
}

static bool edit_prev(uint64_t seq)
{
	char line[LIMIT_AUDIT_LINE];
	size_t len = scene.records[seq].len;

	memcpy(line, line_of(seq), len);
	line[len - 4] = line[len - 4] == '0' ? '1' : '0';
	replace(seq, 0, line, len);
	return true;
}

static bool break_json(uint64_t seq)
{
	with_part(seq, "\"target\":\"work\"", "\"target\":'work'");
	return true;
}

static bool delete (uint64_t seq)
{
	replace(seq, 0, "", 0);
	return true;
}

static bool cut_newline(uint64_t seq)
{
	replace(seq, 0, line_of(seq), scene.records[seq].len - 1);
	return true;
}

static bool swap(uint64_t seq)
{
	char lines[2 * LIMIT_AUDIT_LINE];
	size_t len = 0;

	if (is_last_of_file(seq))
		return false;
	put(lines, &len, line_of(seq + 1), scene.records[seq + 1].len);
	put(lines, &len, line_of(seq), scene.records[seq].len);
	replace(seq, scene.records[seq + 1].len, lines, len);
	return true;
}

static bool repeat(uint64_t seq)
{
	char lines[2 * LIMIT_AUDIT_LINE];
	size_t len = 0;

	put(lines, &len, line_of(seq), scene.records[seq].len);
	put(lines, &len, line_of(seq), scene.records[seq].len);
	replace(seq, 0, lines, len);
	return true;
}

/* A record of another time, with the number and the `prev` that fit here. */
static bool insert_forged(uint64_t seq)
{
	struct audit_record record = {
		.event = "detached", .caller = {0}, .answered_by = CORE_NO_USER, .target = "work", .session = 1};
	struct audit_link link;
	char lines[2 * LIMIT_AUDIT_LINE];
	size_t len;

	assert_int_equal(audit_line_parse(line_of(seq), scene.records[seq].len - 1, &link), 0);
	assert_int_equal(audit_line_make(&record, &link, 0, lines, &len), 0);
	put(lines, &len, line_of(seq), scene.records[seq].len);
	replace(seq, 0, lines, len);
	return true;
}

static bool replace_by_forged(uint64_t seq)
{
	struct audit_record record = {
		.event = "detached", .caller = {0}, .answered_by = CORE_NO_USER, .target = "work", .session = 1};
	struct audit_link link;
	char line[LIMIT_AUDIT_LINE];
	size_t len;

	assert_int_equal(audit_line_parse(line_of(seq), scene.records[seq].len - 1, &link), 0);
	assert_int_equal(audit_line_make(&record, &link, 0, line, &len), 0);
	replace(seq, 0, line, len);
	return true;
}

static bool insert_garbage(uint64_t seq)
{
	char lines[2 * LIMIT_AUDIT_LINE] = "nonsense\n";
	size_t len = strlen(lines);

	put(lines, &len, line_of(seq), scene.records[seq].len);
	replace(seq, 0, lines, len);
	return true;
}

static bool insert_zero(uint64_t seq)
{
	char line[LIMIT_AUDIT_LINE];

	memcpy(line, line_of(seq), scene.records[seq].len);
	line[20] = '\0';
	replace(seq, 0, line, scene.records[seq].len);
	return true;
}

static bool make_long(uint64_t seq)
{
	char line[2 * LIMIT_AUDIT_LINE];

	memset(line, 'x', sizeof(line));
	memcpy(line, line_of(seq), 30);
	line[sizeof(line) - 1] = '\n';
	replace(seq, 0, line, sizeof(line));
	return true;
}

static const struct tampering {
	const char *name;
	bool (*with)(uint64_t seq); /* false: not possible with this record */
	int lines_after;
	bool not_without_end; /* of the last record only the end that the broker knows can tell */
} tamperings[] = {
	{"edit", edit, 0, true},
	{"edit the time", edit_time, 0, true},
	{"edit the number", edit_number, 0, false},
	{"edit prev", edit_prev, 0, false},
	{"no JSON", break_json, 0, false},
	{"delete", delete, 0, true},
	{"cut its newline", cut_newline, 0, false},
	{"swap", swap, 0, false},
	{"repeat", repeat, 1, false},
	{"insert", insert_forged, 1, false},
	{"replace", replace_by_forged, 0, true},
	{"insert garbage", insert_garbage, 0, false},
	{"a zero byte", insert_zero, 0, false},
	{"too long", make_long, 0, false},
};

/*
 * Does the report name the line in question? What is missing at the end of a file shows in the next one's first line. At
 * the end of the log there is no next line that could tell which of two was changed: there it may be one off.
 */
static bool is_near(const struct audit_report *report, uint64_t seq, int lines_after)
{
	uint64_t line = scene.records[seq].line + (uint64_t)lines_after;

	if (strcmp(report->file, scene.names[scene.records[seq].file]) == 0)
		return report->line == line || (seq == N_RECORDS && report->line + 1 == line);
	return is_last_of_file(seq) && seq < N_RECORDS && report->line == 1 &&
	       strcmp(report->file, scene.names[scene.records[seq + 1].file]) == 0;
}

/* ST22 */
static void test_tampering(void **state _unused_)
{
	struct audit_report report;
	char text[AUDIT_REPORT_TEXT];
	unsigned int n = 0;

	restore();
	assert_int_equal(audit_verify(scene.dir, &scene.end, &report), 0);
	assert_int_equal(report.fault, AUDIT_FAULT_NONE);
	for (size_t t = 0; t < ARRAY_SIZE(tamperings); t++)
		for (uint64_t seq = 1; seq <= N_RECORDS; seq++) {
			if (!tamperings[t].with(seq))
				continue;
			for (int known = 0; known <= 1; known++) {
				bool open_end = !known && seq == N_RECORDS && tamperings[t].not_without_end;

				memset(&report, 0, sizeof(report));
				assert_int_equal(audit_verify(scene.dir, known ? &scene.end : NULL, &report), 0);
				audit_report_text(&report, text);
				if (tamperings[t].with == cut_newline && seq == N_RECORDS && !known)
					assert_int_equal(report.n_torn, scene.records[seq].len - 1);
				else if ((report.fault == AUDIT_FAULT_NONE) != open_end ||
					 (!open_end && !is_near(&report, seq, tamperings[t].lines_after)))
					fail_msg("%s %d (%s:%d), known end %d: %s", tamperings[t].name, (int)seq,
						 scene.names[scene.records[seq].file], (int)scene.records[seq].line,
						 known, text);
				n++;
			}
			store(scene.records[seq].file, scene.texts[scene.records[seq].file],
			      scene.lens[scene.records[seq].file]);
		}
	print_message("# %u checks of tampered logs\n", n);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void change_file(const char *what, unsigned int file)
{
	const char *name = scene.names[file];
	unsigned int other = (file + 1) % N_FILES;

	if (strcmp(what, "remove") == 0 || strcmp(what, "link") == 0 || strcmp(what, "directory") == 0)
		assert_int_equal(unlinkat(scene.dir, name, 0), 0);
	if (strcmp(what, "link") == 0)
		assert_int_equal(symlinkat(scene.names[other], scene.dir, name), 0);
	if (strcmp(what, "directory") == 0)
		assert_int_equal(mkdirat(scene.dir, name, 0700), 0);
	if (strcmp(what, "empty") == 0)
		store(file, "", 0);
	if (strcmp(what, "swap") == 0) {
		store(file, scene.texts[other], scene.lens[other]);
		store(other, scene.texts[file], scene.lens[file]);
	}
}

static void test_files(void **state _unused_)
{
	static const struct {
		const char *what;
		unsigned int file;
		enum audit_fault fault;
		unsigned int found_in;
		bool known_end;
	} cases[] = {
		{"nothing", 0, AUDIT_FAULT_NONE, 0, true},
		{"remove", 0, AUDIT_FAULT_NONE, 0, true}, /* an archive */
		{"remove", 1, AUDIT_FAULT_SEQUENCE, 2, false},
		{"remove", 2, AUDIT_FAULT_NONE, 2, false}, /* a rotation that was cut short looks the same */
		{"remove", 2, AUDIT_FAULT_END, 2, true},
		{"empty", 0, AUDIT_FAULT_NAME, 0, false},
		{"empty", 1, AUDIT_FAULT_NAME, 1, false},
		{"empty", 2, AUDIT_FAULT_NONE, 2, false},
		{"empty", 2, AUDIT_FAULT_END, 2, true},
		{"link", 0, AUDIT_FAULT_FILE, 0, false},
		{"link", 1, AUDIT_FAULT_FILE, 1, false},
		{"link", 2, AUDIT_FAULT_FILE, 2, false},
		{"directory", 0, AUDIT_FAULT_FILE, 0, false},
		{"directory", 1, AUDIT_FAULT_FILE, 1, false},
		{"directory", 2, AUDIT_FAULT_FILE, 2, false},
		{"swap", 0, AUDIT_FAULT_NAME, 0, false},
		{"swap", 1, AUDIT_FAULT_SEQUENCE, 1, false},
		{"swap", 2, AUDIT_FAULT_NAME, 0, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct audit_report report = {0};
		char text[AUDIT_REPORT_TEXT];

		restore();
		change_file(cases[i].what, cases[i].file);
		assert_int_equal(audit_verify(scene.dir, cases[i].known_end ? &scene.end : NULL, &report), 0);
		audit_report_text(&report, text);
		if (report.fault != cases[i].fault ||
		    (report.fault != AUDIT_FAULT_NONE && strcmp(report.file, scene.names[cases[i].found_in]) != 0))
			fail_msg("%s %u: %s", cases[i].what, cases[i].file, text);
		if (unlinkat(scene.dir, scene.names[cases[i].file], 0) < 0 && errno == EISDIR)
			assert_int_equal(unlinkat(scene.dir, scene.names[cases[i].file], AT_REMOVEDIR), 0);
	}
	restore();
}

/* A closed file too many, before, between and after the real ones. */
static void test_alien_files(void **state _unused_)
{
	const uint64_t numbers[] = {2, 100, 95, N_RECORDS, N_RECORDS + 1, 1000000};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		char name[AUDIT_NAME_SIZE];
		struct audit_report report;
		_cleanup_close_ int fd = -1;

		restore();
		audit_file_name(numbers[i], name);
		fd = openat(scene.dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, line_of(1), scene.records[1].len), scene.records[1].len);
		assert_int_equal(audit_verify(scene.dir, NULL, &report), 0);
		assert_int_equal(report.fault, AUDIT_FAULT_SEQUENCE);
		assert_string_equal(report.file, name);
		assert_int_equal(report.line, 1);
		assert_int_equal(unlinkat(scene.dir, name, 0), 0);
	}
}

static void test_empty(void **state _unused_)
{
	struct audit_report report;
	char text[AUDIT_REPORT_TEXT], page[LIMIT_AUDIT_LINE];
	size_t len = 1;
	uint64_t seq = 0;

	for (unsigned int i = 0; i < N_FILES; i++)
		assert_int_equal(unlinkat(scene.dir, scene.names[i], 0), 0);
	assert_int_equal(audit_verify(scene.dir, NULL, &report), 0);
	assert_int_equal(report.fault, AUDIT_FAULT_NONE);
	assert_int_equal(report.n_records + report.first_seq + report.last_seq, 0);
	assert_int_equal(audit_verify(scene.dir, &scene.end, &report), 0);
	assert_int_equal(report.fault, AUDIT_FAULT_END);
	audit_report_text(&report, text);
	assert_int_equal(audit_read(scene.dir, 0, page, sizeof(page), &len, &seq), 0);
	assert_int_equal(len, 0);
	restore();
}

/* In steps, while the broker goes on and closes the file that is being read. */
static void test_steps(void **state _unused_)
{
	struct audit_options options = {.file_bytes = FILE_BYTES};
	struct audit_record record = {.event = "x", .caller = CORE_NO_USER, .answered_by = CORE_NO_USER};
	struct audit_check *check;
	struct audit *audit;
	uint64_t first_seq;
	unsigned int n = 0;
	int r;

	restore();
	assert_int_equal(audit_new(scene.dir, &options, &audit), 0);
	assert_int_equal(audit_check_new(scene.dir, &scene.end, &check), 0);
	while ((r = audit_check_step(check, 10)) == 1) {
		for (unsigned int i = 0; i < 8; i++)
			assert_int_equal(audit_write(audit, &record, false), 0);
		n++;
	}
	assert_int_equal(r, 0);
	assert_int_equal(audit_check_report(check)->fault, AUDIT_FAULT_NONE);
	assert_true(audit_check_report(check)->last_seq >= N_RECORDS && n >= N_RECORDS / 10);
	assert_null(audit_check_free(check));
	audit_free(audit);
	while (audit_files_up_to(scene.dir, UINT64_MAX, &first_seq) == 0) {
		char name[AUDIT_NAME_SIZE];

		audit_file_name(first_seq, name);
		assert_int_equal(unlinkat(scene.dir, name, 0), 0);
	}
	restore();
	assert_null(audit_check_free(NULL));
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

static void test_read_all(void **state _unused_)
{
	static char page[N_FILES * TEXT_SIZE];
	static const size_t sizes[] = {LIMIT_AUDIT_LINE, 5000, 20000, sizeof(page)};

	restore();
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t seq = 0, next = 1;
		size_t len;

		do {
			assert_int_equal(audit_read(scene.dir, seq, page, sizes[i], &len, &seq), 0);
			assert_true(len <= sizes[i]);
			for (size_t at = 0; at < len; at += scene.records[next++].len)
				assert_memory_equal(page + at, line_of(next), scene.records[next].len);
			assert_int_equal(seq, next - 1);
		} while (len > 0);
		assert_int_equal(seq, N_RECORDS);
	}
}

static void test_read_after_each(void **state _unused_)
{
	static char page[LIMIT_AUDIT_LINE];
	uint64_t seq;
	size_t len;

	for (uint64_t after = 0; after <= N_RECORDS + 3; after++) {
		assert_int_equal(audit_read(scene.dir, after, page, sizeof(page), &len, &seq), 0);
		assert_int_equal(len == 0, after >= N_RECORDS);
		assert_true(len == 0 ? seq == after : seq > after);
		if (len > 0)
			assert_memory_equal(page, line_of(after + 1), scene.records[after + 1].len);
	}
	assert_int_equal(audit_read(scene.dir, UINT64_MAX, page, sizeof(page), &len, &seq), 0);
	assert_int_equal(len, 0);
}

/* A page that the records fill to its last byte, and one that is a byte too small. */
static void test_read_exactly(void **state _unused_)
{
	char page[2 * LIMIT_AUDIT_LINE];
	size_t exact = 0, len;
	uint64_t seq, n = 0;

	while (exact < LIMIT_AUDIT_LINE + 1)
		exact += scene.records[++n].len;
	for (size_t missing = 0; missing <= 1; missing++) {
		memset(page, '#', sizeof(page));
		assert_int_equal(audit_read(scene.dir, 0, page, exact - missing, &len, &seq), 0);
		assert_int_equal(seq, n - missing);
		assert_int_equal(page[len - 1], '\n');
		assert_int_equal(page[len], '#');
	}
}

/* What is before a broken line is given out, then the reader is told; half a line at the end is not shown. */
static void test_read_broken(void **state _unused_)
{
	static char page[N_FILES * TEXT_SIZE];
	uint64_t seq = 0;
	size_t len;

	(void)insert_garbage(150);
	assert_int_equal(audit_read(scene.dir, 0, page, sizeof(page), &len, &seq), 0);
	assert_int_equal(seq, 149);
	assert_int_equal(audit_read(scene.dir, seq, page, sizeof(page), &len, &seq), -EBADMSG);
	restore();
	(void)cut_newline(N_RECORDS);
	assert_int_equal(audit_read(scene.dir, 200, page, sizeof(page), &len, &seq), 0);
	assert_int_equal(seq, N_RECORDS - 1);
	assert_int_equal(audit_read(scene.dir, seq, page, sizeof(page), &len, &seq), 0);
	assert_int_equal(len, 0);
	restore();
	assert_int_equal(unlinkat(scene.dir, scene.names[0], 0), 0); /* moved to an archive */
	assert_int_equal(audit_read(scene.dir, 0, page, LIMIT_AUDIT_LINE, &len, &seq), 0);
	assert_memory_equal(page, scene.texts[1], len);
	restore();
}

/* Somebody else adds a line: a copy of a record is none that is due, and one that is too long is none; both are told. */
static void test_read_added(void **state _unused_)
{
	static char page[N_FILES * TEXT_SIZE];
	char lines[3 * LIMIT_AUDIT_LINE];
	size_t first = scene.records[N_RECORDS].len, second = scene.records[N_RECORDS - 1].len, len;
	uint64_t seq = 0;

	memcpy(lines, line_of(N_RECORDS), first);
	memcpy(lines + first, line_of(N_RECORDS - 1), second);
	replace(N_RECORDS, 0, lines, first + second);
	assert_int_equal(audit_read(scene.dir, N_RECORDS - 1, page, sizeof(page), &len, &seq), 0);
	assert_int_equal(len, first);
	assert_int_equal(audit_read(scene.dir, N_RECORDS, page, sizeof(page), &len, &seq), -EBADMSG);
	restore();
	(void)delete (N_RECORDS - 1);
	assert_int_equal(audit_read(scene.dir, N_RECORDS - 2, page, sizeof(page), &len, &seq), -EBADMSG);
	restore();
	(void)make_long(N_RECORDS);
	assert_int_equal(audit_read(scene.dir, N_RECORDS - 2, page, sizeof(page), &len, &seq), 0);
	assert_int_equal(seq, N_RECORDS - 1);
	assert_int_equal(audit_read(scene.dir, seq, page, sizeof(page), &len, &seq), -EBADMSG);
	restore();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tampering),       cmocka_unit_test(test_files),
		cmocka_unit_test(test_alien_files),     cmocka_unit_test(test_empty),
		cmocka_unit_test(test_steps),           cmocka_unit_test(test_read_all),
		cmocka_unit_test(test_read_after_each), cmocka_unit_test(test_read_exactly),
		cmocka_unit_test(test_read_broken),     cmocka_unit_test(test_read_added),
	};

	return cmocka_run_group_tests_name("audit-read", tests, begin_group, end_group);
}
