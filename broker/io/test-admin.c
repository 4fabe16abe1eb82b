/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Admin API's server: what Qubes has, its events and its connections. The table of golden bytes is the conformance
 * table; a row is one connection. What is stored, asked and ours: test-admin-own.c.
 */
#include "broker/io/test-admin.h"

#include "broker/io/admin-calls.h"

/* ---- golden bytes ------------------------------------------------------------------------------------------------- */

static const struct row reading[] = {
	/* framing: as Qubes' server, a fault is closed without a reply */
	{BYTES(""), NO_REPLY},
	{BYTES("\0"), NO_REPLY},
	{BYTES("admin.vm.List+"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 name dom0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 name\0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 nome dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 keyword default\0"), NO_REPLY},
	{BYTES("admin.vm.List+  dom0 name dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+\tdom0 name dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 name dom0\n\0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 name d\xc3\xb6m\0"), NO_REPLY},
	{BYTES("\x1b]52;c;AAAA\x07 dom0 name dom0\0"), NO_REPLY},
	{BYTES("GET / HTTP/1.1\r\n\r\n"), NO_REPLY},
	/* who may call, what, and where */
	{BYTES("admin.vm.List+ sys-usb name dom0\0"),
	 REFUSED("QubesDaemonAccessError", "only dom0 may make this call")},
	{BYTES("admin.vm.List+ @adminvm name dom0\0"),
	 REFUSED("QubesDaemonAccessError", "only dom0 may make this call")},
	{BYTES("admin.vm.Kill+" FROM "work\0"),
	 REFUSED("QubesDaemonAccessError", "the device broker has no call 'admin.vm.Kill'")},
	{BYTES("admin.vm.list+" FROM "dom0\0"),
	 REFUSED("QubesDaemonAccessError", "the device broker has no call 'admin.vm.list'")},
	{BYTES("100%s" FROM "dom0\0"), REFUSED("QubesDaemonAccessError", "the device broker has no call '100%%s'")},
	{BYTES("" FROM "dom0\0"), REFUSED("QubesDaemonAccessError", "the device broker has no call ''")},
	{BYTES("admin.vm.device.pci.Available+" FROM "dom0\0"),
	 REFUSED("QubesDaemonAccessError", "the device broker has no call 'admin.vm.device.pci.Available'")},
	{BYTES("admin.vm.device.usb" FROM "dom0\0"),
	 REFUSED("QubesDaemonAccessError", "the device broker has no call 'admin.vm.device.usb'")},
	{BYTES("admin.vm.device.usb." FROM "dom0\0"),
	 REFUSED("QubesDaemonAccessError", "the device broker has no call 'admin.vm.device.usb.'")},
	{BYTES("admin.vm.device..List" FROM "dom0\0"),
	 REFUSED("QubesDaemonAccessError", "the device broker has no call 'admin.vm.device..List'")},
	{BYTES("admin.vm.List+" FROM "nobody\0"), NOT_THERE("nobody")},
	{BYTES("admin.vm.List+" FROM "\0"), NOT_THERE("")},
	{BYTES("admin.vm.List+" FROM "work personal\0"), NOT_THERE("work personal")},
	{BYTES("admin.vm.List+" FROM "uuid:work\0"), NOT_THERE("uuid:work")},
	{BYTES("admin.vm.List+" FROM "100%d\0"), NOT_THERE("100%%d")},
	{BYTES("admin.vm.List+x" FROM "dom0\0"), REFUSED("QubesValueError", "this call takes no argument")},
	{BYTES("admin.vm.List+" FROM "dom0\0x"), REFUSED("QubesValueError", "this call takes no payload")},
	{BYTES("admin.deviceclass.List+" FROM "work\0"),
	 REFUSED("QubesValueError", "the destination of this call must be dom0")},
	/* qubes */
	{BYTES("admin.vm.List+" FROM "dom0\0"),
	 OK("Personal class=AppVM state=Running uuid=" UUID(
		 "3") "\n"
		      "dom0 class=AdminVM state=Running uuid=" UUID(
			      "0") "\n"
				   "sys-usb class=AppVM state=Running uuid=" UUID(
					   "1") "\n"
						"sys-usb2 class=AppVM state=Running uuid=" UUID(
							"4") "\n"
							     "vault class=AppVM state=Running uuid=" UUID(
								     "5") "\n"
									  "work class=AppVM state=Running uuid=" UUID(
										  "2") "\n")},
	{BYTES("admin.vm.List" FROM "work\0"), OK("work class=AppVM state=Running uuid=" UUID("2") "\n")},
	{BYTES("admin.vm.List+" FROM "uuid:" UUID("2") "\0"),
	 OK("work class=AppVM state=Running uuid=" UUID("2") "\n")},
	{BYTES("admin.vm.List+ dom0 keyword adminvm\0x"), REFUSED("QubesValueError", "this call takes no payload")},
	{BYTES("admin.vm.CurrentState+" FROM "work\0"), OK("mem=0 mem_static_max=0 cputime=0 power_state=Running")},
	{BYTES("admin.vm.CurrentState+" FROM "dom0\0"), OK("mem=0 mem_static_max=0 cputime=0 power_state=Running")},
	{BYTES("admin.vm.property.GetAll+" FROM "work\0"),
	 OK("devices_denied default=True type=str \nklass default=True type=str AppVM\n"
	    "name default=False type=str work\nuuid default=False type=str " UUID(
		    "2") "\n"
			 "xid default=True type=int 2\n")},
	{BYTES("admin.vm.property.GetAll+" FROM "uuid:" UUID("0") "\0"),
	 OK("klass default=True type=str AdminVM\nname default=False type=str dom0\n"
	    "uuid default=True type=str " UUID("0") "\nxid default=True type=int 0\n")},
	/* devices */
	{BYTES("admin.deviceclass.List+" FROM "dom0\0"), OK("block\nmic\nusb\nwebcam\n")},
	{BYTES("admin.vm.device.usb.Available+" FROM "sys-usb\0"),
	 OK(KEYS_LINE STICK_LINE " interfaces='u080650'\n" ODD_LINE)},
	{BYTES("admin.vm.device.usb.Available+1-2.4" FROM "sys-usb\0"), OK(KEYS_LINE)},
	{BYTES("admin.vm.device.usb.Available+9-9" FROM "sys-usb\0"), OK("")},
	{BYTES("admin.vm.device.usb.Available+" FROM "work\0"), OK("")},
	{BYTES("admin.vm.device.usb.Available+" FROM "dom0\0"), OK("")},
	{BYTES("admin.vm.device.mic.Available+" FROM "sys-usb\0"), OK("")},
	{BYTES("admin.vm.device.webcam.Attached+" FROM "sys-usb\0"), OK("")},
	{BYTES("admin.vm.device.block.Assigned+" FROM "sys-usb\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "work\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "dom0\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+sys-usb" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES("admin.vm.device.usb.Assigned+" FROM "work\0"), OK("")},
	{BYTES("admin.vm.device.usb.Available+" FROM "work\0x"),
	 REFUSED("QubesValueError", "this call takes no payload")},
	/* attaches that are refused before the broker is asked */
	{BYTES("admin.vm.device.usb.Attach+" FROM "work\0"), REFUSED("QubesValueError", "this call needs an argument")},
	{BYTES(ATTACH "sys-usb" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(ATTACH "sys-usb+" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(ATTACH "sys-usb+_+_" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(ATTACH "+1-2+x" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(ATTACH "sys-usb+9-9+_" FROM "work\0"), REFUSED("UnrecognizedDevice", NO_SUCH)},
	{BYTES(ATTACH "sys-usb+1-2+0781+5581+AB13+u080650" FROM "work\0"), REFUSED("UnrecognizedDevice", NO_SUCH)},
	{BYTES(ATTACH "sys-usb+1-2+0781+5581+AB12+u080650+" FROM "work\0"), REFUSED("UnrecognizedDevice", NO_SUCH)},
	{BYTES(ATTACH "sys-usb+1-2.4+0781+5581+AB12+u080650" FROM "work\0"), REFUSED("UnrecognizedDevice", NO_SUCH)},
	{BYTES("admin.vm.device.mic.Attach+sys-usb+1-2+_" FROM "work\0"),
	 REFUSED("UnrecognizedDevice", "sys-usb has no such device, or another one is at that port now: look at the "
				       "list again (qvm-device list)")},
	{BYTES(ATTACH STICK_ARG FROM "dom0\0"),
	 REFUSED("QubesValueError", "no device can be attached to dom0: choose another qube")},
	{BYTES(ATTACH STICK_ARG FROM "nobody\0"), NOT_THERE("nobody")},
	{BYTES(ATTACH STICK_ARG FROM "work\0" STICK " mode='manual' frontend_domain='work' _ro='yes'"),
	 REFUSED("QubesValueError", "there is no option ro here, only max-time: leave it out")},
	{BYTES(ATTACH STICK_ARG FROM "work\0_follow-port='yes'"),
	 REFUSED("QubesValueError", "there is no option follow-port here, only max-time: leave it out")},
	{BYTES(ATTACH STICK_ARG FROM "work\0" STICK " mode='required' frontend_domain='work'"),
	 REFUSED("QubesValueError", "attach is for now only: its mode must be manual")},
	{BYTES(ATTACH STICK_ARG FROM "work\0" STICK " frontend_domain='vault'"),
	 REFUSED("QubesValueError", "the request contradicts itself: frontend_domain is work, not vault")},
	{BYTES(ATTACH STICK_ARG FROM "work\0device_id='1:2'"),
	 REFUSED("QubesValueError", "the request contradicts itself: device_id is 0781:5581:AB12:u080650, not 1:2")},
	{BYTES(ATTACH STICK_ARG FROM "work\0persistent=True"),
	 REFUSED("QubesValueError", "the payload is not a list of key='value'")},
	{BYTES(ATTACH STICK_ARG FROM "work\0mode='manual"),
	 REFUSED("QubesValueError", "the payload is not a list of key='value'")},
	{BYTES(DETACH STICK_ARG FROM "work\0"), REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to work")},
	{BYTES(DETACH STICK_ARG FROM "dom0\0"), REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to dom0")},
	{BYTES(DETACH STICK_ARG FROM "work\0x"), REFUSED("QubesValueError", "this call takes no payload")},
	{BYTES(DETACH "_+_" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(DETACH "sys-usb+_+_" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
};

/* Two of one kind without serial numbers, and a serial number that Qubes' encoding would change. */
#define TWIN "1111+2222++_______"
#define LOW_ID "3333:4444:______-___:?******"
static const struct row twins[] = {
	{BYTES(ATTACH "sys-usb+_+" TWIN FROM "work\0"),
	 REFUSED("UnrecognizedDevice", "sys-usb has more than one such device: name the port (qvm-usb list)")},
	{BYTES(ATTACH "sys-usb+4-2+" TWIN FROM "work\0"), OK("")},
	{BYTES(DETACH "sys-usb+4-1+" TWIN FROM "work\0"),
	 REFUSED("DeviceNotAssigned", "sys-usb:4-1 is not attached to work")},
	{BYTES(ATTACH "sys-usb+4-1+" TWIN FROM "work\0"), OK("")},
	{BYTES(DETACH "sys-usb+_+" TWIN FROM "work\0"),
	 REFUSED("DeviceNotAssigned", "sys-usb:_ is more than one device of work: name the port")},
	{BYTES(DETACH "sys-usb+4-2+" TWIN FROM "work\0"), OK("")},
	{BYTES(DETACH "sys-usb+_+" TWIN FROM "work\0"), OK("")},
	{BYTES("admin.vm.device.usb.Available+4-3" FROM "sys-usb\0"),
	 OK("4-3:" LOW_ID " device_id='" LOW_ID "' port_id='4-3' devclass='usb' backend_domain='sys-usb' "
	    "serial='__________' interfaces='?******'\n")},
	{BYTES(ATTACH "sys-usb+4-3+3333+4444+______-___+_______" FROM "work\0"), OK("")},
};

static const struct row changing[] = {
	/* refused by the core */
	{BYTES(ATTACH STICK_ARG FROM "sys-usb\0"),
	 REFUSED("QubesValueError", "sys-usb:1-2 is a device of sys-usb itself: choose another qube")},
	{BYTES(ATTACH STICK_ARG FROM "vault\0"),
	 REFUSED("QubesException", "no device agent that takes USB devices runs in vault: install and start "
				   "device-agent there")},
	/* done */
	{BYTES(ATTACH STICK_ARG FROM "work\0" STICK " mode='manual' frontend_domain='work'"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"),
	 REFUSED("DeviceAlreadyAttached", "sys-usb:1-2 is already attached to work")},
	{BYTES(ATTACH STICK_ARG FROM "Personal\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:1-2 is in use by work: detach it there first (qvm-usb detach work sys-usb:1-2)")},
	{BYTES("admin.vm.device.usb.Available+1-2" FROM "sys-usb\0"),
	 OK(STICK_LINE " attachment='work' interfaces='u080650'\n")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "work\0"),
	 OK("sys-usb+1-2:0781:5581:AB12:u080650 " STICK " mode='manual' frontend_domain='work'\n")},
	{BYTES("admin.vm.device.usb.Attached+sys-usb+1-2" FROM "work\0"),
	 OK("sys-usb+1-2:0781:5581:AB12:u080650 " STICK " mode='manual' frontend_domain='work'\n")},
	{BYTES("admin.vm.device.usb.Attached+sys-usb2+1-2" FROM "work\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "Personal\0"), OK("")},
	{BYTES("admin.vm.device.mic.Attached+" FROM "work\0"), OK("")},
	/* the same port of another backend is another device (Qubes' own server detaches by the port alone) */
	{BYTES(DETACH "sys-usb2+1-2+_" FROM "work\0"),
	 REFUSED("DeviceNotAssigned", "sys-usb2:1-2 is not attached to work")},
	{BYTES(ATTACH "sys-usb2+1-2+_" FROM "work\0"), OK("")},
	{BYTES(DETACH "sys-usb2+1-2+0781+5581+AB12+u080650" FROM "work\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "work\0"),
	 OK("sys-usb+1-2:0781:5581:AB12:u080650 " STICK " mode='manual' frontend_domain='work'\n")},
	{BYTES(DETACH STICK_ARG FROM "Personal\0"),
	 REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to Personal")},
	{BYTES(DETACH "sys-usb+1-2+0781+5581+XXXX+u080650" FROM "work\0"),
	 REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to work")},
	{BYTES(DETACH "sys-usb+1-2" FROM "work\0"), OK("")},
	{BYTES(DETACH STICK_ARG FROM "work\0"), REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to work")},
	/* without an id (4.2), by id alone, and with an id that Qubes' encoding would lose */
	{BYTES(ATTACH "sys-usb+1-2" FROM "Personal\0"), OK("")},
	{BYTES(DETACH "sys-usb+_+0781+5581+AB12+u080650" FROM "Personal\0"), OK("")},
	{BYTES(ATTACH "sys-usb+2-1+1234+5678+a_b___c__+_______" FROM "work\0device_id='" ODD_ID "'"), OK("")},
	{BYTES(DETACH "sys-usb+2-1+1234+5678+a_b___c__+_______" FROM "work\0"), OK("")},
};

static void test_reading(void **state)
{
	assert_true(ARRAY_SIZE(reading) + ARRAY_SIZE(changing) >= 60);
	run_rows(*state, reading, ARRAY_SIZE(reading));
}

static void test_twins(void **state)
{
	struct fixture *f = *state;
	struct core_device twin = {.vendor = 0x1111, .product = 0x2222, .port = "4-1"};
	struct core_device low = {.vendor = 0x3333, .product = 0x4444, .port = "4-3", .serial = "__________"};

	add_device(f, f->sys_usb, 10, twin);
	(void)strcpy(twin.port, "4-2");
	add_device(f, f->sys_usb, 11, twin);
	add_device(f, f->sys_usb, 12, low);
	run_rows(f, twins, ARRAY_SIZE(twins));
}

static void test_changing(void **state)
{
	run_rows(*state, changing, ARRAY_SIZE(changing));
}

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
	heir = add_qube(f, "heir", 2, WIRE_ROLE_IMPORT);
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
	assert_int_equal(receive(f, fd, reply, sizeof(reply), &closed), 23);
	assert_int_equal(send(leaver, attach, sizeof(attach), 0), sizeof(attach));
	(void)close(leaver);
	turn(f);
	turn(f);
	run_rows(f, &attached, 1);
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
	assert_int_equal(receive(f, pair[0], reply, sizeof(reply), &closed), 23);
	(void)close(pair[0]);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		(void)close(fds[i]);
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
		TEST(test_reading),
		TEST(test_changing),
		TEST(test_twins),
		TEST(test_failures),
		cmocka_unit_test(test_moves_that_failed),
		TEST(test_locked),
		TEST(test_events),
		TEST(test_slow_listener),
		TEST(test_too_long),
		TEST(test_pieces_and_leavers),
		TEST(test_silent),
		TEST(test_too_many_listeners),
		TEST(test_socket_place),
	};

	return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
