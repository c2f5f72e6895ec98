// What the supervisor does next: a pure function of its state, of what it sees and of the time. It
// says why.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/supervisor/bookkeeping.h"
#include "launch/supervisor/observation.h"
#include "launch/supervisor/state.h"

namespace leasehold {

struct Action {
  enum class Kind {
    kWait,           // until `until_s`, or until something is seen
    kStart,          // a generation on state's and observation's `wanted` hosts
    kDrain,          // record `ending` and tell the agents
    kSignalDrain,    // pass the drain that was asked for on to mpirun as well
    kTakeBackDrain,  // it was not passed on, and there is no reason for it any more
    kKill,           // record `ending` and ask the keeper to end its mpirun
    kKillByForce,    // the keeper does not: end its whole session
    kProbe,          // ask `hosts` whether they answer
    kFinish,         // the supervisor ends with `exit_code`
  };
  Kind kind = Kind::kWait;
  std::string reason;
  double until_s = kNever;              // kWait
  std::vector<std::string> hosts;       // kProbe
  Ending ending;                        // kDrain, kKill
  int exit_code = 0;                    // kFinish
  std::optional<SupervisorEvent> loss;  // kStart: of state that is out of reach, to be told before
};

const char* action_name(Action::Kind kind);

// Returns the end of a job that an operator stops while nothing of it runs: 75 when its newest step
// is in files, or none was made; else 74 where the last save failed, or 69, with which step is in
// files.
Action finish_as_asked(const SupervisorState& state, const std::string& wish);

// To be called after `absorb`, with the same `seen`.
Action next_action(const SupervisorState& state, const Observation& seen,
                   const SupervisorLimits& limits, double now_s);

}  // namespace leasehold
