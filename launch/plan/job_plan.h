// Plans a job on given hardware before it runs: the step of every layout that it could
// train in. Pure; memory is asked of leasehold-train by the caller.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/job_file.h"
#include "launch/leases/layout.h"
#include "launch/plan/calibration.h"
#include "launch/plan/step_time.h"

namespace leasehold {

// A layout of a job with its tensor degree, which a run keeps for ever.
struct JobLayout {
  int64_t tensor = 1;
  Layout layout;

  bool operator==(const JobLayout&) const = default;
  bool operator<(const JobLayout& other) const {
    return std::tie(tensor, layout) < std::tie(other.tensor, other.layout);
  }
};

// Returns "tensor 2, pipeline 4, ZeRO 1".
std::string in_words(const JobLayout& layout);
JobLayout own_job_layout(const JobFile& job);
// Returns the job in another layout.
JobFile with_layout(JobFile job, const JobLayout& layout);

// A layout that the job may train in, and its step.
struct PlannedLayout {
  JobLayout layout;
  int64_t ranks = 1;  // that train; the rest of the world has nothing to do
  StepTime time;
  Expectation step;
};

// A layout that the job cannot train in, and why.
struct RefusedLayout {
  JobLayout layout;
  std::string why;
};

struct JobPlan {
  std::vector<PlannedLayout> layouts;  // fastest first
  std::vector<RefusedLayout> refused;
};

// Returns the figures of one rank: those of one thread of a CPU times device.threads.
Hardware hardware_of_rank(const JobFile& job, const Hardware& hardware);

// Plans the step of `job` in its own layout on `world` ranks: the model's terms with what Leasehold
// does (products and attention by its own kernels, tensor exchanges that do not overlap, fp32
// gradients). kBadConfig when the hardware lacks a figure. Wants a completed job that is valid on
// `world`.
Result<PlannedLayout> plan_layout(const JobFile& job, const Hardware& hardware, int64_t world);

// Plans every layout of tensor degrees up to a domain of fast links, pipeline depths and chunks
// that divide the layers, and stages of ZeRO. Fails as plan_layout, and with kBadConfig when the
// job fits into none.
Result<JobPlan> plan_job(const JobFile& job, const Hardware& hardware, int64_t world);

}  // namespace leasehold
