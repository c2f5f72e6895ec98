// Tests that processes and nodes may die, freeze and come back: the run continues from the newest
// state left, and is the same training.
#include <csignal>
#include <random>

#include "runtime/base/clock.h"
#include "tests/end_to_end/launch_fixture.h"

namespace leasehold {
namespace {

// A snapshot begins after the one before has ended, which takes a few steps on a busy machine.
constexpr int64_t kMostStepsLost = 20;

class LaunchFailuresTest : public LaunchFixture {
 protected:
  void launch_on_two_nodes(const std::vector<std::string>& arguments = {}) {
    write_calendar({{"owned-1"}, {"texas-a"}});
    launch(arguments);
  }
};

TEST_F(LaunchFailuresTest, ARandomRankIsKilledAtARandomMoment) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  launch_on_two_nodes();
  ASSERT_TRUE(wait_step(2 + static_cast<int64_t>(random() % 200))) << supervisor().errors();
  const auto victim = rank(static_cast<int>(random() % 2));
  ASSERT_TRUE(victim);
  ::kill(victim->pid, SIGKILL);
  ASSERT_TRUE(wait_event("restored")) << events(run_);
  const auto ended = run_events("generation_ended");
  const RunEvent restored = run_events("restored")[0];
  const int64_t done = std::stoll(ended.at(0).details.at("step"));
  EXPECT_GE(std::stoll(restored.details.at("step")), done - kMostStepsLost) << restored.reason;
  expect_like_undisturbed();
}

TEST_F(LaunchFailuresTest, ANodeIsKilledWithItsMemoryAndThePartnersCopyIsUsed) {
  launch_on_two_nodes();
  ASSERT_TRUE(wait_step(60)) << supervisor().errors();
  kill_node("texas-a");
  ASSERT_TRUE(wait_event("restored")) << events(run_);
  const RunEvent restored = run_events("restored")[0];
  EXPECT_NE(restored.reason.find("as a partner's copy"), std::string::npos) << restored.reason;
  const int64_t done = std::stoll(run_events("generation_ended").at(0).details.at("step"));
  EXPECT_GE(std::stoll(restored.details.at("step")), done - kMostStepsLost);
  expect_like_undisturbed();
}

TEST_F(LaunchFailuresTest, HostsThatCannotTakePartAreLeftOutWithTheirReasons) {
  wrap_ranks(
      fmt::format("case \"$LEASEHOLD_NODE\" in\n"
                  "  no-program) sleep 0.5; exit 127 ;;\n"
                  "  no-mount) exec $RANK \"$@\" --set data.train={}/mount/train.bin ;;\n"
                  "  *) exec $RANK \"$@\" ;;\n"
                  "esac\n",
                  directory_.path()));
  write_calendar({{"owned-1"}, {"no-program"}, {"no-mount"}, {"texas-a"}});
  launch();
  ASSERT_TRUE(wait_event("host_left_out", 2)) << supervisor().errors();
  const auto left_out = run_events("host_left_out");
  EXPECT_NE(left_out[0].reason.find("no-program is left out for 60 s: exit code 127"),
            std::string::npos)
      << left_out[0].reason;
  EXPECT_NE(left_out[1].reason.find("no-mount is left out for 60 s: exit code 66"),
            std::string::npos)
      << left_out[1].reason;
  EXPECT_NE(left_out[1].reason.find("mount/train.bin"), std::string::npos) << left_out[1].reason;
  expect_like_undisturbed();
}

TEST_F(LaunchFailuresTest, AFrozenRankIsGivenUp) {
  launch_on_two_nodes({"--set", "launch.stuck_timeout_s=3"});
  ASSERT_TRUE(wait_step(40)) << supervisor().errors();
  const auto victim = rank(1);
  ASSERT_TRUE(victim);
  ::kill(victim->pid, SIGSTOP);
  expect_like_undisturbed();
  EXPECT_GE(run_events("generation_ended").size(), 2U);
  EXPECT_NE(::kill(victim->pid, 0), 0) << "the frozen rank is still there";
}

TEST_F(LaunchFailuresTest, TheSupervisorIsKilledBeforeDuringAndAfterAGenerationChange) {
  size_t supervisors = 1;
  const auto replace = [&] {
    kill_supervisor();
    launch();
    EXPECT_TRUE(wait_event("supervisor_started", ++supervisors)) << supervisor().errors();
  };
  launch_on_two_nodes();
  ASSERT_TRUE(wait_event("generation_started")) << supervisor().errors();
  replace();  // while a generation starts
  ASSERT_TRUE(wait_step(30)) << supervisor().errors();
  kill_supervisor();
  const int64_t alone = last_step();
  EXPECT_TRUE(wait_step(alone + 10)) << "training must go on without a supervisor";
  launch();
  EXPECT_TRUE(wait_event("supervisor_started", ++supervisors)) << supervisor().errors();
  write_calendar({{"owned-1"}});
  ASSERT_TRUE(wait_event("draining")) << events(run_);
  replace();  // while it leaves
  ASSERT_TRUE(wait_event("generation_ended")) << events(run_);
  replace();  // while the next one is about to start, or starts
  ASSERT_TRUE(wait_event("restored")) << supervisor().errors();
  replace();  // while it runs
  expect_like_undisturbed();
  EXPECT_EQ(run_events("started").size(), 2U) << events(run_);
}

TEST_F(LaunchFailuresTest, ARankThatWakesUpInANewerGenerationPublishesNothing) {
  // Start one rank of generation 1 without a keeper, as on a machine that was cut off.
  Process older({program("leasehold-train"), job_, "--set", "run.dir=" + run_dir(run_)},
                directory_.path(), {"LEASEHOLD_GENERATION=1"});
  ASSERT_TRUE(wait_step(15)) << older.errors();
  older.signal(SIGSTOP);
  launch_on_two_nodes();
  ASSERT_TRUE(wait_event("generation_started")) << supervisor().errors();
  ASSERT_TRUE(wait_step(60)) << supervisor().errors();
  older.signal(SIGCONT);
  const Finished fenced = older.wait(30);
  EXPECT_FALSE(fenced.timed_out);
  EXPECT_EQ(fenced.exit_code, 69) << fenced.errors;
  EXPECT_NE(fenced.errors.find("generation 2"), std::string::npos) << fenced.errors;
  // Another rank of generation 1 starts too late altogether.
  const Finished late =
      run_program({program("leasehold-train"), job_, "--set", "run.dir=" + run_dir(run_)},
                  directory_.path(), 30, {"LEASEHOLD_GENERATION=1"});
  EXPECT_EQ(late.exit_code, 69) << late.errors;
  for (const RunEvent& event : run_events())
    EXPECT_TRUE(event.generation != 1 || event.name != "failed");
  expect_like_undisturbed();
}

TEST_F(LaunchFailuresTest, PlainMpirunWithSnapshotsIsStoppedBySignalsAtRandomMoments) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 5; ++round) {
    Process running(train_command(2, run_), directory_.path(), mpi_environment());
    // Before mpirun has started its ranks the signal would end mpirun itself.
    ASSERT_TRUE(running.wait_for_text("started", 30)) << running.errors();
    system_clock().sleep_s(std::uniform_real_distribution<>(0.0, 0.4)(random));
    if (round % 2 == 0) {
      running.signal(SIGUSR1);
    } else {
      for (const pid_t pid : children_of(running.pid(), "leasehold-train")) ::kill(pid, SIGTERM);
    }
    const Finished finished = running.wait(60);
    const std::string all_done = fmt::format("finished: {} steps", num_steps());
    if (finished.errors.find(all_done) != std::string::npos) break;
    ASSERT_EQ(finished.exit_code, 75) << finished.errors;
  }
  // The supervisor continues the run that mpirun began.
  launch_on_two_nodes();
  expect_like_undisturbed();
}

}  // namespace
}  // namespace leasehold
