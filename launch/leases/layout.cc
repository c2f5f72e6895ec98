#include "launch/leases/layout.h"

#include <fmt/format.h>

#include "runtime/base/check.h"

namespace leasehold {

std::string in_words(const Layout& layout) {
  const std::string chunks = layout.chunks == 1 ? "" : fmt::format(" x {} chunks", layout.chunks);
  return fmt::format("pipeline {}{}, ZeRO {}", layout.pipeline, chunks, layout.zero);
}

std::string memory_in_words(int64_t bytes) {
  return fmt::format("{:.3g} GiB", static_cast<double>(bytes) / (int64_t{1} << 30));
}

double relative_step_time(const Layout& layout, int64_t lanes, int64_t copies) {
  LEASEHOLD_CHECK(copies > 0, "{} copies of the model", copies);
  const auto stages = static_cast<double>(layout.pipeline);
  const int64_t lanes_of_slowest = (lanes + copies - 1) / copies;
  return (static_cast<double>(lanes_of_slowest) +
          (stages - 1) / static_cast<double>(layout.chunks)) /
         stages;
}

}  // namespace leasehold
