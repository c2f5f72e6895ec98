// The kernel set of OpenBLAS that a command computes by: opened before any kernels are made.
#pragma once

#include <string>

#include "collectives/bootstrap.h"
#include "launch/job_file.h"
#include "runtime/train/agreed_kernel_set.h"

namespace leasehold {

// Collective. The ranks of a job on CPUs agree on one kernel set, as device.cpu_kernels and the
// run's newest state say, and open the library with it. kBadConfig as choose_kernel_set. With
// `may_change` (forks, run.identity = "report") a recorded set that a rank cannot use is given up.
// On other devices nothing is chosen, and the answer is empty.
Result<ChosenKernelSet> open_kernel_set(const JobFile& job, bool may_change,
                                        ProcessGroup& processes, Stream& stream, double timeout_s);

// Local, for commands on one checkpoint. Opens the library with the set that the checkpoint names
// where this machine has it, else with its best; the one that it uses now.
Result<std::string> open_kernel_set_of(const CheckpointInfo& info);

}  // namespace leasehold
