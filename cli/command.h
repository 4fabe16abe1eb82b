/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the commands of qvm-device share: the state that main() makes, how the user names things, and one call that
 * changes something. Each command has a function here, in the file of its topic; it returns the exit code.
 */
#pragma once

#include "cli/inventory.h"
#include "cli/json-out.h"

#define CLASS_METHOD_MAX 64u
#define PAYLOAD_MAX 4096u
#define CALLED_MAX 128u
#define ARGUMENT_MAX (LIMIT_QUBE_NAME + LIMIT_PORT_TEXT + DEVICE_ID_TEXT)

/* BACKEND:PORT[:ID] as the user gave it, in pieces. */
struct place {
	char backend[LIMIT_QUBE_NAME + 1];
	char port[LIMIT_PORT_TEXT];
	char id[DEVICE_ID_TEXT];
	bool has_id;
	char shown[LIMIT_QUBE_NAME + 1 + LIMIT_PORT_TEXT];
};

struct state {
	struct options options;
	struct usb_ids ids;
	struct inventory inventory; /* the qubes are read */
};

/* Attach, detach, move (attach.c). */
int run_attach(struct state *state);
int run_detach(struct state *state);
int run_move(struct state *state);
int run_mute(struct state *state);
int run_unmute(struct state *state);
/* What is stored (assign.c, label.c, deny.c). */
int run_assign(struct state *state);
int run_unassign(struct state *state);
int run_label(struct state *state);
int run_deny(struct state *state);
int run_allow(struct state *state);
/* What there is (list.c, status.c, policy.c, audit.c, watch.c). */
int run_status(struct state *state);
int run_list(struct state *state);
int run_info(struct state *state);
int run_policy(struct state *state);
int run_audit(struct state *state);
int run_watch(struct state *state);
/* The machine's sleep (power.c). */
int run_suspend(struct state *state);
int run_resume(struct state *state);

/* How a line that works on the same class begins, for hints: "qvm-device usb". Returns `text`. */
const char *called(const struct state *state, char text[CALLED_MAX]);

/* "qvm-usb: error: ..." of something that is right in form but not there; returns EXIT_REFUSED. */
int runtime_error(const struct state *state, const char *format, ...) _printf_(2, 3);

/* These return -1 to go on, or the exit code, with an error on stderr. */
int parse_place(const struct state *state, const char *text, struct place *place);
int check_name(const struct state *state, const char *name); /* of a qube that may be one that nobody knows */
int check_qube(const struct state *state, const char *name);
/* QUBE, or QUBE and BACKEND:PORT[:ID], as the words of a command say it. */
int check_words(const struct state *state, char *const *words, size_t n_words, struct place *place);
/* Said after something was stored about a qube that does not run, for its name may be mistyped. */
void warn_absent(const struct state *state, const char *qube, const char *what_waits);
int check_backend(const struct state *state, const struct place *place);
/* Reads the backend's devices and finds the named one. */
int find_device(struct state *state, const struct place *place, const struct device **ret_device);

/*
 * The payload of an attach or an assignment: what `device` is, the mode, the target, and the user's -o. `payload` has
 * PAYLOAD_MAX bytes.
 */
int make_payload(const struct state *state, const struct device *device, const char *mode, const char *qube,
		 char *payload);
/* BACKEND+PORT+ID, encoded; NULL, "" or "*" means any. */
void make_argument(const char *backend, const char *port, const char *id, char argument[ARGUMENT_MAX]);

/* Is this qube one of those that the user named, or meant with --all; or did he name none? */
bool is_named(const struct options *options, const char *qube);
/* -1, or the exit code: a name that is no pattern is of no qube. */
int check_names(const struct state *state);

/* A call that changes something. What is NULL is not there. */
struct change {
	const char *method; /* of the class ("Attach"), or whole ("device.Move") */
	const char *dest, *payload;
	const char *backend, *port, *id; /* the device that it is about, see make_argument(): its argument */
	const char *argument;            /* one that is not about a device: this */
	const char *progress;            /* shown when it is slow; NULL: it is not */
	const char *interfaces;          /* for --json: these patterns */
};

/* Makes it; what the broker has to say about its success is shown. Returns the exit code. */
int change(const struct state *state, const struct change *change);

/* Shows each line of a reply, made safe. */
void print_lines(struct admin_span untrusted_text);
/* A call that reads, and its reply so; with --json as a document that `make_json` makes of it. Returns the exit code. */
int print_answer(const struct state *state, const char *method, const char *argument, const char *dest,
		 const char *progress, struct json_object *(*make_json)(struct admin_span untrusted_text));
