/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See attach.h. A device is opened only after everything about it was read and compared again. */
#include "proxies/agent/attach.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "proxies/agent/node.h"
#include "proxies/agent/usbfs.h"
#include "proxies/agent/vhci.h"

static struct snapshot_bytes snapshot; /* scratch: 32 KiB, and the agent has one thread */

#define SYSPATH_SIZE (64 + LIMIT_PORT_TEXT)

static void make_syspath(const struct identity *known, char syspath[SYSPATH_SIZE])
{
	(void)snprintf(syspath, SYSPATH_SIZE, "/sys/bus/usb/devices/%s", known->port);
}

/* The device again, from its port's folder: still there, still the same? */
static enum outcome read_again(const struct identity *known)
{
	struct identity identity;
	const char *reason;
	char syspath[SYSPATH_SIZE];
	uint16_t dev;
	int r;

	make_syspath(known, syspath);
	r = identity_read(syspath, known->port, &identity, &snapshot, &dev, &reason);
	if (r == IDENTITY_GONE)
		return OUTCOME_NO_DEVICE;
	if (r != 0 || identity.bus != known->bus || identity.dev != known->dev ||
	    memcmp(identity.digest, known->digest, sizeof(identity.digest)) != 0)
		return OUTCOME_CHANGED;
	return OUTCOME_OK;
}

/* In this order (UD01). */
static enum outcome open_device(const struct identity *identity, int *ret_fd, uint8_t *ret_configuration)
{
	char syspath[SYSPATH_SIZE];
	enum outcome outcome = read_again(identity);

	if (outcome == OUTCOME_OK)
		outcome = node_open(identity, &snapshot, ret_fd);
	make_syspath(identity, syspath);
	if (outcome == OUTCOME_OK && identity_read_configuration(syspath, identity, ret_configuration) != 0)
		outcome = OUTCOME_NO_DEVICE;
	return outcome;
}

/* With the first export, as a qube that has no device of its own has no need of it. */
static void raise_memory(struct attach_means *means)
{
	int r = means->memory_raised ? 0 : usbfs_raise_memory(USBFS_MEMORY_FILE, usbfs_ram());

	means->memory_raised = true;
	if (r < 0)
		log_warning("cannot raise usbfs' memory, exported devices share what there is: %s: %s",
			    USBFS_MEMORY_FILE, strerror(-r));
}

static enum outcome export_usb(struct attach_means *means, const struct wire_message *message,
			       const struct identity *identity)
{
	_cleanup_close_ int fd = -1;
	uint8_t configuration = 0;
	enum outcome outcome = open_device(identity, &fd, &configuration);

	if (outcome != OUTCOME_OK)
		return outcome;
	raise_memory(means);
	sessions_export(means->sessions, message->id, &message->EXPORT, identity, &snapshot, configuration, fd);
	return OUTCOME_OK;
}

static enum outcome export_sound(struct attach_means *means, const struct wire_message *message,
				 const struct identity *identity)
{
	struct sound_source source;

	if (!sound_find(means->sound, identity->port, &source))
		return OUTCOME_NO_DEVICE;
	if (memcmp(source.identity.digest, identity->digest, sizeof(identity->digest)) != 0)
		return OUTCOME_CHANGED;
	sessions_export_sound(means->sessions, message->id, &message->EXPORT, &source);
	return OUTCOME_OK;
}

static enum outcome export_camera(struct attach_means *means, const struct wire_message *message,
				  const struct identity *identity)
{
	_cleanup_close_ int fd = -1;
	const uint8_t *hello;
	enum outcome outcome = video_open(means->video, identity, &hello, &fd);

	if (outcome == OUTCOME_OK)
		sessions_export_camera(means->sessions, message->id, &message->EXPORT, identity, hello, fd);
	return outcome;
}

static enum outcome import_usb(struct attach_means *means, const struct wire_message *message)
{
	enum outcome outcome = OUTCOME_NO_DRIVER;

	if (vhci_present())
		outcome = sessions_may_begin(means->sessions, message->IMPORT.session, NULL);
	if (outcome == OUTCOME_OK)
		sessions_import(means->sessions, message->id, &message->IMPORT);
	return outcome;
}

static enum outcome import_sound(struct attach_means *means, const struct wire_message *message)
{
	const struct sound_server *server = sound_target(means->sound);
	enum outcome outcome = OUTCOME_NO_SOUND;

	if (server != NULL)
		outcome = sessions_may_begin(means->sessions, message->IMPORT.session, NULL);
	if (outcome == OUTCOME_OK)
		sessions_import_sound(means->sessions, message->id, &message->IMPORT, server);
	return outcome;
}

static enum outcome import_camera(struct attach_means *means, const struct wire_message *message)
{
	_cleanup_close_ int fd = -1;
	enum outcome outcome = OUTCOME_NO_CAMERA;
	uint8_t number = 0;

	if (loopback_present())
		outcome = sessions_may_begin(means->sessions, message->IMPORT.session, NULL);
	if (outcome == OUTCOME_OK)
		outcome = loopback_add(means->loopback, message->IMPORT.label, &number, &fd);
	if (outcome == OUTCOME_OK)
		sessions_import_camera(means->sessions, message->id, &message->IMPORT, number, fd);
	return outcome;
}

static const struct {
	enum outcome (*export)(struct attach_means *means, const struct wire_message *message,
			       const struct identity *identity);
	enum outcome (*import)(struct attach_means *means, const struct wire_message *message);
} classes[] = {
	[WIRE_CLASS_USB] = {export_usb, import_usb},
	[WIRE_CLASS_MIC] = {export_sound, import_sound},
	[WIRE_CLASS_SPEAKER] = {export_sound, import_sound},
	[WIRE_CLASS_WEBCAM] = {export_camera, import_camera},
};
_Static_assert(ARRAY_SIZE(classes) == WIRE_CLASS_LAST + 1, "every class is here");

enum outcome attach_export(struct attach_means *means, const struct wire_message *message,
			   const struct identity *identity)
{
	return classes[identity->class_id].export(means, message, identity);
}

enum outcome attach_import(struct attach_means *means, const struct wire_message *message)
{
	return classes[message->IMPORT.class].import(means, message);
}
