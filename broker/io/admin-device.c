/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See admin-device.h. The order and the conditions of the properties are those of DeviceInfo.serialize() and
 * DeviceAssignment.serialize() in Qubes' device_protocol.py (4.3).
 */
#include <stdio.h>
#include <string.h>

#include "broker/io/admin-device.h"
#include "broker/io/device-class.h"
#include "lib/base/text.h"

#define UNKNOWN_INTERFACES "?******"
#define UNDERSCORES 6u /* as many in a row as no encoding changes */

static const struct {
	bool attached;
	const char *extra; /* what a tool should show beside */
} states[CORE_STATE_COUNT] = {
	[CORE_FREE] = {false, NULL},
	[CORE_AUDITING] = {false, "attaching"},
	[CORE_EXPORTING] = {false, "attaching"},
	[CORE_IMPORTING] = {false, "attaching"},
	[CORE_ATTACHED] = {true, NULL},
	[CORE_DETACHING] = {true, "detaching"},
	[CORE_LOCKED] = {true, "locked"},
	[CORE_ADOPTING] = {true, "checking"},
	[CORE_CLEARING] = {false, "attaching"},
};

const char *admin_class_name(uint8_t class_id)
{
	const char *name = device_class_name(class_id);

	return name ? name : "peripheral";
}

struct admin_said admin_said_in_terms(const struct core_terms *terms)
{
	return (struct admin_said){
		.follow_port = terms->follow_port, .max_time_usec = terms->max_time_usec, .picture = terms->picture};
}

struct admin_said admin_said_in_assignment(const struct core_assignment *assignment)
{
	return (struct admin_said){.follow_port = assignment->follow_port,
				   .max_time_usec = assignment->max_time_usec,
				   .picture = assignment->picture};
}

#define CONTROL_OPTION(constant, name, last) \
	{name, ret_options->controls[CONTROL_##constant], said->picture.controls[CONTROL_##constant]},

size_t admin_options(const struct admin_said *said, struct admin_options *ret_options)
{
	const struct {
		const char *key, *value;
		bool said;
	} all[ADMIN_OPTIONS] = {
		{"follow-port", "yes", said->follow_port},
		{"max-time", ret_options->time, said->max_time_usec >= USEC_PER_SEC},
		{"size", ret_options->size, said->picture.width},
		{"fps", ret_options->fps, said->picture.fps},
		/* clang-format off */
		CONTROLS(CONTROL_OPTION)
		/* clang-format on */
	};
	size_t n = 0;

	text_of_seconds(said->max_time_usec / USEC_PER_SEC, ret_options->time);
	(void)snprintf(ret_options->size, sizeof(ret_options->size), "%ux%u", said->picture.width,
		       said->picture.height);
	(void)snprintf(ret_options->fps, sizeof(ret_options->fps), "%u", said->picture.fps);
	for (enum camera_control i = 0; i < CONTROL_COUNT; i++)
		controls_write_value(i, said->picture.controls[i], ret_options->controls[i]);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!all[i].said)
			continue;
		ret_options->options[n][0] = all[i].key;
		ret_options->options[n++][1] = all[i].value;
	}
	return n;
}

void admin_write_options(struct admin_writer *writer, const struct admin_said *said)
{
	struct admin_options options;
	size_t n = admin_options(said, &options);
	char key[32];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(key, sizeof(key), "_%s", options.options[i][0]);
		admin_write_property(writer, key, options.options[i][1]);
	}
}

void admin_options_text(const struct admin_said *said, char text[ADMIN_OPTIONS_MAX])
{
	struct admin_options options;
	size_t n = admin_options(said, &options), len = 0;

	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, ADMIN_OPTIONS_MAX - len, "%s'%s': '%s'", i ? ", " : "{",
					options.options[i][0], options.options[i][1]);
	(void)snprintf(text + len, ADMIN_OPTIONS_MAX - len, n ? "}" : "{}");
}

bool admin_is_attached(const struct core_device *device)
{
	return states[device->state].attached;
}

static bool is_plain(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

void admin_device_id_shown(char *id)
{
	size_t serial = strlen("vvvv:pppp:"), underscores = 0;
	char *interfaces = strrchr(id, ':');

	for (char *at = id + serial; interfaces && at < interfaces; at++) {
		if (!is_plain(*at))
			*at = underscores == UNDERSCORES ? '-' : '_';
		underscores = *at == '_' ? underscores + 1 : 0;
	}
}

void admin_device_names(const char *backend, const struct core_device *device, struct admin_names *ret_names)
{
	size_t len = core_device_id(device, ret_names->id);

	admin_device_id_shown(ret_names->id);
	memcpy(ret_names->encoded_id, ret_names->id, len + 1);
	admin_device_id_encode(ret_names->encoded_id);
	ret_names->backend = backend;
	(void)snprintf(ret_names->place, sizeof(ret_names->place), "%s:%s", backend, device->port);
	(void)snprintf(ret_names->full, sizeof(ret_names->full), "%s:%s", ret_names->place, ret_names->id);
}

/* What the properties are made from. */
struct view {
	const struct core_device *device;
	struct admin_names names;
	const char *mode;  /* in Attached */
	const char *label; /* in Available; NULL: none */
	char interfaces[7 * LIMIT_INTERFACES + 1];
};

static const char *get_id(const struct view *view)
{
	return view->names.id;
}

static const char *get_port(const struct view *view)
{
	return view->device->port;
}

static const char *get_class(const struct view *view)
{
	return admin_class_name(view->device->class_id);
}

static const char *get_backend(const struct view *view)
{
	return view->names.backend;
}

static const char *get_manufacturer(const struct view *view)
{
	return view->device->manufacturer[0] ? view->device->manufacturer : NULL;
}

static const char *get_name(const struct view *view)
{
	return view->device->product_name[0] ? view->device->product_name : NULL;
}

static const char *get_serial(const struct view *view)
{
	return view->device->serial[0] ? view->device->serial : NULL;
}

static const char *get_target(const struct view *view)
{
	return view->device->state != CORE_FREE ? view->device->target_name : NULL;
}

static const char *get_interfaces(const struct view *view)
{
	return view->interfaces;
}

/* As Qubes does, also of a parent that is not listed. */
static const char *get_parent_port(const struct view *view)
{
	return view->device->parent[0] ? view->device->parent : NULL;
}

static const char *get_parent_class(const struct view *view)
{
	return view->device->parent[0] ? admin_class_name(WIRE_CLASS_USB) : NULL;
}

static const char *get_muted(const struct view *view)
{
	return core_is_muted(view->device) ? "yes" : NULL;
}

static const char *get_state(const struct view *view)
{
	return states[view->device->state].extra;
}

static const char *get_label(const struct view *view)
{
	return view->label;
}

static const char *get_mode(const struct view *view)
{
	return view->mode;
}

enum { IN_AVAILABLE = 1, IN_ATTACHED = 2, IN_BOTH = IN_AVAILABLE | IN_ATTACHED };

/* A NULL is left out. A key with '_' is data of ours: other clients show it as it is. */
static const struct {
	const char *key;
	unsigned int where;
	const char *(*get)(const struct view *view);
} properties[] = {
	{"device_id", IN_BOTH, get_id},
	{"port_id", IN_BOTH, get_port},
	{"devclass", IN_BOTH, get_class},
	{"backend_domain", IN_BOTH, get_backend},
	{"manufacturer", IN_AVAILABLE, get_manufacturer},
	{"name", IN_AVAILABLE, get_name},
	{"serial", IN_AVAILABLE, get_serial},
	{"attachment", IN_AVAILABLE, get_target},
	{"interfaces", IN_AVAILABLE, get_interfaces},
	{"parent_port_id", IN_AVAILABLE, get_parent_port},
	{"parent_devclass", IN_AVAILABLE, get_parent_class},
	{"_state", IN_AVAILABLE, get_state},
	{"_label", IN_AVAILABLE, get_label},
	{"_muted", IN_AVAILABLE, get_muted},
	{"mode", IN_ATTACHED, get_mode},
	{"frontend_domain", IN_ATTACHED, get_target},
};

static void view_init(struct view *view, const char *backend, const struct core_device *device)
{
	char *at = view->interfaces;

	view->device = device;
	admin_device_names(backend, device, &view->names);
	(void)strcpy(view->interfaces, device->n_interfaces ? "" : UNKNOWN_INTERFACES);
	for (uint8_t i = 0; i < device->n_interfaces && i < LIMIT_INTERFACES; i++, at += 7)
		text_interface_code(wire_class_letter(device->class_id), device->interfaces[i], at);
}

static void write_properties(struct admin_writer *writer, const struct view *view, unsigned int where)
{
	for (size_t i = 0; i < ARRAY_SIZE(properties); i++) {
		const char *value = properties[i].where & where ? properties[i].get(view) : NULL;

		if (value)
			admin_write_property(writer, properties[i].key, value);
	}
}

void admin_write_available(struct admin_writer *writer, const char *backend, const struct core_device *device,
			   const char *label)
{
	struct view view = {0};

	view_init(&view, backend, device);
	view.label = label;
	admin_write_format(writer, "%s:%s", device->port, view.names.id);
	write_properties(writer, &view, IN_AVAILABLE);
	admin_write_bytes(writer, "\n", 1);
}

void admin_write_attached(struct admin_writer *writer, const char *backend, const struct core_device *device,
			  const char *mode)
{
	const struct admin_said said = admin_said_in_terms(&device->terms);
	struct view view = {0};

	view_init(&view, backend, device);
	view.mode = mode;
	admin_write_format(writer, "%s+%s:%s", backend, device->port, view.names.id);
	write_properties(writer, &view, IN_ATTACHED);
	admin_write_options(writer, &said);
	admin_write_bytes(writer, "\n", 1);
}
