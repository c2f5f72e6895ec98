// Kernels for the emulation's own tests: right ones, and the same with a fault planted.
#pragma once

#include <cstdint>
#include <cuda_runtime.h>

namespace leasehold::self_test {

// What is wrong with a kernel.
enum class Fault {
  kNone,
  kNoBarrierAfterWrite,   // other threads read what is not written yet
  kNoBarrierBeforeWrite,  // what other threads still read is overwritten
  kNoWarpBarrier,         // the same within a warp
  kWriteBefore,           // one element before a shared array
  kWriteAfter,            // one element after it
  kWriteBeforeDynamic,
  kWriteAfterDynamic,
  kEarlyReturn,   // a thread leaves before a barrier of the others
  kEarlyExit,     // a lane leaves before a shuffle whose mask names it
  kPartialMask,   // a mask without the caller
  kOtherMask,     // lanes of one shuffle with different masks
  kOtherBarrier,  // the block's halves at different barriers
  kTrap,
};

// out[i] = sum over the block of 256 threads i is in of in, for blocks * 256 elements, in three
// rounds over one shared array. Faults: both barriers.
void block_sums(Fault fault, const float* in, float* out, int blocks, cudaStream_t stream);
// Reverses each group of 32 through shared memory, twice over. Faults: the warp barrier.
void reverse_twice(Fault fault, const float* in, float* out, int blocks, cudaStream_t stream);
// Copies through two static arrays and a dynamic one. Faults: the four writes.
void copy_through_shared(Fault fault, const float* in, float* out, cudaStream_t stream);
// Writes 1 to out[0] unless it is ended. Faults: from kEarlyReturn on.
void misuse(Fault fault, float* out, cudaStream_t stream);

// out[i] = in[i] + 1 after spinning over `work` dependent operations.
void add_one(const float* in, float* out, int64_t n, int work, cudaStream_t stream);
// out[thread] = what each of these operations gives, 32 rows of 8: see kernels.cu.
void exchanges(int* out, cudaStream_t stream);
// out[i] = 1 for each of the grid's threads, found by their three-dimensional place.
void places(int* out, dim3 grid, dim3 block, cudaStream_t stream);
// out[i] = dynamic shared memory's element i as found.
void unwritten_shared(float* out, int n, size_t dynamic_bytes, cudaStream_t stream);
void allow_unwritten_shared(size_t bytes);
// Does nothing; one test alone launches it.
void idle(cudaStream_t stream);
// Four lanes at a time hand their index to warp_meet; out[lane] = the sum over their four.
void meet(int* out, cudaStream_t stream);

}  // namespace leasehold::self_test
