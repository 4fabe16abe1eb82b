/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the API says of devices that are no USB devices: request bytes in, reply bytes out; of all classes the same. */
#include "broker/io/test-admin.h"
#include "lib/base/text.h"

#define CALL(class) "admin.vm.device." class "."
#define ID(code) "046d:0a4d:S1:" code
#define ARG(class, code) "sys-usb+" class "-0123abcd+046d+0a4d+S1+" code
/* clang-format off */
#define LINE(class, code) LINE_OF(class, code, "", "")
#define LINE_OF(class, code, used, more) \
	class "-0123abcd:" ID(code) " device_id='" ID(code) "' port_id='" class "-0123abcd' devclass='" class "' " \
	"backend_domain='sys-usb' name='USB Headset' serial='S1' " used "interfaces='" code "' " \
	"parent_port_id='3-1' parent_devclass='usb'" more "\n"
/* clang-format on */
#define USED_LINE(class, code) LINE_OF(class, code, "attachment='work' ", "")
#define MUTED_LINE(class, code) LINE_OF(class, code, "attachment='work' ", " _muted='yes'")
#define NO_SUCH_ANY \
	"sys-usb has no such device, or another one is at that port now: look at the list again (qvm-device list)"
#define NONE(class) \
	"sys-usb has no such device, or another one is at that port now: look at the list again (qvm-" class " list)"

static void add_part(struct fixture *f, uint8_t class_id, const char *port, const char *parent)
{
	struct core_device device = {.class_id = class_id,
				     .ref = {.slot = (uint16_t)(20 + class_id), .generation = 21},
				     .vendor = 0x046d,
				     .product = 0x0a4d,
				     .n_interfaces = 1,
				     .serial = "S1",
				     .product_name = "USB Headset"};

	if (class_id == WIRE_CLASS_WEBCAM)
		memcpy(device.interfaces[0], "\x0e\x01\x00", 3);
	(void)snprintf(device.port, sizeof(device.port), "%s", port);
	(void)snprintf(device.parent, sizeof(device.parent), "%s", parent);
	assert_int_equal(handle(f, (struct core_event){.type = CORE_DEVICE, .qube = f->sys_usb, .device = device}), 0);
}

/* clang-format off */
#define ROWS(class, code) \
	{BYTES(CALL(class) "Available+" FROM "sys-usb\0"), OK(LINE(class, code))}, \
	{BYTES(CALL(class) "Available+1-2" FROM "sys-usb\0"), OK("")}, \
	{BYTES("device.Mute+" ARG(class, code) FROM "work\0"), \
	 REFUSED("DeviceNotAssigned", "sys-usb:" class "-0123abcd is not attached to work")}, \
	{BYTES("device.Mute+" ARG(class, code) FROM "dom0\0"), \
	 REFUSED("DeviceNotAssigned", "sys-usb:" class "-0123abcd is not attached to dom0")}, \
	{BYTES("admin.vm.device.usb.Available+" class "-0123abcd" FROM "sys-usb\0"), OK("")}, \
	{BYTES("admin.vm.device.usb.Attach+" ARG(class, code) FROM "work\0"), \
	 REFUSED("UnrecognizedDevice", NO_SUCH)}, \
	{BYTES(CALL(class) "Attach+" STICK_ARG FROM "work\0"), REFUSED("UnrecognizedDevice", NONE(class))}, \
	{BYTES(CALL(class) "Attach+" ARG(class, code) FROM "work\0devclass='usb'"), \
	 REFUSED("QubesValueError", "the request contradicts itself: devclass is " class ", not usb")}, \
	{BYTES(CALL(class) "Attach+" ARG(class, code) FROM "work\0device_id='" ID(code) "' " \
		"port_id='" class "-0123abcd' devclass='" class "'"), \
	 OK("")}, \
	{BYTES(CALL(class) "Attached+" FROM "work\0"), \
	 OK("sys-usb+" class "-0123abcd:" ID(code) " device_id='" ID(code) "' port_id='" class "-0123abcd' " \
		"devclass='" class "' " \
		"backend_domain='sys-usb' mode='manual' frontend_domain='work'\n")}, \
	{BYTES("admin.vm.device.usb.Attached+" FROM "work\0"), OK("")}, \
	{BYTES("device.Mute+" ARG(class, code) FROM "Personal\0"), \
	 REFUSED("DeviceNotAssigned", "sys-usb:" class "-0123abcd is not attached to Personal")}, \
	{BYTES("device.Mute+" ARG(class, code) FROM "work\0now"), \
	 REFUSED("QubesValueError", "this call takes no payload")}, \
	{BYTES("device.Mute+" ARG(class, code) FROM_GUI "work\0"), OK("")}, \
	{BYTES(CALL(class) "Available+" FROM "sys-usb\0"), OK(MUTED_LINE(class, code))}, \
	{BYTES("device.Unmute+sys-usb+" class "-0123abcd" FROM "work\0"), OK("")}, \
	{BYTES(CALL(class) "Available+" FROM "sys-usb\0"), OK(USED_LINE(class, code))}, \
	{BYTES("device.Unmute+sys-usb+1-9" FROM "work\0"), REFUSED("UnrecognizedDevice", NO_SUCH_ANY)}, \
	{BYTES(CALL(class) "Attach+" ARG(class, code) FROM "Personal\0"), \
	 REFUSED("DeviceAlreadyAttached", "sys-usb:" class "-0123abcd is in use by work: detach it there first " \
		"(qvm-" class " detach work sys-usb:" class "-0123abcd)")}, \
	{BYTES("device.Move+" ARG(class, code) FROM "Personal\0from='work' devclass='" class "'"), OK("")}, \
	{BYTES("device.label.Set+" ARG(class, code) FROM "sys-usb\0call"), OK("")}, \
	{BYTES(CALL(class) "Detach+" ARG(class, code) FROM "Personal\0"), OK("")}, \
	{BYTES(CALL(class) "Assign+sys-usb+1-2+_" FROM "work\0mode='auto-attach'"), \
	 REFUSED("QubesValueError", NOT_A_DEVICE)}, \
	{BYTES("admin.vm.device.usb.Assign+sys-usb+" class "-0123abcd+_" FROM "work\0mode='auto-attach'"), \
	 REFUSED("QubesValueError", NOT_A_DEVICE)}, \
	{BYTES(CALL(class) "Assign+sys-usb+" class "-76543210+_" FROM "work\0mode='auto-attach'"), OK("")}, \
	{BYTES(CALL(class) "Assigned+" FROM "work\0"), \
	 OK("sys-usb+" class "-76543210:* device_id='*' port_id='" class "-76543210' devclass='" class "' " \
		"backend_domain='sys-usb' mode='auto-attach' frontend_domain='work'\n")}, \
	{BYTES(CALL(class) "Unassign+sys-usb+" class "-76543210+_" FROM "work\0"), OK("")}, \
	{BYTES(DENIED "Add+" FROM "work\0" code), OK("")}, \
	{BYTES(CALL(class) "Attach+" ARG(class, code) FROM "work\0"), \
	 REFUSED("QubesException", "denied by deny list of work: " code "; why: qvm-device policy explain " \
		"work sys-usb:" class "-0123abcd")}, \
	{BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")}, \
	{BYTES("device.Mute+" STICK_ARG FROM "work\0"), \
	 REFUSED("QubesValueError", "sys-usb:1-2 cannot be muted: detach it (qvm-usb detach work sys-usb:1-2)")},
/* clang-format on */

static const struct row of_mic[] = {ROWS("mic", "m000000")};
static const struct row of_speaker[] = {ROWS("speaker", "s000000")};
static const struct row of_webcam[] = {ROWS("webcam", "u0e0100")};

static void test_mic(void **state)
{
	struct fixture *f = *state;

	add_part(f, WIRE_CLASS_MIC, "mic-0123abcd", "3-1"); /* nothing is listed there */
	run_rows(f, of_mic, ARRAY_SIZE(of_mic));
}

static void test_speaker(void **state)
{
	struct fixture *f = *state;

	add_part(f, WIRE_CLASS_SPEAKER, "speaker-0123abcd", "3-1");
	run_rows(f, of_speaker, ARRAY_SIZE(of_speaker));
}

static void test_webcam(void **state)
{
	static const struct row no_agent[] = {
		{BYTES(CALL("webcam") "Attach+" ARG("webcam", "u0e0100") FROM "vault\0"),
		 REFUSED("QubesException",
			 "no device agent that takes cameras runs in vault: install and start device-agent there, and "
			 "with it the kernel module v4l2loopback, version 0.13 or later (Debian: v4l2loopback-dkms)")},
	};
	struct fixture *f = *state;

	add_part(f, WIRE_CLASS_WEBCAM, "webcam-0123abcd", "3-1");
	run_rows(f, no_agent, ARRAY_SIZE(no_agent));
	run_rows(f, of_webcam, ARRAY_SIZE(of_webcam));
}

/* What is at 1-2 has both: whoever has one of them is in the way of the whole, and the other way round. */
static const struct row of_headset[] = {
	{BYTES(CALL("mic") "Attach+" ARG("mic", "m000000") FROM "work\0"), OK("")},
	{BYTES(CALL("speaker") "Attach+" ARG("speaker", "s000000") FROM "Personal\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:1-2 cannot be taken as a whole: its microphone mic-0123abcd is in use by work: detach that "
		 "first (qvm-mic detach work sys-usb:mic-0123abcd), or let the policy say parts=end")},
	{BYTES(ATTACH STICK_ARG FROM_GUI "Personal\0"),
	 REFUSED("DeviceAlreadyAttached", "sys-usb:1-2 cannot be taken as a whole: its microphone mic-0123abcd is in "
					  "use by another qube: detach "
					  "that first, or let the policy say parts=end")},
	{BYTES(CALL("mic") "Detach+" ARG("mic", "m000000") FROM "work\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:1-2 cannot be taken as a whole: its speaker speaker-0123abcd is in use by Personal: detach "
		 "that first (qvm-speaker detach Personal sys-usb:speaker-0123abcd), or let the policy say parts=end")},
	{BYTES(CALL("speaker") "Detach+" ARG("speaker", "s000000") FROM "Personal\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(CALL("mic") "Attach+" ARG("mic", "m000000") FROM "Personal\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:mic-0123abcd is a part of sys-usb:1-2, which is in use by work: detach that first (qvm-usb "
		 "detach work sys-usb:1-2)")},
	{BYTES(CALL("mic") "Attach+" ARG("mic", "m000000") FROM_GUI "Personal\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:mic-0123abcd is a part of sys-usb:1-2, which is in use by another qube: detach that first")},
};

/* Its camera too: who has it, by that name. */
static const struct row of_camera_of_headset[] = {
	{BYTES(DETACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(CALL("webcam") "Attach+" ARG("webcam", "u0e0100") FROM "Personal\0"), OK("")},
	{BYTES(CALL("mic") "Attach+" ARG("mic", "m000000") FROM "work\0"), OK("")},
	{BYTES(CALL("mic") "Detach+" ARG("mic", "m000000") FROM "work\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"),
	 REFUSED("DeviceAlreadyAttached",
		 "sys-usb:1-2 cannot be taken as a whole: its camera webcam-0123abcd is in use by Personal: detach "
		 "that first (qvm-webcam detach Personal sys-usb:webcam-0123abcd), or let the policy say parts=end")},
	{BYTES(CALL("webcam") "Detach+" ARG("webcam", "u0e0100") FROM "Personal\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(CALL("webcam") "Attach+" ARG("webcam", "u0e0100") FROM "work\0"),
	 REFUSED("DeviceAlreadyAttached", "sys-usb:webcam-0123abcd is a part of sys-usb:1-2, which is in use by work: "
					  "detach that first (qvm-usb "
					  "detach work sys-usb:1-2)")},
};

/* The policy lets the whole end them: each is told as any other end, and its user may see that it is gone. */
static const struct row parts_end[] = {
	{BYTES(DETACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(CALL("mic") "Attach+" ARG("mic", "m000000") FROM "Personal\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(CALL("mic") "Attached+" FROM "Personal\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "work\0"),
	 OK("sys-usb+1-2:" STICK_ID " " STICK " mode='manual' frontend_domain='work'\n")},
};

static void test_headset(void **state)
{
	struct fixture *f = *state;

	add_part(f, WIRE_CLASS_MIC, "mic-0123abcd", "1-2");
	add_part(f, WIRE_CLASS_SPEAKER, "speaker-0123abcd", "1-2");
	add_part(f, WIRE_CLASS_WEBCAM, "webcam-0123abcd", "1-2");
	run_rows(f, of_headset, ARRAY_SIZE(of_headset));
	run_rows(f, of_camera_of_headset, ARRAY_SIZE(of_camera_of_headset));
	f->end_parts = true;
	run_rows(f, parts_end, ARRAY_SIZE(parts_end));
}

#define CAMERA_ARG ARG("webcam", "u0e0100")
#define CAMERA_ANY "sys-usb+webcam-0123abcd+_"
#define CAMERA_LINE(id, mode, options)                                                                   \
	"sys-usb+webcam-0123abcd:" id " device_id='" id "' port_id='webcam-0123abcd' devclass='webcam' " \
	"backend_domain='sys-usb' mode='" mode "' frontend_domain='work'" options "\n"
#define ATTACHED_CAMERA(options)                                                                                   \
	{                                                                                                          \
		BYTES(CALL("webcam") "Attached+" FROM "work\0"), OK(CAMERA_LINE(ID("u0e0100"), "manual", options)) \
	}
#define DETACH_CAMERA                                                            \
	{                                                                        \
		BYTES(CALL("webcam") "Detach+" CAMERA_ARG FROM "work\0"), OK("") \
	}
#define NOT_SIZE(value)                                                                                             \
	REFUSED("QubesValueError", "option size must be WIDTHxHEIGHT in pixels, as in 1280x720: even numbers from " \
				   "16 to 4096, not " value)
#define NOT_FPS(value)                                                                                       \
	REFUSED("QubesValueError", "option fps must be a whole number of pictures a second, from 1 to 120, " \
				   "not " value)
#define NOT_CONTROL(key, value) \
	REFUSED("QubesValueError", "option " key " must be a whole number of per cent, from 0 to 100, not " value)
#define NOT_POWER_LINE(value) REFUSED("QubesValueError", "option power-line must be 50, 60 or off, not " value)
#define ALL_CONTROLS "brightness, contrast, saturation, sharpness and power-line"
#define OF_CAMERAS(option) REFUSED("QubesValueError", "option " option " is for cameras only: leave it out")

/* What may be asked of a camera's pictures, and is shown again. */
static const struct row of_pictures[] = {
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_size='1280x720' _fps='30'"), OK("")},
	ATTACHED_CAMERA(" _size='1280x720' _fps='30'"),
	{BYTES(CALL("webcam") "List+" FROM "work\0"),
	 OK("sys-usb+webcam-0123abcd size=1280x720 fps=30 persistent=no\n")},
	{BYTES("device.Move+" CAMERA_ARG FROM "Personal\0from='work' _fps='5' _max-time='30m'"), OK("")},
	{BYTES("device.Move+" CAMERA_ARG FROM "work\0from='Personal' _size='4096x16'"), OK("")},
	ATTACHED_CAMERA(" _size='4096x16'"),
	DETACH_CAMERA,
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0size=640x480 fps=120 max-time=1h"), OK("")}, /* 4.2 */
	ATTACHED_CAMERA(" _max-time='1h' _size='640x480' _fps='120'"),
	DETACH_CAMERA,
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_size='1281x720'"), NOT_SIZE("1281x720")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_size='8192x4320'"), NOT_SIZE("8192x4320")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_size='1280x720x30'"), NOT_SIZE("1280x720x30")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_size=''"), NOT_SIZE("")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_fps='0'"), NOT_FPS("0")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_fps='121'"), NOT_FPS("121")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_fps='29.97'"), NOT_FPS("29.97")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_format='1280x720x30'"),
	 REFUSED("QubesValueError",
		 "there is no option format here, only max-time, size, fps, " ALL_CONTROLS ": leave it out")},
	{BYTES("device.Move+" CAMERA_ARG FROM "work\0from='Personal' _size='1x1'"), NOT_SIZE("1x1")},
	{BYTES(CALL("webcam") "Assign+" CAMERA_ANY FROM "work\0mode='auto-attach' _fps='x'"), NOT_FPS("x")},
	{BYTES(CALL("webcam") "Assign+" CAMERA_ANY FROM "work\0mode='auto-attach' _format='x'"),
	 REFUSED("QubesValueError",
		 "there is no option format here, only max-time, follow-port, size, fps, " ALL_CONTROLS
		 ": leave it out")},
	{BYTES(ATTACH STICK_ARG FROM "work\0_size='1280x720'"), OF_CAMERAS("size")},
	{BYTES(ATTACH STICK_ARG FROM "work\0_brightness='50'"), OF_CAMERAS("brightness")},
	{BYTES("device.Move+" STICK_ARG FROM "work\0from='Personal' _power-line='50'"), OF_CAMERAS("power-line")},
	{BYTES(ATTACH STICK_ARG FROM "work\0_fps='nonsense'"), OF_CAMERAS("fps")},
	{BYTES(CALL("mic") "Assign+sys-usb+mic-0123abcd+_" FROM "work\0mode='auto-attach' _fps='30'"),
	 OF_CAMERAS("fps")},
	{BYTES("device.Move+" STICK_ARG FROM "work\0from='Personal' _fps='30'"), OF_CAMERAS("fps")},
	{BYTES(CALL("webcam") "Assign+" CAMERA_ANY FROM "work\0mode='auto-attach' _size='320x240' _fps='15' "
			      "_follow-port='yes'"),
	 OK("")},
	{BYTES(CALL("webcam") "Assigned+" FROM "work\0"),
	 OK(CAMERA_LINE("*", "auto-attach", " _follow-port='yes' _size='320x240' _fps='15'"))},
	{BYTES(CALL("webcam") "Attached+" FROM "work\0"),
	 OK(CAMERA_LINE(ID("u0e0100"), "auto-attach", " _follow-port='yes' _size='320x240' _fps='15'"))},
	{BYTES(CALL("webcam") "Set.assignment+" CAMERA_ANY FROM "work\0ask-to-attach"), OK("")},
	{BYTES(CALL("webcam") "Assigned+" FROM "work\0"),
	 OK(CAMERA_LINE("*", "ask-to-attach", " _follow-port='yes' _size='320x240' _fps='15'"))},
};

/* The same of its controls, whose values are shown as they were said. */
static const struct row of_controls[] = {
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_power-line='60' _brightness='0' _sharpness='100'"),
	 OK("")},
	ATTACHED_CAMERA(" _brightness='0' _sharpness='100' _power-line='60'"),
	{BYTES(CALL("webcam") "List+" FROM "work\0"),
	 OK("sys-usb+webcam-0123abcd brightness=0 sharpness=100 power-line=60 persistent=no\n")},
	{BYTES("device.Move+" CAMERA_ARG FROM "Personal\0from='work' _contrast='50' _saturation='7'"), OK("")},
	{BYTES("device.Move+" CAMERA_ARG FROM "work\0from='Personal' _power-line='off'"), OK("")},
	ATTACHED_CAMERA(" _power-line='off'"),
	DETACH_CAMERA,
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0brightness=50 fps=30"), OK("")}, /* 4.2 */
	ATTACHED_CAMERA(" _fps='30' _brightness='50'"),
	DETACH_CAMERA,
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_brightness='101'"), NOT_CONTROL("brightness", "101")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_contrast='half'"), NOT_CONTROL("contrast", "half")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_saturation='-1'"), NOT_CONTROL("saturation", "-1")},
	{BYTES("device.Move+" CAMERA_ARG FROM "work\0from='Personal' _sharpness=''"), NOT_CONTROL("sharpness", "")},
	{BYTES(CALL("webcam") "Attach+" CAMERA_ARG FROM "work\0_power-line='55'"), NOT_POWER_LINE("55")},
	{BYTES(CALL("webcam") "Assign+" CAMERA_ANY FROM "work\0mode='auto-attach' _power-line='on'"),
	 NOT_POWER_LINE("on")},
	{BYTES(CALL("webcam") "Assign+" CAMERA_ANY FROM "work\0mode='auto-attach' _brightness='33'"), OK("")},
	{BYTES(CALL("webcam") "Assigned+" FROM "work\0"), OK(CAMERA_LINE("*", "auto-attach", " _brightness='33'"))},
	{BYTES(CALL("webcam") "Attached+" FROM "work\0"),
	 OK(CAMERA_LINE(ID("u0e0100"), "auto-attach", " _brightness='33'"))},
};

static void test_controls(void **state)
{
	struct fixture *f = *state;

	add_part(f, WIRE_CLASS_WEBCAM, "webcam-0123abcd", "1-2");
	run_rows(f, of_controls, ARRAY_SIZE(of_controls));
}

static void test_pictures(void **state)
{
	struct fixture *f = *state;

	add_part(f, WIRE_CLASS_WEBCAM, "webcam-0123abcd", "1-2");
	run_rows(f, of_pictures, ARRAY_SIZE(of_pictures));
}

#define OPTIONS                                                                                                        \
	"options\0{'follow-port': 'yes', 'max-time': '168h', 'size': '4096x4096', 'fps': '120', 'brightness': '100', " \
	"'contrast': '100', 'saturation': '100', 'sharpness': '100', 'power-line': 'off'}\0"
#define CAMERA_FULL "sys-usb:webcam-0123abcd:" ID("u0e0100")

/* The longest that options can be. */
static void test_picture_events(void **state)
{
	static const struct row assigned[] = {
		{BYTES(CALL("webcam") "Assign+" CAMERA_ANY FROM "work\0mode='auto-attach' _follow-port='yes' "
				      "_max-time='168h' _size='4096x4096' _fps='120' _brightness='100' _contrast='100' "
				      "_saturation='100' _sharpness='100' _power-line='off'"),
		 OK("")},
	};
	struct fixture *f = *state;
	int fd = listen_to(f, "work");

	add_part(f, WIRE_CLASS_WEBCAM, "webcam-0123abcd", "1-2");
	run_rows(f, assigned, ARRAY_SIZE(assigned));
	assert_events(f, fd,
		      BYTES("1\0work\0device-pre-attach:webcam\0device\0" CAMERA_FULL "\0" OPTIONS "\0"
			    "1\0work\0device-pre-assign:webcam\0device\0sys-usb:webcam-0123abcd:*\0" OPTIONS "\0"
			    "1\0work\0device-assign:webcam\0device\0sys-usb:webcam-0123abcd:*\0" OPTIONS "\0"
			    "1\0work\0device-attach:webcam\0device\0" CAMERA_FULL "\0" OPTIONS "\0"));
	(void)close(fd);
}

/* A question names what it is about, also what does not name itself. */
static void test_nameless_in_question(void **state)
{
	static const char attach[] = CALL("webcam") "Attach+sys-usb+webcam-76543210" FROM "work\0";
	struct fixture *f = *state;
	struct core_device camera = {.class_id = WIRE_CLASS_WEBCAM,
				     .ref = {.slot = 30, .generation = 1},
				     .vendor = 0x046d,
				     .product = 0x0825,
				     .n_interfaces = 1,
				     .interfaces = {{0x0e, 1, 0}},
				     .port = "webcam-76543210"};
	int fd = listen_with(f, "device.ask.Listen", "dom0"), waiting = open_client(f);

	f->verdict = CORE_VERDICT_ASK;
	assert_int_equal(handle(f, (struct core_event){.type = CORE_DEVICE, .qube = f->sys_usb, .device = camera}), 0);
	assert_int_equal(send(waiting, attach, sizeof(attach) - 1, 0), sizeof(attach) - 1);
	(void)shutdown(waiting, SHUT_WR);
	turn(f);
	assert_events(f, fd,
		      BYTES("1\0sys-usb\0device-ask:webcam\0question\0"
			    "1\0device\0"
			    "sys-usb:webcam-76543210:046d:0825::u0e0100\0description\0camera 046d:0825\0"
			    "rule\0"
			    "30-user.policy:4\0targets\0work\0default\0\0seconds\0"
			    "0\0\0"));
	(void)close(fd);
	(void)close(waiting);
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
		cmocka_unit_test_setup_teardown(test_webcam, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pictures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_controls, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_picture_events, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nameless_in_question, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_headset, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dom0, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("admin-parts", tests, NULL, NULL);
}
