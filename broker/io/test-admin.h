/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Admin API's server over the real core, for its tests: request bytes in through a socketpair, reply bytes out. A
 * row of a table is one connection.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/scratch.h"
#pragma GCC diagnostic ignored "-Wunused-function" /* no program needs all */
#include "broker/io/admin.h"
#include "lib/base/base.h"

#define BYTES(text) (text), sizeof(text) - 1
#define OK(content) BYTES("0\0" content)
#define REFUSED(type, text) BYTES("2\0" type "\0\0" text "\0")
#define NO_REPLY NULL, 0
#define FROM " dom0 name "
#define FROM_GUI " sys-gui name " /* through qrexec */
#define STICK "device_id='0781:5581:AB12:u080650' port_id='1-2' devclass='usb' backend_domain='sys-usb'"
#define STICK_LINE "1-2:0781:5581:AB12:u080650 " STICK " manufacturer='SanDisk' name='It\\'s fit' serial='AB12'"
#define KEYS_LINE                                                                                               \
	"1-2.4:046d:c31c::u030101u030000 device_id='046d:c31c::u030101u030000' port_id='1-2.4' devclass='usb' " \
	"backend_domain='sys-usb' interfaces='u030101u030000'\n"
#define ODD_ID "1234:5678:a_b___c__:?******"
#define ODD_LINE                                                                                       \
	"2-1:" ODD_ID " device_id='" ODD_ID "' port_id='2-1' devclass='usb' backend_domain='sys-usb' " \
	"serial='a+b *=c\\'_' interfaces='?******'\n"
#define UUID(digit)                                                                                 \
	digit digit digit digit digit digit digit digit                                             \
		"-" digit digit digit digit "-" digit digit digit digit "-" digit digit digit digit \
		"-" digit digit digit digit digit digit digit digit digit digit digit digit
#define ATTACH "admin.vm.device.usb.Attach+"
#define DETACH "admin.vm.device.usb.Detach+"
#define STICK_ARG "sys-usb+1-2+0781+5581+AB12+u080650"
#define ASSIGN "admin.vm.device.usb.Assign+"
#define UNASSIGN "admin.vm.device.usb.Unassign+"
#define ASSIGNED "admin.vm.device.usb.Assigned+"
#define SET "admin.vm.device.usb.Set.assignment+"
#define DENIED "admin.vm.device.denied."
#define ANY_LINE(port, id, mode)                                                        \
	"sys-usb+" port ":" id " device_id='" id "' port_id='" port "' devclass='usb' " \
	"backend_domain='sys-usb' mode='" mode "' frontend_domain='work'"
#define STICK_ID "0781:5581:AB12:u080650"
#define BAD_MODE "the mode of an assignment is auto-attach, ask-to-attach or required"
#define BAD_PATTERN "the payload is not a list of patterns like u03**01, seven characters each"
#define NOT_A_DEVICE "not a device: BACKEND+PORT[+DEVICE_ID] is needed"
#define NO_SUCH "sys-usb has no such device, or another one is at that port now: look at the list again (qvm-usb list)"
#define NO_SUCH_DEVICE \
	"sys-usb has no such device, or another one is at that port now: look at the list again (qvm-device list)"
#define NOT_THERE(name) REFUSED("QubesVMNotFoundError", "No such domain: '" name "' (is it running?)")

struct fixture {
	sd_event *event;
	struct core *core;
	struct admin *admin;
	struct core_qube_ref sys_usb, sys_usb2, work, personal;
	uint64_t now_usec;
	struct core_action todo[64]; /* what agents would be told; device is not valid */
	size_t n_todo;
	bool silent; /* agents do nothing */
	enum outcome refuse_import;
	bool end_parts;
	enum core_verdict verdict;
	struct policy *policy; /* for those who ask about it */
	bool disk_full;
	int audit_error, state_dir;
	unsigned int n_answerers;
	uint64_t last_token;
	struct core_user caller; /* of the last request or change */
	char directory[64], path[96];
};

static void emit(void *userdata, const struct core_action *action)
{
	struct fixture *f = userdata;

	if (action->type == CORE_DO_ANSWER)
		admin_answer(f->admin, action);
	if (f->admin)
		admin_event(f->admin, action);
	if (f->n_todo < ARRAY_SIZE(f->todo))
		f->todo[f->n_todo++] = *action;
}

static void on_decide(void *userdata, const struct core_device *device _unused_,
		      const struct core_qube *source _unused_, const struct core_qube *target _unused_,
		      struct core_decision *ret_decision)
{
	const struct fixture *f = userdata;

	ret_decision->verdict = f->verdict;
	ret_decision->end_parts = f->end_parts;
	(void)strcpy(ret_decision->rule, "30-user.policy:4");
}

static int handle(struct fixture *f, struct core_event event)
{
	event.now_usec = f->now_usec;
	return core_handle(f->core, &event, NULL);
}

/* Honest agents and audit log, until nothing is left to do. */
static void settle(struct fixture *f)
{
	while (f->n_todo) {
		struct core_action action = f->todo[0];
		struct core_event event = {.qube = action.qube, .session = {.session = action.session}};

		memmove(f->todo, f->todo + 1, --f->n_todo * sizeof(f->todo[0]));
		if (action.type == CORE_DO_AUDIT)
			event.type = CORE_AUDITED;
		else if (f->silent)
			continue;
		else if (action.type == CORE_DO_EXPORT)
			event.type = CORE_EXPORTED;
		else if (action.type == CORE_DO_IMPORT)
			event.type = f->refuse_import ? CORE_FAILED : CORE_IMPORTED;
		else if (action.type == CORE_DO_STOP_SOURCE || action.type == CORE_DO_STOP_TARGET)
			event.type = CORE_STOPPED;
		else if (action.type == CORE_DO_MUTE) {
			event.type = CORE_MUTED;
			event.muted.session = action.session;
			event.muted.muted = action.device->terms.muted;
		} else
			continue;
		if (event.type == CORE_FAILED)
			event.session.outcome = f->refuse_import;
		(void)handle(f, event);
	}
}

static void on_request(void *userdata, const struct core_event *request)
{
	struct fixture *f = userdata;

	assert_true(request->request.token > f->last_token);
	assert_int_equal(request->request.user.uid, 1234);
	f->last_token = request->request.token;
	f->caller = request->request.user;
	(void)handle(f, *request);
}

/* What is stored always succeeds, unless the disk is full. */
static int on_change(void *userdata, const struct core_user *caller, const struct core_event *change,
		     const char **ret_why)
{
	struct fixture *f = userdata;

	assert_int_equal(caller->uid, 1234);
	f->caller = *caller;
	if (f->disk_full) {
		*ret_why = "the disk is 100% full";
		return -ENOSPC;
	}
	return handle(f, *change);
}

static void on_answerers(void *userdata, unsigned int n)
{
	struct fixture *f = userdata;

	f->n_answerers = n;
	(void)handle(f, (struct core_event){.type = CORE_ANSWERERS, .answerers = n});
}

static const struct policy *on_policy(void *userdata, const char **ret_error)
{
	struct fixture *f = userdata;

	*ret_error = f->policy ? NULL : "30-user.policy:4: an unknown word";
	return f->policy;
}

static int on_audit_read(void *userdata, uint64_t after_seq, char *ret_lines, size_t size, size_t *ret_len)
{
	struct fixture *f = userdata;

	if (f->audit_error)
		return f->audit_error;
	assert_true(size > LIMIT_AUDIT_LINE);
	*ret_len = (size_t)snprintf(ret_lines, size, "{\"seq\":%u}\n", (unsigned int)after_seq + 1);
	return 0;
}

/* Over an empty directory: there is no record, and that is in order. */
static int on_audit_check(void *userdata, struct audit_check **ret_check)
{
	struct fixture *f = userdata;

	return f->audit_error ? f->audit_error : audit_check_new(f->state_dir, NULL, ret_check);
}

static const struct admin_hooks hooks = {
	.request = on_request,
	.change = on_change,
	.answerers = on_answerers,
	.policy = on_policy,
	.audit_read = on_audit_read,
	.audit_check = on_audit_check,
};

static struct core_qube_ref add_qube(struct fixture *f, const char *name, uint16_t domid, uint16_t roles)
{
	struct core_event event = {.type = CORE_QUBE_STARTED, .now_usec = f->now_usec};
	struct core_qube_ref ref;

	event.qube_started.domid = domid;
	memset(event.qube_started.uuid, (domid & 15) * 0x11, 16);
	(void)snprintf(event.qube_started.name, sizeof(event.qube_started.name), "%s", name);
	assert_int_equal(core_handle(f->core, &event, &ref), 0);
	if (!roles)
		return ref;
	(void)handle(f, (struct core_event){.type = CORE_AGENT_READY, .qube = ref, .agent_ready = {.roles = roles}});
	(void)handle(f, (struct core_event){.type = CORE_LIST_BEGIN, .qube = ref});
	(void)handle(f, (struct core_event){.type = CORE_LIST_END, .qube = ref});
	return ref;
}

static void add_device(struct fixture *f, struct core_qube_ref qube, uint16_t slot, struct core_device device)
{
	device.ref.slot = slot;
	device.ref.generation = slot + 1;
	device.class_id = WIRE_CLASS_USB;
	device.speed = WIRE_SPEED_HIGH;
	assert_int_equal(handle(f, (struct core_event){.type = CORE_DEVICE, .qube = qube, .device = device}), 0);
}

static const struct core_device stick = {.vendor = 0x0781,
					 .product = 0x5581,
					 .n_interfaces = 1,
					 .interfaces = {{8, 6, 0x50}},
					 .port = "1-2",
					 .serial = "AB12",
					 .manufacturer = "SanDisk",
					 .product_name = "It's fit"};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->now_usec = 1;
	f->verdict = CORE_VERDICT_ALLOW;
	scratch_make("admin", f->directory, sizeof(f->directory));
	(void)snprintf(f->path, sizeof(f->path), "%s/run/admin.sock", f->directory);
	f->state_dir = open(f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->state_dir >= 0);
	assert_true(sd_event_new(&f->event) >= 0);
	f->core = core_new(1, &(struct core_hooks){.emit = emit, .decide = on_decide}, f);
	assert_int_equal(admin_new(f->event, f->path, NULL, f->core, &hooks, f, &f->admin), 0);
	f->work = add_qube(f, "work", 2, WIRE_ROLES & ~WIRE_ROLE_EXPORT);
	f->sys_usb2 = add_qube(f, "sys-usb2", 4, WIRE_ROLE_EXPORT);
	f->sys_usb = add_qube(f, "sys-usb", 1, WIRE_ROLE_EXPORT);
	f->personal = add_qube(f, "Personal", 3, WIRE_ROLES & ~WIRE_ROLE_EXPORT);
	(void)add_qube(f, "vault", 5, 0);
	(void)add_qube(f, "dom0", 6, 0);       /* not shown */
	(void)add_qube(f, "bad name\n", 7, 0); /* not shown */
	add_device(f, f->sys_usb, 0, stick);
	add_device(f, f->sys_usb, 1,
		   (struct core_device){.vendor = 0x046d,
					.product = 0xc31c,
					.n_interfaces = 2,
					.interfaces = {{3, 1, 1}, {3, 0, 0}},
					.port = "1-2.4"});
	add_device(f, f->sys_usb, 2,
		   (struct core_device){.vendor = 0x1234, .product = 0x5678, .port = "2-1", .serial = "a+b *=c'\\"});
	add_device(f, f->sys_usb2, 0, stick);
	admin_qubes_changed(f->admin);
	f->n_todo = 0;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	struct stat stat_unused;

	f->admin = admin_free(f->admin);
	assert_int_equal(stat(f->path, &stat_unused), -1); /* it took its socket away */
	f->core = core_free(f->core);
	f->policy = policy_free(f->policy);
	(void)close(f->state_dir);
	sd_event_unref(f->event);
	scratch_remove(f->directory);
	free(f);
	return 0;
}

/* ---- a client --------------------------------------------------------------------------------------------------- */

static int open_client(struct fixture *f)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	admin_serve(f->admin, fds[1], 1234);
	return fds[0];
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 50 && sd_event_run(f->event, 0) > 0; i++)
		;
	settle(f);
}

/* The reply, or as much as there is; *ret_closed: the server closed. */
static size_t receive(struct fixture *f, int fd, char *bytes, size_t size, bool *ret_closed)
{
	size_t len = 0;

	*ret_closed = false;
	for (int i = 0; i < 1000 && !*ret_closed; i++) {
		ssize_t n = recv(fd, bytes + len, size - len, 0);

		if (n > 0)
			len += (size_t)n;
		else if (n == 0 || errno == ECONNRESET)
			*ret_closed = true;
		else if (i < 3)
			turn(f);
		else
			break;
	}
	return len;
}

static size_t call(struct fixture *f, const char *request, size_t request_len, char *reply, size_t size)
{
	_cleanup_close_ int fd = open_client(f);
	bool closed;
	size_t len;

	assert_int_equal(send(fd, request, request_len, MSG_NOSIGNAL), request_len);
	(void)shutdown(fd, SHUT_WR);
	len = receive(f, fd, reply, size, &closed);
	assert_true(closed);
	return len;
}

static void show(const char *name, const char *bytes, size_t len)
{
	fprintf(stderr, "# %s: ", name);
	for (size_t i = 0; i < len; i++)
		fprintf(stderr, bytes[i] >= ' ' && bytes[i] <= '~' ? "%c" : "\\x%02x", (unsigned char)bytes[i]);
	fprintf(stderr, "\n");
}

/* Shows both if they are not the same. */
static bool is_same(const char *is, size_t is_len, const char *should_be, size_t len)
{
	if (is_len == len && (!len || memcmp(is, should_be, len) == 0))
		return true;
	show("is", is, is_len);
	show("should be", should_be ? should_be : "", len);
	return false;
}

struct row {
	const char *request;
	size_t request_len;
	const char *reply;
	size_t reply_len;
};

static void run_rows(struct fixture *f, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char reply[8192];
		size_t len = call(f, rows[i].request, rows[i].request_len, reply, sizeof(reply));

		if (is_same(reply, len, rows[i].reply, rows[i].reply_len))
			continue;
		show("request", rows[i].request, rows[i].request_len);
		fail_msg("row %zu", i);
	}
}

/* What has come, and whether the connection then ends. */
static void assert_comes(struct fixture *f, int fd, const char *bytes, size_t len, bool ends)
{
	char received[4096];
	bool closed;
	size_t n = receive(f, fd, received, sizeof(received), &closed);

	assert_true(is_same(received, n, bytes, len));
	assert_int_equal(closed, ends);
}

/* The answer to a call that waited; the connection is given up. */
static void assert_reply(struct fixture *f, int fd, const char *bytes, size_t len)
{
	assert_comes(f, fd, bytes, len, true);
	(void)close(fd);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static int listen_as(struct fixture *f, const char *source, const char *method, const char *qube)
{
	char request[96];
	int fd = open_client(f), len = snprintf(request, sizeof(request), "%s+ %s name %s", method, source, qube);

	assert_int_equal(send(fd, request, (size_t)len + 1, MSG_NOSIGNAL), len + 1);
	(void)shutdown(fd, SHUT_WR);
	return fd;
}

static int listen_with(struct fixture *f, const char *method, const char *qube)
{
	int fd = listen_as(f, "dom0", method, qube);

	assert_comes(f, fd, BYTES("1\0\0connection-established\0\0"), false); /* open, although we half-closed */
	return fd;
}

static int listen_to(struct fixture *f, const char *qube)
{
	return listen_with(f, "admin.Events", qube);
}

static void assert_events(struct fixture *f, int fd, const char *bytes, size_t len)
{
	assert_comes(f, fd, bytes, len, false);
}
