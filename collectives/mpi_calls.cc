#include "collectives/mpi_calls.h"

#include <chrono>
#include <thread>

#include "runtime/base/clock.h"

namespace leasehold {

Status check_mpi(int returned, const char* call) {
  if (returned == MPI_SUCCESS) return ok_status();
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  (void)MPI_Error_string(returned, text, &length);
  return error(Code::kUnavailable, "{}: {}", call, text);
}

Status wait_for_request(MPI_Request* request, const char* call, double limit_s) {
  const Deadline deadline = Deadline::after_s(limit_s);
  while (true) {
    int done = 0;
    LEASEHOLD_RETURN_IF_ERROR(check_mpi(MPI_Test(request, &done, MPI_STATUS_IGNORE), call));
    if (done != 0) return ok_status();
    if (deadline.passed()) {
      return error(Code::kUnavailable, "{}: not all ranks took part within {} s", call, limit_s);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

}  // namespace leasehold
