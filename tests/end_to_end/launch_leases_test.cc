// Tests that leases may begin, end and be edited while a job runs, and operators may drain it: no
// step is lost and no bit differs.
#include <csignal>
#include <random>

#include "launch/supervisor/forecast_words.h"
#include "runtime/base/clock.h"
#include "runtime/base/files.h"
#include "tests/end_to_end/launch_fixture.h"

namespace leasehold {
namespace {

class LaunchLeasesTest : public LaunchFixture {
 protected:
  // The run is long enough for a drain that a slow disk delays for seconds.
  LaunchLeasesTest() : LaunchFixture(1200) {}

  // Checks that each generation after the first continues from exactly the step at which the one
  // before drained.
  void expect_no_step_lost(size_t changes) {
    const auto drained = run_events("drained");
    const auto restored = run_events("restored");
    ASSERT_EQ(drained.size(), changes) << events(run_);
    ASSERT_EQ(restored.size(), changes) << events(run_);
    for (size_t i = 0; i < changes; ++i) {
      EXPECT_EQ(restored[i].details.at("step"), drained[i].details.at("step"));
    }
  }
  std::vector<std::string> worlds() {
    std::vector<std::string> found;
    for (const RunEvent& event : run_events("started"))
      found.push_back(event.details.at("world_size"));
    return found;
  }
};

TEST_F(LaunchLeasesTest, ALeaseThatEndsCostsNoStep) {
  write_calendar({{"owned-1"}, {"texas-a"}});
  launch();
  ASSERT_TRUE(wait_step(20)) << supervisor().errors();
  const double end_s = now_s() + 1.5;  // the margin is a second
  write_calendar({{"owned-1"}, {.host = "texas-a", .end_s = end_s}});
  expect_like_undisturbed();
  expect_no_step_lost(1);
  EXPECT_EQ(worlds(), (std::vector<std::string>{"2", "1"}));
  EXPECT_LT(run_events("generation_ended").front().time, format_utc(end_s))
      << "the host was given back too late";
}

TEST_F(LaunchLeasesTest, ATrancheJoinsAndTheWorldDividesTheLanesNoMore) {
  write_calendar({{"owned-1"}});
  launch();
  ASSERT_TRUE(wait_step(20)) << supervisor().errors();
  const double begin_s = now_s() + 0.7;
  write_calendar({{"owned-1"}, {.host = "texas-a", .slots = 2, .begin_s = begin_s}});
  expect_like_undisturbed();
  expect_no_step_lost(1);
  EXPECT_EQ(worlds(), (std::vector<std::string>{"1", "3"}));
  EXPECT_GE(run_events("draining").front().time, format_utc(begin_s)) << "before its lease began";
}

TEST_F(LaunchLeasesTest, TheLayoutFitsTheMemoryOfTheSlots) {
  // The memory that four ranks need, each with the whole model, is too little for two, which need
  // two stages.
  const Finished asked =
      train_tool({job_, "--forecast", "4:1:1:1", "--forecast", "2:1:1:1", "--forecast", "2:2:1:1"});
  ASSERT_EQ(asked.exit_code, 0) << asked.errors;
  const MemoryForecasts needs = parse_forecasts(asked.output).value();
  const int64_t memory = needs.at({4, {}});
  ASSERT_GT(needs.at({2, {}}), memory);
  ASSERT_LE(needs.at({2, {.pipeline = 2}}), memory);
  const LeasedHost owned = {.host = "owned-1", .slots = 2, .memory_per_slot_bytes = memory};
  LeasedHost leased = {.host = "texas-a", .slots = 2, .memory_per_slot_bytes = memory};
  write_calendar({owned, leased});
  launch();
  ASSERT_TRUE(wait_step(20)) << supervisor().errors();
  leased.end_s = now_s() + 1;  // the margin: no other generation begins there
  write_calendar({owned, leased});
  expect_like_undisturbed();
  expect_no_step_lost(1);
  EXPECT_EQ(worlds(), (std::vector<std::string>{"4", "2"}));
  const auto begun = run_events("generation_started");
  ASSERT_EQ(begun.size(), 2);
  EXPECT_EQ(begun[0].details.at("layout"), "pipeline 1, ZeRO 1");
  EXPECT_EQ(begun[1].details.at("layout"), "pipeline 2, ZeRO 1");
  EXPECT_NE(begun[1].reason.find("pipeline 2, ZeRO 1 needs"), std::string::npos) << begun[1].reason;
}

TEST_F(LaunchLeasesTest, TheCalendarIsEditedBadlyAndWell) {
  write_calendar({{"owned-1"}});
  launch();
  ASSERT_TRUE(wait_step(10)) << supervisor().errors();
  write_calendar_text("[[lease]]\nid = \"owned\"\nhots = [\"owned-1\"]\nslots = 1\n");
  ASSERT_TRUE(wait_event("calendar_rejected"));
  EXPECT_NE(run_events("calendar_rejected")[0].reason.find("hosts"), std::string::npos)
      << run_events("calendar_rejected")[0].reason;
  ASSERT_TRUE(wait_step(last_step() + 20));
  EXPECT_TRUE(run_events("draining").empty()) << events(run_);
  write_calendar({{"owned-1"}, {"texas-a"}});
  ASSERT_TRUE(wait_event("draining")) << events(run_);
  expect_like_undisturbed();
  expect_no_step_lost(1);
  EXPECT_EQ(worlds(), (std::vector<std::string>{"1", "2"}));
}

TEST_F(LaunchLeasesTest, DrainedWhileAGenerationStartsAndLaunchedAgain) {
  write_calendar({{"owned-1"}, {"texas-a"}});
  launch();
  ASSERT_TRUE(wait_event("generation_started")) << supervisor().errors();
  const Finished asked = tool({"drain", run_dir(run_)});
  EXPECT_EQ(asked.exit_code, 0) << asked.errors;
  const Finished drained = supervisor().wait(60);
  EXPECT_EQ(drained.exit_code, 75) << drained.errors;
  EXPECT_LT(last_step(), num_steps());
  launch();
  // Stop the job once more in the middle, by a signal to every process, as a service manager does.
  ASSERT_TRUE(wait_step(60)) << supervisor().errors();
  std::vector<pid_t> all = {supervisor().pid()};
  for (size_t i = 0; i < all.size(); ++i) {
    const auto children = children_of(all[i], "");
    all.insert(all.end(), children.begin(), children.end());
  }
  ASSERT_GE(all.size(), 5U) << "supervisor, keeper, mpirun and two ranks";
  for (const pid_t pid : all) ::kill(pid, SIGTERM);
  EXPECT_EQ(supervisor().wait(60).exit_code, 75);
  EXPECT_TRUE(posix_files().exists(
      fmt::format("{}/checkpoints/step-{:08d}/manifest.json", run_dir(run_), last_step())))
      << supervisor().errors();
  EXPECT_TRUE(ranks().empty());
  launch();
  expect_like_undisturbed();
}

TEST_F(LaunchLeasesTest, ASecondSupervisorAndPlainMpirunAreRefused) {
  write_calendar({{"owned-1"}, {"texas-a"}});
  launch();
  ASSERT_TRUE(wait_step(1)) << supervisor().errors();
  const Finished second =
      run_program({program("leasehold"), "launch", job_, "--set", "run.dir=" + run_dir(run_)},
                  directory_.path(), 30, mpi_environment());
  EXPECT_EQ(second.exit_code, 78) << second.errors;
  const std::string first = fmt::format("pid {}", supervisor().pid());
  EXPECT_NE(second.errors.find(first), std::string::npos) << second.errors;
  const Finished plain = train(2, run_);
  EXPECT_EQ(plain.exit_code, 78) << plain.errors;
  EXPECT_NE(plain.errors.find(first), std::string::npos) << plain.errors;
  EXPECT_EQ(tool({"clean", run_dir(run_)}).exit_code, 78);
  expect_like_undisturbed();
}

}  // namespace
}  // namespace leasehold
