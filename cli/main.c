// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * qvm-device: lists, attaches, assigns and detaches devices, and what else there is to say to the broker, through its
 * Admin API. A table of commands; each reads what it needs, checks what the user named against it, and makes at most
 * one call that changes something (of a whole qube: one for each device or assignment; watch --answer: one for each
 * answer).
 */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/complete.h"

static const struct {
	int (*run)(struct state *state);
	bool knows_qubes; /* the inventory's qubes are read for it */
} runs[COMMAND_COUNT] = {
	[COMMAND_LIST] = {run_list, false},       [COMMAND_ATTACH] = {run_attach, true},
	[COMMAND_DETACH] = {run_detach, true},    [COMMAND_MOVE] = {run_move, true},
	[COMMAND_MUTE] = {run_mute, true},        [COMMAND_UNMUTE] = {run_unmute, true},
	[COMMAND_ASSIGN] = {run_assign, true},    [COMMAND_UNASSIGN] = {run_unassign, true},
	[COMMAND_INFO] = {run_info, true},        [COMMAND_LABEL] = {run_label, true},
	[COMMAND_STATUS] = {run_status, false},   [COMMAND_DENY] = {run_deny, true},
	[COMMAND_ALLOW] = {run_allow, false},     [COMMAND_POLICY] = {run_policy, true},
	[COMMAND_AUDIT] = {run_audit, false},     [COMMAND_WATCH] = {run_watch, false},
	[COMMAND_SUSPEND] = {run_suspend, false}, [COMMAND_RESUME] = {run_resume, false},
};

static void state_deinit(struct state *state)
{
	inventory_deinit(&state->inventory);
	usb_ids_deinit(&state->ids);
	options_deinit(&state->options);
}

/* Half a list must not pass for a whole one. */
static int check_output(const struct state *state)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_DONE;
	return runtime_error(state, "the output could not be written (is the disk full?)");
}

static int run(struct state *state)
{
	int r;

	if (state->options.list_classes)
		return print_answer(state, "admin.deviceclass.List", "", "dom0", NULL, json_out_lines);
	r = runs[state->options.command].knows_qubes ? inventory_read_qubes(&state->options, &state->inventory) : -1;
	return r < 0 ? runs[state->options.command].run(state) : r;
}

int main(int argc, char **argv)
{
	_cleanup_(state_deinit) struct state state = {0};
	int r;

	if (argc > 1 && strcmp(argv[1], "--complete") == 0)
		return complete(argv[0], argv + 2, (size_t)argc - 2);
	r = options_parse(argc, argv, &state.options);
	if (r >= 0)
		return r;
	r = run(&state);
	return r == EXIT_DONE ? check_output(&state) : r;
}
