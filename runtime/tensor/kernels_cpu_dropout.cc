#include "runtime/tensor/kernels_cpu_dropout.h"

#include "runtime/base/vectors.h"

namespace leasehold::cpu {

namespace {

using vectors::kLanes;
using vectors::splat;
using vectors::U64s;

// Philox blocks computed side by side: a lane for each word of a block, since the 32 x 32 -> 64 bit
// product reads the low halves of 64-bit lanes. High halves hold anything.
constexpr int64_t kRegisters = 3;  // for each word: with four the loop spills AVX2's registers
constexpr int64_t kBlocks = kLanes * kRegisters;

struct Words {
  U64s w[4];  // of kLanes blocks
};

// One round as in philox4x32 (runtime/base/random.cc).
void run_round(Words& words, U64s key0, U64s key1) {
  const U64s product0 = vectors::multiply_low_halves(splat(0xD2511F53), words.w[0]);
  const U64s product1 = vectors::multiply_low_halves(splat(0xCD9E8D57), words.w[2]);
  words.w[0] = (product1 >> 32) ^ words.w[1] ^ key0;
  words.w[2] = (product0 >> 32) ^ words.w[3] ^ key1;
  words.w[1] = product1;
  words.w[3] = product0;
}

// uniforms[0, 2 kLanes): those of as many words.
void store_uniforms(U64s words, float* uniforms) {
  const auto integers =
      reinterpret_cast<vectors::I32s>(reinterpret_cast<vectors::U32s>(words) >> 8);
  vectors::store(__builtin_convertvector(integers, vectors::F32s) * 0x1p-24F, uniforms);
}

// uniforms[0, 4 kLanes): those of kLanes blocks in order.
void store_uniforms(const Words& words, float* uniforms) {
  const auto [low, high] = vectors::take_turns(vectors::join_low_halves(words.w[0], words.w[1]),
                                               vectors::join_low_halves(words.w[2], words.w[3]));
  store_uniforms(low, uniforms);
  store_uniforms(high, uniforms + 2 * kLanes);
}

// uniforms[0, 4 kBlocks): the numbers of blocks first_block ..., as RandomSite::uniform.
void draw_uniforms(const RandomSite& site, uint64_t first_block, float* uniforms) {
  U64s block = splat(first_block);
  for (int lane = 0; lane < kLanes; ++lane) block[lane] += static_cast<uint64_t>(lane);
  Words words[kRegisters];
  for (Words& of_register : words) {
    of_register = {{block, block >> 32, splat(site.microbatch), splat(site.step)}};
    block += kLanes;
  }
  auto key0 = static_cast<uint32_t>(site.key);
  auto key1 = static_cast<uint32_t>(site.key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (Words& of_register : words) run_round(of_register, splat(key0), splat(key1));
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  for (int64_t i = 0; i < kRegisters; ++i) store_uniforms(words[i], uniforms + 4 * kLanes * i);
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
