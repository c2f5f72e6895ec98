#include "launch/supervisor/state.h"

#include <filesystem>
#include <gtest/gtest.h>

#include "tests/launch/supervisor/scene.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

SupervisorState full_state() {
  SupervisorState state = running_state({"a", "b"}, "training", 12);
  state.newest_generation = 3;
  state.running->number = 3;
  state.running->hosts[0].end_s = kStartS + 90.125;
  state.running->hosts[0].provider = "north \"quoted\"";
  state.running->supervisor = "127.0.0.1:4711";
  state.running->first_step = 7;
  state.running->first_new_step_s = kStartS + 1.5;
  state.running->ending = Ending{.kill = true,
                                 .way = "no heartbeat",
                                 .reason = "no word from b",
                                 .asked_s = kStartS + 2,
                                 .signalled = true,
                                 .suspects = {"b"}};
  state.last_end_s = kStartS - 3;
  state.hosts["c"] = {.health = {HostHealth::State::kQuarantined, kStartS + 60, "crashes"},
                      .crashes_s = {kStartS, kStartS + 0.1},
                      .quarantines = 2,
                      .failed_probes = 1,
                      .next_probe_s = kStartS + 4};
  state.failures = {failure("exit code 70", 5, "a"), failure("stuck", 6, "")};
  state.failures[0].excused = true;
  state.failures[1].only_host = true;
  state.failures[1].exit_code = 74;
  state.times = {.start_s = 1.25, .step_s = {}, .save_s = 0.1};
  state.timeline = {past_generation(1, "the lease of a ends", true),
                    past_generation(2, "signal 9", false)};
  state.timeline[1].lost_s = 1.0 / 3;
  state.end = JobEnd{65, "no"};
  return state;
}

TEST(SupervisorState, ComesBackAsItWas) {
  for (const SupervisorState& state : {SupervisorState(), full_state()}) {
    const std::string text = encode_state(state);
    const auto again = parse_state(text, "state.json");
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(encode_state(*again), text);
  }
  const auto again = parse_state(encode_state(full_state()), "state.json");
  EXPECT_EQ(again->running->hosts, full_state().running->hosts);
  EXPECT_EQ(again->running->ending, full_state().running->ending);
  EXPECT_EQ(again->timeline, full_state().timeline);
  EXPECT_EQ(again->hosts.at("c").crashes_s.size(), 2U);
  EXPECT_EQ(again->failures.at(0).host, "a");
  EXPECT_TRUE(again->failures.at(0).excused);
  EXPECT_EQ(again->end->exit_code, 65);
}

TEST(SupervisorState, TextThatIsNotUtf8IsKeptReadable) {
  SupervisorState state = full_state();
  state.running->reason = "rank said \xff\xfe";
  EXPECT_TRUE(parse_state(encode_state(state), "state.json").ok());
}

TEST(SupervisorState, EveryMemberIsWanted) {
  const std::string text = encode_state(full_state());
  // Each quoted name once, spoiled: nothing in the file may be missing or unknown.
  int64_t spoiled = 0;
  for (size_t at = text.find("\":"); at != std::string::npos; at = text.find("\":", at + 1)) {
    std::string changed = text;
    changed[at - 1] = changed[at - 1] == 'z' ? 'y' : 'z';
    const auto parsed = parse_state(changed, "state.json");
    EXPECT_EQ(parsed.status().code(), Code::kBadData) << changed.substr(at - 20, 40);
    EXPECT_NE(parsed.status().message().find("state.json"), std::string::npos);
    ++spoiled;
  }
  EXPECT_GT(spoiled, 60);
}

TEST(SupervisorState, RefusesWhatCannotBe) {
  const std::string text = encode_state(full_state());
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    return parse_state(changed, "state.json").status();
  };
  EXPECT_NE(replaced("\"quarantined\"", "\"tired\"").message().find("hosts[0].health"),
            std::string::npos);
  EXPECT_EQ(replaced("\"version\": 1", "\"version\": 2").code(), Code::kBadData);
  EXPECT_EQ(replaced("\"newest_generation\": 3", "\"newest_generation\": 2").code(),
            Code::kBadData);
  EXPECT_EQ(replaced("\"slots\": 2", "\"slots\": -2").code(), Code::kBadData);
  EXPECT_EQ(replaced("\"exit_code\": 65", "\"exit_code\": 1e3").code(), Code::kBadData);
}

TEST(SupervisorState, LiesInTheRunDirectory) {
  TemporaryDirectory directory;
  EXPECT_EQ(load_state(posix_files(), directory.path()).status().code(), Code::kMissingInput);
  ASSERT_TRUE(save_state(posix_files(), directory.path(), full_state()).ok());
  const auto loaded = load_state(posix_files(), directory.path());
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(encode_state(*loaded), encode_state(full_state()));
}

TEST(SupervisorState, ADamagedFileSaysHowToGoOn) {
  TemporaryDirectory directory;
  ASSERT_TRUE(save_state(posix_files(), directory.path(), full_state()).ok());
  const std::string path = state_path(directory.path());
  std::filesystem::resize_file(path, 100);
  const Status status = load_state(posix_files(), directory.path()).status();
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find(path), std::string::npos);
  EXPECT_NE(status.message().find("move the file away"), std::string::npos);
}

}  // namespace
}  // namespace leasehold
