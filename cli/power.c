// SPDX-License-Identifier: GPL-2.0-or-later
/* Before and after the machine's sleep, for the scripts that Qubes OS runs there. */
#include "cli/command.h"

int run_suspend(struct state *state)
{
	return change(
		state,
		&(struct change){.method = "device.Suspend", .dest = "dom0", .progress = "Taking all devices back"});
}

int run_resume(struct state *state)
{
	return change(state, &(struct change){
				     .method = "device.Resume", .dest = "dom0", .progress = "Attaching devices again"});
}
