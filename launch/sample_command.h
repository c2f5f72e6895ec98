// `leasehold-train sample CHECKPOINT --prompt TEXT`: text that the model goes on with.
#pragma once

#include <string>

#include "launch/generate.h"
#include "runtime/base/status.h"

namespace leasehold {

struct SampleCommand {
  std::string checkpoint;
  std::string prompt;
  std::string prompt_file;           // instead of prompt; "-": standard input
  std::string begin_token = "none";  // before the prompt, not shown: its text, or "own"
  Generation generation;
  std::string device = "cpu";  // or "cuda": the first GPU
  int num_threads = 1;         // of "cpu"
};

// Prints the prompt and what follows to stdout, as it comes, until a token that ends a text is
// drawn, which is not shown. One rank.
Status run_sample(const SampleCommand& command);

}  // namespace leasehold
