/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is kept, in a real store, over the end of whoever kept it. */
#include "tests/scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "broker/core/assignments.h"
#include "broker/core/denied.h"
#include "broker/core/labels.h"
#include "broker/io/keep.h"
#include "broker/io/session-record.h"
#include "broker/io/store-records.h"
#include "lib/base/base.h"

struct fixture {
	char directory[32];
	int fd;
	struct keep *keep;
	struct core *core;
	struct core_qube_ref source, target;
	unsigned int n_assigned, n_denied, n_remembered;
	struct core_memory remembered;
};

static void emit(void *userdata _unused_, const struct core_action *action _unused_)
{
}

static int take(void *userdata, const struct core_event *event)
{
	struct fixture *f = userdata;

	f->n_assigned += event->type == CORE_ASSIGNED;
	f->n_denied += event->type == CORE_DENIED;
	f->n_remembered += event->type == CORE_REMEMBER;
	if (event->type == CORE_REMEMBER)
		f->remembered = event->memory;
	return core_handle(f->core, event, NULL);
}

static void start(struct fixture *f)
{
	f->core = core_new(1, &(struct core_hooks){.emit = emit}, NULL);
	f->n_assigned = f->n_denied = f->n_remembered = 0;
	assert_int_equal(keep_new(f->fd, &f->keep), 0);
	assert_int_equal(keep_load(f->keep, take, f), 0);
}

static void end(struct fixture *f)
{
	f->keep = keep_free(f->keep);
	f->core = core_free(f->core);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	scratch_make("keep", f->directory, sizeof(f->directory));
	f->fd = open(f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	start(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	end(f);
	(void)close(f->fd);
	scratch_remove(f->directory);
	free(f);
	return 0;
}

static struct core_assignment an_assignment(enum core_assign_mode mode)
{
	return (struct core_assignment){
		.class_id = WIRE_CLASS_USB, .target = "work", .source = "sys-usb", .port = "1-2", .mode = mode};
}

/* As the broker does it: first on disk, then in the core. */
static int change(struct fixture *f, const struct core_event *event)
{
	const char *why = NULL;
	int r = keep_change(f->keep, f->core, event, &why);

	if (r < 0)
		assert_non_null(why);
	if (r)
		return r;
	r = core_handle(f->core, event, NULL);
	assert_true(event->type != CORE_ASSIGNED || r == 0);
	return r;
}

static void test_assignments(void **state)
{
	struct fixture *f = *state;
	struct core_assignment assignment = an_assignment(CORE_ASSIGN_AUTO);
	struct core_event event = {.type = CORE_ASSIGNED, .assignment = &assignment};
	unsigned int cursor = 0;

	assert_int_equal(change(f, &event), 0);
	assert_int_equal(change(f, &event), CORE_EVENT_EXISTS);
	(void)strcpy(assignment.port, "no port");
	assert_int_equal(change(f, &event), CORE_EVENT_IGNORED);
	(void)strcpy(assignment.port, "1-2");
	end(f);
	start(f);
	assert_int_equal(f->n_assigned, 1);

	event.type = CORE_ASSIGN_MODE;
	assignment.mode = CORE_ASSIGN_ASK;
	assert_int_equal(change(f, &event), 0);
	end(f);
	start(f);
	assert_int_equal(assignments_next(core_assignments(f->core), &cursor)->mode, CORE_ASSIGN_ASK);

	event.type = CORE_UNASSIGNED;
	assert_int_equal(change(f, &event), 0);
	assert_int_equal(change(f, &event), CORE_EVENT_IGNORED);
	event.type = CORE_ASSIGN_MODE;
	assert_int_equal(change(f, &event), CORE_EVENT_IGNORED);
	end(f);
	start(f);
	assert_int_equal(f->n_assigned, 0);
}

/* All that is stored: "target port path mode " each. */
static void assert_kept(struct fixture *f, const char *expected)
{
	const struct core_assignment *assignment;
	unsigned int cursor = 0;
	char text[512] = "";
	size_t len = 0;

	while ((assignment = assignments_next(core_assignments(f->core), &cursor)))
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s %u ", assignment->port,
					assignment->path[0] ? assignment->path : "-", (unsigned int)assignment->mode);
	assert_string_equal(text, expected);
}

static int relocate(struct fixture *f, struct core_assignment *stored, const char *port, const char *path)
{
	struct core_assignment changed = *stored;
	const char *why = NULL;
	int r;

	(void)strcpy(changed.port, port);
	(void)strcpy(changed.path, path);
	r = keep_relocate(f->keep, f->core, stored, &changed, &why);
	assert_int_equal(r != 0, why != NULL);
	if (r == 0)
		*stored = changed;
	return r;
}

static unsigned int n_stored(struct fixture *f)
{
	struct store *store = NULL;
	unsigned int cursor = 0, n = 0;
	const char *key, *value;

	assert_int_equal(store_new(f->fd, NULL, &store), 0);
	while (store_next(store, STORE_ASSIGNMENT, &cursor, &key, &value))
		n++;
	(void)store_free(store);
	return n;
}

static void test_relocate(void **state)
{
	struct fixture *f = *state;
	struct core_assignment first = an_assignment(CORE_ASSIGN_AUTO), second = an_assignment(CORE_ASSIGN_ASK), third;
	struct core_event event = {.type = CORE_ASSIGNED, .assignment = &first};
	struct store *store = NULL;

	assert_int_equal(change(f, &event), 0);
	assert_int_equal(relocate(f, &first, "1-2", "A"), 0);
	end(f);
	start(f);
	assert_kept(f, "1-2 A 0 ");

	/* two that swap their names, in two steps with an end in between */
	(void)strcpy(second.port, "2-2");
	(void)strcpy(second.path, "B");
	event.assignment = &second;
	assert_int_equal(change(f, &event), 0);
	assert_int_equal(relocate(f, &first, "2-2", "A"), 0);
	end(f);
	start(f);
	assert_kept(f, "2-2 A 0 2-2 B 1 ");
	assert_int_equal(relocate(f, &second, "1-2", "B"), 0);
	end(f);
	start(f);
	assert_kept(f, "2-2 A 0 1-2 B 1 ");

	/* killed after the new record of one that learns its path, before the old one went: one in the core, and again */
	third = an_assignment(CORE_ASSIGN_REQUIRED);
	(void)strcpy(third.port, "3-2");
	event.assignment = &third;
	assert_int_equal(change(f, &event), 0);
	end(f);
	assert_int_equal(store_new(f->fd, NULL, &store), 0);
	(void)strcpy(third.path, "C");
	assert_int_equal(records_put_assignment(store, &third), 0);
	store = store_free(store);
	start(f);
	assert_null(keep_fault(f->keep));
	assert_kept(f, "3-2 - 2 2-2 A 0 1-2 B 1 ");
	end(f);
	assert_int_equal(n_stored(f), 3); /* and nothing is left that could become one again */
	start(f);
	third.path[0] = '\0';
	assert_int_equal(relocate(f, &third, "3-2", "C"), 0);
	end(f);
	start(f);
	assert_kept(f, "2-2 A 0 1-2 B 1 3-2 C 2 ");

	/* it learns a path that another one has: that one stays */
	third = an_assignment(CORE_ASSIGN_REQUIRED);
	(void)strcpy(third.port, "4-2");
	assert_int_equal(change(f, &event), 0);
	assert_int_equal(relocate(f, &third, "4-2", "B"), 0);
	end(f);
	start(f);
	assert_kept(f, "2-2 A 0 1-2 B 1 3-2 C 2 ");
}

/* The disk is full at each of the writes: what is stored stays as it was. */
static void test_relocate_not_kept(void **state)
{
	struct fixture *f = *state;
	struct core_assignment first = an_assignment(CORE_ASSIGN_AUTO), second = first;
	struct core_event event = {.type = CORE_ASSIGNED, .assignment = &first};
	struct core_event unassigned = {.type = CORE_UNASSIGNED, .assignment = &first};
	struct rlimit limit, old;
	bool done = false;

	assert_int_equal(change(f, &event), 0);
	(void)strcpy(second.port, "2-2");
	(void)strcpy(second.path, "B");
	event.assignment = &second;
	assert_int_equal(change(f, &event), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	for (rlim_t more = 0; !done; more += 20) {
		struct stat file;
		int r;

		end(f);
		start(f);
		assert_int_equal(fstatat(f->fd, "state.journal", &file, 0), 0);
		limit = old;
		limit.rlim_cur = (rlim_t)file.st_size + more;
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		r = relocate(f, &first, "1-2", "A");
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
		done = r == 0;
		if (!done && more / 20 % 2 == 0) { /* what was half stored does not outlive the assignment */
			assert_int_equal(change(f, &unassigned), 0);
			end(f);
			assert_int_equal(n_stored(f), 1);
			start(f);
			event.assignment = &first;
			assert_int_equal(change(f, &event), 0);
		}
		end(f);
		start(f);
		assert_null(keep_fault(f->keep));
		assert_kept(f, done ? "1-2 A 0 2-2 B 0 " : "1-2 - 0 2-2 B 0 ");
		assert_true(more < 4000);
	}
	for (rlim_t more = 0; more < 80; more += 40) {
		struct stat file;

		assert_int_equal(fstatat(f->fd, "state.journal", &file, 0), 0);
		limit = old;
		limit.rlim_cur = (rlim_t)file.st_size + more;
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		assert_true(relocate(f, &second, "3-2", "B") < 0);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
		end(f);
		start(f);
		assert_kept(f, "1-2 A 0 2-2 B 0 ");
	}
}

static void test_deny_lists(void **state)
{
	struct fixture *f = *state;
	struct core_event event = {.type = CORE_DENIED};
	unsigned int cursor = 0;

	(void)strcpy(event.denied.qube, "work");
	(void)strcpy(event.denied.patterns[0], "u03**01");
	(void)strcpy(event.denied.patterns[1], "u08****");
	event.denied.n_patterns = 2;
	assert_int_equal(change(f, &event), 0);
	(void)strcpy(event.denied.patterns[1], "nothing");
	assert_int_equal(change(f, &event), CORE_EVENT_IGNORED);
	end(f);
	start(f);
	assert_int_equal(f->n_denied, 1);
	assert_string_equal(denied_next(core_denied(f->core), "work", &cursor), "u03**01");
	assert_string_equal(denied_next(core_denied(f->core), "work", &cursor), "u08****");
	event.denied.n_patterns = 0;
	assert_int_equal(change(f, &event), 0);
	end(f);
	start(f);
	assert_int_equal(f->n_denied, 0);
}

static void test_labels(void **state)
{
	static const struct core_device device = {.vendor = 1, .product = 2, .port = "1-1", .serial = "it's \"one\""};
	struct fixture *f = *state;
	struct core_event event = {.type = CORE_LABELED, .label = {.text = "My 'bank' stick"}};

	labels_key("sys-usb", &device, event.label.key);
	assert_int_equal(change(f, &event), 0);
	(void)strcpy(event.label.text, "back\\slash");
	assert_int_equal(change(f, &event), CORE_EVENT_IGNORED);
	end(f);
	start(f);
	assert_string_equal(labels_of(core_labels(f->core), "sys-usb", &device), "My 'bank' stick");
	event.label.text[0] = '\0';
	assert_int_equal(change(f, &event), 0);
	end(f);
	start(f);
	assert_null(labels_of(core_labels(f->core), "sys-usb", &device));
	for (unsigned int i = 0; i <= LIMIT_LABELS; i++) {
		(void)snprintf(event.label.key, sizeof(event.label.key), "sys-usb %u", i);
		(void)strcpy(event.label.text, "x");
		assert_int_equal(change(f, &event), i < LIMIT_LABELS ? 0 : CORE_EVENT_FULL);
	}
}

static struct core_qube_ref add_qube(struct fixture *f, const char *name, uint16_t domid)
{
	struct core_event event = {.type = CORE_QUBE_STARTED};
	struct core_qube_ref ref = {0};

	event.qube_started.domid = domid;
	event.qube_started.uuid[0] = (uint8_t)domid;
	(void)strcpy(event.qube_started.name, name);
	(void)strcpy(event.qube_started.start, "first");
	assert_int_equal(core_handle(f->core, &event, &ref), 0);
	return ref;
}

static struct core_device a_device(struct core_qube_ref source, struct core_qube_ref target, uint64_t session)
{
	struct core_device device = {.class_id = WIRE_CLASS_USB, .port = "1-2", .session = session, .target = target};

	device.ref.qube = source;
	device.terms.end_usec = 77;
	return device;
}

static void test_sessions(void **state)
{
	struct fixture *f = *state;
	struct core_qube_ref source = add_qube(f, "sys-usb", 3), target = add_qube(f, "work", 4);
	struct core_device device = a_device(source, target, 0xabcdef);

	assert_int_equal(keep_session(f->keep, f->core, &device, false), 0);
	device.session = 2;
	assert_int_equal(keep_session(f->keep, f->core, &device, false), 0);
	keep_forget(f->keep, 2);
	keep_forget(f->keep, 3); /* never was */
	end(f);
	start(f);
	assert_int_equal(f->n_remembered, 1);
	assert_int_equal(f->remembered.session, 0xabcdef);
	assert_false(f->remembered.asleep);
	assert_int_equal(f->remembered.source.domid, 3);
	assert_string_equal(f->remembered.target.name, "work");
	assert_string_equal(f->remembered.source.start, "first");
	assert_int_equal(f->remembered.device.terms.end_usec, 77);
}

/* A session's memory becomes its claim in place, and goes as such. */
static void test_asleep(void **state)
{
	struct fixture *f = *state;
	struct core_qube_ref source = add_qube(f, "sys-usb", 3), target = add_qube(f, "work", 4);
	struct core_device device = a_device(source, target, 7);

	assert_int_equal(keep_session(f->keep, f->core, &device, false), 0);
	assert_int_equal(keep_session(f->keep, f->core, &device, true), 0);
	end(f);
	start(f);
	assert_int_equal(f->n_remembered, 1);
	assert_int_equal(f->remembered.session, 7);
	assert_true(f->remembered.asleep);
	keep_forget(f->keep, 7);
	end(f);
	start(f);
	assert_int_equal(f->n_remembered, 0);
}

/* After a reboot no stream runs: what the last boot kept is dropped, for good. */
static void test_other_boot(void **state)
{
	struct fixture *f = *state;
	struct core_memory memory = {.session = 5, .device = {.class_id = WIRE_CLASS_USB, .port = "1-2"}};
	char key[SESSION_KEY_TEXT], text[SESSION_RECORD_TEXT];
	struct store *store = NULL;
	unsigned int cursor = 0;
	const char *value;

	(void)strcpy(memory.source.name, "sys-usb");
	(void)strcpy(memory.target.name, "work");
	end(f);
	assert_int_equal(store_new(f->fd, NULL, &store), 0);
	for (memory.session = 5; memory.session < 8; memory.session++) {
		session_record_key(memory.session, key);
		assert_int_equal(
			session_record_write(&memory, "01234567-89ab-cdef-0123-456789abcdef", text, sizeof(text)), 0);
		assert_int_equal(store_put(store, STORE_SESSION, key, text), 0);
	}
	store = store_free(store);
	start(f);
	assert_int_equal(f->n_remembered, 0);
	end(f);
	assert_int_equal(store_new(f->fd, NULL, &store), 0);
	assert_false(store_next(store, STORE_SESSION, &cursor, &(const char *){NULL}, &value));
	store = store_free(store);
	start(f);
}

/* A session that is none makes the journal one that is not to be trusted. */
static void test_nonsense(void **state)
{
	struct fixture *f = *state;
	struct core_assignment assignment = an_assignment(CORE_ASSIGN_AUTO);
	struct core_event event = {.type = CORE_ASSIGNED, .assignment = &assignment};
	struct store *store = NULL;

	end(f);
	assert_int_equal(store_new(f->fd, NULL, &store), 0);
	assert_int_equal(store_put(store, STORE_SESSION, "0000000000000001", "{\"session\":1}"), 0);
	store = store_free(store);
	start(f);
	assert_non_null(keep_fault(f->keep));
	assert_true(change(f, &event) < 0);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_assignments), TEST(test_relocate), TEST(test_relocate_not_kept), TEST(test_deny_lists),
		TEST(test_assignments), TEST(test_relocate), TEST(test_relocate_not_kept), TEST(test_labels),
		TEST(test_sessions),    TEST(test_asleep),   TEST(test_other_boot),        TEST(test_nonsense),
	};

	return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}
