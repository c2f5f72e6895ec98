// SIGTERM, SIGUSR1, the first SIGINT and a terminal that closes (SIGHUP, unless nohup has it
// ignored) ask a run to drain. (mpirun passes SIGUSR1 on to every rank; SIGTERM counts where it
// reaches the ranks themselves: srun, a container's stop.)
#pragma once

#include "runtime/train/drain.h"

namespace leasehold {

// From now until the end of the process. `request` must outlive that. Call before anything that
// takes time.
void drain_on_signals(DrainRequest& request);

}  // namespace leasehold
