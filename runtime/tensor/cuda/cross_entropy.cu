#include "runtime/tensor/cuda/cross_entropy.h"
#include "runtime/tensor/cuda/fault.h"
#include "runtime/tensor/cuda/rows.h"

namespace leasehold::cuda {

namespace {

constexpr int kMostThreads = 1024;
constexpr int kLossThreads = 1024;
constexpr int kTotalsThreads = 128;

// Of some columns of a row, as Kernels::cross_entropy_statistics gives them.
struct RowStatistics {
  double largest, sum, target_logit;
};
__device__ inline double loss_of(const RowStatistics& whole) {
  return whole.largest + log(whole.sum) - whole.target_logit;
}

// The packs that a thread takes in one turn: several where they are single elements, so that as
// much is under way.
template <int kWidth>
constexpr int kTurnPacks = kWidth == 1 ? 4 : 1;

// visit(i, values, count) for the thread's packs of `row`, of which `count` values exist: all, but
// in a last pack that the row does not fill, which is the first thread's.
template <int kWidth, bool kVector, typename T, typename Visit>
__device__ inline void for_each_turn(const T* row, int64_t V, Visit&& visit) {
  constexpr int kPacks = kTurnPacks<kWidth>;
  for (int64_t begin = threadIdx.x; (begin + 1) * kWidth <= V;
       begin += int64_t{kPacks} * blockDim.x) {
    float values[kPacks][kWidth];
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const int64_t i = (begin + k * int64_t{blockDim.x}) * kWidth;
      if (i + kWidth <= V) load<kVector>(row + i, kWidth, values[k]);
    }
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const int64_t i = (begin + k * int64_t{blockDim.x}) * kWidth;
      if (i + kWidth <= V) visit(i, values[k], kWidth);
    }
  }
  if (V % kWidth != 0 && threadIdx.x == 0) {
    float values[kWidth];
    const int64_t i = V - V % kWidth;
    load<false>(row + i, static_cast<int>(V - i), values);
    visit(i, values, static_cast<int>(V - i));
  }
}

// Of the row, by the whole block: in each thread the same.
template <int kWidth, bool kVector, typename T>
__device__ inline float largest_of(const T* row, int64_t V, float* shared) {
  float largest = -INFINITY;
  for_each_turn<kWidth, kVector>(row, V, [&](int64_t, const float(&values)[kWidth], int count) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      if (j < count) largest = Maximum::join(values[j], largest);
    }
  });
  return block_reduce<Maximum>(largest, shared);
}

// A thread's exponentials are added in float, the threads' sums in double.
template <int kWidth, bool kVector, typename T>
__device__ inline double sum_exponentials(const T* row, int64_t V, float largest, double* shared) {
  float sum = 0;
  for_each_turn<kWidth, kVector>(row, V, [&](int64_t, const float(&values)[kWidth], int count) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      if (j < count) sum += expf(values[j] - largest);
    }
  });
  return block_reduce<Sum>(static_cast<double>(sum), shared);
}

// The first `count` values.
template <bool kVector, typename T, int kWidth>
__device__ inline void store_some(T* to, int count, const float (&values)[kWidth]) {
  if (count == kWidth) {
    store<kVector>(to, kWidth, values);
  } else {
    store<false>(to, count, values);
  }
}

// The logits become factor * exp(logit - largest), less gradient_scale at `target` if that is a
// column here.
template <int kWidth, bool kVector, typename T>
__device__ inline void make_gradient(T* row, int64_t V, float largest, float factor, int64_t target,
                                     float gradient_scale) {
  for_each_turn<kWidth, kVector>(row, V, [&](int64_t i, float(&values)[kWidth], int count) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      values[j] = expf(values[j] - largest) * factor;
      if (i + j == target) values[j] -= gradient_scale;
    }
    store_some<kVector>(row + i, count, values);
  });
}

template <int kWidth, bool kVector, typename T>
__device__ inline void make_zero(T* row, int64_t V) {
  const float zeros[kWidth] = {};
  for (int64_t i = int64_t{threadIdx.x} * kWidth; i + kWidth <= V;
       i += int64_t{blockDim.x} * kWidth)
    store<kVector>(row + i, kWidth, zeros);
  if (V % kWidth != 0 && threadIdx.x == 0)
    store<false>(row + V - V % kWidth, static_cast<int>(V % kWidth), zeros);
}

// The row's target in the whole vocabulary; -1 where it is left out, also for a fault.
template <typename T>
__device__ inline int64_t target_of(const Logits<T>& logits, int64_t row) {
  const int32_t target = logits.targets[row];
  if (target >= logits.num_shards * logits.V) {
    if (threadIdx.x == 0) report_fault(logits.fault, CudaFault::kTarget, target);
    return -1;
  }
  return target < 0 ? -1 : target;
}

// One block a row.
template <typename T, int kWidth, bool kVector>
__global__ void __launch_bounds__(kMostThreads)
    cross_entropy_kernel(Logits<T> logits, float gradient_scale, double* losses) {
  LEASEHOLD_SHARED(largests, float[kWarp]);
  LEASEHOLD_SHARED(sums, double[kWarp]);
  const int64_t index = blockIdx.x;
  T* row = logits.values + index * logits.stride;
  const int64_t target = target_of(logits, index);
  if (target < 0) {
    if (gradient_scale != 0) make_zero<kWidth, kVector>(row, logits.V);
    if (threadIdx.x == 0) losses[index] = 0;
  } else {
    const float target_logit = Convert<float>::from(row[target]);
    const float largest = largest_of<kWidth, kVector>(row, logits.V, largests);
    const double sum = sum_exponentials<kWidth, kVector>(row, logits.V, largest, sums);
    if (threadIdx.x == 0) losses[index] = loss_of({largest, sum, target_logit});
    if (gradient_scale != 0) {
      make_gradient<kWidth, kVector>(
          row, logits.V, largest, static_cast<float>(gradient_scale / sum), target, gradient_scale);
    }
  }
}

template <typename T, int kWidth, bool kVector>
__global__ void __launch_bounds__(kMostThreads)
    statistics_kernel(Logits<T> logits, double* statistics) {
  LEASEHOLD_SHARED(largests, float[kWarp]);
  LEASEHOLD_SHARED(sums, double[kWarp]);
  const int64_t index = blockIdx.x;
  const T* row = logits.values + index * logits.stride;
  const int64_t target = target_of(logits, index);
  RowStatistics found{};
  if (target >= 0) {
    const float largest = largest_of<kWidth, kVector>(row, logits.V, largests);
    found.largest = largest;
    found.sum = sum_exponentials<kWidth, kVector>(row, logits.V, largest, sums);
    const int64_t column = target - logits.shard_index * logits.V;
    if (column >= 0 && column < logits.V) found.target_logit = Convert<float>::from(row[column]);
  }
  if (threadIdx.x == 0) {
    statistics[index * 3] = found.largest;
    statistics[index * 3 + 1] = found.sum;
    statistics[index * 3 + 2] = found.target_logit;
  }
}

// exp(of one shard's largest logit - the whole row's).
__device__ inline double rescale(double largest, double of_row) {
  return expf(static_cast<float>(largest) - static_cast<float>(of_row));
}

// From the statistics (num_shards, N, 3).
__device__ inline RowStatistics whole_row(const double* statistics, int64_t num_shards, int64_t N,
                                          int64_t index) {
  const auto of_shard = [&](int64_t shard) { return statistics + (shard * N + index) * 3; };
  RowStatistics whole{of_shard(0)[0], 0, 0};
  for (int64_t shard = 1; shard < num_shards; ++shard) {
    if (of_shard(shard)[0] > whole.largest) whole.largest = of_shard(shard)[0];
  }
  for (int64_t shard = 0; shard < num_shards; ++shard) {
    whole.sum += of_shard(shard)[1] * rescale(of_shard(shard)[0], whole.largest);
    whole.target_logit += of_shard(shard)[2];
  }
  return whole;
}

// One thread a row. Faults were found by the call before.
__global__ void __launch_bounds__(kTotalsThreads)
    losses_from_statistics_kernel(const int32_t* targets, const double* statistics,
                                  int64_t num_shards, int64_t N, double* losses) {
  const int64_t index = int64_t{blockIdx.x} * kTotalsThreads + threadIdx.x;
  if (index >= N) return;
  losses[index] = targets[index] < 0 ? 0 : loss_of(whole_row(statistics, num_shards, N, index));
}

// One block a row.
template <typename T, int kWidth, bool kVector>
__global__ void __launch_bounds__(kMostThreads)
    gradient_from_statistics_kernel(Logits<T> logits, const double* statistics,
                                    float gradient_scale) {
  LEASEHOLD_SHARED(factor, float[1]);
  const int64_t index = blockIdx.x;
  T* row = logits.values + index * logits.stride;
  const int64_t target = target_of(logits, index);
  if (target < 0) {
    make_zero<kWidth, kVector>(row, logits.V);
  } else {
    const double largest = statistics[(logits.shard_index * logits.N + index) * 3];
    if (threadIdx.x == 0) {
      const RowStatistics whole = whole_row(statistics, logits.num_shards, logits.N, index);
      factor[0] = static_cast<float>(gradient_scale * rescale(largest, whole.largest) / whole.sum);
    }
    __syncthreads();
    make_gradient<kWidth, kVector>(row, logits.V, static_cast<float>(largest), factor[0],
                                   target - logits.shard_index * logits.V, gradient_scale);
  }
}

// One block: thread t adds losses t, t + 1024, ...; then the threads' sums.
__global__ void __launch_bounds__(kLossThreads)
    sum_losses_kernel(const double* losses, int64_t N, double* loss) {
  LEASEHOLD_SHARED(shared, double[kWarp]);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < N; i += kLossThreads) sum += losses[i];
  sum = block_reduce<Sum>(sum, shared);
  if (threadIdx.x == 0) *loss = sum;
}

void sum_losses(const double* losses, int64_t N, double* loss, cudaStream_t stream) {
  launch(sum_losses_kernel, dim3(1), dim3(kLossThreads), 0, stream, losses, N, loss);
}

// f(width, vector, grid, block)
template <typename T, typename F>
void with_rows(const Logits<T>& logits, F&& f) {
  if (logits.N == 0) return;
  with_row_access<T>(logits.stride, {logits.values}, [&](auto width, auto vector) {
    f(width, vector, grid_of(logits.N), dim3(row_threads(logits.V / width, kMostThreads)));
  });
}

}  // namespace

template <typename T>
void cross_entropy(const Logits<T>& logits, float gradient_scale, double* losses, double* loss,
                   cudaStream_t stream) {
  with_rows(logits, [&](auto width, auto vector, dim3 grid, dim3 block) {
    launch(cross_entropy_kernel<T, decltype(width)::value, decltype(vector)::value>, grid, block, 0,
           stream, logits, gradient_scale, losses);
  });
  sum_losses(losses, logits.N, loss, stream);
}

template <typename T>
void cross_entropy_statistics(const Logits<T>& logits, double* statistics, cudaStream_t stream) {
  with_rows(logits, [&](auto width, auto vector, dim3 grid, dim3 block) {
    launch(statistics_kernel<T, decltype(width)::value, decltype(vector)::value>, grid, block, 0,
           stream, logits, statistics);
  });
}

template <typename T>
void cross_entropy_from_statistics(const Logits<T>& logits, const double* statistics,
                                   float gradient_scale, double* losses, double* loss,
                                   cudaStream_t stream) {
  if (logits.N > 0) {
    launch(losses_from_statistics_kernel, grid_of(ceil_divide(logits.N, kTotalsThreads)),
           dim3(kTotalsThreads), 0, stream, logits.targets, statistics, logits.num_shards, logits.N,
           losses);
  }
  sum_losses(losses, logits.N, loss, stream);
  if (gradient_scale == 0) return;
  with_rows(logits, [&](auto width, auto vector, dim3 grid, dim3 block) {
    launch(gradient_from_statistics_kernel<T, decltype(width)::value, decltype(vector)::value>,
           grid, block, 0, stream, logits, statistics, gradient_scale);
  });
}

#define LEASEHOLD_INSTANTIATE(T)                                                               \
  template void cross_entropy(const Logits<T>&, float, double*, double*, cudaStream_t);        \
  template void cross_entropy_statistics(const Logits<T>&, double*, cudaStream_t);             \
  template void cross_entropy_from_statistics(const Logits<T>&, const double*, float, double*, \
                                              double*, cudaStream_t)
LEASEHOLD_INSTANTIATE(float);
LEASEHOLD_INSTANTIATE(__nv_bfloat16);
#undef LEASEHOLD_INSTANTIATE

}  // namespace leasehold::cuda
