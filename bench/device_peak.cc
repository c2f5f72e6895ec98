#include "bench/device_peak.h"

namespace leasehold {

namespace {

struct Row {
  const char* name;  // as drivers write it, or its beginning
  DevicePeak peak;
};

// The first that fits counts: longer names before their beginnings.
//
// Sources, all by NVIDIA: A100 datasheet (nvidia-a100-datasheet-us-nvidia-1758950-r4); H100 Tensor
// Core GPU Architecture whitepaper, table 3, for SXM5 to four digits, and H100 datasheet for PCIe
// and NVL; H200 datasheet, whose processor is the H100's; GH200 datasheet; DGX B200 and HGX B300
// datasheets over their 8 GPUs; GB200 and GB300 NVL72 datasheets over their 72. From Hopper on the
// datasheets' figures "with sparsity" are halved.
constexpr Row kRows[] = {
    {"A100-SXM4-40GB", {"A100 SXM 40 GB", 312, 19.5, 1555}},
    {"A100-SXM4-80GB", {"A100 SXM 80 GB", 312, 19.5, 2039}},
    {"A100-PCIE-40GB", {"A100 PCIe 40 GB", 312, 19.5, 1555}},
    {"A100 80GB PCIe", {"A100 PCIe 80 GB", 312, 19.5, 1935}},
    {"H100 PCIe", {"H100 PCIe", 756.5, 51.2, 2000}},
    {"H100 NVL", {"H100 NVL", 835.5, 60, 3900}},
    {"H100 80GB HBM3", {"H100 SXM", 989.4, 66.9, 3350}},
    {"H200 NVL", {"H200 NVL", 835.5, 60, 4800}},
    {"GH200 480GB", {"GH200, 96 GB of HBM3", 989.4, 66.9, 4000}},
    {"GH200 144G", {"GH200, 144 GB of HBM3e", 989.4, 66.9, 4900}},
    {"NVIDIA H200", {"H200 SXM", 989.4, 66.9, 4800}},
    {"GB200", {"GB200", 2500, 80, 8000}},
    {"GB300", {"GB300", 2500, 80, 8000}},
    {"B200", {"B200", 2250, 75, 7700}},
    {"B300", {"B300", 2250, 75, 7700}},
};

}  // namespace

std::optional<DevicePeak> find_device_peak(const std::string& device_name) {
  for (const Row& row : kRows) {
    if (device_name.find(row.name) != std::string::npos) return row.peak;
  }
  return std::nullopt;
}

}  // namespace leasehold
