// Begins a supervisor: what it claims and reads before it changes anything, and the generation
// that it takes up.
#include <algorithm>

#include "launch/supervisor/run_logs.h"
#include "launch/supervisor/supervisor.h"
#include "runtime/checkpoint/run_directory.h"

namespace leasehold {

namespace {

Result<SupervisorState> load_or_begin(FileSystem& files, const std::string& run_dir, double now_s) {
  auto state = load_state(files, run_dir);
  if (state.status().code() == Code::kMissingInput) {
    SupervisorState begun;
    begun.first_launch_s = now_s;
    return begun;
  }
  return state;
}

// The parts of a run that a supervisor may find it cannot read.
struct KnownRun {
  SupervisorState state;
  CalendarWatch calendar;
};

Result<KnownRun> read_run(const SupervisorOptions& options, const SupervisorParts& parts) {
  const double now_s = parts.clock.unix_s();
  LEASEHOLD_ASSIGN_OR_RETURN(SupervisorState state,
                             load_or_begin(parts.files, options.run_dir, now_s));
  LEASEHOLD_ASSIGN_OR_RETURN(
      CalendarWatch calendar,
      CalendarWatch::open(parts.files, options.calendar_path, state.first_launch_s));
  return KnownRun{std::move(state), std::move(calendar)};
}

// Makes what an earlier supervisor wrote sound on this one's clock: nothing lies in the future.
void adjust_times(SupervisorState& state, const SupervisorLimits& limits, double now_s) {
  const auto limit = [](double& at_s, double latest_s) { at_s = std::min(at_s, latest_s); };
  if (state.last_end_s) limit(*state.last_end_s, now_s);
  for (auto& [host, record] : state.hosts) {
    limit(record.health.until_s, now_s + limits.max_quarantine_s);
    limit(record.next_probe_s, now_s + limits.max_probe_pause_s);
    for (double& crash_s : record.crashes_s) limit(crash_s, now_s);
  }
  for (Failure& failure : state.failures) limit(failure.at_s, now_s);
  if (!state.running) return;
  limit(state.running->started_s, now_s);
  limit(state.running->progress_s, now_s);
  if (state.running->ending) limit(state.running->ending->asked_s, now_s);
}

// Two jobs with one calendar would both start ranks on its hosts. kBadConfig when another job has
// it; kStorage where it cannot be claimed (its directory is read-only).
Result<std::unique_ptr<FileLock>> claim_hosts(const SupervisorOptions& options,
                                              const SupervisorParts& parts) {
  if (options.hosts_lock.empty()) return std::unique_ptr<FileLock>();
  auto lock = parts.files.lock(
      options.hosts_lock,
      fmt::format("the job in {} ({})", options.run_dir, describe_owner(parts.clock)));
  if (lock.status().code() != Code::kBadConfig) return lock;
  return error(Code::kBadConfig,
               "lease.calendar {} is in use: {}; two jobs would share its hosts: wait for that one "
               "to end, stop it, or give this one a calendar with hosts of its own",
               options.calendar_path, lock.status().message());
}

}  // namespace

Result<std::unique_ptr<Supervisor>> Supervisor::open(SupervisorOptions options,
                                                     SupervisorParts parts) {
  // Without the lock: who is refused here leaves no trace at all.
  LEASEHOLD_RETURN_IF_ERROR(read_run(options, parts).status());
  LEASEHOLD_RETURN_IF_ERROR(parts.files.make_directories(join_path(options.run_dir, "supervisor")));
  auto lock = parts.files.lock(join_path(options.run_dir, "lock"), describe_owner(parts.clock));
  if (lock.status().code() == Code::kBadConfig) {
    return error(Code::kBadConfig,
                 "run.dir {} is in use: {}; wait for it to end, stop it (`leasehold drain {}`), or "
                 "choose another run.dir",
                 options.run_dir, lock.status().message(), options.run_dir);
  }
  if (!lock.ok()) return lock.status();
  LEASEHOLD_ASSIGN_OR_RETURN(KnownRun run, read_run(options, parts));
  Result<std::unique_ptr<FileLock>> hosts = claim_hosts(options, parts);
  if (hosts.status().code() == Code::kBadConfig) return hosts.status();
  std::unique_ptr<Supervisor> supervisor(
      new Supervisor(std::move(options), std::move(parts), std::move(run.calendar)));
  supervisor->lock_ = std::move(lock).value();
  if (hosts.ok()) supervisor->hosts_lock_ = std::move(hosts).value();
  supervisor->state_ = std::move(run.state);
  adjust_times(supervisor->state_, supervisor->options_.limits, supervisor->clock_.look().now_s);
  // In this order: agents report as soon as somebody listens.
  supervisor->brief_board();
  if (supervisor->parts_.listen) {
    LEASEHOLD_ASSIGN_OR_RETURN(supervisor->address_,
                               supervisor->parts_.listen(supervisor->calendar_.calendar()));
  }
  LEASEHOLD_RETURN_IF_ERROR(repair_events(supervisor->parts_.files, supervisor->options_.run_dir));
  // Whoever launches a job again that was stopped has done something about it. One that is done
  // stays done.
  if (supervisor->state_.end && supervisor->state_.end->exit_code != 0) {
    supervisor->state_.end.reset();
    supervisor->state_.failures.clear();
    for (auto& [host, record] : supervisor->state_.hosts) {
      if (!record.fault.empty()) record = {};
    }
  }
  // The first launch is what relative times count from: on disk before anything happens.
  LEASEHOLD_RETURN_IF_ERROR(
      save_state(supervisor->parts_.files, supervisor->options_.run_dir, supervisor->state_));
  supervisor->adopt();
  if (!hosts.ok()) {
    supervisor->record({"hosts_not_claimed",
                        fmt::format("{}: nothing keeps another job from using {}, too",
                                    hosts.status().message(), supervisor->options_.calendar_path),
                        {}});
  }
  return supervisor;
}

Supervisor::~Supervisor() {
  if (hosts_lock_) (void)parts_.files.remove_all(options_.hosts_lock);
}

void Supervisor::brief_board() {
  listening_since_s_ = clock_.look().now_s;
  if (!state_.running) return parts_.board.begin(state_.newest_generation, {});
  const RunningGeneration& running = *state_.running;
  parts_.board.begin(running.number, running.hosts);
  if (running.ending && !running.ending->kill) parts_.board.tell_to_drain(running.ending->reason);
}

void Supervisor::adopt() {
  if (!state_.running) {
    record({"supervisor_started",
            state_.newest_generation == 0
                ? "the first launch of this run"
                : fmt::format("going on after generation {}", state_.newest_generation),
            {}});
    return;
  }
  RunningGeneration& running = *state_.running;
  const Status adopted = parts_.generations.adopt(directory());
  if (!adopted.ok()) warn(adopted.message());
  // Asks again, as the first request may not have arrived.
  if (running.ending && running.ending->kill) parts_.generations.end(directory());
  std::string moved;
  if (running.supervisor != address_) {
    moved = fmt::format("; its agents, which know {}, find this supervisor at {}",
                        running.supervisor, address_);
    running.supervisor = address_;
    unsaved_ = true;
  }
  record({"supervisor_started",
          fmt::format("generation {} was adopted{}", running.number, moved),
          {}});
}

}  // namespace leasehold
