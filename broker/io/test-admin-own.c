/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Admin API's calls about what is asked, audited, and ours, and what is told of a change: golden bytes. */
#include "broker/io/test-admin.h"

#include <inttypes.h>

#include "broker/core/assignments.h"
#include "broker/io/clock.h"

#define AT(port, serial, mode)                                                                                  \
	"sys-usb+" port ":0001:0002:" serial ":?****** device_id='0001:0002:" serial ":?******' port_id='" port \
	"' devclass='usb' backend_domain='sys-usb' mode='" mode "' frontend_domain='work'\n"

/* The mode that is shown is that of an assignment of this place, not of one that had its port's name once. */
static void test_mode_of_place(void **state)
{
	static const struct row rows[] = {
		{BYTES(ATTACH "sys-usb+5-1+_" FROM "work\0"), OK("")},
		{BYTES("admin.vm.device.usb.Attached+sys-usb+5-1" FROM "work\0"), OK(AT("5-1", "A", "manual"))},
		{BYTES("admin.vm.device.usb.Attached+sys-usb+5-2" FROM "work\0"), OK(AT("5-2", "B", "required"))},
	};
	struct fixture *f = *state;
	struct core_assignment assignment = {.class_id = WIRE_CLASS_USB,
					     .target = "work",
					     .source = "sys-usb",
					     .port = "5-1",
					     .path = "there",
					     .mode = CORE_ASSIGN_REQUIRED};

	add_device(f, f->sys_usb, 20,
		   (struct core_device){.vendor = 1, .product = 2, .port = "5-1", .path = "here", .serial = "A"});
	add_device(f, f->sys_usb, 21,
		   (struct core_device){.vendor = 1, .product = 2, .port = "5-2", .path = "there", .serial = "B"});
	assert_int_equal(handle(f, (struct core_event){.type = CORE_ASSIGNED, .assignment = &assignment}), 0);
	settle(f);
	run_rows(f, rows, ARRAY_SIZE(rows));
}

/* What cannot be stored is not so, and its user reads why. */
static void test_disk_full(void **state)
{
	static const struct row rows[] = {
		{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach'"),
		 REFUSED("QubesException", "nothing was changed: the disk is 100%% full")},
		{BYTES(DENIED "Add+" FROM "work\0u03**01"),
		 REFUSED("QubesException", "nothing was changed: the disk is 100%% full")},
		{BYTES(ASSIGNED FROM "work\0"), OK("")},
		{BYTES(DENIED "List+" FROM "work\0"), OK("")},
	};
	struct fixture *f = *state;

	f->disk_full = true;
	run_rows(f, rows, ARRAY_SIZE(rows));
}

static void test_policy(void **state)
{
	static const struct row broken[] = {
		{BYTES("device.policy.Check+" FROM "dom0\0"),
		 OK("broken, so everything is denied: 30-user.policy:4: an unknown word\n")},
		{BYTES("device.policy.Explain+" STICK_ARG FROM "work\0"),
		 OK("deny by the policy is broken\n  30-user.policy:4: an unknown word\n")},
	};
	static const struct row good[] = {
		{BYTES("device.policy.Check+" FROM "work\0"),
		 REFUSED("QubesValueError", "the destination of this call must be dom0")},
		{BYTES("device.policy.Check+" FROM "dom0\0"),
		 OK("good: 3 rules\nwarning: a.policy:3: this rule is never reached: the other one matches all that it "
		    "matches (a.policy:2)\n")},
		{BYTES("device.policy.Explain+" STICK_ARG FROM "work\0"),
		 OK("ask by a.policy:2\n  usb * sys-usb @anyvm ask max-time=2h\n  for at most 2h\n"
		    "nearly a.policy:1, but for its TARGET: usb * sys-usb vault allow parts=end\n")},
		{BYTES("device.policy.Explain+" STICK_ARG FROM "vault\0"),
		 OK("allow by a.policy:1\n  usb * sys-usb vault allow parts=end\n  ending its parts\n")},
		{BYTES("device.policy.Explain+sys-usb2+1-2+_" FROM "not-there\0"),
		 OK("deny by no rule\nnearly a.policy:2, but for its SOURCE: usb * sys-usb @anyvm ask max-time=2h\n"
		    "nearly a.policy:3, but for its SOURCE: usb * sys-usb @anyvm deny\n")},
		{BYTES("device.policy.Explain+sys-usb+9-9+_" FROM "work\0"),
		 REFUSED("UnrecognizedDevice", NO_SUCH_DEVICE)},
		{BYTES("device.policy.Explain+" FROM "work\0"),
		 REFUSED("QubesValueError", "this call needs an argument")},
	};
	static const char text[] = "usb * sys-usb vault allow parts=end\nusb * sys-usb @anyvm ask max-time=2h\n"
				   "usb * sys-usb @anyvm deny\n";
	static const struct policy_file file = {.name = "a.policy", .text = text, .len = sizeof(text) - 1};
	struct fixture *f = *state;
	struct policy_error error;

	run_rows(f, broken, ARRAY_SIZE(broken));
	assert_int_equal(policy_new(&file, 1, &f->policy, &error), 0);
	run_rows(f, good, ARRAY_SIZE(good));
}

static void test_audit(void **state)
{
	static const struct row good[] = {
		{BYTES("device.audit.Read+" FROM "dom0\0"), OK("{\"seq\":1}\n")},
		{BYTES("device.audit.Read+41" FROM "dom0\0"), OK("{\"seq\":42}\n")},
		{BYTES("device.audit.Read+x" FROM "dom0\0"), REFUSED("QubesValueError", "not the number of a record")},
		{BYTES("device.audit.Read+-1" FROM "dom0\0"), REFUSED("QubesValueError", "not the number of a record")},
		{BYTES("device.audit.Read+9223372036854775808" FROM "dom0\0"),
		 REFUSED("QubesValueError", "not the number of a record")},
		{BYTES("device.audit.Read+" FROM "work\0"),
		 REFUSED("QubesValueError", "the destination of this call must be dom0")},
		{BYTES("device.audit.Verify+1" FROM "dom0\0"),
		 REFUSED("QubesValueError", "this call takes no argument")},
	};
	static const struct row bad[] = {
		{BYTES("device.audit.Read+" FROM "dom0\0"),
		 REFUSED("QubesException", "the audit log cannot be read: a line in it is no record; qvm-device audit "
					   "--verify says where")},
		{BYTES("device.audit.Verify+" FROM "dom0\0"),
		 REFUSED("QubesException", "the audit log could not be read: Bad message")},
	};
	struct fixture *f = *state;
	char reply[512];
	size_t len;

	run_rows(f, good, ARRAY_SIZE(good));
	len = call(f, BYTES("device.audit.Verify+" FROM "dom0\0"), reply, sizeof(reply));
	assert_true(len > 2 && reply[0] == '0');
	f->audit_error = -EBADMSG;
	run_rows(f, bad, ARRAY_SIZE(bad));
}

/* ---- labels ------------------------------------------------------------------------------------------------------- */

#define LABEL "device.label.Set+"
#define NO_LABEL                                                                                          \
	REFUSED("QubesValueError",                                                                        \
		"a label is 1 to 64 printable ASCII characters without a backslash, and has no space or " \
		"= at its end")
#define AVAILABLE "admin.vm.device.usb.Available+"

static void test_labels(void **state)
{
	static const struct row rows[] = {
		{BYTES(LABEL STICK_ARG FROM "sys-usb\0My 'bank' stick"), OK("")},
		{BYTES(AVAILABLE "1-2" FROM "sys-usb\0"),
		 OK(STICK_LINE " interfaces='u080650' _label='My \\'bank\\' stick'\n")},
		{BYTES(AVAILABLE "1-2" FROM "sys-usb2\0"), /* as it is, but for its qube */
		 OK("1-2:" STICK_ID " device_id='" STICK_ID "' port_id='1-2' devclass='usb' backend_domain='sys-usb2' "
		    "manufacturer='SanDisk' name='It\\'s fit' serial='AB12' interfaces='u080650'\n")},
		{BYTES(LABEL STICK_ARG FROM "sys-usb\0My 'bank' stick"), OK("")}, /* nothing new */
		{BYTES(LABEL "sys-usb+1-2.4+_" FROM "sys-usb\0keys"), OK("")},
		{BYTES(AVAILABLE "1-2.4" FROM "sys-usb\0"),
		 OK("1-2.4:046d:c31c::u030101u030000 device_id='046d:c31c::u030101u030000' port_id='1-2.4' "
		    "devclass='usb' "
		    "backend_domain='sys-usb' interfaces='u030101u030000' _label='keys'\n")},
		{BYTES(LABEL "sys-usb+1-2.4+_" FROM "sys-usb\0"), OK("")},
		{BYTES(AVAILABLE "1-2.4" FROM "sys-usb\0"), OK(KEYS_LINE)},
		{BYTES(LABEL "sys-usb+1-2.4+_" FROM "sys-usb\0"), OK("")}, /* it had none */
		{BYTES(LABEL FROM "sys-usb\0x"), REFUSED("QubesValueError", "this call needs an argument")},
		{BYTES(LABEL "sys-usb" FROM "sys-usb\0x"), REFUSED("QubesValueError", NOT_A_DEVICE)},
		{BYTES(LABEL "sys-usb+9-9+_" FROM "sys-usb\0x"), REFUSED("UnrecognizedDevice", NO_SUCH_DEVICE)},
		{BYTES(LABEL STICK_ARG FROM "dom0\0x"),
		 REFUSED("QubesValueError", "the destination of this call must be the device's backend")},
		{BYTES(LABEL STICK_ARG FROM "sys-usb2\0x"),
		 REFUSED("QubesValueError", "the destination of this call must be the device's backend")},
		{BYTES(LABEL STICK_ARG FROM "sys-usb\0 x"), NO_LABEL},
		{BYTES(LABEL STICK_ARG FROM "sys-usb\0x\0y"), NO_LABEL},
		{BYTES(LABEL STICK_ARG FROM "sys-usb\0\x1b[2J"), NO_LABEL},
		{BYTES(LABEL STICK_ARG FROM "sys-usb\0\xe2\x80\xae"
					    "kcits"),
		 NO_LABEL},
		{BYTES(LABEL STICK_ARG FROM "sys-usb\0"
					    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef!"),
		 NO_LABEL},
	};
	static const struct row full = {BYTES(LABEL STICK_ARG FROM "sys-usb\0nothing new"),
					REFUSED("QubesException", "nothing was changed: the disk is 100%% full")};
	static const struct row too_many = {
		BYTES(LABEL "sys-usb+1-2.4+_" FROM "sys-usb\0x"),
		REFUSED("QubesException", "there are as many labels as there may be: remove one that is not needed")};
	struct fixture *f = *state;
	_cleanup_close_ int fd = listen_to(f, "sys-usb"), other = listen_to(f, "work");

	run_rows(f, rows, ARRAY_SIZE(rows));
#define TOLD_LABEL(device, label) \
	"1\0sys-usb\0device-label-changed:usb\0device\0sys-usb:" device "\0label\0" label "\0\0"
	assert_events(f, fd,
		      BYTES(TOLD_LABEL("1-2:" STICK_ID, "My 'bank' stick")
				    TOLD_LABEL("1-2.4:046d:c31c::u030101u030000", "keys")
					    TOLD_LABEL("1-2.4:046d:c31c::u030101u030000", "")));
	assert_events(f, other, BYTES(""));
	f->disk_full = true;
	run_rows(f, &full, 1);
	f->disk_full = false;
	for (unsigned int i = 0; i < LIMIT_LABELS; i++) {
		struct core_event event = {.type = CORE_LABELED, .label = {.text = "x"}};

		(void)snprintf(event.label.key, sizeof(event.label.key), "sys-usb %u", i);
		(void)handle(f, event);
	}
	run_rows(f, &too_many, 1);
}

/* ---- all at once -------------------------------------------------------------------------------------------------- */

static unsigned int count(const char *text, const char *part)
{
	unsigned int n = 0;

	for (; (text = strstr(text, part)); text++)
		n++;
	return n;
}

/* Each line that the call gives is a line of that kind in the snapshot; returns how many. */
static unsigned int assert_told(struct fixture *f, const char *snapshot, const char *kind, const char *method,
				const char *dest)
{
	char request[128], reply[8192], *rest = reply + 2, *line;
	int request_len = snprintf(request, sizeof(request), "%s+ dom0 name %s", method, dest);
	size_t len = call(f, request, (size_t)request_len + 1, reply, sizeof(reply) - 1);
	unsigned int n = 0;

	assert_true(len >= 2 && reply[0] == '0');
	reply[len] = '\0';
	while ((line = strsep(&rest, "\n")) && line[0]) {
		char expected[2048];

		(void)snprintf(expected, sizeof(expected), "\n%s %s\n", kind, line);
		assert_int_equal(count(snapshot, expected), 1);
		n++;
	}
	return n;
}

#define STREAM "stream "
#define OF " devclass='usb' frontend_domain="
#define SINCE " since='%u'"
#define TIME_LEFT " time-left='%u'"

/* What the single calls say, no more and no less. */
static void test_snapshot(void **state)
{
	static const struct row refused[] = {
		{BYTES("device.Snapshot+" FROM "work\0"),
		 REFUSED("QubesValueError", "the destination of this call must be dom0")},
		{BYTES("device.Snapshot+usb" FROM "dom0\0"), REFUSED("QubesValueError", "this call takes no argument")},
		{BYTES("device.Snapshot+" FROM "dom0\0x"), REFUSED("QubesValueError", "this call takes no payload")},
	};
	static const struct row changes[] = {
		{BYTES(ATTACH STICK_ARG FROM "work\0_max-time='30m'"), OK("")},
		{BYTES(ATTACH "sys-usb2+1-2+_" FROM "Personal\0"), OK("")},
		{BYTES(ASSIGN "sys-usb+1-2.4+_" FROM "work\0mode='ask-to-attach'"), OK("")},
		{BYTES(ASSIGN "sys-usb+9-9+_" FROM "halted\0mode='auto-attach'"), OK("")},
		{BYTES(DENIED "Add+" FROM "work\0u03**01u08****"), OK("")},
		{BYTES(DENIED "Add+" FROM "later\0u02****"), OK("")},
	};
	static const char *const qubes[] = {"dom0",     "work",  "Personal", "sys-usb",
					    "sys-usb2", "vault", "halted",   "later"};
	static const char request[] = "device.Snapshot+" FROM "dom0";
	unsigned int n = 0, n_attached = 0, n_assigned = 0;
	struct fixture *f = *state;
	const struct core_device *device;
	unsigned int since[2], left;
	char expected[256];
	struct core_event event = {.type = CORE_STREAM,
				   .qube = f->sys_usb,
				   .stream = {.side = WIRE_SIDE_EXPORT,
					      .in_use = true,
					      .bytes_to_target = UINT64_MAX,
					      .bytes_from_target = 2}};
	char snapshot[16384];
	size_t len;

	f->now_usec = clock_now_usec();
	run_rows(f, refused, ARRAY_SIZE(refused));
	run_rows(f, changes, ARRAY_SIZE(changes));
	len = call(f, request, sizeof(request), snapshot, sizeof(snapshot) - 1);
	assert_true(len > 2 && len < sizeof(snapshot) - 1);
	assert_memory_equal(snapshot, "0\0", 2);
	snapshot[1] = '\n';
	snapshot[len] = '\0';
	n += assert_told(f, snapshot, "qube", "admin.vm.List", "dom0");
	for (size_t i = 0; i < ARRAY_SIZE(qubes); i++) {
		n += assert_told(f, snapshot, "available", "admin.vm.device.usb.Available", qubes[i]);
		n_attached += assert_told(f, snapshot, "attached", "admin.vm.device.usb.Attached", qubes[i]);
		n_assigned += assert_told(f, snapshot, "assigned", "admin.vm.device.usb.Assigned", qubes[i]);
	}
	assert_int_equal(n_attached, 2);
	assert_int_equal(n_assigned, 2);
	assert_int_equal(
		count(snapshot, "\nbroker policy='broken' suspended='no' classes='block mic speaker usb webcam'\n"), 1);
	assert_int_equal(count(snapshot, "\ndenied work u03**01u08****\ndenied later u02****\n"), 1);
	assert_int_equal(sscanf(strstr(snapshot, "\nstream ") + 1,
				STREAM "sys-usb:1-2" OF "'work'" SINCE TIME_LEFT "\n" STREAM "sys-usb2:1-2" OF
				       "'Personal'" SINCE "\n",
				&since[0], &left, &since[1]),
			 3);
	assert_true(since[0] < 60 && since[1] < 60 && left < 1800 && left > 1740);
	assert_int_equal(count(snapshot + 2, "\n"), n + n_attached + n_assigned + 1 + 2 + 2);

	device = core_find_device_by_port(f->core, core_find_qube(f->core, f->sys_usb), "1-2");
	event.stream.session = device->session;
	assert_int_equal(handle(f, event), 0);
	len = call(f, request, sizeof(request), snapshot, sizeof(snapshot) - 1);
	assert_true(len > 2 && len < sizeof(snapshot) - 1);
	snapshot[len] = '\0';
	(void)snprintf(expected, sizeof(expected),
		       " source-bytes-to-target='18446744073709551615' source-bytes-from-target='2' source-in-use='1' "
		       "source-at-usec='%" PRIu64 "'\n",
		       f->now_usec);
	assert_int_equal(count(snapshot + 2, expected), 1);
	assert_int_equal(count(snapshot + 2, "-in-use="), 1); /* the other side has said nothing yet */

	assert_int_equal(handle(f, (struct core_event){.type = CORE_SUSPEND, .request = {.token = 99}}), 0);
	settle(f);
	len = call(f, request, sizeof(request), snapshot, sizeof(snapshot) - 1);
	assert_true(len > 2 && len < sizeof(snapshot) - 1);
	snapshot[len] = '\0';
	assert_int_equal(count(snapshot + 2, " suspended='yes' "), 1);
	assert_int_equal(count(snapshot + 2, "\nattached ") + count(snapshot + 2, "\nstream "), 0);
}

/* ---- questions ---------------------------------------------------------------------------------------------------- */

#define QUESTION(number, targets, seconds)                                                                  \
	"1\0sys-usb\0device-ask:usb\0question\0" number "\0device\0sys-usb:1-2:" STICK_ID "\0description\0" \
	"SanDisk It's fit\0rule\0"                                                                          \
	"30-user.policy:4\0targets\0" targets "\0default\0\0seconds\0" seconds "\0\0"
#define ANSWER "device.ask.Answer+"

/* Begins an attach that waits; returns its connection. */
static int begin(struct fixture *f, const char *request, size_t len)
{
	int fd = open_client(f);

	assert_int_equal(send(fd, request, len, 0), len);
	(void)shutdown(fd, SHUT_WR);
	turn(f);
	return fd;
}

static void test_questions(void **state)
{
	static const struct row nobody = {
		BYTES(ATTACH STICK_ARG FROM "work\0"),
		REFUSED("QubesException", "attaching sys-usb:1-2 to work needs a yes, and nobody "
					  "is there to be asked: run qvm-device watch --answer, and try again")};
	static const struct row bad[] = {
		{BYTES(ANSWER FROM "dom0\0deny"), REFUSED("QubesValueError", "this call needs an argument")},
		{BYTES(ANSWER "1" FROM "dom0\0"), REFUSED("QubesValueError", "this call needs a payload")},
		{BYTES(ANSWER "x" FROM "dom0\0deny"), REFUSED("QubesValueError", "not the number of a question")},
		{BYTES(ANSWER "2" FROM "dom0\0perhaps"),
		 REFUSED("QubesValueError", "an answer is deny, or allow and the name of a qube")},
		{BYTES(ANSWER "2" FROM "dom0\0allow "),
		 REFUSED("QubesValueError", "an answer is deny, or allow and the name of a qube")},
		{BYTES(ANSWER "2" FROM "dom0\0allow two words"),
		 REFUSED("QubesValueError", "an answer is deny, or allow and the name of a qube")},
		{BYTES(ANSWER "2" FROM "dom0\0deny it"),
		 REFUSED("QubesValueError", "an answer is deny, or allow and the name of a qube")},
		{BYTES(ANSWER "2" FROM "dom0\0allow vault"),
		 REFUSED("QubesValueError", "that qube is not one of those in question")},
		{BYTES(ANSWER "77" FROM "dom0\0deny"), REFUSED("QubesException", "this question is not open any more")},
		{BYTES(ANSWER "18446744073709551616" FROM "dom0\0deny"),
		 REFUSED("QubesValueError", "not the number of a question")},
	};
	static const struct row yes = {BYTES(ANSWER "2" FROM "dom0\0allow work"), OK("")};
	static const struct row no = {BYTES(ANSWER "3" FROM "dom0\0deny"), OK("")};
	static const struct row detach = {BYTES(DETACH STICK_ARG FROM "work\0"), OK("")};
	static const char attach[] = ATTACH STICK_ARG FROM "work", listen[] = "device.ask.Listen+" FROM "dom0";
	struct fixture *f = *state;
	int asks, second, events, waiting;

	f->verdict = CORE_VERDICT_ASK;
	run_rows(f, &nobody, 1);
	events = listen_to(f, "dom0");
	asks = listen_with(f, "device.ask.Listen", "dom0");
	assert_int_equal(f->n_answerers, 1);
	waiting = begin(f, attach, sizeof(attach));
	assert_events(f, asks, BYTES(QUESTION("2", "work", "0")));
	assert_events(f, events, BYTES(QUESTION("2", "work", "0")));
	second = begin(f, listen, sizeof(listen));
	assert_int_equal(f->n_answerers, 2);
	run_rows(f, bad, ARRAY_SIZE(bad));
	run_rows(f, &yes, 1);
	assert_reply(f, waiting, OK(""));
	run_rows(f, &detach, 1);
	(void)close(second);
	turn(f);
	assert_int_equal(f->n_answerers, 1);

	waiting = begin(f, attach, sizeof(attach));
	run_rows(f, &no, 1);
	assert_reply(f, waiting,
		     REFUSED("QubesException", "attaching sys-usb:1-2 to work: somebody was asked, and said no"));
	waiting = begin(f, attach, sizeof(attach));
	f->now_usec += TIMEOUT_ASK_USEC + 1;
	(void)handle(f, (struct core_event){.type = CORE_TICK});
	assert_reply(f, waiting,
		     REFUSED("QubesException", "attaching sys-usb:1-2 to work needs a yes, and "
					       "nobody said it in time, or something changed meanwhile: try again"));
	(void)close(asks);
	(void)close(events);
	turn(f);
	assert_int_equal(f->n_answerers, 0);
}

/* A question that is open already is told to whoever comes to answer. */
static void test_late_answerer(void **state)
{
	static const char attach[] = ATTACH STICK_ARG FROM "work", listen[] = "device.ask.Listen+" FROM "dom0";
	struct fixture *f = *state;
	int first = listen_with(f, "device.ask.Listen", "dom0"), waiting, late;
	char bytes[1024];
	bool closed;
	size_t len;

	f->verdict = CORE_VERDICT_ASK;
	waiting = begin(f, attach, sizeof(attach));
	late = begin(f, listen, sizeof(listen));
	len = receive(f, late, bytes, sizeof(bytes), &closed);
	assert_int_equal(len, sizeof("1\0\0connection-established\0\0" QUESTION("1", "work", "0")) - 1);
	assert_false(closed);
	(void)close(first);
	(void)close(late);
	(void)close(waiting);
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

static void test_changes_are_told(void **state)
{
	static const struct row rows[] = {
		{BYTES(ASSIGN "sys-usb+9-9+_" FROM "work\0mode='auto-attach' _max-time='30m' _follow-port='yes'"),
		 OK("")},
		{BYTES(SET "sys-usb+9-9+_" FROM "work\0required"), OK("")},
		{BYTES(UNASSIGN "sys-usb+9-9+_" FROM "work\0"), OK("")},
		{BYTES(UNASSIGN "sys-usb+9-9+_" FROM "work\0"),
		 REFUSED("DeviceNotAssigned", "sys-usb:9-9 is not assigned to work in this way")},
	};
	struct fixture *f = *state;
	_cleanup_close_ int fd = listen_to(f, "work");

	run_rows(f, rows, ARRAY_SIZE(rows));
#define TOLD(event, options) "1\0work\0" event ":usb\0device\0sys-usb:9-9:*\0" options "\0"
#define OPTIONS "options\0{'follow-port': 'yes', 'max-time': '30m'}\0"
	assert_events(f, fd,
		      BYTES(TOLD("device-pre-assign", OPTIONS) TOLD("device-assign", OPTIONS)
				    TOLD("device-assignment-changed", "") TOLD("device-unassign", "")));
}

/* A deny list is a property of its qube, and puts a qube that does not run into the list. */
static void test_deny_list_is_told(void **state)
{
	static const struct row rows[] = {
		{BYTES(DENIED "Add+" FROM "later\0u03**01u08****"), OK("")},
		{BYTES(DENIED "Add+" FROM "later\0u03**0"), REFUSED("QubesValueError", BAD_PATTERN)},
		{BYTES(DENIED "Remove+" FROM "later\0u03**01"), OK("")},
	};
	static const struct row all = {BYTES(DENIED "Remove+" FROM "later\0all"), OK("")};
	struct fixture *f = *state;
	_cleanup_close_ int fd = listen_to(f, "dom0");
	struct core_qube_ref later;

	run_rows(f, rows, ARRAY_SIZE(rows));
#define DENIED_TOLD(now, before) \
	"1\0later\0property-set:devices_denied\0name\0devices_denied\0newvalue\0" now "\0oldvalue\0" before "\0\0"
	assert_events(f, fd,
		      BYTES("1\0\0domain-add\0vm\0later\0\0" DENIED_TOLD("u03**01u08****", "")
				    DENIED_TOLD("u08****", "u03**01u08****")));
	later = add_qube(f, "later", 9, 0);
	admin_qubes_changed(f->admin);
	(void)handle(f, (struct core_event){.type = CORE_QUBE_GONE, .qube = later});
	admin_qubes_changed(f->admin);
	assert_events(f, fd,
		      BYTES("1\0later\0domain-start\0\0"
			    "1\0later\0domain-shutdown\0\0"));
	run_rows(f, &all, 1);
	assert_events(f, fd, BYTES("1\0\0domain-delete\0vm\0later\0\0" DENIED_TOLD("", "u08****")));
}

static void test_policy_is_told(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int fd = listen_to(f, "dom0");

	admin_policy_changed(f->admin, "x.policy:1: no");
	admin_policy_changed(f->admin, NULL);
	assert_events(f, fd,
		      BYTES("1\0\0policy-changed\0state\0broken\0error\0x.policy:1: no\0\0"
			    "1\0\0policy-changed\0state\0good\0\0"));
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_mode_of_place),
		TEST(test_disk_full),
		TEST(test_policy),
		TEST(test_audit),
		TEST(test_labels),
		TEST(test_snapshot),
		TEST(test_questions),
		TEST(test_late_answerer),
		TEST(test_changes_are_told),
		TEST(test_policy_is_told),
		TEST(test_deny_list_is_told),
	};

	return cmocka_run_group_tests_name("admin-own", tests, NULL, NULL);
}
