#include "runtime/base/random.h"

#include <cmath>

#include "runtime/base/digest.h"

namespace leasehold {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

RandomSite RandomSite::make(uint64_t seed, std::string_view name, uint64_t step,
                            uint64_t microbatch) {
  return {digest64(name.data(), name.size(), seed), static_cast<uint32_t>(step),
          static_cast<uint32_t>(microbatch)};
}

std::array<uint32_t, 4> RandomSite::block(uint64_t block_index) const {
  return philox4x32({static_cast<uint32_t>(block_index), static_cast<uint32_t>(block_index >> 32),
                     microbatch, step},
                    {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
}

float RandomSite::uniform(uint64_t element) const {
  return static_cast<float>(word(element) >> 8) * 0x1p-24f;
}

float RandomSite::normal(uint64_t element) const {
  const auto words = block(element / 2);
  const uint32_t first = words[2 * (element % 2)];
  const uint32_t second = words[2 * (element % 2) + 1];
  const double u1 = (first + 0.5) * 0x1p-32;  // in (0, 1): the logarithm is finite
  const double u2 = second * 0x1p-32;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u1)) * std::cos(6.283185307179586477 * u2));
}

}  // namespace leasehold
