/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control protocol between the broker (dom0) and a device agent (in a qube), all of it.
 *
 * A frame is 8 bytes of header and a body whose length its type fixes; at most LIMIT_FRAME bytes.
 *
 *     0  u16  type        WIRE_* below
 *     2  u16  length      of the whole frame, header included: must be exactly the type's
 *     4  u32  id          a request's number (never 0, never in use), repeated by its answer; 0 in all else
 *
 * Little endian. One encoding per value: decode then encode gives the same bytes. A text field holds
 * printable ASCII (0x20..0x7e), then zero bytes to its end, at least one. There is no optional field.
 *
 * Dialogue:  agent: HELLO, SESSION*            (a fresh agent has none)
 *            broker: WELCOME                   (versions differ: it closes instead)
 *            agent: LIST_BEGIN, devices, LIST_END, then events and answers
 *            a device is DEVICE, DEVICE_TEXT*, DEVICE_COMMIT, nothing in between
 *            broker: requests EXPORT, IMPORT, STOP, MUTE, PING, RESCAN
 *
 * The table below is the only description: structs, lengths, codec, dispatch and tests come from it.
 * M(NAME, number, direction, answer to, states in which it may come, FIELDS)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/controls.h"
#include "lib/base/limits.h"

#define WIRE_VERSION 6u
#define WIRE_HEADER 8u
#define WIRE_DIGEST 32u /* SHA-256 */
#define WIRE_INTERFACES (3u * LIMIT_INTERFACES)
#define WIRE_TEXT (LIMIT_TEXT + 2u)
#define WIRE_LABEL 32u /* bytes with its NUL: all that v4l2loopback keeps of a name */

/* clang-format off */
/* Fields: U8(name) U16 U32 U64, BYTES(name, n), TEXT(name, n with its NUL), ENUM8(name, first, last) */
#define WIRE_FIELDS_HELLO(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U16(version)                                             \
	U16(roles) /* enum wire_roles, bits */                   \
	U64(incarnation) /* random, new at each start of the agent */
#define WIRE_FIELDS_SESSION(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U64(session)                                               \
	ENUM8(side, WIRE_SIDE_EXPORT, WIRE_SIDE_IMPORT)            \
	U16(peer) /* domain id at the other end */                 \
	BYTES(digest, WIRE_DIGEST)                                 \
	ENUM8(muted, 0, 1) /* of an export */
#define WIRE_FIELDS_LIST_BEGIN(U8, U16, U32, U64, BYTES, TEXT, ENUM8) U32(serial)
#define WIRE_FIELDS_DEVICE(U8, U16, U32, U64, BYTES, TEXT, ENUM8)            \
	U16(slot)       /* 0..LIMIT_DEVICES-1, the agent's own number */     \
	U32(generation) /* new at each plug: {slot, generation} never re-used */ \
	ENUM8(class, WIRE_CLASS_FIRST, WIRE_CLASS_LAST)                      \
	ENUM8(speed, WIRE_SPEED_NONE, WIRE_SPEED_SUPER_PLUS) /* NONE unless it is USB */ \
	U16(vendor)                                                          \
	U16(product)                                                         \
	U8(n_interfaces)                                                     \
	BYTES(interfaces, WIRE_INTERFACES) /* class, subclass, protocol each; zero after n_interfaces */ \
	BYTES(digest, WIRE_DIGEST)         /* of the snapshot: lib/usbip/snapshot.h; of others the hello: proxies/audio/stream.h, camera/stream.h */ \
	TEXT(port, LIMIT_PORT_TEXT)        /* wire_is_port() */
#define WIRE_FIELDS_DEVICE_TEXT(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U16(slot)                                                      \
	U32(generation)                                                \
	ENUM8(which, WIRE_TEXT_SERIAL, WIRE_TEXT_PARENT)               \
	TEXT(text, WIRE_TEXT)
#define WIRE_FIELDS_DEVICE_COMMIT(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U16(slot)                                                        \
	U32(generation)
#define WIRE_FIELDS_DEVICE_GONE(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U16(slot)                                                      \
	U32(generation)
#define WIRE_FIELDS_LIST_END(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U32(serial)                                                 \
	U16(n_left_out) /* devices beyond LIMIT_DEVICES or not readable */
#define WIRE_FIELDS_EXPORTED(U8, U16, U32, U64, BYTES, TEXT, ENUM8) U64(session)
#define WIRE_FIELDS_IMPORTED(U8, U16, U32, U64, BYTES, TEXT, ENUM8) U64(session)
#define WIRE_FIELDS_STOPPED(U8, U16, U32, U64, BYTES, TEXT, ENUM8) U64(session)
#define WIRE_FIELDS_FAILED(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U64(session)                                              \
	ENUM8(outcome, OUTCOME_FIRST_FAILURE, OUTCOME_LAST)
#define WIRE_FIELDS_ENDED(U8, U16, U32, U64, BYTES, TEXT, ENUM8)   \
	U64(session)                                               \
	ENUM8(side, WIRE_SIDE_EXPORT, WIRE_SIDE_IMPORT)            \
	ENUM8(outcome, OUTCOME_OK, OUTCOME_LAST)                   \
	U64(bytes_to_target)                                       \
	U64(bytes_from_target)
#define WIRE_FIELDS_STREAM(U8, U16, U32, U64, BYTES, TEXT, ENUM8)  \
	U64(session)                                               \
	ENUM8(side, WIRE_SIDE_EXPORT, WIRE_SIDE_IMPORT)            \
	ENUM8(in_use, 0, 1)  /* something in the target waits for the device */ \
	U64(bytes_to_target) /* so far, as is the next: never less than before */ \
	U64(bytes_from_target)
#define WIRE_FIELDS_MUTED(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U64(session)                                             \
	ENUM8(muted, 0, 1)
#define WIRE_FIELDS_PONG(U8, U16, U32, U64, BYTES, TEXT, ENUM8) U64(nonce)

#define WIRE_FIELDS_WELCOME(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U16(version)                                               \
	U64(incarnation) /* random, new at each start of the broker */ \
	U16(domid)       /* the agent's own, as the hypervisor gives it */
#define WIRE_FIELDS_RESCAN(U8, U16, U32, U64, BYTES, TEXT, ENUM8) U32(serial)
#define WIRE_FIELDS_EXPORT(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U64(session) /* also names the data channel: "qdb/<hex>" */ \
	U16(slot)                                                 \
	U32(generation)                                           \
	BYTES(digest, WIRE_DIGEST)                                \
	U16(target)        /* domain id */                        \
	ENUM8(muted, 0, 1) /* it begins so */                     \
	BYTES(controls, CONTROL_COUNT) /* what is asked of a WEBCAM: lib/base/controls.h; of others zero, which the agent sees to */
#define WIRE_FIELDS_IMPORT(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U64(session)                                              \
	U16(source) /* domain id */                               \
	BYTES(digest, WIRE_DIGEST) /* of the snapshot and what the user saw of it: digest_approved(), lib/digest/digest.h */ \
	ENUM8(class, WIRE_CLASS_FIRST, WIRE_CLASS_LAST)                 \
	U16(width)  /* of a WEBCAM what its user asked for, pixels; 0: whatever is best */ \
	U16(height) /* the same */                                \
	U16(fps)    /* the same, pictures a second */             \
	TEXT(label, WIRE_LABEL) /* of a WEBCAM, never empty: what it is called in the target */
#define WIRE_FIELDS_STOP(U8, U16, U32, U64, BYTES, TEXT, ENUM8) U64(session)
#define WIRE_FIELDS_MUTE(U8, U16, U32, U64, BYTES, TEXT, ENUM8) \
	U64(session) /* of an export, whose class can be muted */ \
	ENUM8(muted, 0, 1)
#define WIRE_FIELDS_PING(U8, U16, U32, U64, BYTES, TEXT, ENUM8) U64(nonce)

/* state bits of the connection, as its receiver sees it: NEW before HELLO/WELCOME, READY after, LIST and DEVICE inside those brackets */
#define WIRE_MESSAGES(M)                                                                        \
	M(HELLO, 1, TO_BROKER, WIRE_EVENT, WIRE_IN_NEW)                                         \
	M(SESSION, 2, TO_BROKER, WIRE_EVENT, WIRE_IN_GREETED)                                   \
	M(LIST_BEGIN, 3, TO_BROKER, WIRE_EVENT, WIRE_IN_GREETED | WIRE_IN_READY)                \
	M(DEVICE, 4, TO_BROKER, WIRE_EVENT, WIRE_IN_READY | WIRE_IN_LIST)                       \
	M(DEVICE_TEXT, 5, TO_BROKER, WIRE_EVENT, WIRE_IN_DEVICE | WIRE_IN_LISTED_DEVICE)        \
	M(DEVICE_COMMIT, 6, TO_BROKER, WIRE_EVENT, WIRE_IN_DEVICE | WIRE_IN_LISTED_DEVICE)      \
	M(DEVICE_GONE, 7, TO_BROKER, WIRE_EVENT, WIRE_IN_READY)                                 \
	M(LIST_END, 8, TO_BROKER, WIRE_EVENT, WIRE_IN_LIST)                                     \
	M(EXPORTED, 9, TO_BROKER, WIRE_ANSWER, WIRE_IN_READY | WIRE_IN_LIST)                    \
	M(IMPORTED, 10, TO_BROKER, WIRE_ANSWER, WIRE_IN_READY | WIRE_IN_LIST)                   \
	M(STOPPED, 11, TO_BROKER, WIRE_ANSWER, WIRE_IN_READY | WIRE_IN_LIST)                    \
	M(FAILED, 12, TO_BROKER, WIRE_ANSWER, WIRE_IN_READY | WIRE_IN_LIST)                     \
	M(ENDED, 13, TO_BROKER, WIRE_EVENT, WIRE_IN_READY | WIRE_IN_LIST)                       \
	M(PONG, 14, TO_BROKER, WIRE_ANSWER, WIRE_IN_READY | WIRE_IN_LIST)                       \
	M(STREAM, 15, TO_BROKER, WIRE_EVENT, WIRE_IN_READY | WIRE_IN_LIST)                      \
	M(MUTED, 16, TO_BROKER, WIRE_ANSWER, WIRE_IN_READY | WIRE_IN_LIST)                      \
	M(WELCOME, 64, TO_AGENT, WIRE_EVENT, WIRE_IN_NEW)                                       \
	M(RESCAN, 65, TO_AGENT, WIRE_EVENT, WIRE_IN_READY)                                      \
	M(EXPORT, 66, TO_AGENT, WIRE_REQUEST, WIRE_IN_READY)                                    \
	M(IMPORT, 67, TO_AGENT, WIRE_REQUEST, WIRE_IN_READY)                                    \
	M(STOP, 68, TO_AGENT, WIRE_REQUEST, WIRE_IN_READY)                                      \
	M(PING, 69, TO_AGENT, WIRE_REQUEST, WIRE_IN_READY)                                      \
	M(MUTE, 70, TO_AGENT, WIRE_REQUEST, WIRE_IN_READY)

/* Why something ended or was refused: code, and the sentence that a user reads ("attach failed: ..."). */
#define WIRE_OUTCOMES(O)                                                                                    \
	O(OK, "done")                                                                                       \
	O(NO_DEVICE, "the device is not there any more; plug it in again")                                  \
	O(CHANGED, "the device changed after it was listed; look at the list again before you attach it")   \
	O(BUSY, "the device or the port is in use")                                                         \
	O(NO_PORT, "no free virtual USB port in the target qube; detach a device there")                    \
	O(NO_DRIVER, "the target qube has no vhci_hcd kernel module; install its kernel modules package")   \
	O(OPEN_FAILED, "the device qube could not open the device; look at its journal")                    \
	O(SPAWN_FAILED, "a proxy process could not be started; look at the qube's journal")                 \
	O(NO_PEER, "the other qube did not connect in time")                                                \
	O(TIMED_OUT, "the qube did not answer in time")                                                     \
	O(PEER_LOST, "the connection to the other qube broke")                                              \
	O(PEER_CHEATED, "the other qube sent data that this kind of device does not allow; it was cut off") \
	O(UNPLUGGED, "the device was unplugged")                                                            \
	O(QUBE_GONE, "the qube was shut down")                                                              \
	O(STOPPED, "it was stopped by the broker")                                                          \
	O(CRASHED, "a proxy process died")                                                                  \
	O(UNSUPPORTED, "this agent cannot do that")                                                         \
	O(NO_AGENT, "no device agent runs in that qube; install and start device-agent there")              \
	O(AUDIT_FAILED, "the audit record could not be written, so nothing was attached; free disk space")  \
	O(NO_SOUND, "the qube has no sound server that answers; log in there, or look at its journal")        \
	O(NO_CAMERA, "the target qube has no v4l2loopback kernel module of version 0.13 or later; install it there")  \
	O(NO_MODE, "the camera has no such picture size or rate; ask for another, or for none")            \
	O(INTERNAL, "an internal error; look at the journal")                                               \
	/* The broker's own: no agent may say them. */                                                      \
	O(DETACHED, "it was detached by its user")                                                          \
	O(TIME_LIMIT, "its time was over")                                                                  \
	O(SUSPENDED, "the machine went to sleep")                                                           \
	O(MOVED, "it was moved to another qube")                                                            \
	O(NOT_PROVEN, "the broker was restarted and could not prove that it still ran")                     \
	O(WHOLE_ATTACHED, "its USB device was attached as a whole")                                         \
	O(PART_HELD, "a part of the device is still in use, or its end was not confirmed in time")

/* clang-format on */

enum wire_direction { WIRE_TO_BROKER, WIRE_TO_AGENT };
enum wire_kind { WIRE_EVENT, WIRE_REQUEST, WIRE_ANSWER };
enum wire_states {
	WIRE_IN_NEW = 1,
	WIRE_IN_GREETED = 2, /* HELLO seen, list not yet begun */
	WIRE_IN_READY = 4,
	WIRE_IN_LIST = 8,
	WIRE_IN_DEVICE = 16,        /* between DEVICE and DEVICE_COMMIT, else READY */
	WIRE_IN_LISTED_DEVICE = 32, /* the same inside a list */
};
/* What a qube can take is of its class: it may have a sound server and no vhci_hcd. */
enum wire_roles {
	WIRE_ROLE_EXPORT = 1,
	WIRE_ROLE_IMPORT = 2, /* USB */
	WIRE_ROLE_IMPORT_MIC = 4,
	WIRE_ROLE_IMPORT_SPEAKER = 8,
	WIRE_ROLE_IMPORT_WEBCAM = 16,
	WIRE_ROLES = 31
};
enum wire_side { WIRE_SIDE_EXPORT = 1, WIRE_SIDE_IMPORT = 2 };
/* A MIC and a SPEAKER have one interface, 00 00 00; a WEBCAM has one, 0e 01 00: video control, USB Video Class 1.5 section A.2. */
enum wire_class {
	WIRE_CLASS_USB = 1,
	WIRE_CLASS_MIC = 2,
	WIRE_CLASS_SPEAKER = 3,
	WIRE_CLASS_WEBCAM = 4,
	WIRE_CLASS_FIRST = WIRE_CLASS_USB,
	WIRE_CLASS_LAST = WIRE_CLASS_WEBCAM
};
/* as vhci_hcd's attach file counts them: Linux enum usb_device_speed */
enum wire_speed {
	WIRE_SPEED_NONE = 0,
	WIRE_SPEED_LOW = 1,
	WIRE_SPEED_FULL = 2,
	WIRE_SPEED_HIGH = 3,
	WIRE_SPEED_WIRELESS = 4,
	WIRE_SPEED_SUPER = 5,
	WIRE_SPEED_SUPER_PLUS = 6,
};
/*
 * A text that is not sent is empty. PATH, text_usb_path(): the port, whatever the number of its bus is in this boot.
 * PARENT: the port of the USB device of the same qube that it is a part of, only where wire_may_be_part().
 */
enum wire_text {
	WIRE_TEXT_SERIAL = 1,
	WIRE_TEXT_MANUFACTURER = 2,
	WIRE_TEXT_PRODUCT = 3,
	WIRE_TEXT_PATH = 4,
	WIRE_TEXT_PARENT = 5
};

#define WIRE_OUTCOME_ENUM(name, sentence) OUTCOME_##name,
enum outcome {
	WIRE_OUTCOMES(WIRE_OUTCOME_ENUM) OUTCOME_COUNT,
	OUTCOME_FIRST_FAILURE = OUTCOME_OK + 1,
	OUTCOME_LAST = OUTCOME_INTERNAL, /* of an agent */
};
#undef WIRE_OUTCOME_ENUM

#define WIRE_TYPE_ENUM(name, number, direction, kind, states) WIRE_##name = (number),
enum wire_type { WIRE_MESSAGES(WIRE_TYPE_ENUM) };
#undef WIRE_TYPE_ENUM

#define WIRE_C_U8(n) uint8_t n;
#define WIRE_C_U16(n) uint16_t n;
#define WIRE_C_U32(n) uint32_t n;
#define WIRE_C_U64(n) uint64_t n;
#define WIRE_C_BYTES(n, len) uint8_t n[len];
#define WIRE_C_TEXT(n, len) char n[len];
#define WIRE_C_ENUM8(n, first, last) uint8_t n;
#define WIRE_STRUCT(name, number, direction, kind, states)                                                   \
	struct wire_##name {                                                                                 \
		WIRE_FIELDS_##name(WIRE_C_U8, WIRE_C_U16, WIRE_C_U32, WIRE_C_U64, WIRE_C_BYTES, WIRE_C_TEXT, \
				   WIRE_C_ENUM8)                                                             \
	};
WIRE_MESSAGES(WIRE_STRUCT)
#undef WIRE_STRUCT

/* A decoded message of any type: msg.EXPORT.session, ... */
#define WIRE_MEMBER(name, number, direction, kind, states) struct wire_##name name;
struct wire_message {
	enum wire_type type;
	uint32_t id;
	union {
		WIRE_MESSAGES(WIRE_MEMBER)
	};
};
#undef WIRE_MEMBER

/* What can be wrong with a frame; positive. */
enum wire_fault {
	WIRE_MORE = 1,      /* not a fault: the frame is not complete yet */
	WIRE_BAD_TYPE,      /* unknown type */
	WIRE_BAD_LENGTH,    /* not the type's length */
	WIRE_BAD_DIRECTION, /* a message of the other side */
	WIRE_BAD_STATE,     /* not permitted now */
	WIRE_BAD_ID,        /* 0 in a request or an answer, other than 0 in an event */
	WIRE_BAD_FIELD,     /* an enumeration out of range, a text that is not clean, bytes after n_interfaces */
};

/*
 * Decodes the first frame of `untrusted_bytes`. Pure. 0: *ret_message is set and *ret_used bytes belong to it;
 * WIRE_MORE: give more bytes; another wire_fault: this peer is to be cut off. Never looks past `len`.
 * `direction`: the way this frame travels. `states`: the current wire_states bit.
 */
int wire_decode(const uint8_t *untrusted_bytes, size_t len, enum wire_direction direction, enum wire_states state,
		struct wire_message *ret_message, size_t *ret_used);

/* Encodes into `frame`, at least LIMIT_FRAME bytes. Returns the frame's length; asserts that `message` is valid. */
size_t wire_encode(const struct wire_message *message, uint8_t *frame);

/* The state of the connection after `message`, received in `state`. */
enum wire_states wire_next_state(enum wire_states state, enum wire_type type, enum wire_direction direction);

/*
 * A port of that class: of USB as the kernel names it, "1-2.4"; of a MIC "mic-" and a hash of the source's name, or
 * of dom0's "mic"; of a SPEAKER "speaker-" and one of the sink's. False for a class that there is not.
 */
bool wire_is_port(uint8_t class_id, const char *text);

/* May such a device be a part of a USB device (WIRE_TEXT_PARENT)? A USB device itself is none. */
bool wire_may_be_part(uint8_t class_id);

/* Can an attachment of that class be silent and go on (MUTE)? */
bool wire_can_mute(uint8_t class_id);

/* Does it matter to its user when it is in use and when not? What waits for a disk comes and goes all the time. */
bool wire_tells_use(uint8_t class_id);

/* What the target of such a device must be (enum wire_roles); 0: there is no such class. */
uint16_t wire_import_role(uint8_t class_id);

/* With which the codes of its interfaces begin, as Qubes has it: "u080650", "m000000"; '?': there is no such class. */
char wire_class_letter(uint8_t class_id);

/* Constant texts, never NULL. */
const char *wire_type_name(enum wire_type type);
const char *wire_fault_text(int fault);
const char *outcome_text(enum outcome outcome);
const char *outcome_name(enum outcome outcome); /* "no-device": for the audit log and JSON */
