// The variables by which a batch system tells a program about its allocation. A launcher or an MPI
// library that finds them takes the allocation's hosts and ranks instead of the calendar's.
#pragma once

#include <string_view>

namespace leasehold {

// Returns true for variables of Slurm, PBS, LSF, Grid Engine, Flux, Cobalt and PALS, and for those
// that tell a process which rank of another MPI job it is.
bool is_batch_variable(std::string_view name);

// Removes them from this process's environment, and so from that of all programs that it starts.
// Before the process has threads.
void forget_batch_system();

}  // namespace leasehold
