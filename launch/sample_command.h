// Implements `leasehold-train sample CHECKPOINT --prompt TEXT`: continues a text with a model.
#pragma once

#include <string>

#include "launch/generate.h"
#include "runtime/base/status.h"

namespace leasehold {

struct SampleCommand {
  std::string checkpoint;
  std::string prompt;
  std::string prompt_file;           // instead of prompt; "-": standard input
  std::string begin_token = "none";  // put before the prompt, not shown: its text, or "own"
  Generation generation;
  std::string device = "cpu";  // or "cuda": the first GPU
  int num_threads = 1;         // for "cpu" only
};

// Prints the prompt and its continuation to stdout as it is generated, until a token that ends a
// text is drawn, which is not shown. Runs on one rank.
Status run_sample(const SampleCommand& command);

}  // namespace leasehold
