#include <algorithm>
#include <cmath>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

constexpr int64_t kTaskElements = 16384;

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

}  // namespace

void run(ThreadPool& pool, const SquaredNorms& work) {
  constexpr int64_t kChunk = Kernels::kChunk;
  const int64_t num_chunks = ceil_divide(work.count, kChunk);
  constexpr int64_t kTaskChunks = 8;
  pool.run(ceil_divide(num_chunks, kTaskChunks), [&](int64_t task, int) {
    const int64_t end = std::min((task + 1) * kTaskChunks, num_chunks);
    for (int64_t chunk = task * kTaskChunks; chunk < end; ++chunk) {
      const float* x = work.x + chunk * kChunk;
      const float scale = work.scale;
      work.sums[chunk] =
          lane_sum<double>(std::min(kChunk, work.count - chunk * kChunk), [&](int64_t i) {
            const double scaled = x[i] * scale;
            return scaled * scaled;
          });
    }
  });
}

// One pass over the four arrays. As PyTorch: the decay is a factor 1 - lr weight_decay, the root is
// divided by the root of correction2, and lr / correction1 is one number.
void run(ThreadPool& pool, const AdamW& work) {
  const AdamWStep& step = work.step;
  const auto gradient_scale = static_cast<float>(step.gradient_scale);
  const auto clip_scale = static_cast<float>(step.clip_scale);
  const auto beta1 = static_cast<float>(step.beta1);
  const auto beta2 = static_cast<float>(step.beta2);
  const auto rest1 = static_cast<float>(1.0 - step.beta1);
  const auto rest2 = static_cast<float>(1.0 - step.beta2);
  const auto decay = static_cast<float>(1.0 - step.lr * step.weight_decay);
  const auto step_size = static_cast<float>(step.lr / step.correction1);
  const auto inverse_root2 = static_cast<float>(1.0 / std::sqrt(step.correction2));
  const auto eps = static_cast<float>(step.eps);
  pool.run(ceil_divide(work.count, kTaskElements), [&](int64_t task, int) {
    const int64_t begin = task * kTaskElements;
    const int64_t count = std::min(kTaskElements, work.count - begin);
    float* __restrict parameter = work.parameter + begin;
    const float* __restrict gradient = work.gradient + begin;
    float* __restrict m = work.m + begin;
    float* __restrict v = work.v + begin;
    for (int64_t i = 0; i < count; ++i) {
      const float g = gradient[i] * gradient_scale * clip_scale;
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * (g * g);
      const float root = std::sqrt(v[i]) * inverse_root2 + eps;
      parameter[i] = parameter[i] * decay - step_size * m[i] / root;
    }
  });
}

}  // namespace leasehold::cpu
