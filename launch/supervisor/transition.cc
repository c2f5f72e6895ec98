#include "launch/supervisor/transition.h"

#include <algorithm>
#include <cmath>

namespace leasehold {

namespace {

constexpr double kLeastDrainS = 10;

using Kind = Action::Kind;
using Health = HostHealth::State;

constexpr const char* kPlannedDrain = "planned";

Action wait_until(double until_s, std::string reason) {
  return {.kind = Kind::kWait, .reason = std::move(reason), .until_s = until_s};
}

Action kill(std::string way, const std::string& reason, double now_s,
            std::vector<std::string> suspects = {}) {
  return {.kind = Kind::kKill,
          .reason = reason,
          .ending = {.kill = true,
                     .way = std::move(way),
                     .reason = reason,
                     .asked_s = now_s,
                     .signalled = false,
                     .signals = 0,
                     .suspects = std::move(suspects)}};
}

Action drain(std::string way, const std::string& reason, double now_s) {
  return {.kind = Kind::kDrain,
          .reason = reason,
          .ending = {.kill = false,
                     .way = std::move(way),
                     .reason = reason,
                     .asked_s = now_s,
                     .signalled = false,
                     .signals = 0,
                     .suspects = {}}};
}

// --- Hosts that have to answer ---

bool is_awaited(const std::string& host, const HostRecord& record, const Observation& seen) {
  return record.health.state == Health::kUnreachable && seen.leased.contains(host);
}

std::vector<std::string> due_probes(const SupervisorState& state, const Observation& seen,
                                    double now_s) {
  std::vector<std::string> due;
  for (const auto& [host, record] : state.hosts) {
    const bool is_due = is_awaited(host, record, seen) && now_s >= record.next_probe_s;
    if (is_due && !seen.probing.contains(host)) due.push_back(host);
  }
  return due;
}

Action probe(std::vector<std::string> hosts) {
  std::string reason = fmt::format("does {} answer?", fmt::join(hosts, ", "));
  return {.kind = Kind::kProbe, .reason = std::move(reason), .hosts = std::move(hosts)};
}

// The next moment at which a probe is due or a quarantine ends.
double next_health_s(const SupervisorState& state, const Observation& seen) {
  double next_s = kNever;
  for (const auto& [host, record] : state.hosts) {
    if (is_awaited(host, record, seen)) next_s = std::min(next_s, record.next_probe_s);
    if (record.health.state == Health::kQuarantined) {
      next_s = std::min(next_s, record.health.until_s);
    }
  }
  return next_s;
}

// --- While a generation runs ---

// The moment of the last progress. A supervisor counts from its own beginning on: the time of the
// one before may have been another.
double awaited_since_s(const RunningGeneration& running, const Observation& seen) {
  return std::max({running.progress_s, running.started_s, seen.listening_since_s});
}

// The time that a step should take in this world: fewer ranks than those that were measured take as
// much longer.
double expected_step_s(const SupervisorState& state) {
  const double ranks = static_cast<double>(state.running->world());
  const double measured_on = std::max(ranks, static_cast<double>(state.times_world));
  return state.times.step_s.value_or(0) * measured_on / ranks;
}

// Returns how long a step may take, with everything that comes with it.
double patience_s(const SupervisorState& state, const SupervisorLimits& limits) {
  return limits.stuck_timeout_s + limits.margin_s + 3 * expected_step_s(state);
}

double idle_limit_s(const SupervisorState& state, const SupervisorLimits& limits) {
  const std::string& phase = state.running->phase;
  const double limit_s = patience_s(state, limits);
  const bool quick = phase == "training" || phase == "leaving";
  return quick ? limit_s : limits.slow_phase_factor * limit_s;
}

// Hosts that are not heard while others are. Once a generation trains, all of its agents run.
std::vector<std::string> silent_hosts(const RunningGeneration& running, const Observation& seen,
                                      const SupervisorLimits& limits, double now_s) {
  std::vector<std::string> silent;
  bool some_are_heard = false;
  for (const PlannedHost& host : running.hosts) {
    const auto news = seen.nodes.find(host.host);
    const bool known = news != seen.nodes.end() && news->second.report.generation == running.number;
    const double heard_s = known ? news->second.heard_s : seen.listening_since_s;
    const bool heard = now_s - heard_s < limits.heartbeat_timeout_s;
    some_are_heard = some_are_heard || (known && heard);
    if (!heard) silent.push_back(host.host);
  }
  return some_are_heard ? silent : std::vector<std::string>();
}

// Something is wrong with the generation; its end cannot be awaited.
std::optional<Action> reason_to_kill(const SupervisorState& state, const Observation& seen,
                                     const SupervisorLimits& limits, double now_s) {
  const RunningGeneration& running = *state.running;
  if (!running.training) {
    const double since_s = now_s - awaited_since_s(running, seen);
    if (since_s < limits.start_timeout_s) return std::nullopt;
    return kill("start timeout",
                fmt::format("it did not start to train within {:.0f} s (launch.start_timeout_s)",
                            limits.start_timeout_s),
                now_s);
  }
  const double idle_s = now_s - std::max(running.progress_s, running.started_s);
  // While steps come, nobody is missing whom the steps need: a node may be cut off from us alone.
  const double step_patience_s = limits.heartbeat_timeout_s + 3 * expected_step_s(state);
  if (running.phase == "training" && idle_s >= step_patience_s) {
    std::vector<std::string> silent = silent_hosts(running, seen, limits, now_s);
    if (!silent.empty()) {
      return kill("no heartbeat",
                  fmt::format("no word from {} for {:.0f} s and no step", fmt::join(silent, ", "),
                              limits.heartbeat_timeout_s),
                  now_s, silent);
    }
  }
  const double limit_s = idle_limit_s(state, limits);
  if (now_s - awaited_since_s(running, seen) < limit_s) return std::nullopt;
  return kill("stuck",
              fmt::format("stuck: no step and no new phase for {:.0f} s after step {}{}", limit_s,
                          running.step,
                          running.phase.empty() ? "" : fmt::format(" in phase {}", running.phase)),
              now_s);
}

// A drain that was asked for is passed on, once more when nothing comes of it, and ends: when the
// first lease does, or when neither a step's end nor a save that gets on explains the wait.
Action while_draining(const SupervisorState& state, const Observation& seen,
                      const SupervisorLimits& limits, double now_s) {
  const RunningGeneration& running = *state.running;
  const Ending& ending = *running.ending;
  // Before its first report or step a rank may not have installed its handler yet.
  const bool safe = running.training || !running.phase.empty();
  if (!safe && ending.way == kPlannedDrain && !seen.planned_drain && !seen.stop_wish) {
    return {.kind = Kind::kTakeBackDrain,
            .reason = fmt::format("no reason to drain is left ({})", ending.reason)};
  }
  // Steps are no progress of a drain.
  const bool steps = running.phase == "training" || running.phase == "validating";
  const double asked_s = std::max(ending.asked_s, seen.listening_since_s);
  const double since_s = steps ? asked_s : std::max(asked_s, running.progress_s);
  const double limit_s = steps ? patience_s(state, limits) : idle_limit_s(state, limits);
  double until_s = since_s + limit_s;
  if (seen.lease_end_s > ending.asked_s) {
    const double end_s = seen.lease_end_s - std::min(limits.margin_s, limits.kill_grace_s);
    // Where little more than the margin is left, as of a lease that was cut short or where steps
    // and saves are short beside it, a drain gets some time all the same.
    constexpr double kLittleMore = 1.25;
    const bool is_late = seen.lease_end_s - ending.asked_s < kLittleMore * limits.margin_s;
    until_s = std::min(until_s, is_late ? std::max(end_s, asked_s + kLeastDrainS) : end_s);
  }
  if (now_s >= until_s) {
    return kill("drain",
                fmt::format("it was asked to drain {:.0f} s ago ({}) and is in phase {} after step "
                            "{} still",
                            now_s - ending.asked_s, ending.reason,
                            running.phase.empty() ? "starting" : running.phase, running.step),
                now_s);
  }
  const bool again = ending.signals == 1 && now_s >= since_s + (until_s - since_s) / 2;
  if (safe && (!ending.signalled || again)) {
    return {.kind = Kind::kSignalDrain, .reason = ending.reason};
  }
  return wait_until(until_s, "draining: " + ending.reason);
}

Action while_running(const SupervisorState& state, const Observation& seen,
                     const SupervisorLimits& limits, double now_s) {
  const RunningGeneration& running = *state.running;
  if (running.ending && running.ending->kill) {
    const double until_s = running.ending->asked_s + limits.kill_grace_s;
    if (now_s < until_s) return wait_until(until_s, "mpirun is being ended");
    return {.kind = Kind::kKillByForce,
            .reason = fmt::format("mpirun did not end within {:.0f} s", limits.kill_grace_s)};
  }
  if (auto killing = reason_to_kill(state, seen, limits, now_s)) return *killing;
  if (running.ending) return while_draining(state, seen, limits, now_s);
  if (seen.stop_wish) return drain("operator", *seen.stop_wish, now_s);
  if (seen.planned_drain) return drain(kPlannedDrain, *seen.planned_drain, now_s);
  auto due = due_probes(state, seen, now_s);
  if (!due.empty()) return probe(std::move(due));
  return wait_until(std::min(seen.wanted.next_look_s, next_health_s(state, seen)),
                    fmt::format("generation {} runs", running.number));
}

// --- Between generations ---

// Restarts that bring no step come slower and slower.
double restart_s(const SupervisorState& state, const SupervisorLimits& limits) {
  int64_t in_vain = 0;
  double last_s = 0;
  for (const Failure& failure : state.failures) {
    if (failure.excused || failure.step != state.newest_step) continue;
    ++in_vain;
    last_s = failure.at_s;
  }
  if (in_vain < 2) return 0;
  const double pause_s = std::ldexp(1.0, static_cast<int>(std::min<int64_t>(in_vain - 2, 60)));
  return last_s + std::min(limits.max_restart_pause_s, pause_s);
}

// --- State that is in the memory of hosts ---

double may_wait_until_s(const SupervisorState& state, const SupervisorLimits& limits) {
  return state.last_end_s.value_or(0) + limits.wait_for_state_s;
}

// Waits for hosts without which the next generation would go back to an older state, while one of
// them may still come; hosts in quarantine are asked, since it was not for their memory.
std::optional<Action> wait_for_state(const SupervisorState& state, const Observation& seen,
                                     const SupervisorLimits& limits, double now_s) {
  const auto missing = missing_holders(state.held, seen.wanted.hosts);
  const double until_s = may_wait_until_s(state, limits);
  if (missing.empty() || now_s >= until_s) return std::nullopt;
  std::vector<std::string> may_come, due;
  for (const std::string& host : missing) {
    const bool is_leased = seen.leased.contains(host);
    if (!is_leased && !seen.leased_soon.contains(host)) continue;
    const auto known = state.hosts.find(host);
    const HostRecord record = known == state.hosts.end() ? HostRecord() : known->second;
    // The planner could have it and does not: too little of its lease is left.
    if (is_leased && record.health.state == Health::kGood) continue;
    may_come.push_back(host);
    const bool is_due = is_leased && record.health.state == Health::kQuarantined &&
                        record.fault.empty() && now_s >= record.next_probe_s &&
                        !seen.probing.contains(host);
    if (is_due) due.push_back(host);
  }
  if (may_come.empty()) return std::nullopt;
  if (!due.empty()) return probe(std::move(due));
  return wait_until(
      until_s, fmt::format("the state of step {} is in the memory of {}, files have "
                           "step {}: waiting {:.0f} s at most "
                           "(launch.wait_for_state_s); {}",
                           state.held.step, fmt::join(may_come, ", "), state.held.step_of_files(),
                           limits.wait_for_state_s, seen.wanted.reason));
}

// Says what a generation on these hosts loses by beginning now; none: nothing.
std::optional<SupervisorEvent> loss_of(const SupervisorState& state, const Observation& seen) {
  const auto missing = missing_holders(state.held, seen.wanted.hosts);
  if (missing.empty()) return std::nullopt;
  const int64_t back_to = state.held.step_of_files();
  const int64_t steps = state.held.step - back_to;
  return SupervisorEvent{
      "state_lost",
      fmt::format("the state of step {} was in the memory of {}, which did not come back: the job "
                  "goes back to step {}{}, and {} steps are lost",
                  state.held.step, fmt::join(missing, ", "), back_to,
                  back_to == 0 ? ", its beginning" : "", steps),
      {{"steps", std::to_string(steps)}}};
}

std::string start_reason(const SupervisorState& state, const Plan& wanted) {
  if (state.timeline.empty()) return wanted.reason;
  const PastGeneration& last = state.timeline.back();
  return fmt::format("{}generation {} ended ({}); {}", last.planned ? "" : "restart: ", last.number,
                     last.ended, wanted.reason);
}

Action between_generations(const SupervisorState& state, const Observation& seen,
                           const SupervisorLimits& limits, double now_s) {
  if (seen.stop_wish) return finish_as_asked(state, *seen.stop_wish);
  auto due = due_probes(state, seen, now_s);
  if (!due.empty()) return probe(std::move(due));
  for (const auto& [host, record] : state.hosts) {
    if (is_awaited(host, record, seen) && record.failed_probes == 0) {
      return wait_until(kNever, fmt::format("whether {} answers", host));
    }
  }
  const double again_s = restart_s(state, limits);
  if (now_s < again_s) return wait_until(again_s, "the pause after failures without a step");
  if (auto waiting = wait_for_state(state, seen, limits, now_s)) return *std::move(waiting);
  if (seen.wanted.hosts.empty()) {
    return wait_until(std::min(seen.wanted.next_look_s, next_health_s(state, seen)),
                      seen.wanted.reason);
  }
  return {.kind = Kind::kStart,
          .reason = start_reason(state, seen.wanted),
          .loss = loss_of(state, seen)};
}

}  // namespace

const char* action_name(Kind kind) {
  switch (kind) {
    case Kind::kWait:
      return "wait";
    case Kind::kStart:
      return "start";
    case Kind::kDrain:
      return "drain";
    case Kind::kSignalDrain:
      return "signal_drain";
    case Kind::kTakeBackDrain:
      return "take_back_drain";
    case Kind::kKill:
      return "kill";
    case Kind::kKillByForce:
      return "kill_by_force";
    case Kind::kProbe:
      return "probe";
    case Kind::kFinish:
      return "finish";
  }
  return "unknown";
}

Action finish_as_asked(const SupervisorState& state, const std::string& wish) {
  Action finish{
      .kind = Kind::kFinish, .reason = wish, .exit_code = static_cast<int>(Code::kDrained)};
  const int64_t in_files = state.held.step_of_files();
  const bool ended_well = state.timeline.empty() || state.timeline.back().planned;
  if (ended_well || in_files >= state.newest_step) return finish;
  const int storage = static_cast<int>(Code::kStorage);
  const bool save_failed = !state.failures.empty() && state.failures.back().exit_code == storage;
  finish.exit_code = save_failed ? storage : static_cast<int>(Code::kUnavailable);
  finish.reason = fmt::format(
      "{}; but the state of step {} is in no checkpoint, files have step {}: "
      "generation {} ended otherwise ({}). Launch again to go on",
      wish, state.newest_step, in_files, state.timeline.back().number, state.timeline.back().ended);
  return finish;
}

Action next_action(const SupervisorState& state, const Observation& seen,
                   const SupervisorLimits& limits, double now_s) {
  if (state.running) return while_running(state, seen, limits, now_s);
  if (state.end) {
    return {.kind = Kind::kFinish, .reason = state.end->reason, .exit_code = state.end->exit_code};
  }
  return between_generations(state, seen, limits, now_s);
}

}  // namespace leasehold
