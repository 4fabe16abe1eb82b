// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The audit log as a program of its own, for test-audit-faults.py: it is killed, and its system calls are made to fail.
 *
 *     audit-driver DIR write N FILE-BYTES KIND FIRST RESULTS
 *         opens the log and writes N records of KIND ("durable", "note", "mixed": every second durable, "checked": durable,
 *         and then the log is verified and must end in the last one; 1 if it is not in order) with the sessions
 *         FIRST, FIRST + 1...; the 32-bit word i of RESULTS becomes 1 when record i is begun, 2 - r when it returned r
 *     audit-driver DIR verify
 *         prints the report's sentence; ends with 1 when there is a fault
 *     audit-driver DIR read
 *         prints the whole log, page by page
 *     audit-driver DIR bench N SYNCED
 *         writes N records, then SYNCED durable ones, verifies, reads, and prints times
 *
 * RESULTS is mapped, so that it takes no system call and outlives a SIGKILL. getppid(), which nothing else calls, marks in
 * a trace where the log begins.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "broker/io/audit-read.h"
#include "broker/io/audit.h"
#include "lib/base/base.h"
#include "lib/base/limits.h"
#include "lib/base/log.h"

static const struct core_qube source = {.domid = 3, .name = "sys-usb"};
static const struct core_device device = {.class_id = WIRE_CLASS_USB,
					  .vendor = 0x0781,
					  .product = 0x5581,
					  .n_interfaces = 1,
					  .interfaces = {{8, 6, 80}},
					  .port = "1-2",
					  .serial = "AB12"};

static struct audit_record record_of(uint64_t session)
{
	return (struct audit_record){.event = "attach-request",
				     .caller = {.uid = 1000},
				     .answered_by = CORE_NO_USER,
				     .origin = "user",
				     .rule = "30-user.policy:4",
				     .device = &device,
				     .qube = &source,
				     .target = "work",
				     .session = session,
				     .outcome = "done"};
}

static bool is_durable(const char *kind, uint64_t i)
{
	return strcmp(kind, "durable") == 0 || strcmp(kind, "checked") == 0 ||
	       (strcmp(kind, "mixed") == 0 && i % 2 == 1);
}

static int verify(int dir, const struct audit_end *end)
{
	struct audit_report report;
	char text[AUDIT_REPORT_TEXT];
	int r = audit_verify(dir, end, &report);

	if (r < 0)
		return r;
	audit_report_text(&report, text);
	(void)printf("%s\n", text);
	return report.fault != AUDIT_FAULT_NONE;
}

static int write_records(int dir, uint64_t n, uint64_t first, const struct audit_options *options, const char *kind,
			 volatile int32_t *results)
{
	struct audit *audit;
	int r;

	(void)getppid();
	r = audit_new(dir, options, &audit);
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < n; i++) {
		struct audit_record record = record_of(first + i);

		results[i] = 1;
		results[i] = 2 - audit_write(audit, &record, is_durable(kind, i));
	}
	if (strcmp(kind, "checked") == 0) {
		struct audit_end end = audit_end(audit);

		r = verify(dir, &end);
	}
	audit_free(audit);
	return r;
}

static int read_all(int dir)
{
	static char page[LIMIT_ADMIN_PAGE];
	uint64_t seq = 0;
	size_t len;
	int r;

	do {
		r = audit_read(dir, seq, page, sizeof(page), &len, &seq);
		if (r == 0 && fwrite(page, 1, len, stdout) != len)
			return -EIO;
	} while (r == 0 && len > 0);
	return r;
}

static double now_sec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int bench_write(struct audit *audit, uint64_t n, bool durable)
{
	double since = now_sec();

	for (uint64_t i = 0; i < n; i++) {
		struct audit_record record = record_of(i + 1);
		int r = audit_write(audit, &record, durable);

		if (r < 0)
			return r;
	}
	(void)printf("%s: %.2f us a record\n", durable ? "write and sync" : "write",
		     1e6 * (now_sec() - since) / (double)n);
	return 0;
}

static int bench(int dir, uint64_t n, uint64_t n_synced)
{
	static char page[LIMIT_ADMIN_PAGE];
	struct audit *audit;
	uint64_t seq = 0;
	size_t len;
	double since;
	int r = audit_new(dir, NULL, &audit);

	if (r < 0)
		return r;
	r = bench_write(audit, n, false);
	if (r == 0)
		r = bench_write(audit, n_synced, true);
	audit_free(audit);
	if (r < 0)
		return r;
	since = now_sec();
	r = verify(dir, NULL);
	(void)printf("verify: %.3f s\n", now_sec() - since);
	since = now_sec();
	if (r == 0)
		r = audit_read(dir, n + n_synced - 1, page, sizeof(page), &len, &seq);
	(void)printf("read the last record: %.3f ms\n", 1e3 * (now_sec() - since));
	since = now_sec();
	r = audit_new(dir, NULL, &audit);
	(void)printf("open: %.3f ms\n", 1e3 * (now_sec() - since));
	audit_free(audit);
	return r;
}

static volatile int32_t *map_results(const char *path, uint64_t n)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	void *results;

	if (fd < 0 || ftruncate(fd, (off_t)(n * sizeof(int32_t))) < 0)
		return NULL;
	results = mmap(NULL, n * sizeof(int32_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return results == MAP_FAILED ? NULL : results;
}

int main(int argc, char **argv)
{
	_cleanup_close_ int dir = argc > 2 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	const char *verb = argc > 2 ? argv[2] : "";
	uint64_t n = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	int r = -EINVAL;

	log_set_name("audit-driver");
	(void)signal(SIGXFSZ, SIG_IGN);
	if (dir >= 0 && strcmp(verb, "write") == 0 && argc == 8) {
		struct audit_options options = {.file_bytes = strtoull(argv[4], NULL, 10),
						.journal_socket = "/nonexistent/journal"};
		volatile int32_t *results = map_results(argv[7], n);

		r = results ? write_records(dir, n, strtoull(argv[6], NULL, 10), &options, argv[5], results) : -errno;
	} else if (dir >= 0 && strcmp(verb, "verify") == 0) {
		r = verify(dir, NULL);
	} else if (dir >= 0 && strcmp(verb, "read") == 0) {
		r = read_all(dir);
	} else if (dir >= 0 && strcmp(verb, "bench") == 0 && argc == 5) {
		r = bench(dir, n, strtoull(argv[4], NULL, 10));
	}
	if (r < 0)
		(void)fprintf(stderr, "audit-driver: %s\n", strerror(-r));
	return r < 0 ? 2 : r;
}
