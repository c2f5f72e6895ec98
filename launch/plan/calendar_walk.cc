#include "launch/plan/calendar_walk.h"

#include <algorithm>
#include <fmt/format.h>

#include "launch/leases/host_windows.h"

namespace leasehold {

namespace {

constexpr int kMostDecisions = 1000000;
constexpr double kHourS = 3600;
constexpr double kNoProgressS = 1e-6;

class Walker {
 public:
  explicit Walker(const WalkInput& input) : input_(input), now_s_(input.from_s) {}

  Result<CalendarWalk> run() {
    for (int i = 0; i < kMostDecisions; ++i) {
      if (walk_.steps >= input_.target_steps - kNoProgressS) walk_.reached_target = true;
      if (walk_.reached_target || now_s_ >= input_.until_s) break;
      LEASEHOLD_ASSIGN_OR_RETURN(const Plan wanted, decide());
      if (wanted.unknown.empty()) {
        LEASEHOLD_RETURN_IF_ERROR(running_.empty() ? begin(wanted) : proceed(wanted));
      }
    }
    walk_.end_s = now_s_;
    return walk_;
  }

 private:
  MeasuredTimes times() const {
    MeasuredTimes times;
    times.start_s = input_.start_s;
    times.save_s = input_.save_s;
    if (!running_.empty()) times.step_s = step_s_;
    return times;
  }

  // The planner's wish at this moment; its questions are answered.
  Result<Plan> decide() {
    Plan wanted = plan(input_.calendar, {}, input_.limits, times(), now_s_, forecasts_);
    if (wanted.unknown.empty()) return wanted;
    LEASEHOLD_ASSIGN_OR_RETURN(const MemoryForecasts answers, input_.forecast(wanted.unknown));
    for (const LayoutOfWorld& question : wanted.unknown) {
      const auto answer = answers.find(question);
      if (answer == answers.end()) {
        return error(Code::kInternal, "a forecast of {} ranks was not answered", question.world);
      }
      forecasts_.insert(*answer);
    }
    return wanted;
  }

  Status begin(const Plan& wanted) {
    if (wanted.hosts.empty()) {
      add(WalkPeriod::Kind::kWaiting, wanted.next_look_s, wanted.reason);
      return ok_status();
    }
    running_ = wanted.hosts;
    layout_ = wanted.layout;
    world_ = wanted.world;
    LEASEHOLD_ASSIGN_OR_RETURN(step_s_, input_.step_s(layout_, world_));
    add(WalkPeriod::Kind::kStarting, now_s_ + input_.start_s, wanted.reason);
    return ok_status();
  }

  Status proceed(const Plan& wanted) {
    const auto reason =
        reason_to_drain(running_, layout_, wanted, input_.calendar, input_.limits, times(), now_s_);
    if (reason) {
      add(WalkPeriod::Kind::kSaving, now_s_ + input_.save_s, *reason);
      running_.clear();
      world_ = 0;
      return ok_status();
    }
    const double drain_s =
        drain_time(running_, input_.calendar, input_.limits, times(), now_s_).at_s;
    const double done_s = now_s_ + (input_.target_steps - walk_.steps) * step_s_;
    add(WalkPeriod::Kind::kTraining, std::min({wanted.next_look_s, drain_s, done_s}), "");
    return ok_status();
  }

  // Appends a period that ends at `end_s` or when the walk does; a look that changed nothing
  // prolongs the last one.
  void add(WalkPeriod::Kind kind, double end_s, std::string why) {
    WalkPeriod period;
    period.kind = kind;
    period.begin_s = now_s_;
    period.end_s = std::min(std::max(end_s, now_s_ + kNoProgressS), input_.until_s);
    period.world = kind == WalkPeriod::Kind::kWaiting ? 0 : world_;
    period.layout = layout_;
    period.why = std::move(why);
    if (kind == WalkPeriod::Kind::kTraining) {
      period.steps = (period.end_s - period.begin_s) / step_s_;
      for (const PlannedHost& host : running_) period.slots_of_leases[host.lease] += host.slots;
    }
    walk_.steps += period.steps;
    now_s_ = period.end_s;
    if (!walk_.periods.empty() && continues(walk_.periods.back(), period)) {
      walk_.periods.back().end_s = period.end_s;
      walk_.periods.back().steps += period.steps;
      return;
    }
    walk_.periods.push_back(std::move(period));
  }

  static bool continues(const WalkPeriod& last, const WalkPeriod& next) {
    return last.kind == next.kind && last.world == next.world && last.layout == next.layout &&
           last.slots_of_leases == next.slots_of_leases &&
           (next.kind == WalkPeriod::Kind::kTraining || last.why == next.why);
  }

  const WalkInput& input_;
  double now_s_;
  std::vector<PlannedHost> running_;
  Layout layout_;
  int64_t world_ = 0;
  double step_s_ = 0;
  MemoryForecasts forecasts_;
  CalendarWalk walk_;
};

double leased_slot_hours(const Lease& lease, double from_s, double to_s) {
  const double begin_s = std::max(lease.begin_s, from_s);
  const double end_s = std::min(lease.end_s, to_s);
  if (end_s <= begin_s) return 0;
  return (end_s - begin_s) / kHourS * static_cast<double>(lease.slots) *
         static_cast<double>(lease.hosts.size());
}

}  // namespace

std::string_view in_words(WalkPeriod::Kind kind) {
  switch (kind) {
    case WalkPeriod::Kind::kWaiting:
      return "waits";
    case WalkPeriod::Kind::kStarting:
      return "starts";
    case WalkPeriod::Kind::kTraining:
      return "trains";
    case WalkPeriod::Kind::kSaving:
      return "saves";
  }
  return "";
}

Result<CalendarWalk> walk_calendar(const WalkInput& input) { return Walker(input).run(); }

double counted_end_s(const CalendarWalk& walk) {
  return walk.end_s == kNever ? walk.periods.back().begin_s : walk.end_s;
}

LeaseCalendar delivered(const LeaseCalendar& calendar, Delivery delivery, double now_s) {
  LeaseCalendar late = calendar;
  if (delivery == Delivery::kPlanned) return late;
  for (Lease& lease : late.leases) {
    if (lease.begin_s <= now_s) continue;
    lease.begin_s += delivery == Delivery::kMedian ? lease.slip_p50_s : lease.slip_p90_s;
  }
  std::erase_if(late.leases, [](const Lease& lease) { return lease.begin_s >= lease.end_s; });
  return late;
}

std::vector<LeaseCost> lease_costs(const LeaseCalendar& calendar, const CalendarWalk& walk,
                                   double from_s) {
  const double to_s = counted_end_s(walk);
  std::vector<LeaseCost> costs;
  for (const Lease& lease : calendar.leases) {
    LeaseCost cost;
    cost.lease = lease.id;
    cost.provider = lease.provider;
    cost.slot_hours = leased_slot_hours(lease, from_s, to_s);
    cost.usd = cost.slot_hours * lease.price_per_slot_hour;
    for (const WalkPeriod& period : walk.periods) {
      const auto slots = period.slots_of_leases.find(lease.id);
      if (slots == period.slots_of_leases.end()) continue;
      cost.trained_hours +=
          static_cast<double>(slots->second) * (period.end_s - period.begin_s) / kHourS;
    }
    costs.push_back(std::move(cost));
  }
  return costs;
}

std::vector<ContractBook> contract_books(const LeaseCalendar& calendar, double from_s,
                                         double to_s) {
  std::vector<ContractBook> books;
  for (const Contract& contract : calendar.contracts) {
    ContractBook book;
    book.provider = contract.provider;
    book.prepaid_usd = contract.prepaid_usd;
    book.minimum_usd = contract.minimum_usd;
    double in_all_usd = 0;
    for (const Lease& lease : calendar.leases) {
      if (lease.provider != contract.provider || lease.price_per_slot_hour <= 0) continue;
      const double since_s = lease.begin_s == -kNever ? from_s : lease.begin_s;
      book.used_usd += leased_slot_hours(lease, since_s, to_s) * lease.price_per_slot_hour;
      in_all_usd += leased_slot_hours(lease, since_s, kNever) * lease.price_per_slot_hour;
    }
    book.first_in_left_usd = std::max(0.0, book.prepaid_usd - book.used_usd);
    book.pro_rata_left_usd = book.first_in_left_usd;
    if (book.minimum_usd > 0) {
      const double share = std::min(1.0, book.used_usd / book.minimum_usd);
      book.pro_rata_left_usd = book.prepaid_usd * (1 - share);
      book.owed_usd = std::max(0.0, book.minimum_usd - in_all_usd);
    }
    books.push_back(std::move(book));
  }
  return books;
}

double cost_usd(const LeaseCalendar& calendar, double from_s, double to_s) {
  double usd = 0;
  for (const Lease& lease : calendar.leases) {
    const double hours = leased_slot_hours(lease, from_s, to_s);
    if (lease.price_per_slot_hour > 0 && hours > 0) usd += hours * lease.price_per_slot_hour;
  }
  return usd;
}

double budget_end_s(const LeaseCalendar& calendar, double from_s, double budget_usd) {
  constexpr double kHundredYearsS = 100 * 365.25 * 86400;
  double before_s = from_s;
  double after_s = from_s + kHundredYearsS;
  if (cost_usd(calendar, from_s, after_s) < budget_usd) return kNever;
  while (after_s - before_s > 1) {
    const double middle_s = (before_s + after_s) / 2;
    (cost_usd(calendar, from_s, middle_s) < budget_usd ? before_s : after_s) = middle_s;
  }
  return after_s;
}

}  // namespace leasehold
