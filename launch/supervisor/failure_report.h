// What the output of a generation that failed says: which rank was the first to fail, which hosts
// mpirun lost, and the program's own words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/leases/planner.h"

namespace leasehold {

struct FailureReport {
  std::optional<int64_t> rank;    // that ended first, by mpirun's word
  std::vector<std::string> lost;  // hosts that mpirun or its agent could not reach
  std::string message;            // the last words of leasehold-train, or of mpirun; may be empty
};

// Reads the end of output.log, as Open MPI 4.1 and leasehold-train write it. Pure; any text will
// do.
FailureReport read_failure(std::string_view output);

// The host that runs `rank`: ranks are dealt in the order of the hosts. "" when there is none such.
std::string host_of_rank(const std::vector<PlannedHost>& hosts, int64_t rank);

}  // namespace leasehold
