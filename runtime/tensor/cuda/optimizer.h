// The optimizer's passes over flat state (contracts: runtime/tensor/kernels.h).
#pragma once

#include "runtime/tensor/cuda/dialect.h"

namespace leasehold::cuda {

constexpr int64_t kNormChunk = 4096;  // elements a sum; Kernels::kChunk

// sums (ceil(count / kNormChunk)): per chunk the sum of (x_i * scale)^2.
void squared_norms(const float* x, float scale, double* sums, int64_t count, cudaStream_t stream);

// What an AdamW step multiplies by, each rounded once from double. As PyTorch: the decay is a
// factor 1 - lr weight_decay, the root of v is divided by the root of correction2, and lr /
// correction1 is one number.
struct AdamWFactors {
  float gradient_scale, clip_scale;
  float beta1, rest1;  // rest = 1 - beta
  float beta2, rest2;
  float decay;
  float step_size;
  float inverse_root2;
  float eps;
};
// One pass over `count` elements; `working` may be null.
void adamw(const AdamWFactors& factors, float* parameter, const float* gradient, float* m, float* v,
           __nv_bfloat16* working, int64_t count, cudaStream_t stream);

// The same over many ranges in one launch. They travel in the kernel's arguments, which have room
// for 4 KiB.
struct AdamWRange {
  float* parameter;
  const float* gradient;
  float *m, *v;
  __nv_bfloat16* working;  // null in all of them or in none
  int64_t count;           // above 0
  int32_t first_block = 0;
  bool decays;
  bool aligned = false;
};
struct AdamWRanges {
  static constexpr int kMost = 60;
  AdamWFactors decayed, plain;
  AdamWRange ranges[kMost];
  int32_t count = 0;
  int32_t num_blocks = 0;

  // Returns true when no further one has room.
  bool add(const AdamWRange& range);
};
void adamw(const AdamWRanges& ranges, cudaStream_t stream);

}  // namespace leasehold::cuda
