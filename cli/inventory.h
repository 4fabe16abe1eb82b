/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the broker says about qubes and devices, read once and held for a command. Every text in here was made safe to
 * show when it came in.
 */
#pragma once

#include "cli/options.h"
#include "cli/usb-ids.h"
#include "lib/admin/client.h"

#define DEVICE_TEXT (LIMIT_TEXT + 2u)
/* vendor, product, serial number and interfaces; and of Qubes' block devices which part it is */
#define DEVICE_ID_TEXT (4u + 1u + 4u + 1u + LIMIT_TEXT + 1u + 7u * LIMIT_INTERFACES + 1u + 16u)

/* "max-time=30m, follow-port=yes" */
#define OPTIONS_TEXT 256u

struct device {
	char class[16];
	char backend[LIMIT_QUBE_NAME + 1];
	char port[LIMIT_PORT_TEXT];
	char id[DEVICE_ID_TEXT];
	char manufacturer[DEVICE_TEXT], name[DEVICE_TEXT], serial[DEVICE_TEXT];
	char interfaces[7 * LIMIT_INTERFACES + 1];
	char used_by[LIMIT_QUBE_NAME + 1];                   /* "": free */
	char label[LIMIT_LABEL_TEXT + 1];                    /* its user's name for it; "" */
	char parent_class[16], parent_port[LIMIT_PORT_TEXT]; /* of the same backend: of what it is a part; "" */
	unsigned int depth;                                  /* below that, as tree_arrange() set it */
	char state[32];             /* of the attachment, if it is neither done nor free: "attaching", ... */
	char muted[4];              /* "yes": its source says that it passes nothing on; "" */
	char options[OPTIONS_TEXT]; /* said with its attachment; "": none, or not read */
};

/* "USB_Storage: SanDisk Ultra Fit", or "backups (USB_Storage: SanDisk Ultra Fit)": no device can begin as a label does. */
#define DESCRIPTION_TEXT (LIMIT_LABEL_TEXT + 3 * DEVICE_TEXT + 64u)

struct qube {
	char name[LIMIT_QUBE_NAME + 1];
	bool halted; /* known by its name only, for something is stored about it */
};

/* What is stored: this qube is to have that device. "*" for a port or an id means any. */
struct assignment {
	char class[16];
	char qube[LIMIT_QUBE_NAME + 1];
	char backend[LIMIT_QUBE_NAME + 1];
	char port[LIMIT_PORT_TEXT];
	char id[DEVICE_ID_TEXT];
	char mode[16];
	char options[OPTIONS_TEXT];
};

/* What one side of a stream says of it. */
struct stream_side {
	uint64_t at_usec; /* on the broker's clock; 0: it has said nothing */
	uint64_t in_use;
	uint64_t bytes_to_target, bytes_from_target;
};

struct stream {
	char class[16];
	char backend[LIMIT_QUBE_NAME + 1];
	char port[LIMIT_PORT_TEXT];
	char qube[LIMIT_QUBE_NAME + 1];
	uint64_t since, time_left; /* seconds; time_left 0: no limit */
	struct stream_side source, target;
};

struct inventory {
	bool whole; /* of one moment, with streams: the server could tell */
	struct qube *qubes;
	size_t n_qubes, max_qubes;
	struct device *devices;
	size_t n_devices, max_devices;
	struct assignment *assignments;
	size_t n_assignments, max_assignments;
	struct stream *streams;
	size_t n_streams, max_streams;
};

/*
 * One call to the broker within TIMEOUT_ADMIN_*; when it is slow and stderr is a terminal, `progress` (NULL: nothing)
 * is shown there. -1: *ret_call holds the reply, which is DONE; otherwise the exit code, and the error went to stderr.
 */
int inventory_call(const struct options *options, const char *method, const char *argument, const char *dest,
		   const char *payload, const char *progress, struct admin_call **ret_call,
		   struct admin_reply *ret_reply);
/* The same, but a refusal is a reply too. */
int inventory_try(const struct options *options, const char *method, const char *argument, const char *dest,
		  const char *payload, const char *progress, struct admin_call **ret_call,
		  struct admin_reply *ret_reply);

/* The next line of a reply's text, the last of which need not end; false: no more. */
bool inventory_cut_line(struct admin_span *untrusted_text, struct admin_span *ret_line);

/* The error of a call that went wrong (an admin_outcome or a negative errno), or was refused; the exit code. */
int inventory_fail(const struct options *options, int r);
int inventory_refused(const struct admin_reply *reply);

/* These add to the inventory; -1 or an exit code as above. */
int inventory_read_qubes(const struct options *options, struct inventory *inventory);
int inventory_read_devices(const struct options *options, struct usb_ids *ids, const char *backend,
			   struct inventory *inventory);
/* Adds to the devices of the inventory that are attached to this qube what was said with that. */
int inventory_read_attached(const struct options *options, const char *qube, struct inventory *inventory);
/* Of one qube. */
int inventory_read_assignments(const struct options *options, const char *qube, struct inventory *inventory);
/*
 * All qubes, and of the options' class all devices, assignments and streams, in one call where the server can do that. `ids`
 * NULL: what devices do not say of themselves stays empty.
 */
int inventory_read_all(const struct options *options, struct usb_ids *ids, struct inventory *inventory);
void inventory_describe(const struct device *device, struct usb_ids *ids, char text[DESCRIPTION_TEXT]);
void inventory_deinit(struct inventory *inventory);

bool inventory_has_qube(const struct inventory *inventory, const char *name);
bool inventory_runs(const struct inventory *inventory, const char *name);
/* The device at BACKEND:PORT; `id` NULL: whatever is there. */
const struct device *inventory_find(const struct inventory *inventory, const char *backend, const char *port,
				    const char *id);
void inventory_sort(struct inventory *inventory); /* by BACKEND:PORT */
