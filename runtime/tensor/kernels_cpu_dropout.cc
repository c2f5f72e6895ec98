#include "runtime/tensor/kernels_cpu_dropout.h"

#include <immintrin.h>

#ifndef __AVX2__
#error "the CPU kernels need AVX2: set LEASEHOLD_MARCH to x86-64-v3 or later"
#endif

namespace leasehold::cpu {

namespace {

// Philox blocks computed side by side: four to a register, a 64-bit lane for each word, since the
// 32 x 32 -> 64 bit product reads the low halves of such lanes. High halves hold anything.
constexpr int64_t kRegisters = 4;
constexpr int64_t kBlocks = 4 * kRegisters;

struct Words {
  __m256i w[4];  // of four blocks
};

__m256i splat(uint32_t value) { return _mm256_set1_epi64x(value); }

// One round as in philox4x32 (runtime/base/random.cc).
void run_round(Words& words, __m256i key0, __m256i key1) {
  const __m256i product0 = _mm256_mul_epu32(splat(0xD2511F53), words.w[0]);
  const __m256i product1 = _mm256_mul_epu32(splat(0xCD9E8D57), words.w[2]);
  const auto high = [](__m256i product) { return _mm256_srli_epi64(product, 32); };
  words.w[0] = _mm256_xor_si256(_mm256_xor_si256(high(product1), words.w[1]), key0);
  words.w[2] = _mm256_xor_si256(_mm256_xor_si256(high(product0), words.w[3]), key1);
  words.w[1] = product1;
  words.w[3] = product0;
}

// uniforms[0, 16): four blocks in order.
void store_uniforms(const Words& words, float* uniforms) {
  const auto pair = [](__m256i low, __m256i high) {
    return _mm256_blend_epi32(low, _mm256_slli_epi64(high, 32), 0b10101010);
  };
  const __m256i first = pair(words.w[0], words.w[1]);
  const __m256i second = pair(words.w[2], words.w[3]);
  const __m256i even = _mm256_unpacklo_epi64(first, second);  // blocks 0 and 2
  const __m256i odd = _mm256_unpackhi_epi64(first, second);   // blocks 1 and 3
  const auto store = [](float* to, __m256i four_and_four) {
    const __m256 integers = _mm256_cvtepi32_ps(_mm256_srli_epi32(four_and_four, 8));
    _mm256_storeu_ps(to, _mm256_mul_ps(integers, _mm256_set1_ps(0x1p-24F)));
  };
  store(uniforms, _mm256_permute2x128_si256(even, odd, 0x20));
  store(uniforms + 8, _mm256_permute2x128_si256(even, odd, 0x31));
}

// uniforms[0, 4 kBlocks): the numbers of blocks first_block ..., as RandomSite::uniform.
void draw_uniforms(const RandomSite& site, uint64_t first_block, float* uniforms) {
  Words words[kRegisters];
  for (int64_t i = 0; i < kRegisters; ++i) {
    const __m256i block =
        _mm256_add_epi64(_mm256_set1_epi64x(static_cast<int64_t>(first_block) + 4 * i),
                         _mm256_set_epi64x(3, 2, 1, 0));
    words[i] = {{block, _mm256_srli_epi64(block, 32), splat(site.microbatch), splat(site.step)}};
  }
  auto key0 = static_cast<uint32_t>(site.key);
  auto key1 = static_cast<uint32_t>(site.key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (Words& of_register : words) run_round(of_register, splat(key0), splat(key1));
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  for (int64_t i = 0; i < kRegisters; ++i) store_uniforms(words[i], uniforms + 16 * i);
}

}  // namespace

void dropout_factors(const Dropout& dropout, int64_t first, int64_t count, float* factors) {
  const float p = dropout.p;
  const float kept = 1.0F / (1.0F - p);
  const auto element = static_cast<uint64_t>(dropout.first_element + first);
  const auto skipped = static_cast<int64_t>(element % 4);
  float uniforms[kDropoutBlock + 4 * kBlocks];
  for (int64_t drawn = 0; drawn < skipped + count; drawn += 4 * kBlocks) {
    draw_uniforms(dropout.site, element / 4 + static_cast<uint64_t>(drawn / 4), uniforms + drawn);
  }
  for (int64_t i = 0; i < count; ++i) {
    factors[i] = uniforms[skipped + i] < p ? 0.0F : kept;
  }
}

}  // namespace leasehold::cpu
