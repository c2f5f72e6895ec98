#include "runtime/tensor/cuda/column_sums.h"
#include "runtime/tensor/cuda/norm.h"
#include "runtime/tensor/cuda/rows.h"

namespace leasehold::cuda {

namespace {

// Gradients of the gains are summed in shared memory up to this size, in global memory beyond.
constexpr int64_t kMostSharedBytes = 96 << 10;

int64_t num_gains(bool has_bias) { return has_bias ? 2 : 1; }

// Where a block sums the gradient of one gain, (C). Every thread adds to the packs that are its own
// in all rows, so nothing waits. In shared memory the quarters of a pack lie apart, so that
// neighbouring threads do not meet in a bank.
template <int kWidth, bool kShared>
struct GainSums {
  float* sums;
  int64_t num_packs;

  static constexpr int kPiece = kWidth < 4 ? kWidth : 4;
  __device__ float* piece(int64_t pack, int i) const {
    return kShared ? sums + (i * num_packs + pack) * kPiece : sums + pack * kWidth + i * kPiece;
  }
  __device__ void add(int64_t pack, const float (&values)[kWidth]) const {
#pragma unroll
    for (int i = 0; i < kWidth / kPiece; ++i) {
      float total[kPiece];
      load<true>(piece(pack, i), kPiece, total);
#pragma unroll
      for (int j = 0; j < kPiece; ++j) total[j] += values[i * kPiece + j];
      store<true>(piece(pack, i), kPiece, total);
    }
  }
  __device__ void clear(int64_t pack) const {
    const float zeros[kPiece] = {};
#pragma unroll
    for (int i = 0; i < kWidth / kPiece; ++i) store<true>(piece(pack, i), kPiece, zeros);
  }
  // to (C), in order.
  __device__ void write(int64_t pack, float* to) const {
#pragma unroll
    for (int i = 0; i < kWidth / kPiece; ++i) {
      float total[kPiece];
      load<true>(piece(pack, i), kPiece, total);
      store<true>(to + pack * kWidth + i * kPiece, kPiece, total);
    }
  }
};

// With n the normalised row and h = dy weight: dx = rstd (h - mean(h) - n mean(h n)), the mean of h
// only where the row was centred. A block takes `rows` rows, one after the other.
template <typename T, int kWidth, bool kVector, bool kCentred, bool kShared>
__global__ void __launch_bounds__(kMostNormThreads)
    norm_backward_kernel(NormBackward<T> work, int64_t rows) {
  LEASEHOLD_SHARED(shared, float[2 * kWarp]);
  LEASEHOLD_DYNAMIC_SHARED(float, dynamic);
  const int64_t C = work.C;
  const int64_t num_packs = C / kWidth;
  float* partials = work.workspace + blockIdx.x * (kCentred ? 2 : 1) * C;
  float* const gains = kShared ? dynamic : partials;
  const GainSums<kWidth, kShared> dweight{gains, num_packs};
  const GainSums<kWidth, kShared> dbias{gains + C, num_packs};
  for (int64_t pack = threadIdx.x; pack < num_packs; pack += blockDim.x) {
    dweight.clear(pack);
    if constexpr (kCentred) dbias.clear(pack);
  }
  const int64_t begin = blockIdx.x * rows;
  const int64_t end = begin + rows < work.N ? begin + rows : work.N;
  for (int64_t row = begin; row < end; ++row) {
    const float mean = kCentred ? work.mean[row] : 0.0F;
    const float rstd = work.rstd[row];
    // n and h of a pack, and dy.
    const auto read = [&](int64_t i, float(&n)[kWidth], float(&h)[kWidth], float(&dy)[kWidth]) {
      load<kVector>(work.dy + row * C + i, kWidth, dy);
      load<kVector>(work.input + row * C + i, kWidth, n);
      load<kVector>(work.weight + i, kWidth, h);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        n[j] = kCentred ? (n[j] - mean) * rstd : n[j] * rstd;
        h[j] *= dy[j];
      }
    };
    float sums[2] = {};  // of h, of h n
    for (int64_t pack = threadIdx.x; pack < num_packs; pack += blockDim.x) {
      float n[kWidth], h[kWidth], dy[kWidth];
      read(pack * kWidth, n, h, dy);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        if constexpr (kCentred) sums[0] += h[j];
        sums[1] += h[j] * n[j];
      }
    }
    block_reduce<Sum>(sums, shared);
    const float mean_h = sums[0] / static_cast<float>(C);
    const float mean_hn = sums[1] / static_cast<float>(C);
    for (int64_t pack = threadIdx.x; pack < num_packs; pack += blockDim.x) {
      const int64_t i = pack * kWidth;
      float n[kWidth], h[kWidth], dy[kWidth], base[kWidth] = {};
      read(i, n, h, dy);
      if (work.dresidual != nullptr) load<kVector>(work.dresidual + row * C + i, kWidth, base);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        base[j] += rstd * (kCentred ? h[j] - mean_h - n[j] * mean_hn : h[j] - n[j] * mean_hn);
        n[j] *= dy[j];
      }
      store<kVector>(work.dx + row * C + i, kWidth, base);
      dweight.add(pack, n);
      if constexpr (kCentred) dbias.add(pack, dy);
    }
  }
  if constexpr (kShared) {
    for (int64_t pack = threadIdx.x; pack < num_packs; pack += blockDim.x) {
      dweight.write(pack, partials);
      if constexpr (kCentred) dbias.write(pack, partials + C);
    }
  }
}

template <typename T, int kWidth, bool kVector, bool kCentred>
void launch_backward(const NormBackward<T>& work, int64_t rows, cudaStream_t stream) {
  const dim3 grid = grid_of(ceil_divide(work.N, rows));
  const dim3 block(row_threads(work.C / kWidth, kMostNormThreads));
  const int64_t shared_bytes = num_gains(kCentred) * work.C * static_cast<int64_t>(sizeof(float));
  if (shared_bytes > kMostSharedBytes) {
    launch(norm_backward_kernel<T, kWidth, kVector, kCentred, false>, grid, block, 0, stream, work,
           rows);
    return;
  }
  const auto kernel = norm_backward_kernel<T, kWidth, kVector, kCentred, true>;
  constexpr int64_t kAlwaysAllowedBytes = 40 << 10;  // beside what the kernel declares itself
  if (shared_bytes > kAlwaysAllowedBytes) allow_shared_memory(kernel, kMostSharedBytes);
  launch(kernel, grid, block, static_cast<size_t>(shared_bytes), stream, work, rows);
}

}  // namespace

template <typename T>
void norm_backward(const NormBackward<T>& work, cudaStream_t stream) {
  const bool is_centred = work.mean != nullptr;
  const int64_t C = work.C;
  int64_t groups = 0;
  if (work.N > 0) {
    const int64_t rows = norm_group_rows(work.N, C);
    groups = ceil_divide(work.N, rows);
    with_row_access<T>(C, {work.dy, work.input, work.weight, work.dresidual, work.dx},
                       [&](auto width, auto vector) {
                         constexpr int kWidth = decltype(width)::value;
                         constexpr bool kVector = decltype(vector)::value;
                         is_centred
                             ? launch_backward<T, kWidth, kVector, true>(work, rows, stream)
                             : launch_backward<T, kWidth, kVector, false>(work, rows, stream);
                       });
  }
  fold_partials(work.workspace, groups, num_gains(is_centred) * C, work.dweight, C, work.dbias,
                work.accumulate, stream);
}

template void norm_backward(const NormBackward<float>&, cudaStream_t);
template void norm_backward(const NormBackward<__nv_bfloat16>&, cudaStream_t);

}  // namespace leasehold::cuda
