// The times of a calendar, in seconds since 1970-01-01 UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace leasehold {

// A time with its offset from UTC, as in TOML and RFC 3339.
struct CivilTime {
  int64_t year = 1970;
  int64_t month = 1, day = 1;
  int64_t hour = 0, minute = 0, second = 0;
  int64_t nanosecond = 0;
  int64_t offset_minutes = 0;
};

// Returns nullopt if there is no such day or time (February 30th, 24:00, a leap second).
std::optional<double> unix_seconds(const CivilTime& time);

// Parses "90s", "15m", "4h", "30d": whole numbers, at most 100 years.
std::optional<double> parse_duration_s(std::string_view text);

// Parses "2026-12-01T00:00:00Z", "2026-12-01 00:00:00.5+02:00", or "+4h" after `first_launch_s`.
std::optional<double> parse_lease_time(std::string_view text, double first_launch_s);

// Returns "2026-12-01T00:00:00Z", to the second. A time that is not finite, or is after the year
// 9999, is described in words.
std::string utc_text(double unix_s);

}  // namespace leasehold
