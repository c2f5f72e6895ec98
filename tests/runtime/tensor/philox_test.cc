// Kernels draw the numbers of runtime/base/random.h.
#include "runtime/tensor/cuda/philox.h"

#include <gtest/gtest.h>

#include "runtime/tensor/kernels_cuda_arguments.h"

namespace leasehold {

namespace {

TEST(Philox, BlocksAreThoseOfTheHost) {
  const RandomSite site = RandomSite::make(7, "blocks.3.dropout", 12345, 678);
  const cuda::DropoutMask mask = mask_of({0.5F, site, 0});
  for (const uint64_t index :
       {uint64_t{0}, uint64_t{1}, uint64_t{0xFFFFFFFF}, uint64_t{1} << 33, ~uint64_t{0} >> 2}) {
    const auto expected = site.block(index);
    const cuda::RandomWords words = mask.block(index);
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(words.word[i], expected[i]) << index << " " << i;
  }
}

TEST(Philox, FactorsAreDropoutsOwnForEveryBeginning) {
  for (const float p : {0.0F, 0.1F, 0.75F}) {
    for (const int64_t first_element : {int64_t{0}, int64_t{3}, int64_t{1} << 40}) {
      const Dropout dropout{p, RandomSite::make(3, "site", 1, 2), first_element};
      const cuda::DropoutMask mask = mask_of(dropout);
      for (int64_t i = 0; i < 9; ++i) {
        float one[1], eight[8];
        mask.factors(i, one);
        mask.factors(i, eight);
        for (int64_t j = 0; j < 8; ++j) {
          const bool dropped =
              dropout.site.uniform(static_cast<uint64_t>(first_element + i + j)) < p;
          EXPECT_EQ(eight[j], dropped ? 0.0F : 1.0F / (1.0F - p)) << i << " " << j;
        }
        EXPECT_EQ(one[0], eight[0]);
      }
    }
  }
}

}  // namespace

}  // namespace leasehold
