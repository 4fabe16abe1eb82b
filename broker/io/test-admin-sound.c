/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the API says of devices that are no USB devices: request bytes in, reply bytes out; of both classes the same. */
#include "broker/io/test-admin.h"
#include "lib/base/text.h"

#define CALL(class) "admin.vm.device." class "."
#define CODE(letter) letter "000000"
#define ID(letter) "046d:0a4d:S1:" CODE(letter)
#define ARG(class, letter) "sys-usb+" class "-0123abcd+046d+0a4d+S1+" CODE(letter)
/* clang-format off */
#define LINE(class, letter) LINE_OF(class, letter, "", "")
#define LINE_OF(class, letter, used, more) \
	class "-0123abcd:" ID(letter) " device_id='" ID(letter) "' port_id='" class "-0123abcd' devclass='" class "' " \
	"backend_domain='sys-usb' name='USB Headset' serial='S1' " used "interfaces='" CODE(letter) "' " \
	"parent_port_id='3-1' parent_devclass='usb'" more "\n"
/* clang-format on */
#define USED_LINE(class, letter) LINE_OF(class, letter, "attachment='work' ", "")
#define MUTED_LINE(class, letter) LINE_OF(class, letter, "attachment='work' ", " _muted='yes'")
#define NO_SUCH_ANY \
	"sys-usb has no such device, or another one is at that port now: look at the list again (qvm-device list)"
#define NONE(class) \
	"sys-usb has no such device, or another one is at that port now: look at the list again (qvm-" class " list)"

static void add_sound(struct fixture *f, uint8_t class_id, const char *port, const char *parent)
{
	struct core_device device = {.class_id = class_id,
				     .ref = {.slot = (uint16_t)(20 + class_id), .generation = 21},
				     .vendor = 0x046d,
				     .product = 0x0a4d,
				     .n_interfaces = 1,
				     .serial = "S1",
				     .product_name = "USB Headset"};

	(void)snprintf(device.port, sizeof(device.port), "%s", port);
	(void)snprintf(device.parent, sizeof(device.parent), "%s", parent);
	assert_int_equal(handle(f, (struct core_event){.type = CORE_DEVICE, .qube = f->sys_usb, .device = device}), 0);
}

/* clang-format off */
#define ROWS(class, letter) \
	{BYTES(CALL(class) "Available+" FROM "sys-usb\0"), OK(LINE(class, letter))}, \
	{BYTES(CALL(class) "Available+1-2" FROM "sys-usb\0"), OK("")}, \
	{BYTES("device.Mute+" ARG(class, letter) FROM "work\0"), \
	 REFUSED("DeviceNotAssigned", "sys-usb:" class "-0123abcd is not attached to work")}, \
	{BYTES("device.Mute+" ARG(class, letter) FROM "dom0\0"), \
	 REFUSED("DeviceNotAssigned", "sys-usb:" class "-0123abcd is not attached to dom0")}, \
	{BYTES("admin.vm.device.usb.Available+" class "-0123abcd" FROM "sys-usb\0"), OK("")}, \
	{BYTES("admin.vm.device.usb.Attach+" ARG(class, letter) FROM "work\0"), \
	 REFUSED("UnrecognizedDevice", NO_SUCH)}, \
	{BYTES(CALL(class) "Attach+" STICK_ARG FROM "work\0"), REFUSED("UnrecognizedDevice", NONE(class))}, \
	{BYTES(CALL(class) "Attach+" ARG(class, letter) FROM "work\0devclass='usb'"), \
	 REFUSED("QubesValueError", "the request contradicts itself: devclass is " class ", not usb")}, \
	{BYTES(CALL(class) "Attach+" ARG(class, letter) FROM "work\0device_id='" ID(letter) "' " \
		"port_id='" class "-0123abcd' devclass='" class "'"), \
	 OK("")}, \
	{BYTES(CALL(class) "Attached+" FROM "work\0"), \
	 OK("sys-usb+" class "-0123abcd:" ID(letter) " device_id='" ID(letter) "' port_id='" class "-0123abcd' " \
		"devclass='" class "' " \
		"backend_domain='sys-usb' mode='manual' frontend_domain='work'\n")}, \
	{BYTES("admin.vm.device.usb.Attached+" FROM "work\0"), OK("")}, \
	{BYTES("device.Mute+" ARG(class, letter) FROM "Personal\0"), \
	 REFUSED("DeviceNotAssigned", "sys-usb:" class "-0123abcd is not attached to Personal")}, \
	{BYTES("device.Mute+" ARG(class, letter) FROM "work\0now"), \
	 REFUSED("QubesValueError", "this call takes no payload")}, \
	{BYTES("device.Mute+" ARG(class, letter) FROM_GUI "work\0"), OK("")}, \
	{BYTES(CALL(class) "Available+" FROM "sys-usb\0"), OK(MUTED_LINE(class, letter))}, \
	{BYTES("device.Unmute+sys-usb+" class "-0123abcd" FROM "work\0"), OK("")}, \
	{BYTES(CALL(class) "Available+" FROM "sys-usb\0"), OK(USED_LINE(class, letter))}, \
	{BYTES("device.Unmute+sys-usb+1-9" FROM "work\0"), REFUSED("UnrecognizedDevice", NO_SUCH_ANY)}, \
	{BYTES(CALL(class) "Attach+" ARG(class, letter) FROM "Personal\0"), \
	 REFUSED("DeviceAlreadyAttached", "sys-usb:" class "-0123abcd is in use by work: detach it there first " \
		"(qvm-" class " detach work sys-usb:" class "-0123abcd)")}, \
	{BYTES("device.Move+" ARG(class, letter) FROM "Personal\0from='work' devclass='" class "'"), OK("")}, \
	{BYTES("device.label.Set+" ARG(class, letter) FROM "sys-usb\0call"), OK("")}, \
	{BYTES(CALL(class) "Detach+" ARG(class, letter) FROM "Personal\0"), OK("")}, \
	{BYTES(CALL(class) "Assign+sys-usb+1-2+_" FROM "work\0mode='auto-attach'"), \
	 REFUSED("QubesValueError", NOT_A_DEVICE)}, \
	{BYTES("admin.vm.device.usb.Assign+sys-usb+" class "-0123abcd+_" FROM "work\0mode='auto-attach'"), \
	 REFUSED("QubesValueError", NOT_A_DEVICE)}, \
	{BYTES(CALL(class) "Assign+sys-usb+" class "-76543210+_" FROM "work\0mode='auto-attach'"), OK("")}, \
	{BYTES(CALL(class) "Assigned+" FROM "work\0"), \
	 OK("sys-usb+" class "-76543210:* device_id='*' port_id='" class "-76543210' devclass='" class "' " \
		"backend_domain='sys-usb' mode='auto-attach' frontend_domain='work'\n")}, \
	{BYTES(CALL(class) "Unassign+sys-usb+" class "-76543210+_" FROM "work\0"), OK("")}, \
	{BYTES(DENIED "Add+" FROM "work\0" CODE(letter)), OK("")}, \
	{BYTES(CALL(class) "Attach+" ARG(class, letter) FROM "work\0"), \
	 REFUSED("QubesException", "denied by deny list of work: " CODE(letter) "; why: qvm-device policy explain " \
		"work sys-usb:" class "-0123abcd")}, \
	{BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")}, \
	{BYTES("device.Mute+" STICK_ARG FROM "work\0"), \
	 REFUSED("QubesValueError", "sys-usb:1-2 cannot be muted: detach it (qvm-usb detach work sys-usb:1-2)")},
/* clang-format on */

static const struct row of_mic[] = {ROWS("mic", "m")};
static const struct row of_speaker[] = {ROWS("speaker", "s")};

static void test_mic(void **state)
{
	struct fixture *f = *state;

	add_sound(f, WIRE_CLASS_MIC, "mic-0123abcd", "3-1"); /* nothing is listed there */
	run_rows(f, of_mic, ARRAY_SIZE(of_mic));
}

static void test_speaker(void **state)
{
	struct fixture *f = *state;

	add_sound(f, WIRE_CLASS_SPEAKER, "speaker-0123abcd", "3-1");
	run_rows(f, of_speaker, ARRAY_SIZE(of_speaker));
}

/* What is at 1-2 has both: whoever has one of them is in the way of the whole, and the other way round. */
static const struct row of_headset[] = {
	{BYTES(CALL("mic") "Attach+" ARG("mic", "m") FROM "work\0"), OK("")},
	{BYTES(CALL("speaker") "Attach+" ARG("speaker", "s") FROM "Personal\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:1-2 cannot be taken as a whole: its microphone mic-0123abcd is in use by work: detach that "
		 "first (qvm-mic detach work sys-usb:mic-0123abcd), or let the policy say parts=end")},
	{BYTES(ATTACH STICK_ARG FROM_GUI "Personal\0"),
	 REFUSED("DeviceAlreadyAttached", "sys-usb:1-2 cannot be taken as a whole: its microphone mic-0123abcd is in "
					  "use by another qube: detach "
					  "that first, or let the policy say parts=end")},
	{BYTES(CALL("mic") "Detach+" ARG("mic", "m") FROM "work\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:1-2 cannot be taken as a whole: its speaker speaker-0123abcd is in use by Personal: detach "
		 "that first (qvm-speaker detach Personal sys-usb:speaker-0123abcd), or let the policy say parts=end")},
	{BYTES(CALL("speaker") "Detach+" ARG("speaker", "s") FROM "Personal\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(CALL("mic") "Attach+" ARG("mic", "m") FROM "Personal\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:mic-0123abcd is a part of sys-usb:1-2, which is in use by work: detach that first (qvm-usb "
		 "detach work sys-usb:1-2)")},
	{BYTES(CALL("mic") "Attach+" ARG("mic", "m") FROM_GUI "Personal\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:mic-0123abcd is a part of sys-usb:1-2, which is in use by another qube: detach that first")},
};

/* The policy lets the whole end them: each is told as any other end, and its user may see that it is gone. */
static const struct row parts_end[] = {
	{BYTES(DETACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(CALL("mic") "Attach+" ARG("mic", "m") FROM "Personal\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(CALL("mic") "Attached+" FROM "Personal\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "work\0"),
	 OK("sys-usb+1-2:" STICK_ID " " STICK " mode='manual' frontend_domain='work'\n")},
};

static void test_headset(void **state)
{
	struct fixture *f = *state;

	add_sound(f, WIRE_CLASS_MIC, "mic-0123abcd", "1-2");
	add_sound(f, WIRE_CLASS_SPEAKER, "speaker-0123abcd", "1-2");
	run_rows(f, of_headset, ARRAY_SIZE(of_headset));
	f->end_parts = true;
	run_rows(f, parts_end, ARRAY_SIZE(parts_end));
}

#define DOM0_MIC_ID "dom0:mic::m000000"
#define DOM0_MIC_ARG "dom0+mic+dom0+mic++m000000"

/* As Qubes' own client asks for it. */
static const struct row of_dom0[] = {
	{BYTES("admin.vm.device.mic.Available+" FROM "dom0\0"),
	 OK("mic:" DOM0_MIC_ID " device_id='" DOM0_MIC_ID "' port_id='mic' devclass='mic' backend_domain='dom0' "
	    "name='Microphone' interfaces='m000000'\n")},
	{BYTES("admin.vm.device.mic.Attach+" DOM0_MIC_ARG FROM "work\0device_id='" DOM0_MIC_ID
	       "' port_id='mic' devclass='mic' backend_domain='dom0' mode='manual' frontend_domain='work'"),
	 OK("")},
	{BYTES("admin.vm.device.mic.Attached+" FROM "work\0"),
	 OK("dom0+mic:" DOM0_MIC_ID " device_id='" DOM0_MIC_ID "' port_id='mic' devclass='mic' backend_domain='dom0' "
	    "mode='manual' frontend_domain='work'\n")},
	{BYTES("admin.vm.device.mic.Attach+" DOM0_MIC_ARG FROM "Personal\0"),
	 REFUSED("DeviceAlreadyAttached", "dom0:mic is in use by work: detach it there first (qvm-mic detach work "
					  "dom0:mic)")},
	{BYTES("admin.vm.device.mic.Detach+" DOM0_MIC_ARG FROM "work\0"), OK("")},
	{BYTES("admin.vm.device.mic.Assign+" DOM0_MIC_ARG FROM "work\0mode='ask-to-attach'"), OK("")},
	{BYTES("admin.vm.device.mic.Assigned+" FROM "work\0"),
	 OK("dom0+mic:" DOM0_MIC_ID " device_id='" DOM0_MIC_ID "' port_id='mic' devclass='mic' backend_domain='dom0' "
	    "mode='ask-to-attach' frontend_domain='work'\n")},
	{BYTES("admin.vm.device.mic.Unassign+" DOM0_MIC_ARG FROM "work\0"), OK("")},
	{BYTES("admin.vm.device.mic.Attach+" DOM0_MIC_ARG FROM "dom0\0"),
	 REFUSED("QubesValueError", "no device can be attached to dom0: choose another qube")},
};

static void test_dom0(void **state)
{
	struct fixture *f = *state;
	struct core_device device = {.class_id = WIRE_CLASS_MIC,
				     .ref = {.slot = 0, .generation = 1},
				     .n_interfaces = 1,
				     .port = TEXT_DOM0_MIC,
				     .product_name = "Microphone"};

	assert_int_equal(handle(f, (struct core_event){.type = CORE_DEVICE,
						       .qube = add_qube(f, "dom0", 0, WIRE_ROLE_EXPORT),
						       .device = device}),
			 0);
	run_rows(f, of_dom0, ARRAY_SIZE(of_dom0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_mic, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_speaker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_headset, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dom0, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("admin-sound", tests, NULL, NULL);
}
