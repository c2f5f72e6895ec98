// What vendors publish of the parts that Leasehold is measured on.
#pragma once

#include <optional>
#include <string>

namespace leasehold {

// Of one GPU, dense (datasheets of newer parts count products with half of their factors left out,
// which is twice as much), at boost clock.
struct DevicePeak {
  const char* part;        // "H100 SXM"
  double bf16_tflops;      // tensor cores, fp32 accumulation
  double fp32_tflops;      // without tensor cores, hence without TF32
  double memory_gb_per_s;  // 1e9 bytes
};

// By the name that the driver gives the device ("NVIDIA H100 80GB HBM3"), which may stand in a
// longer text. nullopt for a part that the table does not know.
std::optional<DevicePeak> find_device_peak(const std::string& device_name);

}  // namespace leasehold
