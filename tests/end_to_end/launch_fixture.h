// A supervised run of a small job: `leasehold launch` as a child process over a calendar that the
// test writes, what hurts it, and the comparison with the same job that nobody disturbed. Whatever
// a test does, no process and no shared memory of the run is left behind.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/end_to_end/job_fixture.h"

namespace leasehold {

struct LeasedHost {
  std::string host;
  int slots = 1;
  std::optional<double> begin_s, end_s;  // unix time
  int64_t memory_per_slot_bytes = 0;     // 0: the calendar does not say
};

struct RunEvent {
  int64_t generation = 0;
  std::string name, reason, time;
  std::map<std::string, std::string> details;
};

struct RankProcess {
  pid_t pid = -1;
  int rank = -1;
  std::string node;
  int64_t generation = 0;
};

class LaunchFixture : public JobFixture {
 public:
  ~LaunchFixture() override;

 protected:
  // Steps take from 5 ms on a fast machine to 20 ms on a busy one: enough of them, so that what a
  // test does after some steps, and what the supervisor makes of it, comes before the last one.
  explicit LaunchFixture(int64_t steps = 600);

  // Replaces the calendar, which a supervisor may be reading.
  void write_calendar(const std::vector<LeasedHost>& hosts) const;
  void write_calendar_text(const std::string& text) const;
  // Returns the path of the launcher of supervised runs: what LEASEHOLD_LAUNCHER names, else the
  // one that this build found.
  static std::string launcher();
  static double now_s();

  // Puts a shell script in front of the program that ranks run, from the next launch on: "$@" are
  // its arguments, $RANK is the program itself.
  void wrap_ranks(const std::string& script);
  // A further supervisor of the run; `supervisor()` is the newest one.
  Process& launch(const std::vector<std::string>& arguments = {});
  Process& supervisor() { return *supervisors_.back(); }
  // SIGKILL, and waits until it is gone.
  void kill_supervisor();

  int64_t num_steps() const { return steps_; }  // of the job
  int64_t last_step() const;                    // of metrics.jsonl
  std::vector<RunEvent> run_events() const;
  std::vector<RunEvent> run_events(const std::string& name) const;
  // Polls until it holds or the deadline passes.
  static bool wait_until(const std::function<bool()>& condition, double timeout_s = 40);
  bool wait_step(int64_t step, double timeout_s = 40) const;
  // That at least `count` events of this name are there.
  bool wait_event(const std::string& name, size_t count = 1, double timeout_s = 40) const;

  // The ranks that run, of this run only, in the order of their numbers.
  std::vector<RankProcess> ranks() const;
  std::optional<RankProcess> rank(int number) const;
  // What the run keeps in shared memory: paths; of one node if one is named.
  std::vector<std::string> memory_files(const std::string& node = "") const;
  // A node dies: its ranks and what its memory held.
  void kill_node(const std::string& node) const;
  // Supervisor and ranks die, the memory stays; returns once mpirun is gone too.
  void kill_all();
  static void flip_bit(const std::string& path, int64_t offset);
  std::string newest_checkpoint() const;  // its directory

  // Waits for the end of the newest supervisor and compares with the undisturbed run.
  void expect_like_undisturbed(double timeout_s = 90);

  std::string run_ = "run";
  std::string calendar_;
  std::vector<std::string> environment_;  // of the supervisor and its ranks, on top

 private:
  struct Undisturbed {
    std::vector<std::string> metrics;
    std::string digest;
  };
  const Undisturbed& undisturbed() const;
  std::vector<pid_t> processes() const;  // that name this test's directory

  int64_t steps_;
  std::string tool_ = program("leasehold");
  std::vector<std::unique_ptr<Process>> supervisors_;
};

}  // namespace leasehold
