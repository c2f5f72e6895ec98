// Runs GoogleTest under mpirun: every rank runs every test, in the same order.
#pragma once

#include "collectives/mpi.h"

namespace leasehold {

// Creates the runtime, runs the tests and finalizes. Returns the program's exit code. A rank with
// failures leaves at once.
int run_mpi_tests(int argc, char** argv, const MpiOptions& options);

// Returns the runtime. Only for use in tests.
MpiRuntime& test_runtime();

}  // namespace leasehold
