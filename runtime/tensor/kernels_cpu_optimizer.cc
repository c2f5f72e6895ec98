#include <algorithm>
#include <cmath>

#include "runtime/tensor/kernels_cpu.h"
#include "runtime/tensor/kernels_cpu_elements.h"
#include "runtime/tensor/kernels_cpu_math.h"

namespace leasehold::cpu {

namespace {

constexpr int64_t kTaskElements = 16384;

int64_t ceil_divide(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

// What a step multiplies by, rounded once. As PyTorch: the decay is a factor 1 - lr weight_decay,
// the root of v is divided by the root of correction2, and lr / correction1 is one number.
struct Factors {
  explicit Factors(const AdamWStep& step)
      : gradient_scale(static_cast<float>(step.gradient_scale)),
        clip_scale(static_cast<float>(step.clip_scale)),
        beta1(static_cast<float>(step.beta1)),
        rest1(static_cast<float>(1.0 - step.beta1)),
        beta2(static_cast<float>(step.beta2)),
        rest2(static_cast<float>(1.0 - step.beta2)),
        decay(static_cast<float>(1.0 - step.lr * step.weight_decay)),
        step_size(static_cast<float>(step.lr / step.correction1)),
        inverse_root2(static_cast<float>(1.0 / std::sqrt(step.correction2))),
        eps(static_cast<float>(step.eps)) {}

  float gradient_scale, clip_scale, beta1, rest1, beta2, rest2;
  float decay, step_size, inverse_root2, eps;
};

// `factors` by value: stores through float pointers might change a referenced one.
void step_block(const Factors factors, int64_t count, float* parameter, const float* gradient,
                float* m, float* v) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * factors.gradient_scale * factors.clip_scale;
    m[i] = factors.beta1 * m[i] + factors.rest1 * g;
    v[i] = factors.beta2 * v[i] + factors.rest2 * (g * g);
    const float root = std::sqrt(v[i]) * factors.inverse_root2 + factors.eps;
    parameter[i] = parameter[i] * factors.decay - factors.step_size * m[i] / root;
  }
}

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

// One pass over the arrays.
void run(ThreadPool& pool, const AdamW& work) {
  const Factors factors(work.step);
  pool.run(ceil_divide(work.count, kTaskElements), [&](int64_t task, int) {
    const int64_t begin = task * kTaskElements;
    const int64_t count = std::min(kTaskElements, work.count - begin);
    const float* parameter = work.parameter + begin;
    step_block(factors, count, work.parameter + begin, work.gradient + begin, work.m + begin,
               work.v + begin);
    if (work.working == nullptr) return;
    Bf16* working = work.working + begin;
    for (int64_t i = 0; i < count; ++i) working[i] = rounded<Bf16>(parameter[i]);
  });
}

}  // namespace leasehold::cpu
