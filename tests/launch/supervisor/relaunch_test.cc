// Supervisors come and go while the agents of one generation report, all at once, over real sockets
// and with the real files of a run. LEASEHOLD_RELAUNCHES says how often (10: about a second).
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "launch/supervisor/control_channel.h"
#include "launch/supervisor/control_file.h"
#include "launch/supervisor/node_agent.h"
#include "launch/supervisor/supervisor.h"
#include "tests/launch/supervisor/control_support.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr int kAgents = 64;
constexpr int64_t kGeneration = 7;

int num_relaunches() {
  const char* text = std::getenv("LEASEHOLD_RELAUNCHES");
  return text == nullptr ? 10 : std::stoi(text);
}

// One generation that runs, whatever happens.
class RunningHost : public GenerationHost {
 public:
  Status start(const std::string&, const GenerationCommand&) override { return ok_status(); }
  Status adopt(const std::string&) override { return ok_status(); }
  Result<GenerationLook> look(const std::string&) override { return GenerationLook{true, {}}; }
  void drain(const std::string&) override {}
  void end(const std::string&) override {}
  void end_by_force(const std::string&) override {}
  std::string output_tail(const std::string&) override { return ""; }
};

class RelaunchTest : public ::testing::Test {
 protected:
  RelaunchTest() {
    std::filesystem::create_directories(run_dir_ + "/supervisor");
    write_calendar(good_calendar());
    RunningGeneration running;
    running.number = kGeneration;
    for (int i = 0; i < kAgents; ++i) running.hosts.push_back({.host = name(i), .slots = 1});
    running.phase = "training";
    state_.newest_generation = kGeneration;
    state_.running = running;
    store();
  }

  static std::string name(int i) { return fmt::format("n{}", i); }
  static std::string good_calendar() {
    std::string hosts;
    for (int i = 0; i < kAgents; ++i) hosts += fmt::format("\"{}\", ", name(i));
    return fmt::format("[[lease]]\nid = \"x\"\nhosts = [{}]\nslots = 1\n", hosts);
  }
  void write_calendar(const std::string& text) const { std::ofstream(calendar_) << text; }
  void store() const { ASSERT_TRUE(save_state(posix_files(), run_dir_, state_).ok()); }

  // A supervisor with its ports, or why there is none.
  struct Launched {
    std::unique_ptr<ReportBoard> board;
    std::unique_ptr<ControlChannel> channel;
    std::unique_ptr<Supervisor> supervisor;
    Status status;
  };
  Launched relaunch() {
    Launched launched;
    launched.board = std::make_unique<ReportBoard>(system_clock());
    SupervisorParts parts{
        posix_files(),
        system_clock(),
        generations_,
        *prober_,
        *forecaster_,
        *launched.board,
        logger_,
        *launcher_,
        [&](const LeaseCalendar&) -> Result<std::string> {
          ++num_listened_;
          LEASEHOLD_ASSIGN_OR_RETURN(
              launched.channel,
              ControlChannel::open(posix_files(), run_dir_, "127.0.0.1", *launched.board));
          return launched.channel->address();
        },
        [](const RunningGeneration&) { return GenerationCommand{}; },
        [] { return 0; }};
    SupervisorOptions options;
    options.run_dir = run_dir_;
    options.calendar_path = calendar_;
    auto opened = Supervisor::open(options, std::move(parts));
    launched.status = opened.status();
    if (!opened.ok()) return launched;
    launched.supervisor = std::move(opened).value();
    launched.status = launched.channel->announce();
    return launched;
  }

  void start_agents(const std::string& address) {
    const SecretKey key = *read_agent_key(posix_files(), run_dir_);
    for (int i = 0; i < kAgents; ++i) {
      NodeAgentEvents events;
      events.report = [i] {
        Report report = test_report(kGeneration);
        report.node = name(i);
        return report;
      };
      events.drain = [this](const std::string&) { ++num_drains_; };
      events.fenced = [this](const std::string&) { ++num_fences_; };
      NodeAgentOptions options{.supervisor = address, .key = key};
      options.find = [this] {
        const auto found = read_supervisor_address(posix_files(), run_dir_);
        return found.ok() ? *found : "";
      };
      options.interval_s = 0.02;
      options.request_timeout_s = 0.5;
      agents_.push_back(std::move(NodeAgent::start(std::move(options), std::move(events))).value());
    }
  }

  // Every file of the run with its content and time.
  std::string snapshot() const {
    std::ostringstream all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(run_dir_)) {
      all << entry.path() << entry.last_write_time().time_since_epoch().count();
      if (entry.is_regular_file()) all << std::ifstream(entry.path()).rdbuf();
    }
    return all.str();
  }

  TemporaryDirectory directory_;
  const std::string run_dir_ = directory_ / "run";
  const std::string calendar_ = directory_ / "leases.toml";
  SupervisorState state_;
  RunningHost generations_;
  std::unique_ptr<Prober> prober_ = make_prober("local", 1);
  std::unique_ptr<Forecaster> forecaster_ = make_forecaster({});
  std::unique_ptr<Launcher> launcher_ = create_open_mpi_4("4.1.4");
  Logger logger_ = Logger::silent();
  int num_listened_ = 0;
  std::atomic<int> num_drains_ = 0;
  std::atomic<int> num_fences_ = 0;
  std::vector<std::unique_ptr<NodeAgent>> agents_;  // first to end
};

TEST_F(RelaunchTest, AgentsThatAllReportAtOnceAreNotHarmed) {
  std::string address;
  {
    const Launched first = relaunch();
    ASSERT_TRUE(first.status.ok()) << first.status.message();
    address = first.channel->address();
    start_agents(address);
  }
  for (int round = 0; round < num_relaunches(); ++round) {
    const Launched next = relaunch();
    ASSERT_TRUE(next.status.ok()) << next.status.message();
    EXPECT_EQ(next.channel->address(), address);
    const size_t enough = round % 10 == 0 ? kAgents : 8;
    EXPECT_TRUE(eventually([&] { return next.board->nodes().size() >= enough; })) << round;
    ASSERT_EQ(num_fences_, 0) << "in relaunch " << round;
  }
  EXPECT_EQ(num_drains_, 0);
  // They would have heard one.
  state_.running.reset();
  state_.newest_generation = kGeneration + 1;
  store();
  const Launched newer = relaunch();
  EXPECT_TRUE(eventually([&] { return num_fences_ == kAgents; })) << num_fences_;
}

TEST_F(RelaunchTest, ALaunchThatRefusesTouchesNothing) {
  {
    const Launched first = relaunch();
    ASSERT_TRUE(first.status.ok()) << first.status.message();
    start_agents(first.channel->address());
  }
  const std::string before = snapshot();
  num_listened_ = 0;
  write_calendar("[[lease]]\nid = 7\n");
  EXPECT_EQ(relaunch().status.code(), Code::kBadConfig);
  std::filesystem::remove(calendar_);
  EXPECT_EQ(relaunch().status.code(), Code::kMissingInput);
  write_calendar(good_calendar());
  EXPECT_EQ(num_listened_, 0);
  EXPECT_EQ(snapshot(), before);
  const Launched next = relaunch();
  ASSERT_TRUE(next.status.ok()) << next.status.message();
  EXPECT_TRUE(eventually([&] { return next.board->nodes().size() == kAgents; }));
  EXPECT_EQ(num_fences_, 0);
}

TEST_F(RelaunchTest, AgentsFindASupervisorWhosePortWasTaken) {
  std::string address;
  {
    const Launched first = relaunch();
    ASSERT_TRUE(first.status.ok()) << first.status.message();
    address = first.channel->address();
    start_agents(address);
    EXPECT_TRUE(eventually([&] { return first.board->nodes().size() == kAgents; }));
  }
  const Socket taken = std::move(listen_at(*parse_socket_address(address))).value();
  const Launched next = relaunch();
  ASSERT_TRUE(next.status.ok()) << next.status.message();
  EXPECT_NE(next.channel->address(), address);
  EXPECT_EQ(next.supervisor->state().running->supervisor, next.channel->address());
  EXPECT_TRUE(eventually([&] { return next.board->nodes().size() == kAgents; }));
  EXPECT_EQ(num_fences_, 0);
}

// Fails as often as it is told to.
class FailingChannel : public ControlChannel {
 public:
  FailingChannel(int num_failures, Code code) : num_failures_(num_failures), code_(code) {}
  std::string address() const override { return "127.0.0.1:1"; }
  Status announce() override {
    if (num_announced_++ >= num_failures_) return ok_status();
    return error(code_, "writing run/supervisor/address: No space left on device");
  }
  int num_announced() const { return num_announced_; }

 private:
  const int num_failures_;
  const Code code_;
  int num_announced_ = 0;
};

TEST(AnnounceWithPatience, AFullDiskIsWaitedFor) {
  ManualClock clock;
  int num_told = 0;
  const auto told = [&](const Status&) { ++num_told; };
  FailingChannel channel(7, Code::kStorage);
  EXPECT_TRUE(announce_with_patience(
                  channel, clock, 600, [] { return false; }, told)
                  .ok());
  EXPECT_EQ(num_told, 1);
  EXPECT_EQ(clock.steady_s(), 7);
}

TEST(AnnounceWithPatience, EndsAtItsLimitOrWhenItMustStop) {
  ManualClock clock;
  const auto silent = [](const Status&) {};
  FailingChannel full(1000, Code::kStorage);
  EXPECT_EQ(announce_with_patience(
                full, clock, 20, [] { return false; }, silent)
                .code(),
            Code::kStorage);
  EXPECT_EQ(clock.steady_s(), 20);
  const auto stops = [&] { return clock.steady_s() >= 25; };
  EXPECT_EQ(announce_with_patience(full, clock, 600, stops, silent).code(), Code::kStorage);
  EXPECT_EQ(clock.steady_s(), 25);
  // Other failures do not mend themselves.
  FailingChannel damaged(1000, Code::kBadData);
  EXPECT_EQ(announce_with_patience(
                damaged, clock, 600, [] { return false; }, silent)
                .code(),
            Code::kBadData);
  EXPECT_EQ(damaged.num_announced(), 1);
}

// The board knows each report by its number: what somebody sends again is no sign of life.
TEST_F(RelaunchTest, ABoardNotesNoReportTwice) {
  ManualClock clock(1000);
  ReportBoard board(clock);
  board.begin(kGeneration, {{.host = "a", .slots = 1}});
  Report report = test_report(kGeneration);
  report.number = 5;
  report.step = 10;
  board.on_report(report);
  clock.sleep_s(50);
  for (const int64_t number : {5, 4, 1}) {
    report.number = number;
    report.step = 99;
    report.phase = "saving";
    board.on_report(report);
    EXPECT_EQ(board.nodes().at("a").report.step, 10);
    EXPECT_EQ(board.nodes().at("a").heard_s, 0);
  }
  report.number = 6;
  board.on_report(report);
  EXPECT_EQ(board.nodes().at("a").report.step, 99);
  EXPECT_EQ(board.nodes().at("a").heard_s, 50);
}

}  // namespace
}  // namespace leasehold
