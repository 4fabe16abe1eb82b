/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhci_hcd, the kernel's virtual USB host controller, by its control files (Linux drivers/usb/usbip/vhci_sysfs.c).
 *
 * Ports are numbered over all controllers; in each controller the first half is its high-speed hub, the second its
 * SuperSpeed hub. One silent device blocks enumeration on both hubs of its controller and on no other, so ports are
 * chosen on idle controllers first. The kernel puts a device whose speed is of the other half on another port than
 * asked, without saying so: the right half is chosen here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/limits.h"

#define VHCI_MAX_PORTS 2048u      /* more are not looked at; Debian builds 240 */
#define VHCI_MAX_CONTROLLERS 128u /* the kernel's own limit */

/* drivers/usb/usbip/usbip_common.h:enum usbip_device_status */
enum vhci_port_state {
	VHCI_PORT_FREE = 4,
	VHCI_PORT_CONNECTING = 5, /* attached, no address yet; a device that never answers stays here */
	VHCI_PORT_USED = 6,
	VHCI_PORT_ERROR = 7, /* for ever: until the module is loaded anew */
};

struct vhci_port {
	uint16_t number;
	uint8_t controller;
	bool super; /* of the SuperSpeed hub */
	uint8_t state;
	uint32_t devid;
	char busid[LIMIT_PORT_TEXT]; /* the device's name in this kernel, "3-1"; empty unless USED */
};

struct vhci_status {
	size_t n_ports;
	struct vhci_port ports[VHCI_MAX_PORTS];
};

/* Outcomes, positive */
enum vhci_outcome {
	VHCI_ABSENT = 1, /* no vhci_hcd in this kernel */
	VHCI_NO_PORT,    /* no free port of that speed */
	VHCI_REFUSED,    /* the kernel does not take this device */
};

/*
 * Pure. Adds the ports of one controller's status file. By fields, not columns: widths differ between kernels, and a
 * controller that is not ready has another layout. Lines that are not a port are skipped; ports beyond the limit too.
 */
void vhci_parse(struct vhci_status *status, uint8_t controller, const char *text, size_t len);

/* Pure. NULL if there is no such port. */
const struct vhci_port *vhci_find(const struct vhci_status *status, uint16_t number);

/*
 * Pure. The best free port for a device of `speed` (enum wire_speed): of the controller with the fewest ports in use or
 * reserved, then the lowest number. `reserved[number]`: belongs to one of our sessions, whatever the kernel says of
 * it. NULL if there is none.
 */
const struct vhci_port *vhci_choose(const struct vhci_status *status, uint8_t speed,
				    const bool reserved[VHCI_MAX_PORTS]);

/*
 * True if the kernel has vhci_hcd now, to its end: its files are there before its second controller is, and a kernel whose
 * `status` is read then oopses (status_show_vhci() in drivers/usb/usbip/vhci_sysfs.c; seen with Debian's 6.1.192).
 */
bool vhci_present(void);

/* Reads all controllers. 0, VHCI_ABSENT or a negative errno. */
int vhci_read(struct vhci_status *ret_status);

/*
 * Gives `fd`, a stream socket, to a free port; the caller may close its copy after it. Marks the port in `reserved`. 0
 * and *ret_port, a vhci_outcome, or a negative errno.
 */
int vhci_attach(int fd, uint8_t speed, uint32_t devid, bool reserved[VHCI_MAX_PORTS], uint16_t *ret_port);

/* Asks for the port to be freed; it is free when vhci_read() says so. A free port is not an error. 0 or a negative errno. */
int vhci_detach(uint16_t port);

/* Detaches all that is attached; for the start of the only program that attaches. Returns how many there were. */
size_t vhci_detach_all(void);

/* True if the kernel still has the USB device `busid` of a port. Empty: false. */
bool vhci_device_exists(const char *busid);

/* For the start: loads the module, and detaches all: only we attach, so whatever is attached is a killed agent's. */
void vhci_prepare(void);
