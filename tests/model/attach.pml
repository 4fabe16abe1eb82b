/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attach, detach, questions and all that can break while the broker lives: connections, agents, proxies, qubes whose
 * domain id is used again, the device unplugged and another plugged in, the disk, somebody who is slow.
 */
#ifndef N_ATTACHES /* by hand; ./check sets its own */
#define N_ATTACHES 2
#define N_REQUESTS 2
#define N_MOVES 0
#define N_TIMEOUTS 1
#define N_FAULTS 1
#define N_CRASHES 0
#define QUESTIONS
#endif
#include "protocol.pml"
