// A job, its hosts and its mpirun on a clock that is moved by hand, for tests of whole supervised
// runs: generations start, make steps, drain, crash and freeze as told; supervisors may die at any
// change of a file.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "launch/supervisor/supervisor.h"
#include "tests/support/faulty_files.h"

namespace leasehold {

class Simulation : public GenerationHost, public Prober, public Forecaster {
 public:
  struct Job {
    int64_t steps = 100;
    double start_s = 3;  // until the first step begins
    double step_s = 1;
    double save_s = 2;
    int64_t lanes = 64;
    double wait_for_state_s = 600;
    std::vector<Layout> layouts = {Layout{}};
    // Of the fullest rank.
    std::function<int64_t(const LayoutOfWorld&)> memory = [](const LayoutOfWorld&) { return 1; };
  };

  Simulation(const std::string& calendar, const Job& job);

  // --- What happens to hosts and job; times from the first launch ---
  // A rank of the host is killed: mpirun ends with 137 and names it.
  void crash_rank(const std::string& host, double at_s) { crashes_.push_back({host, at_s}); }
  // The host is gone for a while: its agent is silent, steps stop, mpirun does not notice.
  void cut_off(const std::string& host, double from_s, double until_s) {
    cuts_.push_back({host, from_s, until_s});
  }
  // The keeper of the generation that runs dies, and what it started runs on.
  void lose_keeper(double at_s) { keeper_lost_at_s_ = at_s; }
  // Every generation that runs on the host ends when it makes its first step.
  void spoil(const std::string& host, double until_s) { spoiled_[host] = until_s; }
  // The host cannot take part before: whoever begins on it ends with this code. The program says
  // so, naming all ranks that have it; or it says nothing, and mpirun names the first one.
  struct Misfit {
    int exit_code = 66;
    std::string words = "/data/tokens.bin: No such file or directory";
    double until_s = 1e9;
    bool is_said = true;
  };
  void misfit(const std::string& host, const Misfit& what) { misfits_[host] = what; }
  // State is lost with the memory of two hosts of three: files have what drains and this save.
  void keep_state_in_memory(double save_at_s) {
    in_memory_ = true;
    save_at_s_ = save_at_s;
  }
  // The wall clock is set; no time passes.
  void step_wall_clock(double seconds, double at_s) { clock_steps_.push_back({seconds, at_s}); }
  // Ranks and agents do not do what they are told.
  void ignore_drains() { drains_are_heard_ = false; }
  void damage_files(double at_s) { damaged_at_s_ = at_s; }
  // Whoever makes this step ends with this exit code.
  void fail_at(int64_t step, int exit_code) { failing_step_ = {step, exit_code}; }
  void edit_calendar(const std::string& text, double at_s) { edits_.push_back({text, at_s}); }
  void stop_at(double at_s) { stop_at_s_ = at_s; }
  // The program that forecasts cannot be run before.
  void forbid_forecasts(double until_s) { no_forecasts_until_s_ = until_s; }
  // Agents cannot reach the supervisor; from the first launch on.
  void silence_agents() { agents_are_heard_ = false; }

  // --- Running ---
  // Until the job ends. A supervisor that `dies` (asked after each turn) or that crashed with the
  // file system is followed by a new one. Ends the test's patience after `limit_s`.
  JobEnd run(
      double limit_s, const std::function<bool()>& dies = [] { return false; });

  // Sets the file by which a supervisor claims the calendar's hosts.
  void put_hosts_lock(const std::string& path) { hosts_lock_ = path; }
  // Returns a supervisor that takes the job up, or the reason why it does not.
  Result<std::unique_ptr<Supervisor>> try_open();

  FaultyFiles& files() { return files_; }
  const SupervisorState& state() const { return state_; }
  // "1: 4 ranks, planned: ..." per generation; without times.
  std::vector<std::string> story() const;
  std::string events() const { return files_.content(kRunDir + "/events.jsonl"); }
  // Time that passed, wherever the wall clock was set.
  double now_s() { return clock_.steady_s(); }
  double true_unix_s() { return kEpochS + now_s(); }
  int64_t steps_done() const { return newest_step_; }
  // Steps done more than once.
  int64_t steps_replayed() const { return replayed_; }
  // At no time did two generations run.
  bool overlapped() const { return overlapped_; }

  // The steps that a generation began from, in order.
  const std::vector<int64_t>& begins() const { return begins_; }

  // --- GenerationHost ---
  Status start(const std::string& directory, const GenerationCommand& command) override;
  Status adopt(const std::string& directory) override;
  Result<GenerationLook> look(const std::string& directory) override;
  void drain(const std::string& directory) override;
  void end(const std::string& directory) override;
  void end_by_force(const std::string& directory) override;
  std::string output_tail(const std::string& directory) override;

  // --- Prober ---
  void start(const std::string& host) override { asked_.insert(host); }
  std::set<std::string> under_way() const override { return asked_; }
  std::vector<ProbeResult> take_results() override;

  // --- Forecaster ---
  void ask(const std::vector<LayoutOfWorld>& questions) override;
  bool busy() const override { return !questions_.empty(); }
  std::optional<Result<MemoryForecasts>> take() override;
  // Layouts of all generations that were started.
  const std::vector<Layout>& layouts() const { return layouts_; }
  int64_t num_forecasts() const { return num_forecasts_; }

  static constexpr double kEpochS = 1000000;
  inline static const std::string kRunDir = "/run";
  inline static const std::string kCalendar = "/leases.toml";

 private:
  // Sleeping moves the world.
  class SimulatedClock : public ManualClock {
   public:
    explicit SimulatedClock(Simulation& world) : ManualClock(kEpochS), world_(world) {}
    void sleep_s(double seconds) override;
    double unix_s() override { return ManualClock::unix_s() + wall_ahead_s_; }
    void step_wall_s(double seconds) { wall_ahead_s_ += seconds; }

   private:
    Simulation& world_;
    double wall_ahead_s_ = 0;
  };

  struct Generation {
    std::vector<PlannedHost> hosts;
    int64_t number = 0;
    double next_step_s = 0;
    int64_t step = 0;
    bool began = false;
    std::optional<double> saved_at_s;  // draining
    std::optional<Outcome> outcome;
    bool vanished = false;
    bool orphaned = false;  // its keeper is lost
    std::string output;
  };
  struct Crash {
    std::string host;
    double at_s;
    bool happened = false;
  };
  struct Cut {
    std::string host;
    double from_s, until_s;
  };
  struct Edit {
    std::string text;
    double at_s;
    bool happened = false;
  };

  std::unique_ptr<Supervisor> open();
  void move();
  void move_generation(Generation& generation);
  void make_step(Generation& generation);
  void report(Generation& generation);
  void finish(Generation& generation, int exit_code);
  bool ends_as_a_misfit(Generation& generation);
  std::optional<int64_t> step_in_memory(const Generation& generation) const;
  bool is_cut_off(const std::string& host);
  bool is_frozen(const Generation& generation);
  Generation* find(const std::string& directory);
  static std::optional<int64_t> first_rank(const Generation& generation, const std::string& host);

  Job job_;
  std::string hosts_lock_ = kCalendar + ".lock";
  FaultyFiles files_;
  SimulatedClock clock_;
  std::unique_ptr<ReportBoard> board_;
  Logger logger_ = Logger::silent();
  std::unique_ptr<Launcher> launcher_ = create_open_mpi_4("4.1.4");
  SupervisorState state_;
  std::map<std::string, Generation> generations_;  // by directory
  std::set<std::string> cancelled_;
  std::set<std::string> asked_;
  std::vector<PlannedHost> next_hosts_;  // of the command that was made last
  int64_t next_number_ = 0;
  std::vector<Layout> layouts_;
  std::vector<LayoutOfWorld> questions_;
  double answered_at_s_ = 0;
  double no_forecasts_until_s_ = 0;
  int64_t num_forecasts_ = 0;
  std::vector<Crash> crashes_;
  std::vector<Cut> cuts_;
  std::vector<Edit> edits_;
  std::optional<double> keeper_lost_at_s_;
  int64_t num_reports_ = 0;
  std::map<std::string, double> spoiled_;
  struct ClockStep {
    double seconds, at_s;
    bool happened = false;
  };
  std::vector<ClockStep> clock_steps_;
  bool drains_are_heard_ = true;
  std::map<std::string, Misfit> misfits_;
  bool in_memory_ = false;
  double save_at_s_ = 0;
  double damaged_at_s_ = 1e9;
  struct Snapshot {
    int64_t step = -1;
    std::vector<HeldPart> parts;
  } snapshot_;
  int64_t file_step_ = -1;
  std::vector<int64_t> begins_;
  std::pair<int64_t, int> failing_step_ = {-1, 0};
  std::optional<double> stop_at_s_;
  bool agents_are_heard_ = true;
  int64_t newest_step_ = 0;
  int64_t saved_step_ = 0;
  int64_t replayed_ = 0;
  bool overlapped_ = false;
};

}  // namespace leasehold
