#include "launch/commands_launch.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <unistd.h>

#include "launch/find_launcher.h"
#include "launch/host_memory.h"
#include "launch/job_file.h"
#include "launch/job_override.h"
#include "launch/job_schema.h"
#include "launch/launchers/batch_variables.h"
#include "launch/layout_candidates.h"
#include "launch/own_address.h"
#include "launch/run_memory.h"
#include "launch/stop_signals.h"
#include "launch/supervisor/control_channel.h"
#include "launch/supervisor/control_socket.h"
#include "launch/supervisor/keeper.h"
#include "launch/supervisor/state_report.h"
#include "launch/supervisor/supervisor.h"
#include "launch/supervisor/world_file.h"

namespace leasehold {

namespace {

constexpr double kProbeDeadlineS = 10;
constexpr double kAnnounceLimitS = 600;         // for a full disk to have room again
constexpr const char* kLoopback = "127.0.0.1";  // the supervisor's address for virtual nodes

// A signal handler can only reach a global.
std::atomic<int> interrupts = 0;
static_assert(std::atomic<int>::is_always_lock_free, "counted by a signal handler");
extern "C" void count_interrupt(int) { interrupts.fetch_add(1); }

void count_interrupts() {
  struct sigaction action {};
  action.sa_handler = count_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

std::string absolute(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

// Makes the paths among --set values absolute. They start at the working directory, which ranks do
// not share.
std::vector<std::string> with_absolute_paths(std::vector<std::string> overrides) {
  for (std::string& text : overrides) {
    const auto given = parse_job_override(text);
    if (!given.ok()) continue;  // load_job reports it
    const JobKey* key = find_job_key(given->table, given->name);
    if (key == nullptr || !key->is_path) continue;
    JobFile job;
    if (!assign_job_value(*key, given->value, job).ok()) continue;
    text = key->full_name() + "=" + absolute(job_value_text(*key, job));
  }
  return overrides;
}

bool is_program(const std::string& path) {
  return ::access(path.c_str(), X_OK) == 0 && !std::filesystem::is_directory(path);
}

// The paths of the two programs, which lie in one directory.
struct Programs {
  std::string leasehold;
  std::string train;
};

Result<Programs> find_programs() {
  std::error_code failure;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failure);
  if (failure) return error(Code::kInternal, "/proc/self/exe: {}", failure.message());
  Programs programs{self.string(), (self.parent_path() / "leasehold-train").string()};
  if (!is_program(programs.train)) {
    return error(Code::kMissingInput, "there is no {}: build it; it belongs next to {}",
                 programs.train, programs.leasehold);
  }
  return programs;
}

Result<JobFile> load_launch_job(const LaunchCommand& command) {
  LEASEHOLD_ASSIGN_OR_RETURN(JobFile job,
                             load_job(posix_files(), command.job_path, command.overrides));
  LEASEHOLD_RETURN_IF_ERROR(
      validate(job, static_cast<int>(std::max<int64_t>(
                        job.launch.min_world, job.parallel.tensor * job.parallel.pipeline))));
  if (job.lease.calendar.empty()) {
    return error(Code::kBadConfig,
                 "{}: lease.calendar is missing: set it to a file that lists hosts and their "
                 "leases (docs/lease_calendar.md), or start the job with mpirun",
                 command.job_path);
  }
  if (job.launch.mpirun.find('/') != std::string::npos) {
    job.launch.mpirun = join_path(parent_path(job.path), job.launch.mpirun);
  }
  if (job.launch.hosts == "local" || job.launch.hosts == "ssh") return job;
  job.launch.hosts = join_path(parent_path(job.path), job.launch.hosts);
  if (!is_program(job.launch.hosts)) {
    return error(Code::kBadConfig, "{}: launch.hosts: {} is not a program", command.job_path,
                 job.launch.hosts);
  }
  return job;
}

// Returns the address at which the calendar's hosts reach this machine, and logs it.
Result<std::string> cluster_address(const LaunchCommand& command, const JobFile& job,
                                    const LeaseCalendar& calendar, const Logger& logger) {
  if (!command.address.empty()) return command.address;
  if (job.launch.hosts == "local") return std::string(kLoopback);
  std::vector<std::string> hosts;
  for (const Lease& lease : calendar.leases) {
    hosts.insert(hosts.end(), lease.hosts.begin(), lease.hosts.end());
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const AddressChoice choice, own_address(hosts));
  logger.info("{}", in_words(choice));
  return choice.address;
}

// Fails with kUsage if `address` is none of this machine's, before anything is touched.
Status check_address(const std::string& address) {
  if (address.empty()) return ok_status();
  const Status listens = listen_at({address, 0}).status();
  if (listens.ok()) return ok_status();
  return {Code::kUsage, listens.annotated("--address").message()};
}

SupervisorOptions make_options(const JobFile& job) {
  SupervisorOptions options;
  options.run_dir = job.run.dir;
  options.calendar_path = job.lease.calendar;
  // By whichever path a job names it.
  std::error_code unresolved;
  const auto calendar = std::filesystem::weakly_canonical(job.lease.calendar, unresolved);
  options.hosts_lock = (unresolved ? job.lease.calendar : calendar.string()) + ".lock";
  options.plan = {{.min_world = job.launch.min_world,
                   .lanes = job.batch.lanes,
                   .tensor = job.parallel.tensor,
                   .layouts = layout_candidates(job)},
                  job.launch.margin_s};
  options.limits.start_timeout_s = job.launch.start_timeout_s;
  options.limits.stuck_timeout_s = job.launch.stuck_timeout_s;
  options.limits.margin_s = job.launch.margin_s;
  options.limits.wait_for_state_s = job.launch.wait_for_state_s;
  options.limits.hosts_are_local = job.launch.hosts == "local";
  options.limits.num_steps = job.run.steps;
  return options;
}

// Removes the run's files from the memory of hosts that left its world. Virtual nodes share this
// machine's memory, which needs no cleaning here.
void clean_hosts_that_left(const JobFile& job, const SupervisorState& state, const Logger& logger) {
  if (job.launch.hosts == "local") return;
  std::vector<WorldFile> worlds;
  for (const PastGeneration& past : state.timeline) {
    auto world = read_world(posix_files(), job.run.dir, past.number);
    if (world.ok()) worlds.push_back(std::move(world).value());
  }
  const auto prober = make_prober(job.launch.hosts, kProbeDeadlineS, memory_removal(job.run.dir));
  for (const std::string& problem : ask_all(*prober, hosts_that_left(worlds))) {
    logger.warning("cannot remove the run's files from the memory of a host: {}", problem);
  }
}

}  // namespace

Status run_launch(const LaunchCommand& given, const Logger& logger) {
  forget_batch_system();
  LaunchCommand command = given;
  command.job_path = absolute(given.job_path);
  command.overrides = with_absolute_paths(given.overrides);
  LEASEHOLD_ASSIGN_OR_RETURN(const JobFile job, load_launch_job(command));
  LEASEHOLD_ASSIGN_OR_RETURN(const Programs programs, find_programs());
  LEASEHOLD_ASSIGN_OR_RETURN(const auto launcher, find_launcher(job.launch.mpirun, programs.train));
  LEASEHOLD_RETURN_IF_ERROR(check_address(command.address));
  count_interrupts();
  survive_failed_writes();
  survive_closed_terminal();

  ReportBoard board(system_clock());
  std::unique_ptr<ControlChannel> channel;
  const auto listen = [&](const LeaseCalendar& calendar) -> Result<std::string> {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string at,
                               cluster_address(command, job, calendar, logger));
    LEASEHOLD_ASSIGN_OR_RETURN(channel,
                               ControlChannel::open(posix_files(), job.run.dir, at, board));
    return channel->address();
  };
  const auto generations = make_process_host(posix_files(), programs.leasehold);
  const auto prober = make_prober(job.launch.hosts, kProbeDeadlineS,
                                  probe_command(*launcher, job.launch, programs.train));
  const auto forecaster = make_forecaster({.train_program = programs.train,
                                           .job_path = command.job_path,
                                           .overrides = command.overrides});
  const auto make_command = [&](const RunningGeneration& generation) {
    std::vector<std::string> overrides = command.overrides;
    if (generation.layout != own_layout(job.parallel)) {
      for (const std::string& text : layout_overrides(generation.layout)) overrides.push_back(text);
    }
    return launcher->command({.mpirun = job.launch.mpirun,
                              .tool = programs.leasehold,
                              .train_program = programs.train,
                              .job_path = command.job_path,
                              .overrides = std::move(overrides),
                              .launch = job.launch,
                              .hosts = generation.hosts,
                              .generation = generation.number,
                              .supervisor = channel->address(),
                              .as_root = ::geteuid() == 0});
  };
  LEASEHOLD_ASSIGN_OR_RETURN(
      const auto supervisor,
      Supervisor::open(make_options(job), {posix_files(), system_clock(), *generations, *prober,
                                           *forecaster, board, logger, *launcher, listen,
                                           make_command, [] { return interrupts.load(); }}));
  LEASEHOLD_RETURN_IF_ERROR(announce_with_patience(
      *channel, system_clock(), kAnnounceLimitS, [] { return interrupts.load() > 0; },
      [&](const Status& failure) {
        logger.warning("{}; trying again for {:.0f} s", failure.message(), kAnnounceLimitS);
      }));
  logger.info("supervising {}: `leasehold status {}` shows its state", job.run.name, job.run.dir);

  const JobEnd end = supervisor->run();
  std::fputs(timeline_text(supervisor->state()).c_str(), stdout);
  std::fflush(stdout);
  if (end.exit_code != 0) return {static_cast<Code>(end.exit_code), end.reason};
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t removed, remove_run_memory(job.run.dir));
  if (removed > 0) logger.info("removed {} files of the run from shared memory", removed);
  clean_hosts_that_left(job, supervisor->state(), logger);
  return ok_status();
}

Status run_keeper_command(const KeeperCommand& command) {
  KeeperOptions options;
  options.generation_dir = command.generation_dir;
  options.command = command.command;
  return run_keeper(posix_files(), options);
}

}  // namespace leasehold
