#include "runtime/tensor/kernels_cpu_dropout.h"

namespace leasehold::cpu {

namespace {

constexpr int64_t kBlocks =
    8;  // Philox blocks computed side by side, a vector register of each word

// uniforms[0, 4 kBlocks): the numbers of blocks first_block ..., as RandomSite::uniform.
void draw_uniforms(const RandomSite& site, uint64_t first_block, float* uniforms) {
  uint32_t words[4][kBlocks];
  for (int64_t i = 0; i < kBlocks; ++i) {
    const uint64_t block = first_block + static_cast<uint64_t>(i);
    words[0][i] = static_cast<uint32_t>(block);
    words[1][i] = static_cast<uint32_t>(block >> 32);
    words[2][i] = site.microbatch;
    words[3][i] = site.step;
  }
  auto key0 = static_cast<uint32_t>(site.key);
  auto key1 = static_cast<uint32_t>(site.key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int64_t i = 0; i < kBlocks; ++i) {
      const uint64_t product0 = uint64_t{0xD2511F53} * words[0][i];
      const uint64_t product1 = uint64_t{0xCD9E8D57} * words[2][i];
      words[0][i] = static_cast<uint32_t>(product1 >> 32) ^ words[1][i] ^ key0;
      words[1][i] = static_cast<uint32_t>(product1);
      words[2][i] = static_cast<uint32_t>(product0 >> 32) ^ words[3][i] ^ key1;
      words[3][i] = static_cast<uint32_t>(product0);
    }
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  for (int64_t i = 0; i < kBlocks; ++i) {
    for (int64_t word = 0; word < 4; ++word) {
      uniforms[4 * i + word] =
          static_cast<float>(static_cast<int32_t>(words[word][i] >> 8)) * 0x1p-24F;
    }
  }
}

}  // namespace

void dropout_factors(const Dropout& dropout, int64_t first, int64_t count, float* factors) {
  const float kept = 1.0F / (1.0F - dropout.p);
  const auto element = static_cast<uint64_t>(dropout.first_element + first);
  const auto skipped = static_cast<int64_t>(element % 4);
  float uniforms[kDropoutBlock + 4 * kBlocks];
  for (int64_t drawn = 0; drawn < skipped + count; drawn += 4 * kBlocks) {
    draw_uniforms(dropout.site, element / 4 + static_cast<uint64_t>(drawn / 4), uniforms + drawn);
  }
  for (int64_t i = 0; i < count; ++i) factors[i] = uniforms[skipped + i] < dropout.p ? 0.0F : kept;
}

}  // namespace leasehold::cpu
