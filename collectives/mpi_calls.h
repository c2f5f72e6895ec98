// Every MPI call's return, checked.
#pragma once

#include <mpi.h>

#include "runtime/base/status.h"

namespace leasehold {

// ok, or kUnavailable with the call's name and MPI's own words.
Status check_mpi(int returned, const char* call);

// Waits for a request at start-up or at the end, without blocking in MPI.
Status wait_for_request(MPI_Request* request, const char* call, double limit_s);

}  // namespace leasehold
