#include "launch/leases/planner.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "launch/leases/host_windows.h"
#include "launch/leases/lease_times.h"
#include "launch/leases/world_choice.h"

namespace leasehold {

namespace {

// Estimates of what is not measured yet, in margins, since the margin is how the job states its own
// time scale. A margin below a second counts as one second.
constexpr double kUnmeasuredStartMargins = 2;
constexpr double kUnmeasuredStepMargins = 1;
constexpr double kUnmeasuredSaveMargins = 2;
constexpr double kSmallestScaleS = 1;

constexpr size_t kMaxNamed = 8;  // hosts named in a reason

// Durations in seconds, all of them known.
struct Costs {
  double start_s;
  double step_s;
  double save_s;
  double margin_s;

  double wind_down_s() const { return step_s + save_s + margin_s; }
  double restart_s() const { return start_s + save_s; }
};

Costs costs_of(const PlanLimits& limits, const MeasuredTimes& times) {
  const double margin_s = std::max(0.0, limits.margin_s);
  const double scale_s = std::max(kSmallestScaleS, margin_s);
  const auto known = [&](const std::optional<double>& measured_s, double margins) {
    return std::max(0.0, measured_s.value_or(margins * scale_s));
  };
  return {.start_s = known(times.start_s, kUnmeasuredStartMargins),
          .step_s = known(times.step_s, kUnmeasuredStepMargins),
          .save_s = known(times.save_s, kUnmeasuredSaveMargins),
          .margin_s = margin_s};
}

// A list of host names, or of phrases about hosts, which is cut to the length of a sentence.
class NameList {
 public:
  void add(const std::string& name) {
    if (num_++ >= kMaxNamed) return;
    if (!text_.empty()) text_ += ", ";
    text_ += name;
  }
  bool empty() const { return num_ == 0; }
  std::string text() const {
    if (num_ <= kMaxNamed) return text_;
    return fmt::format("{} and {} more", text_, num_ - kMaxNamed);
  }

 private:
  std::string text_;
  size_t num_ = 0;
};

// Returns the last time (excluded) at which a generation may begin on a host that is open until
// then.
double last_start_s(const HostWindow& window, const Costs& costs) {
  return window.until_s - costs.wind_down_s() - costs.start_s;
}

// Returns the reason why a host is closed or will close, with the time.
std::string in_words(const HostWindow& window) {
  const bool lasts = window.state == HostWindow::State::kCurtailed;
  return fmt::format("{} {} {}", window.why, lasts ? "until" : "at", utc_text(window.until_s));
}

// Returns the reason why a host cannot be taken now, for people; nullopt if it can.
std::optional<std::string> obstacle(const HostWindow& window, const HostHealth* health,
                                    const Costs& costs, double now_s) {
  if (window.state != HostWindow::State::kOpen) return in_words(window);
  if (health != nullptr && health->state != HostHealth::State::kGood) {
    const std::string because = health->reason.empty() ? "" : ": " + health->reason;
    if (health->state == HostHealth::State::kUnreachable) return "does not answer" + because;
    if (now_s < health->until_s) {
      return fmt::format("in quarantine until {}{}", utc_text(health->until_s), because);
    }
  }
  if (now_s < last_start_s(window, costs)) return std::nullopt;
  return fmt::format("{}, and {:.1f} s are needed to start, step and save", in_words(window),
                     costs.start_s + costs.wind_down_s());
}

bool comes_first(const HostWindow& a, const HostWindow& b) {
  if (a.until_s != b.until_s) return a.until_s > b.until_s;
  if (a.sure_s != b.sure_s) return a.sure_s > b.sure_s;
  return a.lease->price_per_slot_hour < b.lease->price_per_slot_hour;
}

// The candidates to take; they are in the order of comes_first.
struct Choice {
  std::optional<WorldOnHosts> on;
  size_t num_looked_at = 0;            // only this many candidates had to be considered
  std::vector<LayoutOfWorld> unknown;  // the missing forecasts; if any, nothing is decided
  std::string why_not;                 // no layout fits
  double holds_until_s = kNever;       // the time at which this choice changes without other events
};

// Chooses hosts. Ignores worlds without the first `num_preferred` candidates.
Choice choose(const std::vector<HostWindow>& candidates, size_t num_preferred,
              const PlanLimits& limits, const Costs& costs, double now_s,
              const MemoryForecasts& forecasts) {
  // Chooses between the first few candidates, the first few more, and so on. Hosts that end
  // together are added together.
  std::vector<WorldOption> options;
  std::vector<WorldOnHosts> worlds;
  Choice choice;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const bool more_end_then =
        i + 1 < candidates.size() && candidates[i + 1].until_s == candidates[i].until_s;
    if (more_end_then || i + 1 < num_preferred) continue;
    LayoutChoice fitting =
        choose_layout(std::span(candidates).first(i + 1), limits.layouts, forecasts);
    choice.unknown.insert(choice.unknown.end(), fitting.unknown.begin(), fitting.unknown.end());
    if (!fitting.why_not.empty()) choice.why_not = std::move(fitting.why_not);
    if (!fitting.world) continue;
    const int64_t before = options.empty() ? 0 : options.back().world;
    if (fitting.world->world <= before) continue;
    double until_s = kNever;
    for (const WorldOnHosts::Host& host : fitting.world->hosts) {
      until_s = std::min(until_s, candidates[host.index].until_s);
    }
    options.push_back({fitting.world->world, until_s - costs.wind_down_s()});
    worlds.push_back(std::move(*fitting.world));
    const bool any_layout_fits = worlds.back().why.empty();
    if (any_layout_fits && options.back().world == limits.layouts.max_world(worlds.back().layout)) {
      break;
    }
  }
  if (!choice.unknown.empty() || options.empty()) return choice;
  const WorldChoice chosen = choose_world(options, costs.start_s, costs.restart_s(), now_s);
  choice.on = std::move(worlds[chosen.option]);
  choice.holds_until_s = chosen.holds_until_s;
  return choice;
}

double next_health_moment_s(const std::map<std::string, HostHealth>& health, double now_s) {
  double next_s = kNever;
  for (const auto& [host, state] : health) {
    const bool ends = state.state == HostHealth::State::kQuarantined && state.until_s > now_s;
    if (ends) next_s = std::min(next_s, state.until_s);
  }
  return next_s;
}

double step_time_of(int64_t world, const Layout& layout, const LayoutLimits& limits) {
  return relative_step_time(layout, limits.lanes,
                            std::max<int64_t>(1, world / limits.model_ranks(layout)));
}

// Returns the gain of changing now over staying, in seconds of the running world's progress. The
// new world must end in `wanted_s` seconds. The running one must end in `running_s` seconds and
// could then become the new one, for the cost of a restart.
double won_by_change_s(double speedup, double restart_s, double wanted_s, double running_s) {
  if (speedup <= 1 || wanted_s <= restart_s) return 0;
  const double afterwards_s = wanted_s - running_s - restart_s;
  if (running_s < wanted_s && (wanted_s == kNever || afterwards_s > 0)) {
    return (speedup - 1) * running_s;
  }
  if (wanted_s == kNever) return kNever;
  return speedup * (wanted_s - restart_s) - std::min(running_s, wanted_s);
}

std::string ranks_in_words(int64_t ranks) {
  return fmt::format("{} rank{}", ranks, ranks == 1 ? "" : "s");
}

std::string why_waiting(const Plan& plan, const Choice& choice, const LayoutLimits& limits,
                        int64_t slots) {
  if (!plan.unknown.empty()) {
    return fmt::format("the memory that {} layouts need is being worked out", plan.unknown.size());
  }
  if (!choice.why_not.empty()) return choice.why_not;
  const int64_t least = std::max(limits.min_world, limits.model_ranks(limits.layouts.front()));
  return fmt::format("{} of at least {} can train now", slots, ranks_in_words(least));
}

// Explains why a usable host was not chosen. `passed_over`: hosts ranked below it were chosen.
std::string why_left_out(const HostWindow& window, bool passed_over, const Plan& plan,
                         const LayoutLimits& limits) {
  if (passed_over) {
    return fmt::format("its slots' {} are too small to join",
                       memory_in_words(window.lease->memory_per_slot_bytes));
  }
  if (plan.world == limits.max_world(plan.layout)) {
    return fmt::format("the job takes {}", ranks_in_words(plan.world));
  }
  const int64_t copy = limits.model_ranks(plan.layout);
  if (window.lease->slots < copy) {
    return fmt::format("another copy of the model needs {}", ranks_in_words(copy));
  }
  return fmt::format("{}, too soon to be worth a restart", in_words(window));
}

std::map<std::string, HostWindow> windows_in_use(const std::vector<PlannedHost>& running,
                                                 const LeaseCalendar& calendar, double now_s) {
  UsedSlots used;
  for (const PlannedHost& host : running) used[host.host] = host.slots;
  std::map<std::string, HostWindow> windows;
  for (HostWindow& window : host_windows(calendar, now_s, used)) {
    windows.emplace(window.host, std::move(window));
  }
  return windows;
}

}  // namespace

Plan plan(const LeaseCalendar& calendar, const std::map<std::string, HostHealth>& health,
          const PlanLimits& limits, const MeasuredTimes& times, double now_s,
          const MemoryForecasts& forecasts, const PreferredHosts& preferred) {
  const Costs costs = costs_of(limits, times);
  Plan plan;
  plan.next_look_s =
      std::min(next_calendar_moment_s(calendar, now_s), next_health_moment_s(health, now_s));
  std::vector<HostWindow> candidates;
  NameList in, out;
  for (HostWindow& window : host_windows(calendar, now_s)) {
    const auto known = health.find(window.host);
    const HostHealth* host_health = known == health.end() ? nullptr : &known->second;
    if (const auto why = obstacle(window, host_health, costs, now_s)) {
      out.add(fmt::format("{} ({})", window.host, *why));
      continue;
    }
    plan.next_look_s = std::min(plan.next_look_s, last_start_s(window, costs));
    candidates.push_back(std::move(window));
  }
  std::stable_sort(candidates.begin(), candidates.end(), comes_first);
  const auto others = std::stable_partition(
      candidates.begin(), candidates.end(),
      [&](const HostWindow& window) { return preferred.contains(window.host); });
  Choice choice = choose(candidates, static_cast<size_t>(others - candidates.begin()), limits,
                         costs, now_s, forecasts);
  plan.next_look_s = std::min(plan.next_look_s, choice.holds_until_s);
  plan.unknown = std::move(choice.unknown);
  const LayoutLimits& layouts = limits.layouts;
  if (!choice.on) {
    int64_t slots = 0;
    for (const HostWindow& window : candidates) {
      in.add(window.host);
      slots += window.lease->slots;
    }
    plan.reason = "waiting: " + why_waiting(plan, choice, layouts, slots) +
                  (in.empty() ? "" : ", on " + in.text()) +
                  (out.empty() ? "" : "; without " + out.text());
    return plan;
  }
  plan.world = choice.on->world;
  plan.layout = choice.on->layout;
  std::set<size_t> taken;
  for (const WorldOnHosts::Host& host : choice.on->hosts) {
    const HostWindow& window = candidates[host.index];
    const Lease& lease = *window.lease;
    plan.hosts.push_back(
        {window.host, host.slots, lease.id, window.until_s, lease.provider, lease.site});
    in.add(window.host);
    taken.insert(host.index);
  }
  // A host that gives fewer ranks than its lease has slots may be usable for longer.
  const auto windows = windows_in_use(plan.hosts, calendar, now_s);
  for (PlannedHost& host : plan.hosts) host.end_s = windows.at(host.host).until_s;
  plan.drain_at_s = drain_time(plan.hosts, calendar, limits, times, now_s).at_s;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (taken.contains(i)) continue;
    const HostWindow& window = candidates[i];
    out.add(fmt::format("{} ({})", window.host,
                        why_left_out(window, i < *taken.rbegin(), plan, layouts)));
  }
  plan.reason = fmt::format("{} on {}{}{}", ranks_in_words(plan.world), in.text(),
                            choice.on->why.empty() ? "" : "; " + choice.on->why,
                            out.empty() ? "" : "; without " + out.text());
  return plan;
}

double first_end_s(const std::vector<PlannedHost>& running, const LeaseCalendar& calendar,
                   double now_s) {
  const auto windows = windows_in_use(running, calendar, now_s);
  double first_s = kNever;
  for (const PlannedHost& host : running) {
    const auto found = windows.find(host.host);
    if (found == windows.end()) continue;
    const HostWindow::State state = found->second.state;
    if (state == HostWindow::State::kOpen || state == HostWindow::State::kOver) {
      first_s = std::min(first_s, found->second.until_s);
    }
  }
  return first_s;
}

DrainTime drain_time(const std::vector<PlannedHost>& running, const LeaseCalendar& calendar,
                     const PlanLimits& limits, const MeasuredTimes& times, double now_s) {
  const Costs costs = costs_of(limits, times);
  const auto windows = windows_in_use(running, calendar, now_s);
  DrainTime first;
  const auto consider = [&](double at_s, std::string why) {
    if (at_s < first.at_s) first = {at_s, std::move(why)};
  };
  for (const PlannedHost& host : running) {
    const auto found = windows.find(host.host);
    if (found == windows.end()) {
      consider(now_s, fmt::format("{} is not in the lease calendar any longer", host.host));
      continue;
    }
    const HostWindow& window = found->second;
    if (window.state != HostWindow::State::kOpen) {
      consider(now_s, fmt::format("{} may not be used now: {}", host.host, in_words(window)));
    } else if (window.lease->slots < host.slots) {
      consider(now_s,
               fmt::format("{} runs {}, and its lease '{}' has {} now", host.host,
                           ranks_in_words(host.slots), window.lease->id, window.lease->slots));
    } else {
      consider(window.until_s - costs.wind_down_s(),
               fmt::format("{}: {}", host.host, in_words(window)));
    }
  }
  return first;
}

std::optional<std::string> reason_to_drain(const std::vector<PlannedHost>& running,
                                           const Layout& layout, const Plan& wanted,
                                           const LeaseCalendar& calendar, const PlanLimits& limits,
                                           const MeasuredTimes& times, double now_s) {
  const DrainTime drain = drain_time(running, calendar, limits, times, now_s);
  if (now_s >= drain.at_s) return drain.why;
  int64_t world = 0;
  for (const PlannedHost& host : running) world += host.slots;
  if (world == 0 || wanted.world <= world) return std::nullopt;
  const Costs costs = costs_of(limits, times);
  const double speedup = step_time_of(world, layout, limits.layouts) /
                         step_time_of(wanted.world, wanted.layout, limits.layouts);
  const double won_s =
      won_by_change_s(speedup, costs.restart_s(), wanted.drain_at_s - now_s, drain.at_s - now_s);
  if (!(won_s > costs.restart_s())) return std::nullopt;
  NameList joining;
  for (const PlannedHost& host : wanted.hosts) {
    const bool runs = std::any_of(running.begin(), running.end(), [&](const PlannedHost& other) {
      return other.host == host.host && other.slots >= host.slots;
    });
    if (!runs) joining.add(host.host);
  }
  return fmt::format("{} can train instead of {}, {:.2f} times as fast, with {}",
                     ranks_in_words(wanted.world), world, speedup, joining.text());
}

}  // namespace leasehold
