// Fuzzes lease calendars with any text: it is refused with file and reason, or gives a calendar
// that keeps its promises, survives writing and can be planned with.
#include <cctype>
#include <cmath>
#include <map>
#include <set>

#include "launch/leases/lease_calendar.h"
#include "launch/leases/lease_times.h"
#include "launch/leases/planner.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

constexpr const char* kPath = "leases.toml";
constexpr double kLaunch = 1.7e9;

// Returns a TOML basic string. The parser has refused control characters.
std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

std::string list_of(const std::vector<std::string>& hosts) {
  std::string result = "[";
  for (const std::string& host : hosts) result += in_quotes(host) + ", ";
  return result + "]";
}

std::string to_toml(const LeaseCalendar& calendar) {
  std::string text;
  const auto write = [&](std::string_view key, const std::string& value) {
    text += fmt::format("{} = {}\n", key, value);
  };
  const auto write_text = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) write(key, in_quotes(value));
  };
  for (const Lease& lease : calendar.leases) {
    text += "[[lease]]\n";
    write_text("id", lease.id);
    write("hosts", list_of(lease.hosts));
    write("slots", std::to_string(lease.slots));
    write_text("provider", lease.provider);
    write_text("site", lease.site);
    write_text("region", lease.region);
    write_text("device", lease.device);
    if (std::isfinite(lease.begin_s)) write("begin", in_quotes(utc_text(lease.begin_s)));
    if (std::isfinite(lease.end_s)) write("end", utc_text(lease.end_s));
    if (lease.notice_s > 0) write("notice", in_quotes(fmt::format("{:.0f}s", lease.notice_s)));
    if (lease.slip_p90_s > 0) {
      write("slip_p50", in_quotes(fmt::format("{:.0f}s", lease.slip_p50_s)));
      write("slip_p90", in_quotes(fmt::format("{:.0f}s", lease.slip_p90_s)));
    }
    write("price_per_slot_hour", fmt::format("{:e}", lease.price_per_slot_hour));
  }
  for (const Curtailment& curtailment : calendar.curtailments) {
    text += "[[curtailment]]\n";
    write("hosts", list_of(curtailment.hosts));
    write("begin", utc_text(curtailment.begin_s));
    write("end", in_quotes(utc_text(curtailment.end_s)));
    write_text("reason", curtailment.reason);
  }
  for (const Contract& contract : calendar.contracts) {
    text += "[[contract]]\n";
    write_text("provider", contract.provider);
    write("prepaid_usd", fmt::format("{:e}", contract.prepaid_usd));
    write("minimum_usd", fmt::format("{:e}", contract.minimum_usd));
  }
  return text;
}

// Returns true if utc_text can write all times: whole seconds, and years of four digits.
bool can_be_written(const LeaseCalendar& calendar) {
  constexpr double kYear1 = -62135596800.0;
  constexpr double kYear9999 = 253370764800.0;
  const auto fine = [](double unix_s) {
    return std::isinf(unix_s) ||
           (unix_s == std::floor(unix_s) && unix_s >= kYear1 && unix_s < kYear9999);
  };
  for (const Lease& lease : calendar.leases) {
    if (!fine(lease.begin_s) || !fine(lease.end_s)) return false;
  }
  for (const Curtailment& curtailment : calendar.curtailments) {
    if (!fine(curtailment.begin_s) || !fine(curtailment.end_s)) return false;
  }
  return true;
}

void require_promises(const LeaseCalendar& calendar) {
  LEASEHOLD_FUZZ_REQUIRE(!calendar.leases.empty());
  std::set<std::string> ids;
  std::set<std::string> hosts;
  for (const Lease& lease : calendar.leases) {
    LEASEHOLD_FUZZ_REQUIRE(!lease.id.empty() && ids.insert(lease.id).second);
    LEASEHOLD_FUZZ_REQUIRE(!lease.hosts.empty() && lease.slots >= 1);
    LEASEHOLD_FUZZ_REQUIRE(lease.begin_s < lease.end_s && lease.notice_s >= 0);
    LEASEHOLD_FUZZ_REQUIRE(lease.price_per_slot_hour >= 0);
    LEASEHOLD_FUZZ_REQUIRE(0 <= lease.slip_p50_s && lease.slip_p50_s <= lease.slip_p90_s);
    for (const std::string& host : lease.hosts) {
      LEASEHOLD_FUZZ_REQUIRE(!host.empty() && std::isalnum(static_cast<unsigned char>(host[0])));
      LEASEHOLD_FUZZ_REQUIRE(host.find_first_of("/ \"'$;\n") == std::string::npos);
      hosts.insert(host);
    }
  }
  for (const Curtailment& curtailment : calendar.curtailments) {
    LEASEHOLD_FUZZ_REQUIRE(curtailment.begin_s < curtailment.end_s);
    for (const std::string& host : curtailment.hosts) {
      LEASEHOLD_FUZZ_REQUIRE(hosts.contains(host));
    }
  }
}

void require_plans(const LeaseCalendar& calendar) {
  const PlanLimits limits = {{.min_world = 2, .lanes = 100}, 5};
  double now_s = kLaunch;
  // A few plans ahead, each with a host at most once.
  for (int look = 0; look < 4; ++look) {
    const Plan wanted = plan(calendar, {}, limits, {}, now_s);
    LEASEHOLD_FUZZ_REQUIRE(wanted.next_look_s > now_s && wanted.drain_at_s > now_s);
    LEASEHOLD_FUZZ_REQUIRE(wanted.world <= limits.layouts.lanes);
    LEASEHOLD_FUZZ_REQUIRE(wanted.hosts.empty() == (wanted.world < limits.layouts.min_world));
    std::set<std::string> hosts;
    for (const PlannedHost& host : wanted.hosts) {
      LEASEHOLD_FUZZ_REQUIRE(hosts.insert(host.host).second && host.slots >= 1);
      LEASEHOLD_FUZZ_REQUIRE(wanted.drain_at_s < host.end_s || host.end_s == kNever);
    }
    LEASEHOLD_FUZZ_REQUIRE(
        !reason_to_drain(wanted.hosts, wanted.layout, wanted, calendar, limits, {}, now_s)
             .has_value());
    if (wanted.next_look_s == kNever) return;
    now_s = wanted.next_look_s;
  }
}

void require_survives_writing(const LeaseCalendar& calendar) {
  if (!can_be_written(calendar)) return;
  const std::string written = to_toml(calendar);
  const auto again = parse_lease_calendar(written, kPath, 0);
  LEASEHOLD_FUZZ_REQUIRE(again.ok());
  LEASEHOLD_FUZZ_REQUIRE(to_toml(*again) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto calendar = parse_lease_calendar(text, kPath, kLaunch);
  if (!calendar.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(calendar.status().code() == Code::kBadConfig);
    LEASEHOLD_FUZZ_REQUIRE(calendar.status().message().starts_with(kPath));
    return 0;
  }
  require_promises(*calendar);
  require_plans(*calendar);
  require_survives_writing(*calendar);
  return 0;
}

}  // namespace leasehold
