// `leasehold-train sample CHECKPOINT --prompt TEXT`: text that the model goes on with.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/base/random.h"
#include "runtime/base/status.h"

namespace leasehold {

struct SampleCommand {
  std::string checkpoint;
  std::string prompt;
  int64_t tokens = 256;      // to generate
  double temperature = 0.8;  // 0: always the likeliest
  int64_t top_k = 0;         // 0: all
  int64_t seed = 0;
  std::string device = "cpu";  // or "cuda": the first GPU
  int num_threads = 1;         // of "cpu"
};

// One rank. Prints the prompt and what follows to stdout, as it comes.
Status run_sample(const SampleCommand& command);

// The next token from its logits: softmax(logits / temperature) over the top_k likeliest, drawn
// with `uniform` in [0, 1). Pure; ties go to the smaller id.
int32_t choose_token(std::span<const float> logits, double temperature, int64_t top_k,
                     double uniform);

}  // namespace leasehold
