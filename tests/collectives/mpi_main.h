// GoogleTest under mpirun: every rank runs every test, in the same order.
#pragma once

#include "collectives/mpi.h"

namespace leasehold {

// Creates the runtime, runs the tests and finalizes; the program's exit code. A rank with failures
// leaves at once.
int run_mpi_tests(int argc, char** argv, const MpiOptions& options);

// Within tests.
MpiRuntime& test_runtime();

}  // namespace leasehold
