// Every order of events that a schedule of saves can meet: whatever happens, a save that failed is
// tried again when its event says, and one that is due is not lost.
#include "runtime/train/save_schedule.h"

#include <functional>
#include <gtest/gtest.h>
#include <optional>
#include <vector>

namespace leasehold {
namespace {

// A run of steps as the state keeper leads it, with what is promised about it.
struct World {
  explicit World(const SaveScheduleOptions& options)
      : schedule(options), every(options.every_steps) {}

  SaveSchedule schedule;
  int64_t every;
  int64_t step = 0;
  double save_s = 0;  // measured with the first save that succeeds
  std::optional<int64_t>
      said;  // the step that the newest failure named, while none has begun since
  std::optional<int64_t> owed;  // the newest step whose save is due and not in files
  int64_t num_begun = 0;

  bool idle() const { return std::holds_alternative<SaveSchedule::Idle>(schedule.state()); }
};

// What may happen from one step to the next.
struct Choice {
  bool possible = true;  // no other snapshot is under way, and the saver is free
  enum { kNothing, kGood, kBad, kDropped } ends = kNothing;  // of what is under way
};

void save_failed(World& world) {
  world.said = world.schedule.fail();
  EXPECT_GT(*world.said, world.step);
  EXPECT_LE(*world.said, world.step + 64);
}

void advance(World& world, const Choice& choice) {
  ++world.step;
  world.schedule.step_done(world.step, 1, world.save_s);
  if (world.every > 0 && world.step % world.every == 0) world.owed = world.step;

  if (const auto taking = world.schedule.taking()) {
    if (choice.ends == Choice::kGood) world.schedule.copied();
    if (choice.ends == Choice::kBad) save_failed(world);
    if (choice.ends == Choice::kDropped) world.schedule.drop();
  } else if (const auto writing = world.schedule.writing()) {
    if (choice.ends == Choice::kGood) {
      world.schedule.saved();
      world.save_s = 1;
      if (world.owed && *world.owed <= *writing) world.owed.reset();
    }
    if (choice.ends == Choice::kBad) save_failed(world);
  }

  const bool wanted = world.schedule.wanted();
  if (world.said) {
    // No sooner than was said, and then at the first step at which it is possible.
    EXPECT_EQ(wanted, world.idle() && world.step >= *world.said);
  }
  if (!wanted || !choice.possible) return;
  EXPECT_TRUE(world.idle());
  world.schedule.take();
  EXPECT_EQ(world.schedule.taking(), world.step);
  world.said.reset();
  ++world.num_begun;
}

// When nothing goes wrong any more, what is owed is in files soon: after the end of what is under
// way, a wait that was said, a copy and a write.
void expect_nothing_lost(World world) {
  const int64_t until = std::max(world.said.value_or(0), world.step) + 5;
  const std::optional<int64_t> owed = world.owed;
  while (world.step < until) {
    advance(world, {.ends = Choice::kGood});
    if (!owed || !world.owed || *world.owed > *owed) return;
  }
  ADD_FAILURE() << "the save of step " << *owed << " is still owed at step " << world.step;
}

// All sequences of choices down to that depth.
void explore(const World& world, int depth, int64_t& num_seen) {
  ++num_seen;
  expect_nothing_lost(world);
  if (depth == 0 || testing::Test::HasFailure()) return;
  std::vector<Choice> choices = {{true, Choice::kNothing}, {false, Choice::kNothing}};
  if (!world.idle()) {
    for (const auto ends : {Choice::kGood, Choice::kBad}) {
      choices.push_back({true, ends});
      choices.push_back({false, ends});
    }
    if (world.schedule.taking()) choices.push_back({false, Choice::kDropped});
  }
  for (const Choice& choice : choices) {
    World next = world;
    advance(next, choice);
    explore(next, depth - 1, num_seen);
  }
}

TEST(SaveSchedule, WhateverTheOrderNothingIsLost) {
  for (const SaveScheduleOptions& options :
       {SaveScheduleOptions{.every_steps = 1}, SaveScheduleOptions{.every_steps = 3},
        SaveScheduleOptions{.mtbf_s = 100}, SaveScheduleOptions{.every_steps = 4, .mtbf_s = 10}}) {
    int64_t num_seen = 0;
    explore(World(options), 8, num_seen);
    EXPECT_GT(num_seen, 1000);
  }
}

// The seen case: the first save fails, and nothing has been measured that says when the next is
// due.
TEST(SaveSchedule, AFirstSaveThatFailsIsTriedAgainWhenWasSaid) {
  World world({.mtbf_s = 100});
  advance(world, {});
  ASSERT_EQ(world.schedule.taking(), 1);
  for (int64_t tries = 0; tries < 9; ++tries) {
    if (tries % 2 == 1) advance(world, {.ends = Choice::kGood});  // it fails while it is written
    advance(world, {.ends = Choice::kBad});
    const int64_t said = world.said.value();
    while (world.said) advance(world, {});
    EXPECT_EQ(world.step, said);
  }
}

TEST(SaveSchedule, TriesBecomeSeldomAndNeverEnd) {
  SaveSchedule schedule({.every_steps = 1});
  int64_t step = 0, tries = 0;
  std::vector<int64_t> waits;
  while (step < 600) {
    schedule.step_done(++step, 1, 0);
    if (!schedule.wanted()) continue;
    schedule.take();
    ++tries;
    waits.push_back(schedule.fail() - step);
  }
  EXPECT_EQ(std::vector<int64_t>(waits.begin(), waits.begin() + 8),
            (std::vector<int64_t>{1, 2, 4, 8, 16, 32, 64, 64}));
  EXPECT_GT(tries, 12);
}

TEST(SaveSchedule, WithoutAnyIntervalNothingIsWanted) {
  SaveSchedule schedule({});
  for (int64_t step = 1; step < 100; ++step) {
    schedule.step_done(step, 1, 1);
    EXPECT_FALSE(schedule.wanted());
  }
}

TEST(SaveSchedule, TheMeasuredIntervalCountsFromTheBeginOfTheLast) {
  SaveSchedule schedule({.mtbf_s = 200});
  schedule.step_done(1, 1, 0);
  ASSERT_TRUE(schedule.wanted());
  schedule.take();
  schedule.copied();
  schedule.step_done(2, 1, 0);
  schedule.saved();
  // sqrt(2 x 1 s x 200 s) = 20 s.
  for (int64_t step = 3; step <= 20; ++step) {
    schedule.step_done(step, 1, 1);
    EXPECT_FALSE(schedule.wanted()) << step;
  }
  schedule.step_done(21, 1, 1);
  EXPECT_TRUE(schedule.wanted());
}

TEST(SaveSchedule, ASaveElsewhereCounts) {
  SaveSchedule schedule({.every_steps = 2});
  schedule.step_done(2, 1, 0);
  ASSERT_TRUE(schedule.wanted());
  schedule.saved_elsewhere();
  EXPECT_FALSE(schedule.wanted());
  schedule.step_done(4, 1, 0);
  EXPECT_TRUE(schedule.wanted());
}

TEST(SaveSchedule, WhatIsKeptForEverIsDue) {
  SaveSchedule schedule({.keep_every = 3});
  std::vector<int64_t> wanted;
  for (int64_t step = 1; step <= 9; ++step) {
    schedule.step_done(step, 1, 0);
    if (!schedule.wanted()) continue;
    wanted.push_back(step);
    schedule.saved_elsewhere();
  }
  EXPECT_EQ(wanted, (std::vector<int64_t>{3, 6, 9}));
}

}  // namespace
}  // namespace leasehold
