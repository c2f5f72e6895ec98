// Whose fault the end of a generation is: of some hosts, which are left out, or of the job, which
// stops. A code alone does not tell: the same "no such file" is a job file's misprint, or a mount
// that one host lacks. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/supervisor/observation.h"
#include "launch/supervisor/state.h"

namespace leasehold {

// An end with which leasehold-train says that it cannot go on, or a shell that it cannot start it.
bool may_be_a_hosts_fault(int exit_code);

struct HostFault {
  std::vector<std::string> hosts;  // to leave out; never empty
  std::string name;                // the same for equal faults of different hosts
};

// Returns the hosts that a generation's end with `exit_code` and `reason` is the fault of; none
// when it is the job's:
//   - leasehold-train names no ranks, so that it is everybody's, or nobody can be named;
//   - two hosts or more took part, and all of them have it;
//   - every host that a lease gives us now has it;
//   - it came from one host after the other (same_failures_to_stop of them) without a step between,
//     and no other host is known to have passed where these failed.
std::optional<HostFault> find_host_fault(const SupervisorState& state,
                                         const RunningGeneration& running, const Observation& seen,
                                         const SupervisorLimits& limits, int exit_code,
                                         const std::string& reason);

}  // namespace leasehold
