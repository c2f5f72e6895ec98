// On what a benchmark computes: options, the device, and its peak.
#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "launch/compose.h"

namespace leasehold {

struct ComputeOptions {
  DeviceSection section;
  double peak_tflops = 0;  // 0: as published of the part
};

// --device, --precision, --threads, --peak-tflops.
void add_compute_options(CLI::App& app, ComputeOptions& options);

// What products in the options' precision can reach at most.
struct Peak {
  double flops_per_s = 0;  // 0: unknown
  std::string source;      // of the figure, or why there is none
};
Peak find_peak(const ComputeOptions& options, const std::string& device_name);

// The device of a rank, as the trainer makes it. kBadConfig also for threads where there is no CPU
// to use them.
Result<ComputeDevice> make_compute(const ComputeOptions& options, const NodePlace& place);

}  // namespace leasehold
