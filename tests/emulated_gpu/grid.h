// Runs the blocks of one launch, one after the other, on the calling thread. A stream's thread
// owns one runner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>

namespace leasehold::emulation {

// A kernel with its arguments, as launch() of the dialect's twin registers and packs them.
struct Launch {
  const void* kernel;
  void (*invoke)(const void* kernel, const void* arguments);  // one thread's whole run
  const void* arguments;
  dim3 grid;
  dim3 block;
  size_t dynamic_bytes;
  uint64_t seed;  // of the schedule; 0: threads, warps and blocks in order
};

struct LaunchOutcome {
  cudaError_t error = cudaSuccess;
  char message[512] = "";  // what went wrong, for people
};

class BlockRunner;

class GridRunner {
 public:
  GridRunner() = default;
  ~GridRunner();
  GridRunner(const GridRunner&) = delete;
  GridRunner& operator=(const GridRunner&) = delete;

  // The block has at most 1024 threads. After a failure the rest of the grid does not run.
  LaunchOutcome run(const Launch& launch);

 private:
  // Blocks take turns on these, so that under the thread sanitizer consecutive blocks share
  // neither stacks nor shared memory and are not ordered by that.
  static constexpr int kSets = 2;  // one without that sanitizer
  BlockRunner* sets_[kSets] = {};
  // What the thread sanitizer takes for the block's threads; the same for all blocks.
  void* tsan_fibers_[1024] = {};
};

// True while the calling thread runs a kernel, and not the emulation around it.
bool inside_kernel();
// True when an address lies on a fiber's stack or in the shared memory of the running block.
bool is_block_memory(const void* address);

}  // namespace leasehold::emulation
