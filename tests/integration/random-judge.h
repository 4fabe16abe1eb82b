/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The judge of test-random.c. It knows two things and trusts neither the broker nor its code: what the audit log says,
 * line by line, read with a parser of its own, and what the qubes' agents really do: which streams run, of which plug
 * of which device, in which life of which qube.
 *
 * Invariants: the log is read to its end before anything is judged, so a record that is missing then was not there when
 * the broker acted. A violation ends the test, with what happened last in that world, and leaves the directory.
 */
#pragma once

#include "tests/integration/broker-vocabulary.h"

#include "lib/digest/digest.h"

#define N_WORLDS 12
#define N_SOURCES 2
#define N_QUBES 5 /* of a world: the sources first */
#define N_SLOTS 4 /* devices of a source, from 1 on */
#define N_STREAMS 64
#define N_FORMER 8
#define N_RECORDS 4096
#define N_TRACES 64
#define INTERFACES "u080650"

/* One that an agent runs. */
struct running {
	uint64_t session; /* 0: none */
	uint8_t side;
	uint16_t slot; /* of an export */
	uint32_t generation;
	uint16_t peer;
	uint8_t digest[WIRE_DIGEST];
};

/* A request whose answer the agent holds back. */
struct held {
	enum wire_type type; /* 0: none */
	uint32_t id;
	uint64_t session;
};

struct qube {
	char name[LIMIT_QUBE_NAME + 1];
	struct agent *agent;
	unsigned int world, index;
	bool runs, agent_runs;
	uint64_t began_seq;        /* the log's end when this life began */
	uint16_t former[N_FORMER]; /* domain ids of its last lives, and this one's */
	unsigned int n_lives;
	struct running streams[N_STREAMS];
	struct held held[N_STREAMS];
	bool denied, deny_busy; /* its deny list surely has INTERFACES; a change of it is on its way */
};

/* What the log says of one session. */
struct record {
	uint64_t session;
	unsigned int world;
	char source[LIMIT_QUBE_NAME + 1], target[LIMIT_QUBE_NAME + 1], device[64], port[LIMIT_PORT_TEXT];
	unsigned int domid;
	uint64_t requested_seq, attached_seq, ended_seq; /* 0: not yet */
	unsigned int life;                               /* of the broker */
	unsigned int given_up_in;                        /* the life that called it not-adopted; 0: none */
	bool exported, told;
};

static struct judge {
	int fd;
	size_t len;
	char bytes[65536];
	uint64_t seq, file_seq; /* the last record; the first one of the file that is being read */
	uint8_t digest[DIGEST_SIZE];
	struct record records[N_RECORDS];
	unsigned int n_records;
	unsigned int life;
	char traces[N_WORLDS][N_TRACES][160];
	unsigned int n_traces[N_WORLDS];
	uint64_t schedule[N_WORLDS];
	bool violated;
	uint64_t n_lines, n_attached, n_ended, n_exports, n_imports, n_adopted, n_not_adopted, n_locked, n_denied,
		n_reused;
} judge;

static struct qube qubes[N_WORLDS][N_QUBES];

static __attribute__((format(printf, 2, 3))) void trace(unsigned int world, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(judge.traces[world][judge.n_traces[world]++ % N_TRACES], sizeof(judge.traces[0][0]), format,
			args);
	va_end(args);
}

#define violation(world, ...)                                                                                   \
	do {                                                                                                    \
		judge.violated = true;                                                                          \
		for (unsigned int at = judge.n_traces[world] > N_TRACES ? judge.n_traces[world] - N_TRACES : 0; \
		     at < judge.n_traces[world]; at++)                                                          \
			print_message("  %s\n", judge.traces[world][at % N_TRACES]);                            \
		print_message("world %u, schedule of seed %llu, log and state in %s\n", (unsigned int)(world),  \
			      (unsigned long long)judge.schedule[world], scene.directory);                      \
		fail_msg(__VA_ARGS__);                                                                          \
	} while (0)

static struct running *find_running(struct qube *qube, uint64_t session)
{
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].session == session)
			return &qube->streams[i];
	return NULL;
}

/* The export of this session that runs, or NULL. */
static struct running *exporter_of(unsigned int world, uint64_t session, struct qube **ret_source)
{
	for (unsigned int i = 0; i < N_SOURCES; i++) {
		struct running *stream = session ? find_running(&qubes[world][i], session) : NULL;

		*ret_source = &qubes[world][i];
		if (stream && stream->side == WIRE_SIDE_EXPORT)
			return stream;
	}
	return NULL;
}

/* ---- what the log says ------------------------------------------------------------------------------------------- */

/* The text behind `key` in a line; "" when there is none. */
static const char *text_of(const char *line, const char *key, char *ret_text, size_t size)
{
	const char *at = strstr(line, key);
	size_t len = 0;

	if (at) {
		at += strlen(key);
		len = strcspn(at, "\",}");
		assert_true(len < size);
		memcpy(ret_text, at, len);
	}
	ret_text[len] = '\0';
	return ret_text;
}

static struct record *find_record(uint64_t session)
{
	for (unsigned int i = judge.n_records; i-- > 0;)
		if (judge.records[i].session == session)
			return &judge.records[i];
	return NULL;
}

static struct qube *find_qube(const char *name)
{
	for (unsigned int w = 0; w < N_WORLDS; w++)
		for (unsigned int i = 0; i < N_QUBES; i++)
			if (strcmp(qubes[w][i].name, name) == 0)
				return &qubes[w][i];
	return NULL;
}

static void on_request(const char *line, uint64_t session)
{
	struct record *record = &judge.records[judge.n_records];
	const struct qube *source, *target;
	char number[24];

	assert_true(judge.n_records < N_RECORDS);
	memset(record, 0, sizeof(*record));
	source = find_qube(text_of(line, "\"source\":{\"name\":\"", record->source, sizeof(record->source)));
	target = find_qube(text_of(line, "\"target\":\"", record->target, sizeof(record->target)));
	(void)text_of(line, "\"device\":\"", record->device, sizeof(record->device));
	(void)text_of(line, "\"port\":\"", record->port, sizeof(record->port));
	record->domid = (unsigned int)strtoul(text_of(line, "\"domid\":", number, sizeof(number)), NULL, 10);
	if (session == 0 || !source || !target || source->world != target->world)
		violation(source ? source->world : 0, "an attach-request that nobody can have made: %s", line);
	if (find_record(session))
		violation(source->world, "session %016llx is used twice", (unsigned long long)session);
	if (target->denied && strstr(record->device, INTERFACES))
		violation(source->world, "%s is granted a device on its deny list: %s", target->name, line);
	record->session = session;
	record->world = source->world;
	record->requested_seq = judge.seq;
	record->life = judge.life;
	judge.n_records++;
}

/* For good: what a life of the broker gave up, and was killed before it had stopped it, the next one may prove. */
static bool has_ended(const struct record *record)
{
	return record->ended_seq && (!record->given_up_in || record->given_up_in == judge.life);
}

static void end_record(struct record *record)
{
	judge.n_ended += !record->ended_seq;
	record->ended_seq = judge.seq;
}

static void on_line(const char *line, size_t len)
{
	char number[24], event[64], hex[2 * DIGEST_SIZE + 1], chain[2 * DIGEST_SIZE + 1];
	uint64_t session, seq = strtoull(text_of(line, "\"seq\":", number, sizeof(number)), NULL, 10);
	struct record *record;
	struct qube *source;

	digest_to_hex(judge.digest, chain);
	if (seq != judge.seq + 1)
		violation(0, "record %llu follows %llu", (unsigned long long)seq, (unsigned long long)judge.seq);
	if (strcmp(text_of(line, "\"prev\":\"", hex, sizeof(hex)), chain) != 0)
		violation(0, "the chain breaks at record %llu", (unsigned long long)seq);
	if (strstr(line, "\"left-out\""))
		violation(0, "records were left out: %s", line);
	judge.seq = seq;
	judge.file_seq = judge.file_seq ? judge.file_seq : seq;
	judge.n_lines++;
	digest_sha256(line, len, judge.digest);
	session = strtoull(text_of(line, "\"session\":\"", number, sizeof(number)), NULL, 16);
	(void)text_of(line, "\"event\":\"", event, sizeof(event));
	if (strcmp(event, "attach-request") == 0) {
		on_request(line, session);
		return;
	}
	record = session ? find_record(session) : NULL;
	if (!record)
		return;
	trace(record->world, "log %llu: %s %s session %016llx", (unsigned long long)seq, event, record->target,
	      (unsigned long long)session);
	judge.n_locked += strcmp(event, "locked") == 0;
	judge.n_not_adopted += strcmp(event, "not-adopted") == 0;
	if (strcmp(event, "attached") == 0) {
		if (has_ended(record) || !record->told)
			violation(record->world, "attached is what %s: %s",
				  record->told ? "had ended" : "no agent said to export", line);
		record->attached_seq = seq;
		record->ended_seq = record->given_up_in = 0;
		judge.n_attached++;
		judge.n_adopted += record->life != judge.life;
	}
	if (strcmp(event, "detached") == 0 || strcmp(event, "attach-failed") == 0) {
		if (exporter_of(record->world, session, &source))
			violation(record->world, "called over while %s exports it: %s", source->name, line);
		end_record(record);
	}
	if (strcmp(event, "not-adopted") == 0) { /* it is being stopped, if this life of the broker lasts */
		end_record(record);
		record->given_up_in = judge.life;
	}
}

/* The file that was read is closed and renamed: on to the next one. */
static void next_file(void)
{
	char name[48];

	(void)snprintf(name, sizeof(name), "state/audit-%020llu.log", (unsigned long long)judge.file_seq);
	assert_int_equal(judge.len, 0);
	assert_int_equal(unlink(path_of(name)), 0);
	(void)close(judge.fd);
	judge.fd = -1;
	judge.file_seq = 0;
}

/* Reads the log to its end; from file to file, and files that are read are removed, as they may be. */
static void read_log(void)
{
	bool closed = false; /* the file that is read is complete */

	for (;;) {
		struct stat now, mine;
		char *line = judge.bytes, *end;
		ssize_t n;

		if (judge.fd < 0)
			judge.fd = open(path_of("state/audit.log"), O_RDONLY | O_CLOEXEC);
		if (judge.fd < 0)
			return;
		n = read(judge.fd, judge.bytes + judge.len, sizeof(judge.bytes) - 1 - judge.len);
		if (n <= 0) {
			if (stat(path_of("state/audit.log"), &now) < 0)
				return;
			assert_int_equal(fstat(judge.fd, &mine), 0);
			if (now.st_ino == mine.st_ino && now.st_dev == mine.st_dev)
				return;
			if (closed)
				next_file();
			closed = !closed; /* what came between the last look and its end is still to be read */
			continue;
		}
		judge.len += (size_t)n;
		judge.bytes[judge.len] = '\0';
		while ((end = memchr(line, '\n', judge.len - (size_t)(line - judge.bytes)))) {
			*end = '\0';
			on_line(line, (size_t)(end - line));
			line = end + 1;
		}
		judge.len -= (size_t)(line - judge.bytes);
		memmove(judge.bytes, line, judge.len);
		assert_true(judge.len < sizeof(judge.bytes) - 1);
	}
}

/* What a user was told is done, is in the log since the user asked. */
static void judge_done(const struct qube *target, bool attach, uint64_t asked_seq)
{
	for (unsigned int i = 0; i < judge.n_records; i++) {
		const struct record *record = &judge.records[i];

		if (strcmp(record->target, target->name) == 0 &&
		    (attach ? record->attached_seq : record->ended_seq) > asked_seq)
			return;
	}
	violation(target->world, "%s is told to be done to %s, and is not", attach ? "an attach" : "a detach",
		  target->name);
}

/* ---- what the agents do ------------------------------------------------------------------------------------------ */

static void device_id(const struct qube *source, unsigned int slot, char ret_id[64])
{
	(void)snprintf(ret_id, 64, "0781:5581:%s:" INTERFACES, source->agent->more[slot].serial);
}

static bool had_domid(const struct qube *qube, uint16_t domid)
{
	for (unsigned int i = 0; i < N_FORMER; i++)
		if (qube->former[i] == domid)
			return true;
	return false;
}

/* An EXPORT as it comes in; false: it is of a device that is gone by now. */
static bool judge_export(const struct qube *qube, const struct wire_message *m)
{
	struct record *record;
	char id[64];
	bool here = m->EXPORT.slot < N_SLOTS && qube->agent->more[m->EXPORT.slot].port[0] &&
		    qube->agent->more[m->EXPORT.slot].generation == m->EXPORT.generation;

	read_log();
	record = find_record(m->EXPORT.session);
	judge.n_exports++;
	if (!record)
		violation(qube->world, "%s: EXPORT of %016llx, which has no record", qube->name,
			  (unsigned long long)m->EXPORT.session);
	if (strcmp(record->source, qube->name) != 0 || record->domid != qube->agent->domid)
		violation(qube->world, "%s: EXPORT of a device of %s", qube->name, record->source);
	if (record->requested_seq <= qube->began_seq)
		violation(qube->world, "%s: EXPORT of a session of its former life", qube->name);
	if (record->exported)
		violation(qube->world, "%s: EXPORT twice", qube->name);
	if (!had_domid(find_qube(record->target), m->EXPORT.target))
		violation(qube->world, "%s: EXPORT to domain %u, which never was %s", qube->name, m->EXPORT.target,
			  record->target);
	record->exported = true;
	if (!here)
		return false;
	device_id(qube, m->EXPORT.slot, id);
	if (strcmp(record->device, id) != 0 || strcmp(record->port, qube->agent->more[m->EXPORT.slot].port) != 0)
		violation(qube->world, "%s: EXPORT of %s at %s, granted was %s at %s", qube->name, id,
			  qube->agent->more[m->EXPORT.slot].port, record->device, record->port);
	for (unsigned int i = 0; i < N_STREAMS; i++)
		if (qube->streams[i].session && qube->streams[i].side == WIRE_SIDE_EXPORT &&
		    qube->streams[i].slot == m->EXPORT.slot && qube->streams[i].generation == m->EXPORT.generation)
			violation(qube->world, "%s: a second EXPORT of %s", qube->name, id);
	return true;
}

static void judge_import(const struct qube *qube, const struct wire_message *m)
{
	const struct record *record;

	read_log();
	record = find_record(m->IMPORT.session);
	judge.n_imports++;
	if (!record)
		violation(qube->world, "%s: IMPORT of %016llx, which has no record", qube->name,
			  (unsigned long long)m->IMPORT.session);
	if (strcmp(record->target, qube->name) != 0)
		violation(qube->world, "%s: IMPORT of a session of %s", qube->name, record->target);
	if (record->requested_seq <= qube->began_seq)
		violation(qube->world, "%s: IMPORT of a session of its former life", qube->name);
	if (!record->told || record->domid != m->IMPORT.source)
		violation(qube->world, "%s: IMPORT of what nobody exports, from domain %u", qube->name,
			  m->IMPORT.source);
}

/* After every step: data can flow only between whom the log names, and from one device to one qube. */
static void judge_streams(unsigned int world)
{
	const struct running *seen[N_QUBES * N_STREAMS];
	const struct qube *from[N_QUBES * N_STREAMS];
	unsigned int n = 0;

	for (unsigned int q = N_SOURCES; q < N_QUBES; q++)
		for (unsigned int i = 0; i < N_STREAMS; i++) {
			const struct running *import = &qubes[world][q].streams[i], *export;
			const struct record *record;
			struct qube *source;

			export = import->session ? exporter_of(world, import->session, &source) : NULL;
			if (!export)
				continue;
			record = find_record(import->session);
			if (!record || strcmp(record->target, qubes[world][q].name) != 0 ||
			    strcmp(record->source, source->name) != 0)
				violation(world, "a stream from %s to %s that was not granted", source->name,
					  qubes[world][q].name);
			for (unsigned int k = 0; k < n; k++)
				if (from[k] == source && seen[k]->slot == export->slot &&
				    seen[k]->generation == export->generation)
					violation(world, "a device of %s is at two qubes", source->name);
			from[n] = source;
			seen[n++] = export;
		}
}

/* ---- when all is quiet ------------------------------------------------------------------------------------------- */

static unsigned int count_lines(const char *text)
{
	unsigned int n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* What is listed of a source is what is plugged in there. NULL, or what does not agree (yet). */
static const char *compare_plugs(const struct qube *source, const char *list)
{
	char id[64], entry[160];
	unsigned int n = 0;

	if (strstr(list, "_state="))
		return "a device is neither attached nor free";
	for (unsigned int s = 1; s < N_SLOTS; s++) {
		if (!source->runs || !source->agent->more[s].port[0])
			continue;
		n++;
		device_id(source, s, id);
		(void)snprintf(entry, sizeof(entry), "%s:%s ", source->agent->more[s].port, id);
		if (!strstr(list, entry))
			return "a device that is plugged in is not listed";
	}
	return count_lines(list) != n ? "a device is listed that is not there" : NULL;
}

/* The same of what is attached to a qube, what runs there, and the log. */
static const char *compare_imports(const struct qube *target, const char *list)
{
	char id[64], entry[160];
	unsigned int n = 0;

	for (unsigned int i = 0; i < N_STREAMS; i++) {
		uint64_t session = target->streams[i].session;
		const struct record *record = session ? find_record(session) : NULL;
		const struct running *export;
		struct qube *source;

		if (!session)
			continue;
		n++;
		export = exporter_of(target->world, session, &source);
		if (!export || !record)
			return "an import runs without its export";
		device_id(source, export->slot, id);
		(void)snprintf(entry, sizeof(entry), "%s+%s:%s ", source->name, record->port, id);
		if (!strstr(list, entry))
			return "a stream runs that the list does not have";
		if (!record->attached_seq || record->ended_seq)
			return "a stream runs that the log does not call attached";
	}
	return count_lines(list) != n ? "the list has an attachment that does not run" : NULL;
}

static unsigned int n_streams(const struct qube *qube)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < N_STREAMS; i++)
		n += qube->streams[i].session != 0;
	return n;
}

/* Whether the API's lists (Available of the sources, Attached of the others), the log and the agents say the same. */
static const char *compare(unsigned int world, const char *const lists[N_QUBES])
{
	unsigned int n_exports = 0, n_imports = 0;
	const char *fault = NULL;

	for (unsigned int q = 0; q < N_QUBES && !fault; q++) {
		const struct qube *qube = &qubes[world][q];

		fault = q < N_SOURCES ? compare_plugs(qube, lists[q]) : compare_imports(qube, lists[q]);
		*(q < N_SOURCES ? &n_exports : &n_imports) += n_streams(qube);
	}
	return !fault && n_exports != n_imports ? "an export runs without its import" : fault;
}

static bool runs_anywhere(const struct record *record)
{
	for (unsigned int q = 0; q < N_QUBES; q++)
		if (find_running(&qubes[record->world][q], record->session))
			return true;
	return false;
}

/*
 * What does not run any more has its end in the log. Only what an earlier life of the broker had just recorded, and had
 * not told to any agent, can lack it.
 */
static const char *compare_ends(unsigned int world)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < judge.n_records; i++) {
		const struct record *record = &judge.records[i];

		if (record->world == world && !record->ended_seq && !runs_anywhere(record) &&
		    (record->exported || record->life == judge.life))
			return "a session is over, and the log has no end of it";
	}
	for (unsigned int i = 0; i < judge.n_records; i++)
		if (judge.records[i].world != world || runs_anywhere(&judge.records[i]))
			judge.records[n++] = judge.records[i];
	judge.n_records = n;
	return NULL;
}
