// Schedules as such: complete, in order, free of deadlocks, as long as the formula says, and within
// their memory.
#include "runtime/train/pipeline_schedule.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <optional>
#include <tuple>

namespace leasehold {
namespace {

constexpr auto k1F1B = PipelineSchedule::kOneForwardOneBackward;

using Done =
    std::map<std::tuple<Pass, int64_t, int64_t>, double>;  // (pass, part, microbatch) -> end

// When all stages are done, each action taking its time once what it needs is there; nothing when
// they wait for each other for ever.
std::optional<double> simulate(PipelineSchedule schedule, const PipelineShape& shape,
                               double forward_s, double backward_s) {
  std::vector<std::vector<PipelineAction>> actions;
  for (int stage = 0; stage < shape.num_stages; ++stage)
    actions.push_back(make_schedule(schedule, shape, stage));
  const int64_t parts = int64_t{shape.num_stages} * shape.num_chunks;
  std::vector<size_t> next(actions.size());
  std::vector<double> free_at(actions.size());
  Done done;
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t stage = 0; stage < actions.size(); ++stage) {
      while (next[stage] < actions[stage].size()) {
        const PipelineAction& action = actions[stage][next[stage]];
        const int64_t part = int64_t{action.chunk} * shape.num_stages + static_cast<int64_t>(stage);
        const bool forward = action.pass == Pass::kForward;
        // A backward needs the forward of its own part too.
        double ready = free_at[stage];
        if (!forward) ready = std::max(ready, done.at({Pass::kForward, part, action.microbatch}));
        const int64_t before = forward ? part - 1 : part + 1;
        if (before >= 0 && before < parts) {
          const auto found = done.find({action.pass, before, action.microbatch});
          if (found == done.end()) break;
          ready = std::max(ready, found->second);
        }
        free_at[stage] = ready + (forward ? forward_s : backward_s);
        done[{action.pass, part, action.microbatch}] = free_at[stage];
        ++next[stage];
        moved = true;
      }
    }
  }
  for (size_t stage = 0; stage < actions.size(); ++stage) {
    if (next[stage] < actions[stage].size()) return std::nullopt;
  }
  return *std::max_element(free_at.begin(), free_at.end());
}

template <typename Visit>
void for_each_shape(const Visit& visit) {
  for (const int stages : {1, 2, 3, 4, 6, 8}) {
    for (const int chunks : {1, 2, 3, 4}) {
      for (int64_t microbatches = 1; microbatches <= 3 * stages + 1; ++microbatches)
        visit(PipelineShape{stages, chunks, microbatches});
    }
  }
}

std::string in_words(const PipelineShape& shape) {
  return std::to_string(shape.num_stages) + " stages, " + std::to_string(shape.num_chunks) +
         " chunks, " + std::to_string(shape.num_microbatches) + " microbatches";
}

TEST(PipelineScheduleTest, EveryPassHappensOnceAndInOrder) {
  for_each_shape([](const PipelineShape& shape) {
    for (const auto schedule : {PipelineSchedule::kGpipe, k1F1B}) {
      for (int stage = 0; stage < shape.num_stages; ++stage) {
        std::map<std::pair<Pass, int>, int64_t> expected;
        for (const PipelineAction& action : make_schedule(schedule, shape, stage)) {
          int64_t& next = expected[{action.pass, action.chunk}];
          ASSERT_EQ(action.microbatch, next) << in_words(shape);
          ++next;
          if (action.pass == Pass::kBackward) {
            ASSERT_GE((expected[{Pass::kForward, action.chunk}]), next) << in_words(shape);
          }
        }
        ASSERT_EQ(expected.size(), static_cast<size_t>(2 * shape.num_chunks));
        for (const auto& [key, count] : expected) ASSERT_EQ(count, shape.num_microbatches);
      }
    }
  });
}

TEST(PipelineScheduleTest, NoStageWaitsForEver) {
  for_each_shape([](const PipelineShape& shape) {
    for (const auto schedule : {PipelineSchedule::kGpipe, k1F1B})
      EXPECT_TRUE(simulate(schedule, shape, 1, 2).has_value()) << in_words(shape);
  });
}

TEST(PipelineScheduleTest, OneStageGoesForwardAndBackwardInTurn) {
  const auto actions = make_schedule(k1F1B, {1, 1, 3}, 0);
  ASSERT_EQ(actions.size(), 6U);
  for (size_t i = 0; i < actions.size(); ++i) {
    EXPECT_EQ(actions[i].pass, i % 2 == 0 ? Pass::kForward : Pass::kBackward);
    EXPECT_EQ(actions[i].microbatch, static_cast<int64_t>(i / 2));
  }
}

// Compute time of a stage is M V (f + b) when a chunk takes f and b.
TEST(PipelineScheduleTest, BubblesAreAsLongAsTheFormulaSays) {
  for (const int stages : {2, 3, 4, 8}) {
    for (const int chunks : {1, 2, 4}) {
      for (const int64_t rounds : {1, 2, 5}) {
        const PipelineShape shape{stages, chunks, rounds * stages};
        const double compute = static_cast<double>(shape.num_microbatches * chunks) * 3;
        const double expected = compute * (1 + ideal_bubble(shape));
        EXPECT_NEAR(*simulate(k1F1B, shape, 1, 2), expected, 1e-9) << in_words(shape);
        if (chunks > 1) continue;
        EXPECT_NEAR(*simulate(PipelineSchedule::kGpipe, shape, 1, 2), expected, 1e-9);
      }
    }
  }
}

TEST(PipelineScheduleTest, OneForwardOneBackwardHoldsAsManyActivationsAsStagesFollow) {
  for (const int stages : {1, 2, 4, 8}) {
    for (const int64_t microbatches : {1, 3, 8, 40}) {
      for (int stage = 0; stage < stages; ++stage) {
        const PipelineShape shape{stages, 1, microbatches};
        EXPECT_EQ(largest_in_flight(make_schedule(k1F1B, shape, stage), 1).front(),
                  std::min<int64_t>(microbatches, stages - stage));
        EXPECT_EQ(
            largest_in_flight(make_schedule(PipelineSchedule::kGpipe, shape, stage), 1).front(),
            microbatches);
      }
    }
  }
}

// arXiv:2104.04473: interleaving keeps the bound of one stage's memory up to a factor of
// 1 + (stages - 1) / (stages * chunks).
TEST(PipelineScheduleTest, InterleavedActivationsAreBoundedWhateverTheMicrobatches) {
  for (const int stages : {2, 4, 8}) {
    for (const int chunks : {2, 3, 4}) {
      for (const int64_t microbatches : {stages, 10 * stages, 10 * stages + 1}) {
        const PipelineShape shape{stages, chunks, microbatches};
        int64_t sum = 0;
        for (const int64_t count : largest_in_flight(make_schedule(k1F1B, shape, 0), chunks))
          sum += count;
        // In flight at once: 2 (stages - 1) + (chunks - 1) stages + 1; the peaks of the chunks need
        // not coincide.
        EXPECT_LE(sum, 2 * (stages - 1) + (chunks - 1) * stages + 1 + chunks * stages)
            << in_words(shape);
      }
    }
  }
}

}  // namespace
}  // namespace leasehold
