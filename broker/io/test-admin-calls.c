/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The conformance table: request bytes -> reply bytes of each call that Qubes has, good and bad. A row is one connection;
 * the rows of one table follow each other on one server. Where an answer is not qubesd's on purpose, device-broker(8)
 * says so.
 */
#include "broker/io/test-admin.h"

#include "broker/io/admin-job.h"

#define MOVE "device.Move+"
#define FOR_GOOD "an attach that persists is an assignment: from a qube, call Assign, with mode='auto-attach'"
#define NOBODY REFUSED("QubesDaemonAccessError", "the request's source is not the name of a qube")
#define NOT_SET(qube, feature) REFUSED("QubesFeatureNotFoundError", "Feature not set for domain " qube ": " feature)

static const struct row reading[] = {
	/* framing: as Qubes' server, a fault is closed without a reply */
	{BYTES(""), NO_REPLY},
	{BYTES("\0"), NO_REPLY},
	{BYTES("admin.vm.List+"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 name dom0"), NO_REPLY},
	{BYTES("admin.vm.List"), NO_REPLY},
	{BYTES("admin.vm.List\0"), NO_REPLY},
	{BYTES("admin.vm.List \0"), NO_REPLY},
	{BYTES("   \0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 NAME dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 keyword \0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 keyword dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0 keyword adminvm \0"), NO_REPLY},
	{BYTES("admin.vm.List+ dom0  dom0\0"), NO_REPLY},
	{BYTES("\0admin.vm.List+ dom0 name dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+\0 dom0 name dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+\n dom0 name dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+\x7f dom0 name dom0\0"), NO_REPLY},
	{BYTES("admin.vm.List+\xff dom0 name dom0\0"), NO_REPLY},
	{BYTES("\xef\xbb\xbf"
	       "admin.vm.List+ dom0 name dom0\0"),
	 NO_REPLY},
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
	{BYTES("admin.vm.List+ @adminvm name dom0\0"), NOBODY},
	{BYTES("admin.vm.List+ Domain-0! name dom0\0"), NOBODY},
	{BYTES("admin.vm.List+ a234567890123456789012345678901x name dom0\0"), NOBODY},
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
	{BYTES("admin.vm.property.Get+name" FROM "work\0"), OK("default=False type=str work")},
	{BYTES("admin.vm.property.Get+klass" FROM "dom0\0"), OK("default=True type=str AdminVM")},
	{BYTES("admin.vm.property.Get+uuid" FROM "work\0"), OK("default=False type=str " UUID("2"))},
	{BYTES("admin.vm.property.Get+xid" FROM "uuid:" UUID("2") "\0"), OK("default=True type=int 2")},
	{BYTES("admin.vm.property.Get+xid" FROM "dom0\0"), OK("default=True type=int 0")},
	{BYTES("admin.vm.property.Get+" FROM "work\0"), REFUSED("QubesValueError", "this call needs an argument")},
	{BYTES("admin.vm.property.Get+na" FROM "work\0"),
	 REFUSED("QubesNoSuchPropertyError", "work has no property 'na' here")},
	{BYTES("admin.vm.property.Get+100%s+x" FROM "work\0"),
	 REFUSED("QubesNoSuchPropertyError", "work has no property '100%%s+x' here")},
	{BYTES("admin.vm.property.GetAll+name" FROM "work\0"),
	 REFUSED("QubesValueError", "this call takes no argument")},
	{BYTES("admin.vm.property.Set+name" FROM "work\0x"),
	 REFUSED("QubesDaemonAccessError", "the device broker has no call 'admin.vm.property.Set'")},
	{BYTES("admin.vm.CurrentState+" FROM "nobody\0"), NOT_THERE("nobody")},
	{BYTES("admin.vm.CurrentState+" FROM "work\0x"), REFUSED("QubesValueError", "this call takes no payload")},
	{BYTES("admin.Events+x" FROM "dom0\0"), REFUSED("QubesValueError", "this call takes no argument")},
	{BYTES("admin.Events+" FROM "nobody\0"), NOT_THERE("nobody")},
	/* features: none is set */
	{BYTES("admin.vm.feature.List+" FROM "work\0"), OK("")},
	{BYTES("admin.vm.feature.List+" FROM "nobody\0"), NOT_THERE("nobody")},
	{BYTES("admin.vm.feature.List+x" FROM "work\0"), REFUSED("QubesValueError", "this call takes no argument")},
	{BYTES("admin.vm.feature.Get+" FROM "work\0"), REFUSED("QubesValueError", "this call needs an argument")},
	{BYTES("admin.vm.feature.Get+gui" FROM "work\0"), NOT_SET("work", "gui")},
	{BYTES("admin.vm.feature.Get+100%s" FROM "dom0\0"), NOT_SET("dom0", "100%%s")},
	{BYTES("admin.vm.feature.Get+gui" FROM "work\0x"), REFUSED("QubesValueError", "this call takes no payload")},
	{BYTES("admin.vm.feature.CheckWithTemplate+gui" FROM "work\0"), NOT_SET("work", "gui")},
	{BYTES("admin.vm.feature.CheckWithNetvm+gui" FROM "work\0"), NOT_SET("work", "gui")},
	{BYTES("admin.vm.feature.CheckWithAdminVM+gui" FROM "work\0"), NOT_SET("work", "gui")},
	{BYTES("admin.vm.feature.CheckWithTemplateAndAdminVM+gui" FROM "work\0"), NOT_SET("work", "gui")},
	{BYTES("admin.vm.feature.Set+gui" FROM "work\0"
	       "1"),
	 REFUSED("QubesDaemonAccessError", "the device broker has no call 'admin.vm.feature.Set'")},
	/* devices */
	{BYTES("admin.deviceclass.List+" FROM "dom0\0"), OK("block\nmic\nspeaker\nusb\nwebcam\n")},
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
				       "list again (qvm-mic list)")},
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
	{BYTES(ATTACH STICK_ARG FROM "work\0persistent"),
	 REFUSED("QubesValueError", "the payload is not a list of key='value'")},
	{BYTES(ATTACH STICK_ARG FROM "work\0_persistent='yes'"),
	 REFUSED("QubesValueError", "there is no option persistent here, only max-time: leave it out")},
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
	 REFUSED("QubesException", "no device agent that takes such devices runs in vault: install and start "
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
	/* what a qube requires */
	{BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='required'"), OK("")},
	{BYTES(DETACH STICK_ARG FROM "work\0"),
	 REFUSED("QubesVMNotHaltedError", "work requires sys-usb:1-2: shut work down, or end the assignment first "
					  "(qvm-usb unassign work sys-usb:1-2)")},
	{BYTES(UNASSIGN STICK_ARG FROM "work\0"), OK("")},
	{BYTES(DETACH STICK_ARG FROM "work\0"), OK("")},
};

#define STORED                                                                                                        \
	ANY_LINE("*", STICK_ID, "required")                                                                           \
	"\n" ANY_LINE("1-2", STICK_ID, "ask-to-attach") " _max-time='90m'\n" ANY_LINE(                                \
		"2-1", ODD_ID,                                                                                        \
		"ask-to-attach") "\n" ANY_LINE("9-9", "*",                                                            \
					       "auto-attach") " _follow-port='yes'\n" ANY_LINE("9-9",                 \
											       "aaaa:bbbb:C:u080650", \
											       "auto-attach") "\n"
static const struct row assigning[] = {
	/* bad ones first: nothing is stored */
	{BYTES(ASSIGN FROM "work\0mode='auto-attach'"), REFUSED("QubesValueError", "this call needs an argument")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0"), REFUSED("QubesValueError", "this call needs a payload")},
	{BYTES(ASSIGN "sys-usb" FROM "work\0mode='auto-attach'"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(ASSIGN "sys usb+1-2+_" FROM "work\0mode='auto-attach'"), NO_REPLY}, /* a space ends a field */
	{BYTES(ASSIGN "9usb+1-2+_" FROM "work\0mode='auto-attach'"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(ASSIGN "sys-usb+../x+_" FROM "work\0mode='auto-attach'"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='manual'"), REFUSED("QubesValueError", BAD_MODE)},
	{BYTES(ASSIGN STICK_ARG FROM "work\0device_id='*'"), REFUSED("QubesValueError", BAD_MODE)},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach-and-more-than-fits'"),
	 REFUSED("QubesValueError", BAD_MODE)},
	{BYTES(ASSIGN STICK_ARG FROM "dom0\0mode='auto-attach'"),
	 REFUSED("QubesValueError", "no device can be assigned to dom0: choose another qube")},
	{BYTES(ASSIGN STICK_ARG FROM "sys-usb\0mode='auto-attach'"),
	 REFUSED("QubesValueError", "a qube has its own devices already: choose another qube")},
	{BYTES(ASSIGN STICK_ARG FROM "no name\0mode='auto-attach'"), NOT_THERE("no name")},
	{BYTES("admin.vm.device.mic.Assign+dom0+mike+_" FROM "work\0mode='auto-attach'"),
	 REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES("admin.vm.device.block.Assign+dom0+_+_" FROM "work\0mode='auto-attach'"),
	 REFUSED("QubesValueError", "there are no devices of this class yet")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach' frontend_domain='vault'"),
	 REFUSED("QubesValueError", "the request contradicts itself: frontend_domain is work, not vault")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach' port_id='9-9'"),
	 REFUSED("QubesValueError", "the request contradicts itself: port_id is 1-2, not 9-9")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach' _read-only='yes'"),
	 REFUSED("QubesValueError", "there is no option read-only here, only max-time and "
				    "follow-port: leave it out")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach' _follow-port='maybe'"),
	 REFUSED("QubesValueError", "option follow-port must be yes or no, not maybe")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach' _max-time='169h'"),
	 REFUSED("QubesValueError", "option max-time must be a number and s, m or h, as in "
				    "90s, 30m, 2h; from 1s to 168h, not 169h")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach' _max-time='0s'"),
	 REFUSED("QubesValueError", "option max-time must be a number and s, m or h, as in "
				    "90s, 30m, 2h; from 1s to 168h, not 0s")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach"),
	 REFUSED("QubesValueError", "the payload is not a list of key='value'")},
	{BYTES(ASSIGN "sys-usb+9-9+aaaa+bbbb+C+u080650" FROM "work\0mode='auto-attach'"),
	 REFUSED("UnrecognizedDevice", "no device with the id that the argument says is there: plug it in, or say "
				       "device_id in the payload")},
	{BYTES(ASSIGN "sys-usb+9-9+aaaa+bbbb+C+u080650" FROM
		      "work\0mode='auto-attach' device_id='aaaa:bbbb:D:u080650'"),
	 REFUSED("QubesValueError", "the request contradicts itself: device_id "
				    "aaaa:bbbb:D:u080650 is not what its "
				    "argument says")},
	/* what the payload says of a device that is there, or of any device */
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach' device_id='0781:5581:XXXX:u080650'"),
	 REFUSED("QubesValueError", "the request contradicts itself: device_id "
				    "0781:5581:XXXX:u080650 is not what its "
				    "argument says")},
	{BYTES(ASSIGN "sys-usb+1-2+_" FROM "work\0mode='auto-attach' device_id='" STICK_ID "'"),
	 REFUSED("QubesValueError",
		 "the request contradicts itself: device_id " STICK_ID " is not what its argument says")},
	{BYTES(ASSIGNED FROM "work\0"), OK("")},
	/* good ones */
	{BYTES(ASSIGN STICK_ARG FROM "work\0" STICK " mode='ask-to-attach' frontend_domain='work' _max-time='90m'"),
	 OK("")},
	{BYTES(ASSIGN STICK_ARG FROM "work\0mode='auto-attach'"),
	 REFUSED("DeviceAlreadyAssigned", "this device is already assigned to work: unassign "
					  "it first, or change its mode")},
	{BYTES(ASSIGN "sys-usb+_+0781+5581+AB12+u080650" FROM "work\0mode='required' port_id='*'"), OK("")},
	{BYTES(ASSIGN "sys-usb+9-9+_" FROM "work\0mode='auto-attach' device_id='*' _follow-port='yes'"), OK("")},
	{BYTES(ASSIGN "sys-usb+9-9+aaaa+bbbb+C+u080650" FROM
		      "work\0mode='auto-attach' device_id='aaaa:bbbb:C:u080650'"),
	 OK("")},
	/* an id that the API shows otherwise than it is */
	{BYTES(ASSIGN "sys-usb+2-1+1234+5678+a_b___c__+_______" FROM "work\0mode='ask-to-attach'"), OK("")},
	{BYTES(ASSIGNED FROM "work\0"), OK(STORED)},
	{BYTES(ASSIGNED "sys-usb+1-2" FROM "work\0"),
	 OK(ANY_LINE("1-2", STICK_ID, "ask-to-attach") " _max-time='90m'\n")},
	{BYTES(ASSIGNED "sys-usb2+1-2" FROM "work\0"), OK("")},
	{BYTES(ASSIGNED FROM "Personal\0"), OK("")},
	{BYTES("admin.vm.device.mic.Assigned+" FROM "work\0"), OK("")},
	{BYTES(ASSIGNED "sys-usb" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	/* another mode */
	{BYTES(SET STICK_ARG FROM "work\0required"), OK("")},
	{BYTES(SET STICK_ARG FROM "work\0manual"), REFUSED("QubesValueError", BAD_MODE)},
	{BYTES(SET STICK_ARG FROM "work\0True"), REFUSED("QubesValueError", BAD_MODE)},
	{BYTES(SET "sys-usb+1-2+_" FROM "work\0required"),
	 REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not assigned to work in this way")},
	{BYTES(ASSIGNED "sys-usb+1-2" FROM "work\0"), OK(ANY_LINE("1-2", STICK_ID, "required") " _max-time='90m'\n")},
	/* and away */
	{BYTES(UNASSIGN STICK_ARG FROM "Personal\0"),
	 REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not assigned to Personal in this way")},
	{BYTES(UNASSIGN STICK_ARG FROM "work\0x"), REFUSED("QubesValueError", "this call takes no payload")},
	{BYTES(UNASSIGN "sys-usb" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(UNASSIGN "sys-usb+_+_" FROM "work\0"),
	 REFUSED("DeviceNotAssigned", "sys-usb:_ is not assigned to work in this way")},
	{BYTES(UNASSIGN STICK_ARG FROM "work\0"), OK("")},
	{BYTES(UNASSIGN STICK_ARG FROM "work\0"),
	 REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not assigned to work in this way")},
	{BYTES(UNASSIGN "sys-usb+_+0781+5581+AB12+u080650" FROM "work\0"), OK("")},
	{BYTES(UNASSIGN "sys-usb+2-1+1234+5678+a_b___c__+_______" FROM "work\0"), OK("")},
	{BYTES(UNASSIGN "sys-usb+9-9+_" FROM "work\0"), OK("")},
	{BYTES(UNASSIGN "sys-usb+9-9+aaaa+bbbb+C+u080650" FROM "work\0"), OK("")},
	{BYTES(ASSIGNED FROM "work\0"), OK("")},
};

/* Qubes that do not run: known only by what is stored about them. */
static const struct row halted[] = {
	{BYTES(ASSIGNED FROM "later\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "later\0"), OK("")}, /* Qubes' client asks after an unassign */
	{BYTES("admin.vm.List+" FROM "later\0"), NOT_THERE("later")},
	{BYTES(ASSIGN "sys-usb+9-9+_" FROM "later\0mode='auto-attach'"), OK("")},
	{BYTES("admin.vm.List+" FROM "later\0"),
	 OK("later class=AppVM state=Halted uuid=69bb3438-ec1c-879e-9d3e-d5fcdd30bc77\n")},
	{BYTES("admin.vm.List+" FROM "uuid:69bb3438-ec1c-879e-9d3e-d5fcdd30bc77\0"),
	 OK("later class=AppVM state=Halted uuid=69bb3438-ec1c-879e-9d3e-d5fcdd30bc77\n")},
	{BYTES("admin.vm.CurrentState+" FROM "later\0"), OK("mem=0 mem_static_max=0 cputime=0 power_state=Halted")},
	{BYTES("admin.vm.property.Get+xid" FROM "later\0"), OK("default=True type=int -1")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "later\0"), OK("")},
	{BYTES("admin.vm.device.usb.Available+" FROM "later\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "later\0"),
	 REFUSED("QubesVMNotRunningError", "later is not running: start it, then attach the device again, or assign "
					   "it (qvm-usb assign)")},
	{BYTES(DETACH STICK_ARG FROM "later\0"), REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to later")},
	{BYTES(UNASSIGN "sys-usb+9-9+_" FROM "later\0"), OK("")},
	{BYTES("admin.vm.List+" FROM "later\0"), NOT_THERE("later")},
};

static const struct row denying[] = {
	{BYTES(DENIED "List+" FROM "work\0"), OK("")},
	{BYTES(DENIED "List+x" FROM "work\0"), REFUSED("QubesValueError", "this call takes no argument")},
	{BYTES(DENIED "Add+" FROM "work\0"), REFUSED("QubesValueError", "this call needs a payload")},
	{BYTES(DENIED "Add+" FROM "work\0u03**0"), REFUSED("QubesValueError", BAD_PATTERN)},
	{BYTES(DENIED "Add+" FROM "work\0u03**01u"), REFUSED("QubesValueError", BAD_PATTERN)},
	{BYTES(DENIED "Add+" FROM "work\0u03**01\n"), REFUSED("QubesValueError", BAD_PATTERN)},
	{BYTES(DENIED "Add+" FROM "work\0U03**01"), REFUSED("QubesValueError", BAD_PATTERN)},
	{BYTES(DENIED "Add+" FROM "work\0u0\0**01"), REFUSED("QubesValueError", BAD_PATTERN)},
	{BYTES(DENIED "Add+" FROM "dom0\0u03**01"),
	 REFUSED("QubesValueError", "no device can be attached to dom0 anyway")},
	{BYTES(DENIED "Add+" FROM "work\0u03**01u08****"), OK("")},
	{BYTES(DENIED "Add+" FROM "work\0u08****"), OK("")}, /* it is there already */
	{BYTES(DENIED "List+" FROM "work\0"), OK("u03**01\nu08****")},
	{BYTES("admin.vm.property.Get+devices_denied" FROM "work\0"), OK("default=False type=str u03**01u08****")},
	{BYTES("admin.vm.property.Get+devices_denied" FROM "Personal\0"), OK("default=True type=str ")},
	{BYTES("admin.vm.property.Get+devices_denied" FROM "dom0\0"),
	 REFUSED("QubesNoSuchPropertyError", "dom0 has no property 'devices_denied' here")},
	{BYTES("admin.vm.property.Get+netvm" FROM "work\0"),
	 REFUSED("QubesNoSuchPropertyError", "work has no property 'netvm' here")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"),
	 REFUSED("QubesException",
		 "denied by deny list of work: u08****; why: qvm-device policy explain work sys-usb:1-2")},
	{BYTES(DENIED "Remove+" FROM "work\0m******"),
	 REFUSED("QubesValueError", "m****** is not in the deny list of work")},
	{BYTES(DENIED "Remove+" FROM "work\0u03**01"), OK("")},
	{BYTES(DENIED "List+" FROM "work\0"), OK("u08****")},
	{BYTES(DENIED "Remove+" FROM "work\0all"), OK("")},
	{BYTES(DENIED "List+" FROM "work\0"), OK("")},
	{BYTES(DENIED "Add+" FROM "later\0u03**01"), OK("")}, /* it need not run */
	{BYTES("admin.vm.List+" FROM "later\0"),
	 OK("later class=AppVM state=Halted uuid=69bb3438-ec1c-879e-9d3e-d5fcdd30bc77\n")},
};

static const struct row moving[] = {
	{BYTES(MOVE STICK_ARG FROM "Personal\0"), REFUSED("QubesValueError", "this call needs a payload")},
	{BYTES(MOVE STICK_ARG FROM "Personal\0mode='manual'"),
	 REFUSED("QubesVMNotFoundError", "a move needs the qube that has the device now: from='' does not run")},
	{BYTES(MOVE STICK_ARG FROM "Personal\0from='gone'"),
	 REFUSED("QubesVMNotFoundError", "a move needs the qube that has the device now: from='gone' does not run")},
	{BYTES(MOVE STICK_ARG FROM "dom0\0from='work'"),
	 REFUSED("QubesValueError", "no device can be attached to dom0: choose another qube")},
	{BYTES(MOVE STICK_ARG FROM "Personal\0from='work'"),
	 REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to work")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")},
	{BYTES(MOVE STICK_ARG FROM "Personal\0from='work' _max-time='1h'"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "work\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "Personal\0"),
	 OK("sys-usb+1-2:0781:5581:AB12:u080650 " STICK " mode='manual' frontend_domain='Personal' _max-time='1h'\n")},
	{BYTES("device.Suspend+" FROM "work\0"),
	 REFUSED("QubesValueError", "the destination of this call must be dom0")},
	{BYTES("device.Suspend+" FROM "dom0\0"), OK("")},
	{BYTES(ATTACH STICK_ARG FROM "work\0"),
	 REFUSED("QubesException", "the machine is going to sleep: try again when it is awake (or qvm-device resume)")},
	{BYTES("device.Resume+" FROM "dom0\0"), OK("")},
	{BYTES("admin.vm.device.usb.Attached+" FROM "Personal\0"),
	 OK("sys-usb+1-2:0781:5581:AB12:u080650 " STICK " mode='manual' frontend_domain='Personal' _max-time='1h'\n")},
};

/* What clients of Qubes 4.2 send: no device id, no quotes, and "persistent" for what is to last. */
#define OLD_LIST "admin.vm.device.usb.List+"
static const struct row older[] = {
	{BYTES(OLD_LIST FROM "work\0"), OK("")},
	{BYTES(OLD_LIST FROM "dom0\0"), OK("")},
	{BYTES("admin.vm.device.mic.List+" FROM "work\0"), OK("")},
	{BYTES(OLD_LIST FROM "no name\0"), NOT_THERE("no name")},
	{BYTES(OLD_LIST "sys-usb" FROM "work\0"), REFUSED("QubesValueError", NOT_A_DEVICE)},
	{BYTES(OLD_LIST FROM "work\0x"), REFUSED("QubesValueError", "this call takes no payload")},
	{BYTES(ATTACH "sys-usb+1-2" FROM "work\0persistent=perhaps"),
	 REFUSED("QubesValueError", "option persistent must be True or False, not perhaps")},
	{BYTES(ATTACH "sys-usb+1-2" FROM "work\0read-only=yes"),
	 REFUSED("QubesValueError", "there is no option read-only here, only max-time: leave it out")},
	{BYTES(ATTACH "sys-usb+1-2" FROM "work\0max-time=<b>"),
	 REFUSED("QubesValueError", "the payload is not a list of key='value'")},
	{BYTES(ATTACH "sys-usb+1-2" FROM "work\0max-time=1h mode='manual'"),
	 REFUSED("QubesValueError", "the payload is not a list of key='value'")},
	{BYTES(ATTACH "sys-usb+1-2" FROM "work\0max-time=1h\0mode"),
	 REFUSED("QubesValueError", "the payload is not a list of key='value'")},
	{BYTES(ATTACH "sys-usb+1-2" FROM "work\0max-time=2h persistent=False"), OK("")},
	{BYTES(OLD_LIST FROM "work\0"), OK("sys-usb+1-2 max-time=2h persistent=no\n")},
	{BYTES(DETACH "sys-usb+1-2" FROM "work\0"), OK("")},
	{BYTES(ATTACH "sys-usb+9-9" FROM "work\0persistent=True max-time=30m"), OK("")},
	{BYTES(ATTACH "sys-usb+9-9" FROM "work\0persistent=yes"),
	 REFUSED("DeviceAlreadyAssigned",
		 "this device is already assigned to work: unassign it first, or change its mode")},
	{BYTES(ATTACH "sys-usb+1-2" FROM "work\0persistent=True"), OK("")},
	{BYTES(ATTACH "sys-usb2+1-2" FROM "work\0"), OK("")},
	{BYTES(OLD_LIST FROM "work\0"),
	 OK("sys-usb+1-2 persistent=yes\nsys-usb2+1-2 persistent=no\nsys-usb+9-9 max-time=30m persistent=yes\n")},
	{BYTES(OLD_LIST "sys-usb+1-2" FROM "work\0"), OK("sys-usb+1-2 persistent=yes\n")},
	{BYTES(OLD_LIST "sys-usb+9-9" FROM "work\0"), OK("sys-usb+9-9 max-time=30m persistent=yes\n")},
	{BYTES(OLD_LIST "sys-usb+8-8" FROM "work\0"), OK("")},
	{BYTES(ASSIGNED "sys-usb+9-9" FROM "work\0"), OK(ANY_LINE("9-9", "*", "auto-attach") " _max-time='30m'\n")},
};

/* From another qube, through qrexec: what its name and destination say, and no more. */
static const struct row from_gui[] = {
	{BYTES("admin.vm.List+" FROM_GUI "work\0"), OK("work class=AppVM state=Running uuid=" UUID("2") "\n")},
	{BYTES("admin.vm.device.usb.Available+1-2" FROM_GUI "sys-usb\0"), OK(STICK_LINE " interfaces='u080650'\n")},
	{BYTES(ATTACH STICK_ARG FROM_GUI "work\0"), OK("")},
	{BYTES(MOVE STICK_ARG FROM_GUI "Personal\0from='work'"),
	 REFUSED("QubesDaemonAccessError",
		 "only dom0 may call device.Move, which does more than its destination says: do it in steps")},
	{BYTES("device.Mute+" STICK_ARG FROM_GUI "work\0"),
	 REFUSED("QubesValueError", "sys-usb:1-2 cannot be muted: detach it (qvm-usb detach work sys-usb:1-2)")},
	{BYTES("device.Unmute+" STICK_ARG FROM_GUI "Personal\0"),
	 REFUSED("DeviceNotAssigned", "sys-usb:1-2 is not attached to Personal")},
	{BYTES(DETACH STICK_ARG FROM_GUI "work\0"), OK("")},
	{BYTES(ATTACH "sys-usb+1-2" FROM_GUI "work\0persistent=True"), REFUSED("QubesDaemonAccessError", FOR_GOOD)},
	{BYTES(ATTACH "sys-usb+1-2" FROM_GUI "work\0max-time=1h persistent=yes"),
	 REFUSED("QubesDaemonAccessError", FOR_GOOD)},
	{BYTES(ATTACH STICK_ARG FROM_GUI "work\0mode='auto-attach'"),
	 REFUSED("QubesValueError", "attach is for now only: its mode must be manual")},
	{BYTES(ASSIGNED FROM_GUI "work\0"), OK("")},
	{BYTES(ATTACH "sys-usb+1-2" FROM_GUI "work\0persistent=False"), OK("")},
	{BYTES(DETACH "sys-usb+1-2" FROM_GUI "work\0"), OK("")},
	{BYTES(ASSIGN "sys-usb+9-9+_" FROM_GUI "work\0mode='auto-attach'"), OK("")},
	{BYTES(UNASSIGN "sys-usb+9-9+_" FROM_GUI "work\0"), OK("")},
	{BYTES(DENIED "Add+" FROM_GUI "work\0u03**01"), OK("")},
	{BYTES(DENIED "Remove+" FROM_GUI "work\0all"), OK("")},
	{BYTES("device.audit.Read+6" FROM_GUI "dom0\0"), OK("{\"seq\":7}\n")},
	{BYTES("device.audit.Read+6" FROM_GUI "work\0"),
	 REFUSED("QubesValueError", "the destination of this call must be dom0")},
	{BYTES("device.audit.Verify+" FROM_GUI "work\0"),
	 REFUSED("QubesValueError", "the destination of this call must be dom0")},
	{BYTES("device.label.Set+" STICK_ARG FROM_GUI "work\0mine"),
	 REFUSED("QubesValueError", "the destination of this call must be the device's backend")},
	{BYTES("device.ask.Answer+7" FROM_GUI "dom0\0deny"),
	 REFUSED("QubesException", "this question is not open any more")},
	{BYTES("device.ask.Answer+7" FROM_GUI "work\0deny"),
	 REFUSED("QubesValueError", "the destination of this call must be dom0")},
	{BYTES("admin.deviceclass.List+ sys-gui keyword adminvm\0"), OK("block\nmic\nspeaker\nusb\nwebcam\n")},
	{BYTES("device.Shutdown+" FROM_GUI "dom0\0"),
	 REFUSED("QubesDaemonAccessError", "the device broker has no call 'device.Shutdown'")},
};

static const struct {
	const struct row *rows;
	size_t n;
} tables[] = {
	{reading, ARRAY_SIZE(reading)},     {twins, ARRAY_SIZE(twins)},   {changing, ARRAY_SIZE(changing)},
	{assigning, ARRAY_SIZE(assigning)}, {halted, ARRAY_SIZE(halted)}, {denying, ARRAY_SIZE(denying)},
	{moving, ARRAY_SIZE(moving)},       {older, ARRAY_SIZE(older)},   {from_gui, ARRAY_SIZE(from_gui)},
};

#define RUN(table)                                          \
	static void test_##table(void **state)              \
	{                                                   \
		run_rows(*state, table, ARRAY_SIZE(table)); \
	}
RUN(reading)
RUN(changing)
RUN(assigning)
RUN(halted)
RUN(denying)
RUN(moving)
RUN(older)

/* The core, and so the audit log, hears for whom it is. */
static void test_from_gui(void **state)
{
	static const struct row one = {BYTES(ATTACH STICK_ARG FROM "work\0"), OK("")};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(from_gui); i++) {
		f->caller = (struct core_user){.uid = 1234, .qube = "sys-gui"};
		run_rows(f, &from_gui[i], 1);
		assert_int_equal(f->caller.uid, 1234);
		assert_string_equal(f->caller.qube, "sys-gui");
	}
	run_rows(f, &one, 1);
	assert_string_equal(f->caller.qube, "");
}

/* Each call with no argument and no payload, which is the same from a qube and from dom0, or dom0's alone. */
static void check_callers(struct fixture *f, const char *prefix, const struct admin_call *calls)
{
	for (const struct admin_call *call_ = calls; call_->name; call_++) {
		char request[128], reply[2][512];
		size_t len[2];
		static const char dom0_only[] = "2\0QubesDaemonAccessError\0\0only dom0 may call ";
		bool closed;

		for (int gui = 0; gui < 2; gui++) {
			int fd = open_client(f), n = snprintf(request, sizeof(request), "%s%s+%sdom0", prefix,
							      call_->name, gui ? FROM_GUI : FROM);

			assert_int_equal(send(fd, request, (size_t)n + 1, 0), n + 1);
			(void)shutdown(fd, SHUT_WR);
			len[gui] = receive(f, fd, reply[gui], sizeof(reply[gui]), &closed);
			(void)close(fd);
		}
		if (call_->from != ADMIN_FROM_DOM0)
			assert_true(is_same(reply[1], len[1], reply[0], len[0]));
		else
			assert_memory_equal(reply[1], dom0_only, sizeof(dom0_only) - 1);
	}
}

static void test_callers(void **state)
{
	check_callers(*state, "", admin_calls);
	check_callers(*state, "", admin_assign_calls);
	check_callers(*state, "", admin_own_calls);
	check_callers(*state, "admin.vm.device.usb.", admin_device_calls);
	check_callers(*state, "admin.vm.device.usb.", admin_assign_device_calls);
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

/* ---- what the tables hold ----------------------------------------------------------------------------------------- */

/* Is this row a call of that name, answered so? `prefix`: before the class and the name. */
static bool is_row_of(const struct row *row, const char *prefix, const char *name, char kind)
{
	const char *at = row->request;
	size_t len = strlen(prefix);

	if (!row->reply || row->reply[0] != kind || strncmp(at, prefix, len) != 0)
		return false;
	at += len;
	if (len) { /* the class */
		at += strcspn(at, ".");
		at += *at == '.';
	}
	len = strlen(name);
	return strncmp(at, name, len) == 0 && (at[len] == '+' || at[len] == ' ');
}

static size_t count_rows(const char *prefix, const char *name, char kind)
{
	size_t n = 0;

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (size_t i = 0; i < tables[t].n; i++)
			n += is_row_of(&tables[t].rows[i], prefix, name, kind);
	return n;
}

/* A call that is added to the server must be added here, done and refused. */
static void test_each_call_good_and_bad(void **unused _unused_)
{
	static const char *const never_done[] = {"admin.Events", /* its stream is in test-admin.c */
						 "device.Mute",  /* of no USB device: test-admin-parts.c */
						 "device.Unmute",
						 "admin.vm.feature.Get",
						 "admin.vm.feature.CheckWithTemplate",
						 "admin.vm.feature.CheckWithNetvm",
						 "admin.vm.feature.CheckWithAdminVM",
						 "admin.vm.feature.CheckWithTemplateAndAdminVM"};
	static const struct {
		const char *prefix;
		const struct admin_call *calls;
	} served[] = {{"", admin_calls},
		      {"", admin_assign_calls},
		      {"admin.vm.device.", admin_device_calls},
		      {"admin.vm.device.", admin_assign_device_calls}};

	for (size_t s = 0; s < ARRAY_SIZE(served); s++) {
		for (const struct admin_call *call = served[s].calls; call->name; call++) {
			bool done = count_rows(served[s].prefix, call->name, '0') > 0;

			for (size_t i = 0; i < ARRAY_SIZE(never_done); i++)
				done = done || strcmp(call->name, never_done[i]) == 0;
			if (!done || !count_rows(served[s].prefix, call->name, '2'))
				fail_msg("%s%s is not in the tables both good and bad", served[s].prefix, call->name);
		}
	}
}

static void test_each_exception(void **unused _unused_)
{
	static const char *const types[] = {
		"QubesException",
		"QubesValueError",
		"QubesVMNotFoundError",
		"QubesVMNotRunningError",
		"QubesDaemonAccessError",
		"QubesNoSuchPropertyError",
		"QubesFeatureNotFoundError",
		"UnrecognizedDevice",
		"DeviceNotAssigned",
		"DeviceAlreadyAttached",
		"DeviceAlreadyAssigned",
		"QubesVMNotHaltedError",
	};

	for (size_t type = 0; type < ARRAY_SIZE(types); type++) {
		size_t n = 0;

		for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
			for (size_t i = 0; i < tables[t].n; i++)
				n += tables[t].rows[i].reply && tables[t].rows[i].reply[0] == '2' &&
				     strcmp(tables[t].rows[i].reply + 2, types[type]) == 0;
		if (!n)
			fail_msg("no row is answered with %s", types[type]);
	}
}

static void test_size(void **unused _unused_)
{
	size_t n = 0, n_closed = 0;

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		n += tables[t].n;
		for (size_t i = 0; i < tables[t].n; i++)
			n_closed += !tables[t].rows[i].reply;
	}
	printf("# %zu rows, %zu of them framing faults\n", n, n_closed);
	assert_true(n >= 120);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_reading),
		TEST(test_changing),
		TEST(test_twins),
		TEST(test_assigning),
		TEST(test_halted),
		TEST(test_denying),
		TEST(test_moving),
		TEST(test_older),
		TEST(test_from_gui),
		TEST(test_callers),
		cmocka_unit_test(test_each_call_good_and_bad),
		cmocka_unit_test(test_each_exception),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests_name("admin-calls", tests, NULL, NULL);
}
