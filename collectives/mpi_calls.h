// Checks the result of every MPI call.
#pragma once

#include <mpi.h>

#include "runtime/base/status.h"

namespace leasehold {

// Returns ok, or kUnavailable with the name of the call and MPI's own message.
Status check_mpi(int returned, const char* call);

// Waits for a request at the start or at the end, without blocking in MPI.
Status wait_for_request(MPI_Request* request, const char* call, double limit_s);

}  // namespace leasehold
