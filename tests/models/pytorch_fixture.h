// Twenty training steps of tiny models, computed by PyTorch (make_pytorch_fixture.py writes the
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
  // (sequences, T, vocab), of the first step's windows with the initial weights.
  std::vector<double> logits;
  Run float64;
  Run float32;
};

// Reads the file "pytorch_NAME". Throws if it cannot be read or does not describe
// describe_parameters(model).
PytorchFixture read_pytorch_fixture(const std::string& name);

}  // namespace leasehold
