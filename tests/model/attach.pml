#ifndef N_ATTACHES
#define N_ATTACHES 2
#define N_REQUESTS 2
#define N_FAULTS 1
#define N_CRASHES 0
#define N_MOVES 0
#define N_TIMEOUTS 1
#endif
#include "protocol.pml"
