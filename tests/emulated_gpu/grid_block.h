// One block's threads as fibers: who may run, who waits for whom, and in which order they get
// their turn. grid.cc drives it; the functions of block.h act on the block that runs.
//
// Order. With seed 0 the lowest thread that may run does. With another seed it is warp-greedy: a
// warp goes as far as it can, its lanes in a random rotation, then a random warp: of the orders
// tried, the one that shows missing barriers best (uniformly random threads hide some always).
//
// Stacks. A thread starts on the stack of the thread that ended before it; a fresh stack is taken
// only when a thread must wait, so that kernels without barriers never switch. Under the thread
// sanitizer every thread has a stack of its own, lest what one leaves there race with the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/emulated_gpu/block.h"
#include "tests/emulated_gpu/fiber.h"
#include "tests/emulated_gpu/grid.h"
#include "tests/emulated_gpu/shared_memory.h"

namespace leasehold::emulation {

class BlockRunner {
 public:
  explicit BlockRunner(void** tsan_fibers);  // of 1024, made as they are needed
  ~BlockRunner();
  BlockRunner(const BlockRunner&) = delete;
  BlockRunner& operator=(const BlockRunner&) = delete;

  // Runs one block, with threadIdx and the others set.
  void run(const Launch& launch, uint64_t seed, LaunchOutcome* outcome);
  // For the thread sanitizer: what the stream did before is ordered before the next blocks.
  void* grid_start = nullptr;
  void* grid_end = nullptr;

  // block.h's functions for the running thread.
  unsigned lane() const { return current_ & 31U; }
  int barrier(bool predicate, const Place& place);
  enum class WarpOperation : uint32_t { kBarrier, kShuffle, kBallot, kMeet };
  uint64_t warp(WarpOperation operation, unsigned mask, uint64_t value, unsigned source,
                Combine combine, const Place& place);
  SharedMemory& shared() { return shared_; }
  [[noreturn]] void fail(cudaError_t error, const char* message);
  bool owns(const void* address) const;

 private:
  static constexpr unsigned kMaxThreads = 1024;
  static constexpr unsigned kNobody = kMaxThreads;
  struct Stack : Fiber {
    BlockRunner* block = nullptr;
  };
  struct Thread {
    Stack* stack = nullptr;  // while it waits
    uint3 index{};
    bool started = false;
  };
  struct Warp {
    unsigned exists = 0;
    unsigned ready = 0;  // may run: not started, or what it waited for came
    unsigned exited = 0;
    unsigned at_barrier = 0;
    unsigned waiting = 0;  // in a warp operation
    unsigned parity = 0;
    char points[2];  // addresses for the thread sanitizer
    // Of lanes that wait in a warp operation:
    uint32_t mask[32];
    uint32_t tag[32];  // the operation and its line in the source
    uint32_t source[32];
    uint64_t given[32];
    uint64_t taken[32];
    const Place* place[32];
  };

  void reset(const Launch& launch, uint64_t seed);
  unsigned choose();  // who runs next, or kNobody
  unsigned random();
  void make_current(unsigned thread);
  void wait();          // the running thread stops; returns when it runs again
  void thread_ended();  // of the running thread
  void run_stack(Stack* stack);
  Stack* stack_for(unsigned thread);
  void prepare(Stack& stack);
  void abandon_stacks();
  void complete(Warp& warp, unsigned mask, WarpOperation operation, Combine combine);
  void check_meeting(const Warp& warp, unsigned mask, unsigned lane);
  void check_agreement(const Warp& warp, unsigned mask);
  void shuffle(Warp& warp, unsigned mask);
  void fail_stuck();

  const Launch* launch_ = nullptr;
  LaunchOutcome* outcome_ = nullptr;
  uint64_t random_state_ = 0;
  bool shuffled_ = false;
  unsigned num_threads_ = 0;
  unsigned live_ = 0;
  unsigned current_ = 0;
  unsigned warp_ = 0;      // the warp that runs as far as it can
  unsigned rotation_ = 0;  // of its lanes
  unsigned ready_warps_ = 0;
  unsigned arrived_ = 0;  // at the block's barrier
  int votes_ = 0;
  int vote_result_ = 0;
  Place barrier_place_;
  char barrier_points_[2] = {0, 0};  // addresses for the thread sanitizer
  unsigned barrier_parity_ = 0;
  char set_point_ = 0;

  Fiber main_;
  void** tsan_fibers_;
  void* main_tsan_fiber_ = nullptr;
  Stack* running_ = nullptr;
  std::vector<Stack> stacks_;  // the first num_stacks_ are mapped
  unsigned num_stacks_ = 0;
  std::vector<Stack*> idle_;
  std::vector<Thread> threads_;
  Warp warps_[kMaxThreads / 32];
  SharedMemory shared_;
};

}  // namespace leasehold::emulation
