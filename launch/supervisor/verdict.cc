#include "launch/supervisor/verdict.h"

#include <algorithm>

#include "runtime/base/broken_host.h"
#include "runtime/base/resource_exhausted.h"

namespace leasehold {

namespace {

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

}  // namespace

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

std::string host_to_blame(const RunningGeneration& running, const Observation& seen) {
  if (running.ending && running.ending->kill) {
    return running.ending->suspects.size() == 1 ? running.ending->suspects.front() : "";
  }
  const int lost_a_peer = static_cast<int>(Code::kUnavailable);
  const bool is_named = !seen.said.faulty_ranks.empty();
  const std::string named =
      is_named ? host_of_rank(running.hosts, seen.said.faulty_ranks.front()) : "";
  if (is_named && seen.said.own_code != lost_a_peer) return named;
  for (const PlannedHost& host : running.hosts) {
    if (std::ranges::find(seen.said.lost, host.host) != seen.said.lost.end()) return host.host;
  }
  if (seen.outcome && seen.outcome->exit_code == lost_a_peer) return named;
  if (seen.said.rank) return host_of_rank(running.hosts, *seen.said.rank);
  const bool is_ours = std::ranges::any_of(
      running.hosts, [&](const PlannedHost& host) { return host.host == seen.said.host; });
  return is_ours ? seen.said.host : named;
}

}  // namespace leasehold
