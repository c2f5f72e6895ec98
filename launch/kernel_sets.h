// Opens the kernel set of OpenBLAS that a command computes with, before any kernels are made.
#pragma once

#include <string>

#include "collectives/bootstrap.h"
#include "launch/job_file.h"
#include "runtime/train/agreed_kernel_set.h"

namespace leasehold {

// Agrees among the ranks of a job on CPUs on one kernel set, by device.cpu_kernels and the run's
// newest state, and opens the library with it. With `may_change` (forks, run.identity = "report") a
// recorded set that a rank cannot use is given up. On other devices chooses nothing and returns an
// empty set. Collective. Fails with kBadConfig as choose_kernel_set does.
Result<ChosenKernelSet> open_kernel_set(const JobFile& job, bool may_change,
                                        ProcessGroup& processes, Stream& stream, double timeout_s);

// Opens the library with the checkpoint's kernel set if this machine has it, otherwise with the
// machine's best one. Returns the set that the library now uses. Local, for commands on one
// checkpoint.
Result<std::string> open_kernel_set_of(const CheckpointInfo& info);

}  // namespace leasehold
