#include "runtime/tensor/cuda/dialect.h"
#include "tests/emulated_gpu/self_test/kernels.h"

namespace leasehold::self_test {

namespace {

using cuda::launch;

constexpr unsigned kFull = 0xffffffffU;
constexpr int kThreads = 256;

template <Fault fault>
__global__ void __launch_bounds__(kThreads) sums(const float* in, float* out) {
  LEASEHOLD_SHARED(tile, float[kThreads]);
  const int t = static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int round = 0; round < 3; ++round) {
    tile[t] = in[blockIdx.x * kThreads + t] + static_cast<float>(round);
    if (fault != Fault::kNoBarrierAfterWrite) __syncthreads();
    for (int i = 0; i < kThreads; ++i) sum += tile[i];
    if (fault != Fault::kNoBarrierBeforeWrite) __syncthreads();
  }
  out[blockIdx.x * kThreads + t] = sum;
}

template <Fault fault>
__global__ void __launch_bounds__(kThreads) reverse(const float* in, float* out) {
  LEASEHOLD_SHARED(tile, float[kThreads]);
  const int t = static_cast<int>(threadIdx.x);
  const int mirror = t / 32 * 32 + 31 - t % 32;
  tile[t] = in[blockIdx.x * kThreads + t];
  __syncwarp();
  const float once = tile[mirror];
  if (fault != Fault::kNoWarpBarrier) __syncwarp();
  tile[t] = once;
  __syncwarp();
  out[blockIdx.x * kThreads + t] = tile[mirror];
}

template <Fault fault>
__global__ void __launch_bounds__(32) through_shared(const float* in, float* out) {
  LEASEHOLD_SHARED(first, float[32]);
  LEASEHOLD_SHARED(second, float[32]);
  LEASEHOLD_DYNAMIC_SHARED(float, third);
  const int t = static_cast<int>(threadIdx.x);
  // The optimiser shall not see where this points.
  volatile int before = -1;
  volatile int after = 32;
  first[t] = in[t];
  if (fault == Fault::kWriteBefore && t == 0) second[before] = 7.0F;
  if (fault == Fault::kWriteAfter && t == 0) first[after] = 7.0F;
  if (fault == Fault::kWriteBeforeDynamic && t == 0) third[before] = 7.0F;
  if (fault == Fault::kWriteAfterDynamic && t == 0) third[after] = 7.0F;
  second[t] = first[t];
  third[t] = second[t];
  out[t] = third[t];
}

template <Fault fault>
__global__ void misused(float* out) {
  const int t = static_cast<int>(threadIdx.x);
  if (fault == Fault::kTrap && t == 40) __trap();
  if (fault == Fault::kEarlyReturn && t == 5) return;
  if (fault == Fault::kOtherBarrier && t >= 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  if (fault == Fault::kEarlyExit && t == 3) return;
  unsigned mask = kFull;
  if (fault == Fault::kPartialMask && t == 7) mask = 0xffff0000U;
  if (fault == Fault::kOtherMask && t % 32 == 9) mask = 0x00000fffU;
  const int value = __shfl_xor_sync(mask, t, 1);
  if (t == 0) out[0] = static_cast<float>(value);
}

__global__ void plus_one(const float* in, float* out, int64_t n, int work) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float x = in[i];
  for (int k = 0; k < work; ++k) x = x * 0.5F + in[i] * 0.5F;
  out[i] = x + 1.0F;
}

__global__ void __launch_bounds__(32) all_exchanges(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  int* row = out + t * 8;
  row[0] = __shfl_sync(kFull, t * 10, 5);
  row[1] = __shfl_up_sync(kFull, t, 3);
  row[2] = __shfl_down_sync(kFull, t, 3, 16);
  row[3] = __shfl_xor_sync(kFull, t, 8);
  row[4] = static_cast<int>(__ballot_sync(kFull, t % 3 == 0));
  row[5] = __any_sync(kFull, t == 31) * 2 + __all_sync(kFull, t < 31);
  row[6] = __syncthreads_count(t % 4 == 0);
  // Two halves of a warp on their own.
  const unsigned half = t < 16 ? 0x0000ffffU : 0xffff0000U;
  row[7] = static_cast<int>(__shfl_sync(half, double{1} * t, t < 16 ? 2 : 20));
}

__global__ void all_places(int* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = 1;
}

__global__ void dynamic_as_found(float* out, int n) {
  LEASEHOLD_DYNAMIC_SHARED(float, memory);
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    out[i] = memory[i];
  }
}

__global__ void idle_kernel() {}

__global__ void __launch_bounds__(32) met(int* out) {
  const unsigned t = threadIdx.x;
  int value = static_cast<int>(t);
  emulation::warp_meet(
      0xfU << t / 4 * 4, &value,
      [](void* const* deposits, unsigned mask) {
        int sum = 0;
        for (int lane = 0; lane < 32; ++lane) {
          if ((mask >> lane & 1U) != 0) sum += *static_cast<int*>(deposits[lane]);
        }
        for (int lane = 0; lane < 32; ++lane) {
          if ((mask >> lane & 1U) != 0) *static_cast<int*>(deposits[lane]) = sum;
        }
      },
      Place::current());
  out[t] = value;
}

}  // namespace

void block_sums(Fault fault, const float* in, float* out, int blocks, cudaStream_t stream) {
  auto* kernel = fault == Fault::kNoBarrierAfterWrite    ? &sums<Fault::kNoBarrierAfterWrite>
                 : fault == Fault::kNoBarrierBeforeWrite ? &sums<Fault::kNoBarrierBeforeWrite>
                                                         : &sums<Fault::kNone>;
  launch(kernel, dim3(blocks), dim3(kThreads), 0, stream, in, out);
}

void reverse_twice(Fault fault, const float* in, float* out, int blocks, cudaStream_t stream) {
  auto* kernel =
      fault == Fault::kNoWarpBarrier ? &reverse<Fault::kNoWarpBarrier> : &reverse<Fault::kNone>;
  launch(kernel, dim3(blocks), dim3(kThreads), 0, stream, in, out);
}

void copy_through_shared(Fault fault, const float* in, float* out, cudaStream_t stream) {
  auto* kernel = fault == Fault::kWriteBefore          ? &through_shared<Fault::kWriteBefore>
                 : fault == Fault::kWriteAfter         ? &through_shared<Fault::kWriteAfter>
                 : fault == Fault::kWriteBeforeDynamic ? &through_shared<Fault::kWriteBeforeDynamic>
                 : fault == Fault::kWriteAfterDynamic  ? &through_shared<Fault::kWriteAfterDynamic>
                                                       : &through_shared<Fault::kNone>;
  launch(kernel, dim3(1), dim3(32), 32 * sizeof(float), stream, in, out);
}

void misuse(Fault fault, float* out, cudaStream_t stream) {
  auto* kernel = fault == Fault::kEarlyReturn    ? &misused<Fault::kEarlyReturn>
                 : fault == Fault::kEarlyExit    ? &misused<Fault::kEarlyExit>
                 : fault == Fault::kPartialMask  ? &misused<Fault::kPartialMask>
                 : fault == Fault::kOtherMask    ? &misused<Fault::kOtherMask>
                 : fault == Fault::kOtherBarrier ? &misused<Fault::kOtherBarrier>
                 : fault == Fault::kTrap         ? &misused<Fault::kTrap>
                                                 : &misused<Fault::kNone>;
  launch(kernel, dim3(2), dim3(64), 0, stream, out);
}

void add_one(const float* in, float* out, int64_t n, int work, cudaStream_t stream) {
  launch(plus_one, dim3(static_cast<unsigned>((n + 127) / 128)), dim3(128), 0, stream, in, out, n,
         work);
}

void exchanges(int* out, cudaStream_t stream) {
  launch(all_exchanges, dim3(1), dim3(32), 0, stream, out);
}

void places(int* out, dim3 grid, dim3 block, cudaStream_t stream) {
  launch(all_places, grid, block, 0, stream, out);
}

void unwritten_shared(float* out, int n, size_t dynamic_bytes, cudaStream_t stream) {
  launch(dynamic_as_found, dim3(1), dim3(32), dynamic_bytes, stream, out, n);
}

void allow_unwritten_shared(size_t bytes) { cuda::allow_shared_memory(dynamic_as_found, bytes); }

void idle(cudaStream_t stream) { launch(idle_kernel, dim3(1), dim3(1), 0, stream); }

void meet(int* out, cudaStream_t stream) { launch(met, dim3(1), dim3(32), 0, stream, out); }

}  // namespace leasehold::self_test
