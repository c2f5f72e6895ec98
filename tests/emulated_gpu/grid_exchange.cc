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
  const char* file = warp.place[lane]->file_name();
  const unsigned line = warp.place[lane]->line();
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
  warp.mask[me] = mask;
  warp.tag[me] = place.line() * 4 + static_cast<uint32_t>(operation);
  warp.source[me] = source;
  warp.given[me] = value;
  warp.place[me] = &place;  // which lives while this lane waits
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

// Fails the launch unless the lanes of `mask` have come to one operation.
void BlockRunner::check_agreement(const Warp& warp, unsigned mask) {
  const unsigned me = lane();
  const uint32_t tag = warp.tag[me];
  uint32_t differing = 0;
  if (mask == kFullMask) {
    for (unsigned other = 0; other < 32; ++other) {
      differing |= (warp.mask[other] ^ mask) | (warp.tag[other] ^ tag);
    }
    if (differing == 0) return;
  }
  for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
    const unsigned other = std::countr_zero(lanes);
    if (warp.mask[other] == mask && warp.tag[other] == tag) continue;
    char message[400];
    snprintf(message, sizeof message,
             "lanes meet in different warp operations: lane %u at %s:%u with mask %08x, lane %u at "
             "%s:%u with mask %08x",
             me, warp.place[me]->file_name(), warp.place[me]->line(), mask, other,
             warp.place[other]->file_name(), warp.place[other]->line(), warp.mask[other]);
    fail(cudaErrorLaunchFailure, message);
  }
}

void BlockRunner::shuffle(Warp& warp, unsigned mask) {
  if (mask == kFullMask) {
    for (unsigned to = 0; to < 32; ++to) warp.taken[to] = warp.given[warp.source[to] & 31U];
    return;
  }
  for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
    const unsigned to = std::countr_zero(lanes);
    const unsigned from = warp.source[to];
    if ((mask >> from & 1U) == 0) {
      char message[400];
      snprintf(message, sizeof message, "lane %u reads lane %u, outside the mask %08x, at %s:%u",
               to, from, mask, warp.place[to]->file_name(), warp.place[to]->line());
      fail(cudaErrorLaunchFailure, message);
    }
    warp.taken[to] = warp.given[from];
  }
}

// What the last lane to come does for all.
void BlockRunner::complete(Warp& warp, unsigned mask, WarpOperation operation, Combine combine) {
  check_agreement(warp, mask);
  switch (operation) {
    case WarpOperation::kBarrier:
      break;
    case WarpOperation::kShuffle:
      shuffle(warp, mask);
      break;
    case WarpOperation::kBallot: {
      uint64_t votes = 0;
      for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
        const unsigned voter = std::countr_zero(lanes);
        votes |= (warp.given[voter] & 1U) << voter;
      }
      for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
        warp.taken[std::countr_zero(lanes)] = votes;
      }
      break;
    }
    case WarpOperation::kMeet: {
      void* deposits[32] = {};
      for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
        const unsigned giver = std::countr_zero(lanes);
        deposits[giver] = std::bit_cast<void*>(warp.given[giver]);
      }
      combine(deposits, mask);
      break;
    }
  }
}

}  // namespace leasehold::emulation
