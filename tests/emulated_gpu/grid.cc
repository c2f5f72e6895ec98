#include "tests/emulated_gpu/grid.h"

#include <cstdarg>
#include <cstdio>
#include <numeric>

#include "tests/emulated_gpu/annotate.h"
#include "tests/emulated_gpu/grid_block.h"

namespace leasehold::emulation {
namespace {

constinit thread_local BlockRunner* t_block = nullptr;

uint64_t mix(uint64_t seed, uint64_t value) {
  uint64_t x = seed + 0x9E3779B97F4A7C15ULL * (value + 1);
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ x >> 27) * 0x94D049BB133111EBULL;
  x ^= x >> 31;
  return x == 0 ? 1 : x;
}

}  // namespace

GridRunner::~GridRunner() {
  for (BlockRunner* block : sets_) delete block;
  for (void* fiber : tsan_fibers_) {
    if (fiber != nullptr) tsan_destroy_fiber(fiber);
  }
}

LaunchOutcome GridRunner::run(const Launch& launch) {
  LaunchOutcome outcome;
  const uint64_t num_blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  // Block order: i -> (first + i * stride) mod num_blocks, all of them once.
  uint64_t stride = 1;
  uint64_t first = 0;
  if (launch.seed != 0) {
    first = mix(launch.seed, 0) % num_blocks;
    stride = mix(launch.seed, 1) % num_blocks;
    while (std::gcd(stride, num_blocks) != 1) ++stride;
  }
  char start_point = 0;
  char end_point = 0;
  order_release(&start_point);
  uint64_t index = first;
  for (uint64_t i = 0; i < num_blocks && outcome.error == cudaSuccess; ++i) {
    BlockRunner*& block = sets_[kTsan ? i % kSets : 0];
    if (block == nullptr) block = new BlockRunner(tsan_fibers_);
    block->grid_start = &start_point;
    block->grid_end = &end_point;
    blockIdx = uint3{static_cast<unsigned>(index % launch.grid.x),
                     static_cast<unsigned>(index / launch.grid.x % launch.grid.y),
                     static_cast<unsigned>(index / launch.grid.x / launch.grid.y)};
    t_block = block;
    block->run(launch, launch.seed == 0 ? 0 : mix(launch.seed, 2 + i), &outcome);
    t_block = nullptr;
    index = (index + stride) % num_blocks;
  }
  order_acquire(&end_point);
  return outcome;
}

bool inside_kernel() { return t_block != nullptr; }
bool is_block_memory(const void* address) { return t_block != nullptr && t_block->owns(address); }

unsigned lane_index() { return t_block->lane(); }
int block_barrier(bool predicate, const Place& place) { return t_block->barrier(predicate, place); }

void warp_barrier(unsigned mask, const Place& place) {
  t_block->warp(BlockRunner::WarpOperation::kBarrier, mask, 0, 0, nullptr, place);
}
uint64_t warp_shuffle(unsigned mask, uint64_t value, unsigned source, const Place& place) {
  return t_block->warp(BlockRunner::WarpOperation::kShuffle, mask, value, source, nullptr, place);
}
unsigned warp_ballot(unsigned mask, bool predicate, const Place& place) {
  return static_cast<unsigned>(t_block->warp(BlockRunner::WarpOperation::kBallot, mask,
                                             predicate ? 1 : 0, 0, nullptr, place));
}
void warp_meet(unsigned mask, void* deposit, Combine combine, const Place& place) {
  t_block->warp(BlockRunner::WarpOperation::kMeet, mask, reinterpret_cast<uint64_t>(deposit), 0,
                combine, place);
}

void* shared_array(const SharedArray& array) {
  void* memory = t_block->shared().array(array);
  if (memory == nullptr) {
    fail_kernel(cudaErrorInvalidValue, "shared arrays take more than 48 KiB with %s (%zu bytes)",
                array.name, array.bytes);
  }
  return memory;
}

void* dynamic_shared_memory() { return t_block->shared().dynamic(); }

void fail_kernel(cudaError_t error, const char* format, ...) {
  char message[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  t_block->fail(error, message);
}

}  // namespace leasehold::emulation
