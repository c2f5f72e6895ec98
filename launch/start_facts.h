// Lists the facts that the ranks of a run compare before the first step
// (runtime/train/agreed_start.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/job_file.h"
#include "runtime/train/agreed_start.h"

namespace leasehold {

struct StartInputs {
  std::string version;  // of the program
  bool fork = false;
  std::optional<int64_t> stop_after;
  std::string train_digest;
  std::string validation_digest;  // "": no validation data
};

// Returns the program's version, the digests of the data and of the tokenizer, and every value of
// the job and of the command line that ranks act on together. Leaves out paths, which may differ
// between nodes, keys that a rank decides for itself (device.threads), and keys of the supervisor.
// Pure.
std::vector<StartFact> start_facts(const JobFile& job, const StartInputs& inputs);

}  // namespace leasehold
