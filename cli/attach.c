// SPDX-License-Identifier: GPL-2.0-or-later
/* Attach, detach and move: what is so now, and not stored. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "lib/base/text.h"

/* What "QUBE BACKEND:PORT[:ID]" asks for: the device as it is listed now, the call's argument and payload. -1 or an exit code. */
static int prepare(struct state *state, struct place *place, const struct device **ret_device,
		   char argument[ARGUMENT_MAX], char payload[PAYLOAD_MAX])
{
	const char *qube = state->options.args[0];
	int r = check_words(state, state->options.args, state->options.n_args, place);

	if (r < 0)
		r = find_device(state, place, ret_device);
	if (r < 0)
		r = make_payload(state, *ret_device, "manual", qube, payload);
	if (r < 0)
		make_argument(place->backend, place->port, (*ret_device)->id, argument);
	return r;
}

int run_attach(struct state *state)
{
	const char *qube = state->options.args[0];
	const struct device *device;
	struct place place;
	char argument[ARGUMENT_MAX], progress[128], payload[PAYLOAD_MAX];
	int r = prepare(state, &place, &device, argument, payload);

	if (r >= 0)
		return r;
	(void)snprintf(progress, sizeof(progress), "Attaching %s to %s", place.shown, qube);
	return change(state, "Attach", argument, qube, payload, progress);
}

/* The device's own qube says in the list who has it; whether that is still so is the broker's to judge. */
int run_move(struct state *state)
{
	const char *qube = state->options.args[0];
	const struct device *device;
	struct place place;
	char argument[ARGUMENT_MAX], progress[192], payload[PAYLOAD_MAX];
	int r = prepare(state, &place, &device, argument, payload);

	if (r >= 0)
		return r;
	if (!device->used_by[0])
		return runtime_error(state, "%s is attached to no qube: attach it (%s attach %s %s)", place.shown,
				     state->options.program, qube, place.shown);
	if (strlen(payload) + sizeof(" from=''") + strlen(device->used_by) > sizeof(payload))
		return options_error(&state->options, "too many options");
	(void)sprintf(payload + strlen(payload), " from='%s'", device->used_by);
	(void)snprintf(progress, sizeof(progress), "Moving %s from %s to %s", place.shown, device->used_by, qube);
	return change(state, "device.Move", argument, qube, payload, progress);
}

static int detach_one(const struct state *state, const char *qube, const char *argument, const char *shown)
{
	char progress[2 * DEVICE_ID_TEXT];

	(void)snprintf(progress, sizeof(progress), "Detaching %s from %s", shown, qube);
	return change(state, "Detach", argument, qube, "", progress);
}

/* Whatever is attached to the qube; one that cannot be detached does not keep the others. */
static int detach_all(const struct state *state, const char *qube)
{
	_cleanup_admin_call_ struct admin_call *call = NULL;
	struct admin_reply reply;
	struct admin_span untrusted_line, untrusted_head;
	char method[CLASS_METHOD_MAX], argument[DEVICE_ID_TEXT];
	int worst = EXIT_DONE, r;

	(void)snprintf(method, sizeof(method), "admin.vm.device.%s.Attached", state->options.class);
	r = inventory_call(&state->options, method, "", qube, "", NULL, &call, &reply);
	if (r >= 0)
		return r;
	while (admin_span_cut(&reply.content, '\n', &untrusted_line)) {
		char shown[DEVICE_ID_TEXT];

		if (!admin_span_cut(&untrusted_line, ' ', &untrusted_head) ||
		    !admin_span_copy(untrusted_head, argument, sizeof(argument)))
			return runtime_error(state, "the broker's words about %s are not clear", qube);
		admin_device_id_encode(argument);
		(void)text_make_safe(argument, strlen(argument), shown, sizeof(shown));
		*strchrnul(shown, '+') = ':';
		*strchrnul(shown, '+') = '\0'; /* the id */
		r = detach_one(state, qube, argument, shown);
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
	char argument[ARGUMENT_MAX];
	int r = check_words(state, state->options.args, state->options.n_args, &place);

	if (r >= 0)
		return r;
	if (state->options.n_args == 1)
		return detach_all(state, qube);
	r = check_backend(state, &place);
	if (r >= 0)
		return r;
	make_argument(place.backend, place.port, place.id, argument);
	return detach_one(state, qube, argument, place.shown);
}
