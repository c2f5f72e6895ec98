#include "launch/layout_candidates.h"

#include <gtest/gtest.h>

#include "tests/launch/job_text.h"

namespace leasehold {
namespace {

std::vector<std::string> candidates(const std::vector<std::string>& overrides) {
  std::vector<std::string> words;
  for (const Layout& layout : layout_candidates(make_job(overrides))) {
    words.push_back(fmt::format("{}:{}:{}", layout.pipeline, layout.chunks, layout.zero));
  }
  return words;
}

using Words = std::vector<std::string>;

TEST(LayoutCandidates, KeepTheJobsOwnFirstAndTheCostlyLast) {
  EXPECT_EQ(
      candidates({"model.layers=4", "batch.lanes=8"}),
      (Words{"1:1:1", "1:1:2", "2:1:1", "2:1:2", "4:1:1", "4:1:2", "1:1:3", "2:1:3", "4:1:3"}));
  EXPECT_EQ(candidates({"model.layers=4", "batch.lanes=8", "parallel.zero=3"}),
            (Words{"1:1:3", "2:1:3", "4:1:3"}));
}

TEST(LayoutCandidates, HoldOnlyWhatTheJobCanRun) {
  // ZeRO 2 and 3 need a lane for each microbatch.
  EXPECT_EQ(candidates({"model.layers=3", "batch.lanes=4"}), (Words{"1:1:1", "3:1:1"}));
  // Chunks are kept only at the depth that they were written for.
  EXPECT_EQ(
      candidates({"model.layers=8", "batch.lanes=4", "parallel.pipeline=2", "parallel.chunks=2"}),
      (Words{"2:2:1", "4:1:1", "8:1:1"}));
}

TEST(LayoutCandidates, BecomeTheJobsByTheirOverrides) {
  for (const Layout& layout : layout_candidates(make_job({"model.layers=4", "batch.lanes=8"}))) {
    std::vector<std::string> overrides = {"model.layers=4", "batch.lanes=8"};
    for (const std::string& text : layout_overrides(layout)) overrides.push_back(text);
    EXPECT_EQ(own_layout(make_job(overrides).parallel), layout);
  }
}

}  // namespace
}  // namespace leasehold
