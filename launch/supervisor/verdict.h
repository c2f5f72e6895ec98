// Judges the end of a generation: what it means for the job, and which hosts have to do with it.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/supervisor/host_fault.h"
#include "launch/supervisor/observation.h"
#include "launch/supervisor/state.h"

namespace leasehold {

struct Verdict {
  enum class Kind { kDone, kDrained, kFatal, kHostFault, kFailure };
  Kind kind = Kind::kFailure;
  std::string way;
  std::string reason;
  int exit_code = 0;
  std::optional<HostFault> fault;
  bool excused = false;
};

// Returns what a generation's end is: done, drained, fatal to the job, the fault of hosts, or a
// failure after which another generation may do better.
Verdict judge(const SupervisorState& state, const RunningGeneration& running,
              const Observation& seen, const SupervisorLimits& limits);

// Returns the hosts that have to answer before they are used again.
std::vector<std::string> suspects_of(const RunningGeneration& running, const Observation& seen,
                                     const SupervisorLimits& limits);

// Returns the host that the failure is charged to; "" when none is known. Where ranks left because
// a peer is gone (69) the first to end is not to blame, and whom they name counts where nothing
// else does.
std::string host_to_blame(const RunningGeneration& running, const Observation& seen);

}  // namespace leasehold
