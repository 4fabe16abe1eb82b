// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attach, detach and move: what is so now, and not stored.
 *
 * A camera and the microphone in it are two devices, each with a record, a decision and an end of its own: --with-mic is two
 * attaches, one after the other. What can be seen to stand in the way of the second is looked for before the first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "lib/base/text.h"

/* What "QUBE BACKEND:PORT[:ID]" asks for: the device as it is listed now, and the call's payload. -1 or an exit code. */
static int prepare(struct state *state, struct place *place, const struct device **ret_device,
		   char payload[PAYLOAD_MAX])
{
	const char *qube = state->options.args[0];
	int r = check_words(state, state->options.args, state->options.n_args, place);

	if (r < 0)
		r = find_device(state, place, ret_device);
	if (r < 0)
		r = make_payload(state, *ret_device, "manual", qube, payload);
	return r;
}

static int attach(const struct state *state, const struct device *device, const char *payload)
{
	const char *qube = state->options.args[0];
	char progress[192];

	(void)snprintf(progress, sizeof(progress), "Attaching %s:%s to %s", device->backend, device->port, qube);
	return change(state, &(struct change){.method = "Attach",
					      .dest = qube,
					      .payload = payload,
					      .progress = progress,
					      .backend = device->backend,
					      .port = device->port,
					      .id = device->id});
}

/* The microphone that is a part of what the camera is a part of, and is free. -1 or an exit code. */
static int find_mic(struct state *of_mics, const struct device *camera, const struct device **ret_mic)
{
	struct inventory *inventory = &of_mics->inventory;
	const struct device *found = NULL;
	int r = inventory_read_devices(&of_mics->options, NULL, camera->backend, inventory);

	if (r >= 0)
		return r;
	for (size_t i = 0; i < inventory->n_devices; i++) {
		const struct device *mic = &inventory->devices[i];

		if (!camera->parent_port[0] || strcmp(mic->parent_port, camera->parent_port) != 0 ||
		    strcmp(mic->parent_class, camera->parent_class) != 0)
			continue;
		if (found)
			return runtime_error(
				of_mics,
				"%s:%s has more than one microphone, %s and %s; nothing was attached: attach "
				"each by itself (qvm-mic attach)",
				camera->backend, camera->port, found->port, mic->port);
		found = mic;
	}
	if (!found)
		return runtime_error(
			of_mics, "%s:%s has no microphone that %s knows of; nothing was attached: leave --with-mic out",
			camera->backend, camera->port, camera->backend);
	if (found->used_by[0])
		return runtime_error(of_mics,
				     "the microphone of %s:%s, %s, is attached to %s; nothing was attached: leave "
				     "--with-mic out, or detach it first (qvm-mic detach %s %s:%s)",
				     camera->backend, camera->port, found->port, found->used_by, found->used_by,
				     found->backend, found->port);
	*ret_mic = found;
	return -1;
}

static bool is_of_camera(const char *setting)
{
	for (size_t i = 0; camera_settings[i]; i++)
		if (strncmp(setting, camera_settings[i], strlen(camera_settings[i])) == 0)
			return true;
	return false;
}

/* Of what the user said with -o what is of a microphone too. `settings` has room for all. */
static void keep_settings_of_mic(const struct options *options, const char **settings, struct options *of_mic)
{
	of_mic->settings = settings;
	of_mic->n_settings = 0;
	for (size_t i = 0; i < options->n_settings; i++)
		if (!is_of_camera(options->settings[i]))
			settings[of_mic->n_settings++] = options->settings[i];
}

static int attach_both(const struct state *state, const struct device *camera, const char *payload,
		       const struct state *of_mics, const struct device *mic, const char *mic_payload)
{
	int r = attach(state, camera, payload);

	if (r != EXIT_DONE)
		return r;
	r = attach(of_mics, mic, mic_payload);
	if (r == EXIT_REFUSED)
		(void)runtime_error(state, "%s:%s is attached to %s, but its microphone, %s:%s, is not",
				    camera->backend, camera->port, state->options.args[0], mic->backend, mic->port);
	else if (r != EXIT_DONE)
		(void)runtime_error(state,
				    "%s:%s is attached to %s; whether its microphone, %s:%s, is too is not known",
				    camera->backend, camera->port, state->options.args[0], mic->backend, mic->port);
	return r;
}

static int attach_with_mic(struct state *state, const struct device *camera, const char *payload)
{
	_cleanup_free_ const char **settings = calloc(state->options.n_settings + 1, sizeof(*settings));
	struct state of_mics = {.options = state->options};
	const struct device *mic = NULL;
	char mic_payload[PAYLOAD_MAX];
	int r;

	if (!settings)
		return runtime_error(state, "out of memory");
	of_mics.options.class = "mic";
	keep_settings_of_mic(&state->options, settings, &of_mics.options);
	r = find_mic(&of_mics, camera, &mic);
	if (r < 0)
		r = make_payload(&of_mics, mic, "manual", state->options.args[0], mic_payload);
	if (r < 0)
		r = attach_both(state, camera, payload, &of_mics, mic, mic_payload);
	inventory_deinit(&of_mics.inventory);
	return r;
}

int run_attach(struct state *state)
{
	const struct device *device;
	struct place place;
	char payload[PAYLOAD_MAX];
	int r = prepare(state, &place, &device, payload);

	if (r >= 0)
		return r;
	return state->options.with_mic ? attach_with_mic(state, device, payload) : attach(state, device, payload);
}

/* The device's own qube says in the list who has it; whether that is still so is the broker's to judge. */
int run_move(struct state *state)
{
	const char *qube = state->options.args[0];
	const struct device *device;
	struct place place;
	char progress[192], payload[PAYLOAD_MAX], call[CALLED_MAX];
	int r = prepare(state, &place, &device, payload);

	if (r >= 0)
		return r;
	if (!device->used_by[0])
		return runtime_error(state, "%s is attached to no qube: attach it (%s attach %s %s)", place.shown,
				     called(state, call), qube, place.shown);
	if (strlen(payload) + sizeof(" from=''") + strlen(device->used_by) > sizeof(payload))
		return options_error(&state->options, "too many options");
	(void)sprintf(payload + strlen(payload), " from='%s'", device->used_by);
	(void)snprintf(progress, sizeof(progress), "Moving %s from %s to %s", place.shown, device->used_by, qube);
	return change(state, &(struct change){.method = "device.Move",
					      .dest = qube,
					      .payload = payload,
					      .progress = progress,
					      .backend = device->backend,
					      .port = device->port,
					      .id = device->id});
}

static int mute_or_not(struct state *state, const char *method, const char *doing)
{
	const char *qube = state->options.args[0];
	const struct device *device;
	struct place place;
	char progress[128];
	int r = check_words(state, state->options.args, state->options.n_args, &place);

	if (r < 0)
		r = find_device(state, &place, &device);
	if (r >= 0)
		return r;
	(void)snprintf(progress, sizeof(progress), "%s %s for %s", doing, place.shown, qube);
	return change(state, &(struct change){.method = method,
					      .dest = qube,
					      .progress = progress,
					      .backend = device->backend,
					      .port = device->port,
					      .id = device->id});
}

int run_mute(struct state *state)
{
	return mute_or_not(state, "device.Mute", "Muting");
}

int run_unmute(struct state *state)
{
	return mute_or_not(state, "device.Unmute", "Unmuting");
}

static int detach_one(const struct state *state, const char *qube, const struct place *place)
{
	char progress[128];

	(void)snprintf(progress, sizeof(progress), "Detaching %s from %s", place->shown, qube);
	return change(state, &(struct change){.method = "Detach",
					      .dest = qube,
					      .progress = progress,
					      .backend = place->backend,
					      .port = place->port,
					      .id = place->id});
}

/* BACKEND+PORT:ID and more, of a reply; false: not of this form. */
static bool read_attached(struct admin_span untrusted_line, struct place *place)
{
	struct admin_span untrusted_head, untrusted_backend, untrusted_port;

	*place = (struct place){.has_id = true};
	if (!admin_span_cut(&untrusted_line, ' ', &untrusted_head) ||
	    !admin_span_cut(&untrusted_head, '+', &untrusted_backend) ||
	    !admin_span_cut(&untrusted_head, ':', &untrusted_port) ||
	    !admin_span_copy(untrusted_backend, place->backend, sizeof(place->backend)) ||
	    !admin_span_copy(untrusted_port, place->port, sizeof(place->port)) ||
	    !admin_span_copy(untrusted_head, place->id, sizeof(place->id)) || !text_is_qube_name(place->backend) ||
	    !text_is_printable(place->port) || !text_is_printable(place->id))
		return false;
	(void)snprintf(place->shown, sizeof(place->shown), "%s:%s", place->backend, place->port);
	return true;
}

/* Whatever is attached to the qube; one that cannot be detached does not keep the others. */
static int detach_all(const struct state *state, const char *qube)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	struct admin_span untrusted_line;
	char method[CLASS_METHOD_MAX];
	int worst = EXIT_DONE, r;

	(void)snprintf(method, sizeof(method), "admin.vm.device.%s.Attached", state->options.class);
	r = inventory_call(&state->options, method, "", qube, "", NULL, &call, &reply);
	if (r >= 0)
		return r;
	while (admin_span_cut(&reply.content, '\n', &untrusted_line)) {
		struct place place;

		if (!read_attached(untrusted_line, &place))
			return runtime_error(state, "the broker's words about %s are not clear", qube);
		r = detach_one(state, qube, &place);
		worst = r > worst ? r : worst;
		if (r == EXIT_NO_BROKER)
			break;
	}
	return worst;
}

int run_detach(struct state *state)
{
	const char *qube = state->options.args[0];
	struct place place;
	int r = check_words(state, state->options.args, state->options.n_args, &place);

	if (r >= 0)
		return r;
	if (state->options.n_args == 1)
		return detach_all(state, qube);
	r = check_backend(state, &place);
	return r < 0 ? detach_one(state, qube, &place) : r;
}
