/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much of the server one user, one qube, or all qubes can take: connections, unread replies, calls, what is stored; and
 * that what qubes may hear is what concerns them.
 */
#include "broker/io/test-admin.h"

#include <unistd.h>

#include "broker/core/assignments.h"

/* A world whose snapshot is some megabytes long. */
static void fill(struct fixture *f)
{
	struct core_device device = {.n_interfaces = LIMIT_INTERFACES};

	memset(device.serial, 's', LIMIT_TEXT);
	memset(device.manufacturer, 'm', LIMIT_TEXT);
	memset(device.product_name, 'p', LIMIT_TEXT);
	for (uint16_t domid = 100; domid < 157; domid++) {
		char name[16];
		struct core_qube_ref qube;

		(void)snprintf(name, sizeof(name), "q%u", domid);
		qube = add_qube(f, name, domid, WIRE_ROLE_EXPORT);
		for (uint16_t slot = 0; slot < LIMIT_DEVICES; slot++) {
			(void)snprintf(device.port, sizeof(device.port), "1-%u", slot);
			add_device(f, qube, slot, device);
		}
	}
	f->n_todo = 0;
}

/* Asks for a snapshot as that user, for that qube, and does not read it. */
static int ask_and_leave(struct fixture *f, uid_t uid, const char *source)
{
	char request[80];
	int fds[2], len = snprintf(request, sizeof(request), "device.Snapshot+ %s name dom0", source);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	admin_serve(f->admin, fds[1], uid);
	assert_int_equal(send(fds[0], request, (size_t)len + 1, MSG_NOSIGNAL), len + 1);
	assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
	turn(f);
	return fds[0];
}

/* How much of the reply there is to be had. */
static size_t read_all(struct fixture *f, int fd)
{
	static char bytes[LIMIT_ADMIN_REPLY];
	bool closed;
	size_t len = 0;

	do
		len += receive(f, fd, bytes, sizeof(bytes), &closed);
	while (!closed);
	(void)close(fd);
	return len;
}

/* Replies that are not read: of one user the oldest give way, and when all users have too many the oldest of all. */
static void test_unread(void **state)
{
	static const struct {
		unsigned int n_users, n_each, n_kept;
	} rows[] = {{1, 5, 3}, {2, 3, 6}, {3, 3, 6}, {7, 1, 6}};
	struct fixture *f = *state;
	size_t whole;

	fill(f);
	whole = read_all(f, ask_and_leave(f, 1, "dom0"));
	/* three of one user, six of all, whatever the kernel has taken of each */
	assert_in_range(whole, LIMIT_ADMIN_UNREAD_ALL / 7 + (1u << 18), LIMIT_ADMIN_UNREAD / 3);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned int n = rows[i].n_users * rows[i].n_each;
		int fds[9];

		for (unsigned int k = 0; k < n; k++)
			fds[k] = ask_and_leave(f, 1 + k / rows[i].n_each, "dom0");
		for (unsigned int k = 0; k < n; k++) {
			size_t len = read_all(f, fds[k]);

			assert_true(k < n - rows[i].n_kept ? len < whole : len == whole);
		}
	}
}

/* Those of qubes are not those of the user who has the same uid: each qube has three, all together six. */
static void test_unread_of_qubes(void **state)
{
	static const char *const sources[] = {"sys-gui", "sys-gui", "sys-gui", "sys-gui", "gui2",
					      "gui2",    "gui2",    "gui3",    "gui3"};
	struct fixture *f = *state;
	int own, fds[ARRAY_SIZE(sources)];
	size_t whole;

	fill(f);
	whole = read_all(f, ask_and_leave(f, 1, "dom0"));
	own = ask_and_leave(f, 1, "dom0");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = ask_and_leave(f, 1, sources[i]);
	assert_int_equal(read_all(f, own), whole);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		size_t len = read_all(f, fds[i]);

		assert_true(i < 3 ? len < whole : len == whole);
	}
}

/* CL02: with every place of this user taken by silent connections, the next one gets the oldest one's. */
static void test_silent(void **state)
{
	static const struct row honest = {BYTES("admin.vm.device.usb.Attached+" FROM "work\0"), OK("")};
	struct fixture *f = *state;
	int fds[1000];
	char byte;
	size_t n_open = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = open_client(f);
		(void)send(fds[i], "admin.", i % 2 ? 6 : 0, MSG_NOSIGNAL);
	}
	run_rows(f, &honest, 1);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		n_open += recv(fds[i], &byte, 1, 0) < 0 && errno == EAGAIN;
		(void)close(fds[i]);
	}
	assert_true(n_open > 0 && n_open <= LIMIT_ADMIN_PER_UID);
}

/* Listeners cannot be evicted: the user who has too many is told so, and another user is served. */
static void test_too_many_listeners(void **state)
{
	struct fixture *f = *state;
	int fds[LIMIT_ADMIN_PER_UID], pair[2];
	char reply[256];
	bool closed;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = listen_to(f, "dom0");
	fd = open_client(f);
	assert_true(receive(f, fd, reply, sizeof(reply), &closed) > 16 && closed);
	assert_memory_equal(reply, "2\0QubesException", 16);
	(void)close(fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	admin_serve(f->admin, pair[1], 4321);
	assert_int_equal(send(pair[0], BYTES("admin.deviceclass.List+" FROM "dom0\0"), 0), 39);
	(void)shutdown(pair[0], SHUT_WR);
	assert_int_equal(receive(f, pair[0], reply, sizeof(reply), &closed), 31);
	(void)close(pair[0]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

/* ---- qubes ------------------------------------------------------------------------------------------------------ */

static const struct row honest = {BYTES("admin.deviceclass.List+" FROM "dom0\0"),
				  OK("block\nmic\nspeaker\nusb\nwebcam\n")};

/* Sends what there is of a request, without an end. */
static int begin_request(struct fixture *f, const char *source)
{
	char request[80];
	int fd = open_client(f), len = snprintf(request, sizeof(request), "device.label.Set+x %s name dom0", source);

	assert_int_equal(send(fd, request, (size_t)len + 1, MSG_NOSIGNAL), len + 1);
	turn(f);
	return fd;
}

static bool is_open(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

static bool is_refused(struct fixture *f, int fd)
{
	char reply[256];
	bool closed;

	assert_true(receive(f, fd, reply, sizeof(reply), &closed) > 2);
	if (closed)
		assert_memory_equal(reply, "2\0QubesException", 16);
	return closed;
}

/* What listens cannot give way to its own: a qube has few of them, and dom0's user has not one less. */
static void test_listeners_of_qubes(void **state)
{
	static const char *const names[] = {"sys-gui", "gui2", "gui3"};
	struct fixture *f = *state;
	int fds[ARRAY_SIZE(names) * (LIMIT_ADMIN_LISTENERS + 1)], own[LIMIT_ADMIN_PER_UID];
	unsigned int n = 0;

	for (size_t q = 0; q < ARRAY_SIZE(names); q++)
		for (size_t i = 0; i <= LIMIT_ADMIN_LISTENERS; i++, n++) {
			fds[n] = listen_as(f, names[q], i % 2 ? "device.ask.Listen" : "admin.Events", "dom0");
			assert_int_equal(is_refused(f, fds[n]), i == LIMIT_ADMIN_LISTENERS);
		}
	run_rows(f, &honest, 1);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		own[i] = listen_to(f, "dom0");
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		(void)close(own[i]);
	while (n)
		(void)close(fds[--n]);
}

/*
 * Half a request is its qube's from its header on: the oldest gives way to the next one of that qube, and when qubes have used
 * up all places, one of whoever has most to one who has fewer.
 */
static void test_half_requests_of_qubes(void **state)
{
	enum { N_GREEDY = LIMIT_ADMIN_QUBES / LIMIT_ADMIN_PER_QUBE };
	static const char *const names[] = {"gui1", "gui2", "gui3", "gui4", "gui5", "gui6", "gui7", "gui8"};
	struct fixture *f = *state;
	int fds[N_GREEDY][LIMIT_ADMIN_PER_QUBE + 1], others[LIMIT_ADMIN_PER_QUBE], own[LIMIT_ADMIN_PER_UID];
	unsigned int n_lost = 0, n_others = 0;

	assert_int_equal(ARRAY_SIZE(names), N_GREEDY);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		own[i] = open_client(f);
	for (size_t q = 0; q < N_GREEDY; q++)
		for (size_t i = 0; i <= LIMIT_ADMIN_PER_QUBE; i++) {
			fds[q][i] = begin_request(f, names[q]);
			assert_true(is_open(fds[q][i]));
			assert_int_equal(is_open(fds[q][0]), i < LIMIT_ADMIN_PER_QUBE);
		}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		others[i] = begin_request(f, "sys-gui");
		n_others += is_open(others[i]);
	}
	for (size_t q = 0; q < N_GREEDY; q++)
		for (size_t i = 1; i <= LIMIT_ADMIN_PER_QUBE; i++)
			n_lost += !is_open(fds[q][i]);
	/* as many as anybody: a ninth each, and the rest to whoever came first */
	assert_int_equal(n_others, n_lost);
	assert_in_range(n_others, LIMIT_ADMIN_QUBES / (N_GREEDY + 1), LIMIT_ADMIN_QUBES / (N_GREEDY + 1) + 1);
	run_rows(f, &honest, 1);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		(void)close(own[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		(void)close(others[i]);
	for (size_t q = 0; q < N_GREEDY; q++)
		for (size_t i = 0; i <= LIMIT_ADMIN_PER_QUBE; i++)
			(void)close(fds[q][i]);
}

/* Who has most loses what costs it least, its oldest half request; what listens stays. A second NUL is no second header. */
static void test_who_gives_way(void **state)
{
	static const char *const names[] = {"gui1", "gui2"};
	struct fixture *f = *state;
	int listeners[LIMIT_ADMIN_QUBES], halves[LIMIT_ADMIN_PER_QUBE], more[LIMIT_ADMIN_PER_QUBE], late;
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(halves); i++)
		halves[i] = begin_request(f, "gui1");
	assert_int_equal(send(halves[0], "\0\0", 2, MSG_NOSIGNAL), 2);
	turn(f);
	for (size_t i = 0; i < ARRAY_SIZE(halves); i++)
		assert_true(is_open(halves[i]));
	for (size_t q = 0; q < ARRAY_SIZE(names); q++)
		for (size_t i = 0; i < LIMIT_ADMIN_LISTENERS; i++, n++) {
			listeners[n] = listen_as(f, names[q], "admin.Events", "dom0");
			assert_false(is_refused(f, listeners[n]));
		}
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		more[i] = begin_request(f, "gui2");
	for (; n < LIMIT_ADMIN_QUBES - 2 * LIMIT_ADMIN_PER_QUBE; n++) {
		listeners[n] = listen_as(f, "gui3", "admin.Events", "dom0");
		assert_false(is_refused(f, listeners[n]));
	}
	late = begin_request(f, "gui4");
	assert_true(is_open(late));
	assert_false(is_open(halves[0]));
	for (size_t i = 1; i < ARRAY_SIZE(halves); i++)
		assert_true(is_open(halves[i]));
	while (n) {
		assert_true(is_open(listeners[--n]));
		(void)close(listeners[n]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
		(void)close(halves[i]);
		(void)close(more[i]);
	}
	(void)close(late);
}

/* Requests that wait for an answer keep their places. */
static void test_waiting_of_qubes(void **state)
{
	struct fixture *f = *state;
	int fds[LIMIT_ADMIN_PER_QUBE + 1];
	struct core_device device = stick;
	char request[160];
	bool closed;

	f->silent = true;
	for (uint16_t i = 0; i < ARRAY_SIZE(fds); i++) {
		int n;

		(void)snprintf(device.port, sizeof(device.port), "7-%u", i + 1u);
		add_device(f, f->sys_usb, (uint16_t)(i + 10), device);
		fds[i] = open_client(f);
		n = snprintf(request, sizeof(request), ATTACH "sys-usb+%s+_" FROM_GUI "work", device.port);
		assert_int_equal(send(fds[i], request, (size_t)n + 1, MSG_NOSIGNAL), n + 1);
		(void)shutdown(fds[i], SHUT_WR);
		if (i < LIMIT_ADMIN_PER_QUBE)
			assert_int_equal(receive(f, fds[i], request, sizeof(request), &closed), 0);
		else
			assert_true(is_refused(f, fds[i]));
	}
	run_rows(f, &honest, 1);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
}

/* What changes something, or leaves a record, is seldom; the rest may be often; dom0 is not counted. */
static void test_too_often(void **state)
{
	static const char refusal[] = "calls too often";
	struct fixture *f = *state;
	char reply[512] = "";

	for (unsigned int i = 0; i < LIMIT_ADMIN_SELDOM_BURST; i++) {
		size_t len = call(f, BYTES(DETACH STICK_ARG FROM_GUI "work\0"), reply, sizeof(reply) - 1);

		assert_null(memmem(reply, len, refusal, strlen(refusal)));
	}
	assert_non_null(memmem(reply, call(f, BYTES("device.Move+x" FROM_GUI "work\0"), reply, sizeof(reply) - 1),
			       refusal, strlen(refusal)));
	assert_non_null(memmem(reply, call(f, BYTES("no.such.Call" FROM_GUI "work\0"), reply, sizeof(reply) - 1),
			       refusal, strlen(refusal)));
	run_rows(f, &(struct row){BYTES("admin.deviceclass.List+" FROM_GUI "dom0\0"), honest.reply, honest.reply_len},
		 1);
	run_rows(f,
		 &(struct row){BYTES(DETACH STICK_ARG FROM "work\0"),
			       REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to work")},
		 1);
	run_rows(f,
		 &(struct row){BYTES(DETACH STICK_ARG " gui2 name work\0"),
			       REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to work")},
		 1);
	(void)usleep(USEC_PER_SEC + 100 * USEC_PER_MSEC);
	run_rows(f,
		 &(struct row){BYTES(DETACH STICK_ARG FROM_GUI "work\0"),
			       REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to work")},
		 1);
	for (unsigned int i = 0; i < 4 * LIMIT_ADMIN_CALLS_BURST; i++) {
		size_t len = call(f, BYTES("admin.deviceclass.List+" FROM_GUI "dom0\0"), reply, sizeof(reply) - 1);

		if (memmem(reply, len, refusal, strlen(refusal)))
			return; /* within its burst, and what came back meanwhile */
		assert_true(len == honest.reply_len);
	}
	fail_msg("never too often");
}

/* Beyond LIMIT_QUBES names the one that was heard of last stays counted. */
static void test_many_names(void **state)
{
	struct fixture *f = *state;
	char request[80], reply[512];

	for (unsigned int i = 0; i < 3 * LIMIT_QUBES; i++) {
		int n = snprintf(request, sizeof(request), "admin.deviceclass.List+ gui%u name dom0", i);

		assert_int_equal(call(f, request, (size_t)n + 1, reply, sizeof(reply)), honest.reply_len);
		if (i % 4 == 0)
			(void)call(f, BYTES(DETACH STICK_ARG FROM_GUI "work\0"), reply, sizeof(reply));
	}
	assert_non_null(memmem(reply, call(f, BYTES(DETACH STICK_ARG FROM_GUI "work\0"), reply, sizeof(reply)),
			       "calls too often", strlen("calls too often")));
}

/* Qubes leave the half of what can be stored to dom0. */
static void test_stored_by_qubes(void **state)
{
	static const char beyond[] = "the others are dom0's";
	struct fixture *f = *state;
	struct core_assignment assignment = {.class_id = WIRE_CLASS_USB, .mode = CORE_ASSIGN_AUTO};
	char reply[512];
	size_t len;

	(void)strcpy(assignment.target, "work");
	(void)strcpy(assignment.source, "sys-usb");
	for (unsigned int i = 0; i < LIMIT_ASSIGNMENTS_QUBES - 1; i++) {
		(void)snprintf(assignment.port, sizeof(assignment.port), "9-%u", i + 1);
		assert_int_equal(handle(f, (struct core_event){.type = CORE_ASSIGNED, .assignment = &assignment}), 0);
	}
	run_rows(f, &(struct row){BYTES(ASSIGN "sys-usb+8-1+_" FROM_GUI "work\0mode='auto-attach'"), OK("")}, 1);
	len = call(f, BYTES(ASSIGN "sys-usb+8-2+_" FROM_GUI "work\0mode='auto-attach'"), reply, sizeof(reply));
	assert_non_null(memmem(reply, len, beyond, strlen(beyond)));
	run_rows(f, &(struct row){BYTES(ASSIGN "sys-usb+8-2+_" FROM "work\0mode='auto-attach'"), OK("")}, 1);
	run_rows(f, &(struct row){BYTES(UNASSIGN "sys-usb+8-2+_" FROM_GUI "work\0"), OK("")}, 1);

	for (unsigned int i = 0; i < LIMIT_DENIED_QUBES_QUBES; i++) {
		struct core_event event = {.type = CORE_DENIED, .denied = {.n_patterns = 1, .patterns = {"u03****"}}};

		(void)snprintf(event.denied.qube, sizeof(event.denied.qube), "d%u", i);
		assert_int_equal(handle(f, event), 0);
	}
	len = call(f, BYTES(DENIED "Add+" FROM_GUI "personal\0u08****"), reply, sizeof(reply));
	assert_non_null(memmem(reply, len, beyond, strlen(beyond)));
	run_rows(f, &(struct row){BYTES(DENIED "Add+" FROM_GUI "d1\0u08****"), OK("")}, 1); /* it has a list */
	run_rows(f, &(struct row){BYTES(DENIED "Add+" FROM "personal\0u08****"), OK("")}, 1);

	for (unsigned int i = 0; i < LIMIT_LABELS_QUBES; i++) {
		struct core_event event = {.type = CORE_LABELED, .label.text = "x"};

		(void)snprintf(event.label.key, sizeof(event.label.key), "sys-usb %04x:0001::u080650 1-1", i);
		assert_int_equal(handle(f, event), 0);
	}
	len = call(f, BYTES("device.label.Set+" STICK_ARG FROM_GUI "sys-usb\0mine"), reply, sizeof(reply));
	assert_non_null(memmem(reply, len, beyond, strlen(beyond)));
	run_rows(f, &(struct row){BYTES("device.label.Set+" STICK_ARG FROM "sys-usb\0mine"), OK("")}, 1);
	run_rows(f, &(struct row){BYTES("device.label.Set+" STICK_ARG FROM_GUI "sys-usb\0its"), OK("")}, 1);
}

/* A question names other qubes and a rule: it is dom0's listeners' and theirs who answer. */
static void test_who_hears_questions(void **state)
{
	struct fixture *f = *state;
	int dom0 = listen_to(f, "sys-usb"), gui = listen_as(f, "sys-gui", "admin.Events", "sys-usb");
	int asks = listen_as(f, "sys-gui", "device.ask.Listen", "dom0"), client = open_client(f);
	char heard[1024];
	bool closed;

	assert_false(is_refused(f, gui));
	assert_false(is_refused(f, asks));
	f->verdict = CORE_VERDICT_ASK;
	assert_true(send(client, BYTES(ATTACH STICK_ARG FROM "work\0"), 0) > 0);
	(void)shutdown(client, SHUT_WR);
	assert_non_null(memmem(heard, receive(f, dom0, heard, sizeof(heard), &closed), "device-ask:usb", 14));
	assert_non_null(memmem(heard, receive(f, asks, heard, sizeof(heard), &closed), "device-ask:usb", 14));
	assert_int_equal(receive(f, gui, heard, sizeof(heard), &closed), 0);
	(void)close(client);
	(void)close(asks); /* nobody is there to answer: it ends */
	assert_non_null(memmem(heard, receive(f, dom0, heard, sizeof(heard), &closed), "device-ask-end:usb", 18));
	assert_int_equal(receive(f, gui, heard, sizeof(heard), &closed), 0);
	(void)close(dom0);
	(void)close(gui);
}

/* A qube that verifies the log again and again does not keep dom0 from it. */
static void test_verify_gives_way(void **state)
{
	static const char request[] = "device.audit.Verify+ sys-gui name dom0",
			  own[] = "device.audit.Verify+" FROM "dom0";
	struct fixture *f = *state;
	int gui = open_client(f), gui2 = open_client(f), dom0 = open_client(f);
	char reply[512];
	bool closed;
	size_t len;

	assert_true(send(gui, request, sizeof(request), 0) > 0 && shutdown(gui, SHUT_WR) == 0);
	assert_true(send(gui2, request, sizeof(request), 0) > 0 && shutdown(gui2, SHUT_WR) == 0);
	assert_true(send(dom0, own, sizeof(own), 0) > 0 && shutdown(dom0, SHUT_WR) == 0);
	len = receive(f, gui2, reply, sizeof(reply), &closed);
	assert_non_null(memmem(reply, len, "being verified already", 22));
	len = receive(f, gui, reply, sizeof(reply), &closed);
	assert_non_null(memmem(reply, len, "verified for dom0 now", 21));
	len = receive(f, dom0, reply, sizeof(reply), &closed);
	assert_memory_equal(reply, "0\0", 2);
	assert_true(len > 2);
	(void)close(gui);
	(void)close(gui2);
	(void)close(dom0);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_unread),
		TEST(test_unread_of_qubes),
		TEST(test_silent),
		TEST(test_too_many_listeners),
		TEST(test_listeners_of_qubes),
		TEST(test_half_requests_of_qubes),
		TEST(test_who_gives_way),
		TEST(test_waiting_of_qubes),
		TEST(test_too_often),
		TEST(test_many_names),
		TEST(test_stored_by_qubes),
		TEST(test_who_hears_questions),
		TEST(test_verify_gives_way),
	};

	return cmocka_run_group_tests_name("admin-shares", tests, NULL, NULL);
}
