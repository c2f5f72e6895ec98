#include "runtime/tensor/algorithm_choices.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

constexpr const char* kText =
    "algorithms of x 1\n"
    "forward 1 = 1f 0\n"
    "weight 2 = none\n"
    "algorithms of y\n"
    "forward 1 = 2\n";

AlgorithmChoices parsed(const std::string& text) { return AlgorithmChoices::parse(text).value(); }

TEST(AlgorithmChoices, WhatIsWrittenReadsBackInOneOrder) {
  const AlgorithmChoices choices = parsed(kText);
  EXPECT_EQ(choices.to_text(), kText);
  EXPECT_EQ(parsed("algorithms of y\nforward 1 = 2\nalgorithms of x 1\nweight 2 = none\n"
                   "forward 1 = 1f 0"),
            choices);
  EXPECT_EQ(choices.by_library().at("x 1").at("forward 1"), "1f 0");
  EXPECT_EQ(parsed("").to_text(), "");
}

TEST(AlgorithmChoices, RefusesWhatIsNoTable) {
  for (const char* bad :
       {"\n", "forward 1 = 2\n", "algorithms of x\nforward 1\n",
        "algorithms of x\nalgorithms of x\n", "algorithms of x\nforward 1 = 2\nforward 1 = 2\n"}) {
    EXPECT_EQ(AlgorithmChoices::parse(bad).status().code(), Code::kBadData) << bad;
  }
}

TEST(AlgorithmChoices, AddingKeepsWhatWasThereAndNamesWhatDiffers) {
  AlgorithmChoices choices = parsed("algorithms of y\nforward 1 = 3\nweight 7 = 4\n");
  EXPECT_EQ(choices.add(parsed(kText)), std::vector<std::string>{"forward 1"});
  EXPECT_EQ(choices.to_text(),
            "algorithms of x 1\nforward 1 = 1f 0\nweight 2 = none\n"
            "algorithms of y\nforward 1 = 3\nweight 7 = 4\n");
  EXPECT_TRUE(choices.add(parsed("algorithms of y\nweight 7 = 4\n")).empty());
}

TEST(AlgorithmChoices, OneLibraryOfSeveral) {
  const AlgorithmChoices choices = parsed(kText);
  EXPECT_EQ(choices.of("y"), parsed("algorithms of y\nforward 1 = 2\n"));
  EXPECT_EQ(choices.of("z"), AlgorithmChoices());
  EXPECT_TRUE(choices.contain(choices.of("y")));
  EXPECT_FALSE(choices.of("y").contain(choices));
  EXPECT_FALSE(choices.contain(parsed("algorithms of y\nforward 1 = 3\n")));
  EXPECT_FALSE(choices.contain(parsed("algorithms of y\nforward 2 = 2\n")));
  EXPECT_FALSE(choices.contain(parsed("algorithms of z\n")));
}

}  // namespace
}  // namespace leasehold
