// Implements `leasehold-train evaluate CHECKPOINT --data FILE`: the mean loss over the consecutive,
// non-overlapping windows of a file.
#pragma once

#include <string>

#include "runtime/base/status.h"

namespace leasehold {

struct EvaluateCommand {
  std::string checkpoint;
  std::string data;
  std::string device = "cpu";  // or "cuda": the first GPU
  int num_threads = 1;         // for "cpu" only
  int64_t batch = 8;           // windows at a time
  int64_t sequence = 0;        // tokens in a window; 0: see evaluation_sequence
};

// Returns the number of tokens in a window over a file of `num_tokens`, for a model of `positions`:
// `asked`, or if that is 0 the model's positions, or fewer if the file is shorter. Fails with
// kUsage if `asked` exceeds the model's positions, and with kBadData if the file does not hold one
// window and the token after it. Pure.
Result<int64_t> evaluation_sequence(int64_t asked, int64_t positions, int64_t num_tokens,
                                    const std::string& file);

// Prints one JSON object to stdout: checkpoint, step, data, loss (nats per token), tokens,
// sequence, arithmetic. Prints a line to stderr if windows are shorter than the model's because the
// file is. Runs on one rank.
Status run_evaluate(const EvaluateCommand& command);

}  // namespace leasehold
