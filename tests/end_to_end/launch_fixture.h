// Provides a supervised run of a small job: `leasehold launch` as a child process with a calendar
// that the test writes, functions that hurt the run, and a comparison with an undisturbed run of
// the same job. Whatever a test does, no process and no shared memory of the run is left.
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
  int64_t memory_per_slot_bytes = 0;     // 0: not in the calendar
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
  // `steps` must be large enough that a test's actions after some steps, and the supervisor's
  // reaction, come before the last step. A step takes from 5 ms on a fast machine to 20 ms on a
  // busy one.
  explicit LaunchFixture(int64_t steps = 600);

  // Replaces the calendar atomically, since a supervisor may be reading it.
  void write_calendar(const std::vector<LeasedHost>& hosts) const;
  void write_calendar_text(const std::string& text) const;
  // Returns the path of the launcher of supervised runs: LEASEHOLD_LAUNCHER, or else the launcher
  // that this build found.
  static std::string launcher();
  static double now_s();

  // Puts a shell script in front of the ranks' program from the next launch on: "$@" are its
  // arguments, $RANK is the program itself.
  void wrap_ranks(const std::string& script);
  // Starts another supervisor of the run; supervisor() returns the newest one.
  Process& launch(const std::vector<std::string>& arguments = {});
  Process& supervisor() { return *supervisors_.back(); }
  // Sends SIGKILL to the supervisor and waits until it is gone.
  void kill_supervisor();

  int64_t num_steps() const { return steps_; }  // steps of the job
  int64_t last_step() const;                    // last step in metrics.jsonl
  std::vector<RunEvent> run_events() const;
  std::vector<RunEvent> run_events(const std::string& name) const;
  // Polls until `condition` holds or the deadline passes.
  static bool wait_until(const std::function<bool()>& condition, double timeout_s = 40);
  bool wait_step(int64_t step, double timeout_s = 40) const;
  // Waits for at least `count` events of this name.
  bool wait_event(const std::string& name, size_t count = 1, double timeout_s = 40) const;

  // Returns this run's running ranks, in the order of their numbers.
  std::vector<RankProcess> ranks() const;
  std::optional<RankProcess> rank(int number) const;
  // Returns the paths of the run's files in shared memory; only those of `node` if one is named.
  std::vector<std::string> memory_files(const std::string& node = "") const;
  // Kills the ranks of a node and removes its memory, as if the node died.
  void kill_node(const std::string& node) const;
  // Kills supervisor and ranks but keeps the memory. Returns once mpirun is gone too.
  void kill_all();
  static void flip_bit(const std::string& path, int64_t offset);
  std::string newest_checkpoint() const;  // its directory

  // Waits for the end of the newest supervisor and compares the run with the undisturbed one.
  void expect_like_undisturbed(double timeout_s = 90);

  std::string run_ = "run";
  std::string calendar_;
  std::vector<std::string> environment_;  // added for the supervisor and its ranks

 private:
  struct Undisturbed {
    std::vector<std::string> metrics;
    std::string digest;
  };
  const Undisturbed& undisturbed() const;
  std::vector<pid_t> processes() const;  // whose command names this test's directory

  int64_t steps_;
  std::string tool_ = program("leasehold");
  std::vector<std::unique_ptr<Process>> supervisors_;
};

}  // namespace leasehold
