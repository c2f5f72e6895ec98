// Tables of algorithms as text: what is written comes back, and what is no table is refused.
#include "runtime/tensor/cuda/product.h"

#include <gtest/gtest.h>

#include "runtime/base/random.h"

namespace leasehold::cuda {

namespace {

Product random_product(const RandomSite& site, uint64_t i) {
  const auto draw = [&](uint64_t which, uint32_t below) {
    return site.word(16 * i + which) % below;
  };
  Product product;
  product.form = static_cast<ProductForm>(draw(0, 3));
  product.rows = draw(1, 5000) + 1;
  product.columns = draw(2, 200000) + int64_t{1} + (int64_t{draw(3, 2)} << 40);
  product.depth = draw(4, 5000) + 1;
  product.input = draw(5, 2) == 0 ? DType::kF32 : DType::kBf16;
  product.output = draw(6, 2) == 0 ? DType::kF32 : DType::kBf16;
  product.epilogue = static_cast<Epilogue>(draw(7, 8));
  product.aligned = draw(8, 2) == 0;
  product.stride = draw(10, 2) * 64;
  return product;
}

TEST(AlgorithmTable, ComesBackFromItsText) {
  const RandomSite site = RandomSite::make(5, "products");
  AlgorithmTable table("cuBLASLt 13.1.0 on a part, compute capability 10.3");
  for (uint64_t i = 0; i < 200; ++i) {
    const Product product = random_product(site, i);
    std::optional<Algorithm> algorithm;
    if (site.word(16 * i + 9) % 3 != 0) {
      algorithm.emplace();
      for (uint64_t& word : algorithm->words) word = uint64_t{site.word(16 * i + 10)} << 20;
    }
    table.set(product, algorithm);
  }
  const auto again = AlgorithmTable::parse(table.to_text());
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again.value().library(), table.library());
  EXPECT_EQ(again.value().entries(), table.entries());
  EXPECT_EQ(again.value().to_text(), table.to_text());
}

TEST(AlgorithmTable, SaysWhatItWrites) {
  AlgorithmTable table("a library");
  table.set({.form = ProductForm::kWeight,
             .rows = 64,
             .columns = 48,
             .depth = 32,
             .input = DType::kBf16,
             .output = DType::kF32,
             .epilogue = Epilogue::kBiasGradient},
            Algorithm{{1, 0xAB}});
  table.set(
      {.rows = 3, .columns = 1, .depth = 2, .epilogue = Epilogue::kGeluAuxBias, .aligned = false},
      std::nullopt);
  EXPECT_EQ(table.to_text(),
            "algorithms of a library\n"
            "forward 3 1 2 F32 F32 gelu_aux_bias unaligned = none\n"
            "weight 64 48 32 BF16 F32 bias_gradient aligned = 1 ab 0 0 0 0 0 0\n");
  AlgorithmTable apart("a library");
  apart.set({.rows = 3, .columns = 33, .depth = 2, .stride = 64}, Algorithm{{7}});
  EXPECT_EQ(apart.to_text(),
            "algorithms of a library\n"
            "forward 3 33 2 F32 F32 none aligned stride 64 = 7 0 0 0 0 0 0 0\n");
}

TEST(AlgorithmTable, FindsWhatWasAskedFor) {
  AlgorithmTable table("a library");
  const Product product{.rows = 1, .columns = 2, .depth = 3};
  Product other = product;
  other.aligned = false;
  EXPECT_EQ(table.find(product), nullptr);
  table.set(product, Algorithm{{7}});
  table.set(other, std::nullopt);
  ASSERT_NE(table.find(product), nullptr);
  EXPECT_EQ((*table.find(product))->words[0], 7U);
  ASSERT_NE(table.find(other), nullptr);
  EXPECT_FALSE(table.find(other)->has_value());
}

TEST(AlgorithmTable, WhatIsNoTableIsRefused) {
  const std::string good =
      "algorithms of x\nforward 1 2 3 F32 F32 none aligned = 1 2 3 4 5 6 7 8\n";
  ASSERT_TRUE(AlgorithmTable::parse(good).ok());
  const std::string line = good.substr(good.find('\n') + 1);
  for (const std::string& bad : {
           std::string(),
           std::string("forward 1 2 3 F32 F32 none aligned = none\n"),
           good + line,
           good + "backward 1 2 3 F32 F32 none aligned = none\n",
           good + "input 1 2 x F32 F32 none aligned = none\n",
           good + "input 1 2 F32 F32 none aligned = none\n",
           good + "input 1 2 3 F33 F32 none aligned = none\n",
           good + "input 1 2 3 F32 F32 swish aligned = none\n",
           good + "input 1 2 3 F32 F32 none askew = none\n",
           good + "input 1 2 3 F32 F32 none aligned stride = none\n",
           good + "input 1 2 3 F32 F32 none aligned stride -64 = none\n",
           good + "input 1 2 3 F32 F32 none aligned apart 64 = none\n",
           good + "input 1 2 3 F32 F32 none aligned none\n",
           good + "input 1 2 3 F32 F32 none aligned = 1 2 3 4 5 6 7\n",
           good + "input 1 2 3 F32 F32 none aligned = 1 2 3 4 5 6 7 8 9\n",
           good + "input 1 2 3 F32 F32 none aligned = 1 2 3 4 5 6 7 g\n",
           good + "input 1 2 3 F32 F32 none aligned = 1 2 3 4 5 6 7 10000000000000000\n",
           good + "\n",
       }) {
    EXPECT_EQ(AlgorithmTable::parse(bad).status().code(), Code::kBadData) << bad;
  }
}

}  // namespace

}  // namespace leasehold::cuda
