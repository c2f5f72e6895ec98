#include "launch/supervisor/bookkeeping.h"

#include <gtest/gtest.h>

#include "tests/launch/supervisor/scene.h"

namespace leasehold {
namespace {

class BookkeepingTest : public ::testing::Test {
 protected:
  BookkeepingTest() { begin({"a", "b"}, 5); }

  void begin(const std::vector<std::string>& hosts, int64_t step) {
    const SupervisorState before = state_;
    state_ = running_state(hosts, "training", step);
    state_.failures = before.failures;
    state_.hosts = before.hosts;
    state_.running->first_step = step;
    state_.running->started_s = now_s_;
    seen_ = quiet_observation(hosts);
    seen_.keeper_alive = true;
  }

  std::vector<SupervisorEvent> look() { return absorb(state_, seen_, limits_, now_s_); }
  bool has_event(const std::vector<SupervisorEvent>& events, const std::string& name,
                 const std::string& part = "") {
    for (const SupervisorEvent& event : events) {
      if (event.name == name && event.reason.find(part) != std::string::npos) return true;
    }
    return false;
  }
  std::vector<SupervisorEvent> end(std::optional<int> code, std::optional<int> signal = {},
                                   FailureReport said = {}) {
    seen_.outcome = Outcome{code, signal, kStartS, now_s_};
    seen_.keeper_alive = false;
    seen_.said = std::move(said);
    return look();
  }
  // A generation on these hosts that fails; returns whether the job was stopped.
  bool fail(const std::vector<std::string>& hosts, std::optional<int> code,
            std::optional<int> signal = {}, FailureReport said = {}) {
    begin(hosts, state_.newest_step);
    now_s_ += 1;
    end(code, signal, std::move(said));
    return state_.end.has_value();
  }
  HostHealth::State health(const std::string& host) { return state_.hosts[host].health.state; }

  SupervisorState state_;
  Observation seen_;
  SupervisorLimits limits_ = test_limits();
  double now_s_ = kStartS;
};

using Health = HostHealth::State;

TEST_F(BookkeepingTest, ReadsTheEndsThatAreNoFailures) {
  EXPECT_TRUE(has_event(end(0), "generation_ended", "done"));
  ASSERT_TRUE(state_.end.has_value());
  EXPECT_EQ(state_.end->exit_code, 0);
  EXPECT_FALSE(state_.running.has_value());

  state_ = {};
  begin({"a"}, 5);
  state_.running->ending = Ending{.way = "planned", .reason = "the lease of a ends"};
  end(75);
  EXPECT_FALSE(state_.end.has_value());
  EXPECT_TRUE(state_.failures.empty());
  EXPECT_EQ(state_.timeline.back().ended, "the lease of a ends");
  EXPECT_TRUE(state_.timeline.back().planned);

  begin({"a"}, 5);  // somebody sent the ranks a signal
  end(75);
  EXPECT_FALSE(state_.end.has_value());
  EXPECT_TRUE(state_.failures.empty());
}

TEST_F(BookkeepingTest, StopsWithCodesThatARestartCannotHelp) {
  for (const int code : {64, 65, 66, 78}) {
    state_ = {};
    begin({"a", "b"}, 5);
    end(code, {}, {.message = "no such data"});
    ASSERT_TRUE(state_.end.has_value()) << code;
    EXPECT_EQ(state_.end->exit_code, code);
    EXPECT_NE(state_.end->reason.find("no such data"), std::string::npos);
  }
}

TEST_F(BookkeepingTest, EverythingElseIsAFailureThatIsTriedAgain) {
  for (const int code : {1, 69, 70, 74, 137}) {
    state_ = {};
    EXPECT_FALSE(fail({"a", "b"}, code)) << code;
    ASSERT_EQ(state_.failures.size(), 1U);
    EXPECT_EQ(state_.failures[0].way, fmt::format("exit code {}", code));
    EXPECT_FALSE(state_.timeline.back().planned);
  }
  state_ = {};
  EXPECT_FALSE(fail({"a", "b"}, {}, 9));
  EXPECT_EQ(state_.failures[0].way, "signal 9");
}

TEST_F(BookkeepingTest, AKeeperThatVanishedIsAFailure) {
  seen_.keeper_alive = false;
  look();
  ASSERT_EQ(state_.failures.size(), 1U);
  EXPECT_EQ(state_.failures[0].way, "keeper vanished");
}

TEST_F(BookkeepingTest, AForcedEndIsNamedAfterItsReason) {
  state_.running->ending =
      Ending{.kill = true, .way = "stuck", .reason = "stuck: no step for 85 s"};
  end(1);
  EXPECT_EQ(state_.failures.at(0).way, "stuck");
  EXPECT_EQ(state_.timeline.back().ended, "stuck: no step for 85 s");
}

// --- Progress ---

TEST_F(BookkeepingTest, MeasuresTheStartAndTheTimeLost) {
  state_.last_end_s = kStartS - 2;
  state_.times = {};
  now_s_ += 3;
  seen_.nodes["a"] = {make_report(1, "a", 5, "training"), now_s_};  // a step that was done before
  look();
  EXPECT_FALSE(state_.running->first_new_step_s.has_value());
  now_s_ += 1;
  seen_.nodes["a"].report.step = 6;
  seen_.nodes["a"].report.step_time_s = 0.5;
  seen_.nodes["a"].report.save_time_s = 0.25;
  EXPECT_TRUE(has_event(look(), "first_new_step", "step 6, 4.0 s"));
  EXPECT_EQ(state_.times.start_s, 4);
  EXPECT_EQ(state_.times.step_s, 0.5);
  EXPECT_EQ(state_.times.save_s, 0.25);
  EXPECT_TRUE(look().empty());
  end({}, 9);
  EXPECT_EQ(state_.timeline.back().lost_s, 6);
  EXPECT_EQ(state_.last_end_s, now_s_);
}

TEST_F(BookkeepingTest, TakesProgressFromTheLogWhenNoAgentIsHeard) {
  state_.running->training = false;
  state_.running->phase = "";
  now_s_ += 3;
  seen_.logged = LoggedStep{5, 0.1};
  look();
  EXPECT_FALSE(state_.running->training);
  seen_.logged = LoggedStep{7, 0.1};
  look();
  EXPECT_TRUE(state_.running->training);
  EXPECT_EQ(state_.newest_step, 7);
  EXPECT_EQ(state_.running->progress_s, now_s_);
}

TEST_F(BookkeepingTest, WorkInAPhaseIsProgress) {
  state_.running->phase = "validating";
  seen_.nodes["a"] = {make_report(1, "a", 5, "validating"), now_s_};
  seen_.nodes["b"] = {make_report(1, "b", 5, "validating"), now_s_};
  look();
  EXPECT_EQ(state_.running->progress_s, kStartS);
  now_s_ += 30;
  seen_.nodes["b"].report.work_done = 7;  // any of them counts
  look();
  EXPECT_EQ(state_.running->progress_s, now_s_);
  now_s_ += 30;
  look();
  EXPECT_EQ(state_.running->progress_s, now_s_ - 30);
}

TEST_F(BookkeepingTest, ReplayedStepsAreProgressButNotNew) {
  state_.running->step = 0;
  now_s_ += 3;
  seen_.nodes["a"] = {make_report(1, "a", 2, "training"), now_s_};
  look();
  EXPECT_EQ(state_.running->progress_s, now_s_);
  EXPECT_EQ(state_.newest_step, 5);
  EXPECT_FALSE(state_.running->first_new_step_s.has_value());
}

TEST_F(BookkeepingTest, MeasuredTimesFallSlowly) {
  state_.times.step_s = 10;
  seen_.nodes["a"] = {make_report(1, "a", 6, "training"), now_s_};
  seen_.nodes["a"].report.step_time_s = 1;
  look();
  EXPECT_EQ(state_.times.step_s, 9);
  seen_.nodes["a"].report.step = 7;
  seen_.nodes["a"].report.step_time_s = 20;
  look();
  EXPECT_EQ(state_.times.step_s, 20);
}

// --- Hosts ---

TEST_F(BookkeepingTest, AHostThatIsLostHasToAnswer) {
  state_.running->ending =
      Ending{.kill = true, .way = "no heartbeat", .reason = "no word from b", .suspects = {"b"}};
  end(1);
  EXPECT_EQ(health("b"), Health::kUnreachable);
  EXPECT_EQ(health("a"), Health::kGood);
  seen_.probes = {{"b", false, "no route"}};
  EXPECT_TRUE(has_event(look(), "host_unreachable", "no route"));
  EXPECT_TRUE(state_.failures.back().excused);
  EXPECT_EQ(state_.hosts["b"].next_probe_s, now_s_ + 2);
  EXPECT_TRUE(look().empty());  // told once
  EXPECT_EQ(state_.hosts["b"].next_probe_s, now_s_ + 4);
  for (int i = 0; i < 10; ++i) look();
  EXPECT_EQ(state_.hosts["b"].next_probe_s, now_s_ + limits_.max_probe_pause_s);
  seen_.probes = {{"b", true, ""}};
  EXPECT_TRUE(has_event(look(), "host_answers", "b"));
  EXPECT_EQ(health("b"), Health::kGood);
}

TEST_F(BookkeepingTest, MpirunsWordOfALostHostCounts) {
  end(1, {}, {.lost = {"b", "not-ours"}});
  EXPECT_EQ(health("b"), Health::kUnreachable);
  EXPECT_FALSE(state_.hosts.contains("not-ours"));
  EXPECT_EQ(state_.failures.at(0).host, "b");
}

// prterun ends with 0 when it has lost a host.
TEST_F(BookkeepingTest, ACodeOfZeroBeforeTheLastStepIsAFailure) {
  limits_.num_steps = state_.newest_step + 1;
  end(0);
  EXPECT_FALSE(state_.end.has_value());
  ASSERT_EQ(state_.failures.size(), 1U);
  EXPECT_NE(state_.failures[0].message.find("but the job stands at step"), std::string::npos)
      << state_.failures[0].message;
  begin({"a", "b"}, 0);
  state_.newest_step = limits_.num_steps;
  end(0);
  EXPECT_EQ(state_.end->exit_code, 0);
}

// MPICH's launcher does not say which host it lost.
TEST_F(BookkeepingTest, WhenALostHostHasNoNameEveryHostHasToAnswer) {
  end(255, {}, {.lost_unnamed = true});
  EXPECT_EQ(health("a"), Health::kUnreachable);
  EXPECT_EQ(health("b"), Health::kUnreachable);
  EXPECT_EQ(state_.failures.at(0).host, "");
}

TEST_F(BookkeepingTest, WhenNothingStartedEveryHostHasToAnswer) {
  state_.running->training = false;
  state_.running->phase = "";
  end(1);
  EXPECT_EQ(health("a"), Health::kUnreachable);
  EXPECT_EQ(health("b"), Health::kUnreachable);
  // Virtual nodes cannot be lost.
  state_ = {};
  begin({"a", "b"}, 0);
  state_.running->training = false;
  state_.running->phase = "";
  limits_.hosts_are_local = true;
  end(1);
  EXPECT_TRUE(state_.hosts.empty());
}

TEST_F(BookkeepingTest, ACrashIsChargedToTheHostOfTheRank) {
  EXPECT_FALSE(fail({"a", "b"}, 137, {}, {.rank = 2}));
  EXPECT_EQ(state_.failures.back().host, "b");
  EXPECT_EQ(state_.hosts["b"].crashes_s.size(), 1U);
  EXPECT_EQ(health("b"), Health::kGood);  // once is nothing
  // The launcher names the host and no rank.
  EXPECT_FALSE(fail({"a", "b"}, 255, {}, {.host = "a"}));
  EXPECT_EQ(state_.failures.back().host, "a");
  EXPECT_FALSE(fail({"a", "b"}, 255, {}, {.host = "not-ours"}));
  EXPECT_EQ(state_.failures.back().host, "");
  // A rank that left because a peer was gone is not to blame.
  EXPECT_FALSE(fail({"a", "b"}, 69, {}, {.rank = 2}));
  EXPECT_EQ(state_.failures.back().host, "");
}

// One host's data disk does not answer: all ranks end with 69, and name its rank.
TEST_F(BookkeepingTest, AnEndOnWhichRanksAgreedIsChargedToTheOneTheyName) {
  const FailureReport named{.rank = 0, .own_code = 69, .faulty_ranks = {2}, .message = "rank 2: "};
  ++state_.newest_step;
  for (int i = 0; i < 3; ++i) {
    ASSERT_FALSE(fail({"a", "b"}, 69, {}, named)) << "one host of several keeps failing";
    EXPECT_EQ(state_.failures.back().host, "b");
  }
  EXPECT_EQ(health("b"), Health::kQuarantined);
  EXPECT_EQ(health("a"), Health::kGood);
  // A rank that the launcher calls killed or lost is better evidence than one that others miss.
  begin({"a", "b"}, 9);
  state_.hosts.clear();
  EXPECT_FALSE(fail({"a", "b"}, 137, {}, named));
  EXPECT_EQ(state_.failures.back().host, "a");
  FailureReport lost = named;
  lost.lost = {"a"};
  EXPECT_FALSE(fail({"a", "b"}, 69, {}, lost));
  EXPECT_EQ(state_.failures.back().host, "a");
  // If the launcher says nothing, the ranks' word decides.
  FailureReport nothing = named;
  nothing.rank.reset();
  EXPECT_FALSE(fail({"a", "b"}, 137, {}, nothing));
  EXPECT_EQ(state_.failures.back().host, "b");
  // A rank that the launcher could not start is not the one that its peers miss.
  FailureReport unstarted = named;
  EXPECT_FALSE(fail({"a", "b"}, 127, {}, unstarted));
  EXPECT_EQ(health("a"), Health::kQuarantined);
}

TEST_F(BookkeepingTest, AHostThatKeepsCrashingIsQuarantinedLongerEachTime) {
  double expected_s = 60;
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < 3; ++i) {
      ++state_.newest_step;  // the job gets on
      ASSERT_FALSE(fail({"a", "b"}, 137, {}, {.rank = 2}));
    }
    ASSERT_EQ(health("b"), Health::kQuarantined);
    EXPECT_EQ(state_.hosts["b"].health.until_s, now_s_ + expected_s);
    now_s_ += expected_s;
    EXPECT_TRUE(has_event(look(), "host_back", "b"));
    EXPECT_EQ(health("b"), Health::kGood);
    expected_s = std::min(2 * expected_s, 3600.0);
  }
}

TEST_F(BookkeepingTest, OldCrashesAreForgiven) {
  for (int i = 0; i < 6; ++i) {
    ++state_.newest_step;
    now_s_ += limits_.crash_window_s / 2;
    fail({"a", "b"}, 137, {}, {.rank = 2});
    ASSERT_EQ(health("b"), Health::kGood) << i;
  }
}

// --- Hosts that are left out ---

TEST_F(BookkeepingTest, AFaultIsLeftOutLongerEachTimeAndForgivenWhenItTrains) {
  const FailureReport said{.own_code = 66, .faulty_ranks = {2, 3}, .message = "no such mount"};
  for (const double pause_s : {60, 120, 240}) {
    EXPECT_FALSE(fail({"a", "b"}, 66, {}, said));
    EXPECT_EQ(health("b"), Health::kQuarantined);
    EXPECT_EQ(health("a"), Health::kGood);
    EXPECT_EQ(state_.hosts["b"].health.until_s, now_s_ + pause_s);
    EXPECT_EQ(state_.hosts["b"].health.reason, "exit code 66: no such mount");
    EXPECT_TRUE(state_.failures.back().excused);
    now_s_ += pause_s;
    EXPECT_TRUE(has_event(look(), "host_back", "b"));
  }
  begin({"a", "b"}, state_.newest_step);
  look();
  EXPECT_EQ(state_.hosts["b"].fault, "");
  EXPECT_EQ(state_.hosts["b"].faults, 3);
  now_s_ += limits_.crash_window_s;
  look();
  EXPECT_EQ(state_.hosts["b"].faults, 0);
}

TEST_F(BookkeepingTest, TheNamesOfHostsMakeNoOtherFault) {
  seen_.leased = {"node-1", "node-2"};
  const auto fail_on = [&](const std::string& host, const std::string& other, int rank) {
    begin({"node-1", "node-2"}, 5);
    state_.running->hosts = planned_hosts({host, other});
    state_.running->training = false;
    state_.running->phase = "starting";
    end(78, {}, {.own_code = 78, .faulty_ranks = {rank}, .message = host + ": /dev/shm has 48 MB"});
  };
  fail_on("node-1", "node-2", 0);
  EXPECT_FALSE(state_.end.has_value());
  fail_on("node-2", "node-1", 1);
  ASSERT_TRUE(state_.end.has_value()) << "every host has it";
  EXPECT_EQ(state_.end->exit_code, 78);
}

TEST_F(BookkeepingTest, ABrokenHostIsLeftOutAtOnceAndAloneItIsAFailureLikeOthers) {
  const FailureReport said{.own_code = 71, .faulty_ranks = {1}, .message = "ECC"};
  EXPECT_FALSE(fail({"a", "b"}, 71, {}, said));
  EXPECT_EQ(health("a"), Health::kQuarantined);
  state_ = {};
  EXPECT_FALSE(fail({"a"}, 71, {}, said));
  EXPECT_EQ(state_.failures.back().host, "a");
  EXPECT_FALSE(fail({"a"}, 71, {}, said));
  EXPECT_TRUE(fail({"a"}, 71, {}, said));
  EXPECT_EQ(state_.end->exit_code, 71);
}

// Starting it again would end alike.
TEST_F(BookkeepingTest, MemoryThatNobodyHasStopsTheJobAtOnce) {
  const FailureReport said{.own_code = 72, .message = "no memory for activations"};
  EXPECT_TRUE(fail({"a", "b"}, 72, {}, said));
  EXPECT_EQ(state_.end->exit_code, 72);
}

// --- The newest state ---

TEST_F(BookkeepingTest, KnowsWhereTheNewestStateIs) {
  seen_.nodes["a"] = {make_report(1, "a", 5, "training"), now_s_};
  seen_.nodes["a"].report.committed_step = 4;
  seen_.nodes["a"].report.durable_step = 2;
  look();
  EXPECT_EQ(state_.held.step, 4);
  EXPECT_EQ(state_.held.durable_step, 2);
  EXPECT_EQ(state_.held.parts, (std::vector<HeldPart>{{"a", "b"}, {"b", "a"}}));
  EXPECT_TRUE(missing_holders(state_.held, planned_hosts({"a"})).empty()) << "it has b's copy";
  EXPECT_EQ(missing_holders(state_.held, planned_hosts({"c"})),
            (std::vector<std::string>{"a", "b"}));
  end(75);
  EXPECT_EQ(state_.held.durable_step, 5) << "what drained has saved";
  EXPECT_TRUE(missing_holders(state_.held, planned_hosts({"c"})).empty());
}

TEST_F(BookkeepingTest, AGenerationThatFindsLessThanWasHeldSaysSo) {
  state_.held = {.generation = 1, .step = 9, .parts = {{"a", "b"}}, .durable_step = 5};
  state_.running->number = 2;
  state_.running->training = false;
  state_.newest_step = 10;
  state_.running->first_step = 10;
  seen_.nodes["a"] = {make_report(2, "a", 5, "training"), now_s_};
  EXPECT_TRUE(has_event(look(), "state_lost", "4 steps are lost"));
  EXPECT_TRUE(look().empty());
}

// --- The job that cannot go on ---

TEST_F(BookkeepingTest, TheSameFailureThreeTimesAtOneStepStopsTheJob) {
  EXPECT_FALSE(fail({"a", "b"}, 70));
  EXPECT_FALSE(fail({"a", "b"}, 70));
  EXPECT_TRUE(fail({"a", "b"}, 70, {}, {.message = "a bug"}));
  EXPECT_EQ(state_.end->exit_code, 70);
  EXPECT_NE(state_.end->reason.find("a bug"), std::string::npos);
}

TEST_F(BookkeepingTest, FullStorageStopsWithItsCodeAndASignalWithAnInternalError) {
  for (int i = 0; i < 3; ++i) fail({"a"}, 74);
  EXPECT_EQ(state_.end->exit_code, 74);
  state_ = {};
  for (int i = 0; i < 3; ++i) fail({"a"}, {}, 11);
  EXPECT_EQ(state_.end->exit_code, 70);
}

TEST_F(BookkeepingTest, OtherFailuresOrStepsDoNotCount) {
  EXPECT_FALSE(fail({"a", "b"}, 70));
  EXPECT_FALSE(fail({"a", "b"}, 70));
  EXPECT_FALSE(fail({"a", "b"}, 74));
  EXPECT_FALSE(fail({"a", "b"}, 70));
  EXPECT_FALSE(fail({"a", "b"}, 70));
  ++state_.newest_step;
  EXPECT_FALSE(fail({"a", "b"}, 70));
  EXPECT_FALSE(fail({"a", "b"}, 70));
  EXPECT_TRUE(fail({"a", "b"}, 70));
}

TEST_F(BookkeepingTest, ScalingEatsNoneOfTheBudget) {
  EXPECT_FALSE(fail({"a", "b"}, 70));
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(fail({"a"}, 75));
  EXPECT_EQ(state_.failures.size(), 1U);
}

TEST_F(BookkeepingTest, OneBadHostOfSeveralIsNotTheJob) {
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(fail({"a", "b"}, 137, {}, {.rank = 3}));
  EXPECT_EQ(health("b"), Health::kQuarantined);
  // When the next one fails in the same way it is.
  EXPECT_TRUE(fail({"a"}, 137, {}, {.rank = 1}));
}

TEST_F(BookkeepingTest, HostsThatWereGoneExcuseTheJob) {
  for (int i = 0; i < 5; ++i) {
    begin({"a", "b"}, 5);
    state_.running->training = false;
    state_.running->phase = "";
    end(1);
    ASSERT_FALSE(state_.end.has_value()) << i;
    seen_.probes = {{"a", true, ""}, {"b", false, "no route"}};
    seen_.outcome.reset();
    look();
    state_.hosts["b"].health = {};
    state_.hosts["b"].failed_probes = 0;
  }
}

TEST_F(BookkeepingTest, KeepsOnlySoManyFailures) {
  for (int i = 0; i < 40; ++i) {
    ++state_.newest_step;
    fail({"a", "b"}, 70);
  }
  EXPECT_EQ(state_.failures.size(), kKeptFailures);
  EXPECT_EQ(state_.failures.back().step, state_.newest_step);
}

}  // namespace
}  // namespace leasehold
