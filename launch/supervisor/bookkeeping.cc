#include "launch/supervisor/bookkeeping.h"

#include <algorithm>
#include <cmath>

#include "launch/supervisor/host_fault.h"
#include "runtime/base/broken_host.h"
#include "runtime/base/resource_exhausted.h"

namespace leasehold {

namespace {

using Events = std::vector<SupervisorEvent>;
using Health = HostHealth::State;

constexpr double kOldShare = 0.9;  // of a measured time that a smaller new one leaves

double doubled(double first, int64_t times, double limit) {
  return std::min(limit, std::ldexp(first, static_cast<int>(std::min<int64_t>(times, 60))));
}

// Measured times fall slowly, so that one quick step does not spoil a forecast.
void measure(std::optional<double>& time, double value) {
  if (value > 0) time = std::max(value, kOldShare * time.value_or(0));
}

// --- Hosts ---

void absorb_probe(SupervisorState& state, const ProbeResult& probe, const SupervisorLimits& limits,
                  double now_s, Events& events) {
  HostRecord& record = state.hosts[probe.host];
  const bool in_quarantine = record.health.state == Health::kQuarantined;
  if (record.health.state == Health::kGood) return;
  if (probe.answered) {
    record.health = {};
    record.failed_probes = 0;
    events.push_back({"host_answers",
                      fmt::format("{} answers and may be used again{}", probe.host,
                                  in_quarantine ? ": its memory holds the newest state" : ""),
                      {}});
    return;
  }
  record.next_probe_s =
      now_s + doubled(limits.first_probe_pause_s, record.failed_probes, limits.max_probe_pause_s);
  if (++record.failed_probes > 1 || in_quarantine) return;
  // The failure that made us ask was this host's, not the job's.
  if (!state.failures.empty()) state.failures.back().excused = true;
  record.health.reason = probe.message;
  events.push_back({"host_unreachable",
                    fmt::format("{} does not answer ({}): it is left out until it does", probe.host,
                                probe.message),
                    {}});
}

void end_quarantines(SupervisorState& state, double now_s, Events& events) {
  for (auto& [host, record] : state.hosts) {
    if (record.health.state != Health::kQuarantined || now_s < record.health.until_s) continue;
    record.health = {};
    events.push_back({"host_back", fmt::format("the quarantine of {} is over", host), {}});
  }
}

void suspect(SupervisorState& state, const std::string& host, const std::string& reason,
             double now_s) {
  HostRecord& record = state.hosts[host];
  if (record.health.state == Health::kQuarantined) return;
  record.health = {.state = Health::kUnreachable, .until_s = 0, .reason = reason};
  record.failed_probes = 0;
  record.next_probe_s = now_s;
}

void charge(SupervisorState& state, const std::string& host, const std::string& reason,
            const SupervisorLimits& limits, double now_s, Events& events) {
  HostRecord& record = state.hosts[host];
  record.crashes_s.push_back(now_s);
  std::erase_if(record.crashes_s,
                [&](double at_s) { return at_s < now_s - limits.crash_window_s; });
  if (std::ssize(record.crashes_s) < limits.crashes_to_quarantine) return;
  const double pause_s = doubled(limits.quarantine_s, record.quarantines, limits.max_quarantine_s);
  const std::string why = fmt::format("{} crashes within {:.0f} s, the last: {}",
                                      record.crashes_s.size(), limits.crash_window_s, reason);
  record.health = {.state = Health::kQuarantined, .until_s = now_s + pause_s, .reason = why};
  record.crashes_s.clear();
  ++record.quarantines;
  events.push_back(
      {"host_quarantined", fmt::format("{} is left out for {:.0f} s: {}", host, pause_s, why), {}});
}

// Leaves out a host on which the job cannot run as it is now.
void leave_out(SupervisorState& state, const std::string& host, const std::string& fault,
               const std::string& reason, const SupervisorLimits& limits, double now_s,
               Events& events) {
  HostRecord& record = state.hosts[host];
  const double pause_s = doubled(limits.quarantine_s, record.faults, limits.max_quarantine_s);
  record.health = {.state = Health::kQuarantined, .until_s = now_s + pause_s, .reason = reason};
  record.fault = fault;
  record.fault_step = state.newest_step;
  ++record.faults;
  events.push_back(
      {"host_left_out", fmt::format("{} is left out for {:.0f} s: {}", host, pause_s, reason), {}});
}

// A host that trains has no fault any more; after a while it never had one.
void forgive_faults(SupervisorState& state, const SupervisorLimits& limits, double now_s) {
  const RunningGeneration& running = *state.running;
  if (!running.training) return;
  for (const PlannedHost& host : running.hosts) {
    const auto found = state.hosts.find(host.host);
    if (found == state.hosts.end()) continue;
    found->second.fault.clear();
    if (now_s >= running.started_s + limits.crash_window_s) found->second.faults = 0;
  }
}

// --- Progress of the generation that runs ---

const Report* of_lowest_rank(const Observation& seen, int64_t generation) {
  const Report* lowest = nullptr;
  for (const auto& [name, news] : seen.nodes) {
    if (news.report.generation != generation) continue;
    if (lowest == nullptr || news.report.rank < lowest->rank) lowest = &news.report;
  }
  return lowest;
}

bool is_training(const std::string& phase) {
  return phase == "training" || phase == "validating" || phase == "saving" || phase == "leaving";
}

// Notes where the newest state is.
void note_held(SupervisorState& state, const Observation& seen) {
  const RunningGeneration& running = *state.running;
  HeldState& held = state.held;
  for (const auto& [name, news] : seen.nodes) {
    const Report& report = news.report;
    if (report.generation != running.number) continue;
    if (report.durable_step > held.durable_step) {
      held.durable_step = report.durable_step;
      held.files_failed = false;
    }
    const bool is_newer = held.generation != running.number || report.committed_step > held.step;
    if (report.committed_step < 0 || !is_newer) continue;
    if (held.generation != running.number) held.parts = parts_on(running.hosts);
    held.generation = running.number;
    held.step = report.committed_step;
  }
}

int64_t work_of(const Observation& seen, int64_t generation) {
  int64_t work = 0;
  for (const auto& [name, news] : seen.nodes) {
    if (news.report.generation == generation) work += news.report.work_done;
  }
  return work;
}

// A generation that restored less than was held has lost the rest.
void note_loss(SupervisorState& state, bool trained_before, Events& events) {
  const RunningGeneration& running = *state.running;
  HeldState& held = state.held;
  if (trained_before || !running.training || held.generation == running.number) return;
  const int64_t lost = held.step - running.step;
  if (running.phase.empty() || lost <= 0) return;
  events.push_back({"state_lost",
                    fmt::format("generation {} found the state of step {}; step {} was in the "
                                "memory of hosts: {} steps are lost",
                                running.number, running.step, held.step, lost),
                    {{"steps", std::to_string(lost)}}});
  held.step = -1;
}

void measure_step(SupervisorState& state, double step_time_s) {
  measure(state.times.step_s, step_time_s);
  if (step_time_s > 0) state.times_world = state.running->world();
}

// True when there is news.
bool note_progress(SupervisorState& state, const Observation& seen, double now_s) {
  RunningGeneration& running = *state.running;
  bool news = false;
  const int64_t logged = seen.logged ? seen.logged->step : 0;
  if (logged > state.newest_step) {
    state.newest_step = logged;
    measure_step(state, seen.logged->step_time_s);
    running.step = std::max(running.step, logged);
    news = true;
  }
  const Report* report = of_lowest_rank(seen, running.number);
  if (report != nullptr && (report->step > running.step || report->phase != running.phase)) {
    running.step = std::max(running.step, report->step);
    running.phase = report->phase;
    measure_step(state, report->step_time_s);
    measure(state.times.save_s, report->save_time_s);
    news = true;
  }
  const int64_t work = work_of(seen, running.number);
  if (work != running.work) news = true;
  running.work = work;
  state.newest_step = std::max(state.newest_step, running.step);
  running.training =
      running.training || is_training(running.phase) || state.newest_step > running.first_step;
  if (news) running.progress_s = now_s;
  return news;
}

void note_first_step(SupervisorState& state, double now_s, Events& events) {
  RunningGeneration& running = *state.running;
  if (running.first_new_step_s || state.newest_step <= running.first_step) return;
  running.first_new_step_s = now_s;
  const double start_s = std::max(0.0, now_s - running.started_s);
  measure(state.times.start_s, start_s);
  events.push_back({"first_new_step",
                    fmt::format("generation {} made step {}, {:.1f} s after its start",
                                running.number, state.newest_step, start_s),
                    {}});
}

// --- The end of a generation ---

struct Verdict {
  enum class Kind { kDone, kDrained, kFatal, kHostFault, kFailure };
  Kind kind = Kind::kFailure;
  std::string way;
  std::string reason;
  int exit_code = 0;
  std::optional<HostFault> fault;
  bool excused = false;
};

std::string with_message(const std::string& what, const std::string& message) {
  return message.empty() ? what : fmt::format("{}: {}", what, message);
}

// Judges an end with a code that says that the job, or a host of it, cannot go on like this.
std::optional<Verdict> judge_refusal(const SupervisorState& state, const RunningGeneration& running,
                                     const Observation& seen, const SupervisorLimits& limits,
                                     int code) {
  if (!seen.outcome || (running.ending && running.ending->kill)) return std::nullopt;
  Verdict verdict{Verdict::Kind::kFatal,
                  describe(*seen.outcome),
                  with_message(describe(*seen.outcome), seen.said.message),
                  code,
                  {}};
  HeldState without_files = state.held;
  without_files.files_failed = true;
  const bool waits_for_state = code == static_cast<int>(Code::kBadData) && !running.training &&
                               !state.held.files_failed &&
                               !missing_holders(without_files, running.hosts).empty();
  if (waits_for_state) {
    verdict.kind = Verdict::Kind::kFailure;
    verdict.excused = true;
    return verdict;
  }
  verdict.fault = find_host_fault(state, running, seen, limits, code, verdict.reason);
  if (verdict.fault) {
    verdict.kind = Verdict::Kind::kHostFault;
    return verdict;
  }
  for (const Code fatal :
       {Code::kUsage, Code::kBadData, Code::kMissingInput, kResourceExhausted, Code::kBadConfig}) {
    if (code == static_cast<int>(fatal)) return verdict;
  }
  return std::nullopt;
}

Verdict judge(const SupervisorState& state, const RunningGeneration& running,
              const Observation& seen, const SupervisorLimits& limits) {
  const int code = seen.outcome ? seen.outcome->exit_code.value_or(-1) : -1;
  const bool drained = code == static_cast<int>(Code::kDrained);
  if (code == 0 && state.newest_step < limits.num_steps) {
    return {Verdict::Kind::kFailure,
            "ended too early",
            with_message(fmt::format("mpirun ended with exit code 0, but the job stands at step {} "
                                     "of {}",
                                     state.newest_step, limits.num_steps),
                         seen.said.message),
            static_cast<int>(Code::kInternal),
            {}};
  }
  if (code == 0) return {Verdict::Kind::kDone, "done", "the job is done", 0, {}};
  if (drained) {
    const bool asked = running.ending && !running.ending->kill;
    return {Verdict::Kind::kDrained,
            "drained",
            asked ? running.ending->reason : "it was told to drain, not by this supervisor",
            code,
            {}};
  }
  if (auto verdict = judge_refusal(state, running, seen, limits, code)) return *std::move(verdict);
  const bool known =
      code == static_cast<int>(kBrokenHost) || code == static_cast<int>(Code::kUnavailable) ||
      code == static_cast<int>(Code::kInternal) || code == static_cast<int>(Code::kStorage);
  Verdict failure{
      Verdict::Kind::kFailure, "", "", known ? code : static_cast<int>(Code::kInternal), {}};
  if (running.ending && running.ending->kill) {
    failure.way = running.ending->way;
    failure.reason = running.ending->reason;
  } else if (!seen.outcome) {
    failure.way = "keeper vanished";
    failure.reason = "its keeper vanished without saying how mpirun ended";
  } else {
    failure.way = describe(*seen.outcome);
    failure.reason = with_message(failure.way, seen.said.message);
  }
  return failure;
}

// Hosts that have to answer before they are used again.
std::vector<std::string> suspects_of(const RunningGeneration& running, const Observation& seen,
                                     const SupervisorLimits& limits) {
  std::vector<std::string> suspects;
  if (running.ending && running.ending->kill) suspects = running.ending->suspects;
  const bool never_started =
      !running.training && running.phase.empty() && !seen.said.rank && seen.said.host.empty();
  for (const PlannedHost& host : running.hosts) {
    const bool lost = std::ranges::find(seen.said.lost, host.host) != seen.said.lost.end();
    const bool all = (never_started || seen.said.lost_unnamed) && !limits.hosts_are_local &&
                     seen.said.lost.empty();
    const bool there = std::ranges::find(suspects, host.host) != suspects.end();
    if ((lost || all) && !there) suspects.push_back(host.host);
  }
  return suspects;
}

// The host that the failure is charged to; "" when none is known. Ranks that leave because a peer
// is gone (69) say nothing of themselves.
std::string host_to_blame(const RunningGeneration& running, const Observation& seen) {
  if (running.ending && running.ending->kill) {
    return running.ending->suspects.size() == 1 ? running.ending->suspects.front() : "";
  }
  if (!seen.said.faulty_ranks.empty()) {
    return host_of_rank(running.hosts, seen.said.faulty_ranks.front());
  }
  for (const PlannedHost& host : running.hosts) {
    if (std::ranges::find(seen.said.lost, host.host) != seen.said.lost.end()) return host.host;
  }
  const bool peer_was_lost =
      seen.outcome && seen.outcome->exit_code == static_cast<int>(Code::kUnavailable);
  if (peer_was_lost) return "";
  if (seen.said.rank) return host_of_rank(running.hosts, *seen.said.rank);
  const bool is_ours = std::ranges::any_of(
      running.hosts, [&](const PlannedHost& host) { return host.host == seen.said.host; });
  return is_ours ? seen.said.host : "";
}

bool keeps_failing(const SupervisorState& state, const SupervisorLimits& limits) {
  std::vector<const Failure*> newest;
  for (auto failure = state.failures.rbegin(); failure != state.failures.rend(); ++failure) {
    if (!failure->excused) newest.push_back(&*failure);
    if (std::ssize(newest) == limits.same_failures_to_stop) break;
  }
  if (std::ssize(newest) < limits.same_failures_to_stop) return false;
  const Failure& last = *newest.front();
  bool one_host_of_several = !last.host.empty();
  for (const Failure* failure : newest) {
    if (failure->way != last.way || failure->step != state.newest_step) return false;
    one_host_of_several = one_host_of_several && failure->host == last.host && !failure->only_host;
  }
  return !one_host_of_several;
}

void absorb_failure(SupervisorState& state, const RunningGeneration& running,
                    const Verdict& verdict, const Observation& seen, const SupervisorLimits& limits,
                    double now_s, Events& events) {
  const std::string host = host_to_blame(running, seen);
  state.failures.push_back({.at_s = now_s,
                            .generation = running.number,
                            .way = verdict.way,
                            .step = state.newest_step,
                            .host = host,
                            .only_host = running.hosts.size() == 1,
                            .excused = verdict.excused || verdict.fault,
                            .exit_code = verdict.exit_code,
                            .message = verdict.reason});
  if (state.failures.size() > kKeptFailures) state.failures.erase(state.failures.begin());
  if (verdict.fault) {
    for (const std::string& name : verdict.fault->hosts) {
      leave_out(state, name, verdict.fault->name, verdict.reason, limits, now_s, events);
    }
    return;
  }
  if (verdict.excused) {
    state.held.files_failed = true;
    return;
  }
  if (keeps_failing(state, limits)) {
    state.end = {verdict.exit_code,
                 fmt::format("{} generations in a row failed in the same way without a step beyond "
                             "{}: {}; the job cannot go on like this",
                             limits.same_failures_to_stop, state.newest_step, verdict.reason)};
    return;
  }
  for (const std::string& name : suspects_of(running, seen, limits)) {
    suspect(state, name, verdict.reason, now_s);
  }
  if (!host.empty()) charge(state, host, verdict.reason, limits, now_s, events);
}

void absorb_end(SupervisorState& state, const Observation& seen, const SupervisorLimits& limits,
                double now_s, Events& events) {
  const RunningGeneration running = *state.running;
  const double ended_s =
      seen.outcome ? std::clamp(seen.outcome->end_s, std::min(running.started_s, now_s), now_s)
                   : now_s;
  const Verdict verdict = judge(state, running, seen, limits);
  PastGeneration past{
      .number = running.number,
      .world = running.world(),
      .began = running.reason,
      .ended = verdict.reason,
      .started_s = running.started_s,
      .ended_s = ended_s,
      .last_step = state.newest_step,
      .planned = verdict.kind == Verdict::Kind::kDone || verdict.kind == Verdict::Kind::kDrained,
      .lost_s = {}};
  if (state.last_end_s && running.first_new_step_s) {
    past.lost_s = std::max(0.0, *running.first_new_step_s - *state.last_end_s);
  }
  events.push_back({"generation_ended",
                    verdict.reason,
                    {{"outcome", seen.outcome ? describe(*seen.outcome) : "unknown"},
                     {"step", std::to_string(state.newest_step)},
                     {"world", std::to_string(running.world())}}});
  if (verdict.kind == Verdict::Kind::kDrained && running.ending) {
    measure(state.times.save_s, ended_s - running.ending->asked_s - state.times.step_s.value_or(0));
  }
  state.timeline.push_back(std::move(past));
  state.last_end_s = ended_s;
  state.running.reset();
  switch (verdict.kind) {
    case Verdict::Kind::kDone:
    case Verdict::Kind::kFatal:
      state.end = {verdict.exit_code, verdict.reason};
      break;
    case Verdict::Kind::kDrained:
      // Its state is in files now.
      state.held.durable_step = std::max(state.held.durable_step, running.step);
      break;
    case Verdict::Kind::kHostFault:
    case Verdict::Kind::kFailure:
      absorb_failure(state, running, verdict, seen, limits, now_s, events);
      break;
  }
}

}  // namespace

std::vector<SupervisorEvent> absorb(SupervisorState& state, const Observation& seen,
                                    const SupervisorLimits& limits, double now_s) {
  Events events;
  for (const ProbeResult& probe : seen.probes) absorb_probe(state, probe, limits, now_s, events);
  end_quarantines(state, now_s, events);
  if (!state.running) return events;
  const bool trained_before = state.running->training;
  note_progress(state, seen, now_s);
  note_loss(state, trained_before, events);
  note_held(state, seen);
  forgive_faults(state, limits, now_s);
  note_first_step(state, now_s, events);
  if (seen.outcome || !seen.keeper_alive) absorb_end(state, seen, limits, now_s, events);
  return events;
}

}  // namespace leasehold
