// Kernels whose blocks work on rows: how a row is dealt out to a block's threads, and sums and
// maxima over a block in a fixed tree. Which thread has which element depends on shapes alone:
// packs of a pack's width where rows begin a multiple of it apart, single elements otherwise.
#pragma once

#include "runtime/tensor/cuda/pack.h"
#include "runtime/tensor/cuda/workspaces.h"

namespace leasehold::cuda {

constexpr unsigned kAllLanes = 0xFFFFFFFF;

// f(width, vector): the pack's width for rows of T that begin `stride` elements apart, and whether
// accesses at `addresses`, where the rows lie, are vectorised. Both integral constants.
template <typename T, typename F>
void with_row_access(int64_t stride, std::initializer_list<const void*> addresses, F&& f) {
  if (stride % kPack<T> != 0) {
    f(std::integral_constant<int, 1>{}, std::false_type{});
  } else if (are_aligned(addresses)) {
    f(std::integral_constant<int, kPack<T>>{}, std::true_type{});
  } else {
    f(std::integral_constant<int, kPack<T>>{}, std::false_type{});
  }
}

struct Sum {
  template <typename V>
  __device__ static V join(V left, V right) {
    return left + right;
  }
};
struct Maximum {
  // A NaN on either side may be passed over.
  __device__ static float join(float left, float right) { return left > right ? left : right; }
};

// Of one value per lane, in all lanes: neighbours at distance 16, 8, 4, 2, 1. The two partners
// compute the same sum, so all lanes hold the same bits.
template <typename Join, typename V>
__device__ inline V warp_reduce(V value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value = Join::join(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  return value;
}

// values[k] becomes the join over the block, the same bits in all its threads; warps in ascending
// order. Every thread of the block calls it. `shared` has kCount * 32 elements and may be used
// again at once.
template <typename Join, typename V, int kCount>
__device__ inline void block_reduce(V (&values)[kCount], V* shared) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int num_warps = static_cast<int>(blockDim.x) / kWarp;
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    values[k] = warp_reduce<Join>(values[k]);
    if (threadIdx.x % kWarp == 0) shared[k * kWarp + warp] = values[k];
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    values[k] = shared[k * kWarp];
    for (int i = 1; i < num_warps; ++i) values[k] = Join::join(values[k], shared[k * kWarp + i]);
  }
  __syncthreads();
}

template <typename Join, typename V>
__device__ inline V block_reduce(V value, V* shared) {
  V values[1] = {value};
  block_reduce<Join>(values, shared);
  return values[0];
}

}  // namespace leasehold::cuda
