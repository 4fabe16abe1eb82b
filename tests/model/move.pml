/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A move out of one qube into the other: it ends there, back in the first, or nowhere, and the user is told which.
 */
#ifndef N_ATTACHES /* by hand; ./check sets its own */
#define N_ATTACHES 3
#define N_REQUESTS 1
#define N_MOVES 1
#define N_TIMEOUTS 1
#define N_FAULTS 1
#define N_CRASHES 0
#endif
#include "protocol.pml"
