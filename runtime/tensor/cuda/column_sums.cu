#include <algorithm>

#include "runtime/tensor/cuda/column_sums.h"
#include "runtime/tensor/cuda/rows.h"

namespace leasehold::cuda {

namespace {

constexpr int kWarps = 8;       // of a block of the first pass, which take rows in turn
constexpr int kFoldWarps = 32;  // of the second pass
constexpr int kFoldColumns = kWarp;

// Groups of rows in the first pass: about a thousand blocks in all, and at least 64 rows in each.
int64_t group_rows(int64_t N, int64_t O) {
  const int64_t strips = ceil_divide(O, 256);
  const int64_t groups = std::max<int64_t>(1, std::min(N / 64, ceil_divide(1024, strips)));
  return std::max<int64_t>(1, ceil_divide(N, groups));
}

// Block (group, strip): each warp sums every eighth row of the group over 32 packs of columns, then
// the warps' sums are added in their order.
template <typename T, int kWidth, bool kVector>
__global__ void __launch_bounds__(kWarps* kWarp)
    column_sums_kernel(const T* x, int64_t N, int64_t O, int64_t rows, float* partials) {
  LEASEHOLD_SHARED(shared, float[kWarps][kWarp * kWidth]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t strip = int64_t{blockIdx.y} * kWarp * kWidth;
  const int64_t column = strip + lane * kWidth;
  const int64_t begin = blockIdx.x * rows;
  const int64_t end = begin + rows < N ? begin + rows : N;
  float sums[kWidth] = {};
  if (column < O) {
#pragma unroll 4
    for (int64_t row = begin + warp; row < end; row += kWarps) {
      float values[kWidth];
      load<kVector>(x + row * O + column, kWidth, values);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) sums[j] += values[j];
    }
  }
#pragma unroll
  for (int j = 0; j < kWidth; ++j) shared[warp][lane * kWidth + j] = sums[j];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kWarp * kWidth; i += kWarps * kWarp) {
    if (strip + i >= O) continue;
    float sum = shared[0][i];
    for (int other = 1; other < kWarps; ++other) sum += shared[other][i];
    partials[blockIdx.x * O + strip + i] = sum;
  }
}

// 32 columns a block: warp w adds rows w, w + 32, ...; then warp w adds column w's 32 sums.
__global__ void __launch_bounds__(kFoldWarps* kWarp)
    fold_partials_kernel(const float* partials, int64_t num_rows, int64_t width, float* first,
                         int64_t first_width, float* second, bool accumulate) {
  LEASEHOLD_SHARED(shared, float[kFoldWarps][kFoldColumns + 1]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t strip = int64_t{blockIdx.x} * kFoldColumns;
  float sum = 0;
  if (strip + lane < width) {
#pragma unroll 4
    for (int64_t row = warp; row < num_rows; row += kFoldWarps)
      sum += partials[row * width + strip + lane];
  }
  shared[warp][lane] = sum;
  __syncthreads();
  const float total = warp_reduce<Sum>(shared[lane][warp]);
  const int64_t column = strip + warp;
  if (lane == 0 && column < width) {
    float* out = column < first_width ? first + column : second + (column - first_width);
    *out = accumulate ? *out + total : total;
  }
}

}  // namespace

void fold_partials(const float* partials, int64_t num_rows, int64_t width, float* first,
                   int64_t first_width, float* second, bool accumulate, cudaStream_t stream) {
  if (width == 0) return;
  launch(fold_partials_kernel, grid_of(ceil_divide(width, kFoldColumns)), dim3(kFoldWarps * kWarp),
         0, stream, partials, num_rows, width, first, first_width, second, accumulate);
}

int64_t column_sums_workspace_bytes(int64_t N, int64_t O) {
  return ceil_divide(N, group_rows(N, O)) * O * static_cast<int64_t>(sizeof(float));
}

template <typename T>
void column_sums(const T* x, int64_t N, int64_t O, float* out, bool accumulate, float* workspace,
                 cudaStream_t stream) {
  const int64_t rows = group_rows(N, O);
  const int64_t groups = ceil_divide(N, rows);
  with_row_access<T>(O, {x}, [&](auto width, auto vector) {
    constexpr int kWidth = decltype(width)::value;
    constexpr bool kVector = decltype(vector)::value;
    if (groups == 0 || O == 0) return;
    launch(column_sums_kernel<T, kWidth, kVector>, grid_of(groups, ceil_divide(O, kWarp * kWidth)),
           dim3(kWarps * kWarp), 0, stream, x, N, O, rows, workspace);
  });
  fold_partials(workspace, groups, O, out, O, nullptr, accumulate, stream);
}

template void column_sums(const float*, int64_t, int64_t, float*, bool, float*, cudaStream_t);
template void column_sums(const __nv_bfloat16*, int64_t, int64_t, float*, bool, float*,
                          cudaStream_t);

}  // namespace leasehold::cuda
