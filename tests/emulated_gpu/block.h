// What a running kernel asks of the emulation: where it is, barriers, exchanges within a warp,
// shared memory. The functions that CUDA gives kernels (builtins.h) are made of these.
//
// Every thread of a block is a fiber of the stream's OS thread; one runs until it must wait for
// others. What CUDA leaves undefined or what would hang there ends the launch with a message (and
// the device with a sticky fault, as an illegal access would):
//   a barrier that threads have left the kernel without, or that others wait for elsewhere;
//   a warp operation whose mask lacks the caller or names lanes that have left or never were;
//   lanes that meet with different masks, operations or places of the source.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>

// As CUDA names them; set by the emulation whenever it switches threads or blocks.
// NOLINTBEGIN(readability-identifier-naming)
extern constinit thread_local uint3 threadIdx;
extern constinit thread_local uint3 blockIdx;
extern constinit thread_local dim3 blockDim;
extern constinit thread_local dim3 gridDim;
constexpr int warpSize = 32;
// NOLINTEND(readability-identifier-naming)

namespace leasehold::emulation {

// A place in the source, of who calls: `const Place& place = Place::current()` as the last
// parameter. (std::source_location is not there with every clang.)
class Place {
 public:
  Place() = default;
  static constexpr Place current(const char* file = __builtin_FILE(),
                                 unsigned line = __builtin_LINE()) {
    return {file, line};
  }
  constexpr const char* file_name() const { return file_; }
  constexpr unsigned line() const { return line_; }

 private:
  constexpr Place(const char* file, unsigned line) : file_(file), line_(line) {}
  const char* file_ = "";
  unsigned line_ = 0;
};
constexpr unsigned kFullMask = 0xffffffffU;

// This thread's index in its warp.
unsigned lane_index();

// __syncthreads. Returns how many of the block's threads gave true.
int block_barrier(bool predicate, const Place& place);

// __syncwarp: orders memory between the lanes of the mask.
void warp_barrier(unsigned mask, const Place& place);
// The value that lane `source` gave, who is in the mask. Orders no memory.
uint64_t warp_shuffle(unsigned mask, uint64_t value, unsigned source, const Place& place);
// The lanes of the mask that gave true.
unsigned warp_ballot(unsigned mask, bool predicate, const Place& place);
// For operations of a whole warp, such as matrix fragments: the lanes of the mask meet; the last
// one runs combine(deposits, mask) alone, deposits[lane] being what that lane gave (null outside
// the mask); then all go on. What a deposit points at may be read and written by combine.
using Combine = void (*)(void* const* deposits, unsigned mask);
void warp_meet(unsigned mask, void* deposit, Combine combine, const Place& place);

// An array in shared memory, one object per place in the source (and template instance).
struct SharedArray {
  const char* name;
  size_t bytes;
  size_t alignment;
};
// Its memory in this block: filled with 0xFF when the first thread asks, red zones around it.
void* shared_array(const SharedArray& array);
// The launch's dynamic part, aligned to 128 bytes, filled and guarded alike.
void* dynamic_shared_memory();

// Ends the launch with `message` (printf's) and the device with a sticky fault.
[[noreturn]] void fail_kernel(cudaError_t error, const char* format, ...)
    __attribute__((format(printf, 2, 3)));

}  // namespace leasehold::emulation
