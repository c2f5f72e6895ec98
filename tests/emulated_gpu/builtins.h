// The functions that CUDA gives to kernels and the host compiler does not: synchronisation,
// shuffles and votes here, loads, bits, arithmetic and integer atomics in builtins_math.h. Those
// that the vendor's headers define for the host (bf16 conversions and arithmetic, vector types) are
// the vendor's. Only what kernels use; a missing one does not compile.
#pragma once

#include <cstring>
#include <type_traits>

#include "tests/emulated_gpu/block.h"
#include "tests/emulated_gpu/builtins_math.h"

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)

using leasehold::emulation::Place;

inline void __syncthreads(const Place& place = Place::current()) {
  leasehold::emulation::block_barrier(false, place);
}
inline int __syncthreads_count(int predicate, const Place& place = Place::current()) {
  return leasehold::emulation::block_barrier(predicate != 0, place);
}
inline void __syncwarp(unsigned mask = leasehold::emulation::kFullMask,
                       const Place& place = Place::current()) {
  leasehold::emulation::warp_barrier(mask, place);
}

namespace leasehold::emulation {

template <typename T>
T shuffle(unsigned mask, T value, unsigned source, const Place& place) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  memcpy(&bits, static_cast<const void*>(&value), sizeof value);
  bits = warp_shuffle(mask, bits, source, place);
  memcpy(static_cast<void*>(&value), &bits, sizeof value);
  return value;
}

inline void check_width(int width, const Place& place) {
  if (width != 32 && width != 16 && width != 8 && width != 4 && width != 2 && width != 1) {
    fail_kernel(cudaErrorLaunchFailure, "a shuffle's width is %d at %s:%u", width,
                place.file_name(), place.line());
  }
}

}  // namespace leasehold::emulation

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              const Place& place = Place::current()) {
  leasehold::emulation::check_width(width, place);
  const unsigned lane = leasehold::emulation::lane_index();
  const unsigned within = static_cast<unsigned>(width) - 1;
  return leasehold::emulation::shuffle(
      mask, value, (lane & ~within) | (static_cast<unsigned>(source) & within), place);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 const Place& place = Place::current()) {
  leasehold::emulation::check_width(width, place);
  const unsigned lane = leasehold::emulation::lane_index();
  const unsigned within = static_cast<unsigned>(width) - 1;
  return leasehold::emulation::shuffle(mask, value, (lane & within) >= delta ? lane - delta : lane,
                                       place);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   const Place& place = Place::current()) {
  leasehold::emulation::check_width(width, place);
  const unsigned lane = leasehold::emulation::lane_index();
  const unsigned within = static_cast<unsigned>(width) - 1;
  return leasehold::emulation::shuffle(
      mask, value, (lane & within) + delta <= within ? lane + delta : lane, place);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  const Place& place = Place::current()) {
  leasehold::emulation::check_width(width, place);
  const unsigned lane = leasehold::emulation::lane_index();
  const unsigned source = lane ^ static_cast<unsigned>(lane_mask);
  // Of a later segment: the lane's own value; an earlier one may be read.
  const unsigned end = (lane | (static_cast<unsigned>(width) - 1)) + 1;
  return leasehold::emulation::shuffle(mask, value, source < end ? source : lane, place);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, const Place& place = Place::current()) {
  return leasehold::emulation::warp_ballot(mask, predicate != 0, place);
}
inline int __any_sync(unsigned mask, int predicate, const Place& place = Place::current()) {
  return leasehold::emulation::warp_ballot(mask, predicate != 0, place) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, const Place& place = Place::current()) {
  return leasehold::emulation::warp_ballot(mask, predicate == 0, place) == 0 ? 1 : 0;
}

[[noreturn]] inline void __trap() {
  leasehold::emulation::fail_kernel(cudaErrorLaunchFailure, "the kernel called __trap()");
}

// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
