#include "runtime/train/batch_buffers.h"

#include <algorithm>

namespace leasehold {

BatchBuffers::BatchBuffers(int64_t num_microbatches, int64_t B, int64_t T, Arenas& arenas)
    : B_(B), T_(T) {
  const Shape tokens{num_microbatches, 2, B, T};
  host_ = arenas.staging.allocate(DType::kI32, tokens);
  device_ = arenas.batch.allocate(DType::kI32, tokens);
  losses_ = arenas.batch.allocate(DType::kF64, Shape{num_microbatches});
  host_losses_ = arenas.staging.allocate(DType::kF64, Shape{num_microbatches});
}

std::span<int32_t> BatchBuffers::row(Tensor rows, int64_t i, int64_t b) const {
  return {rows.as<int32_t>() + (i * 2 * B_ + b) * T_, static_cast<size_t>(T_)};
}

Status BatchBuffers::load_samples(int64_t i, const WindowLoader& loader, uint64_t first_sample) {
  for (int64_t b = 0; b < B_; ++b) {
    LEASEHOLD_RETURN_IF_ERROR(loader.sample(first_sample + static_cast<uint64_t>(b),
                                            row(host_, i, b), row(host_, i, B_ + b)));
  }
  return ok_status();
}

Status BatchBuffers::load_windows(int64_t i, const WindowLoader& loader, int64_t first_window) {
  for (int64_t b = 0; b < B_; ++b) {
    if (first_window + b < loader.num_windows()) {
      LEASEHOLD_RETURN_IF_ERROR(
          loader.window(first_window + b, row(host_, i, b), row(host_, i, B_ + b)));
    } else {
      std::ranges::fill(row(host_, i, b), 0);
      std::ranges::fill(row(host_, i, B_ + b), -1);
    }
  }
  return ok_status();
}

void BatchBuffers::clear(int64_t i) {
  for (int64_t b = 0; b < 2 * B_; ++b) std::ranges::fill(row(host_, i, b), 0);
}

void BatchBuffers::upload(Stream& stream) {
  stream.copy(device_.data(), host_.data(), host_.size_bytes());
}

void BatchBuffers::download_losses(Stream& stream) {
  stream.copy(host_losses_.data(), losses_.data(), losses_.size_bytes());
}

Microbatch BatchBuffers::microbatch(int64_t i) const {
  const Tensor both = device_.rows(i, 1).reshape(Shape{2, B_, T_});
  Microbatch microbatch;
  microbatch.tokens = both.rows(0, 1).reshape(Shape{B_, T_});
  microbatch.targets = both.rows(1, 1).reshape(Shape{B_, T_});
  microbatch.loss = losses_.flat(i, 1);
  microbatch.num_targets = B_ * T_;
  return microbatch;
}

}  // namespace leasehold
