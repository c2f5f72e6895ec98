// `leasehold-train evaluate CHECKPOINT --data FILE`: mean loss over the consecutive non-overlapping
// windows of a file.
#pragma once

#include <string>

#include "runtime/base/status.h"

namespace leasehold {

struct EvaluateCommand {
  std::string checkpoint;
  std::string data;
  std::string device = "cpu";  // or "cuda": the first GPU
  int num_threads = 1;         // of "cpu"
  int64_t batch = 8;           // windows at a time
};

// One rank. Prints one JSON object to stdout: checkpoint, step, data, loss (nats per token),
// tokens.
Status run_evaluate(const EvaluateCommand& command);

}  // namespace leasehold
