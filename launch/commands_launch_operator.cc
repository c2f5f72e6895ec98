// Implements the operator's commands of commands_launch.h, with or without a running supervisor.
#include <cstdio>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "launch/commands_launch.h"
#include "launch/run_memory.h"
#include "launch/supervisor/control_client.h"
#include "launch/supervisor/control_file.h"
#include "launch/supervisor/keeper.h"
#include "launch/supervisor/process_identity.h"
#include "launch/supervisor/state_report.h"
#include "launch/supervisor/world_file.h"
#include "runtime/checkpoint/run_directory.h"
#include "runtime/checkpoint/snapshot_slot.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxKeeperBytes = 64 << 10;

Status no_supervisor(const std::string& run_dir, const std::string& why) {
  return error(Code::kUnavailable, "no supervisor of {} answers: {}; `leasehold launch` starts one",
               run_dir, why);
}

Result<Operator> find_supervisor(const std::string& run_dir) {
  const auto control = read_control_file(posix_files(), run_dir);
  if (control.status().code() == Code::kMissingInput) {
    return no_supervisor(run_dir, "the run was never launched");
  }
  if (!control.ok()) return control.status();
  return Operator{.port = control->operator_port, .key = control->operator_key};
}

Result<std::string> ask(const std::string& run_dir) {
  LEASEHOLD_ASSIGN_OR_RETURN(const Operator who, find_supervisor(run_dir));
  return ask_state(who);
}

// Returns true if the newest generation still runs after its supervisor ended.
bool generation_runs(const std::string& run_dir) {
  const auto state = load_state(posix_files(), run_dir);
  if (!state.ok() || !state->running) return false;
  const std::string path = keeper_path(generation_directory(run_dir, state->running->number));
  const auto text = read_file(posix_files(), path, kMaxKeeperBytes);
  if (!text.ok()) return false;
  const auto keeper = parse_identity(*text, path);
  return keeper.ok() && is_alive(*keeper);
}

}  // namespace

Status run_status(const std::string& run_dir, bool json) {
  const auto answer = ask(run_dir);
  if (answer.ok() && json) {
    std::fputs(answer->c_str(), stdout);
    return ok_status();
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const SupervisorState left, load_state(posix_files(), run_dir));
  if (json) {
    const std::string doing = "no supervisor runs";
    std::fputs(state_json({left, {}, doing, system_clock().unix_s()}).c_str(), stdout);
    return ok_status();
  }
  if (answer.ok()) {
    const auto parsed = nlohmann::json::parse(*answer, nullptr, /*allow_exceptions=*/false);
    fmt::print("supervised; {}\n{}", parsed.value("doing", ""), communication_text(*answer));
  } else {
    fmt::print("no supervisor answers{}\n",
               generation_runs(run_dir)
                   ? ", but its generation continues: `leasehold launch` adopts it"
                   : "");
  }
  fmt::print("{}", timeline_text(left));
  if (left.end) fmt::print("ended with exit code {}: {}\n", left.end->exit_code, left.end->reason);
  return ok_status();
}

Status run_drain(const std::string& run_dir) {
  LEASEHOLD_ASSIGN_OR_RETURN(const Operator who, find_supervisor(run_dir));
  const Status asked = ask_drain(who, "an operator asked for it");
  return asked.code() == Code::kUnavailable ? no_supervisor(run_dir, asked.message()) : asked;
}

Status run_clean(const std::string& run_dir, const Logger& logger) {
  const std::string path = canonical_run_dir(run_dir);
  std::unique_ptr<FileLock> lock;
  if (posix_files().exists(path)) {
    auto taken = posix_files().lock(join_path(path, "lock"), describe_owner(system_clock()));
    if (!taken.ok()) {
      return taken.status().annotated(fmt::format("{} cannot be cleaned while it is in use", path));
    }
    lock = std::move(taken).value();
    if (generation_runs(path)) {
      return error(Code::kBadConfig,
                   "{} cannot be cleaned: a generation runs without a supervisor; `leasehold "
                   "launch` adopts it",
                   path);
    }
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t removed, remove_run_memory(path));
  logger.info("removed {} files of {} from shared memory", removed, path);
  if (memory_prefixes(path).size() < 2) {
    logger.warning(
        "{} names no lineage, which the names of a run's snapshots contain: if snapshots are left, "
        "they are among {}/leasehold-*; remove those that no run uses",
        path, kSharedMemory);
  }
  return ok_status();
}

}  // namespace leasehold
