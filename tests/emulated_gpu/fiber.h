// Stacks to run a block's threads on, and the switch between them: a few instructions
// (processor.h) instead of the system call that swapcontext makes. A fiber stays on its OS thread.
#pragma once

#include <cstddef>

namespace leasehold::emulation {

// A stack that is not running. `resume` of it continues where it stopped.
struct Fiber {
  void* stack_pointer = nullptr;
  void* bottom = nullptr;  // lowest address that may be used
  size_t bytes = 0;
  void* asan_state = nullptr;
  void* mapping = nullptr;  // null for the thread's own stack
  size_t mapped_bytes = 0;
};

// Maps a stack with a guard page below it. Throws std::bad_alloc. `number` shifts its top, so that
// the tops of many stacks do not share cache lines' sets.
void map_fiber(Fiber& fiber, size_t number);
void unmap_fiber(Fiber& fiber);
// Lets the next resume of it start entry(argument), which never returns. Forgets what was on it.
void start_fiber(Fiber& fiber, void (*entry)(void*), void* argument);
// Leaves `from`, which must be what runs, and continues `to`.
void switch_fiber(Fiber& from, Fiber& to);

// Local arrays of kernels stay below 64 KB; the address sanitizer doubles them.
constexpr size_t kFiberStackBytes = size_t{256} << 10;

}  // namespace leasehold::emulation
