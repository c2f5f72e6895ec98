#include "runtime/tensor/cuda/pack.h"
#include "runtime/tensor/cuda/rotary.h"

namespace leasehold::cuda {

namespace {

// A block forms the angles of this many pairs of channels at this many positions, then turns heads.
constexpr int kPairs = 64;
constexpr int kPositions = 8;
constexpr int kThreads = 256;
// Below this many blocks, heads are divided among more of them, which form the same angles.
constexpr int64_t kEnoughBlocks = 512;

// Rotary::frequency of runtime/tensor/kernels.cc.
__device__ double frequency_of(const RotaryFrequencies& f, int64_t pair, int64_t D) {
  constexpr double kTwoPi = 6.283185307179586477;
  const double plain = pow(f.theta, -2.0 * static_cast<double>(pair) / static_cast<double>(D));
  if (f.factor == 0) return plain;
  const double turns = f.original_sequence * plain / kTwoPi;
  if (turns < f.low_freq_factor) return plain / f.factor;
  if (turns > f.high_freq_factor) return plain;
  const double share = (turns - f.low_freq_factor) / (f.high_freq_factor - f.low_freq_factor);
  return share * plain + (1 - share) * plain / f.factor;
}

// kWidth pairs of one head at one position.
template <bool kVector, int kWidth, typename T>
__device__ void turn(T* head, int64_t half, const float2* cosines_and_sines) {
  float low[kWidth], high[kWidth];
  load<kVector>(head, kWidth, low);
  load<kVector>(head + half, kWidth, high);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    const float cosine = cosines_and_sines[i].x, sine = cosines_and_sines[i].y;
    const float x = low[i], y = high[i];
    low[i] = x * cosine - y * sine;
    high[i] = x * sine + y * cosine;
  }
  store_global<kVector>(head, kWidth, low);
  store_global<kVector>(head + half, kWidth, high);
}

// Blocks: x is a group of positions and a strip of pairs, y a share of the B G kv heads, whose
// queries and key follow one another.
template <bool kVector, typename T>
__global__ void __launch_bounds__(kThreads)
    rotary_kernel(AttentionSizes sizes, RotaryFrequencies rotary, T* qkv, bool backward) {
  LEASEHOLD_SHARED(frequencies, double[kPairs]);
  LEASEHOLD_SHARED(angles, float2[kPositions][kPairs]);
  const int64_t half = sizes.D / 2;
  const int64_t num_strips = ceil_divide(half, kPairs);
  const int64_t first_pair = blockIdx.x % num_strips * kPairs;
  const int64_t first_position = blockIdx.x / num_strips * kPositions;
  const int pairs = static_cast<int>(half - first_pair < kPairs ? half - first_pair : kPairs);
  const int64_t behind = sizes.T - first_position;
  const int positions = static_cast<int>(behind < kPositions ? behind : kPositions);
  const int thread = static_cast<int>(threadIdx.x);

  if (thread < pairs) frequencies[thread] = frequency_of(rotary, first_pair + thread, sizes.D);
  __syncthreads();
  for (int i = thread; i < positions * kPairs; i += kThreads) {
    const int position = i / kPairs, pair = i % kPairs;
    if (pair >= pairs) continue;
    double sine, cosine;
    sincos(static_cast<double>(first_position + position) * frequencies[pair], &sine, &cosine);
    angles[position][pair] =
        float2{static_cast<float>(cosine), static_cast<float>(backward ? -sine : sine)};
  }
  __syncthreads();

  constexpr int kWidth = kVector ? kPack<T> : 1;
  const int packs = pairs / kWidth;
  const int turned = static_cast<int>(sizes.R) + 1;
  for (int64_t group = blockIdx.y; group < sizes.B * sizes.G; group += gridDim.y) {
    const int64_t b = group / sizes.G, g = group % sizes.G;
    for (int i = thread; i < positions * turned * packs; i += kThreads) {
      const int pair = i % packs * kWidth;
      const int slot = i / packs % turned, position = i / packs / turned;
      const int64_t vector = (b * sizes.T + first_position + position) * sizes.G + g;
      T* head = qkv + (vector * (sizes.R + 2) + slot) * sizes.D;
      turn<kVector, kWidth>(head + first_pair + pair, half, &angles[position][pair]);
    }
  }
}

}  // namespace

template <typename T>
void rotary(const AttentionSizes& sizes, const RotaryFrequencies& frequencies, T* qkv,
            bool backward, cudaStream_t stream) {
  const int64_t half = sizes.D / 2;
  const bool vector = half % kPack<T> == 0 && are_aligned({qkv});
  const int64_t blocks = ceil_divide(half, kPairs) * ceil_divide(sizes.T, kPositions);
  const int64_t most_shares = ceil_divide(kEnoughBlocks, blocks);
  const int64_t groups = sizes.B * sizes.G;
  launch(vector ? rotary_kernel<true, T> : rotary_kernel<false, T>,
         grid_of(blocks, groups < most_shares ? groups : most_shares), dim3(kThreads), 0, stream,
         sizes, frequencies, qkv, backward);
}

template void rotary(const AttentionSizes&, const RotaryFrequencies&, float*, bool, cudaStream_t);
template void rotary(const AttentionSizes&, const RotaryFrequencies&, __nv_bfloat16*, bool,
                     cudaStream_t);

}  // namespace leasehold::cuda
