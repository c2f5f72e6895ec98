// The supervisor of one run: a thin loop that observes, decides (bookkeeping.h, transition.h) and
// performs. All that it has to remember is in RUN_DIR/supervisor/state.json before it acts, so that
// it may be killed at any moment: the next one goes on.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/supervisor/calendar_watch.h"
#include "launch/supervisor/forecaster.h"
#include "launch/supervisor/generation_host.h"
#include "launch/supervisor/prober.h"
#include "launch/supervisor/report_board.h"
#include "launch/supervisor/state.h"
#include "launch/supervisor/supervisor_clock.h"
#include "launch/supervisor/transition.h"
#include "runtime/base/clock.h"
#include "runtime/base/files.h"
#include "runtime/base/log.h"

namespace leasehold {

struct SupervisorOptions {
  std::string run_dir;  // absolute
  std::string calendar_path;
  // Locked while the supervisor lives, so that no other job uses the calendar's hosts; "": nothing.
  std::string hosts_lock;
  PlanLimits plan;
  SupervisorLimits limits;
  double look_s = 0.05;          // between two turns of the loop
  double replan_s = 0.5;         // between two looks at the calendar
  double progress_s = 10;        // between two lines about steps
  double forecast_again_s = 30;  // after a forecast that failed
};

// What it stands on; all of it outlives the supervisor.
struct SupervisorParts {
  FileSystem& files;
  Clock& clock;
  GenerationHost& generations;
  Prober& prober;
  Forecaster& forecaster;
  ReportBoard& board;
  const Logger& logger;
  const Launcher& launcher;
  // Takes the ports at which agents (on the calendar's hosts) and operators reach this supervisor,
  // and returns the agents' "address:port". Called once, when nothing but these can refuse any more
  // and the board knows the present generation. May be empty: nobody reports.
  std::function<Result<std::string>(const LeaseCalendar& calendar)> listen;
  // The mpirun of a generation: of its number, hosts and layout.
  std::function<GenerationCommand(const RunningGeneration& generation)> make_command;
  // How often an operator asked by signal: once to stop, twice to leave what runs alone.
  std::function<int()> interrupts;
};

class Supervisor {
 public:
  // Takes RUN_DIR/lock, which it holds, loads the state or begins one, and adopts the generation
  // that runs. kBadConfig when another program has the run, or its calendar; the calendar's, the
  // state's and `listen`'s errors. Whoever is refused has changed nothing (but who last held the
  // lock), and the generation that runs has not heard of him.
  static Result<std::unique_ptr<Supervisor>> open(SupervisorOptions options, SupervisorParts parts);
  // Removes the lock file of the calendar, which is a user's folder.
  ~Supervisor();

  // Turns until the job ends (exit code 0 or that of what stopped it), or an operator stops it
  // (75).
  JobEnd run();
  // One turn, without waiting; how it ended when it did.
  std::optional<JobEnd> turn();

  const SupervisorState& state() const { return state_; }

 private:
  Supervisor(SupervisorOptions options, SupervisorParts parts, CalendarWatch calendar)
      : options_(std::move(options)),
        parts_(std::move(parts)),
        calendar_(std::move(calendar)),
        clock_(parts_.clock) {}

  void brief_board();
  void adopt();
  void tell_of_step(const Moment& moment);
  void replan(const Moment& moment);
  void take_forecasts(double now_s);
  void ask_for_forecasts(double now_s);
  Observation observe(const Moment& moment);
  std::map<std::string, NodeNews> news() const;
  void look_at_generation(Observation& seen);
  std::optional<JobEnd> perform(const Action& action, double now_s);
  void start(const Action& action, double now_s);
  Status launch(const RunningGeneration& running);
  void ask_to_end(const Action& action);
  void record(const SupervisorEvent& event);
  bool save();
  void warn(const std::string& message);
  void show(double now_s);
  std::string directory() const;  // of the generation that runs

  SupervisorOptions options_;
  SupervisorParts parts_;
  CalendarWatch calendar_;
  SupervisorClock clock_;
  std::unique_ptr<FileLock> lock_;        // of run.dir
  std::unique_ptr<FileLock> hosts_lock_;  // of the calendar; null: it could not be taken
  SupervisorState state_;
  std::string address_;  // that agents report to
  bool unsaved_ = false;
  Plan wanted_;
  std::optional<std::string> planned_drain_;
  double lease_end_s_ = kNever;  // of the first host that has to be given up
  std::optional<std::string> stop_wish_;
  double listening_since_s_ = 0;  // to the agents of the generation that runs
  double replan_at_s_ = 0;
  double show_at_s_ = 0;
  double progress_at_s_ = 0;
  MemoryForecasts forecasts_;
  double forecast_at_s_ = 0;  // none is asked for before
  std::string doing_;         // the newest action and its reason
  std::string warning_;       // the newest
};

}  // namespace leasehold
