// Random numbers addressed by their use, not by the order of drawing: Philox4x32-10 (Salmon,
// Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11). The key comes from
// the job's seed and the name of a tensor or site; the counter from (step, microbatch, element
// index in the unsharded tensor). So every layout draws the same number for the same element.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace leasehold {

// Computes one block of four 32-bit words. Pure. Matches Random123's philox4x32 with 10 rounds.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// The numbers of one site at one (step, microbatch). Element i uses word i % 4 of block i / 4.
struct RandomSite {
  uint64_t key = 0;
  uint32_t step = 0;
  uint32_t microbatch = 0;

  // Makes a site whose key is the XXH3-64 of `name`, seeded with `seed`.
  static RandomSite make(uint64_t seed, std::string_view name, uint64_t step = 0,
                         uint64_t microbatch = 0);

  // Returns words 4 * block_index .. 4 * block_index + 3.
  std::array<uint32_t, 4> block(uint64_t block_index) const;
  uint32_t word(uint64_t element) const { return block(element / 4)[element % 4]; }
  // Returns a number uniform in [0, 1), with 24 bits.
  float uniform(uint64_t element) const;
  // Returns a standard normal number: Box-Muller in double over words (2i, 2i + 1), rounded to
  // float once.
  float normal(uint64_t element) const;
};

}  // namespace leasehold
