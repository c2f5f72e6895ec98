// The environment variables by which a batch system tells a program about its allocation. A
// launcher or an MPI library that finds them uses the allocation's hosts and ranks instead of the
// calendar's.
#pragma once

#include <string_view>

namespace leasehold {

// Returns true for variables of Slurm, PBS, LSF, Grid Engine, Flux, Cobalt and PALS, and for
// variables that give a process its rank in another MPI job.
bool is_batch_variable(std::string_view name);

// Removes these variables from this process's environment, and so from all programs that it starts.
// Must be called before the process has threads.
void forget_batch_system();

}  // namespace leasehold
