// Whole supervised jobs on a clock that is moved by hand.
#include "launch/supervisor/supervisor.h"

#include <gtest/gtest.h>
#include <random>

#include "tests/launch/supervisor/simulation.h"

namespace leasehold {
namespace {

// Times count from the first launch.
std::string lease(const std::string& host, int slots, const std::string& more = "") {
  return fmt::format("[[lease]]\nid = \"of-{0}\"\nhosts = [\"{0}\"]\nslots = {1}\n{2}\n", host,
                     slots, more);
}
const std::string kTwoOwned = lease("a", 2) + lease("b", 2);

void expect_done(Simulation& world, const JobEnd& end) {
  EXPECT_EQ(end.exit_code, 0) << end.reason << "\n" << world.events();
  EXPECT_EQ(world.steps_done(), 100);
  EXPECT_EQ(world.steps_replayed(), 0);
  EXPECT_FALSE(world.overlapped());
}

// "4 4" of the worlds in the order of the generations.
std::string worlds(const Simulation& world) {
  std::vector<int64_t> ranks;
  for (const PastGeneration& past : world.state().timeline) ranks.push_back(past.world);
  return fmt::format("{}", fmt::join(ranks, " "));
}

TEST(Supervisor, RunsAJobToItsEnd) {
  Simulation world(kTwoOwned, {});
  const JobEnd end = world.run(1000);
  expect_done(world, end);
  EXPECT_EQ(worlds(world), "4");
  EXPECT_NE(world.events().find("\"job_done\""), std::string::npos);
  EXPECT_NE(world.events().find("\"generation_started\""), std::string::npos);
}

// Another job would start ranks on the same hosts.
TEST(Supervisor, ACalendarsHostsBelongToOneJob) {
  Simulation world(kTwoOwned, {});
  auto other = world.files().lock(Simulation::kCalendar + ".lock", "the job in /other (host x)");
  ASSERT_TRUE(other.ok());
  const Status refused = world.try_open().status();
  EXPECT_EQ(refused.code(), Code::kBadConfig);
  for (const char* part : {"is in use", "the job in /other (host x)", "a calendar with hosts"})
    EXPECT_NE(refused.message().find(part), std::string::npos) << refused.message();
  EXPECT_FALSE(world.files().exists(Simulation::kRunDir + "/supervisor/state.json"));
  other = error(Code::kInternal, "let go");
  {
    const auto first = world.try_open();
    ASSERT_TRUE(first.ok()) << first.status().message();
    EXPECT_TRUE((*first)->turn() == std::nullopt);
  }
  expect_done(world, world.run(1000));
}

// The directory is read-only, as an operator's may be.
TEST(Supervisor, ACalendarThatCannotBeClaimedIsToldOf) {
  Simulation world(kTwoOwned, {});
  world.put_hosts_lock("/no/such/directory/lock");
  expect_done(world, world.run(1000));
  EXPECT_NE(world.events().find("\"hosts_not_claimed\""), std::string::npos) << world.events();
}

TEST(Supervisor, LeavesAHostBeforeItsLeaseEnds) {
  Simulation world(lease("a", 2) + lease("b", 2, "end = \"+60s\""), {});
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 2");
  const PastGeneration& first = world.state().timeline[0];
  EXPECT_TRUE(first.planned);
  EXPECT_NE(first.ended.find('b'), std::string::npos) << first.ended;
  EXPECT_LE(first.ended_s, Simulation::kEpochS + 60);
  EXPECT_TRUE(world.state().failures.empty());
}

TEST(Supervisor, TakesATrancheThatJoins) {
  Simulation world(lease("a", 2) + lease("b", 6, "begin = \"+30s\""), {.steps = 100});
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "2 8");
  EXPECT_EQ(world.state().timeline[1].lost_s.has_value(), true);
}

// Half of the memory for each further stage; the hosts have one GiB a slot.
constexpr int64_t kGib = int64_t{1} << 30;
const Simulation::Job kLargeModel = {.layouts = {{.pipeline = 1}, {.pipeline = 2}, {.pipeline = 4}},
                                     .memory = [](const LayoutOfWorld& of) {
                                       return 4 * kGib / of.layout.pipeline / (of.world / 4);
                                     }};
const std::string kOneGib = "memory_per_slot_gib = 1";

TEST(Supervisor, TakesTheLayoutThatFits) {
  // Four ranks need four stages; with eight, two would do.
  Simulation world(lease("a", 4, kOneGib) + lease("b", 4, kOneGib + "\nbegin = \"+30s\""),
                   kLargeModel);
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 8");
  EXPECT_EQ(world.layouts(), (std::vector<Layout>{{.pipeline = 4}, {.pipeline = 2}}));
  EXPECT_NE(world.events().find("pipeline 4, ZeRO 1"), std::string::npos);
  EXPECT_EQ(world.num_forecasts(), 6);  // of two worlds, once
}

TEST(Supervisor, WaitsUntilAForecastCanBeMade) {
  Simulation world(lease("a", 4, kOneGib), kLargeModel);
  world.forbid_forecasts(50);
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4");
  EXPECT_GE(world.state().timeline[0].started_s, Simulation::kEpochS + 50);
  EXPECT_NE(world.events().find("\"forecast_failed\""), std::string::npos);
}

TEST(Supervisor, ANewOneKnowsTheLayoutThatRuns) {
  Simulation world(lease("a", 4, kOneGib), kLargeModel);
  int turns = 0;
  expect_done(world, world.run(1000, [&] { return ++turns % 40 == 0; }));
  EXPECT_EQ(worlds(world), "4");
  EXPECT_EQ(world.layouts(), (std::vector<Layout>{{.pipeline = 4}}));
}

TEST(Supervisor, WaitsForLeases) {
  Simulation world(lease("a", 2, "begin = \"+50s\""), {});
  expect_done(world, world.run(1000));
  EXPECT_GE(world.state().timeline[0].started_s, Simulation::kEpochS + 50);
  EXPECT_NE(world.events().find("\"waiting\""), std::string::npos);
}

TEST(Supervisor, RestartsAfterACrash) {
  Simulation world(kTwoOwned, {});
  world.crash_rank("b", 20);
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 4");
  ASSERT_EQ(world.state().failures.size(), 1U);
  EXPECT_EQ(world.state().failures[0].host, "b");
}

TEST(Supervisor, EndsWhatAKeeperThatVanishedHasLeft) {
  Simulation world(kTwoOwned, {});
  world.lose_keeper(20);
  expect_done(world, world.run(1000));  // at no time do two generations run
  EXPECT_EQ(worlds(world), "4 4");
  EXPECT_NE(world.story()[0].find("its keeper vanished"), std::string::npos) << world.story()[0];
}

TEST(Supervisor, LeavesOutAHostThatIsGoneAndTakesItBack) {
  Simulation world(kTwoOwned, {});
  world.cut_off("b", 20, 50);
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 2 4");
  EXPECT_NE(world.story()[0].find("no word from b"), std::string::npos) << world.story()[0];
  for (const char* event : {"\"host_unreachable\"", "\"host_answers\"", "\"killing\""}) {
    EXPECT_NE(world.events().find(event), std::string::npos) << event;
  }
}

TEST(Supervisor, AHostThatIsGoneFromTheStartIsFoundByTheStart) {
  Simulation world(kTwoOwned, {});
  world.cut_off("b", 0, 10000);
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 2");
}

TEST(Supervisor, WithoutHeartbeatsTheStuckWatchIsLeft) {
  Simulation world(kTwoOwned, {});
  world.silence_agents();
  world.cut_off("b", 20, 21);
  const JobEnd end = world.run(3000);
  expect_done(world, end);
  EXPECT_EQ(worlds(world), "4");  // a second's cut ends before anybody minds
}

TEST(Supervisor, QuarantinesAHostThatKeepsCrashing) {
  Simulation world(kTwoOwned, {});
  world.spoil("b", 40);
  expect_done(world, world.run(1000));
  EXPECT_NE(world.events().find("\"host_quarantined\""), std::string::npos);
  EXPECT_EQ(worlds(world), "4 4 4 2 4");
}

TEST(Supervisor, StopsAJobThatFailsInTheSameWayAtTheSameStep) {
  Simulation world(kTwoOwned, {});
  world.fail_at(30, 70);
  const JobEnd end = world.run(1000);
  EXPECT_EQ(end.exit_code, 70);
  EXPECT_EQ(worlds(world), "4 4 4");
  EXPECT_NE(end.reason.find("beyond 29"), std::string::npos) << end.reason;
  EXPECT_NE(world.events().find("\"job_stopped\""), std::string::npos);
}

TEST(Supervisor, StopsAtOnceWhereARestartCannotHelp) {
  for (const int code : {65, 78}) {
    Simulation world(kTwoOwned, {});
    world.fail_at(30, code);
    EXPECT_EQ(world.run(1000).exit_code, code);
    EXPECT_EQ(worlds(world), "4");
  }
}

TEST(Supervisor, GoesOnAfterAnEndWhenItIsLaunchedAgain) {
  Simulation world(kTwoOwned, {});
  world.fail_at(30, 70);
  EXPECT_EQ(world.run(1000).exit_code, 70);
  world.fail_at(-1, 0);  // somebody mended it
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 4 4 4");
}

TEST(Supervisor, AnOperatorStopsTheJobAndItGoesOnLater) {
  Simulation world(kTwoOwned, {});
  world.stop_at(20);
  EXPECT_EQ(world.run(1000).exit_code, 75);
  EXPECT_EQ(world.state().timeline.back().planned, true);
  EXPECT_LT(world.steps_done(), 30);
  world.stop_at(1e9);
  expect_done(world, world.run(1000));
}

TEST(Supervisor, AnOperatorStopsAGenerationThatStarts) {
  Simulation world(kTwoOwned, {.start_s = 20});
  world.stop_at(5);
  EXPECT_EQ(world.run(1000).exit_code, 75);
  EXPECT_EQ(world.steps_done(), 0);
}

TEST(Supervisor, EditsTakeEffectAndBadOnesDoNot) {
  Simulation world(kTwoOwned, {});
  world.edit_calendar("[[lease]]\nid = 3\n", 10);
  world.edit_calendar(lease("a", 2) + lease("b", 2, "end = \"+50s\""), 20);
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 2");
  EXPECT_NE(world.events().find("\"calendar_rejected\""), std::string::npos);
  EXPECT_NE(world.events().find("\"calendar_changed\""), std::string::npos);
  EXPECT_LE(world.state().timeline[0].ended_s, Simulation::kEpochS + 50);
}

// --- One host's fault leaves out one host ---

const std::string kThreeOwned = lease("a", 2) + lease("b", 2) + lease("c", 2);

TEST(Supervisor, AHostThatCannotTakePartIsLeftOutAndTriedAgain) {
  for (const bool is_said : {true, false}) {
    for (const int code : {64, 65, 66, 71, 72, 78, 127}) {
      SCOPED_TRACE(fmt::format("code {}, {}", code, is_said ? "said" : "not said"));
      Simulation world(kThreeOwned, {.steps = 200});
      world.misfit("b", {.exit_code = code, .until_s = 100, .is_said = is_said});
      const JobEnd end = world.run(1000);
      EXPECT_EQ(end.exit_code, 0) << end.reason;
      EXPECT_EQ(world.steps_done(), 200);
      // Its mount comes back between the second and the third time.
      EXPECT_EQ(worlds(world), "6 4 6 4 6");
      EXPECT_NE(world.events().find("\"host_left_out\""), std::string::npos);
      if (is_said) {
        EXPECT_NE(world.events().find("b is left out for 60 s: exit code"), std::string::npos);
        EXPECT_NE(world.events().find("No such file"), std::string::npos);
      }
    }
  }
}

TEST(Supervisor, HostsThatLackTheSameAreLeftOutTogether) {
  Simulation world(kThreeOwned + lease("d", 2), {});
  world.misfit("b", {});
  world.misfit("c", {});
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world).substr(0, 3), "8 4");
}

TEST(Supervisor, WhatEveryHostLacksStopsTheJobAtOnce) {
  Simulation world(kThreeOwned + lease("d", 2, "begin = \"+1h\""), {});
  for (const char* host : {"a", "b", "c"}) world.misfit(host, {.exit_code = 78, .words = "lanes"});
  const JobEnd end = world.run(1000);
  EXPECT_EQ(end.exit_code, 78);
  EXPECT_NE(end.reason.find("lanes"), std::string::npos);
  EXPECT_EQ(worlds(world), "6");
}

TEST(Supervisor, WhatTheOnlyHostLacksStopsTheJobAtOnce) {
  Simulation world(lease("a", 2), {});
  world.misfit("a", {});
  EXPECT_EQ(world.run(1000).exit_code, 66);
  EXPECT_EQ(worlds(world), "2");
}

TEST(Supervisor, ABadJobDoesNotGoThroughARackHostByHost) {
  for (const bool is_said : {true, false}) {
    std::string calendar;
    for (int i = 0; i < 40; ++i) calendar += lease(fmt::format("node-{}", i), 1);
    Simulation world(calendar, {.lanes = 1});  // one host at a time
    for (int i = 0; i < 40; ++i) world.misfit(fmt::format("node-{}", i), {.is_said = is_said});
    EXPECT_EQ(world.run(1000).exit_code, 66);
    EXPECT_EQ(worlds(world), "1 1 1");
  }
}

TEST(Supervisor, DifferentFaultsOfAllHostsAreWaitedFor) {
  Simulation world(kTwoOwned, {});
  world.misfit("a", {.exit_code = 66, .words = "no mount", .until_s = 40});
  world.misfit("b", {.exit_code = 78, .words = "no room in /dev/shm", .until_s = 1e9});
  const JobEnd end = world.run(2000);
  EXPECT_EQ(end.exit_code, 0) << end.reason << world.events();
}

TEST(Supervisor, AJobThatIsLaunchedAgainTriesAllHostsAgain) {
  Simulation world(kTwoOwned, {});
  for (const char* host : {"a", "b"}) world.misfit(host, {.until_s = 30, .is_said = false});
  EXPECT_EQ(world.run(1000).exit_code, 66);
  EXPECT_LT(world.now_s(), 30);
  world.misfit("a", {.until_s = 0});
  world.misfit("b", {.until_s = 0});
  expect_done(world, world.run(1000));
  EXPECT_EQ(world.state().timeline.back().world, 4);
}

// --- Clocks that are set, and drains that nobody hears ---

TEST(Supervisor, AStepOfTheWallClockKillsNobody) {
  for (const double seconds : {-4000, -300, 600, 40000}) {
    SCOPED_TRACE(seconds);
    Simulation world(kTwoOwned, {});
    world.step_wall_clock(seconds, 30);
    world.cut_off("b", 60, 90);
    expect_done(world, world.run(1000));
    EXPECT_EQ(worlds(world), "4 2 4");
    EXPECT_NE(world.events().find(fmt::format("the wall clock was set {}.0 s {}", std::abs(seconds),
                                              seconds > 0 ? "forward" : "back")),
              std::string::npos)
        << world.events();
    for (const PastGeneration& past : world.state().timeline) {
      EXPECT_LE(past.started_s, past.ended_s);
      EXPECT_LT(past.lost_s.value_or(0), 60);
    }
    EXPECT_LT(world.state().times.save_s.value_or(0), 10);
  }
}

TEST(Supervisor, AClockThatGoesBackOverrunsNoLease) {
  Simulation world(lease("a", 2) + lease("b", 2, "end = \"+60s\""), {});
  world.step_wall_clock(-300, 30);
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 2");
  EXPECT_LE(world.state().timeline[0].ended_s, Simulation::kEpochS + 60);
}

TEST(Supervisor, AClockThatGoesForwardEndsTheLeasesThatAreOver) {
  Simulation world(lease("a", 2) + lease("b", 2, "end = \"+300s\""), {});
  world.step_wall_clock(290, 30);
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 2");
  EXPECT_TRUE(world.state().timeline[0].planned);
  EXPECT_LE(world.state().timeline[0].ended_s, Simulation::kEpochS + 40);
}

TEST(Supervisor, AClockThatIsSetBetweenTwoSupervisorsKillsNobody) {
  for (const double seconds : {-4000, 4000}) {
    Simulation world(kTwoOwned, {});
    world.step_wall_clock(seconds, 30);
    bool died = false;
    expect_done(world, world.run(1000, [&] { return !died && (died = world.now_s() >= 29.75); }));
    EXPECT_EQ(worlds(world), "4");
  }
}

TEST(Supervisor, ADrainThatNobodyHearsEndsBeforeTheLease) {
  Simulation world(lease("a", 2) + lease("b", 2, "end = \"+60s\""), {});
  world.ignore_drains();
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4 2");
  EXPECT_NE(world.story()[0].find("failed: it was asked to drain"), std::string::npos)
      << world.story()[0];
  EXPECT_LE(world.state().timeline[0].ended_s, Simulation::kEpochS + 60);
}

TEST(Supervisor, ALeaseThatIsProlongedOrFollowedByAnotherEndsNothing) {
  for (const std::string& next : {std::string("slots = 2"), std::string("slots = 6"),
                                  std::string("slots = 2\nprice_per_slot_hour = 3")}) {
    Simulation world(lease("a", 2, "end = \"+40s\"") +
                         fmt::format("[[lease]]\nid = \"next\"\nhosts = [\"a\"]\n{}\nbegin = "
                                     "\"+40s\"\n",
                                     next),
                     {.lanes = 2});
    expect_done(world, world.run(1000));
    EXPECT_EQ(worlds(world), "2") << next;
  }
  // An edit in the last moment.
  Simulation world(lease("a", 2) + lease("b", 2, "end = \"+60s\""), {});
  world.edit_calendar(lease("a", 2) + lease("b", 2, "end = \"+1h\""), 50);
  expect_done(world, world.run(1000));
  EXPECT_EQ(worlds(world), "4");
}

// --- State that is out of reach ---

// Two hosts of three are in quarantine when the third could go on alone, from older files.
void quarantine_two_of_three(Simulation& world) {
  for (const double at_s : {10, 20, 50}) world.crash_rank("b", at_s);
  for (const double at_s : {30, 40, 51}) world.crash_rank("c", at_s);
}

TEST(Supervisor, HostsInQuarantineThatHoldTheNewestStateAreTakenBack) {
  for (const bool files : {false, true}) {
    SCOPED_TRACE(files ? "with an older, damaged file" : "without files");
    Simulation world(kThreeOwned, {});
    world.keep_state_in_memory(files ? 15 : 0);
    world.damage_files(45);
    quarantine_two_of_three(world);
    expect_done(world, world.run(1000));
    EXPECT_NE(world.events().find("\"host_quarantined\""), std::string::npos);
    EXPECT_NE(world.events().find("its memory holds the newest state"), std::string::npos);
    EXPECT_EQ(world.events().find("\"state_lost\""), std::string::npos);
    EXPECT_LT(world.now_s(), 200);
  }
}

TEST(Supervisor, HostsThatAreCutOffAreWaitedForAndTheirStateIsUsed) {
  Simulation world(kThreeOwned, {});
  world.keep_state_in_memory(15);
  world.cut_off("b", 30, 300);
  world.cut_off("c", 30, 400);
  expect_done(world, world.run(1000));
  EXPECT_NE(world.events().find("waiting 600 s at most"), std::string::npos);
  // With b's half of c's state there is enough.
  EXPECT_EQ(worlds(world), "6 4 6");
  EXPECT_EQ(world.events().find("\"state_lost\""), std::string::npos);
}

TEST(Supervisor, AfterTheLimitTheJobGoesBackAndSaysHowFar) {
  for (const bool files : {false, true}) {
    Simulation world(kThreeOwned, {.wait_for_state_s = 100});
    world.keep_state_in_memory(files ? 15 : 0);
    world.cut_off("b", 30, 1e6);
    world.cut_off("c", 30, 1e6);
    const JobEnd end = world.run(1000);
    EXPECT_EQ(end.exit_code, 0) << world.events();
    EXPECT_EQ(worlds(world), "6 2");
    ASSERT_EQ(world.begins().size(), 2U);
    EXPECT_EQ(world.begins()[1], files ? 11 : 0);
    const std::string lost = fmt::format("and {} steps are lost", files ? 14 : 25);
    EXPECT_NE(world.events().find(lost), std::string::npos) << world.events();
    // It is told before it happens, and once.
    const size_t told = world.events().find("\"state_lost\"");
    EXPECT_LT(told, world.events().rfind("\"generation_started\""));
    EXPECT_EQ(world.events().find("\"state_lost\"", told + 1), std::string::npos);
    EXPECT_GE(world.state().timeline[1].started_s, world.state().timeline[0].ended_s + 100);
  }
}

TEST(Supervisor, HostsWhoseLeaseDoesNotComeBackAreNotWaitedFor) {
  std::string calendar = lease("d", 2, "begin = \"+100s\"");
  for (const char* host : {"a", "b", "c"}) calendar += lease(host, 2, "end = \"+200s\"");
  Simulation world(calendar, {});
  world.keep_state_in_memory(0);
  world.cut_off("b", 30, 1e6);
  world.cut_off("c", 30, 1e6);
  EXPECT_EQ(world.run(1000).exit_code, 0);
  EXPECT_NE(world.events().find("\"state_lost\""), std::string::npos) << world.events();
  EXPECT_GE(world.state().timeline[1].started_s, Simulation::kEpochS + 195);
  EXPECT_LT(world.state().timeline[1].started_s, Simulation::kEpochS + 205);
}

// A lease that is taken instead would leave the state behind.
TEST(Supervisor, TheHostsOfTheStateComeBeforeBetterOnes) {
  Simulation world(lease("a", 2, "end = \"+1000s\"") + lease("b", 2, "end = \"+1000s\"") +
                       lease("c", 2, "begin = \"+20s\"") + lease("d", 2, "begin = \"+20s\""),
                   {.lanes = 4});
  world.keep_state_in_memory(0);
  world.crash_rank("a", 30);
  expect_done(world, world.run(1000));
  EXPECT_EQ(world.events().find("\"state_lost\""), std::string::npos);
}

TEST(Supervisor, FilesThatFailLeadToTheHostsThatHoldTheSameState) {
  Simulation world(kThreeOwned, {});
  world.keep_state_in_memory(15);  // step 12, in memory too
  world.damage_files(15.5);
  world.cut_off("b", 15.75, 200);
  world.cut_off("c", 15.75, 200);
  expect_done(world, world.run(1000));
  EXPECT_NE(world.events().find("exit code 65"), std::string::npos);
}

// --- Supervisors that die ---

// A run in which much happens; what is only found by waiting is left out where no supervisor lives
// so long.
void prepare_eventful(Simulation& world, bool with_waits) {
  world.crash_rank("a", 25);
  if (with_waits) world.cut_off("c", 45, 75);
  world.edit_calendar(lease("a", 2) + lease("b", 2, "end = \"+40s\"") +
                          lease("c", 4, "begin = \"+10s\"") + lease("d", 2, "begin = \"+90s\""),
                      15);
}
const std::string kEventful = lease("a", 2) + lease("b", 2, "end = \"+40s\"");

std::vector<std::string> undisturbed_story(bool with_waits) {
  Simulation world(kEventful, {});
  prepare_eventful(world, with_waits);
  expect_done(world, world.run(1000));
  return world.story();
}

TEST(Supervisor, ANewOneAfterEveryTurnMakesTheSameRun) {
  Simulation world(kEventful, {});
  prepare_eventful(world, /*with_waits=*/false);
  // What dies after each turn never sleeps: every other turn.
  bool dies = false;
  expect_done(world, world.run(1000, [&] { return dies = !dies; }));
  const auto story = undisturbed_story(false);
  EXPECT_GE(story.size(), 3U);
  EXPECT_EQ(world.story(), story);
}

std::vector<std::string> without_numbers(std::vector<std::string> story) {
  for (std::string& line : story) line.erase(0, line.find(':'));
  return story;
}

TEST(Supervisor, ACrashAtAnyChangeOfAFileMakesTheSameRun) {
  const std::vector<std::string> story = undisturbed_story(true);
  EXPECT_GE(story.size(), 5U) << fmt::format("{}", fmt::join(story, "\n"));
  Simulation counted(kEventful, {});
  prepare_eventful(counted, true);
  expect_done(counted, counted.run(1000));
  const int64_t changes = counted.files().num_changes();
  ASSERT_GT(changes, 50);
  for (int64_t n = 0; n < changes; n += 7) {
    SCOPED_TRACE(fmt::format("crash at change {} of {}", n, changes));
    Simulation world(kEventful, {});
    prepare_eventful(world, true);
    world.files().crash_at_change(n);
    expect_done(world, world.run(1000));
    // A number is used up when the supervisor dies between deciding and starting.
    std::vector<std::string> told = world.story();
    std::erase_if(told, [](const std::string& line) {
      return line.find("keeper vanished") != std::string::npos;
    });
    EXPECT_EQ(without_numbers(told), without_numbers(story));
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Supervisor, RandomDeathsAndDisastersEndWell) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    const auto below = [&](double limit) {
      return std::uniform_real_distribution<double>(0, limit)(random);
    };
    Simulation world(kTwoOwned + lease("c", 2, "begin = \"+20s\"\nend = \"+120s\""), {});
    for (const char* host : {"a", "b", "c"}) {
      world.crash_rank(host, below(150));
      const double from_s = below(150);
      if (below(1) < 0.5) world.cut_off(host, from_s, from_s + below(60));
    }
    const JobEnd end = world.run(5000, [&] { return below(1) < 0.02; });
    EXPECT_EQ(end.exit_code, 0) << end.reason << "\n" << world.events();
    EXPECT_EQ(world.steps_done(), 100);
    EXPECT_FALSE(world.overlapped());
  }
}

TEST(Supervisor, AFullDiskDelaysGenerationsAndStopsNone) {
  Simulation world(kTwoOwned, {});
  int turn = 0;
  const auto fill = [&] {
    ++turn;
    if (turn == 20) world.files().set_capacity(0);
    if (turn == 300) world.files().remove_capacity_limit();
    return false;
  };
  world.crash_rank("a", 30);
  expect_done(world, world.run(1000, fill));
  EXPECT_EQ(worlds(world), "4 4");
  EXPECT_GE(world.state().timeline[1].started_s, Simulation::kEpochS + 299 * 0.25);
}

TEST(Supervisor, TheSecondOneIsRefused) {
  Simulation world(kTwoOwned, {});
  const auto lock = world.files().make_directories(Simulation::kRunDir).ok()
                        ? world.files().lock(Simulation::kRunDir + "/lock", "host x, pid 7")
                        : Result<std::unique_ptr<FileLock>>(Status(Code::kStorage, "no directory"));
  ASSERT_TRUE(lock.ok());
  try {
    world.run(10);
    FAIL() << "it was let in";
  } catch (const StatusError& refused) {
    EXPECT_NE(std::string(refused.what()).find("in use"), std::string::npos) << refused.what();
    EXPECT_NE(std::string(refused.what()).find("host x, pid 7"), std::string::npos);
  }
}

}  // namespace
}  // namespace leasehold
