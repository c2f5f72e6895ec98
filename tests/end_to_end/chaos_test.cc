// Tests a supervised run under a random sequence of events that hurt or change it. The run must
// equal an undisturbed one. `tests/chaos` runs it with other seeds and more events.
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>

#include "runtime/base/clock.h"
#include "tests/end_to_end/fault_injection.h"
#include "tests/end_to_end/launch_fixture.h"

namespace leasehold {
namespace {

constexpr int64_t kStepsPerEvent = 60;
constexpr size_t kMostHosts = 4;
constexpr int kQuickKinds = 8, kAllKinds = 14;  // kinds of events
// A host that crashes three times within ten minutes is quarantined, so the test replaces a host
// before that.
constexpr int kCrashesToExchange = 2;

int64_t number_from(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr) return otherwise;
  int64_t value = 0;
  const std::string_view view = text;
  const auto parsed = std::from_chars(view.data(), view.data() + view.size(), value);
  LEASEHOLD_CHECK(parsed.ec == std::errc() && parsed.ptr == view.data() + view.size(),
                  "{}={} is no number", name, view);
  return value;
}

// Returns true in a soak, which alone preloads preload_faults.
bool is_soak() { return std::getenv("LEASEHOLD_CHAOS_EVENTS") != nullptr; }

int64_t num_events() { return number_from("LEASEHOLD_CHAOS_EVENTS", 5); }

class ChaosTest : public LaunchFixture {
 protected:
  ChaosTest()
      : LaunchFixture(150 + kStepsPerEvent * num_events()),
        seed_(static_cast<uint32_t>(number_from("LEASEHOLD_CHAOS_SEED", std::random_device()()))),
        random_(seed_),
        injection_(directory_.path()) {
    if (is_soak()) environment_ = injection_.environment();
  }

  void start() {
    for (int i = 0; i < 3; ++i) add_host();
    publish_calendar();
    relaunch();
  }

  // Causes a random event and describes it in words.
  std::string strike() {
    switch (draw(is_soak() ? kAllKinds : kQuickKinds)) {
      case 0:
        return hurt_rank(SIGKILL, "kill");
      case 1:
        return hurt_rank(SIGSTOP, "freeze");
      case 2: {
        const std::string node = pick_host();
        kill_node(node);
        crashed(node);
        return "kill node " + node + " with its memory";
      }
      case 3: {
        kill_supervisor();
        const double pause_s = 0.01 * draw(100);
        system_clock().sleep_s(pause_s);
        relaunch();
        return fmt::format("kill the supervisor, launch again after {:.2f} s", pause_s);
      }
      case 4:
        return drain();
      case 5:
        return edit_calendar();
      case 6: {
        const std::string path = pick_memory_file();
        if (path.empty()) return "no shared memory to flip a bit in";
        std::error_code gone;
        const auto size = std::filesystem::file_size(path, gone);
        if (gone || size == 0) return "the file to flip a bit in went away";
        flip_bit(path, draw(static_cast<int>(size)));
        return "flip a bit in " + path;
      }
      case 7: {
        const std::string path = pick_memory_file();
        if (!path.empty()) ::unlink(path.c_str());
        return "delete " + path;
      }
      case 8:
        return step_clock();
      case 9: {
        const int delay_ms = draw(2) * draw(400);
        injection_.faults().sync_delay_ms = delay_ms;
        return fmt::format("from now on an fsync takes {} ms more", delay_ms);
      }
      case 10: {
        const int delay_us = draw(2) * draw(3000);
        injection_.faults().send_delay_us = delay_us;
        return fmt::format("from now on a message takes {} us more", delay_us);
      }
      case 11:
        return fill_disk();
      case 12:
        return stop_all();
      default:
        return add_broken_host();
    }
  }

  bool is_done() { return !run_events("job_done").empty(); }

  int draw(int below) { return static_cast<int>(random_() % static_cast<uint32_t>(below)); }

  uint32_t seed_;

 private:
  void add_host() {
    const std::string host = fmt::format("node-{}", next_host_++);
    hosts_.push_back(host);
  }
  void publish_calendar() {
    std::vector<LeasedHost> leases;
    for (const std::string& host : hosts_)
      leases.push_back({.host = host, .begin_s = {}, .end_s = {}});
    write_calendar(leases);
  }
  void relaunch() { launch({"--set", "launch.stuck_timeout_s=5"}); }

  std::string pick_host() {
    return hosts_[static_cast<size_t>(draw(static_cast<int>(hosts_.size())))];
  }

  void crashed(const std::string& host) {
    if (++crashes_[host] < kCrashesToExchange) return;
    std::erase(hosts_, host);
    add_host();
    publish_calendar();
  }

  std::string hurt_rank(int signal, const std::string& word) {
    const auto running = ranks();
    if (running.empty()) return "no rank to " + word;
    const RankProcess& victim =
        running[static_cast<size_t>(draw(static_cast<int>(running.size())))];
    ::kill(victim.pid, signal);
    crashed(victim.node);
    return fmt::format("{} rank {} on {}", word, victim.rank, victim.node);
  }

  std::string drain() {
    EXPECT_TRUE(supervisor().wait_for_text("supervisor_started", 40)) << supervisor().errors();
    const Finished asked = tool({"drain", run_dir(run_)});
    const Finished ended = supervisor().wait(60);
    EXPECT_FALSE(ended.timed_out) << ended.errors;
    const bool done = ended.exit_code == 0;  // it was about to end
    EXPECT_TRUE(done || ended.exit_code == 75) << asked.errors << ended.errors;
    relaunch();
    return fmt::format("drain (exit {}), launch again", ended.exit_code);
  }

  std::string edit_calendar() {
    if (draw(4) == 0) {
      // A supervisor that is starting has no earlier calendar to keep: it would refuse this one and
      // end.
      EXPECT_TRUE(supervisor().wait_for_text("supervisor_started", 40)) << supervisor().errors();
      const size_t before = run_events("calendar_rejected").size();
      write_calendar_text("[[lease]]\nhosts = 3\n");
      EXPECT_TRUE(
          wait_until([&] { return is_done() || run_events("calendar_rejected").size() > before; }));
      publish_calendar();
      return "a bad calendar, then the old one";
    }
    const bool add = hosts_.size() <= 2 || (hosts_.size() < kMostHosts && draw(2) == 0);
    if (add) {
      add_host();
    } else {
      hosts_.erase(hosts_.begin() + draw(static_cast<int>(hosts_.size())));
    }
    publish_calendar();
    return fmt::format("{} a host: {}", add ? "add" : "take away", fmt::join(hosts_, " "));
  }

  // Steps the wall clock forward or back, by so much that every lease is elsewhere.
  std::string step_clock() {
    const int64_t step_s = draw(1800) - 900;
    injection_.faults().clock_step_ms += 1000 * step_s;
    return fmt::format("the wall clock steps by {} s", step_s);
  }

  // Fills the disk for a while. Steps continue: lines of the logs wait in memory, and a save that
  // fails is made later.
  std::string fill_disk() {
    // A supervisor that is starting would refuse a disk that it cannot write to.
    EXPECT_TRUE(supervisor().wait_for_text("supervisor_started", 40)) << supervisor().errors();
    injection_.fill_disk(run_dir(run_));
    const double full_s = 0.1 * draw(20);
    system_clock().sleep_s(full_s);
    injection_.free_disk();
    return fmt::format("the disk is full for {:.1f} s", full_s);
  }

  // Sends SIGTERM to all processes, as a service manager or a batch system ends a job.
  std::string stop_all() {
    EXPECT_TRUE(supervisor().wait_for_text("supervisor_started", 40)) << supervisor().errors();
    std::vector<pid_t> all = {supervisor().pid()};
    for (size_t i = 0; i < all.size(); ++i) {
      const auto children = children_of(all[i], "");
      all.insert(all.end(), children.begin(), children.end());
    }
    for (const pid_t pid : all) ::kill(pid, SIGTERM);
    const Finished ended = supervisor().wait(60);
    EXPECT_TRUE(ended.exit_code == 0 || ended.exit_code == 75) << ended.errors;
    relaunch();
    return fmt::format("SIGTERM to all {} processes (exit {}), launch again", all.size(),
                       ended.exit_code);
  }

  // Adds a host on which nothing can start, which must cost the job nothing but that host.
  std::string add_broken_host() {
    const std::vector<std::string> before = hosts_;
    add_host();
    injection_.break_node(hosts_.back());
    publish_calendar();
    const double broken_s = 0.1 * draw(60);
    system_clock().sleep_s(broken_s);
    const std::string broken = hosts_.back();
    hosts_ = before;
    publish_calendar();
    injection_.mend_node();
    return fmt::format("{} comes for {:.1f} s, without its data", broken, broken_s);
  }

  std::string pick_memory_file() {
    const auto files = memory_files();
    return files.empty() ? "" : files[static_cast<size_t>(draw(static_cast<int>(files.size())))];
  }

  std::mt19937 random_;
  FaultInjection injection_;
  std::vector<std::string> hosts_;
  std::map<std::string, int> crashes_;
  int next_host_ = 1;
};

TEST_F(ChaosTest, SeededEventsChangeNothing) {
  fmt::print("seed {}, {} events\n", seed_, num_events());
  SCOPED_TRACE(fmt::format("again: tests/chaos --seed {} --events {}", seed_, num_events()));
  start();
  int64_t struck = 0;
  bool waited = false;
  for (; struck < num_events() && !is_done(); ++struck) {
    // Sometimes two events meet each other.
    waited = !waited || draw(4) != 0;
    if (waited) {
      ASSERT_TRUE(wait_step(last_step() + 5 + draw(30), 120) || is_done())
          << supervisor().errors() << events(run_);
    }
    const int64_t step = last_step();
    fmt::print("{:4} after step {}: {}\n", struck + 1, step, strike());
    std::fflush(stdout);
  }
  EXPECT_GE(struck, std::max<int64_t>(1, num_events() / 2)) << "the job ended too early";
  expect_like_undisturbed(240);
}

}  // namespace
}  // namespace leasehold
