// The tokens of one rank's microbatches: filled on the host, uploaded once a step.
#pragma once

#include <cstdint>

#include "runtime/data/loader.h"
#include "runtime/module/module.h"
#include "runtime/train/arenas.h"

namespace leasehold {

class BatchBuffers {
 public:
  BatchBuffers(int64_t num_microbatches, int64_t B, int64_t T, Arenas& arenas);

  // Row b of microbatch i becomes training sample `first_sample` + b. Host, blocking.
  Status load_samples(int64_t i, const WindowLoader& loader, uint64_t first_sample);
  // Row b becomes window `first_window` + b as it lies in the file; rows past the last window get
  // targets -1.
  Status load_windows(int64_t i, const WindowLoader& loader, int64_t first_window);
  // Every row zero tokens: what a rank that could not read computes with, so that its peers do not
  // wait in vain.
  void clear(int64_t i);

  // Enqueued: host to device, and losses back.
  void upload(Stream& stream);
  void download_losses(Stream& stream);

  Microbatch microbatch(int64_t i) const;
  // After download_losses and a synchronize.
  double loss_sum(int64_t i) const { return host_losses_.as<double>()[i]; }

 private:
  std::span<int32_t> row(Tensor rows, int64_t i, int64_t b) const;

  int64_t B_, T_;
  Tensor host_;         // (num_microbatches, 2, B, T) i32: tokens, targets
  Tensor device_;       // the same
  Tensor losses_;       // (num_microbatches) f64
  Tensor host_losses_;  // the same
};

}  // namespace leasehold
