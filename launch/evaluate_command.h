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
  int64_t sequence = 0;        // tokens of a window; 0: see evaluation_sequence
};

// Returns the tokens of a window over a file of `num_tokens` for a model of `positions`: `asked`,
// or where that is 0 the model's own number, or all of a file that is shorter. Pure. kUsage for
// more than the model has, kBadData for a file without one token and its successor.
Result<int64_t> evaluation_sequence(int64_t asked, int64_t positions, int64_t num_tokens,
                                    const std::string& file);

// Prints one JSON object to stdout: checkpoint, step, data, loss (nats per token), tokens,
// sequence, arithmetic; on stderr a line where windows are shorter because the file is. One rank.
Status run_evaluate(const EvaluateCommand& command);

}  // namespace leasehold
