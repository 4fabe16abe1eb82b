/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Admin API's server: its answers to what failed, its events and its connections. Each call's bytes are in
 * test-admin-calls.c; what is asked and ours is in test-admin-own.c.
 */
#include "broker/io/test-admin.h"

#include "broker/io/admin-calls.h"

/* Why a move came to nothing: an outcome, or what denied it; and the same of its way back. */
static void test_moves_that_failed(void **unused _unused_)
{
	static const struct {
		struct core_action action;
		const char *sentence;
	} rows[] = {
		{{.answer = CORE_ANSWER_MOVED_BACK, .outcome = OUTCOME_QUBE_GONE},
		 "moving D from A to B failed: the qube was shut down. It is attached to A again"},
		{{.answer = CORE_ANSWER_MOVED_BACK, .outcome = OUTCOME_STOPPED, .rule = "a.policy:1"},
		 "moving D from A to B failed: denied by a.policy:1. It is attached to A again"},
		{{.answer = CORE_ANSWER_MOVED_FREE, .outcome = OUTCOME_QUBE_GONE},
		 "moving D from A to B failed: the qube was shut down. The way back to A failed too: it is attached "
		 "to no qube; attach it again"},
		{{.answer = CORE_ANSWER_MOVED_FREE,
		  .outcome = OUTCOME_STOPPED,
		  .rule = "a.policy:1",
		  .back_rule = "no rule"},
		 "moving D from A to B failed: denied by a.policy:1. The way back to A is denied by no rule: it is "
		 "attached to no qube; attach it again"},
		{{.answer = CORE_ANSWER_CROWDED},
		 "moving D from A to B needs a yes, and too many questions are open: answer those first (qvm-device "
		 "watch --answer), and try again"},
	};
	static const struct admin_subject subject = {.type = CORE_MOVE, .device = "D", .from = "A", .target = "B"};
	static const char type[] = "2\0QubesException\0";

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct admin_writer writer;
		char reply[1024] = "";

		admin_write_init(&writer, reply, sizeof(reply));
		admin_write_answer(&writer, &subject, &rows[i].action);
		assert_memory_equal(reply, type, sizeof(type));
		assert_string_equal(reply + sizeof(type), rows[i].sentence);
	}
}

/* Outcomes of a failed attach, each with its own type and sentence. */
static void test_failures(void **state)
{
	static const struct {
		enum outcome outcome;
		const char *reply;
		size_t len;
	} rows[] = {
		{OUTCOME_NO_PORT,
		 REFUSED("QubesException", "attaching sys-usb:1-2 to work failed: no free virtual USB port in the "
					   "target qube; detach a device there")},
		{OUTCOME_CHANGED,
		 REFUSED("UnrecognizedDevice", "attaching sys-usb:1-2 to work failed: the device changed after it "
					       "was listed; look at the list again before you attach it")},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row row = {BYTES(ATTACH STICK_ARG FROM "work\0"), rows[i].reply, rows[i].len};

		f->refuse_import = rows[i].outcome;
		run_rows(f, &row, 1);
	}
}

/* A source that does not confirm: the user is told, the device is locked and shown so. */
static void test_locked(void **state)
{
	static const struct row before = {BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")};
	static const struct row after[] = {
		{BYTES(ATTACH STICK_ARG FROM "Personal\0"),
		 REFUSED("QubesException",
			 "sys-usb:1-2 is locked: sys-usb has not confirmed that its attachment to work "
			 "ended; if it stays so, restart sys-usb")},
		{BYTES("admin.vm.device.usb.Available+1-2" FROM "sys-usb\0"),
		 OK(STICK_LINE " attachment='work' interfaces='u080650' _state='locked'\n")},
	};
	static const struct row heirs[] = {
		{BYTES("admin.vm.device.usb.Attached+" FROM "heir\0"), OK("")},
		{BYTES(DETACH STICK_ARG FROM "heir\0"),
		 REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to heir")},
	};
	static const char request[] = DETACH STICK_ARG FROM "work";
	struct fixture *f = *state;
	struct core_qube_ref heir;
	_cleanup_close_ int fd = -1;
	char reply[512];
	bool closed;
	size_t len;

	run_rows(f, &before, 1);
	f->silent = true;
	fd = open_client(f);
	assert_int_equal(send(fd, request, sizeof(request), 0), sizeof(request));
	(void)shutdown(fd, SHUT_WR);
	assert_int_equal(receive(f, fd, reply, sizeof(reply), &closed), 0);
	assert_false(closed); /* it waits */
	f->now_usec += TIMEOUT_STOP_USEC + 1;
	(void)handle(f, (struct core_event){.type = CORE_TICK});
	len = receive(f, fd, reply, sizeof(reply), &closed);
	assert_true(closed && len > 2 && memcmp(reply, "2\0QubesException", 16) == 0);
	run_rows(f, after, ARRAY_SIZE(after));

	/* another qube in the place of the former target has nothing to do with it */
	(void)handle(f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f->work});
	heir = add_qube(f, "heir", 2, WIRE_ROLES & ~WIRE_ROLE_EXPORT);
	assert_int_equal(heir.index, f->work.index);
	run_rows(f, heirs, ARRAY_SIZE(heirs));
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static void test_events(void **state)
{
	static const struct row rows[] = {
		{BYTES(ATTACH STICK_ARG FROM "work\0_max-time='30m'"), OK("")},
		{BYTES(DETACH STICK_ARG FROM "work\0"), OK("")},
	};
	struct fixture *f = *state;
	_cleanup_close_ int all = listen_to(f, "dom0"), of_work = listen_to(f, "work"), later = -1;
	struct core_qube_ref disp;
	struct core_device camera = {.vendor = 1, .product = 2, .port = "3-1", .serial = "it's 100%"};

#define HAD(pre)                                                                                                \
	"1\0work\0device-" pre "attach:usb\0device\0sys-usb:1-2:0781:5581:AB12:u080650\0options\0{'max-time': " \
	"'30m'}\0\0"
#define HAD_NOT(pre) "1\0work\0device-" pre "detach:usb\0port\0sys-usb:1-2\0\0"
	run_rows(f, rows, ARRAY_SIZE(rows));
	assert_events(f, all, BYTES(HAD("pre-") HAD("") HAD_NOT("pre-") HAD_NOT("")));
	assert_events(f, of_work, BYTES(HAD("pre-") HAD("") HAD_NOT("pre-") HAD_NOT("")));
	add_device(f, f->sys_usb, 9, camera);
	assert_int_equal(handle(f, (struct core_event){.type = CORE_DEVICE_GONE,
						       .qube = f->sys_usb,
						       .gone = {.slot = 9, .generation = 10}}),
			 0);
	assert_events(f, all,
		      BYTES("1\0sys-usb\0device-list-change:usb\0\0"
			    "1\0sys-usb\0device-added:usb\0device\0sys-usb:3-1:0001:0002:it_s_100_:?******\0\0"
			    "1\0sys-usb\0device-list-change:usb\0\0"
			    "1\0sys-usb\0device-removed:usb\0port\0sys-usb:3-1\0\0"));
	assert_events(f, of_work, BYTES(""));
	disp = add_qube(f, "disp1", 8, 0);
	admin_qubes_changed(f->admin);
	(void)handle(f, (struct core_event){.type = CORE_QUBE_GONE, .qube = disp});
	admin_qubes_changed(f->admin);
	assert_events(f, all,
		      BYTES("1\0\0domain-add\0vm\0disp1\0\0"
			    "1\0disp1\0domain-start\0\0"
			    "1\0disp1\0domain-shutdown\0\0"
			    "1\0\0domain-delete\0vm\0disp1\0\0"));
	/* a qube that starts again before its former life is gone is in the list all the time */
	later = listen_to(f, "dom0");
	(void)add_qube(f, "work", 12, 0);
	admin_qubes_changed(f->admin);
	(void)handle(f, (struct core_event){.type = CORE_QUBE_GONE, .qube = f->work});
	admin_qubes_changed(f->admin);
	assert_events(f, later,
		      BYTES("1\0work\0domain-shutdown\0\0"
			    "1\0work\0domain-start\0\0"));
}

/* A listener that never reads costs its queue and is dropped; the other gets every event. */
static void test_slow_listener(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int slow = listen_to(f, "dom0"), good = listen_to(f, "dom0");
	char events[4096];
	bool closed = false;
	size_t n_events = 0, n_slow = 0;
	ssize_t n;

	for (unsigned int i = 0; i < 4000; i++) {
		struct core_device camera = {.vendor = 1, .product = 2, .port = "3-1", .serial = "x"};

		camera.ref.slot = 9;
		camera.ref.generation = 100 + i;
		camera.class_id = WIRE_CLASS_USB;
		assert_int_equal(
			handle(f, (struct core_event){.type = CORE_DEVICE, .qube = f->sys_usb, .device = camera}), 0);
		f->n_todo = 0;
		while ((n = recv(good, events, sizeof(events), 0)) > 0)
			for (ssize_t at = 0; at + 13 <= n; at++)
				n_events += memcmp(events + at, "device-added:", 13) == 0;
		if (i % 16 == 0)
			turn(f);
	}
	assert_int_equal(n_events, 4000);
	while (!closed && (n = recv(slow, events, sizeof(events), 0)) != -1) {
		closed = n == 0;
		n_slow += (size_t)n;
	}
	assert_true(closed); /* dropped */
	assert_true(n_slow < LIMIT_ADMIN_QUEUE + 1024 * 1024);
}

/* ---- connections -------------------------------------------------------------------------------------------------- */

static void test_too_long(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *bytes = calloc(1, LIMIT_ADMIN_REQUEST + 1);
	_cleanup_close_ int fd = open_client(f);
	size_t sent = 0;
	char reply[64];
	bool closed;

	(void)strcpy(bytes, "admin.vm.List+" FROM "dom0");
	while (sent < LIMIT_ADMIN_REQUEST + 1) {
		ssize_t n = send(fd, bytes + sent, LIMIT_ADMIN_REQUEST + 1 - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		else
			turn(f);
	}
	assert_int_equal(receive(f, fd, reply, sizeof(reply), &closed), 0); /* without waiting for our end */
	assert_true(closed);
}

/* A header that is none needs no end to be refused. */
static void test_bad_header(void **state)
{
	static const char header[] = "admin.vm.List+ dom0 name";
	struct fixture *f = *state;
	_cleanup_close_ int fd = open_client(f);
	char reply[64];
	bool closed;

	assert_int_equal(send(fd, header, sizeof(header) - 1, 0), sizeof(header) - 1);
	assert_int_equal(receive(f, fd, reply, sizeof(reply), &closed), 0);
	assert_false(closed);
	assert_int_equal(send(fd, "", 1, 0), 1);
	assert_int_equal(receive(f, fd, reply, sizeof(reply), &closed), 0);
	assert_true(closed);
}

/* One byte at a time is the same request; a client that goes away while it waits harms nothing. */
static void test_pieces_and_leavers(void **state)
{
	static const char request[] = "admin.deviceclass.List+" FROM "dom0", attach[] = ATTACH STICK_ARG FROM "work";
	static const struct row attached = {BYTES(DETACH STICK_ARG FROM "work\0"), OK("")};
	struct fixture *f = *state;
	_cleanup_close_ int fd = open_client(f);
	int leaver = open_client(f);
	char reply[64];
	bool closed;

	for (size_t i = 0; i < sizeof(request); i++) {
		assert_int_equal(send(fd, request + i, 1, 0), 1);
		turn(f);
	}
	(void)shutdown(fd, SHUT_WR);
	assert_int_equal(receive(f, fd, reply, sizeof(reply), &closed), 31);
	assert_int_equal(send(leaver, attach, sizeof(attach), 0), sizeof(attach));
	(void)close(leaver);
	turn(f);
	turn(f);
	run_rows(f, &attached, 1);
}

/* CL05: what lies at the socket's place before us */
static void test_socket_place(void **state)
{
	struct fixture *f = *state;
	struct admin *second = NULL;
	char path[128], other[160];
	struct stat st;
	mode_t mask;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(admin_new(f->event, f->path, NULL, f->core, &hooks, f, &second), -EADDRINUSE);
	(void)snprintf(path, sizeof(path), "%s/new", f->directory);
	(void)snprintf(other, sizeof(other), "%s/admin.sock", path);
	mask = umask(077);
	assert_int_equal(admin_new(f->event, other, NULL, f->core, &hooks, f, &second), 0);
	(void)umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(stat(other, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	second = admin_free(second);
	(void)rmdir(path);
	assert_int_equal(admin_new(f->event, "relative.sock", NULL, f->core, &hooks, f, &second), -EINVAL);
	assert_int_equal(admin_new(f->event, f->path, "no-such-group", f->core, &hooks, f, &second), -ESRCH);

	(void)snprintf(path, sizeof(path), "%s/link", f->directory);
	(void)snprintf(other, sizeof(other), "%s/run", f->directory);
	assert_int_equal(symlink(other, path), 0);
	(void)snprintf(other, sizeof(other), "%s/x.sock", path);
	assert_int_equal(admin_new(f->event, other, NULL, f->core, &hooks, f, &second), -ELOOP);
	(void)unlink(path);

	(void)snprintf(path, sizeof(path), "%s/run/x.sock", f->directory);
	assert_int_equal(symlink(f->path, path), 0);
	assert_int_equal(admin_new(f->event, path, NULL, f->core, &hooks, f, &second), -ELOOP);
	(void)unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(admin_new(f->event, path, NULL, f->core, &hooks, f, &second), -EPERM);
	(void)rmdir(path);

	(void)snprintf(other, sizeof(other), "%s/run", f->directory);
	assert_int_equal(chmod(other, 0777), 0);
	assert_int_equal(admin_new(f->event, path, NULL, f->core, &hooks, f, &second), -EPERM);
	assert_int_equal(chmod(other, 0750), 0);
	assert_null(second);

	/* a dead server's socket is replaced */
	{
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		(void)strcpy(address.sun_path, path);
		assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
		(void)close(fd);
	}
	assert_int_equal(admin_new(f->event, path, NULL, f->core, &hooks, f, &second), 0);
	second = admin_free(second);
	assert_int_equal(stat(path, &st), -1);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_failures),      cmocka_unit_test(test_moves_that_failed),
		TEST(test_locked),        TEST(test_events),
		TEST(test_slow_listener), TEST(test_too_long),
		TEST(test_bad_header),    TEST(test_pieces_and_leavers),
		TEST(test_socket_place),
	};

	return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
