/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The broker dies at each step and starts again with the memories of its sessions, while the rest of the world goes on
 * and breaks too: what it adopts, what it ends, and that it grants nothing before it knows.
 */
#ifndef N_ATTACHES /* by hand; ./check sets its own */
#define N_ATTACHES 2
#define N_REQUESTS 2
#define N_MOVES 0
#define N_TIMEOUTS 0
#define N_FAULTS 1
#define N_CRASHES 1
#endif
#include "protocol.pml"
