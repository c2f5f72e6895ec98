#include "runtime/tensor/cuda/embedding.h"
#include "runtime/tensor/cuda/rows.h"
#include "runtime/tensor/cuda/tokens.h"

namespace leasehold::cuda {

namespace {

constexpr int kMostThreads = 256;

// Block (token, strip of packs).
template <typename T, int kWidth, bool kVector>
__global__ void __launch_bounds__(kMostThreads) embedding_forward_kernel(EmbeddingForward<T> work) {
  const int64_t C = work.C;
  const int64_t token = blockIdx.x;
  const int64_t i = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * kWidth;
  const int64_t row = table_row(work.tokens, token, threadIdx.x == 0);
  if (i >= C) return;
  float values[kWidth] = {}, positions[kWidth], factors[kWidth];
  if (row != kElsewhere) load<kVector>(work.token_weight + row * C + i, kWidth, values);
  if (work.position_weight != nullptr) {
    load<kVector>(work.position_weight + token % work.tokens.T * C + i, kWidth, positions);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) values[j] += positions[j];
  }
  work.dropout.factors(token * C + i, factors);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) values[j] *= factors[j];
  store<kVector>(work.out + token * C + i, kWidth, values);
}

}  // namespace

template <typename T>
void embedding_forward(const EmbeddingForward<T>& work, cudaStream_t stream) {
  const int64_t N = work.tokens.B * work.tokens.T;
  if (N == 0 || work.C == 0) return;
  with_row_access<T>(
      work.C, {work.token_weight, work.position_weight, work.out}, [&](auto width, auto vector) {
        const int64_t num_packs = work.C / width;
        const unsigned threads = row_threads(num_packs, kMostThreads);
        launch(embedding_forward_kernel<T, decltype(width)::value, decltype(vector)::value>,
               grid_of(N, ceil_divide(num_packs, threads)), dim3(threads), 0, stream, work);
      });
}

template void embedding_forward(const EmbeddingForward<float>&, cudaStream_t);
template void embedding_forward(const EmbeddingForward<__nv_bfloat16>&, cudaStream_t);

}  // namespace leasehold::cuda
