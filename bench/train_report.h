// What bench/train_step is asked for, what it measures, and what it says about it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/compute.h"
#include "bench/profiling_kernels.h"
#include "models/describe.h"
#include "runtime/train/engine.h"

namespace leasehold {

struct TrainStepSettings {
  ModelConfig model{.layers = 12, .hidden = 768, .heads = 12, .sequence = 64, .vocab = 50257};
  ComputeOptions compute;
  int64_t batch = 4;
  int64_t microbatch = 0;
  int64_t lanes = 0;
  int zero = 1;
  int64_t warmup = 1;
  int64_t steps = 5;
  bool floor = true;
  bool profile = false;
  std::string reduction = "canonical";
  std::string recompute = "none";
  std::string json_path;
};

struct TrainStepMeasured {
  std::vector<double> step_s, floor_s;  // of each step, of each time of the products alone
  double floor_flops = 0;               // of all ranks
  double profiled_step_s = 0;
  std::optional<Profile> profile;
  double loss = 0;              // of the last step
  Communication communication;  // of the steps in step_s, this rank's
  // This rank's.
  std::string device_name, arithmetic_class;
  DeviceKind device_kind = DeviceKind::kCpu;
  std::vector<ArenaSize> memory;
};

// Prints lines for people and returns the same for scripts.
nlohmann::ordered_json report(const TrainStepSettings& settings, int ranks,
                              const TrainStepMeasured& measured);

}  // namespace leasehold
