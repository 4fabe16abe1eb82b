/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state journal: what it keeps, and every single fault of its bytes (ST04, ST05, ST07, ST13, ST14, ST15, ST19).
 * Crashes and failing system calls: tests/integration/test-store-faults.py.
 */
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "broker/io/store-journal.h"
#include "broker/io/store.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/digest/digest.h"

#define FILE_NAME "state.journal"
#define BYTES_MAX (1u << 20)

struct fixture {
	char path[64];
	int dir;
	struct store *store;
	char *bytes; /* BYTES_MAX */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->bytes = malloc(BYTES_MAX);
	assert_non_null(f->bytes);
	scratch_make("store", f->path, sizeof(f->path));
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir >= 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->store = store_free(f->store);
	(void)close(f->dir);
	scratch_remove(f->path);
	free(f->bytes);
	free(f);
	return 0;
}

static void start_with(struct fixture *f, store_check check)
{
	f->store = store_free(f->store);
	assert_int_equal(store_new(f->dir, check, &f->store), 0);
}

static void start(struct fixture *f)
{
	start_with(f, NULL);
}

static size_t read_file(struct fixture *f)
{
	_cleanup_close_ int fd = openat(f->dir, FILE_NAME, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, f->bytes, BYTES_MAX);

	assert_true(n >= 0 && n < (ssize_t)BYTES_MAX);
	return (size_t)n;
}

static void write_file(struct fixture *f, const char *bytes, size_t len)
{
	_cleanup_close_ int fd = openat(f->dir, FILE_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, bytes, len), len);
}

static void assert_fault(struct fixture *f, const char *part)
{
	const char *key, *value;
	unsigned int cursor = 0;

	assert_non_null(store_fault(f->store));
	if (!strstr(store_fault(f->store), part))
		fail_msg("\"%s\" is not in \"%s\"", part, store_fault(f->store));
	assert_int_equal(store_put(f->store, STORE_LABEL, "k", "v"), -EBADMSG);
	assert_int_equal(store_remove(f->store, STORE_LABEL, "k"), -EBADMSG);
	for (unsigned int kind = 0; kind < STORE_KIND_COUNT; kind++)
		assert_false(store_next(f->store, (enum store_kind)kind, &cursor, &key, &value));
}

static void put(struct fixture *f, enum store_kind kind, const char *key, const char *value)
{
	assert_int_equal(store_put(f->store, kind, key, value), 0);
}

static void assert_value(struct fixture *f, enum store_kind kind, const char *key, const char *value)
{
	const char *is = store_get(f->store, kind, key);

	if (!value) {
		assert_null(is);
		return;
	}
	assert_non_null(is);
	assert_string_equal(is, value);
}

/* About thirty lines with all kinds, replaced and removed records. Returns the length; the lines are in f->bytes. */
static size_t make_journal(struct fixture *f)
{
	start(f);
	for (unsigned int i = 0; i < 28; i++) {
		char key[32], value[32];

		(void)snprintf(key, sizeof(key), "key %u", i % 20);
		(void)snprintf(value, sizeof(value), "{\"n\":%u}", i);
		put(f, (enum store_kind)(i % STORE_KIND_COUNT), key, value);
	}
	assert_int_equal(store_remove(f->store, STORE_ASSIGNMENT, "key 4"), 0);
	put(f, STORE_LABEL, "last", "*\xc3\xa9");
	f->store = store_free(f->store);
	return read_file(f);
}

static void test_life(void **state)
{
	static const char *const keys[] = {"a", "a b", "ab", "b"};
	struct fixture *f = *state;
	const char *key, *value;
	unsigned int cursor = 0;

	start(f);
	assert_null(store_fault(f->store));
	put(f, STORE_LABEL, "b", "1");
	put(f, STORE_LABEL, "a", "2");
	put(f, STORE_LABEL, "ab", "3");
	put(f, STORE_LABEL, "a b", "4");
	put(f, STORE_SESSION, "a", "other kind");
	put(f, STORE_LABEL, "a", "5");
	put(f, STORE_LABEL, "gone", "6");
	assert_int_equal(store_remove(f->store, STORE_LABEL, "gone"), 0);
	assert_int_equal(store_remove(f->store, STORE_LABEL, "gone"), STORE_UNKNOWN);
	assert_int_equal(store_remove(f->store, STORE_DENIED, "a"), STORE_UNKNOWN);
	for (unsigned int life = 0; life < 3; life++) {
		for (cursor = 0; cursor < ARRAY_SIZE(keys);) {
			const char *expected = keys[cursor];

			assert_true(store_next(f->store, STORE_LABEL, &cursor, &key, &value));
			assert_string_equal(key, expected);
		}
		assert_false(store_next(f->store, STORE_LABEL, &cursor, &key, &value));
		assert_value(f, STORE_LABEL, "a", "5");
		assert_value(f, STORE_SESSION, "a", "other kind");
		assert_value(f, STORE_LABEL, "gone", NULL);
		assert_value(f, STORE_DENIED, "a", NULL);
		start(f);
		assert_null(store_fault(f->store));
	}
}

/* Nothing is written for what is there already. */
static void test_same_value(void **state)
{
	struct fixture *f = *state;
	size_t len;

	start(f);
	put(f, STORE_LABEL, "a", "1");
	len = read_file(f);
	put(f, STORE_LABEL, "a", "1");
	assert_int_equal(read_file(f), len);
}

static void test_texts(void **state)
{
	struct fixture *f = *state;
	char key[LIMIT_STORE_KEY + 2], value[LIMIT_STORE_VALUE + 2];
	struct {
		const char *key, *value;
		int outcome;
	} cases[] = {
		{"../../etc/passwd", "/", 0},
		{".", "", 0},
		{"%", "%41 %", 0},
		{"  two spaces ", " ", 0},
		{"\xc3\xa9\xe2\x80\xae\xf0\x9f\x92\xa9", "\xff\x80", 0},
		{key + 1, value + 1, 0},
		{"", "v", STORE_UNFIT},
		{key, "v", STORE_UNFIT},
		{"long value", value, STORE_UNFIT},
		{"a\nb", "v", STORE_UNFIT},
		{"newline", "a\nput label x y", STORE_UNFIT},
		{"delete", "\x7f", STORE_UNFIT},
		{"escape", "\x1b[2J", STORE_UNFIT},
	};

	memset(key, '\xe9', sizeof(key) - 1);
	memset(value, ' ', sizeof(value) - 1);
	key[sizeof(key) - 1] = value[sizeof(value) - 1] = '\0';
	start(f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(store_put(f->store, STORE_DENIED, cases[i].key, cases[i].value), cases[i].outcome);
	start(f);
	assert_null(store_fault(f->store));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_value(f, STORE_DENIED, cases[i].key, cases[i].outcome == 0 ? cases[i].value : NULL);
	for (size_t i = 0, len = read_file(f); i < len; i++)
		assert_true(f->bytes[i] == '\n' || (f->bytes[i] >= 0x20 && f->bytes[i] <= 0x7e));
}

static int no_x(enum store_kind kind, const char *key, const char *value)
{
	return kind != STORE_LABEL || (!strchr(key, 'x') && !strchr(value, 'x')) ? 0 : STORE_UNFIT;
}

static int no_memory(enum store_kind kind _unused_, const char *key _unused_, const char *value _unused_)
{
	return -ENOMEM;
}

static void test_check(void **state)
{
	struct fixture *f = *state;

	start_with(f, no_x);
	assert_int_equal(store_put(f->store, STORE_LABEL, "x", "1"), STORE_UNFIT);
	assert_int_equal(store_put(f->store, STORE_LABEL, "1", "x"), STORE_UNFIT);
	put(f, STORE_SESSION, "x", "x");
	start(f);
	put(f, STORE_LABEL, "fine", "1");
	put(f, STORE_LABEL, "x", "1");
	start_with(f, no_x);
	assert_fault(f, "state.journal, line 4: not a record that this version of the broker makes; stop");
}

/* What could not be looked at is not taken for damaged: nothing is given up, not by --recover either. */
static void test_check_fails(void **state)
{
	struct fixture *f = *state;
	struct store *store = NULL;
	unsigned int n_kept = 77, n_lost = 77;
	int dir = f->dir;

	start(f);
	put(f, STORE_LABEL, "a", "1");
	start_with(f, no_x);
	assert_int_equal(store_new(dir, no_memory, &store), -ENOMEM);
	assert_null(store);
	assert_int_equal(store_recover(dir, no_memory, &n_kept, &n_lost), -ENOMEM);
	assert_int_equal(n_kept, 77);
	start_with(f, no_x);
	assert_string_equal(store_get(f->store, STORE_LABEL, "a"), "1");
}

static void test_full(void **state)
{
	struct fixture *f = *state;
	char key[16];
	struct journal_record record = {.kind = STORE_DENIED};
	struct journal_sum sum;
	char line[JOURNAL_LINE_MAX];
	size_t len = 0;
	unsigned int n_kept, n_lost;

	start(f);
	for (unsigned int i = 0; i < LIMIT_DENIED_QUBES; i++) {
		(void)snprintf(key, sizeof(key), "%u", i);
		put(f, STORE_DENIED, key, "");
	}
	assert_int_equal(store_put(f->store, STORE_DENIED, "more", ""), STORE_FULL);
	put(f, STORE_DENIED, "7", "replacing is possible");
	put(f, STORE_LABEL, "more", "another kind is not full");
	assert_int_equal(store_remove(f->store, STORE_DENIED, "7"), 0);
	put(f, STORE_DENIED, "more", "");
	start(f);
	assert_null(store_fault(f->store));
	f->store = store_free(f->store);

	/* a journal with one too many, right otherwise */
	read_file(f);
	len = (size_t)((char *)memchr(f->bytes, '\n', BYTES_MAX) - f->bytes) + 1;
	memcpy(sum.text, f->bytes + len - 1 - JOURNAL_SUM, JOURNAL_SUM);
	sum.text[JOURNAL_SUM] = '\0';
	for (record.seq = 1; record.seq <= LIMIT_DENIED_QUBES + 1; record.seq++) {
		size_t line_len;

		(void)snprintf(record.key, sizeof(record.key), "%u", (unsigned int)record.seq);
		line_len = journal_write_record(&record, &sum, line, &sum);
		memcpy(f->bytes + len, line, line_len);
		len += line_len;
	}
	write_file(f, f->bytes, len);
	start(f);
	assert_fault(f, "state.journal, line 258: more records");
	assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), 0);
	assert_int_equal(n_kept, LIMIT_DENIED_QUBES);
	assert_int_equal(n_lost, 1);
}

/* ST04 */
static void test_every_bit(void **state)
{
	struct fixture *f = *state;
	size_t len = make_journal(f);
	_cleanup_close_ int fd = openat(f->dir, FILE_NAME, O_WRONLY | O_CLOEXEC);

	for (size_t i = 0; i < len; i++) {
		for (unsigned int bit = 0; bit < 8; bit++) {
			char flipped = (char)(f->bytes[i] ^ 1 << bit);

			assert_int_equal(pwrite(fd, &flipped, 1, (off_t)i), 1);
			assert_int_equal(store_new(f->dir, NULL, &f->store), 0);
			if (!store_fault(f->store))
				fail_msg("bit %u of byte %zu is not noticed", bit, i);
			assert_true(strncmp(store_fault(f->store), "state.journal, line ", 20) == 0);
			f->store = store_free(f->store);
		}
		assert_int_equal(pwrite(fd, f->bytes + i, 1, (off_t)i), 1);
	}
	print_message("%zu bits flipped, all noticed\n", 8 * len);
	start(f);
	assert_null(store_fault(f->store));
	assert_value(f, STORE_LABEL, "last", "*\xc3\xa9");
}

/* Each length that a torn write can leave: what was acknowledged before is there, no more. */
static void test_every_cut(void **state)
{
	struct fixture *f = *state;
	size_t len = make_journal(f), header = (size_t)((char *)memchr(f->bytes, '\n', len) - f->bytes) + 1;
	_cleanup_free_ char *bytes = malloc(len);
	unsigned int n_live[40] = {0}, n_lines = 0, n_found;

	assert_non_null(bytes);
	memcpy(bytes, f->bytes, len);
	for (size_t cut = header; cut <= len; cut++) {
		unsigned int n_whole = 0;

		for (size_t i = header; i < cut; i++)
			n_whole += bytes[i] == '\n';
		write_file(f, bytes, cut);
		start(f);
		assert_null(store_fault(f->store));
		n_found = 0;
		for (unsigned int kind = 0; kind < STORE_KIND_COUNT; kind++) {
			const char *key, *value;
			unsigned int cursor = 0;

			while (store_next(f->store, (enum store_kind)kind, &cursor, &key, &value))
				n_found++;
		}
		if (n_whole > n_lines || cut == header)
			n_live[n_lines = n_whole] = n_found;
		assert_int_equal(n_found, n_live[n_whole]);
		if (bytes[cut - 1] != '\n') {
			struct stat st;

			assert_int_equal(fstatat(f->dir, "state.torn", &st, 0), 0);
		}
		put(f, STORE_SESSION, "after", "the cut");
		start(f);
		assert_value(f, STORE_SESSION, "after", "the cut");
	}
	assert_int_equal(n_lines, 30);
	assert_int_equal(n_live[20], 20);
	assert_int_equal(n_live[30], 20);
	for (size_t cut = 0; cut < header; cut++) {
		write_file(f, bytes, cut);
		start(f);
		assert_fault(f, "state.journal, line 1: this is not how");
	}
}

/* Bytes after the last line that no write of ours leaves. */
static void test_bad_ends(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool torn;
	} cases[] = {
		{"0", 1, true},
		{"00099", 5, true},
		{"00099 31 0123", 13, true},
		{"\0", 1, false},
		{"00099 31\0\0\0\0", 12, false},
		{"00005", 5, false},
		{"00009 31 0", 10, false},
		{"x", 1, false},
		{"00099 \x7f", 7, false},
		{"99999 31 0123", 13, false},
		{"00099 \xe9", 7, false},
		{"000 9", 5, false},
	};
	struct fixture *f = *state;
	size_t len = make_journal(f);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(f->bytes + len, cases[i].bytes, cases[i].len);
		write_file(f, f->bytes, len + cases[i].len);
		start(f);
		if (cases[i].torn)
			assert_value(f, STORE_LABEL, "last", "*\xc3\xa9");
		else
			assert_fault(f, "state.journal, line 32: its end is damaged; stop the broker and run");
	}
	memset(f->bytes + len, '0', 60000);
	write_file(f, f->bytes, len + 60000);
	start(f);
	assert_fault(f, "state.journal, line 32: longer than any record");
	f->bytes[len + 60000] = '\n';
	write_file(f, f->bytes, len + 60001);
	start(f);
	assert_fault(f, "state.journal, line 32: longer than any record");
}

/* Where each line of f->bytes begins; returns how many, starts[n] is the end. */
static unsigned int find_lines(struct fixture *f, size_t len, size_t starts[40])
{
	unsigned int n = 0;

	starts[0] = 0;
	for (size_t i = 0; i < len; i++)
		if (f->bytes[i] == '\n')
			starts[++n] = i + 1;
	return n;
}

enum { LINE_REMOVED, LINE_TWICE, LINES_SWAPPED };

/* Lines that are right, in the wrong place. */
static void test_lines_moved(void **state)
{
	struct fixture *f = *state;
	size_t len = make_journal(f), starts[40], n = find_lines(f, len, starts);
	_cleanup_free_ char *bytes = malloc(2 * len);
	unsigned int n_kept, n_lost;

	assert_non_null(bytes);
	assert_int_equal(n, 31);
	for (int change = LINE_REMOVED; change <= LINES_SWAPPED; change++) {
		for (unsigned int i = 1; i + (change != LINE_TWICE) < n; i++) {
			size_t size = starts[i + 1] - starts[i],
			       next = change == LINES_SWAPPED ? starts[i + 2] : starts[i + 1];
			char *end = mempcpy(bytes, f->bytes, starts[i]);
			char expected[32];

			if (change == LINES_SWAPPED)
				end = mempcpy(end, f->bytes + starts[i + 1], starts[i + 2] - starts[i + 1]);
			if (change != LINE_REMOVED)
				end = mempcpy(end, f->bytes + starts[i], size);
			if (change == LINE_TWICE)
				end = mempcpy(end, f->bytes + starts[i], size);
			end = mempcpy(end, f->bytes + next, len - next);
			write_file(f, bytes, (size_t)(end - bytes));
			start(f);
			(void)snprintf(expected, sizeof(expected), "line %u: it does not follow",
				       i + 1 + (change == LINE_TWICE));
			assert_fault(f, expected);
		}
	}
	assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), 0);
	assert_int_equal(n_lost, 0);
	assert_int_equal(n_kept, 20);
}

/* Lines with a right checksum that no broker writes. LENGTH is put where "L" stands. */
static void test_forged_lines(void **state)
{
	static const struct {
		const char *line, *fault; /* NULL: good */
	} cases[] = {
		{"L 1 B put label k v", NULL},
		{"L 1 B put label k ", NULL},
		{"L 1 B put label %25%20%C3 v", NULL},
		{"L 1 B remove label k ", NULL},
		{"00059 1 B put label k v", "not a record"},
		{"L 2 B put label k v", "does not follow"},
		{"L 0 B put label k v", "does not follow"},
		{"L 01 B put label k v", "not a record"},
		{"L 18446744073709551616 B put label k v", "not a record"},
		{"L 111111111111111111111111 B put label k v", "not a record"},
		{"L 1 0123456789abcdef put label k v", "does not follow"},
		{"L 1 0123 put label k v", "not a record"},
		{"L 1 B add label k v", "not a record"},
		{"L 1 B put labels k v", "not a record"},
		{"L 1 B put label  v", "not a record"},
		{"L 1 B put label k", "not a record"},
		{"L 1 B put label k v v", "not a record"},
		{"L 1 B remove label k v", "not a record"},
		{"L 1 B put label %0A v", "not a record"},
		{"L 1 B put label %00 v", "not a record"},
		{"L 1 B put label %7F v", "not a record"},
		{"L 1 B put label %c3 v", "not a record"},
		{"L 1 B put label % v", "not a record"},
		{"L 1 B put label %4 v", "not a record"},
		{"L 1 B put label k %4", "not a record"},
		{"", "not a record"},
	};
	struct fixture *f = *state;
	size_t header;

	start(f);
	f->store = store_free(f->store);
	header = read_file(f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = header;
		uint8_t digest[DIGEST_SIZE];
		char hex[2 * DIGEST_SIZE + 1];

		for (const char *c = cases[i].line; *c; c++) {
			if (*c == 'L')
				len += (size_t)sprintf(f->bytes + len, "%05zu",
						       strlen(cases[i].line) + 4 + 18 +
							       (strstr(cases[i].line, " B ") ? 15 : 0));
			else if (*c == 'B')
				for (size_t k = header - 17; k < header - 1; k++)
					f->bytes[len++] = f->bytes[k];
			else
				f->bytes[len++] = *c;
		}
		digest_sha256(f->bytes + header, len - header, digest);
		digest_to_hex(digest, hex);
		len += (size_t)sprintf(f->bytes + len, " %.16s\n", hex);
		write_file(f, f->bytes, len);
		start(f);
		if (!cases[i].fault && store_fault(f->store))
			fail_msg("\"%s\": %s", cases[i].line, store_fault(f->store));
		else if (cases[i].fault)
			assert_fault(f, cases[i].fault);
	}
}

/* ST05; the sums are from sha256sum(1). */
static void test_headers(void **state)
{
	static const struct {
		const char *header, *fault;
	} cases[] = {
		{"qubes-device-broker-state 2 none 81ac5ce4bd6802da\n",
		 "another version of the broker (install that one to use it); stop"},
		{"qubes-device-broker-state 0 none e614a9034f519988\n",
		 "another version of the broker (install that one to use it); stop"},
		{"other-state 1 none 3defcccde163d7e9\n", "not how a state journal begins"},
		{"qubes-device-broker-state 1 none 81ac5ce4bd6802da\n", "not how a state journal begins"},
		{"\n", "not how a state journal begins"},
	};
	struct fixture *f = *state;
	unsigned int n_kept, n_lost;
	char line[JOURNAL_LINE_MAX];
	struct journal_sum sum;
	struct journal_record record = {.seq = 1, .kind = STORE_LABEL, .key = "k", .value = "v"};
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		write_file(f, cases[i].header, strlen(cases[i].header));
		start(f);
		assert_fault(f, cases[i].fault);
		assert_fault(f, "state.journal, line 1: ");
	}
	len = journal_write_header("0123456789abcdef0123456789abcdef", line, &sum);
	memcpy(f->bytes, line, len);
	len += journal_write_record(&record, &sum, f->bytes + len, &sum);
	write_file(f, f->bytes, len);
	start(f);
	assert_fault(f, "state.journal, line 1: written on another machine; stop");
	assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), 0);
	assert_int_equal(n_kept, 1);
	assert_int_equal(n_lost, 0);
	start(f);
	assert_value(f, STORE_LABEL, "k", "v");

	/* what a newer version means is not known: nothing is kept of it, but the file is */
	memmove(f->bytes + strlen(cases[0].header), f->bytes, len);
	memcpy(f->bytes, cases[0].header, strlen(cases[0].header));
	write_file(f, f->bytes, strlen(cases[0].header) + len);
	assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), 0);
	assert_int_equal(n_kept, 0);
	assert_int_equal(n_lost, 3);
	assert_int_equal(faccessat(f->dir, "state.damaged-2", F_OK, 0), 0);
}

static void make_directory(struct fixture *f)
{
	assert_int_equal(mkdirat(f->dir, FILE_NAME, 0600), 0);
}

static void make_link(struct fixture *f)
{
	assert_int_equal(symlinkat("other", f->dir, FILE_NAME), 0);
}

static void make_second_name(struct fixture *f)
{
	assert_int_equal(linkat(f->dir, "other", f->dir, FILE_NAME, 0), 0);
}

static void make_fifo(struct fixture *f)
{
	assert_int_equal(mkfifoat(f->dir, FILE_NAME, 0600), 0);
}

static void make_open(struct fixture *f)
{
	start(f);
	f->store = store_free(f->store);
	assert_int_equal(fchmodat(f->dir, FILE_NAME, 0620, 0), 0);
}

static void make_empty(struct fixture *f)
{
	write_file(f, "", 0);
}

/* ST14 */
static void test_kinds_of_file(void **state)
{
	static const struct {
		void (*make)(struct fixture *f);
		const char *fault;
	} cases[] = {
		{make_directory, "state.journal cannot be opened: Is a directory; put that right"},
		{make_link, "state.journal cannot be opened: Too many levels of symbolic links; put that right"},
		{make_second_name, "state.journal: the file has a second name"},
		{make_fifo, "state.journal: not a regular file"},
		{make_open, "state.journal: it must belong to the broker's account and have mode 600"},
		{make_empty, "state.journal, line 1: this is not how"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		start(f); /* a sound journal as `other`: neither link may lead to it */
		put(f, STORE_LABEL, "other", "one");
		f->store = store_free(f->store);
		assert_int_equal(renameat(f->dir, FILE_NAME, f->dir, "other"), 0);
		cases[i].make(f);
		start(f);
		assert_fault(f, cases[i].fault);
		f->store = store_free(f->store);
		assert_int_equal(unlinkat(f->dir, FILE_NAME, cases[i].make == make_directory ? AT_REMOVEDIR : 0), 0);
	}
}

/* ST13 */
static void test_changed_while_open(void **state)
{
	struct fixture *f = *state;

	for (int change = 0; change < 5; change++) {
		_cleanup_close_ int fd = -1;

		(void)unlinkat(f->dir, "other", 0);
		start(f);
		put(f, STORE_LABEL, "a", "1");
		fd = openat(f->dir, FILE_NAME, O_WRONLY | O_APPEND | O_CLOEXEC);
		switch (change) {
		case 0:
			assert_int_equal(unlinkat(f->dir, FILE_NAME, 0), 0);
			break;
		case 1:
			assert_int_equal(renameat(f->dir, FILE_NAME, f->dir, "other"), 0);
			write_file(f, f->bytes, 1);
			break;
		case 2:
			assert_int_equal(ftruncate(fd, 10), 0);
			break;
		case 3:
			assert_int_equal(write(fd, "x", 1), 1);
			break;
		case 4:
			assert_int_equal(linkat(f->dir, FILE_NAME, f->dir, "other", 0), 0);
			break;
		}
		assert_int_equal(store_put(f->store, STORE_LABEL, "a", "2"), -ESTALE);
		assert_int_equal(store_put(f->store, STORE_LABEL, "b", "2"), -ESTALE);
		assert_int_equal(store_remove(f->store, STORE_LABEL, "a"), -ESTALE);
		assert_non_null(strstr(store_fault(f->store), "state.journal: removed, replaced or changed"));
		assert_value(f, STORE_LABEL, "a", "1");
		assert_value(f, STORE_LABEL, "b", NULL);
		f->store = store_free(f->store);
		(void)unlinkat(f->dir, FILE_NAME, 0);
	}
}

/* ST07: a put that does not fit into the file is taken back, and works when there is room. */
static void test_file_limit(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, tight;
	size_t len;

	(void)signal(SIGXFSZ, SIG_IGN);
	start(f);
	put(f, STORE_LABEL, "a", "1");
	len = read_file(f);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	for (rlim_t room = 0; room < 56; room++) {
		tight = (struct rlimit){len + room, old.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
		assert_int_equal(store_put(f->store, STORE_LABEL, "a", "2"), -EFBIG);
		assert_int_equal(store_remove(f->store, STORE_LABEL, "a"), -EFBIG);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
		assert_null(store_fault(f->store));
		assert_int_equal(read_file(f), len);
		assert_value(f, STORE_LABEL, "a", "1");
	}
	put(f, STORE_LABEL, "a", "3");
	start(f);
	assert_value(f, STORE_LABEL, "a", "3");
}

/* ST19, small: the file stays within twice what is live and what may be dead. 10^6 are in test-store-faults.py. */
static void test_compaction(void **state)
{
	struct fixture *f = *state;
	char key[16], value[LIMIT_STORE_VALUE + 1];
	size_t longest = 0;

	memset(value, 'v', sizeof(value));
	value[LIMIT_STORE_VALUE] = '\0';
	start(f);
	for (unsigned int i = 0; i < 1000; i++) {
		size_t len;

		(void)snprintf(key, sizeof(key), "%u", i % 10);
		value[0] = (char)('a' + i % 26);
		put(f, STORE_SESSION, key, value);
		len = read_file(f);
		longest = len > longest ? len : longest;
	}
	assert_true(longest < LIMIT_STORE_COMPACT && longest > LIMIT_STORE_COMPACT - 2 * LIMIT_STORE_VALUE);
	start(f);
	assert_null(store_fault(f->store));
	for (unsigned int i = 990; i < 1000; i++) {
		(void)snprintf(key, sizeof(key), "%u", i % 10);
		value[0] = (char)('a' + i % 26);
		assert_value(f, STORE_SESSION, key, value);
	}
	assert_true(read_file(f) < 12 * (size_t)LIMIT_STORE_VALUE);
}

/* A flipped bit in each line, the newlines too: only that line is lost (two, where it was their boundary). */
static void test_recovery(void **state)
{
	struct fixture *f = *state;
	size_t len = make_journal(f), starts[40], n = find_lines(f, len, starts);
	_cleanup_free_ char *bytes = malloc(len);
	unsigned int n_kept, n_lost;

	assert_non_null(bytes);
	memcpy(bytes, f->bytes, len);
	assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), STORE_SOUND);
	for (size_t i = 0; i < n; i++) {
		for (int at_end = 0; at_end < 2; at_end++) {
			size_t at = at_end ? starts[i + 1] - 1 : starts[i] + 7;

			bytes[at] ^= 1;
			write_file(f, bytes, len);
			bytes[at] ^= 1;
			start(f);
			assert_non_null(store_fault(f->store));
			f->store = store_free(f->store);
			assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), 0);
			assert_int_equal(n_lost, at_end && i == n - 1 ? 0 : 1);
			assert_in_range(n_kept, 18, 21);
			assert_int_equal(unlinkat(f->dir, "state.damaged-1", 0), 0);
			start(f);
			assert_null(store_fault(f->store));
			if (i < n - 2 || (i == n - 1 && at_end))
				assert_value(f, STORE_LABEL, "last", "*\xc3\xa9");
			f->store = store_free(f->store);
		}
	}
	/* a recovery that was stopped after the old file had got its second name */
	assert_int_equal(linkat(f->dir, FILE_NAME, f->dir, "state.damaged-1", 0), 0);
	start(f);
	assert_fault(f, "state.journal: the file has a second name; stop");
	assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), 0);
	assert_int_equal(n_lost, 0);
	assert_int_equal(n_kept, 20);
	start(f);
	assert_null(store_fault(f->store));
	f->store = store_free(f->store);
	assert_int_equal(unlinkat(f->dir, FILE_NAME, 0), 0);
	assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), -ENOENT);
	make_link(f);
	assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), -ELOOP);
	assert_int_equal(unlinkat(f->dir, FILE_NAME, 0), 0);
	make_fifo(f);
	assert_int_equal(store_recover(f->dir, NULL, &n_kept, &n_lost), -EBADMSG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),          TEST(test_same_value),
		TEST(test_texts),         TEST(test_check),
		TEST(test_check_fails),   TEST(test_full),
		TEST(test_every_bit),     TEST(test_every_cut),
		TEST(test_bad_ends),      TEST(test_lines_moved),
		TEST(test_headers),       TEST(test_forged_lines),
		TEST(test_kinds_of_file), TEST(test_changed_while_open),
		TEST(test_file_limit),    TEST(test_compaction),
		TEST(test_recovery),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
