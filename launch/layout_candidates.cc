#include "launch/layout_candidates.h"

#include <algorithm>

namespace leasehold {

namespace {

constexpr int64_t kLastStageWithWholeWeights = 2;

bool can_run(JobFile job, const Layout& layout) {
  job.parallel.pipeline = layout.pipeline;
  job.parallel.chunks = layout.chunks;
  job.parallel.zero = layout.zero;
  const int64_t copy = job.parallel.tensor * layout.pipeline;
  const int64_t copies = std::max<int64_t>(1, (job.launch.min_world + copy - 1) / copy);
  return validate(job, static_cast<int>(copies * copy)).ok();
}

}  // namespace

Layout own_layout(const ParallelSection& parallel) {
  return {.pipeline = parallel.pipeline, .chunks = parallel.chunks, .zero = parallel.zero};
}

std::vector<Layout> layout_candidates(const JobFile& job) {
  const Layout own = own_layout(job.parallel);
  std::vector<Layout> candidates = {own};
  const auto consider = [&](const Layout& layout) {
    if (layout != own && can_run(job, layout)) candidates.push_back(layout);
  };
  const auto consider_pipelines = [&](int64_t first_zero, int64_t last_zero) {
    for (int64_t pipeline = own.pipeline; pipeline <= job.model.layers; ++pipeline) {
      if (job.model.layers % pipeline != 0) continue;
      const int64_t chunks = pipeline == own.pipeline ? own.chunks : 1;
      for (int64_t zero = first_zero; zero <= last_zero; ++zero) {
        consider({.pipeline = pipeline, .chunks = chunks, .zero = zero});
      }
    }
  };
  consider_pipelines(own.zero, kLastStageWithWholeWeights);
  consider_pipelines(kLastStageWithWholeWeights + 1, kLastStageWithWholeWeights + 1);
  return candidates;
}

std::vector<std::string> layout_overrides(const Layout& layout) {
  return {fmt::format("parallel.pipeline={}", layout.pipeline),
          fmt::format("parallel.chunks={}", layout.chunks),
          fmt::format("parallel.zero={}", layout.zero)};
}

}  // namespace leasehold
