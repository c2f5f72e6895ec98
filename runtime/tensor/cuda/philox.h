// The device's twin of runtime/base/random.h: the same numbers, bit for bit, addressed by (site,
// element). Callable on the host too, where tests compare the two.
#pragma once

#include <cstdint>

#include "runtime/tensor/cuda/dialect.h"

namespace leasehold::cuda {

struct RandomWords {
  uint32_t word[4];
};

// philox4x32 of runtime/base/random.cc.
__host__ __device__ inline RandomWords philox4x32(RandomWords counter, uint32_t key0,
                                                  uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter.word[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter.word[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0,
                static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1,
                static_cast<uint32_t>(product0)}};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

// leasehold::Dropout as kernels take it: its site, its probability, and what kept elements are
// multiplied by.
struct DropoutMask {
  float p = 0;
  float kept = 1;  // 1 / (1 - p)
  uint64_t key = 0;
  uint32_t step = 0;
  uint32_t microbatch = 0;
  int64_t first_element = 0;

  // Words 4 * block .. 4 * block + 3 of the site.
  __host__ __device__ RandomWords block(uint64_t block_index) const {
    return philox4x32({{static_cast<uint32_t>(block_index),
                        static_cast<uint32_t>(block_index >> 32), microbatch, step}},
                      static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32));
  }
  // 0 or `kept`, by an element's word: dropped when its uniform number is below p.
  __host__ __device__ float factor_of(uint32_t word) const {
    return static_cast<float>(word >> 8) * 0x1p-24F < p ? 0.0F : kept;
  }
  // The factor of element i of this tensor. Not to be asked when p is 0.
  __host__ __device__ float factor(int64_t i) const {
    const auto element = static_cast<uint64_t>(first_element + i);
    const RandomWords words = block(element / 4);
    const auto lane = static_cast<uint32_t>(element % 4);
    const uint32_t low = lane == 0 ? words.word[0] : words.word[1];
    const uint32_t high = lane == 2 ? words.word[2] : words.word[3];
    return factor_of(lane < 2 ? low : high);
  }
  // factors[j] of elements i + j: all 1 when p is 0. A block of four words serves four elements
  // where i + first_element is a multiple of four.
  template <int Count>
  __host__ __device__ void factors(int64_t i, float (&factors)[Count]) const {
    if (p == 0) {
      for (int j = 0; j < Count; ++j) factors[j] = 1;
      return;
    }
    const auto element = static_cast<uint64_t>(first_element + i);
    if constexpr (Count % 4 == 0) {
      if (element % 4 == 0) {
        for (int j = 0; j < Count; j += 4) {
          const RandomWords words = block(element / 4 + j / 4);
          for (int k = 0; k < 4; ++k) factors[j + k] = factor_of(words.word[k]);
        }
        return;
      }
    }
    for (int j = 0; j < Count; ++j) factors[j] = factor(i + j);
  }
};

}  // namespace leasehold::cuda
