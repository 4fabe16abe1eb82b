// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The journal on disk and the table that it makes; the contract is in store.h.
 *
 * Invariants: the tables hold exactly what was acknowledged (loaded, or put with success); journal.size, seq and sum are
 * those of the last acknowledged line, and every line is written there, in a file that is still the one that the directory
 * names. Nothing is allocated between a write and its acknowledgement. A name is given to a file (rename) only after its
 * content is on disk, and the file that had the name is whole until then.
 */
#include "broker/io/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/io/store-journal.h"
#include "lib/base/base.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#define FILE_NAME "state.journal"
#define NEW_NAME "state.new"
#define TORN_NAME "state.torn"
#define DAMAGED_NAME "state.damaged-%u"
#define DAMAGED_MAX 1000u
#define FAULT_MAX 320
#define KEEPS_NOT ": the disk does not keep what is written (%s); see to the disk and start the broker again"
#define RECOVER "stop the broker and run `device-broker --recover`"

struct record {
	const char *value; /* behind the key */
	char key[];
};

struct table {
	unsigned int n, limit;
	struct record **records; /* in the order of their keys */
};

static const unsigned int limits[STORE_KIND_COUNT] = {
	[STORE_ASSIGNMENT] = LIMIT_ASSIGNMENTS,
	[STORE_DENIED] = LIMIT_DENIED_QUBES,
	[STORE_LABEL] = LIMIT_LABELS,
	[STORE_SESSION] = LIMIT_STORED_SESSIONS,
};

/* A file that lines are added to. */
struct journal {
	int fd;
	off_t size;
	uint64_t seq; /* of its last line: so many records, dead ones too */
	struct journal_sum sum;
};

struct store {
	int state_dir;
	store_check check;
	char machine[JOURNAL_MACHINE + 1];
	struct journal journal;
	bool half_line; /* behind journal.size stands what could not be taken back */
	int broken;     /* 0, or what every change fails with from now on */
	char fault[FAULT_MAX];
	off_t compact_size; /* not before the file is so long */
	unsigned int n_live;
	struct table tables[STORE_KIND_COUNT];
	struct journal_record scratch;
	char buffer[4 * JOURNAL_LINE_MAX]; /* of the file that is being read or written */
};

static void cleanup_store(struct store **store)
{
	(void)store_free(*store);
}

static void clear_tables(struct store *store)
{
	for (size_t kind = 0; kind < STORE_KIND_COUNT; kind++) {
		struct table *table = &store->tables[kind];

		while (table->n > 0)
			free(table->records[--table->n]);
	}
	store->n_live = 0;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	clear_tables(store);
	for (size_t kind = 0; kind < STORE_KIND_COUNT; kind++)
		free(store->tables[kind].records);
	cleanup_close(&store->journal.fd);
	free(store);
	return NULL;
}

const char *store_fault(const struct store *store)
{
	return store->broken < 0 ? store->fault : NULL;
}

/* For good. The first fault is the one that counts. */
static int _printf_(3, 4) set_fault(struct store *store, int error, const char *format, ...)
{
	va_list args;

	if (store->broken < 0)
		return store->broken;
	va_start(args, format);
	(void)vsnprintf(store->fault, sizeof(store->fault), format, args);
	va_end(args);
	store->broken = error;
	return error;
}

/* ---- the tables ------------------------------------------------------------------------------------------------ */

/* Where the key is, or would be put. */
static unsigned int find(const struct table *table, const char *key, bool *ret_found)
{
	unsigned int low = 0, high = table->n;

	while (low < high) {
		unsigned int middle = (low + high) / 2;
		int order = strcmp(table->records[middle]->key, key);

		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = false;
	return low;
}

static struct record *make_record(const char *key, const char *value)
{
	size_t key_size = strlen(key) + 1, value_size = strlen(value) + 1;
	struct record *record = malloc(sizeof(*record) + key_size + value_size);

	if (!record)
		return NULL;
	memcpy(record->key, key, key_size);
	memcpy(record->key + key_size, value, value_size);
	record->value = record->key + key_size;
	return record;
}

/* Publishes; takes `record`, which NULL removes. There is room for it. */
static void change_table(struct store *store, enum store_kind kind, unsigned int at, bool found, struct record *record)
{
	struct table *table = &store->tables[kind];
	struct record **slot = &table->records[at];
	size_t n_behind = table->n - at;

	if (found)
		free(*slot);
	if (found && !record) {
		memmove(slot, slot + 1, (n_behind - 1) * sizeof(*slot));
		table->n--;
		store->n_live--;
	} else if (!found) {
		memmove(slot + 1, slot, n_behind * sizeof(*slot));
		table->n++;
		store->n_live++;
	}
	if (record)
		*slot = record;
}

const char *store_get(const struct store *store, enum store_kind kind, const char *key)
{
	bool found;
	unsigned int at = find(&store->tables[kind], key, &found);

	return found ? store->tables[kind].records[at]->value : NULL;
}

bool store_next(const struct store *store, enum store_kind kind, unsigned int *cursor, const char **ret_key,
		const char **ret_value)
{
	const struct table *table = &store->tables[kind];

	if (*cursor >= table->n)
		return false;
	*ret_key = table->records[*cursor]->key;
	*ret_value = table->records[*cursor]->value;
	(*cursor)++;
	return true;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

/* Everything that is live to state.new, on disk. */
static int write_new(struct store *store, struct journal *ret_journal)
{
	_cleanup_close_ int fd = -1;
	struct journal journal = {.fd = -1};
	size_t len;
	int r;

	if (unlinkat(store->state_dir, NEW_NAME, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(store->state_dir, NEW_NAME, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	len = journal_write_header(store->machine, store->buffer, &journal.sum);
	for (unsigned int kind = 0; kind < STORE_KIND_COUNT; kind++) {
		for (unsigned int i = 0; i < store->tables[kind].n; i++) {
			const struct record *from = store->tables[kind].records[i];
			struct journal_record *record = &store->scratch;

			*record = (struct journal_record){.seq = ++journal.seq, .kind = (enum store_kind)kind};
			memcpy(record->key, from->key, strlen(from->key) + 1);
			memcpy(record->value, from->value, strlen(from->value) + 1);
			if (sizeof(store->buffer) - len < JOURNAL_LINE_MAX) {
				r = file_write_all(fd, store->buffer, len);
				if (r < 0)
					return r;
				journal.size += (off_t)len;
				len = 0;
			}
			len += journal_write_record(record, &journal.sum, store->buffer + len, &journal.sum);
		}
	}
	r = file_write_all(fd, store->buffer, len);
	if (r < 0)
		return r;
	journal.size += (off_t)len;
	if (fsync(fd) < 0)
		return -errno;
	journal.fd = TAKE_FD(fd);
	*ret_journal = journal;
	return 0;
}

/*
 * Gives state.new its name and goes on with it. When the directory cannot be synced nobody knows which file a power loss
 * would leave: both are whole now, but a line that is added later would be in one of them only.
 */
static int install_new(struct store *store, struct journal *journal)
{
	if (renameat(store->state_dir, NEW_NAME, store->state_dir, FILE_NAME) < 0) {
		int r = -errno;

		cleanup_close(&journal->fd);
		return r;
	}
	cleanup_close(&store->journal.fd);
	store->journal = *journal;
	store->half_line = false;
	if (fsync(store->state_dir) < 0)
		return set_fault(store, -EIO, FILE_NAME KEEPS_NOT, strerror(errno));
	return 0;
}

static int rewrite(struct store *store)
{
	struct journal journal;
	int r = write_new(store, &journal);

	if (r == 0)
		r = install_new(store, &journal);
	if (r < 0)
		(void)unlinkat(store->state_dir, NEW_NAME, 0);
	return r;
}

/* A failure costs only length: everything is in the old file. */
static void compact(struct store *store)
{
	off_t size = store->journal.size;
	int r;

	if (store->journal.seq - store->n_live <= store->n_live || size < store->compact_size)
		return;
	r = rewrite(store);
	store->compact_size = r == 0 ? (off_t)LIMIT_STORE_COMPACT : 2 * size;
	if (r < 0)
		log_warning(FILE_NAME " cannot be written anew and goes on growing: %s", strerror(-r));
}

/* Is the open file still the one that is found by its name, and does it end where we left it? */
static int check_file(struct store *store)
{
	int r = file_check(store->state_dir, FILE_NAME, store->journal.fd, store->journal.size, &store->half_line);

	if (r == FILE_OTHER)
		r = set_fault(store, -ESTALE,
			      FILE_NAME ": removed, replaced or changed while it was open; put it right and start the "
					"broker again");
	return r;
}

static int append(struct store *store, bool remove, enum store_kind kind, const char *key, const char *value)
{
	struct journal *journal = &store->journal;
	struct journal_record *record = &store->scratch;
	struct journal_sum sum;
	size_t len;
	int r = check_file(store);

	if (r < 0)
		return r;
	*record = (struct journal_record){.seq = journal->seq + 1, .remove = remove, .kind = kind};
	memcpy(record->key, key, strlen(key) + 1);
	memcpy(record->value, value, strlen(value) + 1);
	len = journal_write_record(record, &journal->sum, store->buffer, &sum);
	r = file_append(journal->fd, journal->size, store->buffer, len, true, &store->half_line);
	if (r == FILE_NOT_SYNCED)
		r = set_fault(store, -EIO, FILE_NAME KEEPS_NOT, strerror(errno));
	if (r < 0)
		return r;
	journal->size += (off_t)len;
	journal->seq++;
	journal->sum = sum;
	return 0;
}

int store_put(struct store *store, enum store_kind kind, const char *key, const char *value)
{
	struct table *table = &store->tables[kind];
	_cleanup_free_ struct record *record = NULL;
	bool found;
	unsigned int at;
	int r;

	if (store->broken < 0)
		return store->broken;
	if (key[0] == '\0' || !journal_text_is_fit(key, LIMIT_STORE_KEY) ||
	    !journal_text_is_fit(value, LIMIT_STORE_VALUE))
		return STORE_UNFIT;
	r = store->check ? store->check(kind, key, value) : 0;
	if (r != 0)
		return r;
	at = find(table, key, &found);
	if (found && strcmp(table->records[at]->value, value) == 0)
		return 0;
	if (!found && table->n == table->limit)
		return STORE_FULL;
	record = make_record(key, value);
	if (!record)
		return -ENOMEM;
	r = append(store, false, kind, key, value);
	if (r < 0)
		return r;
	change_table(store, kind, at, found, TAKE_PTR(record));
	compact(store);
	return 0;
}

int store_remove(struct store *store, enum store_kind kind, const char *key)
{
	bool found;
	unsigned int at;
	int r;

	if (store->broken < 0)
		return store->broken;
	at = find(&store->tables[kind], key, &found);
	if (!found)
		return STORE_UNKNOWN;
	r = append(store, true, kind, key, "");
	if (r < 0)
		return r;
	change_table(store, kind, at, true, NULL);
	compact(store);
	return 0;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

enum { LINE_WHOLE, LINE_LONG, LINE_TAIL, LINE_END };

struct reader {
	int fd;
	char *buffer;
	size_t size, start, end;
	bool skipping; /* in a line that is longer than the buffer */
};

/* What there is, until the next call; or a negative errno. */
static int next_line(struct reader *reader, char **ret_line, size_t *ret_len)
{
	for (;;) {
		char *line = reader->buffer + reader->start;
		size_t len = reader->end - reader->start;
		char *newline = memchr(line, '\n', len);
		ssize_t n;

		if (newline) {
			bool is_long = TAKE(reader->skipping, false);

			*ret_line = line;
			*ret_len = (size_t)(newline - line) + 1;
			reader->start += *ret_len;
			return is_long || *ret_len > JOURNAL_LINE_MAX ? LINE_LONG : LINE_WHOLE;
		}
		if (len == reader->size) {
			reader->skipping = true;
			len = 0;
		}
		memmove(reader->buffer, line, len);
		reader->start = 0;
		reader->end = len;
		n = read(reader->fd, reader->buffer + len, reader->size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		reader->end += (size_t)n;
		if (n > 0)
			continue;
		*ret_line = reader->buffer;
		*ret_len = reader->end;
		reader->end = 0;
		if (TAKE(reader->skipping, false))
			return LINE_LONG;
		return len > 0 ? LINE_TAIL : LINE_END;
	}
}

/* What the record says, to the table. 0, a journal_fault or -ENOMEM. */
static int apply(struct store *store, const struct journal_record *record)
{
	struct table *table = &store->tables[record->kind];
	struct record *added = NULL;
	bool found;
	unsigned int at = find(table, record->key, &found);
	int r;

	if (!record->remove) {
		r = store->check ? store->check(record->kind, record->key, record->value) : 0;
		if (r != 0)
			return r < 0 ? r : JOURNAL_FAULT_UNFIT;
		if (!found && table->n == table->limit)
			return JOURNAL_FAULT_FULL;
		added = make_record(record->key, record->value);
		if (!added)
			return -ENOMEM;
	}
	if (added || found)
		change_table(store, record->kind, at, found, added);
	return 0;
}

/* A help for whoever wants to know what was lost; nobody was told that it is there, so its loss is no failure. */
static void keep_torn(const struct store *store, const char *torn, size_t len)
{
	_cleanup_close_ int fd = openat(store->state_dir, TORN_NAME,
					O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);

	if (fd < 0 || file_write_all(fd, torn, len) < 0 || file_write_all(fd, "\n", 1) < 0)
		log_warning(FILE_NAME " ended in half a line, which could not be moved to " TORN_NAME
				      " and was dropped");
	else
		log_warning(FILE_NAME " ended in half a line; it was moved to " TORN_NAME);
}

/* One line in its place. 0, a journal_fault or -ENOMEM. */
static int load_line(struct store *store, int type, const char *line, size_t len)
{
	struct journal *journal = &store->journal;
	int r;

	if (type == LINE_LONG)
		return JOURNAL_FAULT_LONG;
	if (type == LINE_TAIL) {
		if (!journal_is_torn(line, len))
			return JOURNAL_FAULT_END;
		keep_torn(store, line, len);
		store->half_line = true;
		return 0;
	}
	r = journal_read_record(line, len, &journal->sum, journal->seq + 1, &store->scratch, &journal->sum);
	if (r == 0)
		r = apply(store, &store->scratch);
	if (r == 0)
		journal->seq++;
	return r;
}

/* 0; a journal_fault with its line; or a negative errno. */
static int load(struct store *store, unsigned int *ret_n_line)
{
	struct reader reader = {.fd = store->journal.fd, .buffer = store->buffer, .size = sizeof(store->buffer)};

	for (unsigned int n_line = 1;; n_line++) {
		char *line;
		size_t len;
		int type = next_line(&reader, &line, &len), r;

		if (type < 0 || (type == LINE_END && n_line > 1))
			return type < 0 ? type : 0;
		*ret_n_line = n_line;
		if (n_line > 1)
			r = load_line(store, type, line, len);
		else if (type == LINE_WHOLE)
			r = journal_read_header(line, len, store->machine, &store->journal.sum);
		else
			r = JOURNAL_FAULT_HEADER;
		if (r != 0)
			return r;
		if (type == LINE_WHOLE)
			store->journal.size += (off_t)len;
	}
}

/* ---- starting -------------------------------------------------------------------------------------------------- */

/*
 * 0, or a negative errno: it is there and cannot be read. That is not "none": what is written as of no machine would be
 * another machine's at the next start.
 */
static int read_machine(char ret_machine[JOURNAL_MACHINE + 1])
{
	_cleanup_close_ int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char text[JOURNAL_MACHINE + 1] = "";
	ssize_t n = 0;

	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd >= 0)
		n = read(fd, text, JOURNAL_MACHINE);
	if (n < 0)
		return -errno;
	if (n != (ssize_t)JOURNAL_MACHINE || strspn(text, "0123456789abcdef") != JOURNAL_MACHINE)
		(void)snprintf(text, sizeof(text), "none");
	memcpy(ret_machine, text, sizeof(text));
	return 0;
}

static struct store *make_store(int state_dir, store_check check)
{
	_cleanup_(cleanup_store) struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	store->state_dir = state_dir;
	store->check = check;
	store->journal.fd = -1;
	store->compact_size = LIMIT_STORE_COMPACT;
	for (size_t kind = 0; kind < STORE_KIND_COUNT; kind++) {
		struct table *table = &store->tables[kind];

		table->limit = limits[kind];
		table->records = calloc(table->limit, sizeof(struct record *));
		if (!table->records)
			return NULL;
	}
	return TAKE_PTR(store);
}

/* ST10, ST14: ours alone, and a file. */
static int check_kind(struct store *store)
{
	struct stat st, directory;

	if (fstat(store->journal.fd, &st) < 0 || fstat(store->state_dir, &directory) < 0)
		return set_fault(store, -EBADMSG, FILE_NAME ": %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return set_fault(store, -EBADMSG,
				 FILE_NAME ": not a regular file; remove it and start the broker again");
	if ((st.st_uid != geteuid() && st.st_uid != directory.st_uid) || st.st_mode & 077)
		return set_fault(store, -EBADMSG,
				 FILE_NAME
				 ": it must belong to the broker's account and have mode 600; put that right and "
				 "start the broker again");
	if (st.st_nlink != 1)
		return set_fault(store, -EBADMSG, FILE_NAME ": the file has a second name; " RECOVER);
	if (st.st_size > (off_t)LIMIT_STORE_FILE)
		return set_fault(store, -EBADMSG, FILE_NAME ": longer than any journal of ours; " RECOVER);
	return 0;
}

/* 0, -ENOMEM, or a fault that is set. */
static int open_journal(struct store *store)
{
	static const int flags = O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
	unsigned int n_line = 0;
	bool read_only = false;
	int r = read_machine(store->machine);

	if (r < 0)
		return set_fault(store, -EBADMSG,
				 "/etc/machine-id cannot be read: %s; put that right and start the broker again",
				 strerror(-r));
	store->journal.fd = openat(store->state_dir, FILE_NAME, O_RDWR | flags);
	if (store->journal.fd < 0 && errno == EROFS) {
		read_only = true;
		store->journal.fd = openat(store->state_dir, FILE_NAME, O_RDONLY | flags);
	}
	if (store->journal.fd < 0) {
		bool is_new = errno == ENOENT;

		r = is_new ? rewrite(store) : -errno;
		if (r < 0)
			return set_fault(store, -EBADMSG,
					 FILE_NAME " cannot be %s: %s; put that right and start the broker again",
					 is_new ? "made" : "opened", strerror(-r));
		return 0;
	}
	r = check_kind(store);
	if (r < 0)
		return r;
	r = load(store, &n_line);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return set_fault(store, -EBADMSG, FILE_NAME " cannot be read: %s; see to the disk, then " RECOVER,
				 strerror(-r));
	if (r > 0)
		return set_fault(store, -EBADMSG, FILE_NAME ", line %u: %s; " RECOVER, n_line,
				 journal_fault_text((enum journal_fault)r));
	if (read_only)
		return set_fault(store, -EROFS,
				 FILE_NAME ": on a read-only file system; make it writable and start the broker again");
	r = rewrite(store);
	if (r < 0)
		log_warning(FILE_NAME " cannot be written anew: %s", strerror(-r));
	return 0;
}

int store_new(int state_dir, store_check check, struct store **ret_store)
{
	_cleanup_(cleanup_store) struct store *store = make_store(state_dir, check);

	if (!store || open_journal(store) == -ENOMEM)
		return -ENOMEM;
	if (store->broken == -EBADMSG)
		clear_tables(store);
	*ret_store = TAKE_PTR(store);
	return 0;
}

/* ---- recovering ------------------------------------------------------------------------------------------------ */

/* One line by itself. 0, a journal_fault or -ENOMEM. */
static int salvage_line(struct store *store, int type, char *line, size_t len)
{
	struct journal_sum sum;
	int r;

	if (type == LINE_LONG)
		return JOURNAL_FAULT_LONG;
	if (type == LINE_TAIL) {
		if (journal_is_torn(line, len))
			return 0;
		line[len - 1] = '\n'; /* as it was, if only that is damaged */
	}
	r = journal_read_record(line, len, NULL, 0, &store->scratch, &sum);
	return r == 0 ? apply(store, &store->scratch) : r;
}

static int salvage(struct store *store, unsigned int *ret_n_lost)
{
	struct reader reader = {.fd = store->journal.fd, .buffer = store->buffer, .size = sizeof(store->buffer)};
	bool readable = true;

	*ret_n_lost = 0;
	for (unsigned int n_line = 1;; n_line++) {
		struct journal_sum sum;
		char *line;
		size_t len;
		int type = next_line(&reader, &line, &len), r;

		if (type < 0 || type == LINE_END)
			return type < 0 ? type : 0;
		if (n_line == 1) {
			r = type == LINE_WHOLE ? journal_read_header(line, len, store->machine, &sum)
					       : JOURNAL_FAULT_HEADER;
			readable = r != JOURNAL_FAULT_VERSION;
			if (r == 0 || r == JOURNAL_FAULT_MACHINE)
				continue;
		} else {
			r = readable ? salvage_line(store, type, line, len) : JOURNAL_FAULT_VERSION;
		}
		if (r < 0)
			return r;
		if (r > 0) {
			++*ret_n_lost;
			log_warning(FILE_NAME ", line %u is lost: %s", n_line,
				    journal_fault_text((enum journal_fault)r));
		}
	}
}

/* A second name for the old file; the first one is about to be given to the new file. */
static int put_aside(const struct store *store)
{
	char name[sizeof(DAMAGED_NAME) + 10];

	for (unsigned int n = 1; n <= DAMAGED_MAX; n++) {
		(void)snprintf(name, sizeof(name), DAMAGED_NAME, n);
		if (linkat(store->state_dir, FILE_NAME, store->state_dir, name, 0) == 0) {
			log_notice("the damaged " FILE_NAME " is now %s", name);
			return fsync(store->state_dir) < 0 ? -errno : 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

int store_recover(int state_dir, store_check check, unsigned int *ret_n_kept, unsigned int *ret_n_lost)
{
	_cleanup_(cleanup_store) struct store *store = make_store(state_dir, check);
	struct journal journal;
	unsigned int n_line, n_lost;
	struct stat st;
	int r;

	if (!store)
		return -ENOMEM;
	r = read_machine(store->machine);
	if (r < 0)
		return r;
	store->journal.fd = openat(state_dir, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (store->journal.fd < 0 || fstat(store->journal.fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	r = load(store, &n_line);
	if (r == -ENOMEM || (r == 0 && st.st_nlink == 1))
		return r == 0 ? STORE_SOUND : r;
	clear_tables(store);
	if (lseek(store->journal.fd, 0, SEEK_SET) < 0)
		return -errno;
	r = salvage(store, &n_lost);
	if (r == 0)
		r = write_new(store, &journal);
	if (r < 0)
		return r;
	r = put_aside(store);
	if (r < 0)
		cleanup_close(&journal.fd);
	else
		r = install_new(store, &journal);
	if (r < 0)
		return r;
	*ret_n_kept = store->n_live;
	*ret_n_lost = n_lost;
	return 0;
}
