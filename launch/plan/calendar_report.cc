#include "launch/plan/calendar_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "launch/leases/lease_times.h"

namespace leasehold {

namespace {

constexpr size_t kPeriodsInText = 24;
constexpr double kMillion = 1e6;

struct Sums {
  double usd = 0;
  double paid_hours = 0;  // of slots that cost something
  double idle_hours = 0;  // of them, not in steps
};

Sums sums_of(const std::vector<LeaseCost>& costs) {
  Sums sums;
  for (const LeaseCost& cost : costs) {
    sums.usd += cost.usd;
    if (cost.usd <= 0) continue;
    sums.paid_hours += cost.slot_hours;
    sums.idle_hours += cost.slot_hours - cost.trained_hours;
  }
  return sums;
}

double tokens(const CalendarReport& report) { return report.walk.steps * report.tokens_of_step; }

std::string end_text(const CalendarReport& report) {
  const std::string when = utc_text(report.walk.end_s);
  if (report.walk.reached_target) {
    return fmt::format("by date     {}: {:.4g} tokens, the target\n", when, tokens(report));
  }
  return fmt::format("by date     {}: {:.4g} tokens, {:.1f}% of the target{}\n", when,
                     tokens(report), 100 * tokens(report) / report.target_tokens,
                     report.ends.empty() ? "; no lease comes any more" : "; " + report.ends);
}

std::string periods_text(const CalendarReport& report) {
  std::string text;
  double steps = 0;
  for (size_t i = 0; i < report.walk.periods.size(); ++i) {
    const WalkPeriod& period = report.walk.periods[i];
    steps += period.steps;
    if (i >= kPeriodsInText) continue;
    std::string what = std::string(in_words(period.kind));
    if (period.world > 0) what += fmt::format(" {} ranks", period.world);
    const std::string so_far =
        period.kind == WalkPeriod::Kind::kTraining
            ? fmt::format("{}; {:.4g} tokens at its end", in_words(period.layout),
                          steps * report.tokens_of_step)
            : period.why;
    text += fmt::format("  {}  {:<18} {}\n", utc_text(period.begin_s), what, so_far);
  }
  if (report.walk.periods.size() > kPeriodsInText) {
    text += fmt::format("  and {} further periods; --json has all\n",
                        report.walk.periods.size() - kPeriodsInText);
  }
  return text;
}

std::string_view in_words(Delivery delivery) {
  switch (delivery) {
    case Delivery::kPlanned:
      return "as planned";
    case Delivery::kMedian:
      return "late as in half of the cases (P50)";
    case Delivery::kOneOfTen:
      return "late as in one of ten (P10 of tokens)";
  }
  return "";
}

std::string late_text(const CalendarReport& report) {
  if (report.late.empty()) return {};
  std::string text = "tranches\n";
  for (const LateOutcome& outcome : report.late) {
    text += fmt::format("  {:<40} {:.4g} tokens {}{}\n", in_words(outcome.delivery),
                        outcome.steps * report.tokens_of_step,
                        outcome.reached_target ? "at " : "by ", utc_text(outcome.end_s));
  }
  return text;
}

// Divides the time of the walk by what the job does.
std::string shares_text(const CalendarReport& report) {
  std::map<WalkPeriod::Kind, double> seconds;
  double all_s = 0;
  for (const WalkPeriod& period : report.walk.periods) {
    if (period.end_s == kNever) continue;
    seconds[period.kind] += period.end_s - period.begin_s;
    all_s += period.end_s - period.begin_s;
  }
  if (all_s <= 0) return {};
  std::string text;
  for (const auto& [kind, of_kind_s] : seconds) {
    text += fmt::format("{}{} {:.2f}%", text.empty() ? "time        " : ", ", in_words(kind),
                        100 * of_kind_s / all_s);
  }
  return text + "\n";
}

std::string money_text(const CalendarReport& report) {
  const Sums sums = sums_of(report.costs);
  if (sums.usd <= 0) return "money       no lease has a price_per_slot_hour\n";
  std::string text = fmt::format("money       {:.2f} USD", sums.usd);
  if (tokens(report) > 0) {
    text += fmt::format(", {:.4g} USD a million tokens", sums.usd / tokens(report) * kMillion);
  }
  text += fmt::format("; {:.1f}% of the paid slot-hours make no step\n",
                      100 * sums.idle_hours / sums.paid_hours);
  for (const LeaseCost& cost : report.costs) {
    if (cost.slot_hours <= 0) continue;
    text += fmt::format("  {:<24} {:>12.1f} slot-hours, {:>5.1f}% in steps, {:>14.2f} USD{}\n",
                        cost.lease, cost.slot_hours, 100 * cost.trained_hours / cost.slot_hours,
                        cost.usd, cost.provider.empty() ? "" : ", " + cost.provider);
  }
  return text;
}

std::string books_text(const CalendarReport& report) {
  if (report.books.empty()) return {};
  std::string text = "contracts\n";
  for (const ContractBook& book : report.books) {
    text += fmt::format("  {:<24} {:.2f} USD used", book.provider, book.used_usd);
    if (book.prepaid_usd > 0) {
      text +=
          fmt::format("; of {:.2f} USD paid ahead {:.2f} are left if used first, {:.2f} pro rata",
                      book.prepaid_usd, book.first_in_left_usd, book.pro_rata_left_usd);
    }
    if (book.minimum_usd > 0) {
      text += book.owed_usd > 0
                  ? fmt::format("; {:.2f} of the minimum of {:.2f} USD are owed beyond all leases",
                                book.owed_usd, book.minimum_usd)
                  : fmt::format("; the leases come to the minimum of {:.2f} USD", book.minimum_usd);
    }
    text += "\n";
  }
  return text;
}

// JSON has no infinity.
nlohmann::ordered_json time_json(double unix_s) {
  return unix_s == kNever ? nlohmann::ordered_json(nullptr)
                          : nlohmann::ordered_json(utc_text(unix_s));
}

}  // namespace

std::string calendar_text(const CalendarReport& report) {
  return fmt::format("calendar    {}, as the supervisor would decide from {} on\n", report.calendar,
                     utc_text(report.from_s)) +
         periods_text(report) + end_text(report) + shares_text(report) + late_text(report) +
         money_text(report) + books_text(report);
}

nlohmann::ordered_json calendar_json(const CalendarReport& report) {
  nlohmann::ordered_json json = {{"from", time_json(report.from_s)},
                                 {"end", time_json(report.walk.end_s)},
                                 {"reached_target", report.walk.reached_target},
                                 {"tokens", tokens(report)},
                                 {"usd", sums_of(report.costs).usd}};
  json["periods"] = nlohmann::ordered_json::array();
  for (const WalkPeriod& period : report.walk.periods) {
    json["periods"].push_back({{"begin", time_json(period.begin_s)},
                               {"end", time_json(period.end_s)},
                               {"doing", in_words(period.kind)},
                               {"ranks", period.world},
                               {"pipeline", period.layout.pipeline},
                               {"chunks", period.layout.chunks},
                               {"zero", period.layout.zero},
                               {"tokens", period.steps * report.tokens_of_step},
                               {"why", period.why}});
  }
  json["deliveries"] = nlohmann::ordered_json::array();
  for (const LateOutcome& outcome : report.late) {
    json["deliveries"].push_back({{"tranches", in_words(outcome.delivery)},
                                  {"end", time_json(outcome.end_s)},
                                  {"tokens", outcome.steps * report.tokens_of_step},
                                  {"reached_target", outcome.reached_target}});
  }
  json["leases"] = nlohmann::ordered_json::array();
  for (const LeaseCost& cost : report.costs) {
    json["leases"].push_back({{"id", cost.lease},
                              {"provider", cost.provider},
                              {"slot_hours", cost.slot_hours},
                              {"trained_slot_hours", cost.trained_hours},
                              {"usd", cost.usd}});
  }
  json["contracts"] = nlohmann::ordered_json::array();
  for (const ContractBook& book : report.books) {
    json["contracts"].push_back({{"provider", book.provider},
                                 {"used_usd", book.used_usd},
                                 {"prepaid_usd", book.prepaid_usd},
                                 {"prepaid_left_first_in_usd", book.first_in_left_usd},
                                 {"prepaid_left_pro_rata_usd", book.pro_rata_left_usd},
                                 {"minimum_usd", book.minimum_usd},
                                 {"owed_beyond_leases_usd", book.owed_usd}});
  }
  return json;
}

}  // namespace leasehold
