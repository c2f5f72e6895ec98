// What is decided, by the table: next_action of launch/supervisor/transition.h. (What is remembered
// is bookkeeping_test.cc.)
#include "launch/supervisor/transition.h"

#include <gtest/gtest.h>

#include "tests/launch/supervisor/scene.h"

namespace leasehold {
namespace {

using Kind = Action::Kind;

class TransitionTest : public ::testing::Test {
 protected:
  Action decide() const { return next_action(state_, seen_, limits_, now_s_); }
  void expect(Kind kind, const std::string& part = "") const {
    const Action action = decide();
    EXPECT_STREQ(action_name(action.kind), action_name(kind)) << action.reason;
    EXPECT_NE(action.reason.find(part), std::string::npos) << action.reason;
    EXPECT_FALSE(action.reason.empty());
  }

  void run(const std::string& phase, int64_t step = 5) {
    state_ = running_state({"a", "b"}, phase, step);
    seen_.keeper_alive = true;
    hear("a");
    hear("b");
  }
  void hear(const std::string& host) {
    seen_.nodes[host] = {make_report(1, host, state_.running->step, state_.running->phase), now_s_};
  }

  SupervisorState state_;
  Observation seen_ = quiet_observation({"a", "b"});
  SupervisorLimits limits_ = test_limits();
  double now_s_ = kStartS;
};

// --- Between generations ---

TEST_F(TransitionTest, StartsWhatThePlannerWants) { expect(Kind::kStart, "4 ranks on a, b"); }

TEST_F(TransitionTest, WaitsWithThePlannersReasonWhenItWantsNothing) {
  seen_.wanted = {.next_look_s = kStartS + 30, .reason = "the first lease begins in 30 s"};
  expect(Kind::kWait, "the first lease begins in 30 s");
  EXPECT_EQ(decide().until_s, kStartS + 30);
}

TEST_F(TransitionTest, AnOperatorStopsWhatDoesNotRun) {
  seen_.stop_wish = "Ctrl-C";
  expect(Kind::kFinish, "Ctrl-C");
  EXPECT_EQ(decide().exit_code, 75);
}

// 75 says that nothing is lost.
TEST_F(TransitionTest, AStopIsADrainOnlyIfTheNewestStepIsInFiles) {
  seen_.stop_wish = "Ctrl-C";
  state_.newest_step = 9;
  state_.held.durable_step = 6;
  state_.timeline = {past_generation(3, "exit code 74: no space left", false)};
  state_.failures = {failure("exit code 74", 9, "")};
  state_.failures.back().exit_code = 74;
  expect(Kind::kFinish, "the state of step 9 is in no checkpoint, files have step 6");
  expect(Kind::kFinish, "no space left");
  EXPECT_EQ(decide().exit_code, 74);
  state_.failures.back().exit_code = 70;
  EXPECT_EQ(decide().exit_code, 69) << "lost, and to be started again";
  state_.held.durable_step = 9;
  EXPECT_EQ(decide().exit_code, 75);
  state_.held.durable_step = 6;
  state_.timeline.push_back(past_generation(4, "the lease of a ends", true));
  EXPECT_EQ(decide().exit_code, 75) << "it drained, from an older step";
}

TEST_F(TransitionTest, FinishesWithWhatEndedTheJob) {
  state_.end = {65, "replay_mismatch"};
  expect(Kind::kFinish, "replay_mismatch");
  EXPECT_EQ(decide().exit_code, 65);
}

TEST_F(TransitionTest, TellsWhyItStartsAgain) {
  state_.timeline.push_back(past_generation(1, "lease x ends", true));
  expect(Kind::kStart, "generation 1 ended (lease x ends); 4 ranks");
  state_.timeline.push_back(past_generation(2, "signal 9", false));
  expect(Kind::kStart, "restart: generation 2 ended (signal 9)");
}

TEST_F(TransitionTest, AsksSuspectsBeforeItStarts) {
  state_.hosts["b"].health.state = HostHealth::State::kUnreachable;
  state_.hosts["b"].next_probe_s = now_s_;
  expect(Kind::kProbe, "b");
  EXPECT_EQ(decide().hosts, std::vector<std::string>{"b"});
  seen_.probing = {"b"};
  expect(Kind::kWait, "whether b answers");
  // Once it did not answer, nobody waits for it.
  seen_.probing.clear();
  state_.hosts["b"].failed_probes = 1;
  state_.hosts["b"].next_probe_s = now_s_ + 2;
  expect(Kind::kStart);
  now_s_ += 2;
  expect(Kind::kProbe, "b");
}

TEST_F(TransitionTest, AsksNobodyWhoseLeaseIsOver) {
  state_.hosts["b"].health.state = HostHealth::State::kUnreachable;
  seen_.leased = {"a"};
  expect(Kind::kStart);
}

TEST_F(TransitionTest, WaitsForTheEndOfAQuarantine) {
  state_.hosts["a"].health = {HostHealth::State::kQuarantined, kStartS + 60, "crashes"};
  seen_.wanted = {.reason = "nobody is left"};
  expect(Kind::kWait, "nobody is left");
  EXPECT_EQ(decide().until_s, kStartS + 60);
}

TEST_F(TransitionTest, RestartsWithoutProgressComeSlowerAndSlower) {
  std::vector<double> pauses;
  for (int i = 0; i < 9; ++i) {
    state_.failures.push_back(failure(fmt::format("way {}", i), state_.newest_step, ""));
    const Action action = decide();
    pauses.push_back(action.kind == Kind::kStart ? 0 : action.until_s - kStartS);
  }
  EXPECT_EQ(pauses, (std::vector<double>{0, 1, 2, 4, 8, 16, 32, 60, 60}));
  now_s_ = kStartS + 60;
  expect(Kind::kStart);
  now_s_ = kStartS;
  state_.newest_step = 1;  // a step was made since
  expect(Kind::kStart);
}

// --- While a generation runs ---

TEST_F(TransitionTest, LeavesAloneWhatRuns) {
  run("training");
  expect(Kind::kWait, "generation 1 runs");
}

TEST_F(TransitionTest, ADrainIsSignalledAgainAndEnds) {
  run("training");
  state_.running->ending = Ending{.way = "planned", .reason = "its lease ends", .asked_s = now_s_};
  expect(Kind::kSignalDrain);
  state_.running->ending->signalled = true;
  state_.running->ending->signals = 1;
  const double limit_s = limits_.stuck_timeout_s + limits_.margin_s + 3;
  now_s_ = kStartS + limit_s / 2 - 1;
  state_.running->progress_s = now_s_;  // a step: it trains on
  expect(Kind::kWait, "draining");
  now_s_ += 1;
  expect(Kind::kSignalDrain);
  state_.running->ending->signals = 2;
  expect(Kind::kWait, "draining");
  EXPECT_EQ(decide().until_s, kStartS + limit_s);
  now_s_ = state_.running->progress_s = kStartS + limit_s;
  hear("a");
  hear("b");
  expect(Kind::kKill, "asked to drain 58 s ago (its lease ends) and is in phase training");
  EXPECT_EQ(decide().ending.way, "drain");
  // A save that gets on may take as long as it likes.
  state_.running->phase = "saving";
  expect(Kind::kWait, "draining");
}

TEST_F(TransitionTest, ADrainEndsWhenTheLeaseDoes) {
  run("saving");
  state_.running->ending = Ending{.way = "planned",
                                  .reason = "its lease ends",
                                  .asked_s = now_s_,
                                  .signalled = true,
                                  .signals = 2};
  seen_.lease_end_s = now_s_ + 20;
  expect(Kind::kWait);
  EXPECT_EQ(decide().until_s, seen_.lease_end_s - limits_.margin_s);
  now_s_ += 20 - limits_.margin_s;
  expect(Kind::kKill, "in phase saving after step 5 still");
  // One that was cut short leaves ten seconds all the same.
  seen_.lease_end_s = state_.running->ending->asked_s + 1;
  now_s_ = state_.running->ending->asked_s + 5;
  expect(Kind::kWait);
  EXPECT_EQ(decide().until_s, state_.running->ending->asked_s + 10);
  // A lease that was over before is no deadline.
  seen_.lease_end_s = kStartS - 1;
  expect(Kind::kWait);
}

TEST_F(TransitionTest, ADrainThatIsNotNeededIsTakenBackBeforeItIsSignalled) {
  run("", 0);
  state_.running->ending = Ending{.way = "planned", .reason = "its lease ends", .asked_s = now_s_};
  expect(Kind::kTakeBackDrain, "its lease ends");
  seen_.planned_drain = "its lease ends";
  expect(Kind::kWait);
  seen_.planned_drain.reset();
  state_.running->ending->way = "operator";
  expect(Kind::kWait);
  state_.running->ending->way = "planned";
  state_.running->phase = "starting";
  expect(Kind::kSignalDrain);
}

TEST_F(TransitionTest, FewerRanksMayTakeLonger) {
  run("training");
  state_.times.step_s = 100;
  state_.times_world = 16;  // and 4 run
  now_s_ += 55 + 3 * 400 - 1;
  hear("a");
  hear("b");
  expect(Kind::kWait);
  now_s_ += 1;
  hear("a");
  hear("b");
  expect(Kind::kKill, "stuck");
  state_.times_world = 2;  // more ranks get no less time
  now_s_ = kStartS + 55 + 299;
  hear("a");
  hear("b");
  expect(Kind::kWait);
}

TEST_F(TransitionTest, DrainsWhenThePlannerSaysSo) {
  run("training");
  seen_.planned_drain = "the lease of b ends";
  const Action action = decide();
  EXPECT_EQ(action.kind, Kind::kDrain);
  EXPECT_EQ(action.ending.reason, "the lease of b ends");
  EXPECT_EQ(action.ending.way, "planned");
  EXPECT_FALSE(action.ending.kill);
}

TEST_F(TransitionTest, DrainsWhenAnOperatorSaysSo) {
  run("starting", 0);
  seen_.stop_wish = "Ctrl-C";
  EXPECT_EQ(decide().kind, Kind::kDrain);
  EXPECT_EQ(decide().ending.way, "operator");
}

// Before its first report a rank may not be ready for the signal.
TEST_F(TransitionTest, SignalsMpirunOnceTheRanksAreReadyForIt) {
  run("", 0);
  seen_.nodes.clear();
  state_.running->ending = Ending{.reason = "the lease of b ends", .asked_s = now_s_};
  expect(Kind::kWait, "draining: the lease of b ends");
  state_.running->phase = "starting";
  expect(Kind::kSignalDrain);
  state_.running->phase = "";
  state_.running->training = true;  // seen from metrics.jsonl alone
  expect(Kind::kSignalDrain);
  state_.running->ending->signalled = true;
  expect(Kind::kWait, "draining");
}

TEST_F(TransitionTest, GivesAGenerationSoLongToStart) {
  run("restoring", 0);
  state_.running->training = false;
  now_s_ += limits_.start_timeout_s - 1;
  expect(Kind::kWait);
  now_s_ += 1;
  expect(Kind::kKill, "launch.start_timeout_s");
  EXPECT_EQ(decide().ending.way, "start timeout");
  EXPECT_TRUE(decide().ending.suspects.empty());
  state_.running->training = true;
  state_.running->phase = "training";
  state_.running->progress_s = now_s_;
  expect(Kind::kWait);
}

TEST_F(TransitionTest, ADrainThatHangsAtTheStartIsEndedToo) {
  run("starting", 0);
  state_.running->training = false;
  state_.running->ending = Ending{.reason = "Ctrl-C", .asked_s = now_s_, .signalled = true};
  now_s_ += limits_.start_timeout_s;
  expect(Kind::kKill);
}

TEST_F(TransitionTest, NoStepForTooLongIsStuck) {
  run("training");
  const double limit_s = limits_.stuck_timeout_s + limits_.margin_s + 3 * *state_.times.step_s;
  now_s_ += limit_s - 0.1;
  hear("a");
  hear("b");
  expect(Kind::kWait);
  now_s_ += 0.1;
  expect(Kind::kKill, "stuck: no step");
  EXPECT_EQ(decide().ending.way, "stuck");
}

TEST_F(TransitionTest, SavingAndValidatingMayTakeLonger) {
  for (const char* phase : {"saving", "validating", ""}) {
    run(phase);
    state_.running->training = true;
    const double limit_s = limits_.stuck_timeout_s + limits_.margin_s + 3 * *state_.times.step_s;
    now_s_ = kStartS + limit_s;
    expect(Kind::kWait);
    now_s_ = kStartS + limits_.slow_phase_factor * limit_s;
    expect(Kind::kKill, "stuck");
    now_s_ = kStartS;
  }
}

TEST_F(TransitionTest, ANodeThatFallsSilentWhileStepsStopIsLost) {
  run("training");
  now_s_ += limits_.heartbeat_timeout_s + 3 * *state_.times.step_s;
  hear("a");
  expect(Kind::kKill, "no word from b");
  EXPECT_EQ(decide().ending.suspects, std::vector<std::string>{"b"});
  EXPECT_EQ(decide().ending.way, "no heartbeat");
}

// It is cut off from the supervisor alone, or not yet started.
TEST_F(TransitionTest, ASilentNodeIsLeftAloneWhileStepsCome) {
  run("training");
  now_s_ += 60;
  hear("a");
  state_.running->progress_s = now_s_ - 1;
  expect(Kind::kWait);
}

TEST_F(TransitionTest, WhenNobodyIsHeardItMayBeOurOwnEar) {
  run("training");
  now_s_ += limits_.heartbeat_timeout_s + 10;
  expect(Kind::kWait);
}

// A supervisor that took the generation up may never have heard a node that was lost before.
TEST_F(TransitionTest, ANodeThatWasNeverHeardIsLostOnceWeListenedLongEnough) {
  run("training");
  now_s_ += limits_.heartbeat_timeout_s + 10;
  hear("a");
  seen_.nodes.erase("b");
  seen_.listening_since_s = now_s_ - limits_.heartbeat_timeout_s + 1;
  expect(Kind::kWait);
  seen_.listening_since_s -= 1;
  expect(Kind::kKill, "no word from b");
}

TEST_F(TransitionTest, ReportsOfAnOlderGenerationDoNotCount) {
  run("training");
  now_s_ += limits_.heartbeat_timeout_s + 10;
  seen_.nodes["b"].report.generation = 0;
  seen_.nodes["b"].heard_s = now_s_;
  hear("a");
  expect(Kind::kKill, "no word from b");
}

TEST_F(TransitionTest, WhatDoesNotEndIsEndedByForce) {
  run("training");
  state_.running->ending = Ending{.kill = true, .way = "stuck", .reason = "x", .asked_s = now_s_};
  now_s_ += limits_.kill_grace_s - 1;
  expect(Kind::kWait, "being ended");
  now_s_ += 1;
  expect(Kind::kKillByForce);
}

TEST_F(TransitionTest, AsksHostsThatAreOutWhileOthersRun) {
  run("training");
  state_.hosts["c"].health.state = HostHealth::State::kUnreachable;
  state_.hosts["c"].failed_probes = 3;
  state_.hosts["c"].next_probe_s = now_s_ + 1;
  seen_.leased.insert("c");
  expect(Kind::kWait);
  EXPECT_EQ(decide().until_s, now_s_ + 1);
  now_s_ += 1;
  expect(Kind::kProbe, "c");
}

}  // namespace
}  // namespace leasehold
