// Barriers of the block and operations of a warp.

#include <bit>
#include <cstdio>
#include <cstring>

#include "tests/emulated_gpu/annotate.h"
#include "tests/emulated_gpu/grid_block.h"

namespace leasehold::emulation {

int BlockRunner::barrier(bool predicate, const Place& place) {
  if (arrived_ == 0) {
    barrier_place_ = place;
  } else if (place.line() != barrier_place_.line() ||
             (place.file_name() != barrier_place_.file_name() &&
              strcmp(place.file_name(), barrier_place_.file_name()) != 0)) {
    char message[400];
    snprintf(message, sizeof message,
             "threads of one block meet at different barriers: %s:%u and %s:%u",
             barrier_place_.file_name(), barrier_place_.line(), place.file_name(), place.line());
    fail(cudaErrorLaunchFailure, message);
  }
  void* const point = &barrier_points_[barrier_parity_];
  order_release(point);
  votes_ += predicate ? 1 : 0;
  if (++arrived_ < num_threads_) {
    warps_[current_ / 32].at_barrier |= 1U << lane();
    wait();
  } else {
    warps_[current_ / 32].at_barrier |= 1U << lane();
    arrived_ = 0;
    vote_result_ = votes_;
    votes_ = 0;
    barrier_parity_ ^= 1U;
    for (unsigned w = 0; w * 32 < num_threads_; ++w) {
      warps_[w].ready = warps_[w].at_barrier;
      warps_[w].at_barrier = 0;
      ready_warps_ |= 1U << w;
    }
    warp_ = shuffled_ ? kNobody : 0;
    wait();
  }
  order_acquire(point);
  return vote_result_;
}

// Fails the launch unless the lanes of `mask`, which `lane` named, can still all come.
void BlockRunner::check_meeting(const Warp& warp, unsigned mask, unsigned lane) {
  char message[400];
  const char* file = warp.place[lane].file_name();
  const unsigned line = warp.place[lane].line();
  if ((mask >> lane & 1U) == 0) {
    snprintf(message, sizeof message,
             "lane %u is not in the mask %08x of its warp operation at %s:%u", lane, mask, file,
             line);
    fail(cudaErrorLaunchFailure, message);
  }
  const unsigned missing = mask & (warp.exited | ~warp.exists);
  if (missing != 0) {
    snprintf(message, sizeof message,
             "the mask %08x of a warp operation at %s:%u names lanes that have left the kernel or "
             "never were: %08x",
             mask, file, line, missing);
    fail(cudaErrorLaunchFailure, message);
  }
}

uint64_t BlockRunner::warp(WarpOperation operation, unsigned mask, uint64_t value, unsigned source,
                           Combine combine, const Place& place) {
  Warp& warp = warps_[current_ / 32];
  const unsigned me = lane();
  const unsigned bit = 1U << me;
  warp.operation[me] = operation;
  warp.mask[me] = mask;
  warp.given[me] = value;
  warp.source[me] = static_cast<uint8_t>(source);
  warp.place[me] = place;
  if ((mask & bit) == 0 || (mask & (warp.exited | ~warp.exists)) != 0)
    check_meeting(warp, mask, me);
  const bool ordering =
      kTsan && (operation == WarpOperation::kBarrier || operation == WarpOperation::kMeet);
  void* const point = &warp.points[warp.parity];
  if (ordering) order_release(point);
  warp.waiting |= bit;
  if ((warp.waiting & mask) != mask) {
    wait();
  } else {
    if (ordering) order_acquire(point);
    complete(warp, mask, operation, combine);
    if (ordering) order_release(point);
    warp.parity ^= 1U;
    warp.waiting &= ~mask;
    if (mask != bit) {
      warp.ready |= mask & ~bit;
      ready_warps_ |= 1U << (current_ / 32);
    }
  }
  if (ordering) order_acquire(point);
  return warp.taken[me];
}

void BlockRunner::complete(Warp& warp, unsigned mask, WarpOperation operation, Combine combine) {
  const unsigned me = lane();
  bool agree = true;
  for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
    const unsigned other = std::countr_zero(lanes);
    agree = agree && warp.mask[other] == mask && warp.operation[other] == operation &&
            warp.place[other].line() == warp.place[me].line();
  }
  if (!agree) {
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
      const unsigned other = std::countr_zero(lanes);
      if (warp.mask[other] == mask && warp.operation[other] == operation &&
          warp.place[other].line() == warp.place[me].line()) {
        continue;
      }
      char message[400];
      snprintf(
          message, sizeof message,
          "lanes meet in different warp operations: lane %u at %s:%u with mask %08x, lane %u at "
          "%s:%u with mask %08x",
          me, warp.place[me].file_name(), warp.place[me].line(), mask, other,
          warp.place[other].file_name(), warp.place[other].line(), warp.mask[other]);
      fail(cudaErrorLaunchFailure, message);
    }
  }
  if (operation == WarpOperation::kShuffle) {
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
      const unsigned to = std::countr_zero(lanes);
      if ((mask >> warp.source[to] & 1U) == 0) {
        char message[400];
        snprintf(message, sizeof message, "lane %u reads lane %u, outside the mask %08x, at %s:%u",
                 to, warp.source[to], mask, warp.place[me].file_name(), warp.place[me].line());
        fail(cudaErrorLaunchFailure, message);
      }
      warp.taken[to] = warp.given[warp.source[to]];
    }
  } else if (operation == WarpOperation::kBallot) {
    unsigned votes = 0;
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
      votes |= (warp.given[std::countr_zero(lanes)] != 0 ? 1U : 0U) << std::countr_zero(lanes);
    }
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
      warp.taken[std::countr_zero(lanes)] = votes;
    }
  } else if (operation == WarpOperation::kMeet) {
    void* deposits[32] = {};
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
      deposits[std::countr_zero(lanes)] = std::bit_cast<void*>(warp.given[std::countr_zero(lanes)]);
    }
    combine(deposits, mask);
  }
}

}  // namespace leasehold::emulation
