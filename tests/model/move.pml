#ifndef N_ATTACHES
#define N_ATTACHES 3
#define N_REQUESTS 1
#define N_FAULTS 1
#define N_CRASHES 0
#define N_MOVES 1
#define N_TIMEOUTS 1
#endif
#include "protocol.pml"
