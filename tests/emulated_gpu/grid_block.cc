#include "tests/emulated_gpu/grid_block.h"

#include <bit>
#include <cstdio>
#include <cstring>
#include <pthread.h>

#include "tests/emulated_gpu/annotate.h"

constinit thread_local uint3 threadIdx{0, 0, 0};
constinit thread_local uint3 blockIdx{0, 0, 0};
constinit thread_local dim3 blockDim{1, 1, 1};
constinit thread_local dim3 gridDim{1, 1, 1};

namespace leasehold::emulation {

BlockRunner::BlockRunner(void** tsan_fibers)
    : tsan_fibers_(tsan_fibers), stacks_(kMaxThreads), threads_(kMaxThreads) {
  idle_.reserve(kMaxThreads);
  pthread_attr_t attributes;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &main_.bottom, &main_.bytes);
  pthread_attr_destroy(&attributes);
  main_tsan_fiber_ = tsan_current_fiber();
}

BlockRunner::~BlockRunner() {
  for (Stack& stack : stacks_) {
    if (stack.mapping != nullptr) unmap_fiber(stack);
  }
}

void BlockRunner::reset(const Launch& launch, uint64_t seed) {
  launch_ = &launch;
  shuffled_ = seed != 0;
  random_state_ = seed;
  const dim3 block = launch.block;
  const unsigned num_threads = block.x * block.y * block.z;
  if (num_threads_ != num_threads || threads_[0].index.x != 0 || blockDim.x != block.x ||
      blockDim.y != block.y) {
    for (unsigned t = 0; t < num_threads; ++t) {
      threads_[t].index = uint3{t % block.x, t / block.x % block.y, t / block.x / block.y};
    }
  }
  num_threads_ = live_ = num_threads;
  for (unsigned t = 0; t < num_threads; ++t) threads_[t].started = false;
  ready_warps_ = 0;
  for (unsigned w = 0; w * 32 < num_threads; ++w) {
    Warp& warp = warps_[w];
    const unsigned lanes = num_threads - w * 32;
    warp.exists = lanes >= 32 ? kFullMask : (1U << lanes) - 1;
    warp.ready = warp.exists;
    warp.exited = warp.at_barrier = warp.waiting = 0;
    ready_warps_ |= 1U << w;
  }
  arrived_ = 0;
  votes_ = 0;
  warp_ = 0;
  rotation_ = 0;
  if (shuffled_) warp_ = kNobody;  // choose() takes a random one
  blockDim = block;
  gridDim = launch.grid;
  shared_.start_block(launch.dynamic_bytes);
}

// xorshift64*
unsigned BlockRunner::random() {
  random_state_ ^= random_state_ >> 12;
  random_state_ ^= random_state_ << 25;
  random_state_ ^= random_state_ >> 27;
  return static_cast<unsigned>(random_state_ * 0x2545F4914F6CDD1DULL >> 33);
}

unsigned BlockRunner::choose() {
  if (ready_warps_ == 0) return kNobody;
  if (warp_ == kNobody || (ready_warps_ >> warp_ & 1U) == 0) {
    if (shuffled_) {
      unsigned warps = ready_warps_;
      for (unsigned skip = random() % std::popcount(warps); skip > 0; --skip) warps &= warps - 1;
      warp_ = std::countr_zero(warps);
      rotation_ = random() & 31U;
    } else {
      warp_ = std::countr_zero(ready_warps_);
    }
  }
  Warp& warp = warps_[warp_];
  const unsigned lane =
      (std::countr_zero(std::rotr(warp.ready, static_cast<int>(rotation_))) + rotation_) & 31U;
  warp.ready &= ~(1U << lane);
  if (warp.ready == 0) ready_warps_ &= ~(1U << warp_);
  return warp_ * 32 + lane;
}

void BlockRunner::make_current(unsigned thread) {
  current_ = thread;
  threadIdx = threads_[thread].index;
  if (kTsan) {
    if (tsan_fibers_[thread] == nullptr) tsan_fibers_[thread] = tsan_create_fiber();
    tsan_switch(tsan_fibers_[thread]);
  }
}

// A stack whose next switch runs the current thread from its start.
BlockRunner::Stack* BlockRunner::stack_for(unsigned thread) {
  if (!kTsan && !idle_.empty()) {
    Stack* stack = idle_.back();
    idle_.pop_back();
    return stack;
  }
  Stack& stack = stacks_[kTsan ? thread : num_stacks_];
  if (stack.mapping == nullptr) {
    stack.block = this;
    map_fiber(stack, num_stacks_++);
    prepare(stack);
  }
  return &stack;
}

void BlockRunner::prepare(Stack& stack) {
  start_fiber(
      stack,
      [](void* argument) {
        auto* self = static_cast<Stack*>(argument);
        self->block->run_stack(self);
      },
      &stack);
}

// What every stack does for ever: runs the current thread, and those that can start after it.
void BlockRunner::run_stack(Stack* stack) {
  for (;;) {
    running_ = stack;
    Thread& thread = threads_[current_];
    thread.started = true;
    if (kTsan) {
      order_acquire(grid_start);
      order_acquire(&set_point_);
    }
    launch_->invoke(launch_->kernel, launch_->arguments);
    thread_ended();
    if (live_ == 0) {
      if (!kTsan) idle_.push_back(stack);
      tsan_switch(main_tsan_fiber_);
      switch_fiber(*stack, main_);
      continue;
    }
    const unsigned next = choose();
    if (next == kNobody) fail_stuck();
    make_current(next);
    const bool starts = !threads_[next].started;
    if (starts && !kTsan) continue;
    if (!kTsan) idle_.push_back(stack);
    running_ = starts ? stack_for(next) : threads_[next].stack;
    switch_fiber(*stack, *running_);
  }
}

void BlockRunner::wait() {
  const unsigned me = current_;
  const unsigned next = choose();
  if (next == kNobody) fail_stuck();
  if (next == me) return;
  Stack* const mine = running_;
  threads_[me].stack = mine;
  make_current(next);
  running_ = threads_[next].started ? threads_[next].stack : stack_for(next);
  switch_fiber(*mine, *running_);
}

void BlockRunner::thread_ended() {
  Warp& warp = warps_[current_ / 32];
  warp.exited |= 1U << lane();
  --live_;
  if (kTsan) {
    order_release(&set_point_);
    order_release(grid_end);
  }
  if (warp.waiting == 0) return;
  for (unsigned waiting = warp.waiting; waiting != 0; waiting &= waiting - 1) {
    check_meeting(warp, warp.mask[std::countr_zero(waiting)], std::countr_zero(waiting));
  }
}

void BlockRunner::run(const Launch& launch, uint64_t seed, LaunchOutcome* outcome) {
  reset(launch, seed);
  outcome_ = outcome;
  make_current(choose());
  Stack* stack = stack_for(current_);
  switch_fiber(main_, *stack);
  if (outcome->error != cudaSuccess) {
    abandon_stacks();
    return;
  }
  if (shared_.overrun(outcome->message, sizeof outcome->message)) {
    outcome->error = cudaErrorIllegalAddress;
  }
}

// The threads of a failed block are left where they were.
void BlockRunner::abandon_stacks() {
  idle_.clear();
  for (Stack& stack : stacks_) {
    if (stack.mapping == nullptr) continue;
    prepare(stack);
    if (!kTsan) idle_.push_back(&stack);
  }
  for (unsigned t = 0; t < kMaxThreads; ++t) {
    if (tsan_fibers_[t] == nullptr) continue;
    // What it did so far is over for those who use its stack next.
    tsan_switch(tsan_fibers_[t]);
    order_release(&set_point_);
    order_release(grid_end);
    tsan_switch(main_tsan_fiber_);
    tsan_destroy_fiber(tsan_fibers_[t]);
    tsan_fibers_[t] = nullptr;
  }
  order_acquire(grid_end);
}

void BlockRunner::fail(cudaError_t error, const char* message) {
  outcome_->error = error;
  snprintf(outcome_->message, sizeof outcome_->message,
           "%s; block (%u, %u, %u), thread (%u, %u, %u)", message, blockIdx.x, blockIdx.y,
           blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
  tsan_switch(main_tsan_fiber_);
  switch_fiber(*running_, main_);
  __builtin_unreachable();
}

// Nobody can run and somebody lives.
void BlockRunner::fail_stuck() {
  unsigned at_barrier = 0;
  unsigned exited = 0;
  unsigned in_warps = 0;
  const Place* place = &barrier_place_;
  for (unsigned w = 0; w * 32 < num_threads_; ++w) {
    at_barrier += std::popcount(warps_[w].at_barrier);
    exited += std::popcount(warps_[w].exited);
    in_warps += std::popcount(warps_[w].waiting);
    if (at_barrier == 0 && warps_[w].waiting != 0) {
      place = warps_[w].place[std::countr_zero(warps_[w].waiting)];
    }
  }
  char message[400];
  snprintf(
      message, sizeof message,
      "the block cannot go on at %s:%u: of %u threads %u wait at a barrier of the block, %u in "
      "a warp operation, and %u have left the kernel",
      place->file_name(), place->line(), num_threads_, at_barrier, in_warps, exited);
  fail(cudaErrorLaunchTimeout, message);
}

bool BlockRunner::owns(const void* address) const {
  const auto* byte = static_cast<const char*>(address);
  if (byte >= shared_.begin() && byte < shared_.end()) return true;
  const auto* bottom = static_cast<const char*>(running_ == nullptr ? nullptr : running_->bottom);
  return bottom != nullptr && byte >= bottom && byte < bottom + running_->bytes;
}

}  // namespace leasehold::emulation
