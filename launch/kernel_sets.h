// The kernel set of OpenBLAS that a command computes by: opened before any kernels are made.
#pragma once

#include <string>

#include "collectives/bootstrap.h"
#include "launch/job_file.h"
#include "runtime/train/agreed_kernel_set.h"

namespace leasehold {

// Agrees among the ranks of a job on CPUs on one kernel set, by device.cpu_kernels and the run's
// newest state, and opens the library with it. Collective. kBadConfig as choose_kernel_set. With
// `may_change` (forks, run.identity = "report") a recorded set that a rank cannot use is given up.
// Chooses nothing on other devices: the answer is empty.
Result<ChosenKernelSet> open_kernel_set(const JobFile& job, bool may_change,
                                        ProcessGroup& processes, Stream& stream, double timeout_s);

// Opens the library with the set that the checkpoint names where this machine has it, else with its
// best one. Returns the set that the library uses now. Local, for commands on one checkpoint.
Result<std::string> open_kernel_set_of(const CheckpointInfo& info);

}  // namespace leasehold
