/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.Snapshot: everything that a list or a tray needs, of one moment, in one reply. A line begins with its kind:
 *
 *     broker     policy, suspended, classes
 *     qube       a line of admin.vm.List
 *     available  a line of admin.vm.device.CLASS.Available; the class is its devclass
 *     attached   a line of ...Attached
 *     stream     what is attached where, since when, for how long still; what each side says was moved, and when
 *     assigned   a line of ...Assigned
 *     denied     a qube and its deny list
 *
 * The lines of one kind stand together, as that call sorts them if there is one. A reader passes over kinds and keys that it
 * does not know.
 */
#include <inttypes.h>
#include <stdio.h>

#include "broker/io/admin-job.h"
#include "broker/io/clock.h"
#include "broker/io/device-class.h"

/* All devices that the API shows, in the order of its lists; returns how many. */
static size_t find_all(struct admin_job *job, struct admin_found found[ADMIN_DEVICES_MAX])
{
	const char *class;
	unsigned int cursor = 0;
	size_t n = 0;

	while ((class = device_class_next(&cursor))) {
		int class_id = device_class_id(admin_span(class));

		if (class_id <= 0)
			continue;
		job->class_id = (uint8_t)class_id;
		n += admin_find_devices(job, NULL, NULL, NULL, found + n);
	}
	return n;
}

static void write_available(struct admin_job *job, const struct admin_found *found)
{
	admin_write_format(job->reply, "available ");
	admin_write_available(job->reply, found->backend, found->device,
			      labels_of(core_labels(job->core), found->backend, found->device));
}

/* Who has it, as Attached of that qube would list it; NULL: nobody. */
static const char *attached_to(const struct admin_job *job, const struct core_device *device)
{
	const struct core_qube *target = admin_is_attached(device) ? core_find_qube(job->core, device->target) : NULL;

	return target ? admin_shown_name(job->core, target) : NULL;
}

static void write_attached(struct admin_job *job, const struct admin_found *found)
{
	const char *target = attached_to(job, found->device);

	if (!target)
		return;
	admin_write_format(job->reply, "attached ");
	admin_write_attached(job->reply, found->backend, found->device,
			     admin_mode_of(job->core, target, found->device));
}

static void write_number(struct admin_writer *writer, const char *key, uint64_t number)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, number);
	admin_write_property(writer, key, text);
}

/* Seconds from one instant to a later one. */
static uint64_t seconds_between(uint64_t from_usec, uint64_t to_usec)
{
	return to_usec > from_usec ? (to_usec - from_usec) / USEC_PER_SEC : 0;
}

/* " source-bytes-to-target='1' ...", if that side has said anything yet. */
static void write_side(struct admin_writer *writer, const char *side, const struct core_stream *stream)
{
	const struct {
		const char *name;
		uint64_t number;
	} numbers[] = {
		{"bytes-to-target", stream->bytes_to_target},
		{"bytes-from-target", stream->bytes_from_target},
		{"in-use", stream->in_use},
		{"at-usec", stream->at_usec},
	};
	char key[32];

	for (size_t i = 0; i < ARRAY_SIZE(numbers) && stream->at_usec; i++) {
		(void)snprintf(key, sizeof(key), "%s-%s", side, numbers[i].name);
		write_number(writer, key, numbers[i].number);
	}
}

static void write_stream(struct admin_job *job, const struct admin_found *found)
{
	const struct core_device *device = found->device;
	const char *target = device->state == CORE_ATTACHED ? attached_to(job, device) : NULL;
	uint64_t now_usec = clock_now_usec();

	if (!target)
		return;
	admin_write_format(job->reply, "stream %s:%s", found->backend, device->port);
	admin_write_property(job->reply, "devclass", admin_class_name(device->class_id));
	admin_write_property(job->reply, "frontend_domain", target);
	write_number(job->reply, "since", seconds_between(device->since_usec, now_usec));
	if (device->terms.end_usec)
		write_number(job->reply, "time-left", seconds_between(now_usec, device->terms.end_usec));
	write_side(job->reply, "source", &device->source_stream);
	write_side(job->reply, "target", &device->target_stream);
	admin_write_format(job->reply, "\n");
}

static void write_assigned(struct admin_job *job)
{
	const struct core_assignment *assignment;
	unsigned int cursor = 0;

	while ((assignment = assignments_next(core_assignments(job->core), &cursor))) {
		admin_write_format(job->reply, "assigned ");
		admin_write_assignment(job->reply, assignment);
	}
}

static void write_denied(struct admin_job *job)
{
	const char *qube, *pattern;
	unsigned int qubes = 0;

	while ((qube = denied_next_qube(core_denied(job->core), &qubes))) {
		unsigned int patterns = 0;

		admin_write_format(job->reply, "denied %s ", qube);
		while ((pattern = denied_next(core_denied(job->core), qube, &patterns)))
			admin_write_format(job->reply, "%s", pattern);
		admin_write_format(job->reply, "\n");
	}
}

static void write_broker(struct admin_job *job)
{
	const char *error = NULL, *class;
	unsigned int cursor = 0;
	char classes[64];
	size_t len = 0;

	while ((class = device_class_next(&cursor)) && len < sizeof(classes))
		len += (size_t)snprintf(classes + len, sizeof(classes) - len, "%s%s", len ? " " : "", class);
	admin_write_format(job->reply, "broker");
	admin_write_property(job->reply, "policy", job->hooks->policy(job->userdata, &error) ? "good" : "broken");
	admin_write_property(job->reply, "suspended", core_is_suspended(job->core) ? "yes" : "no");
	admin_write_property(job->reply, "classes", classes);
	admin_write_format(job->reply, "\n");
}

enum admin_verdict admin_call_snapshot(struct admin_job *job)
{
	static void (*const writers[])(struct admin_job * job, const struct admin_found *found) = {
		write_available, write_attached, write_stream};
	struct admin_found found[ADMIN_DEVICES_MAX];
	size_t n = find_all(job, found);

	admin_write_done(job->reply);
	write_broker(job);
	admin_write_qubes(job, "qube ", NULL);
	for (size_t w = 0; w < ARRAY_SIZE(writers); w++)
		for (size_t i = 0; i < n; i++)
			writers[w](job, &found[i]);
	write_assigned(job);
	write_denied(job);
	return ADMIN_REPLY;
}
