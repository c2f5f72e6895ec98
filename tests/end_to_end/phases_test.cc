// Tests signals that come in a chosen phase: while ranks restore, validate and save. Random moments
// are tested in not_one_bit_test.cc and chaos_test.cc.
#include <csignal>
#include <filesystem>

#include "runtime/base/clock.h"
#include "tests/end_to_end/job_fixture.h"

namespace leasehold {
namespace {

class PhasesTest : public JobFixture {
 protected:
  // Arguments for a validation after every step that takes ten times as long as the step.
  const std::vector<std::string> validating_ = {"--set", "run.validate_every_steps=1", "--set",
                                                "data.validation=" + directory_ / "data/train.bin"};

  // Returns the newest line of events.jsonl about `event`, from the event's name on.
  std::string newest(const std::string& event) const {
    const std::string all = events("stopped");
    const size_t at = all.rfind("\"" + event + "\"");
    return at == std::string::npos ? "no " + event : all.substr(at, all.find('\n', at) - at);
  }

  // Returns true while a checkpoint is being written: its directory still has a temporary name.
  bool sees_saving() const {
    std::error_code none_yet;
    for (const auto& entry :
         std::filesystem::directory_iterator(run_dir("stopped") + "/checkpoints", none_yet)) {
      if (!entry.path().filename().string().starts_with("step-")) return true;
    }
    return false;
  }

  // Starts the run, waits for a sign of the phase, and sends SIGUSR1 to mpirun or SIGTERM to each
  // rank. Returns true if the signal came in that phase.
  bool stopped_while(const std::string& phase, int signal, int ranks) {
    std::vector<std::string> arguments = validating_;
    if (phase == "saving") {
      arguments.insert(arguments.end(),
                       {"--set", "checkpoint.snapshot=off", "--set", "checkpoint.every_steps=1",
                        "--set", "checkpoint.keep=1000"});
    }
    Process running(train_command(ranks, "stopped", arguments), directory_.path(),
                    mpi_environment());
    const std::string sign = phase == "validation" ? "step " : "started";
    EXPECT_TRUE(running.wait_for_text(sign, 30)) << running.errors();
    if (phase == "validation") system_clock().sleep_s(0.02);
    for (const double give_up_s = system_clock().steady_s() + 20;
         phase == "saving" && !sees_saving() && system_clock().steady_s() < give_up_s;)
      system_clock().sleep_s(0.0005);
    if (signal == SIGUSR1) {
      running.signal(SIGUSR1);
    } else {
      for (const pid_t rank : children_of(running.pid(), "leasehold-train")) ::kill(rank, signal);
    }
    const bool was_saving = sees_saving();
    const Finished finished = running.wait(60);
    EXPECT_EQ(finished.exit_code, 75) << finished.errors;
    const auto says = [this](const std::string& event, const std::string& words) {
      return newest(event).find(words) != std::string::npos;
    };
    if (phase == "restoring") return says("drained", "in phase start-up");
    if (phase == "validation") return says("drained", "in phase validation");
    // A request before the step would have made this save the drain's own.
    return was_saving && says("checkpoint_saved", "periodic");
  }
};

TEST_F(PhasesTest, ASignalInAnyPhaseLosesNothing) {
  ASSERT_EQ(train(1, "undisturbed", validating_).exit_code, 0);
  int ranks = 2;
  for (const int signal : {SIGUSR1, SIGTERM}) {
    for (const char* phase : {"saving", "restoring", "validation"}) {
      bool met = false;
      for (int attempt = 0; attempt < 4 && !met; ++attempt) {
        met = stopped_while(phase, signal, ranks);
        if (HasFailure()) return;
      }
      EXPECT_TRUE(met) << "no signal " << signal << " came while " << phase << "\n"
                       << events("stopped");
      ranks = 5 - ranks;
    }
  }
  ASSERT_EQ(train(2, "stopped", validating_).exit_code, 0);
  EXPECT_EQ(metrics("stopped"), metrics("undisturbed"));
  EXPECT_EQ(state_digest("stopped"), state_digest("undisturbed"));
}

}  // namespace
}  // namespace leasehold
