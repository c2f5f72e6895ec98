#include "launch/supervisor/child_process.h"

#include <csignal>
#include <gtest/gtest.h>

#include "runtime/base/clock.h"

namespace leasehold {
namespace {

ChildOutcome finish(ChildProcess& child) {
  const Deadline patience = Deadline::after_s(20);
  while (!patience.passed()) {
    if (auto outcome = child.poll()) return *outcome;
    system_clock().sleep_s(0.005);
  }
  ADD_FAILURE() << "the program did not end";
  return {};
}

ChildOutcome run(const std::string& script, double deadline_s = 20) {
  auto child = ChildProcess::start({"sh", "-c", script}, {{"GIVEN", "a value"}}, deadline_s);
  if (!child.ok()) {
    ADD_FAILURE() << child.status().message();
    return {};
  }
  return finish(**child);
}

TEST(ChildProcess, CatchesWhatIsPrintedAndTheCode) {
  const ChildOutcome outcome = run("echo out; echo err >&2; exit 3");
  EXPECT_EQ(outcome.code, 3);
  EXPECT_EQ(outcome.output, "out\nerr\n");
}

TEST(ChildProcess, GivesTheEnvironmentAndNoInput) {
  EXPECT_EQ(run("cat; echo $GIVEN").output, "a value\n");
}

TEST(ChildProcess, CountsSignalsLikeAShell) { EXPECT_EQ(run("kill -9 $$").code, 137); }

TEST(ChildProcess, TakesMoreThanAPipeHolds) {
  const ChildOutcome outcome = run("seq 1 100000");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.output.size(), 588895);
}

TEST(ChildProcess, EndsAtTheDeadlineWithAllThatItStarted) {
  const double before_s = system_clock().steady_s();
  const ChildOutcome outcome = run("sleep 60 & echo $!; wait", 0.2);
  EXPECT_FALSE(outcome.code);
  EXPECT_LT(system_clock().steady_s() - before_s, 10);
  const pid_t sleeper = std::stoi(outcome.output);
  const Deadline patience = Deadline::after_s(10);
  while (::kill(sleeper, 0) == 0 && !patience.passed()) system_clock().sleep_s(0.01);
  EXPECT_NE(::kill(sleeper, 0), 0);
}

TEST(ChildProcess, SaysWhenThereIsNoSuchProgram) {
  const auto child = ChildProcess::start({"/no/such/program"}, {}, 1);
  EXPECT_EQ(child.status().code(), Code::kMissingInput);
  EXPECT_NE(child.status().message().find("/no/such/program"), std::string::npos);
}

}  // namespace
}  // namespace leasehold
