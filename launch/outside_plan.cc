#include "launch/outside_plan.h"

#include <fmt/format.h>

namespace leasehold {

namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
// The context and the kernels, those of cuBLASLt among them, all of which are loaded at the start.
constexpr int64_t kContextBytes = 900 * kMiB;
// Buffers of NCCL: by default 4 MiB and some for each channel and neighbour in rings and trees; a
// lane has few channels.
constexpr int64_t kAxisBytes = 250 * kMiB;
constexpr int64_t kLaneBytes = 30 * kMiB;

}  // namespace

int64_t outside_plan_bytes(const NcclForecast& communicators) {
  return kContextBytes + communicators.axes * kAxisBytes + communicators.lanes * kLaneBytes;
}

std::string outside_plan_line(const NcclForecast& communicators) {
  const auto in_gib = [](int64_t bytes) {
    return fmt::format("{:.2f}", static_cast<double>(bytes) / static_cast<double>(1024 * kMiB));
  };
  return fmt::format(
      "outside the plan, of each GPU: about {} GiB: the driver's context, kernels and cuBLASLt {}; "
      "NCCL's communicators {} ({} of axes, {} for messages)",
      in_gib(outside_plan_bytes(communicators)), in_gib(kContextBytes),
      in_gib(outside_plan_bytes(communicators) - kContextBytes), communicators.axes,
      communicators.lanes);
}

}  // namespace leasehold
