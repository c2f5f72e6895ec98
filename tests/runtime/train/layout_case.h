// A layout as a case of a test: the small job in it, and what comes of training that.
#pragma once

#include <string>
#include <vector>

#include "collectives/threads.h"
#include "tests/support/small_job.h"

namespace leasehold {

struct LayoutCase {
  int data = 1;
  int pipeline = 1;
  int chunks = 1;
  int zero = 0;
  PipelineSchedule schedule = PipelineSchedule::kOneForwardOneBackward;
  int64_t microbatches = 8;
  int tensor = 1;
  Recompute recompute = Recompute::kNone;
  bool is_llama = false;
  DType precision = DType::kF32;

  int num_ranks() const { return data * pipeline * tensor; }
  // One rank, or one group of tensor ranks.
  LayoutCase plain() const {
    return {.microbatches = microbatches,
            .tensor = tensor,
            .is_llama = is_llama,
            .precision = precision};
  }
};

// "Gpt2D2P1T1C1Z3M8", "LlamaBF16D1P2T1C1Z0M8"
std::string name_of(const LayoutCase& layout);

// Four layers of either family, M = L, and a vocabulary that tensor ranks can share.
SmallJob job_of(const LayoutCase& layout);

struct LayoutTrace {
  std::string state;
  std::string validation;
  std::vector<double> losses, norms;
  bool operator==(const LayoutTrace&) const = default;
};

// Trains the job for some steps on ranks that are threads, and evaluates it; what rank 0 saw.
LayoutTrace train_layout(const SmallJob& job, const std::string& token_path, int ranks,
                         int64_t steps = 4, const ThreadWorldOptions& world = {});

}  // namespace leasehold
