#include "launch/leases/lease_times.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <fmt/format.h>

namespace leasehold {

namespace {

constexpr double kMaxDurationS = 36525.0 * 86400;
constexpr double kNineThousandYearsS = 253402300800.0;  // 10000-01-01

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Reads a text from left to right. It remembers a mismatch instead of reporting it at once.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool ok() const { return ok_; }
  bool at_end() const { return text_.empty(); }
  bool sees(char c) const { return !text_.empty() && text_.front() == c; }

  // Reads exactly `num_digits` digits.
  int64_t number(size_t num_digits) {
    int64_t value = 0;
    for (size_t i = 0; i < num_digits; ++i) {
      if (text_.empty() || !is_digit(text_.front())) return fail();
      value = 10 * value + (text_.front() - '0');
      text_.remove_prefix(1);
    }
    return value;
  }

  // Reads one to nine digits after a decimal point.
  int64_t nanoseconds() {
    int64_t value = 0;
    int64_t unit = 100'000'000;
    if (text_.empty() || !is_digit(text_.front())) return fail();
    while (!text_.empty() && is_digit(text_.front())) {
      if (unit == 0) return fail();
      value += unit * (text_.front() - '0');
      unit /= 10;
      text_.remove_prefix(1);
    }
    return value;
  }

  // Reads one of these characters.
  char one_of(std::string_view characters) {
    if (text_.empty() || characters.find(text_.front()) == std::string_view::npos) {
      fail();
      return '\0';
    }
    const char c = text_.front();
    text_.remove_prefix(1);
    return c;
  }

 private:
  int64_t fail() {
    ok_ = false;
    return 0;
  }

  std::string_view text_;
  bool ok_ = true;
};

std::optional<double> parse_absolute(std::string_view text) {
  Reader reader(text);
  CivilTime time;
  time.year = reader.number(4);
  reader.one_of("-");
  time.month = reader.number(2);
  reader.one_of("-");
  time.day = reader.number(2);
  reader.one_of("Tt ");
  time.hour = reader.number(2);
  reader.one_of(":");
  time.minute = reader.number(2);
  reader.one_of(":");
  time.second = reader.number(2);
  if (reader.sees('.')) {
    reader.one_of(".");
    time.nanosecond = reader.nanoseconds();
  }
  const char zone = reader.one_of("Zz+-");
  if (zone == '+' || zone == '-') {
    const int64_t hours = reader.number(2);
    reader.one_of(":");
    const int64_t minutes = reader.number(2);
    if (hours > 23 || minutes > 59) return std::nullopt;
    time.offset_minutes = (zone == '+' ? 1 : -1) * (60 * hours + minutes);
  }
  if (!reader.ok() || !reader.at_end()) return std::nullopt;
  return unix_seconds(time);
}

}  // namespace

std::optional<double> unix_seconds(const CivilTime& time) {
  if (time.year < 0 || time.year > 9999) return std::nullopt;
  const std::chrono::year_month_day day{
      std::chrono::year(static_cast<int>(time.year)),
      std::chrono::month(static_cast<unsigned>(time.month)),
      std::chrono::day(static_cast<unsigned>(time.day)),
  };
  const bool on_the_clock = time.hour >= 0 && time.hour < 24 && time.minute >= 0 &&
                            time.minute < 60 && time.second >= 0 && time.second < 60;
  if (!day.ok() || !on_the_clock) return std::nullopt;
  const int64_t days = std::chrono::sys_days(day).time_since_epoch().count();
  const int64_t minutes = 60 * time.hour + time.minute - time.offset_minutes;
  return static_cast<double>(86400 * days + 60 * minutes + time.second) +
         static_cast<double>(time.nanosecond) * 1e-9;
}

std::optional<double> parse_duration_s(std::string_view text) {
  if (text.size() < 2 || !is_digit(text.front())) return std::nullopt;
  int64_t count = 0;
  const char* const unit = text.data() + text.size() - 1;
  const auto [end, problem] = std::from_chars(text.data(), unit, count);
  if (problem != std::errc() || end != unit) return std::nullopt;
  double unit_s = 0;
  switch (*unit) {
    case 's':
      unit_s = 1;
      break;
    case 'm':
      unit_s = 60;
      break;
    case 'h':
      unit_s = 3600;
      break;
    case 'd':
      unit_s = 86400;
      break;
    default:
      return std::nullopt;
  }
  const double duration_s = static_cast<double>(count) * unit_s;
  if (duration_s > kMaxDurationS) return std::nullopt;
  return duration_s;
}

std::optional<double> parse_lease_time(std::string_view text, double first_launch_s) {
  if (!text.starts_with('+')) return parse_absolute(text);
  const auto duration_s = parse_duration_s(text.substr(1));
  if (!duration_s) return std::nullopt;
  return first_launch_s + *duration_s;
}

std::string utc_text(double unix_s) {
  if (std::isnan(unix_s)) return "an unknown time";
  if (unix_s >= kNineThousandYearsS) return "the end of time";
  if (unix_s <= -kNineThousandYearsS) return "the beginning of time";
  const auto seconds = static_cast<int64_t>(std::floor(unix_s));
  const int64_t days = seconds >= 0 ? seconds / 86400 : -((-seconds + 86399) / 86400);
  const int64_t of_day = seconds - 86400 * days;
  const std::chrono::year_month_day day{std::chrono::sys_days(std::chrono::days(days))};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(day.year()),
                     static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()),
                     of_day / 3600, of_day / 60 % 60, of_day % 60);
}

}  // namespace leasehold
