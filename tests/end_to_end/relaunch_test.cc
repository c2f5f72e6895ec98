// Tests one generation over many virtual nodes whose supervisor is killed and launched again, over
// and over. `tests/relaunch` runs it; it is not part of ctest.
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <sys/resource.h>

#include "runtime/base/clock.h"
#include "tests/end_to_end/launch_fixture.h"

namespace leasehold {
namespace {

constexpr int64_t kEndlessSteps = 100'000'000;

int number_from(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr) return otherwise;
  int value = 0;
  const std::string_view view = text;
  const auto parsed = std::from_chars(view.data(), view.data() + view.size(), value);
  LEASEHOLD_CHECK(parsed.ec == std::errc() && parsed.ptr == view.data() + view.size() && value > 0,
                  "{}={} is no count", name, view);
  return value;
}

class RelaunchTest : public LaunchFixture {
 protected:
  RelaunchTest() : LaunchFixture(kEndlessSteps) {
    std::vector<LeasedHost> hosts;
    for (int i = 0; i < num_nodes_; ++i) {
      hosts.push_back({.host = fmt::format("node-{}", i), .begin_s = {}, .end_s = {}});
    }
    write_calendar(hosts);
  }

  void relaunch() {
    launch({"--set", "checkpoint.every_steps=100000", "--set", "checkpoint.snapshot=off", "--set",
            "run.validate_every_steps=0"});
  }
  // Returns the number of agents that the supervisor has heard.
  int num_heard() {
    const std::string state = tool({"status", "--json", run_dir(run_)}).output;
    int count = 0;
    for (size_t at = 0; (at = state.find("\"heard_s\"", at)) != std::string::npos; ++at) ++count;
    return count;
  }
  bool is_whole() {
    return run_events("generation_ended").empty() && std::ssize(ranks()) == num_nodes_;
  }

  // Lets ranks that compute give way to supervisors that start.
  void renice_ranks() {
    for (const RankProcess& rank : ranks()) {
      const std::string tasks = fmt::format("/proc/{}/task", rank.pid);
      for (const auto& task : std::filesystem::directory_iterator(tasks)) {
        ::setpriority(PRIO_PROCESS, static_cast<id_t>(std::stol(task.path().filename())), 19);
      }
    }
  }

  const int num_nodes_ = number_from("LEASEHOLD_RELAUNCH_NODES", 8);
  const int num_rounds_ = number_from("LEASEHOLD_RELAUNCH_ROUNDS", 20);
};

TEST_F(RelaunchTest, NoRelaunchHarmsTheGeneration) {
  std::mt19937 random(std::random_device{}());
  const auto pause = [&](double most_s) {
    system_clock().sleep_s(std::uniform_real_distribution<>(0, most_s)(random));
  };
  relaunch();
  ASSERT_TRUE(wait_step(5, 120)) << supervisor().errors();
  renice_ranks();
  const double begin_s = system_clock().steady_s();
  for (int round = 1; round <= num_rounds_; ++round) {
    kill_supervisor();
    pause(0.02);
    relaunch();
    ASSERT_TRUE(supervisor().wait_for_text("was adopted", 60)) << supervisor().errors();
    pause(0.1);
    if (round % 50 != 0 && round != num_rounds_) continue;
    ASSERT_TRUE(is_whole()) << "after relaunch " << round << "\n" << events(run_);
    fmt::print("{} relaunches, step {}, {:.0f} s\n", round, last_step(),
               system_clock().steady_s() - begin_s);
    std::fflush(stdout);
  }
  EXPECT_TRUE(wait_until([&] { return num_heard() == num_nodes_; })) << num_heard();
  const int64_t step = last_step();
  EXPECT_TRUE(wait_step(step + 1)) << "the generation makes no steps";
  EXPECT_TRUE(is_whole()) << events(run_);
  EXPECT_EQ(run_events("generation_started").size(), 1U);
  EXPECT_EQ(tool({"drain", run_dir(run_)}).exit_code, 0);
  EXPECT_EQ(supervisor().wait(60).exit_code, 75) << supervisor().errors();
}

}  // namespace
}  // namespace leasehold
