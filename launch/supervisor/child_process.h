// A program that the supervisor runs for an answer, without waiting for it: in a process group of
// its own, with a deadline, what it prints caught.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct ChildOutcome {
  std::optional<int> code;  // as a shell counts: 128 + signal; none: killed, the deadline passed
  std::string output;       // the first kMaxOutputBytes that it printed, stderr included
};

class ChildProcess {
 public:
  static constexpr size_t kMaxOutputBytes = size_t{64} << 20;

  // `arguments[0]` is looked for in PATH; `environment` is added to this process's. stdin is empty.
  // kMissingInput when there is no such program.
  static Result<std::unique_ptr<ChildProcess>> start(
      std::vector<std::string> arguments,
      const std::vector<std::pair<std::string, std::string>>& environment, double deadline_s);
  // Kills what still runs, with all that it started.
  virtual ~ChildProcess() = default;
  // Never waits; once.
  virtual std::optional<ChildOutcome> poll() = 0;
};

}  // namespace leasehold
