// The twin of runtime/tensor/cuda/instructions.h for the emulated GPU. What it offers is what that
// one offers; the lanes of a warp meet in the instructions that the hardware executes for all of
// them. A lane reads shared memory when it arrives, so that what others write behind it without a
// barrier is missed. Of a thread's copies every other one happens when it is begun and the rest
// when they are waited for, so that both a missing wait and a copy to what is still read show.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/tensor/cuda/dialect.h"
#include "tests/emulated_gpu/block.h"
#include "tests/emulated_gpu/emulation.h"

namespace leasehold::cuda {

namespace emulated {

struct MatrixRow {
  uint16_t elements[8];
  bool transposed;
  uint32_t* words;  // 4
};

inline void exchange_matrices(void* const* deposits, unsigned) {
  const auto row = [&](unsigned lane) { return static_cast<const MatrixRow*>(deposits[lane]); };
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned group = lane / 4, pair = 2 * (lane % 4);
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
      uint32_t low, high;
      if (row(lane)->transposed) {
        low = row(8 * matrix + pair)->elements[group];
        high = row(8 * matrix + pair + 1)->elements[group];
      } else {
        low = row(8 * matrix + group)->elements[pair];
        high = row(8 * matrix + group)->elements[pair + 1];
      }
      row(lane)->words[matrix] = low | high << 16;
    }
  }
}

inline void load_matrices(const __nv_bfloat16* from, bool transposed, uint32_t (&words)[4],
                          const emulation::Place& place) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) {
    emulation::fail_kernel(cudaErrorMisalignedAddress,
                           "%s:%u: a row of a matrix at %p is not aligned to 16 bytes",
                           place.file_name(), place.line(), static_cast<const void*>(from));
  }
  MatrixRow row{.elements = {}, .transposed = transposed, .words = words};
  for (int i = 0; i < 8; ++i) std::memcpy(&row.elements[i], from + i, sizeof row.elements[i]);
  emulation::warp_meet(emulation::kFullMask, &row, exchange_matrices, place);
}

struct Product {
  const uint32_t* left;  // 4
  uint32_t right[2];
  float* sums;  // 4
};

inline float bf16_of(uint32_t words, unsigned half) {
  const uint32_t bits = half == 0 ? words << 16 : words & 0xFFFF0000U;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void multiply_all(void* const* deposits, unsigned) {
  float left[16][16], right[16][8], sums[16][8];
  const auto for_each_element = [&](auto&& f) {
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (unsigned i = 0; i < 4; ++i)
        f(*static_cast<const Product*>(deposits[lane]), lane / 4, 2 * (lane % 4), i);
    }
  };
  for_each_element([&](const Product& lane, unsigned group, unsigned pair, unsigned i) {
    for (unsigned half = 0; half < 2; ++half) {
      left[group + i % 2 * 8][pair + half + i / 2 * 8] = bf16_of(lane.left[i], half);
      if (i < 2) right[pair + half + i * 8][group] = bf16_of(lane.right[i], half);
    }
    sums[group + i / 2 * 8][pair + i % 2] = lane.sums[i];
  });
  for (int row = 0; row < 16; ++row) {
    for (int depth = 0; depth < 16; ++depth) {
      for (int column = 0; column < 8; ++column)
        sums[row][column] += left[row][depth] * right[depth][column];
    }
  }
  for_each_element([&](const Product& lane, unsigned group, unsigned pair, unsigned i) {
    lane.sums[i] = sums[group + i / 2 * 8][pair + i % 2];
  });
}

struct Copy {
  int64_t group;
  void* to;
  const void* from;  // null: zeros
  size_t bytes;

  void perform() const {
    if (from == nullptr) {
      std::memset(to, 0, bytes);
    } else {
      std::memcpy(to, from, bytes);
    }
  }
};

// Of one thread of the block that runs.
struct ThreadCopies {
  uint3 block{};
  int64_t num_groups = 0;
  uint64_t num_begun = 0;
  std::vector<Copy> waiting;  // in the order in which they were begun

  void perform_groups_but(int64_t open) {
    size_t done = 0;
    while (done < waiting.size() && waiting[done].group < num_groups - open)
      waiting[done++].perform();
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(done));
  }
};

// A stream's OS thread runs one block at a time. What a thread of an earlier block did not wait for
// is lost.
inline ThreadCopies& copies_of_thread() {
  static thread_local std::vector<ThreadCopies> of_threads;
  const size_t thread = threadIdx.x + blockDim.x * (threadIdx.y + size_t{blockDim.y} * threadIdx.z);
  if (of_threads.size() <= thread) of_threads.resize(thread + 1);
  ThreadCopies& copies = of_threads[thread];
  const uint3 block = blockIdx;
  if (copies.block.x != block.x || copies.block.y != block.y || copies.block.z != block.z) {
    copies.waiting.clear();
    copies.block = block;
  }
  return copies;
}

}  // namespace emulated

inline void load_matrices(const __nv_bfloat16* row, uint32_t (&words)[4],
                          const emulation::Place& place = emulation::Place::current()) {
  emulated::load_matrices(row, false, words, place);
}

inline void load_matrices_transposed(const __nv_bfloat16* row, uint32_t (&words)[4],
                                     const emulation::Place& place = emulation::Place::current()) {
  emulated::load_matrices(row, true, words, place);
}

inline void multiply_add(const uint32_t (&left)[4], uint32_t right0, uint32_t right1,
                         float (&sums)[4],
                         const emulation::Place& place = emulation::Place::current()) {
  emulated::Product product{.left = left, .right = {right0, right1}, .sums = sums};
  emulation::warp_meet(emulation::kFullMask, &product, emulated::multiply_all, place);
}

template <int kBytes>
inline void begin_copy(void* shared, const void* global, bool exists,
                       const emulation::Place& place = emulation::Place::current()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  const bool aligned = reinterpret_cast<uintptr_t>(shared) % kBytes == 0 &&
                       (!exists || reinterpret_cast<uintptr_t>(global) % kBytes == 0);
  if (!aligned) {
    emulation::fail_kernel(cudaErrorMisalignedAddress,
                           "%s:%u: a copy of %d bytes from %p to %p is not aligned to them",
                           place.file_name(), place.line(), kBytes, global, shared);
  }
  emulated::ThreadCopies& copies = emulated::copies_of_thread();
  const emulated::Copy copy{copies.num_groups, shared, exists ? global : nullptr, kBytes};
  if ((copies.num_begun++ + emulation::seed()) % 2 == 0) {
    copy.perform();
  } else {
    copies.waiting.push_back(copy);
  }
}

inline void close_copies() { ++emulated::copies_of_thread().num_groups; }

template <int kOpen>
inline void wait_for_copies() {
  emulated::copies_of_thread().perform_groups_but(kOpen);
}

inline float exp2_approximate(float x) {
  const float result = std::exp2(x);
  return result < 0x1p-126F ? 0 : result;
}

}  // namespace leasehold::cuda
