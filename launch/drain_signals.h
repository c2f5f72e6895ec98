// Asks a run to drain on SIGTERM, SIGUSR1, the first SIGINT and a closing terminal (SIGHUP, unless
// nohup has it ignored). mpirun passes SIGUSR1 on to every rank; SIGTERM counts if it reaches the
// ranks themselves (srun, a container's stop).
#pragma once

#include "runtime/train/drain.h"

namespace leasehold {

// Turns these signals into a request from now on. `request` must live until the process ends. Call
// this before anything that takes time.
void drain_on_signals(DrainRequest& request);

}  // namespace leasehold
