// generations/N/outcome.json: how mpirun ended, as its keeper wrote it down.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

struct Outcome {
  std::optional<int> exit_code;  // exactly one of these two
  std::optional<int> signal;
  double begin_s = 0;  // unix time
  double end_s = 0;

  bool operator==(const Outcome&) const = default;
};

// "exit code 70", "signal 9"
std::string describe(const Outcome& outcome);

std::string encode_outcome(const Outcome& outcome);
// Strict (fuzzed): kBadData, naming `file`.
Result<Outcome> parse_outcome(std::string_view text, const std::string& file);

}  // namespace leasehold
