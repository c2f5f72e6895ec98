// The keeper, the generation host that starts it and the identity of processes, with shell scripts
// in mpirun's place.
#include "launch/supervisor/keeper.h"

#include <csignal>
#include <functional>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/supervisor/generation_host.h"
#include "launch/supervisor/process_identity.h"
#include "runtime/base/clock.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr double kPatienceS = 20;
// The keeper's command begins with SIGUSR1 ignored, which a program like mpirun changes for itself
// and a shell cannot.
constexpr const char* kDrains =
    "exec env --default-signal=USR1 sh -c \"trap 'exit 75' USR1; echo ready; while :; do sleep "
    "0.01; "
    "done\"";

bool wait_for(const std::function<bool()>& done) {
  const Deadline deadline = Deadline::after_s(kPatienceS);
  while (!done()) {
    if (deadline.passed()) return false;
    system_clock().sleep_s(0.005);
  }
  return true;
}

class KeeperTest : public ::testing::Test {
 public:
  ~KeeperTest() override {
    const auto keeper = find_keeper();
    if (keeper.ok()) kill_session(*keeper, /*spare_leader=*/false);
  }

 protected:
  KeeperTest() : host_(make_process_host(posix_files(), LEASEHOLD_TOOL)) {
    throw_if_error(posix_files().make_directories(generation_));
  }

  Result<ProcessIdentity> find_keeper() const {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                               read_file(posix_files(), keeper_path(generation_)));
    return parse_identity(text, "keeper.json");
  }
  void start(const std::string& script) {
    const Status started =
        host_->start(generation_, {{"/bin/sh", "-c", script}, {{"LEASEHOLD_TEST_WORD", "secret"}}});
    ASSERT_TRUE(started.ok()) << started.message();
  }
  std::string output() const {
    const auto text = read_file(posix_files(), output_path(generation_));
    return text.ok() ? *text : "";
  }
  bool wait_for_output(const std::string& text) const {
    return wait_for([&] { return output().find(text) != std::string::npos; });
  }
  GenerationLook look() {
    const auto look = host_->look(generation_);
    EXPECT_TRUE(look.ok()) << look.status().message();
    return look.ok() ? *look : GenerationLook{};
  }
  // Its end; fails the test when it does not come.
  GenerationLook wait_for_end() {
    EXPECT_TRUE(wait_for([&] { return !look().keeper_alive; })) << output();
    return look();
  }

  TemporaryDirectory directory_;
  std::string generation_ = directory_ / "generations/1";
  std::unique_ptr<GenerationHost> host_;
};

TEST_F(KeeperTest, WritesDownTheExitCode) {
  const double before_s = system_clock().unix_s();
  start("echo to stdout; echo to stderr >&2; cat; exit 75");
  EXPECT_TRUE(look().keeper_alive);
  const GenerationLook end = wait_for_end();
  ASSERT_TRUE(end.outcome.has_value());
  EXPECT_EQ(end.outcome->exit_code, 75);
  EXPECT_FALSE(end.outcome->signal.has_value());
  EXPECT_GE(end.outcome->begin_s, before_s);
  EXPECT_GE(end.outcome->end_s, end.outcome->begin_s);
  EXPECT_EQ(output(), "to stdout\nto stderr\n");
  EXPECT_EQ(host_->output_tail(generation_), output());
}

TEST_F(KeeperTest, WritesDownTheSignal) {
  start("kill -KILL $$");
  const GenerationLook end = wait_for_end();
  ASSERT_TRUE(end.outcome.has_value());
  EXPECT_EQ(end.outcome->signal, SIGKILL);
}

TEST_F(KeeperTest, ACommandThatIsNotThereIsAnOutcomeToo) {
  ASSERT_TRUE(host_->start(generation_, {{directory_ / "gone"}, {}}).ok());
  const GenerationLook end = wait_for_end();
  ASSERT_TRUE(end.outcome.has_value());
  EXPECT_EQ(end.outcome->exit_code, 127);
  EXPECT_NE(output().find("gone: No such file"), std::string::npos) << output();
}

TEST_F(KeeperTest, GivesTheCommandItsEnvironment) {
  start("test \"$LEASEHOLD_TEST_WORD\" = secret && test -n \"$PATH\"");
  EXPECT_EQ(wait_for_end().outcome->exit_code, 0) << output();
}

TEST_F(KeeperTest, PassesADrainOn) {
  start(kDrains);
  ASSERT_TRUE(wait_for_output("ready"));
  host_->drain(generation_);
  EXPECT_EQ(wait_for_end().outcome->exit_code, 75);
}

// As mpirun is in its first moments.
TEST_F(KeeperTest, ADrainThatComesTooEarlyKillsNothing) {
  start("echo ready; sleep 0.2; exit 3");
  ASSERT_TRUE(wait_for_output("ready"));
  host_->drain(generation_);
  EXPECT_EQ(wait_for_end().outcome->exit_code, 3);
}

// As when systemd or a batch system stops a job: the ranks get it, too, and save.
TEST_F(KeeperTest, ASigtermToEveryProcessIsADrain) {
  start(
      "exec env --default-signal=USR1 sh -c \"trap 'echo killed; exit 1' TERM; trap 'exit 75' "
      "USR1; "
      "echo ready; while :; do sleep 0.01; done\"");
  ASSERT_TRUE(wait_for_output("ready"));
  const auto keeper = find_keeper();
  ASSERT_TRUE(keeper.ok());
  for (const pid_t pid : children_of(static_cast<pid_t>(keeper->pid), "ready"))
    ::kill(pid, SIGTERM);
  ::kill(static_cast<pid_t>(keeper->pid), SIGTERM);
  EXPECT_EQ(wait_for_end().outcome->exit_code, 75) << output();
}

TEST_F(KeeperTest, EndsTheCommandWithASigint) {
  start("trap 'echo ended; exit 1' INT; echo ready; while :; do sleep 0.01; done");
  ASSERT_TRUE(wait_for_output("ready"));
  host_->end(generation_);
  EXPECT_EQ(wait_for_end().outcome->exit_code, 1);
  EXPECT_NE(output().find("ended"), std::string::npos);
}

// What outlives mpirun: ranks in groups of their own, also stopped ones.
TEST_F(KeeperTest, LeavesNoProcessOfItsSessionBehind) {
  start("set -m; sleep 60 & echo child $!; sleep 60 & kill -STOP $!; echo child $!; exit 4");
  EXPECT_EQ(wait_for_end().outcome->exit_code, 4);
  const std::string text = output();
  for (size_t at = text.find("child "); at != std::string::npos; at = text.find("child ", at + 1)) {
    EXPECT_FALSE(identify_process(std::stol(text.substr(at + 6))).ok()) << text;
  }
}

TEST_F(KeeperTest, EndsByForceWhatDoesNotListen) {
  start("trap '' INT; echo ready; while :; do sleep 0.01; done");
  ASSERT_TRUE(wait_for_output("ready"));
  const auto keeper = find_keeper();
  ASSERT_TRUE(keeper.ok());
  ::kill(static_cast<pid_t>(keeper->pid), SIGSTOP);  // a keeper that hangs
  host_->end_by_force(generation_);
  const GenerationLook end = wait_for_end();
  EXPECT_FALSE(end.outcome.has_value());
  // What was killed takes a moment to go.
  const Deadline deadline = Deadline::after_s(10);
  while (kill_session(*keeper, false) > 0 && !deadline.passed()) system_clock().sleep_s(0.01);
  EXPECT_EQ(kill_session(*keeper, false), 0);
}

TEST_F(KeeperTest, TheCommandEndsWithItsKeeper) {
  start("trap 'echo ended; exit 1' INT; echo ready; while :; do sleep 0.01; done");
  ASSERT_TRUE(wait_for_output("ready"));
  ::kill(static_cast<pid_t>(find_keeper()->pid), SIGKILL);
  EXPECT_TRUE(wait_for_output("ended"));
  EXPECT_FALSE(wait_for_end().outcome.has_value());
}

// --- Adoption ---

TEST_F(KeeperTest, OutlivesTheSupervisorThatStartedIt) {
  const pid_t supervisor = ::fork();
  ASSERT_GE(supervisor, 0);
  if (supervisor == 0) {
    const auto other = make_process_host(posix_files(), LEASEHOLD_TOOL);
    if (!other->start(generation_, {{"/bin/sh", "-c", kDrains}, {}}).ok()) ::_exit(1);
    for (;;) ::pause();
  }
  const bool ready = wait_for_output("ready");
  ::kill(supervisor, SIGKILL);
  ::waitpid(supervisor, nullptr, 0);
  ASSERT_TRUE(ready);
  ASSERT_TRUE(host_->adopt(generation_).ok());
  EXPECT_TRUE(look().keeper_alive);
  host_->drain(generation_);
  EXPECT_EQ(wait_for_end().outcome->exit_code, 75);
}

// The supervisor died between its decision and the keeper's first line: none may come later.
TEST_F(KeeperTest, AGenerationThatWasAdoptedGetsNoKeeperLater) {
  ASSERT_TRUE(host_->adopt(generation_).ok());
  EXPECT_FALSE(look().keeper_alive);
  start("echo ran");
  ASSERT_TRUE(wait_for_output("keeper.json"));
  EXPECT_TRUE(wait_for([&] { return !look().keeper_alive; }));
  EXPECT_EQ(output().find("ran"), std::string::npos) << output();
  EXPECT_FALSE(look().outcome.has_value());
}

TEST_F(KeeperTest, ADamagedOutcomeIsAnError) {
  ASSERT_TRUE(publish_file(posix_files(), outcome_path(generation_), "{", "test").ok());
  EXPECT_EQ(host_->look(generation_).status().code(), Code::kBadData);
}

// --- Identity ---

TEST(ProcessIdentity, KnowsAProcessFromItsSuccessors) {
  const auto self = identify_process(::getpid());
  ASSERT_TRUE(self.ok());
  EXPECT_TRUE(is_alive(*self));
  ProcessIdentity other = *self;
  other.start_ticks += 1;
  EXPECT_FALSE(is_alive(other));
  EXPECT_FALSE(signal_process(other, SIGKILL));
  EXPECT_EQ(kill_session(other, false), 0);
  other = *self;
  other.boot = "another";
  EXPECT_FALSE(is_alive(other));
  EXPECT_EQ(kill_session(other, false), 0);
  EXPECT_EQ(kill_session({}, false), 0);
}

TEST(ProcessIdentity, AZombieIsDead) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(0);
  EXPECT_TRUE(wait_for([&] { return !identify_process(child).ok(); }));
  ::waitpid(child, nullptr, 0);
}

TEST(ProcessIdentity, ComesBackAsItWas) {
  const ProcessIdentity process{42, 1234567890123, "0f0f-aa"};
  const auto again = parse_identity(encode_identity(process), "keeper.json");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, process);
  EXPECT_EQ(parse_identity("{}", "keeper.json").status().code(), Code::kBadData);
  EXPECT_EQ(parse_identity("{\"pid\":-1,\"start_ticks\":1,\"boot\":\"\"}", "k").status().code(),
            Code::kBadData);
}

}  // namespace
}  // namespace leasehold
