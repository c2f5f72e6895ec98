// Twenty training steps of tiny models as PyTorch did them (make_pytorch_fixture.py writes the
// files).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/describe.h"
#include "runtime/train/optimizer.h"

namespace leasehold {

struct PytorchFixture {
  struct Run {
    std::vector<double> losses;          // of each step, mean per token
    std::vector<double> gradient_norms;  // before clipping
  };

  ModelConfig model;
  OptimizerOptions optimizer;
  int64_t steps = 0;
  int64_t sequences = 0;                              // per step
  std::map<std::string, std::vector<float>> weights;  // at the start
  // (steps * sequences, T). Each begins with token 0 and its last target is 0.
  std::vector<int32_t> windows;
  std::vector<double> logits;  // of the first step's windows at the start (sequences, T, vocab)
  Run float64;
  Run float32;
};

// Throws when the files cannot be read or do not describe describe_parameters(model).
// `name` is that of the file behind "pytorch_".
PytorchFixture read_pytorch_fixture(const std::string& name);

}  // namespace leasehold
